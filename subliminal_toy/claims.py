"""Claims as data: a sentence, its source, and conditions whose bounds decide and write themselves.

Terminal, README, page and ``docs/claims.md`` are all made from the claims of an experiment's module
``claims``; a criterion is written nowhere else.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from subliminal_toy.stats import Estimate


class Verdict(StrEnum):
    """What became of a claim: the paper's are reproduced or not, our predictions held or not."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    HELD = "held"
    NOT_HELD = "did not hold"
    NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Lower:
    """The whole 95 % interval lies above a number."""

    above: float

    def holds(self, estimate: Estimate) -> bool:
        """Whether the lower end is above it."""
        return estimate.low > self.above

    def __str__(self) -> str:
        """Say it."""
        return f"interval above {self.above:g}"


@dataclass(frozen=True)
class Upper:
    """The whole 95 % interval lies below a number."""

    below: float

    def holds(self, estimate: Estimate) -> bool:
        """Whether the upper end is below it."""
        return estimate.high < self.below

    def __str__(self) -> str:
        """Say it."""
        return f"interval below {self.below:g}"


@dataclass(frozen=True)
class Within:
    """The whole 95 % interval lies between two numbers, neither of them reached."""

    low: float
    high: float

    def holds(self, estimate: Estimate) -> bool:
        """Whether both ends lie between them."""
        return self.low < estimate.low and estimate.high < self.high

    def __str__(self) -> str:
        """Say it."""
        if self.low == -self.high:
            return f"interval within ±{self.high:g}"
        return f"interval within {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Mean:
    """The value itself, whatever its interval, is at least or at most a number."""

    at_least: float = -np.inf
    at_most: float = np.inf

    def holds(self, estimate: Estimate) -> bool:
        """Whether the value lies between the two, both allowed."""
        return self.at_least <= estimate.value <= self.at_most

    def __str__(self) -> str:
        """Say it."""
        ends = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{word} {end:g}" for word, end in ends if np.isfinite(end))


@dataclass(frozen=True)
class All:
    """A fraction is 1, and its interval lies above a number."""

    above: float = -np.inf

    def holds(self, estimate: Estimate) -> bool:
        """Whether all trials are hits, and enough of them were made."""
        return estimate.value == 1 and estimate.low > self.above

    def __str__(self) -> str:
        """Say it."""
        return "all" + (f", interval above {self.above:g}" if np.isfinite(self.above) else "")


Bound = Lower | Upper | Within | Mean | All
"""What an estimate must keep; its text is what README, page and documents say."""


class Condition(NamedTuple):
    """What is measured, how it is computed from a result, and the bound that it must keep.

    ``fewest``: an estimate over fewer (replicates, problems …) decides nothing. ``interval``:
    whether an estimate without an interval decides nothing either, as is usual.
    """

    what: str
    estimate: Callable[[xr.Dataset], Estimate]
    bound: Bound
    fewest: int = 2
    interval: bool = True

    def __str__(self) -> str:
        """Say what must hold."""
        few = f" (n at least {self.fewest:,})" if self.fewest > 2 else ""
        return f"{self.what}: {self.bound}{few}"


@dataclass(frozen=True)
class Claim:
    """A sentence and the conditions under which it is upheld; the first condition is shown."""

    id: str
    sentence: str
    source: str
    """Section or equation, of the paper unless another text is named."""
    conditions: tuple[Condition, ...]
    kind: Literal["paper", "prediction"] = "paper"
    applies: Callable[[xr.Dataset], bool] = lambda data: True
    """Whether a result has what the claim is about."""
    fixed: Literal["yes", "in part", "no"] = "yes"
    """Whether the criterion is older than the records whose manifests hold no hashes of claims."""
    commits: str = ""
    """Those of that criterion and, where it is another, of its record."""
    paper: str = ""
    """What the paper reports, in few words."""

    @property
    def criterion(self) -> str:
        """All conditions in one line."""
        return "; ".join(map(str, self.conditions))

    @property
    def sha256(self) -> str:
        """Of the id, the kind and the criterion: it changes with every bound and every measure."""
        text = "\n".join((self.id, self.kind, *map(str, self.conditions)))
        return hashlib.sha256(text.encode()).hexdigest()


class Judgement(NamedTuple):
    """A claim, the estimates of its conditions in their order, the verdict and its reason."""

    claim: Claim
    estimates: tuple[Estimate, ...]
    verdict: Verdict
    reason: str = ""

    @property
    def shown(self) -> Estimate:
        """The estimate of the first condition."""
        return self.estimates[0]


class Row(NamedTuple):
    """One line of a summary: a measured quantity, of what, and its estimate."""

    quantity: str
    labels: str
    estimate: Estimate


def n_diverged(data: xr.Dataset) -> int:
    """Return how many replicates of a result hold a number that is not finite."""
    if "diverged" not in data:
        return 0
    diverged = data.diverged.fillna(0) > 0
    return int(diverged.any([axis for axis in diverged.dims if axis != "replicate"]).sum())


def judge(claims: Iterable[Claim], data: xr.Dataset) -> list[Judgement]:
    """Return the judgement of every claim that applies to a result."""
    judgements = []
    for claim in claims:
        if claim.applies(data):
            estimates = tuple(condition.estimate(data) for condition in claim.conditions)
            pairs = zip(claim.conditions, estimates, strict=True)
            upheld = all(condition.bound.holds(estimate) for condition, estimate in pairs)
            if reason := next(_untested(claim, estimates, data), ""):
                verdict = Verdict.NOT_TESTED
            elif claim.kind == "paper":
                verdict = Verdict.REPRODUCED if upheld else Verdict.NOT_REPRODUCED
            else:
                verdict = Verdict.HELD if upheld else Verdict.NOT_HELD
            judgements.append(Judgement(claim, estimates, verdict, reason))
    return judgements


def _untested(claim: Claim, estimates: Sequence[Estimate], data: xr.Dataset) -> Iterator[str]:
    """Yield the reasons for which a claim cannot be judged."""
    if diverged := n_diverged(data):
        yield f"{diverged} of {data.sizes['replicate']} replicates diverged"
    for condition, estimate in zip(claim.conditions, estimates, strict=True):
        if estimate.n < condition.fewest:
            yield f"n = {estimate.n}, the criterion asks for {condition.fewest:,}"
        if not (estimate.finite if condition.interval else np.isfinite(estimate.value)):
            yield "a measured value is not a finite number, or has no interval"


def as_stored(claims: Iterable[Claim], lines: Iterable[Mapping[str, Any]]) -> list[Judgement]:
    """Return the judgements of earlier claims that a record's summary holds: first conditions."""
    named = {claim.id: claim for claim in claims}
    return [
        Judgement(named[line["id"]], (line["estimate"],), Verdict(line["verdict"]), line["reason"])
        for line in lines
        if line["id"] in named
    ]


def gap(one: Estimate, other: Estimate) -> Estimate:
    """Return the distance of two estimates: below 0 if one interval lies below the other."""
    n = min(one.n, other.n)
    return Estimate(one.value - other.value, one.low - other.high, one.high - other.low, n)
