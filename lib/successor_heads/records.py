"""Results become one tidy JSON per question, written whole or not at all.

::

    found = {"best_macro": finding(0.9, low=0.87, high=0.93, n=290)}
    save(chapter_record("grown/pythia", "01-find-heads", findings=found))
    read("grown/pythia", "01-find-heads")["findings"]["best_macro"]["value"]
"""

import json
import resource
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsInt

import torch

from successor_heads import intervals
from successor_heads.anatomy import Anatomy
from successor_heads.errors import UserError
from successor_heads.files import path_of, write_json
from successor_heads.ordinals import ResolvedClass
from successor_heads.scores import HeadScores, macro_interval

if TYPE_CHECKING:
    import pandas

SCHEMA = 1
PACKAGES = ("successor-heads", "torch", "transformers", "nnsight", "numpy")


def score_record(
    model_name: str,
    revision: str | None,
    anatomy: Anatomy,
    classes: dict[str, ResolvedClass],
    scores: HeadScores,
    seconds: float,
) -> dict[str, Any]:
    """What `successor-heads score --json` writes: every head, best first, and the 95% interval of the best one's macro.

    The share of a task without pairs is None, for nothing was measured. Memory is the peak of this
    process, in bytes.
    """
    heads = [
        {
            "layer": row["layer"],
            "head": row["head"],
            "micro": row["micro"],
            "macro": row["macro"],
            "by_task": {task: row.get(task) for task in classes},
        }
        for row in scores.ranking
    ]
    return {
        "schema": SCHEMA,
        "model": model_name,
        "revision": revision,
        **made(),
        "family": anatomy.family,
        "n_layers": anatomy.n_layers,
        "n_heads": anatomy.n_heads,
        "convention": "canonical",
        "pairs": {task: len(resolved.source) for task, resolved in classes.items()},
        "dropped": {task: list(resolved.dropped) for task, resolved in classes.items()},
        "heads": heads,
        "macro_interval": list(macro_interval(scores, *scores.best, seed=0)),
        "seconds": seconds,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def finding(
    value: SupportsFloat,
    *,
    low: SupportsFloat | None = None,
    high: SupportsFloat | None = None,
    n: SupportsInt | None = None,
) -> dict[str, float | int | None]:
    """One number with its 95% interval and how many cases it rests on."""
    return {
        "value": float(value),
        "low": None if low is None else float(low),
        "high": None if high is None else float(high),
        "n": None if n is None else int(n),
    }


def share(right: int, n: int) -> dict[str, float | int | None]:
    """A share of n cases that take nothing from one another, as a finding with its Wilson interval."""
    low, high = intervals.wilson(right, n)
    return finding(right / n, low=low, high=high, n=n)


def chapter_record(
    model_name: str,
    chapter: str,
    *,
    findings: Mapping[str, dict],
    tables: Mapping[str, "pandas.DataFrame"] | None = None,
) -> dict[str, Any]:
    """What a chapter found on a model: named findings, and tables as lists of rows.

    `gpu` is the name of the GPU that this process used, None if it used none.
    """
    return {
        "schema": SCHEMA,
        "model": model_name,
        "chapter": chapter,
        **made(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_initialized() else None,
        "findings": dict(findings),
        "tables": dict(tables or {}),
    }


def made() -> dict[str, Any]:
    """When a record is made, and with which versions of what is installed: a streamed score needs no nnsight."""
    installed = {name: package.version for name in PACKAGES for package in distributions(name=name)}
    return {"created": datetime.now(UTC).isoformat(timespec="seconds"), "versions": installed}


def save(record: Mapping[str, Any]) -> Path:
    """Write a chapter's record to its place, making the folder if need be; returns the place."""
    path = path_of(record["model"], record["chapter"])
    write_json(path, record)
    return path


def read(model_name: str, chapter: str) -> dict[str, Any]:
    """A chapter's record. Raises UserError when the chapter has not been run on that model."""
    path = path_of(model_name, chapter)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"There is no record of chapter {chapter} for {model_name} at {path}: run the chapter first."
        ) from None
    if record.get("schema") != SCHEMA:
        raise UserError(f"{path} has another version than {SCHEMA}: run the chapter again.")
    return record


def peak_rss_bytes() -> int:
    """The most memory this process has held so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux it passes the parent's peak on to a child process.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
