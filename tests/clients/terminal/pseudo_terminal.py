"""A terminal for tests: a real pseudo-terminal, and pyte as what draws its screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyte

LIMIT_S = 40.0


class PseudoTerminal:
    """A command that has a terminal to itself.

    Args:
        lines: tall, so that nothing scrolls away.

    Attributes:
        raw: all that was written to it.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: dict[str, str],
        columns: int = 80,
        lines: int = 300,
    ) -> None:
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.mode_before = termios.tcgetattr(self.slave)
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self._lock = threading.Lock()
        self._reads = threading.Event()
        self._reads.set()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "TERM": "xterm-256color"} | _without_colour_names(environment),
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            self._reads.wait()
            try:
                content = os.read(self.master, 1 << 16)
            except OSError:
                return
            if not content:
                return
            with self._lock:
                self.raw += content
                self._stream.feed(content)

    def stop_reading(self) -> None:
        """From the next piece on, nothing is read until `go_on_reading`."""
        self._reads.clear()

    def go_on_reading(self) -> None:
        self._reads.set()

    def send(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    @property
    def lines(self) -> list[str]:
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()

    @property
    def mode(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    @property
    def takes_single_keys(self) -> bool:
        return not self.mode[3] & (termios.ICANON | termios.ECHO)

    def wait_for(self, pattern: str, count: int = 1) -> str:
        """The text, once a regular expression is found in it so many times."""
        return self.until(
            lambda: len(re.findall(pattern, text := self.text, re.MULTILINE)) >= count and text,
            f"{count} times {pattern!r}",
        )

    def until(self, condition: Any, what: str) -> Any:
        deadline = time.monotonic() + LIMIT_S
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}\n{self.text}"
            time.sleep(0.01)
        return value

    def end(self) -> int:
        """The status of the command, which has been told to end."""
        return self.process.wait(LIMIT_S)

    def dispose(self) -> None:
        self._reads.set()
        with contextlib.suppress(ProcessLookupError):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGCONT)
                self.process.terminate()
                try:
                    self.process.wait(LIMIT_S)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait(LIMIT_S)
        os.close(self.slave)
        self._reader.join(LIMIT_S)
        os.close(self.master)


def _without_colour_names(environment: dict[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in ("TERM",) if name in environment}


@contextlib.contextmanager
def terminal(
    command: Sequence[str], folder: Path, environment: dict[str, str], columns: int = 80
) -> Iterator[PseudoTerminal]:
    """A command in a terminal; it is ended with the block."""
    shown = PseudoTerminal(command, folder, environment, columns)
    try:
        yield shown
    finally:
        shown.dispose()
