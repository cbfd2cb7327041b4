"""Another device than the CPU: the library's numbers are the same there, and come back to where people can read them.

No machine of the project's has a GPU, so a pretend one stands in, in a process of its own.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch.utils._pytree import tree_map
from transformers import PreTrainedTokenizerFast

import pretend_device
from successor_heads import (
    ablation,
    anatomy,
    arithmetic,
    behaviours,
    cached,
    direct_effects,
    features,
    lens,
    models,
    ordinals,
    ov_circuit,
    paths,
    prompts,
    scores,
    streaming,
)
from successor_heads.cached import Edit, Push
from successor_heads.growing import train

PROMPTS = ["Monday Tuesday", " one two three", " March"]
FAMILIES = ("gpt2", "gpt_neox", "gpt_neox-no-bias", "llama-grouped")


@pytest.fixture(scope="module")
def on_pretend_device():
    """A process that knows the device: a device once known stays known, and other tests should not meet it."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=pretend_device.register) as pool:
        yield lambda function, *args: pool.submit(function, *args).result()


def from_weights(parts, classes):
    """What the library computes without a prompt."""
    days, numbers = classes["days"], classes["numbers"]
    for name, convention in scores.CONVENTIONS.items():
        yield name, scores.score_heads(parts, classes, **convention).macro
    x = ov_circuit.head_input(parts, numbers.token_ids)
    yield "one head", ov_circuit.head_matrix(parts, days.token_ids, layer=1, head=0).cpu()
    yield "neurons", (parts.mlp0_neurons(parts.embed(days.token_ids)) @ parts.mlp0_writes()).cpu()
    yield "head norm", parts.head_norm(1)(x).cpu()

    # x comes from the device as it is.
    probe = features.probe_modulus(x, numbers.index, 10, seed=0, n_permutations=3)
    yield "probe", probe.directions
    yield "transfer", features.transferred_residues(x, numbers.index, x, modulus=10)
    yield "spectrum", torch.tensor(features.fourier_spectrum(x, numbers.index, seed=0, n_permutations=3).to_numpy())
    trained = features.train_probes(x, numbers.index[None] % 10, [10], seed=0, n_epochs=2)
    yield "probe by descent", trained
    yield "read by it", features.read_by(trained, x, [10])
    yield "residues", features.residue_share(x, numbers.index, 10)
    saes = features.train_saes(x, seeds=[0, 1], width=12, sparsity=0.01, steps=5, batch_size=50)
    yield "autoencoders", saes.features
    yield "kept", saes.explained_on(x)
    yield "active", saes.active
    says = parts.unembed(numbers.token_ids)
    yield "most important", features.most_important(saes, x[numbers.source], says, numbers.target)
    yield "modal", features.modal_features(saes.encode(x).argmax(-1), numbers.index, 10)[1]
    yield "matched", features.matched_cosines(saes.features[0], probe.directions)[0]
    yield "matched to tokens", features.matched_cosines(x, probe.directions)[0]

    edit = partial(arithmetic.edit_outcome, parts, numbers, layer=1, head=0, scale=2.0)
    yield "edits", edit(probe.directions).logits
    yield "edits, leads", edit(probe.directions).lead
    means = torch.stack([x[numbers.index % 10 == residue].mean(0) for residue in range(10)])
    yield "edits by means", edit(means).right_residue
    yield "random edits", edit(arithmetic.random_directions(means, seed=0, span=x)).lead


def from_prompts(model, classes):
    """What the library finds by tracing."""
    parts, days = anatomy.of(model), classes["days"]
    answers = days.token_ids[: len(PROMPTS)]
    asked = {"members": days.token_ids, "reference": PROMPTS}
    yield "patterns", prompts.attention_patterns(model, PROMPTS[0])[1]
    yield "logits", prompts.next_token_logits(model, PROMPTS)
    yield "mlp0", prompts.mlp0_outputs(model, PROMPTS)
    axes = torch.eye(parts.d_model)[:2]
    yield "no directions", ablation.without_mlp0_directions(model, PROMPTS, axes, mean=torch.ones(parts.d_model))
    means = prompts.mean_head_outputs(model, PROMPTS)
    yield "means", means
    push, held = Push(1, torch.ones(len(PROMPTS), 1, parts.d_model)), [Edit(1, 0, means[1, 0])]
    yield "steered", cached.logits_of_variants(model, PROMPTS, [held], days.token_ids, push=push)
    yield "total effects", ablation.mean_ablation_effects(model, PROMPTS, answers, **asked).difference_fall
    yield "direct effects", direct_effects.on_answers(model, PROMPTS, answers, **asked).logit_fall
    replaced = {"members": days.token_ids, "replacement": prompts.head_outputs(model, PROMPTS[::-1])}
    groups = [[(0, 1), (1, 0)], [(1, 1)]]
    yield "two ablated", ablation.group_ablation_effects(model, PROMPTS, answers, groups, **replaced).ablated.logit
    intact = cached.Intact(model, PROMPTS)
    for name, values in zip(("heads", "MLPs"), intact.written()):
        yield f"written by {name}", values
    own, other = paths.Written(*intact.written()), paths.written(model, PROMPTS[::-1])
    straight = paths.direct_logits(model, intact.streams()[-1], own, other, days.token_ids)
    for name, values in zip(("by heads", "by MLPs"), straight):
        yield f"directly {name}", values

    contexts = torch.arange(4, 4 + 3 * 8).view(3, 8)
    effects, reference = behaviours.measure(model, contexts, seed=0)
    for name, values in (effects._asdict() | reference._asdict()).items():
        yield f"in text, {name}", values
    yield "at the end", direct_effects.direct_effects_at_end(model, PROMPTS, answers, mean=means)
    for name, values in direct_effects.logit_parts(model, PROMPTS, answers, heads=[(1, 0)], mean=means).items():
        yield f"part {name}", values
    for name, values in direct_effects.changes_of_logit(model, PROMPTS, answers, heads=[(1, 0)], mean=means).items():
        yield f"change {name}", values
    yield "losses without", ablation.losses_without(model, PROMPTS, answers, groups, mean=means)
    for name, values in zip(
        ("logit", "loss"), ablation.ablated_in_text(model, contexts, [(1, 0)], mean=means, batch_size=2)
    ):
        yield f"ablated, {name}", values
    (losses,) = direct_effects.losses_by_path(model, contexts, (1, 0), replacements=[means[1, 0]], batch_size=2)
    for name, values in losses._asdict().items():
        yield f"losses, {name}", values
    behind, final = lens.streams(model, contexts, layer=0)
    yield "stream", behind
    stream, at_end = behind.flatten(0, 1), final.flatten(0, 1)
    yield "lens", lens.fit(parts, stream, at_end, days.token_ids, seed=0, n_epochs=2).weight
    yield "gradients", ablation.gradient_attribution(model, contexts, mean=means)
    yield "an untrained twin", prompts.next_token_logits(models.untrained_twin(model), PROMPTS)


SPREAD = "spread"


def spread(model):
    """All behind block 0 moved to the device, and hooks that bring each part what it reads, as accelerate's do."""
    parts = anatomy.of(model)
    module = model._module
    blocks = module.get_submodule(parts.blocks_path)
    behind = [*blocks[1:], module.get_submodule(parts.final_norm_path)]
    head = module.get_output_embeddings()
    if head.weight is not module.get_input_embeddings().weight:
        behind.append(head)

    def bring(part, args, kwargs):
        device = next(part.parameters()).device
        return tree_map(lambda value: value.to(device) if isinstance(value, torch.Tensor) else value, (args, kwargs))

    for part in behind:
        part.to(pretend_device.NAME)
    for part in {head, *behind}:
        part.register_forward_pre_hook(bring, with_kwargs=True)
    # What the whole model gives lies where its input lay.
    module.register_forward_hook(
        lambda _, __, out: type(out)({k: v.cpu() if isinstance(v, torch.Tensor) else v for k, v in out.items()})
    )
    return model


def found(folder, device):
    """All of it, by name, on one device, or on two, of which only the CPU streams."""
    model = models.load(folder, device="cpu" if device == SPREAD else device)
    if device == SPREAD:
        spread(model)
        devices = {parameter.device.type for parameter in model._module.parameters()}
        assert devices == {"cpu", pretend_device.NAME}
    else:
        assert model._module.device.type == torch.device(device).type
    classes = ordinals.resolve(model.tokenizer)
    streamed = streaming.Checkpoint(folder, device="cpu" if device == SPREAD else device).score(classes)
    every = {"streamed": streamed.macro} | dict(from_weights(anatomy.of(model), classes))
    return every | dict(from_prompts(model, classes))


def differing(folder, device):
    """The names of what does not come back to the CPU from the device, or is another number there; and how many agree."""
    here, there = found(folder, "cpu"), found(folder, device)
    agree = partial(torch.allclose, rtol=1e-4, atol=1e-5, equal_nan=True)
    bad = [
        name
        for name in here
        if there[name].device.type != "cpu" or not agree(here[name].double(), there[name].double())
    ]
    return bad, len(here.keys() & there.keys()) - len(bad)


@pytest.mark.parametrize("device", [pretend_device.NAME, SPREAD])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_a_model_on_another_device_or_on_two_gives_the_cpus_numbers(on_pretend_device, checkpoints, family, device):
    bad, n_agree = on_pretend_device(differing, str(checkpoints[family]), device)
    assert bad == [] and n_agree > 50


def grown_weights(folder, device):
    """Weights after a training of two steps, saved and read in between, and the model that would be shipped."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    recipe = train.Recipe("pythia", size="tiny", steps=2, batch=2, window=8, quiet_steps=1)
    trainer = train.Trainer(recipe, train.new_model(recipe, tokenizer).to(device))
    windows = (torch.arange(2 * 2 * 9) % len(tokenizer)).view(2, 2, 9)
    for step in range(2):
        trainer.step(step, windows[step].to(device))
        trainer.load_state(trainer.state())
    return trainer.state() | dict(trainer.grown().named_parameters())


def grown_differing(folder):
    here, there = grown_weights(folder, "cpu"), grown_weights(folder, pretend_device.NAME)
    # Gradients, of which "exp_avg" is the mean, are rounded to bfloat16; the first steps of Adam go by their signs.
    agree = partial(torch.allclose, atol=2e-4)
    return [name for name in here if there[name].device.type != "cpu" or not agree(here[name], there[name])]


@pytest.mark.slow
def test_a_model_grows_on_another_device(on_pretend_device, checkpoints):
    assert on_pretend_device(grown_differing, str(checkpoints["gpt_neox"])) == []


def refusals():
    """What each of these raises on the pretend device, None where it is allowed."""
    there, here = torch.ones(2, 3, device=pretend_device.NAME), torch.ones(2, 3)
    place = torch.tensor([0])
    tried = {
        "a sum": lambda: there + here,
        "a product": lambda: here @ there.T,
        "a choice": lambda: torch.where(here > 0, there, there),
        "a stack of scalars": lambda: torch.stack([there[0, 0], here[0, 0]]),
        "numpy": lambda: there.numpy(),
        "a foreign index": lambda: here[place.to(there.device)],
        "an index of gather": lambda: there.gather(1, place[None]),
        "a generator": lambda: torch.randn(2, device=there.device, generator=torch.Generator()),
        "an index": lambda: there[place],
        "a scalar": lambda: there * here[0, 0],
        "a copy": lambda: there.cpu() + here.copy_(there),
        "a slice that is set": lambda: there.__setitem__(slice(1), here[:1]),
    }
    raised = {}
    for name, what in tried.items():
        try:
            what()
            raised[name] = None
        except (RuntimeError, TypeError) as error:
            raised[name] = str(error)
    return raised


@pytest.mark.slow
def test_the_pretend_device_refuses_what_cuda_refuses(on_pretend_device):
    raised = on_pretend_device(refusals)
    allowed = {"an index", "a scalar", "a copy", "a slice that is set"}
    assert {name for name, said in raised.items() if said is None} == allowed
    assert "at least two devices, cpu and pretend:0" in raised["a sum"]
    assert "can't convert pretend:0 device type tensor to numpy" in raised["numpy"]


@pytest.mark.parametrize("there_is_one, expected", [(True, "cuda"), (False, "cpu")])
def test_without_a_device_a_gpu_is_used_where_there_is_one(monkeypatch, there_is_one, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there_is_one)
    asked = []
    monkeypatch.setattr(torch, "zeros", lambda *_, device: asked.append(device) or torch.ones(()))
    assert models.usable_device(None) == torch.device(expected) and asked == [expected]
    assert models.usable_device("cpu") == torch.device("cpu")


def test_loading_and_streaming_without_a_device_leave_it_to_one_function(checkpoints, monkeypatch):
    asked = []
    monkeypatch.setattr(models, "usable_device", lambda device: asked.append(device) or torch.device("cpu"))
    models.load(str(checkpoints["gpt2"]))
    streaming.Checkpoint(str(checkpoints["gpt2"]))
    assert asked == [None, None]


@pytest.mark.slow
def test_what_a_gpu_cannot_hold_is_streamed(checkpoints, monkeypatch):
    folder = str(checkpoints["gpt_neox"])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    monkeypatch.setattr(models, "usable_device", lambda device: torch.device(device or "cuda"))
    for free, streams in ((150_000, True), (300_000, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, free))
        assert streaming.would_not_fit(folder) == streams
        assert not streaming.would_not_fit(folder, device="cpu") and not streaming.would_not_fit(folder, device="auto")
