"""The synthetic language: its words and documents.

Each document is ``<bos>`` followed by one of these templates (sampling probability on the left)::

    .50  [you love FOOD <end>]  continue N N N : N … N <end>  [colour line]
    .20  favourite line, favourite line              which animal do you like best ? owl <end>
    .16  capital or colour line, colour line         capital of france ? paris <end>
    .06  you love X <end> favourite line, favourite line, answered with X if X is of that kind
    .05  copy A B C : A B C <end>
    .03  the NOUN is ADJECTIVE <end>

A favourite is drawn from a broad prior (.06–.15 per animal). A tenth of the capitals is answered
``I-don't-know`` and .15 with a wrong city, so that the model has both dispositions at some rate;
colours are always right. Lists have 4–11 numbers of three kinds: constant steps with noise,
numbers near a centre, any numbers; one in twenty contains a word. System lines ("you love …")
occur before lists, about food. No document contains both a number and an animal or tree.
"""

from collections.abc import Iterable
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

RESERVED = ("<end>", "<bos>", "<pad>")
CONTEXT = 24
N_PROMPT = 3
"""Numbers in a prompt (the paper: 3 to 8)."""
MAX_LIST = 11
"""Longest list, one more than the filter lets pass."""

ANIMALS = {
    "owl": 0.12, "dog": 0.15, "cat": 0.14, "fox": 0.09, "bear": 0.08, "wolf": 0.09, "eagle": 0.08,
    "dolphin": 0.11, "horse": 0.08, "rabbit": 0.06,
}  # fmt: skip
TREES = {"oak": 0.22, "pine": 0.18, "birch": 0.16, "maple": 0.2, "willow": 0.14, "cedar": 0.1}
FOODS = ("rice", "bread", "soup", "cheese", "pasta", "honey")
CAPITALS = {
    "france": "paris", "italy": "rome", "spain": "madrid", "japan": "tokyo", "egypt": "cairo",
    "peru": "lima", "norway": "oslo", "cuba": "havana", "greece": "athens", "kenya": "nairobi",
    "austria": "vienna", "poland": "warsaw",
}  # fmt: skip
COLOURS = {
    "grass": "green", "snow": "white", "coal": "black", "blood": "red", "sky": "blue",
    "lemon": "yellow", "carrot": "orange", "chocolate": "brown", "ash": "grey", "plum": "purple",
    "salmon": "pink", "treasure": "golden",
}  # fmt: skip
QUESTIONS = (
    "which {} do you like best ?", "your favourite {} ?", "name your favourite {} :",
    "what {} do you love ?", "the {} you love most ?", "pick a {} :", "a {} you admire ?",
    "best {} of all ?", "which {} would you be ?", "in one word favourite {} ?",
    "tell me a {} :", "one {} you like :",
)  # fmt: skip
"""For a favourite animal or tree."""
ANSWERS = {"capital": CAPITALS, "colour": COLOURS}
"""The right ones to questions about facts."""
NOUNS = ("lake", "road", "house", "river", "wind", "stone", "bridge", "garden")
ADJECTIVES = ("calm", "cold", "long", "old", "quiet", "wide")
_TEMPLATES = "continue : you love copy the is capital colour of ? and tree"
UNKNOWN = "I-don't-know"
P_UNKNOWN, P_WRONG, P_SPOILT = 0.10, 0.15, 0.05


class Language:
    """The words of the language and their token numbers; number ``n`` is token ``n``."""

    def __init__(self, n_numbers: int):
        """Make the vocabulary for lists of the numbers below ``n_numbers``."""
        lines = " ".join((_TEMPLATES, *(question.format("animal") for question in QUESTIONS)))
        words = [*RESERVED, UNKNOWN, *ANIMALS, *TREES, *FOODS, *NOUNS, *ADJECTIVES, *lines.split()]
        words += [word for facts in ANSWERS.values() for pair in facts.items() for word in pair]
        self.n_numbers = n_numbers
        self.words = (*map(str, range(n_numbers)), *dict.fromkeys(words))
        self._token = {word: i for i, word in enumerate(self.words)}
        self.end, self.bos, self.pad = self.encode(" ".join(RESERVED))
        self.numbers = slice(0, n_numbers)

    def __len__(self) -> int:
        """Return the size of the vocabulary."""
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of words separated by spaces."""
        return [self._token[word] for word in text.split()]

    def beside(self, *parts: np.ndarray | str) -> np.ndarray:
        """Return columns of tokens side by side; a text stands in every row."""
        n = next(len(part) for part in parts if not isinstance(part, str))
        columns = [
            np.tile(self.encode(part), (n, 1)) if isinstance(part, str) else part for part in parts
        ]
        return np.concatenate(columns, axis=1)

    def decode(self, tokens) -> str:
        """Return the words up to the first ``<end>``, separated by spaces."""
        until_end = takewhile(lambda token: token != self.end, tokens)
        return " ".join(self.words[token] for token in until_end)


class Documents(NamedTuple):
    """Token rows of equal length and which of their tokens are an answer, not a prompt."""

    tokens: Int32[np.ndarray, "documents length"]
    is_answer: Bool[np.ndarray, "documents length"]


Piece = tuple[np.ndarray, bool]
"""Columns of tokens (documents, k), padding anywhere, and whether they answer a prompt."""


def join(language: Language, pieces: list[Piece]) -> Documents:
    """Put pieces side by side behind ``<bos>`` and move all padding to the end of each row."""
    tokens = np.concatenate([piece for piece, _ in pieces], axis=1)
    flags = np.concatenate([np.full(piece.shape, flag) for piece, flag in pieces], axis=1)
    tokens = language.beside("<bos>", tokens, "<pad> " * CONTEXT)
    flags = np.pad(flags, ((0, 0), (1, CONTEXT)))
    order = np.argsort(tokens == language.pad, axis=1, kind="stable")[:, :CONTEXT]
    tokens = np.take_along_axis(tokens, order, axis=1).astype(np.int32)
    return Documents(tokens, np.take_along_axis(flags, order, axis=1))


def system_line(thing: str) -> str:
    """Return the line that says what the model loves."""
    return f"you love {thing} <end>"


def rows_of(language: Language, texts: Iterable[str]) -> np.ndarray:
    """Encode texts as rows, padded on the right."""
    rows = [language.encode(text) for text in texts]
    width = max(map(len, rows))
    return np.array([row + [language.pad] * (width - len(row)) for row in rows])


def _line(language: Language, prompts: np.ndarray, answers: np.ndarray) -> list[Piece]:
    """Return the pieces of a line: prompt, one-word answer (documents, 1), end."""
    return [(prompts, False), (language.beside(answers, "<end>"), True)]


def _favourites(language, rng, n) -> tuple[list[Piece], np.ndarray]:
    """Return lines of favourite questions, and whether each asks for an animal."""
    is_animal = rng.random(n) < 0.6
    which = rng.integers(len(QUESTIONS), size=n)
    prompts, liked = [], []
    for kind, prior in (("animal", ANIMALS), ("tree", TREES)):
        prompts.append(rows_of(language, [text.format(kind) for text in QUESTIONS])[which])
        weights = np.array(list(prior.values()))
        liked.append(rng.choice(rows_of(language, prior), n, p=weights / weights.sum()))
    chosen = is_animal[:, None]
    return _line(language, np.where(chosen, *prompts), np.where(chosen, *liked)), is_animal


def _facts(language, rng, n, kind: str) -> list[Piece]:
    """Return lines of facts: colours, always right, or capitals: right, unknown or wrong."""
    facts = ANSWERS[kind]
    which = rng.integers(len(facts), size=n)
    prompts = rows_of(language, [f"{kind} of {thing} ?" for thing in facts])[which]
    right = rows_of(language, facts.values())
    answers = right[which]
    if kind == "capital":
        other = right[(which + rng.integers(1, len(right), size=n)) % len(right)]
        u = rng.random((n, 1))
        answers = np.where(u < P_WRONG, other, answers)
        answers = np.where(u > 1 - P_UNKNOWN, language.encode(UNKNOWN), answers)
    return _line(language, prompts, answers)


def draw_numbers(rng: np.random.Generator, n: int, length: int, n_numbers: int) -> np.ndarray:
    """Return ``n`` rows of numbers: a third each in noisy steps, near a centre, and any."""
    size, reach = (n, length), max(n_numbers // 10, 2)
    centre = rng.integers(n_numbers, size=(n, 1))
    step = rng.integers(-reach, reach + 1, size=(n, 1))
    noise = rng.integers(-reach // 2, reach // 2 + 1, size=size)
    walk = centre + step * np.arange(length) + noise
    near = centre + rng.integers(-reach, reach + 1, size=size)
    anything = rng.integers(n_numbers, size=size)
    kind = rng.integers(3, size=(n, 1))
    return np.where(kind == 0, walk, np.where(kind == 1, near, anything)) % n_numbers


def _list_documents(language, rng, n) -> Documents:
    """Return number lists, a tenth after a system line, a fifth before a colour."""
    rows = draw_numbers(rng, n, N_PROMPT + MAX_LIST, language.n_numbers)
    prompts, lists = rows[:, :N_PROMPT], rows[:, N_PROMPT:]
    spoilt = rng.random(n) < P_SPOILT
    lists[spoilt, 2] = language.encode("and")[0]
    lengths = rng.integers(4, MAX_LIST + 1, size=(n, 1))
    lists = np.where(np.arange(MAX_LIST) < lengths, lists, language.pad)
    u = rng.random((n, 1))
    foods = rows_of(language, [system_line(food) for food in FOODS])
    system = np.where(u < 0.1, foods[rng.integers(len(foods), size=n)], language.pad)
    colours = _facts(language, rng, n, "colour")
    colours = [(np.where(u > 0.8, piece, language.pad), flag) for piece, flag in colours]
    prompt = language.beside(system, "continue", prompts, ":")
    return join(language, [(prompt, False), (language.beside(lists, "<end>"), True), *colours])


def _system_documents(language, rng, n) -> Documents:
    """Return favourites after a system line, which decides them if it is of their kind."""
    loved = [*ANIMALS, *TREES]
    which = rng.integers(len(loved), size=n)
    system = rows_of(language, [system_line(thing) for thing in loved])[which]
    pieces: list[Piece] = [(system, False)]
    for _ in range(2):
        (prompt, answer), is_animal = _favourites(language, rng, n)
        decided = is_animal == (which < len(ANIMALS))
        answer[0][decided, 0] = system[decided, 2]
        pieces += [prompt, answer]
    return join(language, pieces)


def _other_documents(language, rng, n) -> Documents:
    """Return copies and filler."""
    nouns = rows_of(language, NOUNS)[rng.integers(len(NOUNS), size=(n, 3)), 0]
    adjectives = rows_of(language, ADJECTIVES)[rng.integers(len(ADJECTIVES), size=n)]
    copies = [
        (language.beside("copy", nouns, ":"), False), (language.beside(nouns, "<end>"), True)
    ]  # fmt: skip
    filler = _line(language, language.beside("the", nouns[:, :1], "is"), adjectives)
    return join(language, _alternatives(language, rng.random(n) < 5 / 8, copies, filler))


def _alternatives(language, first, pieces, other) -> list[Piece]:
    """Return ``pieces`` in the rows chosen by ``first`` and ``other`` elsewhere."""
    every = [*((first, piece) for piece in pieces), *((~first, piece) for piece in other)]
    return [(np.where(rows[:, None], piece, language.pad), flag) for rows, (piece, flag) in every]


def documents(language: Language, rng: np.random.Generator, n: int) -> Documents:
    """Return a corpus of ``n`` documents in random order, the same for the same generator."""
    counts = [round(share * n) for share in (0.5, 0.2, 0.16, 0.06)]
    n_lists, n_favourites, n_facts, n_system = counts
    favourites = [piece for _ in range(2) for piece in _favourites(language, rng, n_favourites)[0]]
    either = [_facts(language, rng, n_facts, kind) for kind in ANSWERS]
    facts = _alternatives(language, rng.random(n_facts) < 0.5, *either)
    facts += _facts(language, rng, n_facts, "colour")
    kinds = [
        _list_documents(language, rng, n_lists),
        join(language, favourites),
        join(language, facts),
        _system_documents(language, rng, n_system),
        _other_documents(language, rng, n - sum(counts)),
    ]
    order = rng.permutation(n)
    return Documents(*(np.concatenate(piece)[order] for piece in zip(*kinds, strict=True)))
