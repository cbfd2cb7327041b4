"""How far long work is and what time is left, in the terminal: also inside a notebook's cell that a build runs.

A build names a file in the environment, see `VARIABLE`, and shows what is written there; the cell's output stays clean.
And whatever is printed, a closed pipe or a full disk does not end the work: see `unfailing_output`.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

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


class Unfailing:
    """A text stream on which printing never fails. What it did not take is in `unsaid`, and why in `error`."""

    def __init__(self, stream: Any):
        self.stream, self.unsaid = stream, ""
        self.error: Exception | None = None

    def write(self, text: str) -> int:
        """Print; a character that the stream's encoding lacks is written as its code."""
        if self.error is None:
            try:
                self.stream.write(text)
                self.stream.flush()  # or a failure would come at the end of the process, and of something else's text
                return len(text)
            except UnicodeEncodeError:
                return self.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except (OSError, ValueError) as error:  # ValueError: it is closed
                self.error = error
        self.unsaid += text
        return len(text)

    def flush(self) -> None:
        """Nothing is left to do: `write` does it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def unfailing_output() -> Iterator[tuple[Any, Any]]:
    """Within it, what a closed pipe, a full disk or an encoding refuses ends no work; gives (stdout, stderr)."""
    before = sys.stdout, sys.stderr
    # Of a stream that was closed before the start, there is None.
    within: list[Any] = [stream and Unfailing(stream) for stream in before]
    sys.stdout, sys.stderr = within
    try:
        yield within[0], within[1]
    finally:
        sys.stdout, sys.stderr = before
        for stream in within:
            if stream is not None and stream.error is not None:
                # Python writes what is left when it ends, and would fail again.
                with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                    os.dup2(nowhere.fileno(), stream.fileno())
