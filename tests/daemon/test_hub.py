"""Events are numbered, none is missed unnoticed, and nobody waits for a client."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import anyio
import pytest

from hamdev.daemon import hub as hub_module
from hamdev.daemon.hub import Hub, Subscription
from hamdev.messages import Event, Status


@pytest.fixture
def hub() -> Hub:
    def status() -> Status:
        return Status(revision=3, seq=made.seq, pipelines={})

    made = Hub(status)
    return made


def publish(hub: Hub, count: int) -> list[int]:
    return [hub.publish(Event(type="warning", revision=3, message="m")).seq for _ in range(count)]


async def read(subscription: Subscription) -> list[dict[str, Any]]:
    with anyio.fail_after(5):
        lines = (await subscription.next()).splitlines()
    return [json.loads(line)["params"] for line in lines]


async def numbers(subscription: Subscription) -> list[int]:
    return [event["seq"] for event in await read(subscription)]


async def test_events_are_numbered_and_dated(hub):
    first = hub.first_seq
    assert publish(hub, 3) == [first + 1, first + 2, first + 3]
    assert hub.seq == first + 3
    event = hub.publish(Event(type="warning", revision=3))
    assert event.time > 1e9


async def test_a_subscriber_gets_what_comes(hub):
    with hub.subscription() as subscription:
        assert subscription.is_fresh
        sent = publish(hub, 3)
        assert await numbers(subscription) == sent
        more = publish(hub, 1)
        assert await numbers(subscription) == more


async def test_a_waiting_subscriber_is_woken(hub):
    got: list[int] = []

    async def wait(subscription: Subscription) -> None:
        got.extend(await numbers(subscription))

    with hub.subscription() as subscription:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, subscription)
            await anyio.wait_all_tasks_blocked()
            sent = publish(hub, 1)
    assert got == sent


async def test_what_was_published_after_since_comes_first_and_without_a_gap(hub):
    sent = publish(hub, 5)
    with hub.subscription(sent[1]) as subscription:
        assert not subscription.is_fresh
        sent += publish(hub, 2)
        assert await numbers(subscription) == sent[2:]


@pytest.mark.parametrize("count", [0, 4])
async def test_zero_is_everything_since_the_start(hub, count):
    sent = publish(hub, count)
    with hub.subscription(0) as subscription:
        assert not subscription.is_fresh
        sent += publish(hub, 1)
        assert await numbers(subscription) == sent


async def test_a_number_of_another_daemon_is_a_gap(hub):
    publish(hub, 2)
    for since in (1, hub.first_seq - 1, hub.seq + 1, -5):
        with hub.subscription(since) as subscription:
            assert subscription.is_fresh


async def test_the_last_number_leaves_nothing_to_catch_up(hub):
    publish(hub, 2)
    with hub.subscription(hub.seq) as subscription:
        assert not subscription.is_fresh
        sent = publish(hub, 1)
        assert await numbers(subscription) == sent


async def test_what_is_no_longer_kept_is_a_gap(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_KEPT_EVENTS", 3)
    sent = publish(hub, 5)
    with ExitStack() as stack:
        late = stack.enter_context(hub.subscription(sent[0]))
        in_time = stack.enter_context(hub.subscription(sent[1]))
        start = stack.enter_context(hub.subscription(0))
        assert (late.is_fresh, in_time.is_fresh, start.is_fresh) == (True, False, True)
        assert await numbers(in_time) == sent[2:]


async def test_kept_events_are_limited_by_their_size(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_KEPT_BYTES", 1000)
    (first,) = publish(hub, 1)
    hub.publish(Event(type="output", revision=3, text="x" * 2000))
    with hub.subscription(first) as subscription:
        assert subscription.is_fresh
    with hub.subscription(hub.seq) as subscription:
        assert not subscription.is_fresh


async def test_a_laggard_gets_one_snapshot_and_then_what_comes(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_QUEUED_EVENTS", 10)
    with hub.subscription() as laggard, hub.subscription() as other:
        sent = publish(hub, 10)
        assert await numbers(other) == sent
        publish(hub, 25)
        (snapshot,) = await read(laggard)
        assert (snapshot["type"], snapshot["fresh"]) == ("snapshot", True)
        assert snapshot["seq"] == hub.seq
        assert snapshot["snapshot"] == {"revision": 3, "seq": hub.seq, "pipelines": {}}
        sent = publish(hub, 2)
        assert await numbers(laggard) == sent


async def test_a_laggard_is_limited_by_size_too(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_QUEUED_BYTES", 1000)
    with hub.subscription() as subscription:
        hub.publish(Event(type="output", revision=3, text="x" * 2000))
        assert [event["type"] for event in await read(subscription)] == ["snapshot"]


async def test_a_long_backlog_is_no_lag(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_QUEUED_EVENTS", 10)
    sent = publish(hub, 50)
    with hub.subscription(sent[0]) as subscription:
        sent += publish(hub, 10)
        assert await numbers(subscription) == sent[1:]
        publish(hub, 11)
        assert [event["type"] for event in await read(subscription)] == ["snapshot"]


async def test_a_closed_subscription_gets_nothing_more(hub):
    with hub.subscription() as subscription:
        pass
    publish(hub, 1)
    with anyio.move_on_after(0) as scope:
        await subscription.next()
    assert scope.cancelled_caught


async def test_what_is_ready_is_copied_in_bounded_pieces(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_BATCH_BYTES", 1000)
    with hub.subscription() as subscription:
        sent = publish(hub, 30)
        got: list[int] = []
        while got != sent:
            line = await subscription.next()
            assert len(line) <= 1000
            got += [json.loads(part)["params"]["seq"] for part in line.splitlines()]
            assert got == sent[: len(got)]
        hub.publish(Event(type="output", revision=3, text="x" * 2000))
        assert [event["type"] for event in await read(subscription)] == ["output"]


async def test_a_slow_reader_of_a_long_backlog_has_room_for_what_comes(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_QUEUED_EVENTS", 10)
    monkeypatch.setattr(hub_module, "MAX_QUEUED_BYTES", 2000)
    monkeypatch.setattr(hub_module, "MAX_BATCH_BYTES", 1000)
    sent = publish(hub, 50)
    with hub.subscription(0) as subscription:
        got = await numbers(subscription)
        assert got == sent[: len(got)]
        sent += publish(hub, 10)
        while got != sent:
            got += await numbers(subscription)
            assert got == sent[: len(got)]
        publish(hub, 11)
        assert [event["type"] for event in await read(subscription)] == ["snapshot"]


async def test_an_ended_subscription_wakes_who_waits_and_gives_nothing_more(hub):
    with hub.subscription() as subscription:

        async def end() -> None:
            await anyio.wait_all_tasks_blocked()
            subscription.end()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end)
            with pytest.raises(anyio.EndOfStream):
                await subscription.next()
        publish(hub, 1)
        with pytest.raises(anyio.EndOfStream):
            await subscription.next()


async def test_many_subscribers_get_what_was_collected_for_a_moment(hub):
    count = hub_module.FEW * 5
    with ExitStack() as stack:
        subscriptions = [stack.enter_context(hub.subscription()) for _ in range(count)]
        async with hub.running():
            for _ in range(3):
                sent = publish(hub, 4)
                for subscription in subscriptions:
                    assert await numbers(subscription) == sent


async def test_few_subscribers_wait_for_nobody(hub):
    with ExitStack() as stack:
        few = [stack.enter_context(hub.subscription()) for _ in range(hub_module.FEW)]
        sent = publish(hub, 1)  # nobody hands out
        for subscription in few:
            assert await numbers(subscription) == sent


async def test_who_is_left_of_many_still_gets_what_was_collected(hub):
    async with hub.running():
        with hub.subscription() as one:
            with ExitStack() as stack:
                for _ in range(hub_module.FEW):
                    stack.enter_context(hub.subscription())
                sent = publish(hub, 2)
            assert await numbers(one) == sent
            sent = publish(hub, 2)
            assert await numbers(one) == sent
