"""Intervals and verdicts."""

import numpy as np

from subliminal_toy import stats


def test_interval_covers_the_mean_nineteen_times_out_of_twenty():
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(2000, 5))
    covered = [e.lower <= 3.0 <= e.upper for e in map(stats.estimate, draws)]
    # 5 standard errors of a proportion of .95 over 2000
    assert abs(np.mean(covered) - 0.95) < 5 * (0.95 * 0.05 / 2000) ** 0.5


def test_pairing_removes_what_two_conditions_share():
    shared = np.random.default_rng(1).normal(size=20)
    paired = stats.estimate((shared + 0.1) - shared)
    np.testing.assert_allclose(paired.ci95, (0.1, 0.1), atol=1e-12)


def test_one_value_has_no_interval_and_tests_nothing():
    single = stats.estimate([0.5])
    assert single.ci95 is None and single.lower == -np.inf and single.upper == np.inf
    assert stats.judge("X", "s", "c", single, met=True).verdict == stats.NOT_TESTED


def test_verdict_follows_the_criterion():
    measured = stats.estimate([0.1, 0.2, 0.3])
    assert stats.judge("X", "s", "c", measured, met=True).verdict == stats.REPRODUCED
    assert stats.judge("X", "s", "c", measured, met=False).verdict == stats.NOT_REPRODUCED
