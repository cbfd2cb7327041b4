"""The workflows: what they may do, and that their scripts do it. Played on this machine, with a `gh` and a git remote of our own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bookkit.night import secrets

ROOT = Path(__file__).parents[2]
# As on a machine without the book's environment: the standard library, and what lies in lib.
BARE = [sys.executable, "-S", "-m"]
ON_PATH = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NIGHTLY = ROOT / ".github" / "workflows" / "nightly.yml"
PUBLISH = ROOT / ".github" / "workflows" / "publish.yml"
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
CI = ROOT / ".github" / "workflows" / "ci.yml"


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf8"))


def steps_of(workflow):
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request):
    return request.param


def test_zizmor_finds_nothing():
    zizmor = Path(sys.executable).with_name("zizmor")
    if not zizmor.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("zizmor is not installed: run `make setup`.")
    done = subprocess.run([zizmor, "--offline", "--no-progress", ROOT / ".github"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actions_are_pinned_by_commit_and_say_their_version(workflow):
    for action, comment in re.findall(r"uses: (\S+)(.*)", workflow.read_text()):
        assert action.startswith("./.github/workflows/") or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), action
        assert action.startswith("./") or re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


def test_one_version_of_each_action():
    pins = {pin for path in WORKFLOWS for pin in re.findall(r"uses: ([\w/-]+@\w+)", path.read_text())}
    assert len({pin.split("@")[0] for pin in pins}) == len(pins)


def test_jobs_have_a_time_limit_and_no_rights_but_those_they_name(workflow):
    content = read(workflow)
    assert content["permissions"] in ({}, {"contents": "read"})
    for name, job in content["jobs"].items():
        assert "timeout-minutes" in job or "uses" in job, name
        if content["permissions"] == {}:
            assert job["permissions"], name


def test_only_these_jobs_may_write():
    writing = {
        (path.stem, name, right)
        for path in WORKFLOWS
        for name, job in read(path)["jobs"].items()
        for right, may in job.get("permissions", {}).items()
        if may == "write"
    }
    publishing = {
        ("publish", "deploy", "pages"),
        ("publish", "deploy", "id-token"),
        ("publish", "editions", "contents"),
    }
    # A workflow that calls another must grant what that one's jobs ask for, or GitHub starts neither.
    granted = {("nightly", "publish", right) for _, _, right in publishing}
    others = {("nightly", "records", "contents"), ("nightly", "issue", "issues"), ("release", "release", "contents")}
    assert writing == others | publishing | granted
    # What can write runs nothing that came from elsewhere: neither the book nor its environment.
    alone = ((NIGHTLY, "records"), (NIGHTLY, "issue"), (PUBLISH, "editions"), (PUBLISH, "deploy"), (RELEASE, "release"))
    for path, name in alone:
        scripts = " ".join(step.get("run", "") for step in read(path)["jobs"][name]["steps"])
        assert not any(word in scripts for word in ("make", ".venv", "pip install"))


def test_scripts_take_nothing_but_variables_and_are_whole(workflow):
    """No expression is pasted into a script, where its value would be code; secrets reach a step by its env alone."""
    content = read(workflow)
    for step in steps_of(content):
        script = step.get("run", "")
        assert "${{" not in script
        assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).returncode == 0
        # GitHub's own bash does not fail with the first part of a pipe; the one that is asked for does.
        assert "|" not in script or content["defaults"]["run"]["shell"] == "bash"
    outside = yaml.safe_dump(
        {name: {key: part for key, part in job.items() if key != "steps"} for name, job in content["jobs"].items()}
    )
    beside = yaml.safe_dump([{key: part for key, part in step.items() if key != "env"} for step in steps_of(content)])
    assert not re.search(r"\$\{\{[^}]*secrets\.", outside + beside)


def test_a_pull_request_names_the_records_that_it_brings(tmp_path):
    """The script of the job "Records that come in", on a repository of our own: what changed, and whether anything did."""
    (script,) = (step["run"] for step in read(CI)["jobs"]["records"]["steps"] if step.get("id") == "changed")
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]

    def git(*command):
        return subprocess.run(["git", *who, *command], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    def commit(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        git("add", path)
        git("commit", "--quiet", "--message", path)

    def played():
        told = tmp_path.with_suffix(".output")
        told.write_text("")
        environment = {**os.environ, "BASE": git("rev-parse", "main").strip(), "GITHUB_OUTPUT": str(told)}
        subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, check=True, capture_output=True)
        return told.read_text().strip(), (tmp_path / "changed.txt").read_text().split()

    git("init", "--quiet", "--initial-branch", "main")
    commit("book/results/records/org__old/score.json", "{}")
    git("switch", "--quiet", "--create", "results")
    commit("README.md", "A typo mended.")
    assert played() == ("", [])
    commit("book/results/records/org__new/01-find-heads.json", "{}")
    # What reached main in the meantime is not this branch's.
    git("switch", "--quiet", "main")
    commit("book/results/records/org__other/score.json", "{}")
    git("switch", "--quiet", "results")
    assert played() == ("any=yes", ["book/results/records/org__new/01-find-heads.json"])


def test_the_nightly_run_is_whole():
    jobs = read(NIGHTLY)["jobs"]
    chapter = jobs["chapter"]
    assert chapter["strategy"]["fail-fast"] is False
    assert "cache" not in yaml.safe_dump(read(NIGHTLY)["jobs"])
    # Nothing is uploaded that was not scanned, and what ran is uploaded though it failed.
    places = {
        step.get("id") or step.get("uses", "").split("@")[0]: place for place, step in enumerate(chapter["steps"])
    }
    assert places["scan"] < places["actions/upload-artifact"]
    assert chapter["steps"][places["actions/upload-artifact"]]["if"] == "always() && steps.scan.outcome == 'success'"
    # The issue is opened for whatever job did not succeed.
    assert set(jobs["issue"]["needs"]) == set(jobs) - {"issue"}
    assert all(
        f"contains(needs.*.result, '{result}')" in jobs["issue"]["if"] for result in ("failure", "cancelled", "skipped")
    )
    assert jobs["issue"]["if"].startswith("always() && (")


@pytest.mark.slow
def test_the_plan_becomes_a_matrix(tmp_path):
    """The script of the job that plans, with this Python in place of the environment that it makes."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    for name in ("models.yml", "_toc.yml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (step,) = [step for step in read(NIGHTLY)["jobs"]["plan"]["steps"] if step.get("id") == "plan"]
    script = step["run"].replace(".venv/bin/python", sys.executable)
    script = script.replace(
        "jq --compact-output .jobs plan.json",
        f"""{sys.executable} -c 'import json; print(json.dumps(json.load(open("plan.json"))["jobs"]))'""",
    )
    environment = {
        **ON_PATH,
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "HF_TOKEN": "",
        "NDIF_API_KEY": "",
        "HF_HOME": str(tmp_path),
    }
    subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    name, _, value = (tmp_path / "output").read_text().partition("=")
    assert name == "jobs"
    jobs = json.loads(value)
    assert {
        "model": "grown/llama",
        "slug": "grown__llama",
        "chapter": "01-find-heads",
        "needs": [],
        "timeout_minutes": 80,
    } in jobs
    skipped = json.loads((tmp_path / "plan.json").read_text())["skipped"]
    assert {
        "model": "meta-llama/Llama-2-70b-hf",
        "chapter": "score",
        "result": "skipped",
        "reason": "no HF_TOKEN in the environment",
    } in skipped
    # What needs a key is in one of the two lists, and a run without keys plans none of it.
    assert not any(job["needs"] for job in jobs)


class Night:
    """What the jobs of a night have left: the plan, and a folder a job."""

    def __init__(self, folder):
        self.folder, self.plan = folder, {"jobs": [], "skipped": []}
        (folder / "arrived").mkdir()

    def job(self, model, chapter, *, arrived=True, record=True, **result):
        slug = model.replace("/", "__")
        self.plan["jobs"].append({"model": model, "slug": slug, "chapter": chapter, "needs": [], "timeout_minutes": 80})
        left = self.folder / "arrived" / f"night-{slug}-{chapter}"
        if arrived:
            row = {"model": model, "chapter": chapter, "result": "ok", "reason": None, **result}
            self.write(left / "sweep" / "sweep.json", {"results": [row]})
            if record:
                self.write(
                    left / "records" / slug / f"{chapter}.json", {"model": model, "chapter": chapter, "findings": {}}
                )

    @staticmethod
    def write(path, payload):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(payload))

    def gather(self):
        self.write(self.folder / "plan.json", self.plan)
        shutil.rmtree(self.folder / "night", ignore_errors=True)
        command = [*BARE, "bookkit.night", "gather", "plan.json", "arrived", "night"]
        return subprocess.run(command, cwd=self.folder, env=ON_PATH, capture_output=True, text=True)

    def results(self):
        return json.loads((self.folder / "night/night.json").read_text())["results"]


@pytest.fixture
def night(tmp_path):
    return Night(tmp_path)


def test_a_good_night_is_green_and_its_records_are_kept(night):
    night.job("grown/pythia", "01-find-heads")
    night.job("someone/large", "score")
    night.plan["skipped"] = [
        {"model": "meta-llama/x", "chapter": "score", "result": "skipped", "reason": "no HF_TOKEN in the environment"}
    ]
    done = night.gather()
    assert done.returncode == 0, done.stderr
    assert [row["result"] for row in night.results()] == ["ok", "ok", "skipped"]
    assert (night.folder / "night/records/grown__pythia/01-find-heads.json").exists()
    assert "- `meta-llama/x`: no HF_TOKEN in the environment" in done.stdout


def test_a_night_is_red_when_anything_that_was_planned_failed_or_did_not_arrive(night):
    night.job("grown/pythia", "01-find-heads")
    night.job("grown/llama", "01-find-heads", result="failed", cell=7, error="ValueError: `a` | @someone", record=False)
    night.job("grown/llama", "02-ov-circuit", arrived=False)
    night.job("grown/llama", "03-mod-10-features", record=False)
    done = night.gather()
    assert done.returncode == 1
    assert [row["result"] for row in night.results()] == ["ok", "failed", "failed", "failed"]
    report = (night.folder / "night/report.md").read_text()
    assert "| `01-find-heads` | `grown/llama` | `7` | `ValueError: 'a' ¦ @someone` |" in report
    assert "| `02-ov-circuit` | `grown/llama` | `–` | `it was planned, and nothing arrived` |" in report
    assert "`it went well, and its record did not arrive`" in report
    assert [path.name for path in (night.folder / "night/records").rglob("*.json")] == ["01-find-heads.json"]


def test_a_night_without_any_result_is_red(night):
    assert night.gather().returncode == 1


def test_a_record_of_another_model_or_a_folder_elsewhere_is_not_kept(night):
    night.job("grown/pythia", "01-find-heads")
    path = night.folder / "arrived/night-grown__pythia-01-find-heads/records/grown__pythia/01-find-heads.json"
    night.write(path, {"model": "grown/llama", "chapter": "01-find-heads"})
    assert night.gather().returncode == 1
    night.job("../../x", "01-find-heads")
    assert "cannot be a file's name" in night.gather().stderr


def git(*arguments, cwd):
    return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_records_go_onto_a_branch_night_after_night_and_come_back_for_the_book(night):
    project, remote = night.folder / "project", night.folder / "remote"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(remote), cwd=night.folder)
    git("clone", "--quiet", str(remote), str(project), cwd=night.folder)
    (project / "README.md").write_text("book")
    for arguments in (
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "first"),
        ("push", "-q", "origin", "HEAD:main"),
    ):
        git(*arguments, cwd=project)

    def tool(*arguments, cwd=project):
        command = [*BARE, "bookkit.night", *arguments]
        return subprocess.run(command, cwd=cwd, env=ON_PATH, capture_output=True, text=True)

    assert tool("fetch").stdout == "0 records of the branch records.\n"
    night.job("grown/pythia", "01-find-heads")
    assert night.gather().returncode == 0
    done = tool("store", str(night.folder / "night"))
    assert done.returncode == 0, done.stderr
    # A later night in which that chapter failed: its record of the night before is still there, and the night's result says so.
    night.plan["jobs"].clear()
    shutil.rmtree(night.folder / "arrived")
    night.job("grown/pythia", "01-find-heads", result="failed", error="ValueError: x", cell=3, record=False)
    night.job("grown/llama", "01-find-heads")
    assert night.gather().returncode == 1
    done = tool("store", str(night.folder / "night"))
    assert done.returncode == 0, done.stderr

    assert git("rev-list", "--count", "records", cwd=remote) == "2\n"
    listed = git("ls-tree", "-r", "--name-only", "records", cwd=remote).split()
    assert listed == [
        "night.json",
        "records/grown__llama/01-find-heads.json",
        "records/grown__pythia/01-find-heads.json",
    ]
    assert git("status", "--porcelain", cwd=project) == "" and git("worktree", "list", cwd=project).count("\n") == 1

    # As in a job that publishes: a shallow clone of main alone.
    shallow = night.folder / "shallow"
    git("clone", "--quiet", "--depth", "1", f"file://{remote}", str(shallow), cwd=night.folder)
    own = shallow / "_build/records/grown__llama/01-find-heads.json"
    night.write(own, {"own": True})
    assert tool("fetch", cwd=shallow).stdout == "1 records of the branch records.\n"
    assert json.loads(own.read_text()) == {"own": True}
    assert json.loads((shallow / "_build/sweep/night.json").read_text())["results"][0]["result"] == "failed"
    # The same night again, as when the job is run once more: nothing new, and no failure.
    assert tool("store", str(night.folder / "night"), cwd=shallow).returncode == 0
    assert git("rev-list", "--count", "records", cwd=remote) == "2\n"


GH = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "$CALLS"
case "$1 $2" in
  "issue list") cat "$ISSUES" ;;
  "issue create" | "issue comment") cat body.md > "$BODY" ;;
esac
"""


@pytest.mark.skipif(not shutil.which("jq") and not os.environ.get("CI"), reason="jq is not installed; GitHub has it")
@pytest.mark.parametrize(
    ("issues", "call"),
    [
        ([], "issue create --title The nightly run failed --body-file body.md"),
        (
            [{"number": 4, "title": "Another"}, {"number": 7, "title": "The nightly run failed"}],
            "issue comment 7 --body-file body.md",
        ),
    ],
)
@pytest.mark.parametrize("reported", [True, False])
def test_one_issue_is_opened_or_updated(night, issues, call, reported):
    if reported:
        night.job("grown/llama", "01-find-heads", result="failed", cell=7, error="ValueError: planted", record=False)
        night.gather()
    (night.folder / "gh").write_text(GH)
    (night.folder / "gh").chmod(0o755)
    night.write(night.folder / "issues.json", issues)
    (step,) = [step for step in read(NIGHTLY)["jobs"]["issue"]["steps"] if "run" in step]
    told = {name: str(night.folder / name.lower()) for name in ("CALLS", "BODY")} | {
        "ISSUES": str(night.folder / "issues.json")
    }
    told |= {
        "TITLE": step["env"]["TITLE"],
        "RUN": "https://example.org/run/1",
        "RESULTS": '[\n  "success",\n  "failure"\n]',
    }
    environment = {**os.environ, **told, "PATH": f"{night.folder}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], cwd=night.folder, env=environment, check=True)
    assert (night.folder / "calls").read_text().splitlines()[-1] == call
    body = (night.folder / "body").read_text()
    assert "https://example.org/run/1" in body and '"failure"' in body
    assert ("| `01-find-heads` | `grown/llama` | `7` | `ValueError: planted` |" in body) == reported


# Made up, and in two parts, or the scanners of those who host this file would find them.
KEYS = {
    "Hugging Face token": ["hf_" + "aB3" * 12],
    "GitHub token": ["ghp_" + "a1B2" * 10, "github_pat_" + "11ABCDEFG0abcdefghijkl_" + "aB3c" * 15],
    "AWS key": ["AKIA" + "QYLPMN5HFIQR7XYA"],
    "Google key": ["AIza" + "Sy" + "aB3dE5" * 5 + "abc"],
    "OpenAI or Anthropic key": [
        "sk-" + "aB3d" * 5 + "T3BlbkFJ" + "Zx9y" * 5,
        "sk-proj-" + "aB3d_" * 20,
        "sk-ant-api03-" + "aB3d_" * 18 + "AA",
    ],
    "Slack token": ["xoxb-" + "123456789012-123456789012-aBcDeFgHiJkL"],
    "PyPI token": ["pypi-AgEIcHlwaS5vcmc" + "aB3d" * 30],
    "private key": ["-----BEGIN RSA PRIVATE" + " KEY-----", "-----BEGIN ENCRYPTED PRIVATE" + " KEY-----"],
    "password in an address": ["https://someone:" + "pa55word@example.org/"],
    "Authorization header": ["{'authorization': 'Bearer " + "abcdef0123456789'}"],
    "NDIF key in a call or a header": [
        "ndif-api-key: " + "0f8fad5b-d9cb-469f-a165-70867728950e",
        'CONFIG.set_default_api_key("' + "0f8fad5b-d9cb-469f-a165-70867728950e" + '")',
    ],
}


def scan(folder, **environment):
    command = [sys.executable, "-m", "bookkit.night.secrets", str(folder)]
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": ON_PATH["PYTHONPATH"]}
    return subprocess.run(command, env={**own, **environment}, capture_output=True, text=True)


def printed(text):
    """An executed notebook in which a cell printed this."""
    output = {"output_type": "stream", "name": "stdout", "text": ["first\n", text]}
    return json.dumps({"cells": [{"cell_type": "code", "outputs": [output]}]}, indent=1)


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_in_an_output_is_found_and_not_repeated(kind, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "01-first.ipynb").write_text(printed("harmless"))
    assert scan(tmp_path).returncode == 0
    for number, key in enumerate(KEYS[kind]):
        (tmp_path / "deep" / f"{number}.ipynb").write_text(printed(key))
    done = scan(tmp_path)
    assert done.returncode == 1
    for number, key in enumerate(KEYS[kind]):
        assert f"{number}.ipynb, line 11: {kind}" in done.stderr
        assert key not in done.stderr


def test_every_form_of_key_is_tried():
    assert set(KEYS) == set(secrets.FORMS)


@pytest.mark.parametrize(
    "coded", [lambda key: key, lambda key: __import__("base64").b64encode(b"ab" + key.encode() + b"c").decode()]
)
def test_the_runs_own_keys_are_found_whatever_their_form(coded, tmp_path):
    key = "an/unheard+of form"
    (tmp_path / "record.json").write_text(json.dumps({"findings": coded(key)}))
    assert scan(tmp_path).returncode == 0
    assert scan(tmp_path, OTHER_VARIABLE=key).returncode == 0
    done = scan(tmp_path, NDIF_API_KEY=key)
    assert done.returncode == 1 and "record.json, line 1: the value of NDIF_API_KEY" in done.stderr
    assert scan(tmp_path, NDIF_API_KEY="").returncode == 0


def test_what_is_not_there_does_not_count_as_clean(tmp_path):
    assert scan(tmp_path / "nowhere").returncode == 1
