"""Direct effects against computations by hand and by hooks."""

import pytest
import torch

from by_hooks import PROMPTS, hooked, hooked_forward, reference_of
from successor_heads import ablation, anatomy, direct_effects, models, prompts
from successor_heads.errors import UserError
from successor_heads.planted import calibrate, words
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.prompts import prompts as planted_prompts


def final_stream(model, prompt):
    """What enters the final norm at the last position, by a plain hook."""
    seen = []
    norm = model._module.get_submodule(anatomy.of(model._module).final_norm_path)
    handle = norm.register_forward_pre_hook(lambda _, args: seen.append(args[0][0, -1]))
    hooked_forward(model, prompt)
    handle.remove()
    return seen[0], norm


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
    found = direct_effects.effects_in_text(model, contexts, reference=reference, draws=draws)
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
    found = direct_effects.effects_in_text(model, contexts, reference=reference_of(model, contexts), draws=draws)
    with torch.no_grad():
        patterns = torch.stack(
            model._module(contexts, output_attentions=True).attentions
        )  # [layer, context, head, ...]
    for context, prefix, layer, head in [(0, 0, 0, 0), (1, 2, 1, 1), (4, 7, 0, 2)]:
        row = patterns[layer, context, head, prefix, : prefix + 1].sort(descending=True)
        n = min(5, prefix + 1)
        assert found.attended[context, prefix, layer, head].tolist() == row.indices[:n].tolist() + [-1] * (5 - n)
        torch.testing.assert_close(found.weight[context, prefix, layer, head, :n], row.values[:n], atol=1e-5, rtol=0)


def test_the_parts_sum_to_the_logit_of_the_intact_and_of_the_ablated_run(model, contexts):
    starts = [row[: 3 + place].tolist() for place, row in enumerate(contexts)]
    answers, mean = contexts[:, -1], reference_of(model, contexts).mean
    last = anatomy.of(model).n_layers - 1
    for heads in ([], [(last, 1), (0, 0)]):
        parts = direct_effects.logit_parts(model, starts, answers, heads=heads, mean=mean)
        logits = ablation.logits_without(model, starts, heads, mean=mean)
        expected = logits.gather(1, answers[:, None])[:, 0]
        torch.testing.assert_close(sum(parts.values()), expected, atol=1e-4, rtol=0)
    heads_alone = sum(values for name, values in parts.items() if "H" in name)
    assert (heads_alone - expected).abs().max() > 1e-2


def test_without_a_head_only_what_reads_it_changes_and_the_changes_sum_to_that_of_the_logit(model, contexts):
    """Heads of its own layer read what they read before: with each run's own norm they would seem to take over."""
    starts, answers = [row[: 3 + place].tolist() for place, row in enumerate(contexts)], contexts[:, -1]
    mean = reference_of(model, contexts).mean
    changes = direct_effects.changes_of_logit(model, starts, answers, heads=[(0, 1)], mean=mean)
    logits = [ablation.logits_without(model, starts, heads, mean=mean) for heads in ([], [(0, 1)])]
    expected = (logits[1] - logits[0]).gather(1, answers[:, None])[:, 0]
    torch.testing.assert_close(sum(changes.values()), expected, atol=1e-4, rtol=0)
    beside = [f"L0H{head}" for head in range(anatomy.of(model).n_heads) if head != 1]
    assert all(changes[part].abs().max() < 1e-5 for part in ("embedding", *beside))
    changed = ("L0H1", "L1H0", "MLP1", direct_effects.FINAL_NORM)
    assert all(changes[part].abs().max() > 1e-3 for part in changed)


def test_frozen_effects_are_the_heads_parts_of_the_logit(model, contexts):
    draws = torch.zeros(5, 8, dtype=torch.long)
    reference = reference_of(model, contexts)
    found = direct_effects.effects_in_text(model, contexts, reference=reference, draws=draws)
    parts = direct_effects.logit_parts(model, contexts[:, :-1].tolist(), contexts[:, -1], mean=reference.mean)
    for layer in range(2):
        for head in range(anatomy.of(model).n_heads):
            torch.testing.assert_close(found.frozen[:, -1, layer, head], parts[f"L{layer}H{head}"], atol=1e-4, rtol=0)


def test_batches_of_contexts_and_prompts_give_what_each_gives_alone(model, contexts):
    reference = reference_of(model, contexts)
    draws = torch.randint(7, (5, 8), generator=torch.Generator().manual_seed(1))
    together = direct_effects.effects_in_text(model, contexts, reference=reference, draws=draws)
    for place in range(5):
        one = slice(place, place + 1)
        alone = direct_effects.effects_in_text(model, contexts[one], reference=reference, draws=draws[one])
        for name in together._fields:
            torch.testing.assert_close(getattr(together, name)[one], getattr(alone, name), atol=1e-4, rtol=0)
    starts = [row[: 2 + place].tolist() for place, row in enumerate(contexts)]
    answers = torch.tensor([int(row[len(start)]) for row, start in zip(contexts, starts)])
    at_end = direct_effects.direct_effects_at_end(model, starts, answers, mean=reference.mean, batch_size=3)
    for place, start in enumerate(starts):
        torch.testing.assert_close(at_end[place], together.mean[place, len(start) - 1], atol=1e-4, rtol=0)
    rivals = (answers + 1) % 500  # a second answer shares the run
    pairs = torch.stack([rivals, answers], 1)
    at_end_of = direct_effects.direct_effects_at_end(model, starts, pairs, mean=reference.mean)
    torch.testing.assert_close(at_end_of[:, 1], at_end, atol=1e-4, rtol=0)
    assert (at_end_of[:, 0] - at_end).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "olmo2"])
def test_with_a_norm_behind_attention_heads_have_shares_that_sum_to_what_it_writes(checkpoints, contexts, family):
    """The norm by the module's own code, on the sum of all heads and on that of none: only the divisor is held."""
    model = models.load(str(checkpoints[family]))
    parts, module = anatomy.of(model), model._module
    for layer in range(parts.n_layers):  # norms as they are trained: their gains are not all alike
        norm = module.get_submodule(f"{parts.blocks_path}.{layer}.{parts.attention_post_norm_path}")
        norm.weight.data.normal_(1.0, 0.5, generator=torch.Generator().manual_seed(layer))
    reference = reference_of(model, contexts)
    draws = torch.randint(7, (5, 8), generator=torch.Generator().manual_seed(1))
    found = direct_effects.effects_in_text(model, contexts, reference=reference, draws=draws)
    final, w_u = module.get_submodule(parts.final_norm_path), module.get_output_embeddings().weight
    gaps, plain = [], []
    for context, ids in enumerate(contexts):
        _, outputs, stream = hooked(model, ids)
        for layer in range(parts.n_layers):
            norm = module.get_submodule(f"{parts.blocks_path}.{layer}.{parts.attention_post_norm_path}")
            summed = (outputs[layer].unsqueeze(-2) @ parts.w_o(layer)).squeeze(-2).sum(1)  # [position, d_model]
            with torch.no_grad():
                ratio = norm(summed) / summed  # what each entry is multiplied by, at each position
                for head in range(parts.n_heads):
                    deviation = (outputs[layer, :, head] - reference.mean[layer, head]) @ parts.w_o(layer)[head]
                    logits = [final(stream - removed) @ w_u.T for removed in (0, deviation * ratio, deviation)]
                    intact, without, unnormed = (of[:-1].gather(1, ids[1:, None])[:, 0] for of in logits)
                    gaps.append(found.mean[context, :, layer, head] - (intact - without))
                    plain.append(found.mean[context, :, layer, head] - (intact - unnormed))
    assert torch.stack(gaps).abs().max() < 1e-4 < 1e-2 < torch.stack(plain).abs().max()


def test_a_model_elsewhere_is_refused(model, contexts, monkeypatch):
    monkeypatch.setattr(model, "remote", True)
    with pytest.raises(UserError, match="need the weights, which are on NDIF"):
        reference_of(model, contexts)


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "olmo2", "phi"])
def test_the_parts_sum_to_the_logit_of_families_with_more_norms_a_cap_or_a_bias_at_the_end(
    checkpoints, contexts, family
):
    model = models.load(str(checkpoints[family]))
    model._module.config.final_logit_softcapping = None  # the parts are of the logit in front of the cap
    starts, answers = contexts[:, :-1].tolist(), contexts[:, -1]
    mean = reference_of(model, contexts).mean
    for heads in ([], [(1, 1), (0, 0)]):
        found = direct_effects.logit_parts(model, starts, answers, heads=heads, mean=mean)
        expected = ablation.logits_without(model, starts, heads, mean=mean).gather(1, answers[:, None])[:, 0]
        torch.testing.assert_close(sum(found.values()), expected, atol=1e-4, rtol=0)
        heads_alone = sum(values for name, values in found.items() if "H" in name)
        assert (heads_alone - expected).abs().max() > 1e-3


def test_direct_effects_are_those_of_a_computation_by_hand(model, days):
    parts = anatomy.of(model._module)
    answers = days.token_ids[:4]
    effects = direct_effects.on_answers(model, PROMPTS, answers, members=days.token_ids, reference=PROMPTS)
    outputs = torch.stack([hooked_forward(model, prompt)[1] for prompt in PROMPTS])  # [prompt, layer, head, d_head]
    unembed, others = model._module.get_output_embeddings().weight, []
    for prompt, text in enumerate(PROMPTS):
        stream, norm = final_stream(model, text)
        with torch.no_grad():
            intact = norm(stream) @ unembed.T
            torch.testing.assert_close(effects.clean.logit[prompt], intact[answers[prompt]], atol=1e-4, rtol=0)
            for layer in range(parts.n_layers):
                for head in range(parts.n_heads):
                    deviation = outputs[prompt, layer, head] - outputs[:, layer, head].mean(0)
                    without = norm(stream - deviation @ parts.w_o(layer)[head]) @ unembed.T
                    fall = intact - without
                    found = effects.logit_fall[layer, head, prompt]
                    torch.testing.assert_close(found, fall[answers[prompt]], atol=1e-4, rtol=0)
                    rivals = days.token_ids[days.token_ids != answers[prompt]]
                    lead = fall[answers[prompt]] - fall[rivals].mean()
                    torch.testing.assert_close(effects.difference_fall[layer, head, prompt], lead, atol=1e-4, rtol=0)
                    # The control: another head's effect is another number.
                    others.append(
                        (effects.logit_fall[layer, (head + 1) % parts.n_heads, prompt] - fall[answers[prompt]]).abs()
                    )
    assert torch.stack(others).max() > 1e-3


@pytest.mark.parametrize("family", ["gemma3", "olmo2"])
def test_on_answers_the_norm_behind_attention_is_held(checkpoints, days, family):
    """Against `direct_effects_at_end`, which the module's own norm was held against; without the norm it is another number."""
    model = models.load(str(checkpoints[family]))
    parts, answers = anatomy.of(model), days.token_ids[:4]
    for layer in range(parts.n_layers):
        norm = model._module.get_submodule(f"{parts.blocks_path}.{layer}.{parts.attention_post_norm_path}")
        norm.weight.data.normal_(1.0, 0.5, generator=torch.Generator().manual_seed(layer))
    found = direct_effects.on_answers(model, PROMPTS, answers, members=days.token_ids, reference=PROMPTS).logit_fall
    mean = prompts.mean_head_outputs(model, PROMPTS)
    at_end = direct_effects.direct_effects_at_end(model, PROMPTS, answers, mean=mean)
    torch.testing.assert_close(found, at_end.permute(1, 2, 0), atol=1e-4, rtol=0)
    monkey = direct_effects.frozen_post_norms
    try:
        direct_effects.frozen_post_norms = lambda parts, _: [None] * parts.n_layers
        unnormed = direct_effects.on_answers(model, PROMPTS, answers, members=days.token_ids, reference=PROMPTS)
    finally:
        direct_effects.frozen_post_norms = monkey
    assert (unnormed.logit_fall - found).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["gemma3", "olmo2", "gpt2"])
def test_by_hand_the_norm_behind_attention_is_one_call(checkpoints, family):
    """Chapter 5's cell: what a head writes, through that norm where there is one, taken off the final stream."""
    model = models.load(str(checkpoints[family]))
    parts, ids, answer = anatomy.of(model), model.tokenizer(PROMPTS[0])["input_ids"], torch.tensor([5])
    if parts.attention_post_norm_path is not None:
        norm = model._module.get_submodule(f"{parts.blocks_path}.1.{parts.attention_post_norm_path}")
        norm.weight.data.normal_(5.0, 2.0, generator=torch.Generator().manual_seed(1))
    _, outputs, streams = hooked(model, torch.tensor(ids))
    stream, written = streams[-1], outputs[1, -1, 0] @ parts.w_o(1)[0]

    def fall(removed):
        return float(parts.logits(stream, answer) - parts.logits(stream - removed, answer))

    mean = torch.zeros(parts.n_layers, parts.n_heads, parts.d_head)
    expected = float(direct_effects.direct_effects_at_end(model, [ids], answer, mean=mean)[0, 1, 0])
    assert fall(direct_effects.norm_at_end(model, parts, ids, 1)(written)) == pytest.approx(expected, abs=1e-4)
    if parts.attention_post_norm_path is not None:
        assert abs(fall(written) - expected) > 1e-3


def test_losses_by_path_are_those_of_changed_streams(model, contexts):
    """Each path by plain hooks and the module's own norm and unembedding; another head's numbers are others."""
    parts, reference = anatomy.of(model), reference_of(model, contexts)
    norm = model._module.get_submodule(parts.final_norm_path)
    w_u = model._module.get_output_embeddings().weight
    gaps = []
    for layer, head in [(0, 1), (1, 0)]:
        columns, mean = ablation.head_columns(parts, head), reference.mean[layer, head]

        def edit(at, heads, layer=layer, columns=columns, mean=mean):
            if at == layer:
                heads[..., columns] = mean

        found, other = (
            direct_effects.losses_by_path(model, contexts, place, replacements=[reference.mean[place]], batch_size=2)[0]
            for place in ((layer, head), (layer, (head + 1) % parts.n_heads))
        )
        for context, ids in enumerate(contexts):
            _, outputs, stream = hooked(model, ids)
            _, _, without = hooked(model, ids, edit=edit)
            removed = (outputs[layer, :, head] - mean) @ parts.w_o(layer)[head]
            for path, values in {"direct": stream - removed, "indirect": without + removed, "total": without}.items():
                with torch.no_grad():
                    loss = torch.nn.functional.cross_entropy(norm(values[:-1]) @ w_u.T, ids[1:], reduction="none")
                torch.testing.assert_close(getattr(found, path)[context], loss, atol=1e-4, rtol=0)
                gaps.append((getattr(other, path)[context] - loss).abs().max())
    assert torch.stack(gaps).max() > 1e-2


def test_a_head_that_nothing_later_reads_has_no_indirect_effect(neox, contexts):
    """GPT-NeoX's last attention stands beside its last MLP: what it writes is read by the unembedding alone."""
    reference = reference_of(neox, contexts)
    draws = torch.zeros(5, 8, dtype=torch.long)
    intact = direct_effects.effects_in_text(neox, contexts, reference=reference, draws=draws).loss
    last = anatomy.of(neox).n_layers - 1
    for layer in (last, 0):
        (found,) = direct_effects.losses_by_path(
            neox,
            contexts,
            (layer, 1),
            replacements=[reference.drawn[draws[:, :1].expand(-1, 9), layer, 1]],
            batch_size=5,
        )
        is_all = (found.indirect - intact).abs().max() < 1e-4 and (found.direct - found.total).abs().max() < 1e-4
        assert is_all == (layer == last)


@pytest.mark.parametrize("family", ["gpt_neox", "llama"])
@pytest.mark.slow
def test_direct_and_indirect_falls_add_up_to_the_total_when_the_norm_is_held(family):
    """On a plant, whose counting head works by the direct path: in logits, with the final norm's divisor as it was."""
    planted = plant(Plan(family, 1, calibrate.SMALL[family], in_context=True), words.word_tokenizer())
    model = planted.open()
    parts, (layer, head) = anatomy.of(model), planted.place("successor")
    lists, answers = planted_prompts(model.tokenizer, "successor", n=6, seed=2)[::2]
    contexts = torch.tensor(
        [[*model.tokenizer(text)["input_ids"], int(answer)] for text, answer in zip(lists, answers)]
    )
    mean, columns = reference_of(model, contexts).mean[layer, head], ablation.head_columns(parts, head)

    def edit(at, heads):
        if at == layer:
            heads[..., columns] = mean

    (direct_losses,) = direct_effects.losses_by_path(model, contexts, (layer, head), replacements=[mean], batch_size=3)
    for context, ids in enumerate(contexts):
        _, outputs, stream = hooked(model, ids)
        _, _, without = hooked(model, ids, edit=edit)
        removed = ((outputs[layer, :, head] - mean) @ parts.w_o(layer)[head])[-2]
        frozen = direct_effects._frozen(parts, parts.final_norm_path, stream[-2])
        toward = parts.unembed(ids[-1:])[:, 0]
        falls = {
            "direct": frozen(removed) @ toward,
            "indirect": frozen(stream[-2] - (without[-2] + removed)) @ toward,
            "total": frozen(stream[-2] - without[-2]) @ toward,
        }
        torch.testing.assert_close(falls["direct"] + falls["indirect"], falls["total"], atol=1e-3, rtol=1e-4)
        assert falls["direct"] > 4 * falls["indirect"].abs()
        assert direct_losses.direct[context, -1] > direct_losses.indirect[context, -1] + 1


def test_in_the_last_layer_of_a_parallel_model_direct_is_total(neox, days):
    """What no later block can read has no indirect effect: GPT-NeoX's last attention stands beside its last MLP."""
    answers, common = days.token_ids[:4], {"members": days.token_ids, "reference": PROMPTS}
    direct = direct_effects.on_answers(neox, PROMPTS, answers, **common)
    total = ablation.mean_ablation_effects(neox, PROMPTS, answers, **common)
    torch.testing.assert_close(direct.logit_fall[-1], total.logit_fall[-1], atol=1e-4, rtol=0)
    torch.testing.assert_close(direct.clean.logit, total.clean.logit, atol=1e-4, rtol=0)
