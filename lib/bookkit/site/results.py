"""The page of results across models: records in; tables, figures and a CSV out.

The records of a model are a folder <slug>/ with a JSON a chapter, or with score.json alone where only the score was
computed. Some are stored in book/results/records, contributed or kept from earlier runs (see contribute.py); those in
_build/records come from runs on this machine, and go before the stored ones.
"""

import csv
import html
import io
import json
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import yaml

from bookkit import places
from bookkit.site import paper, protocols
from successor_heads import behaviours, figures, intervals, ordinals, records, reported
from successor_heads.growing import observe
from successor_heads.studies import natural_text

STORED = Path("book/results/records")
LIST = Path("models.yml")
BENCHMARK = Path("benchmarks/results/score.json")
ABLATION_BENCHMARK = Path("benchmarks/results/ablation.json")
FAMILIES = {"gpt2": "GPT-2", "gpt_neox": "Pythia", "llama": "Llama", "gemma3_text": "Gemma 3"}
COLORS = {"gpt2": "green", "gpt_neox": "blue", "llama": "orange"}
SHOWN_VERSIONS = ("successor-heads", "torch", "transformers")
NOTHING = {"value": None, "low": None, "high": None, "n": None}
PAPER_SIZES = (14e6, 12e9)  # of the models in the paper's Figure 2, by their names
# Of single models; what was reported of all, or of no model by name, stands in the page's own table.
NAMED = "{head}, {times_the_runner_up} times the runner-up"
REPORTED = {"EleutherAI/pythia-1.4b": reported.cell("named_head", NAMED)}


@dataclass(frozen=True)
class Column:
    """A finding of a chapter that the second table shows: what it means, and which finding is its control."""

    key: str
    title: str
    meaning: str
    chapter: str
    finding: str
    control: str | None = None


COLUMNS = (
    Column("probe_numbers", "mod-10 probe, numbers", "share of numbers whose last digit a linear {term}`probe` reads from the output of {term}`MLP0`, whole decades held out; a guess is 0.10", "03-mod-10-features", "probe_tens_held_out"),
    Column("probe_words", "mod-10 probe, unseen lists", "the same probe, trained on numbers, on words of lists that it never saw, as in the paper; its control is the best of neighbouring moduli", "03-mod-10-features", "lists_unseen", "lists_unseen_neighbour"),
    Column("place_and_list", "place and list parted", "share of tokens held out to which the sum of a place from one list and of another list, by one linear map, decodes; its control are shuffled lists", "03-mod-10-features", "subspace_tokens", "subspace_tokens_shuffled"),
    Column("edits_head", "arithmetic, head", "share of edits of a token's vector after which the head names the wanted word, mean over the classes; its control is shuffled directions", "04-vector-arithmetic", "exact_class_means", "exact_shuffled"),
    Column("edits_model", "arithmetic, whole model", "the same edits inside the running model, of which its next token is judged", "04-vector-arithmetic", "model_edited", "model_random_in_the_span"),
    Column("won", "in text: won", "share of all places in natural text at which taking a head away costs the right token most, of all heads; it is named, and is the best head, or where that is no better than luck the one that lists need most; below it stands at how many places it was asked", "05-natural-language", "natural_won"),
    *(
        Column(f"won_{name}", f"in text: {title}", f"share of these winning cases that are {what}; of fewer than {natural_text.LEAST_CASES} none is given; its control are answers shuffled within contexts", "05-natural-language", f"natural_{name}", f"natural_{name}_shuffled")
        for name, title, what in (
            ("successorship", "successor", "successions"), ("acronym", "acronym", "acronyms"), ("copying", "copying", "copies"),
            ("greater_than", "greater-than", "of the kind *greater-than*"), ("other", "other", "none of these"),
        )
    ),
)  # fmt: skip
# What the paper reports, of which model as far as we know, and the finding of ours that stands beside it. All that it
# reports of maps, of the ten and of tables of edits has a page of its own: see protocols.py.
INFERRED = "Pythia-1.4B, inferred"  # the only head that the paper names, and the model of its section 4
FIFTH = natural_text.CHAPTER
_won, _lists = reported.wild()["numbered_lists"]
PAPER = (
    *(
        (f"Edits that succeed, here all that change something, with class means: {task}", "none to speak of", INFERRED, "04-vector-arithmetic", f"exact_{task}")
        for task in reported.read()["arithmetic"]["cannot_be_steered"]
    ),
    *(
        (
            f"Winning cases that are {what}",
            f"{reported.winning_cases()[name]:.3f}",
            "Pythia-1.4B",
            "05-natural-language",
            f"natural_{name.replace('-', '_')}",
        )
        for name, what in (("successorship", "successions"), ("acronym", "acronyms"), ("greater-than", "greater-than"))
    ),
    *(
        (
            f"Loss reduced by {what}, direct path",
            f"{reported.loss_shares('direct', 'mean')[name]:.3f}",
            "Pythia-1.4B",
            "05-natural-language",
            f"natural_direct_{name.replace('-', '_')}",
        )
        for name, what in (("successorship", "succession"), ("acronym", "acronyms"), ("copying", "copying"))
    ),
    (
        "Numbered lists that the head wins, the paper's from the Pile, ours made",
        f"{_won / _lists:.3f} ({_won} of {_lists})",
        "Pythia-1.4B",
        "05-natural-language",
        "list_wins",
    ),
)  # fmt: skip  # one row a line


def read(folders):
    """Records by model and chapter; those of a later folder go before those of an earlier one."""
    found: dict[str, dict[str, dict]] = {}
    for folder in folders:
        for path in sorted(Path(folder).glob("*/*.json")):
            record = json.loads(path.read_text(encoding="utf8"))
            if path.stem == places.SCORE:
                record = from_score(record)
            found.setdefault(record["model"], {})[path.stem] = record
    return found


def with_text(found):
    """The records, with what chapter 5 measured once on more text than a run of it has time for; and with its controls."""
    runs = {run["model"]: run for run in behaviours.stored_runs()}
    for model, chapters in found.items():
        if model in runs and asked_in_text(chapters) < runs[model]["texts"][0]["won"][1]:
            chapters[FIFTH] = from_run(runs[model])
        own = chapters.get(FIFTH, {"tables": {}})
        natural = [text for text in own["tables"].get("texts", ()) if text["natural"]]
        for behaviour, share in natural[0]["chance"].items() if natural else ():
            own["findings"][f"natural_{behaviour.replace('-', '_')}_shuffled"] = NOTHING | {"value": share}
    return found


def asked_in_text(chapters):
    """At how many places of natural text a model was asked who wins; 0 where it was not."""
    return chapters.get(FIFTH, {"findings": {}})["findings"].get("natural_won", NOTHING)["n"] or 0


def from_run(run):
    """A run that comes with the library in the form of the chapter's record, as far as this page needs it."""
    text, lists = run["texts"][0], run["lists"]
    shares = {"natural_won": text["won"]} | {
        f"natural_{way}{behaviour.replace('-', '_')}": share
        for way, of in (("", text["cases"]), ("direct_", text["losses"]["direct, mean"]))
        for behaviour, share in of.items()
    }
    place = zip(("layer", "head"), re.findall(r"\d+", run["head"]))
    findings = {name: NOTHING | {"value": float(number)} for name, number in place}
    if lists["asked"]:
        findings["list_wins"] = NOTHING | {"value": lists["won"] / lists["asked"], "n": lists["asked"]}
    findings |= {
        name: {"value": value, "low": low, "high": high, "n": n} for name, (_, n, value, low, high) in shares.items()
    }
    return {
        "created": run["created"],
        "versions": run["versions"],
        "findings": findings,
        "tables": {"texts": run["texts"]},
    }


def listed():
    """The models of models.yml: what the sweep runs, and what the page counts as not yet measured."""
    return yaml.safe_load(LIST.read_text(encoding="utf8"))["models"]


def from_score(record):
    """A record of `successor-heads score --json` in the form of a chapter's, as far as that goes.

    Contributed ones say how many parameters the model has; for the others models.yml does.
    """
    best, pairs = record["heads"][0], record["pairs"]
    n = sum(pairs.values())
    low, high = record.get("macro_interval", (None, None))  # records from before it was kept have none
    sizes = {entry["name"]: entry["parameters"] for entry in listed()}
    about = {
        "family": record["family"],
        "revision": record["revision"],
        "layers": record["n_layers"],
        "heads": record["n_heads"],
    }
    parameters = record.get("parameters", sizes.get(record["model"]))
    return {
        "schema": record["schema"],
        "model": record["model"],
        "created": record["created"],
        "versions": record["versions"],
        "findings": {
            "layer": records.finding(best["layer"]),
            "head": records.finding(best["head"]),
            "parameters": records.finding(parameters) if parameters else NOTHING,
            "best_macro": records.finding(best["macro"], low=low, high=high, n=n),
            "best_micro": records.finding(
                best["micro"], **dict(zip(("low", "high"), intervals.wilson(round(best["micro"] * n), n))), n=n
            ),
        },
        "tables": {
            "model": [about],
            "by_class": [
                {"class": task, "pairs": pairs[task], "score": best["by_task"][task]} for task in pairs if pairs[task]
            ],
        },
    }


def score_of(chapters):
    """The record that holds a model's score: chapter 1's, or the one of a score alone, or None."""
    return next(
        (
            chapters[name]
            for name in ("01-find-heads", places.SCORE)
            if "model" in chapters.get(name, {"tables": {}})["tables"]
        ),
        None,
    )


def of_column(column, chapters):
    """A column's finding in a model's records. What chapter 5 wins has the name of its head, which need not be the best one."""
    findings = chapters.get(column.chapter, {}).get("findings", {})
    finding = findings.get(column.finding, NOTHING)
    if column.key == "won" and finding["value"] is not None:
        head = f"L{findings['layer']['value']:.0f}H{findings['head']['value']:.0f}"
        return finding | {"head": f"{head}, {finding['n']:,} places"}
    is_share_of_few = column.key.startswith("won_") and (finding["n"] or 0) < natural_text.LEAST_CASES
    return NOTHING if is_share_of_few else finding


def row(model, chapters):
    """One model's line: what each column shows, None where it was not measured."""
    score = score_of(chapters)
    found = score["findings"]
    about = score["tables"]["model"][0]
    newest = max(chapters.values(), key=lambda record: record["created"])
    return {
        "model": model if not Path(model).is_absolute() else Path(model).name,
        "revision": about["revision"],
        "family": about["family"],
        "parameters": None if found["parameters"]["value"] is None else int(found["parameters"]["value"]),
        "head": f"L{found['layer']['value']:.0f}H{found['head']['value']:.0f}",
        "macro": found["best_macro"],
        "micro": found["best_micro"],
        "by_class": {line["class"]: line for line in score["tables"]["by_class"]},
        "found": {column.key: of_column(column, chapters) for column in COLUMNS},
        "control": {
            column.key: chapters.get(column.chapter, {}).get("findings", {}).get(column.control, NOTHING)
            for column in COLUMNS
            if column.control
        },
        "date": newest["created"][:10],
        "versions": newest["versions"],
    }


def rows(found, subject):
    """A line for each model with a score, the best first. A folder of this machine is nobody else's, unless it is the subject."""
    public = {model: chapters for model, chapters in found.items() if model == subject or not Path(model).is_absolute()}
    lines = [row(model, chapters) for model, chapters in public.items() if score_of(chapters)]
    return sorted(lines, key=lambda line: (-line["macro"]["value"], line["model"]))


# Tables. They are plain HTML, complete without a script; sortable.js makes their headings buttons.


def cell(finding, *, control=NOTHING, tint=False):
    """A share with its interval and its control, where it has them, as a cell that sorts by the share."""
    value = finding["value"]
    if value is None:
        return "<td>–</td>"
    shade = f' class="sh-share" style="--share: {value:.3f}"' if tint else ""
    interval = (
        ""
        if finding["low"] is None or finding["high"] is None
        else f"<small>{finding['low']:.2f} to {finding['high']:.2f}</small>"
    )
    beside = "" if control["value"] is None else f"<small>control {control['value']:.2f}</small>"
    beside += f"<small>{finding['head']}</small>" if "head" in finding else ""
    return f'<td data-sort="{value:.6f}"{shade}>{value:.2f}{interval}{beside}</td>'


def text_cell(text, sort=None):
    attribute = "" if sort is None else f' data-sort="{sort}"'
    return f"<td{attribute}>{html.escape(str(text))}</td>"


def name_cell(line):
    revision = f"<small>{line['revision'][:7]}</small>" if line["revision"] else ""
    return f'<th scope="row">{hub_name(line["model"])}{revision}</th>'


def table(headings, body, label):
    """A table whose columns can be sorted, in a box that scrolls sideways by itself."""
    head = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in headings)
    lines = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in body)
    return (
        f'<div class="sh-scroll" role="region" aria-label="{html.escape(label)}" tabindex="0">\n'
        f'<table class="table sh-sortable"><thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table>\n</div>\n'
    )


def size(parameters):
    """A number of parameters as people say it: 5.3 M, 1.4 B."""
    if parameters is None:
        return "–"
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.1f} M"


def score_table(lines):
    """Who they are and how well the best head scores, in all and by class."""
    body = [
        [
            name_cell(line),
            text_cell(FAMILIES.get(line["family"], line["family"])),
            text_cell(size(line["parameters"]), line["parameters"] or -1),
            text_cell(line["head"]),
            cell(line["macro"]),
            cell(line["micro"]),
            *(cell(class_finding(line["by_class"].get(task)), tint=True) for task in ordinals.TASKS),
        ]
        for line in lines
    ]
    headings = [
        "Model",
        "Family",
        "Parameters",
        "Best head",
        "Macro",
        "Micro",
        *(task.replace("_", " ") for task in ordinals.TASKS),
    ]
    return table(headings, body, "Successor score of the best head of each model, by class")


def class_finding(line):
    """The score in one class as a finding; classes without a pair were not measured."""
    if line is None or not line["pairs"]:
        return NOTHING
    return {"value": line["score"], "low": None, "high": None, "n": line["pairs"]}


def study_table(lines):
    """What the other chapters found on each model, with date and versions."""
    body = [
        [
            name_cell(line),
            *(cell(line["found"][column.key], control=line["control"].get(column.key, NOTHING)) for column in COLUMNS),
            text_cell(line["date"]),
            text_cell(
                ", ".join(
                    f"{package} {line['versions'][package]}"
                    for package in SHOWN_VERSIONS
                    if package in line["versions"]
                )
                or "–"
            ),
        ]
        for line in lines
    ]
    return table(
        ["Model", *(column.title for column in COLUMNS), "Date", "Versions"],
        body,
        "What the other chapters found on each model",
    )


def missing(found):
    """The names in models.yml that have no score yet, in its order."""
    return [entry["name"] for entry in listed() if not score_of(found.get(entry["name"], {}))]


def missing_table(names):
    """Models that nobody has run yet, with the one command that runs each, and what the paper reports of it."""
    body = [
        [
            f'<th scope="row">{hub_name(name)}<small>not yet measured</small></th>',
            f"<td><code>make contribute MODEL={html.escape(name)}</code></td>",
            text_cell(REPORTED.get(name, "–")),
        ]
        for name in names
    ]
    return table(["Model", "To measure it", "As the paper reports"], body, "Models that are not yet measured")


def hub_name(name):
    """A model's name, which may be broken after its owner's."""
    return f"<code>{html.escape(name).replace('/', '/<wbr>')}</code>"


def as_csv(lines):
    """All rows with every interval and every version, as CSV text."""
    flat = []
    for line in lines:
        shares = {"macro": line["macro"], "micro": line["micro"]}
        shares |= {task: class_finding(line["by_class"].get(task)) for task in ordinals.TASKS}
        for column in COLUMNS:
            shares[column.key] = line["found"][column.key]
            if column.control:
                shares[f"{column.key}_control"] = line["control"][column.key]
        flat.append(
            {key: line[key] for key in ("model", "revision", "family", "parameters", "head", "date")}
            | {
                f"{name}{suffix}": share[part]
                for name, share in shares.items()
                for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high"), ("_n", "n"))
            }
            | {f"version_{package}": version for package, version in line["versions"].items()}
        )
    text = io.StringIO()
    names = list(dict.fromkeys(name for entry in flat for name in entry)) or ["model"]
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


# Figures.


def other_runs(found):
    """Grown models that are not shipped but whose run is recorded: name, family, parameters, macro with interval.

    Only those that read the full text: the others are experiments of chapter 6.
    """
    for name, run in observe.stored().items():
        recipe, end = run["recipe"], run["curve"][-1]
        if f"grown/{name}" in found or recipe["base"] != 10 or set(recipe["without"]) - {"prose"}:
            continue
        pairs = {
            task: len(ordinals.CLASSES[task].words) - (not ordinals.CLASSES[task].cyclic) for task in ordinals.TASKS
        }
        right = [round(end[task] * n) for task, n in pairs.items()]
        low, high = intervals.mean_of_shares(right, list(pairs.values()), seed=0)
        yield {"model": name, "family": {"pythia": "gpt_neox"}.get(recipe["family"], recipe["family"]), "parameters": recipe["parameters"],
               "macro": {"value": end["macro"], "low": low, "high": high}}  # fmt: skip


def label_shifts(lines, *, points_to_macro=205, apart=12, decades=1.3):
    """How many points to move each label up, so that no two that are near each other overlap."""
    placed: list[tuple[float, float]] = []
    shifts = []
    for line in lines:
        x, y = np.log10(line["parameters"]), points_to_macro * line["macro"]["value"]
        others = [height for place, height in placed if abs(place - x) < decades]
        steps = (-4 + sign * apart * step / 2 for step in range(60) for sign in (1, -1))
        shift = next(shift for shift in steps if all(abs(y + shift - height) >= apart for height in others))
        placed.append((x, y + shift))
        shifts.append(shift)
    return shifts


def size_figure(lines, others):
    """Best score against the number of parameters: what the paper's Figure 2 shows, with intervals."""
    figures.use_style()
    fig, ax = plt.subplots(figsize=(7.6, 3.9))
    ax.axvspan(*PAPER_SIZES, color=figures.PALETTE["grey"], alpha=0.16, linewidth=0)
    ax.text(
        np.sqrt(np.prod(PAPER_SIZES)),
        1.0,
        f"the paper's models\n{PAPER_SIZES[0] / 1e6:.0f} million to {PAPER_SIZES[1] / 1e9:.0f} billion",
        ha="center",
        va="top",
        fontsize=9.5,
    )
    for line, filled in [*((line, True) for line in lines if line["parameters"]), *((line, False) for line in others)]:
        color = figures.PALETTE[COLORS.get(line["family"], "violet")]
        macro = line["macro"]
        if macro["low"] is not None:
            ax.vlines(line["parameters"], macro["low"], macro["high"], color=color, linewidth=1.5)
        ax.plot(
            line["parameters"],
            macro["value"],
            "o",
            color=color,
            markersize=7 if filled else 5,
            markerfacecolor=color if filled else "none",
        )
    named = [line for line in lines if line["parameters"]]
    for line, shift in zip(named, label_shifts(named), strict=True):
        short = line["model"] if line["model"].startswith("grown/") else line["model"].split("/")[-1]
        ax.annotate(
            short,
            (line["parameters"], line["macro"]["value"]),
            xytext=(9, shift),
            textcoords="offset points",
            fontsize=9,
        )
    for family in dict.fromkeys(line["family"] for line in [*lines, *others]):
        ax.plot([], [], "o", color=figures.PALETTE[COLORS.get(family, "violet")], label=FAMILIES.get(family, family))
    ax.plot([], [], "o", color=figures.INK, markerfacecolor="none", markersize=5, label="grown, not shipped")
    sizes = [line["parameters"] for line in [*lines, *others] if line["parameters"]]
    ax.set(
        xscale="log",
        xlim=(min([*sizes, 1e6]) / 2, max([*sizes, PAPER_SIZES[1]]) * 2),
        ylim=(0, 1.04),
        xlabel="parameters",
        ylabel="macro of the best head",
    )
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncol=4, columnspacing=1.2, handletextpad=0.3)
    listed = ", ".join(f"{line['model']} {line['macro']['value']:.2f}" for line in named)
    inside = sum(PAPER_SIZES[0] <= line["parameters"] <= PAPER_SIZES[1] for line in named)
    return figures.as_html(
        fig,
        alt=f"Best head's macro against parameters, on a logarithmic scale, with intervals. Models with a record: {listed}. "
        f"{len(others)} more grown models, from {min(size_ for size_ in sizes) / 1e6:.1f} million parameters on. A grey band marks the sizes of the paper's models.",
        caption=f"The best head's macro and its 95% interval. Full discs are models with a record on this page, rings other runs of chapter 6 that read the same text. "
        f"The grey band holds the sizes of the paper's models; chapter 1 shows their scores by the paper’s own measure. "
        f"{inside or 'None'} of the models measured here {'lies' if inside < 2 else 'lie'} in that band.",
    )


def growth_figure(benchmark):
    """How the time and the bytes of a streamed score grow with layers, width and heads."""
    figures.use_style()
    measured = benchmark["growth"]
    axes_of = {"layers": "layers", "width": "width (d_model)", "heads": "heads to a layer"}
    fig, grid = plt.subplots(2, 3, figsize=(9.0, 4.4), sharex="col", sharey="row")
    for column, (axis, label) in enumerate(axes_of.items()):
        points = sorted((point for point in measured if point["axis"] == axis), key=lambda point: point[axis])
        x = [point[axis] for point in points]
        for line, key, unit, color in ((0, "bytes_read", 1e6, "blue"), (1, "seconds_without_imports", 1, "orange")):
            grid[line, column].plot(x, [point[key] / unit for point in points], "o-", color=figures.PALETTE[color])
            grid[line, column].set(xscale="log", yscale="log", xticks=x, xticklabels=x)
            grid[line, column].minorticks_off()
        grid[1, column].set(xlabel=label)
    grid[0, 0].set(ylabel="MB read")
    grid[1, 0].set(ylabel="seconds, without\nimports")
    fig.tight_layout()
    read_by = {
        axis: [
            point["bytes_read"] for point in sorted((p for p in measured if p["axis"] == axis), key=lambda p: p[axis])
        ]
        for axis in axes_of
    }
    times = {axis: values[-1] / values[0] for axis, values in read_by.items()}
    steps = {
        axis: max(p[axis] for p in measured if p["axis"] == axis) / min(p[axis] for p in measured if p["axis"] == axis)
        for axis in axes_of
    }
    growth = "; ".join(f"{steps[axis]:.0f} times the {axis}, {times[axis]:.1f} times the bytes" for axis in axes_of)
    return figures.as_html(
        fig,
        alt=f"Six small line charts: megabytes read and seconds of a streamed score against layers, width and heads. {growth}.",
        caption=f"A streamed score of random models of the Pythia family, one property changed at a time from 12 layers, width 1024 and 8 heads: {growth}. "
        f"Bytes are exact. Times were taken on {html.escape(benchmark['machine'])}, {benchmark['date']}, the fastest of three runs each.",
    )


# Sentences and tables of the prose.


def summary(lines):
    """How many models there are, and how far apart their best heads."""
    if not lines:
        return "So far there is none."
    first, last = lines[0], lines[-1]
    span = (
        f"macro {first['macro']['value']:.2f}"
        if len(lines) == 1
        else f"macro from {last['macro']['value']:.2f} to {first['macro']['value']:.2f}"
    )
    return f"So far {'it is one' if len(lines) == 1 else f'there are {len(lines)}'}, with {span}."


def column_list():
    """What the columns of the second table mean, and what their control is."""
    return "\n".join(f"- *{column.title}*: {column.meaning} ({chapter_link(column.chapter)})." for column in COLUMNS)


def chapter_link(chapter):
    return f"[chapter {int(chapter.split('-')[0])}](../notebooks/{chapter}.ipynb)"


def shown(chapters, chapter, name):
    """A finding as prose shows it: value and interval, or a dash."""
    found = chapters.get(chapter, {}).get("findings", {}).get(name, NOTHING)
    if found["value"] is None:
        return "–"
    interval = "" if found["low"] is None or found["high"] is None else f" ({found['low']:.2f} to {found['high']:.2f})"
    return f"{found['value']:.2f}{interval}"


def paper_table(subject, chapters):
    """The paper's figures as far as they are known, beside those of the model of this build."""
    score = score_of(chapters)
    ratio = "–"
    if score and "runner_up_macro" in score["findings"]:
        found = score["findings"]
        head = f"L{found['layer']['value']:.0f}H{found['head']['value']:.0f}"
        ratio = f"{head}, {found['best_macro']['value'] / found['runner_up_macro']['value']:.1f} times, by macro"
    name = Path(subject).name if Path(subject).is_absolute() else subject
    lines = [f"| | As the paper reports | Which model | Here, `{name}` | |", "|---|---|---|---|---|"]
    lines += [
        f"| Best head, and its score against the runner-up's | {reported.cell('named_head', NAMED)} | Pythia-1.4B | {ratio} | {chapter_link('01-find-heads')} |"
    ]
    lines += [
        f"| {what} | {as_reported} | {model} | {shown(chapters, chapter, finding)} | {chapter_link(chapter)} |"
        for what, as_reported, model, chapter, finding in PAPER
    ]
    return "\n".join(lines)


def cost(benchmark, ablation):
    """What a streamed score and the ablation of all heads took, as measured: a table and two paragraphs of Markdown."""
    parts = [benchmark[name] for name in ("published", "peer", "large")]
    ours = [part.get("contestants", {"ours": part})["ours"] for part in parts]
    lines = [
        f"| | `{benchmark['published']['model']}` | Pythia-1.4B's shape | Llama-2-7B's shape |",
        "|---|--:|--:|--:|",
        _line("time", (f"{one['seconds']:.1f} s" for one in ours)),
        _line("memory", (f"{one['peak_bytes'] / 1e9:.2f} GB" for one in ours)),
        _line("read", (f"{part['reading']['bytes_read'] / 1e9:.2f} GB" for part in parts)),
        _line("in the checkpoint", (f"{part['reading']['bytes_in_checkpoint'] / 1e9:.2f} GB" for part in parts)),
    ]
    for peer, name in (("factored", "TransformerLens, the same algebra"), ("materialised", "with `W_V W_O` formed")):
        ratios = [part.get("ratios", {}).get(peer) for part in parts]
        lines += [
            _line(f"{name}: time", (spread_of(ratio["rounds_seconds"], 1) if ratio else "–" for ratio in ratios)),
            _line(f"{name}: memory", (f"{ratio['peak_bytes']:.1f} times" if ratio else "–" for ratio in ratios)),
        ]
    imports = benchmark["published"]["contestants"]["ours, imports alone"]["seconds"]
    differing = sum(
        ratio["heads_with_another_score"]
        for part in ("published", "peer")
        for ratio in benchmark[part]["ratios"].values()
    )
    plain, hooks, kept = (
        spread_of(ablation["times_cached"][name].values(), 0)
        for name in ("plain", "transformerlens", "transformerlens_cached")
    )
    dates = " and ".join(dict.fromkeys((benchmark["date"], ablation["date"])))
    lines += [
        "",
        f"The last two are random checkpoints. Whole processes are timed, imports included: here they alone take {imports:.1f} s. TransformerLens {benchmark['versions']['transformer-lens']} loads the whole model. "
        f"{'No' if differing == 0 else differing} score differs.",
        "",
        f"To ablate each of the {ablation['heads']} heads of `{ablation['model']}` on {ablation['prompts']} prompts, with all but the last position computed once, takes {ablation['seconds']['cached']['median']:.1f} s. "
        f"The arithmetic alone would take {ablation['share_of_the_machine']['median']:.0%} of that. Whole forward passes take {plain} the time, TransformerLens' hooks {hooks}, and the same hooks on kept keys and values {kept}.",
        "",
        f"Measured on {benchmark['machine']}, {dates}: medians, and in brackets the range over rounds. `make benchmark` measures again.",
    ]
    return "\n".join(lines)


def _line(name, cells):
    """A line of a table whose cells do not break."""
    return f"| {name} | {' | '.join(cell.replace(' ', chr(0xA0)) for cell in cells)} |"


def spread_of(ratios, digits):
    """How many times as much, with the range over rounds."""
    middle, lowest, highest = (f"{value:.{digits}f}" for value in (statistics.median(ratios), min(ratios), max(ratios)))
    return f"{middle} times ({lowest}–{highest})"


def write(site, folders, *, subject):
    """Write the parts of the page into the site's source; returns what its prose quotes."""
    found = with_text(read(folders))
    lines, others = rows(found, subject), list(other_runs(found))
    benchmark, ablation = (json.loads(path.read_text(encoding="utf8")) for path in (BENCHMARK, ABLATION_BENCHMARK))
    parts = site / "book" / "results"
    parts.mkdir(exist_ok=True)
    for name, text in {
        "scores": score_table(lines),
        "study": study_table(lines),
        "missing": missing_table(missing(found)),
        "size": size_figure(lines, others),
        "growth": growth_figure(benchmark),
    }.items():
        (parts / f"{name}.html").write_text(text, encoding="utf8")
    paper.write(site, found)
    protocols.write(site, found)
    (site / "book/_static/results.csv").write_text(as_csv(lines), encoding="utf8")
    return {
        "summary": summary(lines),
        "columns": column_list(),
        "paper": paper_table(subject, found.get(subject, {})),
        "cost": cost(benchmark, ablation),
    }
