"""`hamdev watch`: one daemon a project, from its lock to the removal of its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import anyio

from hamdev.config import Options, Settings, apply_options, load_settings
from hamdev.daemon.abandoned import note_project, remove_abandoned
from hamdev.daemon.engine import Engine
from hamdev.daemon.hub import Hub
from hamdev.daemon.listener import listening
from hamdev.daemon.log import DaemonLog
from hamdev.daemon.place import Place, emptied
from hamdev.daemon.requests import Requests
from hamdev.daemon.server import serving
from hamdev.daemon.view import Link, View
from hamdev.daemon.web.serving import page_served
from hamdev.errors import SettingsError
from hamdev.paths import (
    MAX_SOCKET_PATH,
    default_socket,
    kept_values_folder,
    values_folder,
)


async def serve(
    project: Path,
    options: Options,
    *,
    events_to: BinaryIO | None = None,
    view: View | None = None,
) -> None:
    """Watch and serve a project until SIGINT, SIGTERM, SIGHUP or `hamdev stop`.

    Args:
        project: the project's folder.
        options: what the command line says.
        events_to: where to write the event stream, one JSON object a line.
        view: shows people what happens; without one the log does.

    Raises:
        SettingsError: the settings or options have mistakes.
        DaemonRunningError: another daemon serves this project.
        RuntimeFolderError: the socket's folder is not private.
        SocketInUseError: somebody else listens on the socket.
        OSError: the socket cannot be made.
    """
    project = project.resolve()
    settings = apply_options(load_settings(project), options)
    log = DaemonLog(
        settings.server.log_level,
        settings.server.log_format,
        view.log_file if view else None,
        is_viewed=view is not None,
    )
    asyncio.get_running_loop().set_exception_handler(partial(_log_loop_error, log.logger))
    path = _socket_path(project, settings)
    place = Place(project, path)
    values = values_folder(path)
    # Whatever is wrong so far is told before anything is started. Only who listens may touch the
    # values: the lock may be that of a file that somebody has deleted under a daemon.
    with (
        anyio.open_signal_receiver(*_ending_signals()) as signals,
        place.taken() as locks,
        listening(path) as listener,
        emptied(values),
    ):
        engine = Engine(project, options, settings, log, values)
        requests = Requests(engine)
        async with (
            _stop_on(signals, engine),
            engine.running(),
            serving(listener, requests, engine.hub, log.logger),
            place.kept(locks, log.logger),
            page_served(engine, requests, place, settings.server, path, log.logger),
            _events_written(engine.hub, events_to),
            _cache_tidied(project, log.logger),
            view.shown(Link(engine, log, path)) if view else contextlib.nullcontext(),
        ):
            log.logger.info("serving", socket=str(path), pid=os.getpid())
            await engine.wait_stopped()
            log.logger.info("stopping")


def _ending_signals() -> list[signal.Signals]:
    """What ends the daemon; a hang-up does unless it is ignored, as under nohup."""
    ending = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    return ending


def _log_loop_error(logger: Any, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    # anyio's sockets wake a reader that was cancelled in the very same turn of the loop.
    if not isinstance(error, asyncio.InvalidStateError):
        logger.error("unexpected error", message=context.get("message"), error=repr(error))


def _socket_path(project: Path, settings: Settings) -> Path:
    configured = settings.server.socket
    path = default_socket(project)
    if configured != "auto" and "HAMDEV_SOCKET" not in os.environ:
        path = project / Path(configured).expanduser()
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise SettingsError(
            None,
            [
                f"the socket's path is longer than the {MAX_SOCKET_PATH} bytes that sockets allow: "
                f"{str(path)!r}. Way out: set HAMDEV_SOCKET or [server] socket to a shorter one."
            ],
        )
    return path


@contextlib.asynccontextmanager
async def _stop_on(signals: Any, engine: Engine) -> AsyncIterator[None]:
    async def stop() -> None:
        async for _ in signals:
            engine.stop()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def _cache_tidied(project: Path, logger: Any) -> AsyncIterator[None]:
    """Kept values that nobody can use any more are removed, while the block is open already."""

    async def tidy() -> None:
        values = kept_values_folder(project).parent
        found = await anyio.to_thread.run_sync(remove_abandoned, values, abandon_on_cancel=True)
        if found:
            logger.info("removed kept values of projects that are gone", projects=found)

    note_project(project)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tidy)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def _events_written(hub: Hub, file: BinaryIO | None) -> AsyncIterator[None]:
    """Write every event to `file` while the block is open; a closed one is left alone."""

    def write(lines: bytes) -> None:
        assert file is not None
        for line in lines.splitlines():
            file.write(json.dumps(json.loads(line)["params"]).encode() + b"\n")
        file.flush()

    async def follow() -> None:
        with hub.subscription(0) as subscription:
            try:
                while True:
                    lines = await subscription.next()
                    await anyio.to_thread.run_sync(write, lines, abandon_on_cancel=True)
            except OSError:
                return

    if file is None:
        yield
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()
