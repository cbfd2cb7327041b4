"""Effects in text against hooks and against one context at a time; rules on written cases; planted behaviours; odd texts."""

import copy
import json

import numpy as np
import pytest
import torch

from successor_heads import anatomy, tracing
from successor_heads.errors import UserError


@pytest.fixture(scope="module")
def contexts(tokenizer):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(4, len(tokenizer), (5, 9), generator=generator)


def reference_of(model, contexts, batch_size=2):
    return tracing.reference_outputs(model, contexts, n_drawn=7, seed=0, batch_size=batch_size)


def hooked(model, ids, *, edit=None):
    """Logits of one context from the plain module, its head outputs [layer, position, ...], and the input of the final norm."""
    parts, seen, handles = anatomy.of(model._module), [], []

    def visit(layer):
        def hook(_, args):
            changed = args[0].clone()
            if edit is not None:
                edit(layer, changed)
            seen.append(changed[0])
            return (changed,)

        return hook

    for layer in range(parts.n_layers):
        handles.append(parts.output_projection(layer).register_forward_pre_hook(visit(layer)))
    stream = []
    norm = model._module.get_submodule(parts.final_norm_path)
    handles.append(norm.register_forward_pre_hook(lambda _, args: stream.append(args[0][0])))
    with torch.no_grad():
        logits = model._module(ids[None]).logits[0]
    for handle in handles:
        handle.remove()
    return logits, torch.stack(seen).unflatten(-1, (parts.n_heads, parts.d_head)), stream[0]


def test_the_reference_is_the_mean_over_all_positions_and_some_of_the_outputs(model, contexts):
    reference = reference_of(model, contexts)
    outputs = torch.cat([hooked(model, ids)[1] for ids in contexts], 1)  # [layer, place, head, d_head]
    torch.testing.assert_close(reference.mean, outputs.mean(1), atol=1e-5, rtol=0)
    for drawn in reference.drawn:
        assert (outputs - drawn[:, None]).abs().amax((0, 2, 3)).min() < 1e-5
    other_batches = reference_of(model, contexts, batch_size=5)
    torch.testing.assert_close(reference.drawn, other_batches.drawn, atol=1e-5, rtol=0)


def test_direct_effects_are_those_of_a_changed_stream(model, contexts):
    """Each kind of ablation by hand, with the module's own norm and unembedding; and the wrong head as a control."""
    parts, reference = anatomy.of(model), reference_of(model, contexts)
    draws = torch.randint(7, (5, 8), generator=torch.Generator().manual_seed(1))
    found = tracing.effects_in_text(model, contexts, reference=reference, draws=draws)
    norm = model._module.get_submodule(parts.final_norm_path)
    w_u = model._module.get_output_embeddings().weight
    gaps = []
    for context, ids in enumerate(contexts):
        logits, outputs, stream = hooked(model, ids)
        for prefix in range(8):
            answer = ids[prefix + 1]
            torch.testing.assert_close(found.logit[context, prefix], logits[prefix, answer], atol=1e-4, rtol=0)
            loss = torch.nn.functional.cross_entropy(logits[prefix], answer)
            torch.testing.assert_close(found.loss[context, prefix], loss, atol=1e-4, rtol=0)
            for layer, head in [(0, 0), (1, parts.n_heads - 1)]:
                z = outputs[layer, prefix, head]
                drawn = reference.drawn[draws[context, prefix], layer, head]
                for kind, instead in {"mean": reference.mean[layer, head], "zero": 0 * z, "resample": drawn}.items():
                    with torch.no_grad():
                        without = norm(stream[prefix] - (z - instead) @ parts.w_o(layer)[head]) @ w_u[answer]
                    fall = logits[prefix, answer] - without
                    values = getattr(found, kind)[context, prefix, layer]
                    torch.testing.assert_close(values[head], fall, atol=1e-4, rtol=0)
                    gaps.append((values[(head + 1) % parts.n_heads] - fall).abs())
    assert torch.stack(gaps).max() > 1e-2


def test_attended_positions_are_the_highest_of_the_pattern(model, contexts):
    draws = torch.zeros(5, 8, dtype=torch.long)
    found = tracing.effects_in_text(model, contexts, reference=reference_of(model, contexts), draws=draws)
    with torch.no_grad():
        patterns = torch.stack(model._module(contexts, output_attentions=True).attentions)  # [layer, context, head, ...]
    for context, prefix, layer, head in [(0, 0, 0, 0), (1, 2, 1, 1), (4, 7, 0, 2)]:
        row = patterns[layer, context, head, prefix, : prefix + 1].sort(descending=True)
        n = min(5, prefix + 1)
        assert found.attended[context, prefix, layer, head].tolist() == row.indices[:n].tolist() + [-1] * (5 - n)
        torch.testing.assert_close(found.weight[context, prefix, layer, head, :n], row.values[:n], atol=1e-5, rtol=0)


def test_the_parts_sum_to_the_logit_of_the_intact_and_of_the_ablated_run(model, contexts):
    prompts = [row[: 3 + place].tolist() for place, row in enumerate(contexts)]
    answers, mean = contexts[:, -1], reference_of(model, contexts).mean
    last = anatomy.of(model).n_layers - 1
    for heads in ([], [(last, 1), (0, 0)]):
        parts = tracing.logit_parts(model, prompts, answers, heads=heads, mean=mean)
        logits = tracing.logits_without(model, prompts, heads, mean=mean)
        expected = logits.gather(1, answers[:, None])[:, 0]
        torch.testing.assert_close(sum(parts.values()), expected, atol=1e-4, rtol=0)
    heads_alone = sum(values for name, values in parts.items() if "H" in name)
    assert (heads_alone - expected).abs().max() > 1e-2


def test_frozen_effects_are_the_heads_parts_of_the_logit(model, contexts):
    draws = torch.zeros(5, 8, dtype=torch.long)
    reference = reference_of(model, contexts)
    found = tracing.effects_in_text(model, contexts, reference=reference, draws=draws)
    parts = tracing.logit_parts(model, contexts[:, :-1].tolist(), contexts[:, -1], mean=reference.mean)
    for layer in range(2):
        for head in range(anatomy.of(model).n_heads):
            torch.testing.assert_close(found.frozen[:, -1, layer, head], parts[f"L{layer}H{head}"], atol=1e-4, rtol=0)


def test_batches_of_contexts_and_prompts_give_what_each_gives_alone(model, contexts):
    reference = reference_of(model, contexts)
    draws = torch.randint(7, (5, 8), generator=torch.Generator().manual_seed(1))
    together = tracing.effects_in_text(model, contexts, reference=reference, draws=draws)
    for place in range(5):
        one = slice(place, place + 1)
        alone = tracing.effects_in_text(model, contexts[one], reference=reference, draws=draws[one])
        for name in together._fields:
            torch.testing.assert_close(getattr(together, name)[one], getattr(alone, name), atol=1e-4, rtol=0)
    prompts = [row[: 2 + place].tolist() for place, row in enumerate(contexts)]
    answers = torch.tensor([int(row[len(prompt)]) for row, prompt in zip(contexts, prompts)])
    at_end = tracing.direct_effects_at_end(model, prompts, answers, mean=reference.mean, batch_size=3)
    for place, prompt in enumerate(prompts):
        torch.testing.assert_close(at_end[place], together.mean[place, len(prompt) - 1], atol=1e-4, rtol=0)


def test_ablation_in_text_is_at_every_position_and_gradients_agree_where_it_is_small(model, contexts):
    parts, reference = anatomy.of(model), reference_of(model, contexts)
    heads = [(1, 1), (0, 2)]
    logit, loss = tracing.ablated_in_text(model, contexts, heads, mean=reference.mean, batch_size=2)

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
    found = tracing.gradient_attribution(model, contexts, mean=reference.mean)
    intact, _ = tracing.ablated_in_text(model, contexts, [], mean=reference.mean, batch_size=5)
    for layer, head in [(0, 1), (1, 0)]:

        def step(at, z, layer=layer, head=head):
            if at == layer:
                columns = slice(head * parts.d_head, (head + 1) * parts.d_head)
                z[..., columns] += 1e-3 * (reference.mean[layer, head] - z[..., columns])

        for context, ids in enumerate(contexts):
            logits, _, _ = hooked(model, ids, edit=step)
            fall = (intact[context] - logits[:-1].gather(1, ids[1:, None])[:, 0]).sum() / 1e-3
            assert abs(fall - found[context, layer, head]) < 0.05 + 0.05 * abs(fall)


def test_models_whose_heads_cannot_be_told_apart_are_refused(checkpoints, contexts):
    from successor_heads import models

    for family in ("gemma2", "olmo2"):
        with pytest.raises(UserError, match="a norm stands behind attention"):
            reference_of(models.load(str(checkpoints[family])), contexts)
