"""A run in this process: what `hamdev run` falls back to when no daemon serves the pipeline."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

import click
import structlog
from msgspec import to_builtins

from hamdev.clients.render import problem_lines
from hamdev.config import Options, Settings, apply_options, load_settings
from hamdev.errors import ModuleMissingError, SettingsError
from hamdev.pipeline import PipelineManager, RunConfig
from hamdev.pipeline.run_config import ModuleEntry
from hamdev.worker import formats
from hamdev.worker.problems import Describe


def run_here(project: Path, options: Options, as_json: bool) -> dict[str, bytes] | None:
    """Run the pipeline of `options`: its values as JSON or text, or None if it failed.

    Meanwhile what user code prints goes to stderr, and so does what went wrong.

    Raises:
        SettingsError: `devserver.toml` or the command line cannot be used.
        ModuleMissingError: there is no module of a name that either of them gives.
    """
    settings = apply_options(load_settings(project), options)
    manager = _LoggedManager(project, settings=settings)
    name = options.pipelines[0]
    with _stdout_is_stderr(), _interruptible():
        try:
            values = _values(manager, name, settings)
            return {node: _rendered(value, as_json) for node, value in values.items()}
        except (ModuleMissingError, SettingsError):
            raise
        except (Exception, SystemExit) as error:
            click.echo(f"hamdev: the run of {name!r} failed", err=True)
            for line in _problem_lines(manager, error):
                click.echo(line, err=True)
            return None


def _values(manager: PipelineManager, name: str, settings: Settings) -> Mapping[str, Any]:
    level = settings.server.log_level
    if level != "DEBUG":
        # It logs a failing node's traceback, full of its own frames, besides raising.
        logging.getLogger("hamilton").setLevel(logging.CRITICAL)
    [table] = settings.pipelines.values()
    if not table.async_driver:
        values: Mapping[str, Any] = manager.run(name, log_level=level)
    else:
        values = asyncio.run(manager.run_async(name, log_level=level))
    return values


def _problem_lines(manager: PipelineManager, error: BaseException) -> Iterator[str]:
    project = manager.project
    problem = Describe(project.owns, project.attempted_sources()).load_problem(error)
    yield from problem_lines(to_builtins(problem))


def _rendered(value: Any, as_json: bool) -> bytes:
    if not as_json:
        return formats.render(value, "text")[0]
    try:
        return formats.render(value, "json")[0]
    except formats.NoSuchFormatError:
        text = formats.render(value, "text")[0].decode("utf-8", "replace")
        return formats.render(text, "json")[0]


class _LoggedManager(PipelineManager):
    """Logs runs in the format that the settings ask for, which the library leaves to its host."""

    def _logger(self, pipeline: ModuleEntry, config: RunConfig) -> Any:
        if self._settings.server.log_format == "console":
            return super()._logger(pipeline, config)
        return structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
                structlog.processors.JSONRenderer(default=str),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(
                logging.getLevelNamesMapping()[config.log_level or "WARNING"]
            ),
            cache_logger_on_first_use=False,
            pipeline=pipeline if isinstance(pipeline, str) else pipeline.__name__,
        )


@contextmanager
def _stdout_is_stderr() -> Iterator[None]:
    """What user code prints, from Python or from C, does not get between the results."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C interrupts user code at once; asyncio's own handling waits for its next await."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
