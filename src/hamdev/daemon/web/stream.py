"""Events for an open page: first what has been, then what happens, as server-sent events."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope, Send

from hamdev import __version__
from hamdev.daemon.engine import Engine
from hamdev.daemon.hub import Subscription
from hamdev.daemon.web.edits import Edits
from hamdev.daemon.web.history import history
from hamdev.wire import to_json

# A page that has heard nothing for longer says so.
BEAT_S = 10.0
# What a browser does with an event takes a core for some milliseconds, of which the run would be
# short. So it is told of a short run when that is over, and of a long one now and then.
GATHER_S = 0.05


class EventStream:
    """An ASGI application: one endless answer.

    Args:
        engine: of the daemon.
        proof_key: how a page will know this daemon again.
        edits: knows which lines a save changed.
    """

    def __init__(self, engine: Engine, proof_key: str, edits: Edits) -> None:
        self._engine = engine
        self._proof_key = proof_key
        self._edits = edits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the browser has gone."""
        since = _since(scope)
        hub = self._engine.hub
        with hub.subscription(since) as subscription:
            # All of this is of one moment; what is published from now on comes after it.
            first = [_message(to_json(self._facts(subscription.is_fresh)), event="hello")]
            if subscription.is_fresh:
                snapshot, kept = _message(*_params(hub.fresh_line())), hub.kept()
                past = await anyio.to_thread.run_sync(history, kept, dict(self._edits.of_all()))
                first += [_message(past, event="history"), snapshot]
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-type", b"text/event-stream; charset=utf-8")],
                }
            )
            await _send(send, b"".join(first))
            with hub.subscription(types=frozenset({"run.finished"})) as ends:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
                    tasks.start_soon(_tell_of_settings, self._engine, send)
                    await _send_events(subscription, ends, send)

    def _facts(self, is_fresh: bool) -> dict[str, Any]:
        engine = self._engine
        return {
            "version": __version__,
            "project": engine.project.name,
            "root": str(engine.project),
            "started": engine.hub.first_seq,
            "python": engine.python,
            "hamilton": engine.hamilton,
            "proof_key": self._proof_key,
            "fresh": is_fresh,
            "beat_s": BEAT_S,
        }


async def _send_events(subscription: Subscription, ends: Subscription, send: Send) -> None:
    while True:
        with anyio.move_on_after(BEAT_S) as patience:
            await subscription.arrived()
        if patience.cancelled_caught:
            await _send(send, _message(b"{}", event="beat"))
            continue
        with anyio.move_on_after(GATHER_S):
            await ends.arrived()
        if not ends.is_empty:
            await ends.next()
        lines = await subscription.next()
        await _send(send, b"".join(_message(*_params(line)) for line in lines.splitlines()))


async def _tell_of_settings(engine: Engine, send: Send) -> None:
    while True:
        await engine.settings_read()
        await _send(send, _message(b"{}", event="settings"))


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _send(send: Send, body: bytes) -> None:
    # Waits while the browser does not read; the connection ends if that takes too long.
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _since(scope: Scope) -> int | None:
    query = QueryParams(scope["query_string"])
    given = query.get("since") or Headers(scope=scope).get("last-event-id") or ""
    return int(given) if given.isdecimal() and len(given) < 20 else None


class _Line(msgspec.Struct):
    params: msgspec.Raw


class _Numbered(msgspec.Struct):
    seq: int


_line = msgspec.json.Decoder(_Line)
_numbered = msgspec.json.Decoder(_Numbered)


def _params(line: bytes) -> tuple[bytes, int]:
    """An event as JSON, and its number."""
    params = _line.decode(line).params
    return bytes(params), _numbered.decode(params).seq


def _message(data: bytes, number: int | None = None, event: str = "") -> bytes:
    # JSON has no line ends of its own, so it is one line of data.
    head = (b"event: %b\n" % event.encode() if event else b"") + (
        b"id: %d\n" % number if number is not None else b""
    )
    return head + b"data: %b\n\n" % data
