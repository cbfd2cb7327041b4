"""What the first page shows besides quotations: what runs come to, two published models' figures, and the first living figure of chapter 1.

A card's title asks, and whatever answers follows from what is stored: more runs, or another verdict, change the page.
"""

from bs4 import BeautifulSoup

from successor_heads import intervals, records
from successor_heads.growing import observe
from successor_heads.studies import growing, listed, models_of_today

# As quotations name them, and as the study has stored them; and as prose does.
PUBLISHED = {"smollm2": "published/smollm2", "gemma3": "published/gemma3-270m"}
IN_PROSE = {"published/smollm2": "SmolLM2", "published/gemma3-270m": "Gemma 3"}
CAME = {"expected": "it did", "partly": "it did in part", "otherwise": "it did not"}
# What chapter 1's verdict comes to, by its key.
OF_THE_HEAD = {
    "shared": "From weights alone one head of `{model}` names most successors, and it shares its work with others.",
    "alone": "From weights alone one head of `{model}` names most successors, and the model's lists depend on it.",
    "unused": "From weights alone one head of `{model}` names most successors, and without it the model's lists go on.",
    "another_way": "From weights alone no head of `{model}` names successors beyond chance, and yet a few heads carry its lists.",
    "not_shown": "From weights alone no head of `{model}` names successors beyond chance.",
}
EXPLORER = "book/explorer.html"
INVITATION = "<p>Choose a head and a word. The model itself runs in this page, once you ask for it.</p>"


def sentences(chapters):
    """What the first page says of the runs, from the records of this build and from what comes with the book; all is Markdown."""
    announced = growing.measure(observe.stored(observe.ANNOUNCED_RUNS))
    published = [models_of_today.stored(model) for model in PUBLISHED.values()]
    said, control = rule_or_table(announced)
    return {
        "head": next((of_the_head(record) for record in chapters if record["chapter"] == "01-find-heads"), ""),
        "rule_or_table": said,
        "rule_or_table_control": control,
        "settled": settled(announced),
        "tens_are": of_the_tens(announced, growing.earlier(observe.stored())),
        "published": by_chapter_1(published),
        "published_how": " ".join(models_of_today.in_short(found, IN_PROSE[found.model]) for found in published),
    }


def of_the_head(record):
    """What chapter 1 found on the model of this build."""
    verdict = record.get("tables", {}).get("verdict")
    return OF_THE_HEAD[verdict[0]["key"]].format(model=record["model"]) if verdict else ""


def _asked(found):
    """The rows of chapter 6 that decide between rule and table: those that are settled, and the others."""
    rows = found.generalisation
    rows = rows[rows["arm"] == "parts"] if len(rows) else rows
    return (
        (rows[rows["verdict"].isin(growing.SETTLED)], rows[~rows["verdict"].isin(growing.SETTLED)])
        if len(rows)
        else (rows, rows)
    )


def settled(found):
    """How many of the announced answers are settled, and as what."""
    done, waiting = _asked(found)
    n = len(done) + len(waiting)
    if not len(done):
        return "Whether models like it know a rule, or a table of pairs, is not settled yet."
    as_what = listed([growing.VERDICTS[key] for key in growing.SETTLED if key in set(done["verdict"])])
    return f"Whether models like it know a rule, or a table of pairs, is settled in {len(done)} of {n} comparisons of an announced experiment: {as_what}."


def rule_or_table(found):
    """What grown models make of pairs that their text never gives in order, and the control: neighbours, and the text that should bring out a rule."""
    done, waiting = _asked(found)
    if not len(done) + len(waiting):
        return "Not run yet.", ""
    said = []
    for key, rows in done.groupby("verdict", sort=False):
        each = [
            f"{growing.PART_NAMES[row.part]} {growing.MEASURE_NAMES[row.by]} **{row.held:.2f}** ({row.held_low:.2f} to {row.held_high:.2f})"
            for row in rows.itertuples()
        ]
        said.append(f"Settled as {growing.VERDICTS[key]}, with the share that is right: {'; '.join(each)}.")
    left = [f"{growing.VERDICTS[key]} in {n}" for key, n in waiting["verdict"].value_counts().items()]
    if left:
        said.append(f"Not settled are {len(waiting)}: {listed(left)}.")
    if "not_learned" in set(waiting["verdict"]):
        said.append("Where even pairs that were shown are not learned, nothing follows.")
    seen = [f"{row.seen:.2f} ({row.seen_low:.2f} to {row.seen_high:.2f})" for row in done.itertuples()]
    if late := growing.late_sentence(found):
        said.append(late)
    digits = next(outcome for outcome in found.outcomes if outcome.title.startswith("3 "))
    control = f"a token for each digit was expected to bring out a rule; {CAME.get(digits.key, 'that is not settled')}."
    control += growing.control_sentence(found).replace("\n\n", " ")
    if seen:
        return " ".join(said), f"of pairs that were read in order {listed(seen)} are right; {control}"
    return " ".join(said), control


def of_the_tens(found, earlier):
    """Whether the runs of the tens were announced, and whether all came as was expected."""
    _, which = growing.tens_of(found, earlier)
    (outcome,) = [outcome for outcome in found.outcomes if outcome.title.startswith("9 ")]
    if which != "announced" or outcome.key not in CAME:
        return which.capitalize()
    return f"Announced, with what was expected to come; {CAME[outcome.key]}"


def by_chapter_1(published):
    """Whether chapter 1's score finds a head in the published models that count."""
    counting = [found for found in published if found.counts]
    above = [found for found in counting if found.depth.canonical[1] > found.depth.canonical_null]
    if not counting:
        return "Two published models do not count well enough to be asked."
    heads = f"in {listed([IN_PROSE[found.model] for found in above])}" if above else "in none of them"
    named = [IN_PROSE[found.model] for found in counting if models_of_today.key_of(found) == "successor_head"]
    deeper = (
        f", and by the rules of chapter 8, which look deeper, one head of {listed(named)} is a successor head"
        if named
        else ""
    )
    return f"Published models count as well, {listed([IN_PROSE[found.model] for found in counting])}; by the score of chapter 1 a head is better than luck {heads}{deeper}."


def published_findings():
    """Of each published model, by its name in prose: the findings of chapter 8 as they are stored, in the form of a record."""
    return {name: of_published(models_of_today.stored(model)) for name, model in PUBLISHED.items()}


def of_published(found):
    """Of one model: how many lists it continues, its best head by the canonical score with the null, what its first and second head carry."""
    kept = found.gate[found.gate["kept"]]
    right, n = int(kept["confirmation"].sum()), int(kept["n_confirmation"].sum())
    low, high = intervals.wilson(right, n)
    heads = found.parts[found.parts["head"] >= 0]  # the one that matters most comes first
    (_, first), (_, second) = list(heads.iterrows())[:2]
    return {
        "right": records.finding(right, n=n),
        "right_share": records.finding(right / n, low=low, high=high, n=n),
        "canonical": records.finding(found.depth.canonical[1]),
        "canonical_null": records.finding(found.depth.canonical_null),
        "at_a_depth": records.finding(found.depth.best[2]),
        "at_a_depth_null": records.finding(found.depth.null),
        "lead_lost": records.finding(first["total"], low=first["low"], high=first["high"]),
        "lead_lost_next": records.finding(second["total"], low=second["low"], high=second["high"]),
    }


def write_explorer(site, notebook):
    """The first living figure of a chapter as a file for the first page. On a model that cannot run in a page it is empty."""
    outputs = [
        output.get("data", {}).get("text/html", "") for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    living = next((text for text in outputs if "sh-live" in text), "")
    for table in (block := BeautifulSoup(living, "html.parser")).select("details.sh-details"):
        table.extract()  # the chapter has them
    (site / EXPLORER).write_text(f"{INVITATION}\n{block}\n" if living else "", encoding="utf8")
