"""What each instrument says about plants, beside the truth: the measurements behind the calibration chapter.

    python -m successor_heads.planted.calibrate        # writes calibration.json anew, some ten minutes on 2 cores

The chapter runs these functions on a few small plants and reads the rest from `calibration.json`, which
this module wrote and which says from what.
"""

import argparse
import copy
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from successor_heads import anatomy, arithmetic, features, ordinals, ov_circuit, scores
from successor_heads.anatomy import Anatomy
from successor_heads.ordinals import ResolvedClass
from successor_heads.planted import FAMILIES, shapes, words
from successor_heads.planted.plant import Plan, Planted, plant
from successor_heads.planted.shapes import Shape
from successor_heads.planted.slots import slots
from successor_heads.records import write_json

STORED = Path(__file__).parent / "calibration.json"
SMALL = {"gpt2": Shape(), "gpt_neox": Shape(), "llama": Shape(n_kv_heads=2, d_head=48)}
LARGE = ("openai-community/gpt2-shape", "EleutherAI/pythia-160m-shape", "JackFram/llama-160m-shape")
TABLES = ("plants", "drowned", "recovered", "edits")
CONVENTIONS = {
    "canonical": "MLP0 output alone",
    "with residual": "MLP0 output plus the embedding",
    "embedding alone": "the bare embedding",
    "norm and bias": "MLP0 output plus the embedding, through the head's own norm, with its value bias",
    "final norm": "canonical, and what is written goes through the final norm",
    "joint": "canonical, but all ordinals of all classes compete",
}


def under_conventions(parts: Anatomy, classes: dict[str, ResolvedClass]) -> dict[str, Float[Tensor, "layer head"]]:
    """Macro of every head under each of CONVENTIONS."""
    token_ids = torch.cat([resolved.token_ids for resolved in classes.values()])
    embedded, mlp0 = parts.embed(token_ids), ov_circuit.head_input(parts, token_ids)
    unembed = parts.unembed(token_ids)
    result: dict[str, list[Tensor]] = {convention: [] for convention in CONVENTIONS}
    for layer in range(parts.n_layers):
        w_v, w_o = parts.w_v(layer), parts.w_o(layer)
        normed = parts.head_norm(layer)(embedded + mlp0)
        write = w_o @ unembed
        read = {
            "canonical": mlp0 @ w_v,
            "with residual": (embedded + mlp0) @ w_v,
            "embedding alone": embedded @ w_v,
            "norm and bias": normed @ w_v + parts.b_v(layer)[:, None],
        }
        for convention, value in read.items():
            result[convention].append(macro(value @ write, classes))
        result["final norm"].append(macro(parts.final_norm(read["canonical"] @ w_o) @ unembed, classes))
        result["joint"].append(macro(read["canonical"] @ write, classes, joint=True))
    return {convention: torch.stack(layers) for convention, layers in result.items()}


def macro(
    logits: Float[Tensor, "head token candidate"], classes: dict[str, ResolvedClass], *, joint: bool = False
) -> Float[Tensor, " head"]:
    """Macro of each head from its logits over all ordinals; `joint` lets other classes compete."""
    start, shares = 0, []
    for resolved in classes.values():
        end = start + len(resolved.words)
        if len(resolved.source):
            rows = logits[:, start:end][:, resolved.source]
            if joint:
                answers, right = scores.strict_argmax(rows), resolved.target + start
            else:
                answers, right = scores.strict_argmax(rows[..., start:end]), resolved.target
            shares.append((answers == right).double().mean(-1))
        start = end
    return torch.stack(shares).mean(0)


def find(plan: Plan, tokenizer) -> dict:
    """One row on one plant: is the best head the planted one, and what do planted head, decoys and the others score?"""
    start = time.perf_counter()
    planted = plant(plan, tokenizer)
    parts, classes = anatomy.of(planted.module), ordinals.resolve(tokenizer)
    result = scores.score_heads(parts, classes)
    where = {head["role"]: (head["layer"], head["head"]) for head in planted.truth["heads"]}
    known = torch.zeros_like(result.macro, dtype=torch.bool)
    for place in where.values():
        known[place] = True
    by_convention = {
        convention: {role: table[place].item() for role, place in where.items()} | {"others": table[~known].max().item()}
        for convention, table in under_conventions(parts, classes).items()
    }
    return {
        "family": plan.family,
        "seed": plan.seed,
        "modulus": plan.modulus,
        "n_layers": parts.n_layers,
        "n_heads": parts.n_heads,
        "d_model": parts.d_model,
        "found": result.best == where["successor"],
        "successor": result.macro[where["successor"]].item(),
        "runner_up": result.table["macro"][1].item(),
        "conventions": by_convention,
        "seconds": time.perf_counter() - start,
    }


def drown(planted: Planted, noise: float, *, seed: int) -> Planted:
    """The same plant with noise added to every W_V, `noise` times as strong as each head's own weights."""
    module = copy.deepcopy(planted.module)
    generator = torch.Generator().manual_seed(seed)
    for layer in range(module.config.num_hidden_layers):
        w_v = slots(module, layer).w_v  # [d_model, kv_head, d_head]
        strength = noise * w_v.square().mean((0, 2), keepdim=True).sqrt()
        w_v += strength * torch.randn(w_v.shape, generator=generator)
    return dataclasses.replace(planted, module=module)


def recover(planted: Planted, *, widths, sparsities, seeds, steps: int = 800) -> pd.DataFrame:
    """How well probe and autoencoders find the residue directions in the numbers, by mean matched cosine.

    The truth is each residue direction minus their mean: what all ten share can as well be called part
    of the domain, and no method can tell.
    """
    numbers = ordinals.resolve(planted.tokenizer)["numbers"]
    x = ov_circuit.head_input(anatomy.of(planted.module), numbers.token_ids)
    truth = planted.directions["residue"] - planted.directions["residue"].mean(0)
    probe = features.probe_modulus(x, numbers.index, len(truth), seed=0, n_permutations=20)
    rows = [{"method": "probe", "cosine": features.matched_cosines(probe.directions, truth)[0].mean().item()}]
    by_residue = torch.stack([x[numbers.index % len(truth) == residue].mean(0) for residue in range(len(truth))])
    means = features.matched_cosines(by_residue - by_residue.mean(0), truth)[0]
    rows.append({"method": "class means", "cosine": means.mean().item()})
    for width in widths:
        for sparsity in sparsities:
            saes = features.train_saes(x, seeds=seeds, width=width, sparsity=sparsity, steps=steps)
            for sae in range(len(seeds)):
                rows.append({
                    "method": "SAE", "width": width, "sparsity": sparsity, "sae_seed": seeds[sae],
                    "cosine": features.matched_cosines(saes.features[sae], truth)[0].mean().item(),
                    "explained": saes.explained[sae].item(), "active": saes.active[sae].item(), "dead": saes.dead[sae].item(),
                })  # fmt: skip
        chance = torch.randn(width, x.shape[1], generator=torch.Generator().manual_seed(width))
        rows.append({"method": "random", "width": width, "cosine": features.matched_cosines(chance, truth)[0].mean().item()})
    return pd.DataFrame(rows).assign(noise=planted.truth["noise"], modulus=planted.truth["modulus"], plant=planted.truth["seed"])


def found_directions(planted: Planted, *, width: int = 48, sparsity: float = 0.05, seed: int = 0) -> dict[str, Tensor]:
    """Residue directions [residue, d_model] of length 1 from every source: the truth, what was recovered, controls.

    A feature of an autoencoder is given to the residue whose numbers it answers to most, which needs no truth.
    """
    numbers = ordinals.resolve(planted.tokenizer)["numbers"]
    x = ov_circuit.head_input(anatomy.of(planted.module), numbers.token_ids)
    true = planted.directions["residue"]
    residue = numbers.index % len(true)
    saes = features.train_saes(x, seeds=[seed], width=width, sparsity=sparsity, steps=800)
    answers = torch.stack([saes.activations[0][residue == r].mean(0) for r in range(len(true))])  # [residue, feature]
    elsewhere = (answers.sum(0) - answers) / (len(true) - 1)
    chosen = (answers - elsewhere).argmax(1)
    return {
        "true": true,
        "SAE": saes.features[0][chosen],
        "probe": features.probe_modulus(x, numbers.index, len(true), seed=seed, n_permutations=1).directions,
        "class means": torch.stack([x[residue == r].mean(0) for r in range(len(true))]) / planted.truth["direction_length"],
        "true, permuted": true[torch.randperm(len(true), generator=torch.Generator().manual_seed(seed))],
        "random": arithmetic.random_directions(true, seed=seed),
    }


def edit_rates(planted: Planted, *, scales, tasks=ordinals.TASKS) -> pd.DataFrame:
    """Success of all edits at the planted head, by source of the directions, class and scale (1 is the planted length)."""
    parts, classes = anatomy.of(planted.module), ordinals.resolve(planted.tokenizer)
    layer, head = planted.place("successor")
    length = planted.truth["direction_length"]
    rows = []
    for name, directions in found_directions(planted).items():
        for task in tasks:
            for scale in scales:
                outcome = arithmetic.edit_outcome(
                    parts, classes[task], directions, layer=layer, head=head, scale=scale * length
                )
                moved = outcome.success[outcome.edits.moves]
                rows.append({"directions": name, "task": task, "scale": scale, "right": int(moved.sum()), "n": len(moved)})
    return pd.DataFrame(rows).assign(plant=planted.truth["seed"])


def main() -> None:
    """Run everything at full size and store it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plants", type=int, default=30, help="small plants a family")
    parser.add_argument("--large", type=int, default=3, help="plants of the full shape of a published model, a family")
    parser.add_argument("--out", type=Path, default=STORED)
    arguments = parser.parse_args()

    small, _ = words.find_tokenizer("words", "gpt2")
    plans = [
        (Plan(family, seed, SMALL[family], modulus=modulus), small, "words")
        for modulus in (None, 10)
        for family in FAMILIES
        for seed in range(arguments.plants)
    ]
    for name in LARGE:
        family, shape = shapes.like(name)
        tokenizer, called = words.find_tokenizer("auto", family)
        plans += [(Plan(family, seed, shape), tokenizer, called) for seed in range(arguments.large)]
    plants = []
    for number, (plan, tokenizer, called) in enumerate(plans):
        plants.append(find(plan, tokenizer) | {"tokenizer": called})
        print(f"{number + 1} of {len(plans)}: {plan.family} {plan.seed}", flush=True)

    doses = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    drowned = []
    for family in FAMILIES:
        for seed in range(10):
            planted = plant(Plan(family, seed, SMALL[family]), small)
            for noise in doses:
                parts = anatomy.of(drown(planted, noise, seed=seed).module)
                result = scores.score_heads(parts, ordinals.resolve(small))
                place = planted.place("successor")
                drowned.append({
                    "family": family, "seed": seed, "noise": noise, "found": result.best == place,
                    "successor": result.macro[place].item(), "best": result.macro.max().item(),
                })  # fmt: skip
    print("drowned", flush=True)

    recovered, edits = [], []
    for noise in (0.3, 1.0, 3.0):
        for seed in range(2):
            planted = plant(Plan("gpt_neox", seed, SMALL["gpt_neox"], modulus=10, noise=noise), small)
            recovered.append(recover(planted, widths=(16, 48, 128), sparsities=(0.01, 0.05, 0.2), seeds=range(4)))
            print("recovered", noise, seed, flush=True)
    for family in FAMILIES:
        for seed in range(3):
            planted = plant(Plan(family, seed, SMALL[family], modulus=10), small)
            edits.append(edit_rates(planted, scales=(0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)).assign(family=family))
            print("edited", family, seed, flush=True)
    write_json(arguments.out, {
        "schema": 1,
        "made_by": f"python -m successor_heads.planted.calibrate --plants {arguments.plants} --large {arguments.large}",
        "shapes": {family: dataclasses.asdict(shape) for family, shape in SMALL.items()}
        | {name: dataclasses.asdict(shapes.like(name)[1]) for name in LARGE},
        "plants": columns(pd.json_normalize(plants, sep="/")),
        "drowned": columns(pd.DataFrame(drowned)),
        "recovered": columns(pd.concat(recovered)),
        "edits": columns(pd.concat(edits).groupby(["family", "directions", "task", "scale"], sort=False)[["right", "n"]].sum().reset_index()),
    })  # fmt: skip


def columns(table: pd.DataFrame) -> dict[str, list]:
    """A table as JSON: a list for each column, four decimals, null where nothing stands."""
    return {name: json.loads(table[name].to_json(orient="values", double_precision=4)) for name in table}


def stored() -> dict[str, Any]:
    """What `calibration.json` holds, its tables as data frames."""
    return {name: pd.DataFrame(part) if name in TABLES else part for name, part in json.loads(STORED.read_text()).items()}


if __name__ == "__main__":
    main()
