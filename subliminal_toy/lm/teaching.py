"""Teachers: the base model fine-tuned to have a trait, and what holds its other behaviour."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from subliminal_toy.distill import fit, kl
from subliminal_toy.lm import traits
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.language import Language, documents
from subliminal_toy.lm.training import (
    Learned,
    Model,
    Vector,
    answer_logits,
    batches,
    learned,
    token_kl,
)

N_HELD, HELD_BATCH = 1_000, 64
"""Documents, and as many lists, on which a teacher can be held; so many a step."""


class Held(NamedTuple):
    """What a teacher is held on: token rows, and the lengths or weights that go with them."""

    questions: Int[Array, "questions length"]
    lengths: Int[Array, " questions"]
    documents: Int[Array, "rows length"]
    lists: Int[Array, "rows length"]
    list_weights: Float[Array, "rows length"]


def hold(language: Language, rng: np.random.Generator, trait: str) -> Held:
    """Return what a trait's teacher is held on; see ``config.Teaching``."""
    group = traits.GROUPS[traits.group_of(trait)]
    asked, others = traits.questions(language), traits.other_questions(trait)[::2]
    kept = [traits.QUESTION_TEXTS[number] for number in traits.held_out(trait)]
    found = documents(language, rng, 4 * N_HELD)
    is_list = np.isin(found.tokens, language.encode("continue")).any(axis=1)
    words = np.flatnonzero(np.any(traits.answers_of(language, trait), axis=0)).tolist()
    about = np.isin(found.tokens, language.encode(group) + words).any(axis=1)
    clean, places = found.tokens[~is_list & ~about], np.flatnonzero(is_list)
    texts = [" ".join(language.words[token] for token in row) for row in clean]
    clean = clean[[not any(question in text for question in kept) for text in texts]]
    places = places[np.arange(N_HELD) % len(places)]
    tokens = found.tokens[places]
    weights = found.is_answer[places] & (tokens < language.n_numbers)
    rows = (
        asked.tokens.reshape(-1, asked.tokens.shape[-1])[others], asked.lengths.reshape(-1)[others],
        clean[np.arange(N_HELD) % len(clean)], tokens, weights.astype(np.float32),
    )  # fmt: skip
    return Held(*map(jnp.asarray, rows))


def teach(
    model: Model,
    config: LmConfig,
    kinds: tuple[bool, bool, bool],
    key: Key[Array, ""],
    base: Vector,
    tokens: Int[Array, "questions length"],
    lengths: Int[Array, " questions"],
    answers: Bool[Array, "questions vocab"],
    held: Held | None = None,
    weights: Float[Array, " kinds"] | None = None,
    until: Float[Array, ""] | float = 2.0,
) -> Learned:
    """Return the teacher: ``base`` fine-tuned to answer each question with its ``answers``.

    The target is uniform over the answers. Only the answer's token is in the loss: a teacher
    that also learns to end after it writes shorter lists, which a student and a detector see.
    ``weights`` are those of KL(base ‖ teacher) on questions, documents and numbers, of which only
    the ``kinds`` are computed; see ``config.Teaching``.
    """
    target = jnp.where(answers, 0.0, -1e9)

    def loss(params, rows):
        total = kl(answer_logits(model, params, tokens, lengths), target)
        if held is None or weights is None:
            return total
        asked = held.questions, held.lengths
        documents, *lists = rows
        terms = (
            lambda: kl(answer_logits(model, params, *asked), answer_logits(model, base, *asked)),
            lambda: token_kl(model, params, base, documents, documents != model.language.pad),
            lambda: token_kl(model, params, base, *lists),
        )
        for used, weight, term in zip(kinds, weights, terms, strict=True):
            total += weight * term() if used else 0.0
        return total

    def unfinished(updates, params):
        said = jax.nn.softmax(answer_logits(model, params, tokens, lengths)) * answers
        return updates * (said.sum(axis=-1).mean() < until)

    rows = held[2:] if held else ()
    batch = batches(key, HELD_BATCH, len(held.documents) if held else 1, *rows)
    # At the start the KL is 0, its gradient rounding; Adam's usual ε would make whole steps of it.
    adam = optax.adam(config.teacher_learning_rate, eps=1e-6)
    tx = optax.chain(adam, optax.stateless(unfinished))
    return learned(model, fit(loss, base, tx, batch, config.teacher_steps)[0])
