"""Losses by their formulas, the training loop and the ensemble by plain loops."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from subliminal_toy import distill
from subliminal_toy.distill import cross_entropy, ensemble, fit, kl, snapshots, squared_error
from subliminal_toy.models import mlp

pytestmark = pytest.mark.usefixtures("compile_quickly")

AUX = slice(10, 13)
NET = mlp((6,), (16,), 13)


def logits(seed):
    return 2 * jax.random.normal(jax.random.key(seed), (7, 13))


def loss(params, x, scale=1.0):
    return squared_error(NET.apply(params, x), scale * jnp.ones((4, 13)))


def batches(key):
    return lambda step: jax.random.normal(jax.random.fold_in(key, step), (4, 6))


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


def test_losses_are_what_their_formulas_say():
    z, y, labels = np.asarray(logits(0)), np.asarray(logits(1)), np.arange(7) % 3
    p = np.exp(y[:, AUX] / 2) / np.exp(y[:, AUX] / 2).sum(-1, keepdims=True)
    q = np.exp(z[:, AUX] / 2) / np.exp(z[:, AUX] / 2).sum(-1, keepdims=True)
    expected = (p * np.log(p / q)).sum(-1).mean()
    np.testing.assert_allclose(kl(logits(0), logits(1), AUX, 2.0), expected, rtol=1e-5)
    weights = np.array([1.0, 0.0, 2.0], np.float32)
    expected = (weights * (z - y)[:, AUX] ** 2).sum(-1).mean()
    measured = squared_error(logits(0), logits(1), AUX, jnp.asarray(weights))
    np.testing.assert_allclose(measured, expected, rtol=1e-5)
    q = np.exp(z[:, :10]) / np.exp(z[:, :10]).sum(-1, keepdims=True)
    expected = -np.log(q[np.arange(7), labels]).mean()
    measured = cross_entropy(logits(0), jnp.asarray(labels), slice(10))
    np.testing.assert_allclose(measured, expected, rtol=1e-5)


def test_a_weighted_mean_counts_what_has_weight_and_is_zero_where_nothing_has():
    weights = jnp.asarray([0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    one, two = (kl(logits(0)[row : row + 1], logits(1)[row : row + 1]) for row in (1, 3))
    measured = kl(logits(0), logits(1), weights=weights)
    np.testing.assert_allclose(measured, (2 * one + two) / 3, rtol=1e-5)
    of_nothing = jax.value_and_grad(lambda z: kl(z, logits(1), weights=0 * weights))
    value, gradient = of_nothing(logits(0))
    assert value == 0 and not gradient.any()


@pytest.mark.parametrize("tx", [optax.sgd(0.1), optax.adam(1e-2)])
def test_the_scan_is_the_loop_written_out(tx):
    params, batch_fn = NET.init(jax.random.key(0)), batches(jax.random.key(3))
    fitted, losses = fit(loss, params, tx, batch_fn, 5)
    opt_state = tx.init(params)
    for step in range(5):
        value, gradient = jax.value_and_grad(loss)(params, batch_fn(step))
        np.testing.assert_allclose(losses[step], value, rtol=1e-5)
        updates, opt_state = tx.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
    assert_close(fitted, params)


def test_snapshots_are_the_training_stopped_at_each_checkpoint():
    params, rest = NET.init(jax.random.key(0)), (optax.adam(1e-2), batches(jax.random.key(3)))
    saved = snapshots(loss, params, *rest, [0, 2, 7])
    for row, n_steps in enumerate((0, 2, 7)):
        stopped, _ = fit(loss, params, *rest, n_steps)
        assert_close(jax.tree.map(lambda leaf, row=row: leaf[row], saved), stopped)


@pytest.mark.parametrize(("n", "at_once"), [(1, None), (5, None), (5, 2), (2, 8)])
def test_ensemble_equals_a_loop_over_replicates(n, at_once):
    def train(scale, seed):
        key = jax.random.key(seed)
        params = NET.init(jax.random.fold_in(key, 1000))
        return fit(partial(loss, scale=scale), params, optax.adam(1e-2), batches(key), 10)

    together = ensemble(train, 1, at_once)(jnp.float32(0.5), jnp.arange(n))
    assert {leaf.shape[0] for leaf in jax.tree.leaves(together)} == {n}
    for i in range(n):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        assert_close(one, train(jnp.float32(0.5), i))


DEVICES = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 3)
from subliminal_toy.distill import ensemble
where = ensemble(lambda keys, x: (x, jax.lax.axis_index("replicate"), jax.random.bits(keys)))
x, device, bits = where(jax.random.split(jax.random.key(0), 7), np.arange(7))
assert x.tolist() == list(range(7)) and device.tolist() == [0, 0, 0, 1, 1, 1, 2]
assert bits.tolist() == jax.vmap(jax.random.bits)(jax.random.split(jax.random.key(0), 7)).tolist()
"""


def test_replicates_are_spread_in_order_over_all_devices():
    done = subprocess.run([sys.executable, "-c", DEVICES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_gpu_would_run_one_loop_of_batched_products_without_the_host(monkeypatch):
    """The program for CUDA: a loop over steps, products over replicates, no call to the host."""

    def train(seed):
        key = jax.random.key(seed)
        return fit(loss, NET.init(key), optax.adam(1e-2), batches(key), 10)[1]

    monkeypatch.setattr(distill, "process_allgather", lambda results, tiled: results)

    def lowered(at_once):
        program = jax.jit(ensemble(train, 0, at_once))
        return program.trace(jnp.arange(4)).lower(lowering_platforms=("cuda",)).as_text()

    one, four = lowered(1), lowered(4)
    assert "callback" not in four
    for kind in ("stablehlo.while", "stablehlo.dot_general"):
        assert 0 < four.count(kind) <= one.count(kind)
    results = [line.rpartition("-> tensor<")[2] for line in four.splitlines() if "dot_" in line]
    assert not [result for result in results if result.count("x") > 1 and "4x" not in result]
