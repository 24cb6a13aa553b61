"""Who may connect, and that there always is a socket to connect to."""

from __future__ import annotations

import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup, UNIXSocketStream

from hamdev.daemon.connection import Connection
from hamdev.daemon.hub import Hub
from hamdev.daemon.listener import Listener
from hamdev.daemon.pulse import beat
from hamdev.daemon.requests import Requests
from hamdev.errors import HamdevError
from hamdev.peer import is_trusted, peer_uid

# How often to see whether the socket is still where clients look for it.
LOOK_S = 1.0
# Descriptors that connections leave to workers, watches and files.
RESERVED_DESCRIPTORS = 96
_PAUSE_S = 0.1


@asynccontextmanager
async def serving(
    listener: Listener, requests: Requests, hub: Hub, log: Any
) -> AsyncIterator[None]:
    """Serve who connects while the block is open; only the owner of this process may.

    If somebody deletes the socket, it is bound again within `LOOK_S`; who is connected stays so.
    """
    door = _Door(requests, hub, log)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_keep_open, listener, door, log)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


async def _keep_open(listener: Listener, door: _Door, log: Any) -> None:
    async with anyio.create_task_group() as connections:
        while True:
            async with anyio.create_task_group() as accepting:
                accepting.start_soon(door.let_in, listener.socket, connections)
                await _until_deleted(listener, log)
                accepting.cancel_scope.cancel()
            listener.close()
            await _bind_again(listener, log)


async def _until_deleted(listener: Listener, log: Any) -> None:
    is_told = False
    while not listener.is_deleted:
        if listener.is_replaced and not is_told:
            is_told = True
            log.warning("somebody else took the place of the socket", socket=str(listener.path))
        await beat(LOOK_S)


async def _bind_again(listener: Listener, log: Any) -> None:
    reason = ""
    while True:
        try:
            listener.bind()
        except (OSError, HamdevError) as error:
            if str(error) != reason:
                reason = str(error)
                log.error("the socket is gone and cannot be made again yet", error=reason)
            await anyio.sleep(LOOK_S)
        else:
            path = str(listener.path)
            log.warning("somebody deleted the socket; it is there again", socket=path)
            return


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
