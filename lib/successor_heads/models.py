"""A name goes in, an nnsight model comes out, ready to be read and traced.

::

    model = models.load("grown/pythia")                     # grown by this project, in the package
    model = models.load("published/smollm2")                # published by others, from the package index
    model = models.load("EleutherAI/pythia-70m")            # from the Hugging Face hub
    model = models.load("./checkpoints/step-500", dtype="bfloat16", device="cuda")

A hub model is first brought to disk, the config before the weights, and read from there like any
other folder. Whatever can be wrong with a model a reader names is a UserError.
"""

import copy
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import huggingface_hub.errors as hub_errors
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.utils import logging as hub_logging
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from successor_heads import anatomy, published
from successor_heads.errors import UserError

# What only a model in memory needs is imported where it is used: it takes longer than to score a streamed one.
if TYPE_CHECKING:
    import nnsight

ZOO = Path(__file__).parent / "zoo"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SPREAD: Literal["auto"] = "auto"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
WEIGHT_PATTERN = "model*.safetensors"
SMALL_PATTERNS = ["*.json", *TOKENIZER_FILES, "merges.txt"]
NO_SAFETENSORS = "{} has no model.safetensors, and weights in other formats are not read: convert them."


def grown_models() -> list[str]:
    """Names of the models that come with the package, as `load` takes them."""
    return sorted(f"grown/{config.parent.name}" for config in ZOO.glob("*/config.json"))


def load(
    name: str,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = torch.float32,
    device: str | torch.device | None = None,
    remote: bool | Literal["local"] = False,
) -> "nnsight.TransformersModel":
    """The model, frozen and in evaluation mode, with eager attention so that its patterns can be read.

    Only safetensors are read and no code that comes with a model is run. `revision` is the hub's:
    a branch, tag or commit. Without a device it is the GPU where torch finds one, else the CPU; "auto" spreads
    the weights over the GPUs that are there. With `remote` the weights stay on NDIF, which runs the model in its own dtype;
    "local" plays that through on this machine. Raises UserError for whatever keeps the model from loading.
    """
    if remote is True:
        return _on_ndif(name, revision)
    dtype = usable_dtype(dtype)
    device = spreading() if device == SPREAD else usable_device(device)
    folder, config, tokenizer = read_all_but_weights(name, revision=revision)
    if is_hub_id(name):
        folder = _folder(name, folder.name, patterns=[WEIGHT_PATTERN])
    module = _read_weights(name, folder, config, dtype, device_map=SPREAD if device == SPREAD else None)
    if device != SPREAD:
        with explained(name, "the weights"):
            module.to(device)
    return _wrap(module, tokenizer, remote=remote)


def read_all_but_weights(name: str, *, revision: str | None = None):
    """(folder, config, tokenizer) of a model; of a hub model, the folder is named after its commit.

    Raises UserError as `load` does, for a family that is not supported before anything large is fetched.
    """
    folder = _folder(name, revision, patterns=["config.json"])
    config = _read_config(name, folder)
    if is_hub_id(name):
        # The folder of a snapshot is named after its commit, which pins every later download.
        folder = _folder(name, folder.name, patterns=SMALL_PATTERNS)
    return folder, config, _read_tokenizer(name, folder, config)


def untrained_twin(model: "nnsight.TransformersModel", *, seed: int = 0) -> "nnsight.TransformersModel":
    """The same architecture and tokenizer with fresh random weights: the control for what was learned."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = AutoModelForCausalLM.from_config(
            copy.deepcopy(model._module.config), attn_implementation="eager", dtype=model._module.dtype
        )
    return _wrap(module.to(model._module.device), model.tokenizer)


def revision_of(model: "nnsight.TransformersModel") -> str | None:
    """The hub's commit that a model was loaded from, None for a model that is not from the hub."""
    folder = Path(model._module.config.name_or_path)
    return folder.name if folder.parent.name == "snapshots" else None


def _wrap(module: nn.Module, tokenizer, *, remote: bool | Literal["local"] = False) -> "nnsight.TransformersModel":
    from nnsight import TransformersModel

    # nnsight sets the tokenizer's padding side to the left, where batched prompts need it; the
    # ordinals do not depend on it. The device is named because a pipeline would choose its own; where the
    # weights are spread over several it must not be, for then they would be moved.
    placed = {} if hasattr(module, "hf_device_map") else {"device": module.device}
    model = TransformersModel(module.eval(), task="text-generation", tokenizer=tokenizer, dispatch=True, **placed)
    model.requires_grad_(False)
    model.remote = remote
    return model


def _on_ndif(name: str, revision: str | None) -> "nnsight.TransformersModel":
    """A model without weights, whose traces run on NDIF. Raises UserError for whatever stands against that."""
    from nnsight import CONFIG, TransformersModel

    if not is_hub_id(name):
        raise UserError(f"{name} is a model on this machine and NDIF runs models of the hub only: leave remote out.")
    key = os.environ.get("NDIF_API_KEY")
    if not key:
        raise UserError(
            "There is no key for NDIF in the environment: get one at https://login.ndif.us and set NDIF_API_KEY to it."
        )
    CONFIG.API.APIKEY = key
    _check_running(name, revision)
    _check_versions()
    folder, _, tokenizer = read_all_but_weights(name, revision=revision)
    with explained(name, "config.json"):
        model = TransformersModel(str(folder), task="text-generation", tokenizer=tokenizer, revision=revision)
    model.repo_id = name  # by which NDIF knows it
    model.remote = True
    return model


def _check_running(name: str, revision: str | None) -> None:
    """Refuse a model that NDIF does not run at this moment. Raises UserError."""
    import nnsight

    with redirect_stderr(io.StringIO()):  # where nnsight tells of a server that does not answer
        deployments = nnsight.status().deployments.values()
    tasks = (None, "text-generation")
    running = [entry for entry in deployments if entry["state"] == "RUNNING" and entry["task"] in tasks]
    if not running:
        raise UserError(
            "NDIF does not answer or runs no model at the moment: see https://nnsight.net/status, and try again later."
        )
    if not any(
        entry["repo_id"].lower() == name.lower() and entry["revision"] == (revision or "main") for entry in running
    ):
        known = sorted({entry["repo_id"] for entry in running})
        shown = ", ".join(known[:6]) + (f" and {len(known) - 6} more" if len(known) > 6 else "")
        at = f" at revision {revision}" if revision else ""
        raise UserError(
            f"NDIF does not run {name}{at} at the moment, only {shown}: choose one of these, or leave remote out."
        )


def _check_versions() -> None:
    """Refuse libraries of other versions than the server's, which break or change what is sent. Raises UserError."""
    import nnsight

    try:
        packages = nnsight.compare().packages
    except Exception as error:  # whatever a server or a proxy in between answers
        raise UserError(f"NDIF does not tell its versions ({reason(error)}): try again later.") from error
    # A build's label after the plus, as in 2.9.0+cu128, does not matter.
    differing = {
        package: found["remote"].split("+")[0]
        for package, found in packages.items()
        if found["critical"] and found["remote"].split("+")[0] != found["local"].split("+")[0]
    }
    if differing:
        theirs = " ".join(f"{package}=={version}" for package, version in sorted(differing.items()))
        raise UserError(f"NDIF runs other versions than are installed here: run pip install {theirs} and try again.")


def usable_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The dtype by its name. Raises UserError for another than those of `DTYPES`."""
    if dtype not in DTYPES and dtype not in DTYPES.values():
        raise UserError(f"There is no dtype '{dtype}' here: choose {', '.join(DTYPES)}.")
    return dtype if isinstance(dtype, torch.dtype) else DTYPES[dtype]


def usable_device(device: str | torch.device | None) -> torch.device:
    """The device by its name; for None, the GPU where torch finds one, else the CPU.

    Raises UserError when this machine has none of that name.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        # An item has to come back from the device, which "meta" for one cannot do.
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"Device '{device}' cannot be used on this machine ({reason(error)}): choose another, such as cpu."
        ) from error
    return torch.device(device)


def spreading() -> Literal["auto"]:
    """The device that stands for all GPUs together. Raises UserError where the package that it needs is missing."""
    if find_spec("accelerate") is None:
        raise UserError("To spread a model over several GPUs takes a package more: run pip install accelerate.")
    return SPREAD


def is_hub_id(name: str) -> bool:
    """Whether a name is to be looked up on the hub."""
    return not name.startswith(("grown/", published.PREFIX, ".", "/", "~")) and not Path(name).exists()


def _folder(name: str, revision: str | None, *, patterns: list[str]) -> Path:
    """The folder that holds the model; of a hub model, the files that `patterns` name are fetched."""
    if is_hub_id(name):
        with explained(name, "the files", revision):
            return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    if revision is not None:
        raise UserError(f"{name} is not on the hub and has no revisions: leave the revision out.")
    if name.startswith("grown/"):
        if name not in grown_models():
            known = ", ".join(grown_models()) or "none yet"
            raise UserError(f"There is no grown model '{name}': choose from {known}.")
        return ZOO / name.removeprefix("grown/")
    if name.startswith(published.PREFIX):
        return published.folder_of(name)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise UserError(f"There is no folder {name}: give the folder of a saved model, or a hub id.")
    return folder


def _read_config(name: str, folder: Path) -> PreTrainedConfig:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{name} has no config.json: give the folder or hub id of a complete saved model.")
    with explained(name, "config.json"):
        model_type = dict(json.loads(path.read_text(encoding="utf-8"))).get("model_type")
    # Refuse a family that is not supported before gigabytes of its weights are fetched.
    anatomy.family_of(str(model_type))
    with explained(name, "config.json"):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _read_tokenizer(name: str, folder: Path, config: PreTrainedConfig):
    # Without these files transformers would build an empty tokenizer and say nothing.
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise UserError(f"{name} has no tokenizer: save its tokenizer.json next to the weights.")
    with explained(name, "the tokenizer"):
        return AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)


def _read_weights(
    name: str, folder: Path, config: PreTrainedConfig, dtype: torch.dtype, *, device_map: str | None = None
) -> nn.Module:
    from transformers import AutoModelForCausalLM

    if not any(folder.glob(WEIGHT_PATTERN)):
        raise UserError(NO_SAFETENSORS.format(name))
    with explained(name, "the weights"):
        module, report = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            device_map=device_map,
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    unfit = report["missing_keys"] | {key for key, *_ in report["mismatched_keys"]}
    if unfit:
        # transformers would go on with random numbers in their place.
        raise UserError(
            f"In {name}, {len(unfit)} tensors that config.json asks for are missing or have another shape, "
            f"{min(unfit)} among them: get weights and config of the same model."
        )
    for tensor_name, tensor in module.named_parameters():
        if tensor.is_meta:
            raise UserError(
                f"{name} does not fit onto the GPUs of this machine: choose a narrower dtype or stream its scores."
            )
        if not torch.isfinite(tensor).all():
            raise UserError(
                f"The tensor {tensor_name} of {name} holds NaN or infinite numbers as {dtype}: "
                "get an undamaged checkpoint, or choose a wider dtype."
            )
    return module


@contextmanager
def explained(name: str, part: str, revision: str | None = None) -> Iterator[None]:
    """Turn whatever goes wrong while `part` of a model is read into one sentence, and read quietly."""
    bars, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    try:
        with quiet_hub():
            yield
    except UserError:
        raise
    except Exception as error:  # whatever a broken file makes transformers raise
        raise UserError(_sentence(error, name, part, revision)) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Ask the hub without its log of each try, which would stand in a notebook; what fails is raised all the same."""
    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)


def _sentence(error: Exception, name: str, part: str, revision: str | None) -> str:
    match error:
        case hub_errors.GatedRepoError():
            return (
                f"{name} is gated: accept its licence on https://huggingface.co/{name} and set HF_TOKEN "
                "to an access token of your account."
            )
        case hub_errors.RepositoryNotFoundError():
            return (
                f"The hub has no model '{name}' that you may read: check the name, or set HF_TOKEN to an "
                "access token if it is private."
            )
        case hub_errors.RevisionNotFoundError():
            return f"{name} has no revision '{revision}': choose a branch, tag or commit of its page on the hub."
        case hub_errors.HFValidationError():
            return f"'{name}' is neither a folder nor a hub id of the form owner/name: check the name."
        case hub_errors.LocalEntryNotFoundError() | ConnectionError():
            return (
                f"{name} is not on this machine and the hub cannot be reached: check the network (and "
                "HF_HUB_OFFLINE), or use a grown model or a local folder."
            )
        case MemoryError() | torch.OutOfMemoryError():
            return f"{name} does not fit into memory: choose a narrower dtype, another device or a smaller model."
        case _:
            return f"In {name}, {part} cannot be read ({reason(error)}): get the files again, complete and undamaged."


def reason(error: Exception) -> str:
    """The first line of an error, short enough to go into a sentence."""
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first_line[:120].rstrip(" .:")
