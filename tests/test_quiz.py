"""The quiz: every right answer is accepted and explained, every wrong one refused with a reason of its own."""

import pytest

from successor_heads.errors import UserError
from successor_heads.exercises import quiz

QUESTIONS = list(quiz.questions().values())
CASES = [(question, letter) for question in QUESTIONS for letter in question.choices]


def test_there_are_five_questions_a_chapter():
    assert [question.number for question in QUESTIONS] == [f"{c}.{n}" for c in range(1, 9) for n in range(1, 6)]
    assert [question.number for question in quiz.of_chapter(2)] == [f"2.{n}" for n in range(1, 6)]


@pytest.mark.parametrize(("question", "letter"), CASES, ids=lambda one: getattr(one, "number", one))
def test_the_right_choice_is_accepted_and_each_other_refused_with_its_reason(question, letter):
    verdict = "Right." if letter == question.right else "Not yet."
    for answer in (letter, letter.upper(), f" ({letter}) "):
        assert question.exercise().reply(answer) == f"{verdict} {question.because[letter]}"


def test_what_is_no_choice_is_no_answer():
    question = quiz.question("1.1")
    assert question.exercise().reply(...).startswith("Not answered yet")
    for answer in ("e", "", "ab", None, 1, question.choices[question.right]):
        assert question.exercise().reply(answer) == 'Not yet. Answer with one of the letters "a", "b", "c", "d".'
    with pytest.raises(UserError, match="9.9"):
        quiz.question("9.9")


def test_every_choice_is_another_and_says_why():
    for question in QUESTIONS:
        assert list(question.choices) == list(question.because) == ["a", "b", "c", "d"], question.number
        assert len(set(question.choices.values())) == len(set(question.because.values())) == 4, question.number
        assert all(len(reason) > 15 and reason.endswith(".") for reason in question.because.values()), question.number


def test_neither_the_letter_nor_the_length_gives_the_answer_away():
    """Whoever always takes one letter, or the longest or the shortest choice, is right about as often as by chance."""

    def share(guess):
        return sum(guess(question) == question.right for question in QUESTIONS) / len(QUESTIONS)

    def by_length(question, pick):
        return pick(question.choices, key=lambda letter: len(question.choices[letter]))

    guesses = [lambda _, letter=letter: letter for letter in "abcd"]
    guesses += [lambda question, pick=pick: by_length(question, pick) for pick in (max, min)]
    assert all(share(guess) <= 0.4 for guess in guesses)
