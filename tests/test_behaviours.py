"""What a head does in text: rules on written cases, planted heads, and runs that are interrupted."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from by_hooks import reference_of, some_text
from successor_heads import anatomy, behaviours, direct_effects, prompts, texts
from successor_heads.planted import calibrate, words
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.prompts import prompts as planted_prompts

WRITTEN = [  # attended tokens, most first; the answer; what a reader would say
    ("7", "8", "successorship"),
    (" 99", " 100", "successorship"),
    ("1998", "1999", "successorship"),
    (" 0", " 1", "successorship"),
    ("07", "08", "successorship"),
    (" Monday", " Tuesday", "successorship"),
    ("Sunday", " Monday", "successorship"),
    (" monday", " Tuesday", "successorship"),
    (" SUNDAY", " MONDAY", "successorship"),
    (" Sat", " Sun", "successorship"),
    (" Sun", " Mon", "successorship"),
    (" December", " January", "successorship"),
    ("Dec", "Jan", "successorship"),
    (" may", " june", "successorship"),
    (" May", " Jun", "successorship"),
    (" May", " June", "successorship"),
    (" nine", " ten", "successorship"),
    (" Nine", " ten", "successorship"),
    (" first", " second", "successorship"),
    ("A", "B", "successorship"),
    (" I", " J", "successorship"),
    (" I", " II", "successorship"),
    (" IX", " X", "successorship"),
    ("\n3", "4", "successorship"),
    (" Z", " A", "other"),  # letters go round for nobody
    (" twenty", " one", "other"),
    (" tenth", " first", "other"),
    ("8", "7", "other"),
    (" Tuesday", " Monday", "other"),
    ("a", "b", "other"),  # small letters are pieces of words
    (" Monday", " Feb", "other"),
    (" two", " 3", "other"),  # not within a class
    (" second", " three", "other"),
    (" 27th", " 28th", "other"),
    (" 1,000", " 1,001", "other"),
    ("³", "⁴", "other"),  # digits to Python, no numerals to us
    ("٣", "٤", "other"),
    ("", "1", "other"),
    (" ", " ", "other"),
    ("\n", "\n", "other"),
    ("7", "", "other"),
    ("\ufffd", "\ufffd", "other"),
    (" Window", "W", "acronym"),
    (" Window", " WHO", "acronym"),
    ("Ärzte", "Ä", "acronym"),
    (" window", "W", "other"),  # no capital to take
    (" Window", "w", "other"),
    (" Window", "Wi", "other"),
    (" Window", "N", "other"),
    (" Window", "WINDOWS", "other"),  # too long for an acronym
    ("W", "WHO", "other"),  # a letter is no word
    (" NASA", "N", "other"),  # an acronym is not spelt from one
    (" NASA", " NASA", "copying"),
    (" the", " The", "copying"),
    ("17", " 17", "copying"),
    (" A", "A", "copying"),
    ("__init__", "__init__", "copying"),
    (",", ",", "other"),  # commas are everywhere
    ("...", "...", "other"),
    (" straße", " STRASSE", "other"),
    ("7", "9", "greater-than"),
    (" 1743", " 1750", "greater-than"),
    (" Monday", " Friday", "greater-than"),
    (" January", " December", "greater-than"),
    ("A", "C", "greater-than"),
    (" X", " XII", "greater-than"),
    (" 9", " 7", "other"),
    (" Friday", " Monday", "other"),
]


ROLES = {"successor": "successorship", "acronym": "acronym", "copy": "copying"}


@pytest.mark.parametrize(("read", "answer", "expected"), WRITTEN)
def test_rules_say_what_a_reader_would(read, answer, expected):
    assert behaviours.behaviour([read], answer) == expected


def test_the_first_token_with_an_exact_rule_decides_and_greater_than_comes_last():
    assert behaviours.behaviour([" Window", " 7", " 3"], " 8") == "successorship"
    assert behaviours.behaviour([" 8", " 7"], " 8") == "copying"
    assert behaviours.behaviour([" 7", " 8"], " 8") == "successorship"
    assert behaviours.behaviour([" H", " I"], " J") == "successorship"
    assert behaviours.behaviour([" H"], " J") == "greater-than"
    assert behaviours.behaviour([" March", " 1998", " ("][:1], " 1999") == "other"
    assert behaviours.behaviour([], " 1999") == "other"


def test_more_attended_tokens_leave_a_named_exact_behaviour_as_it_is():
    rng = np.random.default_rng(0)
    words = [read for read, _, _ in WRITTEN]
    for _ in range(300):
        read, answer = list(rng.choice(words, 5)), rng.choice([answer for _, answer, _ in WRITTEN])
        one, five = behaviours.behaviour(read[:1], answer), behaviours.behaviour(read, answer)
        assert one in (five, "other", "greater-than")


def test_a_winner_is_alone_and_above_zero():
    effects = torch.tensor([[[1.0, 3], [2, 0]], [[1, 3], [3, 0]], [[-1, -2], [-3, -4]], [[0, 0], [0, 0.5]]])
    assert behaviours.winners(effects).tolist() == [1, -1, -1, 3]


def test_dealt_answers_keep_the_answers_and_lose_the_order():
    reads = [[" Monday"], [" Tuesday"], [" Window"], [" 7"]] * 10
    cases = pd.DataFrame({"read": reads, "answer": [" Tuesday", " Wednesday", "W", "8"] * 10})
    chance = behaviours.shuffled_shares(cases, top=1, seed=0, n_shuffles=200)
    assert sum(chance.values()) == pytest.approx(1)
    assert chance["acronym"] == pytest.approx(
        1 / 16, abs=0.02
    )  # one in four of the words meets one in four of the answers
    assert chance["successorship"] == pytest.approx(3 / 16, abs=0.03)


def test_answers_dealt_within_a_context_keep_what_it_is_about():
    days = [([" Monday"], " Tuesday"), ([" Tuesday"], " Wednesday")] * 10
    letters = [([" Window"], "W")] * 20
    cases = pd.DataFrame(days + letters + [([" 7"], "8")], columns=["read", "answer"])
    cases["context"] = [0] * 20 + [1] * 20 + [2]
    chance = behaviours.shuffled_shares(cases, top=1, seed=0, n_shuffles=200, within="context")
    assert chance["acronym"] == 1 / 2  # the context holds nothing else, and the case that is alone is left out
    assert chance["successorship"] == pytest.approx(9 / 19 / 2, abs=0.02)  # one of the nine others with this answer
    assert chance["copying"] == pytest.approx(5 / 19 / 2, abs=0.02)


def test_shuffled_effects_keep_words_and_last_token_and_lose_the_order(neox, contexts):
    reference = reference_of(neox, contexts)
    places = torch.tensor([[0, 7], [3, 1], [2, 5]])
    found = behaviours.shuffled_effects(neox, contexts, places, mean=reference.mean, seed=0)
    draws = torch.zeros(5, 8, dtype=torch.long)
    intact = direct_effects.effects_in_text(neox, contexts, reference=reference, draws=draws).mean
    # Of a prefix of two tokens only one order keeps the last in place.
    torch.testing.assert_close(found[1], intact[3, 1], atol=1e-4, rtol=0)
    assert (found[0] - intact[0, 7]).abs().max() > 1e-2
    torch.testing.assert_close(found, behaviours.shuffled_effects(neox, contexts, places, mean=reference.mean, seed=0))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_shares_of_behaviours_are_the_planted_ones(family):
    planted = plant(Plan(family, 1, calibrate.SMALL[family], in_context=True), words.word_tokenizer())
    model, rows, counts = planted.open(), [], {"successor": 12, "acronym": 6, "copy": 18}
    for role, n in counts.items():
        for text, answer in zip(*planted_prompts(model.tokenizer, role, n=n, seed=2)[::2]):
            rows.append([*model.tokenizer(text)["input_ids"], int(answer)])
    contexts = torch.tensor(rows)
    effects, _ = behaviours.measure(model, contexts, seed=0)
    tokens = [prompts.token_texts(model.tokenizer, row) for row in contexts]
    last, named = contexts.shape[1] - 2, {}
    for role in counts:
        layer, head = planted.place(role)
        cases = behaviours.winning_cases(tokens, effects, layer=layer, head=head)
        named[role] = cases[cases["prefix"] == last]["behaviour_3"].value_counts().to_dict()
    assert named == {role: {ROLES[role]: n} for role, n in counts.items()}


def test_one_token_repeated_gives_numbers_and_no_error(model, tokenizer):
    contexts = texts.cut(tokenizer, some_text(" Monday" * 60), n=3, length=12, seed=0)
    effects, _ = behaviours.measure(model, contexts, seed=0)
    assert all(torch.isfinite(values).all() for values in effects)
    tokens = [prompts.token_texts(tokenizer, row) for row in contexts]
    parts = anatomy.of(model)
    cases = [
        behaviours.winning_cases(tokens, effects, layer=layer, head=h)
        for layer in range(2)
        for h in range(parts.n_heads)
    ]
    named = pd.concat(cases)["behaviour_1"].unique().tolist()
    assert named in ([], ["copying"])


def test_an_interrupted_run_goes_on_where_it_stopped(neox, contexts, tmp_path, monkeypatch):
    whole, _ = behaviours.measure(neox, contexts, seed=0, batch_size=2)
    effects_in_text, calls = direct_effects.effects_in_text, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return effects_in_text(*args, **kwargs)

    monkeypatch.setattr(direct_effects, "effects_in_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        behaviours.measure(neox, contexts, seed=0, folder=tmp_path, batch_size=2)
    assert len(list(tmp_path.iterdir())) == 2  # the reference and the first batch, and no draft
    again, _ = behaviours.measure(neox, contexts, seed=0, folder=tmp_path, batch_size=2)
    assert len(calls) == 4  # one, the one that failed, and the two that were left
    for one, other in zip(whole, again):
        torch.testing.assert_close(one, other)
    behaviours.measure(neox, contexts, seed=0, folder=tmp_path, batch_size=2)
    assert len(calls) == 4
    behaviours.measure(neox, contexts, seed=1, folder=tmp_path, batch_size=2)  # other draws, other batches
    assert len(calls) == 7


def test_what_is_kept_belongs_to_the_weights_and_to_the_text(checkpoints, contexts):
    from successor_heads import models

    one, other = (models.load(str(checkpoints["gpt_neox"])) for _ in range(2))
    assert behaviours._digest_of(one) == behaviours._digest_of(other)
    with torch.no_grad():
        other._module.get_output_embeddings().weight[:, 0] += 1e-3
    assert behaviours._digest_of(one) != behaviours._digest_of(other)


def test_blind_cases_are_fifty_and_their_rules_are_todays():
    blind = behaviours.blind_cases()
    assert len(blind) == 50 and set(blind["hand"]) <= set(behaviours.BEHAVIOURS)
    for case in blind.itertuples():
        assert behaviours.behaviour([token for token, _ in case.attended[:3]], case.answer) == case.rules


def test_figures_on_books_come_with_intervals_and_without_text():
    stored = behaviours.stored_figures("heldout-books")
    assert set(stored) == {"grown/pythia", "grown/llama"}
    for of in stored.values():
        assert sum(share["value"] for share in of["shares"].values()) == pytest.approx(1, abs=1e-3)
        assert all(share["low"] <= share["value"] <= share["high"] for share in of["shares"].values())
    assert len(json.dumps(stored)) < 4000
