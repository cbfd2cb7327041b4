"""Chapter 4's models grown otherwise: what is measured of one, what the announced rules make of them, and every verdict."""

import json
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats

from successor_heads import figures, reported
from successor_heads.growing import announced
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.shapes import Shape
from successor_heads.planted.words import word_tokenizer
from successor_heads.studies import better_subjects as study
from successor_heads.studies.vector_arithmetic import MEANS, RANDOM, SAE, SHUFFLED

SEEDS = {arm: announced.arms()[arm]["seeds"] for arm in study.RULES["arms"]}
ALIKE = dict.fromkeys(study.RULES["arms"], 0.1)


def model(up, *, own=0.3, known=120):
    """A measured model of which this share of 500 upward edits is exact, and this share of a number's variance its own."""
    counts = {"up": [round(500 * up), 500], "down": [10, 500], "digit": [200, 500]}
    counts |= {task: [3, 10] for task in study.WORDS}
    return {
        "weights": "",
        "known": [known, 129],
        "edits": {source: counts if source in (MEANS, SAE) else counts | {"up": [10.5, 500]} for source in (MEANS, SAE, RANDOM, SHUFFLED)},
        "made_of": {"ten": 0.5, "residue": 0.5 - own, "own": own},
    }  # fmt: skip  # one model, read as a record


def models(shares=ALIKE, *, own=lambda arm, seed: 0.3 + 0.01 * seed, spread=0.01, seeds=SEEDS):
    """Every announced model, its share that of its arm, a little more in every second seed."""
    return {
        f"{arm}-seed{seed}": model(share + spread * (place % 2), own=own(arm, seed))
        for arm, share in shares.items()
        for place, seed in enumerate(seeds[arm])
    }


def comparison(found, what):
    return next(each for each in found.comparisons if each.what == what)


def test_what_was_announced_can_be_asked_of_chapter_6_s_runs():
    arms = study.RULES["arms"]
    assert set(arms) <= set(announced.arms()) and set(arms) == set(study.ARM_NAMES)
    for pair in study.RULES["comparisons"].values():
        assert {pair["with"], pair["without"]} <= set(arms) and pair["expected"] in study.SAID
        assert len(set(SEEDS[pair["with"]]) & set(SEEDS[pair["without"]])) >= study.FEWEST_SEEDS


@pytest.mark.slow
def test_arms_are_compared_seed_by_seed():
    made = models() | {f"full-seed{seed}": model(0.2 + 0.02 * seed) for seed in range(5)}
    made |= {f"no-decimals-seed{seed}": model(0.1 + 0.02 * seed) for seed in range(4)}
    del made["no-decimals-seed4"]
    found = comparison(study.found(made), "decimals")
    assert found.seeds == 4 and found.mean == pytest.approx(0.1) and found.high - found.low < 1e-6
    assert found.shares == pytest.approx((0.23, 0.13)), "of the four seeds that both have, not of full's five"
    made["no-decimals-seed1"] = model(0.3)
    differences = np.array([0.1, -0.08, 0.1, 0.1])
    by_scipy = scipy.stats.ttest_1samp(differences, 0).confidence_interval(1 - 0.05 / len(study.RULES["comparisons"]))
    found = comparison(study.found(made), "decimals")
    assert (found.low, found.high) == pytest.approx((by_scipy.low, by_scipy.high))


@pytest.mark.parametrize(
    ("difference", "spread", "key"),
    [
        (0.2, 0.0, "better"),
        (0.05, 0.0, "no_better"),
        (-0.2, 0.0, "worse"),
        (0.15, 0.3, "open"),
        (-0.05, 0.0, "no_better"),
    ],
)
def test_a_comparison_comes_to_what_was_announced(difference, spread, key):
    made = models() | {
        f"full-seed{seed}": model(0.4 + difference + spread * (-1) ** seed, own=0.3) for seed in range(5)
    }
    made |= {f"no-decimals-seed{seed}": model(0.4) for seed in range(5)}
    assert comparison(study.found(made), "decimals").key == key


@pytest.mark.slow
def test_a_model_without_a_head_is_left_out_and_too_few_seeds_are_not_judged():
    made = models() | {f"full-seed{seed}": model(0.9, known=19) for seed in (0, 1)}
    found = study.found(made)
    assert next(arm for arm in found.arms if arm.name == "full").mean < 0.2
    assert comparison(found, "decimals").seeds == 3 and comparison(found, "decimals").key == "too_few"
    assert study.verdict(found).key == "open" and ", 2 of 5 comparisons: " in study.verdict(found).sentence
    few = study.found(models(seeds={arm: its[:3] for arm, its in SEEDS.items()}))
    assert study.verdict(few).key == "open" and ", 0 of 5 comparisons." in study.verdict(few).sentence
    assert study.verdict(study.found({})).key == "open"


@pytest.mark.slow
def test_what_makes_a_better_subject_is_named():
    found = study.found(models(ALIKE | {"parts-very-long": 0.6}))
    said = study.verdict(found)
    assert said.key == "better" and "comes of trained four times as long." in said.sentence
    assert "trained four times as long (+0.50, better)" in said.sentence
    assert study.verdict(study.found(models())).key == "none"


@pytest.mark.slow
def test_what_training_does_is_looked_at_with_and_without_decimals():
    def said(**shares):
        shares = {name.replace("_", "-"): share for name, share in shares.items()}
        return study.about_training(study.found(models(ALIKE | shares))).key

    assert said(parts_long=0.3, parts_long_again=0.3) == "with_decimals"
    assert said(parts_long=0.3, parts_long_again=0.3, parts_long_no_decimals=0.3) == "helps"
    assert said(parts_long=0.1, parts_long_again=0.1, parts_long_no_decimals=0.0) == "not_shown"
    assert study.about_training(study.found({})).key == "not_shown"
    # By another way: Welch's interval from its formula.
    some, others = np.array([0.1, 0.4, 0.3]), np.array([0.1, 0.15])
    parts = some.var(ddof=1) / 3, others.var(ddof=1) / 2
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 1)
    half = scipy.stats.t.ppf(0.975, freedom) * sum(parts) ** 0.5
    mean = some.mean() - others.mean()
    assert study._apart(list(some), list(others)) == pytest.approx((mean, mean - half, mean + half))


@pytest.mark.slow
def test_what_is_a_number_s_own_is_held_against_chance_within_arms():
    def own(arm, seed):
        return 0.9 - model_share[arm] - 0.1 * (seed % 2)

    model_share = dict(zip(ALIKE, np.linspace(0.1, 0.6, len(ALIKE))))
    # Seeds with less of their own succeed more often, in every arm.
    falling = study.found(models(model_share, own=own, spread=0.02))
    assert falling.memory.correlation < -0.9 and study.about_memory(falling).key == "expected"
    # The same difference between arms, and within them none: chance does as well.
    between = study.found(models(model_share, own=lambda arm, seed: 0.9 - model_share[arm], spread=0.02))
    assert between.memory.correlation < -0.9 and study.about_memory(between).key == "not_shown"
    weak = study.found(models(own=lambda arm, seed: 0.5 - 0.1 * (SEEDS[arm].index(seed) % 2) + 0.2 * (arm > "n")))
    assert -0.9 < weak.memory.correlation
    assert study.about_memory(weak).key == ("weaker" if weak.memory.correlation > -0.5 else "expected")


def test_the_paper_s_upward_ticks_are_those_of_its_table_off_the_diagonal():
    right, n = study.paper_upward()
    counted, of, _ = reported.read()["arithmetic"]["tables"]["20-29"]
    on_diagonal = sum(int(word) % 10 in row for word, row in reported.read()["figure_7"]["ticks"]["20-29"].items())
    assert (right, n) == (counted - on_diagonal, of - 10)


@pytest.mark.slow
def test_drawings_are_without_faults(found_stored):
    figures.use_style()
    for found in (study.found(models()), found_stored):
        drawing = study.draw_arms(found)
        assert figures.faults(drawing.panels) == [] and drawing._repr_html_()
        assert study.draw_comparisons(found)._repr_html_()
    plt.close("all")


@pytest.fixture
def found_stored():
    return study.found(study.stored())


def test_what_is_stored_is_of_announced_arms_and_settles_them(found_stored):
    assert found_stored.models
    for name, measured in found_stored.models.items():
        arm, seed = announced.run_of(name)
        assert seed in SEEDS[arm]
        assert sum(measured["made_of"].values()) == pytest.approx(1)
        for counts in measured["edits"].values():
            assert all(0 <= right <= n for right, n in counts.values())
    assert sum(each.key != "too_few" for each in found_stored.comparisons) >= 1


# --- what is measured -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted_folder(tmp_path_factory):
    """A plant, whose vectors are sums of list, ten and residue, in a folder as a grown model's."""
    folder = tmp_path_factory.mktemp("grown") / "full-seed0"
    planted = plant(Plan("gpt_neox", seed=1, shape=Shape(2, 6, 384), modulus=10), word_tokenizer())
    planted.module.save_pretrained(folder)
    planted.tokenizer.save_pretrained(folder)
    (folder / "recipe.json").write_text("{}")
    (folder / "curve.json").write_text(json.dumps({"curve": [{"loss_successor": 0.5, "loss_other": 1.5}]}))
    return folder


@pytest.mark.slow
def test_edits_of_planted_directions_succeed_and_random_ones_do_not(planted_folder):
    measured = study.measure(planted_folder, n_draws=1)
    assert study.share(measured) > 0.95 and study.share(measured, kind="digit") > 0.95
    assert study.share(measured, RANDOM) < 0.2 and study.share(measured, SHUFFLED) < 0.2
    assert measured["made_of"]["own"] < 0.05
    # Tens from 0 to 12, of numbers from 1: nine upward edits of the nought, eight of the one, …; the first ten has no nought.
    assert measured["known"] == [129, 129] and measured["edits"][MEANS]["up"][1] == 13 * 45 - 9
    assert measured["loss"] == {"successor": 0.5, "other": 1.5}


def test_models_that_were_measured_are_passed_over_and_other_arms_as_well(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "FILE", tmp_path / "evidence.json")
    monkeypatch.setattr(study, "measure", lambda folder: model(0.1) | {"weights": study.digest_of(folder)})
    for name in ("full-seed1", "full-seed0", "dose-0-seed0", "half-grown-seed0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(name)
        (tmp_path / name / "recipe.json").write_text("{}")
    (tmp_path / "full-seed2").mkdir()  # still growing
    monkeypatch.setattr(sys, "argv", ["better_subjects", *map(str, sorted(tmp_path.glob("*seed*"), reverse=True))])
    study.main()
    assert capsys.readouterr().out.split() == ["full-seed1", "full-seed0"]
    assert list(study.stored()) == ["full-seed0", "full-seed1"]
    (tmp_path / "full-seed0" / "model.safetensors").write_text("grown anew")
    study.main()
    assert capsys.readouterr().out.split() == ["full-seed0"]
