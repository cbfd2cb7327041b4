"""Limits of time and memory for the processes that this one starts. What goes over them is killed, and it is said why.

Memory is what the processes hold, not what they have reserved: torch reserves far more than it ever touches, so the
system's own limit (`ulimit -v`) would stop chapters that do no harm. A second or so late is early enough.
"""

import threading
import time
from contextlib import suppress

import psutil

SECONDS_BETWEEN_LOOKS = 0.25


class LimitExceeded(Exception):
    """What was killed here, and why."""


class Limits:
    """While this context is open, child processes that pass a limit are killed; `exceeded` then says which. Nought is no limit."""

    def __init__(self, *, minutes=0, memory_mb=0):
        self.minutes, self.memory_mb = minutes, memory_mb
        self.exceeded = None
        self._closed = threading.Event()

    def __enter__(self):
        self._started = time.monotonic()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_):
        self._closed.set()
        self._watcher.join()

    def _watch(self):
        while not self._closed.wait(SECONDS_BETWEEN_LOOKS):
            if self.exceeded is None:
                self.exceeded = self._broken()
            if self.exceeded is not None:  # again and again, for what was being started meanwhile
                kill_children()

    def _broken(self):
        if self.minutes and time.monotonic() - self._started > 60 * self.minutes:
            return LimitExceeded(f"stopped after {self.minutes:g} minutes, the limit for one chapter")
        if self.memory_mb and memory_of_children() > self.memory_mb * 1_000_000:
            return LimitExceeded(
                f"stopped when it held more than {self.memory_mb / 1000:g} GB, the limit for one chapter"
            )
        return None


def children():
    """Every process started by this one, and by those."""
    return psutil.Process().children(recursive=True)


def memory_of_children():
    """Bytes that they hold at this moment."""
    held = 0
    for child in children():
        with suppress(psutil.NoSuchProcess):
            held += child.memory_info().rss
    return held


def kill_children():
    for child in children():
        with suppress(psutil.NoSuchProcess):
            child.kill()
