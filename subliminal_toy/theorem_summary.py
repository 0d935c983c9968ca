"""What a run of the one-step theorem measured, and what it comes to."""

from typing import NamedTuple

import numpy as np

from subliminal_toy import stats
from subliminal_toy.configs import TheoremConfig
from subliminal_toy.theorem import LARGEST_FITTED, largest_falling, order

SMALL_ERROR, SMOOTH_ORDER = 1e-4, 1.9  # of the quotient at the smallest ε; of the remainder
DECREASE_EPSILON = 1e-5
"""Where the fall of the trait loss is compared with −εαA. Truncation is of relative size ε and
rounding u L_T/(εαA); with L_T/(αA) from 1e2 to 1e4 they are equal between 1e-7 and 1e-6, and the
difference of two losses is safe somewhat above."""


class Result(NamedTuple):
    """What a run measured, all in float64.

    Names of axes: ``architectures``, ``losses``, ``inputs``, ``traits``, ``epsilons``. The grid
    has the axes (architecture, loss, inputs, trait, epsilon): ``grid_inner`` Δ_S·v,
    ``grid_rounding`` of (Δ_S·v)/ε, ``grid_change`` L_T(θ_S) − L_T(θ⁰), ``grid_teacher_kink``,
    ``grid_student_kink``; without the last axis ``grid_slope`` A and ``grid_slope_by_step`` B·v.

    Random trials have the axes (architecture, trial): ``trial_loss``, ``trial_inputs``,
    ``trial_trait`` are rows of the names, ``trial_slope``, ``trial_inner``, ``trial_change``,
    and ``independent_inner``, ``independent_change`` for the same with another student's start.

    Outside the theorem, axes (case, epsilon, trial): ``outside_inner``, ``outside_change``,
    ``outside_adam_inner``, ``outside_adam_change`` for ``cases`` and ``case_epsilons``. Axes
    (epsilon, sigma, trial): ``partial_inner``, ``partial_change`` for ``partial_epsilons`` and
    ``sigmas``. Full distillations, axes (seed, start, moment): ``path_cosine``,
    ``path_trait_loss``; without start ``path_teacher_loss``; ``path_steps`` (moment,).

    ``null_names``, ``null_values``, ``null_bounds``; ``correction_names``, ``correction_values``.
    ``explored`` (cell, name) with ``explored_inner``, ``explored_change`` (cell, epsilon) at
    ``explored_epsilons`` and ``explored_slope`` (cell,), for a reader to move ε by hand.
    """

    architectures: np.ndarray
    losses: np.ndarray
    inputs: np.ndarray
    traits: np.ndarray
    epsilons: np.ndarray
    grid_inner: np.ndarray
    grid_rounding: np.ndarray
    grid_change: np.ndarray
    grid_teacher_kink: np.ndarray
    grid_student_kink: np.ndarray
    grid_slope: np.ndarray
    grid_slope_by_step: np.ndarray
    trial_loss: np.ndarray
    trial_inputs: np.ndarray
    trial_trait: np.ndarray
    trial_slope: np.ndarray
    trial_inner: np.ndarray
    trial_change: np.ndarray
    independent_inner: np.ndarray
    independent_change: np.ndarray
    cases: np.ndarray
    case_epsilons: np.ndarray
    outside_inner: np.ndarray
    outside_change: np.ndarray
    outside_adam_inner: np.ndarray
    outside_adam_change: np.ndarray
    sigmas: np.ndarray
    partial_epsilons: np.ndarray
    partial_inner: np.ndarray
    partial_change: np.ndarray
    starts: np.ndarray
    path_cosine: np.ndarray
    path_trait_loss: np.ndarray
    path_teacher_loss: np.ndarray
    path_steps: np.ndarray
    null_names: np.ndarray
    null_values: np.ndarray
    null_bounds: np.ndarray
    correction_names: np.ndarray
    correction_values: np.ndarray
    explored: np.ndarray
    explored_epsilons: np.ndarray
    explored_inner: np.ndarray
    explored_change: np.ndarray
    explored_slope: np.ndarray


def summarize(config: TheoremConfig, result: Result) -> dict:
    """Return the summary of a result: grid, trials, nulls, everything outside, claims T1 and T2."""
    rows = grid_rows(config, result)
    broken = violations(result)
    positive = stats.fraction(result.independent_inner > 0)
    return {
        "trials": int(broken.size),
        "violations": int(broken.sum()),
        "trial_epsilon": config.epsilon,
        "learning_rate": config.learning_rate,
        "grid": rows,
        "grid_by_architecture": by_architecture(result, rows),
        "slope_two_ways": float(two_ways(result)),
        "nulls": [
            {
                "name": str(name),
                "value": float(value),
                "bound": float(bound),
                "exact": bool(bound == 0.0),
            }
            for name, value, bound in zip(
                result.null_names, result.null_values, result.null_bounds, strict=True
            )
        ],
        "independent_init_positive_fraction": positive.mean,
        "independent": independent_rows(result),
        "outside": outside_rows(result),
        "partial_sharing": partial_rows(result),
        "distillation": path_rows(result),
        "corrections": dict(
            zip(result.correction_names.tolist(), result.correction_values.tolist(), strict=True)
        ),
        "claims": [stats.as_json(c) for c in claims(rows, broken, positive)],
    }


def violations(result: Result) -> np.ndarray:
    """Return in which trials (architecture, trial) the theorem fails.

    Where A > 0 the student must step with the teacher and the trait loss must fall; where A = 0
    the step must have no component along v at all. Source: proofs/README.md, Eq. (12) to (15).
    """
    falls = (result.trial_inner > 0) & (result.trial_change < 0)
    return np.where(result.trial_slope > 0, ~falls, result.trial_inner != 0)


def two_ways(result: Result) -> float:
    """Return the largest relative difference of A and B·v in the grid."""
    where = result.grid_slope > 0
    difference = np.abs(result.grid_slope - result.grid_slope_by_step)[where]
    return float(np.max(difference / result.grid_slope[where]))


def grid_rows(config: TheoremConfig, result: Result) -> list[dict]:
    """Return the table of the grid, a row per cell."""
    return [grid_row(config, result, at) for at in np.ndindex(result.grid_slope.shape)]


def grid_row(config: TheoremConfig, result: Result, at: tuple[int, ...]) -> dict:
    """Return a cell's row.

    ``slope_rel_error`` of the quotient at the smallest ε; ``order`` of the remainder, from the
    smallest ε that resolve it, before any ReLU has crossed its kink; ``decrease`` measured over
    predicted; ``largest_epsilon`` up to which the trait loss falls and ``turns`` whether it does
    not at the next; ``kink`` the smallest ε with a ReLU on its other side, on the student's inputs.
    ``remainder`` says what is left of the quotient: "measured" (it has an order), "rounding"
    (never more than rounding: the expansion is exact), "zero" (A = 0, and every step has exactly
    no component along v) or "unresolved" (so small that rounding leaves too few ε for an order).
    """
    names = (result.architectures, result.losses, result.inputs, result.traits)
    epsilons, slope = result.epsilons, float(result.grid_slope[at])
    inner, change = result.grid_inner[at], result.grid_change[at]
    errors, kinks = np.abs(inner / epsilons - slope), result.grid_teacher_kink[at]
    # Once a ReLU has crossed, larger ε are past a kink too, even if it crosses back.
    smooth = ~np.logical_or.accumulate(kinks)
    measured_order = order(epsilons, errors, result.grid_rounding[at], smooth)
    small = (epsilons <= LARGEST_FITTED) & smooth
    if slope <= 0:
        remainder = "zero" if not inner.any() else "unresolved"
    elif measured_order is not None:
        remainder = "measured"
    elif (errors <= result.grid_rounding[at])[small].all():
        remainder = "rounding"
    else:
        remainder = "unresolved"
    largest = largest_falling(epsilons, change)
    near = int(np.argmin(np.abs(np.log(epsilons / DECREASE_EPSILON))))
    predicted = -epsilons[near] * config.learning_rate * slope
    return {
        **dict(
            zip(
                ("architecture", "loss", "inputs", "trait_loss"),
                (str(name[i]) for name, i in zip(names, at, strict=True)),
                strict=True,
            )
        ),
        "slope": slope,
        "slope_rel_error": float(errors[0] / slope) if slope > 0 else None,
        "order": measured_order,
        "decrease": float(change[near] / predicted) if slope > 0 else None,
        "largest_epsilon": largest,
        "turns": largest is not None and bool(largest < epsilons[-1]),
        "kink": float(epsilons[np.argmax(kinks)]) if kinks.any() else None,
        "remainder": remainder,
    }


def by_architecture(result: Result, rows: list[dict]) -> list[dict]:
    """Return the grid's table in short: per architecture, how many cells and their extremes."""
    table = []
    for architecture in result.architectures.tolist():
        cells = [row for row in rows if row["architecture"] == architecture]
        orders = [row["order"] for row in cells if row["order"] is not None]
        errors = [row["slope_rel_error"] for row in cells if row["slope_rel_error"] is not None]
        decreases = [row["decrease"] for row in cells if row["decrease"] is not None]
        kinds = ("measured", "rounding", "zero", "unresolved")
        table.append(
            {
                "architecture": architecture,
                "cells": len(cells),
                **{kind: sum(row["remainder"] == kind for row in cells) for kind in kinds},
                "order": [min(orders), max(orders)] if orders else None,
                "largest_error": max(errors) if errors else None,
                "decrease": [min(decreases), max(decreases)] if decreases else None,
                "kinked_below": sum(
                    row["kink"] is not None and row["kink"] <= LARGEST_FITTED for row in cells
                ),
            }
        )
    return table


def _signs(inner: np.ndarray, change: np.ndarray) -> dict:
    """Return in what fraction of trials the step points with the teacher and the trait falls."""
    positive, falling = stats.fraction(inner > 0), stats.fraction(change < 0)
    return {
        "n": positive.n,
        "positive": positive.mean,
        "positive_ci95": positive.ci95,
        "falling": falling.mean,
        "falling_ci95": falling.ci95,
    }


def independent_rows(result: Result) -> list[dict]:
    """Return the signs with independent starts, by architecture and by trait."""
    rows = [
        {
            "group": f"network: {name}",
            **_signs(result.independent_inner[i], result.independent_change[i]),
        }
        for i, name in enumerate(result.architectures)
    ]
    for i, name in enumerate(result.traits):
        where = result.trial_trait == i
        if where.any():
            signs = _signs(result.independent_inner[where], result.independent_change[where])
            rows.append({"group": f"trait: {name}", **signs})
    return rows


def outside_rows(result: Result) -> list[dict]:
    """Return the signs in every case outside the theorem, for both kinds of step."""
    return [
        {
            "case": str(name),
            "step": step,
            "epsilon": float(epsilon),
            **_signs(inner[i, j], change[i, j]),
            "median_quotient": float(np.median(inner[i, j]) / epsilon),
        }
        for step, inner, change in (
            ("gradient", result.outside_inner, result.outside_change),
            ("Adam", result.outside_adam_inner, result.outside_adam_change),
        )
        for i, name in enumerate(result.cases)
        for j, epsilon in enumerate(result.case_epsilons)
    ]


def partial_rows(result: Result) -> list[dict]:
    """Return the signs for every σ by which the student's start was moved."""
    return [
        {
            "sigma": float(sigma),
            "epsilon": float(epsilon),
            **_signs(result.partial_inner[i, j], result.partial_change[i, j]),
        }
        for i, epsilon in enumerate(result.partial_epsilons)
        for j, sigma in enumerate(result.sigmas)
    ]


def path_rows(result: Result) -> list[dict]:
    """Return where full distillations end: cosine of the displacements, and the trait loss."""
    return [
        {
            "start": str(start),
            "steps": int(result.path_steps[-1]),
            "first_cosine": stats.as_json(stats.estimate(result.path_cosine[:, j, 1])),
            "last_cosine": stats.as_json(stats.estimate(result.path_cosine[:, j, -1])),
            "trait_loss_before": float(result.path_trait_loss[:, j, 0].mean()),
            "trait_loss_after": float(result.path_trait_loss[:, j, -1].mean()),
            "teacher_loss_after": float(result.path_teacher_loss[:, -1].mean()),
        }
        for j, start in enumerate(result.starts)
    ]


def claims(rows: list[dict], broken: np.ndarray, positive: stats.Estimate) -> list[stats.Claim]:
    """Return the one-step parts of the claims T1 and T2 with their verdicts."""
    kept = stats.fraction(~broken)
    # Where A = 0 there is nothing to compare with, and no step may have a component at all.
    in_order = all(
        row["remainder"] == "zero"
        if row["slope_rel_error"] is None
        else row["slope_rel_error"] < SMALL_ERROR and (row["order"] or 2) >= SMOOTH_ORDER
        for row in rows
    )
    return [
        stats.judge(
            "T1",
            "One small imitation step on any inputs never moves a same-init student away from the "
            "teacher in the teacher's own loss",
            "random trials without violation: all, lower end of the interval above .999; every "
            f"cell of the grid: quotient within {SMALL_ERROR:g} of A at the smallest ε, order of "
            f"the remainder at least {SMOOTH_ORDER} where it stands out from rounding",
            kept,
            kept.mean == 1 and kept.lower > 0.999 and in_order,
        ),
        stats.judge(
            "T2",
            "The effect needs a shared initialisation",
            "one step, independent start: fraction of positive inner products, whole interval "
            "between .4 and .6",
            positive,
            positive.lower >= 0.4 and positive.upper <= 0.6,
        ),
    ]
