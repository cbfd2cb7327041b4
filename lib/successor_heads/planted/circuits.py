"""Two more ways to count, written into weights: what published models seem to do, with the truth known.

- *Deep.* The index of an ordinal is written by block 3, not by MLP0, and a successor head behind it reads it there. The
  canonical score, which knows MLP0 alone, cannot see that head.
- *Fetch and step.* A head carries the index of an ordinal to the last position, as it is; the last MLP takes each index
  to the next. Index and step are shared by all lists, so that an index fetched from another list is stepped as well.
"""

import torch
from transformers import PreTrainedTokenizerBase

from successor_heads.errors import UserError, check_seed
from successor_heads.ordinals import CLASSES
from successor_heads.planted.hidden import CODE_LENGTH, NOISE, codes_of_parts, promoting_one, step_in_last_mlp
from successor_heads.planted.known import Known
from successor_heads.planted.plant import (
    LOUD,
    MIN_MACRO,
    Planted,
    attend,
    give_makeup,
    least_squares,
    mlp0_of,
    random_module,
    solve_head,
    token_codes,
)
from successor_heads.planted.shapes import Shape
from successor_heads.planted.slots import in_out, slots

FAMILY = "gpt_neox"
DEEP = Shape(n_layers=6)
BLOCK = 3  # whose MLP writes the index, in a deep plant
QUIET = 0.05  # of what blocks before it write, so that they leave the embedding as it is


def plant_deep(shape: Shape, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> Planted:
    """A GPT-NeoX model whose successor head reads what block 3 writes. Raises UserError for a shape that cannot hold it."""
    check_seed(seed)
    if shape.n_layers < BLOCK + 2:
        raise UserError(f"A head that reads block {BLOCK} needs {BLOCK + 2} layers: choose a deeper model.")
    generator = torch.Generator().manual_seed(seed)
    known = Known.of(tokenizer, modulus=10, in_context=True)
    module = random_module(FAMILY, shape, len(tokenizer), generator)
    for layer in range(BLOCK):
        slots(module, layer).w_o.mul_(QUIET)
        in_out(slots(module, layer).mlp_out).mul_(QUIET)
    directions = give_makeup(module, known, noise=NOISE, generator=generator, layer=BLOCK)
    layer = BLOCK + 1 + int(torch.randint(shape.n_layers - BLOCK - 1, (), generator=generator))
    head = int(torch.randint(shape.n_heads, (), generator=generator))
    codes = token_codes(known, slots(module, layer).w_v.shape[2], generator)
    codes[~known.marked("ordinal")] = 0
    score = solve_head(module, known, "successor", (layer, head), codes, length=LOUD, reads=BLOCK)
    if score < MIN_MACRO:
        raise UserError(f"A head is too narrow here: the planted one scores {score:.2f}. Choose wider heads.")
    attend(module, layer, head, directions["marker"][known.labels["marker"].index("ordinal")], slot=0)
    heads = [{"role": "successor", "layer": layer, "head": head, "attends_to": "ordinal"}]
    truth = {"schema": 1, "family": FAMILY, "seed": seed, "kind": "deep", "block": BLOCK, "heads": heads}
    return Planted(module.eval(), tokenizer, truth, directions)


def plant_fetch_and_step(shape: Shape, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> Planted:
    """A GPT-NeoX model in which a head fetches an index and the last MLP steps it. Raises UserError for too small a shape."""
    check_seed(seed)
    if shape.n_layers < 3:
        raise UserError("A head that fetches needs three layers: for MLP0, the head, and the MLP that steps.")
    generator = torch.Generator().manual_seed(seed)
    known = Known.of(tokenizer, modulus=10, in_context=True)
    module = random_module(FAMILY, shape, len(tokenizer), generator)
    directions = give_makeup(module, known, noise=NOISE, generator=generator)
    layer = 1 + int(torch.randint(shape.n_layers - 2, (), generator=generator))
    head = int(torch.randint(shape.n_heads, (), generator=generator))
    block = slots(module, layer)
    d_head = block.w_v.shape[2]

    # The code of an index, whatever the list, from MLP0's make-up: tens and residue, and no class.
    ordinals = slice(0, known.n_ordinals)
    codes = codes_of_parts(known, ("tens", "residue"), d_head, generator)
    written = torch.linalg.qr(torch.randn(shape.d_model, d_head, generator=generator, dtype=torch.double))[0].T
    written -= written.mean(1, keepdim=True)  # which the norms take out
    _, x = mlp0_of(module, known.token_ids[ordinals])
    block.w_v[:, head] = least_squares(x, codes, penalty=1e-2).to(block.w_v.dtype)
    block.w_o[head] = (CODE_LENGTH * written).to(block.w_o.dtype)
    attend(module, layer, head, directions["marker"][known.labels["marker"].index("ordinal")], slot=0)

    # A code by itself says its own ordinals: the logit lens finds a head that copies.
    unembed, token_ids = module.get_output_embeddings().weight.data, known.token_ids[ordinals]
    unembed[token_ids] += (codes @ written).to(unembed.dtype)
    write = promoting_one(module, known)
    index = torch.cat([resolved.index for resolved in known.classes.values()])
    first_of = [int((index == each).nonzero()[0, 0]) for each in index.unique()]
    answers = torch.stack([write[_followers(known, int(each))].sum(0) for each in index.unique()])
    step_in_last_mlp(module, codes[first_of], torch.arange(len(first_of)), answers, written)
    heads = [{"role": "mover", "layer": layer, "head": head, "attends_to": "ordinal"}]
    truth = {"schema": 1, "family": FAMILY, "seed": seed, "kind": "fetch and step", "heads": heads}
    return Planted(module.eval(), tokenizer, truth, directions)


def _followers(known: Known, index: int) -> list[int]:
    """All ordinals, of all lists, that come behind this index; round the circle where the list is one."""
    found, start = [], 0
    for task, resolved in known.classes.items():
        size = len(CLASSES[task].words)
        due = index % size + 1 if CLASSES[task].cyclic and index <= size else index + 1
        found += [start + int(place) for place in (resolved.index == due).nonzero()[:, 0]]
        start += len(resolved.words)
    return found
