"""Figures: ink that follows the page, alternative text, ids that do not clash, attention views that carry what they need."""

import html
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from IPython.utils.capture import capture_output

from successor_heads import figures


@pytest.fixture
def shown(monkeypatch):
    """What a figure function displays, as HTML."""
    outputs = []
    monkeypatch.setattr(figures, "display", lambda output: outputs.append(output.data))
    figures.use_style()
    return outputs


def simple_figure():
    fig, ax = plt.subplots()
    ax.plot([0, 1], label="a line")
    ax.set(xlabel="x", title="<title> & more")
    ax.legend()
    return fig


def test_a_figure_takes_its_ink_from_the_page_and_has_words(shown):
    figures.show(simple_figure(), alt='A "line" & nothing < else', caption="It rises.")
    (page,) = shown
    assert figures.INK not in page and page.count("currentColor") > 10
    assert not re.search(r"(fill|stroke): ?(#000000|black|#ffffff|white)", page)
    assert html.unescape(re.search(r'aria-label="([^"]*)"', page).group(1)) == 'A "line" & nothing < else'
    assert 'role="img"' in page and "<figcaption>It rises.</figcaption>" in page
    assert "&lt;title&gt; &amp; more" in page  # text stays text: it can be searched and read aloud
    assert re.search(r"<svg[^>]*max-width:\d+px", page) and not re.search(r"<svg[^>]* (width|height)=", page)
    assert plt.get_fignums() == []


def test_figures_on_one_page_do_not_share_ids_and_keep_their_references(shown):
    figures.show(simple_figure(), alt="one", caption="")
    other = simple_figure()
    other.axes[0].set_ylabel("y")
    figures.show(other, alt="two", caption="")
    ids = [set(re.findall(r'\bid="([^"]+)"', page)) for page in shown]
    assert ids[0] and not ids[0] & ids[1]
    for page, its in zip(shown, ids):
        assert {
            reference
            for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)
            for reference in pair
            if reference
        } <= its


def test_the_same_figure_gives_the_same_bytes(shown):
    for _ in range(2):
        figures.show(simple_figure(), alt="one", caption="")
    assert shown[0] == shown[1]


def test_a_head_map_frames_the_best_and_numbers_only_small_maps(shown):
    for shape, annotated in (((2, 3), True), ((20, 20), False)):
        fig, ax = plt.subplots()
        figures.head_map(np.full(shape, 0.25), ax=ax, label="score", best=(1, 2))
        assert len(ax.patches) == 1 and ax.patches[0].get_xy() == (2, 1)
        assert bool(ax.texts) == annotated
        plt.close(fig)


def test_each_number_has_the_ink_of_its_own_cell_where_others_are_empty():
    fig, ax = plt.subplots()
    figures.cells(pd.DataFrame([[np.nan, 1.0], [0.0, np.nan]]), ax=ax, label="share")
    assert [(text.get_text(), text.get_color()) for text in ax.texts] == [("1.00", "#fdfdfd"), ("0.00", "#0b0b0b")]
    plt.close(fig)


@pytest.mark.parametrize("in_the_book", [True, False])
def test_an_attention_view_carries_its_data_and_outside_the_book_its_script(shown, monkeypatch, in_the_book):
    if in_the_book:
        monkeypatch.setenv("SUCCESSOR_HEADS_BOOK", "1")
    else:
        monkeypatch.delenv("SUCCESSOR_HEADS_BOOK", raising=False)
    figures.attention(["</script>", " a\n"], np.eye(2)[None], names=["L0H0"], alt="eye", caption="An eye.")
    (page,) = shown
    assert page.count("</script>") == (1 if in_the_book else 2)
    assert '"\\u003c/script>"' in page and " a⏎" in page
    assert len(page) < 3000 if in_the_book else len(page) > 1e6


def test_nothing_is_printed(shown):
    with capture_output() as captured:
        figures.show(simple_figure(), alt="one", caption="")
    assert captured.stdout == captured.stderr == ""


@pytest.mark.parametrize(
    "names, ticks, lines", [([str(n) for n in range(40)], 10, 0), ({"days": 10, "numbers": 30}, 2, 2)]
)
def test_a_matrix_is_centred_on_zero_and_says_what_is_read_and_what_is_promoted(shown, names, ticks, lines):
    fig, ax = plt.subplots()
    values = np.random.default_rng(0).normal(size=(40, 40))
    values[0, 0] = 1000.0  # one cell does not set the scale
    figures.matrix(values, ax=ax, names=names, label="logits")
    (image,) = ax.images
    low, high = image.get_clim()
    assert low == -high and high < 5
    assert image.get_array().shape == (40, 40)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("promoted", "read")
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == ticks and len(ax.lines) == lines
    assert fig.axes[1].get_ylabel() == "logits"
    plt.close(fig)
    fig, ax = plt.subplots()
    figures.matrix(np.zeros((2, 2)), ax=ax, names=["a", "b"])
    assert ax.images[0].get_clim() == (-1, 1) and len(fig.axes) == 1
    plt.close(fig)


def test_passages_show_what_stands_in_the_text(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", shown.append)
    rows = [("a < b", ["<b>", "\n", " x"], [0.9, 0.005, 0.5], "</div>")]
    figures.passages(rows, alt='a "quoted" word', caption="c")
    page = BeautifulSoup(shown[0].data, "html.parser")
    assert [span.text for span in page.select("span")] == ["<b>", " x"]  # below a hundredth there is no shade
    assert page.select_one("small").text == "a < b" and page.select_one("strong").text == "</div>"
    assert "⏎" in page.text and page.select_one("[role=group]")["aria-label"] == 'a "quoted" word'
