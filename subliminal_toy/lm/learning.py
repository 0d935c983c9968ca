"""Students: what they learn from lists, which parameters are trained, and by which updates."""

from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key

from subliminal_toy.distill import fit
from subliminal_toy.lm import model as lm
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.models import named_leaves

Number = Any
"""A number of a row, or what JAX puts in its place: an array of all rows, a tracer."""
OPTIMISERS = {"adam": optax.adam, "momentum": lambda rate: optax.sgd(rate, momentum=0.9)}


def _static(default: Any) -> Any:
    """Return a field that is no leaf of its row: another value compiles another program."""
    return field(default=default, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Update:
    """What is kept of an update: so much of the ``whole`` and of its component ``along``.

    Along the teacher's displacement, or a ``random`` direction, in the ``layers`` whose names begin
    so; the update of other layers is left as it is.
    """

    whole: Number
    along: Number
    layers: tuple[str, ...] = _static(lm.EVERY)
    random: bool = _static(False)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Training:
    """How a student learns."""

    targets: Literal["numbers", "distributions"] = _static("numbers")
    """The sampled numbers, or the teacher's distributions over numbers at every token."""
    counted: Literal["numbers", "whole lists"] = _static("numbers")
    """The loss: a mean over numbers; or the sum over a list, its end too, as a mean over lists."""
    optimiser: str = _static("adam")
    """A row of ``OPTIMISERS``."""
    rate: Number = 1.0
    """First learning rate, times the config's."""
    layers: tuple[str, ...] = _static(lm.EVERY)
    """Layers that are trained: those whose names begin so."""
    rank: int = _static(0)
    """Of LoRA's matrices, which are then trained alone; 0: the weights themselves are trained."""
    update: Update | None = None
    """A change of every update of the optimiser."""


def _low_rank(model: lm.Model, base: lm.Vector, rank: int, key: Key[Array, ""]):
    """LoRA: each matrix of the blocks plus a product of two, one of which is 0 at the start."""
    leaves = named_leaves(model.tree(base), "")
    matrices = {k: v for k, v in leaves.items() if k.startswith(".blocks") and v.ndim == 2}
    free = {
        name: {
            "down": jax.random.normal(jax.random.fold_in(key, i), (leaf.shape[0], rank))
            / leaf.shape[0] ** 0.5,
            "up": jnp.zeros((rank, leaf.shape[1])),
        }
        for i, (name, leaf) in enumerate(matrices.items())
    }

    def params(free):
        added = {name: pair["down"] @ pair["up"] for name, pair in free.items()}
        return ravel_pytree([leaf + added.get(name, 0.0) for name, leaf in leaves.items()])[0]

    return free, params


def change_updates(
    model: lm.Model, kept: Update, displacement: lm.Vector, key: Key[Array, ""]
) -> optax.GradientTransformation:
    """Return what is done to every update, given the teacher's displacement; see ``Update``."""
    inside = lm.layers(model, *kept.layers)
    drawn = jax.random.normal(key, displacement.shape) if kept.random else displacement
    direction = jnp.where(inside, drawn, 0.0)
    # A teacher that has not moved has no direction: 0, not 0/0.
    square = jnp.maximum(jnp.vdot(direction, direction), jnp.finfo(direction.dtype).tiny)

    def transform(updates, _):
        along = jnp.vdot(updates, direction) / square * direction
        return jnp.where(inside, kept.whole * updates + kept.along * along, updates)

    return optax.stateless(transform)


def learn(
    model: lm.Model,
    config: LmConfig,
    key: Key[Array, ""],
    training: Training,
    base: lm.Vector,
    teacher: Float[Array, " teacher_params"],
    tokens: Int[Array, "lists length"],
    weights: Float[Array, "lists length"],
    n: Int[Array, ""],
) -> lm.Learned:
    """Return the student: ``base`` trained on the first ``n`` lists.

    ``weights`` are 1 on the tokens in the loss, 0 elsewhere. The ``teacher`` is used for its
    distributions and the direction of its displacement.
    """
    tokens, change = tokens.astype(jnp.int32), optax.identity()
    # The steps take the keys below.
    drawn, direction = (jax.random.fold_in(key, config.student_steps + i) for i in (1, 2))
    if training.rank:
        free, params_of = _low_rank(model, base, training.rank, drawn)
    else:
        trained = lm.layers(model, *training.layers)
        free, params_of = base, lambda free: jnp.where(trained, free, base)
    if training.update is not None:
        change = change_updates(model, training.update, teacher - base, direction)

    def loss(free, batch):
        params, (tokens, weights) = params_of(free), batch
        if training.counted == "whole lists":
            of_token = lm.next_token_loss(model, params, tokens, weights)
            return of_token * weights[:, 1:].sum() / len(weights)
        if training.targets == "numbers":
            return lm.next_token_loss(model, params, tokens, weights)
        return lm.token_kl(model, teacher, tokens, weights, params, model.language.numbers)

    first_rate = training.rate * config.student_learning_rate
    rate = optax.linear_schedule(first_rate, 0.0, config.student_steps)
    tx = optax.chain(OPTIMISERS[training.optimiser](rate), change)
    batch = lm.batches(key, config.student_batch_size, n, tokens, weights)
    return lm.learned(model, params_of(fit(loss, free, tx, batch, config.student_steps)[0]))
