"""Models run and edited by plain hooks, or traced whole: the computations that the library's quicker ones are held against."""

import nnsight
import torch

from successor_heads import anatomy, direct_effects, texts
from successor_heads.prompts import encode


def reference_of(model, contexts, batch_size=2):
    return direct_effects.reference_outputs(model, contexts, n_drawn=7, seed=0, batch_size=batch_size)


def hooked(model, ids, *, edit=None):
    """Logits of one context from the plain module, its head outputs [layer, position, ...], and the input of the final norm."""
    parts, seen, handles = anatomy.of(model._module), [], []

    def visit(layer):
        def hook(_, args):
            changed = args[0].clone()
            if edit is not None:
                edit(layer, changed)
            seen.append(changed[0])
            return (changed,)

        return hook

    for layer in range(parts.n_layers):
        handles.append(parts.output_projection(layer).register_forward_pre_hook(visit(layer)))
    stream = []
    norm = model._module.get_submodule(parts.final_norm_path)
    handles.append(norm.register_forward_pre_hook(lambda _, args: stream.append(args[0][0])))
    with torch.no_grad():
        logits = model._module(ids[None]).logits[0]
    for handle in handles:
        handle.remove()
    return logits, torch.stack(seen).unflatten(-1, (parts.n_heads, parts.d_head)), stream[0]


def some_text(*documents):
    return texts.Text("some", list(documents), True)


PROMPTS = ["one two three", "Monday Tuesday Wednesday Thursday", " 7 8", "A"]


def hooked_forward(model, prompt, *, edits=(), mlps=()):
    """One unpadded prompt through the plain module: next-token logits, and head outputs [layer, head, d_head].

    `edits` are (layer, head, value): what a forward hook puts in place of a head's output at the last position;
    `mlps` are (layer, value), what it puts in place of what an MLP adds to the stream there.
    """
    parts = anatomy.of(model._module)
    seen, handles = [], []

    def visit(layer):
        def hook(_, args):
            seen.append(args[0][0, -1])
            edited = args[0].clone()
            for _, head, value in (edit for edit in edits if edit[0] == layer):
                edited[:, -1, head * parts.d_head : (head + 1) * parts.d_head] = value
            return (edited,)

        return hook

    def write(value):
        return lambda _, __, written: torch.cat([written[:, :-1], value.expand_as(written[:, -1:])], dim=1)

    for layer in range(parts.n_layers):
        handles.append(parts.output_projection(layer).register_forward_pre_hook(visit(layer)))
    for layer, value in mlps:
        path = parts.mlp_post_norm_path or parts.mlp_out_path
        module = model._module.get_submodule(f"{parts.blocks_path}.{layer}.{path}")
        handles.append(module.register_forward_hook(write(value)))
    with torch.no_grad():
        logits = model._module(torch.tensor([model.tokenizer(prompt)["input_ids"]])).logits[0, -1]
    for handle in handles:
        handle.remove()
    return logits, torch.stack(seen).unflatten(-1, (parts.n_heads, parts.d_head))


def attention_at(model, prompts, places):
    """Attention of every head from the last token of each prompt to one place, counted from the end: [layer, head, prompt]."""
    parts = anatomy.of(model)
    rows, columns = torch.arange(len(prompts)), torch.tensor(places)
    with torch.no_grad(), model.trace(encode(model, prompts), logits_to_keep=1):
        looks = nnsight.save([])
        for layer in range(parts.n_layers):
            # An advanced index on both sides of a slice: prompts come first.
            looks.append(parts.attention(layer).output[1][rows, :, -1, columns])
    return torch.stack(looks).float().cpu().transpose(1, 2)


def mlp_outputs(model, prompts):
    """What every MLP adds to the stream at the last position of each prompt: [layer, prompt, d_model]."""
    parts = anatomy.of(model)
    with torch.no_grad(), model.trace(encode(model, prompts), logits_to_keep=1):
        outputs = nnsight.save([])
        for layer in range(parts.n_layers):
            outputs.append(parts.mlp_writer(layer).output[:, -1])
    return torch.stack(outputs).float().cpu()
