"""Losses, the one training loop, and ``ensemble``: one replicate's function run for many.

Everything is written for one replicate; only ``ensemble`` knows of several, and of devices.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

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
    temperature: Float[Array, ""] | float = 1.0,
    weights: Float[Array, " batch"] | None = None,
) -> Float[Array, ""]:
    """Return the batch mean of KL(teacher ‖ student) over the softmax of the chosen columns.

    In nats; both sides are divided by ``temperature`` first, and ``weights`` weight the mean.
    Source: proofs/README.md, softmax cross-entropy, whose gradient in ``logits`` is the same.
    """
    log_q = jax.nn.log_softmax(logits[:, columns] / temperature)
    log_p = jax.nn.log_softmax(teacher_logits[:, columns] / temperature)
    return _mean(optax.losses.kl_divergence_with_log_targets(log_q, log_p), weights)


def squared_error(
    outputs: Float[Array, "batch outputs"],
    targets: Float[Array, "batch outputs"],
    columns: slice = ALL,
    weights: Float[Array, " columns"] | None = None,
) -> Float[Array, ""]:
    """Return the batch mean of Σᵢ wᵢ (zᵢ − yᵢ)² over the chosen columns (weights 1 if None).

    Source: proofs/README.md, weighted squared error.
    """
    squares = (outputs - targets)[:, columns] ** 2
    return jnp.sum(squares if weights is None else squares * weights[None, :], axis=-1).mean()


def accuracy(
    logits: Float[Array, "batch outputs"], labels: Int[Array, " batch"]
) -> Float[Array, ""]:
    """Return the fraction of examples whose largest logit is the label's."""
    return jnp.mean(jnp.argmax(logits, axis=-1) == labels)


def fit(
    loss_fn: Callable[[Params, Any], Array],
    params: Params,
    tx: optax.GradientTransformation,
    batch_fn: Callable[[Int[Array, ""]], Any],
    n_steps: int,
) -> tuple[Params, Float[Array, " steps"]]:
    """Train for ``n_steps`` with a fresh optimiser; return parameters and the loss before each.

    ``batch_fn(step)`` makes or gathers the batch of that step, closed over its own key or data.
    Several networks trained on the same batches are one network whose ``loss_fn`` is the sum of
    theirs: Adam and SGD act on each number by itself.
    """
    one = partial(_one_step, loss_fn, tx, batch_fn)
    (params, _), losses = jax.lax.scan(one, (params, tx.init(params)), jnp.arange(n_steps))
    return params, losses


def snapshots(
    loss_fn: Callable[[Params, Any], Array],
    params: Params,
    tx: optax.GradientTransformation,
    batch_fn: Callable[[Int[Array, ""]], Any],
    checkpoints: Sequence[int] | Int[Array, " checkpoints"],
) -> Params:
    """Train as ``fit`` and return the parameters after so many steps, first axis ``checkpoints``.

    ``checkpoints`` ascend. The program does not grow with their number.
    """

    def until(carry, checkpoint):
        def one(step, state):
            return _one_step(loss_fn, tx, batch_fn, state, step)[0]

        done, state = carry
        state = jax.lax.fori_loop(done, checkpoint, one, state)
        return (checkpoint, state), state[0]

    begin = (jnp.int32(0), (params, tx.init(params)))
    return jax.lax.scan(until, begin, jnp.asarray(checkpoints, jnp.int32))[1]


def _one_step(loss_fn, tx, batch_fn, state, step):
    params, opt_state = state
    loss, gradient = jax.value_and_grad(loss_fn)(params, batch_fn(step))
    updates, opt_state = tx.update(gradient, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), loss


def on_cpu() -> contextlib.AbstractContextManager:
    """Send computations to the CPU, wherever others go."""
    if jax.default_backend() == "cpu":
        return contextlib.nullcontext()
    return jax.default_device(jax.local_devices(backend="cpu")[0])


def stack(items: Iterable[Any]) -> Any:
    """Return pytrees of arrays or numbers as one, the items along a new first axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *items)


def ensemble(fn: Callable, n_shared: int = 0, replicates_per_device: int | None = None) -> Callable:
    """Return ``fn``, a function of one replicate, compiled for many and spread over all devices.

    The first ``n_shared`` arguments are the same for every replicate; all others, and the results,
    get a leading axis of replicates, of any length. Results are NumPy arrays, on every host. A
    device works on ``replicates_per_device`` at once: by default 1 on a CPU and 64 elsewhere.
    """
    everywhere, split = PartitionSpec(), PartitionSpec("replicate")

    @jax.jit
    def on_all_devices(shared, own):
        def on_one_device(shared, own):
            at_once = replicates_per_device or (1 if jax.default_backend() == "cpu" else 64)
            # A batch size of one would add an axis of replicates to every product, which is slower.
            batch_size = at_once if at_once > 1 else None
            return jax.lax.map(lambda xs: fn(*shared, *xs), own, batch_size=batch_size)

        return jax.shard_map(
            on_one_device,
            mesh=Mesh(jax.devices(), "replicate"),
            in_specs=(everywhere, split),
            out_specs=split,
            check_vma=False,
        )(shared, own)

    def for_many(*args):
        shared, own = args[:n_shared], args[n_shared:]
        n = jax.tree.leaves(own)[0].shape[0]
        if padding := -n % jax.device_count():  # the last replicate is repeated
            rows = np.minimum(np.arange(n + padding), n - 1)
            own = jax.tree.map(lambda array: array[rows], own)
        results = process_allgather(on_all_devices(shared, own), tiled=True)
        return jax.tree.map(lambda array: array[:n], results)

    return for_many
