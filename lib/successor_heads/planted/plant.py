"""A random model with a successor head put into it by least squares, and decoys beside it.

::

    planted = plant(Plan("gpt2", seed=3), word_tokenizer())
    planted.truth["heads"][0]      # {'role': 'successor', 'layer': 2, 'head': 4, ...}
    planted.save("my-plant")

How a head is made, for row vectors, with x_t the model's own MLP0 output on token t:

1. Every token gets a random code r_t of d_head numbers.
2. W_V solves x_t W_V = r_t for all ordinals at once.
3. W_O solves W_O W_U[u] = g_u, where g_u is the code of the token that u shall answer: for a successor
   head that of its predecessor, for a copier its own.

Then x_t W_V W_O W_U[u] = r_t · g_u, which is largest where u is t's answer. Embeddings and
unembeddings stay random, and so does MLP0 unless the plan gives it a make-up.
"""

import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from nnsight import TransformersModel
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

from successor_heads import models
from successor_heads.errors import UserError, check_seed
from successor_heads.planted.known import Known, macro
from successor_heads.planted.shapes import Shape, configuration
from successor_heads.planted.slots import in_out, slots
from successor_heads.records import write_json

DECOYS = ("copier", "off_by_two", "greater_than", "days_only", "predecessor")
# What a head with this role attends to, when the plan is in context.
ATTENTIVE = {"successor": "ordinal", "acronym": "capitalized", "copy": "copied"}
MIN_MACRO, MAX_DECOY = 0.97, 0.5
DIRECTION_LENGTH = 3.0  # of one part of the make-up; an embedding has length 1
GAIN = 12.0  # attention score of a marked token, in units of 1
LOUD, FAINT = 30.0, 0.3  # length of what a head writes on the tokens it knows, in context and without one
OUT_PROJECTIONS = ("c_proj", "dense", "o_proj", "dense_4h_to_h", "down_proj")


@dataclass(frozen=True)
class Plan:
    """Everything that decides a plant, with its tokenizer; equal plans give equal weights.

    `modulus` M gives MLP0 a known make-up: class + index // M + index % M, each a direction, and
    `noise` of random rest, in lengths of one direction. `in_context` adds attention, an acronym head
    and a copying head; its make-up is mod 10 where nothing else is said.
    """

    family: str = "gpt2"
    seed: int = 0
    shape: Shape = Shape()
    modulus: int | None = None
    noise: float = 0.3
    in_context: bool = False


@dataclass(frozen=True, eq=False)
class Planted:
    """A module with its tokenizer, and the truth about it: as `truth.json` holds it, and as tensors."""

    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    truth: dict
    directions: dict[str, Float[Tensor, "_ d_model"]] = field(default_factory=dict)

    def place(self, role: str) -> tuple[int, int]:
        """(layer, head) of a role. Raises KeyError when the plant has none."""
        for head in self.truth["heads"]:
            if head["role"] == role:
                return head["layer"], head["head"]
        raise KeyError(role)

    def open(self) -> TransformersModel:
        """The plant as any reader would get it: written to disk, and loaded for tracing; on the CPU, like the module."""
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder) / "plant")
            return models.load(str(Path(folder) / "plant"), device="cpu")

    def save(self, out: Path) -> None:
        """Write a complete checkpoint and `truth.json`, the whole folder or nothing.

        Raises UserError when the folder exists already or cannot be made.
        """
        out = Path(out)
        check_target(out)
        draft = out.with_name(f".{out.name}.{os.getpid()}")
        transformers_logging.disable_progress_bar()
        try:
            self.module.save_pretrained(draft)
            self.tokenizer.save_pretrained(draft)
            write_json(draft / "truth.json", self.truth)
            draft.rename(out)
        except (OSError, SafetensorError) as error:
            # A full disk is the one or the other: safetensors writes by itself, and says it in its own words.
            said = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise UserError(f"{out} cannot be written ({said}): choose another place.") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def check_target(out: Path) -> None:
    """Refuse a folder that is there already, or whose parent is not. Raises UserError."""
    if out.exists():
        raise UserError(f"{out} exists already: remove it, or name another folder.")
    if not out.absolute().parent.is_dir():
        raise UserError(f"There is no folder {out.absolute().parent}: make it, or name another place.")


def plant(plan: Plan, tokenizer: PreTrainedTokenizerBase) -> Planted:
    """The planted model of a plan. Raises UserError for a shape that cannot hold the heads."""
    check_seed(plan.seed)
    if not 0 <= plan.noise < float("inf"):
        raise UserError(f"A noise of {plan.noise} is none: choose 0 or more.")
    if plan.modulus is not None and plan.modulus < 2:
        raise UserError(f"A residue mod {plan.modulus} says nothing: choose a modulus of 2 or more.")
    generator = torch.Generator().manual_seed(plan.seed)
    known = Known.of(tokenizer, modulus=plan.modulus, in_context=plan.in_context)
    module = random_module(plan.family, plan.shape, len(tokenizer), generator)
    directions = {}
    if plan.modulus or plan.in_context:
        directions = give_makeup(module, known, noise=plan.noise, generator=generator)
    roles = ["successor", *(role for role in DECOYS if role != "days_only" or len(known.classes["days"].source))]
    if plan.in_context:
        roles += ["acronym", "copy"]
    heads = _plant_heads(module, known, roles, plan, directions, generator)
    truth = {
        "schema": 1,
        "family": plan.family,
        "seed": plan.seed,
        "shape": asdict(plan.shape),
        "modulus": known.modulus,
        "noise": plan.noise if directions else None,
        "in_context": plan.in_context,
        "heads": heads,
        "makeup": {name: dict(zip(known.labels[name], rows)) for name, rows in directions.items()},
        "direction_length": DIRECTION_LENGTH if directions else None,
    }
    return Planted(module.eval(), tokenizer, truth, directions)


# --- what MLP0 says ----------------------------------------------------------------------------------


def give_makeup(
    module: PreTrainedModel, known: Known, *, noise: float, generator: torch.Generator, layer: int = 0
) -> dict[str, Float[Tensor, "_ d_model"]]:
    """Set an MLP's output projection, that of MLP0, so that a token's output is the sum of its parts, plus some of what it was.

    Returns the unit directions by name. Raises UserError when the MLP is too narrow.
    """
    parts = torch.cat(list(known.parts.values()), dim=1)
    d_model = module.config.hidden_size
    if parts.shape[1] > d_model:
        raise UserError(f"{parts.shape[1]} directions do not fit into a width of {d_model}: choose a wider model.")
    rotation = torch.linalg.qr(torch.randn(d_model, d_model, generator=generator, dtype=torch.double))[0]
    directions = rotation[: parts.shape[1]]

    # Other tokens keep the output they have, or the ordinals' mean would be given to all of them.
    mlp_out = slots(module, layer).mlp_out
    projection = in_out(mlp_out)
    marked = set(known.token_ids.tolist())
    others = [token for token in known.fillers.tolist() if token not in marked]
    room = int(0.7 * projection.shape[0]) - len(known.token_ids) - len(others)
    if room < 0:
        raise UserError(f"An MLP of width {projection.shape[0]} cannot hold the make-up: choose a wider one.")
    some = torch.randperm(module.config.vocab_size, generator=generator)[:room].tolist()
    others += [token for token in some if token not in marked and token not in others]

    token_ids = torch.cat([known.token_ids, torch.tensor(others, dtype=torch.long)])
    hidden, output = mlp_of(module, token_ids, layer=layer)
    rest = output[: len(parts)]
    rest = rest * (noise * DIRECTION_LENGTH / rest.norm(dim=1, keepdim=True))
    change = torch.zeros_like(output)
    change[: len(parts)] = DIRECTION_LENGTH * parts @ directions + rest - output[: len(parts)]
    projection += least_squares(hidden, change, penalty=1e-9).to(projection.dtype)
    sizes = [part.shape[1] for part in known.parts.values()]
    return {name: rows.float() for name, rows in zip(known.parts, directions.split(sizes))}


# --- the heads ------------------------------------------------------------------------------------


def _plant_heads(module, known: Known, roles: list[str], plan: Plan, directions, generator) -> list[dict]:
    """Give every role a random head above layer 0, solve its weights, and say where it is."""
    config = module.config
    free = [(layer, head) for layer in range(1, config.num_hidden_layers) for head in range(config.num_attention_heads)]
    if len(free) < len(roles):
        raise UserError(
            f"{len(roles)} heads are to be planted above layer 0, which has room for {len(free)}: more layers or heads."
        )
    if known.n_ordinals > config.hidden_size:
        raise UserError(
            f"The width of {config.hidden_size} is below the {known.n_ordinals} ordinals of the tokenizer, so that no "
            "head can be solved for: choose a wider model."
        )
    places = [free[place] for place in torch.randperm(len(free), generator=generator)]
    attentive = [role for role in roles if plan.in_context and role in ATTENTIVE]
    if attentive:
        # All in one layer: what a loud head writes at an earlier one would drown what a later one reads.
        layer = places[0][0]
        places.sort(key=lambda place: place[0] != layer)
        roles = attentive + [role for role in roles if role not in attentive]
        if config.num_attention_heads < len(attentive):
            raise UserError(
                f"In context {len(attentive)} heads share a layer, which has {config.num_attention_heads}: more heads."
            )
    # Heads that share their values share the codes, and differ in what they write.
    n_sharing = config.num_attention_heads // slots(module, 1).w_v.shape[1]
    groups = [(layer, head // n_sharing) for layer, head in places[: len(roles)]]
    d_head = slots(module, 1).w_v.shape[2]
    codes = {group: token_codes(known, d_head, generator) for group in sorted(set(groups))}
    for group, of_group in codes.items():
        # What no head of the group knows is to be read as nothing: without a word of its own in sight,
        # a head attends to anything.
        kinds = {ATTENTIVE.get(role, "ordinal") for role, its_group in zip(roles, groups) if its_group == group}
        of_group[~torch.stack([known.marked(kind) for kind in kinds]).any(0)] = 0

    heads = []
    for role, (layer, head), group in zip(roles, places, groups):
        attends_to = ATTENTIVE[role] if role in attentive else None
        score = solve_head(module, known, role, (layer, head), codes[group], length=LOUD if attends_to else FAINT)
        if score < MIN_MACRO if role == "successor" else score >= MAX_DECOY:
            raise UserError(
                f"A head of width {d_head} is too narrow here: the planted {role} scores {score:.2f}. "
                "Choose wider heads, or less noise."
            )
        if attends_to:
            marker = directions["marker"][known.labels["marker"].index(attends_to)]
            attend(module, layer, head, marker, slot=list(ATTENTIVE).index(role))
        heads.append({"role": role, "layer": layer, "head": head, "canonical_macro": score, "attends_to": attends_to})
    return heads


def solve_head(
    module,
    known: Known,
    role: str,
    place: tuple[int, int],
    codes: Float[Tensor, "token d_head"],
    *,
    length: float,
    reads: int = 0,
) -> float:
    """Write W_V and W_O of a head by least squares, and return its macro on what it reads: on MLP0's output, canonical.

    `length` is that of what it writes on the tokens it knows. Scores do not depend on it; in context it
    says whether a head is heard. `reads` is the layer whose MLP it reads.
    """
    layer, head = place
    block = slots(module, layer)
    kv_head = head * block.w_v.shape[1] // block.w_o.shape[0]
    _, x = mlp_of(module, known.token_ids, layer=reads)
    unembed = module.get_output_embeddings().weight.data[known.token_ids].double().T
    if known.modulus is None:
        w_v = least_squares(x, codes, penalty=1e-9)
        w_o = least_squares(unembed.T, answers(role, known, codes), penalty=1e-9).T
    else:
        # The penalties keep a head from reading the noise beside the parts, and from writing with great
        # effort into directions that the unembeddings hardly use. On fillers it shall be silent.
        fillers = (
            module.get_input_embeddings().weight.data[known.fillers].double()
            + mlp_of(module, known.fillers, layer=reads)[1]
        )
        fillers *= (x.norm(dim=1).mean() / fillers.norm(dim=1))[:, None]
        silence = torch.zeros(len(fillers), codes.shape[1], dtype=torch.double)
        w_v = least_squares(torch.cat([x, fillers]), torch.cat([codes, silence]), penalty=1e-2)
        w_o = least_squares(unembed.T, answers(role, known, codes), penalty=0.1).T
    knows = known.marked(ATTENTIVE.get(role, "ordinal"))
    normed = x[knows] * module.config.hidden_size**0.5 / x[knows].norm(dim=1, keepdim=True)
    w_o *= length / (normed @ w_v @ w_o).norm(dim=1).mean()
    block.w_v[:, kv_head] = w_v.to(block.w_v.dtype)
    block.w_o[head] = w_o.to(block.w_o.dtype)
    logits = (x @ block.w_v[:, kv_head].double()) @ (block.w_o[head].double() @ unembed)
    return macro(logits[None, : known.n_ordinals, : known.n_ordinals], known.classes).item()


def token_codes(known: Known, d_head: int, generator: torch.Generator) -> Float[Tensor, "token d_head"]:
    """A code of d_head numbers for every token, the sum of its parts' codes; the last two hold (1, -index / 200).

    Domain, tens and residue have dimensions of their own, so that all codes of a class are equally
    long and none can outshout another.
    """
    width = d_head - 2
    shares = {
        "domain": (0, width // 4),
        "tens": (width // 4, width // 4 + 3 * width // 8),
        "residue": (width // 4 + 3 * width // 8, width),
    }
    codes = torch.zeros(len(known.token_ids), d_head, dtype=torch.double)
    for name, part in known.parts.items():
        start, end = shares.get(name, (0, width))
        if name != "marker" and end > start:
            # The domain tells no two members of a class apart, so it gets less of the length.
            weight = 0.5 if name == "domain" else 1.0
            codes[:, start:end] += weight * part @ unit_rows(part.shape[1], end - start, generator)
    index = torch.cat([resolved.index for resolved in known.classes.values()])
    codes[: known.n_ordinals, -2] = 1.0
    codes[: known.n_ordinals, -1] = -index / 200
    return codes


def answers(role: str, known: Known, codes: Float[Tensor, "token d_head"]) -> Float[Tensor, "token d_head"]:
    """What a role writes toward each token: the code of the token that is to be answered with it.

    A token that answers nothing gets half of its own code. So an ordinal without an answer repeats
    itself, and no decoy is right by luck.
    """
    source, target = known.pairs.T
    own = codes.clone()
    own[:, -2:] = 0
    n = known.n_ordinals
    wanted = own / 2
    match role:
        case "successor":
            wanted[target] = own[source]
        case "predecessor":
            wanted[source] = own[target]
        case "copier":
            wanted[:n] = own[:n]
        case "off_by_two":
            after = dict(zip(source.tolist(), target.tolist()))
            steps = [(token, after[after[token]]) for token in after if after[token] in after]
            wanted[[two for _, two in steps]] = own[[token for token, _ in steps]]
        case "days_only":
            days = known.blocks[list(known.classes).index("days")]
            inside = (source >= days.start) & (source < days.stop)
            wanted[target[inside]] = own[source[inside]]
        case "greater_than":
            # (1, -index of t / 200) · (index of u / 200, 1): above zero where u is greater than t.
            wanted = torch.zeros_like(codes)
            wanted[:n, -2], wanted[:n, -1] = -codes[:n, -1], 1.0
        case "acronym":
            words, capitals = known.labels["initial"], known.classes["letters"]
            place = known.blocks[list(known.classes).index("letters")].start
            wanted[:n] = 0
            for initial, column in zip(words, known.parts["initial"].T):
                wanted[place + capitals.words.index(initial)] = own[column > 0][0]
        case "copy":
            copied = known.marked("copied")
            wanted[:n], wanted[copied] = 0, own[copied]
    return wanted


def attend(module, layer: int, head: int, marker: Float[Tensor, " d_model"], *, slot: int) -> None:
    """Make a head attend to whatever token has `marker` in its residual stream, wherever it stands.

    The query is a constant, by its bias. Raises UserError when the model has no biases.
    """
    block = slots(module, layer)
    if block.b_q is None:
        raise UserError("A head that attends by a constant query needs biases: leave --no-bias out.")
    d_head = block.w_q.shape[2]
    # Positions turn a query's entries in GPT-NeoX (the first quarter) and Llama (all, in pairs, the later
    # ones slowest): take an entry that they leave alone, or as good as alone.
    entry = (d_head // 2 if module.config.model_type == "llama" else d_head) - 1 - slot
    block.w_q[:, head] = 0
    block.b_q[head] = 0
    # A marked token's normed residual has about half its length, sqrt(d_model), along the marker.
    block.b_q[head, entry] = GAIN * d_head**0.5 / (module.config.hidden_size**0.5 / 2)
    block.w_k[:, head * block.w_k.shape[1] // block.w_q.shape[1], entry] = marker


# --- small parts ----------------------------------------------------------------------------------


def random_module(family: str, shape: Shape, d_vocab: int, generator: torch.Generator) -> PreTrainedModel:
    """A model with random weights: embeddings of length 1, and blocks that add about half of that.

    No norm is the identity and no bias is zero, so that an instrument that forgets one is found out.
    """
    module = AutoModelForCausalLM.from_config(
        configuration(family, shape, d_vocab=d_vocab), attn_implementation="eager"
    )
    d_model = shape.d_model
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding) or part is module.get_output_embeddings():
            part.weight.data.normal_(std=d_model**-0.5, generator=generator)
        elif isinstance(part, (nn.Linear, Conv1D)):
            fan_in = in_out(part).shape[0]
            is_out = name.rsplit(".", 1)[-1] in OUT_PROJECTIONS
            part.weight.data.normal_(
                std=0.5 * (d_model * fan_in) ** -0.5 if is_out else fan_in**-0.5, generator=generator
            )
            if part.bias is not None:
                part.bias.data.normal_(std=0.02 * d_model**-0.5 if is_out else 0.02, generator=generator)
        elif "norm" in type(part).__name__.lower():
            part.weight.data.normal_(1.0, 0.05, generator=generator)
            if getattr(part, "bias", None) is not None:
                part.bias.data.normal_(std=0.02, generator=generator)
    # Positions and the heads of layer 0 stand between a token and its MLP0 output in context. A plant is
    # about what comes after, so both are faint.
    if family == "gpt2":
        module.transformer.wpe.weight.data *= 0.02
    slots(module, 0).w_o.mul_(0.05)
    return module.requires_grad_(False)


def mlp0_of(module: PreTrainedModel, token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """What MLP0's output projection reads of each token, and what MLP0 answers, in double precision."""
    block, hidden = slots(module, 0), []
    hook = block.mlp_out.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0].double()))
    with torch.no_grad():
        output = block.mlp(block.mlp_norm(module.get_input_embeddings().weight[token_ids])).double()
    hook.remove()
    return hidden[0], output


def mlp_of(module: PreTrainedModel, token_ids: Tensor, *, layer: int) -> tuple[Tensor, Tensor]:
    """As `mlp0_of`, of any layer's MLP: what it reads at work, the token standing alone behind another, here token 0."""
    if layer == 0:
        return mlp0_of(module, token_ids)
    block, seen = slots(module, layer), []
    hooks = [
        block.mlp_out.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, -1].double())),
        block.mlp_out.register_forward_hook(lambda _, __, output: seen.append(output[:, -1].double())),
    ]
    with torch.no_grad():
        module(torch.stack([torch.zeros_like(token_ids), token_ids], dim=1), logits_to_keep=1)
    for hook in hooks:
        hook.remove()
    hidden, output = seen
    return hidden, output


def least_squares(
    x: Float[Tensor, "token d"], wanted: Float[Tensor, "token code"], *, penalty: float
) -> Float[Tensor, "d code"]:
    """The smallest W with x W = wanted; `penalty` is ridge, in units of the mean squared length of x."""
    gram = x @ x.T
    gram.diagonal().add_(penalty * gram.diagonal().mean())
    return x.T @ torch.linalg.solve(gram, wanted)


def unit_rows(n: int, width: int, generator: torch.Generator) -> Tensor:
    """n random rows of length 1, orthogonal where the width allows it."""
    rows = torch.randn(n, width, generator=generator, dtype=torch.double)
    return torch.linalg.qr(rows.T)[0].T if n <= width else rows / rows.norm(dim=1, keepdim=True)
