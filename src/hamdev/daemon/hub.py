"""Fan-out of events: publishing never waits, and a laggard gets a fresh snapshot."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
from anyio.lowlevel import checkpoint
from msgspec import structs

from hamdev.messages import Event, Status
from hamdev.wire import event_line

MAX_KEPT_EVENTS = 4096
MAX_KEPT_BYTES = 16 * 1024 * 1024
MAX_QUEUED_EVENTS = 1024
MAX_QUEUED_BYTES = 8 * 1024 * 1024
# Lines are shared by all queues, and copied only when they are sent: so much at a time.
MAX_BATCH_BYTES = 256 * 1024
# To send something to 200 takes longer than many a run has between two events. So if there are more
# than a few, events are collected for a moment, and they get them in groups, between which the
# daemon turns to its worker.
FEW = 8
PAUSE_S_EACH = 100e-6
MAX_PAUSE_S = 0.02
GROUP = 16


class Hub:
    """Numbers events and hands them to everybody who listens.

    Numbers begin at the start time in milliseconds, so that they also grow from one daemon to
    the next one and a number from before a restart is recognised as a gap.

    Args:
        status: makes the present status, for those who start anew.
    """

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status
        self.first_seq = self.seq = int(time.time() * 1000)
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        self._subscriptions: set[Subscription] = set()
        self._published = anyio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Needed by more than a few subscribers, who get their events while the block is open."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hand_out)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def _hand_out(self) -> None:
        while True:
            await self._published.wait()
            await anyio.sleep(min(len(self._subscriptions) * PAUSE_S_EACH, MAX_PAUSE_S))
            self._published = anyio.Event()
            for number, subscription in enumerate([*self._subscriptions]):
                if number % GROUP == 0:
                    await checkpoint()
                subscription.wake()

    def publish(self, event: Event) -> Event:
        """Number, date and hand out an event; returns it as it went out."""
        self.seq += 1
        stamped = structs.replace(event, seq=self.seq, time=time.time())
        line = event_line(stamped)
        self._kept.append((self.seq, line))
        self._kept_bytes += len(line)
        while len(self._kept) > MAX_KEPT_EVENTS or self._kept_bytes > MAX_KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft()[1])
        wanting = [s for s in self._subscriptions if s.types is None or event.type in s.types]
        for subscription in wanting:
            subscription.put(line)
        if len(self._subscriptions) <= FEW:
            for subscription in wanting:
                subscription.wake()
        else:
            self._published.set()
        return stamped

    @contextmanager
    def subscription(
        self, since: int | None = None, types: frozenset[str] | None = None
    ) -> Iterator[Subscription]:
        """Everything that is published while it is open, and after `since` if that is still kept.

        Args:
            since: the number of the last event that is known; 0: all since the daemon's start.
            types: of events that are published from now on, those that are wanted; None: all.
        """
        subscription = Subscription(self.fresh_line, self._since(since), types)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def kept(self) -> list[bytes]:
        """The lines of the last events, the oldest first."""
        return [line for _, line in self._kept]

    def _since(self, since: int | None) -> list[bytes] | None:
        if since is None:
            return None
        oldest = self._kept[0][0] if self._kept else self.seq + 1
        if since == 0 and oldest == self.first_seq + 1:
            since = self.first_seq
        if since < oldest - 1 or since > self.seq:
            return None
        return [line for seq, line in self._kept if seq > since]

    def fresh_line(self) -> bytes:
        """A line with a snapshot of what is served now."""
        status = self._status()
        return event_line(
            Event(
                type="snapshot",
                revision=status.revision,
                seq=self.seq,
                time=time.time(),
                fresh=True,
                snapshot=status,
            )
        )


class Subscription:
    """One listener's queue of lines.

    Args:
        fresh_line: makes a line with a snapshot.
        missed: what the listener gets first; None if what it has missed is not known.
        types: of the events that it gets; None: all.

    Attributes:
        is_fresh: there is a gap before this subscription, so it begins with a snapshot.
    """

    def __init__(
        self,
        fresh_line: Callable[[], bytes],
        missed: list[bytes] | None,
        types: frozenset[str] | None = None,
    ) -> None:
        self.types = types
        self._fresh_line = fresh_line
        self.is_fresh = missed is None
        self._lines = deque(missed or ())
        self._bytes = sum(map(len, self._lines))
        self._is_lagging = False
        self._is_ended = False
        self._is_due = True
        self._arrived = anyio.Event()
        # What was missed is kept anyway, so it does not count.
        self._max_events = MAX_QUEUED_EVENTS + len(self._lines)
        self._max_bytes = MAX_QUEUED_BYTES + self._bytes

    def put(self, line: bytes) -> None:
        """Queue a line for after `wake`; if the queue is full, drop it in favour of a snapshot."""
        if self._is_lagging or self._is_ended:
            return
        if len(self._lines) >= self._max_events or self._bytes + len(line) > self._max_bytes:
            self._drop()
            self._is_lagging = True
        else:
            self._lines.append(line)
            self._bytes += len(line)

    def wake(self) -> None:
        """Let `next` give what is queued."""
        self._is_due = True
        self._arrived.set()

    def end(self) -> None:
        """Let `next` give nothing more, also if somebody waits in it."""
        self._drop()
        self._is_ended = True
        self._arrived.set()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is queued."""
        return not self._lines and not self._is_lagging

    async def arrived(self) -> None:
        """Wait until `next` gives something at once."""
        while not self._is_ended and not (self._is_due and not self.is_empty):
            self._arrived = anyio.Event()
            await self._arrived.wait()

    async def next(self) -> bytes:
        """The next line, or several at once that are ready; waits for one.

        Raises:
            anyio.EndOfStream: the subscription was ended.
        """
        await self.arrived()
        if self._is_ended:
            raise anyio.EndOfStream
        if self._is_lagging:
            self._is_lagging = self._is_due = False
            return self._fresh_line()
        taken = self._take()
        self._is_due = bool(self._lines)
        return b"".join(taken)

    def _take(self) -> list[bytes]:
        taken = [self._lines.popleft()]
        size = len(taken[0])
        while self._lines and size + len(self._lines[0]) <= MAX_BATCH_BYTES:
            taken.append(self._lines.popleft())
            size += len(taken[-1])
        self._bytes -= size
        self._max_events = max(self._max_events - len(taken), MAX_QUEUED_EVENTS)
        self._max_bytes = max(self._max_bytes - size, MAX_QUEUED_BYTES)
        return taken

    def _drop(self) -> None:
        self._lines.clear()
        self._bytes = 0
        self._max_events = MAX_QUEUED_EVENTS
        self._max_bytes = MAX_QUEUED_BYTES
