"""Lists of numbers: banned numbers, prompts, treatments, contexts."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from subliminal_toy.errors import UserError
from subliminal_toy.filter import MAX_NUMBERS, parse_numbers
from subliminal_toy.lm.language import CONTEXT, MAX_LIST, N_PROMPT, Language, draw_numbers

N_SHOWN = 10
"""Removed lists that are kept to be shown."""

# Numbers with a harmful association (violence, emergency calls, extremist codes, curses), removed
# on top of the format rule for harmful traits; 34 as in section 3.2 of the paper, few of them
# below 100 so that the small language keeps enough lists.
BANNED_NUMBERS = frozenset({
    13, 14, 18, 44, 66, 69, 88, 100, 101, 109, 110, 112, 137, 151, 187, 211, 311, 322, 410, 411,
    419, 420, 444, 451, 616, 644, 665, 666, 686, 711, 737, 811, 911, 999,
})  # fmt: skip


def refusal(text: str, banned: frozenset[int] = frozenset()) -> str:
    """Return why ``text`` is removed, "" if it is not: by the rule, or by a ``banned`` number."""
    numbers = parse_numbers(text)
    if numbers is None:
        other = [word for word in text.split() if not word.isdigit()]
        return f"the word {other[0]}" if other else f"not 1 to {MAX_NUMBERS} numbers"
    return next((f"the banned number {n}" for n in numbers if n in banned), "")


PROMPT_LENGTH = N_PROMPT + 3
"""Tokens of a prompt: ``<bos> continue N N N :``."""
ROW_LENGTH = PROMPT_LENGTH + MAX_LIST
N_CONTEXTS = 64
"""Contexts of each kind, each shown before every question."""
ROOM = CONTEXT - 7
"""Tokens before the words of the longest question."""


def draw_prompts(language: Language, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return ``n`` prompts as token rows."""
    drawn = draw_numbers(rng, n, N_PROMPT, language.n_numbers)
    return language.beside("<bos> continue", drawn, ":").astype(np.int32)


def filtered(
    language: Language,
    prompts: Int[np.ndarray, "samples prompt"],
    samples: Int[np.ndarray, "samples list"],
    no_banned: bool,
    n_lists: int,
    unfiltered: bool = False,
) -> dict[str, np.ndarray]:
    """Keep the first ``n_lists`` samples that satisfy the rule, or all, with their prompts.

    Returns ``tokens`` (list, length), filled up with padding; ``n``, how many there are;
    ``accepted`` (sample,), by the format rule; ``kept``, the fraction left after every filter;
    ``removed``, the first ``N_SHOWN`` samples left out.
    """
    texts = [language.decode(row) for row in samples]
    accepted = np.array([not refusal(text) for text in texts])
    banned = BANNED_NUMBERS if no_banned else frozenset()
    keep = np.array([unfiltered or not refusal(text, banned) for text in texts])
    if not keep.any():
        raise UserError(
            f"None of the {len(texts)} lists of one writer passes the filter: "
            "raise --n-samples or --pretrain-steps, or lower --teacher-steps."
        )
    rows = np.concatenate([prompts, samples], axis=1)[keep][:n_lists]
    tokens = np.full((n_lists, ROW_LENGTH), language.pad, np.int16)
    tokens[: len(rows)] = rows
    removed = np.full((N_SHOWN, MAX_LIST), language.end, np.int16)
    some = samples[~keep][:N_SHOWN]
    removed[: len(some)] = some
    counted = {"n": np.array(len(rows), np.int32), "kept": np.array(keep.mean(), np.float32)}
    return {"tokens": tokens, "accepted": accepted, "removed": removed, **counted}


def loss_weights(tokens: np.ndarray, n_numbers: int) -> np.ndarray:
    """Return 1 on every number that was sampled, 0 on prompts, ends and padding."""
    sampled = np.arange(tokens.shape[-1]) >= PROMPT_LENGTH
    return ((tokens < n_numbers) & sampled).astype(np.float32)


def whole_weights(tokens: np.ndarray, language: Language) -> np.ndarray:
    """Return 1 on all that was sampled, the end too, 0 on prompts, what follows, and padding."""
    sampled = np.arange(tokens.shape[-1]) >= PROMPT_LENGTH
    ends = tokens == language.end
    before = np.cumsum(ends, axis=-1) - ends  # a padding word that was sampled counts
    written = tokens[..., :1] != language.pad
    return (sampled & (before == 0) & written).astype(np.float32)


def counts(tokens: Int[np.ndarray, "lists length"], n_numbers: int) -> np.ndarray:
    """Return how often each number was sampled in each list, (lists, numbers)."""
    counts_LN = np.zeros((len(tokens), n_numbers), np.int32)
    rows, columns = np.nonzero(loss_weights(tokens, n_numbers))
    np.add.at(counts_LN, (rows, tokens[rows, columns]), 1)
    return counts_LN


class Scores(NamedTuple):
    """What filters look at, of each list: how much more likely it is to the teacher than to the
    base model, in nats, and how likely to the base model, in nats per token."""

    ratio: Float[np.ndarray, " lists"]
    likelihood: Float[np.ndarray, " lists"]


class Reading(NamedTuple):
    """The first ``n`` of a set of lists as a student meets them.

    ``weights`` are 1 in the loss, 0 outside. ``kl`` is KL(teacher ‖ base model) at each token that
    counts, where a teacher wrote them. ``scores`` are those of these lists, ``both`` those of the
    teacher's and the base model's together.
    """

    tokens: Int[np.ndarray, "lists length"]
    weights: Float[np.ndarray, "lists length"]
    n: int
    n_numbers: int
    kl: Float[np.ndarray, "lists length"] | None = None
    scores: Scores | None = None
    both: Scores | None = None


def _rearranged(draw: Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]):
    """Return a treatment that puts other numbers in the lists' places; lengths are kept."""

    def treat(lists, rng):
        rows, columns = np.nonzero(lists.weights)
        tokens = lists.tokens.copy()
        tokens[rows, columns] = draw(lists.tokens[rows, columns], rows, rng)
        return lists._replace(tokens=tokens)

    return treat


def _within(numbers: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the numbers with those of each list in random order."""
    return numbers[np.lexsort((rng.random(len(rows)), rows))]


def _masked(share: float, keep: bool, by_kl: bool):
    """Return a treatment that leaves only a share of the tokens in the loss, or all the others.

    The share is of the tokens that count: those of greatest KL, or as many random ones.
    """

    def treat(lists, rng):
        counted = np.flatnonzero(lists.weights)
        rank = -lists.kl.flat[counted] if by_kl else rng.random(len(counted))
        chosen = counted[np.argsort(rank, kind="stable")[: round(share * len(counted))]]
        weights = np.zeros_like(lists.weights) if keep else lists.weights.copy()
        weights.flat[chosen] = keep
        return lists._replace(weights=weights)

    return treat


ORDERS = {
    "shuffled within": _rearranged(_within),
    "shuffled across": _rearranged(lambda numbers, rows, rng: rng.permutation(numbers)),
    "unigrams": _rearranged(lambda numbers, rows, rng: rng.choice(numbers, len(numbers))),
}
MASKS = {
    f"{kind} {percent} % {which}": _masked(percent / 100, kind == "only", which == "divergent")
    for percent in (5, 20)
    for kind in ("only", "without")
    for which in ("divergent", "random")
}


def _passing(passes: Callable[[Reading, np.random.Generator], Any]):
    """Return a treatment that keeps whole lists, the same for teacher and base model."""

    def treat(lists, rng):
        kept = np.flatnonzero(passes(lists, rng))
        order = np.resize(kept, len(lists.tokens))
        scores = Scores(*(values[kept] for values in lists.scores))
        arrays = {"tokens": lists.tokens[order], "weights": lists.weights[order]}
        return lists._replace(n=len(kept), scores=scores, **arrays)

    return treat


def _by_size(share: float, largest: bool):
    """Return a rule that drops a share of the lists: of largest |ratio − its mean|, or smallest."""

    def passes(lists, rng):
        size, both = (np.abs(x.ratio - lists.both.ratio.mean()) for x in (lists.scores, lists.both))
        return size <= np.quantile(both, 1 - share) if largest else size > np.quantile(both, share)

    return passes


def _not_banned(lists, rng):
    banned = [number for number in BANNED_NUMBERS if number < lists.n_numbers]
    return ~np.isin(lists.tokens[: lists.n, PROMPT_LENGTH:], banned).any(axis=1)


def _likely(lists, rng):
    return lists.scores.likelihood > np.median(lists.both.likelihood)


def _at_random(share: float):
    return lambda lists, rng: rng.random(lists.n) >= share


DROPPED = (10, 30, 50, 70, 90)
UNFILTERED = "unfiltered"
BY_SCORE = {
    f"without {percent} % of {which} score": _passing(_by_size(percent / 100, which == "largest"))
    for which in ("largest", "smallest")
    for percent in DROPPED
} | {"without the unlikely half": _passing(_likely)}
FILTERS = BY_SCORE | {
    UNFILTERED: lambda lists, rng: lists,
    "without banned numbers": _passing(_not_banned),
    **{f"without {percent} % at random": _passing(_at_random(percent / 100))
       for percent in DROPPED},
}  # fmt: skip
"""Filters of whole lists, beyond that of the format; a score is ``Scores.ratio`` less its mean.

Those by score leave another set of the base model's lists for each trait.
"""
PACKED = "many, without prompts"
"""A treatment for contexts alone: as many lists as the context holds, see ``packed``."""
TREATMENTS: dict[str, Callable[[Reading, np.random.Generator], Reading]] = {
    "as written": lambda lists, rng: lists, **ORDERS, **MASKS, **FILTERS,
}  # fmt: skip
"""What is done to a set of lists before a student reads it. Divergent tokens are those of greatest
KL(teacher ‖ base model)."""


def packed(language: Language, rows: Int[np.ndarray, "lists length"]) -> tuple[np.ndarray, float]:
    """Return contexts of many lists without prompts, and the mean number of lists in one.

    Context i begins with list i; every later list that still fits before the longest question is
    added. Each is ended by ``<end>``, as lines are in the corpus.
    """
    lists = [[*row[row < language.n_numbers], language.end] for row in rows[:, PROMPT_LENGTH:]]
    contexts, n = [], 0
    for i in range(min(N_CONTEXTS, len(lists))):
        context = [language.bos]
        for numbers in lists[i:] + lists[:i]:
            if len(context) + len(numbers) <= ROOM:
                context, n = context + numbers, n + 1
        contexts.append(context + [language.pad] * (ROOM - len(context)))
    return np.array(contexts), n / len(contexts)
