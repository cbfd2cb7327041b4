"""What a model answers when a part of it is ablated: total effects.

::

    effects = ablation.mean_ablation_effects(model, prompts, answers, members=days.token_ids, reference=prompts)
    effects.logit_fall[1, 6]     # one number a prompt for L1H6

A head is edited at the *input* of the output projection, where it owns d_head entries; behind the projection the
heads are mixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import nnsight
import torch
from jaxtyping import Bool, Float, Int
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import anatomy, cached
from successor_heads.anatomy import Anatomy
from successor_heads.cached import Edit, logits_of_variants
from successor_heads.ndif import explained
from successor_heads.prompts import Prompt, encode, mean_head_outputs


class Answers(NamedTuple):
    """How a model answered: the logit of the right answer, and how it compares with the rest of its class.

    `difference` is that logit minus the mean over the other members of the class; `right_in_class` says
    whether the answer alone has the highest logit in it.
    """

    logit: Float[Tensor, "*batch prompt"]
    difference: Float[Tensor, "*batch prompt"]
    right_in_class: Bool[Tensor, "*batch prompt"]


@dataclass(frozen=True, eq=False)
class AblationEffects:
    """Answers of the whole model [prompt], and of it with each part ablated, as [layer, head, prompt]."""

    clean: Answers
    ablated: Answers

    @property
    def logit_fall(self) -> Float[Tensor, "*part prompt"]:
        """By how much the right answer's logit falls without the part."""
        return self.clean.logit - self.ablated.logit

    @property
    def difference_fall(self) -> Float[Tensor, "*part prompt"]:
        """By how much the right answer's lead over its class falls without the part."""
        return self.clean.difference - self.ablated.difference


def read_answers(
    logits: Float[Tensor, "*batch prompt token"],
    answers: Int[Tensor, " prompt"],
    members: Int[Tensor, " member"],
) -> Answers:
    """What the logits say about the right answer of each prompt among the members of its class."""
    logit = logits.gather(-1, answers.expand(logits.shape[:-1])[..., None])[..., 0]
    others = logits[..., members].masked_fill(members == answers[:, None], torch.nan)
    return Answers(
        logit=logit,
        difference=logit - others.nanmean(-1),
        right_in_class=logit > others.nan_to_num(-torch.inf).amax(-1),
    )


def asked_of(
    answers: Int[Tensor, " prompt"], members: Int[Tensor, " member"]
) -> tuple[Int[Tensor, " token"], Int[Tensor, " prompt"], Int[Tensor, " member"]]:
    """The few tokens whose logits are needed, and where among them answers and members are."""
    token_ids, places = torch.cat([answers, members]).unique(return_inverse=True)
    return token_ids, *places.split([len(answers), len(members)])


def mean_ablation_effects(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    answers: Int[Tensor, " prompt"],
    *,
    members: Int[Tensor, " member"],
    reference: Sequence[Prompt],
) -> AblationEffects:
    """The total effect of every head on the answers (paper, section 5: mean ablation): [layer, head, prompt].

    At the last position a head's output is replaced by its mean there over the `reference` prompts.
    `answers` are token ids, `members` those of the answers' class.
    """
    means = mean_head_outputs(model, reference)
    return head_ablation_effects(model, prompts, answers, members=members, replacement=means)


def head_ablation_effects(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    answers: Int[Tensor, " prompt"],
    *,
    members: Int[Tensor, " member"],
    replacement: Float[Tensor, "layer head *prompt d_head"],
) -> AblationEffects:
    """The total effect of every head when it writes its `replacement` at the last position: [layer, head, prompt].

    A mean (`prompts.mean_head_outputs`), zeros, or for each prompt what the head wrote on another (resample
    ablation, from `prompts.head_outputs`).
    """
    n_layers, n_heads = replacement.shape[:2]
    every = [[(layer, head)] for layer in range(n_layers) for head in range(n_heads)]
    effects = group_ablation_effects(model, prompts, answers, every, members=members, replacement=replacement)
    by_head = (values.unflatten(0, (n_layers, n_heads)) for values in effects.ablated)
    return AblationEffects(effects.clean, Answers(*by_head))


def group_ablation_effects(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    answers: Int[Tensor, " prompt"],
    groups: Sequence[Sequence[tuple[int, int]]],
    *,
    members: Int[Tensor, " member"],
    replacement: Float[Tensor, "layer head *prompt d_head"],
) -> AblationEffects:
    """The total effect of each group of heads (layer, head), all of it replaced at once: [group, prompt].

    For the few heads that seem to matter, beside many random groups of as many. See `head_ablation_effects`.
    """
    variants = [[Edit(layer, head, replacement[layer, head]) for layer, head in group] for group in groups]
    return _effects(model, prompts, answers, variants, members=members)


def _effects(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    answers: Int[Tensor, " prompt"],
    variants: Sequence[Sequence[Edit]],
    *,
    members: Int[Tensor, " member"],
) -> AblationEffects:
    """The answers of the intact model and of the variants, with nothing but answers and members unembedded."""
    token_ids, answers, members = asked_of(answers, members)
    logits_of = _traced_logits if model.remote else logits_of_variants
    logits = logits_of(model, prompts, [[], *variants], token_ids)
    return AblationEffects(read_answers(logits[0], answers, members), read_answers(logits[1:], answers, members))


# Variants in one trace on NDIF: it takes one forward pass of each, and what it keeps of them has to fit there.
TRACED_AT_ONCE = 16


def _traced_logits(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    variants: Sequence[Sequence[Edit]],
    token_ids: Int[Tensor, " token"],
) -> Float[Tensor, "variant prompt token"]:
    """As `cached.logits_of_variants`, by whole forward passes: NDIF runs traces, and its blocks cannot be called."""
    parts, inputs, found = anatomy.of(model), encode(model, prompts), []
    for start in range(0, len(variants), TRACED_AT_ONCE):
        # In the order in which the model runs, or the trace fails; and prepared here, for this package is not there.
        prepared = [
            [
                (parts.mlp_writer(layer), None, value)
                if head is None
                else (parts.output_projection(layer), head_columns(parts, head), value)
                for layer, head, value in sorted(variant, key=lambda edit: (edit.layer, edit.head is None))
            ]
            for variant in variants[start : start + TRACED_AT_ONCE]
        ]
        # One forward pass with one invoke a variant: much cheaper than a trace each.
        with explained(model), model.trace(remote=model.remote) as tracer:
            logits = nnsight.save([])
            for variant in prepared:
                with tracer.invoke(inputs, logits_to_keep=1):
                    for module, columns, value in variant:
                        if columns is None:
                            written = module.output
                            written[:, -1] = value.to(written)
                        else:
                            heads = module.input
                            heads[:, -1, columns] = value.to(heads)
                    logits.append(model.output.logits[:, -1][:, token_ids])
        found += [values.float().cpu() for values in logits]
    return torch.stack(found)


def logits_without(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    heads: Sequence[tuple[int, int]],
    *,
    mean: Float[Tensor, "layer head d_head"],
) -> Float[Tensor, "prompt d_vocab"]:
    """Next-token logits when several heads (layer, head) write their `mean` at the last position."""
    parts = anatomy.of(model)
    mean = mean.to(model._module.device, model._module.dtype)
    with torch.no_grad(), model.trace(encode(model, prompts), logits_to_keep=1):
        # In the order in which the model runs, or the trace fails.
        for layer, head in sorted(heads):
            parts.output_projection(layer).input[:, -1, head_columns(parts, head)] = mean[layer, head]
        logits = model.output.logits[:, -1].save()
    return logits.float().cpu()


def losses_without(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    answers: Int[Tensor, " prompt"],
    groups: Sequence[Sequence[tuple[int, int]]],
    *,
    mean: Float[Tensor, "layer head d_head"],
) -> Float[Tensor, "group prompt"]:
    """Loss of each prompt's answer when all heads (layer, head) of a group write their `mean` at the last position.

    All groups go on from one run of the prompts, and no logits of the whole vocabulary are kept: for the logits
    themselves, see `logits_without`.
    """
    intact = cached.run(model, prompts)
    streams = intact.edited([[Edit(*place, mean[place]) for place in group] for group in groups]).float()
    return intact.parts.losses(streams, answers.to(streams.device).expand(streams.shape[:-1])).cpu()


def without_mlp0_directions(
    model: TransformersModel,
    prompts: Sequence[str],
    directions: Float[Tensor, "direction d_model"],
    *,
    mean: Float[Tensor, " d_model"],
) -> Float[Tensor, "prompt d_vocab"]:
    """Next-token logits when MLP0's output has the components of `mean` along orthonormal `directions`.

    At every position. A norm behind the MLP, where the family has one, counts as part of it.
    """
    parts = anatomy.of(model)
    written = parts.mlp_writer(0)
    device, dtype = model._module.device, model._module.dtype
    directions, mean = directions.to(device, dtype), mean.to(device, dtype)
    with torch.no_grad(), model.trace(encode(model, prompts), logits_to_keep=1):
        along = (written.output - mean) @ directions.T
        written.output = written.output - along @ directions
        logits = model.output.logits[:, -1].save()
    return logits.float().cpu()


def ablated_in_text(
    model: TransformersModel,
    contexts: Int[Tensor, "context position"],
    heads: Sequence[tuple[int, int]],
    *,
    mean: Float[Tensor, "layer head d_head"],
    batch_size: int,
) -> tuple[Float[Tensor, "context prefix"], Float[Tensor, "context prefix"]]:
    """Logit and loss of the token after every prefix when `heads` write their `mean` at every position.

    Beside the intact run this is the total effect: direct, by way of later blocks, and by way of what earlier
    positions hand on.
    """
    parts = anatomy.of(model)
    mean = mean.to(model._module.device, model._module.dtype)
    logit, loss = [], []
    for start in range(0, len(contexts), batch_size):
        batch = contexts[start : start + batch_size].to(model._module.device)
        with torch.no_grad(), model.trace(batch):
            for layer, head in sorted(heads):
                parts.output_projection(layer).input[..., head_columns(parts, head)] = mean[layer, head]
            logits = model.output.logits[:, :-1].save()
        chosen = logits.float().gather(-1, batch[:, 1:, None].to(logits.device))[..., 0]
        logit.append(chosen.cpu())
        loss.append((logits.float().logsumexp(-1) - chosen).cpu())
    return torch.cat(logit), torch.cat(loss)


def gradient_attribution(
    model: TransformersModel,
    contexts: Int[Tensor, "context position"],
    *,
    mean: Float[Tensor, "layer head d_head"],
) -> Float[Tensor, "context layer head"]:
    """What one backward pass says about `ablated_in_text`: its effect on a context's summed logits, to first order.

    (z - mean) · gradient of the sum of the logits of all next tokens, summed over positions.
    """
    parts = anatomy.of(model)
    contexts = contexts.to(model._module.device)
    with torch.enable_grad(), model.trace(contexts):
        embedded = model.get(parts.embedding_path).output
        # The weights are frozen, so that the graph has to start here.
        embedded.requires_grad_(True)
        heads = nnsight.save([])
        for layer in range(parts.n_layers):
            heads.append(parts.output_projection(layer).input)
        logits = model.output.logits[:, :-1].save()
    total = logits.float().gather(-1, contexts[:, 1:, None].to(logits.device)).sum()
    found = []
    for layer, (z, slope) in enumerate(zip(heads, torch.autograd.grad(total, list(heads)))):
        z, slope = (values.detach().float().unflatten(-1, (parts.n_heads, parts.d_head)) for values in (z, slope))
        found.append(((z - mean[layer].to(z.device)) * slope).sum((1, 3)).cpu())
    return torch.stack(found, 1)


def head_columns(parts: Anatomy, head: int) -> slice:
    """The entries that a head owns at the input of the output projection."""
    return slice(head * parts.d_head, (head + 1) * parts.d_head)
