"""What a head would write if it attended to one token: the effective OV circuit (paper, section 2).

W_U · W_OV · MLP0(W_E), from weights alone: no prompt, no attention pattern. The convention is the
canonical one: no residual copy of the embedding, no bias or norm of the head's layer, no final norm.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from successor_heads.anatomy import Anatomy

Source = Literal["mlp0", "embedding"]


def head_input(
    anatomy: Anatomy, token_ids: Int[Tensor, " token"], *, source: Source = "mlp0"
) -> Float[Tensor, "token d_model"]:
    """What a head reads of each token: MLP0(norm(W_E)), or as a control W_E itself.

    Raises ValueError for another source.
    """
    match source:
        case "mlp0":
            return anatomy.mlp0(anatomy.embed(token_ids))
        case "embedding":
            return anatomy.embed(token_ids)
        case _:
            raise ValueError(f"source is 'mlp0' or 'embedding', not {source!r}")


def effective_ov_logits(
    anatomy: Anatomy,
    x: Float[Tensor, "token d_model"],
    candidates: Int[Tensor, " candidate"],
    *,
    layer: int,
) -> Float[Tensor, "head token candidate"]:
    """Logits of `candidates` that each head of a layer writes on reading `x`: (x W_V)(W_O W_U)."""
    # Both brackets go through d_head, so no d_model × d_model matrix is ever built.
    read = torch.einsum("td,hdk->htk", x, anatomy.w_v(layer))
    write = anatomy.w_o(layer) @ anatomy.unembed(candidates)
    return read @ write
