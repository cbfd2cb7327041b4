"""What the nightly run does with its results: compare them with what was planned, keep them on a branch, fetch them again.

    python -m bookkit.night gather plan.json arrived night     planned against arrived; writes the folder night
    python -m bookkit.night store night --branch records       its records onto a branch, as one commit
    python -m bookkit.night fetch --branch records             that branch's records into _build, for the book

`plan.json` is what `bookkit.night.sweep --plan` prints. Below `arrived`, each job has left a folder night-FOLDER-CHAPTER with its
sweep.json and its record. In `night`, and on the branch:

    night.json                       date, commit, run and `results`, as in sweep.json
    records/FOLDER/CHAPTER.json      as in _build/records
    report.md                        what failed, and what was skipped, in words (not on the branch)

A job that was planned and left nothing counts as failed, and the exit status of `gather` is then 1.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bookkit import places
from successor_heads.files import write_json, write_text

# Names that come from elsewhere become paths here.
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
LARGEST_RECORD_BYTES = 5_000_000
# GitHub takes 65536 characters.
LONGEST_REPORT = 60_000


def read_json(path):
    """The content of a JSON file, or None where there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return None


def record_in(folder, job):
    """The record that a job left in its folder, or None: whole, not too large, and of this model and chapter."""
    for path in folder.rglob(f"{job['slug']}/{job['chapter']}.json"):
        record = read_json(path) if path.stat().st_size <= LARGEST_RECORD_BYTES else None
        if (
            isinstance(record, dict)
            and record.get("model") == job["model"]
            and record.get("chapter", job["chapter"]) == job["chapter"]
        ):
            return record
    return None


def result_of(job, folder):
    """What came of a job, by what lies in its folder: the result as in sweep.json, and its record or None."""
    planned = {"model": job["model"], "chapter": job["chapter"]}
    sweeps = [read_json(path) for path in folder.rglob("sweep.json")]
    rows = [row for sweep in sweeps if sweep for row in sweep["results"] if planned.items() <= row.items()]
    if not rows:
        return planned | {"result": "failed", "reason": "it was planned, and nothing arrived"}, None
    record = record_in(folder, job)
    if rows[0]["result"] == "ok" and record is None:
        return rows[0] | {"result": "failed", "reason": "it went well, and its record did not arrive"}, None
    return rows[0], record if rows[0]["result"] == "ok" else None


def gather(plan, arrived, night):
    """Write the folder `night`; returns the results."""
    results = []
    for job in plan["jobs"]:
        if not (NAME.fullmatch(job["slug"]) and NAME.fullmatch(job["chapter"])):
            raise ValueError(
                f"The plan names a folder {job['slug']!r} or a chapter {job['chapter']!r} that cannot be a file's name."
            )
        result, record = result_of(job, arrived / f"night-{job['slug']}-{job['chapter']}")
        results.append(result)
        if record is not None:
            write_json(night / "records" / job["slug"] / f"{job['chapter']}.json", record)
    results += plan["skipped"]
    about = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": os.environ.get("GITHUB_SHA"),
        "run": run_address(os.environ),
    }
    write_json(night / "night.json", {"schema": 1} | about | {"results": results})
    (night / "report.md").write_text(report(results, about["run"]), encoding="utf8")
    return results


def run_address(environment):
    """The page of this run on GitHub, or None elsewhere."""
    parts = [environment.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    return "{}/{}/actions/runs/{}".format(*parts) if all(parts) else None


def report(results, address):
    """What the issue says: chapter, model, cell and error of each failure, and what was skipped."""
    failed = [row for row in results if row["result"] == "failed"]
    passed = sum(row["result"] == "ok" for row in results)
    lines = [f"{len(failed)} failed, {passed} passed, {len(results) - len(failed) - passed} skipped."]
    lines += [f"The run, with its executed notebooks: {address}"] if address else []
    if failed:
        lines += ["", "| Chapter | Model | Cell | Error |", "|---|---|---|---|"]
    for row in failed:
        cells = [row["chapter"], row["model"], row.get("cell") or "–", row.get("error") or row["reason"]]
        lines.append("| " + " | ".join(map(quoted, cells)) + " |")
    skipped = dict.fromkeys(
        f"- {quoted(row['model'])}: {row['reason']}" for row in results if row["result"] == "skipped"
    )
    lines += ["", "Skipped:", "", *skipped] if skipped else []
    return "\n".join(lines)[:LONGEST_REPORT] + "\n"


def quoted(text):
    """Text as code in a Markdown table, so that nothing in it is a link, a mention or a column."""
    line = " ".join(str(text).split())[:500]
    return "`" + line.replace("`", "'").replace("|", "¦") + "`"


def git(*arguments, cwd="."):
    """Run git; returns what it printed. Raises CalledProcessError."""
    return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


def fetched(branch, remote):
    """Whether the remote has the branch, which is then at FETCH_HEAD. Raises CalledProcessError where git fails."""
    if not git("ls-remote", "--heads", remote, branch).strip():
        return False
    git("fetch", "--quiet", "--depth", "1", remote, branch)
    return True


def store(night, branch, *, remote="origin"):
    """Put what arrived onto the branch, beside what earlier nights left there, and push it."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "branch"
        exists = fetched(branch, remote)
        git("worktree", "add", "--quiet", "--detach", str(tree), *(["FETCH_HEAD"] if exists else []))
        try:
            if not exists:
                git("checkout", "--quiet", "--orphan", f"new-{branch}", cwd=tree)
                git("rm", "--quiet", "-r", "-f", ".", cwd=tree)
            shutil.copy(night / "night.json", tree)
            if (night / "records").exists():
                shutil.copytree(night / "records", tree / "records", dirs_exist_ok=True)
            git("add", "--all", cwd=tree)
            if exists and not git("status", "--porcelain", cwd=tree):
                return
            date = json.loads((night / "night.json").read_text(encoding="utf8"))["date"]
            git(
                "-c",
                "user.name=Nightly run",
                "-c",
                "user.email=nightly@users.noreply.github.com",
                "commit",
                "--quiet",
                "--message",
                f"Records of {date}",
                cwd=tree,
            )
            git("push", "--quiet", remote, f"HEAD:refs/heads/{branch}", cwd=tree)
        finally:
            git("worktree", "remove", "--force", str(tree))


def fetch(branch, *, remote="origin"):
    """Bring the branch's records to where the book looks for them; returns how many. What was made here is left alone."""
    if not fetched(branch, remote):
        return 0
    names = git("ls-tree", "-r", "--name-only", "FETCH_HEAD").splitlines()
    ours = {name: Path(places.RECORDS, *Path(name).parts[1:]) for name in names if name.startswith("records/")}
    wanted = {name: path for name, path in ours.items() if not path.exists()}
    for name, path in (wanted | ({"night.json": places.NIGHT} if "night.json" in names else {})).items():
        write_text(path, git("show", f"FETCH_HEAD:{name}"))
    return len(wanted)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    gathering = commands.add_parser("gather")
    for name in ("plan", "arrived", "night"):
        gathering.add_argument(name, type=Path)
    storing = commands.add_parser("store")
    storing.add_argument("night", type=Path)
    fetching = commands.add_parser("fetch")
    for command in (storing, fetching):
        command.add_argument("--branch", default="records")
    arguments = parser.parse_args()
    match arguments.command:
        case "gather":
            results = gather(json.loads(arguments.plan.read_text(encoding="utf8")), arguments.arrived, arguments.night)
            print((arguments.night / "report.md").read_text(encoding="utf8"))
            if not any(row["result"] == "ok" for row in results) or any(row["result"] == "failed" for row in results):
                sys.exit("Not everything that should have run has run.")
        case "store":
            store(arguments.night, arguments.branch)
        case "fetch":
            print(f"{fetch(arguments.branch)} records of the branch {arguments.branch}.")


if __name__ == "__main__":
    main()
