"""The exercises of chapter 1: scores, and what they are held against."""

from __future__ import annotations

from dataclasses import replace

import torch

from successor_heads import ordinals, scores
from successor_heads.anatomy import Anatomy
from successor_heads.exercises import Exercise, Place, highest, place
from successor_heads.ordinals import ResolvedClass


def chance() -> Exercise:
    """ex-chance: the score of a guess among the six days that are not read."""
    return Exercise(
        right=lambda a: abs(a - 1 / 6) < 5e-3,
        diagnoses=[
            (
                lambda a: abs(a - 1 / 7) < 5e-3,
                "That is a guess among all seven days, but this head never picks the day that it reads.",
            ),
            (lambda a: a > 1, "A score is a share, between 0 and 1."),
        ],
    )


def copying(parts: Anatomy, classes: dict[str, ResolvedClass], *, successor_head: Place) -> Exercise:
    """ex-copy: the (layer, head) with the highest macro copying score; any of those that share it."""
    copiers = highest(copying_score(parts, classes))
    return Exercise(
        right=lambda a: place(a) in copiers,
        diagnoses=[
            (
                lambda a: place(a) == successor_head,
                "That is the successor head. Compare the highest logit with the word itself, not with its successor.",
            ),
            (lambda a: place(a)[::-1] in copiers, "Right numbers, wrong order: layer first, then head."),
            (
                lambda a: not (0 <= a[0] < parts.n_layers and 0 <= a[1] < parts.n_heads),
                "There is no such head; layers and heads count from 0.",
            ),
        ],
    )


def copying_score(parts: Anatomy, classes: dict[str, ResolvedClass]) -> torch.Tensor:
    """Macro share [layer, head] of the words that a head puts first in their own class on reading them."""
    # The library's own score, on pairs in which every word is followed by itself.
    itself = {
        task: replace(resolved, source=torch.arange(len(resolved.words)), target=torch.arange(len(resolved.words)))
        for task, resolved in classes.items()
        if len(resolved.source)
    }
    return scores.score_heads(parts, itself).macro


def tie() -> Exercise:
    """ex-tie: the (strict, lenient) score of logits that are all equal."""
    return Exercise(
        right=lambda a: tuple(float(score) for score in a) == (0.0, 1.0),
        diagnoses=[
            (
                lambda a: tuple(float(score) for score in a) == (1.0, 0.0),
                "Right numbers, wrong order: strict first.",
            ),
            (
                lambda a: abs(float(a[1]) - 1 / 7) < 0.05,
                "`argmax` breaks ties by position: it returns the first of the equals. Compare logits, not places.",
            ),
        ],
    )


def roman(parts: Anatomy, tokenizer, *, successor_head: Place) -> Exercise:
    """ex-roman: the successor score of one head on the Roman numerals, which are in no class."""
    numerals = ordinals.OrdinalClass("roman", ordinals.ROMAN_NUMERALS)
    resolved = ordinals.resolve_class(tokenizer, numerals, prefix=" ")
    n = len(resolved.source)
    if n == 0:
        split = "This tokenizer splits the numerals: there is nothing to score. Try another model."
        return Exercise(right=lambda a: False, diagnoses=[(lambda a: True, split)])
    score = scores.score_heads(parts, {"roman": resolved}).macro[successor_head].item()
    return Exercise(
        right=lambda a: abs(a - score) < 5e-3,
        diagnoses=[
            (lambda a: a > 1, "A score is a share, between 0 and 1."),
            (
                lambda a: abs(a * n - round(a * n)) > 0.05,
                f"This tokenizer expresses {n} pairs, and your score is no multiple of 1/{n}: which pairs did you count?",
            ),
        ],
    )
