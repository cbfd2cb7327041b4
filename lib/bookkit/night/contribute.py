"""Measure a model for the page of results: one command, and what it leaves is one pull request.

    make contribute MODEL=openai-community/gpt2         # or in full: python -m bookkit.night.contribute MODEL
    python -m bookkit.night.contribute --check             # are all stored records whole and plausible?
    python -m bookkit.night.contribute --recompute         # score their models again, and compare

A model that fits into memory is put through the chapters; of a larger one only the scores are computed, streamed.
The records that the page shows are checked and copied to book/results/records/<slug>/.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from packaging.version import InvalidVersion, Version

from bookkit import places
from bookkit.site import paper, protocols, results
from successor_heads import models, ordinals, records, streaming
from successor_heads.errors import UserError

# What the pages show of a model: its score, the findings of the columns, and the rows beside the paper's.
SHOWN = sorted({"01-find-heads", *protocols.CHAPTERS, *(column.chapter for column in results.COLUMNS)})
KEPT = {paper.THIRD: ("probes",)}  # tables of other chapters than the first that a page draws
PAIRS = {task: len(ordinals.CLASSES[task].words) - (not ordinals.CLASSES[task].cyclic) for task in ordinals.TASKS}
# Of the settings of a build those that change no number.
HOW = ("cores", "cell-timeout", "device")
# A share may be off by rounding in the file, not by a pair.
ROUNDING = 1e-6
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def check(path):
    """Raise UserError, one sentence, unless the file is a record that the page can show."""
    try:
        record = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a JSON file ({error}): make it again with `make contribute`.") from None
    # Conditions in the order in which they can be told; each is the first that may fail.
    try:
        for holds, what in expectations(record, path):
            if not holds:
                raise UserError(
                    f"{path}: {what}. Make it again with `make contribute MODEL={record.get('model', '…')}`."
                )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, InvalidVersion) as error:
        raise UserError(
            f"{path} lacks a part that records have, or has it in another form ({error!r}): make it again with `make contribute`."
        ) from error
    return record


def expectations(record, path):
    """(whether it holds, what is wrong if not) for everything that a stored record has to be."""
    yield record["schema"] == records.SCHEMA, f"its schema is {record['schema']}, and this book's is {records.SCHEMA}"
    model = record["model"]
    yield (
        bool(HUB_ID.fullmatch(model)),
        f"{model} is no name on the hub, no grown/NAME and no published/NAME, so nobody else can run it",
    )
    yield path.parent.name == places.slug(model), f"a record of {model} belongs into the folder {places.slug(model)}"
    created = datetime.fromisoformat(record["created"])
    yield (
        datetime(2024, 1, 1, tzinfo=UTC) < created < datetime.now(UTC) + timedelta(days=1),
        f"it says that it was made on {record['created']}",
    )
    for package in records.PACKAGES:
        yield package in record["versions"], f"it does not say which version of {package} made it"
        Version(record["versions"][package])
    if path.stem == places.SCORE:
        yield from score_holds(record["heads"], record["pairs"], record["n_layers"] * record["n_heads"])
        low, high = record["macro_interval"]
        yield low <= record["heads"][0]["macro"] <= high, "the macro of its best head lies outside its interval"
        about, parameters = record, record["parameters"]
    else:
        yield record["chapter"] == path.stem, f"it is the record of chapter {record['chapter']}, under another name"
        yield from findings_hold(record["findings"])
        if path.stem != "01-find-heads":
            return
        yield from chapter_1_holds(record)
        about, parameters = record["tables"]["model"][0], record["findings"]["parameters"]["value"]
    # These are pinned by the package: grown models are in it, and of published ones the checksum is.
    is_pinned = model.startswith(("grown/", "published/"))
    yield (
        is_pinned or re.fullmatch(r"[0-9a-f]{40}", about["revision"] or ""),
        "it does not say which commit of the model was measured",
    )
    sizes = {entry["name"]: entry["parameters"] for entry in results.listed()}
    yield 1e4 < parameters < 1e13, f"{parameters} parameters are no model's"
    yield (
        abs(parameters / sizes.get(model, parameters) - 1) < 0.05,
        f"{model} has {sizes.get(model)} parameters, not {parameters:.0f}",
    )


def findings_hold(findings):
    """What every finding has to be; those that the page shows are shares."""
    shares = {column.finding for column in results.COLUMNS}
    for name, found in findings.items():
        value, low, high, n = (found[part] for part in ("value", "low", "high", "n"))
        for part in (value, low, high):
            yield part is None or math.isfinite(part), f"{name} is not a number"
        yield low is None or high is None or low <= high, f"the interval of {name} ends before it starts"
        yield (
            name not in shares or value is None or 0 <= value <= 1,
            f"{name} is {value}, and a share lies between 0 and 1",
        )
        yield n is None or n >= 0, f"{name} rests on {n} cases"


def chapter_1_holds(record):
    """The score in chapter 1's record: consistent in itself, and what the findings say."""
    found, tables = record["findings"], record["tables"]
    pairs = {line["class"]: line["pairs"] for line in tables["by_class"]}
    heads = [head | {"by_task": {task: head.get(task) for task in pairs}} for head in tables["heads"]]
    about = tables["model"][0]
    yield from score_holds(heads, pairs, about["layers"] * about["heads"])
    best = heads[0]
    yield (
        (found["layer"]["value"], found["head"]["value"]) == (best["layer"], best["head"]),
        "its best head is not the first of its heads",
    )
    for name in ("macro", "micro"):
        share = found[f"best_{name}"]
        yield abs(share["value"] - best[name]) < ROUNDING, f"its best {name} is not that of its best head"
        yield share["low"] <= share["value"] <= share["high"], f"its best {name} lies outside its interval"
    for line in tables["by_class"]:
        yield (
            abs(line["score"] - best["by_task"][line["class"]]) < ROUNDING,
            f"its score for {line['class']} is not that of its best head",
        )


def score_holds(heads, pairs, n_heads):
    """The canonical score, computed again as far as a record allows: macro and micro follow from the classes' shares."""
    yield (
        len(heads) == n_heads == len({(head["layer"], head["head"]) for head in heads}),
        f"it has {len(heads)} of {n_heads} heads",
    )
    yield 0 < sum(pairs.values()), "not one pair was scored"
    for task, n in pairs.items():
        yield 0 <= n <= PAIRS[task], f"it counts {n} pairs of {task}, and there are {PAIRS[task]}"
    measured = {task: n for task, n in pairs.items() if n}
    for head in heads:
        name, shares = f"L{head['layer']}H{head['head']}", {task: head["by_task"][task] for task in measured}
        right = {task: shares[task] * n for task, n in measured.items()}
        for task, n in measured.items():
            whole = 0 <= shares[task] <= 1 and abs(right[task] - round(right[task])) < ROUNDING * n
            yield whole, f"{name} cannot be right on {shares[task]:.4f} of {n} pairs of {task}"
        yield (
            abs(head["macro"] - sum(shares.values()) / len(shares)) < ROUNDING,
            f"the macro of {name} is not the mean of its classes",
        )
        yield (
            abs(head["micro"] - sum(right.values()) / sum(measured.values())) < ROUNDING,
            f"the micro of {name} does not follow from its classes",
        )
    order = [(-head["macro"], -head["micro"]) for head in heads]
    yield order == sorted(order), "its heads are not in the order of their scores"


def measure(model, *, revision, score_only, chapters=SHOWN, how=()):
    """Run the chapters that the pages show on a model, or some of them, or its score alone; returns their records.

    `how` are options of `bookkit.build` that say how the machine is used.
    """
    folder = Path(places.RECORDS, places.slug(model))
    score_only = score_only or streaming.would_not_fit(model, revision=revision)
    if score_only:
        print(
            f"Of {model} only the scores are computed: it does not fit into memory, or you asked for that.", flush=True
        )
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{places.SCORE}.json"
        score(model, revision, path, "--stream")
        records.write_json(path, completed(json.loads(path.read_text(encoding="utf8"))))
        return [path]
    command = [sys.executable, "-m", "bookkit.build", "notebooks", "--model", model, "--revision", revision or "", *how]
    # What fails is told by the build, and what ran well is worth a record all the same; 2 says that nothing was tried.
    if subprocess.run([*command, "--chapters", *chapters], check=False).returncode == 2:
        raise UserError(f"{model} was not measured: see above.")
    return [path for path in (folder / f"{chapter}.json" for chapter in chapters) if path.exists()]


def score(model, revision, path, *options):
    """Have `successor-heads score` write the scores of a model. Raises UserError with its sentence where it cannot."""
    command = [str(Path(sys.executable).with_name("successor-heads")), "score", model, "--json", str(path), *options]
    done = subprocess.run(
        command + (["--revision", revision] if revision else []),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        # A process that was killed has left no sentence.
        killed = f"The score of {model} ended with status {done.returncode}, perhaps for want of memory: free some, and run it again."
        raise UserError((done.stderr.strip().splitlines() or [killed])[-1])


def completed(record):
    """A record of scores with what the page needs on top: the number of parameters."""
    return record | {"parameters": count_parameters(record["model"], record["revision"])}


def count_parameters(model, revision):
    """How many parameters a model has, by its config: no weight is read."""
    import torch
    from transformers import AutoModelForCausalLM

    _, config, _ = models.read_all_but_weights(model, revision=revision)
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(config).parameters())


def contribute(model, *, revision, score_only, chapters=SHOWN, how=()):
    """Measure a model, check its records, copy them to where the page finds them, and say what to do next."""
    if not HUB_ID.fullmatch(model):
        raise UserError(
            f"{model} is no name on the hub, no grown/NAME and no published/NAME: put the model on the hub first, so that others can run it."
        )
    made = measure(model, revision=revision, score_only=score_only, chapters=chapters, how=how)
    if not made:
        raise UserError(f"No chapter ran on {model}: see above, or add SCORE_ONLY=1 for the scores alone.")
    target = results.STORED / places.slug(model)
    checked = {path.name: check(path) for path in made}
    for name, record in checked.items():
        records.write_json(target / name, for_the_page(record))
    stems = {path.stem for path in made}
    lacking = [chapter for chapter in chapters if chapter not in stems and places.SCORE not in stems]
    if lacking:
        print(f"\nNo record of {', '.join(lacking)}: see above. The same command tries again what failed.")
    print(
        f"\nThe records of {model} are whole and lie in {target}: {', '.join(path.stem for path in made)}. To contribute them:\n"
    )
    print(
        f"  git switch -c results-{places.slug(model)}\n  git add {target}\n  git commit -m 'Results of {model}'\n  git push -u origin HEAD    # and open a pull request"
    )


def for_the_page(record):
    """The record without the tables that no page has a use for: those of chapter 4 alone hold thousands of edits."""
    if record.get("chapter", "01-find-heads") == "01-find-heads":
        return record
    return record | {"tables": {name: record["tables"][name] for name in KEPT.get(record["chapter"], ())}}


def recompute(paths):
    """Score the models of these records again where this machine can; returns a sentence for each that differs."""
    for path in paths:
        record = check(path)
        stored = results.from_score(record) if path.stem == places.SCORE else record
        about, was = stored["tables"]["model"][0], stored["findings"]
        try:
            with tempfile.TemporaryDirectory() as folder:
                again = Path(folder) / "score.json"
                score(record["model"], about["revision"], again)
                now = results.from_score(json.loads(again.read_text(encoding="utf8")))["findings"]
        except UserError as error:
            print(f"not scored again: {path}: {error}", flush=True)
            continue
        same = all(abs(was[name]["value"] - now[name]["value"]) <= 0.01 for name in ("best_macro", "best_micro"))
        print(
            f"{'the same' if same else 'DIFFERENT'}: {path}: macro {was['best_macro']['value']:.4f}, again {now['best_macro']['value']:.4f}",
            flush=True,
        )
        if not same:
            yield f"{path} says macro {was['best_macro']['value']:.4f}, and it is {now['best_macro']['value']:.4f}: look at both before you show it"


def stored_scores(paths):
    """Of these records, those with a canonical score."""
    return [path for path in paths if path.stem in ("01-find-heads", places.SCORE)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a hub id, grown/NAME, or published/NAME")
    parser.add_argument("--revision", help="branch, tag or commit of a hub model")
    for option in HOW:
        parser.add_argument(f"--{option}", default="", help="as for bookkit.build")
    parser.add_argument(
        "--score-only", action="store_true", help="the scores alone, streamed, even where the model would fit"
    )
    parser.add_argument(
        "--chapters", nargs="*", choices=SHOWN, metavar="CHAPTER", help="these alone, as in 02-ov-circuit"
    )
    parser.add_argument(
        "--check", nargs="*", type=Path, metavar="FILE", help="check these records, or all that are stored"
    )
    parser.add_argument(
        "--recompute", nargs="*", type=Path, metavar="FILE", help="score the models of these records again, or of all"
    )
    arguments = parser.parse_args()
    stored = sorted(results.STORED.glob("*/*.json"))
    try:
        if arguments.check is not None:
            for path in arguments.check or stored:
                check(path)
            print(f"{len(arguments.check or stored)} records are whole and plausible.")
        elif arguments.recompute is not None:
            if list(recompute(stored_scores(arguments.recompute or stored))):
                sys.exit(1)
        elif arguments.model:
            how = [f"--{name}={value}" for name in HOW if (value := getattr(arguments, name.replace("-", "_")))]
            contribute(
                arguments.model,
                revision=arguments.revision,
                score_only=arguments.score_only,
                chapters=arguments.chapters or SHOWN,
                how=how,
            )
        else:
            parser.error("name a model, as in openai-community/gpt2, or say --check or --recompute")
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Stopped. What was measured is kept: the next call goes on from there.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
