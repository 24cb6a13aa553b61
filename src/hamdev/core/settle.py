"""When is a save over? Hints and time in, settled files out; no clock of its own."""

from __future__ import annotations


class Settle:
    """Collects hints that files changed until all of them have been quiet for a while.

    All pending files settle together, so that a checkout of many files is one change.

    Args:
        settle_s: how long a file has to be quiet, in seconds.
        cap_s: how long the first hint waits at most, for files that never are quiet.
    """

    def __init__(self, settle_s: float, cap_s: float = 2.0) -> None:
        self.settle_s = settle_s
        self.cap_s = cap_s
        self._quiet_since: dict[str, float] = {}
        self._first: float | None = None

    @property
    def pending(self) -> frozenset[str]:
        """Files that are waiting to be settled."""
        return frozenset(self._quiet_since)

    def notice(self, file: str, now: float, written_at: float | None = None) -> None:
        """Take in a hint that `file` changed.

        Args:
            file: its path.
            now: the time of the hint, in seconds of any steady clock.
            written_at: when it was last written, on the same clock, if that is known. The hint
                arrives later than the write, and the file has been quiet since.
        """
        quiet_since = now if written_at is None else min(written_at, now)
        self._quiet_since[file] = max(quiet_since, self._quiet_since.get(file, quiet_since))
        if self._first is None:
            self._first = now

    def due_at(self) -> float | None:
        """When to call `take`; None if nothing is pending."""
        if self._first is None:
            return None
        quiet = max(self._quiet_since.values()) + self.settle_s
        return min(quiet, self._first + self.cap_s)

    def take(self, now: float) -> frozenset[str]:
        """All files if they have settled, no longer pending then; none if it is too early."""
        due = self.due_at()
        if due is None or now < due:
            return frozenset()
        settled = self.pending
        self._quiet_since.clear()
        self._first = None
        return settled
