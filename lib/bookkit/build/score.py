"""Score one model that is too large to be loaded, within limits, and write its record whole or not at all.

The Snakefile calls this where models.yml says `run: score`. The record is that of `successor-heads score MODEL --json`.
A run that failed leaves a note of the form that a failed chapter has in its metadata.
"""

import argparse
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from bookkit import places
from bookkit.build.execute import machine, peak_rss_bytes, stop_when_orphaned, versions
from bookkit.build.limits import Limits
from successor_heads.errors import UserError
from successor_heads.files import write_json


def command(*, output, model, settings, remote):
    """The command line that scores this model."""
    options = [f"--{name}={value}" for name, value in settings.items() if value]
    how = "--remote" if remote else "--stream"
    return [
        str(Path(sys.executable).with_name("successor-heads")),
        "score",
        model,
        how,
        *options,
        "--json",
        str(output),
    ]


def run(*, output, model, remote, minutes, memory_mb, **settings):
    """Score the model; returns what went wrong in a sentence, or None when all went well."""
    failed = Path(places.failed(output.parent.name, places.SCORE))
    for path in (output, failed):
        path.parent.mkdir(parents=True, exist_ok=True)
    failed.unlink(missing_ok=True)
    started, clock = datetime.now(UTC), time.monotonic()
    with Limits(minutes=minutes, memory_mb=memory_mb) as limits:
        scoring = subprocess.run(
            command(output=output, model=model, settings=settings, remote=remote), stderr=subprocess.PIPE, text=True
        )
    if scoring.returncode == 0:
        return None
    last_words = (scoring.stderr.strip() or f"ended with status {scoring.returncode}").splitlines()[-1]
    error = str(limits.exceeded or last_words)
    note = {
        "chapter": places.SCORE,
        "model": model,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 1),
        "peak_rss_bytes": peak_rss_bytes(),
        "machine": machine(),
        "versions": versions(),
        "result": "failed",
        "error": {"cell": None, "source": "", "error": error},
    }
    with suppress(UserError):  # the disk is full: better no note than half of one
        write_json(failed, note)
    return error


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="_build/records/FOLDER/score.json")
    parser.add_argument("--model", required=True)
    parser.add_argument("--revision")
    parser.add_argument("--dtype")
    parser.add_argument("--device")
    parser.add_argument("--remote", type=lambda word: word == "True", help="True: the weights stay on NDIF")
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--memory-mb", type=float, default=0)
    arguments = parser.parse_args()
    stop_when_orphaned()
    error = run(**vars(arguments))
    if error:
        sys.exit(f"\nThe scores of {arguments.model} failed: {error}")


if __name__ == "__main__":
    main()
