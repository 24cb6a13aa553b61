"""The socket: lines in, lines out, one connection never in another one's way."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup, UNIXSocketStream

from hamdev.daemon.hub import Hub
from hamdev.daemon.requests import Requests, Subscribe, convert
from hamdev.paths import make_private_folder
from hamdev.wire import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    LineSplitter,
    LineTooLongError,
    Request,
    RpcError,
    error_line,
    parse_line,
    result_line,
)

_CHUNK = 1 << 16
# A peer that takes nothing for so long is gone in all but name.
STUCK_S = 30.0
LAST_WORDS_S = 0.5
# Requests of one connection that are answered at a time; more wait in the socket.
MAX_CONCURRENT = 32


@asynccontextmanager
async def serving(path: Path, requests: Requests, hub: Hub, log: Any) -> AsyncIterator[None]:
    """Serve the socket at `path` while the block is open; only the owner of this process may call.

    The caller holds the project's lock, so a file that is there already is a dead daemon's.

    Raises:
        RuntimeFolderError: the folder is not private.
        OSError: the socket cannot be made.
    """
    make_private_folder(path.parent)
    listener = _bound(path)
    identity = path.stat().st_ino
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_accept, listener, requests, hub, log)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
    finally:
        listener.close()
        try:
            if path.stat().st_ino == identity:
                path.unlink()
        except OSError:
            pass  # somebody deleted it before us


def _bound(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(128)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


async def _accept(listener: socket.socket, requests: Requests, hub: Hub, log: Any) -> None:
    async with anyio.create_task_group() as connections:
        while True:
            await anyio.wait_readable(listener)
            try:
                peer, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                # Out of descriptors: those who are connected go on; new ones wait a little.
                log.warning("cannot take a connection", error=str(error))
                await anyio.sleep(0.1)
                continue
            if (uid := _peer_uid(peer)) not in (os.getuid(), 0):
                log.warning("refused a connection of another user", uid=uid)
                peer.close()
                continue
            peer.setblocking(False)
            stream = await UNIXSocketStream.from_socket(peer)
            connections.start_soon(_Connection(stream, requests, hub, log).serve)


def _peer_uid(peer: socket.socket) -> int:
    if sys.platform == "darwin":
        # struct xucred: version, uid, …; SOL_LOCAL is 0 and LOCAL_PEERCRED is 1.
        return int(struct.unpack_from("II", peer.getsockopt(0, 1, 76))[1])
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


class _Connection:
    """One client."""

    def __init__(self, stream: UNIXSocketStream, requests: Requests, hub: Hub, log: Any) -> None:
        self._stream = stream
        self._requests = requests
        self._hub = hub
        self._log = log
        self._sending = anyio.Lock()
        self._places = anyio.Semaphore(MAX_CONCURRENT)
        self._subscription: anyio.CancelScope | None = None

    async def serve(self) -> None:
        try:
            async with self._stream, anyio.create_task_group() as tasks:
                try:
                    await self._read(tasks)
                except LineTooLongError as error:
                    await self._answer(error_line(None, RpcError(INVALID_REQUEST, str(error))))
                    tasks.cancel_scope.cancel()
                except anyio.EndOfStream:
                    # Who closes only its sending side still gets its answers, but no more events.
                    if self._subscription is not None:
                        self._subscription.cancel()
        except* (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the client has gone
        except* Exception as errors:
            self._log.error("a connection failed", error=repr(errors.exceptions[0]))

    async def _read(self, tasks: TaskGroup) -> None:
        splitter = LineSplitter()
        while True:
            for line in splitter.feed(await self._stream.receive(_CHUNK)):
                await self._places.acquire()
                tasks.start_soon(self._handle, line, tasks)

    async def _handle(self, line: bytes, tasks: TaskGroup) -> None:
        try:
            parsed = parse_line(line)
            if isinstance(parsed, list):
                # The protocol is one message a line, in the other direction too.
                for item in parsed:
                    await self._one(item, tasks)
            else:
                await self._one(parsed, tasks)
        finally:
            self._places.release()

    async def _one(self, request: Request | RpcError, tasks: TaskGroup) -> None:
        if isinstance(request, RpcError):
            await self._answer(error_line(None, request))
            return
        try:
            if request.method == "subscribe":
                await self._subscribe(request, tasks)
                return
            result = await self._requests.answer(request.method, request.params)
            line = result_line(request.id, result)
        except RpcError as error:
            line = error_line(request.id, error)
        except Exception as error:
            self._log.error("a request failed", method=request.method, error=repr(error))
            line = error_line(request.id, RpcError(INTERNAL_ERROR, f"internal error: {error!r}"))
        if request.has_id:
            # Who asks for the daemon's end hears that it comes, although it is coming already.
            is_last = request.method == "shutdown"
            with anyio.move_on_after(LAST_WORDS_S if is_last else None, shield=is_last):
                await self._answer(line)

    async def _subscribe(self, request: Request, tasks: TaskGroup) -> None:
        params: Subscribe = convert(Subscribe, request.params)
        if self._subscription is not None:
            self._subscription.cancel()
        scope = self._subscription = anyio.CancelScope()
        await tasks.start(self._send_events, params, request, scope)

    async def _send_events(
        self,
        params: Subscribe,
        request: Request,
        scope: anyio.CancelScope,
        *,
        task_status: anyio.abc.TaskStatus[None],
    ) -> None:
        with self._hub.subscription(params.since) as subscription:
            result: dict[str, Any] = {"seq": self._hub.seq, "fresh": subscription.is_fresh}
            if subscription.is_fresh:
                result["snapshot"] = self._requests.snapshot()
            task_status.started()
            if request.has_id:
                await self._answer(result_line(request.id, result))
            with scope:
                while True:
                    await self._answer(await subscription.next())

    async def _answer(self, line: bytes) -> None:
        async with self._sending:
            with anyio.move_on_after(STUCK_S) as patience:
                await self._stream.send(line)
        if patience.cancelled_caught:
            self._log.info("dropped a client that reads nothing")
            await anyio.aclose_forcefully(self._stream)
            raise anyio.ClosedResourceError
