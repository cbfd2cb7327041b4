"""Chapter 7's study: every verdict from made-up findings, drawings without faults, and the first lesson by hand."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from successor_heads import anatomy, figures, intervals, ordinals, ov_circuit, scores
from successor_heads.planted import FAMILIES, calibrate, words
from successor_heads.planted.plant import Plan, plant
from successor_heads.studies import calibration
from successor_heads.studies.calibration import Found, Hidden, Twins

TOKENIZER = words.word_tokenizer()
CLASSES = ordinals.resolve(TOKENIZER)


@pytest.fixture(scope="module")
def planted():
    return plant(Plan("gpt_neox", seed=0), TOKENIZER)


def seen(*, rank=9, by_size=1):
    rows = [
        {"instrument": each, "hidden head or twin": 0.1, "best other head": 0.2, "rank of the better": rank, "rank by size": by_size}
        for each in ("score, canonical", "ablation, one at a time (logits)")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def twins():
    probes = [
        {"made": made, "modulus": modulus, "accuracy": 0.9 if hit else 0.05, "low": 0.04, "high": 0.95, "null_high": 0.2, "found": hit}
        for made in calibration.TWIN
        for modulus in calibration.MODULI
        for hit in [made % modulus == 0]
    ]  # fmt: skip
    spectra = [
        {"made": made, "period": period, "share": 0.1 / period, "null_high": 0.02, "p_value": 0.001}
        for made in calibration.TWIN
        for period in range(2, 40)
    ]
    return Twins(pd.DataFrame(probes), pd.DataFrame(spectra))


def lesson_table(left_out=(0, 60)):
    rows = [
        (vectors, pairs, right, of, right / of, *intervals.wilson(right, of))
        for vectors, (right_left, of_left) in (("random", left_out), ("ordered", (58, 60)))
        for pairs, right, of in (("solved", 230, 230), ("left out", right_left, of_left))
    ]
    return pd.DataFrame(rows, columns=["vectors", "pairs", "right", "of", "share", "low", "high"])


@pytest.fixture(scope="module")
def made(planted) -> Found:
    """The stored plants, one plant made here, and everything else made up."""
    stored = calibrate.stored()
    same = stored["plants"]
    same = same[same["modulus"].isna() & (same["tokenizer"] == "words") & (same["seed"] == 0)]
    cases = pd.DataFrame([
        {"role": role, "made_for": role if role != "none" else "copy", "last": True, **dict.fromkeys(("paper", "strict"), said)}
        for role, said in (("successor", "successorship"), ("copy", "other"), ("none", "copying"), ("none", "other"))
    ])  # fmt: skip
    effects = stored["effects"]
    return Found(
        stored=stored,
        lesson=lesson_table(),
        planted=planted,
        scores=scores.score_heads(anatomy.of(planted.module), CLASSES),
        live=same[["family", "seed", "successor"]].reset_index(drop=True),
        twins=twins(),
        effects=effects[effects["plant"] == 0],
        named=cases,
        hidden=Hidden(
            planted, ((1, 2), (1, 4)), seen(), {"nothing": 24, "the hidden head": 24, "its twin": 23, "both": 1},
            {"nothing": 5.0, "the hidden head": 5.1, "its twin": 5.0, "both": 0.0}, 24, 24,
        ),
    )  # fmt: skip  # the hidden model, as a line


def missing_one(stored):
    plants = stored["plants"].copy()
    plants.loc[0, "found"] = False
    return stored | {"plants": plants}


@pytest.mark.parametrize(
    ("key", "changed", "said"),
    [
        ("calibrated", lambda found: {}, "; by size 2 do, as a head that lowers"),
        ("calibrated", lambda found: {"hidden": replace(found.hidden, seen=seen(by_size=5))}, "to the answer. Without it"),
        ("seen", lambda found: {"hidden": replace(found.hidden, seen=seen(rank=1))}, "seen** by score, canonical"),
        ("blind", lambda found: {"stored": missing_one(found.stored)}, "188 of 189"),
    ],
)  # fmt: skip
def test_every_verdict_is_reached(made, key, changed, said):
    verdict = calibration.verdict(replace(made, **changed(made)))
    assert verdict.key == key and said in verdict.sentence
    assert "230 of 230" in verdict.sentence and "0 of 60" in verdict.sentence


DRAWN = ("lesson", "plant", "recall", "drowned", "twins", "recovered", "edits", "edits_by_list", "effects", "named", "seen", "hidden")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("what", DRAWN)
def test_drawings_fit_the_page_and_can_be_heard(made, what):
    figures.use_style()
    drawing = getattr(calibration, f"draw_{what}")(made)
    if isinstance(drawing, figures.Drawing):
        for fig in drawing.panels if isinstance(drawing.panels, list) else [drawing.panels]:
            assert not figures.faults(fig)
        assert drawing.alt and "nan" not in drawing.alt
    assert "nan" not in drawing.caption and drawing._repr_html_()
    plt.close("all")


def test_the_strongest_noise_in_which_no_plant_is_missed_is_counted_from_below(made):
    drowned = made.stored["drowned"]
    table = made.by_noise
    assert table["plants"].sum() == len(drowned) and made.last_sure["noise"] == 2
    # A lucky noise behind one in which a plant was missed does not count.
    worse = drowned.assign(found=drowned["found"] & (drowned["noise"] != 1))
    assert replace(made, stored=made.stored | {"drowned": worse}).last_sure["noise"] == 0.5


def test_cases_are_named_by_whom_they_were_made_for(made):
    table = calibration.rules_table(made).set_index("rules")
    # Of two heads at work one is named rightly; of two idle heads one is named all the same.
    assert table.loc[calibration.RULES["paper"]].tolist() == [2, 1, 2, 1]


# --- the first lesson --------------------------------------------------------------------------------


def test_on_random_vectors_a_map_is_a_table_and_on_ordered_ones_a_rule(planted):
    table = calibration.lesson(anatomy.of(planted.module), CLASSES, seed=3).set_index(["vectors", "pairs"])
    assert (table.xs("solved", level="pairs")["share"] == 1).all()
    assert table.loc[("random", "left out"), "right"] <= 3 and table.loc[("ordered", "left out"), "share"] > 0.9
    assert table["of"].groupby("vectors").sum().tolist() == [290, 290]


def test_one_step_on_is_the_same_rotation_wherever_it_begins():
    days = {"days": CLASSES["days"]}
    vectors = calibration.ordered_vectors(days, 40, seed=0)
    products = vectors @ vectors.T
    for step in range(7):
        rolled = torch.stack([products[k, (k + step) % 7] for k in range(7)])
        torch.testing.assert_close(rolled, rolled[:1].expand(7), atol=1e-5, rtol=0)
    # A list that ends does not meet itself.
    letters = calibration.ordered_vectors({"letters": CLASSES["letters"]}, 40, seed=0)
    assert letters[0] @ letters[25] < letters[0] @ letters[1]
    # Lists do not overlap.
    both = calibration.ordered_vectors({task: CLASSES[task] for task in ("days", "months")}, 40, seed=0)
    assert (both[:7] @ both[7:].T).abs().max() < 1e-5


def test_pairs_are_places_in_the_row_of_all_lists(planted):
    ids, pairs = calibration.rows_and_pairs(CLASSES)
    said = [(TOKENIZER.decode(ids[s]).strip(), TOKENIZER.decode(ids[t]).strip()) for s, t in pairs]
    assert ("Sunday", "Monday") in said and ("27", "28") in said and ("Z", "A") not in said and len(said) == 290
    # The planted head is right on these pairs, by the library's own score.
    parts, place = anatomy.of(planted.module), planted.place("successor")
    logits = ov_circuit.effective_ov_logits(parts, ov_circuit.head_input(parts, ids), ids, layer=place[0])[place[1]]
    right = calibration._right(logits, CLASSES)
    by_score = torch.cat([success[place] for success in scores.score_heads(parts, CLASSES).success.values()])
    assert right.tolist() == by_score.tolist()


def test_what_instruments_say_of_the_hidden_head_is_ranked_by_value_and_by_size():
    values = torch.tensor([[0.0, 0.3, -0.9], [0.2, -0.1, 0.5]])
    row = calibration._seen("made up", values, ((0, 2), (1, 0)))
    assert row["hidden head or twin"] == pytest.approx(0.2) and row["best other head"] == pytest.approx(0.5)
    assert row["rank of the better"] == 3 and row["rank by size"] == 1  # that of -0.9


@pytest.mark.slow
def test_the_hidden_model_counts_with_one_of_its_heads_and_not_without_both():
    its = calibration.look_for_hidden(TOKENIZER, CLASSES, seed=1)
    assert its.without["nothing"] == its.without["its twin"] == its.n and its.without["both"] < 0.2 * its.n
    assert len(its.seen) == len(calibrate.CONVENTIONS) + 2
    scores_ = its.seen[its.seen["instrument"].str.startswith("score")]
    assert scores_["hidden head or twin"].max() < 0.35


def test_the_record_has_what_the_drawings_say(made):
    record = calibration.record(made, model="made/up")
    value = {name: finding["value"] for name, finding in record["findings"].items()}
    assert value["recall"] == 1 and value["live_drift"] == 0 and value["last_sure_noise"] == 2
    assert value["lesson_random_solved"] == 1 and value["lesson_random_left_out"] == 0
    assert value["hidden_right_without_both"] == pytest.approx(1 / 24) and value["probe_accuracy_ten"] == 0.9
    assert value["edits_true"] > 0.95 > 0.1 > value["edits_random"]
    assert record["tables"]["verdict"]["key"].tolist() == ["calibrated"]
    assert set(made.effects["family"]) == set(FAMILIES) and np.isfinite(list(value.values())).all()
