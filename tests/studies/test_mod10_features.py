"""Chapter 3's study: every verdict from made-up findings, drawings without faults, and its protocols on plants of known make-up."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from successor_heads import anatomy, features, figures, files, intervals, models, ordinals, reported
from successor_heads.errors import UserError
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.shapes import Shape
from successor_heads.planted.words import word_tokenizer
from successor_heads.studies import autoencoder_runs
from successor_heads.studies import mod10_features as study
from successor_heads.studies.autoencoder_runs import Runs, StoredRuns
from successor_heads.studies.cells import NOT_ASKED
from successor_heads.studies.mod10_features import (
    NEAREST,
    PAIRS,
    PAIRS_HEAD,
    TESTS,
    TOKENS,
    TOKENS_HEAD,
    WHOLE,
    Asked,
    Autoencoders,
    Carried,
    Circles,
    Found,
    Needed,
    Neurons,
    Probes,
    Reader,
    Subspace,
)

LISTS = {"number_words": range(1, 20), "months": range(1, 13), "days": range(1, 8)}


def few_probes() -> Probes:
    """Those of a tokenizer whose only numbers are its digits: no modulus beyond ten, and no number held out."""
    whole = probes(n_numbers=10)
    moduli = whole.by_modulus[whole.by_modulus["modulus"] <= 10].assign(validation=np.nan, n_validation=0)
    return replace(whole, by_modulus=moduli, tens=(0, 0, 0.0, 1.0), beyond=None, last=500)


def probes(*, right=30, tens=95, coprime=0.1, n_numbers=100) -> Probes:
    """Of 38 words of lists never seen this many are read rightly; of 100 numbers of unseen tens so many."""
    words = pd.DataFrame(
        [(task, f" w{i}", i) for task, members in LISTS.items() for i in members], columns=["list", "word", "index"]
    )
    words["read"] = [index % 10 if place < right else (index + 5) % 10 for place, index in enumerate(words["index"])]
    moduli = pd.DataFrame({"modulus": study.MODULI})
    moduli["validation"] = [1.0 if m == 10 else coprime if m == 7 else 0.1 for m in study.MODULI]
    moduli["unseen"] = [right / 38 if m == 10 else 0.1 for m in study.MODULI]
    moduli["validation_by_ten"] = moduli["unseen_by_ten"] = 0.1
    moduli["n_validation"] = n_numbers // 10
    return Probes(
        by_modulus=moduli, words=words,
        in_circles=pd.DataFrame([("months", 10, 20, 24), ("months", 12, 3, 24), ("days", 7, 1, 14)], columns=["list", "modulus", "right", "n"]),
        tens=(tens, 100, tens / 100 - 0.05, min(1.0, tens / 100 + 0.05)), beyond=(20, 200),
        shuffled=np.full(5, 0.12), permuted=np.linspace(0.05, 0.15, 50), rows=torch.eye(10), n_numbers=n_numbers, last=200,
    )  # fmt: skip  # what is made up, by field


def runs(*, share=0.6, null=0.2, n=5) -> Runs:
    spread = np.linspace(-0.02, 0.02, n)
    return Runs(
        share=share + spread, null=null - spread, distinct=np.full(n, 9), cosine=0.7 + spread, cosine_null=0.1 + spread,
        average=torch.eye(10),
    )  # fmt: skip


def stored(**changed) -> StoredRuns:
    """A hundred runs, as they are stored."""
    return StoredRuns(
        model="made/up", digest="0123456789", last=200, date="2026-11-26", seconds=240.0, peak_rss_bytes=10**9, versions={"torch": "2"},
        runs=runs(n=100, **changed),
    )  # fmt: skip


def saes(*, of=None, **changed) -> Autoencoders:
    noise = np.random.default_rng(0).random((100, 100))
    return Autoencoders(
        here=runs(**changed), stored=of, note="What is stored.", fires=noise, writes=noise - 0.5, explained=0.9, held_out=0.8, active=5.0, dead=0.3,
        choices=pd.DataFrame({"width": [512, 128], "penalty": ["λ = 0.3", "λ = 0.1"], "max cosine": [0.7, 0.6], "modal share": [0.5, 0.4], "shuffled": [0.2, 0.2]}),
    )  # fmt: skip


def circles(*, right=90) -> Circles:
    by_period = pd.DataFrame({"period": study.PERIODS, "right": 10, "n": 100, "shuffled": 9})
    by_period.loc[by_period["period"] == 10, "right"] = right
    places = np.arange(20)
    points = [
        pd.DataFrame({"period": period, "index": places, "x": np.cos(places), "y": np.sin(places), "right": places > 3})
        for period in study.PERIODS_DRAWN
    ]
    return Circles(by_period, pd.concat(points), tens=[1, 3], shuffled=places[::-1].tolist())


def carried(n_on: int) -> Carried:
    """The first `n_on` residues raise the next digit, the others their own."""
    matrix = np.stack([np.eye(10)[(r + 1) % 10 if r < n_on else r] for r in range(10)])
    return Carried(features=matrix, means=matrix)


def subspace(*, own=0.9, shuffled=0.1, decoded=None) -> Subspace:
    shares = pd.DataFrame(
        {
            "model": [0.95, 0.9, own if decoded is None else decoded, own, own],
            "shuffled": [0.8, 0.5, *[shuffled] * 3],
            "untrained": [0.7, 0.4, 0, 0, 0],
            "planted": 1.0,
        },
        index=pd.Index(TESTS),
    )
    roman = pd.DataFrame(
        [
            ("I", "days", "Monday", True, True),
            ("II", "days", "$x$", False, False),
            ("I", "months", "January", True, None),
        ],
        columns=["numeral", "list", "read", "right", "head"],
    )
    informal = pd.DataFrame({"word": ["week", "pair"], "expected": [7, 2], "read": [7, 3]})
    outcomes = {
        who: {test: Asked(own[test], 200, *intervals.wilson(own[test] * 200, 200)) for test in TESTS}
        for who, own in shares.items()
    }
    return Subspace(outcomes, pd.Series(dict.fromkeys(TESTS, 1.0)), 0.5, roman, 1, informal)


def neurons(*, of_ten=10, random=2, commonest=10) -> Neurons:
    rest = 7 if commonest == 10 else commonest
    periods = [10] * of_ten + [rest] * (16 - of_ten)
    return Neurons(
        list(range(16)),
        periods,
        np.full(100, random),
        64,
        np.random.default_rng(0).random((3, 100)),
        np.random.default_rng(1).random((3, 10)),
    )


def needed(*, ten=0.2, others=0.8, intact=0.9) -> Needed:
    rows = [
        (change, which, value, value - 0.05, value + 0.05, value)
        for change in ("removed", "kept alone", WHOLE)
        for which, value in (("nothing", intact), ("of the ten", ten), ("at random", others))
        if change == WHOLE or which != "nothing"
    ]
    return Needed(
        pd.DataFrame(rows, columns=["change", "directions", "digit", "low", "high", "successor"]),
        (intact, intact),
        199,
        (0.38, 0.7),
    )


def made(**changed) -> Found:
    grown = pd.DataFrame(
        [("with decimals", 0, 0.6, 0.98), ("without decimals", 0, 0.06, 0.99)],
        columns=["text", "seed", "probe", "macro"],
    )
    sources = pd.DataFrame(
        [
            (source, m, 0.9 if m == 10 else 0.14, 0.85, 0.95, 200)
            for source in ("mlp0", "embedding", "unembedding", "random mlp")
            for m in (7, 10)
        ],
        columns=["source", "modulus", "accuracy", "low", "high", "n"],
    )
    found = Found(
        model="made/up", best=(1, 2), macro=0.9, tasks=["numbers", "days"], last=200, n_numbers=100, probes=probes(), sources=sources,
        circles=None, saes=saes(), carried=carried(10), subspace=subspace(), neurons=neurons(), needed=needed(), grown=grown, roman_score=(15, 19),
    )  # fmt: skip
    return replace(found, **changed)


FEW = {"circles": None, "saes": None, "carried": None, "neurons": None, "needed": None, "sources": pd.DataFrame()}


@pytest.mark.parametrize(
    ("question", "key", "changed"),
    [
        ("tens", "shared", {"probes": probes(right=37)}),
        ("tens", "in_part", {"probes": probes(right=20)}),
        ("tens", "numbers_only", {"probes": probes(right=3)}),
        ("tens", "not_shown", {"probes": probes(tens=12)}),
        ("tens", "another", {"probes": probes(coprime=0.9)}),
        ("tens", "too_few", {"probes": few_probes()} | FEW),
        ("tens", "too_few", {"probes": None} | FEW),
        ("probe", "read", {}),
        ("probe", "in_part", {"probes": probes(tens=45)}),
        ("lists", "not_asked", {"probes": None}),
        ("saes", "not_asked", {"saes": None}),
        ("saes", "found", {}),
        ("saes", "hardly", {"saes": saes(share=0.3)}),
        ("saes", "not_shown", {"saes": saes(share=0.2)}),
        ("saes", "hardly", {"saes": saes(share=0.6, of=stored(share=0.3))}),
        ("carried", "not_asked", {"carried": None}),
        ("carried", "carried", {}),
        ("carried", "in_part", {"carried": carried(5)}),
        ("carried", "not_shown", {"carried": carried(1)}),
        ("subspace", "shared", {}),
        ("subspace", "in_part", {"subspace": subspace(own=0.5)}),
        ("subspace", "not_shown", {"subspace": subspace(own=0.12)}),
        ("subspace", "not_shown", {"subspace": subspace(own=0.08, shuffled=0.0)}),
        ("subspace", "in_part", {"subspace": subspace(own=0.03, shuffled=0.0, decoded=0.35)}),
        ("subspace", "not_shown", {"subspace": subspace(own=0.03, shuffled=0.3, decoded=0.35)}),
        ("neurons", "not_asked", {"neurons": None}),
        ("neurons", "ten", {}),
        ("neurons", "not_shown", {"neurons": neurons(of_ten=9, random=9)}),
        ("neurons", "not_shown", {"neurons": neurons(of_ten=3, commonest=2)}),
        ("needed", "not_asked", {"needed": None}),
        ("needed", "no_digit", {"needed": needed(intact=0.1)}),
        ("needed", "needed", {}),
        ("needed", "not_needed", {"needed": needed(ten=0.8)}),
    ],
)
def test_every_verdict_is_reached(question, key, changed):
    said = study.ABOUT[question](made(**changed))
    assert said.key == key and said.sentence.endswith(".") and "nan" not in said.sentence


def test_a_head_that_needs_the_ten_is_held_against_models_that_count_without_one():
    """grown/llama loses by the removal, and models without a ten count: one says this head, the other says no head must."""
    needs, does_without = (study.verdict(made(needed=needed(ten=ten))).sentence for ten in (0.2, 0.8))
    assert "**This head needs it, in part.**" in needs and "But 1 models" in needs
    assert "**That it is needed is not shown.**" in does_without and "And 1 models" in does_without


def test_a_ten_that_is_read_from_few_numbers_is_not_said_to_be_there():
    """Of grown/gpt2 the probe reads 154 of 402 numbers: more than a guess, and no ten on which anything could stand."""
    whole, few = (study.verdict(made(probes=probes(tens=tens))).sentence for tens in (95, 45))
    assert whole.startswith("**The ten is there") and few.startswith("**The ten can be read, in part.**")


@pytest.mark.parametrize(
    "changed", [{}, {"probes": few_probes()} | FEW, {"probes": None} | FEW], ids=["numbers", "digits", "none"]
)
@pytest.mark.slow
def test_drawings_fit_the_page_and_can_be_heard(changed):
    figures.use_style()
    found = made(**changed)
    draws = [getattr(study, name) for name in dir(study) if name.startswith("draw_")]
    shown = [getattr(each, "still", each) for each in (draw(found) for draw in draws)]
    for drawing in [each for each in shown if isinstance(each, figures.Drawing)]:
        panels = drawing.panels if isinstance(drawing.panels, list) else [drawing.panels]
        assert [fault for fig in panels for fault in figures.faults(fig)] == [], drawing.caption
        assert drawing.alt and drawing.caption.endswith(".") and drawing.caption.count(". ") == 0
        assert "{" not in drawing.details, "a figure that was not filled in"
    for table in (each for each in shown if isinstance(each, figures.Table)):
        assert table.caption.endswith(".") and "<table" in table._repr_html_()
    plt.close("all")


@pytest.mark.parametrize(
    ("mlp0", "low", "said"),
    [
        (0.09, 0.05, "no more of the last digits"),
        (0.9, 0.85, "easier to read"),
        (0.55, 0.48, "it can be read before MLP0"),
    ],
)
def test_a_last_digit_that_nothing_holds_is_not_said_to_stand_elsewhere(mlp0, low, said):
    """Of a network with random weights .11 from the embedding and .09 from MLP0 are guesses, and no ten in the embedding."""
    sources = made().sources.copy()
    sources["accuracy"], sources["low"] = 0.5, 0.4
    sources.loc[sources["source"] == "mlp0", ["accuracy", "low"]] = mlp0, low
    assert said in study.draw_sources(made(sources=sources)).caption


def test_where_the_only_numbers_are_digits_nothing_is_said_of_a_ten():
    """There the residue is the index, no number is held out, and each gap is explained once."""
    found = made(probes=few_probes(), **FEW)
    said, picture = study.about_lists(found), study.draw_moduli(found)
    assert said.key == "in_part" and "share their index" in said.sentence and "a residue is the index" in said.sentence
    assert len(picture.panels) == len(picture.alt) == 1 and "reads 30 of 38 words" in picture.caption
    whole = study.draw_moduli(made())
    assert len(whole.panels) == 2 and "of the 10 numbers held out, and 30 of 38 words" in whole.caption
    said_once = (study.draw_circles, study.draw_sources, study.draw_bands, study.draw_shares, study.draw_choices)
    gaps = [draw(found).data for draw in said_once]
    assert len(set(gaps)) == len(gaps)


@pytest.mark.slow
def test_words_past_nine_are_held_against_their_own_answers_dealt_out_anew():
    found = probes(right=25)
    past, rng = found.words[found.words["index"] >= 10], np.random.default_rng(0)
    due = (past["index"] % 10).to_numpy()
    deals = [int((rng.permutation(past["read"]) == due).sum()) for _ in range(4000)]
    right, asked, by_chance = found.past_ten
    assert by_chance == pytest.approx(np.mean(deals), abs=0.1) and by_chance < right / 2
    assert (right, asked) == (10, 13)


def test_words_without_a_list_are_among_the_candidates_of_a_large_vocabulary(monkeypatch):
    """A large vocabulary is judged on a part of it; what is asked about has to be in that part."""
    model = models.load("grown/pythia")
    tokenizer, words = model.tokenizer, study.informal_tokens(model.tokenizer)
    assert len(words) >= 5 and all(tokenizer.decode([token]) == f" {word}" for word, token in words.items())
    tables = study.numbers(tokenizer, last=200), study.unseen_lists(tokenizer)
    asked = study.asked_tokens(tokenizer, ordinals.resolve(tokenizer), *tables)
    monkeypatch.setattr(study, "MOST_CANDIDATES", 200)
    parts, tokens = anatomy.of(model), torch.tensor(list(words.values()))
    assert torch.isin(tokens, Reader.of(parts, (1, 0), asked, seed=0).candidates).all()
    assert not torch.isin(tokens, Reader.of(parts, (1, 0), torch.tensor([0]), seed=0).candidates).all()


def test_the_record_says_what_the_drawings_say_and_leaves_out_what_was_not_asked():
    whole, few = study.record(made()), study.record(made(probes=None, **FEW))
    assert whole["findings"]["lists_unseen"]["value"] == 30 / 38 and whole["findings"]["sae_share"][
        "value"
    ] == pytest.approx(0.6)
    assert (
        whole["findings"]["removed_ten_digit"]["value"] == 0.2
        and whole["findings"]["model_intact_digit"]["value"] == 0.9
    )
    assert (
        "probe_ten" not in few["findings"]
        and "sae_share" not in few["findings"]
        and "subspace_tokens" in few["findings"]
    )
    assert dict(whole["tables"]["verdict"].itertuples(index=False))["tens"] == "in_part"


def test_reported_cells_come_from_the_data_file():
    table = study.draw_compared(made()).frame
    probe = reported.read()["probe"]
    assert table.loc[0, "as reported"].startswith(f"{probe['right']} of {probe['of']}")
    assert table["as reported"].str.contains(r"\d|not reported").all()


def test_the_comparison_is_read_from_a_record_in_memory_and_from_its_json(tmp_path):
    """The page of all models reads stored records: a row says there what the chapter's own table says."""
    for changed in ({}, {"saes": saes(of=stored(share=0.3))}, {"probes": None} | FEW):
        record = study.record(made(**changed))
        files.write_json(tmp_path / "record.json", record)
        kept = json.loads((tmp_path / "record.json").read_text())["findings"]
        assert study.compared(kept) == study.compared(record["findings"])
    rows = {
        row: measured
        for row, _, measured in study.compared(study.record(made(saes=saes(of=stored(share=0.3))))["findings"])
    }
    assert rows["share of a modal feature"] == "0.30 (0.28 to 0.32); permuted 0.20"
    assert (
        rows["months by ten, by twelve"] == "20 of 24, 3 of 24"
        and rows["days by ten, by seven"] == f"{NOT_ASKED}, 1 of 14"
    )
    assert (
        rows["Roman numerals in lists, by the head"] == "1 of 2: 0.50 (0.09 to 0.91)"
        and rows["the number in “week”"] == "7"
    )
    few = {row: measured for row, _, measured in study.compared(study.record(made(probes=None, **FEW))["findings"])}
    assert few["share of a modal feature"] == few["words of unseen lists, mod 10"] == NOT_ASKED


def test_sums_that_ask_for_one_token_are_one_case():
    """Ten tokens, asked 50 times each: the interval is that of ten cases, not of 500."""
    right, token = np.repeat(np.arange(10) < 5, 50), np.repeat(np.arange(10), 50)
    asked = Asked.of(right, token)
    assert (asked.share, asked.n) == (0.5, 500) and (asked.low, asked.high) == pytest.approx(
        intervals.wilson(5, 10), abs=0.03
    )
    assert asked.high - asked.low > 4 * np.diff(intervals.wilson(250, 500))[0]
    assert Asked.of([], []).n == 0 and np.isnan(Asked.of([], []).share)


def test_stored_runs_come_back_and_belong_to_their_weights(tmp_path):
    path, other = tmp_path / "runs.json", replace(stored(share=0.4), model="other", digest="9876543210")
    autoencoder_runs.put(stored(), path)
    autoencoder_runs.put(other, path)
    autoencoder_runs.put(replace(stored(share=0.3), date="2026-12-01"), path)
    again = autoencoder_runs.stored("0123456789", last=200, path=path)
    assert again.date == "2026-12-01" and len(autoencoder_runs.read(path)) == 2
    for name in ("share", "null", "distinct", "cosine", "cosine_null", "average"):
        assert np.allclose(getattr(again.runs, name), getattr(stored(share=0.3).runs, name), atol=1e-4), name
    assert autoencoder_runs.stored("0123456789", last=500, path=path) is None
    assert autoencoder_runs.stored("5555555555", last=200, path=path) is None
    said = [
        autoencoder_runs.note(run, runs(share=0.3), name=name, path=path)
        for run, name in ((again, "made/up"), (None, "made/up"), (None, "new"))
    ]
    assert (
        "of the 5 trained here, 5 lie between" in said[0]
        and "other weights" in said[1]
        and "make autoencoders" in said[2]
    )


def test_bands_are_what_a_number_has_more_with_its_own_digit_than_with_others():
    digit = np.arange(100) % 10
    bands = 0.5 * (digit[:, None] == digit) + 0.2
    assert study._excess(bands, 0) == pytest.approx(np.full(100, 0.5)) and abs(study._excess(bands, 1)).max() < 0.07
    flat = np.random.default_rng(0).random((100, 100))
    assert abs(study._excess(flat, 0).mean()) < 0.05


def test_runs_outside_the_stored_ones_are_counted():
    assert runs(share=0.3).within(runs(share=0.3, n=100)) == 5
    assert runs(share=0.32).within(runs(share=0.3, n=100)) == 3
    assert runs(share=0.4).within(runs(share=0.3, n=100)) == 0


@pytest.mark.slow
def test_what_a_hundred_runs_say_goes_before_what_ten_do():
    figures.use_style()
    whole, here = made(saes=saes(share=0.6, of=stored(share=0.3))), made(saes=saes(share=0.6))
    assert "in 100 runs" in study.about_saes(whole).sentence and "in 5 runs" in study.about_saes(here).sentence
    ticks = [
        [label.get_text() for label in study.draw_shares(found).panels[0].axes[0].get_yticklabels()]
        for found in (whole, here)
    ]
    assert ticks == [["100 stored", "5 trained here", "permuted"], ["5 trained here", "permuted"]]
    findings = study.record(whole)["findings"]
    assert findings["sae_share"]["value"] == pytest.approx(0.6) and findings["sae_share_stored"][
        "value"
    ] == pytest.approx(0.3)
    assert findings["sae_within_stored"]["value"] == 0 and "sae_share_stored" not in study.record(here)["findings"]
    plt.close("all")


@pytest.mark.parametrize("run", autoencoder_runs.read(), ids=lambda run: run.model)
def test_stored_runs_are_of_the_weights_that_come_with_the_book(run):
    assert run.digest == models.digest_of(models.load(run.model)) and run.last == study.last_number(run.model)
    assert len(run.runs.share) == reported.read()["sae"]["runs"] and run.runs.average.norm(dim=1) == pytest.approx(
        torch.ones(10), abs=1e-3
    )
    assert (
        autoencoder_runs.stored(models.digest_of(models.untrained_twin(models.load(run.model))), last=run.last) is None
    )


@pytest.mark.slow
@pytest.mark.parametrize("run", autoencoder_runs.read(), ids=lambda run: run.model)
def test_the_first_stored_runs_come_out_again(run):
    again = study.measure_runs(models.load(run.model), name=run.model, n_runs=2)
    assert again.runs.share == pytest.approx(run.runs.share[:2], abs=0.03)
    assert again.runs.cosine == pytest.approx(run.runs.cosine[:2], abs=0.05)
    assert again.runs.within(run.runs) == 2


def test_the_command_stores_what_it_measures_or_says_in_a_sentence_why_not(monkeypatch, capsys):
    asked, kept = [], []

    def measure(model, *, name, n_runs):
        asked.append((name, n_runs))
        if name == "digits":
            raise UserError("digits writes 10 numbers as single tokens.")
        return stored()

    monkeypatch.setattr(study.models, "load", lambda name: name)
    monkeypatch.setattr(study, "measure_runs", measure)
    monkeypatch.setattr(study.autoencoder_runs, "put", kept.append)
    monkeypatch.setattr("sys.argv", ["mod10_features", ""])  # as make calls it where no model is named
    study.main()
    assert asked == [(files.DEFAULT_MODEL, reported.read()["sae"]["runs"])] and len(kept) == 1
    assert "modal share 0.600" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["mod10_features", "digits", "--runs", "2"])
    with pytest.raises(SystemExit) as left:
        study.main()
    said = capsys.readouterr().err
    assert left.value.code == 2 and said == "digits writes 10 numbers as single tokens.\n" and len(kept) == 1


def test_a_model_whose_numbers_are_digits_has_no_runs_to_store():
    model = models.load("grown/pythia")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "LEAST_NUMBERS", 10**6)
        with pytest.raises(UserError, match="single tokens"):
            study.measure_runs(model, name="grown/pythia", n_runs=1)


def test_numbers_and_unseen_lists_are_those_of_the_tokenizer():
    tokenizer = word_tokenizer()
    numbers, unseen = study.numbers(tokenizer, last=500), study.unseen_lists(tokenizer)
    assert len(numbers) == 1002 and numbers["word"].tolist()[:2] == [" 0", " 1"] and numbers["index"].max() == 500
    assert len(study.numbers(tokenizer, last=200)) == 402
    assert not set(numbers["token"]) & set(unseen["token"]) and unseen["token"].is_unique
    words = unseen.set_index("word")["index"]
    assert (
        words[" March"] == 3 and words[" seventh"] == 7 and unseen.query("list == 'number_words'")["index"].max() == 19
    )


def test_permuted_numbers_keep_the_first_hundred_apart():
    shuffle = study.shuffled_numbers(200, seed=0)
    assert sorted(shuffle.tolist()) == list(range(201)) and max(shuffle[:100]) == 99
    assert (shuffle[:100] == torch.arange(100)).sum() < 10


def test_trios_are_of_two_lists_and_one_place():
    task, index = ["a"] * 3 + ["b"] * 2, [1, 2, 3, 1, 2]
    trios = study.trios_of(task, index)
    for i, j, t in trios.tolist():
        assert task[i] != task[j] == task[t] and index[i] == index[t]
    # Places 1 and 2 of either list go into the two tokens of b or the three of a; place 3 has none in b.
    assert len(trios) == 2 * 2 + 2 * 3


def test_period_is_the_modulus_that_explains_most_beyond_chance():
    index = torch.arange(100)
    noise = 0.3 * torch.randn(100, 1, generator=torch.Generator().manual_seed(0))
    values = torch.cat([(index % m == 3).float()[:, None] + noise for m in (7, 10, 12)], 1)
    assert study.period_of(values, index).tolist() == [7, 10, 12]


def on_plant(modulus, *, seed=0):
    """A plant whose numbers are a sum of their list, their ten or seven, and their residue; its reader and lists."""
    planted = plant(Plan("gpt_neox", seed, Shape(2, 6, 384), modulus=modulus), word_tokenizer())
    parts = anatomy.of(planted.module)
    return (
        planted,
        Reader.of(parts, planted.place("successor"), torch.tensor([0]), seed=seed),
        ordinals.resolve(planted.tokenizer),
    )


@pytest.fixture(scope="module", params=[10, 7])
def subject(request):
    return request.param, *on_plant(request.param)


def known_of(planted, classes):
    """The numbers and the words of unseen lists that have a make-up: those of one form, and no Roman numerals."""
    made_up = {int(token) for resolved in classes.values() for token in resolved.token_ids}
    numbers, unseen = study.numbers(planted.tokenizer, last=200), study.unseen_lists(planted.tokenizer)
    return numbers[numbers["token"].isin(made_up)], unseen[
        unseen["token"].isin(made_up) & (unseen["list"] != "roman_numerals")
    ]


@pytest.mark.slow
def test_probe_reads_the_planted_modulus_on_numbers_and_on_lists_never_seen(subject):
    modulus, planted, head, classes = subject
    numbers, unseen = known_of(planted, classes)
    found = study.probe(head, planted.tokenizer, numbers, unseen, last=200, seed=0)
    right, asked, _, _ = found.tens
    if modulus == 10:
        assert found.at(10, "validation") >= 0.95 and found.right.mean() >= 0.95 and right / asked >= 0.95
        assert found.neighbour[1] < 0.7 and found.shuffled.max() < 0.35
    else:
        assert found.at(7, "validation") >= 0.95 and found.at(7, "unseen") >= 0.95 and right / asked < 0.3
        assert study.about_probe(made(probes=found)).key in ("another", "not_read")
        neurons = study.rank_neurons(head, planted.tokenizer, classes["numbers"].prefix, seed=0)
        assert study.about_neurons(made(neurons=neurons)).key == "not_shown"


@pytest.mark.slow
def test_autoencoders_find_the_planted_residues_and_no_ten_in_the_twin_of_seven(subject):
    """Matched features, and the modal share through a head that reads residues alone and through the plant's own."""
    modulus, planted, head, classes = subject
    numbers = classes["numbers"]
    x, index = head.x(numbers.token_ids), numbers.index[numbers.source]
    trained = features.train_saes(x, seeds=range(3), width=48, sparsity=0.1, steps=400)
    truth = planted.directions["residue"] - planted.directions["residue"].mean(0)
    cosines = torch.stack([features.matched_cosines(found, truth)[0] for found in trained.features])
    assert cosines.mean() >= 0.9
    # It raises every number that ends in the next residue, and nothing else: index 1 is at place 0.
    after = torch.nn.functional.one_hot((numbers.index - 1) % modulus, modulus).float()
    alone = planted.directions["residue"].T @ after.T

    def share(says, m):
        best = features.most_important(trained, x[numbers.source], says, numbers.target)
        return features.modal_features(best, index, m)[1].nanmean().item()

    assert share(alone, modulus) >= 0.9
    # The plant's own head reads tens as well, and on many numbers they matter as much.
    own = head.w_ov @ head.parts.unembed(numbers.token_ids).detach()
    permuted = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(0))]
    best = features.most_important(trained, x[numbers.source], own, numbers.target)
    by_chance = features.modal_features(best, permuted, modulus)[1].nanmean().item()
    assert share(own, modulus) > 1.5 * by_chance
    if modulus == 7:
        assert share(alone, 10) < 0.5


@pytest.mark.slow
def test_places_are_parted_on_a_plant_and_not_where_lists_are_shuffled(subject):
    _, _, head, classes = subject
    own, shuffled = (
        study.fit_places(head, classes, seed=0, shuffled=mixed, most=1500).outcomes for mixed in (False, True)
    )
    assert own[NEAREST][0] >= 0.95 and own[TOKENS_HEAD][0] >= 0.95 and own[PAIRS_HEAD][0] >= 0.95
    assert shuffled[NEAREST][0] < 0.1 and shuffled[TOKENS][0] < 0.1
    assert shuffled[PAIRS][0] > 0.3  # pairs of known tokens are learned by heart


@pytest.mark.slow
def test_numbers_lie_in_circles_of_the_planted_modulus_and_of_no_other(subject):
    modulus, _, head, classes = subject
    found = study.lay_in_circles(head, classes["numbers"], seed=0).by_period.set_index("period")
    share = found["right"] / found["n"]
    assert share[modulus] >= 0.8 and share[{10: 7, 7: 10}[modulus]] < 0.4
    assert found.loc[modulus, "shuffled"] / found.loc[modulus, "n"] < 2.5 / modulus
    assert set(found["n"]) == {found["n"].iloc[0]} and found["n"].iloc[0] < len(classes["numbers"].words)


def test_the_drawing_of_circles_counts_as_the_table_does():
    figures.use_style()
    drawn = study.draw_circles(made(circles=circles(right=77)))
    assert "77 of 100 numbers" in drawn.still.caption and drawn.options == {
        "tens": [1, 3],
        "shuffled": list(range(19, -1, -1)),
    }
    table = drawn.table.frame.set_index("period")
    assert table.loc[10, "at their own angle"] == 77 and table.loc[25, "by chance"] == 4
    plt.close("all")


@pytest.mark.slow
def test_the_head_carries_planted_residues_and_needs_them():
    planted, head, classes = on_plant(10)
    numbers = classes["numbers"]
    directions = planted.directions["residue"]
    assert Carried.counts_on(study.carry(head, numbers, directions).features) == 10
    found = study.need(head, planted.open(), numbers, seed=0)
    assert found.intact[0] >= 0.95 and found.row("removed", "of the ten")["digit"] < 0.3
    assert found.row("removed", "of the ten")["high"] < found.row("removed", "at random")["low"]
    assert study.about_needed(made(needed=found)).key == "needed"


@pytest.mark.slow
def test_an_untrained_model_shows_none_of_it():
    twin = models.untrained_twin(models.load("grown/pythia"), seed=3)
    parts, tokenizer = anatomy.of(twin), twin.tokenizer
    classes = ordinals.resolve(tokenizer)
    numbers, unseen = study.numbers(tokenizer, last=200), study.unseen_lists(tokenizer)
    head = Reader.of(parts, (1, 0), torch.tensor([0]), seed=0)
    found = study.probe(head, tokenizer, numbers, unseen, last=200, seed=0)
    assert (
        study.about_probe(made(probes=found)).key == "not_read"
        and study.about_lists(made(probes=found)).key == "not_shown"
    )
    assert Carried.counts_on(study.carry(head, classes["numbers"], torch.eye(parts.d_model)[:10]).means) <= 4
    assert (
        study.about_neurons(made(neurons=study.rank_neurons(head, tokenizer, classes["numbers"].prefix, seed=0))).key
        == "not_shown"
    )


def test_where_numbers_are_few_all_lists_are_sampled_around_their_own_means():
    parts, classes = anatomy.of(models.load("grown/pythia")), ordinals.resolve(models.load("grown/pythia").tokenizer)
    numbers = study.sample(parts, classes)
    assert numbers.index.tolist() == list(range(1, 201)) and numbers.words[numbers.target[6]] == "8"
    few = study.sample(parts, {task: resolved for task, resolved in classes.items() if task != "numbers"})
    assert (
        len(few.index) == sum(len(c.words) for task, c in classes.items() if task != "numbers")
        and len(set(few.groups)) == 7
    )
    for group in set(few.groups):
        assert few.x[few.groups == group].mean(0).abs().max() < 1e-4
    assert (few.index[few.target] == few.index[few.source] % 26 + 1)[few.groups[few.source] == 6].all()
