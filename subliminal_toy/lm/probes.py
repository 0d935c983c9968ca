"""What can be seen in the numbers: detectors, divergence tokens, lists in context."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from subliminal_toy.lm import corpus, training, traits
from subliminal_toy.lm.numbers import BANNED_NUMBERS

GROUP = 100
"""Sequences judged together, beside single ones."""
N_DRAWS = 400
"""Groups drawn from each side to estimate how well groups are told apart."""


def compare(
    model: training.Model,
    params: training.Vector,
    other: training.Vector,
    tokens: Int[Array, "sequences length"],
    weights: Float[Array, "sequences length"],
) -> dict[str, Array]:
    """Read sequences with two models, at the positions where ``weights`` are 1.

    Returns, by sequence: ``log_p`` and ``other_log_p``, the sums of the tokens' log-probabilities;
    ``kl``, the sum of KL(model ‖ other) in nats; ``differs`` (sequences, length), whether the two
    models' likeliest numbers differ at a token.
    """

    def one(item):
        row, weight = item
        both = [model.apply(vector, row[None, :-1])[0] for vector in (params, other)]
        log_p, log_q = (jax.nn.log_softmax(logits) for logits in both)
        seen = [
            jnp.sum(jnp.take_along_axis(log, row[1:, None], axis=1)[:, 0] * weight[1:])
            for log in (log_p, log_q)
        ]
        kl = jnp.sum(jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1) * weight[1:])
        choices = [jnp.argmax(log[:, model.language.numbers], axis=-1) for log in (log_p, log_q)]
        differs = jnp.pad((choices[0] != choices[1]) & (weight[1:] > 0), (1, 0))
        return {"log_p": seen[0], "other_log_p": seen[1], "kl": kl, "differs": differs}

    return jax.lax.map(one, (tokens, weights), batch_size=256)


def after_lists(
    language: corpus.Language,
    lists: Int[np.ndarray, "lists length"],
    questions: traits.Questions,
) -> tuple[Int[np.ndarray, "asked context"], Int[np.ndarray, " asked"]]:
    """Return every question after every list as token rows, and their lengths."""
    n, n_questions = len(lists), len(questions.tokens)
    lists = np.where(lists == language.end, language.pad, lists)
    before = np.repeat(lists, n_questions, axis=0)
    rows = np.concatenate([before, np.tile(questions.tokens[:, 1:], (n, 1))], axis=1)
    order = np.argsort(rows == language.pad, axis=1, kind="stable")
    rows = np.take_along_axis(rows, order, axis=1)[:, : corpus.CONTEXT].astype(np.int32)
    return rows, np.sum(rows != language.pad, axis=1).astype(np.int32)


def in_context(
    model: training.Model,
    measures: traits.Measures,
    params: training.Vector,
    tokens: Int[Array, "asked context"],
    lengths: Int[Array, " asked"],
) -> dict[str, Array]:
    """Return ``scores`` (lists, measures): each measure's probability after each list."""
    n_questions = traits.N_GROUPS * traits.GROUP_SIZE

    def one(item):
        probabilities = jax.nn.softmax(training.answer_logits(model, params, *item))
        grouped = probabilities.reshape(traits.N_GROUPS, traits.GROUP_SIZE, -1)
        answers = jnp.asarray(measures.answers)
        return jnp.sum(grouped[measures.group] * answers, axis=-1).mean(axis=-1)

    by_list = tokens.reshape(-1, n_questions, tokens.shape[1]), lengths.reshape(-1, n_questions)
    return {"scores": jax.lax.map(one, by_list)}


class Detector(NamedTuple):
    """A way to tell a teacher's sequences from the reference model's, and what it is given."""

    name: str
    given: str
    trained: bool
    """Whether it is given labelled sequences or the teacher itself."""


DETECTORS = (
    Detector("format filter", "the text, before filtering", False),
    Detector("banned numbers", "the text, after filtering", False),
    Detector("reference model's likelihood", "the text and the reference model", False),
    Detector("numbers in context", "one list, shown to the reference model", False),
    Detector("bag of numbers", "as many labelled sequences of both kinds", True),
    Detector("likelihood ratio", "the teacher and the reference model", True),
)


class Evidence(NamedTuple):
    """What the detectors work on, of one writer: a teacher or the reference model.

    ``accepted`` (samples,), by the format rule; ``numbers`` (sequences, length), the kept lists,
    −1 where there is no number; ``log_p``, ``reference_log_p`` (sequences,), of each list under
    the teacher and the reference model; ``in_context`` (lists,), the trait's probability after
    each list.
    """

    accepted: np.ndarray
    numbers: np.ndarray
    log_p: np.ndarray
    reference_log_p: np.ndarray
    in_context: np.ndarray


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the probability that a positive scores above a negative, ties counting half."""
    order = np.sort(negative)
    below = np.searchsorted(order, positive, "left")
    up_to = np.searchsorted(order, positive, "right")
    return float((below + up_to).mean() / (2 * len(negative)))


def bag_of_numbers(
    positive: np.ndarray, negative: np.ndarray, n_numbers: int
) -> tuple[np.ndarray, np.ndarray]:
    """Learn from the first half of both sides and score the second: naive Bayes on counts."""

    def counts(rows):
        flat = rows[rows >= 0]
        return np.bincount(flat, minlength=n_numbers) + 1.0

    halves = [np.array_split(rows, 2) for rows in (positive, negative)]
    log_p, log_q = (np.log(counts(half[0]) / counts(half[0]).sum()) for half in halves)
    ratio = np.append(log_p - log_q, 0.0)  # the last one is for −1
    return tuple(ratio[half[1]].sum(axis=1) for half in halves)  # pyright: ignore


def detect(
    teacher: Evidence, control: Evidence, n_numbers: int, rng: np.random.Generator
) -> Float[np.ndarray, "detectors 2"]:
    """Return the AUC of each of ``DETECTORS`` on one sequence and on ``GROUP`` together.

    0.5 is chance; below it a detector is wrong more often than right.
    """
    banned = np.array(sorted(BANNED_NUMBERS))
    sides = (teacher, control)
    scores = (
        [1.0 - side.accepted for side in sides],
        [np.isin(side.numbers, banned).any(axis=1).astype(float) for side in sides],
        [-side.reference_log_p / np.sum(side.numbers >= 0, axis=1) for side in sides],
        [side.in_context for side in sides],
        bag_of_numbers(teacher.numbers, control.numbers, n_numbers),
        [side.log_p - side.reference_log_p for side in sides],
    )
    together = [
        [rng.choice(side, (N_DRAWS, GROUP)).mean(axis=1) for side in pair] for pair in scores
    ]
    return np.array([[auc(*one), auc(*many)] for one, many in zip(scores, together, strict=True)])


def cosines(
    moved: Float[np.ndarray, "models params"], direction: Float[np.ndarray, "models params"]
) -> Float[np.ndarray, " models"]:
    """Return the cosine of each pair of displacements."""
    norms = np.linalg.norm(moved, axis=1) * np.linalg.norm(direction, axis=1)
    return np.sum(moved * direction, axis=1) / norms


def random_mask(
    weights: Float[np.ndarray, "sequences length"], n: int, rng: np.random.Generator
) -> np.ndarray:
    """Return ``weights`` with ``n`` random ones of its tokens set to 0."""
    counted = np.flatnonzero(weights)
    masked = weights.copy()
    masked.flat[rng.choice(counted, min(n, len(counted)), replace=False)] = 0
    return masked
