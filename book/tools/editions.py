"""Two editions of every chapter, for readers who leave the book: one to work in, one to teach from.

    python book/tools/editions.py _build/editions --repository owner/name

writes student/NN-name.ipynb, with a stub for every answer, its hint and its check, and instructor/NN-name.ipynb, with
the solution in place of the stub. The chapters are the only source. Both editions are plain notebooks: what only the
book understands (exercises, terms, citations, links to its pages) is written as Markdown that Jupyter and Colab show.
"""

import argparse
import os
import re
from pathlib import Path

import nbformat
from pybtex.database import parse_file

NAMES = ("student", "instructor")
UNANSWERED = "answer = ..."
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
# Colab has no copy of the package; at home it is there, and nothing happens.
INSTALL = """\
# Where the book's package is missing, as on Colab, this installs it.
import importlib.util

if importlib.util.find_spec("successor_heads") is None:
    %pip install --quiet git+{url}"""


def references():
    """Each work of the bibliography as running text names it: ('Gould et al.', '2024')."""
    named = {}
    for key, entry in parse_file("book/references.bib").entries.items():
        people = [" ".join(person.last_names).strip("{}") or str(person) for person in entry.persons.get("author", [])]
        several = f"{people[0]} et al." if len(people) > 2 else " and ".join(people)
        named[key] = (several, entry.fields.get("year", "no year"))
    return named


def plain(markdown, *, works, site):
    """Markdown without the roles and the links that only the book understands; `site` is its address, or empty."""

    def cite(found):
        kind, keys = found.groups()
        named = [works[key.strip()] for key in keys.split(",")]
        if kind == "t":
            return ", ".join(f"{people} ({year})" for people, year in named)
        return "(" + "; ".join(f"{people}, {year}" for people, year in named) + ")"

    def link(found):
        text, page, anchor = found.groups()
        return f"[{text}]({site}{page}.html{anchor or ''})" if site else text

    return LINK.sub(link, CITATION.sub(cite, TERM.sub(r"\1", markdown)))


def exercise_heading(number, body):
    """An exercise as a section of its own, its hint folded."""
    return f"### Exercise {number}\n\n" + HINT.sub(r"<details><summary>Hint</summary>\n\n\1\n\n</details>", body)


def solutions(notebook):
    """Of every exercise, by label: the code that answers it, and what is said about it."""
    found = (SOLUTION.search(cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    return {match.group(1): (match.group(2).rstrip(), match.group(3).strip()) for match in found if match}


def edition(notebook, name, *, works, repository="", site="", stem=""):
    """A copy of a chapter as the edition `name`. Raises ValueError where an exercise has no solution or no stub."""
    solved, label, number, cells = solutions(notebook), None, 0, []
    for cell in notebook.cells:
        cell = cell.copy()
        exercise = EXERCISE.search(cell.source)
        if exercise:
            if label is not None:
                raise ValueError(f"the exercise {label} has no cell that says {UNANSWERED!r}")
            label, body = exercise.groups()
            if label not in solved:
                raise ValueError(f"the exercise {label} has no solution")
            number += 1
            cell.source = exercise_heading(number, body)
        elif SOLUTION.search(cell.source):
            said = solved[SOLUTION.search(cell.source).group(1)][1]
            if name == "student" or not said:
                continue
            cell.source = f"**Solution.** {said}"
        elif cell.source.strip() == UNANSWERED:
            if name == "instructor":
                cell.source = solved[label][0]
            label = None
        if cell.cell_type == "markdown":
            cell.source = plain(cell.source, works=works, site=site)
        elif {"hide-input", "remove-input"} & set(cell.metadata.get("tags", [])):
            # What the book folds or leaves out is folded in JupyterLab and Colab as well.
            cell.metadata = {**cell.metadata, "jupyter": {"source_hidden": True}, "cellView": "form"}
        cells.append(cell)
    head = [nbformat.v4.new_markdown_cell(GREETING[name] + (f" {badge(repository, name, stem)}" if repository else ""))]
    if repository:
        head.append(nbformat.v4.new_code_cell(INSTALL.format(url=f"https://github.com/{repository}")))
    for place, added in enumerate(head):
        added.id = f"edition-{place}"  # else it is drawn by chance, and every build differs
    made = notebook.copy()
    made.cells = [*cells[:1], *head, *cells[1:]]
    return made


def colab(repository, name, stem):
    """Where Colab opens a published notebook."""
    return f"https://colab.research.google.com/github/{repository}/blob/{BRANCH}/{name}/{stem}.ipynb"


def badge(repository, name, stem):
    """Colab's button, in Markdown."""
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab(repository, name, stem)})"


def write(folder, *, repository="", site=""):
    """Write both editions of every chapter under `folder`; returns their paths."""
    works, written = references(), []
    for source in sorted(Path("notebooks").glob("[0-9]*.ipynb")):
        notebook = nbformat.read(source, as_version=4)
        for name in NAMES:
            path = folder / name / source.name
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(edition(notebook, name, works=works, repository=repository, site=site, stem=source.stem), path)
            written.append(path)
    return written


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("_build/editions"))
    known = os.environ.get("BOOK_REPOSITORY") or os.environ.get("GITHUB_REPOSITORY", "")
    parser.add_argument("--repository", default=known, help="owner/name on GitHub: where Colab finds the package and the editions")
    parser.add_argument("--site", default="", help="address of the published book, with a slash at its end")
    arguments = parser.parse_args()
    written = write(arguments.folder, repository=arguments.repository, site=arguments.site)
    print(f"{len(written)} notebooks in {arguments.folder}")


if __name__ == "__main__":
    main()
