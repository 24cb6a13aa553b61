"""Which known files hold something else than before: events hint, content hashes decide."""

# ruff: noqa: PTH116, PTH120 - a `Path` for every file at every sweep costs more than its stat

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from watchfiles import awatch

from hamdev.content import content_digest, is_proof
from hamdev.core.settle import Settle
from hamdev.daemon import inotify

# watchfiles polls its queue every `step`: 12 ms from write to event at 10, 0.4 % of a core idle.
STEP_MS = 10
# How long to do without events before asking for them again.
RETRY_S = 30.0
# Reading more than this takes longer than the detour through a thread.
_INLINE_BYTES = 4 * 1024 * 1024
_INLINE_FILES = 64

Stat = tuple[int, int, int, int, int]


class Watcher:
    """Compares known files with the disk, prompted by events and by a regular sweep.

    Args:
        settle_s: quiet time after the last event on a file, in seconds.
        sweep_s: how often all known files are compared by their stat data, in seconds.
        on_contents: receives path → sha256 (None: no file) of files that settled.
        log: a structlog logger.
        on_written: receives files that were just written, before they have settled, if they are
            likely to hold all of what was saved; that may turn out wrong.
        uses_events: whether to ask the system for events; without them, the sweep finds all.
    """

    def __init__(
        self,
        settle_s: float,
        sweep_s: float,
        on_contents: Callable[[dict[str, str | None]], None],
        log: Any,
        on_written: Callable[[list[str]], None] | None = None,
        uses_events: bool = True,
    ) -> None:
        self.sweep_s = sweep_s
        self._on_written = on_written
        self._settle = Settle(settle_s)
        self._on_contents = on_contents
        self._log = log
        self._uses_events = uses_events
        self._files: frozenset[str] = frozenset()
        # Files whose stat data proves that they still hold what was handed in.
        self._stats: dict[str, Stat | None] = {}
        # Where events on a file come from: its real path, if that is another one, → the file.
        self._targets: dict[str, str] = {}
        self._folders: dict[str, tuple[int, int]] = {}
        self._awaited: frozenset[str] = frozenset()
        self._hints = 0
        self._answered_hints = 0
        self._hinted = anyio.Event()
        self._handed_in = anyio.Event()
        self._stop = anyio.Event()
        self._folders_changed = anyio.Event()
        self._sweep_now = anyio.Event()
        self._closing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch while the block is open."""
        async with anyio.create_task_group() as tasks:
            self._start(tasks)
            try:
                yield
            finally:
                # A cancelled awatch waits for its thread, which looks at nothing but this event.
                self._closing = True
                self._stop.set()
                tasks.cancel_scope.cancel()

    def _start(self, tasks: TaskGroup) -> None:
        if self._uses_events:
            tasks.start_soon(self._follow_events)
        tasks.start_soon(self._follow_settling)
        tasks.start_soon(self._sweep_regularly)

    def configure(self, settle_s: float, sweep_s: float) -> None:
        """Use other times from now on."""
        self._settle.settle_s = settle_s
        self.sweep_s = sweep_s
        self._sweep_now.set()
        self._hinted.set()

    # -- what is watched ----------------------------------------------------------------------

    def watch(self, files: Iterable[str]) -> None:
        """Compare exactly these files from now on; what new ones hold is handed in at once."""
        before, self._files = self._files, frozenset(files)
        for file in before - self._files:
            self._stats.pop(file, None)
        self._targets = {real: f for real, f in self._targets.items() if f in self._files}
        new = self._files - before
        self._find_targets(new)
        self._choose_folders()
        self.notice(new)

    def notice(self, files: Iterable[str]) -> None:
        """Take in a hint that files changed; those that are not watched do not matter."""
        now, wall = time.monotonic(), time.time()
        for file in files:
            if file in self._files:
                self._settle.notice(file, now, _written_at(file, now, wall))
                self._hints += 1
        self._hinted.set()

    async def look(self, files: Iterable[str] = ()) -> None:
        """Compare all known files with the disk now.

        Args:
            files: compare these by content whatever their stat data say, as far as they are known.

        Returns:
            When everything that was noticed until now has been handed in. What changes in the
            meantime does not prolong the wait beyond the settling.
        """
        self.notice(files)
        self._choose_folders()
        self._sweep()
        hints = self._hints
        while self._answered_hints < hints:
            await self._handed_in.wait()

    def _find_targets(self, files: Iterable[str]) -> None:
        for file in files:
            real = os.path.realpath(file)
            if real != file:
                self._targets[real] = file

    def _choose_folders(self) -> None:
        """Watch the folder of each file, or the nearest one above it that exists.

        A folder is known by its inode: one that was swapped has the same name and is deaf.
        """
        folders: dict[str, tuple[int, int]] = {}
        awaited = set()
        for folder in {os.path.dirname(path) for path in (*self._files, *self._targets)}:
            while (identity := _folder_identity(folder)) is None:
                awaited.add(folder)
                folder = os.path.dirname(folder)
            folders[folder] = identity
        self._awaited = frozenset(awaited)
        if folders != self._folders:
            self._folders = folders
            self._stop.set()
            self._folders_changed.set()

    # -- tasks --------------------------------------------------------------------------------

    async def _follow_events(self) -> None:
        while not self._closing:
            folders = sorted(self._folders)
            self._stop = anyio.Event()
            self._folders_changed = anyio.Event()
            if not folders:
                await self._folders_changed.wait()
                continue
            # What was written between two watches has had no event. The sweep is another task,
            # so it comes when this one waits, and then the new watch listens already.
            self._sweep_now.set()
            try:
                if inotify.is_available and not _POLLS:
                    await inotify.follow(folders, self._take_noticed, self._stop)
                else:
                    await self._follow_watchfiles(folders)
            except (OSError, RuntimeError) as error:
                # The sweep alone keeps everything right; only the promptness suffers.
                self._log.warning("no file events, comparing regularly instead", error=str(error))
                with anyio.move_on_after(RETRY_S):
                    await self._folders_changed.wait()

    async def _follow_watchfiles(self, folders: list[str]) -> None:
        async for changes in awatch(
            *folders,
            watch_filter=None,
            debounce=50,
            step=STEP_MS,
            stop_event=self._stop,
            recursive=False,
        ):
            paths = [path for _, path in changes]
            self._take(paths)
            self._take_written(paths)

    def _take_noticed(self, noticed: inotify.Noticed) -> None:
        self._take(noticed.paths)
        self._take_written(noticed.written)
        if noticed.is_incomplete:
            self._sweep_now.set()

    def _take_written(self, paths: Iterable[str]) -> None:
        files = [self._targets.get(path, path) for path in paths]
        if self._on_written is not None and (known := self._files.intersection(files)):
            self._on_written(sorted(known))

    def _take(self, paths: Iterable[str]) -> None:
        hinted = []
        for path in paths:
            if path in self._files:
                hinted.append(path)
            elif path in self._targets:
                hinted.append(self._targets[path])
            elif path in self._awaited:
                self._sweep_now.set()
            elif path in self._folders:
                # Removed or swapped. A new folder may get the old one's inode.
                self._folders = {}
                self._sweep_now.set()
        if hinted:
            self._log.debug("file event", files=hinted)
            self.notice(hinted)

    async def _follow_settling(self) -> None:
        while True:
            now = time.monotonic()
            due = self._settle.due_at()
            if due is not None and now >= due:
                self._notice_later_writes(now)
                hints = self._hints
                if files := self._settle.take(now):
                    await self._hand_in(sorted(files))
                    self._answered_hints = hints
                    self._handed_in.set()
                    self._handed_in = anyio.Event()
                continue
            with anyio.move_on_after(None if due is None else due - now):
                await self._hinted.wait()
            self._hinted = anyio.Event()

    def _notice_later_writes(self, now: float) -> None:
        """A write within the last few milliseconds has had no event yet, and is no quiet."""
        wall = time.time()
        for file in self._settle.pending:
            if (written_at := _written_at(file, now, wall)) is not None:
                self._settle.notice(file, now, written_at)

    async def _hand_in(self, files: list[str]) -> None:
        # First stat, then read: if a write comes between, the stat data are those of an older
        # content, and the next sweep finds that they differ. The other way round it is lost.
        wall = time.time()
        stats = {file: _stat(file) for file in files}
        size = sum(status[2] for status in stats.values() if status)
        if size <= _INLINE_BYTES and len(files) <= _INLINE_FILES:
            contents = _digests(files)
        else:
            contents = await anyio.to_thread.run_sync(_digests, files, abandon_on_cancel=True)
        for file in self._files & stats.keys():
            if is_proof(stats[file], wall):
                self._stats[file] = stats[file]
            else:
                self._stats.pop(file, None)
        self._find_targets(self._files & stats.keys())
        self._on_contents(contents)

    async def _sweep_regularly(self) -> None:
        while True:
            with anyio.move_on_after(self.sweep_s):
                await self._sweep_now.wait()
            self._sweep_now = anyio.Event()
            self._choose_folders()
            self._sweep()

    def _sweep(self) -> None:
        pending = self._settle.pending
        self.notice(
            [
                file
                for file in self._files
                if file not in pending and self._stats.get(file, _NO_PROOF) != _stat(file)
            ]
        )


_NO_PROOF = (-1,)
# watchfiles is told so where the system's events do not tell everything, as on network shares.
_POLLS = bool(os.environ.get("WATCHFILES_FORCE_POLLING"))


def _stat(file: str) -> Stat | None:
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


def _written_at(file: str, now: float, wall: float) -> float | None:
    """When the file was last written, on the clock of `now`; None if its time is of no use."""
    try:
        age = wall - os.stat(file).st_ctime
    except OSError:
        return None
    # A time in the future is another machine's, and says nothing about quietness.
    return now - age if age >= 0 else None


def _digests(files: Iterable[str]) -> dict[str, str | None]:
    return {file: content_digest(file) for file in files}


def _folder_identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
