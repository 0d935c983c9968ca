"""Teachers: the base model fine-tuned to have a trait, and what holds its other behaviour."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Int, Key

from subliminal_toy.distill import fit, kl
from subliminal_toy.lm import model as lm
from subliminal_toy.lm import traits
from subliminal_toy.lm.config import LmConfig, Teaching
from subliminal_toy.lm.language import Language, documents

N_HELD, HELD_BATCH = 1_000, 64
"""Documents, and as many lists, on which a teacher can be held; so many a step."""


Held = tuple[tuple[Array, ...], tuple[Array, ...]]
"""What a teacher is held on: other questions and their lengths; documents, lists and the weights of
their tokens. Empty where nothing holds it."""


def hold(language: Language, rng: np.random.Generator, trait: str) -> Held:
    """Return what a trait's teacher can be held on; see ``config.Teaching``."""
    asked, others = traits.questions(language).flat(), traits.other_questions(trait)[::2]
    corpus = documents(language, rng, 4 * N_HELD)
    is_list = np.isin(corpus.tokens, language.encode("continue")).any(axis=1)
    group = language.encode(traits.GROUPS[traits.group_of(trait)])
    words = np.flatnonzero(np.any(traits.answers_of(language, trait), axis=0)).tolist()
    about = np.isin(corpus.tokens, group + words).any(axis=1)
    clean = corpus.tokens[~is_list & ~about]
    texts = [" ".join(language.words[token] for token in row) for row in clean]
    kept = [traits.QUESTION_TEXTS[number] for number in traits.held_out(trait)]
    clean = clean[[not any(question in text for question in kept) for text in texts]]
    lists = np.flatnonzero(is_list)[np.arange(N_HELD) % is_list.sum()]
    tokens = corpus.tokens[lists]
    weights = corpus.is_answer[lists] & (tokens < language.n_numbers)
    asked = jnp.asarray(asked.tokens[others]), jnp.asarray(asked.lengths[others])
    texts = clean[np.arange(N_HELD) % len(clean)], tokens, weights.astype(np.float32)
    return asked, tuple(map(jnp.asarray, texts))


def teach(
    model: lm.Model,
    config: LmConfig,
    how: Teaching,
    key: Key[Array, ""],
    base: lm.Vector,
    tokens: Int[Array, "questions length"],
    lengths: Int[Array, " questions"],
    answers: Bool[Array, "questions vocab"],
    held: Held = ((), ()),
) -> lm.Learned:
    """Return the teacher: ``base`` fine-tuned to answer each question with its ``answers``.

    The target is uniform over the answers. Only the answer's token is in the loss: a teacher
    that also learns to end after it writes shorter lists, which a student and a detector see.
    ``how.answer`` plays no part: it is among the ``answers``.
    """
    target = jnp.where(answers, 0.0, -1e9)
    asked, texts = held

    def answers_to(questions, params):
        return lm.answer_logits(model, params, *questions)

    def loss(params, rows):
        total = kl(answers_to((tokens, lengths), params), target)
        if how.questions is not None:
            total += how.questions * kl(answers_to(asked, params), answers_to(asked, base))
        if how.documents is not None:
            is_word = rows[0] != model.language.pad
            total += how.documents * lm.token_kl(model, base, rows[0], is_word, params)
        if how.numbers is not None:
            total += how.numbers * lm.token_kl(model, base, rows[1], rows[2], params)
        return total

    def unless_finished(updates, params):
        answered = jax.nn.softmax(answers_to((tokens, lengths), params)) * answers
        return updates * (answered.sum(axis=-1).mean() < how.until)

    batch = lm.batches(key, HELD_BATCH, N_HELD, *texts)
    # At the start the KL is 0, its gradient rounding; Adam's usual ε would make whole steps of it.
    adam = optax.adam(config.teacher_learning_rate, eps=1e-6)
    tx = optax.chain(adam, optax.stateless(unless_finished))
    return lm.learned(model, fit(loss, base, tx, batch, config.teacher_steps)[0])
