"""The sweep, on a scratch copy with tiny notebooks: what runs, what is skipped, what survives a failure and a kill."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import nbformat
import pytest
import yaml

from bookkit import places
from bookkit.night import sweep
from scratch import ROOT, Scratch
from successor_heads.errors import UserError

CHAPTERS = [*places.chapters(ROOT), places.SCORE]
# What can happen to a chapter, by the model that it runs on.
MISFORTUNES = {
    "grown/raises": "raise ValueError('planted')",
    "grown/hangs": "import time; time.sleep(600)",
    "grown/eats": "held = [bytearray(b'1' * 50_000_000) for _ in range(40)]\nimport time; time.sleep(600)",
    "grown/dies": "import os; os._exit(9)",
    # As on a full disk: from here on the process that keeps the notebook can write no file of more than 1000 bytes.
    "grown/disk": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_FSIZE, (1000, 1000))",
}
MISFORTUNE = f"import json\nexec(json.loads({json.dumps(json.dumps(MISFORTUNES))}).get(MODEL, ''))"


class SweepScratch(Scratch):
    """A small project with a models.yml of its own."""

    def models(self, *entries):
        (self.folder / "models.yml").write_text(yaml.safe_dump({"defaults": {"minutes": 60}, "models": list(entries)}))

    def command(self, *options):
        return [sys.executable, "-m", "bookkit.night.sweep", *options]

    def results(self):
        """What came of each, by model and chapter."""
        told = json.loads((self.folder / "_build/sweep/sweep.json").read_text())["results"]
        return {(row["model"], row["chapter"]): row for row in told}

    def left_over(self):
        """Files that something began to write and did not end."""
        return [path.name for path in (self.folder / "_build").rglob("*") if path.name.startswith(".")]


@pytest.fixture
def scratch(tmp_path):
    scratch = SweepScratch(tmp_path)
    # As it is on a machine without keys.
    for key in ("HF_TOKEN", "NDIF_API_KEY"):
        scratch.environment.pop(key, None)
    scratch.environment["HF_HUB_OFFLINE"] = "1"
    yield scratch
    for sweeping in scratch.started:
        sweeping.kill()
        sweeping.wait()


def test_what_goes_wrong_on_one_model_is_told_and_holds_up_no_other(scratch):
    scratch.notebook("01-first", MISFORTUNE, "after = 1")
    scratch.notebook("02-second")
    tried = [{"name": name, "chapters": ["01-first"], "memory_gb": 0.5} for name in MISFORTUNES]
    scratch.models(
        {"name": "grown/good"}, *tried, {"name": "grown/pythia", "run": "score"}, {"name": "grown/also-good"}
    )
    done, ran = scratch.build("--cores", "4", "--cell-timeout", "20")
    assert done.returncode == 1
    assert "Not everything ran" in done.stderr

    results = scratch.results()
    good = {model for (model, _), row in results.items() if row["result"] == "ok"}
    assert good == {"grown/good", "grown/also-good", "grown/pythia"}
    assert ran == ["01-first", "01-first", "02-second", "02-second"]
    for model, chapter in [key for key, row in results.items() if row["result"] == "ok"]:
        record = json.loads((scratch.folder / f"_build/records/{model.replace('/', '__')}/{chapter}.json").read_text())
        assert record.get("chapter", chapter) == chapter
    errors = {
        model: row.get("error") or row["reason"] for (model, _), row in results.items() if row["result"] == "failed"
    }
    assert errors["grown/raises"] == "ValueError: planted"
    assert "CellTimeoutError" in errors["grown/hangs"]
    assert errors["grown/eats"] == "LimitExceeded: stopped when it held more than 0.5 GB, the limit for one chapter"
    assert "DeadKernelError" in errors["grown/dies"]
    assert "left no word" in errors["grown/disk"]
    assert set(errors) == set(MISFORTUNES)
    assert {results[model, "01-first"]["cell"] for model in MISFORTUNES if model != "grown/disk"} == {3}
    for model, error in errors.items():
        first = error.splitlines()[0]
        assert any(
            line.startswith(f"FAILED  01-first on {model}") and first in line for line in done.stdout.splitlines()
        )
    assert "File too large" in done.stderr
    assert scratch.left_over() == []
    for model in MISFORTUNES:
        assert not scratch.executed("01-first", model.replace("/", "__")).exists()
        assert not list((scratch.folder / "_build/records" / model.replace("/", "__")).glob("*.json"))

    # What failed is tried again and nothing else is.
    scratch.models(
        {"name": "grown/good"},
        {"name": "grown/raises", "chapters": ["01-first"]},
        {"name": "grown/pythia", "run": "score"},
    )
    done, ran = scratch.build()
    assert (done.returncode, ran) == (1, [])
    assert "FAILED  01-first on grown/raises, cell 3: ValueError: planted" in done.stdout
    assert scratch.results()["grown/good", "01-first"]["result"] == "ok"


def without_times(text):
    """A JSON file's content without what differs from run to run: dates and durations."""
    timed = {"created", "started", "seconds", "peak_rss_bytes", "start_time", "end_time", "duration"}

    def cut(value):
        if isinstance(value, dict):
            # When each cell started and ended, as the kernel's messages say.
            return {key: cut(item) for key, item in value.items() if key not in timed and key != "execution"}
        return [cut(item) for item in value] if isinstance(value, list) else value

    return json.dumps(cut(json.loads(text)), sort_keys=True)


def all_results(folder):
    """Every record and executed notebook, by its place."""
    files = [
        path for kind in ("records", "executed") for path in (folder / "_build" / kind).rglob("[!.]*") if path.is_file()
    ]
    return {str(path.relative_to(folder)): without_times(path.read_text()) for path in files}


@pytest.mark.book
def test_killed_ten_times_and_resumed_it_ends_as_if_unbroken(tmp_path):
    folders = [tmp_path / "unbroken", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
        scratch = SweepScratch(folder)
        scratch.models(*({"name": f"grown/{name}"} for name in "abc"))
        for chapter in ("01-first", "02-second", "03-third"):
            scratch.notebook(chapter, "import time; time.sleep(0.5)", "print(sum(map(ord, MODEL)))")
        if folder.name == "unbroken":
            assert scratch.build()[0].returncode == 0

    randomness, kills = random.Random(0), 0
    while kills < 10:
        sweeping = subprocess.Popen(
            scratch.command("--cores", "2"), cwd=scratch.folder, env=scratch.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            assert sweeping.wait(timeout=randomness.uniform(1, 6)) == 0
            shutil.rmtree(scratch.folder / "_build")  # it was faster than its killer: from the start, then
        except subprocess.TimeoutExpired:
            os.killpg(sweeping.pid, signal.SIGKILL)
            sweeping.wait()
            kills += 1
        all_results(scratch.folder)  # which reads every file: none is half written
    done, _ = scratch.build("--cores", "2")
    assert done.returncode == 0, done.stderr
    unbroken, killed = map(all_results, folders)
    assert len(unbroken) == 18
    assert killed == unbroken
    assert scratch.left_over() == []


def test_a_model_that_cannot_be_run_here_is_skipped_with_its_reason_unless_it_is_named(scratch):
    scratch.notebook("01-first")
    scratch.models(
        {"name": "grown/good", "dtype": "bfloat16", "remote": True, "revision": "a b"},
        {"name": "meta-llama/Llama-2-7b-hf", "needs": ["HF_TOKEN"], "run": "score"},
        {"name": "someone/large", "memory_gb": 5000},
        {"name": "someone/far"},
    )
    done, ran = scratch.build()
    assert (done.returncode, ran) == (0, ["01-first"]), done.stderr
    injected = scratch.executed("01-first", "grown__good").read_text()
    assert all(text in injected for text in ('DTYPE = \\"bfloat16\\"', "REMOTE = True", 'REVISION = \\"a b\\"'))
    assert "skipped meta-llama/Llama-2-7b-hf: no HF_TOKEN in the environment" in done.stdout
    assert "skipped someone/large: needs 5000 GB of memory, " in done.stdout
    assert "skipped someone/far: the hub cannot be reached" in done.stdout
    assert [row["result"] for row in scratch.results().values()] == ["ok", "skipped", "skipped", "skipped"]

    done, ran = scratch.build("--models", "meta-llama/Llama-2-7b-hf")
    assert done.returncode == 1
    assert "FAILED  score on meta-llama/Llama-2-7b-hf: meta-llama/Llama-2-7b-hf is not on this machine" in done.stdout


def test_a_sweep_and_a_book_share_what_they_ran(scratch):
    scratch.notebook("01-first")
    scratch.models({"name": "grown/pythia"})
    assert scratch.build()[1] == ["01-first"]
    scratch.command = lambda *options: [sys.executable, "-m", "bookkit.build", *options, "notebooks"]
    assert scratch.build()[1] == []


# In a process of its own: all that this one has started is stopped, and the tests' browser would be.
STOPPED = """
import signal, subprocess, sys

from bookkit.build import limits

grandchild = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
with limits.Limits(minutes=0.02) as watched:
    assert subprocess.run([sys.executable, "-c", grandchild]).returncode == -signal.SIGKILL
assert str(watched.exceeded) == "stopped after 0.02 minutes, the limit for one chapter"
assert limits.children() == []
with limits.Limits() as watched:
    subprocess.run([sys.executable, "-c", ""], check=True)
assert watched.exceeded is None
"""


@pytest.mark.slow
def test_processes_are_stopped_at_the_limit_of_time_with_whatever_they_started():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    subprocess.run([sys.executable, "-c", STOPPED], env=environment, check=True)


ON_A_LAPTOP = {"memory_gb": 8, "gpus": 0, "hub": True}


@pytest.mark.parametrize(
    ("entry", "machine", "reason"),
    [
        ({}, {}, None),
        ({"memory_gb": 9}, {}, "needs 9 GB of memory, 8 GB are free"),
        ({"memory_gb": 9}, {"memory_gb": None}, None),
        ({"gpus": 2}, {"gpus": 1}, "needs 2 GPUs, there are 1"),
        ({"gpus": 2}, {"gpus": None}, None),
        ({"needs": ["A_KEY_THAT_IS_NOT_THERE"]}, {}, "no A_KEY_THAT_IS_NOT_THERE in the environment"),
        ({}, {"hub": False}, "the hub cannot be reached"),
        ({"name": "grown/pythia"}, {"hub": False}, None),
    ],
)
def test_reasons_to_skip(entry, machine, reason):
    assert sweep.reason_to_skip({"name": "someone/model"} | entry, **ON_A_LAPTOP | machine) == reason


def test_chapters_and_scores_are_chosen_apart():
    assert sweep.chapters_of({}, ["01-first", "score"]) == ["01-first"]
    assert sweep.chapters_of({"run": "score"}, ["01-first", "score"]) == ["score"]
    assert sweep.chapters_of({"run": "score"}, ["01-first"]) == []
    assert sweep.chapters_of({"chapters": ["02-second"]}, ["01-first", "02-second", "score"]) == ["02-second"]
    names = [entry["name"] for entry in sweep.chosen([{"name": "a/a"}, {"name": "b/b"}], ["b/b", "not/listed"])]
    assert names == ["b/b", "not/listed"]


def test_a_mistyped_key_of_models_yml_is_named(tmp_path):
    path = tmp_path / "models.yml"
    path.write_text("models: [{name: a/b, memory: 3}]")
    with pytest.raises(UserError, match="no key 'memory' .a/b."):
        sweep.read_models(path)


@pytest.mark.parametrize("device", ["", "cuda"])
def test_the_projects_own_models_can_be_planned(device):
    entries = sweep.read_models(ROOT / "models.yml", device=device)
    assert len({entry["name"] for entry in entries}) == len(entries)
    plan, skipped = sweep.make_plan(entries, CHAPTERS, memory_gb=None, gpus=None, hub=True, named=True)
    assert not skipped and len(plan) == len(entries)
    jobs = list(sweep.jobs_of(plan))
    assert len(jobs) <= 256, "more jobs than GitHub takes in a matrix"
    assert max(job["timeout_minutes"] for job in jobs) <= 360, "longer than GitHub lets a job run"
    for entry in entries:
        assert entry["parameters"] > 0 and entry["memory_gb"] > 0
        # Nothing takes a GPU that it has not asked for.
        assert not device or entry["device"] == {0: "cpu", 1: "cuda"}.get(entry.get("gpus", 0), "auto")
        assert set(entry.get("chapters", [])) <= set(CHAPTERS)
        width = 2 if entry.get("dtype") in ("float16", "bfloat16") else 4
        if entry.get("run") != "score" and not entry.get("remote"):
            assert entry["memory_gb"] * 1e9 >= 2 * width * entry["parameters"], "the model and its untrained twin"
        # A chapter that knows no REMOTE would load the model here.
        for chapter in entry["chapters"] if entry.get("remote") else []:
            text = "".join(
                cell.source for cell in nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4).cells
            )
            assert "\nREMOTE = False" in text


# A cluster of one machine: it notes how it was asked and starts the job at once.
SLURM = {
    "sbatch": """
        n = len(list(jobs.glob("*.args"))) + 1
        (jobs / f"{n}.args").write_text(" ".join(word for word in sys.argv[1:] if not word.startswith("--wrap")))
        (wrapped,) = [word.removeprefix("--wrap=") for word in sys.argv if word.startswith("--wrap=")]
        told = f"({wrapped}) > {jobs}/{n}.log 2>&1; echo $? > {jobs}/{n}.part; mv {jobs}/{n}.part {jobs}/{n}.status"
        environment = {**os.environ, "SLURM_JOB_ID": str(n), "SLURM_JOBID": str(n)}
        nothing = subprocess.DEVNULL
        subprocess.Popen(["sh", "-c", told], env=environment, start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing)
        print(n)
    """,
    "sacct": """
        for asked in jobs.glob("*.args"):
            status = asked.with_suffix(".status")
            state = "RUNNING" if not status.exists() else "COMPLETED" if status.read_text() == "0\\n" else "FAILED"
            print(f"{asked.stem}|{state}")
    """,
    "srun": """
        command = sys.argv[1:]
        while command[0].startswith("-"):
            command = command[1:] if "=" in command[0] or len(command[0]) > 2 else command[2:]
        os.execvp(command[0], command)
    """,
    "sinfo": "print('PARTITION main*')",
    **dict.fromkeys(("squeue", "scontrol", "scancel", "sacctmgr", "sshare"), ""),
}


def test_on_slurm_each_job_asks_for_what_its_model_needs(scratch):
    if not find_spec("snakemake_executor_plugin_slurm"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "snakemake-executor-plugin-slurm is not installed: run `make setup`."
        )
    jobs, programs = scratch.folder / "jobs", scratch.folder / "bin"
    jobs.mkdir()
    programs.mkdir()
    for name, script in SLURM.items():
        head = f"#!{sys.executable}\nimport os, subprocess, sys\nfrom pathlib import Path\njobs = Path({str(jobs)!r})\n"
        (programs / name).write_text(head + textwrap.dedent(script))
        (programs / name).chmod(0o755)
    shutil.copytree(ROOT / "profiles", scratch.folder / "profiles")
    profile = scratch.folder / "profiles/slurm/config.yaml"
    profile.write_text(
        profile.read_text().replace("latency-wait: 60", "latency-wait: 5\nslurm-init-seconds-before-status-checks: 1")
    )
    scratch.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    scratch.notebook("01-first", MISFORTUNE)
    larger = {"run": "chapters", "gpus": 2, "memory_gb": 45, "minutes": 90}
    scratch.models(
        {"name": "grown/good", "memory_gb": 2},
        {"name": "grown/raises", "memory_gb": 5000, "run": "score", "gpu": larger},
    )
    done, ran = scratch.build("--profile", "profiles/slurm", "--device", "cuda", "--cores", "3")
    assert (done.returncode, ran) == (1, ["01-first"]), done.stderr
    assert "FAILED  01-first on grown/raises, cell 3: ValueError: planted" in done.stdout
    asked = {("raises" in text): text.split() for text in (path.read_text() for path in jobs.glob("*.args"))}
    for raises, memory, minutes in ((False, "2000", "60"), (True, "45000", "90")):
        words = asked[raises]
        assert words[words.index("--mem") + 1] == memory and words[words.index("-t") + 1] == minutes
        assert "--cpus-per-task=3" in words
        assert ("--gpus=2" in words) == raises
    assert (
        'DEVICE = \\"auto\\"' in scratch.executed("01-first", "grown__raises").with_suffix(".failed.ipynb").read_text()
    )
