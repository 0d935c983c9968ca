"""What a filter does to the step: proofs/README.md, section 16, in its letters.

A filter is the chance with which each sample passes; several are a leading axis.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from subliminal_toy.theorem.one_step import Number, TraitLoss, Vector, teacher

Samples = Float[Any, " samples"]
Filters = Float[Any, "filters samples"]
Steps = Float[Array, "forms filters p"]
LogChances = Callable[[Vector], Samples]

FILTERS = ("none", "at random", "of inputs", "by label", "largest |s| out", "largest |s| in")
FORMS = ("counted", "fixed size")
"""Samples that fail count as nothing, or the step is divided by what passes: Eq. (60)."""


def slopes(filters: Filters, chances: Samples, scores: Samples) -> Float[Array, "forms filters"]:
    """Return E[φs²] and Var(s | passes), by the formulas of Eq. (62) and (63)."""
    weights, s = filters * chances[None], scores[None]
    passes = weights.sum(-1)
    deviations = s - ((weights * s).sum(-1) / passes)[:, None]
    return jnp.stack([(weights * s**2).sum(-1), (weights * deviations**2).sum(-1) / passes])


def half_of_smallest(chances: Samples, scores: Samples) -> Samples:
    """Return the filter that lets half of all pass, those with the smallest |s|.

    The sample on the boundary passes with a chance.
    """
    order = jnp.argsort(jnp.abs(scores))
    ordered = chances[order]
    before = jnp.cumsum(ordered) - ordered
    passes = (0.5 * chances.sum() - before) / jnp.maximum(ordered, jnp.finfo(chances.dtype).tiny)
    return jnp.zeros_like(chances).at[order].set(jnp.clip(passes, 0, 1))


def filters_of(
    chances: Samples,
    scores: Samples,
    by_input: Float[Any, " inputs"],
    by_label: Float[Any, " labels"],
) -> Filters:
    """Return ``FILTERS`` of samples (input, label), two of them from chances that are given."""
    smallest, all_pass = half_of_smallest(chances, scores), jnp.ones_like(chances)
    of_inputs = jnp.repeat(by_input, len(by_label))
    by_label = jnp.tile(by_label, len(by_input))
    return jnp.stack([all_pass, 0.5 * all_pass, of_inputs, by_label, smallest, 1 - smallest])


def filtered_steps(
    log_chances: LogChances, theta: Vector, v: Vector, filters: Filters, epsilon: Number
) -> tuple[Steps, Steps]:
    """Return the student's steps, and their derivatives in ε, for every form and filter.

    At ``epsilon`` 0 the steps are the control's. By Jacobian products. Source: Eq. (60).
    """
    back = jax.vjp(log_chances, theta)[1]

    def weights(e):
        counted = filters * jnp.exp(log_chances(teacher(theta, v, e)))[None]
        return jnp.stack([counted, counted / counted.sum(-1, keepdims=True)])

    both = jnp.stack(jax.jvp(weights, (epsilon,), (1.0,)))
    steps = jax.lax.map(lambda w: back(w)[0], both.reshape(-1, both.shape[-1]))
    steps, derivatives = steps.reshape(*both.shape[:-1], -1)
    return steps, derivatives


def measure_filters(
    trait: TraitLoss,
    log_chances: LogChances,
    theta: Vector,
    v: Vector,
    filters_for: Callable[[Samples, Samples], Filters],
    epsilon: Number,
    learning_rate: Number,
) -> dict[str, Array]:
    """Measure one step of student and control under every filter and in both forms.

    ``filters_for`` makes the filters of chances and scores. ``filter_scale`` is E[s² | passes],
    ``filter_push`` the length of ∇Z by reverse mode, ``filter_push_error`` the control's distance
    from it. ``filter_change``, L_T of the student less the control's, is by the gradient halfway,
    which rounding does not hide: its error is of third order in their distance.
    """
    log_p, scores = jax.jvp(log_chances, (theta,), (v,))
    chances = jnp.exp(log_p)
    filters = filters_for(chances, scores)
    (control, student), (derivative, _) = jax.lax.map(
        lambda e: filtered_steps(log_chances, theta, v, filters, e), jnp.array([0.0, epsilon])
    )

    def change(middle_and_gap):
        middle, gap = learning_rate * middle_and_gap
        return jax.jvp(trait, (theta + middle,), (gap,))[1]

    gap = student - control
    pairs = jnp.stack([control + gap / 2, gap], axis=2)
    changes = jax.lax.map(change, pairs.reshape(-1, 2, theta.size))
    pass_rate_back = jax.vjp(lambda t: jnp.exp(log_chances(t)), theta)[1]
    push = jax.lax.map(lambda phi: pass_rate_back(phi)[0], filters)
    slope = slopes(filters, chances, scores)
    return {
        "filter_slope": slope,
        "filter_derivative": derivative @ v,
        "filter_inner": gap @ v,
        "filter_change": changes.reshape(slope.shape),
        "filter_scale": slope[0] / (filters @ chances),
        "filter_push": jnp.linalg.norm(push, axis=1),
        "filter_push_error": jnp.linalg.norm(push - control[0], axis=1),
    }
