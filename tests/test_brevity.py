"""No line of the protocol is longer than it promises, whatever a pipeline is like."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hamdev.messages import (
    Because,
    Cause,
    Change,
    Diff,
    Event,
    Graph,
    GraphNode,
    NodeStatus,
    PipelineStatus,
    PlanStep,
    Problem,
    Status,
    Summary,
)
from hamdev.wire import MAX_LINE, event_line, result_line


def _status(count: int, text: str) -> Status:
    problem = Problem(kind="node", message=text, traceback=text * 10, file="/p/m.py", line=3)
    summary = Summary(
        type="pandas.DataFrame",
        text=text,
        columns=["c"] * 30,
        rows=[["1"] * 30] * 5,
        types=["datetime64[us, Europe/Rome]"] * 30,
        nulls=[0] * 30,
        ranges=["2026-01-01 … 2026-12-31"] * 30,
    )
    diff = Diff(text=text[:160], changes=[Change(kind="value", text=text[:150])] * 10, since=1)
    nodes = {
        f"node_{n}": NodeStatus(
            state="failed" if n % 50 == 0 else "fresh",
            revision=1,
            run=1,
            ms=1.5,
            action="ran",
            summary=summary,
            diff=diff,
            **({"problem": problem} if n % 50 == 0 else {}),
        )
        for n in range(count)
    }
    problems = [problem] * (count // 50)
    pipeline = PipelineStatus(
        modules=["m"], state="failed", revision=1, run=1, final_vars=[], nodes=nodes,
        problems=problems,
    )  # fmt: skip
    return Status(revision=1, seq=1, pipelines={"p": pipeline})


def _nodes(line: bytes) -> dict[str, Any]:
    assert len(line) <= MAX_LINE
    message = json.loads(line)
    status = message.get("result") or message["params"]["snapshot"]
    pipeline: dict[str, Any] = status["pipelines"]["p"]
    nodes: dict[str, Any] = pipeline["nodes"]
    assert len(pipeline["problems"]) == len(nodes) // 50
    assert [p for p in pipeline["problems"] if not p["message"]] == []
    return nodes


@pytest.mark.parametrize("text", ["x" * 3000, "\n" * 3000, "é" * 1500, '"' * 3000])
@pytest.mark.parametrize("count", [100, 1000, 5000])
def test_a_status_and_a_snapshot(count: int, text: str) -> None:
    status = _status(count, text)
    snapshot = Event(type="snapshot", revision=1, snapshot=status)
    for line in (result_line(1, status), event_line(snapshot)):
        nodes = _nodes(line)
        assert len(nodes) == count
        assert {node["state"] for node in nodes.values()} == {"fresh", "failed"}
        if count == 1000:
            assert all(node["summary"]["type"] == "pandas.DataFrame" for node in nodes.values())


def test_a_short_one_is_complete() -> None:
    status = _status(20, "x" * 3000)
    assert _nodes(result_line(1, status))["node_3"]["summary"]["text"] == "x" * 3000


def test_a_plan() -> None:
    because = [Because(kind="code", text="t" * 100, name="n", file="/p/" + "m" * 90, line=n)
               for n in range(20)]  # fmt: skip
    plan = [
        PlanStep(node=f"node_{n}", action="run" if n % 2 else "reuse", because=because)
        for n in range(4000)
    ]
    cause = Cause(kind="save", text="m.py changed")
    line = event_line(Event(type="run.started", revision=1, cause=cause, plan=plan))
    assert len(line) <= MAX_LINE
    steps = json.loads(line)["params"]["plan"]
    assert [step["node"] for step in steps] == [step.node for step in plan]
    assert all(step["because"] for step in steps if step["action"] == "run")


def test_what_a_node_prints() -> None:
    line = event_line(Event(type="output", revision=1, stream="stdout", text="\x00" * 1_000_000))
    assert len(line) <= MAX_LINE
    assert json.loads(line)["params"]["text"].startswith("\x00" * 10_000)


def _graph(count: int, name: str, doc: str) -> Graph:
    nodes = [
        GraphNode(
            name=name.format(n),
            type="dict[str, pd.DataFrame]",
            kind="function",
            module="pipelines.of_many_nodes",
            file="/home/somebody/projects/of_many_nodes/pipelines/of_many_nodes.py",
            line=n,
            doc=doc,
            tags={"owner": "somebody"},
        )
        for n in range(count)
    ]
    edges = [
        (name.format(n * part // 3), name.format(n)) for n in range(1, count) for part in (1, 2)
    ]
    return Graph(pipeline="p", revision=3, run=4, nodes=nodes, edges=edges)


@pytest.mark.parametrize(
    ("count", "name", "doc"),
    [
        (50, "n{}", "x" * 2000),
        (1000, "a_node_with_a_rather_long_name_{}", "\x01" * 2000),
        (5000, "node_{}", "x" * 2000),
        (5000, "a_node_with_a_rather_long_name_{}", "x" * 2000),
        (5000, "ein_größerer_name_als_man_glaubt_ä{}", "First line.\n\nMore." * 50),
    ],
)
def test_a_graph(count: int, name: str, doc: str) -> None:
    graph = _graph(count, name, doc)
    line = result_line(1, graph)
    assert len(line) <= MAX_LINE
    shown = json.loads(line)["result"]
    names = [node["name"] for node in shown["nodes"]]
    assert names == [node.name for node in graph.nodes]
    assert {(node["type"], node["kind"]) for node in shown["nodes"]} == {
        ("dict[str, pd.DataFrame]", "function")
    }
    edges = [
        tuple(end if isinstance(end, str) else names[end] for end in edge)
        for edge in shown["edges"]
    ]
    assert edges == graph.edges
    assert (shown["pipeline"], shown["revision"], shown["run"]) == ("p", 3, 4)
    if count == 50:
        assert shown["nodes"][7]["doc"] == doc
        assert shown["edges"][0] == ["n0", "n1"]
    if count == 1000:
        # Docs are the first to go.
        assert shown["nodes"][7]["doc"] == "\x01" * 120 + "…"
        assert shown["nodes"][7]["file"] == graph.nodes[7].file
