"""Real processes, each in a process group of its own, and what they print, under time limits."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

# Long enough for a daemon to end its workers, which may be in groups of their own.
GRACE_S = 10.0
_PYTHON = Path(sys.executable)


class Refusal(Exception):
    """The measurement cannot go on: something did not start, ended, or gave a wrong value."""


class Deadline:
    """A moment after which waiting is given up.

    Args:
        seconds: from now.
        waiting_for: what is waited for, as the end of "waited … s for".
    """

    def __init__(self, seconds: float, waiting_for: str) -> None:
        self._seconds = seconds
        self._waiting_for = waiting_for
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left.

        Raises:
            Refusal: there are none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise Refusal(f"waited {self._seconds:g} s for {self._waiting_for}")
        return left


class Child:
    """A process, and where to look when it does not do what it should."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    def require_alive(self) -> None:
        """Do nothing, or say how the process ended.

        Raises:
            Refusal: it has ended.
        """
        if (status := self.process.poll()) is not None:
            raise Refusal(f"{self.name} has ended with status {status}\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-25:])


class _Readable(Protocol):
    def fileno(self) -> int: ...


class Lines:
    """Lines from a pipe or socket, as soon as they are there."""

    def __init__(self, source: _Readable) -> None:
        self._source = source
        self._poll = select.poll()
        self._poll.register(source.fileno(), select.POLLIN)
        self._rest = b""

    def next(self, deadline: Deadline) -> str | None:
        """The next line without its end, or None at the end of the stream.

        Raises:
            Refusal: the deadline passed.
        """
        while b"\n" not in self._rest:
            if not self._poll.poll(deadline.remaining() * 1000):
                continue
            chunk = os.read(self._source.fileno(), 1 << 16)
            if not chunk:
                return None
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode("utf-8", errors="replace")


def beside_python(script: str) -> str:
    """The path of a command that is installed in this interpreter's environment.

    Raises:
        Refusal: it is not there.
    """
    path = _PYTHON.parent / script
    if not path.is_file():
        raise Refusal(f"no command {script!r} beside {_PYTHON}; install hamdev in this environment")
    return str(path)


def environment() -> dict[str, str]:
    """This process's environment without what would change the measured programs."""
    unwanted = {
        # Users of `python run.py` have compiled files; without them it would look slower.
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONPATH",
        # It would lead to the daemon of another project.
        "HAMDEV_SOCKET",
    }
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "HAMILTON_TELEMETRY_ENABLED": "false"}


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    cwd: Path,
    log: Path,
    capture: bool = False,
    terminal: int | None = None,
) -> Iterator[Child]:
    """A process that is ended with its whole group when the block is left, however it is left.

    Args:
        name: what it is called in messages.
        command: its arguments.
        cwd: its current folder.
        log: gets its stderr, and its stdout unless that is captured.
        capture: whether `Child.process.stdout` is a pipe.
        terminal: descriptor of a terminal that all three standard streams are, instead; it is
            the process's own, so that it is in the foreground.

    Raises:
        Refusal: the command cannot be started.
    """
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment() | ({} if terminal is None else {"TERM": "xterm-256color"}),
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=subprocess.PIPE if capture else output if terminal is None else terminal,
                stderr=output if terminal is None else terminal,
                bufsize=0,
                start_new_session=True,
                preexec_fn=None if terminal is None else _take_terminal,
            )
        except OSError as error:
            raise Refusal(f"{name} could not be started: {error}") from error
    try:
        yield Child(name, process, log)
    finally:
        _end(process)
        if process.stdout is not None:
            process.stdout.close()


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def watched_terminal(log: Path) -> Iterator[int]:
    """A descriptor for `running` of a terminal that is read all the time.

    Args:
        log: gets what is written to the terminal.
    """
    ours, theirs = os.openpty()

    def read() -> None:
        with log.open("ab") as output:
            while True:
                try:
                    shown = os.read(ours, 1 << 16)
                except OSError:  # nobody has the other end any more
                    return
                output.write(shown)
                output.flush()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            pass  # SIGKILL is next
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass  # all gone; macOS says EPERM of a group that has only zombies


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """While it is open, SIGTERM and SIGHUP leave blocks in order, so that children are ended."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def measuring() -> Iterator[None]:
    """As `ended_by_signals`; a refusal ends the program with status 2, and says why."""
    try:
        with ended_by_signals():
            yield
    except Refusal as refusal:
        print(f"no figures: {refusal}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None


def write_json(file: Path, data: dict[str, Any]) -> None:
    """Write `data` for a program to read; a person can too."""
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
