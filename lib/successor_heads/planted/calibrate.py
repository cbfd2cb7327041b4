"""What each instrument says about plants, beside the truth: the measurements behind the calibration chapter.

::

    python -m successor_heads.planted.calibrate        # writes calibration.json anew, some ten minutes on two cores

The chapter runs these functions on a few small plants and reads the rest from `calibration.json`, which
this module wrote and which says from what.
"""

import argparse
import copy
import dataclasses
import hashlib
import json
import multiprocessing
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from successor_heads import (
    ablation,
    anatomy,
    arithmetic,
    direct_effects,
    features,
    intervals,
    ordinals,
    ov_circuit,
    scores,
)
from successor_heads.anatomy import Anatomy
from successor_heads.errors import told
from successor_heads.ordinals import ResolvedClass
from successor_heads.planted import FAMILIES, HIDDEN_FAMILY, hidden, shapes, words
from successor_heads.planted.plant import ATTENTIVE, DECOYS, Plan, Planted, plant
from successor_heads.planted.prompts import prompts
from successor_heads.planted.shapes import Shape
from successor_heads.planted.slots import slots
from successor_heads.prompts import mean_head_outputs
from successor_heads.records import PACKAGES, write_json

STORED = Path(__file__).parent / "calibration.json"
SMALL = {"gpt2": Shape(), "gpt_neox": Shape(), "llama": Shape(n_kv_heads=2, d_head=48)}
LARGE = ("openai-community/gpt2-shape", "EleutherAI/pythia-160m-shape", "JackFram/llama-160m-shape")
TABLES = ("plants", "drowned", "recovered", "edits", "effects", "hidden")
DOSES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # of noise in W_V, in strengths of the head
NOISES = (0.3, 1.0, 3.0)  # of the make-up, in lengths of one direction
# Of the families as published, which are no part of this project.
OWN_TOKENIZERS = {"gpt2": "gpt2", "gpt_neox": "gpt-neox", "llama": "llama-2"}
SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # of edits, in planted lengths
SAE_GRID = {"widths": (16, 48, 96), "sparsities": (0.01, 0.05, 0.2), "seeds": range(2)}
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
    return {name: scores.score_heads(parts, classes, **scores.CONVENTIONS[name]).macro for name in CONVENTIONS}


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
        convention: {role: table[place].item() for role, place in where.items()}
        | {"others": table[~known].max().item()}
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
        # Heads that anyone would take for a successor head and that are none, decoys and all others.
        "false_positives": int((result.macro >= 0.5).sum()) - int(result.macro[where["successor"]] >= 0.5),
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
        rows.append(
            {"method": "random", "width": width, "cosine": features.matched_cosines(chance, truth)[0].mean().item()}
        )
    return pd.DataFrame(rows).assign(
        noise=planted.truth["noise"], modulus=planted.truth["modulus"], plant=planted.truth["seed"]
    )


def found_directions(planted: Planted, *, width: int = 48, sparsity: float = 0.05) -> dict[str, Tensor]:
    """Residue directions [residue, d_model] of length 1 from every source: the truth, what was recovered, controls.

    A feature of an autoencoder is given to the residue whose numbers it answers to most, which needs no truth.
    The permutation leaves no residue its own direction. All that is drawn is drawn by the plant's seed.
    """
    seed = planted.truth["seed"]
    numbers = ordinals.resolve(planted.tokenizer)["numbers"]
    x = ov_circuit.head_input(anatomy.of(planted.module), numbers.token_ids)
    true = planted.directions["residue"]
    residue = numbers.index % len(true)
    saes = features.train_saes(x, seeds=[seed], width=width, sparsity=sparsity, steps=800)
    answers = torch.stack([saes.activations[0][residue == r].mean(0) for r in range(len(true))])  # [residue, feature]
    others = (answers.sum(0) - answers) / (len(true) - 1)
    chosen = (answers - others).argmax(1)
    return {
        "true": true,
        "SAE": saes.features[0][chosen],
        "probe": features.probe_modulus(x, numbers.index, len(true), seed=seed, n_permutations=1).directions,
        "class means": torch.stack([x[residue == r].mean(0) for r in range(len(true))])
        / planted.truth["direction_length"],
        "true, permuted": true[derangement(len(true), seed=seed)],
        "random": arithmetic.random_directions(true, seed=seed),
    }


def derangement(n: int, *, seed: int) -> Tensor:
    """A random permutation of n places that leaves none in place."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(n, generator=generator)
        if (order != torch.arange(n)).all():
            return order


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
                rows.append(
                    {"directions": name, "task": task, "scale": scale, "right": int(moved.sum()), "n": len(moved)}
                )
    return pd.DataFrame(rows).assign(plant=planted.truth["seed"])


def rank_effects(planted: Planted, *, n_prompts: int = 12) -> pd.DataFrame:
    """One row a role in context: direct effect and mean ablation of its head on the answer's lead, with ranks.

    Rank 1 is the largest of all heads; `next_` is the largest effect of any other head.
    """
    model, seed, rows = planted.open(), planted.truth["seed"], []
    for role in ATTENTIVE:
        task, place = prompts(planted.tokenizer, role, n=n_prompts, seed=seed), planted.place(role)
        common: dict[str, Any] = dict(members=task.members, reference=task.texts)
        direct = direct_effects.on_answers(model, task.texts, task.answers, **common)
        total = ablation.mean_ablation_effects(model, task.texts, task.answers, **common)
        row = {
            "role": role,
            "right": total.clean.right_in_class.double().mean().item(),
            "lead": total.clean.difference.mean().item(),
        }
        for name, effects in (("direct", direct), ("ablation", total)):
            fall = effects.difference_fall.mean(-1)
            row[name] = fall[place].item()
            row[f"next_{name}"] = highest_of_others(fall, [place])
            row[f"rank_{name}"] = int((fall > fall[place]).sum()) + 1
        rows.append(row)
    return pd.DataFrame(rows).assign(family=planted.truth["family"], plant=seed)


def look_for_hidden(seed: int, tokenizer, *, n_prompts: int = 24) -> dict:
    """One row on a plant with the hidden head and its twin: what every instrument says, and who is needed to count.

    For every instrument the larger value of the two, the largest of any other head, and the better rank.
    """
    planted = hidden.plant_hidden(Shape(n_layers=4), tokenizer, seed=seed)
    model, pair = planted.open(), [planted.place("hidden"), planted.place("twin")]
    task = prompts(tokenizer, "successor", n=n_prompts, seed=seed)
    asked = (task.texts, task.answers)
    common: dict[str, Any] = dict(members=task.members, reference=task.texts)
    seen = under_conventions(anatomy.of(model), ordinals.resolve(tokenizer)) | {
        "direct": direct_effects.on_answers(model, *asked, **common).difference_fall.mean(-1),
        "ablation": ablation.mean_ablation_effects(model, *asked, **common).difference_fall.mean(-1),
    }
    row = {"plant": seed, "heads": planted.module.config.num_hidden_layers * planted.module.config.num_attention_heads}
    for name, values in seen.items():
        ours = max(values[place].item() for place in pair)
        row |= {
            name: ours,
            f"next_{name}": highest_of_others(values, pair),
            f"rank_{name}": int((values > ours).sum()) + 1,
        }
    groups = {"nothing": [], "hidden": pair[:1], "twin": pair[1:], "both": pair}
    means = mean_head_outputs(model, task.texts)
    without = ablation.group_ablation_effects(
        model, *asked, list(groups.values()), members=task.members, replacement=means
    ).ablated
    for place, name in enumerate(groups):
        row |= {
            f"right_without_{name}": without.right_in_class[place].double().mean().item(),
            f"lead_without_{name}": without.difference[place].mean().item(),
        }
    return row


def highest_of_others(values: Float[Tensor, "layer head"], places: Sequence[tuple[int, int]]) -> float:
    """The largest value of all heads but those in `places`."""
    others = values.clone()
    for place in places:
        others[place] = -torch.inf
    return others.max().item()


# --- intervals ------------------------------------------------------------------------------------


def over_plants(
    values: Sequence[float] | Sequence[bool], *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, float | int]:
    """Mean with 95% interval over plants, of one value a plant: what is measured within a plant is not independent.

    Yes or no a plant gets Wilson's interval, all else the bootstrap's, which is a point where all
    plants agree and then says no more than that.
    """
    outcomes = np.asarray(values)
    if outcomes.dtype == bool:
        low, high = intervals.wilson(int(outcomes.sum()), len(outcomes))
    else:
        _, low, high = intervals.mean_interval(outcomes, seed=seed, n_resamples=n_resamples)
    return {"mean": float(outcomes.mean()), "low": float(low), "high": float(high), "n": len(outcomes)}


def summarise(table: pd.DataFrame, by: list[str], measures: list[str]) -> pd.DataFrame:
    """Mean, low, high and number of plants of every measure, by `by`, for each family and for all of them together.

    `table` has the columns `family` and `plant`; of several rows of a plant the mean is taken first.
    """
    rows = []
    for families in (["family"], []):
        for key, group in table.groupby([*by, *families], sort=False, dropna=False):
            labels = dict(zip([*by, *families], key))
            for measure in measures:
                one_a_plant = group[measure]
                if group.duplicated(["family", "plant"]).any():
                    one_a_plant = group.groupby(["family", "plant"])[measure].mean()
                rows.append({"family": "all"} | labels | {"measure": measure} | over_plants(one_a_plant))
    return pd.DataFrame(rows)


def summaries(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """A summary of every table."""
    plants = tables["plants"].rename(columns={"seed": "plant"})
    canonical = plants[[f"conventions/canonical/{role}" for role in (*DECOYS, "others")]]
    plants = plants.assign(
        size=np.where(plants["d_model"] >= 768, "full", "small"), highest_other=canonical.max(axis=1),
        made_up=plants["modulus"].notna(),
    )  # fmt: skip
    edits = (
        tables["edits"]
        .groupby(["family", "plant", "directions", "scale"], sort=False)[["right", "n"]]
        .sum()
        .reset_index()
    )
    effects = tables["effects"].assign(
        first_direct=tables["effects"]["rank_direct"] == 1, first_ablation=tables["effects"]["rank_ablation"] == 1
    )
    hidden_rows = tables["hidden"].assign(family=HIDDEN_FAMILY)
    return {
        "plants": summarise(plants, ["size", "made_up"], ["found", "successor", "highest_other", "false_positives"]),
        "drowned": summarise(tables["drowned"].rename(columns={"seed": "plant"}), ["noise"], ["found", "successor"]),
        "recovered": summarise(tables["recovered"], ["noise", "method", "width", "sparsity"], ["cosine"]),
        "edits": summarise(edits.assign(rate=edits["right"] / edits["n"]), ["directions", "scale"], ["rate"]),
        "effects": summarise(effects, ["role"], ["first_direct", "first_ablation", "direct", "next_direct", "ablation", "next_ablation", "right"]),
        "hidden": summarise(hidden_rows, ["heads"], [name for name in hidden_rows if name not in ("plant", "heads", "family")]),
    }  # fmt: skip


# --- everything at full size ------------------------------------------------------------------------


@cache
def _tokenizer(name: str):
    return words.find_tokenizer(name)


def plant_row(name: str, plan: Plan) -> list[dict]:
    """The row of one plant for the table `plants`."""
    tokenizer, tokenizer_name = _tokenizer(name)
    return [find(plan, tokenizer) | {"tokenizer": tokenizer_name}]


def drowned_rows(family: str, seed: int) -> list[dict]:
    """A row a dose of noise for the table `drowned`."""
    tokenizer, _ = _tokenizer("words")
    planted, rows = plant(Plan(family, seed, SMALL[family]), tokenizer), []
    for noise in DOSES:
        result = scores.score_heads(anatomy.of(drown(planted, noise, seed=seed).module), ordinals.resolve(tokenizer))
        place = planted.place("successor")
        rows.append({
            "family": family, "seed": seed, "noise": noise, "found": result.best == place,
            "successor": result.macro[place].item(), "best": result.macro.max().item(),
        })  # fmt: skip
    return rows


def recovered_rows(family: str, seed: int, noise: float, with_saes: bool) -> list[dict]:
    """What `recover` finds on one plant, for the table `recovered`."""
    planted = plant(Plan(family, seed, SMALL[family], modulus=10, noise=noise), _tokenizer("words")[0])
    grid = SAE_GRID if with_saes else dict(widths=(), sparsities=(), seeds=())
    return recover(planted, **grid).assign(family=family).to_dict("records")


def edits_rows(family: str, seed: int) -> list[dict]:
    """What `edit_rates` finds on one plant, for the table `edits`."""
    planted = plant(Plan(family, seed, SMALL[family], modulus=10), _tokenizer("words")[0])
    return edit_rates(planted, scales=SCALES).assign(family=family).to_dict("records")


def effects_rows(family: str, seed: int) -> list[dict]:
    """What `rank_effects` finds on one plant, for the table `effects`."""
    return rank_effects(plant(Plan(family, seed, SMALL[family], in_context=True), _tokenizer("words")[0])).to_dict(
        "records"
    )


def hidden_row(seed: int) -> list[dict]:
    """What `look_for_hidden` finds on one plant, for the table `hidden`."""
    return [look_for_hidden(seed, _tokenizer("words")[0])]


def jobs_of(n_plants: int, n_large: int, n_sae: int, tokenizers: Path | None = None) -> list[tuple]:
    """(table, function, arguments) of everything that is measured, the longest first.

    Plants of full shape have their family's own tokenizer out of the folder `tokenizers`, that of grown/pythia
    without one. Autoencoders are trained on `n_sae` plants, of all families in turn, each with a seed of its own.
    """
    every = [(family, seed) for seed in range(n_plants) for family in FAMILIES]
    with_saes = {(FAMILIES[seed % len(FAMILIES)], seed) for seed in range(n_sae)}
    recover_jobs = [
        ("recovered", recovered_rows, (*plant, noise, plant in with_saes)) for noise in NOISES for plant in every
    ]
    large = [(family, seed, shape) for family, shape in map(shapes.like, LARGE) for seed in range(n_large)]
    own = {family: str(tokenizers / name) if tokenizers else "auto" for family, name in OWN_TOKENIZERS.items()}
    small = [
        Plan(family, seed, SMALL[family], modulus=modulus)
        for modulus in (None, 10)
        for family in FAMILIES
        for seed in range(n_plants)
    ]
    return [
        *sorted(recover_jobs, key=lambda job: not job[2][-1]),
        *(("plants", plant_row, ("words", plan)) for plan in small),
        *(("plants", plant_row, (own[sizes[0]], Plan(*sizes))) for sizes in large),
        *(("edits", edits_rows, plant) for plant in every),
        *(("effects", effects_rows, plant) for plant in every),
        *(("hidden", hidden_row, (seed,)) for seed in range(n_plants)),
        *(("drowned", drowned_rows, plant) for plant in every if plant[1] < 10),
    ]


@told()
def main() -> None:
    """Run everything at full size and store it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plants", type=int, default=30, help="small plants a family")
    parser.add_argument("--large", type=int, default=3, help="plants of the full shape of a published model, a family")
    parser.add_argument("--saes", type=int, default=10, help="plants on which autoencoders are trained")
    parser.add_argument(
        "--tokenizers",
        type=Path,
        metavar="FOLDER",
        help=f"holds {', '.join(OWN_TOKENIZERS.values())}, for plants of full shape; else that of grown/pythia is taken",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each; no figure depends on it")
    parser.add_argument("--out", type=Path, default=STORED)
    arguments = parser.parse_args()

    start, digests = time.perf_counter(), digests_of_code()
    rows: dict[str, list[dict]] = {name: [] for name in TABLES}
    jobs = jobs_of(arguments.plants, arguments.large, arguments.saes, arguments.tokenizers)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        arguments.workers, mp_context=spawn, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        running = [(name, pool.submit(function, *args)) for name, function, args in jobs]
        for number, (name, future) in enumerate(running):
            rows[name] += future.result()
            if number % 20 == 0:
                print(f"{number + 1} of {len(jobs)}: {name}, {time.perf_counter() - start:.0f} s", flush=True)
    tables = {name: pd.DataFrame(part) for name, part in rows.items()} | {
        "plants": pd.json_normalize(rows["plants"], sep="/")
    }
    write_json(arguments.out, {
        "schema": 2,
        "made_by": f"python -m successor_heads.planted.calibrate --plants {arguments.plants} --large {arguments.large} --saes {arguments.saes}"
        + (" --tokenizers FOLDER" if arguments.tokenizers else ""),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - start),
        "processor": processor(),
        "versions": {package: version(package) for package in (*PACKAGES, "scikit-learn")},
        "digests": digests,
        "shapes": {family: dataclasses.asdict(shape) for family, shape in SMALL.items()}
        | {name: dataclasses.asdict(shapes.like(name)[1]) for name in LARGE},
        "summary": {name: columns(summary) for name, summary in summaries(tables).items()},
        **{name: columns(table) for name, table in tables.items() if name != "edits"},
        "edits": grid(tables["edits"], ["family", "plant", "directions", "task", "scale"]),
    })  # fmt: skip


def digests_of_code() -> dict[str, str]:
    """SHA-256 of the files that decide what is planted and measured here."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(__file__).parent.glob("*.py"))
    }


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def columns(table: pd.DataFrame) -> dict[str, list]:
    """A table as JSON: a list for each column, four decimals, null where nothing stands."""
    return {name: json.loads(table[name].to_json(orient="values", double_precision=4)) for name in table}


def grid(table: pd.DataFrame, axes: list[str]) -> dict[str, Any]:
    """A table with a row for every combination of its `axes` as JSON: the axes once, and the other columns in their order."""
    levels = {axis: table[axis].unique().tolist() for axis in axes}
    full = table.set_index(axes).reindex(pd.MultiIndex.from_product(levels.values(), names=axes))
    return {"axes": levels} | {name: full[name].tolist() for name in full}


def stored() -> dict[str, Any]:
    """What `calibration.json` holds, its tables and summaries as data frames."""
    content = json.loads(STORED.read_text("utf8"))
    content |= {name: _frame(content[name]) for name in TABLES}
    content["summary"] = {name: _frame(part) for name, part in content["summary"].items()}
    return content


def _frame(part: dict[str, Any]) -> pd.DataFrame:
    if "axes" not in part:
        return pd.DataFrame(part)
    index = pd.MultiIndex.from_product(part["axes"].values(), names=part["axes"])
    return index.to_frame(index=False).assign(**{name: column for name, column in part.items() if name != "axes"})


if __name__ == "__main__":
    main()
