"""What a filter does to the step: dense sums by hand, the dichotomy and both counterexamples."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from subliminal_toy.theorem.filter import (
    FILTERS,
    filtered_steps,
    filters_of,
    half_of_smallest,
    measure_filters,
    slopes,
)

pytestmark = pytest.mark.usefixtures("compile_quickly", "double")

steps_of = jax.jit(filtered_steps, static_argnums=0)


class Model(NamedTuple):
    """Log chances of every class of every input, a start, a direction, filters; all by hand."""

    log_chances: Any
    theta: Any
    v: Any
    filters: Any
    jacobian: Any

    def chances(self, epsilon=0.0):
        return np.exp(self.log_chances(self.theta + epsilon * self.v))

    def scores(self):
        return self.jacobian @ self.v

    def steps(self, phi, epsilon):
        """Return both forms of the step, sample by sample, with the dense Jacobian."""
        weights = phi * self.chances(epsilon)
        return np.stack([weights @ self.jacobian, weights @ self.jacobian / weights.sum()])


@pytest.fixture(scope="module")
def model():
    rng, n, classes = np.random.default_rng(0), 3, 4
    x, theta, v = rng.normal(size=(n, 2)), *rng.normal(size=(2, 8 + 4 * classes))

    @jax.jit
    def log_chances(t):
        hidden = jnp.tanh(x @ t[:8].reshape(2, 4))
        return (jax.nn.log_softmax(hidden @ t[8:].reshape(4, classes)) - np.log(n)).ravel()

    with jax.enable_x64(True):
        jacobian = np.asarray(jax.jit(jax.jacobian(log_chances))(theta))
    return Model(log_chances, theta, v, rng.uniform(size=(2, 12)), jacobian)


def test_steps_and_their_derivatives_are_sums_over_samples(model):
    for epsilon in (0.0, 0.3):
        steps, derivative = steps_of(*model[:4], epsilon)
        for i, phi in enumerate(model.filters):
            at = [model.steps(phi, epsilon + h) for h in (-1e-5, 0.0, 1e-5)]
            np.testing.assert_allclose(steps[:, i], at[1], atol=1e-14)
            np.testing.assert_allclose(derivative[:, i], (at[2] - at[0]) / 2e-5, atol=1e-9)


def test_half_of_what_there_is_passes_the_filters_of_the_score(model):
    chances, scores = model.chances(), model.scores()
    by_input, by_label = np.arange(3) / 3, np.arange(4) / 4
    made = jax.jit(filters_of)(chances, scores, by_input, by_label)
    filters = dict(zip(FILTERS, map(np.asarray, made), strict=True))
    assert (filters["none"] == 1).all() and (filters["at random"] == 0.5).all()
    np.testing.assert_array_equal(filters["of inputs"], np.repeat(by_input, 4))
    np.testing.assert_array_equal(filters["by label"], np.tile(by_label, 3))
    out, only = filters["largest |s| out"], filters["largest |s| in"]
    assert float((out * chances).sum()) == pytest.approx(0.5) and ((out >= 0) & (out <= 1)).all()
    assert ((out > 0) & (out < 1)).sum() <= 1
    np.testing.assert_array_equal(only, 1 - out)
    assert np.abs(scores)[out == 1].max() <= np.abs(scores)[out < 1].min()
    # A sample without any chance, such as a class that is not imitated, changes nothing.
    some = jax.jit(half_of_smallest)(np.append(chances, 0.0), np.append(scores, 0.0))
    np.testing.assert_allclose(some[:-1], out)


def test_a_measurement_is_that_of_its_parts(model):
    @jax.jit
    def trait(t):
        return jnp.sin(t).sum()

    measured = partial(measure_filters, trait, model.log_chances, filters_for=lambda *_: filters)
    filters, chances, scores = model.filters, model.chances(), model.scores()
    found = jax.jit(measured)(theta=model.theta, v=model.v, epsilon=0.02, learning_rate=0.05)
    for i, phi in enumerate(filters):
        passes, moment = (phi * chances).sum(), (phi * chances * scores**2).sum()
        variance = moment / passes - ((phi * chances * scores).sum() / passes) ** 2
        student, control = (model.steps(phi, epsilon) for epsilon in (0.02, 0.0))
        ends = zip(student, control, strict=True)
        expected = {
            "filter_slope": [moment, variance],
            "filter_inner": (student - control) @ model.v,
            "filter_scale": moment / passes,
            "filter_push": np.linalg.norm((phi * chances) @ model.jacobian),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][..., i], value, rtol=1e-9, err_msg=name)
        change = [trait(model.theta + 0.05 * s) - trait(model.theta + 0.05 * c) for s, c in ends]
        np.testing.assert_allclose(found["filter_change"][:, i], change, rtol=1e-5)
    np.testing.assert_allclose(found["filter_derivative"], found["filter_slope"], rtol=1e-10)
    assert (found["filter_push_error"] < 1e-14).all() and (found["filter_push"] > 1e-3).all()


def test_where_the_score_is_constant_on_what_passes_nothing_is_added_at_any_epsilon():
    """Eq. (64): two inputs that are one, so that the score depends on the class alone."""

    def log_chances(t):
        return jnp.tile(jax.nn.log_softmax(t), 2) - np.log(2)

    theta, v = jnp.array([0.3, -0.2, 0.1]), jnp.array([1.0, 0.5, -2.0])
    one_class = jnp.array([[0.0, 0.7, 0.0, 0.0, 0.2, 0.0]])
    slope = slopes(one_class, jnp.exp(log_chances(theta)), jax.jvp(log_chances, (theta,), (v,))[1])
    assert float(slope[1, 0]) < 1e-30 < 1e-3 < float(slope[0, 0])
    control, _ = steps_of(log_chances, theta, v, one_class, 0.0)
    for epsilon in (-1.0, 1e-3, 5.0):
        steps, _ = steps_of(log_chances, theta, v, one_class, epsilon)
        counted, share = (steps - control)[:, 0] @ v
        assert abs(float(share)) < 1e-15
        assert abs(epsilon) > 1 or float(counted) * epsilon > 1e-9  # the sign is of small ε
    # No score at all on what passes: neither form adds anything.
    assert not (steps_of(log_chances, theta, 0 * v, one_class, 2.0)[0] - control).any()


@pytest.mark.parametrize("epsilon", [1e-3, 0.5, 3.0])
def test_against_the_start_a_filter_turns_the_step_round_and_against_the_control_not(epsilon):
    """Eq. (67): two classes, only the second passes."""
    theta, v, second = jnp.zeros(2), jnp.array([1.0, 0.0]), jnp.array([[0.0, 1.0]])
    student, control = (
        steps_of(jax.nn.log_softmax, theta, v, second, e)[0][:, 0] for e in (epsilon, 0.0)
    )
    assert float(student[0] @ v) == pytest.approx(-1 / (2 * (1 + np.exp(epsilon))))
    assert 0 > float(student[0] @ v) > float(control[0] @ v)
    assert float(jnp.abs(student[1] - control[1]).max()) < 1e-15


def test_a_mask_of_single_tokens_turns_the_difference_round_and_no_filter_of_lists_does():
    """Eq. (69): lists of two tokens; only second tokens that are 1 are counted."""
    first, second = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])

    def log_tokens(t):
        of_first = jax.nn.log_softmax(jnp.stack([0.0 * t[0], -2 * t[0]]))
        after = jnp.stack([jax.nn.log_softmax(jnp.stack([0.0 * t[0], k * t[0]])) for k in (0, 1)])
        return jnp.stack([of_first[first], after[first, second]])

    def log_chances(t):
        return log_tokens(t).sum(axis=0)

    theta, v, mask = jnp.zeros(1), jnp.ones(1), np.stack([np.zeros(4), second])

    def masked(epsilon):
        chances = jnp.exp(log_chances(epsilon * v))
        return jax.grad(lambda t: jnp.sum(chances * (mask * log_tokens(t)).sum(axis=0)))(theta) @ v

    assert float(jax.jit(jax.grad(masked))(0.0)) == pytest.approx(-1 / 16)
    every = np.unpackbits(np.arange(1, 16, dtype=np.uint8)[:, None], axis=1)[:, 4:]
    _, derivative = steps_of(log_chances, theta, v, every.astype(float), 0.0)
    assert (derivative[..., 0] > -1e-15).all() and float(derivative.max()) > 0.1
