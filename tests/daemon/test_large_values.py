"""A frame of gigabytes is computed, fingerprinted, kept and checked while everybody is answered.

`HAMDEV_FULL_SIZE=1 pytest tests/daemon/test_large_values.py` takes 2 GB instead of a fraction.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_daemon import Client, Daemon, eventually, running

BYTES = 2_000_000_000 if "HAMDEV_FULL_SIZE" in os.environ else 250_000_000
COLUMNS = 8
SETTINGS = "[memory]\nkeep_slower_than_ms = 0\n\n[pipelines.main]\n"
SMALL = "import pandas\ndef small() -> int:\n    return 1\n"
TEXT = """
import numpy as np
import pandas as pd

def big() -> pd.DataFrame:
    return pd.DataFrame(np.ones(({rows}, {columns})), columns=list("abcdefgh"), copy=False)

def total(big: pd.DataFrame) -> float:
    return float(big["a"].sum()) + {more}

def length(big: pd.DataFrame) -> int:
    return len(big)
"""
ROWS = BYTES // 8 // COLUMNS
# A few answers could be luck. Each takes a thousandth of what is being waited for.
MANY = 20


def text(more: int) -> str:
    return TEXT.format(rows=ROWS, columns=COLUMNS, more=more)


def peak(worker: int) -> int:
    """The most memory that a process has ever taken, in bytes."""
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def answers_until(client: Client, is_over: Callable[[Any], bool]) -> int:
    """How often the status is answered before what it says, or the disk, satisfies `is_over`."""
    count = 0

    def asked() -> bool:
        nonlocal count
        status = client.call("status")["pipelines"]["main"]
        count += 1
        return is_over(status)

    eventually(asked, "an end of the questions")
    return count


def kept(daemon: Daemon) -> int:
    return len([*daemon.socket.parent.rglob("*fa.value")])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the most that was taken")
def test_a_large_frame_delays_no_answer_and_is_never_copied(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "main.py").write_text(SMALL)
    (tmp_path / "devserver.toml").write_text(SETTINGS)
    with running(tmp_path) as daemon, daemon.connect() as client:
        events = daemon.subscriber(since=0)
        events.event("run.finished")
        events.await_workers(2)
        run = daemon.sync()["pipelines"]["main"]["run"]
        eventually(lambda: kept(daemon) == 1, "the small value")
        before = {worker: peak(worker) for worker in daemon.workers()}

        # Loading, running and the fingerprint.
        daemon.save("main", text(more=0))
        assert events.event("node.started")["node"] == "big"
        is_done = answers_until(client, lambda status: status["nodes"]["big"]["state"] == "fresh")
        assert is_done > MANY
        answers_until(client, lambda status: status["state"] == "idle")
        finished = events.event("run.finished")
        assert (finished["outcome"], finished["ran"]) == ("ok", 3)
        # Looking whether nodes have changed their inputs in place, and writing.
        assert answers_until(client, lambda _: kept(daemon) == 4) > MANY
        assert daemon.value("total") == ROWS
        status = daemon.sync()["pipelines"]["main"]
        assert status["run"] == run + 1
        assert status["nodes"]["big"]["summary"]["shape"] == [ROWS, COLUMNS]
        (worker,) = (w for w, most in before.items() if peak(w) > most + BYTES // 2)
        assert peak(worker) < before[worker] + 1.25 * BYTES

        # From disk it is not copied either.
        os.kill(worker, signal.SIGKILL)
        events.event("worker.lost")
        events.event("run.finished", outcome="ok")
        daemon.save("main", text(more=1))
        assert daemon.value("total") == ROWS + 1
        assert daemon.ask("why", node="big")["action"] == "reuse"
        (spare,) = before.keys() - {worker}
        assert peak(spare) > before[spare] + BYTES // 2
        assert peak(spare) < before[spare] + 1.25 * BYTES
