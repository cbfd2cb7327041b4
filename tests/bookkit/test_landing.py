"""What the first page quotes of published models, and the figure that it takes from a chapter."""

import re
from dataclasses import replace
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from bookkit.site import assemble, landing, quizzes
from successor_heads import reported
from successor_heads.exercises import quiz
from successor_heads.growing import observe
from successor_heads.studies import find_heads, growing, models_of_today

LIVE = '<div class="sh-live" data-live="reading"><figure><svg></svg></figure><details class="sh-details"><table></table></details></div>'


def notebook(*outputs):
    cells = [
        nbformat.v4.new_code_cell("draw()", outputs=[nbformat.v4.new_output("execute_result", {"text/html": text})])
        for text in outputs
    ]
    cells.insert(0, nbformat.v4.new_markdown_cell("# 2 Why?"))
    return nbformat.v4.new_notebook(cells=cells, metadata={"successor_heads": {"chapter": "02-why"}})


@pytest.mark.parametrize("model", landing.PUBLISHED.values())
def test_figures_of_published_models_are_those_of_chapter_8(model):
    found = models_of_today.stored(model)
    quoted = landing.of_published(found)
    # The chapter counts the lists of the classes that pass its gate, and names the head that matters most.
    kept = [row for row in found.gate.to_dict("records") if row["kept"]]
    assert quoted["right"]["value"] == sum(row["confirmation"] for row in kept)
    assert quoted["right"]["n"] == sum(row["n_confirmation"] for row in kept) == found.n_lists[1]
    assert quoted["lead_lost"]["value"] == found.part(found.top)["total"]
    others = [row for row in found.parts.to_dict("records") if row["head"] >= 0 and row["part"] != found.top]
    most = max(others, key=lambda row: row["ranked_by"])
    assert quoted["lead_lost_next"]["value"] == most["total"] < quoted["lead_lost"]["value"]
    assert quoted["canonical"]["value"] < quoted["canonical_null"]["value"]


def asked(*verdicts, digits="otherwise"):
    """What chapter 6 would find if its announced questions came to these verdicts."""
    questions = [(part, by) for part in growing.PART_NAMES for by in growing.MEASURES]
    rows = [
        {"arm": arm, "part": part, "by": by, "held": 0.01, "held_low": 0.0, "held_high": 0.03, "seen": 0.95, "seen_low": 0.91, "seen_high": 1.0, "verdict": verdict}
        for (part, by), verdict in zip(questions, verdicts)
        for arm in ("parts", "parts-long")
    ]  # fmt: skip  # a row a line
    outcome = growing.Outcome("3 digits as positive control", "", "", 5, digits, "")
    return replace(growing.measure({}), generalisation=pd.DataFrame(rows), outcomes=[outcome])


@pytest.mark.parametrize(
    ("verdicts", "settled", "said"),
    [
        ((), "is not settled yet", "Not run yet."),
        (("waiting",) * 8, "is not settled yet", "Not settled are 8: seeds awaited in 8."),
        (("not_learned", "table", "open"), "settled in 1 of 3 comparisons of an announced experiment: table.", "Settled as table, with the share that is right: numbers 130 to 149 in lists **0.01** (0.00 to 0.03). Not settled are 2: neighbours not shown to be learned in 1 and open in 1."),
        (("table", "rule"), "settled in 2 of 2 comparisons of an announced experiment: table and rule.", "Settled as rule, with the share that is right: numbers 130 to 149 in lists"),
    ],
)  # fmt: skip  # a case a line
def test_whether_it_is_a_rule_or_a_table_is_said_of_what_is_settled_alone(verdicts, settled, said):
    found = asked(*verdicts)
    assert settled in landing.settled(found) and said in landing.rule_or_table(found)[0]


def test_a_row_that_is_not_settled_lends_no_number_to_the_first_page():
    """The head's own row of the numbers once stood there as a finding, while its rule called the neighbours not learned."""
    said, control = landing.rule_or_table(asked("not_learned", "waiting"))
    assert "0.01" not in said + control and "0.95" not in said + control
    assert control == "a token for each digit was expected to bring out a rule; it did not."
    assert landing.rule_or_table(asked("table", digits="not_run"))[1].endswith("that is not settled.")
    assert "in order 0.95 (0.91 to 1.00) are right;" in landing.rule_or_table(asked("table"))[1]


@pytest.mark.slow
def test_the_first_page_says_of_the_stored_runs_what_chapter_6_says():
    found = growing.measure(observe.stored(observe.ANNOUNCED_RUNS))
    rows = found.generalisation[found.generalisation["arm"] == "parts"]
    n = rows["verdict"].isin(growing.SETTLED).sum()
    # The control that came out stands beside the one that did not.
    assert growing.control_sentence(found).strip() in growing.verdict(found).sentence
    assert landing.rule_or_table(found)[1].endswith(growing.control_sentence(found).strip())
    assert f"settled in {n} of {len(rows)} " in landing.settled(found) if n else "not settled" in landing.settled(found)


def test_every_verdict_of_chapter_1_has_its_sentence():
    keys = [word for word in find_heads.verdict.__doc__.split('"') if word in landing.OF_THE_HEAD]
    assert len(keys) == len(landing.OF_THE_HEAD)
    record = {"chapter": "01-find-heads", "model": "org/one", "tables": {"verdict": [{"key": "alone"}]}}
    assert "`org/one`" in landing.of_the_head(record) and landing.of_the_head(record | {"tables": {}}) == ""


def test_published_models_are_said_to_have_a_head_where_one_is_better_than_luck():
    smollm2, gemma = (models_of_today.stored(model) for model in landing.PUBLISHED.values())
    said = landing.by_chapter_1([smollm2, gemma])
    assert "a head is better than luck in none of them, and by the rules of chapter 8" in said
    assert said.endswith("one head of Gemma 3 is a successor head."), "as the verdict of chapter 8 has it"
    lucky = replace(gemma, depth=replace(gemma.depth, canonical=("L1H1", 0.9)))
    assert "a head is better than luck in Gemma 3, and" in landing.by_chapter_1([smollm2, lucky])
    assert landing.by_chapter_1([smollm2]).endswith("a head is better than luck in none of them.")
    silent = [replace(each, gate=each.gate.assign(kept=False)) for each in (smollm2, gemma)]
    assert "do not count" in landing.by_chapter_1(silent)
    # What chapter 8 says in its first lines, and the page of results by the paper's line.
    assert all(each.depth.paper[1] < reported.cutoff() for each in (smollm2, gemma))


@pytest.mark.slow
def test_the_figures_of_published_models_can_be_quoted_and_a_hyphen_is_an_underscore():
    record = {"chapter": "06-growing", "model": "grown/pythia", "findings": {"a_no-b": {"value": 0.5, "low": None, "high": None, "n": None}}}  # fmt: skip
    quoted = assemble.findings([record])
    assert set(landing.PUBLISHED) < set(quoted)
    assert quoted["growing"]["a_no_b"]["value"] == "0.50" and quoted["smollm2"]["right"]["count"].isdigit()
    assert (
        quoted["landing"]["published_how"].count("SmolLM2") == quoted["landing"]["published_how"].count("Gemma 3") == 1
    )
    assert quoted["landing"]["tens_are"].partition(",")[0] in ("Announced", "Exploratory")


@pytest.mark.slow
def test_all_that_the_first_page_quotes_of_the_runs_is_there():
    page = (Path(__file__).parents[2] / "book/index.md").read_text(encoding="utf8")
    quoted = set(re.findall(r"\{\{ landing\.(\w+) \}\}", page))
    assert quoted == set(landing.sentences([]))


def test_the_first_living_figure_goes_to_the_first_page_without_its_table(tmp_path):
    (tmp_path / "book").mkdir()
    landing.write_explorer(tmp_path, notebook("<p>1</p>", LIVE, LIVE.replace("reading", "map")))
    page = BeautifulSoup((tmp_path / landing.EXPLORER).read_text(), "html.parser")
    assert page.select_one(".sh-live")["data-live"] == "reading" and page.select("svg") and not page.select("table")
    landing.write_explorer(tmp_path, notebook("<p>1</p>"))
    assert (tmp_path / landing.EXPLORER).read_text() == ""


def test_the_page_of_quizzes_has_each_question_with_its_answers_folded(tmp_path):
    page = tmp_path / quizzes.PAGE
    quizzes.write(tmp_path, [notebook()])  # no such page
    assert not page.exists()
    page.parent.mkdir(parents=True)
    page.write_text("# A quiz\n\n{{ quiz }}\n")
    quizzes.write(tmp_path, [notebook()])
    text = page.read_text()
    assert text.startswith("# A quiz\n\n## 2 Why?\n\n**Question 2.1.** ") and "{{" not in text
    for question in quiz.of_chapter(2):
        shown, _, answer = text.partition(question.as_markdown())[2].partition(
            ":::{admonition} Answer\n:class: dropdown\n"
        )
        assert not shown.strip()
        lines = answer.partition("\n:::")[0].splitlines()
        right = [line for line in lines if "**Right.**" in line]
        assert len(lines) == 4 and right == [f"- **{question.right}** **Right.** {question.because[question.right]}"]
