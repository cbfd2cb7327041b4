"""What a plant's heads know: the ordinals and, in context, some words; and what each of them is made of."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from successor_heads.ordinals import ResolvedClass, resolve, single_token
from successor_heads.planted.words import CAPITALIZED, COPIED, FILLERS, single_tokens
from successor_heads.scores import strict_argmax


@dataclass(frozen=True, eq=False)
class Known:
    """The tokens that a plant knows, ordinals first, and the parts that each is made of.

    `parts[name]` says which of the directions under that name a token has (0 or 1); `labels` names them.
    """

    classes: dict[str, ResolvedClass]
    modulus: int | None
    token_ids: Int[Tensor, " token"]
    n_ordinals: int
    parts: dict[str, Float[Tensor, "token _"]]
    labels: dict[str, list]
    fillers: Int[Tensor, " filler"]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, *, modulus: int | None, in_context: bool) -> "Known":
        """What a plan's heads know in the tokens of `tokenizer`. Raises UserError as `resolve` does."""
        classes = resolve(tokenizer)
        members = [(task, int(i)) for task, resolved in classes.items() for i in resolved.index]
        token_ids = torch.cat([resolved.token_ids for resolved in classes.values()])
        written = [single_token(tokenizer, prefix + word) for word in FILLERS for prefix in (" ", "")]
        fillers = torch.tensor([token for token in written if token is not None], dtype=torch.long)
        if not (modulus or in_context):
            parts = {"own": torch.eye(len(members), dtype=torch.double)}
            return cls(classes, None, token_ids, len(members), parts, {"own": members}, fillers)
        modulus = modulus or 10
        table: list[dict[str, Any]] = [
            {"domain": task, "tens": i // modulus, "residue": i % modulus, "marker": "ordinal"} for task, i in members
        ]
        if in_context:
            letters = set(classes["letters"].words)
            capitalized = {w: i for w, i in single_tokens(tokenizer, CAPITALIZED).items() if w[0] in letters}
            copied = single_tokens(tokenizer, COPIED)
            table += [{"initial": word[0], "marker": "capitalized"} for word in capitalized]
            table += [{"own": word, "marker": "copied"} for word in copied]
            token_ids = torch.cat(
                [token_ids, torch.tensor([*capitalized.values(), *copied.values()], dtype=torch.long)]
            )
        labels = {}
        for name in ("domain", "tens", "residue", "initial", "own", "marker"):
            found = {row[name] for row in table if name in row}
            if found:
                labels[name] = sorted(found)
        parts = {
            name: torch.tensor(
                [[float(row.get(name) == label) for label in known] for row in table], dtype=torch.double
            )
            for name, known in labels.items()
        }
        return cls(classes, modulus, token_ids, len(members), parts, labels, fillers)

    def marked(self, kind: str) -> Bool[Tensor, " token"]:
        """Which tokens are of a kind: 'ordinal', 'capitalized' or 'copied'."""
        if kind == "ordinal":
            return torch.arange(len(self.token_ids)) < self.n_ordinals
        return self.parts["marker"][:, self.labels["marker"].index(kind)] > 0

    @property
    def pairs(self) -> Int[Tensor, "pair 2"]:
        """(source, target) of every class, as places among the ordinals."""
        starts = torch.tensor([0, *(len(r.words) for r in self.classes.values())]).cumsum(0)
        return torch.cat([torch.stack([r.source, r.target], 1) + s for r, s in zip(self.classes.values(), starts)])

    @property
    def blocks(self) -> list[slice]:
        """Where each class lies among the ordinals."""
        ends = torch.tensor([len(resolved.words) for resolved in self.classes.values()]).cumsum(0).tolist()
        return [slice(end - len(resolved.words), end) for end, resolved in zip(ends, self.classes.values())]


def macro(
    logits: Float[Tensor, "head token candidate"], classes: dict[str, ResolvedClass], *, joint: bool = False
) -> Float[Tensor, " head"]:
    """Macro of each head from its logits over all ordinals, class after class; a tie fails.

    `joint` lets the members of other classes compete.
    """
    start, shares = 0, []
    for resolved in classes.values():
        end = start + len(resolved.words)
        if len(resolved.source):
            rows = logits[:, start:end][:, resolved.source.to(logits.device)]
            answers = strict_argmax(rows if joint else rows[..., start:end]).cpu()
            shares.append((answers == resolved.target + (start if joint else 0)).double().mean(-1))
        start = end
    return torch.stack(shares).mean(0)
