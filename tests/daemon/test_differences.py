"""A save shows what it did to the values, in the events and in the status."""

from __future__ import annotations

import subprocess

import msgspec
from real_daemon import COMMAND, LIMIT_S, Daemon

from hamdev.messages import Diff, Summary

TEXT = """
import pandas as pd

RATE = {rate}

def orders() -> pd.DataFrame:
    return pd.DataFrame({{"price": [10.0, 12.0, 14.0, 90.0], "city": ["a", "b", "a", None]}})

def kept(orders: pd.DataFrame) -> pd.DataFrame:
    return orders[orders.price < {below}]

def margin(kept: pd.DataFrame) -> pd.DataFrame:
    return kept.assign(margin=kept.price * RATE)

def total(margin: pd.DataFrame) -> float:
    return float(margin.margin.sum())

def settings() -> dict:
    return {{"rate": RATE, "below": {below}}}

def report(total: float) -> str:
    return f"Total\\n=====\\n{{total:.1f}}"
"""


def test_a_save_shows_what_changed(daemon: Daemon) -> None:
    daemon.serve("differ", TEXT.format(rate=0.5, below=100))
    subscriber = daemon.subscriber()
    daemon.save("differ", TEXT.format(rate=0.5, below=50))
    events = subscriber.until("run.finished", pipeline="differ")
    told = {e["node"]: e["diff"] for e in events if e["type"] == "node.finished"}
    assert {node: diff["text"] for node, diff in told.items()} == {
        "kept": "4 → 3 rows, 1 row removed, the rest unchanged, nulls in city 1 → 0 and 2 more",
        "margin": ("4 → 3 rows, 1 row removed, the rest unchanged, nulls in city 1 → 0 and 4 more"),
        "total": "63 → 18 (-71 %)",
        "settings": "below 100 → 50 (-50 %)",
        "report": "line 3: '63.0' → '18.0'",
    }
    for diff in told.values():
        assert msgspec.convert(diff, Diff).changes
    # A client that comes later is told the same.
    nodes = daemon.pipeline("differ")["nodes"]
    assert {node: state.get("diff") for node, state in nodes.items()} == {"orders": None, **told}
    # With the next save, it is about that one.
    daemon.save("differ", TEXT.format(rate=0.25, below=50))
    nodes = daemon.pipeline("differ")["nodes"]
    assert nodes["margin"]["diff"]["text"] == ("all values of margin × 0.5, mean of margin 6 → 3")
    assert nodes["kept"].get("diff") is None
    assert nodes["margin"]["diff"]["since"] == told["margin"]["since"] + 1
    # What nobody changed has none, and a comment changes nothing.
    daemon.save("differ", TEXT.format(rate=0.25, below=50) + "# a comment\n")
    nodes = daemon.pipeline("differ")["nodes"]
    assert all(state.get("diff") is None for state in nodes.values())


def test_a_status_shows_what_is_in_a_table(daemon: Daemon) -> None:
    daemon.serve("summed", TEXT.format(rate=0.5, below=100))
    summary = msgspec.convert(daemon.pipeline("summed")["nodes"]["orders"]["summary"], Summary)
    assert summary.shape == [4, 2]
    assert summary.columns == ["", "price", "city"]
    assert summary.types == ["int64", "float64", "str"]
    assert summary.nulls == [0, 0, 1]
    assert summary.ranges == ["0 … 3", "10 … 90", "2 distinct"]
    shown = subprocess.run(
        [*COMMAND, "--project", str(daemon.root), "status"],
        env=daemon.environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    ).stdout
    assert "DataFrame 4 × 2: price, city" in shown
    assert "Total … (3 lines, 16 characters)" in shown
