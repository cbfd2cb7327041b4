"""What chapters find now against what was accepted last, with tolerances that follow from the spread over seeds."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book" / "tools"))

import accept  # noqa: E402

STORED = sorted((ROOT / "tests" / "accepted").glob("*/*.json"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_chapter_finds_what_was_accepted_last(path):
    stored = json.loads(path.read_text(encoding="utf8"))
    record = ROOT / "_build" / "records" / path.parent.name / path.name
    assert record.exists(), f"{record} is missing: run `make book MODEL={stored['model']}` first"
    findings = json.loads(record.read_text(encoding="utf8"))["findings"]
    different = accept.differences(findings, stored["findings"])
    assert not different, "; ".join(different) + ": if this is meant, accept it with book/tools/accept.py"


def test_tolerances_follow_from_the_spread_over_seeds():
    seeds = [{"steady": {"value": 2.0}, "loose": {"value": value}, "empty": {"value": None}} for value in (0.5, 0.4, 0.6)]
    kept = accept.accepted(seeds)
    assert kept == {"steady": {"value": 2.0, "tolerance": 0.05}, "loose": {"value": 0.5, "tolerance": 0.42}}


def test_what_is_further_off_than_its_tolerance_or_missing_is_named():
    kept = {"a": {"value": 0.5, "tolerance": 0.1}, "b": {"value": 1.0, "tolerance": 0.2}}
    assert accept.differences({"a": {"value": 0.59}, "b": {"value": 0.81}, "new": {"value": 3.0}}, kept) == []
    assert accept.differences({"a": {"value": 0.61}, "b": {"value": None}}, kept) == [
        "a was 0.5 ± 0.1 and is 0.61",
        "b was 1 and is missing",
    ]
