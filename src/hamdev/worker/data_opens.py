"""Which of the files that `[watch] data` names are opened, by whatever code: the kernel tells.

Readers in C, C++ or Rust and child processes raise no audit events, and the path that they open may
be written nowhere. On Linux, inotify reports every opening of a file in a watched folder. It does
not say by whom, so a file that somebody else opens counts for the node that is running: that may
rerun a node for nothing, and never leaves one out.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator

from hamdev.kernel_events import MAX_READ, ONLY_FOLDERS, OVERFLOW, parsed
from hamdev.patterns import DataPatterns
from hamdev.pipeline.file_states import NOTHING, Sight, look

_OPEN = 0x20
_IS_FOLDER, _GONE = 0x40000000, 0x8000


class DataOpens:
    """Notices openings of data files and listings of their folders.

    Args:
        patterns: which files are data.

    Attributes:
        is_exact: False if the system does not tell; then any node may have read any of them.
    """

    def __init__(self, patterns: DataPatterns) -> None:
        self.patterns = patterns
        self.is_exact = True
        self._descriptor: int | None = None
        self._folders: dict[int, str] = {}
        self._before: dict[str, Sight] = {}

    def begin_run(self) -> None:
        """Look at the data anew; what was opened before is of no interest."""
        folders = self.patterns.folders()
        self._watch(folders)
        paths = [*folders, *self.patterns.files()]
        self._before = {path: look(path) for path in paths}
        self.take()

    def take(self) -> dict[str, Sight]:
        """What was opened since the last time: path → what it was like when the run began."""
        if self._descriptor is None:
            return {}
        found: dict[str, Sight] = {}
        for path, is_folder in self._events():
            if is_folder or self.patterns.matches(path):
                # Of what has appeared since, nobody knows in which state it was read.
                found[path] = self._before.get(path, NOTHING)
        return found

    def everything(self) -> dict[str, Sight]:
        """All data files and their folders: path → what it was like when the run began."""
        return dict(self._before)

    def close(self) -> None:
        """Notice nothing any more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _watch(self, folders: list[str]) -> None:
        if sorted(self._folders.values()) == folders and self._descriptor is not None:
            return
        self.close()
        self._folders = {}
        if not sys.platform.startswith("linux"):
            self.is_exact = False
            return
        system = ctypes.CDLL(None, use_errno=True)
        descriptor = system.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._descriptor = descriptor if descriptor >= 0 else None
        numbers = [
            system.inotify_add_watch(descriptor, os.fsencode(folder), _OPEN | ONLY_FOLDERS)
            for folder in (folders if descriptor >= 0 else ())
        ]
        # A folder may have gone by now; any other refusal means that we would be deaf.
        self._folders = {n: f for n, f in zip(numbers, folders, strict=False) if n >= 0}
        self.is_exact = descriptor >= 0 and all(
            number >= 0 or not os.path.isdir(folder)  # noqa: PTH112
            for number, folder in zip(numbers, folders, strict=True)
        )

    def _events(self) -> Iterator[tuple[str, bool]]:
        """Path and whether it is a folder, of each event that waits."""
        assert self._descriptor is not None
        while True:
            try:
                events = os.read(self._descriptor, MAX_READ)
            except BlockingIOError:
                return
            for number, mask, name in parsed(events):
                if mask & OVERFLOW:
                    yield from ((path, True) for path in self._before)
                elif mask & _GONE:
                    self._folders.pop(number, None)
                elif (folder := self._folders.get(number)) is not None:
                    path = f"{folder}/{name}" if name else folder
                    yield path, bool(mask & _IS_FOLDER)
