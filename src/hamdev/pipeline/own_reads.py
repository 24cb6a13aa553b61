"""Files that are read for hamdev's own sake: user code does not notice, nor do its locks.

When a process closes a file, the kernel drops all POSIX locks that it holds on it, through any
descriptor: a transaction of SQLite would lose its lock because its database was hashed. The locks
belong to a table of descriptors, though, and on Linux a thread can have one of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import sys
import threading
from collections.abc import Iterator

from hamdev.content import content_digest

_CLONE_FILES = 0x400
_OPEN = "/proc/thread-self/fd"

_own = threading.local()


@contextlib.contextmanager
def unobserved() -> Iterator[None]:
    """What this thread opens while the block is open is of no concern to the user's code."""
    before = is_unobserved()
    _own.is_on = True
    try:
        yield
    finally:
        _own.is_on = before


def is_unobserved() -> bool:
    """Whether this thread is opening files for hamdev's own sake."""
    return getattr(_own, "is_on", False)


def digest_of(path: str) -> str | None:
    """As `content_digest` says it."""
    if _reader is not None and _reader.is_apart and not sys.is_finalizing():
        return _reader.digest(path)
    with unobserved():
        return content_digest(path)


def keep_locks() -> None:
    """From now on digests leave the locks of this process alone, where the system allows it."""
    global _reader  # locks are of the whole process
    if _reader is None and sys.platform.startswith("linux"):
        _reader = _Reader()


class _Reader:
    """A thread that reads files with descriptors of its own.

    Attributes:
        is_apart: False if the system does not allow that, or in a child that user code forked,
            which has neither the thread nor the locks.
    """

    def __init__(self) -> None:
        self.is_apart = False
        self._asked: queue.SimpleQueue[tuple[str, queue.SimpleQueue[str | None]]]
        self._asked = queue.SimpleQueue()
        is_ready = threading.Event()
        threading.Thread(
            target=self._serve, args=(is_ready,), name="hamdev files", daemon=True
        ).start()
        is_ready.wait()
        os.register_at_fork(after_in_child=self._forget)

    def digest(self, path: str) -> str | None:
        answer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._asked.put((path, answer))
        return answer.get()

    def _serve(self, is_ready: threading.Event) -> None:
        with unobserved():
            self.is_apart = _has_own_descriptors()
            is_ready.set()
            while self.is_apart:
                path, answer = self._asked.get()
                try:
                    answer.put(content_digest(path))
                except BaseException:  # out of memory, say; whoever asks must not wait for ever
                    answer.put(None)

    def _forget(self) -> None:
        self.is_apart = False


_reader: _Reader | None = None


def _has_own_descriptors() -> bool:
    """Give this thread a table of its own, with nothing in it; False if that is not allowed."""
    if ctypes.CDLL(None).unshare(_CLONE_FILES):
        return False
    # Copies of pipes and sockets would keep their other ends from hearing that they were closed.
    for name in os.listdir(_OPEN):  # noqa: PTH208  # names alone are wanted
        with contextlib.suppress(OSError):
            os.close(int(name))
    return True
