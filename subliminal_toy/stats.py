"""Intervals over independent replicates, and claims with their verdicts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
import xarray as xr
from scipy import stats as scipy_stats

REPRODUCED, NOT_REPRODUCED, NOT_TESTED = "reproduced", "not reproduced", "not tested"

DRAWS = 2_000
"""Of a bootstrap."""

Values = Sequence[float] | np.ndarray | xr.DataArray


@dataclass(frozen=True)
class Estimate:
    """A mean (or median, or fraction) over ``n`` replicates with its 95 % interval.

    ``ci95`` is None where n < 2; ``values`` are those of the replicates, empty for a fraction.
    """

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

    @property
    def finite(self) -> bool:
        """Whether mean and interval are numbers."""
        return all(map(math.isfinite, (self.mean, *(self.ci95 or ()))))

    def within(self, low: float, high: float) -> bool:
        """Whether the whole interval lies between two bounds, neither of them reached."""
        return low < self.lower and self.upper < high


def estimate(values: Values) -> Estimate:
    """Return mean and t-interval (ddof = 1) of one value per replicate.

    For paired arms pass the differences.
    """
    values_n = np.asarray(values, dtype=np.float64)
    n, mean = len(values_n), float(values_n.mean())
    ci95 = None
    if not np.isfinite(values_n).all():
        ci95 = (math.nan, math.nan)
    elif n > 1:
        half = float(scipy_stats.t.ppf(0.975, n - 1) * values_n.std(ddof=1) / n**0.5)
        ci95 = (mean - half, mean + half)
    return Estimate(mean, ci95, n, tuple(values_n.tolist()))


def fraction(hits: np.ndarray | xr.DataArray) -> Estimate:
    """Return the fraction of hits with its exact 95 % interval (Clopper and Pearson 1934).

    For trials that may all come out alike, where a t-interval would have no width.
    """
    n, k = int(np.size(hits)), int(np.count_nonzero(hits))
    interval = scipy_stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    return Estimate(k / n, (float(interval.low), float(interval.high)), n, ())


def median(values: Values) -> Estimate:
    """Return the median with a 95 % interval from the order statistics, free of distribution.

    Without an interval where there are too few values for one (fewer than 6).
    """
    values_n = np.asarray(values, dtype=np.float64)
    interval = scipy_stats.quantile_test(values_n, p=0.5).confidence_interval(0.95)
    ends = float(interval.low), float(interval.high)
    ci95 = ends if all(map(math.isfinite, ends)) else None
    return Estimate(float(np.median(values_n)), ci95, len(values_n), ())


def bootstrap(statistic: Callable[..., np.ndarray], *values: np.ndarray) -> Estimate:
    """Return a statistic of sums over replicates (first axis) with its interval by bootstrap.

    ``statistic`` gives a number for each row of the sums of every array. Without an interval where
    n < 2.
    """
    n = len(values[0])
    middle = statistic(*(array.sum(0)[None] for array in values))[0]
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), DRAWS)
    ends = np.quantile(statistic(*(draws @ array for array in values)), (0.025, 0.975))
    return Estimate(float(middle), (float(ends[0]), float(ends[1])) if n > 1 else None, n, ())


def rank_correlation(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Return Spearman's coefficient of two arrays (replicate, condition), replicate means."""
    return bootstrap(_spearman, x, y)


def ratio(over: Values, under: Values) -> Estimate:
    """Return the ratio of two means over the same replicates."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a mean of 0 has no share
        return bootstrap(np.divide, np.asarray(over, float), np.asarray(under, float))


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the rank correlation of each row of two arrays, 0 where all values are alike."""
    a, b = (scipy_stats.rankdata(array, axis=1) for array in (x, y))
    a, b = (array - array.mean(1, keepdims=True) for array in (a, b))
    length = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return (a * b).sum(1) / np.where(length > 0, length, 1)


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A statement, its criterion, what was measured, and the verdict.

    ``value`` is None where what was measured is not a number; ``reason`` says why a claim is not
    tested, and is empty otherwise.
    """

    id: str
    statement: str
    criterion: str
    value: float | None
    interval: tuple[float, float] | None
    n: Annotated[int, msgspec.Meta(ge=0)]
    verdict: Literal["reproduced", "not reproduced", "not tested"]
    reason: str


def judge(
    id: str,
    statement: str,
    criterion: str,
    measured: Estimate,
    met: bool,
    others: Sequence[Estimate] = (),
    untested: str = "",
) -> Claim:
    """Return the claim with its verdict.

    ``others`` are the further estimates that the criterion uses. The claim is not tested if
    ``untested`` gives a reason, or if one of the estimates is not finite or has no interval.
    """
    used = (measured, *others)
    if not untested and not all(e.finite for e in used):
        untested = "a measured value is not a finite number"
    without = [e.n for e in used if e.ci95 is None]
    if not untested and without:
        untested = f"n = {min(without)} is too few for an interval"
    verdict = NOT_TESTED if untested else REPRODUCED if met else NOT_REPRODUCED
    value, interval = (measured.mean, measured.ci95) if measured.finite else (None, None)
    return Claim(id, statement, criterion, value, interval, measured.n, verdict, untested)


def unless_diverged(claims: Sequence[Claim], diverged: int, n: int) -> list[Claim]:
    """Return the claims, none of them tested if ``diverged`` of ``n`` replicates diverged."""
    if not diverged:
        return list(claims)
    reason = f"{diverged} of {n} replicates diverged"
    return [msgspec.structs.replace(claim, verdict=NOT_TESTED, reason=reason) for claim in claims]


def as_json(item: Estimate | Claim) -> dict:
    """Return the fields as they stand in ``summary.json``, numbers that are not finite as None."""
    return msgspec.json.decode(msgspec.json.encode(item, enc_hook=float))
