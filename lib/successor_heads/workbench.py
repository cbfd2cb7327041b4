"""A workbench for edits: choose a token, a residue and a scale, and see the head's logits change.

::

    lists = {"days": EditableList(days, sources, clean, {"class means": rows}, scale=2.5)}
    show(lists, caption="…")

A head is linear, so an edit's logits are those of the source plus k times the difference of two rows. These few
rows are all that the workbench needs: the page of the book carries them and adds them up in the reader's
browser (`book/_static/workbench.js`), and in a live notebook widgets do the same here.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from IPython.display import HTML, display
from jaxtyping import Float, Int
from torch import Tensor

from successor_heads.arithmetic import NONE, Edits, all_edits
from successor_heads.ordinals import ResolvedClass

DIGITS = 2  # of a logit on the page
MOST_BARS = 12  # members that are shown of a large class
LARGEST_SCALE = 6.0


@dataclass(frozen=True, eq=False)
class EditableList:
    """One class on the workbench: logits over its members, before any edit and of each residue's direction.

    `sources` are the members that can be edited, `clean` their logits without an edit; `scale` is the k at which
    the page opens.
    """

    resolved: ResolvedClass
    sources: Int[Tensor, " source"]
    clean: Float[Tensor, "source member"]
    directions: Mapping[str, Float[Tensor, "residue member"]]
    scale: float

    @cached_property
    def edits(self) -> dict[tuple[int, int], tuple[int, int, int]]:
        """(source, residue) -> (target, answer, the source's own successor or NONE), for the edits that there are."""
        e: Edits = all_edits(self.resolved)
        keys = zip(e.source.tolist(), e.residue.tolist())
        return dict(zip(keys, zip(e.target.tolist(), e.answer.tolist(), e.original.tolist())))

    def logits(self, source: int, residue: int, k: float, *, directions: str) -> Float[Tensor, " member"]:
        """Logits of the members, mean 0, when `source` is given the residue at scale k."""
        rows = self.directions[directions]
        row = int((self.sources == source).nonzero())
        own = int(self.resolved.index[source]) % len(rows)
        logits = self.clean[row] + k * (rows[residue] - rows[own])
        return logits - logits.mean()


def page(lists: Mapping[str, EditableList], *, caption: str) -> str:
    """The workbench as HTML: its tables as JSON for the script, and every answer at the chosen scale as a table for readers without it."""
    tables = "".join(
        _answers(task, editable, is_open=place == 0) for place, (task, editable) in enumerate(lists.items())
    )
    payload = json.dumps({task: _plain(editable) for task, editable in lists.items()}, ensure_ascii=False).replace(
        "<", "\\u003c"
    )
    return (
        '<figure class="sh-figure sh-workbench">'
        f'<script type="application/json">{payload}</script><div class="sh-bench"></div>'
        f'<details class="sh-answers" open><summary>Every answer at the chosen scale, as tables</summary>{tables}</details>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def show(lists: Mapping[str, EditableList], *, caption: str) -> None:
    """Display the workbench: the book's page, or widgets where a kernel answers."""
    display(HTML(page(lists, caption=caption)) if os.environ.get("SUCCESSOR_HEADS_BOOK") else live(lists))


def live(lists: Mapping[str, EditableList]):
    """The workbench as ipywidgets, on the lists of this kernel."""
    import ipywidgets as widgets  # here, because only a live notebook needs it

    first = next(iter(lists))
    task = widgets.Dropdown(options=[(_spaced(t), t) for t in lists], description="class")
    source = widgets.Dropdown(description="source")
    residue = widgets.Dropdown(description="residue")
    directions = widgets.Dropdown(options=list(lists[first].directions), description="directions")
    scale = widgets.FloatSlider(min=0, max=LARGEST_SCALE, step=0.1, description="scale k", continuous_update=True)
    answer = widgets.HTML()

    def choose(dropdown, options):
        kept = dropdown.value
        dropdown.options = options
        values = [value for _, value in options]
        dropdown.value = kept if kept in values else values[0]

    def fill_sources(_=None):
        editable = lists[task.value]
        choose(source, [(editable.resolved.words[m], m) for m in sources_of(editable)])
        scale.value = editable.scale
        fill_residues()

    def fill_residues(_=None):
        if source.value is not None:  # between two sets of options
            choose(residue, residues_of(lists[task.value], source.value))
            answer_anew()

    def answer_anew(_=None):
        if (source.value, residue.value) in lists[task.value].edits:
            answer.value = bars(
                lists[task.value], source.value, residue.value, scale.value, directions=directions.value
            )

    task.observe(fill_sources, "value")
    source.observe(fill_residues, "value")
    for control in (residue, directions, scale):
        control.observe(answer_anew, "value")
    fill_sources()
    return widgets.VBox([widgets.HBox([task, source, residue]), widgets.HBox([directions, scale]), answer])


def sources_of(editable: EditableList) -> list[int]:
    """The members that can be edited at all."""
    return [m for m in editable.sources.tolist() if residues_of(editable, m)]


def residues_of(editable: EditableList, source: int) -> list[tuple[str, int]]:
    """What a source can be given, as (label, residue): "7, as in July"."""
    return [
        (f"{r}, as in {editable.resolved.words[e[0]]}", r)
        for (m, r), e in editable.edits.items()
        if m == source and e[0] != m
    ]


def answer_sentence(editable: EditableList, source: int, residue: int, k: float, *, directions: str) -> str:
    """The answer in one sentence."""
    words, (_, answer, original) = editable.resolved.words, editable.edits[source, residue]
    now = int(editable.logits(source, residue, k, directions=directions).argmax())
    before = int(editable.logits(source, residue, 0.0, directions=directions).argmax())
    verdict = (
        "as the edit says"
        if now == answer
        else "the old answer"
        if now == original
        else f"the edit says {words[answer]}"
    )
    return f"The head answers {words[now]} ({verdict}); without the edit it answers {words[before]}."


def bars(editable: EditableList, source: int, residue: int, k: float, *, directions: str) -> str:
    """The answer as a sentence and a table of bars, largest logits first where the class is large."""
    logits = editable.logits(source, residue, k, directions=directions)
    _, answer, original = editable.edits[source, residue]
    low, high = float(logits.min()), float(logits.max())
    rows = "".join(
        f'<tr><th scope="row">{html.escape(editable.resolved.words[m])}{" ◀ edited" if m == answer else " ◁ before" if m == original else ""}</th>'
        f'<td style="width:16rem"><div style="height:0.7rem;width:{100 * (float(logits[m]) - low) / ((high - low) or 1):.0f}%;background:'
        f'{"#d9772b" if m == answer else "#3a86c8" if m == original else "#868e96"}"></div></td><td>{float(logits[m]):.2f}</td></tr>'
        for m in _shown(logits, (answer, original))
    )
    return f"<p>{html.escape(answer_sentence(editable, source, residue, k, directions=directions))}</p><table>{rows}</table>"


def _shown(logits: Tensor, always: Sequence[int]) -> list[int]:
    """All members of a small class; of a large one those with the highest logits, and the two that matter, best first."""
    if len(logits) <= MOST_BARS:
        return list(range(len(logits)))
    order = logits.argsort(descending=True).tolist()
    shown = order[:MOST_BARS]
    return shown + [m for m in always if m != NONE and m not in shown]


def _answers(task: str, editable: EditableList, *, is_open: bool) -> str:
    """What the head answers to every edit of a class at the chosen scale, a tick where it is what the edit says."""
    name, words = next(iter(editable.directions)), editable.resolved.words
    rows = []
    for source in sources_of(editable):
        cells = []
        for residue in range(len(editable.directions[name])):
            if (source, residue) not in editable.edits:
                cells.append("<td></td>")
                continue
            won = int(editable.logits(source, residue, editable.scale, directions=name).argmax())
            cells.append(
                f"<td>{html.escape(words[won])}{' ✓' if won == editable.edits[source, residue][1] else ''}</td>"
            )
        rows.append(f'<tr><th scope="row">{html.escape(words[source])}</th>{"".join(cells)}</tr>')
    head = "".join(f'<th scope="col">{residue}</th>' for residue in range(len(editable.directions[name])))
    return (
        f'<details{" open" if is_open else ""}><summary>{_spaced(task)}, k = {editable.scale:g}, {name}</summary><div class="sh-scroll"><table>'
        f'<thead><tr><th scope="col">given</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div></details>'
    )


def _plain(editable: EditableList) -> dict:
    """What the script needs, logits as whole hundredths around each row's mean."""

    def whole(rows):
        return ((rows - rows.mean(1, keepdim=True)) * 10**DIGITS).round().int().tolist()

    return {
        "name": _spaced(editable.resolved.task),
        "words": list(editable.resolved.words),
        "index": editable.resolved.index.tolist(),
        "sources": sources_of(editable),
        "clean": dict(zip(editable.sources.tolist(), whole(editable.clean))),
        "directions": {name: whole(rows) for name, rows in editable.directions.items()},
        "edits": {f"{m} {r}": edit for (m, r), edit in editable.edits.items() if m in editable.sources.tolist()},
        "scale": editable.scale,
    }


def _spaced(task: str) -> str:
    return task.replace("_", " ")
