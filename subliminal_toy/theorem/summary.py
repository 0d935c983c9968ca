"""What a run of the one-step theorem comes to: tables, and the claims T1 and T2."""

import json
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.one_step import (
    LARGEST_FITTED,
    largest_falling,
    order,
    quotient_errors_by_integral,
)
from subliminal_toy.theorem.problems import AFFINE

SMALL_ERROR, SMOOTH_ORDER = 1e-4, 1.9  # of the quotient at the smallest ε; of the remainder
MOST_VIOLATED = 1e-3
FEWEST_CROSS, LEAST_NEGATIVE, LARGEST_MEDIAN = 500, 0.05, 0.3  # of the criterion of T2


def summarize(config: TheoremConfig, data: xr.Dataset) -> dict[str, Any]:
    """Return the tables and claims of a result of ``experiment``."""
    rows, broken = grid_rows(config, data), violations(data)
    claims = claim_t1(data, rows, broken), claim_t2(data)
    two_ways = np.abs(data.grid_slope_by_step / data.grid_slope.where(data.grid_slope > 0) - 1)
    names = ("null", "null_value", "null_bound")
    summary = {
        "trials": int(broken.size),
        "violations": int(broken.sum()),
        "trials_with_slope": int((data.trial_slope > 0).sum()),
        "trials_without_slope": int((data.trial_slope == 0).sum()),
        "trial_epsilon": config.epsilon,
        "learning_rate": config.learning_rate,
        "grid": rows,
        "grid_by_architecture": by_architecture(data, rows),
        "slope_two_ways": float(two_ways.max()),  # largest relative difference of A and B·v
        "nulls": [
            {"name": name, "value": value, "bound": bound, "exact": bound == 0}
            for name, value, bound in zip(*(data[n].values.tolist() for n in names), strict=True)
        ],
        "cross_slope": cross_rows(data),
        "cross_slope_by_start": cross_totals(data),
        "outside": outside_rows(data),
        "distillation": path_rows(data),
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


def grid_rows(config: TheoremConfig, data: xr.Dataset) -> list[dict]:
    """Return the table of the grid, a row per cell."""
    cells = data[[name for name in data if str(name).startswith(("grid_", "near_"))]]
    cells = cells.stack(cell=("architecture", "loss", "inputs", "trait"))
    return [grid_row(config, cells.isel(cell=i)) for i in range(cells.sizes["cell"])]


def grid_row(config: TheoremConfig, cell: xr.Dataset) -> dict:
    """Return a cell's row.

    ``slope_rel_error`` of the quotient at the smallest ε. ``order`` of the remainder, from the
    smallest ε at which it stands out from rounding, before any ReLU has crossed its kink;
    ``order_by_integral`` in the second way of ``one_step``, which rounding does not hide. Each is
    None where it cannot be told. ``affine``: network and loss gradient are, so that there is no
    remainder, and ``only_rounding`` says that none is seen. ``decrease`` of the trait loss at the
    smallest ε over −εαA; ``largest_epsilon`` up to which the trait loss falls; ``turns``: true if
    the loss increases at a larger ε on the grid; ``kink`` the smallest ε at which a ReLU has
    crossed, on the student's inputs. ``zero``: A = 0, and no step has any component along v.
    """
    epsilons, slope = cell.epsilon.values, float(cell.grid_slope)
    inner, rounding = cell.grid_inner.values, cell.grid_rounding.values
    errors, kinks = np.abs(inner / epsilons - slope), cell.grid_kink.values
    # Once a ReLU has crossed, larger ε are past a kink too, even if it crosses back.
    smooth = ~np.logical_or.accumulate(kinks)
    near_smooth = ~np.logical_or.accumulate(cell.near_kink.values.any(axis=-1))
    near_errors = quotient_errors_by_integral(cell.near_slope.values, slope)
    near_rounding = np.full(near_errors.shape, float(cell.grid_slope_rounding))
    largest = largest_falling(epsilons, cell.grid_change.values)
    predicted = -epsilons[0] * config.learning_rate * slope
    architecture, loss, inputs, trait = cell.cell.item()
    return {
        "architecture": architecture,
        "loss": loss,
        "inputs": inputs,
        "trait_loss": trait,
        "slope": slope,
        "zero": slope == 0 and not inner.any(),
        "slope_rel_error": float(errors[0] / slope) if slope > 0 else None,
        "order": order(epsilons, errors, rounding, smooth),
        "order_by_integral": order(
            cell.small_epsilon.values, near_errors, near_rounding, near_smooth
        ),
        "affine": architecture == "linear" and loss in AFFINE,
        "only_rounding": bool((errors <= rounding)[epsilons <= LARGEST_FITTED].all()),
        "decrease": float(cell.grid_change.values[0] / predicted) if slope > 0 else None,
        "largest_epsilon": largest,
        "turns": largest is not None and bool(largest < epsilons[-1]),
        "kink": float(epsilons[np.argmax(kinks)]) if kinks.any() else None,
    }


def by_architecture(data: xr.Dataset, rows: list[dict]) -> list[dict]:
    """Return the grid's table in short: per architecture, how many cells and their extremes."""

    def extremes(cells, field):
        values = [row[field] for row in cells if row[field] is not None]
        return [min(values), max(values)] if values else None

    table = []
    for architecture in data.architecture.values.tolist():
        cells = [row for row in rows if row["architecture"] == architecture]
        table.append(
            {
                "architecture": architecture,
                "cells": len(cells),
                "zero": sum(row["zero"] for row in cells),
                "affine": sum(row["affine"] and not row["zero"] for row in cells),
                "measured": sum(row["order"] is not None for row in cells),
                "by_integral": sum(row["order_by_integral"] is not None for row in cells),
                "order": extremes(cells, "order"),
                "order_by_integral": extremes(cells, "order_by_integral"),
                "largest_error": (extremes(cells, "slope_rel_error") or [None])[-1],
                "decrease": extremes(cells, "decrease"),
                "kinked_below": sum((row["kink"] or np.inf) <= LARGEST_FITTED for row in cells),
            }
        )
    return table


def follows(row: dict) -> bool:
    """Whether a cell of the grid does what the theorem says; see the criterion of T1."""
    if row["slope_rel_error"] is None:
        return row["zero"]
    by_integral, direct = row["order_by_integral"], row["order"]
    in_order = row["only_rounding"]
    if not row["affine"]:
        in_order = by_integral is not None and by_integral >= SMOOTH_ORDER
        in_order &= direct is None or direct >= SMOOTH_ORDER
    return in_order and row["slope_rel_error"] < SMALL_ERROR


def claim_t1(data: xr.Dataset, rows: list[dict], broken: xr.DataArray) -> stats.Claim:
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
        kept.mean == 1 and kept.lower > 1 - MOST_VIOLATED and all(map(follows, rows)),
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
    return xr.Dataset(table).to_dataframe().reset_index().to_dict("records")


def cross_totals(data: xr.Dataset) -> list[dict]:
    """Return the cross-slopes of each architecture and start, all combinations together."""
    rows = []
    for architecture, start in product(data.architecture.values, data.start.values):
        slopes, ratios = cross_ratios(data.sel(architecture=architecture, start=start))
        if len(slopes):
            signs = {"positive": slopes > 0, "zero": slopes == 0, "negative": slopes < 0}
            rows.append(
                {
                    "architecture": str(architecture),
                    "start": str(start),
                    **{sign: stats.as_json(stats.fraction(hits)) for sign, hits in signs.items()},
                    "median_ratio": stats.as_json(stats.median(ratios)),
                    "quartiles": np.quantile(ratios, (0.25, 0.75)).tolist(),
                }
            )
    return rows


def outside_rows(data: xr.Dataset) -> list[dict]:
    """Return in what fraction of problems outside the theorem the student goes with the teacher.

    For both kinds of step; ``falling``: the teacher's loss falls.
    """
    rows, axes = [], (data.step.values, data.case.values, data.case_epsilon.values)
    for step, case, epsilon in product(*axes):
        at = data.sel(step=step, case=case, case_epsilon=epsilon)
        positive = stats.fraction(at.outside_inner > 0)
        falling = stats.fraction(at.outside_change < 0)
        rows.append(
            {
                "case": str(case),
                "step": str(step),
                "epsilon": float(epsilon),
                "n": positive.n,
                "positive": positive.mean,
                "positive_ci95": positive.ci95,
                "falling": falling.mean,
                "falling_ci95": falling.ci95,
            }
        )
    return rows


def path_rows(data: xr.Dataset) -> list[dict]:
    """Return where full distillations end: cosine of the displacements, and the trait loss."""
    rows = []
    for start in data.path_start.values.tolist():
        path = data.sel(path_start=start)
        rows.append(
            {
                "start": start,
                "steps": int(data.path_step[-1]),
                "last_cosine": stats.as_json(stats.estimate(path.path_cosine.isel(path_step=-1))),
                "trait_loss_before": float(path.path_trait_loss.isel(path_step=0).mean()),
                "trait_loss_after": float(path.path_trait_loss.isel(path_step=-1).mean()),
                "teacher_loss_after": float(path.path_teacher_loss.isel(path_step=-1).mean()),
            }
        )
    return rows
