"""Chapter 5: what does the head do in text?

::

    place, why = natural_text.choose_head(model, parts, classes, seed=0)
    readings = [behaviours.read(model, text, n=64, length=256, seed=0) for text in texts.read_all(["documentation"])]
    found = natural_text.measure(model, parts, classes, readings, place, why=why, name="grown/pythia", seed=0)
    natural_text.verdict(found).key      # "several": it counts in text, and does other work as well

Where in a text one head matters most of all heads, what it does there by the paper's rules and by stricter ones, and
how much loss it saves on which path. Then what no text decides: prompts of one job each, numbered lists on which the
model is right, and what becomes of a list when one, two or three heads are gone.
"""

from __future__ import annotations

import argparse
import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from jaxtyping import Float, Int
from matplotlib.ticker import PercentFormatter
from nnsight import TransformersModel

from successor_heads import (
    ablation,
    anatomy,
    behaviours,
    direct_effects,
    figures,
    files,
    intervals,
    models,
    ndif,
    ordinals,
    prompts,
    published,
    records,
    reported,
    scores,
    texts,
)
from successor_heads.anatomy import Anatomy
from successor_heads.behaviours import BEHAVIOURS, RULES, Reading
from successor_heads.errors import UserError, told
from successor_heads.figures import PALETTE, Attention, Drawing, Passages, Table
from successor_heads.growing import corpus
from successor_heads.ordinals import ResolvedClass
from successor_heads.studies import Place, Verdict, listed

CHAPTER = "05-natural-language"
NAMED = BEHAVIOURS[:-1]
PATHS = ("direct", "indirect", "total")
KINDS = ("mean", "resample")
LEAST_CASES = 20  # fewer winning cases say nothing of their shares
N_LISTS = 64  # numbered lists on which the model is right: as many as in the paper
# Tokens of a case that are shown before its answer.
WINDOW = 40


class Share(NamedTuple):
    """A count among cases, the share that it is, and the 95% interval of the share, documents resampled."""

    n: int
    of: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class InText:
    """What the head, and all heads, did in one text.

    `shuffled` says by rules how many winning cases of each context have each behaviour with their answers shuffled. `labels` says what the head does at every prefix by the paper's rules, whether it wins there or not. Of `losses`
    each (path, ablation) has the loss-reducing cases: how many, and by how much the loss rises, by context and behaviour;
    `rises` sums over all prefixes, those included where the loss falls.
    """

    name: str
    natural: bool
    note: str
    digest: str
    n_documents: int
    document: Int[np.ndarray, " context"]
    length: int
    tokens: list[list[str]]
    loss: float
    wins: Int[np.ndarray, "context layer head"]
    cases: pd.DataFrame
    labels: Int[np.ndarray, "context prefix"]
    losses: dict[tuple[str, str], tuple[Int[np.ndarray, "context behaviour"], Float[np.ndarray, "context behaviour"]]]
    rises: dict[tuple[str, str], Float[np.ndarray, "context behaviour"]]
    shuffled: dict[str, Float[np.ndarray, "context behaviour"]]
    ordered: pd.DataFrame
    kinds: pd.DataFrame
    by_head: pd.DataFrame

    @property
    def label(self) -> str:
        """The text's name, and who wrote it."""
        return f"{self.name} (written by {'people' if self.natural else 'rules'})"

    @property
    def n_prefixes(self) -> int:
        """Prefixes in all contexts."""
        return self.labels.size

    def by_document(self, values: np.ndarray) -> np.ndarray:
        """Values of contexts, [context, ...], summed over those that start in one document."""
        _, place = np.unique(self.document, return_inverse=True)
        total = np.zeros((place.max() + 1, *values.shape[1:]))
        np.add.at(total, place, values)
        return total

    def share(self, hits: np.ndarray, of: np.ndarray) -> Share:
        """The share of `hits` in `of`, both by context."""
        share, low, high = intervals.share_interval(self.by_document(hits), self.by_document(of), seed=0)
        return Share(int(hits.sum()), int(of.sum()), share, low, high)

    def won(self, place: Place) -> Share:
        """Prefixes that a head wins."""
        return self.share(self.wins[:, *place], np.full(len(self.document), self.length - 1))

    def cases_of(self, behaviour: str, *, rules: str = "paper") -> Share:
        """Winning cases with this behaviour."""
        of, n = self.cases["context"], len(self.document)
        hits = of[self.cases[rules] == behaviour]
        return self.share(np.bincount(hits, minlength=n), np.bincount(of, minlength=n))

    def chance(self, rules: str) -> dict[str, float]:
        """The share of each behaviour among the winning cases with their answers shuffled in their contexts."""
        counts = self.shuffled[rules].sum(0)
        return dict(zip(BEHAVIOURS, (counts / counts.sum() if counts.sum() else np.full(len(counts), np.nan)).tolist()))

    def surplus(self, behaviour: str, *, rules: str, n_asked: int = 1) -> tuple[float, float, float]:
        """By how much a behaviour's share exceeds that with answers shuffled, documents resampled with the shuffled ones in them.

        With its 95% interval, widened where so many questions are asked together (Bonferroni).
        """
        of, n = np.bincount(self.cases["context"], minlength=len(self.document)), len(self.document)
        hits = np.bincount(self.cases["context"][self.cases[rules] == behaviour], minlength=n)
        several = of > 1  # one case alone has no other answer
        excess = np.where(several, hits - self.shuffled[rules][:, BEHAVIOURS.index(behaviour)], 0)
        return intervals.ratio_interval(
            self.by_document(excess), self.by_document(np.where(several, of, 0)),
            seed=0, n_resamples=10_000, level=1 - 0.05 / n_asked,
        )  # fmt: skip  # what is shared, and how

    @property
    def has_enough(self) -> bool:
        """Whether the winning cases are enough to speak of shares: of a few alike, a bootstrap gives no interval at all."""
        return len(self.cases) >= LEAST_CASES

    def clear(self, *, n_texts: int = 1) -> list[str]:
        """The behaviours that are clear of chance by the paper's rules and by ours, all of them asked of so many texts."""
        n_asked = len(NAMED) * n_texts
        return [
            behaviour
            for behaviour in NAMED
            if self.has_enough and all(self.surplus(behaviour, rules=rules, n_asked=n_asked)[1] > 0 for rules in RULES)
        ]

    def loss_share(self, behaviour: str, path: str = "direct", kind: str = "mean") -> Share:
        """The share of a behaviour in ΔL, all that the loss rises by in loss-reducing cases; n counts these cases."""
        count, total = self.losses[path, kind]
        place = BEHAVIOURS.index(behaviour)
        share = intervals.ratio_interval(self.by_document(total[:, place]), self.by_document(total.sum(1)), seed=0)
        return Share(int(count[:, place].sum()), int(count.sum()), *share)

    @property
    def n_labelled(self) -> Int[np.ndarray, "context behaviour"]:
        """Prefixes of each context with each behaviour, won or not."""
        return behaviours.by_label(np.ones(self.labels.shape), self.labels).astype(int)

    def loss_by_lot(self, behaviour: str, path: str = "direct", kind: str = "mean") -> float:
        """The share of a behaviour in ΔL if what each context has of it fell on all its prefixes alike."""
        each = self.losses[path, kind][1].sum(1)
        frequency = self.n_labelled[:, BEHAVIOURS.index(behaviour)] / (self.length - 1)
        return float((each * frequency).sum() / each.sum()) if each.sum() else float("nan")

    def mean_rise(self, path: str, kind: str = "mean", *, behaviour: str | None = None) -> tuple[float, float, float]:
        """By how much the loss rises on average over prefixes, all or those of a behaviour, documents resampled."""
        asked = slice(None) if behaviour is None else [BEHAVIOURS.index(behaviour)]
        sums, counts = self.rises[path, kind][:, asked].sum(1), self.n_labelled[:, asked].sum(1)
        return intervals.ratio_interval(self.by_document(sums), self.by_document(counts), seed=0)


@dataclass(frozen=True, eq=False)
class Example:
    """One place read closely: its last tokens, where the heads of the layer look, and what the head raises.

    A winning case where there is one; else, with `behaviour` "", the place where the head's effect is largest. `raised`
    are the tokens that its direct effect raises most, of the whole vocabulary. `answer_odds` are the probability of the
    answer and its rank, in the intact model and with the head ablated at the last position.
    """

    text: str
    behaviour: str
    ids: list[int]
    answer_id: int
    tokens: list[str]
    answer: str
    patterns: Float[np.ndarray, "head query key"]
    effects: Float[np.ndarray, "layer head"]
    raised: list[tuple[str, float]]
    answer_odds: tuple[tuple[float, int], tuple[float, int]]


@dataclass(frozen=True, eq=False)
class Jobs:
    """Prompts of one job each: how many, on how many the model prefers the answer to its rival, and direct effects on that lead."""

    table: pd.DataFrame
    lead: dict[str, Float[np.ndarray, "prompt layer head"]]


@dataclass(frozen=True, eq=False)
class Together:
    """Loss on lists without one, two or three heads, chosen on other lists; and without as many heads drawn at random.

    `change` is by how much each part's share of the answer's logit changes without the head itself.
    """

    heads: list[Place]
    loss: dict[tuple[Place, ...], Float[np.ndarray, " prompt"]]
    others: dict[int, list[float]]
    change: dict[str, float]

    def without(self, *heads: Place) -> tuple[float, float, float]:
        """Mean loss without these heads, with its interval over lists."""
        return intervals.mean_interval(self.loss[tuple(sorted(heads))], seed=0)


@dataclass(frozen=True, eq=False)
class NumberedLists:
    """Numbered lists that we made: how many were tried, and of those on which the model is right who wins the next number."""

    tried: int
    right: int
    wins: Int[np.ndarray, "layer head"]

    @property
    def asked(self) -> int:
        """Lists on which a winner was asked for."""
        return min(self.right, N_LISTS)


@dataclass(frozen=True, eq=False)
class Kinds:
    """What a gradient and a direct effect say of the total effect: correlations with their intervals."""

    gradient: tuple[float, float, float]
    direct: tuple[float, float, float]
    n_heads: int
    n_contexts: int


@dataclass(frozen=True, eq=False)
class Found:
    """Everything that chapter 5 shows of a model."""

    model: str
    place: Place
    why: str
    shape: tuple[int, int]
    texts: list[InText]
    example: Example
    jobs: Jobs
    together: Together | None
    lists: NumberedLists
    kinds: Kinds

    @property
    def name(self) -> str:
        """The head's name."""
        return anatomy.name_of(self.place)

    @property
    def n_heads(self) -> int:
        """Heads of the model."""
        return self.shape[0] * self.shape[1]

    @property
    def cases(self) -> pd.DataFrame:
        """The winning cases of all texts."""
        return pd.concat([of.cases.assign(text=of.name) for of in self.texts], ignore_index=True)

    @property
    def shown_jobs(self) -> list[str]:
        """Jobs that the model does more often than not and in which the head's effect on the lead is above zero."""
        table = self.jobs.table
        able = [intervals.wilson(right, n)[0] > 0.5 for right, n in zip(table["right"], table["prompts"])]
        return table.loc[np.array(able, dtype=bool) & (table["low"] > 0), "job"].tolist()


# --- what is measured -------------------------------------------------------------------------------


def choose_head(
    model: TransformersModel,
    parts: Anatomy,
    classes: dict[str, ResolvedClass],
    *,
    seed: int,
    asked_for: Sequence[int] | None = None,
) -> tuple[Place, str]:
    """The head to study, and why: "asked for"; or "score", the highest successor score, if clear of chance; else "lists".

    Then it is the head without which the right answer to lists that count loses most of its lead, as a mean over kinds
    of list (mean ablation at the last position).
    """
    if asked_for is not None:
        layer, head = asked_for
        return (layer, head), "asked for"
    result = scores.score_heads(parts, classes)
    null = scores.permutation_null(result, n_permutations=1000, seed=seed).highest.numpy()
    if scores.macro_interval(result, *result.best, seed=seed)[0] > np.percentile(null, 97.5):
        return result.best, "score"
    asked = {task: prompts.counting_lists(resolved, most=6) for task, resolved in classes.items()}
    asked = {task: (lists, answers) for task, (lists, answers) in asked.items() if lists}
    if not asked:
        return result.best, "score"
    mean = prompts.mean_head_outputs(model, [text for lists, _ in asked.values() for text in lists])
    falls = [
        ablation.head_ablation_effects(
            model, lists, answers, members=classes[task].token_ids, replacement=mean
        ).difference_fall.mean(-1)
        for task, (lists, answers) in asked.items()
    ]
    return divmod(int(torch.stack(falls).mean(0).argmax()), parts.n_heads), "lists"


def measure(
    model: TransformersModel,
    parts: Anatomy,
    classes: Mapping[str, ResolvedClass],
    readings: Sequence[Reading],
    place: Place,
    *,
    why: str,
    name: str,
    seed: int,
) -> Found:
    """What a head does in the texts that were read, and on prompts. Raises UserError for a head that is not there."""
    if not (0 <= place[0] < parts.n_layers and 0 <= place[1] < parts.n_heads):
        raise UserError(
            f"There is no head {anatomy.name_of(place)}: this model has layers 0 to {parts.n_layers - 1} and heads 0 to {parts.n_heads - 1}."
        )
    mean = readings[-1].reference.mean
    jobs, asked = ask_jobs(model, parts, classes, place, mean=mean, seed=seed)
    read = [read_closely(model, parts, reading, place, seed=seed) for reading in readings]
    return Found(
        model=name,
        place=place,
        why=why,
        shape=(parts.n_layers, parts.n_heads),
        texts=read,
        example=_example(model, parts, readings, [of.cases for of in read], place),
        jobs=jobs,
        together=take_together(model, parts, asked.get("succession", []), jobs, place, mean=mean, seed=seed),
        lists=ask_numbered_lists(model, parts, mean=mean, seed=seed),
        kinds=compare_kinds(model, parts, readings[-1], place, seed=seed),
    )


def read_closely(
    model: TransformersModel,
    parts: Anatomy,
    reading: Reading,
    place: Place,
    *,
    seed: int,
    n_null: int = 160,
    folder: Path | None = None,
) -> InText:
    """One text: who wins where, what the head does there, what chance would give, and whose loss it saves.

    With a `folder` finished batches are kept there, as by `behaviours.read`.
    """
    layer, head = place
    effects, tokens = reading.effects, reading.tokens
    cases = behaviours.winning_cases(tokens, effects, layer=layer, head=head)
    labels = behaviours.labels(tokens, effects.attended[:, :, layer, head])
    rises = behaviours.loss_rises(model, reading, place, seed=seed, folder=folder)
    return InText(
        name=reading.text.name,
        natural=reading.text.natural,
        note=reading.text.note,
        digest=reading.text.digest,
        n_documents=len(reading.text.documents),
        document=reading.document,
        length=reading.contexts.shape[1],
        tokens=tokens,
        loss=float(effects.loss.mean()),
        wins=_wins(behaviours.winners(effects.mean), parts),
        cases=cases,
        labels=labels,
        losses={way: behaviours.loss_shares(rise, labels) for way, rise in rises.items()},
        rises={way: behaviours.by_label(rise, labels) for way, rise in rises.items()},
        shuffled={
            rules: behaviours.shuffled_counts(cases, rules=rules, seed=seed, n_contexts=len(tokens)) for rules in RULES
        },
        ordered=_against_order(model, parts, reading, place, seed=seed, n=n_null),
        kinds=_kinds(reading, parts, place),
        by_head=_by_head(reading, parts, place),
    )


def _wins(winners: Int[torch.Tensor, "context prefix"], parts: Anatomy) -> Int[np.ndarray, "context layer head"]:
    """How many prefixes of each context each head wins."""
    counts = [torch.bincount(row[row >= 0], minlength=parts.n_layers * parts.n_heads) for row in winners]
    return torch.stack(counts).view(-1, parts.n_layers, parts.n_heads).numpy()


def _kinds(reading: Reading, parts: Anatomy, place: Place) -> pd.DataFrame:
    """By kind of ablation: the head's mean effect, how many prefixes it wins, its rank, and how often the winner is mean ablation's."""
    by_mean, rows = behaviours.winners(reading.effects.mean), []
    for kind in ("mean", "zero", "resample", "frozen"):
        effects = getattr(reading.effects, kind)
        winners = behaviours.winners(effects)
        won = _wins(winners, parts).sum(0)
        rows.append(
            {
                "ablation": kind,
                "effect": effects[..., *place].mean().item(),
                "won": won[place] / winners.numel(),
                "rank": int((won > won[place]).sum()) + 1,
                "same winner": (winners == by_mean).double().mean().item(),
            }
        )
    return pd.DataFrame(rows)


def _against_order(
    model: TransformersModel, parts: Anatomy, reading: Reading, place: Place, *, seed: int, n: int
) -> pd.DataFrame:
    """On a sample of prefixes, the share that the head wins by its effect, and by what is left of it without a shuffled prefix's."""
    n = prompts.affordable(model, n, tokens=reading.contexts.shape[1])
    n_contexts, n_prefixes = reading.effects.loss.shape
    eligible = torch.cartesian_prod(torch.arange(n_contexts), torch.arange(8, n_prefixes))  # something to shuffle
    places = eligible[np.sort(np.random.default_rng(seed).permutation(len(eligible))[:n])]
    shuffled = behaviours.shuffled_effects(model, reading.contexts, places, mean=reading.reference.mean, seed=seed)
    effects = reading.effects.mean[places[:, 0], places[:, 1]]
    rows = []
    for measure, values in (("effect", effects), ("effect minus shuffled", effects - shuffled)):
        won = int((behaviours.winners(values) == place[0] * parts.n_heads + place[1]).sum())
        rows.append((measure, won, len(places), *intervals.wilson(won, len(places))))
    return pd.DataFrame(rows, columns=["measure", "won", "of", "low", "high"])


def _by_head(reading: Reading, parts: Anatomy, place: Place, *, most: int = 12) -> pd.DataFrame:
    """Winning cases by behaviour of the head's layer and of the heads that win most."""
    wins = _wins(behaviours.winners(reading.effects.mean), parts).sum(0)
    busiest: list[Place] = [divmod(int(flat), parts.n_heads) for flat in np.argsort(-wins, axis=None, kind="stable")]
    chosen = dict.fromkeys([place, *((place[0], other) for other in range(parts.n_heads)), *busiest])
    rows = {}
    for layer, head in sorted(list(chosen)[: max(most, parts.n_heads)]):
        cases = behaviours.winning_cases(reading.tokens, reading.effects, layer=layer, head=head)
        rows[anatomy.name_of((layer, head))] = cases["paper"].value_counts().reindex(BEHAVIOURS, fill_value=0)
    return pd.DataFrame(rows).T


def _example(
    model: TransformersModel,
    parts: Anatomy,
    readings: Sequence[Reading],
    cases: Sequence[pd.DataFrame],
    place: Place,
    *,
    window: int = 16,
) -> Example:
    """Of the winning cases that both sets of rules call succession the one with the largest effect; else of all, else of all places."""
    found: list[tuple[tuple[int, float], Reading, int, int, str]] = []
    for reading, won in zip(readings, cases, strict=True):
        effects = reading.effects.mean[..., *place]
        best, n_prefixes = int(effects.argmax()), effects.shape[1]
        found.append(((0, float(effects.max())), reading, best // n_prefixes, best % n_prefixes, ""))
        for case in won.itertuples():
            counts = case.paper == case.strict == "successorship"
            near = counts and case.prefix - case.attended[0] < window - 1 and case.weight[0] > 0.3
            found.append(((1 + counts + near, case.effect), reading, case.context, case.prefix, case.paper))
    _, reading, context, prefix, behaviour = max(found, key=lambda row: row[0])
    layer, _ = place
    ids = reading.contexts[context, : prefix + 1].tolist()
    answer = int(reading.contexts[context, prefix + 1])
    mean = reading.reference.mean
    first = max(0, len(ids) - window)
    with torch.no_grad(), model.trace(torch.tensor([ids]).to(model._module.device)):
        pattern = parts.attention(layer).output[1][0].save()
    return Example(
        text=reading.text.name,
        behaviour=behaviour,
        ids=ids,
        answer_id=answer,
        tokens=reading.tokens[context][first : prefix + 1],
        answer=reading.tokens[context][prefix + 1],
        patterns=pattern[:, first:, first:].float().cpu().numpy(),
        effects=reading.effects.mean[context, prefix].numpy(),
        raised=_raised(model, parts, ids, place, mean=mean),
        answer_odds=_odds(model, ids, answer, place, mean=mean),
    )


def _odds(
    model: TransformersModel,
    ids: list[int],
    answer: int,
    place: Place,
    *,
    mean: Float[torch.Tensor, "layer head d_head"],
) -> tuple[tuple[float, int], tuple[float, int]]:
    """Probability and rank of an answer, in the intact model and with a head ablated at the last position."""
    of_both = (ablation.logits_without(model, [ids], heads, mean=mean)[0] for heads in ([], [place]))
    intact, without = (
        (logits.softmax(-1)[answer].item(), int((logits > logits[answer]).sum()) + 1) for logits in of_both
    )
    return intact, without


def _raised(
    model: TransformersModel,
    parts: Anatomy,
    ids: list[int],
    place: Place,
    *,
    mean: Float[torch.Tensor, "layer head d_head"],
    n: int = 8,
) -> list[tuple[str, float]]:
    """The tokens whose logits fall most when what the head adds to the final stream is replaced by its mean."""
    stream, removed = head_share(model, parts, ids, place, mean=mean)
    every = torch.arange(parts.d_vocab)
    falls = (parts.logits(stream, every) - parts.logits(stream - removed, every)).cpu()
    top = falls.topk(n)
    return [(model.tokenizer.decode(token), value) for token, value in zip(top.indices.tolist(), top.values.tolist())]


def reading_of(case: Example, readings: Sequence[Reading]) -> Reading:
    """The reading in which a case stands."""
    return next(reading for reading in readings if reading.text.name == case.text)


def head_share(
    model: TransformersModel,
    parts: Anatomy,
    ids: Sequence[int],
    place: Place,
    *,
    mean: Float[torch.Tensor, "layer head d_head"],
) -> tuple[Float[torch.Tensor, " d_model"], Float[torch.Tensor, " d_model"]]:
    """The final stream of the last token, and what of it is due to the head being other than its `mean`."""
    layer, head = place
    with torch.no_grad(), model.trace(torch.tensor([list(ids)]).to(model._module.device)):
        z = parts.output_projection(layer).input[0, -1, ablation.head_columns(parts, head)].save()
        stream = model.get(parts.final_norm_path).input[0, -1].save()
    device = model._module.device  # where the weights are had, wherever this layer of a spread model is
    removed = (z.float().to(device) - mean[layer, head].to(device)) @ parts.w_o(layer)[head]
    return stream.float().to(device), direct_effects.norm_at_end(model, parts, ids, layer)(removed)


# --- prompts ----------------------------------------------------------------------------------------

# What is asked: the text before the answer, the answer, and a rival of the same category that would be wrong.
Asked = tuple[str, str, str]
# Token ids of the prompt, of the answer and of its rival.
Prompted = tuple[list[int], int, int]


def ask_succession(rng: np.random.Generator, known: Sequence[str]) -> Asked:
    """A list that counts, and a rival from elsewhere in it."""
    words = ordinals.CLASSES[rng.choice(known)].words
    at = rng.integers(min(len(words), 40) - 3)
    run = words[at : at + 4]
    rival = rng.choice([word for word in words[:40] if word not in run])
    return f"{run[0]}, {run[1]}, {run[2]}, ", run[3], rival


def ask_acronym(rng: np.random.Generator, _) -> Asked:
    """A name of three words and its initials, up to one of them."""
    name = [str(rng.choice(corpus.ADJECTIVES)).title(), *(str(w).title() for w in rng.choice(corpus.NOUNS, 2))]
    initials = "".join(word[0] for word in name)
    at = rng.integers(3)
    rivals = [letter for letter in "ABCDEFGHLMNOPRSTW" if letter not in initials]
    return f"The {' '.join(name)} ({initials[:at]}", initials[at], rng.choice(rivals)


def ask_copying(rng: np.random.Generator, _) -> Asked:
    """Two names that come back, and a third that does not."""
    first, second, third = rng.choice(corpus.PEOPLE, 3, replace=False)
    return f"{first} {second} opened the {rng.choice(corpus.NOUNS)}. Again {first} ", second, third


def ask_greater_than(rng: np.random.Generator, _) -> Asked:
    """A range, and a number below its start."""
    low = rng.integers(20, 80)
    answer, rival = rng.integers(low + 2, 99), rng.integers(2, low - 1)
    return f"The {rng.choice(corpus.NOUNS)}: pages {low} to ", str(answer), str(rival)


JOBS: dict[str, Callable[[np.random.Generator, Sequence[str]], Asked]] = {
    "succession": ask_succession,
    "acronym": ask_acronym,
    "copying": ask_copying,
    "greater-than": ask_greater_than,
}


def prompts_of(
    job: str, tokenizer, classes: Mapping[str, ResolvedClass], *, seed: int, n: int = 48, tries: int = 600
) -> list[Prompted]:
    """Prompts of a job; those are left out in which answer and rival do not begin with tokens of their own at one place."""
    rng, rows = np.random.default_rng(seed), []
    known = [task for task, resolved in classes.items() if len(resolved.source) > 3]
    for _ in range(tries if known or job != "succession" else 0):
        before, answer, rival = JOBS[job](rng, known)
        # What follows the answer keeps its token from running on.
        cuts = [prompts.split_at(tokenizer, f"{before}{word} ,", len(before)) for word in (answer, rival)]
        if cuts[0] and cuts[1] and cuts[0][0] == cuts[1][0] and cuts[0][1] != cuts[1][1]:
            rows.append((cuts[0][0], cuts[0][1], cuts[1][1]))
        if len(rows) == n:
            break
    return rows


def ask_jobs(
    model: TransformersModel,
    parts: Anatomy,
    classes: Mapping[str, ResolvedClass],
    place: Place,
    *,
    mean: Float[torch.Tensor, "layer head d_head"],
    seed: int,
) -> tuple[Jobs, dict[str, list[Prompted]]]:
    """Direct effects of all heads on the lead of the answer over its rival, job by job; and the prompts."""
    asked = {job: prompts_of(job, model.tokenizer, classes, seed=seed) for job in JOBS}
    asked = {job: rows for job, rows in asked.items() if len(rows) >= 8}
    rows, lead = [], {}
    for job, of_job in asked.items():
        ids, answers, rivals = zip(*of_job)
        both = torch.tensor([answers, rivals]).T
        of_answer, of_rival = direct_effects.direct_effects_at_end(model, ids, both, mean=mean).unbind(1)
        lead[job] = (of_answer - of_rival).numpy()
        logits = prompts.next_token_logits(model, ids)
        right = int((logits.gather(1, both[:, :1]) > logits.gather(1, both[:, 1:])).sum())
        by_head = lead[job].mean(0)
        mean_lead, low, high = intervals.mean_interval(lead[job][:, *place], seed=seed)
        first: Place = divmod(int(by_head.argmax()), parts.n_heads)
        rows.append(
            {
                "job": job,
                "prompts": len(of_job),
                "right": right,
                "lead": mean_lead,
                "low": low,
                "high": high,
                "rank": int((by_head > by_head[place]).sum()) + 1,
                "first": anatomy.name_of(first),
                "its lead": float(by_head[first]),
            }
        )
    columns = ["job", "prompts", "right", "lead", "low", "high", "rank", "first", "its lead"]
    return Jobs(pd.DataFrame(rows, columns=columns), lead), asked


def take_together(
    model: TransformersModel,
    parts: Anatomy,
    asked: Sequence[Prompted],
    jobs: Jobs,
    place: Place,
    *,
    mean: Float[torch.Tensor, "layer head d_head"],
    seed: int,
    n_draws: int = 6,
) -> Together | None:
    """Loss on half of the succession prompts without one, two or three heads, which the other half chose; None without prompts.

    The head itself and the two others with the largest direct effect on the lead; ablated at the last position.
    """
    if not asked:
        return None
    by_head = jobs.lead["succession"][::2].mean(0)
    order: list[Place] = [divmod(int(flat), parts.n_heads) for flat in np.argsort(-by_head, axis=None, kind="stable")]
    chosen = sorted([place, *[other for other in order if other != place][:2]], key=lambda other: -by_head[other])
    rest = [other for other in order if other not in chosen]
    judged = asked[1::2]
    ids, answers = [row[0] for row in judged], torch.tensor([row[1] for row in judged])

    rng = np.random.default_rng(seed)
    groups = [group for size in range(len(chosen) + 1) for group in combinations(sorted(chosen), size)]
    drawn = [
        tuple(rest[at] for at in rng.choice(len(rest), size, replace=False))
        for size in range(1, len(chosen) + 1)
        if len(rest) >= size
        for _ in range(n_draws)
    ]
    losses = ablation.losses_without(model, ids, answers, [*groups, *drawn], mean=mean).numpy()
    others: dict[int, list[float]] = {}
    for group, of_group in zip(drawn, losses[len(groups) :], strict=True):
        others.setdefault(len(group), []).append(float(of_group.mean()))
    changes = direct_effects.changes_of_logit(model, ids, answers, heads=[place], mean=mean)
    change = {part: float(values.mean()) for part, values in changes.items()}
    return Together(chosen, dict(zip(groups, losses)), others, change)


def numbered_list(rng: np.random.Generator) -> tuple[str, int]:
    """A numbered list of three items and the number of the fourth, at most nine; and where that number starts.

    Some tokenizers write larger numbers digit by digit, and a first digit does not tell which number is meant.
    """
    first, mark = int(rng.integers(1, 7)), rng.choice([".", ")"])
    lines = [f"{first + k}{mark} The {rng.choice(corpus.NOUNS)}" for k in range(4)]
    return "\n".join(lines) + "\n", sum(len(line) + 1 for line in lines[:3])


def ask_numbered_lists(
    model: TransformersModel,
    parts: Anatomy,
    *,
    mean: Float[torch.Tensor, "layer head d_head"],
    seed: int,
    tries: int = 128,
) -> NumberedLists:
    """Who wins the next number of numbered lists that we made and on which the model's first guess is right."""
    rng = np.random.default_rng(seed)
    cuts = (prompts.split_at(model.tokenizer, *numbered_list(rng)) for _ in range(tries))
    asked = [cut for cut in cuts if cut is not None]
    if not asked:
        return NumberedLists(0, 0, np.zeros((parts.n_layers, parts.n_heads), dtype=int))
    answers = torch.tensor([answer for _, answer in asked])
    guess = torch.cat(
        [
            prompts.next_token_logits(model, [ids for ids, _ in asked[at : at + 16]]).argmax(-1)
            for at in range(0, len(asked), 16)
        ]
    )
    right = (guess == answers).nonzero()[:, 0]
    some = right[:N_LISTS].tolist()
    if not some:
        return NumberedLists(len(asked), 0, np.zeros((parts.n_layers, parts.n_heads), dtype=int))
    effects = direct_effects.direct_effects_at_end(model, [asked[at][0] for at in some], answers[some], mean=mean)
    return NumberedLists(len(asked), len(right), _wins(behaviours.winners(effects)[None], parts)[0])


def compare_kinds(
    model: TransformersModel, parts: Anatomy, reading: Reading, place: Place, *, seed: int, n_contexts: int = 4
) -> Kinds:
    """Direct effects and one backward pass beside total effects, on a few contexts; in a large model of some heads."""
    # A backward pass keeps the logits of all positions, which a large vocabulary makes many; two contexts can be resampled.
    n_contexts = max(2, min(n_contexts, behaviours.contexts_at_once(model, reading.contexts)))
    contexts, length = reading.contexts[:n_contexts], reading.contexts.shape[1]
    every = [(layer, head) for layer in range(parts.n_layers) for head in range(parts.n_heads)]
    n = prompts.affordable(model, len(every) * len(contexts), tokens=4 * length) // len(contexts)
    drawn = np.random.default_rng(seed).permutation(len(every))[: max(4, n)]
    tried = every if n >= len(every) else sorted({place, *(every[at] for at in drawn)})
    mean = reading.reference.mean
    total = torch.stack(
        [
            reading.effects.logit[: len(contexts)]
            - ablation.ablated_in_text(model, contexts, [other], mean=mean, batch_size=len(contexts))[0]
            for other in tried
        ],
        -1,
    )
    columns = [layer * parts.n_heads + head for layer, head in tried]
    gradient = ablation.gradient_attribution(model, contexts, mean=mean).flatten(1)[:, columns]
    own = tried.index(place)
    return Kinds(
        gradient=_correlation(gradient.numpy(), total.sum(1).numpy(), seed=seed),
        direct=_correlation(
            reading.effects.mean[: len(contexts)][..., *place].numpy(), total[..., own].numpy(), seed=seed
        ),
        n_heads=len(tried),
        n_contexts=len(contexts),
    )


def _correlation(x: np.ndarray, y: np.ndarray, *, seed: int) -> tuple[float, float, float]:
    """Pearson's r with its 95% interval, contexts resampled; both are [context, ...]."""
    draws = np.random.default_rng(seed).integers(len(x), size=(300, len(x)))
    with np.errstate(invalid="ignore", divide="ignore"):  # nothing varies
        found = [np.corrcoef(x[draw].ravel(), y[draw].ravel())[0, 1] for draw in (np.arange(len(x)), *draws)]
    low, high = np.nanpercentile(found[1:], [2.5, 97.5]) if np.isfinite(found[1:]).any() else (np.nan, np.nan)
    return float(found[0]), float(low), float(high)


# --- what it comes to -------------------------------------------------------------------------------


def verdict(found: Found) -> Verdict:
    """What the head does in text.

    "no_cases": it wins nowhere; "few_cases": too seldom to say more. By the paper's rules and by ours, against answers
    shuffled within contexts and corrected for all behaviours and texts: "several", succession is clear of chance in some
    text, and so is acronym or copying, there or on prompts made for it; "counts", succession alone; "other_work", some
    behaviour, but not succession; "unnamed", none.
    """
    n = sum(of.n_prefixes for of in found.texts)
    counted = "; ".join(_told(of) for of in found.texts if len(of.cases))
    told = f"of the places where, of all heads, it does most for the next token (its winning cases), {counted}"
    if not counted:
        return Verdict(
            "no_cases", f"**{found.name} matters most nowhere:** of {n:,} prefixes it wins none. {_on_lists(found)}"
        )
    if not any(of.has_enough for of in found.texts):
        return Verdict(
            "few_cases",
            f"**{found.name} matters most almost nowhere:** of {n:,} prefixes it wins {len(found.cases)}, "
            f"too few to say what it does there. {_on_lists(found)}",
        )
    clear = {behaviour for of in found.texts for behaviour in of.clear(n_texts=len(found.texts))}
    jobs = [job for job in found.shown_jobs if job in ("acronym", "copying")]
    clear_in = {each: [of.name for of in found.texts if each in of.clear(n_texts=len(found.texts))] for each in NAMED}
    in_text = [f"{DOES[behaviour]} in {listed(clear_in[behaviour])}" for behaviour in DOES if behaviour in clear]
    on_prompts = [DOES[behaviour] for behaviour in DOES if behaviour in jobs and behaviour not in clear]
    left = [f"{of.cases_of('other').share:.0%} in {of.name}" for of in found.texts if len(of.cases)]
    rest = f" Of its cases {listed(left)} have no name. Not shown: that the model needs it there."
    if "successorship" in clear:
        if in_text or on_prompts:
            also = f" More often than chance, by both sets of rules, it also {listed(in_text)}." if in_text else ""
            also += f" On prompts made for it, it also {listed(on_prompts)}." if on_prompts else ""
            return Verdict(
                "several",
                f"**{found.name} counts in text ({listed(clear_in['successorship'])}), and has other work as well:** {told}.{also}{rest}",
            )
        return Verdict(
            "counts",
            f"**{found.name} counts in text ({listed(clear_in['successorship'])}):** {told}. No other behaviour is clear of chance.{rest}",
        )
    if clear:
        return Verdict(
            "other_work",
            f"**{found.name} does not visibly count in this text:** {told}. What is clear of chance is "
            f"{listed([_noun(behaviour) for behaviour in NAMED if behaviour in clear])}.{rest} {_on_lists(found)}",
        )
    return Verdict(
        "unnamed",
        f"**What {found.name} does in this text has no name:** {told}. No behaviour is clear of chance.{rest} {_on_lists(found)}",
    )


def _told(of: InText) -> str:
    """Succession among the winning cases of one text: the count, and the share where it is not tiny."""
    cases = of.cases_of("successorship")
    chance = of.chance("paper")["successorship"]
    share = (
        f" ({100 * cases.low:.0f} to {100 * cases.high:.0f}%, with answers shuffled {chance:.1%})"
        if cases.n >= 10
        else ""
    )
    return f"in {of.label} {cases.n} of {cases.of:,} are succession{share}"


def _on_lists(found: Found) -> str:
    """What the head is to lists that count, which no text decides."""
    won = f"of {found.lists.asked} numbered lists that the model gets right it wins {found.lists.wins[found.place]}"
    won = won if found.lists.asked else "the model gets no numbered list right"
    if found.together is None:
        return f"{won[0].upper()}{won[1:]}."
    intact, alone = found.together.without()[0], found.together.without(found.place)[0]
    return f"Without it the loss on lists that count goes from {intact:.2f} to {alone:.2f}, and {won}."


def _percent(share: Share) -> str:
    """A share and its interval, as 20% (15 to 25); a dash where there is nothing to share."""
    if np.isnan(share.share):
        return "–"
    digits = 1 if 0 < share.share < 0.01 else 0
    return f"{share.share:.{digits}%} ({100 * share.low:.{digits}f} to {100 * share.high:.{digits}f})"


def _counted(share: Share) -> str:
    """A count among winning cases, with the share where they are enough for one."""
    return f"{share.n:,} of {share.of:,}" + (f", {_percent(share)}" if share.of >= LEAST_CASES else "")


DOES = {"acronym": "writes acronyms", "copying": "copies"}


def _rise(rise: Sequence[float], *, digits: int = 3) -> str:
    """A rise of the loss with its interval, as +0.012 (0.003 to 0.020)."""
    value, low, high = rise
    return f"{value:+z.{digits}f} ({low:z.{digits}f} to {high:z.{digits}f})"


def _whole(share: Share) -> str:
    return "–" if np.isnan(share.share) else f"{share.share:.0%}"


def _noun(behaviour: str) -> str:
    return {"successorship": "succession", "acronym": "acronyms"}.get(behaviour, behaviour)


def _quoted(token: str) -> str:
    """A token between quotation marks, as HTML."""
    return f"“{html.escape(token.strip() or token.replace(chr(10), '⏎'))}”"


# --- what is drawn ----------------------------------------------------------------------------------


def draw_behaviours(found: Found) -> Drawing | Markdown:
    """The shares of behaviours among the head's winning cases, with chance and with what the paper reports."""
    paper = reported.winning_cases()
    read = [of for of in found.texts if of.has_enough]
    if not read:
        return Markdown(f"Fewer than {LEAST_CASES} winning cases have no shares to draw.")
    figs, axes = figures.panels(len(read), height=2.5)
    places, highest = -np.arange(len(NAMED)), max(of.cases_of(behaviour).high for of in read for behaviour in NAMED)
    for ax, of in zip(axes, read):
        shares = [of.cases_of(behaviour) for behaviour in NAMED]
        ax.barh(places, [share.share for share in shares], height=0.55, color=PALETTE["blue"], label=found.name)
        ax.hlines(places, [s.low for s in shares], [s.high for s in shares], color=figures.INK, linewidth=1.3)
        chance = [of.chance("paper")[behaviour] for behaviour in NAMED]
        ax.plot(chance, places, "|", color=PALETTE["red"], markersize=13, markeredgewidth=2, label="shuffled")
        ax.plot([paper[b] for b in NAMED], places, "D", color=PALETTE["orange"], markersize=6, label="reported")
        ax.set(
            yticks=places,
            yticklabels=NAMED,
            xlim=(0, max(0.5, 1.02 * highest)),
            ylim=(0.6 - len(NAMED), 0.5),
            xlabel="winning cases",
            title=of.name,
        )
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.tick_params(axis="y", length=0)
    axes[-1].legend(handlelength=1.2, borderaxespad=0)  # wherever no bar is
    first = "; ".join(f"{of.cases_of('successorship').n} of {len(of.cases):,} in {of.name}" for of in read)
    return Drawing(
        figs,
        alt=[
            f"Bars of the winning cases of {found.name} in {of.name} by behaviour: " + _all_cases(of) + "."
            for of in read
        ],
        caption=f"Of the winning cases of {found.name} these are succession: {first}.",
        details=" ".join(f"In {of.label}: {_all_cases(of)}." for of in read)
        + " By the paper's rules. Lines: 95% bootstrap intervals, documents resampled; of none, Wilson's of so many documents. Red: the same attended tokens with the "
        f"answers shuffled among the head's winning cases of one context. Orange: {reported.wild()['head']} of Pythia-1.4B in the Pile as reported.",
    )


def _all_cases(of: InText) -> str:
    return ", ".join(f"{behaviour} {(of.cases['paper'] == behaviour).sum()}" for behaviour in BEHAVIOURS)


def draw_attention(found: Found) -> Attention:
    """Where the heads of the layer look in the case that is read closely."""
    case = found.example
    layer, head = found.place
    row = case.patterns[head, -1]
    looked = int(row.argmax())
    return Attention(
        case.tokens,
        case.patterns,
        names=[anatomy.name_of((layer, other)) for other in range(len(case.patterns))],
        chosen=head,
        answer=case.answer,
        alt=f"The last {len(case.tokens)} tokens of a winning case, shaded by the attention of a head of layer {layer}. "
        f"{found.name} gives {row[looked]:.0%} to {case.tokens[looked].strip()}.",
        caption=f"Before {_quoted(case.answer)} {found.name} gives {row[looked]:.0%} of its attention to {_quoted(case.tokens[looked])}.",
        details=f"{_why_this(case)} It is shown by its last {len(case.tokens)} tokens, and stands in {case.text}. The head's direct "
        f"effect is {case.effects[found.place]:.2f} logits.",
    )


def _why_this(case: Example) -> str:
    if case.behaviour == "successorship":
        return "Of the winning cases that are succession, by both sets of rules if there are such, the one with the largest effect."
    if case.behaviour:
        return f"There is no winning case of succession here: this one, by the paper's rules {case.behaviour}, has the largest effect of all."
    return "The head wins nowhere here: this is where its effect is largest."


def draw_written(found: Found, *, most: int = 8) -> Drawing:
    """What the head raises in the case that is read closely, and how much each head does for the answer there."""
    case = found.example
    figs, axes = figures.panels(2, height=2.8)
    tokens, values = zip(*case.raised[:most])
    flat = np.argsort(-np.abs(case.effects), axis=None, kind="stable")[:most]
    heads = [divmod(int(at), found.shape[1]) for at in flat]
    heads = heads if found.place in heads else [*heads[:-1], found.place]
    is_answer = [token.strip() == case.answer.strip() for token in tokens]
    shown = [token.strip() or token.replace("\n", "⏎") for token in tokens]
    for ax, names, of_row, marked, title in (
        (axes[0], shown, values, is_answer, f"what {found.name} raises"),
        (axes[1], [anatomy.name_of(p) for p in heads], [case.effects[p] for p in heads], [p == found.place for p in heads], "on the answer"),
    ):  # fmt: skip  # a row a panel
        colors = [PALETTE["orange"] if is_so else PALETTE["blue"] for is_so in marked]
        ax.barh(range(len(names)), of_row, color=colors)
        ax.set(yticks=range(len(names)), xlabel="direct effect (logits)", title=title)
        ax.set_yticklabels([name.replace("$", r"\$") for name in names])
        ax.axvline(0, color=figures.INK, linewidth=0.8)
        ax.invert_yaxis()
        ax.tick_params(axis="y", length=0)
    (before, rank_before), (after, rank_after) = case.answer_odds
    ranked = 1 + int((case.effects > case.effects[found.place]).sum())
    return Drawing(
        figs,
        alt=[
            f"Bars: the tokens that {found.name} raises most are {', '.join(shown[:4])}.",
            f"Bars: direct effects on the answer {case.answer.strip()}; {found.name} has {case.effects[found.place]:.2f}.",
        ],
        caption=f"Of the {found.n_heads} heads {found.name} is number {ranked} for {_quoted(case.answer)}; with it ablated the "
        f"answer's probability goes from {before:.2g} to {after:.2g}.",
        details=f"Left: direct effect of {found.name}, by equation (1), on every token of the vocabulary; shown are the {len(tokens)} "
        f"largest. Right: the heads with the largest direct effects on the answer. Mean ablation at the last position takes the answer "
        f"from rank {rank_before} to rank {rank_after} of the model's guesses.",
    )


def draw_won(found: Found, *, most: int = 8) -> Drawing:
    """Which heads win the most prefixes, text by text."""
    figs, axes = figures.panels(len(found.texts), height=2.6)
    told, alts = [], []
    for ax, of in zip(axes, found.texts):
        shares = of.wins.sum(0) / of.n_prefixes
        order = [divmod(int(flat), found.shape[1]) for flat in np.argsort(-shares, axis=None, kind="stable")]
        heads = order[:most] if found.place in order[:most] else [*order[: most - 1], found.place]
        colors = [PALETTE["orange"] if place == found.place else PALETTE["blue"] for place in heads]
        ax.barh(range(len(heads)), [shares[place] for place in heads], color=colors, height=0.65)
        ax.axvline(1 / found.n_heads, color=figures.INK, linewidth=1, linestyle=":")
        ax.set(yticks=range(len(heads)), yticklabels=map(anatomy.name_of, heads), title=of.name, xlabel="prefixes won")
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.invert_yaxis()
        ax.tick_params(axis="y", length=0)
        rank = order.index(found.place) + 1
        told.append(f"{of.won(found.place).n:,} of {of.n_prefixes:,} in {of.name} (number {rank})")
        alts.append(
            f"Bars of prefixes won in {of.name}: most by {anatomy.name_of(order[0])}; {found.name} is number {rank}."
        )
    return Drawing(
        figs,
        alt=alts,
        caption=f"{found.name} wins {listed(told)}.",
        details="Shares and 95% bootstrap intervals, documents resampled: "
        + "; ".join(f"{of.label} {_percent(of.won(found.place))}" for of in found.texts)
        + f". Dotted: one prefix in {found.n_heads}, what a head would win if heads won by lot. Ranks are among all {found.n_heads} heads.",
    )


def draw_passages(found: Found, *, each: int = 2, before: int = 26, seed: int = 0) -> Passages | Markdown:
    """Some winning cases as they stand in the text, drawn at random from each behaviour."""
    cases, by_name, rows = found.cases, {of.name: of for of in found.texts}, []
    for behaviour in BEHAVIOURS:
        of_behaviour = cases[cases["paper"] == behaviour]
        for case in of_behaviour.sample(min(each, len(of_behaviour)), random_state=seed).itertuples():
            row = by_name[case.text].tokens[case.context]
            first = max(0, case.prefix - before)
            weights = np.zeros(case.prefix + 1)
            weights[case.attended] = case.weight
            heading = f"{behaviour} · {by_name[case.text].label} · effect {case.effect:.2f} logits"
            rows.append((heading, row[first : case.prefix + 1], weights[first:].tolist(), case.answer))
    if not rows:
        return Markdown(f"{found.name} wins no prefix here, so there is no passage to show.")
    return Passages(
        rows,
        alt=f"{len(rows)} passages in which {found.name} has the largest direct effect, sorted by behaviour.",
        caption=f"{len(rows)} of the {len(cases):,} winning cases of {found.name}, drawn by lot, at most {each} of each behaviour.",
        details="The shade is the head's attention from the last token before the arrow; behind the arrow stands what comes next in the text.",
    )


def draw_losses(found: Found) -> Drawing:
    """The shares of behaviours in ΔL by path, beside what the paper reports."""
    figs, axes = figures.panels(len(found.texts), height=3.1)
    places, paper = -np.arange(len(NAMED)), {path: reported.loss_shares(path, "mean") for path in PATHS}
    for ax, of in zip(axes, found.texts):
        for shift, (path, color) in enumerate(zip(PATHS, ("blue", "grey", "violet"))):
            shares = [of.loss_share(behaviour, path) for behaviour in NAMED]
            at = places - 0.26 * (shift - 1)
            ax.barh(at, [share.share for share in shares], height=0.24, color=PALETTE[color], label=path)
            ax.hlines(at, [s.low for s in shares], [s.high for s in shares], color=figures.INK, linewidth=1.2)
            marks = [paper[path][behaviour] for behaviour in NAMED]
            ax.plot(marks, at, "D", color=PALETTE["orange"], markersize=4.5, label="reported" if shift == 2 else None)
            lot = [of.loss_by_lot(behaviour, path) for behaviour in NAMED]
            ax.plot(
                lot,
                at,
                "|",
                color=PALETTE["red"],
                markersize=7,
                markeredgewidth=2,
                label="by lot" if shift == 2 else None,
            )
        ax.set(yticks=places, yticklabels=NAMED, ylim=(0.5 - len(NAMED), 0.5), title=of.name, xlabel="share of ΔL")
        ax.set_xlim(0, max(0.5, *(of.loss_share(behaviour, path).high for behaviour in NAMED for path in PATHS)) * 1.02)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.tick_params(axis="y", length=0)
    axes[-1].legend()  # wherever no bar is
    ways = [
        f"{_whole(of.loss_share('successorship'))} by the direct path and {_whole(of.loss_share('successorship', 'indirect'))} "
        f"by the indirect one in {of.name}"
        for of in found.texts
    ]
    rises = "; ".join(
        f"{of.label} " + ", ".join(f"{path} {_rise(of.mean_rise(path))}" for path in PATHS) + " nats"
        for of in found.texts
    )
    return Drawing(
        figs,
        alt=[
            f"Bars of the share of loss reduced in {of.name}, by behaviour and path: direct "
            + ", ".join(f"{behaviour} {of.loss_share(behaviour).share:.0%}" for behaviour in NAMED)
            + "."
            for of in found.texts
        ],
        caption=f"Of all the loss that {found.name} reduces, succession has {listed(ways)}.",
        details=f"Mean ablation. Lines: 95% bootstrap intervals, documents resampled. Orange: as reported. Red: what it would be if the "
        f"loss of each context fell on all its prefixes alike. Over all prefixes, those "
        f"included where the loss falls, it rises without {found.name} on average by: {rises}.",
    )


def draw_jobs(found: Found) -> Drawing | Markdown:
    """Direct effects on the lead of the answer over its rival, heads by jobs."""
    table, lead = found.jobs.table, found.jobs.lead
    if table.empty:
        return Markdown("This tokenizer cannot write these prompts with a single token that begins the answer.")
    means = {job: effects.mean(0) for job, effects in lead.items()}
    heads = {found.place}
    for by_head in means.values():
        heads |= {divmod(int(flat), found.shape[1]) for flat in np.argsort(-by_head, axis=None, kind="stable")[:3]}
    values = pd.DataFrame({job: [by_head[place] for place in sorted(heads)] for job, by_head in means.items()})
    values.index = pd.Index(map(anatomy.name_of, sorted(heads)))
    fig, ax = figures.panel(height=0.32 * len(values) + 1.0, width=figures.NARROW)
    figures.cells(values, ax=ax, label="effect on the lead (logits)", signed=True)
    shown = found.shown_jobs
    of_all = f"{len(shown) or 'none'} of {len(table)} jobs" + (
        f", {listed([_noun(job) for job in shown])}" if shown else ""
    )
    rows = "; ".join(
        f"{row.job}: right in {row.right} of {row.prompts}, {found.name} {row.lead:+.2f} ({row.low:+.2f} to {row.high:+.2f}), rank {row.rank}, "
        f"first {row.first} ({row._9:+.2f})"
        for row in table.itertuples()
    )
    return Drawing(
        fig,
        alt=f"Heat map of direct effects on the lead, heads by jobs: {rows}.",
        caption=f"On prompts of one job each {found.name} adds to the answer's lead over its rival in {of_all}.",
        details=f"Shown are {found.name} and the three first heads of each job. A job counts where the model prefers the answer to the "
        f"rival more often than not and the head's effect is above zero, both beyond a 95% interval. {rows}.",
    )


def draw_together(found: Found) -> Drawing | Markdown:
    """Loss on lists without one, two and three heads, and without as many others."""
    together = found.together
    if together is None:
        return Markdown("There are no succession prompts for this tokenizer.")
    groups = sorted(together.loss, key=lambda group: (len(group), [together.heads.index(place) for place in group]))
    names = ["none"] + [
        " and ".join(map(anatomy.name_of, group)) if len(group) < 3 else "all three" for group in groups[1:]
    ]
    rows = [together.without(*group) for group in groups]
    for size, drawn in together.others.items():
        names.append(f"{size} other{'s' if size > 1 else ''}")
        rows.append((float(np.mean(drawn)), min(drawn), max(drawn)))
    fig, ax = figures.panel(height=0.27 * len(rows) + 0.9, width=figures.NARROW)
    figures.interval_bars(ax, values=[row[0] for row in rows], intervals=[row[1:] for row in rows], names=names)
    for bar in ax.patches[len(groups) :]:
        bar.set_color(PALETTE["grey"])
    ax.set(xlim=(0, 1.05 * max(row[2] for row in rows)), xlabel="mean loss on the answer (nats)")
    intact, alone, all_three = together.without(), together.without(found.place), together.without(*together.heads)
    singles = sum(together.without(place)[0] - intact[0] for place in together.heads)
    change = dict(together.change)
    lost, by_norm = change.pop(found.name), change.pop(direct_effects.FINAL_NORM)
    order = sorted(change, key=lambda part: -change[part])
    risen, fallen = (
        ", ".join(f"{part} {change[part]:+.2f}" for part in some if abs(change[part]) >= 0.005) or "none"
        for some in (
            [part for part in order if change[part] > 0][:3],
            [part for part in reversed(order) if change[part] < 0][:2],
        )
    )
    n = len(together.loss[()])
    return Drawing(
        fig,
        alt="Bars of the mean loss on the answer: "
        + "; ".join(f"without {name} {row[0]:.2f}" for name, row in zip(names, rows))
        + ".",
        caption=f"Without {found.name} the loss on lists that count goes from {intact[0]:.2f} to {alone[0]:.2f}, without all three heads to {all_three[0]:.2f}.",
        details=f"{n} succession prompts; the heads ({listed([anatomy.name_of(place) for place in together.heads])}) are {found.name} and the two others with the largest direct "
        f"effect on as many other prompts. Mean ablation at the last position; lines are 95% intervals over prompts, for other heads the "
        f"range of {len(next(iter(together.others.values()), []))} draws. One by one the three cost {singles:.2f} nats in sum, together {all_three[0] - intact[0]:.2f}. "
        f"With {found.name} ablated its own part of the answer's logit changes by {lost:+.2f}, and the last norm's other divisor adds {by_norm:+.2f}. "
        f"By what they write, most risen: {risen}; most fallen: {fallen}.",
    )


def draw_by_head(found: Found) -> Drawing:
    """What the heads of the layer and the busiest others do where they win."""
    figs, axes = figures.panels(len(found.texts), height=0.3 * max(len(of.by_head) for of in found.texts) + 1.5)
    told, alts, most = [], [], 0
    for ax, of in zip(axes, found.texts):
        shares = of.by_head[list(NAMED)].div(of.by_head.sum(axis=1).replace(0, np.nan), axis=0)
        short = {"successorship": "success.", "greater-than": "greater"}
        highest = float(np.nanmax(shares.to_numpy())) if shares.notna().any(axis=None) else 1.0
        figures.cells(shares.rename(columns=short), ax=ax, label="", highest=max(0.05, highest))
        ax.set_title(of.name)
        ax.set_xticks(ax.get_xticks(), [short.get(name, name) for name in NAMED], rotation=40, ha="right")
        best = of.by_head["successorship"].idxmax()
        n, most = int(of.by_head.loc[best, "successorship"]), max(most, int(of.by_head["successorship"].max()))
        told.append(
            f"{best} in {of.name} ({n} of its {of.by_head.loc[best].sum()} cases)" if n else f"none in {of.name}"
        )
        alts.append(
            f"Heat map of behaviours by head in {of.name}; "
            + (f"most succession in {best}." if n else "no succession at all.")
        )
    return Drawing(
        figs,
        alt=alts,
        caption=f"The most winning cases of succession are those of {listed(told)}."
        if most
        else "No head that is shown has a winning case of succession.",
        details="Shares of each head's own winning cases, by the paper's rules; the heads of the layer and those that win most.",
    )


# --- tables -----------------------------------------------------------------------------------------


def draw_texts(found: Found) -> Table:
    """What was read."""
    rows = [
        (of.label, f"{len(of.document)} of {of.length} tokens", of.n_documents, f"{of.loss:.2f}", of.digest[:8])
        for of in found.texts
    ]
    notes = " ".join(of.note for of in found.texts if of.note)
    return Table(
        pd.DataFrame(rows, columns=["text", "contexts", "documents", "loss (nats)", "digest"]),
        caption=f"What {found.model} has read: {sum(of.n_prefixes for of in found.texts):,} prefixes.",
        details=(notes + " " if notes else "")
        + "Loss: mean over all prefixes. The digest tells whether two machines have read the same text.",
    )


def draw_cases(found: Found) -> Table:
    """Winning cases by behaviour, as reported and as counted here; and numbered lists."""
    paper, lists = reported.winning_cases(), found.lists
    columns = {
        "as reported": [f"{paper[behaviour]:.1%}" if paper[behaviour] else "negligible" for behaviour in BEHAVIOURS]
    }
    for of in found.texts[:3]:
        counts = [of.cases_of(behaviour) for behaviour in BEHAVIOURS]
        columns[of.name] = [_counted(share) for share in counts]
    table = pd.DataFrame(columns, index=list(BEHAVIOURS))
    won = int(lists.wins[found.place])
    right, of_paper = reported.wild()["numbered_lists"]
    table.loc["numbered lists won"] = [
        f"{right} of {of_paper}",
        *["–"] * (len(table.columns) - 2),
        f"{won} of {lists.asked}" if lists.asked else "none right",
    ]
    most = divmod(int(lists.wins.argmax()), found.shape[1])
    other = f", {anatomy.name_of(most)} {lists.wins[most]}" if lists.asked and most != found.place else ""
    return Table(
        table.rename_axis("winning cases"),
        caption=f"Winning cases by the paper's rules: {reported.wild()['head']} of Pythia-1.4B in the Pile as reported, and {found.name} of {found.model}.",
        details="Shares with 95% bootstrap intervals, documents resampled; of none or all, Wilson's of so many documents. Numbered lists: the paper's stand in the Pile, "
        "ours were made, and the model is right on them. "
        f"Here {lists.right} of {lists.tried} numbered lists"
        + (f"; of {lists.asked} of these {found.name} wins {won}{other}." if lists.asked else "."),
    )


def draw_paths(found: Found, text: InText) -> Table:
    """Shares of ΔL by path and ablation, as reported and as measured in one text."""
    rows = {}
    for path in PATHS:
        for kind in KINDS:
            paper = reported.loss_shares(path, kind)
            rows[f"{path}, {kind}"] = {
                behaviour: f"{100 * paper[behaviour]:.2g} / {100 * text.loss_share(behaviour, path, kind).share:.2g}"
                for behaviour in NAMED
            }
    order = "; ".join(
        f"{behaviour} {_percent(text.loss_share(behaviour))}, {text.loss_share(behaviour).n} of {text.loss_share(behaviour).of:,} cases"
        for behaviour in NAMED
    )
    return Table(
        pd.DataFrame(rows).T.rename_axis("path, ablation"),
        caption=f"Shares of ΔL in percent, as reported / as measured, {found.name} in {text.label}.",
        details=f"Direct, mean, with 95% bootstrap intervals, documents resampled: {order}. What is missing to 100 is “other”.",
    )


def draw_paths_of_first(found: Found) -> Table | Markdown:
    """The same in the first text, where several were read."""
    if len(found.texts) == 1:
        return Markdown(f"Only {found.texts[0].name} was read: its shares stand above.")
    return draw_paths(found, found.texts[0])


def draw_strict(found: Found) -> Table:
    """Winning cases by our stricter rules, with chance within contexts."""
    columns = {}
    for of in found.texts[:2]:
        counts = [of.cases_of(behaviour, rules="strict") for behaviour in NAMED]
        chance = [of.chance("strict")[behaviour] for behaviour in NAMED]
        columns[f"{of.name}; shuffled"] = [
            f"{_counted(share)}; {by_chance:.1%}" if share.of else "–" for share, by_chance in zip(counts, chance)
        ]
    both = {of.name: int((of.cases["paper"] == of.cases["strict"]).sum()) for of in found.texts}
    return Table(
        pd.DataFrame(columns, index=list(NAMED)).rename_axis("stricter rules"),
        caption=f"Winning cases of {found.name} by our stricter rules.",
        details="With answers shuffled among the head's winning cases of one context. Both sets of rules agree on "
        + ", ".join(f"{n} of {len(of.cases):,} cases in {of.name}" for n, of in zip(both.values(), found.texts))
        + ".",
    )


def draw_ordered(found: Found) -> Table:
    """Prefixes that the head wins by its effect, and with what a shuffled prefix gives taken off."""
    columns = {
        of.name: [
            f"{row.won} of {row.of} ({100 * row.low:.0f} to {100 * row.high:.0f}%)" for row in of.ordered.itertuples()
        ]
        for of in found.texts[:4]
    }
    return Table(
        pd.DataFrame(columns, index=found.texts[0].ordered["measure"].tolist()).rename_axis("sampled prefixes won"),
        caption=f"Sampled prefixes that {found.name} wins, before and after the effect in a shuffled prefix is taken off every head's.",
        details="95% Wilson intervals. Shuffled: the same words in random order, the last token in its place; the mean of two orders.",
    )


def draw_kinds(found: Found) -> Table:
    """By kind of ablation what the head does in the last text, and what a gradient and the direct effect say of the total."""
    kinds, of = found.kinds, found.texts[-1]
    # Two contexts have nothing to resample.
    enough = kinds.n_contexts >= 4
    gradient, direct = (
        f"{r:.2f}" + (f" ({low:.2f} to {high:.2f})" if enough else "")
        for r, low, high in (kinds.gradient, kinds.direct)
    )
    table = of.kinds.assign(won=[f"{share:.1%}" for share in of.kinds["won"]]).set_index("ablation")
    return Table(
        table.rename(columns={"effect": "mean effect (logits)", "won": "prefixes won"}),
        caption=f"{found.name} in {of.label} by kind of ablation.",
        details=f"“Same winner”: share of prefixes at which the winner is mean ablation's. Over {kinds.n_heads} heads and {kinds.n_contexts} contexts "
        f"the correlation of a gradient's prediction with the total effect is {gradient}; that of the direct with the total effect of "
        f"{found.name}, over prefixes, {direct}.",
    )


Run = Mapping[str, Any]  # of one model, as `behaviours.stored_runs` has them


def _texts_of(runs: Sequence[Run]) -> list[tuple[Run, Mapping[str, Any], str]]:
    """Each run with each of its texts, and how a row calls them."""
    return [(run, text, f"{run['model']} {run['head']}, {text['name']}") for run in runs for text in run["texts"]]


def draw_stored_runs(runs: Sequence[Run]) -> Table:
    """Succession and copying as the paper reports and in stored runs: winning cases and shares of ΔL, with what chance gives."""
    shown = {"successorship": "succession", "copying": "copying"}
    paper, of_loss = reported.winning_cases(), reported.loss_shares("direct", "mean")
    rows = {
        f"Pythia-1.4B {reported.wild()['head']}, the Pile (as reported)": [
            *(f"{paper[behaviour]:.1%}" if paper[behaviour] else "negligible" for behaviour in shown),
            *(f"{100 * of_loss[behaviour]:.2g}" for behaviour in shown),
        ]
    } | {
        name: [
            *(_beside_chance(text, behaviour) for behaviour in shown),
            *(_beside_lot(text, behaviour, "direct, mean") for behaviour in shown),
        ]
        for _, text, name in _texts_of(runs)
    }
    clear = {
        called: listed([name for _, text, name in _texts_of(runs) if behaviour in text["clear"]]) or "none"
        for behaviour, called in shown.items()
    }
    columns = [
        *(f"{called}; shuffled" for called in shown.values()),
        *(f"ΔL %, {called}; by lot" for called in shown.values()),
    ]
    return Table(
        pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("head, text"),
        caption="Clear of chance by both sets of rules: "
        + "; ".join(f"{called} for {who}" for called, who in clear.items())
        + ".",
        details=f"Of the winning cases, and of ΔL by the direct path under mean ablation. Shuffled: with answers shuffled within contexts, not "
        f"said of fewer than {LEAST_CASES} cases. By lot: if the loss of each context fell on all its prefixes alike. In brackets 95% bootstrap intervals, "
        f"documents resampled. {_measured_on(runs)} {_lists_of(runs)} Books: eleven of the public domain that no grown model has read; their text is not part of this project.",
    )


def _beside_chance(text: Mapping[str, Any], behaviour: str, *, interval: bool = False) -> str:
    """Winning cases of a behaviour, as 38 of 51; 30%: what shuffled answers give is behind the semicolon."""
    share = Share(*text["cases"][behaviour])
    counted = _counted(share) if interval else f"{share.n:,} of {share.of:,}"
    return counted + (f"; {text['chance'][behaviour]:.1%}" if share.of >= LEAST_CASES else "")


def _beside_lot(text: Mapping[str, Any], behaviour: str, way: str) -> str:
    """The share of a behaviour in ΔL in percent, as 74 (66 to 79); 26: what it would have by lot is behind the semicolon."""
    share = _percent(Share(*text["losses"][way][behaviour])).replace("%", "")
    return f"{share}; {100 * text['by_lot'][way][behaviour]:.2g}"


def _measured_on(runs: Sequence[Run]) -> str:
    """On how much of which text, by which head, and for how long each run was made."""
    why = {"score": "highest successor score", "lists": "largest effect on lists that count"}
    each = (
        f"{run['model']} {run['head']} ({why[run['why']]}), "
        + ", ".join(
            f"{text['contexts']} contexts of {text['length']} tokens"
            + (f" from {text['documents']} documents" if text["documents"] else "")
            + f" in {text['name']}"
            for text in run["texts"]
        )
        + f", {run['seconds']} seconds of processor time"
        for run in runs
    )
    return f"Measured once and stored: {'; '.join(each)}."


def _lists_of(runs: Sequence[Run]) -> str:
    """Who wins numbered lists."""
    each = (
        f"{run['head']} of {run['model']} {run['lists']['won']} of {run['lists']['asked']} (most: {run['lists']['most']}, {run['lists']['its']})"
        for run in runs
    )
    return (
        f"Numbered lists that the model can do are won by {'; '.join(each)}. Who wins one depends on the average that stands in for a head: "
        "here that of the text read last."
    )


def draw_stored_behaviours(runs: Sequence[Run]) -> Table:
    """All behaviours among the winning cases, as reported and in stored runs, with what shuffled answers give."""
    paper = reported.winning_cases()
    rows = {
        f"Pythia-1.4B {reported.wild()['head']}, the Pile (as reported)": [
            f"{paper[behaviour]:.1%}" if paper[behaviour] else "negligible" for behaviour in NAMED
        ]
    } | {
        f"{name}: {Share(*text['won']).n:,} of {Share(*text['won']).of:,} prefixes": [
            _beside_chance(text, behaviour, interval=True) for behaviour in NAMED
        ]
        for _, text, name in _texts_of(runs)
    }
    strict = "; ".join(
        f"{name} "
        + ", ".join(f"{_noun(behaviour)} {Share(*text['strict'][behaviour]).n}" for behaviour in NAMED)
        + f" of {Share(*text['won']).n:,}"
        for _, text, name in _texts_of(runs)
    )
    return Table(
        pd.DataFrame.from_dict(rows, orient="index", columns=list(NAMED)).rename_axis("head, text: won"),
        caption="Winning cases of all stored runs by the paper's rules; behind the semicolon with answers shuffled.",
        details=f"In brackets 95% bootstrap intervals, documents resampled; of none or all, Wilson's of so many documents. Of fewer than {LEAST_CASES} cases no share is given. "
        f"What is missing is “other”. By our stricter rules: {strict}.",
    )


def draw_stored_paths(runs: Sequence[Run], *, text: str = "documentation") -> Table:
    """Shares of ΔL by path, ablation and behaviour, as reported and of every stored run in one text."""
    rows = {}
    for path, kind in product(PATHS, KINDS):
        paper = reported.loss_shares(path, kind)
        rows[f"{path}, {kind}: as reported"] = {behaviour: f"{100 * paper[behaviour]:.2g}" for behaviour in NAMED}
        for run in runs:
            (of,) = (each for each in run["texts"] if each["name"] == text)
            rows[f"{path}, {kind}: {run['model']}"] = {
                behaviour: _beside_lot(of, behaviour, f"{path}, {kind}") for behaviour in NAMED
            }
    heads = listed([f"{run['head']} of {run['model']}" for run in runs])
    return Table(
        pd.DataFrame(rows).T.rename_axis("path, ablation"),
        caption=f"Shares of ΔL in percent, {reported.wild()['head']} of Pythia-1.4B in the Pile as reported, and {heads} in {text}; behind the semicolon by lot.",
        details="In brackets 95% bootstrap intervals, documents resampled. By lot: if the loss of each context fell on all its prefixes alike. "
        "What is missing to 100 is “other”. The paper gives no intervals.",
    )


def draw_stored_rises(runs: Sequence[Run]) -> Table:
    """By how much the loss rises without the head where the rules see succession, by path, with intervals; and everywhere."""
    rows = {
        f"{name}: {text['everywhere']['successorship']} prefixes": [
            _rise(text["rises"][f"{path}, mean"]["successorship"], digits=2)
            if text["everywhere"]["successorship"] >= LEAST_CASES
            else "–"
            for path in PATHS
        ]
        for _, text, name in _texts_of(runs)
    }
    everywhere = "; ".join(
        f"{name} " + ", ".join(f"{path} {_rise(text['rises'][f'{path}, mean']['all'], digits=4)}" for path in PATHS)
        for _, text, name in _texts_of(runs)
    )
    return Table(
        pd.DataFrame.from_dict(rows, orient="index", columns=list(PATHS)).rename_axis("head, text: succession"),
        caption="By how many nats the loss rises without the head where the rules see succession, those prefixes included where it falls.",
        details=f"Mean ablation. In brackets 95% bootstrap intervals, documents resampled; of fewer than {LEAST_CASES} prefixes nothing is said. The rules see the "
        f"head's attention and the answer, and not its effect. Over all prefixes: {everywhere}.",
    )


# Stored cases to be looked at twice, chosen by reading all of those of the published models: the model, the answer, and
# why. What is said of numbers stands in the record.
SURPRISES = (
    ("published/smollm2", "k", "It counts, and no rule sees it: the lists of both have capitals only"),
    ("published/smollm2", "height", "Nothing is counted, and yet the head goes on: after width comes height"),
    ("published/gemma3-270m", "4", "It raises the number it looks at above the one that follows, and in other scripts"),
)


def draw_surprises(runs: Sequence[Run]) -> Passages:
    """The three stored cases of published models that are worth a second look, with what the head raises there."""
    rows, by_name = [], {run["model"]: run for run in runs}
    for name, answer, why in SURPRISES:
        run = by_name[name]
        tokens, case = stored_case(run, answer)
        weights = np.zeros(len(tokens))
        weights[case["attended"]] = case["weight"]
        (before, rank), (after, rank_after) = case["odds"]
        raised = ", ".join(dict.fromkeys(token.strip() for token in case["raised"]))
        heading = (
            f"{why}. {name} {run['head']}, by the paper's rules {case['paper']}, effect {case['effect']:.2f} logits. It raises most: {raised}. "
            f"Probability of the answer {before:.2g} (guess {rank:,}), without the head {after:.2g} (guess {rank_after:,})"
        )
        rows.append((heading, tokens[:-1], weights[:-1].tolist(), answer))
    return Passages(
        rows,
        alt=f"{len(rows)} winning cases of published models, each with what its head raises most.",
        caption=f"{len(rows)} of the {sum(len(by_name[name]['cases']) for name in {name for name, _, _ in SURPRISES})} stored winning cases "
        "of the published models, chosen by reading them all.",
        details="The shade is the head's attention. Raised: the tokens of the whole vocabulary with the largest direct effects of the head. "
        "Guess: the rank of the answer among the model's guesses; without the head: mean ablation at the last position.",
    )


def stored_case(run: Run, answer: str) -> tuple[list[str], dict]:
    """Of a stored run the case with this answer that has the largest effect, and its tokens, the answer last."""
    found = [
        (case, tokens)
        for case in run["cases"]
        if (tokens := run["read"][case["text"]]["contexts"][case["context"]])[-1] == answer
    ]
    case, tokens = max(found, key=lambda row: row[0]["effect"])
    return tokens, case


# --- records ----------------------------------------------------------------------------------------


def record(found: Found) -> dict[str, Any]:
    """The chapter's record: findings that the results page and the tests read, and its tables."""
    findings = {"layer": records.finding(found.place[0]), "head": records.finding(found.place[1])}
    won, lists = int(found.lists.wins[found.place]), found.lists.asked
    low, high = intervals.wilson(won, lists)
    findings["list_wins"] = records.finding(won / lists if lists else float("nan"), low=low, high=high, n=lists)
    findings["lists_right"] = records.finding(found.lists.right, n=found.lists.tried)
    for of in found.texts:
        key = "natural" if of.natural else "generated"
        findings[f"{key}_won"] = _as_finding(of.won(found.place))
        for behaviour in BEHAVIOURS:
            findings[f"{key}_{behaviour.replace('-', '_')}"] = _as_finding(of.cases_of(behaviour))
        for path in PATHS:
            findings[f"{key}_rise_{path}"] = records.finding(of.mean_rise(path)[0], n=of.n_prefixes)
            for behaviour in NAMED:
                share = of.loss_share(behaviour, path)
                findings[f"{key}_{path}_{behaviour.replace('-', '_')}"] = _as_finding(share)
    for row in found.jobs.table.to_dict("records"):
        findings[f"rank_{row['job'].replace('-', '_')}"] = records.finding(row["rank"], n=found.n_heads)
    if found.together is not None:
        groups = {"nothing": (), "the_head": (found.place,), "the_three": tuple(found.together.heads)}
        for name, group in groups.items():
            value, low, high = found.together.without(*group)
            findings[f"loss_without_{name}"] = records.finding(value, low=low, high=high)
        for size, drawn in found.together.others.items():
            findings[f"loss_without_{size}_others"] = records.finding(np.mean(drawn), low=min(drawn), high=max(drawn))
    tables = {
        "verdict": pd.DataFrame({"key": [verdict(found).key], "why": [found.why]}),
        "texts": pd.DataFrame([summary(of, found.place, n_texts=len(found.texts)) for of in found.texts]),
        "jobs": found.jobs.table,
        "kinds": found.texts[-1].kinds,
    }
    return records.chapter_record(found.model, CHAPTER, findings=findings, tables=tables)


def _as_finding(share: Share) -> dict[str, float | int | None]:
    return records.finding(share.share, low=share.low, high=share.high, n=share.of)


def write_cases(folder: Path, found: Found) -> None:
    """Write all winning cases beside the chapter's record, for the page of winning cases."""
    rows = behaviours.case_rows([(of.name, of.natural, of.tokens) for of in found.texts], found.cases)
    records.write_json(folder / "cases.json", {"model": found.model, "head": found.name, **rows})


def summary(of: InText, place: Place, *, n_texts: int) -> dict[str, Any]:
    """What is kept of one of so many texts: numbers, and none of the text."""
    return {
        "name": of.name,
        "natural": of.natural,
        "digest": of.digest,
        "contexts": len(of.document),
        "documents": len(np.unique(of.document)),
        "length": of.length,
        "loss": round(of.loss, 4),
        "won": _rounded(of.won(place)),
        "cases": {behaviour: _rounded(of.cases_of(behaviour)) for behaviour in BEHAVIOURS},
        "chance": {behaviour: round(share, 4) for behaviour, share in of.chance("paper").items()},
        "everywhere": {behaviour: int((of.labels == place).sum()) for place, behaviour in enumerate(BEHAVIOURS)},
        "strict": {behaviour: _rounded(of.cases_of(behaviour, rules="strict")) for behaviour in BEHAVIOURS},
        "clear": of.clear(n_texts=n_texts),
        "by_lot": {
            f"{path}, {kind}": {behaviour: round(of.loss_by_lot(behaviour, path, kind), 4) for behaviour in BEHAVIOURS}
            for path in PATHS
            for kind in KINDS
        },
        "rises": {
            f"{path}, {kind}": {
                "all": [round(value, 5) for value in of.mean_rise(path, kind)],
                "successorship": [round(value, 4) for value in of.mean_rise(path, kind, behaviour="successorship")],
            }
            for path in PATHS
            for kind in KINDS
        },
        "losses": {
            f"{path}, {kind}": {behaviour: _rounded(of.loss_share(behaviour, path, kind)) for behaviour in BEHAVIOURS}
            for path in PATHS
            for kind in KINDS
        },
    }


def _rounded(share: Share) -> list[int | float]:
    return [share.n, share.of, *(round(value, 4) for value in share[2:])]


@told()
def main() -> None:
    """Measure one model on texts and put the run into the record that comes with the book: see `behaviours.stored_runs`.

    What is done is kept in the cache, and the same command goes on where it stopped; with more minutes from where it
    ended. What is found in a context is then the same however many are read.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model")
    parser.add_argument(
        "--texts",
        nargs="+",
        default=["documentation"],
        help="sources as in `texts.read`; of folders only numbers are kept",
    )
    parser.add_argument("--contexts", type=int, default=96, help="of each text")
    parser.add_argument("--minutes", type=float, help="of processor time for reading: fewer contexts where it is up")
    parser.add_argument("--length", type=int, default=256, help="tokens in a context")
    arguments = parser.parse_args()
    model, some_texts = models.load(arguments.model), texts.read_all(arguments.texts, seed=0)
    parts, classes = ndif.anatomy_of(model), ordinals.resolve(model.tokenizer)
    place, why = choose_head(model, parts, classes, seed=0)
    folder = published.cache_folder() / "natural-text" / files.slug(arguments.model)
    options = {"length": arguments.length, "seed": 0, "folder": folder}
    if arguments.minutes is None:
        readings = [behaviours.read(model, text, n=arguments.contexts, **options) for text in some_texts]
    else:
        options |= {"most": arguments.contexts, "seconds": 60 * arguments.minutes}
        readings = read_for(model, some_texts, place, **options)
    read = [read_closely(model, parts, reading, place, seed=0, n_null=8, folder=folder) for reading in readings]
    some = some_cases([of for of in read if of.name == "documentation"])
    for reading in readings:
        if reading.text.name == "documentation":
            look_closely(model, parts, some["cases"], reading, place)
    lists = ask_numbered_lists(model, parts, mean=readings[-1].reference.mean, seed=0)
    run = {
        "model": arguments.model,
        "head": anatomy.name_of(place),
        "why": why,
        **records.made(),
        "seconds": round(behaviours.seconds_kept(folder)),
        "texts": [summary(of, place, n_texts=len(read)) for of in read],
        "lists": {
            "tried": lists.tried,
            "right": lists.right,
            "asked": lists.asked,
            "won": int(lists.wins[place]),
            "most": anatomy.name_of(divmod(int(lists.wins.argmax()), parts.n_heads)),
            "its": int(lists.wins.max()),
        },
        **some,
    }
    others = [other for other in behaviours.stored_runs() if other["model"] != run["model"]]
    runs = sorted([*others, run], key=lambda each: each["model"])
    files.write_json(behaviours.EVIDENCE / "natural-text.json", {"schema": 3, "runs": runs})


def read_for(
    model: TransformersModel,
    some: Sequence[texts.Text],
    place: Place,
    *,
    seconds: float,
    most: int,
    length: int,
    seed: int,
    folder: Path,
    step: int = 4,
) -> list[Reading]:
    """As many contexts of each text as so much processor time allows, in steps, at least one; all batches are in the folder.

    Time is counted over all runs that filled the folder. A step is not begun if at the pace so far it would not end in time.
    """
    ledger = folder / "seconds.json"  # after each step: batches that are kept may belong to later ones
    spent = json.loads(ledger.read_text(encoding="utf8")) if ledger.exists() else {}
    for n in range(step, most + step, step):
        readings = [
            behaviours.read(model, text, n=min(n, most), most=most, length=length, seed=seed, folder=folder)
            for text in some
        ]
        for reading in readings:
            behaviours.loss_rises(model, reading, place, seed=seed, folder=folder)
        spent.setdefault(str(n), behaviours.seconds_kept(folder))
        files.write_json(ledger, spent)
        if spent[str(n)] * (n + step) / n > seconds:
            break
    return readings


def some_cases(kept: Sequence[InText], *, each: int = 12) -> dict[str, list[dict]]:
    """Of each behaviour the cases with the largest effects, each with the tokens around it: as `behaviours.case_rows`, but short.

    "at" is where a case stands in the contexts that were read.
    """
    rows, read = [], []
    for number, of in enumerate(kept):
        contexts: list[list[str]] = []
        for behaviour in BEHAVIOURS:
            for case in of.cases[of.cases["paper"] == behaviour].nlargest(each, "effect").itertuples():
                first = max(0, case.prefix - WINDOW)
                near = [(at - first, round(w, 3)) for at, w in zip(case.attended, case.weight) if at >= first]
                rows.append(
                    {
                        "text": number,
                        "context": len(contexts),
                        "prefix": case.prefix - first,
                        "at": [case.context, case.prefix],
                        "effect": round(case.effect, 3),
                        "attended": [at for at, _ in near],
                        "weight": [w for _, w in near],
                        **{rules: getattr(case, rules) for rules in RULES},
                    }
                )
                contexts.append(of.tokens[case.context][first : case.prefix + 2])
        read.append({"name": of.name, "natural": of.natural, "contexts": contexts})
    return {"read": read, "cases": rows}


def look_closely(
    model: TransformersModel, parts: Anatomy, cases: Sequence[dict], reading: Reading, place: Place, *, n: int = 5
) -> None:
    """Add to `some_cases` of one text what the head raises there most, "raised", and what becomes of the answer without it, "odds"."""
    mean = reading.reference.mean
    for case in cases:
        context, prefix = case["at"]
        ids, answer = reading.contexts[context, : prefix + 1].tolist(), int(reading.contexts[context, prefix + 1])
        odds = _odds(model, ids, answer, place, mean=mean)
        case["raised"] = [token for token, _ in _raised(model, parts, ids, place, mean=mean, n=n)]
        case["odds"] = [[float(f"{probability:.3g}"), rank] for probability, rank in odds]


if __name__ == "__main__":
    main()
