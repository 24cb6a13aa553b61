"""What is said of how a node's value differs from the one before, wherever that one has gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from worker_process import WorkerProcess

from hamdev.messages import Cancel, Interrupted, NodeFinished, RunEnded

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

FRAME = """
import pandas as pd
def orders() -> pd.DataFrame:
    return pd.DataFrame({{"price": [10.0, 12.0, 14.0, {last}], "city": list("abcd")}})
def clean(orders: pd.DataFrame) -> pd.DataFrame:
    return orders[orders.price < {below}]
def mean(clean: pd.DataFrame) -> float:
    return float(clean.price.mean())
"""


def test_each_node_that_ran_says_what_changed(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("main", FRAME.format(last=90.0, below=100))
    first = worker.run()
    assert [finished.diff for finished in first.finished.values()] == [None] * 3
    project.write("main", FRAME.format(last=90.0, below=50))
    found = worker.run()
    assert found.difference("clean") == (
        "4 → 3 rows, 1 row removed, the rest unchanged, mean of price 31.5 → 12.0 and 2 more"
    )
    assert found.difference("mean") == "31.5 → 12.0 (-62 %)"
    assert "orders" not in found.finished
    diff = found.finished["mean"].diff
    assert diff is not None
    assert diff.since == 1
    # A node that ran and gives the same value has nothing to tell.
    project.write("main", FRAME.format(last=90.0, below=51))
    found = worker.run()
    assert found.ran == ["clean"]
    assert found.difference("clean") is None
    assert not found.finished["clean"].changed


def test_after_all_values_were_forgotten_the_summaries_still_tell(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    whole = "print('an effect at module level', {number})\n"
    project.write("main", whole.format(number=1) + FRAME.format(last=90.0, below=100))
    worker.run()
    project.write("main", whole.format(number=2) + FRAME.format(last=16.0, below=100))
    found = worker.run()
    # All of it was loaded, and run, again.
    assert found.output == "an effect at module level 2\n"
    assert set(found.ran) == {"orders", "clean", "mean"}
    assert found.difference("mean") == "31.5 → 13.0 (-59 %)"
    assert found.difference("orders") == "range of price 10 … 90 → 10 … 16"
    diff = found.finished["orders"].diff
    assert diff is not None
    assert diff.since == 1
    # What has come out as it was has nothing to tell, and from here on values are compared again.
    project.write("main", whole.format(number=3) + FRAME.format(last=16.0, below=100))
    found = worker.run()
    assert set(found.ran) == {"orders", "clean", "mean"}
    assert [finished.diff for finished in found.finished.values()] == [None] * 3
    project.write("main", whole.format(number=3) + FRAME.format(last=15.0, below=100))
    assert worker.run().difference("orders") == "price in row 3: 16 → 15"


def test_a_value_that_was_changed_in_place_is_compared_as_it_was_shown(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = """
    def given() -> list:
        return [1, 2{more}]
    def guilty(given: list) -> int:
        given.append(99)
        return len(given)
    """
    project.write("main", text.format(more=""))
    assert "given" in worker.run().spoilt
    project.write("main", text.format(more=", 3"))
    found = worker.run()
    # Not with the 99 that nobody was shown.
    assert found.difference("given") == "2 → 3 items, [1, 2] → [1, 2, 3]"


def test_a_value_without_a_fingerprint_that_was_changed_in_place(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = """
    import threading
    def given() -> dict:
        return {{"lock": threading.Lock(), "n": {n}}}
    def guilty(given: dict) -> int:
        given["n"] = 99
        return given["n"]
    """
    project.write("main", text.format(n=1))
    worker.run()
    project.write("main", text.format(n=2))
    found = worker.run()
    assert "99" not in (found.difference("given") or "")
    assert "'n': 1" in (found.difference("given") or "")


def test_a_value_that_was_given_up_is_known_by_its_summary(
    project: ProjectOnDisk, start: Callable[..., WorkerProcess]
) -> None:
    text = """
    import numpy as np
    def numbers() -> np.ndarray:
        return np.full(100_000, {n}.0)
    def total(numbers: np.ndarray) -> float:
        return float(numbers.sum())
    """
    worker = start(max_bytes=1000)
    project.write("main", text.format(n=1))
    worker.run()
    project.write("main", text.format(n=2))
    found = worker.run()
    assert found.difference("total") == "100,000 → 200,000 (+100 %)"
    assert found.difference("numbers") == (
        "…[1.0, 1.0, 1.0, 1.0, 1.0, 1.0… → …[2.0, 2.0, 2.0, 2.0, 2.0, 2.0…"
    )


def test_a_value_that_is_there_again_differs_from_the_one_between(
    project: ProjectOnDisk, start: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    text = """
    def slow() -> int:
        return {n}
    def leaf(slow: int) -> int:
        return slow + 1
    """
    worker = start(keep_slower_than_ms=0)
    project.write("main", text.format(n=7))
    worker.run()
    until = time.monotonic() + 20
    while len(list((tmp_path / "kept").glob("*.value"))) < 4:
        assert time.monotonic() < until
        time.sleep(0.002)
    project.write("main", text.format(n=8))
    assert worker.run().difference("slow") == "7 → 8 (+14 %)"
    project.write("main", text.format(n=7))
    found = worker.run()
    assert found.ran == []
    assert {node: known.diff and known.diff.text for node, known in found.restored.items()} == {
        "slow": "8 → 7 (-12 %)",
        "leaf": "9 → 8 (-11 %)",
    }


def test_a_run_is_cancelled_also_while_a_value_says_what_it_is(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write(
        "main",
        """
        class Slow:
            def __repr__(self):
                open("asked", "w").close()
                while True:
                    pass
        def value() -> object:
            return Slow()
        def below(value: object) -> int:
            return 1
        """,
    )
    run = worker.begin_run()
    until = time.monotonic() + 60
    while not (project.root / "asked").exists():
        assert time.monotonic() < until
        time.sleep(0.002)
    worker.tell(Cancel(run=run))
    reports = []
    while not isinstance(report := worker.hear(), RunEnded):
        reports.append(report)
    assert report.outcome == "cancelled"
    assert any(isinstance(heard, Interrupted) for heard in reports)
    assert not any(isinstance(heard, NodeFinished) for heard in reports)
    # The worker is as good as before.
    project.write("main", "def value() -> int:\n    return 1\n")
    assert worker.run().ran == ["value"]
