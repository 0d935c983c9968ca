"""What the fields of a row mean: optimisers, inputs, losses, updates; and what a replicate is."""

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
from subliminal_toy.explain.geometry import inner, ratio
from subliminal_toy.models import Network, Params, hidden_layers, layer_names, map_layers

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


def _each(make: Callable, key: Key[Array, ""], index: Array, images: Array) -> Array:
    """Return ``make(key, image)`` of training images, each with a key of its own."""
    keys = jax.vmap(partial(jax.random.fold_in, key))(index)
    return jax.vmap(make)(keys, images[index % len(images)])


INPUTS: dict[str, Callable[[Key[Array, ""], Array, Array], Array]] = {
    "uniform": lambda key, index, images: uniform_noise(
        key, index, (images.shape[1], images.shape[2])
    ),
    "gaussian": partial(_each, lambda key, x: jax.random.normal(key, x.shape, jnp.float32)),
    "signs": partial(_each, lambda key, x: jax.random.rademacher(key, x.shape, jnp.float32)),
    "images": lambda key, index, images: images[index % len(images)],
    "shuffled pixels": partial(
        _each, lambda key, x: jax.random.permutation(key, x.ravel()).reshape(x.shape)
    ),
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


def component(moved: Params, along: Params) -> Array:
    """Return the component of one tree along another in the hidden layers, in its lengths."""
    of, to = hidden_layers(moved), hidden_layers(along)
    return ratio(inner(of, to), inner(to, to))


def change_update(kind: str, direction: Params) -> optax.GradientTransformation:
    """Return what is done to the optimiser's update of the hidden layers; see ``UPDATES``."""
    if kind == "all":
        return optax.identity()
    output = len(layer_names(direction)) - 1

    def transform(updates, _):
        share = component(updates, direction)

        def leaf(layer, update, along):
            return update if layer == output else UPDATES[kind](update, share * along)

        return map_layers(leaf, updates, direction)

    return optax.stateless(transform)


def make_inputs(
    student: Student, of: Replicate, index: Int[Array, " batch"]
) -> Float[Array, "batch height width"]:
    """Return inputs number ``index`` of a student."""
    return student.input_scale * INPUTS[student.inputs](of.keys.inputs, index, of.data[0])


def imitation_loss(
    student: Student,
    numbers: Numbers,
    outputs: Float[Array, "batch outputs"],
    targets: Float[Array, "batch outputs"],
) -> Float[Array, ""]:
    """Return a student's loss of its outputs against its teacher's, the ``targets``."""
    own, loss = numbers[student.name], LOSSES[student.loss]
    return own["loss_scale"] * loss(outputs, targets, columns(student), own["temperature"])
