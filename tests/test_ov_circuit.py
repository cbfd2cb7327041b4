import copy

import pytest
import torch

from successor_heads import anatomy
from successor_heads.ov_circuit import effective_ov_logits, head_input, head_matrix

TOKENS = torch.tensor([4, 9, 200, 31])
CANDIDATES = torch.tensor([7, 4, 150])


def plain_w_ov(module, layer, head):
    """W_OV of one head for row vectors, cut out of the stored weights by hand."""
    config = module.config
    d_model, n_heads = config.hidden_size, config.num_attention_heads
    match config.model_type:
        case "gpt2":
            attention, d_head = module.transformer.h[layer].attn, d_model // n_heads
            w_v = attention.c_attn.weight[:, 2 * d_model + head * d_head : 2 * d_model + (head + 1) * d_head]
            w_o = attention.c_proj.weight[head * d_head : (head + 1) * d_head]
        case "gpt_neox":
            attention, d_head = module.gpt_neox.layers[layer].attention, d_model // n_heads
            start = head * 3 * d_head + 2 * d_head
            w_v = attention.query_key_value.weight[start : start + d_head].T
            w_o = attention.dense.weight[:, head * d_head : (head + 1) * d_head].T
        case "llama":
            attention, d_head = module.model.layers[layer].self_attn, config.head_dim
            kv_head = head // (n_heads // config.num_key_value_heads)
            w_v = attention.v_proj.weight[kv_head * d_head : (kv_head + 1) * d_head].T
            w_o = attention.o_proj.weight[:, head * d_head : (head + 1) * d_head].T
    return (w_v @ w_o).detach()


@pytest.mark.parametrize("layer", [0, 1])
def test_factored_logits_are_the_plain_product(model, layer):
    parts = anatomy.of(model)
    x = head_input(parts, TOKENS)
    factored = effective_ov_logits(parts, x, CANDIDATES, layer=layer)
    assert factored.shape == (parts.n_heads, len(TOKENS), len(CANDIDATES))
    w_u = parts.module.get_output_embeddings().weight.detach()
    for head in range(parts.n_heads):
        over_the_vocabulary = x @ plain_w_ov(parts.module, layer, head) @ w_u.T
        torch.testing.assert_close(factored[head], over_the_vocabulary[:, CANDIDATES], atol=1e-5, rtol=1e-5)


def test_head_input_is_mlp0_or_as_a_control_the_embedding(model):
    parts = anatomy.of(model)
    embedded = parts.module.get_input_embeddings().weight.detach()[TOKENS]
    torch.testing.assert_close(head_input(parts, TOKENS, source="embedding"), embedded)
    torch.testing.assert_close(head_input(parts, TOKENS), parts.mlp0(embedded))


def test_a_misspelt_source_is_refused_rather_than_taken_for_another(neox):
    with pytest.raises((ValueError, TypeError)):
        head_input(anatomy.of(neox), TOKENS, source="mlp")


def block0_by_forward_pass(module, token_ids):
    """The stream behind block 0, and what MLP0 read, for texts of one token, from the model's own forward pass."""
    seen = {}
    parts = anatomy.of(module)
    block = parts.block(0)
    norm = block.get_submodule(parts.mlp_norm_path)
    handles = [
        norm.register_forward_pre_hook(lambda _, args: seen.update(read=args[0][:, 0])),
        block.register_forward_hook(
            lambda _, args, out: seen.update(out=(out[0] if isinstance(out, tuple) else out)[:, 0])
        ),
    ]
    with torch.no_grad():
        module(token_ids[:, None])
    for handle in handles:
        handle.remove()
    return seen


def test_what_tokens_that_see_only_themselves_bring_is_what_the_forward_pass_brings(model):
    module = copy.deepcopy(model._module)
    if hasattr(module, "transformer"):
        module.transformer.wpe.weight.data.zero_()  # the one thing that is in the stream and not in these inputs
    parts = anatomy.of(module)
    truth = block0_by_forward_pass(module, TOKENS)
    torch.testing.assert_close(head_input(parts, TOKENS, source="block 0"), truth["out"], atol=1e-4, rtol=1e-4)
    expected = parts.mlp0(truth["read"])
    torch.testing.assert_close(head_input(parts, TOKENS, source="mlp0 after attention"), expected, atol=1e-4, rtol=1e-4)
    # In a parallel block, and only there, attention 0 does not come into it.
    same = torch.allclose(expected, head_input(parts, TOKENS), atol=1e-3)
    assert same == parts.is_parallel == (module.config.model_type == "gpt_neox" and module.config.use_parallel_residual)
    embedded = parts.embed(TOKENS)
    torch.testing.assert_close(head_input(parts, TOKENS, source="residual"), embedded + parts.mlp0(embedded))


def test_norms_stand_where_a_convention_puts_them(model):
    parts = anatomy.of(model)
    x, layer = head_input(parts, TOKENS, source="residual"), 1
    plain = effective_ov_logits(parts, x, CANDIDATES, layer=layer)
    normed = effective_ov_logits(parts, x, CANDIDATES, layer=layer, head_norm=True)
    final = effective_ov_logits(parts, x, CANDIDATES, layer=layer, final_norm=True)
    for head in range(parts.n_heads):
        w_v, w_o = parts.w_v(layer)[head], parts.w_o(layer)[head]
        read = parts.head_norm(layer)(x) @ w_v + parts.b_v(layer)[head]
        torch.testing.assert_close(normed[head], read @ w_o @ parts.unembed(CANDIDATES), atol=1e-4, rtol=1e-4)
        written = parts.final_norm(x @ w_v @ w_o)
        torch.testing.assert_close(final[head], written @ parts.unembed(CANDIDATES), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain, normed, atol=1e-2) and not torch.allclose(plain, final, atol=1e-2)


def test_a_head_matrix_is_one_head_of_a_layer(neox):
    parts = anatomy.of(neox)
    x = head_input(parts, TOKENS)
    matrix = head_matrix(parts, TOKENS, layer=1, head=2)
    assert torch.equal(matrix, effective_ov_logits(parts, x, TOKENS, layer=1)[2])
    assert not torch.equal(matrix, head_matrix(parts, TOKENS, layer=1, head=2, source="embedding"))
