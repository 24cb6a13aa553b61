"""A daemon's place in its project: the lock, `daemon.json`, and the folder for large values."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from filelock import FileLock, Timeout

from hamdev import __version__
from hamdev.daemon.pulse import beat
from hamdev.errors import DaemonRunningError
from hamdev.messages import PROTOCOL
from hamdev.paths import (
    daemon_file,
    identity_of,
    information_folder,
    lock_file,
    make_private_folder,
)

# How often to see whether somebody deleted them, as `git clean -fdx` does.
LOOK_S = 1.0
# A daemon that has just got the lock says who it is a moment later.
_INTRODUCTION_S = 2.0


class Place:
    """The lock of a project while it is held, and the file that says by whom.

    Args:
        project: the project's folder.
        socket: where this process listens, or is about to.
    """

    def __init__(self, project: Path, socket: Path) -> None:
        self._project = project
        self._socket = socket
        self._lock = lock_file(project)
        self._identity: tuple[int, int] | None = None
        self._page: str | None = None

    @contextmanager
    def taken(self) -> Iterator[ExitStack]:
        """Be the project's daemon while the block is open; yields what holds the locks.

        Raises:
            DaemonRunningError: another process is.
        """
        with ExitStack() as locks:
            try:
                self._take(locks)
            except Timeout:
                raise DaemonRunningError(self._who_serves()) from None
            with suppress(OSError):  # a full disk: it is information only, and tried again
                self._announce()
            locks.callback(self._withdraw)
            yield locks

    @asynccontextmanager
    async def kept(self, locks: ExitStack, log: Any) -> AsyncIterator[None]:
        """While the block is open, what somebody deletes is put back within `LOOK_S`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep, locks, log)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    def show_page(self, address: str) -> None:
        """Announce the live page, too; `address` is without its token."""
        self._page = address
        with suppress(OSError):
            self._announce()

    async def _keep(self, locks: ExitStack, log: Any) -> None:
        while True:
            await beat(LOOK_S)
            try:
                if identity_of(self._lock) != self._identity:
                    self._take(locks)
                    log.warning("somebody deleted the lock; it is there again")
                if not daemon_file(self._project).exists():
                    self._announce()
            except (OSError, Timeout) as error:
                # A second daemon has the new lock for the moment in which it finds the socket
                # in use; or the whole project is gone. Either way the next look tells more.
                log.debug("the lock is gone and cannot be taken again yet", error=str(error))

    def _take(self, locks: ExitStack) -> None:
        folder = information_folder(self._project)
        folder.mkdir(exist_ok=True)
        with suppress(OSError), (folder / ".gitignore").open("x") as ignored:
            ignored.write("*\n")
        if self._lock.is_symlink():
            self._lock.unlink()  # a lock is truncated when it is opened, and a link leads anywhere
        lock = FileLock(self._lock, timeout=0, thread_local=False)
        lock.acquire()
        locks.callback(lock.release)
        self._identity = identity_of(self._lock)

    def _announce(self) -> None:
        file = daemon_file(self._project)
        facts = {
            "pid": os.getpid(),
            "socket": str(self._socket),
            "protocol": PROTOCOL,
            "version": __version__,
            "root": str(self._project),
            "web": self._page,
        }
        fresh = file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with fresh.open("x", encoding="utf-8") as output:
            output.write(json.dumps(facts) + "\n")
        fresh.replace(file)

    def _withdraw(self) -> None:
        with suppress(OSError):
            daemon_file(self._project).unlink(missing_ok=True)

    def _who_serves(self) -> str:
        who = f"just starting, socket {self._socket}"
        deadline = time.monotonic() + _INTRODUCTION_S
        while time.monotonic() < deadline:
            try:
                known = json.loads(daemon_file(self._project).read_bytes())
                pid, socket = int(known["pid"]), known["socket"]
                os.kill(pid, 0)
            except PermissionError:
                pass  # it lives, as somebody else
            except (OSError, ValueError, KeyError, TypeError):
                # Of a daemon that was killed, or not written yet.
                time.sleep(0.01)
                continue
            who = f"pid {pid}, socket {socket}"
            break
        return (
            f"a daemon already serves {str(self._project)!r} ({who}). "
            "Way out: use it (hamdev status), or end it first (hamdev stop)."
        )


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """A private folder with nothing in it, which is gone after the block.

    Raises:
        RuntimeFolderError: somebody else made it, and it cannot be removed.
    """
    _remove(folder)
    make_private_folder(folder)
    try:
        yield
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
