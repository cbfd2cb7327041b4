"""Figures and tables of the whole book, in one style that reads on light and dark pages.

::

    figures.use_style()
    fig, ax = figures.panel(height=2.8)
    ...
    figures.show(
        fig,
        alt="What is to be seen, in words.",
        caption="One sentence: what it says.",
        details="The numbers, the intervals, how it was measured: folded under the caption.",
    )

**Size.** A figure is shown at its own size, 4/3 px to the point, in a column of `WIDTH` inches. So what is 9 points
here is 12 px on the page, and nothing is smaller than 11 px (`LEAST` points). `show` narrows what is wider than the
column and enlarges what is smaller than `LEAST`, but draw to fit: `panel` and `panels` give figures of the right width, and `NARROW` is a width that a phone shows whole.

**Studies** return a `Drawing`, the figure with its words, which a cell of one line shows.

**Panels.** Draw what stands side by side as separate figures and show them together; on a phone they stack::

    figs, (left, right) = figures.panels(2, height=2.6)
    ...
    figures.show(figs, alt="…", caption="…")

**Type.** A figure is inline SVG whose text is the page's: it is set in Source Sans 3 where that is at hand, as it is in
the book, and laid out here by the same font's widths (see `fonts/README.md`). Where another font steps in, each piece
of text is told how wide it is, so that nothing overlaps. Ink is `currentColor`: the picture takes the colour of the
text around it and serves light pages, dark pages, JupyterLab and Colab.

**Legends** have five entries at most, and the name at the end of the line is better (`label_lines`). `faults` says what
is wrong with a drawn figure; the test of every drawing asks it.

**Tables** (`table`) have five columns at most, numbers to the right, text to the left.

**Folds.** In a chapter, consecutive cells tagged `fold` (Markdown, code, figures) become one fold on the site. The first
of them is Markdown whose first line is the fold's title in bold, such as `**What could fool us?**`. In JupyterLab and
Colab they stay what they are: a bold line and cells.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, Markdown, display
from jaxtyping import Float
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from scipy.optimize import isotonic_regression

INK = "#010203"  # a colour that nothing else uses: show() turns it into currentColor
PALETTE = {  # mid-tones: at least 3:1 on white and on the book's dark background
    "blue": "#3a86c8",
    "orange": "#d9772b",
    "green": "#2f9e73",
    "red": "#d1495b",
    "violet": "#8f6fc9",
    "grey": "#868e96",
}
SHARES = sns.light_palette("#1f6f8b", as_cmap=True)  # 0 to 1
SIGNED = sns.diverging_palette(25, 240, s=85, l=50, as_cmap=True)  # centred on zero

NARROW = 4.7  # inches: a single figure of this width shrinks onto a phone before its text falls below 9 px
WIDTH = 6.6  # inches: at 4/3 px to the point the 634 px that a column of 676 px leaves inside a figure's frame
GAP = 1 / 6  # inches between panels, 16 px
LEAST = 8.25  # points, 11 px
MOST_ENTRIES = 5  # of a legend
MOST_COLUMNS = 5  # of a table
PHONE = 330  # px that a phone of 390 leaves inside a figure's frame
PIXELS = 96 / 72  # a point on the page
FONT = "Book Sans"  # Source Sans 3 under the name that its licence leaves to copies
STACK = "'Source Sans 3', 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def use_style() -> None:
    """Set seaborn's theme and the book's typeface for every figure that follows."""
    known = {font.name for font in font_manager.fontManager.ttflist}
    if FONT not in known:
        for style in ("Regular", "Bold", "Italic"):
            font_manager.fontManager.addfont(str(files("successor_heads") / "fonts" / f"BookSans-{style}.ttf"))
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette=list(PALETTE.values()),
        rc={
            "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
            "legend.facecolor": "none", "legend.frameon": False,
            "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
            "axes.titlelocation": "left", "axes.titlesize": 11, "axes.labelsize": 10.5, "figure.titlesize": 11,
            "xtick.labelsize": 10, "ytick.labelsize": 10, "legend.fontsize": 10, "legend.title_fontsize": 10,
            "font.size": 10, "font.family": [FONT, "DejaVu Sans"],  # the second has the arrows and the Greek
            "mathtext.fallback": "stixsans", "mathtext.fontset": "custom", "mathtext.rm": FONT, "mathtext.it": f"{FONT}:italic", "mathtext.bf": f"{FONT}:bold",
            "mathtext.cal": FONT, "mathtext.sf": FONT, "mathtext.tt": "DejaVu Sans Mono",  # their defaults are not installed everywhere
            "axes.linewidth": 0.9, "xtick.major.width": 0.9, "ytick.major.width": 0.9, "xtick.major.size": 4, "ytick.major.size": 4,
            "axes.spines.top": False, "axes.spines.right": False, "patch.edgecolor": "none", "patch.force_edgecolor": False, "figure.figsize": (WIDTH, 3.2),
            "figure.constrained_layout.wspace": 0.05, "svg.fonttype": "none", "svg.hashsalt": "successor-heads", "figure.dpi": 110,
        },
    )  # fmt: skip  # one theme, read as a list of what belongs together


def panel(*, height: float | int, width: float | int = WIDTH) -> tuple[Figure, Axes]:
    """One figure of `height` inches, as wide as the column, and its axes. What is drawn is kept inside it."""
    return plt.subplots(figsize=(width, height), layout="constrained")


def panels(count: int, *, height: float | int, columns: int | None = None) -> tuple[list[Figure], list[Axes]]:
    """`count` figures of `height` inches, `columns` of them (all, up to three) in a row of the column's width.

    They stack on a phone. Give them the same limits where they share an axis.
    """
    columns = columns or min(count, 3)
    width = (WIDTH - (columns - 1) * GAP) / columns
    drawn = [panel(height=height, width=width) for _ in range(count)]
    return [fig for fig, _ in drawn], [ax for _, ax in drawn]


def show(fig: Figure | Sequence[Figure], *, alt: str | Sequence[str], caption: str, details: str = "") -> None:
    """Display a figure, or panels, with alternative text and a caption of one sentence, and close them.

    `alt` speaks for all panels, or is one text a panel. `details` are folded under the caption; an empty line
    starts a paragraph. Caption and details may hold inline HTML.
    """
    display(HTML(as_html(fig, alt=alt, caption=caption, details=details)))


@dataclass(frozen=True, repr=False)
class Drawing:
    """What a study's ``draw_…`` returns: a figure or panels with what is said of them. As the last line of a cell it is shown.

    The fields are the arguments of `show`. A drawing is shown once, and closes its figures.
    """

    panels: Figure | Sequence[Figure]
    alt: str | Sequence[str]
    caption: str
    details: str = ""

    def __repr__(self) -> str:
        return f"Drawing: {self.caption}"

    def _repr_html_(self) -> str:
        return as_html(self.panels, alt=self.alt, caption=self.caption, details=self.details)


def as_html(fig: Figure | Sequence[Figure], *, alt: str | Sequence[str], caption: str, details: str = "") -> str:
    """The figure element that `show` displays, for a page that is no notebook; closes the figures."""
    drawings = [fig] if isinstance(fig, Figure) else list(fig)
    spoken = [alt] if isinstance(alt, str) else list(alt)
    if len(spoken) not in (1, len(drawings)):
        raise ValueError(f"{len(drawings)} panels need one alternative text, or {len(drawings)}, not {len(spoken)}.")
    spoken += [""] * (len(drawings) - len(spoken))
    # Panels keep their size, so that what stands side by side is aligned; a single figure loses its empty margin.
    pictures = [_svg(each, words, cropped=len(drawings) == 1) for each, words in zip(drawings, spoken)]
    return f'<figure class="sh-figure"><div class="sh-drawing">{"".join(pictures)}</div>{_caption(caption, details)}</figure>'


def _caption(caption: str, details: str = "") -> str:
    """The caption element, with what is folded under it."""
    if details:
        paragraphs = "".join(f"<p>{text.strip()}</p>" for text in re.split(r"\n\s*\n", details.strip()))
        caption += f'<details class="sh-details"><summary>Details</summary>{paragraphs}</details>'
    return f"<figcaption>{caption}</figcaption>"


def _svg(fig: Figure, alt: str, *, cropped: bool) -> str:
    """A figure as an SVG element that takes its ink and its type from the page, and is shown at its own size."""
    smallest = min((float(text.get_fontsize()) for text in fit(fig)), default=LEAST) * PIXELS
    buffer = io.StringIO()
    fig.savefig(
        buffer, format="svg", metadata={"Date": None}, bbox_inches="tight" if cropped else None, pad_inches=0.04
    )
    plt.close(fig)
    svg = buffer.getvalue()[buffer.getvalue().index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<text style="([^"]*)"([^>]*)>([^<]*)</text>', _text_of_known_width, svg)
    svg = re.sub(rf"font-family: '{FONT}'(, 'DejaVu Sans')?;? ?", "", svg)  # said once, below
    # Ids are unique to a figure only; several figures share a page.
    key = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'id="([^"]+)"', rf'id="{key}-\1"', svg)
    svg = re.sub(r'(xlink:href="|href="|url\()#', rf"\1#{key}-", svg)
    opening = svg[: svg.index(">") + 1]
    width = float(opening.partition(' width="')[2].partition("pt")[0]) * PIXELS
    # On a phone a figure shrinks if its text stays above 9 px; a wider one keeps 11 px and scrolls in its box.
    least = 0 if PHONE * smallest >= 9 * width else min(width, width * 11 / smallest)
    words = f'role="img" aria-label="{html.escape(alt)}"' if alt else 'aria-hidden="true"'
    bare = re.sub(r' (?:width|height)="[\d.]+pt"| version="1.1"', "", opening)
    size = f"width:{width:.1f}px;max-width:100%;min-width:{least:.0f}px;height:auto;font-family:{STACK}"
    return svg.replace(opening, bare.replace("<svg", f'<svg {words} style="{size}"', 1), 1)


def _text_of_known_width(found: re.Match) -> str:
    """A text element that is as wide in any font as it was measured here."""
    style, rest, text = found.groups()
    css = dict(part.split(":", 1) for part in style.replace(" ", "").split(";"))
    font = FontProperties(family=[FONT, "DejaVu Sans"], size=float(css["font-size"].removesuffix("px")),
                          weight=int(css.get("font-weight", 400)), style=css.get("font-style", "normal"))  # fmt: skip  # one font a line
    width, _, _ = text_to_path.get_text_width_height_descent(html.unescape(text), font, ismath=False)
    length = f' textLength="{width:.2f}" lengthAdjust="spacingAndGlyphs"' if text.strip() else ""
    # A palette's mid-tone is enough for a line; for a word the page has a darker or a lighter one.
    named = {color: name for name, color in PALETTE.items()}
    style = re.sub(
        r"(?<=fill: )#\w{6}", lambda ink: f"var(--sh-{named[ink[0]]}, {ink[0]})" if ink[0] in named else ink[0], style
    )
    return f'<text style="{style}"{rest.replace("rotate(-0 ", "rotate(0 ")}{length}>{text}</text>'


def fit(fig: Figure) -> list[Text]:
    """Make a figure fit the column: no wider than `WIDTH`, no text below `LEAST`. A figure that fits is left as it is.

    Returns the text that it shows.
    """
    shown = _written(fig)
    small = [text for text in shown if float(text.get_fontsize()) < LEAST]
    for text in small:
        text.set_fontsize(LEAST)
    if small:
        shown = _written(fig)
    for _ in range(4):  # labels keep their size, so what a narrower figure needs is found step by step
        too_wide = fig.get_tightbbox().width - (WIDTH - 0.08)
        if too_wide <= 0.01:
            break
        # `tight_layout` lays out once and leaves a placeholder, so that a narrower figure would keep the old places.
        if isinstance(fig.get_layout_engine(), PlaceHolderLayoutEngine | None):
            # A colour bar that shares its panel's grid has rows of no height beside it, by which "constrained" divides.
            bars = any(axes.get_label() == "<colorbar>" for axes in fig.axes)
            fig.set_layout_engine("tight" if bars else "constrained")
        fig.set_figwidth(max(2.0, min(WIDTH, fig.get_figwidth()) - (too_wide if fig.get_figwidth() <= WIDTH else 0.0)))
        shown = _written(fig)
    return shown


def faults(fig: Figure) -> list[str]:
    """What is wrong with a figure as it would be shown, one sentence each: too wide, crowded legends, text on text or on another panel."""
    shown = fit(fig)
    found = []
    if fig.get_tightbbox().width > WIDTH + 0.02:
        found.append(f"The figure is {fig.get_tightbbox().width:.1f} inches wide, and the column {WIDTH}.")
    found += [
        f"A legend has {len(legend.get_texts())} entries: {MOST_ENTRIES} at most, or label the lines."
        for legend in fig.findobj(Legend)
        if len(legend.get_texts()) > MOST_ENTRIES
    ]
    # The box of a text that leans is too large. That of an annotation is taken without its arrow.
    straight = {text: Text.get_window_extent(text) for text in shown if text.get_rotation() % 90 == 0}
    for (one, a), (other, b) in combinations(straight.items(), 2):
        if len(one.get_text()) == len(other.get_text()) == 1:
            continue  # marks that are digits or letters lie where their points lie
        if min(np.minimum(a.max, b.max) - np.maximum(a.min, b.min)) > 0.02 * fig.dpi:  # letters' own margins may touch
            found.append(f"“{one.get_text()}” and “{other.get_text()}” overlap.")
    own = {text: axes for axes in fig.axes for text in axes.findobj(Text)}  # a tick's label does not know its axes
    for text, box in straight.items():
        for axes in fig.axes:
            apart = text in own and not axes.bbox.overlaps(own[text].bbox)
            if apart and axes.bbox.overlaps(box):
                found.append(f"“{text.get_text()}” lies on another panel.")
    return found


def _written(fig: Figure) -> list[Text]:
    """The text that a figure shows: matplotlib keeps more, such as labels of ticks that lie beyond the limits."""

    class Reader(RendererAgg):  # draws all but the text, which it keeps
        def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
            texts.append(mtext)

    texts: list[Text] = []
    width, height = fig.get_size_inches() * fig.dpi
    fig.draw(Reader(width, height, fig.dpi))
    return [text for text in dict.fromkeys(texts) if text is not None and text.get_text().strip()]


def say(markdown: str) -> None:
    """Display a sentence whose numbers come from the run."""
    display(Markdown(markdown))


def label_lines(ax: Axes, *, gap: float = 0.4) -> None:
    """Write each line's label at its right end, in its colour, in place of a legend; labels keep clear of one another.

    Call it when the limits are final. Room is taken from the axes by the layout; `gap` is in lines of text.
    """
    ax.figure.canvas.draw()
    lines = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    points = [np.asarray(line.get_xydata())[-1] for line in lines]
    ends = [ax.transData.transform(point)[1] for point in points]
    size = plt.rcParams["legend.fontsize"]
    step = size * (1 + gap) * ax.figure.dpi / 72
    order = np.argsort(ends)
    # The smallest moves that keep the order and a step between neighbours: an isotonic fit, once each label's own steps are taken off.
    places = isotonic_regression(np.asarray(ends)[order] - step * np.arange(len(ends))).x + step * np.arange(len(ends))
    for place, y in zip(order, places):
        ax.annotate(
            lines[place].get_label(),
            points[place],
            xytext=(1.03, (y - ax.bbox.y0) / ax.bbox.height),
            textcoords="axes fraction",
            va="center",
            fontsize=size,
            color=lines[place].get_color(),
            arrowprops={
                "arrowstyle": "-",
                "color": lines[place].get_color(),
                "linewidth": 0.8,
                "shrinkA": 0,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """What a study returns for a table: as the last line of a cell it is shown. The fields are the arguments of `table`."""

    frame: pd.DataFrame
    caption: str
    details: str = ""

    def __repr__(self) -> str:
        return f"Table: {self.caption}"

    def _repr_html_(self) -> str:
        return table_html(self.frame, caption=self.caption, details=self.details)


def table(
    frame: pd.DataFrame,
    *,
    caption: str,
    details: str = "",
    formats: Mapping[str, str | Callable[[object], str]] | None = None,
) -> None:
    """Display a table: its caption above, numbers to the right, text to the left, what is missing as a dash.

    On the site its rows sort by its headings. The index becomes the first column unless it merely counts; with it a table has five columns at most, else ValueError.
    `formats` says per column how a value is written (`".2f"` or a function); floats have two decimals. A text
    between backticks is code. Of `details` the same holds as for `show`.
    """
    display(HTML(table_html(frame, caption=caption, details=details, formats=formats)))


def table_html(
    frame: pd.DataFrame,
    *,
    caption: str,
    details: str = "",
    formats: Mapping[str, str | Callable[[object], str]] | None = None,
) -> str:
    """The element that `table` displays, for a page that is no notebook."""
    named = not isinstance(frame.index, pd.RangeIndex)
    shown = frame.rename_axis(frame.index.name or "").reset_index() if named else frame
    if len(shown.columns) > MOST_COLUMNS:
        raise ValueError(
            f"A table has {MOST_COLUMNS} columns at most, and this one {len(shown.columns)}: leave some out, or make two tables."
        )
    columns = [_column(shown[name], (formats or {}).get(name)) for name in shown.columns]
    head = "".join(
        f'<th scope="col"{sided}>{_inline(str(name))}</th>' for name, (sided, _) in zip(shown.columns, columns)
    )
    rows = ["".join(cells) for cells in zip(*(cells for _, cells in columns))]
    if named:
        rows = [row.replace("<td", '<th scope="row"', 1).replace("</td>", "</th>", 1) for row in rows]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    folded = _caption("", details).removeprefix("<figcaption>").removesuffix("</figcaption>")
    return (
        f'<div class="sh-tabled"><div class="sh-scroll"><table class="sh-table"><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{folded}</div>"
    )


def _column(values: pd.Series, how: str | Callable[[object], str] | None) -> tuple[str, list[str]]:
    """A column's alignment, as an attribute, and its cells as HTML."""
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    how = how or (".2f" if pd.api.types.is_float_dtype(values) else str)
    missing = values.isna()
    texts = [
        "–" if gone else how(value) if callable(how) else format(value, how) for value, gone in zip(values, missing)
    ]
    # Shares with their intervals and counts such as "2 of 384" are text to pandas, and numbers to a reader.
    like_numbers = numeric or all(re.match(r"[+−-]?\.?\d", text) for text in texts if text != "–")
    # Said at each cell as well, for JupyterLab and the slides, which have another mind.
    sided = (
        ' class="sh-number" style="text-align:right"'
        if like_numbers and not missing.all()
        else ' style="text-align:left"'
    )
    sort = [f' data-sort="{float(value)}"' if numeric and not gone else "" for value, gone in zip(values, missing)]
    return sided, [f"<td{sided}{key}>{_inline(text)}</td>" for key, text in zip(sort, texts)]


def _inline(text: str) -> str:
    """Text as HTML, with code between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def head_map(
    values: Float[np.ndarray, "layer head"],
    *,
    ax: Axes,
    label: str,
    best: tuple[int, int] | None = None,
    signed: bool = False,
) -> None:
    """Heat map of one number a head, layers from top to bottom; `best` gets a frame."""
    values = np.asarray(values, dtype=float)
    limit = np.abs(values).max() or 1.0
    scale = {"cmap": SIGNED, "vmin": -limit, "vmax": limit} if signed else {"cmap": SHARES, "vmin": 0, "vmax": 1}
    n_layers, n_heads = values.shape
    annotate = n_layers * n_heads <= 160  # figures in larger maps would not be legible
    sns.heatmap(
        values,
        ax=ax,
        annot=annotate,
        fmt=".2f",
        annot_kws={"size": 9.5},
        cbar_kws={"label": label},
        linewidths=1.5,
        linecolor="none",
        **scale,
    )
    _ink_on_cells(ax)
    if best is not None:
        ax.add_patch(
            plt.Rectangle(
                (best[1], best[0]), 1, 1, fill=False, edgecolor=PALETTE["orange"], linewidth=2.5, clip_on=False
            )
        )
    ax.set(xlabel="head", ylabel="layer")
    ax.tick_params(length=0, rotation=0)


def cells(
    table: pd.DataFrame, *, ax: Axes, label: str, fmt: str = ".2f", signed: bool = False, highest: float = 1.0
) -> None:
    """Heat map of a table with the number in each cell; NaN stays empty.

    Shares, coloured from 0 to `highest`, or signed numbers around zero. Without a `label` there is no colour scale.
    """
    limit = float(np.nanmax(np.abs(table.to_numpy(dtype=float)))) or 1.0
    scale = {"cmap": SIGNED, "vmin": -limit, "vmax": limit} if signed else {"cmap": SHARES, "vmin": 0, "vmax": highest}
    sns.heatmap(
        table,
        ax=ax,
        annot=True,
        fmt=fmt,
        annot_kws={"size": 9.5},
        cbar=bool(label),
        cbar_kws={"label": label},
        linewidths=1.5,
        linecolor="none",
        **scale,
    )
    _ink_on_cells(ax)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0, rotation=0)


def matrix(
    values: Float[np.ndarray, "token candidate"],
    *,
    ax: Axes,
    names: Sequence[str] | Mapping[str, int],
    label: str = "",
    limit: float | None = None,
) -> None:
    """Heat map of a map between tokens, zero in the middle: rows are read, columns are promoted.

    `names` are the tokens, or the classes with their sizes, between which lines are drawn. With a
    `label` the colour scale is shown; `limit` is where it ends, else the 99.5th percentile of the sizes.
    """
    values = np.asarray(values, dtype=float)
    limit = limit or float(np.percentile(np.abs(values), 99.5)) or 1.0
    image = ax.imshow(values, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest", rasterized=True)
    if isinstance(names, Mapping):
        ends = np.cumsum(list(names.values()))
        for end in ends[:-1] - 0.5:
            ax.axhline(end, color="#5c636a", linewidth=0.7)
            ax.axvline(end, color="#5c636a", linewidth=0.7)
        places, texts = ends - np.array(list(names.values())) / 2 - 0.5, list(names)
    else:
        places = np.arange(0.0, len(names), -(-len(names) // 13))  # no more than fit
        texts = [names[int(place)] for place in places]
    ax.set(xticks=places, xticklabels=texts, yticks=places, yticklabels=texts, xlabel="promoted", ylabel="read")
    ax.tick_params(length=0)
    plt.setp(ax.get_xticklabels(), rotation=60, ha="right", rotation_mode="anchor")
    ax.spines[:].set_visible(False)
    if label:
        ax.figure.colorbar(image, ax=ax, label=label, fraction=0.046, pad=0.03).outline.set_visible(False)


def _ink_on_cells(ax: Axes) -> None:
    """Black or white for each number of a heat map, whichever stands out more on its cell."""
    cells = ax.collections[0]
    numbered = ~np.ma.getmaskarray(np.ma.asarray(cells.get_array())).ravel()  # an empty cell has no number
    colors = np.asarray(cells.get_facecolor())[numbered, :3]
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    for text, luminance in zip(ax.texts, linear @ [0.2126, 0.7152, 0.0722]):
        # The contrast ratio of WCAG 2 is the same for both at a luminance of 0.179. Not quite black and
        # white, which a page may take for its own ink and paper.
        text.set_color("#0b0b0b" if luminance > 0.179 else "#fdfdfd")


def pipeline(steps: list[tuple[str, str]], *, highlight: int | None = None) -> list[Figure]:
    """Boxes joined by arrows: (symbol, what it holds), one of them drawn in colour. A panel each, so that they wrap."""
    return [
        _step(symbol, meaning, color=PALETTE["orange"] if place == highlight else INK, first=place == 0)
        for place, (symbol, meaning) in enumerate(steps)
    ]


def _step(symbol: str, meaning: str, *, color: str, first: bool) -> Figure:
    """One box of a `pipeline` with what is written under it, and before it the arrow that leads there."""
    fig = plt.figure(figsize=(1, 0.95))
    ax = fig.add_axes((0, 0, 1, 1))
    box = {"boxstyle": "round,pad=0.4", "facecolor": "none", "edgecolor": color, "linewidth": 1.4}
    name = ax.text(0, 0.62, symbol, ha="center", va="center", fontsize=12, color=color, bbox=box)
    # Line by line, so that all panels' words stand on one line.
    words = [
        ax.text(0, 0.23 - 0.17 * place, line, ha="center", va="baseline", fontsize=9.5)
        for place, line in enumerate(meaning.split("\n"))
    ]
    fig.canvas.draw()
    of_name, *of_words = (text.get_window_extent().width / fig.dpi for text in (name, *words))
    of_box = of_name + 2 * 0.4 * 12 / 72  # the box is padded by 0.4 of its font's size
    arrow, width = 0.0 if first else 0.12, max(of_box, *of_words) + 0.04
    fig.set_figwidth(width + arrow)
    ax.set(xlim=(-width / 2 - arrow, width / 2), ylim=(0, 0.95))  # in inches
    ax.axis("off")
    if not first:
        style = {"arrowstyle": "->", "color": INK, "shrinkA": 0, "shrinkB": 0}
        # It begins in the gap between the panels, where the page lets it be seen.
        ax.annotate("", (-of_box / 2 - 0.04, 0.62), (-width / 2 - arrow - GAP / 2, 0.62), arrowprops=style)
    return fig


def interval_bars(ax: Axes, *, values, intervals, names, color: str = PALETTE["blue"]) -> None:
    """Horizontal bars of shares with their 95% intervals, the first on top."""
    places = np.arange(len(values))[::-1]
    low, high = np.asarray(intervals, dtype=float).T
    values = np.asarray(values, dtype=float)
    ax.barh(places, values, color=color, height=0.62)
    ax.hlines(places, low, high, color=INK, linewidth=1.4)
    ax.set(yticks=places, yticklabels=names, xlim=(0, 1.02))
    ax.tick_params(axis="y", length=0)


@dataclass(frozen=True, eq=False, repr=False)
class Attention:
    """Where heads look from the last token of a text, which a study draws as the last line of a cell.

    The text is shaded by the attention of one head, `chosen` first; another is chosen by a tap, or with the arrow keys
    once one has the focus. `answer` is what comes next, where that is known. The full patterns are there too, in
    circuitsvis, in a fold that draws them when it is opened. Nothing of this needs a mouse; without JavaScript the text
    keeps the shades of the first head.
    """

    tokens: list[str]
    patterns: Float[np.ndarray, "head query key"]
    names: list[str]
    alt: str
    caption: str
    details: str = ""
    chosen: int = 0
    answer: str = ""

    def __repr__(self) -> str:
        return f"Attention: {self.caption}"

    def _repr_html_(self) -> str:
        patterns = np.round(np.asarray(self.patterns, dtype=float), 4)
        values = {"tokens": [_plain(token) for token in self.tokens], "attention": patterns.tolist(), "attentionHeadNames": self.names}  # fmt: skip  # what circuitsvis takes
        # "</script>" in a token would end the script early.
        payload = json.dumps(values, ensure_ascii=False).replace("<", "\\u003c")
        key = "sh-" + hashlib.sha256(payload.encode()).hexdigest()[:10]
        heads = "".join(
            f'<label><input type="radio" name="{key}" value="{place}"{" checked" if place == self.chosen else ""}>'
            f"<span>{html.escape(name)}</span></label>"
            for place, name in enumerate(self.names)
        )
        last = patterns[self.chosen, -1].tolist()
        words = "".join(shaded(token, weight, marked=True) for token, weight in zip(self.tokens, last))
        then = f" → <strong>{_visible(self.answer)}</strong>" if self.answer else ""
        library = "" if os.environ.get("SUCCESSOR_HEADS_BOOK") else f"<script>{_circuitsvis()}</script>"
        return (
            f'<figure class="sh-figure sh-attention" id="{key}"><style>{VIEW_STYLE}</style><div role="group" aria-label="{html.escape(self.alt)}">'
            f'<div class="sh-heads" role="radiogroup" aria-label="Head">{heads}</div>'
            f'<p class="sh-words">{words}{then}</p>'
            f'<p class="sh-looks" role="status">{_looks(self.names[self.chosen], self.tokens, last)}</p></div>'
            f'<details class="sh-details sh-circuitsvis"><summary>The full patterns, in circuitsvis</summary><div id="{key}-full"></div></details>'
            f"{_caption(self.caption, self.details)}</figure>{library}"
            f"<script>{VIEW_SCRIPT.replace('KEY', key).replace('PAYLOAD', payload)}</script>"
        )


# The look of a view where the book's style sheet is not: JupyterLab, Colab, slides. Shades are see-through, so that the
# ink of the page stays legible on them, on light and dark pages alike.
VIEW_STYLE = (
    ".sh-heads{display:flex;flex-wrap:wrap;gap:.3rem}.sh-heads label{cursor:pointer;position:relative}.sh-heads input{position:absolute;opacity:0}"
    ".sh-heads span{display:inline-block;min-width:3rem;padding:.35rem .5rem;border:1px solid;border-radius:6px;text-align:center;font-size:.9rem}"
    ".sh-heads input:checked+span{outline:2px solid #d9772b;font-weight:700}.sh-heads input:focus-visible+span{outline:3px solid #3a86c8}"
    ".sh-words{margin:.7rem 0 .3rem;line-height:2;text-align:left;overflow-wrap:anywhere;white-space:pre-wrap}"
    ".sh-words>span{border-radius:3px;padding:.15em 0}.sh-words>span:nth-last-of-type(1){text-decoration:underline}"
    ".sh-looks{margin:0;font-size:.92rem;text-align:left}"
)
VIEW_SCRIPT = """(function () {
  const view = document.getElementById("KEY"), data = PAYLOAD, words = view?.querySelectorAll(".sh-words > span");
  if (!view) return;  // on paper names are others, and there is nothing to choose
  view.querySelector(".sh-heads").addEventListener("change", event => {
    const head = Number(event.target.value), last = data.attention[head].at(-1);
    words.forEach((word, at) => { word.style.background = `rgba(217, 119, 43, ${(0.5 * last[at]).toFixed(2)})`; });
    const first = [...last.keys()].sort((a, b) => last[b] - last[a]).slice(0, 3).filter(at => last[at] >= 0.01);
    view.querySelector(".sh-looks").textContent = `${data.attentionHeadNames[head]} looks at ` +
      first.map(at => `“${data.tokens[at].trim()}” ${Math.round(100 * last[at])}%`).join(", ") + ".";
  });
  const fold = view.querySelector("details.sh-circuitsvis");
  const draw = () => CircuitsVis.render("KEY-full", CircuitsVis.AttentionHeads, data);
  // On the book's page the library comes when it is asked for; elsewhere it stands beside the view.
  fold.addEventListener("toggle", () => { if (fold.open) window.bringCircuitsVis ? bringCircuitsVis().then(draw) : draw(); }, { once: true });
})();"""


def _looks(name: str, tokens: Sequence[str], weights: Sequence[float]) -> str:
    """Where a head looks most, in words; as VIEW_SCRIPT writes it for another head."""
    order = np.argsort(-np.asarray(weights), kind="stable")[:3]
    told = ", ".join(
        f"“{html.escape(_plain(tokens[at]).strip())}” {100 * weights[at]:.0f}%" for at in order if weights[at] >= 0.01
    )
    return f"{html.escape(name)} looks at {told}."


def shaded(token: str, weight: float, *, marked: bool = False, as_html: Callable[[str], str] | None = None) -> str:
    """A token as HTML, shaded by the attention that it gets; without any it is bare text, unless it is to be `marked`.

    `as_html` writes the token itself, where it has to pass through more than a browser.
    """
    shown = (as_html or _visible)(token)
    if weight < 0.01 and not marked:
        return shown
    return f'<span style="background:rgba(217,119,43,{0.5 * min(1.0, weight):.2f})" title="attention {weight:.0%}">{shown}</span>'


@dataclass(frozen=True, repr=False)
class Runs:
    """Lists of words that a study shows, one a line: (heading, what is given, [(what follows, whether it is a hit)])."""

    rows: Sequence[tuple[str, Sequence[str], Sequence[tuple[str, bool]]]]
    caption: str
    details: str = ""

    def __repr__(self) -> str:
        return f"Runs: {self.caption}"

    def _repr_html_(self) -> str:
        lines, above = [], None
        for heading, given, said in self.rows:
            if heading != above:
                lines.append(
                    f'<dt style="font-weight:600;margin-top:0.6rem;text-align:left">{html.escape(heading)}</dt>'
                )
            # A hit is coloured, and marked for those who do not see the colour.
            words = (
                f'<strong style="color:var(--sh-green, {PALETTE["green"]})">{html.escape(word)} ✓</strong>'
                if hit
                else html.escape(word)
                for word, hit in said
            )
            lines.append(
                f'<dd style="margin:0;text-align:left">{html.escape(", ".join(given))}, → {", ".join(words)}</dd>'
            )
            above = heading
        return f'<figure class="sh-figure"><dl style="margin:0">{"".join(lines)}</dl>{_caption(self.caption, self.details)}</figure>'


@dataclass(frozen=True, eq=False, repr=False)
class Passages:
    """Passages of text that a study shows, each token shaded by the attention it gets: (heading, tokens, weights, what follows).

    Nothing is drawn: it is text that can be read, searched and printed.
    """

    rows: Sequence[tuple[str, Sequence[str], Sequence[float], str]]
    alt: str
    caption: str
    details: str = ""

    def __repr__(self) -> str:
        return f"Passages: {self.caption}"

    def _repr_html_(self) -> str:
        items = "".join(
            f'<div style="margin:0.6rem 0;text-align:left;overflow-wrap:anywhere"><div><small>{html.escape(heading)}</small></div>'
            f"<div>… {''.join(map(shaded, tokens, weights))} → "
            f'<strong style="text-decoration:underline">{_visible(answer)}</strong></div></div>'
            for heading, tokens, weights, answer in self.rows
        )
        return (
            f'<figure class="sh-figure sh-passages"><div role="group" aria-label="{html.escape(self.alt)}">{items}</div>'
            f"{_caption(self.caption, self.details)}</figure>"
        )


def _plain(token: str) -> str:
    """A token with its line breaks shown."""
    return token.replace("\n", "⏎")


def _visible(token: str) -> str:
    """A token as HTML, its line breaks shown."""
    return html.escape(_plain(token))


def _circuitsvis() -> str:
    """The script that circuitsvis ships for pages without a network."""
    script = (files("circuitsvis") / "dist" / "cdn" / "iife.js").read_text(encoding="utf8")
    return script.replace("</script>", "<\\/script>")  # the same string to JavaScript, but no end of our script
