"""Tables of what a run of the one-step theorem measured."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.further import N_REPEATS
from subliminal_toy.theorem.one_step import LARGEST_FITTED, largest_falling, order
from subliminal_toy.theorem.problems import AFFINE, N_IMAGES


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
    largest = along("epsilon", largest_falling, data.epsilon, data.grid_change)
    predicted = -data.epsilon * config.learning_rate * positive
    table = {
        "slope": data.grid_slope,
        "zero": (data.grid_slope == 0) & ~data.grid_inner.any("epsilon"),
        "slope_rel_error": errors.isel(epsilon=0) / positive,
        "order": along("epsilon", order, data.epsilon, errors, data.grid_rounding, smooth),
        "order_by_integral": along(
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


def along(axis: str, fn: Callable[..., float], *arrays: xr.DataArray) -> xr.DataArray:
    """Apply a function of arrays along one axis to each cell."""
    whole = xr.broadcast(*arrays)
    return xr.apply_ufunc(fn, *whole, input_core_dims=[[axis]] * len(whole), vectorize=True)


def extremes(values: xr.DataArray) -> list[float] | None:
    """Return the smallest and the largest number, None if there is none."""
    return [float(values.min()), float(values.max())] if values.notnull().any() else None


def fractions(**hits: Any) -> dict[str, dict]:
    """Return the fraction of hits, by name."""
    return {name: stats.as_json(stats.fraction(hit)) for name, hit in hits.items()}


def grid_row(cells: xr.Dataset) -> dict:
    """Return the grid's table in short: how many cells, and their extremes."""
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


def rows(
    data: xr.Dataset, axes: Sequence[str], row: Callable[[xr.Dataset], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return ``row(part)`` of every part of ``data`` along ``axes``, with the part's labels."""
    labels = product(*(data[axis].values.tolist() for axis in axes))
    found = (dict(zip(axes, label, strict=True)) for label in labels)
    return [at | row(data.sel(at)) for at in found]


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
        return {
            **fractions(positive=slopes > 0, zero=slopes == 0, negative=slopes < 0),
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
    return fractions(positive=part.outside_inner > 0, falling=part.outside_change < 0)


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


def steps_table(data: xr.Dataset) -> xr.Dataset:
    """Return what many steps come to, for every problem, rate and number of steps.

    ``order`` of the remainder θ⁽ᵏ⁾ − θ⁰ − ε(I − (I − αF)ᵏ)v, NaN where it is no more than what
    training and prediction differ by at ε = 0; ``fall_error`` of L_T's fall over ε against s_k, in
    units of ‖v‖ times the length of the displacement; ``guarantee`` s_k/(αA), for odd k at least ½;
    ``covered``: A > 0, and αF < 2 or k odd.
    """
    at_zero = data.steps_error.isel(step_epsilon=0)
    errors = data.steps_error.isel(step_epsilon=slice(1, None))
    odd = data.k % 2 == 1
    scale = (data.steps_direction * data.steps_length).where(data.steps_length > 0, 1.0)
    slope = data.steps_slope.where(data.steps_slope > 0)
    table = {
        "order": along("step_epsilon", order, errors.step_epsilon, errors, at_zero),
        "largest_error": data.steps_error.max("step_epsilon"),
        "error_at_zero": at_zero.drop_vars("step_epsilon"),
        "fall_error": np.abs(data.steps_quotient_change + data.steps_form) / scale,
        "guarantee": data.steps_form * data.steps_eigenvalue / (data.rate * slope),
        "covered": (data.steps_slope > 0) & ((data.rate < 2) | odd),
        "rises": data.steps_quotient_change > 0,
    }
    return xr.Dataset(table)


def steps_row(part: xr.Dataset) -> dict:
    """Return, of all problems with A > 0 at one rate and number of steps, signs and extremes."""
    some = part.guarantee.notnull()
    return {
        **fractions(rises=part.rises.values[some]),
        "order": extremes(part.order),
        "error_at_zero": float(part.error_at_zero.max()),
        "fall_error": float(part.fall_error.max()),
        "guarantee": extremes(part.guarantee),
    }


def metric_row(part: xr.Dataset) -> dict:
    """Return how often the teacher's loss falls and rises after a step in one metric."""
    return fractions(falls=part.metric_change < 0, rises=part.metric_change > 0)


def label_row(part: xr.Dataset) -> dict:
    """Return how often the mean of so many drawn labels' steps does not point along v."""
    return {
        "draws": extremes(part.label_draws),
        "wrong": stats.as_json(wrong_means(part)),
        "largest": float(part.label_wrong.max()),
        "bound": extremes(part.label_bound),
    }


def wrong_means(part: xr.Dataset) -> stats.Estimate:
    """Return the fraction of means without component along v, all problems together."""
    n_wrong, n = round(float(part.label_wrong.sum()) * N_REPEATS), part.label_wrong.size * N_REPEATS
    return stats.fraction(np.arange(n) < n_wrong)


def labels_needed(data: xr.Dataset) -> stats.Estimate:
    """Return how many labels the bound asks for, in units of 1/(ε²A), at the smallest ε: median."""
    at = data.isel(label_epsilon=0)
    draws = at.label_variance / at.label_soft**2
    labels = N_IMAGES * draws * at.label_epsilon**2 * at.label_slope
    return stats.median(labels.values.ravel())
