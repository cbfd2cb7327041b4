"""Models on NDIF: only the network is not real. What stands against it is one sentence each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import nnsight
import pytest
import torch
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from nnsight.modeling import huggingface

from successor_heads import anatomy, cli, models, ndif, ordinals, ov_circuit, prompts
from successor_heads.errors import UserError

HERE = Path(__file__).parent
NAME = "someone/tiny"


@pytest.fixture
def server(monkeypatch, checkpoints):
    """NDIF as it answers when all is well, as a dict to change; the hub holds one model, NAME."""
    local = nnsight.ndif.get_local_env()
    answers = {
        "/status": {
            "deployments": {
                "one": {
                    "repo_id": NAME,
                    "model_key": f"nnsight.TransformersModel:{NAME}",
                    "deployment_level": "HOT",
                    "application_state": "RUNNING",
                    "task": "text-generation",
                    "revision": None,
                }
            }
        },
        "/env": {
            "python_version": "3.12.1",
            "packages": {p: local["packages"][p] for p in ("nnsight", "torch", "transformers")},
        },
    }

    def get(path, **_):
        if isinstance(answers[path], Exception):
            raise answers[path]
        return answers[path]

    monkeypatch.setattr(nnsight.ndif, "_get", get)
    monkeypatch.setattr(nnsight.ndif, "_REMOTE_ENV", None)
    monkeypatch.setattr(nnsight.CONFIG.API, "APIKEY", None)
    monkeypatch.setenv("NDIF_API_KEY", "a key")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(checkpoints["gpt_neox"]))
    monkeypatch.setitem(huggingface._ID_CACHE, NAME, NAME)
    return answers


def said(capsys, *arguments):
    """What the command line says on stderr: one sentence, with exit status 2."""
    assert cli.main(["score", *arguments]) == 2
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1 and "Traceback" not in sentence
    return sentence


@pytest.mark.slow
def test_a_model_on_ndif_has_its_shapes_and_tokenizer_here_and_nothing_else(server):
    model = models.load(NAME, remote=True)
    assert all(parameter.is_meta for parameter in model._module.parameters())
    assert nnsight.CONFIG.API.APIKEY == "a key"
    assert json.loads(model.to_model_key().split(":", 1)[1]) == {
        "repo_id": NAME, "revision": None, "task": "text-generation"
    }  # fmt: skip
    parts = ndif.anatomy_of(model)
    assert (parts.family, parts.n_layers, parts.n_heads) == ("gpt_neox", 2, 3)
    ids = ordinals.resolve(model.tokenizer)["days"].token_ids
    for ask in (lambda: parts.embed(ids), lambda: parts.b_v(0), lambda: ov_circuit.head_input(parts, ids)):
        with pytest.raises(UserError, match="parts.compute"):
            ask()


@pytest.mark.slow
def test_without_a_key(server, monkeypatch, capsys):
    monkeypatch.delenv("NDIF_API_KEY")
    assert "set NDIF_API_KEY" in said(capsys, NAME, "--remote")


@pytest.mark.slow
def test_a_key_that_nnsight_has_stored_is_not_used(server, monkeypatch, capsys):
    monkeypatch.delenv("NDIF_API_KEY")
    monkeypatch.setattr(nnsight.CONFIG.API, "APIKEY", "another")
    assert "no key" in said(capsys, NAME, "--remote")


@pytest.mark.parametrize("name", ["grown/pythia", "."])
@pytest.mark.slow
def test_a_model_of_this_machine(server, capsys, name):
    assert "on this machine" in said(capsys, name, "--remote")


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), ValueError("not JSON")])
@pytest.mark.slow
def test_a_server_that_does_not_answer(server, capsys, error):
    server["/status"] = error
    assert "does not answer" in said(capsys, NAME, "--remote")


@pytest.mark.slow
def test_a_model_that_does_not_run_there(server, capsys):
    sentence = said(capsys, "someone/other", "--remote")
    assert "does not run someone/other" in sentence and NAME in sentence
    server["/status"]["deployments"]["one"]["application_state"] = "DEPLOYING"
    assert "runs no model" in said(capsys, NAME, "--remote")


@pytest.mark.slow
def test_another_revision_than_the_one_there(server, capsys):
    assert "at revision step1000" in said(capsys, NAME, "--remote", "--revision", "step1000")
    server["/status"]["deployments"]["one"]["revision"] = "step1000"
    assert models.load(NAME, revision="step1000", remote=True).revision == "step1000"


@pytest.mark.slow
def test_other_versions_than_the_servers(server, capsys, monkeypatch):
    packages = server["/env"]["packages"]
    packages["torch"] += "+cu128"  # a build's label is no other version
    models.load(NAME, remote=True)
    monkeypatch.setattr(nnsight.ndif, "_REMOTE_ENV", None)
    packages["nnsight"], packages["numpy"] = "0.7.3", "1.0"
    sentence = said(capsys, NAME, "--remote")
    assert "pip install nnsight==0.7.3 and" in sentence and "numpy" not in sentence
    monkeypatch.setattr(nnsight.ndif, "_REMOTE_ENV", None)
    server["/env"] = httpx.HTTPStatusError("503", request=None, response=None)
    assert "does not tell its versions (503)" in said(capsys, NAME, "--remote")


@pytest.mark.parametrize(
    "error", [RemoteError("Traceback\n  ...\nCUDA out of memory"), ConnectionResetError("reset by peer")]
)
@pytest.mark.slow
def test_a_job_that_fails_there(server, monkeypatch, capsys, error):
    def fail(backend, request, tracer):
        raise error

    monkeypatch.setattr(RemoteBackend, "request", fail)
    sentence = said(capsys, NAME, "--remote")
    assert str(error).splitlines()[-1] in sentence and NAME in sentence


def test_remote_and_stream_are_one_or_the_other(capsys):
    with pytest.raises(SystemExit):
        cli.main(["score", NAME, "--remote", "--stream"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.fixture(scope="module")
def round_trips(checkpoints, tmp_path_factory):
    """What a user of NDIF gets for some checkpoints and for plants, from processes with nothing of the tests in them."""
    scratch = tmp_path_factory.mktemp("ndif")
    # Every other checkpoint is in the test of probed modules below.
    folders = {
        name: checkpoints[name]
        for name in ("gpt2", "gpt_neox", "llama-grouped", "llama-biased", "qwen2", "gemma2", "phi")
    }
    for family in ("gpt2", "gpt_neox", "llama"):
        folders[f"planted {family}"] = scratch / family
        assert cli.main(["plant", str(scratch / family), "--family", family, "--seed", "4"]) == 0
    command = [sys.executable, str(HERE / "remote_user.py"), str(scratch), *map(str, folders.values())]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    return {name: report[str(folder)] for name, folder in folders.items()}, folders


@pytest.mark.slow
def test_scores_are_those_of_the_local_run_simulated_and_from_a_server_that_has_not_installed_us(round_trips):
    for name, trip in round_trips[0].items():
        assert trip["equal"] == [True] * 4, name  # canonical, and with all norms and biases
        # A gain of a layer norm may lose its last digit; with RMS norms there is nothing to lose.
        exact = any(family in name for family in ("llama", "qwen"))
        assert max(trip["difference"]) <= (0 if exact else 2e-6), name


def test_traces_that_edit_heads_run_there_as_here(round_trips):
    for name, trip in round_trips[0].items():
        if name.split("-")[0] in ("gpt2", "gpt_neox", "llama"):
            assert max(trip["traced"]) < 1e-4, name


@pytest.mark.slow
def test_attention_patterns_are_not_to_be_had_there(server):
    with pytest.raises(UserError, match="not to be had from NDIF"):
        prompts.attention_patterns(models.load(NAME, remote=True), " Monday")


def test_planted_heads_are_found_there(round_trips):
    trips, folders = round_trips
    for name, trip in trips.items():
        if name.startswith("planted"):
            heads = json.loads((folders[name] / "truth.json").read_text())["heads"]
            truth = next([head["layer"], head["head"]] for head in heads if head["role"] == "successor")
            assert trip["best"] == [truth] * 3 and min(trip["macro"]) >= 0.97


def test_few_bytes_travel(round_trips):
    trips, folders = round_trips
    for name, trip in trips.items():
        # One request for the scores of each of two conventions, one for mean outputs, one for every 16 of the intact
        # model and its ablated heads, one for MLP0's outputs and one for the matrix: each waits in a queue.
        # The plants have 3 layers of 8 heads, the others at most 12 heads in all.
        assert len(trip["traffic"]) == (7 if name.startswith("planted") else 6), name
        scoring, *_, matrix = trip["traffic"]
        weights = (folders[name] / "model.safetensors").stat().st_size
        assert scoring["received"] < 0.05 * weights, name
        assert matrix["received"] < 4 * 40**2 + 2000, name  # one head's, of at most forty tokens
        assert max(request["sent"] for request in trip["traffic"]) < 15_000, name


@pytest.mark.slow
def test_called_modules_give_what_is_stored(checkpoints):
    """Every tensor of every family, in float32 and in half precision."""
    for name, folder in checkpoints.items():
        for dtype in ("float32", "bfloat16"):
            model = models.load(str(folder), dtype=dtype, remote="local")
            loaded = anatomy.Loaded(model._module)
            names = [tensor for tensor, _ in model._module.named_parameters()]
            rows, parts = torch.tensor([4, 9, 200, 31]), anatomy.of(model)
            names = [n for n in names if "wpe" not in n and n != f"{parts.embedding_path}.weight"]
            with model.trace("1"):
                probe = model.get(parts.embedding_path).output
                shapes = {n: tuple(p.shape) for n, p in model._module.named_parameters()}
                probed = ndif.ProbedWeights(model, parts, shapes, probe)
                found = nnsight.save([probed.take(n) for n in names])
                embedded = nnsight.save(probed.take(f"{parts.embedding_path}.weight", rows=rows, of=parts.d_vocab))
            found.append(embedded)
            stored = [loaded.take(n).float() for n in names]
            stored.append(loaded.take(f"{parts.embedding_path}.weight", rows=rows, of=parts.d_vocab).float())
            names.append("embedding" if parts.embedding_scale == 1 else "scaled embedding weight")
            for tensor, value, kept in zip(names, found, stored, strict=True):
                rounded = tensor.endswith("weight") and (kept.ndim == 1 or "scaled" in tensor)
                tolerance = (2e-2 if dtype == "bfloat16" else 1e-6) if rounded else 0
                assert value.shape == kept.shape, (name, tensor, value.shape, kept.shape)
                assert (value.float() - kept).abs().max() <= tolerance * kept.abs().max(), (name, dtype, tensor)
