"""Intervals against their coverage and against scipy; verdicts, at every way not to be tested."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from subliminal_toy import stats

N_DRAWS = 20_000


def covered(intervals, truth):
    return np.mean([low <= truth <= high for low, high in intervals])


@pytest.mark.parametrize("n", [2, 3, 8])
def test_the_interval_of_a_mean_covers_it_in_95_of_100_draws(n):
    draws = np.random.default_rng(n).normal(3.0, 2.0, size=(N_DRAWS, n))
    # A standard error of the coverage is .0015: ddof = 0 gives .89 (n = 2) to .93 (n = 8).
    assert 0.945 < covered((stats.estimate(row).ci95 for row in draws), 3.0) < 0.955


def test_the_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(0).normal(size=7)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    estimate = stats.estimate(values)
    np.testing.assert_allclose(estimate.ci95, expected, rtol=1e-12)
    assert estimate.standard_error == pytest.approx(scipy_stats.sem(values, ddof=1))
    assert (estimate.mean, estimate.n) == (pytest.approx(values.mean()), 7)


def test_the_interval_of_paired_differences_is_scipys_and_narrower_than_unpaired():
    rng = np.random.default_rng(1)
    shared = rng.normal(size=(12, 1))
    a, b = (shared + rng.normal(0, 0.1, (12, 2)) + [0.1, 0.0]).T
    paired = stats.estimate(a - b)
    expected = scipy_stats.ttest_rel(a, b).confidence_interval(0.95)
    np.testing.assert_allclose(paired.ci95, expected, rtol=1e-12)
    unpaired = scipy_stats.ttest_ind(a, b).confidence_interval(0.95)
    assert paired.upper - paired.lower < 0.3 * (unpaired.high - unpaired.low)


@pytest.mark.parametrize("hits", [0, 1, 7, 19, 20])
def test_the_interval_of_a_fraction_is_the_exact_one(hits):
    """Clopper and Pearson: each end is the fraction at which so many hits have probability .025."""
    estimate = stats.fraction(np.arange(20) < hits)
    assert (estimate.mean, estimate.n) == (hits / 20, 20)
    if hits > 0:
        assert scipy_stats.binom.sf(hits - 1, 20, estimate.lower) == pytest.approx(0.025)
    else:
        assert estimate.lower == 0
    if hits < 20:
        assert scipy_stats.binom.cdf(hits, 20, estimate.upper) == pytest.approx(0.025)
    else:
        assert estimate.upper == 1


def test_the_exact_interval_covers_at_least_95_of_100():
    for truth in (0.02, 0.5, 0.9):
        hits = np.random.default_rng(2).binomial(30, truth, size=5_000)
        ends = {k: stats.fraction(np.arange(30) < k).ci95 for k in np.unique(hits)}
        assert covered((ends[k] for k in hits), truth) > 0.95 - 5 * 0.003


def test_the_interval_of_a_median_covers_it_whatever_the_distribution():
    draws = np.random.default_rng(3).exponential(size=(2_000, 25))
    found = [stats.median(row) for row in draws]
    assert covered((e.ci95 for e in found), np.log(2)) > 0.95 - 5 * 0.005
    assert found[0].mean == pytest.approx(np.median(draws[0]))
    # The narrowest ranks that cover: 8th and 18th of 25.
    np.testing.assert_array_equal(found[0].ci95, np.sort(draws[0])[[7, 17]])
    assert stats.median([1.0, 2.0]).ci95 is None


def test_within_needs_the_whole_interval():
    estimate = stats.Estimate(0.5, (0.4, 0.6), 5, ())
    assert estimate.within(0.39, 0.61)
    assert not estimate.within(0.41, 0.61) and not estimate.within(0.39, 0.59)
    assert not stats.estimate([0.5]).within(0.0, 1.0)


def judged(measured, met=True, **kwargs):
    return stats.judge("X", "s", "c", measured, met, **kwargs)


def test_the_verdict_follows_the_criterion():
    measured = stats.estimate([0.1, 0.2, 0.3])
    assert judged(measured).verdict == stats.REPRODUCED
    assert judged(measured, met=False).verdict == stats.NOT_REPRODUCED
    assert judged(measured).reason == ""


NOT_FINITE = "a measured value is not a finite number"


@pytest.mark.parametrize("met", [True, False])
@pytest.mark.parametrize(
    ("values", "reason"),
    [([0.5], "n = 1 is too few"), ([0.1, np.nan], NOT_FINITE), ([0.1, np.inf], NOT_FINITE)],
)
def test_numbers_that_are_none_test_nothing(values, reason, met):
    bad, good = stats.estimate(values), stats.estimate([0.1, 0.2, 0.3])
    for claim in (judged(bad, met), judged(good, met, others=[bad])):
        assert claim.verdict == stats.NOT_TESTED and reason in claim.reason
    assert judged(good, met, untested="2 of 3 diverged").reason == "2 of 3 diverged"
    assert judged(good, met, untested="2 of 3 diverged").verdict == stats.NOT_TESTED


def test_json_has_no_number_that_is_none():
    claim = judged(stats.estimate([np.nan, 1.0]))
    assert (claim.value, claim.interval) == (None, None)
    as_json = stats.as_json(stats.estimate([np.nan, 1.0]))
    assert as_json == {"mean": None, "ci95": [None, None], "n": 2, "values": [None, 1.0]}


def test_a_rank_correlation_is_scipys_and_its_interval_narrows_with_the_replicates():
    rng = np.random.default_rng(3)
    x, noise = rng.normal(size=12), rng.normal(size=(40, 12))
    y = x + noise
    found = stats.rank_correlation(np.tile(x, (40, 1)), y)
    assert found.mean == pytest.approx(scipy_stats.spearmanr(x, y.mean(axis=0)).statistic)
    assert found.lower < found.mean < found.upper and found.n == 40
    few = stats.rank_correlation(np.tile(x, (4, 1)), y[:4])
    assert few.upper - few.lower > found.upper - found.lower
    assert stats.rank_correlation(x[None], -x[None]).mean == pytest.approx(-1)
    assert stats.rank_correlation(x[None], x[None]).ci95 is None


def test_a_ratio_is_that_of_the_means_and_its_interval_covers_it():
    rng = np.random.default_rng(4)
    covers = []
    for _ in range(200):
        under = rng.normal(2.0, 0.3, 30)
        over = 0.5 * under + rng.normal(0.0, 0.3, 30)
        found = stats.ratio(over, under)
        assert found.mean == pytest.approx(over.mean() / under.mean())
        covers.append((found.lower, found.upper))
    assert 0.88 < covered(covers, 0.5) < 0.98
    assert stats.ratio([1.0, 3.0], [4.0, 4.0]).ci95 == pytest.approx((0.25, 0.75))
    assert not stats.ratio([1.0, 1.0], [0.0, 0.0]).finite
