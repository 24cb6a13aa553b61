"""What user code printed, in few lines and bounded memory, without what would steer a terminal."""

from __future__ import annotations

import re
from collections import deque

from hamdev.clients.render import printable

FIRST_LINES = 8
LAST_LINES = 4
# Of one run.
MAX_PRINTING_NODES = 6
MAX_LINE = 500
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")


class Printed:
    """The first and last lines that one node printed, or that were printed while loading.

    Args:
        node: which one; None if that is not known, or a module was being loaded.
    """

    def __init__(self, node: str | None) -> None:
        self.node = node
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._count = 0
        self._shown = 0

    def add(self, text: str) -> None:
        """Take in more of it."""
        # A flood comes in pieces of a megabyte; only their ends will be seen.
        lines = text.split("\n")
        if lines and not lines[-1]:
            lines.pop()
        self._count += len(lines)
        room = FIRST_LINES - len(self._first)
        self._first += map(cleaned, lines[:room])
        self._last.extend(map(cleaned, lines[room:][-LAST_LINES:]))

    @property
    def last(self) -> str:
        """The last line."""
        return self._last[-1] if self._last else self._first[-1] if self._first else ""

    @property
    def is_begun(self) -> bool:
        """Whether its first lines have been shown already."""
        return self._shown > 0

    @property
    def is_shown(self) -> bool:
        """Whether all of it has been."""
        return self._shown == self._count

    def show(self) -> list[str]:
        """Those of the first lines that have not been shown; from now on they have."""
        new = self._first[self._shown :]
        self._shown = len(self._first)
        return new

    def lines(self) -> tuple[list[str], int, list[str]]:
        """The first lines, unless they have been shown, how many are left out, and the last."""
        left_out = self._count - len(self._first) - len(self._last)
        return self._first[self._shown :], left_out, list(self._last)


def cleaned(line: str) -> str:
    """One printed line as it would stand there in the end: progress bars print over themselves."""
    line = line[-20 * MAX_LINE :].rstrip("\r").rpartition("\r")[2]
    line = printable(_ESCAPES.sub("", line).expandtabs(8))
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"
