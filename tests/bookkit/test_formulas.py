"""Formulas become MathML while the site is built: every one of the book's, and those that docutils names otherwise."""

import json
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from docutils.utils.math import MathError

from bookkit.site.formulas import mathml

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)


def formulas():
    """Every formula of pages and chapters, and whether it stands alone."""
    texts = [path.read_text(encoding="utf8") for path in (ROOT / "book").rglob("*.md")]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf8"))["cells"]
        texts += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    for text in texts:
        text = FENCED.sub("", text)
        for tex in re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL):
            yield tex.strip(), True
        for tex in re.findall(r"(?<![\\$])\$([^$\n]+?)\$", re.sub(r"\$\$.+?\$\$", "", text, flags=re.DOTALL)):
            yield tex, False


def letters(tex):
    """Letters and digits of a formula, without its commands."""
    return re.findall(r"[A-Za-z0-9]", re.sub(r"\\(?:begin|end)\{\w+\}|\\(?!max|arg)[A-Za-z]+", "", tex))


def test_every_formula_of_the_book_is_translated_with_all_its_letters():
    found = set(formulas())
    assert len(found) > 50
    for tex, block in found:
        math = BeautifulSoup(mathml(tex, block=block), "html.parser").math
        assert math.get("display") == ("block" if block else None)
        shown = re.findall(r"[A-Za-z0-9]", math.get_text())
        assert [one for one in shown if one.isascii()] == letters(tex), tex
        assert not math.find("merror") and "\\" not in math.get_text()


def test_indices_hats_and_large_brackets_stand_where_they_belong():
    math = BeautifulSoup(mathml(r"x_t = \big(\hat r + 1\big]"), "html.parser").math
    assert [child.get_text() for child in math.msub.find_all(recursive=False)] == ["x", "t"]
    assert [child.get_text() for child in math.mover.find_all(recursive=False)] == ["r", "ˆ"]
    mean, index = BeautifulSoup(mathml(r"\bar z_h"), "html.parser").math.msub.find_all(recursive=False)
    assert (mean.name, mean.get_text(strip=True), index.get_text()) == ("mover", "zˉ", "h"), "beside, not below"
    below = BeautifulSoup(mathml(r"\sum_{i}^n x"), "html.parser").math.munderover
    assert [child.get_text() for child in below.find_all(recursive=False)] == ["∑", "i", "n"]
    large = [mo.get_text() for mo in math.find_all("mo", minsize=True)]
    assert large == ["(", "]"], "an opening and a closing one"
    assert "…" in mathml(r"f_0 \dots f_9")


def test_what_cannot_be_translated_is_said():
    with pytest.raises(MathError, match="nosuchthing"):
        mathml(r"x \nosuchthing y")
