"""What the page asks for: the protocol's methods that it needs, and a few of its own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from hamdev.daemon.requests import Requests
from hamdev.daemon.web.edits import Edits
from hamdev.daemon.web.layouts import Layouts
from hamdev.wire import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    TIMED_OUT,
    UNKNOWN_METHOD,
    RpcError,
    to_json,
)

MAX_BODY = 64 * 1024
BODY_S = 10.0
# A browser has few connections, and who waits for a value wants to know that it does not come.
PATIENCE_S = 10.0
MAX_TEXT = 256 * 1024
MAX_PICTURE = 32 * 1024 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"
# `hello` would tell nothing new, and `shutdown` is nothing for a page.
_PROTOCOL = frozenset(
    {"status", "why", "result", "rows", "graph", "source", "rerun", "cancel", "sync"}
)


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    method: str
    params: dict[str, Any] = {}


class Answers:
    """Endpoints that answer one request each.

    Args:
        requests: of the protocol.
        edits: knows which lines a save changed.
        log: a structlog logger.
    """

    def __init__(self, requests: Requests, edits: Edits, log: Any) -> None:
        self._requests = requests
        self._edits = edits
        self._layouts = Layouts()
        self._log = log
        self._own: Mapping[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "node": self._node,
            "text": self._text,
            "layout": self._layout,
            "edits": self._edits_of,
        }

    async def api(self, request: Request) -> Response:
        """`{"method", "params"}` → `{"result"}` or `{"error": {code, message, data}}`."""
        try:
            asked = await _asked(request)
            result = await self._answer(asked.method, asked.params)
            return _json({"result": result})
        except RpcError as error:
            body = {"code": error.code, "message": error.message[:2000], "data": error.data}
            return _json({"error": body})
        except HTTPException:
            raise
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        except Exception as error:
            self._log.error("a request of the page failed", error=repr(error))
            text = f"internal error: {error!r}"
            return _json({"error": {"code": INTERNAL_ERROR, "message": text, "data": None}})

    async def picture(self, request: Request) -> Response:
        """A node's value as a picture."""
        names = {
            key: request.query_params[key]
            for key in ("node", "pipeline")
            if key in request.query_params
        }
        try:
            result = await self._value(names, "png")
            content, _ = await anyio.to_thread.run_sync(_content, result, MAX_PICTURE + 1)
        except RpcError as error:
            raise HTTPException(404, error.message[:2000]) from None
        except (OSError, binascii.Error) as error:
            raise HTTPException(404, f"the picture is gone: {error}") from None
        if len(content) > MAX_PICTURE:
            raise HTTPException(404, f"the picture has more than {MAX_PICTURE:,} bytes")
        if not content.startswith(_PNG):
            # User code makes it, and a browser shall not guess what else it may be.
            raise HTTPException(404, "the value is no picture in the format png")
        return Response(content, media_type="image/png")

    async def _answer(self, method: str, params: dict[str, Any]) -> Any:
        if method in _PROTOCOL:
            return await self._requests.answer(method, params)
        if method in self._own:
            return await self._own[method](params)
        known = sorted([*_PROTOCOL, *self._own])
        raise RpcError(UNKNOWN_METHOD, f"unknown method {method!r}", {"methods": known})

    async def _node(self, params: dict[str, Any]) -> dict[str, Any]:
        """A node's whole status, of which a snapshot of many nodes leaves parts out."""
        node, pipeline = _text_of(params, "node"), _text_of(params, "pipeline")
        status = await self._requests.answer("status", {"pipeline": pipeline})
        found: dict[str, Any] = {"seq": status.seq, "status": None, "why": None}
        for pipelines in status.pipelines.values():
            found["status"] = pipelines.nodes.get(node)
        try:
            found["why"] = await self._requests.answer("why", params)
        except RpcError as error:
            if found["status"] is None:
                raise
            found["why"] = {"node": node, "action": None, "because": [], "text": error.message}
        return found

    async def _value(self, params: dict[str, Any], form: str) -> Any:
        with anyio.move_on_after(PATIENCE_S):
            return await self._requests.answer("result", {**params, "format": form})
        raise RpcError(
            TIMED_OUT,
            f"There is no answer of the worker within {PATIENCE_S:g} s. Code of yours, such as a "
            "__repr__, may keep it from that; 'Clean' starts a new one.",
        )

    async def _text(self, params: dict[str, Any]) -> dict[str, Any]:
        """A node's value as text, or the beginning of it."""
        result = await self._value(params, "text")
        try:
            content, size = await anyio.to_thread.run_sync(_content, result, MAX_TEXT)
        except OSError as error:
            raise RpcError(INTERNAL_ERROR, f"the value is gone: {error}") from None
        facts = {key: result[key] for key in ("node", "revision", "run", "type")}
        text = content.decode("utf-8", "replace")
        return {**facts, "text": text, "bytes": size, "cut": size > len(content)}

    async def _layout(self, params: dict[str, Any]) -> Any:
        """Where the nodes of the graph are drawn."""
        graph = await self._requests.answer("graph", params)
        return msgspec.Raw(await self._layouts.of(to_json(graph)))

    async def _edits_of(self, params: dict[str, Any]) -> Any:
        """The lines that a revision changed."""
        revision = params.get("revision")
        if not isinstance(revision, int):
            raise RpcError(INVALID_REQUEST, "'revision' is a number")
        return {"revision": revision, "files": await self._edits.of(revision)}


def _text_of(params: dict[str, Any], name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str):
        raise RpcError(INVALID_REQUEST, f"{name!r} is a text")
    return value


async def _asked(request: Request) -> _Asked:
    body = bytearray()
    with anyio.move_on_after(BODY_S) as patience:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise HTTPException(413, f"a request has at most {MAX_BODY:,} bytes")
    if patience.cancelled_caught:
        raise HTTPException(408, "the request did not arrive in time")
    try:
        return msgspec.json.decode(body, type=_Asked)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RpcError(INVALID_REQUEST, f"not a request: {error}") from None


def _json(value: Any) -> Response:
    return Response(to_json(value), media_type="application/json")


def _content(result: Mapping[str, Any], limit: int) -> tuple[bytes, int]:
    """At most the first bytes of a value, and how many it has."""
    if "path" in result:
        with Path(result["path"]).open("rb") as file:
            return file.read(limit), int(result["bytes"])
    value = msgspec.json.decode(result["value"])
    content = (
        value.encode("utf-8", "replace")
        if result["media_type"].startswith("text/")
        else base64.b64decode(value)
    )
    return content[:limit], len(content)
