"""Many steps, metrics and sampled labels, against dense matrices and formulas by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_theorem_one_step import Case, each_loss

from subliminal_toy.distill import cross_entropy, kl
from subliminal_toy.theorem import many_steps, one_step
from subliminal_toy.theorem.one_step import teacher

pytestmark = pytest.mark.usefixtures("compile_quickly")

STEPS = (1, 2, 5, 20)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def dense(case):
    """Return F by the dense Jacobian and the loss's matrices by their formulas."""
    jacobian = np.asarray(jax.jacobian(case.f)(case.theta, case.x))
    z = np.asarray(case.f(case.theta, case.x))
    return np.einsum("bip,bij,bjq->pq", jacobian, case.matrices(z), jacobian) / len(z)


@each_loss
def test_the_response_and_its_largest_eigenvalue_are_those_of_the_dense_matrix(loss):
    case = Case(loss)
    matrix = dense(case)
    top, expected = np.linalg.eigvalsh(matrix)[-1], matrix @ case.v
    start = np.random.default_rng(1).normal(size=len(case.v))
    for response in (one_step.response, many_steps.dense_response):
        product = response(*case.setting)
        close = 1e-11 * top * np.linalg.norm(case.v)
        np.testing.assert_allclose(product(case.v), expected, rtol=0, atol=close)
    largest = float(many_steps.largest_eigenvalue(product, start, 2000))
    rough = float(many_steps.largest_eigenvalue(product, start))
    assert largest == pytest.approx(top, rel=1e-3)
    assert 0.9 * top < rough <= top * (1 + 1e-12)


@each_loss
def test_the_path_is_gradient_descent_and_its_slope_the_power_of_a_matrix(loss):
    case = Case(loss)
    f, student_loss, theta, x = case.setting
    matrix = dense(case)
    rate = 1.9 / np.linalg.eigvalsh(matrix)[-1]
    start = theta + 0.1 * np.random.default_rng(2).normal(size=len(theta))
    y = f(teacher(theta, case.v, 0.1), x)
    found = many_steps.student_path(f, student_loss, start, x, y, 0.1 * rate, (1, 3))
    by_hand = [start]
    for _ in range(3):
        jacobian = np.asarray(jax.jacobian(f)(by_hand[-1], x))
        push = case.gradient(np.asarray(f(by_hand[-1], x)), np.asarray(y))
        step = 0.1 * rate * np.einsum("bop,bo->p", jacobian, push) / len(y)
        by_hand.append(by_hand[-1] - step)
    expected = [by_hand[1] - start, by_hand[3] - start]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * scale + 1e-15)

    def path(e):
        y = f(teacher(theta, case.v, e), x)
        return many_steps.student_path(f, student_loss, theta, x, y, rate, STEPS)

    moved, slopes = jax.jvp(path, (0.0,), (1.0,))
    predicted = many_steps.predicted_path(one_step.response(*case.setting), case.v, rate, STEPS)
    powers = [np.linalg.matrix_power(np.eye(len(theta)) - rate * matrix, k) for k in STEPS]
    exact, scale = [case.v - power @ case.v for power in powers], np.linalg.norm(case.v)
    assert np.abs(moved).max() < 1e-13 * scale
    np.testing.assert_allclose(predicted, exact, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(slopes, exact, rtol=0, atol=1e-9 * scale)


@each_loss
def test_progress_comes_from_the_spectrum_and_ends_at_the_projection(loss):
    case = Case(loss)
    values, shares = many_steps.spectrum(*case.setting, case.v)
    rate = 1 / values[0]
    found = many_steps.progress(values, shares, rate, jnp.asarray(STEPS))
    path = many_steps.predicted_path(one_step.response(*case.setting), case.v, rate, STEPS)
    end = many_steps.progress(values, shares, rate, jnp.asarray([10**9]))
    np.testing.assert_allclose(found, path @ case.v / (case.v @ case.v), rtol=0, atol=1e-9)
    assert (np.diff(found) >= -1e-12).all() and (found <= shares.sum() + 1e-12).all()
    # The projection on the range, by another decomposition.
    eigenvalues, vectors = np.linalg.eigh(dense(case))
    seen = vectors[:, eigenvalues > 1e-10 * eigenvalues[-1]]
    coverage = np.sum((seen.T @ case.v) ** 2) / (case.v @ case.v)
    assert float(end[0]) == pytest.approx(coverage, abs=1e-3)
    assert float(shares.sum()) == pytest.approx(coverage, abs=1e-3) and coverage < 1


@pytest.mark.parametrize("columns", [slice(None), slice(1, None)])
def test_drawn_labels_have_the_mean_and_variance_of_all_that_can_be_drawn(columns):
    """The expectation over every joint draw of three inputs' labels, step by step."""
    case = Case("softmax", seed=3, batch=3, hidden=2, outputs=3)
    y = case.f(teacher(case.theta, case.v, 0.4), case.x)
    p = np.asarray(jax.nn.softmax(y[:, columns]))
    z, jv = jax.jvp(lambda t: case.f(t, case.x), (case.theta,), (case.v,))
    weights = jnp.array([0.5, 0.3, 0.2])
    of_one = many_steps.component(z[:, columns], y[:, columns], jv[:, columns], weights)

    @jax.jit
    def step(labels):
        def loss(t):
            one = [cross_entropy(case.f(t, case.x[i : i + 1]), labels[i : i + 1], columns)
                   for i in range(3)]  # fmt: skip
            return jnp.vdot(weights, jnp.stack(one))

        return -jax.grad(loss)(case.theta)

    draws = np.array(list(itertools.product(range(p.shape[1]), repeat=3)))
    chances = np.array([np.prod(p[np.arange(3), draw]) for draw in draws])
    along = np.array([float(step(jnp.asarray(draw)) @ case.v) for draw in draws])
    mean = chances @ along
    assert chances.sum() == pytest.approx(1)
    assert float(of_one.mean) == pytest.approx(mean, rel=1e-10)
    assert float(of_one.variance) == pytest.approx(chances @ (along - mean) ** 2, rel=1e-10)

    def soft(t):
        losses = [kl(case.f(t, case.x[i : i + 1]), y[i : i + 1], columns) for i in range(3)]
        return jnp.vdot(weights, jnp.stack(losses))

    assert mean == pytest.approx(float(-jax.grad(soft)(case.theta) @ case.v), rel=1e-10)


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
