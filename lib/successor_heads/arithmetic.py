"""Vector arithmetic: take one residue direction out of a token, put another in, ask the head.

::

    edits = all_edits(ordinal_words)
    k = own_share(x, directions, edits)                      # of each edit, as in the paper
    moved = pushes(directions, edits, scale=2 * k)
    outcome = pushed_outcome(parts, ordinal_words, edits, moved, layer=1, head=6)
    outcome.rate, outcome.interval

On reading x('fifth') - k f5 + k f7 the head should answer as for 'seventh': 'eighth' (paper, section 3.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from successor_heads.anatomy import Anatomy
from successor_heads.intervals import clustered_wilson
from successor_heads.ordinals import ResolvedClass
from successor_heads.ov_circuit import effective_ov_logits, head_input
from successor_heads.scores import TIE, strict_argmax

NONE = -1  # where a source has no successor in the class


@dataclass(frozen=True, eq=False)
class Edits:
    """Edits within one class, all arrays over `edit`; members are places in `ResolvedClass.words`.

    `source` is edited, `residue` is what its index is to be mod `modulus`, `target` the member with
    that index in the same ten, `answer` the target's successor, `original` the source's own, NONE if it
    has none. `index` is that of the class's members.
    """

    modulus: int
    source: Int[Tensor, " edit"]
    source_residue: Int[Tensor, " edit"]
    residue: Int[Tensor, " edit"]
    target: Int[Tensor, " edit"]
    answer: Int[Tensor, " edit"]
    original: Int[Tensor, " edit"]
    index: Int[Tensor, " member"]

    @property
    def moves(self) -> Bool[Tensor, " edit"]:
        """Whether the source gets a residue that it does not have."""
        return self.source_residue != self.residue

    @property
    def is_down(self) -> Bool[Tensor, " edit"]:
        """Whether the target comes before the source."""
        return self.index[self.target] < self.index[self.source]

    @property
    def is_up(self) -> Bool[Tensor, " edit"]:
        """Whether the target comes after the source."""
        return self.index[self.target] > self.index[self.source]

    def __getitem__(self, chosen: Bool[Tensor, " edit"] | Int[Tensor, " chosen"]) -> "Edits":
        """Some of the edits."""
        fields = ("source", "source_residue", "residue", "target", "answer", "original")
        return replace(self, **{name: getattr(self, name)[chosen] for name in fields})


@dataclass(frozen=True, eq=False)
class EditOutcome:
    """What a head, or a model, answered to edited vectors: `logits` over the members of the class."""

    edits: Edits
    logits: Float[Tensor, "edit member"]

    @cached_property
    def won(self) -> Int[Tensor, " edit"]:
        """The member with the highest logit, TIE where two share it."""
        return strict_argmax(self.logits)

    @cached_property
    def success(self) -> Bool[Tensor, " edit"]:
        """Whether the edit's answer alone has the highest logit of the class: success as in the paper."""
        return self.won == self.edits.answer

    @cached_property
    def right_residue(self) -> Bool[Tensor, " edit"]:
        """Whether the winner has at least the residue that the answer should have, in whatever ten."""
        index, modulus = self.edits.index, self.edits.modulus
        return (self.won != TIE) & (index[self.won] % modulus == index[self.edits.answer] % modulus)

    @cached_property
    def lead(self) -> Float[Tensor, " edit"]:
        """Logit of the edit's answer minus that of the source's own successor; NaN where there is none."""
        place = torch.stack([self.edits.answer, self.edits.original.clamp(min=0)], dim=1)
        answer, original = self.logits.gather(1, place).T
        return torch.where(self.edits.original == NONE, torch.nan, answer - original)

    @property
    def rate(self) -> float:
        """Share of successes among the edits that move the residue."""
        return self.success[self.edits.moves].double().mean().item()

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of `rate`, in which the edits of one source are not taken for independent."""
        moves = self.edits.moves
        return clustered_wilson(self.success[moves].numpy(), self.edits.source[moves].numpy())


def all_edits(resolved: ResolvedClass, *, modulus: int = 10, first: int = 0) -> Edits:
    """Every member with every residue, where the target and its successor are in the class.

    A ten begins at index `first` and every tenth one after it: 0 for 20 to 29. With 1 a ten is what is counted
    from one, and residue 0 stands for its last member, such as October (paper, Figure 7).
    """
    place = {int(index): member for member, index in enumerate(resolved.index)}
    successor = dict(zip(resolved.source.tolist(), resolved.target.tolist()))
    rows = []
    for index, member in place.items():
        for residue in range(modulus):
            target = place.get(index + (residue - first) % modulus - (index - first) % modulus)
            if target in successor:
                rows.append((member, index % modulus, residue, target, successor[target], successor.get(member, NONE)))
    source, own, residue, target, answer, original = torch.tensor(rows, dtype=torch.long).reshape(-1, 6).T
    return Edits(modulus, source, own, residue, target, answer, original, index=resolved.index)


def own_share(
    x: Float[Tensor, "member d_model"], directions: Float[Tensor, "residue d_model"], edits: Edits
) -> Float[Tensor, " edit"]:
    """How much of its own residue's direction, a unit vector, each edit's source has: x · f (paper, section 3.4)."""
    return (x[edits.source] * directions[edits.source_residue]).sum(-1)


def pushes(
    directions: Float[Tensor, "residue d_model"], edits: Edits, *, scale: float | Float[Tensor, " edit"]
) -> Float[Tensor, "edit d_model"]:
    """What each edit adds to its source's vector: scale · (f_residue - f_source's), one scale for all or one for each."""
    scale = torch.as_tensor(scale, dtype=directions.dtype, device=directions.device)
    return scale[..., None] * (directions[edits.residue] - directions[edits.source_residue])


def as_long_as(
    pushed: Float[Tensor, "edit d_model"], like: Float[Tensor, "edit d_model"]
) -> Float[Tensor, "edit d_model"]:
    """Pushes of the same directions, each as long as the one in `like`: controls are to be no weaker and no stronger."""
    return torch.nn.functional.normalize(pushed, dim=-1) * like.norm(dim=-1, keepdim=True)


def pushed_outcome(
    anatomy: Anatomy,
    resolved: ResolvedClass,
    edits: Edits,
    pushes: Float[Tensor, "edit d_model"],
    *,
    layer: int,
    head: int,
) -> EditOutcome:
    """What one head's effective OV circuit answers when each edit adds its push to the source's vector."""
    x = head_input(anatomy, resolved.token_ids)
    edited = x[edits.source] + pushes.to(x.device)
    logits = effective_ov_logits(anatomy, edited, resolved.token_ids, layer=layer)[head]
    return EditOutcome(edits, logits.cpu())  # beside the edits, wherever the model is


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
    moved = pushes(directions, edits, scale=scale)
    return pushed_outcome(anatomy, resolved, edits, moved, layer=layer, head=head)


def random_directions(
    like: Float[Tensor, "residue d_model"], *, seed: int, span: Float[Tensor, "token d_model"] | None = None
) -> Float[Tensor, "residue d_model"]:
    """Random directions of the same lengths: the control for what any push of this size does.

    With `span` they are random mixtures of these tokens around their mean, which lean to where the tokens differ
    most: the harder control.
    """
    generator, like = torch.Generator().manual_seed(seed), like.cpu()
    if span is None:
        rows = torch.randn(like.shape, generator=generator)
    else:
        rows = torch.randn(len(like), len(span), generator=generator) @ (span - span.mean(0)).cpu()
    return rows * (like.norm(dim=1) / rows.norm(dim=1))[:, None]


def wave_parts(
    x: Float[Tensor, "token d_model"], index: Int[Tensor, " token"], periods: Sequence[float]
) -> Float[Tensor, "period wave d_model"]:
    """Least-squares cosine and sine parts of x around its mean, of waves of these periods over the index."""
    angle = 2 * torch.pi * index[:, None] / torch.tensor(periods)
    waves = torch.stack([angle.cos(), angle.sin()], 2).flatten(1)
    waves = waves - waves.mean(0)
    # Of period 2 there is no sine over whole numbers, only rounding.
    found = torch.linalg.pinv(waves, rtol=1e-4) @ (x - x.mean(0))
    return found.unflatten(0, (-1, 2))


def turns(
    x: Float[Tensor, "edit d_model"],
    steps: Int[Tensor, " edit"],
    parts: Float[Tensor, "period wave d_model"],
    periods: Sequence[float],
) -> Float[Tensor, "edit d_model"]:
    """What turning each wave by `steps` adds to vectors around their list's mean: 2π · steps / period on each circle.

    A turn moves what the token itself has on the circle, where a pair of directions moves what tokens have on average.
    """
    flat = parts.flatten(0, 1)
    place = torch.view_as_complex((x @ torch.linalg.pinv(flat, rtol=1e-4)).unflatten(1, (-1, 2)).contiguous())
    angle = 2 * torch.pi * steps[:, None] / torch.tensor(periods)
    moved = place * torch.polar(torch.ones_like(angle), angle) - place
    return torch.view_as_real(moved).flatten(1) @ flat
