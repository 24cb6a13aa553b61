"""Where a graph's nodes are drawn, as a child process works it out.

Graphviz is C code, and a graph may be of any size; so neither its crash nor its time is ours.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections import OrderedDict
from contextlib import suppress

import anyio
import msgspec

from hamdev.wire import INTERNAL_ERROR, RpcError

LIMIT_S = 30.0
MAX_KEPT = 8
MAX_BYTES = 32 * 1024 * 1024
_MAX_REASON = 500
# In characters of a node's second line, which are small: for a value, and for the sign of a state.
_ROOM, _SIGN = 22, 5
_COMMAND = (sys.executable, "-P", "-m", "hamdev.layout")


class Layouts:
    """One layout for each of the last graphs; one child at a time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._turn = anyio.Lock()

    async def of(self, graph: bytes) -> bytes:
        """The layout, as JSON, of a graph, as the method `graph` gives it.

        Raises:
            RpcError: there is none; the text says why.
        """
        structure = _structure(graph)
        key = hashlib.sha256(structure).digest()
        async with self._turn:
            if key not in self._kept:
                self._kept[key] = await _made(structure)
                while len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


class _Node(msgspec.Struct):
    name: str
    # Boxes have room for it. The page shows a value there, and how long that is changes.
    type: str = ""


class _Graph(msgspec.Struct):
    nodes: list[_Node]
    edges: list[list[str]]


def _structure(graph: bytes) -> bytes:
    """All that a layout depends on: no revisions, lines or texts."""
    structure = msgspec.json.decode(graph, type=_Graph)
    for node in structure.nodes:
        node.type = "0" * max(_ROOM, len(node.name) * 5 // 4 + _SIGN)
    return msgspec.json.encode(structure)


async def _made(graph: bytes) -> bytes:
    process = await anyio.open_process(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
    )
    try:
        with anyio.move_on_after(LIMIT_S) as patience:
            return await _answered(process, graph)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()
    assert patience.cancelled_caught
    raise RpcError(INTERNAL_ERROR, f"the graph could not be laid out within {LIMIT_S:g} s")


async def _answered(process: anyio.abc.Process, graph: bytes) -> bytes:
    assert process.stdin is not None
    said: dict[str, bytes] = {}

    async def read(name: str, stream: anyio.abc.ByteReceiveStream | None, limit: int) -> None:
        assert stream is not None
        content = bytearray()
        async for chunk in stream:
            if len(content) <= limit:
                content += chunk
        said[name] = bytes(content)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, "out", process.stdout, MAX_BYTES)
        tasks.start_soon(read, "error", process.stderr, _MAX_REASON * 4)
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await process.stdin.send(graph)
            await process.stdin.aclose()
    status = await process.wait()
    if status != 0 or len(said["out"]) > MAX_BYTES:
        reason = said["error"].decode("utf-8", "replace").strip()[-_MAX_REASON:]
        raise RpcError(INTERNAL_ERROR, f"the graph could not be laid out: {reason or status}")
    try:
        msgspec.json.decode(said["out"])
    except msgspec.DecodeError as error:
        raise RpcError(INTERNAL_ERROR, f"the graph's layout is not whole: {error}") from None
    return said["out"].strip()
