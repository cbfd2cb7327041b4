"""What chapters find now against what was accepted last, with tolerances that follow from the spread over seeds."""

import json
import sys
from pathlib import Path

import pytest

from bookkit import places
from bookkit.build import accept
from successor_heads import models

ROOT = Path(__file__).parents[2]

FIRST = "01-find-heads"

STORED = sorted((ROOT / "tests" / "accepted").glob("*/*.json"))
# Here every chapter on the default model, and the first on the other grown ones. The nightly run compares the rest.
HERE = [path for path in STORED if path.parent.name == places.slug(places.DEFAULT_MODEL) or path.stem == FIRST]


def findings_now(model, chapter):
    """What the chapter finds on the model now: in the book's record, or in a run of its own."""
    if model != places.DEFAULT_MODEL:
        return accept.findings_of(ROOT / "notebooks" / f"{chapter}.ipynb", model, seed=0)
    record = ROOT / places.record(places.slug(model), chapter)
    assert record.exists(), f"{record} is missing: run `make book` first"
    return accept.read_findings(record)


def test_every_chapter_and_every_grown_model_has_accepted_findings():
    chapters = places.chapters(ROOT)
    accepted = {(path.parent.name, path.stem) for path in STORED}
    wanted = {(places.slug(places.DEFAULT_MODEL), chapter) for chapter in chapters} | {
        (places.slug(model), FIRST) for model in models.grown_models()
    }
    assert wanted <= accepted, f"accept {sorted(wanted - accepted)} with `make accept`"


@pytest.mark.book
@pytest.mark.parametrize("path", HERE, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_chapter_finds_what_was_accepted_last(path):
    stored = json.loads(path.read_text(encoding="utf8"))
    different = accept.differences(findings_now(stored["model"], stored["chapter"]), stored["findings"])
    assert not different, (
        "; ".join(different) + f": if this is meant, accept it with `make accept MODEL={stored['model']}`"
    )


def test_tolerances_follow_from_the_spread_over_seeds():
    seeds = [
        {
            "steady": {"value": 2.0},
            "loose": {"value": value},
            "empty": {"value": None},
            "seconds_each": {"value": value},
        }
        for value in (0.5, 0.4, 0.6)
    ]
    kept = accept.accepted(seeds)
    assert kept == {"steady": {"value": 2.0, "tolerance": 0.05}, "loose": {"value": 0.5, "tolerance": 0.42}}


def test_what_is_further_off_than_its_tolerance_or_missing_is_named():
    kept = {"a": {"value": 0.5, "tolerance": 0.1}, "b": {"value": 1.0, "tolerance": 0.2}}
    assert accept.differences({"a": {"value": 0.59}, "b": {"value": 0.81}, "new": {"value": 3.0}}, kept) == []
    assert accept.differences({"a": {"value": 0.61}, "b": {"value": None}}, kept) == [
        "a was 0.5 ± 0.1 and is 0.61",
        "b was 1 and is missing",
    ]


def test_what_is_accepted_is_shown_before_and_after(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("01-same", "02-other", "03-new"):
        (folder / f"{name}.ipynb").touch()
    listed = [{"file": f"notebooks/{name}"} for name in ("01-same", "02-other", "03-new")]
    (tmp_path / "_toc.yml").write_text(json.dumps({"root": "index", "chapters": listed}))
    found = {"01-same": 0.5, "02-other": 0.9, "03-new": 0.7}
    monkeypatch.setattr(
        accept,
        "findings_of",
        lambda notebook, model, seed: {"share": {"value": found[notebook.stem]}, "steady": {"value": 1.0}},
    )
    for name in ("01-same", "02-other"):
        for path, findings in (
            (
                accept.accepted_path("grown/pythia", name),
                {"share": {"value": 0.5, "tolerance": 0.02}, "steady": {"value": 1.0, "tolerance": 0.03}},
            ),
            (Path(places.record("grown__pythia", name)), {"share": {"value": found[name]}, "steady": {"value": 1.0}}),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"model": "grown/pythia", "findings": findings}))
    assert accept.compare() == ["grown/pythia, 02-other: share was 0.5 ± 0.02 and is 0.9"]

    monkeypatch.setattr(sys, "argv", ["accept.py"])
    accept.main()
    said = " ".join(capsys.readouterr().out.split())
    assert "share 0.5 ± 0.02 -> 0.9 ± 0.028" in said and "share – -> 0.7 ± 0.024" in said
    assert "01-same" not in said and "1 findings as before" in said
    assert accept.compare() == []
    accept.main()
    assert "nothing to accept" in capsys.readouterr().out
