"""The claims T1 to T5 with their criteria, each judged on a result of ``experiment``."""

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.theorem.tables import cross_ratios, labels_needed, wrong_means

SMALL_ERROR, SMOOTH_ORDER = 1e-4, 1.9  # of the quotient at the smallest ε; of the remainder
MOST_VIOLATED = 1e-3
FEWEST_CROSS, LEAST_NEGATIVE, LARGEST_MEDIAN = 500, 0.05, 0.3  # of the criterion of T2
# Of T3: training against prediction at ε = 0; displacement, and fall of L_T, at a small ε;
# progress; problems without violation; problems whose L_T rises after many steps beyond αF = 2.
EXACT, CLOSE, PROGRESS_ERROR, LEAST_KEPT, LEAST_RISING = 1e-8, 0.01, 1e-4, 0.95, 0.5
# Of T4: problems without violation; the fall of L_T against its prediction; rises in two metrics.
LEAST_FALLING, FALL_ERROR, LEAST_OPPOSED = 0.99, 0.01, 0.01
# Of T5: expected step; variance; wrong means at a hundredth and at ten times N*; labels ε²A.
STEP_ERROR, VARIANCE_ERROR, MOST_WRONG, LEAST_WRONG, NEEDED = 1e-12, 1e-9, 0.1, 0.4, (0.5, 2.0)


def judged(data: xr.Dataset, grid: xr.Dataset, steps: xr.Dataset) -> tuple[stats.Claim, ...]:
    """Return all claims; ``grid`` and ``steps`` are the tables of that name."""
    claims = claim_t1(data, grid), claim_t2(data), claim_t3(data, steps)
    return *claims, claim_t4(data), claim_t5(data)


def unless_finite(data: xr.Dataset, *names: str) -> str:
    """Return why a claim on these variables cannot be tested, "" if all are finite numbers."""
    finite = all(bool(np.isfinite(data[name]).all()) for name in names)
    return "" if finite else "a measured value is not a finite number"


def violations(data: xr.Dataset) -> xr.DataArray:
    """Return in which trials the theorem fails.

    Where A > 0 the student must step with the teacher and the trait loss must fall; where A = 0
    the step must have no component along v at all. Source: proofs/README.md, Eq. (12) to (15).
    """
    falls = (data.trial_inner > 0) & (data.trial_change < 0)
    return xr.where(data.trial_slope > 0, ~falls, data.trial_inner != 0)


def follows(grid: xr.Dataset) -> xr.DataArray:
    """Return whether each cell of the grid does what the theorem says; see the criterion of T1."""
    in_order = (grid.order_by_integral >= SMOOTH_ORDER) & ~(grid.order < SMOOTH_ORDER)
    in_order = xr.where(grid.affine, grid.only_rounding, in_order)
    return xr.where(grid.slope > 0, in_order & (grid.slope_rel_error < SMALL_ERROR), grid.zero)


def claim_t1(data: xr.Dataset, grid: xr.Dataset) -> stats.Claim:
    """Return the claim that the theorem holds, with its verdict."""
    kept = stats.fraction(~violations(data).values)
    return stats.judge(
        "T1",
        "One small imitation step on any inputs never moves a same-start student away from the "
        "teacher to first order, in the teacher's own loss",
        "random trials without violation: all, lower end of the interval (over our distribution "
        f"of problems) above {1 - MOST_VIOLATED:g}; every cell of the grid with A > 0: quotient "
        f"within {SMALL_ERROR:g} of A at the smallest ε and order of the remainder at least "
        f"{SMOOTH_ORDER}, by the integral of the cross-slope and, where it stands out from "
        "rounding, directly, up to the first kink of a ReLU; where network and loss gradient are "
        "affine instead no remainder but rounding; every cell with A = 0: no component along v",
        kept,
        kept.mean == 1 and kept.lower > 1 - MOST_VIOLATED and bool(follows(grid).all()),
        untested=unless_finite(data, "trial_slope", "trial_inner", "trial_change", "grid_inner"),
    )


def claim_t2(data: xr.Dataset) -> stats.Claim:
    """Return the claim about other starts, with its verdict.

    Its value is that of the network with the smallest fraction of negative cross-slopes.
    """
    found = [
        cross_ratios(data.sel(architecture=network, start="independent"))
        for network in data.architecture.values
        if network != "linear"
    ]
    negative = [stats.fraction(slopes < 0) for slopes, _ in found]
    medians = [stats.median(ratios) for _, ratios in found]
    shared = data.cross_slope.sel(start="shared")
    n = min((e.n for e in negative), default=0)
    reason = "" if n >= FEWEST_CROSS else f"n = {n}, the criterion asks for {FEWEST_CROSS}"
    if not np.isfinite(data.cross_slope).all():
        reason = "a cross-slope is not a finite number"
    nothing = stats.Estimate(np.nan, None, 0, ())
    least, *others = sorted(negative, key=lambda e: e.lower) or [nothing]
    return stats.judge(
        "T2",
        "With the shared start the teacher's move never pulls the student the wrong way; with "
        "another start it has no guaranteed sign, and in the median what is left of it is small",
        f"independent starts, every nonlinear network, at least {FEWEST_CROSS} problems with "
        f"A > 0: interval of the fraction of cross-slopes C < 0 above {LEAST_NEGATIVE:g} (shown "
        f"for the network where it is smallest), interval of the median of C/A below "
        f"{LARGEST_MEDIAN:g}; shared start: C > 0 in every problem with A > 0",
        least,
        least.lower > LEAST_NEGATIVE
        and all(median.upper < LARGEST_MEDIAN for median in medians)
        and bool(((shared > 0) | ~(data.cross_predicted > 0)).all()),
        others=[*others, *medians],
        untested=reason,
    )


def steps_kept(data: xr.Dataset, steps: xr.Dataset) -> xr.DataArray:
    """Return in which problems many steps do what Eq. (41) to (44) say, at every rate and k.

    Where A = 0 nothing may move.
    """
    in_order = (steps.order >= SMOOTH_ORDER) | (steps.largest_error < EXACT)
    displaced = (steps.error_at_zero < EXACT) & in_order & (data.steps_quotient_error < CLOSE)
    falls = (data.steps_form > 0) & (data.steps_quotient_change < 0)
    guaranteed = ~((data.k % 2 == 1) & (steps.guarantee < 0.5 - EXACT))
    follows = displaced & (steps.fall_error < CLOSE) & guaranteed & (falls | ~steps.covered)
    still = (
        (data.steps_length == 0) & (data.steps_quotient_change == 0) & (steps.largest_error == 0)
    )
    return xr.where(data.steps_slope > 0, follows, still).all(("rate", "k"))


def progress_follows(data: xr.Dataset) -> bool:
    """Whether the progress rises as predicted, and not beyond the coverage. Source: Eq. (47)."""
    error = np.abs(data.progress_measured - data.progress_predicted).max()
    rises = (data.progress_measured.diff("progress_step") > -PROGRESS_ERROR).all()
    within = (data.progress_measured < data.progress_coverage + PROGRESS_ERROR).all()
    return bool((error < PROGRESS_ERROR) & rises & within)


def claim_t3(data: xr.Dataset, steps: xr.Dataset) -> stats.Claim:
    """Return the claim about many steps, with its verdict."""
    kept = stats.fraction(steps_kept(data, steps).values)
    last = {"rate": -1, "k": -1}  # beyond αF = 2, and even
    rises = stats.fraction(steps.rises.isel(last).values[data.steps_slope.values > 0])
    return stats.judge(
        "T3",
        "Many small imitation steps move a same-start student by ε(I − (I − αF)ᵏ)v to first order; "
        "the teacher's loss falls if αF < 2 or k is odd, and can rise beyond",
        "problems that keep all of this at every rate and k: all, lower end of the interval above "
        f"{LEAST_KEPT:g}. With A > 0: dθ/dε after k steps within {EXACT:g} of the prediction at "
        f"ε = 0; order of the remainder at least {SMOOTH_ORDER}, or no remainder above {EXACT:g}; "
        "at a small ε displacement, and fall of the teacher's loss against s_k, within "
        f"{CLOSE:g}; αF < 2 or k odd: s_k > 0 and a fall; k odd: s_k ≥ αA/2. With A = 0: nothing "
        f"moves. Progress within {PROGRESS_ERROR:g} of the prediction, rising, not beyond the "
        "coverage. αF = 2.1, k = 100: interval of the fraction of problems with A > 0 in which the "
        f"loss rises above {LEAST_RISING:g}",
        kept,
        kept.mean == 1
        and kept.lower > LEAST_KEPT
        and progress_follows(data)
        and rises.lower > LEAST_RISING,
        others=[rises],
        untested=unless_finite(
            data, "steps_error", "steps_form", "steps_quotient_change", "progress_measured"
        ),
    )


def claim_t4(data: xr.Dataset) -> stats.Claim:
    """Return the claim about metrics, with its verdict."""
    one, two = data.isel(metric=slice(-1)), data.isel(metric=-1)
    predicted = one.metric_slope > 0
    falls = (one.metric_inner > 0) & (one.metric_change < 0)
    close = np.abs(one.metric_fall - one.metric_slope) < FALL_ERROR * one.metric_slope
    kept = stats.fraction((predicted & falls & close).values)
    rises = stats.fraction(two.metric_change.values > 0)
    return stats.judge(
        "T4",
        "With one symmetric metric for teacher and student, of whatever signs, the teacher's loss "
        "falls to first order; with a metric for each it can rise",
        f"one metric, problems without violation (gᵀQFQg > 0, −Δ_S·g > 0, the loss falls, by "
        f"εαgᵀQFQg within {FALL_ERROR:g}): all, lower end of the interval above {LEAST_FALLING:g}; "
        f"two metrics: interval of the fraction of problems in which the loss rises above "
        f"{LEAST_OPPOSED:g}",
        kept,
        kept.mean == 1 and kept.lower > LEAST_FALLING and rises.lower > LEAST_OPPOSED,
        others=[rises],
        untested=unless_finite(data, "metric_slope", "metric_inner", "metric_change"),
    )


def claim_t5(data: xr.Dataset) -> stats.Claim:
    """Return the claim about sampled labels, with its verdict.

    Its value is the fraction of wrong means at ten times the number of draws that the bound needs.
    """
    few, many = (wrong_means(data.isel(multiple=i)) for i in (0, -1))
    needed = labels_needed(data)
    exact = (data.label_error < STEP_ERROR) & (
        np.abs(data.label_variance_by_matrix - data.label_variance)
        < VARIANCE_ERROR * data.label_variance
    )
    bounded = (data.label_soft > 0) & (data.label_wrong <= data.label_bound)
    return stats.judge(
        "T5",
        "On labels sampled from the teacher the expected step is that on soft labels, but about "
        "1/(ε²A) labels are needed before their mean step points with the teacher",
        f"every problem and ε: expected step within {STEP_ERROR:g} of the step on soft labels, "
        f"variance within {VARIANCE_ERROR:g} of its formula, Δ_S·v > 0, fraction of wrong means at "
        "most Var/(N(Δ_S·v)²). N* = Var/(Δ_S·v)² draws, all problems together: interval of the "
        f"fraction of wrong means of 10 N* below {MOST_WRONG:g} (shown), of N*/100 above "
        f"{LEAST_WRONG:g}. Labels in N* draws, times ε²A: interval of the median within "
        f"{NEEDED[0]:g} and {NEEDED[1]:g}",
        many,
        bool((exact & bounded).all())
        and many.upper < MOST_WRONG
        and few.lower > LEAST_WRONG
        and needed.within(*NEEDED),
        others=[few, needed],
        untested=unless_finite(data, "label_soft", "label_variance", "label_wrong"),
    )
