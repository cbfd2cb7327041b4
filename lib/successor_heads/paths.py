"""Path patching at the last position: what a part does for the answer by way of these parts and no others.

::

    intact, other = paths.written(model, lists), paths.written(model, others)
    variant = paths.along([(12, 0)], [(12, None), (13, None)], intact, other)      # L12H0, by way of MLPs 12 and 13
    cached.logits_of_variants(model, lists, [variant], token_ids)

A part is (layer, head), or (layer, None) for a layer's MLP. A sender writes what it wrote on another prompt; the parts
named as receivers read that and answer to it; every other part behind the sender writes what it wrote on the intact
run. What is left of the sender's effect went straight to the logits, or through the receivers. With no receiver it is
the direct effect, and with all parts behind it the total one. All of it are edits that `cached` makes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import anatomy, cached
from successor_heads.anatomy import Anatomy, Part
from successor_heads.cached import Edit
from successor_heads.prompts import Prompt


class Written(NamedTuple):
    """What every head hands to its output projection, and every MLP adds to the stream, at the last position."""

    heads: Float[Tensor, "layer head prompt d_head"]
    mlps: Float[Tensor, "layer prompt d_model"]

    def edit(self, part: Part) -> Edit:
        """The edit that has a part write this."""
        layer, head = part
        return Edit(layer, head, self.mlps[layer] if head is None else self.heads[layer, head])

    def of(self, prompts: Int[Tensor, " some"]) -> Written:
        """What they write on some of the prompts, in that order."""
        return Written(self.heads[:, :, prompts], self.mlps[:, prompts])


def written(model: TransformersModel, prompts: Sequence[Prompt]) -> Written:
    """What all parts write at the last position of the prompts."""
    return Written(*cached.Intact(model, prompts).written())


def all_parts(parts: Anatomy) -> list[Part]:
    """Every head and every MLP, in the order in which the model runs."""
    return _all_parts(parts.n_layers, parts.n_heads)


def _all_parts(n_layers: int, n_heads: int) -> list[Part]:
    # Heads first, as in a block that has them first.
    return [(layer, head) for layer in range(n_layers) for head in (*range(n_heads), None)]


def behind(part: Part, other: Part) -> bool:
    """Whether `other` may read what `part` writes: a later block's part, or the same block's MLP a head's.

    In a block whose attention and MLP read the same stream the MLP does not, and holding it changes nothing.
    """
    return other[0] > part[0] or (other[0] == part[0] and other[1] is None and part[1] is not None)


def replaced(parts: Iterable[Part], by: Written) -> list[Edit]:
    """The variant in which these parts write something else, and all others answer to it as they do."""
    return [by.edit(part) for part in parts]


def along(senders: Collection[Part], receivers: Collection[Part], intact: Written, other: Written) -> list[Edit]:
    """The variant in which the senders' change reaches the answer straight or by way of the receivers alone."""
    held = [
        part
        for part in _all_parts(*intact.heads.shape[:2])
        if part not in senders and part not in receivers and any(behind(sender, part) for sender in senders)
    ]
    return replaced(senders, other) + replaced(held, intact)


def direct_logits(
    model: TransformersModel,
    final: Float[Tensor, "prompt d_model"],
    intact: Written,
    other: Written,
    token_ids: Int[Tensor, " token"],
    *,
    batch_size: int = 32,
) -> tuple[Float[Tensor, "layer head prompt token"], Float[Tensor, "layer prompt token"]]:
    """Logits when one head, or one MLP, writes `other` and every part behind it what it wrote on the intact run.

    As `along` with no receiver, for all parts at once: `final`, the stream behind the last block of the intact run, is
    changed, and only the final norm is computed anew. A norm behind attention is, too, for it stands between a head and
    the stream. Prompts go in batches, so that memory stays bounded.
    """
    parts = anatomy.of(model._module)
    device = next(parts.module.get_submodule(parts.final_norm_path).parameters()).device
    heads = torch.empty(parts.n_layers, parts.n_heads, len(final), len(token_ids))
    mlps = torch.empty(parts.n_layers, len(final), len(token_ids))
    for rows in torch.arange(len(final)).split(batch_size):
        stream, before, after = final[rows].to(device), intact.of(rows), other.of(rows)
        for layer in range(parts.n_layers):
            z = before.heads[layer].to(stream).transpose(0, 1)  # [prompt, head, d_head]
            variants = z[None].repeat(parts.n_heads, 1, 1, 1)
            own = torch.arange(parts.n_heads)
            variants[own, :, own] = after.heads[layer].to(stream)
            with torch.no_grad():
                change = parts.attention_out(layer, variants) - parts.attention_out(layer, z)
                heads[layer][:, rows] = parts.logits(stream + change.to(stream), token_ids).cpu()
                change = (after.mlps[layer] - before.mlps[layer]).to(stream)
                mlps[layer, rows] = parts.logits(stream + change, token_ids).cpu()
    return heads, mlps
