"""What the matrix of one head says of ordinals: its patterns, what it prefers, and how few dimensions it needs.

::

    m = ov_circuit.head_matrix(parts, token_ids, layer=1, head=0)      # [read, promoted], list after list
    days = m[maps.blocks(classes)["days"], maps.blocks(classes)["days"]]
    weight, unique = maps.components(days, classes["days"])            # of succession, copying, greater-than

A row is a token that is read, a column one that is promoted. To add a number to a row changes no answer, because all
candidates gain alike; to add one to a column says something of the candidate and nothing of the pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import rankdata
from torch import Tensor

from successor_heads.ordinals import ResolvedClass
from successor_heads.scores import strict_argmax

PATTERNS = ("succession", "copying", "greater-than")
LEAST_MEMBERS = 5  # of a list: in fewer cells three patterns cannot be told apart
RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # that are tried, and the highest


def blocks(classes: Mapping[str, ResolvedClass]) -> dict[str, slice]:
    """Where each list stands in a matrix of all lists, one after the other."""
    sizes = [len(resolved.words) for resolved in classes.values()]
    ends = np.cumsum(sizes).tolist()
    return {task: slice(end - size, end) for task, size, end in zip(classes, sizes, ends)}


def rows_centred(m: Float[Tensor, "*pattern read promoted"]) -> Float[Tensor, "*pattern read promoted"]:
    """Each row less its mean, which no answer depends on."""
    return m - m.mean(-1, keepdim=True)


def both_centred(m: Float[Tensor, "*pattern read promoted"]) -> Float[Tensor, "*pattern read promoted"]:
    """Rows and columns less their means: what depends on the pair alone."""
    m = m - m.mean(-1, keepdim=True)
    return m - m.mean(-2, keepdim=True)


def rows_centred_by_list(
    m: Float[Tensor, "read promoted"], classes: Mapping[str, ResolvedClass]
) -> Float[Tensor, "read promoted"]:
    """Each row less its mean over each list: what a score within lists can see."""
    m = m.clone()
    for own in blocks(classes).values():
        m[:, own] -= m[:, own].mean(1, keepdim=True)
    return m


def macro(m: Float[Tensor, "read promoted"], classes: Mapping[str, ResolvedClass]) -> float:
    """Macro successor score of a matrix of all lists; a tie fails."""
    shares = [
        (strict_argmax(m[own, own][classes[task].source]) == classes[task].target).double().mean()
        for task, own in blocks(classes).items()
    ]
    return torch.stack(shares).mean().item()


# --- patterns ---------------------------------------------------------------------------------------


def patterns(resolved: ResolvedClass) -> Float[Tensor, "pattern read promoted"]:
    """The PATTERNS of a list: 1 at the successor; on the diagonal; at whatever comes later."""
    n = len(resolved.words)
    succession = torch.zeros(n, n, dtype=torch.double)
    succession[resolved.source, resolved.target] = 1
    later = torch.ones(n, n, dtype=torch.double).triu(1)
    return torch.stack([succession, torch.eye(n, dtype=torch.double), later])


def components(
    m: Float[Tensor, "read promoted"], resolved: ResolvedClass
) -> tuple[Float[Tensor, " pattern"], Float[Tensor, " pattern"]]:
    """Least-squares weight of each pattern, in logits, and its unique share of the variance.

    The unique share is what is lost when this pattern alone is left out: what two patterns could claim goes to neither.
    """
    t, y = both_centred(patterns(resolved)).flatten(1), both_centred(m).flatten()
    inverse = torch.linalg.pinv(t @ t.T)
    weight = inverse @ t @ y
    return weight, weight**2 / inverse.diagonal() / y.square().sum()


def null_components(
    m: Float[Tensor, "read promoted"], resolved: ResolvedClass, *, seed: int, n_permutations: int = 200
) -> Float[Tensor, "permutation pattern"]:
    """Unique shares in a matrix that knows nothing of the order.

    The members' places are permuted, rows and columns alike. That leaves copying what it is, so for copying the
    columns alone are shuffled.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(n_permutations):
        deal = torch.randperm(len(m), generator=generator)
        shares = components(m[deal][:, deal], resolved)[1]
        shares[1] = components(m[:, deal], resolved)[1][1]
        rows.append(shares)
    return torch.stack(rows)


def mean_unique_shares(m: Float[Tensor, "read promoted"], classes: Mapping[str, ResolvedClass]) -> list[float]:
    """Unique share of each pattern, a mean over the lists that have a pair and enough members; NaN without one."""
    rows = [
        components(m[own, own], classes[task])[1]
        for task, own in blocks(classes).items()
        if len(classes[task].words) >= LEAST_MEMBERS and len(classes[task].source)
    ]
    return torch.stack(rows).mean(0).tolist() if rows else [float("nan")] * len(PATTERNS)


def lead(m: Float[Tensor, "read promoted"], resolved: ResolvedClass) -> Float[Tensor, " pair"]:
    """By how many standard deviations of its row each successor exceeds the row's mean."""
    return (rows_centred(m) / m.std(1, keepdim=True))[resolved.source, resolved.target]


def by_steps(m: Float[Tensor, "read promoted"], *, reach: int = 25) -> dict[int, list[float]]:
    """The cells that lie k steps after the token read, for each k within reach; lines of three cells or more."""
    reach = min(len(m) - 3, reach)
    return {k: torch.diagonal(rows_centred(m), k).tolist() for k in range(-reach, reach + 1)}


# --- larger members ---------------------------------------------------------------------------------


def larger_wins(m: Float[Tensor, "read promoted"], resolved: ResolvedClass) -> Float[np.ndarray, " two_sided"]:
    """How often a larger member gets a higher logit than a smaller one, for each token that has both.

    The token itself and its neighbours are left out; a tie counts one half.
    """
    near = torch.eye(len(m), dtype=torch.bool)
    near[resolved.source, resolved.target] = near[resolved.target, resolved.source] = True
    smaller, larger = (~near).tril().sum(1), (~near).triu().sum(1)
    # By ranks, as Mann and Whitney count: what is left out stands below all others, and ties share a rank.
    ranks = rankdata(m.masked_fill(near, -torch.inf).numpy(), axis=1) - near.sum(1, keepdim=True).numpy()
    of_larger = (ranks * (~near).triu().numpy()).sum(1)
    asked = ((smaller > 0) & (larger > 0)).numpy()
    won = of_larger - (larger * (larger + 1) / 2).numpy()
    return won[asked] / (smaller * larger).numpy()[asked]


# --- across lists -----------------------------------------------------------------------------------


def next_index(
    classes: Mapping[str, ResolvedClass], *, read: str, answered: str
) -> tuple[Int[np.ndarray, " asked"], Int[np.ndarray, " asked"]]:
    """Members of one list whose index i has an i + 1 in another, and where in that other list it stands."""
    place = {index: column for column, index in enumerate(classes[answered].index.tolist())}
    asked = [(row, place[i + 1]) for row, i in enumerate(classes[read].index.tolist()) if i + 1 in place]
    rows, columns = np.array(asked, dtype=int).reshape(-1, 2).T
    return rows, columns


def next_index_wins(
    m: Float[Tensor, "read promoted"], classes: Mapping[str, ResolvedClass], *, read: str, answered: str
) -> tuple[int, int]:
    """Read index i in one list: how often index i + 1 wins within another, and how often that could be asked."""
    own, (rows, columns) = blocks(classes), next_index(classes, read=read, answered=answered)
    winners = strict_argmax(m[own[read], own[answered]]).numpy()
    return int((winners[rows] == columns).sum()), len(rows)


# --- dimensions -------------------------------------------------------------------------------------


class Spectrum(NamedTuple):
    """Singular values of a matrix, and its score when few directions are kept: the first, and random ones."""

    singular: Float[np.ndarray, " direction"]
    ranks: list[int]
    first: list[float]
    random: Float[np.ndarray, "draw rank"]


def spectrum(m: Float[Tensor, "read promoted"], classes: Mapping[str, ResolvedClass], *, n_draws: int = 10) -> Spectrum:
    """How the macro of a matrix grows with the directions that are kept.

    The first k singular directions make the nearest matrix of rank k. The control keeps k random directions of the
    same space.
    """
    seen = rows_centred_by_list(m, classes)
    u, s, vh = torch.linalg.svd(seen)
    n_used = int((s > 1e-6 * s[0]).sum())
    ranks = [*(k for k in RANKS if k < n_used), n_used]
    random = []
    for seed in range(n_draws):
        generator = torch.Generator().manual_seed(seed)
        turn = torch.linalg.qr(torch.randn(n_used, n_used, generator=generator, dtype=torch.double))[0]
        kept = [vh[:n_used].T @ turn[:, :k] for k in ranks]
        random.append([macro(seen @ v @ v.T, classes) for v in kept])
    first = [macro(u[:, :k] * s[:k] @ vh[:k], classes) for k in ranks]
    return Spectrum(s[:n_used].numpy(), ranks, first, np.array(random))
