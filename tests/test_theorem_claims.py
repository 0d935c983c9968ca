"""The claims T3 to T5 on synthetic results, on each side of every conjunct of their criteria."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats as scipy_stats

from subliminal_toy.stats import NOT_REPRODUCED, NOT_TESTED, REPRODUCED
from subliminal_toy.theorem import claims, tables
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.result import VARIABLES, coordinates

LABELS = coordinates(TheoremConfig())
SIZES = {name: len(labels) for name, labels in LABELS.items()}
SIZES |= {"metric_problem": 123, "label_problem": 4}  # 3 × 123 = 369: lower end .99005
EPSILONS = LABELS["step_epsilon"]
CELL = {"architecture": 2, "loss": 1, "trait": 3}
BEYOND, BELOW, ODD, EVEN = {"rate": 2}, {"rate": 1}, {"k": 2}, {"k": -1}


def ideal():
    """Return a result in which T3, T4 and T5 hold; every problem has A = 2, ‖v‖ = 3, ‖F‖ = 4."""
    names = [n for n in VARIABLES if n.startswith(("steps", "progress", "metric", "label"))]
    data = xr.Dataset(
        {n: (VARIABLES[n][0], np.ones([SIZES[axis] for axis in VARIABLES[n][0]])) for n in names}
    )
    data = data.assign_coords({axis: LABELS[axis] for axis in data.dims if axis in LABELS})
    values = {"steps_slope": 2, "steps_direction": 3, "steps_eigenvalue": 4, "steps_length": 5,
              "steps_quotient_error": 1e-5, "label_error": 1e-16, "label_wrong": 0.0,
              "metric_change": -1, "progress_coverage": 0.4}  # fmt: skip
    for name, value in values.items():
        data[name][...] = value
    data["steps_error"] = (data.steps_error * 0.1 * data.step_epsilon).where(
        data.step_epsilon > 0, 1e-12
    )
    form = data.steps_form * (2 * data.rate / 4)  # αA
    data["steps_form"] = xr.where((data.rate > 2) & (data.k % 2 == 0), -form, form).transpose(
        *form.dims
    )
    data["steps_quotient_change"] = -data.steps_form
    q = 0.4 * (1 - 1 / (1 + data.progress_step.astype(float)))
    data["progress_predicted"] = q.broadcast_like(data.progress_predicted).transpose("loss", ...)
    data["progress_measured"] = data.progress_predicted + 1e-6
    # One label in a draw is needed at ε²A = 1/16 per input.
    data["label_variance"] = data.label_variance / (16 * data.label_epsilon**2)
    data["label_variance_by_matrix"] = data.label_variance
    data["label_bound"] = (
        (1 / data.multiple).broadcast_like(data.label_bound).transpose(*data.label_bound.dims)
    )
    data["label_wrong"] = data.label_bound * 0 + [0.46, 0.16, 0.001]
    # Each variable with numbers of its own, which a test can change.
    return two_metrics(data.map(lambda values: values.copy(data=values.values.copy())), 30)


def judge(claim, data):
    """Return one of the claims, without the work of the others."""
    if claim == "T3":
        return claims.claim_t3(data, tables.steps_table(data))
    return {"T4": claims.claim_t4, "T5": claims.claim_t5}[claim](data)


def verdict(claim, name=None, at=None, value=None, change=None):
    """Return a claim's verdict where one value of one variable is another."""
    data = ideal()
    if name is not None:
        place = at or {}
        data[name][place] = value if change is None else change(data[name][place])
    return judge(claim, data).verdict


def test_all_three_are_reproduced_where_everything_is_as_it_should_be():
    found = {claim: judge(claim, ideal()) for claim in ("T3", "T4", "T5")}
    assert [claim.verdict for claim in found.values()] == [REPRODUCED] * 3
    assert found["T3"].value == 1 and found["T3"].n == 5 * 5 * 4
    assert found["T4"].value == 1 and found["T4"].n == 3 * 123
    assert found["T5"].value == pytest.approx(0.001) and found["T5"].n == 2 * 4 * 2 * 500


@pytest.mark.parametrize(
    ("name", "at", "good", "bad"),
    [
        # Training and prediction at ε = 0.
        ("steps_error", {**CELL, **BEYOND, **EVEN, "step_epsilon": 0}, 0.9e-8, 1.1e-8),
        ("steps_quotient_error", {**CELL, "rate": 0, "k": 1}, 0.0099, 0.0101),
        # s_k is ½αA (rate 2.1: .525) at least for odd k, at any rate.
        ("steps_form", {**CELL, **BEYOND, **ODD}, 1.0500 / 2 + 1e-6, 1.05 / 2 - 1e-6),
    ],
)
def test_a_number_of_many_steps_on_both_sides_of_its_bound(name, at, good, bad):
    for value, expected in ((good, REPRODUCED), (bad, NOT_REPRODUCED)):
        data = ideal()
        data[name][at] = value
        if name == "steps_form":
            data["steps_quotient_change"][at] = -value
        if name == "steps_error":  # no remainder to be seen, so that its order does not matter
            data[name][{**at, "step_epsilon": slice(None)}] = value
        assert judge("T3", data).verdict == expected, value


@pytest.mark.parametrize(("order", "expected"), [(1.91, REPRODUCED), (1.89, NOT_REPRODUCED)])
def test_the_order_of_the_remainder_counts_in_every_problem(order, expected):
    error = EPSILONS ** (order - 1)
    error[0] = 1e-12
    assert verdict("T3", "steps_error", {**CELL, **BELOW, "k": 0}, error) == expected
    # An error that does not fall is not excused by being unresolved.
    flat = np.full(4, 2e-8)
    assert verdict("T3", "steps_error", {**CELL, **BELOW, "k": 0}, flat) == NOT_REPRODUCED


def test_the_fall_of_the_teachers_loss_is_that_of_the_prediction():
    at = {**CELL, **BELOW, "k": 3}
    scale = 3 * 5  # ‖v‖ times the length
    for error, expected in ((0.0099, REPRODUCED), (0.0101, NOT_REPRODUCED)):
        change = {"change": lambda c, e=error: c - e * scale}
        assert verdict("T3", "steps_quotient_change", at, **change) == expected


@pytest.mark.parametrize("at", [{**BELOW, **EVEN}, {**BELOW, **ODD}, {**BEYOND, **ODD}])
@pytest.mark.parametrize("name", ["steps_quotient_change", "steps_form"])
def test_a_rise_or_a_form_that_is_not_positive_counts_below_two_and_for_odd_k(at, name):
    """By so little that it is within the error allowed of the prediction."""
    sign = {"steps_quotient_change": -1, "steps_form": 1}[name]
    for value, expected in ((1e-9, REPRODUCED), (0.0, NOT_REPRODUCED), (-1e-9, NOT_REPRODUCED)):
        data = ideal()
        data.steps_length[CELL] = 500
        if name == "steps_form" and at["k"] == ODD["k"]:
            data.steps_slope[CELL] = 1e-12  # so that αA/2 is no more
        data[name][{**CELL, **at}] = sign * value
        assert judge("T3", data).verdict == expected, value


def test_beyond_two_an_even_number_of_steps_may_raise_the_loss():
    assert (ideal().steps_quotient_change.isel({**BEYOND, **EVEN}) > 0).all()


def test_without_slope_nothing_may_move():
    def still(**moved):
        data = ideal()
        for name in ("slope", "form", "length", "error", "quotient_change"):
            data[f"steps_{name}"][CELL] = moved.get(name, 0.0)
        return judge("T3", data).verdict

    assert still() == REPRODUCED
    for name in ("length", "error", "quotient_change"):
        assert still(**{name: 1e-30}) == NOT_REPRODUCED, name


def test_t3_asks_for_enough_problems():
    # Without a violation the exact interval begins at .025^(1/n), above .95 from n = 72.
    needed = int(np.ceil(np.log(0.025) / np.log(0.95)))
    data = ideal()
    for n_traits, n in ((3, 75), (2, 50)):
        found = judge("T3", data.isel(trait=slice(n_traits)))
        assert found.n == n and found.verdict == (REPRODUCED if n >= needed else NOT_REPRODUCED)


@pytest.mark.parametrize(
    ("place", "change", "expected"),
    [
        (5, 0.9e-4, REPRODUCED),
        (5, 1.1e-4, NOT_REPRODUCED),  # not as predicted
        (-1, 0.4 - 0.4 * (1 - 1 / 10001) + 1.5e-4, NOT_REPRODUCED),
    ],
)
def test_the_progress_is_the_predicted_one(place, change, expected):
    data = ideal()
    data.progress_measured[0, place] = data.progress_predicted[0, place] + change
    assert judge("T3", data).verdict == expected


def test_the_progress_rises_and_stays_below_the_coverage():
    # Prediction and measurement alike, so that each of the other two conjuncts stands alone.
    for name, values in (("falls", np.linspace(0.3, 0.2, 24)), ("too far", 0.41)):
        data = ideal()
        data.progress_predicted[0] = data.progress_measured[0] = values
        assert judge("T3", data).verdict == NOT_REPRODUCED, name


def test_beyond_two_the_loss_rises_in_most_problems_with_slope():
    # 100 problems: the interval of 61 hits begins above .5, that of 59 below.
    for n_falling, expected in ((39, REPRODUCED), (41, NOT_REPRODUCED)):
        data = ideal()
        at = {"rate": -1, "k": -1}
        falling = (np.arange(100) < n_falling).reshape(data.steps_slope.shape)
        form = np.where(falling, 1.05, -1.05)
        data.steps_form[at], data.steps_quotient_change[at] = form, -form
        found = judge("T3", data)
        assert found.verdict == expected and found.value == 1


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("metric_slope", 0.0, NOT_REPRODUCED),
        ("metric_inner", 0.0, NOT_REPRODUCED),
        ("metric_inner", 1e-9, REPRODUCED),
        ("metric_change", 0.0, NOT_REPRODUCED),
        ("metric_change", -1e-9, REPRODUCED),
        ("metric_fall", 0.991, REPRODUCED),
        ("metric_fall", 0.989, NOT_REPRODUCED),
        ("metric_fall", 1.011, NOT_REPRODUCED),
    ],
)
def test_one_step_in_a_metric_on_both_sides(name, value, expected):
    for metric in range(3):
        data = ideal()
        data[name][metric, 5] = value
        assert judge("T4", data).verdict == expected
    # Two metrics are only asked how often the loss rises.
    data = ideal()
    data[name][3, 100] = value
    assert judge("T4", data).verdict == REPRODUCED


def two_metrics(data, n_rising):
    data.metric_change[-1] = np.where(np.arange(SIZES["metric_problem"]) < n_rising, 1.0, -1.0)
    return data


def test_two_metrics_raise_the_loss_in_more_than_a_hundredth():
    n = SIZES["metric_problem"]
    least = next(k for k in range(1, n) if scipy_stats.beta.ppf(0.025, k, n - k + 1) > 0.01)
    assert judge("T4", two_metrics(ideal(), least)).verdict == REPRODUCED
    assert judge("T4", two_metrics(ideal(), least - 1)).verdict == NOT_REPRODUCED


def test_t4_asks_for_enough_problems():
    data = ideal()
    assert judge("T4", data.isel(metric_problem=slice(122))).verdict == NOT_REPRODUCED
    assert judge("T4", data).verdict == REPRODUCED


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("label_error", 0.9e-12, 1.1e-12),
        ("label_soft", 0.9, -0.9),
        ("label_soft", 1e-3, 0.0),
    ],
)
def test_every_step_on_sampled_labels_on_both_sides(name, good, bad):
    at = {"label_loss": 1, "label_problem": 2, "label_epsilon": 1}
    assert verdict("T5", name, at, good) == REPRODUCED
    assert verdict("T5", name, at, bad) == NOT_REPRODUCED


@pytest.mark.parametrize("sign", [1, -1])
def test_the_variance_is_that_of_the_formula(sign):
    at = {"label_loss": 1, "label_problem": 2, "label_epsilon": 1}
    for error, expected in ((0.9e-9, REPRODUCED), (1.1e-9, NOT_REPRODUCED)):
        change = {"change": lambda v, e=error: v * (1 + sign * e)}
        assert verdict("T5", "label_variance_by_matrix", at, **change) == expected


@pytest.mark.parametrize(("wrong", "expected"), [(0.1, REPRODUCED), (0.102, NOT_REPRODUCED)])
def test_no_problem_has_more_wrong_means_than_the_bound(wrong, expected):
    at = {"label_loss": 0, "label_problem": 1, "label_epsilon": 0, "multiple": 2}
    assert verdict("T5", "label_wrong", at, wrong) == expected


def test_wrong_means_are_rare_at_ten_times_the_bounds_number_and_common_at_a_hundredth():
    # 8,000 means: the interval of a fraction p reaches about .0066 further at p = .1.
    data = ideal()
    data.label_bound[..., 2] = 1.0
    for wrong, expected in ((0.092, REPRODUCED), (0.098, NOT_REPRODUCED)):
        data.label_wrong[..., 2] = wrong
        assert judge("T5", data).verdict == expected
    for wrong, expected in ((0.412, REPRODUCED), (0.408, NOT_REPRODUCED)):
        data = ideal()
        data.label_wrong[..., 0] = wrong
        assert judge("T5", data).verdict == expected


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(0.51, REPRODUCED), (0.49, NOT_REPRODUCED), (1.99, REPRODUCED), (2.01, NOT_REPRODUCED)],
)
def test_the_labels_that_the_bound_asks_for_are_about_one_over_epsilon_squared_a(factor, expected):
    data = ideal()
    data["label_slope"] = data.label_slope * factor
    assert judge("T5", data).verdict == expected


@pytest.mark.parametrize(
    ("claim", "name"),
    [("T3", "steps_error"), ("T3", "progress_measured"), ("T4", "metric_change"),
     ("T4", "metric_slope"), ("T5", "label_soft"), ("T5", "label_variance")],
)  # fmt: skip
def test_a_claim_is_not_tested_on_values_that_are_not_finite(claim, name):
    data = ideal()
    data[name][(0,) * data[name].ndim] = np.nan
    assert judge(claim, data).verdict == NOT_TESTED
