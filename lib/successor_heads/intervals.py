"""Statistics of the book, without torch: intervals of shares, and tests of pairs.

::

    low, high = intervals.wilson(right, n)                       # a share of independent cases
    low, high = intervals.clustered_wilson(success, source)      # cases that stand or fall together
    share, low, high = intervals.share_interval(hits, of, seed=0)   # counts by context
    p = intervals.mcnemar(intact, ablated)                       # the same prompts, twice

All intervals are of 95%. What is drawn at random is drawn by a seed.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.stats import binomtest

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
    hits: Num[np.ndarray, " context"],
    of: Num[np.ndarray, " context"],
    *,
    seed: int,
    n_resamples: int = 2000,
) -> tuple[float, float, float]:
    """Share sum(hits) / sum(of) with its bootstrap interval, whole contexts resampled; NaN for none.

    Cases in one context are alike: resampling single cases would promise too much.
    """
    hits, of = np.asarray(hits, dtype=float), np.asarray(of, dtype=float)
    if of.sum() == 0:
        return float("nan"), float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(len(of), size=(n_resamples, len(of)))
    totals = of[drawn].sum(1)
    shares = hits[drawn].sum(1)[totals > 0] / totals[totals > 0]
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(hits.sum() / of.sum()), float(low), float(high)


def mean_of_shares(
    successes: Sequence[int], n: Sequence[int], *, seed: int, n_resamples: int = 2000
) -> tuple[float, float]:
    """Bootstrap interval of the mean of several shares, cases resampled within each.

    A share of 0 or 1 stays what it is in every resample.
    """
    rng = np.random.default_rng(seed)
    # Drawing n of the n outcomes with replacement makes the number of successes binomial.
    shares = [rng.binomial(total, right / total, size=n_resamples) / total for right, total in zip(successes, n)]
    low, high = np.percentile(np.mean(shares, axis=0), [2.5, 97.5])
    return float(low), float(high)


def mcnemar(before: Bool[np.ndarray, " case"], after: Bool[np.ndarray, " case"]) -> float:
    """Exact two-sided p-value that a change made no difference to cases that were judged before and after it.

    Only the cases that changed count (McNemar): under the null each is as likely to be lost as to be won.
    """
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    return float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0


def paired_permutation(differences: Float[np.ndarray, " case"], *, seed: int, n_permutations: int = 10_000) -> float:
    """Two-sided p-value that paired differences have a mean of zero, by flipping their signs at random."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(n_permutations, len(differences)))
    as_far = np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12
    return float((as_far.sum() + 1) / (n_permutations + 1))
