"""Accept what a chapter finds: run it from several seeds and store each finding with the tolerance that their spread gives.

    python book/tools/accept.py notebooks/03-mod-10-features.ipynb --model grown/pythia --seeds 0 1 2

writes tests/accepted/grown__pythia/03-mod-10-features.json. The tests compare every later record with it (see
`differences`). Run it again when a chapter, or the model, has changed on purpose, and look at the difference in git.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import papermill
import places

ACCEPTED = Path("tests/accepted")
# Of the value, and at the least: what another processor or another version of torch may change.
RELATIVE, ABSOLUTE = 0.02, 0.01


def accepted(findings_by_seed):
    """The first seed's findings, each with its tolerance: twice the range over the seeds, plus a little.

    A finding that some seed did not make, or has no value, is left out.
    """
    first, *others = findings_by_seed
    kept = {}
    for name, finding in first.items():
        values = [finding["value"], *(other.get(name, {"value": None})["value"] for other in others)]
        if None not in values:
            spread = max(values) - min(values)
            tolerance = 2 * spread + RELATIVE * abs(values[0]) + ABSOLUTE
            kept[name] = {"value": values[0], "tolerance": round(tolerance, 4)}
    return kept


def differences(findings, kept):
    """Every accepted finding that is now missing, or further off than its tolerance, as a sentence."""
    told = []
    for name, was in kept.items():
        value = findings.get(name, {"value": None})["value"]
        if value is None:
            told.append(f"{name} was {was['value']:.4g} and is missing")
        elif abs(value - was["value"]) > was["tolerance"]:
            told.append(f"{name} was {was['value']:.4g} ± {was['tolerance']:.2g} and is {value:.4g}")
    return told


def findings_of(notebook, model, seed):
    """Run a chapter from a seed and return its record's findings."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SUCCESSOR_HEADS_RECORDS"] = folder
        print(f"{notebook.stem} on {model}, seed {seed}", flush=True)
        papermill.execute_notebook(
            notebook,
            None,
            parameters={"MODEL": places.subject(model), "SEED": seed},
            cwd=folder,
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # else it warns of TCP at every start
        )
        (record,) = Path(folder).rglob(f"{notebook.stem}.json")
        return json.loads(record.read_text(encoding="utf8"))["findings"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--model", default=places.DEFAULT_MODEL)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    kept = accepted([findings_of(arguments.notebook, arguments.model, seed) for seed in arguments.seeds])
    path = ACCEPTED / places.slug(arguments.model) / f"{arguments.notebook.stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = {"model": arguments.model, "chapter": arguments.notebook.stem, "seeds": arguments.seeds, "findings": kept}
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf8")
    print(f"{len(kept)} findings accepted into {path}")


if __name__ == "__main__":
    main()
