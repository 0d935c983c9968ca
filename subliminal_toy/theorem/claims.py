"""The claims T1 to T5, and what a record of the theorem comes to, number by number."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import xarray as xr

from subliminal_toy.claims import All, Claim, Condition, Lower, Row, Upper, Within
from subliminal_toy.stats import Estimate, fraction, median
from subliminal_toy.theorem.experiment import N_REPEATS
from subliminal_toy.theorem.one_step import LARGEST_FITTED, order
from subliminal_toy.theorem.problems import AFFINE, N_IMAGES

SMOOTH_ORDER = 1.9  # of a remainder that is quadratic
EXACT = 1e-8  # training against its prediction where only rounding is between them
NOT_A_NUMBER = Estimate(math.nan, math.nan, math.nan, 0)
Problems = Callable[[xr.Dataset], xr.DataArray]


def share(hits: Problems, *measured: str) -> Callable[[xr.Dataset], Estimate]:
    """Return a function of a result: the fraction of hits, if all numbers ``measured`` are finite.

    A comparison with what is not a number would be a miss.
    """

    def estimate(data):
        finite = all(bool(np.isfinite(data[name]).all()) for name in measured)
        found = fraction(hits(data))
        return found if finite else NOT_A_NUMBER._replace(n=found.n)

    return estimate


def along(axis: str, fn: Callable[..., float], *arrays: xr.DataArray) -> xr.DataArray:
    """Apply a function of arrays along one axis to each cell."""
    whole = xr.broadcast(*arrays)
    return xr.apply_ufunc(fn, *whole, input_core_dims=[[axis]] * len(whole), vectorize=True)


def violations(data: xr.Dataset) -> xr.DataArray:
    """Return in which trials the theorem fails.

    Where A > 0 the student must step with the teacher and the trait loss must fall; where A = 0
    the step must have no component along v at all. Source: proofs/README.md, Eq. (12) to (15).
    """
    falls = (data.trial_inner > 0) & (data.trial_change < 0)
    return xr.where(data.trial_slope > 0, ~falls, data.trial_inner != 0)


def quotient_errors(data: xr.Dataset) -> xr.DataArray:
    """Return |(Δ_S·v)/ε − A| of every cell of the grid at every ε."""
    return np.abs(data.grid_inner / data.epsilon - data.grid_slope)


def affine(data: xr.Dataset) -> xr.DataArray:
    """Return in which cells network and loss gradient are, so that there is no remainder."""
    return (data.architecture == "linear") & data.loss.isin(AFFINE)


def direct_order(data: xr.Dataset) -> xr.DataArray:
    """Return the order of the remainder in every cell; NaN where it is no more than rounding.

    Before any ReLU has crossed its kink, even if it crosses back.
    """
    smooth = data.grid_kink.cumsum("epsilon") == 0
    return along("epsilon", order, data.epsilon, quotient_errors(data), data.grid_rounding, smooth)


def order_by_integral(data: xr.Dataset) -> xr.DataArray:
    """Return it by the integral of the cross-slope (``one_step``), which rounding does not hide."""
    errors = np.abs(data.near_slope.mean("node") - data.grid_slope)
    smooth = data.near_kink.any("node").cumsum("small_epsilon") == 0
    near = data.small_epsilon, errors, data.grid_slope_rounding, smooth
    return along("small_epsilon", order, *near)


def curved(data: xr.Dataset) -> xr.DataArray:
    """Return which cells have a slope, A > 0, and a remainder."""
    return (data.grid_slope > 0) & ~affine(data)


def only_rounding(data: xr.Dataset) -> xr.DataArray:
    """Return in which cells the quotient differs from A by no more than rounding."""
    within = quotient_errors(data) <= data.grid_rounding
    return (within | (data.epsilon > LARGEST_FITTED)).all("epsilon")


T1 = Claim(
    "T1",
    "One small imitation step on any inputs never moves a student of the same start away from the "
    "teacher to first order, in the teacher's own loss",
    "theorem 1",
    (
        Condition(
            "random problems (of our distribution) without violation",
            share(lambda data: ~violations(data), "trial_slope", "trial_inner", "trial_change"),
            All(0.999),
        ),
        Condition(
            "cells of the grid with A > 0: (Δ_S·v)/ε within 0.0001 of A at the smallest ε",
            share(
                lambda data: (
                    (quotient_errors(data).isel(epsilon=0) < 1e-4 * data.grid_slope)
                    | ~(data.grid_slope > 0)
                ),
                "grid_inner",
            ),
            All(),
        ),
        Condition(
            "those not affine: order of the remainder at least 1.9 up to the first kink of a ReLU, "
            "by the integral of the cross-slope",
            share(lambda data: (order_by_integral(data) >= SMOOTH_ORDER) | ~curved(data)),
            All(),
        ),
        Condition(
            "and directly, where it stands out from rounding",
            share(lambda data: ~(curved(data) & (direct_order(data) < SMOOTH_ORDER))),
            All(),
        ),
        Condition(
            "those with network and loss gradient affine: no remainder but rounding",
            share(lambda data: only_rounding(data) | ~(affine(data) & (data.grid_slope > 0))),
            All(),
        ),
        Condition(
            "cells with A = 0: no component along v at any ε",
            share(
                lambda data: (
                    (data.grid_slope > 0)
                    | ((data.grid_slope == 0) & ~data.grid_inner.any("epsilon"))
                )
            ),
            All(),
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
) -> Callable[[xr.Dataset], Estimate]:
    """Return the estimate, from C and C/A at independent starts, of the least favourable network.

    Among the nonlinear ones; its n is the smallest of any of them.
    """

    def estimate(data):
        curved = data.sel(start="independent", architecture=data.architecture != "linear")
        found = [statistic(*pulls(cells)) for _, cells in curved.groupby("architecture")]
        if not found or not np.isfinite(data.cross_slope).all():
            return NOT_A_NUMBER._replace(n=min((e.n for e in found), default=0))
        return max(found, key=worst)._replace(n=min(e.n for e in found))

    return estimate


T2 = Claim(
    "T2",
    "With the shared start the teacher's move never pulls the student the wrong way; with another "
    "start it has no guaranteed sign, and in the median what is left of it is small",
    "proofs/README.md, Eq. (55)",
    (
        Condition(
            "independent starts, problems with A > 0: fraction of cross-slopes C < 0, nonlinear "
            "network where it is smallest",
            worst_network(lambda slopes, _: fraction(slopes < 0), lambda e: -e.low),
            Lower(0.05),
            fewest=500,
        ),
        Condition(
            "median of C/A, nonlinear network where it is largest",
            worst_network(lambda _, ratios: median(ratios), lambda e: e.high),
            Upper(0.3),
            fewest=500,
        ),
        Condition(
            "shared start, problems with A > 0: C > 0",
            share(
                lambda data: (
                    (data.cross_slope.sel(start="shared") > 0) | ~(data.cross_predicted > 0)
                ),
                "cross_slope",
            ),
            All(),
        ),
    ),
    kind="prediction",
    fixed="in part",
    commits="f1446da; record b969c8e",
)


def keeping(hits: Problems) -> Callable[[xr.Dataset], Estimate]:
    """Return the share of problems with A > 0 that keep something at every rate and k.

    Those with A = 0, of which another condition speaks, count as keeping it.
    """
    measured = "steps_error", "steps_form", "steps_quotient_change"
    return share(lambda data: hits(data).all(("rate", "k")) | ~(data.steps_slope > 0), *measured)


def step_order(data: xr.Dataset) -> xr.DataArray:
    """Return the order of the remainder θ⁽ᵏ⁾ − θ⁰ − ε(I − (I − αF)ᵏ)v.

    NaN where it is no more than what training and prediction differ by at ε = 0.
    """
    at_zero = data.steps_error.isel(step_epsilon=0)
    errors = data.steps_error.isel(step_epsilon=slice(1, None))
    return along("step_epsilon", order, errors.step_epsilon, errors, at_zero)


def fall_error(data: xr.Dataset) -> xr.DataArray:
    """Return the error of the loss's fall over ε against s_k, over ‖v‖ times the displacement."""
    scale = (data.steps_direction * data.steps_length).where(data.steps_length > 0, 1.0)
    return np.abs(data.steps_quotient_change + data.steps_form) / scale


def guarantee(data: xr.Dataset) -> xr.DataArray:
    """Return s_k/(αA), for odd k at least ½; NaN where A = 0."""
    slope = data.steps_slope.where(data.steps_slope > 0)
    return data.steps_form * data.steps_eigenvalue / (data.rate * slope)


def covered_falls(data: xr.Dataset) -> xr.DataArray:
    """Return where s_k > 0 and the loss falls, as it must if αF < 2 or k is odd."""
    falls = (data.steps_form > 0) & (data.steps_quotient_change < 0)
    return falls | ~((data.rate < 2) | (data.k % 2 == 1))


def still(data: xr.Dataset) -> xr.DataArray:
    """Return where nothing moves at any rate and k, as it must where A = 0."""
    moved = (data.steps_length != 0) | (data.steps_quotient_change != 0)
    moved = moved | data.steps_error.any("step_epsilon")
    return ~moved.any(("rate", "k"))


def rises(data: xr.Dataset) -> Estimate:
    """Return the share of problems with A > 0 in which the loss rises, at one rate and k."""
    return fraction(data.steps_quotient_change.values[data.steps_slope.values > 0] > 0)


def progress_error(data: xr.Dataset) -> xr.DataArray:
    """Return |progress − prediction|."""
    return np.abs(data.progress_measured - data.progress_predicted)


T3 = Claim(
    "T3",
    "Many small imitation steps move a student of the same start by ε(I − (I − αF)ᵏ)v to first "
    "order; the teacher's loss falls if αF < 2 or k is odd, and can rise beyond",
    "proofs/README.md, Eq. (41) to (44) and (47)",
    (
        Condition(
            "problems with A > 0, at every rate and k: dθ/dε after k steps within 1e-08 of its "
            "prediction at ε = 0",
            keeping(lambda data: data.steps_error.isel(step_epsilon=0) < EXACT),
            All(0.95),
        ),
        Condition(
            "order of the remainder at least 1.9, or no remainder above 1e-08",
            keeping(
                lambda data: (
                    (step_order(data) >= SMOOTH_ORDER)
                    | (data.steps_error.max("step_epsilon") < EXACT)
                )
            ),
            All(0.95),
        ),
        Condition(
            "displacement at a small ε within 0.01",
            keeping(lambda data: data.steps_quotient_error < 0.01),
            All(0.95),
        ),
        Condition(
            "fall of the teacher's loss there within 0.01 of s_k",
            keeping(lambda data: fall_error(data) < 0.01),
            All(0.95),
        ),
        Condition("αF < 2 or k odd: s_k > 0 and a fall", keeping(covered_falls), All(0.95)),
        Condition(
            "k odd: s_k ≥ αA/2",
            keeping(lambda data: ~((data.k % 2 == 1) & (guarantee(data) < 0.5 - EXACT))),
            All(0.95),
        ),
        Condition(
            "problems with A = 0: nothing moves",
            share(lambda data: still(data) | (data.steps_slope > 0)),
            All(0.95),
        ),
        Condition(
            "progress within 0.0001 of its prediction",
            share(lambda data: progress_error(data) < 1e-4, "progress_measured"),
            All(),
        ),
        Condition(
            "progress rising",
            share(lambda data: data.progress_measured.diff("progress_step") > -1e-4),
            All(),
        ),
        Condition(
            "progress not beyond the coverage",
            share(lambda data: data.progress_measured < data.progress_coverage + 1e-4),
            All(),
        ),
        Condition(
            "αF = 2.1, k = 100: fraction of problems with A > 0 in which the loss rises",
            lambda data: rises(data.isel(rate=-1, k=-1)),
            Lower(0.5),
        ),
    ),
    kind="prediction",
    fixed="in part",
    commits="5b59139, after 4a2e6ab; record b969c8e",
)


def in_one_metric(hits: Problems) -> Callable[[xr.Dataset], Estimate]:
    """Return the share of problems that keep something, of those with one metric for both."""
    measured = "metric_slope", "metric_inner", "metric_change"
    return share(lambda data: hits(data.isel(metric=slice(-1))), *measured)


T4 = Claim(
    "T4",
    "With one symmetric metric for teacher and student, of whatever signs, the teacher's loss "
    "falls to first order; with a metric for each it can rise (measured on one network, a tanh "
    "MLP)",
    "proofs/README.md, Eq. (35), (36) and (38)",
    (
        Condition(
            "one metric: gᵀQFQg > 0, −Δ_S·g > 0 and the loss falls",
            in_one_metric(
                lambda data: (
                    (data.metric_slope > 0) & (data.metric_inner > 0) & (data.metric_change < 0)
                )
            ),
            All(0.99),
        ),
        Condition(
            "one metric: by εαgᵀQFQg within 0.01",
            in_one_metric(
                lambda data: np.abs(data.metric_fall - data.metric_slope) < 0.01 * data.metric_slope
            ),
            All(0.99),
        ),
        Condition(
            "two metrics: fraction of problems in which the loss rises",
            share(lambda data: data.metric_change.isel(metric=-1) > 0, "metric_change"),
            Lower(0.01),
        ),
    ),
    kind="prediction",
    commits="4a2e6ab; record b969c8e",
)


def wrong_means(data: xr.Dataset) -> Estimate:
    """Return the fraction of means without component along v, all problems together."""
    if not np.isfinite(data.label_wrong).all():
        return NOT_A_NUMBER._replace(n=data.label_wrong.size * N_REPEATS)
    n_wrong, n = round(float(data.label_wrong.sum()) * N_REPEATS), data.label_wrong.size * N_REPEATS
    return fraction(np.arange(n) < n_wrong)


def labels_needed(data: xr.Dataset) -> Estimate:
    """Return how many labels the bound asks for, in units of 1/(ε²A), at the smallest ε: median."""
    at = data.isel(label_epsilon=0)
    draws = at.label_variance / at.label_soft**2
    labels = N_IMAGES * draws * at.label_epsilon**2 * at.label_slope
    return median(labels.values.ravel())


def variance_error(data: xr.Dataset) -> xr.DataArray:
    """Return how far the variance is from its formula by the loss's matrix, relative."""
    return np.abs(data.label_variance_by_matrix - data.label_variance) / data.label_variance


T5 = Claim(
    "T5",
    "On labels sampled from the teacher the expected step is that on soft labels, but about "
    "1/(ε²A) labels are needed before their mean step points with the teacher (measured on one "
    "network, a tanh MLP)",
    "proofs/README.md, Eq. (48) to (52)",
    (
        Condition(
            "with N* = Var/(Δ_S·v)², all problems together: fraction of wrong means of 10 N* draws",
            lambda data: wrong_means(data.isel(multiple=-1)),
            Upper(0.1),
        ),
        Condition(
            "of N*/100 draws", lambda data: wrong_means(data.isel(multiple=0)), Lower(0.4)
        ),
        Condition("labels in N* draws, times ε²A: median", labels_needed, Within(0.5, 2)),
        Condition(
            "every problem and ε: expected step within 1e-12 of the step on soft labels",
            share(lambda data: data.label_error < 1e-12, "label_soft"),
            All(),
        ),
        Condition(
            "variance within 1e-09 of its formula",
            share(lambda data: variance_error(data) < 1e-9, "label_variance"),
            All(),
        ),
        Condition("Δ_S·v > 0", share(lambda data: data.label_soft > 0), All()),
        Condition(
            "fraction of wrong means at most Var/(N(Δ_S·v)²)",
            share(lambda data: data.label_wrong <= data.label_bound),
            All(),
        ),
    ),
    kind="prediction",
    commits="4a2e6ab; record b969c8e",
)

CLAIMS = (T1, T2, T3, T4, T5)


def each(data: xr.Dataset, *axes: str) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield the labels, and the part of a result, of every place along some axes."""
    for at in np.ndindex(*(data.sizes[axis] for axis in axes)):
        places = dict(zip(axes, at, strict=True))
        labels = (_label(data[axis].values[place]) for axis, place in places.items())
        yield ", ".join(labels), data.isel(places)


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def number(value: float, n: int) -> Estimate:
    """Return a number without an interval: a count, or an extreme of n."""
    return Estimate(float(value), math.nan, math.nan, n)


def estimates(data: xr.Dataset) -> Iterator[Row]:
    """Yield every number of a record that is shown."""
    for name, hits in (("A > 0", data.trial_slope > 0), ("violations", violations(data))):
        yield Row(f"random problems: {name}", "all", number(hits.sum(), hits.size))
    yield from _grid_rows(data)
    yield from _cross_rows(data)
    for labels, part in each(data, "rate", "k"):
        yield Row("many steps: the teacher's loss rises", f"αF = {labels} steps", rises(part))
    for labels, part in each(data, "loss"):
        last = part.isel(progress_step=-1)
        yield Row("progress of many steps", labels, number(last.progress_measured, 1))
        yield Row("coverage", labels, number(last.progress_coverage, 1))
    network = data.metric_change.attrs["network"]
    for labels, part in each(data, "metric"):
        change = part.metric_change
        yield Row("one step in a metric: falls", f"{network}, {labels}", fraction(change < 0))
        yield Row("one step in a metric: rises", f"{network}, {labels}", fraction(change > 0))
    quantity = "sampled labels: wrong means"
    for labels, part in each(data, "multiple"):
        yield Row(quantity, f"{network}, {labels} N*", wrong_means(part))
        for inner, stratum in each(part, "label_loss", "label_epsilon"):
            at = f"{network}, {labels} N*, {inner.replace(', 0', ', ε = 0')}"
            yield Row(quantity, at, wrong_means(stratum))
    yield Row("sampled labels: labels in N* draws, times ε²A", network, labels_needed(data))


def _grid_rows(data: xr.Dataset) -> Iterator[Row]:
    """Yield how many cells of each network have a remainder, its order and the largest error."""
    data = data.assign(order=order_by_integral(data), direct=direct_order(data))
    for labels, cells in each(data, "architecture"):
        n, positive = cells.grid_slope.size, cells.grid_slope > 0
        counts = {
            "cells affine": (affine(cells) & positive).sum(),
            "cells with A = 0": (cells.grid_slope == 0).sum(),
            "cells whose order is resolved": cells.order.notnull().sum(),
            "smallest order": cells.order.min(),
            "largest order": cells.order.max(),
            "smallest order, directly": cells.direct.min(),
            "largest relative error at the smallest ε": (
                quotient_errors(cells).isel(epsilon=0) / cells.grid_slope.where(positive)
            ).max(),
        }
        for name, value in counts.items():
            yield Row(f"grid: {name}", labels, number(value, n))


def _cross_rows(data: xr.Dataset) -> Iterator[Row]:
    """Yield how often, and how strongly, a student is pulled, by network and start.

    From independent starts also by loss, and by trait.
    """
    other = data.sel(start="independent")
    strata: Sequence[tuple[xr.Dataset, tuple[str, ...]]] = (
        (data, ("architecture", "start")),
        (other, ("architecture", "loss")),
        (other, ("architecture", "trait")),
    )
    for part, axes in strata:
        for labels, cells in each(part, *axes):
            slopes, ratios = pulls(cells)
            if not len(slopes):
                continue
            at = labels if "start" in axes else f"{labels}, independent"
            yield Row("other starts: C < 0", at, fraction(slopes < 0))
            yield Row("other starts: median of C/A", at, median(ratios))
