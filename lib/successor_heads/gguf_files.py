"""GGUF files, as llama.cpp, Ollama and LM Studio keep models: one file with config, tokenizer and weights.

::

    file = GGUFFile(Path("SmolLM2-135M-Instruct.Q4_1.gguf"))
    file.config                                               # what a config.json of the same model would say
    file.tensor("model.layers.3.self_attn.v_proj.weight")     # dequantised, as the Hugging Face module has it

Whoever converts a model to GGUF renames its tensors, and changes some: Llama's query and key rows are permuted,
Gemma's norms have had their one added, GPT-2's matrices are transposed, the fused matrix of GPT-NeoX is sorted by
query, key and value instead of by head. `Layout` undoes that, for a whole tensor and for some of its rows, so that of
a quantised file too only those bytes are read that a score needs. Names and number formats are those of the package
`gguf`; its reader is not used, for it spends longer on the tokens of a vocabulary than a score takes.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import torch
from torch import Tensor

from successor_heads.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MAGIC, VERSIONS = b"GGUF", (2, 3)
STRING, ARRAY = 8, 9
# How struct reads each of the format's numbers.
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
Rows = Tensor | range | None


class Layout:
    """How a tensor lies in the file, where it lies as in the module."""

    def stored_rows(self, rows: Rows, of: int | None) -> Rows:
        """The rows of the file that hold these of the module's `of` rows, in their order."""
        return rows

    def restored(self, tensor: Tensor, rows: Rows) -> Tensor:
        """The tensor as the module has it, from what was stored in these rows."""
        return tensor


class PlusOne(Layout):
    """Gemma's norms multiply by 1 + w, and in the file stands 1 + w."""

    def restored(self, tensor, rows):
        return tensor - 1


@dataclass(frozen=True)
class Permuted(Layout):
    """Llama's query and key rows: in each head, first half and second half alternate in the file."""

    n_heads: int

    def stored_rows(self, rows, of):
        # A score reads values, and queries and keys are read whole or not at all: no caller asks for rows of them.
        if rows is not None:
            raise NotImplementedError("some rows of a permuted matrix")
        return None

    def restored(self, tensor, rows):
        pairs = tensor.view(self.n_heads, -1, 2, *tensor.shape[1:])
        return pairs.transpose(1, 2).reshape(tensor.shape)


class Transposed(Layout):
    """GPT-2's matrices are [in, out] in the module and [out, in] in the file.

    Of each input's row one wants a third, the values: in the file that is the last third of the rows.
    """

    def stored_rows(self, rows, of):
        if rows is None:
            return None
        share = of // rows.step
        return range(rows.start * share, (rows.start + 1) * share)

    def restored(self, tensor, rows):
        return tensor.T.contiguous()


@dataclass(frozen=True)
class Sorted(Layout):
    """GPT-NeoX's fused matrix: query, key, value of each head in the module; all queries, keys, values in the file."""

    n_heads: int

    def stored_rows(self, rows, of):
        if rows is None:
            return None
        return range(rows.start * self.n_heads, (rows.start + 1) * self.n_heads)

    def restored(self, tensor, rows):
        if rows is not None:
            return tensor
        by_part = tensor.view(3, self.n_heads, -1, *tensor.shape[1:])
        return by_part.transpose(0, 1).reshape(tensor.shape)


AS_IS = Layout()


@dataclass(frozen=True)
class Stored:
    """One tensor of the file: its shape there, how its numbers are written, and where."""

    name: str
    shape: tuple[int, ...]
    kind: int
    start: int
    n_bytes: int

    def numbers(self, raw: Tensor) -> Tensor:
        """Float32 numbers from bytes that hold whole rows of this tensor, or a part of a bias."""
        kind = gguf.GGMLQuantizationType(self.kind)
        block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        rows = raw.numpy().reshape(-1, self.shape[-1] // block * block_bytes if len(self.shape) > 1 else len(raw))
        return torch.from_numpy(gguf.quants.dequantize(rows, kind)).flatten().float()


class GGUFFile:
    """An opened GGUF file, under the names of the Hugging Face module of the same model.

    Raises UserError for a file that is no complete GGUF, for a family that is not known, and, where a tensor is asked
    for, for a way of quantising that the package `gguf` cannot undo.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            with path.open("rb") as file:
                # Pages come from the disk when they are looked at, so a large file costs nothing here.
                self.mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.metadata, self.stored, self.header_bytes = _read_header(self.mapped)
            if any(tensor.start + tensor.n_bytes > len(self.mapped) for tensor in self.stored.values()):
                raise ValueError("it ends too early")
        except (ValueError, struct.error, OverflowError, MemoryError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path} is not a complete GGUF file ({str(error) or 'it ends too early'}): get it again."
            ) from error
        self.family = str(self.metadata.get("general.architecture"))
        if self.family not in CONFIGS:
            raise UserError(
                f"{path} holds a model of the architecture '{self.family}', and of GGUF files only "
                f"{', '.join(CONFIGS)} are read: choose such a model, or its safetensors."
            )

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the config.json of the same model would say, as far as the file tells and the parts need."""
        try:
            return CONFIGS[self.family](self)
        except (KeyError, TypeError) as error:
            raise UserError(
                f"In {self.path}, {str(error).strip(chr(39))} is not told, so the model cannot be read: get a file that "
                "llama.cpp itself would load."
            ) from error

    def field(self, key: str, default: Any = ...) -> Any:
        """A piece of metadata under the architecture's name. Raises KeyError where it is missing without a default."""
        value = self.metadata.get(f"{self.family}.{key}", default)
        if value is ...:
            raise KeyError(f"{self.family}.{key}")
        return value

    def find(self, name: str) -> tuple[Stored, Layout] | None:
        """Where the module's tensor of that name lies, None where the file has none."""
        path, _, leaf = name.rpartition(".")
        stored = self.stored.get(f"{self._names.get_name(path)}.{leaf}")
        return None if stored is None else (stored, self._layout(name))

    def tensor(self, name: str) -> Tensor:
        """A whole tensor as the module has it, in float32. Raises UserError where it is missing."""
        found = self.find(name)
        if found is None:
            raise UserError(f"In {self.path}, the tensor {name} is missing: get the file again, complete.")
        stored, layout = found
        self.check_kind(stored)
        raw = torch.frombuffer(bytearray(self.mapped[stored.start : stored.start + stored.n_bytes]), dtype=torch.uint8)
        return layout.restored(stored.numbers(raw).view(stored.shape), None)

    def check_kind(self, stored: Stored) -> None:
        """Raise UserError unless the numbers of a tensor can be read."""
        try:
            known = gguf.GGMLQuantizationType(stored.kind)
            gguf.quants.dequantize(torch.zeros(1, gguf.GGML_QUANT_SIZES[known][1], dtype=torch.uint8).numpy(), known)
        except (ValueError, NotImplementedError, KeyError) as error:
            label = getattr(error, "name", None) or f"type {stored.kind}"
            try:
                label = gguf.GGMLQuantizationType(stored.kind).name
            except ValueError:
                pass
            raise UserError(
                f"The tensor {stored.name} of {self.path} is quantised as {label}, which gguf "
                "cannot undo: take the same model in another quantisation, such as Q4_K_M or Q8_0."
            ) from error

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer that the file describes. Raises UserError where there is none, or one of an unknown kind."""
        # Here, because the weights alone are read without this large library.
        from transformers import PreTrainedTokenizerFast
        from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

        try:
            architecture, described, settings = get_gguf_tokenizer(str(self.path))
            backend, _ = convert_gguf_tokenizer(architecture, described)
        except Exception as error:  # whatever an incomplete description makes these raise
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:120].rstrip(" .:")
            raise UserError(
                f"In {self.path}, the tokenizer cannot be read ({said}): get a file that holds its tokenizer."
            ) from error
        return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **settings)

    @cached_property
    def _names(self) -> gguf.TensorNameMap:
        """From the module's names to the file's."""
        architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == self.family)
        return gguf.get_tensor_name_map(architecture, self.field("block_count"))

    def _layout(self, name: str) -> Layout:
        match self.family:
            case "llama" if name.endswith(("q_proj.weight", "q_proj.bias")):
                return Permuted(self.field("attention.head_count"))
            case "llama" if name.endswith(("k_proj.weight", "k_proj.bias")):
                return Permuted(self.field("attention.head_count_kv", self.field("attention.head_count")))
            case "gemma2" | "gemma3" if name.endswith("norm.weight"):
                return PlusOne()
            case "gpt2" if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
                return Transposed()
            case "gptneox" if ".query_key_value." in name:
                return Sorted(self.field("attention.head_count"))
            case _:
                return AS_IS


def _read_header(mapped: mmap.mmap) -> tuple[dict[str, Any], dict[str, Stored], int]:
    """The metadata, the tensors by name, and how many bytes these take. Raises ValueError and struct.error.

    The format is told on https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
    """
    if mapped[:4] != MAGIC:
        raise ValueError("it does not begin with GGUF")
    version, n_tensors, n_keys = struct.unpack_from("<IQQ", mapped, 4)
    if version not in VERSIONS:
        raise ValueError(f"its version is {version}, and {' and '.join(map(str, VERSIONS))} are read")
    place, metadata = 24, {}
    for _ in range(n_keys):
        key, place = _string(mapped, place)
        (kind,) = struct.unpack_from("<I", mapped, place)
        metadata[key], place = _value(mapped, place + 4, kind)
    found = []
    for _ in range(n_tensors):
        name, place = _string(mapped, place)
        (n_axes,) = struct.unpack_from("<I", mapped, place)
        # The fastest axis comes first.
        shape = struct.unpack_from(f"<{n_axes}Q", mapped, place + 4)[::-1]
        kind, offset = struct.unpack_from("<IQ", mapped, place + 4 + 8 * n_axes)
        place += 16 + 8 * n_axes
        found.append((name, shape, kind, offset))
    alignment = metadata.get("general.alignment", gguf.GGUF_DEFAULT_ALIGNMENT)
    data = -(-place // alignment) * alignment
    stored = {
        name: Stored(name, shape, kind, data + offset, _n_bytes(shape, kind)) for name, shape, kind, offset in found
    }
    return metadata, stored, place


def _n_bytes(shape: tuple[int, ...], kind: int) -> int:
    """What a tensor takes in the file; 0 where nobody knows, which is an error only if it is asked for."""
    try:
        block, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    except (ValueError, KeyError):
        return 0
    return math.prod(shape) // block * block_bytes


def _string(mapped: mmap.mmap, place: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", mapped, place)
    end = place + 8 + length
    if end > len(mapped):
        raise ValueError("it ends too early")
    return mapped[place + 8 : end].decode("utf-8"), end


def _value(mapped: mmap.mmap, place: int, kind: int) -> tuple[Any, int]:
    """One piece of metadata, and where it ends."""
    if kind == STRING:
        return _string(mapped, place)
    if kind == ARRAY:
        kind, n = struct.unpack_from("<IQ", mapped, place)
        place += 12
        if kind in NUMBERS:
            form = f"<{n}{NUMBERS[kind]}"
            return list(struct.unpack_from(form, mapped, place)), place + struct.calcsize(form)
        values = []
        for _ in range(n):
            value, place = _value(mapped, place, kind)
            values.append(value)
        return values, place
    if kind not in NUMBERS:
        raise ValueError(f"a value has the unknown type {kind}")
    form = "<" + NUMBERS[kind]
    return struct.unpack_from(form, mapped, place)[0], place + struct.calcsize(form)


# What a config.json would say, family by family. What the file does not tell is what llama.cpp takes for granted.


def _any_family(file: GGUFFile) -> dict[str, Any]:
    # None where it is not told: a family's usual token may lie outside this vocabulary.
    tokens = {
        key: file.metadata.get(f"tokenizer.ggml.{name}_token_id")
        for key, name in (("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding"))
    }
    return {
        "hidden_size": file.field("embedding_length"),
        "intermediate_size": file.field("feed_forward_length"),
        "num_hidden_layers": file.field("block_count"),
        "num_attention_heads": file.field("attention.head_count"),
        "max_position_embeddings": file.field("context_length"),
        "vocab_size": file.stored["token_embd.weight"].shape[0],
        "tie_word_embeddings": "output.weight" not in file.stored,
        **tokens,
    }


def _like_llama(file: GGUFFile) -> dict[str, Any]:
    config = _any_family(file)
    n_heads = config["num_attention_heads"]
    return config | {
        "num_key_value_heads": file.field("attention.head_count_kv", n_heads),
        "head_dim": file.field("attention.key_length", config["hidden_size"] // n_heads),
        "rms_norm_eps": file.field("attention.layer_norm_rms_epsilon"),
        "rope_parameters": _rope(file),
    }


def _rope(file: GGUFFile) -> dict[str, Any]:
    """How positions are turned. Raises UserError for a stretching of them that is not known."""
    rope = {"rope_theta": file.field("rope.freq_base", 10000.0), "rope_type": "default"}
    stretched = file.field("rope.scaling.type", "none")
    if "rope_freqs.weight" in file.stored:
        # Llama 3.1 and later. The file holds what each frequency is divided by, the config what that was made from;
        # these three are the same for all of them.
        told = file.tensor("rope_freqs.weight")
        rope |= {"rope_type": "llama3", "factor": told.max().item(), "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        rope["original_max_position_embeddings"] = 8192
    elif stretched in ("linear", "yarn"):
        rope |= {"rope_type": stretched, "factor": file.field("rope.scaling.factor")}
        if stretched == "yarn":
            rope["original_max_position_embeddings"] = file.field("rope.scaling.original_context_length")
    elif stretched != "none" and "rope_factors_long.weight" not in file.stored:
        raise UserError(
            f"{file.path} stretches its positions by '{stretched}', which is not known here: see its origin."
        )
    return rope


def _llama(file: GGUFFile) -> dict[str, Any]:
    return _like_llama(file) | {
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": "blk.0.attn_q.bias" in file.stored,
        "mlp_bias": "blk.0.ffn_up.bias" in file.stored,
    }


def _qwen2(file: GGUFFile) -> dict[str, Any]:
    return _like_llama(file) | {"model_type": "qwen2", "hidden_act": "silu"}


def _qwen3(file: GGUFFile) -> dict[str, Any]:
    bias = {"attention_bias": "blk.0.attn_q.bias" in file.stored}
    return _like_llama(file) | bias | {"model_type": "qwen3", "hidden_act": "silu"}


def _olmo2(file: GGUFFile) -> dict[str, Any]:
    return _like_llama(file) | {"model_type": "olmo2", "hidden_act": "silu"}


def _gemma2(file: GGUFFile) -> dict[str, Any]:
    config = _like_llama(file)
    # 27B alone divides by its width per head, which is another number than the width of its heads.
    largest = config["num_hidden_layers"] == 46
    return config | {
        "model_type": "gemma2",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": (
            config["hidden_size"] // config["num_attention_heads"] if largest else config["head_dim"]
        ),
        "sliding_window": file.field("attention.sliding_window", 4096),
        "attn_logit_softcapping": file.field("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": file.field("final_logit_softcapping", 30.0),
    }


def _gemma3(file: GGUFFile) -> dict[str, Any]:
    config = _like_llama(file)
    n_layers, period = config["num_hidden_layers"], file.field("attention.sliding_window_pattern", 6)
    largest = n_layers == 62
    return config | {
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": (
            config["hidden_size"] // config["num_attention_heads"] if largest else config["head_dim"]
        ),
        "sliding_window": file.field("attention.sliding_window"),
        "layer_types": [
            "full_attention" if layer % period == period - 1 else "sliding_attention" for layer in range(n_layers)
        ],
        "rope_parameters": {
            "full_attention": config["rope_parameters"],
            "sliding_attention": {"rope_theta": file.field("rope.freq_base_swa", 10000.0), "rope_type": "default"},
        },
        "final_logit_softcapping": file.field("final_logit_softcapping", None),
    }


def _phi3(file: GGUFFile) -> dict[str, Any]:
    config = _like_llama(file)
    rope = config["rope_parameters"]
    rope["partial_rotary_factor"] = file.field("rope.dimension_count", config["head_dim"]) / config["head_dim"]
    config["original_max_position_embeddings"] = file.field(
        "rope.scaling.original_context_length", config["max_position_embeddings"]
    )
    if "rope_factors_long.weight" in file.stored:
        rope |= {
            "rope_type": "longrope",
            "long_factor": file.tensor("rope_factors_long.weight").tolist(),
            "short_factor": file.tensor("rope_factors_short.weight").tolist(),
            "original_max_position_embeddings": config["original_max_position_embeddings"],
        }
    return config | {
        "model_type": "phi3",
        "hidden_act": "silu",
        "sliding_window": file.field("attention.sliding_window", None) or None,
    }


def _gpt2(file: GGUFFile) -> dict[str, Any]:
    config = _any_family(file)
    renamed = {
        "hidden_size": "n_embd",
        "intermediate_size": "n_inner",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
    }
    return {renamed.get(key, key): value for key, value in config.items()} | {
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": file.field("attention.layer_norm_epsilon"),
    }


def _gpt_neox(file: GGUFFile) -> dict[str, Any]:
    config = _any_family(file)
    d_head = config["hidden_size"] // config["num_attention_heads"]
    return config | {
        "model_type": "gpt_neox",
        "hidden_act": "gelu",
        "layer_norm_eps": file.field("attention.layer_norm_epsilon"),
        "use_parallel_residual": file.field("use_parallel_residual"),
        "attention_bias": "blk.0.attn_qkv.bias" in file.stored,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": file.field("rope.freq_base", 10000.0),
            "partial_rotary_factor": file.field("rope.dimension_count") / d_head,
        },
    }


# By the architecture that the file names. A Mistral is written as a llama, and read as one: the same parts in the same
# places. So are others that llama.cpp runs as a llama.
CONFIGS: Mapping[str, Callable[[GGUFFile], dict[str, Any]]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "olmo2": _olmo2,
    "phi3": _phi3,
    "gpt2": _gpt2,
    "gptneox": _gpt_neox,
}
