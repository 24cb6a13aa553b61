"""Linux's file events as the watcher gets them."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from hamdev.daemon import inotify
from hamdev.daemon.inotify import Noticed

pytestmark = pytest.mark.skipif(not inotify.is_available, reason="Linux has them")

LIMIT_S = 10.0


class Events:
    def __init__(self) -> None:
        self.all: list[Noticed] = []
        self.refused: dict[str, OSError] = {}
        self._arrived = anyio.Event()

    def take(self, noticed: Noticed) -> None:
        self.all.append(noticed)
        self._arrived.set()
        self._arrived = anyio.Event()

    async def wait_for(self, wanted: Callable[[Noticed], bool]) -> None:
        with anyio.fail_after(LIMIT_S):
            while not any(map(wanted, self.all)):
                await self._arrived.wait()


@asynccontextmanager
async def following(*folders: Path) -> AsyncIterator[Events]:
    events, stop = Events(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        paths = [str(folder) for folder in folders]
        tasks.start_soon(inotify.follow, paths, events.take, stop, events.refused.update)
        await anyio.wait_all_tasks_blocked()
        yield events
        stop.set()


async def test_a_file_is_written_once_it_is_closed(tmp_path):
    file = tmp_path / "a.py"
    async with following(tmp_path) as events:
        with file.open("w") as output:
            output.write("x = 1\n")
            output.flush()
            await events.wait_for(lambda noticed: str(file) in noticed.paths)
            assert not any(noticed.written for noticed in events.all)
        await events.wait_for(lambda noticed: str(file) in noticed.written)


async def test_a_file_that_is_moved_into_place_is_written(tmp_path):
    file, temporary = tmp_path / "a.py", tmp_path / "a.py.new"
    temporary.write_text("x = 1\n")
    async with following(tmp_path) as events:
        temporary.replace(file)
        await events.wait_for(lambda noticed: str(file) in noticed.written)


async def test_a_folder_that_goes_is_noticed(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    async with following(tmp_path, folder) as events:
        folder.rename(tmp_path / "elsewhere")
        await events.wait_for(lambda noticed: str(folder) in noticed.paths)


async def test_a_folder_by_two_names(tmp_path):
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    async with following(folder, link) as events:
        (folder / "a.py").write_text("")
        await events.wait_for(lambda noticed: str(folder / "a.py") in noticed.written)
        await events.wait_for(lambda noticed: str(link / "a.py") in noticed.written)


async def test_a_folder_that_cannot_be_watched_costs_the_others_nothing(tmp_path):
    absent = tmp_path / "absent"
    async with following(absent, tmp_path) as events:
        assert [type(error) for error in events.refused.values()] == [FileNotFoundError]
        assert events.refused.keys() == {str(absent)}
        (tmp_path / "a.py").write_text("")
        await events.wait_for(lambda noticed: str(tmp_path / "a.py") in noticed.written)


def test_events_that_were_dropped():
    overflow = struct.pack("iIII", -1, 0x4000, 0, 0)
    name = b"a.py".ljust(16, b"\0")
    written = struct.pack("iIII", 1, 0x8, 0, len(name)) + name
    noticed = inotify._noticed(written + overflow, {1: ["/p"]})
    assert noticed == Noticed(frozenset(["/p/a.py"]), frozenset(["/p/a.py"]), is_incomplete=True)
