"""Which files a node reads and writes, as far as Python's audit events and plain paths tell.

`open`, `sqlite3.connect` and directory listings raise audit events. Readers in C, C++ or Rust
(polars, pyarrow, duckdb) do not, so what `Candidates` finds counts as read too.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hamdev.content import Signature, content_digest, signature
from hamdev.pipeline.observe import current_node

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_LISTINGS = frozenset({"os.listdir", "os.scandir"})
_NOT_DATA = ("/dev/", "/proc/", "/sys/", "<")


_own = threading.local()


@contextlib.contextmanager
def unobserved() -> Iterator[None]:
    """What this thread opens while the block is open is opened by nobody's node."""
    before = getattr(_own, "is_on", False)
    _own.is_on = True
    try:
        yield
    finally:
        _own.is_on = before


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as a node found it.

    Attributes:
        signature: None if it was not there.
        digest: of the content; None if it was not there, or is not known any more since it had
            changed by the time it was looked at.
    """

    signature: Signature | None
    digest: str | None

    def is_same(self, path: str) -> bool:
        """Whether the path still holds this content."""
        present = signature(path)
        if present == self.signature:
            return True
        if self.digest is None:
            return False
        with unobserved():
            return content_digest(path) == self.digest


@dataclass(slots=True)
class Accesses:
    """What was opened while a node ran.

    Attributes:
        read: path → what it was when it was opened.
        opened: paths that were seen to be opened; the others only go by their names.
        written: paths that it wrote, or may have written.
    """

    read: dict[str, Signature | None] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)


class FileReads:
    """Watches what nodes open; the audit hook stays for the life of the process.

    Args:
        is_code: whether a path is one of the loaded modules, whose text counts as code.
    """

    def __init__(self, is_code: Callable[[str], bool]) -> None:
        self._is_code = is_code
        self._running: dict[str, Accesses] = {}
        self._written: set[str] = set()
        self._changing: set[tuple[str, str]] = set()
        paths = sysconfig.get_paths()
        libraries = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
        self._ignored = (*_NOT_DATA, *(f"{os.path.realpath(p)}{os.sep}" for p in libraries))
        sys.addaudithook(self._on_event)

    def begin_run(self) -> None:
        """Forget what was written in earlier runs."""
        self._running.clear()
        self._written.clear()

    def begin(self, node: str, candidates: Iterable[str]) -> None:
        """A node is about to run; `candidates` are paths that it may read unseen."""
        accesses = self._running[node] = Accesses()
        for path in candidates:
            if not self._is_code(path):
                accesses.read[path] = signature(path)

    def end(self, node: str, candidates: Iterable[str]) -> dict[str, FileState]:
        """The node has run; what it read, without what it wrote itself."""
        accesses = self._running.pop(node, None)
        if accesses is None:
            return {}
        for path in candidates:
            if path not in accesses.read or path in accesses.opened:
                continue
            # Nobody says who wrote it meanwhile. What changes whenever the node runs is its own.
            has_changed = signature(path) != accesses.read[path]
            if has_changed and (node, path) in self._changing:
                accesses.written.add(path)
            elif has_changed:
                self._changing.add((node, path))
        self._written |= accesses.written
        return {
            path: _state(path, found, path in self._written)
            for path, found in accesses.read.items()
            if path not in accesses.written and not self._is_code(path)  # imported just now
        }

    @property
    def written(self) -> set[str]:
        """The paths that nodes of this run wrote to."""
        return set(self._written)

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            is_writing = bool(flags & _WRITING) if isinstance(flags, int) else False
            if isinstance(mode, str) and not is_writing:
                is_writing = any(letter in mode for letter in "wax+")
        elif event in _LISTINGS or event == "sqlite3.connect":
            path, is_writing = arguments[0], False
        else:
            return
        if not self._running or getattr(_own, "is_on", False):
            return
        try:
            self._note(path, is_writing)
        except Exception:
            return  # it must not disturb the program that opens a file

    def _note(self, path: Any, is_writing: bool) -> None:
        if path is None:
            path = "."
        if isinstance(path, int):
            return
        text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # not `resolve`: see `candidates`
        if text.startswith(self._ignored) or "__pycache__" in text or self._is_code(text):
            return
        if _is_special(text):
            return
        node = current_node.get()
        # In a thread of the user's own, any node that runs may be the one.
        known = self._running.get(node) if node is not None else None
        concerned = [known] if known is not None else list(self._running.values())
        for accesses in concerned:
            if is_writing:
                accesses.written.add(text)
            else:
                accesses.read.setdefault(text, signature(text))
                accesses.opened.add(text)


def _is_special(path: str) -> bool:
    """Whether it is a pipe, a socket or a device: what comes out of it is no content."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  # asked at every `open` of a user's
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _state(path: str, found: Signature | None, is_written: bool) -> FileState:
    now = signature(path)
    if now != found and not is_written:
        return FileState(found, None)
    with unobserved():
        return FileState(now, content_digest(path))
