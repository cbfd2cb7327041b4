"""What the chapters measure, one module a chapter: the only room that knows what a chapter asks.

A study has three kinds of functions, and a notebook calls them in this order::

    found = find_heads.measure(...)            # a frozen dataclass, its statistics included
    figures.show(find_heads.draw_...(found))   # a figure
    find_heads.verdict(found)                  # Verdict("shown", "L1H0 is a successor head: …")

A verdict is decided by its key; tests reach every key of every study from made-up findings.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What a finding comes to: a `key` that code and tests compare, and the sentence that a reader sees."""

    key: str
    sentence: str
