"""Chapter 5's study: every verdict from made-up findings, drawings without faults, and what is measured on a grown model."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.display import Markdown

from successor_heads import ablation, behaviours, figures, intervals, models, ndif, ordinals, prompts, reported, texts
from successor_heads.behaviours import BEHAVIOURS
from successor_heads.errors import UserError
from successor_heads.studies import natural_text
from successor_heads.studies.natural_text import Example, Found, InText, Jobs, Kinds, NumberedLists, Together

PLACE = (1, 2)
N_CONTEXTS, LENGTH = 12, 41
# Of each behaviour an attended token and the answer.
SEEN = {
    "successorship": (" 7", " 8"),
    "acronym": (" Window", "W"),
    "copying": (" the", " the"),
    "greater-than": (" 7", " 9"),
    "other": (" dog", " barked"),
}


def made_text(*, counts=(60, 24, 12, 12, 120), chance=0.01, name="generated", natural=False, shape=(3, 4)) -> InText:
    """A text with as many winning cases of each behaviour, spread over its contexts by turns."""
    rows = [behaviour for behaviour, n in zip(BEHAVIOURS, counts) for _ in range(n)]
    tokens = [[" word"] * LENGTH for _ in range(N_CONTEXTS)]
    cases = []
    for place, behaviour in enumerate(rows):
        context, prefix = place % N_CONTEXTS, 2 + place // N_CONTEXTS
        read, answer = SEEN[behaviour]
        cases.append(
            {
                "context": context, "prefix": prefix, "answer": answer, "effect": 1.0 + place / 100, "attended": [prefix - 1, 0],
                "weight": [0.8, 0.1], "read": [read, " word"], "paper": behaviour, "strict": behaviour,
            }
        )  # fmt: skip  # one case
    columns = ["context", "prefix", "answer", "effect", "attended", "weight", "read", "paper", "strict"]
    frame = pd.DataFrame(cases, columns=columns).astype({"context": int})
    rng = np.random.default_rng(0)
    labels = rng.integers(len(BEHAVIOURS), size=(N_CONTEXTS, LENGTH - 1))
    ways = [(path, kind) for path in natural_text.PATHS for kind in natural_text.KINDS]
    rises = {way: rng.normal(loc=0.1, size=labels.shape) for way in ways}
    wins = np.full((N_CONTEXTS, *shape), 3)
    wins[:, *PLACE] = np.bincount(frame["context"], minlength=N_CONTEXTS)
    return InText(
        name=name, natural=natural, note="", digest="0123456789", n_documents=9, document=np.arange(N_CONTEXTS) // 2, length=LENGTH,
        tokens=tokens, loss=2.0, wins=wins, cases=frame, labels=labels,
        losses={way: behaviours.loss_shares(rise, labels) for way, rise in rises.items()},
        rises={way: behaviours.by_label(rise, labels) for way, rise in rises.items()},
        shuffled={rules: np.outer(wins[:, *PLACE], np.full(len(BEHAVIOURS), chance)) for rules in behaviours.RULES},
        ordered=pd.DataFrame({"measure": ["effect", "effect minus shuffled"], "won": [9, 7], "of": [80, 80], "low": 0.05, "high": 0.2}),
        kinds=pd.DataFrame({"ablation": ["mean", "zero"], "effect": [0.1, 0.2], "won": [0.1, 0.2], "rank": [1, 2], "same winner": [1, 0.5]}),
        by_head=pd.DataFrame({"L1H1": [1, 2, 3, 4, 5], "L1H2": counts, "L2H0": [0] * 5}, index=list(BEHAVIOURS)).T,
    )  # fmt: skip  # as a table: what is made up, by field


def made(*texts: InText, jobs=("succession", "acronym"), model_right=40, shape=(3, 4)) -> Found:
    """A model whose L1H2 was studied; its effect on the lead is above zero in these jobs."""
    effects = np.linspace(-1, 1, shape[0] * shape[1]).reshape(shape)
    rows = [
        {
            "job": job, "prompts": 48, "right": model_right, "lead": 0.5, "low": 0.2 if job in jobs else -0.2, "high": 0.8, "rank": 1,
            "first": "L1H2", "its lead": 0.5,
        }
        for job in natural_text.JOBS
    ]  # fmt: skip  # one job
    heads = [PLACE, (1, 0), (2, 1)]
    groups = [
        (),
        *((head,) for head in heads),
        *map(tuple, map(sorted, [heads[:2], heads[1:], heads[::2]])),
        tuple(sorted(heads)),
    ]
    wins = np.zeros(shape, dtype=int)
    wins[PLACE], wins[1, 0] = 8, 50
    return Found(
        model="made/up", place=PLACE, why="score", shape=shape, texts=list(texts) or [made_text()],
        example=Example(
            text="generated", behaviour="successorship", ids=[1, 2, 3], answer_id=4, tokens=[" 5", " 6", " 7"], answer=" 8",
            patterns=np.tril(np.ones((shape[1], 3, 3))) / np.arange(1, 4)[:, None], effects=effects,
            raised=[(" 8", 2.0), (" $9", 1.0), ("\n", 0.5)], answer_odds=((0.9, 1), (0.2, 3)),
        ),
        jobs=Jobs(pd.DataFrame(rows), {job: np.tile(effects, (48, 1, 1)) for job in natural_text.JOBS}),
        together=Together(heads, {group: np.full(24, 0.1 + len(group) ** 2) for group in groups}, {1: [0.1, 0.2], 3: [0.3, 0.4]}, {"L1H2": -1.0, "MLP2": -2.0, "L1H0": 0.5, "final norm": 0.25}),
        lists=NumberedLists(128, 100, wins), kinds=Kinds((0.5, 0.1, 0.9), (0.6, 0.2, 0.8), 12, 4),
    )  # fmt: skip  # as a table: what is made up, by field


NOTHING = made_text(counts=(0, 0, 0, 0, 0))
# As of a head of a published model that works by way of later parts: four cases, without a name or all of one kind.
FEW = made_text(counts=(0, 0, 0, 0, 4), name="documentation", natural=True)
ALL_ALIKE = made_text(counts=(0, 0, 3, 0, 0), chance=0.1)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("no_cases", made(NOTHING)),
        ("few_cases", made(FEW)),
        ("few_cases", made(ALL_ALIKE)),
        ("several", made(FEW, made_text())),  # one of the texts is enough
        ("several", made()),
        ("several", made(made_text(counts=(60, 0, 0, 12, 120)))),  # acronyms on prompts made for them alone
        ("counts", made(made_text(counts=(60, 0, 0, 12, 120)), jobs=("succession",))),
        ("counts", made(made_text(counts=(60, 0, 0, 12, 120)), model_right=26)),  # a job that the model does not do
        ("other_work", made(made_text(counts=(0, 24, 0, 0, 120)))),
        ("unnamed", made(made_text(counts=(60, 24, 12, 12, 120), chance=0.9))),
        ("unnamed", made(made_text(counts=(0, 0, 0, 0, 120)), jobs=())),
    ],
)
def test_every_verdict_is_reached(key, found):
    verdict = natural_text.verdict(found)
    assert verdict.key == key
    assert "<strong>" in verdict._repr_html_() and "**" not in verdict._repr_html_() and "nan" not in verdict.sentence


def test_what_people_wrote_counts_beside_what_rules_wrote():
    of_people = made_text(counts=(2, 0, 0, 0, 40), name="documentation", natural=True)
    sentence = natural_text.verdict(made(of_people, made_text())).sentence
    assert "documentation (written by people) 2 of 42 are succession;" in sentence
    assert "60 of 228 are succession (" in sentence


def test_shares_of_cases_and_of_loss_add_up_and_resample_documents():
    of = made_text()
    assert sum(of.cases_of(behaviour).n for behaviour in BEHAVIOURS) == of.won(PLACE).n == len(of.cases) == 228
    for path in natural_text.PATHS:
        assert sum(of.loss_share(behaviour, path).share for behaviour in BEHAVIOURS) == pytest.approx(1)
    # Of one document nothing is known of others: there is nothing to resample.
    one_document = replace(of, document=np.zeros(N_CONTEXTS, dtype=int))
    alone, together = of.loss_share("other"), one_document.loss_share("other")
    assert alone.low < alone.share < alone.high
    assert [together.low, together.share, together.high] == pytest.approx([alone.share] * 3)
    assert of.clear() == list(BEHAVIOURS[:-1]) and made_text(chance=0.99).clear() == []


def test_a_behaviour_is_clear_by_both_sets_of_rules_against_its_own_chance_and_for_all_that_is_asked():
    of = made_text(counts=(0, 0, 38, 0, 100))
    assert of.clear(n_texts=2) == ["copying"]
    generous = replace(of, cases=of.cases.assign(strict="other"))
    assert generous.clear() == [], "what the paper's rules alone name"
    # The share alone is far above the mean chance; in the documents that make it, chance does as much.
    copies = BEHAVIOURS.index("copying")
    as_by_chance = of.shuffled["paper"].copy()
    as_by_chance[:, copies] = np.bincount(of.cases["context"][of.cases["paper"] == "copying"], minlength=N_CONTEXTS)
    assert replace(of, shuffled=dict.fromkeys(of.shuffled, as_by_chance)).clear() == []
    share, low, high = of.surplus("copying", rules="paper")
    assert share == pytest.approx(38 / 138 - 0.01) and low < share < high
    wide = of.surplus("copying", rules="paper", n_asked=8)
    assert wide[1] < low and wide[2] > high


def test_loss_by_lot_is_that_of_labels_shuffled_within_contexts():
    """Against a simulation; where the loss does fall on one behaviour, the share is another."""
    of, rng = made_text(), np.random.default_rng(1)
    rise = np.abs(rng.normal(size=of.labels.shape)) * np.arange(1, 1 + N_CONTEXTS)[:, None]
    rise[of.labels == BEHAVIOURS.index("copying")] *= 5
    of = replace(of, losses={("direct", "mean"): behaviours.loss_shares(rise, of.labels)})
    shuffled = []
    for _ in range(400):
        labels = np.array([rng.permutation(row) for row in of.labels])
        total = behaviours.loss_shares(rise, labels)[1]
        shuffled.append(total.sum(0) / total.sum())
    for behaviour, expected in zip(BEHAVIOURS, np.mean(shuffled, axis=0)):
        assert of.loss_by_lot(behaviour) == pytest.approx(expected, abs=0.01)
    assert of.loss_share("copying").low > of.loss_by_lot("copying") + 0.1
    assert sum(map(of.loss_by_lot, BEHAVIOURS)) == pytest.approx(1)


def test_the_mean_rise_takes_in_where_the_loss_falls():
    of = made_text()
    rise = np.where(of.labels == 0, 0.5, -0.25)
    of = replace(of, rises={("total", "mean"): behaviours.by_label(rise, of.labels)})
    assert of.mean_rise("total")[0] == pytest.approx(rise.mean())
    assert of.mean_rise("total", behaviour="successorship") == pytest.approx((0.5, 0.5, 0.5))
    assert of.mean_rise("total", behaviour="other")[2] < 0


def test_a_case_alone_in_its_context_has_no_chance():
    of = made_text(counts=(0, 0, N_CONTEXTS, 0, 0))
    assert np.isnan(of.surplus("copying", rules="paper")[0]) and of.clear() == []


def drawings(found):
    yield from (
        natural_text.draw_behaviours(found), natural_text.draw_written(found), natural_text.draw_won(found), natural_text.draw_losses(found),
        natural_text.draw_jobs(found), natural_text.draw_together(found), natural_text.draw_by_head(found),
    )  # fmt: skip  # all of them


@pytest.mark.parametrize("shape", [(3, 4), (30, 9)])
@pytest.mark.slow
def test_drawings_fit_the_page_and_can_be_heard(shape):
    figures.use_style()
    of_people = made_text(counts=(2, 0, 0, 0, 40), name="documentation", natural=True, shape=shape)
    for found in (made(made_text(shape=shape), shape=shape), made(of_people, made_text(shape=shape), shape=shape)):
        for drawing in drawings(found):
            panels = drawing.panels if isinstance(drawing.panels, list) else [drawing.panels]
            assert [fault for fig in panels for fault in figures.faults(fig)] == [], drawing.caption
            assert drawing.alt and drawing.caption.endswith(".") and drawing.caption.count(". ") == 0
            assert "nan" not in drawing.caption + drawing.details
        plt.close("all")


def test_tables_have_their_columns_and_what_the_paper_reports_comes_from_its_file():
    of_people = made_text(counts=(2, 0, 0, 0, 40), name="documentation", natural=True)
    found = made(of_people, made_text())
    tables = [
        natural_text.draw_texts(found), natural_text.draw_cases(found), natural_text.draw_paths(found, of_people),
        natural_text.draw_strict(found), natural_text.draw_ordered(found), natural_text.draw_kinds(found),
        natural_text.draw_stored_runs(behaviours.stored_runs()),
        natural_text.draw_stored_paths(behaviours.stored_runs()),
        natural_text.draw_stored_behaviours(behaviours.stored_runs()),
        natural_text.draw_stored_rises(behaviours.stored_runs()),
    ]  # fmt: skip  # all of them
    for table in tables:
        assert "<table" in table._repr_html_() and "nan" not in table._repr_html_(), table.caption
    cases = natural_text.draw_cases(found).frame
    assert cases.loc["acronym", "as reported"] == "23.8%" and cases.loc["copying", "as reported"] == "negligible"
    assert cases.loc["numbered lists won"].tolist() == ["64 of 64", "–", "8 of 64"]
    paths = natural_text.draw_paths(found, of_people).frame
    assert paths.loc["indirect, mean", "successorship"].startswith("6.5 / ") and len(paths) == 6
    assert paths.loc["direct, mean", "copying"].startswith("12 / ")
    assert set(reported.loss_shares("total", "resample")) <= {*BEHAVIOURS} and reported.wild()["head"] == "L12H0"


@pytest.mark.parametrize("few", [FEW, ALL_ALIKE])
def test_of_a_few_winning_cases_nothing_is_said_but_their_number(few):
    """Three cases alike have the share 1 in every resample: that is no finding."""
    found = made(few)
    assert few.clear() == [] and few.cases_of("copying").high - few.cases_of("copying").low > 0.4
    sentence = natural_text.verdict(found).sentence
    assert f"it wins {len(few.cases)}, too few" in sentence and "of 64 numbered lists" in sentence
    assert "the loss on lists that count goes from 0.10 to" in sentence and "%" not in sentence
    assert isinstance(natural_text.draw_behaviours(found), Markdown)
    for table in (natural_text.draw_cases(found), natural_text.draw_strict(found)):
        assert not table.frame[few.name].astype(str).str.contains("%").any() if few.name in table.frame else True
    enough = natural_text.draw_cases(made(made_text())).frame["generated"]
    assert enough.iloc[:5].str.contains("%").all()


def test_a_model_that_gets_no_numbered_list_right_has_no_winner_of_them():
    silent = replace(made(FEW), lists=natural_text.NumberedLists(128, 0, np.zeros((3, 4), dtype=int)))
    assert "the model gets no numbered list right." in natural_text.verdict(silent).sentence
    table = natural_text.draw_cases(silent)
    assert table.frame.loc["numbered lists won"].iloc[-1] == "none right"
    assert (
        table.details.endswith("Here 0 of 128 numbered lists.") and "of 0" not in natural_text.verdict(silent).sentence
    )


def test_work_on_prompts_is_not_said_to_be_in_the_text():
    """Gemma's L12H0 copies in text and wins all numbered lists; acronyms, which its text lacks, were said to be there."""
    copier = made_text(counts=(0, 0, 38, 0, 13), chance=0.1, name="documentation", natural=True)
    found = made(copier, jobs=("succession", "acronym"))
    verdict = natural_text.verdict(found)
    assert verdict.key == "other_work" and "What is clear of chance is copying." in verdict.sentence
    assert "acronym" not in verdict.sentence and "of 64 numbered lists" in verdict.sentence
    assert "the loss on lists that count goes from" in verdict.sentence


def test_a_share_of_none_or_all_has_the_interval_of_so_many_documents():
    of = made_text(counts=(0, 0, 38, 0, 13))
    none, some = of.cases_of("successorship"), of.cases_of("copying")
    n_documents = len(np.unique(of.document[of.cases["context"]]))
    assert (none.share, none.low) == (0, 0) and none.high == pytest.approx(intervals.wilson(0, n_documents)[1])
    assert 0 < some.low < some.share < some.high < 1


def test_a_long_bar_stays_within_its_axes():
    figures.use_style()
    drawing = natural_text.draw_behaviours(made(made_text(counts=(0, 0, 45, 0, 6), chance=0.1)))
    (ax,) = [fig.axes[0] for fig in drawing.panels]
    assert max(bar.get_width() for bar in ax.patches) < ax.get_xlim()[1]
    assert natural_text.draw_behaviours(made()).panels[0].axes[0].get_xlim()[1] == 0.5
    plt.close("all")


def test_two_contexts_give_a_correlation_and_no_interval():
    few = replace(made(), kinds=replace(made().kinds, n_contexts=2))
    assert "is 0.50;" in natural_text.draw_kinds(few).details
    assert "is 0.50 (0.10 to 0.90);" in natural_text.draw_kinds(made()).details


def test_where_no_head_has_a_case_of_succession_none_is_called_first():
    by_head = made_text().by_head.assign(successorship=0)
    none, some = replace(made_text(), by_head=by_head), made_text(name="documentation")
    assert natural_text.draw_by_head(made(none)).caption == "No head that is shown has a winning case of succession."
    caption = natural_text.draw_by_head(made(none, some)).caption
    assert "none in generated" in caption and "in documentation (" in caption
    plt.close("all")


def test_small_shares_keep_a_digit_and_one_text_is_not_shown_twice():
    share = natural_text.Share(4, 2550, 4 / 2550, 0.0004, 0.0031)
    assert natural_text._percent(share) == "0.2% (0.0 to 0.3)"
    assert natural_text._percent(share._replace(share=0.2, low=0.15, high=0.25)) == "20% (15 to 25)"
    assert isinstance(natural_text.draw_paths_of_first(made()), Markdown)
    two = natural_text.draw_paths_of_first(made(made_text(name="documentation"), made_text()))
    assert "in documentation (" in two.caption


@pytest.mark.slow
def test_a_head_that_wins_nowhere_can_be_shown():
    figures.use_style()
    found = made(NOTHING)
    for drawing in drawings(found):
        assert isinstance(drawing, Markdown) or drawing._repr_html_()
    assert "wins no prefix" in natural_text.draw_passages(found).data
    for table in (
        natural_text.draw_cases(found),
        natural_text.draw_strict(found),
        natural_text.draw_paths(found, NOTHING),
    ):
        assert "nan" not in table._repr_html_()
    assert "nan" not in natural_text.verdict(found).sentence
    record = natural_text.record(found)
    assert record["findings"]["generated_won"]["value"] == 0 and record["tables"]["verdict"]["key"].tolist() == [
        "no_cases"
    ]


def test_the_record_has_what_the_tables_say():
    record = natural_text.record(made())
    value = {name: finding["value"] for name, finding in record["findings"].items()}
    assert value["generated_successorship"] == 60 / 228 and value["list_wins"] == 8 / 64
    assert sum(value[f"generated_{name.replace('-', '_')}"] for name in BEHAVIOURS) == pytest.approx(1)
    assert value["loss_without_nothing"] == pytest.approx(0.1) and value["loss_without_the_three"] == pytest.approx(9.1)
    (row,) = record["tables"]["texts"].to_dict("records")
    assert row["cases"]["acronym"][:2] == [24, 228] and sum(row["everywhere"].values()) == N_CONTEXTS * (LENGTH - 1)


def test_some_cases_are_short_and_keep_their_places():
    kept = natural_text.some_cases([made_text()], each=3)
    assert len(kept["cases"]) == 15 and [text["name"] for text in kept["read"]] == ["generated"]
    for case in kept["cases"]:
        context = kept["read"][case["text"]]["contexts"][case["context"]]
        assert case["prefix"] + 2 == len(context) and max(case["attended"]) <= case["prefix"] <= case["at"][1]


def test_stored_runs_stand_beside_what_the_paper_reports():
    runs = behaviours.stored_runs()
    shown = natural_text.draw_stored_runs(runs)
    assert shown.frame.iloc[0].tolist() == ["43.4%", "negligible", "38", "12"] and len(shown.frame) == 1 + 2 * len(runs)
    for run in runs:
        for text in run["texts"]:
            name = f"{run['model']} {run['head']}, {text['name']}"
            n, of, *_ = text["cases"]["copying"]
            assert shown.frame.loc[name, "copying; shuffled"].startswith(f"{n:,} of {of:,}")
            counts, copies = (
                shown.caption.removesuffix(".").removeprefix("Clear of chance by both sets of rules: ").split("; ")
            )
            clear = text["clear"]
            assert (name in counts) == ("successorship" in clear) and (name in copies) == ("copying" in clear)
            assert f"{text['contexts']} contexts of {text['length']} tokens" in shown.details
    every = natural_text.draw_stored_behaviours(runs).frame
    assert every.iloc[0].tolist() == ["43.4%", "23.8%", "negligible", "18.9%"] and len(every) == 1 + 2 * len(runs)
    rises = natural_text.draw_stored_rises(runs).frame
    assert len(rises) == 2 * len(runs) and list(rises) == list(natural_text.PATHS)
    paths = natural_text.draw_stored_paths(runs).frame
    assert len(paths) == 6 * (1 + len(runs)) and paths.loc["indirect, mean: as reported", "successorship"] == "6.5"
    (run,) = (run for run in runs if run["model"] == "published/gemma3-270m")
    _, _, share, low, high = run["texts"][0]["losses"]["total, mean"]["copying"]
    expected = f"{100 * share:.0f} ({100 * low:.0f} to {100 * high:.0f})"
    assert paths.loc["total, mean: published/gemma3-270m", "copying"].startswith(expected)
    (own,) = (run for run in runs if run["model"] == "grown/pythia")
    by_lot = own["texts"][0]["by_lot"]["total, mean"]["copying"]
    assert paths.loc["total, mean: grown/pythia", "copying"].endswith(f"; {100 * by_lot:.2g}")


def test_the_cases_that_surprised_are_what_is_said_of_them():
    """What is said of a case in words holds of the record."""
    runs = {run["model"]: run for run in behaviours.stored_runs()}
    (letter, case), (width, paired), (number, raising) = (
        natural_text.stored_case(runs[name], answer) for name, answer, _ in natural_text.SURPRISES
    )
    looked = letter[case["attended"][0]]
    assert (looked, letter[-1], case["paper"], case["strict"]) == ("j", "k", "other", "other")
    assert all(rule([looked.upper()], letter[-1].upper()) == "successorship" for rule in behaviours.RULES.values())
    assert width[paired["attended"][0]].strip() == "width" and paired["paper"] == paired["strict"] == "other"
    for it in (case, paired):  # the answer is lost with the head, and what it raises most is none
        (before, rank), (after, _) = it["odds"]
        assert rank == 1 and after < 0.05 * before and not {"k", "height"} & {token.strip() for token in it["raised"]}
    assert number[raising["attended"][0]] == raising["raised"][0] == "3" and raising["raised"][1] == "4"
    assert sum(token in raising["raised"] for token in ("\u06f3", "\uff13")) == 2, (
        "a three in Persian and in full width"
    )
    passages = natural_text.draw_surprises(behaviours.stored_runs())
    assert len(passages.rows) == 3 and all(
        answer == tokens[-1] for (*_, answer), tokens in zip(passages.rows, (letter, width, number))
    )
    assert "3 of the 71 stored" in passages.caption
    # And the main line: what is clear of chance in documentation, each by both sets of rules.
    clear = {name: run["texts"][0]["clear"] for name, run in runs.items()}
    assert (clear["published/smollm2"], clear["published/gemma3-270m"]) == (["successorship"], ["copying"])


@pytest.fixture(scope="module")
def pythia():
    model = models.load("grown/pythia")
    return model, ndif.anatomy_of(model), ordinals.resolve(model.tokenizer)


@pytest.mark.slow
def test_the_head_is_chosen_by_score_or_by_lists(pythia):
    model, parts, classes = pythia
    assert natural_text.choose_head(model, parts, classes, seed=0) == ((1, 0), "score")
    assert natural_text.choose_head(model, parts, classes, seed=0, asked_for=[2, 3]) == ((2, 3), "asked for")
    twin = models.untrained_twin(model, seed=9)
    place, why = natural_text.choose_head(twin, ndif.anatomy_of(twin), classes, seed=0)
    assert why == "lists" and len(place) == 2


@pytest.mark.slow
def test_what_is_measured_on_the_default_model_agrees_with_itself(pythia):
    model, parts, classes = pythia
    place = (1, 0)
    readings = [behaviours.read(model, texts.read("generated"), n=3, length=96, seed=0)]
    found = natural_text.measure(model, parts, classes, readings, place, why="score", name="grown/pythia", seed=0)
    (of,) = found.texts
    assert of.won(place).n == len(of.cases) and of.wins.sum() <= of.n_prefixes == 3 * 95
    assert of.by_head.loc["L1H0"].sum() == len(of.cases)
    assert of.kinds.set_index("ablation").loc["mean", "same winner"] == 1
    # The close reading against the batched effects: what the head raises by how much, for the answer.
    case = found.example
    stream, removed = natural_text.head_share(model, parts, case.ids, place, mean=readings[0].reference.mean)
    answer = torch.tensor([case.answer_id])
    fall = float(parts.logits(stream, answer) - parts.logits(stream - removed, answer))
    assert fall == pytest.approx(float(case.effects[place]), abs=1e-4)
    wrong, _ = natural_text.head_share(model, parts, case.ids[:-1], place, mean=readings[0].reference.mean)
    assert (wrong - stream).abs().max() > 1e-2
    word, value = case.raised[0]
    assert value >= fall - 1e-4 and (
        model.tokenizer.decode(case.answer_id) != word or value == pytest.approx(fall, abs=1e-4)
    )
    logits = prompts.next_token_logits(model, [case.ids])[0]
    assert case.answer_odds[0][0] == pytest.approx(logits.softmax(-1)[case.answer_id].item(), abs=1e-5)
    assert case.answer_odds[1][0] < case.answer_odds[0][0]
    # What is stored of a case is what the close reading finds.
    some = natural_text.some_cases([of])["cases"]
    natural_text.look_closely(model, parts, some, readings[0], place)
    for row in some:
        context, prefix = row["at"]
        assert readings[0].effects.mean[context, prefix][place].item() == pytest.approx(row["effect"], abs=1e-3)
    (same,) = (row for row in some if readings[0].contexts[row["at"][0], : row["at"][1] + 1].tolist() == case.ids)
    assert same["raised"] == [token for token, _ in case.raised[:5]]
    assert same["odds"][0][0] == pytest.approx(case.answer_odds[0][0], rel=0.01)
    # Three heads: chosen on the other half, and each loss is that of a run without them.
    asked = natural_text.prompts_of("succession", model.tokenizer, classes, seed=0)[1::2]
    ids, answers = [row[0] for row in asked], torch.tensor([row[1] for row in asked])
    pair = tuple(sorted(found.together.heads[:2]))
    logits = ablation.logits_without(model, ids, pair, mean=readings[0].reference.mean)
    expected = torch.nn.functional.cross_entropy(logits, answers).item()
    assert found.together.without(*pair)[0] == pytest.approx(expected, abs=1e-5)
    assert (
        place in found.together.heads and found.together.without()[0] < found.together.without(*found.together.heads)[0]
    )
    # On numbered lists that we made the model is right, and every one has at most one winner.
    assert found.lists.right > 64 and found.lists.wins.sum() <= found.lists.asked == 64
    with pytest.raises(UserError, match="There is no head L9H0"):
        natural_text.measure(model, parts, classes, readings, (9, 0), why="score", name="x", seed=0)


def test_prompts_end_right_before_their_answer_and_have_a_rival(pythia):
    model, _, classes = pythia
    for job in natural_text.JOBS:
        rows = natural_text.prompts_of(job, model.tokenizer, classes, seed=0, n=8)
        assert len(rows) == 8
        for ids, answer, rival in rows:
            assert answer != rival
            text = model.tokenizer.decode(ids)
            if job == "acronym":
                assert model.tokenizer.decode(answer) in "".join(word[0] for word in text.split("(")[0].split()[1:])
                assert model.tokenizer.decode(rival) not in "".join(word[0] for word in text.split("(")[0].split()[1:])
            if job == "copying":
                assert (
                    model.tokenizer.decode(answer).strip() in text and model.tokenizer.decode(rival).strip() not in text
                )
    assert natural_text.prompts_of("succession", model.tokenizer, {}, seed=0) == []
    text, start = natural_text.numbered_list(np.random.default_rng(0))
    lines = text.splitlines()
    assert text[start:].startswith(lines[3]) and int(lines[3].split(".")[0].split(")")[0]) == int(lines[0][0]) + 3 <= 9
