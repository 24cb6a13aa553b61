"""Which files a node reads and writes, as far as Python's audit events and plain paths tell.

`open`, `sqlite3.connect` and directory listings raise audit events. Readers in C, C++ or Rust
(polars, pyarrow, duckdb) do not, so a path-like input, constant or module constant of a node that
names an existing file counts as read too.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

from hamdev.content import Signature, content_digest, signature
from hamdev.pipeline.observe import current_node

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_LISTINGS = frozenset({"os.listdir", "os.scandir"})
_MAX_PATH = 1024
_NOT_DATA = ("/dev/", "/proc/", "/sys/", "<")
_QUOTED = re.compile(r"""['"]([^'"\n]{1,1024})['"]""")


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
        written: paths that it wrote, or may have written.
    """

    read: dict[str, Signature | None] = field(default_factory=dict)
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
            # Nobody says who wrote it meanwhile; most likely the node that has its name.
            if path in accesses.read and signature(path) != accesses.read[path]:
                accesses.written.add(path)
        self._written |= accesses.written
        return {
            path: _state(path, found, path in self._written)
            for path, found in accesses.read.items()
            if path not in accesses.written
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
        text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # see `_file`
        if text.startswith(self._ignored) or "__pycache__" in text or self._is_code(text):
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


def _state(path: str, found: Signature | None, is_written: bool) -> FileState:
    now = signature(path)
    if now != found and not is_written:
        return FileState(found, None)
    with unobserved():
        return FileState(now, content_digest(path))


def candidate_paths(
    function: Any, constants: Iterable[Any], inputs: Mapping[str, Any]
) -> frozenset[str]:
    """Existing files that a node may read without Python noticing.

    Args:
        function: the node's own function.
        constants: what else its code refers to: module constants and helper functions.
        inputs: its inputs' values.
    """
    texts: set[str] = set()
    for value in (function, *constants, *inputs.values()):
        _collect(value, texts)
    found: set[str] = set()
    for text in texts:
        pieces = {text, *_QUOTED.findall(text)} if "'" in text or '"' in text else {text}
        found |= {path for piece in pieces if (path := _file(piece)) is not None}
    return frozenset(found)


def _file(text: str) -> str | None:
    if not 0 < len(text) <= _MAX_PATH or "\0" in text or not ("." in text or "/" in text):
        return None
    # Not `resolve`: what the node opens is the link, and that may lead elsewhere tomorrow.
    path = os.path.abspath(text)  # noqa: PTH100
    return path if os.path.isfile(path) else None  # noqa: PTH113  # Path's raises if it is too long


def _collect(value: Any, texts: set[str]) -> None:
    if isinstance(value, str):
        texts.add(value)
    elif isinstance(value, os.PathLike):
        path = os.fspath(value)
        texts.add(os.fsdecode(path))
    elif isinstance(value, FunctionType):
        _collect_code(value.__code__, texts)
    elif isinstance(value, list | tuple) and len(value) <= 1000:
        for item in value:
            if isinstance(item, str | os.PathLike):
                _collect(item, texts)


def _collect_code(code: CodeType, texts: set[str]) -> None:
    for constant in code.co_consts:
        if isinstance(constant, str):
            texts.add(constant)
        elif isinstance(constant, CodeType):
            _collect_code(constant, texts)
