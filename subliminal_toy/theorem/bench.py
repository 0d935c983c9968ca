"""One network's compiled program, which measures problems."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from subliminal_toy.theorem import one_step
from subliminal_toy.theorem.one_step import Function, Scalar, StudentLoss, TraitLoss, Vector
from subliminal_toy.theorem.problems import ARCHITECTURES, COVERED, TRAITS, Loss, Problem

ADAM_LEARNING_RATE = 1e-4  # of Adam's first step, which does not shrink with ε
BATCH = 250  # rows in one call of the compiled program


class Cell(NamedTuple):
    """One problem at one ε.

    ``inner`` Δ_S·v; ``slope`` A and ``slope_by_step`` B·v, two ways to the same number;
    ``rounding`` of the quotient (Δ_S·v)/ε; ``cross_slope`` d/dε (Δ_S·v) at this ε;
    ``slope_rounding`` of A; ``largest_step`` max_k |Δ_S|_k; ``trait_change`` L_T(θ_S) − L_T(start);
    ``adam_inner`` and ``adam_change`` the same two numbers for Adam's first step at its own
    learning rate; ``kink``: some ReLU's input changes sign, or is zero, between θ⁰ and θ_T(ε) on
    the student's inputs.
    """

    inner: Scalar
    slope: Scalar
    slope_by_step: Scalar
    rounding: Scalar
    cross_slope: Scalar
    slope_rounding: Scalar
    largest_step: Scalar
    trait_change: Scalar
    adam_inner: Scalar
    adam_change: Scalar
    kink: Bool[Any, ""]


def mapped(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of one row, compiled for many, one after the other.

    Not through ``ensemble``: the decoder, spread over devices, is compiled to other last bits.
    Under vmap every network has its own weights, and convolutions with an axis of weights are
    hundreds of times slower on a CPU.
    """
    return jax.jit(lambda *rows: jax.lax.map(lambda row: fn(*row), rows))


class Bench:
    """A network by its name, on images of one size; compiled at the first use."""

    def __init__(
        self,
        name: str,
        image_shape: tuple[int, int],
        learning_rate: float,
        losses: Mapping[str, Loss] = COVERED,
    ):
        """``losses`` are those that problems may have, ``COVERED`` or ``LOSSES``."""
        self._architecture, self._image_shape = ARCHITECTURES[name], image_shape
        self._rate, self._losses = learning_rate, losses
        net = self._architecture.build(image_shape, self._architecture.activation)
        self._apply, self.shapes = net.apply, jax.eval_shape(net.init, jax.random.key(0))
        with jax.enable_x64(True):
            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), self.shapes)
            self.unravel = ravel_pytree(zeros)[1]
        self._program = mapped(self.cell)

    def f(self, theta: Vector, x: Float[Any, "batch height width"]) -> Array:
        """Return f_θ(x)."""
        return self._apply(self.unravel(theta), x)

    def _signs(self, theta: Vector, x: Float[Any, "batch height width"]) -> Array:
        """Return the sign of every ReLU's input, all layers in one vector."""
        inputs = []

        def watched(h):
            inputs.append(jnp.sign(h).ravel())
            return self._architecture.activation(h)

        self._architecture.build(self._image_shape, watched).apply(self.unravel(theta), x)
        return jnp.concatenate(inputs)

    def kink(self, here: Vector, there: Vector, x: Float[Any, "batch height width"]) -> Array:
        """Whether a ReLU's input changes sign between two parameter vectors, or is zero."""
        if not self._architecture.kinked:
            return jnp.zeros((), bool)
        return jnp.any(self._signs(here, x) * self._signs(there, x) <= 0)

    def losses(
        self, problem: Problem, among: Mapping[str, Loss] = COVERED
    ) -> tuple[StudentLoss, TraitLoss]:
        """Return a problem's student loss, which is one of ``among``, and its trait loss."""
        branches = list(dict.fromkeys(among.values()))
        branch_of = jnp.array([branches.index(one) for one in among.values()])
        losses = [partial(one, problem) for one in branches]
        traits = [partial(one, self.f, problem) for one in TRAITS.values()]

        def loss(z, y):
            return jax.lax.switch(branch_of[problem.loss], losses, z, y)

        def trait(t):
            return jax.lax.switch(problem.trait, traits, t)

        return loss, trait

    def situation(
        self, problem: Problem
    ) -> tuple[TraitLoss, tuple[Function, StudentLoss, Vector, Array], Vector]:
        """Return a problem's trait loss, (f, loss, θ⁰, x), and v."""
        loss, trait = self.losses(problem)
        v = one_step.direction(trait, problem.theta)
        return trait, (self.f, loss, problem.theta, problem.x), v

    def cell(self, problem: Problem, epsilon: Scalar, student_start: Vector) -> Cell:
        """Measure one problem at one ε."""
        loss, trait = self.losses(problem, self._losses)
        theta, x = problem.theta, problem.x
        v = one_step.direction(trait, theta)
        theta_t = one_step.teacher(theta, v, epsilon)
        step = one_step.student_step(self.f, loss, student_start, x, self.f(theta_t, x))
        adam = optax.adam(ADAM_LEARNING_RATE)
        adam_move: Any = adam.update(-step, adam.init(student_start))[0]
        moves = jnp.stack([self._rate * step, adam_move])
        change, adam_change = one_step.trait_changes(trait, student_start, moves)
        network = self.f, loss, theta, x, v
        slope = one_step.slope_and_rounding(*network)
        return Cell(
            inner=jnp.vdot(step, v),
            slope=slope.slope,
            slope_by_step=jnp.vdot(one_step.predicted_step(*network), v),
            rounding=slope.inner_rounding / epsilon,
            cross_slope=one_step.cross_slope(*network, student_start, epsilon),
            slope_rounding=slope.rounding,
            largest_step=jnp.max(jnp.abs(step)),
            trait_change=change,
            adam_inner=jnp.vdot(adam_move, v),
            adam_change=adam_change,
            kink=self.kink(theta, theta_t, x),
        )

    def cells(
        self,
        problems: Problem,
        epsilons: Float[np.ndarray, " epsilons"],
        starts: Float[np.ndarray, "problem p"] | None = None,
    ) -> Cell:
        """Measure every problem at every ε; all fields get the axes (problem, epsilon).

        Students start at the teacher's θ⁰ if no ``starts`` are given.
        """
        shape = (len(problems.loss), len(epsilons))
        starts = problems.theta if starts is None else starts
        row, column = (index.ravel() for index in np.indices(shape))
        parts = []
        for first in range(0, row.size, BATCH):
            # The last batch is filled up, so that there is one program.
            at = np.minimum(np.arange(first, first + BATCH), row.size - 1)
            batch = jax.tree.map(lambda a, at=at: a[row[at]], (problems, starts))
            with jax.enable_x64(True):
                measured = self._program(batch[0], epsilons[column[at]], batch[1])
                parts.append(jax.device_get(measured))
        whole = jax.tree.map(lambda *a: np.concatenate(a)[: row.size].reshape(shape), *parts)
        return Cell(*whole)
