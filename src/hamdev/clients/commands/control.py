"""Commands that make something happen: `rerun`, `cancel`, `stop`, `socket`, `init`."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from hamdev.clients.commands.showing import of_pipeline
from hamdev.clients.options import example
from hamdev.clients.protocol import TIMED_OUT
from hamdev.errors import NoDaemonError, SyncTimeoutError

STOP_LIMIT_S = 30.0


@click.command(epilog=example("hamdev rerun --clean"))
@click.argument("nodes", nargs=-1, metavar="[NODE]...")
@click.option("--clean", is_flag=True, help="Forget every remembered value; start a new worker.")
@of_pipeline
@click.pass_obj
def rerun(project: Path | None, nodes: tuple[str, ...], clean: bool, pipeline: str | None) -> None:
    """Run again: everything, or NODEs and what depends on them.

    Prints the number of the new run and does not wait for its end; 'hamdev sync' does.
    """
    from hamdev.clients.client import connect

    with connect(project) as dev:
        click.echo(dev.rerun(nodes, pipeline=pipeline, clean=clean))


@click.command(epilog=example("hamdev cancel"))
@click.pass_obj
def cancel(project: Path | None) -> None:
    """Cancel the current run; the next save runs again."""
    from hamdev.clients.client import connect

    with connect(project) as dev:
        dev.cancel()


@click.command(epilog=example("hamdev stop"))
@click.pass_obj
def stop(project: Path | None) -> None:
    """Stop the daemon, and wait until it has gone."""
    from hamdev.clients.client import connect

    with connect(project) as dev:
        pid = int(dev.daemon["pid"])
        with _process(pid) as process:
            dev.shutdown()
            if not process.has_ended(STOP_LIMIT_S):
                raise SyncTimeoutError(
                    TIMED_OUT,
                    f"the daemon (pid {pid}) was told to stop {STOP_LIMIT_S:g} s ago and is "
                    f"still there. Way out: kill -KILL {pid}",
                )


@contextmanager
def _process(pid: int) -> Iterator[_Process]:
    """A process, known for certain from here on, even if its number is given to another one."""
    try:
        descriptor = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except OSError:
        descriptor = None  # gone, or of another namespace
    try:
        yield _Process(pid, descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    descriptor: int | None

    def has_ended(self, seconds: float) -> bool:
        """Whether it has ended, or does so in this time."""
        if self.descriptor is not None:
            return bool(select.select([self.descriptor], [], [], seconds)[0])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.01)  # macOS tells nobody but the parent
        return False


@click.command(epilog=example('nc -U "$(hamdev socket)"'))
@click.pass_obj
def socket(project: Path | None) -> None:
    """Print the path of the daemon's socket.

    If no daemon serves the project: the path that its socket would have.
    """
    from hamdev.clients.client import connect
    from hamdev.clients.protocol import find_place

    try:
        with connect(project) as dev:
            click.echo(dev.socket)
    except NoDaemonError:
        place = find_place(project)
        click.echo(_would_be(place.project))


def _would_be(project: Path) -> str:
    from hamdev.config import load_settings
    from hamdev.paths import default_socket

    told = load_settings(project).server.socket
    if told == "auto" or "HAMDEV_SOCKET" in os.environ:
        return str(default_socket(project))
    return str(project / Path(told).expanduser())


@click.command(epilog=example("hamdev init demo && cd demo && hamdev watch"))
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def init(project: Path | None, folder: Path | None) -> None:
    """Make a new project with one example that runs; DIR is the current folder by default.

    Nothing that exists is overwritten.
    """
    from hamdev.clients.init import create_project

    folder = folder or project or Path()
    for file in create_project(folder):
        click.echo(f"created {file}", err=True)
    go = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    click.echo(f"try: {go}hamdev run example, or hamdev watch", err=True)
