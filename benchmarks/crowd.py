"""Subscribers of all kinds in one process: readers, some who never read, some who come and go.

    python -m benchmarks.crowd SOCKET --readers 100 --silent 50 --visitors 50

Says `ready` when all are subscribed, goes on until a line with the number of the last event comes
from stdin, and then says as JSON what everybody got. Nothing is parsed before that, so that it is
the daemon that is busy.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import selectors
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

_SUBSCRIBE = b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n'
_TURN_S = 0.02
_LIMIT_S = 30.0


@dataclass(slots=True)
class _Reader:
    """One that reads all that it gets."""

    stream: socket.socket
    received: bytearray = field(default_factory=bytearray)
    is_closed: bool = False

    def read(self) -> bool:
        """Read once; whether there was anything."""
        try:
            chunk = self.stream.recv(1 << 18)
        except BlockingIOError:
            return False
        self.received += chunk
        self.is_closed = not chunk
        return bool(chunk)

    def has(self, seq: int) -> bool:
        """Whether it is up to date."""
        end = self.received.rfind(b"\n")
        start = self.received.rfind(b"\n", 0, max(end, 0)) + 1
        if end < 0:
            return False
        message = json.loads(self.received[start:end])
        known = message["params"]["seq"] if "params" in message else message["result"]["seq"]
        return int(known) >= seq

    def summary(self) -> dict[str, Any]:
        """Terminal events in order, how often it got a snapshot, and gaps without one."""
        first, *events = [json.loads(line) for line in self.received.splitlines()]
        seq = first["result"]["seq"]
        finished, snapshots, gaps = [], 0, 0
        for event in (message["params"] for message in events):
            if event["type"] == "snapshot":
                snapshots += 1
            elif event["seq"] != seq + 1:
                gaps += 1
            seq = event["seq"]
            if event["type"] == "run.finished":
                finished.append(event["run"])
        return {"finished": finished, "snapshots": snapshots, "gaps": gaps}


class Crowd:
    """All of them.

    Args:
        path: of the daemon's socket.
        readers: how many read everything.
        silent: how many never read.
        visitors: how many come and go, one in each turn.
    """

    def __init__(self, path: str, readers: int, silent: int, visitors: int) -> None:
        self._path = path
        self._poll = selectors.DefaultSelector()
        self._readers = [_Reader(self._subscribed()) for _ in range(readers)]
        for reader in self._readers:
            self._poll.register(reader.stream, selectors.EVENT_READ, reader)
        self._silent = [self._subscribed() for _ in range(silent)]
        self._visitors = deque(self._subscribed() for _ in range(visitors))
        self._visits = visitors
        # What is published before the answer is in the answer's snapshot and not told again.
        for stream in (*(r.stream for r in self._readers), *self._silent, *self._visitors):
            _wait_for_answer(stream)

    def _subscribed(self) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.connect(self._path)
        stream.sendall(_SUBSCRIBE)
        stream.setblocking(False)
        return stream

    def run(self) -> int:
        """Go on until stdin says which event is the last one."""
        self._poll.register(sys.stdin, selectors.EVENT_READ)
        turn = time.monotonic()
        while True:
            for key, _ in self._poll.select(max(turn - time.monotonic(), 0)):
                if key.data is None:
                    self._poll.unregister(sys.stdin)
                    return int(os.read(sys.stdin.fileno(), 64) or 0)
                self._read(key.data)
            if time.monotonic() >= turn:
                turn = time.monotonic() + _TURN_S
                self._visit()

    def finish(self, last: int) -> dict[str, Any]:
        """Read the rest, and say what everybody got."""
        deadline = time.monotonic() + _LIMIT_S
        while not all(reader.has(last) or reader.is_closed for reader in self._readers):
            if time.monotonic() > deadline:
                break
            for key, _ in self._poll.select(_TURN_S):
                self._read(key.data)
        return {
            "readers": [reader.summary() for reader in self._readers],
            "behind": sum(not reader.has(last) for reader in self._readers),
            "visits": self._visits,
            "silent_dropped": sum(map(_is_dropped, self._silent)),
        }

    def _read(self, reader: _Reader) -> None:
        if not reader.read() and reader.is_closed:
            self._poll.unregister(reader.stream)

    def _visit(self) -> None:
        if self._visitors:
            self._visitors.popleft().close()
            self._visitors.append(self._subscribed())
            self._visits += 1


def _wait_for_answer(stream: socket.socket) -> None:
    """Wait until the daemon has taken the subscription, without reading anything."""
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    if not poll.poll(_LIMIT_S * 1e3):
        raise SystemExit(f"a subscription was not answered within {_LIMIT_S:.0f} s")


def _is_dropped(stream: socket.socket) -> bool:
    """Whether the other end has closed it, without reading what is still in it."""
    poll = select.poll()
    poll.register(stream, 0)
    return bool(poll.poll(0))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowd", description=__doc__)
    parser.add_argument("socket")
    for kind, count in (("readers", 100), ("silent", 50), ("visitors", 50)):
        parser.add_argument(f"--{kind}", type=int, default=count)
    arguments = parser.parse_args()
    crowd = Crowd(arguments.socket, arguments.readers, arguments.silent, arguments.visitors)
    print("ready", flush=True)
    print(json.dumps(crowd.finish(crowd.run())), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
