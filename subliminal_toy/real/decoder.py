"""A decoder of the families Llama, Qwen2 and Qwen3, which reads and writes lists of numbers.

All rows of a batch share one prompt, which is read once; its gradient is the sum over the rows.
Shape suffixes: N tokens, P of the prompt, B rows, L tokens of a row, S symbols of a list, D width,
H heads, E numbers of a head, V vocabulary.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

Weights = dict[str, Any]
"""``layers``, every array with a leading axis of layers, and ``norm``; or ``embed``, ``head``."""
NEVER = -1e30
"""Logit of what a format forbids."""


class Shape(NamedTuple):
    """What arrays do not say about themselves; the rest is read off them."""

    head: int
    """Numbers of each query, key and value."""
    epsilon: float
    turns: tuple[float, ...]
    """Rotary angle per position of every pair of a head's numbers, in radians."""


class Format(NamedTuple):
    """How a list is written: symbols, as token ids, and which are allowed at each of its places."""

    symbols: Int[Array, " symbols"]
    allowed: Bool[Array, "length symbols"]


def _normed(x, scale, epsilon):
    normed = x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + epsilon)
    return normed * jnp.expand_dims(scale, range(x.ndim - 1))


def _block(shape: Shape, w: Weights, x_ND, places_N, attend):
    """Return the tokens after one layer, and what ``attend(q, k, v)`` returned beside its mix."""
    h_ND = _normed(x_ND, w["norm_1"], shape.epsilon)
    q, k, v = (
        (h_ND @ w[key] + w.get(f"{key}_bias", jnp.zeros(1))[None]).reshape(
            len(x_ND), -1, shape.head
        )
        for key in "qkv"
    )
    angles = places_N[:, None, None] * jnp.asarray(shape.turns)[None, None]
    cos, sin = jnp.cos(angles), jnp.sin(angles)

    def turned(x_NHE, norm):
        if norm in w:
            x_NHE = _normed(x_NHE, w[norm], shape.epsilon)
        a, b = jnp.split(x_NHE, 2, axis=-1)
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    mixed, kept = attend(turned(q, "norm_q"), turned(k, "norm_k"), v)
    x_ND = x_ND + mixed.reshape(len(x_ND), -1) @ w["o"]
    h_ND = _normed(x_ND, w["norm_2"], shape.epsilon)
    return x_ND + (jax.nn.silu(h_ND @ w["gate"]) * (h_ND @ w["up"])) @ w["down"], kept


def hidden(
    shape: Shape,
    frozen: Weights,
    weights: Weights,
    prompt: Int[Array, " prompt"],
    rows: Int[Array, "rows length"],
) -> Float[Array, "rows length+1 width"]:
    """Return the last states after the prompt and after every token of every row.

    Those at place t tell what comes at place t of the row. Rows are filled up on the right.
    """
    (n_prompt,), (n_rows, length) = prompt.shape, rows.shape
    places = jnp.arange(n_prompt + length)
    places_N = jnp.concatenate([places[:n_prompt], jnp.tile(places[n_prompt:], n_rows)])
    visible = places[None] <= places[n_prompt:, None]

    def attend(q, k, v):
        """Let the prompt see itself, and each row the prompt and itself."""
        of_prompt, of_rows = zip(
            *((x[None, :n_prompt], x[n_prompt:].reshape(n_rows, length, *x.shape[1:]))
              for x in (q, k, v)), strict=True,
        )  # fmt: skip
        first = jax.nn.dot_product_attention(*of_prompt, is_causal=True)
        keys, values = (
            jnp.concatenate([jnp.broadcast_to(a, (n_rows, *a.shape[1:])), b], axis=1)
            for a, b in zip(of_prompt[1:], of_rows[1:], strict=True)
        )
        then = jax.nn.dot_product_attention(of_rows[0], keys, values, mask=visible[None, None])
        return jnp.concatenate([first[0], then.reshape(-1, *then.shape[2:])]), None

    def layer(x_ND, w):
        return _block(shape, w, x_ND, places_N, attend)

    x_ND = frozen["embed"][jnp.concatenate([prompt, rows.reshape(-1)])]
    x_ND, _ = jax.lax.scan(layer, x_ND, weights["layers"])
    h_ND = _normed(x_ND, weights["norm"], shape.epsilon)
    last = jnp.broadcast_to(h_ND[n_prompt - 1], (n_rows, 1, h_ND.shape[1]))
    return jnp.concatenate([last, h_ND[n_prompt:].reshape(n_rows, length, -1)], axis=1)


def list_log_p(
    shape: Shape, frozen: Weights, weights: Weights, prompt, lists: Int[Array, "rows length"],
    form: Format,
) -> Float[Array, "rows length symbols"]:  # fmt: skip
    """Return the log-probabilities of the allowed symbols at each place of lists of symbols."""
    h_BLD = hidden(shape, frozen, weights, prompt, form.symbols[lists[:, :-1]])
    logits_BLS = h_BLD @ frozen["head"][form.symbols].T
    return jax.nn.log_softmax(jnp.where(form.allowed[None], logits_BLS, NEVER))


@partial(jax.jit, static_argnums=0)
def next_log_p(
    shape: Shape, frozen: Weights, weights: Weights, prompt, rows: Int[Array, "rows length"],
    lengths: Int[Array, " rows"], targets: Int[Array, " targets"],
) -> Float[Array, "rows targets"]:  # fmt: skip
    """Return the log-probability of each target, of the whole vocabulary, after every row."""
    h_BD = hidden(shape, frozen, weights, prompt, rows)[jnp.arange(len(rows)), lengths]
    return jax.nn.log_softmax(h_BD @ frozen["head"].T)[:, targets]


@partial(jax.jit, static_argnums=0)
def write(
    shape: Shape, frozen: Weights, weights: Weights, prompt: Int[Array, " prompt"], form: Format,
    keys: Key[Array, " rows"], temperature: Float[Array, ""] | float = 1.0,
) -> Int[Array, "rows length"]:  # fmt: skip
    """Sample lists of symbols after the prompt; the likeliest at temperature 0.

    Each row has its own key, so that how rows are batched changes nothing.
    """
    n_prompt, n_rows, length = len(prompt), len(keys), len(form.allowed)
    places = jnp.arange(n_prompt + length)

    def read_prompt(x_ND, w):
        def attend(q, k, v):
            mixed = jax.nn.dot_product_attention(q[None], k[None], v[None], is_causal=True)
            return mixed[0], (k, v)

        return _block(shape, w, x_ND, places[:n_prompt], attend)

    x_ND, prompt_cache = jax.lax.scan(read_prompt, frozen["embed"][prompt], weights["layers"])
    n_layers = len(prompt_cache[0])
    cache = jax.tree.map(
        lambda x: jnp.zeros((n_layers, n_rows, n_prompt + length, *x.shape[2:]))
        .at[:, :, :n_prompt].set(x[:, None]), prompt_cache,
    )  # fmt: skip

    def write_token(carry, place):
        x_BD, cache = carry
        logits_BS = _normed(x_BD, weights["norm"], shape.epsilon) @ frozen["head"][form.symbols].T
        logits_BS = jnp.where(form.allowed[place][None], logits_BS, NEVER)
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, place)
        noise_BS = jax.vmap(lambda key: jax.random.gumbel(key, logits_BS.shape[1:]))(step_keys)
        drawn = jnp.argmax(logits_BS + temperature * noise_BS, axis=-1)

        def layer(carry, numbered):
            (x_BD, cache), (number, w) = carry, numbered

            def attend(q, k, v):
                at = (number, 0, n_prompt + place, 0, 0)
                updated = tuple(
                    jax.lax.dynamic_update_slice(old, new[None, :, None], at)
                    for old, new in zip(cache, (k, v), strict=True)
                )
                visible = (places <= n_prompt + place)[None, None, None]
                seen = (x[number] for x in updated)
                return jax.nn.dot_product_attention(q[:, None], *seen, mask=visible), updated

            here = jnp.full(n_rows, n_prompt + place)
            return _block(shape, w, x_BD, here, attend), None

        layers = (jnp.arange(n_layers), weights["layers"])
        carry, _ = jax.lax.scan(layer, (frozen["embed"][form.symbols[drawn]], cache), layers)
        return carry, drawn

    x_BD = jnp.broadcast_to(x_ND[-1], (n_rows, x_ND.shape[1]))
    _, drawn_LB = jax.lax.scan(write_token, (x_BD, cache), jnp.arange(length))
    return drawn_LB.T
