import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, normalizers
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from conftest import real_tokenizer_folder
from successor_heads import models, ordinals
from successor_heads.errors import UserError

ALL_PAIRS = dict(
    numbers=199, number_words=19, ordinal_words=9, days=7, day_prefixes=7, months=12, month_prefixes=12, letters=25
)
LLAMA_2_PAIRS = dict(
    numbers=8, number_words=11, ordinal_words=5, days=3, day_prefixes=3, months=12, month_prefixes=10, letters=25
)
LLAMA_2_MEMBERS = dict(
    numbers=9, number_words=14, ordinal_words=6, days=4, day_prefixes=5, months=12, month_prefixes=11, letters=26
)
LLAMA_2_DROPPED = dict(
    numbers=tuple(str(number) for number in range(10, 201)),
    number_words=("thirteen", "fourteen", "sixteen", "seventeen", "eighteen", "nineteen"),
    ordinal_words=("seventh", "eighth", "ninth", "tenth"),
    days=("Tuesday", "Wednesday", "Thursday"),
    day_prefixes=("Tue", "Thu"),
    months=(),
    month_prefixes=("Apr",),
    letters=(),
)


def real_tokenizer(name):
    return AutoTokenizer.from_pretrained(real_tokenizer_folder(name))


def count_pairs(classes):
    return {task: len(resolved.source) for task, resolved in classes.items()}


def words_tokenizer(words, *, normalizer=None):
    """A tokenizer that knows exactly these texts, cut at line breaks."""
    backend = Tokenizer(
        WordLevel({word: place for place, word in enumerate(["<unk>", "\n", *words])}, unk_token="<unk>")
    )
    backend.pre_tokenizer = Split("\n", "isolated")
    backend.decoder = decoders.Fuse()
    if normalizer is not None:
        backend.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def test_the_eight_classes_hold_294_words_and_290_pairs():
    assert ordinals.TASKS == tuple(ALL_PAIRS)
    assert sum(len(ordinal_class.words) for ordinal_class in ordinals.CLASSES.values()) == 294
    assert sum(ALL_PAIRS.values()) == 290
    assert {task for task, ordinal_class in ordinals.CLASSES.items() if ordinal_class.cyclic} == {
        "days", "day_prefixes", "months", "month_prefixes",
    }  # fmt: skip


def test_no_word_is_there_twice_in_a_class():
    for words in [ordinals.ROMAN_NUMERALS, *(ordinals.CLASSES[task].words for task in ordinals.TASKS)]:
        assert len(set(words)) == len(words)
    assert len(ordinals.ROMAN_NUMERALS) == 20


@pytest.mark.parametrize("name", ["gpt2", "gpt-neox"])
def test_gpt2_and_neox_hold_everything_with_a_leading_space(name):
    classes = ordinals.resolve(real_tokenizer(name))
    assert count_pairs(classes) == ALL_PAIRS
    assert {resolved.prefix for resolved in classes.values()} == {" "}
    assert not any(resolved.dropped for resolved in classes.values())


@pytest.mark.parametrize("name, number_words, ordinal_words", [("gpt2", 9, 4), ("gpt-neox", 9, 3)])
@pytest.mark.slow
def test_without_the_space_number_words_break(name, number_words, ordinal_words):
    tokenizer = real_tokenizer(name)
    bare = {
        task: len(ordinals.resolve_class(tokenizer, ordinals.CLASSES[task], prefix="").source)
        for task in ordinals.TASKS
    }
    assert bare == ALL_PAIRS | dict(number_words=number_words, ordinal_words=ordinal_words)


def test_llama_2_has_bare_digits_and_spaced_words_and_drops_what_it_splits():
    classes = ordinals.resolve(real_tokenizer("llama-2"))
    assert count_pairs(classes) == LLAMA_2_PAIRS
    assert {task: len(resolved.words) for task, resolved in classes.items()} == LLAMA_2_MEMBERS
    assert {task: resolved.dropped for task, resolved in classes.items()} == LLAMA_2_DROPPED
    assert {task for task, resolved in classes.items() if resolved.prefix == ""} == {"numbers"}


@pytest.mark.slow
def test_llama_2_tokens_are_the_ones_used_inside_a_text():
    tokenizer = real_tokenizer("llama-2")
    classes = ordinals.resolve(tokenizer)
    assert tokenizer.convert_ids_to_tokens(classes["numbers"].token_ids) == list("123456789")
    assert tokenizer.convert_ids_to_tokens(classes["days"].token_ids) == ["▁Monday", "▁Friday", "▁Saturday", "▁Sunday"]


@pytest.mark.parametrize("name", ["gpt2", "gpt-neox", "llama-2"])
@pytest.mark.slow
def test_tokens_decode_to_their_words(name):
    tokenizer = real_tokenizer(name)
    for resolved in ordinals.resolve(tokenizer).values():
        for word, token_id in zip(resolved.words, resolved.token_ids.tolist()):
            # After a line break, where no tokenizer touches the space.
            around = tokenizer.encode("\n", add_special_tokens=False)
            assert tokenizer.decode([*around, token_id]).endswith("\n" + resolved.prefix + word)


def test_pairs_follow_the_order_and_wrap_around_where_the_class_does(tokenizer):
    classes = ordinals.resolve(tokenizer)
    for task, resolved in classes.items():
        followers = {resolved.words[s]: resolved.words[t] for s, t in zip(resolved.source, resolved.target)}
        words = ordinals.CLASSES[task].words
        expected = dict(itertools.pairwise(words))
        if ordinals.CLASSES[task].cyclic:
            expected[words[-1]] = words[0]
        assert followers == expected
        assert resolved.index.tolist() == list(range(1, len(words) + 1))


def test_a_gap_breaks_two_pairs_and_keeps_the_places():
    tokenizer = words_tokenizer([" Monday", " Tuesday", " Thursday", " Friday", " Sunday"])
    days = ordinals.resolve(tokenizer)["days"]
    assert days.words == ("Monday", "Tuesday", "Thursday", "Friday", "Sunday")
    assert days.index.tolist() == [1, 2, 4, 5, 7]
    assert days.dropped == ("Wednesday", "Saturday")
    assert list(zip(days.source.tolist(), days.target.tolist())) == [(0, 1), (2, 3), (4, 0)]


def test_the_variant_with_more_pairs_wins_and_the_space_wins_a_tie():
    tokenizer = words_tokenizer([" Mon", " Tue", "Mon", "Tue", " Jan", "Jan", "Feb"])
    classes = ordinals.resolve(tokenizer)
    assert classes["day_prefixes"].prefix == " "
    assert classes["month_prefixes"].prefix == ""


def test_a_class_that_cannot_be_written_is_empty():
    classes = ordinals.resolve(words_tokenizer([" Mon", " Tue"]))
    assert classes["letters"].words == () and len(classes["letters"].source) == 0
    assert classes["letters"].dropped == ordinals.CLASSES["letters"].words


def test_words_that_lose_their_case_are_not_those_words():
    lowercase = words_tokenizer([" a", " b", " one", " two"], normalizer=normalizers.Lowercase())
    assert count_pairs(ordinals.resolve(lowercase)) == dict.fromkeys(ALL_PAIRS, 0) | dict(number_words=1)


@pytest.mark.parametrize("words", [[], ["Monday", "Wednesday"], ["cat"]])
def test_no_usable_pair_is_said_in_one_sentence(words):
    with pytest.raises(UserError, match="no two successive members"):
        ordinals.resolve(words_tokenizer(words))


@given(st.sets(st.sampled_from(ordinals.CLASSES["months"].words)))
@pytest.mark.slow
def test_any_part_of_a_cyclic_class_pairs_neighbours_only(known):
    months = ordinals.CLASSES["months"]
    resolved = ordinals.resolve_class(words_tokenizer([" " + word for word in known]), months, prefix=" ")
    assert set(resolved.words) == known and set(resolved.words) | set(resolved.dropped) == set(months.words)
    steps = (resolved.index[resolved.target] - resolved.index[resolved.source]) % 12
    assert (steps == 1).all()
    assert len(resolved.source) == sum(months.words[(months.words.index(word) + 1) % 12] in known for word in known)


@pytest.mark.parametrize("name", ["gpt2", "gpt-neox", "llama-2"])
@pytest.mark.slow
def test_a_tokenizer_read_without_transformers_gives_the_same_classes(name):
    folder = real_tokenizer_folder(name)
    light = ordinals.resolve(models.FileTokenizer(folder / "tokenizer.json"))
    for task, expected in ordinals.resolve(AutoTokenizer.from_pretrained(folder)).items():
        assert light[task].token_ids.tolist() == expected.token_ids.tolist()
        assert (light[task].words, light[task].prefix) == (expected.words, expected.prefix)
