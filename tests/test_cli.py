import ast
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.metadata import entry_points
from types import SimpleNamespace

import pytest
from transformers import AutoModelForCausalLM

from successor_heads import cli, errors, models, ordinals, scores


def command(*arguments, before="", **options):
    """The command line in a process of its own, as a reader would start it; `before` is code to run first."""
    # Tests run in the background ignore Ctrl-C, and so would their children.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listen}\n{before}\nimport sys; from successor_heads.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(cli.__file__))},
        **options,
    )


# Beside the standard library: each of them imports in hundredths of a second.
LIGHT = ("filelock", "platformdirs", "tqdm")


def test_the_command_is_installed_under_its_name():
    (entry,) = entry_points(group="console_scripts", name="successor-heads")
    assert entry.value == "successor_heads.cli:main"


def test_help_answers_at_once_for_it_loads_nothing_heavy():
    names = "sorted({name.partition('.')[0] for name in list(sys.modules)})"
    process = command("--help", before=f"import atexit, sys; atexit.register(lambda: print({names}, file=sys.stderr))")
    output, loaded = process.communicate()
    assert process.returncode == 0 and "score" in output and "grow" in output
    others = set(ast.literal_eval(loaded)) - sys.stdlib_module_names - {"__main__"}
    # What a .pth file of the environment loads, such as that of the editable install, is in every process.
    everywhere = subprocess.run([sys.executable, "-c", f"import sys; print({names})"], capture_output=True, text=True)
    assert others - set(ast.literal_eval(everywhere.stdout)) <= {"successor_heads", *LIGHT}


@pytest.mark.parametrize("subcommand", ["score", "grow"])
def test_every_command_has_help(subcommand, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([subcommand, "--help"])
    assert exit.value.code == 0 and subcommand in capsys.readouterr().out


def test_score_prints_the_best_heads_and_writes_all_of_them(checkpoints, tmp_path, capsys):
    name = str(checkpoints["llama-grouped"])
    assert cli.main(["score", name, "--json", str(tmp_path / "score.json")]) == 0
    output, errors = capsys.readouterr()
    record = json.loads((tmp_path / "score.json").read_text())
    assert errors == "" and os.listdir(tmp_path) == ["score.json"]
    assert record["model"] == name and record["revision"] is None and len(record["heads"]) == 12
    shown = re.findall(r"^ *(L\d+H\d+) +([\d.]+) +([\d.]+)", output, flags=re.M)
    assert shown == [
        (f"L{head['layer']}H{head['head']}", f"{head['macro']:.2f}", f"{head['micro']:.2f}")
        for head in record["heads"][:10]
    ]
    assert "macro  micro  numbers  number words" in output and "95% interval, hierarchical over the classes, " in output
    pairs = next(line for line in output.splitlines() if line.strip().startswith("pairs"))
    assert pairs.split() == ["pairs", "290", "199", "19", "9", "7", "7", "12", "12", "25"]
    assert record["seconds"] > 0 and record["peak_rss_bytes"] > 10**8


def test_score_says_what_the_tokenizer_dropped(checkpoints, monkeypatch, capsys, tokenizer):
    resolved = ordinals.resolve(tokenizer)
    days = ordinals.CLASSES["days"]
    monkeypatch.setattr(ordinals, "resolve", lambda _: resolved | {
        "days": ordinals.ResolvedClass(
            "days", days.words[:3], *(getattr(resolved["days"], part)[:3] for part in ("token_ids", "index")),
            *(getattr(resolved["days"], part)[:2] for part in ("source", "target")), days.words[3:], " ",
        )
    })  # fmt: skip
    assert cli.main(["score", str(checkpoints["gpt2"])]) == 0
    assert "Dropped from days, not single tokens: 4 (Thursday Friday Saturday Sunday)" in capsys.readouterr().out


def test_a_share_of_a_task_without_pairs_has_no_column():
    head = {"layer": 1, "head": 2, "micro": 0.5, "macro": 0.25, "by_task": {"days": None, "letters": 0.25}}
    record = dict(model="m", family="llama", n_layers=2, n_heads=3, heads=[head], seconds=1.0, peak_rss_bytes=10**9)
    record |= dict(pairs={"days": 0, "letters": 4}, dropped={"days": ["Monday"], "letters": []})
    report = cli.report(record | {"macro_interval": [0.1, 0.4]})
    assert " head  macro  micro  letters\n L1H2   0.25   0.50     0.25\npairs             4        4" in report
    assert "Dropped from days, not single tokens: 1 (Monday)" in report


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["grown/nobody"], "There is no grown model"),
        (["./nowhere"], "There is no folder"),
        (["org/name"], "the hub cannot be reached"),
        (["MODEL", "--dtype", "int4"], "There is no dtype"),
        (["MODEL", "--device", "abacus"], "cannot be used on this machine"),
        (["MODEL", "--revision", "main"], "has no revisions"),
        (["MODEL", "--json", "TMP/no/such/score.json"], "make it, or name another file"),
        (["MODEL", "--json", "TMP"], "is a folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(checkpoints, tmp_path, capsys, arguments, words):
    known = {"MODEL": str(checkpoints["gpt2"])}
    arguments = [known.get(argument, argument.replace("TMP", str(tmp_path))) for argument in arguments]
    assert cli.main(["score", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and words in errors
    assert os.listdir(tmp_path) == []


def test_a_bad_json_target_is_refused_before_the_model_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    assert cli.main(["score", "grown/any", "--json", str(tmp_path / "no" / "score.json")]) == 2


def test_a_disk_that_fills_up_leaves_nothing_behind(checkpoints, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert cli.main(["score", str(checkpoints["gpt2"]), "--json", str(tmp_path / "score.json")]) == 2
    output, errors = capsys.readouterr()
    assert "No space left on device" in errors and os.listdir(tmp_path) == []
    assert '"heads": [' in output, "what has been computed has no other place left"


class Full(io.StringIO):
    """Standard output on a full disk."""

    def write(self, text):
        raise OSError(28, "No space left on device")


def test_scores_that_cannot_be_printed_go_to_stderr(checkpoints, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Full())
    assert cli.main(["score", str(checkpoints["gpt2"])]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("Standard output cannot be written to ([Errno 28] No space left on device)")
    assert "Best head L" in errors and "Traceback" not in errors


def test_a_reader_who_closes_the_pipe_has_read_enough(checkpoints, tmp_path, monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert cli.main(["score", str(checkpoints["gpt2"]), "--json", str(tmp_path / "score.json")]) == 0
        closed.write("what Python writes when the process ends")
        closed.flush()
    assert capsys.readouterr().err == "" and json.loads((tmp_path / "score.json").read_text())["heads"]


def test_scores_without_room_where_they_should_go_are_kept_elsewhere(checkpoints, tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert cli.main(["score", str(checkpoints["gpt2"]), "--json", str(tmp_path / "score.json")]) == 2
    output, errors = capsys.readouterr()
    (rescued,) = (tmp_path / "elsewhere").iterdir()
    assert f"No space left on device): choose another place. The scores of all heads are in {rescued}." in errors
    assert "Best head L" in output and len(json.loads(rescued.read_text())["heads"]) == 6
    assert os.listdir(tmp_path) == ["elsewhere"]


def test_to_standard_output_goes_the_json_alone(checkpoints, capfd):
    assert cli.main(["score", str(checkpoints["gpt2"]), "--json", "/dev/stdout"]) == 0
    assert len(json.loads(capfd.readouterr().out)["heads"]) == 6
    assert os.path.islink("/dev/stdout")


def test_without_docstrings_it_is_said_that_transformers_needs_them(checkpoints, monkeypatch, capsys):
    """As under python -OO, where transformers raises what one cannot understand as soon as it looks for them."""

    def without(*_, **__):
        raise ValueError("No `Args` or `Parameters` section is found")

    for module, function in ((AutoModelForCausalLM, "from_pretrained"), (cli.planted, "run")):
        monkeypatch.setattr(module, function, without)
    score, plant = ["score", str(checkpoints["gpt2"]), "--no-stream"], ["plant", "anywhere"]
    assert cli.main(score) == 2 and "get the files again" in capsys.readouterr().err
    with pytest.raises(ValueError):
        cli.main(plant)
    monkeypatch.setattr(sys, "flags", SimpleNamespace(optimize=2))
    for arguments in (score, plant):
        assert cli.main(arguments) == 2 and capsys.readouterr().err == f"{errors.NO_DOCSTRINGS}\n"


def test_what_a_disk_refuses_is_a_sentence_in_every_command_and_a_fault_of_the_program_is_none(monkeypatch, capsys):
    def refuse(number):
        def run(_):
            raise OSError(number, os.strerror(number), "/disk/windows.npy")

        monkeypatch.setattr(cli.growing, "run", run)
        return cli.main(["grow", "pythia"])

    for number in (errno.ENOSPC, errno.EROFS, errno.EACCES):
        assert refuse(number) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"/disk/windows.npy cannot be written ({os.strerror(number)})") and told.count("\n") == 1
    with pytest.raises(FileNotFoundError):
        refuse(errno.ENOENT)


def test_control_c_is_quiet(checkpoints, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(scores, "score_heads", interrupt)
    assert cli.main(["score", str(checkpoints["gpt2"]), "--no-stream", "--json", str(tmp_path / "score.json")]) == 130
    assert capsys.readouterr() == ("", "") and os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_truncated_checkpoint_in_a_process_of_its_own(checkpoints, tmp_path):
    for file in checkpoints["gpt_neox"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 1000 if file.suffix == ".safetensors" else None])
    process = command("score", str(tmp_path))
    output, errors = process.communicate()
    assert process.returncode == 2 and output == ""
    assert errors.count("\n") == 1 and "is not a complete safetensors file" in errors and "Traceback" not in errors


@pytest.mark.slow
def test_control_c_in_a_process_of_its_own(checkpoints):
    # The process says when it is in the middle of importing torch.
    reading, writing = os.pipe()
    hook = f"import os, sys; sys.addaudithook(lambda event, args: (event, args[:1]) == ('import', ('torch.nn',)) and os.write({writing}, b'!'))"
    process = command("score", str(checkpoints["gpt_neox"]), before=hook, pass_fds=[writing])
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert pipe.read(1) == b"!", process.communicate()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert (process.returncode, output, errors) == (130, "", "")


def test_grow_is_handed_its_own_arguments(monkeypatch):
    seen = []
    monkeypatch.setattr(cli.growing, "run", lambda args: seen.append(args.family) or 0)
    assert cli.main(["grow", "pythia"]) == 0 and seen == ["pythia"]


@pytest.mark.slow
def test_a_search_over_depths_is_said_in_a_line_and_stands_in_the_record(checkpoints, tmp_path, capsys):
    name, file = str(checkpoints["llama-grouped"]), tmp_path / "score.json"
    assert cli.main(["score", name, "--depth", "auto", "--json", str(file)]) == 0
    output = capsys.readouterr().out
    record = json.loads(file.read_text())
    depth, layer, head = record["depths"]["best"]
    assert f"L{layer}H{head} {record['depths']['macro']:.2f}" in output.splitlines()[-1] and depth <= layer
    best = record["heads"][0]
    assert record["depths"]["canonical"] == [0, best["layer"], best["head"]]
    assert record["depths"]["canonical_macro"] == pytest.approx(best["macro"], abs=1e-6)
    for elsewhere in ("--stream", "--remote"):
        assert cli.main(["score", name, "--depth", "auto", elsewhere]) == 2
    assert "leave out --stream" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("growing.observe", ["./nowhere", "record.json"]),
        ("studies.natural_text", ["./nowhere"]),
        ("studies.mod10_features", ["./nowhere"]),
        ("studies.blind_check", ["draw", "./nowhere", "sheet"]),
    ],
)
def test_a_program_beside_the_command_tells_a_mistake_in_one_sentence(
    program, arguments, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [program, *arguments])
    with pytest.raises(SystemExit) as ended:
        import_module(f"successor_heads.{program}").main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "nowhere" in said and said.endswith(".\n") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())
