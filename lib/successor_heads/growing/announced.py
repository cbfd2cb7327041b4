"""The experiments of chapter 6 as they were announced before they were run: ``expectations.yml``.

announced.arms()["parts"]                      # what an arm holds out or changes, and its seeds
announced.runs()["parts-seed0"]                # the options of ``successor-heads grow`` that run it
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("expectations.yml")


@cache
def experiments() -> dict[str, Any]:
    """The file as it is read: definitions, statistics, arms, experiments, and what was added later."""
    return yaml.safe_load(FILE.read_text(encoding="utf8"))


def later() -> list[dict[str, Any]]:
    """What was added with runs of its own, before these: entries of `added` that have an experiment, arms and seeds."""
    return [entry for entry in experiments()["added"] if "experiment" in entry]


@cache
def arms() -> dict[str, dict[str, Any]]:
    """Every arm, those added later behind the others, each with its `seeds`."""
    groups = [(experiments()["arms"], experiments()["common"]["seeds"])]
    groups += [(entry["arms"], entry["seeds"]) for entry in later()]
    return {name: {**arm, "seeds": seeds} for its, seeds in groups for name, arm in its.items()}


def waves() -> list[int]:
    """The waves in which the arms are run, the most valuable first."""
    return sorted({arm["wave"] for arm in arms().values()})


def runs(*, of: list[int] | None = None) -> dict[str, str]:
    """Name of each run -> its options, in the order in which they are run; of some waves, or of all.

    Wave after wave, and within a wave all arms of one seed before the next: wherever it stops, arms have equal seeds.
    """
    common = experiments()["common"]["options"]
    return {
        f"{name}-seed{seed}": options(arm, common, seed)
        for wave in (waves() if of is None else of)
        for place in range(max(len(arm["seeds"]) for arm in arms().values()))
        for name, arm in arms().items()
        if arm["wave"] == wave
        for seed in arm["seeds"][place : place + 1]
    }


def options(arm: dict[str, Any], common: str, seed: int) -> str:
    """The options of one run: those common to all, with what the arm changes; given again, an option replaces the first."""
    if arm.get("prose"):
        common = common.replace("--without prose", "")
    if "size" in arm:
        common = common.replace("--size tiny", f"--size {arm['size']}")
    held_out = [f"--hold-out {part}" for part in arm.get("hold_out", [])]
    return " ".join([*common.split(), *held_out, *arm.get("options", "").split(), "--seed", str(seed)])


def run_of(name: str) -> tuple[str, int]:
    """Arm and seed of a run's name: ("dose-0.3", 2) of "dose-0.3-seed2"."""
    arm, _, seed = name.rpartition("-seed")
    return arm, int(seed)


def committed() -> str | None:
    """When the file entered the project's history, as git tells it; None where there is no whole history to ask."""
    git = ["git", "-C", str(FILE.parent)]
    try:
        shallow = subprocess.run(
            [*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True, check=True
        )
        log = ["log", "--diff-filter=A", "--date=format:%Y-%m-%d %H:%M", "--format=%cd (commit %h)", "--", FILE.name]
        added = subprocess.run([*git, *log], capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return None
    return added[-1] if added and shallow.stdout.strip() == "false" else None
