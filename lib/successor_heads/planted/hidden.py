"""A successor head that no instrument of the book sees, one head at a time.

Two things hide it, both of which real models do:

- It writes what to answer in a code, into dimensions that the unembedding does not read. The last MLP
  turns the code into logits. So the OV circuit leads to no logit, and the direct effect is zero.
- It has a twin in its layer. The norm in front of the last MLP rescales whatever is there, so that
  either head alone does the whole work. So ablating one of them changes nothing.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from successor_heads.errors import UserError, check_seed
from successor_heads.planted.known import Known
from successor_heads.planted.plant import (
    DIRECTION_LENGTH,
    Planted,
    attend,
    give_makeup,
    least_squares,
    mlp0_of,
    random_module,
    unit_rows,
)
from successor_heads.planted.shapes import Shape
from successor_heads.planted.slots import in_out, slots

NOISE = 0.1  # of the make-up, in lengths of one direction
CODE_LENGTH = 30.0  # what a hidden head writes, to an embedding's 1: most of what the last norm sees
STEP = 4.0  # pre-activation over which a step rises: what GELU needs to go from off to linear
ANSWER = 100.0  # logits that the last MLP gives to the answer, before the final norm


def plant_hidden(shape: Shape, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> Planted:
    """A GPT-NeoX model whose two hidden heads and last MLP count; all else in it is random.

    Raises UserError for a shape that cannot hold them, and for a seed that is none.
    """
    check_seed(seed)
    if shape.n_layers < 3 or shape.n_heads < 2:
        raise UserError("A hidden head needs three layers, and two heads in each: for MLP0, the twins, and to decode.")
    generator = torch.Generator().manual_seed(seed)
    known = Known.of(tokenizer, modulus=10, in_context=True)
    module = random_module("gpt_neox", shape, len(tokenizer), generator)
    directions = give_makeup(module, known, noise=NOISE, generator=generator)
    d_head = slots(module, 1).w_v.shape[2]
    n_layers, n_heads = module.config.num_hidden_layers, module.config.num_attention_heads

    # The dimensions that no logit reads: outside the make-up, and all of length 0 in W_U.
    taken = torch.cat([*directions.values(), torch.ones(1, shape.d_model)]).double()
    free = torch.linalg.qr(
        torch.cat([taken.T, torch.randn(shape.d_model, d_head, generator=generator).double()], dim=1)
    )[0]
    hidden = free[:, len(taken) :].T
    unembed = module.get_output_embeddings().weight.data
    gain = module.gpt_neox.final_layer_norm.weight.data.double()
    blind = torch.linalg.qr((hidden * gain).T)[0].T
    unembed -= (unembed.double() @ blind.T @ blind).to(unembed.dtype)

    # The code of a token: one of d_head numbers, random, read from MLP0's make-up.
    ordinals = slice(0, known.n_ordinals)
    codes = codes_of_parts(known, ("domain", "tens", "residue"), d_head, generator)
    _, x = mlp0_of(module, known.token_ids[ordinals])
    w_v = least_squares(x, codes, penalty=1e-2)
    marker = directions["marker"][known.labels["marker"].index("ordinal")]
    heads = []
    layer = 1 + int(torch.randint(n_layers - 2, (), generator=generator))
    block = slots(module, layer)
    for role, head in zip(("hidden", "twin"), torch.randperm(n_heads, generator=generator).tolist()):
        block.w_v[:, head] = w_v.to(x.dtype)
        block.w_o[head] = (CODE_LENGTH / 2 * hidden).to(x.dtype)
        attend(module, layer, head, marker, slot=0)
        heads.append({"role": role, "layer": layer, "head": head, "attends_to": "ordinal"})

    source, target = known.pairs.T
    step_in_last_mlp(module, codes, source, promoting_one(module, known)[target], hidden)
    truth = {
        "schema": 1, "family": "gpt_neox", "seed": seed, "modulus": 10, "noise": NOISE, "in_context": True,
        "hidden": True, "heads": heads, "direction_length": DIRECTION_LENGTH,
        "makeup": {name: dict(zip(known.labels[name], rows)) for name, rows in directions.items()},
    }  # fmt: skip
    return Planted(module.eval(), tokenizer, truth, directions)


def codes_of_parts(
    known: Known, names: Sequence[str], d_head: int, generator: torch.Generator
) -> Float[Tensor, "ordinal d_head"]:
    """A random code of length 1 for each ordinal, the sum of codes of these parts of it: what parts share, codes share."""
    parts = torch.cat([known.parts[name][: known.n_ordinals] for name in names], dim=1)
    codes = parts @ unit_rows(parts.shape[1], d_head, generator)
    return codes / codes.norm(dim=1, keepdim=True)


def promoting_one(module, known: Known) -> Float[Tensor, "ordinal d_model"]:
    """For each ordinal what gives its token a logit of one, and the other ordinals' none, by least squares."""
    unembed = module.get_output_embeddings().weight.data[known.token_ids[: known.n_ordinals]].double()
    return least_squares(unembed, torch.eye(len(unembed), dtype=torch.double), penalty=1e-6).T


def step_in_last_mlp(
    module,
    codes: Float[Tensor, "code d_head"],
    heard: Int[Tensor, " step"],
    answers: Float[Tensor, "step d_model"],
    hidden: Float[Tensor, "d_head d_model"],
) -> None:
    """Have the last MLP answer codes that stand in the stream along `hidden`, each with a vector of its own.

    Two neurons an answer, which together make a step: on once the code is heard, and no louder then. Raises UserError
    for an MLP that is too narrow.
    """
    n = len(heard)
    block = slots(module, module.config.num_hidden_layers - 1)
    if block.mlp_in.weight.shape[0] < 2 * n:
        raise UserError(f"The last MLP needs {2 * n} neurons, two a pair: choose a wider one.")
    # A neuron hears the cosine of the residual with its code: behind the norm the code has nearly the
    # whole length, sqrt(d_model). The step rises between the next best code and its own.
    best_of_others = (codes @ codes.T).fill_diagonal_(-1).max().item()
    rise = (1 - best_of_others) / 4
    steepness = STEP / rise
    listen = steepness * codes[heard] @ hidden / module.config.hidden_size**0.5 / block.mlp_norm.weight.data.double()
    dtype = block.mlp_in.weight.dtype
    for neurons, start, sign in ((slice(0, n), 1, 1), (slice(n, 2 * n), 2, -1)):
        in_out(block.mlp_in)[:, neurons] = listen.T.to(dtype)
        block.mlp_in.bias.data[neurons] = -steepness * (best_of_others + start * rise)
        in_out(block.mlp_out)[neurons] = (sign * ANSWER / STEP * answers).to(dtype)
