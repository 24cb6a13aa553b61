"""Slow values outlive the process that computed them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from worker_process import WorkerProcess, worker_process

from hamdev.messages import Cancel, Planned, RunEnded

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

# A node counts as slow if it takes longer than this.
KEEP_ALL = {"keep_slower_than_ms": 0}
TEXT = """
def slow() -> list:
    return [7]
def middle(slow: list) -> list:
    return [*slow, 1]
def leaf(middle: list) -> int:
    return len(middle)
"""
Start = Callable[..., WorkerProcess]


def _finish(worker: WorkerProcess, start: Start) -> WorkerProcess:
    """Kill a worker once all that it wants to keep is written, and start the next one."""
    worker.kill()
    return start(**KEEP_ALL)


def _wait_for(folder: Path, count: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if folder.is_dir() and len(list(folder.glob("*.value"))) >= count:
            return
        time.sleep(0.002)
    raise AssertionError(f"{folder} never holds {count} files")


def test_a_worker_that_is_killed_in_the_middle_of_a_run(
    project: ProjectOnDisk, start: Start, tmp_path: Path
) -> None:
    pipe = project.root / "pipe"
    os.mkfifo(pipe)
    hanging = TEXT + "def last(leaf: int) -> str:\n    return open('pipe').read()\n"
    project.write("main", hanging)
    worker = start(**KEEP_ALL)
    worker.begin_run()
    worker.hear_until("last")
    _wait_for(tmp_path / "kept", 6)  # each value, and the facts about it
    worker.kill()
    project.write("main", TEXT)
    worker = start(**KEEP_ALL)
    found = worker.run()
    worker.check(found)
    assert found.ran == []
    assert set(found.restored) == {"slow", "middle", "leaf"}
    assert "kept" in {because.kind for because in found.because("slow")}


def test_only_slow_values_are_kept(project: ProjectOnDisk, start: Start, tmp_path: Path) -> None:
    project.write("main", TEXT)
    worker = start(keep_slower_than_ms=60_000)
    worker.check(worker.run())
    worker.kill()
    assert not list((tmp_path / "kept").glob("*.value"))
    assert set(start().run().ran) == {"slow", "middle", "leaf"}


def test_damaged_and_foreign_files_are_computed_again(
    project: ProjectOnDisk, start: Start, tmp_path: Path
) -> None:
    project.write("main", TEXT)
    worker = start(**KEEP_ALL)
    worker.check(worker.run())
    _wait_for(tmp_path / "kept", 6)
    for damage in (b"", b"nonsense", None):
        worker.kill()
        for file in (tmp_path / "kept").glob("*.value"):
            content = file.read_bytes()
            flipped = content[:-1] + bytes([content[-1] ^ 1])
            file.write_bytes(flipped if damage is None else damage)
        worker = start(**KEEP_ALL)
        found = worker.run()
        worker.check(found)
        assert set(found.ran) == {"slow", "middle", "leaf"}
        _wait_for(tmp_path / "kept", 6)


def test_a_damaged_value_with_sound_facts(
    project: ProjectOnDisk, start: Start, tmp_path: Path
) -> None:
    project.write("main", TEXT)
    worker = start(**KEEP_ALL)
    worker.check(worker.run())
    _wait_for(tmp_path / "kept", 6)
    worker.kill()
    for file in (tmp_path / "kept").glob("*.value"):
        if not file.name.endswith("fa.value"):
            file.write_bytes(file.read_bytes()[:-1])
    worker = start(**KEEP_ALL)
    found = worker.run()
    worker.check(found, given_up=frozenset({"slow", "middle"}))


def test_a_value_whose_data_file_has_changed_is_not_used(
    project: ProjectOnDisk, start: Start, tmp_path: Path
) -> None:
    project.write("data/in.txt", "1")
    project.write("main", "def slow() -> str:\n    return open('data/in.txt').read()\n")
    worker = start(**KEEP_ALL)
    worker.check(worker.run())
    _wait_for(tmp_path / "kept", 2)
    worker = _finish(worker, start)
    assert worker.run().ran == []
    worker.kill()
    project.write("data/in.txt", "2")
    worker = start(**KEEP_ALL)
    found = worker.run()
    worker.check(found)
    assert found.ran == ["slow"]


def test_an_undone_edit_brings_the_kept_value_back(
    project: ProjectOnDisk, start: Start, tmp_path: Path
) -> None:
    project.write("main", TEXT)
    worker = start(**KEEP_ALL)
    worker.check(worker.run())
    _wait_for(tmp_path / "kept", 6)
    project.write("main", TEXT.replace("[7]", "[8, 9]"))
    worker.check(worker.run())
    project.write("main", TEXT)
    found = worker.run()
    worker.check(found)
    assert found.ran == []


def test_clean_forgets_what_is_kept(project: ProjectOnDisk, start: Start, tmp_path: Path) -> None:
    project.write("main", TEXT)
    worker = start(**KEEP_ALL)
    worker.check(worker.run())
    _wait_for(tmp_path / "kept", 6)
    worker = _finish(worker, start)
    found = worker.run(clean=True)
    worker.check(found)
    assert set(found.ran) == {"slow", "middle", "leaf"}


def test_values_that_do_not_fit_into_memory_come_from_disk_or_are_computed_again(
    project: ProjectOnDisk, start: Start
) -> None:
    text = """
    def big() -> bytes:
        return bytes(3_000_000)
    def other() -> bytes:
        return bytes(2_000_000)
    def leaf(big: bytes, other: bytes) -> int:
        return len(big) + len(other)
    """
    project.write("main", text)
    for options in ({"keep_slower_than_ms": 0}, {}):
        worker = start(max_bytes=1_000_000, **options)
        project.write("main", text)
        worker.check(worker.run(), given_up=frozenset({"big", "other"}))
        assert worker.run().ran == []
        project.write("main", text.replace("len(big) +", "1 + len(big) +"))
        found = worker.run()
        worker.check(found, given_up=frozenset({"big", "other"}))
        assert worker.value("leaf") == 5_000_001


def test_a_worker_that_the_daemon_would_start_does_all_this_too(
    project: ProjectOnDisk, tmp_path: Path
) -> None:
    project.write("main", TEXT)
    with worker_process(None, project.root, tmp_path / "kept", **KEEP_ALL) as worker:
        assert len(worker.run().ran) == 3
        _wait_for(tmp_path / "kept", 6)
        worker.kill()
    with worker_process(None, project.root, tmp_path / "kept", **KEEP_ALL) as worker:
        assert worker.run().ran == []
        assert worker.value("leaf") == 2


SLOW_TO_LOAD = """
import os, time

class Piece:
    def __init__(self, text):
        self.text = text
    def __setstate__(self, state):
        self.__dict__.update(state)
        if not os.path.exists("quick"):
            open("loading", "w").close()
            time.sleep(0.02)

def slow() -> list:
    return [Piece(str(n) * 100_000) for n in range(200)]
"""


def test_a_value_that_is_being_loaded_keeps_no_newer_run_waiting(
    project: ProjectOnDisk, start: Start, tmp_path: Path
) -> None:
    project.write("main", SLOW_TO_LOAD + "def leaf(slow: list) -> int:\n    return len(slow)\n")
    worker = start(**KEEP_ALL)
    worker.run()
    _wait_for(tmp_path / "kept", 4)
    worker = _finish(worker, start)
    project.write("main", SLOW_TO_LOAD + "def leaf(slow: list) -> int:\n    return -len(slow)\n")
    run = worker.begin_run()
    loading = project.root / "loading"
    until = time.monotonic() + 20
    while not loading.exists():
        assert time.monotonic() < until
        time.sleep(0.002)
    worker.tell(Cancel(run=run))
    heard = worker.hear()
    while not isinstance(heard, RunEnded):
        assert not isinstance(heard, Planned)  # for which all values have to be there
        heard = worker.hear()
    assert heard.outcome == "cancelled"
    (project.root / "quick").touch()
    found = worker.run()
    worker.check(found)
    assert found.ran == ["leaf"]
    assert "slow" in found.restored
