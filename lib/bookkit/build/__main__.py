"""Run the Snakefile under a lock that dies with this process, then say what failed and where the book is.

    python -m bookkit.build --model grown/pythia --cores 2 --cell-timeout 3600

Snakemake's own lock is a file that outlives a killed build and then has to be removed by hand. The lock taken here
is the operating system's: two builds never run at once, and a killed one leaves nothing behind.
"""

import argparse
import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from bookkit import places
from bookkit.build import workflow
from successor_heads import published
from successor_heads.errors import UserError
from successor_heads.files import write_json
from successor_heads.progress import unfailing_output

# Those of successor_heads.models, which is not imported for them: it takes longer than a build that has nothing to do.
DTYPES = ("float32", "float16", "bfloat16")


def sentence(slug, chapter, *, since):
    """What failed in a chapter, where, and how."""
    path = Path(places.failed(slug, chapter))
    run = json.loads(path.read_text(encoding="utf8"))["metadata"]["successor_heads"] if path.exists() else None
    if run is None or run["started"] < since:
        return f"{places.notebook(chapter)}: it left no word, see what was printed above"
    where, error = f"cell {run['error']['cell']}", run["error"]["error"]
    return f"{places.notebook(chapter)} on {run['model']}, {where}: {error} (kept as {path})"


def checked(arguments):
    """The settings of a build as the Snakefile takes them. Raises UserError for what no chapter could run with."""
    cell_timeout = workflow.whole_number("CELL_TIMEOUT", arguments.cell_timeout)
    if arguments.dtype and arguments.dtype not in DTYPES:
        raise UserError(f"There is no dtype '{arguments.dtype}' here: choose {', '.join(DTYPES)}.")
    model = places.subject(arguments.model or places.DEFAULT_MODEL)
    if Path(model).is_absolute() and not Path(model).exists():
        raise UserError(f"There is no {model}: name the folder of a saved model, a GGUF file, or a hub id.")
    if model.startswith("grown/") and model != places.DEFAULT_MODEL:
        from successor_heads import models

        if model not in models.grown_models():
            raise UserError(f"There is no grown model '{model}': choose from {', '.join(models.grown_models())}.")
    if model.startswith(published.PREFIX) and model not in published.names():
        raise UserError(f"There is no published model '{model}': choose from {', '.join(published.names())}.")
    # What is left empty stays as the chapter has it.
    named = {name: value for name in ("revision", "dtype", "device", "books") if (value := getattr(arguments, name))}
    if arguments.chapters and (unknown := sorted(set(arguments.chapters) - set(places.chapters()))):
        raise UserError(f"There is no chapter {unknown[0]}: choose from {', '.join(places.chapters())}.")
    # A site has all of them.
    some = {"chapters": arguments.chapters} if arguments.chapters and arguments.target == "notebooks" else {}
    return {"model": model, "cell_timeout": cell_timeout, **named, **some}


def run(target, *, cores, settings):
    """Have Snakemake make a target; returns what came of it."""
    # In a file, for on its command line a text that looks like a number, a list or a comment would become one.
    write_json(places.SETTINGS, settings)
    snakefile = "grow.smk" if target == "grown" else "Snakefile"
    return workflow.run(
        [
            *workflow.OPTIONS,
            "--snakefile",
            snakefile,
            "--cores",
            str(cores),
            target,
            "--configfile",
            str(places.SETTINGS),
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="", help=f"grown/NAME, a hub id or a folder; {places.DEFAULT_MODEL} if left empty"
    )
    parser.add_argument("--revision", default="", help="branch, tag or commit of a hub model")
    parser.add_argument("--dtype", default="", help=", ".join(DTYPES))
    parser.add_argument("--device", default="", help="cpu or cuda")
    parser.add_argument("--cores", default="2", help="how many chapters run at once")
    parser.add_argument("--cell-timeout", default="3600", help="seconds that one cell may take")
    parser.add_argument("--books", default="", help="folder of books that the models of chapter 6 read as well")
    parser.add_argument(
        "--chapters", nargs="+", default=[], metavar="CHAPTER", help="for notebooks: these alone, as in 01-find-heads"
    )
    parser.add_argument("target", nargs="?", default="site", choices=["site", "notebooks", "grown"])
    arguments = parser.parse_args()
    with unfailing_output():
        try:
            cores, settings = workflow.whole_number("CORES", arguments.cores), checked(arguments)
            with workflow.take_lock():
                status = build(arguments.target, cores=cores, settings=settings)
        except (UserError, OSError) as error:
            print(error, file=sys.stderr)
            status = 2
    sys.exit(status)


def build(target, *, cores, settings):
    """Make the target, and say what came of it; returns the exit status. Raises UserError."""
    slug, index = places.slug(settings["model"]), Path(places.index(settings["model"])).resolve()
    stopped, since = stop_is_noted(), datetime.now(UTC).isoformat(timespec="seconds")
    ended = run(target, cores=cores, settings=settings)
    if not ended.status:
        if target == "site" and not index.exists():
            raise UserError(f"Everything ran, and yet {index} is not there: run make clean, then make book again.")
        if target == "site":
            print(f"The book: {index.as_uri()}")
        return 0
    if stopped or target == "grown":
        print(
            ended.why() or "Not everything was made. What is done is kept: the next call goes on from there.",
            file=sys.stderr,
        )
        return 1
    if why := ended.why():
        print(why, file=sys.stderr)
    # Those that were tried now: what failed in another run, or on another model, is not this one's news.
    failed = [c for at, c in ended.begun if at == slug and not Path(places.executed(slug, c)).exists()]
    failed.sort(key=places.chapters().index)
    for chapter in failed:
        print(f"FAILED  {sentence(slug, chapter, since=since)}", file=sys.stderr)
    # A failed chapter withholds nothing: its page says what happened.
    if target == "site" and not ended.errors and 0 < len(failed) < len(places.chapters()):
        ended = run("site", cores=cores, settings=settings | {"failed": failed})
        if not ended.status:
            print(f"The book, with {len(failed)} of its chapters failed: {index.as_uri()}")
        elif why := ended.why():
            print(why, file=sys.stderr)
    print("Not everything was built. What ran well is kept: the next call goes on from there.", file=sys.stderr)
    return 1


def stop_is_noted():
    """A list that is filled when somebody stops the build with Ctrl-C, which Snakemake reports like a failure."""
    stopped: list[int] = []
    as_before = signal.getsignal(signal.SIGINT)

    def note(number, frame):
        stopped.append(number)
        if callable(as_before):  # not where Ctrl-C is ignored, as in a job started with nohup
            as_before(number, frame)

    signal.signal(signal.SIGINT, note)
    return stopped


if __name__ == "__main__":
    main()
