"""The one error that a reader is meant to see."""

NO_DOCSTRINGS = (
    "Python was started without docstrings (by -OO or PYTHONOPTIMIZE=2), and transformers cannot do without them: leave "
    "that out."
)


class UserError(Exception):
    """One sentence that says what is wrong and what to do; the command line prints it and exits with 2."""
