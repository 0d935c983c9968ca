"""The one-step theorem as an experiment: a grid, random trials, cross-slopes, and its limits.

Axes of the result: ``architecture``, ``loss``, ``inputs``, ``trait`` (a combination), ``epsilon``
(the teacher's step), ``trial`` and ``problem`` (random problems), ``start`` (of a student).
"""

import math
from collections.abc import Mapping
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
from subliminal_toy.theorem.outside import NULLS, Corrections, corrections, distil, nulls
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
BLOCK = 25  # trials of each combination that are drawn, measured and stored together
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
    """What is measured, as functions of the config, the key and the data."""

    def __init__(self, config: TheoremConfig, key: Key[Array, ""], data: Dataset):
        """Compute nothing yet."""
        self._config, self._key, self._data = config, key, data
        self._benches = {
            name: Bench(
                name, data.image_shape, config.learning_rate, LOSSES if name == LIMITS else COVERED
            )
            for name in ARCHITECTURES
        }

    def key(self, architecture: str, stream: str, block: int = 0) -> Key[Array, ""]:
        """Return the key of a stream of random numbers, the same in whatever order it is used."""
        key = jax.random.fold_in(self._key, STREAMS.index(stream))
        key = jax.random.fold_in(key, list(ARCHITECTURES).index(architecture))
        return jax.random.fold_in(key, block)

    def problems(self, architecture: str, stream: str, n_each: int, block: int = 0) -> Problem:
        """Draw ``n_each`` problems of every combination."""
        rng = generator(self.key(architecture, stream, block))
        return draw(self._benches[architecture].shapes, self._data, n_each, rng)

    def grid(self, architecture: str) -> Arrays:
        """Measure a problem of every combination at all ε, and its slope near ε = 0."""
        bench, problems = self._benches[architecture], self.problems(architecture, "grid", 1)
        far = bench.cells(problems, EPSILONS)
        near = bench.cells(problems, np.outer(SMALL_EPSILONS, NODES).ravel())
        arrays = {
            "grid_slope": far.slope[:, 0],
            "grid_slope_rounding": far.slope_rounding[:, 0],
            "grid_slope_by_step": far.slope_by_step[:, 0],
            "grid_inner": far.inner,
            "grid_rounding": far.rounding,
            "grid_change": far.trait_change,
            "grid_kink": far.kink,
            "near_slope": near.cross_slope.reshape(-1, len(SMALL_EPSILONS), len(NODES)),
            "near_kink": near.kink.reshape(-1, len(SMALL_EPSILONS), len(NODES)),
        }
        return {name: a.reshape(*COMBINATIONS, *a.shape[1:]) for name, a in arrays.items()}

    def trials(self, architecture: str, block: int, n_each: int) -> Arrays:
        """Measure random problems at one small ε."""
        problems = self.problems(architecture, "trials", n_each, block)
        cells = self._benches[architecture].cells(problems, np.array([self._config.epsilon]))
        measured = (cells.slope, cells.inner, cells.trait_change)
        names = ("trial_slope", "trial_inner", "trial_change")
        shape = (*COMBINATIONS, n_each)
        return {n: a.reshape(shape) for n, a in zip(names, measured, strict=True)}

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

    def paths(self) -> Arrays:
        """Run full distillations."""
        n = self._config.n_replicates
        problems = self.problems(LIMITS, "distillation", -(-n // math.prod(COMBINATIONS)))
        problems = jax.tree.map(lambda a: a[:n], problems)
        shape = (n, N_DISTILLED, *self._data.image_shape)
        noise = generator(self.key(LIMITS, "distillation", 1)).uniform(-1, 1, shape)
        path = distil(
            self._benches[LIMITS],
            problems,
            noise,
            self._data.train_images[:N_DISTILLED],
            self._data.train_labels[:N_DISTILLED],
            MOMENTS,
            -(-self._config.distillation_steps // MOMENTS),
        )
        return {f"path_{name}": np.asarray(array) for name, array in path._asdict().items()}

    def nulls(self) -> Arrays:
        """Measure what must be zero, and the counterexamples."""
        names = (LIMITS, "linear")
        values, bounds = nulls(
            *(self._benches[name] for name in names),
            *(self.problems(name, "nulls", 1) for name in names),
        )
        return {
            "null_value": values,
            "null_bound": bounds,
            "correction_value": np.array(corrections()),
        }

    def explored(self, cell: tuple[str, str, str, str]) -> Arrays:
        """Measure one cell of the grid at many ε."""
        architecture, *names = cell
        axes = zip((list(COVERED), list(INPUTS), list(GRID_TRAITS)), names, strict=True)
        row = np.ravel_multi_index([axis.index(name) for axis, name in axes], COMBINATIONS)
        problems = jax.tree.map(lambda a: a[row : row + 1], self.problems(architecture, "grid", 1))
        cells = self._benches[architecture].cells(problems, EXPLORED_EPSILONS)
        return {
            "explored_inner": cells.inner[0],
            "explored_change": cells.trait_change[0],
            "explored_slope": cells.slope[0, 0],
        }


def experiment(config: TheoremConfig, key: Key[Array, ""], data: Dataset) -> Experiment:
    """Return the experiment on networks for images of the size of ``data``.

    Two parts at once, since compiling uses one core.
    """
    lab = Lab(config, key, data)
    # The longest to compile first.
    names = [name for name in reversed(ARCHITECTURES) if name in config.architectures]
    cells = [cell for cell in EXPLORED if cell[0] in names]
    blocks = range(-(-config.n_trials // BLOCK))

    def share(architecture, rows):
        return rows * (5 if architecture == "decoder" else 1)

    parts = [Part(f"grid-{a}", f"grid, {a}", share(a, 15_000), partial(lab.grid, a)) for a in names]
    parts.insert(1, Part("paths", "full distillations", 10_000, lab.paths))
    for a in names:
        rows = 700 * config.n_cross
        parts.append(
            Part(f"cross-{a}", f"cross-slopes, {a}", share(a, rows), partial(lab.cross, a))
        )
        for block in blocks:
            n = min(BLOCK, config.n_trials - block * BLOCK)
            compute = partial(lab.trials, a, block, n)
            label = f"random trials, {a}"
            parts.append(Part(f"trials-{a}-{block}", label, share(a, 100 * n), compute))
    rows = 400 * config.n_outside
    parts += [Part(f"case-{i}", c, rows, partial(lab.case, c)) for i, c in enumerate(CASES)]
    parts += [
        Part(f"explored-{i}", "one cell at many ε", 200, partial(lab.explored, cell))
        for i, cell in enumerate(cells)
    ]
    parts.append(Part("nulls", "what must be zero", 2_000, lab.nulls))
    parts = [p._replace(compute=lambda _, compute=p.compute: compute()) for p in parts]
    return Experiment(parts, partial(assemble, config), side_by_side=2)


def assemble(config: TheoremConfig, parts: Mapping[str, Arrays]) -> Result:
    """Put the finished parts together, with named axes."""
    architectures = [name for name in ARCHITECTURES if name in config.architectures]
    cells = [cell for cell in EXPLORED if cell[0] in architectures]
    blocks = range(-(-config.n_trials // BLOCK))

    def stacked(rows: list[Arrays]) -> Arrays:
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def trials(a: str) -> Arrays:
        rows = [parts[f"trials-{a}-{block}"] for block in blocks]
        return {name: np.concatenate([row[name] for row in rows], axis=-1) for name in rows[0]}

    arrays = {
        **stacked([parts[f"grid-{a}"] for a in architectures]),
        **stacked([trials(a) for a in architectures]),
        **stacked([parts[f"cross-{a}"] for a in architectures]),
        **stacked([parts[f"case-{i}"] for i in range(len(CASES))]),
        **parts["paths"],
        **parts["nulls"],
    }
    if cells:
        arrays |= stacked([parts[f"explored-{i}"] for i in range(len(cells))])
    coordinates = {
        "architecture": architectures,
        "loss": list(COVERED),
        "inputs": list(INPUTS),
        "trait": list(GRID_TRAITS),
        "epsilon": EPSILONS,
        "small_epsilon": SMALL_EPSILONS,
        "start": list(STARTS),
        "case": list(CASES),
        "step": ["gradient", "Adam"],
        "case_epsilon": CASE_EPSILONS,
        "path_start": ["shared", "independent"],
        "path_step": np.arange(MOMENTS + 1) * -(-config.distillation_steps // MOMENTS),
        "null": list(NULLS),
        "correction": list(Corrections._fields),
        "explored_epsilon": EXPLORED_EPSILONS,
        "cell": [" · ".join(cell) for cell in cells],
    }
    data = xr.Dataset(
        {
            name: (dims, arrays[name], {"long_name": meaning})
            for name, (dims, meaning) in VARIABLES.items()
            if name in arrays
        }
    )
    used = {name: values for name, values in coordinates.items() if name in data.dims}
    return Result(data.assign_coords(used), {})
