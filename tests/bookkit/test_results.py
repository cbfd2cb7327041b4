"""The page of results across models, and the check of what others contribute to it."""

import copy
import csv
import json
import subprocess
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from bookkit import places
from bookkit.night import contribute
from bookkit.site import results
from successor_heads import ordinals
from successor_heads.errors import UserError

ROOT = Path(__file__).parents[2]

STORED = sorted((ROOT / results.STORED).glob("*/*.json"))
CHAPTER_1 = ROOT / results.STORED / "grown__llama" / "01-find-heads.json"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def record():
    return json.loads(CHAPTER_1.read_text(encoding="utf8"))


def score_record(model="org/a-model", shares=(1.0, 0.25), **more):
    """What `successor-heads score --json` writes: a head for each share of the days and months it gets right."""
    pairs = dict.fromkeys(ordinals.TASKS, 0) | {"days": 7, "months": 12}
    heads = [
        {"layer": 0, "head": head, "macro": (days / 7 + months / 12) / 2, "micro": (days + months) / 19,
         "by_task": dict.fromkeys(ordinals.TASKS) | {"days": days / 7, "months": months / 12}}
        for head, (days, months) in enumerate((round(7 * share), round(12 * share)) for share in shares)
    ]  # fmt: skip
    made = {
        "created": "2026-01-02T03:04:05+00:00",
        "versions": dict.fromkeys(contribute.records.PACKAGES, "2.0.1"),
        "parameters": 1_400_000_000,
    }
    return {
        "schema": 1, "model": model, "revision": "0123456789abcdef0123456789abcdef01234567", "family": "gpt_neox", "n_layers": 1,
        "n_heads": len(shares), "convention": "canonical", "pairs": pairs, "dropped": {}, "heads": heads, "macro_interval": [0.9 * heads[0]["macro"], 1.0], "seconds": 1.0, "peak_rss_bytes": 1,
    } | made | more  # fmt: skip


def write(record, folder, name):
    path = folder / record["model"].replace("/", "__") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record), encoding="utf8")
    return path


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_is_stored_can_be_shown(path):
    contribute.check(path)


def test_a_record_of_scores_alone_can_be_shown(tmp_path):
    contribute.check(write(score_record(), tmp_path, "score"))


DAMAGE = {
    "not JSON": (None, "is not a JSON file"),
    "another schema": (lambda r: r.update(schema=2), "its schema is 2"),
    "a folder of somebody": (lambda r: r.update(model="/home/me/model"), "nobody else can run it"),
    "the wrong place": (lambda r: r.update(model="grown/pythia"), "belongs into the folder grown__pythia"),
    "the wrong chapter": (lambda r: r.update(chapter="02-ov-circuit"), "the record of chapter 02-ov-circuit"),
    "from the future": (lambda r: r.update(created="2199-01-01T00:00:00+00:00"), "made on 2199"),
    "no date": (lambda r: r.pop("created"), "lacks a part"),
    "no version": (lambda r: r["versions"].pop("torch"), "which version of torch"),
    "an odd version": (lambda r: r["versions"].update(torch="new"), "in another form"),
    "a share above one": (
        lambda r: r["tables"]["heads"][0].update(days=1.5),
        "cannot be right on 1.5000 of 7 pairs of days",
    ),
    "half a pair": (lambda r: r["tables"]["heads"][3].update(months=0.5 / 12), "of 12 pairs of months"),
    "another macro": (lambda r: r["tables"]["heads"][0].update(macro=0.999), "is not the mean of its classes"),
    "another micro": (lambda r: r["tables"]["heads"][0].update(micro=0.999), "does not follow from its classes"),
    "better than its heads": (lambda r: r["findings"]["best_macro"].update(value=0.9), "is not that of its best head"),
    "outside its interval": (lambda r: r["findings"]["best_macro"].update(low=0.0, high=0.1), "outside its interval"),
    "another head": (lambda r: r["findings"]["head"].update(value=99.0), "not the first of its heads"),
    "a head too few": (lambda r: r["tables"]["heads"].pop(), "15 of 16 heads"),
    "the same head twice": (
        lambda r: r["tables"]["heads"][1].update({part: r["tables"]["heads"][0][part] for part in ("layer", "head")}),
        "16 of 16 heads",
    ),
    "not in order": (lambda r: r["tables"]["heads"].reverse(), "not in the order"),
    "too many pairs": (lambda r: r["tables"]["by_class"][0].update(pairs=300), "counts 300 pairs of numbers"),
    "another size": (lambda r: r["findings"]["parameters"].update(value=7e9), "parameters, not 7000000000"),
    "no parameters": (lambda r: r["findings"]["parameters"].update(value=None), "in another form"),
    "an interval that ends first": (lambda r: r["findings"]["null_macro"].update(low=0.9), "ends before it starts"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_record_is_refused_in_one_sentence(record, tmp_path, damage, said):
    path = write(record, tmp_path / "whole", "01-find-heads")
    contribute.check(path)
    if damage is None:
        path.write_text("{")
    else:
        damage(record)
        path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="make contribute") as error:
        contribute.check(path)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_hub_model_needs_its_commit(tmp_path):
    with pytest.raises(UserError, match="which commit"):
        contribute.check(write(score_record(revision="main"), tmp_path, "score"))


def page(folder, site, subject="grown/llama"):
    (site / "book/_static").mkdir(parents=True)
    quoted = results.write(site, [folder], subject=subject)
    parts = {
        path.stem: BeautifulSoup(path.read_text(encoding="utf8"), "html.parser")
        for path in (site / "book/results").glob("*.html")
    }
    return quoted, parts, list(csv.DictReader((site / "book/_static/results.csv").read_text().splitlines()))


@pytest.mark.slow
def test_the_page_has_a_row_for_each_model_and_says_what_is_missing(record, tmp_path):
    folder = tmp_path / "records"
    write(record, folder, "01-find-heads")
    probe = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 94}
    write(
        record | {"chapter": "03-mod-10-features", "findings": {"lists_unseen": probe}},
        folder,
        "03-mod-10-features",
    )
    write(score_record("EleutherAI/pythia-1.4b", shares=(0.5, 0.0)), folder, "score")
    secret = copy.deepcopy(record) | {"model": "/home/somebody/secret"}
    write(secret, folder, "01-find-heads")
    quoted, parts, lines = page(folder, tmp_path / "site")

    assert [line["model"] for line in lines] == [
        "grown/llama",
        "EleutherAI/pythia-1.4b",
    ]  # the best first, no folder of anybody's
    assert (
        float(lines[0]["macro"]) == record["findings"]["best_macro"]["value"] and lines[0]["probe_words_high"] == "0.6"
    )
    assert lines[1]["revision"].startswith("0123456") and lines[1]["parameters"] == "1400000000"
    assert (lines[1]["head"], lines[1]["days"], lines[1]["letters"], lines[1]["probe_words"]) == (
        "L0H0",
        str(4 / 7),
        "",
        "",
    )
    assert float(lines[1]["macro_low"]) < float(lines[1]["macro"]) < float(lines[1]["macro_high"])

    first, second = parts["scores"].select("tbody tr")
    best = record["tables"]["heads"][0]
    name, macro = f"L{best['layer']}H{best['head']}", f"{best['macro']:.2f}"
    assert first.th.text == "grown/llama" and macro in first.text and name in first.text
    assert "1.4 B" in second.text and second.select("td")[-1].text == "–"
    assert "0.500.40 to 0.60" in parts["study"].select("tbody tr")[0].text
    # Figures name what they show, and nothing of a reader's own machine is on the page.
    assert f"grown/llama {macro}" in parts["size"].svg["aria-label"]
    assert not any("somebody" in part.text or "secret" in part.text for part in parts.values())

    waiting = {row.code.text: row for row in parts["missing"].select("tbody tr")}
    assert "EleutherAI/pythia-1.4b" not in waiting and "openai-community/gpt2-xl" in waiting
    row = waiting["meta-llama/Llama-2-7b-hf"].text
    assert "not yet measured" in row and "make contribute MODEL=meta-llama/Llama-2-7b-hf" in row
    assert f"there are 2, with macro from 0.54 to {macro}" in quoted["summary"]
    # Rows of chapters 2 to 4 have a page of their own, "The paper, row by row".
    assert f"{name}, 1." in quoted["paper"] and "03-mod-10-features" not in quoted["paper"]


@pytest.mark.slow
def test_a_model_of_ones_own_is_shown_by_its_folder_alone(record, tmp_path):
    own = record | {"model": "/home/somebody/my-model"}
    write(own, tmp_path / "records", "01-find-heads")
    quoted, parts, lines = page(tmp_path / "records", tmp_path / "site", subject=own["model"])
    assert [line["model"] for line in lines] == ["my-model"]
    assert "somebody" not in quoted["paper"] + parts["scores"].text


def test_later_folders_go_first_and_a_whole_chapter_before_scores_alone(record, tmp_path):
    write(record, tmp_path / "stored", "01-find-heads")
    write(record | {"created": "2027-01-01T00:00:00+00:00"}, tmp_path / "now", "01-find-heads")
    write(score_record("grown/llama", shares=(0.0,) * 16), tmp_path / "now", "score")
    found = results.read([tmp_path / "stored", tmp_path / "now"])
    assert results.score_of(found["grown/llama"])["created"].startswith("2027")


@pytest.mark.slow
def test_the_interval_of_a_score_is_the_records_own(tmp_path):
    stored = score_record(macro_interval=[0.9, 0.95])
    assert [results.from_score(stored)["findings"]["best_macro"][part] for part in ("low", "high")] == [0.9, 0.95]
    refused = write(stored | {"macro_interval": [0.1, 0.2]}, tmp_path, "score")
    with pytest.raises(UserError, match="outside its interval"):
        contribute.check(refused)
    # Records from before it was kept are shown without one.
    del stored["macro_interval"]
    write(stored, tmp_path / "old", "score")
    *_, (line,) = page(tmp_path / "old", tmp_path / "site", subject=stored["model"])
    assert line["macro_low"] == "" and line["model"] == stored["model"]


@pytest.mark.slow
def test_one_command_measures_a_model_and_the_score_is_the_same_again(tmp_path, monkeypatch, record, capsys):
    """The streamed score of a model of the zoo, from the command to the folder that the page reads."""
    (tmp_path / "models.yml").write_text(Path("models.yml").read_text())
    monkeypatch.chdir(tmp_path)
    contribute.contribute("grown/llama", revision=None, score_only=True)
    path = tmp_path / results.STORED / "grown__llama" / "score.json"
    made = contribute.check(path)
    assert made["parameters"] == record["findings"]["parameters"]["value"]
    for head, loaded in zip(made["heads"], record["tables"]["heads"], strict=True):
        assert (head["layer"], head["head"], head["macro"]) == (
            loaded["layer"],
            loaded["head"],
            pytest.approx(loaded["macro"]),
        )
    assert f"git add {results.STORED}/grown__llama" in capsys.readouterr().out


def test_only_what_the_page_shows_is_run_and_what_left_no_record_is_named(tmp_path, monkeypatch, record, capsys):
    (tmp_path / "models.yml").write_text(Path("models.yml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(contribute.streaming, "would_not_fit", lambda model, revision: False)
    write(
        record, Path(places.RECORDS), "01-find-heads"
    )  # of a run before, as after a build that failed in another chapter
    status, commands = 1, []

    def build(command, check):
        commands.append(command)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(contribute.subprocess, "run", build)
    contribute.contribute("grown/llama", revision=None, score_only=False, how=["--cores=1"])
    assert commands[0][3:] == [
        "notebooks",
        "--model",
        "grown/llama",
        "--revision",
        "",
        "--cores=1",
        "--chapters",
        *contribute.SHOWN,
    ]
    said = capsys.readouterr().out
    assert "No record of 02-ov-circuit, 03-mod-10-features, 04-vector-arithmetic, 05-natural-language" in said
    assert (results.STORED / "grown__llama" / "01-find-heads.json").exists()
    status = 2  # nothing was tried: what lies there is no measurement of now
    with pytest.raises(UserError, match="grown/llama was not measured"):
        contribute.contribute("grown/llama", revision=None, score_only=False)


def test_a_score_that_comes_out_otherwise_is_named(record, tmp_path, monkeypatch, capsys):
    path = write(record, tmp_path, "01-find-heads")
    other = write(score_record("org/gated"), tmp_path, "score")

    def score_again(model, revision, target, *options):
        if model == "org/gated":
            raise UserError("org/gated needs a token: set HF_TOKEN.")
        target.write_text(json.dumps(score_record(model, shares=(0.9,))))

    monkeypatch.setattr(contribute, "score", score_again)
    (told,) = contribute.recompute([path, other])
    assert f"says macro {record['findings']['best_macro']['value']:.4f}, and it is 0.8869" in told
    assert "needs a token" in capsys.readouterr().out


def test_a_score_that_was_killed_ends_in_a_sentence(monkeypatch, tmp_path):
    def killed(command, **_):
        return subprocess.CompletedProcess(command, -9, stderr="")

    monkeypatch.setattr(contribute.subprocess, "run", killed)
    with pytest.raises(UserError, match="org/large ended with status -9, perhaps for want of memory"):
        contribute.score("org/large", None, tmp_path / "score.json")


def test_a_folder_is_not_contributed():
    with pytest.raises(UserError, match="put the model on the hub first"):
        contribute.contribute("./my-model", revision=None, score_only=True)


def test_what_chapter_5_wins_names_its_own_head_and_shares_of_few_are_not_given():
    findings = {
        name: {"value": value, "low": None, "high": None, "n": n}
        for name, value, n in (("layer", 23.0, None), ("head", 3.0, None), ("natural_won", 0.002, 2550), ("natural_other", 1.0, 4))
    }  # fmt: skip
    columns = {column.key: column for column in results.COLUMNS}
    chapters = {"05-natural-language": {"findings": findings}}
    assert "L23H3, 2,550 places" in results.cell(results.of_column(columns["won"], chapters))
    assert results.of_column(columns["won_other"], chapters) == results.NOTHING
    findings["natural_other"]["n"] = 20
    assert results.of_column(columns["won_other"], chapters)["value"] == 1
    assert results.of_column(columns["won"], {}) == results.NOTHING


def test_a_stored_run_on_more_text_stands_in_for_the_chapters_record_and_brings_its_control():
    runs = {run["model"]: run for run in results.behaviours.stored_runs()}
    run, columns = runs["published/smollm2"], {column.key: column for column in results.COLUMNS}
    n = run["texts"][0]["won"][1]

    def shown(n_places):
        natural = {"value": 0.5, "low": None, "high": None, "n": n_places}
        of_chapter = {
            "findings": {"natural_won": natural, "layer": {"value": 1.0}, "head": {"value": 2.0}},
            "tables": {},
        }
        found = results.with_text({"published/smollm2": {"05-natural-language": of_chapter}, "org/other": {}})
        assert found["org/other"] == {}
        return found["published/smollm2"]

    own, stored = shown(n), shown(n - 1)
    assert results.of_column(columns["won"], own)["head"] == f"L1H2, {n:,} places"
    won = results.of_column(columns["won"], stored)
    assert won["head"] == f"{run['head']}, {n:,} places" and won["value"] == run["texts"][0]["won"][2]
    control = stored["05-natural-language"]["findings"][columns["won_copying"].control]
    assert control["value"] == run["texts"][0]["chance"]["copying"]
    lists = stored["05-natural-language"]["findings"]["list_wins"]
    assert lists["value"] * lists["n"] == pytest.approx(run["lists"]["won"])


def test_a_ratio_of_another_score_than_the_papers_says_so(record):
    row = next(
        line
        for line in results.paper_table("grown/llama", {"01-find-heads": record}).splitlines()
        if "runner-up's" in line
    )
    assert " times, by macro |" in row
