"""Lists that count, in frames that text has: with a donor for each, and what a model's logits say about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from successor_heads import depths, ordinals, prompts
from successor_heads.ordinals import CLASSES, OrdinalClass, ResolvedClass

PAD = -1


class Frame(NamedTuple):
    """What stands in front of a list, between its members, and between the last and the one that should follow."""

    before: str
    between: str
    behind: str

    def text(self, shown: Sequence[str]) -> str:
        """The text up to the member that should follow."""
        return self.before + self.between.join(shown) + self.behind

    @classmethod
    def of(cls, between: str) -> Frame:
        """A frame that goes on as it began; where words are set apart by spaces, one stands in front as well."""
        return cls(" " if between[-1] == " " else "", between, between)


class One(NamedTuple):
    """One list: `last` and `answer` are members of `resolved`, `at` is where the last one stands, from the end."""

    task: str
    frame: str
    start: int
    prompt: list[int]
    resolved: ResolvedClass
    last: int
    answer: int
    at: int


@dataclass(frozen=True, eq=False)
class Lists:
    """Several lists, and where in `token_ids` their members are: what is read of a model's logits."""

    every: list[One]
    length: int

    @property
    def prompts(self) -> list[list[int]]:
        """Token ids, the answer left out."""
        return [one.prompt for one in self.every]

    @property
    def task(self) -> np.ndarray:
        """The class of each list."""
        return np.array([one.task for one in self.every])

    @cached_property
    def token_ids(self) -> Int[Tensor, " token"]:
        """All members of all lists' classes, in the form that the frame gives them."""
        return torch.cat([one.resolved.token_ids for one in self.every]).unique()

    @cached_property
    def members(self) -> Int[Tensor, "prompt member"]:
        """For each list the places of its class's members in `token_ids`, PAD behind the last."""
        places = [torch.searchsorted(self.token_ids, one.resolved.token_ids) for one in self.every]
        return torch.nn.utils.rnn.pad_sequence(places, batch_first=True, padding_value=PAD)

    @cached_property
    def answer(self) -> Int[Tensor, " prompt"]:
        """Which member should follow."""
        return torch.tensor([one.answer for one in self.every])

    @cached_property
    def last(self) -> Int[Tensor, " prompt"]:
        """Which member is shown last."""
        return torch.tensor([one.last for one in self.every])

    @cached_property
    def cluster(self) -> Int[np.ndarray, " prompt"]:
        """A number for each (class, last ordinal): lists that show the same one stand or fall together."""
        names = [f"{one.task} {one.resolved.words[one.last]}" for one in self.every]
        return np.unique(names, return_inverse=True)[1]

    @cached_property
    def donor(self) -> Int[Tensor, " prompt"]:
        """For each list another of its class and frame, which ends in another ordinal: the next one, by turns."""
        groups: dict[tuple[str, str], list[int]] = {}
        for place, one in enumerate(self.every):
            groups.setdefault((one.task, one.frame), []).append(place)
        donor = torch.empty(len(self.every), dtype=torch.long)
        for group in groups.values():
            for place, other in zip(group, group[1:] + group[:1]):
                donor[place] = other
        return donor

    def kept(self, tasks: Iterable[str]) -> Lists:
        """The lists of these classes."""
        tasks = set(tasks)
        return Lists([one for one in self.every if one.task in tasks], self.length)

    def at(self, places: Iterable[int]) -> Lists:
        """The lists at these places."""
        return Lists([self.every[place] for place in places], self.length)

    def of_members(self, logits: Float[Tensor, "*variant prompt token"]) -> Float[Tensor, "*variant prompt member"]:
        """Logits of each list's own members, -inf behind the last."""
        places = self.members.clamp(min=0).expand(*logits.shape[:-1], -1)
        return logits.gather(-1, places).masked_fill(self.members == PAD, -torch.inf)

    def lead(self, logits: Float[Tensor, "*variant prompt token"]) -> Float[Tensor, "*variant prompt"]:
        """The right answer's logit less the mean of the other members."""
        own = self.of_members(logits)
        answer = self.answer.expand(own.shape[:-1])[..., None]
        others = own.scatter(-1, answer, -torch.inf)
        n_others = (self.members != PAD).sum(-1) - 1
        return own.gather(-1, answer)[..., 0] - others.masked_fill(others == -torch.inf, 0).sum(-1) / n_others

    def said(self, logits: Float[Tensor, "*variant prompt token"]) -> Int[Tensor, "*variant prompt"]:
        """Which member has the highest logit of its class."""
        return self.of_members(logits).argmax(-1)

    def right(self, logits: Float[Tensor, "*variant prompt token"]) -> Bool[Tensor, "*variant prompt"]:
        """Whether the right answer alone has the highest logit of its class."""
        own = self.of_members(logits)
        highest = own.amax(-1, keepdim=True)
        return (own.argmax(-1) == self.answer) & ((own == highest).sum(-1) == 1)

    def member_of_index(self, place: int, index: int) -> int | None:
        """The member of that list's class with this index in its order, from 1; round the circle where it is one."""
        one = self.every[place]
        ordinal_class = CLASSES[one.task]
        if ordinal_class.cyclic:
            index = (index - 1) % len(ordinal_class.words) + 1
        found = (one.resolved.index == index).nonzero()
        return int(found[0, 0]) if len(found) else None

    def index_of_last(self, place: int) -> int:
        """The index of the last ordinal that a list shows, from 1."""
        one = self.every[place]
        return int(one.resolved.index[one.last])


def make(
    tokenizer, frames: Mapping[str, Frame], *, length: int, most: int, parity: int | None, with_front: bool = True
) -> Lists:
    """Lists of all classes in all frames, at most so many of a class in a frame, evenly spread.

    Of the places where a list could start the even or the odd ones are taken (`parity` 0 or 1), or all (None). A list
    is left out when its last ordinal, or the one that should follow, is no single token there; and a class in a frame
    when fewer than two lists are left, for then there is no donor. `with_front` puts a beginning of text before each.
    """
    every: list[One] = []
    for ordinal_class in CLASSES.values():
        variants = [ordinals.resolve_class(tokenizer, ordinal_class, prefix=prefix) for prefix in (" ", "")]
        n = len(ordinal_class.words)
        starts = range(n if ordinal_class.cyclic else n - length)
        for frame_name, frame in frames.items():
            tried = [
                _one(
                    tokenizer, ordinal_class, variants=variants, frame_name=frame_name, frame=frame, start=start,
                    offsets=range(1 - length, 1), with_front=with_front,
                )
                for start in starts
                if parity is None or start % 2 == parity
            ]  # fmt: skip  # one list
            found = [one for one in tried if one is not None]
            if len(found) >= 2:
                spread = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int))
                every += [found[place] for place in spread]
    return Lists(every, length)


def reordered(
    tokenizer, lists: Lists, frames: Mapping[str, Frame], offsets: Sequence[int], *, same_end: bool = True
) -> dict[int, list[int]]:
    """By the place of a list a prompt that shows others in its frame, at `offsets` from its last ordinal.

    (0, 0, 0) is a constant list and (2, 1, 0) one that descends. Left out where the class has no such members, or where
    the tokens from the last ordinal on would be others; without `same_end` where there would be more of them, or fewer.
    """
    found: dict[int, list[int]] = {}
    for place, one in enumerate(lists.every):
        other = _one(
            tokenizer, CLASSES[one.task], variants=[one.resolved], frame_name=one.frame, frame=frames[one.frame],
            start=one.start, offsets=offsets,
        )  # fmt: skip  # one list
        if other is not None and (other.prompt[other.at :] == one.prompt[one.at :] or not same_end):
            if len(other.prompt) == len(one.prompt):
                found[place] = other.prompt
    return found


def behind(tokenizer, one: One, frame: Frame, front: str) -> One | None:
    """The list with a text in front of it, or None where its tokens would be others for it."""
    text = front + ("\n" if frame.between == "\n" else frame.before)
    return _one(
        tokenizer, CLASSES[one.task], variants=[one.resolved], frame_name=one.frame,
        frame=frame._replace(before=text), start=one.start, offsets=range(-2, 1),
    )  # fmt: skip  # one list


def fronted(tokenizer, tokens: Sequence[int]) -> list[int]:
    """Tokens of a prompt with a beginning of text before them, where the tokenizer does not put it there."""
    return list(tokens) if ordinals.tokens_in_front(tokenizer) else [*depths.front_of(tokenizer), *tokens]


def _one(
    tokenizer,
    ordinal_class: OrdinalClass,
    *,
    variants: Sequence[ResolvedClass],
    frame_name: str,
    frame: Frame,
    start: int,
    offsets: Sequence[int],
    with_front: bool = True,
) -> One | None:
    """A list of as many members as `offsets`, which are places from the last one; that would be in order from `start`."""
    n, last = len(ordinal_class.words), start + len(offsets) - 1
    places = [last + offset for offset in (*offsets, 1)]
    if not ordinal_class.cyclic and not all(0 <= place < n for place in places):
        return None
    *shown, answer = (ordinal_class.words[place % n] for place in places)
    prompt = frame.text(shown)
    whole = prompt + answer
    split = prompts.split_at(tokenizer, whole, len(prompt))
    last_split = prompts.split_at(tokenizer, whole, len(prompt) - len(frame.behind) - len(shown[-1]))
    if split is None or last_split is None:
        return None
    before, token = split
    if tokenizer.decode([last_split[1]]).strip() != shown[-1]:
        return None
    for resolved in variants:
        if token in resolved.token_ids and answer in resolved.words and shown[-1] in resolved.words:
            if with_front:
                before = fronted(tokenizer, before)
            at = len(last_split[0]) - len(split[0])
            return One(
                ordinal_class.task,
                frame_name,
                start,
                before,
                resolved,
                resolved.words.index(shown[-1]),
                resolved.words.index(answer),
                at,
            )
    return None
