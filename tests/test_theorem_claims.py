"""The claims T1 to T6 on the committed record: by formulas by hand, and where it is mutated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from subliminal_toy.claims import Verdict, judge
from subliminal_toy.stats import fraction, median
from subliminal_toy.theorem.claims import CLAIMS, estimates, order_by_integral

CLAIM = {claim.id: claim for claim in CLAIMS}
UPHELD = {claim.id: Verdict.HELD for claim in CLAIMS} | {"T1": Verdict.REPRODUCED}


FIGURES = Path(__file__).parents[1] / "figures"
RECORD = xr.load_dataset(FIGURES / "theorem" / "record.nc", engine="scipy")


@pytest.fixture
def data():
    # Not drawn into a deep copy: some variables have no memory that can be written.
    return RECORD.map(lambda variable: variable.copy(data=np.array(variable.values)))


def broken(claim, data):
    """Return the places of the conditions that do not hold."""
    return {
        place
        for place, condition in enumerate(CLAIM[claim].conditions)
        if not condition.bound.holds(condition.estimate(data))
    }


def verdict(claim, data):
    (judgement,) = judge([CLAIM[claim]], data)
    return judgement.verdict


def exact(k, n):
    """Return a fraction of hits with its interval."""
    return fraction(np.arange(n) < k)


def test_the_verdicts_and_their_numbers_are_those_of_formulas_by_hand():
    found = {judgement.claim.id: judgement for judgement in judge(CLAIMS, RECORD)}
    assert {name: judgement.verdict for name, judgement in found.items()} == UPHELD
    v = {name: RECORD[name].values for name in RECORD.data_vars}

    def close(claim, condition, expected):
        np.testing.assert_allclose(found[claim].estimates[condition], expected, rtol=1e-9)

    positive = v["trial_slope"] > 0
    good = np.where(
        positive, (v["trial_inner"] > 0) & (v["trial_change"] < 0), v["trial_inner"] == 0
    )
    close("T1", 0, exact(good.sum(), 10_000))
    for condition in range(1, 6):
        close("T1", condition, exact(500, 500))
    negative, medians = [], []
    for network in range(1, 5):
        some = v["cross_predicted"][network].ravel() > 0
        c = v["cross_slope"][network, 1].ravel()[some]  # the second start
        negative.append(exact((c < 0).sum(), len(c)))
        medians.append(median(c / v["cross_predicted"][network].ravel()[some]))
    close("T2", 0, min(negative, key=lambda estimate: estimate[1]))
    close("T2", 1, max(medians, key=lambda estimate: estimate[2]))
    close("T2", 2, exact(3000, 3000))
    for condition in range(7):
        close("T3", condition, exact(100, 100))
    for condition, n in ((7, 5 * 24), (8, 5 * 23), (9, 5 * 24)):
        close("T3", condition, exact(n, n))
    up = v["steps_quotient_change"][..., 2, 4].ravel()[v["steps_slope"].ravel() > 0] > 0
    assert len(up) == 96  # in 4 of 100 problems A = 0
    close("T3", 10, exact(up.sum(), 96))
    for condition in (0, 1):
        close("T4", condition, exact(900, 900))
    close("T4", 2, exact((v["metric_change"][3] > 0).sum(), 300))
    for condition, multiple in ((0, 2), (1, 0)):
        close("T5", condition, exact(round(v["label_wrong"][..., multiple].sum() * 500), 40_000))
    epsilon = 0.01
    draws = v["label_variance"][..., 0] / v["label_soft"][..., 0] ** 2
    close("T5", 2, median((16 * draws * epsilon**2 * v["label_slope"][..., 0]).ravel()))
    for condition, n in ((3, 80), (4, 80), (5, 80), (6, 240)):
        close("T5", condition, exact(n, n))
    for condition in range(4):
        close("T6", condition, exact(2000, 2000))


def test_the_orders_are_slopes_of_the_remainder_in_the_middle_of_its_range():
    cells, orders = RECORD.sel(architecture="mlp-tanh"), order_by_integral(RECORD)
    by_integral = np.abs(cells.near_slope.values.mean(-1) - cells.grid_slope.values[..., None])
    epsilons = RECORD.small_epsilon.values
    for at in np.ndindex(by_integral.shape[:-1]):
        clear = np.flatnonzero(by_integral[at] > 3 * cells.grid_slope_rounding.values[at])[:5]
        remainder = by_integral[at][clear] * epsilons[clear]
        order, _ = np.polyfit(np.log(epsilons[clear]), np.log(remainder), 1)
        found = float(orders.sel(architecture="mlp-tanh").values[at])
        assert found == pytest.approx(order, rel=1e-9) and order > 1.9


CELL = {"architecture": 2, "loss": 2, "inputs": 0, "trait": 0}  # tanh MLP, softmax: no kink
AFFINE = {"architecture": 0, "loss": 0, "inputs": 0, "trait": 0}
NOTHING = {"architecture": 0, "loss": 3, "inputs": 0, "trait": 0}  # A = 0
STEP = {"architecture": 2, "loss": 2, "trait": 0}
NO_STEP = {"architecture": 0, "loss": 3, "trait": 0}  # A = 0
LABEL = {"label_loss": 1, "label_problem": 2, "label_epsilon": 1}
ODD, EVEN, BELOW, BEYOND = {"k": 2}, {"k": 3}, {"rate": 1}, {"rate": 2}
AT, LAST = {**STEP, **BELOW, **ODD}, {"rate": -1, "k": -1}
WITHIN = {"architecture": 1, "start": 1}  # all problems of a network, independent starts
SAMPLE = {"architecture": 2, "label_loss": 0, "inputs": 0, "trait": 0, "filter_problem": 3}
PLAIN = {**SAMPLE, "form": 0, "filter": 0}
WITHOUT = {**PLAIN, "architecture": 0, "label_loss": 1}  # A = 0


# What a value, or the values at a place, become.


def times(factor):
    return lambda values: values * factor


def plus(number):
    return lambda values: values + number


def put(value):
    return lambda values: np.broadcast_to(value, values.shape)


def hits(n_hits, hit, miss):
    """Return so many hits, and misses beyond them."""
    return lambda values: np.where(np.arange(values.size) < n_hits, hit, miss).reshape(values.shape)


def quotient(error, order=2.0):
    """Return Δ_S·v with a relative error of the quotient at ε = 1e-6, of a remainder's order."""
    epsilon, slope = RECORD.epsilon.values, float(RECORD.grid_slope[CELL])
    return put(epsilon * slope * (1 + error * (epsilon / 1e-6) ** (order - 1)))


def near(order):
    """Return the cross-slope near ε = 0 of a remainder of some order."""
    at = RECORD.small_epsilon.values[:, None] * np.array([0.5 - 12**-0.5, 0.5 + 12**-0.5])
    return put(float(RECORD.grid_slope[CELL]) + order * 1e3 * at ** (order - 1))


def remainder(order):
    return put(np.append(1e-12, RECORD.step_epsilon.values[1:] ** (order - 1)))


def rising(n):
    """Return a rise in so many problems with A > 0, and in all without."""
    slope = RECORD.steps_slope.values > 0
    rises = slope.ravel().cumsum().reshape(slope.shape) <= n
    return put(np.where(rises | ~slope, 1.0, -1.0))


def fall(error):
    """Return the predicted fall with an error, in units of the length of v and displacement."""
    scale = float(RECORD.steps_direction[STEP] * RECORD.steps_length[AT])
    return put(-float(RECORD.steps_form[AT]) - error * scale)


def of_first_step(factor):
    """Return s_k in units of half of αA."""
    rate = 1.9 / RECORD.steps_eigenvalue[STEP]
    return put(factor * float(rate * RECORD.steps_slope[STEP]) / 2)


def of_largest_push(factor):
    return put(factor * float(RECORD.filter_push[SAMPLE].max()))


def fewest(n, above):
    """Return the least number of n hits whose interval lies above a number."""
    return next(k for k in range(1, n) if exact(k, n)[1] > above)


ENOUGH = fewest(600, 0.05)  # by the interval; a mean above .05 is met by 31
MOST, OPPOSED = fewest(96, 0.5), fewest(300, 0.01)

# Claim, condition, variable, place, and what it becomes where the condition holds, and where not.
MUTATIONS = [
    ("T1", 0, "trial_inner", {**CELL, "trial": 7}, put(1e-30), put(-1e-30)),
    ("T1", 0, "trial_inner", {**CELL, "trial": 7}, put(1e-30), put(0.0)),
    ("T1", 0, "trial_change", {**CELL, "trial": 7}, put(-1e-30), put(1e-30)),
    ("T1", 0, "trial_change", {**CELL, "trial": 7}, put(-1e-30), put(0.0)),
    ("T1", 0, "trial_inner", {**NOTHING, "trial": 7}, put(0.0), put(1e-30)),
    ("T1", 0, "trial_slope", {**CELL, "trial": 7}, times(0.5), times(-1)),  # the slope's sign
    ("T1", 1, "grid_inner", CELL, quotient(0.99e-4), quotient(1.01e-4)),
    ("T1", 2, "near_slope", CELL, near(1.91), near(1.89)),
    ("T1", 3, "grid_inner", CELL, quotient(0.9e-4, 1.91), quotient(0.9e-4, 1.89)),
    ("T1", 4, "grid_inner", AFFINE, times(1 + 1e-17), times(1 + 1e-9)),
    ("T1", 5, "grid_inner", {**NOTHING, "epsilon": -1}, put(0.0), put(1e-30)),
    ("T2", 0, "cross_slope", WITHIN, hits(ENOUGH, -1, 1e-9), hits(ENOUGH - 1, -1, 1e-9)),
    ("T2", 2, "cross_slope", {**CELL, "start": 0, "problem": 3}, put(1e-9), put(-1e-9)),
    ("T2", 2, "cross_slope", {**CELL, "start": 0, "problem": 3}, put(1e-9), put(0.0)),
    ("T3", 0, "steps_error", {**AT, "step_epsilon": 0}, put(0.9e-8), put(1.1e-8)),
    ("T3", 1, "steps_error", AT, remainder(1.91), remainder(1.89)),
    ("T3", 2, "steps_quotient_error", AT, put(0.0099), put(0.0101)),
    ("T3", 3, "steps_quotient_change", AT, fall(0.0099), fall(0.0101)),
    ("T3", 3, "steps_quotient_change", AT, fall(-0.0099), fall(-0.0101)),
    *(
        ("T3", 4, name, {**STEP, **at}, put(sign * 1e-20), put(value))
        for at in ({**BELOW, **EVEN}, {**BELOW, **ODD}, {**BEYOND, **ODD})
        for name, sign in (("steps_quotient_change", -1), ("steps_form", 1))
        for value in (0.0, -sign * 1e-20)
    ),
    ("T3", 5, "steps_form", AT, of_first_step(1.0001), of_first_step(0.9999)),
    *(
        ("T3", 6, name, {**NO_STEP, **BELOW, **ODD}, put(0.0), put(1e-30))
        for name in ("steps_length", "steps_quotient_change", "steps_error")
    ),
    ("T3", 7, "progress_measured", {"loss": 0, "progress_step": 5}, plus(0.9e-4), plus(1.1e-4)),
    ("T3", 8, "progress_measured", {"loss": 0, "progress_step": 5}, times(1), put(0.0)),
    ("T3", 9, "progress_coverage", {"loss": 0}, times(1), times(0)),
    ("T3", 10, "steps_quotient_change", LAST, rising(MOST), rising(MOST - 1)),
    ("T4", 0, "metric_slope", {"metric": 1, "metric_problem": 5}, times(1), put(0.0)),
    ("T4", 0, "metric_inner", {"metric": 1, "metric_problem": 5}, put(1e-30), put(0.0)),
    ("T4", 0, "metric_change", {"metric": 0, "metric_problem": 5}, put(-1e-30), put(0.0)),
    ("T4", 1, "metric_fall", {"metric": 2, "metric_problem": 5}, times(1.008), times(1.012)),
    ("T4", 1, "metric_fall", {"metric": 2, "metric_problem": 5}, times(0.992), times(0.988)),
    ("T4", 2, "metric_change", {"metric": 3}, hits(OPPOSED, 1, -1), hits(OPPOSED - 1, 1, -1)),
    ("T5", 0, "label_wrong", {"multiple": 2}, put(0.097), put(0.098)),
    ("T5", 1, "label_wrong", {"multiple": 0}, put(0.406), put(0.404)),
    ("T5", 2, "label_slope", {}, times(0.51), times(0.49)),
    ("T5", 2, "label_slope", {}, times(1.99), times(2.01)),
    ("T5", 3, "label_error", LABEL, put(0.9e-12), put(1.1e-12)),
    ("T5", 4, "label_variance_by_matrix", LABEL, times(1 + 0.9e-9), times(1 + 1.1e-9)),
    ("T5", 4, "label_variance_by_matrix", LABEL, times(1 - 0.9e-9), times(1 - 1.1e-9)),
    ("T5", 5, "label_soft", LABEL, put(1e-30), put(0.0)),
    ("T5", 6, "label_bound", {**LABEL, "multiple": 1}, put(1.0), put(0.01)),
    ("T6", 0, "filter_inner", PLAIN, put(1e-30), put(-1e-30)),
    ("T6", 0, "filter_inner", {**PLAIN, "form": 1, "filter": 5}, put(1e-30), put(0.0)),
    ("T6", 0, "filter_change", PLAIN, put(-1e-30), put(0.0)),
    ("T6", 0, "filter_inner", WITHOUT, put(0.0), put(1e-30)),
    ("T6", 1, "filter_derivative", PLAIN, times(1 + 0.9e-9), times(1 + 1.1e-9)),
    ("T6", 1, "filter_derivative", {**PLAIN, "form": 1}, times(1 - 0.9e-9), times(1 - 1.1e-9)),
    *(
        ("T6", place, name, {**SAMPLE, "filter": number}, *map(of_largest_push, (0.9e-9, 1.1e-9)))
        for place, name, number in ((2, "filter_push_error", 3), (3, "filter_push", 2))
    ),
]


@pytest.mark.parametrize(("claim", "condition", "name", "place", "good", "bad"), MUTATIONS)
def test_a_condition_is_on_both_sides_of_its_bound(data, claim, condition, name, place, good, bad):
    values = np.array(data[name][place].values)
    for change, holds in ((good, True), (bad, False)):
        data[name][place] = change(values)
        _, estimate, bound, *_ = CLAIM[claim].conditions[condition]
        assert bound.holds(estimate(data)) is holds
    only = replace(CLAIM[claim], conditions=CLAIM[claim].conditions[condition : condition + 1])
    assert judge([only], data)[0].verdict not in UPHELD.values()


def test_what_comes_after_a_kink_does_not_count_and_what_comes_before_does(data):
    epsilons = data.epsilon.values
    flat = np.minimum(quotient(0.9e-4)(epsilons), epsilons * float(data.grid_slope[CELL]) * 1.001)
    data.grid_inner[CELL] = flat  # a remainder of order 1 from 1e-5 on
    assert broken("T1", data) == {3}
    data.grid_kink[CELL] = (epsilons > 2e-5) & (epsilons < 1e-4)  # and crossed back
    assert broken("T1", data) == set()
    data.near_kink[CELL] = True  # no order is left that could be told
    assert broken("T1", data) == {2}


def test_enough_problems_are_needed_for_their_interval(data):
    # Without a violation the exact interval begins at .025^(1/n).
    for claim, some, expected in (
        ("T1", {"trial": slice(8)}, UPHELD["T1"]),  # 4,000, needed are 3,688
        ("T1", {"trial": slice(7)}, Verdict.NOT_REPRODUCED),
        ("T3", {"trait": slice(3)}, Verdict.HELD),  # 75, needed are 72
        ("T3", {"trait": slice(2)}, Verdict.NOT_HELD),
        ("T4", {"metric_problem": slice(123)}, Verdict.HELD),  # 369, needed are 368
        ("T4", {"metric_problem": slice(122)}, Verdict.NOT_HELD),
        ("T6", {"filter_problem": slice(9)}, Verdict.NOT_HELD),  # 1,800, needed are 1,843
        ("T2", {"problem": slice(5)}, Verdict.HELD),  # 500
        ("T2", {"problem": slice(4)}, Verdict.NOT_TESTED),
        ("T2", {"architecture": [0]}, Verdict.NOT_TESTED),
    ):
        part = data.isel(some)
        if claim == "T4":
            part.metric_change[-1, :10] = 1.0
        assert verdict(claim, part) == expected, (claim, some)


def test_t2_is_about_intervals_of_the_least_favourable_nonlinear_network(data):
    slopes, predicted = data.cross_slope[WITHIN], data.cross_predicted[1]
    good = slopes.copy()
    # A median of .29 whose interval reaches beyond .3; then all of it below.
    for above, expected in ((290, {1}), (250, set())):
        ratios = np.where(
            np.arange(600) < 200, -1, np.where(np.arange(600) < 600 - above, 0.2, 0.5)
        )
        data.cross_slope[WITHIN] = ratios.reshape(slopes.shape) * predicted.values
        assert np.median(ratios) < 0.3 and broken("T2", data) == expected
    data.cross_slope[WITHIN] = good
    # The linear network, all of whose starts are as good as the shared one, is not asked.
    data.cross_slope[{"architecture": 0, "start": 1}] = 1.0
    assert verdict("T2", data) == Verdict.HELD
    # A student that is not from the start of its name.
    names = {"shared": "independent", "independent": "shared"}
    swapped = data.assign_coords(start=[names.get(s, s) for s in data.start.values])
    assert broken("T2", swapped) == {0, 1, 2}


@pytest.mark.parametrize("name", ["trial_slope", "filter_scale"])
def test_no_condition_is_judged_if_any_value_is_not_finite(data, name):
    data[name][(0,) * data[name].ndim] = np.nan
    for claim in CLAIMS:
        assert all(np.isnan(condition.estimate(data).value) for condition in claim.conditions)
        assert verdict(claim.id, data) == Verdict.NOT_TESTED


def test_the_rows_are_few_and_those_of_their_labels():
    rows = list(estimates(RECORD))
    assert len(rows) <= 300 and len({row[:2] for row in rows}) == len(rows)
    v = {name: RECORD[name].values for name in RECORD.data_vars}
    pull, slope = v["cross_slope"], v["cross_predicted"]
    c, a = pull[4, 1, 3].ravel(), slope[4, 3].ravel()
    ratios = (pull[1, 1][..., 1, :] / slope[1][..., 1, :]).ravel()
    distant = pull[3, 5].ravel()
    up = v["steps_quotient_change"][..., 1, 4][v["steps_slope"] > 0] > 0
    opposed = v["metric_change"][3] > 0
    fixed = RECORD.sel(form="fixed size")
    left = fixed.filter_slope.sel(filter="by label") / fixed.filter_slope.sel(filter="none")
    left = left.values[(fixed.filter_scale.sel(filter="by label") > 0).values]
    expected = {
        "random problems: A > 0": {"all": (9600, np.nan, np.nan, 10_000)},
        "random problems: violations": {"all": (0, np.nan, np.nan, 10_000)},
        "other starts: C < 0": {
            "decoder, softmax, auxiliary, independent": exact((c < 0).sum(), 120),
            "cnn-relu, distance 0.3": exact((distant < 0).sum(), 600),
        },
        "other starts: median of C/A": {
            "decoder, softmax, auxiliary, independent": median(c / a),
            "mlp-relu, favour a class, independent": median(ratios),
        },
        "many steps: the loss rises": {"k = 100, αF = 1.9": exact(up.sum(), 96)},
        "one step in a metric: the loss rises": {
            "mlp-tanh, two positive diagonals": exact(opposed.sum(), 300)
        },
        "sampled labels: wrong means": {
            "mlp-tanh, 0.01 N*": exact(round(v["label_wrong"][..., 0].sum() * 500), 40_000)
        },
        "filters: what the teacher adds, of that without one": {
            "fixed size, by label": median(left)
        },
    }
    found = {row[:2]: row.estimate for row in rows}
    for quantity, labelled in expected.items():
        for labels, estimate in labelled.items():
            np.testing.assert_allclose(found[quantity, labels], estimate, rtol=1e-9)
