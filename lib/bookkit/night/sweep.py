"""Run the chapters on every model of models.yml, or on some, and say at the end what came of each.

    python -m bookkit.night.sweep                                    everything that this machine can take
    python -m bookkit.night.sweep --models grown/llama --chapters 01-find-heads
    python -m bookkit.night.sweep --plan                             print what would run, as JSON, and what is skipped
    python -m bookkit.night.sweep --device cuda --profile profiles/slurm

The work is the Snakefile's: what is done is not done again, what fails does not hold up the rest, and a sweep that was
killed goes on where it stopped. A model that this machine cannot take is skipped, and it is said why. A model that was
asked for by name is not skipped: it runs, or it fails. The exit status is 0 when all that should have run has run.

It leaves
    _build/records/FOLDER/CHAPTER.json      the record of each chapter; FOLDER is the model's name, with __ for /
    _build/records/FOLDER/score.json        of a model too large to be loaded, the record of `successor-heads score`
    _build/executed/FOLDER/CHAPTER.ipynb    the executed chapters; of those that failed, CHAPTER.failed.ipynb
    _build/sweep/sweep.json                 what came of each: a list `results` of {model, chapter, result, reason, cell,
                                            error, date, seconds, peak_rss_bytes}, where `result` is ok, failed or skipped
"""

import argparse
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import psutil
import yaml
from huggingface_hub import constants, get_session, get_token, try_to_load_from_cache

from bookkit import places
from bookkit.build import workflow
from bookkit.build.execute import machine
from successor_heads.errors import UserError
from successor_heads.files import write_json

MODELS = Path("models.yml")
SETTINGS = ("revision", "dtype", "device", "remote")
KEYS = {"name", "parameters", "run", "chapters", "needs", "memory_gb", "minutes", "gpus", *SETTINGS}
# Of the memory that is free when a sweep begins: the rest is for the system, and for whoever works beside it.
SHARE_OF_MEMORY = 0.9
MINUTES_TO_SET_UP = 20


def read_models(path, *, device=""):
    """The entries of models.yml, defaults and, for a GPU, what differs there filled in.

    Raises UserError for a key unknown, and for a setting that YAML takes for a number.
    """
    text = yaml.safe_load(path.read_text(encoding="utf8"))
    entries = []
    for entry in text["models"]:
        entry = {**text.get("defaults", {}), **entry}
        on_gpu = entry.pop("gpu", {})
        unknown = (set(entry) | set(on_gpu)) - KEYS
        if unknown:
            raise UserError(
                f"{path} has no key {min(unknown)!r} ({entry['name']}): choose from {', '.join(sorted(KEYS))}."
            )
        for name in ("revision", "dtype", "device"):
            if not isinstance({**entry, **on_gpu}.get(name, ""), str):
                raise UserError(
                    f"{path} gives {entry['name']} a {name} that YAML takes for a number: put it in quotes."
                )
        if device == "cuda" and on_gpu:
            entry |= on_gpu
            entry["device"] = "cuda" if entry["gpus"] == 1 else "auto"
        elif device == "cuda":
            entry.setdefault("device", "cpu")  # or its chapters would take a GPU that was given to another entry
        entries.append(entry)
    return entries


def chosen(entries, names):
    """The entries of these names in the order of models.yml, or all. A name that is not there gets an entry of its own."""
    known = {entry["name"] for entry in entries}
    picked = [entry for entry in entries if not names or entry["name"] in names]
    return picked + [{"name": name, "minutes": 60} for name in names if name not in known]


def chapters_of(entry, chapters):
    """What runs on a model: its chapters among those that are wanted, or its scores alone."""
    if entry.get("run") == places.SCORE:
        return [places.SCORE] if places.SCORE in chapters else []
    return [chapter for chapter in entry.get("chapters", chapters) if chapter in chapters and chapter != places.SCORE]


def reason_to_skip(entry, *, memory_gb, gpus, hub):
    """Why this machine cannot take the model, in words, or None. Of memory and GPUs None stands for: no limit."""
    missing = [name for name in entry.get("needs", []) if not has(name)]
    if missing:
        return f"no {missing[0]} in the environment"
    if memory_gb is not None and entry.get("memory_gb", 0) > memory_gb:
        return f"needs {entry['memory_gb']} GB of memory, {memory_gb:.0f} GB are free"
    if gpus is not None and entry.get("gpus", 0) > gpus:
        return f"needs {entry['gpus']} GPUs, there are {gpus}"
    if is_hub_id(entry["name"]) and not hub and not is_cached(entry["name"]):
        return "the hub cannot be reached"
    return None


def has(name):
    """Whether a key is set. The hub's may also have been left by `hf auth login`."""
    return bool(get_token() if name == "HF_TOKEN" else os.environ.get(name))


def is_hub_id(name):
    """Whether a name is to be looked up on the hub, as in successor_heads.models, which takes long to import."""
    return not name.startswith(("grown/", "published/", ".", "/", "~")) and not Path(name).exists()


def is_cached(name):
    """Whether the model is on this machine already."""
    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def hub_answers():
    """Whether the hub can be reached from here."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        return get_session().head(constants.ENDPOINT, timeout=10).status_code < 500
    except Exception:  # whatever the network makes the HTTP library raise
        return False


def gpus_here():
    """How many NVIDIA GPUs this machine has."""
    if not shutil.which("nvidia-smi"):
        return 0
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return len(listed.stdout.splitlines()) if listed.returncode == 0 else 0


def subject(entry, parts):
    """An entry as the Snakefile takes it."""
    return {
        "name": entry["name"],
        "model": places.subject(entry["name"]),
        "parts": parts,
        "settings": {name: entry[name] for name in SETTINGS if name in entry},
        "memory_mb": round(1000 * entry.get("memory_gb", 0)),
        "minutes": entry["minutes"],
        "gpus": entry.get("gpus", 0),
        "needs": entry.get("needs", []),
    }


def make_plan(entries, chapters, *, memory_gb, gpus, hub, named):
    """What runs, by folder, as the Snakefile takes it; and the results of what is skipped."""
    plan, skipped = {}, []
    for entry in entries:
        parts = chapters_of(entry, chapters)
        reason = None if named else reason_to_skip(entry, memory_gb=memory_gb, gpus=gpus, hub=hub)
        if reason:
            skipped += [
                {"model": entry["name"], "chapter": part, "result": "skipped", "reason": reason} for part in parts
            ]
        elif parts:
            described = subject(entry, parts)
            plan[places.slug(described["model"])] = described
    return plan, skipped


def jobs_of(plan):
    """A plan as the nightly run takes it: one machine a chapter and model, the time to set it up included in its limit."""
    for slug, described in plan.items():
        for part in described["parts"]:
            about = {"model": described["name"], "slug": slug, "chapter": part}
            yield about | {"needs": described["needs"], "timeout_minutes": described["minutes"] + MINUTES_TO_SET_UP}


def snakemake(*, cores, profile, cell_timeout, memory_gb, gpus, dry_run=False):
    """Run the Snakefile's sweep; returns its exit status. Where there is no cluster, memory and GPUs are shared out."""
    command = ["sweep", *workflow.OPTIONS]
    if dry_run:
        command = ["sweep", "--dry-run", "--nolock", "--quiet", "host"]
    command += ["--config", f"plan={places.PLAN}", f"cell_timeout={cell_timeout}"]
    if profile:
        command += [f"threads={cores}", "--profile", profile]
    else:
        command += ["--cores", str(cores), "--resources", f"mem_mb={round(1000 * memory_gb)}", f"gpu={gpus}"]
    ended = workflow.run(command)
    if why := ended.why():
        print(why, file=sys.stderr)
    return ended.status


def pending(*, cell_timeout):
    """The files that Snakemake would still make, after a sweep that it did not finish. None where it cannot tell."""
    command = [sys.executable, "-m", "snakemake", "sweep", "--summary", "--nolock", "--quiet", "all", "--cores", "1"]
    command += ["--config", f"plan={places.PLAN}", f"cell_timeout={cell_timeout}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return None
    rows = list(csv.DictReader(io.StringIO(done.stdout), delimiter="\t"))
    return {row["output_file"] for row in rows if row["plan"] != "no update"}


def result_of(slug, part, *, model, since, unfinished):
    """What came of one chapter on one model in a sweep that began at `since`, from what lies on the disk."""
    row = {"model": model, "chapter": part}
    failed, passed = Path(places.failed(slug, part)), Path(places.result(slug, part))
    if str(passed) not in unfinished and passed.exists():
        note = noted(passed)
        return row | {"result": "ok", "reason": None} | measured(note)
    note = noted(failed) if failed.exists() else None
    if note is None or note["started"] < since:
        return row | {"result": "failed", "reason": "it left no word: see what was printed above"}
    error = {"cell": note["error"]["cell"], "error": note["error"]["error"]}
    return row | {"result": "failed", "reason": None} | error | measured(note)


def noted(path):
    """What was measured when this file was made."""
    if path.suffix == ".ipynb":
        return nbformat.read(path, as_version=4).metadata["successor_heads"]
    note = json.loads(path.read_text(encoding="utf8"))
    return {"started": datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")} | note


def measured(note):
    """When it ran, for how long, and how much memory it took."""
    return {"date": note["started"], "seconds": note["seconds"], "peak_rss_bytes": note["peak_rss_bytes"]}


def table(results):
    """One line a model, one column a chapter: its run time, FAILED, or a dash. Then why, for each that is not there."""
    chapters = sorted({row["chapter"] for row in results}, key=lambda chapter: (chapter == places.SCORE, chapter))
    models = list(dict.fromkeys(row["model"] for row in results))
    at = {(row["model"], row["chapter"]): row for row in results}
    lines = [["", *(chapter.split("-")[0] for chapter in chapters)]]
    lines += [[model, *(shown(at.get((model, chapter))) for chapter in chapters)] for model in models]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines]
    failed = [sentence(row) for row in results if row["result"] == "failed"]
    skipped = dict.fromkeys(f"skipped {row['model']}: {row['reason']}" for row in results if row["result"] == "skipped")
    return "\n".join([*text, *failed, *skipped])


def shown(row):
    """One field of the table."""
    if row is None:
        return ""
    return {"ok": f"{row.get('seconds', 0):.0f} s", "failed": "FAILED", "skipped": "–"}[row["result"]]


def sentence(row):
    """What failed, where, and how."""
    cell = f", cell {row['cell']}" if row.get("cell") else ""
    first_line = (row.get("error") or row["reason"]).splitlines()[0]
    return f"FAILED  {row['chapter']} on {row['model']}{cell}: {first_line}"


def sweep(plan, skipped, **how):
    """Run a plan; returns the exit status and what goes into sweep.json, the skipped models included."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(places.PLAN, plan)
    status = snakemake(**how) if plan else 0
    jobs = [(slug, part, described["name"]) for slug, described in plan.items() for part in described["parts"]]
    unfinished = pending(cell_timeout=how["cell_timeout"]) if status else set()
    if unfinished is None:  # nothing is known, so nothing is taken for done
        unfinished = {places.result(slug, part) for slug, part, _ in jobs}
    results = [result_of(slug, part, model=name, since=started, unfinished=unfinished) for slug, part, name in jobs]
    results += skipped
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return status, {"schema": 1, "started": started, "finished": finished, "machine": machine(), "results": results}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="*", default=[], metavar="NAME", help="these alone, and none of them is skipped"
    )
    parser.add_argument(
        "--chapters", nargs="*", default=[], metavar="CHAPTER", help="these alone, as in 01-find-heads, or score"
    )
    parser.add_argument("--device", default="", choices=["", "cuda"], help="cuda: what models.yml says for a GPU holds")
    parser.add_argument("--profile", default="", help="of Snakemake, for a cluster: profiles/slurm")
    parser.add_argument(
        "--cores", default="2", help="how many chapters run at once; on a cluster, how many cores each gets"
    )
    parser.add_argument("--cell-timeout", default="3600", help="seconds that one cell may take")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--plan", action="store_true", help="print what would run and what is skipped, as JSON, and end")
    what.add_argument("--dry-run", action="store_true", help="show the jobs that are left to do, and end")
    arguments = parser.parse_args()

    cores = workflow.whole_number("CORES", arguments.cores)
    cell_timeout = workflow.whole_number("CELL_TIMEOUT", arguments.cell_timeout)
    existing = [*places.chapters(), places.SCORE]
    unknown = sorted(set(arguments.chapters) - set(existing))
    if unknown:
        sys.exit(f"There is no chapter {unknown[0]}: choose from {', '.join(existing)}.")
    entries = chosen(read_models(MODELS, device=arguments.device), arguments.models)
    memory_gb, gpus = SHARE_OF_MEMORY * psutil.virtual_memory().available / 1e9, gpus_here()
    here = not arguments.profile
    plan, skipped = make_plan(
        entries,
        arguments.chapters or existing,
        memory_gb=memory_gb if here else None,
        gpus=gpus if here else None,
        # A plan is made for others to carry out: whether they reach the hub is theirs to find out, and a failure if not.
        hub=arguments.plan or hub_answers(),
        named=bool(arguments.models),
    )
    if arguments.plan:
        print(json.dumps({"jobs": list(jobs_of(plan)), "skipped": skipped}, indent=1))
        return
    for sentence_of in dict.fromkeys(f"skipped {row['model']}: {row['reason']}" for row in skipped):
        print(sentence_of, flush=True)
    if not any(described["gpus"] or "device" in described["settings"] for described in plan.values()):
        # A chapter takes the GPU that it finds, but what models.yml says of memory and minutes was for the CPU.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    how = {"cores": cores, "profile": arguments.profile, "cell_timeout": cell_timeout}
    how |= {"memory_gb": memory_gb, "gpus": gpus}
    with workflow.take_lock():
        if arguments.dry_run:
            write_json(places.PLAN, plan)
            sys.exit(snakemake(**how, dry_run=True))
        status, report = sweep(plan, skipped, **how)
        print(f"\n{table(report['results'])}")
        write_json(places.SWEEP, report)
    if status:
        sys.exit("Not everything ran. What ran well is kept: the next call goes on from there.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("The sweep was stopped. What was done is kept: the next call goes on from there.", file=sys.stderr)
        sys.exit(130)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        sys.exit(
            f"The sweep could not go on ({error}): see that its folder can be written to and has room, and call it again."
        )
