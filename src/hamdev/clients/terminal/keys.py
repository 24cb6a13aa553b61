"""Single keys from the terminal, while this process is in its foreground; it is left as it was."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

# How often a job in the background sees whether it is in the foreground by now.
LOOK_S = 1.0
_CHUNK = 256
_LOCAL_FLAGS = 3
_CHARACTERS = 6
_Mode = list[Any]
_LOOK, _OVER = b"?", b"."


class Keys:
    """Reads keys in a thread.

    Args:
        descriptor: of a terminal.
        on_key: is given each key, in that thread.
    """

    def __init__(self, descriptor: int, on_key: Callable[[str], None]) -> None:
        self._terminal = descriptor
        self._on_key = on_key
        self._lock = threading.RLock()
        self._before: _Mode | None = None
        self._is_entered = False
        self._is_paused = False
        self._wake, self._poke = -1, -1

    @contextlib.contextmanager
    def read(self) -> Iterator[None]:
        """Read while the block is open; in the main thread."""
        self._wake, self._poke = os.pipe()
        os.set_blocking(self._poke, False)
        thread = threading.Thread(target=self._read, daemon=True, name="hamdev-keys")
        before = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGTSTP, self._stop),
                (signal.SIGQUIT, self._stop),
                (signal.SIGCONT, self._go_on),
            )
        }
        try:
            thread.start()
            yield
        finally:
            with self._lock:
                self._is_paused = True
            self._poke_with(_OVER)
            thread.join(LOOK_S)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._leave()
            if not thread.is_alive():
                os.close(self._wake)
                os.close(self._poke)

    # -- in the thread ------------------------------------------------------------------------

    def _read(self) -> None:
        while True:
            is_entered = self._enter()
            wanted = [self._wake, self._terminal] if is_entered else [self._wake]
            try:
                ready, _, _ = select.select(wanted, [], [], None if is_entered else LOOK_S)
                if self._wake in ready and _OVER in os.read(self._wake, _CHUNK):
                    return
                if self._terminal not in ready or not self._is_in_foreground():
                    continue
                keys = os.read(self._terminal, _CHUNK)
            except (OSError, ValueError):
                return  # hung up
            if not keys:
                return
            # Several at once are what the terminal itself sends, or were pasted.
            if len(set(keys)) == 1:
                for key in keys.decode("latin-1"):
                    self._on_key(key)

    def _poke_with(self, what: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._poke, what)

    # -- the terminal's mode ------------------------------------------------------------------

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError:
            return False

    def _enter(self) -> bool:
        """Take keys one by one and do not show them, if this process may."""
        with self._lock:
            if self._is_paused or not self._is_in_foreground():
                return False
            if not self._is_entered:
                try:
                    mode = termios.tcgetattr(self._terminal)
                    if self._before is None or mode[_LOCAL_FLAGS] & termios.ICANON:
                        self._before = list(mode)
                    mode[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
                    mode[_CHARACTERS] = list(mode[_CHARACTERS])
                    mode[_CHARACTERS][termios.VMIN] = 1
                    mode[_CHARACTERS][termios.VTIME] = 0
                    _set(self._terminal, mode)
                except termios.error:
                    return False
                self._is_entered = True
            return True

    def _leave(self) -> None:
        """Give the terminal back as it was."""
        with self._lock:
            if self._is_entered and self._before is not None and self._is_in_foreground():
                with contextlib.suppress(termios.error):
                    _set(self._terminal, self._before)
            self._is_entered = False

    # -- signals, in the main thread ----------------------------------------------------------

    def _stop(self, number: int, frame: FrameType | None) -> None:
        with self._lock:
            self._is_paused = True
            self._leave()
        handler = signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Somebody let it go on; or it was not stopped, as there is nobody who could do that.
        signal.signal(number, handler)
        self._go_on(number, frame)

    def _go_on(self, number: int, frame: FrameType | None) -> None:
        with self._lock:
            self._is_paused = self._is_entered = False
        self._poke_with(_LOOK)


def _set(descriptor: int, mode: _Mode) -> None:
    # Of a job that has just been sent to the background, the call would stop the process.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        # What was typed already counts, and output that stands still is not waited for.
        termios.tcsetattr(descriptor, termios.TCSANOW, mode)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
