"""How large a plant is, and the Hugging Face configuration that says so."""

from dataclasses import dataclass, fields

from transformers import GPT2Config, GPTNeoXConfig, LlamaConfig, PreTrainedConfig

from successor_heads.errors import UserError

N_POSITIONS = 256


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder. What is None follows from the others: all heads have their own values, the
    width is shared out among the heads, and the MLP is four times as wide as the model."""

    n_layers: int = 3
    n_heads: int = 6
    d_model: int = 384
    n_kv_heads: int | None = None
    d_head: int | None = None
    d_mlp: int | None = None
    bias: bool = True


FIELDS = tuple(field.name for field in fields(Shape))

# Shapes of published models, whose weights are random here: the name says so.
KNOWN: dict[str, tuple[str, Shape]] = {
    "openai-community/gpt2-shape": ("gpt2", Shape(12, 12, 768)),
    "EleutherAI/pythia-70m-shape": ("gpt_neox", Shape(6, 8, 512)),
    "EleutherAI/pythia-160m-shape": ("gpt_neox", Shape(12, 12, 768)),
    "JackFram/llama-160m-shape": ("llama", Shape(12, 12, 768, d_mlp=3072, bias=False)),
    "HuggingFaceTB/SmolLM2-135M-shape": ("llama", Shape(30, 9, 576, n_kv_heads=3, d_mlp=1536, bias=False)),
}


def like(name: str) -> tuple[str, Shape]:
    """Family and shape of a known model. Raises UserError for a name that is not in KNOWN."""
    if name not in KNOWN:
        raise UserError(f"There is no shape '{name}': choose {', '.join(KNOWN)}.")
    return KNOWN[name]


def configuration(family: str, shape: Shape, *, d_vocab: int) -> PreTrainedConfig:
    """The configuration of a model of this family and shape. Raises UserError where the family cannot have it."""
    sizes = (shape.n_layers, shape.n_heads, shape.d_model, shape.n_kv_heads, shape.d_head, shape.d_mlp)
    if any(size is not None and size < 1 for size in sizes):
        raise UserError(f"A model cannot have a size below 1, as in {shape}: choose larger ones.")
    if shape.d_model % shape.n_heads:
        # Llama's heads may have a width of their own, and still its configuration asks for this.
        raise UserError(
            f"{shape.n_heads} heads cannot share a width of {shape.d_model}: choose a multiple of {shape.n_heads}."
        )
    n_kv_heads = shape.n_kv_heads or shape.n_heads
    d_head = shape.d_head or shape.d_model // shape.n_heads
    d_mlp = shape.d_mlp or 4 * shape.d_model
    if family != "llama" and (n_kv_heads != shape.n_heads or d_head * shape.n_heads != shape.d_model):
        raise UserError(f"Grouped heads, or heads of a width of their own, do not exist in {family}: choose llama.")
    if shape.n_heads % n_kv_heads:
        raise UserError(f"{shape.n_heads} heads cannot share {n_kv_heads} value heads: the one must divide the other.")
    common = dict(vocab_size=d_vocab, num_hidden_layers=shape.n_layers, bos_token_id=None, eos_token_id=None)
    if family == "gpt2":
        if not shape.bias:
            raise UserError("GPT-2 has biases everywhere: choose gpt_neox or llama for a model without.")
        return GPT2Config(
            n_embd=shape.d_model, n_head=shape.n_heads, n_inner=d_mlp, n_positions=N_POSITIONS,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **common,
        )  # fmt: skip
    common |= dict(
        hidden_size=shape.d_model, num_attention_heads=shape.n_heads, intermediate_size=d_mlp,
        max_position_embeddings=N_POSITIONS, tie_word_embeddings=False, attention_bias=shape.bias,
    )  # fmt: skip
    if family == "gpt_neox":
        return GPTNeoXConfig(**common)
    if d_head % 2:
        raise UserError(f"Llama turns queries and keys in pairs, so that a head width of {d_head} has to be even.")
    return LlamaConfig(num_key_value_heads=n_kv_heads, head_dim=d_head, mlp_bias=shape.bias, **common)
