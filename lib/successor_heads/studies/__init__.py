"""What the chapters measure, one module a chapter: the only room that knows what a chapter asks.

A study has three kinds of functions, and a notebook calls them in this order::

    found = find_heads.measure(...)            # a frozen dataclass, its statistics included
    find_heads.draw_...(found)                 # a figures.Drawing, shown as the last line of a cell
    find_heads.verdict(found)                  # Verdict("shown", "L1H0 is a successor head: …")

A verdict is decided by its key; tests reach every key of every study from made-up findings.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from successor_heads import anatomy
from successor_heads.scores import HeadScores

Place = tuple[int, int]  # layer and head


@dataclass(frozen=True)
class Verdict:
    """What a finding comes to: a `key` that code and tests compare, and the sentence that a reader sees."""

    key: str
    sentence: str  # with **bold** at the most; a blank line begins a paragraph

    def _repr_html_(self) -> str:
        sentence = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(self.sentence))
        paragraphs = "".join(f"<p>{paragraph}</p>" for paragraph in sentence.split("\n\n"))
        return f'<div class="sh-verdict" role="note">{paragraphs}</div>'


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them: one, two and three."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


class OfBestHead:
    """A finding about the head with the highest macro: where it stands, how it is called, and its macro."""

    scores: HeadScores

    @property
    def best(self) -> Place:
        """The head with the highest macro."""
        return self.scores.best

    @property
    def name(self) -> str:
        """Its name."""
        return anatomy.name_of(self.best)

    @property
    def macro(self) -> float:
        """Its macro."""
        return float(self.scores.macro[self.best])


def list_name(task: str) -> str:
    """A task as a reader sees it: number_words as number words."""
    return task.replace("_", " ")
