"""GGUF files, written as llama.cpp's converter writes them, are read as the checkpoints that they were made from."""

import copy
import re
import struct

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.convert_slow_tokenizer import bytes_to_unicode

from conftest import CONFIGS, MORE_CONFIGS, random_module
from successor_heads import anatomy, cli, gguf_files, models, ordinals, scores, streaming
from successor_heads.errors import UserError
from successor_heads.gguf_files import GGUFFile
from successor_heads.streaming import Checkpoint

ARCHITECTURES = {"gpt_neox": "gptneox", "mistral": "llama", "gemma3_text": "gemma3"}
# All that GGUF knows: of Phi 1 and 2 no file is read.
KNOWN = [name for name in CONFIGS | MORE_CONFIGS if name != "phi"]


def config_of(name):
    config = copy.deepcopy((CONFIGS | MORE_CONFIGS)[name])
    if name.startswith("gemma"):
        config.query_pre_attn_scalar = config.head_dim  # as in all published sizes but one, and no file tells it
    return config


def converted(name, weight, config, family):
    """A tensor as llama.cpp's convert_hf_to_gguf.py changes it."""
    n_heads = config.num_attention_heads
    if family in ("llama", "mistral") and re.search("[qk]_proj", name):
        heads = n_heads if "q_proj" in name else config.num_key_value_heads
        return (
            weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
            .swapaxes(1, 2)
            .reshape(weight.shape)
        )
    if family.startswith("gemma") and name.endswith("norm.weight"):
        return weight + 1
    if family == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return weight.T
    if family == "gpt_neox" and "query_key_value" in name:
        by_head = weight.reshape(n_heads, 3, -1, *weight.shape[1:])
        return np.concatenate([by_head[:, part].reshape(-1, *weight.shape[1:]) for part in range(3)])
    return weight


def add_metadata(writer, config, family):
    rope = getattr(config, "rope_parameters", None) or {}
    rope = rope.get("full_attention", rope)
    d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.n_inner if family == "gpt2" else config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    if family in ("gpt2", "gpt_neox"):
        epsilon = config.layer_norm_epsilon if family == "gpt2" else config.layer_norm_eps
        writer.add_layer_norm_eps(epsilon)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_key_length(d_head)
        writer.add_value_length(d_head)
    if family != "gpt2":
        writer.add_rope_freq_base(rope["rope_theta"])
        writer.add_rope_dimension_count(int(d_head * rope.get("partial_rotary_factor", 1.0)))
    if family == "gpt_neox":
        writer.add_parallel_residual(config.use_parallel_residual)
    if family == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if family.startswith("gemma"):
        writer.add_sliding_window(config.sliding_window)
    if family == "gemma3_text":
        writer.add_uint32("gemma3.attention.sliding_window_pattern", 2)  # every second layer sees all


def add_tokenizer(writer, size):
    """Byte-level BPE in which the words of some classes are single tokens, with a leading space."""
    alphabet = bytes_to_unicode()
    tokens = list(dict.fromkeys(alphabet.values()))
    merges = []
    words = [word for task in ("days", "months", "letters") for word in ordinals.CLASSES[task].words]
    for word in [*words, *"123456789"]:
        spelled = [alphabet[byte] for byte in f" {word}".encode()]
        for end in range(1, len(spelled)):
            left, right = "".join(spelled[:end]), spelled[end]
            if left + right not in tokens and len(tokens) < size:
                merges.append(f"{left} {right}")
                tokens.append(left + right)
    tokens += [f"<unused{place}>" for place in range(size - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * size)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)


def write_gguf(path, module, *, kind=Kind.F32, architecture=None, tokenizer=True, leave_out=()):
    config, family = module.config, module.config.model_type
    own = ARCHITECTURES.get(family, family)
    writer = gguf.GGUFWriter(path, architecture or own)
    add_metadata(writer, config, family)
    if tokenizer:
        add_tokenizer(writer, config.vocab_size)
    known = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == own)
    names = gguf.get_tensor_name_map(known, config.num_hidden_layers)
    for name, weight in module.named_parameters():
        stem, _, leaf = name.rpartition(".")
        weight = converted(name, weight.detach().numpy(), config, family)
        raw = np.ascontiguousarray(weight)
        # One-dimensional tensors are never quantised.
        used = kind if raw.ndim == 2 else Kind.F32
        if name not in leave_out:
            writer.add_tensor(f"{names.get_name(stem)}.{leaf}", gguf.quants.quantize(raw, used), raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session", params=KNOWN)
def pair(request, tmp_path_factory):
    """A model, and the GGUF file that was made from it, for every family in turn."""
    module = random_module(config_of(request.param))
    return module, write_gguf(tmp_path_factory.mktemp("gguf") / f"{request.param}.gguf", module)


@pytest.fixture(scope="session")
def small():
    """A Llama whose rows are long enough to be quantised."""
    return random_module(
        LlamaConfig(
            vocab_size=600, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2,
        )
    )  # fmt: skip


def sentence_of(path, **options):
    with pytest.raises(UserError) as caught:
        checkpoint = Checkpoint(str(path), **options)
        checkpoint.score(ordinals.resolve(checkpoint.tokenizer))
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 400
    return sentence


def test_every_tensor_is_that_of_the_module(pair):
    module, path = pair
    file = GGUFFile(path)
    for name, weight in module.named_parameters():
        # Gemma's norms lose a bit on the way there, where one is added.
        torch.testing.assert_close(file.tensor(name), weight.detach(), atol=2e-7, rtol=0, msg=name)


def test_the_config_says_what_the_module_was_made_with(pair):
    module, path = pair
    config = type(module.config)(**{key: v for key, v in GGUFFile(path).config.items() if key != "model_type"})
    asked = ["hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size"]
    asked += ["tie_word_embeddings", "intermediate_size", "rope_parameters", "layer_types", "sliding_window"]
    asked += ["use_parallel_residual", "attention_bias", "mlp_bias", "final_logit_softcapping", "query_pre_attn_scalar"]
    if module.config.model_type == "mistral":
        asked.remove("sliding_window")  # llama.cpp writes a Mistral as a llama, and forgets its window
    for name in asked:
        if hasattr(module.config, name):
            assert getattr(config, name) == getattr(module.config, name), name


def test_a_loaded_model_gives_the_logits_of_the_checkpoint(pair):
    module, path = pair
    loaded = models.load(str(path))
    ids = torch.tensor([[5, 17, 230, 4, 99, 280, 61]])
    with torch.no_grad():
        torch.testing.assert_close(loaded._module(ids).logits, module(ids).logits, atol=2e-4, rtol=1e-4)
    assert loaded._module.config._attn_implementation == "eager" and models.revision_of(loaded) is None


def test_queries_left_permuted_give_other_logits(tmp_path, monkeypatch):
    module = random_module(config_of("llama-grouped"))
    path = write_gguf(tmp_path / "model.gguf", module)
    monkeypatch.setattr(gguf_files.Permuted, "restored", lambda self, tensor, rows: tensor)
    ids = torch.tensor([[5, 17, 230, 4, 99, 280, 61]])
    with torch.no_grad():
        assert (models.load(str(path))._module(ids).logits - module(ids).logits).abs().max() > 0.1


def test_streamed_loaded_and_checkpoint_give_the_same_scores(pair):
    module, path = pair
    checkpoint = Checkpoint(str(path))
    classes = ordinals.resolve(checkpoint.tokenizer)
    pairs = {task: len(found.source) for task, found in classes.items() if len(found.source)}
    assert pairs == dict(numbers=8, days=7, day_prefixes=7, months=12, month_prefixes=12, letters=25)
    streamed = checkpoint.score(classes)
    loaded = scores.score_heads(anatomy.of(models.load(str(path))), classes)
    expected = scores.score_heads(anatomy.of(module), classes)
    for task, predicted in expected.predicted.items():
        assert torch.equal(streamed.predicted[task], predicted) and torch.equal(loaded.predicted[task], predicted), task
    assert checkpoint.bytes_read == checkpoint.bytes_needed < checkpoint.bytes_in_checkpoint


def test_every_streamed_part_is_that_of_the_loaded_model_to_the_last_bit(pair):
    _, path = pair
    parts, expected = Checkpoint(str(path)).anatomy, anatomy.of(models.load(str(path)))
    tokens = torch.tensor([9, 4, 4, 200, 590])
    x = expected.mlp0(expected.embed(tokens))
    assert torch.equal(parts.mlp0(parts.embed(tokens)), x)
    assert torch.equal(parts.unembed(tokens), expected.unembed(tokens))
    for layer in range(parts.n_layers):
        assert torch.equal(parts.w_v(layer), expected.w_v(layer)) and torch.equal(parts.w_o(layer), expected.w_o(layer))
        assert torch.equal(parts.b_v(layer), expected.b_v(layer))


# Quantised files


@pytest.mark.parametrize(
    "kind", [Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q4_1, Kind.Q5_0], ids=lambda k: k.name
)
@pytest.mark.slow
def test_a_quantised_file_is_scored_as_its_own_numbers_say(small, tmp_path, kind):
    path = write_gguf(tmp_path / "model.gguf", small, kind=kind)
    rounded = copy.deepcopy(small)
    with torch.no_grad():
        for weight in rounded.parameters():
            if weight.ndim == 2:
                packed = gguf.quants.quantize(weight.numpy(), kind)
                weight.copy_(torch.from_numpy(gguf.quants.dequantize(packed, kind)))
    checkpoint = Checkpoint(str(path))
    classes = ordinals.resolve(checkpoint.tokenizer)
    streamed, expected = checkpoint.score(classes), scores.score_heads(anatomy.of(rounded), classes)
    loaded = scores.score_heads(anatomy.of(models.load(str(path))), classes)
    for task, predicted in expected.predicted.items():
        assert torch.equal(streamed.predicted[task], predicted) and torch.equal(loaded.predicted[task], predicted)
    exact = scores.score_heads(anatomy.of(small), classes)
    if kind in (Kind.Q4_0, Kind.Q4_1):  # the control: rounding to four bits is felt
        assert any(
            not torch.equal(exact.predicted[task], expected.predicted[task])
            for task in classes
            if task in exact.predicted
        )


def test_of_a_quantised_vocabulary_only_the_rows_of_ordinals_are_read(small, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "GAP_BYTES", 0)
    path = write_gguf(tmp_path / "model.gguf", small, kind=Kind.Q4_1)
    read = []
    read_into = streaming.DiskFile.read_into
    monkeypatch.setattr(
        streaming.DiskFile,
        "read_into",
        lambda file, buffer, start: (read.append((start, start + len(buffer))), read_into(file, buffer, start)),
    )
    checkpoint = Checkpoint(str(path))
    classes = ordinals.resolve(checkpoint.tokenizer)
    checkpoint.score(classes)
    stored = GGUFFile(path).stored["token_embd.weight"]
    row_bytes = 64 // 32 * 20  # a block of Q4_1: 32 numbers, two of half precision before them
    assert stored.n_bytes == 600 * row_bytes
    inside = [
        (start - stored.start) // row_bytes + row
        for start, end in read
        if stored.start <= start < stored.start + stored.n_bytes
        for row in range((end - start) // row_bytes)
    ]
    tokens = torch.cat([found.token_ids for found in classes.values()]).unique()
    assert sorted(inside) == tokens.tolist()


def test_the_command_scores_a_gguf_file_under_any_name(small, tmp_path, capsys):
    path = write_gguf(tmp_path / "sha256-0123", small, kind=Kind.Q8_0)  # as Ollama names its files
    assert models.is_gguf(str(path)) and not models.is_hub_id(str(path))
    assert cli.main(["score", str(path), "--json", str(tmp_path / "score.json")]) == 0
    out, err = capsys.readouterr()
    assert "llama, 2 layers of 4 heads" in out and err == ""


# What is wrong with a file


def test_what_is_wrong_with_a_file_is_one_sentence(small, tmp_path):
    path = write_gguf(tmp_path / "model.gguf", small)
    good = path.read_bytes()
    for kept in (5, 30, 2000, len(good) // 2, len(good) - 4000):
        path.write_bytes(good[:kept])
        assert "is not a complete GGUF file" in sentence_of(path)
    path.write_bytes(b"PK" + good)
    assert "is not a complete GGUF file (it does not begin with GGUF)" in sentence_of(path)
    path.write_bytes(good[:4] + struct.pack("<I", 9) + good[8:])
    assert "its version is 9" in sentence_of(path)
    assert "There is no file" in sentence_of(tmp_path / "none.gguf")
    path.write_bytes(good)
    assert "has no revisions" in sentence_of(path, revision="main")
    with pytest.raises(UserError, match="is not spread"):
        models.load(str(path), device="auto")


def test_an_architecture_that_is_not_known_is_named(small, tmp_path):
    path = write_gguf(tmp_path / "model.gguf", small, architecture="mamba")
    assert re.search("architecture 'mamba'.* llama, qwen2", sentence_of(path))


def test_a_way_of_quantising_that_is_not_known_is_named(small, tmp_path):
    path = write_gguf(tmp_path / "model.gguf", small)
    good = path.read_bytes()
    name = b"blk.1.attn_v.weight"
    place = good.index(name) + len(name) + 4 + 2 * 8  # behind the name: number of axes, two sizes, the kind
    for kind, word in ((999, "type 999"), (Kind.Q8_K, "Q8_K")):
        path.write_bytes(good[:place] + struct.pack("<I", kind) + good[place + 4 :])
        assert f"The tensor blk.1.attn_v.weight of {path} is quantised as {word}" in sentence_of(path)
        with pytest.raises(UserError, match=word):
            models.load(str(path))


def test_a_missing_tensor_and_a_missing_tokenizer_are_named(small, tmp_path):
    path = write_gguf(tmp_path / "model.gguf", small, leave_out=("model.layers.1.self_attn.v_proj.weight",))
    assert "model.layers.1.self_attn.v_proj.weight" in sentence_of(path)
    with pytest.raises(UserError, match="v_proj.weight is missing"):
        models.load(str(path))
    assert "the tokenizer cannot be read" in sentence_of(write_gguf(path, small, tokenizer=False))


def test_numbers_that_are_none_are_refused(small, tmp_path):
    broken = copy.deepcopy(small)
    with torch.no_grad():
        broken.model.layers[1].self_attn.v_proj.weight[3, 5] = float("nan")
    path = write_gguf(tmp_path / "model.gguf", broken)
    assert "NaN" in sentence_of(path)
    with pytest.raises(UserError, match="NaN"):
        models.load(str(path))


def test_our_reader_and_that_of_transformers_agree(small, tmp_path):
    """Where transformers reads a family too, its own mapping is the independent computation."""
    path = write_gguf(tmp_path / "model.gguf", small, kind=Kind.Q8_0)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32)
    ours = models.load(str(path))._module
    for name, weight in ours.named_parameters():
        assert torch.equal(weight, theirs.get_parameter(name)), name
    ids = torch.tensor([[5, 17, 230]])
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, atol=1e-5, rtol=1e-5)
