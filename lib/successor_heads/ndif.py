"""Models that stay on NDIF: their weights computed with, there, and what goes wrong there in one sentence.

::

    parts = ndif.anatomy_of(models.load("meta-llama/Llama-3.1-70B", remote=True))
    x = parts.compute(ov_circuit.head_input, token_ids)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import nnsight
import torch
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import anatomy
from successor_heads.anatomy import Anatomy
from successor_heads.errors import UserError


def anatomy_of(model: TransformersModel) -> Anatomy:
    """The anatomy of a model wherever it runs; weights on NDIF can be computed with, but not taken."""
    here = anatomy.of(model)
    if not model.remote:
        return here
    remote_class = type("Remote", (_Remote, type(here)), {"family_class": type(here)})
    return remote_class(here.config, RemoteWeights(), model=model)


class RemoteWeights:
    """Weights that are not on this machine. Whoever asks for one gets a UserError."""

    def __contains__(self, name):
        self.take(name)

    def take(self, name, **rows):
        raise UserError("The weights are on NDIF: hand what you would do with them to parts.compute, as a function.")


class ProbedWeights:
    """A model's tensors, found out by calling its modules: inside a trace, NDIF runs modules but shows no weights.

    A linear map of the rows of the identity is its weight. The rows are scaled up by a power of two, which
    costs no digit, until a bias is too small to be seen; of zeros, the map is its bias. A norm of +1, -1,
    +1, ... gives its gain, and so does the negative of that; half their difference is without the bias. All
    this is exact, but for the last digit of a gain and of Gemma's embeddings, which half precision has few of.
    """

    def __init__(self, model, parts: Anatomy, shapes: dict[str, tuple[int, ...]], probe: Tensor):
        self.model, self.shapes, self.in_out = model, shapes, parts.in_out
        self.embedding_path, self.embedding_scale = parts.embedding_path, parts.embedding_scale
        # What the family adds to a norm's stored weight before it is used: 1 in Gemma.
        self.added = float(parts.gain(torch.zeros(1)))
        # Any activation: its dtype and its device are the model's.
        self.dtype, self.device = probe.dtype, probe.device
        self.narrow = probe.dtype == torch.float16

    def __contains__(self, name):
        return name in self.shapes

    def take(self, name, *, rows=None, of=None):
        path, _, leaf = name.rpartition(".")
        module, shape = self.model.get(path), self.shapes[f"{path}.weight"]
        if path == self.embedding_path:
            embedded = module(rows.to(self.device)).detach()
            return embedded if self.embedding_scale == 1 else embedded.float() / self.embedding_scale
        n_in = shape[0] if self.in_out or len(shape) == 1 else shape[1]
        if leaf == "bias":
            tensor = module(torch.zeros(1, n_in, dtype=self.dtype, device=self.device))[0].detach()
        elif len(shape) == 1:
            tensor = self._gain(module, n_in)
        else:
            tensor = self._linear(module, n_in, columns=rows if isinstance(rows, Tensor) else slice(None))
        return tensor.reshape(of, -1)[rows.start : rows.stop : rows.step] if isinstance(rows, range) else tensor

    def _gain(self, norm, n: int) -> Tensor:
        signs = torch.ones(1, n, dtype=self.dtype, device=self.device)
        signs[:, 1::2] = -1
        large = signs * 2.0 ** (8 if self.narrow else 20)  # so that the epsilon under the root does not count
        return ((norm(large).detach().float() - norm(-large).detach().float()) / 2 * signs)[0] - self.added

    def _linear(self, linear, n_in: int, *, columns: Tensor | slice) -> Tensor:
        scale, pieces = 2.0 ** (8 if self.narrow else 64), []
        for start in range(0, n_in, 512):  # the whole of W_U would be large
            identity = torch.zeros(min(512, n_in - start), n_in, dtype=self.dtype, device=self.device)
            identity.diagonal(start).fill_(scale)
            pieces.append(linear(identity).detach()[:, columns].float() / scale)
        # In the order in memory in which it is stored, or sums would differ in the last bit.
        return torch.cat(pieces) if self.in_out else torch.cat(pieces).T.contiguous()


class _Remote:
    """What an Anatomy does otherwise when its weights are on NDIF."""

    model: Any
    config: Any
    family_class: type[Anatomy]

    def compute(self, function: Callable, *args, **kwargs):
        """What `function` returns on the anatomy and the arguments, run there inside one nnsight trace."""
        # NDIF has not installed this package: its functions travel as source, with the names they use.
        nnsight.register("successor_heads")
        model, family, config, probed = self.model, self.family_class, self.config, ProbedWeights
        shapes = {name: tuple(parameter.shape) for name, parameter in model._module.named_parameters()}
        with explained(model), model.trace("1", remote=model.remote):
            probe = model.get(family.embedding_path).output
            # A server may cast what a trace computes to the model's own, narrower dtype.
            with torch.no_grad(), torch.autocast("cuda", enabled=False):
                parts = family(config, None)  # type: ignore[arg-type]  # its layout alone is asked for
                weights = probed(model, parts, shapes, probe)
                answer = nnsight.save(function(family(config, weights), *args, **kwargs))
        return answer


@contextmanager
def explained(model: TransformersModel) -> Iterator[None]:
    """Without gradients; of a model on NDIF, whatever goes wrong there becomes one sentence."""
    with torch.no_grad():
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if model.remote is not True:
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1][:200].rstrip(" .")
            raise UserError(
                f"NDIF could not do this for {model.repo_id} ({reason}): if it says that the key or the model is "
                "refused, mend that, else try again later, or use a model that fits on this machine."
            ) from error
