"""What a head does in text: where it matters most of all heads, and for what.

::

    effects, reference = behaviours.measure(model, contexts, seed=0)
    won = behaviours.winners(effects.mean) == layer * n_heads + head
    behaviours.behaviour([" Wednesday", " on"], " Thursday")          # 'successorship'

A *prefix* is the start of a context up to some token; the *answer* is the token that comes next in the text.
A *winning case* of a head is a prefix at which, of all heads, its direct effect on the answer's logit is the
largest and above zero. What the head does there is decided by rules on words alone: the tokens it attends to
most, and the answer. The rules are those of the paper (arXiv v1, section 4), and stricter ones of our own.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from successor_heads import direct_effects, files, models, ordinals, progress, texts
from successor_heads.anatomy import name_of
from successor_heads.direct_effects import TOP_ATTENDED, PathLosses, Reference, TextEffects
from successor_heads.errors import UserError
from successor_heads.ordinals import CLASSES, ROMAN_NUMERALS
from successor_heads.texts import Text

EVIDENCE = Path(__file__).parent / "evidence"  # what was labelled by hand, or measured on text that is not ours
BEHAVIOURS = ("successorship", "acronym", "copying", "greater-than", "other")
N_DRAWN = 256  # outputs from which resample ablation draws
N_AVERAGED = 16  # contexts over which heads are averaged where a run may go on to more contexts than it has read
STORED = 2  # raised when what is stored for a batch changes its meaning
SECONDS = "seconds"  # of processor time, beside the tensors of a batch


def measure(
    model: TransformersModel,
    contexts: Int[Tensor, "context position"],
    *,
    seed: int,
    averaged: Int[Tensor, "other position"] | None = None,
    folder: Path | None = None,
    batch_size: int | None = None,
) -> tuple[TextEffects, Reference]:
    """Direct effects of all heads at every prefix, with what stood in for the heads: from contexts `averaged`, else from these.

    With a `folder` every batch is kept there as soon as it is done, under the digest of all that decides it,
    so that an interrupted run goes on where it stopped. Raises UserError for contexts that the model cannot
    read at once.
    """
    window = getattr(model._module.config.get_text_config(), "max_position_embeddings", None)
    if window is not None and contexts.shape[1] > window:
        raise UserError(
            f"The model reads {window} tokens at once and a context has {contexts.shape[1]}: choose shorter contexts."
        )
    batch_size = batch_size or contexts_at_once(model, contexts)
    averaged = contexts if averaged is None else averaged
    of_model = _digest_of(model)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(N_DRAWN, (len(contexts), contexts.shape[1] - 1), generator=generator)

    def make_reference() -> dict[str, Tensor]:
        options = {"n_drawn": N_DRAWN, "seed": seed, "batch_size": batch_size}
        return direct_effects.reference_outputs(model, averaged, **options)._asdict()

    reference = Reference(**_kept(folder, _digest(of_model, "reference", averaged, str(seed)), make_reference))
    batches = []
    for start in progress.bar(range(0, len(contexts), batch_size), name="batches of contexts"):
        part = slice(start, start + batch_size)

        def make(part: slice = part) -> dict[str, Tensor]:
            return direct_effects.effects_in_text(
                model, contexts[part], reference=reference, draws=draws[part]
            )._asdict()

        batches.append(TextEffects(**_kept(folder, _digest(of_model, contexts[part], draws[part], *reference), make)))
    return TextEffects(*map(torch.cat, zip(*batches))), reference


class Reading(NamedTuple):
    """A text as a model read it: its contexts, as ids and as text, and what every head did in them."""

    text: Text
    contexts: Int[Tensor, "context position"]
    document: Int[np.ndarray, " context"]  # in which each context starts
    tokens: list[list[str]]
    effects: TextEffects
    reference: Reference


def read(
    model: TransformersModel,
    text: Text,
    *,
    n: int,
    length: int,
    seed: int,
    most: int | None = None,
    folder: Path | None = None,
) -> Reading:
    """Cut `n` contexts of `length` tokens from a text, and measure every head in them.

    With `most` so many are cut, shuffled by the seed, and of these the first `n` measured; heads are averaged over the
    first `N_AVERAGED`. So more contexts change nothing in those that were measured before, and a kept run can go on.
    """
    contexts, document = texts.cut(model.tokenizer, text, n=most or n, length=length, seed=seed)
    averaged = contexts
    if most is not None:
        order = torch.randperm(len(contexts), generator=torch.Generator().manual_seed(seed))
        averaged = contexts[order[:N_AVERAGED]]
        contexts, document = contexts[order[:n]], document[order[:n].numpy()]
    effects, reference = measure(model, contexts, seed=seed, averaged=averaged, folder=folder)
    tokens = [texts.as_read(model.tokenizer, row) for row in contexts]
    return Reading(text, contexts, document, tokens, effects, reference)


def loss_rises(
    model: TransformersModel, reading: Reading, place: tuple[int, int], *, seed: int, folder: Path | None = None
) -> dict[tuple[str, str], Float[np.ndarray, "context prefix"]]:
    """By how much the loss of every answer rises without a head, by (path, what stands in): ("direct", "mean"), …

    Paths are direct, indirect and total; in stands the head's mean over the text, or what it wrote at a random other
    place of it ("resample"). With a `folder` every batch is kept there, as by `measure`.
    """
    layer, head = place
    contexts, reference = reading.contexts, reading.reference
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(len(reference.drawn), contexts.shape, generator=generator)
    mean, drawn = reference.mean[layer, head], reference.drawn[draws, layer, head]
    replacements = {"mean": mean.expand_as(drawn), "resample": drawn}
    of_model, batch_size = _digest_of(model), contexts_at_once(model, contexts)
    batches = []
    for start in progress.bar(range(0, len(contexts), batch_size), name="losses by path"):
        part = contexts[start : start + batch_size]
        instead = [values[start : start + batch_size] for values in replacements.values()]

        def make(part: Tensor = part, instead: list[Tensor] = instead) -> dict[str, Tensor]:
            found = direct_effects.losses_by_path(model, part, place, replacements=instead, batch_size=batch_size)
            return {"losses": torch.stack([torch.stack(losses) for losses in found])}  # [kind, path, context, prefix]

        batches.append(_kept(folder, _digest(of_model, "by path", name_of(place), part, *instead), make)["losses"])
    rises = (torch.cat(batches, 2) - reading.effects.loss).numpy()
    return {
        (path, kind): rises[row, column]
        for row, kind in enumerate(replacements)
        for column, path in enumerate(PathLosses._fields)
    }


def contexts_at_once(model: TransformersModel, contexts: Tensor) -> int:
    """As many contexts as have about 30 million logits, at most 16."""
    return max(1, min(16, 30_000_000 // (contexts.shape[1] * model._module.config.get_text_config().vocab_size)))


def _kept(folder: Path | None, digest: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors stored under a digest, or those that `make` returns, which are then stored whole or not at all.

    With them is stored what processor time they took.
    """
    if folder is None:
        return make()
    path = folder / f"{digest}.safetensors"
    if not path.exists():
        clock = time.process_time()
        tensors = {name: tensor.contiguous() for name, tensor in make().items()}
        taken = {SECONDS: repr(time.process_time() - clock)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files.replace(path, lambda draft: save_file(tensors, draft, metadata=taken))
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"{path} cannot be written ({error}): make room on the disk and run the command again."
            ) from error
    return load_file(path)


def seconds_kept(folder: Path) -> float:
    """The processor time that went into all batches kept in a folder, by however many runs."""
    total = 0.0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as stored:
            total += float(stored.metadata()[SECONDS])
    return total


def _digest(*parts: Tensor | str) -> str:
    total = hashlib.sha256(f"{STORED}".encode())
    for part in parts:  # each behind its kind and size, or other parts could make the same bytes
        if isinstance(part, str):
            about, content = "text", part.encode()
        else:
            about, content = f"{part.dtype} {tuple(part.shape)}", part.contiguous().numpy().tobytes()
        total.update(f"{about} {len(content)} ".encode() + content)
    return total.hexdigest()[:32]


def _digest_of(model: TransformersModel) -> str:
    """Digest of a model's shape and weights."""
    shape = json.dumps(model._module.config.to_dict(), sort_keys=True, default=str)
    return hashlib.sha256(f"{shape} {models.digest_of(model)}".encode()).hexdigest()


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


# --- rules on words -----------------------------------------------------------------------------------

Places = dict[
    str, list[tuple[str, int, int | None]]
]  # of a word: its lists, its place, the length of the circle or None


def _places(*, circles: Collection[str], roman: bool) -> Places:
    """The places of every word of the eight lists; "may" is in two. `circles` go round."""
    found: Places = {}
    for task in CLASSES.values():
        for index, word in enumerate(task.words):
            # Numerals of any size count, see `_ordinals`; a small letter is most often a piece of a word.
            key = word if task.task == "letters" else word.lower()
            found.setdefault(key, []).append((task.task, index, len(task.words) if task.task in circles else None))
    for index, word in enumerate(ROMAN_NUMERALS if roman else ()):
        found.setdefault(word, []).append(("roman", index, None))
    return found


PAPER_PLACES = _places(circles=("days", "months"), roman=False)
STRICT_PLACES = _places(circles=[task for task, c in CLASSES.items() if c.cyclic], roman=True)


def _ordinals(word: str, places: Places) -> list[tuple[str, int, int | None]]:
    if word.isascii() and word.isdigit():
        return [("numbers", int(word), None)]
    return places.get(word, places.get(word.lower(), []))


def _is_next(read: str, answer: str, places: Places) -> bool:
    for task, place, circle in _ordinals(read, places):
        following = (place + 1) % circle if circle else place + 1
        if any(other == task and at == following for other, at, _ in _ordinals(answer, places)):
            return True
    return False


def _is_greater(read: str, answer: str, places: Places, *, by: int) -> bool:
    return any(
        task == other and at >= place + by
        for task, place, _ in _ordinals(read, places)
        for other, at, _ in _ordinals(answer, places)
    )


def rules_that_hold(attended: Sequence[str], answer: str) -> list[str]:
    """All of the paper's rules that hold where a head attends to these tokens, most first, and the answer comes next.

    Section 4, as far as version 1 says: **successorship**, the answer is the successor of one of the five tokens
    attended to most; **acronym**, it is all capitals and ends with the first letter of the one attended to most;
    **copying**, it is one of the five; **greater-than**, it lies further on in the list of one of the five.
    Ours, because the paper does not say: lists are its eight, numbers of any size; one capital is an acronym as well,
    for tokenizers cut them; letters are compared without case, and a token is copied when it is the same token.
    """
    answer_word, read = answer.strip(), [token.strip() for token in attended[:TOP_ATTENDED]]
    is_next = any(_is_next(token, answer_word, PAPER_PLACES) for token in read)
    holds = {
        "successorship": is_next,
        "acronym": bool(read)
        and CAPITALS.fullmatch(answer_word) is not None
        and read[0][:1].upper() == answer_word[-1:],
        "copying": answer in attended[:TOP_ATTENDED],
        "greater-than": not is_next and any(_is_greater(token, answer_word, PAPER_PLACES, by=1) for token in read),
    }
    return [name for name, is_so in holds.items() if is_so]


def behaviour(attended: Sequence[str], answer: str) -> str:
    """What a head does by the paper's rules, which are asked in their order; "other" where none holds.

    The paper says of greater-than that it is asked where successorship does not hold; the rest of the order is ours.
    """
    return next(iter(rules_that_hold(attended, answer)), "other")


CAPITALS = re.compile("[A-Z]+")
STRICT_TOP = 3


def _is_same(read: str, answer: str) -> bool:
    return read.lower() == answer.lower() and any(character.isalnum() for character in answer)


def _is_initial(read: str, answer: str) -> bool:
    is_word = len(read) > 1 and read.isalpha() and read[0].isupper()
    is_acronym = len(answer) <= 5 and answer.isalpha() and answer.isupper()
    return is_word and is_acronym and read[0] == answer[0] and not read.isupper()


# The stricter rules, each on one attended token and the answer, both without the space around them.
STRICT: dict[str, Callable[[str, str], bool]] = {
    "successorship": lambda read, answer: _is_next(read, answer, STRICT_PLACES),  # Roman numerals, too: IV → V
    "acronym": _is_initial,  # up to five capitals, the first of them the attended word's own capital
    "copying": _is_same,  # the same word, whatever its case; there must be a letter or digit in it
}


def strict_behaviour(attended: Sequence[str], answer: str) -> str:
    """The same by stricter rules of our own, on the three tokens attended to most.

    The first token for which a rule of `STRICT` holds decides. If there is none, "greater-than" asks less: some
    attended word is of the answer's class and lies more than one before it. All else is "other".
    """
    answer, read = answer.strip(), [token.strip() for token in attended[:STRICT_TOP]]
    for token in read:
        for name, rule in STRICT.items():
            if rule(token, answer):
                return name
    return "greater-than" if any(_is_greater(token, answer, STRICT_PLACES, by=2) for token in read) else "other"


RULES: dict[str, Callable[[Sequence[str], str], str]] = {"paper": behaviour, "strict": strict_behaviour}

# --- cases --------------------------------------------------------------------------------------------


def read_by(
    tokens: Sequence[Sequence[str]], attended: Int[Tensor, "context prefix top"]
) -> list[list[tuple[list[str], str]]]:
    """Of every prefix the tokens that a head attends to, most first, and the answer, all as text."""
    return [
        [
            ([row[at] for at in places if at >= 0], answer)
            for places, answer in zip(of_context.tolist(), row[1:], strict=True)
        ]
        for row, of_context in zip(tokens, attended, strict=True)
    ]


def labels(
    tokens: Sequence[Sequence[str]], attended: Int[Tensor, "context prefix top"]
) -> Int[np.ndarray, "context prefix"]:
    """What a head does by the paper's rules at every prefix, whether it wins there or not: a place in `BEHAVIOURS`."""
    return np.array(
        [[BEHAVIOURS.index(behaviour(*seen)) for seen in row] for row in read_by(tokens, attended)], dtype=int
    )


def winning_cases(tokens: Sequence[Sequence[str]], effects: TextEffects, *, layer: int, head: int) -> pd.DataFrame:
    """One row a winning case of a head: where it is, its effect, what it attends to, and its behaviour by both rules.

    `tokens` are the contexts as text.
    """
    n_heads = effects.mean.shape[-1]
    places = (winners(effects.mean) == layer * n_heads + head).nonzero()
    rows = []
    for context, prefix in places.tolist():
        row, answer = tokens[context], tokens[context][prefix + 1]
        seen = [at for at in effects.attended[context, prefix, layer, head].tolist() if at >= 0]
        read = [row[at] for at in seen]
        rows.append(
            {
                "context": context,
                "prefix": prefix,
                "answer": answer,
                "effect": effects.mean[context, prefix, layer, head].item(),
                "attended": seen,
                "weight": effects.weight[context, prefix, layer, head].tolist()[: len(seen)],
                "read": read,
                **{name: rule(read, answer) for name, rule in RULES.items()},
            }
        )
    columns = ["context", "prefix", "answer", "effect", "attended", "weight", "read", *RULES]
    return pd.DataFrame(rows, columns=columns)


def shuffled_counts(
    cases: pd.DataFrame, *, rules: str, seed: int, n_contexts: int, n_shuffles: int = 20
) -> Float[np.ndarray, "context behaviour"]:
    """How many cases of each context have each behaviour when their answers are shuffled: what chance does, on average.

    Answers stay in their context and none stays with its own case: then what a context is about counts as chance, too.
    A case that is alone in its context counts for nothing.
    """
    rng, rule = np.random.default_rng(seed), RULES[rules]
    counts = np.zeros((n_contexts, len(BEHAVIOURS)))
    for context, group in cases.groupby("context"):
        read, answers = group["read"].tolist(), group["answer"].to_numpy()
        for _ in range(n_shuffles if len(group) > 1 else 0):
            order = rng.permutation(len(group))
            for place, other in zip(np.roll(order, 1), order):
                counts[context, BEHAVIOURS.index(rule(read[place], answers[other]))] += 1 / n_shuffles
    return counts


def loss_shares(
    rise: Float[np.ndarray, "context prefix"], behaviours_at: Int[np.ndarray, "context prefix"]
) -> tuple[Int[np.ndarray, "context behaviour"], Float[np.ndarray, "context behaviour"]]:
    """Loss-reducing cases by context and behaviour: how many there are, and by how much the loss rises in all.

    A *loss-reducing case* is a prefix at which ablation raises the loss, by `rise`; where it lowers it the prefix
    is none, and nothing is taken off (paper, section 4).
    """
    count, total = np.zeros((2, len(rise), len(BEHAVIOURS)))
    for place in range(len(BEHAVIOURS)):
        here = (behaviours_at == place) & (rise > 0)
        count[:, place], total[:, place] = here.sum(1), np.where(here, rise, 0).sum(1)
    return count.astype(int), total


def by_label(
    values: Float[np.ndarray, "context prefix"], behaviours_at: Int[np.ndarray, "context prefix"]
) -> Float[np.ndarray, "context behaviour"]:
    """The sum of values over the prefixes of each context with each behaviour."""
    return np.stack([np.where(behaviours_at == place, values, 0).sum(1) for place in range(len(BEHAVIOURS))], 1)


def case_rows(read: Sequence[tuple[str, bool, Sequence[Sequence[str]]]], cases: pd.DataFrame) -> dict:
    """All winning cases as the page of winning cases reads them: contexts once, cases with their places in them.

    `read` are the texts: name, whether people wrote it, and its contexts as text.
    """
    places = {name: number for number, (name, _, _) in enumerate(read)}
    rows = cases[["context", "prefix", "effect", "attended", "weight", *RULES]].assign(
        text=cases["text"].map(places),
        effect=cases["effect"].round(3),
        weight=[[round(w, 3) for w in row] for row in cases["weight"]],
    )
    shown = [{"name": name, "natural": natural, "contexts": tokens} for name, natural, tokens in read]
    return {"texts": shown, "cases": rows.to_dict("records")}


def stored_runs() -> list[dict[str, Any]]:
    """What chapter 5 measured once on more text than it has time for: a run a model, with some of its cases.

    ``python -m successor_heads.studies.natural_text MODEL --texts documentation FOLDER --minutes 15`` makes one anew;
    the grown models read `--contexts 64`, however long it takes.
    """
    return json.loads((EVIDENCE / "natural-text.json").read_text(encoding="utf8"))["runs"]
