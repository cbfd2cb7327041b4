"""What the further questions of chapter 8 come to, by the rules that were announced, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from successor_heads import figures
from successor_heads.figures import PALETTE, Drawing, Table
from successor_heads.studies import Verdict, list_name, listed
from successor_heads.studies.models_of_today import closer_shown
from successor_heads.studies.models_of_today.closer_shown import GEMMA, Answer, short
from successor_heads.studies.models_of_today.further import ASKED, LEADING, LEVEL, N_MATCHED, Further, agreement

ANNOUNCED, LATER = "odd", "any"  # where lists start: as announced, and as added
FEWEST_MOVING = 2  # neurons of the four, for something in common
GOING_ROUND = {GEMMA: {"days", "months"}}


# --- what it comes to -------------------------------------------------------------------------------


def moves(row: pd.Series) -> bool:
    """Whether a neuron moves with the index across lists."""
    return bool(abs(row["score"]) >= ASKED["neurons"]["moves"] and abs(row["score"]) > row["permuted"])


def moving(found: Further, places: str) -> dict[str, list[int]]:
    """By MLP its leading neurons that move with the index across lists which start at these places."""
    rows = found.neurons[found.neurons["places"] == places]
    return {
        str(part): [int(row["neuron"]) for _, row in own.iterrows() if moves(row)]
        for part, own in rows.groupby("part", sort=False)
    }


def sharing(found: Further, places: str) -> list[str]:
    """MLPs whose leading neurons have the index in common: enough of them move, and all four more than matched ones do."""
    mean = found.neurons[found.neurons["places"] == places].groupby("part", sort=False).first()
    return [
        part
        for part, own in moving(found, places).items()
        if len(own) >= FEWEST_MOVING and mean.loc[part, "mean"] > mean.loc[part, "draws"]
    ]


def going_round(found: Further) -> list[str]:
    """Classes in which what the head hands on goes round."""
    rows = found.circles
    fits = (rows["circle"] > rows["permuted"]) & (rows["circle"] > rows["line"]) & (rows["lowest"] > 0)
    return rows.loc[fits, "class"].tolist()


def crossing(found: Further) -> list[str]:
    """Kinds of numbers in which the last digit crosses tens."""
    return found.digits.loc[found.digits["share"] > found.digits["null"], "kind"].tolist()


def same_by_means(found: Further) -> bool:
    """Whether the same head, and the same two MLPs, have the largest effect when parts write their mean."""
    heads, mlps = (found.means.loc[found.means["is_mlp"] == is_mlp, "part"].tolist() for is_mlp in (False, True))
    return heads[0] == found.head and set(mlps[: len(found.mlps)]) == set(found.mlps)


def of_its_layer(found: Further) -> str:
    """The MLP of the head's own layer."""
    return f"MLP{found.head[1:].split('H')[0]}"


def _of_neurons(found: Further) -> Answer:
    return _neurons_in_words(found, ANNOUNCED), sharing(found, ANNOUNCED) == [of_its_layer(found)]


def _neurons_in_words(found: Further, places: str) -> str:
    shared = sharing(found, places)
    said = "; ".join(
        f"{part}: {len(own)} of {LEADING} move with the index" + (f" ({', '.join(map(str, own))})" if own else "")
        for part, own in moving(found, places).items()
    )
    return f"{said}; in common in {listed(shared) if shared else 'neither'}"


def _of_circles(found: Further) -> Answer:
    round_ = going_round(found)
    said = listed(list(map(list_name, round_))) if round_ else "no list"
    return f"what {found.head} hands on goes round in {said}", set(round_) == GOING_ROUND.get(found.model, set())


def _of_digits(found: Further) -> Answer:
    crosses = crossing(found)
    told = ", ".join(f"{row.kind} {row.share:.0%} (shuffled {row.null:.0%})" for row in found.digits.itertuples())
    expected = set(found.digits["kind"]) if found.model == GEMMA else set()
    return f"the donor's digit is gone on from: {told}", set(crosses) == expected


def _of_repeats(found: Further) -> Answer:
    rows = found.repeats.set_index("kind")
    able = [kind for kind, row in rows.iterrows() if closer_shown.counts_on(row)]
    needed = [kind for kind in able if closer_shown.with_the_head(rows.loc[kind])]
    told = ", ".join(f"{kind} {row['right']:.0f} of {row['n']:.0f}" for kind, row in rows.iterrows())
    head = (
        f"{found.head} is needed for {listed(needed) if needed else 'neither'}"
        if able
        else "too few to ask for the head"
    )
    return f"right: {told}; {head}", len(able) == len(rows) and not needed


def _of_means(found: Further) -> Answer:
    heads, mlps = (found.means[found.means["is_mlp"] == is_mlp] for is_mlp in (False, True))
    told = ", ".join(
        f"{row.part} {row.share:.0%}" for rows, n in ((heads, 1), (mlps, 2)) for row in rows.head(n).itertuples()
    )
    return f"{'the same parts' if same_by_means(found) else 'other parts'} lead: {told} of the lead lost", same_by_means(found)  # fmt: skip  # one answer


QUESTIONS: dict[str, Callable[[Further], Answer]] = {
    "Do the few neurons move with the index?": _of_neurons,
    "Does it go round where the list does?": _of_circles,
    "Does a last digit cross tens?": _of_digits,
    "Is the head needed where a list repeats?": _of_repeats,
    "Do the same parts lead with means?": _of_means,
}


def verdict_neurons(found: Sequence[Further]) -> Verdict:
    """Whether the few neurons have the index in common: "shared" in all models, "some" or "none"; in at least one MLP each."""
    having = [each.model for each in found if sharing(each, ANNOUNCED)]
    key = "none" if not having else "shared" if len(having) == len(found) else "some"
    lead = {
        "shared": "The few neurons have something in common: they move with the index, in one list as in another",
        "some": f"In {listed(having)} alone the few neurons move with the index, in one list as in another",
        "none": "The few neurons do not move with the index in one list as in another",
    }[key]
    told = "; ".join(
        f"{_n_moving(each, ANNOUNCED)} of {2 * LEADING} in {each.model} ({_n_moving(each, LATER)} on lists from any place)"
        for each in found
    )
    return Verdict(
        key,
        f"**{lead}.** By the rule do {told}. Noticed afterwards: {'; '.join(map(_agreeing, found))}. "
        "Not shown: that other neurons agree less, or that it is the index that they answer to.",
    )


def _n_moving(found: Further, places: str) -> int:
    return sum(map(len, moving(found, places).values()))


def _agreeing(found: Further) -> str:
    """How many of the first neurons of both MLPs agree between lists, index by index."""
    table = agreement(found.values, seed=found.seed)
    above = table[table["agreement"] > table["permuted"]]
    size = f"{above['agreement'].min():.2f} to {above['agreement'].max():.2f}; " if len(above) else ""
    permuted = table["permuted"].iloc[0]
    return (
        f"in {found.model} {len(above)} of {len(table)} leading neurons have like values at like indices of other lists "
        f"({size}permuted {permuted:.2f})"
    )


def verdict_further(found: Sequence[Further]) -> Verdict:
    """How many of the answers were expected: "expected" if all were, "otherwise" if none was, else "mixed"."""
    answers = [question(each) for each in found for question in QUESTIONS.values()]
    n = sum(as_expected for _, as_expected in answers)
    key = "expected" if n == len(answers) else "otherwise" if not n else "mixed"
    told = ". ".join(
        f"In {each.model} {_of_repeats(each)[0]}; {_of_circles(each)[0]}; {_of_means(each)[0]}" for each in found
    )
    return Verdict(
        key,
        f"**Of {len(answers)} further answers {n} came as we had written down.** {told}. Not shown: what any of it is in "
        "a larger model.",
    )


# --- what is drawn ----------------------------------------------------------------------------------


def draw_answers(found: Sequence[Further]) -> Table:
    """The further questions, what came on each model, and whether it had been expected."""
    lists = "; ".join(
        f"{each.model} "
        + ", ".join(f"{list_name(row['class'])} {row['circle']:.2f} and {row['line']:.2f}" for _, row in each.circles.iterrows())
        for each in found
    )  # fmt: skip  # one list
    lost = "; ".join(
        f"{each.model} "
        + ", ".join(f"{row.kind} " + ("–" if np.isnan(row.lost) else f"{row.lost:.0%} ({row.low:.0%} to {row.high:.0%})") for row in each.repeats.itertuples())
        for each in found
    )  # fmt: skip  # one list
    return closer_shown.table_of_answers(
        {each.model: {asked: question(each) for asked, question in QUESTIONS.items()} for each in found},
        details="What counts as what stands in the rules of chapter 8, under `further`. Rank correlation of distances between "
        f"what the head hands on with those round the circle and along the line: {lists}. Of the lead without the head is lost, where lists repeat: {lost}.",
    )


def draw_neurons(each: Further) -> Table:
    """An MLP's leading neurons a row: how they move with the index, how others do, and what they promote."""
    first, later = (each.neurons[each.neurons["places"] == places] for places in (ANNOUNCED, LATER))
    rows = [
        (f"{one['part']}, {one['neuron']:.0f}", _scored(one), _scored(other), f"{other['matched']:.2f}", f"{other['writes']:+.2f}")
        for (_, one), (_, other) in zip(first.iterrows(), later.iterrows())
    ]  # fmt: skip  # a row a line
    columns = ["neuron", "lists from odd places", "from any place", "others there (size)", "what it promotes"]
    told = "; ".join(
        f"{part}, {row['places']} places ({row['classes']} classes): the four {row['mean']:.2f}, draws of others at most {row['draws']:.2f}, best of four with permuted indices at most {row['permuted']:.2f}"
        for part, row in each.neurons.groupby(["part", "places"], sort=False).first().reset_index("places").iterrows()
    )
    return Table(
        pd.DataFrame(rows, columns=columns),
        caption=f"Leading neurons of {each.model}: rank correlation of their value with the index, averaged over lists; a star where they move with it by the rule.",
        details=f"Lists of confirmation; the neurons lead by gradient on lists of discovery. Others: mean size over {N_MATCHED} neurons of the MLP that differ as much between lists. "
        f"Sizes on average: {told} (level {LEVEL:.1%}). What it promotes: the same correlation of the logits of its output by itself. Lists from any place were added to the rules after SmolLM2's first answer.",
    )


def _scored(row: pd.Series) -> str:
    return f"{row['score']:+.2f}" + "*" * moves(row)


# What is counted, by color: a legend of three.
KINDS = {"number_words": "numbers and ordinals", "days": "days and months", "letters": "letters"}
KIND_OF = {"numbers": "number_words", "ordinal_words": "number_words", "day_prefixes": "days", "months": "days", "month_prefixes": "days"}  # fmt: skip
LAST_DRAWN = 12  # index


def draw_values(found: Sequence[Further]) -> Drawing:
    """How the first neurons of the MLP in the head's layer go with the index, a line a class."""
    own = {each.model: each.values[each.values["part"] == of_its_layer(each)] for each in found}
    chosen = [(each, neuron) for each in found for neuron in own[each.model]["neuron"].unique()]
    figs, axes = figures.panels(len(chosen), height=2.8, columns=2)
    colors = dict(zip(KINDS, ("orange", "blue", "grey")))
    for (each, neuron), ax in zip(chosen, axes):
        rows = own[each.model][own[each.model]["neuron"] == neuron]
        for task, its in rows.groupby("class", sort=False):
            kind = KIND_OF.get(str(task), str(task))
            shown = its[its["index"] <= LAST_DRAWN].sort_values("index")
            ax.plot(shown["index"], shown["value"], color=PALETTE[colors[kind]], alpha=0.7, marker="o", markersize=3)
        ax.axhline(0, color=figures.INK, linewidth=0.8)
        ax.set(title=f"{short(each.model)}, neuron {neuron}", xlabel="index of the last ordinal", ylabel="value")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [Line2D([], [], color=PALETTE[colors[kind]], label=label) for kind, label in KINDS.items()]
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high + 0.7 * (high - low))  # with room for the legend
    axes[0].legend(handles=handles, loc="upper right")
    return Drawing(
        figs,
        alt=[
            f"Lines: value of neuron {neuron} of {each.model} against the index of the last ordinal, one for each list."
            for each, neuron in chosen
        ],
        caption="One line a list: the values of the two leading neurons of the MLP in the head's layer, by the index of the last ordinal.",
        details=f"Means over the frames of confirmation, lists from any place; up to index {LAST_DRAWN}.",
    )
