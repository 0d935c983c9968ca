"""The one-step theorem as an experiment: a grid, random trials, cross-slopes, and its limits.

``result`` names the axes and variables of what it returns.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from subliminal_toy import distill
from subliminal_toy.data import Dataset
from subliminal_toy.runs import Arrays, Experiment, Part
from subliminal_toy.theorem import further
from subliminal_toy.theorem.bench import Bench
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.further import LABEL_EPSILONS, LABELS, METRICS
from subliminal_toy.theorem.one_step import EPSILONS, NODES, SMALL_EPSILONS
from subliminal_toy.theorem.outside import counterexamples, distil, nulls
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
from subliminal_toy.theorem.result import (
    CASE_EPSILONS,
    EXPLORED,
    EXPLORED_EPSILONS,
    KINDS,
    LIMITS,
    MOMENTS,
    assemble,
    cell_name,
    coordinates,
    steps_between_moments,
)

STREAMS = (
    "grid", "trials", "cross", "outside", "distillation", "nulls", "steps", "metric", "labels",
)  # fmt: skip
BLOCK = 25  # trials of each combination that are drawn and measured together
N_DISTILLED = 64  # digits of a distilling teacher, and noise images of its students
STEP_ROWS = [
    np.ravel_multi_index((loss, (loss + trait) % len(INPUTS), trait), COMBINATIONS)
    for loss, trait in np.ndindex(len(COVERED), len(GRID_TRAITS))
]
"""The combinations whose students take many steps: every loss and trait, inputs in turn."""


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
        return reshaped(arrays, *COMBINATIONS)

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
        return distil(
            self._benches[LIMITS],
            rows_of(problems, slice(n)),
            self.generator(LIMITS, "distillation", 1).uniform(-1, 1, shape),
            data.train_images[:N_DISTILLED],
            data.train_labels[:N_DISTILLED],
            MOMENTS,
            steps_between_moments(self._config),
        )

    def nulls(self, _: str) -> Arrays:
        """Measure what must be zero, and the counterexamples."""
        tanh, linear = (self._benches[name] for name in (LIMITS, "linear"))
        problems = (self.problems(name, "nulls", 1) for name in (LIMITS, "linear"))
        values, bounds = nulls(tanh, linear, *problems)
        found = np.array(list(counterexamples().values()))
        return {
            "null_value": values,
            "null_bound": bounds,
            "counterexample_value": found[:, 0],
            "counterexample_formula": found[:, 1],
        }

    def steps(self, architecture: str) -> Arrays:
        """Measure students that take many steps."""
        problems = rows_of(self.problems(architecture, "steps", 1), STEP_ROWS)
        found = further.every(partial(further.many_steps, self._benches[architecture]), problems)
        return reshaped(found, len(COVERED), len(GRID_TRAITS))

    def progress(self, _: str) -> Arrays:
        """Follow a student of every loss on noise, its teacher's trait the labels of digits."""
        rows = [np.ravel_multi_index((loss, 0, 0), COMBINATIONS) for loss in range(len(COVERED))]
        problems = rows_of(self.problems(LIMITS, "steps", 1), rows)
        follow = partial(further.progress_towards_coverage, self._benches[LIMITS])
        return further.every(follow, problems)

    def metrics(self, _: str) -> Arrays:
        """Measure one step in every metric, on the same problems."""
        problems = self.problems(LIMITS, "metric", self._config.n_outside)
        n, rng = len(problems.loss), self.generator(LIMITS, "metric", 1)
        drawn = [further.draw_metrics(name, rng, problems.theta.shape) for name in METRICS]
        of_teacher, of_student = (
            further.Metric(*map(np.concatenate, zip(*side, strict=True)))
            for side in zip(*drawn, strict=True)
        )
        repeated = rows_of(problems, np.tile(np.arange(n), len(METRICS)))
        step = partial(
            further.metric_step,
            self._benches[LIMITS], self._config.learning_rate, self._config.epsilon,
        )  # fmt: skip
        found = further.every(step, repeated, of_teacher, of_student)
        return reshaped(found, len(METRICS), n)

    def labels(self, loss: str) -> Arrays:
        """Measure steps on labels that are drawn from the teacher."""
        problems = self.problems(LIMITS, "labels", 1)
        rows = np.flatnonzero(problems.loss == list(COVERED).index(loss))
        shape = len(rows), len(LABEL_EPSILONS)
        problems = rows_of(problems, np.repeat(rows, shape[1]))
        moments = partial(further.label_moments, self._benches[LIMITS], LABELS[loss])
        found = further.every(moments, problems, np.tile(LABEL_EPSILONS, shape[0]))
        rng = self.generator(LIMITS, "labels", 1 + list(LABELS).index(loss))
        arrays = found | further.draw_labels(found, rng)
        del arrays["probabilities"], arrays["moves"]
        return reshaped(arrays, *shape)

    def explored(self, cell: str) -> Arrays:
        """Measure one cell of the grid at many ε."""
        architecture, *names = next(row for row in EXPLORED if cell == cell_name(row))
        axes: list[list[str]] = [list(COVERED), list(INPUTS), list(GRID_TRAITS)]
        at = [axis.index(name) for axis, name in zip(axes, names, strict=True)]
        row = [np.ravel_multi_index(at, COMBINATIONS)]
        problems = rows_of(self.problems(architecture, "grid", 1), row)
        cells = self._benches[architecture].cells(problems, EXPLORED_EPSILONS)
        return {
            "explored_inner": cells.inner[0],
            "explored_change": cells.trait_change[0],
            "explored_slope": cells.slope[0, 0],
        }


def reshaped(arrays: Arrays, *shape: int) -> Arrays:
    """Return arrays with other first axes in place of the first."""
    return {name: array.reshape(*shape, *array.shape[1:]) for name, array in arrays.items()}


def rows_of(problems: Problem, rows: Any) -> Problem:
    """Return some rows of problems."""
    return jax.tree.map(lambda a: a[rows], problems)


def experiment(config: TheoremConfig, key: Key[Array, ""], data: Dataset) -> Experiment:
    """Return the experiment on networks for images of the size of ``data``.

    Two parts at once, since compiling uses one core. In float64 on the CPU, wherever others run.
    """

    def on_cpu(measure: Callable[[str], Arrays], name: str, _: object) -> Arrays:
        with distill.on_cpu():
            return measure(name)

    lab = Lab(config, key, data)
    # In problems at one ε; to compile a network is as much work as 12,000 of them.
    shares = {"grid": 15_000, "paths": 10_000, "cross": 700 * config.n_cross,
              "trials": 100 * config.n_trials, "case": 400 * config.n_outside,
              "explored": 200, "nulls": 2_000, "steps": 15_000, "progress": 20_000,
              "metrics": 12_000 + 400 * config.n_outside, "labels": 8_000}  # fmt: skip
    parts, labels = [], coordinates(config)
    for kind, axis in KINDS.items():
        # The longest to compile first.
        for i, name in reversed(list(enumerate(labels[axis]))):
            share = shares[kind] * (5 if name == "decoder" else 1)
            compute = partial(on_cpu, getattr(lab, kind), name)
            parts.append(Part(f"{kind}-{i}", f"{kind}, {name}", share, compute))
    return Experiment(parts, partial(assemble, config), side_by_side=2)
