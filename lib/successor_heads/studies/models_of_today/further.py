"""Chapter 8 in depth, continued: what the few neurons have in common, and four controls of what the chapter says.

::

    python -m successor_heads.studies.models_of_today.further published/smollm2      # minutes
    further.STORED.read("published/smollm2").neurons

Whether the leading neurons of an MLP move with the index across lists; whether what the head hands on goes round where its
list does; whether a last digit crosses tens; whether the head serves in lists that repeat; and whether the ranking of
parts is one of donors alone. Rules and expectations stand in ``rules.yml`` under `further`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from scipy.stats import rankdata
from torch import Tensor

from successor_heads import anatomy, cached, models, paths
from successor_heads.anatomy import Anatomy, Part, name_of
from successor_heads.paths import Written
from successor_heads.studies.models_of_today import closer, instruments, rarely_read
from successor_heads.studies.models_of_today import lists as of_lists
from successor_heads.studies.models_of_today.found import Found, StoredFindings
from successor_heads.studies.models_of_today.found import stored as chapter_found
from successor_heads.studies.models_of_today.instruments import Setting, rate
from successor_heads.studies.models_of_today.lists import Lists
from successor_heads.studies.models_of_today.rules import RULES, frames

ASKED: dict[str, Any] = RULES["further"]
MOST = 12  # lists of a class in a frame
LEADING = int(ASKED["neurons"]["leading"])
N_DRAWN = 2  # neurons of each MLP whose values are kept, to be drawn
N_MATCHED, N_DRAWS, LEVEL = 20, 1000, 0.975
FEWEST = 4  # ordinals of a class that say anything about an order
FEWEST_ROUND = 5
DIGITS = 7  # lists of a kind in a frame


@dataclass(frozen=True, eq=False)
class Further:
    """What further questions find.

    `neurons` (`places` where lists start, odd ones or any; part, neuron; `score`, the mean over classes of the rank correlation of its value with the index; `permuted`,
    what the best of the four does not exceed; `matched`, the mean size of the score of neurons that differ as much between
    lists; `mean` size of the four, and what `draws` of matched ones do not exceed; `writes`, the score of what it promotes).
    `values` of the first of them (part, neuron, class, index, value). `circles` (class, whether it is a `cycle`; rank
    correlations of distances with those round the `circle` and along the `line`, the first's `permuted`, and `lowest`, the
    least difference with a frame left out). `digits` (kind; share of lists on which the digit behind the donor's is said,
    with interval, `null`). `repeats` as `rarely` of `Closer`. `means` (part; share of the lead lost when it writes its mean).
    """

    model: str
    head: str
    mlps: list[str]
    seed: int
    neurons: pd.DataFrame
    values: pd.DataFrame
    circles: pd.DataFrame
    digits: pd.DataFrame
    repeats: pd.DataFrame
    means: pd.DataFrame


def measure(model: TransformersModel, found: Found, *, seed: int) -> Further:
    """All further questions to the head and the MLPs that matter most by what the chapter found on the model."""
    parts, rules, shown_in = anatomy.of(model), RULES["prompts"], frames("confirmation")
    kept = found.gate.loc[found.gate["kept"], "class"].tolist()
    top = found.heads.iloc[0]
    head = (int(top["layer"]), int(top["head"]))
    layers = [int(layer) for layer in found.mlps["layer"][: closer.N_MLPS]]
    make = partial(of_lists.make, model.tokenizer, length=rules["length"])
    first, second = (
        instruments.setting_of(model, parts, make(frames(split), most=rules["most"], parity=parity).kept(kept))
        for parity, split in enumerate(("discovery", "confirmation"))
    )
    odd, even = (make(shown_in, most=MOST, parity=parity).kept(kept) for parity in (1, 0))
    every = Lists([*odd.every, *even.every], odd.length)
    handed, active = at_work(model, every, head, layers)
    found_in = [
        in_common(first, lists, active[layer][: len(lists.every)], layer, places=places, seed=seed)
        for places, lists in (("odd", odd), ("any", every))
        for layer in layers
    ]
    neurons, values = zip(*found_in)
    ask_again = partial(rarely_read.make, model.tokenizer, shown_in, seed=seed)
    return Further(
        model=found.model,
        head=name_of(head),
        mlps=[name_of((layer, None)) for layer in layers],
        seed=seed,
        neurons=pd.concat(neurons, ignore_index=True),
        values=pd.concat(values[len(layers) :], ignore_index=True),
        circles=go_round(every, handed, seed=seed),
        digits=across_tens(model, head, ask_again(kinds=list(rarely_read.NUMBERS), most=DIGITS), seed=seed),
        repeats=closer.rarely(model, head, ask_again(kinds=list(rarely_read.ANEW)), seed=seed),
        means=without_means(second, seed=seed),
    )


def at_work(
    model: TransformersModel, lists: Lists, head: Part, layers: Sequence[int], *, batch_size: int = 64
) -> tuple[Float[Tensor, "prompt d_head"], dict[int, Float[Tensor, "prompt neuron"]]]:
    """At the last position of each list: what the head hands to the output projection, and the neurons' values of some MLPs."""
    parts = anatomy.of(model._module)
    handed: list[Tensor] = []
    active: dict[int, list[Tensor]] = {layer: [] for layer in layers}

    def see(_, args, into):
        into.append(args[0][:, -1].float().cpu())

    handles = [parts.output_projection(head[0]).register_forward_pre_hook(partial(see, into=handed))]
    for layer in layers:
        writer = attrgetter(parts.mlp_out_path)(parts.block(layer))
        handles.append(writer.register_forward_pre_hook(partial(see, into=active[layer])))
    try:
        for start in range(0, len(lists.every), batch_size):
            cached.run(model, lists.prompts[start : start + batch_size])
    finally:
        for handle in handles:
            handle.remove()
    own = torch.cat(handed).unflatten(-1, (parts.n_heads, parts.d_head))[:, head[1]]
    return own, {layer: torch.cat(values) for layer, values in active.items()}


# --- what the few neurons have in common --------------------------------------------------------------


def in_common(
    first: Setting, lists: Lists, active: Float[Tensor, "prompt neuron"], layer: int, *, places: str, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Whether an MLP's leading neurons move with the index of the last ordinal, beside neurons that differ as much between lists.

    They lead on the first lists; their values, `active`, are of other lists, which start at these `places`. The second table
    has the values of the first few.
    """
    rng = np.random.default_rng(seed)
    own, slope = closer.at_last(first, layer)
    leading = closer.ranked(own, slope, first.lists)[:LEADING].numpy()
    matched = matches(own, first.lists, leading)
    by_class = {task: means_by_last(lists, active, task) for task in dict.fromkeys(lists.task)}
    by_class = {task: (index, values) for task, (index, values) in by_class.items() if len(index) >= FEWEST}
    score = index_scores(list(by_class.values()))
    draws = np.abs(score[matched[np.arange(LEADING), rng.integers(N_MATCHED, size=(N_DRAWS, LEADING))]]).mean(1)
    of_four = [(index, values[:, leading]) for index, values in by_class.values()]
    permuted = [
        np.abs(index_scores([(rng.permutation(index), values) for index, values in of_four])).max()
        for _ in range(N_DRAWS)
    ]
    promoted = what_is_promoted(first.parts, layer, np.eye(active.shape[1])[leading], lists, list(by_class))
    table = pd.DataFrame(
        {
            "places": places, "part": name_of((layer, None)), "neuron": leading, "score": score[leading],
            "permuted": np.quantile(permuted, LEVEL), "matched": np.abs(score[matched]).mean(1),
            "mean": np.abs(score[leading]).mean(), "draws": np.quantile(draws, LEVEL),
            "writes": index_scores(promoted), "classes": len(by_class),
        }
    )  # fmt: skip  # one table
    rows = [
        (name_of((layer, None)), int(neuron), task, int(at), float(value))
        for neuron in leading[:N_DRAWN]
        for task, (index, values) in by_class.items()
        for at, value in zip(index, values[:, neuron])
    ]
    return table, pd.DataFrame(rows, columns=["part", "neuron", "class", "index", "value"])


def matches(
    values: Float[Tensor, "prompt neuron"], lists: Lists, leading: Int[np.ndarray, " leading"]
) -> Int[np.ndarray, "leading match"]:
    """For each of these neurons the others whose values differ most nearly as much between lists of a class and frame."""
    groups = torch.from_numpy(instruments.groups_of(lists))
    spread = instruments.centred(values, groups).square().mean(0).sqrt().numpy()
    apart = np.abs(spread[None] - spread[leading][:, None])
    apart[:, leading] = np.inf
    return np.argsort(apart, axis=1, kind="stable")[:, :N_MATCHED]


def means_by_last(
    lists: Lists, values: Float[Tensor, "prompt _"], task: str
) -> tuple[Int[np.ndarray, " ordinal"], Float[np.ndarray, "ordinal _"]]:
    """The indices of the ordinals that stand last in every frame of a class, and the values' means over the frames."""
    own = [place for place, one in enumerate(lists.every) if one.task == task]
    index = np.array([lists.index_of_last(place) for place in own])
    n_frames = len({lists.every[place].frame for place in own})
    kept = [at for at in np.unique(index) if (index == at).sum() == n_frames]
    rows = values[own].double().numpy()
    return np.array(kept), np.array([rows[index == at].mean(0) for at in kept])


def index_scores(
    by_class: Sequence[tuple[Int[np.ndarray, " ordinal"], Float[np.ndarray, "ordinal neuron"]]],
) -> Float[np.ndarray, " neuron"]:
    """The rank correlation of each neuron's values with the index in a class, averaged over classes."""
    return np.mean([rank_correlation(index[:, None], values) for index, values in by_class], axis=0)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's, of columns; 0 where either does not vary."""
    a, b = (rankdata(each, axis=0) - (len(each) + 1) / 2 for each in (x, y))
    size = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.divide((a * b).sum(0), size, out=np.zeros(np.broadcast(a[0], b[0]).shape), where=size > 0)


SAME_WORDS = ({"days", "day_prefixes"}, {"months", "month_prefixes"})


def agreement(values: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """How far a neuron's values agree between lists of other words, index by index: their mean correlation over pairs of classes.

    With what the best of all these neurons does not exceed when the indices are permuted within each class. Exploratory.
    """
    rng = np.random.default_rng(seed)
    rows, permuted = [], []
    for (part, neuron), own in values.groupby(["part", "neuron"], sort=False):
        by_class = {task: its.sort_values("index") for task, its in own.groupby("class", sort=False)}
        shuffled = {}
        for task, its in by_class.items():
            orders = [np.arange(len(its)), *(rng.permutation(len(its)) for _ in range(N_DRAWS))]
            shuffled[task] = its["value"].to_numpy()[np.array(orders)]  # [draw, ordinal], the first as it is
        pairs = []
        for one, other in combinations(by_class, 2):
            index = [by_class[task]["index"].to_numpy() for task in (one, other)]
            shared = np.intersect1d(*index)
            if {one, other} not in SAME_WORDS and len(shared) >= FEWEST:
                a, b = (shuffled[task][:, np.isin(at, shared)] for task, at in zip((one, other), index))
                pairs.append(_correlation(a, b))
        mean = np.mean(pairs, axis=0)
        rows.append((part, neuron, mean[0], len(pairs)))
        permuted.append(mean[1:])
    table = pd.DataFrame(rows, columns=["part", "neuron", "agreement", "pairs"])
    return table.assign(permuted=np.quantile(np.max(permuted, axis=0), LEVEL))


def _correlation(a: Float[np.ndarray, "draw ordinal"], b: Float[np.ndarray, "draw ordinal"]) -> np.ndarray:
    """Pearson's, row by row; 0 where either does not vary."""
    a, b = (each - each.mean(1, keepdims=True) for each in (a, b))
    size = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.divide((a * b).sum(1), size, out=np.zeros(len(a)), where=size > 0)


def what_is_promoted(
    parts: Anatomy, layer: int, alone: Float[np.ndarray, "one neuron"], lists: Lists, tasks: Sequence[str]
) -> list[tuple[Int[np.ndarray, " member"], Float[np.ndarray, "member one"]]]:
    """For each class its members' indices, and the logits that an MLP gives them by itself, biases aside, with these values of its neurons."""
    block = anatomy.of(parts.module).block(layer)
    writer = attrgetter(parts.mlp_out_path)(block)
    with torch.no_grad():
        values = torch.from_numpy(alone).to(next(writer.parameters()))
        written = writer(values) - writer(torch.zeros_like(values))
        if parts.mlp_post_norm_path is not None:
            written = attrgetter(parts.mlp_post_norm_path)(block)(written)
        promoted = []
        for task in tasks:
            resolved = next(one.resolved for one in lists.every if one.task == task)
            logits = parts.logits(written, resolved.token_ids)
            promoted.append((resolved.index.numpy(), logits.float().cpu().T.double().numpy()))
    return promoted


# --- circles ------------------------------------------------------------------------------------------


def go_round(lists: Lists, handed: Float[Tensor, "prompt d_head"], *, seed: int) -> pd.DataFrame:
    """Whether what a head hands on lies round a circle, by the distances between its means for each last ordinal of a class."""
    rng = np.random.default_rng(seed)
    rows = []
    for task in dict.fromkeys(lists.task):
        index, means = means_by_last(lists, handed, task)
        if len(index) < FEWEST_ROUND:
            continue
        n = len(of_lists.CLASSES[task].words) if of_lists.CLASSES[task].cyclic else int(index.max())
        circle, line = _by_circle_and_line(means, index, n)
        permuted = [_by_circle_and_line(means, rng.permutation(index), n)[0] for _ in range(N_DRAWS)]
        without = []
        for frame in dict.fromkeys(one.frame for one in lists.every):
            rest = [place for place, one in enumerate(lists.every) if one.frame != frame]
            its_index, its_means = means_by_last(lists.at(rest), handed[rest], task)
            its_circle, its_line = _by_circle_and_line(its_means, its_index, n)
            without.append(its_circle - its_line)
        rows.append(
            (
                task,
                of_lists.CLASSES[task].cyclic,
                circle,
                line,
                np.quantile(permuted, LEVEL),
                min(without),
                len(index),
            )
        )
    return pd.DataFrame(rows, columns=["class", "cycle", "circle", "line", "permuted", "lowest", "n"])


def _by_circle_and_line(
    means: Float[np.ndarray, "ordinal d_head"], index: Int[np.ndarray, " ordinal"], n: int
) -> tuple[float, float]:
    """Rank correlations of the distances between means with the places' distances round a circle of n, and along a line."""
    one, other = np.triu_indices(len(index), 1)
    distance = np.linalg.norm(means[one] - means[other], axis=1)
    apart = np.abs(index[one] - index[other])
    circle, line = (
        rank_correlation(distance[:, None], how[:, None])[0] for how in (np.minimum(apart, n - apart), apart)
    )
    return float(circle), float(line)


# --- digits, and means --------------------------------------------------------------------------------


def across_tens(model: TransformersModel, head: Part, lists: Lists, *, seed: int) -> pd.DataFrame:
    """How often the digit behind the donor's last one is said, the donor a number with another last digit behind other tens."""
    rng, setting = np.random.default_rng(seed), instruments.setting_of(model, anatomy.of(model), lists)
    donors = other_tens(model.tokenizer, lists)
    kept = [place for place, donor in enumerate(donors) if donor is not None]
    theirs = [donor for donor in donors if donor is not None]
    its = setting.at(kept, donor=theirs)
    some, logits = its.lists, its.logits([paths.replaced([head], its.donors)])
    said = np.array([one.resolved.words[at] for one, at in zip(some.every, some.said(logits)[0].tolist())])
    due = np.array([lists.every[place].resolved.words[lists.every[place].answer] for place in theirs])
    rows = []
    for kind in dict.fromkeys(some.task):
        own = some.task == kind
        hits = said[own][:, None] == due[own]
        share = rate(hits.diagonal(), some.cluster[own], seed=seed)
        null = instruments.donors_shuffled(hits[None], some.task[own], rng)
        rows.append((kind, *share, null, float(some.right(logits)[0].numpy()[own].mean()), len(hits)))
    return pd.DataFrame(rows, columns=["kind", "share", "low", "high", "null", "own", "n"])


def other_tens(tokenizer, lists: Lists) -> list[int | None]:
    """For each list of numbers the next of its kind and frame, by turns, with another last digit and other tens."""
    tens = [re.findall(r"\d+", tokenizer.decode(one.prompt))[-1] for one in lists.every]
    chosen: list[int | None] = []
    for place, one in enumerate(lists.every):
        n = len(lists.every)
        round_ = [(place + step) % n for step in range(1, n)]
        fitting = (
            other
            for other in round_
            if (lists.every[other].task, lists.every[other].frame) == (one.task, one.frame)
            and lists.every[other].resolved.words[lists.every[other].last] != one.resolved.words[one.last]
            and tens[other] != tens[place]
        )
        chosen.append(next(fitting, None))
    return chosen


def without_means(setting: Setting, *, seed: int) -> pd.DataFrame:
    """The share of the lead that is lost when each part writes its mean over all lists, on every second of them; most first."""
    mean = Written(setting.intact.heads.mean(2, keepdim=True), setting.intact.mlps.mean(1, keepdim=True))
    some = instruments.every_second(setting)
    n, every = len(some.lists.every), paths.all_parts(setting.parts)
    values = Written(mean.heads.expand(-1, -1, n, -1), mean.mlps.expand(-1, n, -1))
    falls = some.falls([paths.replaced([part], values) for part in every])
    rows = [(name_of(part), part[1] is None, *some.share(fall, seed=seed)) for part, fall in zip(every, falls)]
    table = pd.DataFrame(rows, columns=["part", "is_mlp", "share", "low", "high"])
    return table.sort_values("share", ascending=False, ignore_index=True)


STORED = StoredFindings(Further, "further")  # what comes with the book


if __name__ == "__main__":
    for name in sys.argv[1:]:
        STORED.keep(name, measure(models.load(name, device="cpu"), chapter_found(name), seed=0))
