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

from hamdev.content import MAX_HASHED_BYTES, content_digest
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
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self._arrived = anyio.Event()

    def take_line(self, logger: Any, method: str, line: dict[str, Any]) -> dict[str, Any]:
        self.lines.append(line["event"])
        self._arrived.set()
        self._arrived = anyio.Event()
        raise structlog.DropEvent

    async def wait_for_line(self, text: str) -> None:
        with anyio.fail_after(LIMIT_S):
            while text not in self.lines:
                await self._arrived.wait()
        self.lines.clear()

    def take(self, contents: dict[str, str | None]) -> None:
        self.batches.append(contents)
        self.contents |= contents
        self._arrived.set()
        self._arrived = anyio.Event()

    async def wait_for(self, file: Path, content: str | bytes | None) -> None:
        await self.wait_for_digest(file, digest(content))

    async def wait_for_digest(self, file: Path, wanted: str | None) -> None:
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
    log = structlog.wrap_logger(None, processors=[seen.take_line])
    watcher = Watcher(
        settle_s,
        sweep_s,
        seen.take,
        log,
        uses_events=uses_events,
        on_warning=seen.warnings.append,
        root=str(folder),
    )
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


async def test_a_file_of_several_names_changes_under_all_of_them_at_once(tmp_path):
    async with watching(tmp_path) as watched:
        file = write(tmp_path / "real" / "a.py", "1")
        links = [tmp_path / "b.py", tmp_path / "c.py"]
        for link in links:
            link.symlink_to(file)
        await watched.watch(file, *links)
        watched.seen.batches.clear()
        write(file, "2")
        await watched.seen.wait_for(links[0], "2")
        assert watched.seen.batches == [{str(path): digest("2") for path in (file, *links)}]


async def test_the_new_target_of_a_link_is_heard_at_once(tmp_path):
    async with watching(tmp_path) as watched:
        link = tmp_path / "a.py"
        for number in range(2):
            write(tmp_path / f"target{number}" / "t.py", f"{number}")
        link.symlink_to(tmp_path / "target0" / "t.py")
        await watched.watch(link)
        link.unlink()
        link.symlink_to(tmp_path / "target1" / "t.py")
        await watched.seen.wait_for(link, "1")
        # Nobody looks, and the sweep is far away.
        write(tmp_path / "target1" / "t.py", "new")
        await watched.seen.wait_for(link, "new")
        assert str(tmp_path / "target0") not in watched.watcher._folders


async def test_a_pipe_has_no_content_and_a_folder_has_names(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        pipe, folder = watched.folder / "pipe", watched.folder / "folder"
        os.mkfifo(pipe)
        folder.mkdir()
        await watched.watch(pipe, folder)
        assert watched.seen.contents == {str(pipe): None, str(folder): content_digest(str(folder))}
        write(folder / "a.csv", "1")
        await watched.seen.wait_for_digest(folder, content_digest(str(folder)))


async def test_of_what_is_too_large_to_read_daemon_and_worker_say_the_same(way, tmp_path):
    async with watching(tmp_path, **way) as watched:
        file = watched.folder / "large.bin"
        with file.open("wb") as output:
            output.truncate(MAX_HASHED_BYTES + 1)
        await watched.watch(file)
        assert watched.seen.contents == {str(file): content_digest(str(file))}


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


async def test_files_of_a_checkout_that_the_sweep_came_too_early_for_are_of_the_same_change(
    tmp_path,
):
    files = [write(tmp_path / f"f{number}.py", "1") for number in range(2)]
    async with watching(tmp_path, settle_s=0.3, uses_events=False) as watched:
        await watched.watch(*files)
        watched.seen.batches.clear()
        async with anyio.create_task_group() as tasks:
            write(files[0], "2")
            tasks.start_soon(watched.watcher.look)
            await anyio.wait_all_tasks_blocked()
            write(files[1], "2")
        assert watched.seen.batches[0] == {str(file): digest("2") for file in files}


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


# -- what is not whole ---------------------------------------------------------------------------


@pytest.mark.parametrize("half", ["", "def one(", "y = 1\n<<<<<<< a\n=======\n>>>>>>> b\n", None])
async def test_half_of_a_save_is_not_handed_in(way, tmp_path, half):
    async with watching(tmp_path, **way) as watched:
        file, other = write(tmp_path / "a.py", "x = 1\n"), write(tmp_path / "b.py", "y = 1\n")
        await watched.watch(file, other)
        watched.seen.lines.clear()
        write(other, "y = 2\n")
        if half is None:
            file.unlink()
        else:
            write(file, half)
        await watched.seen.wait_for_line("unfinished, looking again")
        write(file, "x = 2\n")
        await watched.seen.wait_for(file, "x = 2\n")
        assert watched.seen.changes(file) == [digest("x = 1\n"), digest("x = 2\n")]
        assert "unfinished, taken as it is" not in watched.seen.lines
        # They are one save.
        assert watched.seen.batches[-1].keys() >= {str(file), str(other)}


@pytest.mark.parametrize("content", ["", "def one(", None])
async def test_what_stays_broken_is_handed_in(way, tmp_path, content):
    async with watching(tmp_path, **way) as watched:
        file = write(tmp_path / "a.py", "x = 1\n")
        await watched.watch(file)
        if content is None:
            file.unlink()
        else:
            write(file, content)
        await watched.seen.wait_for(file, content)
        # Nobody doubts again what is known.
        watched.seen.lines.clear()
        watched.watcher.notice([str(file)])
        await watched.watcher.look()
        assert not [line for line in watched.seen.lines if line.startswith("unfinished")]


async def test_a_file_that_was_broken_from_the_start_is_handed_in_at_once(tmp_path):
    file = write(tmp_path / "a.py", "def one(")
    async with watching(tmp_path, uses_events=False) as watched:
        await watched.watch(file)
        assert "unfinished, looking again" not in watched.seen.lines


async def test_a_look_waits_until_a_file_is_whole(tmp_path):
    async with watching(tmp_path, uses_events=False) as watched:
        file = write(tmp_path / "a.py", "x = 1\n")
        await watched.watch(file)

        async def go_on_writing() -> None:
            await watched.seen.wait_for_line("unfinished, looking again")
            write(file, "x = 2\n")

        write(file, "x = (")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go_on_writing)
            with anyio.fail_after(LIMIT_S):
                await watched.watcher.look()
        assert watched.seen.contents == {str(file): digest("x = 2\n")}


async def test_a_look_does_not_wait_for_what_nobody_watches_any_more(tmp_path):
    async with watching(tmp_path, uses_events=False) as watched:
        file = write(tmp_path / "a.py", "x = 1\n")
        await watched.watch(file)

        async def watch_nothing() -> None:
            await watched.seen.wait_for_line("waiting for git")
            watched.watcher.watch([])

        write(tmp_path / ".git" / "index.lock", "")
        write(file, "x = 2\n")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_nothing)
            with anyio.fail_after(2.0):
                await watched.watcher.look()
        assert watched.seen.contents == {str(file): digest("x = 1\n")}


# -- git -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("linked", [False, True])
async def test_while_git_is_at_work_nothing_is_handed_in(way, tmp_path, linked):
    git = tmp_path / "main" / ".git" / "worktrees" / "tree" if linked else tmp_path / ".git"
    git.mkdir(parents=True)
    if linked:
        write(tmp_path / ".git", f"gitdir: {git}\n")
    async with watching(tmp_path, **way) as watched:
        files = [write(tmp_path / "deep" / f"f{number}.py", "1") for number in range(3)]
        await watched.watch(*files)
        watched.seen.lines.clear()
        watched.seen.batches.clear()
        write(git / "index.lock", "")
        write(files[0], "2")
        await watched.seen.wait_for_line("waiting for git")
        for file in files:
            write(file, "3")
        (git / "index.lock").unlink()
        await watched.seen.wait_for(files[-1], "3")
        assert watched.seen.batches[0] == {str(file): digest("3") for file in files}


async def test_a_lock_that_was_left_behind_is_said_and_no_longer_waited_for(tmp_path):
    lock = write(tmp_path / ".git" / "index.lock", "")
    async with watching(tmp_path) as watched:
        file = write(tmp_path / "a.py", "1")
        await watched.watch(file)
        watched.seen.lines.clear()
        for content in ("2", "3"):
            write(file, content)
            await watched.seen.wait_for(file, content)
        assert "waiting for git" not in watched.seen.lines
        assert len(watched.seen.warnings) == 1
        assert str(lock) in watched.seen.warnings[0]


# -- folders that are not watched ----------------------------------------------------------------


async def test_events_of_environments_are_not_asked_for_and_the_sweep_finds_what_changes(tmp_path):
    async with watching(tmp_path) as watched:
        places = (".venv/lib", "node_modules/x", ".git", "src")
        files = [write(tmp_path / place / "a.py", "1") for place in places]
        await watched.watch(*files)
        assert watched.watcher._folders.keys() == {str(tmp_path / "src")}
        for file in files:
            write(file, "2")
        await watched.watcher.look()
        assert set(watched.seen.contents.values()) == {digest("2")}


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
