"""How far long work is and what time is left, in the terminal: also inside a notebook's cell that a build runs.

A build names a file in the environment, see `VARIABLE`, and shows what is written there; the cell's output stays clean.
"""

import os
from collections.abc import Iterable

import tqdm

VARIABLE = "SUCCESSOR_HEADS_PROGRESS"
SECONDS = 5.0  # between two lines of a build, and before the first


def bar(steps: Iterable | None = None, *, name: str, total: int | None = None) -> tqdm.std.tqdm:
    """A tqdm bar over the steps, or of `total` that is moved on by `update`; it leaves nothing behind."""
    path = os.environ.get(VARIABLE)
    if path is None:
        from tqdm.auto import tqdm as bar_of_this_place  # in Jupyter a widget

        return bar_of_this_place(steps, desc=name, total=total, delay=2, leave=False)
    return tqdm.tqdm(
        steps,
        desc=name,
        total=total,
        leave=False,
        file=open(path, "a", encoding="utf8"),  # closed when the bar is forgotten
        bar_format="{desc}: {n_fmt} of {total_fmt} after {elapsed}, {remaining} left\n",
        mininterval=SECONDS,
        delay=SECONDS,
    )
