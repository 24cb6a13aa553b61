"""The daemon's log lines: structlog on stderr, at a level that can change while it runs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection, MutableMapping
from typing import Any, TextIO

import structlog

from hamdev.config import LogFormat, LogLevel
from hamdev.messages import Event, Problem

# Of one event of output; the log is for people, and writing it takes the daemon's time.
MAX_OUTPUT_LINES = 20
MAX_OUTPUT_LINE = 2000
# Lines about the start, which whoever shows people what happens begins with.
_START = {"serving", "live page"}


class DaemonLog:
    """Makes the daemon's logger and keeps its level and format.

    Args:
        level: from which on lines are written.
        format: how they look.
        file: where they go; by default stderr.
        is_viewed: somebody else shows people what runs do.

    Attributes:
        logger: a structlog logger that stays the same while level and format change.
        level: the present one, as a number.
        format: the present one.
    """

    def __init__(
        self,
        level: LogLevel,
        format: LogFormat,
        file: TextIO | None = None,
        is_viewed: bool = False,
    ) -> None:
        self._is_viewed = is_viewed
        self.configure(level, format)
        self.logger: Any = structlog.wrap_logger(
            structlog.PrintLogger(file or sys.stderr),
            processors=[
                self._drop_unwanted,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
                self._render,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
            cache_logger_on_first_use=False,
        )

    def configure(self, level: LogLevel, format: LogFormat) -> None:
        """Use another level and format from now on."""
        self.level = logging.getLevelNamesMapping()[level]
        self.format = format
        self._renderer: Any = (
            structlog.processors.JSONRenderer(default=str)
            if format == "json"
            else structlog.dev.ConsoleRenderer(colors=_takes_colours(), pad_event_to=20)
        )

    def _drop_unwanted(
        self, logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if logging.getLevelNamesMapping()[method.upper()] < self.level:
            raise structlog.DropEvent
        if self.is_for_people and event.get("event") in _START:
            raise structlog.DropEvent
        return event

    def _render(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        if self.format == "console":
            for key, value in event.items():
                if isinstance(value, str) and not value.isprintable():
                    event[key] = "".join(
                        c if c.isprintable() or c in "\n\t" else "·" for c in value
                    )
        return self._renderer(logger, method, event)

    # -- events → lines -----------------------------------------------------------------------

    def log_event(self, event: Event, wanted_nodes: Collection[str]) -> None:
        """One line, or a few, for what was published.

        Args:
            event: as it went out.
            wanted_nodes: the nodes whose values are the pipeline's results.
        """
        if self._is_shown(event):
            return
        log = self._bound(event)
        match event.type:
            case "files.changed":
                log.info("files changed", files=event.files)
            case "load.failed":
                for problem in _problems(event.problems):
                    self._problem(log, "load failed", problem)
            case "run.started":
                cause = getattr(event.cause, "text", "")
                log.info("run started", cause=cause, nodes=len(list(event.plan or ())))
            case "node.started":
                log.debug("node started")
            case "node.finished":
                text = getattr(event.summary, "text", "")
                if event.node in wanted_nodes:
                    log.info("node finished", ms=event.ms, value=_one_line(text))
                else:
                    log.debug("node finished", ms=event.ms, value=_one_line(text))
            case "node.failed":
                if isinstance(event.problem, Problem):
                    self._problem(log, "node failed", event.problem)
            case "node.blocked":
                log.info("node blocked", by=event.by)
            case "output":
                lines = str(event.text).splitlines()
                for line in lines[:MAX_OUTPUT_LINES]:
                    log.info("output", stream=event.stream, text=line[:MAX_OUTPUT_LINE])
                if (more := len(lines) - MAX_OUTPUT_LINES) > 0:
                    log.info("output", stream=event.stream, text=f"... {more:,} more lines")
            case "run.finished":
                fields = {"ms": event.ms, "ran": event.ran, "reused": event.reused}
                if event.failed:
                    fields["failed"] = event.failed
                level = log.error if event.outcome == "failed" else log.info
                level("run finished", outcome=event.outcome, **fields)
            case "worker.ready":
                log.debug("worker ready")
            case "worker.lost":
                if isinstance(event.problem, Problem):
                    self._problem(log, "worker lost", event.problem)
            case "warning":
                log.warning("warning", message=event.message)
            case _:
                log.debug(event.type)

    @property
    def is_for_people(self) -> bool:
        """Whether somebody else shows people what happens, so lines about that are left out."""
        return self._is_viewed and self.format == "console" and self.level > logging.DEBUG

    def _is_shown(self, event: Event) -> bool:
        return self.is_for_people and (event.type != "warning" or isinstance(event.run, int))

    def _bound(self, event: Event) -> Any:
        fields: dict[str, Any] = {"revision": event.revision}
        for name in ("run", "pipeline", "node"):
            if isinstance(value := getattr(event, name), int | str):
                fields[name] = value
        return self.logger.bind(**fields)

    def _problem(self, log: Any, what: str, problem: Problem) -> None:
        fields: dict[str, Any] = {"kind": problem.kind}
        if problem.file:
            fields["place"] = f"{problem.file}:{problem.line}" if problem.line else problem.file
        if problem.node:
            fields["node"] = problem.node
        log.error(what, message=problem.message, **fields)
        if problem.traceback:
            log.debug("traceback", text=problem.traceback)


def _takes_colours() -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stderr.isatty() and not plain


def _problems(value: Any) -> list[Problem]:
    return value if isinstance(value, list) else []


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else line[:119] + "…"
