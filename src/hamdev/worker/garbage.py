"""When this process looks for garbage: not while somebody waits for a value.

A full collection walks everything that was ever loaded: a large project's syntax trees and nodes
make that hundreds of milliseconds. So what is there to stay is frozen, which takes it out of later
collections, and the time between a save and its first node goes without any.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# How long nothing has been asked for before time is taken for it.
IDLE_S = 0.2
# Frozen cycles are found by the next sweep only, so there has to be one now and then.
_RUNS = 20


@contextmanager
def uncollected() -> Iterator[None]:
    """While it is open, nothing is collected."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def leave_out() -> None:
    """Leave all that there is now out of collections until the next `settle`."""
    gc.freeze()


def settle() -> None:
    """Collect everything once, and leave out what is left from then on."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class Sweeps:
    """Knows when it is time to `settle` again."""

    def __init__(self) -> None:
        self._generation = 0
        self._runs = _RUNS - 1  # the first run loads more than any other

    def note_run(self, generation: int) -> None:
        """A run has ended.

        Args:
            generation: grows whenever modules were loaded as a whole.
        """
        self._runs = _RUNS if generation != self._generation else self._runs + 1
        self._generation = generation

    @property
    def is_due(self) -> bool:
        """Whether it should be done as soon as there is time."""
        return self._runs >= _RUNS

    def settle(self) -> None:
        """Do it."""
        settle()
        self._runs = 0
