"""Numbers of chapters and exercises: one source, the same everywhere."""

import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from bookkit import numbering, places
from bookkit.editions import editions
from bookkit.site import slides
from bookkit.site.words import title

ROOT = Path(__file__).parents[2]
CHAPTERS = [ROOT / places.notebook(chapter) for chapter in places.chapters(ROOT)]


@pytest.fixture(scope="module")
def numbers():
    return numbering.of_book(ROOT)


def test_exercises_count_from_one_in_each_chapter_in_their_order(numbers):
    counts = {}
    for number in numbers.values():
        chapter, place = map(int, number.split("."))
        assert place == counts.get(chapter, 0) + 1
        counts[chapter] = place
    assert list(counts) == list(range(1, len(CHAPTERS) + 1))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_title_begins_with_the_number_of_its_file(path):
    number, _, words = title(nbformat.read(path, as_version=4)).partition(" ")
    assert number == str(numbering.chapter_number(path.stem)) and words[0].isupper()


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_editions_and_slides_number_as_the_site_does(path, numbers, monkeypatch):
    monkeypatch.chdir(ROOT)
    notebook = nbformat.read(path, as_version=4)
    expected = [f"Exercise {number}" for number in numbering.exercises(notebook, path.stem).values()]
    works = editions.references()
    for name in editions.NAMES:
        made = editions.edition(notebook, name, works=works, numbers=numbers, stem=path.stem)
        assert re.findall(r"(?m)^### (Exercise .*)$", "\n\n".join(cell.source for cell in made.cells)) == expected
    page = BeautifulSoup(slides.slides(notebook, works=works, numbers=numbers), "html.parser")
    assert [heading.text for heading in page.select("h2") if heading.text.startswith("Exercise ")] == expected


def test_pages_name_exercises_by_label_and_never_by_a_number_of_their_own(numbers):
    used = set()
    for path in [*ROOT.glob("book/**/*.md"), ROOT / "README.md"]:
        text = path.read_text(encoding="utf8")
        used |= set(numbering.REFERENCE.findall(text))
        assert not re.search(r"(?i)exercises? [0-9]", text), path
    assert used and used <= set(numbers)


def test_a_reference_becomes_words_and_an_unknown_one_is_refused():
    text = "Compare {ref}`ex-tie` with {ref}`section`."
    assert numbering.spelled(text, {"ex-tie": "1.3"}) == "Compare Exercise 1.3 with {ref}`section`."
    with pytest.raises(KeyError, match="ex-tie"):
        numbering.spelled(text, {})
