"""Whether a grown model gives successors that its text never showed: pairs held out beside pairs seen.

::

    choose_head(successes, lists, held)      # the head that is best on the pairs seen
    measure(model, tokenizer, parts)         # every pair of every list, by the head and by the model in a list

A pair is *held out* when no document of the training text mentions its word before its successor
(`corpus.HeldOut`), *seen* otherwise.  The head is chosen on seen pairs alone, so that the choice cannot
help the pairs held out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.modeling_utils import PreTrainedModel

from successor_heads import anatomy, ordinals
from successor_heads.growing import corpus
from successor_heads.growing.tokenizer import tokens_of
from successor_heads.ordinals import ResolvedClass
from successor_heads.ov_circuit import effective_ov_logits, head_input

CONTEXT = 3  # members of the list that a prompt shows
ANSWER_TOKENS = 4  # enough for a space, and a number of three digits written in digits
GAPS = ("The old bridge", "The quiet garden", "The new museum")
UNSEEN_SEED = 10_000  # added to a recipe's seed: documents that its model never reads
UNSEEN_WINDOWS = 64

# --- lists in which the model is asked to go on ---------------------------------------------------


@dataclass(frozen=True)
class ListPrompt:
    """A list that stops behind the `pair`-th word of `task`; `answer` is what comes next in it."""

    task: str
    pair: int
    frame: str
    text: str
    answer: str


def prompts(task: str) -> list[ListPrompt]:
    """For every pair of a list one prompt a frame, each showing the word and up to two members before it."""
    words, cyclic = corpus.LISTS[task].words, corpus.LISTS[task].cyclic
    out = []
    for pair, (_, successor) in enumerate(corpus.pairs_of(task)):
        first = pair - CONTEXT + 1 if cyclic else max(0, pair - CONTEXT + 1)
        shown = [words[k % len(words)] for k in range(first, pair + 1)]
        frames = {
            "commas": " " + ", ".join(shown) + ",",
            "count": "We count: " + " ".join(shown),
            "bullets": "\n".join(f"- {word}: {gap.lower()}" for word, gap in zip(shown, GAPS)) + "\n-",
        }
        if task == "ordinal_words":
            frames["headings"] = "\n".join(f"The {word} chapter: {gap}." for word, gap in zip(shown, GAPS)) + "\nThe"
        elif task in corpus.STYLE_WEIGHTS:
            frames["headings"] = "\n".join(f"Chapter {word}: {gap}." for word, gap in zip(shown, GAPS)) + "\nChapter"
        out += [ListPrompt(task, pair, frame, text, successor) for frame, text in frames.items()]
    return out


@torch.no_grad()
def continuations(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], *, n_tokens: int = ANSWER_TOKENS
) -> list[str]:
    """What the model writes behind each text, the likeliest token each time."""
    texts = list(texts)
    encoded = [tokenizer.encode(text) for text in texts]
    written = [""] * len(texts)
    for length in sorted({len(ids) for ids in encoded}):  # prompts of one length need no padding
        rows = [row for row, ids in enumerate(encoded) if len(ids) == length]
        ids = torch.tensor([encoded[row] for row in rows])
        for _ in range(n_tokens):
            ids = torch.cat([ids, model(ids, use_cache=False).logits[:, -1:].argmax(-1)], dim=1)
        for row, answer in zip(rows, ids[:, length:].tolist()):
            written[row] = tokenizer.decode(answer)
    return written


def first_word(text: str) -> str:
    """The number or the word with which a text begins; empty when it begins with anything else."""
    match = re.match(r"\s?(\d+|[A-Za-z]+)", text)
    return match[1] if match else ""


# --- what heads answer ----------------------------------------------------------------------------


def resolved_lists(tokenizer: PreTrainedTokenizerBase) -> dict[str, ResolvedClass]:
    """The eight ordinal classes and the Roman numerals in the tokens of `tokenizer`."""
    roman = ordinals.resolve_class(tokenizer, corpus.ROMAN, prefix=" ")
    return ordinals.resolve(tokenizer) | {corpus.ROMAN.task: roman}


def held_pairs(resolved: ResolvedClass, parts: Iterable[corpus.HeldOut]) -> Bool[Tensor, " pair"]:
    """Which pairs of a list no document gives in order."""
    held = {word for part in parts if part.task == resolved.task for word in part.words}
    return torch.tensor([resolved.words[source] in held for source in resolved.source.tolist()], dtype=torch.bool)


@torch.no_grad()
def head_ranks(
    model_anatomy: anatomy.Anatomy, resolved: ResolvedClass
) -> tuple[Int[Tensor, "layer head pair"], Int[Tensor, "layer head pair"]]:
    """Place of the successor among the members of its list, 1 for the first, and the member that came first.

    Canonical convention: the head reads MLP0(LN2(W_E)); a member that ties with the successor comes before it.
    """
    x = head_input(model_anatomy, resolved.token_ids)[resolved.source]
    ranks, answers = [], []
    for layer in range(model_anatomy.n_layers):
        logits = effective_ov_logits(model_anatomy, x, resolved.token_ids, layer=layer)  # [head, pair, member]
        target = resolved.target.expand(logits.shape[0], -1)[..., None]
        ranks.append((logits >= logits.gather(-1, target)).sum(-1))
        answers.append(logits.argmax(-1))
    return torch.stack(ranks), torch.stack(answers)


def choose_head(
    right: dict[str, Bool[Tensor, "layer head pair"]], held: dict[str, Bool[Tensor, " pair"]]
) -> tuple[int, int]:
    """The head with the best macro over the pairs seen of the eight classes, ties by their micro.

    Lists that are held out as a whole do not count, nor do the Roman numerals, which are no class of the score.
    """
    seen = {task: right[task][..., ~held[task]].float() for task in ordinals.TASKS if (~held[task]).any()}
    macro = torch.stack([shares.mean(-1) for shares in seen.values()]).mean(0)
    micro = torch.cat(list(seen.values()), dim=-1).mean(-1)
    n_heads = macro.shape[1]
    best = max(range(macro.numel()), key=lambda k: (macro.flatten()[k].item(), micro.flatten()[k].item()))
    return best // n_heads, best % n_heads


def shares(model_anatomy: anatomy.Anatomy, lists: dict[str, ResolvedClass], parts: Iterable[corpus.HeldOut]) -> dict:
    """The chosen head and its share of successors that are right, of pairs seen and of pairs held out, by list."""
    parts = tuple(parts)
    held = {task: held_pairs(resolved, parts) for task, resolved in lists.items()}
    right = {task: head_ranks(model_anatomy, resolved)[0] == 1 for task, resolved in lists.items()}
    layer, head = choose_head(right, held)

    def of(which: dict[str, Tensor]) -> dict[str, float]:
        return {
            task: right[task][layer, head, pairs].float().mean().item() for task, pairs in which.items() if pairs.any()
        }

    return {
        "layer": layer,
        "head": head,
        "seen": of({task: ~pairs for task, pairs in held.items()}),
        "held": of(held),
    }


# --- the record -----------------------------------------------------------------------------------


def column(values: Iterable[Any]) -> str:
    """One value a pair, in the list's order, as one string: a record stays small, and `split()` reads it."""
    return " ".join("-" if value in (None, "") else str(value) for value in values)


def by_frame(asked: Iterable[ListPrompt], values: Iterable[Any]) -> dict[str, str]:
    """What belongs to prompts of one list, a column for each frame."""
    columns: dict[str, list] = {}
    for prompt, value in zip(asked, values, strict=True):
        columns.setdefault(prompt.frame, []).append(value)
    return {frame: column(its) for frame, its in columns.items()}


def measure(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, parts: Iterable[corpus.HeldOut]
) -> dict[str, Any]:
    """Every pair of every list: what the chosen head answers, what every head gets right, what the model writes.

    `lists` holds one entry a list, its columns over the pairs: `held`; `answer` and `rank` of the chosen
    head, "-" where the tokenizer writes the pair in several tokens; the word `written` by the model, by frame.
    `heads` holds the share that each head gets right, [layer][head], of the pairs seen and held out of a list.
    """
    parts, model_anatomy, lists = tuple(parts), anatomy.of(model), resolved_lists(tokenizer)
    found = {task: head_ranks(model_anatomy, resolved) for task, resolved in lists.items()}
    held = {task: held_pairs(resolved, parts) for task, resolved in lists.items()}
    layer, head = choose_head({task: ranks == 1 for task, (ranks, _) in found.items()}, held)
    out: dict[str, Any] = {"layer": layer, "head": head, "lists": {}, "heads": {}}
    for task, resolved in lists.items():
        ranks, answers = found[task]
        by_word = {
            resolved.words[source]: (resolved.words[answer], rank)
            for source, answer, rank in zip(
                resolved.source.tolist(), answers[layer, head].tolist(), ranks[layer, head].tolist()
            )
        }
        words = [word for word, _ in corpus.pairs_of(task)]
        asked = prompts(task)
        written = [first_word(text) for text in continuations(model, tokenizer, [prompt.text for prompt in asked])]
        held_words = {word for part in parts if part.task == task for word in part.words}
        out["lists"][task] = {
            "held": column(int(word in held_words) for word in words),
            "answer": column(by_word.get(word, (None, None))[0] for word in words),
            "rank": column(by_word.get(word, (None, None))[1] for word in words),
            "written": by_frame(asked, written),
        }
        out["heads"][task] = {
            name: (ranks[..., pairs] == 1).float().mean(-1).tolist()
            for name, pairs in (("seen", ~held[task]), ("held", held[task]))
            if pairs.any()
        }
    return out


def check_text(training: corpus.TextCheck, unseen: corpus.TextCheck) -> dict[str, Any]:
    """What the training text shows of what the model will be asked.

    Documents, and how many of those that it is evaluated on are among them; for every pair, in how many documents
    it stands in order; for every prompt, whether it stands there word for word, answer included.
    """
    passages = {task: prompts(task) for task in corpus.LISTS}
    seen = {
        task: by_frame(its, map(int, training.seen(f"{prompt.text} {prompt.answer}" for prompt in its)))
        for task, its in passages.items()
    }
    return {
        "documents": training.documents,
        "evaluated": unseen.documents,
        "evaluated_seen": training.share_of_documents_seen(unseen.texts),
        "in_order": {
            task: column(counter[word] for word, _ in corpus.pairs_of(task))
            for task, counter in training.in_order.items()
        },
        "prompts_seen": seen,
    }


def read_again(recipe: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """`check_text` of a model that was grown before its text was checked: the text is generated again from its recipe.

    Generated documents alone: what it read of docstrings and books is not searched.
    """
    held_out = [corpus.HeldOut.parse(part, seed=recipe["seed"]) for part in recipe.get("held_out", [])]
    n_windows = recipe["sources"]["generated"]["tokens"] // recipe["window"]
    training, unseen = corpus.TextCheck(), corpus.TextCheck()
    for check, seed, windows in (
        (training, recipe["seed"], n_windows), (unseen, recipe["seed"] + UNSEEN_SEED, UNSEEN_WINDOWS),
    ):  # fmt: skip
        documents = corpus.generated(
            seed=seed, n=10**9, without=set(recipe["without"]), base=recipe["base"], held_out=held_out
        )
        tokens_of(tokenizer, check.reading(document.text for document in documents), windows * (recipe["window"] + 1))
    return check_text(training, unseen)


def stood_in_text(text: Mapping[str, Any], lists: Iterable[str]) -> list[bool]:
    """Of lists with commas, as chapter 1 asks them, whether a checked text holds them word for word, answer included.

    Raises KeyError for a list that `prompts` does not ask.
    """
    shown = {
        prompt.text: flag == "1"
        for task in corpus.LISTS
        for prompt, flag in zip(
            (prompt for prompt in prompts(task) if prompt.frame == "commas"),
            text["prompts_seen"][task]["commas"].split(),
            strict=True,
        )
    }
    return [shown[each] for each in lists]
