"""What is measured of many steps, metrics and sampled labels, each for one problem or many."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from subliminal_toy.distill import cross_entropy, kl
from subliminal_toy.theorem.bench import Bench, mapped
from subliminal_toy.theorem.many_steps import (
    largest_eigenvalue,
    path_and_slope,
    predicted_path,
    progress,
    spectrum,
    student_path,
)
from subliminal_toy.theorem.one_step import (
    Scalar,
    Vector,
    direction,
    loss_matrix_product,
    outputs_along,
    predicted_slope,
    predicted_step,
    response,
    student_step,
    teacher,
    trait_changes,
)
from subliminal_toy.theorem.problems import AUXILIARY, Problem
from subliminal_toy.theorem.sampled import Component, bound, component, draws_needed

STEPS = (1, 2, 5, 20, 100)
RATES = (0.5, 1.9, 2.1)
"""Learning rates of many steps, in units of the inverse of F's largest eigenvalue."""
STEP_EPSILONS = np.array([0.0, 3e-8, 3e-7, 3e-6])
"""Teacher's steps, divided by what the largest component grows to in k steps beyond αF = 2. At 0
the difference between training and prediction is rounding alone."""


class ManySteps(NamedTuple):
    """A problem's many steps at one rate; axes (k,), of ``error`` (k, step_epsilon).

    ``form`` vᵀ(I − (I − αF)ᵏ)v, which is s_k; ``length`` of the predicted displacement over ε;
    ``error`` of dθ⁽ᵏ⁾/dε at each ε, and ``quotient_error`` of (θ⁽ᵏ⁾ − θ⁰)/ε at the largest, both
    relative to that length; ``quotient_change`` of L_T, over the same ε.
    """

    form: Array
    length: Array
    error: Array
    quotient_error: Array
    quotient_change: Array


class Rates(NamedTuple):
    """A problem's slope A, ‖v‖, the largest eigenvalue of F, and ``steps``, first axis the rate."""

    slope: Scalar
    direction: Scalar
    eigenvalue: Scalar
    steps: ManySteps


def many_steps(bench: Bench, problem: Problem) -> Rates:
    """Measure students of ``STEPS`` steps at ``RATES``. Source: proofs/README.md, section 12."""
    loss, trait = bench.losses(problem)
    theta, x = problem.theta, problem.x
    v = direction(trait, theta)
    product = response(bench.f, loss, theta, x)
    largest = largest_eigenvalue(product, problem.trait_r)

    def at_rate(relative):
        # Without an eigenvalue no step moves, whatever the rate.
        rate = relative / jnp.where(largest > 0, largest, 1.0)

        def after(k, predicted):
            def at(epsilon):
                return path_and_slope(bench.f, loss, theta, x, v, rate, k[None], epsilon)

            epsilons = jnp.asarray(STEP_EPSILONS) / jnp.maximum(1, jnp.abs(relative - 1) ** k)
            moved, slopes = (paths[:, 0] for paths in jax.lax.map(at, epsilons))
            length = jnp.linalg.norm(predicted)
            unit = jnp.where(length > 0, length, 1.0)
            return ManySteps(
                form=jnp.vdot(v, predicted),
                length=length,
                error=jnp.linalg.norm(slopes - predicted[None], axis=1) / unit,
                quotient_error=jnp.linalg.norm(moved[-1] / epsilons[-1] - predicted) / unit,
                quotient_change=trait_changes(trait, theta, moved[-1:])[0] / epsilons[-1],
            )

        predicted = predicted_path(product, v, rate, STEPS)
        return jax.lax.map(lambda row: after(*row), (jnp.asarray(STEPS), predicted))

    steps = jax.lax.map(at_rate, jnp.asarray(RATES))
    slope = predicted_slope(bench.f, loss, theta, x, v)
    return Rates(slope, jnp.linalg.norm(v), largest, steps)


PROGRESS_STEPS = np.unique(np.logspace(0, 4, 25).round()).astype(int).tolist()
PROGRESS_EPSILON = 1e-6


class Progress(NamedTuple):
    """Progress after each of ``PROGRESS_STEPS`` steps, at αF ≤ 1, and the coverage.

    ``measured`` of a student of small ε, ``predicted`` from the spectrum of F.
    """

    measured: Array
    predicted: Array
    coverage: Scalar


def progress_towards_coverage(bench: Bench, problem: Problem) -> Progress:
    """Follow a student towards the projection of v. Source: proofs/README.md, Eq. (47)."""
    loss, trait = bench.losses(problem)
    theta, x = problem.theta, problem.x
    v = direction(trait, theta)
    values, shares = spectrum(bench.f, loss, theta, x, v)
    rate, k = 1 / values[0], jnp.asarray(PROGRESS_STEPS)
    y = bench.f(teacher(theta, v, PROGRESS_EPSILON), x)
    moved = student_path(bench.f, loss, theta, x, y, rate, PROGRESS_STEPS)
    measured = moved @ v / (PROGRESS_EPSILON * jnp.vdot(v, v))
    return Progress(measured, progress(values, shares, rate, k), shares.sum())


class Metric(NamedTuple):
    """The symmetric matrix diag(``diagonal``) + ``vector`` ``vector``ᵀ."""

    diagonal: Vector
    vector: Vector

    def times(self, u: Vector) -> Vector:
        """Return its product with ``u``."""
        return self.diagonal * u + self.vector * jnp.vdot(self.vector, u)


def _diagonal(rng: np.random.Generator, shape: tuple[int, int]) -> Metric:
    return Metric(10 ** rng.uniform(-1, 1, shape), np.zeros(shape))


def _signed(rng: np.random.Generator, shape: tuple[int, int]) -> Metric:
    return Metric(rng.normal(size=shape), np.zeros(shape))


def _rank_one(rng: np.random.Generator, shape: tuple[int, int]) -> Metric:
    return Metric(rng.normal(size=shape), 3 * rng.normal(size=shape) / shape[1] ** 0.5)


METRICS: dict[str, tuple[Callable[..., Metric], bool]] = {
    "positive diagonal": (_diagonal, True),
    "diagonal of both signs": (_signed, True),
    "diagonal plus rank one": (_rank_one, True),
    "two positive diagonals": (_diagonal, False),
}
"""How a problem's metric is drawn, and whether teacher and student have the same."""


def draw_metrics(
    name: str, rng: np.random.Generator, shape: tuple[int, int]
) -> tuple[Metric, Metric]:
    """Return the teachers' and the students' metrics, by a name of ``METRICS``."""
    draw, same = METRICS[name]
    of_teacher = draw(rng, shape)
    return of_teacher, of_teacher if same else draw(rng, shape)


class MetricStep(NamedTuple):
    """``slope`` gᵀQ_S F Q_T g; ``inner`` −Δ·g; ``change`` of L_T after the step αΔ.

    ``fall`` is that change over −εα, near the slope.
    """

    slope: Scalar
    inner: Scalar
    change: Scalar
    fall: Scalar


def metric_step(
    bench: Bench,
    rate: float,
    epsilon: float,
    problem: Problem,
    of_teacher: Metric,
    of_student: Metric,
) -> MetricStep:
    """Measure one step of a student, each model in its metric. Source: Eq. (35) and (36)."""
    loss, trait = bench.losses(problem)
    theta, x = problem.theta, problem.x
    g = -direction(trait, theta)
    v = -of_teacher.times(g)
    y = bench.f(teacher(theta, v, epsilon), x)
    step = of_student.times(student_step(bench.f, loss, theta, x, y))
    predicted = of_student.times(predicted_step(bench.f, loss, theta, x, v))
    (change,) = trait_changes(trait, theta, rate * step[None])
    fall = -change / (epsilon * rate)
    return MetricStep(-jnp.vdot(g, predicted), -jnp.vdot(g, step), change, fall)


LABELS = {"softmax": slice(None), "softmax, auxiliary": AUXILIARY}
"""Losses whose soft labels are replaced by classes drawn from them, and their logits."""
LABEL_EPSILONS = np.array([0.01, 0.1])
MULTIPLES = np.array([0.01, 1.0, 10.0])
"""How many labels are drawn, in units of the number at which the bound of Eq. (51) is 1."""
N_REPEATS = 500


class Labels(NamedTuple):
    """A problem's steps on drawn labels.

    ``soft`` Δ_S·v; ``variance`` of Δ̂(a)·v and ``variance_by_matrix`` as in Eq. (50); ``error`` of
    the expected step, added up label by label, against the step on soft labels, over the sum of its
    terms' lengths; ``slope`` A; and per input ``probabilities`` of the labels and ``moves``, what
    each of them adds to Δ̂(a)·v.
    """

    soft: Scalar
    variance: Scalar
    variance_by_matrix: Scalar
    error: Scalar
    slope: Scalar
    probabilities: Float[Array, "inputs labels"]
    moves: Float[Array, "inputs labels"]


def label_moments(bench: Bench, columns: slice, problem: Problem, epsilon: Scalar) -> Labels:
    """Return mean and variance over all labels that can be drawn. Source: Eq. (48) to (50)."""

    def loss(z, y):
        return kl(z, y, columns)

    trait = bench.losses(problem)[1]
    theta, x, n = problem.theta, problem.x, len(problem.x)
    v = direction(trait, theta)
    z, jv, _ = outputs_along(bench.f, loss, theta, x, v)
    y = bench.f(teacher(theta, v, epsilon), x)
    chances, weights = jax.nn.softmax(y[:, columns]), jnp.full(n, 1 / n)
    of_one = component(z[:, columns], y[:, columns], jv[:, columns], weights)

    def of_label(label, chance):
        def drawn(t):
            labels = jnp.full(n, label)
            return cross_entropy(bench.f(t, x), labels, columns, chance) * chance.sum() / n

        return -jax.grad(drawn)(theta)

    steps = jax.lax.map(lambda row: of_label(*row), (jnp.arange(chances.shape[1]), chances.T))
    soft = student_step(bench.f, loss, theta, x, y)
    along = jnp.sum(jax.nn.softmax(z[:, columns]) * jv[:, columns], axis=-1)
    return Labels(
        soft=jnp.vdot(soft, v),
        variance=of_one.variance,
        variance_by_matrix=jnp.vdot(jv, loss_matrix_product(loss, y, jv)) / n,
        error=jnp.linalg.norm(steps.sum(0) - soft) / jnp.linalg.norm(steps, axis=1).sum(),
        slope=predicted_slope(bench.f, loss, theta, x, v),
        probabilities=chances,
        moves=(jv[:, columns] - along[:, None]) / n,
    )


class Drawn(NamedTuple):
    """So many ``draws``, the fraction ``wrong`` of their means not along v, and its ``bound``."""

    draws: np.ndarray
    wrong: np.ndarray
    bound: np.ndarray


def draw_labels(labels: Labels, rng: np.random.Generator) -> Drawn:
    """Draw labels, ``N_REPEATS`` times as many as each of ``MULTIPLES`` says; axes (row, multiple).

    ``labels`` has a first axis of rows. Only counts are drawn: they determine the mean step.
    """
    of_one = Component(labels.soft[:, None], labels.variance[:, None])
    draws = np.ceil(MULTIPLES * draws_needed(of_one)).astype(int)
    wrong = np.empty(draws.shape)
    for (row, multiple), n in np.ndenumerate(draws):
        chances, moves = labels.probabilities[row], labels.moves[row]
        counts = rng.multinomial(n, chances, size=(N_REPEATS, len(chances)))
        wrong[row, multiple] = np.mean((counts * moves).sum(axis=(1, 2)) <= 0)
    return Drawn(draws, wrong, bound(of_one, draws))


def every(fn: Callable[..., Any], *rows: Any) -> Any:
    """Return ``fn`` of every row, in float64, as NumPy arrays."""
    with jax.enable_x64(True):
        return jax.device_get(mapped(fn)(*rows))
