"""Many steps of the student, and steps on sampled labels: proofs/README.md, sections 12 and 13."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from subliminal_toy.distill import snapshots
from subliminal_toy.theorem.one_step import Function, Number, Outputs, Scalar, StudentLoss, Vector

Path = Float[Array, "steps p"]
Steps = Sequence[int] | Int[Array, " steps"]
Product = Callable[[Vector], Vector]  # u ↦ F u, of `one_step.response`
Logits = Float[Any, "*lists inputs outputs"]


def student_path(
    f: Function, loss: StudentLoss, start: Vector, x: Array, y: Outputs, rate: Number, steps: Steps
) -> Path:
    """Return θ⁽ᵏ⁾ − ``start`` for each k of ``steps``, which ascend. Source: Eq. (39).

    The displacement is what is trained, so that it is not rounded like the parameters.
    """

    def moved(d, _):
        return loss(f(start + d, x), y)

    return snapshots(moved, jnp.zeros_like(start), optax.sgd(rate), lambda k: k, steps)


def predicted_path(product: Product, v: Vector, rate: Number, steps: Sequence[int]) -> Path:
    """Return (I − (I − αF)ᵏ)v for each k of ``steps``, so that θ⁽ᵏ⁾ − θ⁰ is ε times it + o(ε).

    By its recursion d ↦ d + αF(v − d) from 0, with F the ``product``. Source: Eq. (41).
    """

    def nearer(d, _):
        d = d + rate * product(v - d)
        return d, d

    path = jax.lax.scan(nearer, jnp.zeros_like(v), length=max(steps))[1]
    return path[jnp.asarray(steps) - 1]


def largest_eigenvalue(product: Product, start: Vector, n_products: int = 50) -> Scalar:
    """Return the largest eigenvalue of F, by power iteration from ``start``; never above it."""

    def iterate(_, state):
        u = state[0] / jnp.maximum(jnp.linalg.norm(state[0]), jnp.finfo(start.dtype).tiny)
        image = product(u)
        return image, jnp.vdot(u, image)

    begin = jnp.asarray(start), jnp.zeros((), start.dtype)
    return jax.lax.fori_loop(0, n_products + 1, iterate, begin)[1]


def spectrum(
    f: Function, loss: StudentLoss, theta: Vector, x: Array, v: Vector
) -> tuple[Float[Array, " outputs"], Float[Array, " outputs"]]:
    """Return eigenvalues of F and the share of ‖v‖² along each eigenvector, without the null space.

    What rounding makes of a zero, in M or in F, counts as one.
    """
    z, jacobian = f(theta, x), jax.jacrev(lambda t: f(t, x).ravel())(theta)
    matrix = jax.hessian(lambda outputs: loss(outputs, z))(z).reshape(z.size, z.size)
    values, vectors = jnp.linalg.eigh(matrix)
    least = z.size * jnp.finfo(theta.dtype).eps
    root = vectors * jnp.sqrt(jnp.where(values > least * values[-1], values, 0))[None]
    _, roots, basis = jnp.linalg.svd(root.T @ jacobian, full_matrices=False)
    seen = roots > least * roots[0]
    return jnp.where(seen, roots**2, 0), jnp.where(seen, (basis @ v) ** 2 / jnp.vdot(v, v), 0)


def progress(
    values: Float[Array, " outputs"], shares: Float[Array, " outputs"], rate: Number, k: Array
) -> Float[Array, " steps"]:
    """Return q_k for each of ``k``, which tends to the sum of ``shares``. Source: Eq. (47)."""
    grown = 1 - (1 - rate * values)[None] ** k[:, None]
    return (shares[None] * grown).sum(axis=-1)


class Component(NamedTuple):
    """The component of one draw's step along v: its mean, which is Δ_S·v, and its variance."""

    mean: Float[Any, "*lists"]
    variance: Float[Any, "*lists"]


def component(z: Logits, y: Logits, jv: Logits, weights: Float[Any, "*lists inputs"]) -> Component:
    """Return mean and variance of Δ̂(a)·v over labels a ~ softmax(y), one of each input.

    ``z`` are the student's logits at its start, ``y`` the teacher's and ``jv`` J_x v, all of the
    imitated logits only. For a language model an input is a position of a list, and the tokens are
    the labels. Source: Eq. (48), (49) and (50).
    """
    p, jv_at_z = jax.nn.softmax(y), jnp.sum(jax.nn.softmax(z) * jv, axis=-1)
    expected = jnp.sum(p * jv, axis=-1)
    spread = jnp.sum(p * (jv - expected[..., None]) ** 2, axis=-1)
    mean = jnp.sum(weights * (expected - jv_at_z), axis=-1)
    return Component(mean, jnp.sum(weights**2 * spread, axis=-1))


def bound(single: Component, n_draws: Any) -> Float[Any, "*lists"]:
    """Return what P(mean of ``n_draws`` draws points away from v) is at most. Source: Eq. (51)."""
    return np.minimum(single.variance / (n_draws * single.mean**2), 1.0)


def draws_needed(single: Component) -> Any:
    """Return the number of draws at which the bound of Eq. (51) is 1; with fewer it says nothing.

    With several lists of one teacher pass the mean over lists of ``mean``, and for ``variance`` the
    mean of ``variance`` plus the variance of ``mean``: the lists are drawn too.
    """
    return single.variance / single.mean**2
