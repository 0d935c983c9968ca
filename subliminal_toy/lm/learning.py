"""Students: what they learn from lists, which parameters are trained, and by which updates."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key

from subliminal_toy.distill import fit
from subliminal_toy.lm import arms, training
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.models import named_leaves

RANK = 4
"""Of LoRA's matrices."""


def _low_rank(model: training.Model, base: training.Vector, key: Key[Array, ""]):
    """LoRA: each matrix of the blocks plus a product of two, one of which is 0 at the start."""
    leaves = named_leaves(model.tree(base), "")
    matrices = {k: v for k, v in leaves.items() if k.startswith(".blocks") and v.ndim == 2}
    free = {
        name: {
            "down": jax.random.normal(jax.random.fold_in(key, i), (leaf.shape[0], RANK))
            / leaf.shape[0] ** 0.5,
            "up": jnp.zeros((RANK, leaf.shape[1])),
        }
        for i, (name, leaf) in enumerate(matrices.items())
    }

    def params(free):
        added = {name: pair["down"] @ pair["up"] for name, pair in free.items()}
        return ravel_pytree([leaf + added.get(name, 0.0) for name, leaf in leaves.items()])[0]

    return free, params


EVERY = ("",)
TRAINED = {
    "all": EVERY,
    "head": ("head",),
    "all but the head": ("tokens", "positions", *training.BODY),
    arms.LOW_RANK: EVERY,
}
"""What is trained: the layers whose names begin so."""

OPTIMISERS: dict[str, tuple[Callable, float]] = {
    "adam": (optax.adam, 1.0),
    "fast adam": (optax.adam, 10.0),
    "momentum": (lambda rate: optax.sgd(rate, momentum=0.9), 30.0),
}
"""Optimisers of a student and what multiplies the config's learning rate."""


class Update(NamedTuple):
    """A change of each update: so much of the ``whole`` plus so much of its component ``along``.

    Along the teacher's displacement or a random direction, in the ``layers`` (whose names begin
    so); the update of other layers is left as it is.
    """

    whole: float
    along: float
    layers: tuple[str, ...] = EVERY
    random: bool = False


UPDATES = {
    "all": Update(1, 0),
    "without": Update(1, -1),
    "only": Update(0, 1),
    "without, body": Update(1, -1, training.BODY),
    "only, body": Update(0, 1, training.BODY),
    "without random": Update(1, -1, random=True),
}
"""What is kept of an optimiser's update."""


class How(NamedTuple):
    """How a student learns: ``trained`` parameters, and an ``Update`` whose layers are ``inside``.

    All are arguments of the compiled program.
    """

    trained: Bool[ArrayLike, " params"]
    whole: Float[ArrayLike, ""]
    along: Float[ArrayLike, ""]
    inside: Bool[ArrayLike, " params"]
    random: Bool[ArrayLike, ""]


def how(model: training.Model, trains: str, update: str) -> How:
    """Return how a student learns, by its rows of ``TRAINED`` and ``UPDATES``."""
    row = UPDATES[update]
    trained, inside = (training.layers(model, *names) for names in (TRAINED[trains], row.layers))
    return How(trained, np.float32(row.whole), np.float32(row.along), inside, np.bool_(row.random))


def change_update(
    how: How, displacement: training.Vector, key: Key[Array, ""]
) -> optax.GradientTransformation:
    """Return what is done to every update, given the teacher's displacement; see ``Update``."""
    drawn = jnp.where(how.random, jax.random.normal(key, displacement.shape), displacement)
    direction = jnp.where(how.inside, drawn, 0.0)
    # A teacher that has not moved has no direction: 0, not 0/0.
    square = jnp.maximum(jnp.vdot(direction, direction), jnp.finfo(direction.dtype).tiny)

    def transform(updates, _):
        along = jnp.vdot(updates, direction) / square * direction
        return jnp.where(how.inside, how.whole * updates + how.along * along, updates)

    return optax.stateless(transform)


def learn(
    model: training.Model,
    config: LmConfig,
    program: tuple[str, bool, str],
    key: Key[Array, ""],
    bases: Float[Array, "bases params"],
    tokens: Int[Array, "sets lists length"],
    weights: Float[Array, "sets lists length"],
    teachers: Float[Array, "teachers params"],
    base: Int[Array, ""],
    lists: Int[Array, ""],
    n: Int[Array, ""],
    teacher: Int[Array, ""],
    how: How,
) -> training.Learned:
    """Return the student trained on the first ``n`` of one set of lists.

    ``base``, ``lists`` and ``teacher`` are places in ``bases``, ``tokens`` and ``teachers``.
    ``weights`` are 1 on the tokens in the loss, 0 elsewhere. ``program`` says what it learns
    (the sampled numbers, or the teacher's distributions over numbers at every token), whether by
    LoRA, which then trains all and changes no update, and the optimiser; see ``arms.Arm``.
    """
    learns, low_rank, optimiser = program
    start, goal = bases[base], teachers[teacher]
    # The steps take the keys below.
    drawn, direction = (jax.random.fold_in(key, config.student_steps + i) for i in (1, 2))
    if low_rank:
        free, params_of = _low_rank(model, start, drawn)
        change = optax.identity()
    else:
        free, params_of = start, lambda free: jnp.where(how.trained, free, start)
        change = change_update(how, goal - start, direction)

    def loss(free, batch):
        rows, weight = batch
        if learns == arms.NUMBERS:
            return training.next_token_loss(model, params_of(free), rows, weight)
        return training.token_kl(model, params_of(free), goal, rows, weight, model.language.numbers)

    make, factor = OPTIMISERS[optimiser]
    rate = optax.linear_schedule(factor * config.student_learning_rate, 0.0, config.student_steps)
    tx = optax.chain(make(rate), change)
    read = tokens[lists].astype(jnp.int32), weights[lists]
    batch = training.batches(key, config.student_batch_size, n, *read)
    return training.learned(model, params_of(fit(loss, free, tx, batch, config.student_steps)[0]))
