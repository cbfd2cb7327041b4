"""Chapter 4 asks models that were grown otherwise whether edits of numbers succeed there.

::

    python -m successor_heads.studies.better_subjects _build/grown/succession/*    # measures them, writes the evidence
    found = better_subjects.found(better_subjects.stored())
    better_subjects.verdict(found).key              # "none": nothing that was tried makes a better subject

What was expected, and what counts as better, stands in ``better_subjects.yml``, which was committed before the first edit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
import torch
import yaml
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from transformers.models.auto.tokenization_auto import AutoTokenizer

from successor_heads import anatomy, figures, files, intervals, ordinals, reported, scores
from successor_heads.behaviours import EVIDENCE
from successor_heads.errors import told
from successor_heads.figures import PALETTE, Drawing, Table
from successor_heads.growing import announced
from successor_heads.studies import Verdict, listed
from successor_heads.studies.vector_arithmetic import (
    MEANS,
    RANDOM,
    SAE,
    SHUFFLED,
    Vectors,
    edit_head,
    made_of,
    push_sets,
    sae_features,
)

RULES: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf8"))
FILE = EVIDENCE / "better-subjects.json"
SCHEMA = 1
WORDS = ("number_words", "ordinal_words", "days", "day_prefixes", "month_prefixes")  # of which no arm holds a pair out
EDITED_BELOW = 130  # numbers from here on are held out of some arms
FEWEST_SEEDS = 4
MARGIN: float = RULES["margin"]
EXPECTED_CORRELATION = -0.5  # or less, as announced under `memory`
# Arms that were looked at together after the fact: three times the steps, in the seeds of two experiments; without decimals; usual.
LONGER, LONGER_WITHOUT, USUAL = ("parts-long", "parts-long-again"), "parts-long-no-decimals", "full"
ARM_NAMES = {
    "full": "the usual", "no-decimals": "no decimals", "no-endings": "decimals that only compose",
    "no-compositions": "decimals that only end", "base8": "decimals in eights", "base12": "decimals in twelves",
    "dose-0.3": "0.3 of it generated", "parts-long": "3 times the steps", "parts-very-long": "12 times the steps",
    "parts-long-again": "3 times, new seeds", "parts-long-no-decimals": "3 times, no decimals", "parts-small": "a larger network",
}  # fmt: skip  # one name an arm


@dataclass(frozen=True)
class Arm:
    """Exact upward edits of numbers in one arm, and with random directions: one share a seed, their mean and its t interval."""

    name: str
    each: dict[int, float]
    random: dict[int, float]
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two arms paired by seed: the mean difference, its widened interval, and what that comes to by the announced rule.

    `shares` are the means of the two arms over the seeds that both have.
    """

    what: str
    with_: str
    without: str
    expected: str
    seeds: int
    shares: tuple[float, float]
    mean: float
    low: float
    high: float

    @property
    def key(self) -> str:
        """ "better", "no_better", "worse", "open"; "too_few" seeds whose head counts numbers."""
        if self.seeds < FEWEST_SEEDS:
            return "too_few"
        if self.low > 0 and self.mean >= MARGIN:
            return "better"
        if self.high < 0 and self.mean <= -MARGIN:
            return "worse"
        return "no_better" if self.high < MARGIN else "open"


@dataclass(frozen=True)
class Memory:
    """Over all models: how the share of edits that succeed goes with what is each number's own."""

    correlation: float
    p_value: float
    n: int


@dataclass(frozen=True)
class Found:
    """What was found of models grown otherwise."""

    arms: list[Arm]
    comparisons: list[Comparison]
    memory: Memory
    models: dict[str, dict[str, Any]]


# --- what is measured -------------------------------------------------------------------------------


def measure(folder: Path, *, seed: int = 0, n_draws: int = RULES["draws"]) -> dict[str, Any]:
    """The edits of a grown model's best head, and what its numbers are made of: shares as [right, of]."""
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    parts = anatomy.of(module)
    every = ordinals.resolve(AutoTokenizer.from_pretrained(folder))
    classes = {task: every[task] for task in (*WORDS, "numbers") if len(every[task].source)}
    scored = scores.score_heads(parts, classes)
    vectors = Vectors.of(parts, classes, scored.best)
    sae, _ = sae_features(vectors, seeds=range(seed, seed + n_draws))
    edited = edit_head(vectors, push_sets(vectors, sae, seed=seed, n_draws=n_draws))
    edits, known = edited.edits("numbers"), edited.known["numbers"]
    low = edits.index[edits.source] < EDITED_BELOW
    ways = {"up": edits.is_up & low, "down": edits.is_down & low}

    def counted(source: str) -> dict[str, Any]:
        ticks = {way: edited.count(source, {"numbers": mask}, known=True) for way, mask in ways.items()}
        ticks["digit"] = edited.count(source, {"numbers": ways["up"]}, known=True, reading="right_residue")
        words = {task: edited.by_list(source, task, known=True) for task in WORDS}
        return {name: [each.right, each.n] for name, each in (ticks | words).items()}

    end = json.loads((folder / "curve.json").read_text(encoding="utf8"))["curve"][-1]
    return {
        "weights": digest_of(folder),
        "best": list(scored.best),
        "macro": float(scored.macro[scored.best]),
        "known": [int(known[edits.index < EDITED_BELOW].sum()), int((edits.index < EDITED_BELOW).sum())],
        "edits": {source: counted(source) for source in (MEANS, SAE, RANDOM, SHUFFLED)},
        "made_of": made_of(vectors.x["numbers"], classes["numbers"].index),
        "loss": {"successor": end["loss_successor"], "other": end["loss_other"]},
    }


def digest_of(folder: Path) -> str:
    """Of a model's weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def stored() -> dict[str, dict[str, Any]]:
    """The models that were measured, by the name of the run."""
    return json.loads(FILE.read_text(encoding="utf8"))["models"] if FILE.exists() else {}


@told()
def main() -> None:
    """`python -m successor_heads.studies.better_subjects FOLDER…`: measure grown models of the arms that were announced.

    A folder is named after its run. Models whose weights were measured before are passed over, so that it can be stopped.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        measured = stored()
        if not (folder / "recipe.json").exists() or announced.run_of(folder.name)[0] not in RULES["arms"]:
            continue
        if measured.get(folder.name, {}).get("weights") == digest_of(folder):
            continue
        models = measured | {folder.name: measure(folder)}
        files.write_json(FILE, {"schema": SCHEMA, "models": dict(sorted(models.items()))})
        print(folder.name, flush=True)


# --- what it comes to -------------------------------------------------------------------------------


def found(models: Mapping[str, dict[str, Any]]) -> Found:
    """Arms, comparisons and the correlation, of the models that were measured."""
    by_arm: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in RULES["arms"]}
    for name, model in models.items():
        arm, seed = announced.run_of(name)
        if model["known"][0] >= RULES["least_known"]:
            by_arm[arm][seed] = model
    pairs = RULES["comparisons"]
    return Found(
        arms=[_arm(name, its) for name, its in by_arm.items() if len(its) > 1],
        comparisons=[
            _compared(what, by_arm[pair["with"]], by_arm[pair["without"]], pair, level=1 - 0.05 / len(pairs))
            for what, pair in pairs.items()
        ],
        memory=_memory(by_arm),
        models=dict(models),
    )


def share(model: Mapping[str, Any], source: str = MEANS, kind: str = "up") -> float:
    """Of a model, the share of edits that are exact; of numbers upward if no other `kind` is asked for."""
    right, n = model["edits"][source][kind]
    return right / n if n else float("nan")


def _arm(name: str, its: Mapping[int, dict[str, Any]]) -> Arm:
    each = {seed: share(model) for seed, model in sorted(its.items())}
    by_chance = {seed: share(model, RANDOM) for seed, model in sorted(its.items())}
    mean, low, high = intervals.mean_over_seeds(np.array(list(each.values())))
    return Arm(name, each, by_chance, mean, max(0.0, low), min(1.0, high))


def _compared(
    what: str,
    with_it: Mapping[int, dict[str, Any]],
    without: Mapping[int, dict[str, Any]],
    pair: Mapping[str, str],
    *,
    level: float,
) -> Comparison:
    seeds = sorted(with_it.keys() & without.keys())
    each = np.array([(share(with_it[seed]), share(without[seed])) for seed in seeds]).reshape(-1, 2)
    differences = each[:, 0] - each[:, 1]
    means = (float(each[:, 0].mean()), float(each[:, 1].mean())) if seeds else (float("nan"), float("nan"))
    told = intervals.mean_over_seeds(differences, level=level) if len(seeds) > 1 else (float("nan"),) * 3
    return Comparison(what, pair["with"], pair["without"], pair["expected"], len(seeds), means, *told)


def _memory(by_arm: Mapping[str, Mapping[int, dict[str, Any]]], *, n_permutations: int = 2000) -> Memory:
    """Spearman's correlation of success and own part; what chance gives is found by permuting models within their arm."""
    rows = [(arm, model["made_of"]["own"], share(model)) for arm, its in by_arm.items() for model in its.values()]
    table = pd.DataFrame(rows, columns=["arm", "own", "share"])
    if len(table) < 3:
        return Memory(float("nan"), float("nan"), len(table))
    rng, groups = np.random.default_rng(0), table.groupby("arm").indices.values()
    own, success = scipy.stats.rankdata(table["own"]), scipy.stats.rankdata(table["share"])
    correlation = float(np.corrcoef(own, success)[0, 1])
    at_least = 0
    for _ in range(n_permutations):
        shuffled = own.copy()
        for places in groups:
            shuffled[places] = own[rng.permutation(places)]
        at_least += np.corrcoef(shuffled, success)[0, 1] <= correlation
    return Memory(correlation, (at_least + 1) / (n_permutations + 1), len(table))


def paper_upward() -> tuple[int, int]:
    """Of the paper's printed table of 20 to 29: upward edits that are ticked, of all."""
    ticks = reported.read()["figure_7"]["ticks"]["20-29"]
    right = sum(residue > int(word) % 10 for word, residues in ticks.items() for residue in residues)
    return right, len(ticks) * (len(ticks) - 1) // 2


SAID = {
    "better": "better",
    "no_better": "no better",
    "worse": "worse",
    "open": "open",
    "too_few": "not judged",
}


def verdict(found: Found) -> Verdict:
    """Whether anything that was tried makes a better subject: "better", "none" if all of it was judged, or "open"."""
    judged = [each for each in found.comparisons if each.key != "too_few"]
    better = [each.what for each in judged if each.key == "better"]
    told = ", ".join(f"{each.what} ({each.mean:+.2f}, {SAID[each.key]})" for each in judged)
    if better:
        return Verdict(
            "better", f"**A better subject comes of {listed(better)}.** As announced, these were judged: {told}."
        )
    if len(judged) == len(found.comparisons) and not any(each.key == "open" for each in judged):
        return Verdict("none", f"**Nothing that was tried makes a better subject,** and the default stays: {told}.")
    return Verdict(
        "open",
        f"**By what was announced it is not settled, and the default stays.** Judged is what has {FEWEST_SEEDS} seeds in which both "
        f"heads count numbers, {len(judged)} of {len(found.comparisons)} comparisons{f': {told}' if judged else ''}.",
    )


def about_memory(found: Found) -> Verdict:
    """Whether edits succeed less where more of a number's vector is its own: "expected", "weaker" or "not_shown"."""
    memory = found.memory
    told = f"Spearman {memory.correlation:+.2f} over {memory.n} models; p = {memory.p_value:.2f} when models change places within their arm"
    if not memory.p_value < 0.05:
        return Verdict(
            "not_shown",
            f"Whether edits fail because more of a number's vector is its own is not shown, for arms differ in both and models of one arm do not: {told}.",
        )
    if memory.correlation <= EXPECTED_CORRELATION:
        return Verdict("expected", f"Where more of a number's vector is its own, fewer edits succeed: {told}.")
    return Verdict(
        "weaker",
        f"Where more of a number's vector is its own, fewer edits succeed, but less clearly than expected: {told}.",
    )


def about_training(found: Found) -> Verdict:
    """What training longer comes to, looked for after the fact: "with_decimals" where it helps, and more than without them; "helps"; "not_shown"."""
    each = {arm.name: list(arm.each.values()) for arm in found.arms}
    longer = [share for name in LONGER for share in each.get(name, [])]
    usual, without = each.get(USUAL, []), each.get(LONGER_WITHOUT, [])
    if min(map(len, (longer, usual, without))) < 2:
        return Verdict("not_shown", "Exploratory: not enough models to say what training longer does.")
    by_training, by_decimals = _apart(longer, usual), _apart(longer, without)
    told = (
        f"with three times the steps and ten times the weight decay {np.mean(longer):.2f} of upward edits succeed ({len(longer)} seeds), "
        f"{_signed(by_training)} over the usual and {_signed(by_decimals)} over the same without decimals"
    )
    if by_training[1] <= 0:
        return Verdict("not_shown", f"Exploratory, and not beyond chance: {told}.")
    if by_decimals[1] > 0:
        return Verdict(
            "with_decimals",
            f"Exploratory: longer training with more weight decay helps where the text has decimals, and which of the two does is not settled; {told}.",
        )
    return Verdict(
        "helps",
        f"Exploratory: longer training with more weight decay helps, and which of the two does is not settled; {told}.",
    )


def _apart(some: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """Difference of two means with Welch's 95% interval: of seeds that are not paired."""
    interval = scipy.stats.ttest_ind(some, others, equal_var=False).confidence_interval()
    return float(np.mean(some) - np.mean(others)), float(interval.low), float(interval.high)


def _signed(difference: tuple[float, float, float]) -> str:
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(*difference)


# --- what is drawn ----------------------------------------------------------------------------------


def draw_arms(found: Found) -> Drawing:
    """Upward edits of numbers in every arm, a dot a seed, beside random directions."""
    fig, ax = figures.panel(height=0.27 * len(found.arms) + 0.9, width=figures.NARROW)
    places = np.arange(len(found.arms))[::-1]
    for place, arm in zip(places, found.arms):
        seed, mean, control = (
            ("a seed", "mean", RANDOM) if place == places[0] else ("_", "_", "_")
        )  # the legend needs one
        each, by_chance = list(arm.each.values()), float(np.mean(list(arm.random.values())))
        ax.plot(each, [place] * len(each), "o", color=PALETTE["orange"], markersize=3.5, alpha=0.6, label=seed)
        ax.plot([arm.low, arm.high], [place] * 2, color=PALETTE["orange"], linewidth=1.2)
        ax.plot(arm.mean, place, "D", color=PALETTE["orange"], markersize=6, label=mean)
        ax.plot(by_chance, place, "x", color=PALETTE["grey"], markersize=6, label=control)
    right, n = paper_upward()
    ax.axvline(right / n, color=figures.INK, linewidth=0.8, linestyle=":", label="the paper, 20 to 29")
    ax.set(
        yticks=places, yticklabels=[ARM_NAMES[arm.name] for arm in found.arms], xlim=(-0.02, 1.02),
        ylim=(-0.6, len(places) - 0.4), xlabel="upward edits of numbers that are exact",
    )  # fmt: skip  # one panel
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower center", bbox_to_anchor=(0.3, 1), ncol=2)
    told = "; ".join(
        f"{ARM_NAMES[arm.name]} {arm.mean:.2f} ({arm.low:.2f} to {arm.high:.2f}), random {np.mean(list(arm.random.values())):.2f}"
        for arm in found.arms
    )
    measured = [model for model in found.models.values() if model["known"][0] >= RULES["least_known"]]
    sae, digit = (
        float(np.nanmean([share(model, *how) for model in measured])) for how in ((SAE, "up"), (MEANS, "digit"))
    )
    return Drawing(
        fig,
        alt=f"For each arm the share of upward edits of numbers that are exact. {told}.",
        caption=about_training(found).sentence,
        details=f"{len(measured)} of {len(found.models)} models, those whose head names {RULES['least_known']} numbers' successors or more. Of tokens that the head answers rightly. Lines: 95% t intervals over seeds. {told}. "
        f"Means over models: with features of autoencoders {sae:.2f}; with class means the right digit wins in {digit:.2f}. "
        f"Arms with more steps have ten times the weight decay as well, and some lists left out that are not edited here. {_left_out(found)} "
        f"The lower bounds of {sum(arm.low > 0.5 for arm in found.arms)} arms lie above one half; none was expected to.",
    )


def _left_out(found: Found) -> str:
    """How many models of which arms have no head that counts numbers."""
    arms = [
        announced.run_of(name)[0] for name, model in found.models.items() if model["known"][0] < RULES["least_known"]
    ]
    told = ", ".join(f"{ARM_NAMES[arm]} {arms.count(arm)}" for arm in dict.fromkeys(arms))
    return f"Left out for want of such a head: {told}." if told else "None is left out."


def draw_comparisons(found: Found) -> Table:
    """What was tried: the two arms, their difference paired by seed, and what it came to."""
    rows = [
        (
            each.what,
            *(f"{one:.2f}" if each.seeds else "–" for one in each.shares),
            _signed((each.mean, each.low, each.high)) if each.seeds > 1 else "–",
            SAID[each.key] + (", as expected" if each.key == each.expected else f"; expected: {SAID[each.expected]}"),
        )
        for each in found.comparisons
    ]
    hits = sum(each.key == each.expected for each in found.comparisons)
    return Table(
        pd.DataFrame(rows, columns=["what was tried", "with", "without", "difference", "it is"]),
        caption=f"What was tried, paired by seed: {hits} of {len(rows)} came as expected.",
        details=f"Upward edits of numbers, means over the seeds that both arms have, differences with t intervals over seeds, widened over {len(rows)} comparisons. Not judged: fewer than {FEWEST_SEEDS} seeds in which both heads name {RULES['least_known']} numbers' successors. “Better” is from {MARGIN:.2f} on. "
        f"Written down on {RULES['registered']}, before the first edit. Changed later, and exploratory: "
        + " ".join(f"{each['what']} {' '.join(each['why'].split())}" for each in RULES["changed"]),
    )


if __name__ == "__main__":
    main()
