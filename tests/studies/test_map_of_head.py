"""Chapter 2's study: every verdict from made-up findings, drawings without faults, and the algebra by another way."""

import itertools
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.display import Markdown

from successor_heads import anatomy, attention, figures, maps, ordinals, scores
from successor_heads.planted.plant import Plan, plant
from successor_heads.planted.words import word_tokenizer
from successor_heads.scores import HeadScores
from successor_heads.studies import map_of_head
from successor_heads.studies.map_of_head import Found, Inputs, Looks, Past

SIZES = {"numbers": 40, "days": 7, "months": 12}
NAN = float("nan")


def lists(sizes) -> dict[str, ordinals.ResolvedClass]:
    """Lists of these sizes in which every member is a token; days and months go round."""
    made = {}
    for task, size in sizes.items():
        steps = torch.arange(size if task in ("days", "months") else size - 1)
        ids = torch.arange(size)
        words = ordinals.CLASSES[task].words[:size]
        made[task] = ordinals.ResolvedClass(task, words, ids, ids + 1, steps, (steps + 1) % size, (), " ")
    return made


def mixture(classes, weights, *, noise=0.3, seed=0):
    """A matrix of all lists that holds succession, copying and greater-than with these weights, and noise."""
    n = sum(len(c.words) for c in classes.values())
    matrix = noise * torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    for task, own in maps.blocks(classes).items():
        matrix[own, own] += torch.einsum("p,pij->ij", torch.tensor(weights).double(), maps.patterns(classes[task]))
    return matrix


def looks(value=1.4, interval=(1.2, 1.6), null=(0.8, 1.2)) -> Looks:
    return Looks(np.full((5, 3, 4), 0.1), (0.0, 0.2), np.full((3, 4), value), interval, null, 10, 0.07)


def past(share=0.1) -> Past:
    """A lens that names this share of the successors."""
    rows = pd.DataFrame(
        {"list": ["days"], "pairs": [7], "guess": [1 / 7], "as it stands": [0.1], "lens": [share], "head": [1.0]}
    )
    rows = rows.assign(**{f"{who}, all words": share for who in ("lens", "head", "model")})
    return Past(rows, 500, (0.4, 0.1), [("Monday", "night", "Tuesday")], (share, share - 0.05, share + 0.05))


def made(*, weights=(4, 0, 0), sizes=SIZES, interval=(0.9, 1.0), untrained=(0.1, 0.2), on_embedding=0.3) -> Found:
    """A model of three layers and four heads whose best head, L1H2, has a matrix mixed from patterns."""
    classes = lists(sizes)
    matrix = mixture(classes, weights)
    predicted = {task: torch.full((3, 4, len(c.source)), -1) for task, c in classes.items()}
    for task, c in classes.items():
        predicted[task][1, 2] = c.target
    result = HeadScores(predicted, {task: c.target for task, c in classes.items()})
    known = lists(SIZES)
    plants = {
        role: mixture(known, mix)
        for role, mix in {"successor": (4, 0, 0), "copier": (0, 4, 0), "greater_than": (0, 0, 4)}.items()
    }
    models = ["made/up", "planted gpt2", "planted gpt_neox"]
    inputs = pd.DataFrame({"model": models, "head": "L1H2", "attention 0": ["beside", "before", "beside"]})
    inputs = inputs.assign(**dict.fromkeys(map_of_head.SOURCES, on_embedding))
    conventions = pd.DataFrame(
        {
            "convention": list(scores.CONVENTIONS), "L1H2": 0.9, "low": 0.8, "high": 1.0, "micro": 0.9, "rank": 1,
            "best head": ["L1H2"] * 7 + ["L0H0"] * 2, "its macro": 0.9,
        }
    )  # fmt: skip  # one table
    return Found(
        model="made/up", d_head=16, is_parallel=True, classes=classes, scores=result, interval=interval,
        untrained=list(untrained), matrix=matrix, middle=(0, 1), lead=3.0, middle_lead=0.1, joint=result,
        joint_interval=(0.8, 1.0), inputs=Inputs(inputs, dict.fromkeys(models, (np.ones(8), np.full(8, 0.4)))),
        past=past(),
        split=map_of_head.split_patterns({"L1H2, best successor score": matrix}, classes, (plants, known), seed=0),
        larger=map_of_head.prefer_larger(matrix, classes, (plants, known), seed=0, n_permutations=20),
        across=map_of_head.ask_across(matrix, classes, seed=0, n_deals=20), spectrum=maps.spectrum(matrix, classes),
        conventions=conventions, copier=((2, 3), 0.9), looks=looks(),
    )  # fmt: skip  # as a table: what is made up, by field


@pytest.fixture(scope="module")
def found():
    return made()


@pytest.mark.parametrize(
    "key, changed",
    [
        ("succession", {}),
        ("mixed", {"weights": (1, 4, 0)}),  # it copies more than it counts
        ("mixed", {"weights": (0, 0, 0)}),  # noise: no list is beyond chance
        ("too_small", {"sizes": {"numbers": 4}}),
        ("not_shown", {"interval": (0.15, 0.4)}),
    ],
)
@pytest.mark.slow
def test_every_verdict_is_reached(key, changed):
    verdict = map_of_head.verdict(made(**changed))
    assert verdict.key == key
    assert "<strong>" in verdict._repr_html_() and "**" not in verdict._repr_html_()


@pytest.mark.slow
def test_a_head_without_twins_is_held_against_one_half(found):
    assert replace(found, untrained=[]).is_shown and not replace(found, untrained=[], interval=(0.4, 0.6)).is_shown


def cases(found):
    """What is said of each part, with findings that call for each of its keys."""
    unshown = replace(found, interval=(0.1, 0.4))

    def needed(value):
        return replace(found, inputs=replace(found.inputs, scores=found.inputs.scores.assign(W_E=value)))

    def larger(wins, dependent):
        return replace(
            found,
            larger=replace(
                found.larger,
                wins=wins,
                dependent=dependent,
                null=(0.45, 0.55),
                dependent_null=(0.45, 0.55),
                plants={"greater_than": (0.9, 0.56), "successor": (0.5, 0.5)},
            ),
        )

    high, none = (0.7, 0.6, 0.8), (0.5, 0.45, 0.55)
    shared = replace(found, across=replace(found.across, right=found.across.asked * 0.5))
    equal = found.spectrum._replace(random=np.tile(found.spectrum.first, (10, 1)))
    return [
        ("inputs", "needed", found), ("inputs", "not_needed", needed(0.95)), ("inputs", "no_head", unshown),
        ("past", "head_alone", found), ("past", "past_it", replace(found, past=past(0.95))),
        ("past", "no_head", unshown), ("past", "not_asked", replace(found, past=None)),
        ("lists", "not_shown", found), ("lists", "shared", shared), ("lists", "one_list", made(sizes={"numbers": 12})),
        ("larger", "depends", larger(high, high)), ("larger", "whatever_read", larger(high, none)),
        ("larger", "whatever_read", larger(high, (0.57, 0.55, 0.6))),  # no more than a plant keeps that reads nothing
        ("larger", "not_shown", larger(none, high)), ("larger", "too_few", replace(found, larger=None)),
        ("dimensions", "first", found), ("dimensions", "any", replace(found, spectrum=equal)), ("dimensions", "no_head", unshown),
        ("looks", "ordinals", found), ("looks", "not_measured", replace(found, looks=replace(looks(), preference=None))),
        ("looks", "elsewhere", replace(found, looks=looks(0.5, (0.4, 0.6)))), ("looks", "not_shown", replace(found, looks=looks(1.0, (0.8, 1.2)))),
    ]  # fmt: skip  # as a table


@pytest.mark.slow
def test_every_part_has_a_key_for_every_finding(found):
    for part, key, changed in cases(found):
        said = map_of_head.ABOUT[part](changed)
        assert said.key == key, (part, key, said)
        assert said.sentence.endswith(".") and said.sentence.count(". ") == 0


def all_drawn(found):
    draws = ("draw_patterns", "draw_lists", "draw_everything", "draw_across", "draw_steps", "draw_unique", "draw_larger",
             "draw_spectrum", "draw_definitions", "draw_preference")  # fmt: skip  # their names
    return [
        draw() if name == "draw_patterns" else draw(found)
        for name, draw in ((name, getattr(map_of_head, name)) for name in draws)
    ]


@pytest.mark.slow
def test_drawings_fit_the_page_and_can_be_heard(found):
    figures.use_style()
    all_lists = {task: len(c.words) for task, c in ordinals.CLASSES.items()}
    for drawing in [*all_drawn(found), *all_drawn(made(sizes=all_lists))]:
        panels = drawing.panels if isinstance(drawing.panels, list) else [drawing.panels]
        assert [fault for fig in panels for fault in figures.faults(fig)] == [], drawing.caption
        assert drawing.alt and drawing.caption.endswith(".") and drawing.caption.count(". ") == 0
        plt.close("all")
    for name in ("conventions", "wrap", "inputs", "past", "cosines", "compared"):
        table = getattr(map_of_head, f"draw_{name}")(found)
        assert table.caption.endswith(".") and "<table" in table._repr_html_()


@pytest.mark.parametrize(
    ("own", "another", "said"),
    [(0.9, 0.4, "only near to"), (0.3, 0.1, "nothing like"), (-0.2, -0.29, "nothing like"), (0.6, 0.7, "nothing like")],
)
@pytest.mark.slow
def test_what_mlp0_writes_in_text_is_called_near_only_if_it_is(found, own, another, said):
    """In Gemma 3 the cosine of MLP0(W_E) with what MLP0 writes is -0.20: attention 0 changes all of it."""
    cosines = found.inputs.cosines | {"made/up": (np.full(8, own), np.full(8, another))}
    before = replace(found, is_parallel=False, inputs=replace(found.inputs, cosines=cosines))
    caption = map_of_head.draw_cosines(before).caption
    assert said in caption and f"cosine {own:.3f}" in caption
    assert "in any text" in map_of_head.draw_cosines(replace(before, is_parallel=True)).caption


def test_no_number_of_a_caption_is_minus_nothing(found):
    figures.use_style()
    caption = map_of_head.draw_lists(replace(found, middle_lead=-0.01, lead=-0.04)).caption
    assert "-0.0" not in caption and "lies 0.0 standard" in caption
    plt.close("all")


def test_the_maps_of_short_lists_say_what_each_member_promotes(found):
    shown = map_of_head.draw_maps(found, ["days", "no such list"])
    days, table = found.of("days"), shown.table.frame
    assert table["promoted most"].tolist() == [found.classes["days"].words[k] for k in days.argmax(1)]
    assert (table["leads by"] >= 0).all() and len(shown.still.panels) == 1 and shown.options["list"] == "days"
    assert shown.options["head"] == list(found.best)
    plt.close("all")


def test_what_cannot_be_drawn_is_said():
    found = made(sizes={"numbers": 4})
    bare = replace(found, looks=Looks(np.zeros((0, 0, 0)), (NAN, NAN), None, (NAN, NAN), (NAN, NAN), 0, NAN))
    said = [draw for draw in all_drawn(bare) if isinstance(draw, Markdown)]
    plt.close("all")
    assert len(said) == 5 and found.larger is None
    findings = map_of_head.record(bare)["findings"]
    assert np.isnan(findings["preference"]["value"]) and np.isnan(findings["larger_wins"]["value"])


def test_the_record_has_what_the_drawings_say(found):
    record = map_of_head.record(found)
    findings = record["findings"]
    assert findings["conventions_agree"]["value"] == 7 and findings["conventions_agree"]["n"] == 8
    assert findings["macro"]["value"] == 1 and findings["without_mlp0"]["value"] == 0.3
    assert findings["planted_patterns_right"]["value"] == 2 and findings["classes_with_succession"]["value"] == 3
    assert record["tables"]["verdict"].set_index("question")["key"].to_dict()["map"] == "succession"
    assert record["tables"]["patterns"]["class"].unique().tolist() == list(SIZES)


def test_the_circle_is_closed_by_the_head_that_counts(found):
    wrap = found.wrap.set_index("list")
    assert wrap.loc[["days", "months"], "first"].all() and "numbers" not in wrap.index  # cut off before its last member


# --- the algebra, by another way --------------------------------------------------------------------


def unique_by_regression(m, resolved, which):
    """What the variance explained loses without one pattern: two regressions with a mean for each row and column."""
    n = len(m)
    design = [torch.eye(n).repeat_interleave(n, 0), torch.eye(n).repeat(n, 1)]
    shown = maps.patterns(resolved).flatten(1).T

    def left(columns):
        x = torch.cat([*design, columns], 1).double().numpy()
        y = m.flatten().numpy()
        return float(np.square(y - x @ np.linalg.lstsq(x, y, rcond=None)[0]).sum())

    others = [k for k in range(3) if k != which]
    return (left(shown[:, others]) - left(shown)) / left(shown[:, :0])


def test_unique_shares_are_what_a_regression_loses():
    classes = lists({"months": 12})
    m = mixture(classes, (3, 1, 2))
    unique = maps.components(m, classes["months"])[1]
    assert unique.numpy() == pytest.approx([unique_by_regression(m, classes["months"], k) for k in range(3)])
    # The control: without succession there is no share of it.
    assert maps.components(mixture(classes, (0, 1, 2)), classes["months"])[1][0] < 0.05 * unique[0]


def test_larger_wins_is_what_every_draw_by_hand_gives():
    classes = lists({"numbers": 9})
    m = mixture(classes, (0, 0, 0))
    by_hand = []
    for row in range(9):
        pairs = [(m[row, b] > m[row, a]).item() for a in range(row - 1) for b in range(row + 2, 9)]
        by_hand += [np.mean(pairs)] if pairs else []
    assert maps.larger_wins(m, classes["numbers"]) == pytest.approx(by_hand)
    assert maps.larger_wins(mixture(classes, (0, 0, 9)), classes["numbers"]).tolist() == [1.0] * len(by_hand)


@pytest.mark.slow
def test_the_macro_of_the_matrix_is_the_score_of_the_head():
    planted = plant(Plan("gpt_neox", seed=1), word_tokenizer())
    parts, classes = anatomy.of(planted.module), ordinals.resolve(planted.tokenizer)
    place = planted.place("successor")
    matrix = map_of_head._matrix(parts, classes, place)
    assert maps.macro(matrix, classes) == pytest.approx(float(scores.score_heads(parts, classes).macro[place]))
    spectrum = maps.spectrum(matrix, classes)
    assert spectrum.first[-1] == pytest.approx(maps.macro(matrix, classes)) and spectrum.random[:, 0].max() < 0.3
    assert maps.mean_unique_shares(matrix, classes)[0] > 10 * max(maps.mean_unique_shares(matrix, classes)[1:])


def test_attention_that_is_even_prefers_nothing():
    labels = torch.tensor([False, True, False, True, False, False])
    even = torch.ones(1, 1, 6, 6).tril() / torch.arange(1, 7)[:, None]
    assert attention.preference([(labels, even)]).item() == pytest.approx(1)
    on_ordinals = even * torch.where(labels, 3.0, 1.0)
    assert attention.preference([(labels, on_ordinals)]).item() > 1.2


def test_shuffled_runs_keep_no_pair():
    resolved = lists({"days": 7})["days"]
    for run in attention.runs_of(resolved):
        assert all(b == (a + 1) % 7 for a, b in itertools.pairwise(run))
        for order in attention.shuffles_of(run, resolved, np.random.default_rng(0)):
            assert sorted(order) == sorted(run) and all(b != (a + 1) % 7 for a, b in itertools.pairwise(order))
