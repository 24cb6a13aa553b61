"""Commands that run pipelines: `watch`, the daemon, and `run`, once."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from hamdev.clients.options import as_options, example, run_options


@click.command(epilog=example("hamdev watch pipeline_1 --with setup --input n=3"))
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE]...")
@run_options
@click.option("--json", "as_json", is_flag=True, help="Print the events, one JSON object a line.")
@click.pass_obj
def watch(
    project: Path | None, /, pipelines: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Watch, rerun at every save, and serve the results: the daemon, in the foreground.

    Without PIPELINE: every [pipelines.*] of devserver.toml.
    """
    from functools import partial

    import anyio

    from hamdev.clients.terminal.view import Terminal
    from hamdev.daemon.app import serve
    from hamdev.paths import find_project

    events_to = sys.stdout.buffer if as_json else None
    folder = project.resolve() if project else find_project()
    settings = as_options(pipelines, **options)
    with Terminal().opened() as view:
        anyio.run(partial(serve, folder, settings, events_to=events_to, view=view))


@click.command(epilog=example("hamdev run pipeline_1 --with setup --json"))
@click.argument("pipeline")
@run_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, node → value.")
@click.pass_obj
def run(project: Path | None, /, pipeline: str, as_json: bool, **options: Any) -> int:
    """Run a pipeline once and print its results.

    Through the daemon, if one serves this pipeline with these modules and nodes, which spares
    what has not changed and the start of Hamilton; else in this process.
    """
    from hamdev.clients.through_daemon import run_there, serving

    asked = as_options([pipeline], **options)
    with serving(project, asked) as served:
        if served is not None:
            results = run_there(served, as_json)
        else:
            from hamdev.clients.in_process import run_here
            from hamdev.paths import find_project

            results = run_here(project.resolve() if project else find_project(), asked, as_json)
    if results is None:
        return 1
    _print(results, as_json)
    return 0


def _print(results: Mapping[str, bytes], as_json: bool) -> None:
    """Values by node, each as text or as JSON."""
    if as_json:
        pairs = (json.dumps(node).encode() + b": " + value for node, value in results.items())
        sys.stdout.buffer.write(b"{" + b", ".join(pairs) + b"}\n")
        return
    from hamdev.clients.render import value_lines

    for node, value in results.items():
        for line in value_lines(node, value.decode("utf-8", "replace")):
            click.echo(line)
