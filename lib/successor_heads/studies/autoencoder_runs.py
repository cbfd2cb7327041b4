"""Chapter 3's autoencoders, as many to a model as the paper trained: made once, stored with the book, read here.

::

    python -m successor_heads.studies.mod10_features grown/pythia    # or make autoencoders MODEL=…: minutes
    autoencoder_runs.stored(models.digest_of(model), last=200).runs.share.mean()

Written down before the first of these runs, on 26 November 2026, when ten runs of grown/pythia were known (modal share
.24, permuted .17) and none of the other two models: on each of the three the modal share, averaged over a hundred
runs, is above that of permuted numbers in more than 97.5% of the runs, and below one half, which `mod10_features.about_saes`
calls "hardly" found; and no run reaches the share that the paper reports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from successor_heads import files, intervals

STORED = Path(__file__).with_name("autoencoders.json")
SCHEMA = 1
DIGITS = 5  # kept of what is stored


@dataclass(frozen=True, eq=False)
class Runs:
    """The modal features of some autoencoders: one value a run, its control beside it.

    `share` is how much of a residue class its modal feature covers, `null` the same for permuted numbers, `distinct` how
    many of the ten features differ; `cosine` is that of modal features and probe rows, `cosine_null` that for permuted
    numbers. `average` are the modal features f_0 to f_9, averaged over runs.
    """

    share: Float[np.ndarray, " run"]
    null: Float[np.ndarray, " run"]
    distinct: Int[np.ndarray, " run"]
    cosine: Float[np.ndarray, " run"]
    cosine_null: Float[np.ndarray, " run"]
    average: Float[Tensor, "residue d_model"]

    def as_json(self) -> dict[str, Any]:
        """What `of_json` reads again."""
        return {each.name: np.asarray(getattr(self, each.name)).round(DIGITS).tolist() for each in fields(self)}

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> Runs:
        """From what `as_json` made."""
        arrays: dict[str, Any] = {each.name: np.array(stored[each.name]) for each in fields(cls)}
        return cls(**arrays | {"average": torch.tensor(stored["average"], dtype=torch.float32)})

    def within(self, others: Runs) -> int:
        """How many of these runs have a modal share between the lowest and the highest of the others, to what is kept of these."""
        dust = 10.0**-DIGITS
        return int(((self.share >= others.share.min() - dust) & (self.share <= others.share.max() + dust)).sum())


@dataclass(frozen=True, eq=False)
class StoredRuns:
    """Runs that come with the book: of which weights, up to which number, when, and what they took."""

    model: str
    digest: str
    last: int
    date: str
    seconds: float
    peak_rss_bytes: int
    versions: dict[str, str]
    runs: Runs


def read(path: Path = STORED) -> list[StoredRuns]:
    """All stored runs, one entry a model."""
    if not path.exists():
        return []
    entries = json.loads(path.read_text(encoding="utf8"))["models"]
    return [StoredRuns(**entry | {"runs": Runs.of_json(entry["runs"])}) for entry in entries]


def stored(digest: str, *, last: int, path: Path = STORED) -> StoredRuns | None:
    """The runs of these weights on the numbers up to `last`; None where there are none."""
    return next((each for each in read(path) if (each.digest, each.last) == (digest, last)), None)


def put(run: StoredRuns, path: Path = STORED) -> None:
    """Store the runs of a model in the place of those that it had."""
    entries = sorted([*(other for other in read(path) if other.model != run.model), run], key=lambda each: each.model)
    plain = [vars(each) | {"runs": each.runs.as_json()} for each in entries]
    files.write_json(path, {"schema": SCHEMA, "models": plain})


def note(run: StoredRuns | None, here: Runs, *, name: str, path: Path = STORED) -> str:
    """What the stored runs are, and how those trained here lie in them; or why there are none."""
    if run is not None:
        return (
            f"{len(run.runs.share)} runs were trained on these weights (digest {run.digest[:8]}) on {run.date}, in {run.seconds / 60:.0f} minutes of processor time "
            f"and {run.peak_rss_bytes / 1e9:.1f} GB, and stored; of the {len(here.share)} trained here, {here.within(run.runs)} lie between the lowest and the highest of these."
        )
    if any(each.model == name for each in read(path)):
        return f"The stored runs of {name} are of other weights or other numbers, so that only those trained here are shown."
    return f"As many runs as the paper’s are not stored of {name}, so that only those trained here are shown: make autoencoders MODEL={name} stores them."


def spread(values: np.ndarray) -> str:
    """Between which values 95% of the runs lie, as text."""
    return "{:.2f} to {:.2f}".format(*intervals.middle(values))
