"""Chapter 2: what map is in the head?

::

    found = map_of_head.measure(model, parts, ordinals.resolve(model.tokenizer), name="grown/pythia", seed=0)
    map_of_head.verdict(found).key      # "succession": of three patterns it is the one that the map holds most of

The matrix of the best head between all ordinals, and what can be read off it: the patterns in it, whether larger
members are preferred, what it does across lists, how few dimensions it needs. Then what depends on our choices: what
stands in front of the head, the convention of scoring, and what is called a successor head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from jaxtyping import Float
from nnsight import TransformersModel
from scipy.optimize import isotonic_regression
from torch import Tensor

from successor_heads import (
    anatomy,
    attention,
    figures,
    intervals,
    lens,
    maps,
    models,
    ndif,
    ordinals,
    ov_circuit,
    prompts,
    records,
    reported,
    scores,
    texts,
)
from successor_heads.anatomy import Anatomy
from successor_heads.figures import PALETTE, Drawing, Table
from successor_heads.live import Living
from successor_heads.maps import PATTERNS, Spectrum
from successor_heads.ordinals import ResolvedClass
from successor_heads.planted import words
from successor_heads.planted.plant import Plan, Planted, plant
from successor_heads.scores import HeadScores
from successor_heads.studies import OfBestHead, Place, Verdict, list_name
from successor_heads.studies.cells import Findings, share_cell

CHAPTER = "02-ov-circuit"
SOURCES: dict[str, ov_circuit.Source] = {
    "W_E": "embedding",
    "MLP0(W_E)": "mlp0",
    "sum": "residual",
    "MLP0 after attention 0": "mlp0 after attention",
    "block 0": "block 0",
}
# Matrices of planted heads by role, and the lists of their tokenizer.
Plants = tuple[dict[str, Float[Tensor, "known known"]], dict[str, ResolvedClass]]
# Of the tuned lens: tokens of a context, and of those in front of an ordinal; tokens that stand for a large vocabulary.
CONTEXT, IN_FRONT, MOST_CANDIDATES = 96, 15, 2048
LEAST_COSINE = 0.5  # below which vectors are not called near
LOUDER = 100  # times: a plant's attention 0 is random, and would hardly be heard


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the best head of several models makes of five inputs, and how near MLP0(W_E) is to what MLP0 writes in text.

    `scores` has a row for each model, the studied one first and two plants last. `cosines` has for each the cosine with
    the token's own MLP0(W_E), and with that of another member; None where no ordinal has a leading space.
    """

    scores: pd.DataFrame
    cosines: dict[str, tuple[Float[np.ndarray, " text"], Float[np.ndarray, " text"]] | None]


@dataclass(frozen=True, eq=False)
class Past:
    """What reaches the end past the head: a tuned lens behind block 0, asked for successors as the head is.

    `by_list` has for each list the number of `pairs` and, as shares of them, how often the stream as it stands, the lens
    and the head name the successor within the list, and lens, head and model among all `n_candidates`; `guess` is what a
    guess within the list would. `agreement` is how often on held-out text its highest candidate is the model's, and how
    often that of the stream as it stands is. `says` has words, with what the lens and the head say of them.
    """

    by_list: pd.DataFrame
    n_candidates: int
    agreement: tuple[float, float]
    says: list[tuple[str, str, str]]
    macro: tuple[float, float, float]

    def mean(self, column: str) -> float:
        """Mean over lists of a share."""
        return float(self.by_list[column].mean())


@dataclass(frozen=True, eq=False)
class Split:
    """Unique shares of the patterns: of the head by list with their nulls, and the means of other heads and of plants."""

    by_list: pd.DataFrame
    compared: pd.DataFrame

    @property
    def lists(self) -> list[str]:
        """The lists with enough members."""
        return list(dict.fromkeys(self.by_list["class"]))

    @property
    def beyond_chance(self) -> dict[str, int | float]:
        """In how many lists each pattern has p < 0.05; NaN where no list is large enough."""
        if not self.lists:
            return dict.fromkeys(PATTERNS, float("nan"))
        shown = self.by_list[self.by_list["p"] < 0.05]
        return {pattern: int((shown["pattern"] == pattern).sum()) for pattern in PATTERNS}

    @property
    def means(self) -> pd.Series:
        """Mean unique share of each pattern in the head."""
        return self.compared.iloc[0]

    @property
    def plants_right(self) -> int:
        """Of the planted head that counts and the one that copies, how many the split names."""
        expected = {"planted: successor": "succession", "planted: copier": "copying"}
        return sum(self.compared.loc[row].idxmax() == pattern for row, pattern in expected.items())


@dataclass(frozen=True, eq=False)
class Larger:
    """How often larger members win: on the matrix as it is, and with what each candidate gets on average taken out.

    Each of `wins` and `dependent` is a mean over lists with its interval; `null` and `dependent_null` are what permuted
    orders give, 95%. `plants` has both measures for the head made to prefer what is larger, and for the one that counts.
    """

    by_list: pd.DataFrame
    wins: tuple[float, float, float]
    dependent: tuple[float, float, float]
    null: tuple[float, float]
    dependent_null: tuple[float, float]
    plants: dict[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Across:
    """Read index i in one list: how often i + 1 wins in each other list; with what is read permuted in `null`."""

    tasks: list[str]
    right: Float[np.ndarray, "read answered"]
    asked: Float[np.ndarray, "read answered"]
    null: Float[np.ndarray, " deal"]

    @property
    def shares(self) -> pd.DataFrame:
        """Share that wins, read by answered; NaN where nothing could be asked."""
        spaced = [list_name(task) for task in self.tasks]
        return pd.DataFrame(np.where(self.asked > 0, self.right / np.maximum(self.asked, 1), np.nan), spaced, spaced)

    @property
    def pairs(self) -> int:
        """Pairs of different lists that could be asked."""
        return int((self.asked > 0).sum() - (np.diag(self.asked) > 0).sum())

    @property
    def mean(self) -> float:
        """Mean share off the diagonal; NaN with one list."""
        values = self.shares.to_numpy()[~np.eye(len(self.tasks), dtype=bool)]
        return float(np.nanmean(values)) if self.pairs else float("nan")

    @property
    def null_range(self) -> tuple[float, float]:
        """Where the mean lies in 95% of the deals."""
        if not len(self.null):
            return float("nan"), float("nan")
        return intervals.middle(self.null)


@dataclass(frozen=True, eq=False)
class Looks:
    """Where heads look: attention to the predecessor in runs, less shuffled; preference for ordinals in sentences.

    `runs` has a row for each run of a list; empty where none can be written or NDIF keeps no patterns. `preference` is
    how many times the attention of an even spread falls on ordinals; None likewise.
    """

    runs: Float[np.ndarray, "run layer head"]
    runs_interval: tuple[float, float]
    preference: Float[np.ndarray, "layer head"] | None
    preference_interval: tuple[float, float]
    preference_null: tuple[float, float]
    n_sentences: int
    resting: float

    @property
    def second(self) -> Float[np.ndarray, "layer head"] | None:
        """Mean over runs, the second definition of a successor head."""
        return self.runs.mean(0) if len(self.runs) else None


@dataclass(frozen=True, eq=False)
class Found(OfBestHead):
    """Everything that chapter 2 shows of a model. `matrix` is the best head's, between all ordinals, list after list."""

    model: str
    d_head: int
    is_parallel: bool
    classes: Mapping[str, ResolvedClass]
    scores: HeadScores
    interval: tuple[float, float]
    untrained: list[float]
    matrix: Float[Tensor, "read promoted"]
    middle: Place
    lead: float
    middle_lead: float
    joint: HeadScores
    joint_interval: tuple[float, float]
    inputs: Inputs
    past: Past | None
    split: Split
    larger: Larger | None
    across: Across
    spectrum: Spectrum
    conventions: pd.DataFrame
    copier: tuple[Place, float]
    looks: Looks

    @property
    def is_shown(self) -> bool:
        """Whether its interval stands clear of untrained twins; without these, of one half."""
        return self.interval[0] > max(self.untrained, default=0.5)

    @property
    def block(self) -> dict[str, slice]:
        """Where each list stands in the matrix."""
        return maps.blocks(self.classes)

    def of(self, task: str) -> Float[Tensor, "read promoted"]:
        """The matrix within one list."""
        return self.matrix[self.block[task], self.block[task]]

    @property
    def largest(self) -> list[str]:
        """The three largest lists, the largest first."""
        return sorted(self.classes, key=lambda task: -len(self.classes[task].words))[:3]

    @property
    def rank(self) -> int:
        """The rank of the matrix: rounding leaves dust in directions that the head does not have."""
        return int(torch.linalg.matrix_rank(self.matrix, rtol=1e-5))

    @property
    def stays(self) -> int:
        """Rows whose highest cell of all lists lies in the token's own."""
        winner = self.matrix.argmax(1)
        return sum(int(((winner[own] >= own.start) & (winner[own] < own.stop)).sum()) for own in self.block.values())

    @property
    def without_mlp0(self) -> float:
        """The head's macro on the bare embedding."""
        return float(self.inputs.scores["W_E"].iloc[0])

    @property
    def real_conventions(self) -> pd.DataFrame:
        """Conventions of scoring; "embedding alone" is a control."""
        return self.conventions[self.conventions["convention"] != "embedding alone"]

    @property
    def agree(self) -> int:
        """How many conventions choose this head."""
        return int((self.real_conventions["best head"] == self.name).sum())

    @property
    def needed(self) -> tuple[int, float, Float[np.ndarray, " draw"]]:
        """The fewest directions tried that reach nine tenths of the score; their score; that of as many random ones."""
        spectrum = self.spectrum
        place = next(k for k, value in enumerate(spectrum.first) if value >= 0.9 * spectrum.first[-1])
        return spectrum.ranks[place], spectrum.first[place], spectrum.random[:, place]

    @property
    def wrap(self) -> pd.DataFrame:
        """What the last member of each list promotes most within the list, for lists that go round and for others."""
        rows = []
        for task, resolved in self.classes.items():
            if ordinals.CLASSES[task].words[-1] != resolved.words[-1]:
                continue  # the tokenizer splits the last member
            answer = resolved.words[int(self.of(task)[-1].argmax())]
            goes_round = "round" if ordinals.CLASSES[task].cyclic else "ends"
            rows.append((list_name(task), goes_round, resolved.words[-1], answer, answer == resolved.words[0]))
        return pd.DataFrame(rows, columns=["list", "it", "read", "promoted most", "first"])


# --- what is measured -------------------------------------------------------------------------------


def measure(
    model: TransformersModel,
    parts: Anatomy,
    classes: Mapping[str, ResolvedClass],
    *,
    name: str,
    seed: int,
    n_twins: int = 3,
) -> Found:
    """The map of the best head and what can be read off it, with controls. Lists without a pair are left out.

    Untrained twins and the tuned lens need the model's memory and are left out for a model on NDIF.
    """
    classes = {task: resolved for task, resolved in classes.items() if len(resolved.source)}
    result, joint = scores.score_heads(parts, classes), scores.score_heads(parts, classes, joint=True)
    best = result.best
    matrix = _matrix(parts, classes, best)
    row = result.ranking[len(result.ranking) // 2]
    middle = (int(row["layer"]), int(row["head"]))
    middle_matrix = _matrix(parts, classes, middle)
    itself = {
        task: replace(c, source=torch.arange(len(c.words)), target=torch.arange(len(c.words)))
        for task, c in classes.items()
    }
    copies = scores.score_heads(parts, itself).macro
    copier: Place = divmod(int(copies.argmax()), parts.n_heads)
    word_tokenizer = words.word_tokenizer()
    plants = {family: plant(Plan(family, seed=seed), word_tokenizer) for family in ("gpt2", "gpt_neox")}
    planted = _planted_matrices(plants["gpt_neox"])
    others = {
        f"{anatomy.name_of(copier)}, best copying score": copier,
        f"{anatomy.name_of(middle)}, median successor score": middle,
    }
    twins = (models.untrained_twin(model, seed=twin) for twin in range(0 if model.remote else n_twins))
    return Found(
        model=name,
        d_head=parts.d_head,
        is_parallel=parts.is_parallel,
        classes=classes,
        scores=result,
        interval=scores.macro_interval(result, *best, seed=seed),
        untrained=[float(scores.score_heads(ndif.anatomy_of(twin), classes).macro.max()) for twin in twins],
        matrix=matrix,
        middle=middle,
        lead=_mean_lead(matrix, classes),
        middle_lead=_mean_lead(middle_matrix, classes),
        joint=joint,
        joint_interval=scores.macro_interval(joint, *best, seed=seed),
        inputs=read_inputs(model, name, plants, seed=seed),
        past=None if model.remote else ask_past(model, parts, classes, best, seed=seed),
        split=split_patterns(
            {f"{anatomy.name_of(best)}, best successor score": matrix}
            | {why: _matrix(parts, classes, place) for why, place in others.items() if place != best},
            classes,
            planted,
            seed=seed,
        ),
        larger=prefer_larger(matrix, classes, planted, seed=seed),
        across=ask_across(matrix, classes, seed=seed),
        spectrum=maps.spectrum(matrix, classes),
        conventions=try_conventions(parts, classes, best, seed=seed),
        copier=(copier, float(copies.max())),
        looks=look(model, classes, best, seed=seed),
    )


def _matrix(parts: Anatomy, classes: Mapping[str, ResolvedClass], place: Place) -> Float[Tensor, "read promoted"]:
    token_ids = torch.cat([resolved.token_ids for resolved in classes.values()])
    return parts.compute(ov_circuit.head_matrix, token_ids, layer=place[0], head=place[1]).cpu().double()


def _mean_lead(matrix: Float[Tensor, "read promoted"], classes: Mapping[str, ResolvedClass]) -> float:
    """By how many standard deviations the successor's cell leads its row, a mean over pairs and then lists."""
    return float(
        np.mean(
            [maps.lead(matrix[own, own], classes[task]).mean().item() for task, own in maps.blocks(classes).items()]
        )
    )


def _planted_matrices(planted: Planted) -> Plants:
    """The matrices of a plant's head that counts, its copier, and the one that prefers what is larger; and its lists."""
    parts, classes = anatomy.of(planted.module), ordinals.resolve(planted.tokenizer)
    roles = ("successor", "copier", "greater_than")
    return {role: _matrix(parts, classes, planted.place(role)) for role in roles}, classes


def read_inputs(model: TransformersModel, name: str, plants: Mapping[str, Planted], *, seed: int) -> Inputs:
    """Scores on five inputs, and cosines in text: of the model, of the models grown for this book, and of two plants."""
    subjects = {name: model}
    # On the CPU, which is enough for them: a GPU that was not asked for is left alone.
    subjects |= {other: models.load(other, device="cpu") for other in models.grown_models() if other != name}
    for family, planted in plants.items():
        anatomy.of(planted.module).output_projection(0).weight.data *= LOUDER
        subjects[f"planted {family}"] = planted.open()
    rows = [{"model": label} | _by_source(subject) for label, subject in subjects.items()]
    return Inputs(
        scores=pd.DataFrame(rows), cosines={label: _cosines(subject, seed) for label, subject in subjects.items()}
    )


def _by_source(subject: TransformersModel) -> dict[str, Any]:
    """The macro of a model's best head on each of SOURCES."""
    parts, classes = ndif.anatomy_of(subject), ordinals.resolve(subject.tokenizer)
    best = scores.score_heads(parts, classes).best
    row: dict[str, Any] = {"head": anatomy.name_of(best), "attention 0": "beside" if parts.is_parallel else "before"}
    return row | {
        label: scores.score_heads(parts, classes, source=source).macro[best].item() for label, source in SOURCES.items()
    }


def _cosines(subject: TransformersModel, seed: int):
    """Cosine of what MLP0 writes in short texts with MLP0(W_E) of the token, and of another member of its list."""
    parts, rng, rows = ndif.anatomy_of(subject), np.random.default_rng(seed), []
    for c in ordinals.resolve(subject.tokenizer).values():
        if not (c.prefix and len(c.words) > 2):
            continue
        for place in rng.permutation(len(c.words))[:8]:
            before, other = rng.choice([p for p in range(len(c.words)) if p != place], 2)
            rows.append((f" {c.words[before]}, {c.words[place]}", c.token_ids[place], c.token_ids[other]))
    if not rows:
        return None
    texts, own, others = zip(*rows)
    real = prompts.mlp0_outputs(subject, texts)
    bare = [parts.compute(ov_circuit.head_input, torch.stack(tokens)).cpu() for tokens in (own, others)]
    return tuple(torch.cosine_similarity(real, x).numpy() for x in bare)


def ask_past(
    model: TransformersModel,
    parts: Anatomy,
    classes: Mapping[str, ResolvedClass],
    best: Place,
    *,
    seed: int,
) -> Past:
    """Fit a tuned lens behind block 0 on text, and ask it for the successor of every ordinal, each behind a piece of text.

    Where the vocabulary is large, the ordinals and others up to `MOST_CANDIDATES` tokens stand for it.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    n, text = prompts.affordable(model, 96, tokens=4 * CONTEXT), texts.read("documentation", seed=seed)
    contexts = texts.cut(model.tokenizer, text, n=n, length=CONTEXT, seed=seed).tokens
    listed = torch.cat([c.token_ids for c in classes.values()])
    others = torch.randperm(parts.d_vocab, generator=generator)[: max(0, MOST_CANDIDATES - len(listed))]
    candidates = torch.cat([listed, others]).unique()

    # The first position sees only itself, and in real models it is a place where heads rest: unlike all others.
    stream, final = (of[:, 1:] for of in lens.streams(model, contexts, layer=0))
    n_held = len(contexts) // 8
    held_out, final_held_out = stream[:n_held].flatten(0, 1), final[:n_held].flatten(0, 1)
    tuned = lens.fit(parts, stream[n_held:].flatten(0, 1), final[n_held:].flatten(0, 1), candidates, seed=seed)
    model_says = parts.logits(final_held_out, candidates).argmax(-1)

    def agreement(of: Callable[[Tensor, Tensor], Tensor]) -> float:
        return (of(held_out, candidates).argmax(-1) == model_says).double().mean().item()

    rows, says = [], []
    for task, c in classes.items():
        fronts = contexts[rng.integers(n_held, size=len(c.source)), :IN_FRONT]
        behind, at_end = lens.streams(model, torch.cat([fronts, c.token_ids[c.source][:, None]], 1), layer=0)
        x = ov_circuit.head_input(parts, c.token_ids[c.source])
        of_head = ov_circuit.effective_ov_logits(parts, x, candidates, layer=best[0])[best[1]].cpu()
        logits = {
            "as it stands": parts.logits(behind[:, -1], candidates).cpu(),
            "lens": tuned.logits(behind[:, -1], candidates).cpu(),
            "head": of_head,
            "model": parts.logits(at_end[:, -1], candidates).cpu(),
        }
        members = torch.searchsorted(candidates, c.token_ids)
        top = {who: of.argmax(-1) for who, of in logits.items()}
        row = {"list": list_name(task), "pairs": len(c.source), "guess": 1 / len(c.words)}
        for who in ("as it stands", "lens", "head"):
            row[who] = (logits[who][:, members].argmax(-1) == c.target).double().mean().item()
        for who in ("lens", "head", "model"):
            row[f"{who}, all words"] = (top[who] == members[c.target]).double().mean().item()
        rows.append(row)
        named = [model.tokenizer.decode(candidates[top[who][:1]]).strip() for who in ("lens", "head")]
        says.append((c.words[int(c.source[0])], *named))
    by_list = pd.DataFrame(rows)
    low, high = intervals.mean_of_shares(by_list["lens"] * by_list["pairs"], by_list["pairs"], seed=seed)
    return Past(
        by_list=by_list,
        n_candidates=len(candidates),
        agreement=(agreement(tuned.logits), agreement(parts.logits)),
        says=says,
        macro=(float(by_list["lens"].mean()), low, high),
    )


def split_patterns(
    matrices: Mapping[str, Float[Tensor, "read promoted"]],
    classes: Mapping[str, ResolvedClass],
    plants: Plants,
    *,
    seed: int,
) -> Split:
    """Unique shares of the first matrix, list by list, with their nulls; and mean shares of all, plants included."""
    matrix, rows = next(iter(matrices.values())), []
    for task, own in maps.blocks(classes).items():
        if len(classes[task].words) < maps.LEAST_MEMBERS:
            continue
        m = matrix[own, own]
        weight, unique = maps.components(m, classes[task])
        null = maps.null_components(m, classes[task], seed=seed)
        p = (1 + (null >= unique).sum(0)) / (1 + len(null))
        for k, pattern in enumerate(PATTERNS):
            numbers = (weight[k].item(), unique[k].item(), null[:, k].quantile(0.95).item(), p[k].item())
            rows.append((list_name(task), pattern, *numbers))
    columns = ["class", "pattern", "weight", "unique share", "null, 95th percentile", "p"]
    compared = {label: maps.mean_unique_shares(m, classes) for label, m in matrices.items()}
    compared |= {
        f"planted: {role.replace('_', ' ')}": maps.mean_unique_shares(m, plants[1]) for role, m in plants[0].items()
    }
    return Split(
        by_list=pd.DataFrame(rows, columns=columns), compared=pd.DataFrame(compared, index=pd.Index(PATTERNS)).T
    )


def prefer_larger(
    matrix: Float[Tensor, "read promoted"],
    classes: Mapping[str, ResolvedClass],
    plants: Plants,
    *,
    seed: int,
    n_permutations: int = 100,
) -> Larger | None:
    """Whether larger members win; None where no list has five tokens with members on both sides."""
    raw, dependent, nulls, dependent_nulls, rows = [], [], [], [], []
    for task, own in maps.blocks(classes).items():
        c, m = classes[task], matrix[own, own]
        wins = maps.larger_wins(m, c)
        if len(wins) < maps.LEAST_MEMBERS:
            continue
        raw.append(wins)
        dependent.append(maps.larger_wins(maps.both_centred(m), c))
        generator = torch.Generator().manual_seed(seed)
        deals = [torch.randperm(len(m), generator=generator) for _ in range(n_permutations)]
        permuted = [m[deal][:, deal] for deal in deals]
        nulls.append([maps.larger_wins(each, c).mean() for each in permuted])
        dependent_nulls.append([maps.larger_wins(maps.both_centred(each), c).mean() for each in permuted])
        interval, null = _mean_over_lists([wins], seed), intervals.middle(nulls[-1])
        rows.append((list_name(task), *interval, *null, dependent[-1].mean(), len(wins)))
    if not rows:
        return None
    columns = ["class", "larger wins", "low", "high", "null low", "null high", "candidates' means out", "tokens"]
    return Larger(
        by_list=pd.DataFrame(rows, columns=columns),
        wins=_mean_over_lists(raw, seed),
        dependent=_mean_over_lists(dependent, seed),
        null=intervals.middle(np.mean(nulls, axis=0)),
        dependent_null=intervals.middle(np.mean(dependent_nulls, axis=0)),
        plants={role: _mean_larger(plants[0][role], plants[1]) for role in ("greater_than", "successor")},
    )


def _mean_larger(matrix: Float[Tensor, "read promoted"], classes: Mapping[str, ResolvedClass]) -> tuple[float, float]:
    """How often larger members win, a mean over lists: as it is, and with the candidates' means out."""
    within = [(matrix[own, own], classes[task]) for task, own in maps.blocks(classes).items()]
    raw = [maps.larger_wins(m, c).mean() for m, c in within]
    return float(np.mean(raw)), float(np.mean([maps.larger_wins(maps.both_centred(m), c).mean() for m, c in within]))


def _mean_over_lists(
    by_list: Sequence[np.ndarray], seed: int, *, n_resamples: int = 1000
) -> tuple[float, float, float]:
    """Mean over lists of the mean over tokens, and its bootstrap interval; the tokens of each list are resampled."""
    rng = np.random.default_rng(seed)
    draws = [rng.choice(values, (n_resamples, len(values))).mean(1) for values in by_list]
    return float(np.mean([values.mean() for values in by_list])), *intervals.middle(np.mean(draws, axis=0))


def ask_across(
    matrix: Float[Tensor, "read promoted"], classes: Mapping[str, ResolvedClass], *, seed: int, n_deals: int = 200
) -> Across:
    """Whether the next index wins in another list than the one that is read, and how often it does by chance."""
    tasks, own = list(classes), maps.blocks(classes)
    counts = {(a, b): maps.next_index_wins(matrix, classes, read=a, answered=b) for a in tasks for b in tasks}
    pairs = [(a, b) for (a, b), (_, asked) in counts.items() if a != b and asked]
    asks = {(a, b): maps.next_index(classes, read=a, answered=b) for a, b in pairs}
    # Whatever row is read in a member's place, its winner within a list stays the same.
    winners = {b: scores.strict_argmax(matrix[:, own[b]]).numpy() for b in tasks}
    rng, null = np.random.default_rng(seed), []
    for _ in range(n_deals if pairs else 0):
        deal = np.concatenate([rng.permutation(range(rows.start, rows.stop)) for rows in own.values()])
        permuted = [(winners[b][deal[own[a]][rows]] == columns).mean() for (a, b), (rows, columns) in asks.items()]
        null.append(np.mean(permuted))
    right, asked = (np.array([[counts[a, b][k] for b in tasks] for a in tasks], dtype=float) for k in (0, 1))
    return Across(tasks, right, asked, np.array(null))


def try_conventions(parts: Anatomy, classes: dict[str, ResolvedClass], best: Place, *, seed: int) -> pd.DataFrame:
    """The head under each convention of scoring: its macro, its rank, and which head is best."""
    rows = []
    for convention, options in scores.CONVENTIONS.items():
        scored = scores.score_heads(parts, classes, **options)
        macro, (low, high) = scored.macro[best], scores.macro_interval(scored, *best, seed=seed)
        rows.append(
            {
                "convention": convention, anatomy.name_of(best): macro.item(), "low": low, "high": high,
                "micro": scored.micro[best].item(), "rank": 1 + int((scored.macro > macro).sum()),
                "best head": anatomy.name_of(scored.best), "its macro": scored.macro[scored.best].item(),
            }
        )  # fmt: skip  # one row of the table
    return pd.DataFrame(rows)


# --- where heads look -------------------------------------------------------------------------------


def look(model: TransformersModel, classes: Mapping[str, ResolvedClass], best: Place, *, seed: int) -> Looks:
    """Attention to the predecessor and to ordinals; nothing for a model on NDIF, which keeps no patterns."""
    unknown = (float("nan"), float("nan"))
    runs = np.zeros((0, 0, 0)) if model.remote is True else attention.to_predecessor(model, classes, seed=seed)
    sentences = [] if model.remote is True else attention.read_sentences(model, classes)
    looks = Looks(runs, unknown, None, unknown, unknown, 0, float("nan"))
    if len(runs):
        _, low, high = intervals.mean_interval(runs[:, *best], seed=seed, n_resamples=1000)
        looks = replace(looks, runs_interval=(low, high))
    if not sentences:
        return looks
    generator = torch.Generator().manual_seed(seed)
    anew = (
        [(attention.permuted_labels(labels, generator), patterns) for labels, patterns in sentences] for _ in range(100)
    )
    null = [attention.preference(permuted)[best].item() for permuted in anew]
    pieces = np.array([[part[best].item() for part in attention.on_ordinals(*sentence)] for sentence in sentences])
    draws = np.random.default_rng(seed).integers(len(pieces), size=(1000, len(pieces)))
    sums = pieces[draws].sum(1)
    resting = [patterns[best][2:, 0].mean().item() for _, patterns in sentences]
    return replace(
        looks,
        preference=attention.preference(sentences).numpy(),
        preference_interval=intervals.middle(sums[:, 0] / sums[:, 1]),
        preference_null=intervals.middle(null),
        n_sentences=len(sentences),
        resting=float(np.mean(resting)),
    )


# --- what it comes to -------------------------------------------------------------------------------


def verdict(found: Found) -> Verdict:
    """What map the best head holds.

    "not_shown": no head stands clear of untrained networks. "too_small": no list is large enough to tell patterns apart.
    Else "succession", if of the three patterns it has the largest unique share and is beyond chance in more than half of
    the lists, or "mixed".
    """
    low, high = found.interval
    scored = f"macro {found.macro:.2f}, {low:.2f} to {high:.2f}"
    against = f"untrained networks {max(found.untrained):.2f}" if found.untrained else "no untrained network on NDIF"
    if not found.is_shown:
        return Verdict(
            "not_shown",
            f"**No map of succession is shown.** The best head, {found.name}, does not stand clear of an untrained network "
            f"({scored}; {against}). All that follows can be computed on it, and shows what a head looks like that does not count.",
        )
    needed, score, at_random = found.needed
    narrow = f"{needed} of its {len(found.spectrum.singular)} directions keep the macro at {score:.2f}, {needed} random ones at {at_random.mean():.2f}."
    if found.split.lists:
        beyond, means = found.split.beyond_chance, found.split.means
        shares = ", ".join(f"{pattern} {means[pattern]:.2f}" for pattern in PATTERNS)
        split = (
            f"Shares of its variance that one pattern alone explains: {shares}; succession is beyond chance in "
            f"{beyond['succession']} of {len(found.split.lists)} lists."
        )
    still_open = (
        "what the rest of the map is for."
        if about_looks(found).key == "ordinals"
        else "that the head looks at ordinals in ordinary sentences, or what the rest of the map is for."
    )
    last = f"{narrow} Not shown: {still_open}"
    if not found.split.lists:
        return Verdict(
            "too_small",
            f"**{found.name} holds a map of succession** ({scored}; {against}). No list is large enough to take it apart. {last}",
        )
    if means.idxmax() == "succession" and 2 * beyond["succession"] > len(found.split.lists):
        return Verdict(
            "succession", f"**{found.name} holds a map of succession** ({scored}; {against}). {split} {last}"
        )
    return Verdict(
        "mixed",
        f"**{found.name} counts, but succession is not what its map holds most of** ({scored}; {against}). {split} {last}",
    )


def about_inputs(found: Found) -> Verdict:
    """Whether the head needs MLP0: "no_head", "needed", or "not_needed"."""
    both = f"macro {found.macro:.2f} on MLP0's output and {found.without_mlp0:.2f} on the bare embedding"
    if not found.is_shown:
        return Verdict("no_head", f"{found.name}, which does not count, has {both}.")
    if found.without_mlp0 < found.interval[0]:
        return Verdict("needed", f"{found.name} reads what MLP0 wrote: {both}.")
    return Verdict("not_needed", f"{found.name} does not need MLP0, which is not what the paper describes: {both}.")


def about_past(found: Found) -> Verdict:
    """Whether the successor reaches the end past the head: "not_asked", "no_head", "head_alone", or "past_it"."""
    past = found.past
    if past is None:
        return Verdict("not_asked", "What reaches the end past the head is not measured for a model on NDIF.")
    share, low, high = past.macro
    told = f"a tuned lens behind block 0 names the successor within its list on {share:.2f} ({low:.2f} to {high:.2f}) of the tokens, {found.name} on {found.macro:.2f}; among all words the lens does on {past.mean('lens, all words'):.3f}"
    if not found.is_shown:
        return Verdict("no_head", f"Here no head is shown to count that could be passed: {told}.")
    if high < found.interval[0]:
        return Verdict("head_alone", f"What stands behind MLP0 does not say the successor by itself: {told}.")
    return Verdict(
        "past_it",
        f"Within a list what stands behind MLP0 says successors too, and is not shown to say fewer than the head: {told}.",
    )


def about_lists(found: Found) -> Verdict:
    """Whether lists share something in the map: "one_list", "shared", or "not_shown"."""
    across = found.across
    if not across.pairs:
        return Verdict("one_list", "With one list only, nothing can be asked across lists.")
    low, high = across.null_range
    told = (
        f"the next index wins in another list on {across.mean:.2f} of the tokens, by chance on {low:.2f} to {high:.2f}"
    )
    if across.mean > high:
        return Verdict("shared", f"What is read is in part a place that lists share: {told}.")
    return Verdict("not_shown", f"Nothing shared between lists is shown: {told}.")


def about_larger(found: Found) -> Verdict:
    """Whether larger members win: "too_few", "depends" on what is read, "whatever_read", or "not_shown"."""
    larger = found.larger
    if larger is None:
        return Verdict("too_few", "No list is large enough to compare larger and smaller members.")
    wins, low, _ = larger.wins
    dependent, dependent_low, _ = larger.dependent
    told = f"{wins:.2f} of the draws, and {dependent:.2f} with the candidates' means out"
    if not (low > 0.5 and wins > larger.null[1]):
        return Verdict("not_shown", f"A greater-than bias of {found.name} is not shown: the larger member wins {told}.")
    # A planted head that prefers late members whatever it reads keeps a little with the means out: that much shows nothing.
    kept = larger.plants["greater_than"][1]
    if dependent_low > max(0.5, kept) and dependent > larger.dependent_null[1]:
        return Verdict("depends", f"{found.name} prefers larger members, in part by what it reads: they win {told}.")
    return Verdict(
        "whatever_read",
        f"{found.name} promotes late members, but not shown to depend on what it reads: they win {told}; "
        f"a plant that promotes them whatever it reads keeps {kept:.2f}.",
    )


def about_dimensions(found: Found) -> Verdict:
    """Whether counting sits in the first directions: "no_head", "first", or "any"."""
    needed, score, at_random = found.needed
    told = f"the first {needed} reach {score:.2f}, as many random ones {at_random.mean():.2f}"
    if not found.is_shown:
        return Verdict("no_head", f"{found.name} does not count, so nine tenths of its score mean little: {told}.")
    if at_random.max() < score:
        return Verdict("first", f"Counting sits in the directions in which {found.name} does most: {told}.")
    return Verdict("any", f"Counting does not sit in the first directions of {found.name}: {told}.")


def about_looks(found: Found) -> Verdict:
    """Whether the head looks at ordinals in sentences: "not_measured", "ordinals", "elsewhere", or "not_shown"."""
    looks = found.looks
    if looks.preference is None:
        return Verdict(
            "not_measured",
            "Where the head looks in sentences is not measured: NDIF keeps no patterns, or no ordinal is one token.",
        )
    value, (low, high) = looks.preference[found.best], looks.preference_interval
    told = f"{value:.2f} times the attention of an even spread ({low:.2f} to {high:.2f})"
    if low > 1.05 and value > looks.preference_null[1]:
        return Verdict("ordinals", f"In sentences {found.name} looks at ordinals more than at other words: {told}.")
    if high < 0.95 and value < looks.preference_null[0]:
        return Verdict("elsewhere", f"In sentences {found.name} looks at ordinals less than at other words: {told}.")
    return Verdict("not_shown", f"In sentences {found.name} is not shown to prefer or to avoid ordinals: {told}.")


ABOUT = {
    "map": verdict,
    "inputs": about_inputs,
    "past": about_past,
    "lists": about_lists,
    "larger": about_larger,
    "dimensions": about_dimensions,
    "looks": about_looks,
}


# --- what is drawn ----------------------------------------------------------------------------------


def draw_patterns() -> Drawing:
    """The three patterns, between the days."""
    days = ordinals.CLASSES["days"].words
    eye = np.eye(len(days))
    drawn = {"succession": np.roll(eye, 1, axis=1), "copying": eye, "greater-than": np.triu(np.ones_like(eye), 1)}
    figs, axes = figures.panels(3, height=2.6)
    for ax, (title, pattern) in zip(axes, drawn.items()):
        figures.matrix(pattern, ax=ax, names=[day[:3] for day in days], limit=1.2)
        ax.set(title=title)
    return Drawing(
        figs,
        alt=[
            "Succession: a line one step above the diagonal, with a cell in the corner from Sunday to Monday.",
            "Copying: the diagonal.",
            "Greater-than: everything above the diagonal.",
        ],
        caption="Three things that a matrix between the days can say, drawn by hand; a real head mixes them.",
    )


def draw_lists(found: Found, tasks: Sequence[str] | None = None) -> Drawing:
    """The map within some lists, each on a scale of its own; within all, where none of these can be written."""
    tasks = [task for task in tasks or found.classes if task in found.classes] or list(found.classes)
    figs, axes = figures.panels(len(tasks), height=3.5, columns=2)
    for ax, task in zip(axes, tasks):
        m = maps.rows_centred(found.of(task)).numpy()
        limit = float(np.quantile(np.abs(m), 0.995)) or 1.0
        figures.matrix(m, ax=ax, names=found.classes[task].words, limit=limit)
        ax.set(title=f"{list_name(task)}, ±{limit:.1f} logits")
        ax.tick_params(labelsize=figures.LEAST)
    return Drawing(
        figs,
        alt=[
            f"Heat map of {found.name} within {list_name(task)}: the successor's cell lies "
            f"{maps.lead(found.of(task), found.classes[task]).mean():z.1f} standard deviations above the mean of its row."
            for task in tasks
        ],
        caption=f"In the map of {found.name} the successor's cell lies {found.lead:z.1f} standard deviations above the mean of "
        f"its row; in that of {anatomy.name_of(found.middle)}, a head of median score, {found.middle_lead:z.1f}.",
        details="A row is the token read, a column the token promoted. Blue is promoted, orange held back; each picture's scale ends at the logits "
        "in its title, beyond which one cell in 200 lies. The mean of each row is taken out. The lead is a mean over pairs, then over all lists.",
    )


def draw_maps(found: Found, tasks: Sequence[str]) -> Living:
    """The same within some lists; on the page, that of every head over every list under every convention."""
    tasks = [task for task in tasks if task in found.classes] or list(found.classes)[:1]
    rows = []
    for task in tasks:
        words, logits = found.classes[task].words, found.of(task)
        highest = logits.topk(2, dim=1)
        for word, (first, second), (value, next_value) in zip(words, highest.indices, highest.values):
            rows.append((list_name(task), word, words[first], float(value - next_value), words[second]))
    columns = ["list", "read", "promoted most", "leads by", "over"]
    return Living(
        "conventions",
        draw_lists(found, tasks),
        model=found.model,
        table=Table(pd.DataFrame(rows, columns=columns), caption=f"What {found.name} promotes most, in logits."),
        options={"list": tasks[0], "head": list(found.best)},
    )


def draw_everything(found: Found) -> Drawing:
    """The map between all ordinals, list after list."""
    fig, ax = figures.panel(height=5.6)
    sizes = {list_name(task): len(resolved.words) for task, resolved in found.classes.items()}
    figures.matrix(maps.rows_centred(found.matrix).numpy(), ax=ax, names=sizes, label="logits, row mean 0")
    # Short lists lie closer than lines of text: their names keep the order, and room for a line each.
    gap = len(found.matrix) / 20 * np.arange(len(sizes))
    places = isotonic_regression(ax.get_yticks() - gap).x + gap
    ax.set(xticks=places, xticklabels=list(sizes), yticks=places, yticklabels=list(sizes))
    ax.tick_params(labelsize=figures.LEAST)
    n = len(found.matrix)
    low, high = intervals.wilson(found.stays, n)
    chance = float(np.sum([size**2 for size in sizes.values()]) / n**2)
    joint, (joint_low, joint_high) = float(found.joint.macro[found.best]), found.joint_interval
    return Drawing(
        fig,
        alt=f"Heat map of {found.name} over all {n} ordinals, with lines between the lists. In {found.stays} rows the highest cell lies in the row's own list.",
        caption=f"With all {n} ordinals competing, {found.name} scores {joint:.2f}, and in {found.stays} rows the highest cell lies in the token's own list.",
        details=f"Macro {joint:.2f} ({joint_low:.2f} to {joint_high:.2f}), against {found.macro:.2f} within lists; the best head is then "
        f"{anatomy.name_of(found.joint.best)}. Own list: {found.stays / n:.0%} (95% Wilson interval {low:.0%} to {high:.0%}); a winner drawn at random would lie there on {chance:.0%}.",
    )


def draw_across(found: Found) -> Drawing | Markdown:
    """Which lists answer for one another."""
    across, said = found.across, about_lists(found).sentence
    if not across.pairs:
        return Markdown(said)
    fig, ax = figures.panel(height=4.6)
    figures.cells(across.shares, ax=ax, label="share that wins")
    ax.set(xlabel="answered in", ylabel="read")
    plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    off = across.shares.where(~np.eye(len(across.tasks), dtype=bool)).stack()
    read, answered = off.idxmax()
    return Drawing(
        fig,
        alt=f"Heat map, lists read by lists answered: the share of tokens for which the next index wins. Mean off the diagonal {across.mean:.2f}.",
        caption=said,
        details=f"Mean over {across.pairs} pairs of lists. By chance: what is read is permuted within its list, 95% of {len(across.null)} deals. "
        f"Highest off the diagonal: {read} read, {answered} answered, {off.max():.2f}. On the diagonal a circle is not closed: the last member has no next index.",
    )


def draw_steps(found: Found) -> Drawing | Markdown:
    """Mean logit by the number of steps between the token read and the candidate, in the largest lists."""
    tasks = [task for task in found.largest if len(found.classes[task].words) > 3]
    if not tasks:
        return Markdown(
            "No list of this tokenizer has four members: lines beside the diagonal are too short to average."
        )
    figs, axes = figures.panels(len(tasks), height=2.0, columns=1)
    spoken = []
    for ax, task in zip(axes, tasks):
        steps = maps.by_steps(found.of(task))
        means = {k: float(np.mean(values)) for k, values in steps.items()}
        errors = [1.96 * np.std(values) / len(values) ** 0.5 for values in steps.values()]
        ax.axhline(0, color=figures.INK, linewidth=0.7)
        ax.bar(
            list(means), list(means.values()), yerr=errors, width=0.8, linewidth=0,
            color=[PALETTE["orange"] if k == 1 else PALETTE["blue"] for k in means],
            error_kw={"elinewidth": 0.7, "ecolor": PALETTE["grey"]},
        )  # fmt: skip  # one bar chart
        ax.set(title=list_name(task), ylabel="mean logit", xlabel="steps after the token read")
        top = sorted(means, key=lambda k: -means[k])[:5]
        spoken.append(
            f"Bars for {list_name(task)}: highest at " + ", ".join(f"{_steps(k)} ({means[k]:.2g})" for k in top) + "."
        )
    profile = {k: float(np.mean(values)) for k, values in maps.by_steps(found.of(tasks[0])).items()}
    best = max(profile, key=lambda k: profile[k])
    return Drawing(
        figs,
        alt=spoken,
        caption=f"In {list_name(tasks[0])} the candidates at {_steps(best)} are promoted most, counted in steps from the token read (+1 is orange).",
        details="Bars: 95% intervals over the cells of a line. "
        + " ".join(spoken)
        + _by_residue(profile if tasks[0] == "numbers" else {}),
    )


def _steps(k: int) -> str:
    return f"{k:+d}" if k else "0"


def _by_residue(profile: Mapping[int, float]) -> str:
    """What the steps that leave the same rest when divided by ten have in common; nothing for a short profile."""
    if len(profile) <= 40:
        return ""
    means = {r: np.mean([v for k, v in profile.items() if k % 10 == r and k != 1]) for r in range(10)}
    first, second = sorted(means, key=lambda r: -means[r])[:2]
    told = (
        f" Without +1 itself, and sorted by what remains when they are divided by ten, the steps of numbers that leave {first} are "
        f"promoted most ({means[first]:.2g}), before those that leave {second} ({means[second]:.2g})."
    )
    return told if first == 1 else f"{told} Those that leave 1, such as +11 and −9, have {means[1]:.2g}."


def draw_unique(found: Found) -> Drawing | Markdown:
    """Unique share of each pattern in each list, with the 95th percentile of its null."""
    split = found.split
    if not split.lists:
        return Markdown("No list of this tokenizer has five members: the patterns cannot be told apart.")
    figs, axes = figures.panels(3, height=0.3 * len(split.lists) + 0.9)
    places, table = np.arange(len(split.lists))[::-1], split.by_list
    for ax, pattern, color in zip(axes, PATTERNS, ("orange", "blue", "green")):
        rows = table[table["pattern"] == pattern].set_index("class").loc[split.lists]
        ax.barh(places, rows["unique share"], color=PALETTE[color], height=0.62, linewidth=0)
        ax.scatter(
            rows["null, 95th percentile"], places, marker="|", s=120, color=figures.INK, linewidths=1.6, zorder=3
        )
        ax.set(
            title=pattern, yticks=places, yticklabels=split.lists, xlim=(0, max(0.1, 1.1 * table["unique share"].max()))
        )
        ax.set(xlabel="unique share")
        ax.tick_params(axis="y", length=0)
    beyond, n = split.beyond_chance, len(split.lists)
    compared = "; ".join(
        f"{label} {', '.join(f'{row[pattern]:.2f}' for pattern in PATTERNS)}"
        for label, row in split.compared.iterrows()
    )
    return Drawing(
        figs,
        alt=[
            f"Bars of the unique share of {pattern} by list, chance as a tick: mean {split.means[pattern]:.2f}, beyond chance in {beyond[pattern]} of {n}."
            for pattern in PATTERNS
        ],
        caption=f"In {found.name} succession is beyond chance in {beyond['succession']} of {n} lists, copying in {beyond['copying']}, greater-than in {beyond['greater-than']}.",
        details="Tick: 95th percentile of 200 permuted orders. Beyond chance: p < 0.05, one list at a time, uncorrected. Mean unique shares of succession, "
        f"copying and greater-than: {compared}. Of the planted head that counts and the one that copies the split names {split.plants_right} of 2. The "
        "planted head that prefers late members does so whatever it reads, and that was taken out with the column means.",
    )


def draw_larger(found: Found) -> Drawing | Markdown:
    """How often larger members win, by list."""
    larger, said = found.larger, about_larger(found).sentence
    if larger is None:
        return Markdown(said)
    table = larger.by_list
    fig, ax = figures.panel(height=0.34 * len(table) + 1.3, width=figures.NARROW)
    places = np.arange(len(table))[::-1]
    ax.hlines(
        places,
        table["null low"],
        table["null high"],
        color=PALETTE["grey"],
        alpha=0.45,
        linewidth=10,
        label="order permuted",
    )
    errors = np.abs(table[["low", "high"]].to_numpy().T - table["larger wins"].to_numpy())
    ax.errorbar(table["larger wins"], places, xerr=errors, fmt="o", color=PALETTE["orange"], label=found.name)
    ax.scatter(
        table["candidates' means out"],
        places,
        marker="x",
        color=PALETTE["blue"],
        label="candidates' means out",
        zorder=3,
    )
    ax.axvline(0.5, color=figures.INK, linewidth=0.8)
    ax.set(
        yticks=places,
        yticklabels=table["class"],
        xlabel="share of draws in which the larger member wins",
        xlim=(-0.02, 1.02),
    )
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1), ncol=3)
    (wins, low, high), (dependent, dependent_low, dependent_high) = larger.wins, larger.dependent
    planted, counting = larger.plants["greater_than"], larger.plants["successor"]
    out = [list_name(task) for task in found.classes if list_name(task) not in set(table["class"])]
    return Drawing(
        fig,
        alt=f"For each list the share of draws in which a larger member beats a smaller one, beside the range under permuted order. Mean {wins:.2f}.",
        caption=said,
        details=f"Mean over {len(table)} lists: {wins:.2f} (95% bootstrap interval over the tokens read {low:.2f} to {high:.2f}; permuted orders {larger.null[0]:.2f} to "
        f"{larger.null[1]:.2f}). Candidates' means out: {dependent:.2f} ({dependent_low:.2f} to {dependent_high:.2f}; permuted {larger.dependent_null[0]:.2f} to "
        f"{larger.dependent_null[1]:.2f}). On plants: {planted[0]:.2f} for the head made to prefer what is larger ({planted[1]:.2f} with means out), "
        f"{counting[0]:.2f} for the one that only counts ({counting[1]:.2f})."
        + (f" Left out, with fewer than five tokens that have members on both sides: {', '.join(out)}." if out else ""),
    )


def draw_spectrum(found: Found) -> Drawing:
    """Singular values, and the score of the nearest matrix of each rank."""
    singular, ranks, first, random = found.spectrum
    figs, (left, right) = figures.panels(2, height=2.7)
    left.plot(range(1, len(singular) + 1), singular / singular[0], color=PALETTE["blue"], marker="o", markersize=3)
    left.set(xlabel="direction", ylabel="singular value, first = 1", ylim=(0, 1.05))
    needed, _, at_random = found.needed
    right.fill_between(ranks, random.min(0), random.max(0), color=PALETTE["grey"], alpha=0.3, linewidth=0)
    right.plot(ranks, random.mean(0), color=PALETTE["grey"], label="random")
    right.plot(ranks, first, color=PALETTE["orange"], marker="o", label="first")
    right.axvline(needed, color=figures.INK, linewidth=0.8, linestyle=":")
    right.set(xlabel="directions kept", ylabel="macro", ylim=(0, 1.05), xscale="log")
    ticks = [k for k in ranks if k in (1, 4, 16, 64)]
    right.set_xticks(ticks, map(str, ticks))
    right.minorticks_off()
    right.legend(loc="upper left" if first[-1] < 0.5 or first[0] < 0.5 else "lower right")
    return Drawing(
        figs,
        alt=[
            f"Singular values of the map of {found.name}, falling.",
            f"Macro against directions kept: nine tenths of {first[-1]:.2f} are reached with {needed} of the first ones.",
        ],
        caption=about_dimensions(found).sentence,
        details=f"Of {len(singular)} directions, {needed} are the fewest of those tried that bring the score to nine tenths of the {first[-1]:.2f} that all of them give. "
        f"As many random directions of the same space: {at_random.min():.2f} to {at_random.max():.2f} in {len(at_random)} draws, the band.",
    )


def draw_conventions(found: Found) -> Table:
    """The head under each convention of scoring."""
    table = found.conventions
    shown = pd.DataFrame(
        {
            "convention": table["convention"],
            found.name: table[found.name],
            "95% interval": [f"{low:.2f} to {high:.2f}" for low, high in zip(table["low"], table["high"])],
            "rank": table["rank"],
            "best head": table["best head"],
        }
    )
    real = found.real_conventions
    lowest, highest = real.loc[real[found.name].idxmin()], real.loc[real[found.name].idxmax()]
    return Table(
        shown,
        caption=f"{found.agree} of {len(real)} conventions {'chooses' if found.agree == 1 else 'choose'} {found.name}, with {lowest[found.name]:.2f} ({lowest['convention']}) to "
        f"{highest[found.name]:.2f} ({highest['convention']}); “embedding alone” is a control.",
    )


def draw_wrap(found: Found) -> Table:
    """What the head makes of the last member of each list."""
    table = found.wrap
    rounds, ends = table[table["it"] == "round"], table[table["it"] == "ends"]
    return Table(
        table[["list", "read", "promoted most"]],
        caption=f"{found.name} closes {int(rounds['first'].sum())} of {len(rounds)} circles, and goes back to the first member in {int(ends['first'].sum())} of "
        f"{len(ends)} lists that end.",
    )


def draw_inputs(found: Found) -> Table:
    """The best head of each model on five inputs."""
    return Table(
        found.inputs.scores.drop(columns=["head", "attention 0", "sum"]),
        caption=about_inputs(found).sentence,
        details="Best head of each model by the canonical score: "
        + ", ".join(f"{row['model']} {row['head']}" for _, row in found.inputs.scores.iterrows())
        + ". "
        "With the sum of embedding and MLP0: "
        + ", ".join(f"{value:.2f}" for value in found.inputs.scores["sum"])
        + ", in the order of the rows.",
    )


def draw_past(found: Found) -> Table | Markdown:
    """What a tuned lens behind block 0 says of ordinals, beside what the head says."""
    past = found.past
    if past is None:
        return Markdown(about_past(found).sentence)
    said = "; ".join(f"{word}: {of_lens}, {of_head}" for word, of_lens, of_head in past.says)
    fitted, plain = past.agreement
    return Table(
        past.by_list.drop(columns=["pairs", "guess", "head, all words", "model, all words"]),
        caption=about_past(found).sentence,
        details=f"Shares of the pairs, within the list (a guess: {past.mean('guess'):.2f}) and among {past.n_candidates:,} tokens. Among these the head names {past.mean('head, all words'):.2f} of the successors, and the whole model, which "
        f"reads an ordinal at the end of a piece of text there and no list, {past.mean('model, all words'):.3f}. On held-out text the lens's first choice is the model's on {fitted:.2f} of the tokens, that of the stream as it stands on {plain:.2f}. "
        f"Read, then said by lens and head among all words: {said}. Interval: parametric bootstrap over tokens.",
    )


def draw_cosines(found: Found) -> Table:
    """How near MLP0(W_E) is to what MLP0 writes in text."""
    rows = []
    for (label, pair), where in zip(found.inputs.cosines.items(), found.inputs.scores["attention 0"]):
        own, others = pair if pair is not None else (np.array([np.nan]),) * 2
        rows.append((label, where, own.mean(), own.min(), others.mean()))
    is_near = rows[0][2] > max(rows[0][4], LEAST_COSINE)
    where = (
        "beside MLP0, so that MLP0(W_E) is what MLP0 writes in any text"
        if found.is_parallel
        else "before MLP0, so that MLP0(W_E) is only near to what MLP0 writes"
        if is_near
        else "before MLP0, and what MLP0 writes in text is nothing like MLP0(W_E)"
    )
    return Table(
        pd.DataFrame(rows, columns=["model", "attention 0", "own", "lowest", "another's"]),
        caption=f"In {found.model} attention 0 stands {where}: cosine {rows[0][2]:.3f}, and {rows[0][4]:.2f} with another member's.",
    )


def draw_definitions(found: Found) -> Drawing | Markdown:
    """Every head under both definitions of a successor head."""
    second = found.looks.second
    if second is None:
        return Markdown(
            "The second definition is not measured here: NDIF keeps no patterns, or the tokenizer writes no run of four members as single tokens."
        )
    macro, best = found.scores.macro.numpy(), found.best
    other: Place = divmod(int(second.argmax()), second.shape[1])
    fig, ax = figures.panel(height=3.2, width=figures.NARROW)
    ax.axhline(0, color=figures.INK, linewidth=0.7)
    ax.scatter(macro.ravel(), second.ravel(), s=26, color=PALETTE["blue"], linewidths=0)
    for place, color in {best: "orange", other: "violet"}.items():
        ax.scatter([macro[place]], [second[place]], s=60, color=PALETTE[color], zorder=3)
        ax.annotate(
            anatomy.name_of(place),
            (macro[place], second[place]),
            xytext=(-8, 7),
            textcoords="offset points",
            ha="right",
        )
    ax.set(xlabel="macro successor score", ylabel="attention to the\npredecessor, less shuffled", xlim=(-0.09, 1.05))
    low, high = found.looks.runs_interval
    spearman = pd.Series(macro.ravel()).corr(pd.Series(second.ravel()), method="spearman")
    return Drawing(
        fig,
        alt=f"Scatter of {second.size} heads: successor score against attention to the predecessor less shuffled. {found.name} has {second[best]:+.2f} on the second.",
        caption=f"By attention to the predecessor the first head is {anatomy.name_of(other)} ({second[other]:+.2f}), and {found.name} is number {_rank(second, best)} of {second.size}.",
        details=f"{found.name}: {second[best]:+.2f} (95% bootstrap interval over {len(found.looks.runs)} runs {low:+.2f} to {high:+.2f}). Rank correlation of both definitions over all heads: {spearman:+.2f}.",
    )


def draw_preference(found: Found) -> Drawing | Markdown:
    """Every head's preference for ordinals in sentences."""
    looks, said = found.looks, about_looks(found).sentence
    if looks.preference is None:
        return Markdown(said)
    values = looks.preference.ravel()
    fig, ax = figures.panel(height=2.0, width=figures.NARROW)
    jitter = np.random.default_rng(0).uniform(-0.25, 0.25, looks.preference.shape)
    ax.axvspan(*looks.preference_null, color=PALETTE["grey"], alpha=0.35, linewidth=0, label="labels permuted")
    ax.scatter(values, jitter.ravel(), s=24, alpha=0.8, color=PALETTE["blue"], linewidths=0, label="one dot a head")
    ax.scatter(
        [looks.preference[found.best]], [jitter[found.best]], s=70, color=PALETTE["orange"], zorder=3, label=found.name
    )
    ax.axvline(1, color=figures.INK, linewidth=0.8)
    ax.set(yticks=[], ylim=(-0.5, 0.5), xlabel="preference for ordinals (1: none)")
    ax.spines["left"].set_visible(False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncol=3)
    low, high = looks.preference_null
    return Drawing(
        fig,
        alt=f"Strip of all heads by their preference for ordinals. {found.name}: {looks.preference[found.best]:.2f}, number {_rank(looks.preference, found.best)} of {values.size}.",
        caption=said,
        details=f"{looks.n_sentences} sentences; number {_rank(looks.preference, found.best)} of {values.size} heads. With labels permuted at random {low:.2f} to {high:.2f}. "
        f"{looks.resting:.0%} of the head's attention rests on the first token, which is left out. Interval: bootstrap over sentences.",
    )


def _rank(values: Float[np.ndarray, "layer head"], place: Place) -> int:
    return int((values > values[place]).sum()) + 1


# --- tables and the record --------------------------------------------------------------------------


NEWEST = "copier"  # a finding that every record of the present protocol has


def compared(findings: Findings) -> list[tuple[str, str, str]]:
    """What the paper and later work report of a head's map, row by row: what, as reported, and what a record's findings say to it."""
    cell = reported.cell
    return [
        ("what the head reads, macro", "MLP0's output (section 2)", share_cell(findings, "macro", beside="without_mlp0", name="from the bare embedding")),
        ("past the head, all words", cell("lens", "a lens behind MLP0 finds under {right_percent_below}% of successors"), share_cell(findings, "lens_all_words")),
        ("past the head, within a list", "not reported", share_cell(findings, "lens_macro", beside="macro", name="the head")),
        ("larger members win", cell("figure_8", "the head {head}, the features {features}"), share_cell(findings, "larger_wins", beside="larger_wins_permuted", name="permuted up to")),
        ("all ordinals compete, macro", cell("later", "{heads_that_matter} heads matter"), share_cell(findings, "joint_macro")),
        ("across lists", "a shared part of MLP0's output (section 3)", share_cell(findings, "cross_class", beside="cross_class_null_high", name="by chance up to")),
        ("the best copying score", cell("gpt2_small", "GPT-2 small: {copying_head}, beside {head}"), share_cell(findings, "copier", beside="unique_copying", name="in the head copying explains")),
    ]  # fmt: skip  # one row a line


def draw_compared(found: Found) -> Table:
    """What the paper and later work report, and what was measured here."""
    return Table(
        pd.DataFrame(compared(record(found)["findings"]), columns=["", "as reported", found.model]),
        caption=f"What is reported of successor heads' maps, and {found.model}.",
        details=f"The head that copies best is {anatomy.name_of(found.copier[0])}.",
    )


def record(found: Found) -> dict[str, Any]:
    """The chapter's record: findings that the results page and the tests read, and its tables."""
    finding, split, larger, looks = records.finding, found.split, found.larger, found.looks
    n_pairs = sum(len(resolved.source) for resolved in found.classes.values())
    cosines = found.inputs.cosines[found.model]
    unknown, past = (float("nan"),) * 3, found.past
    lens_macro, lens_low, lens_high = past.macro if past else unknown
    wins, wins_low, wins_high = larger.wins if larger else unknown
    dependent, dependent_low, dependent_high = larger.dependent if larger else unknown
    n_larger = len(larger.by_list) if larger else 0
    needed, _, at_random = found.needed
    second, preference, nan = looks.second, looks.preference, float("nan")
    stay_low, stay_high = intervals.wilson(found.stays, len(found.matrix))
    findings = {
        "layer": finding(found.best[0]),
        "head": finding(found.best[1]),
        "macro": finding(found.macro, low=found.interval[0], high=found.interval[1], n=n_pairs),
        "without_mlp0": finding(found.without_mlp0),
        "mlp0_cosine": finding(cosines[0].mean() if cosines else nan, n=len(cosines[0]) if cosines else 0),
        "lens_macro": finding(lens_macro, low=lens_low, high=lens_high, n=n_pairs),
        "lens_all_words": finding(past.mean("lens, all words") if past else float("nan"), n=n_pairs),
        "rank": finding(found.rank),
        "copier": finding(found.copier[1]),
        "joint_macro": finding(
            found.joint.macro[found.best], low=found.joint_interval[0], high=found.joint_interval[1], n=n_pairs
        ),
        "stays_in_class": finding(found.stays / len(found.matrix), low=stay_low, high=stay_high, n=len(found.matrix)),
        "cross_class": finding(found.across.mean, n=found.across.pairs),
        "cross_class_null_high": finding(found.across.null_range[1], n=len(found.across.null)),
    }
    for pattern in PATTERNS:
        key = pattern.replace("-", "_")
        findings[f"unique_{key}"] = finding(split.means[pattern], n=len(split.lists))
        findings[f"classes_with_{key}"] = finding(split.beyond_chance[pattern], n=len(split.lists))
    findings |= {
        "planted_patterns_right": finding(split.plants_right, n=2),
        "larger_wins": finding(wins, low=wins_low, high=wins_high, n=n_larger),
        "larger_wins_permuted": finding(larger.null[1] if larger else nan, n=n_larger),
        "larger_wins_candidates_out": finding(dependent, low=dependent_low, high=dependent_high, n=n_larger),
        "dimensions": finding(needed, n=len(found.spectrum.singular)),
        "random_dimensions_score": finding(at_random.mean(), low=at_random.min(), high=at_random.max(), n=len(at_random)),
        "conventions_agree": finding(found.agree, n=len(found.real_conventions)),
        "second_definition": finding(
            nan if second is None else second[found.best],
            low=looks.runs_interval[0], high=looks.runs_interval[1], n=len(looks.runs),
        ),
        "second_definition_rank": finding(nan if second is None else _rank(second, found.best)),
        "preference": finding(
            nan if preference is None else preference[found.best],
            low=looks.preference_interval[0], high=looks.preference_interval[1], n=looks.n_sentences,
        ),
        "preference_rank": finding(nan if preference is None else _rank(preference, found.best)),
    }  # fmt: skip  # a finding a line
    tables = {
        "conventions": found.conventions,
        "mlp0": found.inputs.scores,
        "past": past.by_list if past else pd.DataFrame(),
        "patterns": split.by_list,
        "compared": split.compared.reset_index(names="head"),
        "bias": pd.DataFrame() if larger is None else larger.by_list,
        "verdict": pd.DataFrame([{"question": question, "key": say(found).key} for question, say in ABOUT.items()]),
    }
    return records.chapter_record(found.model, CHAPTER, findings=findings, tables=tables)
