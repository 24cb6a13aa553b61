"""Which known files hold something else than before: events hint, content hashes decide."""

# ruff: noqa: PTH116, PTH120, PTH206 - a `Path` for every file at every sweep costs more than its stat

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup
from watchfiles import awatch

from hamdev.content import is_proof
from hamdev.core.settle import Settle
from hamdev.daemon import inotify
from hamdev.daemon.disk import Eyes, Sight, Stat, stat_of, written_at
from hamdev.daemon.git import GitWatch
from hamdev.daemon.pulse import next_beat

# watchfiles polls its queue every `step`: 12 ms from write to event at 10, 0.4 % of a core idle.
STEP_MS = 10
# How long to do without events before asking for them again.
RETRY_S = 30.0
# How long a file that looks half written has to be quiet before it is taken for what it is.
UNFINISHED_S = 0.2
# How often to look whether it, or git, has got on.
LOOK_AGAIN_S = 0.02
# Reading more than this takes longer than the detour through a thread.
_INLINE_BYTES = 512 * 1024
_INLINE_FILES = 64
# While so few files settle, there is time to find out whether they are whole.
_JUDGED_EARLY = 4
# Too much happens in these, and nobody edits what is in them; the sweep is enough.
_NEVER_WATCHED = frozenset({".venv", "node_modules", ".git"})

# Real paths, and the files that lead to them.
Targets = dict[str, frozenset[str]]


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
        on_warning: receives a sentence for people.
        root: the project's folder; what is above it is not held against a file.
    """

    def __init__(
        self,
        settle_s: float,
        sweep_s: float,
        on_contents: Callable[[dict[str, str | None]], None],
        log: Any,
        on_written: Callable[[list[str]], None] | None = None,
        uses_events: bool = True,
        on_warning: Callable[[str], None] | None = None,
        root: str = "",
    ) -> None:
        self.sweep_s = sweep_s
        self._on_written = on_written
        self._settle = Settle(settle_s)
        self._on_contents = on_contents
        self._log = log
        self._uses_events = uses_events
        self._root = root
        self._eyes = Eyes()
        self._warn = on_warning or log.warning
        self._git = GitWatch(self._warn)
        self._files: frozenset[str] = frozenset()
        # What was handed in, and the stat data that prove that the files still hold it.
        self._contents: dict[str, str | None] = {}
        self._stats: dict[str, Stat | None] = {}
        # Stat data of pending files when they were last noticed.
        self._noticed_as: dict[str, Stat | None] = {}
        # Where events on a file come from: its real path, if that is another one, → all such files.
        self._targets: Targets = {}
        self._parents: frozenset[str] = frozenset()
        # Those of the known paths that are folders, of which the names are the content.
        self._listed: frozenset[str] = frozenset()
        self._folders: dict[str, tuple[int, int]] = {}
        self._awaited: frozenset[str] = frozenset()
        self._hints = 0
        self._last_hint: dict[str, int] = {}
        self._answered_hint: dict[str, int] = {}
        self._hinted = anyio.Event()
        self._handed_in = anyio.Event()
        self._unwatched = ""
        self._unread: frozenset[str] = frozenset()
        self._waits_for_git = False
        self._swept_in = False
        self._stop = anyio.Event()
        self._folders_changed = anyio.Event()
        self._sweep_now = anyio.Event()
        self._closing = False
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch while the block is open."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
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
        if gone := before - self._files:
            self._forget(gone)
        new = self._files - before
        self._find_targets(new)
        self._find_parents()
        self._choose_folders()
        self.notice(new)

    def _forget(self, files: frozenset[str]) -> None:
        self._settle.forget(files)
        self._eyes.forget(files)
        memories: tuple[dict[str, Any], ...] = (
            self._contents,
            self._stats,
            self._noticed_as,
            self._last_hint,
            self._answered_hint,
        )
        for memory in memories:
            for file in files:
                memory.pop(file, None)
        self._targets = _without(self._targets, files)
        self._listed &= self._files
        self._unread &= self._files
        self._wake_lookers()

    def notice(self, files: Iterable[str]) -> None:
        """Take in a hint that files changed; those that are not watched do not matter."""
        now, wall = time.monotonic(), time.time()
        for file in files:
            if file in self._files:
                self._hints += 1
                self._last_hint[file] = self._hints
                self._notice(file, stat_of(file), now, wall)
        self._hinted.set()

    def _notice(self, file: str, status: Stat | None, now: float, wall: float) -> None:
        self._noticed_as[file] = status
        self._settle.notice(file, now, written_at(status, now, wall))

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
        wanted = {file: self._last_hint[file] for file in self._settle.pending}
        while any(
            file in self._files and self._answered_hint.get(file, 0) < hint
            for file, hint in wanted.items()
        ):
            await self._handed_in.wait()

    def _wake_lookers(self) -> None:
        self._handed_in.set()
        self._handed_in = anyio.Event()

    def _find_targets(self, files: frozenset[str]) -> bool:
        """Where these files really are; whether that has changed."""
        before, targets = self._targets, _without(self._targets, files)
        for file in files:
            real = os.path.realpath(file)
            if real != file:
                targets[real] = targets.get(real, frozenset()) | {file}
        self._targets = targets
        return targets != before

    def _find_parents(self) -> None:
        paths = (*self._files, *self._targets)
        self._parents = frozenset(os.path.dirname(path) for path in paths)

    def _choose_folders(self) -> None:
        """Watch the folder of each file, or the nearest one above it that exists.

        A folder is known by its inode: one that was swapped has the same name and is deaf.
        """
        folders: dict[str, tuple[int, int]] = {}
        awaited = set()
        for folder in filter(self._is_watched, self._parents | self._listed):
            while (identity := _folder_identity(folder)) is None:
                awaited.add(folder)
                folder = os.path.dirname(folder)
            folders[folder] = identity
        self._awaited = frozenset(awaited)
        if folders != self._folders:
            self._folders = folders
            self._stop.set()
            self._folders_changed.set()

    def _is_watched(self, folder: str) -> bool:
        return _NEVER_WATCHED.isdisjoint(folder.removeprefix(self._root).split(os.sep))

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
                    await inotify.follow(folders, self._take_noticed, self._stop, self._do_without)
                else:
                    await self._follow_watchfiles(folders)
            except (OSError, RuntimeError) as error:
                # The sweep alone keeps everything right; only the promptness suffers.
                self._say_unwatched(inotify.explained(error))
                with anyio.move_on_after(RETRY_S):
                    await self._folders_changed.wait()

    def _do_without(self, unwatched: dict[str, OSError]) -> None:
        """Take in for which folders there are no events; they are asked for again later."""
        if not unwatched:
            self._unwatched = ""
            return
        self._sweep_now.set()
        # One that has just vanished is for the sweep to find out.
        if failed := {f: e for f, e in unwatched.items() if not isinstance(e, FileNotFoundError)}:
            folder, error = next(iter(failed.items()))
            more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
            self._say_unwatched(inotify.explained(error), f" of {folder}{more}")
        assert self._tasks is not None
        self._tasks.start_soon(self._ask_again, self._stop)

    def _say_unwatched(self, reason: str, of: str = "") -> None:
        """Once for each reason, whichever folders it concerns by and by."""
        if reason != self._unwatched:
            self._unwatched = reason
            self._warn(f"no file events{of}, comparing regularly instead: {reason}")

    async def _ask_again(self, stop: anyio.Event) -> None:
        with anyio.move_on_after(RETRY_S):
            await stop.wait()
        stop.set()

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
        files = {file for path in paths for file in (path, *self._targets.get(path, ()))}
        if self._on_written is not None and (known := self._files.intersection(files)):
            self._on_written(sorted(known))
            if len(known) <= _JUDGED_EARLY:
                self._eyes.look(known, self._contents)

    def _take(self, paths: Iterable[str]) -> None:
        hinted = []
        for path in paths:
            if path in self._files or path in self._targets:
                hinted += [path, *self._targets.get(path, ())]
            elif self._listed and os.path.dirname(path) in self._listed:
                hinted.append(os.path.dirname(path))
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
            pause = await self._settle_what_is_due()
            with anyio.move_on_after(pause):
                await self._hinted.wait()
            self._hinted = anyio.Event()

    async def _settle_what_is_due(self) -> float | None:
        """Hand in what has settled; how long to wait for a hint before it is called again."""
        now = time.monotonic()
        due = self._settle.due_at()
        if due is None:
            return None
        if now < due:
            doubted = self._settle.doubted
            self._notice_later_writes(doubted, now)
            return min(due - now, LOOK_AGAIN_S) if doubted else due - now
        self._notice_later_writes(self._settle.pending, now)
        files = self._settle.due(now)
        if files and self._is_git_busy(files, now):
            return LOOK_AGAIN_S
        if files and self._swept_in:
            # What was swept in had no event, and neither may what has changed since.
            self._swept_in = False
            self._sweep()
        elif files:
            await self._hand_in(files)
        return 0.0

    def _notice_later_writes(self, files: Iterable[str], now: float) -> None:
        """A write within the last few milliseconds has had no event yet, and is no quiet."""
        wall = time.time()
        for file in files:
            if (status := stat_of(file)) != self._noticed_as[file]:
                self._notice(file, status, now, wall)

    def _is_git_busy(self, files: frozenset[str], now: float) -> bool:
        written = self._settle.quiet_since()
        assert written is not None
        places = [*files, *(real for real, of in self._targets.items() if of & files)]
        is_busy = self._git.is_busy(places, written, now, time.time())
        if is_busy and not self._waits_for_git:
            self._log.debug("waiting for git", files=sorted(files))
        self._waits_for_git = is_busy
        return is_busy

    async def _hand_in(self, files: frozenset[str]) -> None:
        wall = time.time()
        hints = {file: self._last_hint[file] for file in files}
        sights = await self._look_at(files)
        now = time.monotonic()
        for file, sight in sights.items():
            if sight.doubt is not None:
                self._settle.doubt(file, UNFINISHED_S)
        # What was written while it was read may be half old and half new.
        self._notice_later_writes(self._settle.pending.intersection(files), now)
        taken = self._settle.take(now, files)
        if unread := frozenset(file for file in taken if sights[file].is_unread):
            # Not known to have changed, nor to be as it was: the next sweep finds it again.
            taken -= unread
            for file in unread:
                self._stats.pop(file, None)
            self._say_unread(unread)
        self._unread -= taken
        if unfinished := {f: s.doubt for f, s in sights.items() if s.doubt is not None}:
            what = "taken as it is" if taken else "looking again"
            self._log.debug(f"unfinished, {what}", files=unfinished)
        for file in taken:
            sight = sights[file]
            if is_proof(sight.status, wall):
                self._stats[file] = sight.status
            else:
                self._stats.pop(file, None)
            self._contents[file] = sight.digest
            self._answered_hint[file] = hints[file]
        # Hints that came while it was read want it to be read again.
        self.notice([file for file in taken if self._last_hint[file] != hints[file]])
        if taken:
            if self._find_targets(taken):
                self._find_parents()
                self._choose_folders()
            self._find_listed(taken)
            self._on_contents({file: sights[file].digest for file in sorted(taken)})
            self._wake_lookers()

    def _say_unread(self, files: frozenset[str]) -> None:
        if not self._unread:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            self._warn(
                f"the system cannot read {min(files)}{more} (out of descriptors or memory, or the "
                "disk fails); what it held before stays, and it is tried again"
            )
        self._unread |= files

    async def _look_at(self, files: frozenset[str]) -> dict[str, Sight]:
        known = {file: self._contents[file] for file in files if file in self._contents}
        size = sum(status[2] for file in files if (status := self._noticed_as[file]))
        if size <= _INLINE_BYTES and len(files) <= _INLINE_FILES:
            return self._eyes.look(files, known)
        look = partial(self._eyes.look, files, known)
        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)

    def _find_listed(self, files: frozenset[str]) -> None:
        listed = {f for f in files if (self._contents[f] or "").startswith("names-")}
        if (found := (self._listed - files) | listed) != self._listed:
            self._listed = frozenset(found)
            self._choose_folders()

    async def _sweep_regularly(self) -> None:
        while True:
            with anyio.CancelScope(deadline=next_beat(self.sweep_s)):
                await self._sweep_now.wait()
            self._sweep_now = anyio.Event()
            self._choose_folders()
            self._sweep()

    def _sweep(self) -> None:
        pending = self._settle.pending
        found = [
            file
            for file in self._files
            if file not in pending and self._stats.get(file, _NO_PROOF) != stat_of(file)
        ]
        self._swept_in |= bool(found)
        self.notice(found)


_NO_PROOF = (-1,)
# watchfiles is told so where the system's events do not tell everything, as on network shares.
_POLLS = bool(os.environ.get("WATCHFILES_FORCE_POLLING"))


def _without(targets: Targets, files: frozenset[str]) -> Targets:
    return {real: left for real, of in targets.items() if (left := of - files)}


def _folder_identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
