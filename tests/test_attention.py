"""Attention: queries and keys patched apart, against GPT-2's own matrices written out by hand."""

import pytest
import torch

from by_hooks import attention_at
from successor_heads import anatomy, attention, cached, models, prompts

LAYER = 1
OWN = [" Monday, Tuesday, Wednesday,", " March, April, May,"]
OTHER = [" Friday, Saturday, Sunday,", " June, July, August,"]


@pytest.fixture(scope="module")
def gpt2():
    return models.load("grown/gpt2", device="cpu")


@pytest.fixture(scope="module")
def reads(gpt2):
    own, other = (attention.read_at_work(gpt2, texts, LAYER) for texts in (OWN, OTHER))
    assert own.shape == other.shape, "lists of one length"
    return own, other


def by_hand(gpt2, queries, keys):
    """softmax(q kᵀ / √d) from the last position, from the weights of GPT-2."""
    parts, attended = anatomy.of(gpt2._module), gpt2._module.transformer.h[LAYER].attn.c_attn
    w_q, w_k, _ = attended.weight.split(parts.d_model, 1)
    b_q, b_k, _ = attended.bias.split(parts.d_model)
    q = (queries[:, -1] @ w_q + b_q).unflatten(-1, (parts.n_heads, parts.d_head))
    k = (keys @ w_k + b_k).unflatten(-1, (parts.n_heads, parts.d_head))
    return (torch.einsum("phd,pkhd->phk", q, k) / parts.d_head**0.5).softmax(-1)


def test_own_queries_and_keys_give_the_models_own_pattern(gpt2, reads):
    pattern = attention.from_last(gpt2, OWN, LAYER)
    torch.testing.assert_close(pattern, attention.from_last(gpt2, OWN, LAYER, reads=reads[0]))
    looks = attention_at(gpt2, OWN, [-2, -4])[LAYER]
    torch.testing.assert_close(pattern[[0, 1], :, [-2, -4]].T, looks)


def test_a_query_and_keys_of_another_list_give_the_pattern_by_hand(gpt2, reads):
    own, other = reads
    with torch.no_grad():
        for mixed in (torch.cat([own[:, :-1], other[:, -1:]], 1), torch.cat([other[:, :-1], own[:, -1:]], 1)):
            pattern = attention.from_last(gpt2, OWN, LAYER, reads=mixed)
            torch.testing.assert_close(pattern, by_hand(gpt2, mixed, mixed), atol=1e-5, rtol=1e-4)
            assert (pattern - attention.from_last(gpt2, OWN, LAYER)).abs().max() > 1e-3, "which differs"


def test_a_watched_run_is_the_run(gpt2):
    pattern, stream = attention.watched(gpt2, OWN, LAYER)
    torch.testing.assert_close(pattern, attention.from_last(gpt2, OWN, LAYER))
    torch.testing.assert_close(stream, cached.run(gpt2, OWN).streams[-1])


def test_pattern_and_values_make_what_the_head_hands_on(gpt2, reads):
    parts = anatomy.of(gpt2)
    pattern, z = attention.from_last(gpt2, OWN, LAYER), prompts.head_outputs(gpt2, OWN)[LAYER]
    values = torch.einsum("pkd,hdv->phkv", reads[0], parts.w_v(LAYER)) + parts.b_v(LAYER)[None, :, None]
    torch.testing.assert_close(torch.einsum("phk,phkv->hpv", pattern, values), z, atol=1e-4, rtol=1e-3)
