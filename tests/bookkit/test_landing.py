"""What the first page quotes of published models, and the figure that it takes from a chapter."""

import nbformat
import pytest
from bs4 import BeautifulSoup

from bookkit.site import assemble, landing, quizzes
from successor_heads.exercises import quiz
from successor_heads.studies import models_of_today

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


def test_the_figures_of_published_models_can_be_quoted_and_a_hyphen_is_an_underscore():
    record = {"chapter": "06-growing", "model": "grown/pythia", "findings": {"a_no-b": {"value": 0.5, "low": None, "high": None, "n": None}}}  # fmt: skip
    quoted = assemble.findings([record])
    assert set(landing.PUBLISHED) < set(quoted)
    assert quoted["growing"]["a_no_b"]["value"] == "0.50" and quoted["smollm2"]["right"]["count"].isdigit()


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
