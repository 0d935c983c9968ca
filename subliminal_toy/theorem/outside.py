"""Around the one-step theorem: full distillations, what must be zero, and counterexamples."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Float64, Int

from subliminal_toy.distill import cross_entropy, ensemble, kl, snapshots, squared_error
from subliminal_toy.theorem import one_step
from subliminal_toy.theorem.bench import Bench
from subliminal_toy.theorem.many_steps import student_path
from subliminal_toy.theorem.one_step import ROUNDOFF, Number, Scalar, Vector
from subliminal_toy.theorem.problems import AUXILIARY, CLASSES, TRAITS, Problem, output_layer

RATE = 0.2  # of gradient descent in a full distillation


def distil(
    bench: Bench,
    problems: Problem,
    noise: Float64[np.ndarray, "replicate batch height width"],
    digits: Float[np.ndarray, "batch height width"],
    labels: Int[Any, " batch"],
    looked_at: Sequence[int],
) -> dict[str, np.ndarray]:
    """Train teachers on digits and students on their auxiliary logits on noise, many steps.

    Full-batch gradient descent: this violates only the one-step assumption; the second student's
    independent start also violates the shared initialisation. One replicate per problem, of which
    only the two starts are used. Axes (replicate, start, moment), moment 0 is the start; the cosine
    is that with the teacher's whole displacement.
    """
    tx = optax.sgd(RATE)

    def path(loss, theta):
        return snapshots(loss, theta, tx, lambda step: step, looked_at)

    def replicate(digits, labels, theta, other, noise):
        def trait(t, _=None):
            return cross_entropy(bench.f(t, digits), labels, CLASSES)

        teachers = path(trait, theta)
        goal = teachers[-1] - theta
        targets = bench.f(teachers[-1], noise)

        def imitation(t, _):
            return kl(bench.f(t, noise), targets, AUXILIARY)

        def student(first):
            thetas = path(imitation, first)
            moved = thetas - first[None]
            lengths = jnp.linalg.norm(moved, axis=1) * jnp.linalg.norm(goal)
            return moved @ goal / jnp.where(lengths > 0, lengths, 1.0), jax.lax.map(trait, thetas)

        cosine, loss = jax.lax.map(student, jnp.stack([theta, other]))
        of_teacher = jax.lax.map(trait, teachers)
        return {"path_cosine": cosine, "path_trait_loss": loss, "path_teacher_loss": of_teacher}

    digits, train = digits.astype(np.float64), ensemble(replicate, n_shared=2)
    with jax.enable_x64(True):
        return train(digits, labels, problems.theta, problems.other, noise)


NULLS = (
    "one auxiliary logit under softmax: largest |Δ_S|",
    "trait on parameters that the student's loss does not reach: largest |Δ_S·v|",
    "linear model, student of the auxiliary logits: largest change of the class loss",
    "student equal to the teacher, squared error: largest |Δ_S|",
    "student equal to the teacher, softmax: largest gradient in a logit",
    "the edge, f = θ₁ + θ₀²: largest |Δ_S·v|",
)
"""What theory says is zero: proofs/README.md, Eq. (24), (25), (26) and (31)."""


def nulls(
    tanh: Bench, linear: Bench, of_tanh: Problem, of_linear: Problem
) -> tuple[Float64[np.ndarray, " null"], Float64[np.ndarray, " null"]]:
    """Return for each of ``NULLS`` the largest value over many problems, and what is allowed.

    The first three have students with an independent start, who therefore have much to learn.
    """

    def with_trait(problems, name, **changes):
        trait = np.full_like(problems.trait, list(TRAITS).index(name))
        return problems._replace(trait=trait, **changes)

    epsilon, other = np.ones(1), of_tanh.other
    one_logit = tanh.cells(of_tanh.under("softmax, one logit"), epsilon, other)["largest_step"]
    on_class_head = of_tanh.trait_r * output_layer(tanh.shapes, CLASSES)
    of_head = with_trait(of_tanh, "linear", trait_r=on_class_head)
    unreached = [
        tanh.cells(of_head.under(loss), epsilon, other)["inner"]
        for loss in ("squared error, auxiliary", "softmax, auxiliary")
    ]
    of_classes = with_trait(of_linear, "classes").under("softmax, auxiliary")
    class_loss = linear.cells(of_classes, epsilon, of_linear.other)["change"]
    equal = tanh.cells(of_tanh.under("squared error"), np.zeros(1))["largest_step"]
    softmax, bound = softmax_at_equality(3 * of_tanh.gumbel)
    with jax.enable_x64(True):
        at_edge = jax.lax.map(lambda e: edge(e).inner, jnp.array([1e-6, 1e-3, 1.0, 1e3]))
    values = [np.max(np.abs(a)) for a in (one_logit, unreached, class_loss, equal, at_edge)]
    return np.insert(values, 4, softmax), np.array([0.0, 0.0, 0.0, 0.0, bound, 0.0])


def softmax_at_equality(logits: Float64[np.ndarray, "problem batch n"]) -> tuple[float, float]:
    """Return the largest gradient of KL at equal logits, and what rounding allows.

    With R the range of the n logits and u the roundoff, log p is off by at most
    (n + 1 + 3R + 3 log n) u: the shift by the maximum, the exponentials, their sum, its logarithm
    and the difference, each to a unit. So p and the softmax in the derivative are off by
    g = (2n + 3 + 3R + 3 log n) u relatively, and Σp by as much from 1. The gradient is
    q_k Σp − p_k, hence at most 3g p_k, over the batch size.
    """
    with jax.enable_x64(True):
        gradients = jax.jit(jax.vmap(lambda z: jax.grad(kl)(z, z)))(logits)
    n, extent = logits.shape[-1], float(np.max(np.ptp(logits, axis=-1)))
    g = (2 * n + 3 + 3 * extent + 3 * np.log(n)) * ROUNDOFF
    return float(np.abs(gradients).max()), float(3 * g / logits.shape[1])


class TwoParameters(NamedTuple):
    """One step from θ⁰ = 0: teacher, student, change of L_T, and Δ_S·v."""

    teacher: Vector
    student: Vector
    change: Scalar
    inner: Scalar


def _step(f, trait, x, epsilon, alpha, metrics=((1.0, 1.0), (1.0, 1.0))) -> TwoParameters:
    """Take one step under squared error; ``metrics`` are diagonals, one of each model."""
    theta, (of_teacher, of_student) = jnp.zeros(2), jnp.asarray(metrics)
    v = of_teacher * one_step.direction(trait, theta)
    theta_t = one_step.teacher(theta, v, epsilon)
    step = of_student * one_step.student_step(f, squared_error, theta, x, f(theta_t, x))
    theta_s = alpha * step
    return TwoParameters(theta_t, theta_s, trait(theta_s) - trait(theta), jnp.vdot(step, v))


def edge(epsilon: Number, alpha: float = 0.25) -> TwoParameters:
    """Take the step of proofs/README.md, Eq. (31): f = θ₁ + θ₀², L_T = θ₁² − θ₀."""

    def f(t, x):
        return x * (t[1] + t[0] ** 2)

    return _step(f, lambda t: t[1] ** 2 - t[0], jnp.ones((1, 1)), epsilon, alpha)


COUNTEREXAMPLES: dict[str, Callable[[float], float]] = {
    "opposite: change of L_T": lambda e: 0.5 * (0.5 * e - 1) ** 2 - 0.5,
    "opposite: teacher's move": lambda e: -e,
    "opposite: student's move": lambda e: 0.5 * e,
    "overshoot: change of L_T": lambda e: 0.5 * (3 * e - 1) ** 2 - 0.5,
    "overshoot: distance before": lambda e: e,
    "overshoot: distance after": lambda e: 2 * e,
    "edge: change of L_T": lambda e: 0.25 * e**4,
    "two metrics: change of L_T": lambda e: 0.5 * e,
    "two steps: change of L_T": lambda e: 3 * e,
    "other start: A": lambda _: 8.0,
    "other start: C": lambda _: -8.0,
}
"""The counterexamples of proofs/README.md and the proof's numbers, as functions of ε.

Eq. (27), after a step with α = ¼, and Eq. (28), with α = 3/2: the change of the teacher's loss,
how far teacher and student moved on another input, the student's distance from the teacher before
and after. Eq. (31), (38) and, after two steps with α = 3/2, (45): the change of the teacher's loss.
Eq. (55): A and C."""


def counterexamples(epsilon: float = 0.1) -> dict[str, tuple[float, float]]:
    """Run ``COUNTEREXAMPLES``: what is measured, and the proof's number."""
    with jax.enable_x64(True):
        found = jax.jit(_counterexamples)(epsilon).tolist()
    pairs = zip(COUNTEREXAMPLES.items(), found, strict=True)
    return {name: (value, proof(epsilon)) for (name, proof), value in pairs}


def _counterexamples(epsilon):
    """Return the measured numbers in the order of ``COUNTEREXAMPLES``."""

    def f(theta, x):
        return (x @ theta)[:, None]

    def trait(theta):
        return 0.5 * jnp.sum((theta - 1) ** 2)

    x, other, one = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, -2.0]]), jnp.ones((1, 1))
    opposite, overshoot = (_step(f, trait, x, epsilon, a) for a in (0.25, 1.5))
    sum_of_both, difference = (lambda t, x: x * t.sum()), (lambda t: t[0] - t[1])
    opposed = ((2.0, 1.0), (1.0, 2.0))
    metrics = _step(sum_of_both, difference, one, epsilon, 0.25, opposed)
    (two_steps,) = student_path(
        lambda t, x: x * t[None], squared_error, jnp.zeros(1), one, epsilon * one, 1.5, (2,)
    )
    square = (lambda t, x: x * t[None] ** 2), squared_error, one[0], one, one[0]
    found = (
        opposite.change,
        f(opposite.teacher, other),
        f(opposite.student, other),
        overshoot.change,
        f(overshoot.teacher, x),
        f(overshoot.student - overshoot.teacher, x),
        edge(epsilon).change,
        metrics.change,
        -two_steps,
        one_step.predicted_slope(*square),
        one_step.cross_slope(*square, -one[0]),
    )
    return jnp.stack([value.squeeze() for value in found])
