"""Image classifiers as pairs of functions: an MLP and a CNN with auxiliary logits."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Concatenate, NamedTuple, ParamSpec

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import lecun_normal, variance_scaling
from jaxtyping import Array, Float, Key, PyTree

Params = PyTree[Float[Array, "..."]]
Initialiser = Callable[..., nnx.Initializer]
"""A distribution of initial weights, given the axes of inputs and outputs."""

INITIALISERS: dict[str, Initialiser] = {
    "normal": partial(variance_scaling, 1.0, "fan_in", "normal"),
    "truncated": lecun_normal,
    # U(±fan_in^(−1/2)), PyTorch's default
    "uniform": partial(variance_scaling, 1 / 3, "fan_in", "uniform"),
}
FAN_IN_NORMAL = INITIALISERS["normal"]()


class Network(NamedTuple):
    """A network without state: ``init(key)`` makes parameters, ``apply(params, x)`` outputs.

    ``apply`` takes a batch, its first axis the examples.
    """

    init: Callable[[Key[Array, ""]], Params]
    apply: Callable[[Params, Array], Array]


def network(build: Callable[[nnx.Rngs], Any]) -> Network:
    """Make a ``Network`` of a Flax module, parameters a plain nested dict of arrays."""
    graphdef, _ = nnx.split(nnx.eval_shape(lambda: build(nnx.Rngs(0))))

    def init(key):
        return nnx.to_pure_dict(nnx.split(build(nnx.Rngs(key)))[1])

    def apply(params, x):
        return nnx.merge(graphdef, params)(x)

    return Network(init, apply)


def named_leaves(params: PyTree, prefix: str) -> dict[str, Any]:
    """Return the arrays of a tree by name, as records keep them: ``prefix.layers.0.weight``."""
    return {
        f"{prefix}." + jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in jax.tree.leaves_with_path(params)
    }


def from_named_leaves(named: Mapping[str, Any], prefix: str, like: PyTree) -> PyTree:
    """Return the tree of ``named_leaves``; ``like`` is a tree of the same structure."""
    leaves = [named[name] for name in named_leaves(like, prefix)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def layer_names(params: Params) -> list[str]:
    """Return the names of a classifier's layers from input to output, e.g. ``layers.0``."""
    return list(dict.fromkeys(_layer(path) for path, _ in jax.tree.leaves_with_path(params)))


def _layer(path) -> str:
    return jax.tree_util.keystr(path[:-1], simple=True, separator=".")


def map_layers(fn: Callable[..., Array], params: Params, *others: Params) -> Params:
    """Apply ``fn(number of the layer, leaf, *other_leaves)`` to each leaf; the input's is 0."""
    numbers = {name: number for number, name in enumerate(layer_names(params))}
    return jax.tree.map_with_path(
        lambda path, *leaves: fn(numbers[_layer(path)], *leaves), params, *others
    )


class Dense(nnx.Module):
    """Affine layer x Wᵀ + b with W (outputs, inputs).

    Flax's own layer stores the transpose. Here the gradient of a layer with few outputs is a
    short, wide product, which XLA multiplies five times as fast on a CPU as a tall, narrow one.
    """

    def __init__(self, n_in: int, n_out: int, rngs: nnx.Rngs, initialiser: Initialiser):
        """Draw the weights by ``initialiser``; biases are zero."""
        init = initialiser(in_axis=1, out_axis=0)
        self.weight = nnx.Param(init(rngs.params(), (n_out, n_in)))
        self.bias = nnx.Param(jnp.zeros(n_out))

    def __call__(self, x: Float[Array, "batch inputs"]) -> Float[Array, "batch outputs"]:
        """Return the outputs."""
        return x @ self.weight[...].T + self.bias[None]


class MLP(nnx.Module):
    """Fully connected network on flattened inputs, e.g. 784-256-256-13, with zero biases."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        input_shape: Sequence[int],
        hidden_sizes: Sequence[int],
        n_outputs: int,
        activation: Callable = jax.nn.relu,
        initialiser: Initialiser = INITIALISERS["normal"],
    ):
        """Draw the weights by ``initialiser``."""
        widths = (math.prod(input_shape), *hidden_sizes, n_outputs)
        self.layers = nnx.List(
            Dense(n_in, n_out, rngs, initialiser) for n_in, n_out in pairwise(widths)
        )
        self.activation = activation

    def __call__(self, x: Float[Array, "batch ..."]) -> Float[Array, "batch outputs"]:
        """Return the outputs."""
        h = x.reshape(x.shape[0], -1)
        for layer in self.layers[:-1]:
            h = self.activation(layer(h))
        return self.layers[-1](h)


class CNN(nnx.Module):
    """Convolutional network: 3×3 convolutions of stride 2, one dense layer, one output layer."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        image_shape: tuple[int, int],
        hidden_sizes: Sequence[int],
        n_outputs: int,
        activation: Callable = jax.nn.relu,
        initialiser: Initialiser = INITIALISERS["normal"],
    ):
        """Draw the weights; ``hidden_sizes`` are channels, but for the dense layer's width."""
        channels = (1, *hidden_sizes[:-1])
        self.convolutions = nnx.List(
            nnx.Conv(n_in, n_out, (3, 3), strides=2, kernel_init=initialiser(), rngs=rngs)
            for n_in, n_out in pairwise(channels)
        )
        sides = (-(-side // 2 ** len(self.convolutions)) for side in image_shape)
        seen = (*sides, channels[-1])
        self.head = MLP(rngs, seen, hidden_sizes[-1:], n_outputs, activation, initialiser)
        self.activation = activation

    def __call__(self, x: Float[Array, "batch height width"]) -> Float[Array, "batch outputs"]:
        """Return the outputs."""
        h = x[..., None]
        for convolution in self.convolutions:
            h = self.activation(convolution(h))
        return self.head(h)


Arguments = ParamSpec("Arguments")


def networks(
    module: Callable[Concatenate[nnx.Rngs, Arguments], nnx.Module],
) -> Callable[Arguments, Network]:
    """Return what makes a ``Network`` of a module's arguments but ``rngs``."""
    return lambda *args, **kwargs: network(lambda rngs: module(rngs, *args, **kwargs))


mlp, cnn = networks(MLP), networks(CNN)
"""Make an ``MLP`` or a ``CNN``, e.g. ``mlp((28, 28), (256, 256), 13)``."""


ARCHITECTURES: dict[str, Callable[..., Network]] = {"mlp": mlp, "cnn": cnn}
