"""Where results lie, and how a file is written: whole or not at all.

Only the standard library is imported, so that what runs without the book's environment can use it as well.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from successor_heads.errors import UserError

# The book's own model: what is studied where no other is named.
DEFAULT_MODEL = "grown/pythia"
# Records lie here, unless the variable names another folder.
RECORDS, RECORDS_VARIABLE = "_build/records", "SUCCESSOR_HEADS_RECORDS"


def with_home(path: str) -> Path:
    """The path, with the user's home folder for a leading ~. Raises UserError for a user who has none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # in a container, say, that runs under a number to which no user belongs
        raise UserError(f"There is no home folder that {path} could begin with: write the path out in full.") from error


def slug(model_name: str) -> str:
    """A model's name as the name of a folder: grown/pythia is grown__pythia."""
    return model_name.strip("/").replace("/", "__")


def path_of(model_name: str, chapter: str) -> Path:
    """Where a chapter's record on a model lies: in $SUCCESSOR_HEADS_RECORDS, or else in _build/records."""
    return Path(os.environ.get(RECORDS_VARIABLE, RECORDS)) / slug(model_name) / f"{chapter}.json"


def replace(path: str | Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a draft beside `path`, and put it in its place: `path` holds the old content or the new.

    Whatever goes wrong, no draft is left. Raises what `write` raises, and OSError.
    """
    path = Path(path)
    # In the same folder, because a rename is atomic only within one file system.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(draft)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: str | Path, payload: Mapping[str, Any]) -> None:
    """Write `payload` so that `path` holds the old content or the new, never half of it; its folder is made if need be.

    Tensors, arrays and tables are written as lists; NaN and infinity as null. Raises UserError
    when the folder cannot be written to.
    """
    path = Path(path)
    text = json.dumps(_plain(payload), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, lambda draft: draft.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another place.") from error


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
