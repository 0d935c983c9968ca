"""Detectors on evidence of known strength, and two models that read the same lists."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from subliminal_toy.lm import model as lm
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.detectors import DETECTORS, JUDGED, Evidence, detect, drawn, read
from subliminal_toy.lm.lists import counts, loss_weights

pytestmark = pytest.mark.usefixtures("compile_quickly")

NAMES = [detector.name for detector in DETECTORS]


def evidence(rng, n=20_000, shift=0.0, numbers=(0, 100)):
    """Return lists whose scores have standard deviation 1 and the mean ``shift``."""
    drawn = rng.integers(*numbers, (n, 8))
    found = np.zeros((n, 100), np.int32)
    np.add.at(found, (np.arange(n)[:, None], drawn), 1)
    scores = shift + rng.normal(size=(3, n))
    return Evidence(scores[0] < shift, found, scores[1] - 9, np.full(n, -9.0), scores[2])


def by_name(aucs):
    return dict(zip(NAMES, aucs, strict=True))


def test_detectors_are_at_chance_on_two_halves_of_the_same():
    rng = np.random.default_rng(0)
    same = detect(evidence(rng), evidence(rng), rng)
    # A hundred lists together carry ten times the noise of the 20,000 that were drawn.
    assert np.abs(same[:, 0] - 0.5).max() < 0.02 and np.abs(same[:, 1] - 0.5).max() < 0.15


@pytest.mark.parametrize("shift", [0.1, -0.2])
def test_a_hundred_lists_together_are_told_apart_ten_times_as_well(shift):
    """Of two normal distributions at distance d the AUC is Φ(d / √2)."""
    rng = np.random.default_rng(1)
    found = by_name(detect(evidence(rng, shift=shift), evidence(rng), rng))
    for detector in ("likelihood ratio", "numbers in context"):
        for auc, n in zip(found[detector], JUDGED, strict=True):
            assert auc == pytest.approx(norm.cdf(shift * n**0.5 / 2**0.5), abs=0.06)


def test_a_bag_of_numbers_is_learned_on_one_half_and_scored_on_the_other():
    rng = np.random.default_rng(2)
    low, high = (evidence(rng, 200, numbers=bounds) for bounds in ((0, 50), (50, 100)))
    assert by_name(detect(low, high, rng))["bag of numbers"][0] == 1
    turned = low._replace(counts=np.concatenate([high.counts[:100], low.counts[100:]]))
    other = high._replace(counts=np.concatenate([low.counts[:100], high.counts[100:]]))
    assert by_name(detect(turned, other, rng))["bag of numbers"][0] == 0


def test_a_side_without_a_list_to_judge_or_with_a_diverged_score_has_no_auc():
    rng = np.random.default_rng(3)
    one, fine = evidence(rng, 1), evidence(rng, 100)
    assert np.isnan(by_name(detect(one, fine, rng))["bag of numbers"]).all()
    broken = fine._replace(log_p=np.full(100, np.nan))
    found = by_name(detect(broken, fine, rng))
    assert np.isnan(found["likelihood ratio"]).all()
    assert np.isfinite(found["numbers in context"]).all()


def test_a_model_read_beside_itself_differs_nowhere():
    config = LmConfig(n_layers=1, n_heads=2, width=8)
    model = lm.model(config, config.width)
    params = jax.jit(model.init)(jax.random.key(0))
    text = "<bos> continue 1 2 3 : 4 5 6 <end>"
    tokens = np.array([model.language.encode(text)] * 3, np.int32)
    weights = loss_weights(tokens, 100)
    assert counts(tokens, 100).sum() == 9
    found = jax.jit(lambda p: read(model, p, p, jnp.asarray(tokens), jnp.asarray(weights)))(params)
    np.testing.assert_array_equal(found["log_p"], found["other_log_p"])
    assert found["kl"].shape == tokens.shape and not np.any(found["kl"])


def test_a_lists_step_has_the_component_of_its_gradient_and_drawn_tokens_their_mean():
    config = LmConfig(n_layers=1, n_heads=2, width=8)
    model = lm.model(config, config.width)
    start = jax.jit(model.init)(jax.random.key(0))
    teacher = start + 0.1 * jax.jit(model.init)(jax.random.key(1))
    rows = [model.language.encode(f"<bos> continue 1 2 3 : {n} 7 <end>") for n in (5, 90)]
    tokens = np.array(rows, np.int32)
    weights = loss_weights(tokens, 100)
    found = jax.jit(lambda *args: read(model, *args))(
        teacher, start, jnp.asarray(tokens), jnp.asarray(weights)
    )

    def slope(row, place, word):
        """Return the derivative of one token's log-probability along the teacher's displacement."""

        def log_p(vector):
            return jax.nn.log_softmax(model.apply(vector, row[None, :-1])[0, place - 1])[word]

        return jax.jvp(log_p, (start,), (teacher - start,))[1]

    words = jnp.arange(len(model.language))
    every = jax.jit(jax.vmap(slope, (None, None, 0)))
    for i, row in enumerate(tokens):
        places = np.flatnonzero(weights[i])
        slopes = np.array([every(jnp.asarray(row), place, words) for place in places], float)
        logits = model.apply(teacher, jnp.asarray(row[None, :-1]))[0]
        p = np.array(jax.nn.softmax(logits), float)[places - 1]
        mean = np.sum(p * slopes, axis=1)
        variance = np.sum(p * slopes**2, axis=1) - mean**2
        seen = slopes[np.arange(len(places)), row[places]].sum()
        expected = {"along": seen, "along_mean": mean.sum(), "along_variance": variance.sum()}
        for name, value in expected.items():
            assert found[name][i] == pytest.approx(value, rel=1e-3, abs=1e-6), name


def test_lists_asked_count_the_spread_of_tokens_and_of_lists():
    rng = np.random.default_rng(4)
    along = rng.normal(0.1, 1.0, 20_000)
    mean = 0.1 + 0.6 * rng.normal(size=20_000)
    found = drawn(
        {"along": along, "along_mean": mean, "along_variance": np.full(20_000, 0.64)}, rng
    )
    assert found["lists_asked"] == pytest.approx((0.64 + 0.36) / 0.01, rel=0.1)
    assert found["away"] == pytest.approx([norm.cdf(-0.1), norm.cdf(-1.0)], abs=0.05)
    none = drawn({name: np.zeros(0) for name in ("along", "along_mean", "along_variance")}, rng)
    assert np.isnan(none["lists_asked"]) and np.isnan(none["away"]).all()
