"""Self-checks for the exercises: what is right is confirmed, what is wrong is diagnosed.

::

    ch01.chance().check(answer)

One module a chapter, one function an exercise: it takes what the chapter has computed so far and returns the
`Exercise`. The notebooks leave `...` where the reader's answer goes, so an untouched exercise says so and
fails nothing. `quiz` has questions of another kind, with choices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

Test = Callable[[Any], Any]
Place = tuple[int, int]  # (layer, head)


@dataclass(frozen=True)
class Exercise:
    """Which answers are right, and what can be said about the wrong ones: of each diagnosis a test and its message.

    The tests may raise, and what they return is taken for its truth: an answer that a test cannot read is not
    what it looks for. Where several diagnoses fit, the first is given. `because` explains a right answer.
    """

    right: Test
    diagnoses: Sequence[tuple[Test, str]] = ()
    because: str = ""

    def reply(self, answer: Any) -> str:
        """What there is to say about an answer."""
        if answer is ...:
            return "Not answered yet: put your answer in place of the dots and run this cell again."
        if _holds(self.right, answer):
            return f"Right. {self.because}".rstrip()
        fitting = (message for wrong, message in self.diagnoses if _holds(wrong, answer))
        return "Not yet. " + next(fitting, f"You gave {_short(answer)}; read the hint and try again.")

    def check(self, answer: Any) -> None:
        """Print the reply."""
        print(self.reply(answer))


def place(answer: Any) -> Place:
    """An answer as (layer, head), whether its numbers are Python's, numpy's or torch's."""
    layer, head = answer
    return int(layer), int(head)


def highest(score: Float[Tensor, "layer head"]) -> set[Place]:
    """Every (layer, head) that has the highest score: one, or those that share it."""
    return {place(found) for found in (score == score.max()).nonzero()}


def _holds(test: Test, answer: Any) -> bool:
    try:
        return bool(test(answer))
    except Exception:  # whatever the reader's answer is, the check must not end in a traceback
        return False


def _short(answer: Any) -> str:
    text = repr(answer)
    return text if len(text) <= 60 else text[:57] + "..."
