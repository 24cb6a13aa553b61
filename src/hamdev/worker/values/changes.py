"""Changes as they are found, and what is told of them in the end: the most telling ones first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from msgspec import structs

from hamdev.messages import Change, Diff
from hamdev.wire import to_json
from hamdev.worker.values.words import clipped, one_line

MAX_BYTES = 2048
MAX_LINE = 160
MAX_CHANGES = 30
MAX_NAMED = 3
_MAX_TEXT = 150
_MAX_VALUE = 60
_MAX_NAME = 80


class Rank(IntEnum):
    """What people want to know first."""

    TYPE = 0
    SIZE = 1
    MEMBER = 2
    TYPE_OF_PART = 3
    VALUE = 4
    NULLS = 5
    STATISTIC = 6
    DETAIL = 7
    INDEX = 8
    ORDER = 9


class Changes:
    """All changes that were found in one value.

    Attributes:
        sampled: if not all of it was looked at: how many rows or items were.
    """

    def __init__(self) -> None:
        self._found: list[tuple[int, float, int, Change]] = []
        self._uncounted = 0
        self._demotion = 0
        self.sampled: int | None = None

    def __len__(self) -> int:
        return len(self._found) + self._uncounted

    def add(
        self,
        rank: Rank,
        kind: str,
        text: str,
        name: str = "",
        before: str | None = None,
        after: str | None = None,
        effect: float = 0.0,
    ) -> None:
        """Note a change.

        Args:
            rank: how telling changes of its sort are.
            kind: as `Change` has it.
            text: what a person would say.
            name: of the part that has changed.
            before, after: what it was and is, as text.
            effect: among changes of one rank, larger ones come first.
        """
        if len(self._found) >= 10 * MAX_CHANGES:
            self._uncounted += 1
            return
        change = Change(
            kind=kind,
            text=one_line(text, _MAX_TEXT),
            name=clipped(name, _MAX_NAME) or None,
            before=None if before is None else one_line(before, _MAX_VALUE),
            after=None if after is None else one_line(after, _MAX_VALUE),
        )
        self._found.append((rank + self._demotion, -effect, len(self._found), change))

    @contextmanager
    def demoted(self) -> Iterator[None]:
        """What is noted while it is open comes after everything else."""
        self._demotion += len(Rank)
        try:
            yield
        finally:
            self._demotion -= len(Rank)

    def note_sample(self, size: int) -> None:
        """Only so many rows or items were looked at."""
        self.sampled = size if self.sampled is None else min(size, self.sampled)

    def diff(self) -> Diff | None:
        """What is told of them; None if there are none."""
        if not self._found:
            return None
        ordered = [change for *_, change in sorted(self._found, key=lambda found: found[:3])]
        count = len(self)
        diff = Diff(
            text=_line([change.text for change in ordered[:MAX_NAMED]], count),
            changes=ordered[:MAX_CHANGES],
            sampled=self.sampled,
        )
        # `since` is still to come, and takes a few bytes too.
        while len(to_json(diff)) > MAX_BYTES - 32:
            diff = structs.replace(diff, changes=diff.changes[: len(diff.changes) * 3 // 4])
        return diff


def _line(texts: list[str], count: int) -> str:
    """The first of them in one line, and how many more there are."""
    for shown in range(len(texts), 0, -1):
        more = f" and {count - shown:,} more" if count > shown else ""
        line = ", ".join(texts[:shown])
        if len(line) + len(more) <= MAX_LINE:
            return line + more
    more = f" and {count - 1:,} more" if count > 1 else ""
    return clipped(texts[0], MAX_LINE - len(more)) + more
