"""Many steps and sampled labels, against dense matrices and formulas by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_theorem_one_step import Case, each_case

from subliminal_toy.distill import cross_entropy
from subliminal_toy.theorem import many_steps, one_step
from subliminal_toy.theorem.one_step import teacher

pytestmark = pytest.mark.usefixtures("compile_quickly", "double")

STEPS = (1, 2, 5, 20)


@each_case
def test_the_response_and_its_largest_eigenvalue_are_those_of_the_dense_matrix(case):
    matrix = case.dense[2]
    top = np.linalg.eigvalsh(matrix)[-1]
    start = np.random.default_rng(1).normal(size=len(case.v))

    @jax.jit
    def measured(v, start):
        product = one_step.response(*case.setting)
        fine, rough = (many_steps.largest_eigenvalue(product, start, n) for n in (2000, 50))
        return product(v), fine, rough

    product, fine, rough = measured(case.v, start)
    close = 1e-11 * top * np.linalg.norm(case.v)
    np.testing.assert_allclose(product, matrix @ case.v, rtol=0, atol=close)
    assert float(fine) == pytest.approx(top, rel=1e-3)
    assert 0.9 * top < float(rough) <= top * (1 + 1e-12)


@each_case
def test_the_path_is_gradient_descent_and_its_slope_the_power_of_a_matrix(case):
    f, student_loss, theta, x = case.setting
    matrix = case.dense[2]
    rate = 1.9 / np.linalg.eigvalsh(matrix)[-1]
    start = theta + 0.1 * np.random.default_rng(2).normal(size=len(theta))

    @jax.jit
    def path(start, epsilon, rate, steps):
        y = f(teacher(theta, case.v, epsilon), x)
        return many_steps.student_path(f, student_loss, start, x, y, rate, steps)

    by_hand = [start]
    for _ in range(3):
        by_hand.append(by_hand[-1] + 0.1 * rate * np.asarray(case.step(by_hand[-1], 0.1)))
    expected = [by_hand[1] - start, by_hand[3] - start]
    scale = np.abs(expected).max()
    found = path(start, 0.1, 0.1 * rate, jnp.array([1, 3]))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * scale + 1e-15)

    @jax.jit
    def at_zero(rate):
        along = jax.jvp(lambda e: path(theta, e, rate, jnp.array(STEPS)), (0.0,), (1.0,))
        product = one_step.response(*case.setting)
        return *along, many_steps.predicted_path(product, case.v, rate, STEPS)

    moved, slopes, predicted = at_zero(rate)
    powers = [np.linalg.matrix_power(np.eye(len(theta)) - rate * matrix, k) for k in STEPS]
    exact, scale = [case.v - power @ case.v for power in powers], np.linalg.norm(case.v)
    assert np.abs(moved).max() < 1e-13 * scale
    np.testing.assert_allclose(predicted, exact, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(slopes, exact, rtol=0, atol=1e-9 * scale)


@each_case
def test_progress_comes_from_the_spectrum_and_ends_at_the_projection(case):
    @jax.jit
    def measured(v):
        values, shares = many_steps.spectrum(*case.setting, v)
        rate, k = 1 / values[0], jnp.array([*STEPS, 10**9])
        path = many_steps.predicted_path(one_step.response(*case.setting), v, rate, STEPS)
        return many_steps.progress(values, shares, rate, k), shares.sum(), path @ v / (v @ v)

    (*found, end), total, by_path = jax.device_get(measured(case.v))
    np.testing.assert_allclose(found, by_path, rtol=0, atol=1e-9)
    assert (np.diff(found) >= -1e-12).all() and (found <= total + 1e-12).all()
    # The projection on the range, by another decomposition.
    eigenvalues, vectors = np.linalg.eigh(case.dense[2])
    seen = vectors[:, eigenvalues > 1e-10 * eigenvalues[-1]]
    coverage = np.sum((seen.T @ case.v) ** 2) / (case.v @ case.v)
    assert [end, total] == pytest.approx([coverage] * 2, abs=1e-3) and coverage < 1


@pytest.mark.parametrize("columns", [slice(None), slice(1, None)])
def test_drawn_labels_have_the_mean_and_variance_of_all_that_can_be_drawn(columns):
    """The expectation over every joint draw of three inputs' labels, step by step."""
    case = Case("softmax", seed=3, batch=3, hidden=2, outputs=3)
    y, weights = case.labels(0.4), jnp.array([0.5, 0.3, 0.2])
    p = np.asarray(jax.nn.softmax(y[:, columns]))
    z, jv = jax.jvp(lambda t: case.f(t, case.x), (case.theta,), (case.v,))
    of_one = many_steps.component(z[:, columns], y[:, columns], jv[:, columns], weights)

    @jax.jit
    def along(labels):
        def loss(t):
            z = case.f(t, case.x)
            losses = [cross_entropy(z[i : i + 1], labels[i : i + 1], columns) for i in range(3)]
            return jnp.vdot(weights, jnp.stack(losses))

        return -jax.grad(loss)(case.theta) @ case.v

    draws = np.array(list(itertools.product(range(p.shape[1]), repeat=3)))
    chances = np.array([np.prod(p[np.arange(3), draw]) for draw in draws])
    moved = np.array([float(along(jnp.asarray(draw))) for draw in draws])
    mean = chances @ moved
    assert chances.sum() == pytest.approx(1)
    assert float(of_one.mean) == pytest.approx(mean, rel=1e-10)
    assert float(of_one.variance) == pytest.approx(chances @ (moved - mean) ** 2, rel=1e-10)


def test_several_lists_are_several_components_and_the_bound_is_chebyshevs():
    rng = np.random.default_rng(0)
    z, y, jv = rng.normal(size=(3, 2, 4, 5))
    weights = rng.uniform(size=(2, 4))
    both = many_steps.component(z, y, jv, weights)
    for i in range(2):
        one = many_steps.component(z[i], y[i], jv[i], weights[i])
        assert float(both.mean[i]) == float(one.mean)
        assert float(both.variance[i]) == float(one.variance)
    of_one = many_steps.Component(np.array(0.5), np.array(3.0))
    assert many_steps.draws_needed(of_one) == 12 and many_steps.bound(of_one, 12) == 1
    assert many_steps.bound(of_one, 240) == pytest.approx(0.05) and many_steps.bound(of_one, 3) == 1
