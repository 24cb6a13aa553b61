"""Two hundred subscribers: who reads gets everything, and those who do not cost nobody anything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from real_daemon import LIMIT_S, Daemon, eventually

REPOSITORY = Path(__file__).parents[2]
SAVES = 60
# What 50 full queues would take if each had a copy of its own: many times more.
ROOM = 64 * 1024 * 1024
TEXT = "def one() -> int:\n    print('x' * 20_000)\n    return {}\n"


@contextmanager
def crowd(daemon: Daemon) -> Iterator[subprocess.Popen[str]]:
    """One process with 100 subscribers who read, 50 who never do, and 50 who come and go."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.crowd", str(daemon.socket)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_every_reader_of_a_crowd_gets_the_end_of_every_run(daemon: Daemon) -> None:
    daemon.serve("crowded", TEXT.format(0))
    process = psutil.Process(daemon.process.pid)
    with daemon.subscriber() as subscriber:
        descriptors, memory = process.num_fds(), process.memory_info().rss
        with crowd(daemon) as subscribers:
            finished, last = [], 0
            for number in range(1, SAVES + 1):
                daemon.save("crowded", TEXT.format(number))
                event = subscriber.event("run.finished", where=lambda e: e["outcome"] == "ok")
                finished.append(event["run"])
                last = event["seq"]
            assert daemon.value("one") == SAVES
            grown = process.memory_info().rss - memory
            answer, _ = subscribers.communicate(f"{last}\n", timeout=LIMIT_S)
        told = json.loads(answer)
        assert told["behind"] == 0
        assert len(told["readers"]) == 100
        for reader in told["readers"]:
            assert reader["gaps"] == 0
            if reader["snapshots"]:
                # What came before a snapshot may be missing; it came in order all the same.
                assert reader["finished"] == sorted(reader["finished"])
                assert set(reader["finished"]) <= set(finished)
            else:
                assert reader["finished"] == finished
        assert told["visits"] > 50
        assert grown < ROOM
        eventually(lambda: process.num_fds() <= descriptors, "the end of all descriptors")
