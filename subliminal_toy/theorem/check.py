"""``check_one_step``: the theorem checked for a network of your own, and what it measures."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from subliminal_toy.errors import UserError
from subliminal_toy.theorem import one_step
from subliminal_toy.theorem.many_steps import predicted_path, student_path
from subliminal_toy.theorem.one_step import Number, Setting, TraitLoss, Vector


def measure(
    trait: TraitLoss, setting: Setting, v: Vector, start: Vector,
    rate: Number, n_steps: int, epsilon: Number,
) -> dict[str, Any]:  # fmt: skip
    """Measure one student that starts at ``start``; a compiled program computes what it returns.

    ``slope`` A by Eq. (8); ``inner`` Δ_S·v (for k steps the displacement over α, times v);
    ``slope_rounding`` and ``rounding``, what rounding may add to them; ``change`` of the trait
    loss; ``cross_slope`` d/dε (Δ_S·v) of one step.
    """
    f, loss, theta, x = setting
    slope, slope_rounding, rounding = one_step.slope_and_rounding(*setting, v)
    y = f(one_step.teacher(theta, v, epsilon), x)
    (moved,) = student_path(f, loss, start, x, y, rate, (n_steps,))
    return {
        "slope": slope,
        "slope_rounding": slope_rounding,
        "inner": moved @ v / rate,
        # As long as αF ≤ 2 no error of an earlier step grows.
        "rounding": n_steps * rounding,
        "change": one_step.trait_changes(trait, start, moved),
        "cross_slope": one_step.cross_slope(*setting, v, start, epsilon),
    }


class Verdict(StrEnum):
    """What ``check_one_step`` says of a network."""

    HOLDS = "holds"
    """Slope > 0, and at the smallest ε the student moves with the teacher, the trait loss falls and
    the quotient is within 1 % of the slope."""
    NULL = "null"
    """The slope is 0 and no move has any component along v, both up to rounding."""
    FAILS = "fails"


CLOSE = 0.01  # relative error of the quotient at the smallest ε that "holds" allows


class Check(NamedTuple):
    """What ``check_one_step`` found; arrays have the axis of ``epsilons``.

    ``predicted_slope`` is A, for k steps s_k/α; ``inner_products`` of v and Δ_S, for k steps the
    displacement over α; ``relative_errors`` of their quotient by ε against the slope;
    ``trait_changes`` of L_T and their prediction −εα·slope; ``order`` of the remainder (2 if
    smooth, NaN if it is rounding).
    """

    epsilons: Float[np.ndarray, " epsilons"]
    predicted_slope: float
    inner_products: Float[np.ndarray, " epsilons"]
    relative_errors: Float[np.ndarray, " epsilons"]
    trait_changes: Float[np.ndarray, " epsilons"]
    predicted_trait_changes: Float[np.ndarray, " epsilons"]
    order: float
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
    starts = params if student_params is None else student_params
    leaves = jax.tree.leaves((params, starts))
    floating = all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves)
    _require(bool(leaves) and floating, "Parameters must be a tree of floating-point arrays.")
    with jax.enable_x64(True):
        theta, unravel = ravel_pytree(_double(params))
        start, x = ravel_pytree(_double(starts))[0], _double(inputs)
        _require(start.shape == theta.shape, "student_params must have the shapes of params.")

        def f(t, x):
            return apply(unravel(t), x)

        def trait(t):
            return trait_loss(unravel(t))

        @jax.jit
        def losses(theta, x):
            z = f(theta, x)
            return {"student_loss": student_loss(z, z), "trait_loss": trait(theta)}

        for name, loss in losses(theta, x).items():
            shape = jnp.shape(loss)
            _require(not shape, f"{name} must return a finite scalar, not one of shape {shape}.")
            _require(bool(jnp.isfinite(loss)), f"{name} must be finite at the start, not {loss}.")

        @jax.jit
        def program(theta, x, start, epsilons, rate):
            v, setting = one_step.direction(trait, theta), (f, student_loss, theta, x)
            (predicted,) = predicted_path(one_step.response(*setting), v, rate, (n_steps,))

            def at(epsilon):
                measured = measure(trait, setting, v, start, rate, n_steps, epsilon)
                return measured["inner"], measured["change"], measured["rounding"]

            return jnp.vdot(predicted, v) / rate, *jax.lax.map(at, epsilons)

        slope, inner, changes, rounding = jax.device_get(
            program(theta, x, start, epsilons, learning_rate)
        )
    errors = np.abs(inner / epsilons - slope)
    if abs(slope) <= rounding[0]:
        verdict = Verdict.NULL if (np.abs(inner) <= rounding).all() else Verdict.FAILS
    else:
        follows = inner[0] > 0 and changes[0] < 0 and errors[0] <= CLOSE * slope
        verdict = Verdict.HOLDS if follows else Verdict.FAILS
    return Check(
        epsilons=epsilons,
        predicted_slope=float(slope),
        inner_products=inner,
        relative_errors=errors / (slope if slope > 0 else np.inf),
        trait_changes=changes,
        predicted_trait_changes=-epsilons * learning_rate * slope,
        order=float(one_step.order(epsilons, errors, rounding / epsilons)),
        verdict=verdict,
    )


def _double(tree: Any) -> Any:
    """Return floating-point arrays as float64 and all others, such as tokens, as they are."""
    arrays = jax.tree.map(jnp.asarray, tree)
    return jax.tree.map(
        lambda a: a.astype(float) if jnp.issubdtype(a.dtype, jnp.floating) else a, arrays
    )


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise UserError(sentence)
