"""Ablations and edits in a trace against plain modules with hooks."""

import pytest
import torch

from by_hooks import PROMPTS, hooked, hooked_forward, mlp_outputs, reference_of
from successor_heads import ablation, anatomy, cached, prompts


def with_mlp0(model, prompt, *, at, edit):
    """Next-token logits when a plain hook puts edit(value) in place of MLP0's "output", or of its "neurons"."""
    parts = anatomy.of(model._module)
    path = parts.mlp_out_path if at == "neurons" else parts.mlp_post_norm_path or parts.mlp_out_path
    module = model._module.get_submodule(f"{parts.blocks_path}.0.{path}")
    if at == "neurons":
        handle = module.register_forward_pre_hook(lambda _, args: (edit(args[0]),))
    else:
        handle = module.register_forward_hook(lambda *call: edit(call[2]))
    logits, _ = hooked_forward(model, prompt)
    handle.remove()
    return logits


@pytest.mark.slow
def test_ablation_in_text_is_at_every_position_and_gradients_agree_where_it_is_small(model, contexts):
    parts, reference = anatomy.of(model), reference_of(model, contexts)
    heads = [(1, 1), (0, 2)]
    logit, loss = ablation.ablated_in_text(model, contexts, heads, mean=reference.mean, batch_size=2)

    def edit(layer, z):
        for at, head in heads:
            if at == layer:
                z[..., head * parts.d_head : (head + 1) * parts.d_head] = reference.mean[layer, head]

    for context, ids in enumerate(contexts):
        logits, _, _ = hooked(model, ids, edit=edit)
        torch.testing.assert_close(logit[context], logits[:-1].gather(1, ids[1:, None])[:, 0], atol=1e-4, rtol=0)
        expected = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")
        torch.testing.assert_close(loss[context], expected, atol=1e-4, rtol=0)

    # A step of a thousandth towards the mean: there the first order is all there is.
    found = ablation.gradient_attribution(model, contexts, mean=reference.mean)
    intact, _ = ablation.ablated_in_text(model, contexts, [], mean=reference.mean, batch_size=5)
    for layer, head in [(0, 1), (1, 0)]:

        def step(at, z, layer=layer, head=head):
            if at == layer:
                columns = slice(head * parts.d_head, (head + 1) * parts.d_head)
                z[..., columns] += 1e-3 * (reference.mean[layer, head] - z[..., columns])

        for context, ids in enumerate(contexts):
            logits, _, _ = hooked(model, ids, edit=step)
            fall = (intact[context] - logits[:-1].gather(1, ids[1:, None])[:, 0]).sum() / 1e-3
            assert abs(fall - found[context, layer, head]) < 0.05 + 0.05 * abs(fall)


def test_ablation_in_a_trace_is_ablation_by_hooks(model, days):
    parts = anatomy.of(model)
    means = torch.stack([hooked_forward(model, prompt)[1] for prompt in PROMPTS]).mean(0)
    answers = days.token_ids[: len(PROMPTS)]
    effects = ablation.mean_ablation_effects(model, PROMPTS, answers, members=days.token_ids, reference=PROMPTS)
    assert effects.logit_fall.shape == (parts.n_layers, parts.n_heads, len(PROMPTS))

    def lead(logits, answer):
        return logits[answer] - logits[days.token_ids[days.token_ids != answer]].mean()

    for place, (prompt, answer) in enumerate(zip(PROMPTS, answers)):
        clean, _ = hooked_forward(model, prompt)
        ablated = {
            (layer, head): hooked_forward(model, prompt, edits=[(layer, head, means[layer, head])])[0]
            for layer in range(parts.n_layers)
            for head in range(parts.n_heads)
        }
        for (layer, head), logits in ablated.items():
            logit_fall = clean[answer] - logits[answer]
            difference_fall = lead(clean, answer) - lead(logits, answer)
            torch.testing.assert_close(effects.logit_fall[layer, head, place], logit_fall, atol=1e-5, rtol=0)
            torch.testing.assert_close(effects.difference_fall[layer, head, place], difference_fall, atol=1e-5, rtol=0)
            in_class = logits[days.token_ids].argmax() == (days.token_ids == answer).nonzero()[0, 0]
            assert effects.ablated.right_in_class[layer, head, place] == in_class
            # The control: ablating the neighbouring head is something else.
            neighbour = ablated[layer, (head + 1) % parts.n_heads]
            assert (logits - neighbour).abs().max() > 1e-4


def test_answers_are_read_against_their_class():
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0, 9.0], [0.0, 3.0, 3.0, 0.0, 0.0], [5.0, 1.0, 2.0, 3.0, 0.0]])
    answers, members = torch.tensor([1, 1, 0]), torch.tensor([0, 1, 2])
    read = ablation.read_answers(logits, answers, members)
    assert read.logit.tolist() == [3, 3, 5]
    assert read.difference.tolist() == [2.5, 1.5, 3.5]
    assert read.right_in_class.tolist() == [True, False, True]  # a tie is not right, another class does not count

    # The same from nothing but the logits that are needed, whatever the order and wherever the answer.
    token_ids, answers, members = ablation.asked_of(torch.tensor([3, 1, 0]), torch.tensor([2, 0, 1]))
    assert token_ids.tolist() == [0, 1, 2, 3]
    assert token_ids[answers].tolist() == [3, 1, 0] and token_ids[members].tolist() == [2, 0, 1]
    assert ablation.read_answers(logits[:, token_ids], answers, members).difference[0] == pytest.approx(2 - 4 / 3)


def test_losses_without_groups_of_heads_are_those_of_hooks_in_every_family(any_model):
    answers, mean = torch.arange(8, 8 + len(PROMPTS)), prompts.mean_head_outputs(any_model, PROMPTS)
    groups = [(), ((1, 1),), ((1, 0), (0, 1))]
    losses = ablation.losses_without(any_model, PROMPTS, answers, groups, mean=mean)
    for group, of_group in zip(groups, losses, strict=True):
        edits = [(layer, head, mean[layer, head]) for layer, head in group]
        logits = torch.stack([hooked_forward(any_model, prompt, edits=edits)[0] for prompt in PROMPTS])
        expected = torch.nn.functional.cross_entropy(logits, answers, reduction="none")
        torch.testing.assert_close(of_group, expected, atol=1e-5, rtol=0)
    # The control: another group is another model.
    assert (losses[0] - losses[2]).abs().max() > 1e-5


@pytest.mark.slow
def test_resampled_heads_and_mlps_are_those_of_hooks_in_every_family(any_model):
    parts, token_ids = anatomy.of(any_model), torch.arange(8, 15)
    answers, donors = token_ids[: len(PROMPTS)], PROMPTS[1:] + PROMPTS[:1]
    heads, mlps = prompts.head_outputs(any_model, donors), mlp_outputs(any_model, donors)
    of_heads = ablation.head_ablation_effects(any_model, PROMPTS, answers, members=token_ids, replacement=heads)
    variants = [[], *([cached.Edit(layer, None, mlps[layer])] for layer in range(parts.n_layers))]
    of_mlps = cached.logits_of_variants(any_model, PROMPTS, variants, token_ids)[..., : len(PROMPTS)].diagonal(
        dim1=1, dim2=2
    )
    for place, (prompt, answer) in enumerate(zip(PROMPTS, answers)):
        donor = hooked_forward(any_model, donors[place])[1]
        for layer in range(parts.n_layers):
            by_hand = torch.stack(
                [
                    hooked_forward(any_model, prompt, edits=[(layer, head, donor[layer, head])])[0][answer]
                    for head in range(parts.n_heads)
                ]
            )
            found = of_heads.ablated.logit[layer, :, place]
            torch.testing.assert_close(found, by_hand, atol=1e-4, rtol=0)
            assert (found.roll(1) - by_hand).abs().max() > 1e-2  # the control: a neighbour is another head

            without_mlp = hooked_forward(any_model, prompt, mlps=[(layer, mlps[layer, place])])[0][answer]
            torch.testing.assert_close(of_mlps[1 + layer, place], without_mlp, atol=1e-4, rtol=0)
        assert (of_mlps[1:, place] - of_mlps[0, place]).abs().max() > 1e-2


def test_a_head_that_writes_what_it_wrote_changes_nothing(any_model):
    token_ids = torch.arange(8, 15)
    own = {"members": token_ids, "replacement": prompts.head_outputs(any_model, PROMPTS)}
    effects = ablation.head_ablation_effects(any_model, PROMPTS, token_ids[: len(PROMPTS)], **own)
    torch.testing.assert_close(effects.logit_fall, torch.zeros_like(effects.logit_fall), atol=1e-4, rtol=0)


def test_groups_of_none_one_and_two_heads(model, days):
    answers, parts = days.token_ids[:4], anatomy.of(model)
    means = prompts.mean_head_outputs(model, PROMPTS)
    replaced = {"members": days.token_ids, "replacement": means}
    last = parts.n_layers - 1
    groups = [[(last, 1), (0, 0)], [], [(last, 1)]]  # in any order, of heads as of groups
    together, none, one = ablation.group_ablation_effects(model, PROMPTS, answers, groups, **replaced).ablated.logit
    for prompt, text in enumerate(PROMPTS):
        edits = [(0, 0, means[0, 0]), (last, 1, means[last, 1])]
        for found, made in ((together, edits), (none, []), (one, edits[1:])):
            by_hand, _ = hooked_forward(model, text, edits=made)
            torch.testing.assert_close(found[prompt], by_hand[answers[prompt]], atol=1e-4, rtol=0)
    assert (together - one).abs().max() > 1e-3 and (none - one).abs().max() > 1e-3


def test_mlp0_loses_directions_at_every_position(model):
    parts = anatomy.of(model)
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(parts.d_model, 3, generator=generator))[0].T
    mean = torch.randn(parts.d_model, generator=generator)
    logits = ablation.without_mlp0_directions(model, PROMPTS, directions, mean=mean)
    onto = directions.T @ directions
    for prompt, found in zip(PROMPTS, logits):
        expected = with_mlp0(model, prompt, at="output", edit=lambda out: out - (out - mean) @ onto)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (logits - prompts.next_token_logits(model, PROMPTS)).abs().max() > 0.01


def test_mlp0_is_made_of_what_its_neurons_write(any_model):
    parts = anatomy.of(any_model)
    x = parts.embed(torch.arange(20))
    seen = []
    path = f"{parts.blocks_path}.0.{parts.mlp_out_path}"
    handle = any_model._module.get_submodule(path).register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
    with torch.no_grad():
        any_model._module(torch.arange(20)[None])
    handle.remove()
    neurons = parts.mlp0_neurons(x)
    assert neurons.shape == seen[0].shape == (20, len(parts.mlp0_writes()))
    more = neurons.clone()
    more[:, 5] += 1
    bias = parts._bias(f"{parts.blocks_path}.0.{parts.mlp_out_path}")
    if parts.mlp_post_norm_path is None:
        written = neurons @ parts.mlp0_writes() + (0 if bias is None else bias)
        torch.testing.assert_close(written, parts.mlp0(x), atol=1e-5, rtol=1e-4)
    if parts.is_parallel:  # there the MLP reads the bare embedding in a prompt, too
        torch.testing.assert_close(neurons, seen[0], atol=1e-5, rtol=1e-4)
