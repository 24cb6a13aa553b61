"""Questions about values, answered one after the other, unless a value's own code takes long.

Texts, formats and rows call what the value's class brings (`__repr__`, `__reduce__`, …), and that
may never end. So each question has a thread of its own. The next one waits for it, but not for
long; and when nobody waits for an answer any more, the code that is at work on it is interrupted.
"""

from __future__ import annotations

import ctypes
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from hamdev.messages import Fetch, Fetched, ReadRows, RowsRead

# For so long a question keeps the next one waiting.
TURN_S = 1.0
# So many may be under way at a time; each costs a thread.
MAX_AT_ONCE = 64
_TOO_MANY = (
    "the own code of too many values does not end. Way out: 'hamdev rerun --clean', which starts a "
    "new worker"
)
# How long to wait until a thread may be at user code, or may have caught what was raised.
_AGAIN_S = 0.05
_AGAIN_AT_MOST_S = 5.0
_OURS = str(Path(__file__).parent.parent) + os.sep
_IMPORTING = "<frozen importlib._bootstrap>"

Asked = Fetch | ReadRows
Answered = Fetched | RowsRead


class GivenUp(BaseException):
    """Nobody waits for the answer any more. No `Exception`, so that handlers let it pass."""


class Answering:
    """Answers questions that are handed in from another thread.

    Args:
        send: is given the answers, in any thread.
    """

    def __init__(self, send: Callable[[Answered], None]) -> None:
        self._send = send
        self._waiting: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._jobs: dict[int, _Job] = {}

    def ask(self, question: Asked) -> None:
        """Take in a question."""
        job = self._jobs[question.request] = _Job(question)
        self._waiting.put(job)

    def give_up(self, request: int) -> None:
        """Nobody waits for this answer; nothing happens if it has been given already."""
        if (job := self._jobs.get(request)) is not None:
            job.is_wanted = False
            threading.Thread(target=job.interrupt, name="hamdev giving up", daemon=True).start()

    def serve(self, answer: Callable[[Asked], Answered]) -> None:
        """Give answers, for ever.

        Args:
            answer: the answer to a question; it may take for ever, too.
        """
        at_work: list[threading.Thread] = []
        while True:
            job = self._waiting.get()
            at_work = [thread for thread in at_work if thread.is_alive()]
            if not job.is_wanted or len(at_work) >= MAX_AT_ONCE:
                self._jobs.pop(job.question.request, None)
                job.end()
                self._send(job.failed(_TOO_MANY))
                continue
            thread = threading.Thread(
                target=self._work, args=(job, answer), name="hamdev value", daemon=True
            )
            thread.start()
            thread.join(TURN_S)
            at_work.append(thread)

    def _work(self, job: _Job, answer: Callable[[Asked], Answered]) -> None:
        try:
            found = job.result(answer)
        except GivenUp:
            return
        finally:
            self._jobs.pop(job.question.request, None)
        self._send(found)


class _Job:
    """A question, and the thread that is at work on it."""

    def __init__(self, question: Asked) -> None:
        self.question = question
        self.is_wanted = True
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._ended = threading.Event()

    def result(self, answer: Callable[[Asked], Answered]) -> Answered:
        """The answer, whatever becomes of the attempt to work it out.

        Raises:
            GivenUp: nobody waits for it.
        """
        self._thread = threading.get_ident()
        try:
            try:
                found = answer(self.question)
            except GivenUp:
                raise
            except BaseException as error:
                found = self.failed(f"the value's own code failed: {type(error).__name__}")
            self.end()
        except GivenUp:
            self.end()
            raise
        return found

    def failed(self, text: str) -> Answered:
        """An answer that says why there is none."""
        if isinstance(self.question, Fetch):
            return Fetched(request=self.question.request, error=text)
        return RowsRead(request=self.question.request, error=text)

    def interrupt(self) -> None:
        """Raise `GivenUp` in the value's own code, once that is what its thread is at.

        It arrives when that code comes back to Python, and again until it ends: it may be caught.
        """
        pause = _AGAIN_S
        while not self._ended.wait(pause):
            pause = min(2 * pause, _AGAIN_AT_MOST_S)
            with self._lock:
                if self._thread is None:
                    continue
                frame = sys._current_frames().get(self._thread)
                if frame is None:
                    return
                if _is_users(frame):
                    _raise_in(self._thread, GivenUp)

    def end(self) -> None:
        """Nothing is raised any more on its account."""
        with self._lock:
            if self._thread is not None:
                _raise_in(self._thread, None)
            self._thread = None
        self._ended.set()


def _is_users(frame: FrameType) -> bool:
    """Whether neither code of ours is at work nor a module being imported: both would be torn."""
    if frame.f_code.co_filename.startswith(_OURS):
        return False
    outer: FrameType | None = frame
    while outer is not None:
        if outer.f_code.co_filename == _IMPORTING:
            return False
        outer = outer.f_back
    return True


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise this in a thread, or take back what has not been raised yet."""
    what = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)
