"""What the closer questions of chapter 8 come to, by the rules that were announced, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from successor_heads import figures
from successor_heads.figures import PALETTE, Drawing, Table
from successor_heads.studies import Verdict, listed
from successor_heads.studies.models_of_today.closer import ASKED, TURN, Closer
from successor_heads.studies.models_of_today.rules import RULES

GEMMA = "published/gemma3-270m"
NEVER_FEW = 10  # neurons: what was expected to be too few
OTHER_LISTS = ("numbers of four digits", "Roman numerals")
PATCHED = {
    "query": "another list's query",
    "keys, exchanged": "keys exchanged",
    "keys, another list": "another list's keys",
}

Answer = tuple[str, bool]  # what came, and whether it was expected


# --- what it comes to -------------------------------------------------------------------------------


def looks_by(closer: Closer) -> str:
    """Whether the head finds the last ordinal by its "place", by the "ordinal" that stands there, or by "neither" alone."""
    row = _look(closer, "keys, exchanged")
    return "place" if row["difference_low"] > 0 else "ordinal" if row["difference_high"] < 0 else "neither"


def keeps_looking(closer: Closer) -> bool:
    """Whether the head looks at the last place with another list's query as well."""
    return bool(_look(closer, "query")["last"] >= ASKED["look"]["keeps"] * _look(closer, "nothing")["last"])


def _look(closer: Closer, patched: str) -> pd.Series:
    return closer.looks.set_index(["who", "patched"]).loc[(closer.head, patched)]


def _distracted(closer: Closer) -> pd.DataFrame:
    """The head's rows of the table of distractors, by place and word."""
    return closer.distractors[closer.distractors["who"] == closer.head].set_index(["where", "word"])


def holding(closer: Closer) -> dict[str, bool]:
    """By the kind of the word whether right answers hold in both places, beside those with the neutral word there."""
    right = _distracted(closer)["right"].unstack()
    kept = right.drop(columns="neutral").div(right["neutral"], axis=0) >= ASKED["distractors"]["holds"]
    return kept.all().to_dict()


def carriers(closer: Closer) -> dict[str, str]:
    """MLPs that alone make the model go on from the donor: whether they carry a "word", an "index", or what is only in other classes."""
    above = closer.mlps.assign(above=closer.mlps["share"] > closer.mlps["null"])
    by_donor = above.pivot(index="part", columns="donor", values="above").reindex(closer.mlps["part"].unique())
    kinds = {(True, False): "word", (True, True): "index", (False, True): "index of other classes only"}
    found = zip(by_donor.index, by_donor["same class"], by_donor["another class"])
    return {part: kinds[same, other] for part, same, other in found if (same, other) in kinds}


def half_of(closer: Closer) -> pd.DataFrame:
    """For each MLP, by its name, the row of the fewest of the sizes tried that have half of its effect."""
    enough = closer.neurons[closer.neurons["share"] >= 0.5]
    return enough.groupby("part", sort=False).first()


def carrying(closer: Closer) -> list[str]:
    """Subspaces that carry half of the head's effect, and more than any random one of as many dimensions."""
    rows = closer.subspace.dropna(subset="random_highest")
    rows = rows[(rows["share"] >= ASKED["subspace"]["carries"]) & (rows["share"] > rows["random_highest"])]
    return rows["subspace"].tolist()


def counts_on(row: pd.Series) -> bool:
    """Whether the model goes on rightly with lists of a kind that it has rarely read."""
    enough = row["right"] >= ASKED["rarely_read"]["counts"] * row["n"]
    return bool(enough and row["right_low"] > row["chance"])


def with_the_head(row: pd.Series) -> bool:
    """Whether the head that matters most in the chapter's lists is needed in those of this kind as well."""
    effects = RULES["effects"]
    large = row["lost"] >= effects["large"] and row["low"] >= effects["large_low"]
    return bool(large and row["lost"] > row["others_lost"])


def _of_looks(closer: Closer) -> Answer:
    by, keeps = looks_by(closer), keeps_looking(closer)
    intact, exchanged, query = (_look(closer, what)["last"] for what in ("nothing", "keys, exchanged", "query"))
    how = {"place": "by its place", "ordinal": "by the ordinal", "neither": "by neither alone"}[by]
    said = f"{how}: to the last place {intact:.2f}, {exchanged:.2f} with keys exchanged, {query:.2f} with another list's query"
    return said, by == "place" and keeps


def _of_distractors(closer: Closer) -> Answer:
    held, rows = holding(closer), _distracted(closer)
    others = rows.drop(index="neutral", level="word")
    looks = bool((others["last"] > others["to_word"]).all())
    right = rows["right"].unstack().mean()
    said = (
        f"answers {_hold(held)}: right {right['neutral']:.0%} behind a neutral word, {right['another list']:.0%} behind one of another list, "
        f"{right['same list']:.0%} of the same; the head looks {'more' if looks else 'not always more'} at the last ordinal than at the word"
    )
    return said, all(held.values()) and looks and bool(right["same list"] < right["another list"])


def _hold(held: dict[str, bool]) -> str:
    if all(held.values()):
        return "hold"
    return f"do not hold behind a word of {listed([kind for kind, holds in held.items() if not holds])}"


def _of_mlps(closer: Closer) -> Answer:
    found = carriers(closer)
    expected = {"MLP12": "index", "MLP13": "word"} if closer.model == GEMMA else {}
    said = ", ".join(f"{part} carries {'an' if kind[0] == 'i' else 'the'} {kind}" for part, kind in found.items())
    return said or "no MLP alone is above the null", found == expected


def _of_neurons(closer: Closer) -> Answer:
    found, few = half_of(closer), ASKED["neurons"]["few"]
    said = ", ".join(f"{row['size']} of the {row['width']:,} of {part}" for part, row in found.iterrows())
    as_expected = (found["size"] > NEVER_FEW) & (found["size"] < few * found["width"])
    return f"half of the effect in {said}", bool(as_expected.all())


def _of_subspace(closer: Closer) -> Answer:
    found = carrying(closer)
    share = closer.subspace.set_index("subspace")["share"]
    said = f"carrying half: {', '.join(found) or 'none'} (line {share['line']:.0%}, circle {share['circle']:.0%}, 16 components {share['16 components']:.0%})"
    return said, not {"line", "circle"} & set(found) and ("16 components" in found) == (closer.model == GEMMA)


def _of_rarely(closer: Closer) -> Answer:
    rows = closer.rarely.set_index("kind")
    going_on = {kind for kind, row in rows.iterrows() if counts_on(row)}
    same = {kind for kind in going_on if with_the_head(rows.loc[kind])}
    days = {kind for kind in rows.index if kind.startswith("days")}
    expected = {*OTHER_LISTS, "invented orders"} | (days if closer.model == GEMMA else set())
    asked = set(rows.index) - {"numbers below 100"}
    said = (
        f"goes on with {_kinds(going_on, closer)}; the head is needed for {_kinds(same, closer)}"
        if going_on
        else "goes on with none of them"
    )
    return said, going_on & asked == expected & asked and same & asked == (expected & asked) - {"invented orders"}


def _kinds(kinds: set[str], closer: Closer) -> str:
    return listed([kind for kind in closer.rarely["kind"] if kind in kinds]) or "none of them"


QUESTIONS: dict[str, Callable[[Closer], Answer]] = {
    "What does it look for?": _of_looks,
    "Can it be distracted?": _of_distractors,
    "Which MLP alone carries what?": _of_mlps,
    "How many neurons?": _of_neurons,
    "How many directions?": _of_subspace,
    "Lists rarely read?": _of_rarely,
}


def verdict_closer(found: Sequence[Closer]) -> Verdict:
    """How many of the answers were expected: "expected" if all were, "otherwise" if none was, else "mixed"."""
    answers = [question(each) for each in found for question in QUESTIONS.values()]
    n = sum(as_expected for _, as_expected in answers)
    key = "expected" if n == len(answers) else "otherwise" if not n else "mixed"
    looks = "; ".join(f"{each.head} of {each.model} {_looks_in_words(each)}" for each in found)
    lists = "; ".join(f"{each.model} {_of_rarely(each)[0]}" for each in found)
    return Verdict(
        key,
        f"**Of {len(answers)} answers {n} came as we had written down.** {looks}. Of lists rarely read {lists}. "
        "Not shown: why, and what the head reads of an ordinal before it.",
    )


def _looks_in_words(closer: Closer) -> str:
    by = {
        "place": "looks at the last place, whichever ordinal's key stands there",
        "ordinal": "looks for the ordinal, wherever its key stands",
        "neither": "looks by place and by ordinal at once",
    }[looks_by(closer)]
    return by + (", and with another list's query as well" if keeps_looking(closer) else ", and its own query matters")


def draw_answers(found: Sequence[Closer]) -> Table:
    """The questions, what came on each model, and whether it had been expected."""
    whose = " ".join(
        f"{each.model}: {each.head}, {each.n_lists} lists of confirmation, beside it {each.control}." for each in found
    )
    return table_of_answers(
        {each.model: {asked: question(each) for asked, question in QUESTIONS.items()} for each in found},
        details=f"What counts as what stands in the rules of chapter 8, under `closer`. {whose}",
    )


def table_of_answers(answers: Mapping[str, Mapping[str, Answer]], *, details: str) -> Table:
    """By model and question what came and whether it had been expected, a question a row."""
    every = [answer for of_model in answers.values() for answer in of_model.values()]
    asked = list(dict.fromkeys(question for of_model in answers.values() for question in of_model))
    rows = [(question, *(cell for own in answers.values() for cell in _cells(own[question]))) for question in asked]
    columns = ["question", *(name for model in answers for name in (model, f"expected ({short(model)})"))]
    n = sum(as_expected for _, as_expected in every)
    return Table(
        pd.DataFrame(rows, columns=columns),
        caption=f"{n} of {len(every)} answers are what was written down before the runs.",
        details=f"An answer is as expected only if all of it is. {details}",
    )


def _cells(answer: Answer) -> tuple[str, str]:
    return answer[0], "yes" if answer[1] else "no"


def short(model: str) -> str:
    return model.removeprefix("published/").split("-")[0]


# --- what is drawn ----------------------------------------------------------------------------------


def draw_looks(found: Sequence[Closer]) -> Drawing:
    """Where the head looks when its query, or its keys, are those of another list; another head of its layer beside it."""
    figs, axes = figures.panels(len(found), height=3.0)
    for each, ax in zip(found, axes):
        own = each.looks[each.looks["who"] == each.head]
        places = -np.arange(len(own))
        for column, color, shift in (("last", "orange", 0.12), ("first", "blue", -0.12)):
            _dots(ax, own, column, places + shift, color=color, label=f"the {column} place")
        other = each.looks[each.looks["who"] == each.control]
        ax.scatter(other["last"], places, color=PALETTE["grey"], marker="x", s=30, label=f"{each.control}, the last")
        names = [PATCHED.get(what, "its own") for what in own["patched"]]
        ax.set(
            yticks=places,
            yticklabels=names,
            xlim=(-0.03, 1.03),
            title=f"{each.head} of {short(each.model)}",
            xlabel="attention",
        )
        _legend_below(ax, len(own))
    return Drawing(
        figs,
        alt=[
            f"Dots: attention of {each.head} of {each.model} to the last and the first place under four patches."
            for each in found
        ],
        caption="; ".join(f"{each.head} of {each.model} {_looks_in_words(each)}" for each in found) + ".",
        details="From the last position, on lists of three. Exchanged: keys from the list with its first and last members in each other's place, all else the same; another list: keys, or the query, from the donor. "
        "Values are always the list's own. Of the lead there is lost by that attention alone "
        + "; ".join(
            f"in {each.model} "
            + ", ".join(
                f"{row['lost']:.0%} ({row['low']:.0%} to {row['high']:.0%}) with {PATCHED[row['patched']]}"
                for _, row in _patched(each).iterrows()
            )
            for each in found
        )
        + ". 95% intervals over last ordinals.",
    )


def _patched(closer: Closer) -> pd.DataFrame:
    rows = closer.looks[closer.looks["who"] == closer.head]
    return rows[rows["patched"] != "nothing"]


def draw_distractors(found: Sequence[Closer]) -> Drawing:
    """Right answers with another word in front of the list, by its kind and by where it stands."""
    figs, axes = figures.panels(len(found), height=3.3)
    for each, ax in zip(found, axes):
        rows = _distracted(each).reset_index()
        places = -np.arange(len(rows))
        _dots(ax, rows, "right", places, color="blue", bounds=("low", "high"), label="right answers")
        ax.scatter(rows["last"], places, color=PALETTE["orange"], marker="D", s=28, label=f"{each.head} to the last")
        ax.scatter(rows["to_word"], places, color=PALETTE["grey"], marker="x", s=30, label=f"{each.head} to the word")
        names = [f"{row.word}, {row.where}" for row in rows.itertuples()]
        ax.set(yticks=places, yticklabels=names, xlim=(-0.03, 1.03), title=short(each.model), xlabel="share")
        _legend_below(ax, len(rows))
    told = "; ".join(f"in {each.model} {_of_distractors(each)[0]}" for each in found)
    return Drawing(
        figs,
        alt=[
            f"Dots: right answers of {each.model}, and where {each.head} looks, with another word in front of the list."
            for each in found
        ],
        caption=told[0].upper() + told[1:] + ".",
        details=f"Every second list of confirmation, behind “{ASKED['distractors']['before']}” (before) or “{ASKED['distractors']['within']}” (within); the neutral word is “{ASKED['distractors']['neutral']}”. "
        + " ".join(
            f"{each.model}: the successor of a word of the same list is said on "
            f"{_distracted(each)['distractor'].unstack()['same list'].mean():.0%}; {each.control} attends "
            f"{each.distractors.loc[each.distractors['who'] == each.control, 'last'].mean():.2f} to the last ordinal; {int(each.distractors['n'].iloc[0])} lists."
            for each in found
        )
        + " 95% intervals over last ordinals.",
    )


def draw_mlps(found: Sequence[Closer]) -> Drawing:
    """How often the model goes on from the donor when one MLP writes what it wrote there, by layer."""
    figs, axes = figures.panels(len(found), height=2.8)
    for each, ax in zip(found, axes):
        for (donor, rows), color in zip(each.mlps.groupby("donor", sort=False), ("orange", "blue")):
            layers = rows["part"].str.removeprefix("MLP").astype(int).to_numpy()
            ax.vlines(
                layers, rows["low"].to_numpy(), rows["high"].to_numpy(), color=PALETTE[color], linewidth=1, alpha=0.5
            )
            ax.plot(layers, rows["share"], color=PALETTE[color], marker="o", markersize=3, label=donor)
            ax.axhline(rows["null"].iloc[0], color=PALETTE[color], linestyle=":", linewidth=1.2)
        ax.set(title=short(each.model), xlabel="MLP of layer", ylabel="goes on from the donor")
        ax.set_ylim(0, 2 * max(each.mlps["null"].max(), each.mlps["high"].max()))  # with room for the legend
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.legend(loc="upper left", title="donor of")
    return Drawing(
        figs,
        alt=[f"Lines: share of lists that {each.model} goes on with from the donor, by MLP." for each in found],
        caption="; ".join(f"{each.model}: {_of_mlps(each)[0]}" for each in found) + ".",
        details=f"Dotted: what the best of all MLPs does not exceed in {RULES['thresholds']['crossing_level']:.1%} of {RULES['thresholds']['crossing_permutations']:,} shuffles of the donors. Strokes are 95% intervals over last ordinals. "
        "An MLP that carries the word moves the answer only with a donor of the same class. "
        "The null is a strict one: under a shuffle a donor may ask for the answer that is right anyway, which an MLP that does little leaves as it is.",
    )


def draw_neurons(found: Sequence[Closer]) -> Drawing:
    """The share of an MLP's effect that its leading neurons have, beside as many random ones."""
    figs, axes = figures.panels(len(found), height=2.8)
    for each, ax in zip(found, axes):
        for (part, rows), color in zip(each.neurons.groupby("part", sort=False), ("orange", "blue")):
            ax.fill_between(rows["size"], rows["low"], rows["high"], color=PALETTE[color], alpha=0.2, linewidth=0)
            ax.plot(rows["size"], rows["share"], color=PALETTE[color], marker="o", markersize=3, label=part)
            ax.plot(rows["size"], rows["random"], color=PALETTE[color], linestyle=":", linewidth=1.2)
        ax.axhline(0.5, color=figures.INK, linewidth=0.8)
        ax.set(
            title=short(each.model),
            xscale="log",
            xlabel="neurons, the leading first",
            ylabel="of the MLP's effect",
            ylim=(-0.1, 1.6),
        )
        ax.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.legend(loc="upper left")
    return Drawing(
        figs,
        alt=[
            f"Lines: share of the effect of two MLPs of {each.model} by the number of neurons that are exchanged."
            for each in found
        ],
        caption="; ".join(f"{each.model}: {_of_neurons(each)[0]}" for each in found) + ".",
        details="Neurons have at the last position the values that they have on the donor's list. Ranked by the gradient of the lead on the lists of discovery, "
        f"measured on those of confirmation. Dotted: as many random neurons, mean of {ASKED['neurons']['random'].split()[0]} sets; "
        + "; ".join(
            f"the highest of {each.model} at the size that has half: "
            + ", ".join(f"{part} {row['random_highest']:.0%}" for part, row in half_of(each).iterrows())
            for each in found
        )
        + _leading(found)
        + ". Bands are 95% intervals over last ordinals; more than 100% where others hold against it.",
    )


def _leading(found: Sequence[Closer]) -> str:
    """The leading neurons of the MLPs, the first of them first, as far as they are named."""
    named = [
        f"{part} of {each.model} {rows['which'].iloc[-1]}"
        for each in found
        for part, rows in each.neurons[each.neurons["which"] != ""].groupby("part", sort=False)
    ]
    return f". The leading ones, counted from 0: {'; '.join(named)}" if named else ""


def draw_subspaces(found: Sequence[Closer]) -> Drawing:
    """The share of the head's effect in subspaces of what it writes, learned on other classes' lists."""
    figs, axes = figures.panels(len(found), height=2.9)
    for each, ax in zip(found, axes):
        rows = each.subspace.dropna(subset="random_highest")
        figures.interval_bars(
            ax, values=rows["share"], intervals=rows[["low", "high"]].to_numpy(), names=rows["subspace"]
        )
        ax.scatter(
            rows["random_highest"], np.arange(len(rows))[::-1], color=PALETTE["red"], marker="|", s=120, zorder=3
        )
        ax.set(
            title=f"{each.head} of {short(each.model)}",
            xlabel="of the head's effect",
            xlim=(min(0, rows["low"].min()) - 0.02, 1.05),
        )
        ax.xaxis.set_major_formatter(PercentFormatter(1))
    return Drawing(
        figs,
        alt=[f"Bars: share of the effect of {each.head} of {each.model} in subspaces of its output." for each in found],
        caption="; ".join(f"{each.model}: {_of_subspace(each)[0]}" for each in found) + ".",
        details=f"The donor's part in the subspace alone, on lists of classes that it was not learned on. Line: along which the output changes with the index; circle: in which it turns once in {TURN} members. "
        f"Red: the highest of {ASKED['subspace']['random']}. "
        + " ".join(
            f"{each.model}: the donor's successor is said on {each.subspace['said'].iloc[-1]:.0%} with all {int(each.subspace['dimensions'].iloc[-1])} dimensions, on {each.subspace['said'].iloc[-2]:.0%} with {each.subspace['subspace'].iloc[-2]}."
            for each in found
        ),
    )


def draw_rarely(closer: Closer) -> Table:
    """How one model goes on with lists that it has rarely read, and what is left without the head."""
    rows = [
        (
            row["kind"],
            f"{row['right']:.0f} of {row['n']:.0f}",
            f"{row['without']:.0f} ({row['without_others']:.1f})",
            "–" if np.isnan(row["lost"]) else f"{row['lost']:.0%} ({row['low']:.0%} to {row['high']:.0%})",
            ("the same head" if with_the_head(row) else "too little by the rule")
            if counts_on(row)
            else "does not count",
        )
        for _, row in closer.rarely.iterrows()
    ]
    columns = ["list", "right", f"without {closer.head} (others)", "lead lost without it", "verdict"]
    said = _of_rarely(closer)[0]
    return Table(
        pd.DataFrame(rows, columns=columns),
        caption=f"{closer.model} {said}.",
        details=f"Others: mean over random heads; without the worst of these {'; '.join(f'{row.kind} {row.others_lost:.0%}' for row in closer.rarely.itertuples())} of the lead is lost. "
        f"By chance one would be right on {'; '.join(f'{row.kind} {row.chance:.0%}' for row in closer.rarely.itertuples())}. {closer.head} attends to the last member: "
        f"{'; '.join(f'{row.kind} {row.attention:.2f}' for row in closer.rarely.itertuples())}. Numbers: the answer's digits but the last are given. "
        "Intervals over last members; few lists of each kind, so that an effect of a third may be missed.",
    )


def _dots(
    ax: Axes,
    rows: pd.DataFrame,
    column: str,
    places: np.ndarray,
    *,
    color: str,
    label: str,
    bounds: tuple[str, str] | None = None,
) -> None:
    """Dots with their intervals."""
    low, high = bounds or (f"{column}_low", f"{column}_high")
    ax.hlines(places, rows[low], rows[high], color=PALETTE[color], linewidth=1.6)
    ax.scatter(rows[column], places, color=PALETTE[color], s=34, zorder=3, label=label)


def _legend_below(ax: Axes, n_rows: int) -> None:
    """A legend in room of its own under rows that stand at 0, -1, ..."""
    ax.set_ylim(-1.4 * n_rows - 0.9, 0.5)
    ax.legend(loc="lower left", borderaxespad=0)
