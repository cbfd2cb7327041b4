"""What chapter 8's findings come to, by the rules that were announced."""

from __future__ import annotations

from successor_heads.studies import Verdict
from successor_heads.studies.models_of_today.found import Found
from successor_heads.studies.models_of_today.rules import RULES


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
    """The head that is a successor head by the rules, if there is one."""
    depth = found.depth
    name = depth.chosen[0][1]
    leading = found.heads["part"][: RULES["effects"]["ranked"]].tolist()
    if not depth.agree or name not in leading:
        return None
    part = found.part(name)
    steps = depth.macro > depth.copying and part["successor"] > part["last"]
    return name if depth.macro > depth.null and steps and part["low"] > 0 else None


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


def _effect(found: Found, name: str) -> str:
    part = found.part(name)
    return f"{part['total']:.0%} of the answer's lead ({part['low']:.0%} to {part['high']:.0%})"


def _successor_head(found: Found) -> str:
    name, depth = successor_head(found), found.depth
    at = depth.chosen[0][0]
    where = "what MLP0 makes of the embedding" if at == 0 else f"what stands at an ordinal's place after {at} blocks"
    return (
        f"**{found.model} counts with a successor head, {name}.** Reading {where}, it scores {depth.macro:.2f} on pairs that "
        f"did not choose it (null of the search {depth.null:.2f}). In lists it writes the successor, and without it "
        f"{_effect(found, str(name))} is lost. Not shown: that it follows a rule."
    )


def _mover(found: Found) -> str:
    part, through = found.part(found.top), found.paths.set_index("way").loc["through MLPs"]
    return (
        f"**{found.model} counts, and not with a successor head: {found.top} fetches the last ordinal, and MLPs behind it step.** "
        f"It carries {_effect(found, found.top)}; what it writes is the ordinal itself in {part['last']:.0%} of the lists, the "
        f"successor in {part['successor']:.0%}; {through['share']:.0%} of its effect goes through MLPs."
    )


def _coded(found: Found) -> str:
    part = found.part(found.top)
    return (
        f"**{found.model} counts, and one head carries much of it in a code that we cannot read: {found.top}.** Without it "
        f"{_effect(found, found.top)} is lost; what it writes is the ordinal in {part['last']:.0%} of the lists and the successor in "
        f"{part['successor']:.0%}. By our rules it is neither a successor head nor a mover."
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


SENTENCES = {
    "successor_head": _successor_head,
    "mover_and_mlp": _mover,
    "coded": _coded,
    "none_found": _none,
    "not_counting": _not_counting,
}
