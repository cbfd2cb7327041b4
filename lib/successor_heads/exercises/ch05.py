"""The exercises of chapter 5: winning cases, and the rules that name them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from successor_heads import behaviours, intervals
from successor_heads.direct_effects import TextEffects
from successor_heads.exercises import Exercise, highest, place

READ = (" March", " 1998", " (")  # attended to most first
ANSWERS = (" 1999", " 2004", " M", " N")
TOP = 3  # attended tokens that a rule of the reader's own sees
LEAST, LIFT = 0.03, 2  # share of the cases without a name, and how many times that of shuffled answers


def rule() -> Exercise:
    """ex-wild-rule: what the paper's rules say of four answers where a head attends to READ."""
    right = tuple(behaviours.behaviour(READ, answer) for answer in ANSWERS)
    return Exercise(
        right=lambda a: tuple(a) == right,
        diagnoses=[
            (lambda a: len(a) != len(right), "Give four words, one for each answer, in their order."),
            (
                lambda a: not set(a) <= set(behaviours.BEHAVIOURS),
                f"The words are {', '.join(behaviours.BEHAVIOURS)}.",
            ),
            (
                lambda a: a[0] != right[0],
                "1999 is the next in the list of 1998, which is one of the five most attended.",
            ),
            (lambda a: a[1] != right[1], "2004 comes later than 1998, but not next."),
            (
                lambda a: a[2] != right[2],
                "One capital is an acronym as well, and the token attended to most begins with it.",
            ),
            (lambda a: a[3] != right[3], "No rule holds: the token attended to most does not begin with N."),
        ],
    )


def zero(effects: TextEffects) -> Exercise:
    """ex-wild-zero: the (layer, head) that wins most prefixes more under zero ablation than under mean ablation."""
    gain = won(effects.zero) - won(effects.mean)
    winners, losers, most = highest(gain), highest(-gain), highest(won(effects.zero))
    n_layers, n_heads = gain.shape
    return Exercise(
        right=lambda a: place(a) in winners,
        diagnoses=[
            (lambda a: place(a) in losers, "That head loses most. Subtract mean from zero, not zero from mean."),
            (
                lambda a: place(a) in most,
                "That head wins most under zero ablation; the question is which gains most over mean ablation.",
            ),
            (lambda a: place(a)[::-1] in winners, "Right numbers, wrong order: layer first, then head."),
            (
                lambda a: not (0 <= a[0] < n_layers and 0 <= a[1] < n_heads),
                "There is no such head; layers and heads count from 0.",
            ),
        ],
    )


def won(effects: torch.Tensor) -> torch.Tensor:
    """How many prefixes each head wins [layer, head], from its effects [context, prefix, layer, head]."""
    winners = behaviours.winners(effects).flatten()
    n_layers, n_heads = effects.shape[-2:]
    return torch.bincount(winners[winners >= 0], minlength=n_layers * n_heads).view(n_layers, n_heads).float()


def widths(cases: pd.DataFrame, *, n_contexts: int, seed: int) -> Exercise:
    """ex-wild-intervals: the widths of two intervals of the share of "other", by Wilson and by bootstrap over contexts."""
    of = np.bincount(cases["context"], minlength=n_contexts)
    hits = np.bincount(cases.loc[cases["paper"] == "other", "context"], minlength=n_contexts)
    low, high = intervals.wilson(int(hits.sum()), len(cases))
    _, low_by_context, high_by_context = intervals.share_interval(hits, of, seed=seed)
    right = np.array([high - low, high_by_context - low_by_context])

    def is_near(answer, expected) -> bool:
        return np.allclose([float(width) for width in answer], expected, atol=3e-3, equal_nan=True)

    return Exercise(
        right=lambda a: is_near(a, right),
        diagnoses=[
            (lambda a: len(a[0]) == 2, "Give the two widths, high minus low, not the intervals."),
            (lambda a: is_near(a, right[::-1]), "Right numbers, wrong order: Wilson first."),
            (lambda a: is_near(a, right / 2), "These are half the widths: take high minus low."),
            (
                lambda a: abs(float(a[0]) - float(a[1])) < 1e-6,
                "Twice the same: the bootstrap has to resample contexts, with `share_interval`.",
            ),
        ],
    )


def own(cases: pd.DataFrame, *, seed: int) -> Exercise:
    """ex-wild-own: a rule that holds for cases without a name, in some text, and more often than with shuffled answers."""
    unnamed = [of for _, of in cases[cases["paper"] == "other"].groupby("text")]
    if not unnamed:
        nothing = "The head has no unnamed winning cases here: try a text with more of them."
        return Exercise(right=lambda a: False, diagnoses=[(lambda a: True, nothing)])

    def rates(answer) -> list[tuple[float, float]]:
        return [(rate(answer, of, seed=seed, shuffles=0), rate(answer, of, seed=seed, shuffles=10)) for of in unnamed]

    return Exercise(
        right=lambda a: any(share >= LEAST and share >= LIFT * chance for share, chance in rates(a)),
        diagnoses=[
            (lambda a: not callable(a), "Answer with a function of two strings, not with what it returns."),
            (
                lambda a: all(share < LEAST for share, _ in rates(a)),
                "It holds for fewer than 3% of the unnamed cases of every text: read more of them, or loosen it.",
            ),
            (
                lambda a: bool(rates(a)),
                "It holds less than twice as often as with answers shuffled: much of that is where the head looks, "
                "not what it does there.",
            ),
        ],
    )


def rate(rule: Callable[[str, str], bool], cases: pd.DataFrame, *, seed: int, shuffles: int) -> float:
    """Share of cases in which a rule holds for one of the TOP tokens attended to; the mean over `shuffles` of the answers, if any."""
    rng, answers = np.random.default_rng(seed), cases["answer"].to_numpy()
    rounds = [rng.permutation(answers) for _ in range(shuffles)] or [answers]
    return float(
        np.mean(
            [
                any(bool(rule(token.strip(), answer.strip())) for token in read[:TOP])
                for order in rounds
                for read, answer in zip(cases["read"], order)
            ]
        )
    )
