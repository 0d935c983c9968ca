"""What a result of the classifier says: committed records by other formulas, bounds, figures."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import stats as scipy_stats
from sklearn.isotonic import IsotonicRegression

from subliminal_toy.claims import Verdict, judge
from subliminal_toy.classifier.arms import (
    ABLATIONS,
    FREE,
    ONLY,
    PUBLISHED,
    WITHOUT,
    WITHOUT_OWN,
    WITHOUT_RANDOM,
)
from subliminal_toy.classifier.claims import CLAIMS, at_equal_progress, estimates, rank
from subliminal_toy.classifier.curve import PREDICTORS, explained, left_out, points
from subliminal_toy.plots import classifier as plots

FIGURES = Path(__file__).parents[1] / "figures"
RECORDS = ("mnist", "digits", "digits_cnn", "live", "explain_digits", "explain_mnist")
EXPLAINED = RECORDS[4:]


def load(name):
    return xr.load_dataset(FIGURES / name / "record.nc", engine="scipy")


@pytest.fixture(scope="module", params=RECORDS[:4])
def published(request):
    return request.param, load(request.param)


@pytest.fixture(scope="module", params=EXPLAINED)
def explaining(request):
    return request.param, load(request.param)


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


def found(data):
    return {(row.quantity, row.labels): row.estimate for row in estimates(data)}


def test_estimates_of_the_papers_arms_are_those_of_the_arrays(published):
    name, data = published
    rows = found(data)
    aux, cross = (column(data, "accuracy", arm) for arm in ("student_aux", "cross_aux"))
    assert rows["accuracy", "student_aux − cross_aux"][:3] == pytest.approx(interval(aux - cross))
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
        means = rows[f"{share}, ratio of means", arm].value
        assert means == pytest.approx(last.mean() / first.mean())
    assert len(rows) < 300
    compared = ("accuracy − published", "teacher") in rows
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


def test_the_bounds_are_those_that_were_fixed():
    """Beside each other, since a bound is written nowhere else; they are proved in test_claims."""
    assert {claim.id: [str(c.bound) for c in claim.conditions] for claim in CLAIMS} == {
        "M1": ["interval above 0.1", "at least 0.2"],
        "M2": ["interval within 0.04 to 0.16"],
        "G1": ["interval above 0.1", "at least 0.2", "interval within 0.04 to 0.16"],
        "E1": ["at least 0.9", "at most 0.06"],
        "E2": ["interval below 0", "interval above -0.1", *["interval within ±0.05"] * 2],
        "P1": ["at least 0.95", "at most 0.333333"],
    }
    fewest = {claim.id: [c.fewest for c in claim.conditions] for claim in CLAIMS[3:]}
    assert fewest == {"E1": [8, 20], "E2": [8] * 4, "P1": [8, 24]}


def test_divergence_and_few_replicates_test_nothing():
    data = load("digits")
    one = data.copy(deep=True)
    one.diverged[3, 2, -1] = 1
    assert {j.reason for j in judge(CLAIMS, one)} == {"1 of 8 replicates diverged"}
    assert {j.verdict for j in judge(CLAIMS, data.isel(replicate=[0]))} == {Verdict.NOT_TESTED}
    few = judge(CLAIMS, load("explain_digits").isel(replicate=slice(6)))
    assert {j.reason for j in few} == {"n = 6, the criterion asks for 8"}


# E1: one curve.


def test_the_points_of_e1_are_whole_students_of_one_network():
    rows = explained(load("explain_digits"))
    names = set(rows.arm.values.tolist())
    assert FREE in names and not names & (set(ABLATIONS) - {FREE})
    assert not [n for n in names if n in ("teacher", "untrained") or "cnn" in n or "width" in n]
    assert len(names) == 44
    assert len(points(rows).point) == int(rows.accuracy.notnull().sum())


def test_the_curve_has_seen_neither_the_level_nor_the_replicate():
    """By a plain loop over the points of two levels of one factor."""
    rows = explained(load("explain_mnist")).sel(step=[60, 240])
    fit = left_out(rows, "progress", ("step",))
    errors, guesses = {}, []
    for step, other in ((60, 240), (240, 60)):
        for r in range(8):
            others = rows.sel(step=other).isel(replicate=[i for i in range(8) if i != r])
            x, y = (others[n].values.ravel().astype(float) for n in ("progress", "accuracy"))
            seen = np.isfinite(x)
            model = IsotonicRegression(out_of_bounds="clip").fit(x[seen], y[seen])
            own = rows.sel(step=step).isel(replicate=r)
            q, y = (own[n].values.astype(float) for n in ("progress", "accuracy"))
            here = np.isfinite(q)
            guess = model.predict(q[here])
            guesses += guess.tolist()
            errors.setdefault(f"step: {step}", []).append((guess - y[here]) ** 2)
    np.testing.assert_allclose(np.sort(fit.guess), np.sort(guesses), atol=1e-6)
    expected = {name: np.concatenate(each).mean() ** 0.5 for name, each in errors.items()}
    assert fit.errors() == pytest.approx(expected)
    y, guess = fit.accuracy, fit.guess
    assert fit.r2().value == pytest.approx(
        1 - ((y - guess) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    )


def test_the_interval_of_r2_is_over_replicates_not_over_points():
    """Each point ten times over is the same knowledge: an interval over points would shrink."""
    fit = left_out(explained(load("explain_mnist")).sel(step=[60]), "progress")
    again = type(fit)(*(np.tile(array, 10) for array in fit))
    assert again.r2()[:3] == pytest.approx(fit.r2()[:3], abs=0.02)
    assert fit.r2().n == 8
    folds = np.stack([[((fit.accuracy - fit.guess)[fit.replicate != r] ** 2).sum(),
                       fit.accuracy[fit.replicate != r].var() * (fit.replicate != r).sum()]
                      for r in range(8)])  # fmt: skip
    jackknife = 1 - folds[:, 0] / folds[:, 1]
    error = (7 / 8 * ((jackknife - jackknife.mean()) ** 2).sum()) ** 0.5
    width = fit.r2().high - fit.r2().low
    assert 2 * error < width < 6 * error


def test_accuracy_should_fall_with_the_imitation_loss():
    rows = explained(load("explain_mnist")).sel(step=[240])
    falling = rows.assign(imitation_loss=1 - rows.progress)
    by_loss, by_progress = (
        left_out(data, name, ("inputs",)).r2().value
        for data, name in ((falling, "imitation_loss"), (rows, "progress"))
    )
    assert by_loss == pytest.approx(by_progress, abs=1e-3)
    assert [name for name, rising in PREDICTORS.items() if not rising] == ["imitation_loss"]


# E2 and P1.


def test_paths_are_compared_where_both_have_been():
    """``only`` runs far ahead: what it gains beyond the free student's progress does not count."""

    def curve(q):
        return 0.1 + 0.8 * np.sqrt(np.clip(q, 0, 1))

    data = load("explain_mnist").sel(arm=["untrained", FREE, ONLY])
    measured = data.accuracy.sel(arm=FREE).notnull().values[0]
    free, only = (np.linspace(*ends, measured.sum()) for ends in ((0.02, 0.3), (0.05, 2.0)))
    data.accuracy.loc[{"arm": "untrained"}] = 0.1
    for arm, q, y in (
        (FREE, free, curve(free)),
        (ONLY, only, np.where(only > 0.5, 5.0, curve(only) + 0.1)),
    ):
        at = data.arm.values.tolist().index(arm)
        data.progress[:, at, measured], data.accuracy[:, at, measured] = q, y
    ahead = at_equal_progress(data)
    assert ahead.n == 8 and 0 < ahead.value < 0.12


def conditions_of_p1(data):
    made = [arm for arm in data.arm.values if np.isfinite(column(data, "predicted", arm)).all()]
    conditions = [arm for arm in made if data.input_scale.sel(arm=arm) == 1]
    assert len(conditions) == len(made) - 1 == 25
    return conditions


def test_estimates_of_the_explanation_are_those_of_the_arrays(explaining):
    name, data = explaining
    rows = found(data)
    assert len(rows) < 300
    free, untrained, without, only, own = (
        column(data, "accuracy", arm) for arm in (FREE, "untrained", WITHOUT, ONLY, WITHOUT_OWN)
    )
    left = without - untrained - 0.25 * (free - untrained)
    expected = interval(left)
    assert rows["accuracy", "without: more than a quarter of the gain"][:3] == pytest.approx(
        expected
    )
    assert rows["accuracy", "without own − free"][:3] == pytest.approx(interval(own - free))
    random = column(data, "accuracy", WITHOUT_RANDOM)
    assert rows["accuracy", "without random − free"][:3] == pytest.approx(interval(random - free))
    low = sum(column(data, "accuracy", arm).mean() < 0.2 for arm in conditions_of_p1(data))
    assert rows["share below accuracy 0.2", "conditions of P1"].value == low / 25
    further = column(data, "progress", WITHOUT_OWN) - column(data, "progress", FREE)
    assert rows["progress", "without own − free"][:3] == pytest.approx(interval(further))
    # By Pythagoras: what a cosine leaves of a length, in lengths of the teacher's displacement.
    for arm in (FREE, WITHOUT_OWN):
        q, cosine = column(data, "progress", arm), column(data, "cosine", arm)
        away = q * np.sqrt(1 / cosine**2 - 1)
        estimate = rows["distance from the line to the teacher, in its lengths", arm]
        assert estimate.value == pytest.approx(away.mean(), rel=1e-3)
    measured, predicted = (
        [column(data, variable, arm).mean() for arm in conditions_of_p1(data)]
        for variable in ("accuracy", "predicted")
    )
    assert rank(data).value == pytest.approx(scipy_stats.spearmanr(measured, predicted).statistic)
    expected = {"explain_digits": (0.883, 0.980, 0.140), "explain_mnist": (0.854, 0.938, 0.113)}
    judged = {j.claim.id: j for j in judge(CLAIMS, data)}
    e1, p1 = judged["E1"], judged["P1"]
    shown = e1.shown.value, p1.shown.value, e1.estimates[1].value
    assert shown == pytest.approx(expected[name], abs=6e-4)
    held = {"explain_digits": {"E2", "P1"}, "explain_mnist": set()}[name]
    assert {id for id, j in judged.items() if j.verdict == Verdict.HELD} == held
    assert only.mean() > free.mean()


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
    assert plots.curve(data) is None and plots.paths(data) is None


def test_figures_of_the_explanation_draw_what_they_say():
    data = load("explain_digits").isel(replicate=slice(3))
    panels = plots.paths(data).axes
    for line, (arm, (label, colour, _)) in zip(panels[0].lines, plots.PATHS.items(), strict=False):
        means = data.accuracy.sel(arm=arm).dropna("step").mean("replicate")
        np.testing.assert_allclose(line.get_ydata(), means)
        assert (line.get_label(), line.get_color()) == (label, colour)
    axes = plots.predicted(data).axes[0]
    points_drawn = [line for line in axes.lines if line.get_marker() == "o"]
    white = [line for line in points_drawn if line.get_markerfacecolor() == "white"]
    assert len(points_drawn) == 26 and len(white) == 1
    (small,) = np.flatnonzero(data.input_scale == 0.1)
    assert white[0].get_xdata()[0] == pytest.approx(float(data.predicted[:, small].mean()))
    assert plots.accuracy(data) is None
