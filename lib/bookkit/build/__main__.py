"""Run the Snakefile under a lock that dies with this process, then say what failed or where the book is.

    python -m bookkit.build --model grown/pythia --cores 2 --cell-timeout 900

Snakemake's own lock is a file that outlives a killed build and then has to be removed by hand. The lock taken here
is the operating system's: two builds never run at once, and a killed one leaves nothing behind.
"""

import argparse
import sys
from pathlib import Path

import nbformat
from snakemake.cli import main as snakemake

from bookkit import places
from bookkit.build.workflow import OPTIONS, take_lock


def failures():
    """One sentence for each notebook whose last run failed."""
    for path in sorted(Path("_build/executed").rglob("*.failed.ipynb")):
        run = nbformat.read(path, as_version=4).metadata["successor_heads"]
        yield f"notebooks/{run['chapter']}.ipynb on {run['model']}, cell {run['error']['cell']}: {run['error']['error']} (kept as {path})"


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
    settings = ["--config", f"model={model}", f"cell_timeout={arguments.cell_timeout}"]
    settings += [f"{name}={value}" for name, value in named.items()]

    lock = take_lock()
    if lock is None:
        sys.exit("Another build is running in this folder: wait for it to end, or stop it.")
    snakefile = "grow.smk" if arguments.target == "grown" else "Snakefile"
    try:
        snakemake([*OPTIONS, "--snakefile", snakefile, "--cores", arguments.cores, arguments.target, *settings])
    except SystemExit as ended:
        status = ended.code
    if status:
        for sentence in failures():
            print(f"FAILED  {sentence}", file=sys.stderr)
        sys.exit("Not everything was built. What ran well is kept: the next call goes on from there.")
    if arguments.target == "site":
        index = Path(places.index(places.subject(model))).resolve()
        if not index.exists():
            sys.exit(f"Everything ran, and yet {index} is not there: run make clean, then make book again.")
        print(f"The book: {index.as_uri()}")


if __name__ == "__main__":
    main()
