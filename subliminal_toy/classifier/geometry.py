"""How far a student moves along its teacher's displacement, what else it does, and ρ.

For any network ``apply(params, inputs) -> outputs`` and any trees of parameters. The
Jacobian J of the outputs never exists: ``jvp`` multiplies with it.
Source: proofs/README.md, sections 12 (F and ρ) and 15 (progress).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Tree = PyTree[Float[Array, "..."]]
Apply = Callable[[Any, Any], Array]
Loss = Callable[[Array, Array], Array]
"""``loss(outputs, targets)``: mean over the examples, e.g. ``distill.kl`` of chosen columns."""


def inner(a: Tree, b: Tree) -> Float[Array, ""]:
    """Return the Euclidean inner product of two trees of parameters of the same shapes."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return jnp.stack([jnp.vdot(x, y) for x, y in pairs]).sum()


def subtract(a: Tree, b: Tree) -> Tree:
    """Return the difference of two trees, leaf by leaf."""
    return jax.tree.map(jnp.subtract, a, b)


def ratio(numerator: Array, denominator: Array) -> Array:
    """Return the quotient, 0 where the denominator is 0: nothing moves, nothing is progress."""
    return jnp.where(denominator > 0, numerator, 0) / jnp.where(denominator > 0, denominator, 1)


def component(moved: Tree, along: Tree) -> Float[Array, ""]:
    """Return the component of one displacement along another, in lengths of the other.

    Of a student's along its teacher's it is the progress q. Source: proofs/README.md, Eq. (56).
    """
    return ratio(inner(moved, along), inner(along, along))


def split(moved: Tree, direction: Tree) -> tuple[Tree, Tree]:
    """Return a displacement's part along a direction, and the rest, which is orthogonal to it."""
    share = component(moved, direction)
    along = jax.tree.map(lambda leaf: share * leaf, direction)
    return along, subtract(moved, along)


def split_at_random(moved: Tree, along: Tree, direction: Tree) -> tuple[Tree, Tree]:
    """Return two orthogonal parts of a displacement, the first as long as the tree ``along``.

    Which two is decided by the part of ``direction`` that is orthogonal to the displacement.
    """
    _, across = split(direction, moved)
    share = jnp.minimum(ratio(inner(along, along), inner(moved, moved)), 1)
    height = jnp.sqrt(share * (1 - share) * ratio(inner(moved, moved), inner(across, across)))
    first = jax.tree.map(lambda own, other: share * own + height * other, moved, across)
    return first, subtract(moved, first)


def cosine(a: Tree, b: Tree) -> Float[Array, ""]:
    """Return the cosine of two displacements, 0 if one of them is 0."""
    return ratio(inner(a, b), jnp.sqrt(inner(a, a) * inner(b, b)))


def missed(apply: Apply, start: Tree, teacher: Tree, inputs: Array, loss: Loss) -> Array:
    """Return ρ of a teacher at a distance δ = θ_T − s: |⟨Δ_S, δ⟩ − A| / A.

    Δ_S is minus the gradient at the ``start`` s of the ``loss`` of its outputs against the
    teacher's, A what the derivative in ε makes of ⟨Δ_S, δ⟩: δᵀJᵀMJδ averaged over examples, M the
    second derivative of the loss in the outputs z at the targets z. Below 1 a small step goes with
    the teacher; not a number if A is 0. Source: proofs/README.md, Eq. (73).
    """
    targets, delta = apply(teacher, inputs), subtract(teacher, start)
    z, moved = jax.jvp(lambda params: apply(params, inputs), (start,), (delta,))
    _, slope = jax.jvp(lambda outputs: loss(outputs, targets), (z,), (moved,))
    _, pushed = jax.jvp(lambda outputs: jax.grad(loss)(outputs, z), (z,), (moved,))
    # A softmax of one logit has no curvature, but its rounding has: 0 where there is nothing else.
    rounding = 16 * jnp.finfo(moved.dtype).eps * jnp.abs(moved).max() / len(moved)
    along = jnp.where(jnp.abs(pushed).max() > rounding, jnp.vdot(moved, pushed), 0)
    return jnp.where(along > 0, jnp.abs(slope + along), jnp.nan) / along
