"""Where results lie, and how a file is written: whole or not at all.

Only the standard library is imported, so that what runs without the book's environment can use it as well.
"""

import errno
import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from successor_heads.errors import UserError

# The book's own model: what is studied where no other is named.
DEFAULT_MODEL = "grown/pythia"
# Records lie here, unless the variable names another folder.
RECORDS, RECORDS_VARIABLE = "_build/records", "SUCCESSOR_HEADS_RECORDS"
# Bytes. File systems take 255, and some names have a prefix or an ending as well.
LONGEST_SLUG = 180


def with_home(path: str) -> Path:
    """The path, with the user's home folder for a leading ~. Raises UserError for a user who has none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # in a container, say, that runs under a number to which no user belongs
        raise UserError(f"There is no home folder that {path} could begin with: write the path out in full.") from error


def slug(model_name: str) -> str:
    """A model's name as the name of a folder: grown/pythia is grown__pythia.

    A name too long for that, or with characters that Snakemake, a shell or a file system take for something else, such
    as braces, becomes its end without them and a checksum, which keeps it apart from others.
    """
    plain = model_name.strip("/").replace("/", "__")
    if re.fullmatch(r"[\w.-]+", plain) and len(os.fsencode(plain)) <= LONGEST_SLUG:
        return plain
    end = re.sub(r"[^\w.-]+", "-", plain)[-LONGEST_SLUG // 4 :]  # a character can take four bytes
    return f"{end}-{hashlib.sha256(os.fsencode(model_name)).hexdigest()[:8]}"


def path_of(model_name: str, chapter: str) -> Path:
    """Where a chapter's record on a model lies: in $SUCCESSOR_HEADS_RECORDS, or else in _build/records."""
    return Path(os.environ.get(RECORDS_VARIABLE, RECORDS)) / slug(model_name) / f"{chapter}.json"


def replace(path: str | Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a draft beside `path`, and put it in its place: `path` holds the old content or the new.

    A link stays, and what it leads to is written. A pipe or a device is written to as it is. Whatever goes wrong, no
    draft is left. Raises what `write` raises, and OSError.
    """
    if _is_stream(path):
        write(Path(path))
        return
    path = Path(os.path.realpath(path))
    draft = _draft_of(path)
    try:
        write(draft)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def check_target(path: Path) -> None:
    """Try whether a file can be written there, before the work whose result it will hold. Raises UserError."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: name a file.")
        if not path.parent.is_dir():
            raise UserError(f"There is no folder {path.parent} for {path.name}: make it, or name another file.")
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not _is_stream(path):
            draft = _draft_of(Path(os.path.realpath(path)))
            with draft.open("wb"):
                draft.unlink()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another place.") from error


def _is_stream(path: str | Path) -> bool:
    """Whether this is a pipe or a device, of which nothing can take the place."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _draft_of(path: Path) -> Path:
    """Where a draft of the file lies: in the same folder, because a rename is atomic only within one file system.

    By a name of its own: two containers may share a folder, and the number of a process.
    """
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}")


def write_json(path: str | Path, payload: Mapping[str, Any]) -> None:
    """Write `payload` as `write_text` does.

    Tensors, arrays and tables are written as lists; NaN and infinity as null. Raises UserError
    when the folder cannot be written to.
    """
    write_text(path, as_json(payload))


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 so that `path` holds the old content or the new, never half of it; its folder is made if need be.

    Raises UserError when the folder cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, lambda draft: draft.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another place.") from error


def as_json(payload: Mapping[str, Any]) -> str:
    """The text that `write_json` writes."""
    return json.dumps(_plain(payload), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """`value` in the types that JSON has. Tables and tensors are told by what they can do: their libraries load slowly."""
    match value:
        case object(to_dict=rows_of):  # a pandas table
            return _plain(rows_of("records"))
        case object(tolist=as_list):  # a tensor, an array or one of NumPy's numbers
            return _plain(as_list())
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case float():
            return value if math.isfinite(value) else None
        case _:
            return value
