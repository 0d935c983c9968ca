"""Image classifiers as pairs of functions: an MLP and a CNN with auxiliary logits."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key, PyTree

Params = PyTree[Float[Array, "..."]]

# Weights N(0, 1/fan_in). Flax's own `lecun_normal` has the same variance but cuts the tails off.
FAN_IN_NORMAL = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class Network(NamedTuple):
    """A network without state: ``init(key)`` makes parameters, ``apply(params, x)`` outputs.

    ``apply`` takes a batch, its first axis the examples. Every experiment and the theorem take
    any such pair.
    """

    init: Callable[[Key[Array, ""]], Params]
    apply: Callable[[Params, Array], Array]


def network(build: Callable[[nnx.Rngs], Any]) -> Network:
    """Make a ``Network`` of a Flax module.

    ``build(rngs)`` returns the module. Parameters are a plain nested dict of arrays, so that
    ``jax.grad``, ``vmap`` and optax need to know nothing of Flax.
    """
    graphdef, _ = nnx.split(nnx.eval_shape(lambda: build(nnx.Rngs(0))))

    def init(key):
        return nnx.to_pure_dict(nnx.split(build(nnx.Rngs(key)))[1])

    def apply(params, x):
        return nnx.merge(graphdef, params)(x)

    return Network(init, apply)


class Dense(nnx.Module):
    """Affine layer x Wᵀ + b with W (outputs, inputs).

    The weights stand the other way round in Flax's own layer. So the gradient of a layer with few
    outputs comes as a short, wide product, which XLA multiplies five times as fast on a CPU as
    the tall, narrow one.
    """

    def __init__(self, n_in: int, n_out: int, rngs: nnx.Rngs):
        """Draw the weights N(0, 1/fan_in); biases are zero."""
        init = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal", in_axis=1, out_axis=0)
        self.weight = nnx.Param(init(rngs.params(), (n_out, n_in)))
        self.bias = nnx.Param(jnp.zeros(n_out))

    def __call__(self, x: Float[Array, "batch inputs"]) -> Float[Array, "batch outputs"]:
        """Return the outputs."""
        return x @ self.weight[...].T + self.bias[None]


class MLP(nnx.Module):
    """Fully connected network: ``widths`` of input, hidden layers and output, zero biases."""

    def __init__(self, widths: Sequence[int], activation: Callable, rngs: nnx.Rngs):
        """Draw the weights N(0, 1/fan_in)."""
        self.layers = nnx.List(Dense(n_in, n_out, rngs) for n_in, n_out in pairwise(widths))
        self.activation = activation

    def __call__(self, x: Float[Array, "batch *shape"]) -> Float[Array, "batch outputs"]:
        """Return the outputs; images are flattened."""
        h = x.reshape(x.shape[0], -1)
        for layer in self.layers[:-1]:
            h = self.activation(layer(h))
        return self.layers[-1](h)


class CNN(nnx.Module):
    """Convolutional network: 3×3 convolutions of stride 2, one dense layer, one output layer."""

    def __init__(
        self,
        image_shape: tuple[int, int],
        hidden_sizes: Sequence[int],
        n_outputs: int,
        activation: Callable,
        rngs: nnx.Rngs,
    ):
        """Draw the weights N(0, 1/fan_in); ``hidden_sizes`` ends with the dense layer's width."""
        *channels, dense = hidden_sizes
        height, width = image_shape
        for _ in channels:
            height, width = -(-height // 2), -(-width // 2)
        self.convolutions = nnx.List(
            nnx.Conv(n_in, n_out, (3, 3), strides=2, kernel_init=FAN_IN_NORMAL, rngs=rngs)
            for n_in, n_out in pairwise((1, *channels))
        )
        features = height * width * channels[-1] if channels else height * width
        self.head = MLP((features, dense, n_outputs), activation, rngs)
        self.activation = activation

    def __call__(self, x: Float[Array, "batch height width"]) -> Float[Array, "batch outputs"]:
        """Return the outputs."""
        h = x[..., None]
        for convolution in self.convolutions:
            h = self.activation(convolution(h))
        return self.head(h)


def mlp(
    image_shape: Sequence[int],
    hidden_sizes: Sequence[int],
    n_outputs: int,
    activation: Callable = jax.nn.relu,
) -> Network:
    """Return an MLP on inputs of ``image_shape`` (flattened), e.g. 784-256-256-13 ([S])."""
    n_inputs = 1
    for side in image_shape:
        n_inputs *= side
    widths = (n_inputs, *hidden_sizes, n_outputs)
    return network(lambda rngs: MLP(widths, activation, rngs))


def cnn(
    image_shape: tuple[int, int],
    hidden_sizes: Sequence[int],
    n_outputs: int,
    activation: Callable = jax.nn.relu,
) -> Network:
    """Return a CNN: all ``hidden_sizes`` but the last are channels of convolutions."""
    return network(lambda rngs: CNN(image_shape, hidden_sizes, n_outputs, activation, rngs))


ARCHITECTURES: dict[str, Callable[..., Network]] = {"mlp": mlp, "cnn": cnn}
