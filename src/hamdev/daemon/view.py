"""What somebody who shows the daemon to people, in its own process, is given of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from hamdev.daemon.hub import Hub
from hamdev.daemon.log import DaemonLog
from hamdev.messages import Status

if TYPE_CHECKING:
    from hamdev.daemon.engine import Engine


class View(Protocol):
    """Shows people what happens; nobody waits for it.

    Attributes:
        log_file: where log lines go, so that they and what is shown do not get mixed up; to write
            to it never waits.
    """

    log_file: TextIO

    def shown(self, link: Link) -> AbstractAsyncContextManager[None]:
        """Show what happens while the block is open."""


class Link:
    """The running daemon, for a view. All of it belongs to the thread of the event loop.

    Attributes:
        hub: where events come from.
        log: whose level and format say how much is to be shown, and how.
        socket: where others find the daemon.
    """

    def __init__(self, engine: Engine, log: DaemonLog, socket: Path) -> None:
        self._engine = engine
        self.socket = socket
        self.hub: Hub = engine.hub
        self.log = log

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self._engine.project

    @property
    def page(self) -> str | None:
        """The address of the live page, with its token; None if there is no page."""
        return self._engine.page

    @property
    def contents(self) -> Mapping[str, str | None]:
        """Each file that counts → the digest of what it holds."""
        return self._engine.session.contents

    def status(self) -> Status:
        """What is served now."""
        return self._engine.status()

    def is_busy(self) -> bool:
        """Whether a run is going on or waits."""
        return self._engine.session.is_at_work

    def rerun(self, clean: bool = False) -> None:
        """Run everything again; `clean`: in a new worker that remembers nothing."""
        self._engine.rerun(list(self._engine.session.statuses()), clean=clean)

    def stop(self) -> None:
        """End the daemon."""
        self._engine.stop()
