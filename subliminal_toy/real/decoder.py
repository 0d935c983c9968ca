"""A decoder of the families Llama, Qwen2 and Qwen3, which reads and writes lists of numbers.

Written for one row; all rows share one prompt, which is read once. Shape suffixes: L tokens,
D width, H heads, E numbers of a head, B rows, S symbols of a list.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

Weights = dict[str, Any]
"""What is trained: ``layers``, every array with a leading axis of layers, and ``norm``."""
NEVER = -1e30
"""Logit of what a format forbids."""
AT_ONCE = 128
"""Rows that are written together: their keys and values fill memory."""


class Frozen(NamedTuple):
    """What is never trained: two matrices, and what arrays do not say of themselves."""

    embed: Float[Array, "vocabulary width"]
    unembed: Float[Array, "vocabulary width"]
    turns: Float[Array, " pairs"]
    """Rotary angle per position of every pair of a head's numbers, in radians."""
    epsilon: float


class Format(NamedTuple):
    """How a list is written: after which prompt, in which symbols, which allowed at each place."""

    prompt: Int[Array, " prompt"]
    symbols: Int[Array, " symbols"]
    """Token ids."""
    allowed: Bool[Array, "length symbols"]


def _read(frozen: Frozen, weights: Weights, tokens, cache, start):
    """Return the last states of tokens after ``start`` others, and the cache with them.

    ``cache``: keys and values (layer, place, head, number) of those others, and room for the rest.
    """
    places = start + jnp.arange(len(tokens))
    angles = places[:, None, None] * frozen.turns[None, None]
    cos, sin = jnp.cos(angles), jnp.sin(angles)

    def normed(x, scale):
        root = jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + frozen.epsilon)
        return x * root * jnp.expand_dims(scale, range(x.ndim - 1))

    def layer(x_LD, own):
        w, cache = own

        def heads(key):
            x_LD = h_LD @ w[key] + w.get(f"{key}_bias", jnp.zeros(1))[None]
            return x_LD.reshape(len(tokens), -1, 2 * len(frozen.turns))

        def turned(key):
            x_LHE, scale = heads(key), w.get(f"norm_{key}")
            a, b = jnp.split(x_LHE if scale is None else normed(x_LHE, scale), 2, axis=-1)
            return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

        h_LD = normed(x_LD, w["norm_1"])
        keys, values = cache = tuple(
            jax.lax.dynamic_update_slice_in_dim(old, new, start, axis=0)
            for old, new in zip(cache, (turned("k"), heads("v")), strict=True)
        )
        seen = jnp.arange(len(keys))[None, None] <= places[None, :, None]
        mixed = jax.nn.dot_product_attention(turned("q"), keys, values, mask=seen)
        x_LD = x_LD + mixed.reshape(len(tokens), -1) @ w["o"]
        h_LD = normed(x_LD, w["norm_2"])
        return x_LD + (jax.nn.silu(h_LD @ w["gate"]) * (h_LD @ w["up"])) @ w["down"], cache

    x_LD, cache = jax.lax.scan(layer, frozen.embed[tokens], (weights["layers"], cache))
    return normed(x_LD, weights["norm"]), cache


def _read_prompt(frozen: Frozen, weights: Weights, prompt, room: int):
    """Return the state after a prompt, and a cache with room for so many tokens more."""
    n_layers, _, width = weights["layers"]["k"].shape
    head = 2 * len(frozen.turns)
    empty = jnp.zeros((n_layers, len(prompt) + room, width // head, head))
    h_LD, cache = _read(frozen, weights, prompt, (empty, empty), 0)
    return h_LD[-1], cache


def hidden(
    frozen: Frozen, weights: Weights, prompt: Int[Array, " prompt"], rows: Int[Array, "rows length"]
) -> Float[Array, "rows length+1 width"]:
    """Return the last states after the prompt and after every token of every row.

    Those at place t tell what comes at place t of the row. Rows are filled up on the right.
    """
    h_D, cache = _read_prompt(frozen, weights, prompt, rows.shape[1])

    def row(tokens):
        h_LD, _ = _read(frozen, weights, tokens, cache, len(prompt))
        return jnp.concatenate([h_D[None], h_LD])

    return jax.vmap(row)(rows)


@jax.jit
def list_log_p(
    frozen: Frozen, weights: Weights, form: Format, lists: Int[Array, "rows length"]
) -> Float[Array, "rows length symbols"]:
    """Return the log-probabilities of the allowed symbols at each place of lists of symbols."""
    h_BLD = hidden(frozen, weights, form.prompt, form.symbols[lists[:, :-1]])
    logits_BLS = h_BLD @ frozen.unembed[form.symbols].T
    return jax.nn.log_softmax(jnp.where(form.allowed[None], logits_BLS, NEVER))


@jax.jit
def next_log_p(
    frozen: Frozen, weights: Weights, prompt, rows: Int[Array, "rows length"],
    lengths: Int[Array, " rows"], targets: Int[Array, " targets"],
) -> Float[Array, "rows targets"]:  # fmt: skip
    """Return the log-probability of each target, of the whole vocabulary, after every row."""
    h_BD = hidden(frozen, weights, prompt, rows)[jnp.arange(len(rows)), lengths]
    return jax.nn.log_softmax(h_BD @ frozen.unembed.T)[:, targets]


@jax.jit
def write(
    frozen: Frozen, weights: Weights, form: Format, keys: Key[Array, " rows"]
) -> Int[Array, "rows length"]:
    """Sample lists of symbols; each has its own key, so that how they are batched is the same."""
    length, unembed_SD = len(form.allowed), frozen.unembed[form.symbols]

    def row(key):
        def token(carry, place):
            h_D, cache = carry
            logits_S = jnp.where(form.allowed[place], unembed_SD @ h_D, NEVER)
            drawn = jax.random.categorical(jax.random.fold_in(key, place), logits_S)
            token, at = form.symbols[drawn][None], len(form.prompt) + place
            h_LD, cache = _read(frozen, weights, token, cache, at)
            return (h_LD[0], cache), drawn

        return jax.lax.scan(token, start, jnp.arange(length))[1]

    start = _read_prompt(frozen, weights, form.prompt, length)
    return jax.lax.map(row, keys, batch_size=AT_ONCE)
