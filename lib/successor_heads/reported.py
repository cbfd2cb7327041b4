"""What the paper reports (arXiv 2312.09230, version 1), from a data file, so that no figure of it is typed.

::

    reported.read()["named_head"]["head"]        # "L12H0"
    reported.best_scores()                       # Figure 2, left, one row a model

Every entry has a mark: T, it stands in the text; V, measured from the coordinates of a vector figure, names of models
inferred from the axis; R, read by eye from a raster figure; I, inferred.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd


@cache
def read() -> dict[str, Any]:
    """All that is reported, by figure or section of version 1."""
    return json.loads((files("successor_heads") / "reported.json").read_text(encoding="utf8"))


def best_scores() -> pd.DataFrame:
    """The best head's successor score of each model (Figure 2, left): family, model, score.

    Points that share a name are models of one size, of which the figure does not say which is which.
    """
    figure = read()["figure_2_left"]
    rows = [
        (family, model, score)
        for family in ("pythia", "gpt2", "llama")
        for model, scores in figure[family].items()
        for score in scores
    ]
    return pd.DataFrame(rows, columns=["family", "model", "score"])


def cutoff() -> float:
    """The score above which the paper calls a head a successor head."""
    return read()["figure_2_left"]["cutoff"]


def by_task(model: str) -> dict[str, float]:
    """The best head's score in each task of one of the three models of Figure 2, right."""
    figure = read()["figure_2_right"]
    return dict(zip(figure["tasks"], figure[model]))
