"""Prompts, and what a model does on them: its logits, its attention patterns, what its parts hold.

::

    tokens, patterns = prompts.attention_patterns(model, " Monday, Tuesday,")
    patterns[1, 6, -1]           # where L1H6 looks from the last token

Prompts are padded on the left with positions counted from the first real token, so that position -1 is the last
token of every prompt and padding changes nothing.
"""

import itertools
import re
from collections.abc import Iterable, Sequence

import nnsight
import numpy as np
import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from torch import Tensor

from successor_heads import anatomy, ordinals
from successor_heads.errors import UserError
from successor_heads.ndif import explained
from successor_heads.ordinals import ResolvedClass

# A text, or token ids: the start of a text, tokenized alone, need not give the tokens that the text starts with.
Prompt = str | Sequence[int]


def encode(model: TransformersModel, prompts: Sequence[Prompt]) -> dict[str, Int[Tensor, "prompt position"]]:
    """Model inputs of prompts of any lengths: left-padded ids, attention mask and position ids.

    Before a text stands what the tokenizer puts there, and nothing behind it.
    """
    rows = [tokens_of(model.tokenizer, prompt) if isinstance(prompt, str) else list(prompt) for prompt in prompts]
    width = max(map(len, rows))
    # The mask hides the padding, so any id will do: a tokenizer need not have a padding token.
    input_ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    attention_mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
    encoded = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
    # NDIF moves what it is sent to where the model is.
    return encoded if model.remote is True else {name: ids.to(model._module.device) for name, ids in encoded.items()}


def tokens_of(tokenizer, text: str) -> list[int]:
    """The tokens of a prompt: those that the tokenizer puts before a text, and the text's; none that it puts behind."""
    text_tokens = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ordinals.tokens_in_front(tokenizer) + text_tokens


# Parameters times tokens: what one measurement of a chapter may cost. A forward pass takes about two operations for
# each parameter and token, so this is half a minute on two cores. The grown models come nowhere near it.
WORK = 1.5e12


def affordable(model: TransformersModel, most: int, *, tokens: int, least: int = 8) -> int:
    """How many runs of so many tokens a measurement may take: `most`, or fewer where the model is large.

    Decided by the model's size alone, and not by the machine, so that the same is measured everywhere.
    """
    n_parameters = sum(parameter.numel() for parameter in model._module.parameters())
    return min(most, max(least, int(WORK / (n_parameters * tokens))))


def attention_patterns(
    model: TransformersModel, prompt: str
) -> tuple[list[str], Float[Tensor, "layer head query key"]]:
    """The prompt's tokens as text, and every head's attention pattern over them.

    Raises UserError for a model on NDIF, where the attention that is fastest runs, which keeps no patterns.
    """
    if model.remote is True:
        raise UserError(
            "Attention patterns are not to be had from NDIF: look at them in a model that fits on this machine."
        )
    parts = anatomy.of(model)
    inputs = encode(model, [prompt])
    with torch.no_grad(), model.trace(inputs):
        patterns = nnsight.save([])
        for layer in range(parts.n_layers):
            patterns.append(parts.attention(layer).output[1][0])
    return token_texts(model.tokenizer, inputs["input_ids"][0]), torch.stack(
        [pattern.float().cpu() for pattern in patterns]
    )


def token_texts(tokenizer, token_ids: Int[Tensor, " position"]) -> list[str]:
    """What each token adds to the text, leading space included."""
    # Decoding a token alone would drop the space of SentencePiece tokens.
    texts = [tokenizer.decode(token_ids[:end], clean_up_tokenization_spaces=False) for end in range(len(token_ids) + 1)]
    return [after[len(before) :] for before, after in itertools.pairwise(texts)]


def next_token_logits(model: TransformersModel, prompts: Sequence[Prompt]) -> Float[Tensor, "prompt d_vocab"]:
    """Logits of the token that follows each prompt."""
    inputs = encode(model, prompts)
    with explained(model), model.trace(inputs, logits_to_keep=1, remote=model.remote):
        logits = model.output.logits[:, -1].save()
    return logits.float().cpu()


def mlp0_outputs(model: TransformersModel, prompts: Sequence[str]) -> Float[Tensor, "prompt d_model"]:
    """What MLP0 adds to the stream at the last token of each prompt, having read what it reads at work."""
    parts = anatomy.of(model)
    mlp0 = parts.mlp_writer(0)
    inputs = encode(model, prompts)
    with explained(model), model.trace(inputs, remote=model.remote):
        written = mlp0.output[:, -1].save()
    return written.float().cpu()


def mean_head_outputs(model: TransformersModel, prompts: Sequence[Prompt]) -> Float[Tensor, "layer head d_head"]:
    """Mean over the prompts of what every head hands to the output projection at the last position."""
    parts = anatomy.of(model)
    projections = [parts.output_projection(layer) for layer in range(parts.n_layers)]
    inputs = encode(model, prompts)
    with explained(model), model.trace(inputs, logits_to_keep=1, remote=model.remote):
        means = nnsight.save([])
        for projection in projections:
            means.append(projection.input[:, -1].float().mean(0))
    # Layers can lie on several devices.
    return torch.stack([mean.cpu() for mean in means]).unflatten(-1, (parts.n_heads, parts.d_head))


def head_outputs(model: TransformersModel, prompts: Sequence[Prompt]) -> Float[Tensor, "layer head prompt d_head"]:
    """What every head hands to the output projection at the last position of each prompt."""
    parts = anatomy.of(model)
    projections = [parts.output_projection(layer) for layer in range(parts.n_layers)]
    inputs = encode(model, prompts)
    with explained(model), model.trace(inputs, logits_to_keep=1, remote=model.remote):
        outputs = nnsight.save([])
        for projection in projections:
            outputs.append(projection.input[:, -1])
    every = torch.stack([output.float().cpu() for output in outputs])
    return every.unflatten(-1, (parts.n_heads, parts.d_head)).transpose(1, 2)


def split_at(tokenizer, text: str, start: int) -> tuple[list[int], int] | None:
    """(tokens of the text before the character at `start`, the token that begins there).

    The whole text is tokenized, for its start alone could give other tokens. None where a token reaches
    across `start`, unless by white space only. Tokens behind the answer are left out.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    for place, (first, last) in enumerate(encoded["offset_mapping"]):
        if last > start:
            before = ordinals.tokens_in_front(tokenizer) + encoded["input_ids"][:place]
            if not before or text[first:start].strip():
                return None
            return before, encoded["input_ids"][place]
    return None


def counting_lists(
    resolved: ResolvedClass, *, length: int = 3, most: int = 40
) -> tuple[list[str], Int[Tensor, " prompt"]]:
    """Texts like " Monday, Tuesday, Wednesday," of `length` members in order, and the token that should follow each.

    At most `most` of them, evenly spread over the class. None where the tokenizer writes its members without a
    leading space: then no member can follow a comma and a space as one token.
    """
    follower = dict(zip(resolved.source.tolist(), resolved.target.tolist())) if resolved.prefix else {}
    lists, answers = [], []
    for start in follower:
        run = [start]
        while len(run) <= length and run[-1] in follower:
            run.append(follower[run[-1]])
        if len(run) == length + 1:
            lists.append(",".join(" " + resolved.words[member] for member in run[:length]) + ",")
            answers.append(int(resolved.token_ids[run[length]]))
    spread = np.unique(np.linspace(0, len(lists) - 1, min(most, len(lists))).round().astype(int))
    return [lists[place] for place in spread], torch.tensor(answers, dtype=torch.long)[spread]


NUMBERED = re.compile(r"^[ \t]*(\d{1,3})[.)] ", re.MULTILINE)


def numbered_lists(documents: Iterable[str], *, reach: int = 500) -> list[tuple[str, int]]:
    """(text, start) of list numbers that count on from an earlier one: the text up to the number, and where it starts.

    An item counts when "n. " or "n) " starts a line, n is above 1, and the item before it, n - 1, starts a line
    at most `reach` characters earlier. The text starts `reach` characters before that one.
    """
    found = []
    for document in documents:
        for item, after in zip(items := list(NUMBERED.finditer(document)), items[1:]):
            if int(after[1]) == int(item[1]) + 1 and after.start(1) - item.start(1) <= reach:
                first = max(0, item.start() - reach)
                found.append((document[first : after.end(1) + 2], after.start(1) - first))
    return found
