"""Models whose inside we made: checkpoints with a successor head put there on purpose.

::

    successor-heads plant my-plant --family gpt2 --seed 3
    successor-heads score my-plant

Every method of the book is tried on these before it is believed on a model that nobody knows. Only the
command line stands here; the work is in `plant` (the heads), `hidden` (the head that no instrument
sees), `shapes`, `slots` (where the weights lie) and `words` (tokenizers), which bring torch with them.
"""

import argparse
from pathlib import Path

FAMILIES = ("gpt2", "gpt_neox", "llama")
HIDDEN_FAMILY = "gpt_neox"  # of the head that no instrument sees


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `successor-heads plant`."""
    parser.description = (
        "Write a complete checkpoint with random weights, one successor head at a random place, five decoys "
        "beside it, and truth.json, which says where they are and what they do."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; it must not exist yet")
    parser.add_argument("--family", choices=FAMILIES, help="gpt2 where nothing else says it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--like", metavar="SHAPE", help="a known size, such as openai-community/gpt2-shape")
    shape = parser.add_argument_group("or a size of one's own")
    shape.add_argument("--layers", type=int, dest="n_layers")
    shape.add_argument("--heads", type=int, dest="n_heads")
    shape.add_argument("--kv-heads", type=int, dest="n_kv_heads", help="fewer than --heads: grouped heads (llama)")
    shape.add_argument("--width", type=int, dest="d_model")
    shape.add_argument("--head-width", type=int, dest="d_head", help="other than width / heads (llama)")
    shape.add_argument("--mlp-width", type=int, dest="d_mlp")
    shape.add_argument("--no-bias", dest="bias", action="store_false", default=None)
    parser.add_argument("--modulus", type=int, metavar="M",
                        help="give MLP0 a known make-up: class + index // M + index %% M; 10, or 7 for the twin")  # fmt: skip
    parser.add_argument("--noise", type=float, help="what in MLP0 is not make-up, in lengths of one direction (0.3)")
    parser.add_argument("--in-context", action="store_true",
                        help="let the head attend to ordinals, and add an acronym head and a copying head")  # fmt: skip
    parser.add_argument(
        "--hidden",
        action="store_true",
        help="plant a head that writes in code and has a twin: no score and no single ablation shows it (gpt_neox)",
    )
    parser.add_argument("--tokenizer", default="auto",
                        help="a folder, 'words' for a small one made here, or 'auto' (default): that of grown/pythia")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Plant what the arguments say and return the exit status."""
    from successor_heads.errors import UserError
    from successor_heads.planted import hidden, shapes, words
    from successor_heads.planted.plant import Plan, check_target, plant

    check_target(arguments.out)
    own = {name: getattr(arguments, name) for name in shapes.FIELDS if getattr(arguments, name) is not None}
    if arguments.like and own:
        raise UserError("--like already says the size: leave out the options for a size of one's own.")
    usual = HIDDEN_FAMILY if arguments.hidden else "gpt2"
    family, shape = shapes.like(arguments.like) if arguments.like else (arguments.family or usual, shapes.Shape(**own))
    if arguments.family not in (None, family):
        raise UserError(
            f"{arguments.like} is of the family {family}, not {arguments.family}: leave out one of the two."
        )
    if arguments.hidden:
        refused = {
            "--modulus": arguments.modulus,
            "--noise": arguments.noise,
            "--in-context": arguments.in_context or None,
        }
        given = [name for name, value in refused.items() if value is not None]
        if given:
            raise UserError(f"--hidden has a make-up and an attention of its own: leave out {' and '.join(given)}.")
        if family != HIDDEN_FAMILY:
            raise UserError(
                f"--hidden is made in {HIDDEN_FAMILY} only, not in {family}: leave out the family, or --hidden."
            )
    elif arguments.noise is not None and arguments.modulus is None and not arguments.in_context:
        raise UserError("--noise is part of a make-up: give --modulus or --in-context with it, or leave it out.")
    tokenizer, tokenizer_name = words.find_tokenizer(arguments.tokenizer)
    if arguments.hidden:
        planted = hidden.plant_hidden(shape, tokenizer, seed=arguments.seed)
    else:
        noise = Plan.noise if arguments.noise is None else arguments.noise
        plan = Plan(family, arguments.seed, shape, arguments.modulus, noise, arguments.in_context)
        planted = plant(plan, tokenizer)
    planted.truth["tokenizer"] = tokenizer_name
    planted.save(arguments.out)
    places = ", ".join(f"{head['role']} L{head['layer']}H{head['head']}" for head in planted.truth["heads"])
    print(f"Planted {arguments.out}: {places} (tokenizer: {tokenizer_name}).")
    return 0
