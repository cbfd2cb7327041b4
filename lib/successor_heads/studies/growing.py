"""Chapter 6: is a grown head a rule or a table? Read from the records of runs that were made once.

::

    found = growing.measure(observe.stored(observe.ANNOUNCED_RUNS))
    earlier = growing.earlier(observe.stored())   # runs from before anything was announced: exploratory
    growing.verdict(found, earlier)               # Verdict("table", "…")
    growing.draw_generalisation(found)            # arm x part held out, over seeds

What is asked, the unit, the intervals and the margins are those of ``growing/expectations.yml``. An arm that has not
been run yet has no row, and whatever rests on it says so: every number here is right for as many runs as are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from jaxtyping import Bool, Float
from scipy.stats import spearmanr, ttest_1samp, ttest_rel
from torch import Tensor

from successor_heads import figures, intervals, maps, ov_circuit, records, reported, scores
from successor_heads.anatomy import Anatomy, name_of
from successor_heads.figures import PALETTE, Drawing, Table
from successor_heads.growing import announced, succession
from successor_heads.growing.corpus import LIST_FRAMES, LISTS, pairs_of
from successor_heads.growing.train import Recipe
from successor_heads.live import Living
from successor_heads.ordinals import ResolvedClass
from successor_heads.studies import Verdict, list_name

CHAPTER = "06-growing"
FRAMES = tuple(LIST_FRAMES)  # in which the list share is taken
MEASURES = ("head", "list")
MAPPED = ("letters", "months", "days", "number_words")  # lists whose maps are kept along the live training
TABLE_BELOW, RULE_ABOVE, LEARNED_ABOVE = 0.20, 0.80, 0.80
# Verdicts of one experiment are widened together (Bonferroni): so many of them, as announced.
FAMILY = {
    "parts": 8, "parts-no-decimals": 8, "parts-digits": 4, "parts-long": 9, "parts-very-long": 9, "scattered": 10,
    "block-4": 10, "block-half": 10, "thirds": 10, "listed-in-headings": 2, "listed-in-diaries": 2, "parts-no-crossrefs": 24,
    "parts-no-interchange": 24, "parts-narrow": 24, "parts-long-again": 2, "parts-long-no-decimals": 2,
    "listed-in-numbered": 2, "days-out": 12, "number-words-out": 12, "parts-small": 12,
    "parts-very-long-again": 3, "parts-very-long-untied": 3, "listed-in-numbered-long": 2,
    "listed-in-other-frames": 2, "scattered-cut": 2,
}  # fmt: skip
CHANCE_OF_DIGIT, TRACE = 0.10, 0.05
# Of experiment 10: shares of answers that end as the successor or as the number itself.
DIGIT_KEPT, DIGIT_LOST = 0.80, 0.40
# Of experiment 18: a head counts that gives so many of the neighbours; of fewer than three heads nothing is said.
COUNTS_ABOVE, DIGIT_BY_RULE, FEWEST_HEADS = 0.80, 0.50, 3
DOSES = {"full": 1.0, "dose-0.3": 0.3, "dose-0.1": 0.1, "dose-0.03": 0.03, "dose-0.01": 0.01, "dose-0": 0.0}
SHAPES = ("parts", "scattered", "block-4", "block-half", "thirds")
STEP_ALONE = ("scattered-cut",)  # lists are cut between two words, so that both stay members of lists
ELSEWHERE = (
    "listed-in-headings",
    "listed-in-diaries",
    "listed-in-numbered",
    "listed-in-numbered-long",
    "listed-in-other-frames",
)  # in order in other documents alone
OTHERS = ("days-out", "number-words-out", "parts-small")  # other lists, and a larger network
RULES_EXPECTED = ("parts-digits", *ELSEWHERE)  # the positive controls
LATE = ("parts-very-long-again", "parts-very-long-untied")  # of experiment 14: new seeds, and their control
LEVERS = ("parts-no-crossrefs", "parts-no-interchange", "parts-narrow")
TENS = ("full", "no-decimals", "no-endings", "no-compositions", "base8", "base12")
MODULI = (10, 8, 12, 7)  # 7 is the control: nothing but the days counts in sevens
COMPOSED = {"base8": 8, "base12": 12}  # else ten
ARM_NAMES = {
    "parts": "four parts held out", "parts-no-decimals": "… without decimals", "parts-digits": "… a token a digit",
    "parts-long": "… 3 times the steps", "parts-very-long": "… 12 times the steps",
    "parts-long-again": "… 3 times, new seeds", "parts-long-no-decimals": "… 3 times, no decimals",
    "parts-very-long-again": "… 12 times, new seeds", "parts-very-long-untied": "… 12 times, lists untied",
    "parts-no-crossrefs": "… without crossrefs", "parts-no-interchange": "… without interchange",
    "parts-narrow": "… heads 8 wide", "scattered": "19 pairs at random", "scattered-cut": "… lists cut, not dropped", "block-4": "4 pairs in a block",
    "block-half": "99 pairs in a block", "thirds": "every third pair", "listed-in-headings": "in order in headings alone",
    "listed-in-diaries": "in order in diaries alone", "listed-in-numbered": "in numbered lists alone",
    "listed-in-numbered-long": "numbered lists, longer", "listed-in-other-frames": "in other frames of lists alone",
    "days-out": "days held out", "number-words-out": "words of numbers held out", "parts-small": "… a larger network",
    "full": "everything", "no-decimals": "no decimals", "no-endings": "no “ends in”", "no-compositions": "only “ends in”",
    "base8": "base 8", "base12": "base 12",
}  # fmt: skip
PART_NAMES = {
    "numbers:130-149": "numbers 130 to 149", "months:7-12": "July to December", "letters": "all letters",
    "roman": "all Roman numerals", "days": "days", "number_words": "words of numbers",
}  # fmt: skip
# 1,024 sequences of 2,048 tokens a step (Biderman et al., 2023).
TOKENS_A_STEP_OF_PYTHIA = 1024 * 2048
PROLONGED = ("parts", "parts-long", "parts-very-long")  # the same text, read for longer
CONFIRMING = ("parts-long-again", "parts-long-no-decimals")  # of experiment 10: new seeds, and their control
DIGITS = (*PROLONGED, *CONFIRMING, LATE[0], "parts-no-decimals")  # arms whose last digits are looked at

Runs = Mapping[str, Mapping[str, Any]]  # name of the run -> its record
ByArm = Mapping[str, Mapping[int, Mapping[str, Any]]]  # arm -> seed -> its record


@dataclass(frozen=True)
class Outcome:
    """What an announced experiment came to, held against what was expected of it.

    The `key` is not_run (of some arm there are not two runs), waiting (fewer seeds than announced), expected, partly,
    otherwise, or open: the intervals settle nothing. `said` has the numbers, `added` the day on which an experiment joined
    those that were announced at first.
    """

    title: str
    question: str
    expectation: str
    seeds: int
    key: str
    said: str
    added: str | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """What the announced runs have shown so far.

    `generalisation` has one row for each arm, part held out and measure: seeds, the share of pairs held out that are
    right and of their neighbours, both with intervals widened over the experiment's family, the median rank, and the
    `verdict` of the row: waiting, not_learned, table, rule, in_part or open.
    `last_digit` has one row a measure, `digits` one for each arm and seed of PROLONGED, of CONFIRMING and of the text
    without decimals, `whereabouts` one for each of PROLONGED and CONFIRMING: which head counts the numbers. `dose`
    has one row a share of counting text (`undiluted`: the macro of as much of it with nothing else), `seen` one an arm; `along` has a row for each arm, seed, part and point of the
    training, `tens` one for each arm, seed and modulus.
    """

    generalisation: pd.DataFrame
    last_digit: pd.DataFrame
    digits: pd.DataFrame
    whereabouts: pd.DataFrame
    dose: pd.DataFrame
    seen: pd.DataFrame
    along: pd.DataFrame
    tens: pd.DataFrame
    outcomes: list[Outcome]
    seeds_of: Mapping[str, int]
    seeds_announced: int

    @property
    def not_run(self) -> list[str]:
        """Arms that were announced and of which there are not two runs."""
        return [arm for arm in announced.arms() if self.seeds_of.get(arm, 0) < 2]


@dataclass(frozen=True, eq=False)
class Earlier:
    """What runs from before the announcement show, which is exploratory: `tens` as in `Found`, the rise of the best
    head by tokens (`rise`), the best macro with what was helped and without (`helped`), and `sharing`: by arm and seed
    how many words of other lists a probe of the numbers reads.
    """

    tens: pd.DataFrame
    rise: pd.DataFrame
    helped: pd.DataFrame
    sharing: pd.DataFrame
    n_runs: int


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
        for arm, specification in announced.arms().items()
        for part in specification.get("hold_out", [])
        for by in MEASURES
        if arm in by_arm
    ]
    generalisation = pd.DataFrame([row for row in rows if row is not None])
    return Found(
        generalisation=generalisation,
        last_digit=_last_digits(by_arm, n_seeds),
        digits=_digits(by_arm),
        whereabouts=_whereabouts(by_arm),
        dose=_dose(by_arm),
        seen=_seen(by_arm),
        along=_along(by_arm),
        tens=_tens(by_arm),
        outcomes=_outcomes(its, by_arm, generalisation),
        seeds_of={arm: len(its) for arm, its in by_arm.items()},
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
    task, _, which = part.partition("+")[0].partition("@")[0].partition(":")
    n_pairs = len(pairs_of(task))
    if task == "numbers" and "-" in which:
        first, last = (int(end) - 1 for end in which.split("-"))
        length = last - first + 1
        beside = [*range(first - length, first - 1), *range(last + 1, last + length)]
        return [pair for pair in beside if 0 <= pair < n_pairs]
    return [pair for pair in range(n_pairs) if pair not in held]


def _generalisation(arm: str, part: str, by: str, by_arm: ByArm, n_seeds: int) -> dict[str, Any] | None:
    """One row of the table, or None where no run, or no control of it, is there or gives an answer."""
    task = part.partition("+")[0].partition("@")[0].partition(":")[0]
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
    row["each"] = [right / of for right, of in held]
    with_control = [counts for counts in beside if counts[1]]
    row |= _share("seen", with_control, level)
    row["rank"] = float(np.median(ranks)) if ranks and by == "head" else None
    row["verdict"] = _verdict_of(row) if min(len(seeds), len(with_control)) >= n_seeds else "waiting"
    if len(with_control) < len(seeds) >= n_seeds and not set(seeds) <= set(announced.arms()["full"]["seeds"]):
        row["verdict"] = "no_control"
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
    return _digit_share(run, by=by, of=1)


def own_digit_share(run: Mapping[str, Any]) -> float:
    """Of the head's answers to numbers held out, the share that ends as the number itself does."""
    return _digit_share(run, by="head", of=0)


def digit_kept(run: Mapping[str, Any]) -> float:
    """Of the head's answers to numbers held out, the share that ends as the number or as its successor does."""
    return last_digit_share(run, by="head") + own_digit_share(run)


def _digit_share(run: Mapping[str, Any], *, by: str, of: int) -> float:
    """The share of answers that end as the word (`of` 0) or its successor (1) does."""
    columns, pairs = run["succession"]["lists"]["numbers"], held_out(run, "numbers")
    answers = [columns["answer"].split()] if by == "head" else [columns["written"][frame].split() for frame in FRAMES]
    right = [pair[of][-1] for pair in pairs_of("numbers")]
    return float(np.mean([its[pair].isdigit() and its[pair][-1] == right[pair] for its in answers for pair in pairs]))


def _digits(by_arm: ByArm) -> pd.DataFrame:
    """How the head's answers to numbers held out end, in trainings of three lengths and without decimals: one row an arm and seed.

    `counts`: whether the head gives the neighbours, so that its answers say something of how it counts.
    """
    rows = []
    for arm in DIGITS:
        for seed, run in by_arm.get(arm, {}).items():
            near = neighbours("numbers:130-149", held_out(run, "numbers"))
            right, n = outcomes(run, "numbers", near, by="head")
            successor = last_digit_share(run, by="head")
            rows.append({"arm": arm, "seed": seed, "successor": successor, "counts": right >= COUNTS_ABOVE * n})
    return pd.DataFrame(rows, columns=["arm", "seed", "successor", "counts"])


def digit_of_counting_heads(digits: pd.DataFrame, *arms: str) -> np.ndarray:
    """Of every head of these arms that counts, the share of its answers to numbers held out that end as the successor."""
    return digits.loc[digits["arm"].isin(arms) & digits["counts"].astype(bool), "successor"].to_numpy(float)


def _whereabouts(by_arm: ByArm) -> pd.DataFrame:
    """Of short and of longer training, which numbers seen the chosen head gives, the best for numbers, and the model in lists.

    Beside them the best macro of any head, reading MLP0 or the bare embedding, as all there is to read in block 0.
    """
    rows = []
    for arm in (*PROLONGED, *CONFIRMING):
        for seed, run in by_arm.get(arm, {}).items():
            pairs = sorted(set(range(len(pairs_of("numbers")))) - set(held_out(run, "numbers")))
            shares = {by: np.divide(*outcomes(run, "numbers", pairs, by=by)) for by in MEASURES}
            by_head = np.array(run["succession"]["heads"]["numbers"]["seen"])
            embedding = np.array(run["macro_by_head_embedding"])
            rows.append(
                {
                    "arm": arm, "seed": seed, "head": name_of((run["succession"]["layer"], run["succession"]["head"])),
                    "macro": np.max(run["macro_by_head_mlp0"]), "numbers": shares["head"], "any": by_head.max(),
                    "other": _highest(by_head),
                    "embedding": embedding.max(), "on": _highest(embedding),
                    "lists": shares["list"],
                }
            )  # fmt: skip  # one row of a table
    columns = ["arm", "seed", "head", "macro", "numbers", "any", "other", "embedding", "on", "lists"]
    return pd.DataFrame(rows, columns=columns)


def _highest(by_head: Float[np.ndarray, "layer head"]) -> str:
    layer, head = divmod(int(by_head.argmax()), by_head.shape[1])
    return name_of((layer, head))


def _last_digits(by_arm: ByArm, n_seeds: int) -> pd.DataFrame:
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
        row |= {"each": ours.tolist(), "each_without": theirs.tolist()}
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


def _dose(by_arm: ByArm) -> pd.DataFrame:
    rows = []
    for arm, share in DOSES.items():
        its = list(by_arm.get(arm, {}).values())
        if len(its) < 2:
            continue
        macros = np.array([run["curve"][-1]["macro"] for run in its])
        mean, low, high = intervals.mean_over_seeds(macros)
        counts = [int(count) for run in its for column in run["text"]["in_order"].values() for count in column.split()]
        rows.append({
            "share": share, "seeds": len(its), "macro": mean, "low": low, "high": high, "each": macros.tolist(),
            "above_half": int((macros > 0.5).sum()), "in_order": float(np.median(counts)),
            "undiluted": _undiluted(share, by_arm.get("full", {})),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _undiluted(share: float, whole: Mapping[int, Mapping[str, Any]]) -> float:
    """Mean macro of runs on counting text alone, once they have read as much of it as the share has of a whole run."""
    if not whole:
        return np.nan
    macros = []
    for run in whole.values():
        tokens, macro = ([point[column] for point in run["curve"]] for column in ("tokens", "macro"))
        macros.append(np.interp(share * tokens[-1], tokens, macro))
    return float(np.mean(macros))


def dose_trend(dose: pd.DataFrame) -> float:
    """Spearman's correlation of the dose of counting text and the best head's macro over all runs, as announced."""
    runs = dose.explode("each")
    return float(spearmanr(runs["share"], runs["each"].astype(float)).statistic)


def _seen(by_arm: ByArm) -> pd.DataFrame:
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


def _along(by_arm: ByArm) -> pd.DataFrame:
    """Share of each part held out, and of the pairs seen in its list, as the chosen head gives them on the way."""
    rows = [
        {"arm": arm, "seed": seed, "tokens": point["tokens"], "part": part} | {
            which: point["succession"][which].get(part.partition(":")[0], np.nan) for which in ("held", "seen")
        }
        for arm, its in by_arm.items()
        for seed, run in its.items()
        for point in run["curve"]
        if "succession" in point
        for part in announced.arms()[arm]["hold_out"]
        if part.partition(":")[0] in point["succession"]["held"]
    ]  # fmt: skip  # the head of the curve is chosen from the eight classes, to which the Roman numerals do not belong
    return pd.DataFrame(rows, columns=["arm", "seed", "tokens", "part", "held", "seen"])


def _tens(by_arm: ByArm) -> pd.DataFrame:
    """How well a probe reads what MLP0 writes of a number, by modulus, and what the best head makes of the numbers."""
    rows = [
        {"arm": arm, "seed": seed, "modulus": probe["modulus"], "accuracy": probe["accuracy"], "numbers": run["curve"][-1]["numbers"]}
        for arm, its in by_arm.items()
        for seed, run in its.items()
        for probe in run.get("probes", [])
        if probe["modulus"] in MODULI
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["arm", "seed", "modulus", "accuracy", "numbers"])


# --- earlier runs: exploratory ----------------------------------------------------------------------


def earlier(runs: Runs) -> Earlier:
    """What the runs from before the announcement show, with those of the reader's own, which join the rise."""
    of_arm: dict[str, dict[int, Mapping[str, Any]]] = {}
    for name, run in runs.items():
        if name.startswith("pythia-tiny-"):
            arm, seed = announced.run_of(name.removeprefix("pythia-tiny-"))
            of_arm.setdefault(arm, {})[seed] = run
    rise = [
        {"run": name, "family": run["recipe"]["family"], "tokens": point["tokens"], "macro": point["macro"]}
        for name, run in runs.items()
        if run["recipe"]["size"] != "tiny" and not run["recipe"]["without"] and not run["recipe"].get("tied")
        for point in run["curve"]
    ]
    return Earlier(
        tens=_tens(of_arm),
        rise=pd.DataFrame(rise, columns=["run", "family", "tokens", "macro"]),
        helped=_helped(runs),
        sharing=_sharing(of_arm),
        n_runs=len(runs),
    )


# What was done for a family so that one head would count, why, the run with it, and the one without.
HELP = (
    (
        "GPT-2", "attention 0 writes nothing in the first third of the steps",
        "MLP0 reads what attention 0 wrote, and could move on the ordinal that it fetched: then no head's map counts",
        "gpt2-quiet", "gpt2-never-quiet",
    ),
    ("Llama", "the same", "the same", "llama-quiet", "llama-never-quiet"),
    (
        "GPT-2", "two matrices to embed and to unembed", "with one, what 27 is read as is what 27 is promoted by",
        "gpt2", "gpt2-tied",
    ),
)  # fmt: skip
SHIPPED = ("pythia", "gpt2", "llama")


def _helped(runs: Runs) -> pd.DataFrame:
    rows = [
        (family, what, why, runs[helped]["curve"][-1]["macro"], runs[plain]["curve"][-1]["macro"])
        for family, what, why, helped, plain in HELP
        if helped in runs and plain in runs
    ]
    return pd.DataFrame(rows, columns=["family", "what was helped", "why", "with", "without"])


def _sharing(by_arm: ByArm) -> pd.DataFrame:
    """Share of all words of other lists whose index mod 10 a probe of the numbers reads: one row an arm and seed."""
    rows = [
        {"arm": arm, "seed": seed, "read": np.average(table["accuracy"], weights=table["n"])}
        for arm, its in by_arm.items()
        for seed, run in its.items()
        if len(table := pd.DataFrame(run.get("transfer", [])))
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "read"])


# --- what was announced, and what it came to ---------------------------------------------------------


def _outcomes(its: Mapping[str, Any], by_arm: ByArm, rows: pd.DataFrame) -> list[Outcome]:
    """One outcome an experiment, in the order in which they were announced."""
    headings, diaries, numbered, longer, frames = (partial(_elsewhere, arm=arm) for arm in ELSEWHERE)
    judges: list[Callable[[ByArm, pd.DataFrame], tuple[str, str]]] = [
        _parts, _digit_trace, _digits_control, _long, _doses, _shapes, headings, _levers, _makers_of_tens, _digit_by_rule, diaries,
        numbered, _others, _late_rule, longer, frames, _step_alone, _digit_of_those_that_count,
    ]  # fmt: skip
    n_seeds = len(its["common"]["seeds"])
    experiments = [(experiment, None) for experiment in its["experiments"]]
    experiments += [(entry["experiment"], entry["date"].isoformat()) for entry in announced.later()]
    outcomes_ = []
    for (experiment, added), judge in zip(experiments, judges, strict=True):
        needed = [arm for arm in experiment["arms"] if arm != "parts-very-long"]  # of which nothing was expected
        seeds = min(len(by_arm.get(arm, {})) for arm in needed)
        key, said = judge(by_arm, rows)
        missing = [arm for arm in needed if len(by_arm.get(arm, {})) < 2]
        if missing:
            key, said = "not_run", f"{said} Not run: {', '.join(missing)}.".strip()
        elif seeds < n_seeds:
            key = "waiting"
        question, expectation = (" ".join(experiment[field].split()) for field in ("question", "expectation"))
        outcomes_.append(Outcome(str(experiment["id"]), question, expectation, seeds, key, said, added))
    return outcomes_


def _of(rows: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    return rows[rows["arm"].isin(arms)] if len(rows) else pd.DataFrame(columns=["arm", "part", "by", "verdict", "held"])


def _compared(rows: pd.DataFrame, expected: str) -> str:
    """Whether the settled verdicts are the expected one: expected, otherwise, partly; open where nothing is settled.

    A part whose seen pairs are not shown to be learned has no say.
    """
    as_expected = rows.loc[rows["verdict"].isin(SETTLED), "verdict"] == expected
    if not len(as_expected):
        return "open"
    return "expected" if as_expected.all() else "partly" if as_expected.any() else "otherwise"


def _range(rows: pd.DataFrame, of: str = "what was never in order", *, judged: bool = True) -> str:
    """Verdicts counted, and the shares: "table in 6 of 8, open in 2; of what was never in order 0.00 to 0.03 right".

    Where the rows are judged, how many have a say (see `_compared`) is told unless all have.
    """
    if not len(rows):
        return ""
    counts = rows["verdict"].value_counts()
    counted = ", ".join(f"{VERDICTS[key]} in {n} of {len(rows)}" for key, n in counts.items())
    settled = rows["verdict"].isin(SETTLED).sum()
    if judged and 0 < settled < len(rows):
        counted += f"; judged by the {settled} that are settled"
    least, most = rows["held"].min(), rows["held"].max()
    return f"{counted}; of {of} {least:.2f} to {most:.2f} right."


SETTLED = ("table", "rule", "in_part")
VERDICTS = {
    "waiting": "seeds awaited", "not_learned": "neighbours not shown to be learned", "table": "table", "rule": "rule",
    "in_part": "in part", "open": "open", "no_control": "no control of the same seeds",
}  # fmt: skip


def _parts(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    ours = _of(rows, ["parts"])
    return _compared(ours, "table"), _range(ours)


def _digit_trace(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    table = _last_digits(by_arm, len(announced.experiments()["common"]["seeds"]))
    if not len(table):
        return "open", ""
    said = "; ".join(
        f"{MEASURE_NAMES[row.by]}: {row.share:.2f}, without decimals {row.without:.2f}" for row in table.itertuples()
    )
    traces = table["verdict"] == "trace"
    # Without decimals it was to be no better than a guess.
    none_without = not (table["without_low"] > CHANCE_OF_DIGIT).any()
    if traces.all() and none_without:
        return "expected", said + "."
    settled = traces.any() or (table["verdict"] == "none").any() or not none_without
    return ("partly" if traces.any() else "otherwise" if settled else "open"), said + "."


def _digits_control(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    """The model's lists alone: numbers by rule, letters and Roman numerals from a table."""
    ours = _of(rows, ["parts-digits"])
    ours = ours[ours["by"] == "list"].set_index("part")
    if "numbers:130-149" not in ours.index:
        return "open", ""
    numbers = ours.loc["numbers:130-149"]
    gain = _difference(by_arm, "parts-digits", "parts", lambda run: _share_held(run, "numbers", by="list"))
    said = (
        f"Numbers in lists: {numbers['held']:.2f} never in order, {numbers['seen']:.2f} of their neighbours{gain.said}."
    )
    tables = _compared(ours.drop(index="numbers:130-149").loc[["letters", "roman"]], "table")
    if numbers["verdict"] == "rule" and gain.low >= 0.5:
        return ("expected" if tables == "expected" else "partly"), said
    return ("open" if numbers["verdict"] == "open" else "otherwise"), said


def _long(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    ours = _of(rows, ["parts-long"])
    gain = _difference(
        by_arm, "parts-long", "parts", lambda run: last_digit_share(run, by="head"), family=FAMILY["parts-long"]
    )
    if not len(ours):
        return "open", ""
    key, trace = _compared(ours, "table"), gain.low > 0 and gain.mean >= TRACE
    said = f"3 times the steps: {_range(ours)} Last digit{gain.said}."
    if len(longer := _of(rows, ["parts-very-long"])):
        said += f" 12 times: {_range(longer, judged=False)}"
    return (key if trace else "partly" if key == "expected" else key), said


def _doses(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    table = _dose(by_arm)
    said = "; ".join(
        f"{row.share:g}: {row.macro:.2f} ({row.above_half} of {row.seeds} above one half)" for row in table.itertuples()
    )
    if len(table) < len(DOSES):
        return "open", f"Best macro by share: {said}." if said else ""
    above = dict(zip(table["share"], table["above_half"]))
    held = [
        above[0.3] >= 4,
        above[0.1] >= 4,
        above[0.01] == 0,
        above[0.0] == 0,
        bool((table["macro"].diff()[1:] < 0).all()),
    ]
    key = "expected" if all(held) else "partly" if any(held) else "otherwise"
    return key, f"Best macro by share: {said}."


def _shapes(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    ours = _of(rows, SHAPES)
    ours = ours[ours["part"].str.startswith("numbers")] if len(ours) else ours
    return _compared(ours, "table"), _range(ours)


def _elsewhere(by_arm: ByArm, rows: pd.DataFrame, *, arm: str) -> tuple[str, str]:
    """A rule, provided that the pairs stand elsewhere often enough to be learned there: how often is said."""
    ours = _of(rows, [arm])
    if not len(ours):
        return _compared(ours, "rule"), _range(ours)
    held, beside, ten_more = [], [], []
    for run in by_arm[arm].values():
        counts = np.array([int(count) for count in run["text"]["in_order"]["numbers"].split()])
        pairs = held_out(run, "numbers")
        held.append(np.median(counts[pairs]))
        beside.append(np.median(counts[neighbours(announced.arms()[arm]["hold_out"][0], pairs)]))
        answers = run["succession"]["lists"]["numbers"]["answer"].split()
        words = [word for word, _ in pairs_of("numbers")]
        ten_more.append(np.mean([answers[pair] == str(int(words[pair]) + 10) for pair in pairs]))
    said = f" Each pair stands {np.mean(held):.0f} times in order in the documents that are left; its neighbours, in all documents, {np.mean(beside):.0f} times."
    if np.mean(ten_more) > 0.5:  # a table still, of what follows a number elsewhere: "27 plus 10 is 37"
        said += (
            f" The head gives the number plus 10 in {np.mean(ten_more):.2f} of cases, as sums by ten in the text do."
        )
    return _compared(ours, "rule"), _range(ours, "what stands in these documents alone") + said


def _step_alone(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    """A table all the same where both words stand in lists and the step between them alone is missing."""
    ours = _of(rows, STEP_ALONE)
    return _compared(ours, "table"), _range(ours)


def _others(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    """Tables all: two more lists, and the four parts in a larger network."""
    ours = _of(rows, OTHERS)
    return _compared(ours, "table"), _range(ours)


def _levers(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    """Tables all, and narrow heads hold fewer of the numbers that are seen."""
    ours, key = _of(rows, LEVERS), _compared(_of(rows, LEVERS), "table")
    narrow = _difference(by_arm, "parts-narrow", "parts", _numbers_seen, family=FAMILY["parts-narrow"])
    said = f"{_range(ours)} Numbers seen, heads 8 wide{narrow.said}." if len(ours) else ""
    return (key if narrow.high < 0 else "partly" if key == "expected" else key), said


def _numbers_seen(run: Mapping[str, Any]) -> float:
    held = held_out(run, "numbers")
    right, of = outcomes(run, "numbers", [pair for pair in range(199) if pair not in held], by="head")
    return right / of


def _makers_of_tens(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    """Each kind of sentence makes the ten in part, composing more; other bases theirs; the head's numbers stay."""
    table, family = _tens(by_arm), 5  # arms beside the full text
    read = table.groupby(["arm", "modulus"])["accuracy"].mean()
    if not {"full", "no-decimals"} <= set(table["arm"]):
        return "open", ""

    def gap(arm: str, base: str, modulus: int) -> Difference:
        return _difference(by_arm, arm, base, lambda run: _accuracy(run, modulus), family=family)

    halves = [arm for arm in ("no-endings", "no-compositions") if arm in set(table["arm"])]
    held = [gap(arm, "full", 10).high < -0.10 and gap(arm, "no-decimals", 10).low > 0.10 for arm in halves]
    held += [gap("no-compositions", "no-endings", 10).high < 0] if len(halves) == 2 else []
    held += [gap(arm, "full", base).low > 0.10 for arm, base in COMPOSED.items() if arm in set(table["arm"])]
    numbers = [
        _difference(by_arm, arm, "full", lambda run: run["curve"][-1]["numbers"], family=family)
        for arm in TENS[1:] if arm in by_arm
    ]  # fmt: skip
    held += [max(abs(of.low), abs(of.high)) < 0.05 for of in numbers]
    said = "Mod 10: " + "; ".join(f"{ARM_NAMES[arm]} {read[arm, 10]:.2f}" for arm in TENS if (arm, 10) in read.index)
    said += "".join(
        f"; mod {base} in base {base}: {read[arm, base]:.2f}"
        for arm, base in COMPOSED.items()
        if (arm, base) in read.index
    )
    said += f". Numbers of the head against the full text: {min(of.mean for of in numbers):+.2f} to {max(of.mean for of in numbers):+.2f}."
    return ("expected" if all(held) else "partly" if any(held) else "otherwise"), said


def _digit_by_rule(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    """After long training answers end as the successor or the number itself; without decimals they do not."""
    means = {}
    for arm in CONFIRMING:
        its = np.array([digit_kept(run) for run in by_arm.get(arm, {}).values()])
        means[arm] = intervals.mean_over_seeds(its, level=1 - 0.05 / FAMILY[arm]) if len(its) > 1 else (np.nan,) * 3
    ours = _of(rows, [CONFIRMING[0]])
    numbers = ours[(ours["part"] == "numbers:130-149") & (ours["by"] == "head")] if len(ours) else ours
    (kept, kept_low, kept_high), (without, without_low, without_high) = means.values()
    if not len(numbers) or np.isnan(without):
        return "open", ""
    within = f"{max(kept_low, 0.0):.2f} to {min(kept_high, 1.0):.2f}"
    within_without = f"{max(without_low, 0.0):.2f} to {min(without_high, 1.0):.2f}"
    said = f"The digit is kept in {kept:.2f} ({within}), without decimals in {without:.2f} ({within_without})."
    held = [kept_low > DIGIT_KEPT, without_high < DIGIT_LOST]
    against = [kept_high < DIGIT_KEPT, without_low > DIGIT_LOST]
    if all(held):
        return ("expected" if numbers["held_high"].iloc[0] < TABLE_BELOW else "partly"), said
    return ("open" if not any(against) else "partly" if any(held) else "otherwise"), said


def _digit_of_those_that_count(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    """In new seeds, heads that count answer to numbers held out with the successor's digit, and not with the successor."""
    each = digit_of_counting_heads(_digits(by_arm), LATE[0])
    numbers = _of(rows, [LATE[0]])
    numbers = numbers[(numbers["part"] == "numbers:130-149") & (numbers["by"] == "head")]
    if not len(numbers):
        return "open", ""
    if len(each) < FEWEST_HEADS:
        return "open", f"Only {len(each)} of {len(by_arm[LATE[0]])} heads give the neighbours."
    mean, low, high = intervals.mean_over_seeds(each)
    low, high = max(low, 0.0), min(high, 1.0)
    right = numbers.iloc[0]
    said = (
        f"Of {len(each)} heads that give the neighbours, answers to numbers held out end as the successor does in {mean:.2f} ({low:.2f} to {high:.2f}) of cases; "
        f"of all {len(by_arm[LATE[0]])} heads they are the successor in {right['held']:.2f} ({right['held_low']:.2f} to {right['held_high']:.2f})."
    )
    if low > DIGIT_BY_RULE:
        return ("expected" if right["held_high"] < TABLE_BELOW else "partly"), said
    return ("otherwise" if high < DIGIT_BY_RULE else "open"), said


def _late_rule(by_arm: ByArm, rows: pd.DataFrame) -> tuple[str, str]:
    """After long training the head goes on with letters that no list gives, the model does not, and untied lists do not."""
    letters = _of(rows, LATE)
    letters = letters[letters["part"] == "letters"].set_index(["arm", "by"]) if len(letters) else letters
    asked = [(LATE[0], "head"), (LATE[0], "list"), (LATE[1], "head")]
    if not len(letters) or not set(asked) <= set(letters.index):
        return "open", ""
    head, model, untied = (letters.loc[place] for place in asked)
    said = "; ".join(
        f"{name} {row['held']:.2f} ({row['held_low']:.2f} to {row['held_high']:.2f})"
        for name, row in (("by the head", head), ("in lists", model), ("by the head, lists untied", untied))
    )
    held = [head["held_low"] > TABLE_BELOW, *(row["held_high"] < TABLE_BELOW for row in (model, untied))]
    against = [head["held_high"] < TABLE_BELOW, *(row["held_low"] > TABLE_BELOW for row in (model, untied))]
    key = "expected" if all(held) else "open" if not any(against) else "partly" if any(held) else "otherwise"
    return key, f"Letters, {said}."


@dataclass(frozen=True)
class Difference:
    """Mean difference between two arms, paired by seed, with its t interval; NaN of fewer than two seeds."""

    mean: float
    low: float
    high: float

    @property
    def said(self) -> str:
        """ ", +0.12 (0.03 to 0.21) against …" as a clause; empty where there is nothing to compare."""
        return (
            ""
            if np.isnan(self.mean)
            else f", {self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f}) against the arm it is paired with"
        )


def _difference(
    by_arm: ByArm, arm: str, base: str, value: Callable[[Mapping[str, Any]], float], *, family: int = 1
) -> Difference:
    """`value` in an arm less that in another, over the seeds that both have; the interval widened over a family."""
    seeds = sorted(set(by_arm.get(arm, {})) & set(by_arm.get(base, {})))
    if len(seeds) < 2:
        return Difference(np.nan, np.nan, np.nan)
    values = np.array([value(by_arm[arm][seed]) - value(by_arm[base][seed]) for seed in seeds])
    return Difference(*intervals.mean_over_seeds(values, level=1 - 0.05 / family))


def _share_held(run: Mapping[str, Any], task: str, *, by: str) -> float:
    right, of = outcomes(run, task, held_out(run, task), by=by)
    return right / of


def _accuracy(run: Mapping[str, Any], modulus: int) -> float:
    return next(probe["accuracy"] for probe in run["probes"] if probe["modulus"] == modulus)


# --- what it comes to --------------------------------------------------------------------------------

MEASURE_NAMES = {"head": "by the head", "list": "in lists"}


def verdict(found: Found, earlier: Earlier | None = None) -> Verdict:
    """Whether the head of `parts` is a table or a rule, by those of its four parts and two measures that are settled.

    Five months in five seeds are too few to settle by the head, even where none is right. More paragraphs say whether a control has
    shown a rule, what comes late, what becomes of the digit, and whether the head needs the tens, the last from the runs
    of `Found` where there are enough and else from earlier ones.
    """
    late = late_sentence(found)
    tens = (
        _step_sentence(found)
        + control_sentence(found)
        + (late and f"\n\n{late}")
        + _digit_sentence(found)
        + _tens_sentence(found, earlier)
    )
    rows = _of(found.generalisation, ["parts"])
    if not len(rows):
        return Verdict(
            "not_run", f"**Not run yet.** No two runs of the arm `parts` are there: grow them with `make grown`.{tens}"
        )
    keys = set(rows["verdict"])
    best = rows.loc[rows["held"].idxmax()]
    largest = f"{best['held']:.2f} ({best['held_low']:.2f} to {best['held_high']:.2f}; {_named(best)})"
    n = int(rows["seeds"].min())
    if "waiting" in keys:
        lacking = sorted(arm for arm in ("parts", "full") if found.seeds_of.get(arm, 0) < found.seeds_announced)
        return Verdict(
            "waiting",
            f"**Rule or table? Not all of what was announced has been run.** In {n} of {found.seeds_announced} seeds, of "
            f"successors that the text never gives in order at most {largest} is right so far; "
            f"seeds are missing of {' and '.join(f'“{ARM_NAMES[arm]}”' for arm in lacking)}.{_settled_so_far(rows)}{tens}",
        )
    settled = rows[~rows["verdict"].isin(["open", "not_learned"])]
    caveat = _listed(" Not settled", rows[rows["verdict"] == "open"])
    if n_unlearned := int((rows["verdict"] == "not_learned").sum()):
        caveat += f" In {n_unlearned} comparisons even the pairs seen are not shown to be learned."
    if not len(settled):
        return Verdict("not_settled", f"**Rule or table? Not settled.** At most {largest} is right.{caveat}{tens}")
    if set(settled["verdict"]) == {"table"}:
        most = settled.loc[settled["held"].idxmax()]
        where = (
            ""
            if len(settled) == len(rows)
            else f", where it is settled ({len(settled)} of {len(rows)} comparisons, four parts by two measures)"
        )
        return Verdict(
            "table",
            f"**A table{where}:** in {n} seeds, of successors never shown in order at most {most['held']:.2f} ({most['held_low']:.2f} to {most['held_high']:.2f}) are right "
            f"({'; '.join(_named(row) for _, row in settled.iterrows())}), of pairs that were shown at least {settled['seen'].min():.2f}.{caveat} "
            f"That a rare seed differs is not excluded.{tens}",
        )
    if set(settled["verdict"]) == {"rule"}:
        least = settled["held"].min()
        return Verdict(
            "rule", f"**A rule:** of successors never shown in order, at least {least:.2f} are right.{caveat}{tens}"
        )
    return Verdict("mixed", f"**Neither a table nor a rule in every part:** at most {largest} is right.{caveat}{tens}")


def _settled_so_far(rows: pd.DataFrame) -> str:
    """Parts of which all seeds are there already, by what they came to."""
    settled = rows[~rows["verdict"].isin(["waiting", "not_learned", "open"])]
    by_verdict = [(VERDICTS[key], its) for key, its in settled.groupby("verdict")]
    return "".join(_listed(f" Settled already, {said}", its) for said, its in by_verdict)


def _named(row: pd.Series) -> str:
    """A part and how it was asked: "all letters, by the head"."""
    return f"{PART_NAMES[row['part']]}, {MEASURE_NAMES[row['by']]}"


def _listed(why: str, rows: pd.DataFrame) -> str:
    return f"{why}: {'; '.join(_named(row) for _, row in rows.iterrows())}." if len(rows) else ""


def tens_of(found: Found, earlier: Earlier | None) -> tuple[pd.DataFrame, str]:
    """The table of the tens from announced runs, once two of each arm are there, else from earlier ones; and which it is."""
    if all(found.seeds_of.get(arm, 0) >= 2 for arm in TENS):
        return found.tens[found.tens["arm"].isin(TENS)], "announced"
    tens = earlier.tens if earlier else found.tens.iloc[:0]
    return tens[tens["arm"].isin(TENS)], "exploratory"


def _step_sentence(found: Found) -> str:
    """What becomes of a step that alone is missing, both words still members of lists; empty where that is not settled."""
    rows = _of(found.generalisation, STEP_ALONE)
    rows = rows[rows["verdict"].isin(SETTLED)]
    if not len(rows):
        return ""
    each = "; ".join(
        f"{MEASURE_NAMES[row.by]} {row.held:.2f} ({row.held_low:.2f} to {row.held_high:.2f}), of steps that were shown {row.seen:.2f}"
        for row in rows.itertuples()
    )
    return (
        f"\n\n**Nor is it that the words were missing.** Where lists are cut between two numbers, both still members of lists, of such steps are right {each}."
        if set(rows["verdict"]) == {"table"}
        else f"\n\n**Where the step alone is missing**, both numbers still members of lists, of such steps are right {each}."
    )


def control_sentence(found: Found) -> str:
    """Whether an arm that should make a rule has made one; empty where none has been run."""
    rows = _of(found.generalisation, RULES_EXPECTED)
    if not len(rows):
        return ""
    rows = rows[rows["part"].str.startswith("numbers") & (rows["verdict"] != "waiting")]
    if not len(rows):
        return ""
    best = rows.loc[rows.groupby("arm", sort=False)["held"].idxmax()]  # of each control by the measure that says more
    if (rows["verdict"] == "rule").any():
        ruled = rows[rows["verdict"] == "rule"]
        said = "; ".join(
            f"{ARM_NAMES[row.arm].removeprefix('… ')} {row.held:.2f} {MEASURE_NAMES[row.by]} (neighbours {row.seen:.2f})"
            for row in ruled.itertuples()
        )
        n_others = len(best) - ruled["arm"].nunique()
        others = f" Of {n_others} other arms that were meant to bring out a rule none has." if n_others else ""
        return f" What does carry over is seen, as a positive control shows: {said}.{others}"
    seen = (
        "; that pairs carried over would be seen, longer training shows."
        if late_sentence(found)
        else ", so that the method may be blind to one."
    )
    return (
        f" No arm that was meant to make a rule of the numbers, as a positive control, has made one: of {len(best)} arms "
        f"the best gives {best['held'].max():.2f} of the pairs held out{seen}"
    )


def late_sentence(found: Found) -> str:
    """What the head carries over after the longest training and not before; empty where that has not been run, or nothing is.

    A part counts if in every seed its share is above that of every short run, and the mean is too high for a table. Where
    experiment 14 has been run, its new seeds have the last word.
    """
    longest = PROLONGED[-1]
    if found.seeds_of.get(longest, 0) < found.seeds_announced or not len(found.generalisation):
        return ""
    rows = found.generalisation.set_index(["arm", "part", "by"])
    said = []
    for part in announced.arms()[longest]["hold_out"]:
        if not {(arm, part, "head") for arm in PROLONGED[::2]} <= set(rows.index):
            continue
        short, late, lists = (
            rows.loc[(arm, part, by)] for arm, by in ((PROLONGED[0], "head"), (longest, "head"), (longest, "list"))
        )
        if late["held"] > TABLE_BELOW and min(late["each"]) > max(short["each"]):
            said.append(
                f"the head gives {late['held']:.2f} of {PART_NAMES[part]} ({min(late['each']):.2f} to {max(late['each']):.2f} by seed; "
                f"after the short training {min(short['each']):.2f} to {max(short['each']):.2f}), and the model {lists['held']:.2f} in lists"
            )
    if not said:
        return ""
    claim = "Late in training the head begins to carry over"
    first = f"After {ARM_NAMES[longest][2:]}, of what was never shown in order, {'; '.join(said)}."
    return _with_new_seeds(found, "14", claim, first, partly="not confirmed")


def _with_new_seeds(found: Found, number: str, claim: str, first: str, *, partly: str) -> str:
    """A claim with what suggested it and what the experiment of this number, on seeds that nobody had looked at, made of it.

    `partly` is what becomes of the claim where the experiment came in part as expected.
    """
    (outcome,) = [outcome for outcome in found.outcomes if outcome.title.startswith(f"{number} ")]
    said = "exploratory; new seeds are announced"
    if outcome.key not in ("not_run", "waiting"):
        said = {"expected": "confirmed", "partly": partly}.get(outcome.key, "not confirmed") + " on new seeds"
    new = "" if outcome.key == "not_run" else f" New seeds: {outcome.said}"
    if outcome.key == "waiting":
        new = f" The new seeds so far, of which some are still to come: {outcome.said}"
    return f"**{claim}: {said}.** {first}{new}"


def _digit_sentence(found: Found) -> str:
    """What answers to numbers held out keep of the digit, in heads that give the neighbours; empty where that is little.

    Where experiment 18 has been run, its new seeds have the last word.
    """
    longer, longest = (PROLONGED[1], CONFIRMING[0]), (PROLONGED[2],)
    each = {arms: digit_of_counting_heads(found.digits, *arms) for arms in (longer, longest)}
    if any(len(its) < FEWEST_HEADS for its in each.values()) or not each[longest].mean() > DIGIT_BY_RULE:
        return ""
    without = digit_of_counting_heads(found.digits, CONFIRMING[1])
    first = (
        f"Of numbers held out, heads that give their neighbours answer with the last digit of the successor in {each[longer].mean():.2f} of cases "
        f"after 3 times the steps ({len(each[longer])} heads) and in {each[longest].mean():.2f} after 12 times ({len(each[longest])}); "
        f"a guess has {CHANCE_OF_DIGIT:.2f}"
        + (f", without decimals they have {without.mean():.2f} ({len(without)})" if len(without) else "")
        + "."
    )
    return "\n\n" + _with_new_seeds(
        found, "18", "The digit goes by rule, the decade does not", first, partly="confirmed in part"
    )


def _tens_sentence(found: Found, earlier: Earlier | None) -> str:
    """Whether the head needs the tens; empty where the arm without decimals has not been run."""
    table, which = tens_of(found, earlier)
    ten = table[table["modulus"] == 10].groupby("arm")[["accuracy", "numbers"]].mean()
    if not {"full", "no-decimals"} <= set(ten.index):
        return ""
    full, without = ten.loc["full"], ten.loc["no-decimals"]
    needs = without["numbers"] < full["numbers"] - 0.05
    return (
        f"\n\n**{'Fewer numbers without the tens' if needs else 'A head can do without the tens'}** ({which}): without text that composes numbers a probe reads the "
        f"last digit in {without['accuracy']:.2f} of cases (with it: {full['accuracy']:.2f}), and the head gives "
        f"{without['numbers']:.2f} of the numbers' successors (with it: {full['numbers']:.2f}). Whether a head uses the tens where they are there is another question."
    )


# --- what is drawn -----------------------------------------------------------------------------------


def _awaited(found: Found, arms: Sequence[str], what: str) -> Markdown:
    """In place of a figure of arms that have not been run."""
    return Markdown(
        f"*{what}: announced, and not run yet (seeds there: {', '.join(f'`{arm}` {found.seeds_of.get(arm, 0)}' for arm in arms)} "
        f"of {found.seeds_announced}).*"
    )


def _seeds_said(found: Found, arms: Iterable[str]) -> str:
    """How many seeds there are of what was announced, for the details of a figure."""
    each = {arm: found.seeds_of.get(arm, 0) for arm in arms}
    return "Seeds: " + ", ".join(f"{arm} {n} of {found.seeds_announced}" for arm, n in each.items()) + "."


def draw_generalisation(found: Found, arm: str = "parts") -> Drawing | Markdown:
    """Shares of an arm's parts, held out and seen, with intervals over seeds: one panel a measure."""
    rows = _of(found.generalisation, [arm])
    if not len(rows):
        return _awaited(found, [arm], "Pairs held out")
    figs, axes = figures.panels(len(MEASURES), height=2.7)
    for ax, by in zip(axes, MEASURES):
        its = rows[rows["by"] == by].reset_index(drop=True)
        for offset, which, color in ((0.16, "held", "orange"), (-0.16, "seen", "blue")):
            _with_interval(ax, its, which, its.index + offset, color)
        for place, each in enumerate(its["each"]):
            ax.scatter(each, [place + 0.3] * len(each), s=9, color=PALETTE["orange"], alpha=0.6, linewidths=0)
        ax.set_yticks(its.index, [PART_NAMES.get(part, part) for part in its["part"]])
        ax.set(
            xlim=(-0.03, 1.03),
            ylim=(len(its) - 0.5, -0.5),
            title={"head": "the head", "list": "the model, in lists"}[by],
        )
        ax.set_xlabel("share of successors right")
    axes[1].plot([], [], "o", color=PALETTE["orange"], label="never in order")
    axes[1].plot([], [], "o", color=PALETTE["blue"], label="seen in order")
    axes[1].legend(loc="lower center", bbox_to_anchor=(0.52, 0.0))
    most, learned = rows["held"].max(), rows[~rows["verdict"].isin(["waiting", "not_learned"])]
    of_seen = (
        f"; of those seen in order {learned['seen'].min():.2f} or more, in the {len(learned)} of {len(rows)} rows in which they are shown to be learned"
        if len(learned) else ""
    )  # fmt: skip
    return Drawing(
        figs,
        alt=f"Dots with intervals: the share of successors right, of pairs that the text never gives in order ({rows['held'].min():.2f} to {most:.2f}) and of pairs that it gives{of_seen}.",
        caption=f"Of successors that the text never gives in order at most {most:.2f} are right{of_seen}.",
        details=f"{_seeds_said(found, dict.fromkeys((arm, 'full')))} Large dots: means over seeds with intervals over seeds, widened for {FAMILY[arm]} verdicts (Bonferroni); small ones: the seeds. "
        "Seen in order: of the numbers the neighbours below and above, of the months the other seven, in the same model; of letters and Roman numerals the same pairs in the arm `full`, once it has been run."
        "\n\n" + "; ".join(_counted(row) for row in rows.itertuples()) + ".",
    )


def _with_interval(ax, rows: pd.DataFrame, which: str, places, color: str) -> None:
    """Dots of a share with its interval; none where nothing is known."""
    low, high = rows[which] - rows[f"{which}_low"], rows[f"{which}_high"] - rows[which]
    ax.errorbar(rows[which], places, xerr=np.clip([low, high], 0, None), fmt="o", markersize=5, color=PALETTE[color])


def _counted(row) -> str:
    return f"{PART_NAMES.get(row.part, row.part)}, {MEASURE_NAMES[row.by]}: {row.held:.2f} ({row.held_low:.2f} to {row.held_high:.2f}), {VERDICTS[row.verdict]}"


def draw_outcomes(found: Found) -> Table:
    """Each announced experiment: what was asked, what was expected, and what it came to so far."""
    keys = {
        "not_run": "not run", "waiting": "waiting", "expected": "as expected", "partly": "in part",
        "otherwise": "not as expected", "open": "open",
    }  # fmt: skip
    rows = [
        (
            outcome.title.partition(" ")[2] + (f" (added {outcome.added})" if outcome.added else ""),
            outcome.expectation,
            f"{keys[outcome.key]} ({outcome.seeds} of {found.seeds_announced} seeds)",
            outcome.said or "–",
        )
        for outcome in found.outcomes
    ]
    date = announced.committed() or announced.experiments()["registered"].isoformat()
    n_settled = sum(outcome.key not in ("not_run", "waiting") for outcome in found.outcomes)
    n_added = sum(outcome.added is not None for outcome in found.outcomes)
    return Table(
        pd.DataFrame(rows, columns=["experiment", "expected", "came to", "numbers so far"]),
        caption=f"What was announced on {date}, before the first run, and what has come of it: {n_settled} of {len(rows)} experiments have all their seeds. Added later, each before its own runs: {n_added}.",
        details="Rows that are open, or whose neighbours are not shown to be learned, have no say in what an experiment came to. "
        + " ".join(f"{outcome.title}: {outcome.question}" for outcome in found.outcomes),
    )


def draw_arms(found: Found, by: str = "head") -> Table | Markdown:
    """The generalisation table: arms that hold out the same four parts, by one measure."""
    parts = announced.arms()["parts"]["hold_out"]
    arms = [arm for arm, its in announced.arms().items() if its.get("hold_out") == parts]
    rows = _of(found.generalisation, arms)
    rows = rows[rows["by"] == by]
    if not len(rows):
        return _awaited(found, arms, "Pairs held out, arm by arm")
    cells = {
        f"{ARM_NAMES[arm]} ({its['seeds'].max()})": {
            PART_NAMES[row.part]: f"{row.held:.2f}; not learned ({row.seen:.2f})"
            if row.verdict == "not_learned"
            else f"{row.held:.2f} ({row.held_low:.2f}–{row.held_high:.2f})"
            + ("" if np.isnan(row.seen) else f"; {row.seen:.2f}")
            for row in its.itertuples()
        }
        for arm, its in rows.groupby("arm", sort=False)
    }
    frame = pd.DataFrame(cells).T.reindex(columns=[PART_NAMES[part] for part in parts]).rename_axis("text (seeds)")
    missing = [ARM_NAMES[arm].removeprefix("… ") for arm in arms if arm not in set(rows["arm"])]
    best = rows.loc[rows["held"].idxmax()]
    return Table(
        frame,
        caption=f"Share of successors never given in order that are right {MEASURE_NAMES[by]}, by what the text is like; behind the semicolon of those that were shown; "
        f"the highest is {best['held']:.2f}, of {PART_NAMES[best['part']]} {ARM_NAMES[best['arm']].removeprefix('… ')}.",
        details="Means over seeds with intervals over seeds, widened over the family of the experiment. Shown: the numbers beside the gap and the other months in the same model; "
        "of letters and Roman numerals the same pairs in models that read everything, in the short training. “Not learned”: even those are not shown to be above 0.80. "
        + ("" if (rows["verdict"] == "rule").any() else "No text of this table makes a rule of any part. ")
        + (f"Announced and not run yet: {', '.join(missing)}." if missing else ""),
    )


def draw_shapes(found: Found) -> Drawing | Markdown:
    """Numbers held out in several shapes, and in one kind of document alone: by the head and in lists."""
    arms = [*SHAPES[:2], *STEP_ALONE, *SHAPES[2:], *ELSEWHERE]
    rows = _of(found.generalisation, arms)
    rows = rows[rows["part"].str.startswith("numbers")] if len(rows) else rows
    if set(rows["arm"]) <= {"parts"}:
        return _awaited(found, arms[1:], "Other shapes of what is held out")
    shown = [arm for arm in arms if arm in set(rows["arm"])]
    figs, axes = figures.panels(len(MEASURES), height=0.9 + 0.3 * len(shown))
    names = {**ARM_NAMES, "parts": "19 pairs in a block"}
    for ax, by in zip(axes, MEASURES):
        its = rows[rows["by"] == by].set_index("arm").reindex(shown).reset_index()
        for offset, which, color in ((0.15, "held", "orange"), (-0.15, "seen", "blue")):
            _with_interval(ax, its, which, its.index + offset, color)
        ax.set_yticks(range(len(shown)), [names[arm] for arm in shown])
        ax.set(
            xlim=(-0.03, 1.03),
            ylim=(len(shown) - 0.5, -0.5),
            title={"head": "the head", "list": "the model, in lists"}[by],
        )
        ax.set_xlabel("share of successors right")
    blocks = rows[~rows["arm"].isin(ELSEWHERE)]
    controls = rows[rows["arm"].isin(ELSEWHERE)].groupby("arm", sort=False)["held"].agg(["min", "max"])
    control = "".join(f"; {names[row.Index]}: {row.min:.2f} to {row.max:.2f}" for row in controls.itertuples())
    chosen = "However the numbers are chosen, " if blocks["arm"].nunique() > 1 else "Of 19 pairs in a block "
    return Drawing(
        figs,
        alt="Dots with intervals: numbers held out and seen, by shape of what is held out. "
        + "; ".join(f"{names[row.arm]} {MEASURE_NAMES[row.by]} {row.held:.2f}" for row in rows.itertuples()),
        caption=f"{chosen}{blocks['held'].min():.2f} to {blocks['held'].max():.2f} of the numbers never in order are right{control}.",
        details=f"Orange: never in order; blue: seen. {_seeds_said(found, arms)} Lists are dropped whole, but where they are cut: scattered pairs take most lists from the pairs that are seen, too.",
    )


def maps_of(parts: Anatomy, lists: Mapping[str, ResolvedClass]) -> dict[str, Float[Tensor, "layer head read promoted"]]:
    """What every head makes of some lists as the model is now: canonical logits, each row around its mean."""
    return {
        task: torch.stack([maps.rows_centred(of_layer) for of_layer in _all_heads(parts, lists[task])])
        for task in MAPPED
        if task in lists
    }


def _all_heads(parts: Anatomy, resolved: ResolvedClass) -> list[Float[Tensor, "head read promoted"]]:
    """The canonical maps of a list, layer by layer."""
    x = ov_circuit.head_input(parts, resolved.token_ids)
    return [
        ov_circuit.effective_ov_logits(parts, x, resolved.token_ids, layer=layer).detach()
        for layer in range(parts.n_layers)
    ]


def _counted_in(map_: Float[Tensor, "read promoted"], resolved: ResolvedClass, held: Bool[Tensor, " pair"]) -> dict:
    """Of a head's map of a list: how many successors are right, and of how many, among pairs seen and held out."""
    right = scores.strict_argmax(map_[resolved.source]) == resolved.target
    return {name: (int(right[pairs].sum()), int(pairs.sum())) for name, pairs in (("seen", ~held), ("held", held))}


def draw_live(
    points: Sequence[tuple[int, Mapping[str, Any]]], lists: Mapping[str, ResolvedClass], recipe: Recipe
) -> Living:
    """The training that just ran: shares of the best head, of pairs seen and of those of the part held out; on the page its maps, too."""
    task = recipe.held_out[0].partition(":")[0]
    tokens = [step * recipe.batch * recipe.window / 1000 for step, _ in points]
    macro = [float(np.mean(list(shares["seen"].values()))) for _, shares in points]
    seen = [shares["seen"].get(task, np.nan) for _, shares in points]
    held = [shares["held"][task] for _, shares in points]
    fig, ax = figures.panel(height=2.8, width=figures.NARROW)
    for values, color, label in (
        (macro, "grey", "all lists, seen"), (seen, "blue", f"{list_name(task)}, seen"), (held, "orange", f"{list_name(task)}, never\nin order"),
    ):  # fmt: skip
        ax.plot(tokens, values, marker="o", markersize=4, color=PALETTE[color], label=label)
    ax.set(xlabel="thousand tokens read", ylabel="successors right", ylim=(-0.03, 1.03))
    figures.label_lines(ax)
    last = points[-1][1]
    head = (last["layer"], last["head"])
    still = Drawing(
        fig,
        alt=f"Lines against tokens read: pairs seen rise to {macro[-1]:.2f}, {list_name(task)} never in order stay between {min(held):.2f} and {max(held):.2f}.",
        caption=f"{name_of(head)} ends at {macro[-1]:.2f} of the pairs that it saw, a mean over lists, and at {held[-1]:.2f} of {list_name(task)} that it never saw in order.",
        details=f"One seed, two layers, lists and nothing else. {list_name(task).capitalize()} seen: {seen[-1]:.2f}. At step 0, before training: {macro[0]:.2f} and {held[0]:.2f}. The head is the best on pairs seen, chosen anew at each point.",
    )
    shown = [each for each in (task, *MAPPED) if each in last["maps"]]
    never = {each: succession.held_pairs(lists[each], recipe.parts_held_out) for each in shown}
    options = {
        "head": name_of(head),
        "lists": {
            each: {
                "name": list_name(each),
                "words": lists[each].words,
                "never": lists[each].source[never[each]].tolist(),
            }
            for each in shown
        },
        "points": [
            {
                "tokens": round(read, 1),
                "maps": {each: [[round(v, 1) for v in row] for row in shares["maps"][each][head].tolist()] for each in shown},
                "right": {each: _counted_in(shares["maps"][each][head], lists[each], never[each]) for each in shown},
            }
            for read, (_, shares) in zip(tokens, points)
        ],
    }  # fmt: skip  # a comprehension a line
    rows = [(f"{read:.0f}", all_, own, other) for read, all_, own, other in zip(tokens, macro, seen, held)]
    columns = ["thousand tokens", "all lists, seen", f"{list_name(task)}, seen", f"{list_name(task)}, never in order"]
    table = Table(pd.DataFrame(rows, columns=columns), caption="Share of successors right along the training.")
    return Living("growing", still, model=None, table=table, options=options)


def draw_last_digit(found: Found) -> Drawing | Markdown:
    """Of answers to numbers held out, how many have the right last digit: with decimals in the text and without."""
    table = found.last_digit
    if not len(table):
        return _awaited(found, ["parts", "parts-no-decimals"], "The last digit")
    longer = [arm for arm in (*PROLONGED[1:], LATE[0], *CONFIRMING) if arm in set(found.digits["arm"])]
    fig, ax = figures.panel(height=2.0 + 0.35 * len(longer), width=figures.NARROW)
    lists = table.set_index("by").loc["list"]
    names = {PROLONGED[0]: "the head", "parts-no-decimals": "the head, no decimals"}
    names |= {arm: f"the head, {ARM_NAMES[arm][2:]}" for arm in longer}
    lines = [
        (its["successor"], its["counts"].astype(bool), names[arm])
        for arm in names
        if len(its := found.digits[found.digits["arm"] == arm])
    ]
    lines[2:2] = [
        (each, [True] * len(each), said)
        for each, said in ((lists["each"], "in lists"), (lists["each_without"], "in lists, no decimals"))
    ]
    for place, (each, counts, name) in enumerate(lines):
        color = PALETTE["grey" if "no decimals" in name else "orange"]
        ax.scatter(
            each,
            [place] * len(each),
            s=28,
            facecolors=[color if yes else "none" for yes in counts],
            edgecolors=color,
            linewidths=1.2,
        )
    ax.axvline(CHANCE_OF_DIGIT, color=figures.INK, linewidth=1, linestyle=":")
    ax.set(
        xlim=(-0.03, 1.03), ylim=(len(lines) - 0.5, -0.5), xlabel="answers with the right last digit, one dot a seed"
    )
    ax.set_yticks(range(len(lines)), [name for *_, name in lines])
    said = {
        "trace": "more often than a guess and than without decimals", "none": "no more often than a guess",
        "open": "which the seeds do not settle", "waiting": "with seeds still to come",
    }  # fmt: skip
    head = table.set_index("by").loc["head"]
    counting = {arm: digit_of_counting_heads(found.digits, arm) for arm in longer}
    prolonged = "; ".join(
        f"{ARM_NAMES[arm][2:]} {its.mean():.2f} ({len(its)} of {found.seeds_of.get(arm, 0)} heads)"
        for arm, its in counting.items()
        if len(its)
    )
    last = f" Heads that give the neighbours, {prolonged}." if prolonged else ""
    return Drawing(
        fig,
        alt="Dots, one a seed: " + "; ".join(f"{name} {np.mean(each):.2f}" for each, _, name in lines),
        caption=f"The head's answer to a number held out has the right last digit in {head['share']:.2f} of cases, {said[head['verdict']]}.{last}",
        details=f"Dotted: a guess, .10. Filled: heads that give at least {COUNTS_ABOVE:.2f} of the neighbours; hollow: heads that do not count numbers so well, of which a digit says little. That heads are told apart so was thought of after the results. " + " ".join(
            f"{MEASURE_NAMES[row.by].capitalize()}: {row.share:.2f} with decimals, {row.without:.2f} without; against chance p = {row.p_chance:.2g}, against the text without p = {row.p_without:.2g}: {said[row.verdict]}."
            for row in table.itertuples()
        ) + f" One-sided t over {int(head['seeds'])} seeds, paired by seed between arms, Holm over four tests.",
    )  # fmt: skip


def draw_along(found: Found) -> Drawing | Markdown:
    """Pairs held out along the training, as short as the others and prolonged: does a rule come late?"""
    table = found.along[found.along["arm"].isin(PROLONGED)]
    if not len(table):
        return _awaited(found, PROLONGED, "Pairs held out along the training")
    mean = table.groupby(["arm", "part", "tokens"], as_index=False)[["held", "seen"]].mean()
    longest = [arm for arm in PROLONGED if arm in set(mean["arm"])][-1]
    fig, ax = figures.panel(height=2.9, width=figures.NARROW)
    its = mean[mean["arm"] == longest]
    numbers = its[(its["part"] == "numbers:130-149") & (its["tokens"] > 0)]
    ax.plot(numbers["tokens"] / 1e6, numbers["seen"], color=PALETTE["blue"], label="numbers seen")
    for part, color in (("numbers:130-149", "orange"), ("months:7-12", "green"), ("letters", "violet")):
        line = its[(its["part"] == part) & (its["tokens"] > 0)]
        ax.plot(line["tokens"] / 1e6, line["held"], color=PALETTE[color], label=PART_NAMES[part])
    ax.set(xscale="log", xlabel="million tokens read", ylabel="successors right, by the head", ylim=(-0.03, 1.03))
    figures.label_lines(ax)
    knows = numbers[numbers["seen"] > 0.5]["tokens"].min()  # NaN where that never is
    then = its[its["tokens"] == knows]["held"].max()
    came = (
        f"Half of the numbers that were read are known after {knows / 1e6:.1f} million tokens, when of no part held out more than {then:.2f} is right. "
        if knows == knows
        else ""
    )
    ends = its[its["tokens"] == its["tokens"].max()]
    each = "; ".join(f"{PART_NAMES[row.part]} {row.held:.2f}" for row in ends.itertuples())
    missing = [ARM_NAMES[arm].removeprefix("… ") for arm in PROLONGED if arm not in set(mean["arm"])]
    awaited = f" Announced and not run yet: {', '.join(missing)}." if missing else ""
    return Drawing(
        fig,
        alt=f"Lines against tokens read: seen numbers rise to {ends['seen'].max():.2f}, parts held out end between {ends['held'].min():.2f} and {ends['held'].max():.2f}.",
        caption=f"{came}After {its['tokens'].max() / 1e6:.1f} million tokens: {each}.",
        details=f"The longest training so far: `{longest}`. {_seeds_said(found, PROLONGED)}{awaited} The head is the best on pairs seen, chosen anew at each point.",
    )


def draw_whereabouts(found: Found) -> Table | Markdown:
    """After longer training, run by run: which head gives the numbers that were read, and whether the model does."""
    table = found.whereabouts
    longer, short = table[table["arm"] != PROLONGED[0]], table[table["arm"] == PROLONGED[0]]
    if not len(longer):
        return _awaited(found, [*PROLONGED[1:], *CONFIRMING], "Longer training")
    lost = longer[longer["numbers"] < 0.5]
    beside = f" and in {(short['numbers'] < 0.5).sum()} of {len(short)} short ones," if len(short) else ""
    rows = [
        (
            f"{ARM_NAMES[row.arm].removeprefix('… ')}, seed {row.seed}", row.lists, f"{row.head} {row.macro:.2f}, {row.numbers:.2f}",
            f"{row.other} {row.any:.2f}", f"{row.on} {row.embedding:.2f}",
        )
        for row in table.itertuples()
    ]  # fmt: skip  # one row of a table
    columns = [
        "training",
        "numbers in lists",
        "best head: macro, numbers",
        "best for numbers",
        "on the embedding: macro",
    ]
    return Table(
        pd.DataFrame(rows, columns=columns),
        caption=(
            f"In {len(lost)} of {len(longer)} prolonged runs{beside} the head with the best macro gives fewer than half of the numbers "
            f"that the text gave in order; the prolonged models write {longer['lists'].min():.2f} or more of them in lists."
        ),
        details=(
            f"Exploratory. Prolonged runs of these in which another head gives half or more: {(lost['any'] >= 0.5).sum()}. Prolonged runs "
            "in which a head scores higher on the bare embedding, all there is to read in block 0, than any head does on what MLP0 "
            f"writes: {(longer['embedding'] > longer['macro']).sum()}. Numbers are those not held out; a macro is that of chapter 1, "
            "over all eight classes, held out or not."
        ),
    )


def draw_dose(found: Found, earlier: Earlier) -> Drawing:
    """How much counting text a head needs, where that has been run, and when heads rose here and in the paper's Pythias."""
    has_dose = len(found.dose) > 1
    figs, axes = figures.panels(1 + has_dose, height=3.0)
    said = "The dose of counting text was announced and has not been run yet"
    if has_dose:
        ax, table = axes[0], found.dose
        places = np.arange(len(table))
        for place, row in zip(places, table.itertuples()):
            ax.scatter([place] * len(row.each), row.each, s=22, color=PALETTE["blue"], alpha=0.7, linewidths=0)
        ax.plot(places, table["macro"], color=figures.INK, linewidth=1.2, label="with other text")
        ax.plot(
            places,
            table["undiluted"],
            color=PALETTE["orange"],
            linewidth=1.2,
            linestyle="--",
            label="as much, nothing else",
        )
        ax.axhline(0.5, color=PALETTE["grey"], linewidth=1, linestyle=":", label="_line")
        ax.legend(loc="upper right")
        ax.set_xticks(places, [f"{share:g}" for share in table["share"]])
        ax.set(xlabel="share of counting text", ylabel="macro of the best head", ylim=(0, 1.03), title="by dose")
        by_share = "; ".join(f"{row.share:g}: {row.above_half} of {row.seeds}" for row in table.itertuples())
        said = f"Seeds with a head above one half, by share of counting text: {by_share}"
    ax = axes[-1]
    for line in _rises(earlier.rise):
        ax.plot(line["tokens"], line["macro"], color=PALETTE[line["color"]], linewidth=1.4, label=line["label"])
    ax.axhline(0.5, color=PALETTE["grey"], linewidth=1, linestyle=":", label="_line")
    ax.set(xscale="log", xlabel="tokens read", ylim=(0, 1.03), title="by tokens")
    ax.set_ylabel("best head" if has_dose else "score of the best head")
    figures.label_lines(ax)
    theirs = f"in the paper's Pythias after {_span(_pythia_passes_half(), 1e9, 0)} billion"
    ours = _passes_half(earlier.rise)
    came = (
        f"on text that counts the head comes after {_span(ours, 1e6, 1)} million tokens, " if ours else "a head comes "
    )
    by_dose = " ".join(
        f"{row.share:g}: {row.macro:.2f} ({row.low:.2f} to {row.high:.2f}; as much counting text and nothing else, which is exploratory: {row.undiluted:.2f}), a pair in order in {row.in_order:.0f} documents in the median."
        for row in found.dose.itertuples()
    )
    return Drawing(
        figs,
        alt=f"Score of the best head against tokens read, one line a run: {came}{theirs}.",
        caption=f"{said}; {came}{theirs}.",
        details="Comes: the first measurement above one half. Ours: macro, canonical convention, everything in the text, sizes above tiny, two matrices. "
        "The paper's: its own score (Figure 18 of version 1, read from the coordinates of its points), a step of Pythia being 1,024 sequences of 2,048 tokens. The two scores differ (chapter 1), the scale of tokens does not. "
        + by_dose
        + (f" Spearman of share and macro over runs: {dose_trend(found.dose):+.2f}." if has_dose else ""),
    )


def _span(tokens: Sequence[int], unit: float, digits: int) -> str:
    return f"{min(tokens) / unit:.{digits}f} to {max(tokens) / unit:.{digits}f}"


def _rises(rise: pd.DataFrame) -> list[dict[str, Any]]:
    """Lines of the rise: one a family of ours, means over its runs, and the paper's three Pythias."""
    names = {"pythia": ("our Pythias", "blue"), "gpt2": ("our GPT-2", "orange"), "llama": ("our Llamas", "green")}
    lines = []
    for family, (label, color) in names.items():
        its = rise[(rise["family"] == family) & (rise["tokens"] > 0)]
        for number, (_, run) in enumerate(its.groupby("run", sort=False)):
            lines.append(
                {
                    "tokens": run["tokens"],
                    "macro": run["macro"],
                    "color": color,
                    "label": f"_{number}" if number else label,
                }
            )
    steps = np.array(reported.read()["figure_18a"]["steps"]) * TOKENS_A_STEP_OF_PYTHIA
    for number, name in enumerate(("pythia-70m", "pythia-1.4b", "pythia-2.8b")):
        label = "_paper" if number else "the paper's\nPythias"
        lines.append({"tokens": steps, "macro": reported.read()["figure_18a"][name], "color": "violet", "label": label})
    return lines


def _passes_half(rise: pd.DataFrame) -> list[int]:
    """Tokens at which each run first stands above one half."""
    above = rise[rise["macro"] > 0.5]
    return [int(tokens) for tokens in above.groupby("run")["tokens"].min()]


def _pythia_passes_half() -> list[int]:
    figure = reported.read()["figure_18a"]
    return [
        next(step for step, score in zip(figure["steps"], figure[name]) if score > 0.5) * TOKENS_A_STEP_OF_PYTHIA
        for name in ("pythia-70m", "pythia-1.4b", "pythia-2.8b")
    ]


def draw_tens(found: Found, earlier: Earlier) -> Drawing | Markdown:
    """What text makes residues readable in MLP0, and what the head makes of the numbers with them and without."""
    table, which = tens_of(found, earlier)
    arms = [arm for arm in TENS if arm in set(table["arm"])]
    if not arms:
        return _awaited(found, TENS, "What makes the tens")
    figs, (left, right) = figures.panels(2, height=0.34 * len(arms) + 1.5)
    colors = {10: "blue", 8: "orange", 12: "green", 7: "grey"}
    for place, arm in enumerate(arms):
        its = table[table["arm"] == arm]
        for modulus, color in colors.items():
            values = its.loc[its["modulus"] == modulus, "accuracy"]
            left.scatter(
                values,
                [place] * len(values),
                s=22,
                color=PALETTE[color],
                alpha=0.8,
                linewidths=0,
                label=f"mod {modulus}" if not place else None,
            )
        numbers = its.drop_duplicates("seed")["numbers"]
        right.scatter(numbers, [place] * len(numbers), s=22, color=PALETTE["red"], alpha=0.8, linewidths=0)
    for ax, label in ((left, "probe's accuracy on MLP0"), (right, "numbers right, by the head")):
        ax.set_yticks(range(len(arms)), [ARM_NAMES[arm] for arm in arms])
        ax.set(xlim=(-0.03, 1.03), ylim=(len(arms) - 0.5, -0.9), xlabel=label)
    left.legend(loc="upper right", bbox_to_anchor=(1.0, 0.9), handletextpad=0.1)
    mean = table.groupby(["arm", "modulus"])["accuracy"].mean()
    numbers = table.drop_duplicates(["arm", "seed"]).groupby("arm")["numbers"].mean()
    awaited = [ARM_NAMES[arm] for arm in TENS if arm not in arms]
    own = "; ".join(
        f"mod {base} in base {base} {mean[arm, base]:.2f}"
        for arm, base in COMPOSED.items()
        if (arm, base) in mean.index
    )
    return Drawing(
        figs,
        alt="Dots, one a seed. Probe mod 10: " + "; ".join(f"{ARM_NAMES[arm]} {mean[arm, 10]:.2f}" for arm in arms) + f". {own}. Numbers right: " + "; ".join(f"{ARM_NAMES[arm]} {numbers[arm]:.2f}" for arm in arms),
        caption=f"Text that composes numbers makes residues readable in its own base ({own}), and the head gives {numbers.min():.2f} to {numbers.max():.2f} of the numbers with them and without.",
        details=("These runs were announced. " if which == "announced" else "Exploratory: these runs are older than the announcement; some seeds were added after a look. ")
        + "Mod 10: " + "; ".join(f"{ARM_NAMES[arm]} {mean[arm, 10]:.2f}" for arm in arms)
        + ". Mod 7, the control: " + "; ".join(f"{mean[arm, 7]:.2f}" for arm in arms)
        + f". One dot a seed, {table.drop_duplicates(['arm', 'seed']).groupby('arm').size().min()} or more an arm. Bases 8 and 12 are a positive control: the numerals stay decimal tokens, and only the text says otherwise."
        + (f" Announced and not run yet: {', '.join(awaited)}." if awaited else ""),
    )  # fmt: skip


def draw_residues(table: pd.DataFrame | None, name: str, runs: Runs) -> Drawing | Markdown:
    """Where the last digit can be read: by source, mod 10 with mod 7 as the control, in a model and in the runs of `parts`."""
    if table is None:
        return Markdown(f"*{name} writes too few numbers as one token for a probe of residues.*")
    recorded = [
        pd.DataFrame(run["residues"])
        for key, run in runs.items()
        if announced.run_of(key)[0] == "parts" and "residues" in run
    ]
    sources = {
        "mlp0": "MLP0",
        "embedding": "bare embedding",
        "unembedding": "unembedding",
        "random mlp": "a random MLP\non the embedding",
    }
    fig, ax = figures.panel(height=2.6, width=figures.NARROW)
    rows = table.set_index(["modulus", "source"])
    for offset, modulus, color in ((-0.17, 10, "blue"), (0.17, 7, "grey")):
        its = rows.loc[modulus].loc[list(sources)]
        places = np.arange(len(its)) + offset
        ax.barh(places, its["accuracy"], height=0.32, color=PALETTE[color], label=f"mod {modulus}")
        ax.hlines(places, its["low"], its["high"], color=figures.INK, linewidth=1.3)
    ax.set_yticks(range(len(sources)), list(sources.values()))
    ax.set(xlim=(0, 1.02), ylim=(len(sources) - 0.5, -0.5), xlabel="numbers whose residue is read")
    ax.legend(loc="lower right")
    ten = rows.loc[10]["accuracy"]
    others = ""
    if recorded:
        means = pd.concat(recorded).groupby(["source", "modulus"])["accuracy"].mean()
        others = "; ".join(
            f"{label.replace(chr(10), ' ')} {means[source, 10]:.2f}" for source, label in sources.items()
        )
    return Drawing(
        fig,
        alt=f"Bars: {name}, mod 10: " + "; ".join(f"{sources[source]} {ten[source]:.2f}" for source in sources).replace("\n", " "),
        caption=f"In {name} a probe reads the last digit of {ten['mlp0']:.2f} of the numbers from MLP0, and of {ten['embedding']:.2f} from the bare embedding.",
        details=f"Ridge probes on numbers held out, each with the penalty that suits its source, found in an inner cross-validation; {int(rows['n'].iloc[0])} numbers, 95% Wilson intervals. Mod 7 is the control."
        + (f" Mod 10 in {len(recorded)} announced runs of `parts`, means: {others}." if recorded else ""),
    )  # fmt: skip


def draw_helped(earlier: Earlier) -> Table | Markdown:
    """What was helped so that one head would count, and what came without the help."""
    if not len(earlier.helped):
        return Markdown("*The runs with and without help are not there: grow them with `make grown`.*")
    table, read = earlier.helped, earlier.rise.groupby("run")["tokens"].max()
    least = table.loc[table["without"].idxmin()]
    tokens = ", ".join(f"grown/{name} {read[name] / 1e6:.1f}" for name in SHIPPED if name in read)
    return Table(
        table,
        caption=f"What was helped, and why: the best head's macro with the help and without; {least['family']} without it has {least['without']:.2f}, Pythia had none.",
        details=f"One seed each, and chosen after a look: an account of what we did, and no law. The first two rows are models of two layers (the GPT-2s with one matrix), the last of four. Million tokens read by the shipped models: {tokens}.",
    )


def draw_seen(found: Found, shipped: Mapping[str, Mapping[str, Any]]) -> Table | Markdown:
    """The share of evaluation documents and prompts that stand word for word in the training text, by arm and model."""
    if not len(found.seen):
        return _awaited(found, ["parts"], "What was seen before")
    rows = [
        (ARM_NAMES.get(row.arm, row.arm).removeprefix("… "), row.documents, row.prompts, row.prompts_held)
        for row in found.seen.itertuples()
    ]
    for name, text in shipped.items():
        flags = [flag for its in text["prompts_seen"].values() for frame in its.values() for flag in frame.split()]
        rows.append((f"`grown/{name}`", text["evaluated_seen"], flags.count("1") / len(flags), np.nan))
    return Table(
        pd.DataFrame(rows, columns=["text", "documents", "prompts of pairs seen", "prompts of pairs held out"]),
        caption=f"Share that stands word for word in the training text: of prompts of pairs held out {found.seen['prompts_held'].max():.2f} at most.",
        details="Documents: generated from another seed, on which losses are measured. Prompts: with their answers, in every frame. Of the models that come with the book the generated text alone is searched, not what they read of docstrings and books.",
    )


def draw_claims(earlier: Earlier) -> Table | Markdown:
    """What an earlier edition of the chapter claimed of these texts, by the standard of this one."""
    table = earlier.sharing.pivot_table(index="seed", columns="arm", values="read")
    arms = [arm for arm in ("no-crossrefs", "no-interchange", "no-crossrefs-no-interchange") if arm in table]
    if "full" not in table or not arms:
        return Markdown("*The earlier runs are not there: grow them with `make grown`.*")
    rows, p_values = [], []
    for arm in arms:
        pairs = table[["full", arm]].dropna()
        p_values.append(_p(ttest_rel(pairs["full"], pairs[arm]).pvalue))
        rows.append((arm.replace("-no-", " and no-"), len(pairs), pairs["full"].mean(), pairs[arm].mean()))
    frame = pd.DataFrame(rows, columns=["left out", "seeds", "words read, everything", "words read without"])
    frame["p, Holm"] = intervals.holm(p_values)
    n = int((frame["p, Holm"] < 0.05).sum())
    return Table(
        frame,
        caption=f"Words of other lists whose index mod 10 a probe of the numbers reads: paired by seed, {n} of {len(frame)} differences are left after correction.",
        details="Two-sided paired t over seeds, Holm over the three. Exploratory: two seeds of the first row were added after a look (p = .11), which makes its p too small. A probe by mod 7 was not stored with these runs, so that how much of the reading is chance is known from the arms without decimals alone.",
    )


def compared(found: Found, earlier: Earlier) -> Markdown:
    """As the paper reports, as we measured: recurrence, formation, tens, and what the paper did not ask."""
    ours, theirs = _passes_half(earlier.rise), _pythia_passes_half()
    helped, (table, which) = earlier.helped, tens_of(found, earlier)
    without = (
        f"; without its help {helped.loc[helped['without'].idxmin(), 'family']} has {helped['without'].min():.2f}"
        if len(helped)
        else ""
    )
    best = earlier.rise.groupby("run")["macro"].last()
    lines = []
    if ours:
        lines += [
            f"- **Recurrence.** Reported: successor heads in GPT-2, Pythia and Llama-2 {{cite:p}}`gould2024successor`. Here: the best head of {len(best)} models scores {best.min():.2f} to {best.max():.2f}{without}.",
            f"- **Formation.** Reported: gradual, no phase change; above one half after {_span(theirs, 1e9, 0)} billion tokens of the Pile. Here: after {_span(ours, 1e6, 1)} million tokens, most of which count. Our measurements are too far apart to tell steep from sudden.",
        ]
    if len(table):
        ten = table[table["modulus"] == 10].groupby("arm")[["accuracy", "numbers"]].mean()
        arm = "no-decimals" if "no-decimals" in ten.index else ten.index[0]
        lines.append(
            f"- **Tens.** Reported: the head reads features of the index mod 10. Here ({which}): where the text composes no numbers the probe reads {ten.loc[arm, 'accuracy']:.2f}, and the head gives {ten.loc[arm, 'numbers']:.2f} of the numbers all the same."
        )
    lines.append("- **Rule or table.** Not asked in the paper. Here: the verdict at the top of this page.")
    return Markdown("\n".join(lines))


# --- the record --------------------------------------------------------------------------------------


def record(
    found: Found,
    earlier: Earlier,
    *,
    name: str,
    live: Sequence[tuple[int, Mapping[str, Any]]],
    where: pd.DataFrame | None,
) -> dict[str, Any]:
    """The chapter's record: shares of what was held out, the tens, the live training and where the residue is.

    What was announced is a finding once all its seeds are there; until then it stands in the tables alone.
    """
    finding = records.finding
    last = live[-1][1]
    findings = {
        "earlier_runs": finding(earlier.n_runs),
        "live_seen": finding(np.mean(list(last["seen"].values()))),
        "live_held": finding(np.mean(list(last["held"].values()))),
        "live_seen_at_start": finding(np.mean(list(live[0][1]["seen"].values()))),
    }
    rows = _of(found.generalisation, ["parts"])
    for row in rows[rows["verdict"] != "waiting"].itertuples():
        key = f"{row.part.partition(':')[0]}_{row.by}"
        findings[f"held_{key}"] = finding(row.held, low=row.held_low, high=row.held_high, n=row.seeds)
        if not np.isnan(row.seen):
            findings[f"seen_{key}"] = finding(row.seen, low=row.seen_low, high=row.seen_high, n=row.seeds)
    late = _of(found.generalisation, [PROLONGED[-1]])
    for row in late[late["seeds"] == found.seeds_announced].itertuples() if len(late) else ():
        key = f"late_{row.part.partition(':')[0]}_{row.by}"
        findings[key] = finding(row.held, low=row.held_low, high=row.held_high, n=row.seeds)
    for row in found.dose.itertuples():
        if row.seeds == found.seeds_announced:
            findings[f"dose_{row.share:g}"] = finding(row.macro, low=row.low, high=row.high, n=row.seeds)
    whole = found.last_digit[found.last_digit["verdict"] != "waiting"] if len(found.last_digit) else found.last_digit
    for row in whole.itertuples():
        findings[f"last_digit_{row.by}"] = finding(row.share, n=row.seeds)
        findings[f"last_digit_{row.by}_no_decimals"] = finding(row.without, n=row.seeds)
    table, _ = tens_of(found, earlier)
    for (arm, modulus), accuracy in table.groupby(["arm", "modulus"])["accuracy"]:
        findings[f"mod_{modulus}_{arm}"] = finding(accuracy.mean(), n=len(accuracy))
    for arm, numbers in table.drop_duplicates(["arm", "seed"]).groupby("arm")["numbers"]:
        findings[f"numbers_{arm}"] = finding(numbers.mean(), n=len(numbers))
    if where is not None:
        for row in where.itertuples():
            key = f"residue_{row.source.replace(' ', '_')}_{row.modulus}"
            findings[key] = finding(row.accuracy, low=row.low, high=row.high, n=row.n)
    outcomes_ = [
        {"experiment": its.title, "seeds": its.seeds, "key": its.key, "said": its.said} for its in found.outcomes
    ]
    tables = {
        "verdict": pd.DataFrame({"key": [verdict(found, earlier).key]}),
        "outcomes": pd.DataFrame(outcomes_),
        "generalisation": found.generalisation.drop(columns="each", errors="ignore"),
        "seen": found.seen,
    }
    return records.chapter_record(name, CHAPTER, findings=findings, tables=tables)
