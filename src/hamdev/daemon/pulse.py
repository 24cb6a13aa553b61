"""A common beat for what is looked at regularly."""

from __future__ import annotations

import anyio


async def beat(every_s: float) -> None:
    """Wait for the next moment that is a multiple of `every_s` on the loop's clock.

    Those who wait for the same beat are woken together. A process that is woken four times a
    second for a little each spends most of its time on waking up.
    """
    await anyio.sleep_until(next_beat(every_s))


def next_beat(every_s: float) -> float:
    """When that moment is, on the loop's clock."""
    now = anyio.current_time()
    return (now // every_s + 1) * every_s
