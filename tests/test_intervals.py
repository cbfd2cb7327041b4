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
@pytest.mark.slow
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
    # A ratio that is no share stays what it is.
    assert intervals.ratio_interval(np.full(4, 3.0), np.ones(4), seed=0) == (3.0, 3.0, 3.0)


def test_of_none_or_all_a_share_is_not_taken_as_certain():
    """Four contexts of ten cases each, and two without any, are four cases; a rate that is certain would leave (0, 0)."""
    of = np.array([10, 10, 0, 10, 10, 0])
    none, every = (intervals.share_interval(hits, of, seed=0) for hits in (0 * of, of))
    assert none == (0.0, 0.0, pytest.approx(0.49, abs=0.01)) and every == (1.0, pytest.approx(0.51, abs=0.01), 1.0)
    nearly = intervals.share_interval(np.array([1, 0, 0, 0, 0, 0]), of, seed=0)
    assert nearly[0] == 1 / 40 and nearly[2] < none[2]  # the bootstrap's own, which sees one context differ


def test_a_mean_of_cases_has_the_interval_of_its_standard_error():
    values = np.random.default_rng(0).exponential(size=400)
    mean, low, high = intervals.mean_interval(values, seed=0)
    half_width = 1.96 * values.std() / len(values) ** 0.5
    assert mean == values.mean() and [low, high] == pytest.approx([mean - half_width, mean + half_width], abs=0.02)
    assert intervals.mean_interval([3.0] * 5, seed=0) == (3.0, 3.0, 3.0)
    # The control: where the values themselves lie is another, wider thing.
    spread = intervals.middle(values)
    assert spread == tuple(np.quantile(values, [0.025, 0.975])) and spread[1] - spread[0] > 10 * (high - low)


def test_the_mean_of_shares_has_the_spread_of_its_parts():
    low, high = intervals.mean_of_shares([60, 20], [100, 40], seed=1)
    # Standard error of the mean of two shares: half of sqrt(.24/100 + .25/40).
    assert low < 0.55 < high and high - low == pytest.approx(2 * 1.96 * 0.5 * (0.24 / 100 + 0.25 / 40) ** 0.5, rel=0.1)


def test_a_list_that_is_all_right_is_not_taken_as_certain():
    low, high = intervals.mean_of_shares([7, 12], [7, 12], seed=0)
    assert 0.7 < low < 0.95 < high <= 1
    longer = intervals.mean_of_shares([700, 1200], [700, 1200], seed=0)
    assert low < longer[0]
    # The same 7 of 7 leans on the lists beside it.
    beside_right = intervals.mean_of_shares([7, 190], [7, 199], seed=0)
    beside_wrong = intervals.mean_of_shares([7, 10], [7, 199], seed=0)
    assert (1 + 190 / 199) / 2 - beside_right[0] < (1 + 10 / 199) / 2 - beside_wrong[0]


PAIRS = np.array([199, 19, 9, 7, 7, 12, 12, 25])  # of the eight lists


@pytest.mark.slow
@pytest.mark.parametrize("truth", [
    [0.98] * 8, [0.9] * 8, [0.5] * 8, [0.1] * 8, [0.6, 0.9, 0.95, 1, 1, 0.95, 0.9, 0.85],
    [0.95, 0.95, 0.95, 0.99, 0.99, 0.95, 0.2, 0.95],
], ids=["nearly all right", "most right", "half right", "most wrong", "mixed", "one list fails"])  # fmt: skip
def test_the_macro_s_interval_covers_as_it_says(truth):
    rng, truth = np.random.default_rng(0), np.array(truth)

    def coverage(interval):
        drawn = np.random.default_rng(0).binomial(PAIRS, truth, size=(1000, 8))
        bounds = np.array([interval(right) for right in drawn])
        return ((bounds[:, 0] <= truth.mean()) & (truth.mean() <= bounds[:, 1])).mean()

    assert (
        0.92
        <= coverage(lambda right: intervals.mean_of_shares(right.tolist(), PAIRS.tolist(), seed=0, n_resamples=1000))
        <= 0.98
    )
    if truth.min() == 0.98:  # the control: cases resampled within each list take 7 of 7 as certain
        plain = coverage(
            lambda right: np.percentile(
                (rng.binomial(PAIRS, right / PAIRS, size=(1000, 8)) / PAIRS).mean(1), [2.5, 97.5]
            )
        )
        assert plain < 0.85


@pytest.mark.parametrize(("share", "alike"), [(0.5, 0.05), (0.3, 0.05), (0.8, 0.02), (0.1, 0.05)])
@pytest.mark.slow
def test_a_share_over_five_seeds_covers_where_seeds_differ_by_degrees(share, alike):
    """Seeds' shares from a Beta distribution with that mean; ``alike`` is the correlation of two pairs of one seed."""
    rng, covered, without_seeds = np.random.default_rng(1), 0, 0
    for _ in range(1000):
        right = rng.binomial(19, rng.beta(share * (1 / alike - 1), (1 - share) * (1 / alike - 1), size=5))
        low, high = intervals.share_over_seeds(right.tolist(), [19] * 5, seed=0, n_resamples=400)
        covered += low <= share <= high
        low, high = intervals.wilson(int(right.sum()), 95)
        without_seeds += low <= share <= high
    assert 920 <= covered <= 990
    assert without_seeds < covered, "pairs of one seed are not independent"


def test_a_share_over_seeds_is_not_certain_and_grows_with_its_level():
    low, high = intervals.share_over_seeds([0] * 5, [19] * 5, seed=0)
    assert 0 <= low < 0.01 and 0.03 < high < 0.12
    assert intervals.share_over_seeds([0] * 5, [19] * 5, seed=0, level=0.99)[1] > high
    # Two seeds of five that are all right: the seeds are the cases, not the 95 pairs.
    low, high = intervals.share_over_seeds([19, 19, 0, 0, 0], [19] * 5, seed=0)
    assert low < 0.05 and high > 0.85
    with pytest.raises(ValueError, match="two seeds"):
        intervals.share_over_seeds([3], [19], seed=0)


def test_the_mean_over_seeds_has_student_s_interval():
    values = np.array([0.1, 0.4, 0.2, 0.5, 0.3])
    mean, low, high = intervals.mean_over_seeds(values)
    by_scipy = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((0.3, by_scipy.low, by_scipy.high))


def test_holm_is_milder_than_bonferroni_and_keeps_the_order():
    assert intervals.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert intervals.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert intervals.holm([]) == []


def test_mcnemar_counts_what_changed_alone():
    before = np.array([True] * 123 + [False] * 2)
    after = before.copy()
    after[:13] = False
    # 13 lost, none won: two tails of 2 ** -13.
    assert intervals.mcnemar(before, after) == pytest.approx(2 * 0.5**13)
    after[-2:] = True
    assert intervals.mcnemar(before, after) > 2 * 0.5**13
    assert intervals.mcnemar(before, before) == 1.0
