"""Log lines of one run, at that run's level, beside whatever logging the host program has."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import structlog

from hamdev.pipeline.observe import Observer


def run_logger(level: str | None, **bound: Any) -> Any:
    """A structlog logger that writes to stderr at `level` (WARNING without one).

    It is built for one run and shares nothing with structlog's or `logging`'s configuration,
    so a host program's logging stays as it is.
    """
    number = logging.getLevelNamesMapping()[level or "WARNING"]
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
        **bound,
    )


class LoggingObserver:
    """Tells `observer` everything, and logs each step at DEBUG."""

    def __init__(self, observer: Observer, logger: Any) -> None:
        self._observer = observer
        self._log = logger
        self.executed = 0
        self.started_at = time.perf_counter()

    def node_started(self, node: str, inputs: Mapping[str, Any]) -> None:
        """Log it and pass it on."""
        self._log.debug("node started", node=node)
        self._observer.node_started(node, inputs)

    def node_finished(self, node: str, value: Any, seconds: float) -> None:
        """Log it and pass it on."""
        self.executed += 1
        self._log.debug(
            "node finished", node=node, ms=round(seconds * 1e3, 3), type=type(value).__name__
        )
        self._observer.node_finished(node, value, seconds)

    def node_failed(self, node: str, error: BaseException, seconds: float) -> None:
        """Log it and pass it on."""
        self._log.debug("node failed", node=node, error=repr(error))
        self._observer.node_failed(node, error, seconds)

    def node_blocked(self, node: str, by: str) -> None:
        """Log it and pass it on."""
        self._log.debug("node blocked", node=node, by=by)
        self._observer.node_blocked(node, by)
