"""Chapter 6's study from made-up records: every verdict is reached, and each number is counted by hand."""

import numpy as np
import pytest

from successor_heads import figures
from successor_heads.growing import announced
from successor_heads.growing.corpus import LISTS, HeldOut, pairs_of
from successor_heads.studies import growing

ARMS = announced.experiments()["arms"]


def made_up(arm, seed, *, held=0.0, seen=1.0, digit=0.0, macro=0.9):
    """A record whose pairs held out are right with probability `held`, the others with `seen`.

    Wrong answers to numbers have the right last digit with probability `digit`, else never.
    """
    rng = np.random.default_rng([seed, *arm.encode()])
    parts = [HeldOut.parse(part, seed=seed) for part in ARMS[arm].get("hold_out", [])]
    lists, in_order, prompts_seen = {}, {}, {}

    def answer(task, word, successor, out):
        if rng.random() < (held if out else seen):
            return successor
        return word if task != "numbers" else str(int(successor) + (10 if rng.random() < digit else 5))

    for task in LISTS:
        pairs = pairs_of(task)
        out = {word for part in parts if part.task == task for word in part.words}

        answered = [answer(task, *pair, pair[0] in out) for pair in pairs]
        lists[task] = {
            "held": " ".join("1" if word in out else "0" for word, _ in pairs),
            "answer": " ".join(answered),
            "rank": " ".join("1" if a == s else "3" for a, (_, s) in zip(answered, pairs)),
            "written": {
                frame: " ".join(answer(task, *pair, pair[0] in out) for pair in pairs) for frame in growing.FRAMES
            },
        }
        in_order[task] = " ".join("0" if word in out else "40" for word, _ in pairs)
        prompts_seen[task] = {"commas": " ".join("0" if word in out else "1" for word, _ in pairs)}
    return {
        "curve": [{"macro": macro}],
        "succession": {"lists": lists},
        "text": {"evaluated_seen": 0.1, "in_order": in_order, "prompts_seen": prompts_seen},
    }


def runs(seeds=range(5), **arms):
    """Records of the arms `parts` and `full`, and of whatever else is given, by arm with underscores for hyphens."""
    arms = {"full": {}} | arms
    return {
        f"{arm.replace('_', '-')}-seed{seed}": made_up(arm.replace("_", "-"), seed, **given)
        for arm, given in arms.items()
        for seed in seeds
    }


@pytest.mark.parametrize(("key", "made"), [
    ("table", runs(parts={"held": 0.0})),
    ("rule", runs(parts={"held": 1.0})),
    ("mixed", runs(parts={"held": 0.5})),
    ("not_settled", runs(parts={"held": 0.0, "seen": 0.6}, full={"seen": 0.6})),
    ("waiting", runs(seeds=range(4), parts={"held": 0.0})),
    ("waiting", {name: run for name, run in runs(parts={}).items() if "full" not in name}),
    ("not_run", runs()),
    ("not_run", {}),
    ("not_run", runs(seeds=[0], parts={})),
], ids=["table", "rule", "mixed", "nothing learned", "four seeds", "no control", "no arm", "nothing", "one seed"])  # fmt: skip
def test_every_verdict_is_reached(key, made):
    verdict = growing.verdict(growing.measure(made))
    assert verdict.key == key
    assert verdict.sentence.endswith(".") and "nan" not in verdict.sentence
    if key in ("table", "rule"):  # of 25 answers about months the head's verdict cannot be settled
        assert "Not settled: July to December (head)." in verdict.sentence


def test_a_part_of_few_pairs_is_left_open_where_numbers_are_settled():
    """Half right in every seed: of 19 numbers that is in part, of five months it may be anything."""
    rows = growing.measure(runs(parts={"held": 0.5})).generalisation.set_index(["part", "by"])
    assert rows.loc[("numbers:130-149", "list"), "verdict"] == "in_part"
    assert rows.loc[("months:7-12", "head"), "verdict"] in ("open", "in_part")
    width = rows["held_high"] - rows["held_low"]
    assert width[("months:7-12", "head")] > width[("letters", "head")]


def test_a_part_whose_neighbours_are_not_learned_has_no_say():
    found = growing.measure(runs(parts={"held": 0.0, "seen": 0.6}))  # the lists' control is `full`, which has learned
    rows = found.generalisation.set_index(["part", "by"])["verdict"]
    assert rows[("numbers:130-149", "head")] == "not_learned" and rows[("letters", "head")] == "table"
    said = growing.verdict(found)
    assert said.key == "table" and "Seen pairs themselves not learned: numbers 130 to 149 (head)" in said.sentence


def test_shares_are_counted_over_the_pairs_held_out_and_their_neighbours():
    run = made_up("parts", 0, held=0.0, seen=1.0)
    held = growing.held_out(run, "numbers")
    assert held == list(range(129, 148))
    beside = growing.neighbours("numbers:130-149", held)
    assert beside == [*range(109, 128), *range(149, 168)]
    assert growing.outcomes(run, "numbers", held, by="head") == (0, 19)
    assert growing.outcomes(run, "numbers", beside, by="head") == (38, 38)
    assert growing.outcomes(run, "numbers", held, by="list") == (0, 57)
    run["succession"]["lists"]["numbers"]["written"]["count"] = " ".join(s for _, s in pairs_of("numbers"))
    assert growing.outcomes(run, "numbers", held, by="list") == (19, 57)


def test_neighbours_end_with_the_list_and_a_whole_list_has_none():
    assert growing.neighbours("numbers:51-150", list(range(50, 149))) == [*range(49), *range(150, 199)]
    assert growing.neighbours("months:7-12", [6, 7, 8, 9, 10]) == [0, 1, 2, 3, 4, 5, 11]
    assert growing.neighbours("letters", list(range(25))) == []
    assert growing.neighbours("numbers:130-149@counting", list(range(129, 148)))[0] == 109


def test_pairs_that_are_several_tokens_have_no_head_s_answer():
    made = runs(parts_digits={"held": 1.0})
    for name, run in made.items():
        if "digits" in name:
            columns = run["succession"]["lists"]["numbers"]
            columns["rank"] = columns["answer"] = " ".join(["-"] * 199)
    rows = growing.measure(made).generalisation.set_index(["arm", "part", "by"])
    assert ("parts-digits", "numbers:130-149", "head") not in rows.index
    assert rows.loc[("parts-digits", "numbers:130-149", "list"), "verdict"] == "rule"


@pytest.mark.parametrize(("digit", "key"), [(0.6, "trace"), (0.0, "none"), (0.15, "open")])
def test_the_last_digit_is_a_trace_above_chance_and_above_the_text_without_decimals(digit, key):
    made = runs(parts={"digit": digit}, parts_no_decimals={"digit": 0.0})
    table = growing.measure(made).last_digit.set_index("by")
    assert table.loc["head", "verdict"] == key
    shares = [growing.last_digit_share(made[f"parts-seed{seed}"], by="head") for seed in range(5)]
    assert table.loc["head", "share"] == pytest.approx(np.mean(shares))
    # Without decimals the same trace is none of theirs.
    same = runs(parts={"digit": digit}, parts_no_decimals={"digit": 0.9})
    assert growing.measure(same).last_digit.set_index("by").loc["list", "verdict"] != "trace"


def test_the_last_digit_of_a_word_is_wrong():
    run = made_up("parts", 0, digit=1.0)
    assert growing.last_digit_share(run, by="head") == 1.0
    run["succession"]["lists"]["numbers"]["answer"] = " ".join(["the"] * 199)
    assert growing.last_digit_share(run, by="head") == 0.0


def test_the_last_digit_waits_for_all_seeds():
    table = growing.measure(runs(seeds=range(3), parts={"digit": 0.9}, parts_no_decimals={})).last_digit
    assert set(table["verdict"]) == {"waiting"}
    assert growing.measure(runs(parts={})).last_digit.empty


def test_the_dose_has_a_row_a_share():
    made = runs(**{"dose-0.1": {"macro": 0.7}, "dose-0": {"macro": 0.1}})
    made["dose-0.1-seed0"]["curve"][-1]["macro"] = 0.4
    dose = growing.measure(made).dose.set_index("share")
    assert list(dose.index) == [1.0, 0.1, 0.0]
    assert dose.loc[0.1, "macro"] == pytest.approx((4 * 0.7 + 0.4) / 5) and dose.loc[0.1, "above_half"] == 4
    assert dose.loc[0.1, "low"] < dose.loc[0.1, "macro"] < dose.loc[0.1, "high"]
    assert growing.dose_trend(made) > 0.9
    assert np.isnan(growing.dose_trend({}))


def test_what_was_seen_is_reported_apart_for_pairs_held_out():
    seen = growing.measure(runs(parts={})).seen.set_index("arm")
    assert seen.loc["parts", "prompts_held"] == 0 and seen.loc["parts", "prompts"] == 1
    assert np.isnan(seen.loc["full", "prompts_held"])


def test_every_arm_that_holds_out_has_a_family():
    assert set(growing.FAMILY) == {name for name, arm in ARMS.items() if "hold_out" in arm}
    assert set(growing.DOSES) <= set(ARMS)


def test_the_drawing_shows_both_shares_of_every_part():
    figures.use_style()
    drawn = growing.draw_generalisation(growing.measure(runs(parts={"held": 0.1})))
    assert len(drawn) == len(growing.MEASURES)
    for fig in drawn:
        assert not figures.faults(fig)
        assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == list(growing.PART_NAMES.values())
