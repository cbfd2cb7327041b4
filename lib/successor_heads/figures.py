"""Figures of the whole book: seaborn's, in one style that reads on light and dark pages.

    figures.use_style()
    fig, ax = plt.subplots()
    ...
    figures.show(fig, alt="What is to be seen, in words.", caption="What it says.")

A figure becomes inline SVG whose ink is ``currentColor``: it takes the colour of the text around it,
so one picture serves light pages, dark pages, JupyterLab and Colab, and its text can be searched and
read aloud.  Captions state the finding, and are written with f-strings from the run's own numbers.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, Markdown, display
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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


def use_style() -> None:
    """Set seaborn's theme for every figure that follows."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette=list(PALETTE.values()),
        rc={
            "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
            "legend.facecolor": "none", "legend.frameon": False,
            "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
            "axes.titlelocation": "left", "axes.titlesize": 11, "axes.labelsize": 10.5,
            "xtick.labelsize": 9.5, "ytick.labelsize": 9.5, "legend.fontsize": 9.5,
            "axes.spines.top": False, "axes.spines.right": False,
            "svg.fonttype": "none", "svg.hashsalt": "successor-heads", "figure.dpi": 110,
        },
    )  # fmt: skip


def show(fig: Figure, *, alt: str, caption: str) -> None:
    """Display a figure with its alternative text and its caption (inline HTML is allowed), and close it."""
    display(HTML(as_html(fig, alt=alt, caption=caption)))


def as_html(fig: Figure, *, alt: str, caption: str) -> str:
    """The figure element that `show` displays, for a page that is no notebook; closes the figure."""
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.05, metadata={"Date": None})
    plt.close(fig)
    svg = buffer.getvalue()[buffer.getvalue().index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Ids are unique to a figure only; several figures share a page.
    key = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'id="([^"]+)"', rf'id="{key}-\1"', svg)
    svg = re.sub(r'(xlink:href="|href="|url\()#', rf"\1#{key}-", svg)
    width = re.search(r'width="([\d.]+)pt"', svg).group(1)
    svg = re.sub(
        r'width="[\d.]+pt" height="[\d.]+pt"|height="[\d.]+pt" (?:version="1.1" )?width="[\d.]+pt"', "", svg, count=1
    )
    svg = svg.replace(
        "<svg",
        f'<svg role="img" aria-label="{html.escape(alt)}" style="width:100%;max-width:{1.25 * float(width):.0f}px;height:auto"',
        1,
    )
    return f'<figure class="sh-figure">{svg}<figcaption>{caption}</figcaption></figure>'


def say(markdown: str) -> None:
    """Display a sentence whose numbers come from the run."""
    display(Markdown(markdown))


def head_map(
    values: Float[np.ndarray, "layer head"],
    *,
    ax: Axes,
    label: str,
    best: tuple[int, int] | None = None,
    signed: bool = False,
) -> None:
    """Heat map of one number a head, layers from top to bottom; ``best`` gets a frame."""
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
        annot_kws={"size": 9},
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


def cells(table: pd.DataFrame, *, ax: Axes, label: str, fmt: str = ".2f", signed: bool = False) -> None:
    """Heat map of a table with the number in each cell: shares from 0 to 1, or signed numbers around zero; NaN stays empty."""
    limit = float(np.nanmax(np.abs(table.to_numpy(dtype=float)))) or 1.0
    scale = {"cmap": SIGNED, "vmin": -limit, "vmax": limit} if signed else {"cmap": SHARES, "vmin": 0, "vmax": 1}
    sns.heatmap(
        table,
        ax=ax,
        annot=True,
        fmt=fmt,
        annot_kws={"size": 8.5},
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

    ``names`` are the tokens, or the classes with their sizes, between which lines are drawn. With a
    ``label`` the colour scale is shown; ``limit`` is where it ends, else the 99.5th percentile of the sizes.
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
        places = np.arange(0, len(names), -(-len(names) // 13))  # no more than fit
        texts = [names[place] for place in places]
    ax.set(xticks=places, xticklabels=texts, yticks=places, yticklabels=texts, xlabel="promoted", ylabel="read")
    ax.tick_params(length=0)
    plt.setp(ax.get_xticklabels(), rotation=60, ha="right", rotation_mode="anchor")
    ax.spines[:].set_visible(False)
    if label:
        ax.figure.colorbar(image, ax=ax, label=label, fraction=0.046, pad=0.03).outline.set_visible(False)


def _ink_on_cells(ax: Axes) -> None:
    """Black or white for each number of a heat map, whichever stands out more on its cell."""
    cells = ax.collections[0]
    numbered = ~np.ma.getmaskarray(cells.get_array()).ravel()  # an empty cell has no number
    colors = cells.get_facecolors()[numbered, :3]
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    for text, luminance in zip(ax.texts, linear @ [0.2126, 0.7152, 0.0722]):
        # The contrast ratio of WCAG 2 is the same for both at a luminance of 0.179. Not quite black and
        # white, which a page may take for its own ink and paper.
        text.set_color("#0b0b0b" if luminance > 0.179 else "#fdfdfd")


def pipeline(steps: list[tuple[str, str]], *, highlight: int | None = None) -> Figure:
    """A row of boxes joined by arrows: (symbol, what it holds), one of them drawn in colour."""
    # In inches: each step takes what its symbol or the words under it take, so that there is room for every arrow.
    widths = [
        max(0.11 * len(re.sub(r"[$_\\]", "", symbol)) + 0.4, *(0.08 * len(line) for line in meaning.split("\n")))
        for symbol, meaning in steps
    ]
    centres = [sum(widths[:place]) + 0.35 * place + width / 2 for place, width in enumerate(widths)]
    length = sum(widths) + 0.35 * (len(steps) - 1)
    fig = plt.figure(figsize=(length, 1.1))
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, length), ylim=(-1.0, 0.6))
    ax.axis("off")
    previous = None
    for place, ((symbol, meaning), centre) in enumerate(zip(steps, centres)):
        color = PALETTE["orange"] if place == highlight else INK
        box = ax.text(centre, 0.12, symbol, ha="center", va="center", fontsize=13, color=color,
                      bbox={"boxstyle": "round,pad=0.45", "facecolor": "none", "edgecolor": color, "linewidth": 1.4})  # fmt: skip
        ax.text(centre, -0.5, meaning, ha="center", va="top", fontsize=9.5)
        if previous is not None:
            arrow = {
                "arrowstyle": "->",
                "color": INK,
                "patchA": previous.get_bbox_patch(),
                "patchB": box.get_bbox_patch(),
                "shrinkA": 5,
                "shrinkB": 5,
            }
            ax.annotate("", (centre, 0.12), (centres[place - 1], 0.12), arrowprops=arrow)
        previous = box
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


def attention(
    tokens: list[str], patterns: Float[np.ndarray, "head query key"], *, names: list[str], alt: str, caption: str
) -> None:
    """Attention patterns in circuitsvis: hover a head, then a token, to see where it looks.

    In the book the page brings one shared copy of circuitsvis, and a figure is a call of a kilobyte;
    elsewhere the figure brings its own.
    """
    values = {"tokens": [token.replace("\n", "⏎") for token in tokens], "attention": np.round(np.asarray(patterns, dtype=float), 4).tolist(),
              "attentionHeadNames": names}  # fmt: skip
    # "</script>" in a token would end the script early.
    payload = json.dumps(values, ensure_ascii=False).replace("<", "\\u003c")
    key = "cv-" + hashlib.sha256(payload.encode()).hexdigest()[:10]
    library = "" if os.environ.get("SUCCESSOR_HEADS_BOOK") else f"<script>{_circuitsvis()}</script>"
    display(HTML(
        f'{library}<figure class="sh-figure sh-circuitsvis"><div id="{key}" role="img" aria-label="{html.escape(alt)}"></div>'
        f"<figcaption>{caption}</figcaption></figure>"
        f'<script>(function () {{ const draw = () => CircuitsVis.render("{key}", CircuitsVis.AttentionHeads, {payload});'
        ' window.CircuitsVis ? draw() : window.addEventListener("load", draw); })();</script>'
    ))  # fmt: skip


def passages(rows: Sequence[tuple[str, Sequence[str], Sequence[float], str]], *, alt: str, caption: str) -> None:
    """Passages of text, each token shaded by the attention it gets: (heading, tokens, weights, the token that follows).

    Nothing is drawn: it is text that can be read, searched and printed. The shade is see-through, so that the
    ink of the page stays legible on it.
    """
    items = []
    for heading, tokens, weights, answer in rows:
        shaded = "".join(
            f'<span style="background:rgba(217,119,43,{min(1.0, weight) * 0.6:.2f});border-radius:3px" title="attention {weight:.0%}">{_visible(token)}</span>'
            if weight >= 0.01 else _visible(token)
            for token, weight in zip(tokens, weights)
        )  # fmt: skip
        items.append(
            f'<div style="margin:0.5rem 0;text-align:left;overflow-wrap:anywhere"><div><small>{html.escape(heading)}</small></div>'
            f'<div>… {shaded} → <strong style="text-decoration:underline">{_visible(answer)}</strong></div></div>'
        )
    display(
        HTML(
            f'<figure class="sh-figure sh-passages"><div role="group" aria-label="{html.escape(alt)}">{"".join(items)}</div><figcaption>{caption}</figcaption></figure>'
        )
    )


def _visible(token: str) -> str:
    """A token as HTML, its line breaks shown."""
    return html.escape(token).replace("\n", "⏎")


def _circuitsvis() -> str:
    """The script that circuitsvis ships for pages without a network."""
    script = (files("circuitsvis") / "dist" / "cdn" / "iife.js").read_text(encoding="utf8")
    return script.replace("</script>", "<\\/script>")  # the same string to JavaScript, but no end of our script
