"""The one-step theorem in numbers, in the letters of proofs/README.md.

Parameters are one vector θ of length p and a network is f(θ, x) → (batch, outputs); a student's
loss ℓ(z, y) is a mean over the batch of outputs z and labels y, as in ``distill``; a teacher's
loss is L_T(θ). Everything is exact differentiation, in float64, and works for any network.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Vector = Float[Any, " p"]  # Any: jax's arrays or numpy's
Outputs = Float[Any, "batch *outputs"]
Scalar = Float[Any, ""]
Number = Scalar | float
Function = Callable[[Vector, Any], Outputs]
StudentLoss = Callable[[Outputs, Outputs], Scalar]
TraitLoss = Callable[[Vector], Scalar]
Setting = tuple[Function, StudentLoss, Vector, Any]  # f, ℓ, θ⁰ and x

ROUNDOFF = 2.0**-53

# Truncation moves the quotient (Δ_S·v)/ε by about Cε (Eq. 10 for a twice differentiable network),
# rounding by about κu/ε (u = 1.1e-16, see `slope_and_rounding`); they are equal near ε = √(κu/C).
# With κ/C up to 1e4 that is 1e-6, the smallest ε that shows the theorem instead of rounding.
EPSILONS = np.logspace(-6, 2, 17)

# The order is fitted where the next term of the expansion, of relative size ε, is below 1e-3, from
# the smallest ε at which the remainder is three times what rounding may add to it. Rounding at its
# bound would change the slope of five points (two decades) by .05, of three, the fewest, by .13;
# it is usually far below its bound.
LARGEST_FITTED, RESOLUTION, MOST_POINTS, FEWEST_POINTS = 1e-3, 3.0, 5, 3

# The remainder is measured a second time as an integral, Δ_S·v − εA = ∫₀^ε (C(s) − A) ds with C the
# cross-slope: no nearly equal outputs are subtracted, so that ε far below rounding's reach, and far
# below nearly every kink, resolve it. The two nodes of Gauss and Legendre are exact for cubics.
SMALL_EPSILONS = np.logspace(-9, -6, 7)
NODES = np.array([0.5 - 12**-0.5, 0.5 + 12**-0.5])


def teacher(theta: Vector, v: Vector, epsilon: Number) -> Vector:
    """Return θ_T(ε) = θ⁰ + εv. Source: proofs/README.md, Eq. (1)."""
    return theta + epsilon * v


def direction(trait_loss: TraitLoss, theta: Vector) -> Vector:
    """Return v = −∇L_T(θ⁰). Source: proofs/README.md, Eq. (5)."""
    return -jax.grad(trait_loss)(theta)


def student_step(f: Function, loss: StudentLoss, theta: Vector, x: Array, y: Outputs) -> Vector:
    """Return the student's step Δ_S = −∇_θ E[ℓ(f_θ(x), y)]. Source: proofs/README.md, Eq. (4)."""
    return -jax.grad(lambda t: loss(f(t, x), y))(theta)


def loss_matrix_product(loss: StudentLoss, z: Outputs, u: Outputs) -> Outputs:
    """Return Mu, with M = −∂_y ∇_z ℓ(z, y) at y = z, by differentiating in the labels.

    The mean over the batch is in it. Source: proofs/README.md, Eq. (8).
    """
    return -jax.jvp(lambda y: jax.grad(loss)(z, y), (z,), (u,))[1]


def predicted_slope(f: Function, loss: StudentLoss, theta: Vector, x: Array, v: Vector) -> Scalar:
    """Return A = E[(J_x v)ᵀ M(x) (J_x v)]. Source: proofs/README.md, Eq. (8)."""
    return slope_and_rounding(f, loss, theta, x, v)[0]


def response(f: Function, loss: StudentLoss, theta: Vector, x: Array) -> Callable[[Vector], Vector]:
    """Return the function u ↦ F u with F = E[J_xᵀ M(x) J_x], so that Δ_S(ε) = εFv + o(ε).

    A second way to A = vᵀFv: M is here the loss's Hessian in the outputs, which is the same matrix
    at z = y, and J_xᵀ is reverse mode. Source: proofs/README.md, Eq. (11) and (34).
    """
    z, along = jax.linearize(lambda t: f(t, x), theta)
    back = jax.linear_transpose(along, theta)

    def product(u):
        return back(jax.jvp(lambda outputs: jax.grad(loss)(outputs, z), (z,), (along(u),))[1])[0]

    return product


def cross_slope(
    f: Function,
    loss: StudentLoss,
    theta: Vector,
    x: Array,
    v: Vector,
    student_start: Vector,
    epsilon: Number = 0.0,
) -> Scalar:
    """Return C = d/dε (Δ_S(ε)·v), at ε = 0 or elsewhere, for a student that starts anywhere.

    What the teacher's move adds to the student's step along v: C = A for a student that starts at
    ``theta``. Differentiates proofs/README.md, Eq. (7), with J_x and f at the student's start.
    """
    z, jv = jax.jvp(lambda t: f(t, x), (student_start,), (v,))

    def inner(e):
        return -jnp.vdot(jax.grad(loss)(z, f(teacher(theta, v, e), x)), jv)

    return jax.jvp(inner, (epsilon,), (1.0,))[1]


def slope_and_rounding(
    f: Function, loss: StudentLoss, theta: Vector, x: Array, v: Vector
) -> tuple[Scalar, Scalar, Scalar]:
    """Return A, and about how far rounding can move it and Δ_S·v.

    A number like an output is a sum of at most about p products, and rounding errors add up like
    √p of them (Higham and Mary 2019): |δ| ≤ √p u times its size. To first order an error δ in the
    outputs z or the labels y moves Δ_S·v by E[(J_x v)ᵀ M δ], whatever ε is (proofs/README.md,
    Eq. (7) and (8)); the loss's own gradient, a difference of numbers like probabilities, is off
    by some u per output. What rounding does after the loss is proportional to Δ_S itself. For A
    the δ is in J_x v and, for the same reason, in M.
    """
    z, jv = jax.jvp(lambda t: f(t, x), (theta,), (v,))
    m_jv = loss_matrix_product(loss, z, jv)
    of_outputs = jnp.vdot(jnp.abs(m_jv), jnp.abs(z)) + jnp.sum(jnp.abs(jv)) / len(z)
    of_slope = jnp.vdot(jnp.abs(m_jv), jnp.abs(jv)) + jnp.sum(jv**2) / len(jv)
    unit = 2 * theta.size**0.5 * ROUNDOFF
    return jnp.vdot(jv, m_jv), unit * of_slope, unit * of_outputs


def trait_changes(trait_loss: TraitLoss, start: Vector, move: Vector) -> Scalar:
    """Return by how much a move, e.g. αΔ_S, changes the trait loss: proofs/README.md, Eq. (14)."""
    # By a loop, so that the trait loss is compiled once.
    before, after = jax.lax.map(trait_loss, jnp.stack([start, start + move]))
    return after - before


def order(
    epsilons: np.ndarray, quotient_errors: np.ndarray, rounding: np.ndarray, smooth: Any = True
) -> np.ndarray:
    """Return the log-log slope of the remainder Δ_S·v − εA against ε; NaN if too few points.

    Along the last axis, ε, which ascends; ``quotient_errors`` are |(Δ_S·v)/ε − A| and ``rounding``
    what rounding may add to them; ``smooth`` says where no kink was crossed. 2 is expected of a
    twice differentiable network.
    """
    usable = (epsilons <= LARGEST_FITTED) & (quotient_errors > RESOLUTION * rounding) & smooth
    usable &= usable.cumsum(axis=-1) <= MOST_POINTS
    x = np.log(epsilons)
    y = x + np.log(quotient_errors, out=np.zeros(usable.shape), where=usable)
    n, of_x, of_y, of_xx, of_xy = (np.sum(usable * a, axis=-1) for a in (1, x, y, x * x, x * y))
    spread, nothing = n * of_xx - of_x**2, np.full(n.shape, np.nan)
    return np.divide(n * of_xy - of_x * of_y, spread, out=nothing, where=n >= FEWEST_POINTS)
