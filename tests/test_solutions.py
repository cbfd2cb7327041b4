"""The exercises in their chapters: stubs are no answers, and solutions are right.

What the functions of `successor_heads.exercises` say of wrong answers is tried in test_exercises.py, without a chapter.
"""

import re
from pathlib import Path

import nbformat
import pytest

import chapters
from bookkit import places
from bookkit.editions import editions

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [ROOT / places.notebook(chapter) for chapter in places.chapters(ROOT)]
CHECK = re.compile(r"\.check\(\s*answer\b")
# No right answer hangs on how often a chapter draws, or how much it reads.
LESS = {"04-vector-arithmetic": "DRAWS = 2", "05-natural-language": "CONTEXTS = 16"}
# Where the exercises ask no more of what was measured than the head, and the lists that have a pair.
ASKED = {
    "01-find-heads": "SimpleNamespace(best=result.best)",
    "02-ov-circuit": "SimpleNamespace(best=result.best, classes=classes, largest=['numbers'])",
    "03-mod-10-features": "SimpleNamespace(best=result.best)",
}
MEASURED = re.compile(r"^found = \w+\.measure\(.*?\)$", re.MULTILINE | re.DOTALL)


def checks_of(notebook):
    """The cell of every check, by its exercise's label."""
    found, label = {}, None
    for cell in notebook.cells:
        exercise = editions.EXERCISE.search(cell.source)
        label = exercise.group(1) if exercise else label
        if cell.cell_type == "code" and CHECK.search(cell.source):
            found[label] = cell
    return found


@pytest.mark.book
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stubs_are_no_answers_and_solutions_pass(path, tmp_path, monkeypatch):
    """In one kernel, which runs of the chapter no more than these cells need: `make book` has run the whole."""
    monkeypatch.setenv("SUCCESSOR_HEADS_RECORDS", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    solved, checks = editions.solutions(notebook), checks_of(notebook)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source += f"\n{LESS.get(path.stem, '')}"
    assert set(solved) == set(checks)
    if path.stem in ASKED:
        (measuring,) = [cell for cell in notebook.cells if cell.cell_type == "code" and MEASURED.search(cell.source)]
        scored = "from types import SimpleNamespace\nfrom successor_heads import scores\nresult = scores.score_heads(parts, classes)"
        measuring.source = MEASURED.sub(f"{scored}\nfound = {ASKED[path.stem]}", measuring.source)
    cells, tried = [], []
    for before, cell in zip([None, *notebook.cells], notebook.cells):
        cells.append(cell)
        for label in [label for label, check in checks.items() if check is cell]:
            assert "hide-input" not in cell.metadata.get("tags", []), "a line that gives nothing away"
            assert before.source == editions.UNANSWERED
            tried.append((label, cell, "Not answered yet"))
            cells.append(nbformat.v4.new_code_cell(f"{solved[label][0]}\n\n{cell.source}"))
            tried.append((label, cells[-1], "Right."))
    notebook.cells = chapters.needed(cells, [cell for _, cell, _ in tried])
    chapters.run(notebook, tmp_path)

    faults = []
    for label, cell, expected in tried:
        printed = "".join(output.get("text", "") for output in cell.outputs)
        if not printed.startswith(expected):
            faults.append(f"{label}, {cell.source[:60]!r}: expected {expected!r}, printed {printed[:120]!r}")
    assert not faults, "\n".join(faults)


def cells(*sources):
    return [nbformat.v4.new_code_cell(source) for source in sources]


@pytest.mark.parametrize(
    ("sources", "kept"),
    [
        (["a = 1", "b = 2", "a"], [0, 2]),
        (["a = 1", "a = 2", "a"], [1, 2]),  # the last binding
        (["a = 1", "a += 1", "a"], [0, 1, 2]),
        (["a = []", "a.append(1)", "b = []", "b.append(1)", "a"], [0, 1, 4]),  # what changes it
        (["a = {}", "a['x'] = 1", "a['y'] = 2\nb = 1", "b"], [0, 2, 3]),  # to change is not to read
        (["import math", "math.sqrt(4)", "math.pi"], [0, 2]),  # a module is not changed by a call
        (["def f(): return a", "b = 1", "a = 2", "f()"], [0, 2, 3]),  # bound after the function that reads it
        (["x = 1", "y = [x for x in range(3)]", "y"], [1, 2]),  # a comprehension's own name
        (["x = 1", "for x in range(3):\n    print(x)"], [1]),
        (["x = 1", "x = 2\nprint(x)"], [1]),  # bound before it is read
        (["%pip install nothing", "x = 1", "lambda y: x + y"], [1, 2]),
    ],
)
def test_of_a_chapter_only_what_is_needed_runs(sources, kept):
    chapter = cells(*sources)
    assert chapters.needed(chapter, [chapter[-1]]) == [chapter[place] for place in kept]
