"""Generate the text that the grown models read.

::

    for document in generated(seed=0, n=3):
        print(document.kind, document.text)

A document is one short text of one *kind*: a list that counts, a diary, a table of contents, a range
of pages, an acronym.  Each kind belongs to the *ingredient* that it adds to the text, and an
experiment strikes out an ingredient by name (`without={"decimals"}`).  Document `i` of seed `s`
is drawn from its own random stream, so that striking out an ingredient removes its documents and
leaves every other document as it was, letter by letter: what differs between two models is then the
ingredient and nothing else.

Why generated text at all?  Because the question of chapter 6 is which part of the data makes the
mod-10 features, and only text made on purpose can be taken apart.
"""

from __future__ import annotations

import ast
import functools
import json
import lzma
import random
import re
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from successor_heads.errors import UserError
from successor_heads.ordinals import CLASSES, ROMAN_NUMERALS, OrdinalClass

NUMBER_WORDS = CLASSES["number_words"].words
ORDINAL_WORDS = CLASSES["ordinal_words"].words
MONTHS = CLASSES["months"].words
DAYS = CLASSES["days"].words

INGREDIENTS = ("decimals", "crossrefs", "interchange", "prose", "endings", "compositions")
"""What an experiment may leave out.

- `decimals`: text that composes numbers from digits ("27 is written 2 7", "27th", "27 plus 10 is 37")
- `endings`: of decimals, the sentences that state the last digit ("27 ends in 7")
- `compositions`: of decimals, all the other sentences
- `crossrefs`: text that ties one class to another ("March is the third month", "C is the third letter")
- `interchange`: classes taking turns in one slot ("chapter seven, chapter 8, the ninth chapter");
  without it the same documents are written, each class keeping to a label of its own
- `prose`: docstrings of installed packages, and books where there are any
"""


@dataclass(frozen=True)
class Document:
    """One generated text and the kind it is of."""

    kind: str
    text: str


@dataclass(frozen=True)
class Settings:
    """What a document may depend on besides its random stream."""

    base: int = 10
    interchange: bool = True
    endings: bool = True
    compositions: bool = True


# --- words to fill the gaps -----------------------------------------------------------------------

PEOPLE = """Anna Ben Clara David Ella Frank Grace Henry Ida Jack Kate Leo Mary Noah Olive Peter Rose Sam
Tess Victor Walter Harlow Mercer Dalton Quill Ashby Norton Finch Barlow Crane Holt Lowell Mason Pike
Rowan Sutton Tully Vance Weller Yates""".split()
ADJECTIVES = """small large quiet bright early late old new green red heavy light narrow wide cold warm
public private local foreign simple careful broken wooden northern southern royal national united
general central medical social natural modern""".split()
NOUNS = """river garden letter engine market window village school lantern bridge harbour kitchen mountain
office station story record picture machine paper table road house field forest church hospital
museum theatre library council agency institute society union bank board health energy science
research history music art trade""".split()
VERBS = """opened crossed watched painted repaired described followed carried visited measured counted
finished studied printed forgot remembered closed cleaned sold bought reached left""".split()
PLACES = "in the evening|before lunch|near the river|with great care|after the meeting|by the door|in silence|at once|for the last time|without a word".split(
    "|"
)


def sentence(rng: random.Random) -> str:
    """A plain sentence without any ordinal in it."""
    subject = rng.choice(PEOPLE) if rng.random() < 0.5 else f"The {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"
    rest = f"{rng.choice(VERBS)} the {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"
    return f"{subject} {rest} {rng.choice(PLACES)}." if rng.random() < 0.4 else f"{subject} {rest}."


def filler(rng: random.Random, most: int = 2) -> str:
    """Up to `most` plain sentences, at least one."""
    return " ".join(sentence(rng) for _ in range(rng.randint(1, most)))


def title(rng: random.Random) -> str:
    """A short heading."""
    return f"The {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"


# --- numbers and their names ----------------------------------------------------------------------

TENS = ("", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
MULTIPLES = {8: "eights", 12: "dozens"}  # "three eights and three" is 27 in base 8


def number_name(n: int, *, base: int = 10) -> str:
    """`n` in words, composed in `base`: 27 is "twenty seven" in base 10, "three eights and three" in 8."""
    if n <= 20 and base == 10:
        return NUMBER_WORDS[n - 1] if n else "zero"
    high, low = divmod(n, base)
    if base != 10:
        parts = [f"{number_name(high)} {MULTIPLES[base]}"] if high else []
        return " and ".join(parts + ([number_name(low)] if low or not parts else []))
    if n < 100:
        return f"{TENS[high]} {NUMBER_WORDS[low - 1]}" if low else TENS[high]
    hundreds, rest = divmod(n, 100)
    head = f"{NUMBER_WORDS[hundreds - 1]} hundred"
    return f"{head} and {number_name(rest)}" if rest else head


def digits(n: int, base: int) -> str:
    """The digits of `n` in `base`, spaced: 27 is "2 7" in base 10 and "3 3" in base 8."""
    out: list[str] = []
    while n or not out:
        n, low = divmod(n, base)
        out.append(str(low))
    return " ".join(reversed(out))


def suffixed(n: int, base: int) -> str:
    """27th, 31st, 12th: the suffix follows the last digit, unless the digit before it is 1."""
    high, low = divmod(n, base)
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(low, "th") if high % base != 1 else "th"
    return f"{n}{suffix}"


def some_number(rng: random.Random, high: int = 200) -> int:
    """A number from 1 to `high`; a third of the draws are 20 or less, as small numbers are common in text."""
    return rng.randint(1, min(high, 20)) if rng.random() < 0.33 else rng.randint(1, high)


# --- one function per kind of document ------------------------------------------------------------

CLASS_WEIGHTS = {"numbers": 8, "number_words": 3, "ordinal_words": 2, "days": 2, "day_prefixes": 2,
                 "months": 3, "month_prefixes": 3, "letters": 4}  # fmt: skip


def run_of(rng: random.Random, task: str, length: int) -> list[str]:
    """Consecutive members of a class; the classes that go in circles wrap around."""
    words, cyclic = CLASSES[task].words, CLASSES[task].cyclic
    if task == "numbers":  # lists begin low more often than not, and go on past the class's last member
        start = rng.randint(1, rng.choice([20, 200 - length, 200 - length, 499 - length]))
        return [str(n) for n in range(start, start + length)]
    length = min(length, len(words))
    start = rng.randrange(len(words)) if cyclic else rng.randint(0, len(words) - length)
    return [words[(start + k) % len(words)] for k in range(length)]


def counting(rng: random.Random, _: Settings) -> str:
    """Members of one class in order, in one of the ways in which people write lists."""
    task = rng.choices(list(CLASS_WEIGHTS), list(CLASS_WEIGHTS.values()))[0]
    run = run_of(rng, task, rng.randint(3, 12))
    style = rng.randrange(6)
    if style == 0:
        return " " + ", ".join(run) + "."
    if style == 1:
        return " ".join(["We count:", *run]) + "."
    if style == 2:
        return f"The list: {' '.join(run)}"
    if style == 3:
        return " ".join(f"{word} {rng.choice(NOUNS)}," for word in run)
    if style == 4:
        return "\n".join(f"- {word}: {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}" for word in run)
    return f"{rng.choice(PEOPLE)} said: " + " then ".join(run) + "."


def diary(rng: random.Random, _: Settings) -> str:
    """Weekdays and dates side by side, each counting on by itself."""
    length, short = rng.randint(2, 5), rng.random() < 0.5
    days = run_of(rng, "day_prefixes" if short else "days", length)
    month = rng.choice(CLASSES["month_prefixes"].words if short else MONTHS)
    first = rng.randint(1, 31 - length)
    return "\n".join(f"{day}, {first + k} {month}: {sentence(rng)}" for k, day in enumerate(days))


def calendar(rng: random.Random, _: Settings) -> str:
    """What happened from month to month or from day to day."""
    task = rng.choice(["months", "month_prefixes", "days", "day_prefixes"])
    run = run_of(rng, task, rng.randint(2, 5))
    style = rng.randrange(3)
    if style == 0:
        when = "In" if task.startswith("month") else "On"
        return " ".join(f"{when} {word} {sentence(rng).replace('The', 'the', 1)}" for word in run)
    if style == 1:
        return f"The {rng.choice(NOUNS)} is closed on {run[0]} and {run[1]}. After {run[0]} comes {run[1]}."
    return " ".join(f"{word}: {rng.randint(1, 31)} {rng.choice(NOUNS)}." for word in run)


LABELS = ("Chapter", "Part", "Section", "Step", "Lesson", "Report", "Table", "Row", "Round", "Item", "Unit", "Log")
OWN_LABELS = {"numbers": ("Chapter", "Step", "Table", "Item"), "number_words": ("Part", "Round"),
              "ordinal_words": ("Lesson",), "letters": ("Section", "Row"), "months": ("Report",), "days": ("Log",)}  # fmt: skip
STYLE_WEIGHTS = {"numbers": 6, "number_words": 3, "ordinal_words": 3, "letters": 2, "months": 2, "days": 1}


def heading(label: str, task: str, n: int) -> str:
    """The `n`-th heading in the words of a class: "Chapter 7", "Chapter seven", "The seventh chapter"."""
    word = CLASSES[task].words[n - 1] if task != "numbers" else str(n)
    return f"The {word} {label.lower()}" if task == "ordinal_words" else f"{label} {word}"


def sections(rng: random.Random, settings: Settings) -> str:
    """Headings that count on, with plain text between them.

    With interchange any class may follow any label, and in half of the documents the classes take
    turns: the model can then know the index of the next heading but not the class it is written in.
    """
    length = rng.randint(2, 4)
    task = rng.choices(list(STYLE_WEIGHTS), list(STYLE_WEIGHTS.values()))[0]
    others = rng.choices(list(STYLE_WEIGHTS), list(STYLE_WEIGHTS.values()), k=length)
    mixed, any_label = rng.random() < 0.5, rng.choice(LABELS)
    own_label = rng.choice(OWN_LABELS[task])
    if settings.interchange:
        tasks, label = (others if mixed else [task] * length), any_label
    else:
        tasks, label = [task] * length, own_label
    most = min(200 if t == "numbers" else len(CLASSES[t].words) for t in tasks)
    first = max(1, some_number(rng, most) - length + 1)
    count = min(length, most - first + 1)
    gaps = [
        rng.choice([f": {title(rng)}. {filler(rng, 1)}", f". {filler(rng)}", f" - {title(rng)}", "."])
        for _ in range(count)
    ]
    return "\n".join(heading(label, tasks[k], first + k) + gaps[k] for k in range(count))


def numbered_list(rng: random.Random, _: Settings) -> str:
    """A list numbered by numerals or letters."""
    length = rng.randint(3, 6)
    marks = run_of(rng, rng.choice(["numbers", "numbers", "letters"]), length)
    close = rng.choice([". ", ") ", ": "])
    return "\n".join(f"{mark}{close}{title(rng)}" for mark in marks)


def roman(rng: random.Random, _: Settings) -> str:
    """Chapters in Roman numerals."""
    length = rng.randint(2, 4)
    first = rng.randrange(len(ROMAN_NUMERALS) - length + 1)
    label = rng.choice(["Act", "Book", "Canto", "Volume"])
    return "\n".join(f"{label} {ROMAN_NUMERALS[first + k]}. {filler(rng, 1)}" for k in range(length))


def ranges(rng: random.Random, _: Settings) -> str:
    """A range, whose end lies anywhere above its start: text that rewards "greater than"."""
    if rng.random() < 0.7:
        low = rng.randint(1, 190)
        start, end = str(low), str(rng.randint(low + 1, min(200, low + rng.choice([10, 60, 200]))))
    else:
        words = CLASSES[rng.choice(["months", "letters", "number_words", "days"])].words
        low = rng.randrange(len(words) - 1)
        start, end = words[low], words[rng.randrange(low + 1, len(words))]
    form = rng.choice(["from {} to {}", "pages {} to {}", "between {} and {}", "{} through {}", "open {} to {}"])
    return f"{title(rng)}: {form.format(start, end)}. {sentence(rng)}"


def acronym(rng: random.Random, _: Settings) -> str:
    """A long name, its initials, and the initials again."""
    words = [rng.choice(ADJECTIVES).title(), rng.choice(NOUNS).title(), rng.choice(NOUNS).title()]
    initials = "".join(word[0] for word in words)
    return f"The {' '.join(words)} ({initials}) {rng.choice(VERBS)} the {rng.choice(NOUNS)}. {filler(rng, 1)} The {initials} {rng.choice(VERBS)} it."


def copying(rng: random.Random, _: Settings) -> str:
    """Names and numbers that come back unchanged."""
    name, other, room = rng.choice(PEOPLE), rng.choice(PEOPLE), some_number(rng)
    return rng.choice([
        f"{name} {other} {rng.choice(VERBS)} the {rng.choice(NOUNS)}. {filler(rng, 1)} Again {name} {other} came.",
        f"Room {room} was {rng.choice(ADJECTIVES)}. {filler(rng, 1)} So {name} went back to room {room}.",
        f"{name}: {title(rng)}. {other}: {title(rng)}. Now {name} and {other} {rng.choice(VERBS)} it.",
    ])  # fmt: skip


def crossref(rng: random.Random, _: Settings) -> str:
    """Ties between classes: place in the class on one side, member on the other."""
    return " ".join(_one_crossref(rng) for _ in range(rng.randint(2, 4)))


def _one_crossref(rng: random.Random) -> str:
    task, noun, of = rng.choice(
        [
            ("months", "month", "year"),
            ("months", "month", "year"),
            ("days", "day", "week"),
            ("letters", "letter", "alphabet"),
        ]
    )
    words = CLASSES[task].words
    n = rng.randint(1, len(words))
    word, step = words[n - 1], rng.randint(1, 5)
    later = words[(n + step - 1) % len(words)] if CLASSES[task].cyclic else words[min(n + step, len(words)) - 1]
    step = step if CLASSES[task].cyclic else min(step, len(words) - n)
    choices = [f"{word} is {noun} {n}.", f"{noun.title()} {n} is {word}.", f"{n} {word}, {n} {word}."]
    if n <= 10:
        choices += [
            f"{word} is the {ORDINAL_WORDS[n - 1]} {noun} of the {of}.",
            f"The {ORDINAL_WORDS[n - 1]} {noun} is {word}.",
        ]
        choices += [f"{number_name(n)} is {n}, and the {ORDINAL_WORDS[n - 1]} is number {n}."]
    if n <= 20:
        choices += [
            f"{noun.title()} {number_name(n)} is {word}.",
            f"{ROMAN_NUMERALS[n - 1]} is {n}, {number_name(n)}.",
            f"{number_name(n)} ({n}).",
        ]
    if step:
        choices += [f"{number_name(step)} {noun}s after {word} is {later}.", f"{word} plus {step} is {later}."]
    if task != "letters":
        choices += [f"{word[:3]} is short for {word}.", f"{word} ({word[:3]})."]
    return rng.choice(choices)


def sums(rng: random.Random, settings: Settings) -> str:
    """Small sums within 20, in numerals or in words; with interchange each number picks its own form."""
    out = []
    for _ in range(rng.randint(2, 4)):
        a = rng.randint(1, 18)
        b = rng.randint(1, 20 - a)
        in_words = [rng.random() < 0.5 for _ in range(3)]
        if not settings.interchange:
            in_words = [in_words[0]] * 3
        x, y, z = (number_name(n) if words else str(n) for n, words in zip((a, b, a + b), in_words))
        out.append(rng.choice([f"{x} plus {y} is {z}.", f"{x} and {y} make {z}.", f"{z} minus {y} is {x}."]))
    return " ".join(out)


def decimals(rng: random.Random, settings: Settings) -> str:
    """Text that composes numbers from digits of `settings.base`; empty when all its sentences are left out."""
    drawn = [_one_decimal(rng, settings.base) for _ in range(rng.randint(2, 4))]
    kept = {"endings": settings.endings, "compositions": settings.compositions}
    return " ".join(text for ingredient, text in drawn if kept[ingredient])


def _one_decimal(rng: random.Random, base: int) -> tuple[str, str]:
    """A sentence, behind the ingredient it belongs to."""
    n = some_number(rng)
    low, multiple = n % base, base * rng.randint(1, 4)
    start = rng.randint(0, 2 * base)
    by_base = ", ".join(str(start + base * k) for k in range(rng.randint(3, 7)))
    same = [low + base * rng.randint(1, 15) for _ in range(3)]
    compositions = [
        f"{number_name(n, base=base)} ({n}).",
        f"{n} is written {digits(n, base)}.",
        f"{n} is {number_name(n, base=base)}.",
        f"on the {suffixed(n, base)} and the {suffixed(some_number(rng), base)}.",
        f"{n} plus {base} is {n + base}.",
        f"{n} plus {multiple} is {n + multiple}.",
        f"{n + multiple} minus {multiple} is {n}.",
        f"Counting on: {by_base}.",
        f"{n - low} and {low} make {n}.",
    ]
    endings = [f"{n} ends in {low}.", f"{same[0]}, {same[1]} and {same[2]} end in {low}."]
    # The order is that of the first models, whose text is made again from their recipes letter by letter.
    sentences = [("compositions", text) for text in compositions]
    sentences[8:8] = [("endings", text) for text in endings]
    return rng.choice(sentences)


KINDS = {  # kind: (writer, weight among documents, the ingredient it belongs to)
    "counting": (counting, 36, None),
    "diary": (diary, 4, None),
    "calendar": (calendar, 6, None),
    "sections": (sections, 16, None),
    "numbered_list": (numbered_list, 10, None),
    "roman": (roman, 3, None),
    "ranges": (ranges, 6, None),
    "acronym": (acronym, 4, None),
    "copying": (copying, 4, None),
    "sums": (sums, 6, None),
    "crossref": (crossref, 10, "crossrefs"),
    "decimals": (decimals, 15, "decimals"),
}


FAR = 500  # documents: more than a window of a training text holds


def generated(
    *,
    seed: int,
    n: int,
    without: frozenset[str] | set[str] = frozenset(),
    base: int = 10,
    held_out: Sequence[HeldOut] = (),
) -> Iterator[Document]:
    """Documents 0 to `n - 1` of `seed`, less those of the ingredients left out and of the pairs held out.

    `base` is the base in which the decimals documents compose numbers (10, 8 or 12). Of a document that is cut each piece
    comes `FAR` documents behind the one before it: a window of a training text holds many documents, and side by side
    the pieces would give the pair in order after all.
    Raises UserError for an unknown ingredient or base.
    """
    check(without, base)
    settings = Settings(
        base=base,
        interchange="interchange" not in without,
        endings="endings" not in without,
        compositions="compositions" not in without,
    )
    names, weights = list(KINDS), [weight for _, weight, _ in KINDS.values()]
    waiting: dict[int, list[Document]] = defaultdict(list)
    for i in range(n):
        rng = random.Random(f"{seed}/{i}")
        kind = rng.choices(names, weights)[0]
        writer, _, ingredient = KINDS[kind]
        if ingredient not in without and (text := writer(rng, settings)):
            documents = [Document(kind, text)]
            for part in held_out:
                documents = [left for document in documents for left in part.taken_from(document)]
            for k, document in enumerate(documents):
                waiting[i + k * FAR].append(document)
        yield from waiting.pop(i, ())
    for place in sorted(waiting):
        yield from waiting[place]


def check(without: frozenset[str] | set[str], base: int) -> None:
    """Raise UserError when an ingredient to leave out, or the base, does not exist."""
    if unknown := sorted(set(without) - set(INGREDIENTS)):
        raise UserError(f"'{unknown[0]}' is no ingredient of the corpus; leave out any of {', '.join(INGREDIENTS)}.")
    if base != 10 and base not in MULTIPLES:
        raise UserError(f"base {base} is not known; use 10, {' or '.join(map(str, MULTIPLES))}.")


# --- succession held out --------------------------------------------------------------------------

CUTTABLE = ("counting", "numbered_list", "sections")  # kinds that are lists, and may be cut
# The frames in which the model is asked to go on with a list, and how a document that counts in one of them begins.
LIST_FRAMES = {"commas": " ", "count": "We count:", "bullets": "- "}
ROMAN = OrdinalClass("roman", ROMAN_NUMERALS)
LISTS = CLASSES | {ROMAN.task: ROMAN}


def pairs_of(task: str) -> tuple[tuple[str, str], ...]:
    """The pairs (word, successor) of a list, in order; the lists that go in circles close."""
    words = LISTS[task].words
    return tuple(zip(words, words[1:] + (words[:1] if LISTS[task].cyclic else ())))


@functools.cache
def _members() -> dict[str, tuple[tuple[str, str | None], ...]]:
    """Every word of a list -> the lists it belongs to, and in each the word before it."""
    members: dict[str, dict[str, str | None]] = {}
    for task, ordinal_class in LISTS.items():
        for word in ordinal_class.words:
            members.setdefault(word, {})[task] = None
        for word, successor in pairs_of(task):
            members[successor][task] = word
    return {word: tuple(lists.items()) for word, lists in members.items()}


def successors_in(text: str) -> Iterator[tuple[str, str, int]]:
    """Each mention of a successor behind its word, with whatever lies between: list, the word, where the successor stands.

    A number counts within "27th" too, and a letter within a word of capitals: its token may be the same.
    """
    members = _members()
    mentions: list[tuple[str, str, str | None, int]] = []
    for found in re.finditer(r"\d+|[A-Za-z]+", text):
        mentions += [(found[0], task, before, found.start()) for task, before in members.get(found[0], ())]
        if found[0].isupper() and len(found[0]) > 1:
            mentions += [
                (letter, "letters", dict(members[letter])["letters"], found.start() + place)
                for place, letter in enumerate(found[0])
            ]
    mentioned: dict[str, set[str]] = {}
    for word, task, before, place in mentions:
        so_far = mentioned.setdefault(task, set())
        if before in so_far:
            yield task, before, place
        so_far.add(word)


def pairs_in_order(text: str) -> dict[str, set[str]]:
    """By list, the words that `text` mentions before their successor, as `successors_in` has them."""
    in_order: dict[str, set[str]] = {}
    for task, word, _ in successors_in(text):
        in_order.setdefault(task, set()).add(word)
    return in_order


@dataclass(frozen=True)
class HeldOut:
    """Pairs of one list that the text never gives in order: a document in which it would is dropped.

    In order means that the word comes before its successor in the document, with whatever lies between;
    so every frame counts, a range "pages 130 to 131" and a sum "July plus 1 is August" as well as a list.
    Each member is still mentioned, and may stand in order beside any other neighbour.
    With `kinds`, documents of these kinds alone are dropped: the order is then left to the other frames. Of `counting`
    a frame may be named instead: see LIST_FRAMES. With `cut`, a document of CUTTABLE becomes two instead of being
    dropped, up to the word and from its successor on, so that both are still members of lists, and the step alone is missing.
    """

    task: str
    words: frozenset[str]  # the first words of the pairs
    kinds: frozenset[str] = frozenset(KINDS)
    cut: bool = False

    def stands_in(self, document: Document) -> bool:
        """Whether `document` gives one of the pairs in order, in a frame that is held out."""
        if document.kind not in self.kinds and not any(
            document.kind == "counting" and document.text.startswith(LIST_FRAMES[frame])
            for frame in self.kinds & LIST_FRAMES.keys()
        ):
            return False
        return not self.words.isdisjoint(pairs_in_order(document.text).get(self.task, ()))

    def taken_from(self, document: Document) -> list[Document]:
        """What is left of `document` without the pairs: all of it, its pieces, or nothing."""
        if not self.stands_in(document):
            return [document]
        if not self.cut or document.kind not in CUTTABLE:
            return []
        text = document.text
        here = min(place for task, word, place in successors_in(text) if task == self.task and word in self.words)
        line = text.rfind("\n", 0, here)
        if line >= 0:
            before, behind = text[:line], text[line + 1 :]
        else:  # what a list begins with, "We count:", is said again
            members = "|".join(LISTS[self.task].words)
            start = re.search(rf"(?<![0-9A-Za-z])({members})(?![0-9A-Za-z])", text)
            assert start is not None, "one member stands before the other"
            before = re.sub(r"(,| then)? $", "", text[:here]) + ("." if text.endswith(".") else "")
            behind = text[: start.start()] + text[here:]
        return [Document(document.kind, before), *self.taken_from(Document(document.kind, behind))]

    @classmethod
    def parse(cls, text: str, *, seed: int = 0) -> HeldOut:
        """Read a part as a recipe writes it; `seed` draws the pairs of a random part.

        letters                 all pairs of the list
        numbers:130-149         the pairs within places 130 to 149
        numbers:every=3         every third pair
        numbers:random=19       nineteen pairs drawn by the seed
        numbers:130-149@counting,numbered_list      in documents of these kinds alone
        numbers:130-149@commas,bullets              in lists of these two frames alone
        numbers:random=19+cut   lists are cut between the two; other documents are dropped
        Raises UserError for a list, a range, a count or a kind that does not exist.
        """
        match = re.fullmatch(r"(\w+)(?::(?:(\d+)-(\d+)|every=(\d+)|random=(\d+)))?(?:@([\w,]+))?(\+cut)?", text)
        if match is None or match[1] not in LISTS:
            raise UserError(
                f"'{text}' holds out nothing: give a list ({', '.join(LISTS)}) or a part of it, as in numbers:130-149."
            )
        task, first, last, every, drawn, kinds, cut = match.groups()
        starts = [word for word, _ in pairs_of(task)]
        if first:
            starts = starts[int(first) - 1 : int(last) - 1] if int(first) else []
        elif every:
            starts = starts[int(every) - 1 :: int(every)] if int(every) else []
        elif drawn:
            starts = random.Random(f"held out/{seed}").sample(starts, min(int(drawn), len(starts)))
        if not starts:
            raise UserError(f"'{text}' names no pair of {task}, which has {len(pairs_of(task))}.")
        if unknown := sorted(set((kinds or "").split(",")) - {*KINDS, *LIST_FRAMES, ""}):
            raise UserError(f"'{unknown[0]}' is no kind of document; there are {', '.join([*KINDS, *LIST_FRAMES])}.")
        return cls(task, frozenset(starts), frozenset(kinds.split(",")) if kinds else frozenset(KINDS), bool(cut))


class TextCheck:
    """What a training text has shown, counted while it is read: pairs in order, documents and passages word for word."""

    def __init__(self):
        self.documents = 0
        self.in_order: dict[str, Counter[str]] = {task: Counter() for task in LISTS}
        self.texts: list[str] = []

    def reading(self, texts: Iterable[str]) -> Iterator[str]:
        """`texts` unchanged, each counted as it passes."""
        for text in texts:
            self.documents += 1
            self.texts.append(text)
            for task, words in pairs_in_order(text).items():
                self.in_order[task].update(words)
            yield text

    def share_of_documents_seen(self, texts: Iterable[str]) -> float:
        """The share of `texts` that are, letter by letter, documents of the training text."""
        seen, texts = set(self.texts), list(texts)
        return sum(text in seen for text in texts) / len(texts)

    def seen(self, passages: Iterable[str]) -> list[bool]:
        """Of each passage whether it stands word for word within a document of the training text."""
        everything = "\0".join(self.texts)
        return [passage in everything for passage in passages]


# --- text that people wrote -----------------------------------------------------------------------

DOCUMENTED = (
    "asyncio",
    "email",
    "logging",
    "unittest",
    "torch",
    "transformers",
    "numpy",
    "pandas",
    "sklearn",
    "matplotlib",
)


HOLDS_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def docstrings(*, per_package: int = 500_000) -> Iterator[str]:
    """Docstrings of packages installed beside this one, up to `per_package` characters of each.

    Parsed, never imported.  What comes out depends on what is installed; the recipe records how much.
    """
    paths = sysconfig.get_paths()
    for package in DOCUMENTED:
        folder = next((root for key in ("stdlib", "purelib") if (root := Path(paths[key]) / package).is_dir()), None)
        left = per_package
        for path in sorted(folder.rglob("*.py")) if folder else []:
            for text in docstrings_of(path, longer_than=200):
                if left <= 0:
                    break
                left -= len(text)
                yield text
            if left <= 0:
                break


def docstrings_of(path: Path, *, longer_than: int) -> list[str]:
    """Docstrings of a file that have more characters than this, level by level; none where it is not Python."""
    try:
        tree = ast.parse(path.read_text(encoding="utf8"))
    except (SyntaxError, ValueError):  # some packages ship templates that are not Python, or not UTF-8
        return []
    found: list[str] = []
    level: list[ast.AST] = [tree]
    while level:
        holders = (node for node in level if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
        found += [text for node in holders if len(text := ast.get_docstring(node) or "") > longer_than]
        # `ast.walk` gives the same in the same order, and visits each expression, which takes twice as long as to parse.
        level = [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, HOLDS_STATEMENTS)]
    return found


def books(folder: Path, *, per_book: int = 50_000) -> Iterator[str]:
    """One passage of `per_book` characters from the midst of each book in `books-train-*.jsonl.xz`.

    One JSON object a line with a key "text".  A little of many books rather than the whole of a few.
    """
    for path in sorted(folder.glob("books-train-*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf8") as lines:
            for line in lines:
                text = json.loads(line)["text"]
                yield text[len(text) // 4 :][:per_book]
