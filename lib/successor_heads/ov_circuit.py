"""What a head would write if it attended to one token: the effective OV circuit (paper, section 2).

W_U · W_OV · MLP0(W_E), from weights alone: no prompt, no attention pattern. What is asked for with no
further argument is canonical: no residual copy of the embedding, no bias or norm of the head's layer,
no final norm. The arguments are the other conventions, which `scores.CONVENTIONS` names.
"""

# As text: these functions may be sent to NDIF, where there is no jaxtyping.
from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from successor_heads.anatomy import Anatomy

Source = Literal["mlp0", "embedding", "residual", "mlp0 after attention", "block 0"]


def head_input(
    anatomy: Anatomy, token_ids: Int[Tensor, " token"], *, source: Source = "mlp0"
) -> Float[Tensor, "token d_model"]:
    """What a head reads of each token: MLP0(norm(W_E)), or what another convention takes for it.

    "embedding" is W_E itself, a control; "residual" the sum of the two. In "mlp0 after attention" MLP0
    reads what it reads at work on a token that sees only itself, and "block 0" is all that the stream
    then holds: W_E, what attention 0 wrote, and what MLP0 wrote. Raises ValueError for another source.
    """
    embedded = anatomy.embed(token_ids)
    match source:
        case "mlp0":
            return anatomy.mlp0(embedded)
        case "embedding":
            return embedded
        case "residual":
            return embedded + anatomy.mlp0(embedded)
        case "mlp0 after attention":
            return anatomy.mlp0(_read_by_mlp0(anatomy, embedded))
        case "block 0":
            return embedded + anatomy.self_attention0(embedded) + anatomy.mlp0(_read_by_mlp0(anatomy, embedded))
        case _:
            raise ValueError(f"source is one of {', '.join(Source.__args__)}, not {source!r}")


def _read_by_mlp0(anatomy: Anatomy, embedded: Tensor) -> Tensor:
    """The stream in front of MLP0, for tokens that see only themselves."""
    return embedded if anatomy.is_parallel else embedded + anatomy.self_attention0(embedded)


def effective_ov_logits(
    anatomy: Anatomy,
    x: Float[Tensor, "token d_model"],
    candidates: Int[Tensor, " candidate"],
    *,
    layer: int,
    head_norm: bool = False,
    final_norm: bool = False,
) -> Float[Tensor, "head token candidate"]:
    """Logits of `candidates` that each head of a layer writes on reading `x`: (x W_V)(W_O W_U).

    With `head_norm` x goes through the norm in front of the layer's attention, and the value bias is
    added; with `final_norm` what is written goes through the model's last norm.
    """
    w_v, w_o, unembed = anatomy.w_v(layer), anatomy.w_o(layer), anatomy.unembed(candidates)
    x = x.to(w_v.device)
    if head_norm:
        x = anatomy.head_norm(layer)(x)
    # Both brackets go through d_head, so no d_model × d_model matrix is ever built.
    read = torch.einsum("td,hdk->htk", x, w_v)
    if head_norm:
        read = read + anatomy.b_v(layer)[:, None].to(read.device)  # zeros, where there is none, know no device
    if final_norm:
        return anatomy.final_norm(read @ w_o) @ unembed
    return read @ (w_o @ unembed)


def head_matrix(
    anatomy: Anatomy,
    token_ids: Int[Tensor, " token"],
    *,
    layer: int,
    head: int,
    source: Source = "mlp0",
) -> Float[Tensor, "token candidate"]:
    """One head's map among `token_ids`: row t holds the logits that it writes on reading t."""
    x = head_input(anatomy, token_ids, source=source)
    # A copy, because from NDIF a view would bring the matrices of all heads along.
    return effective_ov_logits(anatomy, x, token_ids, layer=layer)[head].clone()
