"""`hamdev watch` in a folder, with a subscriber on its socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.processes import Child, Deadline, Lines, Refusal, beside_python, running

START_LIMIT_S = 60.0
_RETRY_S = 0.01


class Subscriber:
    """One connection to a daemon, speaking JSON-RPC, one message a line.

    Args:
        stream: a connected Unix socket.
        daemon: the process at its other end.
    """

    def __init__(self, stream: socket.socket, daemon: Child) -> None:
        self._stream = stream
        self._daemon = daemon
        self._lines = Lines(stream)
        self._last_id = 0

    def call(self, method: str, params: dict[str, Any], limit_s: float) -> Any:
        """The result of a request; events that come before it are passed over.

        Raises:
            Refusal: an error, or no answer in time.
        """
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        self._stream.sendall(json.dumps(request).encode() + b"\n")
        deadline = Deadline(limit_s, f"{self._daemon.name}'s answer to {method!r}")
        while True:
            message = self._next_message(deadline)
            if message.get("id") != self._last_id:
                continue
            if "error" in message:
                raise Refusal(f"{self._daemon.name} answered {method!r} with {message['error']}")
            return message["result"]

    def next_event(self, deadline: Deadline, *types: str) -> dict[str, Any]:
        """The next event.

        Args:
            deadline: when to give up.
            types: of the events that matter, all if none is named; others are not even parsed.

        Raises:
            Refusal: none came in time, or the daemon closed the connection.
        """
        while True:
            line = self._next_line(deadline)
            if types and not any(f'"{kind}"' in line for kind in types):
                continue
            message = json.loads(line)
            if message.get("method") == "event":
                event: dict[str, Any] = message["params"]
                if not types or event["type"] in types:
                    return event

    def _next_message(self, deadline: Deadline) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._next_line(deadline))
        return message

    def _next_line(self, deadline: Deadline) -> str:
        line = self._lines.next(deadline)
        if line is None:
            self._daemon.require_alive()
            raise Refusal(f"{self._daemon.name} closed the connection\n{self._daemon.last_words()}")
        return line


@contextmanager
def serving(project: Path, log: Path) -> Iterator[tuple[Child, Subscriber]]:
    """A daemon for `project` whose first run has ended, and a subscriber to its events.

    Raises:
        Refusal: it did not start; with the end of its log.
    """
    command = [beside_python("hamdev"), "--project", str(project), "watch"]
    with (
        running("hamdev watch", command, project, log) as daemon,
        connected(project, daemon) as stream,
    ):
        subscriber = Subscriber(stream, daemon)
        subscriber.call("subscribe", {}, START_LIMIT_S)
        subscriber.call("sync", {"timeout": START_LIMIT_S}, START_LIMIT_S)
        yield daemon, subscriber


@contextmanager
def connected(project: Path, daemon: Child) -> Iterator[socket.socket]:
    """A connection to a project's daemon, which may be just starting.

    Raises:
        Refusal: there is none in time.
    """
    deadline = Deadline(START_LIMIT_S, "the socket of hamdev watch")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        while True:
            daemon.require_alive()
            try:
                text = (project / ".hamdev" / "daemon.json").read_text(encoding="utf-8")
                stream.connect(json.loads(text)["socket"])
                break
            except (OSError, ValueError, KeyError) as error:
                problem = error
            try:
                time.sleep(min(_RETRY_S, deadline.remaining()))
            except Refusal as refusal:
                raise Refusal(f"{refusal} ({problem})\n{daemon.last_words()}") from None
        yield stream
