"""What the disk tells of a file: stat data and what they prove, content and whether it is whole."""

# ruff: noqa: PTH116 - a `Path` for every file at every sweep costs more than its stat

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hamdev.content import SQLITE_LOG, content_digest, small_content
from hamdev.core.wholeness import MAX_BYTES, why_unfinished

# An event arrives milliseconds after its write. What looks older may be dated by another machine's
# clock, and says nothing about quietness.
_BELIEVED_AGE_S = 0.05
# What says nothing about the file, and passes.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE})

Stat = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Sight:
    """A file at one moment.

    Attributes:
        status: its stat data, from before it was read; None: no such file.
        digest: of its content; None: none.
        doubt: why it may be half written, as the end of "it …"; None if nothing speaks for that.
        is_unread: the system could not read it just now, so nobody knows what it holds.
    """

    status: Stat | None
    digest: str | None
    doubt: str | None
    is_unread: bool = False


class Eyes:
    """Looks at files; what a content was found to be is remembered until the next one."""

    def __init__(self) -> None:
        self._doubts: dict[str, tuple[str, str | None]] = {}

    def look(self, files: Iterable[str], known: Mapping[str, str | None]) -> dict[str, Sight]:
        """What `files` hold now.

        Args:
            files: paths.
            known: what they held when they were whole. Nothing that still is the same is doubted,
                and nothing of which nothing is known.
        """
        return {file: self._look(file, known) for file in files}

    def forget(self, files: Iterable[str]) -> None:
        """These will not be looked at any more."""
        for file in files:
            self._doubts.pop(file, None)

    def _look(self, file: str, known: Mapping[str, str | None]) -> Sight:
        # First stat, then read: if a write comes between, the stat data are those of an older
        # content, and the next sweep finds that they differ. The other way round it is lost.
        status = stat_of(file)
        content = small_content(file, MAX_BYTES)
        if content is None:
            digest = content_digest(file)
            if digest is None and status is not None and _is_unread(file):
                return Sight(status, None, None, is_unread=True)
            is_lost = digest is None and known.get(file) is not None
            return Sight(status, digest, "is gone" if is_lost else None)
        digest = hashlib.sha256(content).hexdigest()
        if known.get(file, digest) == digest:
            return Sight(status, digest, None)
        if (judged := self._doubts.get(file)) is None or judged[0] != digest:
            judged = self._doubts[file] = digest, why_unfinished(file, content)
        return Sight(status, digest, judged[1])


def _is_unread(file: str) -> bool:
    """Of a path without content: whether it is a file of which the system withheld that."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.errno in _SHORTAGES
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
    return is_file and not file.endswith(SQLITE_LOG)


def stat_of(file: str) -> Stat | None:
    """What tells one state of a file from another; None: no such file."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return (
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_ino,
        status.st_dev,
    )


def written_at(status: Stat | None, now: float, wall: float) -> float | None:
    """When a file was last written, on the clock of `now`; None if its time is of no use."""
    if status is None:
        return None
    age = wall - status[1] / 1e9
    return now - age if 0 <= age < _BELIEVED_AGE_S else None
