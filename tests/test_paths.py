"""Path patching against the three passes by which it is defined, with plain hooks on whole forward passes."""

import pytest
import torch

from by_hooks import PROMPTS, hooked_forward
from successor_heads import anatomy, cached, models, paths
from successor_heads.prompts import encode

OTHERS = ["four five", "Friday Saturday", " 9 3 4", "K"]
FAMILIES = ["gpt2", "gpt_neox", "gpt_neox-sequential", "llama-grouped", "gemma3", "olmo2"]
TOKENS = torch.arange(12)


@pytest.fixture(scope="module", params=FAMILIES)
def deep(request, checkpoints):
    return models.load(str(checkpoints[request.param]))


def hooked_values(model, prompt, *, parts_held, inside=None):
    """One whole forward pass in which parts write given values: next-token logits, and what all MLPs added."""
    heads = [(layer, head, value) for (layer, head), value in parts_held.items() if head is not None]
    mlps = [(layer, value) for (layer, head), value in parts_held.items() if head is None]
    parts, seen, handles = anatomy.of(model._module), [], []
    for layer in range(parts.n_layers):
        path = parts.mlp_post_norm_path or parts.mlp_out_path
        module = model._module.get_submodule(f"{parts.blocks_path}.{layer}.{path}")
        handles.append(module.register_forward_hook(lambda _, __, written: seen.append(written[0, -1])))
    logits, written = hooked_forward(model, prompt, edits=heads, mlps=mlps)
    for handle in handles:
        handle.remove()
    return logits[TOKENS], written, torch.stack(seen)


def value_of(written, mlps, part):
    layer, head = part
    return mlps[layer] if head is None else written[layer, head]


def by_three_passes(model, prompt, other, sender, receivers):
    """Path patching by its definition (Wang et al., 2022): record, freeze all but the receivers' inputs, let them answer."""
    every = paths.all_parts(anatomy.of(model._module))
    _, heads, mlps = hooked_values(model, prompt, parts_held={})
    _, other_heads, other_mlps = hooked_values(model, other, parts_held={})
    held = {part: value_of(heads, mlps, part) for part in every if part not in receivers}
    held[sender] = value_of(other_heads, other_mlps, sender)
    _, changed_heads, changed_mlps = hooked_values(model, prompt, parts_held=held)
    # The third pass: the receivers write what they answered in the second, all else is held.
    held |= {part: value_of(changed_heads, changed_mlps, part) for part in receivers}
    return hooked_values(model, prompt, parts_held=held)[0]


@pytest.mark.parametrize(
    ("sender", "receivers"),
    [((0, 1), []), ((0, 1), [(0, None), (1, None)]), ((0, 2), [(1, 0), (1, 1)]), ((0, None), [(1, 2)])],
)
def test_cached_path_patching_is_that_of_three_passes_by_hooks(deep, sender, receivers):
    intact, other = paths.written(deep, PROMPTS), paths.written(deep, OTHERS)
    variant = paths.along([sender], receivers, intact, other)
    found = cached.logits_of_variants(deep, PROMPTS, [variant], TOKENS)[0]
    by_hand = torch.stack([by_three_passes(deep, *pair, sender, receivers) for pair in zip(PROMPTS, OTHERS)])
    torch.testing.assert_close(found, by_hand, atol=1e-5, rtol=1e-5)
    without = cached.logits_of_variants(deep, PROMPTS, [[]], TOKENS)[0]
    assert (found - without).abs().max() > 1e-3, "the control: to leave the sender alone is another thing"


def test_by_way_of_everything_is_the_total_effect(deep):
    intact, other = paths.written(deep, PROMPTS), paths.written(deep, OTHERS)
    every = paths.all_parts(anatomy.of(deep._module))
    variants = [paths.along([(0, 1)], every[1:], intact, other), paths.replaced([(0, 1)], other), paths.along([(0, 1)], [], intact, other)]  # fmt: skip
    way, total, direct = cached.logits_of_variants(deep, PROMPTS, variants, TOKENS)
    torch.testing.assert_close(way, total, atol=1e-5, rtol=1e-5)
    assert (direct - total).abs().max() > 1e-3


def test_in_half_precision_paths_are_those_of_single_precision_but_for_its_rounding(checkpoints):
    """The paper's own model is run in bfloat16: `models.yml`."""
    falls = []
    for dtype in ("float32", "bfloat16"):
        model = models.load(str(checkpoints["llama-biased"]), dtype=dtype)
        intact, other = paths.written(model, PROMPTS), paths.written(model, OTHERS)
        final = cached.Intact(model, PROMPTS).streams()[-1]
        heads, mlps = paths.direct_logits(model, final, intact, other, TOKENS)
        clean = anatomy.of(model).logits(final, TOKENS).cpu()
        falls.append(torch.cat([(heads - clean).flatten(), (mlps - clean).flatten()]))
    single, half = falls
    assert torch.corrcoef(torch.stack(falls))[0, 1] > 0.99 and (single - half).abs().max() < 0.3 * single.abs().max()


def test_direct_logits_are_paths_with_no_receiver(deep):
    intact, other = paths.written(deep, PROMPTS), paths.written(deep, OTHERS)
    final = cached.Intact(deep, PROMPTS).streams()[-1]
    heads, mlps = paths.direct_logits(deep, final, intact, other, TOKENS, batch_size=3)
    every = paths.all_parts(anatomy.of(deep._module))
    variants = [paths.along([part], [], intact, other) for part in every]
    for part, logits in zip(every, cached.logits_of_variants(deep, PROMPTS, variants, TOKENS)):
        layer, head = part
        found = mlps[layer] if head is None else heads[layer, head]
        torch.testing.assert_close(found, logits, atol=1e-4, rtol=1e-4)
    assert (heads[0, 0] - heads[1, 0]).abs().max() > 1e-3


def test_what_is_written_is_taken_by_prompt(neox):
    written = paths.written(neox, PROMPTS)
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(written.of(rows).edit((1, 2)).value, written.heads[1, 2, rows])
    torch.testing.assert_close(written.of(rows).edit((1, None)).value, written.mlps[1, rows])
    assert encode(neox, PROMPTS)["input_ids"].shape[0] == written.mlps.shape[1]


def test_what_stands_behind_a_part():
    head, own_mlp, next_head = (1, 0), (1, None), (2, 3)
    assert paths.behind(head, own_mlp) and paths.behind(head, next_head) and paths.behind(own_mlp, next_head)
    assert not paths.behind(head, (1, 1)) and not paths.behind(own_mlp, head) and not paths.behind(next_head, own_mlp)
    assert [anatomy.name_of(part) for part in (head, own_mlp)] == ["L1H0", "MLP1"]
