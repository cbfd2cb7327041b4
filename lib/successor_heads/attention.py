"""Where heads look: at the word before in lists that count, and at ordinals in ordinary sentences.

::

    runs = attention.to_predecessor(model, classes, seed=0)      # [run, layer, head], less that in shuffled runs
    reads = attention.read_at_work(model, lists, 12)             # what queries and keys of a layer are made of
    attention.preference(attention.read_sentences(model, classes))      # [layer, head], 1 for an even spread

For a model on NDIF, which keeps no patterns, nothing of this can be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import anatomy, cached, prompts
from successor_heads.ordinals import ResolvedClass
from successor_heads.prompts import Prompt

SENTENCES = (
    "The meeting on Monday was moved to the third room on the left.",
    "In March the river rose for five days and then fell again.",
    "She read the first chapter twice and the second not at all.",
    "Of the twelve men only seven came back before the end of June.",
    "He had waited since Tuesday for an answer and had none.",
    "On the tenth of April they sold the house and went to sea.",
    "It was the fourth time in two years that the bridge had burned.",
    "The boys were eight and nine and their sister was six.",
    "From October to December the shop was open on Friday and Saturday.",
    "There were 12 of them on the road and 30 more behind the wall.",
)
Read = tuple[Bool[Tensor, " token"], Float[Tensor, "layer head token token"]]  # which tokens are ordinals, and patterns


def to_predecessor(
    model: TransformersModel, classes: Mapping[str, ResolvedClass], *, seed: int
) -> Float[np.ndarray, "run layer head"]:
    """For each run of a list the attention of every head to the word before, less that in shuffles of the run."""
    rng, differences = np.random.default_rng(seed), []
    for c in classes.values():
        # Words without a leading space cannot be told apart in a run of words.
        for run in runs_of(c) if c.prefix else []:
            shuffled = [one_back(model, order, c) for order in shuffles_of(run, c, rng)]
            if shuffled:
                differences.append(one_back(model, run, c) - torch.stack(shuffled).mean(0))
    return torch.stack(differences).numpy() if differences else np.zeros((0, 0, 0))


def runs_of(c: ResolvedClass, *, length: int = 6, most: int = 4) -> list[list[int]]:
    """Up to four runs of a list that count, of four to six members."""
    follower = dict(zip(c.source.tolist(), c.target.tolist()))
    found = []
    for start in follower:
        run = [start]
        while len(run) < length and run[-1] in follower and follower[run[-1]] not in run:
            run.append(follower[run[-1]])
        if len(run) >= 4:
            found.append(run)
    return [found[int(place)] for place in np.linspace(0, len(found) - 1, min(most, len(found))).round()]


def shuffles_of(run: list[int], c: ResolvedClass, rng: np.random.Generator, *, n: int = 4) -> list[list[int]]:
    """Orders of a run in which no member follows its predecessor."""
    follower = dict(zip(c.source.tolist(), c.target.tolist()))
    orders = [rng.permutation(run).tolist() for _ in range(200)]
    return [order for order in orders if all(follower.get(a) != b for a, b in pairwise(order))][:n]


def one_back(model: TransformersModel, order: list[int], c: ResolvedClass) -> Float[Tensor, "layer head"]:
    """Mean attention from each word of a run to the one before it."""
    patterns = prompts.attention_patterns(model, "".join(" " + c.words[member] for member in order))[1]
    return patterns[..., -len(order) :, -len(order) :].diagonal(-1, dim1=-2, dim2=-1).mean(-1)


def read_sentences(
    model: TransformersModel, classes: Mapping[str, ResolvedClass], sentences: Sequence[str] = SENTENCES
) -> list[Read]:
    """Sentences with an ordinal: which of their tokens are ordinals, and every head's pattern."""
    # Letters are left out: A and I are words of their own.
    known = {int(token) for task, c in classes.items() if task != "letters" for token in c.token_ids}
    read = []
    for sentence in sentences:
        token_ids = prompts.tokens_of(model.tokenizer, " " + sentence)  # with a space in front, as within a text
        labels = torch.tensor([int(token) in known for token in token_ids])
        if labels[1:].any():
            read.append((labels, prompts.attention_patterns(model, " " + sentence)[1]))
    return read


def on_ordinals(
    is_ordinal: Bool[Tensor, " token"], patterns: Float[Tensor, "layer head token token"]
) -> tuple[Float[Tensor, "layer head"], Float[Tensor, "layer head"]]:
    """Attention on ordinals that came before, and what an even spread would give them.

    The token that looks is left out, and so is the first, on which many heads rest.
    """
    found, even = torch.zeros(2, *patterns.shape[:2], dtype=patterns.dtype)
    for query in range(2, len(is_ordinal)):
        eligible = torch.arange(len(is_ordinal)) < query
        eligible[0] = False
        ordinal = eligible & is_ordinal
        found = found + patterns[:, :, query, ordinal].sum(-1)
        even = even + patterns[:, :, query, eligible].sum(-1) * ordinal.sum() / eligible.sum()
    return found, even


def preference(sentences: Sequence[Read]) -> Float[Tensor, "layer head"]:
    """The ratio of the sums over sentences of what `on_ordinals` gives."""
    found, even = zip(*(on_ordinals(labels, patterns) for labels, patterns in sentences))
    return torch.stack(found).sum(0) / torch.stack(even).sum(0)


def permuted_labels(labels: Bool[Tensor, " token"], generator: torch.Generator) -> Bool[Tensor, " token"]:
    """The labels "ordinal" and "other" permuted; the first token, which is never counted, keeps its own."""
    deal = torch.randperm(len(labels) - 1, generator=generator)
    return torch.cat([labels[:1], labels[1:][deal]])


class _Enough(Exception):
    """What is wanted of a run is there."""


def read_at_work(
    model: TransformersModel, texts: Sequence[Prompt], layer: int
) -> Float[Tensor, "prompt position d_model"]:
    """What the attention of a layer reads at every position of each prompt, padded on the left."""
    read: list[Tensor] = []

    def see(_, hidden):
        read.append(hidden.float().cpu())
        raise _Enough

    with _at_attention(model, layer, before=see):
        _run(model, texts)
    return read[0]


def from_last(
    model: TransformersModel,
    texts: Sequence[Prompt],
    layer: int,
    *,
    reads: Float[Tensor, "prompt position d_model"] | None = None,
) -> Float[Tensor, "prompt head key"]:
    """Where the heads of a layer look from the last position, or would if their attention read `reads`.

    The query is made of what is read at the last position, the keys of what is read everywhere: take the one from one
    prompt and the others from another, of the same length, to patch queries and keys apart.
    """
    pattern: list[Tensor] = []

    def see(_, looks):
        pattern.append(looks)
        raise _Enough

    with _at_attention(model, layer, before=lambda _, hidden: hidden if reads is None else reads.to(hidden), after=see):
        _run(model, texts)
    return pattern[0]


def watched(
    model: TransformersModel, texts: Sequence[Prompt], layer: int
) -> tuple[Float[Tensor, "prompt head key"], Float[Tensor, "prompt d_model"]]:
    """Where the heads of a layer look from the last position, and the stream there before the final norm, of one run."""
    pattern: list[Tensor] = []
    with _at_attention(model, layer, after=lambda _, looks: pattern.append(looks)):
        streams = cached.run(model, texts).streams
    return pattern[0], streams[-1]


def _run(model: TransformersModel, texts: Sequence[Prompt]) -> None:
    try:
        with torch.no_grad():
            model._module(**prompts.encode(model, texts), logits_to_keep=1)
    except _Enough:
        pass


@contextmanager
def _at_attention(
    model: TransformersModel, layer: int, *, before: Callable | None = None, after: Callable | None = None
) -> Iterator[None]:
    """Hooks around a layer's attention: `before` gets what it reads and may replace it, `after` its pattern from the last position."""

    def read(module, args, kwargs):
        hidden = args[0] if args else kwargs["hidden_states"]
        hidden = before(module, hidden)  # type: ignore[misc]  # registered only where there is one
        return ((hidden, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": hidden})

    module = anatomy.of(model._module).attention(layer)
    handles = []
    if before is not None:
        handles.append(module.register_forward_pre_hook(read, with_kwargs=True))
    if after is not None:
        handles.append(
            module.register_forward_hook(lambda its, _, output: after(its, output[1][:, :, -1].float().cpu()))
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
