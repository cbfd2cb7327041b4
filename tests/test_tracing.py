import pytest
import torch

from successor_heads import anatomy, ordinals, tracing

PROMPTS = ["one two three", "Monday Tuesday Wednesday Thursday", " 7 8", "A"]


@pytest.fixture(scope="module")
def days(tokenizer):
    return ordinals.resolve(tokenizer)["days"]


def hooked_forward(model, prompt, *, edits=()):
    """One unpadded prompt through the plain module: next-token logits, and head outputs [layer, head, d_head].

    `edits` are (layer, head, value): what a forward hook puts in place of a head's output at the last position.
    """
    parts = anatomy.of(model._module)
    seen, handles = [], []

    def visit(layer):
        def hook(_, args):
            seen.append(args[0][0, -1])
            edited = args[0].clone()
            for _, head, value in (edit for edit in edits if edit[0] == layer):
                edited[:, -1, head * parts.d_head : (head + 1) * parts.d_head] = value
            return (edited,)

        return hook

    for layer in range(parts.n_layers):
        handles.append(parts.output_projection(layer).register_forward_pre_hook(visit(layer)))
    with torch.no_grad():
        logits = model._module(torch.tensor([model.tokenizer(prompt)["input_ids"]])).logits[0, -1]
    for handle in handles:
        handle.remove()
    return logits, torch.stack(seen).unflatten(-1, (parts.n_heads, parts.d_head))


def test_prompts_are_padded_on_the_left_and_counted_from_their_first_token(neox):
    encoded = tracing.encode(neox, [" 7 8", "A"])
    assert encoded["attention_mask"].tolist() == [[1, 1], [0, 1]]
    assert encoded["position_ids"].tolist() == [[0, 1], [0, 0]]
    assert encoded["input_ids"][1, 1] == neox.tokenizer("A")["input_ids"][0]


def test_a_padded_batch_gives_what_each_prompt_gives_alone(model):
    batched = tracing.next_token_logits(model, PROMPTS)
    for prompt, logits in zip(PROMPTS, batched):
        torch.testing.assert_close(logits, hooked_forward(model, prompt)[0], atol=1e-4, rtol=0)


def test_attention_patterns_are_those_of_the_forward_pass(model):
    tokens, patterns = tracing.attention_patterns(model, PROMPTS[1])
    assert tokens == ["Monday", " Tuesday", " Wednesday", " Thursday"]
    with torch.no_grad():
        output = model._module(tracing.encode(model, [PROMPTS[1]])["input_ids"], output_attentions=True)
    torch.testing.assert_close(patterns, torch.cat(output.attentions), atol=1e-6, rtol=0)
    torch.testing.assert_close(patterns.sum(-1), torch.ones(patterns.shape[:3]))
    assert (patterns.triu(1) == 0).all()


def test_mean_head_outputs_ignore_the_padding(model):
    means = tracing.mean_head_outputs(model, PROMPTS)
    expected = torch.stack([hooked_forward(model, prompt)[1] for prompt in PROMPTS]).mean(0)
    torch.testing.assert_close(means, expected, atol=1e-5, rtol=0)


def test_ablation_in_a_trace_is_ablation_by_hooks(model, days):
    parts = anatomy.of(model)
    means = torch.stack([hooked_forward(model, prompt)[1] for prompt in PROMPTS]).mean(0)
    answers = days.token_ids[: len(PROMPTS)]
    effects = tracing.mean_ablation_effects(model, PROMPTS, answers, members=days.token_ids, reference=PROMPTS)
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
            assert effects.ablated.right_in_vocabulary[layer, head, place] == (logits.argmax() == answer)
            # The control: ablating the neighbouring head is something else.
            neighbour = ablated[layer, (head + 1) % parts.n_heads]
            assert (logits - neighbour).abs().max() > 1e-4


def test_replacing_a_head_by_its_own_output_changes_nothing(model):
    clean, own = hooked_forward(model, PROMPTS[0])
    for layer, replacement in enumerate(own):
        for logits in tracing.ablated_logits(model, PROMPTS[:1], replacement, layer=layer):
            torch.testing.assert_close(logits[0], clean, atol=1e-5, rtol=0)


def test_answers_are_read_against_class_and_vocabulary():
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0, 9.0], [0.0, 3.0, 3.0, 0.0, 0.0], [5.0, 1.0, 2.0, 3.0, 0.0]])
    read = tracing.read_answers(logits, torch.tensor([1, 1, 0]), torch.tensor([0, 1, 2]))
    assert read.logit.tolist() == [3, 3, 5]
    assert read.difference.tolist() == [2.5, 1.5, 3.5]
    assert read.right_in_class.tolist() == [True, False, True]
    assert read.right_in_vocabulary.tolist() == [False, False, True]


def test_tokens_are_shown_with_their_spaces(tokenizer):
    ids = torch.tensor(tokenizer("Monday Tuesday\n 27")["input_ids"])
    assert tracing.token_texts(tokenizer, ids) == ["Monday", " Tuesday", "\n", " 27"]


def test_a_layer_is_ablated_in_one_forward_pass(neox):
    passes = []
    handle = neox._module.lm_head.register_forward_hook(lambda *_: passes.append(1))
    tracing.ablated_logits(neox, PROMPTS, tracing.mean_head_outputs(neox, PROMPTS)[0], layer=0)
    handle.remove()
    assert len(passes) == 2  # one for the means, one for all heads


def final_stream(model, prompt):
    """What enters the final norm at the last position, by a plain hook."""
    seen = []
    norm = model._module.get_submodule(anatomy.of(model._module).final_norm_path)
    handle = norm.register_forward_pre_hook(lambda _, args: seen.append(args[0][0, -1]))
    hooked_forward(model, prompt)
    handle.remove()
    return seen[0], norm


def test_direct_effects_are_those_of_a_computation_by_hand(model, days):
    parts = anatomy.of(model._module)
    answers = days.token_ids[:4]
    effects = tracing.direct_effects(model, PROMPTS, answers, members=days.token_ids, reference=PROMPTS)
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


def test_in_the_last_layer_of_a_parallel_model_direct_is_total(neox, days):
    """What no later block can read has no indirect effect: GPT-NeoX's last attention stands beside its last MLP."""
    answers, common = days.token_ids[:4], {"members": days.token_ids, "reference": PROMPTS}
    direct = tracing.direct_effects(neox, PROMPTS, answers, **common)
    total = tracing.mean_ablation_effects(neox, PROMPTS, answers, **common)
    torch.testing.assert_close(direct.logit_fall[-1], total.logit_fall[-1], atol=1e-4, rtol=0)
    torch.testing.assert_close(direct.clean.logit, total.clean.logit, atol=1e-4, rtol=0)


def test_joint_ablation_of_none_one_and_two(model, days):
    answers, common = days.token_ids[:4], {"members": days.token_ids, "reference": PROMPTS}
    single = tracing.mean_ablation_effects(model, PROMPTS, answers, **common)
    none = tracing.joint_ablation(model, PROMPTS, answers, [], **common)
    torch.testing.assert_close(none.logit, single.clean.logit, atol=1e-4, rtol=0)
    last = anatomy.of(model).n_layers - 1
    one = tracing.joint_ablation(model, PROMPTS, answers, [(last, 1)], **common)
    torch.testing.assert_close(one.difference, single.ablated.difference[last, 1], atol=1e-4, rtol=0)
    means = tracing.mean_head_outputs(model, PROMPTS)
    both = tracing.joint_ablation(model, PROMPTS, answers, [(last, 1), (0, 0)], **common)  # in any order
    for prompt, text in enumerate(PROMPTS):
        by_hand, _ = hooked_forward(model, text, edits=[(0, 0, means[0, 0]), (last, 1, means[last, 1])])
        torch.testing.assert_close(both.logit[prompt], by_hand[answers[prompt]], atol=1e-4, rtol=0)


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


def test_mlp0_loses_directions_at_every_position(model):
    parts = anatomy.of(model)
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(parts.d_model, 3, generator=generator))[0].T
    mean = torch.randn(parts.d_model, generator=generator)
    logits = tracing.without_mlp0_directions(model, PROMPTS, directions, mean=mean)
    onto = directions.T @ directions
    for prompt, found in zip(PROMPTS, logits):
        expected = with_mlp0(model, prompt, at="output", edit=lambda out: out - (out - mean) @ onto)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (logits - tracing.next_token_logits(model, PROMPTS)).abs().max() > 0.01


def test_mlp0_neurons_are_held_at_their_mean_at_every_position(model):
    parts = anatomy.of(model)
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(len(parts.mlp0_writes()), generator=generator)
    neurons = torch.tensor([1, 7, 30])

    def hold(activations):
        activations = activations.clone()
        activations[..., neurons] = mean[neurons]
        return activations

    logits = tracing.without_mlp0_neurons(model, PROMPTS, neurons, mean=mean)
    for prompt, found in zip(PROMPTS, logits):
        torch.testing.assert_close(found, with_mlp0(model, prompt, at="neurons", edit=hold), atol=1e-4, rtol=0)
    assert (logits - tracing.without_mlp0_neurons(model, PROMPTS, neurons + 1, mean=mean)).abs().max() > 0.01


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


def test_head_inputs_are_what_the_layers_attention_reads(model):
    parts = anatomy.of(model)
    texts = [*PROMPTS, "Monday Tuesday 27"]
    token_ids, read = tracing.head_inputs(model, texts, layer=1, batch_size=2)
    found = {}
    for token, vector in zip(token_ids.tolist(), read):
        found.setdefault(token, []).append(vector)
    norm = model._module.get_submodule(f"{parts.blocks_path}.1.{parts.head_norm_path}")
    for text in texts:
        seen = []
        handle = norm.register_forward_hook(lambda *call, seen=seen: seen.append(call[2][0]))
        hooked_forward(model, text)
        handle.remove()
        for token, vector in zip(model.tokenizer(text)["input_ids"], seen[0]):
            gaps = [(other - vector).abs().max().item() for other in found[token]]
            assert min(gaps) < 1e-4
    assert len(token_ids) == sum(len(model.tokenizer(text)["input_ids"]) for text in texts)


def pushed_by_hand(model, prompts, pushes, layer, held):
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
        logits = model._module(**tracing.encode(model, prompts)).logits[:, -1]
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.parametrize("layer", [0, 1])
def test_an_edit_inside_the_model_equals_the_forward_pass_with_the_edited_activation(model, layer):
    parts = anatomy.of(model)
    pushes = torch.randn(len(PROMPTS), 2, parts.d_model, generator=torch.Generator().manual_seed(0))
    held = {(1, 1): torch.randn(len(PROMPTS), parts.d_head, generator=torch.Generator().manual_seed(1))}
    clean = tracing.next_token_logits(model, PROMPTS)
    for hold in ({}, held):
        steered = tracing.steered(model, PROMPTS, pushes, layer=layer, held=hold)
        by_hand = pushed_by_hand(model, PROMPTS, pushes, layer, hold)
        torch.testing.assert_close(steered.logits, by_hand, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(steered.logits, clean, atol=0.1)
    torch.testing.assert_close(steered.heads[1, :, 1], held[1, 1])


def test_pushes_of_nothing_and_heads_held_at_what_they_wrote_change_nothing(model):
    parts = anatomy.of(model)
    nothing = torch.zeros(len(PROMPTS), 1, parts.d_model)
    clean = tracing.next_token_logits(model, PROMPTS)
    first = tracing.steered(model, PROMPTS, nothing, layer=1)
    torch.testing.assert_close(first.logits, clean, atol=1e-5, rtol=1e-5)
    again = tracing.steered(model, PROMPTS, nothing, layer=1, held={(0, 2): first.heads[0, :, 2]})
    torch.testing.assert_close(again.logits, clean, atol=1e-5, rtol=1e-5)
