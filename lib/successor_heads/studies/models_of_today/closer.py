"""Chapter 8 in depth: the head and the MLPs that matter most in a published model, asked more closely.

::

    python -m successor_heads.studies.models_of_today.closer published/smollm2      # minutes
    closer.STORED.read("published/smollm2").looks

What the head looks for, which MLPs carry an index, which neurons and which directions carry the effect, and whether the
same head counts on in lists that were rarely read. Rules and expectations stand in ``rules.yml`` under `closer`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import anatomy, attention, intervals, models, paths, prompts
from successor_heads.anatomy import Part, name_of
from successor_heads.cached import Edit
from successor_heads.studies.models_of_today import instruments, rarely_read
from successor_heads.studies.models_of_today import lists as of_lists
from successor_heads.studies.models_of_today.found import Found, StoredFindings
from successor_heads.studies.models_of_today.found import stored as chapter_found
from successor_heads.studies.models_of_today.instruments import Setting, rate, ratio
from successor_heads.studies.models_of_today.lists import Frame, Lists
from successor_heads.studies.models_of_today.rules import RULES, frames

ASKED: dict[str, Any] = RULES["closer"]
N_MLPS = 2
WHERE = ("before", "within")  # a word that distracts stands: in a sentence of its own, or in that of the list
N_WORDS = 3  # of another list, of the same, and a neutral one
TURN = 10  # members to once round, of the circle
MOST_NAMED = 8  # neurons
N_OTHERS = 8  # random heads beside the one that is asked about, on lists rarely read


@dataclass(frozen=True, eq=False)
class Closer:
    """What closer questions find; shares have 95% intervals (`low`, `high`) over last ordinals.

    `looks` (who, patched; attention to the `last` place and to the `first`, with intervals; `lost`, the share of the lead).
    `distractors` (where, word; `right`, whether the `distractor`'s successor is said; attention of `who` to `last` and `word`).
    `mlps` (part, donor; share of lists that go on from the donor; `null`, of the best of all MLPs). `neurons` (part, size of
    `width`, `which` where they are few; share of the MLP's effect, `random` and `random_highest` of as many). `subspace` (subspace, dimensions; share of
    the head's effect, of `random_highest`; `said`, the donor's successor). `rarely` (kind; `right` of n and `chance`, without
    the head, and without others; `lost` of the lead without the head, `others_lost` without the worst of random ones).
    """

    model: str
    head: str
    control: str
    seed: int
    n_lists: int
    looks: pd.DataFrame
    distractors: pd.DataFrame
    mlps: pd.DataFrame
    neurons: pd.DataFrame
    subspace: pd.DataFrame
    rarely: pd.DataFrame


def measure(model: TransformersModel, found: Found, *, seed: int) -> Closer:
    """All closer questions to the head and the MLPs that matter most by what the chapter found on the model."""
    parts, rules = anatomy.of(model), RULES["prompts"]
    kept = found.gate.loc[found.gate["kept"], "class"].tolist()
    every = (
        of_lists.make(model.tokenizer, frames(split), length=rules["length"], most=rules["most"], parity=parity)
        for parity, split in enumerate(("discovery", "confirmation"))
    )
    first, second = (instruments.setting_of(model, parts, lists.kept(kept)) for lists in every)
    top = found.heads.iloc[0]
    head = (int(top["layer"]), int(top["head"]))
    rng = np.random.default_rng(seed)
    control = (head[0], int(rng.choice([other for other in range(parts.n_heads) if other != head[1]])))
    shown_in, mlps = frames("confirmation"), [int(layer) for layer in found.mlps["layer"][:N_MLPS]]
    return Closer(
        model=found.model,
        head=name_of(head),
        control=name_of(control),
        seed=seed,
        n_lists=len(second.lists.every),
        looks=look(second, [head, control], shown_in, seed=seed),
        distractors=distract(instruments.every_second(second), [head, control], shown_in, seed=seed),
        mlps=exchange_mlps(second, seed=seed),
        neurons=pd.concat([neurons(first, second, layer, seed=seed) for layer in mlps], ignore_index=True),
        subspace=subspaces(first, second, head, seed=seed),
        rarely=rarely(model, head, rarely_read.make(model.tokenizer, shown_in, seed=seed), seed=seed),
    )


# --- what the head looks for ------------------------------------------------------------------------


def look(setting: Setting, heads: Sequence[Part], shown_in: dict[str, Frame], *, seed: int) -> pd.DataFrame:
    """Where heads of one layer look when their queries, or their keys, are those of another list; values stay the list's own.

    `lost` is the share of the lead that goes when the head writes what its own values come to by that attention.
    """
    model, lists, parts = setting.model, setting.lists, setting.parts
    layer = heads[0][0]
    told = of_lists.reordered(model.tokenizer, lists, shown_in, (0, -1, -2), same_end=False)
    donor = lists.donor.tolist()
    prompt = lists.prompts
    kept = [place for place in told if len(prompt[donor[place]]) == len(prompt[place])]
    some = lists.at(kept)
    # The two members have changed places, and nothing else has.
    first = [_first_change(told[place], prompt[place]) for place in kept]
    last = [one.at for one in some.every]
    own, other, exchanged = (
        attention.read_at_work(model, texts, layer)
        for texts in (some.prompts, [prompt[donor[place]] for place in kept], [told[place] for place in kept])
    )
    reads = {
        "nothing": own,
        "query": own.clone(),
        "keys, exchanged": exchanged.clone(),
        "keys, another list": other.clone(),
    }
    reads["query"][:, -1] = other[:, -1]
    for keys in ("keys, exchanged", "keys, another list"):
        reads[keys][:, -1] = own[:, -1]
    patterns = {what: attention.from_last(model, some.prompts, layer, reads=read) for what, read in reads.items()}
    w_v, b_v = parts.w_v(layer).cpu(), parts.b_v(layer).cpu()
    variants: list[list[Edit]] = []
    rows = []
    for part in heads:
        head = int(part[1] or 0)
        values = own @ w_v[head] + b_v[head]
        variants += [
            [Edit(*part, torch.einsum("pk,pkd->pd", pattern[:, head], values))] for pattern in patterns.values()
        ]
    leads = some.lead(setting.runs.at(kept).logits(variants, some.token_ids))
    lead, cluster, ones = setting.lead[kept], some.cluster, np.ones(len(kept))
    everyone = torch.arange(len(kept))
    for row, (part, what) in enumerate((part, what) for part in heads for what in patterns):
        to = [patterns[what][everyone, part[1], places].numpy() for places in (last, first)]
        rows.append(
            (
                name_of(part), what, *ratio(to[0], ones, cluster, seed=seed), *ratio(to[1], ones, cluster, seed=seed),
                *ratio(to[0] - to[1], ones, cluster, seed=seed)[1:],
                *ratio((lead - leads[row]).numpy(), lead.numpy(), cluster, seed=seed), len(kept),
            )
        )  # fmt: skip  # one row of a table
    columns = ["last", "last_low", "last_high", "first", "first_low", "first_high", "difference_low", "difference_high"]
    return pd.DataFrame(rows, columns=["who", "patched", *columns, "lost", "low", "high", "n"])


def _first_change(one: Sequence[int], other: Sequence[int]) -> int:
    """The first place where two prompts of one length differ, from the end."""
    return next(place for place, (a, b) in enumerate(zip(one, other)) if a != b) - len(one)


def distract(setting: Setting, heads: Sequence[Part], shown_in: dict[str, Frame], *, seed: int) -> pd.DataFrame:
    """Answers, and where heads of one layer look, when another ordinal stands in front of the list."""
    rng, rules = np.random.default_rng(seed), ASKED["distractors"]
    layer = heads[0][0]
    words = _distractors(setting.lists, rng)
    told: dict[tuple[str, str], list[tuple[of_lists.One, int, int]]] = {}
    kept = []
    for place, one in enumerate(setting.lists.every):
        kinds = {"neutral": rules["neutral"], **words[place]}
        cases = {
            (where, kind): _distracted(setting.model.tokenizer, one, shown_in[one.frame], " " + rules[where], word)
            for where in WHERE
            for kind, word in kinds.items()
        }
        fitting = {case: found for case, found in cases.items() if found is not None}
        if len(fitting) == len(WHERE) * N_WORDS:
            kept.append(place)
            for case, found in fitting.items():
                told.setdefault(case, []).append(found)
    if not kept:
        return pd.DataFrame()
    cluster, ones, everyone = setting.lists.at(kept).cluster, np.ones(len(kept)), torch.arange(len(kept))
    rows = []
    for (where, kind), its in told.items():
        some = Lists([one for one, _, _ in its], setting.lists.length)
        pattern, stream = attention.watched(setting.model, some.prompts, layer)
        with torch.no_grad():
            logits = setting.parts.logits(stream, some.token_ids).float().cpu()
        right, said = some.right(logits).numpy(), some.said(logits).numpy()
        led_astray = np.array([answer == after for answer, (_, _, after) in zip(said, its)])
        for part in heads:
            to_last, to_word = (
                pattern[everyone, part[1], places].numpy()
                for places in ([one.at for one in some.every], [at for _, at, _ in its])
            )
            rows.append(
                (
                    where, kind, name_of(part), *rate(right, cluster, seed=seed), float(led_astray.mean()),
                    *ratio(to_last, ones, cluster, seed=seed), float(to_word.mean()), len(kept),
                )
            )  # fmt: skip  # one row of a table
    columns = [
        "where",
        "word",
        "who",
        "right",
        "low",
        "high",
        "distractor",
        "last",
        "last_low",
        "last_high",
        "to_word",
        "n",
    ]
    return pd.DataFrame(rows, columns=columns)


def _distractors(lists: Lists, rng: np.random.Generator) -> list[dict[str, str]]:
    """For each list a word of another class, and one of its own that is not shown, not the answer, and does not lead to it."""
    own = {one.task: set(one.resolved.words) for one in lists.every}
    found = []
    for one in lists.every:
        elsewhere = sorted(word for task, words in own.items() if task != one.task for word in words - own[one.task])
        near = {one.answer, *(one.last - back for back in range(lists.length))}
        n = len(one.resolved.words)
        here = [word for place, word in enumerate(one.resolved.words) if place not in {at % n for at in near}]
        found.append(
            {
                kind: str(rng.choice(words))
                for kind, words in (("another list", elsewhere), ("same list", here))
                if words
            }
        )
    return found


def _distracted(
    tokenizer, one: of_lists.One, frame: Frame, front: str, word: str
) -> tuple[of_lists.One, int, int] | None:
    """The list behind a sentence with the word; the word's place from the end; the member that follows the word, or -1."""
    text = front.format(word=word)
    told = of_lists.behind(tokenizer, one, frame, text)
    split = prompts.split_at(tokenizer, text, front.index("{word}"))
    if told is None or split is None or tokenizer.decode([split[1]]).strip() != word:
        return None
    at = len(of_lists.fronted(tokenizer, split[0])) - len(told.prompt)
    words = one.resolved.words
    after = (words.index(word) + 1) % len(words) if word in words else -1
    return told, at, after


# --- which MLP, which neurons, which directions -----------------------------------------------------


def exchange_mlps(setting: Setting, *, seed: int) -> pd.DataFrame:
    """How often the model goes on from the donor when one MLP writes what it wrote there, for every MLP."""
    rng, lists = np.random.default_rng(seed), setting.lists
    every = [[(layer, None)] for layer in range(setting.parts.n_layers)]
    rows = []
    for kind, donor in (("same class", lists.donor.tolist()), ("another class", instruments.across(lists, rng))):
        kept = [place for place, other in enumerate(donor) if other is not None]
        if not kept:
            continue
        hits = instruments.hits_of_donors(setting, every, donor)
        null = instruments.donors_shuffled(hits, lists.task[kept], rng)
        for (part,), own in zip(every, hits):
            share = rate(own.diagonal(), lists.cluster[kept], seed=seed)
            rows.append((name_of(part), kind, *share, null, len(kept)))
    return pd.DataFrame(rows, columns=["part", "donor", "share", "low", "high", "null", "n"])


def neurons(first: Setting, second: Setting, layer: int, *, seed: int) -> pd.DataFrame:
    """What share of an MLP's effect its leading neurons have, ranked on the first lists, beside as many random ones."""
    rng = np.random.default_rng(seed)
    order = leading(first, layer)
    own, _ = at_last(second, layer)
    width = len(order)
    sizes = [2**power for power in range(width.bit_length()) if 2**power < width] + [width]
    n_random = int(ASKED["neurons"]["random"].split()[0])
    chosen = [order[:size] for size in sizes]
    chosen += [torch.from_numpy(rng.choice(width, size, replace=False)) for size in sizes for _ in range(n_random)]
    falls = second.falls([[Edit(layer, None, _written_by(second, layer, own, which))] for which in chosen])
    whole, cluster = falls[len(sizes) - 1], second.lists.cluster
    random = falls[len(sizes) :].sum(1).reshape(len(sizes), n_random) / whole.sum()
    rows = [
        (
            name_of((layer, None)),
            size,
            width,
            *ratio(fall, whole, cluster, seed=seed),
            others.mean(),
            others.max(),
            named(order[:size]),
        )
        for size, fall, others in zip(sizes, falls, random)
    ]
    columns = ["part", "size", "width", "share", "low", "high", "random", "random_highest", "which"]
    return pd.DataFrame(rows, columns=columns)


def named(neurons: Int[Tensor, " neuron"]) -> str:
    """The numbers of a few neurons, counted from 0; of many none."""
    return ", ".join(map(str, neurons.tolist())) if len(neurons) <= MOST_NAMED else ""


def leading(setting: Setting, layer: int) -> Int[Tensor, " neuron"]:
    """An MLP's neurons by how much the lead falls, to first order, when each has the value of the donor's list."""
    return ranked(*at_last(setting, layer), setting.lists)


def ranked(
    active: Float[Tensor, "prompt neuron"], slope: Float[Tensor, "prompt neuron"], lists: Lists
) -> Int[Tensor, " neuron"]:
    """Neurons by their change from the donor's list times the slope of the lead, summed over lists, the largest first."""
    return ((active - active[lists.donor]) * slope).sum(0).argsort(descending=True)


def at_last(setting: Setting, layer: int) -> tuple[Float[Tensor, "prompt neuron"], Float[Tensor, "prompt neuron"]]:
    """The values of an MLP's neurons at the last position, and the gradient of the answer's lead by each."""
    module, lists = setting.parts.module, setting.lists
    writer = attrgetter(setting.parts.mlp_out_path)(setting.parts.block(layer))
    writer = getattr(writer, "_module", writer)
    kept: list[Tensor] = []

    def from_here(_, args):
        kept.append(args[0].detach().requires_grad_(True))
        return (kept[-1],)

    values, slopes = [], []
    for rows in torch.arange(len(lists.every)).split(32):
        some = lists.at(rows.tolist())
        handle = writer.register_forward_pre_hook(from_here)
        try:
            with torch.enable_grad():
                logits = module(**prompts.encode(setting.model, some.prompts), logits_to_keep=1).logits[:, -1]
                lead = some.lead(logits.float()[:, some.token_ids.to(logits.device)].cpu()).sum()
        finally:
            handle.remove()
        (slope,) = torch.autograd.grad(lead, kept[-1:])
        values.append(kept[-1].detach()[:, -1].float().cpu())
        slopes.append(slope[:, -1].float().cpu())
    return torch.cat(values), torch.cat(slopes)


def _written_by(
    setting: Setting, layer: int, own: Float[Tensor, "prompt neuron"], which: Int[Tensor, " some"]
) -> Float[Tensor, "prompt d_model"]:
    """What the MLP writes when these neurons have the values that they have on the donors' lists."""
    mixed = own.clone()
    mixed[:, which] = own[setting.lists.donor][:, which]
    parts = anatomy.of(setting.parts.module)
    with torch.no_grad():
        return parts.mlp_out(layer, mixed.to(setting.model._module.device)).cpu()


def subspaces(first: Setting, second: Setting, head: Part, *, seed: int) -> pd.DataFrame:
    """What share of the head's effect its donor's part in a subspace has, that was learned on the lists of all other classes."""
    rules, generator = ASKED["subspace"], torch.Generator().manual_seed(seed)
    z, groups = first.intact.heads[head], torch.from_numpy(instruments.groups_of(first.lists))
    index = torch.tensor([float(first.lists.index_of_last(place)) for place in range(len(z))])
    learning = instruments.centred(torch.cat([z, _along(index, first.lists.task)], dim=1), groups)
    own = second.intact.heads[head]
    change = own[second.lists.donor] - own
    tasks = second.lists.task
    learned: dict[tuple[str, int], Tensor] = {}
    for task in np.unique(tasks):
        rest = learning[torch.from_numpy(first.lists.task != task)]
        for name, basis in _bases(rest[:, : z.shape[1]], rest[:, z.shape[1] :], rules["components"]).items():
            kept = torch.from_numpy(tasks == task)
            learned.setdefault((name, basis.shape[1]), own.clone())[kept] += change[kept] @ basis @ basis.T
    sizes = sorted({size for _, size in learned})
    n_random = int(rules["random"].split()[0])
    drawn = [
        torch.linalg.qr(torch.randn(z.shape[1], size, generator=generator))[0]
        for size in sizes
        for _ in range(n_random)
    ]
    values = [*learned.values(), *(own + change @ basis @ basis.T for basis in drawn), own + change]
    logits = second.logits([[Edit(*head, value)] for value in values])
    falls = (second.lead - second.lists.lead(logits)).numpy()
    due = [second.lists.every[donor].answer for donor in second.lists.donor.tolist()]
    said = (second.lists.said(logits) == torch.tensor(due)).double().mean(1).tolist()
    random = falls[len(learned) : -1].sum(1).reshape(len(sizes), n_random) / falls[-1].sum()
    rows = []
    for place, (name, size) in enumerate(learned):
        share = ratio(falls[place], falls[-1], second.lists.cluster, seed=seed)
        others = random[sizes.index(size)]
        rows.append((name, size, *share, others.mean(), others.max(), said[place]))
    rows.append(("all of it", z.shape[1], 1.0, 1.0, 1.0, np.nan, np.nan, said[-1]))
    columns = ["subspace", "dimensions", "share", "low", "high", "random", "random_highest", "said"]
    return pd.DataFrame(rows, columns=columns)


def _along(index: Float[Tensor, " prompt"], tasks: np.ndarray) -> Float[Tensor, "prompt 3"]:
    """The index in units of its spread within the class, and the cosine and the sine of once round in ten."""
    line = torch.empty_like(index)
    for task in np.unique(tasks):
        own = torch.from_numpy(tasks == task)
        line[own] = index[own] / index[own].std().clamp(min=1e-6)
    angle = 2 * torch.pi * index / TURN
    return torch.stack([line, angle.cos(), angle.sin()], dim=1)


def _bases(
    z: Float[Tensor, "prompt d_head"], along: Float[Tensor, "prompt 3"], components: Sequence[int]
) -> dict[str, Float[Tensor, "d_head _"]]:
    """Orthonormal bases: how z changes with the index, in which plane it turns with it, and its principal components."""
    with_index = z.T @ along
    axes = torch.linalg.svd(z, full_matrices=False).Vh.T
    bases = {"line": torch.linalg.qr(with_index[:, :1])[0], "circle": torch.linalg.qr(with_index[:, 1:])[0]}
    return bases | {
        f"{size} component{'s' * (size > 1)}": axes[:, :size] for size in components if size <= axes.shape[1]
    }


# --- lists that were rarely read --------------------------------------------------------------------


def rarely(model: TransformersModel, head: Part, lists: Lists, *, seed: int) -> pd.DataFrame:
    """Whether the model goes on with lists of several kinds, and what is left without the head, and without others."""
    rng, parts = np.random.default_rng(seed), anatomy.of(model)
    setting = instruments.setting_of(model, parts, lists)
    rest = [part for part in paths.all_parts(parts) if part[1] is not None and part != head]
    others = [rest[place] for place in rng.choice(len(rest), N_OTHERS, replace=False)]
    logits = setting.logits([[], *(paths.replaced([part], setting.donors) for part in (head, *others))])
    right, falls = lists.right(logits).numpy(), (setting.lead - lists.lead(logits)).numpy()
    looks = setting.runs.looks([one.at for one in lists.every])[head].numpy()
    rows = []
    for kind in dict.fromkeys(lists.task):
        own = lists.task == kind
        n, lead = int(own.sum()), setting.lead[torch.from_numpy(own)].numpy()
        chance = float(np.mean([1 / len(one.resolved.words) for one, its in zip(lists.every, own) if its]))
        hits = [int(each[own].sum()) for each in right]
        lost = ratio(falls[1, own], lead, lists.cluster[own], seed=seed)
        most = float(falls[2:, own].sum(1).max() / lead.sum())
        looked = float(looks[own].mean())
        rows.append(
            (
                kind,
                hits[0],
                *intervals.wilson(hits[0], n),
                chance,
                hits[1],
                float(np.mean(hits[2:])),
                *lost,
                most,
                looked,
                n,
            )
        )
    columns = ["right", "right_low", "right_high", "chance", "without", "without_others", "lost", "low", "high"]
    return pd.DataFrame(rows, columns=["kind", *columns, "others_lost", "attention", "n"])


STORED = StoredFindings(Closer, "closer")  # what comes with the book


if __name__ == "__main__":
    for name in sys.argv[1:]:
        STORED.keep(name, measure(models.load(name, device="cpu"), chapter_found(name), seed=0))
