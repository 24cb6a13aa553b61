"""What a slow node has computed outlives the daemon, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from real_daemon import LIMIT_S, Daemon, eventually, runtime_folder

pytestmark = pytest.mark.usefixtures("quick_start")

# Every value counts as slow.
SETTINGS = "[memory]\nkeep_slower_than_ms = 0\n\n[pipelines.main]\n"
TEXT = """
import os, time

def _wait(file):
    print("waiting")
    while not os.access(file, os.F_OK):  # a question that does not count as reading
        time.sleep(0.01)

def _note(node):
    with open({record!r}, "a") as file:
        file.write(node + " ")

def slow() -> list:
    _note("slow")
    _wait({first!r})
    return [7]

def later(slow: list) -> int:
    _note("later")
    _wait({second!r})
    return len(slow)

def leaf(later: int) -> int:
    _note("leaf")
    return later + {more}
"""


class KeepingProject:
    """A project whose nodes tell a file outside of it that they have run.

    Args:
        folder: where the project's folder is made.
        runtime: where its daemons put what is not part of it.

    Attributes:
        record: that file.
        first, second: files that let `slow` and `later` return.
    """

    def __init__(self, folder: Path, runtime: Path) -> None:
        self._runtime = runtime
        self.root = folder / "project"
        self.record, self.first, self.second = folder / "record", folder / "1", folder / "2"
        (self.root / "pipelines").mkdir(parents=True)
        (self.root / "devserver.toml").write_text(SETTINGS)

    def save(self, more: int) -> None:
        files = {name: str(getattr(self, name)) for name in ("record", "first", "second")}
        (self.root / "pipelines" / "main.py").write_text(TEXT.format(**files, more=more))

    def ran(self) -> list[str]:
        return self.record.read_text().split()

    def await_kept(self, count: int) -> None:
        """Wait until so many values are on disk, with the facts about them."""
        folder = self._runtime / "cache"
        eventually(lambda: len([*folder.rglob("*fa.value")]) >= count, f"{count} kept values")

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        """A daemon that gets SIGKILL at the end of the block, unless it has ended by itself."""
        daemon = Daemon(self.root, self._runtime)
        try:
            yield daemon
        finally:
            if daemon.process.poll() is None:
                daemon.process.kill()
            daemon.process.wait(LIMIT_S)
            eventually(lambda: not daemon.processes(), "the end of the workers")


def test_a_daemon_that_is_killed_again_and_again(tmp_path: Path) -> None:
    with runtime_folder() as runtime:
        project = KeepingProject(tmp_path, runtime)
        project.save(more=1)
        with project.daemon() as daemon:  # killed while the slow node runs
            daemon.subscriber(since=0).event("output", node="slow")
        project.first.touch()
        with project.daemon() as daemon:  # killed while the run goes on, and the slow node is done
            daemon.subscriber(since=0).event("output", node="later")
            project.await_kept(1)
            status = daemon.ask("status")["pipelines"]["main"]
            assert (status["state"], status["nodes"]["slow"]["state"]) == ("running", "fresh")
            assert project.ran() == ["slow", "slow", "later"]
        project.second.touch()
        with project.daemon() as daemon:  # killed while nothing goes on
            assert daemon.value("leaf") == 2
            assert daemon.value("slow") == [7]
            why = daemon.ask("why", node="slow")
            assert (why["action"], why["because"][0]["kind"]) == ("reuse", "kept")
            assert project.ran() == ["slow", "slow", "later", "later", "leaf"]
            project.await_kept(3)
        project.save(more=2)
        with project.daemon() as daemon:  # what was edited meanwhile runs, and nothing else
            assert daemon.value("leaf") == 3
            assert project.ran() == ["slow", "slow", "later", "later", "leaf", "leaf"]
