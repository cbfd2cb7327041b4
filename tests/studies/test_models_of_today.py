"""Chapter 8's study: every verdict from made-up findings, drawings without faults, lists by hand, and plants as planted."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.display import Markdown

from successor_heads import anatomy, cached, figures, files, models, ordinals, paths, prompts, reported
from successor_heads.planted.words import word_tokenizer
from successor_heads.studies import models_of_today
from successor_heads.studies.models_of_today import instruments, known, shown
from successor_heads.studies.models_of_today import lists as of_lists
from successor_heads.studies.models_of_today.found import Depth, Found
from successor_heads.studies.models_of_today.rules import RULES
from successor_heads.studies.models_of_today.verdicts import key_of

NAN = float("nan")
LETTERS = {"then": of_lists.Frame.of(" then ")}
PARTS = [("L1H2", 1, 2, 0.5), ("MLP1", 1, -1, 0.4), ("L0H1", 0, 1, 0.2), ("L1H0", 1, 0, 0.1), ("L0H0", 0, 0, 0.0), ("MLP0", 0, -1, 0.0)]  # fmt: skip


def made(
    *, total=0.6, low=0.4, last=0.1, successor=0.8, steps="L1H2", macro=0.9, copying=0.1, through=0.5,
    crossing=0.6, right=18, kept=4, model="made/up", leading_null=0.25, at=1,
) -> Found:  # fmt: skip  # what a finding is made of, by what verdicts look at
    """A model of two layers and three heads in which L1H2 is a successor head, unless something else is said."""
    fronts = [(front, depth, 0.3) for front in ("beginning of text", "nothing", "“The”", "“word”", "“Here:”") for depth in (0, 1)]  # fmt: skip
    depth = Depth(
        ("L1H2", 0.2), (1, "L1H2", 0.95), [(1, "L1H2"), (1, "L1H0")], 0.9, 0.1, 0.3, 0.25, 12,
        pd.DataFrame(fronts, columns=["front", "depth", "macro"]),
        pd.DataFrame([("L1H2", 0, 0.2, 0.0), ("L1H2", 1, 0.95, 0.0)], columns=["head", "depth", "succession", "copying"]),
        pd.DataFrame([(head, at, macro if head == steps else 0.1, copying) for head in ("L1H2", "L0H1", "L1H0")], columns=["head", "depth", "macro", "copying"]),
        leading_null, ("L1H0", 0.4), (0.3, 0.5), 0.15, 2,
    )  # fmt: skip  # by position
    rows = [(*part, total if place == 0 else 0.1, low if place == 0 else 0.05, 0.7, 0.05, last, successor, NAN if part[2] < 0 else 0.6) for place, part in enumerate(PARTS)]  # fmt: skip
    gate = pd.DataFrame(
        [(task, 10, 12, right, 20, 5, place < kept) for place, task in enumerate(("numbers", "days", "months", "letters"))],
        columns=["class", "discovery", "n_discovery", "confirmation", "n_confirmation", "vocabulary", "kept"],
    )  # fmt: skip  # one table
    kinds = ["same class", "another class", "same ordinal, descending", "same ordinal, constant"]
    donors = [(who, n, kind, crossing, 0.3, 0.8, 0.2 if n_nulls else NAN, 40) for who, n in (("L1H2", 1), ("L1H2 + L0H1", 2)) for kind, n_nulls in zip(kinds, (1, 1, 0, 0))]  # fmt: skip
    circuit = pd.DataFrame(
        {"lists": ["discovery", "confirmation", "confirmation"], "circuit": ["in order", "chosen", "random"], "size": 2, "restored": [0.95, 0.93, 0.1], "restored_low": [NAN, 0.9, NAN], "restored_high": [NAN, 0.97, NAN], "left": [0.0, 0.05, NAN], "left_low": [NAN, 0.0, NAN], "left_high": [NAN, 0.1, NAN]}
    )  # fmt: skip
    ways = [("direct", 0.4), ("through MLPs", through), ("through heads", 0.1), ("MLP1", 0.45)]
    return Found(
        model=model, family="gpt2", n_layers=2, n_heads=3, n_parameters=1000, seed=0, is_live=True, lead=4.0, n_lists=(40, 40),
        depth=depth, gate=gate,
        orders=pd.DataFrame([(order, 0.6, 0.2, 40) for order in instruments.ORDERS], columns=["shown", "successor", "last", "n"]),
        parts=pd.DataFrame(rows, columns=["part", "layer", "head", "ranked_by", "total", "low", "high", "direct", "last", "successor", "attention"]),
        together=pd.DataFrame([(0, 0.9, 0.8, 1.0, NAN, 40), (1, 0.3, 0.2, 0.4, 0.9, 40)], columns=["heads", "right", "low", "high", "others", "n"]),
        donors=pd.DataFrame(donors, columns=["who", "heads", "donor", "share", "low", "high", "null", "n"]),
        stream=pd.DataFrame([(block, 0.1, 0.1, 0.2, 0.2) for block in range(3)], columns=["block", "last", "successor", "learned last", "learned successor"]),
        paths=pd.DataFrame([(way, share, share - 0.1, share + 0.1) for way, share in ways], columns=["way", "share", "low", "high"]),
        circuit=circuit, nodes=["L1H2", "MLP1"],
    )  # fmt: skip  # as a table: what is made up, by field


MOVER = {"last": 0.8, "successor": 0.1}
CASES = [
    ({}, "successor_head"),
    ({"steps": "L0H1"}, "successor_head"),  # among the first three
    ({"steps": "L0H0"}, "coded"),  # not among them
    ({"macro": 0.2}, "coded"),  # within the null
    ({"copying": 0.95}, "coded"),  # its map copies
    ({"low": -0.1}, "none_found"),  # an effect that may be none
    (MOVER, "mover_and_mlp"),  # its map steps, and at work it copies
    (MOVER | {"macro": 0.2}, "mover_and_mlp"),
    (MOVER | {"through": 0.2}, "coded"),
    (MOVER | {"through": 0.05}, "coded"),
    (MOVER | {"crossing": 0.1}, "coded"),
    ({"last": 0.4, "successor": 0.3, "macro": 0.2}, "coded"),
    ({"macro": 0.2, "total": 0.2, "low": 0.18}, "none_found"),
    ({"macro": 0.2, "total": 0.3, "low": 0.1}, "none_found"),
    ({"right": 9}, "not_counting"),
    ({"kept": 2}, "not_counting"),
]


@pytest.mark.parametrize(("what", "key"), CASES)
def test_a_verdict_is_the_first_rule_that_holds(what, key):
    found = made(**what)
    verdict = models_of_today.verdict(found)
    assert verdict.key == key == key_of(found)
    assert found.model in verdict.sentence and verdict.sentence.count("**") == 2


def test_every_verdict_of_the_rules_is_reached():
    assert {key for _, key in CASES} == set(RULES["verdicts"])


def test_several_models_are_said_in_one_verdict():
    successor, coded, silent = made(model="a/b"), made(macro=0.2, model="c/d"), made(right=1, model="e/f")
    keys = [
        models_of_today.verdict_of_all(some).key for some in ([coded, coded], [successor, coded], [successor], [silent])
    ]
    assert keys == ["none", "some", "all", "unasked"]
    told = models_of_today.verdict_of_all([successor, coded, silent]).sentence
    assert told.startswith("**Of 2 models that count, 1 counts") and "e/f does not count well enough" in told
    alone = models_of_today.verdict_of_all([silent, coded]).sentence
    assert alone.startswith("**c/d counts, and not with a successor head") and "e/f does not count" in alone
    assert models_of_today.verdict_of_all([successor, silent]).sentence.startswith("**a/b counts, and with a")


def test_what_a_verdict_hangs_on_is_said():
    """SmolLM2's head is coded by the null of a search that the rules do not make, and a successor head by the other."""
    between = made(macro=0.28, copying=0.1)  # the nulls are 0.30 and 0.25
    assert key_of(between) == "coded"
    for sentence in (models_of_today.verdict(between).sentence, models_of_today.verdict_of_all([between]).sentence):
        assert "alone L1H2 would be a successor head" in sentence
    for other in (made(macro=0.2), made(macro=0.28, copying=0.29), made(macro=0.28, leading_null=0.29), made()):
        assert "Against luck" not in models_of_today.verdict(other).sentence
    close = made(last=0.75)
    assert "copies nearly as often" in models_of_today.verdict(close).sentence
    assert "copies nearly as often" in models_of_today.verdict_of_all([close, made(model="a/b")]).sentence
    stored = models_of_today.stored("published/smollm2")
    assert stored.depth.leading_null < stored.depth.leading.set_index("head").loc["L23H3", "macro"] < stored.depth.null


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({}, "L1H2 of It is a successor head by the rules of chapter 8, reading what stands after 1 blocks."),
        ({"at": 0, "last": 0.75}, "by the rules of chapter 8, though it copies nearly as often as it steps."),
        (MOVER, "L1H2 of It fetches the ordinal, and MLPs behind it step."),
        ({"macro": 0.2}, "L1H2 of It is needed, and what it writes cannot be read, by the rules of chapter 8."),
        ({"low": -0.1}, "No single head of It carries much."),
        ({"right": 9}, "It does not count well enough to be asked."),
    ],
)
def test_another_page_says_a_verdict_in_one_sentence(what, said):
    assert models_of_today.in_short(made(**what), "It").endswith(said)


def test_a_head_behind_mlp0_is_none_that_reads_deeper():
    sentences = [models_of_today.verdict_of_all([made(at=at)]).sentence for at in (0, 1)]
    assert ["deeper" in sentence for sentence in sentences] == [False, True]


def test_models_of_today_stand_under_the_papers_line_by_the_papers_score():
    drawing = models_of_today.draw_recurring([made(), made(model="a/b", right=9)])
    assert (
        "by the same score so do 2 of the 2 models" in drawing.caption and "In 0 of the 1 that count" in drawing.caption
    )
    assert "0.40 (0.30 to 0.50; above its null 0.15)" in drawing.details and "1 in 6 in made/up" in drawing.details
    assert "a/b" not in drawing.details.split("picked at random")[1], "which does not count"
    assert "L1H0 of made/up 0.40" in drawing.details and "L1H2 0.20" in drawing.details
    plt.close("all")


def test_a_difference_that_a_model_above_the_papers_line_has_is_not_enough(monkeypatch):
    table = models_of_today.draw_differences()
    by_itself = table.frame.set_index("difference")["by itself"]
    assert by_itself["embeddings are tied"] == by_itself["numbers go digit by digit"] == "not enough"
    assert by_itself["heads share keys and values"] == by_itself["narrow for its depth"] == "open"
    assert f"{(by_itself == 'not enough').sum()} do not preclude" in table.caption and "<table" in table._repr_html_()
    scores = reported.best_scores()
    low = scores.assign(score=np.where(scores["family"] == "llama", 0.3, scores["score"]))
    monkeypatch.setattr(reported, "best_scores", lambda: low)
    assert models_of_today.draw_differences().frame.set_index("difference")["by itself"]["gated MLPs"] == "open"


@pytest.mark.slow
def test_lists_of_confirmation_end_in_other_members_and_may_show_the_same():
    tokenizer = word_tokenizer()
    both = [
        of_lists.make(tokenizer, models_of_today.frames(split), length=3, most=4, parity=parity)
        for parity, split in enumerate(("discovery", "confirmation"))
    ]
    ends = [{(one.task, one.last) for one in lists.every} for lists in both]
    answers = [{(one.task, one.answer) for one in lists.every} for lists in both]
    shown = [
        {(one.task, (one.last + offset) % len(one.resolved.words)) for one in lists.every for offset in (-2, -1, 0)}
        for lists in both
    ]
    assert not ends[0] & ends[1] and not answers[0] & answers[1] and shown[0] & shown[1]


OF_A_LEAD = ["circuit", "exchange", "parts", "stream", "writes"]


@pytest.mark.parametrize("what", OF_A_LEAD)
def test_no_share_of_a_lead_is_drawn_of_a_model_that_has_none(what):
    """Of a network with random weights the lead is noise around zero: -112% of it was lost without a head."""
    figures.use_style()

    def draw(found):
        shown = getattr(models_of_today, f"draw_{what}")(found)
        return getattr(shown, "still", shown)  # of a living figure what stands where it cannot live

    silent, coded = made(right=1, model="e/f", total=-1.12), made(macro=0.2, model="c/d")
    both, nobody = draw([silent, coded]), draw([silent])
    assert "e/f does not count well enough" in both.details and "c/d does not" not in both.details
    assert "e/f" not in both.caption and "112" not in both.caption + both.details
    assert "does not count" not in (draw([coded]).details or "")
    assert isinstance(nobody, Markdown) and "No model shown here counts" in nobody.data
    plt.close("all")


def test_a_model_that_does_not_count_has_a_row_without_an_effect():
    frame = models_of_today.draw_verdicts([made(right=1), made()]).frame
    assert frame["lead lost without"].iloc[0] == "–" and frame["lead lost without"].iloc[1].startswith("L1H2 0.60")
    assert frame["verdict"].tolist() == ["does not count", "successor head"]


DRAWINGS = ["circuit", "depths", "exchange", "fronts", "gate", "orders", "parts", "recurring", "stream"]


@pytest.mark.slow
@pytest.mark.parametrize("what", DRAWINGS)
@pytest.mark.parametrize("of", [1, 2])
def test_no_drawing_has_a_fault(what, of):
    figures.use_style()
    drawing = getattr(models_of_today, f"draw_{what}")([made(), made(**MOVER, model="published/gemma3-270m")][:of])
    drawing = getattr(drawing, "still", drawing)
    panels = drawing.panels if isinstance(drawing.panels, list) else [drawing.panels]
    try:
        assert [fault for panel in panels for fault in figures.faults(panel)] == []
        assert drawing._repr_html_().count("<svg") == len(panels)
    finally:
        plt.close("all")


def test_the_living_circuit_has_the_numbers_of_the_tables_and_none_for_what_was_not_measured():
    figures.use_style()
    found = made()
    drawn = models_of_today.draw_circuit([found])
    plt.close("all")
    (shown,) = json.loads(json.dumps(drawn.options, allow_nan=False))["models"]
    assert shown["top"] == found.top and shown["ways"][0]["way"] == "direct" and shown["ways"][0]["share"] == 0.4
    assert [way["way"] for way in shown["ways"]] == ["direct", "MLP1"], "ways in sum are no arrows"
    parts = {part["name"]: part for part in shown["parts"]}
    assert parts[found.top]["total"] == pytest.approx(found.part(found.top)["total"], abs=1e-4)
    assert all((part["head"] is None) == (part["attention"] is None) for part in parts.values())
    assert len(shown["stream"]) == found.n_layers + 1
    assert drawn.table.frame["way"].tolist() == [f"{found.top} → answer", f"{found.top} → MLP1"]


def test_tables_are_as_wide_as_a_page_takes():
    table = models_of_today.draw_verdicts([made(), made(**MOVER)])
    assert table.frame["verdict"].tolist() == ["successor head", "mover + MLP"] and "<table" in table._repr_html_()
    assert "<table" in models_of_today.draw_writes([made()])._repr_html_()


HEAD = {"kind": "head", "seed": 0, "due": "successor_head", "verdict": "successor_head", "planted": "L1H2", "named": "L1H2", "circuit": 1, "by_depth": "L1H2", "by_effect": "L1H2", "writes": "successor", "through_mlps": 0.0, "crosses": True, "in_circuit": True}  # fmt: skip
FETCH = HEAD | {"kind": "fetch and step", "due": "mover_and_mlp", "verdict": "mover_and_mlp", "by_depth": "", "writes": "last", "through_mlps": 0.9}  # fmt: skip
TWINS = pd.DataFrame({"alarm": [False] * 40, "best_above": [False] * 39 + [True], "null": 0.2})


def test_each_instrument_is_right_where_it_calls_what_is_known():
    rows = pd.DataFrame([HEAD, FETCH])
    assert known.rightly(rows).fillna(1).to_numpy().all()
    assert known.rightly(rows)["index crosses lists"].isna().tolist() == [True, False]
    # Of a plant whose instruments were not asked one by one only the rules' verdict is known.
    asked_together = {name: HEAD[name] for name in ("kind", "seed", "due", "verdict", "planted", "named", "circuit")}
    last = known.rightly(pd.DataFrame([HEAD, asked_together])).iloc[1]
    assert last["all rules together"] == 1 and last.isna().sum() == 6


@pytest.mark.parametrize(
    ("of", "wrong", "instrument"),
    [
        (HEAD, {"by_depth": "L0H0"}, "search over depths"),
        (FETCH, {"by_depth": "L1H2"}, "search over depths"),  # a mover is no successor head
        (HEAD, {"by_effect": "L0H0"}, "largest effect"),
        (HEAD, {"writes": "last"}, "what it writes"),
        (FETCH, {"writes": "neither"}, "what it writes"),
        (HEAD, {"through_mlps": 0.3}, "by way of MLPs"),
        (FETCH, {"through_mlps": 0.2}, "by way of MLPs"),
        (FETCH, {"crosses": False}, "index crosses lists"),
        (HEAD, {"in_circuit": False}, "circuit has it"),
        (HEAD, {"verdict": "coded"}, "all rules together"),
        (FETCH, {"named": "L0H0"}, "all rules together"),
    ],
)
def test_a_wrong_call_is_counted_against_its_instrument_alone(of, wrong, instrument):
    (right,) = known.rightly(pd.DataFrame([of | wrong])).fillna(1).to_dict("records")
    assert [name for name, hit in right.items() if not hit] == [instrument]


def test_what_the_rules_say_of_what_is_known_is_counted_and_judged():
    plants, grown = (
        pd.DataFrame([HEAD, FETCH, FETCH | {"crosses": False}]),
        pd.DataFrame([HEAD | {"kind": "grown/gpt2"}]),
    )
    table = models_of_today.draw_known(plants, TWINS, grown)
    frame = table.frame.set_index("rightly called by")
    assert frame.loc["index crosses lists"].tolist() == ["–", "1 of 2", "–"]
    assert frame.loc["all rules together"].tolist() == ["1 of 1", "2 of 2", "1 of 1"]
    assert "<table" in table._repr_html_() and "3 of 3 plants" in table.caption and "0 of 40" in table.caption
    assert models_of_today.verdict_of_known(plants, TWINS, grown).key == "known"
    wrong = pd.DataFrame([HEAD, FETCH | {"verdict": "coded"}])
    told = models_of_today.verdict_of_known(wrong, TWINS, grown)
    assert told.key == "mistaken" and "fetch and step 0 of 1" in told.sentence
    alarms = TWINS.assign(alarm=[True] * 3 + [False] * 37)
    assert models_of_today.verdict_of_known(plants, alarms, grown).key == "mistaken"
    assert (
        models_of_today.verdict_of_known(plants, alarms.assign(alarm=[True] * 2 + [False] * 38), grown).key == "known"
    )


def test_grown_models_stand_beside_the_plants():
    grown = known.grown()
    assert set(grown["kind"]) <= set(models.grown_models()) and len(grown) >= 1
    assert (grown["due"] == "successor_head").all() and known.rightly(grown).shape == (len(grown), 7)


def test_the_rules_are_shown_with_their_date():
    shown_rules = models_of_today.draw_rules()._repr_markdown_()
    assert str(RULES["registered"]) in shown_rules and "successor_head:" in shown_rules


def test_findings_are_read_as_they_were_written(tmp_path):
    found = made()
    files.write_json(tmp_path / "found.json", {"found": found.as_json()})
    again = Found.of_json(json.loads((tmp_path / "found.json").read_text(encoding="utf8"))["found"])
    assert not again.is_live and again.depth.best == found.depth.best and again.n_lists == found.n_lists
    for table in ("parts", "donors", "circuit", "gate"):
        pd.testing.assert_frame_equal(getattr(again, table), getattr(found, table), check_dtype=False)
    assert key_of(again) == key_of(found)


def test_what_comes_with_the_book_can_be_read_and_called():
    for name in (*shown.PUBLISHED, *models.grown_models()):
        found = models_of_today.stored(name)
        assert found.model == name and not found.is_live
        assert found.counts or name not in shown.PUBLISHED


def test_a_model_of_today_stands_before_those_that_come_with_the_book(monkeypatch):
    mine, grown = made(model="some/model"), made(model="grown/gpt2")
    assert [each.model for each in models_of_today.of_today(mine, live=True, seed=0)] == [
        "some/model",
        shown.PUBLISHED[0],
    ]
    assert [each.model for each in models_of_today.of_today(grown, live=True, seed=0)] == list(shown.PUBLISHED)
    book = made(model=files.DEFAULT_MODEL)
    monkeypatch.setattr(shown.published, "is_fetched", lambda name: False)
    assert [each.is_live for each in models_of_today.of_today(book, live=True, seed=0)] == [False, False]
    monkeypatch.setattr(shown.published, "is_fetched", lambda name: True)
    monkeypatch.setattr(shown.models, "load", lambda name, device: name)
    monkeypatch.setattr(shown, "measure", lambda model, name, seed: made(model=name))
    assert [each.is_live for each in models_of_today.of_today(book, live=True, seed=0)] == [True, False]
    assert not models_of_today.of_today(book, live=False, seed=0)[0].is_live


def test_a_record_has_the_verdict_and_the_numbers_behind_it():
    record = models_of_today.record(made())
    assert record["tables"]["verdict"]["key"].tolist() == ["successor_head"]
    assert record["findings"]["lead_lost"]["value"] == 0.6 and record["findings"]["circuit_size"]["n"] == 8


# --- lists ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_letters():
    return of_lists.make(word_tokenizer(), LETTERS, length=3, most=4, parity=1).kept(["letters", "days"])


def test_a_list_is_what_its_frame_says(of_letters):
    tokenizer, one = word_tokenizer(), of_letters.kept(["letters"]).every[0]
    assert tokenizer.decode(one.prompt) == "<eos> B then C then D then".replace(" then", "<unk>"), (
        "which it cannot write"
    )
    words = one.resolved.words
    assert (words[one.last], words[one.answer]) == ("D", "E")
    assert tokenizer.decode([one.prompt[one.at]]).strip() == "D"


def test_splits_share_no_start_and_donors_end_elsewhere(of_letters):
    even = of_lists.make(word_tokenizer(), LETTERS, length=3, most=4, parity=0)
    starts = [{(one.task, one.start) for one in lists.every} for lists in (even, of_letters)]
    assert not starts[0] & starts[1]
    for place, donor in enumerate(of_letters.donor.tolist()):
        one, other = of_letters.every[place], of_letters.every[donor]
        assert (one.task, one.frame) == (other.task, other.frame) and one.last != other.last


def test_lead_and_answer_are_read_within_the_class(of_letters):
    logits = torch.zeros(len(of_letters.every), len(of_letters.token_ids))
    answers = [one.resolved.token_ids[one.answer] for one in of_letters.every]
    columns = torch.searchsorted(of_letters.token_ids, torch.stack(answers))
    assert not of_letters.right(logits).any(), "a tie is no success"
    logits[torch.arange(len(columns)), columns] = 3.0
    assert of_letters.right(logits).all() and torch.equal(of_letters.said(logits), of_letters.answer)
    torch.testing.assert_close(of_letters.lead(logits), torch.full((len(columns),), 3.0))
    # What another class's token gets is nobody's business here.
    own = [set(one.resolved.token_ids.tolist()) for one in of_letters.every]
    foreign = [next(c for c, token in enumerate(of_letters.token_ids.tolist()) if token not in ids) for ids in own]
    logits[torch.arange(len(columns)), foreign] = 9.0
    assert of_letters.right(logits).all()


def test_an_index_is_found_in_another_class_round_the_circle(of_letters):
    day = next(place for place, one in enumerate(of_letters.every) if one.task == "days")
    letter = next(place for place, one in enumerate(of_letters.every) if one.task == "letters")
    words = of_letters.every[day].resolved.words
    assert words[of_letters.member_of_index(day, 8)] == "Monday"
    assert of_letters.member_of_index(letter, 27) is None


def test_a_list_is_retold_with_the_same_end(of_letters):
    tokenizer = word_tokenizer()
    told = of_lists.reordered(tokenizer, of_letters, LETTERS, (2, 1, 0))
    for place, prompt in told.items():
        one = of_letters.every[place]
        assert prompt != one.prompt and prompt[one.at :] == one.prompt[one.at :]
    constant = of_lists.reordered(tokenizer, of_letters, LETTERS, (0, 0, 0))
    assert len(constant) == len(of_letters.every) >= len(told)
    assert of_lists.reordered(tokenizer, of_letters, LETTERS, (-2, -1, 0)) == {place: one.prompt for place, one in enumerate(of_letters.every)}  # fmt: skip


def test_a_share_of_sums_resamples_clusters_whole():
    values, of = np.repeat([1.0, 0.0], 10), np.ones(20)
    assert instruments.ratio(values, of, np.repeat([0, 1], 10), seed=0) == (0.5, 0.0, 1.0)
    share, low, high = instruments.ratio(values, of, np.arange(20), seed=0)
    assert share == 0.5 and 0.2 < low < 0.4 and 0.6 < high < 0.8


# --- the instruments on what is known ---------------------------------------------------------------


@pytest.mark.parametrize("kind", known.KINDS)
@pytest.mark.slow
def test_a_plant_is_called_what_it_is(kind):
    called = known.called(kind, seed=3)
    assert (called["verdict"], called["named"]) == (called["due"], called["planted"])
    assert called["circuit"] <= 4


def test_of_the_plants_that_come_with_the_book_all_are_called_rightly_and_untrained_networks_raise_few_alarms():
    plants, twins = known.stored()
    assert plants.groupby("kind")["seed"].nunique()[list(known.KINDS)].min() >= 20
    wrong = plants[(plants["verdict"] != plants["due"]) | (plants["named"] != plants["planted"])]
    assert wrong.empty, wrong
    assert twins["seed"].nunique() >= 40 and twins["alarm"].mean() <= 0.05


@pytest.mark.slow
def test_what_is_ranked_on_one_class_is_what_hooks_would_find():
    """The effect of every head on the alphabet by `effects_on`, and by replacing one head after the other."""
    model = models.load("grown/pythia")
    found = instruments.effects_on(model, "letters")
    lists = of_lists.make(model.tokenizer, models_of_today.frames("discovery"), length=3, most=4, parity=0).kept(
        ["letters"]
    )
    intact = paths.written(model, lists.prompts)
    variants = [[], [intact.of(lists.donor).edit((1, 0))]]
    leads = lists.lead(cached.logits_of_variants(model, lists.prompts, variants, lists.token_ids)).sum(1)
    assert found[1, 0] == pytest.approx(float(1 - leads[1] / leads[0]), abs=1e-5)
    assert found.shape == (4, 4) and found.argmax() // 4 >= 1
    assert set(lists.task) == {"letters"} and ordinals.CLASSES["letters"].words[25] == "Z"


@pytest.mark.slow
def test_the_gate_and_the_orders_are_those_of_whole_passes():
    """What is read off runs that are kept, and of lists that are told anew, against one whole forward pass for each list."""
    model = models.load("grown/pythia", device="cpu")
    frames = models_of_today.frames("confirmation")
    lists = of_lists.make(model.tokenizer, frames, length=3, most=2, parity=1)
    setting = instruments.setting_of(model, anatomy.of(model), lists)
    logits = torch.cat([prompts.next_token_logits(model, [prompt]) for prompt in lists.prompts])
    answers = torch.stack([one.resolved.token_ids[one.answer] for one in lists.every])
    in_vocabulary = instruments._in_vocabulary(setting)
    assert in_vocabulary.tolist() == (logits.argmax(-1) == answers).tolist() and 0 < in_vocabulary.sum() < len(answers)
    gate, kept = instruments.ask(setting, setting)
    right = lists.right(logits[:, lists.token_ids])
    assert gate["confirmation"].sum() == int(right.sum()) < len(answers) and set(kept) <= set(lists.task)
    torch.testing.assert_close(setting.lead, lists.lead(logits[:, lists.token_ids]), atol=1e-4, rtol=1e-4)
    some = setting.kept(["days", "letters"])
    assert set(some.lists.task) == {"days", "letters"} < set(lists.task)
    torch.testing.assert_close(some.donors.mlps, some.intact.of(some.lists.donor).mlps)
    orders = instruments.in_other_orders(some, frames)
    told = instruments.other_orders(some, orders).set_index("shown")
    retold = of_lists.reordered(model.tokenizer, some.lists, frames, (2, 1, 0))
    rows = some.lists.at(retold)
    said = rows.said(torch.cat([prompts.next_token_logits(model, [one])[:, rows.token_ids] for one in retold.values()]))
    assert told.loc["descending", "successor"] == pytest.approx(float((said == rows.answer).double().mean()))
    assert told.loc["in order", "successor"] != told.loc["descending", "successor"], "the control: order matters"
