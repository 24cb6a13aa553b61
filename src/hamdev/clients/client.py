"""`connect`: ask the daemon of a project, from any Python program.

The blocking client imports nothing but the standard library, so that it starts fast. Its
asynchronous twin, which is found here as well, imports anyio when it connects.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from hamdev.clients import protocol
from hamdev.clients.async_client import AsyncClient, AsyncEvents, connect_async
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

__all__ = ["AsyncClient", "AsyncEvents", "Client", "Events", "connect", "connect_async"]

_CHUNK = 1 << 16
T = TypeVar("T")


def connect(
    project: Path | str | None = None, *, timeout: float | None = DEFAULT_TIMEOUT_S
) -> Client:
    """A blocking client of the daemon that serves a project.

    Args:
        project: the project's folder; by default the nearest one at or above the current folder
            with a `devserver.toml`.
        timeout: seconds that any answer may take; None: for ever. `sync` has its own.

    Raises:
        NoDaemonError: nobody serves the project.
        DaemonError: the daemon speaks another protocol; the message says who must upgrade.
        SyncTimeoutError: the daemon does not answer.
    """
    return Client(find_place(project), timeout)


class _Connection:
    """A connected socket with questions and answers on it."""

    def __init__(self, place: Place, timeout: float | None) -> None:
        self._place = place
        self._timeout = protocol.FOREVER if timeout is None else timeout
        self._socket, self.path = _connected(place, self._timeout)
        self._messages = Messages()
        self._last_id = 0

    def ask(self, call: Call[T]) -> T:
        self._last_id += 1
        seconds = self._timeout + call.extra_s
        deadline = time.monotonic() + seconds
        try:
            _limit(self._socket, deadline)
            self._socket.sendall(call.line(self._last_id))
            while (message := self.receive(deadline)).get("id") != self._last_id:
                # Answers to questions that were given up are passed over, and an error without
                # an id concerns the only question that there is.
                if "error" in message and message.get("id") is None:
                    break
        except TimeoutError:
            raise no_answer(call.method, seconds) from None
        except OSError:
            raise self._place.went_away(call.method) from None
        return call.read(result_of(message))

    def receive(self, deadline: float = protocol.FOREVER) -> dict[str, Any]:
        """The next message; a `ConnectionError` at the end of the stream."""
        while (message := self._messages.next()) is None:
            _limit(self._socket, deadline)
            chunk = self._socket.recv(_CHUNK)
            if not chunk:
                raise ConnectionResetError("end of the stream")
            self._messages.feed(chunk)
        return message

    def close(self) -> None:
        try:
            # Wakes a thread that is waiting in recv; closing alone does not.
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was faster
        self._socket.close()


def _connected(place: Place, timeout: float) -> tuple[socket.socket, str]:
    reasons = []
    for path in place.sockets:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _limit(stream, time.monotonic() + timeout)
            stream.connect(path)
        except OSError as error:
            stream.close()
            reasons.append(no_socket(path, error))
            continue
        # Whoever answers says what is unpickled here.
        if is_trusted(uid := peer_uid(stream)):
            return stream, path
        stream.close()
        reasons.append(not_ours(path, uid))
    raise place.no_daemon(reasons)


def _limit(stream: socket.socket, deadline: float) -> None:
    if deadline == protocol.FOREVER:
        stream.settimeout(None)
        return
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    stream.settimeout(remaining)


class Client:
    """Questions to a daemon, one at a time; not to be shared between threads.

    Every method raises `DaemonError` for an error that the daemon answers with, and
    `NoDaemonError` if the daemon ends meanwhile.

    Attributes:
        project: the project's folder.
        socket: the path of the daemon's socket.
        daemon: what the daemon said of itself: `pid`, `version`, `python`, `root`, ….
    """

    def __init__(self, place: Place, timeout: float | None) -> None:
        self.project = place.project
        self._place = place
        self._timeout = timeout
        self._open = ExitStack()
        self._connection = _Connection(place, timeout)
        self._open.callback(self._connection.close)
        self.socket = self._connection.path
        try:
            self.daemon = self.hello()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, and those of all `events`."""
        self._open.close()

    def hello(self) -> dict[str, Any]:
        """Who serves: `version`, `python`, `hamilton`, `pid`, `root`, `pipelines` and more."""
        return self._connection.ask(protocol.hello())

    def ping(self) -> None:
        """Return if the daemon answers."""
        self._connection.ask(protocol.ping())

    def status(self, pipeline: str | None = None) -> dict[str, Any]:
        """What is served: `revision`, `seq`, and `pipelines`: name → its status."""
        return self._connection.ask(protocol.status(pipeline))

    def sync(
        self, files: Files | None = None, *, timeout: float | None = SYNC_TIMEOUT_S
    ) -> dict[str, Any]:
        """The status once there are results no older than this moment.

        Args:
            files: those whose present content must have been seen: paths, or a mapping of paths
                to sha256 hex digests; by default every file that the daemon knows.
            timeout: seconds to wait; None: for ever.

        Raises:
            SyncTimeoutError: there were none in time.
            OSError: one of `files` cannot be read.
        """
        return self._connection.ask(protocol.sync(files, timeout))

    def result(self, node: str, pipeline: str | None = None) -> Any:
        """A node's value itself, as a copy of this process's own.

        Args:
            node: its name.
            pipeline: the pipeline; by default the one that has such a node.

        Raises:
            DaemonError: code 1: there is no such node (`data["nearest"]`); 2: it has no value
                yet; 3: the value cannot be pickled (`data["formats"]`).
            HamdevError: the value cannot be rebuilt in this Python; the message says what lacks.
        """
        from hamdev.clients.values import object_from

        read = object_from(self._root)
        return self._connection.ask(protocol.result(node, pipeline, "pickle", read))

    def result_as(self, node: str, format: str, pipeline: str | None = None) -> bytes:
        """A node's value as bytes in `format`: text, json, csv, parquet, arrow, pickle or png.

        Raises:
            DaemonError: as `result`.
        """
        from hamdev.clients.values import bytes_in

        return self._connection.ask(protocol.result(node, pipeline, format, bytes_in(format)))

    def events(self, since: int | None = None) -> Events:
        """What happens, event by event, from now on; over a connection of its own.

        Args:
            since: the `seq` of the last event that is known. Without it, and whenever events
                were missed, the first one is of type `snapshot` and holds the whole status.
        """
        events = Events(self._place, self._timeout, since)
        self._open.callback(events.close)
        return events

    def graph(self, pipeline: str | None = None) -> dict[str, Any]:
        """The DAG as it was last composed: `revision`, `nodes` and `edges`.

        Each node is a dict with `name`, `type`, `kind` ("function", "input" or "config"), `module`,
        `file`, `line`, `doc` and `tags`, dependencies first; of thousands of nodes, the last of
        these are left out. Each edge is `[from, to]`, from a dependency to what depends on it.
        While the modules do not load, `revision` is that of when they last did.

        Args:
            pipeline: the pipeline; needed only if several are served.

        Raises:
            DaemonError: code 1: there is no such pipeline; 2: none was composed yet.
        """
        return self._connection.ask(protocol.graph(pipeline))

    def source(self, node: str, pipeline: str | None = None) -> dict[str, Any]:
        """A node's function as it was loaded: `text`, decorators included, `file` and `line`.

        Raises:
            DaemonError: code 1: there is no such node (`data["nearest"]`); 2: no DAG was composed
                yet; 3: the node has no function, since it is an input.
        """
        return self._connection.ask(protocol.source(node, pipeline))

    def rows(
        self, node: str, pipeline: str | None = None, *, offset: int = 0, limit: int = 100
    ) -> dict[str, Any]:
        """Some rows of a table or list, as texts, without fetching the whole of it.

        Args:
            node: its name.
            pipeline: the pipeline; by default the one that has such a node.
            offset: the first row, from 0.
            limit: how many rows at most; up to 1,000, fewer if they are long.

        Returns:
            `total` (how many rows there are), `columns`, `types`, `rows` (a list of texts for each
            row), `columns_total` (only the first 200 are given), `revision` and `run`. The first
            column of a pandas value is its index.

        Raises:
            DaemonError: as `result`; code 3: the value has no rows.
        """
        return self._connection.ask(protocol.rows(node, pipeline, offset, limit))

    def why(self, node: str, pipeline: str | None = None) -> dict[str, Any]:
        """Why a node ran or was reused in the last run."""
        return self._connection.ask(protocol.why(node, pipeline))

    def rerun(
        self, nodes: Iterable[str] = (), *, pipeline: str | None = None, clean: bool = False
    ) -> int:
        """The number of the run that was asked for; it goes on in the background.

        Args:
            nodes: those to run again; by default all.
            pipeline: by default all.
            clean: forget every remembered value and start a new worker.
        """
        return self._connection.ask(protocol.rerun(nodes, pipeline, clean))

    def cancel(self) -> None:
        """End the current run."""
        self._connection.ask(protocol.cancel())

    def shutdown(self) -> None:
        """Tell the daemon to end; it may take a moment more after that."""
        try:
            self._connection.ask(protocol.shutdown())
        except NoDaemonError:
            pass  # it was faster than its answer

    @property
    def _root(self) -> Path:
        return Path(self.daemon.get("root") or self.project)


class Events(Iterator[dict[str, Any]]):
    """Events as they happen; the iteration ends when the daemon does, or at `close`."""

    def __init__(self, place: Place, timeout: float | None, since: int | None) -> None:
        self._connection = _Connection(place, timeout)
        try:
            self._first = self._connection.ask(protocol.subscribe(since))
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __next__(self) -> dict[str, Any]:
        if (first := self._first) is not None:
            self._first = None
            return first
        while True:
            try:
                message = self._connection.receive()
            except OSError:
                raise StopIteration from None
            if message.get("method") == "event":
                event: dict[str, Any] = message["params"]
                return event

    def close(self) -> None:
        """Close the connection; may be called from another thread."""
        self._connection.close()
