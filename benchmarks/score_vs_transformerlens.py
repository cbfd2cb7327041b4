"""How much time, memory and reading does a score take, against TransformerLens on the same checkpoint?

    make benchmark        # builds an environment of its own, runs this, writes benchmarks/results/score.json

Each contestant is a whole process, imports included, and they take turns for several rounds:

- ours: ``successor-heads score FOLDER --stream``;
- factored: TransformerLens' ``TransformerBridge`` and the same algebra, (x W_V)(W_O W_U);
- materialised: the same, with the d_model × d_model matrix W_V W_O of each head, as published code has it.

The first checkpoint is random, in half precision and of Pythia-1.4B's shape, for time and memory depend on the
shape alone; the second is a published model, SmolLM2, small enough that imports are most of the work. The peer is
helped where that is possible: it imports nothing of ours that it does not need, asks each block for its own
matrices, and computes the logits of the ordinals alone. Then the streaming scorer runs alone on the shape of
Llama-2-7B and on a row of smaller shapes, and its reading is timed without arithmetic, beside one plain pass over
as many bytes, with the file out of the page cache and in it.

The parent imports neither torch nor numpy: a child's peak memory would otherwise start at its parent's.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROUNDS = 5
PYTHIA = dict(vocab_size=50304, hidden_size=2048, num_hidden_layers=24, num_attention_heads=16, intermediate_size=8192)
LLAMA = dict(vocab_size=32000, hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, intermediate_size=11008)
# One of layers, width and heads changes in each row, the others stay as in the middle.
GROWTH = {
    "layers": [(6, 1024, 8), (12, 1024, 8), (24, 1024, 8), (48, 1024, 8)],
    "width": [(12, 512, 8), (12, 1024, 8), (12, 2048, 8)],
    "heads": [(12, 1024, 4), (12, 1024, 8), (12, 1024, 32)],
}
PUBLISHED = "published/smollm2"
PACKAGES = ("successor-heads", "torch", "transformers", "transformer-lens", "safetensors", "huggingface-hub", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--work", type=Path, default=Path("_build/benchmark"), help="where checkpoints are written and removed"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "score.json")
    parser.add_argument("--tokenizer", default="lib/successor_heads/zoo/pythia", help="folder with a tokenizer")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--part",
        choices=["peer", "published", "large", "growth"],
        help="run this part alone and keep the others' results",
    )
    parser.add_argument("--child", nargs="+", metavar="STEP", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        step, *rest = args.child
        return CHILDREN[step](*rest)

    results = json.loads(args.out.read_text()) if args.part and args.out.exists() else {}
    if results and results | setting() != results:
        raise SystemExit("The other parts were measured on another day, machine or set of packages: leave --part out.")
    results |= setting()
    parts = {"peer": peer, "published": published, "large": large, "growth": growth}
    for name in [args.part] if args.part else parts:
        results[name] = parts[name](args)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def setting(*more: str) -> dict:
    """When, on what, and with which versions of `PACKAGES` and `more` something is measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores of {_processor()}, {memory:.0f} GB of memory",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in (*PACKAGES, *more)},
    }


def peer(args: argparse.Namespace) -> dict:
    """Ours and the peer on Pythia-1.4B's shape."""
    folder = written(args, "pythia-1.4b", "GPTNeoXConfig", PYTHIA)
    result = {"shape": PYTHIA} | contest(args, folder)
    shutil.rmtree(folder)
    return result


def published(args: argparse.Namespace) -> dict:
    """Ours and the peer on a published model."""
    folder = Path(in_child("folder", PUBLISHED)["folder"])
    return {"model": PUBLISHED} | contest(args, folder)


def contest(args: argparse.Namespace, folder: Path) -> dict:
    """Time, memory and bytes of the three contestants, and whether their scores are equal."""
    answers = {name: args.work / f"{name}.json" for name in ("ours", "factored", "materialised")}
    commands = {"ours": ours(folder, "--json", answers["ours"])} | {
        name: [sys.executable, __file__, "--child", "peer", name, folder, answers[name]]
        for name in ("factored", "materialised")
    }
    commands |= {
        "ours, imports alone": [sys.executable, "-c", "import successor_heads.records, successor_heads.streaming"],
        "factored, imports alone": [sys.executable, "-c", "import transformer_lens.model_bridge"],
    }
    warm_up(folder)
    rounds = [{name: measured(command) for name, command in commands.items()} for _ in range(args.rounds)]
    table = {
        name: {
            "seconds": statistics.median(round_[name]["seconds"] for round_ in rounds),
            "cpu_seconds": statistics.median(round_[name]["cpu_seconds"] for round_ in rounds),
            "peak_bytes": max(round_[name]["peak_bytes"] for round_ in rounds),
            "rounds_seconds": [round_[name]["seconds"] for round_ in rounds],
        }
        for name in commands
    }
    reading = in_child("reading", folder, 3)
    size = (folder / "model.safetensors").stat().st_size
    table["ours"]["bytes_read"] = reading["bytes_read"]
    table["factored"]["bytes_read"] = table["materialised"]["bytes_read"] = size
    heads = {name: _heads(path) for name, path in answers.items()}
    ratios = {
        name: {
            "seconds": statistics.median(round_[name]["seconds"] / round_["ours"]["seconds"] for round_ in rounds),
            "rounds_seconds": [round_[name]["seconds"] / round_["ours"]["seconds"] for round_ in rounds],
            "cpu_seconds": statistics.median(
                round_[name]["cpu_seconds"] / round_["ours"]["cpu_seconds"] for round_ in rounds
            ),
            "peak_bytes": table[name]["peak_bytes"] / table["ours"]["peak_bytes"],
            "heads_with_another_score": sum(heads[name][head] != heads["ours"][head] for head in heads["ours"]),
        }
        for name in ("factored", "materialised")
    }
    return {"contestants": table, "ratios": ratios, "n_heads": len(heads["ours"]), "reading": reading}


def large(args: argparse.Namespace) -> dict:
    """The streaming scorer alone on the shape of Llama-2-7B."""
    folder = written(args, "llama-2-7b", "LlamaConfig", LLAMA)
    from_disk = measured(ours(folder), before=lambda: evict(folder))
    result = from_disk | {"shape": LLAMA, "reading": in_child("reading", folder, 1)}
    shutil.rmtree(folder)
    return result


def growth(args: argparse.Namespace) -> list[dict]:
    """Time, memory and bytes as layers, width and heads grow."""
    measurements = {}
    for n_layers, d_model, n_heads in {shape: None for shapes in GROWTH.values() for shape in shapes}:
        shape = dict(vocab_size=50304, hidden_size=d_model, num_hidden_layers=n_layers, num_attention_heads=n_heads)
        folder = written(args, "growth", "GPTNeoXConfig", shape | {"intermediate_size": 4 * d_model})
        warm_up(folder)
        runs = [measured(ours(folder)) for _ in range(3)]
        reading = in_child("reading", folder, 3)
        measurements[n_layers, d_model, n_heads] = (
            {"layers": n_layers, "width": d_model, "heads": n_heads}
            # Of several runs the fastest: what else the machine does can only add time.
            | {key: min(run[key] for run in runs) for key in ("seconds", "cpu_seconds", "peak_bytes")}
            | {key: reading[key] for key in ("bytes_read", "bytes_in_checkpoint")}
            | {"seconds_without_imports": reading["warm"]["score_seconds"]}
        )
        shutil.rmtree(folder)
    return [{"axis": axis} | measurements[shape] for axis, shapes in GROWTH.items() for shape in shapes]


def ours(folder: Path, *options) -> list:
    """The command of the library, in this environment."""
    return [Path(sys.executable).with_name("successor-heads"), "score", folder, "--stream", *options]


def measured(command: list, *, before=lambda: None) -> dict[str, float]:
    """Wall time, processor time and peak memory of a whole process."""
    before()
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed:\n{errors}")
    factor = 1 if platform.system() == "Darwin" else 1024
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * factor,
    }


def in_child(*step) -> dict:
    """What a step prints as JSON, run in a process of its own."""
    output = subprocess.run([sys.executable, __file__, "--child", *map(str, step)], check=True, stdout=subprocess.PIPE)
    return json.loads(output.stdout.splitlines()[-1])


def written(args: argparse.Namespace, name: str, config: str, shape: dict) -> Path:
    """A folder with a random checkpoint of that shape."""
    folder = args.work / name
    shutil.rmtree(folder, ignore_errors=True)
    in_child("write", folder, config, json.dumps(shape), args.tokenizer)
    return folder


def warm_up(folder: Path) -> None:
    """Bring the file into the page cache, so that the order of the contestants does not matter."""
    with (folder / "model.safetensors").open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def evict(folder: Path) -> None:
    """Take the file out of the page cache."""
    with (folder / "model.safetensors").open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def child_write(folder: str, config: str, shape: str, tokenizer: str) -> None:
    """Write a random checkpoint in half precision, tensor by tensor: it need not fit into memory."""
    import numpy as np
    import torch
    import transformers

    folder = Path(folder)
    folder.mkdir(parents=True)
    settings = getattr(transformers, config)(**json.loads(shape), dtype="float16", tie_word_embeddings=False)
    with torch.device("meta"):
        tensors = transformers.AutoModelForCausalLM.from_config(settings, dtype=torch.float16).state_dict()
    settings.architectures = [f"{config.removesuffix('Config')}ForCausalLM"]
    settings.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [end, end + 2 * tensor.numel()]}
        end += 2 * tensor.numel()
    text = json.dumps(header).encode()
    random = np.random.default_rng(0)
    # Of one large block, each tensor takes numbers from a place of its own.
    block = random.standard_normal(1 << 26, dtype=np.float32).astype(np.float16)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, tensor in tensors.items():
            if name.endswith("norm.weight") or "layernorm.weight" in name:
                numbers = np.ones(tensor.numel(), dtype=np.float16)
            else:
                numbers = np.float16(tensor.shape[-1] ** -0.5) * np.take(
                    block, np.arange(tensor.numel()) + random.integers(len(block)), mode="wrap"
                )
            file.write(numbers.tobytes())
        file.flush()
        os.fsync(file.fileno())
    print(json.dumps({"bytes": end}))


def child_folder(name: str) -> None:
    """Where a published model lies; it is fetched first if need be."""
    from successor_heads import published as models

    print(json.dumps({"folder": str(models.folder_of(name))}))


def child_peer(algebra: str, folder: str, out: str) -> None:
    """The scores by TransformerLens: TransformerBridge, then one of the two algebras."""
    import torch
    from transformer_lens.model_bridge import TransformerBridge

    from successor_heads import ordinals

    torch.set_grad_enabled(False)
    bridge = TransformerBridge.boot_transformers(folder, dtype=torch.float32, device="cpu")
    classes = ordinals.resolve(bridge.tokenizer)
    token_ids = torch.cat([resolved.token_ids for resolved in classes.values()])
    first = bridge.blocks[0]
    x = first.mlp(first.ln2(bridge.W_E[token_ids][None]))[0]
    w_u = bridge.W_U[:, token_ids]
    heads = {}
    for layer, block in enumerate(bridge.blocks):
        w_v, w_o = block.attn.W_V, block.attn.W_O
        w_v = w_v.repeat_interleave(len(w_o) // len(w_v), dim=0)  # of grouped queries, several heads have one W_V
        if algebra == "factored":
            logits = (x @ w_v) @ (w_o @ w_u)
        else:
            logits = torch.stack([x @ (w_v[head] @ w_o[head]) @ w_u for head in range(len(w_v))])
        sizes = [len(resolved.words) for resolved in classes.values()]
        answers = {}
        for place, (task, resolved) in enumerate(classes.items()):
            rows = logits.split(sizes, dim=1)[place].split(sizes, dim=2)[place][:, resolved.source]
            answers[task] = (rows.argmax(-1) == resolved.target).double().mean(-1)
        for head in range(len(w_v)):
            heads[f"L{layer}H{head}"] = {task: float(shares[head]) for task, shares in answers.items()}
    Path(out).write_text(json.dumps(heads))


def child_reading(folder: str, repeats: str) -> None:
    """How long a score takes once everything is imported, its reads without arithmetic, and a plain pass over as many bytes."""
    import torch

    from successor_heads import ordinals, streaming

    def score():
        checkpoint = streaming.Checkpoint(folder)
        checkpoint.score(ordinals.resolve(checkpoint.tokenizer))
        return checkpoint

    def reads():
        checkpoint = streaming.Checkpoint(folder)
        classes = ordinals.resolve(checkpoint.tokenizer)
        tokens = torch.cat([resolved.token_ids for resolved in classes.values()])
        checkpoint.plan(tokens, range(checkpoint.anatomy.n_layers))
        while checkpoint.planned or checkpoint.started:
            checkpoint._read_ahead()
            for job in checkpoint.started.popleft().jobs:
                job.result()
        return checkpoint

    def plain(n_bytes: int):
        buffer = bytearray(1 << 23)
        with (Path(folder) / "model.safetensors").open("rb", buffering=0) as file:
            while n_bytes > 0:
                n_bytes -= file.readinto(buffer)

    def seconds(function, *args, cold: bool) -> float:
        """Of several runs the fastest."""
        times = []
        for _ in range(int(repeats)):
            if cold:
                evict(Path(folder))
            start = time.perf_counter()
            function(*args)
            times.append(time.perf_counter() - start)
        return min(times)

    checkpoint = score()
    result = {
        "bytes_read": checkpoint.bytes_read,
        "bytes_of_needed_rows": _needed_bytes(checkpoint),
        "bytes_in_checkpoint": checkpoint.bytes_in_checkpoint,
    }
    for name, cold in (("cold", True), ("warm", False)):
        result[name] = {
            "score_seconds": seconds(score, cold=cold),
            "reads_alone_seconds": seconds(reads, cold=cold),
            "plain_pass_seconds": seconds(plain, checkpoint.bytes_read, cold=cold),
        }
    print(json.dumps(result))


def _needed_bytes(checkpoint) -> int:
    """Bytes of the rows that a score cannot do without, from config and dtype alone, whatever lies between."""
    from successor_heads import ordinals

    parts, config = checkpoint.anatomy, checkpoint.config
    n_tokens = len({int(i) for resolved in ordinals.resolve(checkpoint.tokenizer).values() for i in resolved.token_ids})
    value_and_output = parts.n_layers * parts.d_model * parts.d_head * (parts.n_kv_heads + parts.n_heads)
    mlp = (3 if parts.mlp_gate_path else 2) * parts.d_model * config.intermediate_size
    embeddings = (1 if config.tie_word_embeddings else 2) * n_tokens * parts.d_model
    (itemsize,) = {entry.dtype.itemsize for entry in checkpoint.entries.values() if not isinstance(entry, str)}
    return itemsize * (embeddings + value_and_output + mlp)


def _heads(path: Path) -> dict[str, dict[str, float]]:
    answers = json.loads(path.read_text())
    if "heads" not in answers:
        return answers
    return {f"L{head['layer']}H{head['head']}": head["by_task"] for head in answers["heads"]}


def _processor() -> str:
    models = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return models[0] if models else platform.processor()


CHILDREN = {"folder": child_folder, "write": child_write, "peer": child_peer, "reading": child_reading}

if __name__ == "__main__":
    main()
