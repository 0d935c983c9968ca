"""What a result of the classifier says: committed records by other formulas, bounds, figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import stats as scipy_stats
from sklearn.isotonic import IsotonicRegression

from subliminal_toy.claims import Verdict, judge
from subliminal_toy.classifier import claims
from subliminal_toy.classifier.arms import (
    CHAINS,
    DISPUTED,
    FREE,
    KINDS,
    MATCHED,
    OWN,
    PUBLISHED,
    REFERENCE,
    WITHOUT_OWN,
)
from subliminal_toy.classifier.claims import CLAIMS, EARLIER, accuracy, estimates, explained
from subliminal_toy.classifier.training import SPLITS
from subliminal_toy.plots import classifier as plots

FIGURES = Path(__file__).parents[1] / "figures"
RECORDS = ("mnist", "digits", "digits_cnn", "live")


def load(name):
    return xr.load_dataset(FIGURES / name / "record.nc", engine="scipy")


@pytest.fixture(scope="module", params=RECORDS)
def published(request):
    return request.param, load(request.param)


@pytest.fixture(scope="module")
def lines():
    """Twelve replicates of a record's students, with parts of their displacements made up.

    The line is off by .05 in odd replicates, the rest alone is a tenth of the gain, the sum errs by
    .02; along other directions the rest is the whole student.
    """
    data = load("explain_mnist")
    data = data.isel(replicate=[0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3])
    keep = (data["update"].isin(["", "all"])) | (data.arm == WITHOUT_OWN)
    data = data.isel(arm=keep.values).drop_vars("predicted").astype(float)
    y = data.accuracy
    untrained = y.sel(arm="untrained", step=0)
    odd = xr.DataArray(np.arange(12) % 2, dims="replicate")
    sign = xr.DataArray((-1.0) ** np.arange(data.sizes["arm"]), dims="arm")
    rest = untrained + 0.1 * (y - untrained)
    parts = {"along": y - 0.05 * odd, "rest": rest, "sum": y + 0.02 * sign}
    for part, own in parts.items():
        other = {"along": 0 * y + untrained, "rest": y, "sum": y}[part]
        splits = [own if split == "line" else other for split in SPLITS]
        data[f"{part}_accuracy"] = xr.concat(splits, xr.Variable("split", list(SPLITS)))
        data[f"balanced_{part}_accuracy"] = own + 0.01
    data["balanced_accuracy"] = y + 0.01
    data["linearised_accuracy"], data["teacher_head_accuracy"] = y - 0.1, y
    data["replicate_number"] = "replicate", np.arange(12)
    return data


def column(data, name, arm):
    """Return a variable of an arm at its end, by replicate, by position."""
    at = data.arm.values.tolist().index(arm)
    values = data[name].values
    if values.ndim == 2:
        return values[:, at].astype(float)
    return values[:, at, data.step.values.tolist().index(data.final_step.values[at])].astype(float)


def interval(values):
    n = len(values)
    half = scipy_stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5
    return values.mean(), values.mean() - half, values.mean() + half


def found(data, estimates=estimates):
    return {(row.quantity, row.labels): row.estimate for row in estimates(data)}


def test_estimates_of_the_papers_arms_are_those_of_the_arrays(published):
    name, data = published
    rows = found(data)
    aux, cross = (column(data, "accuracy", arm) for arm in ("student_aux", "cross_aux"))
    gain = accuracy(data, "student_aux", minus="cross_aux")
    assert gain[:3] == pytest.approx(interval(aux - cross))
    for arm in ("student_aux", "student_all", "cross_aux", "cross_all"):
        for quantity, variable in (
            ("accuracy", "accuracy"),
            ("accuracy through the teacher's class head", "teacher_head_accuracy"),
            ("progress", "progress"),
        ):
            expected = interval(column(data, variable, arm))
            assert rows[quantity, arm][:3] == pytest.approx(expected)
        last, first = column(data, "imitation_loss", arm), column(data, "first_loss", arm)
        share = "share of the imitation loss left"
        assert rows[f"{share}, mean of ratios", arm].value == pytest.approx((last / first).mean())
    assert len(rows) < 300
    compared = ("accuracy − published, in combined standard errors", "teacher") in rows
    assert compared == (name == "mnist")
    r = np.corrcoef(aux, column(data, "progress", "student_aux"))[0, 1]
    squared = "squared correlation of accuracy and progress between replicates"
    assert rows[squared, "student_aux"].value == pytest.approx(r**2)


def test_published_values_are_compared_in_combined_standard_errors():
    data, rows = load("mnist"), found(load("mnist"))
    for arm, (mean, half_width) in PUBLISHED.items():
        values = column(data, "accuracy", arm)
        error = np.hypot(values.std(ddof=1) / 10, half_width / 1.96)
        z = rows["accuracy − published, in combined standard errors", arm].value
        assert z == pytest.approx((values.mean() - mean) / error)
        assert abs(z) < 3


def test_the_papers_claims_are_reproduced_on_all_records(published):
    name, data = published
    judged = {j.claim.id: j for j in judge(CLAIMS, data)}
    assert set(judged) == ({"G1"} if name == "digits_cnn" else {"M1", "M2"})
    assert {j.verdict for j in judged.values()} == {Verdict.REPRODUCED}


def test_earlier_criteria_are_those_that_were_fixed():
    """Of the others the records have hashes."""
    hashes = {claim.id: claim.sha256[:8] for claim in EARLIER}
    assert hashes == {"E1": "ae16fbde", "E2": "16fc50f4", "P1": "7559c0c4"}


@pytest.mark.parametrize(
    ("name", "verdicts", "values"),
    [
        ("explain_digits", ("did not hold", "held", "held"), (0.883, -0.137, 0.980)),
        ("explain_mnist", ("did not hold",) * 3, (0.854, -0.058, 0.938)),
    ],
)
def test_earlier_claims_have_the_verdicts_of_their_records(name, verdicts, values, committed):
    judged = committed[name].judgements
    assert [j.claim for j in judged] == list(EARLIER)
    assert tuple(j.verdict for j in judged) == verdicts
    assert [j.shown.value for j in judged] == pytest.approx(values, abs=6e-4)


def test_divergence_and_few_replicates_test_nothing(lines):
    data = load("digits")
    one = data.copy(deep=True)
    one.diverged[3, 2, -1] = 1
    assert {j.reason for j in judge(CLAIMS, one)} == {"1 of 8 replicates diverged"}
    assert {j.verdict for j in judge(CLAIMS, data.isel(replicate=[0]))} == {Verdict.NOT_TESTED}
    few = judge(CLAIMS, lines.isel(replicate=slice(6)))
    assert {j.reason for j in few} == {"n = 6, the criterion asks for 12"}


# E6: the line and the rest.


def points(data, *names):
    """Return variables of every replicate, training of E6 and checkpoint, in rows."""
    chosen = data.isel(arm=(data["update"] == "all").values)
    rows = [chosen[name].transpose("replicate", "arm", "step", ...).values for name in names]
    measured = np.isfinite(rows[0])
    return [row[measured] for row in rows]


def r2(y, guess):
    return 1 - ((y - guess) ** 2).sum() / ((y - y.mean()) ** 2).sum()


def test_what_is_said_of_parts_is_that_of_the_arrays(lines):
    rows = found(lines)
    assert len(rows) < 300
    y, sums, along, linearised = points(
        lines, "accuracy", "sum_accuracy", "along_accuracy", "linearised_accuracy"
    )
    fixed = "R² of the accuracy, nothing fitted"
    for label, guess in (
        ("sum, line", sums[:, 0]),
        ("sum, random line", sums[:, 2]),
        ("line alone", along[:, 0]),
        ("linearised network", linearised),
    ):
        assert rows[fixed, label].value == pytest.approx(r2(y, guess))
    assert rows[fixed, "sum, line"].n == 12
    error = "root mean square error of the accuracy of the sum"
    levels = {label: e.value for (name, label), e in rows.items() if name == error}
    assert list(levels.values()) == pytest.approx([0.02] * len(levels))
    assert {label.partition(":")[0] for label in levels} == set(claims.FACTORS)
    assert {"n_inputs: fresh", "inputs: scaled", "step: 240", "distance: 0.3"} <= set(levels)
    share = "share of the gain that the rest alone has"
    assert rows[share, "all, line"].value == pytest.approx(0.1)
    assert rows[share, "all, random line"].value == pytest.approx(1)
    assert rows[share, "n_aux: 50"].value == pytest.approx(0.1)
    assert "step: 240" not in {label for name, label in rows if name == share}
    ends = [column(lines, "accuracy", arm) for arm in (FREE, "untrained", "adagrad 0.003, m 3")]
    assert (share, FREE) in rows and ends[0].mean() - ends[1].mean() > 0.2
    assert (share, "adagrad 0.003, m 3") not in rows and ends[2].mean() - ends[1].mean() < 0.2
    further = column(lines, "progress", WITHOUT_OWN) - column(lines, "progress", FREE)
    assert rows["progress", "without own − free"][:3] == pytest.approx(interval(further))
    ahead = rows["accuracy − accuracy on the line", WITHOUT_OWN]
    assert ahead[:3] == pytest.approx(interval(0.05 * (np.arange(12) % 2)))


def test_each_condition_of_e6_can_fail_alone(lines):
    def verdicts(**changes):
        (judged,) = judge(CLAIMS, lines.assign(changes))
        pairs = zip(judged.claim.conditions, judged.estimates, strict=True)
        return judged.verdict, [c.bound.holds(e) for c, e in pairs]

    assert verdicts() == (Verdict.HELD, [True] * 3)
    uneven = lines.accuracy * (1 - 0.01 * (lines.replicate_number % 2))
    whole = lines.rest_accuracy.where(lines.split != "line", uneven)
    assert verdicts(rest_accuracy=whole) == (Verdict.NOT_HELD, [True, True, False])
    muon = lines.sum_accuracy + 0.1 * (lines.optimiser == "muon")
    assert verdicts(sum_accuracy=muon) == (Verdict.NOT_HELD, [True, False, True])
    worse = lines.sum_accuracy + 0.3 * (lines.replicate_number % 2)
    assert verdicts(sum_accuracy=worse)[1] == [False, False, True]


def test_the_interval_of_r2_is_over_replicates_not_over_points(lines):
    """Each training ten times over is the same knowledge: an interval over points would shrink."""
    students = explained(lines)
    again = xr.concat([students] * 10, "arm", data_vars="minimal")
    one, ten = (claims.r2(d.accuracy, claims.alone(d, "along")) for d in (students, again))
    assert ten[:3] == pytest.approx(one[:3], abs=1e-6)
    assert one.n == 12 and one.high - one.low > 0.002


def test_a_curve_has_not_seen_the_replicate_and_falls_with_the_loss(lines):
    students = explained(lines).sel(step=[60, 240])
    x, y = points(students, "progress", "accuracy")
    replicate = points(students.assign(r=students.replicate_number + 0 * students.accuracy), "r")[0]
    guess = np.full_like(y, np.nan)
    for r in range(12):
        seen = replicate != r
        model = IsotonicRegression(out_of_bounds="clip").fit(x[seen], y[seen])
        guess[~seen] = model.predict(x[~seen])
    rising = claims.on_a_curve(students.accuracy, students.progress, True)
    assert rising.value == pytest.approx(r2(y, guess))
    falling = claims.on_a_curve(students.accuracy, 1 - students.progress, False)
    assert falling.value == pytest.approx(rising.value, abs=1e-6)
    assert claims.on_a_curve(students.accuracy, students.progress, False).value < 0.2


# Figures.


def test_figures_draw_the_arms_that_their_labels_name():
    data = load("mnist")
    axes = plots.accuracy(data).axes[0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == [label for label, _ in plots.ARMS.values()]
    for row, (arm, (_, colour)) in enumerate(plots.ARMS.items()):
        values = column(data, "accuracy", arm)
        lines = [line for line in axes.lines if np.allclose(line.get_ydata(), row)]
        drawn = [line for line in lines if len(line.get_xdata()) == len(values)]
        np.testing.assert_allclose(drawn[0].get_xdata(), values)
        assert drawn[0].get_color() == colour
    assert plots.line(data) is None


def test_the_figure_of_the_line_draws_what_it_says(lines):
    figure = plots.line(lines)
    *panels, summed = figure.axes
    here = explained(lines)
    here = here.isel(arm=(here.distance == 0).values)
    for number, panel in enumerate(panels):
        students, line = panel.lines
        one = here.isel(replicate=number)
        x, y = (students.get_xdata(), students.get_ydata())
        np.testing.assert_array_equal(x, one.progress.values.ravel())
        np.testing.assert_array_equal(y, one.accuracy.values.ravel())
        order = np.argsort(x)
        np.testing.assert_allclose(line.get_ydata(), (y - 0.05 * (number % 2))[order])
        assert (students.get_color(), line.get_color()) == ("#d55e00", "#4d565f")
    rest, total = (line for line in summed.lines if line.get_marker() == ".")
    known = np.isfinite(total.get_xdata())
    error = np.abs(total.get_ydata() - total.get_xdata())[known]
    np.testing.assert_allclose(error, 0.02, rtol=1e-4)
    assert (rest.get_label(), total.get_label()) == ("rest alone", "line + rest")
    assert rest.get_ydata()[known].mean() < total.get_ydata()[known].mean() - 0.1
    assert "10%" in figure.get_suptitle() and plots.accuracy(lines) is None


# ---------- disputes ----------

GAIN = 0.1 + 0.05 + 0.08 + 0.02
"""Of the student from its teacher's start, 10 logits, KL."""


@pytest.fixture(scope="module")
def disputed():
    """Sixteen replicates whose accuracy is a sum of known effects, which losses and m scale."""
    rng = np.random.default_rng(0)
    names = ["untrained", "teacher", *(row.name for row in DISPUTED)]
    accuracy = np.full((16, len(names), 2), np.nan)
    through = accuracy.copy()
    shift = 0.01 * rng.normal(size=16)
    accuracy[..., 1] = through[..., 1] = (0.1 + shift)[:, None]
    for arm, row in enumerate(DISPUTED, 2):
        if row in (*MATCHED, *CHAINS):
            accuracy[:, arm, 1] = 0.1 + shift + 0.5 * GAIN
        elif " m " in row.name:
            first, second, head, aux = (origin == OWN for origin in row.start)
            scale = {3: 0.5, 10: 1.0, 50: 1.5}[row.n_aux] * (1 if row.loss == "kl" else 0.8)
            known = 0.1 * first + 0.05 * second + 0.08 * first * second + 0.02 * aux
            through[:, arm, 1] = 0.1 + shift + scale * known
            accuracy[:, arm, 1] = 0.1 + shift + scale * known * head
    for name, share in SHARES.items():
        noise = 0.002 * rng.normal(size=16)
        accuracy[:, names.index(name), 1] = 0.1 + shift + GAIN * share + noise - noise.mean()
    axes = ("replicate", "arm", "step")
    final_step = ("arm", [0, *[600] * (len(names) - 1)])
    accuracy[:, 0, 0] = 0.1 + shift
    arrays = {"accuracy": accuracy, "teacher_head_accuracy": through, "progress": accuracy}
    variables = {name: (axes, values) for name, values in arrays.items()}
    coords = {"arm": names, "step": [0, 600], "final_step": final_step}
    return xr.Dataset(variables, coords, {"published": 0})


SHARES = {
    "first layer relabelled": 0.1, "second layer relabelled": 0.2, "distance 0.3": 0.7,
    "distance 1": 0.3, "512 images": 0.6, "fresh images": 1.2,
}  # fmt: skip
"""What is left of the gain of the same start."""


def test_effects_of_shared_starts_are_the_known_ones(disputed):
    rows = found(disputed, claims.of_disputes)
    mean = np.mean([0.5, 1.0, 1.5]) * 0.9
    effects = {"first layer": 0.1 + 0.04, "second layer": 0.05 + 0.04, "class head": 0.0,
               "auxiliary head": 0.02}  # fmt: skip
    for layer, effect in effects.items():
        value = rows["effect of a shared start", f"{layer}, teacher's class head"].value
        assert value == pytest.approx(mean * effect)
        value = rows["effect of a shared start", f"{layer}, teacher's class head, m 3, kl"].value
        assert value == pytest.approx(0.5 * effect)
    pair = "first layer and second layer, teacher's class head"
    assert rows["interaction of starts", pair].value == pytest.approx(mean * 0.08)
    # Through the own class head everything needs that head, on which half of the starts end.
    head = rows["effect of a shared start", "class head, own class head"].value
    assert head == pytest.approx(mean * (0.05 + 0.025 + 0.02 + 0.01))
    pair = "first layer and class head, own class head"
    assert rows["interaction of starts", pair].value == pytest.approx(mean * 0.14)
    for arm, share in SHARES.items():
        value = rows["share of the gain of the same start", arm].value
        assert value == pytest.approx(share)
    effects = {label: e for (name, label), e in rows.items() if name == "effect on accuracy"}
    known = {
        "another start": -GAIN, "another first layer": -0.18, "another auxiliary head": -0.02,
        "another class head": -GAIN, "3 logits": -GAIN / 2, "50 logits": GAIN / 2,
        "distance 0.3": -0.3 * GAIN, "fresh images": 0.2 * GAIN, "muon 0.001": -GAIN / 2,
        "sixth generation": -GAIN / 2,
    }  # fmt: skip
    for label, effect in known.items():
        assert effects[label].value == pytest.approx(effect), label
    assert len(effects) == 5 + 9 + 2 + 4 + 1 + len(OTHER_KINDS)


def verdicts(data, *ids):
    """Return the verdicts on some claims, whatever else the data would have to hold."""
    chosen = [replace(claim, applies=lambda _: True) for claim in CLAIMS if claim.id in ids]
    return {j.claim.id: j.verdict for j in judge(chosen, data)}


def test_disputes_are_judged_by_the_cells_that_they_name(disputed):
    held = Verdict.HELD
    assert claims.heads_alone(disputed, 50).value == pytest.approx(0.1 + 0.02 * 1.5 * 0.9, abs=0.01)
    ids = "D1", "D2", "D4", "D5"
    assert verdicts(disputed, *ids) == dict.fromkeys(ids, held) | {"D1": Verdict.NOT_HELD}

    def changed(name, arms, value):
        data = disputed.copy(deep=True)
        data[name].loc[{"arm": arms, "step": 600}] = value
        return verdicts(data, *ids)

    cells = [f"other other own own, m 50, {loss}" for loss in ("kl", "squared error")]
    assert changed("teacher_head_accuracy", cells, 0.3)["D1"] == held
    for arm, value, id in [
        ("first layer relabelled", 0.2, "D2"), ("second layer relabelled", 0.2, "D2"),
        ("distance 0.3", 0.15, "D4"), ("distance 1", 0.3, "D4"), ("512 images", 0.4, "D5"),
        ("fresh images", 0.15, "D5"),
    ]:  # fmt: skip
        assert changed("accuracy", [arm], value)[id] == Verdict.NOT_HELD, arm


OTHER_KINDS = [kind for kind in KINDS if kind != REFERENCE]


@pytest.fixture(scope="module")
def matched():
    """Students whose accuracy is known of their progress, which each makes at a pace of its own."""
    rng = np.random.default_rng(0)
    steps, pace = np.array([0, 10, 100, 300, 600]), 1 + 0.1 * rng.random(16)
    names = ["untrained", "teacher", *(row.name for row in MATCHED)]
    progress = np.full((16, len(names), 5), np.nan)
    for arm, row in enumerate(MATCHED, 2):
        speed = pace * (0.5 if row.optimiser == "muon" else 1.0) * (1.1 if row.n_aux == 3 else 1.0)
        progress[:, arm, 1:] = 1e-3 * speed[:, None] * steps[1:]
    accuracy, loss = 0.1 + 0.8 * progress, 3 * (1 - progress / 2)
    is_lion = np.char.startswith(names, "lion")
    accuracy += np.where(is_lion[:, None], 0.05, 0)  # knows more than its progress says
    loss[:, is_lion] = 3 * (1 - progress[:, is_lion])  # and is twice as near in loss
    accuracy[:, 0, 0], accuracy[:, 1, 4] = 0.1, 0.9
    arrays = {"accuracy": accuracy, "progress": progress, "imitation_loss": loss,
              "teacher_head_accuracy": accuracy}  # fmt: skip
    variables = {name: (("replicate", "arm", "step"), array) for name, array in arrays.items()}
    variables["first_loss"] = ("replicate", "arm"), np.full((16, len(names)), 3.0)
    final_step = ("arm", [0, *[600] * (len(names) - 1)])
    return xr.Dataset(variables, {"arm": names, "step": steps, "final_step": final_step})


def test_students_are_compared_where_they_match(matched):
    rows = found(matched, claims.of_matched)
    step, progress, loss = (
        {kind: rows[f"accuracy − Adam's at equal {match}", kind].value for kind in OTHER_KINDS}
        for match in ("step", "progress", "loss")
    )
    muon, lion = "muon 0.001", "lion 3e-05"
    ran = matched.progress.sel(arm=[f"{muon}, m {m}" for m in (3, 10)], step=[10, 100, 300, 600])
    assert step[muon] == pytest.approx(-0.8 * float(ran.mean()))  # it is as far behind as it got
    assert step[lion] == progress[lion] == pytest.approx(0.05)
    others = [kind for kind in OTHER_KINDS if kind not in (muon, lion)]
    for match in (step, progress, loss):
        assert all(abs(match[kind]) < 1e-6 for kind in others)
    assert abs(progress[muon]) < 1e-6 and abs(loss[muon]) < 1e-6
    # Where Adam has that loss it has gone twice as far; at its end it never had it.
    adams = matched.progress.sel(arm=[f"{REFERENCE}, m {m}" for m in (3, 10)], step=[10, 100, 300])
    assert loss[lion] == pytest.approx(0.05 - 0.8 * float(adams.mean()))
    share = "difference from Adam as a share of that at equal steps"
    squares = np.nanmean([0.05**2, float(((0.8 * ran) ** 2).mean())])
    expected = 0.05 / 2**0.5 / squares**0.5
    assert rows[share, "at equal progress"].value == pytest.approx(expected, rel=1e-3)
    assert verdicts(matched, "D3") == {"D3": Verdict.HELD}
    lifted = matched.copy(deep=True)
    lifted.accuracy[:, names_of(matched, "sign"), 1:] += 0.3
    assert verdicts(lifted, "D3") == {"D3": Verdict.NOT_HELD}


def names_of(data, prefix):
    return np.flatnonzero(np.char.startswith(data.arm.values.astype(str), prefix))


def test_what_is_farther_than_adam_ever_was_is_not_compared(matched):
    data = matched.copy(deep=True)
    farther = names_of(data, "momentum")
    data.progress[:, farther, 4] = 5.0
    data.accuracy[:, farther, 4] = 0.0
    kind = "momentum 0.3"
    beyond = claims.beyond(data, kind, 3, "progress")
    assert np.isnan(beyond[:, -1]).all() and np.abs(beyond[:, :-1]).max() < 1e-6
    assert claims.apart(data, "progress").value == pytest.approx(
        claims.apart(matched, "progress").value
    )


@pytest.fixture(scope="module")
def chains():
    """Chains whose students know what is on lines of known slopes, and get 0.5 to 0.9 as far."""
    names = ["untrained", "teacher", *(row.name for row in CHAINS)]
    accuracy = np.full((16, len(names), 2), np.nan)
    progress, q = accuracy.copy(), np.linspace(0, 1, 41)
    rng = np.random.default_rng(0)
    slope = rng.uniform(0.7, 0.9, 16)
    accuracy[:, 0, 0], accuracy[:, 1, 1] = 0.1, 0.9
    for arm, row in enumerate(CHAINS, 2):
        number = int(row.name.split(",")[0].split()[1])
        each = {3: 0.5, 10: 0.7, 30: 0.9}[row.n_aux]
        progress[:, arm, 1] = each
        accuracy[:, arm, 1] = 0.1 + slope * each**number + 1e-4 * rng.normal(size=16)
    variables = {"accuracy": accuracy, "progress": progress, "teacher_head_accuracy": accuracy}
    variables = {name: (("replicate", "arm", "step"), array) for name, array in variables.items()}
    variables["line_accuracy"] = ("replicate", "q"), 0.1 + slope[:, None] * q
    for part, off in (("along", 0.05), ("sum", 0.01)):
        values = (accuracy + off)[..., None]
        variables[f"{part}_accuracy"] = ("replicate", "arm", "step", "split"), values
    final_step = ("arm", [0, *[600] * (len(names) - 1)])
    coords = {"arm": names, "step": [0, 600], "q": q, "split": ["line"], "final_step": final_step}
    return xr.Dataset(variables, coords)


def test_a_chain_is_the_line_at_the_product_of_its_progress(chains):
    rows = found(chains, claims.of_chains)
    assert rows["product of progress", "generation 3, m 10"].value == pytest.approx(0.7**3)
    mean = float(chains.accuracy.sel(arm="generation 3, m 10", step=600).mean())
    label = "accuracy of the line there", "generation 3, m 10"
    assert rows[label].value == pytest.approx(mean, abs=1e-3)
    r_squared = "R² of the accuracy in chains, nothing fitted"
    spread = chains.accuracy.sel(step=600, arm=chains.arm[2 + 3 :]).var()
    for label, error in (("line of the own teacher", 0.05), ("sum, own teacher", 0.01)):
        expected = 1 - error**2 / float(spread)
        assert rows[r_squared, label].value == pytest.approx(expected, abs=1e-3)
    for m, each in ((3, 0.5), (10, 0.7), (30, 0.9)):
        for name in ("students", "line"):
            half = rows["generations in which the gain halves", f"{name}, m {m}"].value
            assert half == pytest.approx(-1 / np.log2(each), rel=1e-2)
    assert verdicts(chains, "D6") == {"D6": Verdict.HELD}
    for m in (3, 10, 30):  # an accuracy that the line does not have, in one chain alone
        data = chains.copy(deep=True)
        arms = [f"generation {g}, m {m}" for g in range(2, 7)]
        data.accuracy.loc[{"arm": arms, "step": 600}] += 0.12
        assert verdicts(data, "D6") == {"D6": Verdict.NOT_HELD}
    data = chains.copy(deep=True)  # the first generation is not judged: E6 is about it
    data.accuracy.loc[{"arm": [f"generation 1, m {m}" for m in (3, 10, 30)], "step": 600}] += 0.3
    assert verdicts(data, "D6") == {"D6": Verdict.HELD}
    scattered = chains.copy(deep=True)
    scattered.line_accuracy[:] += np.linspace(-0.3, 0.3, 16)[:, None]
    assert verdicts(scattered, "D6") == {"D6": Verdict.NOT_HELD}


def test_the_figures_of_the_disputes_draw_what_they_say():
    data = load("disputes")
    same = column(data, "accuracy", "own own own own, m 10, kl")
    axes = plots.matters(data).axes[0]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    drawn = [line for line in axes.lines if len(line.get_xdata())]
    legend = {line.get_label(): line.get_color() for line in axes.lines if line not in drawn}
    means, hues = {}, {}
    for line in drawn:
        if line.get_marker() == "o":
            means[line.get_ydata()[0]] = line.get_xdata()[0]
            hues[line.get_ydata()[0]] = line.get_color()
    assert len(labels) == len(means) == 38 and list(means.values()) == sorted(means.values())
    for label, arm, group in [
        ("another start", "other other other other, m 10, kl", "start"),
        ("another class head", "own own other own, m 10, kl", "start"),
        ("distance 0.5", "distance 0.5", "start"), ("lion 3e-05", "lion 3e-05, m 10", "training"),
        ("3 logits", "own own own own, m 3, kl", "outputs and images"),
        ("sixth generation", "generation 6, m 10", "outputs and images"),
    ]:  # fmt: skip
        row = labels.index(label)
        assert means[row] == pytest.approx((column(data, "accuracy", arm) - same).mean())
        assert hues[row] == legend[group]
    axes = plots.chains(data).axes[0]
    drawn = {line.get_label(): line for line in axes.lines}
    for m in (3, 10, 30):
        curve = drawn[f"{m} logits"]
        product, expected = np.ones(16), []
        for number in range(1, 7):
            product = product * column(data, "progress", f"generation {number}, m {m}")
            rows = zip(product, data.line_accuracy.values, strict=True)
            expected.append(np.mean([np.interp(q, data.q, row) for q, row in rows]))
        np.testing.assert_allclose(curve.get_ydata(), expected, rtol=1e-5)
        alike = [line for line in axes.lines if line.get_color() == curve.get_color()]
        points = [line.get_ydata()[0] for line in alike if line.get_marker() == "o"]
        accuracy = [column(data, "accuracy", f"generation {g}, m {m}").mean() for g in range(1, 7)]
        np.testing.assert_allclose(points, accuracy, rtol=1e-5)
    assert plots.matters(load("digits")) is None and plots.chains(load("digits")) is None
