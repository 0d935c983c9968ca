"""One network's compiled program, which measures problems."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from subliminal_toy.theorem import one_step
from subliminal_toy.theorem.one_step import Function, Scalar, StudentLoss, TraitLoss, Vector
from subliminal_toy.theorem.problems import (
    ARCHITECTURES,
    COVERED,
    LIMITS,
    LOSSES,
    TRAITS,
    Loss,
    Problem,
)

ADAM_LEARNING_RATE = 1e-4  # of Adam's first step, which does not shrink with ε
BATCH = 250  # rows in one call of the compiled program

Measured = dict[str, Any]


def every(fn: Callable[..., Measured]) -> Callable[..., Measured]:
    """Return a function of one row, compiled in float64 for many, one after the other.

    Not through ``ensemble``: the decoder, spread over devices, is compiled to other last bits.
    Under vmap every network has its own weights, and convolutions with an axis of weights are
    hundreds of times slower on a CPU.
    """
    program = jax.jit(lambda *rows: jax.lax.map(lambda row: fn(*row), rows))

    def of_rows(*rows):
        with jax.enable_x64(True):
            return jax.device_get(program(*rows))

    return of_rows


class Bench:
    """A network by its name, on images of one size; compiled at the first use."""

    def __init__(self, name: str, image_shape: tuple[int, int], learning_rate: float):
        """Compile nothing yet."""
        self._architecture, self._image_shape = ARCHITECTURES[name], image_shape
        self._rate, self._losses = learning_rate, LOSSES if name == LIMITS else COVERED
        net = self._architecture.build(image_shape, self._architecture.activation)
        self._apply, self.shapes = net.apply, jax.eval_shape(net.init, jax.random.key(0))
        with jax.enable_x64(True):
            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), self.shapes)
            self._unravel = ravel_pytree(zeros)[1]
        self._program = every(self.cell)

    def f(self, theta: Vector, x: Float[Any, "batch height width"]) -> Array:
        """Return f_θ(x)."""
        return self._apply(self._unravel(theta), x)

    def kink(self, here: Vector, there: Vector, x: Float[Any, "batch height width"]) -> Array:
        """Whether a ReLU's input changes sign between two parameter vectors, or is zero."""
        if not self._architecture.kinked:
            return jnp.zeros((), bool)
        signs = []

        def watched(h):
            signs.append(jnp.sign(h).ravel())
            return self._architecture.activation(h)

        network = self._architecture.build(self._image_shape, watched)
        for theta in (here, there):
            network.apply(self._unravel(theta), x)
        before, after = jnp.split(jnp.concatenate(signs), 2)
        return jnp.any(before * after <= 0)

    def situation(
        self, problem: Problem, among: Mapping[str, Loss] = COVERED
    ) -> tuple[TraitLoss, tuple[Function, StudentLoss, Vector, Array], Vector]:
        """Return a problem's trait loss, (f, loss, θ⁰, x), and v; its loss is one of ``among``."""
        branches = list(dict.fromkeys(among.values()))
        branch_of = jnp.array([branches.index(one) for one in among.values()])
        losses = [partial(one, problem) for one in branches]
        traits = [partial(one, self.f, problem) for one in TRAITS.values()]

        def loss(z, y):
            return jax.lax.switch(branch_of[problem.loss], losses, z, y)

        def trait(t):
            return jax.lax.switch(problem.trait, traits, t)

        v = one_step.direction(trait, problem.theta)
        return trait, (self.f, loss, problem.theta, problem.x), v

    def cell(self, problem: Problem, epsilon: Scalar, student_start: Vector) -> Measured:
        """Measure one problem at one ε, for a student of any start."""
        trait, network, v = self.situation(problem, self._losses)
        f, loss, theta, x = network
        theta_t = one_step.teacher(theta, v, epsilon)
        step = one_step.student_step(f, loss, student_start, x, f(theta_t, x))
        adam = optax.adam(ADAM_LEARNING_RATE)
        adam_move: Any = adam.update(-step, adam.init(student_start))[0]
        moves = jnp.stack([self._rate * step, adam_move])
        change, adam_change = one_step.trait_changes(trait, student_start, moves)
        slope = one_step.slope_and_rounding(*network, v)
        return {
            "inner": jnp.vdot(step, v),
            "slope": slope.slope,
            "slope_by_step": jnp.vdot(one_step.response(*network)(v), v),  # the same number
            "slope_rounding": slope.rounding,
            "rounding": slope.inner_rounding / epsilon,  # of the quotient (Δ_S·v)/ε
            "cross_slope": one_step.cross_slope(*network, v, student_start, epsilon),
            "largest_step": jnp.max(jnp.abs(step)),
            "change": change,
            "adam_inner": jnp.vdot(adam_move, v),  # of Adam's first step, at its own learning rate
            "adam_change": adam_change,
            "kink": self.kink(theta, theta_t, x),
        }

    def cells(
        self,
        problems: Problem,
        epsilons: Float[np.ndarray, " epsilons"],
        starts: Float[np.ndarray, "problem p"] | None = None,
    ) -> Measured:
        """Measure every problem at every ε; all arrays have the axes (problem, epsilon).

        Students start at the teacher's θ⁰ if no ``starts`` are given.
        """
        shape = (len(problems.loss), len(epsilons))
        theta = problems.theta if starts is None else starts
        row, column = (index.ravel() for index in np.indices(shape))
        parts = []
        for first in range(0, row.size, BATCH):
            # The last batch is filled up, so that there is one program.
            at = np.minimum(np.arange(first, first + BATCH), row.size - 1)
            rows = row[at]
            parts.append(self._program(problems.rows(rows), epsilons[column[at]], theta[rows]))
        return jax.tree.map(lambda *a: np.concatenate(a)[: row.size].reshape(shape), *parts)
