"""A daemon's status as text for a terminal, or for a pipe.

Without rich, though this is the place for it: importing it takes longer than all that `status`
does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from hamdev.clients.terminal.times import duration
from hamdev.clients.values_in_line import value_text

COLOURS = {
    "fresh": "green",
    "idle": "green",
    "running": "cyan",
    "starting": "cyan",
    "queued": "cyan",
    "stale": "yellow",
    "blocked": "yellow",
    "failed": "red",
}


def status_lines(status: Mapping[str, Any], width: int) -> Iterator[str]:
    """What is served: every pipeline with its nodes and problems.

    Args:
        status: the protocol's answer to `status` or `sync`.
        width: columns after which a value is cut off.
    """
    yield f"revision {status['revision']}"
    for name, pipeline in status["pipelines"].items():
        yield ""
        yield from _pipeline_lines(name, pipeline, width)


def _pipeline_lines(name: str, pipeline: Mapping[str, Any], width: int) -> Iterator[str]:
    facts = [_state(pipeline["state"]), f"revision {pipeline['revision']}"]
    if pipeline.get("run") is not None:
        facts.append(f"run {pipeline['run']}")
    yield f"{click.style(printable(name), bold=True)}: {' · '.join(facts)}"
    nodes = pipeline["nodes"]
    longest = min(40, max((len(node) for node in nodes), default=0))
    for node, state in nodes.items():
        ms = "" if state.get("ms") is None else duration(state["ms"])
        head = f"  {printable(node):<{longest}}  {_state(state['state'], 7)}  {ms:>9}"
        value = _value(state, pipeline["revision"])
        room = max(20, width - longest - 22)
        yield f"{head}  {_cut(value, room)}".rstrip()
    for problem in pipeline["problems"]:
        yield from ("  " + line for line in problem_lines(problem))


def problem_lines(problem: Mapping[str, Any], source: str | None = None) -> Iterator[str]:
    """What is wrong, where, and the user's own line of source there.

    Args:
        problem: the protocol's `Problem`.
        source: the line of source, if it is known; by default it is read from the file.
    """
    file, line = problem.get("file"), problem.get("line")
    where = ""
    if file:
        where = f"{shortened(file)}:{line}: " if line else f"{shortened(file)}: "
    node = f"in node {problem['node']!r}: " if problem.get("node") else ""
    first, *others = printable_lines(problem["message"]) or [""]
    yield click.style(where, bold=True) + node + click.style(first, fg="red")
    yield from ("    " + other for other in others)
    if source is None and file and line:
        source = _line_of(file, line)
    if source and source.strip():
        yield "    " + printable(source.strip())


def value_lines(name: str, text: str) -> Iterator[str]:
    """A node's value under its name; beside it if it is one line."""
    lines = text.splitlines()
    if len(lines) <= 1:
        yield f"{name}: {text.strip()}"
        return
    yield f"{name}:"
    yield from lines


def shortened(file: str) -> str:
    """A path as seen from the current folder, if it is in it."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def printable(text: str) -> str:
    """One line without characters that would steer a terminal."""
    return "".join(c if c.isprintable() else "·" for c in text)


def printable_lines(text: str) -> list[str]:
    """Like `printable`, for a text of several lines."""
    return [printable(line.expandtabs(4)) for line in text.splitlines()]


def _state(state: str, columns: int = 0) -> str:
    return click.style(f"{state:<{columns}}", fg=COLOURS.get(state))


def _value(state: Mapping[str, Any], revision: int) -> str:
    summary = state.get("summary")
    if summary is None:
        return ""
    value = value_text(summary)
    # A node that was not computed again shows its last good value, dated.
    if state.get("state") != "fresh" and state.get("revision") not in (None, revision):
        value = f"(of revision {state['revision']}) {value}"
    return printable(value)


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _line_of(file: str, line: int) -> str | None:
    try:
        with Path(os.fspath(file)).open(encoding="utf-8", errors="replace") as source:
            for number, text in enumerate(source, start=1):
                if number == line:
                    return text
    except OSError:
        pass  # it has been moved or deleted; the problem stands without it
    return None


def why_text(step: dict[str, Any]) -> str:
    """Why a node ran or was reused: a line for the node and one for each reason."""
    verb = {"run": "ran", "reuse": "was reused"}[step["action"]]
    lines = [f"{step['node']} {verb}, because"]
    for because in step["because"]:
        file = because.get("file") or ""
        place = shortened(file)
        if place and because.get("line"):
            place += f":{because['line']}"
        shown = f"  [{place}]" if place and file not in because["text"] else ""
        lines.append(f"  {because['text']}{shown}")
    return "\n".join(lines)
