"""How Snakemake is called, whoever calls it: for a book or for a sweep."""

import fcntl
import getpass
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_cache_path

from successor_heads.errors import UserError

# What tools keep for themselves while they build.
HOME = Path("_build/home")
# Checksums for whatever a job hands to the next one, however large, so that a touched file redoes nothing.
OPTIONS = ["--nolock", "--keep-going", "--rerun-incomplete", "--max-checksum-file-size", "10GB", "--quiet", "all"]
# What Snakemake says of a job that failed: the job itself has said it better.
OF_A_JOB = ("returned non-zero exit status", "At least one job did not complete successfully")


def whole_number(name, text, *, least=1):
    """The number that a person has given for `name`. Raises UserError for another text."""
    if not (str(text).isdecimal() and int(text) >= least):
        raise UserError(f"{name} is '{text}': give a whole number, {least} or more.")
    return int(text)


def take_lock():
    """Hold _build/lock until this process ends; returns the open file. Raises UserError where that cannot be."""
    lock = Path("_build/lock")
    try:
        lock.parent.mkdir(exist_ok=True)
        held = lock.open("w")
    except OSError as error:
        raise UserError(
            f"{lock.absolute()} cannot be written ({error.strerror}): the book is built in its own folder, so copy it to "
            "where you may write."
        ) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError("Another build is running in this folder: wait for it to end, or stop it.") from None
    except OSError as error:  # as on some network drives
        raise UserError(f"{lock} cannot be locked ({error.strerror}): build on a disk of this machine.") from error
    return held


def settle_in():
    """Give the tools that build a place of their own, and spare the chapters what a person has set up for other work.

    Not every user has a name, a home folder, or one that can be written to; and start-up files, styles and switches of
    Python would have a say in the book. Models that lie in such a home are found all the same.
    """
    own = HOME.absolute()
    for variable, name in {
        "IPYTHONDIR": "ipython",
        "JUPYTER_RUNTIME_DIR": "jupyter",
        "MPLCONFIGDIR": "matplotlib",
    }.items():
        (own / name).mkdir(parents=True, exist_ok=True)
        os.environ[variable] = str(own / name)
    for variable in ("PYTHONSTARTUP", "PYTHONOPTIMIZE", "MPLBACKEND"):
        os.environ.pop(variable, None)
    try:
        getpass.getuser()
    except (KeyError, OSError):  # in a container, say, that runs under a number to which no user belongs
        os.environ["LOGNAME"] = str(os.getuid())
    try:
        has_home = all(map(_can_be_written, (Path.home(), user_cache_path())))
        for variable, folder in {
            "HF_HOME": user_cache_path("huggingface"),
            "SUCCESSOR_HEADS_CACHE": user_cache_path("successor-heads"),
        }.items():
            if not has_home and folder.is_dir():
                os.environ.setdefault(variable, str(folder))
    except RuntimeError:
        has_home = False
    if not has_home:
        os.environ["HOME"] = str(own)


def _can_be_written(folder):
    """Whether a folder is, or could be made, where this user may write."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK)


@dataclass
class Ended:
    """What came of a call: the exit status, (model's folder, chapter) of the jobs that were begun, and what kept Snakemake itself."""

    status: int = 0
    begun: list[tuple[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def note(self, record):
        """Note one of the messages that `--quiet all` keeps from the screen."""
        event, text = getattr(record, "event", None), record.getMessage()
        if event == "job_info" and "slug" in (record.wildcards or {}):
            self.begun.append((record.wildcards["slug"], record.wildcards.get("chapter", "score")))
        if event == "error" and not any(words in text for words in OF_A_JOB):
            self.errors.append(text.strip())
        return True

    def why(self):
        """What kept Snakemake from going on, in a sentence; "" where jobs alone have failed."""
        if not self.errors:
            return ""
        lines = [line.strip() for line in self.errors[0].splitlines() if not line.startswith("  File ")]
        told = lines[-1:] if lines[0].startswith("Traceback") else lines
        return f"The build could not go on: {' '.join(told)[:500].rstrip('.')}."


def run(arguments):
    """Call Snakemake with these arguments, in this process; returns what came of it."""
    settle_in()
    from snakemake.cli import main  # here, for it looks for the user's home when it is imported

    ended, messages = Ended(), logging.getLogger("snakemake.logging")
    messages.addFilter(ended.note)
    try:
        main(arguments)
    except SystemExit as stopped:
        ended.status = int(stopped.code or 0)
    finally:
        messages.removeFilter(ended.note)
    return ended
