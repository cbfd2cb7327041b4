import json
import os
import subprocess
import sys
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
import torch

from successor_heads import anatomy, ordinals, records
from successor_heads.errors import UserError
from successor_heads.scores import score_heads


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SUCCESSOR_HEADS_RECORDS", str(tmp_path / "records"))
    return tmp_path / "records"


@pytest.mark.slow
def test_the_score_record_keeps_the_contract(model, tokenizer, tmp_path):
    parts, classes = anatomy.of(model), ordinals.resolve(tokenizer)
    scores = score_heads(parts, classes)
    records.write_json(tmp_path / "score.json", records.score_record("org/name", "abc", parts, classes, scores, 1.5))
    record = json.loads((tmp_path / "score.json").read_text())
    heads = record.pop("heads")
    assert record.pop("peak_rss_bytes") > 10**8
    low, high = record.pop("macro_interval")
    assert low <= heads[0]["macro"] <= high and 0 < high - low < 1
    assert datetime.fromisoformat(record.pop("created")).tzinfo is not None
    assert set(record.pop("versions")) == set(records.PACKAGES)
    assert record == {
        "schema": 1,
        "model": "org/name",
        "revision": "abc",
        "family": parts.family,
        "n_layers": 2,
        "n_heads": parts.n_heads,
        "convention": "canonical",
        "pairs": {
            "numbers": 199, "number_words": 19, "ordinal_words": 9, "days": 7,
            "day_prefixes": 7, "months": 12, "month_prefixes": 12, "letters": 25,
        },
        "dropped": {task: [] for task in ordinals.TASKS},
        "seconds": 1.5,
    }  # fmt: skip
    assert {(head["layer"], head["head"]) for head in heads} == {
        (layer, h) for layer in range(2) for h in range(parts.n_heads)
    }
    assert [head["macro"] for head in heads] == sorted((head["macro"] for head in heads), reverse=True)
    for head in heads:
        assert set(head) == {"layer", "head", "micro", "macro", "by_task"}
        assert tuple(head["by_task"]) == ordinals.TASKS
        assert head["macro"] == pytest.approx(np.mean(list(head["by_task"].values())))
        place = head["layer"], head["head"]
        assert head["by_task"]["days"] == scores.success["days"][place].double().mean()


def test_what_is_not_installed_has_no_version(neox, tokenizer, monkeypatch):
    monkeypatch.setattr(records, "PACKAGES", ("numpy", "a-package-that-nobody-has"))
    classes, parts = ordinals.resolve(tokenizer), anatomy.of(neox)
    record = records.score_record("m", None, parts, classes, score_heads(parts, classes), 1.0)
    assert record["versions"] == {"numpy": np.__version__}


def test_a_task_without_pairs_has_no_share(neox, tokenizer):
    classes = ordinals.resolve(tokenizer)
    empty = torch.empty(0, dtype=torch.long)
    classes["days"] = ordinals.ResolvedClass("days", (), empty, empty, empty, empty, ("Monday",), " ")
    parts = anatomy.of(neox)
    record = records.score_record("m", None, parts, classes, score_heads(parts, classes), 1.0)
    assert record["pairs"]["days"] == 0 and record["heads"][0]["by_task"]["days"] is None


def test_a_chapter_record_comes_back_as_it_was_saved(folder):
    table = pd.DataFrame({"head": ["L1H6", "L0H0"], "macro": [0.9, np.nan]})
    record = records.chapter_record(
        "grown/pythia",
        "01-find-heads",
        findings={"best_macro": records.finding(torch.tensor(0.5), low=np.float32(0.25), high=0.75, n=np.int64(290))},
        tables={"heads": table},
    )
    path = records.save(record)
    assert path == folder / "grown__pythia" / "01-find-heads.json"
    read = records.read("grown/pythia", "01-find-heads")
    assert read["findings"] == {"best_macro": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 290}}
    assert read["tables"]["heads"] == [{"head": "L1H6", "macro": 0.9}, {"head": "L0H0", "macro": None}]
    assert (read["schema"], read["model"], read["chapter"]) == (1, "grown/pythia", "01-find-heads")
    assert datetime.fromisoformat(read["created"]).tzinfo is not None
    assert set(read["versions"]) == set(records.PACKAGES)


def test_records_lie_in_the_build_folder_by_default(monkeypatch):
    monkeypatch.delenv("SUCCESSOR_HEADS_RECORDS", raising=False)
    assert str(records.path_of("/a/local/model", "01-x")) == "_build/records/a__local__model/01-x.json"


def test_a_record_that_is_not_there_says_what_to_run(folder):
    with pytest.raises(UserError, match="run the chapter first"):
        records.read("grown/pythia", "01-find-heads")


def test_a_record_of_another_version_is_not_read(folder):
    path = records.save(records.chapter_record("m", "c", findings={}))
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 0'))
    with pytest.raises(UserError, match="another version"):
        records.read("m", "c")


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, moment):
    path = tmp_path / "record.json"
    records.write_json(path, {"old": 1})

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    if moment == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(records.Path, {"write": "open", "replace": "replace"}[moment], fail)
    with pytest.raises(UserError, match="No space left on device"):
        records.write_json(path, {"new": 2})
    monkeypatch.undo()
    assert json.loads(path.read_text()) == {"old": 1}
    assert os.listdir(tmp_path) == ["record.json"]


def test_what_is_not_json_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError):
        records.write_json(tmp_path / "record.json", {"value": object()})
    assert os.listdir(tmp_path) == []


def test_a_record_can_be_read_by_others(tmp_path):
    umask = os.umask(0o022)
    records.write_json(tmp_path / "record.json", {})
    os.umask(umask)
    assert (tmp_path / "record.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.slow
def test_peak_memory_is_this_process_own():
    held = np.ones(200_000_000, dtype=np.uint8)
    assert records.peak_rss_bytes() > held.nbytes
    code = "from successor_heads.records import peak_rss_bytes; print(peak_rss_bytes())"
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(records.__file__))}
    command = [sys.executable, "-c", code]
    peak = int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    # A child that imported torch holds a few hundred MB, not the parent's peak.
    assert 10**7 < peak < records.peak_rss_bytes()
