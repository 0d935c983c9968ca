"""The experiment on progress: its tables, one replicate by hand, both sides of each criterion."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from explain_records import curve, made
from sklearn.isotonic import IsotonicRegression

from subliminal_toy import data, runs
from subliminal_toy.classifier import training
from subliminal_toy.classifier.arms import Student, Teacher, numbers_of
from subliminal_toy.distill import kl
from subliminal_toy.explain import arms
from subliminal_toy.explain.arms import (
    FACTORS,
    FREE,
    MAIN,
    ONLY,
    WITHOUT,
    WITHOUT_OWN,
    WITHOUT_RANDOM,
    Table,
)
from subliminal_toy.explain.config import PRESETS, ExplainConfig
from subliminal_toy.explain.curve import across_networks, left_out
from subliminal_toy.explain.experiment import AT, STEPS_OF_PREDICTION, of_tables
from subliminal_toy.explain.geometry import predict, progress
from subliminal_toy.explain.summary import at_equal_progress, explained, summarize
from subliminal_toy.models import hidden_layers
from subliminal_toy.stats import NOT_REPRODUCED, NOT_TESTED, REPRODUCED

WHOLE = PRESETS["full"]
pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


# The tables


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_the_whole_table_has_what_the_claims_ask_for(name):
    main, *side = arms.tables(replace(WHOLE, data=name))
    assert main.network == MAIN and not any(table.predicted for table in side)
    free = [s for s in main.students if s.update == "all"]
    assert len(free) >= {"digits": 20, "mnist": 12}[name]
    optimisers = {s.optimiser for s in free}
    assert optimisers == {
        "adam", "momentum", "sign", "rmsprop", "lion", "adagrad", "muon",
    }  # fmt: skip
    conditions = [s for s in main.students if s.name in main.conditions]
    assert len(conditions) >= 24
    lengths = {s.measured_at[-1] for s in conditions}
    assert len(lengths) == 1
    assert {(s.optimiser, s.learning_rate, s.update) for s in conditions} == {("adam", 3e-4, "all")}
    of_e2 = {s.name: s for s in main.students if s.name in (FREE, WITHOUT, ONLY)}
    for s in of_e2.values():
        assert s.measured_at[-1] == {"digits": 4_720, "mnist": 960}[name] and s.distance == 0


@pytest.mark.parametrize("config", [*PRESETS.values(), replace(WHOLE, data="mnist")], ids=str)
def test_rows_are_named_once_and_their_batches_are_whole(config):
    for table in arms.tables(config):
        names = [s.name for s in table.students]
        assert len(set(names)) == len(names)
        assert table.conditions <= table.predicted <= set(names)
        for s in table.students:
            assert s.n_inputs % s.batch_size == 0  # chunks of the prediction are of one size
            assert s.n_aux <= table.teacher.n_aux and s.checkpoints == tuple(sorted(s.checkpoints))
            assert s.checkpoints[-1] < s.epochs * s.n_inputs // s.batch_size


def test_only_the_length_and_the_named_field_differ_between_the_rows_of_e2():
    main = arms.tables(WHOLE)[0]
    rows = {s.name: s for s in main.students}
    for name, change in {
        WITHOUT: {"update": "without"},
        ONLY: {"update": "only"},
        WITHOUT_RANDOM: {"update": "without", "along": "random"},
        WITHOUT_OWN: {"update": "without", "along": "free"},
    }.items():
        assert rows[name] == replace(rows[FREE], name=name, **change)


# One replicate


TEACHER = Teacher(hidden_sizes=(16, 12), n_aux=5, batch_size=128, epochs=2, learning_rate=3e-3)
ROW = Student("", n_aux=2, n_inputs=256, batch_size=128, epochs=3, learning_rate=3e-3)
ROWS = (
    replace(ROW, name="plain", checkpoints=(1, 4)),
    replace(ROW, name="one logit", n_aux=1, checkpoints=(1, 4)),
    replace(ROW, name="at a distance", n_inputs=384, epochs=2, distance=0.5, loss="squared error"),
)
TABLES = [
    Table(MAIN, TEACHER, ROWS, frozenset({"plain", "at a distance"}), frozenset({"plain"})),
    Table("wide", replace(TEACHER, hidden_sizes=(20, 12)), (replace(ROW, name="wide: plain"),)),
]


@pytest.fixture(scope="module")
def finished():
    return {}


@pytest.fixture(scope="module")
def result(digits, finished):
    return runs.run(of_tables(TABLES, 4, jax.random.key(0), digits), finished).data


def test_results_are_found_by_label_and_nothing_is_invented(result):
    assert dict(result.sizes) == {"replicate": 4, "training": 4, "step": 3, "network": 2}
    assert result.step.values.tolist() == [1, 4, 6]
    one = result.sel(training="wide: plain")
    assert np.isfinite(one.accuracy.sel(step=6)).all()
    assert one.accuracy.sel(step=[1, 4]).isnull().all() and one.predicted.isnull().all()
    assert result.predicted.sel(training="plain").notnull().all()
    assert result.of_network.values.tolist() == [MAIN] * 3 + ["wide"]
    assert result.condition.values.tolist() == [True, False, False, False]
    assert result.distance.values.tolist() == ["0", "0", "0.5", "0"]
    assert set(FACTORS) <= set(result.coords)
    assert all("long_name" in variable.attrs for variable in result.data_vars.values())


def test_one_auxiliary_logit_makes_no_progress(result):
    of = result.sel(training="one logit")
    assert not of.progress.values.any() and not of.length.values.any()
    assert (of.accuracy == result.untrained.sel(network=MAIN)).all()


def test_what_is_stored_is_what_one_replicate_is(result, finished, digits):
    """Accuracy, progress and ceiling of a student, and its prediction, each by another way."""
    key, index = jax.random.key(0), jnp.int32(1)
    numbers = numbers_of(TEACHER, ROWS)
    images = tuple(map(jnp.asarray, digits[1:]))
    shared = (key, jnp.int32(4), numbers, images)
    of = training.replicate(TEACHER, (8, 8), shared, index)
    _, params = training.train(ROWS[:1], of)
    net, taught = training.network(TEACHER, (8, 8)), params["teacher"]
    start, student = params["untrained"], jax.tree.map(lambda leaf: leaf[1], params["plain"])

    def right(params):
        return float((net.apply(params, images[2])[:, :10].argmax(-1) == images[3]).mean())

    of = result.sel(training="plain").isel(replicate=1)
    assert of.accuracy.sel(step=4).item() == pytest.approx(right(student), abs=3e-3)
    assert result.taught.sel(network=MAIN)[1].item() == pytest.approx(right(taught), abs=3e-3)
    assert result.untrained.sel(network=MAIN)[1].item() == pytest.approx(right(start), abs=3e-3)
    crossed = {"layers": {**taught["layers"], 2: start["layers"][2]}}
    assert of.ceiling.sel(step=4).item() == pytest.approx(right(crossed), abs=3e-3)
    q = progress(*map(hidden_layers, (start, taught, student)))
    assert of.progress.sel(step=4).item() == pytest.approx(float(q), abs=1e-3)

    noise = data.uniform_noise(
        training.replicate_keys(key, index, 4).inputs, jnp.arange(256), (8, 8)
    )
    loss = lambda z, y: kl(z, y, slice(10, 12))  # noqa: E731
    found = predict(net.apply, start, taught, noise, loss, STEPS_OF_PREDICTION, AT)
    assert of.predicted.item() == pytest.approx(right(found.params), abs=3e-3)
    assert of.slope.item() == pytest.approx(float(found.slope), rel=1e-2)
    assert of.first_cosine.item() == pytest.approx(float(found.first_cosine), abs=1e-3)


def test_replicates_depend_neither_on_their_number_nor_on_the_order_of_parts(
    result, finished, digits
):
    fewer = runs.run(of_tables(TABLES, 2, jax.random.key(0), digits)).data
    xr.testing.assert_identical(fewer, result.isel(replicate=slice(2)))
    taken = {n: part for n, part in finished.items() if "teachers" in n or "000002" in n}
    again = runs.run(of_tables(TABLES, 4, jax.random.key(0), digits), taken).data
    xr.testing.assert_identical(again, result)


def test_a_teacher_is_trained_once_for_all_its_students(digits):
    parts = of_tables(TABLES, 3, jax.random.key(0), digits).parts
    teachers = [part.name for part in parts if "teachers" in part.name]
    assert len(teachers) == 2 * 2  # two networks, replicates in twos
    assert len({part.name for part in parts}) == len(parts)
    which = {part.label.split(", ")[-1] for part in parts}
    assert which == {"replicates 1–2 of 3", "replicates 3–3 of 3"}


# What is made of a result: records of known shape


def verdicts(config=WHOLE, **kwargs):
    summary = summarize(config, made(config, **kwargs))
    return {claim["id"]: claim for claim in summary["claims"]}, summary


@pytest.fixture(scope="module")
def perfect():
    return verdicts()


def test_a_result_that_follows_one_curve_is_reproduced(perfect):
    claims, summary = perfect
    assert {c["verdict"] for c in claims.values()} == {REPRODUCED}
    assert summary["above"] == [] and summary["n_replicates"] == 8
    r2 = {name: row["pooled"]["mean"] for name, row in summary["r2"].items()}
    assert r2["progress"] > 0.95 and max(r2["length"], r2["imitation_loss"], r2["cosine"]) < 0.3
    assert claims["E1"]["value"] == r2["progress"]
    low, high = claims["E1"]["interval"]
    assert low < r2["progress"] < high


def test_a_level_off_the_curve_is_named_and_decides():
    def muon_is_off(student, q, y):
        return q, y - 0.15 * (student.optimiser == "muon")

    claims, summary = verdicts(change=muon_is_off)
    assert claims["E1"]["value"] > 0.9 and claims["E1"]["verdict"] == NOT_REPRODUCED
    assert "optimiser: muon" in summary["above"] and "loss: squared error" not in summary["above"]


def test_accuracy_that_progress_does_not_explain_is_not_reproduced():
    claims, _ = verdicts(noise=0.25)
    assert claims["E1"]["value"] < 0.9 and claims["E1"]["verdict"] == NOT_REPRODUCED


def test_the_curve_has_seen_neither_the_level_nor_the_replicate():
    """By a plain loop over the points of one level of one factor."""
    rows = explained(made())
    fit = left_out(rows, "progress", ("inputs", "step")).of("inputs", "images")
    guesses = []
    for r in range(rows.sizes["replicate"]):
        others = rows.isel(training=(rows.inputs != "images").values)
        others = others.isel(replicate=[i for i in range(8) if i != r])
        x, y = (others[n].values.ravel().astype(float) for n in ("progress", "accuracy"))
        seen = np.isfinite(x)
        model = IsotonicRegression(out_of_bounds="clip").fit(x[seen], y[seen])
        own = rows.isel(replicate=r, training=(rows.inputs == "images").values)
        own = own.progress.astype(float)
        guesses += model.predict(own.values[np.isfinite(own.values)]).tolist()
    np.testing.assert_allclose(np.sort(fit.guess), np.sort(guesses), atol=1e-6)


def test_accuracy_should_fall_with_the_imitation_loss():
    rows = explained(made())
    falling = rows.assign(imitation_loss=1 - rows.progress)
    by_loss, by_progress = (
        left_out(of, name, ("inputs",)).r2().mean
        for of, name in ((falling, "imitation_loss"), (rows, "progress"))
    )
    assert by_loss == pytest.approx(by_progress, abs=1e-3)


def by_name(**changes):
    """Return a ``change`` that adds to the accuracy of students by name, underscores as spaces."""
    named = {name.replace("_", " "): value for name, value in changes.items()}
    return lambda student, q, y: (q, y + named.get(student.name, 0))


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (by_name(without=0.05), REPRODUCED),
        (by_name(without=0.2), NOT_REPRODUCED),  # more than a quarter of the gain of about .47
        (by_name(only=-0.05), REPRODUCED),
        (by_name(only=-0.15), NOT_REPRODUCED),
        (by_name(without_random=0.02), REPRODUCED),
        (by_name(without_random=0.07), NOT_REPRODUCED),
        (by_name(without_random=-0.07), NOT_REPRODUCED),
        (by_name(without_own=-0.07), NOT_REPRODUCED),
        (by_name(without_own=0.07), NOT_REPRODUCED),
    ],
)
def test_every_part_of_the_criterion_of_e2_decides(change, verdict):
    config = replace(WHOLE, data="mnist")
    short = lambda student, q, y: change(student, 0 * q + q.mean(0), y)  # noqa: E731
    claims, _ = verdicts(config, change=short, noise=0.002)
    assert claims["E2"]["verdict"] == verdict


def test_paths_are_compared_where_both_have_been():
    """``only`` runs far ahead: what it gains beyond the free student's progress does not count."""

    def far(student, q, y):
        if student.name == ONLY:
            q = np.linspace(0.05, 2, q.shape[1]) + 0 * q
            return q, np.where(q > 0.5, 5.0, curve(q) + 0.1)
        if student.name == FREE:
            q = np.linspace(0.02, 0.3, q.shape[1]) + 0 * q
            return q, curve(q)
        return q, y

    ahead = at_equal_progress(made(change=far))
    assert ahead.shape == (8,) and (ahead > 0).all() and (ahead < 0.12).all()


def test_predictions_in_another_order_are_not_reproduced():
    result = made()
    wrong = result.assign(predicted=result.predicted.copy(data=1 - result.predicted.values))
    claims = {c["id"]: c for c in summarize(WHOLE, wrong)["claims"]}
    assert claims["P1"]["value"] < -0.9 and claims["P1"]["verdict"] == NOT_REPRODUCED


def test_the_scale_of_a_prediction_is_not_its_rank(perfect):
    claims, summary = perfect
    assert claims["P1"]["value"] == pytest.approx(1)
    assert summary["prediction"]["r2_identity"] < 0.95  # all are .1 too low


def test_no_claim_of_p1_where_most_conditions_are_low():
    low = lambda student, q, y: (q, 0.15 + 0.01 * y)  # noqa: E731
    claim = verdicts(change=low)[0]["P1"]
    assert claim["verdict"] == NOT_TESTED and "below accuracy 0.2" in claim["reason"]


def test_too_few_replicates_or_trainings_or_divergence_test_nothing():
    quick = verdicts(ExplainConfig())[0]
    assert {c["verdict"] for c in quick.values()} == {NOT_TESTED}
    assert "trainings" in quick["E1"]["reason"] and "conditions" in quick["P1"]["reason"]
    few = verdicts(replace(WHOLE, n_replicates=6))[0]
    assert all(c["reason"] == "n = 6, the criterion asks for 8" for c in few.values())
    claims, summary = verdicts(diverged=True)
    assert all("1 of 8 replicates diverged" in c["reason"] for c in claims.values())
    assert summary["diverged"] == 1


def test_other_networks_are_measured_on_the_main_networks_curve():
    """A network whose accuracy is a fixed part of the curve's is on it in units of its ceiling."""

    def lower(student, q, y):
        return q, y * (2 / 3) ** ("width 32" in student.name)

    result = made(change=lower)
    ceiling = result.ceiling.where(result.of_network != "mlp, width 32", result.ceiling * 2 / 3)
    table = across_networks(result.assign(ceiling=ceiling), MAIN)
    assert table["mlp, width 32"]["by_ceiling"] > 0.9 > table["mlp, width 32"]["raw"] + 0.1
    assert table["cnn"]["raw"] > 0.9
