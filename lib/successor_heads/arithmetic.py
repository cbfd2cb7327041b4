"""Vector arithmetic: take one residue direction out of a token, put another in, ask the head.

    outcome = edit_outcome(parts, numbers, directions, layer=1, head=6, scale=3.0)
    outcome.rate, outcome.interval

    x('fifth') - k f5 + k f7   and the head should answer as for 'seventh': 'eighth'   (paper, section 4)
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from successor_heads.anatomy import Anatomy
from successor_heads.ordinals import ResolvedClass
from successor_heads.ov_circuit import effective_ov_logits, head_input
from successor_heads.scores import strict_argmax, wilson


@dataclass(frozen=True, eq=False)
class Edits:
    """Edits within one class, all arrays over `edit`; members are places in `ResolvedClass.words`.

    `source` is edited, `residue` is what its index is to be mod `modulus`, `target` the member with
    that index in the same ten, `answer` the target's successor. `moves` is False where the source has
    the residue already, and the edit should change nothing.
    """

    modulus: int
    source: Int[Tensor, " edit"]
    source_residue: Int[Tensor, " edit"]
    residue: Int[Tensor, " edit"]
    target: Int[Tensor, " edit"]
    answer: Int[Tensor, " edit"]

    @property
    def moves(self) -> Bool[Tensor, " edit"]:
        return self.source_residue != self.residue


@dataclass(frozen=True, eq=False)
class EditOutcome:
    """What a head answered to edited vectors: `logits` over the members of the class."""

    edits: Edits
    logits: Float[Tensor, "edit member"]

    @cached_property
    def success(self) -> Bool[Tensor, " edit"]:
        """Whether the edit's answer alone has the highest logit of the class."""
        return strict_argmax(self.logits) == self.edits.answer

    @property
    def rate(self) -> float:
        """Share of successes among the edits that move the residue."""
        return self.success[self.edits.moves].double().mean().item()

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval of `rate`; edits of one source are not independent, so it is a narrow one."""
        moved = self.success[self.edits.moves]
        return wilson(int(moved.sum()), len(moved))


def all_edits(resolved: ResolvedClass, *, modulus: int = 10) -> Edits:
    """Every member with every residue, where the target and its successor are in the class."""
    place = {int(index): member for member, index in enumerate(resolved.index)}
    successor = dict(zip(resolved.source.tolist(), resolved.target.tolist()))
    rows = []
    for index, member in place.items():
        for residue in range(modulus):
            target = place.get(index - index % modulus + residue)
            if target in successor:
                rows.append((member, index % modulus, residue, target, successor[target]))
    columns = torch.tensor(rows, dtype=torch.long).reshape(-1, 5).T
    return Edits(modulus, *columns)


def edit_outcome(
    anatomy: Anatomy,
    resolved: ResolvedClass,
    directions: Float[Tensor, "residue d_model"],
    *,
    layer: int,
    head: int,
    scale: float,
) -> EditOutcome:
    """What one head's effective OV circuit answers to every edit of a class.

    `directions` are taken as they are, one a residue, so that `scale` is in units of their length.
    """
    edits = all_edits(resolved, modulus=len(directions))
    x = head_input(anatomy, resolved.token_ids)
    edited = x[edits.source] + scale * (directions[edits.residue] - directions[edits.source_residue])
    return EditOutcome(edits, effective_ov_logits(anatomy, edited, resolved.token_ids, layer=layer)[head])


def random_directions(like: Float[Tensor, "residue d_model"], *, seed: int) -> Float[Tensor, "residue d_model"]:
    """Random directions of the same lengths: the control for what any push of this size does."""
    rows = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))
    return rows * (like.norm(dim=1) / rows.norm(dim=1))[:, None]
