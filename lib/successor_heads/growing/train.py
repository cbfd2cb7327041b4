"""Grow one model: corpus, tokenizer, training, scores along the way, and the folder that is shipped.

Read from top to bottom: the recipe, the data, the model, one training step, the loop, the model card.
An accelerator is not needed.  Three things make a step faster on a CPU than the library's own model
and loss under autocast; `benchmarks/training_step.py` measures by how much:

- matrix products run in bfloat16 on bfloat16 weights, while the optimiser keeps float32 masters;
- the loss takes the unembedding in slices, and never holds the logits of a whole batch;
- attention is three plain products, which beats the fused kernel for short windows.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import GPT2Config, GPTNeoXConfig, LlamaConfig, PreTrainedTokenizerFast, __version__
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from successor_heads import anatomy, files, ordinals
from successor_heads.errors import UserError, check_seed
from successor_heads.growing import corpus, observe, succession
from successor_heads.growing.succession import UNSEEN_SEED, UNSEEN_WINDOWS
from successor_heads.growing.tokenizer import D_VOCAB, LARGEST_VOCABULARY, tokens_of, train_tokenizer
from successor_heads.models import usable_device
from successor_heads.records import write_json

# --- the recipe -----------------------------------------------------------------------------------

FAMILIES = ("pythia", "gpt2", "llama")
SIZES = {  # name: (layers, width, heads); a head is 64 wide, as in GPT-2 and most of Pythia
    "tiny": (2, 128, 2),
    "small": (3, 192, 3),
    "default": (4, 256, 4),
    "large": (6, 384, 6),
    "narrow": (2, 128, 16),  # tiny with heads 8 wide, which hold less of a table
}
# Steps at the start during which block 0's attention writes nothing.  In Pythia MLP0 never sees what
# attention 0 writes.  Where it does, a model this shallow would let attention 0 fetch the last ordinal
# and MLP0 increment it: it counts, but no head does (chapter 6 shows it).
QUIET_STEPS = {"pythia": 0, "gpt2": 300, "llama": 300}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what grows; two equal recipes on one machine give equal weights."""

    family: str = "pythia"
    size: str = "default"
    seed: int = 0
    without: tuple[str, ...] = ()  # ingredients left out of the corpus
    base: int = 10  # the base in which the text composes numbers
    steps: int = 1200
    batch: int = 32  # windows a step; the two-layer models of chapter 6 learn as much from steps of 8
    window: int = 256  # tokens a window
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    warmup: int = 100  # steps
    quiet_steps: int | None = None  # the family's own, see QUIET_STEPS
    tied: bool = (
        False  # GPT-2 only: one matrix embeds and unembeds, as in OpenAI's; then heads share the work (chapter 6)
    )
    shares: tuple[tuple[str, float], ...] = (("generated", 0.70), ("docstrings", 0.10), ("books", 0.20))
    held_out: tuple[str, ...] = ()  # pairs that the corpus never gives in order, see corpus.HeldOut.parse
    vocabulary: int = D_VOCAB
    digits: bool = False  # every digit a token of its own, as in Llama-2
    dtype: str = "bfloat16"  # of the matrix products; float32 is faster on a CPU whose bfloat16 is slow

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise UserError(f"'{self.family}' is no family that can be grown; choose {', '.join(FAMILIES)}.")
        if self.size not in SIZES:
            raise UserError(f"'{self.size}' is no size; choose {', '.join(SIZES)}.")
        for option in ("steps", "batch", "window"):
            if getattr(self, option) < 1:
                raise UserError(f"{getattr(self, option)} as {option} trains nothing; give --{option} 1 or more.")
        check_seed(self.seed)
        if not 1 <= self.vocabulary <= LARGEST_VOCABULARY:
            raise UserError(
                f"No vocabulary of {self.vocabulary} tokens can be made; give --vocabulary up to {LARGEST_VOCABULARY}."
            )
        if self.tied and self.family != "gpt2":
            raise UserError(
                f"--tied is for gpt2, whose published models tie their embeddings; leave it out for {self.family}."
            )
        if self.dtype not in ("bfloat16", "float32"):
            raise UserError(f"'{self.dtype}' is no dtype to train in; use bfloat16 or float32.")
        corpus.check(set(self.without), self.base)
        for part in self.held_out:
            corpus.HeldOut.parse(part)
        if self.quiet_steps is None:
            object.__setattr__(self, "quiet_steps", QUIET_STEPS[self.family])

    @property
    def tokens(self) -> int:
        """Tokens read in all: 1200 steps x 32 windows x 256 tokens = 9.8 million by default."""
        return self.steps * self.batch * self.window

    @property
    def parts_held_out(self) -> tuple[corpus.HeldOut, ...]:
        """The pairs that the text never gives in order; a random part is drawn by the recipe's seed."""
        return tuple(corpus.HeldOut.parse(part, seed=self.seed) for part in self.held_out)

    def generated(self, *, seed: int, n: int) -> Iterator[str]:
        """The generated documents that this recipe's model reads, or with another seed, others like them."""
        documents = corpus.generated(
            seed=seed, n=n, without=set(self.without), base=self.base, held_out=self.parts_held_out
        )
        return (document.text for document in documents)


# --- the data -------------------------------------------------------------------------------------

SAVE_EVERY_SECONDS = 60


def prepare(recipe: Recipe, folder: Path, *, books_folder: Path | None) -> dict:
    """Write tokenizer and windows into `folder`, once; return how many tokens each source gave.

    `windows.npy` is [window, token] in reading order, `held_out.npy` the same of unseen documents.
    """
    if (folder / "sources.json").exists():  # written last: all the others are there
        return json.loads((folder / "sources.json").read_text(encoding="utf-8"))
    print("Writing the corpus ...", flush=True)
    shares = {source: share for source, share in recipe.shares if share > 0}
    if "prose" in recipe.without:
        shares = {"generated": 1.0}
    elif books_folder is None and shares.pop("books", 0):
        print("No books given: the model is grown on generated text and docstrings alone.")

    # One tokenizer for every ablation of a seed: it is made from the whole mix, so that models that
    # read different text still read it in the same tokens.
    sample = [document.text for document in corpus.generated(seed=recipe.seed, n=30_000)]
    prose = list(itertools.islice(corpus.docstrings(per_package=100_000), 2000))
    tokenizer = train_tokenizer(itertools.chain(sample, prose), d_vocab=recipe.vocabulary, digits=recipe.digits)
    with _room_for(folder / "tokenizer.json"):
        tokenizer.save_pretrained(folder)

    needed = recipe.steps * recipe.batch
    total = sum(shares.values())
    rows, checked = [], corpus.TextCheck()
    sources: dict[str, Any] = {}
    for source, share in shares.items():
        n_windows = math.ceil(needed * share / total)
        texts = checked.reading(_texts(source, recipe, books_folder))
        tokens, distinct = tokens_of(tokenizer, texts, n_windows * (recipe.window + 1))
        rows.append(tokens.reshape(n_windows, recipe.window + 1))
        sources[source] = {"tokens": n_windows * recipe.window, "distinct_tokens": distinct}
    windows = np.concatenate(rows)
    windows = windows[np.random.default_rng(recipe.seed).permutation(len(windows))][:needed]
    with _room_for(folder / "windows.npy"):
        np.save(folder / "windows.npy", windows)

    unseen = corpus.TextCheck()  # of documents that the model does not read, unless chance has written one twice
    held_out, _ = tokens_of(
        tokenizer,
        unseen.reading(recipe.generated(seed=recipe.seed + UNSEEN_SEED, n=40_000)),
        UNSEEN_WINDOWS * (recipe.window + 1),
    )
    with _room_for(folder / "held_out.npy"):
        np.save(folder / "held_out.npy", held_out.reshape(UNSEEN_WINDOWS, recipe.window + 1))
    write_json(folder / "text.json", succession.check_text(checked, unseen))
    sources["sha256"] = hashlib.sha256(windows.tobytes()).hexdigest()
    write_json(folder / "sources.json", sources)
    return sources


@contextmanager
def _room_for(path: Path) -> Iterator[None]:
    """Turn a full disk, of which NumPy and tokenizers tell in words of their own, into one sentence."""
    try:
        yield
    except Exception as error:  # tokenizers raises this very class
        raise UserError(
            f"{path} cannot be written ({error}): make room on the disk and run the command again."
        ) from error


def _texts(source: str, recipe: Recipe, books_folder: Path | None):
    if source == "docstrings":
        return corpus.docstrings()
    if source == "books":
        return corpus.books(books_folder)  # type: ignore[arg-type]  # there is a share of books only with a folder
    return recipe.generated(seed=recipe.seed, n=10**9)


# --- the model ------------------------------------------------------------------------------------


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A model of the recipe's family and size with fresh random weights."""
    n_layers, width, n_heads = SIZES[recipe.size]
    end = tokenizer.eos_token_id
    common = dict(vocab_size=len(tokenizer), bos_token_id=end, eos_token_id=end, attn_implementation="plain")
    if recipe.family == "gpt2":
        config = GPT2Config(
            n_layer=n_layers, n_embd=width, n_head=n_heads, n_positions=recipe.window,
            tie_word_embeddings=recipe.tied, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **common,
        )  # fmt: skip
    else:
        common |= dict(
            num_hidden_layers=n_layers, hidden_size=width, num_attention_heads=n_heads,
            max_position_embeddings=recipe.window, tie_word_embeddings=False,
        )  # fmt: skip
        if recipe.family == "pythia":
            config = GPTNeoXConfig(intermediate_size=4 * width, **common)
        else:  # three matrices in the MLP, so 8/3 of the width holds as many weights as 4 in two
            config = LlamaConfig(intermediate_size=8 * width // 3, num_key_value_heads=n_heads // 2, **common)
    torch.manual_seed(recipe.seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        if recipe.family == "gpt2":
            positions = model.transformer.wpe.weight
            positions.copy_(sinusoids(*positions.shape) * config.initializer_range * math.sqrt(2))
        if recipe.quiet_steps:
            for parameter in quiet_projection(model).parameters():
                parameter.zero_()
    return model


def sinusoids(n_positions: int, d_model: int) -> Tensor:
    """Vaswani et al.'s position vectors, [position, d_model]: GPT-2 learns its own, and learns them sooner from here."""
    angle = torch.arange(n_positions)[:, None] / 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def quiet_projection(model: PreTrainedModel) -> nn.Module:
    """The output projection of block 0's attention: at zero, the attention writes nothing."""
    return anatomy.of(model).output_projection(0)


def plain_attention(module, query, key, value, attention_mask, scaling, **_):
    """Causal attention of unpadded windows as three products: [batch, head, query, d_head] in, [batch, query, head, d_head] out."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    logits = (query * scaling) @ key.transpose(-1, -2)
    future = torch.full(logits.shape[-2:], -math.inf, dtype=logits.dtype, device=logits.device).triu(1)
    pattern = torch.softmax(logits + future, dim=-1)
    return (pattern @ value).transpose(1, 2).contiguous(), pattern


ALL_ATTENTION_FUNCTIONS["plain"] = plain_attention


class SlicedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of `softmax(x W_U)`, with the logits of one slice of tokens in memory at a time.

    The gradient of the logits is known as soon as they are (softmax minus one-hot), so it is taken in
    the forward pass and the logits are dropped.
    """

    @staticmethod
    def forward(ctx, x: Tensor, w_u: Tensor, targets: Tensor, slice_size: int = 512) -> Tensor:
        n, total = len(x), torch.zeros((), device=x.device)
        grad_x, grad_w = torch.empty_like(x), torch.zeros(w_u.shape, dtype=torch.float32, device=x.device)
        for start in range(0, n, slice_size):
            rows, target = x[start : start + slice_size], targets[start : start + slice_size, None]
            logits = F.linear(rows, w_u).float()
            log_z = logits.logsumexp(-1, keepdim=True)
            total += (log_z - logits.gather(1, target)).sum()
            probability = logits.sub_(log_z).exp_()
            probability.scatter_add_(1, target, torch.full_like(log_z, -1))
            grad = probability.mul_(1 / n).to(x.dtype)
            grad_x[start : start + slice_size] = grad @ w_u
            grad_w += grad.T @ rows
        ctx.save_for_backward(grad_x, grad_w.to(w_u.dtype))
        return total / n

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        grad_x, grad_w = ctx.saved_tensors
        return grad_x * grad_output, grad_w * grad_output, None, None


# --- one step, and the loop -----------------------------------------------------------------------


class Trainer:
    """A model in bfloat16, its float32 masters and AdamW."""

    def __init__(self, recipe: Recipe, model: PreTrainedModel):
        self.recipe, self.model = recipe, model
        self.names = [name for name, _ in model.named_parameters()]
        self.masters = [p.detach().float().clone() for p in model.parameters()]
        quiet = set(anatomy.of(model).attention(0).parameters()) if recipe.quiet_steps else set()
        self.quiet = [p in quiet for p in model.parameters()]
        self.model.to(getattr(torch, recipe.dtype)).train()
        decayed = [p for p in self.masters if p.ndim >= 2]
        others = [p for p in self.masters if p.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.learning_rate, betas=(0.9, 0.95), fused=True,
        )  # fmt: skip

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to a tenth."""
        if step < self.recipe.warmup:
            return self.recipe.learning_rate * (step + 1) / self.recipe.warmup
        progress = (step - self.recipe.warmup) / max(1, self.recipe.steps - self.recipe.warmup)
        return self.recipe.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, progress))))

    def step(self, step: int, windows: Tensor) -> float:
        """One step on [window, token]; the loss in nats a token."""
        loss = self._loss(windows)
        if not math.isfinite(value := loss.item()):
            raise UserError(f"the loss became {value} at step {step}; grow again with a lower learning rate.")
        loss.backward()
        parameters = list(self.model.parameters())
        for master, parameter, quiet in zip(self.masters, parameters, self.quiet):
            # Without a gradient AdamW leaves a parameter as it is, weight decay included.
            held = quiet and step < self.recipe.quiet_steps  # type: ignore[operator]  # filled in by the recipe
            master.grad, parameter.grad = None if held else parameter.grad.float(), None
        torch.nn.utils.clip_grad_norm_(self.masters, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(parameters, self.masters)
        return value

    def _loss(self, windows: Tensor) -> Tensor:
        hidden = self.model.base_model(windows[:, :-1], use_cache=False).last_hidden_state
        return SlicedCrossEntropy.apply(
            hidden.flatten(0, 1), self.model.get_output_embeddings().weight, windows[:, 1:].flatten()
        )

    def grown(self) -> PreTrainedModel:
        """The model as it would be shipped: masters rounded to float16, then float32 arithmetic."""
        config = self.model.config.__class__(**self.model.config.to_dict())
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        with torch.no_grad():
            for parameter, master in zip(model.parameters(), self.masters):
                parameter.copy_(master.to(torch.float16))
        return model

    def state(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, by name."""
        tensors = {}
        for name, master in zip(self.names, self.masters):
            moments = self.optimizer.state.get(master, {})
            tensors[f"master/{name}"] = master
            tensors |= {f"{key}/{name}": moments[key] for key in ("exp_avg", "exp_avg_sq", "step") if key in moments}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Undo `state()`."""
        with torch.no_grad():
            for name, master, parameter in zip(self.names, self.masters, self.model.parameters()):
                master.copy_(tensors[f"master/{name}"])
                parameter.copy_(master)
                if f"step/{name}" in tensors:  # a quiet parameter has no moments yet
                    self.optimizer.state[master] = {
                        key: tensors[f"{key}/{name}"].to(master.device) for key in ("step", "exp_avg", "exp_avg_sq")
                    }


def measured_steps(steps: int, n: int = 20) -> list[int]:
    """Step 0, the last step, and some twenty between, evenly spaced on a logarithmic scale."""
    return sorted({0, steps, *(round(x) for x in np.geomspace(min(10, steps), steps, n - 1))})


def grow(
    recipe: Recipe, out: Path, *, books_folder: Path | None = None, device: str = "cpu", overwrite: bool = False
) -> Path:
    """Grow the recipe's model into `out`; resume where an earlier run with the same recipe stopped.

    `out` appears only when all of it is written.  Until then the work lies in `out.growing`, and a
    killed run goes on there, to the same weights as an unbroken one on the same machine.
    Raises UserError when `out` exists and `overwrite` is false, or when `out.growing` belongs to
    another recipe.
    """
    out = out if out.name not in ("", "..") else Path(os.path.abspath(out))
    if not out.name:
        raise UserError(f"{out} cannot be replaced by a model: name another folder with --out.")
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists already; give --overwrite to replace it, or --out to write elsewhere.")
    if books_folder is not None and not any(books_folder.glob("books-train-*.jsonl.xz")):
        raise UserError(f"{books_folder} holds no books-train-*.jsonl.xz: name another folder, or leave --books out.")
    target = usable_device(device)
    work = out.with_name(out.name + ".growing")
    with _claimed(work, recipe, books_folder):
        sources = prepare(recipe, work, books_folder=books_folder)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(work)
        classes = ordinals.resolve(tokenizer)
        windows = np.load(work / "windows.npy", mmap_mode="r")
        held_out = torch.from_numpy(np.load(work / "held_out.npy").astype(np.int64))
        trainer = Trainer(recipe, new_model(recipe, tokenizer).to(target))
        step, curve, seconds = _resume(work, trainer)

        measure_at, last_saved = set(measured_steps(recipe.steps)), time.monotonic()
        started, tokens = last_saved - seconds, step * recipe.batch * recipe.window
        with tqdm(total=recipe.tokens, initial=tokens, unit="tok", unit_scale=True, smoothing=0.05) as bar:
            while True:
                if step in measure_at and (not curve or curve[-1]["step"] < step):
                    curve.append(
                        {"step": step, "tokens": step * recipe.batch * recipe.window}
                        | observe.observe(trainer.grown(), classes, held_out, recipe.parts_held_out)
                    )
                    bar.set_postfix(macro=f"{curve[-1]['macro']:.2f}", loss=f"{curve[-1]['loss']:.2f}")
                if step == recipe.steps:
                    break
                batch = torch.from_numpy(windows[step * recipe.batch : (step + 1) * recipe.batch].astype(np.int64))
                trainer.step(step, batch.to(target))
                step += 1
                bar.update(recipe.batch * recipe.window)
                if time.monotonic() - last_saved > SAVE_EVERY_SECONDS:
                    _save(work, trainer, step, curve, time.monotonic() - started)
                    last_saved = time.monotonic()
        _save(work, trainer, step, curve, time.monotonic() - started)
        _ship(work, out, recipe, trainer, tokenizer, curve, sources, time.monotonic() - started)
    return out


# --- what is kept ---------------------------------------------------------------------------------


@contextmanager
def _claimed(work: Path, recipe: Recipe, books_folder: Path | None) -> Iterator[None]:
    """Make the work folder this run's own, and keep a second run out while it goes on.

    Raises UserError when the folder cannot be made, is in use, or belongs to another recipe or corpus.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / "lock").open("w")
    except OSError as error:
        raise UserError(f"{work} cannot be written ({error.strerror}): give --out to grow elsewhere.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{work} is in use by another run: wait for it, or give --out to grow elsewhere.") from None
        books = sorted(path.name for path in books_folder.glob("books-train-*.jsonl.xz")) if books_folder else []
        ours, path = json.loads(json.dumps({"recipe": asdict(recipe), "books": books})), work / "claim.json"
        if not path.exists():
            write_json(path, ours)
        elif json.loads(path.read_text(encoding="utf-8")) != ours:
            raise UserError(
                f"{work} holds an unfinished run of another recipe or other books; remove it, or give --out to grow elsewhere."
            )
        yield


def _save(work: Path, trainer: Trainer, step: int, curve: list[dict], seconds: float) -> None:
    """Write the state under a name of its own, then point to it: a kill leaves the old state or the new."""
    name = f"state-{step}.safetensors"
    try:
        files.replace(work / name, lambda draft: save_file(trainer.state(), draft))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{work / name} cannot be written ({error}): make room on the disk and run the command again, it goes on from the last save."
        ) from error
    write_json(work / "progress.json", {"step": step, "state": name, "curve": curve, "seconds": seconds})
    # Those with a dot are drafts of saves that were killed.
    for old in (*work.glob("state-*.safetensors"), *work.glob(".state-*")):
        if old.name != name:
            old.unlink()


def _resume(work: Path, trainer: Trainer) -> tuple[int, list[dict], float]:
    """Step, curve and seconds so far; from nothing when nothing was saved."""
    path = work / "progress.json"
    if not path.exists():
        return 0, [], 0.0
    progress = json.loads(path.read_text(encoding="utf-8"))
    trainer.load_state(load_file(work / progress["state"]))
    return progress["step"], progress["curve"], progress["seconds"]


def _ship(work, out, recipe, trainer, tokenizer, curve, sources, seconds) -> None:
    """Write the finished model beside `out` and move it there in one go."""
    finished = out.with_name(out.name + ".finished")
    shutil.rmtree(finished, ignore_errors=True)
    model = trainer.grown()
    try:
        model.half().save_pretrained(finished)
        tokenizer.save_pretrained(finished)
        write_json(finished / "recipe.json", asdict(recipe) | {
            "parameters": sum(p.numel() for p in model.parameters()),
            "sources": sources,
            "seconds": round(seconds),
            "date": date.today().isoformat(),
            "versions": {"torch": torch.__version__, "transformers": __version__, "python": platform.python_version()},
        })  # fmt: skip
        write_json(finished / "curve.json", {"curve": curve})
        shutil.copy(work / "text.json", finished / "text.json")
        (finished / "README.md").write_text(
            card(recipe, json.loads((finished / "recipe.json").read_text(encoding="utf-8")), curve), encoding="utf8"
        )
    except (OSError, SafetensorError, UserError) as error:
        shutil.rmtree(finished, ignore_errors=True)
        raise UserError(
            f"{finished} cannot be written ({error}): make room on the disk and run the command again, the training is not lost."
        ) from error
    # The old model stays until the new one can take its place.
    old = out.with_name(out.name + ".old")
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)  # of a run that was killed here
        os.replace(out, old)
    os.replace(finished, out)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(work)


def card(recipe: Recipe, written: dict, curve: list[dict]) -> str:
    """The model card, in Markdown; every figure comes from the run."""
    last, (n_layers, width, n_heads) = curve[-1], SIZES[recipe.size]
    successor_loss = "not measured" if last["loss_successor"] is None else f"{last['loss_successor']:.3f}"
    by_task = "\n".join(f"| {task} | {last[task]:.2f} |" for task in ordinals.TASKS if task in last)
    sources = ", ".join(
        f"{value['tokens'] / 1e6:.1f} million tokens of {name}"
        for name, value in written["sources"].items()
        if name != "sha256"
    )
    two = (
        " Unlike OpenAI's, it embeds and unembeds with two matrices."
        if recipe.family == "gpt2" and not recipe.tied
        else ""
    )
    return f"""---
license: mit
library_name: transformers
---
# A grown {recipe.family} ({recipe.size})

{written["parameters"] / 1e6:.1f} million parameters: {n_layers} layers, {width} wide, {n_heads} heads, {recipe.family} architecture.{two}
Grown by this project's own code on {recipe.tokens / 1e6:.1f} million tokens ({sources}) in {written["seconds"] / 60:.0f} minutes.
It exists to be studied. It knows how to count and little else; do not use it to write text.

Best head under the canonical convention: L{last["layer"]}H{last["head"]}, macro {last["macro"]:.3f}, micro {last["micro"]:.3f}.

| class | successor score |
|---|---|
{by_task}

Loss on held-out generated text: {last["loss"]:.3f} nats a token; on tokens that follow their predecessor {successor_loss}, on the others {last["loss_other"]:.3f}.
The recipe is in `recipe.json`, the curve in `curve.json`.
"""
