"""Run one notebook on one model with papermill, measure it, and write the executed copy and its record whole or not at all.

The Snakefile calls this. The executed notebook carries what was measured in its metadata, under "successor_heads".
"""

import argparse
import importlib.metadata
import os
import platform
import re
import resource
import shutil
import sys
import tempfile
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import papermill
import zmq
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from bookkit.build.limits import Limits, kill_children
from successor_heads import files, progress

# Versions that decide a result. They go into the executed notebook and onto the status page.
VERSIONED = ("successor-heads", "torch", "nnsight", "transformers", "numpy", "matplotlib", "papermill", "jupyter-book")


def machine():
    """Processor, cores that this process may use, memory in bytes and system of this computer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor_name(),
        "cores": cores,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
    }


def processor_name():
    """The processor's name where the system tells it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions():
    """Version of Python and of every package in VERSIONED that is installed."""
    found = {"python": platform.python_version()}
    for package in VERSIONED:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_rss_bytes():
    """Largest resident set among the child processes that have ended: the kernel's. Linux counts KiB, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def stop_when_orphaned():
    """End this process when the one that started it is gone, so that a killed build leaves no kernel running."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        kill_children()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def takes_model(path):
    """Whether the notebook has a parameter MODEL. Without one papermill would only warn, and study another model."""
    cells = nbformat.read(path, as_version=4).cells
    return any("parameters" in cell.metadata.get("tags", []) and "MODEL =" in cell.source for cell in cells)


def failing_cell(notebook):
    """Place of the last code cell that was started. After a time-out papermill still calls it completed."""
    started = [
        place
        for place, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.metadata.get("papermill", {}).get("start_time")
    ]
    return started[-1] if started else 0


def describe(error, notebook):
    """What went wrong, and in which cell: the dict that goes into the failed copy and onto the screen."""
    if isinstance(error, PapermillExecutionError):
        place, name, text = error.cell_index, error.ename, error.evalue
    else:
        place, name, text = failing_cell(notebook), type(error).__name__, str(error)
    return {"cell": place + 1, "source": notebook.cells[place].source, "error": f"{name}: {text}".strip()}


def last_state(copy, notebook):
    """The notebook as far as it ran: papermill's working copy, or the chapter itself where a full disk cut that short."""
    try:
        return nbformat.read(copy, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError):
        return nbformat.read(notebook, as_version=4)


def take_out_chance(notebook):
    """Replace the names that are drawn by chance at every run, so that equal runs are equal files, but for their times."""
    table_ids: dict[str, str] = {}

    def numbered(found):
        return table_ids.setdefault(found[0], f"T_{len(table_ids):05}")

    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:  # a table that pandas styled
                data["text/html"] = re.sub(r"\bT_[0-9a-f]{5}(?=[ _\"])", numbered, data["text/html"])
            if "text/plain" in data:
                data["text/plain"] = re.sub(r"( at 0x)[0-9a-f]+(?=>)", r"\g<1>0", data["text/plain"])


class PortlessKernel(AsyncKernelManager):
    """A kernel that is spoken to through sockets in a folder of its own, which nobody else may enter.

    Not through ports: a free one, once found, may be taken before the kernel gets to it, and then the kernel dies.
    """

    def __init__(self, **options):
        # Of a socket's path the system takes about a hundred characters.
        long = len(os.fsencode(tempfile.gettempdir())) > zmq.IPC_PATH_MAX_LEN - len("/kernel-12345678/socket-9")
        folder = tempfile.mkdtemp(prefix="kernel-", dir="/tmp" if long else None)
        super().__init__(transport="ipc", ip=f"{folder}/socket", **options)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


class OwnKernel(PortlessKernel):
    """The kernel of this environment, whatever else is installed on this machine under the name python3."""

    @default("kernel_spec_manager")
    def _no_search(self):
        return KernelSpecManager(kernel_dirs=[])


def execute(notebook, copy, *, parameters, cell_timeout):
    """Run a notebook with papermill, which keeps what was run so far in `copy`."""
    papermill.execute_notebook(
        str(notebook.resolve()),
        str(copy.resolve()),
        parameters=parameters,
        kernel_name="python3",
        kernel_manager_class=OwnKernel,
        language="python",
        cwd=str(notebook.parent.resolve()),
        execution_timeout=cell_timeout,
        progress_bar={
            "desc": f"{parameters['MODEL']} {notebook.stem}",
            "bar_format": "{desc}: cell {n_fmt} of {total_fmt} after {elapsed}\n",
            "mininterval": 5,
        },
    )


@contextmanager
def progress_shown(name):
    """Show what long work inside a cell says of its progress, a line each, on the screen and not in the notebook."""
    with tempfile.NamedTemporaryFile("r", encoding="utf8", prefix="successor-heads-") as said:
        stop = threading.Event()

        def show():
            last = False
            while not last:
                last = stop.wait(1)
                for line in said.read().split("\n"):
                    if line := line.strip():
                        print(f"{name}: {line}", file=sys.stderr, flush=True)

        watcher = threading.Thread(target=show, daemon=True)
        watcher.start()
        os.environ[progress.VARIABLE] = said.name
        try:
            yield
        finally:
            del os.environ[progress.VARIABLE]
            stop.set()
            watcher.join()


def run(*, notebook, output, record, model, cell_timeout, minutes, memory_mb, **settings):
    """Execute `notebook` with MODEL=`model`, and REVISION, DTYPE, DEVICE and REMOTE where `settings` give them.

    Returns the error's description, or None when all went well.
    """
    chapter = notebook.stem
    failed = output.with_suffix(".failed.ipynb")
    failed.unlink(missing_ok=True)
    # What the chapter does is done in a folder of its own, and put in place when all of it is there.
    working = output.with_name(f".{chapter}.working")
    shutil.rmtree(working, ignore_errors=True)
    copy, results = working / "notebook.ipynb", working / "records"
    draft = results / record.parent.name / record.name
    draft.parent.mkdir(parents=True)
    # But for what it keeps in order to go on after an interruption, in a folder of the record's name.
    kept = record.with_suffix("")
    kept.mkdir(parents=True, exist_ok=True)
    draft.with_suffix("").symlink_to(kept.resolve())

    os.environ["SUCCESSOR_HEADS_BOOK"] = "1"
    os.environ[files.RECORDS_VARIABLE] = str(results.resolve())
    started, clock, error = datetime.now(UTC), time.monotonic(), None
    with Limits(minutes=minutes, memory_mb=memory_mb) as limits:
        try:
            if not takes_model(notebook):
                raise ValueError("no cell tagged 'parameters' sets MODEL")
            named = {name.upper(): value for name, value in settings.items() if value}
            with progress_shown(f"{model} {chapter}"):
                execute(notebook, copy, parameters={"MODEL": model} | named, cell_timeout=cell_timeout)
            check_results(results, draft)
        except Exception as caught:  # a dead kernel, a time-out and a raised error must all end as a named cell
            error = limits.exceeded or caught

    executed = last_state(copy, notebook)
    take_out_chance(executed)
    measured = {
        "chapter": chapter,
        "model": model,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 1),
        "peak_rss_bytes": peak_rss_bytes(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", machine()["cores"])),
        "machine": machine(),
        "versions": versions(),
        "result": "failed" if error else "passed",
    }
    if error:
        # Papermill puts two notes into the copy it saves; without them the cell's number is the reader's own.
        executed.cells = [c for c in executed.cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])]
        measured["error"] = describe(error, executed)
    executed.metadata["successor_heads"] = measured
    # Papermill notes absolute paths; the executed copies are published.
    executed.metadata.get("papermill", {}).update(input_path=notebook.as_posix(), output_path=output.as_posix())
    try:
        # Written where the next run clears up if this one is killed on the way.
        files.replace(copy, lambda path: nbformat.write(executed, path))
        copy.replace(failed if error else output)
        if not error:
            draft.replace(record)
    except OSError as full:
        measured.setdefault("error", describe(full, executed))
    finally:
        shutil.rmtree(working, ignore_errors=True)
        with suppress(OSError):  # unless it holds something
            kept.rmdir()
    return measured.get("error")


def check_results(results, own):
    """Raise OSError unless a notebook has written its own record into this folder, and no other's."""
    others = sorted(path.relative_to(results) for path in results.rglob("*") if path.is_file() and path != own)
    if others:
        raise FileExistsError(f"the notebook wrote a record that is not its own: {others[0]}")
    if not own.exists():
        raise FileNotFoundError(f"the notebook ended without writing its record {own.relative_to(results)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--record", type=Path, required=True, help="where the notebook has to leave its record")
    parser.add_argument("--model", required=True)
    parser.add_argument("--revision")
    parser.add_argument("--dtype")
    parser.add_argument("--device")
    parser.add_argument("--remote", type=lambda word: word == "True", help="True: the weights stay on NDIF")
    parser.add_argument("--cell-timeout", type=int, required=True, help="seconds that one cell may take")
    parser.add_argument("--minutes", type=float, default=0, help="that the whole chapter may take; 0 for any number")
    parser.add_argument("--memory-mb", type=float, default=0, help="that the chapter may hold; 0 for any amount")
    arguments = parser.parse_args()
    stop_when_orphaned()
    with progress.unfailing_output():
        sys.exit(status(arguments))


def status(arguments):
    """Run the chapter, say what went wrong, and return the exit status."""
    try:
        error = run(**vars(arguments))
    except KeyboardInterrupt:
        print(f"{arguments.notebook} was stopped.", file=sys.stderr, flush=True)
        os._exit(130)  # at once: an orderly end would first wait for the cell
    except OSError as refused:
        print(f"{arguments.notebook} on {arguments.model} could not begin: {refused}", file=sys.stderr)
        return 1
    if error:
        first_lines = "\n".join("    " + line for line in error["source"].splitlines()[:5])
        print(
            f"\n{arguments.notebook} failed on {arguments.model} in cell {error['cell']}:\n{first_lines}\n  {error['error']}",
            file=sys.stderr,
        )
    return 1 if error else 0


if __name__ == "__main__":
    main()
