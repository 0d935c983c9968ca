"""What a filter does to the step: dense sums by hand, the dichotomy and both counterexamples."""

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

pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def softmax_model(seed=0, n=3, classes=4):
    """Return log chances of every class of every input, a start and a direction."""
    rng = np.random.default_rng(seed)
    x, theta, v = rng.normal(size=(n, 2)), *rng.normal(size=(2, 8 + 4 * classes))

    def log_chances(t):
        hidden = jnp.tanh(x @ t[:8].reshape(2, 4))
        return (jax.nn.log_softmax(hidden @ t[8:].reshape(4, classes)) - np.log(n)).ravel()

    return log_chances, jnp.asarray(theta), jnp.asarray(v), rng


def by_hand(log_chances, theta, v, phi, epsilon):
    """Return both forms of the step, sample by sample, with the dense Jacobian."""
    jacobian = np.asarray(jax.jacobian(log_chances)(theta))
    weights = phi * np.exp(np.asarray(log_chances(theta + epsilon * v)))
    return np.stack([weights @ jacobian, weights @ jacobian / weights.sum()])


def test_steps_and_their_derivatives_are_sums_over_samples():
    log_chances, theta, v, rng = softmax_model()
    filters = rng.uniform(size=(2, 12))
    for epsilon in (0.0, 0.3):
        steps, derivative = filtered_steps(log_chances, theta, v, filters, epsilon)
        for i, phi in enumerate(filters):
            at = [by_hand(log_chances, theta, v, phi, epsilon + h) for h in (-1e-5, 0.0, 1e-5)]
            np.testing.assert_allclose(steps[:, i], at[1], atol=1e-14)
            np.testing.assert_allclose(derivative[:, i], (at[2] - at[0]) / 2e-5, atol=1e-9)


def test_the_formulas_are_a_second_moment_and_a_variance():
    chances, scores = np.array([0.5, 0.3, 0.2]), np.array([1.0, -2.0, 0.5])
    phi = np.array([[1.0, 1.0, 1.0], [0.0, 0.5, 1.0]])
    moment = [0.5 + 1.2 + 0.05, 0.6 + 0.05]
    mean = [(0.5 - 0.6 + 0.1) / 1.0, (-0.3 + 0.1) / 0.35]
    variance = [moment[0] - mean[0] ** 2, moment[1] / 0.35 - mean[1] ** 2]
    np.testing.assert_allclose(slopes(phi, chances, scores), [moment, variance], rtol=1e-12)


def test_half_of_what_there_is_passes_the_filters_of_the_score():
    log_chances, theta, v, rng = softmax_model()
    log_p, scores = jax.jvp(log_chances, (theta,), (v,))
    chances = jnp.exp(log_p)
    by_input, by_label = jnp.asarray(rng.uniform(size=3)), jnp.asarray(rng.uniform(size=4))
    filters = dict(zip(FILTERS, filters_of(chances, scores, by_input, by_label), strict=True))
    assert (filters["none"] == 1).all() and (filters["at random"] == 0.5).all()
    np.testing.assert_array_equal(filters["of inputs"], np.repeat(by_input, 4))
    np.testing.assert_array_equal(filters["by label"], np.tile(by_label, 3))
    out, only = filters["largest |s| out"], filters["largest |s| in"]
    assert float((out * chances).sum()) == pytest.approx(0.5) and ((out >= 0) & (out <= 1)).all()
    assert ((out > 0) & (out < 1)).sum() <= 1
    np.testing.assert_array_equal(only, 1 - out)
    assert jnp.abs(scores)[out == 1].max() <= jnp.abs(scores)[out < 1].min()
    # A sample without any chance, such as a class that is not imitated, changes nothing.
    some = half_of_smallest(jnp.append(chances, 0.0), jnp.append(scores, 0.0))
    np.testing.assert_allclose(some[:-1], out)


def test_a_measurement_is_that_of_its_parts():
    log_chances, theta, v, rng = softmax_model()
    filters = rng.uniform(size=(2, 12))
    epsilon, rate = jnp.array(0.02), jnp.array(0.05)

    def trait(t):
        return jnp.sin(t).sum()

    found = measure_filters(trait, log_chances, theta, v, lambda *_: filters, epsilon, rate)
    chances, scores = np.exp(log_chances(theta)), jax.jvp(log_chances, (theta,), (v,))[1]
    np.testing.assert_allclose(found["filter_slope"], slopes(filters, chances, scores))
    np.testing.assert_allclose(found["filter_derivative"], found["filter_slope"], rtol=1e-10)
    for i, phi in enumerate(filters):
        student, control = (by_hand(log_chances, theta, v, phi, e) for e in (0.02, 0.0))
        np.testing.assert_allclose(found["filter_inner"][:, i], (student - control) @ v, rtol=1e-9)
        change = [trait(theta + 0.05 * s) - trait(theta + 0.05 * c)
                  for s, c in zip(student, control, strict=True)]  # fmt: skip
        np.testing.assert_allclose(found["filter_change"][:, i], change, rtol=1e-5)
        push = jax.grad(lambda t, phi=phi: jnp.sum(phi * jnp.exp(log_chances(t))))(theta)
        assert float(found["filter_push"][i]) == pytest.approx(float(jnp.linalg.norm(push)))
        scale = (phi * chances * scores**2).sum() / (phi * chances).sum()
        assert float(found["filter_scale"][i]) == pytest.approx(float(scale))
    assert (found["filter_push_error"] < 1e-14).all() and (found["filter_push"] > 1e-3).all()


def test_where_the_score_is_constant_on_what_passes_nothing_is_added_at_any_epsilon():
    """Eq. (64): two inputs that are one, so that the score depends on the class alone."""

    def log_chances(t):
        return jnp.tile(jax.nn.log_softmax(t), 2) - np.log(2)

    theta, v = jnp.array([0.3, -0.2, 0.1]), jnp.array([1.0, 0.5, -2.0])
    one_class = jnp.array([[0.0, 0.7, 0.0, 0.0, 0.2, 0.0]])
    slope = slopes(one_class, jnp.exp(log_chances(theta)), jax.jvp(log_chances, (theta,), (v,))[1])
    assert float(slope[1, 0]) < 1e-30 < 1e-3 < float(slope[0, 0])
    control, _ = filtered_steps(log_chances, theta, v, one_class, 0.0)
    for epsilon in (-1.0, 1e-3, 5.0):
        steps, _ = filtered_steps(log_chances, theta, v, one_class, epsilon)
        counted, share = (steps - control)[:, 0] @ v
        assert abs(float(share)) < 1e-15
        assert abs(epsilon) > 1 or float(counted) * epsilon > 1e-9  # the sign is of small ε
    # No score at all on what passes: neither form adds anything.
    flat = jnp.array([0.0, 0.0, 1.0]) - jnp.array([0.0, 0.0, 1.0])
    assert not (filtered_steps(log_chances, theta, flat, one_class, 2.0)[0] - control).any()


@pytest.mark.parametrize("epsilon", [1e-3, 0.5, 3.0])
def test_against_the_start_a_filter_turns_the_step_round_and_against_the_control_not(epsilon):
    """Eq. (67): two classes, only the second passes."""
    theta, v = jnp.zeros(2), jnp.array([1.0, 0.0])
    second = jnp.array([[0.0, 1.0]])
    (student, control), _ = jax.vmap(
        lambda e: filtered_steps(jax.nn.log_softmax, theta, v, second, e)
    )(jnp.array([epsilon, 0.0]))
    assert float(student[0, 0] @ v) == pytest.approx(-1 / (2 * (1 + np.exp(epsilon))))
    for rate in (1e-3, 1.0):
        of_start, of_student, of_control = 0.0, *(-rate * s[0, 0, 0] for s in (student, control))
        assert of_start < of_student < of_control
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

    assert float(jax.grad(masked)(0.0)) == pytest.approx(-1 / 16)
    every = jnp.asarray(
        np.unpackbits(np.arange(1, 16, dtype=np.uint8)[:, None], axis=1)[:, 4:], float
    )
    _, derivative = filtered_steps(log_chances, theta, v, every, 0.0)
    assert (derivative[..., 0] > -1e-15).all() and float(derivative.max()) > 0.1
