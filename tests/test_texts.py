"""Text is read from its sources and cut into contexts: what is taken, what is refused."""

import copy
import tomllib
from importlib.metadata import distributions, packages_distributions, requires
from pathlib import Path

import pandas as pd
import pytest
import torch
from packaging.requirements import Requirement
from tokenizers.processors import TemplateProcessing

from by_hooks import some_text
from successor_heads import behaviours, texts
from successor_heads.errors import UserError
from successor_heads.growing import corpus

ROOT = Path(__file__).resolve().parents[1]


def test_contexts_are_cut_from_the_text_and_from_nothing_else(tokenizer):
    days = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
    cut, document = texts.cut(tokenizer, some_text(days, "", "  \n", days), n=5, length=4, seed=0)
    assert cut.shape == (4, 4)  # sixteen tokens: two documents of seven, and an end behind each
    stream = [*tokenizer(days)["input_ids"], 1] * 2
    assert sorted(cut.tolist()) == sorted(stream[place : place + 4] for place in range(0, 16, 4))
    assert document.tolist() == [0, 0, 3, 3]  # the documents in between hold no token
    fewer = texts.cut(tokenizer, some_text(days, days), n=2, length=4, seed=0).tokens
    again = texts.cut(tokenizer, some_text(days, days), n=2, length=4, seed=0).tokens
    assert len(fewer) == 2 and (fewer == again).all()


def test_a_token_that_ends_texts_is_shown_as_a_paragraph_mark(tokenizer):
    ids = [*tokenizer(" Monday")["input_ids"], tokenizer.eos_token_id, *tokenizer(" Tuesday")["input_ids"]]
    assert texts.as_read(tokenizer, torch.tensor(ids)) == [" Monday", "¶", " Tuesday"]


def test_contexts_come_from_as_many_documents_as_there_are(tokenizer):
    words = [" Monday", " Tuesday", " Wednesday", " Thursday"]
    lengths = (39, 7, 3, 7)  # with the end behind each, whole contexts of four
    documents = some_text(*(word * length for word, length in zip(words, lengths)))
    of = {tokenizer(word)["input_ids"][0]: word for word in words}
    for n, counts in ((4, [1, 1, 1, 1]), (7, [2, 2, 1, 2])):  # not most of them of the long one
        for seed in range(5):
            begins = [of[row[0].item()] for row in texts.cut(tokenizer, documents, n=n, length=4, seed=seed).tokens]
            assert [begins.count(word) for word in words] == counts


def test_a_tokenizer_that_begins_texts_begins_contexts(tokenizer):
    beginning = copy.deepcopy(tokenizer)
    beginning.bos_token = "<unk>"
    beginning._tokenizer.post_processor = TemplateProcessing(single="<unk> $A", special_tokens=[("<unk>", 0)])
    cut = texts.cut(beginning, some_text("Monday Tuesday Wednesday Thursday Friday"), n=9, length=4, seed=0).tokens
    assert cut[:, 0].tolist() == [0, 0] and (cut[:, 1:] > 0).all()


@pytest.mark.parametrize(
    ("documents", "sentence"),
    [([], "holds 0 tokens, fewer than the 8"), ([""], "holds 0 tokens"), (["Monday Tuesday"], "holds 3 tokens")],
)
def test_text_that_is_too_short_is_refused_in_one_sentence(tokenizer, documents, sentence):
    with pytest.raises(UserError, match=sentence):
        texts.cut(tokenizer, some_text(*documents), n=2, length=8, seed=0)


def test_contexts_without_a_prefix_or_beyond_the_window_are_refused(neox, tokenizer):
    with pytest.raises(UserError, match="no prefix with a next token"):
        texts.cut(tokenizer, some_text("Monday Tuesday"), n=2, length=1, seed=0)
    window = neox._module.config.max_position_embeddings
    with pytest.raises(UserError, match=f"reads {window} tokens at once"):
        behaviours.measure(neox, torch.zeros(1, window + 1, dtype=torch.long), seed=0)


def test_folders_are_read_and_what_is_wrong_with_them_is_said(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        texts.read(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="holds no text files"):
        texts.read(str(tmp_path))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.md").write_text("Monday", encoding="utf8")
    (tmp_path / "b.txt").write_text("", encoding="utf8")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe")
    read = texts.read(str(tmp_path))
    assert sorted(read.documents) == ["", "Monday"] and read.natural
    assert read.note.startswith("Of ") and "text files read: 2; left out, as no files of the kinds" in read.note
    assert read.note.endswith(": 1 (c.bin).")
    (tmp_path / "d.txt").write_bytes(b"Monday \xff\xfe")
    with pytest.raises(UserError, match=r"d\.txt is not UTF-8 \(at byte 7\)"):
        texts.read(str(tmp_path))


def test_of_a_folder_regular_files_are_read_in_any_case_and_without_their_byte_order_mark(tmp_path):
    (tmp_path / "BOOK.TXT").write_bytes("Monday\r\nTuesday".encode("utf-8-sig"))
    assert (tmp_path / "BOOK.TXT").read_text(encoding="utf8").startswith("\ufeff"), "there is one to be taken off"
    (tmp_path / "Plain.Md").write_text("Wednesday", encoding="utf8")
    (tmp_path / "linked.rst").symlink_to(tmp_path / "Plain.Md")
    assert texts.read(str(tmp_path)).note == ""
    (tmp_path / "notes.md").mkdir()
    (tmp_path / "notes.md" / "within.txt").write_text("Thursday", encoding="utf8")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    read = texts.read(str(tmp_path))
    assert sorted(read.documents) == ["Monday\nTuesday", "Thursday", "Wednesday", "Wednesday"]
    assert "text files read: 4" in read.note and read.note.endswith(": 2 (gone.txt, notes.md).")


@pytest.mark.slow
def test_text_of_each_source_is_marked_and_the_seed_decides_its_order():
    generated = texts.read("generated")
    assert not generated.natural and len(generated.documents) > 1000
    assert sorted(generated.documents[:50]) != sorted(texts.read("generated", seed=1).documents[:50])
    found = texts.read("documentation")
    assert found.natural and sum(map(len, found.documents)) > 200_000


def test_the_pile_is_one_pinned_file_of_the_hub(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    asked = {}

    def stand_in(**request):
        asked.update(request)
        pd.DataFrame({"text": ["Monday", "Tuesday"], "other": [1, 2]}).to_parquet(tmp_path / "x.parquet")
        return str(tmp_path / "x.parquet")

    monkeypatch.setattr(texts, "hf_hub_download", stand_in)
    assert sorted(texts.read("pile").documents) == ["Monday", "Tuesday"]
    assert asked["repo_type"] == "dataset" and len(asked["revision"]) == 40 and asked["filename"].endswith(".parquet")


@pytest.mark.slow
def test_without_the_hub_the_documentation_stands_in_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    caplog.set_level("WARNING", logger="huggingface_hub")
    with pytest.raises(texts.Unreachable, match="pile-10k\\) is not on this machine and the hub does not hand it out"):
        texts.read("pile")
    (read,) = texts.read_all(["pile", "documentation"])  # the same text need not be read twice
    assert read.documents == texts.read("documentation").documents
    assert read.note.startswith("The sample of the Pile") and read.note.endswith("documentation was read in its place.")
    assert not [record for record in caplog.records if "etry" in record.message]
    for source in ("documentation", "generated"):
        assert texts.read_all([source])[0].note == ""


def test_a_hub_that_does_not_answer_is_asked_once(tmp_path, monkeypatch, caplog):
    """Nothing listens at the address: what huggingface_hub would try six times, over half a minute and aloud."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    nobody = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", nobody)
    tries = []
    client = texts.get_hf_file_metadata
    monkeypatch.setattr(texts, "get_hf_file_metadata", lambda *a, **k: tries.append(a) or client(*a, **k))
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("waited for another try"))
    with pytest.raises(texts.Unreachable, match="efused"):
        texts.read("pile")
    assert len(tries) == 1 and "127.0.0.1" in tries[0][0] and not caplog.records


@pytest.mark.slow
def test_documentation_is_decided_by_the_lock_and_by_nothing_else_that_is_installed(tmp_path, monkeypatch):
    before = texts.read("documentation")
    other = tmp_path / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n\n" + "Words. " * 200)
    monkeypatch.syspath_prepend(tmp_path)
    assert any(found.name == "other" for found in distributions())  # it is seen, and not read
    assert texts.read("documentation").digest == before.digest
    assert texts.read("documentation", seed=1).digest == before.digest  # the seed decides the order alone
    monkeypatch.setattr(texts, "DESCRIBED", (*texts.DESCRIBED, "other"))
    assert texts.read("documentation").digest != before.digest
    monkeypatch.setattr(texts, "DESCRIBED", ("not-installed",))
    with pytest.raises(UserError, match="package not-installed, whose description is read, is not installed"):
        texts.read("documentation")


@pytest.mark.slow
def test_what_documentation_reads_is_needed_by_the_library_on_every_system():
    lock = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf8").splitlines():
        pinned, _, condition = line.partition(";")
        name, _, version = pinned.strip().partition("==")
        lock[name] = version, condition
    needed = needed_by(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]["dependencies"])
    for name in texts.DESCRIBED:
        assert name in needed and lock[name][1] == "", name
    owners = packages_distributions()
    for package in texts.DOCUMENTED:
        assert package not in corpus.DOCUMENTED, f"grown models have read {package}"
        assert {owner.lower().replace("_", "-") for owner in owners[package]} <= needed, package


def needed_by(requirements):
    """Names of the distributions that these requirements lead to, on this system and without extras."""
    found, left = set(), [Requirement(line) for line in requirements]
    while left:
        wanted = left.pop()
        name = wanted.name.lower().replace("_", "-")
        extras = wanted.extras or {""}
        if name not in found and (wanted.marker is None or any(wanted.marker.evaluate({"extra": e}) for e in extras)):
            found.add(name)
            for line in requires(name) or []:
                onward = Requirement(line)
                if onward.marker is None or any(onward.marker.evaluate({"extra": e}) for e in extras | {""}):
                    onward.marker = None
                    left.append(onward)
    return found
