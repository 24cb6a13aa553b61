"""From a save to what clients see of it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from real_daemon import Daemon, RpcFailure

CHAIN = """
    def base() -> int:
        return {base}

    def double(base: int) -> int:
        return base * 2

    async def total(double: int, base: int) -> int:
        return double + base
"""
NODE_FIELDS = {"state", "revision", "run", "ms", "action", "summary"}


def test_a_save_is_served_and_its_events_come_in_order(daemon: Daemon) -> None:
    first = daemon.serve("chain", CHAIN.format(base=5))
    client = daemon.subscriber()
    file = daemon.save("chain", CHAIN.format(base=7))
    status = client.call("sync")
    assert client.call("result", node="total", format="json")["value"] == 21

    events = client.until("run.finished")
    seqs = [event["seq"] for event in events]
    assert seqs == sorted(set(seqs))
    types = [event["type"] for event in events]
    assert types[:2] == ["files.changed", "run.started"]
    assert sorted(types[2:-1]) == ["node.finished"] * 3 + ["node.started"] * 3
    changed, started, *steps, finished = events
    assert changed["files"] == [str(file)]
    assert started["cause"] == {"kind": "save", "text": "chain.py changed", "files": [str(file)]}
    plan = started["plan"]
    assert [step["node"] for step in plan] == ["base", "double", "total"]
    assert {step["action"] for step in plan} == {"run"}
    assert all(step["because"][0]["file"] == str(file) for step in plan)
    assert [step["because"][0]["line"] for step in plan] == [2, 2, 5]
    order = [(event["type"], event["node"]) for event in steps]
    for upstream, node in [("base", "double"), ("double", "total")]:
        assert order.index(("node.finished", upstream)) < order.index(("node.started", node))
    for step in steps:
        if step["type"] == "node.finished":
            assert step["ms"] >= 0
            assert (step["action"], step["changed"]) == ("ran", True)
            assert step["summary"]["type"] == "int"
    outcome = {key: finished[key] for key in ("outcome", "ran", "reused", "failed")}
    assert outcome == {"outcome": "ok", "ran": 3, "reused": 0, "failed": 0}

    revision = first["revision"] + 1
    assert {event["revision"] for event in events} == {revision}
    of_run = [e for e in events if e["type"] != "files.changed"]
    assert {e["pipeline"] for e in of_run} == {"chain"}
    assert {e["run"] for e in of_run} == {first["run"] + 1}
    assert all(isinstance(e["time"], float) for e in events)
    assert status["seq"] == events[-1]["seq"]
    assert status["revision"] == revision


def test_a_status_has_the_fields_of_the_contract(daemon: Daemon) -> None:
    daemon.serve("fields", CHAIN.format(base=1))
    status = daemon.sync()
    assert status.keys() == {"revision", "seq", "pipelines"}
    pipeline = status["pipelines"]["fields"]
    assert pipeline.keys() >= {"modules", "state", "revision", "run", "nodes", "problems"}
    assert pipeline["modules"] == ["pipelines.fields"]
    assert pipeline["state"] == "idle"
    assert pipeline["problems"] == []
    assert pipeline["final_vars"] == ["total"]
    assert pipeline["nodes"].keys() == {"base", "double", "total"}
    for node in pipeline["nodes"].values():
        assert node.keys() == NODE_FIELDS
        assert (node["state"], node["action"]) == ("fresh", "ran")
        assert (node["revision"], node["run"]) == (pipeline["revision"], pipeline["run"])
    assert pipeline["nodes"]["total"]["summary"] == {"type": "int", "text": "3"}

    daemon.save("fields", CHAIN.format(base=1).replace("base * 2", "base / 0"))
    nodes = daemon.pipeline("fields")["nodes"]
    assert {name: node["state"] for name, node in nodes.items()} == {
        "base": "fresh",
        "double": "failed",
        "total": "blocked",
    }
    assert nodes["double"].keys() == NODE_FIELDS | {"problem"}
    assert nodes["double"]["revision"] == pipeline["revision"]  # that of its value
    assert daemon.ask("status", pipeline="fields")["pipelines"].keys() == {"fields"}


def test_a_subscriber_goes_on_where_it_was_or_begins_with_a_snapshot(daemon: Daemon) -> None:
    daemon.serve("since", CHAIN.format(base=1))
    before = daemon.ask("status")["seq"]
    daemon.save("since", CHAIN.format(base=2))
    after = daemon.sync()["seq"]

    client = daemon.connect()
    assert client.call("subscribe", since=before) == {"seq": after, "fresh": False}
    assert [e["seq"] for e in client.until("run.finished")] == list(range(before + 1, after + 1))

    client = daemon.connect()
    fresh = client.call("subscribe")
    assert (fresh["seq"], fresh["fresh"]) == (after, True)
    assert fresh["snapshot"] == daemon.ask("status")
    for gap in (1, after + 1000):
        assert daemon.connect().call("subscribe", since=gap)["fresh"] is True

    # Subscribing again replaces the first subscription: nothing comes twice.
    client.call("subscribe", since=after)
    daemon.save("since", CHAIN.format(base=3))
    client.call("sync")
    seqs = [event["seq"] for event in client.until("run.finished")]
    assert seqs == list(range(after + 1, seqs[-1] + 1))


def test_what_changes_no_content_is_no_revision(daemon: Daemon) -> None:
    before = daemon.serve("same", CHAIN.format(base=1))
    revision = daemon.ask("status")["revision"]
    client = daemon.subscriber()
    file = daemon.save("same", CHAIN.format(base=1))
    assert client.call("sync")["revision"] == revision
    os.utime(file)
    assert client.call("sync")["revision"] == revision
    assert client.events == []
    # A comment is content, and gets a run.
    daemon.save("same", CHAIN.format(base=1) + "\n    # a remark\n")
    status = client.call("sync")
    assert status["revision"] == revision + 1
    assert status["pipelines"]["same"]["run"] == before["run"] + 1
    assert client.event("run.finished")["outcome"] == "ok"


def test_many_quick_saves_end_with_the_last_content(daemon: Daemon) -> None:
    daemon.serve("quick", CHAIN.format(base=0))
    client = daemon.subscriber()
    text = (daemon.root / "pipelines" / "quick.py").read_text()
    for number in range(1, 60):
        # In place, byte by byte as it were: what a simple editor does.
        (daemon.root / "pipelines" / "quick.py").write_text(
            text.replace("return 0", f"return {number}")
        )
    status = client.call("sync")
    assert client.call("result", node="total", format="json")["value"] == 59 * 3
    assert status["pipelines"]["quick"]["state"] == "idle"
    events = client.until("run.finished", run=status["pipelines"]["quick"]["run"])
    assert_runs_are_whole(events)


def assert_runs_are_whole(events: list[dict[str, Any]]) -> None:
    """Each run that started ended once, after it started, and said nothing outside of that."""
    by_run: dict[int, list[str]] = {}
    for event in events:
        if "run" in event:
            by_run.setdefault(event["run"], []).append(event["type"])
    for types in by_run.values():
        assert types[0] == "run.started"
        assert types[-1] == "run.finished"
        assert types.count("run.started") == types.count("run.finished") == 1


def test_sync_with_files_waits_for_what_they_hold_now(daemon: Daemon) -> None:
    daemon.serve("files", CHAIN.format(base=1))
    for number in (2, 3):
        file = daemon.save("files", CHAIN.format(base=number))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        # A hash that the disk no longer has waits for what it has now; unknown files are ignored.
        old = {str(file): "0" * 64, "pipelines/other.py": None} if number == 3 else {}
        files = {"pipelines/files.py": digest, **old}
        daemon.ask("sync", files=files, timeout=30)
        value = daemon.ask("result", node="total", format="json")
        assert value["value"] == 3 * number
        assert value["revision"] == daemon.ask("status")["pipelines"]["files"]["revision"]


def test_sync_times_out_while_a_run_goes_on(daemon: Daemon) -> None:
    daemon.serve("slow", "def one() -> int:\n    return 1\n")
    client = daemon.subscriber()
    daemon.save("slow", "import time\ndef one() -> int:\n    time.sleep(1000)\n    return 2\n")
    client.event("node.started", node="one")
    with pytest.raises(RpcFailure) as failure:
        daemon.ask("sync", timeout=0.05)
    assert failure.value.code == 4
    assert failure.value.data["pipelines"].keys() == {"slow"}
    daemon.save("slow", "def one() -> int:\n    return 3\n")
    assert daemon.value("one") == 3


VALUES = """
    import dataclasses

    @dataclasses.dataclass
    class Point:
        x: int
        y: float

    class Opaque:
        def __str__(self) -> str:
            return "something"

    def number() -> int:
        return 3

    def mapping() -> dict:
        return {1: "one", None: [1.5, float("nan")], "p": Point(1, 2.0)}

    def opaque() -> object:
        return Opaque()

    def large() -> str:
        return "ä" * 200_000

    def at_limit() -> str:
        return "x" * 262_144

    def escaped() -> str:
        return "\\x01" * 200_000
"""


def test_values_come_in_the_formats_that_they_allow(daemon: Daemon) -> None:
    daemon.serve("values", VALUES)
    number = daemon.ask("result", node="number")
    assert number.keys() == {"node", "revision", "run", "type", "media_type", "value"}
    assert (number["node"], number["type"], number["value"]) == ("number", "int", "3")
    assert number["media_type"].startswith("text/plain")
    mapping = daemon.ask("result", node="mapping", format="json")
    assert mapping["media_type"] == "application/json"
    assert mapping["value"] == {"1": "one", "None": [1.5, None], "p": {"x": 1, "y": 2.0}}
    pickled = daemon.ask("result", node="number", format="pickle", pipeline="values")
    assert isinstance(pickled["value"], str)
    assert daemon.ask("result", node="opaque")["value"] == "something"
    for node, wanted, possible in [
        ("opaque", "json", ["text"]),
        ("number", "parquet", ["text", "json", "pickle"]),
        ("number", "png", ["text", "json", "pickle"]),
        ("number", "csv", ["text", "json", "pickle"]),
    ]:
        with pytest.raises(RpcFailure) as failure:
            daemon.ask("result", node=node, format=wanted)
        assert failure.value.code == 3
        assert set(possible) <= set(failure.value.data["formats"])
        assert wanted not in failure.value.data["formats"]
    with pytest.raises(RpcFailure) as failure:
        daemon.ask("result", node="number", format="xlsx")
    assert failure.value.code == 3
    assert "json" in failure.value.data["formats"]


def test_large_values_come_as_private_files(daemon: Daemon) -> None:
    daemon.serve("large", VALUES)
    assert "value" in daemon.ask("result", node="at_limit")
    answer = daemon.ask("result", node="large")
    assert answer.keys() == {"node", "revision", "run", "type", "media_type", "path", "bytes"}
    file = Path(answer["path"])
    content = file.read_bytes()
    assert content.decode() == "ä" * 200_000
    assert answer["bytes"] == len(content)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    again = Path(daemon.ask("result", node="large", format="json")["path"])
    assert json.loads(again.read_bytes()) == "ä" * 200_000
    assert file.read_bytes() == content
    # As JSON this one would be six times as long, and exceed what a line may hold.
    assert daemon.ask("result", node="escaped")["bytes"] == 200_000


def test_unknown_names_get_the_nearest_ones(daemon: Daemon) -> None:
    daemon.serve("names", CHAIN.format(base=1))
    for method, params, near in [
        ("result", {"node": "duoble"}, "double"),
        ("result", {"node": "total", "pipeline": "nmes"}, "names"),
        ("status", {"pipeline": "name"}, "names"),
        ("rerun", {"nodes": ["totl"]}, "total"),
        ("rerun", {"pipeline": "namess"}, "names"),
    ]:
        with pytest.raises(RpcFailure) as failure:
            daemon.ask(method, **params)
        assert failure.value.code == 1
        assert near in failure.value.data["nearest"]


def test_rerun_and_clean_rerun(daemon: Daemon) -> None:
    before = daemon.serve("again", CHAIN.format(base=1))
    client = daemon.subscriber()
    run = client.call("rerun")["run"]
    assert run == before["run"] + 1
    started = client.event("run.started", run=run)
    assert started["cause"]["kind"] == "rerun"
    assert client.event("run.finished", run=run)["outcome"] == "ok"
    run = client.call("rerun", pipeline="again", nodes=["double"])["run"]
    assert client.event("run.finished", run=run)["outcome"] == "ok"

    workers = daemon.workers()
    run = client.call("rerun", clean=True)["run"]
    assert client.event("run.finished", run=run)["outcome"] == "ok"
    client.await_workers(1)
    assert len(set(daemon.workers()) & set(workers)) == 1  # the former spare
    assert daemon.value("total") == 3


@pytest.mark.parametrize(
    "wait",
    [
        "import time\ndef one() -> int:\n    time.sleep(1000)\n    return 1\n",
        "def one() -> int:\n    while True:\n        pass\n",
        "import asyncio\nasync def one() -> int:\n    await asyncio.sleep(1000)\n    return 1\n",
    ],
    ids=["sleeping", "busy", "awaiting"],
)
def test_cancel_ends_a_run_and_keeps_the_worker(daemon: Daemon, wait: str) -> None:
    name = f"cancel_{len(wait)}"
    daemon.serve(name, "def zero() -> int:\n    return 0\n")
    workers = daemon.workers()
    client = daemon.subscriber()
    daemon.save(name, wait)
    client.event("node.started", node="one")
    client.call("cancel")
    finished = client.event("run.finished")
    assert (finished["outcome"], finished["failed"]) == ("cancelled", 0)
    status = client.call("sync")["pipelines"][name]
    assert status["nodes"]["one"]["state"] == "stale"
    assert status["problems"] == []
    client.call("cancel")  # there is nothing to cancel: fine
    daemon.save(name, "def one() -> int:\n    return 7\n")
    assert daemon.value("one") == 7
    assert daemon.workers() == workers


def test_a_run_that_takes_too_long_fails_at_its_node(daemon: Daemon) -> None:
    slow = "import time\ndef one() -> int:\n    time.sleep(1000)\n    return 1\n"
    status = daemon.serve("limited", slow, "timeout_s = 0.2")
    assert status["state"] == "failed"
    (problem,) = status["problems"]
    assert "timeout_s = 0.2" in problem["message"]
    assert (problem["node"], problem["line"]) == ("one", 2)
    daemon.save("limited", "def one() -> int:\n    return 2\n")
    assert daemon.value("one") == 2


def test_a_save_during_a_run_supersedes_it_and_is_not_lost(daemon: Daemon) -> None:
    slow = """
        import asyncio, time

        def quick() -> int:
            return {number}

        def slow(quick: int) -> int:
            {wait}
            return quick
    """
    daemon.serve("superseded", slow.format(number=1, wait=""))
    client = daemon.subscriber()
    for number in (2, 3):
        daemon.save("superseded", slow.format(number=number, wait="time.sleep(1000)"))
        begun = client.event("node.started", node="slow")
        during = daemon.ask("status")["pipelines"]["superseded"]
        assert (during["state"], during["nodes"]["slow"]["state"]) == ("running", "running")
        assert during["nodes"]["quick"]["revision"] == begun["revision"]
    daemon.save("superseded", slow.format(number=4, wait=""))
    events = client.until("run.finished", run=begun["run"])
    assert events[-1]["outcome"] == "superseded"
    between = daemon.ask("status")["pipelines"]["superseded"]["nodes"]
    for node in between.values():
        assert node["state"] != "fresh" or node["run"] > begun["run"]
    after = daemon.sync()["pipelines"]["superseded"]
    assert daemon.value("slow") == 4
    assert {n["run"] for n in after["nodes"].values()} == {after["run"]}
    rest = client.until("run.finished", run=after["run"])
    late = [e for e in rest if e.get("run") == begun["run"]]
    assert late == []
    for event in [*events, *rest]:
        if event["type"] == "run.finished":
            assert event["outcome"] == ("ok" if event["run"] == after["run"] else "superseded")


def test_pipelines_with_the_same_node_are_told_apart(daemon: Daemon) -> None:
    daemon.save("left", "def side() -> str:\n    return 'left'\n")
    daemon.save("right", "def side() -> str:\n    return 'right'\n")
    daemon.configure("left", "right")
    assert daemon.value("side", pipeline="left") == "left"
    assert daemon.value("side", pipeline="right") == "right"
    client = daemon.subscriber()
    daemon.save("right", "def side() -> str:\n    return 'other'\n")
    assert daemon.value("side", pipeline="right") == "other"
    assert daemon.value("side", pipeline="left") == "left"
    client.call("sync")
    assert {e["pipeline"] for e in client.until("run.finished") if "pipeline" in e} == {"right"}


def test_many_nodes_with_long_values_fit_into_a_line(daemon: Daemon) -> None:
    nodes = "".join(f"def n{i}() -> str:\n    return 'x' * 5000\n" for i in range(1200))
    client = daemon.subscriber()
    daemon.save("wide", nodes)
    daemon.configure("wide")
    client.event("run.finished", pipeline="wide")
    for request in ("status", "subscribe", "sync"):
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": request}).encode()
        with daemon.connect() as other:
            other.send_line(line)
            answer = other.next_line()
        assert answer is not None
        assert len(answer) < 1024 * 1024
        result = json.loads(answer)["result"]
        status = result.get("snapshot", result)["pipelines"]["wide"]
        assert len(status["nodes"]) == 1200
        assert {node["summary"]["type"] for node in status["nodes"].values()} == {"str"}
    assert daemon.value("n7") == "x" * 5000
