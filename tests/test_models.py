import json
import re
import shutil
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub.constants
import pytest
import safetensors.torch
import sentencepiece
import torch
import transformers

from conftest import CONFIGS, random_module
from successor_heads import anatomy, models, ordinals, prompts, streaming
from successor_heads.errors import UserError
from successor_heads.scores import score_heads

COMMIT = "1234567890abcdef1234567890abcdef12345678"


@pytest.fixture
def broken(tmp_path, checkpoints):
    """A copy of a good checkpoint to break, as a function of the family."""

    def copy(family="gpt_neox"):
        return shutil.copytree(checkpoints[family], tmp_path / "broken")

    return copy


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder, change):
    path = folder / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    change(weights)
    safetensors.torch.save_file(weights, path, metadata={"format": "pt"})


def sentence_of(name, **options):
    """The one sentence that loading `name` fails with."""
    with pytest.raises(UserError) as caught:
        models.load(str(name), **options)
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 400
    return sentence


def streamed_sentence_of(name):
    """The one sentence that streaming fails with, on the same folder."""
    with pytest.raises(UserError) as caught:
        streaming.Checkpoint(str(name))
    return str(caught.value)


def test_a_local_folder_becomes_a_model_to_trace(model):
    module = model._module
    assert not module.training and not any(weight.requires_grad for weight in module.parameters())
    assert module.config._attn_implementation == "eager"
    assert model.tokenizer.padding_side == "left"
    assert models.revision_of(model) is None


def test_loading_writes_nothing_on_the_screen(checkpoints, capfd):
    models.load(str(checkpoints["llama"]))
    assert capfd.readouterr() == ("", "")


def test_the_ordinals_do_not_depend_on_what_nnsight_does_to_the_tokenizer(neox, tokenizer):
    before, after = ordinals.resolve(tokenizer), ordinals.resolve(neox.tokenizer)
    for task in ordinals.TASKS:
        assert torch.equal(before[task].token_ids, after[task].token_ids)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", torch.bfloat16])
def test_dtype_can_be_chosen(checkpoints, dtype):
    expected = models.DTYPES.get(dtype, dtype)
    assert models.load(str(checkpoints["gpt2"]), dtype=dtype)._module.dtype == expected


def test_grown_models_are_those_of_the_zoo(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "ZOO", tmp_path)
    assert "none yet" in sentence_of("grown/pythia")
    shutil.copytree(checkpoints["gpt2"], tmp_path / "gpt2")
    shutil.copytree(checkpoints["llama"], tmp_path / "llama")
    (tmp_path / "unfinished").mkdir()
    assert models.grown_models() == ["grown/gpt2", "grown/llama"]
    assert anatomy.of(models.load("grown/llama")).family == "llama"
    for name in ("grown/pythia", "grown/unfinished", "grown/", "grown/../gpt2"):
        assert "grown/gpt2, grown/llama" in sentence_of(name)


def test_an_untrained_twin_has_the_shape_but_not_the_weights(model, tokenizer):
    twin, again, other = (models.untrained_twin(model, seed=seed) for seed in (0, 0, 1))
    for name, weight in model._module.named_parameters():
        fresh = twin._module.get_parameter(name)
        assert fresh.shape == weight.shape and fresh.dtype == weight.dtype and not torch.equal(fresh, weight)
        assert torch.equal(fresh, again._module.get_parameter(name))
    assert not torch.equal(other._module.lm_head.weight, twin._module.lm_head.weight)
    assert twin.tokenizer is model.tokenizer and not twin._module.training
    score_heads(anatomy.of(twin), ordinals.resolve(tokenizer))


def test_making_a_twin_leaves_the_random_state_alone(neox):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    models.untrained_twin(neox)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "~/no-such-folder-here", ".."])
def test_a_missing_folder(name):
    assert name in sentence_of(name)


def test_a_file_is_not_a_model(checkpoints):
    assert "no folder" in sentence_of(checkpoints["gpt2"] / "config.json")


def test_a_revision_of_a_local_folder_is_refused_rather_than_ignored(checkpoints):
    assert "has no revisions" in sentence_of(checkpoints["gpt2"], revision="step1000")


def test_an_unknown_dtype_names_those_there_are(checkpoints):
    assert "float32, float16, bfloat16" in sentence_of(checkpoints["gpt2"], dtype="int4")


@pytest.mark.parametrize("device", ["meta", "abacus"] + ([] if torch.cuda.is_available() else ["cuda"]))
def test_a_device_that_is_not_there(checkpoints, device):
    assert f"Device '{device}' cannot be used" in sentence_of(checkpoints["gpt2"], device=device)


def test_a_folder_without_config(broken):
    folder = broken()
    (folder / "config.json").unlink()
    assert "has no config.json" in sentence_of(folder)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '"gpt2"', "", "{}", '{"model_type": ["gpt2"]}', '{"model_type": "gpt_neox", "hidden_size": "wide"}'],
)
def test_a_broken_config(broken, text):
    folder = broken()
    (folder / "config.json").write_text(text)
    assert re.search("config.json cannot be read|not supported", sentence_of(folder))


@pytest.mark.parametrize(
    "changes", [dict(num_attention_heads=0), dict(num_attention_heads=5), dict(hidden_act="magic")]
)
def test_a_config_that_makes_no_model(broken, changes):
    folder = broken()
    edit_config(folder, **changes)
    assert "cannot be read" in sentence_of(folder)


def test_an_unsupported_family_names_those_that_are(broken):
    folder = broken()
    edit_config(folder, model_type="mamba")
    assert re.search("'mamba'.*gpt2, gpt_neox, llama", sentence_of(folder))


def test_a_missing_tokenizer(broken):
    folder = broken()
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer" in sentence_of(folder)


@pytest.mark.parametrize("text", ["{", "{}", ""])
def test_a_broken_tokenizer(broken, text):
    folder = broken()
    (folder / "tokenizer.json").write_text(text)
    assert "the tokenizer cannot be read" in sentence_of(folder)


def test_missing_weights_and_weights_in_a_format_that_can_run_code(broken):
    folder = broken()
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    assert "has no model.safetensors" in sentence_of(folder)
    torch.save(weights, folder / "pytorch_model.bin")
    assert "has no model.safetensors" in sentence_of(folder)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights(broken, kept):
    path = broken() / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert "the weights cannot be read" in sentence_of(path.parent)


def test_a_page_saved_in_place_of_weights(broken):
    folder = broken()
    (folder / "model.safetensors").write_text("<!doctype html>\n" * 30)
    assert "the weights cannot be read" in sentence_of(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_what_git_leaves_in_place_of_a_large_file_is_named(broken, file):
    folder = broken()
    (folder / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n")
    for read in (sentence_of, streamed_sentence_of):
        assert f"{file} of {folder} is a pointer of Git LFS" in read(folder)


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "bitsandbytes"),
        ({"quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}}, "load_in_4bit"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq"),
        (
            {"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized"}},
            "compressed-tensors",
        ),
        ({"compression_config": {"format": "int-quantized"}}, "unnamed"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
    ],
)
def test_what_its_config_says_was_quantised_is_refused_on_either_path(broken, config, method):
    folder = broken()
    models.load(str(folder))
    edit_config(folder, **config)
    for read in (sentence_of, streamed_sentence_of):
        assert re.search(f"is quantised .*says {method}.*before it was quantised", read(folder))


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [("weight", torch.int8), ("weight", torch.uint8), ("weight", torch.float8_e4m3fn), ("qweight", torch.int32)],
)
def test_codes_of_a_quantisation_are_refused_where_the_config_is_silent(broken, stored, dtype):
    """As an old GPTQ, whose own file says what was done; or an 8-bit file, of which transformers would take the codes."""
    folder, layer = broken("llama"), "model.layers.1.mlp.down_proj."
    edit_weights(folder, lambda weights: weights.update({layer + "mask": torch.ones(3, dtype=torch.uint8)}))
    models.load(str(folder))  # a mask is no weight

    def quantise(weights):
        weights[layer + stored] = (weights.pop(layer + "weight") * 20).to(dtype)

    edit_weights(folder, quantise)
    for read in (sentence_of, streamed_sentence_of):
        assert re.search(f"{layer}{stored} of .* is stored as .*before it was quantised", read(folder))


def save_over(folder, *, seed):
    """Shards and their index of another random model, or of the same, beside the one file."""
    module = models.load(str(folder))._module if seed is None else random_module(CONFIGS["gpt_neox"], seed=seed)
    module.save_pretrained(folder / "other", max_shard_size="20KB")
    for path in [*(folder / "other").glob("model-*"), folder / "other" / "model.safetensors.index.json"]:
        path.rename(folder / path.name)


@pytest.mark.parametrize("seed", [None, 5])
def test_a_folder_that_was_saved_over_gives_one_model_or_none(broken, seed):
    folder = broken()
    save_over(folder, seed=seed)
    one_file = safetensors.torch.load_file(folder / "model.safetensors")["gpt_neox.embed_in.weight"]
    if seed is None:
        assert torch.equal(models.load(str(folder))._module.gpt_neox.embed_in.weight, one_file)
        assert [*streaming.Checkpoint(str(folder)).files] == ["model.safetensors"]
    else:
        for read in (sentence_of, streamed_sentence_of):
            assert "holds two different sets of weights" in read(folder)
    # An index without its files is no second set, for transformers looks at the one file first.
    for path in folder.glob("model-00002-*"):
        path.unlink()
    assert torch.equal(models.load(str(folder))._module.gpt_neox.embed_in.weight, one_file)
    assert torch.equal(streaming.Checkpoint(str(folder)).take("gpt_neox.embed_in.weight"), one_file)


def test_an_adapter_is_named_and_beside_a_model_it_is_said_that_it_is_not_applied(broken, caplog, monkeypatch):
    folder = broken()
    models.load(str(folder))
    assert not caplog.messages
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    models.describe(str(folder))
    models.load(str(folder))
    assert len(caplog.messages) == 1 and "an adapter (adapter_config.json), which is not applied" in caplog.text
    # With peft transformers would apply it, whatever was said.
    monkeypatch.setattr("transformers.utils.is_peft_available", lambda: True)
    assert "which the installed package peft would apply: merge it" in sentence_of(folder)
    (folder / "config.json").unlink()
    assert "is an adapter and not a whole model" in sentence_of(folder)


def test_a_folder_that_has_the_name_of_a_hub_model_is_said_to_be_read(broken, caplog, monkeypatch):
    folder = broken()
    monkeypatch.chdir(folder.parent.parent)
    name = f"{folder.parent.name}/broken"
    models.describe(f"./{name}")
    assert not caplog.messages
    models.describe(name)
    models.load(name)
    assert caplog.messages == [
        f"{name} is read from the folder of that name here, not from the hub: write ./{name} if that is meant."
    ]


def test_a_missing_shard(broken):
    folder = broken()
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "the weights cannot be read" in sentence_of(folder)


def test_a_checkpoint_that_lacks_a_tensor_is_not_filled_with_random_numbers(broken):
    folder = broken()
    name = "gpt_neox.layers.1.attention.dense.weight"
    edit_weights(folder, lambda weights: weights.pop(name))
    assert f"{name} among them" in sentence_of(folder)


def test_tensors_of_another_shape_are_not_replaced_by_random_numbers(broken):
    folder = broken()
    edit_config(folder, intermediate_size=44)
    assert "another shape" in sentence_of(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers(broken, value):
    folder = broken("llama")
    edit_weights(folder, lambda weights: weights["model.layers.1.mlp.up_proj.weight"][3, 5:6].fill_(value))
    assert "model.layers.1.mlp.up_proj.weight" in sentence_of(folder)


def test_numbers_too_large_for_the_dtype(broken):
    folder = broken("llama")
    edit_weights(folder, lambda weights: weights["lm_head.weight"][0, :1].fill_(1e6))
    models.load(str(folder))
    assert "lm_head.weight" in sentence_of(folder, dtype="float16")


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_a_model_that_does_not_fit(checkpoints, monkeypatch, error):
    def full(*_):
        raise error("out of memory")

    monkeypatch.setattr(transformers.PreTrainedModel, "to", full)
    assert "does not fit into memory" in sentence_of(checkpoints["gpt2"])


# A config and a tokenizer that are read without transformers


ASKED = ["num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size", "head_dim", "vocab_size"]
ASKED += ["tie_word_embeddings", "hidden_act", "rms_norm_eps", "layer_norm_eps", "use_parallel_residual"]


@pytest.mark.parametrize("family", anatomy.FAMILIES)
def test_where_a_config_is_silent_it_means_what_transformers_takes_it_for(family, tmp_path):
    """What `config_silent` says of a family, and for the rest that transformers is asked."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    light = models.Config({"model_type": family}, tmp_path)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert anatomy.FAMILIES[family].config_silent
    for read, expected in ((light, theirs), (light.get_text_config(), theirs.get_text_config())):
        nothing = anatomy.Loaded(torch.nn.Module())
        parts = [anatomy.FAMILIES[family](config, nothing) for config in (read, expected)]
        for name in ("is_tied", "n_layers", "n_heads", "n_kv_heads", "d_model", "d_head", "d_vocab"):
            assert getattr(parts[0], name) == getattr(parts[1], name), name
    for name in ASKED[6:]:
        assert getattr(light, name, None) == getattr(theirs.get_text_config(), name, None), name


def test_a_config_reads_as_that_of_transformers(checkpoints):
    for folder in checkpoints.values():
        light = models.describe(str(folder)).config
        theirs = transformers.AutoConfig.from_pretrained(folder)
        for name in ASKED:
            assert getattr(light, name, None) == getattr(theirs, name, None), (folder.name, name)


def test_a_tokenizer_without_a_tokenizer_json_is_read_by_transformers(broken, tokenizer):
    folder = broken("gpt2")
    light = models.describe(str(folder)).tokenizer
    assert isinstance(light, models.FileTokenizer)
    for text in (" Monday", "\n12", "nobody knows this"):
        ids = light.encode(text, add_special_tokens=False)
        assert ids == tokenizer.encode(text, add_special_tokens=False)
        assert light.decode(ids) == tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    (folder / "tokenizer.json").rename(folder / "vocab.json")
    assert "the tokenizer cannot be read" in sentence_of(folder)


@pytest.fixture
def pieces(tmp_path, broken):
    """A Llama whose tokenizer is a tokenizer.model alone, and what SentencePiece reads from that."""
    folder = broken("llama")
    (folder / "tokenizer.json").unlink()
    words = " ".join(word for ordinal_class in ordinals.CLASSES.values() for word in ordinal_class.words)
    (tmp_path / "words.txt").write_text("\n".join([words] * 50))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "words.txt"),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        normalization_rule_name="identity",  # as Llama's
        minloglevel=2,
    )
    return folder, sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))


def test_a_model_with_a_tokenizer_model_alone_is_read_as_sentencepiece_reads_it_or_not_at_all(pieces, monkeypatch):
    folder, own = pieces
    about = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "<s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    model, checkpoint = models.load(str(folder)), streaming.Checkpoint(str(folder))
    for tokenizer in (model.tokenizer, checkpoint.tokenizer):
        for text in ("Monday Tuesday, 27", "A 1\nnobody knows"):
            assert prompts.tokens_of(tokenizer, text) == [own.bos_id(), *own.encode(text)]
    # Without its class transformers leaves out the space with which SentencePiece begins a text.
    (folder / "tokenizer_config.json").unlink()
    for read in (sentence_of, streamed_sentence_of):
        assert "gives other tokens in transformers than in SentencePiece" in read(folder)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    assert "run pip install sentencepiece protobuf" in sentence_of(folder)


# The hub, played by a server on this machine.


class Hub(BaseHTTPRequestHandler):
    """Serves one folder as the model org/good, and refuses other names in the ways the real hub does."""

    refusals = {
        "org/gated": (403, "GatedRepo"),
        "org/gated-anonymous": (401, "GatedRepo"),
        "org/missing": (401, "RepoNotFound"),
        "org/down": (500, ""),
        "org/busy": (429, ""),
        "org/expired": (401, ""),
        "org/unfit": (401, "GatedRepo"),
        "org/mirrored": (403, ""),
    }
    messages = {
        "org/expired": 'User Access Token "mine" is expired',
        "org/unfit": "Invalid credentials in Authorization header",
    }

    def __init__(self, *args, folder, asked, **kwargs):
        self.folder, self.asked = folder, asked
        super().__init__(*args, **kwargs)

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        name = re.search("org/[a-z-]+", path).group()
        if name in self.refusals:
            status, code = self.refusals[name]
            self.answer(status, X_Error_Code=code, X_Error_Message=self.messages.get(name, "No."))
        elif name == "org/portal":
            self.answer(200, b"<!doctype html><title>Log in</title>")
        elif path.startswith("/api/"):
            self.describe(path)
        else:
            file = self.folder / path.rpartition("/")[2]
            self.asked.append(file.name)
            body = file.read_bytes()
            self.answer(200, body, ETag=f'"{file.name}"', X_Repo_Commit=COMMIT)

    do_HEAD = do_GET

    def describe(self, path):
        if "/revision/" in path and path.rpartition("/")[2] not in ("main", COMMIT):
            self.answer(404, X_Error_Code="RevisionNotFound")
        elif "/tree/" in path:
            files = [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": file.name}
                for file in self.folder.iterdir()
            ]
            self.answer(200, json.dumps(files).encode())
        else:
            self.answer(200, json.dumps({"id": "org/good", "sha": COMMIT, "siblings": []}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path, checkpoints, monkeypatch):
    """The names of the files that were asked of the hub, whose model org/good lies in `hub.folder`."""

    class Asked(list):
        folder = shutil.copytree(checkpoints["gpt_neox"], tmp_path / "served")

    asked = Asked()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder=asked.folder, asked=asked))
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield asked
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_hub_model_is_fetched_config_first_and_read_from_disk_the_second_time(hub, checkpoints, monkeypatch):
    (hub.folder / "pytorch_model.bin").write_bytes(b"never fetched")
    model = models.load("org/good")
    assert hub[0] == "config.json" and "pytorch_model.bin" not in hub
    assert models.revision_of(model) == COMMIT
    local = models.load(str(checkpoints["gpt_neox"]))
    assert torch.equal(model._module.lm_head.weight, local._module.lm_head.weight)
    # Without a network the copy on disk is found.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert models.revision_of(models.load("org/good")) == COMMIT
    assert "hub cannot be reached" in sentence_of("org/other")


@pytest.mark.slow
def test_an_unsupported_hub_model_is_refused_before_its_weights_are_fetched(hub):
    edit_config(hub.folder, model_type="mamba")
    assert "'mamba'" in sentence_of("org/good")
    assert set(hub) == {"config.json"}


@pytest.mark.slow
def test_what_the_hub_refuses(hub):
    assert "accept its licence on https://huggingface.co/org/gated and set HF_TOKEN" in sentence_of("org/gated")
    assert "set HF_TOKEN" in sentence_of("org/gated-anonymous")
    assert "The hub has no model 'org/missing'" in sentence_of("org/missing")
    assert "has no revision 'step7'" in sentence_of("org/good", revision="step7")
    assert "server fails at the moment (500), so org/down" in sentence_of("org/down")
    assert "asked too often" in sentence_of("org/busy") and "(429)" in sentence_of("org/busy")
    assert "access token that it was sent for org/expired (User Access Token … is expired)" in sentence_of(
        "org/expired"
    )
    assert "access token that it was sent for org/unfit (Invalid credentials" in sentence_of("org/unfit")
    assert "refuses it (403): set HF_TOKEN" in sentence_of("org/mirrored")
    assert "a network does that wants a login" in sentence_of("org/portal")
    assert "neither a folder nor a hub id" in sentence_of("not a name")
    assert "neither a folder nor a hub id" in sentence_of("too/many/parts")
    assert "neither a folder nor a hub id" in sentence_of("long" * 64), "longer than a file's name can be"


def test_a_model_that_is_spread_is_loaded_with_a_device_map_and_not_moved(checkpoints, monkeypatch):
    """There is one device here: what is asked of transformers, and that a spread model is not moved to one of its devices."""
    monkeypatch.setattr(models, "find_spec", lambda name: name)
    from_pretrained, asked = transformers.AutoModelForCausalLM.from_pretrained, []

    def spread(*args, device_map, **options):
        asked.append(device_map)
        module, report = from_pretrained(*args, **options)
        module.hf_device_map = {"": "cpu"}
        module.to = None  # accelerate forbids it
        return module, report

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", spread)
    assert models.load(str(checkpoints["gpt2"]), device="auto")._module.hf_device_map
    assert asked == ["auto"]
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    assert "run pip install accelerate" in sentence_of(checkpoints["gpt2"], device="auto")


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.slow
def test_no_network(hub, monkeypatch, offline):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "the hub cannot be reached" in sentence_of("org/good")


@pytest.mark.parametrize(
    "trouble", ["nobody answers", "offline", "proxy", "offline behind a proxy", "too often", "a login page"]
)
@pytest.mark.slow
def test_a_whole_model_in_the_hubs_cache_is_taken_from_there_and_nobody_is_asked(
    hub, checkpoints, monkeypatch, trouble
):
    models.load("org/good")
    asked = len(hub)
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("waited for another try"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **options: pytest.fail("the hub was asked"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", "offline" in trouble)
    if "proxy" in trouble:
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    if trouble == "nobody answers":
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(Hub.refusals, "org/good", (429, "") if trouble == "too often" else (200, ""))
    for revision in (None, "main", COMMIT):
        model, checkpoint = (
            models.load("org/good", revision=revision),
            streaming.Checkpoint("org/good", revision=revision),
        )
        assert models.revision_of(model) == checkpoint.revision == COMMIT
        assert torch.equal(checkpoint.take("lm_head.weight"), model._module.lm_head.weight)
    assert len(hub) == asked


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.slow
def test_what_is_missing_of_a_model_in_the_hubs_cache_is_fetched(hub, missing):
    (models.load("org/good"), hub.clear())
    (path,) = Path(huggingface_hub.constants.HF_HUB_CACHE).glob(f"*/snapshots/*/{missing}")
    path.resolve().unlink()  # the link stays, and leads nowhere
    assert models.revision_of(models.load("org/good")) == COMMIT
    assert missing in hub


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.slow
def test_a_proxy_that_cannot_be_used_is_named(hub, monkeypatch, offline):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setenv("ALL_PROXY", "socks9://127.0.0.1:9")
    huggingface_hub.close_session()  # one that was opened without it
    try:
        assert re.search("hub cannot be reached through the proxy .*: check ALL_PROXY", sentence_of("org/good"))
    finally:
        monkeypatch.delenv("ALL_PROXY")
        huggingface_hub.close_session()


@pytest.mark.slow
def test_a_proxy_that_does_not_answer_is_named(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    huggingface_hub.close_session()
    try:
        assert "check the network, the proxy that HTTP_PROXY names" in sentence_of("org/good")
    finally:
        monkeypatch.delenv("HTTP_PROXY")
        huggingface_hub.close_session()
