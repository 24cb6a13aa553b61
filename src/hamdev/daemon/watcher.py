"""Which known files hold something else than before: events hint, content hashes decide."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from watchfiles import awatch

from hamdev.core.settle import Settle

# watchfiles polls its queue every `step`: 12 ms from write to event at 10, 0.4 % of a core idle.
STEP_MS = 10
_INLINE_FILES = 32


class Watcher:
    """Compares known files with the disk, prompted by events and by a regular sweep.

    Args:
        settle_s: quiet time after the last event on a file, in seconds.
        sweep_s: how often all known files are compared by their stat data, in seconds.
        on_contents: receives path → sha256 (None: no file) of files that settled.
        log: a structlog logger.
    """

    def __init__(
        self,
        settle_s: float,
        sweep_s: float,
        on_contents: Callable[[dict[str, str | None]], None],
        log: Any,
    ) -> None:
        self.sweep_s = sweep_s
        self._settle = Settle(settle_s)
        self._on_contents = on_contents
        self._log = log
        self._files: frozenset[str] = frozenset()
        self._folders: frozenset[str] = frozenset()
        self._stats: dict[str, tuple[int, ...] | None] = {}
        self._digests: dict[str, str | None] = {}
        self._hinted = anyio.Event()
        self._settled = anyio.Event()
        self._stop = anyio.Event()
        self._folders_changed = anyio.Event()
        self._swept = anyio.Event()
        self._closing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch while the block is open."""
        async with anyio.create_task_group() as tasks:
            self._start(tasks)
            try:
                yield
            finally:
                self._closing = True
                self._stop.set()
                self._folders_changed.set()
                tasks.cancel_scope.cancel()

    def _start(self, tasks: TaskGroup) -> None:
        tasks.start_soon(self._follow_events)
        tasks.start_soon(self._follow_settling)
        tasks.start_soon(self._sweep_regularly)

    def configure(self, settle_s: float, sweep_s: float) -> None:
        """Use other times from now on."""
        self._settle.settle_s = settle_s
        self.sweep_s = sweep_s
        self._swept.set()

    # -- what is watched ----------------------------------------------------------------------

    def watch(self, files: Iterable[str]) -> None:
        """Compare exactly these files from now on."""
        self._files = frozenset(files)
        for file in self._stats.keys() - self._files:
            del self._stats[file]
            self._digests.pop(file, None)
        folders = frozenset(_existing_parent(file) for file in self._files)
        if folders != self._folders:
            self._folders = folders
            self._stop.set()
            self._folders_changed.set()

    def notice(self, files: Iterable[str]) -> None:
        """Take in a hint that files changed."""
        now, wall = time.monotonic(), time.time()
        for file in files:
            self._settle.notice(file, now, _written_at(file, now, wall))
        self._hinted.set()

    async def look(self) -> None:
        """Compare all known files with the disk now; returns when what changed has settled."""
        files = sorted(self._files)
        contents = await anyio.to_thread.run_sync(_digests, files)
        changed = [f for f in files if contents[f] != self._digests.get(f, contents[f])]
        unknown = [f for f in files if f not in self._digests]
        if changed or unknown:
            self.notice([*changed, *unknown])
        while self._settle.pending:
            settled = self._settled
            await settled.wait()

    # -- tasks --------------------------------------------------------------------------------

    async def _follow_events(self) -> None:
        while not self._closing:
            folders = sorted(self._folders)
            self._stop = anyio.Event()
            self._folders_changed = anyio.Event()
            if not folders:
                await self._folders_changed.wait()
                continue
            # Whatever was written between two watches has had no event.
            self._sweep()
            try:
                async for changes in awatch(
                    *folders,
                    watch_filter=None,
                    debounce=50,
                    step=STEP_MS,
                    stop_event=self._stop,
                    recursive=False,
                ):
                    self._take(path for _, path in changes)
            except (OSError, RuntimeError) as error:
                # The sweep alone keeps everything right; only the promptness suffers.
                self._log.warning("no file events, comparing regularly instead", error=str(error))
                await self._folders_changed.wait()

    def _take(self, paths: Iterable[str]) -> None:
        hinted = [path for path in paths if path in self._files]
        if hinted:
            self._log.debug("file event", files=hinted)
            self.notice(hinted)

    async def _follow_settling(self) -> None:
        while True:
            due = self._settle.due_at()
            if due is None:
                await self._hinted.wait()
                self._hinted = anyio.Event()
                continue
            now = time.monotonic()
            if now < due:
                with anyio.move_on_after(due - now):
                    await self._hinted.wait()
                self._hinted = anyio.Event()
                continue
            await self._hand_in(sorted(self._settle.take(now)))

    async def _hand_in(self, files: list[str]) -> None:
        stats = {file: _stat(file) for file in files}
        if len(files) <= _INLINE_FILES:
            contents = _digests(files)
        else:
            contents = await anyio.to_thread.run_sync(_digests, files)
        self._stats.update(stats)
        self._digests.update(contents)
        self._on_contents(contents)
        self._settled.set()
        self._settled = anyio.Event()

    async def _sweep_regularly(self) -> None:
        while True:
            self._swept = anyio.Event()
            with anyio.move_on_after(self.sweep_s):
                await self._swept.wait()
            self._sweep()

    def _sweep(self) -> None:
        differing = []
        for file in self._files:
            status = _stat(file)
            if self._stats.get(file, _UNKNOWN) != status:
                differing.append(file)
        if differing:
            self.notice(differing)


_UNKNOWN = (-1,)


def _stat(file: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _written_at(file: str, now: float, wall: float) -> float | None:
    """When the file was last written, on the clock of `now`; None if its time is of no use."""
    try:
        age = wall - os.stat(file).st_ctime
    except OSError:
        return None
    # A time in the future or on another machine's clock says nothing about quietness.
    return now - age if 0 <= age < 3600 else None


def _digests(files: Iterable[str]) -> dict[str, str | None]:
    digests: dict[str, str | None] = {}
    for file in files:
        try:
            digests[file] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        except OSError:
            digests[file] = None
    return digests


def _existing_parent(file: str) -> str:
    folder = os.path.dirname(file)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder
