"""The tuned lens against plain hooks, and where what it has to find is known."""

import pytest
import torch

from successor_heads import anatomy, lens

CONTEXTS = torch.randint(8, 200, (24, 12), generator=torch.Generator().manual_seed(3))


def test_streams_are_those_of_a_plain_run_in_every_family(any_model):
    parts, module = anatomy.of(any_model), any_model._module
    with torch.no_grad():
        states = module(CONTEXTS[:3], output_hidden_states=True, logits_to_keep=0)
    for layer in range(parts.n_layers):
        behind, final = lens.streams(any_model, CONTEXTS[:3], layer=layer, batch_size=2)
        expected = states.hidden_states[layer + 1] if layer + 1 < parts.n_layers else final
        torch.testing.assert_close(behind, expected, atol=1e-5, rtol=0)
    # What stands at the end, and through a lens that does nothing, is what the model says.
    idle = lens.Lens(parts, torch.zeros(parts.d_model, parts.d_model), torch.zeros(parts.d_model))
    said = idle.logits(final, torch.arange(parts.d_vocab))
    torch.testing.assert_close(said, states.logits, atol=1e-3, rtol=1e-4)
    # The control: at the block before, it is not.
    early, _ = lens.streams(any_model, CONTEXTS[:3], layer=0)
    assert (idle.logits(early, torch.arange(parts.d_vocab)) - states.logits).abs().max() > 0.1


@pytest.mark.slow
def test_a_lens_finds_the_affine_map_that_follows_and_nothing_else_does(model):
    """All that follows is made one affine map of our choice, so the right lens is known."""
    parts, generator = anatomy.of(model), torch.Generator().manual_seed(0)
    token_ids, size = torch.arange(parts.d_vocab), parts.d_model
    stream = torch.randn(3000, size, generator=generator)
    rest = torch.randn(size, size, generator=generator) / size**0.5
    final = stream + stream @ rest + torch.randn(size, generator=generator)
    found = lens.fit(parts, stream[500:], final[500:], token_ids, seed=0, n_epochs=20, learning_rate=1e-2)
    unfitted = lens.fit(parts, stream[500:], final[500:], token_ids, seed=0, n_epochs=0)

    def agrees(of, held_out=stream[:500]):
        return (
            (of.logits(held_out, token_ids).argmax(-1) == parts.logits(final[:500], token_ids).argmax(-1))
            .double()
            .mean()
        )

    assert agrees(found) > 0.9 > 0.5 > agrees(unfitted)
    assert agrees(found, stream[:500].roll(1, 0)) < 0.2  # what it says depends on what it reads
    again = lens.fit(parts, stream[500:], final[500:], token_ids, seed=0, n_epochs=20, learning_rate=1e-2)
    assert torch.equal(found.weight, again.weight) and torch.equal(found.bias, again.bias)
