"""What says whether a blank of a lesson is filled in rightly, by trying it on small cases."""

from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from subliminal_toy.distill import kl, squared_error
from subliminal_toy.models import mlp
from subliminal_toy.theorem import many_steps, one_step

Faults = Iterator[tuple[Any, str]]
"""Whether a fault was found, and the sentence that says so, one after the other."""


class NotYet(Exception):
    """What is wrong with a filled-in blank, in a sentence; a notebook shows no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


def check(faults: Callable[[Callable], Faults]) -> Callable[[Callable], None]:
    """Make a check of what yields the faults that an answer may have; the first found counts.

    The check prints that the answer is right, or raises NotYet.
    """

    @wraps(faults)
    def judge(answer: Callable) -> None:
        try:
            wrong = next((sentence for found, sentence in faults(answer) if found), "")
        except NotImplementedError:
            wrong = "the blank is empty. Fill it in, or unfold the solution and copy it."
        if wrong:
            raise NotYet(wrong)
        print("Right.")

    return judge


def _same(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.shape(a) == np.shape(b) and np.allclose(a, b, 1e-4, 1e-6) for a, b in pairs)


def _normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


SMALL = mlp((2, 2), (6, 5), 13, jnp.tanh)
"""A network to try things on."""


def _network(seed: int) -> dict:
    shapes = [((6, 4), (6,)), ((5, 6), (5,)), ((13, 5), (13,))]
    return {"layers": {
        i: {"weight": _normal(seed + 10 * i, *weight), "bias": _normal(seed + 10 * i, *bias)}
        for i, (weight, bias) in enumerate(shapes)
    }}  # fmt: skip


# Lesson 1.


@check
def imitation_loss(answer: Callable) -> Faults:
    """KL(teacher ‖ student) over the copied outputs."""
    z, y, number = _normal(0, 4, 20), _normal(1, 4, 20), jnp.arange(20)
    found = answer(z, y, (number >= 10) & (number < 13))
    yield _same(found, kl(z, y)), "it compares all outputs; only the copied ones count."
    exchanged = _same(found, kl(y, z, slice(10, 13)))
    yield exchanged, "student and teacher are exchanged: it is KL(teacher ‖ student)."
    yield not _same(found, kl(z, y, slice(10, 13))), "on a test case it is another number."


@check
def with_head_of(answer: Callable) -> Faults:
    """The teacher's class head on the student's body."""
    teacher, student = _network(0)["layers"], _network(1)["layers"]
    found, number = answer({"layers": teacher}, {"layers": student})["layers"], jnp.arange(13)
    body = _same([found[0], found[1]], [student[0], student[1]])
    yield not body, "the hidden layers shall stay the student's."
    for part, is_class in (("weight", number[:, None] < 10), ("bias", number < 10)):
        right = jnp.where(is_class, teacher[2][part], student[2][part])
        fault = f"{part} of layer 2: the first ten outputs are the teacher's, no other."
        yield not _same(found[2][part], right), fault


@check
def relabel(answer: Callable) -> Faults:
    """The same network, its first hidden units in a new order."""
    params, order, x = _network(0), jnp.array([3, 1, 5, 0, 2, 4]), _normal(0, 9, 2, 2)
    found = answer(params, order)
    for part, leaf in params["layers"][0].items():
        fault = f"row i of the first layer's {part} shall be row order[i] of the old one."
        yield not _same(found["layers"][0][part], leaf[order]), fault
    same = _same(SMALL.apply(found, x), SMALL.apply(params, x))
    yield not same, "the network computes another function: move the outgoing wires too."


# Lesson 2.


def _case() -> tuple[Callable, Callable, list, jax.Array]:
    """A small network f(θ, x), a loss, three vectors of parameters, inputs."""
    vectors = [ravel_pytree(_network(seed))[0] for seed in range(3)]
    as_network = ravel_pytree(_network(0))[1]

    def f(theta, x):
        return SMALL.apply(as_network(theta), x)

    return f, partial(squared_error, columns=slice(10, 13)), vectors, _normal(0, 9, 2, 2)


@check
def average_of_squares(answer: Callable) -> Faults:
    """A of the squared error, in the body of a small network."""
    f, _, (theta, v, _), x = _case()
    right = jax.jit(lambda: one_step.predicted_slope(f, squared_error, theta, x, v))()
    found = jax.jit(lambda: answer(f, theta, v, x))()
    half = _same(2 * found, right)
    yield half, "the factor 2, from the derivative of the square, is missing."
    yield not _same(found, right), "the mean is over inputs, the sum over outputs."


@check
def cross_slope(answer: Callable) -> Faults:
    """C of a student of another start."""
    f, loss, (theta, v, start), x = _case()
    right = jax.jit(lambda student: one_step.cross_slope(f, loss, theta, x, v, student))
    found = jax.jit(lambda: answer(f, loss, theta, v, start, x))()
    yield _same(-found, right(start)), "the sign: a step goes against the gradient."
    own = "this student starts where its teacher does: the gradient is at student_start."
    yield _same(found, right(theta)), own
    yield not _same(found, right(start)), "Δ_S is −∇ loss(f(θ, x), y) at student_start."


@check
def predicted_progress(answer: Callable) -> Faults:
    """Progress after some steps, and none after no step."""
    values, shares, k = jnp.array([2.0, 0.5]), jnp.array([0.3, 0.6]), jnp.array([0, 1, 3])
    found = jnp.stack([answer(values, shares, 0.4, steps) for steps in k])
    yield not _same(found[0], 0.0), "after no step there is no progress."
    right = many_steps.progress(values, shares, 0.4, k)
    yield not _same(found, right), "what is made up is 1 − (1 − αλ)ᵏ."


# Lesson 4.


@check
def component(answer: Callable) -> Faults:
    """A multiple of the direction, and perpendicular to what is left."""
    move, direction = _normal(0, 7), 3 * _normal(1, 7)
    found = answer(move, direction)
    yield np.shape(found) != (7,), "it is a vector: so much of the direction."
    along = _same(found * (direction @ direction), (found @ direction) * direction)
    yield not along, "it shall lie along the direction."
    left = abs((move - found) @ direction)
    yield not left < 1e-3, "what is left of the move still has a part along the direction."


@check
def progress(answer: Callable) -> Faults:
    """0 at the start, 1 at the teacher, and whatever is perpendicular does not count."""
    start, teacher, aside = _normal(0, 7), _normal(1, 7), _normal(2, 7)
    goal = teacher - start
    aside = aside - (aside @ goal) / (goal @ goal) * goal
    points = {0.0: start, 1.0: teacher, 0.3: start + 0.3 * goal + aside}
    for q, student in points.items():
        fault = f"it shall be {q:g} for a student that has come {q:g} of the way."
        yield not _same(answer(start, teacher, student), q), fault


@check
def superposed(answer: Callable) -> Faults:
    """The outputs of the start and both changes."""
    start, on_line, aside, x = (_normal(seed, 5) for seed in range(4))
    found = answer(jnp.dot, start, on_line, aside, x)
    twice = _same(found, jnp.dot(on_line + aside, x))
    yield twice, "the start is in it twice: both outputs contain it."
    right = jnp.dot(on_line + aside - start, x)
    yield not _same(found, right), "add the two changes to the outputs of the start."


# Lesson 3.


@check
def is_list(answer: Callable) -> Faults:
    """One to ten numbers and nothing else."""
    right = ("7", "1 2 3", " ".join("0123456789"))
    wrong = ("", "owl", "1 2 owl", "1 2 and 3", " ".join("01234567890"), "1 -2")
    for text in right + wrong:
        fault = f"'{text}' shall {'' if text in right else 'not '}pass."
        yield bool(answer(text)) != (text in right), fault


@check
def detector(answer: Callable) -> Faults:
    """It tells lists of one taste from lists of another, on lists that it has not seen."""
    rng = np.random.default_rng(0)
    tastes = rng.dirichlet(np.ones(20), 2)
    owl, base = (rng.multinomial(8, taste, 400) for taste in tastes)
    scores = [answer(owl[:200], base[:200], new[200:]) for new in (owl, base)]
    higher = np.mean(np.asarray(scores[0])[:, None] > np.asarray(scores[1])[None])
    yield higher < 0.2, "it suspects the wrong writer: the sign."
    yield higher <= 0.9, f"it is right in {higher:.0%} of pairs; more than 90 % can be."


@check
def which_count(answer: Callable) -> Faults:
    """Written numbers count."""
    tokens = np.array([[101, 5, 9, 102, 0, 99, 100, 103]])  # the numbers are 0 to 99
    found, numbers, behind = answer(tokens, 100, 4), tokens < 100, np.arange(8)[None] >= 4
    given = "the numbers of the prompt do not count: they were given."
    yield _same(found, 1.0 * numbers), given
    alone = "behind the prompt the numbers alone count, not the end or the padding."
    yield _same(found, 1.0 * behind), alone
    yield not _same(found, 1.0 * (numbers & behind)), "1.0 where both hold, else 0.0."


# Lesson 5.


@check
def surprise(answer: Callable) -> Faults:
    """Nats per free place, one number a list."""
    log_p = np.asarray(jax.nn.log_softmax(3 * _normal(0, 6, 8, 4)))
    rows, free = np.random.default_rng(1).integers(0, 4, (6, 8)), np.arange(8) % 4 < 3
    of_symbols = -log_p[np.arange(6)[:, None], np.arange(8), rows]
    right, found = of_symbols[:, free].mean(axis=1), np.asarray(answer(log_p, rows, free))
    yield found.shape != (6,), "it is one number for each list."
    yield _same(-found, right), "the sign: what is improbable surprises."
    all_places = _same(found, of_symbols.mean(axis=1))
    yield all_places, "commas are in it; only the free places count."
    yield _same(found, 6 * right), "it is the mean over the free places, not the sum."
    yield not _same(found, right), "take the symbol that stands at each place."


@check
def centred(answer: Callable) -> Faults:
    """Minus the mean over animals, for each question by itself."""
    log_p = np.asarray(_normal(0, 5, 7))
    found = np.asarray(answer(log_p))
    of_questions = found.shape != (5, 7) or _same(found, log_p - log_p.mean(axis=0))
    yield of_questions, "the mean is over the animals, for each question by itself."
    mean = _same(found.mean(axis=1), np.zeros(5))
    yield not mean, "after every question the animals' mean shall be 0."
    yield not _same(found, log_p - log_p.mean(axis=1)[:, None]), "subtract, no more."


@check
def own_minus_others(answer: Callable) -> Faults:
    """One animal, its own teacher's student against the others."""
    moved = np.asarray(_normal(0, 4, 4))
    found = np.asarray(answer(moved))
    others = [np.delete(moved[:, i], i).mean() for i in range(4)]
    of_student = [moved[i, i] - np.delete(moved[i], i).mean() for i in range(4)]
    yield found.shape != (4,), "it is one number for each animal."
    among = _same(found, np.diag(moved) - moved.mean(axis=0))
    yield among, "an animal's own student is among the others."
    row = "compare students of one animal, a column; a row compares animals of one student."
    yield _same(found, of_student), row
    yield not _same(found, np.diag(moved) - others), "own minus the others' mean."
