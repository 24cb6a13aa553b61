"""Clients against a real daemon: the Python API."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from client_processes import Watch

import hamdev
from hamdev.errors import DaemonError, NoDaemonError, SyncTimeoutError

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

SALES = """
    import pandas as pd

    class Note:
        def __init__(self, text):
            self.text = text

    def prices() -> pd.DataFrame:
        return pd.DataFrame({"city": ["Oslo", "Lima"], "price": [2.5, 4.0]})

    def many() -> pd.DataFrame:
        return pd.DataFrame({"n": range(100_000)})

    def total(prices: pd.DataFrame) -> float:
        return float(prices["price"].sum())

    def note(total: float) -> Note:
        return Note(f"it is {total}")

    def unpicklable(total: float) -> object:
        return lambda: total
"""


@pytest.fixture
def sales(project: ProjectOnDisk) -> ProjectOnDisk:
    project.write("sales", SALES)
    return project


def test_values_come_as_themselves(sales: ProjectOnDisk, watch: Watch) -> None:
    with watch("sales") as daemon, daemon.connect() as dev:
        dev.ping()
        assert dev.daemon["root"] == str(sales.root.resolve())
        assert dev.daemon["pid"] == daemon.process.pid
        status = dev.sync()
        assert status["pipelines"]["sales"]["state"] == "idle"
        assert dev.status("sales")["revision"] == status["revision"]
        assert dev.result("total") == 6.5
        assert list(dev.result("prices")["city"]) == ["Oslo", "Lima"]
        assert dev.result("note", "sales").text == "it is 6.5"
        assert dev.result("many")["n"].sum() == sum(range(100_000))


def test_bytes_in_a_format(sales: ProjectOnDisk, watch: Watch) -> None:
    with watch("sales") as daemon, daemon.connect() as dev:
        dev.sync()
        assert dev.result_as("total", "text") == b"6.5"
        assert dev.result_as("prices", "csv") == b"city,price\nOslo,2.5\nLima,4.0\n"
        assert dev.result_as("prices", "json") == (
            b'[{"city":"Oslo","price":2.5},{"city":"Lima","price":4.0}]'
        )
        assert dev.result_as("prices", "parquet").startswith(b"PAR1")
        assert pickle.loads(dev.result_as("total", "pickle")) == 6.5
        assert dev.result_as("many", "csv").count(b"\n") == 100_001


def test_errors_tell_what_there_is(sales: ProjectOnDisk, watch: Watch) -> None:
    with watch("sales") as daemon, daemon.connect() as dev:
        dev.sync()
        with pytest.raises(DaemonError) as unknown:
            dev.result("totl")
        assert unknown.value.code == 1
        assert unknown.value.data["nearest"][0] == "total"
        with pytest.raises(DaemonError) as no_table:
            dev.result_as("total", "csv")
        assert no_table.value.code == 3
        assert "json" in no_table.value.data["formats"]
        with pytest.raises(DaemonError) as no_pickle:
            dev.result("unpicklable")
        assert no_pickle.value.code == 3
        # The connection is as good as before.
        assert dev.result("total") == 6.5


def test_sync_waits_for_what_was_just_written(sales: ProjectOnDisk, watch: Watch) -> None:
    with watch("sales") as daemon, daemon.connect() as dev:
        before = dev.sync()["revision"]
        for price in (5.5, 7.25, 9.0):
            file = sales.write("sales", SALES.replace("2.5", str(price)))
            answer = dev.sync([file])
            assert dev.result("total") == price + 4.0
        assert answer["revision"] > before


def test_sync_times_out(sales: ProjectOnDisk, watch: Watch) -> None:
    sales.write("slow", "import time\ndef slow() -> int:\n    time.sleep(600)\n    return 1\n")
    with watch("slow") as daemon, daemon.connect() as dev:
        with pytest.raises(SyncTimeoutError):
            dev.sync(timeout=0.05)
        dev.cancel()


def test_events_begin_with_a_snapshot_and_follow_a_save(sales: ProjectOnDisk, watch: Watch) -> None:
    with watch("sales") as daemon, daemon.connect() as dev:
        dev.sync()
        with dev.events() as events:
            first = next(events)
            assert (first["type"], first["fresh"]) == ("snapshot", True)
            assert first["snapshot"]["pipelines"]["sales"]["state"] == "idle"
            sales.write("sales", SALES.replace("2.5", "3.5"))
            seen = []
            for event in events:
                seen.append(event)
                if event["type"] == "run.finished":
                    break
        kinds = [event["type"] for event in seen]
        assert kinds.index("files.changed") < kinds.index("run.started")
        numbers = [event["seq"] for event in seen]
        assert numbers == sorted(numbers)
        assert numbers[0] > first["seq"]
        # The same again, from a number on.
        with dev.events(since=first["seq"]) as again:
            assert [next(again) for _ in seen] == seen


def test_events_end_with_the_daemon(sales: ProjectOnDisk, watch: Watch) -> None:
    with watch("sales") as daemon, daemon.connect() as dev:
        dev.sync()
        events = dev.events()
        dev.shutdown()
        assert next(events)["type"] == "snapshot"
        for _ in events:
            pass
        assert daemon.process.wait(20) == 0
        with pytest.raises(NoDaemonError, match="hamdev watch"):
            dev.ping()
    with pytest.raises(NoDaemonError, match="hamdev watch"):
        hamdev.connect(sales.root)


def test_rerun_has_a_number_and_clean_has_the_same_values(
    sales: ProjectOnDisk, watch: Watch
) -> None:
    with watch("sales") as daemon, daemon.connect() as dev:
        first = dev.sync()["pipelines"]["sales"]["run"]
        run = dev.rerun(pipeline="sales")
        assert run > first
        assert dev.sync()["pipelines"]["sales"]["run"] == run
        again = dev.rerun(clean=True)
        assert dev.sync()["pipelines"]["sales"]["run"] >= again
        assert dev.result("total") == 6.5


def test_killed_daemon_is_a_clear_error(sales: ProjectOnDisk, watch: Watch) -> None:
    sales.write("slow", "import time\ndef slow() -> int:\n    time.sleep(600)\n    return 1\n")
    with watch("slow") as daemon, daemon.connect() as dev, dev.events() as events:
        caught: list[BaseException] = []

        def wait() -> None:
            try:
                dev.sync(timeout=None)
            except NoDaemonError as error:
                caught.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        next(event for event in events if _is_at_work(event))
        os.kill(daemon.process.pid, signal.SIGKILL)
        waiting.join(20)
        assert "'sync'" in str(caught[0])
        # What it left behind does not mislead.
        with pytest.raises(NoDaemonError):
            hamdev.connect(sales.root)


def _is_at_work(event: dict[str, Any]) -> bool:
    if event["type"] == "snapshot":
        nodes = event["snapshot"]["pipelines"]["slow"]["nodes"]
        return any(node["state"] == "running" for node in nodes.values())
    return bool(event["type"] == "node.started")


def test_explicit_socket_wins(
    sales: ProjectOnDisk, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watch("sales") as daemon:
        with daemon.connect() as dev:
            socket = dev.socket
        monkeypatch.setenv("HAMDEV_SOCKET", socket)
        with hamdev.connect("/") as dev:
            assert dev.daemon["pid"] == daemon.process.pid
        monkeypatch.setenv("HAMDEV_SOCKET", socket + ".not")
        with pytest.raises(NoDaemonError):
            daemon.connect()


async def test_async_client_does_the_same(sales: ProjectOnDisk, watch: Watch) -> None:
    with watch("sales") as daemon:
        async with hamdev.connect_async(sales.root) as dev:
            await dev.ping()
            assert (await dev.hello())["pid"] == daemon.process.pid
            async with dev.events() as events:
                await dev.sync()
                assert await dev.result("total") == 6.5
                assert (await dev.result("many"))["n"].sum() == sum(range(100_000))
                assert (await dev.result("note")).text == "it is 6.5"
                assert await dev.result_as("total", "json") == b"6.5"
                run = await dev.rerun()
                async for event in events:
                    if event["type"] == "run.finished" and event["run"] == run:
                        break
            with pytest.raises(DaemonError) as unknown:
                await dev.result("totl")
            assert unknown.value.code == 1
            await dev.cancel()
            late = dev.events(since=0)
            assert (await anext(late))["seq"]
            await dev.shutdown()
            async for _ in late:
                pass
        with pytest.raises(NoDaemonError):
            async with hamdev.connect_async(sales.root):
                pass


async def test_tasks_share_an_async_client(sales: ProjectOnDisk, watch: Watch) -> None:
    sales.write("slow", "import time\ndef slow() -> int:\n    time.sleep(600)\n    return 1\n")
    totals: list[float] = []
    with watch("slow", "sales"):
        async with hamdev.connect_async(sales.root) as dev, anyio.create_task_group() as tasks:
            tasks.start_soon(dev.sync)

            async def ask() -> None:
                totals.append((await dev.status())["revision"])

            async with anyio.create_task_group() as quick:
                for _ in range(20):
                    quick.start_soon(ask)
            # All were answered though the one before them still waits.
            assert len(totals) == 20
            with anyio.move_on_after(0.05):
                await dev.sync()
            # An answer that nobody waits for any more spoils nothing.
            await dev.ping()
            tasks.cancel_scope.cancel()
        async with hamdev.connect_async(sales.root) as dev:
            await dev.cancel()
