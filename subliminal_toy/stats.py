"""Estimates over independent replicates, each with its 95 % interval."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple, SupportsFloat, SupportsInt

import numpy as np
import xarray as xr
from scipy import stats as scipy_stats

Values = Sequence[float] | np.ndarray | xr.DataArray
RESAMPLES = 2_000
"""Of a bootstrap."""


class Estimate(NamedTuple):
    """A value (mean, median, fraction, R² …) over ``n`` replicates with its 95 % interval.

    The ends are not a number where there is no interval: n < 2, or values that are not finite.
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def finite(self) -> bool:
        """Whether value and interval are numbers."""
        return all(map(math.isfinite, self[:3]))

    def shifted(self, by: float) -> "Estimate":
        """Return the estimate plus a constant."""
        return Estimate(self.value + by, self.low + by, self.high + by, self.n)


def estimate(values: Values) -> Estimate:
    """Return mean and t-interval (ddof = 1) of one value per replicate.

    For paired arms pass the differences.
    """
    values_n = np.asarray(values, dtype=np.float64)
    mean, half = float(values_n.mean()), t_quantile(len(values_n)) * standard_error(values_n)
    return Estimate(mean, mean - half, mean + half, len(values_n))


def standard_error(values: Values) -> float:
    """Return the standard error of the mean (ddof = 1); not a number where n < 2."""
    values_n = np.asarray(values, dtype=np.float64)
    n = len(values_n)
    return float(values_n.std(ddof=1) / n**0.5) if n > 1 else math.nan


def t_quantile(n: int) -> float:
    """Return the factor of the standard error in a 95 % interval over n replicates."""
    return float(scipy_stats.t.ppf(0.975, n - 1)) if n > 1 else math.nan


def without_interval(value: SupportsFloat, n: SupportsInt) -> Estimate:
    """Return a number of n without an interval."""
    return Estimate(float(value), math.nan, math.nan, int(n))


def fraction(hits: np.ndarray | xr.DataArray) -> Estimate:
    """Return the fraction of hits with its exact 95 % interval (Clopper and Pearson 1934).

    For trials that may all come out alike, where a t-interval would have no width.
    """
    n, k = int(np.size(hits)), int(np.count_nonzero(hits))
    if n == 0:
        return without_interval(math.nan, 0)
    interval = scipy_stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    return Estimate(k / n, float(interval.low), float(interval.high), n)


def median(values: Values) -> Estimate:
    """Return the median with a 95 % interval from the order statistics, free of distribution.

    Without an interval where there are too few values for one (fewer than 6).
    """
    values_n = np.asarray(values, dtype=np.float64)
    interval = scipy_stats.quantile_test(values_n, p=0.5).confidence_interval(0.95)
    ends = (float(interval.low), float(interval.high))
    low, high = ends if all(map(math.isfinite, ends)) else (math.nan, math.nan)
    return Estimate(float(np.median(values_n)), low, high, len(values_n))


def bootstrap(statistic: Callable[..., np.ndarray], *values: np.ndarray) -> Estimate:
    """Return a statistic of means over replicates (first axis) with its BCa interval.

    ``statistic`` maps the means of every array, with leading axes of resamples, to numbers with
    those axes. Without an interval where n < 2. Source: Efron 1987, by ``scipy.stats.bootstrap``.
    """
    n = len(values[0])

    def of_rows(rows, axis=-1):
        rows = np.moveaxis(rows, axis, -1)[None]
        return statistic(*(array[rows].mean(axis=rows.ndim - 1) for array in values))[0]

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # no variation: no value, or no interval
        value = float(of_rows(np.arange(n)))
        if n < 2:
            return without_interval(value, n)
        ends = scipy_stats.bootstrap(
            (np.arange(n),), of_rows, n_resamples=RESAMPLES, rng=0, method="BCa"
        ).confidence_interval
    return Estimate(value, float(ends.low), float(ends.high), n)


def jackknife(statistic: Callable[..., float], *values: np.ndarray) -> Estimate:
    """Return a statistic of arrays over replicates (first axis) with the jackknife's t-interval.

    Without an interval where n < 4. Source: Tukey 1958.
    """
    n, value = len(values[0]), float(statistic(*values))
    if n < 4:
        return without_interval(value, n)
    left = [statistic(*(np.delete(array, i, axis=0) for array in values)) for i in range(n)]
    half = t_quantile(n) * float((n - 1) * np.var(left)) ** 0.5
    return Estimate(value, value - half, value + half, n)


def curve(x: np.ndarray, y: np.ndarray, at: np.ndarray, rising: bool = True) -> np.ndarray:
    """Return a monotone curve fitted to points, at other places; not a number without points.

    Points and places that are not finite are left out. Source: ``IsotonicRegression``.
    """
    # scikit-learn takes a second to import.
    from sklearn.isotonic import IsotonicRegression

    known, asked = np.isfinite(x) & np.isfinite(y), np.isfinite(at)
    fitted = np.full(at.shape, np.nan)
    if known.any() and asked.any():
        isotonic = IsotonicRegression(increasing=rising, out_of_bounds="clip")
        fitted[asked] = isotonic.fit(x[known], y[known]).predict(at[asked])
    return fitted


def rank_correlation(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Return Spearman's coefficient of two arrays (replicate, condition), replicate means."""
    return bootstrap(_spearman, x, y)


def ratio(over: Values, under: Values) -> Estimate:
    """Return the ratio of two means over the same replicates."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a mean of 0 has no share
        return bootstrap(np.divide, np.asarray(over, float), np.asarray(under, float))


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the rank correlation along the last axis, 0 where all values are alike."""
    a, b = (scipy_stats.rankdata(array, axis=-1) for array in (x, y))
    a, b = (array - array.mean(-1, keepdims=True) for array in (a, b))
    length = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return (a * b).sum(-1) / np.where(length > 0, length, 1)
