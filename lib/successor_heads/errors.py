"""The one error that a reader is meant to see."""


class UserError(Exception):
    """One sentence that says what is wrong and what to do; the command line prints it and exits with 2."""
