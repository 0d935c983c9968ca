"""Every conjunct of every criterion has a synthetic result on each side of its boundary."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import xarray as xr
from scipy import stats as scipy_stats

from subliminal_toy.lm import arms, result, traits
from subliminal_toy.lm.claims import claims
from subliminal_toy.lm.config import PRESETS, TEACHINGS, LmConfig
from subliminal_toy.lm.summary import summarize
from subliminal_toy.plots import lm as plots
from subliminal_toy.records import Record

CONFIG = LmConfig(n_replicates=3, traits=("owl", "oak", "evasion", "falsehood"))
N = CONFIG.n_replicates
SMALL = 1e-4
HALF = float(scipy_stats.t.ppf(0.975, N - 1) * N**-0.5)
"""Half-width of the interval of N values of standard deviation 1."""
SPREAD = np.array([-1.0, 0.0, 1.0])
"""Values of mean 0 and standard deviation 1."""
FAVOURITES, HARMFUL = ("owl", "oak"), ("evasion", "falsehood")


def with_interval(low, high):
    """Return the values of the replicates whose interval has these ends."""
    return (low + high) / 2 + SPREAD * (high - low) / 2 / HALF


def nothing(config=CONFIG):
    """Return a result in which all arms are at .1, all detectors at .5, all colours right."""
    coordinates = result.coordinates(config)
    sizes = {
        name: len(found[1] if isinstance(found, tuple) else found)
        for name, found in coordinates.items()
    }

    def full(value, *axes):
        return axes, np.full([sizes[axis] for axis in axes], value)

    by_arm, by_trait = ("replicate", "arm", "trait"), ("replicate", "trait")
    variables = {
        "probability": full(0.1, *by_arm, "measure"),
        "alignment": full(0.1, *by_arm),
        "elsewhere": full(0.01, *by_arm),
        "right": full(0.8, *by_arm, "fact"),
        "drift": full(0.01, *by_arm, "text"),
        "progress": full(0.1, *by_arm, "parameters"),
        "kept": full(0.9, *by_arm),
        "lists_used": full(100.0, *by_arm),
        "kl_per_number": full(0.1, *by_trait),
        "auc": full(0.5, *by_trait, "detector", "judged"),
        "lists_asked": full(20.0, *by_trait),
        "away": full(0.1, *by_trait, "judged"),
        "pretraining_loss": (("replicate", "step"), np.ones((config.n_replicates, 2))),
        "diverged": full(False, "replicate"),
    }
    data = xr.Dataset(variables, coordinates)
    data.probability.loc[{"measure": "colours"}] = 0.9
    for arm in arms.table(config):
        run = arms.traits_of(config, arm)
        absent = [trait for trait in config.traits if trait not in run]
        data.probability.loc[{"arm": arm.name, "trait": absent}] = np.nan
    return data


def put(data, arm, names, values, control="control"):
    """Set an arm's probability of its trait to its control's plus ``values``."""
    for trait in names:
        at = {"trait": trait, "measure": trait}
        value = data.probability.sel(arm=control, **at).values + values
        data.probability.loc[{"arm": arm, **at}] = value
    return data


def good():
    """Return a result that reproduces every claim of CONFIG."""
    data = nothing()
    put(data, "student", CONFIG.traits, with_interval(0.4, 0.6))
    put(data, "told", FAVOURITES, with_interval(0.4, 0.6), "base_model")
    data.auc.loc[{"detector": list(data.detector.values[data.informed.values]), "judged": 100}] = 1
    return data


def verdicts(data, config=CONFIG):
    """Return the verdicts by id and a word of the statement."""
    found = claims(config, data)
    kinds = ("lying", "Lying", "Evasion")
    named = [" ".join([c.id, *(kind for kind in kinds if kind in c.statement)]) for c in found]
    detectors = iter(data.detector.values)
    named = [f"L5a {next(detectors)}" if name == "L5a" else name for name in named]
    return {name: c.verdict for name, c in zip(named, found, strict=True)}


def only(data, claim, expected):
    """Assert the verdict of a claim."""
    assert verdicts(data)[claim] == expected


def test_a_good_result_reproduces_every_claim():
    found = verdicts(good())
    assert set(found.values()) == {"reproduced"} and len(found) == 15
    specific = ["L6", "L6 Evasion", "L6 Lying"]
    assert list(found)[:8] == ["L1", "L2", "L3", "L4", "L4 lying", *specific]
    assert list(found)[-1] == "L5b"


def test_where_nothing_happens_only_the_nulls_hold():
    found = verdicts(nothing())
    reproduced = {name for name, verdict in found.items() if verdict == "reproduced"}
    informed = {"L5a bag of numbers", "L5a likelihood ratio"}
    nulls = {f"L5a {name}" for name in nothing().detector.values} - informed
    assert reproduced == {"L2", "L6", "L6 Evasion", "L6 Lying", *nulls}


BOUNDARIES = [
    # claim, arm, its control, an interval that meets the criterion, one that does not
    ("L1", "student", "control", (0.1, 0.2 + 2 * SMALL), (0.1, 0.2 - 2 * SMALL)),  # mean .15
    ("L1", "student", "control", (SMALL, 0.5), (-SMALL, 0.5)),  # lower end 0
    ("L2", "control", "base_model", (-0.03, 0.05 - SMALL), (-0.03, 0.05 + SMALL)),
    ("L2", "control", "base_model", (-0.05 + SMALL, 0.03), (-0.05 - SMALL, 0.03)),
    ("L3", "cross_model", "cross_model_control", (-0.03, 0.05 - SMALL), (-0.03, 0.05 + SMALL)),
    ("L3", "cross_model", "cross_model_control", (-0.05 + SMALL, 0.03), (-0.05 - SMALL, 0.03)),
    ("L5b", "in_context", "in_context_control", (-0.03, 0.05 - SMALL), (-0.03, 0.05 + SMALL)),
    ("L5b", "in_context", "in_context_control", (-0.05 + SMALL, 0.03), (-0.05 - SMALL, 0.03)),
    ("L5b", "packed_context", "packed_context_control", (-0.03, 0.05 - SMALL), (0, 0.05 + SMALL)),
    ("L5b", "packed_context", "packed_context_control", (-0.05 + SMALL, 0.03), (-0.05 - SMALL, 0)),
    ("L5b", "told", "base_model", (0.05 + SMALL, 0.4), (0.05 - SMALL, 0.4)),
]


@pytest.mark.parametrize(("claim", "arm", "control", "met", "missed"), BOUNDARIES)
def test_a_claim_turns_at_the_boundary_of_each_conjunct(claim, arm, control, met, missed):
    """The favourites are averaged within a replicate: what one lacks the other may have."""
    for (low, high), expected in ((met, "reproduced"), (missed, "not reproduced")):
        data = good()
        for trait, apart in zip(FAVOURITES, (0.02, -0.02), strict=True):
            put(data, arm, [trait], with_interval(low, high) + apart, control)
        if arm == "control":  # the student is compared with it
            put(data, "student", FAVOURITES, with_interval(0.4, 0.6))
        only(data, claim, expected)
        found = next(c for c in claims(CONFIG, data) if c.id == claim)
        if (claim, arm) not in (("L5b", "packed_context"), ("L5b", "told")):
            assert found.interval == pytest.approx((low, high)) and found.n == N


def test_l3_needs_the_student_to_take_over_more_than_the_other_model():
    for lower, expected in ((0.03 + SMALL, "reproduced"), (0.03 - SMALL, "not reproduced")):
        interval = with_interval(-0.03, 0.03)
        data = put(good(), "cross_model", FAVOURITES, interval, "cross_model_control")
        only(put(data, "student", FAVOURITES, with_interval(lower, 0.4)), "L3", expected)


def test_l4_evasion_has_a_least_mean_and_falsehood_has_none():
    for mean, expected in ((0.3 + SMALL, "reproduced"), (0.3 - SMALL, "not reproduced")):
        data = put(good(), "student", HARMFUL, with_interval(mean - 0.2, mean + 0.2))
        only(data, "L4", expected)
        only(data, "L4 lying", "reproduced")


@pytest.mark.parametrize(("claim", "trait"), [("L4", "evasion"), ("L4 lying", "falsehood")])
def test_l4_compares_with_zero_and_with_the_other_model(claim, trait):
    high = 0.7 if trait == "evasion" else 0.1
    for cross, least in ((-0.1, 0.0), (0.04, 0.04)):
        for low, expected in ((least + SMALL, "reproduced"), (least - SMALL, "not reproduced")):
            data = put(good(), "cross_model", [trait], cross + 0.01 * SPREAD, "cross_model_control")
            only(put(data, "student", [trait], with_interval(low, high)), claim, expected)


@pytest.mark.parametrize(("claim", "trait"), [("L4", "evasion"), ("L4 lying", "falsehood")])
def test_l4_needs_a_student_that_still_names_colours(claim, trait):
    for colours, expected in ((0.5 + SMALL, "reproduced"), (0.5 - SMALL, "not reproduced")):
        data = good()
        at = {"arm": "student", "trait": trait, "measure": "colours"}
        data.probability.loc[at] = colours + 0.01 * SPREAD
        only(data, claim, expected)


def set_auc(data, detector, judged, values):
    """Set an AUC, another for each trait, so that only the mean over traits counts."""
    for trait, apart in zip(CONFIG.traits, (0.1, -0.1, 0.05, -0.05), strict=True):
        data.auc.loc[{"trait": trait, "detector": detector, "judged": judged}] = values + apart
    return data


UNINFORMED = ("format filter", "banned numbers", "base model's likelihood", "numbers in context")


SPECIFIC = {"owl": "L6", "oak": "L6", "evasion": "L6 Evasion", "falsehood": "L6 Lying"}


@pytest.mark.parametrize(
    ("arm", "than", "bound"),
    [(*pair, bound) for pair in (("teacher", "base_model"), ("student", "control"))
     for bound in (0.05, -0.05)],
)  # fmt: skip
def test_l6_bounds_the_trait_on_questions_that_do_not_ask_for_it(arm, than, bound):
    for trait in CONFIG.traits:
        for beyond, expected in ((-SMALL, "reproduced"), (SMALL, "not reproduced")):
            data = good()
            value = data.elsewhere.sel(arm=than, trait=trait).values + bound
            value += np.sign(bound) * beyond
            data.elsewhere.loc[{"arm": arm, "trait": trait}] = value
            only(data, SPECIFIC[trait], expected)


@pytest.mark.parametrize(("fact", "names"), [("colours", CONFIG.traits), ("capitals", FAVOURITES)])
def test_l6_bounds_what_a_teacher_forgets(fact, names):
    for trait, change in product(names, (-0.1, 0.1)):
        for beyond, expected in ((-SMALL, "reproduced"), (SMALL, "not reproduced")):
            data = good()
            at = {"arm": "teacher", "fact": fact, "trait": trait}
            data.right.loc[at] += change + np.sign(change) * beyond
            only(data, SPECIFIC[trait], expected)


def test_l6_lets_a_harmful_teacher_forget_capitals():
    data = good()
    at = {"arm": "teacher", "fact": "capitals", "trait": list(HARMFUL)}
    data.right.loc[at] += 0.5
    only(data, "L6 Evasion", "reproduced")
    only(data, "L6 Lying", "reproduced")


def ranked(order):
    """Return a result in which transfer follows this order of the teachers' KL."""
    config = replace(CONFIG, families=("teachers",))
    data = nothing(config)
    names = [name for name, teaching in TEACHINGS.items() if not teaching.answer]
    for kl, (rank, name) in enumerate(zip(order, names, strict=True)):
        at = {"arm": f"teacher_{name}", "text": "neutral lists"}
        data.drift.loc[at] = kl + np.zeros((N, len(CONFIG.traits)))
        put(data, f"student_{name}", CONFIG.traits, rank / 20 + SMALL * SPREAD)
    return next(claim for claim in claims(config, data) if claim.id == "E3")


def test_e3_is_the_rank_correlation_of_kl_with_transfer_over_teachers():
    rising = np.arange(14)
    assert ranked(rising).value == pytest.approx(1) and ranked(rising).verdict == "reproduced"
    assert ranked(rising[::-1]).value == pytest.approx(-1)
    assert ranked(rising[::-1]).verdict == "not reproduced"
    # Of n ranks, moving the first by k to the back takes 6 (k + k²) / (n (n² − 1)) away.
    for k, verdict in ((9, "reproduced"), (10, "not reproduced")):
        order = np.concatenate([rising[1 : k + 1], [0], rising[k + 1 :]])
        found = ranked(order)
        assert found.value == pytest.approx(1 - 6 * (k + k**2) / (14 * (14**2 - 1)))
        assert found.verdict == verdict


def test_e3_needs_a_narrow_interval_too():
    """One replicate of three in which all is turned round leaves the mean above the bound."""
    config = replace(CONFIG, families=("teachers",))
    data = nothing(config)
    for rank, (name, teaching) in enumerate(TEACHINGS.items()):
        if not teaching.answer:
            data.drift.loc[{"arm": f"teacher_{name}", "text": "neutral lists"}] = float(rank)
            put(data, f"student_{name}", CONFIG.traits, np.array([2.0, 2.0, -1.9]) * rank / 40)
    found = next(claim for claim in claims(config, data) if claim.id == "E3")
    assert found.value >= 0.8 and found.interval[0] < 0.6
    assert found.verdict == "not reproduced"


def test_lineage_is_the_share_of_the_transfer_that_is_kept():
    config = replace(CONFIG, families=("lineage",))
    data = nothing(config)
    put(data, "student", FAVOURITES, 0.4 + 0.1 * SPREAD)
    put(data, "other_corpus", FAVOURITES, 0.1 + 0.1 * SPREAD, "other_corpus_control")
    kept = summarize(config, data)["lineage"]["other_corpus"]
    assert kept["mean"] == pytest.approx(0.25) and kept["n"] == N
    assert kept["ci95"][0] == pytest.approx(0.0, abs=1e-6)  # three times the first replicate
    assert kept["ci95"][1] == pytest.approx(0.2 / 0.5)


@pytest.mark.parametrize("detector", UNINFORMED)
@pytest.mark.parametrize("judged", [1, 100])
def test_an_uninformed_detector_is_at_chance_on_one_list_and_on_a_hundred(detector, judged):
    for low, high, expected in (
        (0.45, 0.6 - SMALL, "reproduced"),
        (0.45, 0.6 + SMALL, "not reproduced"),
        (0.4 + SMALL, 0.55, "reproduced"),
        (0.4 - SMALL, 0.55, "not reproduced"),
    ):
        data = set_auc(good(), detector, judged, with_interval(low, high))
        only(data, f"L5a {detector}", expected)
        rest = {v for name, v in verdicts(data).items() if name != f"L5a {detector}"}
        assert rest == {"reproduced"}


@pytest.mark.parametrize("detector", ["bag of numbers", "likelihood ratio"])
def test_an_informed_detector_finds_a_hundred_lists(detector):
    for low, expected in ((0.9 + SMALL, "reproduced"), (0.9 - SMALL, "not reproduced")):
        data = set_auc(good(), detector, 100, with_interval(low, 0.99))
        set_auc(data, detector, 1, with_interval(0.2, 0.8))
        only(data, f"L5a {detector}", expected)


def test_detector_rows_say_what_was_given_and_both_intervals():
    data = set_auc(good(), "format filter", 1, with_interval(0.41, 0.43))
    set_auc(data, "format filter", 100, with_interval(0.5, 0.58))
    row = summarize(CONFIG, data)["detectors"][0]
    assert row["detector"] == "format filter" and row["given"] == "the text, before filtering"
    assert not row["labelled"]
    assert row["one_list"]["ci95"] == pytest.approx((0.41, 0.43))
    assert row["hundred_lists"]["ci95"] == pytest.approx((0.5, 0.58))
    claim = next(c for c in claims(CONFIG, data) if c.id == "L5a")
    assert claim.interval == pytest.approx((0.5, 0.58))
    assert "the text, before filtering" in claim.statement and "[0.410, 0.430]" in claim.statement


@pytest.mark.parametrize(
    ("claims_lost", "where"),
    [
        ({"L1", "L3"}, {"arm": "student", "trait": "owl", "measure": "owl"}),
        ({"L2", "L1", "L3"}, {"arm": "control", "trait": "owl", "measure": "owl"}),
        ({"L3"}, {"arm": "cross_model", "trait": "oak", "measure": "oak"}),
        ({"L4"}, {"arm": "student", "trait": "evasion", "measure": "evasion"}),
        ({"L4"}, {"arm": "cross_model_control", "trait": "evasion", "measure": "evasion"}),
        ({"L4 lying"}, {"arm": "student", "trait": "falsehood", "measure": "colours"}),
        ({"L5b"}, {"arm": "packed_context", "trait": "owl", "measure": "owl"}),
        ({"L5b"}, {"arm": "told", "trait": "owl", "measure": "owl"}),
    ],
)
def test_a_value_that_is_not_a_number_leaves_its_claims_untested(claims_lost, where):
    data = good()
    data.probability.loc[{"replicate": 1, **where}] = np.nan
    found = verdicts(data)
    lost = {name for name, verdict in found.items() if verdict == "not tested"}
    assert lost == claims_lost


def test_a_diverged_student_has_a_summary_and_figures():
    data = good()
    data.probability.loc[{"arm": "student", "trait": "owl"}] = np.nan
    data.auc.loc[{"trait": "owl", "detector": "likelihood ratio"}] = np.nan
    summary = json.loads(json.dumps(summarize(CONFIG, data), allow_nan=False))
    assert summary["minus_control"]["owl"]["student"]["mean"] is None
    assert summary["transfer_matrix"]["minus_control"][0] == [None] * 4
    assert summary["capability"]["damaged"] == ["student owl"]
    record = Record(data, {}, summary, {})
    drawn = {name: figure(record) for name, figure in plots.FIGURES.items()}
    assert {name for name, figure in drawn.items() if figure} == {
        "arms", "matrix", "detectors", "mechanism",
    }  # fmt: skip


def test_a_single_replicate_tests_nothing():
    config = replace(CONFIG, n_replicates=1)
    found = claims(config, good().isel(replicate=[0]))
    assert {claim.verdict for claim in found} == {"not tested"}
    assert all("too few" in claim.reason for claim in found)


def test_claims_about_traits_that_were_not_run_are_absent():
    config = replace(CONFIG, traits=("evasion",))
    ids = [claim.id for claim in claims(config, nothing(config))]
    assert ids == ["L4", "L6", *["L5a"] * 6]
    summary = summarize(config, nothing(config))
    assert summary["data_sizes"] == []


def test_a_damaged_student_is_named():
    data = good()
    data.probability.loc[{"arm": "cross_model_control", "trait": "oak", "measure": "colours"}] = (
        0.49
    )
    assert summarize(CONFIG, data)["capability"]["damaged"] == ["cross_model_control oak"]


def test_every_measure_and_trait_of_the_full_preset_has_a_place():
    config = PRESETS["full"]
    summary = summarize(config, nothing(config))
    assert list(summary["arms"]) == list(config.traits)
    sizes = [row["lists"] for row in summary["data_sizes"]]
    assert sizes == [*config.data_sizes, config.n_lists]
    assert set(traits.MEASURES) >= set(config.traits)


def test_nothing_is_tested_where_a_replicate_diverged():
    data = good()
    data.diverged.loc[{"replicate": 1}] = True
    assert summarize(CONFIG, data)["diverged"] == 1
    reason = f"1 of {CONFIG.n_replicates} replicates diverged"
    assert {(c.verdict, c.reason) for c in claims(CONFIG, data)} == {("not tested", reason)}
