"""Self-checks for the exercises: what is right is confirmed, what is wrong is diagnosed.

    check(answer, right=lambda a: abs(a - 1 / 6) < 1e-3,
          diagnoses=[(lambda a: abs(a - 1 / 7) < 1e-3, "That counts the token itself as a candidate.")])

The notebooks leave ``...`` where the reader's answer goes, so an untouched exercise says so and fails nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def check(
    answer: Any, *, right: Callable[[Any], bool], diagnoses: Sequence[tuple[Callable[[Any], bool], str]] = ()
) -> None:
    """Print what there is to say about an answer; the first diagnosis that fits is given.

    ``right`` and the tests of ``diagnoses`` may raise: an answer they cannot read is not right.
    """
    if answer is ...:
        print("Not answered yet: put your answer in place of the dots and run this cell again.")
    elif _holds(right, answer):
        print("Right.")
    else:
        fitting = [message for wrong, message in diagnoses if _holds(wrong, answer)]
        print("Not yet. " + (fitting[0] if fitting else f"You gave {_short(answer)}; read the hint and try again."))


def _holds(test: Callable[[Any], bool], answer: Any) -> bool:
    try:
        return bool(test(answer))
    except Exception:  # whatever the reader's answer is, the check must not end in a traceback
        return False


def _short(answer: Any) -> str:
    text = repr(answer)
    return text if len(text) <= 60 else text[:57] + "..."
