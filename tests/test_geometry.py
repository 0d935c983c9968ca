"""Progress, splits, ρ: against dense matrices, by hand, and what must change nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from subliminal_toy.classifier.geometry import (
    component,
    cosine,
    inner,
    missed,
    split,
    split_at_random,
    subtract,
)
from subliminal_toy.distill import kl, squared_error
from subliminal_toy.models import mlp

N_CLASSES, N_AUX, N = 3, 4, 24
COLUMNS = slice(N_CLASSES, None)
LOSSES = {
    "kl": lambda z, y: kl(z, y, COLUMNS),
    "squared error": lambda z, y: squared_error(z, y, COLUMNS),
}


pytestmark = pytest.mark.usefixtures("compile_quickly", "double")


def random_tree(like, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape)), like)


def near(params, seed, scale=0.3):
    return jax.tree.map(jnp.add, params, random_tree(params, seed, scale))


@pytest.fixture
def tiny(double):
    """Network, start, teacher, inputs: 93 parameters, so that matrices can be dense."""
    net = mlp((2, 2), (6, 5), N_CLASSES + N_AUX, jnp.tanh)
    start = random_tree(net.init(jax.random.key(0)), 1, 0.6)
    inputs = jnp.asarray(np.random.default_rng(2).normal(size=(N, 2, 2)))
    return net, start, near(start, 3), inputs


def curvature(name, outputs):
    """Return the second derivative of a loss of one example's outputs at its targets, by hand."""
    matrix = np.zeros((len(outputs), len(outputs)))
    p = np.exp(outputs[COLUMNS]) / np.exp(outputs[COLUMNS]).sum()
    block = np.diag(p) - np.outer(p, p) if name == "kl" else 2 * np.eye(N_AUX)
    matrix[COLUMNS, COLUMNS] = block
    return matrix


def dense(net, start, inputs, name):
    """Return F by its definition: the mean over examples of Jᵀ M J, with whole matrices."""
    flat, unravel = ravel_pytree(start)
    jacobians = np.asarray(jax.jit(jax.jacobian(lambda p: net.apply(unravel(p), inputs)))(flat))
    pairs = zip(jacobians, np.asarray(net.apply(start, inputs)), strict=True)
    return np.mean([j.T @ curvature(name, z) @ j for j, z in pairs], 0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_a_first_step_has_the_share_of_its_slope_that_rho_leaves(loss, scale, tiny):
    """⟨Δ_S, δ⟩ is (1 ± ρ) A, with A from the dense matrix."""
    net, start, teacher, inputs = tiny
    delta = jax.tree.map(lambda leaf: scale * leaf, subtract(teacher, start))
    far = jax.tree.map(jnp.add, start, delta)
    rho = missed(net.apply, start, far, inputs, LOSSES[loss])
    targets = net.apply(far, inputs)
    gradient = jax.grad(lambda s: LOSSES[loss](net.apply(s, inputs), targets))(start)
    moved, v = -float(inner(gradient, delta)), np.asarray(ravel_pytree(delta)[0])
    along = v @ dense(net, start, inputs, loss) @ v
    assert rho == pytest.approx(abs(moved / along - 1), rel=1e-9)
    assert rho > 0 and moved >= (1 - rho) * along * (1 - 1e-9)


def test_a_linear_network_reaches_any_distance_in_squared_error_and_one_logit_has_no_slope(tiny):
    net, start, teacher, inputs = tiny
    linear = mlp((2, 2), (), N_CLASSES + N_AUX)
    begin = random_tree(linear.init(jax.random.key(0)), 1)
    rho = missed(linear.apply, begin, near(begin, 2, 100.0), inputs, LOSSES["squared error"])
    assert rho == pytest.approx(0, abs=1e-12)
    one = lambda z, y: kl(z, y, slice(N_CLASSES, N_CLASSES + 1))  # noqa: E731
    for kind in ("float32", "float64"):  # a softmax of one logit is 1 to rounding only
        of_kind = jax.tree.map(partial(jnp.asarray, dtype=kind), (start, teacher, inputs))
        assert np.isnan(missed(net.apply, *of_kind, one))


def test_progress_by_hand():
    start = {"a": jnp.array([1.0, 0.0]), "b": jnp.array([[2.0]])}
    teacher = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([[1.0]])}
    student = {"a": jnp.array([3.0, 1.0]), "b": jnp.array([[2.5]])}
    # Displacements (2, 1, ½) and (0, 2, −1).
    moved, goal, none = (subtract(tree, start) for tree in (student, teacher, start))
    assert component(moved, goal) == pytest.approx(1.5 / 5)
    assert component(moved["a"], goal["a"]) == pytest.approx(2 / 4)
    assert component(none, goal) == 0 and component(goal, goal) == 1
    assert component(moved, none) == 0  # the teacher has not moved
    assert cosine(moved, goal) == pytest.approx(1.5 / np.sqrt(5.25 * 5))
    along, rest = split(moved, goal)
    np.testing.assert_allclose(ravel_pytree(along)[0], [0, 0.6, -0.3])
    np.testing.assert_allclose(ravel_pytree(rest)[0], [2, 0.4, 0.8])


@pytest.mark.parametrize("along", [0.0, 1.0, 2.0, 3.0])
def test_a_split_at_random_has_the_lengths_it_is_given(along):
    """Two parts at a right angle, whose sum is the displacement; nothing else is the same."""
    moved, direction = jnp.array([2.0, 2.0, 1.0]), jnp.array([1.0, 0.0, 5.0])
    first, second = split_at_random(moved, jnp.array([along, 0.0]), direction)
    np.testing.assert_allclose(first + second, moved)
    lengths = [np.linalg.norm(part) for part in (first, second)]
    np.testing.assert_allclose(lengths, [along, np.sqrt(9 - along**2)], atol=1e-7)
    assert inner(first, second) == pytest.approx(0, abs=1e-12)
    other, _ = split_at_random(moved, jnp.array([along, 0.0]), jnp.array([0.0, 1.0, 0.0]))
    assert np.allclose(other, first) == (along in (0, 3))
