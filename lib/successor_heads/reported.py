"""What the paper reports (arXiv 2312.09230, version 1), from a data file, so that no figure of it is typed.

::

    reported.read()["named_head"]["head"]                  # "L12H0"
    reported.cell("sae", "{modal_share:.1%} of its class")   # "58.5% of its class (sections 3.2 and 3.3)"
    reported.best_scores()                                 # Figure 2, left, one row a model

Every entry says where in version 1 it stands and has a mark: T, it stands in the text; V, measured from the coordinates
of a vector figure, names of models inferred from the axis; R, read by eye from a raster figure; I, inferred. What
later work adds has a `source`, by its key in the bibliography.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

SAID = {"T": "", "V": ", measured", "R": ", by eye", "I": ", inferred"}  # of each mark, behind the place


@cache
def read() -> dict[str, Any]:
    """All that is reported, by figure or section of version 1."""
    return json.loads((files("successor_heads") / "reported.json").read_text(encoding="utf8"))


def cell(key: str, text: str, *, where: str | None = None, mark: str | None = None) -> str:
    """A cell "as reported": `text` filled in from the entry `key`, and where it stands.

    `text` is a format of the entry's fields, such as ``"{right} of {of}"`` or ``"{ticks[20-29][0]}"``. Give `where` or
    `mark` where an entry gathers figures of several places. Raises KeyError for an entry or a field that is not there.
    """
    entry = read()[key]
    return f"{text.format(**entry)} ({where or entry['where']}{SAID[mark or entry['mark']]})"


# As the models are called; where the figure names several by one size, all have it. In millions.
PARAMETERS = {
    "14m": 14, "31m": 31, "70m": 70, "160m": 160, "410m": 410, "1b": 1000, "1.4b": 1400, "2.8b": 2800, "6.9b": 6900, "12b": 12000,
    "42M parameters (distilgpt2 by its place)": 82, "small, six models": 124, "medium, six models": 355, "large": 774, "xl": 1558,
    "7b, two models, unlabelled": 6700,
}  # fmt: skip  # one table


def best_scores() -> pd.DataFrame:
    """The best head's successor score of each model (Figure 2, left): family, model, score, parameters with embeddings.

    Points that share a name are models of one size, of which the figure does not say which is which.
    """
    figure = read()["figure_2_left"]
    rows = [
        (family, model, score, 1_000_000 * PARAMETERS[model])
        for family in ("pythia", "gpt2", "llama")
        for model, scores in figure[family].items()
        for score in scores
    ]
    return pd.DataFrame(rows, columns=["family", "model", "score", "parameters"])


def cutoff() -> float:
    """The score above which the paper calls a head a successor head."""
    return read()["figure_2_left"]["cutoff"]


def by_task(model: str) -> dict[str, float]:
    """The best head's score in each task of one of the three models of Figure 2, right."""
    figure = read()["figure_2_right"]
    return dict(zip(figure["tasks"], figure[model]))


def probe_by_modulus() -> pd.DataFrame:
    """The probe's accuracy at each modulus (Figure 27): modulus, on numbers held out, on unseen lists."""
    rows = [(int(modulus), *scores) for modulus, scores in read()["figure_27"]["moduli"].items()]
    return pd.DataFrame(rows, columns=["modulus", "validation", "unseen"])


def over_training() -> pd.DataFrame:
    """The best head's score over the steps of training (Figure 18): model, step, score."""
    figure = read()["figure_18a"]
    rows = [
        (model, step, score)
        for model, scores in figure.items()
        if model.startswith("pythia")
        for step, score in zip(figure["steps"], scores)
    ]
    return pd.DataFrame(rows, columns=["model", "step", "score"])


def roman_numerals() -> pd.DataFrame:
    """The best head's score on Roman numerals, a list held out (Figure 16): model, score."""
    entry = read()["figure_16"]
    rows = [
        (model, score)
        for model, values in entry.items()
        if model not in ("mark", "what", "where")
        for score in (values if isinstance(values, list) else [values])
    ]
    return pd.DataFrame(rows, columns=["model", "score"])


def wild() -> dict[str, Any]:
    """What is reported of the named head in text (section 4): contexts, winning cases, loss reduced, numbered lists."""
    return read()["wild"]


def winning_cases() -> dict[str, float]:
    """Shares of the named head's winning cases by behaviour; 0 where the paper says negligible."""
    shares = wild()["winning_cases_percent"]
    return {name.replace("_", "-"): 0.0 if share == "negligible" else share / 100 for name, share in shares.items()}


def loss_shares(path: str, kind: str) -> dict[str, float]:
    """Shares of the loss that the named head reduces, by behaviour: by path (direct, indirect, total) and ablation (mean, resample)."""
    if (path, kind) == ("direct", "mean"):
        shares = wild()["loss_reduction_percent"]
    else:
        others = wild()["other_effects_percent"]
        shares = dict(zip(others["columns"], others[f"{path}_{kind}"]))
    return {name.replace("_", "-"): share / 100 for name, share in shares.items()}
