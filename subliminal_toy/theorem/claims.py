"""The claims T1 to T6, and every number that is shown of a record of the theorem."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr

from subliminal_toy.claims import All, Claim, Condition, Lower, Row, Upper, Within
from subliminal_toy.stats import Estimate, fraction, median, without_interval
from subliminal_toy.theorem.experiment import N_REPEATS
from subliminal_toy.theorem.one_step import LARGEST_FITTED, order
from subliminal_toy.theorem.problems import AFFINE, N_IMAGES

SMOOTH_ORDER = 1.9  # of a remainder that is quadratic
EXACT = 1e-8  # training against its prediction where only rounding is between them
NOTHING = 1e-6  # of E[s² | passes]: the slope of a filter that is 0 but for rounding
SAME = 1e-9  # two ways to the same number
PUSHLESS = ("none", "at random", "of inputs")
Hits = Callable[[xr.Dataset], xr.DataArray]
Measure = Callable[[xr.Dataset], Estimate]


def condition(
    what: str, estimate: Measure, bound: All | Lower | Upper | Within, fewest: int = 2
) -> Condition:
    """Return a condition on a result all of whose numbers are finite: a comparison hides others."""

    def checked(data):
        found = estimate(data)
        finite = all(bool(np.isfinite(variable).all()) for variable in data.data_vars.values())
        return found if finite else without_interval(math.nan, found.n)

    return Condition(what, checked, bound, fewest)


def always(what: str, hits: Hits, above: float = -math.inf) -> Condition:
    """Return the condition that all are hits, the interval of their fraction above a number."""
    return condition(what, lambda data: fraction(hits(data)), All(above))


def violations(data: xr.Dataset) -> xr.DataArray:
    """Return in which trials the theorem fails. Source: proofs/README.md, Eq. (12) to (15).

    Where A > 0 the student must step with the teacher and the trait loss must fall; where A = 0
    the step must have no component along v at all.
    """
    falls = (data.trial_inner > 0) & (data.trial_change < 0)
    return xr.where(data.trial_slope > 0, ~falls, data.trial_inner != 0)


def errors(data: xr.Dataset) -> xr.DataArray:
    """Return |(Δ_S·v)/ε − A| of every cell of the grid at every ε."""
    return np.abs(data.grid_inner / data.epsilon - data.grid_slope)


def orders(
    axis: str, errors: xr.DataArray, rounding: xr.DataArray, kink: xr.DataArray | None = None
) -> xr.DataArray:
    """Return the order of the remainder along an axis of ε, NaN where it is no more than rounding.

    Before any ReLU has crossed its kink, even if it crosses back.
    """
    smooth = xr.ones_like(errors, bool) if kink is None else kink.cumsum(axis) == 0
    whole = xr.broadcast(errors[axis], errors, rounding, smooth)
    return xr.apply_ufunc(order, *whole, input_core_dims=[[axis]] * 4)


def order_by_integral(data: xr.Dataset) -> xr.DataArray:
    """Return the order in every cell by the cross-slope (``one_step``): rounding hides it less."""
    near = np.abs(data.near_slope.mean("node") - data.grid_slope)
    return orders("small_epsilon", near, data.grid_slope_rounding, data.near_kink.any("node"))


def affine(data: xr.Dataset) -> xr.DataArray:
    """Return which cells have a slope but, network and loss gradient affine, no remainder."""
    return (data.architecture == "linear") & data.loss.isin(AFFINE) & (data.grid_slope > 0)


def quadratic(data: xr.Dataset, order: xr.DataArray) -> xr.DataArray:
    """Return where the remainder has the order of a smooth one, or where there is none."""
    return (order >= SMOOTH_ORDER) | ~(data.grid_slope > 0) | affine(data)


T1 = Claim(
    "T1",
    "A small imitation step never moves a same-start student away, to first order",
    "theorem 1",
    (
        always(
            "random problems (of our distribution) without violation",
            lambda data: ~violations(data),
            above=0.999,
        ),
        always(
            "cells of the grid with A > 0: (Δ_S·v)/ε within 0.0001 of A at the smallest ε",
            lambda data: (
                (errors(data).isel(epsilon=0) < 1e-4 * data.grid_slope) | ~(data.grid_slope > 0)
            ),
        ),
        always(
            "those not affine: order of the remainder at least 1.9, up to the first kink of a "
            "ReLU, by the integral of the cross-slope",
            lambda data: quadratic(data, order_by_integral(data)),
        ),
        always(
            "and directly, where it stands out from rounding",
            lambda data: quadratic(
                data,
                orders("epsilon", errors(data), data.grid_rounding, data.grid_kink).fillna(2.0),
            ),
        ),
        always(
            "those with network and loss gradient affine: no remainder but rounding",
            lambda data: (
                ~affine(data)
                | (errors(data) <= data.grid_rounding)
                | (data.epsilon > LARGEST_FITTED)
            ).all("epsilon"),
        ),
        always(
            "cells with A = 0: no component along v at any ε",
            lambda data: (
                (data.grid_slope > 0) | ((data.grid_slope == 0) & ~data.grid_inner.any("epsilon"))
            ),
        ),
    ),
    fixed="in part",
    commits="f1446da; record b969c8e",
)


def pulls(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return C and C/A of all problems with A > 0, in one row each."""
    slopes, predicted = data.cross_slope.values.ravel(), data.cross_predicted.values.ravel()
    where = predicted > 0
    return slopes[where], slopes[where] / predicted[where]


def worst_network(
    statistic: Callable[[np.ndarray, np.ndarray], Estimate], worst: Callable[[Estimate], float]
) -> Measure:
    """Return the estimate, from C and C/A at independent starts, of the least favourable network.

    Among the nonlinear ones; its n is the smallest of any of them.
    """

    def estimate(data):
        nonlinear = data.sel(start="independent", architecture=data.architecture != "linear")
        found = [statistic(*pulls(part)) for _, part in each(nonlinear, "architecture")]
        if not found:
            return without_interval(math.nan, 0)
        return max(found, key=worst)._replace(n=min(estimate.n for estimate in found))

    return estimate


T2 = Claim(
    "T2",
    "From another start the teacher's move pulls a student with no fixed sign and, in the median, "
    "weakly; from the shared start never the wrong way",
    "proofs/README.md, Eq. (55)",
    (
        condition(
            "independent starts, problems with A > 0: fraction of cross-slopes C < 0, nonlinear "
            "network where it is smallest",
            worst_network(lambda slopes, _: fraction(slopes < 0), lambda estimate: -estimate.low),
            Lower(0.05),
            fewest=500,
        ),
        condition(
            "median of C/A, nonlinear network where it is largest",
            worst_network(lambda _, ratios: median(ratios), lambda estimate: estimate.high),
            Upper(0.3),
            fewest=500,
        ),
        always(
            "shared start, problems with A > 0: C > 0",
            lambda data: (data.cross_slope.sel(start="shared") > 0) | ~(data.cross_predicted > 0),
        ),
    ),
    kind="prediction",
    fixed="in part",
    commits="f1446da; record b969c8e",
)


def keeping(what: str, hits: Hits) -> Condition:
    """Return the condition that all problems with A > 0 keep something at every rate and k."""
    return always(
        what,
        lambda data: hits(data).all(("rate", "k")) | ~(data.steps_slope > 0),
        above=0.95,
    )


def remainder_falls(data: xr.Dataset) -> xr.DataArray:
    """Return where the remainder θ⁽ᵏ⁾ − θ⁰ − ε(I − (I − αF)ᵏ)v is quadratic, or there is none.

    It is told where it exceeds what training and prediction differ by at ε = 0.
    """
    at_zero = data.steps_error.isel(step_epsilon=0)
    beyond = data.steps_error.isel(step_epsilon=slice(1, None))
    quadratic = orders("step_epsilon", beyond, at_zero) >= SMOOTH_ORDER
    return quadratic | (data.steps_error.max("step_epsilon") < EXACT)


def fall_error(data: xr.Dataset) -> xr.DataArray:
    """Return the error of the loss's fall over ε against s_k, over ‖v‖ times the displacement."""
    scale = (data.steps_direction * data.steps_length).where(data.steps_length > 0, 1.0)
    return np.abs(data.steps_quotient_change + data.steps_form) / scale


def moved(data: xr.Dataset) -> xr.DataArray:
    """Return where anything moves, at any rate and k."""
    nonzero = data[["steps_error", "steps_length", "steps_quotient_change"]] != 0
    return nonzero.any(("rate", "k", "step_epsilon")).to_dataarray().any("variable")


def rises(data: xr.Dataset) -> Estimate:
    """Return the share of problems with A > 0 in which the loss rises, at one rate and k."""
    return fraction(data.steps_quotient_change.values[data.steps_slope.values > 0] > 0)


T3 = Claim(
    "T3",
    "k small steps move a same-start student by ε(I − (I − αF)ᵏ)v; the teacher's loss falls if "
    "αF < 2 or k is odd, and can rise beyond",
    "proofs/README.md, Eq. (41) to (44) and (47)",
    (
        keeping(
            "problems with A > 0, at every rate and k: dθ/dε after k steps within 1e-08 of its "
            "prediction at ε = 0",
            lambda data: data.steps_error.isel(step_epsilon=0) < EXACT,
        ),
        keeping("order of the remainder at least 1.9, or none above 1e-08", remainder_falls),
        keeping(
            "displacement at a small ε within 0.01", lambda data: data.steps_quotient_error < 0.01
        ),
        keeping("fall of the loss there within 0.01 of s_k", lambda data: fall_error(data) < 0.01),
        keeping(
            "αF < 2 or k odd: s_k > 0 and the loss falls",
            lambda data: (
                ((data.steps_form > 0) & (data.steps_quotient_change < 0))
                | ((data.rate >= 2) & (data.k % 2 == 0))
            ),
        ),
        keeping(
            "k odd: s_k ≥ αA/2",
            lambda data: (
                (data.k % 2 == 0)
                | (
                    data.steps_form * data.steps_eigenvalue
                    >= (0.5 - EXACT) * data.rate * data.steps_slope
                )
            ),
        ),
        always(
            "problems with A = 0: nothing moves",
            lambda data: ~moved(data) | (data.steps_slope > 0),
            above=0.95,
        ),
        always(
            "progress within 0.0001 of its prediction",
            lambda data: np.abs(data.progress_measured - data.progress_predicted) < 1e-4,
        ),
        always(
            "progress rising", lambda data: data.progress_measured.diff("progress_step") > -1e-4
        ),
        always(
            "progress not beyond the coverage",
            lambda data: data.progress_measured < data.progress_coverage + 1e-4,
        ),
        condition(
            "αF = 2.1, k = 100: fraction of problems with A > 0 in which the loss rises",
            lambda data: rises(data.isel(rate=-1, k=-1)),
            Lower(0.5),
        ),
    ),
    kind="prediction",
    fixed="in part",
    commits="5b59139, after 4a2e6ab; record b969c8e",
)


def in_one_metric(what: str, hits: Hits) -> Condition:
    """Return the condition that all problems keep something, in every metric that is shared."""
    return always(what, lambda data: hits(data.isel(metric=slice(-1))), above=0.99)


T4 = Claim(
    "T4",
    "In one symmetric metric for teacher and student the teacher's loss falls; with a metric for "
    "each it can rise (one network, a tanh MLP)",
    "proofs/README.md, Eq. (35), (36) and (38)",
    (
        in_one_metric(
            "one metric, problems with gᵀQFQg > 0, −Δ_S·g > 0 and a fall of the loss",
            lambda data: (
                (data.metric_slope > 0) & (data.metric_inner > 0) & (data.metric_change < 0)
            ),
        ),
        in_one_metric(
            "one metric: by εαgᵀQFQg within 0.01",
            lambda data: np.abs(data.metric_fall - data.metric_slope) < 0.01 * data.metric_slope,
        ),
        condition(
            "two metrics: fraction of problems in which the loss rises",
            lambda data: fraction(data.metric_change.isel(metric=-1) > 0),
            Lower(0.01),
        ),
    ),
    kind="prediction",
    commits="4a2e6ab; record b969c8e",
)


def wrong_means(data: xr.Dataset) -> Estimate:
    """Return the fraction of means without component along v, all problems together."""
    n = data.label_wrong.size * N_REPEATS
    return fraction(np.arange(n) < np.round(float(data.label_wrong.sum()) * N_REPEATS))


def labels_needed(data: xr.Dataset) -> Estimate:
    """Return how many labels the bound asks for, in units of 1/(ε²A), at the smallest ε: median."""
    at = data.isel(label_epsilon=0)
    draws = at.label_variance / at.label_soft**2
    labels = N_IMAGES * draws * at.label_epsilon**2 * at.label_slope
    return median(labels.values.ravel())


T5 = Claim(
    "T5",
    "On sampled labels the expected step is that on soft ones, but about 1/(ε²A) are needed before "
    "their mean points with the teacher (one network, a tanh MLP)",
    "proofs/README.md, Eq. (48) to (52)",
    (
        condition(
            "with N* = Var/(Δ_S·v)², all problems together: fraction of wrong means of 10 N* draws",
            lambda data: wrong_means(data.isel(multiple=-1)),
            Upper(0.1),
        ),
        condition("of N*/100 draws", lambda data: wrong_means(data.isel(multiple=0)), Lower(0.4)),
        condition("labels in N* draws, times ε²A: median", labels_needed, Within(0.5, 2.0)),
        always(
            "every problem and ε: expected step within 1e-12 of the step on soft labels",
            lambda data: data.label_error < 1e-12,
        ),
        always(
            "variance within 1e-09 of its formula",
            lambda data: (
                np.abs(data.label_variance_by_matrix - data.label_variance)
                < 1e-9 * data.label_variance
            ),
        ),
        always("Δ_S·v > 0", lambda data: data.label_soft > 0),
        always(
            "fraction of wrong means at most Var/(N(Δ_S·v)²)",
            lambda data: data.label_wrong <= data.label_bound,
        ),
    ),
    kind="prediction",
    commits="4a2e6ab; record b969c8e",
)


def keeps_side(data: xr.Dataset) -> xr.DataArray:
    """Return where the student is on the teacher's side of the control, in step and in loss.

    Where the slope is 0, but for rounding, the two must not differ along v, but for rounding.
    """
    least = NOTHING * data.filter_scale
    ahead = (data.filter_inner > 0) & (data.filter_change < 0)
    still = np.abs(data.filter_inner) <= 2 * least * data.attrs["filter_epsilon"]
    return xr.where(data.filter_slope > least, ahead, still).all(("form", "filter"))


def of_largest_push(data: xr.Dataset, lengths: xr.DataArray) -> xr.DataArray:
    """Return the largest of some lengths over that of the problem's largest push."""
    return lengths.max("filter") / data.filter_push.max("filter")


T6 = Claim(
    "T6",
    "No filter of whole samples turns what a teacher adds to its student over a control filtered "
    "alike; what it leaves is the share of the squared score",
    "proofs/README.md, Eq. (61) to (66)",
    (
        always(
            "problems without violation (every filter, samples counted or a set of fixed size): "
            "student beyond control along v and lower in L_T, or no difference where s is constant",
            keeps_side,
            above=0.998,
        ),
        always(
            "slope of (step − control's)·v within 1e-09 of E[φs²], and of Var(s | passes), of "
            "E[s² | passes]",
            lambda data: (
                np.abs(data.filter_derivative - data.filter_slope) <= SAME * data.filter_scale
            ).all(("form", "filter")),
        ),
        always(
            "control's step within 1e-09 of the gradient of the pass rate",
            lambda data: of_largest_push(data, data.filter_push_error) < SAME,
        ),
        always(
            "no filter, at random, or of inputs: no push beyond 1e-09",
            lambda data: of_largest_push(data, data.filter_push.sel(filter=list(PUSHLESS))) < SAME,
        ),
    ),
    kind="prediction",
)

CLAIMS = (T1, T2, T3, T4, T5, T6)


def each(data: xr.Dataset, *axes: str) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield labels and part of a result at every place along some axes."""
    for at in np.ndindex(*(data.sizes[axis] for axis in axes)):
        part = data.isel(dict(zip(axes, at, strict=True)))
        labels = (part[axis].item() for axis in axes)
        yield ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in labels), part


def estimates(data: xr.Dataset) -> Iterator[Row]:
    """Yield every number of a record that is shown."""
    for name, hits in (("A > 0", data.trial_slope > 0), ("violations", violations(data))):
        yield Row(f"random problems: {name}", "all", without_interval(hits.sum(), hits.size))
    other = data.sel(start="independent")
    for stratum, axis in ((data, "start"), (other, "loss"), (other, "trait")):
        for labels, part in each(stratum, "architecture", axis):
            slopes, ratios = pulls(part)
            at = labels if axis == "start" else f"{labels}, independent"
            yield Row("other starts: C < 0", at, fraction(slopes < 0))
            yield Row("other starts: median of C/A", at, median(ratios))
    for labels, part in each(data, "k", "rate"):
        at = "k = {}, αF = {}".format(*labels.split(", "))
        yield Row("many steps: the loss rises", at, rises(part))
    network = data.metric_change.attrs["network"]
    for labels, part in each(data, "metric"):
        estimate = fraction(part.metric_change > 0)
        yield Row("one step in a metric: the loss rises", f"{network}, {labels}", estimate)
    for labels, part in each(data, "multiple"):
        yield Row("sampled labels: wrong means", f"{network}, {labels} N*", wrong_means(part))
    yield Row("sampled labels: labels in N* draws, times ε²A", network, labels_needed(data))
    left = data.filter_slope / data.filter_slope.sel(filter="none")
    left = left.where(data.filter_scale > 0).to_dataset(name="left")
    for labels, part in each(left, "form", "filter"):
        shares = part.left.values[np.isfinite(part.left.values)]
        yield Row("filters: what the teacher adds, of that without one", labels, median(shares))
