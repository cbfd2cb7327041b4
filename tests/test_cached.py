"""Runs that go on from a cached one against whole forward passes with hooks."""

import pytest
import torch
from transformers import MistralConfig

from by_hooks import PROMPTS, attention_at, hooked_forward, mlp_outputs
from conftest import GROUPED, random_module
from successor_heads import ablation, anatomy, cached, models, ordinals, prompts
from successor_heads.cached import Edit, Push


def pushed_by_hand(model, lists, pushes, layer, held):
    """Logits of the plain module with the pushes added by a hook on the block, and heads replaced by another."""
    parts = anatomy.of(model._module)

    def push(_, args, kwargs):
        stream = (args[0] if args else kwargs["hidden_states"]).clone()
        stream[:, -pushes.shape[1] :] += pushes
        return ((stream, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": stream})

    handles = [parts.block(layer).register_forward_pre_hook(push, with_kwargs=True)]
    for (of, head), value in held.items():

        def hold(_, args, head=head, value=value):
            edited = args[0].clone()
            edited[:, -1, head * parts.d_head : (head + 1) * parts.d_head] = value
            return (edited,)

        handles.append(parts.output_projection(of).register_forward_pre_hook(hold))
    with torch.no_grad():
        logits = model._module(**prompts.encode(model, lists)).logits[:, -1]
    for handle in handles:
        handle.remove()
    return logits


def largest_difference(model, lists, variants, token_ids):
    """Between cached variants and hooks on whole forward passes, and the same with each variant taken for the next."""
    found = cached.logits_of_variants(model, lists, variants, token_ids)
    by_hand = torch.stack(
        [
            torch.stack([hooked_forward(model, prompt, edits=variant)[0][token_ids] for prompt in lists])
            for variant in variants
        ]
    )
    return (found - by_hand).abs().max(), (found.roll(1, 0) - by_hand).abs().amax((1, 2)).min()


@pytest.mark.parametrize("name", models.grown_models())
@pytest.mark.slow
def test_every_head_of_the_grown_models_is_ablated_as_by_hooks(name):
    model = models.load(name)
    parts, months = anatomy.of(model), ordinals.resolve(model.tokenizer)["months"]
    lists, _ = prompts.counting_lists(months, length=4, most=3)
    lists = [lists[0], lists[1].split(",", 1)[1], lists[2]]  # of two lengths
    means = prompts.mean_head_outputs(model, lists)
    every = [
        [Edit(layer, head, means[layer, head])] for layer in range(parts.n_layers) for head in range(parts.n_heads)
    ]
    worst, control = largest_difference(model, lists, every, months.token_ids)
    assert worst < 1e-4 < control


def test_a_window_hides_the_same_of_the_prefix(tokenizer):
    lists = ["Monday Tuesday Wednesday Thursday Friday one two three", "one two three four"]
    found = {}
    for window in (3, None):
        torch.manual_seed(0)
        module = random_module(MistralConfig(**GROUPED, sliding_window=window))
        model = models._wrap(module, tokenizer)
        variants = [[Edit(0, head, torch.ones(4))] for head in range(6)]
        worst, control = largest_difference(model, lists, variants, torch.arange(20))
        assert worst < 1e-4 < control
        found[window] = cached.logits_of_variants(model, lists, variants, torch.arange(20))
    assert (found[3] - found[None]).abs().max() > 1e-2


def test_nothing_depends_on_how_prompts_and_variants_are_batched(neox, monkeypatch):
    variants = [[], [Edit(1, 2, torch.zeros(8))], [Edit(0, 1, torch.ones(8)), Edit(1, 0, torch.randn(len(PROMPTS), 8))]]
    whole = cached.logits_of_variants(neox, PROMPTS, variants, torch.arange(9))
    monkeypatch.setattr(cached, "BYTES", 1)
    monkeypatch.setattr(cached, "MOST_VARIANTS", 2)
    torch.testing.assert_close(cached.logits_of_variants(neox, PROMPTS, variants, torch.arange(9)), whole)


def test_a_prompt_is_run_once_and_a_variant_from_its_first_edit_on(neox):
    positions = []
    blocks = [anatomy.of(neox._module).block(layer) for layer in (0, 1)]
    handles = [
        block.register_forward_pre_hook(lambda _, args, layer=layer: positions.append((layer, args[0].shape[1])))
        for layer, block in enumerate(blocks)
    ]
    variants = [[Edit(1, head, torch.zeros(8))] for head in range(3)] + [[Edit(0, 0, torch.zeros(8))]]
    cached.logits_of_variants(neox, ["one two three"], variants, torch.arange(5))
    for handle in handles:
        handle.remove()
    assert positions == [(0, 3), (1, 3), (0, 1), (1, 4)]


def test_no_edit_stays_behind(neox, days):
    before = prompts.next_token_logits(neox, PROMPTS)
    replaced = {"members": days.token_ids, "replacement": torch.zeros(2, 3, 8)}
    ablation.head_ablation_effects(neox, PROMPTS, days.token_ids[:4], **replaced)
    with pytest.raises(RuntimeError):  # a value that fits no head
        cached.logits_of_variants(neox, PROMPTS, [[Edit(0, 0, torch.zeros(7))]], torch.arange(5))
    torch.testing.assert_close(prompts.next_token_logits(neox, PROMPTS), before, atol=0, rtol=0)


def test_attention_without_a_mask_is_refused(neox, checkpoints):
    model = models.load(str(checkpoints["llama"]))
    model._module.set_attn_implementation("sdpa")
    with pytest.raises(ValueError, match="eager"):
        cached.run(model, ["one two"])


@pytest.mark.parametrize("layer", [0, 1])
def test_a_steered_run_equals_the_forward_pass_with_the_pushed_stream(any_model, layer):
    """In every family, with prompts of several lengths, also where a head is held at something else."""
    parts = anatomy.of(any_model)
    value = torch.randn(len(PROMPTS), 2, parts.d_model, generator=torch.Generator().manual_seed(0))
    held = torch.randn(len(PROMPTS), parts.d_head, generator=torch.Generator().manual_seed(1))
    variants, every = [[], [Edit(1, 1, held)]], torch.arange(20)
    steered = cached.logits_of_variants(any_model, PROMPTS, variants, every, push=Push(layer, value))
    for found, hold in zip(steered, ({}, {(1, 1): held})):
        by_hand = pushed_by_hand(any_model, PROMPTS, value, layer, hold)[:, every]
        torch.testing.assert_close(found, by_hand, atol=1e-5, rtol=1e-4)
        elsewhere = pushed_by_hand(any_model, PROMPTS, value.roll(1, 0), layer, hold)[:, every]
        assert (found - elsewhere).abs().max() > 1e-2


def test_pushes_of_nothing_and_heads_held_at_what_they_wrote_change_nothing(neox):
    parts, some = anatomy.of(neox), torch.arange(9)
    clean, own = prompts.next_token_logits(neox, PROMPTS)[:, some], prompts.head_outputs(neox, PROMPTS)
    nothing = Push(1, torch.zeros(len(PROMPTS), 1, parts.d_model))
    for found in cached.logits_of_variants(neox, PROMPTS, [[], [Edit(0, 2, own[0, 2])]], some, push=nothing):
        torch.testing.assert_close(found, clean, atol=1e-5, rtol=1e-5)


def test_behind_the_last_block_a_push_reaches_its_own_position_only(neox):
    parts, some = anatomy.of(neox), torch.arange(9)
    push = torch.randn(len(PROMPTS), 2, parts.d_model, generator=torch.Generator().manual_seed(0))
    push[:, 1] = 0  # the last position is left alone
    clean = prompts.next_token_logits(neox, PROMPTS)[:, some]
    behind = cached.logits_of_variants(neox, PROMPTS, [[]], some, push=Push(parts.n_layers, push))[0]
    torch.testing.assert_close(behind, clean, atol=1e-5, rtol=1e-5)
    before = cached.logits_of_variants(neox, PROMPTS, [[]], some, push=Push(1, push))[0]
    assert (before - clean).abs().max() > 1e-2


FAMILIES = ["gpt2", "gpt_neox", "llama-grouped", "gemma3", "olmo2"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kept", [True, False])
def test_what_runs_are_asked_again_is_what_each_question_by_itself_says(checkpoints, monkeypatch, family, kept):
    """One run of the prompts answers what took a pass of the whole model each, and so do some of the prompts."""
    monkeypatch.setattr(cached, "BYTES", 1 << 18)  # two batches or more
    monkeypatch.setattr(cached, "KEPT_BYTES", 1 << 30 if kept else 0)
    model, token_ids, places = models.load(str(checkpoints[family])), torch.arange(9), [-1, -2, -2, -1]
    whole = prompts.next_token_logits(model, PROMPTS)[:, token_ids]
    parts = anatomy.of(model._module)
    by_hand = {
        "heads": prompts.head_outputs(model, PROMPTS), "mlps": mlp_outputs(model, PROMPTS),
        "looks": attention_at(model, PROMPTS, places),
    }  # fmt: skip  # one thing a line
    intact = cached.Intact(model, PROMPTS)
    variants = [[], [Edit(1, 0, by_hand["heads"][1, 0].flip(0))]]
    together = intact.logits(variants, token_ids)
    torch.testing.assert_close(together[0], whole, atol=1e-5, rtol=1e-5)
    for some, its in ((range(4), intact), ([2, 0], intact.at([2, 0]))):
        rows = list(some)
        found = dict(zip(("heads", "mlps"), its.written())) | {"looks": its.looks([places[row] for row in rows])}
        torch.testing.assert_close(found["heads"], by_hand["heads"][:, :, rows], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found["mlps"], by_hand["mlps"][:, rows], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found["looks"], by_hand["looks"][..., rows], atol=1e-5, rtol=1e-5)
        with torch.no_grad():
            final = parts.logits(its.streams()[-1], token_ids)
        torch.testing.assert_close(final, whole[rows], atol=1e-5, rtol=1e-5)
        edits = [[edit._replace(value=edit.value[rows]) for edit in variant] for variant in variants]
        torch.testing.assert_close(its.logits(edits, token_ids), together[:, rows], atol=1e-5, rtol=1e-5)
    assert (together[1] - together[0]).abs().max() > 1e-3, "the control: an edit makes a difference"
    assert (whole[[2, 0]] - whole[[0, 2]]).abs().max() > 1e-3, "and so does the order"


def test_a_prompt_is_run_once_however_often_it_is_asked(checkpoints, monkeypatch):
    model, ran = models.load(str(checkpoints["gpt2"])), []
    run = cached.run
    monkeypatch.setattr(cached, "run", lambda model, some, **push: ran.extend(some) or run(model, some, **push))
    intact = cached.Intact(model, PROMPTS)
    for _ in range(2):
        intact.logits([[]], torch.arange(3))
        intact.written()
    intact.at([1, 3]).streams()
    assert sorted(ran) == sorted(PROMPTS)
    monkeypatch.setattr(cached, "KEPT_BYTES", 0)
    again = cached.Intact(model, PROMPTS)
    again.written()
    assert len(ran) == 3 * len(PROMPTS), "which are run anew where they cannot be kept"
