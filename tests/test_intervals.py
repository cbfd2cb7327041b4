"""Intervals and tests against textbook values, closed forms and other libraries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from successor_heads import intervals
from successor_heads.intervals import clustered_wilson, wilson


@pytest.mark.parametrize(
    "successes, n, low, high",
    # Brown, Cai and DasGupta (2001) and the closed forms at 0 and n: z²/(n+z²).
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (15, 148, 0.0624, 0.1605), (5, 10, 0.2366, 0.7634)],
)
def test_wilson_intervals_of_the_textbook(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(case):
    successes, n = case
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    mirrored = wilson(n - successes, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high))


def test_wilson_of_nothing_says_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


def test_cases_that_stand_and_fall_together_count_as_fewer():
    cluster = np.arange(20).repeat(9)
    together = (np.arange(20) < 10).repeat(9)
    low, high = clustered_wilson(together, cluster)
    assert (low, high) == pytest.approx(wilson(10, 20), abs=0.01), "180 cases are worth 20 here"
    alternating = np.arange(180) % 2 == 0
    apart = clustered_wilson(alternating, cluster)
    assert apart == pytest.approx(wilson(90, 180), abs=1e-6), "and 180 here, no more"
    assert clustered_wilson(np.zeros(180, dtype=bool), cluster) == wilson(0, 20)
    assert clustered_wilson(together[:0], cluster[:0]) == (0.0, 1.0)
    assert clustered_wilson(together[:9], cluster[:9])[0] < 0.25, "one cluster is worth one case"


def test_shares_are_resampled_by_context():
    share, low, high = intervals.share_interval(np.array([10, 0, 10, 0]), np.array([10, 10, 10, 10]), seed=0)
    assert share == 0.5 and low == 0 and high == 1  # four contexts, not forty cases
    share, low, high = intervals.share_interval(np.full(40, 1), np.full(40, 2), seed=0)
    assert (share, low, high) == (0.5, 0.5, 0.5)
    assert np.isnan(intervals.share_interval(np.zeros(3), np.zeros(3), seed=0)).all()


def test_the_mean_of_shares_has_the_spread_of_its_parts():
    low, high = intervals.mean_of_shares([60, 20], [100, 40], seed=1)
    # Standard error of the mean of two shares: half of sqrt(.24/100 + .25/40).
    assert low < 0.55 < high and high - low == pytest.approx(2 * 1.96 * 0.5 * (0.24 / 100 + 0.25 / 40) ** 0.5, rel=0.1)


def test_mcnemar_counts_what_changed_alone():
    before = np.array([True] * 123 + [False] * 2)
    after = before.copy()
    after[:13] = False
    # 13 lost, none won: two tails of 2 ** -13.
    assert intervals.mcnemar(before, after) == pytest.approx(2 * 0.5**13)
    after[-2:] = True
    assert intervals.mcnemar(before, after) > 2 * 0.5**13
    assert intervals.mcnemar(before, before) == 1.0


def test_sign_flips_agree_with_the_t_test_where_both_hold():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.3, 0.6):
        differences = rng.normal(shift, 1.0, size=60)
        p = intervals.paired_permutation(differences, seed=1)
        assert p == pytest.approx(ttest_1samp(differences, 0).pvalue, abs=0.02)
