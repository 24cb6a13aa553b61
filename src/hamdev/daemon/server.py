"""The socket: bound, bound again if it is deleted, and who may connect to it."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup, UNIXSocketStream

from hamdev.daemon.connection import Connection
from hamdev.daemon.hub import Hub
from hamdev.daemon.requests import Requests
from hamdev.errors import RuntimeFolderError, SocketInUseError
from hamdev.paths import make_private_folder
from hamdev.peer import is_trusted, peer_uid

# How often to see whether the socket is still where clients look for it.
LOOK_S = 1.0
# Descriptors that connections leave to workers, watches and files.
RESERVED_DESCRIPTORS = 96
_PAUSE_S = 0.1


@asynccontextmanager
async def serving(path: Path, requests: Requests, hub: Hub, log: Any) -> AsyncIterator[None]:
    """Serve the socket at `path` while the block is open; only the owner of this process may call.

    The caller holds the project's lock, so a file that is there already is a dead daemon's. If
    somebody deletes the socket, another one is bound within `LOOK_S`; who is connected stays so.

    Raises:
        RuntimeFolderError: the folder is not private.
        SocketInUseError: somebody listens there already.
        OSError: the socket cannot be made.
    """
    door = _Door(requests, hub, log)
    with ExitStack() as closing:
        listener = closing.enter_context(_bound(path))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_keep_bound, path, listener, closing, door, log)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()


async def _keep_bound(
    path: Path, listener: socket.socket, closing: ExitStack, door: _Door, log: Any
) -> None:
    async with anyio.create_task_group() as connections:
        while True:
            async with anyio.create_task_group() as accepting:
                accepting.start_soon(door.let_in, listener, connections)
                await _until_deleted(path, log)
                accepting.cancel_scope.cancel()
            closing.close()
            listener = await _bound_again(path, closing, log)


async def _until_deleted(path: Path, log: Any) -> None:
    ours = _identity(path)
    is_told = False
    while (seen := _identity(path)) is not None:
        if seen != ours and not is_told:
            is_told = True
            log.warning("somebody else took the place of the socket", socket=str(path))
        await anyio.sleep(LOOK_S)


async def _bound_again(path: Path, closing: ExitStack, log: Any) -> socket.socket:
    reason = ""
    while True:
        try:
            listener = closing.enter_context(_bound(path))
        except (OSError, RuntimeFolderError, SocketInUseError) as error:
            if str(error) != reason:
                reason = str(error)
                log.error("the socket is gone and cannot be made again yet", error=reason)
            await anyio.sleep(LOOK_S)
        else:
            log.warning("somebody deleted the socket; it is there again", socket=str(path))
            return listener


@contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    """A listening socket at `path`; at the end of the block it is removed, if it still is ours."""
    make_private_folder(path.parent)
    _require_nobody(path)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(128)
        listener.setblocking(False)
        identity = _identity(path)
        try:
            yield listener
        finally:
            listener.close()
            if _identity(path) == identity:
                path.unlink(missing_ok=True)


def _require_nobody(path: Path) -> None:
    """Two projects may be told to use one path, and neither may take it from the other."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            pass  # its queue is full, so somebody is there
        except OSError:
            return
    raise SocketInUseError(
        f"another process listens on the socket {str(path)!r} already. Way out: end it, or give "
        "each project a path of its own (HAMDEV_SOCKET, or [server] socket in devserver.toml)."
    )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


class _Door:
    """Lets the owner's clients in, as many as there is room for."""

    def __init__(self, requests: Requests, hub: Hub, log: Any) -> None:
        self._requests = requests
        self._hub = hub
        self._log = log
        self._inside = 0
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            limit = 1 << 20
        self._room = max(limit - RESERVED_DESCRIPTORS, 16)
        self._is_told = False

    async def let_in(self, listener: socket.socket, connections: TaskGroup) -> None:
        """Accept connections, for ever."""
        while True:
            await anyio.wait_readable(listener)
            try:
                peer, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                # Out of descriptors: those who are connected go on; new ones wait a little.
                self._tell("cannot take a connection", error=str(error))
                await anyio.sleep(_PAUSE_S)
                continue
            try:
                stream = await self._admitted(peer)
            except OSError:
                peer.close()  # gone before it was greeted
                continue
            if stream is not None:
                self._inside += 1
                connections.start_soon(self._serve, stream)

    async def _admitted(self, peer: socket.socket) -> UNIXSocketStream | None:
        if not is_trusted(uid := peer_uid(peer)):
            self._log.warning("refused a connection of another user", uid=uid)
            peer.close()
            return None
        if self._inside >= self._room:
            self._tell("refused a connection: there are too many", connections=self._inside)
            peer.close()
            return None
        peer.setblocking(False)
        return await UNIXSocketStream.from_socket(peer)

    def _tell(self, text: str, **facts: Any) -> None:
        """Once for each time that there is no room; it may be asked for thousands of times."""
        if not self._is_told:
            self._is_told = True
            self._log.warning(text, **facts)

    async def _serve(self, stream: UNIXSocketStream) -> None:
        try:
            await Connection(stream, self._requests, self._hub, self._log).serve()
        finally:
            self._inside -= 1
            self._is_told = False
