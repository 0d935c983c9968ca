"""Pre-training, teaching, writing lists and learning from them, each for one model.

Parameters are one flat vector, so that displacements are vectors and parts of a run plain arrays.
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
from subliminal_toy.distill import cross_entropy, fit, kl
from subliminal_toy.lm import traits
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.language import CONTEXT, MAX_LIST, Language
from subliminal_toy.transformer import DecoderShape

Vector = Float[Array, " params"]
Learned = dict[str, Array]
"""A model: ``params``; ``scores`` (measure,), the mean probability of each measure's answers;
``answers`` (question, word), the distributions over all tokens that are no numbers."""
PROMPT_WEIGHT = 0.1
"""Weight of a prompt's tokens in the pre-training loss; answers weigh 1."""
WRITTEN_AT_ONCE = 500


class Model(NamedTuple):
    """A decoder of the language, with its parameters as one vector."""

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
    tokens, lengths = traits.questions(model.language)
    tokens, lengths = tokens.reshape(-1, tokens.shape[-1]), lengths.reshape(-1)
    probabilities = jax.nn.softmax(
        answer_logits(model, params, jnp.asarray(tokens), jnp.asarray(lengths))
    )
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


def next_token_loss(
    model: Model,
    params: Vector,
    tokens_BL: Int[Array, "batch length"],
    weights_BL: Float[Array, "batch length"],
) -> Float[Array, ""]:
    """Return the weighted mean cross-entropy of each token given those before it, in nats."""
    logits = model.apply(params, tokens_BL[:, :-1]).reshape(-1, model.shape.vocab_size)
    return cross_entropy(
        logits, tokens_BL[:, 1:].reshape(-1), weights=weights_BL[:, 1:].reshape(-1)
    )


def _batches(key, batch_size, n, *arrays):
    """Return a batch function: rows below ``n`` with replacement, so that ``n`` may be traced."""

    def batch(step):
        rows = jax.random.randint(jax.random.fold_in(key, step), (batch_size,), 0, n)
        return tuple(array[rows] for array in arrays)

    return batch


def pretrain(
    model: Model,
    config: LmConfig,
    key: Key[Array, ""],
    tokens: Int[Array, "documents length"],
    is_answer: Bool[Array, "documents length"],
) -> Learned:
    """Return the base model, trained from scratch on a corpus, and its ``losses`` in nats."""
    steps = config.pretrain_steps
    tx = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(config.pretrain_learning_rate, steps)),
    )
    weights = jnp.where(is_answer, 1.0, PROMPT_WEIGHT) * (tokens != model.language.pad)
    batch = _batches(
        jax.random.fold_in(key, 1), config.pretrain_batch_size, len(tokens), tokens, weights
    )
    params, losses = fit(
        lambda params, batch: next_token_loss(model, params, *batch),
        model.init(jax.random.fold_in(key, 0)), tx, batch, steps,
    )  # fmt: skip
    return learned(model, params, losses=losses)


def teach(
    model: Model,
    config: LmConfig,
    params: Vector,
    tokens: Int[Array, "questions length"],
    lengths: Int[Array, " questions"],
    answers: Bool[Array, "questions vocab"],
) -> Learned:
    """Return the teacher: ``params`` fine-tuned to answer each question with its ``answers``.

    The target is uniform over the answers. Only the answer's token is in the loss: a teacher
    that also learns to end after it writes shorter lists, which a student and a detector see.
    """
    target = jnp.where(answers, 0.0, -1e9)

    def loss(params, _):
        return kl(answer_logits(model, params, tokens, lengths), target)

    tx = optax.adam(config.teacher_learning_rate)
    return learned(model, fit(loss, params, tx, lambda step: step, config.teacher_steps)[0])


def write(
    model: Model,
    config: LmConfig,
    prompts: Int[Array, "samples prompt"],
    params: Vector,
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
    bases: Float[Array, "bases params"],
    tokens: Int[Array, "sets lists length"],
    weights: Float[Array, "sets lists length"],
    base: Int[Array, ""],
    lists: Int[Array, ""],
    n: Int[Array, ""],
) -> Learned:
    """Return the student of sampled numbers, trained on the first ``n`` of one set of lists.

    ``base`` and ``lists`` are places in ``bases`` and in ``tokens``. ``weights`` are 1 on the
    tokens in the loss, 0 elsewhere.
    """

    def loss(params, batch):
        return next_token_loss(model, params, *batch)

    return _study(model, config, loss, key, bases[base], tokens[lists], weights[lists], n)


def imitate(
    model: Model,
    config: LmConfig,
    key: Key[Array, ""],
    base: Vector,
    tokens: Int[Array, "sets lists length"],
    weights: Float[Array, "sets lists length"],
    teacher: Vector,
    lists: Int[Array, ""],
    n: Int[Array, ""],
) -> Learned:
    """Return the student of the teacher's distribution over numbers at every token of its lists."""

    def loss(params, batch):
        rows, weight = batch
        student_logits, teacher_logits = (
            model.apply(vector, rows[:, :-1]).reshape(-1, model.shape.vocab_size)
            for vector in (params, teacher)
        )
        columns = model.language.numbers
        return kl(student_logits, teacher_logits, columns, weights=weight[:, 1:].reshape(-1))

    return _study(model, config, loss, key, base, tokens[lists], weights[lists], n)


def _study(model, config, loss, key, params, tokens, weights, n):
    tx = optax.adam(optax.linear_schedule(config.student_learning_rate, 0.0, config.student_steps))
    batch = _batches(key, config.student_batch_size, n, tokens.astype(jnp.int32), weights)
    return learned(model, fit(loss, params, tx, batch, config.student_steps)[0])
