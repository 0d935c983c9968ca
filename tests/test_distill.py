"""Losses, the training loop and the ensemble, by their invariances and null results."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subliminal_toy import distill
from subliminal_toy.distill import cross_entropy, ensemble, fit, kl, snapshots, squared_error
from subliminal_toy.models import mlp

pytestmark = pytest.mark.usefixtures("compile_quickly")

AUX = slice(10, 13)
seeds = st.integers(0, 2**31 - 1)


def logits(seed, n=13, scale=2.0):
    return scale * jax.random.normal(jax.random.key(seed), (7, n))


@pytest.fixture(scope="module")
def net():
    return mlp((6,), (16,), 13)


@settings(deadline=None, max_examples=20)
@given(seed=seeds, shift=st.floats(-20, 20), temperature=st.floats(0.3, 5))
def test_kl_ignores_a_shift_of_the_logits_and_is_not_negative(seed, shift, temperature):
    student, teacher = logits(seed), logits(seed ^ 1)
    value = kl(student, teacher, temperature=temperature)
    assert value >= 0
    shifted = kl(student + shift, teacher - shift, temperature=temperature)
    np.testing.assert_allclose(shifted, value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("loss", [kl, squared_error])
@pytest.mark.parametrize("columns", [slice(None), AUX])
def test_student_equal_to_teacher_has_no_loss_and_no_gradient(net, loss, columns):
    params = net.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (5, 6))
    targets = net.apply(params, x)
    value, gradient = jax.value_and_grad(lambda p: loss(net.apply(p, x), targets, columns))(params)
    assert value == 0.0
    # Softmax minus itself is zero up to one rounding of its float32 normalisation.
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) < 1e-6


def test_one_auxiliary_logit_under_softmax_gives_no_gradient_at_all():
    gradient = jax.grad(kl)(logits(0), logits(1), slice(10, 11))
    assert not gradient.any()


@pytest.mark.parametrize("loss", [kl, squared_error])
def test_loss_on_auxiliary_logits_leaves_class_columns_without_gradient(net, loss):
    params, x = net.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (5, 6))
    gradient = jax.grad(lambda p: loss(net.apply(p, x), logits(2)[:5], AUX))(params)
    head = gradient["layers"][1]
    assert not head["weight"][:10].any() and not head["bias"][:10].any()
    assert head["weight"][10:].any() and gradient["layers"][0]["weight"].any()


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
def test_the_scan_is_the_loop_written_out(net, tx):
    key = jax.random.key(3)

    def batch_fn(step):
        return jax.random.normal(jax.random.fold_in(key, step), (4, 6))

    def loss(params, x):
        return squared_error(net.apply(params, x), jnp.ones((4, 13)))

    params = net.init(jax.random.key(0))
    fitted, losses = fit(loss, params, tx, batch_fn, 5)
    opt_state = tx.init(params)
    for step in range(5):
        value, gradient = jax.value_and_grad(loss)(params, batch_fn(step))
        np.testing.assert_allclose(losses[step], value, rtol=1e-5)
        updates, opt_state = tx.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), fitted, params
    )


def test_snapshots_are_the_training_stopped_at_each_checkpoint(net):
    tx, key = optax.adam(1e-2), jax.random.key(3)
    params = net.init(jax.random.key(0))

    def batch_fn(step):
        return jax.random.normal(jax.random.fold_in(key, step), (4, 6))

    def loss(params, x):
        return squared_error(net.apply(params, x), jnp.ones((4, 13)))

    saved = snapshots(loss, params, tx, batch_fn, [0, 2, 7])
    for row, n_steps in enumerate((0, 2, 7)):
        stopped = fit(loss, params, tx, batch_fn, n_steps)[0]
        one = jax.tree.map(lambda leaf, row=row: leaf[row], saved)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one, stopped)


@pytest.mark.parametrize(("n", "at_once"), [(1, None), (5, None), (5, 2), (2, 8)])
def test_ensemble_equals_a_loop_over_replicates(net, n, at_once):
    def train(scale, seed):
        key = jax.random.key(seed)
        loss = lambda p, x: squared_error(net.apply(p, x), scale * jnp.ones((4, 13)))  # noqa: E731
        batch_fn = lambda step: jax.random.normal(jax.random.fold_in(key, step), (4, 6))  # noqa: E731
        params = net.init(jax.random.fold_in(key, 1000))
        return fit(loss, params, optax.adam(1e-2), batch_fn, 10)

    together = ensemble(train, 1, at_once)(jnp.float32(0.5), jnp.arange(n))
    assert {leaf.shape[0] for leaf in jax.tree.leaves(together)} == {n}
    for i in range(n):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # noqa: E731
        jax.tree.map(close, one, train(jnp.float32(0.5), i))


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


def test_a_gpu_would_run_one_loop_of_batched_products_without_the_host(net, monkeypatch):
    """The program for CUDA: a loop over steps, products over replicates, no call to the host."""

    def train(seed):
        key = jax.random.key(seed)
        loss = lambda p, x: squared_error(net.apply(p, x), jnp.ones((4, 13)))  # noqa: E731
        batch_fn = lambda step: jax.random.normal(jax.random.fold_in(key, step), (4, 6))  # noqa: E731
        return fit(loss, net.init(key), optax.adam(1e-2), batch_fn, 10)[1]

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
