"""How Snakemake is called, whoever calls it: for a book or for a sweep."""

import fcntl
from pathlib import Path

# Checksums for whatever a job hands to the next one, however large, so that a touched file redoes nothing.
OPTIONS = ["--nolock", "--keep-going", "--rerun-incomplete", "--max-checksum-file-size", "10GB", "--quiet", "all"]


def take_lock():
    """Hold _build/lock until this process ends; returns the open file, or None where another build holds it."""
    Path("_build").mkdir(exist_ok=True)
    lock = open("_build/lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return lock
