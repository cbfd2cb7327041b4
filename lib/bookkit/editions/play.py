"""Play Colab: each chapter alone in an empty folder, in an environment like Colab's, with a build of the package to install.

    make colab                                            # every chapter, some minutes
    python -m bookkit.editions.play --work DIR 01-find-heads

Prints what the first cell took, with and without pip's downloads, and how long each chapter ran. The exit status is 1 when
a chapter fails, when the install takes over a minute of a processor beyond the downloads, or when it touches what Colab has loaded
already: then the reader would have to restart.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from packaging.utils import canonicalize_name

from bookkit import places
from bookkit.build.execute import PortlessKernel
from bookkit.editions import colab, package

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
# What Colab brings.
BROUGHT = HERE / "colab-requirements.txt"
NAME = "successor-heads"
# What a notebook has loaded before its first cell, or may not change under the reader's hands.
KEPT = ("torch", "numpy", "pandas", "scipy", "matplotlib", "ipython", "ipykernel", "ipywidgets", "jupyter-client", "tornado", "pyzmq", "traitlets", "psutil", "requests")  # fmt: skip
LONGEST_INSTALL_SECONDS = 60


def run(*command, **options):
    """Run a command; returns what it printed. Raises CalledProcessError."""
    return subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def build_package(wheels):
    """Build the package's wheel into the folder; returns it. From a copy, because a build leaves folders behind."""
    source = package.copy(wheels.parent / "source")
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        wheels,
        source,
    )
    return next(wheels.glob("*.whl"))


def make_environment(python, folder):
    """An environment with what Colab brings; returns its Python."""
    run(python, "-m", "venv", "--clear", folder)
    inside = folder / "bin" / "python"
    # On the machines of the tests, PyTorch's own page has the build without CUDA.
    torch = next(line for line in BROUGHT.read_text().splitlines() if line.startswith("torch=="))
    run(
        inside,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--retries",
        "1",
        "--no-deps",
        "--find-links",
        "https://download.pytorch.org/whl/cpu/torch/",
        torch,
    )
    run(inside, "-m", "pip", "install", "--quiet", "--requirement", BROUGHT)
    return inside


def versions(python):
    """Version of each installed package."""
    return {
        canonicalize_name(package["name"]): package["version"]
        for package in json.loads(run(python, "-m", "pip", "list", "--format", "json"))
    }


def download(python, wheels):
    """Bring what the package needs and Colab lacks into the folder; returns the names, and the seconds that it took."""
    started = time.monotonic()
    report = json.loads(
        run(python, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-", "--find-links", wheels, NAME)
    )
    needed = [
        f"{part['metadata']['name']}=={part['metadata']['version']}"
        for part in report["install"]
        if part["metadata"]["name"] != NAME
    ]
    run(python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, *needed)
    return needed, time.monotonic() - started


def execute(notebook, folder):
    """Run a notebook alone in a folder; returns its seconds, those of its first code cell, the processor's there, and what went wrong.

    What the first cell's pip took of the processor does not depend on what else the machine does.
    """
    folder.mkdir(parents=True)
    shutil.copy(notebook, folder)
    alone = nbformat.read(folder / notebook.name, as_version=4)
    # From the local build, wherever the book may be published.
    install = next(cell for cell in alone.cells if cell.get("id") == "install")
    install.source = colab.CELL.format(otherwise=colab.INSTALL.format(source=NAME))
    marks: list[tuple[float, float]] = []
    error = None

    def mark(**_):
        kernel = client.km.provisioner.pid  # type: ignore[union-attr]  # a cell has run, so there is a kernel
        spent = psutil.Process(kernel).cpu_times()
        marks.append((time.monotonic(), spent.children_user + spent.children_system))

    client = NotebookClient(
        alone,
        kernel_name="colab",
        kernel_manager_class=PortlessKernel,
        timeout=1800,
        resources={"metadata": {"path": str(folder)}},
        on_cell_executed=mark,
    )
    with client.setup_kernel():
        started = time.monotonic()
        try:
            for place, cell in enumerate(alone.cells):
                client.execute_cell(cell, place)
        except Exception as caught:  # whatever it was, the other chapters are played too
            error = str(caught)[-1500:]
    first, processor = marks[0] if marks else (started, 0.0)
    return time.monotonic() - started, first - started, processor, error


def play(chapters, *, python, work):
    """Play these chapters; returns what went wrong, a sentence each."""
    shutil.rmtree(work, ignore_errors=True)
    wheels = work / "wheels"
    build_package(wheels)
    inside = make_environment(python, work / "env")
    before = versions(inside)
    needed, seconds = download(inside, wheels)
    print(
        f"pip needs {len(needed)} packages that Colab lacks, {seconds:.0f} s with the downloads: {', '.join(needed)}",
        flush=True,
    )

    kernel = work / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        json.dumps(
            {
                "argv": [str(inside), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": "Colab",
                "language": "python",
            }
        )
    )
    os.environ["JUPYTER_PATH"] = str(work / "jupyter")
    # The cell says what it says on Colab. Pip finds the build, and what was downloaded, in one folder.
    os.environ |= {"PIP_FIND_LINKS": str(wheels), "PIP_NO_INDEX": "1", "PATH": f"{inside.parent}:{os.environ['PATH']}"}
    os.environ.pop("PYTHONPATH", None)

    wrong = []
    for place, chapter in enumerate(chapters):
        took, first, processor, error = execute(ROOT / "notebooks" / f"{chapter}.ipynb", work / "alone" / chapter)
        print(
            f"{chapter}: {took:.0f} s in all, first cell {first:.1f} s ({processor:.1f} s of a processor){', FAILED' if error else ''}",
            flush=True,
        )
        wrong += [f"{chapter} failed: {error}"] if error else []
        if place == 0:
            after = versions(inside)
            changed = {
                name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version
            }
            print(
                f"changed by the install: {', '.join(f'{name} {old} -> {new}' for name, (old, new) in changed.items()) or 'nothing'}",
                flush=True,
            )
            wrong += [f"the install changed {name}, which is loaded already" for name in KEPT if name in changed]
            wrong += [f"{NAME} was not installed by the first cell"] if NAME not in after else []
            wrong += (
                [f"the install took {processor:.0f} s of a processor beyond the downloads"]
                if processor > LONGEST_INSTALL_SECONDS
                else []
            )
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", default=places.chapters(ROOT))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / "colab")
    arguments = parser.parse_args()
    wrong = play(arguments.chapters, python=arguments.python, work=arguments.work.resolve())
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
