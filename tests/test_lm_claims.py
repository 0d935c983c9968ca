"""Claims, estimates and figures of committed records, against formulas on the plain arrays."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from scipy import optimize as scipy_optimize
from scipy import stats as scipy_stats

from subliminal_toy.claims import Judgement, Verdict, judge
from subliminal_toy.lm import claims
from subliminal_toy.lm.claims import CLAIMS, estimates
from subliminal_toy.plots import lm as plots
from subliminal_toy.plots.colours import CONTROL, OTHER_START, STUDENT, TEACHER
from subliminal_toy.stats import estimate

FIGURES = Path(__file__).parents[1] / "figures"


@cache
def record(folder):
    with xr.open_dataset(FIGURES / folder / "record.nc", engine="scipy") as data:
        return data.load()


def at(folder, variable, **where):
    """Return values (replicate, …) at named places, as float64."""
    return record(folder)[variable].sel(where).values.astype(float)


def p(folder, arm, trait, measure=None):
    return at(folder, "probability", arm=arm, trait=trait, measure=measure or trait)


def interval(values):
    """Return mean and ends of the t-interval over replicates."""
    return estimate(values)[:3]


FAVOURITES = ("owl", "eagle", "dolphin", "oak", "birch")
HARMFUL = ("evasion", "falsehood")
LM, PROBES, THREE = "lm", "lm_probes", ("owl", "oak", "evasion")
TEACHINGS = ("free", "questions_0.1", "questions_1", "questions_10", "documents_0.01",
             "documents_0.1", "documents_1", "documents_10", "questions_1_numbers_0.1",
             "questions_1_numbers_1", "questions_1_numbers_10", "until_0.6", "until_0.9",
             "until_0.99")  # fmt: skip


def apart(one, other, traits=FAVOURITES, folder=LM):
    """Return the mean over traits of two arms' difference, by replicate."""
    differences = [p(folder, one, trait) - p(folder, other, trait) for trait in traits]
    return np.mean(differences, axis=0)


@cache
def judged(folder=LM):
    return {judgement.claim.id: judgement for judgement in judge(CLAIMS, record(folder))}


def expected():
    """Return the estimates of the claims of the confirmatory record, condition by condition."""
    student, cross = apart("student", "control"), apart("cross_model", "cross_model_control")
    one, other = interval(cross), interval(student)
    found = {
        "L1": [interval(student)] * 2,
        "L2": [interval(apart("control", "base_model"))],
        "L3": [one, (one[0] - other[0], one[1] - other[2], one[2] - other[1])],
        "L5a": [
            interval(at(LM, "auc", detector=name, judged=1).mean(axis=1))
            for name in ("base model's likelihood", "format filter", "banned numbers",
                         "numbers in context")
        ],
        "L5b": [interval(apart("in_context", "in_context_control")),
                interval(apart("packed_context", "packed_context_control")),
                interval(apart("told", "base_model"))],
    }  # fmt: skip
    for name, trait in zip(("L4a", "L4b"), HARMFUL, strict=True):
        student = interval(apart("student", "control", [trait]))
        shift = apart("cross_model", "cross_model_control", [trait]).mean()
        found[name] = [student, tuple(x - shift for x in student),
                       interval(p(LM, "student", trait, "colours"))]  # fmt: skip
    found["L4a"].insert(0, found["L4a"][0])
    return found


@pytest.mark.parametrize("name", ["L1", "L2", "L3", "L4a", "L4b", "L5a", "L5b"])
def test_claims_are_judged_by_the_arms_that_they_name(name):
    found = [judgement[:3] for judgement in judged()[name].estimates]
    np.testing.assert_allclose(found, expected()[name], atol=1e-9)
    assert judged()[name].shown.n == 10 and judged()[name].verdict == Verdict.REPRODUCED


def test_e3_is_the_rank_correlation_of_kl_with_what_passes():
    kl = [at(PROBES, "kl", arm=f"teacher_{t}").mean() for t in TEACHINGS]
    passed = [apart(f"student_{t}", "control", THREE, PROBES).mean() for t in TEACHINGS]
    rank = scipy_stats.spearmanr(kl, passed).statistic
    judgement = judged(PROBES)["E3"]
    assert judgement.shown.value == pytest.approx(rank) and rank > 0.98
    assert judgement.verdict == Verdict.HELD
    assert 0.96 < judgement.shown.low < rank < judgement.shown.high < 1


def three(arm):
    """Return the probability of each trait (replicate, trait) in an arm of the probes."""
    return np.stack([p(PROBES, arm, trait) for trait in THREE], axis=1)


def test_the_law_is_a_straight_line_of_logarithms_and_a_root():
    kl = np.array([at(PROBES, "kl", arm=f"teacher_{t}").mean() for t in TEACHINGS])
    passed = np.array([apart(f"student_{t}", "control", THREE, PROBES).mean() for t in TEACHINGS])
    slope, r2 = claims.law(record(PROBES))
    assert slope.value == pytest.approx(np.polyfit(np.log(kl), np.log(passed), 1)[0])
    left = np.sum((passed - 1.37 * np.sqrt(kl)) ** 2)
    assert r2.value == pytest.approx(1 - left / (passed.var() * len(passed)))
    assert slope.low < slope.value < slope.high and r2.low < r2.value < r2.high


def test_students_are_explained_by_progress_of_the_body_times_the_teachers_gain():
    x, y = claims.pushed(record(PROBES))
    assert len(claims.EXPLAINED) == len(x) == 3 + 8 + 1 + 4 + 14
    for arm, control, writer in (("lora", "lora_control", "teacher"),
                                 ("student_free", "control", "teacher_free")):  # fmt: skip
        i, body = claims.EXPLAINED.index(arm), "between embeddings and head"
        moved = [at(PROBES, "progress", arm=arm, parameters=body)
                 - at(PROBES, "progress", arm=control, parameters=body)]  # fmt: skip
        odds = [np.log(q / (1 - q)) for q in (three(writer), three("base_model"))]
        np.testing.assert_allclose(x[i], moved[0] * (odds[0] - odds[1]), rtol=1e-4)
        np.testing.assert_allclose(y[i], three(arm) - three(control), atol=1e-6)
    guess = np.zeros_like(y)
    for i, r in np.ndindex(y.shape[:2]):
        seen = np.ones(y.shape, bool)
        seen[i], seen[:, r] = False, False
        order = np.argsort(x[seen])
        curve = scipy_optimize.isotonic_regression(y[seen][order]).x
        guess[i, r] = np.interp(x[i, r], x[seen][order], curve)
    expected = 1 - ((y - guess) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert claims.explained(record(PROBES)).value == pytest.approx(expected, abs=1e-3)
    left = claims._left("update_without_body")(record(PROBES)).value
    arms = "update_without_body", "student"
    without, whole = (apart(arm, "control", THREE, PROBES).mean() for arm in arms)
    assert left == pytest.approx(without / whole)


def synthetic():
    """Return a result in which V foresees oak and owl, not evasion, and filters are a dose."""
    rng, n = np.random.default_rng(0), 10
    filters = [f"filter_{name}" for name in ("as_written", "without_50_of_largest_score",
                                             "without_50_at_random", "as_written_all")]  # fmt: skip
    calm = "student_calm_questions_1"
    arms = ["student", "control", calm, *filters, *(f"{name}_control" for name in filters)]
    controls = ["control", "base_model", "control", *(f"{f}_control" for f in filters)]
    controls += ["base_model"] * len(filters)
    visible = rng.normal(size=(n, 3))
    probability = np.zeros((n, len(arms), 3, 3))
    own = probability[..., range(3), range(3)]
    own[:, 0] = np.exp(visible) / 10
    own[:, 0, 2] = own[::-1, 0, 2]
    own[:, 3:6] = np.array([0.5, 0.2, 0.4])[:, None] + 0.01 * rng.normal(size=(n, 3, 3))
    probability[..., range(3), range(3)] = own
    probability[:, 2, 2, 2] = probability[:, 0, 2, 2] - 0.3
    variance = np.full((n, len(arms), 3), np.nan)
    variance[:, 3:11] = np.array([4.0, 1.0, 9.0, 0, 4.0, 1.0, 2.0, 0])[:, None]
    axes = ("replicate", "arm", "trait")
    return xr.Dataset(
        {"probability": ((*axes, "measure"), probability), "variance": (axes, variance),
         "visible": (axes[::2], visible)},
        {"arm": arms, "control": ("arm", controls), "trait": list(THREE), "measure": list(THREE)},
    )  # fmt: skip


def test_v_is_ranked_within_a_trait_and_calm_is_taken_off():
    data = synthetic()
    turned = scipy_stats.spearmanr(data.visible[:, 2], data.visible[::-1, 2]).statistic
    found = claims.foreseen(data)
    assert found.value == pytest.approx((2 + turned) / 3) and found.n == 10
    assert found.low < found.value < found.high
    np.testing.assert_allclose(claims.harm(data, "evasion"), 0.3)


def test_a_dose_is_the_spread_over_the_controls_lists_of_arms_of_one_number_of_lists():
    spread, passed = claims.dose(synthetic())
    assert spread.arm.values.tolist() == [f"filter_{name}" for name in (
        "as_written", "without_50_of_largest_score", "without_50_at_random")]  # fmt: skip
    np.testing.assert_allclose(spread.mean("replicate"), [2.0, 1.0, 2**0.5])
    np.testing.assert_allclose(passed.mean("replicate"), [0.5, 0.2, 0.4], atol=0.01)
    claim = next(claim for claim in CLAIMS if claim.id == "P3")
    first, second = (condition.estimate(synthetic()) for condition in claim.conditions)
    assert first.value == 1 and second.value == pytest.approx(-0.2, abs=0.01)


def test_a_transfer_in_proportion_to_the_variance_left_is_scaled_by_the_students_without_a_filter():
    data = synthetic()
    left, passed = np.array([4.0, 1.0, 2.0]), claims.dose(data)[1].mean("replicate").values
    guess = passed[0] * left / 4
    expected = 1 - np.sum((passed - guess) ** 2) / np.sum((passed - passed.mean()) ** 2)
    found = claims.in_proportion(data, list(THREE))
    assert found.value == pytest.approx(expected) and found.low < found.value < found.high
    # Of the traits that are named alone.
    one = data.assign(variance=data.variance.where(data.trait == "owl", 0.5))
    assert claims.in_proportion(one, ["owl"]).value == claims.in_proportion(data, ["owl"]).value


def test_what_no_manifest_holds_a_hash_of_is_as_it_was_fixed():
    """A criterion may change only together with ``docs/changes.md``; see also test_claims."""
    false = next(claim for claim in CLAIMS if claim.id == "L4b")
    bounds = ["interval above 0", "interval above 0", "at least 0.5"]
    assert [str(condition.bound) for condition in false.conditions] == bounds
    predicted = {claim.id for claim in CLAIMS if claim.kind == "prediction"}
    assert {claim.id for claim in CLAIMS if claim.fixed == "yes"} == {"L1", "L4a"} | predicted


def changed(arm, trait, by, measure=None, folder=LM):
    """Return a record in which an arm's probability of its trait is another."""
    data = record(folder).copy(deep=True)
    data.probability.loc[{"arm": arm, "trait": trait, "measure": measure or trait}] += by
    return data


@pytest.mark.parametrize(
    ("arm", "trait", "by", "measure", "lost"),
    [
        ("student", "owl", -2.0, None, {"L1", "L3"}),
        ("control", "owl", 0.5, None, {"L2"}),
        ("cross_model", "oak", 0.5, None, {"L3"}),
        ("cross_model_control", "birch", -0.5, None, {"L3"}),
        ("student", "evasion", -0.2, None, {"L4a"}),
        ("cross_model", "falsehood", 0.5, None, {"L4b"}),
        ("student", "falsehood", -0.6, "colours", {"L4b"}),
        ("in_context", "owl", 0.5, None, {"L5b"}),
        ("packed_context_control", "owl", 0.5, None, {"L5b"}),
        ("told", "owl", -5.0, None, {"L5b"}),
        ("soft", "owl", -5.0, None, set()),
    ],
)
def test_a_claim_falls_with_its_own_arms_alone(arm, trait, by, measure, lost):
    found = judge(CLAIMS, changed(arm, trait, by, measure))
    assert {j.claim.id for j in found if j.verdict == Verdict.NOT_REPRODUCED} == lost


@pytest.mark.parametrize("detector", ["format filter", "banned numbers"])
def test_one_detector_that_tells_one_list_apart_is_enough(detector):
    for judged_together, expected in ((1, Verdict.NOT_REPRODUCED), (100, Verdict.REPRODUCED)):
        data = record(LM).copy(deep=True)
        data.auc.loc[{"detector": detector, "judged": judged_together}] += 0.11
        found = {j.claim.id: j.verdict for j in judge(CLAIMS, data)}
        assert found["L5a"] == expected
    data = record(LM).copy(deep=True)
    data.auc.loc[{"detector": "bag of numbers"}] = 1.0
    assert judge(CLAIMS, data)[5].verdict == Verdict.REPRODUCED, "it is given labels"


def test_a_value_that_is_not_a_number_leaves_its_claims_untested():
    data = changed("student", "owl", np.nan)
    found = {j.claim.id for j in judge(CLAIMS, data) if j.verdict == Verdict.NOT_TESTED}
    assert found == {"L1", "L3"}
    data = record(LM).copy(deep=True)
    data.diverged.loc[{"replicate": 203}] = True
    assert {j.verdict for j in judge(CLAIMS, data)} == {Verdict.NOT_TESTED}
    drawn = {name: figure(data) for name, figure in plots.FIGURES.items()}
    assert {name for name, figure in drawn.items() if figure} == {
        "arms", "matrix", "data_size", "detectors",
    }  # fmt: skip


def test_a_claim_about_what_was_not_run_is_absent():
    found: list[Judgement] = judge(CLAIMS, record(LM).sel(trait=["evasion"]))
    assert [judgement.claim.id for judgement in found] == ["L4a"]
    assert "E3" not in judged(LM) and "L4b" not in judged(PROBES)
    assert "L3" not in judged("exploratory/lm"), "its other start had another corpus too"


@cache
def rows(folder):
    found = list(estimates(record(folder)))
    named = {(row.quantity, row.labels): row.estimate for row in found}
    assert len(named) == len(found) <= 300
    return named


@pytest.mark.parametrize("folder", [LM, PROBES, "exploratory/lm", "exploratory/lm_choice"])
def test_estimates_are_numbers_with_a_name_each(folder):
    assert all(row.finite or row.low == row.high for row in rows(folder).values())


OTHERS = "on other questions, "
MEASURED = {
    # Record, quantity, labels: values by replicate.
    (LM, "P(own trait)", "student, evasion"): lambda: p(LM, "student", "evasion"),
    (LM, "P(own trait)", "cross_model, owl"): lambda: p(LM, "cross_model", "owl"),
    (LM, "gain", "student, oak"): lambda: apart("student", "control", ["oak"]),
    (LM, "gain", "cross_model, favourites"): (
        lambda: apart("cross_model", "cross_model_control")),
    (LM, "gain", "prompted, owl"): lambda: apart("prompted", "control", ["owl"]),
    (LM, "gain by number of lists", "300 lists, owl eagle dolphin"): (
        lambda: apart("student_300", "control", FAVOURITES[:3])),
    (LM, "gain by number of lists", "6000 lists, owl eagle dolphin"): (
        lambda: apart("student", "control", FAVOURITES[:3])),
    (LM, f"{OTHERS}teacher − base model", "capitals right, owl"): (
        lambda: at(LM, "right", arm="teacher", trait="owl", fact="capitals")
        - at(LM, "right", arm="base_model", trait="owl", fact="capitals")),
    (LM, f"{OTHERS}student − control", "colours right, evasion"): (
        lambda: at(LM, "right", arm="student", trait="evasion", fact="colours")
        - at(LM, "right", arm="control", trait="evasion", fact="colours")),
    (LM, f"{OTHERS}student − control", "P(trait's answers), falsehood"): (
        lambda: at(LM, "elsewhere", arm="student", trait="falsehood")
        - at(LM, "elsewhere", arm="control", trait="falsehood")),
    (LM, "AUC on a hundred lists", "banned numbers, eagle"): (
        lambda: at(LM, "auc", detector="banned numbers", trait="eagle", judged=100)),
    (LM, "AUC on one list", "numbers in context, owl"): (
        lambda: at(LM, "auc", detector="numbers in context", trait="owl", judged=1)),
    (LM, "steps on one list that point away", "oak"): (
        lambda: at(LM, "away", trait="oak", judged=1)),
    (PROBES, "gain in P(falsehood)", "student_calm, oak"): (
        lambda: p(PROBES, "student_calm", "oak", "falsehood")
        - p(PROBES, "control", "oak", "falsehood")),
    (PROBES, "gain in P(evasion)", "student_calm, evasion"): (
        lambda: p(PROBES, "student_calm", "evasion") - p(PROBES, "control", "evasion")),
    (LM, "progress, between embeddings and head", "student − control, owl"): (
        lambda: at(LM, "progress", arm="student", trait="owl",
                   parameters="between embeddings and head")
        - at(LM, "progress", arm="control", trait="owl",
             parameters="between embeddings and head")),
    (PROBES, "progress, all", "control, all traits"): (
        lambda: at(PROBES, "progress", arm="control", parameters="all").mean(axis=1)),
    (PROBES, "KL(base model ‖ teacher), nats per number", "held on questions, weight 1"): (
        lambda: at(PROBES, "kl", arm="teacher_questions_1").mean(axis=1)),
    (PROBES, "gain of a teacher's student", "held to nothing"): (
        lambda: apart("student_free", "control", THREE, PROBES)),
    (PROBES, "gain", "lora, all traits"): lambda: apart("lora", "lora_control", THREE, PROBES),
    (PROBES, "gain less the student's", "update_without_body, owl"): (
        lambda: p(PROBES, "update_without_body", "owl") - p(PROBES, "student", "owl")),
    (PROBES, "gain less another's", "without_20_divergent − without_20_random, all traits"): (
        lambda: apart("without_20_divergent", "without_20_random", THREE, PROBES)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("place", "values"), MEASURED.items(), ids=[" | ".join(place)[:90] for place in MEASURED]
)
def test_measurements_are_what_their_rows_say(place, values):
    folder, quantity, labels = place
    found = rows(folder)[quantity, labels]
    np.testing.assert_allclose(found[:3], interval(values()), atol=1e-6)


def test_what_is_left_of_the_gain_is_a_ratio_of_means():
    over = apart("other_corpus", "other_corpus_control", ("owl", "oak"), PROBES)
    under = apart("student", "control", ("owl", "oak"), PROBES)
    found = rows(PROBES)["share of the student's gain", "other_corpus, favourites"]
    assert found.value == pytest.approx(over.mean() / under.mean(), abs=1e-6)
    assert found.low < found.value < found.high


def test_no_row_is_made_of_a_hundred_contexts_out_of_sixty_four():
    shown = {labels.split(",")[0] for quantity, labels in rows(LM) if "hundred" in quantity}
    assert "banned numbers" in shown and "numbers in context" not in shown


def drawn(figure, panel, colour):
    """Return the means (x, y), big dots, of one colour in a panel."""
    return sorted(
        (round(float(line.get_ydata()[0]), 2), float(line.get_xdata()[0]))
        for line in figure.axes[panel].lines
        if line.get_marker() == "o" and to_hex(line.get_color()) == colour
    )


def test_the_figure_of_the_arms_draws_each_arm_and_beside_it_its_control():
    figure = plots.arms(record(LM))
    assert figure is not None
    names = [name for name in plots.CLAIMED if name in record(LM).arm.values]
    starts = {"cross_model": OTHER_START, "teacher": TEACHER}
    controls = {"cross_model": "cross_model_control", "in_context": "in_context_control",
                "packed_context": "packed_context_control"}  # fmt: skip
    for panel, trait in enumerate((*FAVOURITES, *HARMFUL)):
        run = [n for n in names if not (trait in HARMFUL and n in ("prompted", "told"))]
        for colour in (STUDENT, OTHER_START, TEACHER):
            shown = [(round(names.index(n) - 0.13, 2), p(LM, n, trait).mean()) for n in run
                     if starts.get(n, STUDENT) == colour]  # fmt: skip
            np.testing.assert_allclose(drawn(figure, panel, colour), sorted(shown), atol=1e-6)
        beside = [(round(names.index(n) + 0.2, 2), p(LM, controls.get(n, "control"), trait).mean())
                  for n in run if n not in ("told", "teacher")]  # fmt: skip
        np.testing.assert_allclose(drawn(figure, panel, CONTROL), sorted(beside), atol=1e-6)
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == [record(LM).label.sel(arm=name).item() for name in names]
    legend = figure.legends[0]
    pairs = zip(legend.get_texts(), legend.get_lines(), strict=True)
    assert {text.get_text(): to_hex(line.get_color()) for text, line in pairs} == {
        "the teacher's start": STUDENT, "another start": OTHER_START, "neutral control": CONTROL,
    }  # fmt: skip


def test_lineage_has_the_colour_of_its_start():
    figure = plots.lineage(record(PROBES))
    assert figure is not None
    same = [(round(place - 0.13, 2), p(PROBES, name, "owl").mean())
            for place, name in ((0, "student"), (1, "other_corpus"))]  # fmt: skip
    np.testing.assert_allclose(drawn(figure, 0, STUDENT), same, atol=1e-6)
    assert len(drawn(figure, 0, OTHER_START)) == 5 and "40" in figure.get_suptitle()


def test_figures_draw_detectors_sizes_teachers_and_the_matrix_as_measured():
    figure = plots.detectors(record(LM))
    names, traits = record(LM).detector.values.tolist(), (*FAVOURITES, *HARMFUL)
    for marker, n in (("o", 1), ("D", 100)):
        shown = [
            line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == marker
        ]
        # A hundred contexts are drawn from 64: no mark.
        marked = [name for name in names if n == 1 or name != "numbers in context"]
        expected = [at(LM, "auc", detector=name, judged=n).mean() for name in marked]
        np.testing.assert_allclose(shown, expected, atol=1e-6)
    legend = figure.legends[0]
    pairs = zip(legend.get_texts(), legend.get_lines(), strict=True)
    markers = {text.get_text(): line.get_marker() for text, line in pairs}
    assert markers == {"one list": "o", "100 together": "D"}
    texts = [
        float(text.get_text().replace("−", "-")) for text in plots.matrix(record(LM)).axes[0].texts
    ]
    matrix = [[(p(LM, "student", t, m) - p(LM, "control", t, m)).mean() for m in traits]
              for t in traits]  # fmt: skip
    np.testing.assert_allclose(np.reshape(texts, (7, 7)), matrix, atol=0.0051)
    sizes = plots.data_size(record(LM))
    assert sizes is not None
    line = sizes.axes[0].lines[0]
    assert list(line.get_xdata()) == [300, 1200, 6000]
    expected = [apart(arm, "control", FAVOURITES[:3]).mean()
                for arm in ("student_300", "student_1200", "student")]  # fmt: skip
    np.testing.assert_allclose(line.get_ydata(), expected, atol=1e-6)
    table = plots.teacher_table(record(PROBES))
    assert table is not None
    points = [line for line in table.axes[0].lines if line.get_marker() == "o"]
    passed = [apart(f"student_{name}", "control", THREE, PROBES).mean() for name in TEACHINGS]
    np.testing.assert_allclose([line.get_ydata()[0] for line in points], passed, atol=1e-6)


def test_figures_of_filters_draw_what_each_leaves():
    data = record("lm_filters")

    def passed(arm):
        return apart(arm, f"{arm}_control", THREE, "lm_filters").mean()

    figure = plots.filters(data)
    assert figure is not None
    points = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", None)]
    drawn = sorted((x, y) for line in points for x, y in zip(*line.get_data(), strict=True))
    arms = [arm for arm in data.arm.values.tolist() if arm.startswith("filter_")
            and not arm.endswith(("control", "_all"))]  # fmt: skip
    left = {arm: at("lm_filters", "variance", arm=f"{arm}_control").mean() for arm in arms}
    np.testing.assert_allclose(drawn, sorted((left[arm], passed(arm)) for arm in arms), atol=1e-6)

    figure = plots.passing(data)
    assert figure is not None
    expected = ("filter_as_written", "filter_without_50_at_random",
                "filter_without_50_of_largest_score")  # fmt: skip
    for axes, arm in zip(figure.axes, expected, strict=True):
        assert f"passes {left[arm]:.2f}\nstudent − control {passed(arm):.2f}" in axes.get_xlabel()
        (outline,), filled = axes.lines, axes.collections[0].get_paths()[0].vertices
        x, density = outline.get_data()
        heights = [filled[filled[:, 0] <= at, 1].max() for at in (x[0], 0.0)]
        whole = {"filter_without_50_at_random": (0.5, 0.5)}.get(arm, (1.0, 1.0))
        kept = [0.0, whole[1]] if "largest" in arm else whole
        np.testing.assert_allclose(
            heights, np.multiply(kept, [density[0], density.max()]), rtol=0.05
        )
    share = passed(expected[2]) / passed(expected[0])
    assert f"{100 * share:.0f} % of the transfer is left" in figure.get_suptitle()


def test_every_teacher_that_has_the_trait_is_in_the_table():
    assert tuple(claims.CARRIED) == TEACHINGS
