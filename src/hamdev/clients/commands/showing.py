"""Commands that show what the daemon has: `status`, `sync`, `result`, `events`, `why`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from hamdev.clients.options import example, output_options
from hamdev.clients.protocol import SYNC_TIMEOUT_S

FORMATS = ["text", "json", "csv", "parquet", "arrow", "pickle", "png"]
_BINARY = {"parquet", "arrow", "pickle", "png"}
_ENDINGS = {f".{name}": name for name in FORMATS} | {".txt": "text"}
_PLAIN_WIDTH = 120
# These are about the project's settings or inputs; results for what can be computed are there.
_NO_FAILURE = {"settings", "watch", "input"}

as_json = click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
of_pipeline = click.option(
    "--pipeline", metavar="PIPELINE", help="Needed only if several pipelines are served."
)


@click.command(epilog=example("hamdev status --json | jq .revision"))
@as_json
@click.pass_obj
def status(project: Path | None, as_json: bool) -> None:
    """Show what the daemon serves: pipelines, nodes, problems."""
    from hamdev.clients.client import connect

    with connect(project) as dev:
        _print_status(dev.status(), as_json)
        if page := dev.daemon.get("web"):
            click.echo(f"live page: {page}", err=True)


@click.command(epilog=example("hamdev sync --timeout 30 && hamdev result total"))
@click.argument(
    "files",
    nargs=-1,
    metavar="[FILE]...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=SYNC_TIMEOUT_S,
    show_default=True,
    metavar="S",
    help="Seconds to wait.",
)
@as_json
@click.pass_obj
def sync(project: Path | None, files: tuple[Path, ...], timeout: float, as_json: bool) -> int:
    """Wait until results for what is on disk now are out, and show them as 'status' does.

    With FILEs: until their present content has been seen. Exit status 1 if a run has failed,
    5 if the time is over.
    """
    from hamdev.clients.client import connect

    with connect(project) as dev:
        answer = dev.sync(files or None, timeout=timeout)
    _print_status(answer, as_json)
    return int(any(_has_failed(pipeline) for pipeline in answer["pipelines"].values()))


@click.command(epilog=example("hamdev result clean_orders -o orders.parquet"))
@click.argument("node")
@output_options(FORMATS, "Write exactly the value's bytes to a file.")
@of_pipeline
@click.pass_obj
def result(
    project: Path | None,
    node: str,
    format_: str | None,
    output: Path | None,
    pipeline: str | None,
) -> None:
    """Print one node's value, or write it to a file."""
    from hamdev.clients.client import connect

    format_ = format_ or (_ENDINGS.get(output.suffix.lower()) if output else None) or "text"
    if output is None and format_ in _BINARY and sys.stdout.isatty():
        raise click.UsageError(
            f"{format_} is binary, and stdout is a terminal. Way out: hamdev result {node} "
            f"--format {format_} -o FILE"
        )
    with connect(project) as dev:
        content = dev.result_as(node, format_, pipeline)
    if output is not None:
        output.write_bytes(content)
        return
    if sys.stdout.isatty() and not content.endswith(b"\n"):
        content += b"\n"
    sys.stdout.buffer.write(content)


@click.command(epilog=example("hamdev events | jq 'select(.type == \"run.finished\")'"))
@click.option(
    "--since",
    type=click.IntRange(min=0),
    metavar="SEQ",
    help="Begin after this event; 0: at the daemon's start.",
)
@click.pass_obj
def events(project: Path | None, since: int | None) -> None:
    """Print what happens, one JSON object a line, until the daemon ends.

    Without --since, and wherever events were missed, a 'snapshot' event comes first, which holds
    the whole status.
    """
    from hamdev.clients.client import connect

    out = sys.stdout.buffer
    with connect(project) as dev, dev.events(since) as happening:
        _close_when_nobody_reads(happening)
        for event in happening:
            out.write(json.dumps(event, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            out.flush()


@click.command(epilog=example("hamdev why total_revenue"))
@click.argument("node")
@of_pipeline
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def why(project: Path | None, node: str, pipeline: str | None, as_json: bool) -> None:
    """Show why a node ran or was reused in the last run, down to file, line and name."""
    from hamdev.clients.client import connect
    from hamdev.clients.render import why_text

    with connect(project) as dev:
        step = dev.why(node, pipeline)
    click.echo(json.dumps(step, ensure_ascii=False) if as_json else why_text(step))


def _close_when_nobody_reads(happening: Any) -> None:
    """End the stream when stdout's reader is gone, even if nothing happens any more."""
    import select
    import threading

    def wait() -> None:
        poll = select.poll()
        # Errors and hang-ups are reported without being asked for.
        poll.register(sys.stdout.fileno(), 0)
        poll.poll()
        happening.close()

    threading.Thread(target=wait, daemon=True, name="hamdev-stdout").start()


def _print_status(answer: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
        return
    from hamdev.clients.render import status_lines

    width = _PLAIN_WIDTH
    if sys.stdout.isatty():
        from shutil import get_terminal_size

        width = get_terminal_size().columns
    click.echo("\n".join(status_lines(answer, width)))


def _has_failed(pipeline: Mapping[str, Any]) -> bool:
    return pipeline["state"] == "failed" or any(
        problem["kind"] not in _NO_FAILURE for problem in pipeline["problems"]
    )
