"""Which files a node reads and writes, as far as Python's audit events and plain paths tell.

`open`, `sqlite3.connect` and directory listings raise audit events; whether a file is there, or how
large it is, is heard of as well. Readers in C, C++ or Rust
(polars, pyarrow, duckdb) do not, so what `Candidates` finds counts as read too, and so does a data
file that the settings name if the kernel says that it was opened.
"""

from __future__ import annotations

import os
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hamdev.content import SQLITE_LOG
from hamdev.patterns import DataPatterns
from hamdev.pipeline.file_states import FileState, Sight, look, state_of
from hamdev.pipeline.observe import current_node
from hamdev.pipeline.own_reads import digest_of, is_unobserved, unobserved
from hamdev.worker.data_opens import DataOpens
from hamdev.worker.file_questions import hear_questions

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_LISTINGS = frozenset({"os.listdir", "os.scandir"})
# What is made without being opened, and which argument names it.
_MAKING = {"os.mkdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1}
_NOT_DATA = ("/dev/", "/proc/", "/sys/", "<")


@dataclass(slots=True)
class Accesses:
    """What was opened while a node ran.

    Attributes:
        read: path → what it was when it was opened.
        opened: paths that were seen to be opened; the others only go by their names.
        unheard: data files that were opened, perhaps by somebody else.
        asked: paths that were asked about.
        written: paths that it wrote, or may have written.
    """

    read: dict[str, Sight] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    unheard: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)


class FileReads:
    """Watches what nodes open; the audit hook stays for the life of the process.

    Args:
        is_code: whether a path is one of the loaded modules, whose text counts as code.
        on_open: is told of each path that is opened, and whether it is written, by whomever.
        on_move: is told of each folder that the process moves to.
    """

    def __init__(
        self,
        is_code: Callable[[str], bool],
        on_open: Callable[[str, bool], None],
        on_move: Callable[[str], None],
    ) -> None:
        self._is_code = is_code
        self._on_open = on_open
        self._on_move = on_move
        self._running: dict[str, Accesses] = {}
        self._written: set[str] = set()
        self._changing: set[tuple[str, str]] = set()
        self._data = DataOpens(DataPatterns(Path.cwd(), (), ()))
        paths = sysconfig.get_paths()
        libraries = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
        self._ignored = (*_NOT_DATA, *(f"{os.path.realpath(p)}{os.sep}" for p in libraries))
        sys.addaudithook(self._on_event)
        hear_questions(self._on_question)

    def configure(self, patterns: DataPatterns) -> None:
        """Notice openings of these files, too."""
        self._data.close()
        self._data = DataOpens(patterns)

    def begin_load(self) -> None:
        """Modules are about to be loaded."""
        self._running.clear()
        if self._data.patterns:
            with unobserved():
                self._data.begin_run()

    def end_load(self) -> dict[str, Sight]:
        """Data files that may have been opened while modules were loaded → how they were before."""
        return self._opened_data()

    def all_data(self) -> dict[str, str | None]:
        """Every data file and its folder → digest, for who cannot be loaded without one."""
        with unobserved():
            return {path: digest_of(path) for path in self._data.everything()}

    def begin_run(self) -> None:
        """Forget what was written in earlier runs."""
        self._running.clear()
        self._written.clear()
        self._data.take()

    def _opened_data(self) -> dict[str, Sight]:
        found = self._data.take() if self._data.is_exact else self._data.everything()
        return {path: known for path, known in found.items() if not self._is_code(path)}

    def _note_data(self) -> None:
        """Whatever has been opened since the last time may have been opened by any that runs."""
        if self._data.patterns and (found := self._opened_data()):
            for accesses in self._running.values():
                for path, known in found.items():
                    if path not in accesses.opened:
                        accesses.unheard.add(path)
                        accesses.read.setdefault(path, known)

    def begin(self, node: str, candidates: Iterable[str]) -> None:
        """A node is about to run; `candidates` are paths that it may read unseen."""
        self._note_data()
        accesses = self._running[node] = Accesses()
        for path in candidates:
            if not self._is_code(path):
                accesses.read[path] = look(path)

    def end(
        self, node: str, candidates: Iterable[str], has_failed: bool = False
    ) -> dict[str, FileState]:
        """The node has run; what it read, without what it wrote itself.

        Of one that failed for want of a file, nobody knows which: any that appears may help.
        """
        self._note_data()
        accesses = self._running.pop(node, None)
        if accesses is None:
            return {}
        if has_failed and self._data.patterns:
            accesses.read = {**self._data.everything(), **accesses.read}
        for path in {*candidates, *accesses.unheard, *accesses.asked}:
            if path not in accesses.read or path in accesses.opened:
                continue
            # Nobody says who wrote it meanwhile. What changes whenever the node runs is its own.
            has_changed = not accesses.read[path].is_same(path)
            if has_changed and (node, path) in self._changing:
                accesses.written.add(path)
            elif has_changed:
                self._changing.add((node, path))
        self._written |= accesses.written
        found = {
            path: state_of(path, found, path in self._written)
            for path, found in accesses.read.items()
            if path not in accesses.written
            and not self._is_code(path)  # imported just now
            and not self._data.patterns.is_ignored(path)
        }
        if not self._running:
            self._data.take()  # we have opened them ourselves
        return found

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
        elif event in _MAKING:
            path, is_writing = arguments[_MAKING[event]], True
        elif event == "os.chdir" and not isinstance(arguments[0], int):
            self._on_move(os.path.abspath(os.fsdecode(arguments[0])))  # noqa: PTH100
            return
        else:
            return
        if is_unobserved():
            return
        try:
            with unobserved():
                self._note(path, is_writing)
                if event == "sqlite3.connect":
                    self._note(os.fsdecode(path) + SQLITE_LOG, is_writing)
        except Exception:
            return  # it must not disturb the program that opens a file

    def _on_question(self, path: str) -> None:
        if not self._is_data(path):
            return
        self._on_open(path, False)
        accesses = self._running.get(current_node.get() or "")
        if accesses is not None and path not in accesses.written and path not in accesses.read:
            accesses.read[path] = look(path)
            accesses.asked.add(path)

    def _is_data(self, path: str) -> bool:
        if path.startswith(self._ignored) or "__pycache__" in path or self._is_code(path):
            return False
        return not (_is_special(path) or self._data.patterns.is_ignored(path))

    def _note(self, path: Any, is_writing: bool) -> None:
        if path is None:
            path = "."
        if isinstance(path, int):
            return
        text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # not `resolve`: see `candidates`
        if not self._is_data(text):
            return
        self._on_open(text, is_writing)
        if not self._running:
            return
        node = current_node.get()
        # In a thread of the user's own, any node that runs may be the one.
        known = self._running.get(node) if node is not None else None
        concerned = [known] if known is not None else list(self._running.values())
        for accesses in concerned:
            if is_writing:
                accesses.written.add(text)
            else:
                if text not in accesses.read:
                    accesses.read[text] = look(text)
                accesses.opened.add(text)


def _is_special(path: str) -> bool:
    """Whether it is a pipe, a socket or a device: what comes out of it is no content."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  # asked at every `open` of a user's
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
