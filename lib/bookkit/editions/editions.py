"""Two editions of every chapter, for readers who leave the book: one to work in, one to teach from.

    python -m bookkit.editions _build/editions

writes student/NN-name.ipynb, with a stub for every answer, its hint and its check, and instructor/NN-name.ipynb, with
the solution in place of the stub. At its end stands the chapter's quiz, which checks itself. The chapters and the quiz
are the only sources. Both editions are plain notebooks: what only the book understands (exercises, terms, citations, links
to its pages) is written as Markdown that Jupyter and Colab show.
"""

import argparse
import os
import re
from pathlib import Path

import nbformat
from pybtex.database import parse_file

from bookkit import numbering, places
from bookkit.editions import colab
from successor_heads.exercises import quiz

NAMES = ("student", "instructor")
UNANSWERED = "answer = ..."
FOLDED = {"hide-input", "remove-input", "remove-cell"}
# The branch on which the published editions lie, for Colab opens notebooks from GitHub only.
BRANCH = "editions"

EXERCISE = re.compile(r"```\{exercise-start\}\n:label: (\S+)\n```\n(.*?)\n```\{exercise-end\}\n```", re.DOTALL)
SOLUTION = re.compile(r"`{3,}\{solution\} (\S+)\n:class: dropdown\n```python\n(.*?)```\n?(.*?)\n?`{3,}\Z", re.DOTALL)
HINT = re.compile(r":::\{admonition\} Hint\n:class: dropdown\n(.*?)\n:::", re.DOTALL)
TERM = re.compile(r"\{term\}`([^<`]+?)(?: <[^>`]*>)?`")
CITATION = re.compile(r"\{cite:([tp])\}`([^`]+)`")
LINK = re.compile(r"\[([^\]]*)\]\(\.\./(book/[\w-]+)\.md(#[\w-]+)?\)")

GREETING = {
    "student": "*Student edition: put your answers in place of the dots. Each check says whether you are right and, often, what went wrong.*",
    "instructor": "*Instructor edition: every answer is filled in. The student edition has the same exercises with stubs.*",
}


QUIZ = """## Quiz

Five questions on what you have read. Put a letter in place of the dots and run the cell: it says whether you are right, and why."""


def references():
    """Each work of the bibliography as running text names it: ('Gould et al.', '2024')."""
    named = {}
    for key, entry in parse_file("book/references.bib").entries.items():
        people = [" ".join(person.last_names).strip("{}") or str(person) for person in entry.persons.get("author", [])]
        several = f"{people[0]} et al." if len(people) > 2 else " and ".join(people)
        named[key] = (several, entry.fields.get("year", "no year"))
    return named


def plain(markdown, *, works, numbers, site):
    """Markdown without the roles and the links that only the book understands; `site` is its address, or empty.

    `works` are those of `references`, `numbers` the exercises' by label.
    """

    def cite(found):
        kind, keys = found.groups()
        named = [works[key.strip()] for key in keys.split(",")]
        if kind == "t":
            return ", ".join(f"{people} ({year})" for people, year in named)
        return "(" + "; ".join(f"{people}, {year}" for people, year in named) + ")"

    def link(found):
        text, page, anchor = found.groups()
        return f"[{text}]({site}{page}.html{anchor or ''})" if site else text

    return LINK.sub(link, CITATION.sub(cite, TERM.sub(r"\1", numbering.spelled(markdown, numbers))))


def exercise_heading(number, body):
    """An exercise as a section of its own, its hint folded."""
    return f"### Exercise {number}\n\n" + HINT.sub(r"<details><summary>Hint</summary>\n\n\1\n\n</details>", body)


def solutions(notebook):
    """Of every exercise, by label: the code that answers it, and what is said about it."""
    found = (SOLUTION.search(cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    return {match.group(1): (match.group(2).rstrip(), match.group(3).strip()) for match in found if match}


def quiz_cells(chapter, name):
    """The quiz of a chapter, by its number, as cells of an edition: the teacher's has the right letters."""
    sources = [QUIZ, "from successor_heads.exercises import quiz"]
    for question in quiz.of_chapter(chapter):
        letter = "..." if name == "student" else f'"{question.right}"'
        sources += [question.as_markdown(), f'quiz.question("{question.number}").check({letter})']
    kinds = [nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell]
    return [kinds[place % 2](source, id=f"quiz-{chapter}-{place}") for place, source in enumerate(sources)]


def edition(notebook, name, *, works, numbers, where=colab.NOWHERE, site="", stem=""):
    """A copy of a chapter as the edition `name`. Raises ValueError where an exercise has no solution or no stub.

    `numbers` are those of the book's exercises, by label.
    `where` says where the book is published from, `site` where it can be read; both may be empty. `stem` is the chapter's
    name; without one there is no quiz, and no button that opens the edition in Colab.
    """
    solved, label, cells = solutions(notebook), None, []
    for cell in notebook.cells:
        cell = cell.copy()
        exercise = EXERCISE.search(cell.source)
        if exercise:
            if label is not None:
                raise ValueError(f"the exercise {label} has no cell that says {UNANSWERED!r}")
            label, body = exercise.groups()
            if label not in solved:
                raise ValueError(f"the exercise {label} has no solution")
            cell.source = exercise_heading(numbers[label], body)
        elif solution := SOLUTION.search(cell.source):
            said = solved[solution.group(1)][1]
            if name == "student" or not said:
                continue
            cell.source = f"**Solution.** {said}"
        elif cell.source.strip() == UNANSWERED:
            if name == "instructor":
                cell.source = solved[label][0]
            label = None
        if cell.get("id") == colab.ID and where.url:
            cell.source = colab.cell(where).source
        if cell.cell_type == "markdown":
            cell.source = plain(cell.source, works=works, numbers=numbers, site=site)
        elif FOLDED & set(cell.metadata.get("tags", [])):
            # What the book folds or leaves out is folded in JupyterLab and Colab as well.
            cell.metadata = {**cell.metadata, "jupyter": {"source_hidden": True}, "cellView": "form"}
        cells.append(cell)
    opened = in_colab(where.url, name, stem)
    button = (
        f" [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({opened})" if opened else ""
    )
    greeting = nbformat.v4.new_markdown_cell(GREETING[name] + button, id="edition")
    made = notebook.copy()
    asked = quiz_cells(numbering.chapter_number(stem), name) if stem else []
    made.cells = [*cells[:1], greeting, *cells[1:], *asked]
    return made


def in_colab(url, name, stem):
    """Where Colab opens a published edition; empty where the book is not published from GitHub."""
    owner_and_name = url.removesuffix(".git").rstrip("/").partition("github.com/")[2]
    return (
        f"https://colab.research.google.com/github/{owner_and_name}/blob/{BRANCH}/{name}/{stem}.ipynb"
        if owner_and_name
        else ""
    )


def write(folder, *, where=colab.NOWHERE, site=""):
    """Write both editions of every chapter under `folder`; returns their paths."""
    works, numbers, written = references(), numbering.of_book(), []
    for source in map(Path, map(places.notebook, places.chapters())):
        notebook = nbformat.read(source, as_version=4)
        for name in NAMES:
            path = folder / name / source.name
            path.parent.mkdir(parents=True, exist_ok=True)
            about = {"works": works, "numbers": numbers, "where": where, "site": site, "stem": source.stem}
            nbformat.write(edition(notebook, name, **about), path)
            written.append(path)
    return written


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("_build/editions"))
    parser.add_argument("--site", default="", help="address of the published book, with a slash at its end")
    arguments = parser.parse_args()
    # On GitHub a fork's own address goes before what _config.yml says, as on its pages.
    where = colab.address(os.environ.get("BOOK_REPOSITORY") or os.environ.get("GITHUB_REPOSITORY", ""))
    written = write(arguments.folder, where=where, site=arguments.site)
    print(f"{len(written)} notebooks in {arguments.folder}")


if __name__ == "__main__":
    main()
