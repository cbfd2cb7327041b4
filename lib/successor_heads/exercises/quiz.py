"""Five questions a chapter: four choices each, of which one is right, and what there is to say about each.

::

    quiz.question("1.2").check("b")

The student's edition asks them at the end of a chapter, and a page of the site prints them with their answers. They
stand in `quiz.yml`, hold for any model, and need nothing of what a chapter computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from successor_heads.errors import UserError
from successor_heads.exercises import Exercise


@dataclass(frozen=True)
class Question:
    """A question of the quiz: `choices` and `because`, what is said of each, by letter."""

    number: str
    ask: str
    right: str
    choices: Mapping[str, str]
    because: Mapping[str, str]

    def exercise(self) -> Exercise:
        """The question as an exercise, which takes a letter of either case."""
        wrong = [letter for letter in self.choices if letter != self.right]
        letters = ", ".join(f'"{letter}"' for letter in self.choices)
        return Exercise(
            right=lambda answer: _letter(answer) == self.right,
            diagnoses=[
                *((lambda answer, wrong=each: _letter(answer) == wrong, self.because[each]) for each in wrong),
                (lambda answer: True, f"Answer with one of the letters {letters}."),
            ],
            because=self.because[self.right],
        )

    def as_markdown(self) -> str:
        """What is asked and the choices, without the answer: as editions and the site show it."""
        choices = "\n".join(f"- **{letter}** {choice}" for letter, choice in self.choices.items())
        return f"**Question {self.number}.** {self.ask}\n\n{choices}"

    def check(self, answer: object) -> None:
        """Print what there is to say about an answer."""
        self.exercise().check(answer)


@cache
def questions() -> dict[str, Question]:
    """All questions of the book in their order, by number: "3.2" is the second of chapter 3."""
    chapters = yaml.safe_load((files("successor_heads.exercises") / "quiz.yml").read_text(encoding="utf8"))
    numbered = [
        Question(number=f"{chapter}.{place}", **entry)
        for chapter, entries in chapters.items()
        for place, entry in enumerate(entries, start=1)
    ]
    return {question.number: question for question in numbered}


def of_chapter(chapter: int) -> list[Question]:
    """The questions of a chapter, in their order."""
    return [question for number, question in questions().items() if number.startswith(f"{chapter}.")]


def question(number: str) -> Question:
    """The question with a number such as "3.2". Raises UserError where there is none."""
    if number not in questions():
        raise UserError(f'There is no question {number!r} in the quiz: name one such as "3.2".')
    return questions()[number]


def _letter(answer: object) -> str:
    return str(answer).strip().strip("().").lower()
