"""Pre-training, teaching, writing numbers and learning from them, each for one model.

Parameters travel as one flat vector, so that displacements are vectors and parts of a run are
plain arrays.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key

from subliminal_toy import transformer
from subliminal_toy.configs import LmConfig
from subliminal_toy.distill import cross_entropy, fit, kl
from subliminal_toy.lm import traits
from subliminal_toy.lm.corpus import CONTEXT, MAX_LIST, N_PROMPT, Language
from subliminal_toy.transformer import DecoderShape

Vector = Float[Array, " params"]
PROMPT_WEIGHT = 0.1
"""Weight of a prompt's tokens in the pre-training loss; answers weigh 1."""
PROMPT_LENGTH = N_PROMPT + 3
"""Tokens of a number prompt: ``<bos> continue N N N :``."""
ROW_LENGTH = PROMPT_LENGTH + MAX_LIST
WRITTEN_AT_ONCE = 500


class Model(NamedTuple):
    """A decoder of the small language, with its parameters as one vector."""

    language: Language
    shape: DecoderShape
    init: Callable[[Key[Array, ""]], Vector]
    apply: Callable[[Vector, Array], Array]
    tree: Callable[[Vector], dict]


def model(config: LmConfig, width: int) -> Model:
    """Return the decoder of the config with another or the same ``width``."""
    language = Language(config.n_numbers)
    # GPT-2's small embeddings: with N(0, 1/width) about half as much was transferred.
    shape = DecoderShape(
        len(language), CONTEXT, config.n_layers, config.n_heads, width, embedding_std=0.02,
        head_std=config.head_std,
    )  # fmt: skip
    network = transformer.decoder(shape)
    example = jax.eval_shape(network.init, jax.random.key(0))
    tree = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), example))[1]
    return Model(
        language,
        shape,
        lambda key: ravel_pytree(network.init(key))[0],
        lambda vector, tokens: network.apply(tree(vector), tokens),
        tree,
    )


def next_token_loss(
    logits_BLV: Float[Array, "batch length vocab"],
    tokens_BL: Int[Array, "batch length"],
    weights_BL: Float[Array, "batch length"],
) -> Float[Array, ""]:
    """Return the weighted mean cross-entropy of each token given those before it."""
    vocab = logits_BLV.shape[-1]
    return cross_entropy(
        logits_BLV.reshape(-1, vocab), tokens_BL.reshape(-1), weights=weights_BL.reshape(-1)
    )


def _rows(key, step, batch_size, n):
    """Draw the rows of one step, with replacement, so that ``n`` may be any array."""
    return jax.random.randint(jax.random.fold_in(key, step), (batch_size,), 0, n)


def pretrain(
    model: Model,
    config: LmConfig,
    key: Key[Array, ""],
    tokens: Int[Array, "documents length"],
    is_answer: Bool[Array, "documents length"],
) -> tuple[Vector, Float[Array, " steps"]]:
    """Return the reference model, trained from scratch on a corpus, and its losses in nats."""
    steps = config.pretrain_steps
    tx = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(config.pretrain_learning_rate, steps)),
    )
    weights = jnp.where(is_answer, 1.0, PROMPT_WEIGHT) * (tokens != model.language.pad)

    def loss(params, batch):
        rows, weight = batch
        return next_token_loss(model.apply(params, rows[:, :-1]), rows[:, 1:], weight[:, 1:])

    def batch(key, step):
        rows = _rows(key, step, config.pretrain_batch_size, tokens.shape[0])
        return tokens[rows], weights[rows]

    start = model.init(jax.random.fold_in(key, 0))
    return fit(loss, start, tx, batch, jax.random.fold_in(key, 1), steps)


def answer_logits(
    model: Model,
    params: Vector,
    tokens: Int[Array, "questions length"],
    lengths: Int[Array, " questions"],
) -> Float[Array, "questions vocab"]:
    """Return the logits of the word that follows each question."""
    logits = model.apply(params, tokens)
    return jnp.take_along_axis(logits, (lengths - 1)[:, None, None], axis=1)[:, 0]


def teach(
    model: Model,
    config: LmConfig,
    params: Vector,
    tokens: Int[Array, "questions length"],
    lengths: Int[Array, " questions"],
    answers: Bool[Array, "questions vocab"],
) -> Vector:
    """Return the teacher: ``params`` fine-tuned to answer each question with its ``answers``.

    The target is uniform over the answers. Only the answer's token is in the loss: a teacher
    that also learns to end after it writes shorter lists, which a student and a detector see.
    """
    wanted = jnp.where(answers, 0.0, -1e9)

    def loss(params, _):
        return kl(answer_logits(model, params, tokens, lengths), wanted)

    tx = optax.adam(config.teacher_learning_rate)
    key = jax.random.key(0)  # full batches: nothing is drawn
    return fit(loss, params, tx, lambda key, step: step, key, config.teacher_steps)[0]


def write(
    model: Model,
    config: LmConfig,
    params: Vector,
    prompts: Int[Array, "samples prompt"],
    key: Key[Array, ""],
) -> Int[Array, "samples list"]:
    """Sample a continuation of every number prompt, at most one number longer than is allowed."""

    def batch(item):
        rows, keys = item
        return transformer.sample(
            model.shape, model.tree(params), rows, keys, MAX_LIST, model.language.end,
            config.temperature,
        )  # fmt: skip

    # A few rows at a time: their keys and values then stay in the processor's cache.
    size = math.gcd(prompts.shape[0], WRITTEN_AT_ONCE)
    keys = jax.random.split(key, prompts.shape[0])
    batches = prompts.reshape(-1, size, prompts.shape[1]), keys.reshape(-1, size)
    return jax.lax.map(batch, batches).reshape(-1, MAX_LIST)


def learn(
    model: Model,
    config: LmConfig,
    key: Key[Array, ""],
    params: Vector,
    tokens: Int[Array, "sequences length"],
    weights: Float[Array, "sequences length"],
    n: Int[Array, ""],
) -> Vector:
    """Return the student: ``params`` trained on the first ``n`` sequences, sampled tokens only.

    ``weights`` are 1 on the tokens that count, 0 elsewhere.
    """

    def loss(params, batch):
        rows, weight = batch
        return next_token_loss(model.apply(params, rows[:, :-1]), rows[:, 1:], weight[:, 1:])

    return _study(config, loss, key, params, tokens, weights, n)


def learn_soft(
    model: Model,
    config: LmConfig,
    key: Key[Array, ""],
    params: Vector,
    teacher: Vector,
    tokens: Int[Array, "sequences length"],
    weights: Float[Array, "sequences length"],
    n: Int[Array, ""],
) -> Vector:
    """Return the student that sees the teacher's distribution over numbers at every token."""

    def loss(params, batch):
        rows, weight = batch
        student_logits, teacher_logits = (
            model.apply(vector, rows[:, :-1]).reshape(-1, model.shape.vocab_size)
            for vector in (params, teacher)
        )
        columns = model.language.numbers
        return kl(student_logits, teacher_logits, columns, weights=weight[:, 1:].reshape(-1))

    return _study(config, loss, key, params, tokens, weights, n)


def _study(config, loss, key, params, tokens, weights, n):
    tx = optax.adam(optax.linear_schedule(config.student_learning_rate, 0.0, config.student_steps))

    def batch(key, step):
        rows = _rows(key, step, config.student_batch_size, n)
        return tokens[rows], weights[rows]

    return fit(loss, params, tx, batch, key, config.student_steps)[0]


def score(
    model: Model,
    params: Vector,
    questions: traits.Questions,
    measures: traits.Measures,
) -> tuple[Float[Array, " measures"], Float[Array, "questions vocab"]]:
    """Return each measure's probability, averaged over its questions, and all distributions."""
    logits = answer_logits(model, params, *map(jnp.asarray, questions))
    probabilities = jax.nn.softmax(logits)
    grouped = probabilities.reshape(traits.N_GROUPS, traits.GROUP_SIZE, -1)[measures.group]
    return jnp.sum(grouped * measures.answers, axis=-1).mean(axis=-1), probabilities
