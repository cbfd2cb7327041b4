"""What the chapters measure, one module a chapter: the only room that knows what a chapter asks.

A study has three kinds of functions, and a notebook calls them in this order::

    found = find_heads.measure(...)            # a frozen dataclass, its statistics included
    find_heads.draw_...(found)                 # a figures.Drawing, shown as the last line of a cell
    find_heads.verdict(found)                  # Verdict("shown", "L1H0 is a successor head: …")

A verdict is decided by its key; tests reach every key of every study from made-up findings.
"""

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from successor_heads import anatomy
from successor_heads.scores import HeadScores

Place = tuple[int, int]  # layer and head


@dataclass(frozen=True)
class Verdict:
    """What a finding comes to: a `key` that code and tests compare, and the sentence that a reader sees."""

    key: str
    sentence: str  # with **bold** at the most

    def _repr_html_(self) -> str:
        sentence = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(self.sentence))
        return f'<div class="sh-verdict" role="note"><p>{sentence}</p></div>'


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


# --- findings of a record, as cells of a table "as reported, as we measured" --------------------------

Findings = Mapping[str, Mapping[str, Any]]  # by name, each as `records.finding` makes it, or as JSON holds it
NOT_ASKED = "not to be asked here"


def _value(findings: Findings, key: str) -> float | None:
    """A finding's value; None where it was not measured, which JSON writes as null and a record in memory as NaN."""
    value = findings.get(key, {}).get("value")
    return None if value is None or math.isnan(value) else value


def share_cell(findings: Findings, key: str, *, beside: str | None = None, name: str = "shuffled") -> str:
    """A share with its 95% interval, and its control `beside` it: "0.24 (0.20 to 0.28); permuted 0.17"."""
    value = _value(findings, key)
    if value is None:
        return NOT_ASKED
    low, high = findings[key]["low"], findings[key]["high"]
    interval = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    control = None if beside is None else _value(findings, beside)
    return f"{value:.2f}{interval}" + ("" if control is None else f"; {name} {control:.2f}")


def count_cell(findings: Findings, key: str) -> str:
    """A share as a count: "66 of 136"."""
    value, n = _value(findings, key), findings.get(key, {}).get("n")
    return NOT_ASKED if value is None or not n else f"{round(value * n)} of {n}"


def number_cell(findings: Findings, key: str) -> str:
    """A whole number, such as a modulus."""
    value = _value(findings, key)
    return NOT_ASKED if value is None else f"{value:.0f}"
