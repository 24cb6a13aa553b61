"""One client: lines in, lines out, never in another one's way."""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import SocketAttribute, TaskGroup, UNIXSocketStream
from anyio.lowlevel import checkpoint

from hamdev.daemon.hub import Hub, Subscription
from hamdev.daemon.requests import Requests, Subscribe, convert
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
# A closed socket's unread input makes the kernel throw away what the other side has not read yet.
DRAIN_S = 0.5
# How often to see whether a client that sends no more still waits for its answers.
HANGUP_LOOK_S = 0.5


class Connection:
    """Answers one client's requests and sends it the events that it subscribes to.

    Args:
        stream: its socket; it is closed at the end.
        requests: answers them.
        hub: where events come from.
        log: a structlog logger.
    """

    def __init__(self, stream: UNIXSocketStream, requests: Requests, hub: Hub, log: Any) -> None:
        self._stream = stream
        self._socket = stream.extra(SocketAttribute.raw_socket)
        self._requests = requests
        self._hub = hub
        self._log = log
        self._sending = anyio.Lock()
        self._places = anyio.Semaphore(MAX_CONCURRENT)
        self._unanswered = 0
        self._all_answered = anyio.Event()
        self._subscription: Subscription | None = None

    async def serve(self) -> None:
        """Serve until the client has gone, has closed its side, or has sent too long a line."""
        try:
            async with self._stream, anyio.create_task_group() as tasks:
                try:
                    await self._read(tasks)
                except LineTooLongError as error:
                    self._end_subscription()
                    await self._answer(error_line(None, RpcError(INVALID_REQUEST, str(error))))
                    await self._leave()
                except anyio.EndOfStream:
                    # Who closes only its sending side still gets its answers, but no more events.
                    self._end_subscription()
                await self._until_answered_or_gone()
                tasks.cancel_scope.cancel()
        except* (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the client has gone
        except* Exception as errors:
            self._log.error("a connection failed", error=repr(errors.exceptions[0]))

    async def _read(self, tasks: TaskGroup) -> None:
        splitter = LineSplitter()
        while True:
            for line in splitter.feed(await self._stream.receive(_CHUNK)):
                await self._take(line, tasks)

    async def _leave(self) -> None:
        """Answer what was asked before, and let the client read that, whatever it still sends."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._drain)
            await self._until_answered_or_gone()
            with suppress(OSError):
                await self._stream.send_eof()

    async def _drain(self) -> None:
        with anyio.move_on_after(DRAIN_S), suppress(anyio.EndOfStream):
            while True:
                await self._stream.receive(_CHUNK)

    async def _until_answered_or_gone(self) -> None:
        """One that was closed as a whole looks just like one that was half closed, but to poll."""
        hangup = select.poll()
        hangup.register(self._socket, 0)
        while self._unanswered and not hangup.poll(0):
            self._all_answered = anyio.Event()
            with anyio.move_on_after(HANGUP_LOOK_S):
                await self._all_answered.wait()

    # -- requests -----------------------------------------------------------------------------

    async def _take(self, line: bytes, tasks: TaskGroup) -> None:
        await self._places.acquire()
        self._unanswered += 1
        tasks.start_soon(self._handle, line, tasks)

    async def _handle(self, line: bytes, tasks: TaskGroup) -> None:
        try:
            parsed = parse_line(line)
            if isinstance(parsed, list):
                # The protocol is one message a line, in the other direction too.
                for item in parsed:
                    await self._one(item, tasks)
                    # Notifications are answered without a wait, and a line holds thousands.
                    await checkpoint()
            else:
                await self._one(parsed, tasks)
        finally:
            self._places.release()
            self._unanswered -= 1
            if not self._unanswered:
                self._all_answered.set()

    async def _one(self, request: Request | RpcError, tasks: TaskGroup) -> None:
        if isinstance(request, RpcError):
            await self._answer(error_line(None, request))
            return
        line = b""
        try:
            if request.method == "subscribe":
                await self._subscribe(request, tasks)
                return
            result = await self._requests.answer(request.method, request.params)
            if request.has_id:
                line = result_line(request.id, result)
        except RpcError as error:
            line = error_line(request.id, error)
        except Exception as error:
            self._log.error("a request failed", method=request.method[:100], error=repr(error))
            line = error_line(request.id, RpcError(INTERNAL_ERROR, f"internal error: {error!r}"))
        if request.has_id:
            # Who asks for the daemon's end hears that it comes, although it is coming already.
            is_last = request.method == "shutdown"
            with anyio.move_on_after(LAST_WORDS_S if is_last else None, shield=is_last):
                await self._answer(line)

    # -- events -------------------------------------------------------------------------------

    async def _subscribe(self, request: Request, tasks: TaskGroup) -> None:
        params: Subscribe = convert(Subscribe, request.params)
        self._end_subscription()
        await tasks.start(self._send_events, params, request)

    def _end_subscription(self) -> None:
        # Not by cancelling: half a line that is on its way would spoil the next one.
        if self._subscription is not None:
            self._subscription.end()

    async def _send_events(
        self,
        params: Subscribe,
        request: Request,
        *,
        task_status: anyio.abc.TaskStatus[None],
    ) -> None:
        with self._hub.subscription(params.since) as subscription:
            self._subscription = subscription
            result: dict[str, Any] = {"seq": self._hub.seq, "fresh": subscription.is_fresh}
            if subscription.is_fresh:
                result["snapshot"] = self._requests.snapshot()
            task_status.started()
            if request.has_id:
                await self._answer(result_line(request.id, result))
            try:
                while True:
                    await self._answer(await subscription.next())
            except anyio.EndOfStream:
                return

    async def _answer(self, line: bytes) -> None:
        try:
            self._sending.acquire_nowait()
        except anyio.WouldBlock:
            await self._sending.acquire()
        try:
            # There is room in most sockets, and to find that out at once is ten times as fast.
            if rest := line[self._sent_at_once(line) :]:
                await self._send_patiently(rest)
        finally:
            self._sending.release()

    async def _send_patiently(self, line: bytes) -> None:
        with anyio.move_on_after(STUCK_S) as patience:
            await self._stream.send(line)
        if patience.cancelled_caught:
            self._log.info("dropped a client that reads nothing")
            await anyio.aclose_forcefully(self._stream)
            raise anyio.ClosedResourceError

    def _sent_at_once(self, line: bytes) -> int:
        try:
            return self._socket.send(line)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise anyio.BrokenResourceError from error
