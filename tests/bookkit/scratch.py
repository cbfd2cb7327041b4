"""A small project with the real Snakefile, for the tests of what builds the book."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).parents[2]
RECORD = """
import json, os, pathlib
import rooms
chapter = {chapter!r}
folder = pathlib.Path(os.environ["SUCCESSOR_HEADS_RECORDS"]) / MODEL.replace("/", "__")
(folder / f"{{chapter}}.json").write_text(json.dumps({{"chapter": chapter, "findings": {{}}}}))
with open(os.environ["RUNS"], "a") as log:
    log.write(f"{{chapter}} {{MODEL}} {{os.environ['OMP_NUM_THREADS']}}\\n")
"""


class Scratch:
    """A small project with the real Snakefile; remembers which notebooks ran."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copy(ROOT / "Snakefile", folder)
        # A library of its own, under another name than the book's, which the tools themselves use.
        self.library = folder / "lib" / "rooms"
        self.library.mkdir(parents=True)
        (folder / "notebooks").mkdir()
        for name in ("requirements.lock", "_config.yml", "lib/rooms/__init__.py"):
            (folder / name).write_text("# first\n")
        # Larger than the size up to which Snakemake compares content by itself.
        (self.library / "weights.safetensors").write_bytes(b"0" * 3_000_000)
        self.runs_log = folder / "runs.txt"
        self.started = []
        # The tools are those of this checkout, whatever else is installed.
        path = os.pathsep.join([str(folder / "lib"), str(ROOT / "lib")])
        self.environment = {**os.environ, "RUNS": str(self.runs_log), "PYTHONPATH": path}

    def notebook(self, chapter, *cells, record=True):
        sources = [*cells, RECORD.format(chapter=chapter)] if record else cells
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        parameters = nbformat.v4.new_code_cell('MODEL = "grown/pythia"', metadata={"tags": ["parameters"]})
        notebook.cells.insert(0, parameters)
        # Cells' ids are random; the same text must be the same file.
        for place, cell in enumerate(notebook.cells):
            cell.id = f"cell-{place}"
        nbformat.write(notebook, self.folder / "notebooks" / f"{chapter}.ipynb")

        self.list_chapters()

    def list_chapters(self, *pages):
        """Put every notebook that is there, and these pages, into the table of contents."""
        chapters = [{"file": f"notebooks/{path.stem}"} for path in sorted((self.folder / "notebooks").glob("*.ipynb"))]
        chapters += [{"file": page} for page in pages]
        toc = {"format": "jb-book", "root": "book/index", "parts": [{"caption": "Chapters", "chapters": chapters}]}
        (self.folder / "_toc.yml").write_text(yaml.safe_dump(toc))

    def command(self, *options, target="notebooks"):
        return [sys.executable, "-m", "bookkit.build", *options, target]

    def start(self, *options):
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.started.append(subprocess.Popen(self.command(*options), cwd=self.folder, env=self.environment, **pipes))
        return self.started[-1]

    def build(self, *options, **target):
        """Build the notebooks, or another target; returns the finished process and the chapters that ran, in order of their names."""
        self.runs_log.write_text("")
        done = subprocess.run(
            self.command(*options, **target),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=1200,
        )
        return done, sorted(line.split()[0] for line in self.runs_log.read_text().splitlines())

    def executed(self, chapter, model="grown__pythia"):
        return self.folder / "_build" / "executed" / model / f"{chapter}.ipynb"
