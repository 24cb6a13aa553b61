"""Writes to a terminal, pipe or file from a thread, so that nobody waits for who reads there."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import threading
from collections import deque

# Whole texts are dropped beyond it, the oldest first.
MAX_QUEUED = 256 * 1024
CLOSE_LIMIT_S = 0.5
_CLEAR_LINE = "\r\x1b[2K"


class Writer(io.TextIOBase):
    """A text file that never waits.

    Args:
        descriptor: of an open file.
        encoding: of that file.
        is_terminal: it is one that understands escape sequences, so `show` works.
    """

    def __init__(self, descriptor: int, encoding: str, is_terminal: bool) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._is_terminal = is_terminal
        self._changed = threading.Condition()
        self._texts: deque[str] = deque()
        self._queued = 0
        self._dropped = 0
        self._live = self._shown = ""
        self._is_writing = self._is_closed = False
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Queue a text that is written, or dropped, as a whole."""
        with self._changed:
            self._texts.append(text)
            self._queued += len(text)
            while self._queued > MAX_QUEUED and len(self._texts) > 1:
                self._queued -= len(self._texts.popleft())
                self._dropped += 1
            self._wake()
        return len(text)

    def writable(self) -> bool:
        """Whether it can be written to: always."""
        return True

    def show(self, line: str) -> None:
        """Keep this below all that is written, without a line's end; empty: nothing."""
        if not self._is_terminal:
            return
        with self._changed:
            if line != self._live:
                self._live = line
                self._wake()

    def close(self) -> None:
        """Write what is queued, unless nobody reads it."""
        with self._changed:
            self._live = ""
            self._is_closed = True
            if self._shown or self._texts:
                self._wake()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_LIMIT_S)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, daemon=True, name="hamdev-log")
            self._thread.start()
        self._changed.notify()

    def _write_all(self) -> None:
        # A job in the background may write, whatever `stty tostop` says: it would be stopped.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        while True:
            with self._changed:
                while not self._texts and self._live == self._shown:
                    if self._is_closed:
                        return
                    self._changed.wait()
                text = self._taken()
            self._write_now(text)

    def _taken(self) -> str:
        parts = [_CLEAR_LINE] if self._shown else []
        if self._dropped:
            parts.append(f"({self._dropped} blocks or lines were left out: nobody read them)\n")
        parts += [*self._texts, self._live]
        self._texts.clear()
        self._queued = self._dropped = 0
        self._shown = self._live
        return "".join(parts)

    def _write_now(self, text: str) -> None:
        content = text.encode(self._encoding, "backslashreplace")
        # Who closed the other end wants nothing more; a full disk may have room again.
        with contextlib.suppress(OSError):
            while content:
                content = content[os.write(self._descriptor, content) :]
