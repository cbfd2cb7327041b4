"""What NDIF does with a request, in a process that has no successor_heads: run from test_remote.py.

Reads "checkpoint request answer" lines, three paths each; runs the request against the checkpoint and
writes what it saved. As there, neither this project nor jaxtyping is installed.
"""

import sys
from pathlib import Path


class NotInstalled:
    """An import hook by which some packages are not there."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"successor_heads", "jaxtyping", "beartype"}:
            raise ModuleNotFoundError(f"No module named {name!r}")


sys.meta_path.insert(0, NotInstalled())

import torch  # noqa: E402
from nnsight import TransformersModel  # noqa: E402
from nnsight.schema.request import RequestModel  # noqa: E402
from nnsight.tracing.tracer import _saves, dec, inc  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

for line in sys.stdin:
    checkpoint, request, answer = line.split()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = TransformersModel(checkpoint, task="text-generation", tokenizer=tokenizer, dispatch=True)
    try:
        blob = Path(request).read_bytes()
        tracer = RequestModel.deserialize(blob, model._remoteable_persistent_objects(), compress=True)
        inc()
        tracer.execute(tracer.info.code)
        saved = {name: value for name, value in tracer.info.frame.f_locals.items() if id(value) in _saves()}
        dec()
        torch.save(saved, answer)
        print("COMPLETED", flush=True)
    except Exception as error:
        print(f"ERROR {type(error).__name__}: {error}".splitlines()[0], flush=True)
