"""Intervals against their coverage and against scipy."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from subliminal_toy import stats


def covered(intervals, truth):
    return np.mean([low <= truth <= high for low, high in intervals])


def test_the_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(0).normal(size=7)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    estimate = stats.estimate(values)
    np.testing.assert_allclose(estimate[1:3], expected, rtol=1e-12)
    assert stats.standard_error(values) == pytest.approx(scipy_stats.sem(values, ddof=1))
    assert (estimate.value, estimate.n) == (pytest.approx(values.mean()), 7)
    assert not stats.estimate([0.5]).finite and stats.estimate([0.5]).value == 0.5


@pytest.mark.parametrize("hits", [0, 1, 7, 19, 20])
def test_the_interval_of_a_fraction_is_the_exact_one(hits):
    """Clopper and Pearson: each end is the fraction at which so many hits have probability .025."""
    estimate = stats.fraction(np.arange(20) < hits)
    assert (estimate.value, estimate.n) == (hits / 20, 20)
    as_many = scipy_stats.binom.sf(hits - 1, 20, estimate.low)
    as_few = scipy_stats.binom.cdf(hits, 20, estimate.high)
    assert as_many == pytest.approx(0.025) or estimate.low == hits == 0
    assert as_few == pytest.approx(0.025) or estimate.high == hits / 20 == 1


def test_the_interval_of_a_median_covers_it_whatever_the_distribution():
    draws = np.random.default_rng(3).exponential(size=(2_000, 25))
    found = [stats.median(row) for row in draws]
    assert covered((e[1:3] for e in found), np.log(2)) > 0.95 - 5 * 0.005
    assert found[0].value == pytest.approx(np.median(draws[0]))
    # The narrowest ranks that cover: 8th and 18th of 25.
    np.testing.assert_array_equal(found[0][1:3], np.sort(draws[0])[[7, 17]])
    assert not stats.median([1.0, 2.0]).finite


def test_a_rank_correlation_is_scipys_and_its_interval_narrows_with_the_replicates():
    rng = np.random.default_rng(3)
    x, noise = rng.normal(size=12), rng.normal(size=(40, 12))
    y = x + noise
    found = stats.rank_correlation(np.tile(x, (40, 1)), y)
    assert found.value == pytest.approx(scipy_stats.spearmanr(x, y.mean(axis=0)).statistic)
    assert found.low < found.value < found.high and found.n == 40
    few = stats.rank_correlation(np.tile(x, (4, 1)), y[:4])
    assert few.high - few.low > found.high - found.low
    assert stats.rank_correlation(x[None], -x[None]).value == pytest.approx(-1)
    assert not stats.rank_correlation(x[None], x[None]).finite


def test_a_ratio_is_that_of_the_means_and_its_interval_covers_it():
    rng = np.random.default_rng(4)
    covers = []
    for _ in range(200):
        under = rng.normal(2.0, 0.3, 30)
        over = 0.5 * under + rng.normal(0.0, 0.3, 30)
        found = stats.ratio(over, under)
        assert found.value == pytest.approx(over.mean() / under.mean())
        covers.append((found.low, found.high))
    assert 0.88 < covered(covers, 0.5) < 0.98
    assert not stats.ratio([1.0, 1.0], [0.0, 0.0]).finite


def test_the_jackknife_of_a_mean_is_the_t_interval_and_leaves_out_whole_replicates():
    values = np.random.default_rng(6).exponential(size=(9, 3))
    found = stats.jackknife(lambda x, y: float(x.mean() - y.mean()), values, values[:, :1])
    expected = stats.estimate(values.mean(axis=1) - values[:, 0])
    assert found == pytest.approx(expected)
    assert not stats.jackknife(np.mean, values[:3]).finite


def test_the_interval_of_a_bootstrap_is_bias_corrected_and_accelerated():
    """BCa of a mean of skewed values leans to the long tail, where percentiles do not."""
    values = np.random.default_rng(5).exponential(size=20)
    ours = stats.bootstrap(lambda mean: mean, values)
    scipys, percentile = (
        scipy_stats.bootstrap(
            (values,), np.mean, n_resamples=2_000, rng=0, method=method
        ).confidence_interval
        for method in ("BCa", "percentile")
    )
    assert ours.low == pytest.approx(scipys.low) and ours.high == pytest.approx(scipys.high)
    assert ours.high != pytest.approx(percentile.high, rel=1e-3)


def test_what_does_not_vary_has_no_value_and_says_nothing(recwarn):
    """A quotient of two zeros, as of the progress of students of one logit."""
    estimate = stats.bootstrap(lambda mean: mean / mean, np.zeros(5))
    assert not np.isfinite(estimate[:3]).any() and estimate.n == 5 and not recwarn
