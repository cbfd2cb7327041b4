"""A small project with the real Snakefile, for the tests of what builds the book."""

import importlib
import multiprocessing
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).parents[2]
# A build of tiny notebooks takes less time than to import what builds: each is a child of a process that has done that.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["bookkit.build.__main__", "snakemake.cli"])
RECORD = """
import os
import rooms
from successor_heads import files
chapter = {chapter!r}
files.write_json(files.path_of(MODEL, chapter), {{"chapter": chapter, "findings": {{}}}})
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

    def build(self, *options, environment=None, **target):
        """Build the notebooks, or another target; returns the finished process and the chapters that ran, in order of their names."""
        self.runs_log.write_text("")
        _, _, module, *arguments = self.command(*options, **target)
        done = self.run(module, *arguments, environment=environment)
        return done, sorted(line.split()[0] for line in self.runs_log.read_text().splitlines())

    def run(self, module, *arguments, environment=None):
        """Run a module's `main` in this project, in a process of its own; returns what `subprocess.run` would."""
        # Through pipes: a process that may write no large file, as some tests have it, could not write into one.
        told = [self.folder / "stdout", self.folder / "stderr"]
        for pipe in told:
            os.mkfifo(pipe)
        process = PROCESSES.Process(
            target=_run_here,
            args=(module, arguments, self.folder, self.environment | (environment or {}), told),
        )
        with ThreadPoolExecutor() as readers:
            texts = [readers.submit(pipe.read_text) for pipe in told]
            process.start()
            process.join(timeout=1200)
            process.kill()
            for pipe in told:
                with suppress(OSError):  # a process that ended early has not opened it
                    os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        for pipe in told:
            pipe.unlink()
        return subprocess.CompletedProcess(arguments, process.exitcode, *(text.result() for text in texts))

    def executed(self, chapter, model="grown__pythia"):
        return self.folder / "_build" / "executed" / model / f"{chapter}.ipynb"


def _run_here(module, arguments, folder, environment, told):
    """Be the process that runs `main`."""
    for descriptor, path in zip((1, 2), told):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    found = importlib.import_module(module)
    (importlib.import_module(f"{module}.__main__") if hasattr(found, "__path__") else found).main()
