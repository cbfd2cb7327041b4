"""How fast is a training step, against the same model trained the library's way?

    python benchmarks/training_step.py

Both sides train the default Pythia on the same random windows, in turns, several rounds, in one
process.  The peer is what a reader would write first: transformers' own model with its fused attention
(sdpa) and its own loss, under bfloat16 autocast, with PyTorch's fused AdamW.  Ours is
``growing.train.Trainer``.  The last line compares the arithmetic that a step needs with the fastest
bfloat16 product that these cores were seen to do in the same run.
"""

import statistics
import time

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from successor_heads.growing.train import Recipe, Trainer, new_model
from successor_heads.models import ZOO

ROUNDS, STEPS = 5, 2


def seconds(step) -> float:
    """Seconds that one call takes, over STEPS calls."""
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - start) / STEPS


def main() -> None:
    recipe = Recipe()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(ZOO / "pythia")
    trainer = Trainer(recipe, new_model(recipe, tokenizer))
    peer = AutoModelForCausalLM.from_config(new_model(recipe, tokenizer).config, attn_implementation="sdpa").train()
    optimizer = torch.optim.AdamW(peer.parameters(), lr=recipe.learning_rate, fused=True)
    windows = torch.randint(len(tokenizer), (recipe.batch, recipe.window + 1))

    def ours():
        trainer.step(1000, windows)

    def theirs():
        with torch.autocast("cpu", torch.bfloat16):
            loss = peer(windows, labels=windows, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    a, b = torch.randn(4096, 4096, dtype=torch.bfloat16), torch.randn(4096, 4096, dtype=torch.bfloat16)
    for step in (ours, theirs, lambda: a @ b):
        step()  # the first call allocates and chooses kernels
    rounds = [(seconds(ours), seconds(theirs), seconds(lambda: a @ b)) for _ in range(ROUNDS)]

    tokens = recipe.batch * recipe.window
    matrices = sum(p.numel() for name, p in peer.named_parameters() if p.ndim == 2 and "embed_in" not in name)
    n_layers, d_model = peer.config.num_hidden_layers, peer.config.hidden_size
    # Forward and backward: 6 operations a weight and token, and 12 a layer, width and pair of positions in attention.
    operations = tokens * (6 * matrices + 12 * n_layers * d_model * recipe.window)
    peak = max(2 * 4096**3 / product for _, _, product in rounds)
    ours_rate = statistics.median(tokens / o for o, _, _ in rounds)
    theirs_rate = statistics.median(tokens / t for _, t, _ in rounds)
    ratios = sorted(t / o for o, t, _ in rounds)
    print(f"threads                  {torch.get_num_threads()}")
    print(f"ours                     {ours_rate:10,.0f} tokens a second (median of {ROUNDS} rounds)")
    print(f"transformers + autocast  {theirs_rate:10,.0f} tokens a second")
    print(f"paired ratio             {statistics.median(ratios):10.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})")
    print(
        f"arithmetic of a step     {operations / 1e9:10.0f} GFLOP, {ours_rate / tokens * operations / peak:.0%} of the {peak / 1e9:.0f} GFLOP/s of a large product"
    )


if __name__ == "__main__":
    main()
