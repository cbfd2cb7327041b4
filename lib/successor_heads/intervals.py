"""Statistics of the book, without torch: intervals of shares, and tests of pairs.

::

    low, high = intervals.wilson(right, n)                       # a share of independent cases
    low, high = intervals.clustered_wilson(success, source)      # cases that stand or fall together
    share, low, high = intervals.share_interval(hits, of, seed=0)   # counts by context
    ratio, low, high = intervals.ratio_interval(values, of, seed=0)   # any two sums by context
    p = intervals.mcnemar(intact, ablated)                       # the same prompts, twice

All intervals are of 95%. What is drawn at random is drawn by a seed.
"""

from collections.abc import Sequence

import numpy as np
import scipy  # whose parts load when they are first used: `scipy.stats` takes longer than a score
from jaxtyping import Bool, Float, Int, Num

Z_95 = 1.959963984540054


def wilson(successes: int | float, n: int | float) -> tuple[float, float]:
    """Wilson interval of a share of `n`; (0, 1), that is nothing known, for n = 0.

    Both may be fractions, as of cases that count as fewer: scipy's `binomtest` takes whole numbers only.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half_width = Z_95 / (1 + z2 / n) * (share * (1 - share) / n + z2 / (4 * n**2)) ** 0.5
    # At 0 and at n the bound is the share itself, which rounding would miss by 1e-17.
    low = 0.0 if successes == 0 else centre - half_width
    high = 1.0 if successes == n else centre + half_width
    return low, high


def clustered_wilson(success: Bool[np.ndarray, " case"], cluster: Int[np.ndarray, " case"]) -> tuple[float, float]:
    """Wilson interval of a share whose cases come in clusters, such as all edits of one source.

    Cases of a cluster stand or fall together, so they count as fewer: as many independent ones as would
    have the spread that the clusters have, never fewer than there are clusters nor more than cases.
    """
    n = len(success)
    if n == 0:
        return wilson(0, 0)
    share = success.mean()
    _, member_of = np.unique(cluster, return_inverse=True)
    n_clusters = int(member_of.max()) + 1
    if n_clusters < 2:
        return wilson(float(share), 1)
    off = np.bincount(member_of, weights=success - share)
    variance = (off**2).sum() / n**2 * n_clusters / (n_clusters - 1)
    worth = float(share * (1 - share) / variance) if variance > 0 else 0.0
    worth = min(max(worth, n_clusters), n)
    return wilson(float(share) * worth, worth)


def share_interval(
    hits: Num[np.ndarray, " context"], of: Num[np.ndarray, " context"], *, seed: int, n_resamples: int = 2000
) -> tuple[float, float, float]:
    """Share of cases sum(hits) / sum(of), both counts by context, with its interval, whole contexts resampled; NaN for none.

    Cases in one context are alike: resampling single cases would promise too much. Of none or all every resample is
    alike, and the interval is Wilson's, with the contexts as cases.
    """
    share, low, high = ratio_interval(hits, of, seed=seed, n_resamples=n_resamples)
    if share in (0, 1):
        contexts = int(np.count_nonzero(of))
        low, high = wilson(share * contexts, contexts)
    return share, low, high


def ratio_interval(
    values: Num[np.ndarray, " context"],
    of: Num[np.ndarray, " context"],
    *,
    seed: int,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Ratio sum(values) / sum(of) of any two sums by context, with its bootstrap interval, whole contexts resampled.

    NaN where the second sum is 0; a point where all contexts are alike.
    """
    values, of = np.asarray(values, dtype=float), np.asarray(of, dtype=float)
    if of.sum() == 0:
        return float("nan"), float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(len(of), size=(n_resamples, len(of)))
    totals = of[drawn].sum(1)
    ratios = values[drawn].sum(1)[totals > 0] / totals[totals > 0]
    return float(values.sum() / of.sum()), *middle(ratios, level=level)


def mean_interval(
    values: Num[np.ndarray, " case"] | Sequence[float], *, seed: int, n_resamples: int = 2000
) -> tuple[float, float, float]:
    """Mean of one value a case with its bootstrap interval, cases resampled; a point where all are equal."""
    values = np.asarray(values)
    drawn = np.random.default_rng(seed).integers(len(values), size=(n_resamples, len(values)))
    return float(values.mean()), *middle(values[drawn].mean(1))


def middle(values: Sequence[float] | np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
    """Where the middle 95% of some values lie, or another share of them: of resampled means, or of scores under a null."""
    low, high = np.percentile(values, [50 - 50 * level, 50 + 50 * level])
    return float(low), float(high)


def mean_of_shares(
    successes: Sequence[int], n: Sequence[int], *, seed: int, n_resamples: int = 2000
) -> tuple[float, float]:
    """Interval of the mean of several shares, such as a macro over lists, none of which is taken as certain.

    Hierarchical: a list of few cases leans on the others. Its share is taken with one more case that succeeds as
    often as the lists do on the whole, and then drawn from a Beta distribution as wide as its own cases allow. So 7 of
    7 counts for more among lists that are nearly right than among lists that are mostly wrong, and is never 1 for sure.
    Covers 92 to 98% of simulated draws, of lists of 7 to 199 cases with shares of .1 to .99.
    """
    right, of = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    # Half a success and half a failure more, so that the lists on the whole are not certain either.
    overall = ((right / of).sum() + 0.5) / (len(of) + 1)
    share = (right + overall) / (of + 1)
    drawn = np.random.default_rng(seed).beta(share * of, (1 - share) * of, size=(n_resamples, len(of)))
    return middle(drawn.mean(1))


def share_over_seeds(
    successes: Sequence[int], n: Sequence[int], *, seed: int, level: float = 0.95, n_resamples: int = 10_000
) -> tuple[float, float]:
    """Interval of the mean share over seeds of a training, the seed being the unit: one entry a seed.

    The wider of two. Seeds are drawn with replacement and each one's share from Beta(k + 1/2, n - k + 1/2), which does
    not take 0 of n in every seed as certain; and the t interval of the seeds' shares, which knows how few they are.
    Seeds are taken to differ by degrees: that a rare one does something else altogether no interval of five excludes.
    Raises ValueError for fewer than two seeds.
    """
    right, of = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    if len(of) < 2:
        raise ValueError("a share over seeds needs two seeds or more")
    rng = np.random.default_rng(seed)
    which = rng.integers(len(of), size=(n_resamples, len(of)))
    drawn = rng.beta(right[which] + 0.5, of[which] - right[which] + 0.5).mean(1)
    low, high = np.percentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    by_t = mean_over_seeds(right / of, level=level)
    return max(0.0, min(float(low), by_t[1])), min(1.0, max(float(high), by_t[2]))


def mean_over_seeds(values: Float[np.ndarray, " seed"], *, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of one value a seed, and its t interval; of paired differences between arms, too."""
    mean, n = float(np.mean(values)), len(values)
    half_width = float(scipy.stats.t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / n**0.5)
    return mean, mean - half_width, mean + half_width


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for a family of tests (Holm): each may be held against the level by itself."""
    order, corrected, largest = np.argsort(p_values), np.empty(len(p_values)), 0.0
    for rank, which in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[which]))
        corrected[which] = largest
    return corrected.tolist()


def mcnemar(before: Bool[np.ndarray, " case"], after: Bool[np.ndarray, " case"]) -> float:
    """Exact two-sided p-value that a change made no difference to cases that were judged before and after it.

    Only the cases that changed count (McNemar): under the null each is as likely to be lost as to be won.
    """
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    return float(scipy.stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0
