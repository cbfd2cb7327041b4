import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertLMHeadModel, Gemma3Config, GPT2Config, GPTNeoXConfig, LlamaConfig
from transformers.activations import ACT2FN

from conftest import CONFIGS, MORE_CONFIGS, random_module
from successor_heads import anatomy, models
from successor_heads.errors import UserError

TOKENS = torch.tensor([[4, 9, 5, 30, 7, 200]])


def traced_attention(model, layer):
    """What one layer's attention reads, its pattern, what its heads hand on, and what it writes."""
    parts = anatomy.of(model)
    with torch.no_grad(), model.trace({"input_ids": TOKENS}):
        # transformers calls GPT-2's attention by position and Llama's by name.
        args, kwargs = parts.attention(layer).inputs
        read = (args[0] if args else kwargs["hidden_states"])[0].clone().save()
        heads = parts.output_projection(layer).input[0].clone().save()
        written, pattern = parts.attention(layer).output
        written, pattern = written[0].clone().save(), pattern[0].clone().save()
    return read, pattern, heads.unflatten(-1, (parts.n_heads, parts.d_head)), written


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.slow
def test_a_head_is_rebuilt_from_its_weights_and_pattern(any_model, layer):
    parts = anatomy.of(any_model)
    read, pattern, heads, written = traced_attention(any_model, layer)
    w_v, b_v, w_o = parts.w_v(layer), parts.b_v(layer), parts.w_o(layer)
    total = torch.zeros_like(written)
    for head in range(parts.n_heads):
        rebuilt = pattern[head] @ (read @ w_v[head] + b_v[head])
        torch.testing.assert_close(rebuilt, heads[:, head], atol=1e-5, rtol=0)
        total += rebuilt @ w_o[head]
        # The control: with another head's weights, or its pattern, it does not come out.
        other = (head + parts.n_heads // parts.n_kv_heads) % parts.n_heads
        assert (pattern[head] @ (read @ w_v[other] + b_v[other]) - heads[:, head]).abs().max() > 0.01
        assert (pattern[head - 1] @ (read @ w_v[head] + b_v[head]) - heads[:, head]).abs().max() > 0.001
    bias = getattr(parts.output_projection(layer)._module, "bias", None)
    torch.testing.assert_close(total + (0 if bias is None else bias), written, atol=1e-5, rtol=0)


def test_one_head_writes_its_own_rows_of_the_output_projection(any_model):
    parts = anatomy.of(any_model)
    projection = parts.output_projection(1)._module
    nothing = torch.zeros(parts.n_heads, parts.d_head)
    for head in range(parts.n_heads):
        alone = nothing.clone()
        alone[head] = torch.randn(parts.d_head, generator=torch.Generator().manual_seed(head))
        contribution = projection(alone.flatten()) - projection(nothing.flatten())
        torch.testing.assert_close(contribution, alone[head] @ parts.w_o(1)[head], atol=1e-5, rtol=0)
        assert (contribution - alone[head] @ parts.w_o(1)[head - 1]).abs().max() > 0.01


def test_query_heads_that_share_a_value_head_are_neighbours(checkpoints):
    module = random_module(CONFIGS["llama-grouped"])
    w_v = anatomy.of(module).w_v(0)
    assert w_v.shape == (6, 24, 4)
    for head in range(6):
        shared = module.model.layers[0].self_attn.v_proj.weight[4 * (head // 3) : 4 * (head // 3) + 4].T
        torch.testing.assert_close(w_v[head], shared.detach())


def test_biases_are_zero_where_there_are_none(any_model):
    parts = anatomy.of(any_model)
    has_bias = parts.family in ("gpt2", "phi", "qwen2") or getattr(parts.module.config, "attention_bias", False)
    assert bool(parts.b_v(0).any()) == has_bias
    assert parts.b_v(0).shape == (parts.n_heads, parts.d_head)


def without_positions(model):
    """A copy of the module of a model, in which GPT-2's positions add nothing."""
    module = copy.deepcopy(model._module)
    if module.config.model_type == "gpt2":
        module.transformer.wpe.weight.data.zero_()
    return module


def streams_of_block_0(module, tokens):
    """The residual stream before and after block 0 [token, d_model]."""
    seen = {}
    block = anatomy.of(module).block(0)
    hooks = [
        block.register_forward_pre_hook(lambda _, args, kwargs: seen.update(pre=(args or list(kwargs.values()))[0][0]), with_kwargs=True),
        block.register_forward_hook(lambda _, __, output: seen.update(post=output[0])),
    ]  # fmt: skip
    with torch.no_grad():
        module(tokens)
    for hook in hooks:
        hook.remove()
    return seen["pre"], seen["post"]


def test_mlp0_is_what_block_0_adds_when_nothing_stands_before_it(any_model):
    """Positions and attention 0 are silenced; then block 0 of the real forward pass adds MLP0 of W_E alone."""
    module = without_positions(any_model)
    parts = anatomy.of(module)
    parts.attention(0).register_forward_hook(lambda _, __, output: (output[0] * 0, *output[1:]))
    pre, post = streams_of_block_0(module, TOKENS)
    embedded = parts.embed(TOKENS[0])
    torch.testing.assert_close(embedded, pre, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(parts.mlp0(embedded), post - pre, atol=1e-4, rtol=1e-4)
    # The control: without its norms, in front or behind, it does not come out.
    for norm in ("mlp_norm_path", "mlp_post_norm_path"):
        if getattr(parts, norm) is not None:
            bare = anatomy.of(module)
            setattr(bare, norm, None)
            assert (bare.mlp0(embedded) - (post - pre)).abs().max() > 0.01


def test_block_0_on_a_token_that_sees_only_itself(any_model):
    """A prompt of one token: the stream behind block 0 is W_E, attention 0 and MLP0, all from the weights."""
    module = without_positions(any_model)
    parts = anatomy.of(module)
    for token in TOKENS[0]:
        pre, post = streams_of_block_0(module, token[None, None])
        attention = parts.self_attention0(pre)
        rebuilt = pre + attention + parts.mlp0(pre if parts.is_parallel else pre + attention)
        torch.testing.assert_close(rebuilt, post, atol=1e-4, rtol=1e-4)
        swapped = pre + attention + parts.mlp0(pre + attention if parts.is_parallel else pre)
        assert (swapped - post).abs().max() > 0.01


def test_norms_are_the_ones_in_front_of_the_head_and_of_the_unembedding(any_model):
    parts = anatomy.of(any_model)
    block = parts.block(1)
    read, *_ = traced_attention(any_model, 1)
    with torch.no_grad(), any_model.trace({"input_ids": TOKENS}):
        resid_pre = block.input[0].clone().save()
        resid_post = block.output[0].clone().save()
        logits = any_model.output.logits[0].save()
    torch.testing.assert_close(parts.head_norm(1)(resid_pre), read, atol=1e-5, rtol=1e-5)
    every_token = torch.arange(parts.d_vocab)
    rebuilt = parts.final_norm(resid_post) @ parts.unembed(every_token)
    # What `unembed` leaves out: a bias, and a cap on the logits, which keeps their order.
    bias = any_model._module.get_output_embeddings().bias
    cap = getattr(parts.config, "final_logit_softcapping", None)
    rebuilt = rebuilt if bias is None else rebuilt + bias.detach()
    rebuilt = cap * torch.tanh(rebuilt / cap) if cap else rebuilt
    torch.testing.assert_close(rebuilt, logits, atol=1e-4, rtol=1e-5)


def test_plain_modules_and_nnsight_models_have_the_same_parts(model):
    traced, plain = anatomy.of(model), anatomy.of(model._module)
    assert torch.equal(traced.w_v(1), plain.w_v(1)) and torch.equal(traced.w_o(1), plain.w_o(1))
    assert plain.attention(1) is traced.attention(1)._module
    assert plain.output_projection(1) is traced.output_projection(1)._module


def test_half_precision_weights_are_computed_with_in_float32():
    module = random_module(CONFIGS["gpt2"]).half()
    wide = anatomy.of(copy.deepcopy(module).float())
    parts = anatomy.of(module)
    x = parts.embed(TOKENS[0])
    for narrow, expected in [(x, wide.embed(TOKENS[0])), (parts.mlp0(x), wide.mlp0(x)), (parts.w_v(0), wide.w_v(0))]:
        assert narrow.dtype == torch.float32 and torch.equal(narrow, expected)
    assert module.dtype == torch.float16


def test_a_model_in_training_is_read_without_dropout_and_left_in_training():
    module = random_module(CONFIGS["gpt2"])
    expected = anatomy.of(module).mlp0(anatomy.of(module).embed(TOKENS[0]))
    module.train()
    for _ in range(2):
        assert torch.equal(anatomy.of(module).mlp0(anatomy.of(module).embed(TOKENS[0])), expected)
    assert all(part.training for part in module.modules())


def test_a_token_outside_the_vocabulary_is_refused(neox):
    parts = anatomy.of(neox)
    for part in (parts.embed, parts.unembed):
        with pytest.raises(UserError, match="vocabulary ends at"):
            part(torch.tensor([1, parts.d_vocab]))


def test_an_unsupported_family_is_refused_with_those_that_are():
    bert = BertLMHeadModel(BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, is_decoder=True))  # fmt: skip
    with pytest.raises(UserError, match="'bert'.*gpt2, gpt_neox, llama.*book/adding-a-family.md"):
        anatomy.of(bert)
    assert (Path(__file__).parents[1] / anatomy.HOW_TO_ADD).is_file()


@pytest.mark.parametrize("family", ["gpt_neox", "phi3"])
def test_an_unknown_activation_is_refused(checkpoints, family):
    parts = anatomy.of(models.load(str(checkpoints[family]))._module)
    parts.config.hidden_act = "magic"
    with pytest.raises(UserError, match="'magic' is not known.*gelu"):
        parts.mlp0(parts.embed(TOKENS[0]))


@pytest.mark.parametrize("name", anatomy.ACTIVATIONS)
def test_activations_are_those_of_transformers(name):
    x = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(anatomy.ACTIVATIONS[name](x), ACT2FN[name](x), atol=1e-6, rtol=1e-5)


def test_the_language_model_inside_gemma_3_is_read():
    """From 4B on Gemma 3 also sees; its language model is the one of the smaller ones, under longer names."""
    alone = random_module(MORE_CONFIGS["gemma3"])
    vision = dict(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=8, patch_size=4
    )
    both = random_module(
        Gemma3Config(text_config=MORE_CONFIGS["gemma3"].to_dict(), vision_config=vision, mm_tokens_per_image=4)
    )
    both.model.language_model.load_state_dict(alone.model.state_dict())
    both.lm_head.load_state_dict(alone.lm_head.state_dict())
    parts, expected = anatomy.of(both), anatomy.of(alone)
    assert parts.family == "gemma3"
    x = expected.mlp0(expected.embed(TOKENS[0]))
    assert torch.equal(parts.mlp0(parts.embed(TOKENS[0])), x)
    assert torch.equal(parts.w_v(1), expected.w_v(1)) and torch.equal(parts.w_o(1), expected.w_o(1))
    assert torch.equal(parts.unembed(TOKENS[0]), expected.unembed(TOKENS[0]))
    assert torch.equal(parts.head_norm(1)(x), expected.head_norm(1)(x)) and torch.equal(
        parts.final_norm(x), expected.final_norm(x)
    )


@st.composite
def configs(draw):
    """A config of any family, with heads, groups, widths and biases of any small sizes."""
    n_kv_heads, group, d_head = draw(st.integers(1, 3)), draw(st.integers(1, 3)), 2 * draw(st.integers(1, 3))
    n_heads = n_kv_heads * group
    shape = dict(vocab_size=20, num_hidden_layers=1, num_attention_heads=n_heads, bos_token_id=0, eos_token_id=0)
    match draw(st.sampled_from(["gpt2", "gpt_neox", "llama"])):
        case "gpt2":
            return GPT2Config(**shape, hidden_size=n_heads * d_head)
        case "gpt_neox":
            bias = draw(st.booleans())
            return GPTNeoXConfig(**shape, hidden_size=n_heads * d_head, intermediate_size=8, attention_bias=bias)
        case "llama":
            return LlamaConfig(
                **shape,
                hidden_size=n_heads * draw(st.integers(1, 4)),  # transformers insists on a multiple
                num_key_value_heads=n_kv_heads,
                head_dim=d_head,
                intermediate_size=8,
                attention_bias=draw(st.booleans()),
                mlp_bias=draw(st.booleans()),
            )


@settings(max_examples=40)
@given(configs())
@pytest.mark.slow
def test_on_one_token_attention_is_the_sum_of_its_ov_circuits(config):
    """A single token attends to itself alone, so each head hands on x W_V + b_V, whatever the shape."""
    module = random_module(config)
    parts = anatomy.of(module)
    x = torch.randn(parts.d_model, generator=torch.Generator().manual_seed(1))
    seen = {}
    parts.attention(0).register_forward_pre_hook(
        lambda _, args, kwargs: (
            ((x[None, None], *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": x[None, None]})
        ),
        with_kwargs=True,
    )
    parts.output_projection(0).register_forward_pre_hook(lambda _, args: seen.update(heads=args[0][0, 0]))
    parts.attention(0).register_forward_hook(lambda _, __, output: seen.update(out=output[0][0, 0]))
    with torch.no_grad():
        module(torch.tensor([[3]]))
    heads = torch.einsum("d,hdk->hk", x, parts.w_v(0)) + parts.b_v(0)
    torch.testing.assert_close(heads, seen["heads"].view(parts.n_heads, parts.d_head), atol=1e-5, rtol=1e-5)
    bias = getattr(parts.output_projection(0), "bias", None)
    out = torch.einsum("hk,hkd->d", heads, parts.w_o(0)) + (0 if bias is None else bias)
    torch.testing.assert_close(out, seen["out"], atol=1e-5, rtol=1e-5)
