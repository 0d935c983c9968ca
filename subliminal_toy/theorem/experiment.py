"""The one-step theorem as an experiment: a grid, random trials, cross-slopes, and its limits.

``result`` names the axes and variables of what it returns.
"""

import math
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Key

from subliminal_toy import distill
from subliminal_toy.data import Dataset
from subliminal_toy.runs import Arrays, Experiment, Part
from subliminal_toy.theorem import further, one_step, outside, problems
from subliminal_toy.theorem.bench import Bench, Measured, every
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.problems import ARCHITECTURES, COMBINATIONS, COVERED, LIMITS, Problem
from subliminal_toy.theorem.result import KINDS, assemble, coordinates

STREAMS = (
    "grid", "trials", "cross", "outside", "distillation", "nulls", "steps", "metric", "labels",
)  # fmt: skip
BLOCK = 25  # trials of each combination that are drawn and measured together
N_DISTILLED = 64  # digits of a distilling teacher, and noise images of its students
ROWS = np.arange(math.prod(COMBINATIONS)).reshape(COMBINATIONS)
"""The places of combinations among problems that are drawn once of each."""


class Lab:
    """What is measured, as functions of a name: an architecture, a case, one of ``EXPLORED``."""

    def __init__(self, config: TheoremConfig, key: Key[Array, ""], data: Dataset):
        """Compute nothing yet."""
        self._config, self._key, self._data = config, key, data
        self._labels, rate = coordinates(config), config.learning_rate
        self._benches = {name: Bench(name, data.image_shape, rate) for name in ARCHITECTURES}
        self._limits = self._benches[LIMITS]

    def generator(self, architecture: str, stream: str, block: int = 0) -> np.random.Generator:
        """Return a stream of random numbers, the same in whatever order it is used."""
        key = self._key
        for number in (STREAMS.index(stream), list(ARCHITECTURES).index(architecture), block):
            key = jax.random.fold_in(key, number)
        # Of a key of any implementation.
        return np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")))

    def problems(self, architecture: str, stream: str, n_each: int, block: int = 0) -> Problem:
        """Draw ``n_each`` problems of every combination."""
        rng = self.generator(architecture, stream, block)
        return problems.draw(self._benches[architecture].shapes, self._data, n_each, rng)

    def grid(self, architecture: str) -> Arrays:
        """Measure a problem of every combination at all ε, and its slope near ε = 0."""
        bench, drawn = self._benches[architecture], self.problems(architecture, "grid", 1)
        far = bench.cells(drawn, one_step.EPSILONS)
        at = np.outer(one_step.SMALL_EPSILONS, one_step.NODES)
        near = bench.cells(drawn, at.ravel())
        arrays = {
            "grid_slope": far["slope"][:, 0],
            "grid_slope_rounding": far["slope_rounding"][:, 0],
            "grid_slope_by_step": far["slope_by_step"][:, 0],
            "grid_inner": far["inner"],
            "grid_rounding": far["rounding"],
            "grid_change": far["change"],
            "grid_kink": far["kink"],
            "near_slope": near["cross_slope"].reshape(-1, *at.shape),
            "near_kink": near["kink"].reshape(-1, *at.shape),
        }
        return reshaped(arrays, *COMBINATIONS)

    def trials(self, architecture: str) -> Arrays:
        """Measure random problems at one small ε."""
        bench, epsilon, blocks = self._benches[architecture], np.array([self._config.epsilon]), []
        for first in range(0, self._config.n_trials, BLOCK):
            n_each = min(BLOCK, self._config.n_trials - first)
            cells = bench.cells(self.problems(architecture, "trials", n_each, first), epsilon)
            measured = [cells[name] for name in ("slope", "inner", "change")]
            blocks.append(np.reshape(measured, (3, *COMBINATIONS, n_each)))
        names = ("trial_slope", "trial_inner", "trial_change")
        return dict(zip(names, np.concatenate(blocks, axis=-1), strict=True))

    def cross(self, architecture: str) -> Arrays:
        """Measure the slope A at the teacher's start and the cross-slope C of every start."""
        bench, n_each = self._benches[architecture], self._config.n_cross
        drawn = self.problems(architecture, "cross", n_each)
        starts = [problems.student_starts(name, drawn, bench.shapes) for name in problems.STARTS]
        cells = [bench.cells(drawn, np.zeros(1), start) for start in starts]
        shape = (*COMBINATIONS, n_each)
        return {
            "cross_predicted": cells[0]["slope"].reshape(shape),
            "cross_slope": np.stack([cell["cross_slope"].reshape(shape) for cell in cells]),
        }

    def case(self, name: str) -> Arrays:
        """Measure one case outside the theorem, with a gradient step and with Adam's first."""
        drawn = self.problems(LIMITS, "outside", self._config.n_outside)
        if name in problems.NOT_COVERED:
            drawn = drawn.under(name)
        cells = self._limits.cells(drawn, self._labels["case_epsilon"])
        return {
            "outside_inner": np.stack([cells["inner"].T, cells["adam_inner"].T]),
            "outside_change": np.stack([cells["change"].T, cells["adam_change"].T]),
        }

    def paths(self, _: str) -> Arrays:
        """Run full distillations."""
        n, data = self._config.n_replicates, self._data
        drawn = self.problems(LIMITS, "distillation", -(-n // ROWS.size))
        shape = (n, N_DISTILLED, *data.image_shape)
        return outside.distil(
            self._limits,
            drawn.rows(slice(n)),
            self.generator(LIMITS, "distillation", 1).uniform(-1, 1, shape),
            data.train_images[:N_DISTILLED],
            data.train_labels[:N_DISTILLED],
            self._labels["path_step"].tolist(),
        )

    def nulls(self, _: str) -> Arrays:
        """Measure what must be zero, and the counterexamples."""
        drawn = (self.problems(name, "nulls", 1) for name in (LIMITS, "linear"))
        values, bounds = outside.nulls(self._limits, self._benches["linear"], *drawn)
        measured, proof = np.transpose(list(outside.counterexamples().values()))
        return {
            "null_value": values,
            "null_bound": bounds,
            "counterexample_value": measured,
            "counterexample_formula": proof,
        }

    def steps(self, architecture: str) -> Arrays:
        """Measure students that take many steps, of every loss and trait, on all inputs in turn."""
        n_losses, n_inputs, n_traits = COMBINATIONS
        loss, trait = np.indices((n_losses, n_traits)).reshape(2, -1)
        rows = ROWS[loss, (loss + trait) % n_inputs, trait]
        drawn = self.problems(architecture, "steps", 1).rows(rows)
        measure = every(partial(further.many_steps, self._benches[architecture]))
        return reshaped(measure(drawn), n_losses, n_traits)

    def progress(self, _: str) -> Arrays:
        """Follow a student of every loss on noise, its teacher's trait the labels of digits."""
        follow = every(partial(further.progress_towards_coverage, self._limits))
        return follow(self.problems(LIMITS, "steps", 1).rows(ROWS[:, 0, 0]))

    def metrics(self, _: str) -> Arrays:
        """Measure one step in every metric, on the same problems."""
        drawn = self.problems(LIMITS, "metric", self._config.n_outside)
        rng, shape = self.generator(LIMITS, "metric", 1), drawn.theta.shape
        pairs = [further.draw_metrics(name, rng, shape) for name in further.METRICS]
        metrics = jax.tree.map(lambda *arrays: np.concatenate(arrays), *pairs)
        rate, epsilon = self._config.learning_rate, self._config.epsilon
        measure = every(partial(further.metric_step, self._limits, rate, epsilon))
        found = measure(drawn.rows(np.tile(np.arange(shape[0]), len(pairs))), metrics)
        return reshaped(found, len(pairs), shape[0])

    def labels(self, loss: str) -> Arrays:
        """Measure steps on labels that are drawn from the teacher."""
        rows = ROWS[list(COVERED).index(loss)].ravel()
        shape = len(rows), len(further.LABEL_EPSILONS)
        drawn = self.problems(LIMITS, "labels", 1).rows(np.repeat(rows, shape[1]))
        measure = every(partial(further.label_moments, self._limits, further.LABELS[loss]))
        found = measure(drawn, np.tile(further.LABEL_EPSILONS, shape[0]))
        rng = self.generator(LIMITS, "labels", 1 + list(further.LABELS).index(loss))
        arrays = found | further.draw_labels(found, rng)
        del arrays["probabilities"], arrays["moves"]
        return reshaped(arrays, *shape)

    def explored(self, cell: str) -> Arrays:
        """Measure one cell of the grid at many ε."""
        architecture, *names = cell.split(" · ")
        axes = zip(("loss", "inputs", "trait"), names, strict=True)
        at = [self._labels[axis].index(name) for axis, name in axes]
        drawn = self.problems(architecture, "grid", 1).rows([ROWS[*at]])
        cells = self._benches[architecture].cells(drawn, self._labels["explored_epsilon"])
        return {
            "explored_inner": cells["inner"][0],
            "explored_change": cells["change"][0],
            "explored_slope": cells["slope"][0, 0],
        }


def reshaped(arrays: Measured, *shape: int) -> Arrays:
    """Return arrays with other first axes in place of the first."""
    return {name: array.reshape(*shape, *array.shape[1:]) for name, array in arrays.items()}


def experiment(config: TheoremConfig, key: Key[Array, ""], data: Dataset) -> Experiment:
    """Return the experiment on networks for images of the size of ``data``.

    Two parts at once, since compiling uses one core. In float64 on the CPU, wherever others run.
    """

    lab, labels = Lab(config, key, data), coordinates(config)

    def on_cpu(kind: str, name: str, _: object) -> Arrays:
        with distill.on_cpu():
            return getattr(lab, kind)(name)

    # In problems at one ε; to compile a network is as much work as 12,000 of them.
    shares = {"grid": 15_000, "paths": 10_000, "cross": 700 * config.n_cross,
              "trials": 100 * config.n_trials, "case": 400 * config.n_outside,
              "explored": 200, "nulls": 2_000, "steps": 15_000, "progress": 20_000,
              "metrics": 12_000 + 400 * config.n_outside, "labels": 8_000}  # fmt: skip
    parts = []
    for kind, axis in KINDS.items():
        # The longest to compile first.
        for i, name in reversed(list(enumerate(labels[axis]))):
            share = shares[kind] * (5 if name == "decoder" else 1)
            part = Part(f"{kind}-{i}", f"{kind}, {name}", share, partial(on_cpu, kind, name))
            parts.append(part)
    return Experiment(parts, partial(assemble, config), side_by_side=2)
