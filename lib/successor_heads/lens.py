"""A tuned lens: what the stream behind a block would say if all that follows were one affine map.

After Belrose et al. (2023). The lens is fitted to name, from the stream behind a block, what the *model* goes on to say
in text; it then answers for everything that needs no part of the model behind that block. The paper's appendix F asks
it for successors.
"""

from dataclasses import dataclass
from functools import partial

import nnsight
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import anatomy, features
from successor_heads.anatomy import Anatomy


@dataclass(frozen=True, eq=False)
class Lens:
    """h → final norm(h + h A + b) W_U, for the stream h behind one block; with A = 0 and b = 0 it is the logit lens."""

    parts: Anatomy
    weight: Float[Tensor, "d_model d_model"]
    bias: Float[Tensor, " d_model"]

    def logits(
        self, stream: Float[Tensor, "*batch d_model"], token_ids: Int[Tensor, " token"]
    ) -> Float[Tensor, "*batch token"]:
        """What it says of a stream, for these tokens."""
        return self.parts.logits(stream + stream @ self.weight + self.bias, token_ids)


def streams(
    model: TransformersModel, contexts: Int[Tensor, "context position"], *, layer: int, batch_size: int = 16
) -> tuple[Float[Tensor, "context position d_model"], Float[Tensor, "context position d_model"]]:
    """The stream behind a block, and in front of the final norm, at every position: on the CPU, in single precision."""
    parts, found = anatomy.of(model), []
    for batch in contexts.split(batch_size):
        with torch.no_grad(), model.trace(batch.to(model._module.device), logits_to_keep=1) as tracer:
            read = nnsight.save([])
            if layer + 1 < parts.n_layers:
                read.append(parts.block(layer + 1).input.clone())
            read.append(model.get(parts.final_norm_path).input)
            tracer.stop()
        found.append(torch.stack([read[0], read[-1]]).float().cpu())  # behind the last block the stream is final
    behind, final = torch.cat(found, 1)
    return behind, final


def fit(
    parts: Anatomy,
    stream: Float[Tensor, "position d_model"],
    final: Float[Tensor, "position d_model"],
    token_ids: Int[Tensor, " token"],
    *,
    seed: int,
    n_epochs: int = 10,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
) -> Lens:
    """The lens whose distribution over these tokens is nearest to the model's own: least mean KL divergence, by Adam.

    `stream` is what stands behind a block, `final` what stands in front of the final norm, at the same
    positions. The weights of the model stay as they are.
    """
    size = stream.square().mean().sqrt()
    # A, and in the last row b in units of the stream's own size, so that one rate suits both.
    weight = torch.zeros(parts.d_model + 1, parts.d_model, requires_grad=True)
    with torch.no_grad():
        wanted = torch.cat([parts.logits(part, token_ids).log_softmax(-1) for part in final.split(1024)])

    def loss_of(batch: Tensor) -> Tensor:
        h = stream[batch]
        said = parts.logits(h + h @ weight[:-1] + size * weight[-1], token_ids).log_softmax(-1)
        return torch.nn.functional.kl_div(said, wanted[batch], log_target=True, reduction="batchmean")

    order = partial(torch.randperm, len(stream), generator=torch.Generator().manual_seed(seed))
    features.descend(
        weight, loss_of, order, n_epochs=n_epochs, batch_size=batch_size, learning_rate=learning_rate, of="the lens"
    )
    return Lens(parts, weight[:-1].detach(), size * weight[-1].detach())
