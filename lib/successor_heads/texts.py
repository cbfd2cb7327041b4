"""Text for a model to read: where it comes from, and how it is cut into contexts.

::

    contexts = texts.cut(model.tokenizer, texts.read("documentation"), n=32, length=256, seed=0)
"""

import ast
import random
import sysconfig
from collections import Counter
from importlib.metadata import distributions
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from huggingface_hub import hf_hub_download
from jaxtyping import Int
from torch import Tensor

from successor_heads import models
from successor_heads.errors import UserError

PILE: dict[str, Any] = {  # keywords of hf_hub_download
    "repo_id": "NeelNanda/pile-10k",
    "revision": "127bfedcd5047750df5ccf3a12979a47bfa0bafa",
    "filename": "data/train-00000-of-00001-4746b8785c874cc7.parquet",
}
# Installed with this package, and read by none of the grown models.
DOCUMENTED = (
    "scipy",
    "seaborn",
    "IPython",
    "huggingface_hub",
    "networkx",
    "urllib3",
    "requests",
    "http",
    "xml",
    "json",
    "concurrent",
)
GENERATED_SEED = 20_000  # no grown model has read documents of this seed
TEXT_FILES = (".txt", ".md", ".rst")


class Text(NamedTuple):
    """Documents, and whether people wrote them."""

    name: str
    documents: list[str]
    natural: bool


def read(source: str, *, seed: int = 0) -> Text:
    """The documents of a source, in an order that the seed decides.

    "documentation": of installed packages, what no grown model has read: docstrings of some and descriptions
    of all; "generated": held-out text of the kind that grown models were grown on; "pile": a sample of the
    Pile, from the hub; else a folder of text files (.txt, .md, .rst), and of what lies in it. Raises UserError
    when there is nothing to read.
    """
    match source:
        case "documentation":
            documents, natural = _docstrings() + _descriptions(), True
        case "generated":
            from successor_heads.growing import corpus

            documents = [document.text for document in corpus.generated(seed=GENERATED_SEED + seed, n=6_000)]
            natural = False
        case "pile":
            documents, natural = _pile(), True
        case _:
            documents, natural = _folder(Path(source).expanduser()), True
    random.Random(seed).shuffle(documents)
    return Text(Path(source).name, documents, natural)  # of a folder, not where it lies


def _docstrings(per_package: int = 150_000) -> list[str]:
    paths, found = sysconfig.get_paths(), []
    for package in DOCUMENTED:
        folders = [Path(paths[key]) / package for key in ("purelib", "stdlib")]
        left = per_package
        for path in (path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*.py"))):
            if left <= 0:
                break
            if "tests" not in path.parts:
                texts = _docstrings_of(path)
                found += texts
                left -= sum(map(len, texts))
    return found


def _descriptions() -> list[str]:
    """What packages say of themselves, as on their page in the package index."""
    # Metadata is an email whose body is the description; what importlib promises of it leaves the body out.
    found = {package.name: package.metadata.get_payload() for package in distributions()}  # type: ignore[attr-defined]
    return [text for name, text in sorted(found.items()) if len(text.strip()) > 400]


def _docstrings_of(path: Path) -> list[str]:
    """Docstrings of a file that are long enough to have a story."""
    try:
        tree = ast.parse(path.read_text(encoding="utf8"))
    except (SyntaxError, ValueError):  # some packages ship templates that are not Python
        return []
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
    return [text for node in nodes if len(text := ast.get_docstring(node) or "") > 400]


def _pile() -> list[str]:
    with models.explained(PILE["repo_id"], "the text", PILE["revision"]):
        path = hf_hub_download(**PILE, repo_type="dataset")
        return pd.read_parquet(path, columns=["text"])["text"].tolist()


def _folder(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {folder}: name a folder of text files, or one of documentation, generated and pile."
        )
    paths = sorted(path for path in folder.rglob("*") if path.suffix in TEXT_FILES)
    if not paths:
        raise UserError(f"{folder} holds no text files ({', '.join(TEXT_FILES)}): name another folder.")
    documents = []
    for path in paths:
        try:
            documents.append(path.read_text(encoding="utf8"))
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not UTF-8 (at byte {error.start}): convert it, or take it out of the folder."
            ) from error
    return documents


def cut(tokenizer, text: Text, *, n: int, length: int, seed: int) -> Int[Tensor, "context position"]:
    """`n` contexts of `length` tokens from all over the text, fewer if there is no more of it.

    Documents stand one after the other, with the end-of-text token between them if there is one; a
    tokenizer that starts texts with a token of its own starts contexts with it. Contexts of one document
    are alike, so no document starts a second one while another has started none. Raises UserError when
    the text is shorter than one context.
    """
    if length < 2:
        raise UserError(f"A context of {length} tokens has no prefix with a next token: choose 2 or more.")
    bare, usual = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (False, True))
    start = usual[:1] if len(usual) > len(bare) and usual[0] == tokenizer.bos_token_id else []
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
    return torch.cat([torch.tensor(start, dtype=torch.long).expand(len(chosen), -1), windows[chosen]], 1)
