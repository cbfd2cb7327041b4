"""The same few parts of a model whatever its family: embeddings, MLP0, W_V and W_O, norms.

    parts = anatomy.of(model)                # an nnsight model, or the Hugging Face module in it
    x = parts.mlp0(parts.embed(token_ids))
    ov = parts.w_v(1)[6] @ parts.w_o(1)[6]   # L1H6, [d_model, d_model], for row vectors: x @ ov

Everything is read from the torch modules when asked for, one layer at a time, and given back in
float32: a checkpoint stored in half precision never has to fit into memory twice. A family is one
class that says where things lie; adding one touches this file and its test only.
"""

# As text: these classes may be sent to NDIF, where there is no jaxtyping.
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from successor_heads.errors import UserError


class Anatomy:
    """Parts of a decoder; a subclass says where its family keeps them, and how W_V is stored."""

    family: str
    # From the model:
    embedding_path: str
    blocks_path: str
    final_norm_path: str
    # From a block:
    attention_path: str
    output_projection_path: str
    head_norm_path: str
    mlp_path: str
    mlp_norm_path: str
    # Whether attention and MLP of a block read the same stream, or the MLP what attention has added to.
    is_parallel: bool = False

    def __init__(self, model):
        # Of an nnsight model, `block`, `attention` and `output_projection` hand out envoys, which
        # can be read inside a trace; weights always come from the torch module below.
        self.model = model
        self.module: nn.Module = getattr(model, "_module", model)
        config = self.module.config
        self.n_layers: int = config.num_hidden_layers
        self.n_heads: int = config.num_attention_heads
        self.n_kv_heads: int = getattr(config, "num_key_value_heads", None) or self.n_heads
        self.d_model: int = config.hidden_size
        self.d_head: int = getattr(config, "head_dim", None) or self.d_model // self.n_heads
        self.d_vocab: int = config.vocab_size

    def embed(self, token_ids: Int[Tensor, " token"]) -> Float[Tensor, "token d_model"]:
        """Rows of W_E. Raises UserError for an id outside the model's vocabulary."""
        return self._rows(attrgetter(self.embedding_path)(self.module), token_ids)

    def unembed(self, token_ids: Int[Tensor, " token"]) -> Float[Tensor, "d_model token"]:
        """Columns of W_U, without the final norm. Raises UserError as `embed` does."""
        return self._rows(self.module.get_output_embeddings(), token_ids).T

    def mlp0(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """MLP0(norm(x)) with the family's own norm in front, biases in, no residual copy of x."""
        return _run(self._torch(0, self.mlp_path), _run(self._torch(0, self.mlp_norm_path), x))

    def w_v(self, layer: int) -> Float[Tensor, "head d_model d_head"]:
        """W_V of every head of a layer; query heads that share a value head get equal matrices."""
        weight, _ = self._value(self._torch(layer, self.attention_path))
        return self._per_query_head(weight.float().movedim(1, 0))

    def b_v(self, layer: int) -> Float[Tensor, "head d_head"]:
        """Value bias of every head of a layer, zeros where the family or the checkpoint has none."""
        weight, bias = self._value(self._torch(layer, self.attention_path))
        return self._per_query_head((torch.zeros_like(weight[0]) if bias is None else bias).float())

    def w_o(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        """W_O of every head of a layer: its d_head rows of the output projection."""
        projection = self._torch(layer, self.output_projection_path)
        return _in_out(projection).view(self.n_heads, self.d_head, self.d_model).float()

    def head_norm(self, layer: int) -> Callable[[Tensor], Tensor]:
        """The norm in front of a layer's attention, as a function of [..., d_model]."""
        return partial(_run, self._torch(layer, self.head_norm_path))

    @property
    def final_norm(self) -> Callable[[Tensor], Tensor]:
        """The norm in front of the unembedding, as a function of [..., d_model]."""
        return partial(_run, attrgetter(self.final_norm_path)(self.module))

    def self_attention0(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """What attention 0 writes for tokens that see only themselves: norm, values and W_O of all heads, biases."""
        value = torch.einsum("td,hdk->htk", self.head_norm(0)(x), self.w_v(0)) + self.b_v(0)[:, None]
        bias = self._torch(0, self.output_projection_path).bias
        return (value @ self.w_o(0)).sum(0) + (0 if bias is None else bias.detach().float())

    def compute(self, function: Callable, *args, **kwargs):
        """function(self, *args, **kwargs), where the weights are: here, or on NDIF (see `tracing.anatomy_of`)."""
        return function(self, *args, **kwargs)

    def block(self, layer: int):
        """A layer of the model as it was given; in a trace its input is the residual stream before it."""
        return attrgetter(self.blocks_path)(self.model)[layer]

    def attention(self, layer: int):
        """The attention module of a layer; in a trace its output is (out, attention weights)."""
        return attrgetter(self.attention_path)(self.block(layer))

    def output_projection(self, layer: int):
        """The module whose input holds a layer's heads side by side, d_head entries each."""
        return attrgetter(self.output_projection_path)(self.block(layer))

    def _value(self, attention: nn.Module) -> tuple[Tensor, Tensor | None]:
        """Views of W_V [d_model, kv_head, d_head] and its bias [kv_head, d_head] as they are stored."""
        raise NotImplementedError

    def _torch(self, layer: int, path: str) -> nn.Module:
        return attrgetter(path)(attrgetter(self.blocks_path)(self.module)[layer])

    def _per_query_head(self, per_kv_head: Tensor) -> Tensor:
        # Neighbouring query heads share a value head: 0,0,1,1 and not 0,1,0,1.
        return per_kv_head.repeat_interleave(self.n_heads // self.n_kv_heads, dim=0)

    def _rows(self, embedding: nn.Module, token_ids: Tensor) -> Tensor:
        if len(token_ids) and int(token_ids.max()) >= self.d_vocab:
            raise UserError(
                f"The tokenizer has token {int(token_ids.max())} but the model's vocabulary ends at "
                f"{self.d_vocab - 1}: tokenizer and weights are not of the same model."
            )
        return embedding.weight.detach()[token_ids.to(embedding.weight.device)].float()


class GPT2(Anatomy):
    family = "gpt2"
    embedding_path = "transformer.wte"
    blocks_path = "transformer.h"
    final_norm_path = "transformer.ln_f"
    attention_path = "attn"
    output_projection_path = "attn.c_proj"
    head_norm_path = "ln_1"
    mlp_path = "mlp"
    mlp_norm_path = "ln_2"

    def _value(self, attention):
        # Conv1D holds [in, out], with all queries, then all keys, then all values.
        weight = _in_out(attention.c_attn)[:, 2 * self.d_model :]
        bias = attention.c_attn.bias.detach()[2 * self.d_model :]
        return weight.view(self.d_model, self.n_heads, self.d_head), bias.view(self.n_heads, self.d_head)


class GPTNeoX(Anatomy):
    family = "gpt_neox"
    embedding_path = "gpt_neox.embed_in"
    blocks_path = "gpt_neox.layers"
    final_norm_path = "gpt_neox.final_layer_norm"
    attention_path = "attention"
    output_projection_path = "attention.dense"
    head_norm_path = "input_layernorm"
    mlp_path = "mlp"
    mlp_norm_path = "post_attention_layernorm"

    @property
    def is_parallel(self):
        return self.module.config.use_parallel_residual

    def _value(self, attention):
        # Query, key and value lie side by side within each head, not one after the other.
        fused = attention.query_key_value
        weight = _in_out(fused).view(self.d_model, self.n_heads, 3, self.d_head)[:, :, 2]
        if fused.bias is None:
            return weight, None
        return weight, fused.bias.detach().view(self.n_heads, 3, self.d_head)[:, 2]


class Llama(Anatomy):
    family = "llama"
    embedding_path = "model.embed_tokens"
    blocks_path = "model.layers"
    final_norm_path = "model.norm"
    attention_path = "self_attn"
    output_projection_path = "self_attn.o_proj"
    head_norm_path = "input_layernorm"
    mlp_path = "mlp"
    mlp_norm_path = "post_attention_layernorm"

    def _value(self, attention):
        weight = _in_out(attention.v_proj).view(self.d_model, self.n_kv_heads, self.d_head)
        if attention.v_proj.bias is None:
            return weight, None
        return weight, attention.v_proj.bias.detach().view(self.n_kv_heads, self.d_head)


FAMILIES: dict[str, type[Anatomy]] = {cls.family: cls for cls in (GPT2, GPTNeoX, Llama)}


def of(model) -> Anatomy:
    """The anatomy of an nnsight model or a Hugging Face causal language model.

    Raises UserError for a family that `FAMILIES` does not know.
    """
    return family_of(getattr(model, "_module", model).config.model_type)(model)


def family_of(model_type: str) -> type[Anatomy]:
    """The class for a config's `model_type`. Raises UserError when there is none."""
    if model_type not in FAMILIES:
        raise UserError(
            f"Models of type '{model_type}' are not supported, only {', '.join(sorted(FAMILIES))}: "
            "choose such a model, or add a class for the family in successor_heads/anatomy.py."
        )
    return FAMILIES[model_type]


def _in_out(projection: nn.Module) -> Tensor:
    """Weight of a linear layer as [in, out], for row vectors; GPT-2's Conv1D is stored that way."""
    weight = projection.weight.detach()
    return weight if isinstance(projection, Conv1D) else weight.T


def _run(module: nn.Module, x: Tensor) -> Tensor:
    """module(x) in float32, without dropout, leaving the module as it was."""
    weights = {name: weight.detach().float() for name, weight in module.named_parameters()}
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            return torch.func.functional_call(module, weights, (x.float(),))
    finally:
        module.train(training)
