"""Runs that differ from an intact one at the last position only, and go on from what it has cached.

::

    run = cached.run(model, prompts)
    streams = run.edited([[Edit(1, 6, mean[1, 6])], [Edit(1, 7, mean[1, 7])]])       # [variant, prompt, d_model]
    intact = cached.Intact(model, prompts)                                           # any number of prompts
    intact.logits([[], [Edit(1, 6, mean[1, 6])]], token_ids)                         # [variant, prompt, token]

What is replaced at the last position changes nothing at earlier positions: their keys and values are kept from one
intact run. A variant starts at the block of its first edit, with the stream that the intact run had there. A run may be
steered (`Push`): then the variants differ from the steered run, not from the model as it is.

The variants of a prompt are fed to a block side by side, as if they were queries at consecutive places: all have
the last position's place in the text, and the mask lets each see the prefix and itself. So keys and values of the
prefix are shared, and the model's own blocks do the rest: no family's attention is written down here again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor
from transformers import DynamicCache

from successor_heads import anatomy, progress
from successor_heads.anatomy import Anatomy
from successor_heads.prompts import Prompt, encode

# What intermediate results may take at a time. More makes nothing faster: matrices this large keep a processor busy.
BYTES = 1 << 28
# Keys and values that are kept while prompts are asked again and again. Where more were needed, they are run again.
KEPT_BYTES = 1 << 29
# Variants that go through the blocks side by side. Each computes, and masks, an attention score for all the others.
MOST_VARIANTS = 64


class Edit(NamedTuple):
    """What one part writes at the last position instead of its own: `value`, the same for all prompts or one for each.

    A head hands it to the output projection; an MLP, for which `head` is None, adds it to the stream.
    """

    layer: int
    head: int | None
    value: Float[Tensor, "*prompt d"]


class Push(NamedTuple):
    """What is added to the stream in front of a block, at the last positions: those of `value`, the last of them the last.

    In front of block `n_layers` is behind the last block, where no head reads any more.
    """

    layer: int
    value: Float[Tensor, "prompt position d_model"]


class Prefix:
    """Stands in for a model's cache: keys and values of all positions but the last, to which nothing is added."""

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]]):
        self.layers = layers

    @classmethod
    def in_front_of_last(cls, cache: DynamicCache) -> Prefix:
        """What a cache holds, but for the last position."""
        return cls([(layer.keys[:, :, :-1], layer.values[:, :, :-1]) for layer in cache.layers])

    def of(self, rows: Int[Tensor, " some"]) -> Prefix:
        """That of some of the prompts, in that order."""
        return Prefix([(keys[rows], values[rows]) for keys, values in self.layers])

    def update(self, keys: Tensor, values: Tensor, layer: int, *_, **__) -> tuple[Tensor, Tensor]:
        """The prefix and behind it what is given, all [prompt, kv_head, position, d_head]."""
        before = self.layers[layer]
        return torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2)


@dataclass(frozen=True, eq=False)
class CachedRun:
    """An intact run of prompts, with what edited ones need to go on from it at the last position."""

    parts: Anatomy
    prefix: Prefix
    # What each block was called with besides the stream, cut to the last position.
    calls: list[tuple[tuple, dict[str, Any]]]
    # At the last position before each block, and behind the last: [prompt, d_model], where that block is.
    streams: list[Tensor]
    # There, by layer: what heads hand to the output projection, side by side; what the MLP adds; where heads look.
    handed: list[Tensor]
    added: list[Tensor]
    looks: list[Tensor]

    def of(self, rows: Int[Tensor, " some"]) -> CachedRun:
        """The run of some of the prompts, in that order."""
        n = len(self.streams[0])

        def taken(value):
            if isinstance(value, tuple):
                return tuple(map(taken, value))
            # What is the same for all prompts may have one row for all of them.
            return value[rows] if isinstance(value, Tensor) and len(value) == n else value

        calls = [(taken(args), {name: taken(value) for name, value in kwargs.items()}) for args, kwargs in self.calls]
        kept = ([value[rows] for value in values] for values in (self.streams, self.handed, self.added, self.looks))
        return CachedRun(self.parts, self.prefix.of(rows), calls, *kept)

    def edited(self, variants: Sequence[Sequence[Edit]]) -> Float[Tensor, "variant prompt d_model"]:
        """The residual stream behind the last block, before the final norm, of each variant of the prompts."""
        starts = [_start(variant, self.parts) for variant in variants]
        order = sorted(range(len(variants)), key=starts.__getitem__)
        stream = self.streams[min(starts)][:, None][:, :0]
        for layer in range(min(starts), self.parts.n_layers + 1):
            joining = self.streams[layer][:, None].expand(-1, starts.count(layer), -1)
            stream = torch.cat([stream.to(joining.device), joining], dim=1)
            if layer < self.parts.n_layers:
                rows = enumerate(order[: stream.shape[1]])
                edits = [(row, edit) for row, place in rows for edit in variants[place] if edit.layer == layer]
                with self._hooked(layer, edits):
                    stream = self._block(layer, stream)
        return stream[:, torch.tensor(order).argsort()].transpose(0, 1)

    def _block(self, layer: int, stream: Float[Tensor, "prompt variant d_model"]) -> Tensor:
        n_variants = stream.shape[1]

        def adapted(value):
            if isinstance(value, DynamicCache):
                return self.prefix
            if isinstance(value, tuple):
                return tuple(map(adapted, value))
            if _is_mask(value):
                return _each_sees_itself(value, n_variants)
            return value

        args, kwargs = self.calls[layer]
        return self.parts.block(layer)(stream, *adapted(args), **{name: adapted(of) for name, of in kwargs.items()})

    @contextmanager
    def _hooked(self, layer: int, edits: Sequence[tuple[int, Edit]]) -> Iterator[None]:
        """The parts of a block that are edited write, in these rows, what they are told to."""
        heads = [(row, edit) for row, edit in edits if edit.head is not None]
        mlps = [(row, edit) for row, edit in edits if edit.head is None]

        def replace_heads(_, args):
            z = args[0].unflatten(-1, (self.parts.n_heads, self.parts.d_head))
            z[:, [row for row, _ in heads], [edit.head for _, edit in heads]] = _side_by_side(heads, z)
            return (z.flatten(-2),)

        def replace_mlps(_, __, written):
            written[:, [row for row, _ in mlps]] = _side_by_side(mlps, written)
            return written

        handles = []
        if heads:
            handles.append(self.parts.output_projection(layer).register_forward_pre_hook(replace_heads))
        if mlps:
            handles.append(self.parts.mlp_writer(layer).register_forward_hook(replace_mlps))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def run(model: TransformersModel, prompts: Sequence[Prompt], *, push: Push | None = None) -> CachedRun:
    """One forward pass of the prompts, steered by `push`, of which the last position's surroundings are kept."""
    parts, cache = anatomy.of(model._module), DynamicCache()
    calls: list[tuple[tuple, dict[str, Any]]] = []
    streams: list[Tensor] = []
    handed: list[Tensor] = []
    added: list[Tensor] = []
    looks: list[Tensor] = []

    def steer(_, args, kwargs, added):
        stream = (args[0] if args else kwargs["hidden_states"]).clone()
        stream[:, -added.shape[1] :] += added.to(stream)
        return ((stream, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": stream})

    def keep(_, args, kwargs):
        stream = args[0] if args else kwargs["hidden_states"]
        streams.append(stream[:, -1].clone())  # a view would hold on to all positions
        rest = {name: _at_last(value) for name, value in kwargs.items() if name != "hidden_states"}
        calls.append((_at_last(args[1:]), rest))
        if not any(map(_is_mask, (*args, *kwargs.values()))):
            raise ValueError("The variants need the mask of eager attention: models.load asks for it.")

    blocks = [parts.block(layer) for layer in range(parts.n_layers)]
    final_norm = parts.module.get_submodule(parts.final_norm_path)
    handles = []
    if push is not None:  # before what is kept, which is then steered
        hook = partial(steer, added=push.value)
        handles.append([*blocks, final_norm][push.layer].register_forward_pre_hook(hook, with_kwargs=True))
    handles += [block.register_forward_pre_hook(keep, with_kwargs=True) for block in blocks]
    for layer in range(parts.n_layers):
        reader, writer, attention = parts.output_projection(layer), parts.mlp_writer(layer), parts.attention(layer)
        handles.append(reader.register_forward_pre_hook(lambda _, args: handed.append(args[0][:, -1].clone())))
        handles.append(writer.register_forward_hook(lambda _, __, written: added.append(written[:, -1].clone())))
        handles.append(attention.register_forward_hook(lambda _, __, out: looks.append(out[1][:, :, -1].clone())))
    handles.append(final_norm.register_forward_pre_hook(lambda _, args: streams.append(args[0][:, -1].clone())))
    try:
        with torch.no_grad():
            parts.module(**encode(model, prompts), past_key_values=cache, use_cache=True, logits_to_keep=1)
    finally:
        for handle in handles:
            handle.remove()
    return CachedRun(parts, Prefix.in_front_of_last(cache), calls, streams, handed, added, looks)


class Intact:
    """Many prompts with their intact runs, in batches of about equal length, so that memory stays bounded.

    Whatever is asked goes on from the same runs, which are kept where they fit into `KEPT_BYTES` and made anew where not.
    With `push` all runs are steered, and what is asked is asked of the steered model.
    """

    def __init__(self, model: TransformersModel, prompts: Sequence[Prompt], *, push: Push | None = None):
        self.model, self.prompts, self.push = model, list(prompts), push
        self.parts = anatomy.of(model._module)
        lengths = encode(model, self.prompts)["attention_mask"].sum(-1)
        width = int(lengths.max())
        self._n_prompts, self._n_variants = _batch_sizes(self.parts, width)
        self._rows = list(lengths.argsort().cpu().split(self._n_prompts))
        self._runs: list[CachedRun] | None = None
        self._keeps = 4 * _n_cached(self.parts, width) * len(self.prompts) <= KEPT_BYTES

    def batches(self) -> Iterator[tuple[Int[Tensor, " row"], CachedRun]]:
        """Which prompts are in a batch, and their run."""
        if self._runs is not None:
            yield from zip(self._rows, self._runs)
            return
        made: list[CachedRun] = []
        for rows in self._rows:
            push = self.push and self.push._replace(value=self.push.value[rows])
            made.append(run(self.model, [self.prompts[row] for row in rows], push=push))
            yield rows, made[-1]
            if not self._keeps:
                made.clear()
        if self._keeps:
            self._runs = made

    def at(self, places: Sequence[int]) -> Intact:
        """The same of some of the prompts, each at most once; what has been run is not run again."""
        if list(places) == list(range(len(self.prompts))):
            return self
        push = self.push and self.push._replace(value=self.push.value[list(places)])
        some = Intact(self.model, [self.prompts[place] for place in places], push=push)
        if self._runs is not None:
            new = {place: row for row, place in enumerate(places)}
            some._rows, some._runs = [], []
            for rows, intact in self.batches():
                here = torch.tensor([row for row, place in enumerate(rows.tolist()) if place in new], dtype=torch.long)
                if len(here):
                    some._rows.append(torch.tensor([new[place] for place in rows[here].tolist()]))
                    some._runs.append(intact.of(here))
        return some

    def streams(self) -> Float[Tensor, "depth prompt d_model"]:
        """The residual stream at the last position before each block, and behind the last: on the CPU."""
        return self._gathered(lambda intact: intact.streams)

    def written(self) -> tuple[Float[Tensor, "layer head prompt d_head"], Float[Tensor, "layer prompt d_model"]]:
        """What every head hands to its output projection, and every MLP adds to the stream, at the last position."""
        shape = (self.parts.n_heads, self.parts.d_head)
        handed = self._gathered(lambda intact: intact.handed)
        added = self._gathered(lambda intact: intact.added)
        return handed.unflatten(-1, shape).transpose(1, 2), added

    def looks(self, places: Sequence[int]) -> Float[Tensor, "layer head prompt"]:
        """Attention of every head from the last position to one place of each prompt, counted from the end: -1 is the last."""
        found = torch.empty(self.parts.n_layers, len(self.prompts), self.parts.n_heads)
        for rows, intact in self.batches():
            at, columns = torch.arange(len(rows)), torch.tensor([places[row] for row in rows.tolist()])
            found[:, rows] = torch.stack([looks[at, :, columns].float().cpu() for looks in intact.looks])
        return found.transpose(1, 2)

    def logits(
        self, variants: Sequence[Sequence[Edit]], token_ids: Int[Tensor, " token"]
    ) -> Float[Tensor, "variant prompt token"]:
        """What each variant of each prompt gives these tokens as next-token logits; one without edits is the run itself.

        Variants that start at about the same block go together. Progress is shown where somebody waits for it.
        """
        by_start = sorted(range(len(variants)), key=lambda variant: _start(variants[variant], self.parts))
        logits = torch.empty(len(variants), len(self.prompts), len(token_ids))
        bar = progress.bar(total=logits[..., 0].numel(), name="ablated prompts")
        with bar, torch.no_grad():
            for rows, intact in self.batches():
                for first in range(0, len(variants), self._n_variants):
                    places = by_start[first : first + self._n_variants]
                    stream = intact.edited([_of_prompts(variants[place], rows) for place in places])
                    logits[torch.tensor(places)[:, None], rows] = self.parts.logits(stream, token_ids).cpu()
                    bar.update(len(places) * len(rows))
        return logits

    def _gathered(self, of: Callable[[CachedRun], list[Tensor]]) -> Tensor:
        """What each run has by layer, [prompt, _], put together in the order of the prompts: [layer, prompt, _], on the CPU."""
        found = [(rows, torch.stack([value.float().cpu() for value in of(intact)])) for rows, intact in self.batches()]
        order = torch.cat([rows for rows, _ in found]).argsort()
        return torch.cat([values for _, values in found], dim=1)[:, order]


def logits_of_variants(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    variants: Sequence[Sequence[Edit]],
    token_ids: Int[Tensor, " token"],
    *,
    push: Push | None = None,
) -> Float[Tensor, "variant prompt token"]:
    """What each variant of each prompt gives these tokens as next-token logits: `Intact.logits`, where nothing else is asked.

    With `push` all of them are steered, and differ from the steered run.
    """
    return Intact(model, prompts, push=push).logits(variants, token_ids)


def _start(variant: Sequence[Edit], parts: Anatomy) -> int:
    """The block from which on a variant differs from the run."""
    return min((edit.layer for edit in variant), default=parts.n_layers)


def _of_prompts(variant: Sequence[Edit], prompts: Int[Tensor, " prompt"]) -> list[Edit]:
    """The variant with the values that are meant for these prompts."""
    return [edit._replace(value=edit.value[prompts]) if edit.value.ndim == 2 else edit for edit in variant]


def _batch_sizes(parts: Anatomy, width: int) -> tuple[int, int]:
    """(prompts, variants) at a time, such that keys and values fit into `BYTES`, and intermediate results as well."""
    n_variants = MOST_VARIANTS
    # MLPs are about four times as wide as the stream, some have a gate, and attention keeps a few copies of scores.
    at_work = n_variants * (16 * parts.d_model + 4 * parts.n_heads * (width + n_variants))
    return max(1, BYTES // (4 * max(_n_cached(parts, width), at_work))), n_variants


def _n_cached(parts: Anatomy, width: int) -> int:
    """Keys and values of a prompt."""
    return 2 * parts.n_layers * parts.n_kv_heads * parts.d_head * width


def _side_by_side(edits: Sequence[tuple[int, Edit]], like: Tensor) -> Tensor:
    """The edits' values, [prompt, edit, d]."""
    return torch.stack([edit.value.expand(len(like), -1) for _, edit in edits], dim=1).to(like)


def _is_mask(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _at_last(value: Any) -> Any:
    """An argument of a block, cut to what concerns the last position: of a mask, what it sees of the prefix.

    Of the rest, whatever a family calls it, tensors are [prompt, position, ...]: places, or rotations by them.
    """
    if isinstance(value, tuple):
        return tuple(map(_at_last, value))
    if _is_mask(value):
        return value[:, :, -1:, :-1]
    return value[:, -1:] if isinstance(value, Tensor) else value


def _each_sees_itself(prefix: Tensor, n_variants: int) -> Tensor:
    """The mask of the variants: each sees what the last position sees of the prefix, and itself.

    True where one sees, or 0 with large negative numbers elsewhere: as the mask of the prefix has it.
    """
    own = torch.eye(n_variants, dtype=torch.bool, device=prefix.device)
    if prefix.dtype != torch.bool:
        hidden = torch.finfo(prefix.dtype).min
        own = torch.zeros(n_variants, n_variants, dtype=prefix.dtype, device=prefix.device).masked_fill(~own, hidden)
    return torch.cat([prefix.expand(-1, -1, n_variants, -1), own.expand(*prefix.shape[:2], -1, -1)], dim=-1)
