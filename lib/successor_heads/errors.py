"""The one error that a reader is meant to see."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

NO_DOCSTRINGS = (
    "Python was started without docstrings (by -OO or PYTHONOPTIMIZE=2), and transformers cannot do without them: leave "
    "that out."
)


class UserError(Exception):
    """One sentence that says what is wrong and what to do; the command line prints it and exits with 2."""


def check_seed(seed: int) -> None:
    """Refuse a seed that a random generator cannot take. Raises UserError."""
    if not 0 <= seed < 2**63:
        raise UserError(f"The seed {seed} is out of range: choose a whole number from 0 to 2**63 - 1.")


@contextmanager
def told() -> Iterator[None]:
    """Around a program: what the reader did wrong is told in its one sentence, and the program exits with 2."""
    try:
        yield
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


class Disconnected(UserError):
    """The one failure after which an interrupted run is worth keeping."""
