"""The one-step theorem as an experiment: a grid, random trials, cross-slopes, and its limits.

Axes of the result: ``architecture``, ``loss``, ``inputs``, ``trait`` (a combination), ``epsilon``
(the teacher's step), ``trial`` and ``problem`` (random problems), ``start`` (of a student).
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from subliminal_toy.data import Dataset
from subliminal_toy.runs import Arrays, Experiment, Part, Result
from subliminal_toy.theorem.bench import Bench
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.one_step import EPSILONS, NODES, SMALL_EPSILONS
from subliminal_toy.theorem.outside import NULLS, corrections, distil, nulls
from subliminal_toy.theorem.problems import (
    ARCHITECTURES,
    COMBINATIONS,
    COVERED,
    GRID_TRAITS,
    INPUTS,
    LOSSES,
    NOT_COVERED,
    STARTS,
    Problem,
    draw,
    generator,
    student_starts,
)

STREAMS = ("grid", "trials", "cross", "outside", "distillation", "nulls")
BLOCK = 25  # trials of each combination that are drawn and measured together
LIMITS = "mlp-tanh"  # the network of everything outside the theorem
CASES = ("covered losses", *NOT_COVERED)
CASE_EPSILONS = np.array([1e-4, 1e-2, 1.0, 10.0])
MOMENTS = 30  # of a distillation that are looked at, beside its start
N_DISTILLED = 64  # digits of a distilling teacher, and noise images of its students
EXPLORED = (
    ("mlp-tanh", "softmax, auxiliary", "uniform noise", "digit labels"),
    ("mlp-relu", "softmax, auxiliary", "uniform noise", "digit labels"),
    ("decoder", "squared error", "digits", "favour a class"),
)
"""Cells of the grid that are measured at many ε, for a reader to move ε by hand."""
EXPLORED_EPSILONS = np.logspace(-6, 2, 161)

CELL = ("architecture", "loss", "inputs", "trait")
VARIABLES = {
    "grid_slope": (CELL, "A, the predicted slope"),
    "grid_slope_by_step": (CELL, "B·v, the same number in another way"),
    "grid_slope_rounding": (CELL, "what rounding may add to A"),
    "grid_inner": ((*CELL, "epsilon"), "Δ_S·v"),
    "grid_rounding": ((*CELL, "epsilon"), "what rounding may add to (Δ_S·v)/ε"),
    "grid_change": ((*CELL, "epsilon"), "L_T(θ_S) − L_T(θ⁰)"),
    "grid_kink": ((*CELL, "epsilon"), "whether a ReLU crossed its kink between θ⁰ and θ_T(ε)"),
    "near_slope": ((*CELL, "small_epsilon", "node"), "d/dε (Δ_S·v) at ε times the node"),
    "near_kink": ((*CELL, "small_epsilon", "node"), "as grid_kink"),
    "trial_slope": ((*CELL, "trial"), "A"),
    "trial_inner": ((*CELL, "trial"), "Δ_S·v"),
    "trial_change": ((*CELL, "trial"), "L_T(θ_S) − L_T(θ⁰)"),
    "cross_predicted": ((*CELL, "problem"), "A, for the shared start"),
    "cross_slope": (("architecture", "start", *CELL[1:], "problem"), "C, for every start"),
    "outside_inner": (("case", "step", "case_epsilon", "outside_problem"), "(student's step)·v"),
    "outside_change": (("case", "step", "case_epsilon", "outside_problem"), "change of L_T"),
    "path_cosine": (("replicate", "path_start", "path_step"), "cosine of the displacements"),
    "path_trait_loss": (("replicate", "path_start", "path_step"), "L_T of the student, nats"),
    "path_teacher_loss": (("replicate", "path_step"), "L_T of the teacher, nats"),
    "null_value": (("null",), "largest value of what must be zero"),
    "null_bound": (("null",), "what rounding allows"),
    "correction_value": (("correction",), "the two counterexamples"),
    "explored_inner": (("cell", "explored_epsilon"), "Δ_S·v"),
    "explored_change": (("cell", "explored_epsilon"), "L_T(θ_S) − L_T(θ⁰)"),
    "explored_slope": (("cell",), "A"),
}
"""Every variable of the result: its axes and what it is; all are float64, the kinks bool."""


class Lab:
    """What is measured, as functions of a name: an architecture, a case, a row of ``EXPLORED``."""

    def __init__(self, config: TheoremConfig, key: Key[Array, ""], data: Dataset):
        """Compute nothing yet."""
        self._config, self._key, self._data = config, key, data
        self._benches = {
            name: Bench(
                name, data.image_shape, config.learning_rate, LOSSES if name == LIMITS else COVERED
            )
            for name in ARCHITECTURES
        }

    def generator(self, architecture: str, stream: str, block: int = 0) -> np.random.Generator:
        """Return a stream of random numbers, the same in whatever order it is used."""
        key = jax.random.fold_in(self._key, STREAMS.index(stream))
        key = jax.random.fold_in(key, list(ARCHITECTURES).index(architecture))
        return generator(jax.random.fold_in(key, block))

    def problems(self, architecture: str, stream: str, n_each: int, block: int = 0) -> Problem:
        """Draw ``n_each`` problems of every combination."""
        rng = self.generator(architecture, stream, block)
        return draw(self._benches[architecture].shapes, self._data, n_each, rng)

    def grid(self, architecture: str) -> Arrays:
        """Measure a problem of every combination at all ε, and its slope near ε = 0."""
        bench, problems = self._benches[architecture], self.problems(architecture, "grid", 1)
        far = bench.cells(problems, EPSILONS)
        near = bench.cells(problems, np.outer(SMALL_EPSILONS, NODES).ravel())
        near_shape = (-1, len(SMALL_EPSILONS), len(NODES))
        arrays = {
            "grid_slope": far.slope[:, 0],
            "grid_slope_rounding": far.slope_rounding[:, 0],
            "grid_slope_by_step": far.slope_by_step[:, 0],
            "grid_inner": far.inner,
            "grid_rounding": far.rounding,
            "grid_change": far.trait_change,
            "grid_kink": far.kink,
            "near_slope": near.cross_slope.reshape(near_shape),
            "near_kink": near.kink.reshape(near_shape),
        }
        return {name: a.reshape(*COMBINATIONS, *a.shape[1:]) for name, a in arrays.items()}

    def trials(self, architecture: str) -> Arrays:
        """Measure random problems at one small ε."""
        bench, epsilon, blocks = self._benches[architecture], np.array([self._config.epsilon]), []
        for first in range(0, self._config.n_trials, BLOCK):
            n_each = min(BLOCK, self._config.n_trials - first)
            problems = self.problems(architecture, "trials", n_each, first)
            cells = bench.cells(problems, epsilon)
            measured = np.stack([cells.slope, cells.inner, cells.trait_change])
            blocks.append(measured.reshape(3, *COMBINATIONS, n_each))
        names = ("trial_slope", "trial_inner", "trial_change")
        return dict(zip(names, np.concatenate(blocks, axis=-1), strict=True))

    def cross(self, architecture: str) -> Arrays:
        """Measure the slope A at the teacher's start and the cross-slope C of every start."""
        bench, n_each = self._benches[architecture], self._config.n_cross
        problems = self.problems(architecture, "cross", n_each)
        starts = [student_starts(name, problems, bench.shapes) for name in STARTS]
        cells = [bench.cells(problems, np.zeros(1), start) for start in starts]
        shape = (*COMBINATIONS, n_each)
        return {
            "cross_predicted": cells[0].slope.reshape(shape),
            "cross_slope": np.stack([c.cross_slope.reshape(shape) for c in cells]),
        }

    def case(self, name: str) -> Arrays:
        """Measure one case outside the theorem, with a gradient step and with Adam's first."""
        problems = self.problems(LIMITS, "outside", self._config.n_outside)
        if name in NOT_COVERED:
            loss = np.full_like(problems.loss, list(LOSSES).index(name))
            problems = problems._replace(loss=loss)
        cells = self._benches[LIMITS].cells(problems, CASE_EPSILONS)
        return {
            "outside_inner": np.stack([cells.inner.T, cells.adam_inner.T]),
            "outside_change": np.stack([cells.trait_change.T, cells.adam_change.T]),
        }

    def paths(self, _: str) -> Arrays:
        """Run full distillations."""
        n, data = self._config.n_replicates, self._data
        problems = self.problems(LIMITS, "distillation", -(-n // math.prod(COMBINATIONS)))
        shape = (n, N_DISTILLED, *data.image_shape)
        path = distil(
            self._benches[LIMITS],
            jax.tree.map(lambda a: a[:n], problems),
            self.generator(LIMITS, "distillation", 1).uniform(-1, 1, shape),
            data.train_images[:N_DISTILLED],
            data.train_labels[:N_DISTILLED],
            MOMENTS,
            steps_between_moments(self._config),
        )
        return {f"path_{name}": np.asarray(array) for name, array in path._asdict().items()}

    def nulls(self, _: str) -> Arrays:
        """Measure what must be zero, and the counterexamples."""
        tanh, linear = (self._benches[name] for name in (LIMITS, "linear"))
        problems = (self.problems(name, "nulls", 1) for name in (LIMITS, "linear"))
        values, bounds = nulls(tanh, linear, *problems)
        found = np.array(list(corrections().values()))
        return {"null_value": values, "null_bound": bounds, "correction_value": found}

    def explored(self, cell: str) -> Arrays:
        """Measure one cell of the grid at many ε."""
        architecture, *names = next(row for row in EXPLORED if cell == cell_name(row))
        axes: list[list[str]] = [list(COVERED), list(INPUTS), list(GRID_TRAITS)]
        at = [axis.index(name) for axis, name in zip(axes, names, strict=True)]
        row = [np.ravel_multi_index(at, COMBINATIONS)]
        problems = jax.tree.map(lambda a: a[row], self.problems(architecture, "grid", 1))
        cells = self._benches[architecture].cells(problems, EXPLORED_EPSILONS)
        return {
            "explored_inner": cells.inner[0],
            "explored_change": cells.trait_change[0],
            "explored_slope": cells.slope[0, 0],
        }


KINDS = {"grid": "architecture", "paths": "", "cross": "architecture", "trials": "architecture",
         "case": "case", "explored": "cell", "nulls": ""}  # fmt: skip
"""Methods of ``Lab``, and the axis whose names they are called with: a part for each name."""


def cell_name(row: tuple[str, ...]) -> str:
    """Return what a row of ``EXPLORED`` is called."""
    return " · ".join(row)


def steps_between_moments(config: TheoremConfig) -> int:
    """Return after how many steps a distillation is looked at again."""
    return -(-config.distillation_steps // MOMENTS)


def names_of(axis: str, config: TheoremConfig) -> list[str]:
    """Return the names along an axis of ``KINDS``."""
    return {
        "architecture": [name for name in ARCHITECTURES if name in config.architectures],
        "case": list(CASES),
        "cell": [cell_name(row) for row in EXPLORED if row[0] in config.architectures],
        "": [LIMITS],
    }[axis]


def experiment(config: TheoremConfig, key: Key[Array, ""], data: Dataset) -> Experiment:
    """Return the experiment on networks for images of the size of ``data``.

    Two parts at once, since compiling uses one core.
    """
    lab = Lab(config, key, data)
    # In problems at one ε; to compile a network is as much work as 12,000 of them.
    shares = {"grid": 15_000, "paths": 10_000, "cross": 700 * config.n_cross,
              "trials": 100 * config.n_trials, "case": 400 * config.n_outside,
              "explored": 200, "nulls": 2_000}  # fmt: skip
    parts = []
    for kind, axis in KINDS.items():
        # The longest to compile first.
        for i, name in reversed(list(enumerate(names_of(axis, config)))):
            share = shares[kind] * (5 if name == "decoder" else 1)
            compute: Callable[[str], Arrays] = getattr(lab, kind)
            parts.append(
                Part(f"{kind}-{i}", f"{kind}, {name}", share, lambda _, f=compute, n=name: f(n))
            )
    return Experiment(parts, partial(assemble, config), side_by_side=2)


def assemble(config: TheoremConfig, parts: Mapping[str, Arrays]) -> Result:
    """Put the finished parts together, with named axes."""
    arrays: Arrays = {}
    for kind, axis in KINDS.items():
        rows = [parts[f"{kind}-{i}"] for i in range(len(names_of(axis, config)))]
        for name in rows[0] if rows else ():
            arrays[name] = np.stack([row[name] for row in rows]) if axis else rows[0][name]
    coordinates = {
        **{axis: names_of(axis, config) for axis in ("architecture", "case", "cell")},
        "loss": list(COVERED),
        "inputs": list(INPUTS),
        "trait": list(GRID_TRAITS),
        "epsilon": EPSILONS,
        "small_epsilon": SMALL_EPSILONS,
        "start": list(STARTS),
        "step": ["gradient", "Adam"],
        "case_epsilon": CASE_EPSILONS,
        "path_start": ["shared", "independent"],
        "path_step": np.arange(MOMENTS + 1) * steps_between_moments(config),
        "null": list(NULLS),
        "correction": list(corrections()),
        "explored_epsilon": EXPLORED_EPSILONS,
    }
    variables = {n: v for n, v in VARIABLES.items() if n in arrays}
    data = xr.Dataset(
        {n: (axes, arrays[n], {"long_name": meaning}) for n, (axes, meaning) in variables.items()}
    )
    used = {name: values for name, values in coordinates.items() if name in data.dims}
    return Result(data.assign_coords(used), {})
