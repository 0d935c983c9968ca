"""``check_one_step``: the theorem checked for a network of your own, and the measurement behind it.

The experiment calls the same ``measure``, on many random problems.
"""

from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from subliminal_toy.errors import UserError
from subliminal_toy.theorem import one_step
from subliminal_toy.theorem.many_steps import predicted_path, student_path
from subliminal_toy.theorem.one_step import Function, Number, StudentLoss, TraitLoss, Vector

Measured = dict[str, Any]
Measure = Literal["slope", "form", "inner", "rounding", "change", "cross_slope"]


def measure(
    wanted: Collection[Measure],
    trait: TraitLoss,
    f: Function,
    loss: StudentLoss,
    theta: Vector,
    x: Any,
    v: Vector,
    start: Vector,
    epsilons: Float[Any, " epsilons"],
    learning_rate: Number,
    n_steps: int = 1,
) -> Measured:
    """Measure one student that starts at ``start``; what is not ``wanted`` is not computed.

    "slope": A by Eq. (8), with "slope_rounding", what rounding may add to it; "form": vᵀFv, the
    same number in reverse mode, for k steps s_k/α by Eq. (42). For each ε: "inner" Δ_S·v (for k
    steps the displacement over α, times v), "change" of the trait loss, and "cross_slope"
    d/dε (Δ_S·v). "rounding": what rounding may add to "inner".
    """
    measured: Measured = {}
    if "slope" in wanted or "rounding" in wanted:
        slope = one_step.slope_and_rounding(f, loss, theta, x, v)
        if "slope" in wanted:
            measured |= {"slope": slope.slope, "slope_rounding": slope.rounding}
        if "rounding" in wanted:  # as long as αF ≤ 2 no error of an earlier step grows
            measured |= {"rounding": n_steps * slope.inner_rounding}
    if "form" in wanted:
        product = one_step.response(f, loss, theta, x)
        (predicted,) = predicted_path(product, v, learning_rate, (n_steps,))
        measured |= {"form": jnp.vdot(predicted, v) / learning_rate}
    if "inner" in wanted or "change" in wanted:

        def move(epsilon):
            y = f(one_step.teacher(theta, v, epsilon), x)
            return student_path(f, loss, start, x, y, learning_rate, (n_steps,))[0]

        moves = jax.lax.map(move, epsilons)
        if "inner" in wanted:
            measured |= {"inner": moves @ v / learning_rate}
        if "change" in wanted:
            measured |= {"change": one_step.trait_changes(trait, start, moves)}
    if "cross_slope" in wanted:
        cross_slope = partial(one_step.cross_slope, f, loss, theta, x, v, start)
        measured |= {"cross_slope": jax.lax.map(cross_slope, epsilons)}
    return measured


class Verdict(StrEnum):
    """What ``check_one_step`` says of a network."""

    HOLDS = "holds"
    """Slope > 0, and at the smallest ε the student moves with the teacher, the trait loss falls and
    the quotient is within 1 % of the slope."""
    NULL = "null"
    """The slope is 0 and no move has any component along v, both up to rounding."""
    FAILS = "fails"


CLOSE = 0.01  # relative error of the quotient at the smallest ε that "holds" allows
WANTED: tuple[Measure, ...] = ("form", "inner", "rounding", "change")


class Check(NamedTuple):
    """What ``check_one_step`` found; arrays have the axis of ``epsilons``.

    ``inner_products`` of v and Δ_S, for k steps the student's displacement over α;
    ``trait_changes`` of L_T and their prediction −εα·slope; ``relative_errors`` of the quotient of
    inner product and ε against the slope (A; for k steps s_k/α) and the part of them,
    ``rounding``, that rounding can explain; ``order`` of the remainder (2 if smooth, NaN if it is
    rounding); ``largest_epsilon`` up to which the trait loss falls (NaN: nowhere).
    """

    epsilons: Float[np.ndarray, " epsilons"]
    predicted_slope: float
    inner_products: Float[np.ndarray, " epsilons"]
    relative_errors: Float[np.ndarray, " epsilons"]
    rounding: Float[np.ndarray, " epsilons"]
    trait_changes: Float[np.ndarray, " epsilons"]
    predicted_trait_changes: Float[np.ndarray, " epsilons"]
    order: float
    largest_epsilon: float
    verdict: Verdict


def check_one_step(
    apply: Callable[[Any, Any], Any],
    params: Any,
    inputs: Any,
    student_loss: Callable[[Any, Any], Any],
    trait_loss: Callable[[Any], Any],
    learning_rate: float = 0.1,
    epsilons: Sequence[float] | np.ndarray = one_step.EPSILONS,
    n_steps: int = 1,
    student_params: Any = None,
) -> Check:
    """Check the theorem for a network of your own, in float64.

    ``apply(params, inputs)`` gives outputs with the batch first; ``params``, any tree of
    floating-point arrays, are the common start θ⁰; the losses give scalars. ``epsilons`` are the
    teacher's step sizes in units of v = −∇L_T(θ⁰); the student takes ``n_steps`` of rate α.

    The theorem assumes plain gradient steps from the same start (other ``student_params`` show what
    is lost) on the teacher's outputs themselves, network and trait loss differentiable there, and
    an admissible student loss (Eq. (9)): weighted squared error, or softmax cross-entropy on soft
    labels, of all outputs or some; many steps need αF ≤ 2 (Eq. (43)). Where one is broken "fails"
    is no contradiction. ``apply`` must not cast to lower precision. Source: proofs/README.md,
    Eq. (10), (12), (14), (41) and (42). Raises UserError for parameters, numbers or losses that it
    cannot use.
    """
    epsilons = np.sort(np.asarray(epsilons, dtype=np.float64))
    numbers = epsilons.ndim == 1 and epsilons.size and (epsilons > 0).all() and learning_rate > 0
    _require(bool(numbers and n_steps > 0), "epsilons, learning_rate and n_steps must be above 0.")
    with jax.enable_x64(True):
        theta, unravel = ravel_pytree(_doubles(params))
        start = theta if student_params is None else ravel_pytree(_doubles(student_params))[0]
        _require(start.shape == theta.shape, "student_params must have the shapes of params.")
        x = jax.tree.map(_double, inputs)

        def f(t, x):
            return apply(unravel(t), x)

        def trait(t):
            return trait_loss(unravel(t))

        z = f(theta, x)
        _require_finite("student_loss", student_loss(z, z))
        _require_finite("trait_loss", trait(theta))

        @jax.jit
        def program(theta, x, *student):
            v = one_step.direction(trait, theta)
            return measure(WANTED, trait, f, student_loss, theta, x, v, *student, n_steps=n_steps)

        measured = program(theta, x, start, jnp.asarray(epsilons), learning_rate)
        return _check(epsilons, learning_rate, jax.device_get(measured))


def _check(epsilons, learning_rate, measured: Measured) -> Check:
    """Return the check with its verdict."""
    slope, inner, changes = measured["form"], measured["inner"], measured["change"]
    by_rounding, errors = measured["rounding"], np.abs(inner / epsilons - slope)
    if abs(slope) <= by_rounding:
        verdict = Verdict.NULL if (np.abs(inner) <= by_rounding).all() else Verdict.FAILS
    else:
        follows = inner[0] > 0 and changes[0] < 0 and errors[0] <= CLOSE * slope
        verdict = Verdict.HOLDS if follows else Verdict.FAILS
    scale = slope if slope > 0 else np.inf
    return Check(
        epsilons=epsilons,
        predicted_slope=float(slope),
        inner_products=inner,
        relative_errors=errors / scale,
        rounding=by_rounding / epsilons / scale,
        trait_changes=changes,
        predicted_trait_changes=-epsilons * learning_rate * slope,
        order=one_step.order(epsilons, errors, by_rounding / epsilons),
        largest_epsilon=one_step.largest_falling(epsilons, changes),
        verdict=verdict,
    )


def _doubles(params: Any) -> Any:
    """Return parameters as float64; UserError if they are not floating-point arrays."""
    leaves = jax.tree.leaves(params)
    floating = all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves)
    _require(bool(leaves) and floating, "Parameters must be a tree of floating-point arrays.")
    return jax.tree.map(_double, params)


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
