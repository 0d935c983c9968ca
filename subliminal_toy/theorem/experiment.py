"""The theorem on random problems: a grid of ε, trials, other starts, many steps, metrics, labels.

Axes: ``architecture``, ``loss``, ``inputs``, ``trait`` (a combination), ``epsilon`` (the teacher's
step), ``trial`` and ``problem`` (random problems), ``start`` (of a student), ``rate`` and ``k`` (of
many steps), ``metric``, and some of their own for what is measured once. Everything is in float64,
on the CPU.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from subliminal_toy.data import Dataset
from subliminal_toy.distill import on_cpu, stack
from subliminal_toy.record import Arrays, Experiment, Part, Result
from subliminal_toy.theorem import filter, many_steps, one_step, problems
from subliminal_toy.theorem.check import measure
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.one_step import EPSILONS, NODES, SMALL_EPSILONS
from subliminal_toy.theorem.problems import (
    COVERED,
    N_COMBINATIONS,
    N_IMAGES,
    N_OUTPUTS,
    Problem,
    imitated,
    situation,
)

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
LABELS = [name for name, (softmax, _) in COVERED.items() if softmax]
"""Losses whose soft labels are replaced by classes drawn from them."""
LABEL_EPSILONS = np.array([0.01, 0.1])
MULTIPLES = np.array([0.01, 1.0, 10.0])
"""How many labels are drawn, in units of the number at which the bound of Eq. (51) is 1."""
N_REPEATS = 500
FILTER_EPSILON, FILTER_RATE = 1e-4, 1e-6
"""Both small: student and control are compared near the start, Eq. (65)."""

CELL = ("architecture", "loss", "inputs", "trait")
NEAR = (*CELL, "small_epsilon", "node")
STEP_CELL = ("architecture", "loss", "trait")
STEP = (*STEP_CELL, "rate", "k")
METRIC = ("metric", "metric_problem")
LABEL = ("label_loss", "label_problem", "label_epsilon")
FILTERED = ("architecture", "label_loss", "inputs", "trait", "filter_problem")
FORMED = (*FILTERED, "form", "filter")
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
    "filter_slope": (FORMED, "E[φs²] of samples that are counted, Var(s | passes) of a fixed size"),
    "filter_derivative": (FORMED, "d/dε ((step − control's step)·v), by Jacobian products"),
    "filter_inner": (FORMED, "(step − control's step)·v at a small ε"),
    "filter_change": (FORMED, "L_T(student) − L_T(control) there"),
    "filter_scale": ((*FILTERED, "filter"), "E[s² | passes]"),
    "filter_push": ((*FILTERED, "filter"), "‖∇Z‖, Z the rate that passes"),
    "filter_push_error": ((*FILTERED, "filter"), "‖control's step − ∇Z‖"),
}
"""Every variable of the result: its axes and what it is; all are float64, the kinks bool."""


COORDINATES = {
    "loss": list(COVERED),
    "inputs": list(problems.INPUTS),
    "trait": list(problems.TRAITS),
    "epsilon": EPSILONS,
    "small_epsilon": SMALL_EPSILONS,
    "start": list(problems.STARTS),
    "rate": list(RATES),
    "k": list(STEPS),
    "step_epsilon": STEP_EPSILONS,
    "progress_step": PROGRESS_STEPS,
    "metric": list(problems.METRICS),
    "label_loss": LABELS,
    "label_epsilon": LABEL_EPSILONS,
    "multiple": MULTIPLES,
    "form": list(filter.FORMS),
    "filter": list(filter.FILTERS),
}
"""The labels along every axis that has labels, but for the networks."""

STREAMS = {"grid": 0, "trials": 1, "cross": 2, "filters": 3, "steps": 6, "metrics": 7, "labels": 8}
"""Of random numbers, by their number: those of the committed record."""
BLOCK = 25  # trials of each combination that are drawn and measured together
ROWS = np.arange(np.prod(N_COMBINATIONS)).reshape(N_COMBINATIONS)
"""The places of combinations among problems that are drawn once of each."""
AT_ONCE = 20  # rows of a program: their numbers are multiples of it, but for progress


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


def for_all(fn: Callable[..., dict[str, Any]]) -> Callable[..., Arrays]:
    """Return a function of one row, compiled for many, one after the other, in float64.

    The first argument, a shape, takes the place of the axis of rows. Under vmap every row has its
    own weights, and convolutions with an axis of weights are hundreds of times slower on a CPU.
    """
    program = jax.jit(lambda *rows: jax.lax.map(lambda row: fn(*row), rows))

    def measured(shape: tuple[int, ...], *rows: Any) -> Arrays:
        n = len(jax.tree.leaves(rows)[0])
        blocks = [slice(i, i + AT_ONCE) for i in range(0, n, AT_ONCE)]
        with on_cpu(), jax.enable_x64(True):
            parts = [jax.device_get(program(*jax.tree.map(itemgetter(b), rows))) for b in blocks]
        whole = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
        return {name: array.reshape(*shape, *array.shape[1:]) for name, array in whole.items()}

    return measured


def single_steps(source: Source, name: str) -> Arrays:
    """Measure students of one step: a grid of ε, random trials, and students of other starts."""
    config, network = source.config, source.network(name)

    def of_row(problem, start, epsilon):
        trait, setting, v = situation(network.f, problem)
        theta = problem.theta
        kink = network.crosses_kink(theta, one_step.teacher(theta, v, epsilon), problem.x)
        return measure(trait, setting, v, start, config.learning_rate, 1, epsilon) | {"kink": kink}

    program = for_all(of_row)  # one for all: most of the time goes into compiling
    cells = source.draw("grid", name, 1)

    def cells_at(epsilons):
        rows = cells.rows(np.repeat(ROWS.ravel(), epsilons.size))
        shape = *N_COMBINATIONS, *epsilons.shape
        return program(shape, rows, rows.theta, np.tile(epsilons.ravel(), ROWS.size))

    def problems_at(drawn, start, epsilon):
        return program((*N_COMBINATIONS, -1), drawn, start, np.full(len(start), epsilon))

    grid, near = map(cells_at, (EPSILONS, np.outer(SMALL_EPSILONS, NODES)))
    blocks = []
    for first in range(0, config.n_trials, BLOCK):
        drawn = source.draw("trials", name, min(BLOCK, config.n_trials - first), first)
        blocks.append(problems_at(drawn, drawn.theta, config.epsilon))
    trials = jax.tree.map(lambda *arrays: np.concatenate(arrays, axis=-1), *blocks)
    drawn = source.draw("cross", name, config.n_cross)
    starts = (problems.student_start(start, drawn, network.shapes) for start in problems.STARTS)
    cross = [problems_at(drawn, start, 0.0) for start in starts]
    return {
        "grid_slope": grid["slope"][..., 0],
        "grid_slope_rounding": grid["slope_rounding"][..., 0],
        "grid_inner": grid["inner"],
        "grid_rounding": grid["rounding"] / EPSILONS,
        "grid_kink": grid["kink"],
        "near_slope": near["cross_slope"],
        "near_kink": near["kink"],
        "trial_slope": trials["slope"],
        "trial_inner": trials["inner"],
        "trial_change": trials["change"],
        "cross_predicted": cross[0]["slope"],
        "cross_slope": np.stack([arrays["cross_slope"] for arrays in cross]),
    }


def steps(source: Source, name: str) -> Arrays:
    """Measure students that take many steps, of every loss and trait, on all inputs in turn."""
    n_losses, n_inputs, n_traits = N_COMBINATIONS
    loss, trait = np.indices((n_losses, n_traits)).reshape(2, -1)
    drawn = source.draw("steps", name, 1).rows(ROWS[loss, (loss + trait) % n_inputs, trait])
    follow = partial(follow_many_steps, source.network(name).f)
    return for_all(follow)((n_losses, n_traits), drawn)


def follow_many_steps(f: one_step.Function, problem: Problem) -> dict[str, Any]:
    """Measure students of ``STEPS`` steps at ``RATES``; axes (rate, k) and (rate, k, epsilon).

    ``steps_quotient_error`` and ``steps_quotient_change`` are at the largest ε. Source:
    proofs/README.md, section 12.
    """
    trait, setting, v = situation(f, problem)
    f, loss, theta, x = setting
    product = one_step.response(*setting)
    largest = many_steps.largest_eigenvalue(product, problem.trait_r)

    def at_rate(relative):
        # Without an eigenvalue no step moves, whatever the rate.
        rate = relative / jnp.where(largest > 0, largest, 1.0)

        def after(k, predicted):
            def moved(epsilon):
                y = f(one_step.teacher(theta, v, epsilon), x)
                return many_steps.student_path(f, loss, theta, x, y, rate, k[None])[0]

            epsilons = jnp.asarray(STEP_EPSILONS) / jnp.maximum(1, jnp.abs(relative - 1) ** k)
            ends, slopes = jax.lax.map(lambda e: jax.jvp(moved, (e,), (1.0,)), epsilons)
            length = jnp.linalg.norm(predicted)
            unit = jnp.where(length > 0, length, 1.0)
            change = one_step.trait_changes(trait, theta, ends[-1])
            return {
                "steps_form": jnp.vdot(v, predicted),
                "steps_length": length,
                "steps_error": jnp.linalg.norm(slopes - predicted[None], axis=1) / unit,
                "steps_quotient_error": jnp.linalg.norm(ends[-1] / epsilons[-1] - predicted) / unit,
                "steps_quotient_change": change / epsilons[-1],
            }

        predicted = many_steps.predicted_path(product, v, rate, STEPS)
        return jax.lax.map(lambda row: after(*row), (jnp.asarray(STEPS), predicted))

    return {
        "steps_slope": jnp.vdot(v, product(v)),
        "steps_direction": jnp.linalg.norm(v),
        "steps_eigenvalue": largest,
        **jax.lax.map(at_rate, jnp.asarray(RATES)),
    }


def progress(source: Source) -> Arrays:
    """Follow a student of every loss on noise, its teacher's trait the labels of digits.

    At αF ≤ 1, towards the projection of v. Source: proofs/README.md, Eq. (47).
    """
    f = source.network(MAIN).f

    def follow(problem):
        _, setting, v = situation(f, problem)
        values, shares = many_steps.spectrum(*setting, v)
        y = f(one_step.teacher(problem.theta, v, PROGRESS_EPSILON), problem.x)
        moved = many_steps.student_path(*setting, y, 1 / values[0], PROGRESS_STEPS)
        k = jnp.asarray(PROGRESS_STEPS)
        return {
            "progress_measured": moved @ v / (PROGRESS_EPSILON * jnp.vdot(v, v)),
            "progress_predicted": many_steps.progress(values, shares, 1 / values[0], k),
            "progress_coverage": shares.sum(),
        }

    drawn = source.draw("steps", MAIN, 1).rows(ROWS[:, 0, 0])
    return for_all(follow)((len(COVERED),), drawn)


def metrics(source: Source) -> Arrays:
    """Measure one step in every metric, on the same problems: proofs/README.md, Eq. (35), (36)."""
    config, f = source.config, source.network(MAIN).f
    drawn = source.draw("metrics", MAIN, config.n_metrics)
    rng, shape = source.generator("metrics", MAIN, 1), drawn.theta.shape
    pairs = [problems.draw_metrics(name, rng, shape) for name in problems.METRICS]

    def step(problem, metrics):
        of_teacher, of_student = metrics
        trait, setting, descent = situation(f, problem)
        _, loss, theta, x = setting
        v = of_teacher.times(descent)
        y = f(one_step.teacher(theta, v, config.epsilon), x)
        moved = of_student.times(one_step.student_step(f, loss, theta, x, y))
        predicted = of_student.times(one_step.response(*setting)(v))
        change = one_step.trait_changes(trait, theta, config.learning_rate * moved)
        return {
            "metric_slope": jnp.vdot(descent, predicted),
            "metric_inner": jnp.vdot(descent, moved),
            "metric_change": change,
            "metric_fall": -change / (config.epsilon * config.learning_rate),
        }

    measured = for_all(step)
    return stack([measured((shape[0],), drawn, pair) for pair in pairs])


def labels(source: Source) -> Arrays:
    """Measure steps on labels that are drawn from the teacher, at several ε.

    So often as each of ``MULTIPLES`` says, ``N_REPEATS`` times. Only counts are drawn: they
    determine the mean step.
    """
    drawn = source.draw("labels", MAIN, 1)
    drawn = drawn.rows(np.repeat(np.flatnonzero(drawn.softmax), len(LABEL_EPSILONS)))
    shape = len(LABELS), ROWS[0].size, len(LABEL_EPSILONS)
    moments = partial(label_moments, source.network(MAIN).f)
    arrays = for_all(moments)(shape, drawn, np.resize(LABEL_EPSILONS, len(drawn.theta)))
    chances, moves = arrays.pop("chances"), arrays.pop("moves")
    soft, variance = arrays["label_soft"][..., None], arrays["label_variance"][..., None]
    single = many_steps.Component(soft, variance)
    draws = np.ceil(MULTIPLES * many_steps.draws_needed(single)).astype(int)
    wrong = np.empty(draws.shape)
    rngs = [source.generator("labels", MAIN, 1 + place) for place in range(len(LABELS))]
    for at, n in np.ndenumerate(draws):
        counts = rngs[at[0]].multinomial(n, chances[at[:-1]], size=(N_REPEATS, N_IMAGES))
        wrong[at] = np.mean((counts * moves[at[:-1]]).sum(axis=(1, 2)) <= 0)
    bound = many_steps.bound(single, draws)
    return arrays | {"label_draws": draws, "label_wrong": wrong, "label_bound": bound}


def label_moments(f: one_step.Function, problem: Problem, epsilon: Any) -> dict[str, Any]:
    """Return mean and variance over all labels that can be drawn. Source: Eq. (48) to (50).

    The expected step is added up label by label; its error is relative to the sum of its terms'
    lengths. And per input and label: ``chances``, and ``moves``, what a label adds to Δ̂(a)·v.
    """
    _, (_, loss, theta, x), v = situation(f, problem)
    n = len(x)
    z, jv = jax.jvp(lambda t: f(t, x), (theta,), (v,))
    y = f(one_step.teacher(theta, v, epsilon), x)
    soft = one_step.student_step(f, loss, theta, x, y)
    z_in, y_in = imitated(problem, z), imitated(problem, y)
    single = many_steps.component(z_in, y_in, jv, jnp.full(n, 1 / n))
    chances, along = jax.nn.softmax(y_in), jnp.sum(jax.nn.softmax(z_in) * jv, axis=-1)
    back = jax.vjp(lambda t: jax.nn.log_softmax(imitated(problem, f(t, x))), theta)[1]
    terms = jax.lax.map(lambda label: back(chances * label[None] / n)[0], jnp.eye(N_OUTPUTS))
    return {
        "label_soft": jnp.vdot(soft, v),
        "label_variance": single.variance,
        "label_variance_by_matrix": jnp.vdot(jv, one_step.loss_matrix_product(loss, y, jv)) / n,
        "label_error": jnp.linalg.norm(terms.sum(0) - soft) / jnp.linalg.norm(terms, axis=1).sum(),
        "label_slope": one_step.predicted_slope(f, loss, theta, x, v),
        "chances": chances,
        "moves": (jv - along[:, None]) / n,
    }


def filters(source: Source, name: str) -> Arrays:
    """Measure a step on samples that a filter lets pass, and the control's: Eq. (60) to (65)."""
    f, n_each = source.network(name).f, source.config.n_filters
    drawn = source.draw("filters", name, n_each)
    drawn = drawn.rows(drawn.softmax)
    rng, n = source.generator("filters", name, 1), len(drawn.theta)
    by_input, by_label = rng.uniform(size=(n, N_IMAGES)), rng.uniform(size=(n, N_OUTPUTS))

    def of_row(problem, by_input, by_label):
        trait, (_, _, theta, x), v = situation(f, problem)

        def log_chances(t):
            return (jax.nn.log_softmax(imitated(problem, f(t, x))) - np.log(N_IMAGES)).ravel()

        chosen = partial(filter.filters_of, by_input=by_input, by_label=by_label)
        return filter.measure_filters(
            trait, log_chances, theta, v, chosen, FILTER_EPSILON, FILTER_RATE
        )

    shape = len(LABELS), *N_COMBINATIONS[1:], n_each
    return for_all(of_row)(shape, drawn, by_input, by_label)


def experiment(
    config: TheoremConfig,
    key: Key[Array, ""],
    data: Dataset,
    replicates_per_device: int | None = None,
) -> Experiment:
    """Return the experiment on networks for images of the size of ``data``.

    Nothing is spread over devices: ``replicates_per_device`` has no effect.
    """
    source = Source(config, key, data)
    networks = [name for name in problems.ARCHITECTURES if name in config.architectures]

    def of_each_network(fn: Callable[[Source, str], Arrays], _: object) -> Arrays:
        # Two at once, since compiling uses one core; the last, which takes longest, first.
        with ThreadPoolExecutor(2) as pool:
            return stack(list(pool.map(partial(fn, source), networks[::-1]))[::-1])

    def assemble(parts: Mapping[str, Arrays]) -> Result:
        arrays = {name: array for part in parts.values() for name, array in part.items()}
        attrs = {"dataset": data.name, "filter_epsilon": FILTER_EPSILON}
        variables = {}
        for name, (axes, meaning) in VARIABLES.items():
            of_main = name.startswith(("progress", "metric", "label"))
            about = {"long_name": meaning} | ({"network": MAIN} if of_main else {})
            variables[name] = axes, arrays[name], about
        return Result(xr.Dataset(variables, {"architecture": networks, **COORDINATES}, attrs), {})

    first = 40.0 + config.n_cross + config.n_trials / 5
    parts = (
        Part("one step", first, partial(of_each_network, single_steps)),
        Part("many steps", 50.0, partial(of_each_network, steps)),
        Part("progress", 10.0, lambda _: progress(source)),
        Part("metrics", 5.0 + config.n_metrics / 2, lambda _: metrics(source)),
        Part("sampled labels", 8.0, lambda _: labels(source)),
        Part("filters", 20.0 + config.n_filters / 2, partial(of_each_network, filters)),
    )
    return Experiment(parts, assemble)
