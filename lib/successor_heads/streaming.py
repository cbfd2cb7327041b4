"""A model larger than the machine: of its checkpoint only the bytes that a score needs are read.

::

    checkpoint = streaming.Checkpoint("meta-llama/Llama-2-70b-hf")    # whatever `models.load` takes
    scores = checkpoint.score(ordinals.resolve(checkpoint.tokenizer))

A score needs the embedding and unembedding rows of some 300 tokens, MLP0, and W_V and W_O of each layer.
A safetensors file says in a JSON at its start where each tensor lies, so these are byte ranges: read from
disk, or from the hub over HTTP, and nothing else is. So does a GGUF file, whose quantised rows are read as they are
and made numbers when their layer is due. The scoring code is that of a model in memory:
`anatomy` asks for tensors by name, and it does not matter who hands them out. It is run twice. The first
time with no token at all on hollow tensors, a zero stretched to their shape: that takes no time, checks
names and shapes, and gives the list of reads. The second time threads read that list ahead of the
arithmetic, by a bounded number of bytes.
"""

import hashlib
import json
import math
import os
import time
from collections import deque
from collections.abc import MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import psutil
import torch
from torch import Tensor
from tqdm import tqdm

from successor_heads import anatomy, models, ov_circuit, published, scores
from successor_heads.errors import Disconnected, UserError
from successor_heads.files import with_home
from successor_heads.ordinals import ResolvedClass
from successor_heads.ov_circuit import effective_ov_logits, head_input
from successor_heads.scores import HeadScores, score_heads

# What only a GGUF file or the hub needs is imported where one is met.
if TYPE_CHECKING:
    from successor_heads.gguf_files import GGUFFile, Layout, Stored
    from successor_heads.hub_files import HubFile

# Rows with less than this between them are fetched in one go: a request, or a seek, costs more.
GAP_BYTES = 16 << 10
CHUNK_BYTES = 4 << 20
# How many reads go on at a time, and how far they may run ahead of the arithmetic. Over a network many are
# needed, since each waits for an answer; from a disk one is enough while another is worked on.
DISK_THREADS, DISK_AHEAD_BYTES = 2, 8 << 20
HUB_THREADS, HUB_AHEAD_BYTES = 16, 64 << 20
# How long the layers of an interrupted run are kept.
KEPT_DAYS = 30


def would_not_fit(
    name: str, *, revision: str | None = None, dtype: str = "float32", device: str | torch.device | None = None
) -> bool:
    """Whether the weights in that dtype are more than the memory that is free, here or on the GPU.

    Raises UserError as `load` does.
    """
    folder, file, _, _ = models.describe(name, revision=revision)
    if file is not None:
        n_weights: float = sum(math.prod(tensor.shape) for tensor in file.stored.values())
    else:
        opened = _open_files(name, folder)
        entries = (entry for item in opened.items() for entry in _read_header(name, *item)[0].values())
        n_weights = sum(math.prod(entry.shape) for entry in entries if not isinstance(entry, str))
    free = psutil.virtual_memory().available
    # Of a model that is to be spread over several, no one GPU has to hold all.
    if device != models.SPREAD and (target := models.usable_device(device)).type == "cuda":
        free = min(free, torch.cuda.mem_get_info(target)[0])
    return n_weights * models.usable_dtype(dtype).itemsize > 0.8 * free


class DiskFile:
    """A file of this machine."""

    def __init__(self, path: Path):
        self.path = path
        self.handle = path.open("rb", buffering=0)
        self.size, self.identity = self._look()

    def read_into(self, buffer: memoryview, start: int) -> None:
        """Fill `buffer` with the bytes from `start` on. Raises UserError when the file changes meanwhile."""
        done = 0
        while done < len(buffer):
            n = os.preadv(self.handle.fileno(), [buffer[done:]], start + done)
            if n == 0:
                break
            done += n
        if done < len(buffer) or self._look() != (self.size, self.identity):
            raise UserError(f"{self.path} changed while it was read: run the command again when it is complete.")

    def _look(self) -> tuple[int, str]:
        status = os.fstat(self.handle.fileno())
        return status.st_size, f"{status.st_size} bytes of {status.st_mtime_ns}"


def _open_files(name: str, folder: Path) -> "dict[str, DiskFile | HubFile]":
    """The files that hold the weights, by name: those on disk, also in the hub's cache, are read there."""
    with models.explained(name, "the list of its weights"):

        def open_file(file: str) -> "DiskFile | HubFile":
            if (folder / file).is_file():
                models.check_no_pointer(name, folder / file)
                return DiskFile(folder / file)
            if models.is_hub_id(name):
                from successor_heads.hub_files import HubFile

                return HubFile(name, file, commit=folder.name)
            raise FileNotFoundError(file)

        files = models.weight_files(folder)
        models.check_one_set(name, folder)
        if models.is_hub_id(name) and models.WEIGHTS not in files:
            # Nothing on disk tells whether the hub has the one file that goes before an index.
            with suppress(FileNotFoundError):
                return {models.WEIGHTS: open_file(models.WEIGHTS)}
        if not files:
            raise UserError(models.NO_SAFETENSORS.format(name))
        try:
            with ThreadPoolExecutor(HUB_THREADS) as pool:
                return dict(zip(files, pool.map(open_file, files)))
        except FileNotFoundError as error:
            raise UserError(
                f"{name} lacks one of the {len(files)} files that hold its weights: complete it."
            ) from error


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies: bytes start to start + n_bytes of a file."""

    file: "DiskFile | HubFile"
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    n_bytes: int

    def stored_rows(self, rows: Tensor | range | None, of: int | None) -> Tensor | range | None:
        """The rows of the file that hold these rows of the tensor, in their order."""
        return rows

    def numbers(self, raw: Tensor) -> Tensor:
        """Numbers from bytes, one after the other."""
        return raw.view(self.dtype)

    def restored(self, tensor: Tensor, rows: Tensor | range | None) -> Tensor:
        """The tensor, or these rows of it, from what the file holds."""
        return tensor


@dataclass(frozen=True)
class QuantisedEntry(Entry):
    """The same in a GGUF file, where numbers come in blocks and some tensors lie in another order."""

    stored: "Stored"
    layout: "Layout"

    def stored_rows(self, rows, of):
        return self.layout.stored_rows(rows, of)

    def numbers(self, raw):
        return self.stored.numbers(raw)

    def restored(self, tensor, rows):
        return self.layout.restored(tensor, rows)


def _read_header(name: str, file_name: str, file: "DiskFile | HubFile") -> tuple[dict[str, Entry], int]:
    """The tensors of a safetensors file by name, and how many bytes it took to know them.

    The format: 8 bytes with the length of a JSON, the JSON, the numbers. Raises UserError for another.
    """
    try:
        length = int.from_bytes(_read(file, 0, 8), "little")
        if length > file.size - 8:
            raise ValueError("it ends too early")
        header = json.loads(_read(file, 8, length))
        header.pop("__metadata__", None)
        entries = {}
        for tensor, place in header.items():
            begin, end = (8 + length + offset for offset in place["data_offsets"])
            models.check_stored(name, tensor, place["dtype"])
            if place["dtype"] not in models.STORED_DTYPES:
                # A mask, for one; only if it is asked for is it an error.
                entries[tensor] = place["dtype"]
                continue
            dtype, shape = models.STORED_DTYPES[place["dtype"]], tuple(place["shape"])
            if end > file.size or end - begin != math.prod(shape) * dtype.itemsize:
                raise ValueError("it ends too early")
            entries[tensor] = Entry(file, dtype, shape, begin, end - begin)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file_name} of {name} is not a complete safetensors file ({models.reason(error)}): get it again."
        ) from error
    return entries, 8 + length


def _read(file: "DiskFile | HubFile", start: int, length: int) -> bytearray:
    if start + length > file.size:
        raise ValueError("it ends too early")
    buffer = bytearray(length)
    file.read_into(memoryview(buffer), start)
    return buffer


class Read:
    """One tensor, or some of its rows of equal size, to be read: the spans of rows that hold them."""

    def __init__(self, tensor: str, entry: Entry, *, rows: Tensor | range | None, of: int | None):
        self.tensor, self.entry, self.asked = tensor, entry, rows
        rows = entry.stored_rows(rows, of)
        self.rows = None if rows is None else torch.as_tensor(rows).cpu()
        of = of or 1
        self.row_bytes, rest = divmod(entry.n_bytes, of)
        if rest:
            raise RuntimeError(f"{tensor} has no {of} rows")  # found on the hollow run
        self.stored_shape = entry.shape if rows is None else (len(rows), math.prod(entry.shape) // of)
        # What will come out, found on a zero that is stretched to the shape of what will be read.
        self.shape = entry.restored(torch.zeros(()).expand(self.stored_shape), self.asked).shape
        wanted = [0] if self.rows is None else self.rows.unique().tolist()
        self.spans: list[list[int]] = []
        for row in wanted:
            if self.spans and (row - self.spans[-1][1]) * self.row_bytes <= GAP_BYTES:
                self.spans[-1][1] = row + 1
            else:
                self.spans.append([row, row + 1])
        self.n_bytes = sum(last - first for first, last in self.spans) * self.row_bytes
        self.jobs: list[Future] = []

    def start(self, pool: ThreadPoolExecutor, count) -> None:
        """Have threads of the pool fill a buffer, calling `count` with the bytes that have come."""
        self.buffer = torch.empty(self.n_bytes, dtype=torch.uint8)
        view, done = self.buffer.numpy().data, 0

        def fill(part: memoryview, offset: int) -> None:
            self.entry.file.read_into(part, offset)
            count(len(part))

        for first, last in self.spans:
            start, end = (self.entry.start + row * self.row_bytes for row in (first, last))
            for offset in range(start, end, CHUNK_BYTES):
                size = min(CHUNK_BYTES, end - offset)
                self.jobs.append(pool.submit(fill, view[done : done + size], offset))
                done += size

    def result(self) -> Tensor:
        """The tensor, once all of its bytes are there. Raises what the reading threads raised."""
        for job in self.jobs:
            job.result()
        tensor = self.entry.numbers(self.buffer)
        if self.rows is None:
            return self.entry.restored(tensor.view(self.stored_shape), None)
        there = torch.cat([torch.arange(first, last) for first, last in self.spans])
        tensor = tensor.view(len(there), -1)
        if not torch.equal(there, self.rows):
            tensor = tensor[torch.searchsorted(there, self.rows)]
        return self.entry.restored(tensor, self.asked)


class Checkpoint:
    """The weights of a saved model, read as they are asked for (`anatomy.Weights`), and what else it holds.

    It is scored once, and its reading threads end with that: open another for another score.
    Raises UserError for whatever keeps the model from being read, as `models.load` does.
    """

    def __init__(
        self,
        name: str,
        *,
        revision: str | None = None,
        dtype: str | torch.dtype = torch.float32,
        device: str | torch.device | None = None,
    ):
        self.name = name
        self.dtype, self.device = models.usable_dtype(dtype), models.usable_device(device)
        folder, self.gguf, self.config, self.tokenizer = models.describe(name, revision=revision)
        self.revision = folder.name if models.is_hub_id(name) else None
        self.files = _open_files(name, folder) if self.gguf is None else {folder.name: DiskFile(folder)}
        self.bytes_in_checkpoint = sum(file.size for file in self.files.values())
        on_disk = all(isinstance(file, DiskFile) for file in self.files.values())
        self.pool = ThreadPoolExecutor(DISK_THREADS if on_disk else HUB_THREADS)
        self.ahead_bytes = DISK_AHEAD_BYTES if on_disk else HUB_AHEAD_BYTES
        with models.explained(name, "config.json"):
            self.anatomy = anatomy.family_of(self.config.model_type)(self.config, self)
        self.entries: dict[str, Entry | str] = {}
        if self.gguf is not None:
            self.bytes_read = self.bytes_needed = self.gguf.header_bytes
        else:
            with models.explained(name, "the weights"):
                headers = list(self.pool.map(lambda item: _read_header(name, *item), self.files.items()))
            for entries, _ in headers:
                self.entries |= entries
            self.bytes_read = self.bytes_needed = sum(n_bytes for _, n_bytes in headers)
        # Rows of embeddings are asked for again at each layer.
        self.kept: dict[tuple, Tensor] = {}
        # On the hollow run, the tokens whose rows will be read.
        self.hollow: Tensor | None = None
        self.planned: deque[Read] = deque()
        self.started: deque[Read] = deque()
        self.lock = Lock()
        self.bar = tqdm(disable=True)

    def score(self, classes: dict[str, ResolvedClass]) -> HeadScores:
        """Canonical scores of all heads. An interrupted run is gone on with; a bar on stderr shows the bytes."""
        scored = [resolved.token_ids for resolved in classes.values() if len(resolved.source)]
        known = KeptLayers(self, torch.cat(scored))
        self.plan(torch.cat(scored), [layer for layer in range(self.anatomy.n_layers) if layer not in known])
        share = f"{self.bytes_in_checkpoint / 1e9:.2f} GB in the checkpoint"
        # disable=None: no bar where stderr is not a terminal.
        with tqdm(
            desc=f"reading, of {share}",
            total=self.bytes_needed,
            initial=self.bytes_read,
            unit="B",
            unit_scale=True,
            disable=None,
        ) as self.bar:
            try:
                result = score_heads(self.anatomy, classes, known=known)
            except UserError as error:
                if not isinstance(error, Disconnected):
                    known.discard()
                raise
            finally:
                self.pool.shutdown(wait=False, cancel_futures=True)
        known.discard()
        return result

    def plan(self, token_ids: Tensor, layers: Sequence[int]) -> None:
        """List the reads that a score takes, checking names and shapes. Raises UserError where they do not fit."""
        self.hollow, nothing = token_ids, token_ids[:0]
        try:
            x = head_input(self.anatomy, nothing)
            for layer in layers:
                effective_ov_logits(self.anatomy, x, nothing, layer=layer)
        except (RuntimeError, ValueError, IndexError) as error:
            raise UserError(
                f"In {self.name}, a tensor has another shape than config.json asks for ({models.reason(error)}): get "
                "weights and config of the same model."
            ) from error
        except (TypeError, AttributeError, KeyError, ArithmeticError) as error:
            raise UserError(
                f"The config.json of {self.name} holds a value that nothing can be computed with ({models.reason(error)}): "
                "get the config that the model was saved with."
            ) from error
        finally:
            self.hollow = None
            self.kept.clear()
        self.bytes_needed += sum(read.n_bytes for read in self.planned)

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def take(self, name: str, *, rows: Tensor | range | None = None, of: int | None = None) -> Tensor:
        """See `anatomy.Weights`. Raises UserError for a tensor that is missing, quantised or not finite."""
        key = (name, *rows.tolist()) if isinstance(rows, Tensor) else None  # of an embedding
        if key is not None and key in self.kept:
            return self.kept[key]
        if self.hollow is not None:
            read = Read(name, self._entry(name), rows=self.hollow if key is not None else rows, of=of)
            self.planned.append(read)
            # Not torch's meta device: arithmetic there imports a compiler, which takes seconds.
            tensor = torch.zeros(()).expand((0, *read.shape[1:]) if key is not None else read.shape)
        else:
            read = Read(name, self._entry(name), rows=rows, of=of)
            tensor = self._finite(name, self._fetch(read).to(self.device, self.dtype))
        if key is not None:
            self.kept[key] = tensor
        return tensor

    def _fetch(self, read: Read) -> Tensor:
        """The tensor of the next read that was planned, or of one that was not."""
        self._read_ahead()
        if self.started and self.started[0].tensor == read.tensor:
            read = self.started.popleft()
            self._read_ahead()
        else:
            read.start(self.pool, self._count)
        return read.result()

    def _read_ahead(self) -> None:
        while self.planned and (not self.started or sum(read.n_bytes for read in self.started) < self.ahead_bytes):
            read = self.planned.popleft()
            read.start(self.pool, self._count)
            self.started.append(read)

    def _count(self, n_bytes: int) -> None:
        with self.lock:
            self.bytes_read += n_bytes
            self.bar.update(n_bytes)

    def _finite(self, name: str, tensor: Tensor) -> Tensor:
        # NaN wins both comparisons. The extremes are found ten times faster than a mask is filled.
        if not torch.stack(tensor.aminmax()).isfinite().all():
            raise UserError(
                f"The tensor {name} of {self.name} holds NaN or infinite numbers as {self.dtype}: "
                "get an undamaged checkpoint, or choose a wider dtype."
            )
        return tensor

    def _entry(self, name: str) -> Entry:
        entry = self._find(name)
        if entry is None:
            raise UserError(
                f"In {self.name}, the tensor {name} that config.json asks for is missing: get weights and config of "
                "the same model."
            )
        if isinstance(entry, str):
            raise UserError(
                f"The tensor {name} of {self.name} is stored as {entry}, and only {', '.join(models.STORED_DTYPES)} are "
                f"read: {models.UNQUANTISED}"
            )
        return entry

    def _find(self, name: str) -> Entry | str | None:
        """Where a tensor lies, under its name or an older one; a word for its numbers where they cannot be read."""
        if self.gguf is not None:
            return self._find_in_gguf(self.gguf, name)
        # transformers also takes the names of a model that was saved without its head, such as layers.0 for model.layers.0.
        whole = self.anatomy.blocks_path.partition(".")[0] + "."
        names = (*self.anatomy.older_names, (whole, ""))
        older = [old + name.removeprefix(new) for new, old in names if name.startswith(new)]
        return next((self.entries[stored] for stored in (name, *older) if stored in self.entries), None)

    def _find_in_gguf(self, gguf: "GGUFFile", name: str) -> Entry | str | None:
        if name not in self.entries and (found := gguf.find(name)):
            stored, layout = found
            gguf.check_kind(stored)
            (file,) = self.files.values()
            self.entries[name] = QuantisedEntry(
                file, torch.float32, stored.shape, stored.start, stored.n_bytes, stored, layout
            )
        return self.entries.get(name)


class KeptLayers(MutableMapping):
    """Answers of the layers that are done, by layer, in a file of the user's cache: an interrupted run goes on.

    The file is named after what the layers come of: the model by its whole path, its content and config, the tokens, the
    dtype, and the code that computes them. So no run meets the layers of another, and what has changed is begun anew.
    """

    def __init__(self, checkpoint: Checkpoint, token_ids: Tensor):
        name = checkpoint.name
        come_of = {
            "version": version("successor-heads"),
            "model": name if models.is_hub_id(name) else str(with_home(name).resolve()),
            "revision": checkpoint.revision,
            "dtype": str(checkpoint.dtype),
            "tokens": token_ids.tolist(),
            "files": {name: file.identity for name, file in checkpoint.files.items()},
            "config": checkpoint.config.values,
            "code": [
                hashlib.sha256(Path(str(room.__file__)).read_bytes()).hexdigest()
                for room in (anatomy, ov_circuit, scores)
            ],
        }
        digest = hashlib.sha256(json.dumps(come_of, sort_keys=True).encode()).hexdigest()[:16]
        # Who has no place for a cache goes without: the folder that is not there gives nothing and takes nothing.
        try:
            folder = published.cache_folder()
        except UserError:
            folder = Path(os.devnull)
        self.path = folder / f"{digest}.jsonl"
        _forget_old(folder)
        self.layers = {
            line["layer"]: [torch.tensor(part, dtype=torch.short) for part in line["answers"]] for line in self._lines()
        }
        # Not if its last line is half written: then it is written anew with the first layer that is done.
        self.is_whole = False

    def __setitem__(self, layer, answers):
        self.layers[layer] = answers
        mode, layers = ("a", [layer]) if self.is_whole else ("w", list(self.layers))
        self.is_whole = False
        # A cache that cannot be written to costs an interrupted run, not this one.
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open(mode, encoding="utf-8") as file:
                for kept in layers:
                    line = {"layer": kept, "answers": [part.tolist() for part in self.layers[kept]]}
                    file.write(json.dumps(line) + "\n")
            self.is_whole = True

    def __getitem__(self, layer):
        return self.layers[layer]

    def __delitem__(self, layer):
        del self.layers[layer]

    def __iter__(self):
        return iter(self.layers)

    def __len__(self):
        return len(self.layers)

    def discard(self) -> None:
        """Forget what was kept."""
        with suppress(OSError):
            self.path.unlink()

    def _lines(self) -> list[dict]:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            return [json.loads(line) for line in lines if line.endswith("\n")]
        except (OSError, ValueError):
            return []


def _forget_old(folder: Path) -> None:
    """Drop what was kept of runs that nobody has gone on with for long."""
    with suppress(OSError):
        for path in folder.glob("*.jsonl"):
            if time.time() - path.stat().st_mtime > KEPT_DAYS * 24 * 60 * 60:
                path.unlink()
