"""What is looked at while a model grows, and what is kept of a run when its weights are not.

observe(model, classes, held_out)       # one point of the curve
record("grown/pythia")                  # the whole run: recipe, curve, and what lies in MLP0 at its end
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from transformers.models.auto.tokenization_auto import AutoTokenizer

from successor_heads import anatomy, features, intervals, ordinals, records, scores
from successor_heads.errors import UserError, told
from successor_heads.files import with_home
from successor_heads.growing import succession
from successor_heads.growing.corpus import HeldOut
from successor_heads.models import grown_models
from successor_heads.ordinals import ResolvedClass
from successor_heads.ov_circuit import head_input

RECORDS = Path(__file__).parent / "records"
ANNOUNCED_RUNS = RECORDS / "succession"
CURVE_MODULI = (7, 10)  # 7 is the control: nothing in the text counts in sevens but the days
MODULI = tuple(range(2, 21))
FEWEST_NUMBERS = 100  # in single tokens; of fewer there is no probe
# In numbers of tokens.  Residues mod 10 show at 10, 5, 10/3, 5/2 and 2.
PERIODS = (200, 100, 50, *range(20, 1, -1), 10 / 3, 5 / 2)


def observe(
    model: PreTrainedModel,
    classes: dict[str, ResolvedClass],
    held_out: Tensor,
    pairs_held_out: Iterable[HeldOut] = (),
) -> dict[str, Any]:
    """One point of the curve: scores of the best head and of all heads, losses, residues in MLP0.

    `held_out` is [window, token].  `loss` is over all its tokens, `loss_successor` over those that
    are the successor of the last ordinal of their class before them, `loss_other` over the rest; nats
    a token.  `probe_mod_k` is the accuracy of a linear probe on numbers it has not seen, where enough
    numbers are single tokens.  `succession` sets pairs that the text never gave in order beside those it gave.
    """
    parts = anatomy.of(model)
    head_scores = scores.score_heads(parts, classes)
    best = head_scores.table.iloc[0].to_dict()
    losses = []
    with torch.no_grad():
        for rows in held_out.split(16):
            logits = model(rows[:, :-1], use_cache=False).logits
            losses.append(F.cross_entropy(logits.transpose(1, 2), rows[:, 1:], reduction="none"))
    loss, successor = torch.cat(losses), follows_its_predecessor(held_out, classes)[:, 1:]
    pairs_held_out = tuple(pairs_held_out)
    return {
        **{name: int(value) if name in ("layer", "head") else value for name, value in best.items()},
        "macro_by_head": head_scores.macro.tolist(),
        "loss": loss.mean().item(),
        "loss_successor": loss[successor].mean().item() if successor.any() else None,
        "loss_other": loss[~successor].mean().item(),
        **_residues(parts, classes),
        **({"succession": succession.shares(parts, classes, pairs_held_out)} if pairs_held_out else {}),
    }


def _residues(parts: anatomy.Anatomy, classes: dict[str, ResolvedClass]) -> dict[str, Any]:
    numbers = classes["numbers"]
    if len(numbers.words) < FEWEST_NUMBERS:
        return {}
    x = head_input(parts, numbers.token_ids)
    return {
        **{
            f"probe_mod_{k}": features.probe_modulus(x, numbers.index, k, seed=0, n_permutations=1).accuracy
            for k in CURVE_MODULI
        },
        "transfer": {row["task"]: row["accuracy"] for row in transfer(parts, classes).to_dict("records")},
    }


def follows_its_predecessor(windows: Tensor, classes: dict[str, ResolvedClass]) -> Tensor:
    """Whether a token is the successor of the last ordinal of its class earlier in its window: [window, token]."""
    marked = torch.zeros(windows.shape, dtype=torch.bool)
    for resolved in classes.values():
        successor_of: dict[int | None, int] = {
            int(resolved.token_ids[s]): int(resolved.token_ids[t]) for s, t in zip(resolved.source, resolved.target)
        }
        members = set(resolved.token_ids.tolist())
        for row, tokens in enumerate(windows.tolist()):
            last = None
            for place, token in enumerate(tokens):
                if token in members:
                    marked[row, place] |= successor_of.get(last) == token
                    last = token
    return marked


def transfer(parts: anatomy.Anatomy, classes: dict[str, ResolvedClass], *, modulus: int = 10) -> pd.DataFrame:
    """How well a probe for the index mod 10, fitted on the numbers alone, reads the other classes.

    By another `modulus`, such as 7, it is the control: what is read where nothing in the text counts that way.
    One row a class: `task`, `accuracy`, its 95% interval `low` to `high`, and `n` tokens.
    """
    numbers, rows = classes["numbers"], []
    x = head_input(parts, numbers.token_ids)
    for task, other in classes.items():
        if task != "numbers" and len(other.words) > 1:
            read = features.transferred_residues(x, numbers.index, head_input(parts, other.token_ids), modulus=modulus)
            right, n = int((read == other.index % modulus).sum()), len(other.words)
            low, high = intervals.wilson(right, n)
            rows.append({"task": task, "accuracy": right / n, "low": low, "high": high, "n": n})
    return pd.DataFrame(rows)


def record(folder: Path) -> dict[str, Any]:
    """All that is kept of the model in `folder` when its weights are not: recipe, curve, residues, spectrum.

    Raises UserError when the folder does not hold a grown model.
    """
    if not (folder / "recipe.json").exists():
        raise UserError(f"{folder} holds no grown model: grow one there with successor-heads grow --out {folder}.")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer, recipe = AutoTokenizer.from_pretrained(folder), json.loads((folder / "recipe.json").read_text("utf8"))
    parts, classes = anatomy.of(model), ordinals.resolve(tokenizer)
    held_out = [HeldOut.parse(part, seed=recipe["seed"]) for part in recipe.get("held_out", [])]
    return {
        "schema": records.SCHEMA,
        "recipe": recipe,
        "curve": json.loads((folder / "curve.json").read_text("utf8"))["curve"],
        **(_features(parts, classes) if len(classes["numbers"].words) >= FEWEST_NUMBERS else {}),
        **{
            f"macro_by_head_{source}": scores.score_heads(parts, classes, source=source).macro
            for source in ("mlp0", "embedding")
        },
        "succession": succession.measure(model, tokenizer, held_out),
        # Models that were grown before their text was checked have no such file.
        "text": json.loads(text.read_text("utf8"))
        if (text := folder / "text.json").exists()
        else succession.read_again(recipe, tokenizer),
    }


def _features(parts: anatomy.Anatomy, classes: dict[str, ResolvedClass]) -> dict[str, Any]:
    numbers = classes["numbers"]
    x = head_input(parts, numbers.token_ids)
    probes = [features.probe_modulus(x, numbers.index, k, seed=0) for k in MODULI]
    columns = ("modulus", "accuracy", "low", "high", "n", "null_mean", "null_high", "p_value")
    return {
        "probes": pd.DataFrame([{name: getattr(probe, name) for name in columns} for probe in probes]),
        "transfer": transfer(parts, classes),
        "spectrum": features.fourier_spectrum(x, numbers.index, seed=0, periods=PERIODS),
        "residues": residues_by_source(parts, numbers),
    }


def residues_by_source(parts: anatomy.Anatomy, numbers: ResolvedClass) -> pd.DataFrame:
    """Where the index of a number can be read, mod 7 and mod 10, by probes with nested cross-validation.

    One row a source and modulus: what MLP0 writes, the embedding that it reads, the unembedding, and what a random MLP
    of MLP0's shape writes on that embedding, which holds what any such map would leave readable.
    """
    embedded, generator = parts.embed(numbers.token_ids).float().cpu(), torch.Generator().manual_seed(0)
    width = embedded.shape[1]
    into, out = (torch.randn(shape, generator=generator) for shape in ((width, 4 * width), (4 * width, width)))
    normed = F.layer_norm(embedded, (width,))
    sources = {
        "mlp0": head_input(parts, numbers.token_ids),
        "embedding": embedded,
        "unembedding": parts.unembed(numbers.token_ids).T,
        "random mlp": F.gelu(normed @ into / width**0.5) @ out,
    }
    rows = []
    for source, x in sources.items():
        for modulus in CURVE_MODULI:
            read = features.nested_residues(x, numbers.index, modulus, seed=0)
            right, n = int((read == numbers.index % modulus).sum()), len(numbers.words)
            low, high = intervals.wilson(right, n)
            rows.append({"source": source, "modulus": modulus, "accuracy": right / n, "low": low, "high": high, "n": n})
    return pd.DataFrame(rows)


def stored(folder: Path = RECORDS) -> dict[str, dict[str, Any]]:
    """The records of the runs that this project made, by the run's name; of those announced, in ``ANNOUNCED_RUNS``."""
    return {path.stem: json.loads(path.read_text("utf8")) for path in sorted(folder.glob("*.json"))}


def shipped_text() -> dict[str, dict[str, Any]]:
    """What the checked text of each model that comes with the book shows, by name; none of those not checked."""
    zoo = [name.removeprefix("grown/") for name in grown_models()]
    return {name: text for name in zoo if (text := stored().get(name, {}).get("text"))}


def own(name: str) -> dict[str, dict[str, Any]]:
    """The record of a model that the reader grew in a folder, by its name; empty for any other model."""
    folder = with_home(name)
    return {name: record(folder)} if (folder / "recipe.json").exists() else {}


@told()
def main() -> None:
    """`python -m successor_heads.growing.observe FOLDER FILE`: write the record of a grown model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    found = record(arguments.folder)
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    records.write_json(arguments.file, found)


if __name__ == "__main__":
    main()
