"""The notebooks as stored, and the pages as built."""

import csv
import json
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup

from bookkit import places
from bookkit.site import pdf

ROOT = Path(__file__).parent.parent

SITE = ROOT / "_build" / "site" / "_build" / "html"
NOTEBOOKS = [ROOT / places.notebook(chapter) for chapter in places.chapters(ROOT)]


@pytest.fixture(scope="module")
def pages():
    """Every built page, parsed."""
    if not (SITE / "index.html").exists():
        reason = "The book is not built: run `make book`, or `make test`, which builds it."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    files = [path for path in SITE.rglob("*.html") if "_static" not in path.parts]
    return {path: BeautifulSoup(path.read_text(encoding="utf8"), "html.parser") for path in files}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_stored_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None]
    assert "papermill" not in notebook["metadata"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_have_the_cells_that_the_build_needs(path):
    tags = [
        tag for cell in json.loads(path.read_text(encoding="utf8"))["cells"] for tag in cell["metadata"].get("tags", [])
    ]
    assert tags.count("parameters") == 1
    assert tags.count("glance") == 1


def test_chapters_state_what_was_measured(pages):
    for notebook in NOTEBOOKS:
        text = pages[SITE / "notebooks" / f"{notebook.stem}.html"].get_text()
        assert "Time to run" in text
        assert "Peak memory" in text


def test_the_status_page_has_a_row_for_every_chapter(pages):
    table = pages[SITE / "book" / "status.html"].find("table")
    assert len(table.find("tbody").find_all("tr")) == len(NOTEBOOKS)
    rows = list(csv.DictReader((ROOT / "_build/site/book/_static/status.csv").read_text().splitlines()))
    assert [row["chapter"] for row in rows] == [path.stem for path in NOTEBOOKS]
    assert {row["result"] for row in rows} == {"passed"}


def test_links_within_the_book_resolve(pages):
    broken = []
    # To look for one at a time would go through a page as often as it is linked to.
    marks = {path: {tag["id"] for tag in page.select("[id]")} for path, page in pages.items()}
    for path, page in pages.items():
        for link in page.select("a[href]"):
            parts = urlsplit(link["href"])
            if parts.scheme or link["href"] == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                broken.append((path.name, link["href"]))
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in marks[target]:
                broken.append((path.name, link["href"]))
    assert not broken


def test_pages_load_nothing_from_elsewhere(pages):
    loaded = [
        (path.name, tag.get("src") or tag.get("href"))
        for path, page in pages.items()
        for tag in page.select("script[src], img[src], iframe[src], link[href]:not([rel=canonical])")
    ]
    assert not [pair for pair in loaded if urlsplit(pair[1]).netloc]


def test_pages_say_what_a_preview_of_them_should(pages):
    for path, page in pages.items():
        if path.parent.name in ("book", "notebooks"):
            said = {
                tag.get("property") or tag.get("name"): tag["content"]
                for tag in page.select("meta[property], meta[name]")
            }
            assert said["og:title"] in page.find("h1").get_text(), path
            assert 20 < len(said["og:description"]) <= 203 and said["description"] == said["og:description"], path
    assert (SITE / "_static" / "preview.png").exists()  # named with its whole address where that is known


def test_the_whole_book_fits_on_paper(pages):
    """What is printed: every page once, names of its own, and each link within the book leads to a place in it."""
    order = places.pages(yaml.safe_load((ROOT / "_build/site/_toc.yml").read_text()))
    articles = [pdf.chapter(SITE, page, order) for page in order]
    names = [tag["id"] for article in articles for tag in article.select("[id]") if not tag.find_parent("svg")]
    names += [article["id"] for article in articles]
    assert len(set(order)) == len(order) and len(names) >= len(set(names)) > 100
    lost = [
        a["href"]
        for article in articles
        for a in article.select("a[href^='#']")
        if a["href"] != "#" and unquote(a["href"][1:]) not in names
    ]
    assert not lost
    assert not [
        a["href"]
        for article in articles
        for a in article.select("a[href]")
        if a["href"][0] != "#" and not urlsplit(a["href"]).scheme
    ]


def test_a_link_to_the_pdf_is_made_only_with_the_pdf(pages, tmp_path):
    index = pages[SITE / "book" / "index.html"]
    assert bool(index.select_one("a.sh-pdf")) == (SITE / pdf.NAME).exists()
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "page.html").write_text(f"<p>{pdf.PLACE}</p>")
    printed = tmp_path / pdf.NAME
    printed.parent.mkdir()
    printed.write_bytes(b"0" * 2_000_000)
    pdf.link(tmp_path, printed)
    assert (
        'href="../_static/successor-heads.pdf">The book as a PDF</a> (2 MB)'
        in (tmp_path / "book" / "page.html").read_text()
    )


def test_figures_have_a_caption_and_words_for_those_who_cannot_see_them(pages):
    for page in pages.values():
        for figure in page.select("figure.sh-figure"):
            assert figure.find("figcaption").get_text(strip=True)
        for drawing in page.select(".sh-drawing > svg:first-child, svg.sh-hero"):  # the first panel speaks for all
            assert drawing["role"] == "img"
            assert len(drawing["aria-label"]) > 20


def test_exercises_come_with_their_solution(pages):
    for notebook in NOTEBOOKS:
        page = pages[SITE / "notebooks" / f"{notebook.stem}.html"]
        assert len(page.select("div.exercise")) == len(page.select("div.solution")) > 0


def test_no_number_of_the_run_is_left_unfilled(pages):
    assert not [
        path.name for path, page in pages.items() if any("{{ " in text.get_text() for text in page.select("article"))
    ]


@pytest.mark.book
def test_the_pages_do_not_tell_where_they_were_built():
    files = [path for path in SITE.rglob("*") if path.suffix in {".html", ".ipynb", ".md", ".csv", ".js"}]
    assert not [path.name for path in files if f"{ROOT}/" in path.read_text(encoding="utf8", errors="ignore")]
