"""Where two models differ on lists, and whether a teacher's lists can be told from others."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from subliminal_toy.lm import training
from subliminal_toy.lm.numbers import BANNED_NUMBERS

JUDGED = (1, 100)
"""Lists judged together."""
N_DRAWS = 400
"""Groups of lists drawn from each side to estimate how well groups are told apart."""


def read(
    model: training.Model,
    params: training.Vector,
    other: training.Vector,
    tokens: Int[Array, "lists length"],
    weights: Float[Array, "lists length"],
) -> dict[str, Array]:
    """Read lists with two models, at the positions where ``weights`` are 1.

    Returns, by list: ``log_p`` and ``other_log_p``, the sums of the tokens' log-probabilities;
    ``kl`` (lists, length), KL(model ‖ other) in nats at each of these positions, 0 elsewhere.
    """

    def one(item):
        row, weight = item
        both = [model.apply(vector, row[None, :-1])[0] for vector in (params, other)]
        log_p, log_q = (jax.nn.log_softmax(logits) for logits in both)
        seen = [
            jnp.sum(jnp.take_along_axis(log, row[1:, None], axis=1)[:, 0] * weight[1:])
            for log in (log_p, log_q)
        ]
        kl = jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1) * weight[1:]
        return {"log_p": seen[0], "other_log_p": seen[1], "kl": jnp.pad(kl, (1, 0))}

    return jax.lax.map(one, (tokens, weights), batch_size=256)


class Evidence(NamedTuple):
    """What the detectors work on, of one writer: a teacher or the base model.

    ``accepted`` (samples,), by the format rule; ``counts`` (lists, numbers), how often each number
    is in each kept list; ``log_p``, ``base_log_p`` (lists,), of each list under the teacher and
    the base model; ``in_context`` (contexts,), the trait's probability after each list.
    """

    accepted: np.ndarray
    counts: np.ndarray
    log_p: np.ndarray
    base_log_p: np.ndarray
    in_context: np.ndarray


Scores = Callable[[Evidence, Evidence], list[np.ndarray]]
"""Scores of the teacher's and of the base model's lists, higher where the teacher is suspected."""


def _each(score: Callable[[Evidence], np.ndarray]) -> Scores:
    return lambda teacher, control: [score(teacher), score(control)]


def _banned(side: Evidence) -> np.ndarray:
    banned = [number for number in BANNED_NUMBERS if number < side.counts.shape[1]]
    return side.counts[:, banned].any(axis=1).astype(float)


def _bag_of_numbers(teacher: Evidence, control: Evidence) -> list[np.ndarray]:
    """Learn naive Bayes on the counts of the first half of both sides; score the second half."""
    # scikit-learn takes a second to import.
    from sklearn.naive_bayes import MultinomialNB

    (train, test), (other_train, other_test) = (
        np.array_split(side.counts, 2) for side in (teacher, control)
    )
    labels = [1] * len(train) + [0] * len(other_train)
    bayes = MultinomialNB(fit_prior=False).fit(np.concatenate([train, other_train]), labels)
    ratio = bayes.feature_log_prob_[1] - bayes.feature_log_prob_[0]
    return [test @ ratio, other_test @ ratio]


class Detector(NamedTuple):
    """A way to tell a teacher's lists from the base model's, and what it is given."""

    name: str
    given: str
    informed: bool
    """Whether it is given labelled lists or the teacher itself."""
    scores: Scores


DETECTORS = (
    Detector(
        "format filter", "the text, before filtering", False,
        _each(lambda side: 1.0 - side.accepted),
    ),
    Detector(
        "banned numbers", "the text, after filtering", False,
        _each(_banned),
    ),
    Detector(
        "base model's likelihood", "the text and the base model", False,
        _each(lambda side: -side.base_log_p / side.counts.sum(axis=1)),
    ),
    Detector(
        "numbers in context", "one list, shown to the base model", False,
        _each(lambda side: side.in_context),
    ),
    Detector("bag of numbers", "as many labelled lists of both kinds", True, _bag_of_numbers),
    Detector(
        "likelihood ratio", "the teacher and the base model", True,
        _each(lambda side: side.log_p - side.base_log_p),
    ),
)  # fmt: skip


def detect(
    teacher: Evidence, control: Evidence, rng: np.random.Generator
) -> Float[np.ndarray, "detectors judged"]:
    """Return the AUC of each of ``DETECTORS`` on so many lists together as ``JUDGED`` says.

    0.5 is chance; below it a detector is wrong more often than right. Not a number where a side
    has no list to judge.
    """
    from sklearn.metrics import roc_auc_score

    def auc(positive, negative):
        values = np.concatenate([positive, negative])
        if not (len(positive) and len(negative) and np.isfinite(values).all()):
            return np.nan
        return roc_auc_score(np.repeat([1, 0], [len(positive), len(negative)]), values)

    def together(side, n):
        return side if n == 1 or not len(side) else rng.choice(side, (N_DRAWS, n)).mean(axis=1)

    found = [detector.scores(teacher, control) for detector in DETECTORS]
    return np.array(
        [[auc(*(together(side, n) for side in pair)) for n in JUDGED] for pair in found]
    )
