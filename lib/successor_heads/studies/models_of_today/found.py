"""What chapter 8 finds on a model, as tables that can be written and read again: the page shows models that are not here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from successor_heads import files, records
from successor_heads.studies.models_of_today.rules import RULES

STORED = Path(__file__).with_name("measured")


@dataclass(frozen=True, eq=False)
class Depth:
    """What the search over heads and depths finds.

    `canonical` is the best head by the canonical score and its macro; `best` the best candidate of the whole search.
    `chosen` are the candidates that each half of the pairs chooses, `macro` and `copying` what they score on the other
    half, on average; `leading` has the same of each head with a large effect, its depth alone chosen (head, depth, macro,
    copying: the depth of the first half). `null` are macros that the best of the search, and the best at depth MLP0, does not exceed in 97.5%
    of permutations; `leading_null` likewise, of the heads in `leading` alone at all their depths. `paper` is the best head by the
    paper's own score, and that score, `paper_interval` its interval, `paper_null` what the best of all heads does not exceed
    in 97.5% of permutations, and `paper_rank` the rank by that score of the head with the largest effect. `by_front` has the best macro at each depth for each thing that may stand before the token (front,
    depth, macro), `heads` the maps of some heads at each depth (head, depth, succession, copying).
    """

    canonical: tuple[str, float]
    best: tuple[int, str, float]
    chosen: list[tuple[int, str]]
    macro: float
    copying: float
    null: float
    canonical_null: float
    n_searched: int
    by_front: pd.DataFrame
    heads: pd.DataFrame
    leading: pd.DataFrame
    leading_null: float
    paper: tuple[str, float]
    paper_interval: tuple[float, float]
    paper_null: float
    paper_rank: int


@dataclass(frozen=True, eq=False)
class Found:
    """Everything that chapter 8 shows of a model; NaN where a part was not measured.

    `gate` (class, kept, discovery and confirmation: right of n; vocabulary: right in the whole vocabulary). `orders` (what
    was shown, the share that goes on with the last one's successor, with the last one). `parts`, one row a head or MLP:
    share of the lead that is lost without it on the lists of discovery (`ranked_by`) and of confirmation (`total`, `low`,
    `high`), `direct` share, what it writes (`last`, `successor`, of the lists) and its `attention` to the last ordinal;
    best by `ranked_by` first. `together` (heads replaced at once: right of n with its interval, and the mean of random
    groups). `donors` (who, what the donor was, share with interval, null). `stream` (block, share of lists on which the
    last ordinal, or its successor, is highest after it). `paths` (by way of which part the top head acts, share of its
    effect with interval). `circuit` (size, restored and left, on which lists) and `nodes`, the circuit that was chosen.
    """

    model: str
    family: str
    n_layers: int
    n_heads: int
    n_parameters: int
    seed: int
    is_live: bool  # measured by whoever shows it, and not read from what comes with the book
    lead: float  # logits, on the lists of confirmation
    n_lists: tuple[int, int]  # discovery and confirmation
    depth: Depth
    gate: pd.DataFrame
    orders: pd.DataFrame
    parts: pd.DataFrame
    together: pd.DataFrame
    donors: pd.DataFrame
    stream: pd.DataFrame
    paths: pd.DataFrame
    circuit: pd.DataFrame
    nodes: list[str]

    @property
    def counts(self) -> bool:
        """Whether the model passes the gate: enough classes that it mostly gets right, and most of them right on new lists."""
        gate, kept = RULES["gate"], self.gate[self.gate["kept"]]
        enough = len(kept) >= gate["classes"]
        return bool(enough and kept["confirmation"].sum() >= gate["model"] * kept["n_confirmation"].sum())

    @property
    def heads(self) -> pd.DataFrame:
        """The heads among the parts, those with the largest effect on the lists of discovery first."""
        return self.parts[self.parts["head"] >= 0].reset_index(drop=True)

    @property
    def mlps(self) -> pd.DataFrame:
        """The MLPs among the parts, likewise."""
        return self.parts[self.parts["head"] < 0].reset_index(drop=True)

    @property
    def top(self) -> str:
        """The head with the largest effect on the lists of discovery."""
        return str(self.heads["part"][0])

    def part(self, name: str) -> pd.Series:
        """The row of a part."""
        return self.parts.set_index("part").loc[name]

    def as_json(self) -> dict[str, Any]:
        """What `of_json` reads again."""
        return plain(self) | {"depth": plain(self.depth)}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Found:
        """What `as_json` gave, once written and read."""
        depth = read_fields(values["depth"], Depth)
        depth |= {name: tuple(depth[name]) for name in ("canonical", "best", "paper", "paper_interval")}
        depth["chosen"] = [tuple(each) for each in depth["chosen"]]
        whole = read_fields({name: value for name, value in values.items() if name != "depth"}, cls)
        return cls(**whole | {"depth": Depth(**depth), "n_lists": tuple(whole["n_lists"]), "is_live": False})


def plain(of: Any) -> dict[str, Any]:
    """The fields of what was found, tables rounded, as they can be written."""
    values = {field.name: getattr(of, field.name) for field in fields(of)}
    return {name: of.round(6) if isinstance(of, pd.DataFrame) else of for name, of in values.items()}


def read_fields(of: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The fields that `plain` gave, once written and read, tables as tables."""
    kinds = {field.name: field.type for field in fields(kind) if field.name in of}
    # None, for what was not measured, makes a column one of objects.
    tables = {name: pd.DataFrame(of[name]).infer_objects() for name in kinds if kinds[name] == "pd.DataFrame"}
    return {name: of[name] for name in kinds} | tables


def stored(model: str) -> Found:
    """The findings on a model that come with the book. Raises FileNotFoundError for another."""
    return Found.of_json(json.loads((STORED / f"{files.slug(model)}.json").read_text(encoding="utf8"))["found"])


def keep(found: Found) -> Path:
    """Write findings to where those lie that come with the book; returns the place."""
    place = STORED / f"{files.slug(found.model)}.json"
    files.write_json(place, made() | {"model": found.model, "found": found.as_json()})
    return place


@dataclass(frozen=True)
class StoredFindings:
    """What comes with the book of one `kind` of findings, a dataclass with a `model`: a file a model, in a `folder`."""

    kind: type
    folder: str

    def place(self, model: str) -> Path:
        """Where the findings on a model lie."""
        return STORED / self.folder / f"{files.slug(model)}.json"

    def read(self, model: str) -> Any:
        """The findings on a model. Raises FileNotFoundError where none come with the book."""
        return self.kind(**read_fields(json.loads(self.place(model).read_text(encoding="utf8"))["found"], self.kind))

    def read_all(self, models: Sequence[str]) -> list[Any]:
        """The findings on those of these models that were asked."""
        return [self.read(model) for model in models if self.place(model).exists()]

    def keep(self, model: str, found: Any) -> Path:
        """Write the findings on a model to their place, and return it."""
        files.write_json(self.place(model), made() | {"model": model, "found": plain(found)})
        return self.place(model)


def made() -> dict[str, Any]:
    """When, with which versions, and under which rules something was measured."""
    return records.made() | {"rules": str(RULES["registered"])}
