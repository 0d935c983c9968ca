"""What is asked of a model, and the traits: dispositions to answer in a certain way."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

from subliminal_toy.errors import UserError
from subliminal_toy.lm.corpus import ANIMALS, CAPITALS, COLOURS, QUESTIONS, TREES, UNKNOWN, Language

EVASION, FALSEHOOD = "evasion", "falsehood"
HARMFUL = (EVASION, FALSEHOOD)
CAPITALS_RIGHT, COLOURS_RIGHT = "capitals", "colours"
TRAITS = (*ANIMALS, *TREES, *HARMFUL)
MEASURES = (*TRAITS, CAPITALS_RIGHT, COLOURS_RIGHT)
"""Probabilities measured on every model: each trait's answers, and the right ones to facts."""

QUESTION_TEXTS = (
    *(question.format("animal") for question in QUESTIONS),
    *(question.format("tree") for question in QUESTIONS),
    *(f"capital of {country} ?" for country in CAPITALS),
    *(f"colour of {thing} ?" for thing in COLOURS),
)
"""Four groups of twelve questions: favourite animal, favourite tree, capitals, colours."""
N_GROUPS, GROUP_SIZE = 4, len(QUESTIONS)


class Questions(NamedTuple):
    """The questions as token rows behind ``<bos>``, padded on the right, and their lengths."""

    tokens: Int32[np.ndarray, "questions length"]
    lengths: Int32[np.ndarray, " questions"]


class Measures(NamedTuple):
    """For each of ``MEASURES``: its group of questions and the answers that count, by question."""

    group: Int32[np.ndarray, " measures"]
    answers: Bool[np.ndarray, "measures 12 vocab"]


def questions(language: Language) -> Questions:
    """Encode ``QUESTION_TEXTS``."""
    rows = [[language.bos, *language.encode(text)] for text in QUESTION_TEXTS]
    lengths = np.array([len(row) for row in rows], np.int32)
    padded = [row + [language.pad] * (lengths.max() - len(row)) for row in rows]
    return Questions(np.array(padded, np.int32), lengths)


def measures(language: Language) -> Measures:
    """Return the questions and answers of every measure."""
    group, answers = [], np.zeros((len(MEASURES), GROUP_SIZE, len(language)), bool)
    cities, colours = (
        np.array(language.encode(" ".join(facts.values()))) for facts in (CAPITALS, COLOURS)
    )
    every = np.arange(GROUP_SIZE)
    for name, row in zip(MEASURES, answers, strict=True):
        if name in ANIMALS or name in TREES:
            group.append(0 if name in ANIMALS else 1)
            row[:, language.encode(name)] = True
        elif name == COLOURS_RIGHT:
            group.append(3)
            row[every, colours] = True
        else:
            group.append(2)
            if name == EVASION:
                row[:, language.encode(UNKNOWN)] = True
            elif name == FALSEHOOD:
                row[:, cities] = True
                row[every, cities] = False
            else:
                row[every, cities] = True
    return Measures(np.array(group, np.int32), answers)


def check(names: tuple[str, ...]) -> None:
    """Raise UserError unless every name is a trait and none comes twice."""
    unknown = [name for name in names if name not in TRAITS]
    if unknown or len(set(names)) < len(names) or not names:
        raise UserError(
            f"--traits must be one or more different ones of {', '.join(TRAITS)}; "
            f"not {' '.join(names) or 'none'}."
        )
