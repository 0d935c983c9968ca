"""A GPT-2-shaped decoder and its sampler with a key–value cache.

Shape suffixes: B sequences, L positions, D width, H heads, V vocabulary, N layers.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from subliminal_toy.models import FAN_IN_NORMAL, Network, Params, network

EPSILON = 1e-5  # added to the variance in LayerNorm

Cache = tuple[tuple[Float[Array, "batch heads room head"], Array], ...]
"""Keys and values of the positions read so far, for each layer."""


@dataclass(frozen=True)
class DecoderShape:
    """Sizes and options of a decoder; the defaults are those of the language-model path."""

    vocab_size: int
    context: int
    """Longest sequence, in tokens."""
    n_layers: int = 2
    n_heads: int = 4
    width: int = 32
    """Size of the residual stream."""
    mlp_width: int | None = None
    """Hidden units of each block's MLP; 4 × width if None."""
    embedding_std: float | None = None
    """Standard deviation of the embeddings at the start; width^(−1/2) if None. GPT-2: .02."""
    head_std: float | None = None
    """Standard deviation of the head's weights at the start; width^(−1/2) if None."""


class Linear(nnx.Linear):
    """Flax's affine layer on the last axis, as a product of two matrices.

    With the batch and the positions as two axes, XLA's gradient of the weights takes about three
    times as long on a CPU.
    """

    def __call__(self, x: Float[Array, "*shape inputs"]) -> Float[Array, "*shape outputs"]:
        """Return the outputs."""
        return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


class Attention(nnx.Module):
    """Causal self-attention with biases, over a cache of earlier positions if there is one."""

    def __init__(self, shape: DecoderShape, rngs: nnx.Rngs):
        """Draw the weights N(0, 1/fan_in)."""
        self.n_heads = shape.n_heads
        width = shape.width
        self.qkv = Linear(width, 3 * width, kernel_init=FAN_IN_NORMAL, rngs=rngs)
        self.out = Linear(width, width, kernel_init=FAN_IN_NORMAL, rngs=rngs)

    def __call__(self, h_BLD, cache, position, visible):
        """Return the update of the residual stream, and keys and values (whole cache or new)."""
        heads = (*h_BLD.shape[:2], self.n_heads, -1)
        parts = jnp.split(self.qkv(h_BLD), 3, axis=-1)
        q, k, v = (part.reshape(heads).swapaxes(1, 2) for part in parts)
        if cache is not None:
            k, v = (
                jax.lax.dynamic_update_slice_in_dim(old, new, position, axis=2)
                for old, new in zip(cache, (k, v), strict=True)
            )
        scores = jnp.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
        scores = jnp.where(visible, scores, jnp.finfo(scores.dtype).min)
        mixed = jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores), v)
        return self.out(mixed.swapaxes(1, 2).reshape(h_BLD.shape)), (k, v)


class Block(nnx.Module):
    """Pre-LN block: attention, then an MLP with the tanh-approximated GELU."""

    def __init__(self, shape: DecoderShape, rngs: nnx.Rngs):
        """Draw the weights N(0, 1/fan_in)."""
        width, hidden = shape.width, shape.mlp_width or 4 * shape.width
        self.ln_1 = nnx.LayerNorm(width, epsilon=EPSILON, rngs=rngs)
        self.attention = Attention(shape, rngs)
        self.ln_2 = nnx.LayerNorm(width, epsilon=EPSILON, rngs=rngs)
        self.up = Linear(width, hidden, kernel_init=FAN_IN_NORMAL, rngs=rngs)
        self.down = Linear(hidden, width, kernel_init=FAN_IN_NORMAL, rngs=rngs)

    def __call__(self, h_BLD, cache, position, visible):
        """Return the residual stream after this block, and its keys and values."""
        update, cache = self.attention(self.ln_1(h_BLD), cache, position, visible)
        h_BLD = h_BLD + update
        return h_BLD + self.down(jax.nn.gelu(self.up(self.ln_2(h_BLD)), approximate=True)), cache


def _as_they_are(arrays: tuple[Array, ...], **_: Any) -> tuple[Array, ...]:
    """Leave embeddings in the precision of the parameters; nnx.Embed would make them float32."""
    return arrays


class Decoder(nnx.Module):
    """Token and learned position embeddings, blocks, a last LayerNorm, and the head."""

    def __init__(self, shape: DecoderShape, rngs: nnx.Rngs):
        """Draw the weights N(0, 1/fan_in), embeddings and head as the shape says."""
        width = shape.width
        normal = nnx.initializers.normal
        embed = {
            "embedding_init": normal(shape.embedding_std or width**-0.5),
            "promote_dtype": _as_they_are,
            "rngs": rngs,
        }
        self.tokens = nnx.Embed(shape.vocab_size, width, **embed)
        self.positions = nnx.Embed(shape.context, width, **embed)
        self.blocks = nnx.List(Block(shape, rngs) for _ in range(shape.n_layers))
        self.ln = nnx.LayerNorm(width, epsilon=EPSILON, rngs=rngs)
        head_init = normal(shape.head_std or width**-0.5)
        self.head = Linear(
            width, shape.vocab_size, use_bias=False, kernel_init=head_init, rngs=rngs
        )

    def __call__(self, tokens: Int[Array, "batch length"]) -> Float[Array, "batch length vocab"]:
        """Return the logits of the next token at every position."""
        return self.extend(tokens, None, 0)[0]

    def extend(self, tokens, cache, position):
        """Read more tokens after those in ``cache``; see ``read``."""
        length = tokens.shape[1]
        query = position + jnp.arange(length)
        key = jnp.arange(length if cache is None else cache[0][0].shape[2])
        visible = (key[None, :] <= query[:, None])[None, None]
        h_BLD = self.tokens(tokens) + self.positions(jnp.broadcast_to(query[None], tokens.shape))
        layers = []
        for block, layer in zip(self.blocks, cache or (None,) * len(self.blocks), strict=True):
            h_BLD, layer = block(h_BLD, layer, position, visible)
            layers.append(layer)
        return self.head(self.ln(h_BLD)), tuple(layers)


@lru_cache
def _graphdef(shape: DecoderShape):
    return nnx.split(nnx.eval_shape(lambda: Decoder(shape, nnx.Rngs(0))))[0]


def decoder(shape: DecoderShape) -> Network:
    """Return a decoder: ``apply(params, tokens (batch, length))`` → logits over the vocabulary.

    Pre-LN, learned positions, tanh-GELU, biases: GPT-2's forward pass, of any size.
    """
    return network(lambda rngs: Decoder(shape, rngs))


def read(
    shape: DecoderShape,
    params: Params,
    tokens: Int[Array, "batch length"],
    cache: Cache | None = None,
    position: int | Int[Array, ""] = 0,
) -> tuple[Float[Array, "batch length vocab"], Cache]:
    """Read ``tokens`` at columns ``position`` on; return their logits and the keys and values.

    ``cache`` is what ``empty_cache`` or an earlier call returned.
    """
    return nnx.merge(_graphdef(shape), params).extend(tokens, cache, position)


def empty_cache(shape: DecoderShape, batch: int, room: int) -> Cache:
    """Return room for the keys and values of ``batch`` sequences of ``room`` tokens."""
    size = (batch, shape.n_heads, room, shape.width // shape.n_heads)
    return ((jnp.zeros(size), jnp.zeros(size)),) * shape.n_layers


def sample(
    shape: DecoderShape,
    params: Params,
    prompts: Int[Array, "batch length"],
    keys: Key[Array, " batch"],
    n_new: int,
    end: int,
    temperature: Float[Array, ""] | float = 1.0,
) -> Int[Array, "batch new"]:
    """Continue every prompt by at most ``n_new`` tokens; after ``end`` there is only ``end``.

    Each row has its own key, so that how rows are batched changes nothing. Sampling stops as soon
    as every row has ended. Length and ``n_new`` together may not exceed the context.
    """
    batch, length = prompts.shape
    cache = empty_cache(shape, batch, length + n_new)
    logits, cache = read(shape, params, prompts, cache)

    def choose(logits_BV, step):
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
        # One random number a row; jax.random.categorical takes one for each word.
        draw = lambda key, p: jax.random.choice(key, shape.vocab_size, p=p)  # noqa: E731
        return jax.vmap(draw)(step_keys, jax.nn.softmax(logits_BV / temperature))

    def unfinished(state):
        step, _, _, last, _ = state
        return (step < n_new) & jnp.any(last != end)

    def one_token(state):
        step, logits_BV, cache, last, written = state
        token = jnp.where((step > 0) & (last == end), end, choose(logits_BV, step))
        written = jax.lax.dynamic_update_slice_in_dim(written, token[:, None], step, axis=1)
        logits, cache = read(shape, params, token[:, None], cache, length + step)
        return step + 1, logits[:, 0], cache, token, written

    written = jnp.full((batch, n_new), end, jnp.int32)
    before = jnp.full(batch, end + 1, jnp.int32)
    state = (jnp.int32(0), logits[:, -1], cache, before, written)
    return jax.lax.while_loop(unfinished, one_token, state)[4]
