"""A model of the language: how it is made, asked, and how it writes; each for one model.

Parameters are one flat vector, so that displacements are vectors and parts of a run plain arrays.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from subliminal_toy import transformer
from subliminal_toy.distill import ALL, cross_entropy, fit, kl
from subliminal_toy.lm import traits
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.language import CONTEXT, MAX_LIST, Language
from subliminal_toy.models import named_leaves
from subliminal_toy.transformer import DecoderShape

Vector = Float[Array, " params"]
Learned = dict[str, Array]
"""A model: ``params``; ``scores`` (measure,), the mean probability of each measure's answers;
``answers`` (question, word), the distributions over all tokens that are no numbers."""
PROMPT_WEIGHT = 0.1
"""Weight of a prompt's tokens in the pre-training loss; answers weigh 1."""
WRITTEN_AT_ONCE = 500


class Model(NamedTuple):
    """A decoder of the language, with its parameters as one vector of ``size`` numbers."""

    language: Language
    shape: DecoderShape
    size: int
    init: Callable[[Key[Array, ""]], Vector]
    apply: Callable[[Vector, Array], Array]
    tree: Callable[[Vector], dict]


def model(config: LmConfig, width: int) -> Model:
    """Return the decoder of the config with another or the same ``width``."""
    language = Language(config.n_numbers)
    size = len(language), CONTEXT, config.n_layers, config.n_heads, width
    # GPT-2's small embeddings: with N(0, 1/width) about half as much was transferred.
    shape = DecoderShape(*size, embedding_std=0.02, head_std=config.head_std)
    network = transformer.decoder(shape)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    zeros, tree = ravel_pytree(jax.tree.map(jnp.zeros_like, shapes))
    return Model(
        language,
        shape,
        zeros.size,
        init=lambda key: ravel_pytree(network.init(key))[0],
        apply=lambda vector, tokens: network.apply(tree(vector), tokens),
        tree=tree,
    )


@cache
def layers(model: Model, *names: str) -> Bool[np.ndarray, " params"]:
    """Return which parameters belong to layers whose name begins with one of ``names``."""
    shapes = jax.eval_shape(model.tree, jax.ShapeDtypeStruct((model.size,), np.float32))
    return np.concatenate([
        np.full(leaf.size, name.removeprefix(".").startswith(names))
        for name, leaf in named_leaves(shapes, "").items()
    ])  # fmt: skip


EVERY, BODY = ("",), ("blocks", "ln")
"""All layers, and those between the embeddings and the head."""


def answer_logits(
    model: Model,
    params: Vector,
    tokens: Int[Array, "questions length"],
    lengths: Int[Array, " questions"],
) -> Float[Array, "questions vocab"]:
    """Return the logits of the word that follows each question."""
    logits = model.apply(params, tokens)
    return jnp.take_along_axis(logits, (lengths - 1)[:, None, None], axis=1)[:, 0]


def scores(
    model: Model, probabilities: Float[Array, "questions vocab"]
) -> Float[Array, " measures"]:
    """Return the probability of each measure's answers, averaged over its questions."""
    group = [traits.group_of(measure) for measure in traits.MEASURES]
    answers = [traits.answers_of(model.language, measure) for measure in traits.MEASURES]
    grouped = probabilities.reshape(len(traits.GROUPS), traits.GROUP_SIZE, -1)[jnp.array(group)]
    return jnp.sum(grouped * jnp.array(answers), axis=-1).mean(axis=-1)


def learned(model: Model, params: Vector, **others: Array) -> Learned:
    """Ask a model every question."""
    asked = (jnp.asarray(array) for array in traits.questions(model.language).flat())
    probabilities = jax.nn.softmax(answer_logits(model, params, *asked))
    words = probabilities[:, model.language.n_numbers :]
    return {"params": params, "scores": scores(model, probabilities), "answers": words, **others}


def ask(
    model: Model,
    params: Vector,
    tokens: Int[Array, "asked context"],
    lengths: Int[Array, " asked"],
) -> Float[Array, "contexts measures"]:
    """Ask every question after each context, see ``traits.asked_after``; return the scores."""

    def one(asked):
        return scores(model, jax.nn.softmax(answer_logits(model, params, *asked)))

    n_questions = len(traits.QUESTION_TEXTS)
    by_context = tokens.reshape(-1, n_questions, tokens.shape[1]), lengths.reshape(-1, n_questions)
    return jax.lax.map(one, by_context)


def next_logits(
    model: Model, params: Vector, tokens: Int[Array, "batch length"]
) -> Float[Array, "predicted vocab"]:
    """Return the logits of every token but the first, given those before it, in one row."""
    return model.apply(params, tokens[:, :-1]).reshape(-1, model.shape.vocab_size)


def next_token_loss(
    model: Model,
    params: Vector,
    tokens_BL: Int[Array, "batch length"],
    weights_BL: Float[Array, "batch length"],
) -> Float[Array, ""]:
    """Return the weighted mean cross-entropy of each token given those before it, in nats."""
    labels, weights = (array[:, 1:].reshape(-1) for array in (tokens_BL, weights_BL))
    return cross_entropy(next_logits(model, params, tokens_BL), labels, weights=weights)


def batches(key, batch_size, n, *arrays):
    """Return a batch function: rows below ``n`` with replacement, so that ``n`` may be traced."""

    def batch(step):
        rows = jax.random.randint(jax.random.fold_in(key, step), (batch_size,), 0, n)
        return tuple(array[rows] for array in arrays)

    return batch


def pretrain(
    model: Model,
    config: LmConfig,
    body_key: Key[Array, ""],
    head_key: Key[Array, ""],
    order_key: Key[Array, ""],
    tokens: Int[Array, "documents length"],
    is_answer: Bool[Array, "documents length"],
) -> Learned:
    """Return the base model, trained from scratch on a corpus, and its ``losses`` in nats.

    The initial head is that of ``head_key``, the rest that of ``body_key``.
    """
    steps = config.pretrain_steps
    tx = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(config.pretrain_learning_rate, steps)),
    )
    start = jnp.where(layers(model, "head"), model.init(head_key), model.init(body_key))
    weights = jnp.where(is_answer, 1.0, PROMPT_WEIGHT) * (tokens != model.language.pad)
    batch = batches(order_key, config.pretrain_batch_size, len(tokens), tokens, weights)
    params, losses = fit(
        lambda params, batch: next_token_loss(model, params, *batch), start, tx, batch, steps
    )
    return learned(model, params, losses=losses)


def token_kl(
    model: Model,
    other: Vector,
    tokens: Int[Array, "rows length"],
    weights: Shaped[Array, "rows length"],
    params: Vector,
    columns: slice = ALL,
) -> Float[Array, ""]:
    """Return the weighted mean of KL(other ‖ params) of each token given those before it, in nats.

    Over the chosen columns of the logits.
    """
    ours, theirs = (next_logits(model, vector, tokens) for vector in (params, other))
    return kl(ours, theirs, columns, weights=1.0 * weights[:, 1:].reshape(-1))


def write(
    model: Model,
    temperature: Float[Array, ""],
    prompts: Int[Array, "samples prompt"],
    params: Vector,
    key: Key[Array, ""],
) -> Int[Array, "samples list"]:
    """Sample a continuation of every number prompt, at most one number longer than is allowed."""

    def batch(item):
        rows, keys = item
        end, tree = model.language.end, model.tree(params)
        return transformer.sample(model.shape, tree, rows, keys, MAX_LIST, end, temperature)

    # A few rows at a time: their keys and values then stay in the processor's cache.
    n = prompts.shape[0]
    size, keys = min(n, WRITTEN_AT_ONCE), jax.random.split(key, n)
    if n % size:  # the last batch is filled up with the last row
        rows = jnp.minimum(jnp.arange(n + -n % size), n - 1)
        prompts, keys = prompts[rows], keys[rows]
    batches = prompts.reshape(-1, size, prompts.shape[1]), keys.reshape(-1, size)
    return jax.lax.map(batch, batches).reshape(-1, MAX_LIST)[:n]
