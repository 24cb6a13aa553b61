"""Connections of browsers: uvicorn's protocol in the daemon's own loop, with bounds.

Not uvicorn's server: that takes signals over, wakes ten times a second, and ends in its own time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import anyio
import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from hamdev.daemon.engine import Engine
from hamdev.daemon.requests import Requests
from hamdev.daemon.web.access import Guard
from hamdev.daemon.web.app import page_app
from hamdev.daemon.web.edits import Edits

# Who has not said by then what it wants is dropped.
REQUEST_S = 10.0
# As is who takes nothing of its answer for so long.
STUCK_S = 30.0
MAX_HEADER_BYTES = 16 * 1024
_KEEP_ALIVE_S = 30
_LAST_WORDS_S = 0.2


@asynccontextmanager
async def connections(
    guard: Guard, engine: Engine, requests: Requests, edits: Edits, log: Any
) -> AsyncIterator[Connections]:
    """What serves the page to browsers while the block is open."""
    app = page_app(guard, engine, requests, edits, log)
    served = Connections(app, log)
    try:
        yield served
    finally:
        await served.close()


class Connections:
    """Those that are open, and a protocol for each further one.

    Args:
        app: an ASGI application.
        log: a structlog logger.
    """

    def __init__(self, app: Any, log: Any) -> None:
        config = Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        )
        config.load()
        self._state = ServerState()
        self._make = partial(_Protocol, config, self._state, {})
        _log_into(log)

    def count(self, strangers: bool) -> int:
        """How many are open: of all, or of strangers alone."""
        return len(self._open(strangers))

    def protocol(self, is_stranger: bool) -> asyncio.Protocol:
        """For one more connection."""
        return self._make(is_stranger)

    def drop_idle(self, strangers: bool) -> None:
        """Make room: connections that have asked for nothing go, of all or of strangers alone."""
        for protocol in self._open(strangers):
            protocol.drop_if_idle()

    def _open(self, strangers: bool) -> list[_Protocol]:
        known = [cast("_Protocol", protocol) for protocol in self._state.connections]
        return [protocol for protocol in known if protocol.is_stranger or not strangers]

    async def close(self) -> None:
        """Cancel what is being answered, and drop all connections."""
        # First, so that nobody is told of an error that there is not.
        for protocol in [*self._state.connections]:
            protocol.transport.abort()
        tasks = [*self._state.tasks]
        for task in tasks:
            task.cancel()
        with anyio.move_on_after(_LAST_WORDS_S, shield=True):
            await asyncio.gather(*tasks, return_exceptions=True)


class _Protocol(H11Protocol):
    """One connection, which is dropped if it does not ask, or does not read."""

    def __init__(
        self, config: Config, state: ServerState, app_state: dict[str, Any], is_stranger: bool
    ) -> None:
        super().__init__(config, state, app_state)
        self.is_stranger = is_stranger
        self._asking: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None

    @property
    def _is_idle(self) -> bool:
        """Whether it is the other side's turn to ask for something."""
        return self.conn.their_state is h11.IDLE or self.conn.our_state is h11.ERROR

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_idle:
            self._expect_request()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._be_unstuck()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            # It was answered without the rest of its body, for which nobody is going to wait.
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stuck is None:
            self._stuck = self.loop.call_later(STUCK_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._be_unstuck()
        super().resume_writing()

    def drop_if_idle(self) -> None:
        if self._is_idle:
            self.transport.abort()

    def _expect_request(self) -> None:
        # From the first byte on, or a byte a second would do.
        if self._asking is None:
            self._asking = self.loop.call_later(REQUEST_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _be_unstuck(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _give_up(self) -> None:
        self._asking = None
        if self._is_idle:
            self.transport.abort()


class _IntoLog(logging.Handler):
    """What uvicorn has to say is for developers of hamdev, in one line."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        is_ours = isinstance(error, Exception)  # and no cancellation at the daemon's end
        level = self._log.error if is_ours else self._log.debug
        level("page", message=record.getMessage(), error=repr(error) if error else None)


def _log_into(log: Any) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.handlers = [_IntoLog(log)]
    logger.propagate = False
