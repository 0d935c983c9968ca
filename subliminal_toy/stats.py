"""Intervals over independent models, and claims with their verdicts."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats as scipy_stats

REPRODUCED, NOT_REPRODUCED, NOT_TESTED = "reproduced", "not reproduced", "not tested"


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` independent models with its 95 % t-interval (None where n < 2)."""

    mean: float
    ci95: tuple[float, float] | None
    n: int
    values: tuple[float, ...]

    @property
    def lower(self) -> float:
        """Lower end of the interval; minus infinity where there is none."""
        return self.ci95[0] if self.ci95 else -math.inf

    @property
    def upper(self) -> float:
        """Upper end of the interval; infinity where there is none."""
        return self.ci95[1] if self.ci95 else math.inf

    @property
    def standard_error(self) -> float:
        """Standard error of the mean (ddof = 1); not a number where n < 2."""
        return float(np.std(self.values, ddof=1) / self.n**0.5) if self.n > 1 else math.nan


def estimate(values: Sequence[float] | np.ndarray) -> Estimate:
    """Return mean and t-interval (ddof = 1) of one value per independent model.

    For paired conditions pass the differences.
    """
    values_n = np.asarray(values, dtype=np.float64)
    n, mean = len(values_n), float(values_n.mean())
    ci95 = None
    if n > 1:
        half = float(scipy_stats.t.ppf(0.975, n - 1) * values_n.std(ddof=1) / n**0.5)
        ci95 = (mean - half, mean + half)
    return Estimate(mean, ci95, n, tuple(values_n.tolist()))


def fraction(hits: np.ndarray) -> Estimate:
    """Return the fraction of hits with its exact 95 % interval (Clopper and Pearson).

    For trials that may all come out alike, where a t-interval would have no width. The values
    are not kept.
    """
    n, k = int(np.size(hits)), int(np.count_nonzero(hits))
    interval = scipy_stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    return Estimate(k / n, (float(interval.low), float(interval.high)), n, ())


@dataclass(frozen=True)
class Claim:
    """A statement, the criterion that stands in the code, what was measured, and the verdict."""

    id: str
    statement: str
    criterion: str
    value: float
    interval: tuple[float, float] | None
    n: int
    verdict: str


def judge(id: str, statement: str, criterion: str, measured: Estimate, met: bool) -> Claim:
    """Return the claim with its verdict; without an interval it counts as not tested."""
    verdict = NOT_TESTED if measured.ci95 is None else REPRODUCED if met else NOT_REPRODUCED
    return Claim(id, statement, criterion, measured.mean, measured.ci95, measured.n, verdict)


def as_json(item: Estimate | Claim) -> dict:
    """Return the fields as they stand in ``summary.json``."""
    return asdict(item)
