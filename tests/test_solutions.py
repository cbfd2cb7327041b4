"""The exercises in their chapters: stubs are no answers, solutions are right, and wrong answers are told apart.

What the functions of `successor_heads.exercises` say of wrong answers is tried in test_exercises.py, without a chapter.
"""

import ast
import re
from pathlib import Path

import nbformat
import pytest

import chapters
from bookkit import places
from bookkit.editions import editions
from wrong_answers import OUT_OF_REACH, WRONG

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [ROOT / places.notebook(chapter) for chapter in places.chapters(ROOT)]
# A check that stands in the notebook, or one of `successor_heads.exercises`.
CHECK = re.compile(r"\.check\(\s*answer\b")


def checks_of(notebook):
    """The cell of every check, by its exercise's label."""
    found, label = {}, None
    for cell in notebook.cells:
        exercise = editions.EXERCISE.search(cell.source)
        label = exercise.group(1) if exercise else label
        if cell.cell_type == "code" and CHECK.search(cell.source):
            found[label] = cell
    return found


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


@pytest.mark.book
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stubs_fail_solutions_pass_and_wrong_answers_are_told_apart(path, tmp_path, monkeypatch):
    """In one kernel, which runs of the chapter no more than these cells need: `make book` has run the whole."""
    monkeypatch.setenv("SUCCESSOR_HEADS_RECORDS", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    solved, checks = editions.solutions(notebook), checks_of(notebook)
    assert set(solved) == set(checks)
    in_notebook = {label: check.source for label, check in checks.items() if "exercises.check(" in check.source}
    assert set(in_notebook) <= set(WRONG), "tests/wrong_answers.py has none for a new exercise"
    cells, tried = [], []
    for before, cell in zip([None, *notebook.cells], notebook.cells):
        cells.append(cell)
        for label in [label for label, check in checks.items() if check is cell]:
            # One line is for everybody to see; a check that gives the answer away is folded.
            assert ("hide-input" in cell.metadata.get("tags", [])) == (label in in_notebook)
            assert before.source == editions.UNANSWERED
            tried.append((label, cell, "Not answered yet"))
            wrong = [(code, f"Not yet. {told}") for code, told in WRONG.get(label, ())]
            for code, expected in [(solved[label][0], "Right."), *wrong]:
                cells.append(nbformat.v4.new_code_cell(f"{code}\n\n{cell.source}"))
                tried.append((label, cells[-1], expected))
    notebook.cells = chapters.needed(cells, [cell for _, cell, _ in tried])
    chapters.run(notebook, tmp_path)

    faults = []
    for label, cell, expected in tried:
        printed = "".join(output.get("text", "") for output in cell.outputs)
        if not printed.startswith(expected):
            faults.append(f"{label}, {cell.source[:60]!r}: expected {expected!r}, printed {printed[:120]!r}")
    for label, check in in_notebook.items():
        provoked = {told for _, told in WRONG[label]} | set(OUT_OF_REACH.get(label, ()))
        silent = [
            text
            for text in messages(check)
            if not any(text.startswith(told) or told.startswith(text) for told in provoked)
        ]
        faults += [f"{label}: no wrong answer of tests/wrong_answers.py brings up {text!r}" for text in silent]
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
