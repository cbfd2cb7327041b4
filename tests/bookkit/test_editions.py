"""The student's and the teacher's edition: what they hold, and that each check knows right from wrong."""

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from bookkit import numbering, places
from bookkit.editions import editions
from wrong_answers import OUT_OF_REACH, WRONG

ROOT = Path(__file__).parents[2]

CHAPTERS = places.chapters(ROOT)
NUMBERS = numbering.of_book(ROOT)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Both editions of every chapter, as for a published book: {(edition, chapter): notebook}."""
    folder = tmp_path_factory.mktemp("editions")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        paths = editions.write(
            folder, url="https://github.com/someone/book", branch="main", site="https://someone.github.io/book/"
        )
    return {(path.parent.name, path.stem): nbformat.read(path, as_version=4) for path in paths}


@pytest.fixture(scope="module")
def works():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return editions.references()


# A check that stands in the notebook, or one of `successor_heads.exercises`.
CHECK = re.compile(r"\.check\(\s*answer\b")


def checks_of(notebook):
    """The place of every check, by its exercise's label."""
    found, label = {}, None
    for place, cell in enumerate(notebook.cells):
        exercise = editions.EXERCISE.search(cell.source)
        label = exercise.group(1) if exercise else label
        if cell.cell_type == "code" and CHECK.search(cell.source):
            found[label] = place
    return found


def test_every_chapter_has_both_editions(written):
    assert set(written) == {(name, chapter) for name in editions.NAMES for chapter in CHAPTERS}
    for notebook in written.values():
        nbformat.validate(notebook)
        assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_student_gets_stubs_and_the_teacher_solutions(written, chapter):
    source = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
    student, instructor = written["student", chapter], written["instructor", chapter]
    solved = editions.solutions(source)
    stubs = [cell for cell in student.cells if cell.source == editions.UNANSWERED]
    assert len(stubs) == len(solved) == len(checks_of(source)) >= 4
    text = "\n".join(cell.source for cell in student.cells)
    taught = [cell.source for cell in instructor.cells if cell.cell_type == "code"]
    assert editions.UNANSWERED not in taught
    for code, said in solved.values():
        assert code not in text and (not said or said not in text)
        assert code in taught
    for notebook in (student, instructor):
        assert sum(bool(CHECK.search(cell.source)) for cell in notebook.cells) == len(solved)
        assert sum("<summary>Hint</summary>" in cell.source for cell in notebook.cells) == len(solved)


def test_editions_are_plain_notebooks(written):
    """Nothing that only the book understands, and no link that leads nowhere outside it."""
    for (name, chapter), notebook in written.items():
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                for word in ("{term}", "{cite:", "{exercise-", "{solution}", ":::", "](../"):
                    assert word not in cell.source, (name, chapter, cell.source[:80])


def test_roles_and_links_become_words():
    numbers = {"ex-tie": "1.3"}
    works = {"a": ("Gould et al.", "2024"), "b": ("Levy and Geva", "2024")}
    text = "{cite:t}`a` on a {term}`null <permutation null>` {cite:p}`a,b`; see [here](../book/citing.md#references) and {ref}`ex-tie`."
    assert (
        editions.plain(text, works=works, numbers=numbers, site="")
        == "Gould et al. (2024) on a null (Gould et al., 2024; Levy and Geva, 2024); see here and Exercise 1.3."
    )
    assert "[here](https://x/book/citing.html#references)" in editions.plain(
        text, works=works, numbers=numbers, site="https://x/"
    )


def test_colab_installs_the_package_and_is_offered_only_where_it_can(written, works):
    for (name, chapter), notebook in written.items():
        assert f"/github/someone/book/blob/{editions.BRANCH}/{name}/{chapter}.ipynb" in notebook.cells[1].source
        assert "successor-heads @ git+https://github.com/someone/book@main" in notebook.cells[2].source
    assert (
        editions.in_colab("", "student", "01") == editions.in_colab("https://example.org/book", "student", "01") == ""
    )
    source = nbformat.read(ROOT / "notebooks" / f"{CHAPTERS[0]}.ipynb", as_version=4)
    assert "research.google.com" not in json.dumps(editions.edition(source, "student", works=works, numbers=NUMBERS))


def test_an_exercise_without_a_solution_or_a_stub_is_noticed(works):
    source = nbformat.read(ROOT / "notebooks" / f"{CHAPTERS[0]}.ipynb", as_version=4)
    for lost in ("{solution} ex-", editions.UNANSWERED):
        broken = nbformat.from_dict(json.loads(json.dumps(source)))
        broken.cells.remove(next(cell for cell in broken.cells if lost in cell.source))
        with pytest.raises(ValueError, match="the exercise ex-"):
            editions.edition(broken, "student", works=works, numbers=NUMBERS)


def messages(check):
    """How each diagnosis of a check in the notebook begins, up to the first number that is filled in."""
    (call,) = (
        node
        for node in ast.walk(ast.parse(check))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "exercises.check"
    )
    diagnoses = next((keyword.value.elts for keyword in call.keywords if keyword.arg == "diagnoses"), [])
    texts = [pair.elts[1] for pair in diagnoses]
    return [text.value if isinstance(text, ast.Constant) else text.values[0].value for text in texts]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_stubs_fail_solutions_pass_and_wrong_answers_are_told_apart(chapter, tmp_path, monkeypatch):
    """One run of the student's edition, in which every stub is tried, then its solution, then each wrong answer.

    What the functions of `successor_heads.exercises` say of wrong answers is tried in test_exercises.py, without a run.
    """
    monkeypatch.setenv("SUCCESSOR_HEADS_RECORDS", str(tmp_path))
    notebook = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
    solved, places = editions.solutions(notebook), checks_of(notebook)
    checks = {label: notebook.cells[place].source for label, place in places.items()}
    in_notebook = {label: check for label, check in checks.items() if "exercises.check(" in check}
    assert set(in_notebook) <= set(WRONG), "tests/wrong_answers.py has none for a new exercise"
    cells, tried = [], []
    for place, cell in enumerate(notebook.cells):
        cells.append(cell)
        if place in places.values():
            label = next(label for label, its_place in places.items() if its_place == place)
            # One line is for everybody to see; a check that gives the answer away is folded.
            assert ("hide-input" in cell.metadata.get("tags", [])) == (label in in_notebook)
            assert notebook.cells[place - 1].source == editions.UNANSWERED
            tried.append((label, cell, "Not answered yet"))
            for code, expected in [
                (solved[label][0], "Right."),
                *((code, f"Not yet. {told}") for code, told in WRONG.get(label, ())),
            ]:
                cells.append(nbformat.v4.new_code_cell(f"{code}\n\n{cell.source}"))
                tried.append((label, cells[-1], expected))
    notebook.cells = cells
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    wrong = []
    for label, cell, expected in tried:
        printed = "".join(output.get("text", "") for output in cell.outputs)
        if not printed.startswith(expected):
            wrong.append(f"{label}, {cell.source[:60]!r}: expected {expected!r}, printed {printed[:120]!r}")
    for label, check in in_notebook.items():
        provoked = {told for _, told in WRONG[label]} | set(OUT_OF_REACH.get(label, ()))
        silent = [
            text
            for text in messages(check)
            if not any(text.startswith(told) or told.startswith(text) for told in provoked)
        ]
        wrong += [f"{label}: no wrong answer of tests/wrong_answers.py brings up {text!r}" for text in silent]
    assert not wrong, "\n".join(wrong)
