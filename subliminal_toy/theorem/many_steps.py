"""Many steps of the student, in the letters of proofs/README.md.

The same conventions as in ``one_step``, whose ``predicted_step`` with u in place of v is F u.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from subliminal_toy.distill import snapshots
from subliminal_toy.theorem.one_step import (
    Function,
    Number,
    Outputs,
    Scalar,
    StudentLoss,
    Vector,
    predicted_slope,
    predicted_step,
    teacher,
)

Path = Float[Array, "steps p"]


def student_path(
    f: Function,
    loss: StudentLoss,
    start: Vector,
    x: Array,
    y: Outputs,
    rate: Number,
    steps: Sequence[int],
) -> Path:
    """Return θ⁽ᵏ⁾ − ``start`` for each k of ``steps``, which ascend. Source: Eq. (39).

    The displacement is what is trained, so that it is not rounded like the parameters.
    """

    def moved(d, _):
        return loss(f(start + d, x), y)

    return snapshots(moved, jnp.zeros_like(start), optax.sgd(rate), lambda k: k, steps)


def predicted_path(
    f: Function,
    loss: StudentLoss,
    theta: Vector,
    x: Array,
    v: Vector,
    rate: Number,
    steps: Sequence[int],
) -> Path:
    """Return (I − (I − αF)ᵏ)v for each k of ``steps``, so that θ⁽ᵏ⁾ − θ⁰ is ε times it + o(ε).

    By its recursion d ↦ d + αF(v − d) from 0. Source: Eq. (41).
    """

    def nearer(d, _):
        d = d + rate * predicted_step(f, loss, theta, x, v - d)
        return d, d

    path = jax.lax.scan(nearer, jnp.zeros_like(theta), length=max(steps))[1]
    return path[jnp.asarray(steps) - 1]


def path_slope(
    f: Function,
    loss: StudentLoss,
    theta: Vector,
    x: Array,
    v: Vector,
    rate: Number,
    steps: Sequence[int],
    epsilon: Number,
) -> Path:
    """Return dθ⁽ᵏ⁾/dε at ``epsilon``, by differentiating through the student's whole training."""

    def path(e):
        return student_path(f, loss, theta, x, f(teacher(theta, v, e), x), rate, steps)

    epsilon = jnp.asarray(epsilon, theta.dtype)
    return jax.jvp(path, (epsilon,), (jnp.ones_like(epsilon),))[1]


def largest_eigenvalue(
    f: Function, loss: StudentLoss, theta: Vector, x: Array, start: Vector, n_products: int = 100
) -> Scalar:
    """Return the largest eigenvalue of F, by power iteration from ``start``; never above it."""

    def unit(u):
        return u / jnp.maximum(jnp.linalg.norm(u), jnp.finfo(u.dtype).tiny)

    def product(_, u):
        return unit(predicted_step(f, loss, theta, x, u))

    top = jax.lax.fori_loop(0, n_products, product, unit(start))
    return predicted_slope(f, loss, theta, x, top)
