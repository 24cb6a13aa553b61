"""Questions to workers, each of which waits for its answer, or for the end of that worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, overload

import anyio
from msgspec import structs

from hamdev.messages import (
    Answer,
    Command,
    Describe,
    Described,
    Fetch,
    Fetched,
    GiveUp,
    Question,
    ReadRows,
    ReadSource,
    RowsRead,
    SourceRead,
)

A = TypeVar("A", bound=Answer)


class Questions:
    """Numbers questions, and brings each answer to the task that waits for it.

    Args:
        tell: sends a command to a worker.
    """

    def __init__(self, tell: Callable[[int, Command], None]) -> None:
        self._tell = tell
        self._waiting: dict[int, _Waiting] = {}
        self._next = 1

    @overload
    async def ask(self, worker: int | None, question: Fetch) -> Fetched | None: ...
    @overload
    async def ask(self, worker: int | None, question: ReadRows) -> RowsRead | None: ...
    @overload
    async def ask(self, worker: int | None, question: Describe) -> Described | None: ...
    @overload
    async def ask(self, worker: int | None, question: ReadSource) -> SourceRead | None: ...

    async def ask(self, worker: int | None, question: Question) -> Answer | None:
        """The worker's answer; None if there is no such worker, or no longer."""
        if worker is None:
            return None
        number, self._next = self._next, self._next + 1
        waiting = self._waiting[number] = _Waiting(worker)
        self._tell(worker, structs.replace(question, request=number))
        try:
            await waiting.arrived.wait()
        finally:
            del self._waiting[number]
            if not waiting.arrived.is_set() and isinstance(question, Fetch | ReadRows):
                self._tell(worker, GiveUp(request=number))
        return waiting.answer

    def answered(self, answer: Answer) -> bool:
        """Take in an answer; False if nobody waits for it any more."""
        waiting = self._waiting.get(answer.request)
        if waiting is None:
            return False
        waiting.answer = answer
        waiting.arrived.set()
        return True

    def give_up(self, worker: int) -> None:
        """That worker is going to answer nothing more."""
        for waiting in self._waiting.values():
            if waiting.worker == worker:
                waiting.arrived.set()


class _Waiting:
    """A question that waits for its answer."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.arrived = anyio.Event()
        self.answer: Answer | None = None
