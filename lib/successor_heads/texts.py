"""Text for a model to read: where it comes from, and how it is cut into contexts.

::

    contexts = texts.cut(model.tokenizer, texts.read("documentation"), n=32, length=256, seed=0).tokens
"""

import functools
import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, metadata
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import LocalEntryNotFoundError
from jaxtyping import Int
from torch import Tensor

from successor_heads import files, models, ordinals, prompts
from successor_heads.errors import UserError
from successor_heads.growing import corpus

PILE: dict[str, Any] = {  # keywords of hf_hub_download
    "repo_id": "NeelNanda/pile-10k",
    "revision": "127bfedcd5047750df5ccf3a12979a47bfa0bafa",
    "filename": "data/train-00000-of-00001-4746b8785c874cc7.parquet",
}
# The documentation is that of packages which this one needs, by name, so that the lock decides what it says and not
# what else is installed. None of it was read by the grown models. Docstrings are taken of these, by name of import:
DOCUMENTED = ("scipy", "seaborn", "IPython", "huggingface_hub", "networkx", "sympy", "traitlets", "fsspec", "joblib")
PER_PACKAGE = 150_000  # characters of docstrings
# And what these say of themselves on their page in the package index, by name of distribution. Packages that only some
# systems need are left out, and so is torch, whose builds for CPU and GPU describe themselves each in its own way.
DESCRIBED = tuple(
    """
    annotated-doc annotated-types anyio asttokens certifi click cloudpickle comm contourpy cycler executing filelock
    fonttools fsspec h11 httpcore httpx huggingface-hub idna importlib-metadata ipython ipywidgets jaxtyping jedi jinja2
    joblib jupyterlab-widgets markdown-it-py markupsafe matplotlib narwhals networkx nnsight numpy packaging pandas
    parso pillow prompt-toolkit psutil pure-eval pyarrow pydantic pyparsing python-dateutil pyyaml regex rich
    safetensors scikit-learn scipy seaborn setuptools stack-data sympy threadpoolctl tokenizers tqdm traitlets
    transformers typer typing-extensions typing-inspection wadler-lindig wcwidth zipp
    """.split()
)
GENERATED_SEED = 20_000  # no grown model has read documents of this seed
TEXT_FILES = (".txt", ".md", ".rst")


class Text(NamedTuple):
    """Documents, whether people wrote them, and a `note` for the reader where they are not all that was asked for."""

    name: str
    documents: list[str]
    natural: bool
    note: str = ""

    @property
    def digest(self) -> str:
        """Digest of the documents, whatever their order: equal where two machines have read the same text."""
        each = sorted(hashlib.sha256(document.encode()).digest() for document in self.documents)
        return hashlib.sha256(b"".join(each)).hexdigest()


class Unreachable(UserError):
    """A text of the hub that is not on this machine and cannot be fetched now."""


def read(source: str, *, seed: int = 0) -> Text:
    """The documents of a source, in an order that the seed decides.

    "documentation": of packages that this one needs, docstrings of some and descriptions of most, the same wherever
    the same versions are installed; "generated": held-out text of the kind that grown models were grown on; "pile":
    a sample of the Pile, from the hub; else a folder of text files (.txt, .md, .rst, in UTF-8) in it
    and in its folders; the `note` tells what else lies there.
    Raises UserError when there is nothing to read, of the kind Unreachable when the hub is needed and does not answer.
    """
    note = ""
    match source:
        case "documentation":
            documents, natural = [*_docstrings(), *_descriptions()], True
        case "generated":
            documents = [document.text for document in corpus.generated(seed=GENERATED_SEED + seed, n=6_000)]
            natural = False
        case "pile":
            documents, natural = _pile(), True
        case _:
            natural = True
            documents, note = _folder(files.with_home(source))
    random.Random(seed).shuffle(documents)
    return Text(Path(source).name, documents, natural, note)  # of a folder, not where it lies


def read_all(sources: Sequence[str], *, seed: int = 0) -> list[Text]:
    """Each source as `read` reads it, and each text once; where the hub does not answer, documentation stands in.

    The `note` of such a text says so. For whoever would rather read something than nothing, such as a chapter.
    """
    found: dict[str, Text] = {}
    for source in sources:
        try:
            text = read(source, seed=seed)
        except Unreachable as error:
            text = read("documentation", seed=seed)._replace(note=f"{error} The documentation was read in its place.")
        found.setdefault(text.name, text)
    return list(found.values())


@functools.cache  # they are the same all along, and a chapter may ask for them twice
def _docstrings() -> tuple[str, ...]:
    found: list[str] = []
    for package in DOCUMENTED:
        left = PER_PACKAGE
        # Systems differ in whether capitals sort first, and in the stroke between folders.
        for path in sorted(_folder_of(package).rglob("*.py"), key=lambda path: path.as_posix()):
            if left <= 0:
                break
            if "tests" not in path.parts:
                texts = corpus.docstrings_of(path, longer_than=400)  # long enough to have a story
                found += texts
                left -= sum(map(len, texts))
    return tuple(found)


def _folder_of(package: str) -> Path:
    """Where a package is installed; it is not imported. Raises UserError when it is not there."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"The package {package}, whose documentation is read, is not installed: install this one anew.")
    return Path(spec.submodule_search_locations[0])


def _descriptions() -> Iterator[str]:
    """What packages say of themselves, as on their page in the package index."""
    for name in DESCRIBED:
        try:
            yield metadata(name)["Description"]
        except PackageNotFoundError as error:
            raise UserError(
                f"The package {name}, whose description is read, is not installed: install this one anew."
            ) from error


def _pile() -> list[str]:
    request = {**PILE, "repo_type": "dataset"}
    try:
        path = hf_hub_download(**request, local_files_only=True)
    except LocalEntryNotFoundError:
        try:
            # One question, answered or not within seconds. The download itself would ask six times over half a minute.
            with models.quiet_hub():
                get_hf_file_metadata(hf_hub_url(**request), timeout=5)
        except Exception as error:  # whatever a network, a proxy or the hub answers
            raise Unreachable(
                f"The sample of the Pile ({PILE['repo_id']}) is not on this machine and the hub does not hand it out "
                f"({models.reason(error)})."
            ) from error
        with models.explained(PILE["repo_id"], "the text", PILE["revision"]):
            path = hf_hub_download(**request)
    with models.explained(PILE["repo_id"], "the text", PILE["revision"]):
        return pd.read_parquet(path, columns=["text"])["text"].tolist()


def _folder(folder: Path) -> tuple[list[str], str]:
    """The documents of a folder, and a sentence about what lies there and was left out, if anything was."""
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {folder}: name a folder of text files, or one of documentation, generated and pile."
        )
    found = sorted(folder.rglob("*"))
    named = [path for path in found if path.suffix.lower() in TEXT_FILES]
    paths = [path for path in named if path.is_file()]
    if not paths:
        raise UserError(f"{folder} holds no text files ({', '.join(TEXT_FILES)}): name another folder.")
    documents = []
    for path in paths:
        try:
            # Some editors begin a file with a byte order mark, which is none of the text.
            documents.append(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not UTF-8 (at byte {error.start}): convert it, or take it out of the folder."
            ) from error
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}): take it out of the folder.") from error
    read = set(paths)
    others = [path for path in found if path.is_file() and path not in read]
    no_files = [path for path in named if not path.is_file()]  # folders of such a name, and links that lead nowhere
    left_out = [path.relative_to(folder).as_posix() for path in sorted(others + no_files)]
    if not left_out:
        return documents, ""
    shown = ", ".join(left_out[:3]) + (", …" if len(left_out) > 3 else "")
    return documents, (
        f"Of {folder.name}, text files read: {len(documents)}; left out, as no files of the kinds "
        f"{', '.join(TEXT_FILES)}: {len(left_out)} ({shown})."
    )


def as_read(tokenizer, token_ids: Int[Tensor, " token"]) -> list[str]:
    """What each token adds to the text, leading space included; a token that starts or ends texts is "¶"."""
    special = set(tokenizer.all_special_ids)
    shown = prompts.token_texts(tokenizer, token_ids)
    return ["¶" if int(token) in special else text for token, text in zip(token_ids, shown, strict=True)]


class Contexts(NamedTuple):
    """Contexts cut from a text, and of each the number of the document in which it starts."""

    tokens: Int[Tensor, "context position"]
    document: Int[np.ndarray, " context"]


def cut(tokenizer, text: Text, *, n: int, length: int, seed: int) -> Contexts:
    """`n` contexts of `length` tokens from all over the text, fewer if there is no more of it.

    Documents stand one after the other, with the end-of-text token between them if there is one; a
    tokenizer that starts texts with tokens of its own starts contexts with them. Contexts of one document
    are alike, so no document starts a second one while another has started none. Raises UserError when
    the text is shorter than one context.
    """
    if length < 2:
        raise UserError(f"A context of {length} tokens has no prefix with a next token: choose 2 or more.")
    start = ordinals.tokens_in_front(tokenizer)
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    room = length - len(start)
    stream: list[int] = []
    origin: list[int] = []  # of each token, the number of its document
    for number, document in enumerate(text.documents):
        # Twice as many windows and documents as are asked for, so that there is something to choose from.
        if len(stream) >= 2 * n * length and number >= 2 * n:
            break
        if document.strip():
            stream += tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"] + end
            origin += [number] * (len(stream) - len(origin))
    if len(stream) < room:
        raise UserError(
            f"The text '{text.name}' holds {len(stream)} tokens, fewer than the {length} of one context: "
            "give more text, or choose shorter contexts."
        )
    windows = torch.tensor(stream[: len(stream) // room * room]).view(-1, room)
    turns: list[tuple[int, int]] = []  # of each window in random order, how many of its document came before it
    before: Counter[int] = Counter()
    for window in torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed)).tolist():
        document = origin[window * room]
        turns.append((before[document], window))
        before[document] += 1
    chosen = torch.tensor([window for _, window in sorted(turns, key=itemgetter(0))[:n]]).sort().values
    tokens = torch.cat([torch.tensor(start, dtype=torch.long).expand(len(chosen), -1), windows[chosen]], 1)
    return Contexts(tokens, np.array([origin[window * room] for window in chosen.tolist()]))
