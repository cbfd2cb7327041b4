import pytest
import torch

from successor_heads import anatomy
from successor_heads.ov_circuit import effective_ov_logits, head_input

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
