"""Tiny random checkpoints of every family, and the rules that hold for all tests.

Shapes named in the library's annotations are checked whenever a test calls it. No test leaves the machine, none
depends on what its reader has set or stored, and none meets what another one left.
"""

import os
import tempfile

# Before anything of Hugging Face is imported: no test looks for a model on the hub, nor for a model or a key that a
# reader keeps on this machine. Kernels and programs that a test starts inherit it.
HUGGING_FACE_HOME = tempfile.TemporaryDirectory(prefix="successor-heads-tests-")
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": HUGGING_FACE_HOME.name}
for name in ("HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "NDIF_API_KEY", "BOOK_REPOSITORY", "GITHUB_REPOSITORY"):
    os.environ.pop(name, None)
for name in ("SUCCESSOR_HEADS_BOOK", "SUCCESSOR_HEADS_RECORDS"):
    os.environ.pop(name, None)
# Before torch is imported, here and in the kernels: tests that run side by side would wait for each other's threads.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import beartype  # noqa: F401  nnsight hangs a method on `object`, after which beartype does not import
from jaxtyping import install_import_hook

import bookkit  # noqa: F401  spares each worker two seconds when nbformat is imported: see there

install_import_hook("successor_heads", "beartype.beartype")

import copy
import random
import socket
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PhiConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from successor_heads import models, ordinals

# The same examples in every run and on every worker, none kept from the last run, and none too slow on a busy machine.
hypothesis.settings.register_profile("same for everybody", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("same for everybody")

VOCABULARY = ["<unk>", "<eos>", "\n", " "] + [
    prefix + word
    for prefix in (" ", "")
    for word in dict.fromkeys(word for task in ordinals.TASKS for word in ordinals.CLASSES[task].words)
]
SIZE = dict(vocab_size=len(VOCABULARY) + 3, num_hidden_layers=2, bos_token_id=1, eos_token_id=1)
CONFIGS = {
    "gpt2": GPT2Config(**SIZE, n_embd=24, n_head=3, n_inner=40),
    "gpt_neox": GPTNeoXConfig(**SIZE, hidden_size=24, num_attention_heads=3, intermediate_size=40),
    "gpt_neox-no-bias": GPTNeoXConfig(
        **SIZE, hidden_size=24, num_attention_heads=3, intermediate_size=40, attention_bias=False
    ),
    "gpt_neox-sequential": GPTNeoXConfig(
        **SIZE, hidden_size=24, num_attention_heads=3, intermediate_size=40, use_parallel_residual=False
    ),
    "llama": LlamaConfig(**SIZE, hidden_size=24, num_attention_heads=3, intermediate_size=40),
    "llama-grouped": LlamaConfig(
        **SIZE, hidden_size=24, num_attention_heads=6, num_key_value_heads=2, intermediate_size=40
    ),
    "llama-biased": LlamaConfig(
        **SIZE,
        hidden_size=24,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=10,
        intermediate_size=40,
        attention_bias=True,
        mlp_bias=True,
    ),
}
GROUPED = SIZE | dict(hidden_size=24, num_attention_heads=6, num_key_value_heads=2, intermediate_size=40)
# Families of which the library uses the weights alone: what traces a model is tested on the first three.
MORE_CONFIGS = {
    "mistral": MistralConfig(**GROUPED),
    "qwen2": Qwen2Config(**GROUPED),
    "qwen3": Qwen3Config(**GROUPED, head_dim=8),
    "olmo2": Olmo2Config(**GROUPED, pad_token_id=1),
    "gemma2": Gemma2Config(**GROUPED, head_dim=8, final_logit_softcapping=30.0),
    "gemma3": Gemma3TextConfig(**GROUPED, head_dim=8, layer_types=["sliding_attention", "full_attention"]),
    "phi": PhiConfig(**SIZE, hidden_size=24, num_attention_heads=3, intermediate_size=40),
    "phi3": Phi3Config(**GROUPED, pad_token_id=1),
}


def random_module(config, *, seed: int = 0):
    """A causal language model in which no weight, bias or norm has a special value."""
    torch.manual_seed(seed)
    module = AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="eager")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)
    return module.eval()


@pytest.fixture(scope="session")
def tokenizer():
    """All 294 ordinals as single tokens, with a leading space and without."""
    backend = Tokenizer(WordLevel({word: place for place, word in enumerate(VOCABULARY)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\w+|\s"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<eos>")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory, tokenizer) -> dict[str, Path]:
    """A folder with a complete random checkpoint for every entry of CONFIGS and MORE_CONFIGS."""
    root = tmp_path_factory.mktemp("checkpoints")
    for name, config in (CONFIGS | MORE_CONFIGS).items():
        random_module(config).save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    return {name: root / name for name in CONFIGS | MORE_CONFIGS}


@pytest.fixture(scope="session", params=CONFIGS)
def model(request, checkpoints):
    """Every checkpoint in turn, loaded for tracing."""
    return models.load(str(checkpoints[request.param]))


@pytest.fixture(scope="session", params=CONFIGS | MORE_CONFIGS)
def any_model(request, checkpoints, tokenizer):
    """Every checkpoint of every family in turn, loaded for tracing."""
    loaded = models.load(str(checkpoints[request.param]))
    # transformers takes whatever lies beside a Qwen 2 for byte pairs, which these words are not.
    loaded.tokenizer = tokenizer
    return loaded


@pytest.fixture(scope="session")
def neox(checkpoints):
    """One loaded model, for tests in which the family does not matter."""
    return models.load(str(checkpoints["gpt_neox"]))


# Whoever asks for the built pages, for a browser to read them, or for a small project to build, works on the book.
OF_THE_BOOK = {"pages", "chrome", "scratch"}
SLOW = {"round_trips", "page", "wheel"}  # take seconds to set up: a server's answers, a page that is built, a package


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """Files that work on the whole book go first, or one worker would be left with a long one when all else is done."""
    for item in items:
        if OF_THE_BOOK & set(item.fixturenames):
            item.add_marker("book")
        if SLOW & set(item.fixturenames):
            item.add_marker("slow")
    long = {item.path for item in items if item.get_closest_marker("book")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True)
def each_test_by_itself():
    """Random numbers start anew; the environment, the folder and the mask of new files are put back as they were."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    environment, folder, mask = dict(os.environ), os.getcwd(), os.umask(0o022)
    os.umask(mask)
    yield
    os.umask(mask)
    os.chdir(folder)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ |= environment


def real_tokenizer_folder(name: str) -> Path:
    """The folder of a published tokenizer; a test that needs one is skipped where nobody says where they lie."""
    folder = os.environ.get("SUCCESSOR_HEADS_TOKENIZERS")
    if not folder or not (Path(folder) / name / "tokenizer.json").is_file():
        pytest.skip(f"needs the published tokenizer {name} in the folder that SUCCESSOR_HEADS_TOKENIZERS names")
    return Path(folder) / name


@pytest.fixture(autouse=True)
def stay_on_this_machine(monkeypatch):
    """A test that opens a connection to anywhere else fails."""
    connect = socket.socket.connect

    def connect_here(self, address):
        is_local = self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost")
        assert is_local, f"a test tried to reach {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture(scope="module")
def contexts(tokenizer):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(4, len(tokenizer), (5, 9), generator=generator)


@pytest.fixture(scope="module")
def days(tokenizer):
    return ordinals.resolve(tokenizer)["days"]
