"""The instruments of chapter 8, in the order in which the chapter uses them: lists in, tables out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, Shaped
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import anatomy, depths, intervals, ordinals, paths, scores
from successor_heads.anatomy import Anatomy, Part, name_of
from successor_heads.cached import Intact
from successor_heads.errors import UserError
from successor_heads.paths import Written
from successor_heads.studies.models_of_today import lists as of_lists
from successor_heads.studies.models_of_today.found import Depth, Found
from successor_heads.studies.models_of_today.lists import PAD, Frame, Lists
from successor_heads.studies.models_of_today.rules import RULES, frames

# What may stand before a token that is studied alone, besides the beginning of a text.
NEUTRAL = ("The", "word", "Here:")
# Shown before the last ordinal, as places from it.
ORDERS = {"in order": (-2, -1, 0), "descending": (2, 1, 0), "constant": (0, 0, 0), "every other": (-4, -2, 0), "shuffled": (-1, -2, 0)}  # fmt: skip
N_SHOWN = 8  # heads that are followed up on the lists of confirmation
RIDGE = 0.1  # of the learned map, in units of the mean squared length of what it reads
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # of circuits that are tried


class Setting(NamedTuple):
    """A model with the lists of one split: their intact runs, and what its parts write there and on the donors' lists."""

    model: TransformersModel
    parts: Anatomy
    lists: Lists
    runs: Intact
    lead: Float[Tensor, " prompt"]
    intact: Written
    donors: Written

    def logits(self, variants: Sequence) -> Float[Tensor, "variant prompt token"]:
        """Logits of all members under each variant."""
        return self.runs.logits(variants, self.lists.token_ids)

    def falls(self, variants: Sequence) -> Float[np.ndarray, "variant prompt"]:
        """By how much the right answer's lead falls under each variant."""
        return (self.lead - self.lists.lead(self.logits(variants))).numpy()

    def at(self, places: Sequence[int], *, donor: Sequence[int] | None = None) -> Setting:
        """Some of the lists, with their own donors or these."""
        rows = torch.tensor(list(places), dtype=torch.long)
        donors = self.donors.of(rows) if donor is None else self.intact.of(torch.tensor(list(donor), dtype=torch.long))
        lists, runs = self.lists.at(places), self.runs.at(places)
        return Setting(self.model, self.parts, lists, runs, self.lead[rows], self.intact.of(rows), donors)

    def kept(self, tasks: Iterable[str]) -> Setting:
        """The lists of these classes."""
        return self.at(np.flatnonzero(np.isin(self.lists.task, list(tasks))).tolist())

    def share(self, falls: Float[np.ndarray, " prompt"], *, seed: int) -> tuple[float, float, float]:
        """A fall as a share of the lead, over all lists, with its interval."""
        return ratio(falls, self.lead.numpy(), self.lists.cluster, seed=seed)


def measure(
    model: TransformersModel,
    *,
    name: str,
    seed: int,
    discovery: Mapping[str, Frame] | None = None,
    confirmation: Mapping[str, Frame] | None = None,
    length: int = RULES["prompts"]["length"],
    most: int = RULES["prompts"]["most"],
    with_front: bool = True,
) -> Found:
    """All that chapter 8 asks of a model, by the rules; other frames, lists of one, and lists without a beginning of text are for plants.

    Raises UserError where no list can be written in the model's tokens, and for a model on NDIF.
    """
    if model.remote is True:
        raise UserError("Chapter 8 goes into the blocks, which NDIF runs whole: use a model that fits on this machine.")
    parts, classes = anatomy.of(model), ordinals.resolve(model.tokenizer)
    both = [discovery or frames("discovery"), confirmation or frames("confirmation")]
    every = [
        of_lists.make(model.tokenizer, own, length=length, most=most, parity=parity, with_front=with_front)
        for parity, own in enumerate(both)
    ]
    if not all(own.every for own in every):
        raise UserError(
            "This tokenizer writes too few members of the lists as single tokens for any list that counts: choose another "
            "model."
        )
    settings = [setting_of(model, parts, own) for own in every]
    gate, kept = ask(*settings)
    settings = [setting.kept(kept or gate["class"].tolist()) for setting in settings]  # the others' runs are let go
    first, second = settings
    told = in_other_orders(second, both[1])
    order = rank(first)
    heads = [part for part, _ in order if part[1] is not None][:N_SHOWN]
    chosen, circuit = find_circuit(first, second, [part for part, _ in order], seed=seed)
    return Found(
        model=name,
        family=parts.family,
        n_layers=parts.n_layers,
        n_heads=parts.n_heads,
        n_parameters=sum(parameter.numel() for parameter in model._module.parameters()),
        seed=seed,
        is_live=True,
        lead=float(second.lead.mean()),
        n_lists=(len(first.lists.every), len(second.lists.every)),
        depth=search_depths(model, classes, heads[: RULES["effects"]["ranked"]], seed=seed),
        gate=gate,
        orders=other_orders(second, told),
        parts=follow_up(second, order, heads, seed=seed),
        together=replace_together(second, heads, seed=seed),
        donors=exchange(second, heads, told, seed=seed),
        stream=read_stream(second),
        paths=follow_paths(second, heads[0], seed=seed),
        circuit=circuit,
        nodes=[name_of(part) for part in chosen],
    )


def setting_of(model: TransformersModel, parts: Anatomy, lists: Lists) -> Setting:
    """Lists that the model has run through once."""
    runs = Intact(model, lists.prompts)
    intact = Written(*runs.written())
    lead = lists.lead(runs.logits([[]], lists.token_ids)[0])
    return Setting(model, parts, lists, runs, lead, intact, intact.of(lists.donor))


def ratio(
    values: Shaped[np.ndarray, " prompt"], of: Float[np.ndarray, " prompt"], cluster: np.ndarray, *, seed: int
) -> tuple[float, float, float]:
    """Sum of the values over the sum of what they are a share of, with its interval, clusters resampled whole.

    NaN where that sum is not above zero: there is no share of a lead that a model does not have.
    """
    some, total = (np.bincount(cluster, weights=np.asarray(weights, dtype=float)) for weights in (values, of))
    return intervals.ratio_interval(some, total, seed=seed) if total.sum() > 0 else (np.nan, np.nan, np.nan)


def rate(
    right: Bool[np.ndarray, " prompt"], cluster: Int[np.ndarray, " prompt"], *, seed: int
) -> tuple[float, float, float]:
    """Share of prompts that are answered so, with its interval, clusters resampled whole; NaN for no prompt."""
    return intervals.share_interval(np.bincount(cluster, weights=right), np.bincount(cluster), seed=seed)


# --- the gate ---------------------------------------------------------------------------------------


def ask(first: Setting, second: Setting) -> tuple[pd.DataFrame, list[str]]:
    """How well the model counts, by class, on both splits; and the classes that the gate leaves."""
    rows: dict[str, dict] = {}
    for split, setting in (("discovery", first), ("confirmation", second)):
        right = setting.lists.right(setting.logits([[]])[0]).numpy()
        for task in dict.fromkeys(setting.lists.task):
            own = setting.lists.task == task
            rows.setdefault(task, {"class": task})
            rows[task] |= {split: int(right[own].sum()), f"n_{split}": int(own.sum())}
    in_vocabulary = _in_vocabulary(second)
    for task in dict.fromkeys(second.lists.task):
        rows[task]["vocabulary"] = int(in_vocabulary[second.lists.task == task].sum())
    counts = ["discovery", "n_discovery", "confirmation", "n_confirmation", "vocabulary"]
    gate = pd.DataFrame(rows.values()).reindex(columns=["class", *counts]).fillna(0).astype(dict.fromkeys(counts, int))
    gate["kept"] = (gate["n_discovery"] > 0) & (gate["n_confirmation"] > 0)
    gate["kept"] &= gate["discovery"] >= RULES["gate"]["class"] * gate["n_discovery"]
    return gate, gate.loc[gate["kept"], "class"].tolist()


def _in_vocabulary(setting: Setting) -> np.ndarray:
    """Whether the right answer has the highest logit of all tokens, taken in slices."""
    highest, said = torch.full((len(setting.lists.every),), -torch.inf), torch.zeros(len(setting.lists.every)).long()
    for rows, intact in setting.runs.batches():
        for token_ids in torch.arange(setting.parts.d_vocab).split(1 << 14):
            with torch.no_grad():
                most, place = setting.parts.logits(intact.streams[-1], token_ids).float().cpu().max(-1)
            better = most > highest[rows]
            highest[rows[better]], said[rows[better]] = most[better], token_ids[place[better]]
    answers = torch.stack([one.resolved.token_ids[one.answer] for one in setting.lists.every])
    return (said == answers).numpy()


class Reordered(NamedTuple):
    """Some of the lists told in another order: which of them, their logits, and what parts write there."""

    kept: list[int]
    logits: Float[Tensor, "prompt token"]
    written: Written


def in_other_orders(setting: Setting, shown_in: Mapping[str, Frame]) -> dict[str, Reordered]:
    """The lists in each of the orders, run once; of lists of three."""
    orders: dict[str, Reordered] = {}
    for order, offsets in ORDERS.items() if setting.lists.length == 3 else ():
        told = of_lists.reordered(setting.model.tokenizer, setting.lists, shown_in, offsets)
        if told:
            kept = list(told)
            runs = setting.runs.at(kept) if order == "in order" else Intact(setting.model, list(told.values()))
            logits = runs.logits([[]], setting.lists.at(kept).token_ids)[0]
            orders[order] = Reordered(kept, logits, Written(*runs.written()))
    return orders


def other_orders(setting: Setting, orders: Mapping[str, Reordered]) -> pd.DataFrame:
    """What the model says in its class when what stands before the last ordinal is not in order."""
    rows = []
    for order, told in orders.items():
        some = setting.lists.at(told.kept)
        said = some.said(told.logits)
        shares = [float((said == member).double().mean()) for member in (some.answer, some.last)]
        rows.append((order, *shares, len(told.kept)))
    return pd.DataFrame(rows, columns=["shown", "successor", "last", "n"])


# --- who does it ------------------------------------------------------------------------------------


def rank(setting: Setting) -> list[tuple[Part, float]]:
    """All parts with the share of the lead that is lost without each, the largest first."""
    every = paths.all_parts(setting.parts)
    falls = setting.falls([paths.replaced([part], setting.donors) for part in every])
    shares = falls.sum(1) / float(setting.lead.sum())
    return [(every[place], float(shares[place])) for place in np.argsort(-shares, kind="stable")]


def effects_on(model: TransformersModel, task: str) -> Float[Tensor, "layer head"]:
    """Share of the lead on one class's lists of discovery that is lost without each head: for a circuit of one class."""
    parts, rules = anatomy.of(model), RULES["prompts"]
    every = of_lists.make(model.tokenizer, frames("discovery"), length=rules["length"], most=rules["most"], parity=0)
    shares = dict(rank(setting_of(model, parts, every.kept([task]))))
    heads = [[shares[layer, head] for head in range(parts.n_heads)] for layer in range(parts.n_layers)]
    return torch.tensor(heads)


def follow_up(
    setting: Setting, order: Sequence[tuple[Part, float]], heads: Sequence[Part], *, seed: int
) -> pd.DataFrame:
    """One row a part: its rank by other lists, and on these its total and direct effect, what it writes and attends to.

    Total effects are measured of the MLPs and of the heads that ranked first, direct effects of all.
    """
    lists = setting.lists
    followed = [part for part, _ in order if part[1] is None or part in heads]
    falls = dict(zip(followed, setting.falls([paths.replaced([part], setting.donors) for part in followed])))
    arguments = (setting.model, setting.runs.streams()[-1], setting.intact)
    direct = paths.direct_logits(*arguments, setting.donors, lists.token_ids)
    without = paths.direct_logits(*arguments, _of_group_mean(lists, setting.intact), lists.token_ids)
    intact = setting.logits([[]])[0]
    looks = setting.runs.looks([one.at for one in lists.every]).mean(-1)
    rows = []
    for part, share in order:
        layer, head = part
        own_direct, own_without = (
            logits[1][layer] if head is None else logits[0][layer, head] for logits in (direct, without)
        )
        # What the part adds to each member beyond what it adds on average, by way of the final norm alone.
        promoted = lists.said(intact - own_without)
        total = setting.share(falls[part], seed=seed) if part in falls else (np.nan,) * 3
        rows.append(
            (
                name_of(part), layer, -1 if head is None else head, share, *total,
                float((setting.lead - lists.lead(own_direct)).sum() / setting.lead.sum()),
                float((promoted == lists.last).double().mean()), float((promoted == lists.answer).double().mean()),
                np.nan if head is None else float(looks[layer, head]),
            )
        )  # fmt: skip  # one row of a table
    columns = ["part", "layer", "head", "ranked_by", "total", "low", "high", "direct", "last", "successor", "attention"]
    return pd.DataFrame(rows, columns=columns)


def groups_of(lists: Lists) -> np.ndarray:
    """A number for each class in each frame."""
    return np.unique([f"{one.task} {one.frame}" for one in lists.every], return_inverse=True)[1]


def _averaging(groups: Tensor, dtype: torch.dtype) -> Float[Tensor, "prompt prompt"]:
    """The matrix that takes values to their mean over the prompts of the same group."""
    same = (groups[:, None] == groups).to(dtype)
    return same / same.sum(1, keepdim=True)


def _of_group_mean(lists: Lists, intact: Written) -> Written:
    """What parts write on average over the lists of the same class and frame."""
    mean = _averaging(torch.from_numpy(groups_of(lists)), torch.double).float()
    return Written(torch.einsum("pq,lhqk->lhpk", mean, intact.heads), torch.einsum("pq,lqd->lpd", mean, intact.mlps))


def replace_together(setting: Setting, heads: Sequence[Part], *, seed: int) -> pd.DataFrame:
    """Right answers with the first one, three and all of these heads replaced, and with as many others."""
    rng, lists = np.random.default_rng(seed), setting.lists
    others = [part for part in paths.all_parts(setting.parts) if part[1] is not None and part not in heads]
    sizes = sorted({size for size in (0, 1, 3, len(heads)) if size <= len(heads)})
    rows = []
    for size in sizes:
        n_groups = RULES["circuit"]["random"] if 0 < size <= len(others) else 0
        drawn = [[others[i] for i in rng.choice(len(others), size=size, replace=False)] for _ in range(n_groups)]
        groups = [list(heads[:size]), *drawn]
        right = lists.right(setting.logits([paths.replaced(group, setting.donors) for group in groups])).numpy()
        share = rate(right[0], lists.cluster, seed=seed)
        rows.append((size, *share, float(right[1:].mean()) if drawn else np.nan, len(right[0])))
    return pd.DataFrame(rows, columns=["heads", "right", "low", "high", "others", "n"])


# --- what a head carries ----------------------------------------------------------------------------


def exchange(setting: Setting, heads: Sequence[Part], orders: Mapping[str, Reordered], *, seed: int) -> pd.DataFrame:
    """What is said when the first of these heads, or the first three, write what they wrote on a donor's list.

    From lists of the same class and of another one: the successor of the donor's last ordinal, beside donors shuffled.
    From lists that end in the same ordinal, in another order: the right answer still.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for n_heads in dict.fromkeys((1, min(RULES["effects"]["ranked"], len(heads)))):
        own = heads[:n_heads]
        who = " + ".join(map(name_of, own))
        for kind, donor in (
            ("same class", setting.lists.donor.tolist()),
            ("another class", across(setting.lists, rng)),
        ):
            rows.append((who, n_heads, kind, *_said_of_donor(setting, own, donor, rng, seed=seed)))
        for order in ("descending", "constant", "every other"):
            if order in orders:
                kept, _, written = orders[order]
                some = setting.at(kept)
                right = some.lists.right(some.logits([paths.replaced(own, written)])[0]).numpy()
                share = rate(right, setting.lists.cluster[kept], seed=seed)
                rows.append((who, n_heads, f"same ordinal, {order}", *share, np.nan, len(kept)))
    return pd.DataFrame(rows, columns=["who", "heads", "donor", "share", "low", "high", "null", "n"])


def across(lists: Lists, rng: np.random.Generator) -> list[int | None]:
    """For each list one of another class in the same frame, whose successor's index this class has: not its own answer."""
    chosen: list[int | None] = []
    for place, one in enumerate(lists.every):
        fitting = []
        for other, donor in enumerate(lists.every):
            if donor.frame == one.frame and donor.task != one.task:
                member = lists.member_of_index(place, lists.index_of_last(other) + 1)
                if member is not None and member not in (one.answer, one.last):
                    fitting.append(other)
        chosen.append(int(rng.choice(fitting)) if fitting else None)
    return chosen


def _said_of_donor(
    setting: Setting, heads: Sequence[Part], donor: Sequence[int | None], rng: np.random.Generator, *, seed: int
) -> tuple[float, float, float, float, int]:
    """Share of lists on which the successor of the donor's last ordinal is said, its interval, the null, and of how many."""
    kept = [place for place, other in enumerate(donor) if other is not None]
    if not kept:
        return np.nan, np.nan, np.nan, np.nan, 0
    (hits,) = hits_of_donors(setting, [heads], donor)
    share = rate(hits.diagonal(), setting.lists.cluster[kept], seed=seed)
    return *share, donors_shuffled(hits[None], setting.lists.task[kept], rng), len(kept)


def hits_of_donors(
    setting: Setting, groups: Sequence[Sequence[Part]], donor: Sequence[int | None]
) -> Bool[np.ndarray, "group prompt donor"]:
    """Whether a list is gone on with from each donor's last ordinal, when a group of parts writes what it wrote on the list's own.

    Of the lists that have a donor; the diagonal has each list with its own.
    """
    lists = setting.lists
    pairs = [(place, other) for place, other in enumerate(donor) if other is not None]
    kept, theirs = ([pair[which] for pair in pairs] for which in (0, 1))
    some = setting.at(kept, donor=theirs)
    said = some.lists.said(some.logits([paths.replaced(group, some.donors) for group in groups])).numpy()
    index = [lists.index_of_last(other) + 1 for other in theirs]
    due = [[lists.member_of_index(place, i) for i in index] for place in kept]  # [list, donor]
    return np.array(
        [[[said_here == member for member in row] for said_here, row in zip(of_group, due)] for of_group in said]
    )


def donors_shuffled(hits: Bool[np.ndarray, "group prompt donor"], tasks: np.ndarray, rng: np.random.Generator) -> float:
    """What the best of the groups does not exceed in 97.5% of shuffles of donors among the lists of a class."""
    highest, rules = [], RULES["thresholds"]
    for _ in range(rules["crossing_permutations"]):
        order = np.arange(hits.shape[1])
        for task in np.unique(tasks):
            own = np.flatnonzero(tasks == task)
            order[own] = rng.permutation(own)
        highest.append(hits[:, np.arange(hits.shape[1]), order].mean(1).max())
    return float(np.quantile(highest, rules["crossing_level"]))


def read_stream(setting: Setting) -> pd.DataFrame:
    """On what share of the lists the last ordinal, or its successor, is highest in the stream at the last position.

    After every block, in two ways. *plain*: by the model's own last norm and unembedding, less the mean over the lists of
    the class and frame. *learned*: by a linear map from the stream to unembeddings that is fitted on the other classes.
    """
    lists, parts = setting.lists, setting.parts
    groups = torch.from_numpy(groups_of(lists))
    rows = []
    for block, intact in enumerate(setting.runs.streams()):
        stream = centred(intact, groups)
        with torch.no_grad():
            logits = parts.logits(intact.to(setting.model._module.device), lists.token_ids).float().cpu()
        said = lists.said(centred(logits, groups))
        shares = [float((said == member).double().mean()) for member in (lists.last, lists.answer)]
        rows.append((block, *shares, *(_learned(stream, setting, member) for member in (lists.last, lists.answer))))
    return pd.DataFrame(rows, columns=["block", "last", "successor", "learned last", "learned successor"])


def centred(values: Float[Tensor, "prompt _"], groups: Tensor) -> Tensor:
    """Values less their mean over the prompts of the same group."""
    return values - _averaging(groups, values.dtype) @ values


def _learned(stream: Float[Tensor, "prompt d_model"], setting: Setting, member: Tensor) -> float:
    """Share of lists on which a map that was fitted on the other classes' lists names this member of theirs first."""
    lists = setting.lists
    unembed = setting.parts.unembed(lists.token_ids).T.float().cpu()  # [token, d_model]
    columns = lists.members.clamp(min=0)
    shown = (lists.members != PAD).float()[..., None]
    own = unembed[columns] * shown
    own = (own - own.sum(1, keepdim=True) / shown.sum(1, keepdim=True)) * shown  # centred within the class
    target = own[torch.arange(len(member)), member]
    right = 0
    for task in np.unique(lists.task):
        here = torch.from_numpy(lists.task == task)
        x, y = stream[~here], target[~here]
        if not len(x):
            return float("nan")
        gram = x @ x.T
        # Before any block the stream is that of the last token, which all lists of a frame share: there is nothing to read.
        gram.diagonal().add_((RIDGE * gram.diagonal().mean()).clamp(min=1e-6))
        guessed = stream[here] @ (x.T @ torch.linalg.solve(gram, y))
        logits = torch.einsum("pd,pmd->pm", guessed, own[here]).masked_fill(lists.members[here] == PAD, -torch.inf)
        right += int((logits.argmax(-1) == member[here]).sum())
    return right / len(member)


# --- by way of what, and with what else -------------------------------------------------------------


def follow_paths(setting: Setting, head: Part, *, seed: int) -> pd.DataFrame:
    """Shares of a head's effect: straight to the answer, by way of each part behind it, of all MLPs, of all heads.

    A part's share is what its own answer to the head adds to the direct effect, all else held as on the intact run.
    "through MLPs" is what is lost of the effect when every MLP behind writes what it wrote on the intact run.
    """
    every = [part for part in paths.all_parts(setting.parts) if paths.behind(head, part)]
    mlps, heads = ([part for part in every if (part[1] is None) == is_mlp] for is_mlp in (True, False))
    receivers = [[], heads, mlps, *([part] for part in every)]
    variants = [paths.along([head], some, setting.intact, setting.donors) for some in receivers]
    total, direct, by_heads, by_mlps, *alone = setting.falls([paths.replaced([head], setting.donors), *variants])
    ways = {"direct": direct, "through MLPs": total - by_heads, "through heads": total - by_mlps}
    ways |= {name_of(part): fall - direct for part, fall in zip(every, alone)}
    rows = [(way, *ratio(fall, total, setting.lists.cluster, seed=seed)) for way, fall in ways.items()]
    return pd.DataFrame(rows, columns=["way", "share", "low", "high"])


def find_circuit(
    first: Setting, second: Setting, order: Sequence[Part], *, seed: int
) -> tuple[list[Part], pd.DataFrame]:
    """The smallest circuit, taken in this order, that the rules accept on the first lists, and how it does on the second.

    Restored: the share of the lead that is there when only the circuit writes what it does, and all others what they
    write on the donor's list. Left: what is there when only the circuit writes the donor's. Nought is the lead with all
    parts on the donor's list, one the intact lead. All parts, where the rules accept no smaller circuit.
    """
    rules = RULES["circuit"]
    sizes = [size for size in SIZES if size < len(order)]
    some = every_second(first)
    restored, left = (
        _restored(some, [_rest(order, order[:size], keep=keep) for size in sizes]) for keep in (True, False)
    )
    tried = pd.DataFrame(
        {
            "lists": "discovery", "circuit": "in order", "size": sizes,
            "restored": [share[0] for share in restored], "left": [share[0] for share in left],
        }
    )  # fmt: skip  # one table
    fitting = tried[(tried["restored"] >= rules["faithful"]) & (tried["left"] <= rules["complement"])]
    size = int(fitting["size"].min()) if len(fitting) else len(order)
    chosen = list(order[:size])
    rng = np.random.default_rng(seed)
    drawn = [_alike(order, chosen, rng) for _ in range(rules["random"])]
    whole = {"restored": [_rest(order, chosen, keep=True)], "left": [_rest(order, chosen, keep=False)]}
    ends = {name: _restored(second, variants, seed=seed)[0] for name, variants in whole.items()}
    others = [share[0] for share in _restored(every_second(second), [_rest(order, each, keep=True) for each in drawn])]
    rows = [
        {
            "lists": "confirmation", "circuit": "chosen", "size": size,
            **{name: share for name, (share, _, _) in ends.items()},
            **{f"{name}_low": low for name, (_, low, _) in ends.items()},
            **{f"{name}_high": high for name, (_, _, high) in ends.items()},
        },
        {"lists": "confirmation", "circuit": "random", "size": size, "restored": float(np.mean(others))},
    ]  # fmt: skip  # two rows of a table
    return chosen, pd.concat([tried, pd.DataFrame(rows)], ignore_index=True)


def _rest(order: Sequence[Part], circuit: Sequence[Part], *, keep: bool) -> list[Part]:
    """The parts that write the donor's: all but the circuit, or only the circuit."""
    inside = set(circuit)
    return [part for part in order if (part in inside) != keep]


def _alike(order: Sequence[Part], circuit: Sequence[Part], rng: np.random.Generator) -> list[Part]:
    """A random circuit of as many heads and as many MLPs."""
    drawn: list[Part] = []
    for is_mlp in (True, False):
        of_kind = [part for part in order if (part[1] is None) == is_mlp]
        n = sum((part[1] is None) == is_mlp for part in circuit)
        drawn += [of_kind[place] for place in rng.choice(len(of_kind), size=n, replace=False)]
    return drawn


def _restored(
    setting: Setting, replaced: Sequence[Sequence[Part]], *, seed: int = 0
) -> list[tuple[float, float, float]]:
    """For each set of parts that write the donor's, the share of the lead that is there all the same, with its interval."""
    everything = paths.all_parts(setting.parts)
    variants = [paths.replaced(some, setting.donors) for some in (everything, *replaced)]
    nothing, *falls = setting.falls(variants)
    return [ratio(nothing - fall, nothing, setting.lists.cluster, seed=seed) for fall in falls]


def every_second(setting: Setting) -> Setting:
    """Half of the lists: enough to rank by, and half the time."""
    return setting.at(range(0, len(setting.lists.every), 2))


# --- depths -----------------------------------------------------------------------------------------


def search_depths(
    model: TransformersModel, classes: dict[str, ordinals.ResolvedClass], heads: Sequence[Part], *, seed: int
) -> Depth:
    """The search over heads and depths with its null, what may stand before a token, and the maps of some heads."""
    rules, tokenizer = RULES["depth"], model.tokenizer
    front = depths.front_of(tokenizer)
    found = depths.search(model, classes, front=front)
    fronts = {"beginning of text": found, "nothing": depths.search(model, classes, front=[])}
    for word in NEUTRAL:
        tokens = [*front, *tokenizer(word, add_special_tokens=False)["input_ids"]]
        fronts[f"“{word}”"] = depths.search(model, classes, front=tokens)
    depth_of = np.array([depth for depth, _, _ in found.candidates])
    by_front = [
        (name, int(depth), float(each.macro.numpy()[depth_of == depth].max()))
        for name, each in fronts.items()
        for depth in np.unique(depth_of)
    ]
    told = depths.summary(found, seed=seed, n_permutations=rules["permutations"], level=rules["level"])
    halves = told.held_out
    leaders = [(layer, head) for layer, head in heads if head is not None]
    shown = {*leaders, *((layer, head) for _, layer, head in halves.chosen)}
    maps = [
        (name_of((layer, head)), depth, float(found.macro[row]), float(found.copying[row]))
        for row, (depth, layer, head) in enumerate(found.candidates)
        if (layer, head) in shown
    ]
    leading = []
    for place in leaders:
        of_head = depths.held_out(found, head=place)
        leading.append((name_of(place), of_head.chosen[0][0], of_head.macro, of_head.copying))
    depth, layer, head = told.best
    theirs = found.of_rows([row for row, (_, *its) in enumerate(found.candidates) if tuple(its) in leaders])
    leading_null = depths.null(theirs, n_permutations=rules["permutations"], seed=seed).quantile(rules["level"]).item()
    return Depth(
        canonical=(name_of((told.canonical[1], told.canonical[2])), told.canonical_macro),
        best=(depth, name_of((layer, head)), told.macro),
        chosen=[(depth, name_of((layer, head))) for depth, layer, head in halves.chosen],
        macro=halves.macro,
        copying=halves.copying,
        null=told.null,
        canonical_null=told.canonical_null,
        n_searched=told.n_searched,
        by_front=pd.DataFrame(by_front, columns=["front", "depth", "macro"]),
        heads=pd.DataFrame(maps, columns=["head", "depth", "succession", "copying"]),
        leading=pd.DataFrame(leading, columns=["head", "depth", "macro", "copying"]),
        leading_null=leading_null,
        **score_by_paper(model, leaders[0], seed=seed),
    )


def score_by_paper(model: TransformersModel, top: tuple[int, int], *, seed: int) -> dict[str, Any]:
    """The best head by the paper's own score, with interval and null, and the rank of `top` by it: fields of `Depth`."""
    rules, forms = RULES["depth"], ordinals.surface_forms(model.tokenizer)
    answers = scores.score_heads(anatomy.of(model), forms)
    paper = scores.paper_scores(answers, forms)
    null = scores.paper_null(answers, forms, n_permutations=rules["permutations"], seed=seed)
    return {
        "paper": (name_of(paper.best), float(paper.share[paper.best])),
        "paper_interval": scores.paper_interval(answers, forms, *paper.best),
        "paper_null": null.quantile(rules["level"]).item(),
        "paper_rank": int((paper.share > paper.share[top]).sum()) + 1,
    }
