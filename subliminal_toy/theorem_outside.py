"""Around the one-step theorem: what it does not cover, what must be zero, what it does not say.

Everything is measured with the functions of ``theorem`` and ``theorem_cells``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float64, Int

from subliminal_toy.distill import cross_entropy, fit_steps, kl, squared_error, start
from subliminal_toy.theorem import ROUNDOFF, Vector, direction, one_step, teacher
from subliminal_toy.theorem_cells import (
    AUXILIARY,
    CLASSES,
    LOSSES,
    N_OUTPUTS,
    TRAITS,
    Bench,
    Cell,
)  # fmt: skip
from subliminal_toy.theorem_problems import Drawn

LOSS_ROW = {name: row for row, name in enumerate(LOSSES)}
TRAIT_ROW = {name: row for row, name in enumerate(TRAITS)}

CASES = (
    "shared start (covered)", "independent start", "absolute error", "fourth power", "hard labels",
    "sampled labels",
)  # fmt: skip
"""Adam's first step is measured in every case."""
SIGMAS = np.logspace(-7, 0, 15)

RATE = 0.2  # of gradient descent in a full distillation
STARTS = ("shared", "independent")


def case(bench: Bench, drawn: Drawn, name: str, epsilons: Float64[np.ndarray, " epsilons"]) -> Cell:
    """Measure the same problems in one of ``CASES``; fields get the axes (epsilon, problem)."""
    problems, starts = drawn.problems, drawn.problems.theta
    if name == "independent start":
        starts = drawn.other_start
    elif name in LOSS_ROW:
        problems = problems._replace(loss=np.full_like(problems.loss, LOSS_ROW[name]))
    cells = [bench.cells(problems, np.full(len(starts), e), starts) for e in epsilons]
    return Cell(*(np.stack(field) for field in zip(*cells, strict=True)))


def partial_sharing(bench: Bench, drawn: Drawn, epsilon: float) -> Cell:
    """Move the student's start by σ times an initialisation; axes (sigma, problem).

    σ is in units of each parameter's own standard deviation.
    """
    theta, n = drawn.problems.theta, len(drawn.problems.loss)
    noise = drawn.other_start - bench.start_distribution()[0]
    cells = [bench.cells(drawn.problems, np.full(n, epsilon), theta + s * noise) for s in SIGMAS]
    return Cell(*(np.stack(field) for field in zip(*cells, strict=True)))


class Path(NamedTuple):
    """Full distillations, axes (seed, start, moment); moment 0 is the start.

    ``cosine`` of the student's displacement and the whole displacement of the teacher;
    ``trait_loss`` of the student; ``teacher_loss`` (seed, moment) of the teacher.
    """

    cosine: np.ndarray
    trait_loss: np.ndarray
    teacher_loss: np.ndarray


def distil(
    bench: Bench,
    drawn: Drawn,
    noise: Float64[np.ndarray, "seed batch height width"],
    digits: Float[np.ndarray, "batch height width"],
    labels: Int[Any, " batch"],
    moments: int,
    steps_between: int,
) -> Path:
    """Train teachers on digits and students on their auxiliary logits on noise, many steps.

    Gradient descent on everything at once: only "one step" of the theorem is broken, and with an
    independent start the start. One seed per problem of ``drawn``.
    """
    tx = optax.sgd(RATE)
    steps = jnp.arange(moments * steps_between).reshape(moments, steps_between)

    def path(loss, theta):
        def some_steps(state, at):
            state, _ = fit_steps(loss, state, tx, lambda *_: None, jax.random.key(0), at)
            return state, state.params

        return jnp.stack([theta, *jax.lax.scan(some_steps, start(theta, tx), steps)[1]])

    def one_seed(digits, labels, theta, other, noise):
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
            cosine = moved @ goal / jnp.where(lengths > 0, lengths, 1.0)
            return cosine, jax.lax.map(trait, thetas)

        cosine, loss = jax.lax.map(student, jnp.stack([theta, other]))
        return Path(cosine, loss, jax.lax.map(trait, teachers))

    def seeds(digits, labels, rows):
        return jax.lax.map(lambda row: one_seed(digits, labels, *row), rows)

    with jax.enable_x64(True):
        program = jax.jit(seeds, compiler_options=bench.compiler_options)
        rows = (drawn.problems.theta, drawn.other_start, noise)
        return jax.device_get(program(digits.astype(np.float64), labels, rows))


NULLS = (
    "one auxiliary logit under softmax: largest |Δ_S|",
    "trait on parameters that the student's loss does not reach: largest |Δ_S·v|",
    "linear model, student of the auxiliary logits: largest change of the class loss",
    "student equal to the teacher, squared error: largest |Δ_S|",
    "student equal to the teacher, softmax: largest gradient in a logit",
)
"""What theory says is zero: proofs/README.md, Eq. (24), (25) and (26)."""


def nulls(
    tanh: Bench, linear: Bench, drawn_tanh: Drawn, drawn_linear: Drawn
) -> tuple[Float64[np.ndarray, " null"], Float64[np.ndarray, " null"]]:
    """Return for each of ``NULLS`` the largest value over many problems, and what is allowed.

    The first three have students with a start of their own, who therefore have much to learn.
    """
    problems, other = drawn_tanh.problems, drawn_tanh.other_start
    zeros, ones = np.zeros(len(other)), np.ones(len(other))

    def student(name, of=problems, **changes):
        return of._replace(loss=np.full_like(of.loss, LOSS_ROW[name]), **changes)

    def trait(name):
        return np.full_like(problems.trait, TRAIT_ROW[name])

    one_logit = tanh.cells(student("softmax, one logit"), ones, other).largest_step
    head = {"trait_r": class_head(tanh) * problems.trait_r, "trait": trait("linear")}
    unreached = [
        tanh.cells(student(name, **head), ones, other).inner
        for name in ("squared error, auxiliary", "softmax, auxiliary")
    ]
    of_classes = student("softmax, auxiliary", drawn_linear.problems, trait=trait("classes"))
    class_loss = linear.cells(of_classes, ones, drawn_linear.other_start).trait_change
    equal = tanh.cells(student("squared error"), zeros).largest_step
    softmax, bound = softmax_at_equality(3 * problems.gumbel)
    values = [_top(one_logit), _top(np.stack(unreached)), _top(class_loss), _top(equal), softmax]
    return np.array(values), np.array([0.0, 0.0, 0.0, 0.0, bound])


def _top(values: np.ndarray) -> float:
    return float(np.max(np.abs(values)))


def class_head(bench: Bench) -> Float64[np.ndarray, " p"]:
    """Return 1 for the weights and biases of the class logits, 0 for all other parameters."""
    parts = []
    for leaf in jax.tree.leaves(bench.shapes):
        part = np.zeros(leaf.shape)
        if leaf.shape[-1] == N_OUTPUTS:
            part[..., CLASSES] = 1
        parts.append(part.ravel())
    return np.concatenate(parts)


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
    return _top(np.asarray(gradients)), float(3 * g / logits.shape[1])


class Corrections(NamedTuple):
    """What the theorem does not say, in a linear model with two parameters.

    ``opposite_*``: after a step with α = ¼, the change of the teacher's loss, and how far teacher
    and student moved on the other input. ``overshoot_*``: after one with α = 3/2, the change of
    the teacher's loss, and the student's distance from the teacher before and after.
    """

    opposite_trait_change: float
    opposite_teacher_move: float
    opposite_student_move: float
    overshoot_trait_change: float
    overshoot_distance_before: float
    overshoot_distance_after: float


def corrections(epsilon: float = 0.1) -> Corrections:
    """Run the two counterexamples of proofs/README.md, Eq. (27) and (28)."""

    def f(theta: Vector, x: Float[Array, "batch 2"]) -> Float[Array, "batch 1"]:
        return (x @ theta)[:, None]

    def trait(theta):
        return 0.5 * jnp.sum((theta - 1) ** 2)

    with jax.enable_x64(True):
        theta = jnp.zeros(2)
        x, other = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, -2.0]])
        theta_t = teacher(theta, direction(trait, theta), jnp.asarray(epsilon))
        step = one_step(f, squared_error, theta, x, f(theta_t, x))
        short, long = theta + 0.25 * step, theta + 1.5 * step
        numbers = (
            trait(short) - trait(theta),
            f(theta_t, other) - f(theta, other),
            f(short, other) - f(theta, other),
            trait(long) - trait(theta),
            jnp.abs(f(theta, x) - f(theta_t, x)),
            jnp.abs(f(long, x) - f(theta_t, x)),
        )
        return Corrections(*(float(number.squeeze()) for number in numbers))
