"""A name goes in, an nnsight model comes out, ready to be read and traced.

::

    model = models.load("grown/pythia")                     # grown by this project, in the package
    model = models.load("published/smollm2")                # published by others, from the package index
    model = models.load("EleutherAI/pythia-70m")            # from the Hugging Face hub
    model = models.load("./checkpoints/step-500", dtype="bfloat16", device="cuda")
    model = models.load("~/models/SmolLM2-135M-Instruct.Q4_1.gguf")

A hub model is first brought to disk, the config before the weights, and read from there like any
other folder. One that lies whole in the hub's cache is taken from there, and the hub is not asked:
`hf download` brings a newer one. Whatever can be wrong with a model a reader names is a UserError.
"""

import copy
import hashlib
import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import nn

from successor_heads import anatomy, files, ordinals, published
from successor_heads.errors import NO_DOCSTRINGS, UserError

# What only a model in memory or the hub needs is imported where it is used: it takes longer than to score a streamed one.
if TYPE_CHECKING:
    import nnsight
    from huggingface_hub.errors import HfHubHTTPError
    from transformers import PreTrainedConfig

    from successor_heads.gguf_files import GGUFFile

ZOO = Path(__file__).parent / "zoo"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SPREAD: Literal["auto"] = "auto"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
WEIGHT_PATTERN = "model*.safetensors"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# What a safetensors file calls the numbers that can be read as they are.
STORED_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
ADAPTER = "adapter_config.json"
UNQUANTISED = "take the model as it was before it was quantised."
FETCHED = "the files"
LFS_POINTER = b"version https://git-lfs"
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

    Only safetensors and GGUF files are read and no code that comes with a model is run. `revision` is the hub's:
    a branch, tag or commit. Without a device it is the GPU where torch finds one, else the CPU; "auto" spreads
    the weights over the GPUs that are there. With `remote` the weights stay on NDIF, which runs the model in its own dtype;
    "local" plays that through on this machine. Raises UserError for whatever keeps the model from loading.
    """
    if remote is True:
        return _on_ndif(name, revision)
    dtype = usable_dtype(dtype)
    device = spreading() if device == SPREAD else usable_device(device)
    if is_gguf(name) and device == SPREAD:
        raise UserError("A model in a GGUF file is not spread over several GPUs: name one device, such as cuda.")
    folder, config, tokenizer = read_all_but_weights(name, revision=revision)
    if is_gguf(name):
        module = _unpack_weights(name, open_gguf(name), config, dtype)
    else:
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
    from transformers import AutoConfig, AutoTokenizer

    if is_gguf(name):
        file = open_gguf(name, revision=revision)
        with explained(name, "its config"):
            return file.path, AutoConfig.for_model(**file.config), file.tokenizer()
    folder, _ = _read_json(name, revision)
    with explained(name, "config.json"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    folder = _with_small_files(name, folder)
    with explained(name, "the tokenizer"):
        pieces = None if (folder / "tokenizer.json").is_file() else _sentencepiece(folder / "tokenizer.model")
        tokenizer = AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)
    # What transformers makes of such a file follows from the other files, and can be other tokens.
    if pieces and pieces.encode(ordinals.PROBE) != tokenizer.encode(ordinals.PROBE, add_special_tokens=False):
        raise UserError(
            f"The tokenizer.model of {name} gives other tokens in transformers than in SentencePiece: get its "
            "tokenizer.json, or the tokenizer_config.json that names its class."
        )
    return folder, config, tokenizer


def _sentencepiece(path: Path):
    """The tokenizer of a tokenizer.model as SentencePiece itself reads it; None where there is no such file."""
    if not path.is_file():
        return None
    try:
        import google.protobuf  # noqa: F401  # which transformers takes to read the file
        import sentencepiece
    except ImportError as error:
        raise UserError(
            "A tokenizer.model without a tokenizer.json takes two packages more: run pip install sentencepiece protobuf."
        ) from error
    return sentencepiece.SentencePieceProcessor(str(path))


class Description(NamedTuple):
    """What a score needs of a model beside its weights."""

    folder: Path
    gguf: "GGUFFile | None"
    config: "Config"
    tokenizer: Any


def describe(name: str, *, revision: str | None = None) -> Description:
    """The same as `read_all_but_weights`, by plain JSON: transformers takes longer to import than a score takes.

    Raises UserError as `load` does. A GGUF file's tokenizer, and one without a tokenizer.json, still take transformers.
    """
    if is_gguf(name):
        file = open_gguf(name, revision=revision)
        return Description(file.path, file, Config(file.config), file.tokenizer())
    folder, values = _read_json(name, revision)
    folder = _with_small_files(name, folder)
    with explained(name, "the tokenizer"):
        if (folder / "tokenizer.json").is_file():
            return Description(folder, None, Config(values, folder), FileTokenizer(folder / "tokenizer.json"))
    folder, _, tokenizer = read_all_but_weights(name, revision=revision)
    return Description(folder, None, Config(values, folder), tokenizer)


class Config:
    """What a config.json says, by attribute, under the names that `anatomy` uses.

    Where it is silent, the family's class in `anatomy` may know what that means; else transformers is asked.
    """

    def __init__(self, values: dict[str, Any], folder: Path | None = None):
        self.model_type = values["model_type"]
        family = anatomy.family_of(self.model_type)
        names = {stored: name for name, stored in family.config_names.items()}
        self.values: dict[str, Any] = dict(family.config_silent) | {
            names.get(key, key): value for key, value in values.items()
        }
        self.folder = folder

    def get_text_config(self) -> "Config":
        """Of a model that also sees, the config of the part that speaks; else this one."""
        if "text_config" not in self.values:
            return self
        return Config({"model_type": f"{self.model_type}_text", **self.values["text_config"]}, self.folder)

    def __getattr__(self, name: str) -> Any:
        if name in ("values", "folder"):  # not there yet
            raise AttributeError(name)
        return self.values[name] if name in self.values else getattr(self._by_transformers, name)

    @cached_property
    def _by_transformers(self):
        from transformers import AutoConfig

        if self.folder is None:
            return AutoConfig.for_model(**self.values).get_text_config()
        return AutoConfig.from_pretrained(self.folder, trust_remote_code=False).get_text_config()


class FileTokenizer:
    """A tokenizer.json, with the two methods that `ordinals` calls, as a transformers tokenizer has them."""

    def __init__(self, path: Path):
        # Not by the path, which need not be UTF-8.
        self.backend = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        self.backend.no_truncation()
        self.backend.no_padding()

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text."""
        return self.backend.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, ids: Sequence[int], *, clean_up_tokenization_spaces: bool = False) -> str:
        """The text of token ids as it is: nothing is cleaned up."""
        return self.backend.decode(list(ids), skip_special_tokens=False)


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


def digest_of(model: "nnsight.TransformersModel") -> str:
    """Digest of some numbers of each of a model's tensors: another checkpoint has another, whatever it is called.

    The tensors' names do not count, for versions of transformers differ in them.
    """
    some = []
    for tensor in model._module.parameters():
        flat = tensor.detach().flatten()
        numbers = flat[:: max(1, len(flat) // 4096)].float().cpu().numpy()
        some.append(hashlib.sha256(f"{tuple(tensor.shape)}".encode() + numbers.tobytes()).digest())
    return hashlib.sha256(b"".join(sorted(some))).hexdigest()[:32]


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


@cache
def say(sentence: str) -> None:
    """Tell the reader, once, what was understood in one of two ways; stderr shows it unless logging says otherwise."""
    logging.getLogger("successor_heads").warning(sentence)


def is_hub_id(name: str) -> bool:
    """Whether a name is to be looked up on the hub."""
    elsewhere = ("grown/", published.PREFIX, ".", "/", "~")
    return not name.startswith(elsewhere) and not name.endswith(".gguf") and not os.path.exists(name)


def is_gguf(name: str) -> bool:
    """Whether a name is that of a GGUF file, by its suffix, or by its first bytes as in Ollama's folder."""
    path = files.with_home(name)
    # Not `path.is_file()`, to which a name can be too long.
    if name.endswith(".gguf") or not os.path.isfile(path):
        return name.endswith(".gguf")
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def open_gguf(name: str, *, revision: str | None = None) -> "GGUFFile":
    """The GGUF file of that name. Raises UserError where there is none, or none that can be read."""
    from successor_heads.gguf_files import GGUFFile

    path = files.with_home(name)
    if revision is not None:
        raise UserError(f"{name} is not on the hub and has no revisions: leave the revision out.")
    if not path.is_file():
        raise UserError(f"There is no file {name}: give the path of a GGUF file, the folder of a model, or a hub id.")
    check_no_pointer(name, path)
    return GGUFFile(path)


def _folder(name: str, revision: str | None, *, patterns: list[str]) -> Path:
    """The folder that holds the model; of a hub model that is not whole on disk, the files of `patterns` are fetched."""
    if is_hub_id(name):
        with explained(name, "what lies in the hub's cache"):
            found = _whole_snapshot(name, revision)
        if found:
            return found
        from huggingface_hub import snapshot_download

        with explained(name, FETCHED, revision):
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
    folder = files.with_home(name)
    if not folder.is_dir():
        raise UserError(f"There is no folder {name}: give the folder of a saved model, or a hub id.")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/"):
        say(f"{name} is read from the folder of that name here, not from the hub: write ./{name} if that is meant.")
    return folder


def _whole_snapshot(name: str, revision: str | None) -> Path | None:
    """The folder of a hub model in the hub's cache, where nothing of it is missing."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    repository = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    reference = repository / "refs" / (revision or constants.DEFAULT_REVISION)
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else str(revision)
    folder = repository / "snapshots" / commit
    # A link to a file that was not fetched to its end leads nowhere, and is no file.
    has_all_else = (folder / "config.json").is_file() and any((folder / file).is_file() for file in TOKENIZER_FILES)
    if not has_all_else:
        return None
    weights = weight_files(folder)
    return folder if weights and all((folder / file).is_file() for file in weights) else None


def weight_files(folder: Path) -> list[str]:
    """Names of the files that hold the weights, in transformers' own order of preference: one file before several.

    None of them where there is neither; those that an index lists need not be there.
    """
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    return _files_of_index(folder)


def _files_of_index(folder: Path) -> list[str]:
    if not (folder / INDEX).is_file():
        return []
    return sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))


def check_one_set(name: str, folder: Path) -> None:
    """Refuse a folder that was saved over, so that it holds two models. Raises UserError.

    Two sets of files are one model where every tensor begins with the same row: training leaves none as it was.
    """
    several = _files_of_index(folder)
    paths = [folder / file for file in several if file != WEIGHTS]
    # An index that was left behind without its files does no harm.
    if not (folder / WEIGHTS).is_file() or not paths or not all(path.is_file() for path in paths):
        return
    found: dict[str, torch.Tensor] = {}
    for path in paths:
        with safe_open(path, "pt") as file:
            found |= {tensor: _first_row(file, tensor) for tensor in file.keys()}
    with safe_open(folder / WEIGHTS, "pt") as file:
        is_same = set(file.keys()) == set(found) and all(
            torch.equal(_first_row(file, tensor), row) for tensor, row in found.items()
        )
    if not is_same:
        raise UserError(
            f"{name} holds two different sets of weights, {WEIGHTS} and the {len(paths)} files that {INDEX} lists: "
            "move away the one that is not meant."
        )


def _first_row(file: safe_open, tensor: str) -> torch.Tensor:
    numbers = file.get_slice(tensor)
    return numbers[:1] if numbers.get_shape() else file.get_tensor(tensor)


def check_stored(name: str, tensor: str, dtype: str) -> None:
    """Refuse a weight that a safetensors file holds as codes of a quantisation. Raises UserError.

    Other tensors, such as the masks in older files, may be stored in any way: they are not read.
    """
    if dtype not in STORED_DTYPES and "weight" in tensor.rpartition(".")[2]:
        raise UserError(
            f"The tensor {tensor} of {name} is stored as {dtype}, and only {', '.join(STORED_DTYPES)} are read: "
            f"{UNQUANTISED}"
        )


def _check_unquantised(name: str, values: dict[str, Any]) -> None:
    """Refuse what a config.json says was quantised, before anything large is fetched. Raises UserError."""
    for part in (values, values.get("text_config") or {}):
        about = part.get("quantization_config") or part.get("compression_config")
        if about:
            method = about.get("quant_method") or next(
                (key for key, value in about.items() if value is True), "unnamed"
            )
            raise UserError(
                f"{name} is quantised (its config.json says {method}), and weights in that form are not read: "
                f"{UNQUANTISED}"
            )


def check_no_pointer(name: str, path: Path) -> None:
    """Refuse what git leaves in place of a large file that it has not fetched. Raises UserError."""
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise UserError(
                f"{path.name} of {name} is a pointer of Git LFS and not the file itself: run git lfs pull there."
            )


def _read_json(name: str, revision: str | None) -> tuple[Path, dict[str, Any]]:
    """The folder of a model, and what its config.json says."""
    folder = _folder(name, revision, patterns=["config.json"])
    path = folder / "config.json"
    if not path.is_file():
        if (folder / ADAPTER).is_file():
            raise UserError(
                f"{name} is an adapter and not a whole model: merge it into its base model, and save that with its "
                "tokenizer."
            )
        raise UserError(f"{name} has no config.json: give the folder or hub id of a complete saved model.")
    check_no_pointer(name, path)
    with explained(name, "config.json"):
        values = dict(json.loads(path.read_text(encoding="utf-8")))
    # Refuse a family that is not supported before gigabytes of its weights are fetched.
    anatomy.family_of(str(values.get("model_type")))
    with explained(name, "config.json"):
        _check_unquantised(name, values)
    if (folder / ADAPTER).is_file():
        say(f"Beside the model in {name} lies an adapter ({ADAPTER}), which is not applied: merge it to score it.")
    return folder, values


def _with_small_files(name: str, folder: Path) -> Path:
    """The folder with all but the weights in it. Raises UserError where there is no tokenizer."""
    if is_hub_id(name):
        # The folder of a snapshot is named after its commit, which pins every later download.
        folder = _folder(name, folder.name, patterns=SMALL_PATTERNS)
    # Without these files transformers would build an empty tokenizer and say nothing.
    found = [folder / file for file in TOKENIZER_FILES if (folder / file).is_file()]
    if not found:
        raise UserError(f"{name} has no tokenizer: save its tokenizer.json next to the weights.")
    for path in found:
        check_no_pointer(name, path)
    return folder


def _read_weights(
    name: str, folder: Path, config: "PreTrainedConfig", dtype: torch.dtype, *, device_map: str | None = None
) -> nn.Module:
    from transformers import AutoModelForCausalLM
    from transformers.utils import is_peft_available

    with explained(name, "the weights"):
        if (folder / ADAPTER).is_file() and is_peft_available():
            raise UserError(
                f"Beside the model in {name} lies an adapter ({ADAPTER}), which the installed package peft would apply: "
                "merge it, or move that file away."
            )
        weights = weight_files(folder)
        if not weights:
            raise UserError(NO_SAFETENSORS.format(name))
        for path in (folder / file for file in weights):
            check_no_pointer(name, path)
            with safe_open(path, "pt") as opened:
                for tensor in opened.keys():
                    check_stored(name, tensor, opened.get_slice(tensor).get_dtype())
        check_one_set(name, folder)
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
    for tensor in module.parameters():
        if tensor.is_meta:
            raise UserError(
                f"{name} does not fit onto the GPUs of this machine: choose a narrower dtype or stream its scores."
            )
    return _finite(name, module, dtype)


def _unpack_weights(name: str, file: "GGUFFile", config: "PreTrainedConfig", dtype: torch.dtype) -> nn.Module:
    """The model with the weights of a GGUF file, which are dequantised one at a time."""
    from transformers import AutoModelForCausalLM

    with explained(name, "the weights"), torch.no_grad():
        module = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="eager")
        module.config.name_or_path = str(file.path)
        for tensor_name, parameter in module.named_parameters():
            tensor = file.tensor(tensor_name)
            if tensor.shape != parameter.shape:
                raise UserError(
                    f"In {name}, the tensor {tensor_name} has the shape {tuple(tensor.shape)} and not "
                    f"{tuple(parameter.shape)}, which its metadata ask for: get the file again."
                )
            parameter.copy_(tensor)
    return _finite(name, module, dtype)


def _finite(name: str, module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The module itself. Raises UserError for a weight that is no number in that dtype."""
    for tensor_name, tensor in module.named_parameters():
        if not torch.isfinite(tensor).all():
            raise UserError(
                f"The tensor {tensor_name} of {name} holds NaN or infinite numbers as {dtype}: "
                "get an undamaged checkpoint, or choose a wider dtype."
            )
    return module


@contextmanager
def explained(name: str, part: str, revision: str | None = None) -> Iterator[None]:
    """Turn whatever goes wrong while `part` of a model is read into one sentence, and read quietly."""
    try:
        with quiet_hub() if is_hub_id(name) else nullcontext(), _quiet():
            yield
    except UserError:
        raise
    except Exception as error:  # whatever a broken file makes transformers raise
        raise UserError(sentence(error, name, part, revision)) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and remarks. Who has not imported it has nothing to quieten."""
    if "transformers" not in sys.modules:
        yield
        return
    from transformers.utils import logging as their_logging

    bars, verbosity = their_logging.is_progress_bar_enabled(), their_logging.get_verbosity()
    their_logging.disable_progress_bar()
    their_logging.set_verbosity(their_logging.CRITICAL)
    try:
        yield
    finally:
        their_logging.set_verbosity(verbosity)
        if bars:
            their_logging.enable_progress_bar()


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Ask the hub without its log of each try, which would stand in a notebook; what fails is raised all the same."""
    from huggingface_hub.utils import logging as hub_logging

    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)


def sentence(error: Exception, name: str, part: str, revision: str | None = None) -> str:
    """What went wrong while `part` of a model was read, and what to do."""
    from huggingface_hub import errors as hub_errors

    if isinstance(error, hub_errors.LocalEntryNotFoundError) and isinstance(error.__cause__, hub_errors.HfHubHTTPError):
        error = error.__cause__  # the hub was reached, and this is what it said
    status = error.response.status_code if isinstance(error, hub_errors.HfHubHTTPError) else 0
    match error:
        case hub_errors.HfHubHTTPError() if status == 401 and re.search(
            "token|credential", _said(error), re.IGNORECASE
        ):
            return (
                f"The hub does not accept the access token that it was sent for {name} ({_said(error)}): set HF_TOKEN to "
                "one that is valid, or run hf auth login."
            )
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
        case hub_errors.HfHubHTTPError() if status == 429:
            return (
                f"The hub was asked too often from here and hands out nothing of {name} now (429): wait some minutes, or "
                "set HF_TOKEN, with which the limit is higher."
            )
        case hub_errors.HfHubHTTPError() if status >= 500:
            return f"The hub's server fails at the moment ({status}), so {name} cannot be fetched: try again later."
        case hub_errors.HfHubHTTPError() if status in (401, 403):  # a mirror, or a proxy, says no more than that
            return (
                f"The server that was asked for {name} refuses it ({status}): set HF_TOKEN to an access token that it "
                "accepts, or ask who keeps it."
            )
        case hub_errors.HFValidationError():
            return f"'{name}' is neither a folder nor a hub id of the form owner/name: check the name."
        case _ if part == FETCHED and (type(error).__name__ == "ProxyError" or _is_about_proxies(error)):
            return (
                f"{name} is not on this machine and the hub cannot be reached through the proxy that the environment "
                f"names ({reason(error)}): check {', '.join(_proxy_variables())}."
            )
        case json.JSONDecodeError() | hub_errors.FileMetadataError() if part == FETCHED:
            return (
                f"Something else than the hub answered when {name} was asked for, as a network does that wants a login: "
                "open a page in a browser, and try again."
            )
        case hub_errors.LocalEntryNotFoundError() | ConnectionError():
            proxy = f", the proxy that {' or '.join(_proxy_variables())} names" if _proxy_variables() else ""
            return (
                f"{name} is not on this machine and the hub cannot be reached: check the network{proxy} (and "
                "HF_HUB_OFFLINE), or use a grown model or a local folder."
            )
        case PermissionError():
            return (
                f"{name} cannot be had, for this user may not use {error.filename}: change the permissions there, or set "
                "HF_HOME to a folder of your own."
            )
        case MemoryError() | torch.OutOfMemoryError():
            return f"{name} does not fit into memory: choose a narrower dtype, another device or a smaller model."
        case _ if sys.flags.optimize > 1:
            return NO_DOCSTRINGS
        case _:
            return f"In {name}, {part} cannot be read ({reason(error)}): get the files again, complete and undamaged."


def _said(error: "HfHubHTTPError") -> str:
    """What the hub says about a refusal, without the part of a token that it may quote."""
    return re.sub('".*?"', "…", error.response.headers.get("X-Error-Message", ""))


def _proxy_variables() -> list[str]:
    """The variables of the environment that name a proxy."""
    return [variable for variable in os.environ if re.fullmatch("(all|https?)_proxy", variable.lower())]


def _is_about_proxies(error: Exception) -> bool:
    """Whether an error comes of a proxy of a kind that the HTTP library does not know."""
    return bool(_proxy_variables()) and re.search("proxy|socks", str(error), re.IGNORECASE) is not None


def reason(error: Exception) -> str:
    """The first line of an error, short enough to go into a sentence."""
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first_line[:120].rstrip(" .:")
