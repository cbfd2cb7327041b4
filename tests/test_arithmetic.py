"""Edits of planted residue directions, on a head whose answers are known."""

from dataclasses import replace

import pytest
import torch

from successor_heads import anatomy, arithmetic, ordinals, ov_circuit
from successor_heads.intervals import wilson
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.shapes import Shape
from successor_heads.planted.words import word_tokenizer


@pytest.fixture(scope="module")
def planted():
    return plant(Plan("gpt_neox", seed=1, shape=Shape(2, 6, 384), modulus=10), word_tokenizer())


@pytest.fixture(scope="module")
def classes(planted):
    return ordinals.resolve(planted.tokenizer)


@pytest.fixture(scope="module")
def edit(planted, classes):
    """The outcome of all edits of a class at the planted head, at the planted length."""
    layer, head = planted.place("successor")
    length = planted.truth["direction_length"]

    def outcome(task, directions, scale=length):
        parts = anatomy.of(planted.module)
        return arithmetic.edit_outcome(parts, classes[task], directions, layer=layer, head=head, scale=scale)

    return outcome


def in_words(resolved, edits):
    return {
        (resolved.words[s], int(r)): (resolved.words[t], resolved.words[a])
        for s, r, t, a in zip(edits.source, edits.residue, edits.target, edits.answer)
    }


@pytest.mark.slow
def test_every_edit_that_has_an_answer(classes):
    numbers = in_words(classes["numbers"], arithmetic.all_edits(classes["numbers"]))
    assert numbers["25", 7] == ("27", "28") and numbers["25", 9] == ("29", "30") and numbers["30", 0] == ("30", "31")
    assert ("3", 0) not in numbers, "there is no number 0"
    assert ("200", 0) not in numbers, "200 has no successor here"
    assert len(numbers) == 9 * 9 + 19 * 100
    ordinal_words = in_words(classes["ordinal_words"], arithmetic.all_edits(classes["ordinal_words"]))
    assert ordinal_words["fifth", 7] == ("seventh", "eighth"), "the paper's example"
    months = in_words(classes["months"], arithmetic.all_edits(classes["months"]))
    assert months["November", 2] == ("December", "January") and ("November", 5) not in months
    sevens = in_words(classes["days"], arithmetic.all_edits(classes["days"], modulus=7))
    assert sevens["Monday", 3] == ("Wednesday", "Thursday")


@pytest.mark.slow
def test_a_class_without_pairs_has_no_edits(classes):
    numbers = classes["numbers"]
    none = torch.zeros(0, dtype=torch.long)
    empty = ordinals.ResolvedClass("numbers", numbers.words, numbers.token_ids, numbers.index, none, none, (), " ")
    assert len(arithmetic.all_edits(empty).source) == 0


@pytest.mark.parametrize("task", ["numbers", "months", "letters", "ordinal_words", "days"])
def test_true_directions_succeed_and_random_ones_do_not(planted, edit, task):
    true = planted.directions["residue"]
    assert edit(task, true).rate >= 0.95
    by_chance = [edit(task, arithmetic.random_directions(true, seed=seed)).rate for seed in range(3)]
    assert max(by_chance) < 0.1
    permuted = true[torch.tensor([3, 7, 1, 9, 0, 8, 2, 5, 4, 6])]
    assert edit(task, permuted).rate < 0.2


def test_an_edit_to_the_same_residue_changes_nothing(planted, edit):
    directions = planted.directions["residue"]
    outcome, untouched = edit("numbers", directions), edit("numbers", directions, scale=0.0)
    stays = ~outcome.edits.moves
    torch.testing.assert_close(outcome.logits[stays], untouched.logits[stays])
    assert not outcome.edits.moves.all() and outcome.success[stays].all()
    assert untouched.rate < 0.05, "without an edit the head answers the source's successor"


def test_edits_compose(planted, classes, edit):
    """By way of a third residue the head answers what it answers to the edit at once."""
    directions, letters = planted.directions["residue"], classes["letters"]
    at_once = edit("letters", directions)
    edits, scale = at_once.edits, planted.truth["direction_length"]
    by_way = replace(edits, residue=torch.full_like(edits.residue, 4))
    onwards = replace(edits, source_residue=by_way.residue)
    pushes = arithmetic.pushes(directions, by_way, scale=scale) + arithmetic.pushes(directions, onwards, scale=scale)
    layer, head = planted.place("successor")
    in_two = arithmetic.pushed_outcome(anatomy.of(planted.module), letters, edits, pushes, layer=layer, head=head)
    torch.testing.assert_close(in_two.logits, at_once.logits, atol=1e-4, rtol=1e-4)
    assert in_two.rate >= 0.95


def test_success_counts_the_answer_alone_and_ties_fail(classes):
    edits = arithmetic.all_edits(classes["days"], modulus=7)
    logits = torch.zeros(len(edits.source), 7)
    assert not arithmetic.EditOutcome(edits, logits).success.any()
    logits[torch.arange(len(logits)), edits.answer] = 1.0
    outcome = arithmetic.EditOutcome(edits, logits)
    assert outcome.rate == 1.0 and outcome.interval == wilson(6, 6), "36 edits move, of six sources"


def test_what_else_an_outcome_tells(classes):
    """Two more readings of one answer, on logits made by hand."""
    numbers = classes["numbers"]
    edits = arithmetic.all_edits(numbers)
    edit = int(((edits.source == 24) & (edits.residue == 7)).nonzero())  # 25 to 27: 28 instead of 26
    logits = torch.zeros(len(edits.source), 200)
    logits[edit, 25], logits[edit, 27] = 1.0, 0.5
    outcome = arithmetic.EditOutcome(edits, logits)
    assert not outcome.right_residue[edit] and outcome.lead[edit] == -0.5
    logits[edit, 137] = 2.0  # 138: the right digit in the wrong ten
    outcome = arithmetic.EditOutcome(edits, logits)
    assert outcome.right_residue[edit] and not outcome.success[edit]
    ties = torch.arange(len(logits)) != edit
    assert not outcome.right_residue[ties].any()
    assert outcome.lead[edits.source == 199].isnan().all(), "200 has no successor here"
    assert edits.is_down[(edits.source == 24) & (edits.residue == 3)].all() and not edits.is_down[edit]


@pytest.mark.parametrize("task", ["numbers", "months", "letters", "ordinal_words", "days"])
def test_under_the_paper_s_length_true_directions_succeed_and_random_ones_do_not(planted, classes, task):
    """k = λ (x · f), at λ = 1: a planted token's share of its direction is what was planted."""
    parts, resolved, (layer, head) = anatomy.of(planted.module), classes[task], planted.place("successor")
    true = torch.nn.functional.normalize(planted.directions["residue"], dim=-1)
    x, edits = ov_circuit.head_input(parts, resolved.token_ids), arithmetic.all_edits(resolved)
    share = arithmetic.own_share(x, true, edits)
    length = planted.truth["direction_length"]
    assert share.mean() == pytest.approx(length, rel=0.2) and share.std() > 0, "each token has its own"
    moved = arithmetic.pushes(true, edits, scale=share)
    asked = dict(layer=layer, head=head)
    outcome = arithmetic.pushed_outcome(parts, resolved, edits, moved, **asked)
    assert outcome.rate >= 0.95 and outcome.success[~edits.moves].all()
    for seed in range(3):
        random = arithmetic.as_long_as(
            arithmetic.pushes(arithmetic.random_directions(true, seed=seed), edits, scale=1.0), moved
        )
        torch.testing.assert_close(random.norm(dim=1), moved.norm(dim=1), atol=1e-4, rtol=1e-4)
        assert arithmetic.pushed_outcome(parts, resolved, edits, random, **asked).rate < 0.2


def test_tens_that_are_counted_from_one(classes):
    months = in_words(classes["months"], arithmetic.all_edits(classes["months"], first=1))
    assert months["September", 0] == ("October", "November") and months["October", 3] == ("March", "April")
    assert months["November", 2] == ("December", "January") and ("November", 5) not in months


def test_some_of_the_edits(classes):
    edits = arithmetic.all_edits(classes["days"])
    up = edits[edits.is_up]
    assert len(up.source) == 21 and up.is_up.all() and len(edits[edits.is_down].source) == 21
    assert in_words(classes["days"], up).items() <= in_words(classes["days"], edits).items()


def test_a_turn_moves_every_token_along_its_waves():
    """On vectors that are waves and nothing else a turn by n steps is the token n further on."""
    index, periods = torch.arange(40), (10.0, 5.0, 2.0)
    angle = 2 * torch.pi * index[:, None] / torch.tensor(periods)
    mix = torch.randn(6, 12, generator=torch.Generator().manual_seed(0))
    x = torch.cat([angle.cos(), angle.sin()], 1) @ mix
    parts = arithmetic.wave_parts(x, index, periods)
    steps = torch.full((30,), 3)
    turned = (x - x.mean(0))[:30] + arithmetic.turns((x - x.mean(0))[:30], steps, parts, periods)
    torch.testing.assert_close(turned, (x - x.mean(0))[3:33], atol=1e-3, rtol=1e-3)
    other = (x - x.mean(0))[:30] + arithmetic.turns((x - x.mean(0))[:30], steps + 1, parts, periods)
    assert (other - turned).abs().max() > 0.1


def test_random_directions_from_the_span_of_tokens_stay_in_it():
    like = torch.ones(10, 12)
    span = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    rows = arithmetic.random_directions(like, seed=0, span=span)
    torch.testing.assert_close(rows.norm(dim=1), like.norm(dim=1))
    centred = span - span.mean(0)
    assert torch.linalg.matrix_rank(torch.cat([rows, centred])) == torch.linalg.matrix_rank(centred) == 4


def test_random_directions_have_the_lengths_of_the_true_ones():
    like = torch.arange(1.0, 41.0).reshape(10, 4)
    one, other = (arithmetic.random_directions(like, seed=seed) for seed in (0, 1))
    torch.testing.assert_close(one.norm(dim=1), like.norm(dim=1))
    assert not torch.allclose(one, other)
