"""A run by the daemon that serves the pipeline already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hamdev.clients.client import Client, Events, connect
from hamdev.clients.protocol import NO_SUCH_FORMAT
from hamdev.clients.render import problem_lines
from hamdev.config import Options, find_name
from hamdev.errors import DaemonError, NoDaemonError


@dataclass(frozen=True, slots=True)
class Served:
    """A pipeline and the daemon that serves it, just as it is wanted."""

    dev: Client
    pipeline: str


@contextmanager
def serving(project: Path | None, options: Options) -> Iterator[Served | None]:
    """The daemon that serves the one pipeline of `options` as they say, or None."""
    try:
        dev = connect(project)
    except NoDaemonError:
        yield None
        return
    with dev:
        pipelines = dev.status()["pipelines"]
        name = find_name(options.pipelines[0], pipelines)
        if name is None or not _is_served(options, pipelines[name]):
            yield None
        else:
            yield Served(dev, name)


def _is_served(options: Options, pipeline: Mapping[str, Any]) -> bool:
    """Whether the daemon's results are those that `options` ask for; in doubt they are not."""
    # What inputs and config the daemon has is not known here, so any of them is another run.
    if options.inputs or options.config:
        return False
    if options.final_vars and list(options.final_vars) != pipeline["final_vars"]:
        return False
    additional = pipeline["modules"][:-1]
    return not options.with_ or (
        len(options.with_) == len(additional) and all(map(_names_module, options.with_, additional))
    )


def _names_module(given: str, module: str) -> bool:
    given = given.replace("-", "_")
    # `module` is the name it was found under: the short one with or without the folder's.
    return module == given or module.partition(".")[2] == given


def run_there(served: Served, as_json: bool) -> dict[str, bytes] | None:
    """Run again and wait for it: the final nodes' values as JSON or text, or None if it failed.

    Meanwhile what user code prints goes to stderr, and so does what went wrong.
    """
    dev, name = served.dev, served.pipeline
    with dev.events() as events:
        outcome = _outcome(dev, events, name, dev.rerun(pipeline=name))
    pipeline = dev.status(name)["pipelines"][name]
    if outcome == "ok":
        return {node: _value(dev, name, node, as_json) for node in pipeline["final_vars"]}
    click.echo(f"hamdev: the run of {name!r} {_ENDED[outcome]}", err=True)
    for problem in pipeline["problems"]:
        for line in problem_lines(problem):
            click.echo(line, err=True)
    return None


_ENDED = {"failed": "failed", "cancelled": "was cancelled"}


def _outcome(dev: Client, events: Events, pipeline: str, run: int) -> str:
    """How the run ended, or the one that took its place after a newer save."""
    has_begun = False
    next(events)  # the snapshot, from before the run
    for event in events:
        concerns_it = event.get("pipeline") == pipeline and event.get("run", 0) >= run
        match event["type"]:
            case "run.started" if concerns_it:
                has_begun = True
            case "output" if concerns_it:
                click.echo(event["text"], err=True, nl=not event["text"].endswith("\n"))
            case "warning" if concerns_it:
                click.echo(f"warning: {event['message']}", err=True)
            case "run.finished" if concerns_it and event["outcome"] != "superseded":
                return str(event["outcome"])
            case "run.finished" if event["outcome"] == "cancelled" and not has_begun:
                # Cancelling takes queued runs away as well, which nobody is told.
                return _outcome_by_status(dev, pipeline, run)
            case "snapshot":
                return _outcome_by_status(dev, pipeline, run)
    dev.ping()
    raise NoDaemonError(f"the daemon ended its event stream before run {run} of {pipeline!r} ended")


def _outcome_by_status(dev: Client, pipeline: str, run: int) -> str:
    status = dev.sync(timeout=None)["pipelines"][pipeline]
    if (status["run"] or 0) < run:
        return "cancelled"
    return "failed" if status["state"] == "failed" else "ok"


def _value(dev: Client, pipeline: str, node: str, as_json: bool) -> bytes:
    if not as_json:
        return dev.result_as(node, "text", pipeline)
    try:
        return dev.result_as(node, "json", pipeline)
    except DaemonError as error:
        if error.code != NO_SUCH_FORMAT:
            raise
    import json

    return json.dumps(dev.result_as(node, "text", pipeline).decode("utf-8", "replace")).encode()
