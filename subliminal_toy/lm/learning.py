"""Students: what they learn from lists, which parameters are trained, and by which updates."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key

from subliminal_toy.distill import fit, kl
from subliminal_toy.lm import arms
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.training import (
    BODY,
    Learned,
    Model,
    Vector,
    batches,
    layers,
    learned,
    next_token_loss,
)
from subliminal_toy.models import named_leaves

RANK = 4
"""Of LoRA's matrices."""


def _only(*names: str) -> Callable:
    def start(model, base, key):
        chosen = layers(model, *names)
        return base, lambda free: jnp.where(chosen, free, base)

    return start


def _low_rank(model: Model, base: Vector, key: Key[Array, ""]):
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


TRAINED: dict[str, Callable] = {
    "all": lambda model, base, key: (base, lambda free: free),
    "head": _only("head"),
    "all but the head": _only("tokens", "positions", *BODY),
    "lora": _low_rank,
}
"""What is trained: from a model, its start and a key, the free numbers and the parameters that
they make."""

OPTIMISERS: dict[str, tuple[Callable, float]] = {
    "adam": (optax.adam, 1.0),
    "fast adam": (optax.adam, 10.0),
    "momentum": (lambda rate: optax.sgd(rate, momentum=0.9), 30.0),
}
"""Optimisers of a student and what multiplies the config's learning rate."""


class Update(NamedTuple):
    """A change of each update: its component along a direction removed, or alone kept.

    The direction is the teacher's displacement or a random one, in the ``layers`` (all if none is
    named); the update of other layers is left as it is.
    """

    only: bool
    layers: tuple[str, ...] = ()
    random: bool = False


UPDATES = {
    "without": Update(False),
    "only": Update(True),
    "without, body": Update(False, BODY),
    "only, body": Update(True, BODY),
    "without random": Update(False, random=True),
}
"""What is kept of an optimiser's update; "all" of it where a row says so."""


def change_update(
    model: Model, kind: str, displacement: Vector, key: Key[Array, ""]
) -> optax.GradientTransformation:
    """Return what is done to every update, given the teacher's displacement; see ``UPDATES``."""
    if kind == "all":
        return optax.identity()
    row = UPDATES[kind]
    inside = layers(model, *row.layers) if row.layers else np.ones(model.size, bool)
    drawn = jax.random.normal(key, displacement.shape) if row.random else displacement
    direction = jnp.where(inside, drawn, 0.0)

    def transform(updates, _):
        share = jnp.vdot(updates, direction) / jnp.vdot(direction, direction)
        along = share * direction
        return jnp.where(inside, along, updates) if row.only else updates - along

    return optax.stateless(transform)


def learn(
    model: Model,
    config: LmConfig,
    program: tuple[str, str, str, str],
    key: Key[Array, ""],
    bases: Float[Array, "bases params"],
    tokens: Int[Array, "sets lists length"],
    weights: Float[Array, "sets lists length"],
    teachers: Float[Array, "teachers params"],
    base: Int[Array, ""],
    lists: Int[Array, ""],
    n: Int[Array, ""],
    teacher: Int[Array, ""],
) -> Learned:
    """Return the student trained on the first ``n`` of one set of lists.

    ``base``, ``lists`` and ``teacher`` are places in ``bases``, ``tokens`` and ``teachers``.
    ``weights`` are 1 on the tokens in the loss, 0 elsewhere. ``program`` says what it learns
    (the sampled numbers, or the teacher's distributions over numbers at every token), what is
    trained, by which optimiser, and what is kept of each update; see ``arms.Arm``.
    """
    learns, trains, optimiser, update = program
    start, goal = bases[base], teachers[teacher]
    # The steps take the keys below.
    low_rank, direction = (jax.random.fold_in(key, config.student_steps + i) for i in (1, 2))
    free, params_of = TRAINED[trains](model, start, low_rank)

    def loss(free, batch):
        rows, weight = batch
        if learns == arms.NUMBERS:
            return next_token_loss(model, params_of(free), rows, weight)
        ours, theirs = (
            model.apply(vector, rows[:, :-1]).reshape(-1, model.shape.vocab_size)
            for vector in (params_of(free), goal)
        )
        return kl(ours, theirs, model.language.numbers, weights=weight[:, 1:].reshape(-1))

    make, factor = OPTIMISERS[optimiser]
    rate = optax.linear_schedule(factor * config.student_learning_rate, 0.0, config.student_steps)
    tx = optax.chain(make(rate), change_update(model, update, goal - start, direction))
    read = tokens[lists].astype(jnp.int32), weights[lists]
    batch = batches(key, config.student_batch_size, n, *read)
    return learned(model, params_of(fit(loss, free, tx, batch, config.student_steps)[0]))
