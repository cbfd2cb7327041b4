"""The exercises of chapter 3: what a ten is worth elsewhere, its neurons, its copies, and a model that has none."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from successor_heads import features
from successor_heads.exercises import Exercise

MOST_ROUNDS = 10


def multiples() -> Exercise:
    """ex-multiples: how often somebody who knows the last digit guesses the index mod 12."""
    return Exercise(
        right=lambda a: abs(float(a) - 1 / 6) < 5e-3,
        diagnoses=[
            (
                lambda a: abs(float(a) - 1 / 12) < 5e-3,
                "That is somebody who knows nothing. The last digit says whether the number is even.",
            ),
            (
                lambda a: abs(float(a) - 1 / 2) < 5e-3,
                "They know one bit, even or odd. That leaves more than two residues mod 12.",
            ),
            (lambda a: abs(float(a) - 10 / 12) < 5e-3, "Knowing one of ten things is not knowing ten in twelve."),
        ],
    )


def neuron_of_five(neurons: Float[Tensor, "token neuron"], index: Int[Tensor, " token"]) -> Exercise:
    """ex-five: the neuron of which the residue mod 5 explains most."""
    best = {k: int(features.residue_share(neurons, index, k).argmax()) for k in (5, 10)}
    return Exercise(
        right=lambda a: int(a) == best[5],
        diagnoses=[
            (
                lambda a: int(a) == best[10],
                "That is the neuron of ten. With ten residues there is more to explain variance with than with five.",
            ),
            (
                lambda a: int(a) == int(neurons.var(0).argmax()),
                "That is the neuron that varies most. Ask for the share of its variance.",
            ),
            (lambda a: not 0 <= float(a) < neurons.shape[1], "There is no neuron of that number. Is it its R²?"),
        ],
    )


def rounds(
    x: Float[Tensor, "token d_model"], index: Int[Tensor, " token"], groups: Int[np.ndarray, " token"], *, seed: int
) -> Exercise:
    """ex-rounds: how often a ten can be found and taken out again before none is found."""
    n = rounds_of_ten(x, index, groups, seed=seed)
    return Exercise(
        right=lambda a: int(a) == n,
        diagnoses=[
            (lambda a: int(a) == n + 1, "One too many: the last probe, which found nothing, does not count."),
            (lambda a: int(a) == n - 1, "One too few: the probe on `x` itself counts."),
            (lambda a: int(a) > n + 1, "Do you take the directions out of what the *previous* round left?"),
        ],
    )


def rounds_of_ten(x: Tensor, index: Tensor, groups: np.ndarray, *, seed: int) -> int:
    """How many probes in a row find the ten, each on what the ones before it left."""
    left = x.clone()
    for n in range(MOST_ROUNDS + 1):
        probe = features.probe_modulus(left, index, 10, groups=groups, seed=seed, n_permutations=20)
        if not probe.found or n == MOST_ROUNDS:
            return n
        basis = np.linalg.svd(probe.directions.numpy(), full_matrices=False)[2][:9]
        left = left - (left - left.mean(0)) @ basis.T @ basis
    raise AssertionError("unreachable: the last round returns")


def sevens() -> Exercise:
    """ex-sevens: the modulus of the plant, as the most important features of autoencoders tell it."""
    return Exercise(
        right=lambda a: int(a) == 7,
        diagnoses=[
            (
                lambda a: int(a) == 10,
                "There is no ten in this plant: was it made with modulus=7? Is `index` the plant's?",
            ),
            (
                lambda a: int(a) in (2, 3),
                "A small modulus has a high share by chance. Take the permuted index's share away first.",
            ),
            (lambda a: int(a) > 13, "Look at moduli from 2 to 13."),
        ],
    )
