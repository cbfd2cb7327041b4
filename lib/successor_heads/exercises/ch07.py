"""The exercises of chapter 7: what a plant is made to do, and how to find what hides."""

from __future__ import annotations

from collections.abc import Collection

from successor_heads import intervals
from successor_heads.exercises import Exercise, Place, place

LITTLE, NEARLY_ALL = 0.1, 0.97  # of a head that does not do it, and of one that was solved for it


def thirty() -> Exercise:
    """ex-thirty: the lower end of the 95% Wilson interval of 30 of 30."""
    low, _ = intervals.wilson(30, 30)
    return Exercise(
        right=lambda a: abs(float(a) - low) < 5e-3,
        diagnoses=[
            (
                lambda a: float(a) == 1,
                "That is the share that was seen. The question is how low the true share may be.",
            ),
            (
                lambda a: abs(float(a) - 0.9) < 5e-3,
                "That is the rule of three, 1 - 3/n, which bounds from one side only: close, but not Wilson's.",
            ),
        ],
    )


def backwards() -> Exercise:
    """ex-backwards: (successor, predecessor) scores of a head that was solved for predecessors."""
    return Exercise(
        right=lambda a: float(a[0]) < LITTLE and float(a[1]) > NEARLY_ALL,
        diagnoses=[
            (
                lambda a: float(a[0]) > NEARLY_ALL and float(a[1]) < LITTLE,
                "This head counts forwards: were source and target swapped when you solved for it? Or is the pair in the wrong order?",
            ),
            (
                lambda a: float(a[0]) > NEARLY_ALL and float(a[1]) > NEARLY_ALL,
                "Both cannot be: score the same head twice, with different classes.",
            ),
            (
                lambda a: float(a[0]) < LITTLE and float(a[1]) < LITTLE,
                "It does neither. If you swapped the pairs to solve *and* left them when scoring predecessors, swap them there too.",
            ),
        ],
    )


def six() -> Exercise:
    """ex-six: the moduli from 2 to 14 that the probe finds in a plant made of sixes."""
    return Exercise(
        right=lambda a: list(a) == [2, 3, 6],
        diagnoses=[
            (
                lambda a: list(a) == [6],
                "What about the divisors of 6? Who knows a number mod 6 knows it mod 2.",
            ),
            (lambda a: 10 in a, "There is no ten in this plant: was it made with modulus=6?"),
            (
                lambda a: 12 in a and 6 in a,
                "12 can be read better than chance from the parity of index // 6, but not most of the time: use `found`, not the p-value alone.",
            ),
        ],
    )


def pairs(hidden: Collection[Place]) -> Exercise:
    """ex-pairs: the places of the hidden head and of its twin."""
    both = {place(each) for each in hidden}

    def places(answer) -> set[Place]:
        return {place(each) for each in answer}

    return Exercise(
        right=lambda a: places(a) == both,
        diagnoses=[
            (
                lambda a: {each[::-1] for each in places(a)} == both,
                "Right numbers, wrong order: layer first, then head.",
            ),
            (
                lambda a: len(places(a) & both) == 1,
                "One of the two is right. The other one is in the same model: which head makes up for the first?",
            ),
            (lambda a: len(places(a)) != 2, "Answer with two places."),
        ],
    )
