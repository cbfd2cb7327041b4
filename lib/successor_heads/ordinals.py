"""The eight ordinal classes, and what a tokenizer makes of them.

::

    classes = ordinals.resolve(model.tokenizer)
    classes["days"].words        # ('Monday', ..., 'Sunday')

A class is resolved for each tokenizer because words are not single tokens
everywhere: Llama-2 has no token for ' 27', GPT-NeoX none for 'eleven' without
a space. A pair (word, successor) counts when both ends are single tokens.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from successor_heads.errors import UserError


@dataclass(frozen=True)
class OrdinalClass:
    """Words in their order; `cyclic` when the last is followed by the first."""

    task: str
    words: tuple[str, ...]
    cyclic: bool = False


CLASSES: dict[str, OrdinalClass] = {
    ordinal_class.task: ordinal_class
    for ordinal_class in (
        OrdinalClass("numbers", tuple(str(number) for number in range(1, 201))),
        OrdinalClass(
            "number_words",
            tuple(
                "one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
                "fifteen sixteen seventeen eighteen nineteen twenty".split()
            ),
        ),
        OrdinalClass(
            "ordinal_words",
            tuple("first second third fourth fifth sixth seventh eighth ninth tenth".split()),
        ),
        OrdinalClass(
            "days",
            tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()),
            cyclic=True,
        ),
        OrdinalClass("day_prefixes", tuple("Mon Tue Wed Thu Fri Sat Sun".split()), cyclic=True),
        OrdinalClass(
            "months",
            tuple("January February March April May June July August September October November December".split()),
            cyclic=True,
        ),
        OrdinalClass(
            "month_prefixes",
            tuple("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()),
            cyclic=True,
        ),
        OrdinalClass("letters", tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")),
    )
}
TASKS: tuple[str, ...] = tuple(CLASSES)

# Held out of every fit: chapters use them as a task that no method has seen.
ROMAN_NUMERALS: tuple[str, ...] = tuple(
    "I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX".split()
)


@dataclass(frozen=True, eq=False)
class ResolvedClass:
    """One ordinal class in the tokens of one tokenizer.

    `words`, `token_ids` and `index` run over the members, the words that are single tokens.
    `index` is the place in the full class, from 1: Monday is 1, 27 is 27.
    `source` and `target` run over the pairs and point into the members.
    """

    task: str
    words: tuple[str, ...]
    token_ids: Int[Tensor, " member"]
    index: Int[Tensor, " member"]
    source: Int[Tensor, " pair"]
    target: Int[Tensor, " pair"]
    dropped: tuple[str, ...]
    prefix: str


def resolve(tokenizer) -> dict[str, ResolvedClass]:
    """All eight classes in the tokens of `tokenizer`, each with or without a leading space.

    Whichever variant gives more pairs is taken, the leading space on a tie. A class that the
    tokenizer cannot express comes back without members.
    Raises UserError when no class has a pair.
    """
    resolved = {}
    for task, ordinal_class in CLASSES.items():
        variants = [resolve_class(tokenizer, ordinal_class, prefix=prefix) for prefix in (" ", "")]
        resolved[task] = max(variants, key=lambda variant: len(variant.source))
    if not any(len(resolved_class.source) for resolved_class in resolved.values()):
        raise UserError(
            "This tokenizer writes no two successive members of any ordinal class (numbers, days, "
            "months, ...) as single tokens, so there is nothing to score: choose another model."
        )
    return resolved


def resolve_class(tokenizer, ordinal_class: OrdinalClass, *, prefix: str) -> ResolvedClass:
    """`ordinal_class` in the tokens of `tokenizer`, every word written after `prefix`."""
    found = {word: single_token(tokenizer, prefix + word) for word in ordinal_class.words}
    words = tuple(word for word, token_id in found.items() if token_id is not None)
    place = {word: member for member, word in enumerate(words)}

    followers = ordinal_class.words[1:]
    if ordinal_class.cyclic:
        followers += ordinal_class.words[:1]
    pairs = [
        (place[word], place[follower])
        for word, follower in zip(ordinal_class.words, followers)
        if word in place and follower in place
    ]
    return ResolvedClass(
        task=ordinal_class.task,
        words=words,
        token_ids=torch.tensor([found[word] for word in words], dtype=torch.long),
        index=torch.tensor([ordinal_class.words.index(word) + 1 for word in words], dtype=torch.long),
        source=torch.tensor([source for source, _ in pairs], dtype=torch.long),
        target=torch.tensor([target for _, target in pairs], dtype=torch.long),
        dropped=tuple(word for word in ordinal_class.words if word not in place),
        prefix=prefix,
    )


def surface_forms(tokenizer) -> dict[str, ResolvedClass]:
    """Every class in all its surface forms, for the paper's own score (v1, section 2).

    Each word with and without a leading space, as it stands and capitalised, as far as it is a single token.
    Of the forms of a successor, `target` is the one written like the source where there is one. As the paper has it,
    days and months go round and no other class does.
    """
    resolved = {}
    for task, ordinal_class in CLASSES.items():
        forms = [(prefix, change) for prefix in (" ", "") for change in (str, str.capitalize)]
        found: dict[int, tuple[int, str, tuple]] = {}  # token id: place, text, form; a form that repeats another is it
        for place, word in enumerate(ordinal_class.words):
            for prefix, change in forms:
                token_id = single_token(tokenizer, prefix + change(word))
                if token_id is not None:
                    found.setdefault(token_id, (place, prefix + change(word), (prefix, change)))
        token_ids = list(found)
        places = [place for place, _, _ in found.values()]
        n, goes_round = len(ordinal_class.words), task in ("days", "months")
        pairs = []
        for source, (place, _, form) in enumerate(found.values()):
            following = (place + 1) % n if goes_round else place + 1
            targets = [member for member, other in enumerate(places) if other == following]
            if targets:
                alike = [member for member in targets if found[token_ids[member]][2] == form]
                pairs.append((source, (alike or targets)[0]))
        resolved[task] = ResolvedClass(
            task=task,
            words=tuple(text for _, text, _ in found.values()),
            token_ids=torch.tensor(token_ids, dtype=torch.long),
            index=torch.tensor([place + 1 for place in places], dtype=torch.long),
            source=torch.tensor([source for source, _ in pairs], dtype=torch.long),
            target=torch.tensor([target for _, target in pairs], dtype=torch.long),
            dropped=tuple(word for place, word in enumerate(ordinal_class.words) if place not in places),
            prefix="",
        )
    return resolved


def single_token(tokenizer, text: str) -> int | None:
    """The one token that writes `text` in the middle of a text, or None if there is no such token.

    It must decode to `text` again: an unknown-word token, or one that lost its case, is not it.
    """
    # SentencePiece adds a space at the start of a text and drops it on decoding, so ' Monday' and
    # 'Monday' look alike there. Behind a line break they differ, in every tokenizer.
    before = tokenizer.encode("\n", add_special_tokens=False)
    ids = tokenizer.encode("\n" + text, add_special_tokens=False)
    if len(ids) != len(before) + 1 or ids[:-1] != before:
        return None
    decoded = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    return ids[-1] if decoded == tokenizer.decode(before) + text else None


# A text of several kinds of tokens, so that it cannot be taken for what a tokenizer adds.
PROBE = "One 1 A\nMonday, 27."


def tokens_in_front(tokenizer) -> list[int]:
    """What `tokenizer` puts before every text, such as BOS; none for most. What it may put behind is not among it.

    A model was trained with the former, while the latter (EOS, SEP) would be read as the last token of a prompt.
    Raises UserError for a tokenizer that changes the text between the two.
    """
    bare, usual = (tokenizer.encode(PROBE, add_special_tokens=special) for special in (False, True))
    for start in range(len(usual) - len(bare), -1, -1):
        if usual[start : start + len(bare)] == bare:
            return usual[:start]
    raise UserError(
        "This tokenizer puts tokens of its own among those of a text, so that no position of it can be relied on: take "
        "the post_processor out of its tokenizer.json, or choose another model."
    )
