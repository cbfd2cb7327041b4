"""The instruments of chapter 8 on models whose answer is known: plants of three kinds, and networks that learned nothing.

::

    python -m successor_heads.studies.models_of_today.known published/smollm2 20 40      # minutes

measures what comes with the book anew: models by their names, so many plants of each kind, and so many untrained networks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from nnsight import TransformersModel

from successor_heads import depths, intervals, models, ordinals
from successor_heads.anatomy import name_of
from successor_heads.files import write_json
from successor_heads.planted import circuits
from successor_heads.planted.plant import Plan, Planted, plant
from successor_heads.planted.shapes import Shape
from successor_heads.planted.words import word_tokenizer
from successor_heads.studies import Verdict
from successor_heads.studies.models_of_today import found as of_found
from successor_heads.studies.models_of_today.found import STORED, Found, made
from successor_heads.studies.models_of_today.instruments import measure
from successor_heads.studies.models_of_today.lists import Frame
from successor_heads.studies.models_of_today.rules import RULES
from successor_heads.studies.models_of_today.verdicts import key_of, successor_head

# A plant's head attends to every ordinal in sight, so it is shown one, among words that mean nothing to it. A beginning of
# text is no such word: nobody told the head to leave it alone.
FRAMES = {
    "discovery": {"of the": Frame(" the of ", " ", " with was "), "there": Frame(" there about when ", " ", " some ")},
    "confirmation": {
        "into": Frame(" into only ", " ", " also after "),
        "made": Frame(" made over such ", " ", " well "),
    },
}
KINDS: dict[str, tuple[str, str, Callable[[int], Planted]]] = {  # kind: role of the head, verdict that is due, plant
    "head": (
        "successor",
        "successor_head",
        lambda seed: plant(Plan(circuits.FAMILY, seed=seed, in_context=True), word_tokenizer()),
    ),
    "deep head": (
        "successor",
        "successor_head",
        lambda seed: circuits.plant_deep(circuits.DEEP, word_tokenizer(), seed=seed),
    ),
    "fetch and step": (
        "mover",
        "mover_and_mlp",
        lambda seed: circuits.plant_fetch_and_step(Shape(), word_tokenizer(), seed=seed),
    ),
}
TABLE = STORED / "known.json"
MOST = 0.5  # of the lists: what a head is said to write
FALSE_ALARMS = 0.05  # of networks that learned nothing: more, and the instruments are mistaken


def study(kind: str, seed: int) -> tuple[Planted, Found]:
    """A plant of this kind, and what the instruments find in it."""
    planted = KINDS[kind][2](seed)
    found = measure(
        planted.open(),
        name=f"planted {kind}",
        seed=seed,
        discovery=FRAMES["discovery"],
        confirmation=FRAMES["confirmation"],
        length=1,
        most=2,
        with_front=False,
    )
    return planted, found


def called(kind: str, seed: int) -> dict[str, Any]:
    """What the rules, and each instrument by itself, say of one plant, beside what was planted."""
    role, due, _ = KINDS[kind]
    planted, found = study(kind, seed)
    return {"kind": kind, "seed": seed} | calls(found, name_of(planted.place(role)), due=due)


def calls(found: Found, head: str, *, due: str) -> dict[str, Any]:
    """What the rules and each instrument say of a model whose head is known, `head`, and so the verdict that is `due`.

    `by_depth` is the best head of the search over depths, empty where it is within the null; `by_effect` the head without
    which most is lost; `writes` what the known head writes on most lists. Of the head with the largest effect: which share
    of it goes `through_mlps`, and whether what it writes `crosses` lists. `in_circuit`: the known head is in the circuit.
    """
    part, depth, ways = found.part(head), found.depth, found.paths.set_index("way")
    crossing = found.donors[(found.donors["heads"] == 1) & (found.donors["donor"] == "another class")].iloc[0]
    return {
        "due": due, "verdict": key_of(found),
        "planted": head, "named": successor_head(found) or found.top, "circuit": len(found.nodes),
        "by_depth": depth.best[1] if depth.best[2] > depth.null else "", "by_effect": found.top,
        "writes": next((what for what in ("successor", "last") if part[what] > MOST), "neither"),
        "through_mlps": float(ways.loc["through MLPs", "share"]), "crosses": bool(crossing["share"] > crossing["null"]),
        "in_circuit": head in found.nodes,
    }  # fmt: skip  # one row of a table


def rightly(rows: pd.DataFrame) -> pd.DataFrame:
    """Whether each instrument calls each of the known models rightly: a column each, NaN where it was not asked or nothing is known.

    A successor head is named by the search, writes the successor, and reaches the answer straight; a mover is not named,
    writes the ordinal, acts through MLPs, and what it writes crosses lists. Whether a planted successor head's output
    crosses lists was not planted.
    """
    steps, is_it = rows["due"] == "successor_head", rows["by_depth"] == rows["planted"]
    through = rows["through_mlps"] >= RULES["thresholds"]["through_mlps"]
    by_instrument = pd.DataFrame(
        {
            "search over depths": is_it == steps,
            "largest effect": rows["by_effect"] == rows["planted"],
            "what it writes": rows["writes"] == np.where(steps, "successor", "last"),
            "by way of MLPs": (through != steps).astype(float).where(rows["through_mlps"].notna()),
            "index crosses lists": rows["crosses"].astype(float).where(~steps),
            "circuit has it": rows["in_circuit"] == 1,
        }
    ).astype(float)
    by_rules = (rows["verdict"] == rows["due"]) & (rows["named"] == rows["planted"])
    return by_instrument.where(rows["by_effect"].notna()).assign(**{"all rules together": by_rules.astype(float)})


def false_alarm(model: TransformersModel, seed: int) -> dict:
    """Whether any head of an untrained twin is above the null of the search at a depth that half of the pairs chose for it."""
    twin = models.untrained_twin(model, seed=seed)
    found = depths.search(twin, ordinals.resolve(twin.tokenizer))
    null = depths.null(found, n_permutations=RULES["depth"]["permutations"], seed=seed)
    limit = null.quantile(RULES["depth"]["level"]).item()
    heads = dict.fromkeys((layer, head) for _, layer, head in found.candidates)
    highest = max(depths.held_out(found, head=head).macro for head in heads)
    best = float(found.macro.max())
    return {
        "seed": seed, "best": best, "held_out": highest, "null": limit, "best_above": best > limit, "alarm": highest > limit,
    }  # fmt: skip  # one row of a table


def keep(*, n_plants: int, n_twins: int) -> None:
    """Measure all of it, and write the table that comes with the book."""
    model = models.load("grown/pythia", device="cpu")
    plants = [called(kind, seed) for kind in KINDS for seed in range(n_plants)]
    twins = [false_alarm(model, seed) for seed in range(n_twins)]
    write_json(TABLE, made() | {"plants": plants, "twins": twins})


def verdict_of_known(plants: pd.DataFrame, twins: pd.DataFrame, trained: pd.DataFrame) -> Verdict:
    """Whether the rules know what was planted: "known", or "mistaken" if they call a plant wrongly or raise too many alarms.

    `trained` are the grown models that count: what their head is, another score says and no plan, so they decide nothing.
    """
    right, alarms = rightly(plants)["all rules together"], int(twins["alarm"].sum())
    wrong = int((right == 0).sum())
    key = "known" if not wrong and alarms <= FALSE_ALARMS * len(twins) else "mistaken"
    of_each = ", ".join(
        f"{kind} {int(right[rows.index].sum())} of {len(rows)}" for kind, rows in plants.groupby("kind", sort=False)
    )
    low, _ = intervals.wilson(int(right.sum()), len(right))
    lead = "The rules know what was planted" if key == "known" else "The rules are mistaken where the answer is known"
    return Verdict(
        key,
        f"**{lead}:** rightly called are {of_each} (95% interval of all from {low:.2f}), and {alarms} of {len(twins)} networks with random weights "
        "raise an alarm in the search over depths. "
        f"Of {len(trained)} grown models that count, the rules name the head of the canonical score in {int(rightly(trained)['all rules together'].sum())}. Not shown: that they know a head that is faint, shared, or of a kind that nobody planted.",
    )


def grown() -> pd.DataFrame:
    """What the rules and each instrument say of the grown models, whose head is known from the canonical score alone.

    By what way it reaches the answer that score does not say, so the instrument for it has nothing to be held against.
    """
    every = map(of_found.stored, models.grown_models())
    return pd.DataFrame(
        [
            {"kind": each.model} | calls(each, each.depth.canonical[0], due="successor_head") | {"through_mlps": np.nan}
            for each in every
            if each.counts
        ]
    )


def stored() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The plants and the twins of the table that comes with the book."""
    table = json.loads(TABLE.read_text(encoding="utf8"))
    return pd.DataFrame(table["plants"]), pd.DataFrame(table["twins"])


if __name__ == "__main__":
    *names, n_plants, n_twins = sys.argv[1:]
    for name in names:
        of_found.keep(measure(models.load(name, device="cpu"), name=name, seed=0))
    if int(n_plants):
        keep(n_plants=int(n_plants), n_twins=int(n_twins))
