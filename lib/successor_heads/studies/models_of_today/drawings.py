"""What chapter 8 shows: figures of one or several models, each from what was found on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from successor_heads import figures, intervals, reported
from successor_heads.figures import PALETTE, Drawing, Table
from successor_heads.live import Living
from successor_heads.studies import list_name
from successor_heads.studies.models_of_today.found import Found
from successor_heads.studies.models_of_today.instruments import ORDERS
from successor_heads.studies.models_of_today.known import rightly
from successor_heads.studies.models_of_today.rules import RULES, printed
from successor_heads.studies.models_of_today.verdicts import NAMES, key_of

MOST_PARTS = 8  # bars of a panel
MOST_WAYS = 5  # arrows of a circuit
LEAST_WAY = 0.05  # of the head's effect


def draw_rules() -> Markdown:
    """The rules as they were announced."""
    return Markdown(f"Announced on {RULES['registered']}:\n\n```yaml\n{printed()}```")


UNASKED = "No model shown here counts well enough to ask this."


def _asked(found: Sequence[Found]) -> list[Found]:
    """The models that count: there is no share of a lead that a model does not have."""
    return [each for each in found if each.counts]


def _not_asked(found: Sequence[Found]) -> str:
    """Which models are left out of a figure, and why."""
    return "".join(f" {each.model} does not count well enough, and is not asked." for each in found if not each.counts)


def draw_verdicts(found: Sequence[Found]) -> Table:
    """One row a model: the canonical score, the best over depths, the head with the largest effect, and the verdict."""
    rows = []
    for each in found:
        depth, part = each.depth, each.part(each.top)
        at, best, macro = depth.best
        rows.append(
            (
                each.model,
                f"{depth.canonical[1]:.2f} ({depth.canonical_null:.2f})",
                f"{best} {macro:.2f} at {at or 'MLP0'} ({depth.null:.2f})",
                f"{each.top} {part['total']:.2f} ({part['low']:.2f}–{part['high']:.2f})" if each.counts else "–",
                NAMES[key_of(each)],
            )
        )
    frame = pd.DataFrame(
        rows, columns=["model", "canonical (null)", "best at a depth (null)", "lead lost without", "verdict"]
    )
    return Table(
        frame,
        caption="Do they count with a head? Rules written after a first look and before these runs; heads are chosen on some lists and judged on others.",
        details="Canonical: macro of the best head on MLP0 of the bare embedding. Best at a depth: over all heads and depths, such as after 4 blocks (“at 4”). In brackets what "
        f"the best of the search does not exceed in {RULES['depth']['level']:.1%} of permuted successors. Lead lost: share of the right answer's "
        "lead over its class that goes when the head writes what it writes on another list, on the lists of confirmation, with its "
        "95% interval. "
        + " ".join(
            f"{each.model} was measured {'for this page' if each.is_live else 'before, and comes with the book'}."
            for each in found
        ),
    )


def draw_gate(found: Sequence[Found]) -> Drawing:
    """Right answers by class on the lists of confirmation."""
    figs, axes = figures.panels(len(found), height=0.3 * max(len(each.gate) for each in found) + 0.9)
    said = []
    for each, ax in zip(found, axes):
        gate = each.gate[each.gate["n_confirmation"] > 0]
        right, n = gate["confirmation"], gate["n_confirmation"]
        bounds = [intervals.wilson(int(k), int(of)) for k, of in zip(right, n)]
        figures.interval_bars(ax, values=right / n, intervals=bounds, names=list(map(list_name, gate["class"])))
        ax.set(title=each.model, xlabel="right in class")
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        said.append(f"{each.model} {int(right.sum())} of {int(n.sum())}")
    return Drawing(
        figs,
        alt=[f"Bars: right answers of {each.model} by class." for each in found],
        caption="On lists that nothing was chosen on, the answer is right in its class on "
        + ", ".join(said)
        + " lists.",
        details="95% Wilson intervals. Classes that miss the gate of one half on the lists of discovery: "
        + "; ".join(
            f"{each.model}: {', '.join(map(list_name, each.gate.loc[~each.gate['kept'], 'class'])) or 'none'}"
            for each in found
        )
        + ". Highest in the whole vocabulary: "
        + "; ".join(f"{each.model} {int(each.gate['vocabulary'].sum())}" for each in found)
        + ".",
    )


def draw_orders(found: Sequence[Found]) -> Drawing:
    """What is said when what stands before the last ordinal is not in order."""
    figs, axes = figures.panels(len(found), height=3.0)
    for each, ax in zip(found, axes):
        table = each.orders
        places = -np.arange(len(table))
        ax.scatter(table["successor"], places, color=PALETTE["orange"], s=40, label="successor of the last", zorder=3)
        ax.scatter(table["last"], places, color=PALETTE["blue"], s=40, marker="D", label="the last again", zorder=3)
        ax.set(yticks=places, yticklabels=table["shown"], xlim=(-0.03, 1.03), title=each.model, xlabel="of the lists")
        _legend_below(ax, len(table))
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(axis="y", alpha=0.3)
    first = {each.model: each.orders.set_index("shown")["successor"] for each in found}
    told = "; ".join(
        f"{model} says the successor of the last ordinal on {shares.get('in order', np.nan):.0%} of lists in order and on "
        f"{shares.get('descending', np.nan):.0%} of those that descend"
        for model, shares in first.items()
    )
    return Drawing(
        figs,
        alt=[f"Dots: what {each.model} says after lists in five orders." for each in found],
        caption=told + ".",
        details="The same last ordinal each time; what stands before it, as places from it: "
        + ", ".join(f"{order} {offsets}" for order, offsets in ORDERS.items())
        + ".",
    )


def draw_depths(found: Sequence[Found]) -> Drawing:
    """The best macro at each depth, with the null of the whole search."""
    figs, axes = figures.panels(len(found), height=2.7)
    told = []
    for each, ax in zip(found, axes):
        curve = each.depth.by_front[each.depth.by_front["front"] == "beginning of text"]
        ax.plot(curve["depth"], curve["macro"], color=PALETTE["blue"], marker="o", markersize=4)
        ax.axhline(each.depth.null, color=PALETTE["grey"], linestyle="--", linewidth=1.2)
        ax.annotate(
            "null",
            (1, each.depth.null),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            color=PALETTE["grey"],
        )
        ax.set(title=each.model, xlabel="blocks before the head reads", ylim=(0, 1.03), ylabel="macro of the best head")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        at, best, macro = each.depth.best
        above = "above" if macro > each.depth.null else "not above"
        told.append(f"{each.model} {macro:.2f} ({best} at {at or 'MLP0'}), {above} its null {each.depth.null:.2f}")
    return Drawing(
        figs,
        alt=[f"Line: macro of the best head of {each.model} by depth." for each in found],
        caption="The best over all heads and depths: " + "; ".join(told) + ".",
        details="0 is MLP0 of the bare embedding, the canonical score. "
        + " ".join(
            f"{each.model}: {each.depth.n_searched:,} heads at depths searched; the two halves of the pairs choose "
            f"{' and '.join(f'{head} at {at}' for at, head in each.depth.chosen)}, which score {each.depth.macro:.2f} on the other half."
            for each in found
        ),
    )


def draw_fronts(found: Sequence[Found]) -> Drawing:
    """The best macro at each depth by what stands in front of the token."""
    figs, axes = figures.panels(len(found), height=3.6)
    for each, ax in zip(found, axes):
        for (front, curve), color in zip(each.depth.by_front.groupby("front", sort=False), PALETTE.values()):
            ax.plot(curve["depth"], curve["macro"], color=color, label=front)
        ax.set(title=each.model, xlabel="blocks before the head reads", ylabel="macro of the best head")
        ax.set(ylim=(-0.95, 1.03), yticks=np.linspace(0, 1, 6))  # with room for the legend under the lines
        ax.legend(loc="lower left", title="in front", borderaxespad=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    lows = [each.depth.by_front.groupby("front")["macro"].max() for each in found]
    return Drawing(
        figs,
        alt=[
            f"Lines: macro of the best head of {each.model} by depth, one line for each thing in front."
            for each in found
        ],
        caption="With nothing in front the best is "
        + ", ".join(
            f"{low['nothing']:.2f} in {each.model} ({low['beginning of text']:.2f} behind a beginning of text)"
            for low, each in zip(lows, found)
        )
        + ".",
        details="The first token of a text is one on which heads rest: what stands in the stream there says more about the place than about the word.",
    )


def draw_parts(found: Sequence[Found]) -> Drawing | Markdown:
    """The parts without which most of the lead is lost, on the lists of confirmation."""
    every, found = found, _asked(found)
    if not found:
        return Markdown(UNASKED)
    figs, axes = figures.panels(len(found), height=0.3 * MOST_PARTS + 0.9)
    for each, ax in zip(found, axes):
        table = each.parts.dropna(subset="total").head(MOST_PARTS)
        places = -np.arange(len(table))
        colors = [PALETTE["orange"] if head >= 0 else PALETTE["blue"] for head in table["head"]]
        ax.barh(places, table["total"], color=colors, height=0.62)
        ax.hlines(places, table["low"], table["high"], color=figures.INK, linewidth=1.4)
        ax.scatter(table["direct"], places, color=figures.INK, marker="|", s=90, zorder=3)
        ax.axvline(0, color=figures.INK, linewidth=0.8)
        ax.set(yticks=places, yticklabels=table["part"], title=each.model, xlabel="share of the lead that is lost")
        ax.tick_params(axis="y", length=0)
    told = ", ".join(
        f"{each.part(each.top)['total']:.0%} without {each.top} in {each.model}, and {each.heads['total'][1]:.0%} without the next head"
        for each in found
    )
    return Drawing(
        figs,
        alt=[
            f"Bars: share of the answer's lead lost without each of {MOST_PARTS} parts of {each.model}; heads orange, MLPs blue."
            for each in found
        ],
        caption=f"Of the answer's lead there is lost {told}.",
        details="Heads orange, MLPs blue; the tick is the direct effect. Parts in the order of their effect on the lists of discovery, effects on those of "
        "confirmation: the part writes what it writes on another list of the class and frame; more than 100% is lost where the answer falls below the mean of its rivals. 95% intervals over last ordinals. "
        + " ".join(
            f"{each.model}: intact lead {each.lead:.1f} logits; "
            + ", ".join(
                f"right on {row.right:.0%} with {row.heads} head{'s' * (row.heads != 1)} replaced"
                + (f" ({row.others:.0%} with others)" if row.others == row.others else "")
                for row in each.together.itertuples()
            )
            + "."
            for each in found
        )
        + _not_asked(every),
    )


def draw_writes(found: Sequence[Found]) -> Table | Markdown:
    """What the leading parts look at and write."""
    every, found = found, _asked(found)
    if not found:
        return Markdown(UNASKED)
    rows = [
        (f"{each.model} {row.part}", row.attention, row.last, row.successor)
        for each in found
        for row in pd.concat([each.heads.head(3), each.mlps.head(2)]).itertuples()
    ]
    return Table(
        pd.DataFrame(
            rows, columns=["part", "attention to the last ordinal", "writes that ordinal", "writes its successor"]
        ),
        caption="Where the parts with the largest effect look from the last position, and which member of the list they promote most: shares of the lists of confirmation.",
        details="Promoted: what the part adds to each member's logit by way of the final norm alone, beyond what it adds on average over the lists of that class and frame."
        + _not_asked(every),
    )


def draw_exchange(found: Sequence[Found]) -> Drawing | Markdown:
    """What is said when the head with the largest effect, or the three, write what they wrote on a donor's list."""
    every, found = found, _asked(found)
    if not found:
        return Markdown(UNASKED)
    kinds = list(dict.fromkeys(kind for each in found for kind in each.donors["donor"]))
    figs, axes = figures.panels(len(found), height=0.42 * len(kinds) + 1.7)
    told = []
    for each, ax in zip(found, axes):
        for (n_heads, table), color, shift in zip(each.donors.groupby("heads"), PALETTE.values(), (0.14, -0.14)):
            places = np.array([-kinds.index(kind) for kind in table["donor"]]) + shift
            ax.hlines(places, table["low"], table["high"], color=color, linewidth=1.6)
            ax.scatter(
                table["share"],
                places,
                color=color,
                s=34,
                zorder=3,
                label="one head" if n_heads == 1 else f"{n_heads} heads",
            )
            ax.scatter(table["null"], places, color=figures.INK, marker="|", s=70, zorder=4)
        ax.set(
            yticks=-np.arange(len(kinds)), yticklabels=[kind.replace("same ordinal, ", "same ordinal,\n") for kind in kinds],
            xlim=(-0.03, 1.03), title=each.model, xlabel="of the lists",
        )  # fmt: skip  # what is set is one thing
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        _legend_below(ax, len(kinds))
        across = each.donors[each.donors["donor"] == "another class"].iloc[0]
        told.append(f"{across['who']} of {each.model} {across['share']:.0%} (shuffled donors {across['null']:.0%})")
    return Drawing(
        figs,
        alt=[
            f"Dots with intervals: answers of {each.model} after one head, or three, are given a donor's output."
            for each in found
        ],
        caption="Given what it wrote on a list of another class, the head has the successor of that index said: "
        + "; ".join(told)
        + ".",
        details="Same class, another class: the share of lists on which the successor of the donor's last ordinal is said, in the class of the list that is read; the tick is "
        f"what shuffled donors do not exceed in {RULES['thresholds']['crossing_level']:.1%} of {RULES['thresholds']['crossing_permutations']:,} shuffles. Same ordinal: the "
        "share on which the right answer is still said when the donor ends in the same ordinal, but what stands before it is in another order. "
        + " ".join(f"{each.model}: {', '.join(dict.fromkeys(each.donors['who']))}." for each in found)
        + _not_asked(every),
    )


def _legend_below(ax: Axes, n_rows: int) -> None:
    """A legend in room of its own under rows that stand at 0, -1, ...: in every panel, so that they stay aligned."""
    ax.set_ylim(-n_rows - 0.9, 0.5)
    ax.legend(loc="lower left", borderaxespad=0)


def draw_stream(found: Sequence[Found]) -> Drawing | Markdown:
    """Where in the stream the last ordinal, and its successor, come to be highest."""
    every, found = found, _asked(found)
    if not found:
        return Markdown(UNASKED)
    figs, axes = figures.panels(len(found), height=2.7)
    told = []
    for each, ax in zip(found, axes):
        table = each.stream
        for column, color, label in (("last", "blue", "the ordinal"), ("successor", "orange", "its successor")):
            ax.plot(table["block"], table[column], color=PALETTE[color], label=label)
            ax.plot(table["block"], table[f"learned {column}"], color=PALETTE[color], linestyle=":", linewidth=1.2)
        layer = int(each.part(each.top)["layer"])
        ax.axvline(layer + 1, color=PALETTE["grey"], linewidth=1)
        ax.annotate(
            each.top,
            (layer + 1, 1.0),
            ha="right",
            va="top",
            xytext=(-3, 0),
            textcoords="offset points",
            color=PALETTE["grey"],
        )
        ax.set(title=each.model, xlabel="after block", ylim=(0, 1.03), ylabel="highest, of the lists")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        after = table.set_index("block").loc[layer + 1]
        told.append(
            f"behind the block of {each.top} in {each.model} the ordinal is highest on {after['last']:.0%} of the lists and its successor on {after['successor']:.0%}"
        )
    axes[0].legend(loc="upper left")
    return Drawing(
        figs,
        alt=[
            f"Lines: share of lists on which the last ordinal, or its successor, is highest in the stream of {each.model}, by block."
            for each in found
        ],
        caption="At the last position, " + "; ".join(told) + ".",
        details="Solid: the model's own last norm and unembedding, less the mean over lists of the class and frame. Dotted: a linear map from the stream to unembeddings, "
        "fitted on the lists of all other classes. Block 0 is the embedding." + _not_asked(every),
    )


def draw_circuit(found: Sequence[Found]) -> Living | Markdown:
    """By way of which parts the head with the largest effect reaches the answer; on the page layer by layer, with all numbers."""
    every, found = found, _asked(found)
    if not found:
        return Markdown(UNASKED)
    figs, axes = figures.panels(len(found), height=3.3)
    told = []
    for each, ax in zip(found, axes):
        ways = each.paths.set_index("way")
        _draw_ways(ax, each)
        told.append(
            f"{ways.loc['direct', 'share']:.0%} of the effect of {each.top} in {each.model} goes straight to the answer, {ways.loc['through MLPs', 'share']:.0%} through MLPs"
        )
    still = Drawing(
        figs,
        alt=[
            f"A diagram: the last ordinal, {each.top} of {each.model}, the parts that read it, and the answer, with shares on the arrows."
            for each in found
        ],
        caption="; ".join(told) + ".",
        details="An arrow's share is of the head's total effect: by way of that part alone, all others held as on the intact run; parts may need one another, so shares need not sum to 1. "
        + " ".join(_circuit_told(each) for each in found)
        + _not_asked(every),
    )
    rows = [
        (each.model, f"{each.top} → {'answer' if row.way == 'direct' else row.way}", row.share, row.low, row.high)
        for each in found
        for row in _leading_ways(each).itertuples()
    ]
    table = Table(
        pd.DataFrame(rows, columns=["model", "way", "share of its effect", "from", "to"]),
        caption="By way of what the head with the largest effect acts, with 95% intervals.",
    )
    options = {"models": [_circuit_in_numbers(each, said) for each, said in zip(found, told)]}
    return Living("circuit", still, model=None, table=table, options=options)


def _leading_ways(found: Found) -> pd.DataFrame:
    """The direct way, and those by a part alone that carry the most of the head's effect."""
    alone = found.paths[~found.paths["way"].isin(["direct", "through MLPs", "through heads"])]
    leading = alone[alone["share"] >= LEAST_WAY].nlargest(MOST_WAYS, "share")
    return pd.concat([found.paths[found.paths["way"] == "direct"], leading])


def _circuit_in_numbers(found: Found, said: str) -> dict[str, Any]:
    """What the living figure shows of a model: its leading parts and ways, and the stream block by block."""
    ways = _leading_ways(found)
    followed = found.parts[found.parts["total"].notna()]
    chosen = followed[(followed["total"] >= LEAST_WAY) | followed["part"].isin([found.top, *ways["way"]])]
    parts = [
        {"name": row.part, "layer": int(row.layer), "head": None if row.head < 0 else int(row.head)}
        | {key: _plain(getattr(row, key)) for key in ("total", "low", "high", "direct", "attention", "last", "successor")}
        for row in chosen.itertuples()
    ]  # fmt: skip  # a row a line
    return {
        "name": found.model,
        "layers": found.n_layers,
        "top": found.top,
        "parts": parts,
        "ways": [{"way": row.way} | {key: _plain(getattr(row, key)) for key in ("share", "low", "high")} for row in ways.itertuples()],
        "stream": [[_plain(row.last), _plain(row.successor)] for row in found.stream.itertuples()],
        "said": f"{said[0].upper()}{said[1:]}.",
        "alt": f"A diagram of {found.model}: {found.n_layers} layers from below, the last ordinal on the left, at the last position {len(parts)} parts, the stream and the answer on the right. {found.top} attends to the last ordinal with {found.part(found.top)['attention']:.0%} and acts on the answer by "
        + ", ".join(f"{row.way} {row.share:.0%}" for row in ways.itertuples())
        + ".",
    }  # fmt: skip  # one value a line


def _plain(value: float) -> float | None:
    """A number as JSON has it; None for what was not measured."""
    return None if np.isnan(value) else round(float(value), 4)


def _draw_ways(ax: Axes, found: Found) -> None:
    """One panel: the ordinal below, the answer on top, the parts between by their layer."""
    ways = _leading_ways(found).set_index("way")
    leading = ways.drop("direct")
    xs = np.linspace(-1, 1, len(leading)) if len(leading) > 1 else np.zeros(len(leading))
    arrow = {"arrowstyle": "->", "shrinkA": 9, "shrinkB": 9}
    look = found.part(found.top)["attention"]
    _box(ax, 0, 0, "last ordinal", "grey")
    _box(ax, 0, 1, found.top, "orange")
    _box(ax, 0, 3, "answer", "grey")
    ax.annotate("", (0, 1), (0, 0), arrowprops=arrow | {"color": figures.INK})
    ax.text(0.06, 0.5, f"attends {look:.0%}", va="center")
    for x, (name, row) in zip(xs, leading.iterrows()):
        x = 1.35 * x if abs(x) > 0.01 else 0.0
        _box(ax, x, 2, str(name), "blue" if str(name).startswith("MLP") else "orange")
        for start, end in (((0, 1), (x, 2)), ((x, 2), (0, 3))):
            ax.annotate(
                "", end, start, arrowprops=arrow | {"color": PALETTE["blue"], "linewidth": 0.8 + 4 * row["share"]}
            )
        ax.text(
            x, 1.68, f"{row['share']:.0%}", ha="center", va="center", bbox={"facecolor": "none", "edgecolor": "none"}
        )
    ax.plot([0.45, 2.1, 2.1], [1, 1, 3], color=figures.INK, linewidth=1)
    ax.annotate("", (0.5, 3), (2.1, 3), arrowprops=arrow | {"color": figures.INK, "shrinkB": 0, "shrinkA": 0})
    ax.text(2.1, 1.15, f"direct {ways.loc['direct', 'share']:.0%}", ha="right", va="center")
    ax.set(xlim=(-2.2, 2.2), ylim=(-0.3, 3.3), title=found.model)
    ax.axis("off")


def _box(ax: Axes, x: float | int, y: float | int, text: str, color: str) -> None:
    ax.text(
        x,
        y,
        text,
        ha="center",
        va="center",
        bbox={"boxstyle": "round,pad=0.3", "facecolor": "none", "edgecolor": PALETTE[color]},
    )


def _circuit_told(found: Found) -> str:
    """The circuit that the rules choose, and how it does on the lists of confirmation."""
    chosen = found.circuit[found.circuit["circuit"] == "chosen"].iloc[0]
    random = found.circuit[found.circuit["circuit"] == "random"].iloc[0]
    n_parts = found.n_layers * (found.n_heads + 1)
    return (
        f"{found.model}: the smallest circuit by the rules has {int(chosen['size'])} of {n_parts} parts ({', '.join(found.nodes[:10])}{', …' if len(found.nodes) > 10 else ''}); "
        f"on the lists of confirmation it restores {chosen['restored']:.0%} of the lead ({chosen['restored_low']:.0%} to {chosen['restored_high']:.0%}), without it {chosen['left']:.0%} is left; "
        f"random circuits of that make-up restore {random['restored']:.0%}."
    )


# In what SmolLM2 and Gemma 3 differ from most of the paper's models, and which of those have it as well: by family, and by
# model where not all of it have it. Shapes and sizes are those of the published configurations.
DIFFERENCES: list[tuple[str, str, tuple[str, str | None] | None]] = [
    ("size", "both: 135 and 268 million", ("gpt2", "small, six models")),
    ("embeddings are tied", "both", ("gpt2", None)),
    ("numbers go digit by digit", "both", ("llama", None)),
    ("gated MLPs", "both", ("llama", None)),
    ("a trillion tokens of text or more", "both", ("llama", None)),
    ("narrow for its depth", "SmolLM2: 19 for each block", ("pythia", "14m")),
    ("heads share keys and values", "both", None),
    ("rounded to four bits", "both", None),
    ("tuned on instructions", "SmolLM2", None),
]
FAMILIES = {"pythia": "Pythia", "gpt2": "GPT-2", "llama": "Llama"}


def draw_recurring(found: Sequence[Found]) -> Drawing:
    """The paper's models by its own score and by size, and what has been scored since, under its line."""
    table, half = reported.best_scores(), reported.cutoff()
    fig, ax = figures.panel(height=3.2)
    for (family, name), color in zip(FAMILIES.items(), PALETTE.values()):
        own = table[table["family"] == family]
        ax.scatter(own["parameters"], own["score"], color=color, s=30, alpha=0.8, linewidths=0, label=name)
    here = [each.depth.paper[1] for each in found]
    ax.scatter([each.n_parameters for each in found], here, color=PALETTE["red"], marker="D", s=40, label="shown here")
    ax.axhline(half, color=figures.INK, linewidth=1, linestyle=":")
    ax.set(xscale="log", ylim=(-0.02, 1.05), xlabel="parameters", ylabel="score of the best head")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncol=4)
    below = int((table["score"] < half).sum())
    counting = [each for each in found if each.counts]
    same = sum(each.depth.paper[0] == each.top for each in counting)
    lucky = ", ".join(f"1 in {each.n_layers * each.n_heads} in {each.model}" for each in counting)
    return Drawing(
        fig,
        alt=f"Dots: the paper's {len(table)} models by size and score, {below} below one half; with them {len(found)} models of today.",
        caption=f"Of the paper's own {len(table)} models {below} lie below its line at one half; by the same score so do "
        f"{sum(value < half for value in here)} of the {len(found)} models shown here. In {same} of the {len(counting)} that count it "
        "ranks first the head that matters most in lists.",
        details="The paper's models: Figure 2, left, of version 1, at the sizes that their names give. Models of today: the best head by the paper's own score, "
        + ", ".join(_by_paper(each) for each in found)
        + "; by the canonical one, "
        + ", ".join(f"{each.depth.canonical[0]} {each.depth.canonical[1]:.2f}" for each in found)
        + f". 95% intervals, forms of a word together; the null is what the best of all heads does not exceed in {RULES['depth']['level']:.1%} of permuted successors. "
        "That the first head is the one that matters most was noticed after the runs"
        + (f"; a head picked at random is it {lucky}." if counting else "."),
    )


def draw_differences() -> Table:
    """What could have made the difference: a difference that a model above the paper's line has is not enough by itself."""
    table, half = reported.best_scores(), reported.cutoff()
    rows, settled = [], 0
    for what, ours, shared in DIFFERENCES:
        own = table[:0] if shared is None else table[table["family"] == shared[0]]
        own = own if shared is None or shared[1] is None else own[own["model"] == shared[1]]
        best = float(own["score"].max()) if len(own) else np.nan
        settled += best > half
        named = "–" if shared is None else " ".join([FAMILIES[shared[0]], (shared[1] or "").split(",")[0]]).strip()
        rows.append(
            (what, ours, named, "–" if shared is None else f"{best:.2f}", "not enough" if best > half else "open")
        )
    return Table(
        pd.DataFrame(rows, columns=["difference", "here", "paper's, with it", "best of these", "by itself"]),
        caption=f"Of {len(rows)} differences {settled} do not preclude such a head: a model of the paper has them, and a head above its line. They may still make one less likely.",
        details="Best score of the paper's models that share the difference, Figure 2, left, of version 1. Together such differences may matter all the same. What would decide each that is open: "
        "one recipe, trained with that alone changed, over several seeds; for the rounding, the same score on the weights as they were released; for the tuning, on the model before it.",
    )


def _by_paper(found: Found) -> str:
    depth = found.depth
    low, high = depth.paper_interval
    above = "above" if depth.paper[1] > depth.paper_null else "not above"
    return f"{depth.paper[0]} of {found.model} {depth.paper[1]:.2f} ({low:.2f} to {high:.2f}; {above} its null {depth.paper_null:.2f})"


def draw_known(plants: pd.DataFrame, twins: pd.DataFrame, grown: pd.DataFrame) -> Table:
    """What each instrument of chapter 8, and all its rules together, call models whose answer is known: an instrument a row."""
    counted = {}
    for kind, rows in [*plants.groupby("kind", sort=False), ("grown", grown)]:
        right = rightly(rows)
        counted["grown" if kind == "grown" else f"planted {kind}"] = [
            f"{int(own.sum())} of {int(own.count())}" if own.count() else "–" for _, own in right.items()
        ]
    frame = pd.DataFrame(counted, index=pd.Index(rightly(plants).columns, name="rightly called by")).reset_index()
    all_rules = rightly(plants)["all rules together"]
    sizes = plants.groupby("kind", sort=False)["circuit"].agg(["min", "max"])
    return Table(
        frame,
        caption=f"The instruments of chapter 8 where the answer is known: {int(all_rules.sum())} of {len(plants)} plants are called rightly by all rules together, and {int(twins['alarm'].sum())} of {len(twins)} networks that learned nothing raise an alarm.",
        details="Rightly called: the search names a successor head, and not a mover; the head without which most is lost is the known one; a successor head writes the successor on most lists and "
        f"a mover the ordinal; less than {RULES['thresholds']['through_mlps']:.0%} of a successor head's effect goes through MLPs, of a mover's at least that; what a mover writes crosses lists; the circuit has the head. "
        "A plant is shown one ordinal among other words, for its head attends to every ordinal in sight. Parts in the circuit: "
        + ", ".join(f"{kind} {row['min']} to {row['max']}" for kind, row in sizes.iterrows())
        + f". Of networks with random weights the search is asked: an alarm is any head above the null on pairs that did not choose its depth (null of {float(twins['null'].mean()):.2f} on average); the best of the search, "
        f"not held out, is above it in {int(twins['best_above'].sum())}. Grown models are known by chapter 1's score alone, an instrument of the same kind that does not say by what way the head acts: {', '.join(grown['kind'])}.",
    )
