"""Lists that a model has rarely read, large numbers, Roman numerals, days of other languages, invented orders; and ones that repeat.

Members may be more than one token. What is asked is one token all the same: the last digit of a number whose other digits
are given, or the first token of a word, among members whose first tokens differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from successor_heads import ordinals, prompts
from successor_heads.ordinals import CLASSES, ResolvedClass
from successor_heads.studies.models_of_today.lists import Frame, Lists, One, fronted
from successor_heads.studies.models_of_today.rules import RULES

LENGTH = int(RULES["prompts"]["length"])
MOST = int(RULES["prompts"]["most"])  # of a kind in a frame
WORDS = {
    "Roman numerals": (ordinals.ROMAN_NUMERALS, False),
    "days in French": (tuple("lundi mardi mercredi jeudi vendredi samedi dimanche".split()), True),
    "days in German": (tuple("Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag".split()), True),
    "days in Spanish": (tuple("lunes martes miércoles jueves viernes sábado domingo".split()), True),
}
NUMBERS = {"numbers below 100": (1, 10), "numbers of four digits": (100, 1000)}  # what stands before the last digit
INVENTED = "blip dax wug toma zorp fep quib nark mivo glem pliv stook jund yeb".split()
N_INVENTED = 6  # in an order
TAUGHT = "After {one} comes {next}."
DIGITS = tuple("0123456789")
ANEW = {
    "words repeated": "bread stone river cloud horse glass paper chair".split(),
    "days repeated": list(CLASSES["days"].words),
}
N_REPEATED = 4  # in an order
KINDS = (*NUMBERS, *WORDS, "invented orders")


class ListText(NamedTuple):
    """One list as text: what is shown, the part of the answer that is given, what can follow and what should."""

    shown: Sequence[str]
    given: str
    members: Sequence[str]
    last: str  # of the members, the one that stands last in the list
    answer: str
    front: str = ""  # what teaches the order


def make(tokenizer, frames: Mapping[str, Frame], *, seed: int, kinds: Sequence[str] = KINDS, most: int = MOST) -> Lists:
    """Up to `most` lists of each kind in each frame. A kind that the tokenizer cannot tell apart in a frame is left out there."""
    every: list[One] = []
    for kind in kinds:
        rng = np.random.default_rng(seed)
        for name, frame in frames.items():
            found: list[One] = []
            for told in _list_texts(kind, rng):
                one = _one(tokenizer, kind, name, frame, told)
                if one is not None:
                    found.append(one)
                if len(found) == most:
                    break
            # A donor has to end elsewhere. Orders that are drawn anew have other words.
            if len({one.last for one in found}) == len(found) >= 2 or kind not in {*NUMBERS, *WORDS}:
                every += found
    return Lists(every, LENGTH)


def _list_texts(kind: str, rng: np.random.Generator) -> Iterator[ListText]:
    """Lists of a kind in random order, each of which ends in another member; of invented orders, each in another order."""
    if kind in NUMBERS:
        for unit in rng.permutation(np.arange(LENGTH - 1, 9)):
            tens = int(rng.integers(*NUMBERS[kind]))
            shown = [f"{tens}{unit - before}" for before in reversed(range(LENGTH))]
            yield ListText(shown, str(tens), DIGITS, str(unit), str(unit + 1))
    elif kind in WORDS:
        words, is_cyclic = WORDS[kind]
        n = len(words)
        for start in rng.permutation(n if is_cyclic else n - LENGTH):
            *shown, answer = (words[(start + step) % n] for step in range(LENGTH + 1))
            yield ListText(shown, "", words, shown[-1], answer)
    elif kind in ANEW:
        for _ in range(10 * MOST):
            order = _without_successors(ANEW[kind], rng)
            end = int(rng.integers(1, N_REPEATED))
            shown = [*order, *order[:end]]
            yield ListText(shown, "", order, shown[-1], order[end])
    else:
        for _ in range(10 * MOST):
            order = rng.permutation(INVENTED)[:N_INVENTED].tolist()
            taught = [TAUGHT.format(one=one, next=after) for one, after in pairwise(order)]
            start = int(rng.integers(N_INVENTED - LENGTH))
            *shown, answer = order[start : start + LENGTH + 1]
            yield ListText(shown, "", order, shown[-1], answer, front=" " + " ".join(rng.permutation(taught)))


def _without_successors(words: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Some of the words in an order in which, round and round, none follows the one before it in their own order."""
    while True:
        places = rng.permutation(len(words))[:N_REPEATED]
        if not (np.diff(places, append=places[0]) % len(words) == 1).any():
            return [words[place] for place in places]


def _one(tokenizer, kind: str, frame_name: str, frame: Frame, told: ListText) -> One | None:
    """The list in tokens; None where the answer's token is another member's as well, or the text before it is not one's own."""
    behind_front = "\n" if frame.between == "\n" else frame.before
    text = frame._replace(before=told.front + behind_front if told.front else frame.before).text(told.shown)
    asked = text + told.given
    splits = {member: prompts.split_at(tokenizer, asked + member, len(asked)) for member in told.members}
    right = splits[told.answer]
    end = prompts.split_at(tokenizer, asked + told.answer, len(text) - len(frame.behind))
    if right is None or end is None:
        return None
    first = {member: split[1] for member, split in splits.items() if split is not None and split[0] == right[0]}
    kept = list({token: member for member, token in reversed(first.items())}.values())[::-1]
    if list(first.values()).count(right[1]) > 1 or len(kept) < 3 or told.last not in kept:
        return None
    resolved = ResolvedClass(
        task=kind,
        words=tuple(kept),
        token_ids=torch.tensor([first[member] for member in kept]),
        index=torch.tensor([list(told.members).index(member) + 1 for member in kept]),
        source=torch.empty(0, dtype=torch.long),
        target=torch.empty(0, dtype=torch.long),
        dropped=tuple(member for member in told.members if member not in kept),
        prefix="",
    )
    at = len(end[0]) - 1 - len(right[0])  # the last token of the last member
    last, answer = kept.index(told.last), kept.index(told.answer)
    return One(kind, frame_name, 0, fronted(tokenizer, right[0]), resolved, last, answer, at)
