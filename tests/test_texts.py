"""Text is read from its sources and cut into contexts: what is taken, what is refused."""

import copy

import pandas as pd
import pytest
import torch
from tokenizers.processors import TemplateProcessing

from by_hooks import some_text
from successor_heads import behaviours, texts
from successor_heads.errors import UserError


def test_contexts_are_cut_from_the_text_and_from_nothing_else(tokenizer):
    days = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
    cut = texts.cut(tokenizer, some_text(days, "", "  \n", days), n=5, length=4, seed=0)
    assert cut.shape == (4, 4)  # sixteen tokens: two documents of seven, and an end behind each
    stream = [*tokenizer(days)["input_ids"], 1] * 2
    assert sorted(cut.tolist()) == sorted(stream[place : place + 4] for place in range(0, 16, 4))
    fewer = texts.cut(tokenizer, some_text(days, days), n=2, length=4, seed=0)
    assert len(fewer) == 2 and (fewer == texts.cut(tokenizer, some_text(days, days), n=2, length=4, seed=0)).all()


def test_contexts_come_from_as_many_documents_as_there_are(tokenizer):
    words = [" Monday", " Tuesday", " Wednesday", " Thursday"]
    lengths = (39, 7, 3, 7)  # with the end behind each, whole contexts of four
    documents = some_text(*(word * length for word, length in zip(words, lengths)))
    of = {tokenizer(word)["input_ids"][0]: word for word in words}
    for n, counts in ((4, [1, 1, 1, 1]), (7, [2, 2, 1, 2])):  # not most of them of the long one
        for seed in range(5):
            begins = [of[row[0].item()] for row in texts.cut(tokenizer, documents, n=n, length=4, seed=seed)]
            assert [begins.count(word) for word in words] == counts


def test_a_tokenizer_that_begins_texts_begins_contexts(tokenizer):
    beginning = copy.deepcopy(tokenizer)
    beginning.bos_token = "<unk>"
    beginning._tokenizer.post_processor = TemplateProcessing(single="<unk> $A", special_tokens=[("<unk>", 0)])
    cut = texts.cut(beginning, some_text("Monday Tuesday Wednesday Thursday Friday"), n=9, length=4, seed=0)
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
    (tmp_path / "d.txt").write_bytes(b"Monday \xff\xfe")
    with pytest.raises(UserError, match=r"d\.txt is not UTF-8 \(at byte 7\)"):
        texts.read(str(tmp_path))


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


def test_without_the_hub_the_pile_is_refused_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="pile-10k is not on this machine and the hub cannot be reached"):
        texts.read("pile")
