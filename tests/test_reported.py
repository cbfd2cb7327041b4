"""What the paper reports: every entry has its place and mark, and cells are filled in from it."""

import math
import re
from pathlib import Path

import nbformat
import pytest

from successor_heads import reported

# What the chapters and pages quote, by the paper's sections: an entry that goes missing is noticed here.
QUOTED = {
    "2": ("dataset", "figure_2_left", "figure_2_right", "named_head", "figure_18a", "lens"),
    "3": ("subspace", "table_2", "informal", "figure_16", "sae", "probe", "figure_27", "neurons"),
    "3.4": ("arithmetic", "figure_7", "figure_8"),
    "4": ("wild",),
    "later": ("later", "gpt2_small"),
}


def test_every_entry_says_where_it_stands_and_how_it_was_read():
    data = reported.read()
    entries = {key: entry for key, entry in data.items() if key not in ("source", "marks")}
    assert set(entries) == {key for keys in QUOTED.values() for key in keys}
    assert set(reported.SAID) == set(data["marks"])
    for key, entry in entries.items():
        assert entry["where"] and entry["mark"] in data["marks"] and entry["what"], key


def test_a_cell_holds_the_figure_and_its_place():
    assert reported.cell("probe", "{right} of {of}") == "94 of 102 (sections 3.2 and 3.3)"
    assert reported.cell("figure_16", "{gpt2:.2f}") == "0.80 (Figure 16, measured)"
    assert reported.cell("wild", "{numbered_lists[0]}", where="appendix J") == "64 (appendix J)"
    with pytest.raises(KeyError):
        reported.cell("probe", "{wrongly_named}")


def test_figures_agree_with_the_text_where_the_paper_gives_both():
    data, probe = reported.read(), reported.probe_by_modulus().set_index("modulus")
    assert math.isclose(probe.loc[10, "unseen"], data["probe"]["right"] / data["probe"]["of"], abs_tol=0.002)
    assert data["probe"]["of"] - data["probe"]["right"] == len(data["probe"]["wrong"])
    ticks, cells, _ = data["arithmetic"]["tables"]["20-29"]
    drawn = data["figure_7"]["ticks"]["20-29"]
    upward = sum(residue >= int(source) % 10 for source, targets in drawn.items() for residue in targets)
    # The count of the table and the grid are one reading; the rate in the text may round a cell otherwise.
    assert abs(upward - ticks) <= 1 and math.isclose(
        ticks / cells, data["arithmetic"]["text_rates"]["20-29"], abs_tol=0.02
    )


def test_tables_of_figures():
    assert list(reported.probe_by_modulus()["modulus"]) == list(range(2, 26))
    training = reported.over_training()
    assert training["model"].nunique() == 3 and training.groupby("model").size().eq(7).all()
    assert len(reported.roman_numerals()) == 10


ROOT = Path(__file__).parents[1]
IN_THE_TEXT = ("dataset", "subspace", "sae", "probe", "arithmetic", "wild", "named_head")
OF_THE_PAPER = re.compile(r"paper|reported|gould", re.IGNORECASE)


def typed(text):
    """Reported figures that stand in a text: those that nothing else would be, and in a line on the paper all with a point."""
    everywhere, in_such_lines = {reported.read()["named_head"]["head"]}, set()

    def walk(leaf):
        if isinstance(leaf, dict):
            for value in leaf.values():
                walk(value)
        elif isinstance(leaf, list):
            if len(leaf) >= 2 and all(isinstance(n, int) for n in leaf[:2]) and leaf[1] > 10:
                everywhere.add(f"{leaf[0]} of {leaf[1]}")
            for value in leaf:
                walk(value)
        elif isinstance(leaf, float) and leaf % 1 and leaf < 1:
            digits = f"{leaf:.3f}".rstrip("0")
            forms = {digits, digits.lstrip("0"), f"{100 * leaf:.1f}%"}
            (everywhere if len(digits) > 4 else in_such_lines).update(forms)
        elif isinstance(leaf, float) and leaf % 1:
            everywhere.add(f"{leaf:g}%")
            in_such_lines.add(f"{leaf:g}")

    for key in IN_THE_TEXT:
        walk(
            {
                name: value
                for name, value in reported.read()[key].items()
                if name not in ("lambda", "rate", "validation")
            }
        )
    probe = reported.read()["probe"]
    everywhere.add(f"{probe['right']} of {probe['of']}")

    def stands(number, line):
        return re.search(rf"(?<![\w.]){re.escape(number)}(?![\w]|\.\d)", line)

    lines = text.splitlines()
    return {n for n in everywhere if stands(n, text)} | {
        n for n in in_such_lines for line in lines if OF_THE_PAPER.search(line) and stands(n, line)
    }


def test_what_is_typed_is_found():
    assert typed("reports 58.5% of it") and typed("head L12H0") and typed("94 of 102 words") and typed("cosine .708")
    assert typed("the paper: 0.89 of the edits") and typed("As reported, 43.4% of cases")
    assert not typed("0.89 of the edits, as measured") and not typed("88 of 102") and not typed("lr=0.001, 0.1")


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_no_chapter_types_a_reported_figure(path):
    found = {cell.id: typed(cell.source) for cell in nbformat.read(path, as_version=4).cells}
    assert {cell: numbers for cell, numbers in found.items() if numbers} == {}


@pytest.mark.parametrize(
    "path",
    sorted([*(ROOT / "lib/successor_heads/studies").glob("*.py"), *(ROOT / "lib/bookkit/site").glob("*.py")]),
    ids=lambda path: path.stem,
)
def test_no_study_and_no_page_types_a_reported_figure(path):
    assert typed(path.read_text(encoding="utf8")) == set()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "lib/successor_heads/studies").glob("*.py")), ids=lambda path: path.stem
)
def test_a_study_with_a_column_as_reported_reads_the_data(path):
    text = path.read_text(encoding="utf8")
    assert ('as reported"' not in text) or "reported." in text
