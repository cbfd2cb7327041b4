"""A head at work on prompts: attention patterns, and what taking a head away does to the answer.

    tokens, patterns = attention_patterns(model, "Monday Tuesday Wednesday")
    effects = mean_ablation_effects(model, prompts, answers, members=days.token_ids, reference=prompts)
    effects.logit_fall[1, 6]     # one number a prompt for L1H6

All nnsight code of the library is here, the part of it that sends work to NDIF included. Prompts are padded on the left with positions counted from
the first real token, so that position -1 is the last token of every prompt and padding changes nothing.
A head is edited at the *input* of the output projection, where it owns d_head entries; behind the
projection the heads are mixed.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import nnsight
import torch
from jaxtyping import Bool, Float, Int
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import anatomy
from successor_heads.anatomy import Anatomy
from successor_heads.errors import UserError

# A text, or token ids: the start of a text, tokenized alone, need not give the tokens that the text starts with.
Prompt = str | Sequence[int]
TOP_ATTENDED = 5


class Answers(NamedTuple):
    """How a model answered: the logit of the right answer, and how it compares.

    `difference` is that logit minus the mean over the other members of the class. `right_in_class`
    and `right_in_vocabulary` say whether the answer alone has the highest logit there.
    """

    logit: Float[Tensor, "*batch prompt"]
    difference: Float[Tensor, "*batch prompt"]
    right_in_class: Bool[Tensor, "*batch prompt"]
    right_in_vocabulary: Bool[Tensor, "*batch prompt"]


@dataclass(frozen=True, eq=False)
class AblationEffects:
    """Answers of the whole model [prompt], and with one head at a time ablated [layer, head, prompt]."""

    clean: Answers
    ablated: Answers

    @property
    def logit_fall(self) -> Float[Tensor, "layer head prompt"]:
        """By how much the right answer's logit falls without the head."""
        return self.clean.logit - self.ablated.logit

    @property
    def difference_fall(self) -> Float[Tensor, "layer head prompt"]:
        """By how much the right answer's lead over its class falls without the head."""
        return self.clean.difference - self.ablated.difference


def anatomy_of(model: TransformersModel) -> Anatomy:
    """The anatomy of a model wherever it runs; weights on NDIF can be computed with, but not taken.

    parts = anatomy_of(models.load("meta-llama/Llama-3.1-70B", remote=True))
    x = parts.compute(ov_circuit.head_input, token_ids)
    """
    here = anatomy.of(model)
    if not model.remote:
        return here
    remote_class = type("Remote", (_Remote, type(here)), {"family_class": type(here)})
    return remote_class(here.config, Elsewhere(), model=model)


class Elsewhere:
    """Weights that are not on this machine. Whoever asks for one gets a UserError."""

    def __contains__(self, name):
        return self.take(name)

    def take(self, name, **rows):
        raise UserError("The weights are on NDIF: hand what you would do with them to parts.compute, as a function.")


class Called:
    """A model's tensors, found out by calling its modules: inside a trace, NDIF runs modules but shows no weights.

    A linear map of the rows of the identity is its weight. The rows are scaled up by a power of two, which
    costs no digit, until a bias is too small to be seen; of zeros, the map is its bias. A norm of +1, -1,
    +1, ... gives its gain, and so does the negative of that; half their difference is without the bias. All
    this is exact, but for the last digit of a gain and of Gemma's embeddings, which half precision has few of.
    """

    def __init__(self, model, parts: Anatomy, shapes: dict[str, tuple[int, ...]], probe: Tensor):
        self.model, self.shapes, self.in_out = model, shapes, parts.in_out
        self.embedding_path, self.embedding_scale = parts.embedding_path, parts.embedding_scale
        # What the family adds to a norm's stored weight before it is used: 1 in Gemma.
        self.added = float(parts.gain(torch.zeros(1)))
        # Any activation: its dtype and its device are the model's.
        self.like = {"dtype": probe.dtype, "device": probe.device}
        self.narrow = probe.dtype == torch.float16

    def __contains__(self, name):
        return name in self.shapes

    def take(self, name, *, rows=None, of=None):
        path, _, leaf = name.rpartition(".")
        module, shape = self.model.get(path), self.shapes[f"{path}.weight"]
        if path == self.embedding_path:
            embedded = module(rows.to(self.like["device"])).detach()
            return embedded if self.embedding_scale == 1 else embedded.float() / self.embedding_scale
        n_in = shape[0] if self.in_out or len(shape) == 1 else shape[1]
        if leaf == "bias":
            tensor = module(torch.zeros(1, n_in, **self.like))[0].detach()
        elif len(shape) == 1:
            tensor = self._gain(module, n_in)
        else:
            tensor = self._linear(module, n_in, columns=rows if isinstance(rows, Tensor) else slice(None))
        return tensor.reshape(of, -1)[rows.start : rows.stop : rows.step] if isinstance(rows, range) else tensor

    def _gain(self, norm, n: int) -> Tensor:
        signs = torch.ones(1, n, **self.like)
        signs[:, 1::2] = -1
        large = signs * 2.0 ** (8 if self.narrow else 20)  # so that the epsilon under the root does not count
        return ((norm(large).detach().float() - norm(-large).detach().float()) / 2 * signs)[0] - self.added

    def _linear(self, linear, n_in: int, *, columns: Tensor | slice) -> Tensor:
        scale, pieces = 2.0 ** (8 if self.narrow else 64), []
        for start in range(0, n_in, 512):  # the whole of W_U would be large
            identity = torch.zeros(min(512, n_in - start), n_in, **self.like)
            identity.diagonal(start).fill_(scale)
            pieces.append(linear(identity).detach()[:, columns].float() / scale)
        # In the order in memory in which it is stored, or sums would differ in the last bit.
        return torch.cat(pieces) if self.in_out else torch.cat(pieces).T.contiguous()


class _Remote:
    """What an Anatomy does otherwise when its weights are on NDIF."""

    def compute(self, function: Callable, *args, **kwargs):
        """function(parts, *args, **kwargs), run inside one nnsight trace there; what it returns comes back."""
        # NDIF has not installed this package: its functions travel as source, with the names they use.
        nnsight.register("successor_heads")
        model, family, config, called = self.model, self.family_class, self.config, Called
        shapes = {name: tuple(parameter.shape) for name, parameter in model._module.named_parameters()}
        with explained(model), model.trace("1", remote=model.remote):
            probe = model.get(family.embedding_path).output
            # A server may cast what a trace computes to the model's own, narrower dtype.
            with torch.no_grad(), torch.autocast("cuda", enabled=False):
                weights = called(model, family(config, None), shapes, probe)
                answer = nnsight.save(function(family(config, weights), *args, **kwargs))
        return answer


@contextmanager
def explained(model: TransformersModel) -> Iterator[None]:
    """Without gradients; of a model on NDIF, whatever goes wrong there becomes one sentence."""
    with torch.no_grad():
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if model.remote is not True:
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1][:200].rstrip(" .")
            raise UserError(
                f"NDIF could not do this for {model.repo_id} ({reason}): if it says that the key or the model is "
                "refused, mend that, else try again later, or use a model that fits on this machine."
            ) from error


def encode(model: TransformersModel, prompts: Sequence[Prompt]) -> dict[str, Int[Tensor, "prompt position"]]:
    """Model inputs of prompts of any lengths: left-padded ids, attention mask and position ids."""
    rows = [model.tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else list(prompt) for prompt in prompts]
    width = max(map(len, rows))
    # The mask hides the padding, so any id will do: a tokenizer need not have a padding token.
    input_ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    attention_mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
    encoded = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
    # NDIF moves what it is sent to where the model is.
    return encoded if model.remote is True else {name: ids.to(model._module.device) for name, ids in encoded.items()}


def attention_patterns(
    model: TransformersModel, prompt: str
) -> tuple[list[str], Float[Tensor, "layer head query key"]]:
    """The prompt's tokens as text, and every head's attention pattern over them.

    Raises UserError for a model on NDIF, where the attention that is fastest runs, which keeps no patterns.
    """
    if model.remote is True:
        raise UserError(
            "Attention patterns are not to be had from NDIF: look at them in a model that fits on this machine."
        )
    parts = anatomy.of(model)
    inputs = encode(model, [prompt])
    with torch.no_grad(), model.trace(inputs):
        patterns = list().save()
        for layer in range(parts.n_layers):
            patterns.append(parts.attention(layer).output[1][0])
    return token_texts(model.tokenizer, inputs["input_ids"][0]), torch.stack(patterns).float().cpu()


def token_texts(tokenizer, token_ids: Int[Tensor, " position"]) -> list[str]:
    """What each token adds to the text, leading space included."""
    # Decoding a token alone would drop the space of SentencePiece tokens.
    texts = [tokenizer.decode(token_ids[:end], clean_up_tokenization_spaces=False) for end in range(len(token_ids) + 1)]
    return [after[len(before) :] for before, after in itertools.pairwise(texts)]


def next_token_logits(model: TransformersModel, prompts: Sequence[Prompt]) -> Float[Tensor, "prompt d_vocab"]:
    """Logits of the token that follows each prompt."""
    inputs = encode(model, prompts)
    with explained(model), model.trace(inputs, logits_to_keep=1, remote=model.remote):
        logits = model.output.logits[:, -1].save()
    return logits.float().cpu()


def mlp0_outputs(model: TransformersModel, prompts: Sequence[str]) -> Float[Tensor, "prompt d_model"]:
    """What MLP0 adds to the stream at the last token of each prompt, having read what it reads at work."""
    parts = anatomy.of(model)
    mlp0 = model.get(f"{parts.blocks_path}.0.{parts.mlp_post_norm_path or parts.mlp_out_path}")
    inputs = encode(model, prompts)
    with explained(model), model.trace(inputs, remote=model.remote):
        written = mlp0.output[:, -1].save()
    return written.float().cpu()


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
    written = model.get(f"{parts.blocks_path}.0.{parts.mlp_post_norm_path or parts.mlp_out_path}")
    device, dtype = model._module.device, model._module.dtype
    directions, mean = directions.to(device, dtype), mean.to(device, dtype)
    with torch.no_grad(), model.trace(encode(model, prompts), logits_to_keep=1):
        along = (written.output - mean) @ directions.T
        written.output = written.output - along @ directions
        logits = model.output.logits[:, -1].save()
    return logits.float().cpu()


def without_mlp0_neurons(
    model: TransformersModel,
    prompts: Sequence[str],
    neurons: Int[Tensor, " ablated"],
    *,
    mean: Float[Tensor, " neuron"],
) -> Float[Tensor, "prompt d_vocab"]:
    """Next-token logits when these neurons of MLP0 have their `mean` activation at every position."""
    parts = anatomy.of(model)
    last_map = model.get(f"{parts.blocks_path}.0.{parts.mlp_out_path}")
    fixed = mean[neurons].to(model._module.device, model._module.dtype)
    with torch.no_grad(), model.trace(encode(model, prompts), logits_to_keep=1):
        last_map.input[..., neurons] = fixed
        logits = model.output.logits[:, -1].save()
    return logits.float().cpu()


class Steered(NamedTuple):
    """Next-token logits of a steered run, and what every head handed to its output projection at the last token."""

    logits: Float[Tensor, "prompt d_vocab"]
    heads: Float[Tensor, "layer prompt head d_head"]


def steered(
    model: TransformersModel,
    prompts: Sequence[str],
    pushes: Float[Tensor, "prompt position d_model"],
    *,
    layer: int,
    held: Mapping[tuple[int, int], Float[Tensor, "prompt d_head"]] | None = None,
) -> Steered:
    """A run in which `pushes` are added to the residual stream before a layer, at the last positions.

    The last push is that of the last token. `held` says what the heads (layer, head) named in it write at
    the last token, whatever they read: what a head wrote in another run, or its mean.
    """
    parts, held = anatomy.of(model), held or {}
    device, dtype = model._module.device, model._module.dtype
    pushes = pushes.to(device, dtype)
    with torch.no_grad(), model.trace(encode(model, prompts), logits_to_keep=1):
        heads = nnsight.save([])
        for place in range(parts.n_layers):
            if place == layer:
                stream = parts.block(place).input
                stream[:, -pushes.shape[1] :] += pushes
            written = parts.output_projection(place).input
            for (of, head), value in held.items():
                if of == place:
                    written[:, -1, head * parts.d_head : (head + 1) * parts.d_head] = value.to(device, dtype)
            heads.append(written[:, -1].clone())
        logits = model.output.logits[:, -1].save()
    heads = torch.stack(heads).unflatten(-1, (parts.n_heads, parts.d_head))
    return Steered(logits.float().cpu(), heads.float().cpu())


def head_inputs(
    model: TransformersModel, texts: Sequence[str], *, layer: int, batch_size: int = 32
) -> tuple[Int[Tensor, " token"], Float[Tensor, "token d_model"]]:
    """Every token of the texts, and what the heads of a layer read there: the residual stream, normed."""
    parts = anatomy.of(model)
    token_ids, streams = [], []
    by_length = sorted(texts, key=len)  # for little padding
    for start in range(0, len(by_length), batch_size):
        inputs = encode(model, by_length[start : start + batch_size])
        with torch.no_grad(), model.trace(inputs) as tracer:
            stream = parts.block(layer).input.save()
            tracer.stop()  # no later block is needed
        real = inputs["attention_mask"].bool()
        token_ids.append(inputs["input_ids"][real].cpu())
        streams.append(stream[real].float().cpu())
    return torch.cat(token_ids), parts.head_norm(layer)(torch.cat(streams)).cpu()


def mean_head_outputs(model: TransformersModel, prompts: Sequence[str]) -> Float[Tensor, "layer head d_head"]:
    """Mean over the prompts of what every head hands to the output projection at the last position."""
    parts = anatomy.of(model)
    projections = [parts.output_projection(layer) for layer in range(parts.n_layers)]
    inputs = encode(model, prompts)
    with explained(model), model.trace(inputs, remote=model.remote):
        means = nnsight.save([])
        for projection in projections:
            means.append(projection.input[:, -1].float().mean(0))
    return torch.stack(means).unflatten(-1, (parts.n_heads, parts.d_head)).cpu()


def mean_ablation_effects(
    model: TransformersModel,
    prompts: Sequence[str],
    answers: Int[Tensor, " prompt"],
    *,
    members: Int[Tensor, " member"],
    reference: Sequence[str],
) -> AblationEffects:
    """The total effect of every head on the answers (paper, section 5: mean ablation).

    At the last position a head's output is replaced by its mean there over the `reference` prompts.
    `answers` are token ids, `members` those of the answers' class.
    """
    means = mean_head_outputs(model, reference)
    clean = read_answers(next_token_logits(model, prompts), answers, members)
    layers = [
        read_answers(ablated_logits(model, prompts, means[layer], layer=layer), answers, members)
        for layer in range(len(means))
    ]
    return AblationEffects(clean=clean, ablated=Answers(*map(torch.stack, zip(*layers))))


def direct_effects(
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
        heads = list().save()
        for layer in range(parts.n_layers):
            heads.append(parts.output_projection(layer).input[:, -1])
        stream = final_norm.input[:, -1].save()
    unembed = parts.unembed(torch.arange(parts.d_vocab))

    def answered(stream: Float[Tensor, "*batch d_model"]) -> Answers:
        return read_answers((parts.final_norm(stream) @ unembed).cpu(), answers, members)

    stream, layers = stream.float(), []
    for layer, z in enumerate(heads):
        z = z.float().unflatten(-1, (parts.n_heads, parts.d_head)) - means[layer].to(z.device)
        # The bias of the output projection belongs to no head, and is in both runs.
        written = torch.einsum("phk,hkd->hpd", z, parts.w_o(layer))
        layers.append(answered(stream - written))
    return AblationEffects(clean=answered(stream), ablated=Answers(*map(torch.stack, zip(*layers))))


def joint_ablation(
    model: TransformersModel,
    prompts: Sequence[str],
    answers: Int[Tensor, " prompt"],
    heads: Sequence[tuple[int, int]],
    *,
    members: Int[Tensor, " member"],
    reference: Sequence[str],
) -> Answers:
    """How the model answers with several heads (layer, head) mean-ablated at once; with none, intact.

    As in `mean_ablation_effects`: at the last position, each by its mean there over the `reference` prompts.
    """
    logits = logits_without(model, prompts, heads, mean=mean_head_outputs(model, reference))
    return read_answers(logits, answers, members)


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
            parts.output_projection(layer).input[:, -1, _columns(parts, head)] = mean[layer, head]
        logits = model.output.logits[:, -1].save()
    return logits.float().cpu()


def ablated_logits(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    replacement: Float[Tensor, "head d_head"],
    *,
    layer: int,
) -> Float[Tensor, "head prompt d_vocab"]:
    """Next-token logits with one head of a layer replaced at the last position, for each head."""
    parts = anatomy.of(model)
    inputs, n_heads, d_head = encode(model, prompts), parts.n_heads, parts.d_head
    projection = parts.output_projection(layer)
    # One forward pass with one invoke a head: much cheaper than a trace each.
    with explained(model), model.trace(remote=model.remote) as tracer:
        logits = nnsight.save([])
        for head in range(n_heads):
            with tracer.invoke(inputs, logits_to_keep=1):
                heads = projection.input
                heads[:, -1, head * d_head : (head + 1) * d_head] = replacement[head].to(heads)
                logits.append(model.output.logits[:, -1])
    return torch.stack(logits).float().cpu()


def read_answers(
    logits: Float[Tensor, "*batch prompt d_vocab"],
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
        right_in_vocabulary=(logits >= logit[..., None]).sum(-1) == 1,
    )


# --- every prefix of a text ------------------------------------------------------------------------


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
    _check_readable(model, parts)
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(contexts.numel(), (n_drawn,), generator=generator)
    total, drawn = 0.0, torch.zeros(n_drawn, parts.n_layers, parts.n_heads, parts.d_head)
    for start in range(0, len(contexts), batch_size):
        batch = contexts[start : start + batch_size].to(model._module.device)
        with torch.no_grad(), model.trace(batch, logits_to_keep=1):
            heads = list().save()
            for layer in range(parts.n_layers):
                heads.append(parts.output_projection(layer).input)
        z = torch.stack(heads, -2).float().unflatten(-1, (parts.n_heads, parts.d_head)).flatten(0, 1).cpu()
        total = total + z.sum(0, dtype=torch.double)
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
    _check_readable(model, parts)
    final_norm = model.get(parts.final_norm_path)
    with torch.no_grad(), model.trace(contexts.to(model._module.device)):
        heads, attended, weight = list().save(), list().save(), list().save()
        for layer in range(parts.n_layers):
            heads.append(parts.output_projection(layer).input[:, :-1])
            pattern = parts.attention(layer).output[1][:, :, :-1]
            top = pattern.topk(min(TOP_ATTENDED, pattern.shape[-1]))
            attended.append(top.indices)
            weight.append(top.values)
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
    effects = _direct(parts, stream.float(), heads, following, replaced)
    # [context, head, prefix, top] a layer
    attended, weight = (torch.stack(values, 1).permute(0, 3, 1, 2, 4) for values in (attended, weight))
    unseen = attended > torch.arange(attended.shape[1], device=attended.device)[:, None, None, None]
    attended, weight = attended.masked_fill(unseen, -1), weight.float().masked_fill(unseen, 0)
    measured = {"logit": logit, "loss": loss, **effects, "attended": attended, "weight": weight}
    return TextEffects(**{name: values.cpu() for name, values in measured.items()})


def direct_effects_at_end(
    model: TransformersModel,
    prompts: Sequence[Prompt],
    answers: Int[Tensor, " prompt"],
    *,
    mean: Float[Tensor, "layer head d_head"],
    batch_size: int = 32,
) -> Float[Tensor, "prompt layer head"]:
    """Direct effect of every head on each prompt's answer at its last position: `TextEffects.mean`, prompt by prompt."""
    parts = anatomy.of(model)
    _check_readable(model, parts)
    final_norm = model.get(parts.final_norm_path)
    found = torch.zeros(len(prompts), parts.n_layers, parts.n_heads)
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))  # for little padding
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        with torch.no_grad(), model.trace(encode(model, [prompts[place] for place in places]), logits_to_keep=1):
            heads = list().save()
            for layer in range(parts.n_layers):
                heads.append(parts.output_projection(layer).input[:, -1])
            stream = final_norm.input[:, -1].save()
        replaced = {"mean": mean.expand(len(places), *mean.shape)}
        following = answers[places].to(stream.device)
        found[places] = _direct(parts, stream.float(), heads, following, replaced)["mean"].cpu()
    return found


def _direct(parts, stream, heads, following, replaced):
    """Fall of the logit of `following` when each head's output is `replaced`, by kind of ablation; and `frozen`."""
    unembed = parts.unembed(following.flatten()).T.unflatten(0, following.shape)
    intact = (parts.final_norm(stream) * unembed).sum(-1)
    linear = _frozen_final_norm(parts, stream)
    effects = {name: [] for name in (*replaced, "frozen")}
    for layer, z in enumerate(heads):
        z = z.float().unflatten(-1, (parts.n_heads, parts.d_head))
        w_o = parts.w_o(layer)
        for name, values in replaced.items():
            # The bias of the output projection belongs to no head, and is in both runs.
            removed = torch.einsum("...hk,hkd->...hd", z - values[..., layer, :, :].to(z.device), w_o)
            without = parts.final_norm(stream[..., None, :] - removed)
            effects[name].append(intact[..., None] - (without * unembed[..., None, :]).sum(-1))
        written = torch.einsum("...hk,hkd->...hd", z, w_o)
        effects["frozen"].append((linear(written) * unembed[..., None, :]).sum(-1))
    return {name: torch.stack(values, -2) for name, values in effects.items()}


def _frozen_final_norm(parts: Anatomy, stream: Float[Tensor, "*batch d_model"]) -> Callable[[Tensor], Tensor]:
    """The final norm as the linear map that it is once its divisor is fixed at that of `stream`; its bias is left out.

    The map takes [*batch, part, d_model].
    """
    ones = torch.ones(1, parts.d_model, device=stream.device)
    # A layer norm maps all vectors of equal entries alike, an RMS norm does not.
    centred = torch.allclose(parts.final_norm(ones), parts.final_norm(0 * ones), atol=1e-4)
    gain = parts.gain(parts.weights.take(f"{parts.final_norm_path}.weight").float())

    def centre(x):
        return x - x.mean(-1, keepdim=True) if centred else x

    epsilon = getattr(parts.config, parts.epsilon_name)
    divisor = (centre(stream).square().mean(-1, keepdim=True) + epsilon).sqrt()
    return lambda x: centre(x) / divisor[..., None, :] * gain


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
    the run's own divisor. `heads` write their `mean` there; the run is then the ablated one.
    """
    parts = anatomy.of(model)
    _check_readable(model, parts)
    final_norm = model.get(parts.final_norm_path)
    mean = mean.to(model._module.device, model._module.dtype)
    written = {}
    with torch.no_grad(), model.trace(encode(model, prompts), logits_to_keep=1):
        outputs, mlps = list().save(), list().save()
        first = parts.block(0).input[:, -1].save()
        for layer in range(parts.n_layers):
            projection = parts.output_projection(layer)
            for _, head in sorted(place for place in heads if place[0] == layer):
                projection.input[:, -1, _columns(parts, head)] = mean[layer, head]
            outputs.append(projection.input[:, -1].clone())
            mlps.append(model.get(f"{parts.blocks_path}.{layer}.{parts.mlp_out_path}").output[:, -1])
        stream = final_norm.input[:, -1].save()
    written["embedding"] = first.float()
    for layer, (z, mlp) in enumerate(zip(outputs, mlps)):
        z = z.float().unflatten(-1, (parts.n_heads, parts.d_head))
        by_head = torch.einsum("phk,hkd->hpd", z, parts.w_o(layer))
        written |= {f"L{layer}H{head}": by_head[head] for head in range(parts.n_heads)}
        bias = parts._bias(f"{parts.blocks_path}.{layer}.{parts.output_projection_path}")
        if bias is not None:
            written[f"bias {layer}"] = bias.expand_as(by_head[0])
        written[f"MLP{layer}"] = mlp.float()
    unembed = parts.unembed(answers).T
    through = _frozen_final_norm(parts, stream.float())(torch.stack(list(written.values()), -2))
    found = dict(zip(written, (through * unembed[:, None]).sum(-1).T.cpu()))
    zero = parts.final_norm(torch.zeros(1, parts.d_model, device=stream.device))  # the norm's own bias
    return found | {"final bias": (zero * unembed).sum(-1).cpu()}


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
                parts.output_projection(layer).input[..., _columns(parts, head)] = mean[layer, head]
            logits = model.output.logits[:, :-1].save()
        chosen = logits.float().gather(-1, batch[:, 1:, None])[..., 0]
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
        heads = list().save()
        for layer in range(parts.n_layers):
            heads.append(parts.output_projection(layer).input)
        logits = model.output.logits[:, :-1].save()
    total = logits.float().gather(-1, contexts[:, 1:, None]).sum()
    found = []
    for layer, (z, slope) in enumerate(zip(heads, torch.autograd.grad(total, list(heads)))):
        z, slope = (values.detach().float().unflatten(-1, (parts.n_heads, parts.d_head)) for values in (z, slope))
        found.append(((z - mean[layer].to(z.device)) * slope).sum((1, 3)).cpu())
    return torch.stack(found, 1)


def _columns(parts: Anatomy, head: int) -> slice:
    """The entries that a head owns at the input of the output projection."""
    return slice(head * parts.d_head, (head + 1) * parts.d_head)


def _check_readable(model: TransformersModel, parts: Anatomy) -> None:
    """Refuse what direct effects of single heads cannot be read from. Raises UserError."""
    if model.remote is True:
        raise UserError(
            "Direct effects in text need the weights, which are on NDIF: use a model that fits on this machine."
        )
    if parts.attention_post_norm_path is not None:
        raise UserError(
            f"In models of the family {parts.family} a norm stands behind attention and mixes what the heads write, "
            "so that no head has a direct effect of its own: choose a model of another family."
        )
