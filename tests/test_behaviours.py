"""What a head does in text: rules on written cases, planted heads, and runs that are interrupted."""

import numpy as np
import pandas as pd
import pytest
import torch

from by_hooks import reference_of, some_text
from successor_heads import ablation, anatomy, behaviours, direct_effects, prompts, texts
from successor_heads.planted import calibrate, words
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.prompts import prompts as planted_prompts

WRITTEN = [  # attended tokens, most first; the answer; what the paper's rules say
    (["7"], "8", "successorship"),
    ([" 99"], " 100", "successorship"),
    ([" 200"], " 201", "successorship"),  # numbers of any size
    (["1998"], "1999", "successorship"),
    (["07"], "08", "successorship"),
    ([" Monday"], " Tuesday", "successorship"),
    (["Sunday"], " Monday", "successorship"),  # days and months go round
    ([" monday"], " TUESDAY", "successorship"),
    ([" December"], " January", "successorship"),
    ([" may"], " june", "successorship"),
    ([" nine"], " Ten", "successorship"),
    ([" first"], " second", "successorship"),
    (["A"], "B", "successorship"),
    ([" Sat"], " Sun", "successorship"),
    ([" a", " b", " c", " d", " 7"], " 8", "successorship"),  # the fifth
    ([" 8", " 7"], " 8", "successorship"),  # it is also copied, and asked second
    ([" N", " M"], " N", "successorship"),
    ([" Sun"], " Mon", "other"),  # prefixes do not go round
    ([" Dec"], " Jan", "other"),
    ([" Z"], " A", "other"),
    ([" twenty"], " one", "other"),
    ([" tenth"], " first", "other"),
    ([" IX"], " X", "other"),  # Roman numerals are in none of the eight lists
    (["8"], "7", "other"),
    (["a"], "b", "other"),  # small letters are pieces of words
    ([" two"], " 3", "other"),  # not within a list
    ([" second"], " three", "other"),
    ([" 27th"], " 28th", "other"),
    (["³"], "⁴", "other"),  # digits to Python, no numerals to us
    ([" a", " b", " c", " d", " e", " 7"], " 8", "other"),  # the sixth is not seen
    ([" Processing"], "NLP", "acronym"),
    ([" processing"], "NLP", "acronym"),  # letters without case
    ([" Window"], "W", "acronym"),  # one capital is an acronym
    ([" Window"], " W", "acronym"),
    (["W"], "W", "acronym"),  # and a token of one letter begins with it
    ([" Organization"], " WHO", "acronym"),
    ([" NASA"], " N", "acronym"),
    ([" the", " Processing"], "NLP", "other"),  # the one attended to most decides
    ([" Window"], " WHO", "other"),  # its last letter, not its first
    ([" Window"], "w", "other"),
    ([" Window"], "Wi", "other"),
    ([" Window"], "W.", "other"),
    (["(Window"], "W", "other"),  # a bracket is no letter
    ([" Ärger"], "Ä", "other"),  # capitals from A to Z
    ([" NASA"], " NASA", "copying"),
    ([" the"], " the", "copying"),
    ([","], ",", "copying"),  # whatever it is
    (["\n"], "\n", "copying"),
    ([" 17"], " 17", "copying"),
    ([" a", " b", " c", " d", " the"], " the", "copying"),
    ([" a", " b", " c", " d", " e", " the"], " the", "other"),
    ([" the"], " The", "other"),  # the same token, not the same word
    (["17"], " 17", "other"),
    (["7"], "9", "greater-than"),
    ([" 1743"], " 1750", "greater-than"),
    ([" Monday"], " Friday", "greater-than"),
    ([" January"], " December", "greater-than"),
    (["A"], "C", "greater-than"),
    ([" dog", " 7"], " 9", "greater-than"),
    ([" 9", " 7"], " 9", "copying"),  # asked before greater-than
    ([" 8", " 3"], " 9", "successorship"),
    ([" 9"], " 7", "other"),
    ([" Friday"], " Monday", "other"),
    ([" 9"], " ten", "other"),
    ([" X"], " XII", "other"),
    ([" dog"], " barked", "other"),
    ([""], "1", "other"),
    ([" 7"], "", "other"),
    ([], " 1999", "other"),
]


STRICTLY = [  # attended tokens, most first; the answer; what the stricter rules say
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


@pytest.mark.parametrize(("attended", "answer", "expected"), WRITTEN)
def test_the_papers_rules_say_what_they_say(attended, answer, expected):
    assert behaviours.behaviour(attended, answer) == expected


@pytest.mark.parametrize(("read", "answer", "expected"), STRICTLY)
def test_stricter_rules_say_what_a_reader_would(read, answer, expected):
    assert behaviours.strict_behaviour([read], answer) == expected


def test_where_two_rules_hold_the_first_decides():
    assert behaviours.rules_that_hold([" 8", " 7"], " 8") == ["successorship", "copying"]
    assert behaviours.rules_that_hold(["I", " M"], " I") == ["acronym"]  # " I" is another token
    assert behaviours.rules_that_hold(["B", "A"], "B") == ["successorship", "acronym", "copying"]
    assert behaviours.rules_that_hold([" 3", " 7"], " 7") == ["copying", "greater-than"]
    for attended, answer, expected in WRITTEN:
        assert behaviours.rules_that_hold(attended, answer)[:1] == ([expected] if expected != "other" else [])


def test_of_the_stricter_rules_the_first_token_decides_and_greater_than_comes_last():
    assert behaviours.strict_behaviour([" Window", " 7", " 3"], " 8") == "successorship"
    assert behaviours.strict_behaviour([" 8", " 7"], " 8") == "copying"
    assert behaviours.strict_behaviour([" 7", " 8"], " 8") == "successorship"
    assert behaviours.strict_behaviour([" H", " I"], " J") == "successorship"
    assert behaviours.strict_behaviour([" H"], " J") == "greater-than"
    assert behaviours.strict_behaviour([" a", " b", " c", " 7"], " 8") == "other"  # the fourth is not seen
    assert behaviours.strict_behaviour([], " 1999") == "other"


def test_shares_of_loss_add_up_and_take_nothing_off():
    rng = np.random.default_rng(0)
    rise, labels = rng.normal(size=(4, 50)), rng.integers(len(behaviours.BEHAVIOURS), size=(4, 50))
    count, total = behaviours.loss_shares(rise, labels)
    assert total.sum() == pytest.approx(rise[rise > 0].sum()) and count.sum() == (rise > 0).sum()
    by_hand = sum(max(value, 0) for value, label in zip(rise[2], labels[2]) if label == 1)
    assert total[2, 1] == pytest.approx(by_hand)
    np.testing.assert_allclose(total.sum(1), np.clip(rise, 0, None).sum(1))
    # The control: what falls is not taken off.
    assert total.sum() > rise.sum()


def test_a_winner_is_alone_and_above_zero():
    effects = torch.tensor([[[1.0, 3], [2, 0]], [[1, 3], [3, 0]], [[-1, -2], [-3, -4]], [[0, 0], [0, 0.5]]])
    assert behaviours.winners(effects).tolist() == [1, -1, -1, 3]


def test_answers_shuffled_within_a_context_keep_what_it_is_about():
    days = [([" Monday"], " Tuesday"), ([" Tuesday"], " Wednesday")] * 10
    letters = [([" Window"], "W")] * 20
    cases = pd.DataFrame(days + letters + [([" 7"], "8")], columns=["read", "answer"])
    cases["context"] = [0] * 20 + [1] * 20 + [3]
    counts = behaviours.shuffled_counts(cases, rules="strict", seed=0, n_contexts=4, n_shuffles=200)
    of = dict(zip(behaviours.BEHAVIOURS, counts.T))
    assert of["acronym"] == pytest.approx([0, 20, 0, 0]), (
        "the context holds nothing else; a case that is alone counts for nothing"
    )
    assert of["successorship"][0] == pytest.approx(20 * 9 / 19, abs=0.8), "one of the nine others with this answer"
    assert of["copying"][0] == pytest.approx(20 * 5 / 19, abs=0.8)
    assert counts.sum(1) == pytest.approx([20, 20, 0, 0])


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


@pytest.mark.slow
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
        named[role] = cases[cases["prefix"] == last]["strict"].value_counts().to_dict()
    assert named == {role: {ROLES[role]: n} for role, n in counts.items()}


def test_one_token_repeated_gives_numbers_and_no_error(model, tokenizer):
    contexts = texts.cut(tokenizer, some_text(" Monday" * 60), n=3, length=12, seed=0).tokens
    effects, _ = behaviours.measure(model, contexts, seed=0)
    assert all(torch.isfinite(values).all() for values in effects)
    tokens = [prompts.token_texts(tokenizer, row) for row in contexts]
    parts = anatomy.of(model)
    cases = [
        behaviours.winning_cases(tokens, effects, layer=layer, head=h)
        for layer in range(2)
        for h in range(parts.n_heads)
    ]
    named = pd.concat(cases)["paper"].unique().tolist()
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


@pytest.mark.slow
def test_a_kept_run_goes_on_with_more_contexts_and_counts_its_processor_time(neox, tmp_path, monkeypatch):
    """What is found in a context is the same however many are read, and is read once."""
    text = some_text(" Monday Tuesday one two A B" * 40, " three four five" * 40)
    options = {"length": 10, "seed": 0, "folder": tmp_path}
    monkeypatch.setattr(behaviours, "contexts_at_once", lambda *_: 2)
    few, many = (behaviours.read(neox, text, n=n, most=8, **options) for n in (2, 6))
    assert len(list(tmp_path.iterdir())) == 1 + 3  # the reference, which both have, and three batches
    for one, other in zip(few.effects, many.effects):
        torch.testing.assert_close(one, other[:2])
    torch.testing.assert_close(few.reference.mean, many.reference.mean)
    rises = [behaviours.loss_rises(neox, reading, (0, 1), seed=0, folder=tmp_path) for reading in (few, many)]
    assert len(list(tmp_path.iterdir())) == 4 + 3
    for way, rise in rises[0].items():
        np.testing.assert_array_equal(rise, rises[1][way][:2])
    other = behaviours.loss_rises(neox, many, (0, 0), seed=0, folder=tmp_path)
    assert np.abs(other["total", "mean"] - rises[1]["total", "mean"]).max() > 1e-3, "another head, another batch"
    of_each = [behaviours.seconds_kept(tmp_path)]
    next(tmp_path.iterdir()).unlink()
    of_each.append(behaviours.seconds_kept(tmp_path))
    assert of_each[0] > of_each[1] > 0
    # Shuffled: else the first contexts would be those of the first documents.
    assert sorted(map(tuple, behaviours.read(neox, text, n=8, length=10, seed=0).contexts.tolist())) == sorted(
        map(tuple, behaviours.read(neox, text, n=8, most=8, length=10, seed=0).contexts.tolist())
    )


def test_what_is_kept_belongs_to_the_weights_and_to_the_text(checkpoints, contexts):
    from successor_heads import models

    one, other = (models.load(str(checkpoints["gpt_neox"])) for _ in range(2))
    assert behaviours._digest_of(one) == behaviours._digest_of(other)
    windows = torch.arange(32)
    assert len({behaviours._digest("x", windows.view(shape)) for shape in ((4, 8), (2, 16), (32,))}) == 3
    with torch.no_grad():
        other._module.get_output_embeddings().weight[:, 0] += 1e-3
    assert behaviours._digest_of(one) != behaviours._digest_of(other)


def test_losses_rise_as_in_a_run_without_the_head(neox, tokenizer):
    """The total effect against ablation in text, the direct one against the stream, on one text."""
    reading = behaviours.read(neox, some_text(" Monday Tuesday one two A B" * 9), n=3, length=10, seed=0)
    rises = behaviours.loss_rises(neox, reading, (0, 1), seed=0)
    mean, contexts = reading.reference.mean, reading.contexts
    _, loss = ablation.ablated_in_text(neox, contexts, [(0, 1)], mean=mean, batch_size=3)
    np.testing.assert_allclose(rises["total", "mean"], loss - reading.effects.loss, atol=1e-4)
    assert set(rises) == {(path, kind) for path in ("direct", "indirect", "total") for kind in ("mean", "resample")}
    assert np.abs(rises["total", "mean"] - rises["total", "resample"]).max() > 1e-3
    labels = behaviours.labels(reading.tokens, reading.effects.attended[:, :, 0, 1])
    assert labels.shape == contexts[:, 1:].shape
    cases = behaviours.winning_cases(reading.tokens, reading.effects, layer=0, head=1)
    for case in cases.itertuples():
        assert behaviours.BEHAVIOURS[labels[case.context, case.prefix]] == case.paper


def test_stored_runs_add_up_and_hold_no_book():
    runs = {run["model"]: run for run in behaviours.stored_runs()}
    assert set(runs) == {"grown/gpt2", "grown/llama", "grown/pythia", "published/gemma3-270m", "published/smollm2"}
    for run in runs.values():
        assert [text["name"] for text in run["texts"]] == ["documentation", "books"]
        for text in run["texts"]:
            n_prefixes = text["contexts"] * (text["length"] - 1)
            assert text["won"][1] == sum(text["everywhere"].values()) == n_prefixes
            assert sum(n for n, *_ in text["cases"].values()) == text["won"][0]
            for way, shares in text["losses"].items():
                assert sum(share for _, _, share, *_ in shares.values()) == pytest.approx(1, abs=1e-3)
                assert sum(text["by_lot"][way].values()) == pytest.approx(1, abs=1e-3)
                value, low, high = text["rises"][way]["all"]
                assert low <= value <= high
            assert text["documents"] <= text["contexts"] and set(text["clear"]) < set(behaviours.BEHAVIOURS)
        assert [text["name"] for text in run["read"]] == ["documentation"]
        for case in run["cases"]:
            context = run["read"][case["text"]]["contexts"][case["context"]]
            assert case["prefix"] + 2 == len(context) <= 42
            seen = [context[at] for at in case["attended"]]
            assert case["at"][1] >= case["prefix"] and len(case["raised"]) == 5
            assert all(0 < probability <= 1 <= rank for probability, rank in case["odds"])
            # Attended tokens further back are cut off, and with them some reasons.
            if behaviours.behaviour(seen, context[-1]) != "other" and len(seen) == 5:
                assert behaviours.behaviour(seen, context[-1]) == case["paper"]
