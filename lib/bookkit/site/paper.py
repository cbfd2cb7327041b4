"""The page "The paper in figures": Figures 2, 16, 18 and 27 from reported data, with the models of this book in them."""

import numpy as np

from successor_heads import figures, reported
from successor_heads.figures import PALETTE
from successor_heads.growing import observe

FAMILY_COLORS = {"pythia": "blue", "gpt2": "green", "llama": "orange"}
FIRST, THIRD = "01-find-heads", "03-mod-10-features"
# (layers, width) of the published models: the x axis of Figure 2 counts parameters without embeddings, 12 · layers · width².
SHAPES = {
    "14m": (6, 128), "31m": (6, 256), "70m": (6, 512), "160m": (12, 768), "410m": (24, 1024), "1b": (16, 2048), "1.4b": (24, 2048),
    "2.8b": (32, 2560), "6.9b": (32, 4096), "12b": (36, 5120), "42M parameters (distilgpt2 by its place)": (6, 768),
    "small, six models": (12, 768), "medium, six models": (24, 1024), "large": (36, 1280), "xl": (48, 1600), "7b, two models, unlabelled": (32, 4096),
}  # fmt: skip  # one table
# Of the models that can be had without the hub, counted in their checkpoints.
WITHOUT_EMBEDDINGS = {
    "grown/pythia": 3.16e6,
    "grown/gpt2": 3.16e6,
    "grown/llama": 2.88e6,
    "published/smollm2": 106.2e6,
    "published/gemma3-270m": 100.3e6,
}


def write(site, found):
    """Write the page's figures into the site's source, from `found`, the records by model and chapter."""
    parts = site / "book" / "paper"
    parts.mkdir(exist_ok=True)
    figures.use_style()
    for name, drawn in {
        "figure-2": figure_2(found),
        "figure-16": figure_16(found),
        "figure-18": figure_18(),
        "figure-27": figure_27(found),
    }.items():
        (parts / f"{name}.html").write_text(drawn._repr_html_(), encoding="utf8")


def value(found, model, chapter, finding):
    """One finding of a model, or None."""
    return found.get(model, {}).get(chapter, {}).get("findings", {}).get(finding, {}).get("value")


def ours(found, chapter, finding):
    """The models of this book that have a finding, with its value."""
    pairs = ((model, value(found, model, chapter, finding)) for model in WITHOUT_EMBEDDINGS)
    return {model: score for model, score in pairs if score is not None}


def short(model):
    """A model's name in a figure."""
    return model.removeprefix("published/")


def figure_2(found):
    """The best head's score against the number of parameters without embeddings, by the paper's own score."""
    table, half = reported.best_scores(), reported.cutoff()
    own = ours(found, FIRST, "paper_score")
    fig, ax = figures.panel(height=3.4)
    for family, color in FAMILY_COLORS.items():
        rows = table[table["family"] == family]
        sizes = [12 * SHAPES[model][0] * SHAPES[model][1] ** 2 for model in rows["model"]]
        ax.scatter(
            sizes,
            rows["score"],
            color=PALETTE[color],
            s=28,
            alpha=0.85,
            linewidths=0,
            label={"pythia": "Pythia", "gpt2": "GPT-2", "llama": "Llama"}[family],
        )
    ax.scatter(
        [WITHOUT_EMBEDDINGS[model] for model in own],
        list(own.values()),
        color=PALETTE["red"],
        marker="D",
        s=40,
        label="models of this book",
    )
    ax.axhline(half, color=figures.INK, linewidth=1, linestyle=":")
    ax.set(xscale="log", ylim=(0, 1.05), xlabel="parameters without embeddings", ylabel="score of the best head")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncol=4)
    below = int((table["score"] < half).sum())
    named = ", ".join(f"{short(model)} {score:.2f}" for model, score in own.items())
    return figures.Drawing(
        fig,
        alt=f"Scatter of {len(table)} models of the paper, {below} of them below the line at one half; models of this book: {named or 'none yet'}.",
        caption=f"Of the paper's {len(table)} models {below} have no head above its line at one half.",
        details=f"Figure 2, left, of version 1, measured from its points; two points of one size are two models of which it does not say which is which, and places are those of the published shapes. Models of this book by the same score: {named or 'none measured yet'}.",
    )


def figure_16(found):
    """Roman numerals as a list that nothing was chosen on."""
    theirs, own = reported.roman_numerals(), ours(found, THIRD, "roman_score")
    names = [*theirs["model"].str.replace("llama, two 7B models", "Llama, 7B"), *map(short, own)]
    scores = [*theirs["score"], *own.values()]
    fig, ax = figures.panel(height=0.26 * len(names) + 0.7, width=figures.NARROW)
    places = -np.arange(len(names))
    ax.scatter(scores, places, color=[PALETTE["blue"]] * len(theirs) + [PALETTE["red"]] * len(own), s=36, linewidths=0)
    ax.set(yticks=places, yticklabels=names, xlim=(-0.03, 1.03), xlabel="Roman numerals continued")
    ax.tick_params(axis="y", length=0)
    return figures.Drawing(
        fig,
        alt="Dots: " + ", ".join(f"{name} {score:.2f}" for name, score in zip(names, scores)) + ".",
        caption=f"Heads that were found on other lists continue most Roman numerals in {int((theirs['score'] > 0.5).sum())} of the paper's {len(theirs)} models.",
        details="Figure 16 of version 1, measured from its points; red: the best head of models of this book, strictly first among the numerals that their tokenizer holds as single tokens.",
    )


def figure_18():
    """The best head's score over training: the paper's models by steps, and the grown ones by theirs."""
    theirs, runs = reported.over_training(), observe.stored()
    early, late = reported.read()["figure_18a"]["rise_within_steps"]
    figs, (left, right) = figures.panels(2, height=2.9)
    for (model, rows), color in zip(theirs.groupby("model", sort=False), ("green", "blue", "orange")):
        left.plot(
            rows["step"],
            rows["score"],
            color=PALETTE[color],
            marker="o",
            markersize=3,
            label=model.replace("pythia-", "Pythia-").upper().replace("PYTHIA", "Pythia"),
        )
    grown = {name: runs[name]["curve"] for name in ("gpt2", "llama", "pythia")}
    for (name, curve), color in zip(grown.items(), ("green", "orange", "blue")):
        points = [point for point in curve if "macro" in point]
        right.plot(
            [point["step"] for point in points],
            [point["macro"] for point in points],
            color=PALETTE[color],
            label=f"grown/{name}",
        )
    left.set(title="the paper", xscale="log", ylim=(0, 1.05), xlabel="step", ylabel="score of the best head")
    right.set(
        title="this book",
        xscale="symlog",
        xlim=(0, None),
        ylim=(0, 1.05),
        xlabel="step",
        ylabel="macro of the best head",
    )
    left.legend(loc="lower right")
    right.legend(loc="upper left")
    half = {
        name: next((point["step"] for point in curve if point.get("macro", 0) > reported.cutoff()), None)
        for name, curve in grown.items()
    }
    reached = ", ".join(f"{name} at {step}" for name, step in half.items() if step is not None)
    ends = ", ".join(f"{name} {curve[-1]['macro']:.2f}" for name, curve in grown.items())
    return figures.Drawing(
        figs,
        alt=[
            "Three curves that rise within the first tens of thousands of steps and stay.",
            f"Three curves of grown models; at the end {ends}.",
        ],
        caption=f"The paper's models rise within the first {early:,} to {late:,} steps; of ours the score is first seen above one half at step: {reached}.",
        details="Left: Figure 18 of version 1, measured from its points. Right: the runs of chapter 6 that made the models of this book, by the macro score; a step of theirs is far smaller.",
    )


def figure_27(found):
    """The probe at each modulus, on lists never seen: the paper's, and the models of this book that have numbers."""
    theirs = reported.probe_by_modulus()
    fig, ax = figures.panel(height=3.0)
    ax.plot(theirs["modulus"], theirs["unseen"], color=PALETTE["grey"], marker="o", markersize=4, label="the paper")
    drawn = {}
    for model, color in zip(WITHOUT_EMBEDDINGS, ("blue", "green", "orange", "violet", "red")):
        rows = found.get(model, {}).get(THIRD, {}).get("tables", {}).get("probes", [])
        if len(rows) == len(theirs):
            ax.plot(
                [row["modulus"] for row in rows],
                [row["unseen"] for row in rows],
                color=PALETTE[color],
                linewidth=1.2,
                label=short(model),
            )
            drawn[model] = next(row["unseen"] for row in rows if row["modulus"] == 10)
    ax.axvline(10, color=figures.INK, linewidth=0.8, linestyle=":")
    ax.set(xlabel="modulus", ylabel="words of unseen lists read right", ylim=(0, 1.05), xticks=[2, 5, 10, 15, 20, 25])
    figures.label_lines(ax)
    at_ten = theirs.set_index("modulus").loc[10, "unseen"]
    named = ", ".join(f"{short(model)} {score:.2f}" for model, score in drawn.items())
    return figures.Drawing(
        fig,
        alt=f"Lines by modulus: at ten the paper has {at_ten:.2f}; {named or 'no model of this book measured yet'}.",
        caption=f"The paper's probe reads most of the words of unseen lists at modulus {int(theirs.loc[theirs['unseen'].idxmax(), 'modulus'])}; at ten it reads {at_ten:.2f}.",
        details=f"Figure 27 of version 1, measured from its points. By the same protocol, with numbers up to 200, at ten: {named or 'none measured yet'}. A tokenizer that splits numbers into digits cannot be asked at every modulus.",
    )
