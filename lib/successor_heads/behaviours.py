"""What a head does in text: where it matters most of all heads, and for what.

::

    effects, reference = behaviours.measure(model, contexts, seed=0)
    won = behaviours.winners(effects.mean) == layer * n_heads + head
    behaviours.behaviour([" Wednesday", " on"], " Thursday")          # 'successorship'

A *prefix* is the start of a context up to some token; the *answer* is the token that comes next in the text.
A *winning case* of a head is a prefix at which, of all heads, its direct effect on the answer's logit is the
largest and above zero (paper, section 5). What the head does there is decided by rules on words alone: the
tokens it attends to most, and the answer.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from nnsight import TransformersModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from successor_heads import direct_effects, ordinals, progress, prompts, texts
from successor_heads.direct_effects import Reference, TextEffects
from successor_heads.errors import UserError
from successor_heads.ordinals import CLASSES, ROMAN_NUMERALS
from successor_heads.texts import Text

EVIDENCE = Path(__file__).parent / "evidence"  # what was labelled by hand, or measured on text that is not ours
BEHAVIOURS = ("successorship", "acronym", "copying", "greater-than", "other")
N_DRAWN = 256  # outputs from which resample ablation draws
STORED = 1  # raised when what is stored for a batch changes its meaning


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
        return direct_effects.reference_outputs(model, contexts, **options)._asdict()

    reference = Reference(**_kept(folder, _digest(of_model, "reference", contexts, str(seed)), make_reference))
    batches = []
    for start in progress.bar(range(0, len(contexts), batch_size), name="batches of contexts"):
        part = slice(start, start + batch_size)

        def make(part: slice = part) -> dict[str, Tensor]:
            return direct_effects.effects_in_text(
                model, contexts[part], reference=reference, draws=draws[part]
            )._asdict()

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


def study(model: TransformersModel, text: Text, *, n: int, length: int, seed: int, folder: Path | None = None) -> Study:
    """Cut `n` contexts of `length` tokens from a text, and measure every head in them."""
    contexts = texts.cut(model.tokenizer, text, n=n, length=length, seed=seed)
    effects, reference = measure(model, contexts, seed=seed, folder=folder)
    tokens = [prompts.token_texts(model.tokenizer, row) for row in contexts]
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
    # Tokens that start every text stay at the start; so does the end of a document with which a context may begin.
    start = ordinals.tokens_in_front(model.tokenizer) or [model.tokenizer.bos_token_id]
    answers = contexts[places[:, 0], places[:, 1] + 1]
    total = torch.zeros(len(answers), *mean.shape[:2])
    for _ in range(n_shuffles):
        rows = []
        for context, prefix in places.tolist():
            row = contexts[context, : prefix + 1].numpy().copy()
            rng.shuffle(row[len(start) if row[: len(start)].tolist() == start else 0 : -1])
            rows.append(row.tolist())
        total += direct_effects.direct_effects_at_end(model, rows, answers, mean=mean)
    return total / n_shuffles


def flags(values: Bool[Tensor, "context prefix"]) -> np.ndarray:
    """How many of the prefixes of each context are true: what `share_interval` takes."""
    return values.sum(1).numpy()


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


def shuffled_shares(
    cases: pd.DataFrame, *, top: int, seed: int, n_shuffles: int = 20, within: str | None = None
) -> dict[str, float]:
    """Share of each behaviour when the answers are shuffled among the cases: what chance does.

    With `within`, a column such as "context", answers stay in their group and none stays with its own case:
    then what a context is about counts as chance, too. A case that is alone in its group is left out.
    """
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(BEHAVIOURS, 0)
    groups = [cases] if within is None else [group for _, group in cases.groupby(within) if len(group) > 1]
    for group in groups:
        read, answers = group["read"].tolist(), group["answer"].to_numpy()
        for _ in range(n_shuffles):
            order = rng.permutation(len(group))
            own = np.arange(len(group)) if within is None else np.roll(order, 1)
            for place, other in zip(own, order):
                counts[behaviour(read[place][:top], answers[other])] += 1
    n = sum(counts.values())
    return {name: count / n if n else float("nan") for name, count in counts.items()}


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
