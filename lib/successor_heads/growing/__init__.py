"""Grow a model of one's own: recipe in, corpus, tokenizer and trained checkpoint out.

::

    successor-heads grow pythia --seed 1 --out my-model

Only the command line stands here; the work is in `corpus`, `tokenizer` and `train`, which are
imported when it begins, because they bring torch with them.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from successor_heads.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``successor-heads grow``."""
    parser.add_argument("family", help="pythia, gpt2 or llama")
    parser.add_argument("--size", default="default", help="tiny, narrow, small, default or large")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", action="append", default=[], metavar="INGREDIENT",
                        help="leave out decimals, crossrefs, interchange or prose, or of the decimals the endings or the compositions; may be given again")  # fmt: skip
    parser.add_argument("--hold-out", action="append", default=[], metavar="PART",
                        help="pairs never given in order: letters, numbers:130-149, numbers:every=3, numbers:random=19, or numbers:130-149@counting in one kind of document alone; with +cut lists are cut between the two and not dropped; may be given again")  # fmt: skip
    parser.add_argument("--generated-share", type=float, default=None, metavar="SHARE",
                        help="share of generated text, 0 to 1; the rest is docstrings")  # fmt: skip
    parser.add_argument("--vocabulary", type=int, default=None, metavar="TOKENS", help="size of the vocabulary (4096)")
    parser.add_argument("--digits", action="store_true", help="make every digit a token of its own")
    parser.add_argument("--weight-decay", type=float, default=None, help="of the optimiser (0.1)")
    parser.add_argument("--dtype", default=None, help="of the matrix products: bfloat16 (the default) or float32")
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


def recipe_of(arguments: argparse.Namespace):
    """The recipe that the arguments describe; raises UserError where there is none."""
    from successor_heads.growing.train import Recipe

    optional = ("steps", "batch", "quiet_steps", "vocabulary", "weight_decay", "dtype")
    given = {name: value for name in optional if (value := getattr(arguments, name)) is not None}
    if (share := arguments.generated_share) is not None:
        if not 0 <= share <= 1:
            raise UserError(f"a share of {share} cannot be: give --generated-share a number from 0 to 1.")
        given["shares"] = (("generated", share), ("docstrings", 1 - share))
    return Recipe(
        arguments.family,
        arguments.size,
        arguments.seed,
        tuple(sorted(arguments.without)),
        arguments.base,
        held_out=tuple(arguments.hold_out),
        tied=arguments.tied,
        digits=arguments.digits,
        **given,
    )


def run(arguments: argparse.Namespace) -> int:
    """Grow what the arguments say and return the exit status."""
    from successor_heads.growing.train import grow
    from successor_heads.models import ZOO

    recipe = recipe_of(arguments)
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
    parts += [f"held-out-{re.sub(r'[^a-z0-9]+', '-', part)}" for part in recipe.held_out]
    parts += ["digits"] if recipe.digits else []
    return "-".join(parts)
