"""The command `hamdev`: its commands, and what becomes of errors and exit statuses."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

import click

import hamdev
from hamdev.clients.commands import control, drawing, running, showing
from hamdev.errors import (
    DaemonError,
    DaemonRunningError,
    HamdevError,
    ModuleMissingError,
    NoDaemonError,
    RuntimeFolderError,
    SettingsError,
    SocketInUseError,
    SyncTimeoutError,
)

FAILED = 1
WRONG_USAGE = 2
ALREADY_SERVED = 3
NO_DAEMON = 4
TIMED_OUT = 5
INTERRUPTED = 130

_STATUSES: list[tuple[type[HamdevError], int]] = [
    (NoDaemonError, NO_DAEMON),
    (DaemonRunningError, ALREADY_SERVED),
    (SettingsError, WRONG_USAGE),
    (ModuleMissingError, WRONG_USAGE),
    (RuntimeFolderError, WRONG_USAGE),
    (SocketInUseError, WRONG_USAGE),
    (SyncTimeoutError, TIMED_OUT),
    (HamdevError, FAILED),
]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(hamdev.__version__, prog_name="hamdev")
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="The project's folder; by default the nearest one upwards with a devserver.toml.",
)
@click.pass_context
def hamdev_command(context: click.Context, project: Path | None) -> None:
    """Save a Hamilton module, see the DAG's new results.

    Results go to stdout, everything else to stderr.

    \b
    Example:
      hamdev init demo && cd demo && hamdev watch
    """
    context.obj = project


for _command in (
    running.watch,
    running.run,
    showing.status,
    showing.result,
    showing.sync,
    showing.events,
    showing.why,
    drawing.graph,
    control.rerun,
    control.cancel,
    control.stop,
    control.socket,
    control.init,
):
    hamdev_command.add_command(_command)


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    sys.exit(_status())


def _status() -> int:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of another encoding
    try:
        status = hamdev_command.main(standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough. What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except HamdevError as error:
        click.echo(f"hamdev: {_message(error)}", err=True)
        return next(status for kind, status in _STATUSES if isinstance(error, kind))
    except OSError as error:
        click.echo(f"hamdev: {error}", err=True)
        return FAILED


def _message(error: HamdevError) -> str:
    text = str(error)
    data = error.data if isinstance(error, DaemonError) else None
    if isinstance(data, dict):
        for key, lead in (("nearest", "did you mean"), ("formats", "possible formats")):
            words = [str(word) for word in data.get(key) or ()]
            if words and not all(word in text for word in words):
                text += f"\n{lead}: {', '.join(words)}"
    return text
