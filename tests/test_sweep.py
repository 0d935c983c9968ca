"""A sweep is the experiment at every value; a comparison is what was published, beside the same."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from subliminal_toy import findings, plots, record, report, stats
from subliminal_toy.claims import judge
from subliminal_toy.classifier.arms import OTHER, table
from subliminal_toy.classifier.claims import final
from subliminal_toy.classifier.config import PRESETS, ClassifierConfig
from subliminal_toy.classifier.experiment import of_table
from subliminal_toy.errors import UserError
from subliminal_toy.sweep import claims, experiment
from subliminal_toy.sweep.config import CompareConfig, SweepConfig

ROOT = Path(__file__).parents[1]
VALUES = ROOT.parent / "shared" / "PUBLISHED.md"
TABLE = ROOT / "subliminal_toy" / "sweep" / "compare.toml"
TINY = ClassifierConfig(
    hidden_sizes=(8,), teacher_epochs=1, student_epochs=1, n_inputs=64, n_replicates=2
)
KEY = jax.random.key(3)
SLOW = {"learning_rate": 1e-5, "hidden_sizes": (6, 6)}  # one layer more


@pytest.fixture(autouse=True)
def tiny(monkeypatch, compile_quickly):
    monkeypatch.setitem(PRESETS, "quick", TINY)


def swept(digits, *over):
    made = experiment.sweep(SweepConfig("classifier", over), KEY, digits, None)
    return record.run(made).data


def alone(digits, teacher, students):
    return record.run(of_table(teacher, students, 2, KEY, digits)).data


def test_a_sweep_is_the_experiment_at_every_value_and_pair(digits):
    axes = {"teacher.weight_decay": (0.1, 0.2), "student.learning_rate": (1e-3, 1e-2)}
    result = swept(digits, *((name, *map(str, values)) for name, values in axes.items()))
    assert dict(result.sizes) | dict.fromkeys(axes, 2) == dict(result.sizes)
    teacher, students = table(TINY)
    for decay in (0.1, 0.2):
        for rate in (1e-3, 1e-2):
            varied = tuple(
                replace(row, learning_rate=rate, split=row.imitates == "auxiliary")
                for row in students
            )
            expected = alone(digits, replace(teacher, weight_decay=decay), varied)
            at = result.sel({"teacher.weight_decay": decay, "student.learning_rate": rate})
            for name in ("accuracy", "progress", "imitation_loss", "sum_accuracy"):
                np.testing.assert_array_equal(at[name].sel(step=expected.step), expected[name])
            label = f"cross_all, teacher.weight_decay {decay}, student.learning_rate {rate}"
            shown = [r for r in claims.estimates(result) if r.labels == label]
            row = final(expected).sel(arm="cross_all")
            assert [r.quantity for r in shown] == ["accuracy", "progress", "ρ of the teacher"]
            for own, values in zip(shown, (row.accuracy, row.progress, row.rho), strict=True):
                np.testing.assert_allclose(own.estimate, stats.estimate(values), rtol=1e-4)


def test_one_auxiliary_logit_is_a_null_and_the_figure_is_drawn(digits):
    result = swept(digits, ("n_aux", "1", "3"))
    students = tuple(replace(s, split=s.imitates == "auxiliary") for s in table(TINY)[1])
    expected = alone(digits, table(TINY)[0], students)
    at = result.accuracy.sel(n_aux=3, step=expected.step)
    np.testing.assert_array_equal(at, expected.accuracy)
    moved = result.progress.sel(arm="student_aux").max("step")
    np.testing.assert_array_equal(moved.sel(n_aux=1), 0)
    assert (np.abs(moved.sel(n_aux=3)) > 0).all()
    assert list(plots.draw("sweep", result)) == ["swept"]


def test_a_field_that_is_a_number_compiles_nothing_more(digits):
    def compiled(value):
        events = []
        listener = lambda event, seconds, **_: events.append(event)  # noqa: E731
        jax.monitoring.register_event_duration_secs_listener(listener)
        swept(digits, ("student.weight_decay", value, "0.1"))
        jax.monitoring.unregister_event_duration_listener(listener)
        return sum("backend_compile" in event for event in events)

    compiled("0.2")
    assert compiled("0.3") == 0


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ((), "Name a field"),
        ((("n_aux",),), "Name a field"),
        ((("n_auxx", "1"),), "no field 'n_auxx'; the nearest is n_aux"),
        ((("student.learnig_rate", "1"),), "the nearest is student.learning_rate"),
        ((("inputs", "unifrom"),), "no 'unifrom'; the nearest is uniform"),
        ((("learning_rate", "fast"),), "takes float, not 'fast'"),
        ((("n_aux", "0"),), "at least 1, not 0"),
        ((("weight_decay", "-1"),), "at least 0, not -1"),
        ((("n_aux", "10..x"),), "no range"),
        ((("hidden_sizes", "a,b"),), "takes tuple"),
        ((("student.n_aux", "3", "5"),), "student_aux: n_aux 5, its teacher has 3"),
    ],
)
def test_what_cannot_be_varied_gets_one_sentence(over, sentence, digits):
    with pytest.raises(UserError, match=sentence):
        experiment.sweep(SweepConfig("classifier", over), KEY, digits, None)


def test_a_range_has_two_values_a_decade():
    decades = ["0.0001", "0.000316", "0.001", "0.00316", "0.01"]
    assert list(experiment.spread(["1e-4..1e-2"])) == decades
    assert list(experiment.spread(["1..100", "7"])) == ["1", "3", "10", "32", "100", "7"]


# ---------- published set-ups ----------


def test_every_value_stands_in_its_source():
    if not VALUES.exists():
        pytest.skip("the list of published values is not here")
    text = VALUES.read_text(encoding="utf-8")
    parts = re.split(r"\n(?=### |\| \[|\| thierry)", text)
    names = {"Cloud et al., figure 10b": "[P] Fig. 10b"}
    blocks = tomllib.loads(TABLE.read_text(encoding="utf-8"), parse_float=str)["block"]
    for block in blocks:
        source = names.get(block["source"], block["source"])
        own = "\n".join(part for part in parts if source in part.partition("\n")[0])
        assert own, source
        for setup in block["setups"]:
            for of, numbers in setup.items():
                if of not in ("teacher", "student", "both"):
                    assert all(number.removeprefix("0") in own for number in numbers), (of, numbers)


def test_set_ups_are_what_they_say():
    every = experiment.published()
    assert len(every) == 140
    values = {(v.source, v.setup, v.of): v for v in every}
    one = values["agu18dec/subliminal-learning", "n aux 2, start other", "cross"]
    assert (one.student.start, one.student.imitates) == (OTHER, "auxiliary")
    assert (one.student.n_aux, one.student.epochs, one.teacher.epochs) == (2, 5, 5)
    both = "teacher’s learning rate 0.01, learning rate 0.01"
    assert values["[D]", both, "aux"].student.learning_rate == 0.01
    (through,) = [v for v in values.values() if v.of == "through_teacher"]
    assert through.measure == "teacher_head_accuracy" and through.student.fresh
    assert all(v.student.imitates == "all" for v in values.values() if "all" in v.of)
    assert all(
        (v.student.start == OTHER) == ("cross" in v.of) for v in values.values() if v.student
    )


@pytest.fixture(scope="module")
def compared(digits):
    with pytest.MonkeyPatch.context() as patch:
        teacher, students = table(TINY)
        slow = replace(teacher, **SLOW)
        rows = [
            experiment.Published("a", "rate", "aux", teacher, students[0], 0.3, 0.1),
            experiment.Published("b", "rate", "aux", slow, students[0], 0.1, np.nan),
            experiment.Published("b", "start", "through_teacher", slow, students[2], 0.2, 0.01),
            experiment.Published("b", "start", "teacher_itself", teacher, None, 0.2, 0.01),
        ]
        patch.setattr(experiment, "published", lambda: rows)
        made = experiment.comparison(CompareConfig(n_replicates=2), KEY, digits, None)
        return record.run(made).data


def test_values_stand_beside_the_published_ones_of_their_set_up(compared, digits):
    teacher, students = table(TINY)
    fast = final(alone(digits, teacher, (students[0],)))
    slow = final(alone(digits, replace(teacher, **SLOW), (students[0], students[2])))
    expected = [
        fast.accuracy.sel(arm="student_aux"), slow.accuracy.sel(arm="student_aux"),
        slow.teacher_head_accuracy.sel(arm="cross_aux"), fast.accuracy.sel(arm="teacher"),
    ]  # fmt: skip
    own = claims.own_values(compared)
    np.testing.assert_allclose(own, expected, rtol=1e-5)
    errors = own.std(1, ddof=1) / np.sqrt(2)
    z = (own.mean(1) - [0.3, 0.1, 0.2, 0.2]) / np.hypot(
        errors, np.array([0.1, np.nan, 0.01, 0.01]) / 1.96
    )
    np.testing.assert_allclose(claims.z(compared), z, rtol=1e-5)
    assert claims.met(compared).n == 3 and claims.met(compared).value == np.mean(
        np.abs(z[[0, 2, 3]]) <= 3
    )
    drawn = plots.draw("compare", compared)
    assert list(drawn) == ["published"]
    factors = drawn["published"].axes[0].containers
    points = np.concatenate([factor.lines[0].get_xydata() for factor in factors])
    np.testing.assert_allclose(points, np.stack([[0.3, 0.1, 0.2, 0.2], own.mean(1)], 1))
    for axis, half in (
        (0, [0.1, 0, 0.01, 0.01]),
        (1, [(e.high - e.low) / 2 for e in map(stats.estimate, own)]),
    ):
        bars = [bar for factor in factors for bar in factor.lines[2][axis].get_segments()]
        np.testing.assert_allclose([np.ptp(bar[:, axis]) / 2 for bar in bars], half, atol=1e-12)


def test_progress_line_and_sum_stand_beside_each_value(compared):
    data, known = compared.copy(deep=True), {"along_accuracy": 0.2, "sum_accuracy": 0.3}
    arm = data.published_arm.values[0]
    for name, value in known.items():
        data[name].loc[{"arm": arm}] = 0.9
        data[name].loc[{"arm": arm, "split": "line"}] = value
    data.progress.loc[{"arm": arm}] = 0.1
    table = [row.split(" | ") for row in report.compared_block({"c": record_of(data)}).splitlines()]
    first, second, _, teacher = table[2:]
    own, z = claims.own_values(data).mean(1), claims.z(data)
    assert first[0] == "| " + claims.set_ups(data)[0]
    assert first[1] == "0.30 [0.20, 0.40]" and first[2].startswith(f"{own[0]:.2f}")
    assert first[3:] == [
        f"{own[0] - 0.3:.3f}".replace("-", "−"), f"{z[0]:.1f}".replace("-", "−"),
        "0.10", "0.20", "0.30 |",
    ]  # fmt: skip
    assert second[1] == "0.100" and second[4] == "" and teacher[5:] == ["1.00", "", " |"]


def record_of(data):
    rows = {(row.quantity, row.labels): row.estimate for row in claims.estimates(data)}
    judged = judge(claims.CLAIMS, data)
    return record.Record(data, {}, {"experiment": "compare"}, judged, rows)


def test_what_is_said_of_published_values_is_measured(compared):
    (finding,) = findings.findings({"compare": record_of(compared)})
    z, own = claims.z(compared), claims.own_values(compared).mean(1)
    near = 100 * np.mean(np.abs(z[[0, 2, 3]]) <= 3)
    assert finding.text.startswith(
        f"Of 3 values that others published with an interval {near:.0f} % ["
    )
    own_error = claims.own_values(compared).std(1, ddof=1) / np.sqrt(2)
    errors = np.hypot(own_error, compared.half_width.values / 1.96)[[0, 2, 3]]
    assert f"{np.median(errors):.3f} (median), above .03 in {sum(errors > 0.03)}." in finding.text
    off = abs(own[1] - 0.1)
    said = f"1 more were published without one; on average they are {off:.3f} from"
    assert said in finding.text
    names = claims.set_ups(compared)
    furthest = sorted((0, 2, 3), key=lambda i: -abs(z[i]))
    said = [
        finding.text.index(f"{names[i]} {compared.published.values[i]:.3f}, here ")
        for i in furthest
    ]
    assert said == sorted(said) and names[1] not in finding.text
    assert len(set(names)) == 4 and names[2].endswith(", teacher's class head")


def test_a_factor_that_is_none_gets_one_sentence(digits):
    with pytest.raises(UserError, match="the nearest is weight decay"):
        experiment.comparison(CompareConfig(("weight",)), KEY, digits, None)
