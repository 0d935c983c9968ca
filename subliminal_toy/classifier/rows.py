"""What the fields of a row mean: optimisers, inputs, losses, and what is kept of an update.

And ``Replicate``, what all rows of one replicate are trained with.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array, Float, Int, Key

from subliminal_toy.classifier.arms import Student, Teacher
from subliminal_toy.data import N_CLASSES, uniform_noise
from subliminal_toy.distill import kl, squared_error
from subliminal_toy.models import Network

Images = Float[Array, "images height width"]
Numbers = Mapping[str, Mapping[str, Any]]
"""The numbers (``arms.NUMBERS``) of the teacher and of every student, by name."""


class Keys(NamedTuple):
    """The random streams of one replicate."""

    own: Key[Array, ""]
    other: Key[Array, ""]
    teacher_order: Key[Array, ""]
    inputs: Key[Array, ""]
    student_order: Key[Array, ""]
    perturbation: Key[Array, ""]
    direction: Key[Array, ""]


class Replicate(NamedTuple):
    """A teacher's row, its network, keys, and what it shares: numbers and arrays of the data."""

    teacher: Teacher
    net: Network
    keys: Keys
    numbers: Numbers
    data: tuple[Array, ...]


OPTIMISERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "sign": optax.sign_sgd,
    "rmsprop": optax.rmsprop,
    "lion": optax.lion,
    "adagrad": optax.adagrad,
    # Adam for the biases, as usual; for the heads too it is a matrix of weights like any other.
    "muon": optax.contrib.muon,
}


def _drawn(draw: Callable, key: Key[Array, ""], index: Array, images: Array) -> Array:
    """Return images of independent pixels, each image from a key of its own."""
    keys = jax.vmap(partial(jax.random.fold_in, key))(index)
    return jax.vmap(lambda k: draw(k, images.shape[1:], jnp.float32))(keys)


def _shuffled(key: Key[Array, ""], index: Array, images: Array) -> Array:
    """Return training images with the pixels of each in an order of its own."""
    keys = jax.vmap(partial(jax.random.fold_in, key))(index)
    flat = images[index % len(images)].reshape(len(index), -1)
    return jax.vmap(jax.random.permutation)(keys, flat).reshape(-1, *images.shape[1:])


INPUTS: dict[str, Callable[[Key[Array, ""], Array, Array], Array]] = {
    "uniform": lambda key, index, images: uniform_noise(
        key, index, (images.shape[1], images.shape[2])
    ),
    "gaussian": partial(_drawn, jax.random.normal),
    "signs": partial(_drawn, jax.random.rademacher),
    "images": lambda key, index, images: images[index % len(images)],
    "shuffled pixels": _shuffled,
}
"""Inputs number ``index`` of a replicate: made from its key, or from the training images."""

LOSSES: dict[str, Callable[[Array, Array, slice, Any], Array]] = {
    "kl": kl,
    "squared error": lambda z, y, columns, _: squared_error(z, y, columns),
}

UPDATES: dict[str, Callable[[Array, Array], Array]] = {
    "without": lambda update, along: update - along,
    "only": lambda update, along: along,
}
"""What becomes of an update of the hidden layers, given its component along a direction; "all" of
it is kept where a row says so."""


def columns(student: Student) -> slice:
    """Return the logits that a student imitates."""
    first = N_CLASSES if student.imitates == "auxiliary" else 0
    return slice(first, None if student.n_aux is None else N_CLASSES + student.n_aux)


def optimiser(arm: Teacher | Student, numbers: Mapping[str, Any]) -> optax.GradientTransformation:
    """Return an arm's optimiser; weight decay is added to the gradient."""
    decay = optax.add_decayed_weights(numbers["weight_decay"])
    return optax.chain(decay, OPTIMISERS[arm.optimiser](numbers["learning_rate"]))


def make_inputs(student: Student, of: Replicate, index: Int[Array, " batch"]) -> Images:
    """Return inputs number ``index`` of a student."""
    return student.input_scale * INPUTS[student.inputs](of.keys.inputs, index, of.data[0])


def imitation_loss(
    student: Student,
    numbers: Numbers,
    outputs: Float[Array, "batch outputs"],
    targets: Float[Array, "batch outputs"],
) -> Float[Array, ""]:
    """Return a student's loss of its outputs against its teacher's, the ``targets``."""
    scale, temperature = numbers[student.name]["loss_scale"], numbers[student.name]["temperature"]
    return scale * LOSSES[student.loss](outputs, targets, columns(student), temperature)
