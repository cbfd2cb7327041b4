"""Findings as cells of a table, from a record in memory and from its JSON."""

import pytest

from successor_heads import records
from successor_heads.studies import cells

FOUND = {
    "share": records.finding(0.244, low=0.2, high=0.28, n=100),
    "null": records.finding(0.174),
    "rare": records.finding(0.001, n=1921),
    "modulus": records.finding(10),
    "unknown": records.finding(float("nan")),
    "of_json": {"value": None, "low": None, "high": None, "n": None},
}


def test_a_share_has_its_interval_and_its_control():
    assert cells.share_cell(FOUND, "share", beside="null", name="permuted") == "0.24 (0.20 to 0.28); permuted 0.17"
    assert cells.share_cell(FOUND, "null") == "0.17" and cells.share_cell(FOUND, "share", beside="lacking").endswith(
        "0.28)"
    )
    assert cells.share_cell(FOUND, "rare") == "0.001", "one in a thousand is not none"


def test_counts_and_numbers_are_whole():
    assert cells.count_cell(FOUND, "share") == "24 of 100" and cells.number_cell(FOUND, "modulus") == "10"
    assert cells.count_cell(FOUND, "null") == cells.NOT_ASKED, "a share of nobody knows how many is no count"


@pytest.mark.parametrize("key", ["unknown", "of_json", "lacking"])
def test_what_was_not_measured_is_not_a_number(key):
    assert {cell(FOUND, key) for cell in (cells.share_cell, cells.count_cell, cells.number_cell)} == {cells.NOT_ASKED}
