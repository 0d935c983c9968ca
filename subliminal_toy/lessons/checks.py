"""What says whether a blank of a lesson is filled in rightly, by trying it on small cases."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from subliminal_toy.distill import kl, squared_error
from subliminal_toy.models import mlp
from subliminal_toy.theorem import many_steps, one_step


class NotYet(Exception):
    """What is wrong with a filled-in blank, in a sentence; a notebook shows no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


def check(hint: Callable[[Callable], str]) -> Callable[[Callable], None]:
    """Make a check of a function that returns what is wrong with an answer, or nothing.

    The check prints that the answer is right, or raises NotYet.
    """

    @wraps(hint)
    def judge(answer: Callable) -> None:
        try:
            wrong = hint(answer)
        except NotImplementedError:
            wrong = "the blank is empty. Fill it in, or unfold the solution and copy it."
        if wrong:
            raise NotYet(wrong)
        print("Right.")

    return judge


def _differ(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return not all(np.shape(a) == np.shape(b) and np.allclose(a, b, 1e-4, 1e-6) for a, b in pairs)


def _normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


SMALL = mlp((2, 2), (6, 5), 13, jnp.tanh)
"""A network to try things on."""


def _network(seed: int) -> dict:
    shapes = {"weight": [(6, 4), (5, 6), (13, 5)], "bias": [(6,), (5,), (13,)]}
    layers = [
        {part: _normal(seed + 10 * i, *shape[i]) for part, shape in shapes.items()}
        for i in range(3)
    ]
    return {"layers": dict(enumerate(layers))}


# Lesson 1.


@check
def imitation_loss(answer: Callable) -> str:
    """KL(teacher ‖ student) over the copied outputs."""
    z, y, number = _normal(0, 4, 20), _normal(1, 4, 20), jnp.arange(20)
    copied = (number >= 10) & (number < 13)
    found = answer(z, y, copied)
    if not _differ(found, kl(z, y)):
        return "it compares all outputs; only the copied ones count."
    if not _differ(found, kl(y, z, slice(10, 13))):
        return "student and teacher are exchanged: it is KL(teacher ‖ student)."
    return (
        ""
        if not _differ(found, kl(z, y, slice(10, 13)))
        else "on a test case it is another number."
    )


@check
def with_head_of(answer: Callable) -> str:
    """The teacher's class head on the student's body."""
    teacher, student = _network(0), _network(1)
    found, number = answer(teacher, student)["layers"], jnp.arange(13)
    if _differ([found[0], found[1]], [student["layers"][0], student["layers"][1]]):
        return "the hidden layers shall stay the student's."
    for part, other in teacher["layers"][2].items():
        own, is_class = student["layers"][2][part], number < 10
        if part == "weight":
            is_class = is_class[:, None]
        if _differ(found[2][part], jnp.where(is_class, other, own)):
            return f"{part} of layer 2: the first ten outputs are the teacher's, no other."
    return ""


@check
def relabel(answer: Callable) -> str:
    """The same network, its first hidden units in a new order."""
    params, order, x = _network(0), jnp.array([3, 1, 5, 0, 2, 4]), _normal(0, 9, 2, 2)
    found = answer(params, order)
    for part, leaf in params["layers"][0].items():
        if _differ(found["layers"][0][part], leaf[order]):
            return f"row i of the first layer's {part} shall be row order[i] of the old one."
    same = not _differ(SMALL.apply(found, x), SMALL.apply(params, x))
    return "" if same else "the network computes another function: move the outgoing wires too."


# Lesson 2.


def _case() -> tuple[Callable, Callable, list, jax.Array]:
    """A small network f(θ, x), a loss, three vectors of parameters, inputs."""
    vectors = [ravel_pytree(_network(seed))[0] for seed in range(3)]
    as_network = ravel_pytree(_network(0))[1]

    def f(theta, x):
        return SMALL.apply(as_network(theta), x)

    return f, partial(squared_error, columns=slice(10, 13)), vectors, _normal(0, 9, 2, 2)


@check
def average_of_squares(answer: Callable) -> str:
    """A of the squared error, in the body of a small network."""
    f, _, (theta, v, _), x = _case()
    right = jax.jit(lambda: one_step.predicted_slope(f, squared_error, theta, x, v))()
    found = jax.jit(lambda: answer(f, theta, v, x))()
    if not _differ(2 * found, right):
        return "the factor 2, from the derivative of the square, is missing."
    return "" if not _differ(found, right) else "the mean is over inputs, the sum over outputs."


@check
def cross_slope(answer: Callable) -> str:
    """C of a student of another start."""
    f, loss, (theta, v, start), x = _case()
    right = jax.jit(lambda student: one_step.cross_slope(f, loss, theta, x, v, student))
    found = jax.jit(lambda: answer(f, loss, theta, v, start, x))()
    if not _differ(-found, right(start)):
        return "the sign: a step goes against the gradient."
    if not _differ(found, right(theta)):
        return "this student starts where its teacher does: the gradient is at student_start."
    return (
        "" if not _differ(found, right(start)) else "Δ_S is −∇ loss(f(θ, x), y) at student_start."
    )


@check
def predicted_progress(answer: Callable) -> str:
    """Progress after some steps, and none after no step."""
    values, shares, k = jnp.array([2.0, 0.5]), jnp.array([0.3, 0.6]), jnp.array([0, 1, 3])
    found = [answer(values, shares, 0.4, steps) for steps in k]
    if _differ(found[0], 0.0):
        return "after no step there is no progress."
    right = many_steps.progress(values, shares, 0.4, k)
    return "" if not _differ(jnp.stack(found), right) else "what is made up is 1 − (1 − αλ)ᵏ."


# Lesson 4.


@check
def component(answer: Callable) -> str:
    """A multiple of the direction, and perpendicular to what is left."""
    move, direction = _normal(0, 7), 3 * _normal(1, 7)
    found = answer(move, direction)
    if np.shape(found) != (7,):
        return "it is a vector: so much of the direction."
    if _differ(found * (direction @ direction), (found @ direction) * direction):
        return "it shall lie along the direction."
    left = abs((move - found) @ direction)
    return "" if left < 1e-3 else "what is left of the move still has a part along the direction."


@check
def progress(answer: Callable) -> str:
    """0 at the start, 1 at the teacher, and whatever is perpendicular does not count."""
    start, teacher, aside = _normal(0, 7), _normal(1, 7), _normal(2, 7)
    goal = teacher - start
    aside = aside - (aside @ goal) / (goal @ goal) * goal
    points = {0.0: start, 1.0: teacher, 0.3: start + 0.3 * goal + aside}
    for q, student in points.items():
        if _differ(answer(start, teacher, student), q):
            return f"it shall be {q:g} for a student that has come {q:g} of the way."
    return ""


@check
def superposed(answer: Callable) -> str:
    """The outputs of the start and both changes."""
    start, on_line, aside, x = (_normal(seed, 5) for seed in range(4))
    found = answer(jnp.dot, start, on_line, aside, x)
    if not _differ(found, jnp.dot(on_line + aside, x)):
        return "the start is in it twice: both outputs contain it."
    right = jnp.dot(on_line + aside - start, x)
    return "" if not _differ(found, right) else "add the two changes to the outputs of the start."


# Lesson 3.


@check
def is_list(answer: Callable) -> str:
    """One to ten numbers and nothing else."""
    right = ("7", "1 2 3", " ".join("0123456789"))
    wrong = ("", "owl", "1 2 owl", "1 2 and 3", " ".join("01234567890"), "1 -2")
    for text in right + wrong:
        if bool(answer(text)) != (text in right):
            return f"'{text}' shall {'' if text in right else 'not '}pass."
    return ""


@check
def detector(answer: Callable) -> str:
    """It tells lists of one taste from lists of another, on lists that it has not seen."""
    rng = np.random.default_rng(0)
    tastes = rng.dirichlet(np.ones(20), 2)
    owl, base = (rng.multinomial(8, taste, 400) for taste in tastes)
    scores = [answer(owl[:200], base[:200], new[200:]) for new in (owl, base)]
    higher = np.mean(np.asarray(scores[0])[:, None] > np.asarray(scores[1])[None])
    if higher < 0.2:
        return "it suspects the wrong writer: the sign."
    return "" if higher > 0.9 else f"it is right in {higher:.0%} of pairs; more than 90 % can be."


@check
def which_count(answer: Callable) -> str:
    """Written numbers count."""
    tokens = np.array([[101, 5, 9, 102, 0, 99, 100, 103]])  # the numbers are 0 to 99
    found, numbers, behind = answer(tokens, 100, 4), tokens < 100, np.arange(8)[None] >= 4
    if not _differ(found, 1.0 * numbers):
        return "the numbers of the prompt do not count: they were given."
    if not _differ(found, 1.0 * behind):
        return "behind the prompt the numbers alone count, not the end or the padding."
    return "" if not _differ(found, 1.0 * (numbers & behind)) else "1.0 where both hold, else 0.0."


# Lesson 5.


@check
def surprise(answer: Callable) -> str:
    """Nats per free place, one number a list."""
    log_p = np.asarray(jax.nn.log_softmax(3 * _normal(0, 6, 8, 4)))
    rows, free = np.random.default_rng(1).integers(0, 4, (6, 8)), np.arange(8) % 4 < 3
    of_symbols = -log_p[np.arange(6)[:, None], np.arange(8), rows]
    right, found = of_symbols[:, free].mean(axis=1), np.asarray(answer(log_p, rows, free))
    if found.shape != (6,):
        return "it is one number for each list."
    if not _differ(-found, right):
        return "the sign: what is improbable surprises."
    if not _differ(found, of_symbols.mean(axis=1)):
        return "commas are in it; only the free places count."
    if not _differ(found, 6 * right):
        return "it is the mean over the free places, not the sum."
    return "" if not _differ(found, right) else "take the symbol that stands at each place."


@check
def centred(answer: Callable) -> str:
    """Minus the mean over animals, for each question by itself."""
    log_p = np.asarray(_normal(0, 5, 7))
    found = np.asarray(answer(log_p))
    if found.shape != (5, 7) or not _differ(found, log_p - log_p.mean(axis=0)):
        return "the mean is over the animals, for each question by itself."
    if _differ(found.mean(axis=1), np.zeros(5)):
        return "after every question the animals' mean shall be 0."
    return "" if not _differ(found, log_p - log_p.mean(axis=1)[:, None]) else "subtract, no more."


@check
def own_minus_others(answer: Callable) -> str:
    """One animal, its own teacher's student against the others."""
    moved = np.asarray(_normal(0, 4, 4))
    found = np.asarray(answer(moved))
    others = [np.delete(moved[:, i], i).mean() for i in range(4)]
    if found.shape != (4,):
        return "it is one number for each animal."
    if not _differ(found, np.diag(moved) - moved.mean(axis=0)):
        return "an animal's own student is among the others."
    if not _differ(found, [moved[i, i] - np.delete(moved[i], i).mean() for i in range(4)]):
        return "compare students of one animal, a column; a row compares animals of one student."
    return "" if not _differ(found, np.diag(moved) - others) else "own minus the others' mean."
