"""Chapter 6's study from made-up records: every verdict is reached, and each number is counted by hand."""

import copy
import functools
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from successor_heads import anatomy, figures, intervals, models, ordinals, ov_circuit
from successor_heads.growing import announced, observe
from successor_heads.growing.corpus import LISTS, HeldOut, generated, pairs_of
from successor_heads.growing.train import Recipe
from successor_heads.ordinals import ResolvedClass
from successor_heads.studies import growing

ARMS = announced.arms()
EXPERIMENTS = [*announced.experiments()["experiments"], *(entry["experiment"] for entry in announced.later())]


@pytest.fixture(scope="module", autouse=True)
def the_same_counts_once():
    """Nearly all made-up records have the same counts, and each of their intervals takes ten thousand draws."""
    drawn = functools.cache(intervals.share_over_seeds)

    def share_over_seeds(successes, n, **settings):
        return drawn(tuple(successes), tuple(n), **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "share_over_seeds", share_over_seeds)
        yield


def made_up(arm, seed, *, read=(), **how):
    """A record of a run, of which a test may change its own copy; see `_made_up`."""
    return copy.deepcopy(_made_up(arm, seed, tuple(dict(read).items()), **how))


@functools.cache
def _made_up(arm, seed, read, *, held=0.0, seen=1.0, digit=0.0, macro=0.9, numbers=0.95):
    """A record whose pairs held out are right with probability `held`, the others with `seen`.

    Wrong answers to numbers have the right last digit with probability `digit`, else never. `read` has the accuracy of
    the probe by modulus, .05 else, and `numbers` is what the best head makes of the numbers at the end.
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
    tasks = {part.task for part in parts} - {"roman"}
    shares = {"held": dict.fromkeys(tasks, held), "seen": dict.fromkeys(tasks, seen)}
    curve = [{"tokens": tokens, "macro": macro, "numbers": numbers} for tokens in (0, 10_000, 1_000_000)]
    spread = 0.01 * rng.random()
    return {
        "curve": [point | ({"succession": shares} if tasks else {}) for point in curve],
        "recipe": {"family": "pythia", "size": "tiny", "seed": seed, "without": ["prose"]},
        "probes": [{"modulus": k, "accuracy": dict(read).get(k, 0.05) + spread} for k in growing.MODULI],
        "transfer": [{"task": "days", "accuracy": 0.3 + spread, "n": 7}],
        "residues": where(0.5).to_dict("records"),
        "succession": {
            "layer": 1,
            "head": 0,
            "lists": lists,
            "heads": {"numbers": {"seen": [[0.0, 0.0], [seen, 0.1]]}},
        },
        "macro_by_head_mlp0": [[0.1, 0.1], [macro, 0.2]],
        "macro_by_head_embedding": [[0.1, 0.3], [0.2, 0.1]],
        "text": {"evaluated_seen": 0.1, "in_order": in_order, "prompts_seen": prompts_seen},
    }


def where(accuracy):
    """What a probe reads, by source and modulus."""
    rows = [
        {"source": source, "modulus": modulus, "accuracy": accuracy if modulus == 10 else 0.1, "low": 0.05, "high": 0.9, "n": 200}
        for source in ("mlp0", "embedding", "unembedding", "random mlp")
        for modulus in (10, 7)
    ]  # fmt: skip
    return pd.DataFrame(rows)


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
        assert "Not settled: July to December, by the head." in verdict.sentence


def test_what_has_all_its_seeds_is_said_while_the_rest_waits():
    made = runs(parts={"held": 0.0})
    waiting = growing.verdict(growing.measure({name: run for name, run in made.items() if name != "full-seed4"}))
    assert waiting.key == "waiting" and "seeds are missing of “everything”" in waiting.sentence
    assert (
        "Settled already, table: numbers 130 to 149, by the head; numbers 130 to 149, in lists; July"
        in waiting.sentence
    )
    assert "letters" not in waiting.sentence.partition("Settled already")[2]
    early = growing.verdict(growing.measure(runs(seeds=range(3), parts={})))
    assert "Settled" not in early.sentence


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
    n = int((rows == "not_learned").sum())
    assert said.key == "table" and f"In {n} comparisons even the pairs seen" in said.sentence


def test_a_whole_list_in_seeds_of_which_nobody_grows_the_control_awaits_none():
    made = runs(seeds=range(5, 10), parts_very_long_again={})
    alone = {name: run for name, run in made.items() if not name.startswith("full")}
    rows = growing.measure(alone).generalisation.set_index(["part", "by"])["verdict"]
    assert rows[("letters", "list")] == "no_control" and rows[("numbers:130-149", "list")] == "table"


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


def test_how_answers_end_is_counted_apart_for_the_successor_and_for_the_number_itself():
    run = made_up("parts", 0)
    held = [
        word
        for word, flag in zip(LISTS["numbers"].words, run["succession"]["lists"]["numbers"]["held"].split())
        if flag == "1"
    ]
    answers = dict(zip(held, [str(int(word) + (10 if int(word) < 140 else 11)) for word in held]))
    columns = run["succession"]["lists"]["numbers"]
    columns["answer"] = " ".join(answers.get(word, "0") for word, _ in pairs_of("numbers"))
    row = growing.measure({"parts-seed0": run}).digits.iloc[0]
    assert row["successor"] == pytest.approx(9 / 19) and growing.own_digit_share(run) == pytest.approx(10 / 19)


@pytest.mark.slow
def test_the_verdict_says_what_becomes_of_the_digit_and_whether_that_was_confirmed():
    claim = "digit goes by rule, the decade does not"
    suggesting = {"parts-very-long": {"digit": 0.95}}
    said = growing.verdict(growing.measure(as_expected(**suggesting))).sentence
    assert (
        f"**The {claim}: confirmed on new seeds.**" in said
        and "(10 heads)" in said
        and "without decimals they have 0." in said
    )
    before = as_expected(of=["parts", "full", "parts-long", "parts-very-long"], **suggesting)
    exploratory = growing.verdict(growing.measure(before)).sentence
    assert f"**The {claim}: exploratory; new seeds are announced.**" in exploratory
    assert exploratory.endswith("a guess has 0.10.")
    # New seeds have the last word, whether they speak against it or do not settle it.
    for again in ({"held": 0.6, "digit": 0.1}, {"seen": 0.3, "digit": 0.95}):
        refuted = growing.verdict(
            growing.measure(as_expected(**suggesting, **{"parts-very-long-again": again}))
        ).sentence
        assert f"**The {claim}: not confirmed on new seeds.**" in refuted and "nan" not in refuted
    for changed in (
        {"parts-very-long": {"digit": 0.1}},
        {"parts-very-long": None},
        {"parts-very-long": {"digit": 0.95, "seen": 0.3}},
    ):
        assert claim not in growing.verdict(growing.measure(as_expected(**changed))).sentence


@pytest.mark.slow
def test_whether_the_step_alone_is_carried_over_is_said_once_it_is_settled():
    claim = "**Nor is it that the words were missing.**"
    said = growing.verdict(growing.measure(as_expected())).sentence
    assert f"{claim} Where lists are cut" in said and "of steps that were shown 1.00" in said
    carried = growing.verdict(growing.measure(as_expected(**{"scattered-cut": RIGHT}))).sentence
    assert claim not in carried and "**Where the step alone is missing**" in carried
    for changed in ({"seen": 0.5}, None):
        assert "step alone" not in growing.verdict(growing.measure(as_expected(**{"scattered-cut": changed}))).sentence


def test_of_heads_that_do_not_give_the_neighbours_the_digit_says_nothing():
    made = runs(seeds=range(3), parts_very_long={"digit": 1.0}) | {
        f"parts-very-long-seed{seed}": made_up("parts-very-long", seed, digit=0.0, seen=0.5) for seed in (3, 4)
    }
    each = growing.digit_of_counting_heads(growing.measure(made).digits, "parts-very-long")
    assert each.tolist() == [1.0] * 3


@pytest.mark.slow
def test_what_comes_late_is_said_and_new_seeds_have_the_last_word():
    arms = ["parts", "full", "parts-very-long"]
    late = as_expected(of=arms, **{"parts-very-long": {"held": 0.6}})
    said = growing.late_sentence(growing.measure(late))
    assert said.startswith(
        "**Late in training the head begins to carry over: exploratory; new seeds are announced.** After 12 times"
    )
    assert said.count("the head gives") == 4 and "all Roman numerals" in said
    # Neither a rise in some seeds nor one that stays small is one.
    for seed in range(2):
        late[f"parts-very-long-seed{seed}"] = made_up("parts-very-long", seed)
    assert growing.late_sentence(growing.measure(late)) == ""
    assert growing.late_sentence(growing.measure(as_expected(of=arms, **{"parts-very-long": {"held": 0.1}}))) == ""
    assert growing.late_sentence(growing.measure(as_expected(of=arms[:2]))) == ""
    # New seeds that have been run are not kept back until the last has come.
    some = as_expected(**{"parts-very-long": {"held": 0.6}})
    del some[max(name for name in some if name.startswith("parts-very-long-again-seed"))]
    said = growing.verdict(growing.measure(some)).sentence
    assert "carry over: exploratory; new seeds are announced.**" in said
    assert said.count("The new seeds so far, of which some are still to come: ") == 2  # of this and of the digit
    assert "some are still to come: Letters, by the head" in said
    for again, claim in (({"held": 0.6}, "carry over: confirmed on"), ({}, "carry over: not confirmed on")):
        changed = {"parts-very-long": {"held": 0.6}, "parts-very-long-again": again}
        said = growing.verdict(growing.measure(as_expected(**changed))).sentence
        assert claim in said and "New seeds: Letters, by the head" in said and "exploratory" not in said


def test_where_numbers_are_counted_after_longer_training_is_told_by_head_and_in_lists():
    made = runs(seeds=[0], parts={}, parts_long={})
    run = made["parts-long-seed0"]
    run["succession"]["heads"]["numbers"]["seen"] = [[0.0, 0.6], [0.2, 0.1]]
    run["macro_by_head_embedding"] = [[0.95, 0.3], [0.2, 0.1]]
    lists = run["succession"]["lists"]["numbers"]
    lists["rank"] = " ".join("2" if place >= 40 else rank for place, rank in enumerate(lists["rank"].split()))
    found = growing.measure(made)
    _, row = found.whereabouts.to_dict("records")  # behind a short training
    assert (row["head"], row["macro"], row["lists"]) == ("L1H0", 0.9, 1.0)
    assert row["numbers"] == pytest.approx(40 / 180)  # the 180 that are not held out; 40 are left to the head
    assert (row["other"], row["any"], row["on"], row["embedding"]) == ("L0H1", 0.6, "L0H0", 0.95)
    table = growing.draw_whereabouts(found)
    assert table.caption.startswith("In 1 of 1 prolonged runs and in 0 of 1 short ones, the head")
    assert "another head gives half or more: 1." in table.details and "on what MLP0 writes: 1." in table.details
    assert "L1H0 0.90, 0.22" in table._repr_html_()


@pytest.mark.slow
def test_the_verdict_says_whether_a_rule_would_have_been_seen():
    seen = growing.verdict(growing.measure(as_expected())).sentence
    assert (
        "What does carry over is seen, as a positive control shows: a token a digit 1.00 in lists (neighbours 1.00)"
        in seen
    )
    blind = growing.verdict(
        growing.measure(as_expected(of=["parts", "full", "listed-in-headings"], **{"listed-in-headings": {}}))
    )
    assert (
        "of 1 arms the best gives 0.00 of the pairs held out, so that the method may be blind to one" in blind.sentence
    )
    assert "control" not in growing.verdict(growing.measure(as_expected(of=["parts", "full"]))).sentence


def test_the_last_digit_waits_for_all_seeds():
    table = growing.measure(runs(seeds=range(3), parts={"digit": 0.9}, parts_no_decimals={})).last_digit
    assert set(table["verdict"]) == {"waiting"}
    assert growing.measure(runs(parts={})).last_digit.empty


def test_the_dose_has_a_row_a_share():
    made = runs(**{"dose-0.1": {"macro": 0.7}, "dose-0": {"macro": 0.1}})
    made["dose-0.1-seed0"]["curve"][-1]["macro"] = 0.4
    for name, run in made.items():
        if name.startswith("full"):  # a macro of .1 for the first tenth, then a straight rise
            end = run["curve"][-1]["tokens"]
            run["curve"] = [
                {**run["curve"][-1], "tokens": end * at, "macro": macro}
                for at, macro in ((0, 0.1), (0.1, 0.1), (1, 1.0))
            ]
    table = growing.measure(made).dose
    dose = table.set_index("share")
    assert list(dose.index) == [1.0, 0.1, 0.0]
    assert dose.loc[0.1, "macro"] == pytest.approx((4 * 0.7 + 0.4) / 5) and dose.loc[0.1, "above_half"] == 4
    assert list(dose["undiluted"]) == pytest.approx([1.0, 0.1, 0.1])
    assert dose.loc[0.1, "low"] < dose.loc[0.1, "macro"] < dose.loc[0.1, "high"]
    assert growing.dose_trend(table) > 0.9 > 0 > growing.dose_trend(table.assign(share=-table["share"]))


def test_what_was_seen_is_reported_apart_for_pairs_held_out():
    seen = growing.measure(runs(parts={})).seen.set_index("arm")
    assert seen.loc["parts", "prompts_held"] == 0 and seen.loc["parts", "prompts"] == 1
    assert np.isnan(seen.loc["full", "prompts_held"])


def test_numbered_lists_begin_their_lines_with_the_numeral():
    """Why these controls ask about another token: no space stands before it, as one does in a list with commas."""
    texts = [document.text for document in generated(seed=0, n=2000) if document.kind == "numbered_list"]
    numerals = [re.match(r"\d+", line) for text in texts for line in text.split("\n")]
    assert len(texts) > 50 and sum(map(bool, numerals)) > 200
    assert not any(re.search(r" \d", text) for text in texts)


def test_every_arm_that_holds_out_has_a_family():
    assert set(growing.FAMILY) == {name for name, arm in ARMS.items() if "hold_out" in arm}
    assert set(growing.DOSES) <= set(ARMS)


# --- held against what was announced ------------------------------------------------------------------

RIGHT = {"held": 1.0, "seen": 1.0}
# Every arm as it was expected; digits give numbers by rule and words from a table, which `as_expected` sees to.
EXPECTED = {
    "parts": {"digit": 0.6}, "parts-no-decimals": {"digit": 0.05}, "parts-digits": {}, "full": {"read": {10: 0.6}},
    "parts-long": {"digit": 0.95}, "dose-0.3": {"macro": 0.8}, "dose-0.1": {"macro": 0.7}, "dose-0.03": {"macro": 0.4},
    "dose-0.01": {"macro": 0.2}, "dose-0": {"macro": 0.1}, "listed-in-headings": RIGHT, "scattered": {}, "block-4": {},
    "block-half": {}, "thirds": {}, "parts-no-crossrefs": {}, "parts-no-interchange": {}, "parts-narrow": {},
    "no-decimals": {"read": {10: 0.05}}, "no-endings": {"read": {10: 0.4}}, "no-compositions": {"read": {10: 0.25}},
    "base8": {"read": {8: 0.6}}, "base12": {"read": {12: 0.6}},
    "parts-long-again": {"digit": 0.95}, "parts-long-no-decimals": {"digit": 0.05}, "listed-in-diaries": RIGHT,
    "listed-in-numbered": RIGHT, "days-out": {}, "number-words-out": {}, "parts-small": {},
    "listed-in-numbered-long": RIGHT, "listed-in-other-frames": RIGHT, "scattered-cut": {}, "parts-very-long": {}, "parts-very-long-again": {"held": 0.6, "digit": 0.95}, "parts-very-long-untied": {},
}  # fmt: skip


def as_expected(seeds=range(5), *, of=EXPECTED, **changed):
    """Records of every arm as announced, or of some, but for arms that are given otherwise (None: not run)."""
    arms = {arm: its for arm, its in (EXPECTED | changed).items() if its is not None and arm in of}
    made = {f"{arm}-seed{seed}": made_up(arm, seed, **its) for arm, its in arms.items() for seed in seeds}
    for name, run in made.items():
        if name.startswith("parts-digits"):
            right = " ".join(successor for _, successor in pairs_of("numbers"))
            run["succession"]["lists"]["numbers"] |= {
                "rank": " ".join(["-"] * 199), "answer": " ".join(["-"] * 199), "written": dict.fromkeys(growing.FRAMES, right),
            }  # fmt: skip
        if name.startswith("parts-very-long-again"):  # the head alone goes on, and of numbers with the digit alone
            its = {**arms["parts-very-long-again"], "held": 0.0}
            run["succession"]["lists"]["numbers"] = made_up("parts-very-long-again", run["recipe"]["seed"], **its)[
                "succession"
            ]["lists"]["numbers"]
            run["succession"]["lists"]["letters"]["written"] = dict.fromkeys(growing.FRAMES, " ".join(["A"] * 25))
        if name.startswith("parts-narrow") and arms["parts-narrow"] == EXPECTED["parts-narrow"]:
            numbers = run["succession"]["lists"]["numbers"]  # the first sixty are too many for it
            numbers["rank"] = " ".join(["2"] * 60 + numbers["rank"].split()[60:])
    return made


def outcome_of(number, **changed):
    """What an experiment comes to, with the records of its own arms alone."""
    experiment = EXPERIMENTS[number - 1]
    return growing.measure(as_expected(of=experiment["arms"], **changed)).outcomes[number - 1]


TITLES = [str(experiment["id"]) for experiment in EXPERIMENTS]


@pytest.mark.slow
def test_what_comes_as_announced_is_called_so():
    outcomes = growing.measure(as_expected()).outcomes
    assert [outcome.title for outcome in outcomes] == TITLES
    assert {outcome.title: outcome.key for outcome in outcomes} == dict.fromkeys(TITLES, "expected")
    assert all(outcome.seeds == 5 and "nan" not in outcome.said for outcome in outcomes)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "changed", "key"), [
    (1, {"parts": RIGHT}, "otherwise"),
    (1, {"parts": {"seen": 0.6}, "full": {"seen": 0.6}}, "open"),  # neighbours not learned
    (2, {"parts": {"digit": 0.0}}, "otherwise"),
    (2, {"parts-no-decimals": {"digit": 0.6}}, "otherwise"),  # as good without: no trace, and more than a guess
    (3, {"parts-digits": RIGHT, "parts": RIGHT}, "otherwise"),  # nothing gained by digits
    (4, {"parts-long": RIGHT}, "otherwise"),
    (4, {"parts-long": {"digit": 0.6}}, "partly"),  # tables, and no better digits
    (5, {"dose-0.01": {"macro": 0.9}}, "partly"),
    (5, {"dose-0.3": {"macro": 0.1}, "dose-0.1": {"macro": 0.2}, "dose-0.01": {"macro": 0.8}, "dose-0": {"macro": 0.9}}, "otherwise"),
    (6, {"scattered": RIGHT}, "partly"),
    (7, {"listed-in-headings": {}}, "otherwise"),
    (7, {"listed-in-headings": {"held": 0.5}}, "otherwise"),
    (7, {"listed-in-headings": {"held": 0.5, "seen": 0.5}}, "open"),
    (8, {"parts-narrow": {"macro": 1.0}}, "partly"),  # and holds as many
    (8, {"parts-no-crossrefs": RIGHT, "parts-no-interchange": RIGHT}, "partly"),
    (9, {"no-endings": {"read": {10: 0.6}}}, "partly"),
    (9, {"no-decimals": {"read": {10: 0.05}, "numbers": 0.5}}, "partly"),
    (10, {"parts-long-again": {"digit": 0.3}}, "partly"),
    (10, {"parts-long-again": {"digit": 0.3}, "parts-long-no-decimals": {"digit": 0.9}}, "otherwise"),
    (10, {"parts-long-again": RIGHT}, "partly"),  # the digit is right, and so is the ten
    (10, {"parts-long-again": {"digit": 0.8}, "parts-long-no-decimals": {"digit": 0.4}}, "open"),
    (11, {"listed-in-diaries": {}}, "otherwise"),
    (12, {"listed-in-numbered": {}}, "otherwise"),
    (15, {"listed-in-numbered-long": {}}, "otherwise"),
    (16, {"listed-in-other-frames": {}}, "otherwise"),
    (17, {"scattered-cut": RIGHT}, "otherwise"),
    (18, {"parts-very-long-again": {"digit": 0.1}}, "otherwise"),
    (18, {"parts-very-long-again": {"digit": 0.5}}, "open"),
    (18, {"parts-very-long-again": {"digit": 0.95, "seen": 0.5}}, "open"),  # too few heads count
    (13, {"parts-small": RIGHT}, "partly"),
    (13, {"days-out": RIGHT, "number-words-out": RIGHT, "parts-small": RIGHT}, "otherwise"),
    (14, {"parts-very-long-again": {}}, "partly"),  # the head has no rule, and neither have lists and untied lists
    (14, {"parts-very-long-untied": RIGHT}, "partly"),  # a rule without what should make it
], ids=str)  # fmt: skip
def test_what_comes_otherwise_is_noticed(number, changed, key):
    outcome = outcome_of(number, **changed)
    assert outcome.key == key, outcome.said


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 19))
def test_an_experiment_waits_for_its_seeds_and_for_its_arms(number):
    assert outcome_of(number, seeds=range(3)).key == "waiting"
    for missing in EXPERIMENTS[number - 1]["arms"]:
        if missing != "parts-very-long":  # of which nothing was expected
            outcome = outcome_of(number, seeds=range(2), **{missing: None})
            assert outcome.key == "not_run" and missing in outcome.said
    assert growing.measure({}).outcomes[number - 1].key == "not_run"


def test_how_often_headings_give_a_pair_is_counted():
    made = as_expected(of=["parts", "full", "listed-in-headings"])
    for name, run in made.items():
        if name.startswith("listed-in-headings"):
            run["text"]["in_order"]["numbers"] = " ".join(["40"] * 129 + ["7"] * 19 + ["40"] * 51)
    said = growing.measure(made).outcomes[6].said
    assert (
        "Each pair stands 7 times in order in the documents that are left; its neighbours, in all documents, 40 times"
        in said
    )
    assert "plus 10" not in said
    for name, run in made.items():
        if name.startswith("listed-in-headings"):
            run["succession"]["lists"]["numbers"]["answer"] = " ".join(str(n + 10) for n in range(1, 200))
    assert "The head gives the number plus 10 in 1.00 of cases" in growing.measure(made).outcomes[6].said


def test_a_share_of_one_half_settles_nothing_of_a_dose_that_is_not_whole():
    outcome = outcome_of(5, **{"dose-0.03": None})
    assert outcome.key == "not_run" and "1: 0.90" in outcome.said and "0.03:" not in outcome.said


# --- earlier runs, and what is drawn ------------------------------------------------------------------


def before(**arms):
    """Runs from before the announcement: tiny ones by arm, and the shipped ones with and without help."""
    tiny = {
        f"pythia-tiny-{arm}-seed{seed}": made_up("full", seed, **its) for arm, its in arms.items() for seed in range(3)
    }
    others = {}
    for name, family, macro in (
        ("pythia", "pythia", 0.98), ("gpt2", "gpt2", 0.88), ("gpt2-tied", "gpt2", 0.8), ("gpt2-quiet", "gpt2", 0.75),
        ("gpt2-never-quiet", "gpt2", 0.21),
    ):  # fmt: skip
        others[name] = made_up("full", 0, macro=macro)
        others[name]["recipe"] = {
            "family": family, "size": "tiny" if "quiet" in name else "default", "without": [], "tied": name != "gpt2" and family == "gpt2",
        }  # fmt: skip
    return tiny | others


TENS = {"full": {"read": {10: 0.6}}, "no-decimals": {"numbers": 0.99}, "no-crossrefs": {}, "base8": {"read": {8: 0.6}}}


@pytest.mark.slow
def test_the_tens_are_those_of_announced_runs_once_there_are_enough():
    earlier = growing.earlier(before(**TENS))
    table, which = growing.tens_of(growing.measure(runs(parts={})), earlier)
    assert which == "exploratory" and set(table["arm"]) >= {"full", "no-decimals", "base8"}
    said = growing.verdict(growing.measure(runs(parts={})), earlier).sentence
    assert "can do without the tens** (exploratory)" in said and "0.99 of the numbers" in said
    # While one arm is missing there would be nothing to say of it.
    assert growing.tens_of(growing.measure(as_expected(base8=None)), earlier)[1] == "exploratory"
    found = growing.measure(as_expected(**{"no-decimals": {"numbers": 0.5}}))
    table, which = growing.tens_of(found, earlier)
    assert which == "announced" and set(table["arm"]) == set(growing.TENS)
    assert "Fewer numbers without the tens** (announced)" in growing.verdict(found, earlier).sentence


def test_help_is_set_beside_what_came_without_it():
    helped = growing.earlier(before()).helped.set_index("what was helped")
    quiet = helped.loc["attention 0 writes nothing in the first third of the steps"]
    assert (quiet["with"], quiet["without"]) == (0.75, 0.21) and len(helped) == 2  # no run of Llama is there
    assert "GPT-2 without it has 0.21" in growing.draw_helped(growing.earlier(before())).caption


def test_only_runs_on_the_whole_text_rise():
    rise = growing.earlier(before(**TENS)).rise
    assert set(rise["run"]) == {"pythia", "gpt2"}


def test_a_difference_between_texts_that_is_none_does_not_survive():
    table = growing.draw_claims(growing.earlier(before(full={}, **{"no-crossrefs": {}}))).frame
    assert len(table) == 1 and table["p, Holm"][0] > 0.05  # alike but for noise


LETTERS = "ABCDEF"
OF_LETTERS = {
    "letters": ResolvedClass(
        "letters", tuple(LETTERS), torch.arange(6), torch.arange(1, 7), torch.arange(5), torch.arange(1, 6), (), " "
    )
}


def map_at(step):
    """Of two layers with one head: the second names the successors of as many letters as there were steps of two, and ties on the last."""
    at = torch.zeros(6, 6)
    for row in range(min(5, step // 2)):
        at[row, row + 1] = 1
    at[4] = 0
    return torch.stack([torch.zeros(6, 6), at])[:, None]


LIVE = [
    (step, {"layer": 1, "head": 0, "seen": {"letters": step / 10, "days": 0.9}, "held": {"letters": 0.0}, "maps": {"letters": map_at(step)}})
    for step in range(0, 11, 5)
]  # fmt: skip  # a point a line
HALF = Recipe(held_out=("letters:4-6",))


@pytest.mark.parametrize("made", [{}, runs(parts={}), runs(seeds=range(2), parts={"held": 0.1}), as_expected()], ids=["nothing", "two arms", "two seeds", "all"])  # fmt: skip
@pytest.mark.slow
def test_drawings_fit_the_page_and_say_what_is_missing(made):
    figures.use_style()
    found, earlier = growing.measure(made), growing.earlier(before(**TENS) if made else {})
    shown = [
        growing.draw_generalisation(found), growing.draw_outcomes(found), growing.draw_arms(found), growing.draw_arms(found, "list"),
        growing.draw_shapes(found), growing.draw_last_digit(found), growing.draw_along(found), growing.draw_dose(found, earlier),
        growing.draw_tens(found, earlier), growing.draw_residues(where(0.9), "made/up", made), growing.draw_helped(earlier),
        growing.draw_seen(found, {"made": {"prompts_seen": {"days": {"commas": "1 0"}}, "evaluated_seen": 0.2}}),
        growing.draw_claims(earlier), growing.compared(found, earlier), growing.draw_live(LIVE, OF_LETTERS, HALF),
    ]  # fmt: skip
    for each in (getattr(each, "still", each) for each in shown):
        if isinstance(each, figures.Drawing):
            for fig in each.panels if isinstance(each.panels, list) else [each.panels]:
                assert not figures.faults(fig), each
            assert each.alt and "nan" not in each.caption + each.alt
        html = each.data if not hasattr(each, "_repr_html_") else each._repr_html_() or each.data
        assert html
    plt.close("all")
    drawn = {type(each).__name__ for each in shown}
    assert ("Markdown" in drawn) and drawn <= {"Drawing", "Living", "Table", "Markdown"}


def test_the_scrubber_counts_pairs_seen_and_held_out_at_every_point():
    figures.use_style()
    drawn = growing.draw_live(LIVE, OF_LETTERS, HALF)
    plt.close("all")
    shown = json.loads(json.dumps(drawn.options, allow_nan=False))
    assert shown["head"] == "L1H0" and shown["lists"]["letters"]["never"] == [3, 4], (
        "D and E, whose successors are E and F"
    )
    # Of A, B and C; D counts as right after ten steps although no text has it in order, and E ties.
    assert [point["right"]["letters"] for point in shown["points"]] == [
        {"seen": [0, 3], "held": [0, 2]}, {"seen": [2, 3], "held": [0, 2]}, {"seen": [3, 3], "held": [1, 2]},
    ]  # fmt: skip  # a point a column
    assert drawn.model is None and len(drawn.table.frame) == len(LIVE)


def test_maps_along_the_training_are_the_heads_canonical_ones_around_the_mean_of_each_row():
    model = models.load("grown/pythia")
    parts, lists = anatomy.of(model), ordinals.resolve(model.tokenizer)
    made = growing.maps_of(parts, lists)
    assert set(made) == set(growing.MAPPED)
    for task, of_heads in made.items():
        expected = ov_circuit.head_matrix(parts, lists[task].token_ids, layer=2, head=1)
        assert torch.allclose(of_heads[2, 1], expected - expected.mean(1, keepdim=True), atol=1e-5)


def test_the_opening_drawing_shows_both_shares_of_every_part_and_each_seed():
    figures.use_style()
    drawing = growing.draw_generalisation(growing.measure(runs(parts={"held": 0.1})))
    assert len(drawing.panels) == len(growing.MEASURES)
    names = [growing.PART_NAMES[part] for part in ARMS["parts"]["hold_out"]]
    for fig in drawing.panels:
        assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == names
        dots = [its for its in fig.axes[0].collections if len(its.get_offsets()) == 5]
        assert len(dots) == len(names)


def test_residues_that_cannot_be_asked_are_not_drawn():
    assert "too few numbers" in growing.draw_residues(None, "made/up", {}).data


@pytest.mark.slow
def test_the_record_says_what_the_verdict_rests_on():
    found, earlier = growing.measure(as_expected()), growing.earlier(before(**TENS))
    record = growing.record(found, earlier, name="made/up", live=LIVE, where=where(0.9))
    value = {name: finding["value"] for name, finding in record["findings"].items()}
    assert value["live_held"] == 0 and value["live_seen"] == pytest.approx(0.95)
    assert value["held_numbers_head"] == 0 and value["seen_numbers_head"] == 1 and value["residue_mlp0_10"] == 0.9
    assert value["mod_10_full"] == pytest.approx(0.6, abs=0.02) and value["numbers_no-decimals"] == 0.95
    assert record["tables"]["verdict"]["key"].tolist() == ["table"]
    assert set(record["tables"]["outcomes"]["key"]) == {"expected"}
    assert "last_digit_head" in value and value["late_letters_head"] == 0 and value["dose_0.3"] == pytest.approx(0.8)
    # What waits for seeds is no finding yet.
    early = growing.record(growing.measure(as_expected(range(3))), earlier, name="made/up", live=LIVE, where=None)
    assert not [name for name in early["findings"] if name.startswith(("held", "seen", "last", "late", "dose"))]
    # With nothing run, nothing is claimed, and a model without numbers has no residues.
    empty = growing.record(growing.measure({}), growing.earlier({}), name="made/up", live=LIVE, where=None)
    assert set(empty["findings"]) == {"earlier_runs", "live_seen", "live_held", "live_seen_at_start"}


@pytest.mark.slow
def test_the_stored_runs_can_be_read():
    found, earlier = growing.measure(observe.stored(observe.ANNOUNCED_RUNS)), growing.earlier(observe.stored())
    assert growing.verdict(found, earlier).sentence and len(earlier.helped) == len(growing.HELP)
    assert (found.seen["prompts_held"].dropna() == 0).all()
