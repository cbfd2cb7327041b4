"""The exercises of chapter 4: directions, lengths, and what an edit leaves behind."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from successor_heads import anatomy, arithmetic, features, ordinals, ov_circuit
from successor_heads.arithmetic import NONE, Edits
from successor_heads.exercises import Exercise
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.shapes import Shape
from successor_heads.planted.words import word_tokenizer


def nothing(edits: Edits, known: Bool[Tensor, " member"]) -> Exercise:
    """ex-nothing: ticks of a table, counted as in the paper, of edits that add nothing; `known` members are answered rightly."""
    diagonal, cells = ~edits.moves, int((~edits.is_down).sum())
    free = int(known[edits.source[diagonal]].sum())
    return Exercise(
        right=lambda a: int(a) == free,
        diagnoses=[
            (lambda a: int(a) == cells, "So many cells there are. How many of them ask for what the head says in any case?"),
            (lambda a: int(a) == int(diagonal.sum()), "So many cells lie on the diagonal; the head has to answer the unedited token rightly, too."),
            (lambda a: int(a) == 0, "An edit that adds nothing leaves the old answer. In which cells is the old answer the wanted one?"),
        ],
    )  # fmt: skip  # a diagnosis a line


def crossing(clean: Float[Tensor, " member"], added: Float[Tensor, " member"], *, wanted: int, old: int) -> Exercise:
    """ex-crossing: from which λ on the wanted answer is ahead of the old one, None if from none; `old` is NONE without one."""
    start, slope = (float(each[wanted] - each[old]) for each in (clean, added))
    expected = -start / slope if old != NONE and slope > 0 > start else None
    scales = torch.linspace(0, 20, 4001)
    won = (clean[:, None] + scales * added[:, None]).argmax(0) == wanted
    first_win = float(scales[int(won.nonzero()[0])]) if won.any() else None
    return Exercise(
        right=lambda a: _close(a, expected),
        diagnoses=[
            (lambda a: a is not None and _close(a, first_win), "That is where it wins against the whole list. The question is only about the old answer."),
            (lambda a: expected is not None and _close(a, -expected), "The sign is wrong: the lead starts below 0 and grows with λ."),
            (lambda a: expected is not None and _close(a, 1 / expected), "Upside down: the start divided by the slope, not the slope by the start."),
            (lambda a: a is None, "The two lines do cross at a positive λ: the lead starts below 0 and has a positive slope."),
        ],
    )  # fmt: skip  # a diagnosis a line


def chosen(trials: pd.DataFrame, scale: Mapping[str, Mapping[str, float]], *, sources: tuple[str, str]) -> Exercise:
    """ex-chosen: what choosing λ in hindsight adds to the share with two sources of directions, means over lists.

    `trials` has a row a source, task and scale; `scale` the λ of the rule, by source and task.
    """
    expected, common = [], []
    for source in sources:
        rows = trials[trials["source"] == source]
        at_rule = rows[rows["scale"] == rows["task"].map(scale[source])]["share"].mean()
        expected.append(float(rows.groupby("task")["share"].max().mean() - at_rule))
        common.append(float(rows.groupby("scale")["share"].mean().max() - at_rule))

    def like(values):
        return lambda a: np.allclose([float(v) for v in a], values, atol=0.003)

    return Exercise(
        right=like(expected),
        diagnoses=[
            (like(expected[::-1]), "Right numbers, wrong order: the class means first."),
            (lambda a: any(float(v) < 0 for v in a), "In hindsight nobody does worse: the best of the row, minus the one that was chosen."),
            (like(common), "That is the best single λ for all lists. Let every list choose its own, then average."),
        ],
    )  # fmt: skip  # a diagnosis a line


def tens(
    x: Float[Tensor, "member d_model"] | None,
    answers: Float[Tensor, "d_model member"] | None,
    index: Int[Tensor, " member"] | None,
) -> Exercise:
    """ex-tens: by how many logits moving members one ten up raises the wanted successor over the old one; 0 without a list."""
    if x is None or answers is None or index is None:
        return Exercise(right=lambda a: float(a) == 0)
    once, before, n = raised_by_tens(x, answers, index), _lead_before(x, answers, index), len(_moved_members(index))

    def near(b):
        return lambda a: abs(float(a) - b) < 0.01 * max(1, abs(b))

    return Exercise(
        right=near(2 * once),
        diagnoses=[
            (near(once), "That is the push with k = 1; the exercise asks for k = 2."),
            (near(-2 * once), "You moved it down: h of ten 0 goes out, h of ten 1 comes in."),
            (
                near(2 * once + before),
                "That is the lead after the edit. The question is by how much the edit raises it.",
            ),
            (near(n * 2 * once), "That is the sum over the members; the question is about their mean."),
        ],
    )


def raised_by_tens(
    x: Float[Tensor, "member d_model"], answers: Float[Tensor, "d_model member"], index: Int[Tensor, " member"]
) -> float:
    """Mean rise of the successor one ten further up over the member's own, when its ten is moved by h_1 - h_0."""
    added = (x[index // 10 == 1].mean(0) - x[index // 10 == 0].mean(0)) @ answers
    place = {int(i): member for member, i in enumerate(index)}
    return float(np.mean([added[place[i + 11]] - added[place[i + 1]] for i in _moved_members(index)]))


def _moved_members(index: Tensor) -> list[int]:
    return [i for i in range(1, 10) if i + 11 in set(index.tolist())]


def _lead_before(x: Tensor, answers: Tensor, index: Tensor) -> float:
    place = {int(i): member for member, i in enumerate(index)}
    logits = x @ answers
    leads = [logits[place[i], place[i + 11]] - logits[place[i], place[i + 1]] for i in _moved_members(index)]
    return float(np.mean(leads))


def sevens(*, seed: int) -> Exercise:
    """ex-seven-edits: rates of edits on a plant that counts in sevens, as (modulus 7, modulus 10)."""
    made = plant(Plan("gpt_neox", seed, Shape(2, 6, 384), modulus=7), word_tokenizer())
    parts, numbers = anatomy.of(made.module), ordinals.resolve(made.tokenizer)["numbers"]
    x, (layer, head) = ov_circuit.head_input(parts, numbers.token_ids), made.place("successor")
    rates = []
    for modulus in (7, 10):
        directions = features.class_means(x, numbers.index, modulus)
        rates.append(arithmetic.edit_outcome(parts, numbers, directions, layer=layer, head=head, scale=1.0).rate)
    return Exercise(
        right=lambda a: np.allclose([float(v) for v in a], rates, atol=0.02),
        diagnoses=[
            (lambda a: np.allclose([float(v) for v in a][::-1], rates, atol=0.02), "Right numbers, wrong order: modulus 7 first."),
            (lambda a: float(a[0]) < 0.5, "Modulus 7 should succeed: is the plant made with modulus=7, and are there seven directions?"),
            (lambda a: float(a[1]) > 0.5, "Modulus 10 should fail here. Did you use ten directions, and the plant's own vectors?"),
        ],
    )  # fmt: skip  # a diagnosis a line


def _close(a, b) -> bool:
    return (a is None) == (b is None) and (a is None or abs(float(a) - b) < 0.02)
