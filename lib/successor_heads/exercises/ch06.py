"""The exercises of chapter 6: what a text shows, what it holds out, and how sure a few seeds make us."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from successor_heads import growing, intervals
from successor_heads.exercises import Exercise
from successor_heads.growing import announced, corpus
from successor_heads.growing.corpus import HeldOut

DOCUMENTS = 2000  # of seed 0, in which an arm is counted
LEAST_LOST, MOST_LOST = 0.001, 0.5  # shares of the documents


def random_loss(d_vocab: int) -> Exercise:
    """ex-random-loss: nats a token of a model that knows nothing of a vocabulary of `d_vocab`."""
    return Exercise(
        right=lambda a: abs(a - math.log(d_vocab)) < 0.02,
        diagnoses=[
            (
                lambda a: abs(a - math.log2(d_vocab)) < 0.02,
                "That is in bits, the logarithm to base 2. Nats use the natural logarithm.",
            ),
            (lambda a: a < 0, "Minus the logarithm of a probability is positive."),
            (lambda a: abs(a * d_vocab - 1) < 0.01, "That is the probability of each token. What is its loss?"),
        ],
    )


def in_order(part: str) -> Exercise:
    """ex-in-order: how many of the first `DOCUMENTS` documents of seed 0 give a pair of `part` in order."""
    held, documents = HeldOut.parse(part), list(corpus.generated(seed=0, n=DOCUMENTS))
    pairs = [pair for pair in corpus.pairs_of(held.task) if pair[0] in held.words]
    n = sum(held.stands_in(document) for document in documents)
    next_to = sum(any(f"{word}, {after}" in document.text for word, after in pairs) for document in documents)
    both = sum(any(word in document.text and after in document.text for word, after in pairs) for document in documents)
    return Exercise(
        right=lambda a: int(a) == n,
        diagnoses=[
            (lambda a: int(a) == DOCUMENTS - n, "So many are left. How many are dropped?"),
            (
                lambda a: int(a) == next_to,
                "These are the lists with commas. A heading, a calendar or a sum gives the order, too.",
            ),
            (lambda a: int(a) == both, "That counts documents in which the successor comes first, as well."),
            (lambda a: 0 < a < 1, "That is a share: how many documents is it?"),
        ],
    )


def certain() -> Exercise:
    """ex-certain: the upper bound of the share of 19 pairs of which none is right in any of five seeds."""
    bound = intervals.share_over_seeds([0] * 5, [19] * 5, seed=0)[1]
    return Exercise(
        right=lambda a: abs(float(a) - bound) < 0.01,
        diagnoses=[
            (lambda a: float(a) == 0, "That is the share that was seen. How large may the true share be?"),
            (
                lambda a: abs(float(a) - intervals.wilson(0, 95)[1]) < 0.004,
                "That takes 95 pairs as independent. Pairs of one seed stand or fall together: the seed is the unit.",
            ),
            (
                lambda a: abs(float(a) - intervals.wilson(0, 19)[1]) < 0.01,
                "That is one seed's. What do five of them say together?",
            ),
            (
                lambda a: abs(float(a) - intervals.wilson(0, 5)[1]) < 0.01,
                "That is the chance that a sixth seed is another kind of model, which is a different question.",
            ),
        ],
    )


def divisors() -> Exercise:
    """ex-divisors: how often the index mod 4 is guessed right, over 1 to 200, by who knows the last digit alone."""
    return Exercise(
        right=lambda a: abs(a - 0.5) < 1e-3,
        diagnoses=[
            (
                lambda a: abs(a - 0.25) < 1e-3,
                "That is a blind guess. The last digit says whether the number is even, which leaves two residues of four.",
            ),
            (lambda a: abs(a - 1) < 1e-3, "10 and 20 both end in 0, but leave 2 and 0 when divided by 4."),
        ],
    )


def last_digit(run: Mapping[str, Any]) -> Exercise:
    """ex-last-digit: of a stored run's answers to numbers held out, by the head, the share with the right last digit."""
    numbers = run["succession"]["lists"]["numbers"]
    rows = list(zip(corpus.pairs_of("numbers"), numbers["answer"].split(), numbers["held"].split()))

    def of(which: str, digit_of: int) -> float:
        return float(np.mean([answer[-1] == pair[digit_of][-1] for pair, answer, held in rows if held == which]))

    return Exercise(
        right=lambda a: abs(a - of("1", 1)) < 5e-3,
        diagnoses=[
            (lambda a: abs(a - of("0", 1)) < 5e-3, "These are the numbers seen in order. Take those held out."),
            (
                lambda a: abs(a - of("1", 0)) < 5e-3,
                "You compared with the last digit of the number that is read. Compare with its successor's.",
            ),
            (lambda a: a > 1, "A share is between 0 and 1."),
        ],
    )


def arm() -> Exercise:
    """ex-arm: options of an arm that nobody announced, and whose text holds out what it says at a bearable price."""
    known = {frozenset(_recipe(options).held_out) for options in announced.runs().values()}
    documents = list(corpus.generated(seed=0, n=DOCUMENTS))

    def lost(options: str) -> float:
        parts = _recipe(options).parts_held_out
        return sum(any(part.stands_in(document) for part in parts) for document in documents) / DOCUMENTS

    def is_new(options: str) -> bool:
        return frozenset(_recipe(options).held_out) not in known

    return Exercise(
        right=lambda a: is_new(a) and LEAST_LOST < lost(a) < MOST_LOST,
        diagnoses=[
            (lambda a: not isinstance(a, str), "Answer with the options, as a text."),
            (lambda a: not _recipe(a).held_out, "This arm holds nothing out: give --hold-out."),
            (lambda a: not is_new(a), "What this arm holds out is among those announced. Hold out something else."),
            (
                lambda a: lost(a) >= MOST_LOST,
                "More than half of the documents are dropped: what is left is another text. Hold out less.",
            ),
            (
                lambda a: lost(a) <= LEAST_LOST,
                "Hardly a document is dropped: these pairs were not given in order anyway.",
            ),
        ],
    )


def _recipe(options: str):
    """The recipe of options as `successor-heads grow` reads them; raises what is wrong with them."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    growing.add_arguments(parser)
    family = [] if options.startswith("pythia") else ["pythia"]
    arguments, unknown = parser.parse_known_args([*family, *shlex.split(options)])
    if unknown:  # which parse_args would answer by leaving the kernel
        raise ValueError(f"unknown options: {unknown}")
    return growing.recipe_of(arguments)
