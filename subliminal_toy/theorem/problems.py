"""What the theorem is tried on: networks, losses, inputs, traits, starts, metrics; random problems.

A ``Problem`` is one student's whole situation as arrays, so that one compiled program measures all
problems of a network.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from subliminal_toy.data import N_CLASSES, Dataset
from subliminal_toy.distill import cross_entropy, kl, squared_error
from subliminal_toy.models import Network, cnn, mlp
from subliminal_toy.theorem.one_step import Function, Outputs, Setting, TraitLoss, Vector, direction
from subliminal_toy.transformer import DecoderShape, decoder

N_AUX = 3
N_OUTPUTS = N_CLASSES + N_AUX
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


ARCHITECTURES = {
    "linear": (lambda shape, act: mlp(shape, (), N_OUTPUTS, act), jax.nn.identity),
    "mlp-relu": (lambda shape, act: mlp(shape, (16, 16), N_OUTPUTS, act), jax.nn.relu),
    "mlp-tanh": (lambda shape, act: mlp(shape, (16, 16), N_OUTPUTS, act), jnp.tanh),
    "cnn-relu": (lambda shape, act: cnn(shape, (4, 16), N_OUTPUTS, act), jax.nn.relu),
    "decoder": (lambda shape, _: image_decoder(shape), jax.nn.gelu),
}
"""For each network the function that makes it for images of one shape, and its activation."""


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

    def signs(theta, x):
        seen = []

        def watched(h):
            seen.append(jnp.sign(h).ravel())
            return activation(h)

        build(image_shape, watched).apply(unravel(theta), x)
        return jnp.concatenate(seen)

    def crosses_kink(here, there, x):
        if activation is not jax.nn.relu:
            return jnp.array(False)
        return jnp.any(signs(here, x) * signs(there, x) <= 0)

    return FlatNetwork(lambda theta, x: network.apply(unravel(theta), x), shapes, crosses_kink)


class Problem(NamedTuple):
    """A student's start, loss and inputs, and a trait loss, all as arrays."""

    theta: Vector  # θ⁰
    other: Vector  # an independent start
    x: Float[Any, "batch height width"]
    softmax: Bool[Any, ""]  # whether the loss is that, and not the squared error
    weights: Float[Any, " outputs"]  # of the squared error; above 0 where softmax is taken
    trait: Int[Any, ""]  # which loss, of ``TRAITS``
    trait_x: Float[Any, "batch height width"]  # images and labels of a trait about classes
    trait_labels: Int[Any, " batch"]
    trait_r: Vector  # the functional of a linear trait

    def rows(self, at: Any) -> "Problem":
        """Return some of many problems, by their places along the first axis."""
        return jax.tree.map(lambda a: a[at], self)


COVERED = {
    "squared error": (False, 0),
    "weighted squared error": (False, 0),
    "softmax": (True, 0),
    "softmax, auxiliary": (True, N_CLASSES),
    "squared error, auxiliary": (False, N_CLASSES),
}
"""Student losses that the theorem covers, whether each is softmax, and the first of its outputs.

Source: proofs/README.md, Eq. (17), (18) and (21).
"""
AFFINE = [name for name, (softmax, _) in COVERED.items() if not softmax]
"""Losses with an affine gradient: with one linear layer the expansion has no remainder."""

INPUTS = ("uniform noise", "Gaussian noise", "digits", "constant image", "single image")

TRAITS = {"digit labels": 0, "favour a class": 0, "norm": 1, "linear": 2}
"""The traits that are tried, and which loss of ``situation`` each is: two are about classes, with
different images."""

N_COMBINATIONS = (len(COVERED), len(INPUTS), len(TRAITS))


def imitated(problem: Problem, z: Outputs) -> Outputs:
    """Return logits of the outputs that a student imitates; no other has any probability."""
    return jnp.where((problem.weights > 0)[None], z, -1e9)


def situation(f: Function, problem: Problem) -> tuple[TraitLoss, Setting, Vector]:
    """Return a problem's trait loss, (f, loss, θ⁰, x), and v, for one network f.

    All losses and traits are computed, and one of them is taken: branches take long to compile.
    """

    def loss(z, y):
        divergence = kl(imitated(problem, z), imitated(problem, y))
        return jnp.where(problem.softmax, divergence, squared_error(z, y, weights=problem.weights))

    def trait(theta):
        classes = cross_entropy(f(theta, problem.trait_x), problem.trait_labels, slice(N_CLASSES))
        linear = jnp.vdot(problem.trait_r, theta)
        return jax.lax.select_n(problem.trait, classes, jnp.linalg.norm(theta), linear)

    return trait, (f, loss, problem.theta, problem.x), direction(trait, problem.theta)


def start_distribution(shapes: Any) -> list[np.ndarray]:
    """Return mean and sd of θ⁰ (p), and which parameters belong to the output layer.

    The distribution is the network's own, with biases and scales spread too. No hidden layer is as
    wide as the output; the table of tokens has that length.
    """
    parts = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        kind = path[-1].key
        fan_in = np.prod(leaf.shape[:-1]) if kind == "kernel" else leaf.shape[-1]
        sd = BIAS_SD if kind in ("bias", "scale") else fan_in**-0.5
        of_output = N_OUTPUTS in leaf.shape and kind != "embedding"
        parts.append([np.full(leaf.size, a) for a in (float(kind == "scale"), sd, of_output)])
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def draw(shapes: Any, data: Dataset, n_each: int, rng: np.random.Generator) -> Problem:
    """Draw ``n_each`` problems of every combination of loss, inputs and trait, in this order.

    ``shapes`` is the tree of the network's parameters. All fields get a leading axis of problems,
    the last index the fastest. A start is the network's own initialisation times a factor between
    ½ and 2. A constant or a single image fills its batch, which leaves the mean over the batch as
    it is. The linear trait's functional has length 1.
    """
    loss, inputs, trait, _ = np.indices((*N_COMBINATIONS, n_each), np.int32).reshape(4, -1)
    n, (mean, sd, _) = len(loss), start_distribution(shapes)
    batch = n, N_IMAGES

    def start():
        factor = 4.0 ** rng.uniform(size=(n, 1)) / 2
        return mean + factor * sd * rng.normal(size=(n, len(mean)))

    theta, other, functional = start(), start(), rng.normal(size=(n, len(mean)))
    uniform = rng.uniform(-1, 1, (*batch, *data.image_shape))
    gaussian, favouring = rng.normal(size=(2, *batch, *data.image_shape))
    rows, trait_rows = rng.integers(len(data.train_labels), size=(2, *batch))
    kinds = uniform, gaussian, data.train_images[rows], uniform[:, :1, :1, :1], gaussian[:, :1]
    x = np.stack(np.broadcast_arrays(*kinds))[inputs, np.arange(n)]
    about_digits = trait == list(TRAITS).index("digit labels")
    favoured = np.broadcast_to(rng.integers(N_CLASSES, size=(n, 1)), batch)
    weights = rng.uniform(size=(n, N_OUTPUTS))
    weighted = loss == list(COVERED).index("weighted squared error")
    softmax, first = np.array(list(COVERED.values()))[loss].T
    imitated = np.arange(N_OUTPUTS) >= first[:, None]
    pictures = data.train_images[trait_rows]
    return Problem(
        theta=theta,
        other=other,
        x=x,
        softmax=softmax.astype(bool),
        weights=np.where(weighted[:, None], weights * (weights >= ZERO_WEIGHT), imitated),
        trait=np.array(list(TRAITS.values()), np.int32)[trait],
        trait_x=np.where(about_digits[:, None, None, None], pictures, favouring),
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
    mean, _, head = start_distribution(shapes)
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


METRICS = ("positive diagonal", "diagonal of both signs", "diagonal plus rank one",
           "two positive diagonals")  # fmt: skip
"""The metrics of teacher and student, the same but for the last."""


def draw_metrics(name: str, rng: np.random.Generator, shape: tuple[int, int]) -> list[Metric]:
    """Return the teachers' and the students' metrics, by a name of ``METRICS``."""

    def metric():
        if "positive" in name:
            return Metric(10 ** rng.uniform(-1, 1, shape), np.zeros(shape))
        diagonal = rng.normal(size=shape)
        vector = rng.normal(size=shape) if "rank one" in name else np.zeros(shape)
        return Metric(diagonal, 3 * vector / shape[1] ** 0.5)

    return [metric(), metric()] if name.startswith("two") else [metric()] * 2
