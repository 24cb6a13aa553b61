"""A client that reads nothing is dropped when its time is over; one that reads slowly is not."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import structlog
from anyio.abc import UNIXSocketStream

from hamdev.daemon import connection
from hamdev.daemon.connection import Connection
from hamdev.daemon.hub import Hub
from hamdev.messages import Event, Status

STUCK_S = 1.5
SUBSCRIBE = b'{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"since":0}}\n'


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr(connection, "STUCK_S", STUCK_S)
    made: Hub = Hub(lambda: Status(revision=1, seq=made.seq, pipelines={}))
    return made


@asynccontextmanager
async def subscribed(hub: Hub) -> AsyncIterator[tuple[socket.socket, anyio.Event]]:
    """A client's end of a served connection, and what is set when it is over."""
    theirs, ours = socket.socketpair()
    theirs.setblocking(False)
    ours.setblocking(False)
    is_over = anyio.Event()
    # A subscription since the start asks nothing of the engine.
    requests: Any = None
    served = Connection(
        await UNIXSocketStream.from_socket(ours), requests, hub, structlog.get_logger()
    )

    async def serve() -> None:
        await served.serve()
        is_over.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        theirs.sendall(SUBSCRIBE)
        try:
            await anyio.wait_readable(theirs)
            assert "result" in json.loads(theirs.recv(1000))
            yield theirs, is_over
        finally:
            theirs.close()
            tasks.cancel_scope.cancel()


def publish(hub: Hub, count: int) -> None:
    for _ in range(count):
        hub.publish(Event(type="output", revision=1, text="x" * 50_000))


async def read_line(stream: socket.socket, rest: bytearray) -> dict[str, Any]:
    while b"\n" not in rest:
        await anyio.wait_readable(stream)
        received = stream.recv(1 << 14)
        assert received, "the connection was closed"
        rest += received
    line, rest[:] = rest.split(b"\n", 1)
    event: dict[str, Any] = json.loads(line)["params"]
    return event


async def test_who_reads_nothing_is_dropped_and_nobody_else(hub: Hub) -> None:
    async with subscribed(hub) as (_, is_dropped), subscribed(hub) as (reads, is_over):
        publish(hub, 100)
        rest = bytearray()
        with anyio.fail_after(30):
            for _ in range(100):
                assert (await read_line(reads, rest))["type"] == "output"
            await is_dropped.wait()
            publish(hub, 1)
            assert (await read_line(reads, rest))["type"] == "output"
        assert not is_over.is_set()


async def test_who_reads_slowly_is_not_dropped(hub: Hub) -> None:
    async with subscribed(hub) as (slow, is_over):
        publish(hub, 100)
        rest = bytearray()
        # In all it takes longer than one that reads nothing is given; each part of it far less.
        with anyio.fail_after(30):
            for _ in range(100):
                await anyio.sleep(STUCK_S / 60)
                assert (await read_line(slow, rest))["type"] == "output"
        assert not is_over.is_set()
