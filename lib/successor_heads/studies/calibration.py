"""Chapter 7: do the instruments see what we planted, and what do they not see?

::

    found = calibration.measure(tokenizer, seed=0, n_plants=2)
    calibration.verdict(found).key      # "calibrated": found where it is clean, missed where it is faint or hidden

A few plants are made live and the rest is read from ``planted/calibration.json``. The first lesson needs no plant: the
same least squares on vectors without order and on vectors with order give the same score, and one of them is a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from successor_heads import (
    ablation,
    anatomy,
    behaviours,
    direct_effects,
    features,
    figures,
    intervals,
    ordinals,
    ov_circuit,
    prompts,
    records,
    scores,
)
from successor_heads.anatomy import name_of
from successor_heads.figures import PALETTE, Drawing, Table
from successor_heads.ordinals import ResolvedClass
from successor_heads.planted import FAMILIES, calibrate, hidden
from successor_heads.planted.plant import DECOYS, Plan, Planted, plant
from successor_heads.planted.prompts import prompts as planted_prompts
from successor_heads.planted.shapes import Shape
from successor_heads.scores import HeadScores
from successor_heads.studies import Place, Verdict, list_name

CHAPTER = "07-calibration"
LEFT_OUT = 0.2  # share of the pairs that the first lesson leaves out
PERIODS = (1, 2, 3)  # turns that an ordered list makes
TWIN = (10, 7)  # the plant's modulus, and its twin's
MODULI = tuple(range(2, 15))
N_PROMPTS = 12
JOBS = {"successor": "successorship", "acronym": "acronym", "copy": "copying"}
# The rules of chapter 5 by name, and how many attended tokens each looks at.
RULES = {
    "paper": f"the paper's, {behaviours.TOP_ATTENDED} attended tokens",
    "strict": f"ours, stricter, {behaviours.STRICT_TOP} attended tokens",
}


# --- what is measured --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Twins:
    """Probe and spectrum on a plant made of tens and on its twin made of sevens: both tables by `made`."""

    probes: pd.DataFrame
    spectra: pd.DataFrame

    def found(self, made: int) -> list[int]:
        """The moduli that the probe finds on one of the two."""
        rows = self.probes[(self.probes["made"] == made) & self.probes["found"]]
        return rows["modulus"].tolist()

    def accuracy(self, made: int, modulus: int) -> pd.Series:
        """Accuracy of the probe with its interval."""
        rows = self.probes[(self.probes["made"] == made) & (self.probes["modulus"] == modulus)]
        return rows.iloc[0]


@dataclass(frozen=True, eq=False)
class Hidden:
    """The model that counts and hides it: what each instrument says of its two heads, and what it does without them.

    `seen` has one row an instrument: the better value of the two, the best of other heads, the rank of the better, and
    its rank by size whatever the sign. `without` says how many answers are right, of `n`, by what was taken away.
    """

    planted: Planted
    pair: tuple[Place, Place]
    seen: pd.DataFrame
    without: Mapping[str, int]
    lead: Mapping[str, float]
    n: int
    n_heads: int


@dataclass(frozen=True, eq=False)
class Found:
    """Everything that chapter 7 shows; `lesson` has a row for each kind of vectors, with pairs solved and left out."""

    stored: Mapping[str, Any]
    lesson: pd.DataFrame
    planted: Planted
    scores: HeadScores
    live: pd.DataFrame
    twins: Twins
    effects: pd.DataFrame
    named: pd.DataFrame
    hidden: Hidden

    @property
    def recall(self) -> tuple[int, int]:
        """Of how many plants the best head is the planted one, and of how many."""
        plants = self.stored["plants"]
        return int(plants["found"].sum()), len(plants)

    @property
    def drift(self) -> float:
        """How far the plants made live are from the stored ones, in macro, at most."""
        plants = self.stored["plants"]
        same = plants[plants["modulus"].isna() & (plants["tokenizer"] == "words")].set_index(["family", "seed"])
        return max(abs(row.successor - same.loc[(row.family, row.seed), "successor"]) for row in self.live.itertuples())

    @property
    def by_noise(self) -> pd.DataFrame:
        """Recall of drowned heads by noise with its interval, and the mean score of the planted head."""
        rows = []
        for noise, its in self.stored["drowned"].groupby("noise"):
            found, n = int(its["found"].sum()), len(its)
            rows.append((noise, found, n, found / n, *intervals.wilson(found, n), its["successor"].mean()))
        return pd.DataFrame(rows, columns=["noise", "found", "plants", "share", "low", "high", "score"])

    @property
    def last_sure(self) -> pd.Series:
        """The strongest noise up to which the head is found in every plant."""
        table = self.by_noise
        return table[(table["found"] == table["plants"]).cummin()].iloc[-1]


def measure(tokenizer: PreTrainedTokenizerBase, *, seed: int, n_plants: int) -> Found:
    """All that the chapter shows: `n_plants` plants a family are made live, and the stored ones are read."""
    classes = ordinals.resolve(tokenizer)
    planted = plant(Plan("gpt_neox", seed=seed), tokenizer)
    parts = anatomy.of(planted.module)
    live = [
        calibrate.find(Plan(family, number, calibrate.SMALL[family]), tokenizer)
        for family in FAMILIES
        for number in range(n_plants)
    ]
    return Found(
        stored=calibrate.stored(),
        lesson=lesson(parts, classes, seed=seed),
        planted=planted,
        scores=scores.score_heads(parts, classes),
        live=pd.DataFrame(live),
        twins=_twins(tokenizer, classes["numbers"], seed=seed),
        effects=_effects(tokenizer, seed=seed),
        named=pd.concat([_named(family, tokenizer, seed=seed) for family in FAMILIES]),
        hidden=look_for_hidden(tokenizer, classes, seed=seed),
    )


def rows_and_pairs(classes: Mapping[str, ResolvedClass]) -> tuple[Int[Tensor, " token"], Int[Tensor, "pair 2"]]:
    """Token ids of all lists in one row, and (source, target) of every pair as places in that row."""
    pairs, start = [], 0
    for resolved in classes.values():
        pairs.append(torch.stack([resolved.source, resolved.target], 1) + start)
        start += len(resolved.words)
    return torch.cat([resolved.token_ids for resolved in classes.values()]), torch.cat(pairs)


def ordered_vectors(classes: Mapping[str, ResolvedClass], d_model: int, *, seed: int) -> Float[Tensor, "token d_model"]:
    """Vectors in which each list lies in order on circles of its own, with one turn, two and three.

    A list that ends goes round a circle twice as long, so that its ends do not meet. One step on is then the same
    rotation wherever it begins: a rule exists.
    """
    generator = torch.Generator().manual_seed(seed)
    width = 2 * len(PERIODS) * len(classes)
    axes = torch.linalg.qr(torch.randn(d_model, width, generator=generator))[0].T.split(2 * len(PERIODS))
    vectors = []
    for resolved, own in zip(classes.values(), axes):
        n = len(resolved.words) * (1 if ordinals.CLASSES[resolved.task].cyclic else 2)
        angle = 2 * torch.pi * torch.arange(len(resolved.words))[:, None] * torch.tensor(PERIODS) / n
        vectors.append(torch.cat([angle.cos(), angle.sin()], dim=1) @ own)
    return torch.cat(vectors)


def solve_map(
    read: Float[Tensor, "token d_model"], promoted: Float[Tensor, "token d_model"], pairs: Int[Tensor, "pair 2"]
) -> Float[Tensor, "d_model d_model"]:
    """The map that writes each target's unembedding on reading its source, by least squares over `pairs`."""
    source, target = pairs.T
    return torch.linalg.pinv(read[source].double(), rtol=1e-6) @ promoted[target].double()


def lesson(parts: anatomy.Anatomy, classes: Mapping[str, ResolvedClass], *, seed: int) -> pd.DataFrame:
    """The same least squares on a random model's vectors and on ordered ones: right answers of pairs solved and left out."""
    ids, pairs = rows_and_pairs(classes)
    generator = torch.Generator().manual_seed(seed)
    left_out = torch.rand(len(pairs), generator=generator) < LEFT_OUT
    ordered = ordered_vectors(classes, parts.d_model, seed=seed)
    vectors = {"random": (ov_circuit.head_input(parts, ids), parts.unembed(ids).T), "ordered": (ordered, ordered)}
    rows = []
    for kind, (read, promoted) in vectors.items():
        right = _right(read.double() @ solve_map(read, promoted, pairs[~left_out]) @ promoted.double().T, classes)
        for which, chosen in (("solved", ~left_out), ("left out", left_out)):
            hits, n = int(right[chosen].sum()), int(chosen.sum())
            rows.append((kind, which, hits, n, hits / n, *intervals.wilson(hits, n)))
    return pd.DataFrame(rows, columns=["vectors", "pairs", "right", "of", "share", "low", "high"])


def _right(logits: Float[Tensor, "token candidate"], classes: Mapping[str, ResolvedClass]) -> Tensor:
    """Of every pair of all lists, whether the successor is the strict maximum of its list."""
    start, right = 0, []
    for resolved in classes.values():
        end = start + len(resolved.words)
        answers = scores.strict_argmax(logits[start:end, start:end][resolved.source])
        right.append(answers == resolved.target)
        start = end
    return torch.cat(right)


def _twins(tokenizer: PreTrainedTokenizerBase, numbers: ResolvedClass, *, seed: int) -> Twins:
    probes, spectra = [], []
    for made in TWIN:
        module = plant(Plan("gpt_neox", seed, Shape(2, 6, 384), modulus=made, noise=1.0), tokenizer).module
        x = ov_circuit.head_input(anatomy.of(module), numbers.token_ids)
        for modulus in MODULI:
            probe = features.probe_modulus(x, numbers.index, modulus, seed=seed, n_permutations=40)
            columns = ("modulus", "accuracy", "low", "high", "null_high", "found")
            probes.append({"made": made} | {column: getattr(probe, column) for column in columns})
        spectrum = features.fourier_spectrum(x, numbers.index, seed=seed, n_permutations=200)
        spectra.append(spectrum.assign(made=made))
    return Twins(pd.DataFrame(probes), pd.concat(spectra, ignore_index=True))


def _effects(tokenizer: PreTrainedTokenizerBase, *, seed: int) -> pd.DataFrame:
    """Direct effect and ablation of the heads with a job, with their ranks, on one plant of each family."""
    plants = (plant(Plan(family, seed, calibrate.SMALL[family], in_context=True), tokenizer) for family in FAMILIES)
    return pd.concat([calibrate.rank_effects(planted, n_prompts=N_PROMPTS) for planted in plants], ignore_index=True)


def _named(family: str, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> pd.DataFrame:
    """One row a winning case of a plant: whose it is, for whom its prompt was made, and what the rules say."""
    planted = plant(Plan(family, seed, calibrate.SMALL[family], in_context=True), tokenizer)
    model, rows, made_for = planted.open(), [], []
    for role in JOBS:
        task = planted_prompts(model.tokenizer, role, n=N_PROMPTS, seed=seed)
        for text, answer in zip(task.texts, task.answers):
            rows.append([*model.tokenizer(text)["input_ids"], int(answer)])
            made_for.append(role)
    contexts = torch.tensor(rows)
    effects, _ = behaviours.measure(model, contexts, seed=seed)
    tokens = [prompts.token_texts(model.tokenizer, row) for row in contexts]
    at_work = {planted.place(role): role for role in JOBS}
    n_layers, n_heads = effects.mean.shape[-2:]
    found = [
        behaviours.winning_cases(tokens, effects, layer=layer, head=head).assign(
            role=at_work.get((layer, head), "none")
        )
        for layer in range(n_layers)
        for head in range(n_heads)
    ]
    cases = pd.concat(found, ignore_index=True).assign(family=family)
    cases["made_for"] = [made_for[context] for context in cases["context"]]
    cases["last"] = cases["prefix"] == contexts.shape[1] - 2
    return cases


def look_for_hidden(tokenizer: PreTrainedTokenizerBase, classes: dict[str, ResolvedClass], *, seed: int) -> Hidden:
    """What every instrument says of the head that writes in code and of its twin, and what the model does without them."""
    planted = hidden.plant_hidden(Shape(n_layers=4), tokenizer, seed=seed)
    model, pair = planted.open(), (planted.place("hidden"), planted.place("twin"))
    task = planted_prompts(tokenizer, "successor", n=2 * N_PROMPTS, seed=seed)
    asked = (task.texts, task.answers)
    common: dict[str, Any] = dict(members=task.members, reference=task.texts)
    values = {
        f"score, {convention}": table
        for convention, table in calibrate.under_conventions(anatomy.of(model), classes).items()
    } | {
        "direct effect (logits)": direct_effects.on_answers(model, *asked, **common).difference_fall.mean(-1),
        "ablation, one at a time (logits)": ablation.mean_ablation_effects(model, *asked, **common).difference_fall.mean(-1),
    }  # fmt: skip
    groups = {"nothing": [], "the hidden head": [pair[0]], "its twin": [pair[1]], "both": list(pair)}
    without = ablation.group_ablation_effects(
        model, *asked, list(groups.values()), members=task.members,
        replacement=prompts.mean_head_outputs(model, task.texts),
    ).ablated  # fmt: skip
    return Hidden(
        planted=planted,
        pair=pair,
        seen=pd.DataFrame([_seen(instrument, table, pair) for instrument, table in values.items()]),
        without=dict(zip(groups, without.right_in_class.sum(-1).tolist())),
        lead=dict(zip(groups, without.difference.mean(-1).tolist())),
        n=len(task.texts),
        n_heads=next(iter(values.values())).numel(),
    )


def _seen(instrument: str, values: Float[Tensor, "layer head"], pair: Sequence[Place]) -> dict[str, Any]:
    """One instrument's row: the better of the two, the best of the others, ranks by value and by size."""
    ours = torch.stack([values[place] for place in pair])
    return {
        "instrument": instrument,
        "hidden head or twin": ours.max().item(),
        "best other head": calibrate.highest_of_others(values, pair),
        "rank of the better": int((values > ours.max()).sum()) + 1,
        "rank by size": int((values.abs() > ours.abs().max()).sum()) + 1,
    }


# --- what it comes to --------------------------------------------------------------------------------


def verdict(found: Found) -> Verdict:
    """Whether the instruments do as they should: miss nothing clean, and admit what they miss.

    "calibrated": every clean plant is found, the hidden head by none. "blind": some clean plant is missed. "seen": an
    instrument ranks the hidden head or its twin first, so that it does not hide.
    """
    right, n = found.recall
    solved, left = (_share(found.lesson, "random", pairs) for pairs in ("solved", "left out"))
    table = (
        f"**A score of {solved['share']:.2f} does not say rule.** A head solved for by least squares gives {solved['right']:.0f} of {solved['of']:.0f} "
        f"successors that it was solved for and {left['right']:.0f} of {left['of']:.0f} that it was not. "
    )
    if right < n:
        return Verdict(
            "blind", f"{table}**Clean heads are missed:** the planted head is best in {right} of {n} plants only."
        )
    sure, last = found.last_sure, found.by_noise.iloc[-1]
    faint = (
        f"**Faint heads are missed:** drowned in noise {sure['noise']:g} times its strength the planted head is still found in every plant, "
        f"at {last['noise']:g} times in {last['found']:.0f} of {last['plants']:.0f}. "
    )
    first = found.hidden.seen.loc[found.hidden.seen["rank of the better"] == 1, "instrument"].tolist()
    if first:
        return Verdict("seen", f"{table}{faint}**The hidden head is seen** by {', '.join(first)}.")
    without, by_size = found.hidden.without, int((found.hidden.seen["rank by size"] == 1).sum())
    # What is first by size and not by value is below zero.
    whatever = f"; by size {by_size} do, as a head that lowers the answer a little" if by_size else ""
    return Verdict(
        "calibrated",
        f"{table}{faint}**A head that writes in code and has a stand-in can hide:** none of {len(found.hidden.seen)} measures ranks it first by what it "
        f"adds to the answer{whatever}. Without it and its twin {without['both']} of {found.hidden.n} answers are right in place of {without['nothing']}.",
    )


def _share(table: pd.DataFrame, vectors: str, pairs: str) -> pd.Series:
    return table[(table["vectors"] == vectors) & (table["pairs"] == pairs)].iloc[0]


# --- what is drawn -----------------------------------------------------------------------------------


def draw_lesson(found: Found) -> Drawing:
    """Pairs solved and left out, on vectors without order and with order."""
    table = found.lesson
    names = [f"{row.vectors} vectors,\n{row.pairs}" for row in table.itertuples()]
    fig, ax = figures.panel(height=2.4, width=figures.NARROW)
    figures.interval_bars(ax, values=table["share"], intervals=table[["low", "high"]].to_numpy(), names=names)
    ax.set_xlabel("successors right")
    said = {(row.vectors, row.pairs): f"{row.right} of {row.of}" for row in table.itertuples()}
    return Drawing(
        fig,
        alt="Bars: "
        + "; ".join(f"{row.vectors} vectors, pairs {row.pairs}: {row.right} of {row.of}" for row in table.itertuples()),
        caption=f"The same least squares, the same score on pairs that were solved for; of pairs left out a head on random vectors gives {said['random', 'left out']}, on ordered ones {said['ordered', 'left out']}.",
        details=f"{LEFT_OUT:.0%} of the pairs of all lists were left out at random. Random: what the MLP0 of an untrained model writes, and its unembedding. Ordered: each list on circles of its own, with one, two and three turns. Strict maximum within the list; 95% Wilson intervals.",
    )


def draw_plant(found: Found) -> Drawing:
    """The score of the planted head, of the decoys, and of the best head that nobody planted."""
    macros, where = found.scores.macro, {role: found.planted.place(role) for role in ("successor", *DECOYS)}
    others = macros.clone()
    for place in where.values():
        others[place] = -torch.inf
    values = {role.replace("_", " "): macros[place].item() for role, place in where.items()}
    values = {"planted: successor": values.pop("successor"), **values, "best random head": others.max().item()}
    fig, ax = figures.panel(height=0.3 * len(values) + 0.8, width=figures.NARROW)
    places = -np.arange(len(values))
    colors = [PALETTE["orange"], *[PALETTE["blue"]] * len(DECOYS), PALETTE["grey"]]
    ax.barh(places, list(values.values()), color=colors, height=0.62)
    ax.set(yticks=places, yticklabels=list(values), xlim=(0, 1.02), xlabel="macro successor score")
    ax.tick_params(axis="y", length=0)
    highest = max(values[role] for role in list(values)[1:])
    return Drawing(
        fig,
        alt="Bars of the successor score by role: "
        + "; ".join(f"{role} {value:.2f}" for role, value in values.items()),
        caption=f"The planted head, {name_of(where['successor'])}, scores {values['planted: successor']:.2f}; no decoy and no random head scores more than {highest:.2f}.",
        details=f"One plant of {macros.numel()} heads, with random MLP0. Best of all heads: {name_of(found.scores.best)}.",
    )


def draw_recall(found: Found) -> Table:
    """Stored plants by family and size: how many are found, and what the score has to be told from."""
    plants = found.stored["plants"]
    canonical = plants.filter(like="conventions/canonical/").rename(columns=lambda column: column.rsplit("/")[-1])
    rest = canonical.drop(columns="successor").max(axis=1)
    size = np.where(plants["d_model"] >= 768, "full", "small")
    rows = []
    for (family, kind), its in plants.assign(size=size, rest=rest).groupby(["family", "size"], sort=False):
        rows.append(
            (f"{family}, {kind}", f"{int(its['found'].sum())} of {len(its)}", its["successor"].min(), its["rest"].max())
        )
    right, n = found.recall
    low, _ = intervals.wilson(right, n)
    full = plants[size == "full"]
    return Table(
        pd.DataFrame(rows, columns=["plants", "found", "lowest planted", "highest other"]),
        caption=f"In {right} of {n} plants the best head is the planted one, which checks the code: nothing in these models could mislead it.",
        details=f"95% Wilson interval from {low:.3f}. Full: the shape of a published model, of up to {plants['d_model'].max()} dimensions, with the tokenizers {', '.join(full['tokenizer'].unique())}. "
        f"The {len(found.live)} plants made just now have the stored ones' scores to within {found.drift:.3f}. Stored by `{found.stored['made_by']}`.",
    )


def draw_drowned(found: Found) -> Drawing:
    """The planted head in noise: its score, and in how many plants it is found."""
    table, drowned = found.by_noise, found.stored["drowned"]
    figs, (left, right) = figures.panels(2, height=2.6)
    by_noise = drowned.groupby("noise")
    left.fill_between(
        table["noise"],
        by_noise["successor"].min(),
        by_noise["successor"].max(),
        color=PALETTE["blue"],
        alpha=0.25,
        linewidth=0,
    )
    left.plot(
        table["noise"], by_noise["best"].mean(), color=PALETTE["grey"], marker="s", markersize=4, label="best head"
    )
    left.plot(table["noise"], table["score"], color=PALETTE["blue"], marker="o", markersize=4, label="planted head")
    left.set(ylabel="macro successor score", ylim=(0, 1.05))
    left.legend(loc="lower left")
    right.vlines(table["noise"], table["low"], table["high"], color=figures.INK, linewidth=1.3)
    right.plot(table["noise"], table["share"], color=PALETTE["blue"], marker="o", markersize=4)
    right.set(ylabel="plants in which it is found", ylim=(0, 1.05))
    for ax in (left, right):
        ax.set_xlabel("noise, in strengths of the head")
    sure, last, others = found.last_sure, table.iloc[-1], found.stored["plants"]["conventions/canonical/others"]
    return Drawing(
        figs,
        alt=f"Two line charts against noise: the planted head's score falls from {table['score'].iloc[0]:.2f} to {last['score']:.2f}; the share of plants in which it is found from 1 to {last['share']:.2f}.",
        caption=f"Up to noise {sure['noise']:g} times as strong as the head it is found in all {sure['plants']:.0f} plants, at a mean score of {sure['score']:.2f}; at {last['noise']:g} times in {last['found']:.0f}.",
        details=f"Noise is added to every head's value matrix. The best random head of a plant without noise scores {others.mean():.2f} on average and {others.max():.2f} at most: a score below that says nothing. The band spans all plants, the strokes are 95% Wilson intervals.",
    )


def draw_twins(found: Found) -> Drawing:
    """Probe and spectrum on the plant of tens and on its twin of sevens."""
    figs, axes = figures.panels(4, height=2.5, columns=2)
    for column, made in enumerate(TWIN):
        probes = found.twins.probes[found.twins.probes["made"] == made]
        ax = axes[column]
        ax.bar(
            probes["modulus"],
            probes["accuracy"],
            color=[PALETTE["orange" if hit else "blue"] for hit in probes["found"]],
        )
        ax.vlines(probes["modulus"], probes["low"], probes["high"], color=figures.INK, linewidth=1.2)
        ax.plot(probes["modulus"], probes["null_high"], color=PALETTE["grey"], drawstyle="steps-mid")
        ax.set(
            title=f"made of residues mod {made}",
            xlabel="modulus probed",
            ylabel="accuracy",
            ylim=(0, 1.03),
            xticks=MODULI[::2],
        )
        spectrum = found.twins.spectra[found.twins.spectra["made"] == made]
        ax = axes[2 + column]
        ax.vlines(1 / spectrum["period"], 0, spectrum["share"], color=PALETTE["blue"], linewidth=1.5)
        ax.plot(1 / spectrum["period"], spectrum["null_high"], color=PALETTE["grey"], linewidth=1)
        waves = [wave / made for wave in range(1, made // 2 + 1)]
        ax.plot(waves, [-0.004] * len(waves), "^", color=PALETTE["orange"], markersize=5, clip_on=False)
        ax.set(xlabel="frequency (1 / period)", ylabel="share of variance")
    on_plant, on_twin = (", ".join(map(str, found.twins.found(made))) or "none" for made in TWIN)
    ten = found.twins.accuracy(7, 10)
    absent = found.twins.probes.query("made == 7 and modulus in (8, 9, 11, 13)")
    peaks = int((found.twins.spectra.query("made == 7")["p_value"] < 0.01).sum())
    return Drawing(
        figs,
        alt=f"Above, probe accuracy by modulus: found on the plant of tens {on_plant}, on the twin {on_twin}. Below, spectra of both.",
        caption=f"On the plant of tens the probe finds {on_plant}, on the twin {on_twin}; the ten it reads there in {ten['accuracy']:.0%} of numbers.",
        details=f"Orange bars beat permuted labels (grey, 95%) and one half. Whoever reads a number mod 10 reads it mod 5 and mod 2; these are no findings of their own. "
        f"Moduli that are not there can be read worse than by guessing: on the twin {absent['accuracy'].mean():.0%} on average at 8, 9, 11 and 13, where a guess has {np.mean(1 / absent['modulus']):.0%}; neighbours share their sevens and never their residue. "
        f"Below, triangles mark the periods at which a residue code swings. In the twin's spectrum {peaks} periods beat the shuffled order (grey) at the 1% level: the sevens change slowly, so long periods say that size is coded, and only the short ones, at 10 / k, say ten.",
    )


def draw_recovered(found: Found) -> Drawing:
    """How near recovered directions are to the planted ones, by noise: probe, class means, autoencoders, chance."""
    recovered = found.stored["recovered"]
    of_saes = (
        recovered[recovered["method"] == "SAE"].groupby(["noise", "width", "sparsity"])[["cosine", "explained"]].mean()
    )
    by_noise = recovered.groupby(["method", "noise"])["cosine"].mean()
    lines = {
        "class means": (by_noise["class means"], "red"), "probe": (by_noise["probe"], "orange"),
        "SAE, best setting": (of_saes["cosine"].groupby("noise").max(), "blue"),
        "SAE, worst setting": (of_saes["cosine"].groupby("noise").min(), "violet"), "random": (by_noise["random"], "grey"),
    }  # fmt: skip
    fig, ax = figures.panel(height=2.8, width=figures.NARROW)
    for label, (values, color) in lines.items():
        ax.plot(values.index, values, marker="o", markersize=4, color=PALETTE[color], label=label)
    ax.set(xscale="log", xlabel="noise, in lengths of a direction", ylabel="cosine to the truth", ylim=(0, 1.03))
    ax.set_xticks(list(calibrate.NOISES), [f"{noise:g}" for noise in calibrate.NOISES])
    ax.minorticks_off()
    figures.label_lines(ax)
    least, most = min(calibrate.NOISES), max(calibrate.NOISES)
    agreement = {
        noise: its["explained"].corr(its["cosine"], method="spearman") for noise, its in of_saes.groupby("noise")
    }
    saes = recovered[recovered["method"] == "SAE"]
    by_seed = saes.groupby(["noise", "width", "sparsity", "plant"])["cosine"].std().groupby("noise").mean()
    return Drawing(
        fig,
        alt="Lines of the cosine to the true directions against noise: "
        + "; ".join(
            f"{label} {values.loc[least]:.2f} to {values.loc[most]:.2f}" for label, (values, _) in lines.items()
        ),
        caption=f"With little noise the probe has {by_noise['probe', least]:.2f} and autoencoders {lines['SAE, worst setting'][0][least]:.2f} to {lines['SAE, best setting'][0][least]:.2f} by setting, with much {by_noise['probe', most]:.2f} and {lines['SAE, worst setting'][0][most]:.2f} to {lines['SAE, best setting'][0][most]:.2f}.",
        details=f"Mean matched cosine with each planted direction less their mean, which no method can tell from the domain. Autoencoders of widths {', '.join(map(str, calibrate.SAE_GRID['widths']))} and sparsity penalties {', '.join(map(str, calibrate.SAE_GRID['sparsities']))}. "
        f"From seed to seed the cosine varies by {by_seed.min():.3f} to {by_seed.max():.3f} (mean standard deviation). Without the truth one might choose the setting that explains most variance: its rank correlation with the cosine is {agreement[least]:+.2f} with the least noise and {agreement[most]:+.2f} with the most.",
    )


EDIT_COLORS = {
    "true": "orange",
    "class means": "red",
    "SAE": "blue",
    "probe": "green",
    "true, permuted": "violet",
    "random": "grey",
}


def _of_all(found: Found, what: str) -> pd.DataFrame:
    """Stored means with their intervals over the plants of all families."""
    return found.stored["summary"][what].query("family == 'all'")


def _over_plants(found: Found) -> pd.DataFrame:
    """Mean share of edits that succeed at scale 1, by source of the directions: plants resampled."""
    return _of_all(found, "edits").query("scale == 1 and measure == 'rate'").set_index("directions")


def _edit_rates(found: Found) -> pd.Series:
    """Share of edits that succeed, by source of the directions and scale, over all lists and plants."""
    totals = found.stored["edits"].groupby(["directions", "scale"])[["right", "n"]].sum()
    return totals["right"] / totals["n"]


def draw_edits(found: Found) -> Drawing:
    """Edits by the scale of what is added, for true directions, recovered ones and controls."""
    rates = _edit_rates(found)
    fig, ax = figures.panel(height=3.0, width=figures.NARROW)
    for source, color in EDIT_COLORS.items():
        ax.plot(rates[source].index, rates[source], marker="o", markersize=4, color=PALETTE[color], label=source)
    ax.set(xlabel="scale k (1 is the planted length)", ylabel="edits that succeed", ylim=(-0.15, 1.3))
    ax.set_yticks(np.linspace(0, 1, 6))
    figures.label_lines(ax)
    at_one = rates.xs(1.0, level="scale")
    recovered = at_one[["SAE", "probe", "class means"]]
    plants = _over_plants(found).loc["true"]
    return Drawing(
        fig,
        alt="Lines of the share of edits that succeed against scale. At scale 1: "
        + "; ".join(f"{source} {rate:.2f}" for source, rate in at_one.items()),
        caption=f"At the planted length true directions succeed in {at_one['true']:.1%} of edits, recovered ones in {recovered.min():.1%} or more, permuted ones in {at_one['true, permuted']:.1%}, random ones in {at_one['random']:.1%}.",
        details=f"{int(plants['n'])} plants; 95% interval of the true directions {plants['low']:.1%} to {plants['high']:.1%}, plants resampled: edits of one plant are no independent trials. At k = 0.5 the old residue and the new one are equally loud.",
    )


def draw_edits_by_list(found: Found) -> Table:
    """Edits at the planted length, list by list: the directions were learned from numbers alone."""
    edits = found.stored["edits"]
    totals = edits[edits["scale"] == 1.0].groupby(["task", "directions"])[["right", "n"]].sum()
    table = (
        (totals["right"] / totals["n"])
        .unstack("directions")
        .loc[list(ordinals.TASKS), ["true", "probe", "true, permuted", "random"]]
    )
    table.index = pd.Index([list_name(task) for task in table.index], name="list")
    words = table.drop(index="numbers")
    return Table(
        table.rename_axis(columns=None),
        caption=f"Directions learned from numbers move the words of other lists, too: the probe's succeed in at least {words['probe'].min():.1%} of each list.",
        details="Share of edits that succeed at scale 1, over all stored plants.",
    )


def draw_effects(found: Found) -> Drawing:
    """Direct effect and ablation: the heads with a job beside the largest effect of any other head."""
    table = found.effects
    fig, ax = figures.panel(height=0.27 * len(table) + 1.0, width=figures.NARROW)
    places = -np.arange(len(table))
    ax.scatter(table["ablation"], places, color=PALETTE["blue"], s=46, marker="D", label="when ablated")
    ax.scatter(table["direct"], places, color=PALETTE["orange"], s=20, label="direct effect")
    ax.scatter(
        table[["next_direct", "next_ablation"]].max(axis=1), places, color=PALETTE["grey"], s=20, label="next best head"
    )
    ax.set(
        yticks=places,
        yticklabels=[f"{row.family}, {row.role}" for row in table.itertuples()],
        xlabel="logits of the answer's lead",
    )
    ax.legend(loc="upper right", bbox_to_anchor=(0.85, 1.0))
    ax.tick_params(axis="y", length=0)
    first = int((table[["rank_direct", "rank_ablation"]] == 1).to_numpy().sum())
    many = _of_all(found, "effects").query("measure in ('first_direct', 'first_ablation')")
    return Drawing(
        fig,
        alt=f"Dots: effects of planted heads between {table[['direct', 'ablation']].min(axis=None):.1f} and {table[['direct', 'ablation']].max(axis=None):.1f} logits, of the next best head at most {table[['next_direct', 'next_ablation']].max(axis=None):.2f}.",
        caption=f"In {first} of {2 * len(table)} comparisons the planted head has the largest effect of all; the next best has {table[['next_direct', 'next_ablation']].max(axis=None):.2f} logits at most.",
        details=f"Direct effect and mean ablation on the answer's lead over its rivals, {N_PROMPTS} prompts a job, one plant of each family; right answers of the intact models: at least {table['right'].min():.0%}. "
        f"Over the stored plants ({int(many['n'].max())} for each job) the planted head comes first in at least {many['mean'].min():.0%}; the lowest 95% interval starts at {many['low'].min():.0%}.",
    )


def rules_table(found: Found) -> pd.DataFrame:
    """What rules on words say of winning cases, one row for the paper's and one for ours."""
    cases, rows = found.named, []
    ours, idle = cases[cases["last"] & (cases["role"] == cases["made_for"])], cases[cases["role"] == "none"]
    for rules, told in RULES.items():
        right = int((ours[rules] == ours["role"].map(JOBS)).sum())
        rows.append((told, len(ours), right, len(idle), int((idle[rules] != "other").sum())))
    return pd.DataFrame(
        rows,
        columns=[
            "rules",
            "won by the planted head",
            "and named right",
            "cases of idle heads",
            "named all the same",
        ],
    )


def draw_named(found: Found) -> Table:
    """Winning cases and rules: how many of the planted jobs are named, and how many idle heads get a name."""
    table = rules_table(found)
    made = N_PROMPTS * len(JOBS) * len(FAMILIES)
    row = table.set_index("rules").loc[RULES["paper"]]
    low, high = intervals.wilson(int(row["and named right"]), made)
    alarms = intervals.wilson(int(row["named all the same"]), int(row["cases of idle heads"]))
    return Table(
        table,
        caption=f"The paper's rules name {row['and named right']} of {made} planted jobs rightly, and {row['named all the same']} of {row['cases of idle heads']} cases of heads without a job all the same.",
        details=f"95% Wilson intervals of the paper's rules: {low:.2f} to {high:.2f} named rightly, {alarms[0]:.2f} to {alarms[1]:.2f} false alarms. A text of seven words has few words to confuse.",
    )


def draw_seen(found: Found) -> Table:
    """What each instrument says of the hidden head and its twin."""
    table, n = found.hidden.seen, found.hidden.n_heads
    best = int(table["rank of the better"].min())
    many = _of_all(found, "hidden").set_index("measure")
    plants = found.stored["hidden"]
    lucky, by_chance = int((plants["rank_canonical"] == 1).sum()), (2 / plants["heads"]).sum()
    return Table(
        table,
        caption=f"The better of the hidden head and its twin has rank {best} of {n} at best, {int(table['rank by size'].min())} by size whatever the sign.",
        details=f"All scores are one instrument, by several conventions. Over {int(many['n'].max())} models made in the same way the better canonical score of the pair is {_mean(many, 'canonical')}, the larger fall under ablation {_mean(many, 'ablation')} logits. In {lucky} of these models one of the pair has the highest canonical score; a pair picked at random would have it in {by_chance:.1f}.",
    )


def _mean(table: pd.DataFrame, measure_: str) -> str:
    row = table.loc[measure_]
    return f"{row['mean']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def draw_hidden(found: Found) -> Drawing:
    """Right answers of the model that hides its heads: intact, without one of them, without both."""
    its = found.hidden
    names = ["intact" if each == "nothing" else f"without {each}" for each in its.without]
    fig, ax = figures.panel(height=1.9, width=figures.NARROW)
    shares = [right / its.n for right in its.without.values()]
    figures.interval_bars(
        ax, values=shares, intervals=[intervals.wilson(right, its.n) for right in its.without.values()], names=names
    )
    ax.set_xlabel("successors right within the list")
    either = min(its.without["the hidden head"], its.without["its twin"])
    many = _of_all(found, "hidden").set_index("measure")
    change = abs(its.lead["nothing"] - its.lead["the hidden head"])
    return Drawing(
        fig,
        alt="Bars of right answers: "
        + "; ".join(f"{label} {right} of {its.n}" for label, right in zip(names, its.without.values())),
        caption=f"Intact the model gives {its.without['nothing']} of {its.n} successors, without one of the pair {either}, without both {its.without['both']}.",
        details=f"95% Wilson intervals. Without the hidden head alone the lead of {its.lead['nothing']:.1f} logits changes by {change:.2f}. "
        f"Over {int(many['n'].max())} models: {_mean(many, 'right_without_nothing')} intact, {_mean(many, 'right_without_hidden')} without the head, {_mean(many, 'right_without_both')} without both (means with 95% intervals over models).",
    )


# --- the record --------------------------------------------------------------------------------------


def record(found: Found, *, model: str) -> dict[str, Any]:
    """The chapter's record. Nothing in it depends on `model`, under whose name it is kept."""
    finding, rates = records.finding, _edit_rates(found).xs(1.0, level="scale")
    plants, recovered = found.stored["plants"], found.stored["recovered"]
    decoys = plants[[f"conventions/canonical/{decoy}" for decoy in DECOYS]].max(axis=None)
    least = recovered[recovered["noise"] == min(calibrate.NOISES)].groupby("method")["cosine"]
    over_plants = _over_plants(found)
    first = int((found.effects[["rank_direct", "rank_ablation"]] == 1).to_numpy().sum())
    rules = rules_table(found).set_index("rules").loc[RULES["paper"]]
    its, ten, twin = found.hidden, found.twins.accuracy(10, 10), found.twins.accuracy(7, 10)
    by_instrument = its.seen.set_index("instrument")["hidden head or twin"]
    findings = {
        "recall": records.share(*found.recall),
        "highest_decoy": finding(decoys, n=len(plants)),
        "live_drift": finding(found.drift, n=len(found.live)),
        "last_sure_noise": finding(found.last_sure["noise"], n=found.last_sure["plants"]),
        "probe_accuracy_ten": finding(ten["accuracy"], low=ten["low"], high=ten["high"]),
        "probe_accuracy_ten_on_twin": finding(twin["accuracy"], low=twin["low"], high=twin["high"]),
        "sae_cosine": finding(least.mean()["SAE"], n=least.size()["SAE"]),
        "probe_cosine": finding(least.mean()["probe"], n=least.size()["probe"]),
        "effects_first": records.share(first, 2 * len(found.effects)),
        "rules_right": records.share(int(rules["and named right"]), N_PROMPTS * len(JOBS) * len(FAMILIES)),
        "rules_false_alarms": records.share(int(rules["named all the same"]), int(rules["cases of idle heads"])),
        "hidden_highest_score": finding(by_instrument[[each for each in by_instrument.index if each.startswith("score")]].max()),
        "hidden_single_ablation": finding(by_instrument["ablation, one at a time (logits)"]),
        "hidden_right_without_both": records.share(its.without["both"], its.n),
    }  # fmt: skip
    for row in found.lesson.itertuples():
        findings[f"lesson_{row.vectors}_{row.pairs.replace(' ', '_')}"] = records.share(row.right, row.of)
    for source, key in (("true", "edits_true"), ("SAE", "edits_sae"), ("random", "edits_random")):
        row = over_plants.loc[source]
        findings[key] = finding(rates[source], low=row["low"], high=row["high"], n=row["n"])
    tables = {
        "verdict": pd.DataFrame({"key": [verdict(found).key]}),
        "recovery": draw_recall(found).frame,
        "effects": found.effects,
        "hidden": its.seen,
    }
    return records.chapter_record(model, CHAPTER, findings=findings, tables=tables)
