"""Figures: ink that follows the page, alternative text, ids that do not clash, attention views that carry what they need."""

import html
import re
from importlib.resources import files
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from IPython.utils.capture import capture_output
from matplotlib.text import Text

from successor_heads import figures


@pytest.fixture
def shown(monkeypatch):
    """What a figure function displays, as HTML."""
    plt.close("all")  # what another test has left open
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
    assert re.search(r"<svg[^>]*width:[\d.]+px;max-width:100%", page) and not re.search(
        r"<svg[^>]* (width|height)=", page
    )
    assert plt.get_fignums() == []


def drawn(page):
    """Of each drawing of a page: its width in px, the least it keeps on a phone, and the size of its smallest text in px."""
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        width, least = (float(re.search(rf"[;\"]{name}:([\d.]+)px", svg).group(1)) for name in ("width", "min-width"))
        units = float(re.search(r'viewBox="0 0 ([\d.]+)', svg).group(1))
        sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)]
        yield width, least, min(sizes) * width / units


@pytest.mark.parametrize("inches, columns", [(3.0, 1), (6.6, 1), (9.4, 2), (11.0, 3)])
@pytest.mark.slow
def test_a_figure_fits_the_column_and_its_text_is_11_px(shown, inches, columns):
    fig, axes = plt.subplots(1, columns, figsize=(inches, 3), squeeze=False)
    for ax in axes[0]:
        ax.plot([0, 1])
        ax.set(xlabel="an axis", ylabel="another")
        ax.text(0.1, 0.5, "small print", fontsize=5)
    fig.tight_layout()
    figures.show(fig, alt="one", caption="")
    ((width, least, smallest),) = drawn(shown[0])
    assert width <= 636 and smallest >= 10.99
    assert width > 0.85 * min(634, inches * 96)  # it is narrowed, and no more than need be
    # On a phone the text has 9 px where the whole figure is seen, and 11 px where it scrolls.
    assert smallest * figures.PHONE / width >= 9 if least == 0 else smallest * least / width >= 10.9


@pytest.mark.slow
def test_a_wide_figure_with_a_colour_bar_fits_as_well(shown):
    fig, ax = plt.subplots(figsize=(9, 3))
    figures.cells(pd.DataFrame(np.eye(3), columns=["one", "two", "three"]), ax=ax, label="share")
    assert not figures.faults(fig)
    figures.show(fig, alt="one", caption="")
    ((width, *_),) = drawn(shown[0])
    assert 0.85 * 634 < width <= 636


@pytest.mark.slow
def test_panels_of_a_wide_figure_are_laid_out_anew(shown):
    """What `tight_layout` placed for 9.4 inches would put the labels of the right panel on the left one."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3))
    left.imshow(np.eye(10), aspect="auto")
    right.barh(["a label of some length", "another one, longer than the first"], [1, 2])
    fig.tight_layout()
    placed = right.get_tightbbox().x0 - left.bbox.x1
    fig.set_figwidth(figures.WIDTH - 0.1)
    assert placed > 0 > right.get_tightbbox().x0 - left.bbox.x1  # narrowed alone, they overlap
    fig.set_figwidth(9.4)
    figures.fit(fig)
    fig.canvas.draw()
    assert right.get_tightbbox().x0 > left.bbox.x1
    plt.close(fig)


def test_small_text_would_be_seen_by_the_test_above(shown, monkeypatch):
    fig, ax = plt.subplots(figsize=(9, 3))
    small = ax.text(0.1, 0.5, "small print", fontsize=5)
    monkeypatch.setattr(figures, "fit", lambda fig: [small])
    figures.show(fig, alt="one", caption="")
    ((width, _, smallest),) = drawn(shown[0])
    assert width > 700 and smallest < 7


def test_text_is_as_wide_in_any_font_as_it_was_laid_out(shown):
    fig, ax = figures.panel(height=2)
    ax.text(0.5, 0.5, "Hamburg", fontsize=12)
    ax.text(0.5, 0.2, "Hamburg", fontsize=12, weight="bold")
    ax.text(0.5, 0.8, "→", fontsize=12)  # not in the typeface: another one is measured
    figures.show(fig, alt="one", caption="")
    lengths = {
        (text, weight): float(length)
        for style, length, text in re.findall(
            r'<text style="([^"]*)"[^>]*textLength="([\d.]+)"[^>]*>([^<]*)<', shown[0]
        )
        for weight in [re.search(r"font-weight: (\d+)", style + "font-weight: 400").group(1)]
    }
    for style, weight in (("Regular", "400"), ("Bold", "700")):
        font = TTFont(files("successor_heads") / "fonts" / f"BookSans-{style}.ttf")
        names, advances = font.getBestCmap(), font["hmtx"]
        expected = 12 * sum(advances[names[ord(letter)]][0] for letter in "Hamburg") / font["head"].unitsPerEm
        assert lengths["Hamburg", weight] == pytest.approx(expected, rel=0.02)  # the sum knows no kerning
    assert lengths["Hamburg", "700"] > 1.02 * lengths["Hamburg", "400"] and lengths["→", "400"] > 5
    assert "Book Sans" not in shown[0] and "font-family:'Source Sans 3'" in shown[0]


@pytest.mark.slow
def test_panels_stand_in_one_row_of_the_column_and_are_described_once(shown):
    figs, axes = figures.panels(3, height=2)
    for ax in axes:
        ax.set(xlabel="x", title="a panel")
    figures.show(figs, alt="three panels", caption="They agree.")
    (page,) = shown
    widths = [width for width, *_ in drawn(page)]
    assert len(widths) == 3 and sum(widths) + 2 * 16 <= 636
    assert page.count('aria-label="three panels"') == 1 and page.count('aria-hidden="true"') == 2
    assert plt.get_fignums() == []
    figures.show(figures.panels(2, height=2)[0], alt=["left", "right"], caption="They agree.")
    assert re.findall(r'aria-label="(\w+)"', shown[1]) == ["left", "right"]
    with pytest.raises(ValueError, match="3 panels need one alternative text, or 3, not 2"):
        figures.show(figures.panels(3, height=2)[0], alt=["left", "right"], caption="")


def test_details_are_folded_under_the_caption(shown):
    figures.show(simple_figure(), alt="one", caption="It rises.", details="By <em>half</em>.\n\nIn 3 of 4 runs.")
    assert (
        '<figcaption>It rises.<details class="sh-details"><summary>Details</summary><p>By <em>half</em>.</p><p>In 3 of 4 runs.</p></details></figcaption>'
        in shown[0]
    )


def test_a_pipeline_is_a_panel_for_each_step_so_that_it_wraps(shown):
    steps = [("token", "what is read"), ("$W_E$", "its embedding"), ("head", "counts\non")]
    figs = figures.pipeline(steps, highlight=2)
    assert [sorted(text.get_text() for text in fig.axes[0].texts if text.get_text()) for fig in figs] == [
        sorted([symbol, *meaning.split("\n")]) for symbol, meaning in steps
    ]
    assert not any(figures.faults(fig) for fig in figs)
    figures.show(figs, alt="three boxes", caption="A path.")
    assert sum(width for width, *_ in drawn(shown[0])) < 400


@pytest.mark.slow
def test_faults_of_a_figure_are_named_and_a_good_one_has_none(shown):
    good, ax = figures.panel(height=3)
    for place in range(5):
        ax.plot([0, 1], [place, place + 1], label=f"line {place}")
    ax.legend()
    ax.set(xlabel="x", ylabel="y", title="five lines", xlim=(0, 0.55))  # labels of ticks beyond the limits do not count
    assert figures.faults(good) == []
    ax.plot([0, 1], [7, 7], label="a sixth")
    ax.legend()
    ax.text(0.1, 2.0, "one thing")
    ax.text(0.105, 2.05, "another")
    faults = figures.faults(good)
    assert len(faults) == 2 and "6 entries" in faults[0] and faults[1] == "“one thing” and “another” overlap."
    plt.close(good)


def test_a_label_that_lies_on_another_panel_is_a_fault(shown):
    fig = plt.figure(figsize=(5, 2))
    fig.add_axes((0.1, 0.2, 0.4, 0.7))
    right = fig.add_axes((0.6, 0.2, 0.35, 0.7))
    assert figures.faults(fig) == []
    right.set(yticks=[0.5], yticklabels=["longer than the gap"])
    assert figures.faults(fig) == ["“longer than the gap” lies on another panel."]
    plt.close(fig)


def test_labels_at_the_ends_of_lines_keep_clear_of_one_another(shown):
    fig, ax = figures.panel(height=2.5)
    ends = [0.50, 0.52, 0.1, 0.51]
    for end in ends:
        ax.plot([0, 1], [0, end], label=f"to {end}")
    ax.plot([0, 1], [0, 0.3])  # without a label
    figures.label_lines(ax)
    assert figures.faults(fig) == []
    labels = {text.get_text(): Text.get_window_extent(text).y0 for text in ax.texts}
    assert sorted(labels, key=labels.get) == ["to 0.1", "to 0.5", "to 0.51", "to 0.52"]
    assert all(text.get_window_extent().x1 < fig.bbox.x1 for text in ax.texts)
    plt.close(fig)


def contrast(one, other):
    """The ratio of WCAG 2 between two colours such as #1f4e8c."""
    channels = [np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255 for color in (one, other)]
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in channels]
    dark, light = sorted(float(c @ [0.2126, 0.7152, 0.0722]) + 0.05 for c in linear)
    return light / dark


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_coloured_word_stands_out_on_the_page_and_a_coloured_line_is_seen(shown, theme):
    fig, ax = figures.panel(height=2)
    for place, (name, color) in enumerate(figures.PALETTE.items()):
        ax.text(0.1, 0.1 + 0.1 * place, name, color=color)
    figures.show(fig, alt="one", caption="")
    sheet = (Path(__file__).parent.parent / "book" / "_static" / "book.css").read_text()
    of_theme = " ".join(re.findall(rf'html\[data-theme="{theme}"\] \{{(.*?)\}}', sheet, re.DOTALL))
    card = re.search(r"--sh-card: (#\w{6})", of_theme).group(1)
    for name, color in figures.PALETTE.items():
        assert f"fill: var(--sh-{name}, {color})" in shown[0]
        word = re.search(rf"--sh-{name}: (#\w{{6}})", of_theme).group(1)
        assert contrast(word, card) >= 4.5 and contrast(color, card) >= 3, name
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_a_table_aligns_numbers_right_and_writes_what_is_missing_as_a_dash(shown):
    frame = pd.DataFrame(
        {"found": ["2 of 384", "–", "110 of 125"], "score": [0.5, np.nan, -1.25], "where": ["`MLP0`", "<b>", "x"]},
        index=pd.Index(["a", "b", "c"], name="head"),
    )
    figures.table(frame, caption="Few are found.", formats={"score": "+.1f"}, details="Of all.")
    soup = BeautifulSoup(shown[0], "html.parser")
    assert soup.table.caption.text == "Few are found." and soup.details.p.text == "Of all."
    assert [(th.text, th["scope"], th.get("class")) for th in soup.select("thead th")] == [
        ("head", "col", None), ("found", "col", ["sh-number"]), ("score", "col", ["sh-number"]), ("where", "col", None)
    ]  # fmt: skip  # a row of the table a line
    rows = [[cell.text for cell in row.find_all(["th", "td"])] for row in soup.select("tbody tr")]
    assert rows == [["a", "2 of 384", "+0.5", "MLP0"], ["b", "–", "–", "<b>"], ["c", "110 of 125", "-1.2", "x"]]
    assert [row.th["scope"] for row in soup.select("tbody tr")] == ["row"] * 3 and soup.code.text == "MLP0"
    assert [cell["data-sort"] for cell in soup.select("[data-sort]")] == ["0.5", "-1.25"]
    sides = [[cell["style"] for cell in row.find_all(["th", "td"])] for row in soup.select("tr")]
    assert sides == [["text-align:left", "text-align:right", "text-align:right", "text-align:left"]] * 4


def test_a_table_has_five_columns_at_most(shown):
    figures.table(pd.DataFrame(np.zeros((1, 5))), caption="Five.")
    with pytest.raises(ValueError, match="5 columns at most, and this one 6"):
        figures.table(pd.DataFrame(np.zeros((1, 5)), index=["named"]), caption="Six with the index.")
    assert len(shown) == 1


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
def test_an_attention_view_carries_its_data_and_outside_the_book_circuitsvis(monkeypatch, in_the_book):
    if in_the_book:
        monkeypatch.setenv("SUCCESSOR_HEADS_BOOK", "1")
    else:
        monkeypatch.delenv("SUCCESSOR_HEADS_BOOK", raising=False)
    page = figures.Attention(
        ["</script>", " a\n"], np.eye(2)[None], names=["L0H0"], alt="eye", caption="An eye."
    )._repr_html_()
    assert page.count("</script>") == (1 if in_the_book else 2)
    assert '"\\u003c/script>"' in page and " a⏎" in page
    assert len(page) < 5000 if in_the_book else len(page) > 1e6


def test_an_attention_view_without_javascript_shows_the_last_row_of_the_chosen_head():
    patterns = np.array([[[1, 0, 0], [0.5, 0.5, 0], [0.1, 0.2, 0.7]], [[1, 0, 0], [0.5, 0.5, 0], [0.6, 0.395, 0.005]]])
    view = figures.Attention(["<b>", " 5", ","], patterns, ["L1H0", "L1H1"], "a list", "A list.", chosen=1, answer=" 6")
    page = BeautifulSoup(view._repr_html_(), "html.parser")
    words = page.select(".sh-words > span")
    assert [word.text for word in words] == ["<b>", " 5", ","]
    shades = [float(re.search(r"rgba\(217,119,43,([\d.]+)\)", word["style"]).group(1)) for word in words]
    assert shades == pytest.approx([0.3, 0.2, 0.0], abs=0.01)
    assert page.select_one(".sh-words > strong").text == " 6"
    assert [radio.has_attr("checked") for radio in page.select("input[type=radio]")] == [False, True]
    assert page.select_one(".sh-looks").text == "L1H1 looks at “<b>” 60%, “5” 40%."
    assert page.select_one("[role=group]")["aria-label"] == "a list"
    assert "circuitsvis" in page.select_one("details > summary").text


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


def test_passages_show_what_stands_in_the_text():
    rows = [("a < b", ["<b>", "\n", " x"], [0.9, 0.005, 0.5], "</div>")]
    page = BeautifulSoup(figures.Passages(rows, alt='a "quoted" word', caption="c")._repr_html_(), "html.parser")
    assert [span.text for span in page.select("span")] == ["<b>", " x"]  # below a hundredth there is no shade
    assert page.select_one("small").text == "a < b" and page.select_one("strong").text == "</div>"
    assert "⏎" in page.text and page.select_one("[role=group]")["aria-label"] == 'a "quoted" word'


def test_runs_are_a_line_each_under_their_heading_and_hits_are_marked():
    rows = [("days", ["Mon", "Tue"], [("Thu", True), ("A < B", False)]), ("days", ["Tue", "Wed"], [("Thu", False)])]
    page = BeautifulSoup(figures.Runs(rows, caption="c")._repr_html_(), "html.parser")
    assert [heading.text for heading in page.find_all("dt")] == ["days"]
    assert [line.text for line in page.find_all("dd")] == ["Mon, Tue, → Thu ✓, A < B", "Tue, Wed, → Thu"]
    assert [hit.text for hit in page.find_all("strong")] == ["Thu ✓"] and page.figcaption.text == "c"
    assert all("text-align:left" in part["style"] for part in page.find_all(["dt", "dd"]))
