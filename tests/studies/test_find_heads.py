"""Chapter 1's study: every verdict from made-up findings, drawings without faults, and what is measured on a grown model."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from successor_heads import ablation, anatomy, figures, models, ndif, ordinals, ov_circuit, prompts, reported
from successor_heads.scores import HeadScores, PaperScores
from successor_heads.studies import find_heads
from successor_heads.studies.find_heads import Ablated, Controls, Found

SIZES = {"numbers": 40, "days": 7}


def made(*, right=(35, 7), shape=(3, 4), together=(45, 40, 10, 5, 5, 5), others=0.95, without=40) -> Found:
    """A model whose best head, L1H2, names this many successors of 40 numbers and of 7 days; all other heads name none."""
    n_layers, n_heads = shape
    predicted, target = {}, {}
    for (task, n), hits in zip(SIZES.items(), right):
        target[task] = torch.arange(n)
        predicted[task] = torch.full((n_layers, n_heads, n), -1)
        predicted[task][1, 2, :hits] = torch.arange(hits)
    scores = HeadScores(predicted, target)
    n = sum(SIZES.values())
    rows = np.zeros((len(together), n), dtype=bool)
    for row, count in zip(rows, together):
        row[:count] = True
    classes = {
        task: ordinals.ResolvedClass(
            task, tuple(map(str, range(size + 1))), *[torch.arange(size + 1)] * 2, torch.arange(size), torch.arange(size) + 1, (), " "
        )
        for task, size in SIZES.items()
    }  # fmt: skip  # one class a line
    fall = np.linspace(-1, 1, n_layers * n_heads).reshape(shape)
    return Found(
        model="made/up", revision=None, family="gpt_neox", n_parameters=5_000_000, d_model=64, classes=classes,
        scores=scores, interval=(max(0.0, float(scores.macro.max()) - 0.05), float(scores.macro.max())),
        paper=PaperScores(scores.macro, n, scores.by_task),
        controls=Controls([np.full(shape, 0.1)], np.full(shape, 0.2), np.linspace(0.05, 0.15, 100)),
        ablated=Ablated(
            task=[task for task, size in SIZES.items() for _ in range(size)], intact=rows[0], without=np.arange(n) < without,
            chance=0.05, fall=fall, together=rows, groups=[[(1, 2), (1, 0), (2, 0)]] * 2,
            others=np.full((len(together), 20), others), attention=np.full(shape, 0.3),
        ),
    )  # fmt: skip  # as a table: what is made up, by field


@pytest.mark.parametrize(
    "key, changed",
    [
        ("not_shown", {"right": (4, 1), "together": (45,) * 6}),
        ("not_shown", {"right": (4, 1), "together": (3, 1, 1, 1, 1, 1)}),  # it guesses: nothing to take away
        ("another_way", {"right": (4, 1)}),
        ("alone", {"without": 20}),
        ("shared", {}),
        ("unused", {"together": (45,) * 6}),
        ("unused", {"others": 0.1}),  # any two heads would do
    ],
)
def test_every_verdict_is_reached(key, changed):
    verdict = find_heads.verdict(made(**changed))
    assert verdict.key == key
    assert "<strong>" in verdict._repr_html_() and "**" not in verdict._repr_html_()


def test_a_model_that_only_guesses_is_not_said_to_count_all_the_same():
    guesses = find_heads.verdict(made(right=(4, 1), together=(3, 1, 1, 1, 1, 1))).sentence
    counts = find_heads.verdict(made(right=(4, 1), together=(45,) * 6)).sentence
    assert "Yet the model answers 45 of 47 lists" in counts
    assert "Yet" not in guesses and "No wonder: the model answers 3 of 47 lists, a guess would 2." in guesses


def test_an_interval_that_touches_a_control_shows_nothing():
    found = made()
    for controls in (
        replace(found.controls, untrained=[np.full((3, 4), 0.99)]),
        replace(found.controls, shuffled_best=np.full(9, 0.99)),
    ):
        assert not replace(found, controls=controls).is_shown
    without_twins = replace(found.controls, untrained=[])
    assert find_heads.verdict(replace(found, controls=without_twins)).key == "shared"


@pytest.mark.parametrize("shape", [(3, 4), (30, 9)])
@pytest.mark.slow
def test_drawings_fit_the_page_and_can_be_heard(shape):
    figures.use_style()
    found = made(shape=shape)
    drawings = [
        draw(found)
        for draw in (find_heads.draw_map, find_heads.draw_by_list, find_heads.draw_falls, find_heads.draw_without,
                     find_heads.draw_together, find_heads.draw_paper)
    ]  # fmt: skip  # all that take nothing else
    drawings += [find_heads.draw_controls(found, seed=0), find_heads.draw_path()]
    for drawing in drawings:
        panels = drawing.panels if isinstance(drawing.panels, list) else [drawing.panels]
        assert [fault for fig in panels for fault in figures.faults(fig)] == [], drawing.caption
        assert drawing.alt and drawing.caption.endswith(".") and drawing.caption.count(". ") == 0
    plt.close("all")


@pytest.mark.parametrize(
    ("right", "said"), [((40, 4), "misses none in 1 of 2"), ((4, 1), "is right throughout in no list, is best on")]
)
def test_a_head_that_names_no_list_in_full_is_not_said_to_miss_none(right, said):
    figures.use_style()
    caption = find_heads.draw_by_list(made(right=right)).caption
    assert said in caption and "none in 0 of" not in caption
    plt.close("all")


def test_lists_that_stood_in_the_training_text_are_counted_where_it_is_known():
    model = models.load("grown/pythia")
    classes = ordinals.resolve(model.tokenizer)
    asked = sum(len(prompts.counting_lists(each)[0]) for each in classes.values())
    assert find_heads.lists_seen("grown/pythia", classes) == asked > 100
    assert find_heads.lists_seen("published/smollm2", classes) is None
    assert "45 stand word for word in its training text" in find_heads.verdict(replace(made(), seen=45)).sentence
    assert "training text" not in find_heads.verdict(made()).sentence


def circuit(**changed) -> find_heads.Circuit:
    """A circuit of three heads over a list of numbers."""
    tokens, heads = [" 7", ",", " 8", ",", " 9", ","], [(1, 0), (1, 2), (2, 3)]
    made_up = dict(tokens=tokens, last=4, answer="10", lead=9.0, heads=dict(zip(heads, (1.5, -0.4, 1.0))),
                   attention=dict.fromkeys(heads, 0.95), mlps=6.0, mlps_without=0.5)  # fmt: skip  # as a table
    return find_heads.Circuit(**(made_up | changed))


def test_the_circuit_is_drawn_from_its_shares():
    figures.use_style()
    drawing = find_heads.draw_circuit(circuit())
    assert figures.faults(drawing.panels) == []
    assert (
        "“10” leads by 9.0 logits: three heads add 2.1" in drawing.caption
        and "with these heads ablated the MLPs add 0.5" in drawing.caption
    )
    assert "biases) adds +0.9." in drawing.details and "95% to 95%" in drawing.details
    assert "L1H2 -0.4" in drawing.alt
    long = circuit(
        tokens=[" September", ",", " November", ","],
        last=2,
        answer="December",
        heads={(12, 11): 3.0},
        attention={(12, 11): 0.2},
    )
    assert figures.faults(find_heads.draw_circuit(long).panels) == []
    assert "not drawn" in find_heads.draw_circuit(None).data
    plt.close("all")


@pytest.mark.slow
def test_the_circuit_of_the_default_model_adds_up_and_needs_its_heads():
    model = models.load("grown/pythia")
    parts, classes = anatomy.of(model), ordinals.resolve(model.tokenizer)
    found = replace(
        made(), classes=classes, ablated=find_heads.ablate(model, parts, classes, (1, 0), seed=0, n_groups=2)
    )
    traced = find_heads.trace_circuit(model, parts, found)
    resolved = classes["day_prefixes"]
    logits = prompts.next_token_logits(model, ["".join(traced.tokens)])[0, resolved.token_ids]
    right = resolved.words.index(traced.answer)
    assert logits.argmax() == right
    others = torch.cat([logits[:right], logits[right + 1 :]])
    assert traced.lead == pytest.approx(float(logits[right] - others.mean()), abs=1e-3)
    assert traced.tokens[traced.last].strip() == resolved.words[right - 1]
    assert traced.mlps_without < traced.mlps - 1, "what the MLPs add depends on these heads"


def test_a_reading_holds_what_the_head_writes():
    figures.use_style()
    model = models.load("grown/pythia")
    parts, classes = anatomy.of(model), ordinals.resolve(model.tokenizer)
    found = replace(made(), classes=classes)
    shown = find_heads.draw_reading(found, parts, "days", "Wednesday")
    expected = ov_circuit.head_matrix(parts, classes["days"].token_ids, layer=1, head=2)[2]
    assert shown.table.frame["L1H2"].tolist() == pytest.approx(expected.tolist())
    assert shown.options["head"] == [1, 2] and len(shown.still.panels) == len(shown.table.frame.columns) == 2
    assert f"promotes “{classes['days'].words[int(expected.argmax())]}” most" in shown.still.caption
    assert [fault for fig in shown.still.panels for fault in figures.faults(fig)] == []
    plt.close("all")


def test_the_record_has_what_the_drawings_say():
    found = made()
    record = find_heads.record(found)
    findings = record["findings"]
    assert findings["right_ablated"]["value"] == 40 / 47 and findings["right_without_three"]["value"] == 5 / 47
    assert findings["best_micro"]["value"] == 42 / 47 and findings["best_macro"]["value"] == pytest.approx(
        (35 / 40 + 1) / 2
    )
    assert record["tables"]["verdict"]["key"].tolist() == ["shared"]
    assert record["tables"]["by_class"]["class"].tolist() == list(SIZES), (
        "tasks by their names, as other pages read them"
    )


def test_heads_chosen_on_one_half_are_judged_on_the_other():
    """Head 0 matters on even places, head 1 on odd ones: each half chooses its own."""
    fall = {"days": np.zeros((1, 2, 6)), "months": np.zeros((1, 2, 5))}
    for start, values in ((0, fall["days"]), (6, fall["months"])):
        for place in range(values.shape[-1]):
            values[0, (start + place) % 2, place] = 1.0
    halves = np.arange(11) % 2
    assert find_heads._order(fall, [], halves == 0)[0] == (0, 0)
    assert find_heads._order(fall, [], halves == 1)[0] == (0, 1)


@pytest.mark.slow
def test_what_is_measured_on_the_default_model_agrees_with_single_ablations():
    model = models.load("grown/pythia")
    parts, classes = ndif.anatomy_of(model), ordinals.resolve(model.tokenizer)
    best, few = (1, 0), {task: classes[task] for task in ("days", "number_words")}
    ablated = find_heads.ablate(model, parts, few, best, seed=0, n_groups=2)
    assert (ablated.together[0] == ablated.intact).all() and len(ablated.intact) == 7 + 17
    for group in ablated.groups:  # both halves begin with the same head, so one head together is that head alone
        assert group[0] == best
    assert (ablated.together[1] == ablated.without).all()
    # Against a run of all words at once, with the whole vocabulary and the three heads held by another function.
    every = [text for task in few for text in prompts.counting_lists(classes[task])[0]]
    mean = prompts.mean_head_outputs(model, every)
    right = []
    for task in few:
        lists, answers = prompts.counting_lists(classes[task])
        half = np.arange(len(right), len(right) + len(lists)) % 2
        for text, answer, which in zip(lists, answers, half):
            group = ablated.groups[1 - which][:3]
            logits = ablation.logits_without(model, [text], group, mean=mean)[0, classes[task].token_ids]
            right.append(int(classes[task].token_ids[logits.argmax()]) == int(answer))
    assert (ablated.together[3] == np.array(right)).all()
    assert ablated.others[3].mean() > ablated.together[3].mean()


def test_reported_figures_come_from_the_data_file():
    table = reported.best_scores()
    assert len(table) == 32 and ((table["score"] * 258).round(0) - table["score"] * 258).abs().median() < 0.02
    assert table["score"].lt(reported.cutoff()).sum() == 14 and reported.by_task("llama-2-7b")["number_words"] == 0
