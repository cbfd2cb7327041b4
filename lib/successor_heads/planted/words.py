"""Tokenizers for plants, and the words around the ordinals in their prompts."""

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from successor_heads.errors import UserError
from successor_heads.models import ZOO
from successor_heads.ordinals import CLASSES, ROMAN_NUMERALS, single_token

FILLERS = (
    "the of and to in was with for on that from this they were have which their would there about when "
    "some other into only also after most made over such well very still before being through"
).split()
CAPITALIZED = (
    "America Australia Bill British China Canada David Dutch England Europe France Frank George German "
    "Henry House India Israel John James King Korea London Louis Mary Michael North New Oxford Old Paul "
    "Paris Queen Robert Russia South State Thomas Texas United Victoria Washington West York"
).split()
COPIED = (
    "water music river paper stone light night house table green horse money summer winter garden bread "
    "glass heart voice road"
).split()
# What every installation has, wherever it runs: the tokenizer of the first grown model.
GROWN = "pythia"


def find_tokenizer(name: str) -> tuple[PreTrainedTokenizerBase, str]:
    """A tokenizer, and what to call it: a folder, 'words', or for 'auto' the one of the first grown model.

    That one comes with the package, so the same command plants the same model on every machine.

    :raises UserError: for a folder without a tokenizer, and for one that cannot be read.
    """
    if name == "auto":
        grown = (ZOO / GROWN / "tokenizer.json").is_file()
        return (_read(ZOO / GROWN), f"grown/{GROWN}") if grown else (word_tokenizer(), "words")
    if name == "words":
        return word_tokenizer(), "words"
    if not (Path(name) / "tokenizer.json").is_file():
        raise UserError(f"There is no tokenizer.json in {name}: name a folder that holds one, 'words' or 'auto'.")
    return _read(Path(name)), Path(name).name


def _read(folder: Path) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # tokenizers raises bare Exceptions
        said = " ".join(str(error).split())[:200]
        raise UserError(
            f"The tokenizer in {folder} cannot be read ({said}): name another folder, 'words' or 'auto'."
        ) from error


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words only, each with a leading space and without; all ordinals and Roman numerals are in it."""
    ordinals = [word for ordinal_class in CLASSES.values() for word in ordinal_class.words]
    words = dict.fromkeys([*ordinals, *ROMAN_NUMERALS, *map(str, range(501)), *FILLERS, *CAPITALIZED, *COPIED])
    vocabulary = ["<unk>", "<eos>", "\n", " "] + [prefix + word for word in words for prefix in (" ", "")]
    backend = Tokenizer(WordLevel({word: place for place, word in enumerate(vocabulary)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\w+|\s"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<eos>")


def single_tokens(tokenizer, words: list[str]) -> dict[str, int]:
    """Those of `words` that are one token behind a space, with that token."""
    found = {word: single_token(tokenizer, " " + word) for word in words}
    return {word: token_id for word, token_id in found.items() if token_id is not None}
