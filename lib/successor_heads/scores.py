"""Successor scores: on how many tokens does a head put the successor first?

::

    scores = score_heads(anatomy.of(model), ordinals.resolve(model.tokenizer))
    scores.best          # (1, 6): written L1H6
    scores.table.head()

Success on a pair (token, successor): of all members of the class, the successor alone gets the
highest logit; a tie fails (paper, section 2). *micro* is the share over all pairs, *macro* the mean
over classes of the share in the class; the best head is the one with the highest macro.
"""

# As text: `_answers` may be sent to NDIF, where there is no jaxtyping.
from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from successor_heads import intervals
from successor_heads.anatomy import Anatomy
from successor_heads.ordinals import ResolvedClass
from successor_heads.ov_circuit import Source, effective_ov_logits, head_input

if TYPE_CHECKING:
    import pandas

TIE = -1
# What `score_heads` takes for each way to score that can be defended; canonical is the book's own.
CONVENTIONS: dict[str, dict] = {
    "canonical": {},
    "with residual": {"source": "residual"},
    "after attention 0": {"source": "mlp0 after attention"},
    "block 0": {"source": "block 0"},
    "norm and bias": {"source": "residual", "head_norm": True},
    "final norm": {"final_norm": True},
    "joint": {"joint": True},
    "as at work": {"source": "block 0", "head_norm": True, "final_norm": True, "joint": True},
    "embedding alone": {"source": "embedding"},
}


@dataclass(frozen=True, eq=False)
class HeadScores:
    """What every head answered on every pair of every class that the tokenizer can express.

    `predicted[task]` [layer, head, pair] is the member with the highest logit, TIE if it is shared;
    `target[task]` [pair] is the right one. Classes without pairs are left out.
    """

    predicted: dict[str, Int[Tensor, "layer head _"]]
    target: dict[str, Int[Tensor, " _"]]

    @cached_property
    def success(self) -> dict[str, Bool[Tensor, "layer head _"]]:
        """Whether the successor won, by task: [layer, head, pair]."""
        return {task: predicted == self.target[task] for task, predicted in self.predicted.items()}

    @cached_property
    def by_task(self) -> dict[str, Float[Tensor, "layer head"]]:
        """Share of pairs on which succession occurs, by task."""
        return {task: success.double().mean(-1) for task, success in self.success.items()}

    @cached_property
    def micro(self) -> Float[Tensor, "layer head"]:
        """Successes over all pairs: mostly a score of numbers, which make up most pairs."""
        return torch.cat(list(self.success.values()), dim=-1).double().mean(-1)

    @cached_property
    def macro(self) -> Float[Tensor, "layer head"]:
        """Mean over the classes of the share in the class. Rounded, or the last bits of a sum would part heads that tie."""
        return torch.stack(list(self.by_task.values())).mean(0).round(decimals=12)

    @cached_property
    def ranking(self) -> list[dict[str, int | float]]:
        """One row a head, best first: by macro, ties by micro, then by lowest layer and head."""
        n_layers, n_heads = self.macro.shape
        layer, head = np.divmod(np.arange(n_layers * n_heads), n_heads)
        columns = {"micro": self.micro, "macro": self.macro} | self.by_task
        values = [layer.tolist(), head.tolist(), *(score.flatten().tolist() for score in columns.values())]
        rows = [dict(zip(["layer", "head", *columns], row)) for row in zip(*values)]
        return sorted(rows, key=lambda row: (-row["macro"], -row["micro"]))

    @cached_property
    def table(self) -> pandas.DataFrame:
        """The ranking as a table."""
        import pandas  # here, because a score on the command line takes hardly longer than this line

        return pandas.DataFrame(self.ranking)

    @property
    def best(self) -> tuple[int, int]:
        """(layer, head) of the first in the ranking."""
        first = self.ranking[0]
        return int(first["layer"]), int(first["head"])


def score_heads(
    anatomy: Anatomy,
    classes: dict[str, ResolvedClass],
    *,
    source: Source = "mlp0",
    head_norm: bool = False,
    final_norm: bool = False,
    joint: bool = False,
    known: MutableMapping[int, list[Tensor]] | None = None,
) -> HeadScores:
    """Scores of all heads, one layer in memory at a time; canonical where nothing else is said.

    `source`, `head_norm` and `final_norm` are those of the effective OV circuit. With `joint` all ordinals
    of all classes compete, and places count through all classes, one after the other. Layers whose answers
    are `known` are left out, and those of the others added to it as they come.
    """
    scored = {task: resolved for task, resolved in classes.items() if len(resolved.source)}
    ends = list(accumulate(len(resolved.words) for resolved in scored.values()))
    starts = [0, *ends[:-1]]
    rivals = [(0, ends[-1])] * len(ends) if joint else list(zip(starts, ends))
    answers = anatomy.compute(
        _answers,
        torch.cat([resolved.token_ids for resolved in scored.values()]),
        [start + resolved.source for start, resolved in zip(starts, scored.values())],
        rivals,
        {} if known is None else known,
        source=source,
        head_norm=head_norm,
        final_norm=final_norm,
    )
    return HeadScores(
        predicted=dict(zip(scored, answers)),
        target={
            task: start - first + resolved.target
            for (task, resolved), start, (first, _) in zip(scored.items(), starts, rivals)
        },
    )


def _answers(
    anatomy: Anatomy,
    token_ids: Int[Tensor, " token"],
    read: Sequence[Int[Tensor, " _"]],
    rivals: Sequence[tuple[int, int]],
    known: MutableMapping[int, list[Tensor]],
    *,
    source: Source,
    **convention: bool,
) -> list[Int[Tensor, "layer head _"]]:
    """For each class the winner among its rivals, a range of the tokens, for each token that is read."""
    x = head_input(anatomy, token_ids, source=source)
    for layer in range(anatomy.n_layers):
        if layer in known:
            continue
        # All classes go through a layer together, so that its weights are read once.
        logits = effective_ov_logits(anatomy, x, token_ids, layer=layer, **convention)
        known[layer] = [
            strict_argmax(logits[:, rows.to(logits.device), first:last]).short().cpu()  # few bytes, for NDIF
            for rows, (first, last) in zip(read, rivals)
        ]
    return [torch.stack(layers) for layers in zip(*(known[layer] for layer in range(anatomy.n_layers)))]


class PaperScores(NamedTuple):
    """The paper's own score: `share` of `n` tokens on which each head puts a form of the successor strictly first."""

    share: Float[Tensor, "layer head"]
    n: int
    by_task: dict[str, Float[Tensor, "layer head"]]

    @property
    def best(self) -> tuple[int, int]:
        """(layer, head) with the highest share, the first of those that share it."""
        layer, head = divmod(int(self.share.argmax()), self.share.shape[1])
        return layer, head


def paper_scores(scores: HeadScores, forms: dict[str, ResolvedClass]) -> PaperScores:
    """The score of the paper (v1, section 2) from what the heads answered on `ordinals.surface_forms`.

    All surface forms of a class compete, tokens of all classes are pooled, and any form of the successor is right
    (the paper does not say whether another form counts as a failure). Norms and biases, of which it says nothing, are
    those of `scores`. A head above one half is a successor head by the paper's definition.
    """
    right = _any_form(scores, forms, scores.target)
    pooled = torch.cat(list(right.values()), dim=-1)
    by_task = {task: success.double().mean(-1) for task, success in right.items()}
    return PaperScores(pooled.double().mean(-1), pooled.shape[-1], by_task)


def paper_interval(scores: HeadScores, forms: dict[str, ResolvedClass], layer: int, head: int) -> tuple[float, float]:
    """95% interval of one head's score by the paper, forms of one word taken to stand or fall together."""
    right = _any_form(scores, forms, scores.target)
    success = torch.cat([outcomes[layer, head] for outcomes in right.values()]).numpy()
    words = [f"{task} {int(index)}" for task in right for index in forms[task].index[forms[task].source]]
    return intervals.clustered_wilson(success, np.unique(words, return_inverse=True)[1])


def paper_null(
    scores: HeadScores, forms: dict[str, ResolvedClass], *, n_permutations: int, seed: int
) -> Float[Tensor, " permutation"]:
    """The highest score by the paper of all heads when the successors of each class are permuted at random."""
    generator, highest = torch.Generator().manual_seed(seed), []
    for _ in range(n_permutations):
        right = _any_form(scores, forms, permuted_targets(scores.target, generator))
        highest.append(torch.cat(list(right.values()), dim=-1).double().mean(-1).max())
    return torch.stack(highest)


def permuted_targets(targets: dict[str, Int[Tensor, " _"]], generator: torch.Generator) -> dict[str, Int[Tensor, " _"]]:
    """The successors of each class, permuted among its pairs."""
    return {task: target[torch.randperm(len(target), generator=generator)] for task, target in targets.items()}


def _any_form(
    scores: HeadScores, forms: dict[str, ResolvedClass], targets: dict[str, Int[Tensor, " _"]]
) -> dict[str, Bool[Tensor, "layer head _"]]:
    """Whether each head answers with a form of the word that the target is a form of."""
    right = {}
    for task, predicted in scores.predicted.items():
        index = forms[task].index
        right[task] = (index[predicted.long()] == index[targets[task]]) & (predicted != TIE)
    return right


def strict_argmax(logits: Float[Tensor, "*batch member"]) -> Int[Tensor, "*batch"]:
    """Place of the highest logit, or TIE where two or more share it."""
    highest, place = logits.max(-1)
    alone = (logits == highest[..., None]).sum(-1) == 1
    return torch.where(alone, place, TIE)


def macro_interval(
    scores: HeadScores, layer: int, head: int, *, seed: int, n_resamples: int = 2000
) -> tuple[float, float]:
    """95% interval of one head's macro over the classes, hierarchical: 7 of 7 days is not taken as certain."""
    success = [outcomes[layer, head] for outcomes in scores.success.values()]
    right, n = [int(outcomes.sum()) for outcomes in success], [len(outcomes) for outcomes in success]
    return intervals.mean_of_shares(right, n, seed=seed, n_resamples=n_resamples)


class PermutationNull(NamedTuple):
    """Macro when the successors of each class are permuted at random."""

    macro: Float[Tensor, "permutation layer head"]
    highest: Float[Tensor, " permutation"]


def permutation_null(scores: HeadScores, *, n_permutations: int, seed: int) -> PermutationNull:
    """Macro of every head, and of the best one, under permuted successor targets.

    The same permutation is used for all heads, so that `highest` is the null of "the best head":
    a head picked out of many has to beat this one.
    """
    generator = torch.Generator().manual_seed(seed)
    macro = torch.zeros(n_permutations, *scores.macro.shape, dtype=torch.double)
    for task, predicted in scores.predicted.items():
        target = scores.target[task]
        for permutation in range(n_permutations):
            permuted = target[torch.randperm(len(target), generator=generator)]
            macro[permutation] += (predicted == permuted).double().mean(-1)
    macro = (macro / len(scores.predicted)).round(decimals=12)  # as the observed one, so that what ties does
    return PermutationNull(macro=macro, highest=macro.amax((1, 2)))
