"""Progress, splits, ρ: against dense matrices, by hand, and what must change nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from test_theorem_one_step import each_case

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

# Compiled as usual: only a fused program rounds the curvature of one logit to what is not 0.
pytestmark = pytest.mark.usefixtures("double")


def random_tree(like, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape)), like)


def near(params, seed, scale=0.3):
    return jax.tree.map(jnp.add, params, random_tree(params, seed, scale))


@pytest.fixture
def tiny(double):
    """Network, start, teacher, inputs."""
    net = mlp((2, 2), (6, 5), N_CLASSES + N_AUX, jnp.tanh)
    start = random_tree(net.init(jax.random.key(0)), 1, 0.6)
    inputs = jnp.asarray(np.random.default_rng(2).normal(size=(N, 2, 2)))
    return net, start, near(start, 3), inputs


@each_case
@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_a_first_step_has_the_share_of_its_slope_that_rho_leaves(scale, case):
    """⟨Δ_S, δ⟩ is (1 ± ρ) A, with A from the dense matrix."""
    start, delta = jnp.asarray(case.theta), scale * case.v
    rho = missed(case.f, start, start + delta, case.x, case.loss)
    moved, along = case.step(start, scale) @ delta, delta @ case.dense[2] @ delta
    assert rho == pytest.approx(abs(float(moved) / along - 1), rel=1e-6)
    assert rho > 0 and moved >= (1 - rho) * along * (1 - 1e-9)


def test_a_linear_network_reaches_any_distance_in_squared_error_and_one_logit_has_no_slope(tiny):
    net, start, teacher, inputs = tiny
    linear = mlp((2, 2), (), N_CLASSES + N_AUX)
    begin = random_tree(linear.init(jax.random.key(0)), 1)
    loss = partial(squared_error, columns=slice(N_CLASSES, None))
    rho = missed(linear.apply, begin, near(begin, 2, 100.0), inputs, loss)
    assert rho == pytest.approx(0, abs=1e-12)
    one = partial(kl, columns=slice(N_CLASSES, N_CLASSES + 1))
    for kind in ("float32", "float64"):  # a softmax of one logit is 1 to rounding only
        of_kind = jax.tree.map(partial(jnp.asarray, dtype=kind), (start, teacher, inputs))
        assert np.isnan(jax.jit(partial(missed, net.apply, loss=one))(*of_kind))


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


def relabel(params, one, two):
    """Permute the hidden units of a network with two hidden layers."""
    first, second, head = (params["layers"][i] for i in range(3))
    return {"layers": {
        0: {"weight": first["weight"][one], "bias": first["bias"][one]},
        1: {"weight": second["weight"][two][:, one], "bias": second["bias"][two]},
        2: {"weight": head["weight"][:, two], "bias": head["bias"]},
    }}  # fmt: skip


def test_relabelling_hidden_units_of_all_alike_changes_nothing(tiny):
    def hidden(params):
        return params["layers"][0], params["layers"][1]

    net, start, teacher, inputs = tiny
    rng = np.random.default_rng(4)
    orders = rng.permutation(6), rng.permutation(5)
    student = near(start, 5)
    s, t, u = (relabel(params, *orders) for params in (start, teacher, student))

    def progress(start, teacher, student):
        return float(component(subtract(student, start), subtract(teacher, start)))

    of = [hidden(params) for params in (start, teacher, student)]
    renamed = [hidden(params) for params in (s, t, u)]
    assert progress(*renamed) == pytest.approx(progress(*of), rel=1e-12)
    parts = zip(split(subtract(student, start), subtract(teacher, start)),
                split(subtract(u, s), subtract(t, s)), strict=True)  # fmt: skip
    for part, again in parts:
        outputs = (net.apply(jax.tree.map(jnp.add, *pair), inputs)
                   for pair in ((start, part), (s, again)))  # fmt: skip
        np.testing.assert_allclose(*outputs, atol=1e-12)
    # Relabelling the teacher alone is another teacher.
    assert abs(progress(of[0], renamed[1], of[2]) - progress(*of)) > 1e-3
