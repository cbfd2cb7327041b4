"""Chapter 1: is there a successor head, and does the model need it?

::

    found = find_heads.measure(model, parts, classes, name="grown/pythia", seed=0)
    find_heads.verdict(found).key      # "shared": the head scores, and its work is shared

The score of every head and its controls; then lists that count, with the best head ablated, and with the heads that
matter most ablated together. Those heads are chosen on one half of the lists and judged on the other, both ways round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import (
    ablation,
    anatomy,
    direct_effects,
    figures,
    intervals,
    models,
    ordinals,
    ov_circuit,
    prompts,
    records,
    reported,
    scores,
)
from successor_heads.anatomy import Anatomy
from successor_heads.errors import UserError
from successor_heads.figures import PALETTE, Attention, Drawing, Table
from successor_heads.growing import observe, succession
from successor_heads.live import Living
from successor_heads.ordinals import ResolvedClass
from successor_heads.scores import HeadScores, PaperScores
from successor_heads.studies import OfBestHead, Place, Verdict, list_name

CHAPTER = "01-find-heads"
MOST_ABLATED = 5  # heads taken away together, at most
MOST_WORDS = 14  # of a list that are drawn one by one
IN_CIRCUIT = 3  # heads that the drawing of the circuit names
AWAY = 2.5  # how far from the others it puts the last token


@dataclass(frozen=True, eq=False)
class Controls:
    """What scores are held against: macro of untrained twins, of bare embeddings, and of the best under shuffled targets."""

    untrained: list[Float[np.ndarray, "layer head"]]
    embedding: Float[np.ndarray, "layer head"]
    shuffled_best: Float[np.ndarray, " permutation"]

    @property
    def untrained_best(self) -> float:
        """The highest macro of any head of any untrained twin; NaN without twins."""
        return max((float(macro.max()) for macro in self.untrained), default=float("nan"))

    @property
    def shuffled_range(self) -> tuple[float, float]:
        """Where the best head lies in 95% of the permutations."""
        return intervals.middle(self.shuffled_best)

    @property
    def ceiling(self) -> float:
        """What a successor head has to beat: the best untrained head and the null of the best head."""
        return float(np.nanmax([self.shuffled_range[1], self.untrained_best]))


@dataclass(frozen=True, eq=False)
class Ablated:
    """Answers to lists that count: intact, without the best head, and without the heads that matter most together.

    `intact` and `without` say of each list whether the answer is right among the members of its class. `fall` is by how
    much the right answer's lead over its class falls without a head, in logits, a mean over classes. Of `together`
    row k has k heads ablated; `others` is the same for groups of as many other heads, a share of the lists each.
    """

    task: list[str]
    intact: Bool[np.ndarray, " list"]
    without: Bool[np.ndarray, " list"]
    chance: float
    fall: Float[np.ndarray, "layer head"]
    together: Bool[np.ndarray, "size list"]
    groups: list[list[Place]]
    others: Float[np.ndarray, "size group"]
    attention: Float[np.ndarray, "layer head"]

    @property
    def by_list(self) -> pd.DataFrame:
        """Right answers by class: lists, intact, without the head."""
        table = pd.DataFrame({"list": self.task, "intact": self.intact, "without": self.without})
        counts = table.groupby("list", sort=False).agg(
            lists=("intact", "size"), intact=("intact", "sum"), without=("without", "sum")
        )
        return counts.reset_index()

    @property
    def breaking_point(self) -> int | None:
        """The smallest number of heads without which at most half of the intact answers are right; None within reach."""
        right = self.together.sum(1)
        broken = np.flatnonzero(2 * right <= right[0])
        # Where a guess would do as well nothing is broken.
        counts = intervals.wilson(int(right[0]), len(self.task))[0] > self.chance
        return int(broken[0]) if len(broken) and counts else None

    def is_specific(self, size: int) -> bool:
        """Whether more than half of the intact answers are left without as many other heads."""
        return bool(2 * self.others[size].mean() > self.intact.mean())


@dataclass(frozen=True, eq=False)
class Found(OfBestHead):
    """Everything that chapter 1 shows of a model."""

    model: str
    revision: str | None
    family: str
    n_parameters: int
    d_model: int
    classes: Mapping[str, ResolvedClass]
    scores: HeadScores
    interval: tuple[float, float]
    paper: PaperScores
    controls: Controls
    ablated: Ablated
    seen: int | None = None  # of the lists that were asked, those that stand in the training text; None: not known

    @property
    def right(self) -> tuple[int, int]:
        """On how many of all pairs it names the successor, and of how many."""
        outcomes = torch.cat([success[self.best] for success in self.scores.success.values()])
        return int(outcomes.sum()), len(outcomes)

    @property
    def runner_up(self) -> tuple[Place, float]:
        """The next best head and its macro; the best itself in a model of one head."""
        row = self.scores.ranking[min(1, len(self.scores.ranking) - 1)]
        return (int(row["layer"]), int(row["head"])), float(row["macro"])

    @property
    def by_list(self) -> pd.DataFrame:
        """The best head in each class: right, pairs, score and its 95% Wilson interval."""
        rows = []
        for task, success in self.scores.success.items():
            right, n = int(success[self.best].sum()), success.shape[-1]
            rows.append((task, right, n, right / n, *intervals.wilson(right, n)))
        return pd.DataFrame(rows, columns=["class", "right", "pairs", "score", "low", "high"])

    @property
    def is_shown(self) -> bool:
        """Whether the best head's interval lies above everything that chance and an untrained network reach."""
        return self.interval[0] > self.controls.ceiling


# --- what is measured -------------------------------------------------------------------------------


def measure(
    model: TransformersModel,
    parts: Anatomy,
    classes: dict[str, ResolvedClass],
    *,
    name: str,
    seed: int,
    n_twins: int = 5,
    n_permutations: int = 1000,
    n_groups: int = 20,
) -> Found:
    """Scores of all heads with their controls, and what ablation does to lists that count.

    Untrained twins need the model's memory and are left out for a model on NDIF.
    """
    result = scores.score_heads(parts, classes)
    forms = ordinals.surface_forms(model.tokenizer)
    controls = Controls(
        # One twin at a time: each takes the model's memory.
        untrained=[
            scores.score_heads(anatomy.of(models.untrained_twin(model, seed=twin)), classes).macro.numpy()
            for twin in range(0 if model.remote else n_twins)
        ],
        embedding=scores.score_heads(parts, classes, source="embedding").macro.numpy(),
        shuffled_best=scores.permutation_null(result, n_permutations=n_permutations, seed=seed).highest.numpy(),
    )
    return Found(
        model=name,
        revision=models.revision_of(model),
        family=parts.family,
        n_parameters=sum(parameter.numel() for parameter in model._module.parameters()),
        d_model=parts.d_model,
        classes=classes,
        scores=result,
        interval=scores.macro_interval(result, *result.best, seed=seed),
        paper=scores.paper_scores(scores.score_heads(parts, forms), forms),
        controls=controls,
        ablated=ablate(model, parts, classes, result.best, seed=seed, n_groups=n_groups),
        seen=lists_seen(name, classes),
    )


def lists_seen(name: str, classes: Mapping[str, ResolvedClass]) -> int | None:
    """How many of the lists that are asked stand word for word, answer included, in the text that a model was trained on.

    None where that text is not known: it is of the models that come with the book, and of no other.
    """
    text = observe.shipped_text().get(name.removeprefix("grown/")) if name.startswith("grown/") else None
    if text is None:
        return None
    return sum(sum(succession.stood_in_text(text, prompts.counting_lists(each)[0])) for each in classes.values())


def ablate(
    model: TransformersModel,
    parts: Anatomy,
    classes: dict[str, ResolvedClass],
    best: Place,
    *,
    seed: int,
    n_groups: int,
) -> Ablated:
    """What mean ablation at the last position does to lists of three and a comma. Raises UserError where none can be written."""
    asked = {task: prompts.counting_lists(resolved) for task, resolved in classes.items()}
    asked = {task: (lists, answers) for task, (lists, answers) in asked.items() if lists}
    if not asked:
        raise UserError(
            "This tokenizer writes no four members of a list in a row with a leading space, so no list that counts can be "
            "made: choose another model."
        )
    every = [text for lists, _ in asked.values() for text in lists]
    task = [task for task, (lists, _) in asked.items() for _ in lists]
    mean = prompts.mean_head_outputs(model, every)

    effects = {
        task: ablation.head_ablation_effects(model, lists, answers, members=classes[task].token_ids, replacement=mean)
        for task, (lists, answers) in asked.items()
    }
    fall = {task: effect.difference_fall.numpy() for task, effect in effects.items()}
    halves = np.arange(len(every)) % 2  # lists of each class by turns
    orders = [_order(fall, task, halves == half) for half in (0, 1)]
    sizes = range(min(MOST_ABLATED, fall[task[0]].shape[0] * parts.n_heads) + 1)
    chosen = [[order[:size] for size in sizes] for order in orders]
    others = _other_groups(parts, orders, sizes, n_groups=n_groups, seed=seed)

    groups = [*chosen[0], *chosen[1], *others]
    right = np.concatenate(
        [
            ablation.group_ablation_effects(
                model, lists, answers, groups, members=classes[task].token_ids, replacement=mean
            ).ablated.right_in_class.numpy()
            for task, (lists, answers) in asked.items()
        ],
        axis=1,
    )
    n, intact = len(sizes), np.concatenate([effect.clean.right_in_class.numpy() for effect in effects.values()])
    return Ablated(
        task=task,
        intact=intact,
        without=np.concatenate([effect.ablated.right_in_class[best].numpy() for effect in effects.values()]),
        chance=float(np.mean([1 / len(classes[of].words) for of in task])),
        fall=np.mean([falls.mean(-1) for falls in fall.values()], axis=0),
        # What the first half chose is judged on the second, and the other way round.
        together=np.where(halves == 1, right[:n], right[n : 2 * n]),
        groups=[order[:MOST_ABLATED] for order in orders],
        others=np.concatenate([[[intact.mean()] * n_groups], right[2 * n :].mean(1).reshape(n - 1, n_groups)]),
        attention=_attention(model, parts, every),
    )


def _order(fall: Mapping[str, np.ndarray], task: Sequence[str], chosen: Bool[np.ndarray, " list"]) -> list[Place]:
    """All heads, those first without which the answer's lead falls most on the `chosen` lists; classes count alike."""
    start, means = 0, []
    for falls in fall.values():
        here = chosen[start : start + falls.shape[-1]]
        start += falls.shape[-1]
        if here.any():
            means.append(falls[..., here].mean(-1))
    return _ranked(np.mean(means, axis=0))


def _ranked(values: Float[np.ndarray, "layer head"]) -> list[Place]:
    """All heads, the highest value first."""
    order = np.argsort(-values, axis=None, kind="stable")
    return [(int(layer), int(head)) for layer, head in zip(*np.unravel_index(order, values.shape))]


def _other_groups(
    parts: Anatomy, orders: Sequence[Sequence[Place]], sizes: Sequence[int], *, n_groups: int, seed: int
) -> list[list[Place]]:
    """For each size `n_groups` groups of heads that are in none of the chosen groups, as large as there are heads left; none of size 0."""
    rng = np.random.default_rng(seed)
    taken = {place for order in orders for place in order[:MOST_ABLATED]}
    free = [place for place in sorted(orders[0]) if place not in taken] or sorted(orders[0])
    return [
        [free[place] for place in rng.choice(len(free), size=min(size, len(free)), replace=False)]
        for size in sizes
        if size
        for _ in range(n_groups)
    ]


def _attention(model: TransformersModel, parts: Anatomy, lists: Sequence[str]) -> Float[np.ndarray, "layer head"]:
    """Mean attention from the last comma to the last ordinal; NaN for a model on NDIF, which keeps no patterns."""
    if model.remote is True:
        return np.full((parts.n_layers, parts.n_heads), np.nan)
    looks = [prompts.attention_patterns(model, text)[1][:, :, -1, -2] for text in lists]
    return torch.stack(looks).mean(0).numpy()


def example(classes: Mapping[str, ResolvedClass]) -> tuple[str, str]:
    """A task and a word of it that the chapter reads by hand: Wednesday, or what is nearest to it in this tokenizer."""
    listed = [
        task for task in ("days", "months", "numbers", "letters", *classes) if prompts.counting_lists(classes[task])[0]
    ]
    task = listed[0]
    sources = classes[task].source.tolist()
    return task, classes[task].words[sources[(len(sources) - 1) // 3]]


@dataclass(frozen=True, eq=False)
class Circuit:
    """Who makes the right answer to one list: each part's share of the lead, in logits, of the answer over its class.

    `heads` are those whose ablation costs most over all lists: their attention from the last token to the last member, and
    what they add directly. `mlps` add theirs behind the first of these heads, `mlps_without` in a run with these heads
    ablated. The shares of heads, MLPs and all else sum to `lead`.
    """

    tokens: list[str]
    last: int  # the position of the last member
    answer: str
    lead: float
    heads: dict[Place, float]
    attention: dict[Place, float]
    mlps: float
    mlps_without: float

    @property
    def rest(self) -> float:
        """What everything else adds: other heads, the embedding, earlier MLPs, biases."""
        return self.lead - self.mlps - sum(self.heads.values())


def trace_circuit(model: TransformersModel, parts: Anatomy, found: Found) -> Circuit | None:
    """The circuit on one list, short days where the tokenizer has them; None for a model on NDIF, which keeps no patterns."""
    if model.remote is True:
        return None
    asked = {task: prompts.counting_lists(resolved) for task, resolved in found.classes.items()}
    task = next(task for task in ("day_prefixes", "days", "months", *asked) if asked.get(task, ([], None))[0])
    every = [text for lists, _ in asked.values() for text in lists]
    mean = prompts.mean_head_outputs(model, every)
    resolved, text, answer = found.classes[task], asked[task][0][0], int(asked[task][1][0])
    heads = _ranked(found.ablated.fall)[:IN_CIRCUIT]
    intact, ablated = (_leads(model, text, answer, resolved, heads=off, mean=mean) for off in ([], heads))
    tokens, patterns = prompts.attention_patterns(model, text)
    # Where heads and MLP of a layer stand side by side, the MLP does not read the heads.
    first = min(layer for layer, _ in heads) + parts.is_parallel
    behind = [f"MLP{layer}" for layer in range(first, parts.n_layers)]
    return Circuit(
        tokens=tokens,
        last=len(tokens) - 2,
        answer=resolved.words[resolved.token_ids.tolist().index(answer)],
        lead=sum(intact.values()),
        heads={place: intact[anatomy.name_of(place)] for place in heads},
        attention={place: float(patterns[*place, -1, -2]) for place in heads},
        mlps=sum(intact[mlp] for mlp in behind),
        mlps_without=sum(ablated[mlp] for mlp in behind),
    )


def _leads(
    model: TransformersModel,
    text: str,
    answer: int,
    resolved: ResolvedClass,
    *,
    heads: Sequence[Place],
    mean: Float[Tensor, "layer head d_head"],
) -> dict[str, float]:
    """What each part adds to the answer's logit, less the mean of what it adds to those of the other members."""
    members = resolved.token_ids
    shares = direct_effects.logit_parts(model, [text] * len(members), members, heads=heads, mean=mean)
    own = members == answer
    return {part: float(values[own].mean() - values[~own].mean()) for part, values in shares.items()}


# --- what it comes to -------------------------------------------------------------------------------


def verdict(found: Found) -> Verdict:
    """Whether there is a successor head, and whether the model needs it.

    "not_shown": no head beats chance and untrained networks; "another_way": none does, and yet at most half of the
    answers to lists are left without a few heads, though not without as many others. Where a head does, by what ablation
    does to lists: "alone", without the best head at most half of the answers are left; "shared", that takes several heads
    together, and groups of others do not do it; "unused", it takes more than five.
    """
    controls, ablated = found.controls, found.ablated
    low, high = found.interval
    against = f"at most {_share(controls.shuffled_range[1])} for the best head in 97.5% of shuffles of the successors"
    if not np.isnan(controls.untrained_best):
        against += f", {_share(controls.untrained_best)} in untrained networks"
    if not found.is_shown:
        no_head = (
            f"**No successor head is shown.** The best head, {found.name}, scores {_share(found.macro)} "
            f"({_share(low)} to {_share(high)}), which is within reach of chance ({against})."
        )
        counts = f"the model answers {int(ablated.intact.sum())} of {len(ablated.task)} lists"
        size = ablated.breaking_point
        if size is None or not ablated.is_specific(size):
            guessed = ablated.chance * len(ablated.task)
            above = intervals.wilson(int(ablated.intact.sum()), len(ablated.task))[0] > ablated.chance
            so = "Yet" if above else "No wonder:"
            return Verdict("not_shown", f"{no_head} {so} {counts}, a guess would {guessed:.0f}.")
        return Verdict(
            "another_way",
            f"{no_head} Yet {counts}, {_left(ablated, size)}: heads carry it in another way, which chapter 8 follows.",
        )
    right, n = found.right
    scored = (
        f"from its weights alone it names what comes next for {right} of {n} words of ordered lists "
        f"(macro, a mean over lists: {_share(found.macro)}, {_share(low)} to {_share(high)}; {against})."
    )
    shown = f"**{found.name} is a successor head:** {scored}"
    rule = " Not shown: that it follows a rule. A table of pairs would score the same."
    if found.seen is not None:
        rule += f" Of the lists, answers included, {found.seen} stand word for word in its training text."
    before, after = int(ablated.intact.sum()), int(ablated.without.sum())
    at_work = f"With all heads the model continues {before} of {len(ablated.task)} lists, without {found.name} {after}"
    if 2 * after <= before:
        return Verdict("alone", f"{shown} {at_work}: it depends on this one head.{rule}")
    size = ablated.breaking_point
    if size is not None and ablated.is_specific(size):
        shared = (
            f"**{found.name} is a successor head, and it shares its work:** {scored} {at_work}; {_left(ablated, size)}."
        )
        return Verdict("shared", shared + rule)
    return Verdict(
        "unused", f"{shown} {at_work}, and no group of up to {_word(MOST_ABLATED)} heads takes half of them away.{rule}"
    )


def _left(ablated: Ablated, size: int) -> str:
    """What is left without so many heads that matter, and without as many others."""
    others = ablated.others[size].mean() * len(ablated.task)
    return f"without {_most(size)} {int(ablated.together[size].sum())}, without {_others(size)} {others:.0f} on average"


def _share(value: float) -> str:
    return f"{value:.2f}"


def _most(size: int) -> str:
    """So many of the heads that matter most, in words."""
    return "the head that matters most" if size == 1 else f"the {_word(size)} heads that matter most"


def _others(size: int) -> str:
    return "one other head" if size == 1 else f"{_word(size)} others"


def _word(number: int) -> str:
    return ordinals.CLASSES["number_words"].words[number - 1]


# --- what is drawn ----------------------------------------------------------------------------------


def draw_path() -> Drawing:
    """The path that the chapter follows, from a token to what a head promotes."""
    steps = [
        ("Wednesday", "a token"),
        ("$W_E$", "embedding"),
        ("MLP0", "first MLP"),
        ("$W_V\\,W_O$", "one head"),
        ("$W_U$", "unembedding"),
        ("Thursday", "promoted"),
    ]
    return Drawing(
        figures.pipeline(steps, highlight=3),
        alt="A chain of six boxes: the token Wednesday, its embedding W_E, the first MLP, one head's matrices W_V and "
        "W_O, the unembedding W_U, and the token Thursday.",
        caption="The path from a word to what one head promotes; all of it is weights.",
    )


def draw_map(found: Found) -> Drawing:
    """Macro of every head, the best one framed."""
    fig, ax = _map_axes(found.scores.macro.shape)
    figures.head_map(found.scores.macro.numpy(), ax=ax, label="macro successor score", best=found.best)
    (layer, head), second = found.runner_up
    return Drawing(
        fig,
        alt=f"Heat map of the macro successor score, layers by heads. The highest is {found.name}, "
        f"{found.macro:.2f}; the next L{layer}H{head}, {second:.2f}.",
        caption=f"{found.name} scores highest of {found.scores.macro.numel()} heads: {found.macro:.2f}.",
        details=f"Macro successor score, canonical convention. 95% interval of {found.name}, hierarchical over the lists: "
        f"{found.interval[0]:.2f} to {found.interval[1]:.2f}. Next best: L{layer}H{head}, {second:.2f}.",
    )


def draw_reading(found: Found, parts: Anatomy, task: str, word: str) -> Living:
    """What the best head and the one of its layer that counts worst write over a list when they read a word; on the page, every head."""
    resolved = found.classes[task]
    row = resolved.words.index(word)
    successor = resolved.words[int(resolved.target[resolved.source.tolist().index(row)])]
    logits = _written(found, parts, resolved, row)
    start = max(0, min(row - 6, len(resolved.words) - MOST_WORDS))
    shown = logits.iloc[start : start + MOST_WORDS]
    figs, axes = figures.panels(len(shown.columns), height=0.24 * len(shown) + 0.8)
    colors = [PALETTE["orange"] if each == successor else PALETTE["blue"] for each in shown.index]
    for ax, reader in zip(axes, shown):
        ax.barh(range(len(shown)), shown[reader], color=colors)
        ax.set(yticks=range(len(shown)), yticklabels=shown.index, xlabel="logit", title=f"{reader} reads “{word}”")
        ax.axvline(0, color=figures.INK, linewidth=0.8)
        ax.invert_yaxis()
    said = logits.idxmax()
    best, worst = said.index[0], said.index[-1]
    still = Drawing(
        figs,
        alt=[f"Bars: reading {word}, {reader} writes its highest logit for {top}." for reader, top in said.items()],
        caption=f"Reading “{word}”, {best} promotes “{said[best]}” most and {worst} “{said[worst]}”; the successor is orange.",
        details=f"Logits that each head writes over the list when it attends to “{word}” alone, by equation (1). "
        f"{worst} is the head of the same layer with the lowest macro."
        + (" A part of the list is shown." if len(shown) < len(logits) else ""),
    )
    options = {"list": task, "word": word, "head": list(found.best), "macro": found.scores.macro.tolist()}
    table = Table(shown, caption=f"Logits over the list on reading “{word}”.")
    return Living("reading", still, model=found.model, table=table, options=options)


def _written(found: Found, parts: Anatomy, resolved: ResolvedClass, row: int) -> pd.DataFrame:
    """Logits over a list that the best head, and the one of its layer with the lowest macro, write on reading its member `row`."""
    layer = found.best[0]
    places = (found.best, (layer, int(found.scores.macro[layer].argmin())))
    rows = {
        anatomy.name_of(place): parts.compute(
            ov_circuit.head_matrix, resolved.token_ids, layer=place[0], head=place[1]
        )[row].cpu()
        for place in places
    }
    return pd.DataFrame(
        {reader: logits.numpy() for reader, logits in rows.items()}, index=pd.Index(resolved.words, name="word")
    )


def draw_by_list(found: Found) -> Drawing:
    """The best head's score in each list, with its interval."""
    table = found.by_list.assign(list=found.by_list["class"].map(list_name))
    fig, ax = figures.panel(height=0.3 * len(table) + 0.8, width=figures.NARROW)
    figures.interval_bars(ax, values=table["score"], intervals=table[["low", "high"]].values, names=table["list"])
    ax.set(xlabel=f"successor score of {found.name}")
    weakest, strongest = table.loc[table["score"].idxmin()], table.loc[table["score"].idxmax()]
    perfect = int((table["score"] == 1).sum())
    best = f"misses none in {perfect} of {len(table)} lists"
    if not perfect:
        best = f"is right throughout in no list, is best on {strongest['list']} ({strongest['right']} of {strongest['pairs']})"
    return Drawing(
        fig,
        alt=f"Bars of the successor score of {found.name} by list, from {weakest['list']} {weakest['score']:.2f} "
        f"to {strongest['list']} {strongest['score']:.2f}.",
        caption=f"{found.name} {best} and is weakest on {weakest['list']} ({weakest['right']} of {weakest['pairs']}).",
        details="95% Wilson intervals. "
        + "; ".join(f"{row.list} {row.right} of {row.pairs}" for row in table.itertuples())
        + ".",
    )


def draw_controls(found: Found, *, seed: int) -> Drawing:
    """Every head under every control, one dot a head."""
    controls = found.controls
    groups = {found.model: found.scores.macro.numpy().ravel(), "bare embedding": controls.embedding.ravel()}
    if controls.untrained:
        groups["untrained twins"] = np.concatenate([macro.ravel() for macro in controls.untrained])
    low, high = controls.shuffled_range
    fig, ax = figures.panel(height=0.55 * len(groups) + 1.1, width=figures.NARROW)
    rng = np.random.default_rng(seed)
    for place, (values, color) in enumerate(zip(groups.values(), PALETTE.values())):
        ax.scatter(values, -place + rng.uniform(-0.2, 0.2, len(values)), s=20, alpha=0.7, color=color, linewidths=0)
    marked = [found.macro, float(controls.embedding[found.best])]
    ax.scatter(marked, [0, -1], s=90, facecolors="none", edgecolors=figures.INK, linewidths=1.4, zorder=4)
    ax.axvspan(low, high, color=PALETTE["grey"], alpha=0.35, linewidth=0)
    ax.annotate("shuffled\nsuccessors", ((low + high) / 2, 0.48), ha="center", va="bottom", annotation_clip=False)
    ax.set(
        yticks=-np.arange(len(groups)), yticklabels=list(groups), xlim=(-0.02, 1.02), ylim=(0.5 - len(groups), 0.5),
        xlabel="macro successor score, one dot a head",
    )  # fmt: skip  # what is set is one thing
    above = int((found.scores.macro.numpy() > controls.ceiling).sum())
    bare = float(controls.embedding.max())
    order = ", above what shuffles give: the embedding holds some of the order by itself" if bare > high else ""
    return Drawing(
        fig,
        alt=f"One dot a head. Trained: up to {found.macro:.2f}. On the bare embedding: up to "
        f"{controls.embedding.max():.2f}. Untrained: up to {controls.untrained_best:.2f}. Grey band, shuffled "
        f"successors: {low:.2f} to {high:.2f}.",
        caption=f"{above} of {found.scores.macro.numel()} heads lie above every control; {found.name} is circled.",
        details=f"{found.name} scores {found.macro:.2f} on what MLP0 writes and "
        f"{controls.embedding[found.best]:.2f} on bare embeddings, where no head does better than {bare:.2f}{order}. The best head of {len(controls.untrained)} untrained twins reaches "
        f"{controls.untrained_best:.2f}. Grey: where the best head lies in 95% of {len(controls.shuffled_best):,} "
        f"permutations of the successors, {low:.2f} to {high:.2f}.",
    )


def draw_attention(model: TransformersModel, found: Found, lists: Sequence[str]) -> Attention | Markdown:
    """Where the heads of the best one's layer look in the first of some lists that count."""
    if model.remote is True:
        return Markdown("NDIF keeps no attention patterns, so where the head looks is not shown here.")
    ablated, (layer, head) = found.ablated, found.best
    tokens, patterns = prompts.attention_patterns(model, lists[0])
    last = float(patterns[layer, head, -1, -2])
    mean, rank = (
        float(ablated.attention[found.best]),
        int((ablated.attention > ablated.attention[found.best]).sum()) + 1,
    )
    return Attention(
        tokens,
        patterns[layer].numpy(),
        names=[anatomy.name_of((layer, other)) for other in range(patterns.shape[1])],
        alt=f"Attention of the heads of layer {layer} on{lists[0]} From the last comma {found.name} gives {last:.0%} to {tokens[-2].strip()}.",
        caption=f"From the last comma {found.name} gives {last:.0%} of its attention to “{tokens[-2].strip()}”, from which it should count on.",
        chosen=head,
        details=f"The first of {len(ablated.task)} lists, shaded by where the chosen head looks from its last comma. Over all "
        f"lists {found.name} gives {mean:.0%} to the last ordinal, number {rank} of {ablated.attention.size} heads; the median head "
        f"{np.median(ablated.attention):.0%}.",
    )


def draw_circuit(circuit: Circuit | None) -> Drawing | Markdown:
    """Positions, attention, MLP0, the heads that matter most, and what they add to the answer, over one list."""
    if circuit is None:
        return Markdown("NDIF keeps no attention patterns, so the circuit is not drawn here.")
    heads = list(circuit.heads)
    fig, ax = figures.panel(height=3.4, width=figures.NARROW)
    ends = np.cumsum([0.45 + 0.18 * len(token.strip()) for token in circuit.tokens])
    centres = ends - np.diff(ends, prepend=0) / 2
    centres[circuit.last + 1 :] += AWAY  # room for the arrows
    levels = 1.0 + 0.85 * np.arange(len(heads))
    read, asks, middle, top = centres[circuit.last], centres[-1], levels.mean(), levels[-1] + 0.95
    answer, right = (asks + 3.0, middle + 0.45), asks + 4.9
    inch = right / figures.NARROW  # in units of the axis, to keep arrows off boxes, whose width is that of their text
    beside = {place: (0.08 + 0.06 * len(anatomy.name_of(place))) * inch for place in heads}
    for position, (x, token) in enumerate(zip(centres, circuit.tokens)):
        color = PALETTE["blue"] if position == circuit.last else figures.INK
        ax.text(x, 0, token.strip(), ha="center", va="center", fontsize=10.5, color=color)
    _box(ax, (read, middle), "MLP0", color=PALETTE["blue"])
    ax.annotate("", (read, middle - 0.24), (read, 0.2), arrowprops=_arrow(PALETTE["blue"], 1.6))
    ax.annotate("", (asks, levels[0] - 0.24), (asks, 0.2), arrowprops=_arrow(PALETTE["grey"], 1.2))
    ax.annotate("", (asks, top - 0.24), (asks, levels[-1] + 0.24), arrowprops=_arrow(PALETTE["grey"], 1.2))
    for place, y in zip(heads, levels):
        share, below = circuit.attention[place], -1 if y < middle else 1
        ax.annotate(
            "",
            (asks - beside[place], y),
            (read + 0.32 * inch, middle),
            arrowprops=_arrow(PALETTE["blue"], 0.4 + 2.2 * share),
        )
        ax.text(
            asks - beside[place] - 0.1, y + 0.22 * below, f"{share:.0%}", ha="right", va="center", fontsize=9.5, color=PALETTE["blue"]
        )  # fmt: skip  # one text
        _box(ax, (asks, y), anatomy.name_of(place), color=PALETTE["orange"])
        _adds(ax, (asks + beside[place], y), answer, circuit.heads[place])
    _box(ax, (asks, top), "later MLPs", color=figures.INK)
    _adds(ax, (asks + 0.5 * inch, top), answer, circuit.mlps)
    ax.text(answer[0] + 0.1, answer[1], circuit.answer, ha="left", va="center", fontsize=14, color=PALETTE["orange"])
    ax.text(answer[0] + 0.1, answer[1] - 0.42, f"leads by {circuit.lead:.1f}", ha="left", va="center", fontsize=10)
    ax.set(xlim=(0, right), ylim=(-0.3, top + 0.35))
    ax.axis("off")
    text, direct = "".join(circuit.tokens).strip(), sum(circuit.heads.values())
    looks = [circuit.attention[place] for place in heads]
    member = circuit.tokens[circuit.last].strip()
    return Drawing(
        fig,
        alt=f"The tokens of {text} An arrow leads from {member} by way of MLP0 to the heads {', '.join(map(anatomy.name_of, heads))} at the last token; from these, and from "
        f"the MLPs behind them, arrows lead to {circuit.answer}, with what each adds: "
        + ", ".join(f"{anatomy.name_of(place)} {share:+.1f}" for place, share in circuit.heads.items())
        + f", later MLPs {circuit.mlps:+.1f}.",
        caption=f"After “{text}” “{circuit.answer}” leads by {circuit.lead:.1f} logits: {_word(len(heads))} heads add {direct:.1f} and later MLPs {circuit.mlps:.1f}; "
        f"with these heads ablated the MLPs add {circuit.mlps_without:.1f}.",
        details=f"The heads are the {len(heads)} whose ablation costs most over all lists; shown is one list. Numbers are shares of the lead of “{circuit.answer}” over the mean of the other members of its list, each part put "
        f"through the final norm with the run's own divisor; all else (other heads, embedding, earlier MLPs, biases) adds {circuit.rest:+.1f}. Blue: these heads give {min(looks):.0%} to {max(looks):.0%} of their attention to “{member}”.",
    )


def _box(ax: Axes, place: tuple[float, float], text: str, *, color: str) -> None:
    box = {"boxstyle": "round,pad=0.35", "facecolor": "none", "edgecolor": color, "linewidth": 1.4}
    ax.text(*place, text, ha="center", va="center", fontsize=10.5, color=color, bbox=box)


def _adds(ax: Axes, start: tuple[float, float], end: tuple[float, float], share: float) -> None:
    """An arrow to the answer, and on the side that it leaves free how much goes that way."""
    ax.annotate("", end, start, arrowprops=_arrow(PALETTE["orange"], 0.5 + 0.5 * min(6.0, abs(share))))
    ax.text(
        start[0] + 0.15,
        start[1] + (0.22 if end[1] < start[1] else -0.22),
        f"{share:+.1f}",
        ha="left",
        va="center",
        fontsize=9.5,
        color=PALETTE["orange"],
    )


def _arrow(color: str, width: float) -> dict[str, Any]:
    return {
        "arrowstyle": "-|>,head_width=0.22,head_length=0.4",
        "color": color,
        "linewidth": width,
        "shrinkA": 0,
        "shrinkB": 0,
    }


def draw_falls(found: Found) -> Drawing:
    """By how much the right answer's lead falls without each head."""
    ablated = found.ablated
    fig, ax = _map_axes(ablated.fall.shape)
    figures.head_map(ablated.fall, ax=ax, label="fall of the answer's lead (logits)", best=found.best, signed=True)
    ranked = _ranked(ablated.fall)
    rank = ranked.index(found.best) + 1
    told = ", ".join(f"{anatomy.name_of(place)} {ablated.fall[place]:.2f}" for place in ranked[:3])
    return Drawing(
        fig,
        alt=f"Heat map of the fall of the right answer's lead when one head is ablated. Largest: {told}.",
        caption=f"Of {ablated.fall.size} heads {found.name} (framed) is number {rank} by the fall of the answer's lead.",
        details=f"Mean ablation at the last position, mean over lists of each kind, then over kinds. Largest falls: {told} logits.",
    )


def draw_without(found: Found) -> Drawing:
    """Right answers by list, intact and without the best head."""
    ablated = found.ablated
    table = ablated.by_list
    fig, ax = figures.panel(height=0.32 * len(table) + 1.0, width=figures.NARROW)
    places = -np.arange(len(table))
    intact, without = table["intact"] / table["lists"], table["without"] / table["lists"]
    ax.hlines(places, without, intact, color=PALETTE["grey"], linewidth=2)
    ax.scatter(intact, places, color=PALETTE["blue"], s=42, zorder=3, label="all heads")
    ax.scatter(without, places, color=PALETTE["orange"], s=42, zorder=4, marker="D", label=f"without {found.name}")
    ax.set(yticks=places, yticklabels=map(list_name, table["list"]), xlim=(0, 1.03), xlabel="right answers")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="lower left")
    before, after, n = int(ablated.intact.sum()), int(ablated.without.sum()), len(ablated.task)
    lost = table[table["without"] < table["intact"]]
    unharmed = len(table) - len(lost)
    worst = table.loc[(table["intact"] - table["without"]).idxmax()]
    p = intervals.mcnemar(ablated.intact, ablated.without)
    where = (
        f"{worst['intact'] - worst['without']} of the {before - after} lost are {list_name(worst['list'])}, and {unharmed} kinds of list lose none"
        if before > after
        else "no answer is lost on balance"
    )
    return Drawing(
        fig,
        alt=f"Share of right answers by list with all heads and without {found.name}: {before} and {after} of {n} in all.",
        caption=f"Without {found.name} the model answers {after} of {n} lists in place of {before}: {where}.",
        details="Right: of the members of the list, the successor alone has the highest logit. "
        f"Paired test of all lists (McNemar, exact), as if they shared no members: p = {p:.2g}. A guess within the list would be right on {ablated.chance:.0%}. "
        + "; ".join(f"{list_name(row.list)} {row.intact} → {row.without} of {row.lists}" for row in table.itertuples())
        + ".",
    )


def draw_together(found: Found) -> Drawing:
    """Right answers as the heads that matter most are ablated one after the other, beside groups of others."""
    ablated = found.ablated
    right, n = ablated.together.mean(1), len(ablated.task)
    sizes = np.arange(len(right))
    low, high = np.array([intervals.wilson(int(row.sum()), n) for row in ablated.together]).T
    others = ablated.others.mean(1)
    fig, ax = figures.panel(height=3.0, width=figures.NARROW)
    ax.fill_between(sizes, ablated.others.min(1), ablated.others.max(1), color=PALETTE["grey"], alpha=0.3, linewidth=0)
    ax.plot(sizes, others, color=PALETTE["grey"], label="other heads")
    ax.fill_between(sizes, low, high, color=PALETTE["orange"], alpha=0.2, linewidth=0)
    ax.plot(sizes, right, color=PALETTE["orange"], marker="o", label="the heads that\nmatter most")
    ax.set(xlabel="heads ablated together", ylabel="right answers", ylim=(0, 1.03), xticks=sizes)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    figures.label_lines(ax)
    counts = ablated.together.sum(1)
    size = ablated.breaking_point or int(sizes[-1])
    p = intervals.mcnemar(ablated.together[0], ablated.together[size])
    orders = [", ".join(map(anatomy.name_of, group)) for group in ablated.groups]
    return Drawing(
        fig,
        alt="Right answers against the number of heads ablated together: "
        + ", ".join(f"{k}: {count} of {n}" for k, count in enumerate(counts))
        + f". Groups of other heads stay at {others.min():.0%} or above on average.",
        caption=f"Without {_most(size)} {counts[size]} of {n} answers are right, without {_others(size)} "
        f"{others[size] * n:.0f} on average.",
        details=f"Heads in the order of their own effect, found on one half of the lists and judged on the other, both ways round: {' and '.join(dict.fromkeys(orders))}. "
        f"Right answers: {', '.join(f'{count} without {k}' for k, count in enumerate(counts))}. Bands: 95% Wilson interval, and the range of "
        f"{ablated.others.shape[1]} groups of other heads. {size} ablated against none, paired (McNemar, exact): p = {p:.2g}. Lists share members, so p and intervals are too narrow.",
    )


def _map_axes(shape: Sequence[int]):
    """A panel that suits a map of this many layers and heads."""
    n_layers, n_heads = shape
    return figures.panel(width=min(figures.WIDTH, 1.6 + 0.75 * n_heads), height=min(7.0, 0.9 + 0.34 * n_layers))


# --- tables and the record --------------------------------------------------------------------------


def draw_lists(found: Found) -> Table:
    """The eight lists in the tokens of the model."""
    return Table(_lists_table(found), caption=f"The eight lists in the tokens of {found.model}.")


def draw_compared(found: Found) -> Table:
    """The paper's own score by list, as reported for three models and as measured here."""
    return Table(_compared_table(found), caption=_compared_caption(found))


def _lists_table(found: Found) -> pd.DataFrame:
    """What the tokenizer makes of the eight lists: first and last member, pairs, and how many words are dropped."""
    rows = [
        (
            list_name(task),
            f"{resolved.words[0]} … {resolved.words[-1]}" if resolved.words else "–",
            len(resolved.source),
            len(resolved.dropped),
        )
        for task, resolved in found.classes.items()
    ]
    return pd.DataFrame(rows, columns=["list", "members", "pairs", "dropped"])


def draw_paper(found: Found) -> Drawing:
    """The paper's own score of this model's best head, among the best heads of the paper's models."""
    table, half = reported.best_scores(), reported.cutoff()
    families = {"pythia": "Pythia", "gpt2": "GPT-2", "llama": "Llama"}
    fig, ax = figures.panel(height=2.4, width=figures.NARROW)
    rng = np.random.default_rng(0)
    for place, (family, color) in enumerate(zip(families, PALETTE.values())):
        values = table.loc[table["family"] == family, "score"]
        ax.scatter(values, -place + rng.uniform(-0.15, 0.15, len(values)), color=color, s=30, alpha=0.8, linewidths=0)
    here = float(found.paper.share[found.paper.best])
    ax.scatter([here], [-len(families)], color=PALETTE["red"], s=48, marker="D")
    ax.axvline(half, color=figures.INK, linewidth=1, linestyle=":")
    ax.set(
        yticks=-np.arange(len(families) + 1), yticklabels=[*families.values(), found.model], xlim=(-0.02, 1.02),
        ylim=(-len(families) - 0.5, 0.5), xlabel="the paper's score of the best head, one dot a model",
    )  # fmt: skip  # what is set is one thing
    below = int((table["score"] < half).sum())
    side = "above" if here > half else "below"
    low, high = intervals.wilson(round(here * found.paper.n), found.paper.n)
    return Drawing(
        fig,
        alt=f"Dots: the paper's {len(table)} models by family, {below} of them below one half; {found.model} at {here:.2f}.",
        caption=f"By the paper's score the best head here has {here:.2f}, {side} its line at one half; of the paper's own "
        f"{len(table)} models {below} are below it.",
        details=f"{anatomy.name_of(found.paper.best)}, {found.paper.n} tokens, 95% Wilson interval {low:.2f} to {high:.2f}. The paper's models: Figure 2, left, of "
        "version 1, measured from the coordinates of its points; two points of one size are two models of which it does not say which is which.",
    )


def _compared_caption(found: Found) -> str:
    """What the table of tasks compares."""
    named = reported.read()["named_head"]
    ranked = found.paper.share.flatten().sort(descending=True).values.tolist()
    second = ranked[min(1, len(ranked) - 1)]  # the best itself in a model of one head
    return (
        f"The best head by list: three models as the paper reports them (Figure 2, right), and {found.model}, by the same score. "
        f"The one head that the paper names, {named['head']} of {named['model'].replace('pythia', 'Pythia').replace('b', 'B')}, scores {named['times_the_runner_up']} times its runner-up; "
        f"by the same score {anatomy.name_of(found.paper.best)} scores {ranked[0] / max(second, 1e-9):.1f} times its own."
    )


def _compared_table(found: Found) -> pd.DataFrame:
    """The paper's own score, as it reports it for three models and as measured here: pooled, and by task."""
    reports = {"Pythia-1.4B": "pythia-1.4b", "GPT-2 XL": "gpt2-xl", "Llama-2-7B": "llama-2-7b"}
    table = pd.DataFrame({column: reported.by_task(model) for column, model in reports.items()})
    table["here"] = {task: float(share[found.paper.best]) for task, share in found.paper.by_task.items()}
    table.index = pd.Index(map(list_name, table.index), name="list")
    return table


def record(found: Found) -> dict[str, Any]:
    """The chapter's record: findings that the results page and the tests read, and its tables."""
    right, n = found.right
    finding, controls, ablated = records.finding, found.controls, found.ablated
    low, high = controls.shuffled_range
    findings = {
        "layer": finding(found.best[0]),
        "head": finding(found.best[1]),
        "parameters": finding(found.n_parameters),
        "best_macro": finding(found.macro, low=found.interval[0], high=found.interval[1], n=n),
        "best_micro": records.share(right, n),
        "runner_up_macro": finding(found.runner_up[1]),
        "paper_score": records.share(round(float(found.paper.share[found.paper.best]) * found.paper.n), found.paper.n),
        "paper_layer": finding(found.paper.best[0]),
        "paper_head": finding(found.paper.best[1]),
        "untrained_macro": finding(controls.untrained_best, n=len(controls.untrained)),
        "embedding_macro": finding(controls.embedding[found.best]),
        "embedding_best_macro": finding(controls.embedding.max()),
        "null_macro": finding(controls.shuffled_best.mean(), low=low, high=high, n=len(controls.shuffled_best)),
        "heads_above_controls": finding(
            (found.scores.macro.numpy() > controls.ceiling).sum(), n=found.scores.macro.numel()
        ),
    }
    tables = {
        "model": pd.DataFrame(
            {
                "family": [found.family],
                "revision": [found.revision],
                "layers": [found.scores.macro.shape[0]],
                "heads": [found.scores.macro.shape[1]],
                "d_model": [found.d_model],
            }
        ),
        "by_class": found.by_list,
        "heads": found.scores.table,
        "verdict": pd.DataFrame({"key": [verdict(found).key]}),
    }
    lists = len(ablated.task)
    looks = ablated.attention
    findings |= {
        "right_intact": records.share(int(ablated.intact.sum()), lists),
        "right_ablated": records.share(int(ablated.without.sum()), lists),
        "right_without_three": records.share(int(ablated.together[min(3, len(ablated.together) - 1)].sum()), lists),
        "right_without_three_others": finding(ablated.others[min(3, len(ablated.others) - 1)].mean(), n=lists),
        "ablation_rank": finding(_ranked(ablated.fall).index(found.best) + 1, n=ablated.fall.size),
        "lists_seen": finding(np.nan if found.seen is None else found.seen, n=lists),
        "attention_on_last_ordinal": finding(looks[found.best], n=lists),
        "attention_rank": finding((looks > looks[found.best]).sum() + 1, n=looks.size),
    }
    tables["at_work"] = ablated.by_list
    return records.chapter_record(found.model, CHAPTER, findings=findings, tables=tables)
