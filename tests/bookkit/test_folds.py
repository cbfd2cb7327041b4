"""Folds of a chapter: where they begin and end, what they may hold, and the source that stands under a study's call."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from bookkit.site import folds

ROOT = Path(__file__).parents[2]


def text(source, *tags):
    return {
        "cell_type": "markdown",
        "metadata": {"tags": list(tags)},
        "source": source,
        "id": f"t{abs(hash(source))}"[:12],
    }


def code(source, *tags):
    return {
        "cell_type": "code",
        "metadata": {"tags": list(tags)},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def sources_of(cells):
    return ["".join(cell["source"]).split("\n~~~")[0] for cell in cells]


def test_a_fold_runs_from_its_title_through_the_tagged_cells():
    cells = [
        text("before"),
        text("**What could fool us?**\n\nA lucky guess.", "fold"),
        code("1", "fold"),
        code("MODEL = 1", "injected-parameters"),  # papermill's, wherever the parameters stand
        text("**Another**", "fold"),
        code("2", "fold", "hide-input"),
        text("after"),
    ]
    assert sources_of(folds.marked(cells, "page")) == [
        "before",
        "~~~{fold-start}\nWhat could fool us?",
        "A lucky guess.",
        "1",
        "MODEL = 1",
        "~~~{fold-end}\n",
        "~~~{fold-start}\nAnother",  # its first cell was a title only
        "2",
        "~~~{fold-end}\n",
        "after",
    ]
    assert sources_of(folds.marked(cells[:3], "page"))[-1] == "~~~{fold-end}\n"  # a page may end in a fold
    untouched = [text("**bold** and more", "other"), text("**bold**"), code("1")]
    assert sources_of(folds.marked(untouched, "page")) == sources_of(untouched)


@pytest.mark.parametrize(
    "cells, complaint",
    [
        ([code("x = 1", "fold")], "page: the fold that begins with 'x = 1' needs a title"),
        ([text("**bold** but not alone", "fold")], "needs a title"),
        ([text("**Title**\n\nwords\n\n### Heading", "fold")], "page: a fold holds the heading"),
    ],
)
def test_a_fold_without_a_title_or_with_a_heading_is_refused(cells, complaint):
    with pytest.raises(ValueError, match=complaint):
        folds.marked(cells, "page")


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """A package of studies as small as can be; to import its module is an error."""
    folder = tmp_path / "little" / "studies"
    folder.mkdir(parents=True)
    (tmp_path / "little" / "__init__.py").touch()
    (folder / "__init__.py").write_text(
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Verdict:\n    key: str\n"
    )
    (folder / "heads.py").write_text(
        "raise RuntimeError('imported')\nLIMIT = {}\n\n\ndef measure(model):\n    # why\n    return model\n\n\ndef draw(found):\n    return found\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "little.studies"


@pytest.mark.parametrize(
    "imports, call",
    [
        ("from little.studies import heads", "heads.measure"),
        ("from little.studies import heads as study", "study.measure"),
        ("from little.studies.heads import measure", "measure"),
        ("from little.studies.heads import measure as m", "m"),
    ],
)
def test_the_first_call_of_a_study_is_found_however_it_was_imported(studies, imports, call):
    cells = [
        code(imports),
        text("words"),
        code(f"found = {call}({call}(1))\nprint(len(found))"),
        code(f"{call}(2)"),
        code("%magic"),
    ]
    assert list(folds.calls(cells, package=studies)) == [[], ["little.studies.heads.measure"], [], []]


def test_what_is_no_function_of_a_study_has_no_source(studies):
    cells = [
        code("from little.studies import Verdict, heads\nfrom little import studies\nimport little.studies.heads"),
        code("heads.LIMIT.get(1)\nheads.unknown()\nheads.draw(Verdict('shown'))"),
        code("len([])"),
    ]
    assert list(folds.calls(cells, package=studies)) == [
        [],
        ["little.studies.heads.draw", "little.studies.Verdict"],
        [],
    ]


def test_the_source_is_that_of_the_function_with_its_comments_and_decorators(studies):
    assert folds.source("little.studies.heads.measure")[0] == "def measure(model):\n    # why\n    return model"
    assert folds.source("little.studies.Verdict")[0] == "@dataclass\nclass Verdict:\n    key: str"
    assert folds.source("little.studies.heads.LIMIT") is None
    assert folds.source("little.nothing.measure") is None


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with folds, exercises and a study's call, as Jupyter Book makes it with this extension."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "notebooks").mkdir()
    exercise = "```{exercise-start}\n:label: ex-%s\n```\nHow many?\n```{exercise-end}\n```"
    drawing = {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<figure>A drawing.</figure>"}}
    cells = [
        text("# 4 A question?\n\nSee {ref}`ex-second`."),
        code("from successor_heads.studies import Verdict\n\nVerdict('shown', 'It is.')"),
        text("**What could fool us, at $x$?**\n\nA *lucky* guess.", "fold"),
        {**code("draw()", "fold"), "outputs": [drawing]},
        text(exercise % "first", "fold"),
        text("## The end\n\n" + exercise % "second"),
        code("answer = ..."),
        code("from successor_heads.exercises import ch01\n\nch01.chance().check(answer)"),
    ]
    notebook = {"cells": cells, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    for place, cell in enumerate(cells):
        cell["id"] = f"cell-{place}"
    nbformat.validate(nbformat.from_dict(notebook))
    (folder / "notebooks" / "04-question.ipynb").write_text(json.dumps(notebook))
    (folder / "index.md").write_text("# Book\n\nDo {ref}`ex-first`.\n\n```{toctree}\nnotebooks/04-question\n```\n")
    (folder / "conf.py").write_text(
        "project = 'Book'\nextensions = ['myst_nb', 'sphinx_exercise', 'bookkit.site.extension']\nnb_execution_mode = 'off'\n"
        "myst_enable_extensions = ['dollarmath']\nnumfig = True\n"
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(folder), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return {
        name: BeautifulSoup((folder / "html" / f"{name}.html").read_text(), "html.parser")
        for name in ("index", "notebooks/04-question")
    }


def test_on_the_page_a_fold_holds_prose_code_figure_and_exercise_and_ends_before_the_next_heading(page):
    chapter = page["notebooks/04-question"]
    (fold,) = chapter.select("details.sh-fold")
    assert not fold.has_attr("open") and fold["id"] == "what-could-fool-us-at-x"
    assert fold.summary.get_text().startswith("What could fool us, at") and fold.summary.select(".math")
    assert fold.p.em.text == "lucky" and fold.select(".cell_input") and fold.figure.text == "A drawing."
    assert fold.select("div.exercise") and not fold.select("h2")
    assert [heading.get_text()[:7] for heading in chapter.select("h2")] == ["The end"]
    prose = BeautifulSoup(str(chapter), "html.parser")
    for source in prose.select("details.sh-source"):
        source.extract()  # code may hold what marks bold in prose
    assert "~~~" not in prose.get_text() and "**" not in prose.get_text()


def test_on_the_page_the_source_stands_under_the_call(page):
    source, _ = page["notebooks/04-question"].select("details.sh-source")
    assert source.summary.get_text() == "Source of Verdict"
    assert source.select_one(".highlight").get_text().startswith("@dataclass(frozen=True)\nclass Verdict:")
    assert "Verdict('shown'" in source.find_previous_sibling("div").get_text()


def test_on_the_page_a_check_is_folded_and_its_title_warns_of_the_answer(page):
    _, check = page["notebooks/04-question"].select("details.sh-source")
    assert check.summary.get_text() == "Show the check (contains the answer)" and not check.has_attr("open")
    assert check.select_one(".highlight").get_text().startswith("def chance() -> Exercise:")
    above = check.find_previous_sibling("div").get_text()
    assert "check(answer)" in above and "1 / 6" not in above and "1 / 6" in check.get_text()


def test_exercises_are_numbered_within_their_chapter_and_so_are_references_to_them(page):
    chapter = page["notebooks/04-question"]
    titles = [title.get_text().strip() for title in chapter.select("div.exercise > .admonition-title")]
    assert titles == ["Exercise 4.1", "Exercise 4.2"]
    assert chapter.select_one("a[href='#ex-second']").get_text() == "Exercise 4.2"
    assert page["index"].select_one("a[href$='#ex-first']").get_text() == "Exercise 4.1"
