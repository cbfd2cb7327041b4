"""Which models chapter 8 shows, and the record that it leaves of the one it ran on."""

from __future__ import annotations

from typing import Any

import pandas as pd

from successor_heads import files, intervals, models, published, records
from successor_heads.studies.models_of_today import known
from successor_heads.studies.models_of_today.found import Found, stored
from successor_heads.studies.models_of_today.instruments import measure
from successor_heads.studies.models_of_today.verdicts import key_of

CHAPTER = "08-models-of-today"
PUBLISHED = ("published/smollm2", "published/gemma3-270m")


def of_today(found: Found, *, live: bool, seed: int) -> list[Found]:
    """The models that the chapter shows: the one it ran on, and published ones that come with the book.

    A grown model is not one of today, and stands in the table of those whose answer is known. Beside the book's own one
    the first published model is measured anew with `live`, where it has been fetched.
    """
    first = [] if found.model.startswith("grown/") else [found]
    shown = [stored(name) for name in PUBLISHED if name != found.model]
    if live and found.model == files.DEFAULT_MODEL and published.is_fetched(PUBLISHED[0]):
        shown[0] = measure(models.load(PUBLISHED[0], device="cpu"), name=PUBLISHED[0], seed=seed)
    return (first + shown)[:2]


def record(found: Found) -> dict[str, Any]:
    """The chapter's record on the model it ran on, and its verdict's key."""
    finding, depth, top = records.finding, found.depth, found.part(found.top)
    kept = found.gate[found.gate["kept"]]
    right, n = int(kept["confirmation"].sum()), int(kept["n_confirmation"].sum())
    chosen = found.circuit[found.circuit["circuit"] == "chosen"].iloc[0]
    through = found.paths.set_index("way").loc["through MLPs"]
    low, high = intervals.wilson(right, n)
    plants, twins = known.stored()
    called = known.rightly(plants)["all rules together"]
    findings = {
        "layer": finding(top["layer"]),
        "head": finding(top["head"]),
        "right": finding(right / max(n, 1), low=low, high=high, n=n),
        "lead_lost": finding(top["total"], low=top["low"], high=top["high"], n=found.n_lists[1]),
        "writes_last": finding(top["last"], n=found.n_lists[1]),
        "writes_successor": finding(top["successor"], n=found.n_lists[1]),
        "through_mlps": finding(through["share"], low=through["low"], high=through["high"], n=found.n_lists[1]),
        "best_at_a_depth": finding(depth.best[2], n=depth.n_searched),
        "held_out_macro": finding(depth.macro),
        "paper_score": finding(depth.paper[1], low=depth.paper_interval[0], high=depth.paper_interval[1]),
        "paper_null": finding(depth.paper_null, n=found.n_layers * found.n_heads),
        "paper_rank_of_the_head": finding(depth.paper_rank, n=found.n_layers * found.n_heads),
        "null_macro": finding(depth.null, n=depth.n_searched),
        "plants_called_rightly": records.share(int(called.sum()), len(called)),
        "false_alarms": records.share(int(twins["alarm"].sum()), len(twins)),
        "circuit_size": finding(chosen["size"], n=found.n_layers * (found.n_heads + 1)),
        "circuit_restores": finding(chosen["restored"], low=chosen["restored_low"], high=chosen["restored_high"]),
        "circuit_left": finding(chosen["left"], low=chosen["left_low"], high=chosen["left_high"]),
    }
    tables = {"verdict": pd.DataFrame({"key": [key_of(found)]}), "parts": found.parts, "donors": found.donors}
    return records.chapter_record(found.model, CHAPTER, findings=findings, tables=tables)
