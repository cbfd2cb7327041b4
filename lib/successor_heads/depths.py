"""How heads map what stands at an ordinal's place after some blocks: the effective OV circuit at a depth.

::

    found = depths.search(model, classes)
    found.best                       # (5, 12, 0): after five blocks, L12H0
    depths.held_out(found)           # its score on pairs that did not choose it
    depths.null(found, n_permutations=300, seed=0).quantile(0.975)

The canonical score reads what MLP0 makes of a bare embedding. A model that takes four blocks to find out which ordinal
it reads is not seen by it. Here a token stands alone behind a beginning-of-text token, its stream is taken after d
blocks, and each head at or behind that depth maps it through its own norm. Depth 0 is the canonical score.

Whoever searches over heads and depths pays for it: the null is of the best over the same search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import anatomy, cached, ordinals
from successor_heads.anatomy import name_of
from successor_heads.errors import UserError
from successor_heads.ordinals import ResolvedClass
from successor_heads.ov_circuit import effective_ov_logits
from successor_heads.scores import permuted_targets, score_heads, strict_argmax

CANONICAL = 0  # the depth that stands for MLP0 of the bare embedding
# (depth, layer, head): the stream after so many blocks, read by that head.
Candidate = tuple[int, int, int]


def front_of(tokenizer) -> list[int]:
    """The token behind which a token can be studied alone: the beginning of a text, or of a document.

    What the tokenizer itself puts there, else its beginning-of-text token, else the one that ends a text.
    Empty for a tokenizer without any: then the caller has to put a neutral word there, or live with the first place.
    """
    usual = ordinals.tokens_in_front(tokenizer)
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return usual or [token for token in special if token is not None][:1]


def streams(
    model: TransformersModel, token_ids: Int[Tensor, " token"], *, front: Sequence[int]
) -> Float[Tensor, "depth token d_model"]:
    """The residual stream at each token's place after 0, 1, ... blocks, the token standing alone behind `front`.

    Raises UserError for a model on NDIF, whose blocks cannot be looked into one by one at a bearable price.
    """
    if model.remote is True:
        raise UserError("Depths are not to be had from NDIF: use a model that fits on this machine.")
    intact = cached.run(model, [[*front, int(token)] for token in token_ids])
    return torch.stack([stream.float().cpu() for stream in intact.streams])


@dataclass(frozen=True, eq=False)
class Search:
    """What every head answers on every pair, read at every depth up to its own layer.

    `predicted[task]` [candidate, pair] is the member with the highest logit, `scores.TIE` where it is shared; `source`
    and `target` [pair] are the member that is read and the one that is right. `candidates` says which rows are which.
    """

    candidates: list[Candidate]
    predicted: dict[str, Int[Tensor, "candidate _"]]
    source: dict[str, Int[Tensor, " _"]]
    target: dict[str, Int[Tensor, " _"]]

    @cached_property
    def macro(self) -> Float[Tensor, " candidate"]:
        """Mean over the classes of the share of pairs whose successor comes first."""
        return _macro(self.predicted, self.target)

    @cached_property
    def copying(self) -> Float[Tensor, " candidate"]:
        """The same share of pairs whose member that is read comes first."""
        return _macro(self.predicted, self.source)

    @property
    def best(self) -> Candidate:
        """The candidate with the highest macro; of those that share it, the first."""
        return self.candidates[int(self.macro.argmax())]

    def of_depths(self, kept: Sequence[int]) -> Search:
        """The part of the search that reads at these depths."""
        return self.of_rows([row for row, (depth, _, _) in enumerate(self.candidates) if depth in kept])

    def of_rows(self, rows: Sequence[int]) -> Search:
        """The part of the search that has these candidates."""
        predicted = {task: answers[list(rows)] for task, answers in self.predicted.items()}
        return Search([self.candidates[row] for row in rows], predicted, self.source, self.target)


def search(
    model: TransformersModel,
    classes: dict[str, ResolvedClass],
    *,
    front: Sequence[int] | None = None,
    head_norm: bool = True,
    final_norm: bool = False,
) -> Search:
    """Answers of all heads at all depths. `front` is what stands before each token: `front_of` where it is left out."""
    parts = anatomy.of(model)
    canonical = score_heads(parts, classes)
    scored = {task: classes[task] for task in canonical.predicted}
    token_ids = torch.cat([resolved.token_ids for resolved in scored.values()])
    at_depth = streams(model, token_ids, front=front_of(model.tokenizer) if front is None else front)
    every = [(CANONICAL, layer, head) for layer in range(parts.n_layers) for head in range(parts.n_heads)]
    found = {task: [predicted.flatten(0, 1).short()] for task, predicted in canonical.predicted.items()}
    norms = {"head_norm": head_norm, "final_norm": final_norm}
    for layer in range(1, parts.n_layers):
        for depth in range(1, layer + 1):
            logits = effective_ov_logits(parts, at_depth[depth], token_ids, layer=layer, **norms)
            start = 0
            for task, resolved in scored.items():
                end = start + len(resolved.words)
                own = logits[:, start:end, start:end][:, resolved.source]
                found[task].append(strict_argmax(own).short().cpu())
                start = end
            every += [(depth, layer, head) for head in range(parts.n_heads)]
    return Search(
        every,
        {task: torch.cat(rows) for task, rows in found.items()},
        {task: resolved.source for task, resolved in scored.items()},
        {task: resolved.target for task, resolved in scored.items()},
    )


class HeldOut(NamedTuple):
    """A search whose halves judge each other: what each half of the pairs chose, and what that scores on the rest."""

    chosen: tuple[Candidate, Candidate]
    macro: float  # mean over both ways
    copying: float


def held_out(found: Search, *, head: tuple[int, int] | None = None) -> HeldOut:
    """The best of one half of each class's pairs, scored on the other half, and the other way round.

    Of all candidates, or of those of one `head`, (layer, head): then the halves choose nothing but its depth.
    """
    if head is not None:
        found = found.of_rows([row for row, (_, *its) in enumerate(found.candidates) if tuple(its) == head])
    halves = [{task: torch.arange(len(target)) % 2 == half for task, target in found.target.items()} for half in (0, 1)]
    chosen = [int(_macro(found.predicted, found.target, half).argmax()) for half in halves]
    others = list(zip(chosen, halves[::-1]))
    shares = [
        [float(_macro(found.predicted, right, rest)[choice]) for choice, rest in others]
        for right in (found.target, found.source)
    ]
    first, second = (found.candidates[choice] for choice in chosen)
    return HeldOut((first, second), *(sum(both) / 2 for both in shares))


def null(found: Search, *, n_permutations: int, seed: int) -> Float[Tensor, " permutation"]:
    """The highest macro of the whole search when the successors of each class are permuted at random."""
    generator, highest = torch.Generator().manual_seed(seed), torch.zeros(n_permutations)
    for permutation in range(n_permutations):
        highest[permutation] = _macro(found.predicted, permuted_targets(found.target, generator)).max()
    return highest


class Summary(NamedTuple):
    """A search in a few numbers: the best of it and the best at MLP0, each with its null, and what was held out."""

    best: Candidate
    macro: float
    null: float
    n_searched: int
    canonical: Candidate
    canonical_macro: float
    canonical_null: float
    held_out: HeldOut


def summary(found: Search, *, seed: int, n_permutations: int = 300, level: float = 0.975) -> Summary:
    """The summary of a search; a null is what the best does not exceed in a share `level` of the permutations."""
    canonical = found.of_depths([CANONICAL])
    nulls = [null(each, n_permutations=n_permutations, seed=seed).quantile(level).item() for each in (found, canonical)]
    best, at_mlp0 = (float(each.macro.max()) for each in (found, canonical))
    n = len(found.candidates)
    return Summary(found.best, best, nulls[0], n, canonical.best, at_mlp0, nulls[1], held_out(found))


def sentences(of: Summary) -> str:
    """What `successor-heads score --depth auto` says of a search."""
    depth, layer, head = of.best
    _, at_layer, at_head = of.canonical
    shown = of.canonical_macro > of.canonical_null
    through = f"{name_of((at_layer, at_head))} {of.canonical_macro:.2f}" if shown else "no successor head"
    rest = f"null {of.canonical_null:.2f}" if shown else f"best {of.canonical_macro:.2f}, null {of.canonical_null:.2f}"
    chosen = " and ".join(f"{name_of((layer, head))} {_at(depth)}" for depth, layer, head in of.held_out.chosen)
    return (
        f"Through MLP0: {through} ({rest}). Over {of.n_searched:,} heads at depths: {name_of((layer, head))} {of.macro:.2f} "
        f"{_at(depth)} (null {of.null:.2f}). Each half of the pairs chooses {chosen}, which score "
        f"{of.held_out.macro:.2f} on the other half."
    )


def _at(depth: int) -> str:
    return "through MLP0" if depth == CANONICAL else f"after {depth} block{'s' * (depth > 1)}"


def _macro(
    predicted: dict[str, Tensor], right: dict[str, Tensor], kept: dict[str, Bool[Tensor, " _"]] | None = None
) -> Float[Tensor, " candidate"]:
    """Mean over the classes of the share of pairs, or of those that are kept, on which the right member is named."""
    shares = []
    for task, answers in predicted.items():
        hits = answers == right[task].short()
        hits = hits if kept is None else hits[:, kept[task]]
        if hits.shape[1]:
            shares.append(hits.double().mean(1))
    return torch.stack(shares).mean(0).round(decimals=12).float()  # rounded, so that what ties does
