"""What a filter does to the step: proofs/README.md, section 16, in its letters.

Samples are the entries of an array of any shape, such as (inputs, classes); a filter is an array of
that shape, the chance with which each sample passes, and several are a leading axis.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from subliminal_toy.theorem.one_step import (
    Number,
    Scalar,
    TraitLoss,
    Vector,
    teacher,
)

Samples = Float[Any, "*samples"]
Filters = Float[Any, "filters *samples"]
LogChances = Callable[[Vector], Samples]

FILTERS = ("none", "at random", "of inputs", "by label", "largest |s| out", "largest |s| in")
FORMS = ("counted", "fixed size")
"""Samples that fail count as nothing, or the step is divided by what passes: Eq. (60)."""


def passed(filters: Filters, weights: Samples) -> Filters:
    """Return the weights of the samples that pass each filter."""
    return filters * weights[None]


def total(weights: Filters) -> Float[Any, " filters"]:
    """Return the sum over samples."""
    return weights.reshape(len(weights), -1).sum(axis=1)


def slopes(filters: Filters, chances: Samples, scores: Samples) -> Float[Array, "forms filters"]:
    """Return E[φs²] and Var(s | passes), by the formulas of Eq. (62) and (63)."""
    weights = passed(filters, chances)
    passes = total(weights)
    mean = total(weights * scores[None]) / passes
    deviations = scores[None] - mean.reshape(-1, *[1] * scores.ndim)
    return jnp.stack([total(weights * scores[None] ** 2), total(weights * deviations**2) / passes])


def half_of_smallest(chances: Samples, scores: Samples) -> Samples:
    """Return the filter that lets half of all pass, those with the smallest |s|.

    The sample on the boundary passes with a chance.
    """
    flat = chances.ravel()
    order = jnp.argsort(jnp.abs(scores).ravel())
    before = jnp.cumsum(flat[order]) - flat[order]
    pass_sorted = (0.5 * flat.sum() - before) / jnp.maximum(flat[order], jnp.finfo(flat.dtype).tiny)
    return jnp.zeros_like(flat).at[order].set(jnp.clip(pass_sorted, 0, 1)).reshape(chances.shape)


def filters_of(
    chances: Samples,
    scores: Samples,
    by_input: Float[Any, " inputs"],
    by_label: Float[Any, " labels"],
) -> Filters:
    """Return ``FILTERS`` for samples (inputs, labels), two of them from chances that are given."""
    smallest, all_pass = half_of_smallest(chances, scores), jnp.ones_like(chances)
    by_input, by_label = by_input[:, None] * all_pass, by_label[None] * all_pass
    return jnp.stack([all_pass, 0.5 * all_pass, by_input, by_label, smallest, 1 - smallest])


def filtered_steps(
    log_chances: LogChances, theta: Vector, v: Vector, filters: Filters, epsilon: Number
) -> tuple[Float[Array, "forms filters p"], Float[Array, "forms filters p"]]:
    """Return the student's steps, and their derivatives in ε, for every form and filter.

    At ``epsilon`` 0 the steps are the control's. By Jacobian products. Source: Eq. (60).
    """
    back = jax.vjp(log_chances, theta)[1]

    def weights(e):
        counted = passed(filters, jnp.exp(log_chances(teacher(theta, v, e))))
        share = counted / total(counted).reshape(-1, *[1] * (counted.ndim - 1))
        return jnp.stack([counted, share])

    epsilon = jnp.asarray(epsilon, theta.dtype)
    both = jnp.stack(jax.jvp(weights, (epsilon,), (jnp.ones_like(epsilon),)))
    flat = both.reshape(-1, *both.shape[3:])
    steps = jax.lax.map(lambda w: back(w)[0], flat).reshape(*both.shape[:3], -1)
    return steps[0], steps[1]


def measure_filters(
    trait: TraitLoss,
    log_chances: LogChances,
    theta: Vector,
    v: Vector,
    filters_for: Callable[[Samples, Samples], Filters],
    epsilon: Scalar,
    learning_rate: Number,
) -> dict[str, Array]:
    """Measure one step of student and control under every filter and in both forms.

    ``filters_for`` makes the filters of chances and scores. ``filter_scale`` is E[s² | passes],
    ``filter_push`` the length of ∇Z, by another way than ``filter_push_error``, the control's
    distance from it. ``filter_change`` is L_T of the student less that of the control by the
    gradient between them, which rounding does not hide: its error is of third order in their
    distance.
    """
    log_p, scores = jax.jvp(log_chances, (theta,), (v,))
    chances = jnp.exp(log_p)
    filters = filters_for(chances, scores)

    def at(e):
        return filtered_steps(log_chances, theta, v, filters, e)

    (control, student), (derivative, _) = jax.lax.map(
        at, jnp.stack([jnp.zeros_like(epsilon), epsilon])
    )
    gap = student - control

    def change(move, way):
        middle = theta + learning_rate * (move + way / 2)
        return jax.jvp(trait, (middle,), (learning_rate * way,))[1]

    changes = jax.lax.map(
        lambda row: change(*row), (control.reshape(-1, theta.size), gap.reshape(-1, theta.size))
    )
    pass_rate_back = jax.vjp(lambda t: jnp.exp(log_chances(t)), theta)[1]
    push = jax.lax.map(lambda phi: pass_rate_back(phi)[0], filters)
    slope = slopes(filters, chances, scores)
    return {
        "filter_slope": slope,
        "filter_derivative": derivative @ v,
        "filter_inner": gap @ v,
        "filter_change": changes.reshape(gap.shape[:2]),
        "filter_scale": slope[0] / total(passed(filters, chances)),
        "filter_push": jnp.linalg.norm(push, axis=1),
        "filter_push_error": jnp.linalg.norm(push - control[0], axis=1),
    }
