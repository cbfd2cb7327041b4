"""The notebooks: how they are stored, what their chapters found, and that every solution passes its check."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RECORDS = ROOT / "_build" / "records" / "grown__pythia"
SOLUTION = re.compile(r"```python\n(.*?)```", re.DOTALL)
UNANSWERED = "answer = ..."


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def test_notebooks_are_stored_clean(notebook):
    nbformat.validate(notebook)
    assert "papermill" not in notebook.metadata
    for cell in notebook.cells:
        assert "papermill" not in cell.metadata
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


def test_chapters_follow_the_skeleton(notebook):
    assert notebook.cells[0].source.startswith("# ")
    assert len(tagged(notebook, "glance")) == 1
    (parameters,) = tagged(notebook, "parameters")
    assert 'MODEL = "' in parameters.source
    text = "\n".join(cell.source for cell in notebook.cells)
    for heading in ("What could fool us", "## Exercises", "## Summary", "## What is next", "## References"):
        assert heading.lower() in text.lower(), heading


def test_exercises_are_whole(notebook):
    text = "\n".join(cell.source for cell in notebook.cells)
    exercises = re.findall(r"exercise-start\}\n:label: (\S+)\n```\n(.*?)exercise-end", text, re.DOTALL)
    assert len(exercises) >= 4
    for label, body in exercises:
        assert re.search(r"\(.*(minutes|hour).*, (easy|medium|hard)\)", body), label
        assert "Hint" in body, label
        assert f"{{solution}} {label}" in text, label
    assert text.count(UNANSWERED) == text.count("exercises.check(") == len(exercises)


def with_solutions(notebook):
    """The notebook, every exercise answered by the code of the solution that follows it."""
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and cell.source.strip() == UNANSWERED:
            solution = next(later.source for later in notebook.cells[place:] if "{solution}" in later.source)
            code = SOLUTION.search(solution).group(1)
            assert "answer = " in code
            cell.source = code
    return notebook


def test_every_solution_passes_its_own_check(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("SUCCESSOR_HEADS_RECORDS", str(tmp_path))
    # The check is the cell after the answer, folded so that it gives nothing away.
    checked = [place + 1 for place, cell in enumerate(notebook.cells) if cell.source.strip() == UNANSWERED]
    assert all("hide-input" in notebook.cells[place].metadata.get("tags", []) for place in checked)
    solved = with_solutions(notebook)
    NotebookClient(solved, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for place in checked:
        printed = "".join(output.get("text", "") for output in solved.cells[place].outputs)
        assert printed.strip() == "Right.", f"{solved.cells[place].source[:200]} ... printed: {printed}"


def findings(chapter):
    path = RECORDS / f"{chapter}.json"
    assert path.exists(), f"{path} is missing: run `make book` first"
    return json.loads(path.read_text())["findings"]


def test_chapter_1_finds_a_successor_head_and_its_controls_hold():
    found = {name: finding["value"] for name, finding in findings("01-find-heads").items()}
    assert found["best_macro"] >= 0.85
    assert found["untrained_macro"] <= 0.35
    assert found["embedding_macro"] <= found["best_macro"] - 0.4
    interval = findings("01-find-heads")["best_macro"]
    assert interval["low"] > findings("01-find-heads")["null_macro"]["high"]
    assert found["right_ablated"] < found["right_intact"]
    assert found["attention_on_last_ordinal"] > 0.5
