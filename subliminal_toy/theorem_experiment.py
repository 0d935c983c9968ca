"""The one-step theorem as an experiment: a grid, random trials, and where it ends."""

from collections.abc import Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from subliminal_toy.configs import TheoremConfig
from subliminal_toy.data import Dataset
from subliminal_toy.progress import Progress, silent
from subliminal_toy.theorem import EPSILONS
from subliminal_toy.theorem_cells import ARCHITECTURES, COVERED, GRID_TRAITS, INPUTS, LOSSES, Bench
from subliminal_toy.theorem_outside import (
    CASES,
    NULLS,
    SIGMAS,
    STARTS,
    Corrections,
    case,
    corrections,
    distil,
    nulls,
    partial_sharing,
)
from subliminal_toy.theorem_problems import Drawn, draw, grid, uniforms
from subliminal_toy.theorem_summary import Result, summarize

__all__ = ["Result", "run", "summarize"]

ADAM_LEARNING_RATE = 1e-4  # of Adam's first step, which does not shrink with ε
CASE_EPSILONS = np.array([1e-4, 1e-2, 1.0, 10.0])
PARTIAL_EPSILONS = np.array([1e-4, 1e-2])
SLICE = 250  # trials drawn, measured and saved together
MOMENTS = 30  # of a distillation that are looked at, beside its start
N_DISTILLED = 64  # digits of a distilling teacher, and noise images of its students

COMPILING = {"linear": 3.0, "mlp-relu": 3.0, "mlp-tanh": 3.0, "cnn-relu": 6.0, "decoder": 15.0}

EXPLORED = (
    ("mlp-tanh", "softmax, auxiliary", "uniform noise", "digit labels"),
    ("mlp-relu", "softmax, auxiliary", "uniform noise", "digit labels"),
    ("decoder", "squared error", "digits", "favour a class"),
)
EXPLORED_EPSILONS = np.logspace(-6, 2, 161)
OUTSIDE_ARCHITECTURE = "mlp-tanh"


Arrays = dict[str, np.ndarray]


class Part(NamedTuple):
    """A piece of the run: its name in the chunks, its share of the work, what computes it."""

    name: str
    work: float
    compute: Callable[[], Arrays]


class Parts:
    """All parts of a run, as functions of the config, the key and the data."""

    def __init__(self, config: TheoremConfig, key: Key[Array, ""], data: Dataset):
        """Compute nothing yet."""
        self._config, self._data = config, data
        grid_key, trials, outside, paths, null = (jax.random.fold_in(key, i) for i in range(5))
        self._keys = {"grid": grid_key, "trials": trials, "outside": outside, "null": null}
        self._path_key = paths
        self._benches = {
            a.name: Bench(
                a,
                data.image_shape,
                config.learning_rate,
                ADAM_LEARNING_RATE,
                LOSSES if a.name == OUTSIDE_ARCHITECTURE else COVERED,
            )
            for a in ARCHITECTURES
        }

    def drawn(self, architecture: str, stream: str, number: int, n: int) -> Drawn:
        """Draw a slice of random problems; the same numbers whatever the order of the parts."""
        row = [a.name for a in ARCHITECTURES].index(architecture)
        key = jax.random.fold_in(jax.random.fold_in(self._keys[stream], row), number)
        numbers = uniforms(key, SLICE, self._data.image_shape)[:n]
        return draw(self._benches[architecture], self._data, numbers)

    def many(self, architecture: str, stream: str, n: int) -> Drawn:
        """Draw ``n`` random problems."""
        slices = [
            self.drawn(architecture, stream, i, min(SLICE, n - i * SLICE))
            for i in range(-(-n // SLICE))
        ]
        return jax.tree.map(lambda *parts: np.concatenate(parts), *slices)

    def grid_problems(self, architecture: str):
        """Return the grid's problems; every architecture gets the same numbers."""
        # The same numbers again and again is the point, so the key is meant to be used again.
        numbers = uniforms(jax.random.clone(self._keys["grid"]), 1, self._data.image_shape)
        return grid(self._benches[architecture], self._data, numbers)

    def grid(self, architecture: str) -> Arrays:
        """Measure all cells of one architecture at all ε."""
        problems = self.grid_problems(architecture)
        rows = np.repeat(np.arange(len(problems.loss)), len(EPSILONS))
        spread = jax.tree.map(lambda a: a[rows], problems)
        cells = self._benches[architecture].cells(spread, np.tile(EPSILONS, len(problems.loss)))
        shape = (len(COVERED), len(INPUTS), len(GRID_TRAITS), len(EPSILONS))
        fields = {name: field.reshape(shape) for name, field in cells._asdict().items()}
        return {
            "inner": fields["inner"],
            "rounding": fields["rounding"],
            "change": fields["trait_change"],
            "teacher_kink": fields["teacher_kink"],
            "student_kink": fields["student_kink"],
            "slope": fields["slope"][..., 0],
            "slope_by_step": fields["slope_by_step"][..., 0],
        }

    def trials(self, architecture: str, number: int, n: int) -> Arrays:
        """Measure random problems, with the shared and with an independent start."""
        drawn = self.drawn(architecture, "trials", number, n)
        bench, epsilons = self._benches[architecture], np.full(n, self._config.epsilon)
        shared = bench.cells(drawn.problems, epsilons)
        independent = bench.cells(drawn.problems, epsilons, drawn.other_start)
        return {
            "trial_loss": drawn.kinds.loss,
            "trial_inputs": drawn.kinds.inputs,
            "trial_trait": drawn.kinds.trait,
            "trial_slope": shared.slope,
            "trial_inner": shared.inner,
            "trial_change": shared.trait_change,
            "independent_inner": independent.inner,
            "independent_change": independent.trait_change,
        }

    def case(self, name: str) -> Arrays:
        """Measure one case outside the theorem."""
        drawn = self.many(OUTSIDE_ARCHITECTURE, "outside", self._config.n_outside)
        cells = case(self._benches[OUTSIDE_ARCHITECTURE], drawn, name, CASE_EPSILONS)
        return {
            "outside_inner": cells.inner,
            "outside_change": cells.trait_change,
            "outside_adam_inner": cells.adam_inner,
            "outside_adam_change": cells.adam_change,
        }

    def partial(self, epsilon: float) -> Arrays:
        """Measure starts that are shared in part."""
        drawn = self.many(OUTSIDE_ARCHITECTURE, "outside", self._config.n_outside)
        cells = partial_sharing(self._benches[OUTSIDE_ARCHITECTURE], drawn, epsilon)
        return {"partial_inner": cells.inner, "partial_change": cells.trait_change}

    def paths(self) -> Arrays:
        """Run full distillations."""
        config, n = self._config, self._config.n_seeds
        with jax.enable_x64(True):
            shape = (n, N_DISTILLED, *self._data.image_shape)
            noise = np.asarray(jax.random.uniform(self._path_key, shape, "float64", -1, 1))
        path = distil(
            self._benches[OUTSIDE_ARCHITECTURE],
            self.many(OUTSIDE_ARCHITECTURE, "outside", n),
            noise,
            self._data.train_images[:N_DISTILLED],
            self._data.train_labels[:N_DISTILLED],
            MOMENTS,
            -(-config.distillation_steps // MOMENTS),
        )
        return {f"path_{name}": array for name, array in path._asdict().items()}

    def nulls(self) -> Arrays:
        """Measure what must be zero, and the counterexamples."""
        tanh, linear = self._benches[OUTSIDE_ARCHITECTURE], self._benches["linear"]
        values, bounds = nulls(
            tanh, linear,
            self.drawn(OUTSIDE_ARCHITECTURE, "null", 0, SLICE),
            self.drawn("linear", "null", 0, SLICE),
        )  # fmt: skip
        return {
            "null_values": values,
            "null_bounds": bounds,
            "correction_values": np.array(corrections()),
        }

    def explored(self, cell: tuple[str, str, str, str]) -> Arrays:
        """Measure one cell of the grid at many ε."""
        architecture, *names = cell
        axes = (tuple(COVERED), INPUTS, GRID_TRAITS)
        at = tuple(axis.index(name) for axis, name in zip(axes, names, strict=True))
        row = np.full(len(EXPLORED_EPSILONS), np.ravel_multi_index(at, tuple(map(len, axes))))
        problems = jax.tree.map(lambda a: a[row], self.grid_problems(architecture))
        cells = self._benches[architecture].cells(problems, EXPLORED_EPSILONS)
        return {
            "explored_inner": cells.inner,
            "explored_change": cells.trait_change,
            "explored_slope": cells.slope[0],
        }


def programme(config: TheoremConfig, parts: Parts) -> tuple[list[Part], list[Part]]:
    """Return the parts that compile the programs and those that then use them.

    ``work`` is in seconds of one core, measured with the quick preset.
    """
    names = [a.name for a in ARCHITECTURES]
    compiling = [
        Part(f"grid-{name}", COMPILING[name], partial(parts.grid, name))
        for name in reversed(names)  # the longest first
    ]
    compiling.insert(1, Part("paths", 2.0 + config.n_seeds / 4, parts.paths))
    trials = [
        Part(
            f"trials-{name}-{first:06d}",
            1.0 if name == "decoder" else 0.3,
            partial(parts.trials, name, first // SLICE, min(SLICE, config.n_trials - first)),
        )
        for name in names
        for first in range(0, config.n_trials, SLICE)
    ]
    work = config.n_outside / 400
    outside = [
        *(Part(f"case-{i}", work, partial(parts.case, name)) for i, name in enumerate(CASES)),
        *(
            Part(f"partial-{i}", 3 * work, partial(parts.partial, epsilon))
            for i, epsilon in enumerate(PARTIAL_EPSILONS)
        ),
        *(
            Part(f"explored-{i}", 0.1, partial(parts.explored, cell))
            for i, cell in enumerate(EXPLORED)
        ),
        Part("nulls", 1.5, parts.nulls),
    ]
    return compiling, trials + outside


def run(
    config: TheoremConfig,
    key: Key[Array, ""],
    data: Dataset,
    chunks: MutableMapping[str, dict[str, np.ndarray]],
    progress: Progress = silent,
) -> Result:
    """Measure the grid, the random trials and everything outside the theorem, on two cores.

    Finished parts are stored in ``chunks`` and taken from there if they exist; each has its own
    random numbers, so that order and interruptions change nothing.
    """
    stages = programme(config, Parts(config, key, data))
    works = {part.name: part.work for stage in stages for part in stage}
    done = sum(work for name, work in works.items() if name in chunks)
    for stage in stages:
        missing = [part for part in stage if part.name not in chunks]
        for name, arrays in at_once(missing):
            chunks[name] = arrays
            done += works[name]
            progress(done / sum(works.values()), name)
    return collect(config, chunks)


def at_once(parts: list[Part], n_threads: int = 2) -> Iterable[tuple[str, Arrays]]:
    """Yield name and arrays of each part as it is finished; two at a time, as compiling uses one.

    After an interruption no further part is begun.
    """
    pool = ThreadPoolExecutor(n_threads)
    try:
        futures = {pool.submit(part.compute): part.name for part in parts}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def collect(config: TheoremConfig, chunks: MutableMapping[str, dict[str, np.ndarray]]) -> Result:
    """Put the parts together, each with its axis in front."""

    def stacked(names: Iterable[str], prefix: str = "") -> Arrays:
        parts = [chunks[name] for name in names]
        return {prefix + field: np.stack([part[field] for part in parts]) for field in parts[0]}

    architectures = [a.name for a in ARCHITECTURES]
    slices = range(0, config.n_trials, SLICE)
    trials = [[chunks[f"trials-{name}-{i:06d}"] for i in slices] for name in architectures]
    return Result(
        architectures=np.array(architectures),
        losses=np.array(list(COVERED)),
        inputs=np.array(INPUTS),
        traits=np.array(GRID_TRAITS),
        epsilons=EPSILONS,
        **stacked((f"grid-{name}" for name in architectures), "grid_"),
        **{
            field: np.stack([np.concatenate([part[field] for part in row]) for row in trials])
            for field in trials[0][0]
        },
        cases=np.array(CASES),
        case_epsilons=CASE_EPSILONS,
        **stacked(f"case-{i}" for i in range(len(CASES))),
        sigmas=SIGMAS,
        partial_epsilons=PARTIAL_EPSILONS,
        **stacked(f"partial-{i}" for i in range(len(PARTIAL_EPSILONS))),
        starts=np.array(STARTS),
        **chunks["paths"],
        path_steps=np.arange(MOMENTS + 1) * -(-config.distillation_steps // MOMENTS),
        null_names=np.array(NULLS),
        **chunks["nulls"],
        correction_names=np.array(Corrections._fields),
        explored=np.array(EXPLORED),
        explored_epsilons=EXPLORED_EPSILONS,
        **stacked(f"explored-{i}" for i in range(len(EXPLORED))),
    )
