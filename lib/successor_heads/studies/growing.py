"""Chapter 6: is a grown head a rule or a table? Read from the records of the announced runs.

::

    found = growing.measure(observe.stored(observe.ANNOUNCED_RUNS))
    found.generalisation                          # arm x part held out x measure, over seeds
    growing.draw_generalisation(found)
    growing.verdict(found)                        # Verdict("table", "…")

What is asked, the unit, the intervals and the margins are those of ``growing/expectations.yml``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr, ttest_1samp, ttest_rel

from successor_heads import figures, intervals
from successor_heads.growing import announced
from successor_heads.growing.corpus import LISTS, pairs_of
from successor_heads.studies import Verdict

FRAMES = ("commas", "count", "bullets")  # in which the list share is taken
MEASURES = ("head", "list")
TABLE_BELOW, RULE_ABOVE, LEARNED_ABOVE = 0.20, 0.80, 0.80
# Verdicts of one experiment are widened together (Bonferroni): so many of them, as announced.
FAMILY = {
    "parts": 8, "parts-no-decimals": 8, "parts-digits": 4, "parts-long": 9, "parts-very-long": 9, "scattered": 10,
    "block-4": 10, "block-half": 10, "thirds": 10, "listed-in-headings": 2, "parts-no-crossrefs": 24,
    "parts-no-interchange": 24, "parts-narrow": 24,
}  # fmt: skip
CHANCE_OF_DIGIT, TRACE = 0.10, 0.05
DOSES = {"full": 1.0, "dose-0.3": 0.3, "dose-0.1": 0.1, "dose-0.03": 0.03, "dose-0.01": 0.01, "dose-0": 0.0}

Runs = Mapping[str, Mapping[str, Any]]  # name of the run -> its record


@dataclass(frozen=True, eq=False)
class Found:
    """What the announced runs have shown so far.

    `generalisation` has one row for each arm, part held out and measure: seeds, the share of pairs held out that are
    right and of their neighbours, both with intervals widened over the experiment's family, the median rank, and the
    `verdict` of the row: waiting, not_learned, table, rule, in_part or open.
    `last_digit` has one row a measure, `dose` one a share of counting text, `seen` one an arm.
    """

    generalisation: pd.DataFrame
    last_digit: pd.DataFrame
    dose: pd.DataFrame
    seen: pd.DataFrame
    seeds_announced: int


def measure(runs: Runs) -> Found:
    """All tables of the announced experiments from the records that are there; an arm that has none has no row."""
    by_arm: dict[str, dict[int, Mapping[str, Any]]] = {}
    for name, run in runs.items():
        arm, seed = announced.run_of(name)
        by_arm.setdefault(arm, {})[seed] = run
    its = announced.experiments()
    n_seeds = len(its["common"]["seeds"])
    rows = [
        _generalisation(arm, part, by, by_arm, n_seeds)
        for arm, specification in its["arms"].items()
        for part in specification.get("hold_out", [])
        for by in MEASURES
        if arm in by_arm
    ]
    return Found(
        generalisation=pd.DataFrame([row for row in rows if row is not None]),
        last_digit=_last_digits(by_arm, n_seeds),
        dose=_dose(by_arm),
        seen=_seen(by_arm),
        seeds_announced=n_seeds,
    )


# --- pairs held out, beside their neighbours ------------------------------------------------------


def outcomes(run: Mapping[str, Any], task: str, pairs: Iterable[int], *, by: str) -> tuple[int, int]:
    """How many successors are right, and of how many: by the chosen head, or by the model in lists.

    Pairs are places in the list, from 0. Pairs that the tokenizer writes in several tokens have no head's answer.
    """
    columns = run["succession"]["lists"][task]
    if by == "head":
        ranks = columns["rank"].split()
        answered = [ranks[pair] for pair in pairs if ranks[pair] != "-"]
        return sum(rank == "1" for rank in answered), len(answered)
    right = [successor for _, successor in pairs_of(task)]
    written = [columns["written"][frame].split() for frame in FRAMES]
    chosen = list(pairs)
    return sum(frame[pair] == right[pair] for pair in chosen for frame in written), len(chosen) * len(written)


def held_out(run: Mapping[str, Any], task: str) -> list[int]:
    """Places of the pairs of a list that this run's text never gave in order."""
    return [pair for pair, flag in enumerate(run["succession"]["lists"][task]["held"].split()) if flag == "1"]


def neighbours(part: str, held: list[int]) -> list[int]:
    """Places of the seen pairs that a part is held against; none for a list that is held out as a whole.

    Of a range of numbers, the ranges of its length below it and above it; else all other pairs of the list.
    """
    task, _, which = part.partition("@")[0].partition(":")
    n_pairs = len(pairs_of(task))
    if task == "numbers" and "-" in which:
        first, last = (int(end) - 1 for end in which.split("-"))
        length = last - first + 1
        beside = [*range(first - length, first - 1), *range(last + 1, last + length)]
        return [pair for pair in beside if 0 <= pair < n_pairs]
    return [pair for pair in range(n_pairs) if pair not in held]


def _generalisation(arm: str, part: str, by: str, by_arm: dict, n_seeds: int) -> dict[str, Any] | None:
    """One row of the table, or None where no run, or no control of it, is there or gives an answer."""
    task = part.partition("@")[0].partition(":")[0]
    seeds, held, beside, ranks = [], [], [], []
    for seed, run in sorted(by_arm[arm].items()):
        pairs = held_out(run, task)
        near = neighbours(part, pairs)
        control = run if near else by_arm.get("full", {}).get(seed)  # of a whole list: the same pairs, seen
        ours = outcomes(run, task, pairs, by=by)
        theirs = outcomes(control, task, near or pairs, by=by) if control else (0, 0)
        if ours[1]:
            seeds.append(seed)
            held.append(ours)
            beside.append(theirs)
            ranks += [int(rank) for pair in pairs if (rank := _rank(run, task, pair)) is not None]
    if len(seeds) < 2:
        return None
    level = 1 - 0.05 / FAMILY[arm]
    row: dict[str, Any] = {"arm": arm, "part": part, "by": by, "seeds": len(seeds)}
    row |= _share("held", held, level)
    with_control = [counts for counts in beside if counts[1]]
    row |= _share("seen", with_control, level)
    row["rank"] = float(np.median(ranks)) if ranks and by == "head" else None
    row["verdict"] = _verdict_of(row) if min(len(seeds), len(with_control)) >= n_seeds else "waiting"
    return row


def _rank(run: Mapping[str, Any], task: str, pair: int) -> int | None:
    rank = run["succession"]["lists"][task]["rank"].split()[pair]
    return None if rank == "-" else int(rank)


def _share(name: str, counts: list[tuple[int, int]], level: float) -> dict[str, float]:
    """Mean share over seeds with its interval; nothing is known of fewer than two."""
    if len(counts) < 2:
        return {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
    right, of = zip(*counts)
    low, high = intervals.share_over_seeds(list(right), list(of), seed=0, level=level)
    return {name: float(np.mean(np.divide(right, of))), f"{name}_low": low, f"{name}_high": high}


def _verdict_of(row: Mapping[str, Any]) -> str:
    if not row["seen_low"] > LEARNED_ABOVE:
        return "not_learned"
    if row["held_high"] < TABLE_BELOW:
        return "table"
    if row["held_low"] > RULE_ABOVE:
        return "rule"
    return "in_part" if row["held_low"] > TABLE_BELOW and row["held_high"] < RULE_ABOVE else "open"


# --- the last digit -------------------------------------------------------------------------------


def last_digit_share(run: Mapping[str, Any], *, by: str) -> float:
    """Of the answers to numbers held out, the share whose last digit is the successor's; no number is wrong."""
    columns, pairs = run["succession"]["lists"]["numbers"], held_out(run, "numbers")
    answers = [columns["answer"].split()] if by == "head" else [columns["written"][frame].split() for frame in FRAMES]
    right = [successor[-1] for _, successor in pairs_of("numbers")]
    return float(np.mean([its[pair].isdigit() and its[pair][-1] == right[pair] for its in answers for pair in pairs]))


def _last_digits(by_arm: dict, n_seeds: int) -> pd.DataFrame:
    """With decimals against chance and against the text without them, paired by seed; Holm over the four tests."""
    with_them, without = by_arm.get("parts", {}), by_arm.get("parts-no-decimals", {})
    seeds = sorted(set(with_them) & set(without))
    if len(seeds) < 2:
        return pd.DataFrame()
    rows, p_values = [], []
    for by in MEASURES:
        ours = np.array([last_digit_share(with_them[seed], by=by) for seed in seeds])
        theirs = np.array([last_digit_share(without[seed], by=by) for seed in seeds])
        mean, low, high = intervals.mean_over_seeds(ours)
        row: dict[str, Any] = {"by": by, "seeds": len(seeds), "share": mean, "low": low, "high": high}
        row |= dict(zip(("without", "without_low", "without_high"), intervals.mean_over_seeds(theirs)))
        rows.append(row)
        p_values += [
            _p(ttest_1samp(ours, CHANCE_OF_DIGIT, alternative="greater").pvalue),
            _p(ttest_rel(ours, theirs, alternative="greater").pvalue),
        ]
    corrected = intervals.holm(p_values)
    for k, row in enumerate(rows):
        row["p_chance"], row["p_without"] = corrected[2 * k : 2 * k + 2]
        trace = max(row["p_chance"], row["p_without"]) < 0.05 and row["share"] >= CHANCE_OF_DIGIT + TRACE
        none = row["high"] < CHANCE_OF_DIGIT + TRACE
        row["verdict"] = "waiting" if row["seeds"] < n_seeds else "trace" if trace else "none" if none else "open"
    return pd.DataFrame(rows)


def _p(value: float) -> float:
    """A test of values that are all alike has no p-value and shows nothing."""
    return 1.0 if np.isnan(value) else float(value)


# --- the dose, and what was seen ------------------------------------------------------------------


def _dose(by_arm: dict) -> pd.DataFrame:
    rows = []
    for arm, share in DOSES.items():
        its = list(by_arm.get(arm, {}).values())
        if len(its) < 2:
            continue
        macros = np.array([run["curve"][-1]["macro"] for run in its])
        mean, low, high = intervals.mean_over_seeds(macros)
        counts = [int(count) for run in its for column in run["text"]["in_order"].values() for count in column.split()]
        rows.append({
            "share": share, "seeds": len(its), "macro": mean, "low": low, "high": high,
            "above_half": int((macros > 0.5).sum()), "in_order": float(np.median(counts)),
        })  # fmt: skip
    return pd.DataFrame(rows)


def dose_trend(runs: Runs) -> float:
    """Spearman's correlation of the dose of counting text and the best head's macro, over all runs; NaN for too few."""
    points = [
        (DOSES[arm], run["curve"][-1]["macro"])
        for name, run in runs.items()
        if (arm := announced.run_of(name)[0]) in DOSES
    ]
    return float(spearmanr(*zip(*points)).statistic) if len(points) > 2 else float("nan")


def _seen(by_arm: dict) -> pd.DataFrame:
    """Per arm the share of evaluation documents and prompts that the training text holds word for word."""
    rows = []
    for arm, its in by_arm.items():
        prompts = {
            flag: [
                int(shown)
                for run in its.values()
                for task in LISTS
                for frame in run["text"]["prompts_seen"][task].values()
                for shown, out in zip(frame.split(), run["succession"]["lists"][task]["held"].split())
                if out == flag
            ]
            for flag in "01"
        }
        rows.append({
            "arm": arm, "seeds": len(its),
            "documents": float(np.mean([run["text"]["evaluated_seen"] for run in its.values()])),
            "prompts": float(np.mean(prompts["0"])),
            "prompts_held": float(np.mean(prompts["1"])) if prompts["1"] else np.nan,
        })  # fmt: skip
    return pd.DataFrame(rows)


# --- what the chapter shows -----------------------------------------------------------------------


def verdict(found: Found) -> Verdict:
    """Whether the head of `parts` is a table or a rule, by those of its four parts and two measures that are settled.

    Five months in five seeds are too few to settle by the head, even where none is right.
    """
    rows = found.generalisation
    rows = rows[rows["arm"] == "parts"] if len(rows) else rows
    if not len(rows):
        return Verdict("not_run", "No two runs of the arm `parts` are there: grow them with `make grown`.")
    keys = set(rows["verdict"])
    best = rows.loc[rows["held"].idxmax()]
    largest = f"{best['held']:.2f} ({best['held_low']:.2f} to {best['held_high']:.2f}) of {_named(best)}"
    n = int(rows["seeds"].min())
    if "waiting" in keys:
        return Verdict("waiting", f"{n} of {found.seeds_announced} seeds are there; so far at most {largest} is right.")
    settled = rows[~rows["verdict"].isin(["open", "not_learned"])]
    caveat = _listed(" Not settled", rows[rows["verdict"] == "open"])
    caveat += _listed(" Seen pairs themselves not learned", rows[rows["verdict"] == "not_learned"])
    if not len(settled):
        return Verdict("not_settled", f"At most {largest} is right.{caveat}")
    if set(settled["verdict"]) == {"table"}:
        return Verdict(
            "table",
            f"A table: in {n} seeds, of successors never shown in order at most {largest} is right, "
            f"of their neighbours at least {settled['seen'].min():.2f}.{caveat} That a rare seed differs is not excluded.",
        )
    if set(settled["verdict"]) == {"rule"}:
        least = settled["held"].min()
        return Verdict("rule", f"A rule: of successors never shown in order, at least {least:.2f} are right.{caveat}")
    return Verdict("mixed", f"Neither a table nor a rule in every part: at most {largest} is right.{caveat}")


PART_NAMES = {
    "numbers:130-149": "numbers 130 to 149", "months:7-12": "July to December", "letters": "all letters",
    "roman": "all Roman numerals",
}  # fmt: skip


def _named(row: pd.Series) -> str:
    """A part and how it was asked: "all letters (head)"."""
    return f"{PART_NAMES[row['part']]} ({row['by']})"


def _listed(why: str, rows: pd.DataFrame) -> str:
    return f"{why}: {', '.join(_named(row) for _, row in rows.iterrows())}." if len(rows) else ""


def draw_generalisation(found: Found, arm: str = "parts") -> list[Figure]:
    """Shares of an arm's parts, held out and seen, with intervals over seeds: one panel a measure."""
    figs, axes = figures.panels(len(MEASURES), height=2.6)
    for ax, by in zip(axes, MEASURES):
        rows = found.generalisation.query("arm == @arm and by == @by").reset_index(drop=True)
        for offset, which, color in ((0.15, "held", "orange"), (-0.15, "seen", "blue")):
            low, high = rows[which] - rows[f"{which}_low"], rows[f"{which}_high"] - rows[which]
            ax.errorbar(
                rows[which], rows.index + offset, xerr=np.clip([low, high], 0, None), fmt="o",
                color=figures.PALETTE[color], label={"held": "never in order", "seen": "seen in order"}[which],
            )  # fmt: skip
        ax.set_yticks(rows.index, [PART_NAMES.get(part, part) for part in rows["part"]])
        ax.set(xlim=(-0.03, 1.03), ylim=(len(rows) - 0.5, -0.5), title={"head": "head", "list": "model, in lists"}[by])
        ax.set_xlabel("share of successors right")
    axes[0].legend()
    return figs
