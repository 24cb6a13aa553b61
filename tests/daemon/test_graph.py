"""The DAG as the daemon describes it, beside what Hamilton's own driver says of it."""

from __future__ import annotations

import importlib.util
import inspect
import os
import signal
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hamilton import driver
from real_daemon import LIMIT_S, Daemon, RpcFailure, running

KINDS = '''
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from hamilton.function_modifiers import (
    base,
    config,
    does,
    extract_columns,
    extract_fields,
    inject,
    parameterize,
    pipe_input,
    source,
    step,
    subdag,
    tag,
    value,
)


@dataclass
class Rate:
    percent: float


def _plus(given: int, by: int) -> int:
    return given + by


def _sum(**numbers: int) -> int:
    return sum(numbers.values())


def plain(external: int) -> dict[str, int]:
    """What is plain.

    With a second paragraph.
    """
    return {"a": external}


@config.when(mode="fast")
def variant__fast(plain: dict[str, int]) -> float:
    return 1.0


@config.when_not(mode="fast")
def variant__slow(plain: dict[str, int]) -> float | None:
    """The slow one."""
    return 2.0


@parameterize(
    one={"n": value(1), "of": source("plain")},
    two={"n": value(2), "of": source("plain")},
)
def times(n: int, of: dict[str, int]) -> int:
    """{n} times."""
    return n * of["a"]


@extract_columns("x", "y")
def frame(one: int) -> pd.DataFrame:
    """A table."""
    return pd.DataFrame({"x": [one], "y": [2.0]})


@extract_fields({"low": int, "high": Rate})
def fields(two: int) -> dict[str, Any]:
    return {"low": 0, "high": Rate(two)}


def inner(start: int) -> int:
    """Inside."""
    return start + 1


def outer(inner: int, factor: int = 3) -> int:
    return inner * factor


@subdag(inner, outer, inputs={"start": source("one")})
def sub(outer: int) -> int:
    """Of a subdag."""
    return outer


@pipe_input(step(_plus, by=1), step(_plus, by=2).named("second"))
def piped(two: int) -> int:
    return two


def with_default(low: int, scale: float = 2.5) -> Annotated[float, "kg"]:
    return low * scale


@does(_sum)
def total(low: int, one: int) -> int:
    ...


@tag(owner="me", team=["a", "b"])
def tagged(x: pd.Series, from_config: str) -> Literal["a", 1]:
    return "a"


def array(y: pd.Series) -> npt.NDArray[np.float64]:
    return y.to_numpy()


async def later(array: npt.NDArray[np.float64]) -> "pd.Series":
    return pd.Series(array)
'''
SETTINGS = """\
inputs = { external = 1, start = 5 }
config = { mode = "slow", from_config = "c", unused = 1 }
"""
TYPES = {
    "external": "int",
    "plain": "dict[str, int]",
    "variant": "float | None",
    "one": "int",
    "frame": "pd.DataFrame",
    "x": "pd.Series",
    "fields": "dict[str, Any]",
    "high": "Rate",
    "sub.outer": "int",
    "scale": "float",
    "with_default": "Annotated[float, 'kg']",
    "tagged": "Literal['a', 1]",
    "array": "NDArray[np.float64]",
    "later": "pd.Series",
}


def as_module(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_name(graph: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    nodes = {node["name"]: node for node in graph["nodes"]}
    assert len(nodes) == len(graph["nodes"])
    return nodes


def require_sound(graph: Mapping[str, Any]) -> None:
    """Every edge is of nodes that there are, and dependencies come first."""
    position = {node["name"]: n for n, node in enumerate(graph["nodes"])}
    assert len({tuple(edge) for edge in graph["edges"]}) == len(graph["edges"])
    for a, b in graph["edges"]:
        assert position[a] < position[b]


def test_every_kind_of_node_is_as_hamilton_has_it(daemon: Daemon) -> None:
    status = daemon.serve("kinds", KINDS, SETTINGS)
    assert status["state"] == "idle", status["problems"]
    graph = daemon.ask("graph", pipeline="kinds")
    require_sound(graph)
    nodes = by_name(graph)
    file = daemon.root / "pipelines" / "kinds.py"
    module = as_module("kinds_as_hamilton_has_them", file)
    config = {"mode": "slow", "from_config": "c", "unused": 1}
    theirs = driver.Builder().with_modules(module).with_config(config).build()
    variables = {v.name: v for v in theirs.list_available_variables()}
    edges = {
        (needed, name) for name, node in theirs.graph.nodes.items() for needed in node.input_types
    }
    # Config values that no node takes have no place in a DAG.
    unconnected = {"mode", "unused"}
    assert nodes.keys() == variables.keys() - unconnected
    assert {tuple(edge) for edge in graph["edges"]} == edges
    for name, node in nodes.items():
        variable = variables[name]
        expected = "function"
        if variable.is_external_input:
            expected = "config" if name in config else "input"
        assert node["kind"] == expected, name
        tags = {key: as_text(tag) for key, tag in variable.tags.items() if key != "module"}
        assert node["tags"] == tags, name
        if node["kind"] != "function":
            assert [node[key] for key in ("module", "file", "line", "doc")] == [None] * 3 + [""]
            continue
        documented = theirs.graph.nodes[name].documentation
        assert node["doc"] == inspect.cleandoc(documented or ""), name
        assert (node["module"], node["file"]) == ("pipelines.kinds", str(file))
        function = inspect.unwrap(variable.originating_functions[0])
        assert node["line"] == function.__code__.co_firstlineno, name
    assert {name: nodes[name]["type"] for name in TYPES} == TYPES
    for name in ("upstream", "downstream"):
        for node in nodes:
            found = {n.name for n in getattr(theirs, f"what_is_{name}_of")(node)}
            assert reached(graph, node, name) == found - unconnected, (name, node)


def as_text(tag: Any) -> str | list[str]:
    return [str(item) for item in tag] if isinstance(tag, list) else str(tag)


def reached(graph: Mapping[str, Any], start: str, direction: str) -> set[str]:
    next_to: dict[str, set[str]] = {}
    for a, b in graph["edges"]:
        a, b = (b, a) if direction == "upstream" else (a, b)
        next_to.setdefault(a, set()).add(b)
    found, todo = {start}, [start]
    while todo:
        fresh = next_to.get(todo.pop(), set()) - found
        found |= fresh
        todo += fresh
    return found


def test_the_source_of_every_kind_of_node(daemon: Daemon) -> None:
    daemon.serve("sources", KINDS.replace("mode", "speed"), SETTINGS.replace("mode", "speed"))
    file = daemon.root / "pipelines" / "sources.py"
    module = as_module("sources_as_hamilton_has_them", file)
    theirs = driver.Builder().with_modules(module).with_config({"speed": "x"}).build()
    for node in daemon.ask("graph", pipeline="sources")["nodes"]:
        if node["kind"] != "function":
            with pytest.raises(RpcFailure, match="no function computes it") as failure:
                daemon.ask("source", node=node["name"])
            assert failure.value.code == 3
            continue
        source = daemon.ask("source", node=node["name"], pipeline="sources")
        function = inspect.unwrap(theirs.graph.nodes[node["name"]].originating_functions[0])
        assert source["text"] == textwrap.dedent(inspect.getsource(function))
        assert (source["file"], source["line"]) == (str(file), node["line"])
        assert (source["module"], source["cut"]) == ("pipelines.sources", False)
    with pytest.raises(RpcFailure, match="did you mean 'variant'") as failure:
        daemon.ask("source", node="variant__slow"[:8])
    assert failure.value.code == 1


CHAIN = """
def first() -> int:
    return 1


def second(first: int) -> int:
    return first + 1
"""


def named(graph: Mapping[str, Any]) -> list[str]:
    return [node["name"] for node in graph["nodes"]]


def test_after_a_sync_it_is_what_was_loaded(daemon: Daemon) -> None:
    status = daemon.serve("edited", CHAIN)
    graph = daemon.ask("graph", pipeline="edited")
    assert named(graph) == ["first", "second"]
    assert (graph["revision"], graph["run"]) == (status["revision"], status["run"])
    # Lines move, and nothing else happens.
    daemon.save("edited", "# a comment\n\n" + CHAIN)
    status = daemon.pipeline("edited")
    moved = daemon.ask("graph", pipeline="edited")
    assert [node["line"] for node in moved["nodes"]] == [
        node["line"] + 2 for node in graph["nodes"]
    ]
    assert moved["revision"] == status["revision"] > graph["revision"]
    source = daemon.ask("source", node="second", pipeline="edited")
    assert source["text"] == "def second(first: int) -> int:\n    return first + 1\n"
    assert (source["line"], source["revision"]) == (moved["nodes"][1]["line"], moved["revision"])
    # Renamed, retyped, and one more.
    daemon.save(
        "edited",
        CHAIN.replace("second", "other").replace(
            "-> int:\n    return first", "-> float:\n    return first"
        )
        + "\n\ndef third(other: float, first: int) -> str:\n    return ''\n",
    )
    daemon.pipeline("edited")
    graph = daemon.ask("graph", pipeline="edited")
    assert named(graph) == ["first", "other", "third"]
    assert [node["type"] for node in graph["nodes"]] == ["int", "float", "str"]
    assert sorted(graph["edges"]) == [["first", "other"], ["first", "third"], ["other", "third"]]
    with pytest.raises(RpcFailure) as failure:
        daemon.ask("source", node="second", pipeline="edited")
    assert failure.value.code == 1


def test_a_broken_module_leaves_the_last_good_one_with_its_date(daemon: Daemon) -> None:
    daemon.serve("mended", CHAIN)
    good = daemon.ask("graph", pipeline="mended")
    daemon.save("mended", CHAIN + "\n\ndef broken(:\n")
    status = daemon.pipeline("mended")
    assert status["state"] == "failed"
    assert daemon.ask("graph", pipeline="mended") == good
    assert good["revision"] < status["revision"]
    source = daemon.ask("source", node="second", pipeline="mended")
    assert source["revision"] == good["revision"]
    daemon.save("mended", CHAIN + "\n\ndef whole() -> int:\n    return 1\n")
    status = daemon.pipeline("mended")
    mended = daemon.ask("graph", pipeline="mended")
    assert "whole" in named(mended)
    assert mended["revision"] == status["revision"]


def test_while_a_node_loops_for_ever(daemon: Daemon) -> None:
    client = daemon.subscriber()
    daemon.save(
        "looping", CHAIN + "\n\ndef third(second: int) -> int:\n    while True:\n        pass\n"
    )
    daemon.configure("looping")
    client.event("node.started", node="third")
    graph = daemon.ask("graph", pipeline="looping")
    assert named(graph) == ["first", "second", "third"]
    assert "while True" in daemon.ask("source", node="third")["text"]
    daemon.ask("cancel")
    daemon.sync()


def test_while_a_module_never_ends_loading(daemon: Daemon) -> None:
    daemon.serve("stuck", CHAIN)
    good = daemon.ask("graph", pipeline="stuck")
    client = daemon.subscriber()
    daemon.save("stuck", "print('begun', flush=True)\nwhile True:\n    pass\n")
    client.event("output", text="begun\n")
    assert daemon.ask("graph", pipeline="stuck") == good
    assert daemon.ask("source", node="first", pipeline="stuck")["revision"] == good["revision"]
    daemon.save("stuck", CHAIN)
    assert daemon.pipeline("stuck")["state"] == "idle"


def test_while_c_code_keeps_the_worker_from_answering(daemon: Daemon) -> None:
    daemon.serve("held", CHAIN)
    good = daemon.ask("graph", pipeline="held")
    client = daemon.subscriber()
    # A search that takes for ever and lets no other thread run.
    daemon.save(
        "held",
        CHAIN
        + """

def third(second: int) -> bool:
    import re

    print("begun", flush=True)
    return bool(re.match(r"(a+)+$", "a" * 60 + "b"))
""",
    )
    client.event("output", text="begun\n")
    graph = daemon.ask("graph", pipeline="held")
    # What was composed before, unless the worker had a moment left to say what it is now.
    assert graph == good or (graph["revision"] > good["revision"] and "third" in named(graph))
    daemon.save("held", CHAIN)
    assert daemon.pipeline("held")["state"] == "idle"
    assert daemon.ask("graph", pipeline="held")["revision"] > good["revision"]


def test_after_a_worker_was_killed(daemon: Daemon) -> None:
    daemon.serve("killed", CHAIN)
    good = daemon.ask("graph", pipeline="killed")
    daemon.save("killed", CHAIN + "\n\ndef broken(:\n")
    assert daemon.pipeline("killed")["state"] == "failed"
    client = daemon.subscriber()
    for pid in daemon.workers():
        os.kill(pid, signal.SIGKILL)
    client.event("worker.lost")
    # None of those that come has ever composed it.
    assert daemon.ask("graph", pipeline="killed") == good
    client.event("worker.ready")
    daemon.sync()
    assert daemon.ask("graph", pipeline="killed") == good
    daemon.save("killed", CHAIN.replace("second", "later"))
    status = daemon.pipeline("killed")
    graph = daemon.ask("graph", pipeline="killed")
    assert named(graph) == ["first", "later"]
    assert graph["revision"] == status["revision"]


def test_nobody_has_to_ask_for_it_before_the_worker_goes(daemon: Daemon) -> None:
    daemon.serve("unasked", CHAIN)
    daemon.save("unasked", CHAIN + "\n\ndef broken(:\n")
    assert daemon.pipeline("unasked")["state"] == "failed"
    # It is answered in its turn, after what the daemon asked by itself.
    daemon.ask("source", node="second", pipeline="unasked")
    client = daemon.subscriber()
    for pid in daemon.workers():
        os.kill(pid, signal.SIGKILL)
    client.event("worker.lost")
    client.event("worker.ready")
    daemon.sync()
    assert named(daemon.ask("graph", pipeline="unasked")) == ["first", "second"]


def test_what_cannot_be_computed_is_shown_too(daemon: Daemon) -> None:
    text = CHAIN + "\n\ndef half(wanted: int) -> int:\n    return 1\n"
    text += "\n\ndef end(half: int) -> int:\n    return 1\n"
    daemon.serve("lacking", text)
    graph = daemon.ask("graph", pipeline="lacking")
    assert sorted(named(graph)) == ["end", "first", "half", "second", "wanted"]
    nodes = by_name(graph)
    assert nodes["wanted"]["kind"] == "input"
    assert nodes["half"]["line"] == 10
    assert "def half" in daemon.ask("source", node="half", pipeline="lacking")["text"]
    # With final_vars: what is not needed for them is none of this pipeline's nodes.
    daemon.configure(lacking='final_vars = ["second"]')
    daemon.sync()
    assert named(daemon.ask("graph", pipeline="lacking")) == ["first", "second"]


def test_what_cannot_be_described(daemon: Daemon) -> None:
    daemon.save("broken_from_birth", "def broken(:\n")
    daemon.configure("broken_from_birth", "first")
    daemon.sync()
    with pytest.raises(RpcFailure, match=r"no DAG to show yet: .*SyntaxError") as failure:
        daemon.ask("graph", pipeline="broken_from_birth")
    assert failure.value.code == 2
    with pytest.raises(RpcFailure, match="serves several pipelines") as failure:
        daemon.ask("graph")
    assert failure.value.code == 1
    assert failure.value.data["pipelines"] == ["broken_from_birth", "first"]
    with pytest.raises(RpcFailure) as failure:
        daemon.ask("graph", pipeline="firts")
    assert failure.value.data["nearest"] == ["first"]
    assert named(daemon.ask("graph", pipeline="first")) == ["one"]
    daemon.configure("first")
    daemon.sync()
    assert daemon.ask("graph")["pipeline"] == "first"


@pytest.mark.parametrize("count", [1000, 5000])
def test_many_nodes_in_one_line(tmp_path: Path, quick_start: None, count: int) -> None:
    lines = ["def node_number_0() -> int:\n    return 0\n"]
    for n in range(1, count):
        first, second = f"node_number_{n // 2}", f"node_number_{n * 2 // 3}"
        parameters = ", ".join(f"{name}: int" for name in sorted({first, second}))
        lines.append(
            f'def node_number_{n}({parameters}) -> int:\n    """Number {n}.\n\n    {"word " * 30}'
            f'\n    """\n    return {n}\n'
        )
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "many.py").write_text("\n\n".join(lines))
    (tmp_path / "devserver.toml").write_text("[pipelines.many]\n")
    with running(tmp_path) as daemon, daemon.connect() as client:
        client.call("sync", timeout=LIMIT_S)
        client.send_line(b'{"jsonrpc": "2.0", "id": 900, "method": "graph"}')
        line = client.next_line()
        assert line is not None
        assert len(line) < 1024 * 1024
        graph = client.call("graph")
        names = named(graph)
        assert sorted(names) == sorted(f"node_number_{n}" for n in range(count))
        edges = {
            tuple(end if isinstance(end, str) else names[end] for end in edge)
            for edge in graph["edges"]
        }
        assert edges == {
            (f"node_number_{a}", f"node_number_{n}")
            for n in range(1, count)
            for a in (n // 2, n * 2 // 3)
        }
        assert {node["type"] for node in graph["nodes"]} == {"int"}
        source = client.call("source", node="node_number_7")
        assert source["text"].startswith("def node_number_7(")


def test_docs_and_texts_are_bounded(daemon: Daemon) -> None:
    text = f'def long() -> int:\n    """{"word " * 30_000}"""\n    return 1\n'
    daemon.serve("bounded", text)
    (node,) = daemon.ask("graph", pipeline="bounded")["nodes"]
    assert node["doc"].startswith("word word")
    assert len(node["doc"]) == 2000
    source = daemon.ask("source", node="long")
    assert source["cut"]
    assert source["text"] == text[: 64 * 1024]


def test_names_that_are_no_identifiers(daemon: Daemon) -> None:
    daemon.serve(
        "odd",
        """
        from hamilton.function_modifiers import parameterize, value

        @parameterize(**{
            'quo"te': {"n": value(1)}, "<b>&amp;": {"n": value(2)},
            "back\\\\slash": {"n": value(3)},
            "größe_名前": {"n": value(4)}, "two\\nlines": {"n": value(5)},
        })
        def times(n: int) -> int:
            return n
        """,
    )
    expected = {'quo"te', "<b>&amp;", "back\\slash", "größe_名前", "two\nlines"}
    assert set(named(daemon.ask("graph", pipeline="odd"))) == expected
    for name in expected:
        assert daemon.ask("source", node=name)["text"].startswith("@parameterize(")


def test_each_answer_is_of_one_revision_while_saves_go_on(daemon: Daemon) -> None:
    daemon.serve("busy", CHAIN)
    seen: dict[int, list[str]] = {}
    last = 0
    with daemon.connect() as client:
        for number in range(30):
            daemon.save("busy", CHAIN.replace("second", f"second_{number}"))
            while True:
                graph = client.call("graph", pipeline="busy")
                assert graph["revision"] >= last
                last = graph["revision"]
                assert seen.setdefault(last, named(graph)) == named(graph)
                source = client.call("source", node="first", pipeline="busy")
                assert source["text"] == "def first() -> int:\n    return 1\n"
                if f"second_{number}" in named(graph):
                    break
    assert len(seen) >= 30
