"""Figures that come alive on the book's page: the grown model itself runs there, in the reader's browser.

::

    live.Living("reading", still=find_heads.draw_reading(found, parts, task, word), model=found.model, options={"list": task, "word": word})

On the page stands the still figure, with a button that brings the model and puts the living figure in its place. Where
there is no script, on paper, in a notebook, and on pages about other models than `MODEL`, the still figure is all. A figure
that needs no model but the numbers in its `options` has `model=None`, and is alive as soon as the page is.

To put one into a chapter: let the study return a `Living` around its drawing (one visible line in the notebook), and
register the kind in a script beside `book/_static/live/figures.js` with
`SuccessorHeads.figure("KIND", {invitation: "…", build: (model, options) => element})`. What `options` holds reaches
`build` as it is. `model.run`, `model.directEffects` and `model.headMatrix` are the model, and `bars`, `headMap`,
`tokenRow` and `matrix` are parts to draw with; `book/_static/live/model.js` and `parts.js` say how they are called.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from successor_heads import models
from successor_heads.figures import Drawing, Table

MODEL = "grown/pythia"
FOLDER = models.ZOO / "pythia"


def n_bytes() -> int:
    """What a page loads when a figure comes alive: the weights, three bytes in four characters."""
    return -(-(FOLDER / models.WEIGHTS).stat().st_size // 3) * 4


@dataclass(frozen=True, eq=False, repr=False)
class Living:
    """A still figure that becomes a living one of a `kind` that the page's scripts know. As the last line of a cell it is shown.

    `model` is what the still figure is about, None where `options` hold all that the living one shows; `table` holds
    the still one's numbers, folded under it.
    """

    kind: str
    still: Drawing
    model: str | None
    table: Table | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Living: {self.still.caption}"

    def _repr_html_(self) -> str:
        shown = self.still._repr_html_()
        if self.table is not None:
            shown += f'<details class="sh-details"><summary>The numbers as a table</summary>{self.table._repr_html_()}</details>'
        if self.model is None:
            return element(self.kind, shown, options=self.options, bytes_needed=0)
        return element(self.kind, shown, options=self.options) if self.model == MODEL else shown


def element(kind: str, shown: str, *, options: Mapping[str, Any] | None = None, bytes_needed: int | None = None) -> str:
    """The element that the scripts bring to life; `shown`, HTML, stands in it until then.

    `bytes_needed` is what is brought for that: the model's, unless another number is given.
    """
    given = html.escape(json.dumps(options or {}, ensure_ascii=False, separators=(",", ":")))
    n = n_bytes() if bytes_needed is None else bytes_needed
    return f'<div class="sh-live" data-live="{kind}" data-bytes="{n}" data-options="{given}">{shown}</div>'
