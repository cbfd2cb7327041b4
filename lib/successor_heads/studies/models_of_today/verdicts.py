"""What chapter 8's findings come to, by the rules that were announced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from successor_heads import ordinals
from successor_heads.studies import Verdict, listed
from successor_heads.studies.models_of_today.found import Found
from successor_heads.studies.models_of_today.rules import RULES

NAMES = {
    "successor_head": "successor head",
    "mover_and_mlp": "mover + MLP",
    "coded": "coded",
    "none_found": "none found",
    "not_counting": "does not count",
}


CLOSE = 0.1  # of the lists: below this a head is said to copy nearly as often as it steps


def key_of(found: Found) -> str:
    """The first verdict of the rules that holds."""
    if not found.counts:
        return "not_counting"
    if successor_head(found) is not None:
        return "successor_head"
    if not is_large(found):
        return "none_found"
    return "mover_and_mlp" if is_mover(found) else "coded"


def successor_head(found: Found) -> str | None:
    """The head that is a successor head by the rules, if there is one: of several, the one with the largest effect."""
    passing = (str(row.head) for row in found.depth.leading.itertuples() if _steps(found, row, found.depth.null))
    return next(passing, None)


def _steps(found: Found, row: Any, null: float) -> bool:
    """Whether a head with a large effect scores above a null, steps rather than copies by that score and in lists, and matters."""
    part = found.part(str(row.head))
    steps = row.macro > row.copying and part["successor"] > part["last"]
    return bool(row.macro > null and steps and part["low"] > 0)


def is_large(found: Found) -> bool:
    """Whether the head with the largest effect on the lists of discovery is large on those of confirmation."""
    top, effects = found.part(found.top), RULES["effects"]
    return bool(top["total"] >= effects["large"] and top["low"] >= effects["large_low"])


def is_mover(found: Found) -> bool:
    """Whether that head copies, an MLP behind it is needed, and its index crosses lists."""
    top, thresholds = found.part(found.top), RULES["thresholds"]
    copies = top["last"] >= thresholds["copies"] and top["last"] > top["successor"]
    through = found.paths.set_index("way").loc["through MLPs"]
    steps_behind = through["share"] >= thresholds["through_mlps"] and through["low"] > 0
    crossing = found.donors[(found.donors["heads"] == 1) & (found.donors["donor"] == "another class")].iloc[0]
    return bool(copies and steps_behind and crossing["share"] > crossing["null"])


def verdict(found: Found) -> Verdict:
    """The verdict on a model, with the numbers that decide it."""
    key = key_of(found)
    return Verdict(key, SENTENCES[key](found))


def verdict_of_all(found: Sequence[Found]) -> Verdict:
    """Whether models of today count with a successor head: "none", "some" or "all" of those that count; "unasked" if none does."""
    counting = [each for each in found if each.counts]
    if not counting:
        return Verdict("unasked", f"**None of {len(found)} models counts well enough to ask how.**")
    having = [each for each in counting if key_of(each) == "successor_head"]
    key = "none" if not having else "all" if len(having) == len(counting) else "some"
    of = {
        "none": "none counts",
        "some": f"{len(having)} counts" if len(having) == 1 else f"{len(having)} count",
        "all": "each counts",
    }[key]
    rules = "by our rules" + ", which let a head read deeper than chapter 1 does" * any(map(_reads_deeper, having))
    those = f"Of {len(counting)} models that count, {of} with a successor head {rules}."
    if len(counting) == 1:
        how = "with" if having else "not with"
        those = f"{counting[0].model} counts, and {how} a successor head {rules}."
    silent = [each.model for each in found if not each.counts]
    left_out = (
        f"{listed(silent)} {'does' if len(silent) == 1 else 'do'} not count well enough to ask how. " if silent else ""
    )
    doubts = "".join(map(_doubt, counting))
    told = ". ".join(f"In {each.model} {_short(each)}" for each in counting)
    return Verdict(
        key,
        f"**{those}** {told}. {left_out}{doubts}Not shown: what happens before the last position, what larger models do, or "
        "why these differ from the paper's.",
    )


def _short(found: Found) -> str:
    key, name = key_of(found), successor_head(found) or found.top
    part = found.part(name)
    how = {
        "successor_head": f"{name} is one",
        "mover_and_mlp": f"{name} fetches the ordinal, and MLPs behind it step",
        "coded": f"{name} carries much of it, and what it writes we cannot read",
        "none_found": "no single head carries much",
    }[key]
    return (
        f"{how}: with another list's output in its place {_effect(found, name)} is lost, and it promotes the successor on {part['successor']:.0%} of the "
        f"lists, the ordinal itself on {part['last']:.0%}"
    )


def _reads_deeper(found: Found) -> bool:
    """Whether the successor head of a model reads what stands after some blocks, which chapter 1 does not ask."""
    return int(found.depth.leading.set_index("head").loc[str(successor_head(found)), "depth"]) > 0


def in_short(found: Found, name: str) -> str:
    """The verdict on a model in one sentence without numbers, for a page that calls the model `name`."""
    key, head = key_of(found), successor_head(found) or found.top
    if key == "successor_head":
        depth = int(found.depth.leading.set_index("head").loc[head, "depth"])
        where = f", reading what stands after {depth} blocks" if depth else ""
        doubt = ", though it copies nearly as often as it steps" if _copies_nearly_as_often(found, head) else ""
        return f"{head} of {name} is a successor head by the rules of chapter 8{where}{doubt}."
    return {
        "mover_and_mlp": f"{head} of {name} fetches the ordinal, and MLPs behind it step.",
        "coded": f"{head} of {name} is needed, and what it writes cannot be read, by the rules of chapter 8.",
        "none_found": f"No single head of {name} carries much.",
        "not_counting": f"{name} does not count well enough to be asked.",
    }[key]


def _effect(found: Found, name: str) -> str:
    part = found.part(name)
    return f"{part['total']:.0%} of the answer's lead ({part['low']:.0%} to {part['high']:.0%})"


def _successor_head(found: Found) -> str:
    name, null = str(successor_head(found)), found.depth.null
    own, part = found.depth.leading.set_index("head").loc[name], found.part(name)
    at = int(own["depth"])
    where = "what MLP0 makes of the embedding" if at == 0 else f"what stands at an ordinal's place after {at} blocks"
    through = f"; {_through(found)}" if name == found.top else ""
    return (
        f"**{found.model} counts with a successor head, {name}, by our rules.** Reading {where}, it scores {own['macro']:.2f} on "
        f"pairs that did not choose its depth (null of the search {null:.2f}). In lists it promotes the successor most on "
        f"{part['successor']:.0%} and the ordinal itself on {part['last']:.0%}{through}. With another list's output in its place {_effect(found, name)} is lost. "
        f"{_doubt(found)}Not shown: that it follows a rule."
    )


def _doubt(found: Found) -> str:
    """What the verdict hangs on: rules have no margin, and one null is for a search that the rules do not make."""
    key, head = key_of(found), successor_head(found)
    if head is not None and _copies_nearly_as_often(found, head):
        return f"{head} copies nearly as often as it steps, so a stricter rule would leave this open. "
    stepping = [
        str(row.head) for row in found.depth.leading.itertuples() if _steps(found, row, found.depth.leading_null)
    ]
    if (
        key in ("coded", "mover_and_mlp", "none_found")
        and stepping
        and found.part(stepping[0])["successor"] > by_lot(found)
    ):
        return f"Against luck among the heads with the largest effect alone {stepping[0]} would be a successor head. "
    return ""


def by_lot(found: Found) -> float:
    """On how many of the lists of confirmation a member drawn by lot would be the successor."""
    kept = found.gate[found.gate["kept"]]
    sizes = kept["class"].map(lambda task: len(ordinals.CLASSES[task].words))
    return float((kept["n_confirmation"] / sizes).sum() / kept["n_confirmation"].sum())


def _copies_nearly_as_often(found: Found, head: str) -> bool:
    part = found.part(head)
    return bool(part["successor"] - part["last"] < CLOSE)


def _through(found: Found) -> str:
    through = found.paths.set_index("way").loc["through MLPs"]
    return f"{through['share']:.0%} of its effect goes through MLPs behind it"


def _mover(found: Found) -> str:
    part = found.part(found.top)
    return (
        f"**{found.model} counts, and not with a successor head: {found.top} fetches the last ordinal, and MLPs behind it step.** "
        f"With another list's output in its place {_effect(found, found.top)} is lost; what it promotes most is the ordinal itself on {part['last']:.0%} of the "
        f"lists, the successor on {part['successor']:.0%}; {_through(found)}."
    )


def _coded(found: Found) -> str:
    part = found.part(found.top)
    return (
        f"**{found.model} counts; one head carries much of it, {found.top}, and what it writes we cannot read.** With another list's output in its place "
        f"{_effect(found, found.top)} is lost; what it writes is the ordinal in {part['last']:.0%} of the lists and the successor in "
        f"{part['successor']:.0%} (a member drawn by lot would be the successor in {by_lot(found):.0%}). By our rules it is neither a successor head nor a mover. {_doubt(found)}".strip()
    )


def _none(found: Found) -> str:
    return (
        f"**{found.model} counts, and no single head carries it.** The head that matters most, {found.top}, carries "
        f"{_effect(found, found.top)}. Work that several heads share is not ruled out."
    )


def _not_counting(found: Found) -> str:
    gate = found.gate
    right, n = int(gate["confirmation"].sum()), int(gate["n_confirmation"].sum())
    return (
        f"**{found.model} does not count well enough to ask how.** It continues {right} of {n} lists rightly, and "
        f"{int(gate['kept'].sum())} of {len(gate)} classes pass the gate."
    )


SENTENCES: dict[str, Callable[[Found], str]] = {
    "successor_head": _successor_head,
    "mover_and_mlp": _mover,
    "coded": _coded,
    "none_found": _none,
    "not_counting": _not_counting,
}
