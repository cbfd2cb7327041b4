"""How long does it take to ablate every head of a real model, against whole forward passes and TransformerLens?

    make benchmark        # after the benchmark of scores; writes benchmarks/results/ablation.json

Total effects by mean ablation at the last position, of all heads of SmolLM2, on lists of four months. In one
process, with the models loaded and the means of the heads part of the work, the contestants take turns:

- cached: ``ablation.mean_ablation_effects``, which goes on from one cached run;
- plain: as it was before: whole forward passes by nnsight, those of a layer's heads in one trace;
- transformerlens: its ``TransformerBridge`` and ``run_with_hooks``, a forward pass with a hook for each head;
- transformerlens_cached: the same of the last position alone, with the keys and values of the others kept, which
  nobody's tutorial does, but the peer allows. (Its ``start_at_layer`` saves nothing: earlier blocks run all the same.)

A pass costs the same whatever the head's layer. So in each round all but the first ablate the heads of a few layers, others each
time, and the time of all is reckoned from them; the first does all heads. All must give the same logits.

How fast could the cached way be? Its matrix products are counted, and set against the machine's own speed in one
large product, measured in the same rounds.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import nnsight
import torch
from score_vs_transformerlens import setting
from transformer_lens.model_bridge import TransformerBridge
from transformers import DynamicCache

from successor_heads import ablation, anatomy, models, ordinals, prompts

ROUNDS = 5
LAYERS_A_ROUND = 2
OTHERS = ("plain", "transformerlens", "transformerlens_cached")
PRODUCT = 2048


class Case:
    """The lists, and what is asked about them, the same for all contestants."""

    def __init__(self, name: str, task: str, length: int):
        self.model = models.load(name)
        self.parts = anatomy.of(self.model._module)
        resolved = ordinals.resolve(self.model.tokenizer)[task]
        self.lists, self.answers = prompts.counting_lists(resolved, length=length)
        self.members = resolved.token_ids
        self.encoded = prompts.encode(self.model, self.lists)
        # The peer is spared the padding, and the question how it treats it.
        assert self.encoded["attention_mask"].all()
        folder = self.model._module.config.name_or_path
        self.bridge = TransformerBridge.boot_transformers(folder, dtype=torch.float32, device="cpu")

    def cached(self) -> ablation.AblationEffects:
        """All heads by the library."""
        common = {"members": self.members, "reference": self.lists}
        return ablation.mean_ablation_effects(self.model, self.lists, self.answers, **common)

    def plain_setup(self) -> torch.Tensor:
        """The means of all heads, and the intact answers."""
        means = prompts.mean_head_outputs(self.model, self.lists)
        prompts.next_token_logits(self.model, self.lists)
        return means

    def plain_layer(self, layer: int, means: torch.Tensor) -> torch.Tensor:
        """Logits of the right answers with each head of a layer ablated, by whole forward passes in one trace."""
        projection = anatomy.of(self.model).output_projection(layer)
        n_heads, d_head = means.shape[1:]
        with torch.no_grad(), self.model.trace() as tracer:
            logits = nnsight.save([])
            for head in range(n_heads):
                with tracer.invoke(self.encoded, logits_to_keep=1):
                    projection.input[:, -1, head * d_head : (head + 1) * d_head] = means[layer, head]
                    logits.append(self.model.output.logits[:, -1])
        return torch.stack([self._of_answers(of_head) for of_head in logits])

    def peer_setup(self) -> torch.Tensor:
        """The same by TransformerLens."""
        names = [f"blocks.{layer}.attn.hook_z" for layer in range(self.parts.n_layers)]
        _, cache = self.bridge.run_with_cache(self.encoded["input_ids"], names_filter=lambda name: name in names)
        shape = (-1, self.parts.n_heads, self.parts.d_head)
        return torch.stack([cache[name][:, -1].reshape(shape).mean(0) for name in names])

    def peer_layer(self, layer: int, means: torch.Tensor) -> torch.Tensor:
        """Logits of the right answers with each head of a layer ablated by a hook, a forward pass each."""
        return torch.stack(
            [self._hooked(layer, head, means, self.encoded["input_ids"]) for head in range(len(means[0]))]
        )

    def peer_cached_setup(self) -> torch.Tensor:
        """The same, and keys and values of all positions but the last."""
        self.cache = DynamicCache()
        self.bridge(self.encoded["input_ids"][:, :-1], past_key_values=self.cache, use_cache=True)
        return self.peer_setup()

    def peer_cached_layer(self, layer: int, means: torch.Tensor) -> torch.Tensor:
        """As `peer_layer`, of the last position."""
        found = []
        for head in range(len(means[0])):
            last = self.encoded["input_ids"][:, -1:]
            found.append(self._hooked(layer, head, means, last, past_key_values=self.cache, use_cache=True))
            self.cache.crop(-1)
        return torch.stack(found)

    def _hooked(self, layer: int, head: int, means: torch.Tensor, token_ids: torch.Tensor, **options) -> torch.Tensor:
        def replace(z, hook):
            z.view(*z.shape[:2], self.parts.n_heads, self.parts.d_head)[:, -1, head] = means[layer, head]
            return z

        hooks = [(f"blocks.{layer}.attn.hook_z", replace)]
        return self._of_answers(self.bridge.run_with_hooks(token_ids, fwd_hooks=hooks, **options)[:, -1])

    def _of_answers(self, logits: torch.Tensor) -> torch.Tensor:
        return logits[torch.arange(len(self.answers)), self.answers]

    def operations(self) -> float:
        """Of the matrix products that the cached way cannot do without: two a weight and row, attention's own left out.

        Two passes of the prompts through all blocks, for the means and for the cached run, and the rest of the model
        from each head's block on for one position a head and prompt.
        """
        weights = sum(weight.numel() for weight in self.parts.block(0).parameters() if weight.ndim == 2)
        n_layers, n_prompts = self.parts.n_layers, len(self.lists)
        blocks_of_prompts = 2 * n_layers * self.encoded["input_ids"].numel()
        blocks_of_variants = n_prompts * self.parts.n_heads * n_layers * (n_layers + 1) / 2
        columns = len(self.members) * self.parts.d_model * n_prompts * self.parts.n_heads * n_layers
        return 2 * (weights * (blocks_of_prompts + blocks_of_variants) + columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="published/smollm2")
    parser.add_argument("--task", default="months")
    parser.add_argument("--length", type=int, default=4, help="members in a list")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "ablation.json")
    args = parser.parse_args()

    torch.set_grad_enabled(False)
    case = Case(args.model, args.task, args.length)
    rounds = [one_round(case, number) for number in range(-1, args.rounds)][1:]  # the first is for warming up
    results = setting("nnsight") | {
        "threads": torch.get_num_threads(),
        "model": args.model,
        "heads": case.parts.n_layers * case.parts.n_heads,
        "prompts": len(case.lists),
        "tokens": case.encoded["input_ids"].shape[1],
        "first_prompt": case.lists[0],
        "operations": case.operations(),
        "seconds": {name: spread(one[name] for one in rounds) for name in ("cached", *OTHERS)},
        "times_cached": {name: spread(one[name] / one["cached"] for one in rounds) for name in OTHERS},
        "share_of_the_machine": spread(
            case.operations() / one["cached"] / one["operations_a_second"] for one in rounds
        ),
        "largest_difference": {name: max(one[f"{name}_difference"] for one in rounds) for name in OTHERS},
        "rounds": rounds,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def one_round(case: Case, number: int) -> dict[str, float]:
    """Seconds of each contestant for all heads, and how far the others' logits lie from the cached ones."""
    n_layers = case.parts.n_layers
    layers = [(number * LAYERS_A_ROUND + place) * 7 % n_layers for place in range(LAYERS_A_ROUND)]  # spread out
    found, seconds = clocked(case.cached)
    measured = {"cached": seconds, "operations_a_second": operations_a_second()}
    for name, setup, layer_of in (
        ("plain", case.plain_setup, case.plain_layer),
        ("transformerlens", case.peer_setup, case.peer_layer),
        ("transformerlens_cached", case.peer_cached_setup, case.peer_cached_layer),
    ):
        means, seconds = clocked(setup)
        measured[f"{name}_difference"] = 0.0
        for layer in layers:
            logits, of_layer = clocked(layer_of, layer, means)
            seconds += of_layer * n_layers / len(layers)
            difference = float((logits - found.ablated.logit[layer]).abs().max())
            measured[f"{name}_difference"] = max(measured[f"{name}_difference"], difference)
        measured[name] = seconds
    return measured


def clocked(function, *args) -> tuple:
    """What a function returns, and how many seconds it took."""
    start = time.perf_counter()
    return function(*args), time.perf_counter() - start


def operations_a_second() -> float:
    """Of a large product of two matrices in float32, the best of three."""
    square = torch.randn(PRODUCT, PRODUCT)
    return 2 * PRODUCT**3 / min(clocked(torch.matmul, square, square)[1] for _ in range(3))


def spread(values) -> dict[str, float]:
    """Median, lowest and highest."""
    values = list(values)
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


if __name__ == "__main__":
    main()
