"""The theorem on random problems: a grid of ε, trials, other starts, many steps, metrics, labels.

Axes: ``architecture``, ``loss``, ``inputs``, ``trait`` (a combination), ``epsilon`` (the teacher's
step), ``trial`` and ``problem`` (random problems), ``start`` (of a student), ``rate`` and ``k`` (of
many steps), ``metric``, and some of their own for what is measured once. Everything is in float64,
on the CPU.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from subliminal_toy.data import Dataset
from subliminal_toy.distill import cross_entropy, kl, on_cpu
from subliminal_toy.record import Arrays, Experiment, Part, Result
from subliminal_toy.theorem import many_steps, one_step, problems
from subliminal_toy.theorem.check import Measure, Measured, measure
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.many_steps import Component
from subliminal_toy.theorem.problems import AUXILIARY, COVERED, N_COMBINATIONS, Problem, situation

MAIN = "mlp-tanh"
"""The network of progress, metrics and sampled labels."""
STEPS = (1, 2, 5, 20, 100)
RATES = (0.5, 1.9, 2.1)
"""Learning rates of many steps, in units of the inverse of F's largest eigenvalue."""
STEP_EPSILONS = np.array([0.0, 3e-8, 3e-7, 3e-6])
"""Teacher's steps, divided by what the largest component grows to in k steps beyond αF = 2. At 0
the difference between training and prediction is rounding alone."""
PROGRESS_STEPS = np.unique(np.logspace(0, 4, 25).round()).astype(int).tolist()
PROGRESS_EPSILON = 1e-6
LABELS = {"softmax": slice(None), "softmax, auxiliary": AUXILIARY}
"""Losses whose soft labels are replaced by classes drawn from them, and their logits."""
LABEL_EPSILONS = np.array([0.01, 0.1])
MULTIPLES = np.array([0.01, 1.0, 10.0])
"""How many labels are drawn, in units of the number at which the bound of Eq. (51) is 1."""
N_REPEATS = 500

CELL = ("architecture", "loss", "inputs", "trait")
NEAR = (*CELL, "small_epsilon", "node")
STEP_CELL = ("architecture", "loss", "trait")
STEP = (*STEP_CELL, "rate", "k")
METRIC = ("metric", "metric_problem")
LABEL = ("label_loss", "label_problem", "label_epsilon")
VARIABLES = {
    "grid_slope": (CELL, "A, the predicted slope"),
    "grid_slope_rounding": (CELL, "what rounding may add to A"),
    "grid_inner": ((*CELL, "epsilon"), "Δ_S·v"),
    "grid_rounding": ((*CELL, "epsilon"), "what rounding may add to (Δ_S·v)/ε"),
    "grid_kink": ((*CELL, "epsilon"), "whether a ReLU crossed its kink between θ⁰ and θ_T(ε)"),
    "near_slope": (NEAR, "d/dε (Δ_S·v) at ε times the node"),
    "near_kink": (NEAR, "as grid_kink"),
    "trial_slope": ((*CELL, "trial"), "A"),
    "trial_inner": ((*CELL, "trial"), "Δ_S·v"),
    "trial_change": ((*CELL, "trial"), "L_T(θ_S) − L_T(θ⁰)"),
    "cross_predicted": ((*CELL, "problem"), "A, for the shared start"),
    "cross_slope": (("architecture", "start", *CELL[1:], "problem"), "C, for every start"),
    "steps_slope": (STEP_CELL, "A"),
    "steps_direction": (STEP_CELL, "‖v‖"),
    "steps_eigenvalue": (STEP_CELL, "largest eigenvalue of F"),
    "steps_form": (STEP, "s_k = vᵀ(I − (I − αF)ᵏ)v"),
    "steps_length": (STEP, "‖(I − (I − αF)ᵏ)v‖"),
    "steps_error": ((*STEP, "step_epsilon"), "‖dθ⁽ᵏ⁾/dε − (I − (I − αF)ᵏ)v‖, relative"),
    "steps_quotient_error": (
        STEP,
        "‖(θ⁽ᵏ⁾ − θ⁰)/ε − (I − (I − αF)ᵏ)v‖, relative, at the largest ε",
    ),
    "steps_quotient_change": (STEP, "(L_T(θ⁽ᵏ⁾) − L_T(θ⁰))/ε, there"),
    "progress_measured": (("loss", "progress_step"), "progress of a student of small ε"),
    "progress_predicted": (("loss", "progress_step"), "q_k, from the spectrum of F"),
    "progress_coverage": (("loss",), "coverage, the limit of q_k"),
    "metric_slope": (METRIC, "gᵀQ_S F Q_T g"),
    "metric_inner": (METRIC, "−Δ_S·g"),
    "metric_change": (METRIC, "L_T(θ_S) − L_T(θ⁰)"),
    "metric_fall": (METRIC, "its fall over εα"),
    "label_soft": (LABEL, "Δ_S·v"),
    "label_slope": (LABEL, "A"),
    "label_error": (LABEL, "expected step on drawn labels − step on soft labels, relative"),
    "label_variance": (LABEL, "Var(Δ̂(a)·v)"),
    "label_variance_by_matrix": (LABEL, "the same by Eq. (50)"),
    "label_draws": ((*LABEL, "multiple"), "N, draws in a mean"),
    "label_wrong": ((*LABEL, "multiple"), "fraction of means with no component along v"),
    "label_bound": ((*LABEL, "multiple"), "what Eq. (51) allows"),
}
"""Every variable of the result: its axes and what it is; all are float64, the kinks bool."""


def coordinates(config: TheoremConfig) -> dict[str, Any]:
    """Return the labels along every axis of the result that has labels."""
    return {
        "architecture": [name for name in problems.ARCHITECTURES if name in config.architectures],
        "loss": list(COVERED),
        "inputs": list(problems.INPUTS),
        "trait": list(problems.GRID_TRAITS),
        "epsilon": one_step.EPSILONS,
        "small_epsilon": one_step.SMALL_EPSILONS,
        "start": list(problems.STARTS),
        "rate": list(RATES),
        "k": list(STEPS),
        "step_epsilon": STEP_EPSILONS,
        "progress_step": PROGRESS_STEPS,
        "metric": list(problems.METRICS),
        "label_loss": list(LABELS),
        "label_epsilon": LABEL_EPSILONS,
        "multiple": MULTIPLES,
    }


STREAMS = {"grid": 0, "trials": 1, "cross": 2, "steps": 6, "metrics": 7, "labels": 8}
"""Of random numbers, by their number: those of the committed record."""
BLOCK = 25  # trials of each combination that are drawn and measured together
ROWS = np.arange(np.prod(N_COMBINATIONS)).reshape(N_COMBINATIONS)
"""The places of combinations among problems that are drawn once of each."""


class Source(NamedTuple):
    """Where problems come from; every stream is the same in whatever order it is used."""

    config: TheoremConfig
    key: Key[Array, ""]
    data: Dataset

    def generator(self, stream: str, network: str, block: int = 0) -> np.random.Generator:
        """Return a stream of random numbers."""
        key = self.key
        for number in (STREAMS[stream], list(problems.ARCHITECTURES).index(network), block):
            key = jax.random.fold_in(key, number)
        # Of a key of any implementation.
        return np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")))

    def draw(self, stream: str, network: str, n_each: int, block: int = 0) -> Problem:
        """Draw ``n_each`` problems of every combination."""
        rng = self.generator(stream, network, block)
        return problems.draw(self.network(network).shapes, self.data, n_each, rng)

    def network(self, name: str) -> problems.FlatNetwork:
        """Return a network for images of the size of the data."""
        return problems.flat_network(name, self.data.image_shape)


def for_all(fn: Callable[..., Measured]) -> Callable[..., Arrays]:
    """Return a function of one row, compiled for many, one after the other, in float64.

    The first argument, a shape, takes the place of the axis of rows. Under vmap every row has its
    own weights, and convolutions with an axis of weights are hundreds of times slower on a CPU.
    """
    program = jax.jit(lambda *rows: jax.lax.map(lambda row: fn(*row), rows))

    def measured(shape: tuple[int, ...], *rows: Any) -> Arrays:
        with on_cpu(), jax.enable_x64(True):
            arrays = jax.device_get(program(*rows))
        return {name: array.reshape(*shape, *array.shape[1:]) for name, array in arrays.items()}

    return measured


FAR: tuple[Measure, ...] = ("slope", "rounding", "inner", "change")
ROWS_AT_ONCE = 250


def one_step_rows(source: Source, name: str) -> Callable[..., Arrays]:
    """Return a function of problems, students' starts, ε and ``near``, a row each, compiled once.

    It measures the slope and the student's step, for rows that are ``near`` the cross-slope
    instead, and for both whether the teacher crossed a kink. Most of the time goes into compiling,
    hence one program for all rows of a network, so many at once.
    """
    network, rate = source.network(name), source.config.learning_rate

    def measure_row(problem, start, epsilon, near):
        trait, setting, v = situation(network.f, problem)
        theta, x = setting[2:]
        at = trait, *setting, v, start, epsilon[None], rate

        def far():
            return measure(FAR, *at) | {"cross_slope": jnp.zeros(1)}

        def close():
            unwanted = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(far))
            return unwanted | measure(("cross_slope",), *at)

        measured = jax.lax.cond(near, close, far)
        kink = network.crosses_kink(theta, one_step.teacher(theta, v, epsilon), x)
        return {name: array.squeeze() for name, array in measured.items()} | {"kink": kink}

    program = for_all(measure_row)

    def rows(drawn, starts, epsilons, near):
        parts = []
        for first in range(0, len(epsilons), ROWS_AT_ONCE):
            # The last rows are filled up, so that there is one program.
            at = np.minimum(np.arange(first, first + ROWS_AT_ONCE), len(epsilons) - 1)
            whole = drawn.rows(at), starts[at], epsilons[at], np.full(len(at), near)
            parts.append(program((len(at),), *whole))
        return jax.tree.map(lambda *arrays: np.concatenate(arrays)[: len(epsilons)], *parts)

    return rows


def single_steps(source: Source, name: str) -> Arrays:
    """Measure students of one step: a grid of ε, random trials, and students of other starts."""
    rows = one_step_rows(source, name)
    return grid(source, name, rows) | trials(source, name, rows) | cross(source, name, rows)


def grid(source: Source, name: str, rows: Callable[..., Arrays]) -> Arrays:
    """Measure a problem of every combination at all ε, and its slope near ε = 0."""
    drawn, near = source.draw("grid", name, 1), np.outer(one_step.SMALL_EPSILONS, one_step.NODES)

    def at_all(epsilons, is_near):
        problem, place = (a.ravel() for a in np.indices((ROWS.size, epsilons.size)))
        many = drawn.rows(problem)
        arrays = rows(many, many.theta, epsilons.ravel()[place], is_near)
        return {k: a.reshape(*N_COMBINATIONS, *epsilons.shape) for k, a in arrays.items()}

    far, close = at_all(one_step.EPSILONS, False), at_all(near, True)
    return {
        "grid_slope": far["slope"][..., 0],
        "grid_slope_rounding": far["slope_rounding"][..., 0],
        "grid_inner": far["inner"],
        "grid_rounding": far["rounding"] / one_step.EPSILONS,
        "grid_kink": far["kink"],
        "near_slope": close["cross_slope"],
        "near_kink": close["kink"],
    }


def trials(source: Source, name: str, rows: Callable[..., Arrays]) -> Arrays:
    """Measure random problems at one small ε."""
    config, blocks = source.config, []
    for first in range(0, config.n_trials, BLOCK):
        n_each = min(BLOCK, config.n_trials - first)
        drawn = source.draw("trials", name, n_each, first)
        arrays = rows(drawn, drawn.theta, np.full(len(drawn.theta), config.epsilon), False)
        blocks.append(
            {
                f"trial_{kind}": arrays[kind].reshape(*N_COMBINATIONS, n_each)
                for kind in ("slope", "inner", "change")
            }
        )
    return jax.tree.map(lambda *arrays: np.concatenate(arrays, axis=-1), *blocks)


def cross(source: Source, name: str, rows: Callable[..., Arrays]) -> Arrays:
    """Measure the slope A at the teacher's start and the cross-slope C of every start."""
    shapes, n_each = source.network(name).shapes, source.config.n_cross
    drawn, shape = source.draw("cross", name, n_each), (*N_COMBINATIONS, n_each)
    at_zero = np.zeros(len(drawn.theta))
    starts = [problems.student_start(start, drawn, shapes) for start in problems.STARTS]
    slopes = [rows(drawn, start, at_zero, True)["cross_slope"] for start in starts]
    return {
        "cross_predicted": rows(drawn, drawn.theta, at_zero, False)["slope"].reshape(shape),
        "cross_slope": np.stack([slope.reshape(shape) for slope in slopes]),
    }


def steps(source: Source, name: str) -> Arrays:
    """Measure students that take many steps, of every loss and trait, on all inputs in turn."""
    n_losses, n_inputs, n_traits = N_COMBINATIONS
    loss, trait = np.indices((n_losses, n_traits)).reshape(2, -1)
    drawn = source.draw("steps", name, 1).rows(ROWS[loss, (loss + trait) % n_inputs, trait])
    follow = partial(follow_many_steps, source.network(name).f)
    return for_all(follow)((n_losses, n_traits), drawn)


def follow_many_steps(f: one_step.Function, problem: Problem) -> Measured:
    """Measure students of ``STEPS`` steps at ``RATES``; axes (rate, k) and (rate, k, epsilon).

    ``steps_quotient_error`` and ``steps_quotient_change`` are at the largest ε. Source:
    proofs/README.md, section 12.
    """
    trait, setting, v = situation(f, problem)
    theta, product = problem.theta, one_step.response(*setting)
    largest = many_steps.largest_eigenvalue(product, problem.trait_r)

    def at_rate(relative):
        # Without an eigenvalue no step moves, whatever the rate.
        rate = relative / jnp.where(largest > 0, largest, 1.0)

        def after(k, predicted):
            def at(epsilon):
                return many_steps.path_and_slope(*setting, v, rate, k[None], epsilon)

            epsilons = jnp.asarray(STEP_EPSILONS) / jnp.maximum(1, jnp.abs(relative - 1) ** k)
            moved, slopes = (paths[:, 0] for paths in jax.lax.map(at, epsilons))
            length = jnp.linalg.norm(predicted)
            unit = jnp.where(length > 0, length, 1.0)
            quotient_error = jnp.linalg.norm(moved[-1] / epsilons[-1] - predicted) / unit
            change = one_step.trait_changes(trait, theta, moved[-1:])[0] / epsilons[-1]
            return {
                "steps_form": jnp.vdot(v, predicted),
                "steps_length": length,
                "steps_error": jnp.linalg.norm(slopes - predicted[None], axis=1) / unit,
                "steps_quotient_error": quotient_error,
                "steps_quotient_change": change,
            }

        predicted = many_steps.predicted_path(product, v, rate, STEPS)
        return jax.lax.map(lambda row: after(*row), (jnp.asarray(STEPS), predicted))

    return {
        "steps_slope": one_step.predicted_slope(*setting, v),
        "steps_direction": jnp.linalg.norm(v),
        "steps_eigenvalue": largest,
        **jax.lax.map(at_rate, jnp.asarray(RATES)),
    }


def progress(source: Source) -> Arrays:
    """Follow a student of every loss on noise, its teacher's trait the labels of digits.

    At αF ≤ 1, towards the projection of v. Source: proofs/README.md, Eq. (47).
    """
    network = source.network(MAIN)

    def follow(problem):
        _, setting, v = situation(network.f, problem)
        values, shares = many_steps.spectrum(*setting, v)
        rate, k = 1 / values[0], jnp.asarray(PROGRESS_STEPS)
        y = network.f(one_step.teacher(problem.theta, v, PROGRESS_EPSILON), problem.x)
        moved = many_steps.student_path(*setting, y, rate, PROGRESS_STEPS)
        return {
            "progress_measured": moved @ v / (PROGRESS_EPSILON * jnp.vdot(v, v)),
            "progress_predicted": many_steps.progress(values, shares, rate, k),
            "progress_coverage": shares.sum(),
        }

    drawn = source.draw("steps", MAIN, 1).rows(ROWS[:, 0, 0])
    return for_all(follow)((len(COVERED),), drawn)


def metrics(source: Source) -> Arrays:
    """Measure one step in every metric, each model in its own, on the same problems.

    Source: proofs/README.md, Eq. (35) and (36).
    """
    config, f = source.config, source.network(MAIN).f
    drawn = source.draw("metrics", MAIN, config.n_metrics)
    rng, shape = source.generator("metrics", MAIN, 1), drawn.theta.shape
    pairs = [problems.draw_metrics(name, rng, shape) for name in problems.METRICS]
    pairs = jax.tree.map(lambda *arrays: np.concatenate(arrays), *pairs)

    def step(problem, metrics):
        of_teacher, of_student = metrics
        trait, setting, descent = situation(f, problem)
        _, loss, theta, x = setting
        v = of_teacher.times(descent)
        y = f(one_step.teacher(theta, v, config.epsilon), x)
        moved = of_student.times(one_step.student_step(f, loss, theta, x, y))
        predicted = of_student.times(one_step.response(*setting)(v))
        change = one_step.trait_changes(trait, theta, config.learning_rate * moved[None])[0]
        return {
            "metric_slope": jnp.vdot(descent, predicted),
            "metric_inner": jnp.vdot(descent, moved),
            "metric_change": change,
            "metric_fall": -change / (config.epsilon * config.learning_rate),
        }

    rows = drawn.rows(np.tile(np.arange(shape[0]), len(problems.METRICS)))
    return for_all(step)((len(problems.METRICS), shape[0]), rows, pairs)


def labels(source: Source, name: str) -> Arrays:
    """Measure steps on labels that are drawn from the teacher, for one of ``LABELS``."""
    rows = ROWS[list(COVERED).index(name)].ravel()
    shape = len(rows), len(LABEL_EPSILONS)
    drawn = source.draw("labels", MAIN, 1).rows(np.repeat(rows, shape[1]))
    moments = partial(label_moments, source.network(MAIN).f, LABELS[name])
    arrays = for_all(moments)(shape, drawn, np.tile(LABEL_EPSILONS, shape[0]))
    rng = source.generator("labels", MAIN, 1 + list(LABELS).index(name))
    return draw_labels(arrays, rng)


def label_moments(
    f: one_step.Function, columns: slice, problem: Problem, epsilon: one_step.Scalar
) -> Measured:
    """Return mean and variance over all labels that can be drawn. Source: Eq. (48) to (50).

    The expected step is added up label by label; its error is relative to the sum of its terms'
    lengths. And for ``draw_labels``, per input and label: ``probabilities``, and ``moves``, what a
    label adds to Δ̂(a)·v.
    """

    def loss(z, y):
        return kl(z, y, columns)

    _, (_, _, theta, x), v = situation(f, problem)
    n = len(x)
    z, jv, _ = one_step.outputs_along(f, loss, theta, x, v)
    y = f(one_step.teacher(theta, v, epsilon), x)
    chances, weights = jax.nn.softmax(y[:, columns]), jnp.full(n, 1 / n)
    single = many_steps.component(z[:, columns], y[:, columns], jv[:, columns], weights)

    def of_label(label, chance):
        def drawn(t):
            targets = jnp.full(n, label)
            return cross_entropy(f(t, x), targets, columns, chance) * chance.sum() / n

        return -jax.grad(drawn)(theta)

    terms = jax.lax.map(lambda row: of_label(*row), (jnp.arange(chances.shape[1]), chances.T))
    soft = one_step.student_step(f, loss, theta, x, y)
    along = jnp.sum(jax.nn.softmax(z[:, columns]) * jv[:, columns], axis=-1)
    lengths = jnp.linalg.norm(terms, axis=1).sum()
    return {
        "label_soft": jnp.vdot(soft, v),
        "label_variance": single.variance,
        "label_variance_by_matrix": jnp.vdot(jv, one_step.loss_matrix_product(loss, y, jv)) / n,
        "label_error": jnp.linalg.norm(terms.sum(0) - soft) / lengths,
        "label_slope": one_step.predicted_slope(f, loss, theta, x, v),
        "probabilities": chances,
        "moves": (jv[:, columns] - along[:, None]) / n,
    }


def draw_labels(moments: Arrays, rng: np.random.Generator) -> Arrays:
    """Draw labels, ``N_REPEATS`` times as many as each of ``MULTIPLES`` says.

    Only counts are drawn: they determine the mean step.
    """
    arrays = dict(moments)
    chances, moves = arrays.pop("probabilities"), arrays.pop("moves")
    single = Component(arrays["label_soft"][..., None], arrays["label_variance"][..., None])
    draws = np.ceil(MULTIPLES * many_steps.draws_needed(single)).astype(int)
    wrong = np.empty(draws.shape)
    for at, n in np.ndenumerate(draws):
        chance, move = chances[at[:-1]], moves[at[:-1]]
        counts = rng.multinomial(n, chance, size=(N_REPEATS, len(chance)))
        wrong[at] = np.mean((counts * move).sum(axis=(1, 2)) <= 0)
    bound = many_steps.bound(single, draws)
    return arrays | {"label_draws": draws, "label_wrong": wrong, "label_bound": bound}


def experiment(
    config: TheoremConfig,
    key: Key[Array, ""],
    data: Dataset,
    replicates_per_device: int | None = None,
) -> Experiment:
    """Return the experiment on networks for images of the size of ``data``.

    Nothing is spread over devices: ``replicates_per_device`` has no effect.
    """
    source, axes = Source(config, key, data), coordinates(config)
    networks, losses = axes["architecture"], axes["label_loss"]

    def of_each(fn: Callable[[Source, str], Arrays], names: list[str], _: object) -> Arrays:
        # Two at once, since compiling uses one core; the last, which takes longest, first.
        with ThreadPoolExecutor(2) as pool:
            rows = list(pool.map(partial(fn, source), names[::-1]))[::-1]
        return jax.tree.map(lambda *arrays: np.stack(arrays), *rows)

    parts = (
        Part(
            "one step",
            40.0 + config.n_cross + config.n_trials / 5,
            partial(of_each, single_steps, networks),
        ),
        Part("many steps", 50.0, partial(of_each, steps, networks)),
        Part("progress", 10.0, lambda _: progress(source)),
        Part("metrics", 5.0 + config.n_metrics / 2, lambda _: metrics(source)),
        Part("sampled labels", 8.0, partial(of_each, labels, losses)),
    )
    return Experiment(parts, partial(assemble, config, data.name))


def assemble(config: TheoremConfig, dataset: str, parts: Mapping[str, Arrays]) -> Result:
    """Put the finished parts together, with named axes."""
    arrays = {name: array for part in parts.values() for name, array in part.items()}
    variables = {
        name: (dims, arrays[name], {"long_name": meaning})
        for name, (dims, meaning) in VARIABLES.items()
    }
    data = xr.Dataset(variables, coordinates(config))
    for name, variable in data.data_vars.items():
        if str(name).startswith(("progress", "metric", "label")):
            variable.attrs["network"] = MAIN
    attrs = {"dataset": dataset, "epsilon": config.epsilon, "learning_rate": config.learning_rate}
    return Result(data.assign_attrs(attrs), {})
