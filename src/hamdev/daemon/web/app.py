"""What is served where: an ASGI application whose every answer has passed the guard."""

from __future__ import annotations

from importlib import resources
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hamdev.daemon.engine import Engine
from hamdev.daemon.requests import Requests
from hamdev.daemon.web.access import HEADERS, Guard, Refusal
from hamdev.daemon.web.answers import Answers
from hamdev.daemon.web.edits import Edits
from hamdev.daemon.web.stream import EventStream

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_MAX_NONCE = 128
_HOW = (
    "The command 'hamdev status' prints the address with its token, and so does 'hamdev watch' "
    "when it starts; its key w opens the page."
)


def page_app(guard: Guard, engine: Engine, requests: Requests, edits: Edits, log: Any) -> ASGIApp:
    """The page of a daemon.

    Args:
        guard: decides who gets an answer.
        engine: where events come from.
        requests: answers what is asked about the pipelines.
        edits: knows which lines a save changed.
        log: a structlog logger.
    """
    answers = Answers(requests, edits, log)
    stream = EventStream(engine, guard.secrets.proof_key, edits)
    files = _static_files()

    async def entry(request: Request) -> Response:
        if not guard.secrets.is_token(request.query_params.get("token", "")):
            return _refused(Refusal(403, "You need the page's whole address, with its token."))
        return _admitted(guard, request)

    async def proof(request: Request) -> Response:
        nonce = request.query_params.get("nonce", "")
        if not 0 < len(nonce) <= _MAX_NONCE:
            raise HTTPException(400, "'nonce' is a text of at most 128 characters")
        return PlainTextResponse(guard.secrets.proof(nonce))

    async def static(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            raise HTTPException(404, "There is nothing here.")
        return Response(files[name], media_type=_MEDIA_TYPES[name.rpartition(".")[2]])

    root = guard.root
    routes = [
        Route("/", entry, methods=["GET"]),
        Route("/proof", proof, methods=["GET"]),
        Route(root, static, methods=["GET"]),
        Route(root + "static/{name}", static, methods=["GET"]),
        Route(root + "api", answers.api, methods=["POST"]),
        Route(root + "picture", answers.picture, methods=["GET"]),
        Route(root + "events", stream, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _failed})
    app.router.redirect_slashes = False
    return _Guarded(app, guard)


def _static_files() -> dict[str, bytes]:
    folder = resources.files("hamdev.daemon.web").joinpath("static")
    return {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _MEDIA_TYPES
    }


class _Guarded:
    """Asks the guard before anything else, and gives every answer its headers."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        answer = self._app if refusal is None else _refused(refusal)
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1").lower()
            if key in headers and key in ("host", "origin", "cookie"):
                # Two of them are two opinions about who is meant.
                return Refusal(400, f"There are two headers {key!r}.")
            headers[key] = value.decode("latin-1")
        guard = self._guard
        path = scope["path"]
        kind: Any = "page"
        if path == "/proof":
            kind = "proof"
        elif path == "/" and "token" in parse_qs(scope["query_string"].decode("latin-1")):
            kind = "entry"
        return guard.refusal(kind, scope["method"], headers)


def _admitted(guard: Guard, request: Request) -> Response:
    if not guard.is_foreign(request.headers):
        response = Response(status_code=303, headers={"Location": guard.root})
    else:
        # A redirection would still count as one from the other site, and bring no cookie.
        content = f'<!doctype html><meta http-equiv="refresh" content="0;url={guard.root}">'
        response = Response(content, media_type=_MEDIA_TYPES["html"])
    response.headers["Set-Cookie"] = guard.cookie()
    return response


def _refused(refusal: Refusal) -> Response:
    text = f"hamdev\n\n{refusal.text}\n\n{_HOW}\n"
    return PlainTextResponse(text, status_code=refusal.status)


def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail}\n", status_code=error.status_code)
