"""Grow a model of one's own: recipe in, corpus, tokenizer and trained checkpoint out.

    successor-heads grow pythia --seed 1 --out my-model

Only the command line stands here; the work is in ``corpus``, ``tokenizer`` and ``train``, which are
imported when it begins, because they bring torch with them.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``successor-heads grow``."""
    parser.add_argument("family", help="pythia, gpt2 or llama")
    parser.add_argument("--size", default="default", help="tiny, small, default or large")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", action="append", default=[], metavar="INGREDIENT",
                        help="leave out decimals, crossrefs, interchange or prose; may be given again")  # fmt: skip
    parser.add_argument("--base", type=int, default=10, help="the base in which the text composes numbers: 10, 8 or 12")
    parser.add_argument("--steps", type=int, default=None, help="steps of the optimiser (1200)")
    parser.add_argument("--batch", type=int, default=None, help="windows of 256 tokens a step (32)")
    parser.add_argument("--quiet-steps", type=int, default=None, metavar="STEPS",
                        help="steps at the start during which block 0's attention writes nothing; by default the family's own")  # fmt: skip
    parser.add_argument(
        "--tied", action="store_true", help="gpt2 only: embed and unembed with one matrix, as OpenAI's models do"
    )
    parser.add_argument("--books", type=Path, default=None, metavar="FOLDER",
                        help="folder of books to read as well: books-train-*.jsonl.xz, one JSON object with a text a line")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, default=None, help="folder to write; by default the package's own zoo")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it is there")


def run(arguments: argparse.Namespace) -> int:
    """Grow what the arguments say and return the exit status."""
    from successor_heads.growing.train import Recipe, grow
    from successor_heads.models import ZOO

    given = {name: getattr(arguments, name) for name in ("steps", "batch", "quiet_steps")}
    given = {name: value for name, value in given.items() if value is not None}
    recipe = Recipe(
        arguments.family,
        arguments.size,
        arguments.seed,
        tuple(sorted(arguments.without)),
        arguments.base,
        tied=arguments.tied,
        **given,
    )
    out = arguments.out or ZOO / zoo_name(recipe)
    grow(recipe, out, books_folder=arguments.books, device=arguments.device, overwrite=arguments.overwrite)
    print((out / "README.md").read_text(encoding="utf8"))
    print(f"Grown into {out}")
    return 0


def zoo_name(recipe) -> str:
    """``pythia`` for the default recipe of a family; what differs from it is added: ``pythia-small-seed1``."""
    parts = [recipe.family]
    parts += [recipe.size] if recipe.size != "default" else []
    parts += [f"seed{recipe.seed}"] if recipe.seed else []
    parts += [f"no-{ingredient}" for ingredient in recipe.without]
    parts += [f"base{recipe.base}"] if recipe.base != 10 else []
    parts += ["tied"] if recipe.tied else []
    return "-".join(parts)
