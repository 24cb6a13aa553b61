"""The view of `hamdev watch`: events in, lines on stderr out; keys in, orders to the daemon out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import anyio

from hamdev.clients.terminal.browser import open_page
from hamdev.clients.terminal.keys import Keys
from hamdev.clients.terminal.writer import Writer
from hamdev.messages import Status

if TYPE_CHECKING:
    from hamdev.clients.terminal.showing import Showing
    from hamdev.daemon.hub import Subscription
    from hamdev.daemon.view import Link

# How long lines are collected while something is going on: drawing them would take the time that
# the next of them need.
COLLECT_S = 0.25
# So long after a run has ended, whoever else listens has heard of it.
PAUSE_S = 0.02
JOIN_LIMIT_S = 1.0
_END_OF_RUN = b'"type":"run.finished"'

HELP = [
    "r      run everything again",
    "c      clean rerun: forget every value, start a new worker",
    "w      open the live page in the browser",
    "Enter  an empty line",
    "q      quit (so does Ctrl-C)",
]


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of the event stream, and how things stood when they were handed over."""

    lines: bytes
    status: Status
    contents: Mapping[str, str | None]


class Terminal:
    """What `hamdev watch` shows, on stderr.

    Use it as a context manager, in the main thread, around the event loop of the daemon.
    """

    def __init__(self) -> None:
        self._descriptor = sys.stderr.fileno()
        self._is_terminal = os.isatty(self._descriptor)
        self._is_smart = self._is_terminal and os.environ.get("TERM", "") not in ("", "dumb")
        encoding = sys.stderr.encoding or "ascii"
        self._encoding = encoding
        self._writer = Writer(self._descriptor, encoding, self._is_smart)
        self.log_file = cast("TextIO", self._writer)
        self._inbox: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._takes_keys = self._is_terminal and _is_terminal(sys.stdin)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Terminal]:
        """Everything is written, if somebody reads it, when the block is left."""
        try:
            yield self
        finally:
            self._writer.close()

    @contextlib.asynccontextmanager
    async def shown(self, link: Link) -> AsyncIterator[None]:
        """Show what happens while the block is open."""
        self._say_hello(link)
        thread = threading.Thread(
            target=self._show, args=(link,), daemon=True, name="hamdev-terminal"
        )
        with contextlib.ExitStack() as stack:
            if self._takes_keys:
                orders = self._orders(link, asyncio.get_running_loop())
                stack.enter_context(Keys(sys.stdin.fileno(), orders).read())
            thread.start()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._follow, link)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()
        self._inbox.put(None)
        thread.join(JOIN_LIMIT_S)

    # -- in the event loop --------------------------------------------------------------------

    async def _follow(self, link: Link) -> None:
        """Hand over what happens, at moments when nobody is kept waiting by its being drawn."""
        with link.hub.subscription(0) as subscription:
            lines: list[bytes] = []
            try:
                while True:
                    await _collect(subscription, link, lines)
                    self._hand_over(lines, link)
            finally:
                # What has been published is shown, though the daemon ends.
                with anyio.move_on_after(0, shield=True):
                    lines.append(await subscription.next())
                self._hand_over(lines, link)

    def _hand_over(self, lines: list[bytes], link: Link) -> None:
        if lines:
            self._inbox.put(Batch(b"".join(lines), link.status(), dict(link.contents)))
            lines.clear()

    def _say_hello(self, link: Link) -> None:
        if link.log.format != "console" or link.log.level > logging.INFO:
            return
        from hamdev import __version__

        pipelines = [
            f"{name} (with {', '.join(status.modules[:-1])})" if status.modules[:-1] else name
            for name, status in link.status().pipelines.items()
        ]
        lines = [
            f"hamdev {__version__} watches {_shortened(link.project)}",
            f"pipelines: {', '.join(pipelines) or 'none: name one, or add it to devserver.toml'}",
            f"serving: {_shortened(link.socket)} (pid {os.getpid()})",
        ]
        if link.page is not None:
            lines.append(f"page: {link.page}")
        if self._takes_keys:
            lines.append("keys: r rerun, c clean rerun, w page, q quit, ? help")
        self._say(lines)

    def _say(self, lines: list[str]) -> None:
        self._writer.write("".join(f"{line}\n" for line in lines))

    # -- in the thread of the keys ------------------------------------------------------------

    def _orders(self, link: Link, loop: asyncio.AbstractEventLoop) -> Callable[[str], None]:
        def on_key(key: str) -> None:
            match key:
                case "r":
                    loop.call_soon_threadsafe(link.rerun)
                case "c":
                    loop.call_soon_threadsafe(link.rerun, True)
                case "q":
                    loop.call_soon_threadsafe(link.stop)
                case "w":
                    self._open(link.page)
                case "?":
                    self._say([f"  {line}" for line in HELP])
                case "\n" | "\r":
                    self._say([""])

        def safely(key: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has just been closed
                on_key(key)

        return safely

    def _open(self, page: str | None) -> None:
        self._say(
            [f"  page: {page}" if page is not None else "  there is no page: [server] web is off"]
        )
        if page is not None:
            open_page(page)

    # -- in the thread that draws -------------------------------------------------------------

    def _show(self, link: Link) -> None:
        showing = self._showing(link)
        while True:
            item: Batch | None = None
            with contextlib.suppress(queue.Empty):
                item = self._inbox.get(timeout=showing.wait_s)
                if item is None:
                    return
            try:
                if item is not None:
                    showing.take(item)
                showing.draw_progress()
            except Exception as error:  # what comes next is shown all the same
                link.log.logger.error("this could not be shown", error=repr(error))

    def _showing(self, link: Link) -> Showing:
        from hamdev.clients.terminal.showing import Showing  # rich takes its time

        return Showing(
            self._writer,
            self._descriptor,
            self._encoding,
            self._is_terminal,
            self._is_smart,
            link.log,
            link.project,
        )


async def _collect(subscription: Subscription, link: Link, lines: list[bytes]) -> None:
    """Wait for lines, until a run has ended or some time has passed."""
    lines.append(await subscription.next())
    has_ended = _END_OF_RUN in lines[0]
    with anyio.move_on_after(COLLECT_S):
        while not has_ended or link.is_busy():
            lines.append(await subscription.next())
            has_ended = has_ended or _END_OF_RUN in lines[-1]
    # Who does not take what comes meanwhile would lag behind.
    with anyio.move_on_after(PAUSE_S):
        while True:
            lines.append(await subscription.next())


def _shortened(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _is_terminal(file: TextIO | None) -> bool:
    try:
        return file is not None and file.isatty()
    except ValueError:  # it is closed
        return False
