"""Prompts, patterns and activations against plain forward passes with hooks."""

import copy
import dataclasses

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from by_hooks import PROMPTS, hooked_forward, some_text
from successor_heads import models, ordinals, prompts, texts
from successor_heads.errors import UserError


@pytest.mark.parametrize(
    ("template", "in_front"),
    [("$A <eos>", []), ("<eos> $A", [1]), ("<eos> $A <eos>", [1]), ("<unk> <eos> $A <eos> <eos>", [0, 1])],
)
def test_what_a_tokenizer_puts_in_front_stays_and_what_it_appends_goes(neox, template, in_front):
    """As Llama's BOS, a T5's EOS and a BERT's CLS and SEP. The last token that is read is the text's own."""
    plain, text = neox.tokenizer, "Monday Tuesday Wednesday"
    own = plain(text)["input_ids"]
    adding = copy.deepcopy(plain)
    specials = [("<eos>", 1), ("<unk>", 0)]
    adding._tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=specials)
    as_it_is = adding(text)["input_ids"]
    assert as_it_is != own and len(as_it_is) == len(own) + len(template.split()) - 1, "the tokenizer itself adds them"
    before, classes = prompts.next_token_logits(neox, [in_front + own]), ordinals.resolve(plain)
    neox.tokenizer = adding
    try:
        assert prompts.encode(neox, [text, [5, 1]])["input_ids"][0].tolist() == in_front + own
        assert torch.equal(prompts.next_token_logits(neox, [text]), before)
        shown, patterns = prompts.attention_patterns(neox, text)
        assert shown[-1] == " Wednesday" and patterns.shape[-1] == len(in_front) + len(own)
    finally:
        neox.tokenizer = plain
    with_the_appended = prompts.next_token_logits(neox, [as_it_is])
    assert torch.equal(with_the_appended, before) == (not template.endswith("<eos>"))
    assert prompts.split_at(adding, text, len("Monday Tuesday ")) == (in_front + own[:2], own[2])
    cut = texts.cut(adding, some_text(" ".join([text] * 9)), n=3, length=6, seed=0).tokens
    assert all(row[: len(in_front)] == in_front and 0 not in row[len(in_front) :] for row in cut.tolist())
    for task, resolved in ordinals.resolve(adding).items():
        assert torch.equal(resolved.token_ids, classes[task].token_ids)


def test_a_tokenizer_that_changes_the_text_itself_is_refused():
    class Between:
        def encode(self, text, *, add_special_tokens):
            return [2, 9, 3] if add_special_tokens else [2, 3]

    with pytest.raises(UserError, match="tokens of its own among those of a text"):
        ordinals.tokens_in_front(Between())


def test_a_text_is_split_before_a_word(tokenizer):
    text = "Monday Tuesday Wednesday"
    before, answer = prompts.split_at(tokenizer, text, len("Monday Tuesday "))
    assert (before, answer) == (tokenizer("Monday Tuesday")["input_ids"], tokenizer(" Wednesday")["input_ids"][0])
    assert prompts.split_at(tokenizer, text, len("Monday Tues")) is None  # in the midst of a token
    assert prompts.split_at(tokenizer, text, 0) is None  # nothing before it
    assert prompts.split_at(tokenizer, text, len(text)) is None


def test_numbered_lists_are_items_that_count_on():
    document = "Plan:\n1. one\n2. two\n   more of two\n3) three\n\n5. five\n6. six\n6. six\n2024. a year\n1. new\n"
    found = prompts.numbered_lists([document, "no list 1. here 2. there"])
    assert [text[start:].split()[0] for text, start in found] == ["2.", "3)", "6."]
    assert all(text[:start].rstrip(" ").endswith("\n") for text, start in found)
    far = "1. one\n" + "x" * 600 + "\n2. two\n"
    assert prompts.numbered_lists([far]) == [] and len(prompts.numbered_lists([far], reach=700)) == 1


def test_prompts_are_padded_on_the_left_and_counted_from_their_first_token(neox):
    encoded = prompts.encode(neox, [" 7 8", "A"])
    assert encoded["attention_mask"].tolist() == [[1, 1], [0, 1]]
    assert encoded["position_ids"].tolist() == [[0, 1], [0, 0]]
    assert encoded["input_ids"][1, 1] == neox.tokenizer("A")["input_ids"][0]


def test_a_padded_batch_gives_what_each_prompt_gives_alone(model):
    batched = prompts.next_token_logits(model, PROMPTS)
    for prompt, logits in zip(PROMPTS, batched):
        torch.testing.assert_close(logits, hooked_forward(model, prompt)[0], atol=1e-4, rtol=0)


def test_attention_patterns_are_those_of_the_forward_pass(model):
    tokens, patterns = prompts.attention_patterns(model, PROMPTS[1])
    assert tokens == ["Monday", " Tuesday", " Wednesday", " Thursday"]
    with torch.no_grad():
        output = model._module(prompts.encode(model, [PROMPTS[1]])["input_ids"], output_attentions=True)
    torch.testing.assert_close(patterns, torch.cat(output.attentions), atol=1e-6, rtol=0)
    torch.testing.assert_close(patterns.sum(-1), torch.ones(patterns.shape[:3]))
    assert (patterns.triu(1) == 0).all()


def test_mean_head_outputs_ignore_the_padding(model):
    means = prompts.mean_head_outputs(model, PROMPTS)
    expected = torch.stack([hooked_forward(model, prompt)[1] for prompt in PROMPTS]).mean(0)
    torch.testing.assert_close(means, expected, atol=1e-5, rtol=0)


def test_tokens_are_shown_with_their_spaces(tokenizer):
    ids = torch.tensor(tokenizer("Monday Tuesday\n 27")["input_ids"])
    assert prompts.token_texts(tokenizer, ids) == ["Monday", " Tuesday", "\n", " 27"]


def test_counting_lists_are_three_members_and_what_follows_them(tokenizer):
    classes = ordinals.resolve(tokenizer)
    lists, answers = prompts.counting_lists(classes["days"])
    assert len(lists) == 7 and " Saturday, Sunday, Monday," in lists, "days go round"
    place = lists.index(" Saturday, Sunday, Monday,")
    assert tokenizer.decode(answers[place]) == " Tuesday"
    lists, answers = prompts.counting_lists(classes["numbers"], most=5)
    assert lists[0] == " 1, 2, 3," and tokenizer.decode(answers[-1]) == " 200" and len(lists) == len(answers) == 5
    bare = dataclasses.replace(classes["days"], prefix="")
    assert prompts.counting_lists(bare)[0] == []


def test_what_is_affordable_follows_from_the_size_of_the_model_alone(neox, monkeypatch):
    n_parameters = sum(parameter.numel() for parameter in neox._module.parameters())
    monkeypatch.setattr(prompts, "WORK", 20.5 * n_parameters * 100)
    assert [prompts.affordable(neox, most, tokens=100) for most in (5, 20, 21, 1000)] == [5, 20, 20, 20]
    assert prompts.affordable(neox, 1000, tokens=200) == 10
    assert (
        prompts.affordable(neox, 1000, tokens=10_000) == 8 and prompts.affordable(neox, 9, tokens=10_000, least=2) == 2
    )


def test_grown_models_are_measured_in_full():
    """What chapter 5 would take at the most: eight contexts of 256 tokens for each of 32 heads."""
    assert prompts.affordable(models.load("grown/pythia"), 8 * 32, tokens=256) == 8 * 32
