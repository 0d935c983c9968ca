"""Around the one-step theorem: full distillations, what must be zero, and counterexamples."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float64, Int

from subliminal_toy.distill import cross_entropy, ensemble, kl, snapshots, squared_error
from subliminal_toy.theorem.bench import Bench
from subliminal_toy.theorem.one_step import ROUNDOFF, Vector, direction, student_step, teacher
from subliminal_toy.theorem.problems import (
    AUXILIARY,
    CLASSES,
    LOSSES,
    TRAITS,
    Problem,
    output_layer,
)

RATE = 0.2  # of gradient descent in a full distillation


class Path(NamedTuple):
    """Full distillations, axes (replicate, start, moment); moment 0 is the start.

    ``cosine`` of the student's displacement and the teacher's whole displacement; ``trait_loss`` of
    the student in nats; ``teacher_loss`` (replicate, moment) likewise of the teacher.
    """

    cosine: np.ndarray
    trait_loss: np.ndarray
    teacher_loss: np.ndarray


def distil(
    bench: Bench,
    problems: Problem,
    noise: Float64[np.ndarray, "replicate batch height width"],
    digits: Float[np.ndarray, "batch height width"],
    labels: Int[Any, " batch"],
    moments: int,
    steps_between: int,
) -> Path:
    """Train teachers on digits and students on their auxiliary logits on noise, many steps.

    Full-batch gradient descent: this violates only the one-step assumption; the second student's
    independent start also violates the shared initialisation. One replicate per problem, of which
    only the two starts are used.
    """
    tx = optax.sgd(RATE)
    looked_at = range(0, moments * steps_between + 1, steps_between)

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
        return Path(cosine, loss, jax.lax.map(trait, teachers))

    with jax.enable_x64(True):
        shared = (digits.astype(np.float64), labels)
        return jax.device_get(
            ensemble(replicate, n_shared=2)(*shared, problems.theta, problems.other, noise)
        )


NULLS = (
    "one auxiliary logit under softmax: largest |Δ_S|",
    "trait on parameters that the student's loss does not reach: largest |Δ_S·v|",
    "linear model, student of the auxiliary logits: largest change of the class loss",
    "student equal to the teacher, squared error: largest |Δ_S|",
    "student equal to the teacher, softmax: largest gradient in a logit",
)
"""What theory says is zero: proofs/README.md, Eq. (24), (25) and (26)."""


def nulls(
    tanh: Bench, linear: Bench, of_tanh: Problem, of_linear: Problem
) -> tuple[Float64[np.ndarray, " null"], Float64[np.ndarray, " null"]]:
    """Return for each of ``NULLS`` the largest value over many problems, and what is allowed.

    The first three have students with an independent start, who therefore have much to learn.
    """

    def student(problems, loss, **changes):
        loss = np.full_like(problems.loss, list(LOSSES).index(loss))
        return problems._replace(loss=loss, **changes)

    def trait(name):
        return np.full_like(of_tanh.trait, list(TRAITS).index(name))

    epsilon, other = np.ones(1), of_tanh.other
    one_logit = tanh.cells(student(of_tanh, "softmax, one logit"), epsilon, other).largest_step
    on_class_head = of_tanh.trait_r * output_layer(tanh.shapes, CLASSES)
    unreached = [
        tanh.cells(
            student(of_tanh, loss, trait_r=on_class_head, trait=trait("linear")), epsilon, other
        ).inner
        for loss in ("squared error, auxiliary", "softmax, auxiliary")
    ]
    of_classes = student(of_linear, "softmax, auxiliary", trait=trait("classes"))
    class_loss = linear.cells(of_classes, epsilon, of_linear.other).trait_change
    equal = tanh.cells(student(of_tanh, "squared error"), np.zeros(1)).largest_step
    softmax, bound = softmax_at_equality(3 * of_tanh.gumbel)
    values = [np.abs(a).max() for a in (one_logit, unreached, class_loss, equal)]
    return np.array([*values, softmax]), np.array([0.0, 0.0, 0.0, 0.0, bound])


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


def corrections(epsilon: float = 0.1) -> dict[str, float]:
    """Run the two counterexamples of proofs/README.md, Eq. (27) and (28).

    ``opposite_*``: after a step with α = ¼, the change of the teacher's loss, and how far teacher
    and student moved on the other input. ``overshoot_*``: after one with α = 3/2, the change of
    the teacher's loss, and the student's distance from the teacher before and after.
    """

    def f(theta: Vector, x: Float[Array, "batch 2"]) -> Float[Array, "batch 1"]:
        return (x @ theta)[:, None]

    def trait(theta):
        return 0.5 * jnp.sum((theta - 1) ** 2)

    with jax.enable_x64(True):
        theta = jnp.zeros(2)
        x, other = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, -2.0]])
        theta_t = teacher(theta, direction(trait, theta), jnp.asarray(epsilon))
        step = student_step(f, squared_error, theta, x, f(theta_t, x))
        short, long = theta + 0.25 * step, theta + 1.5 * step
        numbers = {
            "opposite_trait_change": trait(short) - trait(theta),
            "opposite_teacher_move": f(theta_t, other) - f(theta, other),
            "opposite_student_move": f(short, other) - f(theta, other),
            "overshoot_trait_change": trait(long) - trait(theta),
            "overshoot_distance_before": jnp.abs(f(theta, x) - f(theta_t, x)),
            "overshoot_distance_after": jnp.abs(f(long, x) - f(theta_t, x)),
        }
        return {name: float(number.squeeze()) for name, number in numbers.items()}
