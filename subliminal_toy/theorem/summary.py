"""What a run of the one-step theorem comes to: tables, and the claims T1 and T2."""

import json
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.one_step import LARGEST_FITTED, largest_falling, order
from subliminal_toy.theorem.problems import AFFINE

SMALL_ERROR, SMOOTH_ORDER = 1e-4, 1.9  # of the quotient at the smallest ε; of the remainder
MOST_VIOLATED = 1e-3
FEWEST_CROSS, LEAST_NEGATIVE, LARGEST_MEDIAN = 500, 0.05, 0.3  # of the criterion of T2


def summarize(config: TheoremConfig, data: xr.Dataset) -> dict[str, Any]:
    """Return the tables and claims of a result of ``experiment``."""
    grid, broken = grid_table(config, data), violations(data)
    claims = claim_t1(data, grid, broken), claim_t2(data)
    two_ways = np.abs(data.grid_slope_by_step / data.grid_slope.where(data.grid_slope > 0) - 1)
    summary = {
        "trials": int(broken.size),
        "violations": int(broken.sum()),
        "trials_with_slope": int((data.trial_slope > 0).sum()),
        "trials_without_slope": int((data.trial_slope == 0).sum()),
        "trial_epsilon": config.epsilon,
        "learning_rate": config.learning_rate,
        "grid": records(grid),
        "grid_by_architecture": by_architecture(grid),
        "slope_two_ways": float(two_ways.max()),  # largest relative difference of A and B·v
        "nulls": records(data[["null_value", "null_bound"]]),
        "cross_slope": cross_rows(data),
        "cross_slope_by_start": cross_totals(data),
        "outside": rows(data, ["step", "case", "case_epsilon"], outside_row),
        "distillation": rows(data, ["path_start"], path_row),
        "corrections": data.correction_value.to_series().to_dict(),
        "claims": [stats.as_json(claim) for claim in claims],
    }
    # A value that is not finite is not JSON either: None instead.
    return json.loads(json.dumps(summary), parse_constant=lambda _: None)


def violations(data: xr.Dataset) -> xr.DataArray:
    """Return in which trials the theorem fails.

    Where A > 0 the student must step with the teacher and the trait loss must fall; where A = 0
    the step must have no component along v at all. Source: proofs/README.md, Eq. (12) to (15).
    """
    falls = (data.trial_inner > 0) & (data.trial_change < 0)
    return xr.where(data.trial_slope > 0, ~falls, data.trial_inner != 0)


def records(table: xr.Dataset) -> list[dict]:
    """Return a table's cells as rows with their labels."""
    return table.to_dataframe().reset_index().to_dict("records")


def grid_table(config: TheoremConfig, data: xr.Dataset) -> xr.Dataset:
    """Return what every cell of the grid comes to; NaN where a number cannot be told.

    ``slope_rel_error`` of the quotient at the smallest ε. ``order`` of the remainder, from the
    smallest ε at which it stands out from rounding, before any ReLU has crossed its kink;
    ``order_by_integral`` in the second way of ``one_step``, which rounding does not hide.
    ``affine``: network and loss gradient are, so that there is no remainder, and ``only_rounding``
    says that none is seen. ``decrease`` of the trait loss at the smallest ε over −εαA;
    ``largest_epsilon`` up to which the trait loss falls; ``turns``: true if the loss increases at a
    larger ε on the grid; ``kink`` the smallest ε at which a ReLU has crossed, on the student's
    inputs. ``zero``: A = 0, and no step has any component along v.
    """
    errors = np.abs(data.grid_inner / data.epsilon - data.grid_slope)
    near_errors = np.abs(data.near_slope.mean("node") - data.grid_slope)
    # Once a ReLU has crossed, larger ε are past a kink too, even if it crosses back.
    smooth = data.grid_kink.cumsum("epsilon") == 0
    near_smooth = data.near_kink.any("node").cumsum("small_epsilon") == 0
    positive = data.grid_slope.where(data.grid_slope > 0)
    largest = _along("epsilon", largest_falling, data.epsilon, data.grid_change)
    predicted = -data.epsilon * config.learning_rate * positive
    table = {
        "slope": data.grid_slope,
        "zero": (data.grid_slope == 0) & ~data.grid_inner.any("epsilon"),
        "slope_rel_error": errors.isel(epsilon=0) / positive,
        "order": _along("epsilon", order, data.epsilon, errors, data.grid_rounding, smooth),
        "order_by_integral": _along(
            "small_epsilon", order,
            data.small_epsilon, near_errors, data.grid_slope_rounding, near_smooth,
        ),
        "affine": (data.architecture == "linear") & data.loss.isin(AFFINE),
        "only_rounding": (
            (errors <= data.grid_rounding) | (data.epsilon > LARGEST_FITTED)
        ).all("epsilon"),
        "decrease": (data.grid_change / predicted).isel(epsilon=0),
        "largest_epsilon": largest,
        "turns": largest < data.epsilon[-1],
        "kink": data.epsilon.where(data.grid_kink).min("epsilon"),
    }  # fmt: skip
    return xr.Dataset(
        {name: cells.drop_vars("epsilon", errors="ignore") for name, cells in table.items()}
    )


def _along(axis: str, fn: Callable[..., float], *arrays: xr.DataArray) -> xr.DataArray:
    """Apply a function of arrays along one axis to each cell."""
    whole = xr.broadcast(*arrays)
    return xr.apply_ufunc(fn, *whole, input_core_dims=[[axis]] * len(whole), vectorize=True)


def by_architecture(grid: xr.Dataset) -> list[dict]:
    """Return the grid's table in short: per architecture, how many cells and their extremes."""

    def extremes(values):
        return [float(values.min()), float(values.max())] if values.notnull().any() else None

    def row(cells):
        return {
            "cells": cells.slope.size,
            "zero": int(cells.zero.sum()),
            "affine": int((cells.affine & ~cells.zero).sum()),
            "measured": int(cells.order.notnull().sum()),
            "by_integral": int(cells.order_by_integral.notnull().sum()),
            "order": extremes(cells.order),
            "order_by_integral": extremes(cells.order_by_integral),
            "largest_error": float(cells.slope_rel_error.max()),
            "decrease": extremes(cells.decrease),
            "kinked_below": int((cells.kink <= LARGEST_FITTED).sum()),
        }

    return rows(grid, ["architecture"], row)


def rows(
    data: xr.Dataset, axes: Sequence[str], row: Callable[[xr.Dataset], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return ``row(part)`` of every part of ``data`` along ``axes``, with the part's labels."""
    labels = product(*(data[axis].values.tolist() for axis in axes))
    found = (dict(zip(axes, label, strict=True)) for label in labels)
    return [at | row(data.sel(at)) for at in found]


def follows(grid: xr.Dataset) -> xr.DataArray:
    """Return whether each cell of the grid does what the theorem says; see the criterion of T1."""
    in_order = (grid.order_by_integral >= SMOOTH_ORDER) & ~(grid.order < SMOOTH_ORDER)
    in_order = xr.where(grid.affine, grid.only_rounding, in_order)
    return xr.where(grid.slope > 0, in_order & (grid.slope_rel_error < SMALL_ERROR), grid.zero)


def claim_t1(data: xr.Dataset, grid: xr.Dataset, broken: xr.DataArray) -> stats.Claim:
    """Return the claim that the theorem holds, with its verdict."""
    kept = stats.fraction(~broken.values)
    measured = (data.trial_slope, data.trial_inner, data.trial_change, data.grid_inner)
    finite = all(bool(np.isfinite(values).all()) for values in measured)
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
        untested="" if finite else "a measured value is not a finite number",
    )


def claim_t2(data: xr.Dataset) -> stats.Claim:
    """Return the claim about other starts, with its verdict.

    Its value is that of the network with the smallest fraction of negative cross-slopes.
    """
    negative, medians = [], []
    for architecture in data.architecture.values:
        if architecture != "linear":
            slopes, ratios = cross_ratios(data.sel(architecture=architecture, start="independent"))
            negative.append(stats.fraction(slopes < 0))
            medians.append(stats.median(ratios))
    n, complete = min((e.n for e in negative), default=0), bool(np.isfinite(data.cross_slope).all())
    reason = "a cross-slope is not a finite number"
    if complete:
        reason = "" if n >= FEWEST_CROSS else f"n = {n}, the criterion asks for {FEWEST_CROSS}"
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
        and shared_never_pulls_back(data),
        others=[*others, *medians],
        untested=reason,
    )


def shared_never_pulls_back(data: xr.Dataset) -> bool:
    """Whether every problem with A > 0 has C > 0 for the shared start."""
    slopes = data.cross_slope.sel(start="shared")
    return bool(((slopes > 0) | ~(data.cross_predicted > 0)).all())


def cross_ratios(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return C and C/A of all problems with A > 0, in one row each."""
    slopes, predicted = data.cross_slope.values.ravel(), data.cross_predicted.values.ravel()
    where = predicted > 0
    return slopes[where], slopes[where] / predicted[where]


def cross_rows(data: xr.Dataset) -> list[dict]:
    """Return the cross-slopes of every stratum: architecture, loss, trait and start."""
    within, slopes = ["inputs", "problem"], data.cross_slope.where(data.cross_predicted > 0)
    table = {
        "n": slopes.notnull().sum(within),
        "positive": (slopes > 0).sum(within),
        "zero": (slopes == 0).sum(within),
        "negative": (slopes < 0).sum(within),
        "median_ratio": (slopes / data.cross_predicted).median(within),
    }
    return records(xr.Dataset(table))


def cross_totals(data: xr.Dataset) -> list[dict]:
    """Return the cross-slopes of each architecture and start, all combinations together."""

    def row(part):
        slopes, ratios = cross_ratios(part)
        signs = {"positive": slopes > 0, "zero": slopes == 0, "negative": slopes < 0}
        return {
            **{sign: stats.as_json(stats.fraction(hits)) for sign, hits in signs.items()},
            "median_ratio": stats.as_json(stats.median(ratios)),
            "quartiles": np.quantile(ratios, (0.25, 0.75)).tolist(),
        }

    some = (data.cross_predicted > 0).any(("loss", "inputs", "trait", "problem"))
    measured = data[["cross_slope", "cross_predicted"]].isel(architecture=some.values)
    return rows(measured, ["architecture", "start"], row)


def outside_row(part: xr.Dataset) -> dict:
    """Return in what fraction of problems outside the theorem the student goes with the teacher.

    ``positive``: its step does; ``falling``: the teacher's loss falls.
    """
    hits = {"positive": part.outside_inner > 0, "falling": part.outside_change < 0}
    return {name: stats.as_json(stats.fraction(hit)) for name, hit in hits.items()}


def path_row(path: xr.Dataset) -> dict:
    """Return where full distillations end: cosine of the displacements, and the trait loss."""
    first, last = path.isel(path_step=0), path.isel(path_step=-1)
    return {
        "steps": int(last.path_step),
        "last_cosine": stats.as_json(stats.estimate(last.path_cosine)),
        "trait_loss_before": float(first.path_trait_loss.mean()),
        "trait_loss_after": float(last.path_trait_loss.mean()),
        "teacher_loss_after": float(last.path_teacher_loss.mean()),
    }
