"""The page while the daemon runs: a bare socket until somebody connects, then uvicorn behind it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint

from hamdev.config import ServerSettings
from hamdev.daemon.engine import Engine
from hamdev.daemon.place import Place
from hamdev.daemon.requests import Requests
from hamdev.daemon.web.access import Guard
from hamdev.daemon.web.edits import Edits
from hamdev.daemon.web.listening import PortInUseError, bound
from hamdev.daemon.web.strangers import is_stranger
from hamdev.paths import page_file

if TYPE_CHECKING:
    from hamdev.daemon.web.connections import Connections

# A browser has six for a host. Each costs a descriptor, of which some are reserved for such things.
MAX_CONNECTIONS = 48
# Of these, so many are for other users of the computer together.
MAX_STRANGERS = 8
_PAUSE_S = 0.1


@asynccontextmanager
async def page_served(
    engine: Engine, requests: Requests, place: Place, settings: ServerSettings, path: Path, log: Any
) -> AsyncIterator[None]:
    """Serve the live page while the block is open, if the settings want one.

    Whatever goes wrong with it is said, and the daemon goes on without.

    Args:
        engine: of the daemon; learns the page's address.
        requests: answers what the page asks.
        place: where the address is announced.
        settings: of the server.
        path: of the daemon's socket; the page's secrets are remembered beside it.
        log: a structlog logger.
    """
    opened = _opened(settings, path, engine, log)
    if opened is None:
        yield
        return
    listener, guard = opened
    engine.page = guard.address_with_token
    place.show_page(guard.address)
    log.info("live page", address=guard.address_with_token)
    edits = Edits(engine)
    with listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(edits.follow, log)
            tasks.start_soon(_serve, listener, guard, engine, requests, edits, log)
            try:
                yield
            finally:
                engine.page = None
                tasks.cancel_scope.cancel()


def _opened(
    settings: ServerSettings, path: Path, engine: Engine, log: Any
) -> tuple[socket.socket, Guard] | None:
    if not settings.web:
        return None
    try:
        return bound(settings.web_port, page_file(path))
    except PortInUseError as error:
        engine.warn(str(error))
    except OSError as error:
        engine.warn(f"there is no live page: {error}. Way out: [server] web = false says that.")
    return None


async def _serve(
    listener: socket.socket,
    guard: Guard,
    engine: Engine,
    requests: Requests,
    edits: Edits,
    log: Any,
) -> None:
    await anyio.wait_readable(listener)
    try:
        make = await anyio.to_thread.run_sync(_imported)
    except ImportError as error:
        engine.warn(f"the live page cannot be served: {error}")
        return
    async with make(guard, engine, requests, edits, log) as connections:
        while True:
            await anyio.wait_readable(listener)
            try:
                peer, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                log.debug("cannot take a connection to the page", error=str(error))
                await anyio.sleep(_PAUSE_S)
                continue
            strange = is_stranger(peer)
            if await _has_room(connections, strange):
                peer.setblocking(False)
                await _handed_over(peer, connections, strange)
            else:
                peer.close()


async def _has_room(connections: Connections, strange: bool) -> bool:
    limit = MAX_STRANGERS if strange else MAX_CONNECTIONS
    if connections.count(strange) >= limit:
        connections.drop_idle(strange)
        await checkpoint()
    return connections.count(strange) < limit


async def _handed_over(peer: socket.socket, connections: Connections, strange: bool) -> None:
    protocol = partial(connections.protocol, strange)
    try:
        await asyncio.get_running_loop().connect_accepted_socket(protocol, peer)
    except OSError:
        peer.close()  # gone before it was greeted


def _imported() -> Any:
    """What serves connections; importing it takes a quarter of a second."""
    from hamdev.daemon.web.connections import connections

    return connections
