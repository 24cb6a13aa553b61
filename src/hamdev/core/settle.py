"""When is a save over? Hints and time in, settled files out; no clock of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class _Pending:
    """A file that waits; `needs_s` is how long it has to be quiet."""

    first: float
    quiet_since: float
    needs_s: float | None = None


class Settle:
    """Collects hints that files changed until they have been quiet for a while.

    Pending files settle together, so that a checkout of many files is one change. A file that was
    not quiet even at the cap is restless: it waits by itself and keeps nobody else waiting, until
    it has been quiet once.

    Args:
        settle_s: how long a file has to be quiet, in seconds.
        cap_s: how long the first hint waits at most, for files that never are quiet.
    """

    def __init__(self, settle_s: float, cap_s: float = 2.0) -> None:
        self.settle_s = settle_s
        self.cap_s = cap_s
        self._pending: dict[str, _Pending] = {}
        self._restless: set[str] = set()

    @property
    def pending(self) -> frozenset[str]:
        """Files that are waiting to be settled."""
        return frozenset(self._pending)

    @property
    def doubted(self) -> frozenset[str]:
        """Pending files that look unfinished."""
        return frozenset(f for f, waiting in self._pending.items() if waiting.needs_s is not None)

    def notice(self, file: str, now: float, written_at: float | None = None) -> None:
        """Take in a hint that `file` changed.

        Args:
            file: its path.
            now: the time of the hint, in seconds of any steady clock.
            written_at: when it was last written, on the same clock, if that is known. The hint
                arrives later than the write, and the file has been quiet since.
        """
        quiet_since = now if written_at is None else min(written_at, now)
        waiting = self._pending.get(file)
        if waiting is None:
            self._pending[file] = _Pending(now, quiet_since)
        elif quiet_since > waiting.quiet_since:
            waiting.quiet_since = quiet_since
            waiting.needs_s = None

    def doubt(self, file: str, quiet_s: float) -> None:
        """What `file` holds looks unfinished: unless it is written again, it needs longer."""
        if (waiting := self._pending.get(file)) is not None:
            waiting.needs_s = max(quiet_s, self.settle_s)

    def forget(self, files: Iterable[str]) -> None:
        """Nobody waits for these any longer."""
        for file in files:
            self._pending.pop(file, None)
            self._restless.discard(file)

    def quiet_since(self) -> float | None:
        """The latest write of a pending file that is known; None if nothing is pending."""
        return max((waiting.quiet_since for waiting in self._pending.values()), default=None)

    def due_at(self) -> float | None:
        """When files settle; None if nothing is pending."""
        dues = [self._due_of(file) for file in self._pending if file in self._restless]
        if (together := self._due_together()) is not None:
            dues.append(together)
        return min(dues, default=None)

    def due(self, now: float) -> frozenset[str]:
        """The files that have settled; they stay pending until they are taken."""
        together = self._due_together()
        is_over = together is not None and now >= together
        return frozenset(
            file
            for file in self._pending
            if (now >= self._due_of(file) if file in self._restless else is_over)
        )

    def take(self, now: float, files: Iterable[str]) -> frozenset[str]:
        """Those of `files` that have settled; they are no longer pending then."""
        taken = self.due(now).intersection(files)
        for file in taken:
            if now < self._quiet_at(file):
                self._restless.add(file)
            else:
                self._restless.discard(file)
            del self._pending[file]
        return taken

    def _due_together(self) -> float | None:
        calm = [file for file in self._pending if file not in self._restless]
        if not calm:
            return None
        capped = min(self._pending[file].first for file in calm) + self.cap_s
        return min(max(map(self._quiet_at, calm)), capped)

    def _due_of(self, file: str) -> float:
        return min(self._quiet_at(file), self._pending[file].first + self.cap_s)

    def _quiet_at(self, file: str) -> float:
        waiting = self._pending[file]
        needs_s = self.settle_s if waiting.needs_s is None else waiting.needs_s
        return waiting.quiet_since + needs_s
