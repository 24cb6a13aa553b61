"""Real files, real events; and the sweep alone, which has to be enough."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from hamdev.daemon.watcher import Watcher

LIMIT_S = 15.0


def digest(content: str | bytes | None) -> str | None:
    if content is None:
        return None
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()


class Seen:
    """What a watcher has handed in."""

    def __init__(self) -> None:
        self.contents: dict[str, str | None] = {}
        self.batches: list[dict[str, str | None]] = []
        self._arrived = anyio.Event()

    def take(self, contents: dict[str, str | None]) -> None:
        self.batches.append(contents)
        self.contents |= contents
        self._arrived.set()
        self._arrived = anyio.Event()

    async def wait_for(self, file: Path, content: str | bytes | None) -> None:
        wanted = digest(content)
        with anyio.fail_after(LIMIT_S):
            while self.contents.get(str(file), "nothing") != wanted:
                await self._arrived.wait()

    def changes(self, file: Path) -> list[str | None]:
        """The contents of a file that followed each other."""
        found: list[str | None] = []
        for batch in self.batches:
            if str(file) in batch and (not found or found[-1] != batch[str(file)]):
                found.append(batch[str(file)])
        return found


class Watched:
    def __init__(self, folder: Path, watcher: Watcher, seen: Seen) -> None:
        self.folder, self.watcher, self.seen = folder, watcher, seen

    async def watch(self, *files: Path) -> None:
        """They are watched, and the present contents are in."""
        self.watcher.watch([str(file) for file in files])
        with anyio.fail_after(LIMIT_S):
            await self.watcher.look()
        assert self.seen.contents.keys() >= {str(file) for file in files}


@asynccontextmanager
async def watching(
    folder: Path, settle_s: float = 0.01, sweep_s: float = 600.0, uses_events: bool = True
) -> AsyncIterator[Watched]:
    """A watcher that is prompt by its events alone, or by its sweep alone."""
    seen = Seen()
    log = structlog.get_logger()
    watcher = Watcher(settle_s, sweep_s, seen.take, log, uses_events=uses_events)
    async with watcher.running():
        yield Watched(folder, watcher, seen)


@pytest.fixture(params=["events", "sweep"])
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of a watcher whose only source of news is one of the two."""
    if request.param == "events":
        return {"sweep_s": 600.0}
    return {"sweep_s": 0.02, "uses_events": False}


def write(file: Path, content: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def replace(file: Path, content: str) -> None:
    """As careful editors save."""
    temporary = write(file.with_name(f".{file.name}.tmp"), content)
    temporary.replace(file)


# -- what a save may look like -------------------------------------------------------------------


async def test_new_files_are_handed_in_at_once(tmp_path):
    file = write(tmp_path / "a.py", "1")
    missing = tmp_path / "b.py"
    async with watching(tmp_path, uses_events=False) as watched:
        watched.watcher.watch([str(file), str(missing)])
        await watched.seen.wait_for(file, "1")
        await watched.seen.wait_for(missing, None)


async def test_a_write_in_place(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        file = write(watched.folder / "a.py", "1")
        await watched.watch(file)
        for content in ("2", "22", "3"):
            write(file, content)
            await watched.seen.wait_for(file, content)


async def test_a_rename_save_again_and_again(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        file = write(watched.folder / "a.py", "1")
        await watched.watch(file)
        for content in ("2", "3", "4"):
            replace(file, content)
            await watched.seen.wait_for(file, content)


async def test_a_save_that_moves_the_old_file_away_first(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        file = write(watched.folder / "a.py", "1")
        await watched.watch(file)
        file.rename(file.with_suffix(".bak"))
        write(file, "2")
        await watched.seen.wait_for(file, "2")


async def test_a_file_that_vanishes_and_comes_back(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        file = write(watched.folder / "a.py", "1")
        await watched.watch(file)
        file.unlink()
        await watched.seen.wait_for(file, None)
        write(file, "1")
        await watched.seen.wait_for(file, "1")


async def test_a_write_of_the_same_size_with_its_old_time(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        file = write(watched.folder / "a.py", "1")
        await watched.watch(file)
        times = file.stat()
        write(file, "2")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        await watched.seen.wait_for(file, "2")


async def test_a_folder_that_is_swapped(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        file = write(watched.folder / "pipelines" / "a.py", "1")
        other = write(watched.folder / "other" / "a.py", "2")
        await watched.watch(file)
        file.parent.rename(watched.folder / "old")
        other.parent.rename(file.parent)
        await watched.seen.wait_for(file, "2")
        write(file, "3")
        await watched.seen.wait_for(file, "3")


async def test_a_folder_that_is_removed_and_made_anew(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        file = write(watched.folder / "pipelines" / "a.py", "1")
        await watched.watch(file)
        for content in ("2", "3"):
            shutil.rmtree(file.parent)
            await watched.seen.wait_for(file, None)
            write(file, content)
            await watched.seen.wait_for(file, content)


async def test_a_file_that_appears_in_folders_that_were_missing(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        file = watched.folder / "pipelines" / "deep" / "a.py"
        await watched.watch(file)
        await watched.seen.wait_for(file, None)
        write(file, "1")
        await watched.seen.wait_for(file, "1")
        write(file, "2")
        await watched.seen.wait_for(file, "2")


async def test_links(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        first = write(watched.folder / "real" / "first.py", "1")
        second = write(watched.folder / "real" / "second.py", "other")
        link = watched.folder / "a.py"
        link.symlink_to(first)
        await watched.watch(link)
        await watched.seen.wait_for(link, "1")
        write(first, "2")
        await watched.seen.wait_for(link, "2")
        link.unlink()
        link.symlink_to(second)
        await watched.seen.wait_for(link, "other")


async def test_what_is_no_file_has_no_content(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        pipe, folder = watched.folder / "pipe", watched.folder / "folder"
        os.mkfifo(pipe)
        folder.mkdir()
        await watched.watch(pipe, folder)
        assert watched.seen.contents == {str(pipe): None, str(folder): None}


async def test_files_that_are_not_watched_do_not_matter(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        file = write(watched.folder / "a.py", "1")
        await watched.watch(file)
        write(watched.folder / "b.py", "1")
        write(file, "2")
        await watched.seen.wait_for(file, "2")
        assert watched.seen.contents.keys() == {str(file)}


async def test_a_file_that_is_watched_no_more_and_then_again(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        file = write(watched.folder / "a.py", "1")
        other = write(watched.folder / "b.py", "1")
        await watched.watch(file, other)
        watched.watcher.watch([str(other)])
        write(file, "2")
        watched.watcher.watch([str(file), str(other)])
        await watched.seen.wait_for(file, "2")


async def test_a_large_file_is_read_beside_the_loop(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        content = b"x" * (5 * 1024 * 1024)
        file = watched.folder / "table.parquet"
        file.write_bytes(content)
        await watched.watch(file)
        await watched.seen.wait_for(file, content)
        file.write_bytes(content + b"y")
        await watched.seen.wait_for(file, content + b"y")


# -- settling ------------------------------------------------------------------------------------


async def test_the_files_of_a_checkout_are_one_change(tmp_path):
    files = [write(tmp_path / f"f{number}.py", "1") for number in range(100)]
    async with watching(tmp_path, settle_s=0.3) as watched:
        await watched.watch(*files)
        watched.seen.batches.clear()
        for file in files:
            write(file, "2")
        await watched.seen.wait_for(files[-1], "2")
        new = [batch for batch in watched.seen.batches if digest("2") in batch.values()]
        assert len(new) == 1
        assert new[0] == {str(file): digest("2") for file in files}


async def test_a_slow_writer_is_one_change(tmp_path):
    file = write(tmp_path / "a.py", "")
    chunks = ["x" * 100 for _ in range(20)]

    def write_slowly() -> None:
        # A writer of its own pace is what is tested here.
        with file.open("w") as stream:
            for chunk in chunks:
                stream.write(chunk)
                stream.flush()
                time.sleep(0.01)

    async with watching(tmp_path, settle_s=0.5) as watched:
        await watched.watch(file)
        await anyio.to_thread.run_sync(write_slowly)
        await watched.seen.wait_for(file, "".join(chunks))
        assert watched.seen.changes(file) == [digest(""), digest("".join(chunks))]


# -- looking -------------------------------------------------------------------------------------


async def test_a_look_needs_neither_event_nor_sweep(tmp_path):
    file = write(tmp_path / "a.py", "1")
    async with watching(tmp_path, uses_events=False) as watched:
        await watched.watch(file)
        for content in ("2", "3", "4"):
            write(file, content)
            with anyio.fail_after(LIMIT_S):
                await watched.watcher.look()
            assert watched.seen.contents == {str(file): digest(content)}


async def test_a_look_with_named_files(tmp_path):
    file = write(tmp_path / "a.py", "1")
    async with watching(tmp_path, uses_events=False) as watched:
        await watched.watch(file)
        watched.seen.batches.clear()
        with anyio.fail_after(LIMIT_S):
            await watched.watcher.look([str(file), "/nowhere/b.py"])
        assert {f for batch in watched.seen.batches for f in batch} == {str(file)}


async def test_a_look_while_nothing_is_watched(tmp_path):
    async with watching(tmp_path) as watched:
        with anyio.fail_after(LIMIT_S):
            await watched.watcher.look()
        assert watched.seen.batches == []


async def test_many_looks_at_once(tmp_path):
    file = write(tmp_path / "a.py", "1")
    async with watching(tmp_path, uses_events=False) as watched:
        await watched.watch(file)
        write(file, "2")

        async def look() -> None:
            await watched.watcher.look()
            assert watched.seen.contents[str(file)] == digest("2")

        with anyio.fail_after(LIMIT_S):
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(look)


async def test_a_look_waits_for_files_that_are_being_read(tmp_path):
    files = [write(tmp_path / f"f{number}.py", "1") for number in range(200)]
    async with watching(tmp_path, uses_events=False) as watched:
        await watched.watch(*files)
        for file in files:
            write(file, "2")
        watched.watcher.notice(str(file) for file in files)
        # From here on nothing is pending, and the thread is at work.
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(LIMIT_S):
            await watched.watcher.look()
        assert set(watched.seen.contents.values()) == {digest("2")}


async def test_a_look_ends_while_a_file_keeps_changing(tmp_path):
    file = write(tmp_path / "a.py", "1")
    stop = threading.Event()

    def keep_writing() -> None:
        number = 0
        while not stop.wait(0.001):
            number += 1
            write(file, str(number))

    async with watching(tmp_path, settle_s=0.05) as watched:
        await watched.watch(file)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, keep_writing)
            try:
                with anyio.fail_after(LIMIT_S):
                    await watched.watcher.look()
            finally:
                stop.set()


# -- beginning and end ---------------------------------------------------------------------------


async def test_it_ends_at_once(tmp_path):
    file = write(tmp_path / "a.py", "1")
    async with watching(tmp_path) as watched:
        await watched.watch(file)
        write(file, "2")
        await watched.seen.wait_for(file, "2")
        ending = time.monotonic()
    assert time.monotonic() - ending < 2.0


async def test_it_ends_at_once_when_it_is_cancelled(tmp_path):
    file = write(tmp_path / "a.py", "1")

    async def watch_for_ever() -> None:
        async with watching(tmp_path) as watched:
            await watched.watch(file)
            write(file, "2")
            await watched.seen.wait_for(file, "2")
            ready.set()
            await anyio.sleep_forever()

    ready = anyio.Event()
    with anyio.fail_after(LIMIT_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_for_ever)
            await ready.wait()
            ending = time.monotonic()
            tasks.cancel_scope.cancel()
    assert time.monotonic() - ending < 2.0


async def test_what_was_watched_before_it_ran_is_handed_in(tmp_path):
    file = write(tmp_path / "a.py", "1")
    seen = Seen()
    watcher = Watcher(0.01, 600.0, seen.take, structlog.get_logger())
    watcher.watch([str(file)])
    async with watcher.running():
        await seen.wait_for(file, "1")
        write(file, "2")
        await seen.wait_for(file, "2")


async def test_a_shorter_sweep_takes_effect_at_once(tmp_path):
    file = write(tmp_path / "a.py", "1")
    async with watching(tmp_path, uses_events=False) as watched:
        await watched.watch(file)
        watched.watcher.configure(0.01, 0.02)
        write(file, "2")
        await watched.seen.wait_for(file, "2")
