"""Draws what was handed over: blocks as runs end; while one takes long, progress and output."""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.text import Text

from hamdev.clients.terminal.blocks import Block, Progress, Runs
from hamdev.clients.terminal.edits import Texts, line_of
from hamdev.clients.terminal.layout import block_lines, notice_lines, output_lines, progress_line
from hamdev.clients.terminal.paper import Paper, measured_width
from hamdev.clients.terminal.printing import Printed
from hamdev.clients.terminal.writer import Writer
from hamdev.messages import Event

if TYPE_CHECKING:
    from hamdev.clients.terminal.view import Batch
    from hamdev.daemon.log import DaemonLog

# A run that is over sooner shows no progress, and what it printed in its block.
PROGRESS_AFTER_S = 0.5
# Where no line can be drawn over, one that says that it goes on comes after so long, and no other.
PLAIN_AFTER_S = 5.0
FRAME_S = 0.1
IDLE_S = 3600.0
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ASCII_SPINNER = "|/-\\"


class _Notification(msgspec.Struct, frozen=True):
    params: Event


class Showing:
    """Belongs to one thread.

    Args:
        writer: takes the lines.
        descriptor: of what it writes to.
        encoding: of that.
        is_terminal: it is one.
        is_smart: it can draw over a line.
        log: whose level and format say what is to be shown.
        root: the project's folder.
    """

    def __init__(
        self,
        writer: Writer,
        descriptor: int,
        encoding: str,
        is_terminal: bool,
        is_smart: bool,
        log: DaemonLog,
        root: Path,
    ) -> None:
        self._writer = writer
        self._descriptor = descriptor
        self._encoding = encoding
        self._is_terminal = is_terminal
        self._is_smart = is_smart
        self._log = log
        self._root = root
        self._folder = Path.cwd()
        self._runs = Runs(time.time())
        self._texts = Texts()
        self._decoder = msgspec.json.Decoder(_Notification)
        self._has_many = False
        self._told_of: float | None = None
        self._printing: Printed | None = None
        self._has_colours = is_smart and not os.environ.get("NO_COLOR")
        spinner = _SPINNER if _encodes(encoding, _SPINNER) else _ASCII_SPINNER
        self._spinner = spinner

    @property
    def wait_s(self) -> float:
        """How long nothing has to be drawn unless something happens."""
        return FRAME_S if self._runs.progress() is not None else IDLE_S

    def take(self, batch: Batch) -> None:
        """Show what the lines say."""
        self._has_many = len(batch.status.pipelines) > 1
        for line in batch.lines.splitlines():
            event = self._decoder.decode(line).params
            for shown in self._runs.take(event, batch.status):
                self._printing = None
                if isinstance(shown, Block):
                    self._show_block(shown, batch)
                elif self._log.level <= (logging.INFO if shown.printed else logging.WARNING):
                    self._write(notice_lines(shown, self._paper(), line_of))
        if all(p.state in ("idle", "failed") for p in batch.status.pipelines.values()):
            self._runs.rest()

    def _show_block(self, block: Block, batch: Batch) -> None:
        files = block.files
        if files and not block.not_loaded:
            block.edits, is_cosmetic = self._texts.edits(block.revision, files, batch.contents)
            block.spared = block.spared and is_cosmetic
        if self._is_wanted(block):
            lines = block_lines(block, self._paper(), line_of, self._has_many)
            self._write([Text(), *lines])
        if not block.not_loaded:
            self._texts.remember(batch.contents, files)

    def _is_wanted(self, block: Block) -> bool:
        level = self._log.level
        if block.outcome == "failed":
            return level <= logging.ERROR
        return level <= (logging.WARNING if block.warnings else logging.INFO)

    # -- progress -----------------------------------------------------------------------------

    def draw_progress(self) -> None:
        """Say what is going on, and what it prints, if it takes long."""
        now = time.time()
        if self._log.level > logging.INFO or self._log.format == "json":
            self._writer.show("")
            return
        self._write_output(now)
        progress = self._runs.progress()
        if progress is None:
            self._writer.show("")
            return
        waits = now - progress.since
        if self._is_smart:
            is_due = waits >= PROGRESS_AFTER_S and self._is_in_foreground()
            self._writer.show(self._progress(progress, now) if is_due else "")
        elif waits >= PLAIN_AFTER_S and self._told_of != progress.since:
            self._told_of = progress.since
            line = progress_line(progress, now, self._paper(), self._has_many)
            clock = time.strftime("%H:%M:%S", time.localtime(now))
            self._write([Text(f"{clock}  still {line}")])

    def _write_output(self, now: float) -> None:
        for pipeline, printed in self._runs.new_output(now, PROGRESS_AFTER_S):
            name = pipeline if self._has_many else ""
            has_head = printed is self._printing
            if lines := [*output_lines(printed, name, now, self._paper(), has_head)]:
                self._write(lines)
                self._printing = printed

    def _progress(self, progress: Progress, now: float) -> str:
        frame = self._spinner[int(now / FRAME_S) % len(self._spinner)]
        line = progress_line(progress, now, self._paper(), self._has_many)
        return f"{frame} {line}"

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return False

    # -- writing ------------------------------------------------------------------------------

    def _paper(self) -> Paper:
        width = measured_width(self._descriptor, self._is_terminal)
        return Paper(width, self._encoding, self._is_terminal, self._folder, self._root)

    def _write(self, lines: Iterable[Text]) -> None:
        if self._log.format == "json":
            return
        if not self._has_colours:
            self._writer.write("".join(f"{line.plain.rstrip()}\n" for line in lines))
            return
        drawn = io.StringIO()
        console = Console(
            file=drawn,
            force_terminal=True,
            color_system="standard",
            width=10_000,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )
        for line in lines:
            console.print(line, soft_wrap=True)
        self._writer.write(drawn.getvalue())


def _encodes(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
