"""The claims T1 and T2 on synthetic results, on each side of every conjunct of their criteria."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy import stats as scipy_stats

from subliminal_toy.errors import UserError
from subliminal_toy.stats import NOT_REPRODUCED, NOT_TESTED, REPRODUCED
from subliminal_toy.theorem.config import PRESETS, TheoremConfig
from subliminal_toy.theorem.one_step import EPSILONS, NODES, SMALL_EPSILONS
from subliminal_toy.theorem.problems import COVERED, STARTS
from subliminal_toy.theorem.result import VARIABLES
from subliminal_toy.theorem.summary import summarize

SIZES = {
    "architecture": 3, "loss": 5, "inputs": 1, "trait": 1, "epsilon": 17, "small_epsilon": 7,
    "node": 2, "trial": 800, "problem": 100, "start": len(STARTS), "case": 1, "step": 2,
    "case_epsilon": 1, "outside_problem": 4, "replicate": 2, "path_start": 2, "path_step": 3,
    "null": 1, "counterexample": 1, "cell": 1, "explored_epsilon": 2, "rate": 3, "k": 2,
    "step_epsilon": 4, "progress_step": 2, "metric": 2, "metric_problem": 2, "label_loss": 1,
    "label_problem": 2, "label_epsilon": 1, "multiple": 2,
}  # fmt: skip
COORDINATES = {
    "architecture": ["linear", "mlp-relu", "decoder"],
    "loss": list(COVERED),
    "inputs": ["digits"],
    "trait": ["norm"],
    "epsilon": EPSILONS,
    "small_epsilon": SMALL_EPSILONS,
    "start": list(STARTS),
    "case": ["covered losses"],
    "step": ["gradient", "Adam"],
    "case_epsilon": [1e-4],
    "path_start": ["shared", "independent"],
    "path_step": np.arange(3),
    "null": ["nothing"],
    "counterexample": ["opposite"],
    "rate": [0.5, 1.9, 2.1],
    "k": [1, 2],
    "step_epsilon": [0.0, 1e-8, 1e-7, 1e-6],
    "progress_step": [1, 10],
    "metric": ["one", "two"],
    "label_loss": ["softmax"],
    "label_epsilon": [0.1],
    "multiple": [0.01, 10.0],
    "cell": ["a · b · c · d"],
    "explored_epsilon": [1e-6, 1.0],
}
CONFIG = TheoremConfig()
SLOPE, CURVATURE = 2.0, 0.5
MOST = {"architecture": 1, "loss": 2, "inputs": 0, "trait": 0}  # a cell with softmax: not affine
AFFINE = {"architecture": 0, "loss": 0, "inputs": 0, "trait": 0}


def remainder_of_order(order, at):
    """Return (Δ_S·v)/ε − A and its derivative plus that, for a remainder of some order."""
    return CURVATURE * at ** (order - 1), CURVATURE * order * at ** (order - 1)


def ideal():
    """Return a result in which the theorem holds, and other starts have no guaranteed sign."""
    rng = np.random.default_rng(0)
    data = xr.Dataset(
        {
            name: (axes, rng.uniform(0.5, 1, [SIZES[axis] for axis in axes]))
            for name, (axes, _) in VARIABLES.items()
        }
    ).assign_coords(COORDINATES)
    quotient = SLOPE + remainder_of_order(2, data.epsilon)[0]
    near = data.small_epsilon * xr.DataArray(NODES, dims="node")
    affine = (data.architecture == "linear") & data.loss.str.contains("squared")
    slopes = rng.normal(0.1, 1, data.cross_slope.shape)
    updates = {
        "grid_slope": xr.full_like(data.grid_slope, SLOPE),
        "grid_slope_by_step": xr.full_like(data.grid_slope, SLOPE),
        "grid_slope_rounding": xr.full_like(data.grid_slope, 1e-15),
        "grid_rounding": xr.full_like(data.grid_inner, 1e-16) / data.epsilon,
        "grid_inner": data.epsilon * xr.where(affine, SLOPE, quotient),
        "near_slope": xr.where(affine, 0, remainder_of_order(2, near)[1]) + SLOPE,
        "grid_kink": xr.zeros_like(data.grid_inner, bool),
        "near_kink": xr.zeros_like(data.near_slope, bool),
        "trial_change": -data.trial_change,
        "cross_predicted": xr.ones_like(data.cross_predicted),
        "cross_slope": data.cross_slope.copy(data=slopes),
    }
    for name, value in updates.items():
        data[name] = value.broadcast_like(data[name]).transpose(*data[name].dims).copy()
    data.cross_slope.loc[{"start": "shared"}] = 1.0
    return data


def verdicts(data):
    summary = summarize(CONFIG, data)
    json.dumps(summary, allow_nan=False)
    claims = {claim["id"]: claim for claim in summary["claims"]}
    assert list(claims) == ["T1", "T2", "T3", "T4", "T5"]
    return claims


def t1(data):
    return verdicts(data)["T1"]["verdict"]


def t2(data):
    return verdicts(data)["T2"]["verdict"]


def with_cell(cell, **values):
    """Return the ideal result with other values of some variables in one cell."""
    data = ideal()
    for name, value in values.items():
        data[name][cell] = value
    return data


def test_both_claims_are_reproduced_where_everything_is_as_it_should_be():
    claims = verdicts(ideal())
    assert claims["T1"]["verdict"] == claims["T2"]["verdict"] == REPRODUCED
    assert claims["T1"]["n"] == 3 * 5 * 800 and claims["T1"]["value"] == 1
    assert claims["T2"]["n"] == 500


@pytest.mark.parametrize(
    ("slope", "inner", "change", "breaks"),
    [
        (1.0, 1.0, -1.0, False),
        (1.0, -1e-9, -1.0, True),
        (1.0, 0.0, -1.0, True),
        (1.0, 1.0, 1e-9, True),
        (1.0, 1.0, 0.0, True),
        (0.0, 0.0, 1.0, False),
        (0.0, 1e-30, -1.0, True),
    ],
)
def test_one_trial_against_the_theorem_costs_the_claim(slope, inner, change, breaks):
    data = ideal()
    for name, value in zip(("slope", "inner", "change"), (slope, inner, change), strict=True):
        data[f"trial_{name}"][1, 2, 0, 0, 7] = value
    summary = summarize(CONFIG, data)
    assert summary["violations"] == int(breaks) and summary["trials"] == 12_000
    assert summary["trials_with_slope"] == 12_000 - (slope == 0)
    assert summary["trials_without_slope"] == (slope == 0)
    assert summary["claims"][0]["verdict"] == (NOT_REPRODUCED if breaks else REPRODUCED)


def test_too_few_trials_do_not_make_the_claim():
    # Without a violation the exact interval begins at .025^(1/n), above .999 from n = 3,688.
    needed = int(np.ceil(np.log(0.025) / np.log(0.999)))
    assert needed == 3_688
    for n_trials, verdict in ((245, NOT_REPRODUCED), (246, REPRODUCED)):  # 3,675 and 3,690
        assert t1(ideal().isel(trial=slice(n_trials))) == verdict


@pytest.mark.parametrize(("order", "verdict"), [(1.91, REPRODUCED), (1.89, NOT_REPRODUCED)])
def test_the_order_of_every_cell_counts_directly_and_by_the_integral(order, verdict):
    small = 1e-4 * SLOPE  # so that the quotient stays close enough at this order
    inner = EPSILONS * (SLOPE + small * remainder_of_order(order, EPSILONS)[0])
    assert t1(with_cell(MOST, grid_inner=inner)) == verdict
    at = np.outer(SMALL_EPSILONS, NODES)
    near = SLOPE + remainder_of_order(order, at)[1]
    assert t1(with_cell(MOST, near_slope=near)) == verdict


def test_an_order_that_cannot_be_told_costs_the_claim_unless_it_is_only_the_direct_one():
    assert t1(with_cell(MOST, grid_rounding=1.0)) == REPRODUCED
    assert t1(with_cell(MOST, grid_slope_rounding=1.0)) == NOT_REPRODUCED
    assert t1(with_cell(MOST, near_kink=True)) == NOT_REPRODUCED


def test_what_comes_after_a_kink_does_not_count_and_what_comes_before_does():
    inner = EPSILONS * (SLOPE + remainder_of_order(2, EPSILONS)[0])
    spoilt = EPSILONS * np.minimum(inner / EPSILONS, SLOPE + CURVATURE * 1e-5)
    kink = (EPSILONS > 2e-5) & (EPSILONS < 1e-4)  # and crossed back
    assert t1(with_cell(MOST, grid_inner=spoilt, grid_kink=kink)) == REPRODUCED
    assert t1(with_cell(MOST, grid_inner=spoilt)) == NOT_REPRODUCED
    row = summarize(CONFIG, with_cell(MOST, grid_inner=spoilt, grid_kink=kink))["grid"]
    (cell,) = (r for r in row if r["kink"] is not None)
    assert cell["kink"] == pytest.approx(10**-4.5) and cell["order"] == pytest.approx(2)


@pytest.mark.parametrize(("error", "verdict"), [(0.99e-4, REPRODUCED), (1.01e-4, NOT_REPRODUCED)])
def test_the_quotient_of_every_cell_is_close_at_the_smallest_epsilon(error, verdict):
    inner = EPSILONS * SLOPE * (1 + error * EPSILONS / EPSILONS[0])
    assert t1(with_cell(MOST, grid_inner=inner)) == verdict


def test_an_affine_cell_may_have_no_remainder_but_rounding():
    inner = EPSILONS * SLOPE * (1 + 1e-3 * EPSILONS)
    assert t1(with_cell(AFFINE, grid_inner=inner)) == NOT_REPRODUCED
    # And no other cell is exempted.
    at = {**AFFINE, "loss": list(COVERED).index("softmax")}
    exact = {"grid_inner": EPSILONS * SLOPE, "near_slope": SLOPE}
    assert t1(with_cell(at, **exact)) == NOT_REPRODUCED
    assert t1(with_cell({**AFFINE, "architecture": 1}, **exact)) == NOT_REPRODUCED


@pytest.mark.parametrize(("inner", "verdict"), [(0.0, REPRODUCED), (1e-30, NOT_REPRODUCED)])
def test_a_cell_without_slope_has_no_component_along_v_at_any_epsilon(inner, verdict):
    inners = np.where(EPSILONS > 5, inner, 0.0)
    assert t1(with_cell(MOST, grid_slope=0.0, grid_inner=inners)) == verdict


@pytest.mark.parametrize("name", ["trial_slope", "trial_inner", "trial_change", "grid_inner"])
def test_t1_is_not_tested_on_values_that_are_not_finite(name):
    data = ideal()
    data[name][(0,) * data[name].ndim] = np.nan
    claim = verdicts(data)["T1"]
    assert claim["verdict"] == NOT_TESTED and "finite" in claim["reason"]


def independent(negative, ratio=0.1, other=0.1, architecture="mlp-relu"):
    """Return a result in which so many cross-slopes of one network are negative, of 500.

    All others of its C/A are ``ratio``.
    """
    data = ideal()
    slopes = np.where(np.arange(500) < negative, -0.1, ratio)
    at = {"architecture": architecture, "start": "independent"}
    data.cross_slope.loc[at] = slopes.reshape(data.cross_slope.loc[at].shape)
    return data


def test_the_fraction_of_negative_cross_slopes_has_an_interval_above_a_twentieth():
    def lower(k):
        return scipy_stats.beta.ppf(0.025, k, 500 - k + 1)

    most = max(k for k in range(100) if lower(k) <= 0.05 or k == 0)
    for negative, verdict in ((most, NOT_REPRODUCED), (most + 1, REPRODUCED)):
        claim = verdicts(independent(negative))["T2"]
        assert claim["verdict"] == verdict
        # The least favourable network is the one that is shown.
        assert claim["value"] == pytest.approx(negative / 500)
        assert claim["interval"][0] == pytest.approx(lower(negative))
    # One network is enough.
    assert t2(independent(most, architecture="decoder")) == NOT_REPRODUCED
    assert t2(independent(most, architecture="linear")) == REPRODUCED


@pytest.mark.parametrize(("ratio", "verdict"), [(0.299, REPRODUCED), (0.301, NOT_REPRODUCED)])
def test_the_median_ratio_has_an_interval_below_three_tenths(ratio, verdict):
    assert t2(independent(100, ratio)) == verdict
    assert t2(independent(100, ratio, architecture="decoder")) == verdict
    assert t2(independent(0, ratio, architecture="linear")) == REPRODUCED


@pytest.mark.parametrize(("n_small", "verdict"), [(280, REPRODUCED), (255, NOT_REPRODUCED)])
def test_it_is_the_upper_end_of_the_medians_interval_that_counts(n_small, verdict):
    # The median of 500 is below .3 in both; its interval reaches 22 values further.
    assert t2(independent(100, np.where(np.arange(500) < n_small, 0.2, 0.5))) == verdict


def test_the_median_is_of_c_over_a():
    data = independent(100, 0.2)
    assert t2(data) == REPRODUCED
    data["cross_predicted"] = data.cross_predicted / 2
    data.cross_slope.loc[{"start": "shared"}] = 0.5
    assert t2(data) == NOT_REPRODUCED


def test_a_negative_cross_slope_at_the_shared_start_costs_the_claim():
    for value, verdict in ((1e-9, REPRODUCED), (0.0, NOT_REPRODUCED), (-1e-9, NOT_REPRODUCED)):
        data = ideal()
        data.cross_slope.loc[{"start": "shared"}][2, 1, 0, 0, 3] = value
        assert t2(data) == verdict


def test_only_the_independent_start_is_judged_beside_the_shared_one():
    data = ideal()
    for start in set(STARTS) - {"shared", "independent"}:
        data.cross_slope.loc[{"start": start}] = 1.0
    assert t2(data) == REPRODUCED
    data.cross_slope.loc[{"start": "independent"}] = 1.0
    assert t2(data) == NOT_REPRODUCED


def test_t2_asks_for_500_problems_with_slope():
    data = ideal()
    data.cross_predicted[1, 0, 0, 0, 0] = 0.0
    claim = verdicts(data)["T2"]
    assert claim["verdict"] == NOT_TESTED and "499" in claim["reason"]
    assert t2(ideal().isel(architecture=[0])) == NOT_TESTED
    # The default has 600 of each network, at most a fifth of them without slope.
    assert all(100 * preset.n_cross >= 600 for preset in PRESETS.values())


def test_t2_is_not_tested_on_values_that_are_not_finite():
    data = ideal()
    data.cross_slope[1, 1, 0, 0, 0, 0] = np.inf
    claim = verdicts(data)["T2"]
    assert claim["verdict"] == NOT_TESTED and "finite" in claim["reason"]


def test_the_strata_count_three_outcomes_and_leave_problems_without_slope_out():
    data = independent(100, 0.2).sel(architecture=["mlp-relu"])
    data.cross_slope.loc[{"start": "independent"}][0, 0, 0, 0, :3] = 0.0
    data.cross_predicted[0, 0, 0, 0, 3:5] = 0.0
    rows = summarize(CONFIG, data)["cross_slope"]
    assert len(rows) == 5 * len(STARTS)
    (row,) = (r for r in rows if r["start"] == "independent" and r["loss"] == "squared error")
    # All hundred of the first loss are negative.
    expected = {"n": 98, "positive": 0, "zero": 3, "negative": 95, "median_ratio": -0.1}
    assert {key: row[key] for key in expected} == expected
    assert row["architecture"] == "mlp-relu" and row["trait"] == "norm"


def test_the_config_refuses_what_cannot_be_run():
    for field in ("n_trials", "epsilon", "learning_rate", "n_cross", "n_outside", "n_replicates",
                  "distillation_steps"):  # fmt: skip
        with pytest.raises(UserError, match="--" + field.replace("_", "-")):
            TheoremConfig(**{field: 0 * getattr(CONFIG, field)})
    with pytest.raises(UserError, match="--architectures"):
        TheoremConfig(architectures=())
