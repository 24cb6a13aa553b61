"""`hamdev watch`: one daemon a project, from its lock to the removal of its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import anyio
from filelock import FileLock, Timeout

from hamdev import __version__
from hamdev.config import Options, Settings, apply_options, load_settings
from hamdev.daemon.abandoned import note_project, remove_abandoned
from hamdev.daemon.engine import Engine
from hamdev.daemon.hub import Hub
from hamdev.daemon.log import DaemonLog
from hamdev.daemon.requests import Requests
from hamdev.daemon.server import serving
from hamdev.errors import DaemonRunningError, SettingsError
from hamdev.messages import PROTOCOL
from hamdev.paths import (
    MAX_SOCKET_PATH,
    daemon_file,
    default_socket,
    information_folder,
    kept_values_folder,
    lock_file,
    values_folder,
)


async def serve(project: Path, options: Options, *, events_to: BinaryIO | None = None) -> None:
    """Watch and serve a project until SIGINT, SIGTERM or `hamdev stop`.

    Args:
        project: the project's folder.
        options: what the command line says.
        events_to: where to write the event stream, one JSON object a line.

    Raises:
        SettingsError: the settings or options have mistakes.
        DaemonRunningError: another daemon serves this project.
        RuntimeFolderError: the socket's folder is not private.
        OSError: the socket cannot be made.
    """
    project = project.resolve()
    settings = apply_options(load_settings(project), options)
    log = DaemonLog(settings.server.log_level, settings.server.log_format)
    asyncio.get_running_loop().set_exception_handler(partial(_log_loop_error, log.logger))
    path = _socket_path(project, settings)
    with _locked(project, path):
        values = values_folder(path)
        shutil.rmtree(values, ignore_errors=True)
        engine = Engine(project, options, settings, log, values)
        requests = Requests(engine)
        try:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async with (
                    _stop_on(signals, engine),
                    engine.running(),
                    serving(path, requests, engine.hub, log.logger),
                    _events_written(engine.hub, events_to),
                    _cache_tidied(project, log.logger),
                ):
                    with _announced(project, path):
                        log.logger.info("serving", socket=str(path), pid=os.getpid())
                        await engine.wait_stopped()
                        log.logger.info("stopping")
        finally:
            shutil.rmtree(values, ignore_errors=True)


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


@contextlib.contextmanager
def _locked(project: Path, path: Path) -> Iterator[None]:
    folder = information_folder(project)
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError), (folder / ".gitignore").open("x") as ignored:
        ignored.write("*\n")
    lock = FileLock(lock_file(project), timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise DaemonRunningError(_who_serves(project, path)) from None
    try:
        yield
    finally:
        lock.release()


def _who_serves(project: Path, path: Path) -> str:
    try:
        known = json.loads(daemon_file(project).read_text(encoding="utf-8"))
        who = f"pid {known['pid']}, socket {known['socket']}"
    except (OSError, ValueError, KeyError):
        who = f"just starting, socket {path}"
    return (
        f"a daemon already serves {str(project)!r} ({who}). "
        "Way out: use it (hamdev status), or end it first (hamdev stop)."
    )


@contextlib.contextmanager
def _announced(project: Path, path: Path) -> Iterator[None]:
    """`daemon.json` in the project, while the block is open."""
    file = daemon_file(project)
    facts = {
        "pid": os.getpid(),
        "socket": str(path),
        "protocol": PROTOCOL,
        "version": __version__,
        "root": str(project),
        "web": None,
    }
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    fresh.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


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
