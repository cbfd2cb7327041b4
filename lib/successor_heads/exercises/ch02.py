"""The exercises of chapter 2: the map from the ordinal that is read to those that are promoted."""

# As text: `_ranks_in_vocabulary` may be sent to NDIF, where there is no jaxtyping.
from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from successor_heads import scores
from successor_heads.anatomy import Anatomy
from successor_heads.exercises import Exercise, Place, highest, place
from successor_heads.ordinals import ResolvedClass

DAYS = 7


def rank(parts: Anatomy, *, n_ordinals: int) -> Exercise:
    """ex-rank: the highest rank that the map of one head can have."""
    return Exercise(
        right=lambda a: int(a) == min(parts.d_head, parts.d_model),
        diagnoses=[
            (
                lambda a: int(a) == parts.d_model,
                "That is the width of the residual stream. Is there a narrower place on the way?",
            ),
            (
                lambda a: int(a) == parts.d_vocab,
                "The matrix is that large, but large is not the same as of high rank.",
            ),
            (
                lambda a: int(a) == n_ordinals,
                "That is the number of ordinals, which bounds the rank of our part only.",
            ),
        ],
    )


def circle() -> Exercise:
    """ex-circle: a 7 × 7 matrix of rank 2 that puts the next day first."""
    days = torch.arange(DAYS)

    def promotes(matrix, steps: int) -> bool:
        return bool((scores.strict_argmax(torch.as_tensor(matrix)) == (days + steps) % DAYS).all())

    def is_narrow(matrix) -> bool:
        return int(torch.linalg.matrix_rank(torch.as_tensor(matrix).double(), rtol=1e-5)) <= 2

    return Exercise(
        right=lambda a: tuple(a.shape) == (DAYS, DAYS) and is_narrow(a) and promotes(a, 1),
        diagnoses=[
            (
                lambda a: tuple(a.shape) != (DAYS, DAYS),
                "The matrix should be 7 × 7: a row for each day read, a column for each day promoted.",
            ),
            (
                lambda a: promotes(a, 0),
                "This one copies. Turn one of the two sides by a seventh of the circle.",
            ),
            (lambda a: promotes(a, -1), "This one counts backwards: turn the other way."),
            (
                lambda a: promotes(a, 1),
                "It counts, but its rank is above 2. Write it as a 7 × 2 matrix times a 2 × 7 matrix.",
            ),
        ],
    )


def backward(parts: Anatomy, classes: dict[str, ResolvedClass], *, successor_head: Place) -> Exercise:
    """ex-backward: the (layer, head) that is best at predecessors; any of those that share the score."""
    turned = {task: replace(c, source=c.target, target=c.source) for task, c in classes.items()}
    predecessor_heads = highest(scores.score_heads(parts, turned).macro)
    return Exercise(
        right=lambda a: place(a) in predecessor_heads,
        diagnoses=[
            (
                lambda a: place(a) == successor_head,
                "That is the head that counts forwards. Did you turn the pairs around?",
            ),
            (lambda a: place(a)[::-1] in predecessor_heads, "Right numbers, wrong order: layer first, then head."),
        ],
    )


def offset(matrix: Float[Tensor, "member candidate"], resolved: ResolvedClass) -> Exercise:
    """ex-offset: the most frequent number of steps to the runner-up, in the rows in which the successor wins.

    `matrix` holds the head's logits within one class: a row for each member read, a column for each promoted.
    The answer is None where no row is won.
    """
    best = matrix.topk(2, dim=1).indices.cpu()[resolved.source]
    won = best[:, 0] == resolved.target
    steps = (best[:, 1] - resolved.source)[won].tolist()
    most = {step for step in steps if steps.count(step) == max(map(steps.count, steps))}
    return Exercise(
        right=lambda a: int(a) in most if steps else a is None,
        diagnoses=[
            (lambda a: int(a) == 1, "One step is the successor, which comes first in these rows. Who comes second?"),
            (lambda a: -int(a) in most, "Right distance, wrong side: subtract the token read from the runner-up."),
        ],
    )


def vocabulary(parts: Anatomy, classes: dict[str, ResolvedClass], *, successor_head: Place) -> Exercise:
    """ex-vocabulary: the median rank of the successor among all tokens, over the pairs of all classes."""
    ranks = parts.compute(
        _ranks_in_vocabulary,
        torch.cat([c.token_ids[c.source] for c in classes.values()]),
        torch.cat([c.token_ids[c.target] for c in classes.values()]),
        *successor_head,
    )
    median, mean = ranks.median().item(), ranks.mean().item()
    return Exercise(
        # Ties and rounding may move a rank by a little.
        right=lambda a: abs(float(a) - median) <= max(0.5, 0.02 * median),
        diagnoses=[
            (lambda a: abs(float(a) - (median - 1)) < 0.5, "Off by one: a rank of 1 means that nobody is higher."),
            (
                lambda a: abs(float(a) - mean) < 0.5,
                "That is the mean, which a few bad pairs can move far. The median was asked for.",
            ),
        ],
    )


def _ranks_in_vocabulary(
    parts: Anatomy, read: Int[Tensor, " pair"], target: Int[Tensor, " pair"], layer: int, head: int
) -> Float[Tensor, " pair"]:
    """The place of each successor among all tokens, 1 for the highest, in slices of the vocabulary."""
    x = parts.mlp0(parts.embed(read))
    written = x @ parts.w_v(layer)[head] @ parts.w_o(layer)[head]
    right = (written * parts.unembed(target).T).sum(1)
    higher = torch.zeros(len(read))
    for piece in torch.arange(parts.d_vocab).split(8192):
        rivals = written @ parts.unembed(piece)
        rivals[piece == target[:, None]] = -torch.inf
        higher += (rivals > right[:, None]).sum(1).cpu()
    return higher + 1
