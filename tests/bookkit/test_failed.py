"""A chapter that failed: its page says so, the others stand as they are, and nothing that quotes it breaks."""

import shutil

import nbformat
import pytest
from bs4 import BeautifulSoup

from bookkit.site import failed, status
from scratch import ROOT, Scratch

ERROR = {"cell": 2, "source": "scores['L1H6']", "error": "KeyError: 'L1H6'"}
MACHINE = {"processor": "A processor", "cores": 2, "memory_bytes": 8_000_000_000, "system": "Linux x86_64"}


def failed_notebook(error=ERROR, **run):
    """A chapter of three cells as execute.py leaves it when the second has failed."""
    output = nbformat.v4.new_output(
        "error", ename="KeyError", evalue="'L1H6'", traceback=["in /home/me/book", "KeyError: 'L1H6'"]
    )
    cells = [
        nbformat.v4.new_markdown_cell("# 1. First\n\nWhat it is about."),
        nbformat.v4.new_code_cell("scores['L1H6']", outputs=[output]),
        nbformat.v4.new_code_cell("after = 1"),
    ]
    about = {"chapter": "01-first", "model": "grown/pythia", "result": "failed", "error": error}
    measured = {"started": "2026-11-22T20:00:00", "seconds": 3.0, "peak_rss_bytes": 10**9, "threads": 1}
    metadata = {"successor_heads": about | measured | {"machine": MACHINE, "versions": {}} | run}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def test_the_page_names_the_error_the_cell_and_what_to_do():
    notebook = failed_notebook()
    failed.explain(notebook)
    heading, note = notebook.cells[0].source.split("\n\n", 1)
    assert heading == "# 1. First" and note.endswith("What it is about.")
    assert "in cell 2" in note and "`KeyError: 'L1H6'`" in note and "```python\nscores['L1H6']\n```" in note
    assert failed.OTHERWISE in note
    assert "/home/me" not in nbformat.writes(notebook)


@pytest.mark.parametrize(
    ("error", "advice"),
    [("CellTimeoutError: A cell timed out", "CELL_TIMEOUT"), ("DeadKernelError: Kernel died", "memory"), (failed.NO_WORD, "disk")],
)  # fmt: skip
def test_what_to_do_depends_on_the_error(error, advice):
    notebook = failed_notebook({"cell": None, "source": "", "error": error})
    failed.explain(notebook)
    assert advice in notebook.cells[0].source and "in cell" not in notebook.cells[0].source
    assert "```python" not in notebook.cells[0].source


def test_a_page_that_quotes_it_has_dashes_and_says_why():
    page = "# Front\n\n{{ first.best.value }} of {{first.best.n}} in {{ first.model }}; {{ second.share.value }}\n"
    quoted = {"second": {"share": {"value": "0.5"}}}
    text = failed.fill_quotes(page, quoted, {"first": failed_notebook()}, root="../")
    assert quoted["first"] == {"model": "grown/pythia", "best": {"value": "–", "n": "–"}}
    assert text.startswith("# Front\n\n```{admonition}") and "[1. First](../notebooks/01-first.ipynb)" in text
    other = "# Other\n\n{{ second.share.value }}\n"
    assert failed.fill_quotes(other, quoted, {"first": failed_notebook()}, root="../") == other


def test_the_status_page_says_that_it_failed_and_where():
    rows = list(status.rows([failed_notebook()], [], {"results": []}))
    assert "| **failed** in cell 2: `KeyError: 'L1H6'` |" in status.tables(rows)[0]
    nothing = failed_notebook(**failed.left_no_word("01-first", "grown/pythia"))
    (row,) = status.tables(list(status.rows([nothing], [], {"results": []})))[0].splitlines()[2:]
    assert f"| **failed**: `{failed.NO_WORD}` |" in row and "| – | – |" in row


GLANCE = "| | |\n|---|---|\n| Needs | Python |"
FRONT = "# Front\n\nThe first says {{ first.share.value }}, the second {{ second.share.value }}.\n"
SAVED = """
found = {"value": 0.25, "low": None, "high": None, "n": 4}
about = {"model": MODEL, "chapter": chapter, "created": "2026-01-01", "versions": {}}
files.write_json(files.path_of(MODEL, chapter), about | {"findings": {"share": found}, "tables": {}})
"""


@pytest.fixture
def book(tmp_path):
    """A book of two chapters, a front page and a status page, with the settings of the real one."""
    scratch = Scratch(tmp_path)
    measured = ("benchmarks/results/score.json", "benchmarks/results/ablation.json")
    for name in ("_config.yml", "models.yml", *measured, "lib/successor_heads/anatomy.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "book" / "_static", tmp_path / "book" / "_static")
    shutil.copy(ROOT / "book" / "references.bib", tmp_path / "book")
    (tmp_path / "book" / "index.md").write_text(FRONT)
    (tmp_path / "book" / "status.md").write_text("# Status\n\n{{ status_runs }}\n")
    (tmp_path / "book" / "cases.md").write_text("# Cases\n\n{{ winning_cases }}\n")
    return scratch


def write(book, chapter, *cells):
    book.notebook(chapter, *cells)
    path = book.folder / "notebooks" / f"{chapter}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].source += SAVED
    title = nbformat.v4.new_markdown_cell(f"# About {chapter}\n\nWords.", id="title")
    glance = nbformat.v4.new_markdown_cell(GLANCE, id="glance", metadata={"tags": ["glance"]})
    notebook.cells[:0] = [title, glance]
    nbformat.write(notebook, path)
    book.list_chapters("book/status", "book/cases")


@pytest.mark.book
def test_a_failed_chapter_withholds_nothing(book):
    """The whole way, with Jupyter Book, warnings as errors."""
    write(book, "01-first", "print('first output')", "raise ValueError('planted')", "print('after')")
    write(book, "02-second", "print('well')")
    done, ran = book.build("--cores", "2", target="site")
    assert (done.returncode, ran) == (1, ["02-second"]), done.stderr
    assert "FAILED  notebooks/01-first.ipynb on grown/pythia, cell 6: ValueError: planted" in done.stderr
    site = book.folder / "_build/site/_build/html"
    assert f"The book, with 1 of its chapters failed: {(site / 'index.html').as_uri()}" in done.stdout

    def text(page):
        return BeautifulSoup((site / page).read_text(), "html.parser").select_one("article").get_text()

    page = text("notebooks/01-first.html")
    assert "This chapter failed" in page and page.index("ValueError: planted") < page.index("first output")
    assert "failed after" in page
    assert "well" in text("notebooks/02-second.html") and "failed" not in text("notebooks/02-second.html")
    assert "The first says –, the second 0.25." in text("book/index.html")
    assert "About 01-first failed in this build" in text("book/index.html")
    assert "failed in cell 6: ValueError: planted" in text("book/status.html")
    assert "found no winning cases, or has not been run" in text("book/cases.html")

    # Mended, it takes its place, and nothing is left of the failure.
    write(book, "01-first", "print('first output')")
    done, ran = book.build("--cores", "2", target="site")
    assert (done.returncode, ran) == (0, ["01-first"]), done.stderr
    assert f"The book: {(site / 'index.html').as_uri()}" in done.stdout
    assert "failed" not in text("notebooks/01-first.html") + text("book/status.html")
    assert "The first says 0.25, the second 0.25." in text("book/index.html")
