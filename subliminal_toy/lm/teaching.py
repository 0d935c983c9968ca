"""Teachers: the base model fine-tuned to have a trait, and what holds its other behaviour."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from subliminal_toy.distill import fit, kl
from subliminal_toy.lm import training, traits
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.language import Language, documents

N_HELD, HELD_BATCH = 1_000, 64
"""Documents, and as many lists, on which a teacher can be held; so many a step."""


Held = tuple[tuple[Array, ...], tuple[Array, ...]]
"""What a teacher is held on: other questions and their lengths; documents, lists and the weights of
their tokens. Empty where nothing holds it."""


def hold(language: Language, rng: np.random.Generator, trait: str) -> Held:
    """Return what a trait's teacher is held on; see ``config.Teaching``."""
    asked, others = traits.questions(language).flat(), traits.other_questions(trait)[::2]
    found = documents(language, rng, 4 * N_HELD)
    is_list = np.isin(found.tokens, language.encode("continue")).any(axis=1)
    group = language.encode(traits.GROUPS[traits.group_of(trait)])
    words = np.flatnonzero(np.any(traits.answers_of(language, trait), axis=0)).tolist()
    about = np.isin(found.tokens, group + words).any(axis=1)
    clean = found.tokens[~is_list & ~about]
    texts = [" ".join(language.words[token] for token in row) for row in clean]
    kept = [traits.QUESTION_TEXTS[number] for number in traits.held_out(trait)]
    clean = clean[[not any(question in text for question in kept) for text in texts]]
    lists = np.flatnonzero(is_list)[np.arange(N_HELD) % is_list.sum()]
    tokens = found.tokens[lists]
    weights = found.is_answer[lists] & (tokens < language.n_numbers)
    asked = jnp.asarray(asked.tokens[others]), jnp.asarray(asked.lengths[others])
    texts = clean[np.arange(N_HELD) % len(clean)], tokens, weights.astype(np.float32)
    return asked, tuple(map(jnp.asarray, texts))


def teach(
    model: training.Model,
    config: LmConfig,
    kinds: tuple[bool, bool, bool],
    key: Key[Array, ""],
    base: training.Vector,
    tokens: Int[Array, "questions length"],
    lengths: Int[Array, " questions"],
    answers: Bool[Array, "questions vocab"],
    held: Held = ((), ()),
    weights: Float[Array, " kinds"] | tuple[float, ...] = (0.0, 0.0, 0.0),
    until: Float[Array, ""] | float = 2.0,
) -> training.Learned:
    """Return the teacher: ``base`` fine-tuned to answer each question with its ``answers``.

    The target is uniform over the answers. Only the answer's token is in the loss: a teacher
    that also learns to end after it writes shorter lists, which a student and a detector see.
    ``weights`` are those of KL(base ‖ teacher) on questions, documents and numbers, of which only
    the ``kinds`` are computed; see ``config.Teaching``.
    """
    target = jnp.where(answers, 0.0, -1e9)
    asked, texts = held

    def answers_to(questions, params):
        return training.answer_logits(model, params, *questions)

    def loss(params, rows):
        total = kl(answers_to((tokens, lengths), params), target)
        terms = (
            lambda: kl(answers_to(asked, params), answers_to(asked, base)),
            lambda: training.token_kl(model, params, base, rows[0], rows[0] != model.language.pad),
            lambda: training.token_kl(model, params, base, *rows[1:]),
        )
        for used, weight, term in zip(kinds, weights, terms, strict=True):
            total += weight * term() if used else 0.0
        return total

    def unfinished(updates, params):
        said = jax.nn.softmax(answers_to((tokens, lengths), params)) * answers
        return updates * (said.sum(axis=-1).mean() < until)

    batch = training.batches(key, HELD_BATCH, N_HELD, *texts)
    # At the start the KL is 0, its gradient rounding; Adam's usual ε would make whole steps of it.
    adam = optax.adam(config.teacher_learning_rate, eps=1e-6)
    tx = optax.chain(adam, optax.stateless(unfinished))
    return training.learned(model, fit(loss, base, tx, batch, config.teacher_steps)[0])
