"""The exercises of chapter 8: searches, donors, paths and circuits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from successor_heads.anatomy import Anatomy
from successor_heads.exercises import Exercise, Place, highest, place

MOST_LOST = 0.1  # of the lead, for a head that seems to do nothing


def candidates(parts: Anatomy) -> Exercise:
    """ex-candidates: how many (depth, layer, head) the search over depths has."""
    n = parts.n_heads * parts.n_layers * (parts.n_layers + 1) // 2
    return Exercise(
        right=lambda a: int(a) == n,
        diagnoses=[
            (
                lambda a: int(a) == parts.n_heads * parts.n_layers,
                "That is the number of heads. How many depths does each of them read?",
            ),
            (
                lambda a: int(a) == parts.n_heads * parts.n_layers**2,
                "No head can read what only later blocks write: a head of layer 0 has one depth, not all of them.",
            ),
            (
                lambda a: int(a) == n - parts.n_heads * parts.n_layers,
                "You left out depth 0, which every head reads.",
            ),
        ],
    )


def alphabet(effects: Float[Tensor, "layer head"], *, overall: Place) -> Exercise:
    """ex-alphabet: the (layer, head) without which most of the lead is lost on lists of letters."""
    best, least = highest(effects), highest(-effects)
    return Exercise(
        right=lambda a: place(a) in best,
        diagnoses=[
            (lambda a: place(a) == overall, "That head matters most over all classes. Rank on the letters alone."),
            (
                lambda a: place(a) in least,
                "Without that head the lead *grows*: look for the lowest lead, not the highest.",
            ),
            (lambda a: place(a)[::-1] in best, "Right numbers, wrong order: layer first, then head."),
        ],
    )


def breaking(loss: Callable[[Sequence[int]], float], *, n: int) -> Exercise:
    """ex-break: donors, none of them a list's own, from which replacing the head costs next to nothing.

    `loss` is the share of the lead that is lost with these donors, for `n` lists.
    """

    def fits(donors) -> bool:
        return len(donors) == n and all(0 <= int(donor) < n for donor in donors)

    def is_own(donors) -> bool:
        return any(int(donor) == own for own, donor in enumerate(donors))

    def lost(donors) -> float:
        return loss([int(donor) for donor in donors])

    return Exercise(
        right=lambda a: fits(a) and not is_own(a) and lost(a) <= MOST_LOST,
        diagnoses=[
            (lambda a: not fits(a), f"Give one donor for each of the {n} lists: places from 0 to {n - 1}."),
            (is_own, "A list is its own donor here: then nothing is replaced. Find another list that brings the same."),
            (
                lambda a: lost(a) > MOST_LOST,
                "With these donors the head still matters. What do your donors bring that differs from what was there?",
            ),
        ],
    )


def direct_share(direct: float, total: float) -> Exercise:
    """ex-direct-share: a head's direct effect over its total effect."""
    share = direct / total
    return Exercise(
        right=lambda a: abs(float(a) - share) < 0.02,
        diagnoses=[
            (lambda a: abs(float(a) - direct) < 0.005, "That is the direct effect itself. Divide it by the total one."),
            (lambda a: abs(float(a) - total) < 0.005, "That is the total effect. Which part of it is direct?"),
            (lambda a: abs(float(a) - (1 - share)) < 0.02, "That is the share that other parts pass on."),
            (lambda a: abs(float(a) - 1 / share) < 0.02, "Upside down: direct over total."),
        ],
    )


def everything(parts: Anatomy) -> Exercise:
    """ex-everything: how many parts the whole model has, heads and MLPs."""
    n = parts.n_layers * (parts.n_heads + 1)
    return Exercise(
        right=lambda a: int(a) == n,
        diagnoses=[
            (lambda a: int(a) == parts.n_layers * parts.n_heads, "Those are the heads. What about the MLPs?"),
            (lambda a: int(a) == parts.n_layers, "Those are the blocks. Each has several heads, and an MLP."),
        ],
    )
