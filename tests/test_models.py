"""Networks: the stated initial weights, and functions of one batch that know nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from subliminal_toy.models import ARCHITECTURES, cnn, mlp

pytestmark = pytest.mark.usefixtures("compile_quickly")


def test_initial_weights_have_variance_one_over_fan_in_and_full_tails():
    params = mlp((20, 20), (300,), 50).init(jax.random.key(0))
    for layer, fan_in in ((0, 400), (1, 300)):
        weights = np.asarray(params["layers"][layer]["weight"]).ravel() * fan_in**0.5
        n = len(weights)
        assert abs(weights.mean()) < 5 / n**0.5
        assert abs(weights.var() - 1) < 5 * (2 / n) ** 0.5
        # A normal cut at two standard deviations and rescaled ends at 2.28; P(|w| > 2.5) = .0124.
        beyond = np.mean(np.abs(weights) > 2.5)
        assert abs(beyond - 0.01242) < 5 * (0.01242 / n) ** 0.5
        assert not params["layers"][layer]["bias"].any()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_examples_of_a_batch_do_not_see_each_other(architecture):
    net = ARCHITECTURES[architecture]((8, 8), (4, 16), 13)
    params = net.init(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (5, 8, 8))
    together = net.apply(params, images)
    alone = jnp.concatenate([net.apply(params, image[None]) for image in images])
    assert together.shape == (5, 13)
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (7, 5)])
def test_cnn_takes_any_image_shape_and_is_not_linear(shape):
    net = cnn(shape, (4, 8, 16), 11)
    params = net.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2, *shape))
    assert net.apply(params, x).shape == (2, 11)
    assert not np.allclose(net.apply(params, -x), -net.apply(params, x), rtol=1e-3)
