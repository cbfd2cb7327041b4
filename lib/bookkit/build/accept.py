"""Accept what chapters find: run each from several seeds and store every finding with the tolerance that their spread gives.

    make accept                                       # the chapters whose last record is not what was accepted
    make accept MODEL=grown/llama
    python -m bookkit.build.accept notebooks/03-mod-10-features.ipynb --seeds 0 1 2
    python -m bookkit.build.accept --compare             # accept nothing: say where the records of any model differ

writes tests/accepted/grown__pythia/03-mod-10-features.json and prints what it changes, before and after. The tests
compare every later record with it (see `differences`).
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import papermill

from bookkit import places
from bookkit.build.execute import OwnKernel
from successor_heads.files import RECORDS_VARIABLE, write_json

ACCEPTED = Path("tests/accepted")
# Of the value, and at the least: what another processor or another version of torch may change.
RELATIVE, ABSOLUTE = 0.02, 0.01


def accepted(findings_by_seed):
    """The first seed's findings, each with its tolerance: twice the range over the seeds, plus a little.

    A finding that some seed did not make, or has no value, is left out; so is what a run cost, which is the machine's.
    """
    first, *others = findings_by_seed
    kept = {}
    for name, finding in first.items():
        values = [finding["value"], *(other.get(name, {"value": None})["value"] for other in others)]
        if None not in values and not name.startswith("seconds"):
            spread = max(values) - min(values)
            tolerance = 2 * spread + RELATIVE * abs(values[0]) + ABSOLUTE
            kept[name] = {"value": values[0], "tolerance": round(tolerance, 4)}
    return kept


def differences(findings, kept):
    """Every accepted finding that is now missing, or further off than its tolerance, as a sentence."""
    sentences = []
    for name, was in kept.items():
        value = findings.get(name, {"value": None})["value"]
        if value is None:
            sentences.append(f"{name} was {was['value']:.4g} and is missing")
        elif abs(value - was["value"]) > was["tolerance"]:
            sentences.append(f"{name} was {was['value']:.4g} ± {was['tolerance']:.2g} and is {value:.4g}")
    return sentences


def changes(before, after):
    """What accepting `after` in place of `before` would change, a line for each finding, old -> new."""

    def shown(finding):
        return f"{finding['value']:.4g} ± {finding['tolerance']:.2g}" if finding else "–"

    names = [
        name
        for name in [*before, *(name for name in after if name not in before)]
        if before.get(name) != after.get(name)
    ]
    width = max(map(len, names), default=0)
    lines = [f"  {name:{width}}  {shown(before.get(name)):>18}  ->  {shown(after.get(name))}" for name in names]
    return [*lines, f"  {len(after) - len([name for name in names if name in after])} findings as before"]


def accepted_path(model, chapter):
    """Where the accepted findings of a chapter on a model are stored."""
    return ACCEPTED / places.slug(model) / f"{chapter}.json"


def read_findings(path):
    """The findings in a record or in a file of accepted ones, none where there is no file."""
    return json.loads(path.read_text(encoding="utf8"))["findings"] if path.exists() else {}


def to_accept(model):
    """The notebooks whose last record on this model differs from what was accepted, or of which nothing was accepted."""
    for notebook in map(Path, map(places.notebook, places.chapters())):
        kept = read_findings(accepted_path(model, notebook.stem))
        record = Path(places.record(places.slug(model), notebook.stem))
        if not kept or (record.exists() and differences(read_findings(record), kept)):
            yield notebook


def findings_of(notebook, model, seed):
    """Run a chapter from a seed and return its record's findings."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[RECORDS_VARIABLE] = folder
        print(f"{notebook.stem} on {model}, seed {seed}", flush=True)
        papermill.execute_notebook(
            notebook,
            None,
            parameters={"MODEL": places.subject(model), "SEED": seed},
            cwd=folder,
            progress_bar=False,
            kernel_manager_class=OwnKernel,
        )
        (record,) = Path(folder).rglob(f"{notebook.stem}.json")
        return json.loads(record.read_text(encoding="utf8"))["findings"]


def compare():
    """A sentence for every finding in _build/records that is not what was accepted; what was not run is not compared."""
    sentences = []
    for path in sorted(ACCEPTED.glob("*/*.json")):
        record = Path(places.record(path.parent.name, path.stem))
        if record.exists():
            model = json.loads(path.read_text(encoding="utf8"))["model"]
            sentences += [
                f"{model}, {path.stem}: {difference}"
                for difference in differences(read_findings(record), read_findings(path))
            ]
    return sentences


def accept(notebook, model, seeds):
    """Run a chapter from these seeds, store what it finds, and print what that changes."""
    path = accepted_path(model, notebook.stem)
    before, after = read_findings(path), accepted([findings_of(notebook, model, seed) for seed in seeds])
    write_json(path, {"model": model, "chapter": notebook.stem, "seeds": seeds, "findings": after})
    print(f"Accepted into {path}:", *changes(before, after), sep="\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "notebooks", type=Path, nargs="*", help="left out, the chapters whose last record is not what was accepted"
    )
    parser.add_argument("--model", default="", help=f"{places.DEFAULT_MODEL} if left empty")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--compare", action="store_true", help="accept nothing, and fail if a record is not what was accepted"
    )
    arguments = parser.parse_args()
    model = arguments.model or places.DEFAULT_MODEL
    if arguments.compare:
        sys.exit("\n".join(compare()) or None)
    notebooks = arguments.notebooks or list(to_accept(model))
    if not notebooks:
        print(f"The last records of {model} are what was accepted: there is nothing to accept.")
    for notebook in notebooks:
        accept(notebook, model, arguments.seeds)


if __name__ == "__main__":
    main()
