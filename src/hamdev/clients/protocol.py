"""What both clients share: where a daemon listens, what is asked, and what comes of an answer.

No I/O but reading `daemon.json`, and nothing but the standard library: every command pays for
what is imported here.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import hamdev
from hamdev.errors import DaemonError, HamdevError, NoDaemonError, SyncTimeoutError
from hamdev.paths import daemon_file, default_socket, find_project

# As in hamdev.messages and hamdev.wire, which would cost an import of msgspec.
PROTOCOL = 1
UNKNOWN_NAME = 1
NO_VALUE = 2
NO_SUCH_FORMAT = 3
TIMED_OUT = 4
# What only the code of a value can answer.
_OF_VALUES = frozenset({"result", "rows"})

FOREVER = float("inf")
# JSON has no infinity.
A_YEAR_S = 365 * 24 * 3600.0
DEFAULT_TIMEOUT_S = 30.0
SYNC_TIMEOUT_S = 60.0
T = TypeVar("T")
Files = Mapping[str, str] | Iterable[Path | str]


@dataclass(frozen=True, slots=True)
class Place:
    """A project, and where its daemon may listen, the likeliest socket first."""

    project: Path
    sockets: tuple[str, ...]

    def no_daemon(self, reasons: Iterable[str]) -> NoDaemonError:
        """Says that nobody serves the project, why that is believed, and how to start a daemon."""
        return NoDaemonError(
            f"no daemon serves the project {str(self.project)!r} ({'; '.join(reasons)}). "
            f"{self._start_one()}"
        )

    def went_away(self, method: str) -> NoDaemonError:
        """Says that the daemon ended, or cut the connection, while it was asked something."""
        return NoDaemonError(
            f"the daemon of the project {str(self.project)!r} closed the connection while "
            f"{method!r} was waiting for its answer. If it has ended: {self._start_one()}"
        )

    def _start_one(self) -> str:
        return f"Way out: start one with 'hamdev watch' in {str(self.project)!r}."


def find_place(project: Path | str | None = None) -> Place:
    """Where to look for the daemon.

    Args:
        project: the project's folder; by default the nearest one at or above the current folder
            with a `devserver.toml`.
    """
    folder = find_project() if project is None else Path(project).resolve()
    if explicit := os.environ.get("HAMDEV_SOCKET"):
        return Place(folder, (explicit,))
    usual = str(default_socket(folder))
    told = _told_socket(folder)
    return Place(folder, (told, usual) if told and told != usual else (usual,))


def _told_socket(project: Path) -> str | None:
    """What `daemon.json` says; it may be left over from a daemon that was killed."""
    try:
        told = json.loads(daemon_file(project).read_bytes())["socket"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told if isinstance(told, str) else None


# -- questions -----------------------------------------------------------------------------------


def _as_it_is(result: Any) -> Any:
    return result


def _nothing(result: Any) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One question, and what its answer becomes.

    Attributes:
        method: of the protocol.
        params: those that are given.
        read: makes of the result what the caller gets.
        extra_s: how much longer than usual the answer may take.
    """

    method: str
    params: dict[str, Any]
    read: Callable[[Any], T]
    extra_s: float = 0.0

    def line(self, identity: int) -> bytes:
        """The request on the wire."""
        request = {
            "jsonrpc": "2.0",
            "id": identity,
            "method": self.method,
            "params": {key: value for key, value in self.params.items() if value is not None},
        }
        return json.dumps(request).encode() + b"\n"


def hello() -> Call[dict[str, Any]]:
    """Who serves, and whether it speaks this protocol."""
    client = f"hamdev-python/{hamdev.__version__}"
    return Call("hello", {"protocol": PROTOCOL, "client": client}, _as_it_is)


def ping() -> Call[None]:
    """Whether anybody answers."""
    return Call("ping", {}, _nothing)


def status(pipeline: str | None) -> Call[dict[str, Any]]:
    """What is served."""
    return Call("status", {"pipeline": pipeline}, _as_it_is)


def sync(files: Files | None, timeout: float | None) -> Call[dict[str, Any]]:
    """Results for what is on disk now."""
    seconds = A_YEAR_S if timeout is None else timeout
    params = {"files": None if files is None else _hashes(files), "timeout": seconds}
    return Call("sync", params, _as_it_is, seconds)


def result(node: str, pipeline: str | None, format: str, read: Callable[[Any], T]) -> Call[T]:
    """A node's value; `read` is one of those in `hamdev.clients.values`."""
    return Call("result", {"node": node, "pipeline": pipeline, "format": format}, read)


def graph(pipeline: str | None) -> Call[dict[str, Any]]:
    """The DAG."""
    return Call("graph", {"pipeline": pipeline}, _with_named_edges)


def _with_named_edges(answer: dict[str, Any]) -> dict[str, Any]:
    """A graph's edges as names; in very long lines they are positions of nodes."""
    names = [node["name"] for node in answer["nodes"]]
    edges = [[end if isinstance(end, str) else names[end] for end in e] for e in answer["edges"]]
    return {**answer, "edges": edges}


def source(node: str, pipeline: str | None) -> Call[dict[str, Any]]:
    """The text of a node's function."""
    return Call("source", {"node": node, "pipeline": pipeline}, _as_it_is)


def rows(node: str, pipeline: str | None, offset: int, limit: int) -> Call[dict[str, Any]]:
    """Some rows of a node's value."""
    params = {"node": node, "pipeline": pipeline, "offset": offset, "limit": limit}
    return Call("rows", params, _as_it_is)


def why(node: str, pipeline: str | None) -> Call[dict[str, Any]]:
    """What made a node run or be reused."""
    return Call("why", {"node": node, "pipeline": pipeline}, _as_it_is)


def rerun(nodes: Iterable[str], pipeline: str | None, clean: bool) -> Call[int]:
    """The number of a new run."""
    wanted = [nodes] if isinstance(nodes, str) else list(nodes)
    params = {"pipeline": pipeline, "nodes": wanted or None, "clean": clean or None}
    return Call("rerun", params, lambda answer: int(answer["run"]))


def cancel() -> Call[None]:
    """The end of the current run."""
    return Call("cancel", {}, _nothing)


def shutdown() -> Call[None]:
    """The end of the daemon."""
    return Call("shutdown", {}, _nothing)


def subscribe(since: int | None) -> Call[dict[str, Any] | None]:
    """Events from now on; the result becomes the snapshot event that they begin with, if any."""
    return Call("subscribe", {"since": since}, _snapshot_event)


def _snapshot_event(answer: dict[str, Any]) -> dict[str, Any] | None:
    snapshot = answer.get("snapshot")
    if snapshot is None:
        return None
    return {
        "type": "snapshot",
        "seq": answer["seq"],
        "revision": snapshot["revision"],
        "fresh": True,
        "snapshot": snapshot,
    }


def _hashes(files: Files) -> dict[str, str]:
    """Absolute path → sha256; of the file as it is now, unless a hash is given."""
    from hashlib import sha256

    if isinstance(files, Mapping):
        return {str(_absolute(path)): digest for path, digest in files.items()}
    paths = [_absolute(path) for path in ([files] if isinstance(files, str | Path) else files)]
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in paths}


def _absolute(path: Path | str) -> Path:
    """The name that the daemon knows a file by: a linked file keeps the link's name."""
    path = Path(path)
    return path.parent.resolve() / path.name


# -- answers -------------------------------------------------------------------------------------


class Messages:
    """The messages in a byte stream, however it is cut into chunks."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._lines: deque[bytes] = deque()

    def feed(self, chunk: bytes) -> None:
        """Take in what has arrived."""
        first, *others = chunk.split(b"\n")
        self._rest.append(first)
        for part in others:
            self._lines.append(b"".join(self._rest))
            self._rest = [part]

    def next(self) -> dict[str, Any] | None:
        """The next complete message, or None if more has to arrive first.

        Raises:
            HamdevError: the other side does not speak the protocol.
        """
        while self._lines:
            line = self._lines.popleft()
            if not line.strip():
                continue
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if not isinstance(message, dict):
                raise HamdevError(
                    f"whoever listens on the socket is no hamdev daemon: it said {line[:80]!r}. "
                    "Way out: end it, or set HAMDEV_SOCKET to the right socket."
                )
            return message
        return None


def result_of(message: Mapping[str, Any]) -> Any:
    """The result in an answer.

    Raises:
        SyncTimeoutError: the daemon gave up waiting.
        DaemonError: any other error.
    """
    error = message.get("error")
    if error is None:
        return message.get("result")
    code, text, data = error["code"], error["message"], error.get("data")
    if code == TIMED_OUT:
        raise SyncTimeoutError(code, text, data)
    raise DaemonError(code, text, data)


def no_socket(path: str, error: OSError) -> str:
    """Why nobody was reached at a socket, as a clause."""
    return f"socket {path!r}: {error.strerror or error}"


def not_ours(path: str, uid: int) -> str:
    """Why a socket that somebody listens on is not used, as a clause."""
    return f"socket {path!r}: uid {uid} listens there, and you are uid {os.getuid()}"


def no_answer(method: str, seconds: float) -> SyncTimeoutError:
    """Says that the daemon is there and silent."""
    if method in _OF_VALUES:
        way_out = (
            "see to it that the value's own code (__repr__, __reduce__, …) ends, or allow more "
            "time (hamdev.connect(timeout=None))."
        )
    else:
        way_out = "allow more time, or see what it does with 'hamdev events'."
    return SyncTimeoutError(
        TIMED_OUT, f"the daemon did not answer {method!r} within {seconds:g} s. Way out: {way_out}"
    )
