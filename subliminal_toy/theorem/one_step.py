"""The one-step theorem in numbers, in the letters of proofs/README.md.

Parameters are one vector θ of length p and a network is f(θ, x) → (batch, outputs); a student's
loss ℓ(z, y) is a mean over the batch of outputs z and labels y, as in ``distill``; a teacher's
loss is L_T(θ). Everything is exact differentiation, in float64, and works for any network:
``check_one_step`` checks the theorem for one of your own. (Over 300 lines: the formulas, their
rounding and the check that uses them are read together, and a third is text.)
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from subliminal_toy.errors import UserError

Vector = Float[Any, " p"]  # Any: jax's arrays or numpy's
Outputs = Float[Any, "batch *outputs"]
Scalar = Float[Any, ""]
Number = Scalar | float
Function = Callable[[Vector, Any], Outputs]
StudentLoss = Callable[[Outputs, Outputs], Scalar]
TraitLoss = Callable[[Vector], Scalar]

ROUNDOFF = 2.0**-53

# Truncation moves the quotient (Δ_S·v)/ε by about Cε (Eq. 10 for a twice differentiable network),
# rounding by about κu/ε (u = 1.1e-16, see `rounding_of_quotient`); they are equal near ε = √(κu/C).
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


def outputs_along(
    f: Function, loss: StudentLoss, theta: Vector, x: Array, v: Vector
) -> tuple[Outputs, Outputs, Outputs]:
    """Return z = f_θ(x), J_x v and M(x) J_x v, forward mode only."""
    z, jv = jax.jvp(lambda t: f(t, x), (theta,), (v,))
    return z, jv, loss_matrix_product(loss, z, jv)


def predicted_slope(f: Function, loss: StudentLoss, theta: Vector, x: Array, v: Vector) -> Scalar:
    """Return A = E[(J_x v)ᵀ M(x) (J_x v)]. Source: proofs/README.md, Eq. (8)."""
    _, jv, m_jv = outputs_along(f, loss, theta, x, v)
    return jnp.vdot(jv, m_jv)


def predicted_step(f: Function, loss: StudentLoss, theta: Vector, x: Array, v: Vector) -> Vector:
    """Return B = E[J_xᵀ M(x) J_x v], so that Δ_S(ε) = εB + o(ε) and B·v = A.

    A second way to A: M is here the loss's Hessian in the outputs, which is the same matrix
    at z = y, and J_xᵀ is reverse mode. Source: proofs/README.md, Eq. (11).
    """
    z, pull_back = jax.vjp(lambda t: f(t, x), theta)
    jv = jax.jvp(lambda t: f(t, x), (theta,), (v,))[1]
    hessian_jv = jax.jvp(lambda outputs: jax.grad(loss)(outputs, z), (z,), (jv,))[1]
    return pull_back(hessian_jv)[0]


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

    epsilon = jnp.asarray(epsilon, theta.dtype)
    return jax.jvp(inner, (epsilon,), (jnp.ones_like(epsilon),))[1]


def rounding_of_quotient(
    f: Function, loss: StudentLoss, theta: Vector, x: Array, v: Vector, epsilon: Number
) -> Scalar:
    """Return about how far rounding can move (Δ_S·v)/ε.

    To first order an error δ in the outputs z or the labels y moves Δ_S·v by E[(J_x v)ᵀ M δ]
    (proofs/README.md, Eq. (7) and (8)), whatever ε is. An output is a sum of at most about p
    products, and rounding errors add up like √p of them (Higham and Mary 2019), so
    |δ_j| ≤ 2√p u |z_j| for z and y together; the loss's own gradient, a difference of numbers
    like probabilities, is off by some u per output. What rounding does after the loss is
    proportional to Δ_S itself and does not grow as ε falls.
    """
    z, jv, m_jv = outputs_along(f, loss, theta, x, v)
    of_outputs = jnp.vdot(jnp.abs(m_jv), jnp.abs(z))
    of_loss = jnp.sum(jnp.abs(jv)) / len(z)
    return 2 * theta.size**0.5 * ROUNDOFF * (of_outputs + of_loss) / epsilon


def rounding_of_slope(f: Function, loss: StudentLoss, theta: Vector, x: Array, v: Vector) -> Scalar:
    """Return about how far rounding can move A, or the cross-slope at a small ε.

    An entry of J_x v is a sum like an output, hence the same √p u; M is a difference of numbers up
    to 1 for softmax, which adds the second term.
    """
    _, jv, m_jv = outputs_along(f, loss, theta, x, v)
    terms = jnp.vdot(jnp.abs(m_jv), jnp.abs(jv)) + jnp.sum(jv**2) / len(jv)
    return 2 * theta.size**0.5 * ROUNDOFF * terms


class Measurement(NamedTuple):
    """One student at one ε, before it moves.

    ``step`` Δ_S and ``direction`` v (p); ``inner`` Δ_S·v; ``slope`` A and ``slope_by_step`` B·v,
    two ways to the same number; ``rounding`` of the quotient (Δ_S·v)/ε.
    """

    step: Vector
    direction: Vector
    inner: Scalar
    slope: Scalar
    slope_by_step: Scalar
    rounding: Scalar


def measure(
    f: Function,
    loss: StudentLoss,
    trait_loss: TraitLoss,
    theta: Vector,
    x: Array,
    epsilon: Number,
    student_start: Vector | None = None,
) -> Measurement:
    """Move the teacher by εv from θ⁰ and return the student's step from its own start.

    The theorem is about students that start at ``theta``, as they do unless ``student_start`` is
    given.
    Source: proofs/README.md, Eq. (1), (2), (4), (5), (8) and (11).
    """
    v = direction(trait_loss, theta)
    start = theta if student_start is None else student_start
    step = student_step(f, loss, start, x, f(teacher(theta, v, epsilon), x))
    return Measurement(
        step=step,
        direction=v,
        inner=jnp.vdot(step, v),
        slope=predicted_slope(f, loss, theta, x, v),
        slope_by_step=jnp.vdot(predicted_step(f, loss, theta, x, v), v),
        rounding=rounding_of_quotient(f, loss, theta, x, v, epsilon),
    )


def trait_changes(
    trait_loss: TraitLoss, start: Vector, moves: Float[Array, "moves p"]
) -> Float[Array, " moves"]:
    """Return L_T(start + move) − L_T(start) for each move, e.g. αΔ_S: proofs/README.md, Eq. (14).

    One after the other, so that the trait loss is compiled once.
    """
    before, *after = jax.lax.map(trait_loss, jnp.stack([start, *(start + m for m in moves)]))
    return jnp.stack(after) - before


def order(
    epsilons: Float[np.ndarray, " epsilons"],
    quotient_errors: Float[np.ndarray, " epsilons"],
    rounding: Float[np.ndarray, " epsilons"],
    smooth: np.ndarray | None = None,
) -> float | None:
    """Return the log-log slope of the remainder Δ_S·v − εA against ε; None if too few points.

    ``epsilons`` ascend; ``quotient_errors`` are |(Δ_S·v)/ε − A| and ``rounding`` what rounding
    may add to them; ``smooth`` says where no kink was crossed (everywhere if not given). 2 is
    expected of a twice differentiable network.
    """
    usable = (epsilons <= LARGEST_FITTED) & (quotient_errors > RESOLUTION * rounding)
    points = np.flatnonzero(usable if smooth is None else usable & smooth)[:MOST_POINTS]
    if len(points) < FEWEST_POINTS:
        return None
    log_epsilon = np.log(epsilons[points])
    return float(np.polyfit(log_epsilon, np.log(quotient_errors[points]) + log_epsilon, 1)[0])


def quotient_errors_by_integral(
    slopes: Float[np.ndarray, "epsilons nodes"], slope: float
) -> Float[np.ndarray, " epsilons"]:
    """Return |(Δ_S·v)/ε − A| from the cross-slopes at ε times ``NODES``."""
    return np.abs(slopes.mean(axis=-1) - slope)


def largest_falling(
    epsilons: Float[np.ndarray, " epsilons"], changes: Float[np.ndarray, " epsilons"]
) -> float | None:
    """Return the largest ε up to which every step lowers the trait loss; None if none does."""
    falls = changes < 0
    n_falling = len(falls) if falls.all() else int(np.argmin(falls))
    return float(epsilons[n_falling - 1]) if n_falling else None


class OneStepCheck(NamedTuple):
    """What ``check_one_step`` found; arrays have the axis of ``epsilons``.

    ``inner_products`` Δ_S·v; ``trait_changes`` L_T(θ_S) − L_T(θ⁰) and their prediction −εαA;
    ``relative_errors`` of (Δ_S·v)/ε against the slope A and the part of them, ``rounding``,
    that rounding can explain; ``order`` of the remainder (2 if smooth, None if it is
    rounding); ``largest_epsilon`` up to which the trait loss falls. ``verdict``: "holds" (A > 0,
    and at the smallest ε the step points with the teacher, the trait loss falls and the quotient
    is within 1 % of A), "null" (A = 0 and no step has any component along v, both up to
    rounding) or "fails".
    """

    epsilons: Float[np.ndarray, " epsilons"]
    predicted_slope: float
    inner_products: Float[np.ndarray, " epsilons"]
    relative_errors: Float[np.ndarray, " epsilons"]
    rounding: Float[np.ndarray, " epsilons"]
    trait_changes: Float[np.ndarray, " epsilons"]
    predicted_trait_changes: Float[np.ndarray, " epsilons"]
    order: float | None
    largest_epsilon: float | None
    verdict: str


def check_one_step(
    apply: Callable[[Any, Any], Any],
    params: Any,
    inputs: Any,
    student_loss: Callable[[Any, Any], Any],
    trait_loss: Callable[[Any], Any],
    learning_rate: float = 0.1,
    epsilons: Sequence[float] | np.ndarray = EPSILONS,
) -> OneStepCheck:
    """Check the theorem for a network of your own, in float64.

    ``apply(params, inputs)`` gives outputs whose first axis is the batch; ``params`` is any tree
    of floating-point arrays, the common start θ⁰; ``student_loss(outputs, labels)`` and
    ``trait_loss(params)`` give scalars. ``epsilons`` are the teacher's step sizes, in
    units of v = −∇L_T(θ⁰), and ``learning_rate`` is α.

    The theorem assumes: teacher and student start at the same ``params``; the network and the
    trait loss are differentiable there (a ReLU is, away from its kink); the student takes
    one plain gradient step on the teacher's outputs themselves, not on samples of them; and
    the student loss is admissible (proofs/README.md, Eq. (9)): weighted squared error, softmax
    cross-entropy on soft labels, or either on some of the outputs. Where one of these is
    broken the verdict may be "fails", and that is no contradiction. ``apply`` must not itself
    cast to lower precision. Source: proofs/README.md, Eq. (10), (12), (14) and (15).

    Raises UserError if ``params`` has no floating-point arrays or others, if ``epsilons`` or
    ``learning_rate`` are not above 0, or if a loss is not a finite scalar.
    """
    epsilons = np.sort(np.asarray(epsilons, dtype=np.float64))
    _require(
        bool(epsilons.ndim == 1 and epsilons.size and (epsilons > 0).all() and learning_rate > 0),
        "epsilons and learning_rate must be above 0.",
    )
    leaves = jax.tree.leaves(params)
    _require(
        bool(leaves) and all(jnp.issubdtype(jnp.result_type(a), jnp.floating) for a in leaves),
        "params must be a tree of floating-point arrays, at least one.",
    )
    with jax.enable_x64(True):
        theta, unravel = ravel_pytree(jax.tree.map(_double, params))
        x = jax.tree.map(_double, inputs)

        def f(t, x):
            return apply(unravel(t), x)

        def trait(t):
            return trait_loss(unravel(t))

        z = f(theta, x)
        _require_finite("student_loss", student_loss(z, z))
        _require_finite("trait_loss", trait(theta))

        def at(epsilon):
            m = measure(f, student_loss, trait, theta, x, epsilon)
            return m, trait_changes(trait, theta, learning_rate * m.step[None])[0]

        measured, changes = jax.device_get(jax.jit(jax.vmap(at))(jnp.asarray(epsilons)))
    return _verdict(epsilons, measured, changes, learning_rate)


def _double(array: Any) -> Array:
    """Return floating-point arrays as float64 and all others, such as tokens, as they are."""
    array = jnp.asarray(array)
    return array.astype(jnp.float64) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise UserError(sentence)


def _require_finite(name: str, loss: Any) -> None:
    shape = jnp.shape(loss)
    _require(shape == (), f"{name} must return a finite scalar, not an array of shape {shape}.")
    _require(bool(jnp.isfinite(loss)), f"{name} must be finite at the start, not {loss}.")


def _verdict(
    epsilons: np.ndarray, measured: Measurement, changes: np.ndarray, learning_rate: float
) -> OneStepCheck:
    """Return the check with its verdict; ``measured`` and ``changes`` have a leading axis of ε."""
    slope, quotients = float(measured.slope[0]), measured.inner / epsilons
    errors = np.abs(quotients - slope)
    if abs(slope) <= np.min(measured.rounding * epsilons):
        verdict = "null" if (np.abs(quotients) <= measured.rounding).all() else "fails"
    else:
        moves_with = measured.inner[0] > 0 and changes[0] < 0
        verdict = "holds" if moves_with and errors[0] <= 0.01 * slope else "fails"
    scale = slope if slope > 0 else np.inf
    return OneStepCheck(
        epsilons=epsilons,
        predicted_slope=slope,
        inner_products=measured.inner,
        relative_errors=errors / scale,
        rounding=measured.rounding / scale,
        trait_changes=changes,
        predicted_trait_changes=-epsilons * learning_rate * slope,
        order=order(epsilons, errors, measured.rounding),
        largest_epsilon=largest_falling(epsilons, changes),
        verdict=verdict,
    )
