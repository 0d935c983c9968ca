"""What the theorem's experiment returns: its variables, and the labels along their axes.

Axes: ``architecture``, ``loss``, ``inputs``, ``trait`` (a combination), ``epsilon`` (the teacher's
step), ``trial`` and ``problem`` (random problems), ``start`` (of a student), ``rate`` and ``k`` (of
many steps), ``metric``, and some of their own for what is measured once.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from subliminal_toy.runs import Arrays, Result
from subliminal_toy.theorem import further, one_step, outside, problems
from subliminal_toy.theorem.config import TheoremConfig

CASES = ("covered losses", *problems.NOT_COVERED)
CASE_EPSILONS = np.array([1e-4, 1e-2, 1.0, 10.0])
MOMENTS = 30  # of a distillation that are looked at, beside its start
EXPLORED = (
    "mlp-tanh · softmax, auxiliary · uniform noise · digit labels",
    "mlp-relu · softmax, auxiliary · uniform noise · digit labels",
    "decoder · squared error · digits · favour a class",
)
"""Cells of the grid that are measured at many ε, for a reader to move ε by hand."""
EXPLORED_EPSILONS = np.logspace(-6, 2, 161)

CELL = ("architecture", "loss", "inputs", "trait")
NEAR = (*CELL, "small_epsilon", "node")
CASE = ("case", "step", "case_epsilon", "outside_problem")
PATH = ("replicate", "path_start", "path_step")
STEP_CELL = ("architecture", "loss", "trait")
STEPS = (*STEP_CELL, "rate", "k")
METRIC = ("metric", "metric_problem")
LABEL_CELL = ("label_loss", "label_problem", "label_epsilon")
VARIABLES = {
    "grid_slope": (CELL, "A, the predicted slope"),
    "grid_slope_by_step": (CELL, "B·v, the same number in another way"),
    "grid_slope_rounding": (CELL, "what rounding may add to A"),
    "grid_inner": ((*CELL, "epsilon"), "Δ_S·v"),
    "grid_rounding": ((*CELL, "epsilon"), "what rounding may add to (Δ_S·v)/ε"),
    "grid_change": ((*CELL, "epsilon"), "L_T(θ_S) − L_T(θ⁰)"),
    "grid_kink": ((*CELL, "epsilon"), "whether a ReLU crossed its kink between θ⁰ and θ_T(ε)"),
    "near_slope": (NEAR, "d/dε (Δ_S·v) at ε times the node"),
    "near_kink": (NEAR, "as grid_kink"),
    "trial_slope": ((*CELL, "trial"), "A"),
    "trial_inner": ((*CELL, "trial"), "Δ_S·v"),
    "trial_change": ((*CELL, "trial"), "L_T(θ_S) − L_T(θ⁰)"),
    "cross_predicted": ((*CELL, "problem"), "A, for the shared start"),
    "cross_slope": (("architecture", "start", *CELL[1:], "problem"), "C, for every start"),
    "outside_inner": (CASE, "(student's step)·v"),
    "outside_change": (CASE, "change of L_T"),
    "path_cosine": (PATH, "cosine of the displacements"),
    "path_trait_loss": (PATH, "L_T of the student, nats"),
    "path_teacher_loss": (("replicate", "path_step"), "L_T of the teacher, nats"),
    "null_value": (("null",), "largest value of what must be zero"),
    "null_bound": (("null",), "what rounding allows"),
    "counterexample_value": (("counterexample",), "measured"),
    "counterexample_formula": (("counterexample",), "by the proof"),
    "explored_inner": (("cell", "explored_epsilon"), "Δ_S·v"),
    "explored_change": (("cell", "explored_epsilon"), "L_T(θ_S) − L_T(θ⁰)"),
    "explored_slope": (("cell",), "A"),
    "steps_slope": (STEP_CELL, "A"),
    "steps_direction": (STEP_CELL, "‖v‖"),
    "steps_eigenvalue": (STEP_CELL, "largest eigenvalue of F"),
    "steps_form": (STEPS, "s_k = vᵀ(I − (I − αF)ᵏ)v"),
    "steps_length": (STEPS, "‖(I − (I − αF)ᵏ)v‖"),
    "steps_error": ((*STEPS, "step_epsilon"), "‖dθ⁽ᵏ⁾/dε − (I − (I − αF)ᵏ)v‖, relative"),
    "steps_quotient_error": (
        STEPS,
        "‖(θ⁽ᵏ⁾ − θ⁰)/ε − (I − (I − αF)ᵏ)v‖, relative, at the largest ε",
    ),
    "steps_quotient_change": (STEPS, "(L_T(θ⁽ᵏ⁾) − L_T(θ⁰))/ε, there"),
    "progress_measured": (("loss", "progress_step"), "progress of a student of small ε"),
    "progress_predicted": (("loss", "progress_step"), "q_k, from the spectrum of F"),
    "progress_coverage": (("loss",), "coverage, the limit of q_k"),
    "metric_slope": (METRIC, "gᵀQ_S F Q_T g"),
    "metric_inner": (METRIC, "−Δ_S·g"),
    "metric_change": (METRIC, "L_T(θ_S) − L_T(θ⁰)"),
    "metric_fall": (METRIC, "its fall over εα"),
    "label_soft": (LABEL_CELL, "Δ_S·v"),
    "label_slope": (LABEL_CELL, "A"),
    "label_error": (LABEL_CELL, "expected step on drawn labels − step on soft labels, relative"),
    "label_variance": (LABEL_CELL, "Var(Δ̂(a)·v)"),
    "label_variance_by_matrix": (LABEL_CELL, "the same by Eq. (50)"),
    "label_draws": ((*LABEL_CELL, "multiple"), "N, draws in a mean"),
    "label_wrong": ((*LABEL_CELL, "multiple"), "fraction of means with no component along v"),
    "label_bound": ((*LABEL_CELL, "multiple"), "what Eq. (51) allows"),
}
"""Every variable of the result: its axes and what it is; all are float64, the kinks bool."""


KINDS = {
    "grid": "architecture", "steps": "architecture", "paths": "", "cross": "architecture",
    "trials": "architecture", "progress": "", "metrics": "", "labels": "label_loss",
    "case": "case", "explored": "cell", "nulls": "",
}  # fmt: skip
"""Methods of ``Lab``, and the axis whose names they are called with: a part for each name."""


def coordinates(config: TheoremConfig) -> dict[str, Any]:
    """Return the labels along every axis of the result that has labels."""
    return {
        "architecture": [name for name in problems.ARCHITECTURES if name in config.architectures],
        "case": list(CASES),
        "cell": [cell for cell in EXPLORED if cell.split(" · ")[0] in config.architectures],
        "label_loss": list(further.LABELS),
        "": [problems.LIMITS],  # what a method of ``KINDS`` without axis is called with
        "loss": list(problems.COVERED),
        "inputs": list(problems.INPUTS),
        "trait": list(problems.GRID_TRAITS),
        "epsilon": one_step.EPSILONS,
        "small_epsilon": one_step.SMALL_EPSILONS,
        "start": list(problems.STARTS),
        "step": ["gradient", "Adam"],
        "case_epsilon": CASE_EPSILONS,
        "path_start": ["shared", "independent"],
        "path_step": np.arange(MOMENTS + 1) * -(-config.distillation_steps // MOMENTS),
        "null": list(outside.NULLS),
        "counterexample": list(outside.COUNTEREXAMPLES),
        "explored_epsilon": EXPLORED_EPSILONS,
        "rate": list(further.RATES),
        "k": list(further.STEPS),
        "step_epsilon": further.STEP_EPSILONS,
        "progress_step": further.PROGRESS_STEPS,
        "metric": list(further.METRICS),
        "label_epsilon": further.LABEL_EPSILONS,
        "multiple": further.MULTIPLES,
    }


def assemble(config: TheoremConfig, parts: Mapping[str, Arrays]) -> Result:
    """Put the finished parts together, with named axes."""
    labels = coordinates(config)
    arrays: Arrays = {}
    for kind, axis in KINDS.items():
        rows = [parts[f"{kind}-{i}"] for i in range(len(labels[axis]))]
        for name in rows[0] if rows else ():
            arrays[name] = np.stack([row[name] for row in rows]) if axis else rows[0][name]
    variables = {
        name: (axes, arrays[name], {"long_name": meaning})
        for name, (axes, meaning) in VARIABLES.items()
        if name in arrays
    }
    data = xr.Dataset(variables)
    used = {name: values for name, values in labels.items() if name in data.dims}
    return Result(data.assign_coords(used), {})
