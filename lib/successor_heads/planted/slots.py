"""Where a weight lies, to write it: views into a module, heads apart, for row vectors.

This knows the families' layouts a second time, on purpose. Were plants written through `anatomy`, an
error there would be made in writing and unmade in reading, and the calibration would pass over it.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.pytorch_utils import Conv1D


@dataclass(frozen=True, eq=False)
class Slots:
    """Writable views of one block. Key and value have `kv_head` where heads are grouped."""

    w_q: Float[Tensor, "d_model head d_head"]
    w_k: Float[Tensor, "d_model kv_head d_head"]
    w_v: Float[Tensor, "d_model kv_head d_head"]
    b_q: Float[Tensor, "head d_head"] | None
    w_o: Float[Tensor, "head d_head d_model"]
    mlp_norm: nn.LayerNorm | LlamaRMSNorm
    mlp: nn.Module
    mlp_in: nn.Linear | Conv1D
    mlp_out: nn.Linear | Conv1D


def slots(module: PreTrainedModel, layer: int) -> Slots:
    """The views of a layer of a GPT-2, GPT-NeoX or Llama language model."""
    n_heads = module.config.num_attention_heads
    match module.config.model_type:
        case "gpt2":
            block = module.transformer.h[layer]
            # [in, out]: all queries, then all keys, then all values.
            qkv = block.attn.c_attn.weight.data.unflatten(1, (3, n_heads, -1))
            query, key, value = qkv.unbind(1)
            return Slots(
                query, key, value,
                b_q=block.attn.c_attn.bias.data.view(3, n_heads, -1)[0],
                w_o=block.attn.c_proj.weight.data.unflatten(0, (n_heads, -1)),
                mlp_norm=block.ln_2, mlp=block.mlp, mlp_in=block.mlp.c_fc, mlp_out=block.mlp.c_proj,
            )  # fmt: skip
        case "gpt_neox":
            block = module.gpt_neox.layers[layer]
            fused = block.attention.query_key_value
            # [out, in]: head after head, in each its query, key and value.
            qkv = fused.weight.data.unflatten(0, (n_heads, 3, -1)).permute(3, 0, 1, 2)
            query, key, value = qkv.unbind(2)
            return Slots(
                query, key, value,
                b_q=None if fused.bias is None else fused.bias.data.view(n_heads, 3, -1)[:, 0],
                w_o=block.attention.dense.weight.data.unflatten(1, (n_heads, -1)).permute(1, 2, 0),
                mlp_norm=block.post_attention_layernorm, mlp=block.mlp,
                mlp_in=block.mlp.dense_h_to_4h, mlp_out=block.mlp.dense_4h_to_h,
            )  # fmt: skip
        case "llama":
            block, n_kv_heads = module.model.layers[layer], module.config.num_key_value_heads
            attention = block.self_attn
            query, key, value = (
                projection.weight.data.unflatten(0, (heads, -1)).permute(2, 0, 1)
                for projection, heads in (
                    (attention.q_proj, n_heads), (attention.k_proj, n_kv_heads), (attention.v_proj, n_kv_heads)
                )
            )  # fmt: skip
            return Slots(
                query, key, value,
                b_q=None if attention.q_proj.bias is None else attention.q_proj.bias.data.view(n_heads, -1),
                w_o=attention.o_proj.weight.data.unflatten(1, (n_heads, -1)).permute(1, 2, 0),
                mlp_norm=block.post_attention_layernorm, mlp=block.mlp,
                mlp_in=block.mlp.gate_proj, mlp_out=block.mlp.down_proj,
            )  # fmt: skip
    raise AssertionError(f"no plants of type {module.config.model_type}")


def in_out(projection: nn.Linear | Conv1D) -> Float[Tensor, "in out"]:
    """A writable view of a linear layer's weight for row vectors."""
    return projection.weight.data if isinstance(projection, Conv1D) else projection.weight.data.T
