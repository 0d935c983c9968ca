"""The student's step on labels drawn from the teacher: proofs/README.md, section 13.

For a language model an input is a position of a list, and the tokens are the labels.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

Logits = Float[Any, "*lists inputs outputs"]


class Component(NamedTuple):
    """The component of one draw's step along v: its mean, which is Δ_S·v, and its variance."""

    mean: Float[Any, "*lists"]
    variance: Float[Any, "*lists"]


def component(z: Logits, y: Logits, jv: Logits, weights: Float[Any, "*lists inputs"]) -> Component:
    """Return mean and variance of Δ̂(a)·v over labels a ~ softmax(y), one of each input.

    ``z`` are the student's logits at its start, ``y`` the teacher's and ``jv`` J_x v, all of the
    imitated logits only. Source: Eq. (48), (49) and (50).
    """
    p, jv_at_z = jax.nn.softmax(y), jnp.sum(jax.nn.softmax(z) * jv, axis=-1)
    expected = jnp.sum(p * jv, axis=-1)
    spread = jnp.sum(p * (jv - expected[..., None]) ** 2, axis=-1)
    mean = jnp.sum(weights * (expected - jv_at_z), axis=-1)
    return Component(mean, jnp.sum(weights**2 * spread, axis=-1))


def bound(of_one: Component, n_draws: Any) -> Float[Any, "*lists"]:
    """Return what P(mean of ``n_draws`` draws points away from v) is at most. Source: Eq. (51)."""
    return np.minimum(of_one.variance / (n_draws * of_one.mean**2), 1.0)


def draws_needed(of_one: Component) -> Any:
    """Return the number of draws at which the bound of Eq. (51) is 1; with fewer it says nothing.

    With several lists of one teacher pass the mean over lists of ``mean``, and for ``variance`` the
    mean of ``variance`` plus the variance of ``mean``: the lists are drawn too.
    """
    return of_one.variance / of_one.mean**2
