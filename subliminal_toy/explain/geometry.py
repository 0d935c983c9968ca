"""How far a student moves along its teacher's displacement, measured and predicted.

For any network ``apply(params, inputs) -> outputs`` and any trees of parameters. Products with the
Jacobian J of the outputs are made by ``jvp`` and ``vjp``; J itself never exists.
Source: proofs/README.md, sections 12 (F) and 15 (progress).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Tree = PyTree[Float[Array, "..."]]
Apply = Callable[[Any, Any], Array]
Loss = Callable[[Array, Array], Array]
"""``loss(outputs, targets)``: mean over the examples, e.g. ``distill.kl`` of chosen columns."""
SMALLEST = 1e-9
"""Conjugate gradients end where the squared residual is this part of the first: float32."""

ROUNDING = 16
"""Multiples of the spacing of floats below which a second derivative of the loss is taken for 0."""


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


def progress(start: Tree, teacher: Tree, student: Tree) -> Float[Array, ""]:
    """Return q = ⟨θ_S − s, θ_T − s⟩ / ‖θ_T − s‖²: 0 for no progress, 1 for the teacher's own.

    ``start`` s is the student's start. The three trees have the same shapes; pass subtrees to
    choose layers, e.g. the hidden ones. 0 if the teacher is at the start.
    Source: proofs/README.md, Eq. (56).
    """
    goal = subtract(teacher, start)
    return ratio(inner(subtract(student, start), goal), inner(goal, goal))


def cosine(a: Tree, b: Tree) -> Float[Array, ""]:
    """Return the cosine of two displacements, 0 if one of them is 0."""
    return ratio(inner(a, b), jnp.sqrt(inner(a, a) * inner(b, b)))


class Prediction(NamedTuple):
    """What the linearised network says of a student before it is trained.

    ``params`` s + d (see ``predict``); ``slope`` A/‖v‖² = vᵀFv/‖v‖² of the one-step theorem, F
    being Jᵀ M J averaged over the examples; ``first_cosine`` of the first gradient step with v;
    ``ritz`` and ``weight`` (both of ``steps`` numbers): vᵀ g(F) v = Σ weight · g(ritz) for smooth
    g with g(0) = 0, by Gauss quadrature.
    """

    params: Tree
    slope: Float[Array, ""]
    first_cosine: Float[Array, ""]
    ritz: Float[Array, " steps"]
    weight: Float[Array, " steps"]


def predict(
    apply: Apply,
    start: Tree,
    teacher: Tree,
    inputs: Array,
    loss: Loss,
    steps: int,
    at: Literal["start", "teacher"] = "start",
    chunks: int = 1,
) -> Prediction:
    """Return what a student is predicted to become, without training it: parameters s + d.

    d is the ``steps``-th iterate of conjugate gradients from 0 on min_d ‖J d − J v‖² over
    ``inputs`` (first axis the examples), v = θ_T − s, J the Jacobian of the outputs at the
    ``start`` s, in the metric of the ``loss``: its second derivative in the outputs, where they
    are the targets. For a softmax that depends on the outputs, which are those ``at`` the start or
    at the teacher. ``steps`` plays the part of the length of a training. ``chunks`` divides the
    number of examples; so many parts are gone through one after the other, to save memory.
    A step costs about as much as a training step on all of ``inputs``.
    """
    parts = inputs.reshape(chunks, -1, *inputs.shape[1:])
    v = subtract(teacher, start)

    def mean(fn):
        """Average a tree over the parts, which are of one size."""
        zero = jax.tree.map(jnp.zeros_like, start)
        add = partial(jax.tree.map, jnp.add)
        total = jax.lax.scan(lambda sum_, x: (add(sum_, fn(x)), None), zero, parts)[0]
        return jax.tree.map(lambda leaf: leaf / chunks, total)

    point = start if at == "start" else teacher

    def product(d):
        return mean(lambda x: gauss_newton(apply, start, d, x, loss, point))

    def gradient(x):
        targets = apply(teacher, x)
        return jax.grad(lambda params: loss(apply(params, x), targets))(start)

    b = product(v)
    d, alphas, betas = conjugate_gradients(product, b, steps)
    ritz, weight = quadrature(alphas, betas, inner(b, b))
    return Prediction(
        params=jax.tree.map(jnp.add, start, d),
        slope=ratio(inner(v, b), inner(v, v)),
        first_cosine=-cosine(mean(gradient), v),
        ritz=ritz,
        weight=weight,
    )


def gauss_newton(
    apply: Apply, start: Tree, direction: Tree, inputs: Array, loss: Loss, at: Tree
) -> Tree:
    """Return F d = Jᵀ M J d averaged over examples: J at ``start``, M at the outputs of ``at``.

    M is the second derivative of the loss in the outputs z, at z = y, the targets. For the losses
    of the theorem it is also −∂²L/∂y∂z.
    """

    def outputs(params):
        return apply(params, inputs)

    z, moved = jax.jvp(outputs, (start,), (direction,))
    point = z if at is start else outputs(at)
    _, pushed = jax.jvp(lambda z: jax.grad(loss)(z, point), (point,), (moved,))
    # A softmax of one logit has no curvature, but its rounding has: 0 where there is nothing else.
    bound = ROUNDING * jnp.finfo(moved.dtype).eps * jnp.abs(moved).max() / len(moved)
    pushed = jnp.where(jnp.abs(pushed).max() > bound, pushed, 0)
    return jax.vjp(outputs, start)[1](pushed)[0]


def conjugate_gradients(
    product: Callable[[Tree], Tree], b: Tree, steps: int
) -> tuple[Tree, Float[Array, " steps"], Float[Array, " steps"]]:
    """Return the ``steps``-th iterate of F d = b from d = 0, and the numbers α and β of each step.

    Both are 0 from the step on at which the residual has become rounding (``SMALLEST``).
    Source: Hestenes and Stiefel 1952.
    """

    def along(scale, direction, onto):
        return jax.tree.map(lambda x, y: scale * x + y, direction, onto)

    first = inner(b, b)

    def step(state, _):
        d, residual, direction, square = state
        moved = product(direction)
        live = square > SMALLEST * first
        alpha = jnp.where(live, ratio(square, inner(direction, moved)), 0)
        d, residual = along(alpha, direction, d), along(-alpha, moved, residual)
        left = inner(residual, residual)
        beta = jnp.where(live, ratio(left, square), 0)
        return (d, residual, along(beta, direction, residual), left), (alpha, beta)

    begin = jax.tree.map(jnp.zeros_like, b), b, b, first
    (d, *_), (alphas, betas) = jax.lax.scan(step, begin, length=steps)
    return d, alphas, betas


def quadrature(
    alphas: Float[Array, " steps"], betas: Float[Array, " steps"], square: Float[Array, ""]
) -> tuple[Float[Array, " steps"], Float[Array, " steps"]]:
    """Return nodes and weights with vᵀ g(F) v = Σ weight · g(node), of conjugate gradients on F v.

    The numbers of the steps are the tridiagonal matrix of Lanczos' method begun at b = F v, and
    vᵀ g(F) v = bᵀ F⁻² g(F) b. ``square`` is ‖b‖². Exact for g(λ) = λ² times a polynomial of degree
    up to 2 · steps − 1. Nodes that rounding has made up have weight 0.
    Source: Golub and Meurant 1994.
    """
    live = alphas > 0
    inverse = jnp.where(live, 1 / jnp.where(live, alphas, 1), 0)
    before = jnp.concatenate([jnp.zeros(1), (betas * inverse)[:-1]])
    coupled = jnp.where(live[1:], jnp.sqrt(betas[:-1]) * inverse[:-1], 0)
    matrix = jnp.diag(jnp.where(live, inverse + before, 0))
    nodes, vectors = jnp.linalg.eigh(matrix + jnp.diag(coupled, 1) + jnp.diag(coupled, -1))
    real = nodes > jnp.finfo(nodes.dtype).eps * nodes.max()
    return nodes, jnp.where(real, square * vectors[0] ** 2 / jnp.where(real, nodes, 1) ** 2, 0)


def descent_progress(
    found: Prediction, square: Float[Array, ""], rate: Float[Array, ""] | float, steps: int
) -> Float[Array, ""]:
    """Return vᵀ(I − (I − αF)ᵏ)v / ‖v‖²: gradient descent's progress on the linearised network.

    ``square`` is ‖v‖², ``rate`` α and ``steps`` k. Source: proofs/README.md, Eq. (47).
    """
    gained = 1 - (1 - rate * found.ritz) ** steps
    return ratio((found.weight * gained).sum(), square)
