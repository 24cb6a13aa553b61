"""The command that shows the DAG as a picture or as text: `graph`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from hamdev.clients.commands.showing import of_pipeline
from hamdev.clients.options import example, output_options

FORMATS = ["text", "svg", "png", "dot", "json"]
_ENDINGS = {f".{name}": name for name in FORMATS} | {".txt": "text", ".gv": "dot"}


@click.command(epilog=example("hamdev graph -o graph.svg"))
@output_options(FORMATS, "Write it to a file: .svg, .png, .dot, .json or .txt.")
@of_pipeline
@click.pass_obj
def graph(
    project: Path | None, format_: str | None, output: Path | None, pipeline: str | None
) -> None:
    """Show the DAG: which nodes there are, of which type, and what depends on what.

    As text, what a node needs stands below it. Pictures show each node's state in colour.
    """
    format_ = format_ or _format_of(output)
    if format_ == "png" and output is None and sys.stdout.isatty():
        raise click.UsageError(
            "png is binary, and stdout is a terminal. Way out: hamdev graph -o FILE.png"
        )
    from hamdev.clients.client import connect

    with connect(project) as dev:
        found = dev.graph(pipeline)
        status = dev.status(found["pipeline"])["pipelines"][found["pipeline"]]
    states = {name: node["state"] for name, node in status["nodes"].items()}
    if found["revision"] < status["revision"] and status["state"] == "failed":
        click.echo(
            f"hamdev: this is the DAG of revision {found['revision']}, the last one that could be "
            f"composed; 'hamdev status' says what is wrong with revision {status['revision']}",
            err=True,
        )
    if format_ == "text" and output is None:
        from hamdev.clients.graph_text import graph_lines

        click.echo("\n".join(graph_lines(found, states)))
        return
    content = _content(found, states, format_)
    if output is not None:
        output.write_bytes(content)
    else:
        sys.stdout.buffer.write(content)


def _format_of(output: Path | None) -> str:
    if output is None:
        return "text"
    ending = output.suffix.lower()
    if ending not in _ENDINGS:
        what = f"the ending {ending!r}" if ending else "no ending"
        raise click.UsageError(
            f"{str(output)!r} has {what}, which stands for no format of a graph. "
            "Way out: -o FILE.svg, FILE.png, FILE.dot, FILE.json or FILE.txt, or --format."
        )
    return _ENDINGS[ending]


def _content(found: Mapping[str, Any], states: Mapping[str, str], format_: str) -> bytes:
    match format_:
        case "json":
            return (
                json.dumps(found, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"
            )
        case "dot":
            from hamdev.dot import dot_text

            return dot_text(found, states).encode("utf-8", "replace")
        case "text":
            from hamdev.clients.graph_text import graph_lines

            lines = [click.unstyle(line) for line in graph_lines(found, states)]
            return "\n".join([*lines, ""]).encode("utf-8", "replace")
    from hamdev.layout import picture

    return picture(found, format_, states)
