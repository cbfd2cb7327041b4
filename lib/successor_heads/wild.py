"""What a head does in text: where it matters most of all heads, and for what.

    contexts = wild.cut(model.tokenizer, wild.read("documentation"), n=32, length=256, seed=0)
    effects, reference = wild.measure(model, contexts, seed=0)
    won = wild.winners(effects.mean) == layer * n_heads + head
    wild.behaviour([" Wednesday", " on"], " Thursday")          # 'successorship'

A *prefix* is the start of a context up to some token; the *answer* is the token that comes next in the text.
A *winning case* of a head is a prefix at which, of all heads, its direct effect on the answer's logit is the
largest and above zero (paper, section 5). What the head does there is decided by rules on words alone: the
tokens it attends to most, and the answer.
"""

import ast
import hashlib
import json
import os
import random
import re
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import distributions
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from huggingface_hub import hf_hub_download
from jaxtyping import Bool, Float, Int
from nnsight import TransformersModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from successor_heads import models, tracing
from successor_heads.errors import UserError
from successor_heads.ordinals import CLASSES, ROMAN_NUMERALS
from successor_heads.tracing import Reference, TextEffects

PILE = {
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
EVIDENCE = Path(__file__).parent / "evidence"  # what was labelled by hand, or measured on text that is not ours
TEXT_FILES = (".txt", ".md", ".rst")
BEHAVIOURS = ("successorship", "acronym", "copying", "greater-than", "other")
N_DRAWN = 256  # outputs from which resample ablation draws
STORED = 1  # raised when what is stored for a batch changes its meaning


# --- text ------------------------------------------------------------------------------------------


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
    found = {package.name: package.metadata.get_payload() for package in distributions()}
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


# --- effects ---------------------------------------------------------------------------------------


def measure(
    model: TransformersModel,
    contexts: Int[Tensor, "context position"],
    *,
    seed: int,
    folder: Path | None = None,
    batch_size: int | None = None,
) -> tuple[TextEffects, Reference]:
    """Direct effects of all heads at every prefix, with what stood in for the heads.

    With a `folder` every batch is kept there as soon as it is done, under the digest of all that decides it,
    so that an interrupted run goes on where it stopped. Raises UserError for contexts that the model cannot
    read at once.
    """
    window = getattr(model._module.config.get_text_config(), "max_position_embeddings", None)
    if window is not None and contexts.shape[1] > window:
        raise UserError(
            f"The model reads {window} tokens at once and a context has {contexts.shape[1]}: choose shorter contexts."
        )
    batch_size = batch_size or _batch_size(model, contexts)
    of_model = _digest_of(model)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(N_DRAWN, (len(contexts), contexts.shape[1] - 1), generator=generator)

    def make_reference() -> dict[str, Tensor]:
        options = {"n_drawn": N_DRAWN, "seed": seed, "batch_size": batch_size}
        return tracing.reference_outputs(model, contexts, **options)._asdict()

    reference = Reference(**_kept(folder, _digest(of_model, "reference", contexts, str(seed)), make_reference))
    batches = []
    # In the book the bar would be a line for every step.
    quiet = "SUCCESSOR_HEADS_BOOK" in os.environ
    for start in tqdm(range(0, len(contexts), batch_size), desc="batches of contexts", disable=quiet, leave=False):
        part = slice(start, start + batch_size)

        def make(part: slice = part) -> dict[str, Tensor]:
            return tracing.effects_in_text(model, contexts[part], reference=reference, draws=draws[part])._asdict()

        batches.append(TextEffects(**_kept(folder, _digest(of_model, contexts[part], draws[part], *reference), make)))
    return TextEffects(*map(torch.cat, zip(*batches))), reference


class Study(NamedTuple):
    """A text as a model read it: its contexts, as ids and as text, and what every head did in them."""

    text: Text
    contexts: Int[Tensor, "context position"]
    tokens: list[list[str]]
    effects: TextEffects
    reference: Reference

    @property
    def label(self) -> str:
        """The text's name, and who wrote it."""
        return f"{self.text.name} (written by {'people' if self.text.natural else 'rules'})"


def study(
    model: TransformersModel, source: str, *, n: int, length: int, seed: int, folder: Path | None = None
) -> Study:
    """Read a source, cut `n` contexts of `length` tokens from it, and measure every head in them."""
    text = read(source, seed=seed)
    contexts = cut(model.tokenizer, text, n=n, length=length, seed=seed)
    effects, reference = measure(model, contexts, seed=seed, folder=folder)
    tokens = [tracing.token_texts(model.tokenizer, row) for row in contexts]
    return Study(text, contexts, tokens, effects, reference)


def _batch_size(model: TransformersModel, contexts: Tensor) -> int:
    """As many contexts as have about 30 million logits, at most 16."""
    return max(1, min(16, 30_000_000 // (contexts.shape[1] * model._module.config.get_text_config().vocab_size)))


def _kept(folder: Path | None, digest: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors stored under a digest, or those that `make` returns, which are then stored whole or not at all."""
    if folder is None:
        return make()
    path = folder / f"{digest}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        save_file({name: tensor.contiguous() for name, tensor in make().items()}, draft)
        draft.replace(path)
    return load_file(path)


def _digest(*parts: Tensor | str) -> str:
    total = hashlib.sha256(f"{STORED}".encode())
    for part in parts:
        total.update(part.encode() if isinstance(part, str) else part.contiguous().numpy().tobytes())
    return total.hexdigest()[:32]


def _digest_of(model: TransformersModel) -> str:
    """Digest of a model's shape and of some numbers of each of its tensors: another checkpoint has others."""
    total = hashlib.sha256(json.dumps(model._module.config.to_dict(), sort_keys=True, default=str).encode())
    for name, tensor in model._module.named_parameters():
        flat = tensor.detach().flatten()
        some = flat[:: max(1, len(flat) // 4096)].float().cpu()
        total.update(name.encode() + some.numpy().tobytes())
    return total.hexdigest()


def winners(effects: Float[Tensor, "*prefix layer head"]) -> Int[Tensor, "*prefix"]:
    """layer * n_heads + head of the head that alone has the largest effect, above zero; -1 where none has."""
    flat = effects.flatten(-2)
    first, second = flat.topk(2).values.unbind(-1)
    return torch.where((first > 0) & (first > second), flat.argmax(-1), -1)


def shuffled_effects(
    model: TransformersModel,
    contexts: Int[Tensor, "context position"],
    places: Int[Tensor, "case two"],
    *,
    mean: Float[Tensor, "layer head d_head"],
    seed: int,
    n_shuffles: int = 2,
) -> Float[Tensor, "case layer head"]:
    """Direct effects on the same answers when the prefix is in random order, but for its last token.

    What is left of an effect then is owed to which words there are, not to their order: a head that lifts a
    whole category has it too. `places` are (context, prefix). The mean over `n_shuffles` orders.
    """
    rng = np.random.default_rng(seed)
    answers = contexts[places[:, 0], places[:, 1] + 1]
    total = 0.0
    for _ in range(n_shuffles):
        rows = []
        for context, prefix in places.tolist():
            row = contexts[context, : prefix + 1].numpy().copy()
            # A token that starts every text stays at the start.
            rng.shuffle(row[int(row[0] == model.tokenizer.bos_token_id) : -1])
            rows.append(row.tolist())
        total = total + tracing.direct_effects_at_end(model, rows, answers, mean=mean)
    return total / n_shuffles


def share_interval(
    hits: Float[np.ndarray, " context"] | Int[np.ndarray, " context"],
    of: Float[np.ndarray, " context"] | Int[np.ndarray, " context"],
    *,
    seed: int,
    n_resamples: int = 2000,
) -> tuple[float, float, float]:
    """Share sum(hits) / sum(of) with its 95% bootstrap interval, whole contexts resampled; NaN for none.

    Cases in one context are alike: resampling single cases would promise too much.
    """
    hits, of = np.asarray(hits, dtype=float), np.asarray(of, dtype=float)
    if of.sum() == 0:
        return float("nan"), float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(len(of), size=(n_resamples, len(of)))
    totals = of[drawn].sum(1)
    shares = hits[drawn].sum(1)[totals > 0] / totals[totals > 0]
    return float(hits.sum() / of.sum()), *map(float, np.percentile(shares, [2.5, 97.5]))


# --- behaviours ------------------------------------------------------------------------------------

# (class, place, length of the circle or None) of every word of an ordinal class; "may" is in two.
_PLACES: dict[str, list[tuple[str, int, int | None]]] = {}
for _class in CLASSES.values():
    for _index, _word in enumerate(_class.words):
        # Numerals of any size count, see below; a small letter is most often a piece of a word.
        _key = _word if _class.task == "letters" else _word.lower()
        _PLACES.setdefault(_key, []).append((_class.task, _index, len(_class.words) if _class.cyclic else None))
for _index, _word in enumerate(ROMAN_NUMERALS):
    _PLACES.setdefault(_word, []).append(("roman", _index, None))


def _ordinals(word: str) -> list[tuple[str, int, int | None]]:
    """Every (class, place, length of the circle) that a word has; letters and Roman numerals are capitals only."""
    if word.isascii() and word.isdigit():
        return [("numbers", int(word), None)]
    return _PLACES.get(word, _PLACES.get(word.lower(), []))


def _is_next(read: str, answer: str) -> bool:
    for task, place, circle in _ordinals(read):
        following = (place + 1) % circle if circle else place + 1
        if any(other == task and at == following for other, at, _ in _ordinals(answer)):
            return True
    return False


def _is_greater(read: str, answer: str) -> bool:
    return any(
        task == other and at > place + 1 for task, place, _ in _ordinals(read) for other, at, _ in _ordinals(answer)
    )


def _is_same(read: str, answer: str) -> bool:
    return read.lower() == answer.lower() and any(character.isalnum() for character in answer)


def _is_initial(read: str, answer: str) -> bool:
    is_word = len(read) > 1 and read.isalpha() and read[0].isupper()
    is_acronym = len(answer) <= 5 and answer.isalpha() and answer.isupper()
    return is_word and is_acronym and read[0] == answer[0] and not read.isupper()


# The rules, each on one attended token and the answer, both without the space around them.
EXACT: dict[str, Callable[[str, str], bool]] = {
    "successorship": _is_next,  # the answer follows the attended word in its class: 7 → 8, Sunday → Monday
    "acronym": _is_initial,  # up to five capitals, the first of them the attended word's own capital
    "copying": _is_same,  # the same word, whatever its case; there must be a letter or digit in it
}


def behaviour(attended: Sequence[str], answer: str) -> str:
    """What a head does that attends to these tokens, most first, when the answer comes next.

    The first token for which a rule of `EXACT` holds decides. If there is none, "greater-than" asks less: some
    attended word is of the answer's class and lies more than one before it. All else is "other".
    """
    answer, read = answer.strip(), [token.strip() for token in attended]
    for token in read:
        for name, rule in EXACT.items():
            if rule(token, answer):
                return name
    return "greater-than" if any(_is_greater(token, answer) for token in read) else "other"


def winning_cases(
    tokens: Sequence[Sequence[str]],
    effects: TextEffects,
    *,
    layer: int,
    head: int,
    tops: Sequence[int] = (1, 3, 5),
) -> pd.DataFrame:
    """One row a winning case of a head: where it is, its effect, what it attends to, and its behaviour.

    `tokens` are the contexts as text. `behaviour_3` looks at the three tokens attended to most, and so on.
    """
    n_heads = effects.mean.shape[-1]
    places = (winners(effects.mean) == layer * n_heads + head).nonzero()
    rows = []
    for context, prefix in places.tolist():
        texts, answer = tokens[context], tokens[context][prefix + 1]
        seen = [at for at in effects.attended[context, prefix, layer, head].tolist() if at >= 0]
        weights = effects.weight[context, prefix, layer, head].tolist()[: len(seen)]
        read = [texts[at] for at in seen]
        labels = {f"behaviour_{top}": behaviour(read[:top], answer) for top in tops}
        effect = effects.mean[context, prefix, layer, head].item()
        rows.append(
            {
                "context": context,
                "prefix": prefix,
                "answer": answer,
                "effect": effect,
                "attended": seen,
                "weight": weights,
                "read": read,
                **labels,
            }
        )
    columns = [
        "context",
        "prefix",
        "answer",
        "effect",
        "attended",
        "weight",
        "read",
        *(f"behaviour_{top}" for top in tops),
    ]
    return pd.DataFrame(rows, columns=columns)


def dealt_shares(
    cases: pd.DataFrame, *, top: int, seed: int, n_deals: int = 20, within: str | None = None
) -> dict[str, float]:
    """Share of each behaviour when the answers are dealt out at random among the cases: what chance does.

    With `within`, a column such as "context", answers stay in their group and none stays with its own case:
    then what a context is about counts as chance, too. A case that is alone in its group is left out.
    """
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(BEHAVIOURS, 0)
    groups = [cases] if within is None else [group for _, group in cases.groupby(within) if len(group) > 1]
    for group in groups:
        read, answers = group["read"].tolist(), group["answer"].to_numpy()
        for _ in range(n_deals):
            order = rng.permutation(len(group))
            own = np.arange(len(group)) if within is None else np.roll(order, 1)
            for place, other in zip(own, order):
                counts[behaviour(read[place][:top], answers[other])] += 1
    n = sum(counts.values())
    return {name: count / n if n else float("nan") for name, count in counts.items()}


# --- prompts with one answer -----------------------------------------------------------------------


def split_at(tokenizer, text: str, start: int) -> tuple[list[int], int] | None:
    """(tokens of the text before the character at `start`, the token that begins there).

    The whole text is tokenized, for its start alone could give other tokens. None where a token reaches
    across `start`, unless by white space only. Tokens behind the answer are left out.
    """
    encoded = tokenizer(text, return_offsets_mapping=True, verbose=False)
    for place, (first, last) in enumerate(encoded["offset_mapping"]):
        if last > start:
            if place == 0 or text[first:start].strip():
                return None
            return encoded["input_ids"][:place], encoded["input_ids"][place]
    return None


NUMBERED = re.compile(r"^[ \t]*(\d{1,3})[.)] ", re.MULTILINE)


def numbered_lists(documents: Iterable[str], *, reach: int = 500) -> list[tuple[str, int]]:
    """(text, start) of list numbers that count on from an earlier one: the text up to the number, and where it starts.

    An item counts when "n. " or "n) " starts a line, n is above 1, and the item before it, n - 1, starts a line
    at most `reach` characters earlier. The text starts `reach` characters before that one.
    """
    found = []
    for document in documents:
        for item, after in zip(items := list(NUMBERED.finditer(document)), items[1:]):
            if int(after[1]) == int(item[1]) + 1 and after.start(1) - item.start(1) <= reach:
                first = max(0, item.start() - reach)
                found.append((document[first : after.end(1) + 2], after.start(1) - first))
    return found


def case_rows(studies: Sequence[Study], cases: pd.DataFrame) -> dict:
    """All winning cases as the page of winning cases reads them: contexts once, cases with their places in them."""
    places = {study.text.name: number for number, study in enumerate(studies)}
    columns = [
        "context",
        "prefix",
        "effect",
        "attended",
        "weight",
        *(name for name in cases if name.startswith("behaviour_")),
    ]
    rows = cases[columns].assign(
        text=cases["text"].map(places),
        effect=cases["effect"].round(3),
        weight=[[round(w, 3) for w in row] for row in cases["weight"]],
    )
    texts = [{"name": study.text.name, "natural": study.text.natural, "contexts": study.tokens} for study in studies]
    return {"texts": texts, "cases": rows.to_dict("records")}


def blind_cases() -> pd.DataFrame:
    """Fifty winning cases with two labels each: "rules", and "hand", given by a reader who had not seen the rules'.

    `attrs` says of which model they are and how they were drawn.
    """
    stored = json.loads((EVIDENCE / "blind-cases.json").read_text(encoding="utf8"))
    table = pd.DataFrame(stored["cases"])
    table.attrs.update({key: value for key, value in stored.items() if key != "cases"})
    return table


def stored_figures(name: str) -> dict[str, dict]:
    """Figures measured once on text that cannot be shipped, by model."""
    return json.loads((EVIDENCE / f"{name}.json").read_text(encoding="utf8"))["models"]


def flags(values: Bool[Tensor, "context prefix"]) -> np.ndarray:
    """How many of the prefixes of each context are true: what `share_interval` takes."""
    return values.sum(1).numpy()
