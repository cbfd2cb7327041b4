"""A user of NDIF in a process of her own, in which only the network is not real: run from test_remote.py.

    python remote_user.py SCRATCH CHECKPOINT...

Scores every checkpoint here, under nnsight's simulation of a remote run, and on the server of ndif_server.py,
and prints what came of it as JSON.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
import zstandard
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from nnsight.modeling.huggingface import _ID_CACHE

from successor_heads import ablation, models, ndif, ordinals, ov_circuit, prompts, scores

scratch, *checkpoints = sys.argv[1:]
server = subprocess.Popen(
    [sys.executable, str(Path(__file__).with_name("ndif_server.py"))],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)  # fmt: skip
traffic = {}


def request(backend, envelope, tracer):
    """In place of a websocket and a POST: the request's own bytes go to the server, its answer's bytes come back."""
    checkpoint = json.loads(envelope.model_key.split(":", 1)[1])["repo_id"]
    sent, answer = Path(scratch) / "request", Path(scratch) / "answer"
    sent.write_bytes(backend._serialize(tracer))
    print(checkpoint, sent, answer, file=server.stdin, flush=True)
    status = server.stdout.readline().strip()
    if status != "COMPLETED":
        raise RemoteError(status)
    blob = zstandard.compress(answer.read_bytes())
    traffic.setdefault(checkpoint, []).append({"sent": sent.stat().st_size, "received": len(blob)})
    return backend.finalize(blob)


RemoteBackend.request = request
report = {}
for checkpoint in checkpoints:
    _ID_CACHE[checkpoint] = checkpoint  # the hub, asked for the model's canonical name
    here, simulated, there = (models.load(checkpoint) for _ in range(3))
    simulated.remote, there.remote = "local", True
    there.repo_id, there.revision = checkpoint, None
    classes = ordinals.resolve(here.tokenizer)
    results, at_work, matrices, effects = [], [], [], []
    lists, days = [" Monday, Tuesday,", " two, three, four,"], torch.tensor([5, 6, 7, 8])
    ids = torch.cat([resolved.token_ids[:5] for resolved in classes.values()])
    for model in (here, simulated, there):
        parts = ndif.anatomy_of(model)
        results.append(scores.score_heads(parts, classes))
        at_work.append(scores.score_heads(parts, classes, **scores.CONVENTIONS["as at work"]))
        traced = ablation.mean_ablation_effects(model, lists, days[:2], members=days, reference=lists)
        effects.append((traced.logit_fall, traced.clean.logit, prompts.mlp0_outputs(model, lists)))
        matrices.append(parts.compute(ov_circuit.head_matrix, ids, layer=1, head=0).cpu())
    report[checkpoint] = {
        "equal": [
            all(torch.equal(answers, scored[0].predicted[task]) for task, answers in result.predicted.items())
            for scored in (results, at_work)
            for result in scored[1:]
        ],
        "difference": [float((matrix - matrices[0]).abs().max() / matrices[0].abs().max()) for matrix in matrices[1:]],
        "traced": [
            max(float((one - other).abs().max()) for one, other in zip(effect, effects[0])) for effect in effects[1:]
        ],
        "best": [list(result.best) for result in results],
        "macro": [float(result.macro.max()) for result in results],
        "traffic": traffic[checkpoint],
    }
print(json.dumps(report))
server.stdin.close()
