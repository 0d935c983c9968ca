"""What the theorem is tried on: networks, losses, inputs, traits, starts, metrics; random problems.

A ``Problem`` is one student's whole situation as arrays, so that one compiled program measures all
problems of a network.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from subliminal_toy.data import N_CLASSES, Dataset
from subliminal_toy.distill import cross_entropy, kl, squared_error
from subliminal_toy.models import Network, cnn, mlp
from subliminal_toy.theorem.one_step import (
    Function,
    Scalar,
    StudentLoss,
    TraitLoss,
    Vector,
    direction,
)
from subliminal_toy.transformer import DecoderShape, decoder

N_AUX = 3
N_OUTPUTS = N_CLASSES + N_AUX
CLASSES, AUXILIARY = slice(N_CLASSES), slice(N_CLASSES, None)
N_IMAGES = 16  # in a student's batch, and in a trait loss's
BIAS_SD = 0.1
"""Biases are drawn too: with zero biases a ReLU may sit on its kink, where nothing is promised."""
ZERO_WEIGHT = 1 / 3  # share of the outputs that the weighted squared error leaves out


def image_decoder(image_shape: tuple[int, int]) -> Network:
    """Return the language model's decoder, reading an image as tokens.

    A token is every fourth pixel of every second row, in as many grey levels from −1 to 1 as
    there are outputs; the outputs are the logits at the last position.
    """
    length = -(-image_shape[0] // 2) * -(-image_shape[1] // 4)
    shape = DecoderShape(N_OUTPUTS, length, n_layers=1, n_heads=2, width=8, mlp_width=16)
    network = decoder(shape)

    def apply(params, x):
        levels = jnp.floor((x[:, ::2, ::4] + 1) / 2 * N_OUTPUTS)
        tokens = jnp.clip(levels, 0, N_OUTPUTS - 1).astype(jnp.int32).reshape(len(x), -1)
        return network.apply(params, tokens)[:, -1]

    return Network(network.init, apply)


Builder = Callable[[tuple[int, int], Callable[[Array], Array]], Network]

ARCHITECTURES: dict[str, tuple[Builder, Callable[[Array], Array]]] = {
    "linear": (lambda shape, act: mlp(shape, (), N_OUTPUTS, act), jax.nn.relu),
    "mlp-relu": (lambda shape, act: mlp(shape, (16, 16), N_OUTPUTS, act), jax.nn.relu),
    "mlp-tanh": (lambda shape, act: mlp(shape, (16, 16), N_OUTPUTS, act), jnp.tanh),
    "cnn-relu": (lambda shape, act: cnn(shape, (4, 16), N_OUTPUTS, act), jax.nn.relu),
    "decoder": (lambda shape, _: image_decoder(shape), jax.nn.gelu),
}
"""For each network the function that makes it for images of one shape, and its activation."""
KINKED = ("mlp-relu", "cnn-relu")


class FlatNetwork(NamedTuple):
    """A network as a function f(θ, x) of one parameter vector.

    ``shapes`` is its own tree of parameters; ``crosses_kink(θ, θ′, x)`` says whether the input of a
    ReLU changes sign between two parameter vectors, or is zero.
    """

    f: Function
    shapes: Any
    crosses_kink: Callable[[Vector, Vector, Array], Array]


def flat_network(name: str, image_shape: tuple[int, int]) -> FlatNetwork:
    """Return a network of ``ARCHITECTURES`` for images of one shape."""
    build, activation = ARCHITECTURES[name]
    network = build(image_shape, activation)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    with jax.enable_x64(True):
        unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes))[1]

    def crosses_kink(here, there, x):
        if name not in KINKED:
            return jnp.zeros((), bool)
        signs = []

        def watched(h):
            signs.append(jnp.sign(h).ravel())
            return activation(h)

        watching = build(image_shape, watched)
        for theta in (here, there):
            watching.apply(unravel(theta), x)
        before, after = jnp.split(jnp.concatenate(signs), 2)
        return jnp.any(before * after <= 0)

    return FlatNetwork(lambda theta, x: network.apply(unravel(theta), x), shapes, crosses_kink)


class Problem(NamedTuple):
    """A student's start, loss and inputs, and a trait loss, all as arrays."""

    theta: Vector  # θ⁰
    other: Vector  # an independent start
    x: Float[Any, "batch height width"]
    loss: Int[Any, ""]  # position in ``COVERED``
    weights: Float[Any, " outputs"]  # of the weighted squared error
    trait: Int[Any, ""]  # position in ``TRAITS``
    trait_x: Float[Any, "batch height width"]  # images and labels of a trait about classes
    trait_labels: Int[Any, " batch"]
    trait_r: Vector  # the functional of a linear trait

    def rows(self, at: Any) -> "Problem":
        """Return some of many problems, by their places along the first axis."""
        return jax.tree.map(lambda a: a[at], self)


Loss = Callable[[Problem, Array, Array], Scalar]

AFFINE = ("squared error", "weighted squared error", "squared error, auxiliary")
"""Losses with an affine gradient: with one linear layer the expansion has no remainder."""


def _squared(problem: Problem, z: Array, y: Array) -> Scalar:
    """Return the squared error of ``AFFINE``, whose rows are one branch: it compiles sooner."""
    weights = jnp.stack([jnp.ones(N_OUTPUTS), problem.weights, jnp.arange(N_OUTPUTS) >= N_CLASSES])
    row = jnp.array([AFFINE.index(name) if name in AFFINE else 0 for name in COVERED])
    return squared_error(z, y, weights=weights[row[problem.loss]])


COVERED: dict[str, Loss] = {
    "squared error": _squared,
    "weighted squared error": _squared,
    "softmax": lambda _, z, y: kl(z, y),
    "softmax, auxiliary": lambda _, z, y: kl(z, y, AUXILIARY),
    "squared error, auxiliary": _squared,
}
"""Student losses that the theorem covers: proofs/README.md, Eq. (17), (18) and (21)."""

INPUTS = ("uniform noise", "Gaussian noise", "digits", "constant image", "single image")

TRAITS: dict[str, Callable[[Function, Problem, Vector], Scalar]] = {
    "classes": lambda f, p, t: cross_entropy(f(t, p.trait_x), p.trait_labels, CLASSES),
    "norm": lambda _f, _p, t: jnp.linalg.norm(t),
    "linear": lambda _f, p, t: jnp.vdot(p.trait_r, t),
}
GRID_TRAITS = {"digit labels": "classes", "favour a class": "classes", "norm": "norm",
               "linear": "linear"}  # fmt: skip
"""The traits that are tried, and their loss: two are about classes, with different images."""

N_COMBINATIONS = (len(COVERED), len(INPUTS), len(GRID_TRAITS))


def situation(
    f: Function, problem: Problem
) -> tuple[TraitLoss, tuple[Function, StudentLoss, Vector, Array], Vector]:
    """Return a problem's trait loss, (f, loss, θ⁰, x), and v, for one network f."""
    branches = list(dict.fromkeys(COVERED.values()))
    branch = jnp.array([branches.index(loss) for loss in COVERED.values()])[problem.loss]
    losses = [partial(loss, problem) for loss in branches]
    traits = [partial(trait, f, problem) for trait in TRAITS.values()]

    def loss(z, y):
        return jax.lax.switch(branch, losses, z, y)

    def trait(theta):
        return jax.lax.switch(problem.trait, traits, theta)

    return trait, (f, loss, problem.theta, problem.x), direction(trait, problem.theta)


def start_distribution(shapes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and sd (p) of θ⁰: the network's own, with biases and scales spread too."""
    mean, sd = [], []
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        kind = path[-1].key
        fan_in = np.prod(leaf.shape[:-1]) if kind == "kernel" else leaf.shape[-1]
        mean.append(np.full(leaf.size, float(kind == "scale")))
        sd.append(np.full(leaf.size, BIAS_SD if kind in ("bias", "scale") else fan_in**-0.5))
    return np.concatenate(mean), np.concatenate(sd)


def output_layer(shapes: Any, columns: slice = slice(None)) -> np.ndarray:
    """Return which parameters (p) belong to the output layer, or to some of its outputs."""
    parts = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        part = np.zeros(leaf.shape, bool)
        # No hidden layer is as wide as the output; the table of tokens has that length.
        if N_OUTPUTS in leaf.shape and path[-1].key != "embedding":
            np.moveaxis(part, leaf.shape.index(N_OUTPUTS), 0)[columns] = True
        parts.append(part.ravel())
    return np.concatenate(parts)


def draw(shapes: Any, data: Dataset, n_each: int, rng: np.random.Generator) -> Problem:
    """Draw ``n_each`` problems of every combination of loss, inputs and trait, in this order.

    ``shapes`` is the tree of the network's parameters. All fields get a leading axis of problems,
    the last index the fastest. A start is the network's own initialisation times a factor between
    ½ and 2. A constant or a single image fills its batch, which leaves the mean over the batch as
    it is. The linear trait's functional has length 1.
    """
    loss, inputs, trait, _ = np.indices((*N_COMBINATIONS, n_each), np.int32).reshape(4, -1)
    n, mean_sd = len(loss), start_distribution(shapes)
    n_params, batch = len(mean_sd[0]), (n, N_IMAGES)

    def start():
        factor = 4.0 ** rng.uniform(size=(n, 1)) / 2
        return mean_sd[0] + factor * mean_sd[1] * rng.normal(size=(n, n_params))

    theta, other, functional = start(), start(), rng.normal(size=(n, n_params))
    uniform = rng.uniform(-1, 1, (*batch, *data.image_shape))
    gaussian, favouring = rng.normal(size=(2, *batch, *data.image_shape))
    rows, trait_rows = rng.integers(len(data.train_labels), size=(2, *batch))
    kinds = uniform, gaussian, data.train_images[rows], uniform[:, :1, :1, :1], gaussian[:, :1]
    x = np.stack(np.broadcast_arrays(*kinds))[inputs, np.arange(n)]
    about_digits = trait == list(GRID_TRAITS).index("digit labels")
    favoured = np.broadcast_to(rng.integers(N_CLASSES, size=(n, 1)), batch)
    weights = rng.uniform(size=(n, N_OUTPUTS))
    positions = np.array([list(TRAITS).index(name) for name in GRID_TRAITS.values()], np.int32)
    return Problem(
        theta=theta,
        other=other,
        x=x,
        loss=loss,
        weights=np.where(weights < ZERO_WEIGHT, 0.0, weights),
        trait=positions[trait],
        trait_x=np.where(
            about_digits[:, None, None, None], data.train_images[trait_rows], favouring
        ),
        trait_labels=np.where(about_digits[:, None], data.train_labels[trait_rows], favoured),
        trait_r=functional / np.linalg.norm(functional, axis=1, keepdims=True),
    )


DISTANCES = {"distance 0.1": 0.1, "distance 0.3": 0.3, "distance 1": 1.0}
STARTS = ("shared", "independent", "heads shared", "hidden shared", *DISTANCES)
"""Where a student starts; at distance σ, that is (θ⁰ + σθ′)/√(1 + σ²) with θ′ independent."""


def student_start(name: str, problem: Problem, shapes: Any) -> np.ndarray:
    """Return the student's start of one problem or many, by a name of ``STARTS``.

    "heads shared" has only the output layer of the teacher, "hidden shared" all but that. At a
    distance, deviations from the mean are added, which is 1 for the scales of LayerNorm and 0 for
    all other parameters, so that each is spread as in a start.
    """
    head, mean = output_layer(shapes), start_distribution(shapes)[0]
    theta, other = problem.theta, problem.other
    if name in DISTANCES:
        sigma = DISTANCES[name]
        return mean + (theta - mean + sigma * (other - mean)) / (1 + sigma**2) ** 0.5
    return {
        "shared": theta,
        "independent": other,
        "heads shared": np.where(head, theta, other),
        "hidden shared": np.where(head, other, theta),
    }[name]


class Metric(NamedTuple):
    """The symmetric matrix diag(``diagonal``) + ``vector`` ``vector``ᵀ."""

    diagonal: Vector
    vector: Vector

    def times(self, u: Vector) -> Vector:
        """Return its product with ``u``."""
        return self.diagonal * u + self.vector * jnp.vdot(self.vector, u)


def _diagonal(rng: np.random.Generator, shape: tuple[int, int]) -> Metric:
    return Metric(10 ** rng.uniform(-1, 1, shape), np.zeros(shape))


def _signed(rng: np.random.Generator, shape: tuple[int, int]) -> Metric:
    return Metric(rng.normal(size=shape), np.zeros(shape))


def _rank_one(rng: np.random.Generator, shape: tuple[int, int]) -> Metric:
    return Metric(rng.normal(size=shape), 3 * rng.normal(size=shape) / shape[1] ** 0.5)


METRICS: dict[str, tuple[Callable[..., Metric], bool]] = {
    "positive diagonal": (_diagonal, True),
    "diagonal of both signs": (_signed, True),
    "diagonal plus rank one": (_rank_one, True),
    "two positive diagonals": (_diagonal, False),
}
"""How a problem's metric is drawn, and whether teacher and student share it."""


def draw_metrics(
    name: str, rng: np.random.Generator, shape: tuple[int, int]
) -> tuple[Metric, Metric]:
    """Return the teachers' and the students' metrics, by a name of ``METRICS``."""
    draw_metric, shared = METRICS[name]
    teachers = draw_metric(rng, shape)
    return teachers, teachers if shared else draw_metric(rng, shape)
