"""Losses, the one training loop, and the one way to run many models.

Everything is written for one model; ``over_models`` is the only place that knows of several.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key, PyTree

from subliminal_toy.models import Params

ALL = slice(None)


def _mean(losses, weights):
    if weights is None:
        return losses.mean()
    # A batch without a token that counts teaches nothing: 0, not 0/0.
    return jnp.sum(losses * weights) / jnp.maximum(weights.sum(), jnp.finfo(losses.dtype).tiny)


def cross_entropy(
    logits: Float[Array, "batch outputs"],
    labels: Int[Array, " batch"],
    columns: slice = ALL,
    weights: Float[Array, " batch"] | None = None,
) -> Float[Array, ""]:
    """Return the mean cross-entropy of integer ``labels`` under the chosen columns, in nats.

    With ``weights`` it is the weighted mean over the batch, 0 if all of them are 0.
    """
    losses = optax.softmax_cross_entropy_with_integer_labels(logits[:, columns], labels)
    return _mean(losses, weights)


def kl(
    logits: Float[Array, "batch outputs"],
    teacher_logits: Float[Array, "batch outputs"],
    columns: slice = ALL,
    temperature: float = 1.0,
    weights: Float[Array, " batch"] | None = None,
) -> Float[Array, ""]:
    """Return the batch mean of KL(teacher ‖ student) over the softmax of the chosen columns.

    In nats. Both sides are divided by ``temperature`` first; the mean is weighted by ``weights``
    if they are given. Its gradient in ``logits`` is that
    of the cross-entropy on soft labels, so it is covered by the theorem.
    Source: proofs/README.md, softmax cross-entropy.
    """
    log_q = jax.nn.log_softmax(logits[:, columns] / temperature)
    log_p = jax.nn.log_softmax(teacher_logits[:, columns] / temperature)
    return _mean(jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1), weights)


def squared_error(
    outputs: Float[Array, "batch outputs"],
    targets: Float[Array, "batch outputs"],
    columns: slice = ALL,
    weights: Float[Array, " columns"] | None = None,
) -> Float[Array, ""]:
    """Return the batch mean of Σᵢ wᵢ (zᵢ − yᵢ)² over the chosen columns (weights 1 if None).

    A sum over outputs, not a mean, as in the theorem.
    Source: proofs/README.md, weighted squared error.
    """
    squares = (outputs - targets)[:, columns] ** 2
    return jnp.sum(squares if weights is None else squares * weights[None, :], axis=-1).mean()


def accuracy(
    logits: Float[Array, "batch outputs"], labels: Int[Array, " batch"]
) -> Float[Array, ""]:
    """Return the fraction of examples whose largest logit is the label's."""
    return jnp.mean(jnp.argmax(logits, axis=-1) == labels)


class TrainState(NamedTuple):
    """Parameters and the state of their optimiser, between two calls of ``fit_steps``."""

    params: Params
    opt_state: PyTree


def start(params: Params, tx: optax.GradientTransformation) -> TrainState:
    """Return the state before the first step, with a fresh optimiser."""
    return TrainState(params, tx.init(params))


def fit_steps(
    loss_fn: Callable[[Params, Any], Array],
    state: TrainState,
    tx: optax.GradientTransformation,
    batch_fn: Callable[[Key[Array, ""], Int[Array, ""]], Any],
    key: Key[Array, ""],
    steps: Int[Array, " steps"],
) -> tuple[TrainState, Float[Array, " steps"]]:
    """Take one gradient step for each step number in ``steps`` and return the losses met.

    ``batch_fn(key, step)`` makes or gathers the batch of that step, so that nothing is stored
    that a key can make again. Several models trained on the same batches are one model whose
    ``loss_fn`` is the sum of theirs: Adam and SGD act on every number by itself.
    """

    def one_step(state, step):
        loss, gradient = jax.value_and_grad(loss_fn)(state.params, batch_fn(key, step))
        updates, opt_state = tx.update(gradient, state.opt_state, state.params)
        return TrainState(optax.apply_updates(state.params, updates), opt_state), loss

    return jax.lax.scan(one_step, state, steps)


def fit(
    loss_fn: Callable[[Params, Any], Array],
    params: Params,
    tx: optax.GradientTransformation,
    batch_fn: Callable[[Key[Array, ""], Int[Array, ""]], Any],
    key: Key[Array, ""],
    n_steps: int,
) -> tuple[Params, Float[Array, " steps"]]:
    """Train from ``params`` with a fresh optimiser for ``n_steps``; see ``fit_steps``."""
    state, losses = fit_steps(loss_fn, start(params, tx), tx, batch_fn, key, jnp.arange(n_steps))
    return state.params, losses


def _model_mesh() -> Mesh:
    """Return all devices in a row, models spread along it."""
    return jax.make_mesh((jax.device_count(),), ("model",), axis_types=(AxisType.Auto,))


def on_every_device(arrays: PyTree) -> PyTree:
    """Copy arrays that all models share to every device, once instead of at every call."""
    return jax.device_put(arrays, NamedSharding(_model_mesh(), PartitionSpec()))


def over_models(fn: Callable, n_shared: int = 0, at_once: int = 1) -> Callable:
    """Compile a function of one model into one of many, spread over all devices.

    The first ``n_shared`` arguments are the same for every model; all others, and the results,
    get a leading axis of models; large shared arrays are best passed through
    ``on_every_device`` first. Each device takes its share of the models ``at_once`` at a
    time: 1 is fastest on a CPU (where the command line makes one device of each core), more
    fill a GPU. Their number must be a multiple of ``jax.device_count()``.
    """

    def on_one_device(*args):
        shared, own = args[:n_shared], args[n_shared:]
        # In batches of one the programs would carry an axis of models, and be slower for it.
        batch_size = at_once if at_once > 1 else None
        return jax.lax.map(lambda xs: fn(*shared, *xs), own, batch_size=batch_size)

    @partial(jax.jit)
    def on_all_devices(*args):
        specs = (PartitionSpec(),) * n_shared + (PartitionSpec("model"),) * (len(args) - n_shared)
        return jax.shard_map(
            on_one_device,
            mesh=_model_mesh(),
            in_specs=specs,
            out_specs=PartitionSpec("model"),
            check_vma=False,
        )(*args)

    return on_all_devices
