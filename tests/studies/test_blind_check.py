"""Chapter 5's check by readers: how cases are drawn and shown, how labels are put together, and what kappa comes to."""

import json
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from successor_heads import behaviours, figures
from successor_heads.behaviours import BEHAVIOURS
from successor_heads.errors import UserError
from successor_heads.studies import blind_check, natural_text


def made_cases(counts, *, text="t", n_contexts=10):
    """Winning cases with so many of each behaviour, spread over contexts by turns; each document has two of these."""
    rows = [behaviour for behaviour, n in zip(BEHAVIOURS, counts) for _ in range(n)]
    context = np.arange(len(rows)) % n_contexts
    return pd.DataFrame(
        {"text": text, "context": context, "document": context // 2, "prefix": np.arange(len(rows)), "paper": rows}
    )


@pytest.mark.parametrize(
    ("there", "n", "given"),
    [
        ({"a": 9, "b": 9}, 4, {"a": 2, "b": 2}),
        ({"a": 9, "b": 9, "c": 9}, 4, {"a": 2, "b": 1, "c": 1}),
        ({"a": 1, "b": 0, "c": 9}, 6, {"a": 1, "b": 0, "c": 5}),
        ({"a": 1, "b": 2}, 6, {"a": 1, "b": 2}),
    ],
)
def test_things_are_shared_out_evenly_as_far_as_there_are_any(there, n, given):
    assert blind_check.evenly(there, n) == given


def test_cases_are_drawn_from_all_texts_and_behaviours_alike():
    cases = pd.concat([made_cases((2, 30, 30, 30, 900)), made_cases((40, 40, 40, 40, 40), text="u")], ignore_index=True)
    drawn = blind_check.draw(cases, n=50, seed=0)
    assert drawn["text"].value_counts().to_dict() == {"t": 25, "u": 25}
    counts = drawn.groupby("text")["paper"].value_counts()
    assert [counts["t", name] for name in BEHAVIOURS] == [2, 6, 6, 6, 5] and set(counts["u"]) == {5}
    # Of ten contexts each gives one case of a behaviour before any gives two.
    assert not drawn.duplicated(["text", "context", "paper"]).any()
    assert drawn.merge(cases).shape[0] == 50 == len(drawn.drop_duplicates(["text", "prefix"]))
    pd.testing.assert_frame_equal(drawn, blind_check.draw(cases, n=50, seed=0))
    assert not drawn.equals(blind_check.draw(cases, n=50, seed=1))
    # In random order: what comes next does not follow from what came.
    assert (drawn["text"] == "t").to_numpy()[:25].sum() < 25 and drawn["paper"].ne(drawn["paper"].shift()).sum() > 25


@pytest.fixture(scope="module")
def drawn_folder(tmp_path_factory):
    """What the first command makes of generated text, read by the default model, and with labels of two readers."""
    folder = tmp_path_factory.mktemp("blind")
    arguments = ["draw", "grown/pythia", str(folder), "--texts", "generated", "--contexts", "6", "--length", "96"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["blind_check", *arguments, "--cases", "12", "--note", "Ours."])
        blind_check.main()
    for number, label in ((1, "other"), (2, "copying")):
        (folder / f"labels-{number}.json").write_text(json.dumps([label] * 12), encoding="utf8")
    return folder


@pytest.mark.slow
def test_the_sheet_shows_the_case_and_no_label(drawn_folder):
    payload = json.loads((drawn_folder / "cases.json").read_text(encoding="utf8"))
    sheet = (drawn_folder / "sheet.md").read_text(encoding="utf8")
    (text,) = payload["texts"]
    assert len(payload["cases"]) == 12 <= text["winning"] and text["contexts"] == 6
    assert [line for line in sheet.splitlines() if line.startswith("## ")] == [f"## {n}" for n in range(1, 13)]
    assert not any(name in sheet for name in (*BEHAVIOURS[:2], *BEHAVIOURS[3:4], "generated", "paper"))
    for case in payload["cases"]:
        assert not {"paper", "strict", "labels"} & set(case)
        assert case["before"] in sheet and f"Answer: {json.dumps(case['answer'], ensure_ascii=False)}" in sheet
        weights = [weight for _, weight, _ in case["attended"]]
        assert weights == sorted(weights, reverse=True) and len(weights) <= 5
        # Attended tokens stand where it is said: the one 0 back ends the text that is shown.
        for token, _, back in case["attended"]:
            assert token in case["before"] or back >= natural_text.WINDOW
            if back == 0:
                assert case["before"].endswith(token)
    question = (drawn_folder / "question.md").read_text(encoding="utf8")
    assert "At each of\nthe 12 places" in question and all(f"`{name}`" in question for name in BEHAVIOURS)
    assert "{" not in question


@pytest.mark.slow
def test_labels_are_put_beside_their_cases_whatever_the_order(drawn_folder, tmp_path, monkeypatch):
    for path in drawn_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    order = [12, *range(1, 12)]
    (tmp_path / "labels-3.json").write_text(json.dumps(["acronym"] + ["greater-than"] * 11), encoding="utf8")
    (tmp_path / "order-3.json").write_text(json.dumps(order), encoding="utf8")
    (tmp_path / "question-3.md").write_text("And you?", encoding="utf8")
    monkeypatch.setattr(blind_check, "STORED", tmp_path / "stored.json")
    monkeypatch.setattr(sys, "argv", ["blind_check", "collect", str(tmp_path), "--readers", "Three of us."])
    blind_check.main()
    cases = blind_check.stored()
    assert cases["reader 1"].eq("other").all() and cases["reader 2"].eq("copying").all()
    assert cases["reader 3"].tolist() == ["greater-than"] * 11 + ["acronym"]
    assert cases.attrs["readers"] == "Three of us." and cases.attrs["note"] == "Ours."
    asked = cases.attrs["asked"]
    assert [each["order"] == order for each in asked] == [False, False, True] and asked[2]["question"] == "And you?"
    assert asked[0] == asked[1] and "12 places" in asked[0]["question"]
    assert blind_check.majority(cases).isna().all()
    read = [token for token, _, _ in cases["attended"][0]]
    assert cases["paper"][0] == behaviours.behaviour(read, cases["answer"][0])


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("labels-2.json", ["other"] * 11),
        ("labels-2.json", ["other"] * 11 + ["others"]),
        ("order-2.json", [1, *range(1, 12)]),
    ],
)
@pytest.mark.slow
def test_labels_that_do_not_fit_are_refused(drawn_folder, tmp_path, name, written):
    for path in drawn_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_text(json.dumps(written), encoding="utf8")
    with pytest.raises(UserError, match=r"labels-2.json is no list of 12 labels"):
        blind_check.collect(tmp_path, readers="")
    (tmp_path / "labels-2.json").unlink()
    with pytest.raises(UserError, match="the labels of 1 readers"):
        blind_check.collect(tmp_path, readers="")


def labelled(one, other, *, document=None):
    table = pd.DataFrame({"one": one, "other": other, "text": "t"})
    return table.assign(document=range(len(table)) if document is None else document)


@pytest.mark.slow
def test_kappa_is_that_of_others_and_its_interval_knows_what_belongs_together():
    rng = np.random.default_rng(0)
    one = rng.choice(BEHAVIOURS, 120)
    other = np.where(rng.random(120) < 0.6, one, rng.choice(BEHAVIOURS, 120))
    found = blind_check.agreement(labelled(one, other), "one", "other")
    assert found.kappa == pytest.approx(cohen_kappa_score(one, other)) and found.same == (one == other).sum()
    assert found.kappa_low < found.kappa < found.kappa_high and found.low < found.same / 120 < found.high
    # Each case four times over, in one document: nothing more is known.
    four = labelled(np.repeat(one, 4), np.repeat(other, 4), document=np.repeat(range(120), 4))
    together = blind_check.agreement(four, "one", "other")
    assert together[2:] == pytest.approx(found[2:])
    apart = blind_check.agreement(four.assign(document=range(480)), "one", "other")
    assert apart.kappa_high - apart.kappa_low < 0.6 * (found.kappa_high - found.kappa_low)


def test_kappa_is_one_for_agreement_nought_for_chance_and_nothing_for_one_label():
    labels = ["acronym", "other"] * 50
    agreed = blind_check.agreement(labelled(labels, labels), "one", "other")
    assert (agreed.same, agreed.kappa, agreed.kappa_low) == (100, 1, 1) and 0.95 < agreed.low < agreed.high == 1
    by_chance = blind_check.agreement(labelled(labels, ["acronym"] * 50 + ["other"] * 50), "one", "other")
    assert by_chance.kappa == pytest.approx(0)
    never = blind_check.agreement(labelled(labels, labels[1:] + labels[:1]), "one", "other")
    assert never.kappa == pytest.approx(-1) and never.low == 0 < never.high < 0.05
    assert np.isnan(blind_check.agreement(labelled(["other"] * 9, ["other"] * 9), "one", "other").kappa)


def test_most_readers_are_more_than_half():
    said = pd.DataFrame({"reader 1": ["other", "other"], "reader 2": ["other", "copying"], "paper": "acronym"})
    assert blind_check.majority(said).tolist() == ["other", np.nan]
    assert blind_check.majority(said.assign(**{"reader 3": "copying"})).tolist() == ["other", "copying"]


def test_stored_cases_are_a_hundred_of_three_texts_and_drawn_as_they_say():
    cases = blind_check.stored()
    assert len(cases) == blind_check.N_CASES == 100 and not cases.duplicated(["text", "context", "prefix"]).any()
    assert cases["text"].value_counts().to_dict() == {"generated": 34, "documentation": 33, "books": 33}
    assert [text["name"] for text in cases.attrs["texts"]] == ["generated", "documentation", "books"]
    readers = blind_check.readers_of(cases)
    assert readers == ["reader 1", "reader 2", "reader 3"] and len(cases.attrs["asked"]) == 3
    assert set(cases[readers].to_numpy().ravel()) <= set(BEHAVIOURS)
    for each in cases.attrs["asked"]:
        assert sorted(each["order"]) == list(range(1, 101)) and len(each["question"]) > 500
    # The winning cases of both texts that are measured for all models are those of their run, and so is the supply.
    (run,) = (run for run in behaviours.stored_runs() if run["model"] == cases.attrs["model"])
    assert run["head"] == cases.attrs["head"]
    for text in run["texts"]:
        (of,) = (each for each in cases.attrs["texts"] if each["name"] == text["name"])
        assert of["digest"] == text["digest"] and of["winning"] == text["won"][0]
        supply = {name: text["cases"][name][0] for name in BEHAVIOURS}
        drawn = cases.loc[cases["text"] == text["name"], "paper"].value_counts()
        assert blind_check.evenly(supply, 33) == {name: drawn.get(name, 0) for name in BEHAVIOURS}
    # The text of books is no part of the project: their cases name the title alone.
    books = cases["text"] == "books"
    assert cases.loc[books, "source"].str.startswith("Title: ").all() and (cases["before"].isna() == books).all()
    # Not the labels of rules: then nobody would have to read.
    assert all((cases[reader] != cases[rules]).sum() > 5 for reader in readers for rules in behaviours.RULES)


@pytest.mark.slow
def test_what_is_drawn_fits_the_page_and_counts_as_the_table_does():
    figures.use_style()
    cases = blind_check.stored()
    drawing = blind_check.draw_confusions(cases)
    assert [fault for fig in drawing.panels for fault in figures.faults(fig)] == [] and len(drawing.alt) == 2
    said = blind_check.majority(cases)
    for rules in behaviours.RULES:
        assert f"{(said == cases[rules]).sum()} " in drawing.caption
    # What the paper's rules call copied has to be attended to, if only faintly.
    copied = cases[cases["paper"] == "copying"]
    weight = copied.apply(lambda case: sum(w for token, w, _ in case["attended"] if token == case["answer"]), axis=1)
    median = weight[said[copied.index] != "copying"].median()
    assert (
        drawing.details.endswith(f"and {median:.0%} if not.")
        and median < weight[said[copied.index] == "copying"].median()
    )
    alike = cases.assign(**dict.fromkeys(blind_check.readers_of(cases), "other"))
    assert "median" not in blind_check.draw_confusions(alike).details
    plt.close("all")
    table = blind_check.draw_agreement(cases)
    assert "nan" not in table._repr_html_() and len(table.frame) == 3 + 3 * 2
    shown = table.frame.loc["reader 1, the paper's rules", "cases called the same"]
    assert shown.startswith(f"{(cases['reader 1'] == cases['paper']).sum()} of 100 (")
    kappa = cohen_kappa_score(cases["reader 1"], cases["reader 3"])
    assert table.frame.loc["reader 1, reader 3", "kappa"].startswith(f"{kappa:.2f} (")
    assert cases.attrs["readers"] in table.details and "Herland" in table.details
    apart = int((cases["reader 1"] != cases["reader 3"]).sum())
    assert table.caption == f"Readers agree with each other on {100 - apart} to 100 of 100 cases."
    by_text = blind_check.draw_agreement_by_text(cases).frame
    books = cases[cases["text"] == "books"]
    kappa = cohen_kappa_score(books["reader 3"], books["strict"])
    same = (books["reader 3"] == books["strict"]).sum()
    assert by_text.loc["reader 3, our stricter rules"].iloc[2].startswith(
        f"{same}; {kappa:.2f} ("
    ) and by_text.shape == (9, 3)
    assert [name.split(",")[0] for name in by_text] == ["generated", "documentation", "books"]
    # Two who agree everywhere have no interval of kappa, and one of the share, with the documents as cases.
    same = blind_check.draw_agreement(cases.assign(**{"reader 3": cases["reader 2"]}))
    assert same.frame.loc["reader 2, reader 3"].tolist() == ["100 of 100 (94 to 100%)", "1.00"]
    nobody = cases.assign(**dict.fromkeys(blind_check.readers_of(cases), "other"))
    assert blind_check.draw_agreement(nobody).frame.loc["reader 1, reader 2", "kappa"] == "–"


def test_that_no_rule_finds_succession_in_the_books_is_so():
    """The caption says it in words."""
    books = blind_check.stored().query("text == 'books'")
    assert not books[list(behaviours.RULES)].eq("successorship").to_numpy().any()
