"""Losses, the one training loop, and ``ensemble``: one replicate's function run for many.

Everything is written for one replicate; only ``ensemble`` knows of several, and of devices.
"""

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, PyTree

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


THREADS = 4


def work_in_batches() -> None:
    """Ask Linux not to let threads, if more than the cores, interrupt one another at every turn."""
    with contextlib.suppress(AttributeError, OSError):  # another system, or not allowed
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def host_devices(n: int) -> None:
    """Use ``n`` devices of the CPU, at least two; called before JAX computes anything.

    XLA cuts a loop by the number of its threads, and compiles a program for one device unlike one
    for several, both to other last bits. With ``THREADS`` on any machine, and never one device,
    a result has the same bits on up to ``THREADS`` cores: docs/determinism.md.
    """
    os.environ["PJRT_NPROC"] = str(THREADS)
    work_in_batches()
    jax.config.update("jax_num_cpu_devices", max(n, 2))


PER_CALL = 64
"""Replicates of a device that are worth one call, beyond the CPU: their results wait in memory."""


class Placement:
    """How replicates are put on devices: a whole number for ``per_device``, else by memory.

    ``used`` is the largest number that a device worked on at once.
    """

    per_device: int | None = None
    used: int = 1


def devices() -> list[Any]:
    """Return the devices of all hosts to which computations go."""
    settings: Any = jax.config
    chosen = settings.jax_default_device
    return jax.devices(chosen and chosen.platform)


def on_cpu() -> contextlib.AbstractContextManager:
    """Send computations to the CPU, wherever others go."""
    if jax.default_backend() == "cpu":
        return contextlib.nullcontext()
    return jax.default_device(jax.local_devices(backend="cpu")[0])


def replicates_per_call() -> int:
    """Return how many replicates a call of a function of ``ensemble`` should have, at least."""
    at_once = Placement.per_device or (1 if devices()[0].platform == "cpu" else PER_CALL)
    return at_once * len(devices())


def _mesh() -> Mesh:
    """Return all devices in a row, replicates spread along it."""
    return Mesh(devices(), "replicate")


def on_every_device(arrays: PyTree) -> PyTree:
    """Copy arrays that all replicates share to every device, once instead of at every call."""
    return jax.device_put(arrays, NamedSharding(_mesh(), PartitionSpec()))


def need(program: Any, at_once: int, *args: Any) -> int:
    """Return the bytes that a compiled program takes on a device beside its arguments."""
    found = program.lower(at_once, *args).compile().memory_analysis()
    return found.temp_size_in_bytes + found.output_size_in_bytes


def within(memory: float | int, most: int, program: Any, *args: Any) -> int:
    """Return how many replicates at once, ``most`` or a half of it again and again, fit."""
    while most > 1 and need(program, most, *args) > memory:
        most = -(-most // 2)
    return most


def _at_once(program: Any, per_device: int, *args: Any) -> int:
    device = devices()[0]
    if Placement.per_device or device.platform == "cpu":
        return min(Placement.per_device or 1, per_device)
    stats = jax.local_devices(backend=device.platform)[0].memory_stats()
    free = stats["bytes_limit"] - stats["bytes_in_use"] if stats else math.inf
    return int(process_allgather(np.int32(within(free, per_device, program, *args))).min())


def ensemble(fn: Callable, n_shared: int = 0) -> Callable:
    """Return ``fn``, a function of one replicate, compiled for many and spread over all devices.

    The first ``n_shared`` arguments are the same for every replicate (pass large arrays through
    ``on_every_device`` once); all others, and the results, get a leading axis of replicates, of any
    length. Results are NumPy arrays, on every host. On a CPU each device runs its replicates one
    after the other, elsewhere as many at once as its free memory allows; see ``Placement``.
    """
    one, each = PartitionSpec(), PartitionSpec("replicate")

    @partial(jax.jit, static_argnums=0)
    def on_all_devices(at_once, shared, own):
        def on_one_device(shared, own):
            # A batch size of one would add an axis of replicates to every product, which is slower.
            batch_size = at_once if at_once > 1 else None
            return jax.lax.map(lambda xs: fn(*shared, *xs), own, batch_size=batch_size)

        spread = jax.shard_map(
            on_one_device, mesh=_mesh(), in_specs=(one, each), out_specs=each, check_vma=False
        )
        return spread(shared, own)

    chosen: dict[tuple, int] = {}

    def for_many(*args):
        shared, own = args[:n_shared], args[n_shared:]
        n = jax.tree.leaves(own)[0].shape[0]
        padding = -n % len(devices())
        if padding:  # the last replicate is repeated
            rows = jnp.minimum(jnp.arange(n + padding), n - 1)
            own = jax.tree.map(lambda array: jnp.asarray(array)[rows], own)
        per_device = (n + padding) // len(devices())
        shapes = (Placement.per_device, *map(jnp.shape, jax.tree.leaves(args)))
        if shapes not in chosen:
            chosen[shapes] = _at_once(on_all_devices, per_device, shared, own)
        Placement.used = max(Placement.used, chosen[shapes])
        results = process_allgather(on_all_devices(chosen[shapes], shared, own), tiled=True)
        # Cut on the host: on the devices it would be a collective operation.
        return jax.tree.map(lambda array: array[:n], results)

    return for_many
