"""Prompts on which a plant's heads in context have something to do, with the answers they should give."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from successor_heads.errors import UserError
from successor_heads.ordinals import resolve
from successor_heads.planted.words import CAPITALIZED, COPIED, FILLERS, single_tokens


class Prompts(NamedTuple):
    """Texts of random filler words with one word among them that a head knows.

    `word` is that word's token, `answers` are the tokens that should follow, `members` those that an
    answer competes with.
    """

    texts: list[str]
    word: Int[Tensor, " prompt"]
    answers: Int[Tensor, " prompt"]
    members: Int[Tensor, " member"]


def prompts(tokenizer, role: str, *, n: int, seed: int, task: str = "numbers", n_words: int = 6) -> Prompts:
    """`n` prompts for a role: 'successor' (of `task`), 'acronym' or 'copy'.

    The known word never stands last, so that only attention can bring it there. Raises UserError for a
    role without prompts, and for a tokenizer that has no words for it.
    """
    classes = resolve(tokenizer)
    match role:
        case "successor":
            ids, resolved = classes[task].token_ids, classes[task]
            pairs = [(int(ids[s]), int(ids[t])) for s, t in zip(resolved.source, resolved.target)]
            members = ids if resolved.prefix == " " else ids[:0]
        case "acronym":
            letters = dict(zip(classes["letters"].words, classes["letters"].token_ids.tolist()))
            words = single_tokens(tokenizer, CAPITALIZED)
            pairs = [(token, letters[word[0]]) for word, token in words.items() if word[0] in letters]
            members = torch.tensor(sorted(letters.values()), dtype=torch.long)
        case "copy":
            pairs = [(token, token) for token in single_tokens(tokenizer, COPIED).values()]
            members = torch.tensor([token for token, _ in pairs], dtype=torch.long)
        case _:
            raise UserError(
                f"No prompts are known for a head with the role '{role}': choose successor, acronym or copy."
            )
    if not pairs or not len(members):
        raise UserError(
            f"This tokenizer has no words with a leading space for {role} prompts ({task}): choose another."
        )
    generator = torch.Generator().manual_seed(seed)
    fillers = list(single_tokens(tokenizer, FILLERS))
    texts, chosen = [], []
    for _ in range(n):
        pair = pairs[_draw(len(pairs), generator)]
        text = [fillers[_draw(len(fillers), generator)] for _ in range(n_words)]
        text[1 + _draw(n_words - 2, generator)] = tokenizer.decode([pair[0]]).strip()
        texts.append(" ".join(text))
        chosen.append(pair)
    word, answer = torch.tensor(chosen).T
    return Prompts(texts, word, answer, members)


def _draw(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator))
