"""The student's and the teacher's edition: what they hold. That each check knows right from wrong is in test_solutions.py."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from bookkit import numbering, places
from bookkit.editions import colab, editions

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
            folder, where=colab.Address("https://github.com/someone/book"), site="https://someone.github.io/book/"
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


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_quiz_checks_itself_and_the_teacher_has_its_answers(written, chapter, capsys):
    for name, expected in (("student", "Not answered yet"), ("instructor", "Right. ")):
        cells = [cell for cell in written[name, chapter].cells if cell.id.startswith("quiz-")]
        names, asked = {}, [cell.source for cell in cells if cell.source.startswith("**Question ")]
        exec("\n".join(cell.source for cell in cells if cell.cell_type == "code"), names)  # as its reader runs it
        said = capsys.readouterr().out.splitlines()
        assert len(asked) == len(said) == 5 and all(line.startswith(expected) for line in said)
        number = numbering.chapter_number(chapter)
        assert [question.split("**")[1] for question in asked] == [f"Question {number}.{n}." for n in range(1, 6)]


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
