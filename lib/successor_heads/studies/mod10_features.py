"""Chapter 3: does the model count in tens?

::

    found = mod10_features.measure(model, parts, ordinals.resolve(model.tokenizer), name="grown/pythia", seed=0, n_runs=10)
    mod10_features.verdict(found).key      # "in_part": the ten can be read, and words share it in part

The paper's own protocols (version 1, sections 3.1 to 3.3), one after the other: a probe for the index mod 10 and for
other moduli, sparse autoencoders, what their features do in the head, one linear map that parts a place from its list,
the neurons of MLP0; then whether the head needs the ten. Each has its control. Where a tokenizer has fewer than
`LEAST_NUMBERS` numbers that are single tokens, what needs numbers is left out and said to be.

Three rows of the paper's were first measured on 26 November 2026. Written down before: the head names the successor of
more than .8 of the pairs held out of grown/pythia, and of shuffled lists too; of Roman numerals put into lists it names
less than .3, on every model; by seven the probe names less than half of the days, by twelve less than half of the months.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from jaxtyping import Bool, Float, Int
from nnsight import TransformersModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from successor_heads import (
    ablation,
    anatomy,
    features,
    figures,
    files,
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
from successor_heads.errors import UserError, told
from successor_heads.features import class_means
from successor_heads.figures import PALETTE, Drawing, Table
from successor_heads.growing import observe
from successor_heads.live import Living
from successor_heads.ordinals import OrdinalClass, ResolvedClass
from successor_heads.planted import words
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.shapes import Shape
from successor_heads.studies import Place, Verdict, autoencoder_runs, list_name
from successor_heads.studies.autoencoder_runs import Runs, StoredRuns, spread
from successor_heads.studies.cells import NOT_ASKED, Findings, count_cell, number_cell, share_cell

CHAPTER = "03-mod-10-features"
MODULI = tuple(range(2, 26))  # of Figure 27
PERIODS = MODULI[1:]  # of circles: two places make a line
PERIODS_DRAWN = (10, 7)  # of circles: the ten, and a control
NEIGHBOURS = (7, 8, 9, 11, 12, 13)  # of ten
ROUND = {"months": 12, "days": 7}  # lists that go round, and how many members they have
LEAST_NUMBERS = 40  # to look for a ten among
LAST_READ = 200  # the text of the book's own models has no larger number but in runs
WIDTH, PENALTY, BATCH, EPOCHS = 512, 0.3, 64, 100  # of the paper's autoencoders
MOSTLY = 0.75  # above which, interval and all, something is not said to hold in part
LEAST_SHARE = 0.1  # of tokens held out, below which no map is said to part anything
MOST_CANDIDATES = 4096  # of the vocabulary, where it is larger
N_SHUFFLES = 20
WHOLE = "removed, whole model"
# From the paper's protocols, as far as it states them.
DIFFERS = (
    "the paper does not say the rate, the scale and the biases of its autoencoders, nor the optimiser of its maps; ours stand under the figures. "
    "In the book's own models numbers go up to 200 and not 500. Forms with and without a space, and capitalised, count as words of their own, as far as they are single tokens. "
    "Its studies of section 3 are of Pythia-1.4B, as far as can be inferred."
)
# What some words have to do with a number. Written down before any was asked; the first two are the paper's.
INFORMAL = {
    "triangle": 3, "week": 7, "pair": 2, "twice": 2, "both": 2, "double": 2, "couple": 2, "once": 1, "single": 1, "trio": 3,
    "triple": 3, "quarter": 4, "square": 4, "hand": 5, "insect": 6, "spider": 8, "dozen": 12, "year": 12, "fortnight": 14,
}  # fmt: skip  # one list


# --- what is found ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Probes:
    """Linear probes for the index at each modulus, trained on numbers; and at ten, what they read from words.

    `by_modulus` has for each the accuracy on numbers held out and on lists never seen, and what the ten explains of
    either. `words` has a row for each word of those lists. `in_circles` has months and days by ten, by twelve and by seven:
    list, modulus, right and n. `tens` are right and asked when whole tens are held out, with
    the interval over numbers; `beyond` right and asked on numbers past those of the text. `shuffled` are accuracies on
    unseen lists of probes that were trained on permuted numbers, `permuted` those of the real one if the words' places are
    permuted. `rows` are the ten's.
    """

    by_modulus: pd.DataFrame
    words: pd.DataFrame
    in_circles: pd.DataFrame
    tens: tuple[int, int, float, float]
    beyond: tuple[int, int] | None
    shuffled: Float[np.ndarray, " shuffle"]
    permuted: Float[np.ndarray, " deal"]
    rows: Float[Tensor, "10 d_model"]
    n_numbers: int
    last: int

    @property
    def right(self) -> Bool[np.ndarray, " word"]:
        """Whether the residue of each unseen word is read rightly."""
        return (self.words["read"] == self.words["index"] % 10).to_numpy()

    @property
    def past_ten(self) -> tuple[int, int, float]:
        """Right and asked among unseen words whose index is no residue, and right on average if the answers are permuted."""
        past = self.words[self.words["index"] >= 10]
        said, due = (np.bincount(digits, minlength=10) for digits in (past["read"], past["index"] % 10))
        return int((past["read"] == past["index"] % 10).sum()), len(past), float(said @ due / max(1, len(past)))

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share of unseen words; forms of a word stand or fall together."""
        cluster = self.words.groupby(["list", "index"]).ngroup().to_numpy()
        return intervals.clustered_wilson(self.right, cluster)

    def at(self, modulus: int, column: str) -> float:
        """One figure of `by_modulus`."""
        return float(self.by_modulus.set_index("modulus").loc[modulus, column])

    @property
    def neighbour(self) -> tuple[int, float]:
        """The neighbour of ten that reads most of the unseen words, and how much."""
        near = self.by_modulus[self.by_modulus["modulus"].isin(NEIGHBOURS)]
        best = near.loc[near["unseen"].idxmax()]
        return int(best["modulus"]), float(best["unseen"])

    @property
    def coprime(self) -> tuple[int, float]:
        """The modulus without a divisor in common with ten that numbers held out are read best at, above a guess."""
        table = self.by_modulus[[gcd(m, 10) == 1 for m in self.by_modulus["modulus"]]]
        best = table.loc[(table["validation"] - 1 / table["modulus"]).idxmax()]
        return int(best["modulus"]), float(best["validation"])


@dataclass(frozen=True, eq=False)
class Autoencoders:
    """Sparse autoencoders on MLP0's outputs: those that the chapter trains, and as many as the paper's, from store.

    `stored` is None where none of these weights are stored, and `note` says what there is; `runs` are those that count,
    the stored ones if there are any. The bands are of the first run trained here, over the numbers 0 to 99: how strongly the most important feature
    of each fires on each, and what it writes through the head on each.
    """

    here: Runs
    stored: StoredRuns | None
    note: str
    fires: Float[np.ndarray, "number number"]
    writes: Float[np.ndarray, "number number"]
    explained: float
    held_out: float
    active: float
    dead: float
    choices: pd.DataFrame

    @property
    def runs(self) -> Runs:
        """The stored runs, or those trained here."""
        return self.here if self.stored is None else self.stored.runs


@dataclass(frozen=True, eq=False)
class Carried:
    """Mean logit of the numbers that end in each digit when the head reads one direction a residue.

    `features` for the autoencoders' averaged features, `means` for the class means: the mean vector of the numbers that
    end in a digit, less that of all.
    """

    features: Float[np.ndarray, "residue digit"]
    means: Float[np.ndarray, "residue digit"]

    @staticmethod
    def counts_on(matrix: Float[np.ndarray, "residue digit"]) -> int:
        """For how many of ten residues the next digit is raised most."""
        return int((matrix.argmax(1) == (np.arange(10) + 1) % 10).sum())


class Asked(NamedTuple):
    """How often something came out right: the share, of how many, and its 95% interval, in which cases of one token count as one."""

    share: float
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, right: Sequence[bool] | np.ndarray, token: Sequence[int] | np.ndarray) -> Asked:
        """From what was right and the token that each case asked for; NaN where nothing was asked."""
        right = np.asarray(right, dtype=bool)
        if not len(right):
            return cls(float("nan"), 0, float("nan"), float("nan"))
        return cls(float(right.mean()), len(right), *intervals.clustered_wilson(right, np.asarray(token)))


@dataclass(frozen=True, eq=False)
class Subspace:
    """One linear map that parts the place from the list, on pairs and on tokens held out, beside its controls.

    `outcomes` has of each subject (model, shuffled, untrained, planted) what came out in each of `TESTS`. `ceiling` is the
    same test of the real vectors, without any mixing. `roman` is what Roman numerals decode to in each list, and
    `roman_shuffled` in how many of its cells the map of shuffled lists is right; `informal` what words decode to among the
    numbers.
    """

    outcomes: dict[str, dict[str, Asked]]
    ceiling: pd.Series
    output_map: float
    roman: pd.DataFrame
    roman_shuffled: int
    informal: pd.DataFrame

    @property
    def shares(self) -> pd.DataFrame:
        """The shares: a row a test, a column a subject."""
        return pd.DataFrame({who: {test: own[test].share for test in TESTS} for who, own in self.outcomes.items()})

    def beyond_controls(self, test: str) -> tuple[bool, float]:
        """Whether the model's share in a test is clear of its controls and worth a name; and the higher control."""
        control = float(self.shares.loc[test, ["shuffled", "untrained"]].max())
        return bool(self.outcomes["model"][test].low > max(control, LEAST_SHARE)), control

    @property
    def roman_right(self) -> tuple[int, int]:
        """Cells of the table of Roman numerals that are right, of all."""
        return int(self.roman["right"].sum()), len(self.roman)

    @property
    def roman_answered(self) -> tuple[int, int]:
        """In how many cells the head names the successor, of those that have one."""
        asked = self.roman["head"].dropna()
        return int(asked.sum()), len(asked)

    @property
    def informal_right(self) -> tuple[int, int, float]:
        """How many words without a list decode to what was expected, of how many; and how many on average if expectations are permuted."""
        said, due = (np.bincount(self.informal[column], minlength=1000) for column in ("read", "expected"))
        n = len(self.informal)
        return int((self.informal["read"] == self.informal["expected"]).sum()), n, float(said @ due / max(1, n))


@dataclass(frozen=True, eq=False)
class Neurons:
    """The neurons of MLP0 whose ablation lowers the successor's probability most, with their periods.

    `periods` are those of the first 16, `random` how many of 16 drawn at random have a period of ten, in many draws.
    `fires` are the activations of the first three on 0 to 99, `writes` what they write through the head by last digit.
    """

    first: list[int]
    periods: list[int]
    random: Int[np.ndarray, " draw"]
    n: int
    fires: Float[np.ndarray, "neuron number"]
    writes: Float[np.ndarray, "neuron digit"]

    @property
    def commonest(self) -> int:
        """The commonest period of the first 16."""
        return max(set(self.periods), key=lambda period: (self.periods.count(period), -period))

    @property
    def of_ten(self) -> int:
        """How many of the first 16 have a period of ten."""
        return self.periods.count(10)


@dataclass(frozen=True, eq=False)
class Needed:
    """What the head answers with nine directions removed, or with nothing else kept: the ten's, or others'.

    `shares` has rows (change, directions) with the share of answers that end in the right digit and that are right; of
    random directions the mean and the middle 95% of the draws. `variance` is the share of the variance of the numbers'
    vectors that lies in the ten's nine directions, and in others, the mean of the draws.
    """

    shares: pd.DataFrame
    intact: tuple[float, float]
    n: int
    variance: tuple[float, float]

    @property
    def in_the_model(self) -> bool:
        """Whether the running model was asked, which takes a tokenizer that writes numbers behind a space."""
        return bool((self.shares["change"] == WHOLE).any())

    def row(self, change: str, directions: str) -> pd.Series:
        """One row of `shares`."""
        table = self.shares
        return table[(table["change"] == change) & (table["directions"] == directions)].iloc[0]


@dataclass(frozen=True, eq=False)
class Circles:
    """Numbers in the plane of a period (`features.in_circle`), learned from half of the tens and shown on the others.

    `by_period` has for each how many of the `n` numbers shown lie at their own angle, and how many if the index is
    permuted (`shuffled`, which gives every number another's). `points` are those of `PERIODS_DRAWN`: period, index, x,
    y, right. `tens` are those learned from.
    """

    by_period: pd.DataFrame
    points: pd.DataFrame
    tens: list[int]
    shuffled: list[int]

    def right(self, period: int) -> str:
        """How many lie at their own angle, as text."""
        row = self.by_period.set_index("period").loc[period]
        return f"{int(row['right'])} of {int(row['n'])}"


@dataclass(frozen=True, eq=False)
class Found:
    """Everything that chapter 3 shows of a model; None for what its tokenizer cannot be asked."""

    model: str
    best: Place
    macro: float
    tasks: list[str]
    last: int
    n_numbers: int
    probes: Probes | None
    sources: pd.DataFrame
    circles: Circles | None
    saes: Autoencoders | None
    carried: Carried | None
    subspace: Subspace
    neurons: Neurons | None
    needed: Needed | None
    grown: pd.DataFrame
    roman_score: tuple[int, int]

    @property
    def name(self) -> str:
        """The best head's name."""
        return anatomy.name_of(self.best)

    @cached_property
    def words_read(self) -> str:
        """How many unseen words are read, as text."""
        assert self.probes is not None
        return f"{int(self.probes.right.sum())} of {len(self.probes.words)}"


# --- the tokens -------------------------------------------------------------------------------------


def last_number(name: str) -> int:
    """Up to where numbers are asked: 500 as in the paper, 200 of a model that was made with this book."""
    of_this_book = any((files.with_home(name) / file).exists() for file in ("recipe.json", "truth.json"))
    return LAST_READ if name in models.grown_models() or of_this_book else reported.read()["probe"]["numbers_to"]


def numbers(tokenizer: PreTrainedTokenizerBase, *, last: int) -> pd.DataFrame:
    """The numbers from 0 that are single tokens, with and without a space: token, index, word."""
    written = [(prefix + str(number), number) for prefix in (" ", "") for number in range(last + 1)]
    rows = [(ordinals.single_token(tokenizer, word), number, word) for word, number in written]
    return pd.DataFrame([row for row in rows if row[0] is not None], columns=["token", "index", "word"])


def unseen_lists(tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """The lists of the paper's test, in all surface forms that are single tokens: list, word, token, index."""
    lists = {
        "number_words": ordinals.CLASSES["number_words"].words[:19],
        "ordinal_words": ordinals.CLASSES["ordinal_words"].words,
        "roman_numerals": ordinals.ROMAN_NUMERALS,
        "months": ordinals.CLASSES["months"].words,
        "days": ordinals.CLASSES["days"].words,
    }
    found: dict[int, tuple] = {}
    for task, members in lists.items():
        for index, member in enumerate(members, 1):
            for prefix in (" ", ""):
                for word in dict.fromkeys((member, member if task == "roman_numerals" else member.capitalize())):
                    token = ordinals.single_token(tokenizer, prefix + word)
                    if token is not None:
                        found.setdefault(token, (task, prefix + word, token, index))
    return pd.DataFrame(list(found.values()), columns=["list", "word", "token", "index"])


@dataclass(frozen=True, eq=False)
class Sample:
    """Tokens in which a period is looked for: the numbers, or all lists, each around its own mean, where these are few.

    `groups` are what is held out together: tens of numbers, or lists. `source` and `target` point into the tokens.
    """

    x: Float[Tensor, "token d_model"]
    index: Int[Tensor, " token"]
    token_ids: Int[Tensor, " token"]
    words: list[str]
    groups: Int[np.ndarray, " token"]
    source: Int[Tensor, " pair"]
    target: Int[Tensor, " pair"]


def sample(parts: Anatomy, classes: Mapping[str, ResolvedClass]) -> Sample:
    """The numbers of one form, or all lists where fewer than `LEAST_NUMBERS` numbers are single tokens."""
    of = {task: resolved for task, resolved in classes.items() if len(resolved.source)}
    alone = "numbers" in of and len(of["numbers"].words) >= LEAST_NUMBERS
    of = {"numbers": of["numbers"]} if alone else of
    x = [ov_circuit.head_input(parts, resolved.token_ids).detach().cpu().float() for resolved in of.values()]
    index = torch.cat([resolved.index for resolved in of.values()])
    starts = np.cumsum([0, *(len(resolved.words) for resolved in of.values())])[:-1].tolist()
    lists = np.repeat(np.arange(len(of)), [len(resolved.words) for resolved in of.values()])
    return Sample(
        x=torch.cat(x if alone else [own - own.mean(0) for own in x]),
        index=index,
        token_ids=torch.cat([resolved.token_ids for resolved in of.values()]),
        words=[word for resolved in of.values() for word in resolved.words],
        groups=(index // 10).numpy() if alone else lists,
        source=torch.cat([start + resolved.source for start, resolved in zip(starts, of.values())]),
        target=torch.cat([start + resolved.target for start, resolved in zip(starts, of.values())]),
    )


@dataclass(frozen=True, eq=False)
class Reader:
    """A head as what it says of a vector: `x @ says` are logits of `candidates`, a part of the vocabulary if it is large."""

    parts: Anatomy
    best: Place
    candidates: Int[Tensor, " candidate"]

    @classmethod
    def of(cls, parts: Anatomy, best: Place, tokens: Int[Tensor, " token"], *, seed: int) -> Reader:
        """With these tokens among the candidates, whatever else is."""
        if parts.d_vocab <= MOST_CANDIDATES:
            return cls(parts, best, torch.arange(parts.d_vocab))
        drawn = torch.randperm(parts.d_vocab, generator=torch.Generator().manual_seed(seed))[:MOST_CANDIDATES]
        return cls(parts, best, torch.cat([tokens, drawn]).unique())

    @cached_property
    def unembed(self) -> Float[Tensor, "d_model candidate"]:
        """W_U of the candidates."""
        return self.parts.unembed(self.candidates).detach().cpu().float()

    @cached_property
    def w_ov(self) -> Float[Tensor, "d_model d_model"]:
        """W_V W_O of the head."""
        layer, head = self.best
        w_v, w_o = self.parts.w_v(layer)[head], self.parts.w_o(layer)[head]
        return (w_v @ w_o.to(w_v.device)).detach().cpu().float()

    @cached_property
    def says(self) -> Float[Tensor, "d_model candidate"]:
        """W_V W_O W_U: what a vector that the head reads raises."""
        return self.w_ov @ self.unembed

    def place(self, tokens: Int[Tensor, " token"]) -> Int[Tensor, " token"]:
        """Where tokens stand among the candidates."""
        return torch.searchsorted(self.candidates, tokens)

    def x(self, tokens: Any) -> Float[Tensor, "token d_model"]:
        """What MLP0 writes on tokens, and the head reads."""
        return ov_circuit.head_input(self.parts, torch.tensor(np.array(tokens))).detach().cpu().float()


def asked_tokens(
    tokenizer: PreTrainedTokenizerBase,
    classes: Mapping[str, ResolvedClass],
    number_tokens: pd.DataFrame,
    unseen: pd.DataFrame,
) -> Int[Tensor, " token"]:
    """All tokens that some question is about, for `Reader.of`: without them a part of a large vocabulary would lack them."""
    listed = [resolved.token_ids for resolved in classes.values()]
    named = [number_tokens["token"], unseen["token"], list(informal_tokens(tokenizer).values())]
    return torch.cat([*listed, *(torch.tensor(list(tokens), dtype=torch.long) for tokens in named)]).unique()


# --- what is measured -------------------------------------------------------------------------------


def measure(
    model: TransformersModel,
    parts: Anatomy,
    classes: Mapping[str, ResolvedClass],
    *,
    name: str,
    seed: int,
    n_runs: int,
    last: int | None = None,
) -> Found:
    """The paper's protocols of section 3 on one model, with their controls; `n_runs` autoencoders in one batch."""
    tokenizer = model.tokenizer
    classes = {task: resolved for task, resolved in classes.items() if len(resolved.source)}
    last = last or last_number(name)
    number_tokens, unseen = numbers(tokenizer, last=last), unseen_lists(tokenizer)
    result, head = _best_reader(parts, tokenizer, classes, number_tokens, unseen, seed=seed)
    enough = number_tokens["index"].nunique() >= LEAST_NUMBERS and "numbers" in classes
    every_digit = (number_tokens["index"] % 10).nunique() == 10  # or there is a residue that nothing teaches
    probes = probe(head, tokenizer, number_tokens, unseen, last=last, seed=seed) if every_digit else None
    saes = None
    if enough and probes:
        trial = Trial.of(head, tokenizer, number_tokens, classes, probes, seed=seed)
        stored = autoencoder_runs.stored(models.digest_of(model), last=last)
        saes = autoencode(trial, name=name, n_runs=n_runs, seed=seed, stored=stored)
    roman = ordinals.resolve_class(
        tokenizer, OrdinalClass("roman", ordinals.ROMAN_NUMERALS), prefix=classes[next(iter(classes))].prefix
    )
    return Found(
        model=name,
        best=result.best,
        macro=float(result.macro[result.best]),
        tasks=list(classes),
        last=last,
        n_numbers=len(number_tokens),
        probes=probes,
        sources=observe.residues_by_source(parts, classes["numbers"]) if enough else pd.DataFrame(),
        circles=lay_in_circles(head, classes["numbers"], seed=seed) if enough else None,
        saes=saes,
        carried=carry(head, classes["numbers"], saes.runs.average) if saes else None,
        subspace=part_places(head, model, classes, roman, seed=seed),
        neurons=rank_neurons(head, tokenizer, classes["numbers"].prefix, seed=seed) if enough else None,
        needed=need(head, model, classes["numbers"], seed=seed) if enough else None,
        grown=without_decimals(),
        roman_score=_roman_score(head, roman),
    )


def _best_reader(
    parts: Anatomy,
    tokenizer: PreTrainedTokenizerBase,
    classes: Mapping[str, ResolvedClass],
    number_tokens: pd.DataFrame,
    unseen: pd.DataFrame,
    *,
    seed: int,
) -> tuple[scores.HeadScores, Reader]:
    result = scores.score_heads(parts, dict(classes))
    asked = asked_tokens(tokenizer, classes, number_tokens, unseen)
    return result, Reader.of(parts, result.best, asked, seed=seed)


def measure_runs(model: TransformersModel, *, name: str, n_runs: int, seed: int = 0) -> StoredRuns:
    """The paper's autoencoders alone, `n_runs` of them, to be stored. Raises UserError where numbers are too few."""
    start, tokenizer, parts = time.process_time(), model.tokenizer, anatomy.of(model)
    classes = {task: resolved for task, resolved in ordinals.resolve(tokenizer).items() if len(resolved.source)}
    last = last_number(name)
    number_tokens, unseen = numbers(tokenizer, last=last), unseen_lists(tokenizer)
    if number_tokens["index"].nunique() < LEAST_NUMBERS or "numbers" not in classes:
        raise UserError(
            f"{name} writes {len(number_tokens)} numbers as single tokens, and residue classes need {LEAST_NUMBERS}: name a model with more."
        )
    _, head = _best_reader(parts, tokenizer, classes, number_tokens, unseen, seed=seed)
    probes = probe(head, tokenizer, number_tokens, unseen, last=last, seed=seed)
    trial = Trial.of(head, tokenizer, number_tokens, classes, probes, seed=seed)
    saes = trial.trained(range(seed, seed + n_runs))
    made = records.made()
    return StoredRuns(
        model=name,
        digest=models.digest_of(model),
        last=last,
        date=made["created"][:10],
        seconds=round(time.process_time() - start, 1),
        peak_rss_bytes=records.peak_rss_bytes(),
        versions=made["versions"],
        runs=trial.runs(saes, trial.most_important(saes)),
    )


def probe(
    head: Reader,
    tokenizer: PreTrainedTokenizerBase,
    number_tokens: pd.DataFrame,
    unseen: pd.DataFrame,
    *,
    last: int,
    seed: int,
) -> Probes:
    """Probes at all moduli as the paper trains them, on nine tenths of the numbers; those shuffled ride along."""
    x, x_unseen = head.x(number_tokens["token"].to_numpy()), head.x(unseen["token"].to_numpy())
    index, unseen_index = torch.tensor(number_tokens["index"].to_numpy()), torch.tensor(unseen["index"].to_numpy())
    # A modulus that has a residue without a number cannot be asked.
    moduli = [m for m in MODULI if len(torch.unique(index % m)) == m]
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    test, train = order.tensor_split([len(x) // 10 if len(x) >= LEAST_NUMBERS else 0])
    shuffles = [shuffled_numbers(last, seed=shuffle) for shuffle in range(N_SHUFFLES)]
    labels = torch.stack([*(index[train] % m for m in moduli), *(shuffle[index[train]] % 10 for shuffle in shuffles)])
    n_labels = [*moduli, *[10] * len(shuffles)]
    rows = features.train_probes(x[train], labels, n_labels, seed=seed)
    read_test, read_unseen = (features.read_by(rows, each, n_labels) for each in (x[test], x_unseen))
    ten = moduli.index(10)
    table = []
    for place, m in enumerate(moduli):
        columns: dict[str, Any] = {"modulus": m}
        for column, read, truth in (("validation", read_test, index[test]), ("unseen", read_unseen, unseen_index)):
            g = gcd(m, 10)
            columns[column] = (read[place] == truth % m).double().mean().item()
            columns[f"{column}_by_ten"] = (read[ten] % g == truth % g).double().mean().item() * g / m
        table.append(columns | {"n_validation": len(test)})
    circles = []
    for task, m in ((task, m) for task, own in ROUND.items() for m in (10, own)):
        own = torch.tensor((unseen["list"] == task).to_numpy())
        if m in moduli and own.any():
            right = read_unseen[moduli.index(m)][own] == unseen_index[own] % m
            circles.append((task, m, int(right.sum()), len(right)))
    rng, read_at_ten = np.random.default_rng(seed), read_unseen[ten].numpy()
    places = {task: np.flatnonzero(unseen["list"] == task) for task in unseen["list"].unique()}
    permuted = []
    for _ in range(500):
        anew = unseen["index"].to_numpy().copy()
        for members in places.values():
            anew[members] = rng.permutation(anew[members])
        permuted.append((read_at_ten == anew % 10).mean())
    return Probes(
        by_modulus=pd.DataFrame(table),
        words=unseen[["list", "word", "index"]].assign(read=read_at_ten),
        in_circles=pd.DataFrame(circles, columns=["list", "modulus", "right", "n"]),
        tens=_tens_held_out(x, index, seed=seed),
        beyond=_beyond(head, tokenizer, rows[ten], last),
        shuffled=(read_unseen[len(moduli) :] == unseen_index % 10).double().mean(1).numpy(),
        permuted=np.array(permuted),
        rows=rows[ten, :10],
        n_numbers=len(x),
        last=last,
    )


def shuffled_numbers(last: int, *, seed: int) -> Int[Tensor, " number"]:
    """A permutation of 0 to `last` that keeps the first hundred among themselves: both forms of a number go with it."""
    generator = torch.Generator().manual_seed(seed)
    first = min(100, last + 1)
    return torch.cat(
        [torch.randperm(first, generator=generator), first + torch.randperm(last + 1 - first, generator=generator)]
    )


def _tens_held_out(x: Tensor, index: Tensor, *, seed: int) -> tuple[int, int, float, float]:
    """Right and asked at modulus ten when no number of a ten, in either form, was in training; with its interval."""
    tens, read = index // 10, torch.full_like(index, -1)
    order = torch.randperm(int(tens.max()) + 1, generator=torch.Generator().manual_seed(seed))
    for fold in order.tensor_split(5):
        own = torch.isin(tens, fold)
        if own.any() and not own.all():
            rows = features.train_probes(x[~own], index[~own][None] % 10, [10], seed=seed)
            read[own] = features.read_by(rows, x[own], [10])[0]
    right = (read == index % 10).numpy()
    if (read < 0).any():
        return 0, 0, 0.0, 1.0  # all numbers are of one ten
    return int(right.sum()), len(right), *intervals.clustered_wilson(right, index.numpy())


def _beyond(head: Reader, tokenizer: PreTrainedTokenizerBase, rows: Tensor, last: int) -> tuple[int, int] | None:
    """What the ten's probe reads of numbers past `last`, up to the paper's 500; None where there are none."""
    table = numbers(tokenizer, last=reported.read()["probe"]["numbers_to"])
    table = table[table["index"] > last]
    if not len(table):
        return None
    read = features.read_by(rows[None], head.x(table["token"].to_numpy()), [10])[0].numpy()
    return int((read == table["index"].to_numpy() % 10).sum()), len(table)


def lay_in_circles(head: Reader, resolved: ResolvedClass, *, seed: int) -> Circles:
    """The numbers in the planes of all `PERIODS`; half of the tens, drawn at random, teach the directions."""
    x, index = head.x(resolved.token_ids), resolved.index
    generator = torch.Generator().manual_seed(seed)
    tens = (index // 10).unique()
    chosen = tens[torch.randperm(len(tens), generator=generator)[: len(tens) // 2]].sort().values
    learned = torch.isin(index // 10, chosen)
    shuffled = index[torch.randperm(len(index), generator=generator)]
    rows, points = [], []
    for period in PERIODS:
        own, other = (features.in_circle(x, of, period, learned=learned) for of in (index, shuffled))
        right = features.at_its_angle(own, index, period)[~learned]
        right_shuffled = features.at_its_angle(other, shuffled, period)[~learned]
        rows.append((period, int(right.sum()), len(right), int(right_shuffled.sum())))
        if period in PERIODS_DRAWN:
            across, up = own[~learned].T.numpy()
            shown = {"period": period, "index": index[~learned], "x": across, "y": up, "right": right}
            points.append(pd.DataFrame(shown))
    return Circles(
        by_period=pd.DataFrame(rows, columns=["period", "right", "n", "shuffled"]),
        points=pd.concat(points, ignore_index=True),
        tens=chosen.tolist(),
        shuffled=shuffled.tolist(),
    )


@dataclass(frozen=True, eq=False)
class Trial:
    """What autoencoders are trained on, and what they are asked: the tokens in training and held out, and the numbers 0 to 99.

    `right` is the successor's place among the head's candidates. `labels` are the numbers, and `shuffled` permutations of
    them; `rows` and `shuffled_rows` those of the probe at ten, and of one trained on the first permutation.
    """

    head: Reader
    train: Float[Tensor, "token d_model"]
    test: Float[Tensor, "held_out d_model"]
    tokens: Int[Tensor, " number"]
    x: Float[Tensor, "number d_model"]
    right: Int[Tensor, " number"]
    labels: Int[Tensor, " number"]
    shuffled: list[Int[Tensor, " number"]]
    rows: Float[Tensor, "10 d_model"]
    shuffled_rows: Float[Tensor, "10 d_model"]

    @classmethod
    def of(
        cls,
        head: Reader,
        tokenizer: PreTrainedTokenizerBase,
        number_tokens: pd.DataFrame,
        classes: Mapping[str, ResolvedClass],
        probes: Probes,
        *,
        seed: int,
    ) -> Trial:
        """The numbers with and without a space and all other lists, a tenth of them held out (paper, section 3.2)."""
        others = [form.token_ids for task, form in ordinals.surface_forms(tokenizer).items() if task != "numbers"]
        ids = torch.cat([torch.tensor(number_tokens["token"].to_numpy()), *others]).unique()
        order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
        test, train = order.tensor_split([len(ids) // 10])
        x = head.x(ids)
        labels, tokens, right = successions(tokenizer, classes["numbers"].prefix)
        index = torch.tensor(number_tokens["index"].to_numpy())
        shuffled_rows = features.train_probes(
            head.x(number_tokens["token"].to_numpy()),
            (shuffled_numbers(probes.last, seed=seed)[index] % 10)[None],
            [10],
            seed=seed,
        )[0]
        return cls(
            head=head,
            train=x[train],
            test=x[test],
            tokens=tokens,
            x=head.x(tokens),
            right=head.place(right),
            labels=labels,
            shuffled=[shuffled_numbers(99, seed=seed + draw)[labels] for draw in range(N_SHUFFLES)],
            rows=probes.rows,
            shuffled_rows=shuffled_rows,
        )

    def trained(self, seeds: Sequence[int], **settings: Any) -> features.SparseAutoencoders:
        """Autoencoders in one batch, by default of the paper's width and penalty."""
        return features.train_saes(
            self.train,
            seeds=seeds,
            steps=features.steps_of(len(self.train), n_epochs=EPOCHS, batch_size=BATCH),
            batch_size=BATCH,
            **settings or {"width": WIDTH, "sparsity": PENALTY},
        )

    def most_important(self, saes: features.SparseAutoencoders) -> Int[Tensor, "run number"]:
        """Of each run, the most important feature of each number."""
        return features.most_important(saes, self.x, self.head.says, self.right)

    def share(self, best: Int[Tensor, "run number"], labels: Sequence[Tensor]) -> Float[np.ndarray, " run"]:
        """Of each run the modal share, its mean over residues and over the labellings given."""
        return np.mean([features.modal_features(best, own, 10)[1].nanmean(1).numpy() for own in labels], axis=0)

    def runs(self, saes: features.SparseAutoencoders, best: Int[Tensor, "run number"]) -> Runs:
        """What the modal features of each run come to."""
        each = torch.arange(len(best))[:, None]
        chosen, null_chosen = (features.modal_features(best, own, 10)[0] for own in (self.labels, self.shuffled[0]))
        picked = saes.features[each, chosen]

        def cosine(directions: Tensor, rows: Tensor) -> np.ndarray:
            return torch.cosine_similarity(directions, rows, dim=-1).mean(-1).numpy()

        return Runs(
            share=self.share(best, [self.labels]),
            null=self.share(best, self.shuffled),
            distinct=np.array([len(set(row)) for row in chosen.tolist()]),
            cosine=cosine(picked, self.rows),
            cosine_null=cosine(saes.features[each, null_chosen], self.shuffled_rows),
            average=torch.nn.functional.normalize(picked.mean(0), dim=-1),
        )


def autoencode(trial: Trial, *, name: str, n_runs: int, seed: int, stored: StoredRuns | None) -> Autoencoders:
    """The paper's autoencoders, `n_runs` of them in one batch, and how their width and penalty compare with others."""
    saes = trial.trained(range(seed, seed + n_runs))
    best = trial.most_important(saes)
    firsts = saes.features[0, best[0]]
    choices = []
    for settings in (
        {"width": WIDTH, "sparsity": PENALTY},
        {"width": WIDTH, "sparsity": PENALTY / 3},
        {"width": WIDTH // 4, "sparsity": PENALTY},
        {"width": WIDTH // 4, "sparsity": PENALTY / 3},
        {"width": WIDTH // 4, "top_k": 8},
    ):
        is_papers = settings == {"width": WIDTH, "sparsity": PENALTY}
        two = saes if is_papers else trial.trained(range(seed, seed + 2), **settings)
        its_best = best if is_papers else trial.most_important(two)
        choices.append(
            {
                "width": settings["width"],
                "penalty": f"λ = {settings['sparsity']:g}"
                if "sparsity" in settings
                else f"TopK, K = {settings['top_k']}",
                "max cosine": features.max_cosine(two.features[0], two.features[min(1, len(two.seeds) - 1)]),
                "modal share": trial.share(its_best, [trial.labels]).mean(),
                "shuffled": trial.share(its_best, trial.shuffled).mean(),
            }
        )
    writes = firsts @ trial.head.w_ov @ trial.head.parts.unembed(trial.tokens).detach().cpu().float()
    here = trial.runs(saes, best)
    return Autoencoders(
        here=here,
        stored=stored,
        note=autoencoder_runs.note(stored, here, name=name),
        fires=saes.encode(trial.x)[0][:, best[0]].T.numpy(),
        writes=_row_centred(writes).numpy(),
        explained=saes.explained.mean().item(),
        held_out=saes.explained_on(trial.test).mean().item(),
        active=saes.active.mean().item(),
        dead=saes.dead.mean().item(),
        choices=pd.DataFrame(choices),
    )


def successions(tokenizer: PreTrainedTokenizerBase, prefix: str) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers 0 to 99 whose successor is a token too: number, its token, its successor's."""
    token = {number: ordinals.single_token(tokenizer, f"{prefix}{number}") for number in range(101)}
    kept = [number for number in range(100) if token[number] is not None and token[number + 1] is not None]
    return torch.tensor(kept), torch.tensor([token[n] for n in kept]), torch.tensor([token[n + 1] for n in kept])


def _row_centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)


def carry(head: Reader, resolved: ResolvedClass, average: Float[Tensor, "10 d_model"]) -> Carried:
    """What the head makes of one direction a residue: the averaged features, and the class means."""
    x, index = head.x(resolved.token_ids), resolved.index
    unembed = head.parts.unembed(resolved.token_ids).detach().cpu().float()

    def by_digit(directions: Tensor) -> np.ndarray:
        logits = torch.nn.functional.normalize(directions, dim=-1) @ head.w_ov @ unembed
        # What every direction gives a number, and what a direction gives every number, says nothing of a digit.
        logits = logits - logits.mean(0) - logits.mean(1, keepdim=True) + logits.mean()
        return torch.stack([logits[:, index % 10 == digit].mean(1) for digit in range(10)], 1).numpy()

    return Carried(features=by_digit(average), means=by_digit(class_means(x, index)))


# --- place and list ---------------------------------------------------------------------------------

PAIRS, PAIRS_HEAD = "pairs held out", "pairs held out, the head"
TOKENS, NEAREST, TOKENS_HEAD = "tokens held out", "tokens held out, nearest", "tokens held out, the head"
TESTS = (PAIRS, PAIRS_HEAD, TOKENS, NEAREST, TOKENS_HEAD)


@dataclass(frozen=True, eq=False)
class NumericPart:
    """A numeric part that was fitted on one subject, with what it takes to use it."""

    head: Reader
    classes: Mapping[str, ResolvedClass]
    scale: Tensor
    decodes: Float[Tensor, "d_model candidate"]
    numeric: Float[Tensor, "d_model d_model"]
    outcomes: dict[str, Asked]
    ceiling: dict[str, float]
    output_map: Float[Tensor, "d_model d_model"]
    output_share: float

    def mixed(self, of: Int[Tensor, " token"], into: Int[Tensor, " token"]) -> Float[Tensor, "token d_model"]:
        """The place of one token in the list of another, as a vector of mean squared length 1."""
        x = self.head.x(torch.cat([of, into])) / self.scale
        return features.recombined(x, self.numeric, torch.arange(len(of)), torch.arange(len(of), len(x)))

    def decoded(self, mixed: Float[Tensor, "token d_model"]) -> Int[Tensor, " token"]:
        """The tokens that vectors decode to."""
        return self.head.candidates[(mixed @ self.decodes).argmax(-1)]


def part_places(
    head: Reader, model: TransformersModel, classes: Mapping[str, ResolvedClass], roman: ResolvedClass, *, seed: int
) -> Subspace:
    """One map that parts the place from the list, on the model, on shuffled lists, on an untrained twin and on a plant."""
    own = fit_places(head, classes, seed=seed)
    shuffled = fit_places(head, classes, seed=seed, shuffled=True, output_map=own.output_map)
    subjects = {"model": own, "shuffled": shuffled}
    twin = anatomy.of(models.untrained_twin(model, seed=seed))
    of_twin = Reader(twin, scores.score_heads(twin, dict(classes)).best, head.candidates)
    subjects["untrained"] = fit_places(of_twin, classes, seed=seed)
    tokenizer = words.word_tokenizer()
    planted = plant(Plan("gpt_neox", seed, Shape(2, 6, 384), modulus=10), tokenizer)
    its_classes = ordinals.resolve(tokenizer)
    on_plant = Reader.of(anatomy.of(planted.module), planted.place("successor"), torch.tensor([0]), seed=seed)
    subjects["planted"] = fit_places(on_plant, its_classes, seed=seed)
    roman_shuffled = _romans(shuffled, classes, roman, model.tokenizer)
    return Subspace(
        outcomes={who: mixed.outcomes for who, mixed in subjects.items()},
        ceiling=pd.Series(own.ceiling),
        output_map=own.output_share,
        roman=_romans(own, classes, roman, model.tokenizer),
        roman_shuffled=int(roman_shuffled["right"].sum()),
        informal=_informal(own, classes, model.tokenizer),
    )


def fit_places(
    head: Reader,
    classes: Mapping[str, ResolvedClass],
    *,
    seed: int,
    shuffled: bool = False,
    output_map: Float[Tensor, "d_model d_model"] | None = None,
    most: int = 3000,
) -> NumericPart:
    """The paper's protocol on one subject: π_O on the vocabulary, then π_N on trios; pairs and tokens are held out.

    A tenth of the tokens stands in no trio of the training, in any role; 500 further trios are held out as the paper
    does it, whose tokens are all known. With `shuffled` the places of each list are permuted; π_O knows nothing of
    places, and that of the same reader and seed can be given as `output_map`.
    """
    generator = torch.Generator().manual_seed(seed)
    x_all = head.x(head.candidates)
    scale = (x_all - x_all.mean(0)).square().sum(1).mean().sqrt()
    x_all, unembed = x_all / scale, head.unembed * scale
    order = torch.randperm(len(x_all), generator=generator)
    aside = order[: min(1000, len(order) // 10)]
    listed = head.place(torch.cat([resolved.token_ids for resolved in classes.values()]))
    # The lists' own tokens are always in: what is asked is whether they can be mixed, not whether they can be decoded.
    train = order[~torch.isin(order, aside) | torch.isin(order, listed)]
    aside = aside[~torch.isin(aside, listed)]
    if output_map is None:
        output_map = features.fit_output_map(x_all[train], unembed, train, seed=seed)
    decodes, says = output_map @ unembed, head.w_ov @ unembed

    task, index, after = _members(classes, generator if shuffled else None)
    x, own = x_all[listed], listed
    trios = trios_of(task, index)
    held = torch.randperm(len(task), generator=generator)[: len(task) // 10]
    touched = torch.isin(trios, held)
    known = trios[~touched.any(1)]
    known = known[torch.randperm(len(known), generator=generator)]
    n_held = min(500, len(known) // 4)
    unseen = trios[touched[:, 2] & ~touched[:, :2].any(1)]
    unseen = unseen[torch.randperm(len(unseen), generator=generator)[:500]]
    numeric = features.fit_numeric_part(
        x, known[n_held : n_held + most], decodes=decodes, own=own, says=says, seed=seed
    )

    def decoded(vectors: Tensor, wanted: Tensor) -> Asked:
        return Asked.of(((vectors @ decodes).argmax(-1) == own[wanted]).numpy(), wanted.numpy())

    def answered(vectors: Tensor, wanted: Tensor) -> Asked:
        """Of those that have a successor: whether the head puts it first in its list."""
        right, of = [], []
        for vector, t in zip(vectors, wanted.tolist()):
            if after[t] >= 0:
                rivals = torch.tensor([member for member, name in enumerate(task) if name == task[t]])
                right.append(int(rivals[(vector @ says[:, own[rivals]]).argmax()]) == after[t])
                of.append(t)
        return Asked.of(right, of)

    def nearest(vectors: Tensor, wanted: Tensor) -> Asked:
        """Of the lists' own vectors: whether the right one lies closest, whatever it is unembedded to."""
        return Asked.of((torch.cdist(vectors, x).argmin(1) == wanted).numpy(), wanted.numpy())

    pairs = known[:n_held]
    seen = features.recombined(x, numeric, pairs[:, 0], pairs[:, 1])
    mixed = features.recombined(x, numeric, unseen[:, 0], unseen[:, 1])
    tests = (
        (PAIRS, decoded, seen, pairs[:, 2]),
        (PAIRS_HEAD, answered, seen, pairs[:, 2]),
        (TOKENS, decoded, mixed, unseen[:, 2]),
        (NEAREST, nearest, mixed, unseen[:, 2]),
        (TOKENS_HEAD, answered, mixed, unseen[:, 2]),
    )
    outcomes = {test: come_out(vectors, wanted) for test, come_out, vectors, wanted in tests}
    ceiling = {test: come_out(x[wanted], wanted).share for test, come_out, _, wanted in tests}
    kept = ((x_all[aside] @ decodes).argmax(-1) == aside).double().mean().item() if len(aside) else float("nan")
    return NumericPart(head, classes, scale, decodes, numeric, outcomes, ceiling, output_map, kept)


def _members(
    classes: Mapping[str, ResolvedClass], generator: torch.Generator | None
) -> tuple[list[str], list[int], list[int]]:
    """Of all members, list after list: the list, the place in it, and the member that follows or -1."""
    task: list[str] = []
    index: list[int] = []
    after: list[int] = []
    for name, resolved in classes.items():
        start, order = len(task), resolved.index.tolist()
        if generator is not None:
            order = [order[place] for place in torch.randperm(len(order), generator=generator)]
        follows = dict(zip(resolved.source.tolist(), resolved.target.tolist()))
        task += [name] * len(order)
        index += order
        after += [start + follows[member] if member in follows else -1 for member in range(len(order))]
    return task, index, after


def trios_of(task: Sequence[str], index: Sequence[int]) -> Int[Tensor, "trio 3"]:
    """All (i, j, t): t stands in the list of j where i stands in another."""
    place = {both: member for member, both in enumerate(zip(task, index))}
    found = [
        (i, j, place[task[j], index[i]])
        for i in range(len(task))
        for j in range(len(task))
        if task[i] != task[j] and (task[j], index[i]) in place
    ]
    return torch.tensor(found, dtype=torch.long).reshape(-1, 3)


def _romans(own: NumericPart, classes: Mapping[str, ResolvedClass], roman: ResolvedClass, tokenizer) -> pd.DataFrame:
    """What I to XII come to in each list, whose first member lends the list: numeral, list, read, right, head.

    `read` is what the sum decodes to, and `right` whether it is the wanted member; `head` whether the head that reads the
    sum puts that member's successor first in the list, None where it has none.
    """
    rows = []
    firsts = {task: resolved for task, resolved in classes.items() if 1 in resolved.index}
    for place, index in enumerate(roman.index.tolist()):
        if index > reported.read()["table_2"]["numerals"] or not firsts:
            continue
        into = torch.stack([resolved.token_ids[resolved.index == 1][0] for resolved in firsts.values()])
        mixed = own.mixed(roman.token_ids[place].expand(len(into)), into)
        for (task, resolved), vector, token in zip(firsts.items(), mixed, own.decoded(mixed).tolist()):
            wanted = (resolved.index == index).nonzero()[:, 0]
            if not len(wanted):
                continue
            follows = dict(zip(resolved.source.tolist(), resolved.target.tolist()))
            said = (vector @ own.head.says[:, own.head.place(resolved.token_ids)]).argmax()
            after = follows.get(int(wanted[0]))
            is_right = token == int(resolved.token_ids[wanted[0]])
            answered = None if after is None else int(said) == after
            rows.append((roman.words[place], task, tokenizer.decode([token]).strip(), is_right, answered))
    return pd.DataFrame(rows, columns=["numeral", "list", "read", "right", "head"])


def informal_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Those of the words without a list that are single tokens."""
    tokens = {word: ordinals.single_token(tokenizer, f" {word}") for word in INFORMAL}
    return {word: token for word, token in tokens.items() if token is not None}


def _informal(own: NumericPart, classes: Mapping[str, ResolvedClass], tokenizer) -> pd.DataFrame:
    """What the place of words without a list decodes to among the numbers: word, expected, read, and all expectations."""
    resolved = classes.get("numbers") or next(iter(classes.values()))
    if len(resolved.words) < 12 and "number_words" in classes:
        resolved = classes["number_words"]
    first = resolved.token_ids[resolved.index.argmin()]
    rows = []
    for word, token in informal_tokens(tokenizer).items():
        mixed = own.mixed(torch.tensor([token]), first[None])
        logits = mixed @ own.decodes[:, own.head.place(resolved.token_ids)]
        rows.append((word, INFORMAL[word], int(resolved.index[logits.argmax()])))
    return pd.DataFrame(rows, columns=["word", "expected", "read"])


def _roman_score(head: Reader, roman: ResolvedClass) -> tuple[int, int]:
    """On how many Roman numerals the head puts the next one strictly first, of how many (Figure 16)."""
    if not len(roman.source):
        return 0, 0
    logits = head.x(roman.token_ids) @ head.w_ov @ head.parts.unembed(roman.token_ids).detach().cpu().float()
    return int((scores.strict_argmax(logits)[roman.source] == roman.target).sum()), len(roman.source)


# --- neurons, and what is needed --------------------------------------------------------------------


def rank_neurons(
    head: Reader, tokenizer: PreTrainedTokenizerBase, prefix: str, *, seed: int, n_first: int = 16, n_draws: int = 1000
) -> Neurons:
    """Neurons of MLP0 by how low the successor's probability falls without them, on the numbers 0 to 99."""
    index, tokens, successors = successions(tokenizer, prefix)
    right = head.place(successors)
    fires = head.parts.mlp0_neurons(head.parts.embed(tokens)).detach().cpu().float()
    writes = head.parts.mlp0_writes().detach().cpu().float()
    x = head.x(tokens)
    if head.parts.mlp_post_norm_path:  # a norm behind the MLP is held as it is
        writes = writes * (x / (fires @ writes)).median(0).values
    moves, logits = writes @ head.says, x @ head.says
    probability = torch.zeros(fires.shape[1], dtype=torch.double)
    for own, of_all, successor in zip(fires, logits, right):
        for some in torch.arange(len(own)).split(512):
            without = of_all - own[some, None] * moves[some]
            probability[some] += without.double().log_softmax(-1)[:, successor].exp() / len(fires)
    order = probability.argsort()
    periods = period_of(fires, index)
    rng = np.random.default_rng(seed)
    random = np.array([(periods[rng.choice(len(periods), n_first, replace=False)] == 10).sum() for _ in range(n_draws)])
    first = order[:n_first]
    unembed = head.parts.unembed(tokens).detach().cpu().float()
    written = _row_centred(writes[first[:3]] @ head.w_ov @ unembed)
    by_digit = torch.stack([written[:, index % 10 == digit].mean(1) for digit in range(10)], 1)
    return Neurons(
        first=first.tolist(),
        periods=periods[first].tolist(),
        random=random,
        n=fires.shape[1],
        fires=fires[:, first[:3]].T.numpy(),
        writes=by_digit.numpy(),
    )


def period_of(values: Float[Tensor, "token value"], index: Int[Tensor, " token"]) -> Int[np.ndarray, " value"]:
    """Of each value the smallest modulus from 2 to 25 whose residues explain nearly as much of its variance as any.

    By the adjusted R², for twenty residues explain more than ten whatever the values are. Nearly is 95% of the most: a
    multiple of a period explains what the period does.
    """
    n = len(index)
    shares = torch.stack([features.residue_share(values, index, m) for m in MODULI])
    chance = torch.tensor([(n - 1) / (n - m) for m in MODULI])[:, None]
    adjusted = 1 - (1 - shares) * chance
    return np.array(MODULI)[(adjusted >= 0.95 * adjusted.max(0).values).int().argmax(0).numpy()]


def need(
    head: Reader, model: TransformersModel, resolved: ResolvedClass, *, seed: int, n_draws: int = 20, n_runs: int = 8
) -> Needed:
    """Whether the head needs the ten's nine directions more than nine others, or gets along with them alone.

    Directions are fitted on nine tenths of the numbers and taken from the last, in turn. The others are random mixtures of
    the numbers' vectors, which lean to where numbers differ most. Then the same removal in the running model, at every
    position of lists such as " 17, 18, 19,", of which `n_runs` are done with others.
    """
    x, index = head.x(resolved.token_ids), resolved.index
    unembed = head.parts.unembed(resolved.token_ids).detach().cpu().float()
    folds = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).tensor_split(10)
    ends = index[resolved.target] % 10

    def answers(vectors: Tensor) -> tuple[float, float]:
        place = scores.strict_argmax(vectors @ head.w_ov @ unembed)[resolved.source]
        digit = (index[place] % 10 == ends) & (place >= 0)
        return digit.double().mean().item(), (place == resolved.target).double().mean().item()

    def changed(directions_of, *, keep: bool) -> tuple[float, float]:
        vectors = x.clone()
        for fold in folds:
            fit = torch.ones(len(x), dtype=torch.bool)
            fit[fold] = False
            basis = torch.linalg.svd(directions_of(x[fit], index[fit]), full_matrices=False)[2][:9]
            part = (x[fold] - x[fit].mean(0)) @ basis.T @ basis
            vectors[fold] = x[fit].mean(0) + part if keep else x[fold] - part
        return answers(vectors)

    def held(rows: Tensor) -> float:
        """The share of the numbers' variance that lies in the span of these rows."""
        basis = torch.linalg.svd(rows, full_matrices=False)[2][:9]
        return (((x - x.mean(0)) @ basis.T).square().sum() / (x - x.mean(0)).square().sum()).item()

    def from_span(draw: int):
        def mix(x: Tensor, _: Tensor) -> Tensor:
            weights = torch.randn(9, len(x), generator=torch.Generator().manual_seed(draw))
            return weights @ (x - x.mean(0))

        return mix

    rows = []
    for change, keep in (("removed", False), ("kept alone", True)):
        digit, successor = changed(class_means, keep=keep)
        n = len(resolved.source)
        low, high = intervals.wilson(digit * n, n)
        rows.append((change, "of the ten", digit, low, high, successor))
        drawn = np.array([changed(from_span(draw), keep=keep) for draw in range(n_draws)])
        low, high = intervals.middle(drawn[:, 0])
        rows.append((change, "at random", drawn[:, 0].mean(), low, high, drawn[:, 1].mean()))
    own, others = class_means(x, index), [from_span(draw)(x, index) for draw in range(n_draws)]
    rows += _in_the_model(model, resolved, x, [own, *others[:n_runs]])
    return Needed(
        shares=pd.DataFrame(rows, columns=["change", "directions", "digit", "low", "high", "successor"]),
        intact=answers(x),
        n=len(resolved.source),
        variance=(held(own), float(np.mean([held(some) for some in others]))),
    )


def _in_the_model(
    model: TransformersModel, resolved: ResolvedClass, x: Float[Tensor, "token d_model"], removed: Sequence[Tensor]
) -> list[tuple]:
    """Rows of `Needed.shares` for lists of numbers in the running model: intact, without the first, without the others."""
    lists, answers = prompts.counting_lists(resolved)
    if not lists:
        return []
    index_of = dict(zip(resolved.token_ids.tolist(), resolved.index.tolist()))
    ends = torch.tensor([index_of[answer] % 10 for answer in answers.tolist()])

    def shares(logits: Tensor) -> tuple[float, float]:
        read = logits[:, resolved.token_ids].argmax(-1)
        digit = (resolved.index[read] % 10 == ends).double().mean().item()
        return digit, (resolved.token_ids[read] == answers).double().mean().item()

    drawn = []
    for directions in removed:
        basis = torch.linalg.svd(directions, full_matrices=False)[2][:9]
        drawn.append(shares(ablation.without_mlp0_directions(model, lists, basis, mean=x.mean(0))))
    intact = shares(prompts.next_token_logits(model, lists))
    ten, *others = drawn
    digits = np.array(others)[:, 0]
    return [
        (WHOLE, "nothing", intact[0], *intervals.wilson(intact[0] * len(lists), len(lists)), intact[1]),
        (WHOLE, "of the ten", ten[0], *intervals.wilson(ten[0] * len(lists), len(lists)), ten[1]),
        (WHOLE, "at random", digits.mean(), digits.min(), digits.max(), np.array(others)[:, 1].mean()),
    ]


def without_decimals() -> pd.DataFrame:
    """Models grown on the same text with and without decimals: arm, seed, the probe at ten, the best head's macro."""
    rows = []
    for name, run in observe.stored(observe.ANNOUNCED_RUNS).items():
        arm, _, seed = name.rpartition("-seed")
        if arm in ("full", "no-decimals"):
            ten = next(row["accuracy"] for row in run["probes"] if row["modulus"] == 10)
            rows.append(
                (
                    "without decimals" if "no" in arm else "with decimals",
                    int(seed),
                    ten,
                    float(np.max(run["macro_by_head_mlp0"])),
                )
            )
    return pd.DataFrame(rows, columns=["text", "seed", "probe", "macro"])


# --- what it comes to -------------------------------------------------------------------------------


def verdict(found: Found) -> Verdict:
    """Whether the model counts in tens.

    "too_few": the tokenizer has too few numbers to ask. "not_shown": the ten cannot be read. "another": a modulus
    without a divisor in common with ten is read as well. Else "shared", if the words of lists never seen share the
    ten, mostly; "in_part", if more of them than by chance; or "numbers_only".
    """
    said = about_probe(found)
    if said.key in ("too_few", "not_read", "another"):
        key = {"not_read": "not_shown"}.get(said.key, said.key)
        bold = {
            "too_few": "Tens cannot be looked for.",
            "not_read": "That this model counts in tens is not shown.",
            "another": "This model does not count in tens alone.",
        }[said.key]
        return Verdict(
            key, f"**{bold}** {said.sentence} {about_lists(found).sentence} {about_subspace(found).sentence}"
        )
    lists, needed = about_lists(found), about_needed(found)
    is_needed = needed.key == "needed"
    bold = "The ten is there, to be read." if said.key == "read" else "The ten can be read, in part."
    key = {"shared": "shared", "in_part": "in_part"}.get(lists.key, "numbers_only")
    return Verdict(
        key,
        f"**{bold}** {said.sentence} {lists.sentence} {about_carried(found).sentence}\n\n"
        f"**{'This head needs it, in part.' if is_needed else 'That it is needed is not shown.'}** {needed.sentence} {_grown_sentence(found, but=is_needed)}",
    )


def about_probe(found: Found) -> Verdict:
    """Whether a probe reads the ten from numbers of tens never seen: "too_few", "not_read", "another", "in_part", or "read"."""
    probes = found.probes
    if probes is None or probes.n_numbers < LEAST_NUMBERS:
        return Verdict(
            "too_few",
            f"The tokenizer of {found.model} writes {found.n_numbers} numbers as single tokens, and a period needs {LEAST_NUMBERS}.",
        )
    right, n, low, high = probes.tens
    told = f"a probe reads the last digit of {right} of {n} numbers of decades that it had not seen ({low:.2f} to {high:.2f}; a guess 0.10)"
    if low <= max(0.2, float(probes.shuffled.max())):
        return Verdict("not_read", f"{told[0].upper()}{told[1:]}.")
    modulus, other = probes.coprime
    if other > 0.5:
        return Verdict(
            "another",
            f"{told[0].upper()}{told[1:]}, but the index mod {modulus} of {other:.2f}, which has nothing of ten in it.",
        )
    return Verdict("read" if low > MOSTLY else "in_part", f"{told[0].upper()}{told[1:]}.")


def about_lists(found: Found) -> Verdict:
    """Whether words of lists never seen share the ten: "not_asked", "shared", "in_part", or "not_shown"."""
    probes = found.probes
    if probes is None or not len(probes.words):
        return Verdict(
            "not_asked", "Not every digit is a single token, so that no probe for the last digit can be tried on words."
        )
    low, high = probes.interval
    by_chance = max(float(np.quantile(probes.permuted, 0.975)), float(probes.shuffled.max()))
    past, of, permuted = probes.past_ten
    few = probes.n_numbers < LEAST_NUMBERS
    it, who = ("their index", "a probe trained on these numbers") if few else ("it", "it")
    told = f"{who} reads {found.words_read} words of lists that it never saw ({low:.2f} to {high:.2f}; by chance up to {by_chance:.2f})"
    beyond = f", {past} of the {of} past nine (by chance {permuted:.0f})" + (
        ", and up to nine a residue is the index" if few else ""
    )
    if low <= by_chance:
        return Verdict("not_shown", f"That words share {it} is not shown: {told}.")
    if low > MOSTLY:
        return Verdict("shared", f"Words share {it}: {told}{beyond}.")
    return Verdict("in_part", f"Words share {it} in part: {told}{beyond}.")


def about_saes(found: Found) -> Verdict:
    """Whether autoencoders find the ten: "not_asked", "found", "hardly", or "not_shown"."""
    saes = found.saes
    if saes is None:
        return Verdict("not_asked", "With so few numbers a residue class has one number, which any feature covers.")
    runs = saes.runs
    told = (
        f"in {len(runs.share)} runs the modal feature covers {runs.share.mean():.2f} of its residue class (95% of runs {spread(runs.share)}), "
        f"and {runs.null.mean():.2f} of a class of permuted numbers"
    )
    low, _ = intervals.middle(runs.share - runs.null)  # run by run
    if low <= 0:
        return Verdict("not_shown", f"Autoencoders with the paper's settings do not find the ten: {told}.")
    if runs.share.mean() > 0.5:
        return Verdict("found", f"Autoencoders find the ten: {told}.")
    return Verdict("hardly", f"Autoencoders with the paper's settings hardly find the ten: {told}.")


def about_carried(found: Found) -> Verdict:
    """Whether the head turns a residue into the next: "not_asked", "carried", "in_part", or "not_shown"."""
    if found.carried is None:
        return Verdict("not_asked", "What a residue does in the head needs numbers.")
    means = found.carried.counts_on(found.carried.means)
    told = f"{means} of ten digits raise the next one most"
    key, lead = (
        ("carried", "The head steps it on, as a table would")
        if means >= 8
        else ("in_part", "The head steps it on in part, as a table would")
        if means >= 4
        else ("not_shown", "That the head steps it on is not shown")
    )
    return Verdict(key, f"{lead}: {told}.")


def about_subspace(found: Found) -> Verdict:
    """Whether one map parts place and list on tokens never seen: "shared", "in_part", or "not_shown".

    The nearest of the lists' own vectors decides. Where it is hardly ever the right one, what the sum decodes to may
    still be right beyond the controls: then the map parts them in part.
    """
    shares, own = found.subspace.shares, found.subspace.shares.loc[NEAREST, "model"]
    seen = shares.loc[PAIRS]
    (beyond, control), (decodes, by_chance) = (found.subspace.beyond_controls(test) for test in (NEAREST, TOKENS))
    told = f"of tokens held out {own:.2f} come out nearest the right one, with shuffled lists or an untrained network at most {control:.2f}"
    trap = f"of pairs held out, whose tokens are known, {seen['model']:.2f} decode rightly, shuffled {seen['shuffled']:.2f}"
    if not beyond and decodes:
        return Verdict(
            "in_part",
            f"One map parts place and list, in part: of tokens held out {shares.loc[TOKENS, 'model']:.2f} decode rightly, with shuffled lists or an untrained network "
            f"at most {by_chance:.2f}, but {own:.2f} come out nearest the right one; {trap}.",
        )
    if not beyond:
        return Verdict("not_shown", f"One map for place and list is not shown: {told}; {trap}.")
    key, lead = (
        ("shared", "One map parts place and list")
        if own > 0.8
        else ("in_part", "One map parts place and list, in part")
    )
    return Verdict(key, f"{lead}: {told}; {trap}.")


def about_neurons(found: Found) -> Verdict:
    """Whether the neurons that matter most have a period of ten: "not_asked", "ten", or "not_shown"."""
    neurons = found.neurons
    if neurons is None:
        return Verdict("not_asked", "The period of a neuron needs numbers.")
    most = int(np.quantile(neurons.random, 0.975))
    told = f"{neurons.of_ten} of the first {len(neurons.periods)} have a period of ten, of as many at random {neurons.random.mean():.1f} (up to {most} in 97.5% of draws)"
    if neurons.commonest == 10 and neurons.of_ten > most:
        return Verdict("ten", f"Ten is the commonest period of the neurons that matter most: {told}.")
    if neurons.commonest == 10:
        return Verdict(
            "not_shown", f"Ten is the commonest period of the neurons that matter most, but of others too: {told}."
        )
    return Verdict(
        "not_shown", f"The neurons that matter most are not those of ten: {told}, and {neurons.commonest} is commoner."
    )


def about_needed(found: Found) -> Verdict:
    """Whether the head needs the ten: "not_asked", "no_digit", "needed", or "not_needed"."""
    needed = found.needed
    if needed is None:
        return Verdict("not_asked", "Whether the head needs the ten cannot be asked without numbers.")
    if needed.intact[0] < 0.2:
        return Verdict(
            "no_digit",
            f"{found.name} gets the last digit of {needed.intact[0]:.2f} of the successors, so there is none to lose.",
        )
    ten, others = needed.row("removed", "of the ten"), needed.row("removed", "at random")
    told = f"without the ten's nine directions {found.name} gets {ten['digit']:.2f} of the last digits, without nine others {others['digit']:.2f}, intact {needed.intact[0]:.2f}"
    if ten["high"] < others["low"]:
        return Verdict("needed", f"{told[0].upper()}{told[1:]}.")
    return Verdict("not_needed", f"{told[0].upper()}{told[1:]}.")


def _grown_sentence(found: Found, *, but: bool) -> str:
    """What models grown with and without decimals say about need."""
    without = found.grown[found.grown["text"] == "without decimals"]
    return (
        f"{'But' if but else 'And'} {len(without)} models whose text never takes numbers apart have no ten (the probe reads {without['probe'].mean():.2f}) and count all the same "
        f"(announced in chapter 6; macro {without['macro'].min():.3f} or more)."
    )


ABOUT = {
    "tens": verdict,
    "probe": about_probe,
    "lists": about_lists,
    "saes": about_saes,
    "carried": about_carried,
    "subspace": about_subspace,
    "neurons": about_neurons,
    "needed": about_needed,
}


# --- what is drawn ----------------------------------------------------------------------------------


def draw_moduli(found: Found) -> Drawing | Markdown:
    """Accuracy of the probe at each modulus, on numbers held out and on lists never seen, over the paper's Figure 27."""
    probes, said = found.probes, about_probe(found).sentence
    if probes is None:
        return Markdown(said)
    theirs, table = reported.probe_by_modulus().set_index("modulus"), probes.by_modulus.set_index("modulus")
    shown = [("validation", "numbers held out"), ("unseen", "lists never seen")]
    shown = shown if table["n_validation"].max() else shown[1:]  # of a few numbers none is held out
    figs, axes = figures.panels(len(shown), height=2.7)
    spoken = []
    for ax, (column, title) in zip(axes, shown):
        ax.bar(
            table.index,
            table[column],
            color=[PALETTE["orange"] if m == 10 else PALETTE["blue"] for m in table.index],
            width=0.75,
            linewidth=0,
        )
        ax.hlines(table[f"{column}_by_ten"], table.index - 0.45, table.index + 0.45, color=figures.INK, linewidth=1.3)
        ax.plot(theirs.index, theirs[column], color=PALETTE["grey"], marker="o", markersize=3.5, linewidth=1)
        ax.set(
            title=title, xlabel="modulus", ylabel="residues read right", ylim=(0, 1.05), xticks=[2, 5, 10, 15, 20, 25]
        )
        spoken.append(
            f"Bars of the share of residues read right on {title}: {table.loc[10, column]:.2f} at ten; the paper's line has {theirs.loc[10, column]:.2f}."
        )
    lists, (modulus, near) = about_lists(found), probes.neighbour
    held_out = (
        f"{table.loc[10, 'validation']:.2f} of the {int(table['n_validation'].max())} numbers held out, and "
        if table["n_validation"].max()
        else ""
    )
    beyond = (
        f"On {probes.beyond[1]} numbers past {probes.last}, which the text has only in runs, it reads {probes.beyond[0]}. "
        if probes.beyond
        else ""
    )
    tens = (
        f"With whole decades held out, both forms of a number together: {probes.tens[0]} of {probes.tens[1]} ({probes.tens[2]:.2f} to {probes.tens[3]:.2f}). "
        if probes.tens[1]
        else ""
    )
    return Drawing(
        figs,
        alt=spoken,
        caption=f"At modulus ten the probe reads {held_out}{found.words_read} words of lists never seen; the best neighbour of ten, {modulus}, reads {near:.2f} of these.",
        details=f"Grey: the paper, Figure 27 of version 1, measured from its points. Black: what knowing the last digit explains. {probes.n_numbers} numbers up to {probes.last}, with and without "
        f"a space as far as they are single tokens. {tens}{beyond}{lists.sentence} Intervals take the forms of a word as one. By list: {_by_list(probes)}.",
    )


def _by_list(probes: Probes) -> str:
    right = pd.Series(probes.right).groupby(probes.words["list"].to_numpy(), sort=False)
    return ", ".join(f"{list_name(task)} {int(own.sum())} of {len(own)}" for task, own in right)


def draw_words(found: Found) -> Table | Markdown:
    """The words that are read wrongly, by name."""
    probes = found.probes
    if probes is None:
        return Markdown(about_lists(found).sentence)
    rows = []
    for task, own in probes.words.assign(right=probes.right).groupby("list", sort=False):
        wrong = own[~own["right"]]
        named = ", ".join(f"{word.strip()} ({read})" for word, read in zip(wrong["word"], wrong["read"]))
        rows.append((list_name(str(task)), f"{int(own['right'].sum())} of {len(own)}", named or "none"))
    entry = reported.read()["probe"]
    lists = entry["lists"]
    days, months = lists["mod_10"]["days"], lists["mod_10"]["months"]
    by_seven, by_twelve = lists["mod_7"]["days"], lists["mod_12"]["months"]
    return Table(
        pd.DataFrame(rows, columns=["list", "right", "wrong, with what was read"]),
        caption=f"The paper's probe is wrong on {len(entry['wrong'])} of {entry['of']} words, ours on {int((~probes.right).sum())} of {len(probes.words)}.",
        details=f"Reported as wrong: {', '.join(word.strip() for word in entry['wrong'])}; by name, {months[0]} of {months[1]} months and {days[0]} of {days[1]} days right "
        f"({entry['where']}). Forms with and without a space, and capitalised, count as words of their own. "
        f"By seven the paper's probe names {by_seven[0]} of {by_seven[1]} days, by twelve {by_twelve[0]} of {by_twelve[1]} months. Ours: {_in_circles(probes)}.",
    )


def _in_circles(probes: Probes) -> str:
    """Months and days by each modulus, as text: how many of their forms are right."""
    return ", ".join(
        f"{row['right']} of {row['n']} forms of {row['list']} by {row['modulus']}"
        for _, row in probes.in_circles.iterrows()
    )


def draw_sources(found: Found) -> Table | Markdown:
    """Where else the last digit can be read."""
    if not len(found.sources):
        return Markdown("With so few numbers there is no last digit to look for in other places.")
    names = {
        "mlp0": "MLP0's output",
        "embedding": "the embedding alone",
        "unembedding": "the unembedding",
        "random mlp": "a random MLP on the embedding",
    }
    wide = found.sources.set_index(["source", "modulus"])
    rows = [
        (
            names[source],
            f"{own['accuracy']:.2f} ({own['low']:.2f} to {own['high']:.2f})",
            f"{wide.loc[(source, 7), 'accuracy']:.2f}",
        )
        for source, own in ((source, wide.loc[(source, 10)]) for source in names)
    ]
    bare, made = wide.loc[("embedding", 10), "accuracy"], wide.loc[("mlp0", 10)]
    return Table(
        pd.DataFrame(rows, columns=["read from", "last digit", "mod 7, control"]),
        caption=f"From MLP0's output no more of the last digits is read than by guessing: {made['accuracy']:.2f}, from the bare embedding {bare:.2f}."
        if made["low"] <= 0.1
        else f"The bare embedding gives {bare:.2f} of the last digits too: "
        + ("it can be read before MLP0." if bare > 0.8 * made["accuracy"] else "MLP0 makes the ten easier to read."),
        details=f"{int(found.sources['n'].iloc[0])} numbers of one form; ridge regression, its penalty chosen within the training numbers alone, tenfold; 95% Wilson intervals. "
        "One fixed penalty for all four would favour the source that it suits.",
    )


def draw_circles(found: Found) -> Living | Markdown:
    """The numbers held out, in the planes of the ten and of a control; on the page, of every period, to turn by hand."""
    circles = found.circles
    if circles is None:
        return Markdown(about_probe(found).sentence)
    figs, axes = figures.panels(len(PERIODS_DRAWN), height=3.3)
    for ax, period in zip(axes, PERIODS_DRAWN):
        own = circles.points[circles.points["period"] == period]
        reach = 1.12 * float(np.hypot(own["x"], own["y"]).max())
        for right, color in ((True, "blue"), (False, "orange")):
            some = own[own["right"] == right]
            for x, y, index in zip(some["x"], some["y"], some["index"]):
                ax.text(
                    x, y, str(index % period), color=PALETTE[color], ha="center", va="center", fontsize=figures.LEAST
                )
        ax.set(title=f"period {period}", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        ax.axis("off")
        ax.axhline(0, color=figures.INK, linewidth=0.4)
        ax.axvline(0, color=figures.INK, linewidth=0.4)
    ten, control = PERIODS_DRAWN
    by = circles.by_period.set_index("period")
    still = Drawing(
        figs,
        alt=[f"Scatter of the numbers held out in the plane of period {period}, each written as its residue; {circles.right(period)} lie at their own angle." for period in PERIODS_DRAWN],
        caption=f"In the plane of period {ten}, {circles.right(ten)} numbers of decades held out lie at the angle of their residue; in that of period {control}, {circles.right(control)} do.",
        details=f"Each number is written as its residue, blue where it lies nearer to its own angle than to that of any other residue, orange elsewhere. The plane's two directions are what MLP0 writes on the numbers of {len(circles.tens)} decades drawn at random, summed with the cosine and the sine of their angle. With the index permuted {int(by.loc[ten, 'shuffled'])} and {int(by.loc[control, 'shuffled'])} do so. Period 5 is half of the ten: who knows the digit knows it.",
    )  # fmt: skip  # texts as they are read
    n = int(by["n"].iloc[0])
    rows = pd.DataFrame({"period": by.index, "at their own angle": by["right"].to_numpy(), "index permuted": by["shuffled"].to_numpy(), "by chance": [round(n / period) for period in by.index]})  # fmt: skip  # one table
    table = Table(rows, caption=f"Of {n} numbers held out, how many lie at their own angle, by period.")
    return Living("circles", still, model=found.model, table=table, options={"tens": circles.tens, "shuffled": circles.shuffled})  # fmt: skip


def draw_bands(found: Found) -> Drawing | Markdown:
    """How strongly each number's most important feature fires on each number, and what it writes there."""
    saes = found.saes
    if saes is None:
        return Markdown(about_saes(found).sentence)
    figs, axes = figures.panels(2, height=3.1)
    spoken = []
    for ax, values, title, signed in (
        (axes[0], saes.fires, "fires on", False),
        (axes[1], saes.writes, "raises, through the head", True),
    ):
        limit = float(np.quantile(np.abs(values), 0.99)) or 1.0
        scale = (
            {"cmap": figures.SIGNED, "vmin": -limit, "vmax": limit}
            if signed
            else {"cmap": figures.SHARES, "vmin": 0, "vmax": limit}
        )
        ax.imshow(values, interpolation="nearest", rasterized=True, **scale)
        ax.set(title=title, xlabel="number", ylabel="most important feature of")
        spoken.append(
            f"Heat map of {len(values)} by {len(values)} numbers: what the most important feature of each {title}; rows and columns ten apart alike would be lines of a ten."
        )
    more, raised = (
        "{:z.2f} ({:z.2f} to {:z.2f})".format(*intervals.mean_interval(_excess(values, step), seed=0))
        for values, step in ((saes.fires, 0), (saes.writes, 1))
    )
    return Drawing(
        figs,
        alt=spoken,
        caption=f"The most important feature of a number fires {more} more on numbers with its last digit than on others, and raises those with the next digit {raised} more.",
        details="One run; 95% bootstrap intervals over the numbers whose features these are. On the left without the number itself, on the right without its successor; logits are around the mean of a row. Diagonal lines ten apart are what the paper shows.",
    )


def _excess(values: Float[np.ndarray, "number number"], step: int) -> Float[np.ndarray, " number"]:
    """Of each row the mean over numbers whose last digit is `step` further, less that over others; without the number that far."""
    i, j = np.indices(values.shape)
    along, off = (j - i) % 10 == step, (j - i) % 10 != step
    along &= j != i + step
    return (values * along).sum(1) / along.sum(1) - (values * off).sum(1) / off.sum(1)


def draw_shares(found: Found) -> Drawing | Markdown:
    """Modal share and cosine with the probe's rows, one dot a run, beside permuted numbers and the paper."""
    saes = found.saes
    if saes is None:
        return Markdown("So no feature can be modal.")
    entry, runs, here = reported.read()["sae"], saes.runs, saes.here
    lines = [(f"{len(runs.share)} stored", runs.share, runs.cosine, "orange")] if saes.stored else []
    lines += [(f"{len(here.share)} trained here", here.share, here.cosine, "blue")]
    lines += [("permuted", runs.null, runs.cosine_null, "grey")]
    figs, axes = figures.panels(2, height=0.5 * len(lines) + 0.9)
    rng = np.random.default_rng(0)
    for ax, panel, theirs, label in (
        (axes[0], 1, entry["modal_share"], "share of its class"),
        (axes[1], 2, entry["probe_cosine"], "cosine with the probe"),
    ):
        for place, line in enumerate(lines):
            values = line[panel]
            height = -place + rng.uniform(-0.16, 0.16, len(values))
            ax.scatter(values, height, color=PALETTE[line[3]], s=20, alpha=0.6, linewidths=0)
        ax.axvline(theirs, color=figures.INK, linewidth=1, linestyle=":")
        ax.set(
            yticks=-np.arange(len(lines)),
            yticklabels=[line[0] for line in lines],
            ylim=(0.5 - len(lines), 0.6),
            xlim=(-0.05, 1),
            xlabel=label,
        )
        ax.tick_params(axis="y", length=0)
    return Drawing(
        figs,
        alt=[
            f"Dots, one a run: the modal feature's share of its residue class, {runs.share.mean():.2f}, permuted numbers {runs.null.mean():.2f}; dotted line at the paper's {entry['modal_share']}.",
            f"Dots, one a run: cosine with the probe's rows, {runs.cosine.mean():.2f}, permuted {runs.cosine_null.mean():.2f}; dotted line at the paper's {entry['probe_cosine']:.3f}.",
        ],
        caption=about_saes(found).sentence,
        details=f"Dotted: the paper ({entry['where']}). {saes.note} Width {WIDTH}, λ = {PENALTY:g}, batches of {BATCH}, {EPOCHS} passes; tokens scaled to a mean squared length of 1, Adam at .003, "
        f"of which the paper says nothing. Of ten modal features {runs.distinct.mean():.1f} differ. Of those trained here {saes.active:.1f} features are on for a token and {saes.dead:.0%} for none; {saes.explained:.2f} of the variance "
        f"is kept, {saes.held_out:.2f} of that of tokens held out. Cosine with the rows of the probe {runs.cosine.mean():.2f} (95% of runs {spread(runs.cosine)}), of permuted numbers {runs.cosine_null.mean():.2f}.",
    )


def draw_choices(found: Found) -> Table | Markdown:
    """Widths and penalties by mean max cosine, as the paper chooses, and what each says of the ten."""
    if found.saes is None:
        return Markdown("Without a ten to look for there is nothing to choose between.")
    table = found.saes.choices
    best = table.loc[table["max cosine"].idxmax()]
    return Table(
        table,
        caption=f"By mean max cosine of two runs one would take width {best['width']} with {best['penalty']}; its modal share is {best['modal share']:.2f}, shuffled {best['shuffled']:.2f}.",
        details="Two runs each. TopK keeps the K largest activations of a token and has no penalty that shrinks them.",
    )


def draw_carried(found: Found) -> Drawing | Markdown:
    """What one direction a residue raises through the head, by the last digit of the numbers."""
    carried = found.carried
    if carried is None:
        return Markdown(about_carried(found).sentence)
    figs, axes = figures.panels(2, height=3.1)
    for ax, matrix, title in (
        (axes[0], carried.features, "averaged features"),
        (axes[1], carried.means, "class means"),
    ):
        figures.matrix(
            matrix, ax=ax, names=[str(digit) for digit in range(10)], limit=float(np.abs(matrix).max()) or 1.0
        )
        ax.set(title=title, xlabel="digit raised", ylabel="residue read")
    n_features, n_means = carried.counts_on(carried.features), carried.counts_on(carried.means)
    return Drawing(
        figs,
        alt=[
            f"Ten by ten: the mean logit by last digit that each averaged feature writes; the next digit is highest for {n_features} of ten.",
            f"The same for class means: the next digit is highest for {n_means} of ten.",
        ],
        caption=f"Read by {found.name}, {n_features} of ten averaged features and {n_means} of ten class means raise the next digit most.",
        details="Mean logits of the numbers by last digit, with what each row and each number gets on average taken out. By chance one of ten would. "
        f"The head is the best by chapter 1's score, macro {found.macro:.2f}.",
    )


def draw_subspace(found: Found) -> Table:
    """Place and list parted: the shares that are right, beside the controls."""
    own = found.subspace
    shown = own.shares
    shown["model"] = [
        f"{share:.2f} ({low:.2f} to {high:.2f})" if n else NOT_ASKED
        for share, n, low, high in own.outcomes["model"].values()
    ]
    shown = shown.rename(columns={"model": found.model})
    entry = reported.read()["subspace"]
    ceiling = "; ".join(f"{test} {value:.2f}" for test, value in own.ceiling.items())
    return Table(
        shown,
        caption=about_subspace(found).sentence,
        details=f"Share of mixed vectors that decode to the right token, of {max(each.n for each in own.outcomes['model'].values())} at most; in the interval, all sums that ask for one token count as one case. The unmixed vectors themselves give: {ceiling}. π_O decodes {own.output_map:.2f} of the tokens "
        f"of the vocabulary that it was not trained on (reported: {entry['output_decoding_all_tokens']:.3f}), so that the lists' own tokens are always in its training. What the head says of pairs held out was to be right on more than 0.80 in grown/pythia, by what we wrote down before. The plant's unembeddings are random: no linear map can decode "
        "them from parts, and its nearest token and its head are what to look at.",
    )


def draw_roman(found: Found) -> Drawing | Markdown:
    """What Roman numerals, which no trio had, decode to in each list: the paper's Table 2, cell by cell."""
    roman = found.subspace.roman
    if not len(roman):
        return Markdown(
            "This tokenizer has no Roman numeral in one token, so that the paper's Table 2 cannot be asked."
        )
    right = roman.pivot(index="numeral", columns="list", values="right")
    order = list(dict.fromkeys(roman["numeral"])), list(dict.fromkeys(roman["list"]))
    right = right.reindex(index=order[0], columns=order[1])
    read = roman.pivot(index="numeral", columns="list", values="read").reindex(index=order[0], columns=order[1])
    fig, ax = figures.panel(height=0.3 * len(right) + 0.9)
    ax.imshow(right.astype(float), cmap=figures.SHARES, vmin=0, vmax=1.6, aspect="auto")
    for (row, column), word in np.ndenumerate(read.to_numpy()):
        if isinstance(word, str):
            ax.text(column, row, _short(word), ha="center", va="center", fontsize=figures.LEAST)
    ax.set(
        xticks=range(len(order[1])),
        xticklabels=[list_name(task).replace(" ", "\n") for task in order[1]],
        yticks=range(len(order[0])),
        yticklabels=order[0],
    )
    ax.tick_params(length=0)
    n_right, n = found.subspace.roman_right
    entry = reported.read()["table_2"]
    return Drawing(
        fig,
        alt=f"Table of Roman numerals by lists with the word that each decodes to: {n_right} of {n} are right.",
        caption=f"With Roman numerals, which no trio had, {n_right} of {n} cells are right.",
        details=f"A shaded cell is right. With the map of shuffled lists {found.subspace.roman_shuffled} of {n} are. As reported: all are right but {', '.join(entry['wrong'])}, which decode as the letters numbered {', '.join(map(str, entry['wrong'].values()))} ({entry['where']}). "
        f"{found.name} itself continues {found.roman_score[0]} of {found.roman_score[1]} Roman numerals.",
    )


def _short(word: str) -> str:
    """A token that fits into a cell; pieces of letters that no font shows are a dot."""
    word = word if word.isprintable() and "\ufffd" not in word and word else "·"
    return (word if len(word) <= 9 else word[:8] + "…").replace("$", r"\$")


def draw_informal(found: Found) -> Table | Markdown:
    """What words that belong to no list decode to among the numbers."""
    table = found.subspace.informal
    if not len(table):
        return Markdown("This tokenizer has none of these words in one token.")
    right, _, permuted = found.subspace.informal_right
    entry = reported.read()["informal"]["decodes"]
    return Table(
        table,
        caption=f"{right} of {len(table)} words decode to the number that they stand for; with the expectations permuted {permuted:.1f} on average.",
        details="As reported: "
        + ", ".join(f"{word.strip()} to {number}" for word, number in entry.items())
        + ". The place of the word, with the list of “1”, decoded among the numbers.",
    )


def draw_neurons(found: Found) -> Drawing | Markdown:
    """The neurons that matter most: their firing, what they write, and their periods."""
    neurons, said = found.neurons, about_neurons(found).sentence
    if neurons is None:
        return Markdown(said)
    figs, (left, middle, right) = figures.panels(3, height=2.7)
    for place, (curve, written, color) in enumerate(zip(neurons.fires, neurons.writes, ("orange", "blue", "green"))):
        for ax, values in ((left, curve), (middle, written)):
            spread = float(np.ptp(values)) or 1.0
            ax.plot(
                (values - values.min()) / spread - 1.4 * place,
                color=PALETTE[color],
                linewidth=1,
                marker="o" if ax is middle else None,
                markersize=3,
            )
        left.text(
            0, 1.02 - 1.4 * place, f"neuron {neurons.first[place]}", color=PALETTE[color], fontsize=9, va="bottom"
        )
    left.set(title="fires on", xlabel="number", yticks=[], ylim=(-2.9, 1.4))
    middle.set(title="raises, by last digit", xlabel="digit", yticks=[], xticks=range(0, 10, 3), ylim=(-2.9, 1.4))
    counts = pd.Series(neurons.periods).value_counts().sort_index()
    right.bar(
        [str(period) for period in counts.index],
        counts,
        color=[PALETTE["orange"] if period == 10 else PALETTE["blue"] for period in counts.index],
        linewidth=0,
    )
    right.set(title="period of the first 16", xlabel="period", ylabel="neurons")
    right.tick_params(axis="x", labelsize=figures.LEAST)
    entry = reported.read()["neurons"]
    return Drawing(
        figs,
        alt=[
            f"Three curves of activation over the numbers, of periods {', '.join(map(str, neurons.periods[:3]))}.",
            f"The same neurons: mean logit by last digit of what each writes through the head, highest at {', '.join(map(str, neurons.writes.argmax(1)))}.",
            f"Bars: periods of the first {len(neurons.periods)} neurons; {neurons.of_ten} have ten.",
        ],
        caption=said,
        details=f"Of {neurons.n} neurons, ranked by the successor's mean probability when each is ablated on the numbers 0 to 99. Curves are each on a scale of its own. The period is the modulus of 2 to 25 "
        f"whose residues explain most of its firing (adjusted R²; of multiples the smallest). As reported: of the first {entry['top']}, {entry['commonest_period']} is the commonest ({entry['where']}).",
    )


def draw_needed(found: Found) -> Drawing | Markdown:
    """Last digits right with the ten's directions removed or kept alone, and with nine others."""
    needed, said = found.needed, about_needed(found).sentence
    if needed is None:
        return Markdown(said)
    fig, ax = figures.panel(height=2.0, width=figures.NARROW)
    labels = []
    drawn = needed.shares[needed.shares["directions"] != "nothing"]
    for place, (_, row) in enumerate(drawn.iterrows()):
        color = PALETTE["orange"] if row["directions"] == "of the ten" else PALETTE["grey"]
        ax.hlines(-place, row["low"], row["high"], color=color, linewidth=2)
        ax.scatter([row["digit"]], [-place], color=color, s=40, zorder=3)
        labels.append(f"{row['directions']}, {row['change']}")
    ax.axvline(needed.intact[0], color=figures.INK, linewidth=1)
    ax.axvline(0.1, color=figures.INK, linewidth=1, linestyle=":")
    ax.set(
        yticks=-np.arange(len(labels)),
        yticklabels=labels,
        xlim=(-0.02, 1.02),
        ylim=(-len(labels) + 0.5, 0.5),
        xlabel="answers with the right last digit",
    )
    ax.tick_params(axis="y", length=0)
    kept, others = needed.row("kept alone", "of the ten"), needed.row("kept alone", "at random")
    whole = ""
    if needed.in_the_model:
        own = [
            "{digit:.2f} ({low:.2f} to {high:.2f})".format(**needed.row(WHOLE, which))
            for which in ("nothing", "of the ten", "at random")
        ]
        whole = f" In the running model, on lists of numbers: intact {own[0]}, without the ten's {own[1]}, without nine others {own[2]}, from the lowest draw to the highest."
    return Drawing(
        fig,
        alt=f"Dots: {said} Kept alone, the ten's give {kept['digit']:.2f}, nine others {others['digit']:.2f}.",
        caption=said,
        details=f"Kept alone: the ten's nine directions give {kept['digit']:.2f} of the last digits, nine others {others['digit']:.2f}. Whole successors: intact {needed.intact[1]:.2f}; removed "
        f"{needed.row('removed', 'of the ten')['successor']:.2f} and {needed.row('removed', 'at random')['successor']:.2f}. {needed.n} numbers; directions are fitted on nine tenths of them and taken from the last. Of the ten: 95% Wilson interval; "
        f"at random: nine random mixtures of the numbers' vectors, 95% of the draws; they hold {needed.variance[1]:.2f} of the variance of these vectors, the ten's {needed.variance[0]:.2f}. Solid line: the head on intact vectors; dotted: a guess."
        + whole,
    )


def draw_grown(found: Found) -> Drawing:
    """Models grown on text with and without decimals: whether the ten can be read, and whether they count."""
    fig, ax = figures.panel(height=2.3, width=figures.NARROW)
    for text, color in (("with decimals", "orange"), ("without decimals", "blue")):
        own = found.grown[found.grown["text"] == text]
        ax.scatter(
            own["probe"], own["macro"], color=PALETTE[color], s=40, linewidths=0, label=f"{text}, {len(own)} models"
        )
    ax.axvline(0.1, color=figures.INK, linewidth=1, linestyle=":")
    ax.set(xlim=(0, 1), ylim=(0, 1.05), xlabel="last digits that a probe reads", ylabel="macro of the best head")
    ax.legend(loc="lower right")
    said = {}
    for text, own in found.grown.groupby("text"):
        said[text] = [f"{own[column].min():.2f} to {own[column].max():.2f}" for column in ("probe", "macro")]
    (read, counts), (read_without, count_without) = said["with decimals"], said["without decimals"]
    return Drawing(
        fig,
        alt=f"Scatter of grown models: with decimals the probe reads {read}, without {read_without}; macro {counts} and {count_without}.",
        caption=f"Models grown without decimals have no ten to read ({read_without}; with decimals {read}) and count all the same (macro {count_without}; {counts}).",
        details="From the lowest to the highest model of each kind. Announced runs of chapter 6, of a smaller size than the models that come with the book; the dotted line is a guess. The probe is the ridge probe of chapter 6, on numbers held out.",
    )


# --- tables and the record --------------------------------------------------------------------------


NEWEST = "output_map"  # a finding that every record of the present protocol has


def compared(findings: Findings) -> list[tuple[str, str, str]]:
    """Sections 3.1 to 3.3 of the paper, row by row: what, as reported, and what a record's findings say to it."""
    cell, roman = reported.cell, reported.roman_numerals()["score"]
    moduli = reported.probe_by_modulus().set_index("modulus")
    near, best = moduli.loc[list(NEIGHBOURS), "unseen"].max(), int(moduli["unseen"].idxmax())
    figure_27, figure_16 = (f" ({reported.read()[key]['where']}, measured)" for key in ("figure_27", "figure_16"))
    stored = "_stored" if "sae_share_stored" in findings else ""
    by_name = "{lists[mod_10][%s][0]} of {lists[mod_10][%s][1]}, {lists[mod_%d][%s][0]} of {lists[mod_%d][%s][1]}"
    return [
        ("words of unseen lists, mod 10", cell("probe", "{right} of {of}"), _with_interval(findings, "lists_unseen")),
        ("the best neighbour of ten on them", f"{near:.2f}{figure_27}", share_cell(findings, "lists_unseen_neighbour")),
        ("the modulus read best on them", f"{best}{figure_27}", number_cell(findings, "lists_unseen_best_modulus")),
        ("numbers held out, mod 10", f"{moduli.loc[10, 'validation']:.2f}{figure_27}", share_cell(findings, "probe_ten")),
        *(
            (f"{task} by ten, by {word}", cell("probe", by_name % (task, task, m, task, m, task)),
             ", ".join(count_cell(findings, f"{task}_mod_{modulus}") for modulus in (10, m)))
            for (task, m), word in zip(ROUND.items(), ("twelve", "seven"))
        ),
        ("share of a modal feature", cell("sae", "{modal_share}"),
         share_cell(findings, f"sae_share{stored}", beside=f"sae_share_shuffled{stored}", name="permuted")),
        ("modal features and probe, cosine", cell("sae", "{probe_cosine:.3f}"),
         share_cell(findings, f"sae_cosine_probe{stored}", beside=f"sae_cosine_probe_shuffled{stored}", name="permuted")),
        ("tokens that π_O decodes", cell("subspace", "{output_decoding_all_tokens:.3f}"), share_cell(findings, "output_map")),
        ("index and list, pairs held out", cell("subspace", "{output_decoding_heldout_pairs:.2f}"), share_cell(findings, "subspace_pairs", beside="subspace_pairs_shuffled")),
        ("pairs held out, by the head", cell("subspace", "{successor_decoding_heldout_pairs:.2f}"), share_cell(findings, "subspace_pairs_head", beside="subspace_pairs_head_shuffled")),
        ("index and list, tokens held out", "not reported", share_cell(findings, "subspace_tokens", beside="subspace_tokens_shuffled")),
        ("Roman numerals put into lists", cell("table_2", "all but {n_wrong} of {numerals} numerals"), _beside(findings, "subspace_roman", "subspace_roman_shuffled")),
        ("Roman numerals in lists, by the head", cell("subspace", "{successor_decoding_roman}"), _with_interval(findings, "subspace_roman_head")),
        ("Roman numerals that the head continues", f"{roman.min():.2f} to {roman.max():.2f}{figure_16}", count_cell(findings, "roman_score")),
        *((f"the number in “{word.strip()}”", f"{number} ({reported.read()['informal']['where']})", number_cell(findings, f"informal_{word.strip()}"))
          for word, number in reported.read()["informal"]["decodes"].items()),
        ("commonest period of 16 neurons", cell("neurons", "{commonest_period}"), number_cell(findings, "neurons_commonest")),
    ]  # fmt: skip  # one row a line


def _beside(findings: Findings, key: str, control: str) -> str:
    """A count, and that of shuffled lists."""
    count = count_cell(findings, key)
    return count if count == NOT_ASKED else f"{count}; shuffled {count_cell(findings, control)}"


def _with_interval(findings: Findings, key: str) -> str:
    """A count, and the share that it is."""
    count = count_cell(findings, key)
    return count if count == NOT_ASKED else f"{count}: {share_cell(findings, key)}"


def draw_compared(found: Found) -> Table:
    """What the paper reports in its section 3, and what was measured here by the same protocol."""
    rows = compared(record(found)["findings"])
    return Table(
        pd.DataFrame(rows, columns=["", "as reported", found.model]),
        caption=f"Section 3 of the paper, and {found.model}, by the same protocols.",
        details=f"What differs: {DIFFERS} Numbers go up to {found.last} here.",
    )


def record(found: Found) -> dict[str, Any]:
    """The chapter's record: findings that other pages and the tests read, and its tables."""
    finding, probes, saes, needed, neurons = records.finding, found.probes, found.saes, found.needed, found.neurons
    findings: dict[str, dict] = {}

    def of_runs(values: np.ndarray) -> dict[str, Any]:
        low, high = intervals.middle(values)
        return finding(values.mean(), low=low, high=high, n=len(values))

    if probes is not None:
        low, high = probes.interval
        findings |= {
            "lists_unseen": finding(probes.right.mean(), low=low, high=high, n=len(probes.right)),
            "lists_unseen_neighbour": finding(probes.neighbour[1], n=len(NEIGHBOURS)),
            "lists_unseen_best_modulus": finding(
                probes.by_modulus.loc[probes.by_modulus["unseen"].idxmax(), "modulus"]
            ),
            "lists_unseen_shuffled": finding(
                probes.shuffled.mean(), high=probes.shuffled.max(), n=len(probes.shuffled)
            ),
        }
        for _, row in probes.in_circles.iterrows():
            findings[f"{row['list']}_mod_{row['modulus']}"] = finding(row["right"] / row["n"], n=row["n"])
        if probes.n_numbers >= LEAST_NUMBERS:
            right, n, low, high = probes.tens
            findings |= {
                "probe_ten": finding(probes.at(10, "validation"), n=probes.by_modulus["n_validation"].max()),
                "probe_tens_held_out": finding(right / max(n, 1), low=low, high=high, n=n),
                "probe_other_modulus": finding(probes.coprime[1]),
            }
            if probes.beyond:
                findings["probe_beyond"] = finding(probes.beyond[0] / probes.beyond[1], n=probes.beyond[1])
    for source in found.sources["source"].unique() if len(found.sources) else ():
        row = found.sources[(found.sources["source"] == source) & (found.sources["modulus"] == 10)].iloc[0]
        findings[f"read_from_{source.replace(' ', '_')}"] = finding(
            row["accuracy"], low=row["low"], high=row["high"], n=row["n"]
        )
    if saes is not None and found.carried is not None:
        findings |= {
            "sae_share": of_runs(saes.here.share),
            "sae_share_shuffled": of_runs(saes.here.null),
            "sae_cosine_probe": of_runs(saes.here.cosine),
            "sae_cosine_probe_shuffled": of_runs(saes.here.cosine_null),
            "features_carried": finding(found.carried.counts_on(found.carried.features), n=10),
            "means_carried": finding(found.carried.counts_on(found.carried.means), n=10),
        }
        if saes.stored is not None:
            runs = saes.stored.runs
            findings |= {
                "sae_share_stored": of_runs(runs.share),
                "sae_share_shuffled_stored": of_runs(runs.null),
                "sae_cosine_probe_stored": of_runs(runs.cosine),
                "sae_cosine_probe_shuffled_stored": of_runs(runs.cosine_null),
                "sae_within_stored": finding(saes.here.within(runs) / len(saes.here.share), n=len(saes.here.share)),
            }
    findings["output_map"] = finding(found.subspace.output_map)
    for key, test in zip(("pairs", "pairs_head", "tokens", "nearest", "head"), TESTS):
        for subject, own in found.subspace.outcomes.items():
            share, n, low, high = own[test]
            findings[f"subspace_{key}" if subject == "model" else f"subspace_{key}_{subject}"] = finding(
                share, low=low, high=high, n=n
            )
    findings["subspace_roman"] = finding(
        found.subspace.roman["right"].mean() if len(found.subspace.roman) else float("nan"), n=len(found.subspace.roman)
    )
    n_cells = len(found.subspace.roman)
    if n_cells:
        findings["subspace_roman_shuffled"] = finding(found.subspace.roman_shuffled / n_cells, n=n_cells)
    answered, asked_of_head = found.subspace.roman_answered
    if asked_of_head:
        findings["subspace_roman_head"] = records.share(answered, asked_of_head)
    informal, (right, n_words, by_chance) = found.subspace.informal, found.subspace.informal_right
    if n_words:
        findings["informal_right"] = finding(right / n_words, n=n_words)
        findings["informal_chance"] = finding(by_chance / n_words, n=n_words)
    for word in reported.read()["informal"]["decodes"]:
        read = informal.loc[informal["word"] == word.strip(), "read"]
        if len(read):
            findings[f"informal_{word.strip()}"] = finding(read.iloc[0])
    if neurons is not None:
        findings |= {
            "neurons_commonest": finding(neurons.commonest, n=len(neurons.periods)),
            "neurons_of_ten": finding(neurons.of_ten, n=len(neurons.periods)),
            "neurons_of_ten_random": finding(
                neurons.random.mean(), high=np.quantile(neurons.random, 0.975), n=len(neurons.random)
            ),
        }
    if needed is not None:
        for key, change in (("removed", "removed"), ("kept", "kept alone")):
            for which, directions in (("ten", "of the ten"), ("random", "at random")):
                row = needed.row(change, directions)
                findings[f"{key}_{which}_digit"] = finding(row["digit"], low=row["low"], high=row["high"], n=needed.n)
        findings["intact_digit"] = finding(needed.intact[0], n=needed.n)
        for which, directions in (
            (("intact", "nothing"), ("ten", "of the ten"), ("random", "at random")) if needed.in_the_model else ()
        ):
            row = needed.row(WHOLE, directions)
            findings[f"model_{which}_digit"] = finding(row["digit"], low=row["low"], high=row["high"])
    roman_right, roman_asked = found.roman_score
    if roman_asked:
        findings["roman_score"] = records.share(roman_right, roman_asked)
    tables = {
        "probes": probes.by_modulus if probes is not None else pd.DataFrame(),
        "words": probes.words if probes is not None else pd.DataFrame(),
        "sources": found.sources,
        "choices": saes.choices if saes is not None else pd.DataFrame(),
        "roman": found.subspace.roman,
        "informal": found.subspace.informal,
        "needed": needed.shares if needed is not None else pd.DataFrame(),
        "verdict": pd.DataFrame([{"question": question, "key": say(found).key} for question, say in ABOUT.items()]),
    }
    return records.chapter_record(found.model, CHAPTER, findings=findings, tables=tables)


@told()
def main() -> None:
    """Train as many autoencoders on one model as the paper did, and put them into the store that comes with the book."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model", nargs="?", help="grown/NAME, a hub id, or a folder, whose tokenizer has numbers")
    parser.add_argument("--runs", type=int, default=reported.read()["sae"]["runs"])
    arguments = parser.parse_args()
    name = arguments.model or files.DEFAULT_MODEL
    run = measure_runs(models.load(name), name=name, n_runs=arguments.runs)
    autoencoder_runs.put(run)
    print(f"{name}: modal share {run.runs.share.mean():.3f}, permuted {run.runs.null.mean():.3f}; {run.seconds:.0f} s")


if __name__ == "__main__":
    main()
