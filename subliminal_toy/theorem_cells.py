"""What the one-step theorem is tried on: networks, losses, inputs and trait losses.

A ``Problem`` is one student's whole situation as arrays, so that one compiled program per
architecture serves the grid, the random trials and everything outside the theorem.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from subliminal_toy.data import N_CLASSES
from subliminal_toy.distill import cross_entropy, kl, squared_error
from subliminal_toy.models import Network, cnn, mlp
from subliminal_toy.theorem import (
    Function,
    Scalar,
    Vector,
    measure,
    teacher,
    trait_changes,
)  # fmt: skip
from subliminal_toy.transformer import DecoderShape, decoder

N_AUX = 3
N_OUTPUTS = N_CLASSES + N_AUX
CLASSES, AUXILIARY = slice(N_CLASSES), slice(N_CLASSES, None)
N_IMAGES = 16  # in a student's batch, and in a trait loss's
BIAS_SD = 0.1
"""Biases are drawn too: with zero biases a ReLU may sit on its kink, where nothing is promised."""
BATCH = 250  # problems in one call of the compiled program

# The small networks compile in a third of the time and then take twice as long, still the less.
FAST_COMPILATION = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


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


class Architecture(NamedTuple):
    """``build(image_shape, activation)`` makes the network; ``kinked`` if it uses ReLU.

    ``light`` if a problem is so little work that compiling fast beats compiling well.
    """

    name: str
    build: Callable[[tuple[int, int], Callable], Network]
    activation: Callable
    kinked: bool
    light: bool


ARCHITECTURES = (
    Architecture("linear", lambda shape, a: mlp(shape, (), N_OUTPUTS, a), jax.nn.relu, False, True),
    Architecture("mlp-relu", lambda s, a: mlp(s, (16, 16), N_OUTPUTS, a), jax.nn.relu, True, True),
    Architecture("mlp-tanh", lambda s, a: mlp(s, (16, 16), N_OUTPUTS, a), jnp.tanh, False, True),
    Architecture("cnn-relu", lambda s, a: cnn(s, (4, 16), N_OUTPUTS, a), jax.nn.relu, True, False),
    Architecture("decoder", lambda s, a: image_decoder(s), jax.nn.gelu, False, False),
)


class Problem(NamedTuple):
    """A start, a student's loss and inputs, and a trait loss, all as arrays.

    ``theta`` (p); ``x`` (batch, height, width); ``loss`` a row of ``LOSSES``, ``weights``
    (outputs) of the weighted squared error and ``gumbel`` (batch, outputs), the noise of sampled
    labels; ``trait`` a row of ``TRAITS``, with the images ``trait_x`` (batch, height, width) and
    ``trait_labels`` (batch,) of a trait about classes and the functional ``trait_r`` (p) of a
    linear one.
    """

    theta: Vector
    x: Float[Any, "batch height width"]
    loss: Int[Any, ""]
    weights: Float[Any, " outputs"]
    gumbel: Float[Any, "batch outputs"]
    trait: Int[Any, ""]
    trait_x: Float[Any, "batch height width"]
    trait_labels: Int[Any, " batch"]
    trait_r: Vector


COVERED: dict[str, Callable[[Problem, Array, Array], Scalar]] = {
    "squared error": lambda _, z, y: squared_error(z, y),
    "weighted squared error": lambda c, z, y: squared_error(z, y, weights=c.weights),
    "softmax": lambda _, z, y: kl(z, y),
    "softmax, auxiliary": lambda _, z, y: kl(z, y, AUXILIARY),
    "squared error, auxiliary": lambda _, z, y: squared_error(z, y, AUXILIARY),
}
"""Student losses that the theorem covers: proofs/README.md, Eq. (17), (18) and (21)."""

LOSSES: dict[str, Callable[[Problem, Array, Array], Scalar]] = COVERED | {
    # Eq. (24): nothing to imitate.
    "softmax, one logit": lambda _, z, y: kl(z, y, slice(N_CLASSES, N_CLASSES + 1)),
    # No derivative at z = y.
    "absolute error": lambda _, z, y: jnp.abs(z - y).sum(-1).mean(),
    # M = 0 though the gradient is not: the third condition of Eq. (9) fails.
    "fourth power": lambda _, z, y: ((z - y) ** 4).sum(-1).mean(),
    # The gradient at z = y is not 0: the first condition of Eq. (9) fails.
    "hard labels": lambda _, z, y: cross_entropy(z, jnp.argmax(y, axis=-1)),
    "sampled labels": lambda c, z, y: cross_entropy(z, jnp.argmax(y + c.gumbel, axis=-1)),
}

INPUTS = ("uniform noise", "Gaussian noise", "digits", "constant image", "single image")

TRAITS: dict[str, Callable[[Function, Problem, Vector], Scalar]] = {
    "classes": lambda f, c, t: cross_entropy(f(t, c.trait_x), c.trait_labels, CLASSES),
    "norm": lambda _f, _c, t: jnp.linalg.norm(t),
    "linear": lambda _f, c, t: jnp.vdot(c.trait_r, t),
}
GRID_TRAITS = ("digit labels", "favour a class", "norm", "linear")
"""The first two are the trait "classes" with other images and labels."""


class Cell(NamedTuple):
    """One problem at one ε; fields shared with ``theorem.Measurement`` are the same.

    ``largest_step`` max_k |Δ_S|_k; ``trait_change`` L_T(θ_S) − L_T(start); ``adam_inner`` and
    ``adam_change`` the same two numbers for Adam's first step at its own learning rate;
    ``teacher_kink``: some ReLU's input changes sign, or is zero, between θ⁰ and θ_T(ε) on the
    student's inputs; ``student_kink``: likewise between start and θ_S on the trait's images.
    """

    inner: Scalar
    slope: Scalar
    slope_by_step: Scalar
    rounding: Scalar
    largest_step: Scalar
    trait_change: Scalar
    adam_inner: Scalar
    adam_change: Scalar
    teacher_kink: Bool[Any, ""]
    student_kink: Bool[Any, ""]


class Bench:
    """One architecture on images of one size, and its compiled program.

    Problems run one after the other inside it (``lax.map``): under ``vmap`` every network has its
    own weights, and convolutions with a weight axis are hundreds of times slower on a CPU.
    """

    def __init__(
        self,
        architecture: Architecture,
        image_shape: tuple[int, int],
        learning_rate: float,
        adam_learning_rate: float,
        losses: Mapping[str, Callable[[Problem, Array, Array], Scalar]],
    ):
        """Compile nothing yet; ``losses`` are the rows that a problem's loss may name."""
        self.architecture, self.image_shape = architecture, image_shape
        self._rate, self._adam = learning_rate, optax.adam(adam_learning_rate)
        self._net = architecture.build(image_shape, architecture.activation)
        self.shapes = jax.eval_shape(self._net.init, jax.random.key(0))
        with jax.enable_x64(True):
            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), self.shapes)
            self._unravel = ravel_pytree(zeros)[1]
        self._losses = losses
        self.compiler_options = (
            FAST_COMPILATION if architecture.light and jax.default_backend() == "cpu" else None
        )
        self._program = jax.jit(
            lambda *rows: jax.lax.map(lambda row: self.cell(*row), rows),
            compiler_options=self.compiler_options,
        )

    def f(self, theta: Vector, x: Float[Any, "batch height width"]) -> Array:
        """Return f_θ(x)."""
        return self._net.apply(self._unravel(theta), x)

    def start_distribution(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and sd (p) of θ⁰: the network's own, with biases and scales spread too."""
        mean, sd = [], []
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.shapes):
            kind = path[-1].key
            spread = {
                "kernel": np.prod(leaf.shape[:-1]) ** -0.5,
                "weight": leaf.shape[-1] ** -0.5,
                "embedding": leaf.shape[-1] ** -0.5,
                "bias": BIAS_SD,
                "scale": BIAS_SD,
            }[kind]
            mean.append(np.full(leaf.size, float(kind == "scale")))
            sd.append(np.full(leaf.size, spread))
        return np.concatenate(mean), np.concatenate(sd)

    def signs(self, theta: Vector, x: Float[Any, "batch height width"]) -> Array:
        """Return the sign of every ReLU's input, all layers in one vector."""
        inputs = []

        def watched(h):
            inputs.append(jnp.sign(h).ravel())
            return self.architecture.activation(h)

        self.architecture.build(self.image_shape, watched).apply(self._unravel(theta), x)
        return jnp.concatenate(inputs)

    def kink(self, here: Vector, there: Vector, x: Float[Any, "batch height width"]) -> Array:
        """Whether a ReLU's input changes sign between two parameter vectors, or is zero."""
        if not self.architecture.kinked:
            return jnp.zeros((), bool)
        return jnp.any(self.signs(here, x) * self.signs(there, x) <= 0)

    def cell(self, problem: Problem, epsilon: Scalar, student_start: Vector) -> Cell:
        """Measure one problem at one ε."""

        def loss(z, y):
            return jax.lax.switch(
                problem.loss, [partial(one, problem) for one in self._losses.values()], z, y
            )

        def trait(t):
            return jax.lax.switch(
                problem.trait, [partial(one, self.f, problem) for one in TRAITS.values()], t
            )

        theta, x = problem.theta, problem.x
        m = measure(self.f, loss, trait, theta, x, epsilon, student_start)
        move = self._rate * m.step
        adam_move: Any = self._adam.update(-m.step, self._adam.init(student_start))[0]
        change, adam_change = trait_changes(trait, student_start, jnp.stack([move, adam_move]))
        return Cell(
            inner=m.inner,
            slope=m.slope,
            slope_by_step=m.slope_by_step,
            rounding=m.rounding,
            largest_step=jnp.max(jnp.abs(m.step)),
            trait_change=change,
            adam_inner=jnp.vdot(adam_move, m.direction),
            adam_change=adam_change,
            teacher_kink=self.kink(theta, teacher(theta, m.direction, epsilon), x),
            student_kink=self.kink(student_start, student_start + move, problem.trait_x),
        )

    def cells(
        self,
        problems: Problem,
        epsilons: np.ndarray,
        student_starts: np.ndarray | None = None,
    ) -> Cell:
        """Measure many problems, each at its own ε; all axes of ``problems`` are led by theirs.

        Students start at the teacher's θ⁰ if no ``student_starts`` (problem, p) are given.
        """
        starts = problems.theta if student_starts is None else student_starts
        parts = []
        for first in range(0, len(epsilons), BATCH):
            # The last batch is filled up, so that there is one program.
            rows = np.minimum(np.arange(first, first + BATCH), len(epsilons) - 1)
            batch = jax.tree.map(lambda a, rows=rows: a[rows], (problems, epsilons, starts))
            with jax.enable_x64(True):
                parts.append(jax.device_get(self._program(*batch)))
        whole = jax.tree.map(lambda *a: np.concatenate(a)[: len(epsilons)], *parts)
        return Cell(*whole)
