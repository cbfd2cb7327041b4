"""What the paper reports: every entry has its place and mark, and cells are filled in from it."""

import math

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
