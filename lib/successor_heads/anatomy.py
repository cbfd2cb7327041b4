"""The same few parts of a model whatever its family: embeddings, MLP0, W_V and W_O, norms.

::

    parts = anatomy.of(model)                # an nnsight model, or the Hugging Face module in it
    x = parts.mlp0(parts.embed(token_ids))
    ov = parts.w_v(1)[6] @ parts.w_o(1)[6]   # L1H6, [d_model, d_model], for row vectors: x @ ov

A family is one class that says under which names its tensors lie, which norm and which MLP it has; the
book's page "Adding a family" walks through one. Tensors are asked for by name, from `Weights`: the model
in memory, or a checkpoint of which only these bytes are read (`streaming`). So there is one arithmetic, in
float32 and with one layer at a time, and a checkpoint in half precision never has to fit into memory twice.
"""

from __future__ import annotations  # on NDIF, where these classes may be sent, there is no jaxtyping

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from successor_heads.errors import UserError

HOW_TO_ADD = "book/adding-a-family.md"
Part = tuple[int, int | None]  # (layer, head), or (layer, None) for a layer's MLP
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_fast": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}


def name_of(part: Part) -> str:
    """(1, 6) as L1H6, and (1, None) as MLP1."""
    layer, head = part
    return f"MLP{layer}" if head is None else f"L{layer}H{head}"


@runtime_checkable
class Weights(Protocol):
    """Where a model's tensors come from."""

    def __contains__(self, name: str) -> bool:
        """Whether there is a tensor of that name."""

    def take(self, name: str, *, rows: Tensor | range | None = None, of: int | None = None) -> Tensor:
        """A tensor as it is stored; with `rows` only these of its `of` rows of equal size, [row, rest]."""


class Loaded:
    """The tensors of a torch module, all on the device of its first one, wherever a spread model has them."""

    def __init__(self, module: nn.Module):
        self.module = module

    def __contains__(self, name):
        path, _, leaf = name.rpartition(".")
        try:
            return getattr(self.module.get_submodule(path), leaf, None) is not None
        except AttributeError:
            return False

    def take(self, name, *, rows=None, of=None):
        tensor = self.module.get_parameter(name).detach()
        device = next(self.module.parameters()).device
        if isinstance(rows, range):
            # As they come from a file, side by side: in another order in memory, sums differ in the last bit.
            tensor = tensor.reshape(of, -1)[rows.start : rows.stop : rows.step].contiguous()
        elif rows is not None:
            tensor = tensor.reshape(of, -1)[rows.to(tensor.device)]
        return tensor.to(device)


class Anatomy:
    """Parts of a decoder; a subclass says where its family keeps them and how it computes.

    Names of tensors are those of the Hugging Face module. In MLP0 and in `self_attention0` stand all norms
    of the family's block, in front and behind: what they return is what the block adds to the residual
    stream. W_V and W_O are bare, without the norms around attention.
    """

    family: str
    # Of the model:
    embedding_path: str
    unembedding_path: str = "lm_head"
    blocks_path: str
    final_norm_path: str
    # Of a block; a norm that the family does not have is None:
    attention_path: str
    value_path: str
    output_projection_path: str
    head_norm_path: str | None
    attention_post_norm_path: str | None = None
    mlp_norm_path: str | None
    mlp_post_norm_path: str | None = None
    mlp_in_path: str
    mlp_gate_path: str | None = None
    mlp_out_path: str
    # How it computes:
    epsilon_name: str
    activation_name: str = "hidden_act"
    # What rows of W_E are multiplied by before they enter the stream; where it is not 1, by the embedding module.
    embedding_scale: float = 1.0
    # Whether attention and MLP of a block read the same stream, or the MLP what attention has added to.
    is_parallel: bool = False
    # Whether linear layers are stored [in, out], as GPT-2's Conv1D, rather than [out, in].
    in_out: bool = False
    # What of a config.json has another name than here: (here's, its).
    config_names: Mapping[str, str] = MappingProxyType({})
    # What it means where a config.json is silent, as transformers has it; None is what `__init__` makes of it.
    config_silent: Mapping[str, object] = MappingProxyType(
        {"tie_word_embeddings": False, "num_key_value_heads": None, "head_dim": None}
    )
    # How names begin in files that were written before transformers changed the module: (module's, file's).
    older_names: tuple[tuple[str, str], ...] = ()

    def __init__(self, config, weights: Weights, *, model=None):
        # Of an nnsight model, `block`, `attention` and `output_projection` hand out envoys, which
        # can be read inside a trace; numbers always come from `weights`.
        self.model = model
        self.weights = weights
        # Of a model that also sees, the part that speaks.
        self.config = config.get_text_config()
        self.is_tied: bool = config.tie_word_embeddings
        self.n_layers: int = self.config.num_hidden_layers
        self.n_heads: int = self.config.num_attention_heads
        self.n_kv_heads: int = getattr(self.config, "num_key_value_heads", None) or self.n_heads
        self.d_model: int = self.config.hidden_size
        self.d_head: int = getattr(self.config, "head_dim", None) or self.d_model // self.n_heads
        self.d_vocab: int = self.config.vocab_size

    @property
    def module(self) -> nn.Module:
        """The Hugging Face module of a model in memory."""
        return getattr(self.model, "_module", self.model)

    def embed(self, token_ids: Int[Tensor, " token"]) -> Float[Tensor, "token d_model"]:
        """Rows of W_E as they enter the residual stream. Raises UserError for an id outside the vocabulary."""
        return self._rows(self.embedding_path, token_ids) * self.embedding_scale

    def unembed(self, token_ids: Int[Tensor, " token"]) -> Float[Tensor, "d_model token"]:
        """Columns of W_U, without the final norm, a bias, or a cap on the logits, which keeps their order.

        Raises UserError as `embed` does.
        """
        tied = self.is_tied and f"{self.unembedding_path}.weight" not in self.weights
        return self._rows(self.embedding_path if tied else self.unembedding_path, token_ids).T

    def logits(self, stream: Float[Tensor, "*batch d_model"], token_ids: Int[Tensor, " token"]) -> Tensor:
        """[..., token], logits from the stream behind the last block: final norm, W_U, its bias, and a cap on them.

        Raises UserError as `embed` does.
        """
        normed = self.final_norm(stream)
        logits, bias = normed @ self.unembed(token_ids).to(normed.device), self._bias(self.unembedding_path)
        if bias is not None:
            logits = logits + bias[token_ids.to(bias.device)]
        cap = getattr(self.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def losses(
        self, stream: Float[Tensor, "*batch d_model"], answers: Int[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch"]:
        """Cross-entropy of `answers` from the stream behind the last block, in slices of the vocabulary: nats.

        Slices are so small that the logits of some thousand rows stay in a processor's cache while they are summed.
        """
        device = self.weights.take(f"{self.final_norm_path}.weight").device
        rows, token_of_row = stream.flatten(0, -2).to(device), answers.flatten().to(device)
        total, right = torch.full((2, len(rows)), -torch.inf, device=rows.device)
        for token_ids in torch.arange(self.d_vocab).split(1 << 11):
            logits = self.logits(rows, token_ids)
            total = torch.logaddexp(total, logits.logsumexp(-1))
            here = (token_of_row >= token_ids[0]) & (token_of_row <= token_ids[-1])
            right[here] = logits[here, token_of_row[here] - token_ids[0]]
        return (total - right).view(answers.shape)

    def mlp0(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """What MLP0 adds to the residual stream on reading x: its norms and biases in, no residual copy of x.

        A norm behind the MLP, as Gemma and OLMo 2 have, is in: what later heads read has gone through it.
        """
        return self.mlp_out(0, self.mlp0_neurons(x))

    def mlp0_neurons(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token neuron"]:
        """What MLP0's neurons hand to its last linear map on reading x: behind the bend and, if any, the gate."""
        return self._neurons(0, self._norm_in(0, self.mlp_norm_path, x))

    def mlp0_writes(self) -> Float[Tensor, "neuron d_model"]:
        """What each neuron of MLP0 adds to the MLP's output when its activation is 1."""
        weight = self.weights.take(f"{self._in(0, self.mlp_out_path)}.weight").float()
        return weight if self.in_out else weight.T

    def w_v(self, layer: int) -> Float[Tensor, "head d_model d_head"]:
        """W_V of every head of a layer; query heads that share a value head get equal matrices."""
        value = self._value(layer, "weight").float()
        if self.in_out:
            value = value.view(self.d_model, self.n_kv_heads, self.d_head).movedim(1, 0)
        else:
            value = value.view(self.n_kv_heads, self.d_head, self.d_model).mT
        return self._per_query_head(value)

    def b_v(self, layer: int) -> Float[Tensor, "head d_head"]:
        """Value bias of every head of a layer, zeros where the family or the checkpoint has none."""
        if f"{self._in(layer, self.value_path)}.bias" not in self.weights:
            return torch.zeros(self.n_heads, self.d_head)
        return self._per_query_head(self._value(layer, "bias").float().reshape(self.n_kv_heads, self.d_head))

    def w_o(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        """W_O of every head of a layer: its d_head rows of the output projection."""
        weight = self.weights.take(f"{self._in(layer, self.output_projection_path)}.weight").float()
        return (weight if self.in_out else weight.T).view(self.n_heads, self.d_head, self.d_model)

    def head_norm(self, layer: int) -> Callable[[Tensor], Tensor]:
        """The norm in front of a layer's attention, as a function of [..., d_model]; none in OLMo 2."""
        return partial(self._norm_in, layer, self.head_norm_path)

    @property
    def final_norm(self) -> Callable[[Tensor], Tensor]:
        """The norm in front of the unembedding, as a function of [..., d_model]."""
        return partial(self._norm, self.final_norm_path)

    def gain(self, weight: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
        """What a norm multiplies by, from its stored weight."""
        return weight

    def self_attention0(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """What attention 0 adds to the stream for tokens that see only themselves: norms, all heads, biases."""
        value = torch.einsum("td,hdk->thk", self.head_norm(0)(x), self.w_v(0)) + self.b_v(0).to(x.device)
        return self.attention_out(0, value)

    def attention_out(self, layer: int, z: Float[Tensor, "*batch head d_head"]) -> Float[Tensor, "*batch d_model"]:
        """What attention adds to the stream when its heads hand `z` to the output projection: biases and norms in, in float32."""
        w_o = self.w_o(layer).flatten(0, 1)
        written = z.flatten(-2).to(w_o) @ w_o
        bias = self._bias(self._in(layer, self.output_projection_path))
        return self._norm_in(layer, self.attention_post_norm_path, written if bias is None else written + bias)

    def mlp_out(self, layer: int, neurons: Float[Tensor, "*batch neuron"]) -> Float[Tensor, "*batch d_model"]:
        """What an MLP adds to the stream when its neurons have these values: biases and norms in, in float32."""
        written = self._linear(self._in(layer, self.mlp_out_path), neurons.float())
        return self._norm_in(layer, self.mlp_post_norm_path, written)

    def compute(self, function: Callable, *args, **kwargs):
        """What `function` returns on this anatomy and the arguments, computed where the weights are: here, or on NDIF."""
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

    def mlp_writer(self, layer: int):
        """The module whose output is what a layer's MLP adds to the stream."""
        return attrgetter(self.mlp_post_norm_path or self.mlp_out_path)(self.block(layer))

    def _value(self, layer: int, part: str) -> Tensor:
        """The rows of a layer's value weight, or of its bias, as they are stored: by kv head, then d_head."""
        return self.weights.take(f"{self._in(layer, self.value_path)}.{part}")

    def _in(self, layer: int, path: str) -> str:
        return f"{self.blocks_path}.{layer}.{path}"

    def _per_query_head(self, per_kv_head: Tensor) -> Tensor:
        # Neighbouring query heads share a value head: 0,0,1,1 and not 0,1,0,1.
        group = self.n_heads // self.n_kv_heads
        return per_kv_head[:, None].expand(-1, group, *per_kv_head.shape[1:]).flatten(0, 1)

    def _rows(self, path: str, token_ids: Tensor) -> Tensor:
        if len(token_ids) and int(token_ids.max()) >= self.d_vocab:
            raise UserError(
                f"The tokenizer has token {int(token_ids.max())} but the model's vocabulary ends at "
                f"{self.d_vocab - 1}: tokenizer and weights are not of the same model."
            )
        return self.weights.take(f"{path}.weight", rows=token_ids, of=self.d_vocab).float()

    def _norm_in(self, layer: int, path: str | None, x: Tensor) -> Tensor:
        """A block's norm on [..., d_model]; x itself where the family has none at that place."""
        return x if path is None else self._norm(self._in(layer, path), x)

    def _norm(self, path: str, x: Tensor) -> Tensor:
        """The norm of that name on [..., d_model], in float32."""
        weight = self.weights.take(f"{path}.weight").float()
        epsilon = getattr(self.config, self.epsilon_name)
        return F.layer_norm(x.float().to(weight.device), (self.d_model,), weight, self._bias(path), epsilon)

    def _neurons(self, layer: int, x: Tensor) -> Tensor:
        # One matrix in memory at a time.
        if self.mlp_gate_path is None:
            return self._activation(self._linear(self._in(layer, self.mlp_in_path), x))
        hidden = self._activation(self._linear(self._in(layer, self.mlp_gate_path), x))
        return hidden * self._linear(self._in(layer, self.mlp_in_path), x)

    @property
    def _activation(self) -> Callable[[Tensor], Tensor]:
        name = getattr(self.config, self.activation_name)
        if name not in ACTIVATIONS:
            raise UserError(
                f"The MLP's activation '{name}' is not known, only {', '.join(ACTIVATIONS)}: see {HOW_TO_ADD}."
            )
        return ACTIVATIONS[name]

    def _linear(self, path: str, x: Tensor) -> Tensor:
        weight = self.weights.take(f"{path}.weight").float()
        return F.linear(x.to(weight.device), weight.T if self.in_out else weight, self._bias(path))

    def _bias(self, path: str) -> Tensor | None:
        return self.weights.take(f"{path}.bias").float() if f"{path}.bias" in self.weights else None


class GPT2(Anatomy):
    """Linear layers stored [in, out]; queries, keys and values in one matrix, one after the other."""

    family = "gpt2"
    embedding_path = "transformer.wte"
    blocks_path = "transformer.h"
    final_norm_path = "transformer.ln_f"
    attention_path = "attn"
    value_path = "attn.c_attn"
    output_projection_path = "attn.c_proj"
    head_norm_path = "ln_1"
    mlp_norm_path = "ln_2"
    mlp_in_path = "mlp.c_fc"
    mlp_out_path = "mlp.c_proj"
    epsilon_name = "layer_norm_epsilon"
    activation_name = "activation_function"
    in_out = True
    config_names = MappingProxyType(
        {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "hidden_size": "n_embd"}
    )
    config_silent = MappingProxyType({**Anatomy.config_silent, "tie_word_embeddings": True})

    def _value(self, layer, part):
        # Each input's row, and the bias, hold all queries, then all keys, then all values.
        of = 3 * self.d_model if part == "weight" else 3
        return self.weights.take(f"{self._in(layer, self.value_path)}.{part}", rows=range(2, of, 3), of=of)


class GPTNeoX(Anatomy):
    """Pythia's family: queries, keys and values in one matrix, head by head; attention and MLP side by side."""

    family = "gpt_neox"
    embedding_path = "gpt_neox.embed_in"
    blocks_path = "gpt_neox.layers"
    final_norm_path = "gpt_neox.final_layer_norm"
    attention_path = "attention"
    value_path = "attention.query_key_value"
    output_projection_path = "attention.dense"
    head_norm_path = "input_layernorm"
    mlp_norm_path = "post_attention_layernorm"
    mlp_in_path = "mlp.dense_h_to_4h"
    mlp_out_path = "mlp.dense_4h_to_h"
    epsilon_name = "layer_norm_eps"
    older_names = (("lm_head.", "embed_out."),)

    @property
    def is_parallel(self):  # type: ignore[override]  # here the checkpoint decides, not the family
        return self.config.use_parallel_residual

    def _value(self, layer, part):
        # Query, key and value lie side by side within each head, not one after the other.
        of = 3 * self.n_heads
        return self.weights.take(f"{self._in(layer, self.value_path)}.{part}", rows=range(2, of, 3), of=of)


class Llama(Anatomy):
    """Llama 1 to 3, and those that changed attention alone: of these, OV circuits see nothing."""

    family = "llama"
    embedding_path = "model.embed_tokens"
    blocks_path = "model.layers"
    final_norm_path = "model.norm"
    attention_path = "self_attn"
    value_path = "self_attn.v_proj"
    output_projection_path = "self_attn.o_proj"
    head_norm_path: str | None = "input_layernorm"
    mlp_norm_path: str | None = "post_attention_layernorm"
    mlp_in_path = "mlp.up_proj"
    mlp_gate_path = "mlp.gate_proj"
    mlp_out_path = "mlp.down_proj"
    epsilon_name = "rms_norm_eps"

    def _norm(self, path, x):
        weight = self.gain(self.weights.take(f"{path}.weight").float())
        return F.rms_norm(x.float().to(weight.device), (self.d_model,), weight, self.config.rms_norm_eps)


class Mistral(Llama):
    """As Llama; attention sees a window."""

    family = "mistral"
    config_silent = MappingProxyType({"tie_word_embeddings": False, "head_dim": None})


class Qwen2(Llama):
    """As Llama, with biases on queries, keys and values."""

    family = "qwen2"
    config_silent = MappingProxyType({"tie_word_embeddings": False, "head_dim": None})


class Qwen3(Llama):
    """As Llama, with norms on queries and keys."""

    family = "qwen3"
    config_silent = MappingProxyType({"tie_word_embeddings": False})


class OLMo2(Llama):
    """Norms stand behind attention and MLP only: both read the raw residual stream."""

    family = "olmo2"
    head_norm_path = None
    attention_post_norm_path = "post_attention_layernorm"
    mlp_norm_path = None
    mlp_post_norm_path = "post_feedforward_layernorm"


class Gemma2(Llama):
    """Embeddings scaled by √d_model, norms in front and behind with a gain of 1 + w, logits capped."""

    family = "gemma2"
    attention_post_norm_path = "post_attention_layernorm"
    mlp_norm_path = "pre_feedforward_layernorm"
    mlp_post_norm_path = "post_feedforward_layernorm"
    activation_name = "hidden_activation"
    config_silent = MappingProxyType({"tie_word_embeddings": True})

    @property
    def embedding_scale(self):  # type: ignore[override]  # follows the checkpoint's width
        return self.d_model**0.5

    def gain(self, weight):
        return 1 + weight


class Gemma3(Gemma2):
    """As Gemma 2, with norms on queries and keys."""

    family = "gemma3_text"


class Gemma3WithVision(Gemma3):
    """From 4B on, Gemma 3 is the language model inside one that also sees."""

    family = "gemma3"
    embedding_path = "model.language_model.embed_tokens"
    blocks_path = "model.language_model.layers"
    final_norm_path = "model.language_model.norm"
    older_names = (("model.language_model.", "language_model.model."), ("lm_head.", "language_model.lm_head."))


class Phi(Anatomy):
    """Attention and MLP read the same normed stream; every linear layer has a bias, W_U too."""

    family = "phi"
    embedding_path = "model.embed_tokens"
    blocks_path = "model.layers"
    final_norm_path = "model.final_layernorm"
    attention_path = "self_attn"
    value_path = "self_attn.v_proj"
    output_projection_path = "self_attn.dense"
    head_norm_path = "input_layernorm"
    mlp_norm_path = "input_layernorm"
    mlp_in_path = "mlp.fc1"
    mlp_out_path = "mlp.fc2"
    epsilon_name = "layer_norm_eps"
    is_parallel = True


class Phi3(Llama):
    """Phi 3 and 4: Llama with queries, keys and values in one matrix, and gate and up in another."""

    family = "phi3"
    value_path = "self_attn.qkv_proj"

    def _value(self, layer, part):
        # All query heads, then all key heads, then all value heads.
        of = self.n_heads + 2 * self.n_kv_heads
        name = f"{self._in(layer, self.value_path)}.{part}"
        return self.weights.take(name, rows=range(self.n_heads + self.n_kv_heads, of), of=of)

    def _neurons(self, layer, x):
        gate, up = self._linear(self._in(layer, "mlp.gate_up_proj"), x).chunk(2, dim=-1)
        return self._activation(gate) * up


FAMILIES: dict[str, type[Anatomy]] = {
    cls.family: cls
    for cls in (GPT2, GPTNeoX, Llama, Mistral, Qwen2, Qwen3, OLMo2, Gemma2, Gemma3, Gemma3WithVision, Phi, Phi3)
}


def of(model) -> Anatomy:
    """The anatomy of an nnsight model or a Hugging Face causal language model.

    Raises UserError for a family that `FAMILIES` does not know.
    """
    module = getattr(model, "_module", model)
    return family_of(module.config.model_type)(module.config, Loaded(module), model=model)


def family_of(model_type: str) -> type[Anatomy]:
    """The class for a config's `model_type`. Raises UserError when there is none."""
    if model_type not in FAMILIES:
        raise UserError(
            f"Models of type '{model_type}' are not supported, only {', '.join(sorted(FAMILIES))}: "
            f"choose such a model, or add a class for the family as {HOW_TO_ADD} tells."
        )
    return FAMILIES[model_type]
