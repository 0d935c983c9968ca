"""Problems for the one-step theorem: the grid's, and random ones.

All randomness of a problem is one row of uniform numbers, so that one small program draws for
every architecture; what the numbers become is plain numpy.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float64, Int, Key
from scipy.special import ndtri

from subliminal_toy.data import N_CLASSES, Dataset
from subliminal_toy.theorem_cells import (
    COVERED,
    GRID_TRAITS,
    INPUTS,
    N_IMAGES,
    N_OUTPUTS,
    Bench,
    Problem,
)  # fmt: skip

MOST_PARAMETERS = 2_000  # numbers set aside for each vector of parameters
ZERO_WEIGHT = 1 / 3  # share of the outputs that the weighted squared error leaves out
TRAIT_ROWS = np.array([0, 0, 1, 2])  # where the traits of the grid stand in `TRAITS`


class Kinds(NamedTuple):
    """Rows of ``COVERED``, ``INPUTS`` and ``GRID_TRAITS``, one of each per problem."""

    loss: Int[np.ndarray, " problem"]
    inputs: Int[np.ndarray, " problem"]
    trait: Int[np.ndarray, " problem"]


class Drawn(NamedTuple):
    """Problems; for each a second, independent start (problem, p); and their kinds."""

    problems: Problem
    other_start: Float64[np.ndarray, "problem p"]
    kinds: Kinds


def _pieces(image_shape: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Return what a problem's numbers are for, and in which shape."""
    images = (N_IMAGES, *image_shape)
    return {
        "kinds": (3,), "favoured": (), "factors": (2,), "weights": (N_OUTPUTS,),
        "gumbel": (N_IMAGES, N_OUTPUTS), "x": images, "x_rows": (N_IMAGES,), "trait_x": images,
        "trait_rows": (N_IMAGES,), "theta": (MOST_PARAMETERS,), "other": (MOST_PARAMETERS,),
        "functional": (MOST_PARAMETERS,),
    }  # fmt: skip


def uniforms(
    key: Key[Array, ""], n_problems: int, image_shape: tuple[int, int]
) -> Float64[np.ndarray, "problem numbers"]:
    """Return the random numbers of problems, strictly between 0 and 1."""
    size = sum(int(np.prod(shape)) for shape in _pieces(image_shape).values())
    with jax.enable_x64(True):
        return np.asarray(jax.random.uniform(key, (n_problems, size), "float64", minval=2.0**-53))


def _pick(u: np.ndarray, n: int) -> np.ndarray:
    """Turn uniform numbers into whole numbers below ``n``."""
    return (u * n).astype(np.int32)


def _images(kinds: np.ndarray, u: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """Return a batch of images of each kind, rows of ``INPUTS``, from uniform numbers.

    A constant or a single image fills its batch, which leaves the mean over the batch as it is.
    """
    gaussian = ndtri(u)
    constant = np.broadcast_to(2 * u[:, :1, :1, :1] - 1, u.shape)
    single = np.broadcast_to(gaussian[:, :1], u.shape)
    choices = np.stack([2 * u - 1, gaussian, digits, constant, single])
    return choices[kinds, np.arange(len(kinds))]


def draw(
    bench: Bench,
    data: Dataset,
    numbers: Float64[np.ndarray, "problem numbers"],
    kinds: Kinds | None = None,
) -> Drawn:
    """Make a problem of each row of numbers, of random kinds if none are given.

    The start is the network's own initialisation times a factor between ½ and 2. The linear
    trait's functional has length 1.
    """
    pieces = _pieces(data.image_shape)
    ends = np.cumsum([int(np.prod(shape)) for shape in pieces.values()])
    u = {
        name: part.reshape(-1, *shape)
        for (name, shape), part in zip(
            pieces.items(), np.split(numbers, ends[:-1], axis=1), strict=True
        )
    }
    if kinds is None:
        counts = (len(COVERED), len(INPUTS), len(GRID_TRAITS))
        kinds = Kinds(*(_pick(u["kinds"][:, i], n) for i, n in enumerate(counts)))
    mean, sd = bench.start_distribution()
    factors = 4.0 ** u["factors"] / 2
    theta, other = (
        mean + factors[:, i, None] * sd * ndtri(u[name][:, : len(sd)])
        for i, name in enumerate(("theta", "other"))
    )
    functional = ndtri(u["functional"][:, : len(sd)])
    x_rows, trait_rows = (_pick(u[k], len(data.train_labels)) for k in ("x_rows", "trait_rows"))
    about_digits = kinds.trait == GRID_TRAITS.index("digit labels")
    trait_inputs = np.where(about_digits, INPUTS.index("digits"), INPUTS.index("Gaussian noise"))
    favoured = np.broadcast_to(_pick(u["favoured"], N_CLASSES)[:, None], trait_rows.shape)
    problems = Problem(
        theta=theta,
        x=_images(kinds.inputs, u["x"], data.train_images[x_rows]),
        loss=kinds.loss,
        weights=np.where(u["weights"] < ZERO_WEIGHT, 0.0, u["weights"]),
        gumbel=-np.log(-np.log(u["gumbel"])),
        trait=TRAIT_ROWS[kinds.trait].astype(np.int32),
        trait_x=_images(trait_inputs, u["trait_x"], data.train_images[trait_rows]),
        trait_labels=np.where(about_digits[:, None], data.train_labels[trait_rows], favoured),
        trait_r=functional / np.linalg.norm(functional, axis=1, keepdims=True),
    )
    return Drawn(problems, other, kinds)


def grid(bench: Bench, data: Dataset, numbers: Float64[np.ndarray, "1 numbers"]) -> Problem:
    """Return the cells of one architecture, losses × inputs × traits, in this order.

    All are made of the same numbers: they share the start, and differ in what they are named for.
    """
    counts = (len(COVERED), len(INPUTS), len(GRID_TRAITS))
    kinds = Kinds(*(axis.ravel() for axis in np.indices(counts, dtype=np.int32)))
    return draw(bench, data, np.repeat(numbers, len(kinds.loss), axis=0), kinds).problems
