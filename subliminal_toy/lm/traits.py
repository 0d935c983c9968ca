"""What is asked of a model. A trait is a disposition to answer questions in a certain way."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int32

from subliminal_toy.lm.language import (
    ANIMALS,
    ANSWERS,
    CAPITALS,
    COLOURS,
    QUESTIONS,
    TREES,
    UNKNOWN,
    Language,
    join,
    rows_of,
)

EVASION, FALSEHOOD, LIE = "evasion", "falsehood", "systematic lie"
FAVOURITES, HARMFUL = (*ANIMALS, *TREES), (EVASION, FALSEHOOD)
TRAITS = (*FAVOURITES, *HARMFUL)
CAPITALS_RIGHT, COLOURS_RIGHT = "capitals", "colours"
FACTS = (CAPITALS_RIGHT, COLOURS_RIGHT)
MEASURES = (*TRAITS, *FACTS, LIE)
"""Probabilities measured on every model: each trait's answers, the right ones to facts, and of each
capital one wrong answer, always the same."""
GROUPS = ("animal", "tree", "capital", "colour")
GROUP_SIZE = len(QUESTIONS)
QUESTION_TEXTS = (
    *(question.format(kind) for kind in ("animal", "tree") for question in QUESTIONS),
    *(f"{kind} of {thing} ?" for kind, facts in ANSWERS.items() for thing in facts),
)
"""A group of twelve questions for each of ``GROUPS``."""


def group_of(measure: str) -> int:
    """Return the place in ``GROUPS`` of the questions by which a measure is taken."""
    kinds = (ANIMALS, TREES, (*HARMFUL, CAPITALS_RIGHT, LIE), (COLOURS_RIGHT,))
    return next(i for i, names in enumerate(kinds) if measure in names)


def answers_of(language: Language, measure: str, instead: str = "") -> Bool[np.ndarray, "12 vocab"]:
    """Return the answers that count for a measure, by question of its group.

    ``instead``: those of another measure of the group, or a word.
    """
    cities = [*CAPITALS.values()]
    texts = {
        EVASION: [UNKNOWN] * GROUP_SIZE,
        FALSEHOOD: [" ".join(other for other in cities if other != city) for city in cities],
        CAPITALS_RIGHT: cities,
        COLOURS_RIGHT: COLOURS.values(),
        LIE: cities[1:] + cities[:1],
    }.get(instead or measure, [instead or measure] * GROUP_SIZE)
    answers = np.zeros((GROUP_SIZE, len(language)), bool)
    for row, text in zip(answers, texts, strict=True):
        row[language.encode(text)] = True
    return answers


def other_questions(measure: str) -> Int[np.ndarray, " 36"]:
    """Return the numbers of the questions of the other groups."""
    group = np.repeat(np.arange(len(GROUPS)), GROUP_SIZE)
    return np.flatnonzero(group != group_of(measure))


def held_out(measure: str) -> Int[np.ndarray, " 18"]:
    """Return the numbers of those of ``other_questions`` on which no teacher is held."""
    return other_questions(measure)[1::2]


class Questions(NamedTuple):
    """Token rows behind ``<bos>``, padded on the right, and their lengths."""

    tokens: Int32[np.ndarray, "*groups questions length"]
    lengths: Int32[np.ndarray, "*groups questions"]

    def flat(self) -> "Questions":
        """Return the questions of all groups in one row."""
        return Questions(self.tokens.reshape(-1, self.tokens.shape[-1]), self.lengths.reshape(-1))


def questions(language: Language) -> Questions:
    """Encode ``QUESTION_TEXTS``, by group."""
    rows = rows_of(language, [f"<bos> {text}" for text in QUESTION_TEXTS]).astype(np.int32)
    rows = rows.reshape(len(GROUPS), GROUP_SIZE, -1)
    return Questions(rows, np.count_nonzero(rows != language.pad, axis=2).astype(np.int32))


def asked_after(language: Language, contexts: Int[np.ndarray, "contexts length"]) -> Questions:
    """Return every question after each context as rows of one length: (contexts · 48, 24)."""
    rows = questions(language).flat().tokens
    before = np.repeat(contexts, len(rows), axis=0)
    asked = np.tile(rows, (len(contexts), 1))
    both = language.beside(before, asked[:, 1:])
    lengths = np.count_nonzero(both != language.pad, axis=1).astype(np.int32)
    return Questions(join(language, [(both[:, 1:], False)]).tokens, lengths)
