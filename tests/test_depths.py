"""The search over depths against scores that are known, and against its algebra by hand."""

from dataclasses import replace

import pytest
import torch

from successor_heads import anatomy, depths, models, ordinals, scores
from successor_heads.depths import Search


@pytest.fixture(scope="module")
def lists(tokenizer):
    classes = ordinals.resolve(tokenizer)
    return {task: classes[task] for task in ("days", "months", "letters")}


def test_depth_nought_is_the_canonical_score(model, lists):
    found = depths.search(model, lists)
    canonical = scores.score_heads(anatomy.of(model), lists)
    at_mlp0 = found.of_depths([depths.CANONICAL])
    torch.testing.assert_close(at_mlp0.macro.double(), canonical.macro.flatten(), atol=1e-6, rtol=0)
    with_norm = scores.score_heads(anatomy.of(model), lists, head_norm=True)
    assert not torch.equal(with_norm.macro.flatten(), canonical.macro.flatten()), "another convention is another score"


def test_each_head_reads_each_depth_up_to_its_own_layer_once(model, lists):
    found, parts = depths.search(model, lists), anatomy.of(model)
    every = [(d, layer, head) for layer in range(parts.n_layers) for head in range(parts.n_heads) for d in range(layer + 1)]  # fmt: skip
    assert sorted(found.candidates) == sorted(every)
    assert all(len(answers) == len(every) for answers in found.predicted.values())


def test_a_head_reads_what_a_block_leaves_through_its_own_norm(model, lists):
    """One head at depth 1 by hand: a plain hook behind block 0, the norm, and the four matrices."""
    parts, days = anatomy.of(model), lists["days"]
    found, seen = depths.search(model, lists), []
    block = model._module.get_submodule(f"{parts.blocks_path}.0")
    handle = block.register_forward_hook(lambda _, __, out: seen.append(out[0, -1]))
    front = depths.front_of(model.tokenizer)
    with torch.no_grad():
        for token in days.token_ids:
            model._module(torch.tensor([[*front, int(token)]]))
    handle.remove()
    x = parts.head_norm(1)(torch.stack(seen))
    read = x @ parts.w_v(1)[2] + parts.b_v(1)[2]
    logits = read @ parts.w_o(1)[2] @ parts.unembed(days.token_ids)
    by_hand = logits[days.source].argmax(1)
    row = found.candidates.index((1, 1, 2))
    assert found.predicted["days"][row].tolist() == by_hand.tolist()
    assert front == [1], "the tests' tokenizer puts nothing in front, and has an end-of-text token"


def made(predicted) -> Search:
    """Three candidates on two lists of six pairs each, by what they answer."""
    target = torch.arange(1, 7)
    answers = {task: torch.tensor(rows).short() for task, rows in predicted.items()}
    places = [(0, 0, 0), (0, 1, 0), (1, 1, 0)]
    return Search(places, answers, dict.fromkeys(answers, target - 1), dict.fromkeys(answers, target))


RIGHT, COPIES, WRONG = [1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5], [-1] * 6


def test_macro_copying_and_the_best():
    found = made({"one": [COPIES, WRONG, RIGHT], "two": [COPIES, RIGHT, RIGHT]})
    assert found.macro.tolist() == [0, 0.5, 1] and found.copying.tolist() == [1, 0, 0]
    assert found.best == (1, 1, 0)


def test_halves_choose_and_the_other_half_judges():
    even, odd = [1, -1, 3, -1, 5, -1], [-1, 2, -1, 4, -1, 6]  # right on every second pair
    halves = depths.held_out(made({"one": [even, odd, WRONG], "two": [even, odd, WRONG]}))
    assert halves.chosen == ((0, 0, 0), (0, 1, 0))
    assert halves.macro == 0, "right where it was chosen, and nowhere else"
    alike = depths.held_out(made({"one": [WRONG, WRONG, RIGHT], "two": [WRONG, WRONG, RIGHT]}))
    assert alike.chosen == ((1, 1, 0), (1, 1, 0)) and alike.macro == 1 and alike.copying == 0


def test_of_one_head_the_halves_choose_the_depth_alone():
    found = made({"one": [RIGHT, COPIES, WRONG], "two": [RIGHT, COPIES, WRONG]})
    of_head = depths.held_out(found, head=(1, 0))  # the second and third candidate
    assert {candidate[1:] for candidate in of_head.chosen} == {(1, 0)} and of_head.macro == 0 and of_head.copying == 1
    assert depths.held_out(found).macro == 1


def test_the_null_is_of_the_best_of_the_whole_search(model, lists):
    found = depths.search(model, lists)
    null = depths.null(found, n_permutations=20, seed=0)
    alone = depths.null(found.of_depths([depths.CANONICAL]), n_permutations=20, seed=0)
    assert (null >= alone).all() and (null > alone).any(), "more candidates, a higher best"
    generator, task = torch.Generator().manual_seed(0), "days"
    one = replace(found, predicted={task: found.predicted[task]}, source={task: found.source[task]}, target={task: found.target[task]})  # fmt: skip
    permuted = found.target[task][torch.randperm(7, generator=generator)]
    by_hand = (found.predicted[task] == permuted).float().mean(1).max()
    assert depths.null(one, n_permutations=1, seed=0)[0] == by_hand


@pytest.mark.slow
def test_at_most_two_false_alarms_in_forty_networks_that_learned_nothing(tokenizer, lists):
    """The rules of chapter 8, for all heads at once: one scores above the null of the search on pairs that did not choose its depth."""
    from conftest import CONFIGS, random_module

    alarms = 0
    for seed in range(40):
        found = depths.search(models._wrap(random_module(CONFIGS["gpt_neox"], seed=seed), tokenizer), lists)
        highest = max(depths.held_out(found, head=head).macro for head in {its[1:] for its in found.candidates})
        alarms += highest > depths.null(found, n_permutations=100, seed=seed).quantile(0.975)
    assert alarms <= 2


def test_what_is_said_of_a_search():
    said = depths.sentences(depths.summary(made({"one": [WRONG, WRONG, RIGHT], "two": [WRONG, COPIES, RIGHT]}), seed=0))
    assert (
        said.startswith("Through MLP0: no successor head (best 0.00, null") and "L1H0 1.00 after 1 block (null" in said
    )
    found = depths.sentences(
        depths.summary(made({"one": [WRONG, RIGHT, COPIES], "two": [WRONG, RIGHT, WRONG]}), seed=0)
    )
    assert found.startswith("Through MLP0: L1H0 1.00 (null")


def test_what_stands_in_front_changes_the_stream(neox, days):
    behind, alone = (depths.streams(neox, days.token_ids, front=front) for front in ([1], []))
    assert behind.shape == (3, 7, 24)
    torch.testing.assert_close(behind[0], alone[0])  # the embedding is the same
    assert (behind[1] - alone[1]).abs().max() > 1e-3
