"""The Snakefile and its tools, on a scratch copy with tiny notebooks: what runs, what is kept, what is said."""

import gc
import getpass
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from snakemake.common.configfile import load_configfile

import chapters
from bookkit import places
from bookkit.build import __main__ as build
from bookkit.build import accept, execute, workflow
from bookkit.site import assemble, status
from scratch import Scratch
from successor_heads import models


@pytest.fixture
def scratch(tmp_path):
    scratch = Scratch(tmp_path)
    yield scratch
    for building in scratch.started:
        building.kill()
        building.wait()


def wait_until(happened, seconds=600):
    """Until something has happened; the limit is for what never will, and far above what a busy machine takes."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def test_only_what_changed_in_content_runs_again(scratch):
    scratch.notebook("01-first")
    scratch.notebook("02-second")
    done, ran = scratch.build()
    assert done.returncode == 0, done.stderr
    assert ran == ["01-first", "02-second"]
    assert scratch.build()[1] == []

    for path in (
        *scratch.library.glob("*"),
        *scratch.folder.glob("notebooks/*"),
        *scratch.folder.glob("*.lock"),
    ):
        path.touch()
    assert scratch.build()[1] == []

    scratch.notebook("01-first", "1 + 1")
    assert scratch.build()[1] == ["01-first"]

    # One byte in a large file that no module names, its time and size as before.
    weights = scratch.library / "weights.safetensors"
    times = weights.stat()
    weights.write_bytes(b"1" + b"0" * 2_999_999)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert scratch.build()[1] == ["01-first", "02-second"]

    (scratch.folder / "requirements.lock").write_text("second\n")
    assert scratch.build()[1] == ["01-first", "02-second"]

    (scratch.library / "__pycache__").mkdir()
    (scratch.library / "__pycache__" / "code.pyc").write_bytes(b"compiled")
    assert scratch.build()[1] == []


def test_a_change_to_a_study_runs_its_chapter_alone(scratch):
    (scratch.library / "studies" / "data").mkdir(parents=True)
    for name, text in {
        "norms.py": "",
        "studies/__init__.py": "",
        "studies/first.py": "def measure():\n    from rooms import norms\n",
        "studies/second.py": 'from pathlib import Path\nDATA = Path(__file__).parent / "data"\n',
        "studies/data/table.csv": "1",
    }.items():
        (scratch.library / name).write_text(text)
    scratch.notebook("01-first", "from rooms.studies import first")
    scratch.notebook("02-second", "from rooms.studies import second")
    scratch.notebook("03-third", "from rooms import norms")
    assert scratch.build()[1] == ["01-first", "02-second", "03-third"]
    (scratch.library / "studies" / "data" / "table.csv").write_text("2")
    assert scratch.build()[1] == ["02-second"]
    (scratch.library / "norms.py").write_text("# changed")
    assert scratch.build()[1] == ["01-first", "03-third"]


def test_chapters_that_are_named_run_and_no_others(scratch):
    scratch.notebook("01-first")
    scratch.notebook("02-second")
    done, ran = scratch.build("--chapters", "02-second", "--cores", "1")
    assert (done.returncode, ran) == (0, ["02-second"]), done.stderr
    assert scratch.build()[1] == ["01-first"]
    done, ran = scratch.build("--chapters", "03-third", "--cores", "1")
    assert (done.returncode, ran) == (
        2,
        [],
    ) and done.stderr == "There is no chapter 03-third: choose from 01-first, 02-second.\n"


def test_notebooks_that_are_no_chapters_are_left_alone(scratch):
    scratch.notebook("01-first")
    stray = scratch.folder / "notebooks" / "01-first-Copy1.ipynb"
    stray.write_text((scratch.folder / "notebooks" / "01-first.ipynb").read_text())
    (scratch.folder / "notebooks" / "Untitled.ipynb").write_text("{ half a notebo")
    before = stray.read_bytes()
    done, ran = scratch.build()
    assert (done.returncode, ran) == (0, ["01-first"]), done.stderr
    assert stray.read_bytes() == before
    assert [path.stem for path in scratch.executed("01-first").parent.glob("*.ipynb")] == ["01-first"]


def test_another_model_gets_its_own_folder_and_leaves_the_first_alone(scratch):
    scratch.notebook("01-first")
    scratch.build()
    done, ran = scratch.build("--model", "someone/other")
    assert done.returncode == 0, done.stderr
    assert ran == ["01-first"]
    assert "someone/other" in scratch.runs_log.read_text()
    assert scratch.executed("01-first", "someone__other").exists()
    assert scratch.build()[1] == []


def test_settings_reach_the_notebook_as_they_are_written_and_count_as_content(scratch):
    """A revision is no number, and a folder's name is its own affair: braces are Snakemake's, # and : are YAML's."""
    model = scratch.folder / "lr{1e-4}: it's #2"
    model.mkdir()
    settings = ["--model", model.name, "--revision", "0123456", "--dtype", "bfloat16"]
    scratch.notebook("01-first")
    done, ran = scratch.build(*settings)
    assert ran == ["01-first"], done.stderr
    assert f"01-first {model} " in scratch.runs_log.read_text()
    (executed,) = (scratch.folder / "_build" / "executed").glob("*/01-first.ipynb")
    parameters = nbformat.read(executed, as_version=4).metadata["papermill"]["parameters"]
    assert parameters == {"MODEL": str(model), "REVISION": "0123456", "DTYPE": "bfloat16"}
    assert scratch.build(*settings)[1] == []
    assert scratch.build(*settings[:2])[1] == ["01-first"]


@pytest.mark.parametrize(
    "text", ["0123456", "12e4567", "1_000", "007", "2024_08_01", "1e5", "null", "yes", "a: b", "[1]"]
)
def test_snakemake_reads_a_setting_as_the_text_that_it_is(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build.workflow, "run", lambda arguments: load_configfile(arguments[-1]))
    assert build.run("site", cores=2, settings={"model": text, "revision": text, "cell_timeout": 9}) == {
        "model": text,
        "revision": text,
        "cell_timeout": 9,
    }


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--cores=0", "CORES is '0': give a whole number, 1 or more."),
        ("--cores=two", "CORES is 'two'"),
        ("--cores=-1", "CORES is '-1'"),
        ("--cores=1.5", "CORES is '1.5'"),
        ("--cores=", "CORES is ''"),
        ("--cell-timeout=0", "CELL_TIMEOUT is '0'"),
        ("--dtype=int4", "choose float32, float16, bfloat16"),
        ("--model=./nowhere", "There is no"),
        ("--model=grown/pithia", "choose from grown/gpt2"),
        ("--model=published/nobody", "choose from published/"),
    ],
)
def test_settings_are_checked_before_anything_runs(option, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["build", option, "notebooks"])
    with pytest.raises(SystemExit) as ended:
        build.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2 and words in told and told.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_the_dtypes_of_a_build_are_those_of_the_library():
    assert list(build.DTYPES) == list(models.DTYPES)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "_build").touch()  # as good as a read-only project, and for root as well
    monkeypatch.setattr(sys, "argv", ["build", "notebooks"])
    with pytest.raises(SystemExit) as ended:
        build.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2 and told.count("\n") == 1 and "the book is built in its own folder" in told


def test_what_keeps_snakemake_is_told_and_no_failure_of_another_run(scratch):
    scratch.notebook("01-first")
    (scratch.folder / ".snakemake").touch()  # where it wants a folder
    stale = scratch.executed("01-first").with_suffix(".failed.ipynb")
    stale.parent.mkdir(parents=True)
    nbformat.write(chapter_notebook(result="failed", error={"cell": 1, "error": "KeyError: 'yesterday'"}), stale)
    done, ran = scratch.build()
    assert (done.returncode, ran) == (1, [])
    assert "The build could not go on: FileExistsError: [Errno 17] File exists: " in done.stderr
    assert "FAILED" not in done.stderr and "yesterday" not in done.stderr and "Traceback" not in done.stderr


def test_nothing_that_a_person_has_set_up_has_a_say_in_a_build(scratch):
    """No home folder; another Python's kernel under the same name; start-up files, styles and switches of Python."""
    wrong = scratch.folder / "theirs" / "kernels" / "python3"
    wrong.mkdir(parents=True)
    wrong.joinpath("kernel.json").write_text(
        json.dumps({"argv": ["/bin/false", "{connection_file}"], "display_name": "Theirs", "language": "python"})
    )
    startup = scratch.folder / "startup.py"
    startup.write_text("begun_by_hand = True")
    theirs = {
        "HOME": "/dev/null",
        "JUPYTER_PATH": str(wrong.parents[1]),
        "JUPYTER_PREFER_ENV_PATH": "0",
        "PYTHONSTARTUP": str(startup),
        "PYTHONOPTIMIZE": "2",
        "MPLBACKEND": "pdf",
    }
    scratch.notebook(
        "01-first",
        f"import os, sys\nassert sys.executable == {sys.executable!r} and __debug__",
        "assert 'begun_by_hand' not in globals()",
        "assert os.environ['MPLBACKEND'] != 'pdf' and os.access(os.environ['MPLCONFIGDIR'], os.W_OK)",
        "open(os.path.expanduser('~/written'), 'w').close()",
    )
    done, ran = scratch.build(environment=theirs)
    assert (done.returncode, ran) == (0, ["01-first"]), done.stderr


def test_models_in_a_home_that_cannot_be_written_to_are_still_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home/.cache/huggingface").mkdir(parents=True)
    for name in ("HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(workflow, "_can_be_written", lambda folder: False)
    monkeypatch.setattr(getpass, "getuser", lambda: (_ for _ in ()).throw(KeyError("uid not found: 12345")))
    monkeypatch.delenv("LOGNAME", raising=False)
    workflow.settle_in()
    assert os.environ["HOME"] == str(tmp_path / "_build/home") and os.environ["LOGNAME"] == str(os.getuid())
    if sys.platform == "linux":
        assert os.environ["HF_HOME"] == str(tmp_path / "home/.cache/huggingface")


def test_a_folder_is_a_model_with_or_without_a_dot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-model").mkdir()
    assert places.subject("my-model") == places.subject("./my-model") == str(tmp_path / "my-model")
    assert places.subject("grown/pythia") == "grown/pythia"
    assert places.subject("openai-community/gpt2") == "openai-community/gpt2"


def test_a_failing_notebook_is_named_and_the_others_are_kept(scratch):
    scratch.notebook("01-first", "x = 1", "scores = {}\nscores['L1H6']")
    scratch.notebook("02-second")
    done, ran = scratch.build()
    assert done.returncode != 0
    assert ran == ["02-second"]
    assert "notebooks/01-first.ipynb failed on grown/pythia in cell 4:" in done.stderr
    assert "scores['L1H6']" in done.stderr
    assert "KeyError: 'L1H6'" in done.stderr
    assert "FAILED  notebooks/01-first.ipynb on grown/pythia, cell 4: KeyError: 'L1H6'" in done.stderr
    assert not scratch.executed("01-first").exists()
    kept = nbformat.read(scratch.executed("01-first").with_suffix(".failed.ipynb"), as_version=4)
    assert kept.metadata["successor_heads"]["result"] == "failed"
    assert kept.cells[3].outputs[0].ename == "KeyError"

    scratch.notebook("01-first", "x = 1")
    done, ran = scratch.build()
    assert done.returncode == 0, done.stderr
    assert ran == ["01-first"]
    assert not scratch.executed("01-first").with_suffix(".failed.ipynb").exists()


@pytest.mark.parametrize(
    ("cell", "error", "timeout"),
    [
        # The cell in front of it, which sets MODEL, has as long.
        ("import time; time.sleep(600)", "CellTimeoutError", "10"),
        ("import os; os._exit(9)", "DeadKernelError", "900"),
        ("raise SystemExit(3)", "SystemExit: 3", "900"),
    ],
)
def test_a_cell_that_hangs_or_kills_its_kernel_is_named(scratch, cell, error, timeout):
    scratch.notebook("01-first", cell, "after = 1")
    done, _ = scratch.build("--cell-timeout", timeout)
    assert done.returncode != 0
    assert "cell 3" in done.stderr
    assert cell in done.stderr
    assert error in done.stderr


def test_a_notebook_without_parameters_or_record_fails(scratch):
    scratch.notebook("01-first", record=False)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    nbformat.write(notebook, scratch.folder / "notebooks" / "02-second.ipynb")
    scratch.notebook(
        "03-third",
        "from successor_heads import files",
        "files.write_json(files.path_of(MODEL, '01-first'), {'chapter': '01-first'})",
    )
    theirs = scratch.folder / "_build/records/grown__pythia/01-first.json"
    done, _ = scratch.build()
    assert done.returncode != 0
    assert "ended without writing its record grown__pythia/01-first.json" in done.stderr
    assert "wrote a record that is not its own: grown__pythia/01-first.json" in done.stderr and not theirs.exists()
    assert "no cell tagged 'parameters' sets MODEL" in done.stderr


def test_two_notebooks_run_at_once_with_one_thread_each(scratch):
    wait = """
import pathlib, time
here, other = pathlib.Path("{here}"), pathlib.Path("{other}")
here.touch()
while not other.exists():
    time.sleep(0.1)
"""
    flags = {name: str(scratch.folder / f"{name}-started") for name in ("01-first", "02-second")}
    scratch.notebook("01-first", wait.format(here=flags["01-first"], other=flags["02-second"]))
    scratch.notebook("02-second", wait.format(here=flags["02-second"], other=flags["01-first"]))
    done, _ = scratch.build("--cores", "2")
    assert done.returncode == 0, done.stderr
    assert sorted(scratch.runs_log.read_text().splitlines()) == ["01-first grown/pythia 1", "02-second grown/pythia 1"]


def test_a_killed_build_goes_on_where_it_stopped(scratch):
    slow = f"""
import os, pathlib, time
from successor_heads import files
kept = files.path_of(MODEL, "02-second").with_suffix("") / "contexts"
print("goes on" if kept.exists() else "begins")
kept.touch()
pathlib.Path({str(scratch.folder / "kernel")!r}).write_text(str(os.getpid()))
while not pathlib.Path({str(scratch.folder / "go")!r}).exists():
    time.sleep(0.1)
"""
    scratch.notebook("01-first")
    scratch.notebook("02-second", slow)
    building = scratch.start()
    wait_until((scratch.folder / "kernel").exists)
    wait_until(scratch.executed("01-first").exists)
    # Snakemake notes a little later that the first is done: the two files that the second will write are left.
    wait_until(lambda: len(list((scratch.folder / ".snakemake" / "incomplete").iterdir())) == 2)
    building.send_signal(signal.SIGKILL)
    building.wait()
    assert not scratch.executed("02-second").exists()

    kernel = Path("/proc") / (scratch.folder / "kernel").read_text()
    wait_until(lambda: not kernel.exists())  # a killed build leaves nothing running

    (scratch.folder / "go").touch()
    done, ran = scratch.build()
    assert done.returncode == 0, done.stderr
    assert ran == ["02-second"]
    # What it had kept for that is there, and only what belongs there.
    assert "goes on" in scratch.executed("02-second").read_text()
    left = [path.name for path in (scratch.folder / "_build" / "records" / "grown__pythia").rglob("*")]
    assert sorted(left) == ["01-first.json", "02-second", "02-second.json", "contexts"]
    assert len(list(scratch.executed("02-second").parent.iterdir())) == 2


def test_a_second_build_at_the_same_time_is_refused(scratch):
    # It holds the folder until this test ends and kills it.
    on = str(scratch.folder / "on")
    scratch.notebook("01-first", f"import pathlib, time; pathlib.Path({on!r}).touch(); time.sleep(600)")
    scratch.start()
    wait_until((scratch.folder / "on").exists)
    done, _ = scratch.build()
    assert done.returncode != 0
    assert "Another build is running in this folder" in done.stderr


def test_the_executed_notebook_says_how_it_ran_and_not_where(scratch):
    scratch.notebook("01-first", "held = bytearray(200_000_000)")
    done, _ = scratch.build()
    assert done.returncode == 0, done.stderr
    text = scratch.executed("01-first").read_text()
    run = json.loads(text)["metadata"]["successor_heads"]
    assert run["result"] == "passed"
    assert run["peak_rss_bytes"] > 200_000_000
    assert run["seconds"] > 0
    assert run["machine"]["cores"] >= 1
    assert run["versions"]["papermill"]
    assert str(scratch.folder) not in text


# At how many of the ports that were chosen for it a kernel listens, and where its sockets lie. A debugger's port, which it
# finds and keeps, is none of them.
LISTENING = """
import psutil
from ipykernel.kernelapp import IPKernelApp
kernel, opened = IPKernelApp.instance(), psutil.Process().net_connections()
print(sum(each.status == psutil.CONN_LISTEN and each.laddr.port in kernel.ports for each in opened), kernel.ip)
"""


@pytest.mark.slow
@pytest.mark.parametrize("deep", ["", "a-folder-with-a-long-name/" * 5])
def test_a_kernel_listens_on_no_port_that_another_could_have_taken(tmp_path, monkeypatch, deep):
    """Of two that start at once, each with ports found free a moment ago, one may die; nor do sockets stay behind."""
    (tmp_path / deep).mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / deep))
    said = []
    for kernel in (execute.OwnKernel, AsyncKernelManager):
        asked = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LISTENING)])
        client = NotebookClient(asked, timeout=chapters.CELL_TIMEOUT, kernel_manager_class=kernel)
        said.append(client.execute().cells[0].outputs[0].text.split())
    del client
    gc.collect()
    (ours, sockets), (of_jupyter, _) = said
    assert (ours, of_jupyter) == ("0", "5")
    assert sockets.startswith("/tmp/kernel-" if deep else str(tmp_path)) and not Path(sockets).parent.exists()


@pytest.mark.slow
def test_names_that_are_drawn_by_chance_are_replaced(tmp_path):
    cells = ["import pandas", "pandas.DataFrame({'a': [1]}).style", "pandas.DataFrame({'b': [2]}).style"]
    executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    chapters.run(executed, tmp_path)
    execute.take_out_chance(executed)
    first, second = (cell.outputs[0].data for cell in executed.cells[1:])
    assert first["text/plain"] == second["text/plain"] == "<pandas.io.formats.style.Styler at 0x0>"
    assert 'id="T_00000_level0_col0"' in first["text/html"] and 'id="T_00001_level0_col0"' in second["text/html"]


def chapter_notebook(*cells, **run):
    """A notebook as execute.py leaves it."""
    measured = {
        "chapter": "01-first",
        "model": "grown/pythia",
        "started": "2026-11-22T20:00:00+00:00",
        "seconds": 200.4,
        "peak_rss_bytes": 1_340_000_000,
        "threads": 2,
        "machine": {"processor": "A processor", "cores": 2, "memory_bytes": 8_000_000_000, "system": "Linux x86_64"},
        "versions": {"python": "3.11.7"},
        "result": "passed",
        **run,
    }
    return nbformat.v4.new_notebook(cells=list(cells), metadata={"successor_heads": measured})


def test_measured_rows_follow_the_last_row_of_the_table():
    table = "Before\n\n| Time to read | 20 min |\n|---|---|\n| Needs | Python |\n\nAfter"
    notebook = chapter_notebook(nbformat.v4.new_markdown_cell(table, metadata={"tags": ["glance"]}))
    assemble.add_measured_rows(notebook)
    lines = notebook.cells[0].source.splitlines()
    assert lines[4:7] == [
        "| Needs | Python |",
        "| Time to run | 3 min 20 s, measured on 2 cores (A processor), 2026-11-22 |",
        "| Peak memory | 1.3 GB, measured in the same run |",
    ]
    assert "<../book/_static/editions/student/" in lines[7] and "<../book/_static/editions/instructor/" in lines[7]
    assert lines[-1] == "After"


def test_a_chapter_without_its_table_is_named():
    with pytest.raises(ValueError, match=r"notebooks/01-first\.ipynb needs a table"):
        assemble.add_measured_rows(chapter_notebook())


@pytest.mark.parametrize(("injected", "hidden"), [('MODEL = "a"', True), ('MODEL = "b"', False)])
def test_parameters_are_shown_again_only_where_they_differ(injected, hidden):
    own = nbformat.v4.new_code_cell('MODEL = "a"  # the subject\nSEED = 0', metadata={"tags": ["parameters"]})
    added = nbformat.v4.new_code_cell(f"# Parameters\n{injected}\n", metadata={"tags": ["injected-parameters"]})
    assemble.hide_repeated_parameters(chapter_notebook(own, added))
    assert ("remove-cell" in added.metadata["tags"]) is hidden


@pytest.mark.slow
def test_findings_become_text_that_prose_can_quote():
    record = {
        "chapter": "01-find-heads",
        "model": "grown/pythia",
        "findings": {
            "best_macro": {"value": 0.9341, "low": 0.9, "high": 0.96, "n": 294},
            "head": {"value": 6.0, "low": None, "high": None, "n": None},
            "unmeasured": {"value": None, "low": None, "high": None, "n": None},
        },
    }
    quoted = assemble.findings([record])["find_heads"]
    assert quoted["model"] == "grown/pythia"
    assert quoted["best_macro"]["with_interval"] == "0.93 (95% interval 0.90 to 0.96)"
    assert quoted["best_macro"]["percent"] == "93%"
    assert quoted["best_macro"]["n"] == "294"
    assert quoted["head"]["count"] == "6"
    assert set(quoted["unmeasured"].values()) == {"–"}


def test_the_status_page_tells_of_accepted_findings_and_of_the_last_night(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    accepted = accept.accepted_path("grown/pythia", "01-first")
    accepted.parent.mkdir(parents=True)
    kept = {"a": {"value": 1.0, "tolerance": 0.1}, "b": {"value": 1.0, "tolerance": 0.1}}
    accepted.write_text(json.dumps({"findings": kept}))
    record = {"chapter": "01-first", "findings": {"a": {"value": 1.05}, "b": {"value": 2.0}}}
    row = {"chapter": "01-first", "model": "org/model"}
    night = {
        "date": "2026-11-22T03:00:00+00:00",
        "results": [
            row | {"result": "ok", "reason": None},
            row | {"result": "failed", "reason": None, "cell": 4, "error": "OSError: no | `space`\nleft"},
            {"chapter": "score", "model": "org/large", "result": "skipped", "reason": "no HF_TOKEN in the environment"},
        ],
    }
    notebook = chapter_notebook(nbformat.v4.new_markdown_cell("# First"))
    rows = list(status.rows([notebook], [record], night))
    assert "| passed | 1 of 2 | 1 ok, 1 failed |" in status.tables(rows)[0]
    assert "1,1,0" in status.as_csv(rows)
    told = status.night_section(night)
    assert "1 of 2 chapters that should have run ran well (1 failed, 1 skipped)" in told
    failed, skipped, passed = told.splitlines()[-3:]
    assert failed == "| `org/model` | 01-first | failed | 4 | `OSError: no ¦ 'space' left` |"
    assert "`no HF_TOKEN in the environment`" in skipped and "| ok |" in passed
    assert "No nightly run is known" in status.night_section({"results": []})


def test_launch_buttons_need_a_repository():
    def settings():
        return {"html": {}, "launch_buttons": {}, "repository": {"url": "", "branch": "main"}}

    assert assemble.with_repository(settings(), "") == {"html": {}, "launch_buttons": {}}
    known = settings() | {"repository": {"url": "https://github.com/someone/book", "branch": "main"}}
    assert assemble.with_repository(known, "") == assemble.with_repository(settings(), "someone/book")
    published = assemble.with_repository(settings(), "someone/book")
    assert published["repository"] == {"url": "https://github.com/someone/book", "branch": "main"}
    assert published["launch_buttons"]["colab_url"]
    assert published["html"]["baseurl"] == "https://someone.github.io/book/"
