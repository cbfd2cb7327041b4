"""Direct effects: what a part does for the answer by way of the final norm and the unembedding alone.

All that later blocks read is held fixed as in the intact run; the final norm is computed anew on the changed stream.
On prompts with one answer, after every prefix of a text, and split into parts that sum to the answer's logit.

Gemma and OLMo 2 have a norm behind attention, which mixes what the heads write. It is taken as the linear map that it
is once its divisor is held as in the intact run, as all else is on the way from the head to the stream: then each head
has a share of its own, and the shares sum to what attention writes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import nnsight
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import anatomy
from successor_heads.ablation import AblationEffects, Answers, asked_of, head_columns, read_answers
from successor_heads.anatomy import Anatomy, name_of
from successor_heads.errors import UserError
from successor_heads.prompts import Prompt, encode, mean_head_outputs

TOP_ATTENDED = 5
FINAL_NORM = "final norm"  # what a change of its divisor does, beside the parts of a logit


def on_answers(
    model: TransformersModel,
    prompts: Sequence[str],
    answers: Int[Tensor, " prompt"],
    *,
    members: Int[Tensor, " member"],
    reference: Sequence[str],
) -> AblationEffects:
    """The direct effect of every head on the answers: the part of the total that no later block passes on.

    At the last position, what a head adds to the final residual stream is replaced by the mean of what it
    adds there over the `reference` prompts. All that later heads and MLPs read and write is held fixed as
    in the intact run; the final norm is not: it is computed anew on the changed stream, and the
    unembedding after it. `answers` are token ids, `members` those of the answers' class.
    """
    parts = anatomy.of(model)
    means = mean_head_outputs(model, reference)
    final_norm = model.get(parts.final_norm_path)
    with torch.no_grad(), model.trace(encode(model, prompts), logits_to_keep=1):
        heads, summed = nnsight.save([]), nnsight.save([])
        for layer in range(parts.n_layers):
            heads.append(parts.output_projection(layer).input[:, -1])
            if parts.attention_post_norm_path is not None:
                summed.append(model.get(post_norm_path(parts, layer)).input[:, -1])
        stream = final_norm.input[:, -1].save()
    token_ids, answers, members = asked_of(answers, members)

    def answered(stream: Float[Tensor, "*batch d_model"]) -> Answers:
        return read_answers(parts.logits(stream, token_ids).cpu(), answers, members)

    device, layers = model._module.device, []
    stream = stream.float().to(device)
    for layer, (z, norm) in enumerate(zip(heads, frozen_post_norms(parts, summed))):
        z = z.float().to(device).unflatten(-1, (parts.n_heads, parts.d_head)) - means[layer].to(device)
        # The bias of the output projection belongs to no head, and is in both runs.
        written = torch.einsum("phk,hkd->hpd", z, parts.w_o(layer))
        layers.append(answered(stream - (written if norm is None else norm(written))))
    return AblationEffects(clean=answered(stream), ablated=Answers(*map(torch.stack, zip(*layers))))


class Reference(NamedTuple):
    """What stands in for a head that is taken away: the mean of its outputs over a text, and some of them drawn."""

    mean: Float[Tensor, "layer head d_head"]
    drawn: Float[Tensor, "draw layer head d_head"]


class TextEffects(NamedTuple):
    """What every head does for the token that comes next, after every prefix of every context.

    Direct effects are falls of that token's logit when what the head adds to the final residual stream is
    replaced (by the mean, by nothing, by another place's) and the final norm is computed anew on the
    changed stream; all that later blocks read is held fixed. `frozen` is the linear part: what the head
    adds to the logit while the final norm divides by what it divides by in the intact run. `attended` are
    the positions that the head attends to most, -1 where the prefix has fewer, and `weight` how much.
    """

    logit: Float[Tensor, "context prefix"]
    loss: Float[Tensor, "context prefix"]
    mean: Float[Tensor, "context prefix layer head"]
    zero: Float[Tensor, "context prefix layer head"]
    resample: Float[Tensor, "context prefix layer head"]
    frozen: Float[Tensor, "context prefix layer head"]
    attended: Int[Tensor, "context prefix layer head top"]
    weight: Float[Tensor, "context prefix layer head top"]


def reference_outputs(
    model: TransformersModel, contexts: Int[Tensor, "context position"], *, n_drawn: int, seed: int, batch_size: int
) -> Reference:
    """Mean over all positions of all contexts of what each head hands to the output projection, and `n_drawn` of them."""
    parts = anatomy.of(model)
    _check_weights(model)
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(contexts.numel(), (n_drawn,), generator=generator)
    total = torch.zeros(parts.n_layers, parts.n_heads, parts.d_head, dtype=torch.double)
    drawn = torch.zeros(n_drawn, *total.shape)
    for start in range(0, len(contexts), batch_size):
        batch = contexts[start : start + batch_size].to(model._module.device)
        with torch.no_grad(), model.trace(batch, logits_to_keep=1):
            heads = nnsight.save([])
            for layer in range(parts.n_layers):
                heads.append(parts.output_projection(layer).input)
        z = torch.stack([values.cpu() for values in heads], -2).float()
        z = z.unflatten(-1, (parts.n_heads, parts.d_head)).flatten(0, 1)
        total += z.sum(0, dtype=torch.double)
        first = start * contexts.shape[1]
        here = (places >= first) & (places < first + len(z))
        drawn[here] = z[places[here] - first]
    return Reference((total / contexts.numel()).float(), drawn)


def effects_in_text(
    model: TransformersModel,
    contexts: Int[Tensor, "context position"],
    *,
    reference: Reference,
    draws: Int[Tensor, "context prefix"],
) -> TextEffects:
    """Direct effects of all heads on the token after every prefix, all in one forward pass.

    `draws` says which of `reference.drawn` stands in for the heads at each prefix in resample ablation.
    """
    parts = anatomy.of(model)
    _check_weights(model)
    final_norm = model.get(parts.final_norm_path)
    with torch.no_grad(), model.trace(contexts.to(model._module.device)):
        heads, attended, weight, summed = nnsight.save([]), nnsight.save([]), nnsight.save([]), nnsight.save([])
        for layer in range(parts.n_layers):
            heads.append(parts.output_projection(layer).input[:, :-1])
            pattern = parts.attention(layer).output[1][:, :, :-1]
            top = pattern.topk(min(TOP_ATTENDED, pattern.shape[-1]))
            attended.append(top.indices)
            weight.append(top.values)
            if parts.attention_post_norm_path is not None:
                summed.append(model.get(post_norm_path(parts, layer)).input[:, :-1])
        stream = final_norm.input[:, :-1].save()
        logits = model.output.logits[:, :-1].save()
    following = contexts[:, 1:].to(logits.device)
    logit = logits.float().gather(-1, following[..., None])[..., 0]
    loss = logits.float().logsumexp(-1) - logit
    replaced = {
        "mean": reference.mean.expand(*draws.shape, *reference.mean.shape),
        "zero": torch.zeros(()).expand(*draws.shape, *reference.mean.shape),
        "resample": reference.drawn[draws],
    }
    effects = _direct(parts, stream.float(), heads, frozen_post_norms(parts, summed), following, replaced)
    # [context, head, prefix, top] a layer
    attended, weight = (
        torch.stack([of.cpu() for of in values], 1).permute(0, 3, 1, 2, 4) for values in (attended, weight)
    )
    unseen = attended > torch.arange(attended.shape[1])[:, None, None, None]
    attended, weight = attended.masked_fill(unseen, -1), weight.float().masked_fill(unseen, 0)
    measured = {"logit": logit, "loss": loss, **effects, "attended": attended, "weight": weight}
    return TextEffects(**{name: values.cpu() for name, values in measured.items()})


class PathLosses(NamedTuple):
    """Loss of the token after every prefix when one head's work is missing on some of its paths to the logits."""

    direct: Float[Tensor, "context prefix"]
    indirect: Float[Tensor, "context prefix"]
    total: Float[Tensor, "context prefix"]


def losses_by_path(
    model: TransformersModel,
    contexts: Int[Tensor, "context position"],
    place: tuple[int, int],
    *,
    replacements: Sequence[Float[Tensor, "*#place d_head"]],
    batch_size: int,
) -> list[PathLosses]:
    """Losses when a head (layer, head) writes a replacement at every position, by path; for each replacement.

    *total*: all that follows reads the replacement, later positions included. *direct*: what the head itself adds to
    the final stream of this position is replaced, and all else is as in the intact run. *indirect*: the other way
    round, all else reads the replacement and the head's own share of the final stream is the intact one. The final
    norm is computed anew in each; with its divisor held, falls of a logit by direct and indirect path add up to
    the total's. A replacement is the head's mean, or what it wrote elsewhere, for each context and position.
    """
    parts, (layer, head) = anatomy.of(model), place
    _check_weights(model)
    columns, final_norm = head_columns(parts, head), model.get(parts.final_norm_path)
    every = [
        values.to(model._module.device, model._module.dtype).expand(*contexts.shape, parts.d_head)
        for values in replacements
    ]
    found = []
    for start in range(0, len(contexts), batch_size):
        batch = contexts[start : start + batch_size].to(model._module.device)
        with torch.no_grad(), model.trace(batch, logits_to_keep=1) as tracer:
            before = parts.block(layer - 1).output.save() if layer else None
            own, summed = parts.output_projection(layer).input[..., columns].clone().save(), nnsight.save([])
            if parts.attention_post_norm_path is not None:
                summed.append(model.get(post_norm_path(parts, layer)).input)
            intact = final_norm.input.save()
            tracer.stop()  # the whole vocabulary comes later, for all paths at once
        streams = []
        for values in every:
            instead = values[start : start + batch_size]
            with torch.no_grad(), model.trace(batch, logits_to_keep=1) as tracer:
                for earlier in range(layer):  # they do what they did; what all but the last hand on is not read
                    parts.block(earlier).skip(before)
                parts.output_projection(layer).input[..., columns] = instead
                without = final_norm.input.save()
                tracer.stop()
            removed = (own.to(instead.device).float() - instead.float()) @ parts.w_o(layer)[head]
            if summed:
                removed = frozen_post_norm(parts, layer, summed[0])(removed)
            whole, without = (values.to(removed.device).float() for values in (intact, without))
            streams.append(torch.stack([whole - removed, without + removed, without]))
        stream = torch.stack(streams)[..., :-1, :]  # [replacement, path, context, prefix, d_model]
        found.append(parts.losses(stream, batch[:, 1:].expand(stream.shape[:-1])).cpu())
    return [PathLosses(*losses) for losses in torch.cat(found, 2)]


def direct_effects_at_end(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    answers: Int[Tensor, " prompt *answer"],
    *,
    mean: Float[Tensor, "layer head d_head"],
    batch_size: int = 32,
) -> Float[Tensor, "prompt *answer layer head"]:
    """Direct effect of every head on each prompt's answer at its last position: `TextEffects.mean`, prompt by prompt.

    A prompt may have several answers, such as a right one and its rival, which share one run.
    """
    parts = anatomy.of(model)
    _check_weights(model)
    final_norm = model.get(parts.final_norm_path)
    shape = answers.shape
    answers = answers.reshape(len(prompts), -1)
    found = torch.zeros(*answers.shape, parts.n_layers, parts.n_heads)
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))  # for little padding
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        with torch.no_grad(), model.trace(encode(model, [prompts[place] for place in places]), logits_to_keep=1):
            heads, summed = nnsight.save([]), nnsight.save([])
            for layer in range(parts.n_layers):
                heads.append(parts.output_projection(layer).input[:, -1:])
                if parts.attention_post_norm_path is not None:
                    summed.append(model.get(post_norm_path(parts, layer)).input[:, -1:])
            stream = final_norm.input[:, -1:].save()
        replaced = {"mean": mean.expand(len(places), 1, *mean.shape)}
        following, norms = answers[places].to(stream.device), frozen_post_norms(parts, summed)
        found[places] = _direct(parts, stream.float(), heads, norms, following, replaced)["mean"].cpu()
    return found.view(*shape, parts.n_layers, parts.n_heads)


def logit_parts(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    answers: Int[Tensor, " prompt"],
    *,
    heads: Sequence[tuple[int, int]] = (),
    mean: Float[Tensor, "layer head d_head"],
) -> dict[str, Float[Tensor, " prompt"]]:
    """What each part of the model adds to the answer's logit at the last position; the parts sum to the logit.

    Parts are the embedding, every head ("L1H6"), MLP ("MLP1") and bias. Each goes through the final norm with
    the run's own divisor. `heads` write their `mean` there; the run is then the ablated one. Of a model that caps its
    logits it is the logit in front of the cap, for a cap has no parts.
    """
    parts = anatomy.of(model)
    written, stream = _written_at_end(model, prompts, heads, mean)
    unembed = parts.unembed(answers).T
    final = _frozen(parts, parts.final_norm_path, stream)
    found = {part: (final(values) * unembed).sum(-1).cpu() for part, values in written.items()}
    zero = parts.final_norm(torch.zeros(1, parts.d_model, device=stream.device))  # the norm's own bias
    found["final bias"] = (zero * unembed).sum(-1).cpu()
    bias = parts._bias(parts.unembedding_path)
    return found if bias is None else found | {"unembedding bias": bias[answers.to(bias.device)].cpu()}


def changes_of_logit(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    answers: Int[Tensor, " prompt"],
    *,
    heads: Sequence[tuple[int, int]],
    mean: Float[Tensor, "layer head d_head"],
) -> dict[str, Float[Tensor, " prompt"]]:
    """By how much each part's share of the answer's logit changes once `heads` write their `mean` at the last position.

    Both runs go through the final norm with the intact run's divisor, so that a part changes by what it writes and by
    nothing else. What the ablated run's own divisor adds is the part "final norm"; with it the changes sum to that of
    the logit.
    """
    parts = anatomy.of(model)
    (intact, stream), (ablated, its_stream) = (_written_at_end(model, prompts, some, mean) for some in ([], heads))
    unembed = parts.unembed(answers).T
    held, own = (_frozen(parts, parts.final_norm_path, at) for at in (stream, its_stream))
    changes = {part: (held(ablated[part] - values) * unembed).sum(-1).cpu() for part, values in intact.items()}
    return changes | {FINAL_NORM: ((own(its_stream) - held(its_stream)) * unembed).sum(-1).cpu()}


def _written_at_end(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    heads: Sequence[tuple[int, int]],
    mean: Float[Tensor, "layer head d_head"],
) -> tuple[dict[str, Float[Tensor, "prompt d_model"]], Float[Tensor, "prompt d_model"]]:
    """What each part writes to the stream at the last position where `heads` write their `mean`, and the stream, its sum."""
    parts = anatomy.of(model)
    _check_weights(model)
    final_norm = model.get(parts.final_norm_path)
    device, written = model._module.device, {}
    mean = mean.to(device, model._module.dtype)
    with torch.no_grad(), model.trace(encode(model, prompts), logits_to_keep=1):
        outputs, mlps, summed = nnsight.save([]), nnsight.save([]), nnsight.save([])
        first = parts.block(0).input[:, -1].save()
        for layer in range(parts.n_layers):
            projection = parts.output_projection(layer)
            for _, head in sorted(place for place in heads if place[0] == layer):
                projection.input[:, -1, head_columns(parts, head)] = mean[layer, head]
            outputs.append(projection.input[:, -1].clone())
            if parts.attention_post_norm_path is not None:
                summed.append(model.get(post_norm_path(parts, layer)).input[:, -1])
            mlps.append(parts.mlp_writer(layer).output[:, -1])
        stream = final_norm.input[:, -1].save()
    written["embedding"] = first.float()
    for layer, (z, mlp, norm) in enumerate(zip(outputs, mlps, frozen_post_norms(parts, summed))):
        z = z.float().to(device).unflatten(-1, (parts.n_heads, parts.d_head))
        by_head = torch.einsum("phk,hkd->hpd", z, parts.w_o(layer))
        bias = parts._bias(f"{parts.blocks_path}.{layer}.{parts.output_projection_path}")
        if norm is not None:
            by_head, bias = norm(by_head), None if bias is None else norm(bias.expand_as(by_head[0]))
        written |= {name_of((layer, head)): by_head[head] for head in range(parts.n_heads)}
        if bias is not None:
            written[f"bias {layer}"] = bias.expand_as(by_head[0])
        written[name_of((layer, None))] = mlp.float()
    return {part: values.to(device) for part, values in written.items()}, stream.float().to(device)


class FrozenNorm(NamedTuple):
    """A norm as the linear map that it is once its divisor is held at that of some vectors; its bias is left out."""

    centred: bool  # a layer norm maps all vectors of equal entries alike, an RMS norm does not
    gain: Float[Tensor, " d_model"]
    divisor: Float[Tensor, "*batch 1"]
    epsilon: float

    def __call__(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return self.undivided(x) / self.divisor

    def centre(self, x: Tensor) -> Tensor:
        """x without the mean of its entries, where the norm takes that out."""
        return x - x.mean(-1, keepdim=True) if self.centred else x

    def undivided(self, x: Tensor) -> Tensor:
        """The map but for its divisor, which is one number for each of the vectors it was frozen at."""
        return self.centre(x) * self.gain

    def pulled_back(self, y: Tensor) -> Tensor:
        """The vector whose product with x is that of y with `undivided(x)`, for all x."""
        return self.centre(y * self.gain)


def _frozen(parts: Anatomy, path: str, x: Float[Tensor, "*batch d_model"]) -> FrozenNorm:
    """The norm of that name, its divisor held as it is at x."""
    gain = parts.gain(parts.weights.take(f"{path}.weight").float())
    x, ones = x.to(gain.device), torch.ones(1, parts.d_model, device=gain.device)
    centred = torch.allclose(parts._norm(path, ones), parts._norm(path, 0 * ones), atol=1e-4)
    frozen = FrozenNorm(centred, gain, torch.ones(()), getattr(parts.config, parts.epsilon_name))
    return frozen._replace(divisor=_divisor(frozen.centre(x).square().mean(-1, keepdim=True), frozen.epsilon))


def _divisor(mean_square: Tensor, epsilon: float) -> Tensor:
    return (mean_square + epsilon).sqrt()


def post_norm_path(parts: Anatomy, layer: int) -> str:
    """The name of the norm behind a layer's attention, in the families that have one."""
    return f"{parts.blocks_path}.{layer}.{parts.attention_post_norm_path}"


def frozen_post_norms(parts: Anatomy, summed: Sequence[Tensor]) -> list[FrozenNorm | None]:
    """The norm behind each layer's attention, frozen at what it was given: the sum of the heads; None where none is."""
    if parts.attention_post_norm_path is None:
        return [None] * parts.n_layers
    return [frozen_post_norm(parts, layer, values) for layer, values in enumerate(summed)]


def frozen_post_norm(parts: Anatomy, layer: int, summed: Float[Tensor, "*batch d_model"]) -> FrozenNorm:
    """The norm behind one layer's attention, frozen at the sum of its heads."""
    return _frozen(parts, post_norm_path(parts, layer), summed.float())


def norm_at_end(model: TransformersModel, parts: Anatomy, ids: Sequence[int], layer: int) -> Callable[[Tensor], Tensor]:
    """What stands between a layer's attention and the stream at the last token, frozen there: nothing in most families."""
    if parts.attention_post_norm_path is None:
        return lambda written: written
    with torch.no_grad(), model.trace(torch.tensor([list(ids)]).to(model._module.device)):
        summed = model.get(post_norm_path(parts, layer)).input[0, -1].save()
    norm = frozen_post_norm(parts, layer, summed)
    return lambda written: norm(written)  # to a type checker the tuple itself is no function


def _direct(
    parts: Anatomy,
    stream: Float[Tensor, "*#batch d_model"],
    heads: Sequence[Float[Tensor, "*#batch heads_times_d_head"]],
    norms: Sequence[FrozenNorm | None],
    following: Int[Tensor, "*batch"],
    replaced: Mapping[str, Float[Tensor, "*#batch layer head d_head"]],
) -> dict[str, Float[Tensor, "*batch layer head"]]:
    """Fall of the logit of `following` when each head's output is `replaced`, by kind of ablation; and `frozen`.

    The logit is a product divided by a length. A head's share of the product, and how the length changes without
    the head, are had from its d_head numbers: no stream is formed for any of the heads.
    """
    unembed = parts.unembed(following.flatten()).T.unflatten(0, following.shape)
    stream = stream.to(unembed.device)
    final = _frozen(parts, parts.final_norm_path, stream)
    toward, centred = final.pulled_back(unembed), final.centre(stream)
    product, square = (stream * toward).sum(-1, keepdim=True), centred.square().sum(-1, keepdim=True)
    effects: dict[str, list[Tensor]] = {name: [] for name in (*replaced, "frozen")}
    for layer, (z, norm) in enumerate(zip(heads, norms)):
        z, w_o, scale = z.float().unflatten(-1, (parts.n_heads, parts.d_head)), parts.w_o(layer), torch.ones(())
        z = z.to(w_o.device)
        if norm is not None:
            w_o, scale = norm.undivided(w_o), 1 / norm.divisor[..., None]
        to_answer = torch.einsum("...d,hkd->...hk", toward, w_o) * scale
        to_stream = torch.einsum("...d,hkd->...hk", centred, w_o) * scale
        lengths = final.centre(w_o) @ final.centre(w_o).mT  # [head, d_head, d_head]
        for name, values in replaced.items():
            # The bias of the output projection belongs to no head, and is in both runs.
            removed = z - values[..., layer, :, :].to(z.device)
            of_product = (removed * to_answer).sum(-1)
            # |stream - written|² = |stream|² - 2 stream · written + |written|²
            written = torch.einsum("...hk,hkl->...hl", removed, lengths) * scale.square()
            left = square - 2 * (removed * to_stream).sum(-1) + (removed * written).sum(-1)
            without = (product - of_product) / _divisor(left.clamp(min=0) / parts.d_model, final.epsilon)
            effects[name].append(product / final.divisor - without)
        effects["frozen"].append((z * to_answer).sum(-1) / final.divisor)
    return {name: torch.stack(values, -2) for name, values in effects.items()}


def _check_weights(model: TransformersModel) -> None:
    """Refuse a model whose weights are elsewhere. Raises UserError."""
    if model.remote is True:
        raise UserError(
            "Direct effects in text need the weights, which are on NDIF: use a model that fits on this machine."
        )
