"""Chapter 5's check of its rules by readers: would somebody who sees a winning case call it what the rules call it?

::

    python -m successor_heads.studies.blind_check draw grown/pythia FOLDER --texts generated documentation books
    python -m successor_heads.studies.blind_check collect FOLDER --readers "Who they are."

The first command draws cases and writes into FOLDER what readers are given, `sheet.md` and `question.md`, with no
label of any rule in them, and what they are not given, `cases.json`. Each reader answers with a list of labels, in the
order of the sheet: `labels-1.json`, `labels-2.json`. Whoever was given the cases in another order, or another
question, has these beside: `order-3.json`, the numbers of the cases in the sheet, and `question-3.md`. The second command puts cases and labels into the record that comes with the
book, which the chapter shows::

    cases = blind_check.stored()
    blind_check.agreement(cases, "reader 1", "reader 2").kappa
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Num

from successor_heads import anatomy, behaviours, figures, files, intervals, models, ndif, ordinals, texts
from successor_heads.behaviours import BEHAVIOURS, EVIDENCE, RULES, Reading
from successor_heads.errors import UserError, told
from successor_heads.figures import Drawing, Table
from successor_heads.studies import Place, natural_text

SCHEMA = 3  # of the evidence file
N_CASES = 100
OURS = ("generated", "documentation")  # texts that everybody has who has this package
STORED = EVIDENCE / "blind-cases.json"
QUESTION = """\
# What does the head do here?

A language model reads a text and guesses the next token. It is made of many parts called attention heads. At each of
the {n} places of the sheet one and the same head did more for the token that comes next in the text, the *answer*, than
any other head of the model. What would you call what the head does there?

Each case shows

- the text before the answer, {window} tokens of it at most. `¶` stands between two documents; a text that was cut begins with `…`;
- the answer, between quotation marks, so that spaces and line breaks (`\\n`) can be seen;
- the tokens that the head attends to most, most first: each with its share of the head's attention, and how many
  tokens before the end of the shown text it stands (0 is the last token). Some stand further back than the text that is shown;
- the effect: by how much the head itself raises the answer, in logits.

Choose one label a case:

- `successorship`: the head looks at a member of an ordered list (numbers as digits or words, days, months, letters,
  ordinals, Roman numerals) and raises the next one;
- `acronym`: it looks at a word and raises the letter that stands for this word in an acronym, or the acronym;
- `copying`: it looks at something in the text and raises the same thing again;
- `greater-than`: it looks at a member of an ordered list and raises one that comes later, but not next;
- `other`: anything else, and also where one of the above would hold by coincidence only.

Tokens are often pieces of words. Judge by what you see; there is no quota of any label, and a case may be hard to call.
Look at each case by itself, work alone, and do not run or look up anything. Answer with a JSON list of {n} strings in the
order of the sheet, each one of the five labels.
"""


# --- drawing cases ----------------------------------------------------------------------------------


def cases_of(readings: Sequence[Reading], place: Place) -> pd.DataFrame:
    """All winning cases of a head in some texts, as `behaviours.winning_cases`, with the text and the document of each."""
    layer, head = place
    tables = []
    for reading in readings:
        cases = behaviours.winning_cases(reading.tokens, reading.effects, layer=layer, head=head)
        tables.append(cases.assign(text=reading.text.name, document=reading.document[cases["context"]]))
    return pd.concat(tables, ignore_index=True)


def draw(cases: pd.DataFrame, *, n: int, seed: int) -> pd.DataFrame:
    """`n` of the cases in random order: as many from each text, and of a text as many of each behaviour, as there are.

    Behaviours are those of the paper's rules. Most cases have none: drawn from all alike, a hundred would hardly hold
    one of succession. Cases of one context are alike: a context gives a second case of a behaviour when each has given its first.
    """
    rng = np.random.default_rng(seed)
    mixed = cases.iloc[rng.permutation(len(cases))]
    turn = mixed.groupby(["text", "context", "paper"]).cumcount()
    mixed = mixed.iloc[np.argsort(turn, kind="stable")]
    by_text = mixed["text"].value_counts()
    chosen = []
    for text, of_text in evenly({text: int(by_text[text]) for text in cases["text"].unique()}, n).items():
        there = mixed[mixed["text"] == text]
        counts = there["paper"].value_counts()
        wanted = evenly({name: int(counts.get(name, 0)) for name in BEHAVIOURS}, of_text)
        chosen += [there[there["paper"] == name].head(count) for name, count in wanted.items()]
    drawn = pd.concat(chosen)
    return drawn.iloc[rng.permutation(len(drawn))].reset_index(drop=True)


def evenly(there: Mapping[str, int], n: int) -> dict[str, int]:
    """`n` things shared out among kinds, one after the other in turn, of which only so many are there; all if they are fewer."""
    given = dict.fromkeys(there, 0)
    for _ in range(min(n, sum(there.values()))):
        given[min((kind for kind in there if given[kind] < there[kind]), key=lambda kind: given[kind])] += 1
    return given


def shown(drawn: pd.DataFrame, readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """What is kept of drawn cases: the last tokens before the answer, and what is attended to, but no label.

    "source" is the beginning of the first line of the document in which the context starts: of a book, its title.
    """
    by_name = {reading.text.name: reading for reading in readings}
    rows = []
    for case in drawn.itertuples():
        reading = by_name[case.text]
        tokens = reading.tokens[case.context]
        first = max(0, case.prefix + 1 - natural_text.WINDOW)
        rows.append(
            {
                "text": case.text,
                "document": int(case.document),
                "source": reading.text.documents[case.document].strip().splitlines()[0].lstrip("# ")[:60],
                "context": case.context,
                "prefix": case.prefix,
                "before": ("…" if first else "") + "".join(tokens[first : case.prefix + 1]),
                "answer": case.answer,
                "attended": [
                    [token, round(weight, 2), case.prefix - at]
                    for token, weight, at in zip(case.read, case.weight, case.attended, strict=True)
                ],
                "effect": round(case.effect, 2),
            }
        )
    return rows


def sheet(rows: Sequence[Mapping[str, Any]]) -> str:
    """What a reader is given, as Markdown: the cases with their numbers, and neither the text's name nor any label."""
    parts = ["# Cases", ""]
    for number, row in enumerate(rows, 1):
        attended = "; ".join(f"{_between(token)} {weight:.2f} ({back} back)" for token, weight, back in row["attended"])
        parts += [
            f"## {number}", "", "Text before the answer:", "", "~~~~~~", row["before"], "~~~~~~", "",
            f"Answer: {_between(row['answer'])}", "", f"Attended: {attended}", "", f"Effect: {row['effect']:.2f}", "",
        ]  # fmt: skip  # the lines of one case
    return "\n".join(parts)


def _between(token: str) -> str:
    """A token between quotation marks, with line breaks to be seen."""
    return json.dumps(token, ensure_ascii=False)


# --- what readers said ------------------------------------------------------------------------------


def collect(folder: Path, *, readers: str) -> dict[str, Any]:
    """The evidence: the cases of a folder, with the labels of those who read its sheet. Raises UserError for labels that do not fit."""
    payload = json.loads((folder / "cases.json").read_text(encoding="utf8"))
    paths, n = sorted(folder.glob("labels-*.json")), len(payload["cases"])
    if len(paths) < 2:
        raise UserError(
            f"{folder} holds the labels of {len(paths)} readers: a check of readers needs labels-1.json and labels-2.json."
        )
    asked = []
    for path in paths:
        labels = json.loads(path.read_text(encoding="utf8"))
        order = json.loads(_own(path, "order", ".json") or json.dumps(list(range(1, n + 1))))
        if len(labels) != n or not set(labels) <= set(BEHAVIOURS) or sorted(order) != list(range(1, n + 1)):
            raise UserError(
                f"{path} is no list of {n} labels, each one of {', '.join(BEHAVIOURS)}, or its order is none: have it answered anew."
            )
        for number, label in zip(order, labels, strict=True):
            payload["cases"][number - 1].setdefault("labels", []).append(label)
        asked.append({"question": _own(path, "question", ".md") or payload["question"], "order": order})
    del payload["question"]
    for case in payload["cases"]:  # the text of a folder is no part of this project: its cases keep their place in it
        if case["text"] not in OURS:
            del case["before"]
    return {"schema": SCHEMA, **payload, "readers": readers, "asked": asked}


def _own(labels: Path, name: str, suffix: str) -> str:
    """What one reader alone was given, beside the labels; empty where it was the same as for all."""
    path = labels.with_name(labels.name.replace("labels", name)).with_suffix(suffix)
    return path.read_text(encoding="utf8") if path.exists() else ""


def stored() -> pd.DataFrame:
    """The cases that come with the book: what each reader called them, "reader 1" and on, and what both sets of rules do.

    `attrs` says of which model and texts they are, what was asked, and who read them.
    """
    return labelled(json.loads(STORED.read_text(encoding="utf8")))


def labelled(payload: Mapping[str, Any]) -> pd.DataFrame:
    """The cases of a payload as `collect` makes it, each with all its labels."""
    table = pd.DataFrame(payload["cases"])
    labels = pd.DataFrame(table.pop("labels").tolist())
    read = [[token for token, _, _ in row] for row in table["attended"]]
    for place in labels:
        table[f"reader {place + 1}"] = labels[place]
    for name, rule in RULES.items():
        table[name] = [rule(*seen) for seen in zip(read, table["answer"], strict=True)]
    table.attrs.update({key: value for key, value in payload.items() if key != "cases"})
    return table


class Agreement(NamedTuple):
    """How often two labellings are the same, and Cohen's kappa, each with its 95% interval, documents resampled."""

    same: int
    of: int
    low: float
    high: float
    kappa: float
    kappa_low: float
    kappa_high: float


def agreement(cases: pd.DataFrame, one: str, other: str, *, seed: int = 0, n_resamples: int = 2000) -> Agreement:
    """How far two columns of labels agree. Cases of one document are alike, so documents are resampled."""
    document = cases.groupby(["text", "document"]).ngroup().to_numpy()
    counts = np.zeros((document.max() + 1, len(BEHAVIOURS), len(BEHAVIOURS)))
    rows, columns = ([BEHAVIOURS.index(label) for label in cases[name]] for name in (one, other))
    np.add.at(counts, (document, rows, columns), 1)
    same, of = np.trace(counts, axis1=1, axis2=2), counts.sum((1, 2))
    _, low, high = intervals.share_interval(same, of, seed=seed, n_resamples=n_resamples)
    drawn = np.random.default_rng(seed).integers(len(counts), size=(n_resamples, len(counts)))
    kappas = kappa(counts[drawn].sum(1))
    kappas = kappas[np.isfinite(kappas)]
    bounds = intervals.middle(kappas) if len(kappas) else (float("nan"), float("nan"))
    return Agreement(int(same.sum()), len(cases), low, high, float(kappa(counts.sum(0))), *bounds)


def kappa(counts: Num[np.ndarray, "*draw label label"]) -> Float[np.ndarray, "*draw"]:
    """Cohen's kappa of tables that count cases by one's label and by the other's; NaN where both know one label only."""
    n = counts.sum((-2, -1))
    agreed = np.trace(counts, axis1=-2, axis2=-1) / n
    by_chance = (counts.sum(-1) * counts.sum(-2)).sum(-1) / n**2
    with np.errstate(invalid="ignore"):
        return np.asarray((agreed - by_chance) / (1 - by_chance))


def readers_of(cases: pd.DataFrame) -> list[str]:
    """The columns with what readers said."""
    return [name for name in cases if name.startswith("reader ")]


def majority(cases: pd.DataFrame) -> pd.Series:
    """The label that more than half of the readers give; missing where there is none."""
    said = cases[readers_of(cases)]
    counts = pd.DataFrame({behaviour: (said == behaviour).sum(axis=1) for behaviour in BEHAVIOURS})
    return counts.idxmax(axis=1).where(2 * counts.max(axis=1) > said.shape[1])


# --- what is drawn ----------------------------------------------------------------------------------

RULES_CALLED = {"paper": "the paper's rules", "strict": "our stricter rules"}


def draw_confusions(cases: pd.DataFrame) -> Drawing:
    """What most readers called the cases of each label of the rules."""
    said = majority(cases)
    figs, axes = figures.panels(len(RULES), height=3.0)
    alts, told = [], []
    for ax, (rules, called) in zip(axes, RULES_CALLED.items()):
        table = pd.crosstab(said, cases[rules]).reindex(index=BEHAVIOURS, columns=BEHAVIOURS, fill_value=0)
        figures.cells(table, ax=ax, label="", fmt="d", highest=float(table.to_numpy().max()))
        ax.set_xticks(ax.get_xticks(), list(BEHAVIOURS), rotation=35, ha="right")
        ax.set(xlabel=called, ylabel="most readers")
        same = [f"{name} {table.loc[name, name]} of {table[name].sum()}" for name in BEHAVIOURS]
        alts.append(f"Table of cases by the label of most readers and of {called}: the same for {', '.join(same)}.")
        told.append(f"Of what {called} call so, most readers do too: {', '.join(same)}.")
    rights = {rules: int((said == cases[rules]).sum()) for rules in RULES}
    return Drawing(
        figs,
        alt=alts,
        caption=f"Most readers call {rights['paper']} of {len(cases)} cases what the paper's rules call them, and {rights['strict']} "
        "what our stricter rules do.",
        details=f"Winning cases of {cases.attrs['model']} {cases.attrs['head']}; more than half of the readers agree on "
        f"{int(said.notna().sum())}. {' '.join(told)} {_faintness(cases, said)}",
    )


def _faintness(cases: pd.DataFrame, said: pd.Series) -> str:
    """How much of its attention the head gives to what the paper's rules call copied, where readers agree and where not."""
    copied = cases[cases["paper"] == "copying"]
    weight = pd.Series([copied_weight(row, answer) for row, answer in zip(copied["attended"], copied["answer"])])
    agreed = (said[copied.index] == "copying").to_numpy()
    if not agreed.any() or agreed.all():
        return ""
    return (
        f"Where the paper's rules say copying the head gives the copied token a median {weight[agreed].median():.0%} of its attention "
        f"if most readers agree, and {weight[~agreed].median():.0%} if not."
    )


def copied_weight(attended: Sequence[Sequence[Any]], answer: str) -> float:
    """The attention on those of the attended tokens, each with its weight and how far back it is, that are the answer."""
    return sum(weight for token, weight, _ in attended if token == answer)


def pairs_of(cases: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """What is held against each other: every two readers, and every reader and each set of rules; by how a table calls it."""
    readers = readers_of(cases)
    pairs = [*combinations(readers, 2), *((reader, rules) for rules in RULES for reader in readers)]
    return {f"{one}, {RULES_CALLED.get(other, other)}": (one, other) for one, other in pairs}


def draw_agreement(cases: pd.DataFrame) -> Table:
    """Agreement and kappa of readers with each other and with the rules, in all texts together."""
    found = {who: agreement(cases, *pair) for who, pair in pairs_of(cases).items()}
    rows = {
        who: {
            "cases called the same": f"{of.same} of {of.of} ({100 * of.low:.0f} to {100 * of.high:.0f}%)",
            "kappa": _kappa(of),
        }
        for who, of in found.items()
    }
    n_readers = len(readers_of(cases))
    among = [of.same for of in list(found.values())[: n_readers * (n_readers - 1) // 2]]
    drawn = "; ".join(
        f"{text['name']} {(cases['text'] == text['name']).sum()} of {text['winning']:,} winning cases"
        for text in cases.attrs["texts"]
    )
    titles = sorted(set(cases.loc[cases["text"] == "books", "source"].str.removeprefix("Title: ")))
    return Table(
        pd.DataFrame(rows).T.rename_axis("who"),
        caption=f"Readers agree with each other on {' to '.join(map(str, sorted({min(among), max(among)})))} of {len(cases)} cases.",
        details="Kappa is Cohen's: 0 is what chance would give, 1 full agreement. In brackets 95% bootstrap intervals, documents resampled; "
        f"where all are the same, Wilson's of so many documents. {cases.attrs['readers']} Drawn by seed {cases.attrs['seed']}: {drawn}; in each text as many of each behaviour "
        f"by the paper's rules as there are, so this is not the agreement on all winning cases. {cases.attrs['note']} Titles: {', '.join(titles)}.",
    )


def draw_agreement_by_text(cases: pd.DataFrame) -> Table:
    """The same in each text."""
    columns = {}
    for text in cases.attrs["texts"]:
        part = cases[cases["text"] == text["name"]]
        found = {who: agreement(part, *pair) for who, pair in pairs_of(cases).items()}
        columns[f"{text['name']}, {len(part)} cases; kappa"] = {
            who: f"{of.same}; {_kappa(of)}" for who, of in found.items()
        }
    return Table(
        pd.DataFrame(columns).rename_axis("who"),
        caption="The same, text by text.",
        details="How many cases are called the same, and kappa with its 95% bootstrap interval, documents resampled. Some labels are rare in some "
        "texts: of the cases from books no rule calls any succession. Where all agree every resample is alike, and there is no interval.",
    )


def _kappa(of: Agreement) -> str:
    """Kappa with its interval, as 0.52 (0.40 to 0.65); a dash where there is none."""
    if np.isnan(of.kappa):
        return "–"
    return f"{of.kappa:.2f}" + (
        f" ({of.kappa_low:z.2f} to {of.kappa_high:.2f})" if of.kappa_low < of.kappa_high else ""
    )


# --- the two commands -------------------------------------------------------------------------------


@told()
def main() -> None:
    """Draw cases for readers, or put what they said into the record that comes with the book."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("draw", help="write the sheet, the question and the cases into a folder")
    drawing.add_argument("model")
    drawing.add_argument("folder", type=Path)
    drawing.add_argument("--texts", nargs="+", default=["generated", "documentation"], help="as in `texts.read`")
    drawing.add_argument("--note", default="", help="where texts of yours come from")
    drawing.add_argument("--contexts", type=int, default=64)
    drawing.add_argument("--length", type=int, default=256)
    drawing.add_argument("--cases", type=int, default=N_CASES)
    drawing.add_argument("--seed", type=int, default=0)
    collecting = commands.add_parser("collect", help="put the cases of a folder and their labels into the record")
    collecting.add_argument("folder", type=Path)
    collecting.add_argument("--readers", required=True, help="who they are, in whole sentences")
    arguments = parser.parse_args()
    if arguments.command == "draw":
        write(arguments)
    else:
        files.write_json(STORED, collect(arguments.folder, readers=arguments.readers))


def write(arguments: argparse.Namespace) -> None:
    """Read the texts, draw cases of the head that the chapter would choose, and write the three files."""
    model = models.load(arguments.model)
    parts, classes = ndif.anatomy_of(model), ordinals.resolve(model.tokenizer)
    place, _ = natural_text.choose_head(model, parts, classes, seed=0)
    options = {"n": arguments.contexts, "length": arguments.length, "seed": 0}
    readings = [behaviours.read(model, text, **options) for text in texts.read_all(arguments.texts, seed=0)]
    cases = cases_of(readings, place)
    rows = shown(draw(cases, n=arguments.cases, seed=arguments.seed), readings)
    payload = {
        "model": arguments.model,
        "head": anatomy.name_of(place),
        "date": time.strftime("%Y-%m-%d"),
        "seed": arguments.seed,
        "texts": [
            {
                "name": reading.text.name,
                "digest": reading.text.digest,
                "contexts": len(reading.contexts),
                "length": arguments.length,
                "winning": int((cases["text"] == reading.text.name).sum()),
            }
            for reading in readings
        ],
        "note": arguments.note,
        "question": QUESTION.format(n=len(rows), window=natural_text.WINDOW),
        "cases": rows,
    }
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "sheet.md").write_text(sheet(rows), encoding="utf8")
    (arguments.folder / "question.md").write_text(payload["question"], encoding="utf8")
    files.write_json(arguments.folder / "cases.json", payload)


if __name__ == "__main__":
    main()
