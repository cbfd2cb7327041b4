"""Make the tokenizer of the grown models: byte-level BPE that keeps every ordinal whole.

A head can only be scored on tokens, so each ordinal has to be one token, as in GPT-2 and Pythia.
BPE merges what is frequent; we therefore count the words that must stay whole far more often than the
text alone would, and check afterwards that they did.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from successor_heads.errors import UserError
from successor_heads.ordinals import CLASSES, ROMAN_NUMERALS

D_VOCAB = 4096
STORED_AS = np.uint16
LARGEST_VOCABULARY = np.iinfo(STORED_AS).max + 1
END_OF_TEXT = "<|endoftext|>"
# GPT-2's own pattern, but with runs of digits cut after three: a year then falls into pieces, while
# 0 to 500 can stay whole.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def whole_words(*, digits: bool = False) -> list[str]:
    """The words that must be single tokens, with a leading space and without; with `digits`, no longer number is."""
    ordinals = [word for ordinal_class in CLASSES.values() for word in ordinal_class.words]
    words = dict.fromkeys([*map(str, range(501)), *ordinals, *ROMAN_NUMERALS])
    return [word for word in words if not (digits and word.isdigit() and len(word) > 1)]


def train_tokenizer(texts: Iterable[str], *, d_vocab: int = D_VOCAB, digits: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of `d_vocab` tokens in which each of `whole_words()` is one token.

    With `digits` every digit is a token of its own, and a number is written in several.

    Raises UserError when a word that must be whole was not merged, which a larger `d_vocab` cures.
    """
    tokenizer = Tokenizer(models.BPE())
    pattern = PATTERN.replace("{1,3}", "") if digits else PATTERN
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=d_vocab,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = whole_words(digits=digits)
    tokenizer.train_from_iterator(_with_whole_words(texts, words), trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, bos_token=END_OF_TEXT)
    broken = [word for word in words for form in (word, " " + word) if len(wrapped.encode(form)) != 1]
    if broken:
        raise UserError(
            f"A vocabulary of {d_vocab} tokens does not hold {len(broken)} of the words that have to be whole, "
            f"{broken[0]!r} among them: choose a larger one with --vocabulary."
        )
    return wrapped


def _with_whole_words(texts: Iterable[str], words: list[str]) -> Iterator[str]:
    yield from texts
    # A word ends up whole when its count is above that of the last merge, which for the samples used
    # here (a few megabytes) stands at some hundreds.
    for word in words:
        for form in (word, " " + word):
            yield from [form] * 3000


def tokens_of(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], n: int) -> tuple[np.ndarray, int]:
    """The first `n` tokens of the texts, read again from the start when they run out; and how many differ."""
    pieces, length, end = [], 0, tokenizer.eos_token_id
    texts = iter(texts)
    while length < n and (batch := list(itertools.islice(texts, 200))):
        for ids in tokenizer(batch, verbose=False)["input_ids"]:
            pieces.append(np.array([*ids, end], dtype=STORED_AS))
            length += len(pieces[-1])
    tokens = np.concatenate(pieces)
    return np.resize(tokens, n), min(length, n)
