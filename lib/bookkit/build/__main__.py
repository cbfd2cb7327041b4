"""Run the Snakefile under a lock that dies with this process, then say what failed and where the book is.

    python -m bookkit.build --model grown/pythia --cores 2 --cell-timeout 900

Snakemake's own lock is a file that outlives a killed build and then has to be removed by hand. The lock taken here
is the operating system's: two builds never run at once, and a killed one leaves nothing behind.
"""

import argparse
import signal
import sys
from pathlib import Path

import nbformat
from snakemake.cli import main as snakemake

from bookkit import places
from bookkit.build.workflow import OPTIONS, take_lock


def failed_chapters(slug):
    """The chapters that have not run well on this model, after a build that tried them all."""
    return [chapter for chapter in places.chapters() if not Path(places.executed(slug, chapter)).exists()]


def sentence(slug, chapter):
    """What failed in a chapter, where, and how."""
    path = Path(places.failed(slug, chapter))
    if not path.exists():
        return f"{places.notebook(chapter)}: it left no word, see what was printed above"
    run = nbformat.read(path, as_version=4).metadata["successor_heads"]
    where, error = f"cell {run['error']['cell']}", run["error"]["error"]
    return f"{places.notebook(chapter)} on {run['model']}, {where}: {error} (kept as {path})"


def run(target, *, cores, settings):
    """Have Snakemake make a target; returns its exit status."""
    snakefile = "grow.smk" if target == "grown" else "Snakefile"
    try:
        snakemake([*OPTIONS, "--snakefile", snakefile, "--cores", cores, target, "--config", *settings])
    except SystemExit as ended:
        return ended.code


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="", help=f"grown/NAME, a hub id or a folder; {places.DEFAULT_MODEL} if left empty"
    )
    parser.add_argument("--revision", default="", help="branch, tag or commit of a hub model")
    parser.add_argument("--dtype", default="", help="float32, float16 or bfloat16")
    parser.add_argument("--device", default="", help="cpu or cuda")
    parser.add_argument("--cores", default="2")
    parser.add_argument("--cell-timeout", default="900", help="seconds that one cell may take")
    parser.add_argument("--books", default="", help="folder of books that the models of chapter 6 read as well")
    parser.add_argument("target", nargs="?", default="site", choices=["site", "notebooks", "grown"])
    arguments = parser.parse_args()
    model = arguments.model or places.DEFAULT_MODEL
    # What is left empty stays as the chapter has it.
    named = {
        name: getattr(arguments, name) for name in ("revision", "dtype", "device", "books") if getattr(arguments, name)
    }
    settings = [f"model={model}", f"cell_timeout={arguments.cell_timeout}"]
    settings += [f"{name}={value}" for name, value in named.items()]

    lock = take_lock()
    if lock is None:
        sys.exit("Another build is running in this folder: wait for it to end, or stop it.")
    subject = places.subject(model)
    slug, index = places.slug(subject), Path(places.index(subject)).resolve()
    stopped = stop_is_noted()
    status = run(arguments.target, cores=arguments.cores, settings=settings)
    if not status:
        if arguments.target == "site" and not index.exists():
            sys.exit(f"Everything ran, and yet {index} is not there: run make clean, then make book again.")
        if arguments.target == "site":
            print(f"The book: {index.as_uri()}")
        return
    if arguments.target == "grown" or stopped:
        sys.exit("Not everything was made. What is done is kept: the next call goes on from there.")
    failed = failed_chapters(slug)
    for chapter in failed:
        print(f"FAILED  {sentence(slug, chapter)}", file=sys.stderr)
    # A failed chapter withholds nothing: its page says what happened.
    if arguments.target == "site" and 0 < len(failed) < len(places.chapters()):
        status = run("site", cores=arguments.cores, settings=[*settings, f"failed={','.join(failed)}"])
        if not status:
            print(f"The book, with {len(failed)} of its chapters failed: {index.as_uri()}")
    sys.exit("Not everything was built. What ran well is kept: the next call goes on from there.")


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
