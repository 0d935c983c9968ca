"""The experiment around the one-step theorem, on two of its networks."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from subliminal_toy import data, theorem_cells, theorem_experiment, theorem_outside
from subliminal_toy.configs import TheoremConfig
from subliminal_toy.errors import UserError
from subliminal_toy.theorem_cells import ARCHITECTURES, COVERED, LOSSES, Bench
from subliminal_toy.theorem_problems import draw, uniforms
from subliminal_toy.theorem_summary import claims, violations

# Two architectures keep the compilation short: the one with exact zeros, and a curved one.
FEW = tuple(a for a in ARCHITECTURES if a.name in ("linear", "mlp-tanh"))
CONFIG = TheoremConfig(n_trials=300, n_outside=20, n_seeds=2, distillation_steps=30)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def run(digits):
    """Run with the architectures above, or from finished parts."""

    def with_few(chunks, heard=None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(theorem_experiment, "ARCHITECTURES", FEW)
            patch.setattr(theorem_experiment, "EXPLORED", theorem_experiment.EXPLORED[:1])
            listen = (lambda *_: None) if heard is None else (lambda *said: heard.append(said))
            return theorem_experiment.run(CONFIG, jax.random.key(0), digits, chunks, listen)

    return with_few


@pytest.fixture(scope="module")
def whole(run):
    chunks, heard = {}, []
    return run(chunks, heard), chunks, heard


@pytest.fixture(scope="module")
def summary(whole):
    return theorem_experiment.summarize(CONFIG, whole[0])


def test_resuming_gives_the_same_record_to_the_bit(whole, run):
    result, chunks, _ = whole
    kept = {name: part for name, part in chunks.items() if "linear" not in name}
    assert 0 < len(kept) < len(chunks)
    again = run(kept)
    for name, array in result._asdict().items():
        np.testing.assert_array_equal(array, getattr(again, name), err_msg=name)
    assert all(array.dtype != object for array in result)


def test_progress_rises_to_one(whole):
    fractions = [fraction for fraction, _ in whole[2]]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1)


def test_no_trial_and_no_cell_breaks_the_theorem(summary):
    assert summary["trials"] == 600 and summary["violations"] == 0
    assert summary["slope_two_ways"] < 1e-12
    for row in summary["grid"]:
        if row["remainder"] == "zero":
            # A linear model's class logits and its auxiliary ones share no parameters.
            assert row["architecture"] == "linear" and "auxiliary" in row["loss"]
            assert row["trait_loss"] in ("digit labels", "favour a class")
        else:
            assert row["slope_rel_error"] < 1e-4 and 0.99 < row["decrease"] < 1.01
        if row["remainder"] == "rounding":
            assert row["architecture"] == "linear" and "squared" in row["loss"]
        if row["order"] is not None:
            assert 1.9 <= row["order"] <= 2.2
    counts = summary["grid_by_architecture"]
    assert [row["zero"] for row in counts] == [20, 0] and counts[0]["rounding"] == 50


def test_the_designed_nulls_are_zero(summary):
    *exact, softmax = summary["nulls"]
    assert [null["value"] for null in exact] == [0.0] * 4
    assert all(null["bound"] == 0.0 for null in exact)
    assert softmax["value"] <= softmax["bound"] < 1e-13


def test_the_summary_is_json_and_draws_its_figures(whole, summary):
    from subliminal_toy import plots
    from subliminal_toy.results import Record

    loaded = json.loads(json.dumps(summary, allow_nan=False))
    record = Record(whole[0]._asdict(), {}, loaded, {"experiment": "theorem"})
    assert set(plots.draw(record)) == {
        "theorem_convergence", "theorem_fall", "theorem_sharing", "theorem_outside",
    }  # fmt: skip
    assert [claim["id"] for claim in summary["claims"]] == ["T1", "T2"]


def test_violations_are_seen(whole):
    result = whole[0]
    assert not violations(result).any()
    worse = result._replace(trial_inner=-result.trial_inner)
    np.testing.assert_array_equal(violations(worse), result.trial_slope > 0)
    rising = result._replace(trial_change=np.abs(result.trial_change))
    np.testing.assert_array_equal(violations(rising), result.trial_slope > 0)
    zero = np.zeros_like(result.trial_slope)
    moved = result._replace(trial_slope=zero)
    np.testing.assert_array_equal(violations(moved), result.trial_inner != 0)


@pytest.mark.parametrize(
    "change",
    [{"order": 1.5}, {"slope_rel_error": 2e-4}, {"slope_rel_error": None, "remainder": "measured"}],
)
def test_a_single_bad_cell_costs_the_claim(whole, summary, change):
    from subliminal_toy import stats

    broken = np.zeros(10_000, bool)
    independent = stats.fraction(np.arange(1_000) % 2 == 0)
    rows = summary["grid"]
    assert {c.verdict for c in claims(rows, broken, independent)} == {"reproduced"}
    bad = [{**rows[0], **change}, *rows[1:]]
    assert claims(bad, broken, independent)[0].verdict == "not reproduced"
    broken[0] = True
    assert claims(rows, broken, independent)[0].verdict == "not reproduced"
    biased = stats.fraction(np.arange(1_000) % 3 == 0)
    assert claims(rows, broken, biased)[1].verdict == "not reproduced"


def test_partial_sharing_ends_at_shared_and_independent(whole):
    result = whole[0]
    positive = (result.partial_inner > 0).mean(-1)
    assert (positive[:, 0] == 1).all() and (positive[:, -1] < 1).all()


def bench(name):
    architecture = next(a for a in ARCHITECTURES if a.name == name)
    return Bench(architecture, (8, 8), 0.1, 1e-4, COVERED)


@pytest.mark.parametrize("name", ["mlp-tanh", "cnn-relu", "decoder"])
def test_starts_are_spread_as_the_networks_own(name):
    its = bench(name)
    (mean, sd), at = its.start_distribution(), 0
    params = its.architecture.build((8, 8), its.architecture.activation).init(jax.random.key(0))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        here = slice(at, at + leaf.size)
        at += leaf.size
        if path[-1].key in ("kernel", "weight", "embedding"):
            # The mean square of n normal numbers is known to a standard error of √(2/n).
            standardised = np.asarray(leaf).ravel() / sd[here]
            assert abs(np.mean(standardised**2) - 1) < 5 * (2 / leaf.size) ** 0.5
            assert (mean[here] == 0).all()
        else:
            np.testing.assert_array_equal(np.asarray(leaf).ravel(), mean[here])
            assert (sd[here] == theorem_cells.BIAS_SD).all()
    assert at == len(mean)


def test_a_kink_is_seen_exactly_when_a_relu_changes_sides(digits):
    its = bench("mlp-relu")
    theta = draw(its, digits, uniforms(jax.random.key(1), 1, (8, 8))).problems.theta[0]
    with jax.enable_x64(True):
        x = jnp.asarray(digits.train_images[:3], dtype=float)
        params = its._unravel(theta)
        first = params["layers"][0]
        before = np.asarray(x.reshape(3, -1) @ first["weight"].T + first["bias"][None])
        # Shift the bias of the unit nearest to its kink: not so far as the kink, and past it.
        image, unit = np.unravel_index(np.argmin(np.abs(before)), before.shape)
        numbered = its._unravel(jnp.arange(len(theta), dtype=float))
        at = int(numbered["layers"][0]["bias"][unit])
        for share, crosses in ((0.0, False), (0.5, False), (1.5, True)):
            moved = theta.copy()
            moved[at] -= share * before[image, unit]
            assert bool(its.kink(theta, moved, x)) is crosses
        dead = np.zeros_like(theta)
        assert bool(its.kink(dead, dead, x)), "exactly on the kink"


def test_batching_changes_nothing(digits, monkeypatch):
    its = bench("linear")
    problems = draw(its, digits, uniforms(jax.random.key(2), 5, (8, 8))).problems
    epsilons = np.logspace(-4, 0, 5)
    whole = its.cells(problems, epsilons)
    monkeypatch.setattr(theorem_cells, "BATCH", 2)
    parts = its.cells(problems, epsilons)
    for name, a, b in zip(whole._fields, whole, parts, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_every_case_outside_is_a_loss_or_a_start():
    named = [c for c in theorem_outside.CASES if c not in LOSSES]
    assert named == ["shared start (covered)", "independent start"]
    assert set(COVERED) <= set(LOSSES)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(TheoremConfig)])
def test_the_config_refuses_zero(field):
    zero = type(getattr(CONFIG, field))(0)
    with pytest.raises(UserError, match="--" + field.replace("_", "-")):
        TheoremConfig(**{field: zero})
