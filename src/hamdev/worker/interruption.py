"""Stopping a run politely: an exception raised in user code, and nowhere else.

A signal interrupts also a blocking system call, but its handler may find the main thread
anywhere. Raising in the middle of our own code would tear a frame or end the event loop, and in
the middle of a library's import would leave it half loaded (numpy refuses a second try). So the
handler looks at the stack: the innermost frame of ours must be one that calls user code.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType

_OURS = str(Path(__file__).parent.parent) + os.sep
_IMPORTING = "<frozen importlib._bootstrap>"
_AGAIN_S = 0.02
_BEGIN_S = 0.002


class RunCancelled(BaseException):
    """The run was cancelled. No `Exception`, so that ordinary handlers let it pass."""


class Interruption:
    """Interrupts the main thread's run from another thread.

    Args:
        callers: the code of the functions that call user code.
        on_raised: is called, with the run's id, just before the exception is raised.
    """

    def __init__(self, callers: Iterable[CodeType], on_raised: Callable[[int], None]) -> None:
        self._callers = frozenset(callers)
        self._on_raised = on_raised
        self._run: int | None = None
        self._wanted: int | None = None
        self._told: int | None = None
        self._expected: set[int] = set()
        self._cancel: Callable[[], None] | None = None
        self._ended = threading.Event()

    def install(self) -> None:
        """Take SIGINT over; to be repeated before each run, as user code may have changed it."""
        signal.signal(signal.SIGINT, self._on_signal)

    def expect(self, run: int) -> None:
        """`run` is going to begin; it can be interrupted as soon as it does."""
        self._expected.add(run)

    def begin(self, run: int, cancel: Callable[[], None]) -> None:
        """From now on `run` can be interrupted.

        Args:
            run: its id.
            cancel: cancels what awaits; it must be callable in a signal handler.
        """
        self.install()
        self._ended.clear()
        self._cancel = cancel
        self._run = run

    def end(self) -> None:
        """The run that began can be interrupted no more."""
        if self._run is not None:
            self._expected.discard(self._run)
        self._run = self._cancel = None
        self._ended.set()

    def interrupt(self, run: int) -> None:
        """Interrupt `run`, from another thread, now or when it begins; nothing if it is over."""
        if run not in self._expected or run == self._told:
            return
        self._wanted = run
        main = threading.main_thread().ident
        assert main is not None
        while self._wanted == run and run in self._expected:
            if self._run == run:
                signal.pthread_kill(main, signal.SIGINT)
                # The moment may have been a bad one for raising; the next one may be better.
                self._ended.wait(_AGAIN_S)
            else:
                time.sleep(_BEGIN_S)

    @property
    def is_wanted(self) -> bool:
        """Whether what this thread does is to be given up; then `raise_if_wanted` raises."""
        run = self._wanted
        return run is not None and run == self._run and _in_main_thread()

    def raise_if_wanted(self) -> None:
        """Raise what the handler could not, being in code of ours that user code called."""
        run = self._wanted
        if run is not None and self.is_wanted:
            self._raise(run)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        run = self._wanted
        if run is None or run != self._run:
            return
        if self._cancel is not None:
            self._cancel()
        if self._is_user_code(frame):
            self._raise(run)

    def _raise(self, run: int) -> None:
        # Once only: a second exception would hit the user's own cleaning up.
        self._wanted, self._told = None, run
        self._on_raised(run)
        raise RunCancelled(f"run {run} was cancelled")

    def _is_user_code(self, frame: FrameType | None) -> bool:
        while frame is not None:
            code = frame.f_code
            if code in self._callers:
                return True
            if code.co_filename == _IMPORTING or code.co_filename.startswith(_OURS):
                return False
            frame = frame.f_back
        return False


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
