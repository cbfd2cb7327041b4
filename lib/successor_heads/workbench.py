"""A workbench for edits: choose a token, a residue and a length, and see the head's logits change.

::

    bench = Workbench({"January to September": EditableList(...)}, presets=[Preset("January to September", 40, "class means")])
    bench                                # as the last line of a cell it is shown

A head is linear, so an edit's logits are those of the source plus λ times a length times the difference of two rows.
`Workbench.table` holds these rows, every wording and every preset. It is all that there is to know: the script
(`workbench.js`) reads it and adds up in the reader's browser, on the book's page as in a live notebook, and `answer` reads
the same table for readers without JavaScript.

On pages about the model that runs in the page (see `live`) the workbench also makes the edit there, when the reader asks
for it. For that each list has a `Running`.
"""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from math import floor, log10
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from successor_heads import live
from successor_heads.arithmetic import Edits

# Read by Python and by JavaScript. In braces stands what both fill in.
WORDING = {
    "right": "The head answers {now}, as it should.",
    "old": "The head still answers {now}; it should give {wanted}.",
    "wrong": "The head answers {now}; it should give {wanted}.",
    "unedited": "Without the edit it answers {before}.",
    "residue": "{residue}, as in {word}",
    "preset": "{source} given a {residue}: should give {wanted}",
    "preset_control": "{source} given a {residue}, but {directions}",
    "wanted": "◆ should give {wanted}",
    "original": "◇ the old answer, {old}",
    "bars": "Logits, the list's mean at zero.",
}
# The same of the running model.
WORDING_IN_MODEL = {
    "right": "The running model goes on with {now}, as it should.",
    "old": "The running model still goes on with {now}; it should go on with {wanted}.",
    "wrong": "The running model goes on with {now}; it should go on with {wanted}.",
    "unedited": "Without the edit it goes on with {before}.",
    "outside": "Of all words, {top} comes first.",
    "bars": "Probability within the list; ticks, without the edit.",
    "where": "The edit is added to what block 0 leaves at {source}, and all that comes behind reads it. λ was chosen for the head alone: the model may ask for another.",
}
MARKS = {"wanted": " ◆", "original": " ◇"}
CONTROLS = {"list": "Table", "source": "Source", "residue": "Residue it gets", "directions": "Directions", "scale": "λ"}
DIGITS = 2  # of a logit on the page, or more where a head writes less
SHARE_DIGITS = 6  # of an edit's length as a share of the longest: the running model's logits are to be right to 1e-3
KEPT = 3  # further digits of the largest logit than its first, or as many as are shown
MOST_BARS = 12  # members that are shown of a long list
SCALE = {"min": 0, "max": 3, "step": 0.05}


class Preset(NamedTuple):
    """An edit to begin with: the list, the edit's place in it, and the directions; at the list's own λ."""

    list: str
    edit: int
    directions: str


@dataclass(frozen=True, eq=False)
class Running:
    """What else it takes to make a list's edits in the running model: `sentences`, by the member that they end in and that is
    edited there, and each residue's direction itself, where `EditableList.directions` are what the head makes of it.
    """

    task: str
    sentences: Mapping[int, str]
    vectors: Mapping[str, Float[Tensor, "residue d_model"]]


@dataclass(frozen=True, eq=False)
class EditableList:
    """The edits of some members of a list, with the logits that they are made of.

    `clean` are the logits of every member unedited, `directions` those of each residue's direction by what the directions
    are, `lengths` how long each edit's push is at λ = 1, `scale` the λ at which the page opens. `running` is None on pages
    about models that do not run there.
    """

    words: Sequence[str]
    edits: Edits
    clean: Float[Tensor, "member candidate"]
    directions: Mapping[str, Float[Tensor, "residue candidate"]]
    lengths: Mapping[str, Float[Tensor, " edit"]]
    scale: float
    running: Running | None = None

    def place(self, source: str, residue: int) -> int | None:
        """The place of an edit, or None."""
        for place, (member, given) in enumerate(zip(self.edits.source.tolist(), self.edits.residue.tolist())):
            if self.words[member] == source and given == residue:
                return place
        return None

    def logits(self, edit: int, scale: float, *, directions: str) -> Float[Tensor, " candidate"]:
        """Logits of the members, mean 0, after an edit."""
        rows, edits = self.directions[directions], self.edits
        moved = rows[edits.residue[edit]] - rows[edits.source_residue[edit]]
        logits = self.clean[edits.source[edit]] + scale * self.lengths[directions][edit] * moved
        return logits - logits.mean()

    def succeeds(self, preset: Preset) -> bool:
        """Whether the preset's answer is the wanted one."""
        logits = self.logits(preset.edit, self.scale, directions=preset.directions)
        return int(logits.argmax()) == int(self.edits.answer[preset.edit])


@dataclass(frozen=True, eq=False, repr=False)
class Workbench:
    """Some lists and the edits to begin with, the first of which is open."""

    lists: Mapping[str, EditableList]
    presets: Sequence[Preset]

    @cached_property
    def table(self) -> dict[str, Any]:
        """Everything that is shown, as plain values: what the page carries."""
        return {
            "wording": WORDING, "marks": MARKS, "controls": CONTROLS, "scale": SCALE, "most_bars": MOST_BARS,
            "presets": [preset._asdict() for preset in self.presets],
            "lists": {title: _plain(editable) for title, editable in self.lists.items()},
        }  # fmt: skip  # one table

    @cached_property
    def edits_in_page(self) -> dict[str, Any] | None:
        """What the page carries beside the table to make the edits in the model that runs there; None if it does not.

        Lists share most of their directions. So these are rows, each once, as whole numbers of a unit, two bytes a number
        in base64; a list says by its rows which are whose.
        """
        running = {title: of.running for title, of in self.lists.items() if of.running is not None}
        if not running:
            return None
        every = torch.cat([f for of in running.values() for f in of.vectors.values()])
        unit = float(every.abs().max()) / 32767
        rows: dict[bytes, int] = {}

        def places(f: Tensor) -> list[int]:
            packed = (f / unit).round().numpy().astype("<i2")
            return [rows.setdefault(row.tobytes(), len(rows)) for row in packed]

        lists = {
            title: {
                "task": of.task,
                "sentences": {str(member): text for member, text in of.sentences.items()},
                "longest": {name: _longest(self.lists[title].lengths[name]) for name in of.vectors},
                "rows": {name: places(f) for name, f in of.vectors.items()},
            }
            for title, of in running.items()
        }
        packed = base64.b64encode(b"".join(rows)).decode("ascii")
        return {
            "wording": WORDING_IN_MODEL,
            "marks": MARKS,
            "most_bars": MOST_BARS,
            "lists": lists,
            "unit": unit,
            "rows": packed,
        }

    def __repr__(self) -> str:
        return f"Workbench: {', '.join(self.lists)}"

    def _repr_html_(self) -> str:
        # "<" in a word would end the script early.
        payload = json.dumps(self.table, ensure_ascii=False).replace("<", "\\u003c")
        # The book's pages bring script and sheet once, and the model; a notebook's output brings its own, and no model.
        in_book = bool(os.environ.get("SUCCESSOR_HEADS_BOOK"))
        own = "" if in_book else f"<style>{_file('css')}</style>"
        script = "" if in_book else f"<script>{_file('js')}</script>"
        model = live.element("edit", "", options=self.edits_in_page) if in_book and self.edits_in_page else ""
        tables = "".join(_answers(self.table, title, is_open=place == 0) for place, title in enumerate(self.lists))
        return (
            f'{own}<figure class="sh-figure sh-workbench">'
            f'<script type="application/json">{payload}</script><div class="sh-bench"></div>{model}'
            f'<details class="sh-answers" open><summary>Every answer, as tables</summary>{tables}</details>'
            f"<figcaption>Choose a token and the residue it gets. At λ = 1 an edit moves the token's own share of its direction, and the page opens "
            f"at the λ that was chosen for the list.</figcaption></figure>{script}"
        )


def answer(table: Mapping[str, Any], title: str, edit: int, scale: float, *, directions: str) -> int:
    """The member that the head names, read from the table of the page."""
    of = table["lists"][title]
    source, residue, own, *_ = of["edits"][edit]
    rows, length = of["directions"][directions], of["lengths"][directions][edit]
    logits = [c + scale * length * (a - b) for c, a, b in zip(of["clean"][str(source)], rows[residue], rows[own])]
    return logits.index(max(logits))


def _plain(editable: EditableList) -> dict[str, Any]:
    """A list as plain values; logits as whole numbers of a unit around each row's mean, of the members that can be edited.

    The unit fits the list's largest logit, for some heads write thousandths. A direction's row is what the longest push
    adds at λ = 1, and the other lengths are shares of it: so no edit is made of what rounding has left.
    """
    largest = float((editable.clean - editable.clean.mean(1, keepdim=True)).abs().max()) or 1.0
    digits = max(DIGITS, KEPT - floor(log10(largest)))

    def whole(rows: Tensor) -> list[list[int]]:
        return ((rows - rows.mean(1, keepdim=True)) * 10**digits).round().int().tolist()

    edits, clean = editable.edits, whole(editable.clean)
    longest = {name: _longest(values) for name, values in editable.lengths.items()}
    fields = (edits.source, edits.residue, edits.source_residue, edits.target, edits.answer, edits.original)
    return {
        "words": list(editable.words),
        "edits": [list(row) for row in zip(*(field.tolist() for field in fields))],
        "clean": {str(member): clean[member] for member in edits.source.unique().tolist()},
        "directions": {name: whole(longest[name] * rows) for name, rows in editable.directions.items()},
        "lengths": {
            name: [round(value / longest[name], SHARE_DIGITS) for value in values.tolist()]
            for name, values in editable.lengths.items()
        },
        "scale": editable.scale,
        "unit": 10**-digits,
        "digits": max(DIGITS, digits - KEPT + 1),
    }


def _longest(lengths: Tensor) -> float:
    return float(lengths.abs().max()) or 1.0


def _answers(table: Mapping[str, Any], title: str, *, is_open: bool) -> str:
    """What the head answers to every edit of a list at its λ, a tick where it should."""
    of = table["lists"][title]
    name, words, cells = next(iter(of["directions"])), of["words"], {}
    for place, (source, residue, _, target, wanted, _) in enumerate(of["edits"]):
        if target != source:
            won = answer(table, title, place, of["scale"], directions=name)
            cells[source, residue] = f"{html.escape(words[won])}{' ✓' if won == wanted else ''}"
    residues = range(len(of["directions"][name]))
    rows = ""
    for source in dict.fromkeys(edit[0] for edit in of["edits"]):
        told = "".join(f"<td>{cells.get((source, residue), '')}</td>" for residue in residues)
        rows += f'<tr><th scope="row">{html.escape(words[source])}</th>{told}</tr>'
    head = "".join(f'<th scope="col">{residue}</th>' for residue in residues)
    return (
        f'<details{" open" if is_open else ""}><summary>{html.escape(title)}, λ = {of["scale"]:g}, {name}</summary><div class="sh-scroll"><table>'
        f'<thead><tr><th scope="col">given</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _file(kind: str) -> str:
    return (files("successor_heads") / f"workbench.{kind}").read_text(encoding="utf8")
