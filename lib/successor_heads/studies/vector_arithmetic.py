"""Chapter 4: can we edit the number inside a token?

::

    found = vector_arithmetic.measure(model, parts, ordinals.resolve(model.tokenizer), name="grown/pythia", seed=0)
    vector_arithmetic.verdict(found).key      # "digit_only": the right digit wins, and the decade is lost

Every edit that the paper makes, with its own length k = λ (x · f), at the best head and in the running model. Ticks are
kept by **grid**, the members of one ten of a list: that is how the paper shows them, and where its figures stand beside
ours. Directions for a grid are learned without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import (
    anatomy,
    arithmetic,
    cached,
    features,
    figures,
    intervals,
    live,
    maps,
    models,
    ordinals,
    ov_circuit,
    prompts,
    records,
    reported,
    scores,
    workbench,
)
from successor_heads.anatomy import Anatomy
from successor_heads.arithmetic import NONE, EditOutcome, Edits
from successor_heads.figures import PALETTE, Drawing, Runs, Table
from successor_heads.ordinals import ResolvedClass
from successor_heads.scores import HeadScores
from successor_heads.studies import OfBestHead, Place, Verdict, list_name, listed
from successor_heads.studies.cells import NOT_ASKED, Findings, count_cell, share_cell

CHAPTER = "04-vector-arithmetic"
MEANS, OF_NUMBERS, SAE, PROBE, TURN = "class means", "class means of numbers", "SAE features", "probe", "Fourier turn"
RANDOM, SHUFFLED = "random in the span", "shuffled"
SOURCES, CONTROLS = (MEANS, OF_NUMBERS, SAE, PROBE, TURN), (RANDOM, SHUFFLED)
PERIODS = (10.0, 5.0, 10 / 3, 2.5, 2.0)
# λ that are tried; the paper tries 0 to 3 as well. In the running model each costs a forward pass.
LAMBDAS = tuple(0.25 * step for step in range(1, 13))
LAMBDAS_IN_MODEL = (1.0, 2.0, 3.0)
# The paper's tables of ticks by the names that they have here. Its "zero" is in none of our lists.
PAPER = {
    "20 to 29": "20-29",
    "30 to 39": "30-39",
    "50 to 59": "50-59",
    "120 to 129": "120-129",
    "one to nine": "zero-nine",
    "ten to nineteen": "ten-nineteen",
    "first to ninth": "first-ninth",
    "January to September": "January-September",
}
DRAWN = ("20 to 29", "ten to nineteen", "first to ninth", "January to September")  # whose ticks the paper prints
BENCH = ("January to September", "20 to 29", "30 to 39", "one to nine", "first to ninth", "Monday to Sunday", "A to I")
ENOUGH_NUMBERS = 40
EDITED, HELD, BEHIND = "edited", "head held", "behind the head"
CONDITIONS = (EDITED, RANDOM, HELD, BEHIND)
WAYS = {"by twos": 1, "backwards": -2}  # residues that are added to what the last member has
N_STEPS = 4
LEAST_LONG = 5  # members of a list in which a bias can be told from succession


class Grid(NamedTuple):
    """A table of ticks: the members of one ten of a list, as places in it."""

    title: str
    task: str
    members: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Learned:
    """What directions are learned from: the members of a list around their mean, and their indices."""

    x: Float[Tensor, "token d_model"]
    index: Int[Tensor, " token"]


class Ticks(NamedTuple):
    """Edits that succeed, of all that were made; `low` and `high` allow for the likeness of edits of one source."""

    right: float
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, right: int, n: int) -> Ticks:
        """Those of edits that are independent, one a source."""
        return cls(right, n, *intervals.wilson(right, n))

    @classmethod
    def by_source(cls, right: Bool[np.ndarray, " edit"], source: Int[np.ndarray, " edit"]) -> Ticks:
        """Those of edits of which some have the same source."""
        return cls(float(right.sum()), len(right), *intervals.clustered_wilson(right, source))

    @property
    def share(self) -> float:
        """Their share; NaN without edits."""
        return self.right / self.n if self.n else float("nan")

    def __str__(self) -> str:
        # Of several draws the mean, which need not be whole.
        return f"{self.right:.0f} of {self.n}" if self.right == int(self.right) else f"{self.right:.1f} of {self.n}"


@dataclass(frozen=True, eq=False)
class Edited:
    """What one head answers to every edit, by source of the directions and list, one outcome for each draw.

    `known` are the members whose successor the head names unedited, `scale` is the λ chosen for a list, `trials` what
    every λ gave: the share that the rule looks at, and the share that succeeds.
    """

    grids: list[Grid]
    outcomes: dict[str, dict[str, list[EditOutcome]]]
    known: dict[str, Bool[Tensor, " member"]]
    scale: dict[str, dict[str, float]]
    trials: pd.DataFrame

    @property
    def sources(self) -> list[str]:
        """Sources of directions, without the controls: those that this tokenizer allows."""
        return [source for source in self.outcomes if source in SOURCES]

    def edits(self, task: str) -> Edits:
        """The edits of a list."""
        return self.outcomes[MEANS][task][0].edits

    def edits_of(self, grid: Grid) -> Edits:
        """The edits of a grid."""
        edits = self.edits(grid.task)
        return edits[torch.isin(edits.source, torch.tensor(grid.members))]

    def count(
        self, source: str, chosen: Mapping[str, Bool[Tensor, " edit"]], *, reading: str = "success", known: bool = False
    ) -> Ticks:
        """Ticks among these edits, by list; with `known` only of sources that are answered rightly unedited."""
        right, clusters = [], []
        for place, (task, mask) in enumerate(chosen.items()):
            edits = self.edits(task)
            mask = mask & self.known[task][edits.source] if known else mask
            draws = self.outcomes[source][task]
            right.append(torch.stack([getattr(outcome, reading)[mask] for outcome in draws]).flatten())
            clusters.append(edits.source[mask].repeat(len(draws)) + 1000 * place)  # a source is a list's own
        success, cluster = torch.cat(right).numpy(), torch.cat(clusters).numpy()
        n_draws = max(len(self.outcomes[source][task]) for task in chosen)
        low, high = intervals.clustered_wilson(success, cluster)
        return Ticks(float(success.sum() / n_draws), len(success) // n_draws, low, high)

    def of_grid(self, source: str, grid: Grid, way: str, **how: Any) -> Ticks:
        """Ticks of a grid: of edits `"up"`, `"down"`, on the `"diagonal"`, or `"paper"`, which is up and diagonal."""
        return self.count(source, {grid.task: self.mask(grid, way)}, **how)

    def mask(self, grid: Grid, way: str) -> Bool[Tensor, " edit"]:
        """The edits of a grid that go this way."""
        edits = self.edits(grid.task)
        ways = {"up": edits.is_up, "down": edits.is_down, "diagonal": ~edits.moves, "paper": ~edits.is_down}
        return torch.isin(edits.source, torch.tensor(grid.members)) & ways[way]

    def by_list(self, source: str, task: str, way: str = "moves", **how: Any) -> Ticks:
        """Ticks of a whole list among the edits that move: all, or those that go `"up"` or `"down"`."""
        edits = self.edits(task)
        mask = {"moves": edits.moves, "up": edits.is_up, "down": edits.is_down}[way]
        return self.count(source, {task: mask}, **how)

    def macro(self, source: str, way: str = "moves", **how: Any) -> float:
        """Mean over lists of the share of edits that succeed."""
        shares = [self.by_list(source, task, way, **how).share for task in self.known]
        return float(np.nanmean(shares)) if shares else float("nan")


@dataclass(frozen=True, eq=False)
class Ten:
    """What a number's vector is made of, and how far larger edits get: shares of edits, over tens that chose nothing.

    `made_of` has the share of variance that the ten and the residue explain, and what is each number's own. `ladder` has
    for each kind of edit the ticks exact, and with the right residue in whatever ten.
    """

    made_of: dict[str, float]
    ladder: dict[str, tuple[Ticks, Ticks]]
    within_ten: Ticks
    off_by_tens: Int[np.ndarray, " edit"]


MOVED, HELD_UP, OTHER_TEN, REBUILT, OWN_VECTOR = (
    "residue moved",
    "and its decade held up",
    "and another decade held up",
    "rebuilt from decade and residue",
    "the target's own vector",
)


@dataclass(frozen=True, eq=False)
class InModel:
    """Lists continued by the running model, the last member edited: a row an edit and condition, with the chosen λ.

    In `outcomes` an edit has its `task`, its `source`, which is the last member and makes the list, its `condition`, and
    whether it is `right`. `unedited` are the lists themselves, each once. `carrier` is the head whose holding takes most of
    the edit away, found on one half of the lists; `carried` are the successes on the other half, without and with it held.
    `where` is the block in front of which the edit stands.
    """

    where: int
    outcomes: pd.DataFrame
    unedited: dict[str, Ticks]
    scale: dict[str, float]
    carrier: Place
    carried: tuple[Ticks, Ticks]
    carrier_random: Ticks

    @property
    def tasks(self) -> list[str]:
        """The lists that could be written."""
        return list(self.unedited)

    def total(self, condition: str) -> Ticks:
        """All edits together."""
        return self._ticks(self.outcomes["condition"] == condition)

    def by_list(self, task: str, condition: str) -> Ticks:
        """Those of one list."""
        return self._ticks((self.outcomes["task"] == task) & (self.outcomes["condition"] == condition))

    def _ticks(self, chosen: pd.Series) -> Ticks:
        rows = self.outcomes[chosen]
        return Ticks.by_source(rows["right"].to_numpy(), rows.groupby(["task", "source"]).ngroup().to_numpy())

    def table(self) -> pd.DataFrame:
        """A row a list and condition."""
        rows = [(task, condition, *self.by_list(task, condition)) for task in self.tasks for condition in CONDITIONS]
        return pd.DataFrame(rows, columns=["task", "condition", "right", "n", "low", "high"])


class Run(NamedTuple):
    """A list that a steered model continues: places of its three members, and of what the model then said."""

    given: tuple[int, ...]
    said: tuple[int, ...]
    wanted: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Counting:
    """Lists counted otherwise, by (list, way); `first` has the first steps that are right, with shuffled directions too."""

    runs: dict[tuple[str, str], list[Run]]
    first: pd.DataFrame

    def total(self, way: str, directions: str) -> Ticks:
        """First steps that are right, of all lists together."""
        rows = self.first[(self.first["way"] == way) & (self.first["directions"] == directions)]
        return Ticks.of(int(rows["right"].sum()), int(rows["n"].sum()))


@dataclass(frozen=True, eq=False)
class Found(OfBestHead):
    """Everything that chapter 4 shows of a model."""

    model: str
    classes: Mapping[str, ResolvedClass]
    scores: HeadScores
    interval: tuple[float, float]
    untrained: float
    edited: Edited
    twin: Edited | None
    modal_share: float
    example: tuple[str, str, int]
    lines: dict[tuple[str, str, int], tuple[Float[Tensor, " member"], Float[Tensor, " member"]]]
    ten: Ten | None
    bias: pd.DataFrame
    in_model: InModel | None
    counting: Counting | None
    bench: workbench.Workbench

    @property
    def is_shown(self) -> bool:
        """Whether it stands clear of an untrained twin and counts most of its pairs."""
        return self.interval[0] > max(self.untrained, 0.5)

    @property
    def example_answers(self) -> tuple[int, int]:
        """Of the worked edit the wanted answer and the old one, as places in the list; NONE for an old one that is not there."""
        task, source, residue = self.example
        edits = self.edited.edits(task)
        place = place_of(edits, self.classes[task], source, residue)
        return int(edits.answer[place]), int(edits.original[place])

    @property
    def paper_grids(self) -> list[Grid]:
        """The grids that the paper shows and this model has."""
        return [grid for title in PAPER for grid in self.edited.grids if grid.title == title]


# --- what is measured -------------------------------------------------------------------------------


def measure(
    model: TransformersModel,
    parts: Anatomy,
    classes: Mapping[str, ResolvedClass],
    *,
    name: str,
    seed: int,
    n_draws: int = 8,
) -> Found:
    """Every edit at the best head, with controls, what stops it, and the same edits in the running model."""
    classes = {task: resolved for task, resolved in classes.items() if len(resolved.source)}
    scored = scores.score_heads(parts, classes)
    vectors = Vectors.of(parts, classes, scored.best)
    sae, modal_share = sae_features(vectors, seeds=range(seed, seed + n_draws))
    sets = push_sets(vectors, sae, seed=seed, n_draws=n_draws)
    edited = edit_head(vectors, sets)
    twin_module = models.untrained_twin(model, seed=seed)
    twin_parts = anatomy.of(twin_module)
    twin_scores = scores.score_heads(twin_parts, classes)
    twin = Vectors.of(twin_parts, classes, twin_scores.best)
    del twin_module, twin_parts
    example, lines = choose_example(vectors, sets, edited)
    return Found(
        model=name,
        classes=classes,
        scores=scored,
        interval=scores.macro_interval(scored, *scored.best, seed=seed),
        untrained=float(twin_scores.macro.max()),
        edited=edited,
        twin=edit_head(twin, push_sets(twin, None, seed=seed, n_draws=1)),
        modal_share=modal_share,
        example=example,
        lines=lines,
        ten=take_apart(vectors, sets, edited, seed=seed),
        bias=correct_bias(vectors, edited, seed=seed),
        in_model=(running := edit_in_model(model, parts, vectors, sets, seed=seed)),
        counting=count_otherwise(model, parts, vectors, running, seed=seed) if running else None,
        bench=set_up_bench(vectors, sets, edited, example, seed=seed, in_page=name == live.MODEL),
    )


@dataclass(frozen=True, eq=False)
class Vectors:
    """What the head at `place` reads of every member, x = MLP0(W_E), and the columns by which it answers, all on the CPU.

    `reads` is W_V W_O W_U between the vectors and all ordinals, list after list, as `block` says.
    """

    place: Place
    classes: Mapping[str, ResolvedClass]
    x: dict[str, Float[Tensor, "member d_model"]]
    reads: Float[Tensor, "d_model candidate"]
    block: dict[str, slice]
    edits: dict[str, Edits]
    grids: list[Grid]

    @staticmethod
    def of(parts: Anatomy, classes: Mapping[str, ResolvedClass], place: Place) -> Vectors:
        """Those of a head, with the edits that can be made."""
        token_ids = torch.cat([resolved.token_ids for resolved in classes.values()])
        layer, head = place
        reads = parts.w_v(layer)[head] @ parts.w_o(layer)[head] @ parts.unembed(token_ids)
        every = {task: arithmetic.all_edits(c, first=task in FROM_ONE) for task, c in classes.items()}
        every = {task: edits for task, edits in every.items() if edits.moves.any()}
        return Vectors(
            place=place,
            classes=classes,
            x={task: ov_circuit.head_input(parts, c.token_ids).cpu().float() for task, c in classes.items()},
            reads=reads.cpu().float(),
            block=maps.blocks(dict(classes)),
            edits=every,
            grids=[grid for task, edits in every.items() for grid in grids_of(classes[task], edits)],
        )

    @property
    def has_numbers(self) -> bool:
        """Whether there are enough numbers to learn residues from."""
        return "numbers" in self.classes and len(self.classes["numbers"].words) >= ENOUGH_NUMBERS

    def answers(self, task: str) -> Float[Tensor, "d_model member"]:
        """The columns of one list."""
        return self.reads[:, self.block[task]]

    def around(self, task: str) -> Float[Tensor, "member d_model"]:
        """The members of a list around their mean."""
        return self.x[task] - self.x[task].mean(0)

    def learned_from(self, grid: Grid) -> list[Learned]:
        """The lists that have a say in a grid's directions, each around its mean: no member of it, nor its list in other words.

        Numbers are learned from the numbers of the other tens, where there are enough; everything else from all other lists.
        """
        if grid.task == "numbers" and self.has_numbers:
            keep = torch.ones(len(self.x["numbers"]), dtype=torch.bool)
            keep[list(grid.members)] = False
            x = self.x["numbers"][keep]
            return [Learned(x - x.mean(0), self.classes["numbers"].index[keep])]
        others = [task for task in self.x if task not in (grid.task, KIN.get(grid.task))]
        return [Learned(self.around(task), self.classes[task].index) for task in others or [grid.task]]

    def means(self, grid: Grid) -> Float[Tensor, "residue d_model"]:
        """The class means by which a grid is edited."""
        return class_means(self.learned_from(grid))


KIN = {"days": "day_prefixes", "day_prefixes": "days", "months": "month_prefixes", "month_prefixes": "months"}
FROM_ONE = ("months", "month_prefixes")  # residue 0 stands for the tenth member, as in the paper's table


def grids_of(resolved: ResolvedClass, edits: Edits) -> list[Grid]:
    """A list cut into tens, those in which something can be moved."""
    found = []
    for ten in (resolved.index // 10).unique().tolist():
        members = (resolved.index // 10 == ten).nonzero()[:, 0].tolist()
        if (edits.moves & torch.isin(edits.source, torch.tensor(members))).any():
            first, last = resolved.words[members[0]], resolved.words[members[-1]]
            found.append(Grid(f"{first} to {last}", resolved.task, tuple(members)))
    return found


def class_means(lists: Sequence[Learned]) -> Float[Tensor, "residue d_model"]:
    """For each residue the mean of its tokens, a unit vector; every list weighs alike, however long. Zero without tokens."""
    means, known = torch.zeros(10, lists[0].x.shape[1]), torch.zeros(10, 1)
    for each in lists:
        own = torch.nn.functional.one_hot(each.index % 10, 10).to(each.x.dtype)
        means += own.T @ each.x / own.sum(0).clamp(min=1)[:, None]
        known += own.amax(0)[:, None]
    return torch.nn.functional.normalize(means / known.clamp(min=1), dim=-1)


def sae_features(
    vectors: Vectors, *, seeds: Sequence[int], width: int = 512, sparsity: float = 0.3, epochs: int = 100
) -> tuple[Float[Tensor, "residue d_model"], float]:
    """f_0 to f_9 as in the paper: modal most important features of autoencoders, averaged over seeds, and their share.

    A token's most important feature is the one whose ablation from the reconstruction lowers the successor's probability
    most. Modal over the numbers below 100; where the tokenizer has few numbers, over all lists.
    """
    x = torch.cat(list(vectors.x.values()))
    # In the principal axes, in which the tokens lie: nothing is lost, and an autoencoder costs a fraction.
    axes = torch.linalg.svd(x - x.mean(0), full_matrices=False)[2][:128].T
    saes = features.train_saes(
        x @ axes,
        seeds=seeds,
        width=width,
        sparsity=sparsity,
        steps=features.steps_of(len(x), n_epochs=epochs, batch_size=64),
        batch_size=64,
    )
    best, index = [], []
    for task in ["numbers"] if vectors.has_numbers else list(vectors.classes):
        resolved = vectors.classes[task]
        sources = resolved.source[resolved.index[resolved.source] < 100]
        targets = dict(zip(resolved.source.tolist(), resolved.target.tolist()))
        answer = torch.tensor([targets[source] for source in sources.tolist()])
        best.append(
            features.most_important(saes, vectors.x[task][sources] @ axes, axes.T @ vectors.answers(task), answer)
        )
        index.append(resolved.index[sources])
    modal, share = features.modal_features(torch.cat(best, 1), torch.cat(index), 10)
    rows = torch.stack([own[chosen] for own, chosen in zip(saes.features, modal)]).mean(0) @ axes.T
    return torch.nn.functional.normalize(rows, dim=-1), float(share.nanmean())


Pushes = dict[str, dict[str, Float[Tensor, "draw edit d_model"]]]  # by source and list, at λ = 1


def push_sets(vectors: Vectors, sae: Float[Tensor, "residue d_model"] | None, *, seed: int, n_draws: int) -> Pushes:
    """What every edit adds at λ = 1, by source of the directions; controls are as long as the class means' pushes."""
    names = [*(SOURCES if sae is not None else (MEANS,)), *CONTROLS]
    if not vectors.has_numbers and OF_NUMBERS in names:
        names.remove(OF_NUMBERS)
    sets: Pushes = {name: {} for name in names}
    span = torch.cat([vectors.around(task) for task in vectors.x])
    for task, edits in vectors.edits.items():
        x = vectors.x[task]
        draws = {name: n_draws if name in CONTROLS else 1 for name in names}
        filled = {name: torch.zeros(draws[name], len(edits.source), x.shape[1]) for name in names}
        for grid in (grid for grid in vectors.grids if grid.task == task):
            rows = torch.isin(edits.source, torch.tensor(grid.members))
            own, learned = edits[rows], vectors.learned_from(grid)
            means = class_means(learned)

            def paired(f, own=own, x=x):
                return arithmetic.pushes(f, own, scale=arithmetic.own_share(x, f, own))

            filled[MEANS][:, rows] = like = paired(means)
            if OF_NUMBERS in names:
                numbers = Learned(vectors.around("numbers"), vectors.classes["numbers"].index)
                filled[OF_NUMBERS][:, rows] = paired(class_means(learned if task == "numbers" else [numbers]))
            if sae is not None:
                filled[SAE][:, rows] = paired(sae)
                known, index = (torch.cat(each) for each in zip(*((of.x, of.index) for of in learned)))
                filled[PROBE][:, rows] = paired(
                    features.probe_modulus(known, index, 10, seed=seed, n_folds=2, n_permutations=1).directions
                )
                around, steps = vectors.around(task)[own.source], own.residue - own.source_residue
                waves = arithmetic.wave_parts(known, index, PERIODS)
                filled[TURN][:, rows] = arithmetic.turns(around, steps, waves, PERIODS)
            for draw in range(n_draws):
                for control, f in controls_of(means, span, seed=seed + draw).items():
                    filled[control][draw, rows] = arithmetic.as_long_as(arithmetic.pushes(f, own, scale=1.0), like)
        for name in names:
            sets[name][task] = filled[name]
    return sets


def controls_of(
    means: Float[Tensor, "residue d_model"], span: Float[Tensor, "token d_model"], *, seed: int
) -> dict[str, Float[Tensor, "residue d_model"]]:
    """Directions that should not work: random mixtures of the ordinals, and the class means given to other residues."""
    return {
        RANDOM: arithmetic.random_directions(means, seed=seed, span=span),
        SHUFFLED: means[shuffled_residues(seed)],
    }


def shuffled_residues(seed: int) -> Int[Tensor, " residue"]:
    """A permutation of the residues that keeps no step: no direction stands for its own residue, or one that all share."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(10)
        if (np.bincount((order - np.arange(10)) % 10, minlength=10) <= 2).all() and (order != np.arange(10)).all():
            return torch.from_numpy(order)


def edit_head(vectors: Vectors, sets: Pushes) -> Edited:
    """What the head answers to every edit at the λ of the paper's rule, which no edit of the list itself has chosen."""
    rows, logits = [], {}
    known = {}
    for task, edits in vectors.edits.items():
        resolved = vectors.classes[task]
        clean = scores.strict_argmax(vectors.x[task] @ vectors.answers(task))
        known[task] = torch.zeros(len(resolved.words), dtype=torch.bool)
        known[task][resolved.source] = clean[resolved.source] == resolved.target
        before = (vectors.x[task] @ vectors.reads)[edits.source]
        for source, pushed in sets.items():
            logits[source, task] = before, pushed[task] @ vectors.reads
            for lam in LAMBDAS:
                every = before + lam * logits[source, task][1][0]
                outcome = EditOutcome(edits, every[:, vectors.block[task]])
                changed = order_changes(every, before, vectors.block[task])[edits.moves]
                rows.append((source, task, lam, changed.double().mean().item(), outcome.rate))
    trials = pd.DataFrame(rows, columns=["source", "task", "scale", "changed", "share"])
    scale = {source: {task: chosen_scale(trials, source, task) for task in vectors.edits} for source in sets}
    for control in CONTROLS:  # as long as the class means' pushes
        scale[control] = scale[MEANS]
    outcomes = {
        source: {
            task: [
                EditOutcome(edits, (before + scale[source][task] * added)[:, vectors.block[task]])
                for before, pushed in [logits[source, task]]
                for added in pushed
            ]
            for task, edits in vectors.edits.items()
        }
        for source in sets
    }
    return Edited(vectors.grids, outcomes, known, scale, trials)


def order_changes(
    logits: Float[Tensor, "edit candidate"], before: Float[Tensor, "edit candidate"], own: slice
) -> Bool[Tensor, " edit"]:
    """Whether another answer wins than before, and one of the same list, of all ordinals: the paper's rule for λ."""
    won = logits.argmax(-1)
    return (won >= own.start) & (won < own.stop) & (won != before.argmax(-1))


def chosen_scale(trials: pd.DataFrame, source: str, task: str) -> float:
    """The λ at which the answer's place changes most often while its list stays, over all other lists; the smallest such."""
    rest = trials[(trials["source"] == source) & ((trials["task"] != task) | (trials["task"].nunique() == 1))]
    return float(rest.groupby("scale")["changed"].mean().round(9).idxmax())


# --- one edit, and the workbench --------------------------------------------------------------------

# A case that works and one that fails are looked for in this order.
CANDIDATES = (
    ("months", "May", 7), ("number_words", "three", 8), ("ordinal_words", "fifth", 7), ("months", "February", 6),
    ("days", "Tuesday", 5), ("number_words", "two", 6), ("numbers", "25", 7), ("numbers", "32", 7), ("letters", "D", 7),
)  # fmt: skip  # one example a place


def place_of(edits: Edits, resolved: ResolvedClass, source: str, residue: int) -> int | None:
    """An edit's place among those of its list, or None."""
    if source not in resolved.words:
        return None
    found = (edits.source == resolved.words.index(source)) & (edits.residue == residue)
    return int(found.nonzero()) if found.any() else None


def choose_example(
    vectors: Vectors, sets: Pushes, edited: Edited
) -> tuple[tuple[str, str, int], dict[tuple[str, str, int], tuple[Tensor, Tensor]]]:
    """The first candidate that works, or the first there is; and both terms of equation (1) for it and one that fails.

    It works if the answer becomes the wanted one, which a head that does not count may give without any edit.
    """
    there = [
        (task, source, residue)
        for task, source, residue in CANDIDATES
        if task in vectors.edits and place_of(vectors.edits[task], vectors.classes[task], source, residue) is not None
    ]
    if not there:
        task = next(iter(vectors.edits))
        first = int(vectors.edits[task].moves.nonzero()[0])
        there = [
            (
                task,
                vectors.classes[task].words[vectors.edits[task].source[first]],
                int(vectors.edits[task].residue[first]),
            )
        ]

    def terms(edit):
        task, source, residue = edit
        place = place_of(vectors.edits[task], vectors.classes[task], source, residue)
        x = vectors.x[task][vectors.edits[task].source[place]]
        return place, x @ vectors.answers(task), sets[MEANS][task][0, place] @ vectors.answers(task)

    def succeeds(edit):
        return bool(edited.outcomes[MEANS][edit[0]][0].success[terms(edit)[0]])

    def works(edit):
        place, unedited, _ = terms(edit)
        return succeeds(edit) and int(unedited.argmax()) != int(vectors.edits[edit[0]].answer[place])

    example = next(filter(works, there), there[0])
    failing = next((edit for edit in there if not succeeds(edit) and edit != example), None)
    shown = [example, *([failing] if failing else [])]
    return example, {edit: terms(edit)[1:] for edit in shown}


def set_up_bench(
    vectors: Vectors, sets: Pushes, edited: Edited, example: tuple[str, str, int], *, seed: int, in_page: bool = False
) -> workbench.Workbench:
    """The workbench: some grids, with class means and both controls, and presets of which one fails where one does.

    With `in_page`, for the model that runs in the book's pages, it brings what the same edits take there.
    """
    grids = [grid for title in BENCH for grid in vectors.grids if grid.title == title] or vectors.grids[:1]
    grids = sorted(grids, key=lambda grid: grid.task != example[0])
    span = torch.cat([vectors.around(task) for task in vectors.x])
    lists = {}
    for grid in grids:
        answers = vectors.answers(grid.task)
        rows = torch.isin(vectors.edits[grid.task].source, torch.tensor(grid.members))
        own, means = vectors.edits[grid.task][rows], vectors.means(grid)
        directions, lengths = {}, {}
        sources = {MEANS: means, **controls_of(means, span, seed=seed)}
        for source, f in sources.items():
            unit, pushed = arithmetic.pushes(f, own, scale=1.0), sets[source][grid.task][0, rows]
            lengths[source] = (pushed * unit).sum(1) / unit.square().sum(1).clamp(min=1e-9)
            directions[source] = f @ answers
        lists[grid.title] = workbench.EditableList(
            words=vectors.classes[grid.task].words,
            edits=own,
            clean=vectors.x[grid.task] @ answers,
            directions=directions,
            lengths=lengths,
            scale=edited.scale[MEANS][grid.task],
            running=workbench.Running(grid.task, sentences(vectors, grid), sources) if in_page else None,
        )
    presets = []
    for task, source, residue in dict.fromkeys([example, *CANDIDATES]):
        for title, editable in lists.items():
            grid = next(grid for grid in grids if grid.title == title)
            if grid.task == task and (place := editable.place(source, residue)) is not None:
                presets.append(workbench.Preset(title, place, MEANS))
    works = [preset for preset in presets if lists[preset.list].succeeds(preset)]
    fails = [preset for preset in presets if not lists[preset.list].succeeds(preset)]
    opening = next((preset for preset in presets if preset in works), presets[0] if presets else None)
    first = opening or workbench.Preset(next(iter(lists)), 0, MEANS)
    control = first._replace(directions=RANDOM)
    chosen = [
        first,
        *[preset for preset in works if preset != first][:1],
        *[p for p in fails if p != first][:1],
        control,
    ]
    return workbench.Workbench(lists, chosen)


# --- what stops it ----------------------------------------------------------------------------------


def take_apart(vectors: Vectors, sets: Pushes, edited: Edited, *, seed: int) -> Ten | None:
    """What numbers are made of and how far larger edits get; None where the tokenizer has few numbers.

    How long ten and residue are to be is chosen on the odd tens, and every share is of the even ones.
    """
    if not vectors.has_numbers or "numbers" not in vectors.edits:
        return None
    x, reads, edits = vectors.x["numbers"], vectors.answers("numbers"), edited.edits("numbers")
    index = vectors.classes["numbers"].index
    tens, mean = index // 10, x.mean(0)
    of_ten, of_residue = ten_and_residue(x, index)

    pushed = edited.scale[MEANS]["numbers"] * sets[MEANS]["numbers"][0]
    source, ten = x[edits.source], tens[edits.source]
    other = torch.from_numpy(np.random.default_rng(seed).permutation(len(of_ten) - 1))  # 200 is alone in its ten
    other = torch.where(other == torch.arange(len(other)), (other + 1) % len(other), other)[
        ten.clamp(max=len(other) - 1)
    ]
    even = edits.moves & (ten % 2 == 0)

    def outcome(made):
        return EditOutcome(edits, made @ reads)

    def right(lengths, make):
        return float(outcome(make(*lengths)).success[edits.moves & (ten % 2 == 1)].double().mean())

    def rebuilt(long, short):
        return mean + long * of_ten[ten] + short * of_residue[edits.residue]

    lengths = (0.5, 1, 2, 3, 4, 6)
    held = max(lengths, key=lambda length: right((length,), lambda each: source + pushed + each * of_ten[ten]))
    made = {
        MOVED: source + pushed,
        HELD_UP: source + pushed + held * of_ten[ten],
        OTHER_TEN: source + pushed + held * of_ten[other],
        REBUILT: rebuilt(*max(product(lengths, repeat=2), key=lambda pair: right(pair, rebuilt))),
        OWN_VECTOR: x[edits.target],
    }
    outcomes = {step: outcome(each) for step, each in made.items()}
    moved = outcomes[MOVED]
    # Only members of the wanted answer's ten compete: what is wrong then is not the ten.
    rivals = index[None] // 10 == index[edits.answer][:, None] // 10
    within = EditOutcome(edits, moved.logits.masked_fill(~rivals, -torch.inf))
    landed = even & moved.right_residue
    return Ten(
        made_of=made_of(x, index),
        ladder={
            step: (_ticks(o.success, edits, even), _ticks(o.right_residue, edits, even)) for step, o in outcomes.items()
        },
        within_ten=_ticks(within.success, edits, even),
        off_by_tens=((index[moved.won] - index[edits.answer])[landed] // 10).numpy(),
    )


def ten_and_residue(
    x: Float[Tensor, "number d_model"], index: Int[Tensor, " number"]
) -> tuple[Float[Tensor, "ten d_model"], Float[Tensor, "residue d_model"]]:
    """Means of numbers by ten and by residue, around the mean of all."""
    tens = index // 10
    of_ten = torch.stack([x[tens == ten].mean(0) for ten in range(int(tens.max()) + 1)]) - x.mean(0)
    return of_ten, features.class_means(x, index)


def made_of(x: Float[Tensor, "number d_model"], index: Int[Tensor, " number"]) -> dict[str, float]:
    """Share of the variance of numbers' vectors that the ten and the residue explain, and what is each number's own."""
    of_ten, of_residue = ten_and_residue(x, index)
    total = (x - x.mean(0)).square().sum()
    ten, residue = of_ten[index // 10].square().sum() / total, of_residue[index % 10].square().sum() / total
    return {"ten": float(ten), "residue": float(residue), "own": 1 - float(ten) - float(residue)}


def _ticks(success: Bool[Tensor, " edit"], edits: Edits, chosen: Bool[Tensor, " edit"]) -> Ticks:
    return Ticks.by_source(success[chosen].numpy(), edits.source[chosen].numpy())


def correct_bias(vectors: Vectors, edited: Edited, *, seed: int, n_shuffles: int = 20) -> pd.DataFrame:
    """Downward edits before and after the head's greater-than part is taken out of the source's row, by list.

    The part is what least squares gives to "later than the token read" beside succession and copying. Shuffled it
    is as large and knows nothing of the order: to take something from every late member helps early ones in any case.
    """
    rows, generator = [], torch.Generator().manual_seed(seed)
    for task, edits in vectors.edits.items():
        resolved, n = vectors.classes[task], len(vectors.classes[task].words)
        if n < LEAST_LONG or not edits.is_down.any():
            continue
        m, outcome = (vectors.x[task] @ vectors.answers(task)).double(), edited.outcomes[MEANS][task][0]
        weight, later = maps.components(m, resolved)[0][2], torch.ones(n, n).triu(1)
        lead = (m[resolved.source, resolved.target] - m.mean(1)[resolved.source]).mean()

        def corrected(pattern, edits=edits, outcome=outcome, weight=weight):
            logits = outcome.logits - weight.float() * pattern[edits.source]
            return EditOutcome(edits, logits).success[edits.is_down].double().mean().item()

        orders = [torch.randperm(n, generator=generator) for _ in range(n_shuffles)]
        shuffled = float(np.mean([corrected(later[order][:, order]) for order in orders]))
        before = outcome.success[edits.is_down].double().mean().item()
        rows.append((list_name(task), float(weight / lead.abs()), before, corrected(later), shuffled))
    return pd.DataFrame(rows, columns=["list", "bias", "down", "corrected", "shuffled"])


# --- in the running model ---------------------------------------------------------------------------


def edit_in_model(
    model: TransformersModel,
    parts: Anatomy,
    vectors: Vectors,
    sets: Pushes,
    *,
    seed: int,
    most: int = 40,
    n_choosing: int = 8,
) -> InModel | None:
    """Lists of three and a comma, their last member edited where MLP0 has just written; None where none can be written.

    The edit stands in front of block 1 and is read by everything behind it. "Behind the head" it stands where the best
    head has already read. λ is chosen by the paper's rule on other lists' first prompts, which are not judged.
    """
    best, where = vectors.place, min(1, parts.n_layers)
    n = prompts.affordable(model, most, tokens=60 * len(vectors.edits) or 1)
    written = {task: lists_to_edit(model, vectors, task, most=n + n_choosing, seed=seed) for task in vectors.edits}
    written = {task: pair for task, pair in written.items() if len(pair[1]) > n_choosing + 1}
    if not written:
        return None
    every = torch.cat([resolved.token_ids for resolved in vectors.classes.values()])

    def answers(task, texts, pushed, *, at=where, variants=((),)):
        """Logits of all ordinals: [variant, prompt, candidate]."""
        push = None if pushed is None else cached.Push(at, torch.stack([pushed, torch.zeros_like(pushed)], 1))
        return cached.logits_of_variants(model, texts, variants, every, push=push)

    trials = []
    for task, (chosen, texts) in written.items():
        first, texts = chosen[:n_choosing], texts[:n_choosing]
        before = answers(task, texts, None)[0]
        for lam in LAMBDAS_IN_MODEL:
            pushed = answers(task, texts, lam * sets[MEANS][task][0, first])[0]
            changed = order_changes(pushed, before, vectors.block[task])
            trials.append((MEANS, task, lam, changed.double().mean().item()))
    frame = pd.DataFrame(trials, columns=["source", "task", "scale", "changed"])
    scale = {task: chosen_scale(frame, MEANS, task) for task in written}

    rows, unedited, held = [], {}, {}
    for task, (chosen, texts) in written.items():
        chosen, texts, block = chosen[n_choosing:], texts[n_choosing:], vectors.block[task]
        edits = vectors.edits[task][chosen]
        pushed = {source: scale[task] * sets[source][task][0, chosen] for source in (MEANS, RANDOM)}
        own = prompts.head_outputs(model, texts)
        every_head = [(layer, head) for layer in range(parts.n_layers) for head in range(parts.n_heads)]
        variants = [[], *([cached.Edit(layer, head, own[layer, head])] for layer, head in every_head)]
        clean, edited = answers(task, texts, None)[0], answers(task, texts, pushed[MEANS], variants=variants)
        logits = {
            EDITED: edited[0],
            RANDOM: answers(task, texts, pushed[RANDOM])[0],
            HELD: edited[1 + every_head.index(best)],
            BEHIND: answers(task, texts, pushed[MEANS], at=best[0] + 1)[0],
        }
        outcomes = {condition: EditOutcome(edits, each[:, block]) for condition, each in logits.items()}
        for condition, outcome in outcomes.items():
            rows += [(task, int(s), condition, bool(right)) for s, right in zip(edits.source, outcome.success)]
        # Before it is edited a list has one answer, whatever its edits.
        once = np.unique(edits.source.numpy(), return_index=True)[1]
        unedited[task] = Ticks.of(int((clean[:, block].argmax(1) == edits.original)[once].sum()), len(once))
        held[task] = [EditOutcome(edits, each) for each in edited[:, :, block]]
    outcomes = pd.DataFrame(rows, columns=["task", "source", "condition", "right"])
    return InModel(where, outcomes, unedited, scale, *carrying(held, parts, seed=seed))


def carrying(
    held: Mapping[str, Sequence[EditOutcome]], parts: Anatomy, *, seed: int
) -> tuple[Place, tuple[Ticks, Ticks], Ticks]:
    """The head that passes most of the edit on, by the lead that is lost when it is held, and what that does to success.

    Found on every second list, with all its edits, and judged on the others; of the outcomes the first is with no head
    held. The control is another head, drawn at random.
    """
    sources = [(task, int(source)) for task, outcomes in held.items() for source in outcomes[0].edits.source]
    lists = pd.factorize(pd.Series(sources))[0]
    judging = lists % 2 == 1

    def pooled(what):
        variants = range(1 + parts.n_layers * parts.n_heads)
        return torch.stack([torch.cat([what(outcomes[each]) for outcomes in held.values()]) for each in variants])

    lead = pooled(lambda outcome: outcome.lead)[:, ~judging]
    lost = (lead[0] - lead[1:]).nanmean(1)
    order = lost.argsort(descending=True)
    success = pooled(lambda outcome: outcome.success)[:, judging].numpy()
    other = int(order[1 + np.random.default_rng(seed).integers(len(order) - 1)]) if len(order) > 1 else int(order[0])
    followed, stopped, control = (
        Ticks.by_source(row, lists[judging]) for row in (success[0], success[1 + order[0]], success[1 + other])
    )
    return divmod(int(order[0]), parts.n_heads), (followed, stopped), control


def lists_to_edit(
    model: TransformersModel, vectors: Vectors, task: str, *, most: int, seed: int
) -> tuple[Int[Tensor, " prompt"], list[str]]:
    """Places of edits, and for each the list of three members and a comma whose last member is edited; drawn at random."""
    resolved, edits = vectors.classes[task], vectors.edits[task]
    rows = []
    for edit in (edits.moves & (edits.original != NONE)).nonzero()[:, 0].tolist():
        last = int(edits.source[edit])
        members = ends_in(resolved, last)
        if len(members) < 3:
            continue
        text = _comma_list(resolved, members)
        ids = prompts.tokens_of(model.tokenizer, text)
        if len(ids) > 1 and ids[-2] == resolved.token_ids[last]:  # one token, and it stands where we edit
            rows.append((edit, text))
    order = np.random.default_rng(seed).permutation(len(rows))[:most]
    return torch.tensor([rows[place][0] for place in order], dtype=torch.long), [rows[place][1] for place in order]


def ends_in(resolved: ResolvedClass, last: int) -> list[int]:
    """Three members in order of which this is the last, as places; fewer where the list begins with it."""
    before = dict(zip(resolved.target.tolist(), resolved.source.tolist()))
    members = [last]
    while len(members) < 3 and members[0] in before:
        members.insert(0, before[members[0]])
    return members


def sentences(vectors: Vectors, grid: Grid) -> dict[int, str]:
    """For each member of a grid the list of up to three members and a comma that ends in it."""
    resolved = vectors.classes[grid.task]
    return {member: _comma_list(resolved, ends_in(resolved, member)) for member in grid.members}


def _comma_list(resolved: ResolvedClass, members: Sequence[int]) -> str:
    return ",".join(resolved.prefix + resolved.words[member] for member in members) + ","


def count_otherwise(
    model: TransformersModel, parts: Anatomy, vectors: Vectors, running: InModel, *, seed: int, most: int = 20
) -> Counting:
    """Lists that a steered model continues by twos and backwards, every last member edited in its turn.

    Shuffled directions as long take the first step only. A step is right when the answer is so many further; around the
    circle where the list is one.
    """
    n_lists = prompts.affordable(model, most, tokens=140 * len(running.tasks))
    span = torch.cat([vectors.around(task) for task in vectors.x])
    runs, rows = {}, []
    for task in running.tasks:
        resolved = vectors.classes[task]
        after = dict(zip(resolved.source.tolist(), resolved.target.tolist()))
        every = [(m, after[m], after[after[m]]) for m in after if after.get(after[m]) is not None]
        kept = [
            every[place] for place in np.unique(np.linspace(0, len(every) - 1, min(n_lists, len(every))).astype(int))
        ]
        grid_of = {member: grid for grid in vectors.grids if grid.task == task for member in grid.members}
        kept = [run for run in kept if run[-1] in grid_of]
        means = {grid: vectors.means(grid) for grid in set(grid_of.values())}
        controls = {grid: controls_of(f, span, seed=seed)[SHUFFLED] for grid, f in means.items()}

        def step(
            lists, residues, directions, task=task, resolved=resolved, grid_of=grid_of, means=means, controls=controls
        ):
            """The next member of each list, its last member moved by so many residues."""
            pushed = []
            for members in lists:
                last = members[-1]
                own = int(resolved.index[last]) % 10
                grid = grid_of.get(last)
                if grid is None:  # the list's end, from which nothing can be moved
                    pushed.append(torch.zeros(vectors.reads.shape[0]))
                    continue
                f, given = means[grid], (own + residues) % 10
                push = (vectors.x[task][last] @ f[own]) * (f[given] - f[own])
                if directions == SHUFFLED:
                    g = controls[grid]
                    push = arithmetic.as_long_as((g[given] - g[own])[None], push[None])[0]
                pushed.append(running.scale[task] * push)
            value = torch.stack([torch.stack(pushed), torch.zeros(len(lists), len(pushed[0]))], 1)
            texts = [_comma_list(resolved, members[-3:]) for members in lists]
            logits = cached.logits_of_variants(
                model, texts, [[]], resolved.token_ids, push=cached.Push(running.where, value)
            )
            return [(*members, int(won)) for members, won in zip(lists, logits[0].argmax(1))]

        for way, residues in WAYS.items():
            lists = kept
            for _ in range(N_STEPS):
                lists = step(lists, residues, MEANS)
            runs[task, way] = [
                Run(members[:3], members[3:], _steps_right(resolved, members, residues + 1)) for members in lists
            ]
            by_control = step(kept, residues, SHUFFLED)
            for directions, said in ((MEANS, lists), (SHUFFLED, by_control)):
                right = sum(_steps_right(resolved, members, residues + 1)[0] for members in said)
                rows.append((task, way, directions, right, len(said)))
    return Counting(runs, pd.DataFrame(rows, columns=["task", "way", "directions", "right", "n"]))


def _steps_right(resolved: ResolvedClass, members: Sequence[int], wanted: int) -> tuple[bool, ...]:
    """Whether each answer lies so many steps behind the member before it."""
    steps = np.diff(resolved.index[torch.tensor(members[2:])].numpy())
    cycle = ordinals.CLASSES[resolved.task]
    if cycle.cyclic:
        return tuple(bool(step) for step in (steps - wanted) % len(cycle.words) == 0)
    return tuple(bool(step) for step in steps == wanted)


# --- what it comes to -------------------------------------------------------------------------------


def verdict(found: Found) -> Verdict:
    """What the edits do at the best head.

    "no_head": no head counts, so nothing can be asked of it. Of tokens that it answers rightly: "steered", most edits
    succeed, as a mean over lists; "in_part", most edits of some lists, and clearly more than with any control;
    "digit_only", in no list, and yet the right residue wins clearly more often; "not_shown".
    """
    e = found.edited
    if not found.is_shown:
        carrier = about_carrier(found)
        how = carrier.sentence if carrier.key in ("another", "best") else "Not shown: by way of which heads."
        return Verdict(
            "no_head",
            f"**There is no head to steer.** The best one, {found.name} (macro {found.macro:.2f}), does not count. "
            f"{about_model(found).sentence} {how}",
        )
    exact, digit = (e.macro(MEANS, known=True, reading=reading) for reading in ("success", "right_residue"))
    control = max(e.macro(name, known=True) for name in CONTROLS)
    control_digit = max(e.macro(name, known=True, reading="right_residue") for name in CONTROLS)
    told = (
        f"Of the edits of tokens that {found.name} answers rightly, {_share(exact)} give the wanted answer, and "
        f"{_share(control)} with random or shuffled directions (means over {len(e.known)} lists)."
    )
    saes = e.macro(SAE, known=True)
    reach = ", which the controls reach as well" if saes <= control else ""
    paper = f"With features of autoencoders, as in the paper: {_share(saes)}{reach}."
    works = [
        list_name(task)
        for task in e.known
        if e.by_list(MEANS, task, known=True).share > 0.5
        and e.by_list(MEANS, task, known=True).low > control_of(e, task)
    ]
    if "numbers" in e.known:
        numbers = [
            e.by_list(MEANS, "numbers", known=True, reading=reading).share for reading in ("success", "right_residue")
        ]
        paper += f" In numbers the right digit wins in {_share(numbers[1])}, the right number in {_share(numbers[0])}."
    if exact > 0.5 and exact > 2 * control:
        return Verdict(
            "steered",
            f"**{found.name} answers as the edit says.** {told} {paper} Not shown: that the model follows in text.",
        )
    if works:
        return Verdict(
            "in_part",
            f"**The edit works in {listed(works)}, and in most lists it fails.** {told} {paper} Not shown: rates as high as the paper's in numbers.",
        )
    if digit > 1.5 * control_digit and digit > control_digit + 0.05:
        return Verdict(
            "digit_only",
            f"**The edit moves the residue, and mostly not the answer.** {told} {paper} Not shown: rates as high as the paper's.",
        )
    return Verdict(
        "not_shown",
        f"**Steering {found.name} is not shown.** {told} {paper} Not shown: that it counts with these directions.",
    )


def control_of(edited: Edited, task: str) -> float:
    """The higher control of a list, of tokens that are answered rightly."""
    return max(edited.by_list(name, task, known=True).share for name in CONTROLS)


def about_sources(found: Found) -> Verdict:
    """Which source of directions works best: its name as the key; "none" where no source beats both controls twice over; or "no_head"."""
    shares = {source: found.edited.macro(source, known=True) for source in found.edited.sources}
    control = max(found.edited.macro(name, known=True) for name in CONTROLS)
    best = max(shares, key=lambda source: shares[source])
    told = ", ".join(f"{source} {_share(share)}" for source, share in shares.items())
    if not found.is_shown:
        known = sum(int(each.sum()) for each in found.edited.known.values())
        return Verdict(
            "no_head",
            f"Directions cannot be told apart by a head that does not count, and answers {known} tokens rightly: {told}; controls at most {_share(control)}.",
        )
    if shares[best] <= 2 * control:
        return Verdict("none", f"No source of directions stands clear of the controls ({_share(control)}): {told}.")
    return Verdict(best, f"The {best} do best, as means over lists: {told}; controls at most {_share(control)}.")


def about_ten(found: Found) -> Verdict:
    """What stops edits of numbers: "too_few" numbers, "nothing" much, the "ten", or "own" parts that no sum has."""
    ten = found.ten
    if ten is None:
        return Verdict("too_few", "This tokenizer has too few numbers to take apart.")
    exact, digit = ten.ladder[MOVED]
    held, own = ten.ladder[HELD_UP][0], ten.ladder[OWN_VECTOR][0]
    rebuilt = ten.ladder[REBUILT][0]
    told = f"the right digit wins in {_share(digit.share)} of the edits, the right number in {_share(exact.share)}"
    if exact.share > 0.8 * own.share:
        return Verdict(
            "nothing",
            f"Little stops these edits: {told}, and the target's own vector does no better than {_share(own.share)}.",
        )
    if held.share > 0.8 * own.share:
        return Verdict("ten", f"The decade is what is lost: {told}, and with it held up as well {_share(held.share)}.")
    return Verdict(
        "own",
        f"The decade is lost, and more: {told}, with its decade held up {_share(held.share)}, rebuilt from decade and residue "
        f"{_share(rebuilt.share)}, and the target's own vector {_share(own.share)}.",
    )


def about_down(found: Found) -> Verdict:
    """Whether a greater-than bias explains failures downwards: "no_bias", "explains", "not_shown", or "too_few" lists."""
    table = found.bias
    if table.empty:
        return Verdict("too_few", "No list is long enough to tell a bias from succession.")
    biased = table[table["bias"] > 0.2]
    if biased.empty:
        return Verdict(
            "no_bias",
            f"In no list is {found.name}'s greater-than part a fifth of the successor's lead, so there is little to correct.",
        )
    before, after, shuffled = (biased[column].mean() for column in ("down", "corrected", "shuffled"))
    told = f"in the {len(biased)} of {len(table)} lists with a bias it goes from {_share(before)} to {_share(after)}, with that part shuffled to {_share(shuffled)}"
    if after > before + 0.1 and after > shuffled + 0.05:
        return Verdict("explains", f"Without its greater-than part the head follows downward edits more often: {told}.")
    return Verdict("not_shown", f"That a greater-than bias explains the failures is not shown: {told}.")


def about_model(found: Found) -> Verdict:
    """Whether the running model follows: "no_lists"; "not_shown"; "through_head"; "in_part"; or "past_head"."""
    running = found.in_model
    if running is None:
        return Verdict("no_lists", "The tokenizer writes no list whose last member is one token.")
    edited, control, held, behind = (running.total(condition) for condition in CONDITIONS)
    told = f"{_share(edited.share)} of the edits are followed, {_share(control.share)} with random directions, {_share(held.share)} with {found.name} held, {_share(behind.share)} when edited behind it"
    if edited.low <= control.high:
        return Verdict("not_shown", f"That the running model follows is not shown: {told}.")
    if held.high < edited.low and held.share < 0.5 * edited.share:
        return Verdict("through_head", f"The running model follows, mostly through {found.name}: {told}.")
    if held.high < edited.share or behind.high < edited.low:
        return Verdict("in_part", f"The running model follows, in part through {found.name}: {told}.")
    return Verdict("past_head", f"The running model follows, and not through {found.name}: {told}.")


def about_carrier(found: Found) -> Verdict:
    """Which head passes the edit on: "no_lists", "not_followed", "best" if it is the best head, "another", or "none"."""
    running = found.in_model
    if running is None or about_model(found).key == "not_shown":
        return Verdict(
            "no_lists" if running is None else "not_followed",
            "There is no edit that is followed, so no head passes it on.",
        )
    without, held = running.carried
    told = f"with {anatomy.name_of(running.carrier)} held {held} edits are followed instead of {without}, with another head held {running.carrier_random}, on the half of the lists that did not choose it"
    if not without.n or held.high >= without.share:
        return Verdict("none", f"No single head passes the edit on: {told}.")
    part = "most" if held.share < 0.5 * without.share else "the largest part"
    if running.carrier == found.best:
        return Verdict("best", f"Of all heads the best one passes {part} of the edit on: {told}.")
    return Verdict("another", f"Another head than the best passes {part} of the edit on: {told}.")


def about_counting(found: Found) -> Verdict:
    """Whether it counts by twos or backwards: "no_lists", "runs", "a_step", or "not_shown"."""
    if found.counting is None:
        return Verdict("no_lists", "Without lists that can be edited there is no counting to change.")
    totals = {way: (found.counting.total(way, MEANS), found.counting.total(way, SHUFFLED)) for way in WAYS}
    runs = [run for each in found.counting.runs.values() for run in each]
    whole = sum(all(run.wanted) for run in runs)
    told = "; ".join(
        f"{way} the first step is right in {own} lists (shuffled {control})" for way, (own, control) in totals.items()
    )
    told += f"; all {N_STEPS} steps in {whole} of {len(runs)} runs"
    if not any(own.low > control.high for own, control in totals.values()):
        return Verdict("not_shown", f"That the model counts otherwise is not shown: {told}.")
    if whole > len(runs) / 2:
        return Verdict("runs", f"Steered, the model counts by twos and backwards: {told}.")
    return Verdict("a_step", f"Steered, the model takes a step otherwise now and then, and seldom four: {told}.")


ABOUT = {
    "edits": verdict,
    "sources": about_sources,
    "ten": about_ten,
    "down": about_down,
    "model": about_model,
    "carrier": about_carrier,
    "counting": about_counting,
}


def _share(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


# --- what is drawn ----------------------------------------------------------------------------------


def draw_path() -> Drawing:
    """The edit in five boxes."""
    steps = [
        ("May", "a token"),
        ("$x$", "what MLP0\nwrites about it"),
        ("$-\\,k f_5 + k f_7$", "the edit"),
        ("head", "reads the sum"),
        ("August?", "its answer"),
    ]
    return Drawing(
        figures.pipeline(steps, highlight=2),
        alt="Five boxes in a row: the token May, the vector x that MLP0 writes about it, the edit that takes k times f5 away and adds k times f7, the head, and its answer, August with a question mark.",
        caption="The edit of this chapter: if the directions are what the head counts with, its answer changes as the sum says.",
    )


def draw_lines(found: Found) -> Drawing:
    """Logits of the list against λ, for an edit that works and one that does not."""
    figs, axes = figures.panels(len(found.lines), height=2.9, columns=2)
    scales, spoken, titles, n_working = np.linspace(0, 3, 121), [], [], 0
    for ax, ((task, source, residue), (clean, added)) in zip(axes, found.lines.items()):
        edits, words = found.edited.edits(task), found.classes[task].words
        place = place_of(edits, found.classes[task], source, residue)
        wanted, original = int(edits.answer[place]), int(edits.original[place])
        logits = clean[:, None] + torch.tensor(scales, dtype=clean.dtype) * added[:, None]
        curves = (logits - logits.mean(0)).numpy()
        for member, curve in enumerate(curves):
            if member not in (wanted, original):
                ax.plot(scales, curve, color=PALETTE["grey"], linewidth=0.9, alpha=0.6, label="_")
        if original != NONE:
            ax.plot(scales, curves[original], color=PALETTE["blue"], linewidth=2.4, label=words[original])
        ax.plot(scales, curves[wanted], color=PALETTE["orange"], linewidth=2.4, label=words[wanted])
        chosen = found.edited.scale[MEANS][task]
        ax.axvline(chosen, color=figures.INK, linewidth=0.8, linestyle=":")
        own = int(edits.source_residue[place])
        ax.set(xlabel="λ", ylabel="logit, list mean 0", title=f"{source}, {own} → {residue}")
        figures.label_lines(ax)
        answers = curves.argmax(0)
        turns = [0, *(np.flatnonzero(np.diff(answers)) + 1)]
        said = ", then ".join(
            words[answers[turn]] + (f" from λ = {scales[turn]:.2g}" if turn else "") for turn in turns
        )
        at = int(curves[:, np.abs(scales - chosen).argmin()].argmax())
        spoken.append(f"{source} given a {residue}, {words[wanted]} wanted: {said}.")
        unchanged = "as without the edit"
        how = f"not {words[wanted]}" if at != wanted else unchanged if answers[0] == wanted else "as it should be"
        titles.append(f"{source} given a {residue} is answered {words[at]} ({how})")
        n_working += at == wanted and answers[0] != wanted
    return Drawing(
        figs,
        alt=[f"Lines of the logits of a list's members against λ. {each}" for each in spoken],
        caption="At the λ that was chosen, dotted, " + "; ".join(titles) + ".",
        details="Each line is one member of the list, the highest is the head's answer. Orange: the wanted answer; blue: the token's own successor, which the head need not name to begin with. "
        + " ".join(spoken)
        + (
            " These were looked for: of a fixed list of edits the first that works, and the first that does not."
            if n_working
            else f" Of a fixed list of {len(CANDIDATES)} edits none that can be made changes the answer into the wanted one."
        ),
    )


def draw_ticks(found: Found) -> Drawing | Markdown:
    """Ticks of the paper's printed tables, the paper's beside this model's."""
    grids = [grid for grid in found.paper_grids if grid.title in DRAWN]
    if not grids:
        return Markdown("This tokenizer has none of the lists whose ticks the paper prints as single tokens.")
    printed = reported.read()["figure_7"]["ticks"]
    figs, axes = figures.panels(2 * len(grids), height=2.75, columns=2)
    spoken, theirs_up = [], 0
    for place, grid in enumerate(grids):
        key = {"ten to nineteen": "ten-twenty"}.get(grid.title, PAPER[grid.title])
        words = found.classes[grid.task].words
        theirs = {
            (words.index(w), r)
            for w, residues in printed[key].items()
            if w in words
            for r in residues
            if words.index(w) in grid.members
        }
        outcome = found.edited.outcomes[MEANS][grid.task][0]
        edits = outcome.edits
        ours = {
            (s, r)
            for s, r, tick in zip(edits.source.tolist(), edits.residue.tolist(), outcome.success)
            if tick and s in grid.members
        }
        there = {(s, r) for s, r in zip(edits.source.tolist(), edits.residue.tolist()) if s in grid.members}
        edited_up = edits[edits.is_up]
        theirs_up += sum(pair in theirs for pair in zip(edited_up.source.tolist(), edited_up.residue.tolist()))
        for ax, ticks, whose in ((axes[2 * place], theirs, "the paper"), (axes[2 * place + 1], ours, found.model)):
            _draw_grid(ax, grid, ticks, there, found.classes[grid.task])
            ax.set_title(f"{grid.title}, {whose}", fontsize=10)
        paper_count = reported.read()["arithmetic"]["tables"][PAPER[grid.title]]
        spoken += [
            f"Ticks of the paper for {grid.title}: {paper_count[0]} of {paper_count[1]} on and above the diagonal.",
            f"Ticks of {found.model} for {grid.title}: {found.edited.of_grid(MEANS, grid, 'paper')} on and above the diagonal, {found.edited.of_grid(MEANS, grid, 'down')} below.",
        ]
    ups, by_chance = ([found.edited.of_grid(source, grid, "up") for grid in grids] for source in (MEANS, RANDOM))
    return Drawing(
        figs,
        alt=spoken,
        caption=f"Off the diagonal, {found.name} of {found.model} follows {sum(t.right for t in ups):.0f} of {sum(t.n for t in ups)} upward edits in these tables, the paper's head {theirs_up}.",
        details="A row is the source, a column the residue that it gets. A disc: the wanted answer wins. A small dot: an edit that can be made and fails. On the diagonal, a ring, nothing is changed, and a tick says that "
        "the head answers the unedited token rightly. Left of the diagonal an edit goes down. Directions here: class means that no member of the table had a say in. "
        f"Random directions as long have {sum(t.right for t in by_chance):.1f} of these upward edits right, the mean of our draws.",
    )


def _draw_grid(
    ax: Axes,
    grid: Grid,
    ticks: Set[tuple[int, int]],
    there: Set[tuple[int, int]],
    resolved: ResolvedClass,
    *,
    size: float = 8.0,
) -> None:
    """One table of ticks: of the edits that are `there`, by member and residue, those in `ticks`."""
    rows = {member: place for place, member in enumerate(grid.members)}
    kinds: dict[tuple[bool, bool], list[tuple[int, int]]] = {}
    for member, residue in there:
        unchanged, tick = int(resolved.index[member]) % 10 == residue, (member, residue) in ticks
        kinds.setdefault((unchanged, tick), []).append((residue, rows[member]))
    for (unchanged, tick), points in kinds.items():
        color = PALETTE["green"] if tick else PALETTE["grey"]
        how: dict[str, Any] = {"markersize": size if tick or unchanged else size / 4, "color": color}
        if unchanged:
            how |= {"markerfacecolor": color if tick else "none", "alpha": 0.45}
        ax.plot(*zip(*points), "o", **how)
    ax.set(
        yticks=range(len(rows)), yticklabels=[resolved.words[member] for member in rows], xticks=range(10),
        xlim=(-0.6, 9.6), ylim=(len(rows) - 0.4, -0.6),
    )  # fmt: skip  # one panel
    ax.tick_params(length=0, labelsize=figures.LEAST)
    ax.spines[:].set_visible(False)


def draw_all_tens(found: Found) -> Drawing:
    """Ticks of every table of this model."""
    grids, columns = found.edited.grids, 4
    fig, axes = plt.subplots(
        -(-len(grids) // columns),
        columns,
        figsize=(figures.WIDTH, 1.75 * -(-len(grids) // columns)),
        layout="constrained",
        squeeze=False,
    )
    for ax in axes.flat[len(grids) :]:
        ax.axis("off")
    for ax, grid in zip(axes.flat, grids):
        outcome = found.edited.outcomes[MEANS][grid.task][0]
        pairs = list(zip(outcome.edits.source.tolist(), outcome.edits.residue.tolist()))
        there = {pair for pair in pairs if pair[0] in grid.members}
        ticks = {pair for pair, tick in zip(pairs, outcome.success) if tick} & there
        _draw_grid(ax, grid, ticks, there, found.classes[grid.task], size=4.0)
        ax.set_title(grid.title, fontsize=figures.LEAST)
        ax.set(xticks=[], yticks=[])
    of_all = {way: [found.edited.of_grid(MEANS, grid, way) for grid in grids] for way in ("up", "down")}
    up, down = (f"{sum(t.right for t in ticks):.0f} of {sum(t.n for t in ticks)}" for ticks in of_all.values())
    told = "; ".join(
        f"{grid.title}: upward {found.edited.of_grid(MEANS, grid, 'up')}, downward {found.edited.of_grid(MEANS, grid, 'down')}"
        for grid in grids
    )
    return Drawing(
        fig,
        alt=f"Small tables of ticks. {told}.",
        caption=f"Every table: {up} upward and {down} downward edits succeed.",
        details=f"{told}. Drawn as above, residues 0 to 9 from left to right.",
    )


def draw_leads(found: Found) -> Drawing:
    """By how many logits the wanted answer leads the highest other member, cell by cell, in the best table and the paper's first."""
    titles = list(found.paper_grids[:1])
    best = max(found.edited.grids, key=lambda grid: np.nan_to_num(found.edited.of_grid(MEANS, grid, "up").share))
    grids = list(dict.fromkeys([best, *titles]))
    figs, axes = figures.panels(len(grids), height=3.2, columns=2)
    for ax, grid in zip(axes, grids):
        outcome = found.edited.outcomes[MEANS][grid.task][0]
        edits = outcome.edits
        rivals = outcome.logits.scatter(1, edits.answer[:, None], -torch.inf).amax(1)
        leads = outcome.logits.gather(1, edits.answer[:, None])[:, 0] - rivals
        frame = pd.DataFrame(np.nan, [found.classes[grid.task].words[m] for m in grid.members], range(10))
        for source, residue, lead in zip(edits.source.tolist(), edits.residue.tolist(), leads.tolist()):
            if source in grid.members:
                frame.loc[found.classes[grid.task].words[source], residue] = lead
        values = np.ma.masked_invalid(frame.to_numpy())
        limit = float(np.abs(values).max()) or 1.0
        image = ax.imshow(values, cmap=figures.SIGNED, vmin=-limit, vmax=limit, aspect="auto")
        ax.set(
            xticks=range(10),
            yticks=range(len(frame)),
            yticklabels=frame.index,
            title=grid.title,
            xlabel="residue given",
        )
        ax.tick_params(length=0, labelsize=figures.LEAST)
        ax.figure.colorbar(image, ax=ax, label="lead in logits").outline.set_visible(False)
    return Drawing(
        figs,
        alt=[f"Heat map of the wanted answer's lead by source and residue, {grid.title}." for grid in grids],
        caption="Leads of the wanted answer over the highest other member: blue where it wins.",
    )


def draw_ways(found: Found) -> Table:
    """Upward, diagonal and downward apart, by list."""
    e, rows = found.edited, []
    for task in e.known:
        known = e.known[task][found.classes[task].source]
        rows.append(
            (
                list_name(task),
                f"{int(known.sum())} of {len(known)}",
                str(e.by_list(MEANS, task, "up")),
                str(e.by_list(MEANS, task, "up", known=True)),
                str(e.by_list(MEANS, task, "down")),
            )
        )
    plus = plus_ten(found)
    too_high = (
        f" Numbers 20 to 29, downward: {plus} land one decade too high, which the paper saw in two of three."
        if plus
        else ""
    )
    return Table(
        pd.DataFrame(rows, columns=["list", "unedited", "upward", "upward, unedited right", "downward"]),
        caption=f"Class means, exact answers: with the unedited token answered rightly, {_share(e.macro(MEANS, 'up', known=True))} upward and {_share(e.macro(MEANS, 'down', known=True))} downward, as means over lists.",
        details="An edit is exact when the wanted answer alone has the highest logit of its list. “Unedited”: members whose successor the head names. λ by list: "
        + ", ".join(f"{list_name(task)} {scale:g}" for task, scale in e.scale[MEANS].items())
        + f". Random directions as long: {_share(e.macro(RANDOM, 'up', known=True))} upward and {_share(e.macro(RANDOM, 'down', known=True))} downward."
        + too_high,
    )


def plus_ten(found: Found) -> Ticks | None:
    """Downward edits of 20 to 29 whose answer is ten too high, of all of them; None where these are no tokens."""
    grid = next((grid for grid in found.edited.grids if grid.title == "20 to 29"), None)
    if grid is None:
        return None
    outcome, index = found.edited.outcomes[MEANS][grid.task][0], found.classes[grid.task].index
    chosen = found.edited.mask(grid, "down")
    too_high = (outcome.won >= 0) & (index[outcome.won] - index[outcome.edits.answer] == 10)
    return _ticks(too_high, outcome.edits, chosen)


def draw_scales(found: Found) -> Drawing:
    """What every λ gives: what the paper's rule looks at, and success."""
    figs, axes = figures.panels(2, height=2.7)
    mean = found.edited.trials.groupby(["source", "scale"])[["changed", "share"]].mean()
    colors = dict(zip([*SOURCES, *CONTROLS], ("orange", "orange", "green", "blue", "violet", "grey", "red")))
    for ax, column, label in zip(axes, ("changed", "share"), ("place changes, list stays", "exact success")):
        for source in (MEANS, SAE, TURN, RANDOM, SHUFFLED):
            ax.plot(mean.loc[source].index, mean.loc[source][column], color=PALETTE[colors[source]], label=source)
        ax.set(xlabel="λ", ylabel=f"{label}", ylim=(0, None), xlim=(0, 3))
    axes[1].legend(fontsize=8.5)
    chosen = found.edited.scale[MEANS].values()
    span = f"{min(chosen):g}" + ("" if min(chosen) == max(chosen) else f" to {max(chosen):g}")
    return Drawing(
        figs,
        alt=[
            "Share of edits that change the order within the list, against λ.",
            "Share of edits that succeed, against λ.",
        ],
        caption=f"The rule chooses λ = {span}, without looking at success.",
        details="Means over lists, of all edits that move; of the controls the first draw. The paper chose λ = 1, and 2 for months, from the same range.",
    )


def draw_sources(found: Found) -> Table:
    """Exact success and the right residue by source of the directions."""
    e = found.edited
    rows = [
        (
            source,
            *(e.macro(source, way, known=True) for way in ("up", "down")),
            e.macro(source, known=True, reading="right_residue"),
        )
        for source in (*e.sources, *CONTROLS)
    ]
    return Table(
        pd.DataFrame(rows, columns=["directions", "upward", "downward", "right residue"]),
        caption=about_sources(found).sentence,
        details=f"Of tokens that the head answers rightly, means over {len(e.known)} lists. SAE features: {found.modal_share:.2f} of the tokens of a residue share their most important feature in the few autoencoders that are trained for edits "
        f"(chapter 3 has the figure of many runs), where the paper has {reported.read()['sae']['modal_share']:.3f}. Each source at its own λ; controls are as long as the class means' pushes.",
    )


def draw_twin(found: Found) -> Table:
    """Controls on their own: an untrained twin beside the model."""
    rows = [(found.model, *_controls(found.edited))]
    if found.twin is not None:
        rows.append(("untrained twin", *_controls(found.twin)))
    return Table(
        pd.DataFrame(rows, columns=["", MEANS, RANDOM, SHUFFLED]),
        caption="Exact success of all edits that move, whatever the unedited token gives, means over lists.",
        details="The twin has the same shape and fresh random weights. Its best head, and directions from its own vectors, are treated alike.",
    )


def _controls(edited: Edited) -> list[float]:
    return [edited.macro(source) for source in (MEANS, *CONTROLS)]


def draw_ten(found: Found) -> Drawing | Markdown:
    """What a number's vector is made of, and how far larger edits get."""
    ten = found.ten
    if ten is None:
        return Markdown(about_ten(found).sentence)
    figs, (left, right) = figures.panels(2, height=2.9, columns=2)
    start = 0.0
    made_of = {"decade" if part == "ten" else part: size for part, size in ten.made_of.items()}
    for (part, size), color in zip(made_of.items(), ("blue", "orange", "grey")):
        left.bar([0], [size], bottom=[start], color=PALETTE[color], width=0.5)
        left.text(0.32, start + size / 2, f"{part} {size:.0%}", va="center")
        start += size
    left.set(xticks=[], xlim=(-0.4, 1.0), ylim=(0, 1), ylabel="variance of a number's vector")
    places = np.arange(len(ten.ladder))[::-1]
    for place, (exact, digit) in zip(places, ten.ladder.values()):
        right.plot([exact.low, exact.high], [place] * 2, color=PALETTE["green"], linewidth=1.4)
        right.plot(
            exact.share,
            place,
            "o",
            color=PALETTE["green"],
            markersize=7,
            label="right number" if place == places[0] else "_",
        )
        right.plot(
            digit.share,
            place,
            "D",
            color=PALETTE["orange"],
            markersize=6,
            label="right digit" if place == places[0] else "_",
        )
    short = {
        MOVED: "residue",
        HELD_UP: "and its decade",
        OTHER_TEN: "another decade",
        REBUILT: "rebuilt",
        OWN_VECTOR: "target's own",
    }
    right.set(
        yticks=places,
        yticklabels=[short[step] for step in ten.ladder],
        xlim=(-0.02, 1.02),
        ylim=(-0.6, len(places) - 0.4),
        xlabel="share of edits",
    )
    right.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncol=2)
    told = ". ".join(
        f"{step}: {exact.share:.2f} ({exact.low:.2f} to {exact.high:.2f}), right digit {digit.share:.2f}"
        for step, (exact, digit) in ten.ladder.items()
    )
    off, by_chance = ten.off_by_tens, found.edited.by_list(RANDOM, "numbers", reading="right_residue")
    return Drawing(
        figs,
        alt=[", ".join(f"{part} {size:.0%}" for part, size in made_of.items()) + " of the variance.", f"{told}."],
        caption=about_ten(found).sentence,
        details=f"{told}. All from numbers of even decades; how long decade and residue are was chosen on odd ones. With only the wanted answer's decade competing, {ten.within_ten} succeed. "
        f"Where the right digit wins, the decade is right in {np.mean(off == 0) if len(off) else float('nan'):.2f}, one too high in {np.mean(off == 1) if len(off) else float('nan'):.2f}, one too low in {np.mean(off == -1) if len(off) else float('nan'):.2f}. "
        f"With random directions as long the right digit wins in {by_chance.share:.2f} of all decades' edits, the right number in {found.edited.by_list(RANDOM, 'numbers').share:.2f}.",
    )


def draw_bias(found: Found) -> Table | Markdown:
    """Downward edits with the greater-than part taken out."""
    if found.bias.empty:
        return Markdown(about_down(found).sentence)
    return Table(
        found.bias,
        caption=about_down(found).sentence,
        details="“Bias” is in units of the successor's lead over its row. All are shares of downward edits that succeed exactly.",
    )


def draw_model(found: Found) -> Drawing | Markdown:
    """The four conditions in the running model, by list."""
    running, said = found.in_model, about_model(found).sentence
    if running is None:
        return Markdown(said)
    fig, ax = figures.panel(height=0.5 * len(running.tasks) + 1.2, width=figures.NARROW)
    places = np.arange(len(running.tasks))[::-1]
    marks = dict(zip(CONDITIONS, (("o", "orange"), ("x", "grey"), ("s", "blue"), ("^", "violet"))))
    for shift, (condition, (mark, color)) in zip((0.24, 0.08, -0.08, -0.24), marks.items()):
        ticks = [running.by_list(task, condition) for task in running.tasks]
        ax.hlines(places + shift, [t.low for t in ticks], [t.high for t in ticks], color=PALETTE[color], linewidth=1)
        ax.plot([t.share for t in ticks], places + shift, mark, color=PALETTE[color], markersize=6, label=condition)
    ax.set(
        yticks=places,
        yticklabels=[list_name(task) for task in running.tasks],
        xlim=(-0.02, 1.02),
        xlabel="edits that are followed",
    )
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncol=2)
    unedited = sum(t.right for t in running.unedited.values()), sum(t.n for t in running.unedited.values())
    totals = "; ".join(f"{condition} {running.total(condition)}" for condition in CONDITIONS)
    return Drawing(
        fig,
        alt=f"For each list the share of its edits that are followed in four conditions. All together: {totals}.",
        caption=said,
        details=f"All edits together: {totals}. Unedited, the model goes on rightly in {unedited[0]:.0f} of the {unedited[1]} lists. The edit stands in front of block {running.where}; behind the head, in front of block {found.best[0] + 1}. "
        "Lines: 95% intervals that allow for edits of one list being alike. λ by list: "
        + ", ".join(f"{list_name(task)} {scale:g}" for task, scale in running.scale.items())
        + ".",
    )


def draw_counting(
    found: Found, tasks: Sequence[str] = ("numbers", "number_words", "days", "months"), *, most: int = 2
) -> Runs | Markdown:
    """Lists that the steered model continued, one a line, evenly spread and not picked."""
    if found.counting is None:
        return Markdown(about_counting(found).sentence)
    rows = []
    for (task, way), runs in found.counting.runs.items():
        if task in tasks:
            words = found.classes[task].words
            kept = [runs[place] for place in np.unique(np.linspace(0, len(runs) - 1, most + 2).astype(int)[1:-1])]
            for run in kept:
                said = [(words[member], right) for member, right in zip(run.said, run.wanted)]
                rows.append((f"{list_name(task)}, {way}", [words[member] for member in run.given], said))
    return Runs(
        rows,
        caption=about_counting(found).sentence,
        details="Each answer is the next thing to be edited. A tick: the step is as wanted, counted from the answer before it.",
    )


# --- tables and the record --------------------------------------------------------------------------


NEWEST = "exact_known_class_means"  # a finding that every record of the present protocol has


def compared(findings: Findings) -> list[tuple[str, str, str]]:
    """What the paper reports of edits, row by row: what, as reported, and what a record's findings say to it.

    Its tables are counted as it counts them, by class means and by features of autoencoders, with which it edits.
    """
    rows = []
    for title, name in PAPER.items():
        key = title.replace(" ", "_").lower()
        by_means, by_sae = count_cell(findings, f"paper_{key}"), count_cell(findings, f"paper_sae_{key}").split()[0]
        own = by_means if by_means == NOT_ASKED else f"{by_means}; SAE {by_sae}"
        rows.append((title, reported_ticks(name), own))
    return [
        *rows,
        ("all edits, class means", "not reported", share_cell(findings, "exact_class_means", beside="exact_random_in_the_span", name="random")),
        ("all edits, SAE features", "not reported", share_cell(findings, "exact_sae_features", beside="exact_random_in_the_span", name="random")),
        ("in the running model", "not reported", share_cell(findings, "model_edited", beside="model_random_in_the_span", name="random")),
    ]  # fmt: skip  # one row a line


def reported_ticks(name: str) -> str:
    """The paper's count for a table, and how it was read from the paper's figure: "9 of 10, by eye"."""
    right, n, mark = reported.read()["arithmetic"]["tables"][name]
    return f"{right} of {n}{reported.SAID[mark]}"


def draw_compared(found: Found) -> Table:
    """The paper's count of ticks beside this model's, with features as in the paper and with class means."""
    rows = []
    for grid in found.paper_grids:
        rows.append(
            (
                grid.title,
                reported_ticks(PAPER[grid.title]),
                *(str(found.edited.of_grid(source, grid, "paper")) for source in (SAE, MEANS, RANDOM)),
            )
        )
    free = [found.edited.of_grid(MEANS, grid, "diagonal") for grid in found.paper_grids]
    saes, drawn = (
        sum(found.edited.of_grid(source, grid, "paper").right for grid in found.paper_grids) for source in (SAE, RANDOM)
    )
    return Table(
        pd.DataFrame(rows, columns=["table", "paper", SAE, MEANS, RANDOM]),
        caption=f"Edits whose residue is at least the source's, as the paper counts them: of the ticks of our class means {sum(t.right for t in free):.0f} lie on the diagonal, where nothing is changed; SAE features have {saes:.0f} ticks in all, random directions {drawn:.0f}.",
        details=reported.cell("arithmetic", "“paper”: as reported, counted in its figures, of Pythia-1.4B")
        + ". Its “zero” is in none of our lists, so that table has ten cells fewer. SAE features: width 512, λ of the loss 0.3, batches of 64, 100 epochs, averaged over our seeds where the paper averages over 100 runs; each column at its own λ of the edit. "
        "“random” is the mean of our draws.",
    )


def record(found: Found) -> dict[str, Any]:
    """The chapter's record: findings that the results page and the tests read, and its tables."""
    finding, e = records.finding, found.edited

    def ticks(each: Ticks):
        return finding(each.share, low=each.low, high=each.high, n=each.n)

    n_lists = len(e.known)
    findings = {"layer": finding(found.best[0]), "head": finding(found.best[1])}
    for source in (*e.sources, *CONTROLS):
        key = source.replace(" ", "_").lower()
        findings[f"exact_{key}"] = finding(e.macro(source), n=n_lists)
        findings[f"exact_known_{key}"] = finding(e.macro(source, known=True), n=n_lists)
        findings[f"digit_{key}"] = finding(e.macro(source, reading="right_residue"), n=n_lists)
    for task in e.known:
        for way in ("up", "down"):
            findings[f"{way}_{task}"] = ticks(e.by_list(MEANS, task, way))
            findings[f"{way}_known_{task}"] = ticks(e.by_list(MEANS, task, way, known=True))
        findings[f"exact_{task}"] = ticks(e.by_list(MEANS, task))
    for grid in found.paper_grids:
        key = grid.title.replace(" ", "_").lower()
        findings[f"paper_{key}"] = ticks(e.of_grid(MEANS, grid, "paper"))
        findings[f"paper_sae_{key}"] = ticks(e.of_grid(SAE, grid, "paper"))
    if found.twin is not None:
        findings["exact_untrained"] = finding(found.twin.macro(MEANS), n=len(found.twin.known))
    if found.ten is not None:
        findings |= {f"made_of_{part}": finding(size) for part, size in found.ten.made_of.items()}
        for key, step in {
            "moved": MOVED,
            "held_up": HELD_UP,
            "other_ten": OTHER_TEN,
            "rebuilt": REBUILT,
            "own_vector": OWN_VECTOR,
        }.items():
            findings[f"ten_{key}"], findings[f"ten_digit_{key}"] = map(ticks, found.ten.ladder[step])
        findings["right_ten_of_right_digit"] = finding(
            float(np.mean(found.ten.off_by_tens == 0)) if len(found.ten.off_by_tens) else float("nan"),
            n=len(found.ten.off_by_tens),
        )
    if found.in_model is not None:
        for condition in CONDITIONS:
            findings[f"model_{condition.replace(' ', '_')}"] = ticks(found.in_model.total(condition))
        without, held = found.in_model.carried
        findings |= {
            "model_carried": ticks(without),
            "model_carrier_held": ticks(held),
            "model_other_held": ticks(found.in_model.carrier_random),
        }
    if found.counting is not None:
        for way, key in {"by twos": "twos", "backwards": "back"}.items():
            findings[f"{key}_first"] = ticks(found.counting.total(way, MEANS))
            findings[f"{key}_first_shuffled"] = ticks(found.counting.total(way, SHUFFLED))
    grids = [
        (grid.title, source, way, *found.edited.of_grid(source, grid, way)[:2])
        for grid in e.grids for source in (*e.sources, *CONTROLS) for way in ("up", "diagonal", "down")
    ]  # fmt: skip  # one comprehension
    tables = {
        "ticks": pd.DataFrame(grids, columns=["table", "directions", "way", "right", "n"]),
        "scales": e.trials,
        "model": pd.DataFrame() if found.in_model is None else found.in_model.table(),
        "counting": pd.DataFrame() if found.counting is None else found.counting.first,
        "down": found.bias,
        "verdict": pd.DataFrame([{"question": question, "key": say(found).key} for question, say in ABOUT.items()]),
    }
    return records.chapter_record(found.model, CHAPTER, findings=findings, tables=tables)
