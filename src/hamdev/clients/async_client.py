"""The asynchronous client; anyio is imported when it connects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from hamdev.clients import protocol
from hamdev.clients.protocol import (
    DEFAULT_TIMEOUT_S,
    SYNC_TIMEOUT_S,
    Call,
    Files,
    Messages,
    Place,
    find_place,
    no_answer,
    no_socket,
    not_ours,
    result_of,
)
from hamdev.errors import NoDaemonError
from hamdev.peer import is_trusted, peer_uid

if TYPE_CHECKING:
    from anyio.abc import SocketStream

_CHUNK = 1 << 16
T = TypeVar("T")


@asynccontextmanager
async def connect_async(
    project: Path | str | None = None, *, timeout: float | None = DEFAULT_TIMEOUT_S
) -> AsyncIterator[AsyncClient]:
    """An asynchronous client, in any event loop that anyio knows; otherwise as `connect`.

    Yields:
        The connected client; the connection is closed when the block is left.
    """
    async with AsyncClient(find_place(project), timeout) as client:
        yield client


class _AsyncConnection:
    """`_Connection` over anyio."""

    def __init__(self, place: Place, timeout: float | None) -> None:
        import anyio

        self._place = place
        self._timeout = protocol.FOREVER if timeout is None else timeout
        self._messages = Messages()
        self._last_id = 0
        self._reading, self._writing = anyio.Lock(), anyio.Lock()
        self._asked: set[int] = set()
        self._answers: dict[int, dict[str, Any]] = {}
        self._stream: SocketStream | None = None

    async def open(self) -> None:
        import anyio
        import anyio.abc

        if self._stream is not None:
            return
        reasons = []
        for path in self._place.sockets:
            try:
                with anyio.fail_after(self._timeout):
                    stream = await anyio.connect_unix(path)
            except OSError as error:
                reasons.append(no_socket(path, error))
                continue
            # Whoever answers says what is unpickled here.
            uid = peer_uid(stream.extra(anyio.abc.SocketAttribute.raw_socket))
            if is_trusted(uid):
                self._stream = stream
                return
            await stream.aclose()
            reasons.append(not_ours(path, uid))
        raise self._place.no_daemon(reasons)

    async def ask(self, call: Call[T]) -> T:
        import anyio

        self._last_id += 1
        identity = self._last_id
        seconds = self._timeout + call.extra_s
        self._asked.add(identity)
        try:
            with anyio.fail_after(seconds):
                # Half a line would spoil the next question, so a cancelled asker's is completed.
                with anyio.CancelScope(shield=True), anyio.fail_after(self._timeout):
                    async with self._writing:
                        await self._opened().send(call.line(identity))
                message = await self._answer(identity)
        except TimeoutError:
            raise no_answer(call.method, seconds) from None
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise self._place.went_away(call.method) from None
        finally:
            self._asked.discard(identity)
            self._answers.pop(identity, None)
        result = result_of(message)
        if call.method == "result":
            # Reading and rebuilding a large value takes a while.
            return await anyio.to_thread.run_sync(call.read, result)
        return call.read(result)

    async def _answer(self, identity: int) -> dict[str, Any]:
        """The answer to a question; one of those who wait reads for all of them."""
        while identity not in self._answers:
            async with self._reading:
                if identity in self._answers:
                    break
                message = await self.receive()
                if (whose := message.get("id")) in self._asked:
                    self._answers[whose] = message
                elif whose is None and "error" in message:
                    return message
        return self._answers[identity]

    async def receive(self) -> dict[str, Any]:
        while (message := self._messages.next()) is None:
            self._messages.feed(await self._opened().receive(_CHUNK))
        return message

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()

    def _opened(self) -> SocketStream:
        assert self._stream is not None
        return self._stream


class AsyncClient:
    """`Client` with `await`; tasks may share it.

    Attributes:
        project: the project's folder.
        daemon: what the daemon said of itself: `pid`, `version`, `python`, `root`, ….
    """

    def __init__(self, place: Place, timeout: float | None) -> None:
        self.project = place.project
        self.daemon: dict[str, Any] = {}
        self._place = place
        self._timeout = timeout
        self._open = AsyncExitStack()
        self._connection = _AsyncConnection(place, timeout)

    async def __aenter__(self) -> AsyncClient:
        await self._connection.open()
        self._open.push_async_callback(self._connection.close)
        try:
            self.daemon = await self.hello()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def hello(self) -> dict[str, Any]:
        """As `Client.hello`."""
        return await self._connection.ask(protocol.hello())

    async def ping(self) -> None:
        """As `Client.ping`."""
        await self._connection.ask(protocol.ping())

    async def status(self, pipeline: str | None = None) -> dict[str, Any]:
        """As `Client.status`."""
        return await self._connection.ask(protocol.status(pipeline))

    async def sync(
        self, files: Files | None = None, *, timeout: float | None = SYNC_TIMEOUT_S
    ) -> dict[str, Any]:
        """As `Client.sync`."""
        return await self._connection.ask(protocol.sync(files, timeout))

    async def result(self, node: str, pipeline: str | None = None) -> Any:
        """As `Client.result`."""
        from hamdev.clients.values import object_from

        read = object_from(Path(self.daemon.get("root") or self.project))
        return await self._connection.ask(protocol.result(node, pipeline, "pickle", read))

    async def result_as(self, node: str, format: str, pipeline: str | None = None) -> bytes:
        """As `Client.result_as`."""
        from hamdev.clients.values import bytes_in

        return await self._connection.ask(protocol.result(node, pipeline, format, bytes_in(format)))

    def events(self, since: int | None = None) -> AsyncEvents:
        """As `Client.events`; it connects at the first event, or when it is entered."""
        events = AsyncEvents(self._place, self._timeout, since)
        self._open.push_async_callback(events.aclose)
        return events

    async def graph(self, pipeline: str | None = None) -> dict[str, Any]:
        """As `Client.graph`."""
        return await self._connection.ask(protocol.graph(pipeline))

    async def source(self, node: str, pipeline: str | None = None) -> dict[str, Any]:
        """As `Client.source`."""
        return await self._connection.ask(protocol.source(node, pipeline))

    async def rows(
        self, node: str, pipeline: str | None = None, *, offset: int = 0, limit: int = 100
    ) -> dict[str, Any]:
        """As `Client.rows`."""
        return await self._connection.ask(protocol.rows(node, pipeline, offset, limit))

    async def why(self, node: str, pipeline: str | None = None) -> dict[str, Any]:
        """As `Client.why`."""
        return await self._connection.ask(protocol.why(node, pipeline))

    async def rerun(
        self, nodes: Iterable[str] = (), *, pipeline: str | None = None, clean: bool = False
    ) -> int:
        """As `Client.rerun`."""
        return await self._connection.ask(protocol.rerun(nodes, pipeline, clean))

    async def cancel(self) -> None:
        """As `Client.cancel`."""
        await self._connection.ask(protocol.cancel())

    async def shutdown(self) -> None:
        """As `Client.shutdown`."""
        try:
            await self._connection.ask(protocol.shutdown())
        except NoDaemonError:
            pass  # it was faster than its answer


class AsyncEvents(AsyncIterator[dict[str, Any]]):
    """`Events` with `async for`; `async with` connects before the first event is awaited."""

    def __init__(self, place: Place, timeout: float | None, since: int | None) -> None:
        self._connection = _AsyncConnection(place, timeout)
        self._since = since
        self._subscribed = False
        self._first: dict[str, Any] | None = None

    async def __aenter__(self) -> AsyncEvents:
        await self._subscribe()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def __anext__(self) -> dict[str, Any]:
        import anyio

        await self._subscribe()
        if (first := self._first) is not None:
            self._first = None
            return first
        while True:
            try:
                message = await self._connection.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                raise StopAsyncIteration from None
            if message.get("method") == "event":
                event: dict[str, Any] = message["params"]
                return event

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _subscribe(self) -> None:
        if self._subscribed:
            return
        await self._connection.open()
        self._first = await self._connection.ask(protocol.subscribe(self._since))
        self._subscribed = True
