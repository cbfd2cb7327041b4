"""A streamed score is the loaded one, bit for bit, wherever the bytes come from and whatever happens to them."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from types import SimpleNamespace

import huggingface_hub.constants
import psutil
import pytest
import safetensors.torch
import torch
from transformers import Gemma3Config

from conftest import CONFIGS, MORE_CONFIGS, random_module
from successor_heads import anatomy, cli, hub_files, models, ordinals, scores, streaming, texts
from successor_heads.errors import UserError
from successor_heads.planted import FAMILIES, words
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.shapes import Shape
from successor_heads.streaming import Checkpoint
from test_models import COMMIT, Hub


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder in which interrupted runs are kept; waits are short."""
    monkeypatch.setenv("SUCCESSOR_HEADS_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(hub_files, "LONGEST_WAIT_SECONDS", 0.0)
    return tmp_path / "kept"


@pytest.fixture
def copy_of(tmp_path, checkpoints):
    """A copy of a checkpoint to change, as a function of its name."""
    return lambda name: shutil.copytree(checkpoints[name], tmp_path / "copy")


def change_weights(folder, change):
    path = folder / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    safetensors.torch.save_file(change(weights) or weights, path, metadata={"format": "pt"})


def shard(folder, name, *, size="20KB"):
    (folder / "model.safetensors").unlink()
    random_module((CONFIGS | MORE_CONFIGS)[name]).save_pretrained(folder, max_shard_size=size)
    assert len(list(folder.glob("model-*.safetensors"))) > 2


def streamed(name, **options):
    """The checkpoint, and its scores."""
    checkpoint = Checkpoint(str(name), **options)
    return checkpoint, checkpoint.score(ordinals.resolve(checkpoint.tokenizer))


def loaded(name, **options):
    model = models.load(str(name), **options)
    return scores.score_heads(anatomy.of(model), ordinals.resolve(model.tokenizer))


def assert_equal(one, other):
    assert one.predicted.keys() == other.predicted.keys()
    for task, predicted in one.predicted.items():
        assert torch.equal(predicted, other.predicted[task]), task


def sentence_of(name, **options):
    """The one sentence that streaming fails with."""
    with pytest.raises(UserError) as caught:
        streamed(name, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 400
    return sentence


@pytest.mark.parametrize("name", CONFIGS | MORE_CONFIGS)
def test_every_part_is_that_of_the_loaded_model_to_the_last_bit(checkpoints, name):
    parts, expected = Checkpoint(str(checkpoints[name])).anatomy, anatomy.of(models.load(str(checkpoints[name])))
    tokens = torch.tensor([9, 4, 4, 200, 590])
    x = expected.mlp0(expected.embed(tokens))
    assert torch.equal(parts.embed(tokens), expected.embed(tokens))
    assert torch.equal(parts.mlp0(parts.embed(tokens)), x)
    assert torch.equal(parts.unembed(tokens), expected.unembed(tokens))
    assert torch.equal(parts.self_attention0(x), expected.self_attention0(x))
    assert torch.equal(parts.final_norm(x), expected.final_norm(x))
    for layer in range(parts.n_layers):
        assert torch.equal(parts.w_v(layer), expected.w_v(layer)) and torch.equal(parts.w_o(layer), expected.w_o(layer))
        assert torch.equal(parts.b_v(layer), expected.b_v(layer))
        assert torch.equal(parts.head_norm(layer)(x), expected.head_norm(layer)(x))


@pytest.mark.parametrize("is_sharded", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "llama-grouped", "gemma2"])
def test_the_scores_are_those_of_the_loaded_model(copy_of, name, is_sharded, cache):
    folder = copy_of(name)
    if is_sharded:
        shard(folder, name)
    checkpoint, result = streamed(folder)
    assert_equal(result, loaded(folder))
    assert checkpoint.bytes_read == checkpoint.bytes_needed < checkpoint.bytes_in_checkpoint
    assert not list(cache.iterdir())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_a_planted_head_is_found_through_either_path(family, tmp_path):
    shape = Shape(n_kv_heads=2) if family == "llama" else Shape()
    planted = plant(Plan(family, 3, shape), words.word_tokenizer())
    planted.save(tmp_path / "plant")
    _, result = streamed(tmp_path / "plant")
    assert result.best == planted.place("successor") and result.macro.max() >= 0.97
    assert_equal(result, loaded(tmp_path / "plant"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_dtype_rounds_as_it_does_in_memory(checkpoints, dtype):
    _, result = streamed(checkpoints["gpt_neox"], dtype=dtype)
    assert_equal(result, loaded(checkpoints["gpt_neox"], dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_checkpoint_may_be_stored_in_any_dtype(copy_of, dtype):
    folder = copy_of("llama-biased")
    change_weights(folder, lambda weights: {name: weight.to(dtype) for name, weight in weights.items()})
    _, result = streamed(folder)
    assert_equal(result, loaded(folder))


def rename(new, old):
    return lambda weights: {
        old + name.removeprefix(new) if name.startswith(new) else name: w for name, w in weights.items()
    }


# As a model without its head is saved, and as older files of the hub have them.
BARE = [
    (name, "transformer." if name == "gpt2" else "gpt_neox." if name.startswith("gpt_neox") else "model.", "")
    for name in CONFIGS | MORE_CONFIGS
]


@pytest.mark.parametrize("name, new, old", [*BARE, ("gpt_neox", "lm_head.", "embed_out.")])
def test_tensors_are_found_under_other_names_that_transformers_takes(copy_of, name, new, old):
    folder = copy_of(name)
    change_weights(folder, rename(new, old))
    assert not any(name.startswith(new) for name in safetensors.torch.load_file(folder / "model.safetensors"))
    checkpoint, result = streamed(folder)
    # The tokens are those of the file, for transformers takes whatever lies beside a Qwen 2 for byte pairs.
    classes = ordinals.resolve(checkpoint.tokenizer)
    assert_equal(result, scores.score_heads(anatomy.of(models.load(str(folder))), classes))


@pytest.mark.parametrize("prefix", ["model.language_model.", "language_model.model."])
def test_gemma_3_with_vision_under_either_name(tmp_path, tokenizer, prefix):
    vision = dict(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=8, patch_size=4
    )
    config = Gemma3Config(text_config=MORE_CONFIGS["gemma3"].to_dict(), vision_config=vision, mm_tokens_per_image=4)
    module = random_module(config)
    module.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    # save_pretrained writes one of the two.
    either = "model.language_model.|language_model.model."
    change_weights(tmp_path / "model", lambda weights: {re.sub(either, prefix, name): w for name, w in weights.items()})
    classes = ordinals.resolve(tokenizer)
    assert_equal(streamed(tmp_path / "model")[1], scores.score_heads(anatomy.of(module), classes))


# What is read


def test_of_a_fused_matrix_only_the_values_are_read_and_of_a_vocabulary_only_the_ordinals(checkpoints, monkeypatch):
    monkeypatch.setattr(streaming, "GAP_BYTES", 0)
    spans = []
    read_into = streaming.DiskFile.read_into
    monkeypatch.setattr(
        streaming.DiskFile,
        "read_into",
        lambda file, buffer, start: (spans.append((start, start + len(buffer))), read_into(file, buffer, start)),
    )
    checkpoint, _ = streamed(checkpoints["gpt_neox"])
    touched = torch.zeros(checkpoint.bytes_in_checkpoint, dtype=torch.int8)
    for start, end in spans:
        touched[start:end] += 1
    assert touched.max() == 1, "some bytes are read twice"

    def rows_read(name, n_rows):
        entry = checkpoint._entry(name)
        return touched[entry.start : entry.start + entry.n_bytes].view(n_rows, -1).bool()

    for layer in range(2):
        fused = rows_read(f"gpt_neox.layers.{layer}.attention.query_key_value.weight", 9)
        assert fused.all(1).tolist() == [False, False, True] * 3 and not fused[[0, 1, 3, 4, 6, 7]].any()
        assert rows_read(f"gpt_neox.layers.{layer}.attention.dense.weight", 1).all()
    token_ids = torch.cat([resolved.token_ids for resolved in ordinals.resolve(checkpoint.tokenizer).values()]).unique()
    for name in ("gpt_neox.embed_in.weight", "lm_head.weight"):
        assert torch.equal(rows_read(name, checkpoint.anatomy.d_vocab).all(1).nonzero()[:, 0], token_ids)
    untouched = [
        name
        for name, entry in checkpoint.entries.items()
        if not touched[entry.start : entry.start + entry.n_bytes].any()
    ]
    assert {"gpt_neox.layers.1.mlp.dense_h_to_4h.weight", "gpt_neox.final_layer_norm.weight"} <= set(untouched)
    assert touched.sum() == checkpoint.bytes_read


def test_rows_that_lie_close_are_read_in_one_go(checkpoints, monkeypatch):
    apart, close = Checkpoint(str(checkpoints["gpt2"])), Checkpoint(str(checkpoints["gpt2"]))
    tokens = torch.tensor([4, 6, 500])
    monkeypatch.setattr(streaming, "GAP_BYTES", 0)
    assert torch.equal(
        apart.take("transformer.wte.weight", rows=tokens, of=593),
        close.take("transformer.wte.weight", rows=tokens, of=593),
    )
    row = 24 * 4
    monkeypatch.setattr(streaming, "GAP_BYTES", row)
    read = streaming.Read("wte", close._entry("transformer.wte.weight"), rows=tokens, of=593)
    assert read.spans == [[4, 7], [500, 501]] and read.n_bytes == 4 * row


def test_reading_runs_ahead_by_a_bounded_number_of_bytes(checkpoints, monkeypatch):
    monkeypatch.setattr(streaming, "DISK_AHEAD_BYTES", 4000)
    seen = []
    fetch = Checkpoint._fetch

    def watched(self, read):
        tensor = fetch(self, read)
        seen.append(sum(ahead.n_bytes for ahead in self.started))
        return tensor

    monkeypatch.setattr(Checkpoint, "_fetch", watched)
    checkpoint, _ = streamed(checkpoints["llama"])
    largest = max(entry.n_bytes for entry in checkpoint.entries.values())
    assert 0 < max(seen) < 4000 + largest and seen[-1] == 0


@pytest.mark.slow
def test_what_streaming_does_not_need_is_not_imported(checkpoints, tmp_path):
    """Imports are most of the time of a small score: these libraries, and torch's compiler, stay out."""
    code = (
        "import sys; from successor_heads import cli; status = cli.main(['score', sys.argv[1], *sys.argv[2:]]); "
        "heavy = ('transformers', 'pandas', 'nnsight', 'scipy.stats', 'sklearn', 'gguf', 'sympy', 'huggingface_hub.errors'); "
        "print([name for name in heavy if name in sys.modules]); sys.exit(status)"
    )
    for options, imported in ([], "[]\n"), (["--no-stream"], "['transformers'"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(checkpoints["gpt_neox"]), *options, "--json", str(tmp_path / "s.json")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert imported in done.stdout and done.stderr == ""


# Interruptions


def interrupted(name, monkeypatch, *, after=1):
    """A run that Ctrl-C stops when `after` layers are done."""
    with monkeypatch.context() as patched:
        real = scores.effective_ov_logits

        def stopping(anatomy, *args, layer, **options):
            if layer == after:
                raise KeyboardInterrupt
            return real(anatomy, *args, layer=layer, **options)

        patched.setattr(scores, "effective_ov_logits", stopping)
        with pytest.raises(KeyboardInterrupt):
            streamed(name)


def test_an_interrupted_run_goes_on_where_it_stopped(checkpoints, cache, monkeypatch):
    whole, expected = streamed(checkpoints["llama-grouped"])
    interrupted(checkpoints["llama-grouped"], monkeypatch)
    (kept,) = cache.iterdir()
    with kept.open("a") as file:
        file.write('{"layer": 1, "answ')  # the machine went down here
    rest, result = streamed(checkpoints["llama-grouped"])
    assert_equal(result, expected)
    layer = sum(
        e.n_bytes for name, e in rest.entries.items() if "layers.1" in name and ("v_proj" in name or "o_proj" in name)
    )
    assert whole.bytes_read - rest.bytes_read == layer
    assert not list(cache.iterdir())


@pytest.mark.slow
def test_a_checkpoint_that_changed_since_is_begun_anew(copy_of, cache, monkeypatch):
    folder = copy_of("llama")
    interrupted(folder, monkeypatch)
    change_weights(folder, lambda weights: {name: weight * 2 for name, weight in weights.items()})
    anew, result = streamed(folder)
    assert_equal(result, loaded(folder))
    assert anew.bytes_read == streamed(folder)[0].bytes_read


@pytest.mark.parametrize(
    ("key", "value"), [("rms_norm_eps", "1e-5"), ("num_attention_heads", "4"), ("hidden_act", ["silu"])]
)
def test_a_value_of_the_wrong_kind_in_the_config_is_refused(copy_of, key, value):
    folder = copy_of("llama")
    config = json.loads((folder / "config.json").read_text()) | {key: value}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="holds a value that nothing can be computed with"):
        streamed(folder)


@pytest.mark.slow
def test_a_config_that_was_mended_since_and_other_code_are_begun_anew(copy_of, cache, monkeypatch, tmp_path):
    folder = copy_of("llama")
    right = (folder / "config.json").read_text()
    (folder / "config.json").write_text(json.dumps(json.loads(right) | {"rms_norm_eps": 1.0}))
    interrupted(folder, monkeypatch)
    (folder / "config.json").write_text(right)
    assert_equal(streamed(folder)[1], loaded(folder))
    interrupted(folder, monkeypatch)
    whole = streaming.KeptLayers(Checkpoint(str(folder)), torch.arange(3)).path
    other = tmp_path / "scores.py"
    other.write_text("# other code")
    monkeypatch.setattr(scores, "__file__", str(other))
    assert streaming.KeptLayers(Checkpoint(str(folder)), torch.arange(3)).path != whole


@pytest.mark.slow
def test_the_same_words_in_another_folder_leave_a_models_kept_layers_alone(checkpoints, cache, tmp_path, monkeypatch):
    for here, name in (("a", "llama"), ("b", "llama-grouped")):
        shutil.copytree(checkpoints[name], tmp_path / here / "model")
    monkeypatch.chdir(tmp_path / "a")
    interrupted("./model", monkeypatch)
    (kept,) = cache.iterdir()
    monkeypatch.chdir(tmp_path / "b")
    assert_equal(streamed("./model")[1], loaded("./model"))
    assert list(cache.iterdir()) == [kept]
    # By another name it is the same model: one layer of two is left to read.
    rest, result = streamed(tmp_path / "a" / "model")
    assert_equal(result, loaded(tmp_path / "a" / "model"))
    assert not list(cache.iterdir()) and rest.bytes_read < streamed(tmp_path / "a" / "model")[0].bytes_read


def test_what_was_kept_long_ago_is_forgotten(checkpoints, cache, monkeypatch):
    interrupted(checkpoints["llama"], monkeypatch)
    (old,) = cache.iterdir()
    os.utime(old, (0, 0))
    interrupted(checkpoints["gpt2"], monkeypatch)
    assert old not in cache.iterdir() and len(list(cache.iterdir())) == 1


def test_a_checkpoint_that_changes_while_it_is_read_is_an_error(copy_of, monkeypatch):
    folder = copy_of("llama")
    checkpoint = Checkpoint(str(folder))
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"abcd")
        file.truncate()
    with pytest.raises(UserError, match="changed while it was read"):
        checkpoint.score(ordinals.resolve(checkpoint.tokenizer))


def test_a_cache_that_cannot_be_written_to_does_no_harm(checkpoints, cache):
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the folder should be")
    assert_equal(streamed(checkpoints["llama"])[1], loaded(checkpoints["llama"]))


def nobody(monkeypatch):
    """No HOME, and a number to which no user belongs, as in a container that is run under one."""
    for variable in ("HOME", "XDG_CACHE_HOME", "SUCCESSOR_HEADS_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    with pytest.raises(RuntimeError):
        Path("~").expanduser()


def test_a_user_without_a_home_goes_without_a_cache(checkpoints, monkeypatch):
    expected = loaded(checkpoints["llama"])
    nobody(monkeypatch)
    assert_equal(streamed(checkpoints["llama"])[1], expected)
    assert "no home folder that ~/model could begin with" in sentence_of("~/model")
    with pytest.raises(UserError, match="set SUCCESSOR_HEADS_CACHE to a folder"):
        models.load("published/smollm2")
    with pytest.raises(UserError, match="no home folder that ~/texts could begin with"):
        texts.read("~/texts")


# Bad checkpoints


@pytest.mark.slow
def test_what_is_wrong_with_a_checkpoint_is_one_sentence(copy_of):
    folder = copy_of("llama")
    path = folder / "model.safetensors"
    good = path.read_bytes()
    name = "model.layers.1.self_attn.v_proj.weight"

    change_weights(folder, lambda weights: weights[name][3, 2:3].fill_(float("nan")) and None)
    assert f"The tensor {name}" in sentence_of(folder) and "NaN" in sentence_of(folder)
    change_weights(folder, lambda weights: weights[name][3, 2:3].fill_(-float("inf")) and None)
    assert "infinite" in sentence_of(folder)
    path.write_bytes(good)
    change_weights(folder, lambda weights: {key: weight for key, weight in weights.items() if key != name})
    assert f"{name} that config.json asks for is missing" in sentence_of(folder)
    path.write_bytes(good)
    change_weights(folder, lambda weights: {key: w[:-1] if key == name else w for key, w in weights.items()})
    assert "another shape" in sentence_of(folder)
    path.write_bytes(good)
    change_weights(folder, lambda weights: {key: w.to(torch.int8) if key == name else w for key, w in weights.items()})
    assert "is stored as I8" in sentence_of(folder)
    for kept in (0, 4, 100, 3000, len(good) - 1):
        path.write_bytes(good[:kept])
        assert "is not a complete safetensors file" in sentence_of(folder)
    path.write_text("<!doctype html>\n" * 30)
    assert "is not a complete safetensors file" in sentence_of(folder)
    path.rename(folder / "pytorch_model.bin")
    assert "has no model.safetensors" in sentence_of(folder)


def test_a_missing_shard_is_named_for_what_it_is(copy_of):
    folder = copy_of("llama")
    shard(folder, "llama")
    next(folder.glob("model-00002-*")).unlink()
    assert "lacks one of the" in sentence_of(folder)


def test_other_mistakes_are_those_of_a_loaded_model(checkpoints):
    assert "There is no folder" in sentence_of("./nowhere")
    assert "There is no dtype" in sentence_of(checkpoints["gpt2"], dtype="int4")
    assert "has no revisions" in sentence_of(checkpoints["gpt2"], revision="main")
    assert "cannot be used on this machine" in sentence_of(checkpoints["gpt2"], device="abacus")


# The hub, played by a server on this machine

PATIENCE = 120  # seconds after which a request that waits for others gives up; a test that comes to this fails


class RangeHub(Hub):
    """The hub of test_models, with ranges; `state` says how it treats them."""

    def __init__(self, *args, state, **kwargs):
        self.state = state
        super().__init__(*args, folder=state.folder, asked=[], **kwargs)

    def do_GET(self):
        file = self.state.folder / self.path.rpartition("/")[2]
        if "Range" not in self.headers or "/api/" in self.path:
            # A file that is not there, as the hub says it.
            if "/resolve/" in self.path and not file.is_file():
                return self.answer(404, X_Error_Code="EntryNotFound")
            return super().do_GET()
        start, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        with self.state.lock:
            self.state.n_requests += 1
            turn = self.state.n_requests
            self.state.n_waiting += 1
            self.state.most_waiting = max(self.state.most_waiting, self.state.n_waiting)
            if self.state.mood == "is far away" and start > 8:
                # The header's length comes alone, and so does the header; of the rest none is answered before four have
                # asked. Who gives up and asks again would be counted twice, so that this has to go without.
                self.state.lock.notify_all()
                self.state.lock.wait_for(lambda: self.state.most_waiting >= 4, timeout=PATIENCE)
            self.state.n_waiting -= 1
        body, etag = file.read_bytes(), f'"{file.name}"'
        if self.state.mood == "ignores ranges":
            return self.answer(200, body, ETag=etag)
        is_new = self.headers["Range"] not in self.state.seen
        self.state.seen.add(self.headers["Range"])
        if self.state.mood == "is down" or (self.state.mood == "stumbles" and is_new):
            return self.answer(503)
        if self.state.mood == "changes" and turn > 4:
            etag = '"another"'
        part = body[start : end + 1]
        self.send_response(206)
        for name, value in {
            "Content-Length": len(part),
            "ETag": etag,
            "Content-Range": f"bytes {start}-{end}/{len(body)}",
        }.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.state.mood == "drops" or (self.state.mood == "hangs up" and turn > 4):
            part = part[: 0 if self.state.mood == "hangs up" else (len(part) + 1) // 2]
            self.close_connection = True
        with self.state.lock:
            self.state.n_bytes += len(part)
        self.wfile.write(part)

    def do_HEAD(self):
        self.do_GET()


@pytest.fixture
def hub(tmp_path, checkpoints, monkeypatch):
    """The model org/good on a hub: where it lies, the server's mood, and what was sent."""
    folder = shutil.copytree(checkpoints["gpt_neox"], tmp_path / "served")
    state = SimpleNamespace(
        folder=folder, mood="good", n_requests=0, n_bytes=0, n_waiting=0, most_waiting=0, seen=set(), lock=Condition()
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(RangeHub, state=state))
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield state
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("is_sharded", [False, True])
@pytest.mark.parametrize("mood", ["good", "stumbles", "drops"])
def test_the_scores_come_from_the_hub_whatever_the_connection_does(hub, checkpoints, mood, is_sharded, tmp_path):
    hub.mood = mood
    if is_sharded:
        shard(hub.folder, "gpt_neox")
    checkpoint, result = streamed("org/good")
    assert checkpoint.revision == COMMIT
    assert_equal(result, loaded(checkpoints["gpt_neox"]))
    # What came before a connection broke is not asked for again, and nothing else is.
    assert hub.n_bytes == checkpoint.bytes_read == checkpoint.bytes_needed < checkpoint.bytes_in_checkpoint
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


@pytest.mark.slow
def test_many_requests_wait_at_once_where_the_hub_is_far_away(hub):
    hub.mood = "is far away"
    checkpoint, _ = streamed("org/good")
    assert hub.n_bytes == checkpoint.bytes_read, "something was asked for twice"
    assert 4 <= hub.most_waiting <= streaming.HUB_THREADS


@pytest.mark.slow
def test_what_lies_in_the_cache_of_the_hub_is_read_there(hub):
    models.load("org/good")
    streamed("org/good")
    assert hub.n_requests == 0


@pytest.mark.slow
def test_a_server_that_ignores_ranges_is_an_error_before_the_file_is_read(hub):
    hub.mood = "ignores ranges"
    assert "sends whole files where parts are asked for" in sentence_of("org/good")
    assert hub.n_requests == 1


@pytest.mark.parametrize(
    "mood, words", [("is down", "the server answered 503"), ("hangs up", "broke 6 times in a row")]
)
@pytest.mark.slow
def test_a_server_that_gives_nothing_is_given_up(hub, mood, words):
    hub.mood = mood
    assert words in sentence_of("org/good") and "goes on where it stopped" in sentence_of("org/good")


@pytest.mark.slow
def test_a_file_that_changes_on_the_hub_is_an_error(hub):
    hub.mood = "changes"
    assert "model.safetensors of org/good changed while it was read" in sentence_of("org/good")


@pytest.mark.slow
def test_a_revision_that_moved_since_the_interrupted_run_is_begun_anew(hub, monkeypatch):
    interrupted("org/good", monkeypatch)
    change_weights(hub.folder, lambda weights: {name: weight * 2 for name, weight in weights.items()})
    moved = "f" * 40
    monkeypatch.setattr("test_models.COMMIT", moved)
    checkpoint, result = streamed("org/good")
    assert checkpoint.revision == moved
    assert_equal(result, loaded(hub.folder))


@pytest.mark.slow
def test_what_the_hub_refuses(hub):
    assert "accept its licence on https://huggingface.co/org/gated and set HF_TOKEN" in sentence_of("org/gated")
    assert "has no model 'org/missing'" in sentence_of("org/missing")
    assert "has no revision 'step7'" in sentence_of("org/good", revision="step7")
    (hub.folder / "model.safetensors").rename(hub.folder / "pytorch_model.bin")
    assert "has no model.safetensors" in sentence_of("org/good")


# The command


def test_the_command_streams_to_the_same_record(checkpoints, tmp_path, capsys):
    records = []
    for flag in ("--stream", "--no-stream"):
        path = tmp_path / f"{flag}.json"
        assert cli.main(["score", str(checkpoints["llama-grouped"]), flag, "--json", str(path)]) == 0
        record = json.loads(path.read_text())
        # When it was made and what it took are of the run, all else is of the model.
        records.append({key: record[key] for key in record.keys() - {"created", "seconds", "peak_rss_bytes"}})
    assert records[0] == records[1] and {"heads", "versions"} < set(records[0]) and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "dtype, free, expected", [("float32", 150_000, True), ("float16", 150_000, False), ("float32", 300_000, False)]
)
def test_what_would_not_fit_into_memory(checkpoints, monkeypatch, dtype, free, expected):
    size = (checkpoints["gpt_neox"] / "model.safetensors").stat().st_size
    assert 130_000 < size < 200_000
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    assert streaming.would_not_fit(str(checkpoints["gpt_neox"]), dtype=dtype) == expected


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_whether_weights_fit_is_asked_of_them_and_not_of_the_config(checkpoints, monkeypatch, tmp_path, name):
    """Most configs on the hub call it torch_dtype, and some are wrong about it."""
    shutil.copytree(checkpoints["gpt_neox"], tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config.pop("dtype", None)
    path.write_text(json.dumps(config | {name: "float16"}))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=150_000))
    assert streaming.would_not_fit(str(tmp_path / "model"))
    assert not streaming.would_not_fit(str(tmp_path / "model"), dtype="float16")


def test_a_score_is_streamed_unless_something_else_is_said(checkpoints, monkeypatch):
    called = []
    score = Checkpoint.score
    monkeypatch.setattr(Checkpoint, "score", lambda self, classes: (called.append(1), score(self, classes))[1])
    assert cli.main(["score", str(checkpoints["gpt_neox"])]) == 0 and called
    called.clear()
    assert cli.main(["score", str(checkpoints["gpt_neox"]), "--no-stream"]) == 0 and not called


# The benchmark


def test_the_stored_benchmarks_keep_what_does_not_depend_on_the_machine():
    """Memory, bytes and equal answers; times are quoted, with their rounds, and not promised."""
    results = Path(__file__).parents[1] / "benchmarks/results"
    stored, ablation = (json.loads((results / name).read_text()) for name in ("score.json", "ablation.json"))
    for part, least in (("peer", 15), ("published", 1.9)):
        for ratio in stored[part]["ratios"].values():
            assert ratio["peak_bytes"] >= least and ratio["heads_with_another_score"] == 0
    assert stored["large"]["peak_bytes"] < 1.5e9
    for part in ("peer", "published", "large"):
        reading = stored[part]["reading"]
        assert reading["bytes_read"] <= 1.05 * reading["bytes_of_needed_rows"] < 0.2 * reading["bytes_in_checkpoint"]
    assert {row["axis"] for row in stored["growth"]} == {"layers", "width", "heads"}
    assert ablation["heads"] == 270 and max(ablation["largest_difference"].values()) < 1e-4


@pytest.mark.slow
def test_of_a_hub_that_has_one_file_and_an_index_the_one_file_is_read(hub):
    """As transformers would, for which the streamed model has to be the loaded one."""
    one_file = hub.folder / "model.safetensors"
    kept = one_file.read_bytes()
    shard(hub.folder, "gpt_neox")
    several = sorted(path.name for path in hub.folder.glob("model-*.safetensors"))
    assert sorted(Checkpoint("org/good").files) == several
    one_file.write_bytes(kept)
    assert [*Checkpoint("org/good").files] == ["model.safetensors"]
