"""What is measured of many steps, metrics and sampled labels, each for one problem or many.

By the names of the result's variables: ``result.VARIABLES`` says what each is.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from subliminal_toy.distill import cross_entropy, kl
from subliminal_toy.theorem import one_step
from subliminal_toy.theorem.bench import Bench, Measured
from subliminal_toy.theorem.many_steps import (
    largest_eigenvalue,
    path_and_slope,
    predicted_path,
    progress,
    spectrum,
    student_path,
)
from subliminal_toy.theorem.one_step import Scalar, Vector
from subliminal_toy.theorem.problems import AUXILIARY, Problem
from subliminal_toy.theorem.sampled import Component, bound, component, draws_needed

STEPS = (1, 2, 5, 20, 100)
RATES = (0.5, 1.9, 2.1)
"""Learning rates of many steps, in units of the inverse of F's largest eigenvalue."""
STEP_EPSILONS = np.array([0.0, 3e-8, 3e-7, 3e-6])
"""Teacher's steps, divided by what the largest component grows to in k steps beyond αF = 2. At 0
the difference between training and prediction is rounding alone."""


def many_steps(bench: Bench, problem: Problem) -> Measured:
    """Measure students of ``STEPS`` steps at ``RATES``; axes (rate, k) and (rate, k, epsilon).

    ``steps_quotient_error`` and ``steps_quotient_change`` are at the largest ε. Source:
    proofs/README.md, section 12.
    """
    trait, network, v = bench.situation(problem)
    theta, product = problem.theta, one_step.response(*network)
    largest = largest_eigenvalue(product, problem.trait_r)

    def at_rate(relative):
        # Without an eigenvalue no step moves, whatever the rate.
        rate = relative / jnp.where(largest > 0, largest, 1.0)

        def after(k, predicted):
            def at(epsilon):
                return path_and_slope(*network, v, rate, k[None], epsilon)

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

        predicted = predicted_path(product, v, rate, STEPS)
        return jax.lax.map(lambda row: after(*row), (jnp.asarray(STEPS), predicted))

    return {
        "steps_slope": one_step.predicted_slope(*network, v),
        "steps_direction": jnp.linalg.norm(v),
        "steps_eigenvalue": largest,
        **jax.lax.map(at_rate, jnp.asarray(RATES)),
    }


PROGRESS_STEPS = np.unique(np.logspace(0, 4, 25).round()).astype(int).tolist()
PROGRESS_EPSILON = 1e-6


def progress_towards_coverage(bench: Bench, problem: Problem) -> Measured:
    """Follow a student of ``PROGRESS_STEPS`` steps, at αF ≤ 1, towards the projection of v.

    Source: proofs/README.md, Eq. (47).
    """
    _, (f, loss, theta, x), v = bench.situation(problem)
    values, shares = spectrum(f, loss, theta, x, v)
    rate, k = 1 / values[0], jnp.asarray(PROGRESS_STEPS)
    y = f(one_step.teacher(theta, v, PROGRESS_EPSILON), x)
    moved = student_path(f, loss, theta, x, y, rate, PROGRESS_STEPS)
    return {
        "progress_measured": moved @ v / (PROGRESS_EPSILON * jnp.vdot(v, v)),
        "progress_predicted": progress(values, shares, rate, k),
        "progress_coverage": shares.sum(),
    }


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


def metric_step(
    bench: Bench, rate: float, epsilon: float, problem: Problem, metrics: tuple[Metric, Metric]
) -> Measured:
    """Measure one step of a student, each model in its metric. Source: Eq. (35) and (36)."""
    of_teacher, of_student = metrics
    trait, (f, loss, theta, x), descent = bench.situation(problem)
    v = of_teacher.times(descent)
    y = f(one_step.teacher(theta, v, epsilon), x)
    step = of_student.times(one_step.student_step(f, loss, theta, x, y))
    predicted = of_student.times(one_step.response(f, loss, theta, x)(v))
    (change,) = one_step.trait_changes(trait, theta, rate * step[None])
    return {
        "metric_slope": jnp.vdot(descent, predicted),
        "metric_inner": jnp.vdot(descent, step),
        "metric_change": change,
        "metric_fall": -change / (epsilon * rate),
    }


LABELS = {"softmax": slice(None), "softmax, auxiliary": AUXILIARY}
"""Losses whose soft labels are replaced by classes drawn from them, and their logits."""
LABEL_EPSILONS = np.array([0.01, 0.1])
MULTIPLES = np.array([0.01, 1.0, 10.0])
"""How many labels are drawn, in units of the number at which the bound of Eq. (51) is 1."""
N_REPEATS = 500


def label_moments(bench: Bench, columns: slice, problem: Problem, epsilon: Scalar) -> Measured:
    """Return mean and variance over all labels that can be drawn. Source: Eq. (48) to (50).

    The expected step is added up label by label; its error is relative to the sum of its terms'
    lengths. And for ``draw_labels``, per input and label: ``probabilities``, and ``moves``, what a
    label adds to Δ̂(a)·v.
    """

    def loss(z, y):
        return kl(z, y, columns)

    _, (f, _, theta, x), v = bench.situation(problem)
    n = len(x)
    z, jv, _ = one_step.outputs_along(f, loss, theta, x, v)
    y = f(one_step.teacher(theta, v, epsilon), x)
    chances, weights = jax.nn.softmax(y[:, columns]), jnp.full(n, 1 / n)
    of_one = component(z[:, columns], y[:, columns], jv[:, columns], weights)

    def of_label(label, chance):
        def drawn(t):
            labels = jnp.full(n, label)
            return cross_entropy(f(t, x), labels, columns, chance) * chance.sum() / n

        return -jax.grad(drawn)(theta)

    steps = jax.lax.map(lambda row: of_label(*row), (jnp.arange(chances.shape[1]), chances.T))
    soft = one_step.student_step(f, loss, theta, x, y)
    along = jnp.sum(jax.nn.softmax(z[:, columns]) * jv[:, columns], axis=-1)
    lengths = jnp.linalg.norm(steps, axis=1).sum()
    return {
        "label_soft": jnp.vdot(soft, v),
        "label_variance": of_one.variance,
        "label_variance_by_matrix": jnp.vdot(jv, one_step.loss_matrix_product(loss, y, jv)) / n,
        "label_error": jnp.linalg.norm(steps.sum(0) - soft) / lengths,
        "label_slope": one_step.predicted_slope(f, loss, theta, x, v),
        "probabilities": chances,
        "moves": (jv[:, columns] - along[:, None]) / n,
    }


def draw_labels(found: Measured, rng: np.random.Generator) -> Measured:
    """Draw labels, ``N_REPEATS`` times as many as each of ``MULTIPLES`` says; axes (row, multiple).

    ``found`` is of ``label_moments``, with a first axis of rows. Only counts are drawn: they
    determine the mean step.
    """
    of_one = Component(found["label_soft"][:, None], found["label_variance"][:, None])
    draws = np.ceil(MULTIPLES * draws_needed(of_one)).astype(int)
    wrong = np.empty(draws.shape)
    for (row, multiple), n in np.ndenumerate(draws):
        chances, moves = found["probabilities"][row], found["moves"][row]
        counts = rng.multinomial(n, chances, size=(N_REPEATS, len(chances)))
        wrong[row, multiple] = np.mean((counts * moves).sum(axis=(1, 2)) <= 0)
    return {"label_draws": draws, "label_wrong": wrong, "label_bound": bound(of_one, draws)}
