"""Where two models differ on lists, and whether a teacher's lists can be told from others."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from subliminal_toy.lm import model as lm
from subliminal_toy.lm.lists import BANNED_NUMBERS
from subliminal_toy.theorem.many_steps import Component, component, draws_needed

JUDGED = (1, 100)
"""Lists judged together."""
N_DRAWS = 400
"""Groups of lists drawn from each side to estimate how well groups are told apart."""


def read(
    model: lm.Model,
    params: lm.Vector,
    other: lm.Vector,
    tokens: Int[Array, "lists length"],
    weights: Float[Array, "lists length"],
) -> dict[str, Array]:
    """Read lists with two models, at the positions where ``weights`` are 1.

    Returns, by list: ``log_p`` and ``other_log_p``, the sums of the tokens' log-probabilities;
    ``kl`` (lists, length), KL(model ‖ other) in nats at each of these positions, 0 elsewhere;
    ``along``, the component of the other model's step on the list along v = params − other;
    ``along_mean`` and ``along_variance`` of such a component if the tokens at these positions are
    drawn from the model. Source: proofs/README.md, section 13.
    """

    def one(item):
        row, weight = item
        y = model.apply(params, row[None, :-1])[0]
        z, jv = jax.jvp(
            lambda vector: model.apply(vector, row[None, :-1])[0], (other,), (params - other,)
        )
        log_p, log_q = jax.nn.log_softmax(y), jax.nn.log_softmax(z)
        slope = jv - jnp.sum(jnp.exp(log_q) * jv, axis=-1, keepdims=True)
        seen = {
            name: jnp.sum(jnp.take_along_axis(array, row[1:, None], axis=1)[:, 0] * weight[1:])
            for name, array in {"log_p": log_p, "other_log_p": log_q, "along": slope}.items()
        }
        kl = jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1) * weight[1:]
        mean, variance = component(z, y, jv, weight[1:])
        drawn = {"along_mean": mean, "along_variance": variance}
        return {**seen, **drawn, "kl": jnp.pad(kl, (1, 0))}

    return jax.lax.map(one, (tokens, weights), batch_size=256)


def likelihoods(
    model: lm.Model,
    params: lm.Vector,
    other: lm.Vector,
    tokens: Int[Array, "lists length"],
    weights: Float[Array, "lists length"],
) -> dict[str, Array]:
    """Return what filters look at, of each list; see ``lists.Scores``. ``other``: base model."""

    def one(item):
        row, weight = item
        log_p, log_q = (
            jnp.take_along_axis(
                jax.nn.log_softmax(model.apply(vector, row[None, :-1])[0]), row[1:, None], axis=1
            )[:, 0]
            @ weight[1:]
            for vector in (params, other)
        )
        return {"ratio": log_p - log_q, "likelihood": log_q / jnp.maximum(weight.sum(), 1.0)}

    return jax.lax.map(one, (tokens, weights), batch_size=256)


VISIBLE_STEPS = 8
"""Chosen on replicates 200 to 209; see docs/lm-settings.md."""


def visible_gain(
    model: lm.Model,
    base: lm.Vector,
    tokens: Int[Array, "lists length"],
    weights: Float[Array, "lists length"],
    teacher: lm.Vector,
    asked: Int[Array, "questions words"],
    lengths: Int[Array, " questions"],
    answers: Bool[Array, "questions vocab"],
    n_steps: int = VISIBLE_STEPS,
) -> Float[Array, ""]:
    """Return V, the change of a trait's log odds by what numbers show of the teacher's move v.

    V = ⟨g, P_k v⟩: g is the gradient of the log odds at the base model, P_k v the vector after k
    steps of conjugate gradients from 0 for F x = F v, and F the Fisher matrix of the tokens of
    weight 1. No student is trained.
    """

    def log_odds(params):
        said = jax.nn.softmax(lm.answer_logits(model, params, asked, lengths))
        p = jnp.sum(said * answers, axis=-1).mean()
        return jnp.log(p) - jnp.log1p(-p)

    logits, slope = jax.linearize(lambda params: lm.next_logits(model, params, tokens), base)
    p, back = jax.nn.softmax(logits), jax.linear_transpose(slope, base)
    counted = weights[:, 1:].reshape(-1, 1) / weights[:, 1:].sum()

    def fisher(vector):
        moved = slope(vector)
        seen = p * (moved - jnp.sum(p * moved, axis=-1, keepdims=True)) * counted
        return back(seen)[0]

    goal = fisher(teacher - base)
    # Of a start that is a constant, XLA's program for several cores read memory never written to.
    start = 0 * goal
    seen = jax.scipy.sparse.linalg.cg(fisher, goal, start, tol=0.0, maxiter=n_steps)[0]
    return jax.grad(log_odds)(base) @ seen


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
    scores: Scores
    informed: bool = False
    """Whether it is given labelled lists or the teacher itself."""


DETECTORS = (
    Detector("format filter", "the text, before filtering",
             _each(lambda side: 1.0 - side.accepted)),
    Detector("banned numbers", "the text, after filtering", _each(_banned)),
    Detector("base model's likelihood", "the text and the base model",
             _each(lambda side: -side.base_log_p / side.counts.sum(axis=1))),
    Detector("numbers in context", "one list, shown to the base model",
             _each(lambda side: side.in_context)),
    Detector("bag of numbers", "as many labelled lists of both kinds", _bag_of_numbers, True),
    Detector("likelihood ratio", "the teacher and the base model",
             _each(lambda side: side.log_p - side.base_log_p), True),
)  # fmt: skip


def together(
    scores: Float[np.ndarray, " lists"], n: int, rng: np.random.Generator
) -> Float[np.ndarray, " groups"]:
    """Return the mean score of each of ``N_DRAWS`` groups of ``n`` lists; of 1, of every list."""
    return scores if n == 1 or not len(scores) else rng.choice(scores, (N_DRAWS, n)).mean(axis=1)


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

    found = [detector.scores(teacher, control) for detector in DETECTORS]
    return np.array(
        [[auc(*(together(side, n, rng) for side in pair)) for n in JUDGED] for pair in found]
    )


def told_apart(teacher: Evidence, control: Evidence, n: int) -> Float[np.ndarray, " detectors"]:
    """Return how likely so large an |AUC − .5| is if the labels mean nothing, by detector.

    Of the first ``n`` lists of both sides, each judged once, by itself: the permutation test's p,
    in Mann and Whitney's normal approximation. Not a number where a side has fewer lists.
    """
    from scipy.stats import mannwhitneyu

    def first(side: Evidence) -> Evidence:
        return Evidence(*(array[: n if len(array) >= n else 0] for array in side))

    sides = first(teacher), first(control)
    if not all(len(side.counts) for side in sides):
        return np.full(len(DETECTORS), np.nan)
    pairs = [detector.scores(*sides) for detector in DETECTORS]
    # There are fewer contexts than lists.
    return np.array([
        mannwhitneyu(one, other, method="asymptotic").pvalue if len(one) and len(other) else np.nan
        for one, other in pairs
    ])  # fmt: skip


def drawn(read_lists: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return how many lists it takes for their mean step to point along v; see ``read``.

    ``lists_asked``: for how many Eq. (51) first says more than that it may point away; ``away``
    (judged,): how often the mean over so many lists as ``JUDGED`` says does point away. Not a
    number if there is no list.
    """
    along, mean = read_lists["along"], read_lists["along_mean"]
    if not len(along):
        return {"lists_asked": np.array(np.nan), "away": np.full(len(JUDGED), np.nan)}
    of_one = Component(mean.mean(), read_lists["along_variance"].mean() + mean.var())
    away = [np.mean(together(along, n, rng) <= 0) for n in JUDGED]
    return {"lists_asked": np.array(draws_needed(of_one)), "away": np.array(away)}
