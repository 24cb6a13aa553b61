"""A mistake of the user's is a problem with its place, and the last good values stay."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from real_daemon import Daemon, RpcFailure

GOOD = """\
def base() -> int:
    return 1


def total(base: int) -> int:
    return base + 1
"""
FIXED = GOOD.replace("return 1", "return 41")

# What is wrong: text, kind, line, part of the message, node.
LOADING: dict[str, tuple[str, str, int | None, str, str | None]] = {
    "syntax": (GOOD + "\n\ndef broken(:\n    pass\n", "syntax", 9, "SyntaxError", None),
    "indentation": (GOOD + "   x = 1\n", "syntax", 7, "IndentationError", None),
    "encoding": ("# -*- coding: no-such -*-\n" + GOOD, "syntax", 1, "no-such", None),
    "import": ("import no_such_module\n" + GOOD, "import", 1, "no_such_module", None),
    "name": ("from os import no_such_name\n" + GOOD, "import", 1, "no_such_name", None),
    "star": ("from no_such_package import *\n" + GOOD, "import", 1, "no_such_package", None),
    "raise": (GOOD + "\n\nraise RuntimeError('at import')\n", "import", 9, "at import", None),
    "exit": (GOOD + "\n\nraise SystemExit(3)\n", "import", 9, "SystemExit", None),
    "recursion": (
        GOOD + "\n\ndef _deep():\n    return _deep()\n\n\n_deep()\n",
        "import",
        10,
        "RecursionError",
        None,
    ),
    "cycle": (
        GOOD + "\n\ndef one(two: int) -> int:\n    return two\n\n\n"
        "def two(one: int) -> int:\n    return one\n",
        "graph",
        None,
        "cycle",
        None,
    ),
    "lambda": (GOOD + "\n\nshort = lambda base: base\n", "graph", 9, "short", None),
    "hint": (
        GOOD + "\n\ndef unhinted(base) -> int:\n    return base\n",
        "graph",
        9,
        "base",
        "unhinted",
    ),
    "return": (
        GOOD + "\n\ndef unhinted(base: int):\n    return base\n",
        "graph",
        9,
        "",
        "unhinted",
    ),
    "types": (
        GOOD + "\n\ndef text(base: str) -> str:\n    return base\n",
        "graph",
        None,
        "base",
        None,
    ),
}


def only_problem(status: Any) -> Any:
    (problem,) = status["problems"]
    assert problem.keys() <= {"kind", "message", "file", "line", "column", "node", "traceback"}
    return problem


def serve_good(daemon: Daemon, name: str) -> Any:
    status = daemon.serve(name, GOOD)
    assert status["state"] == "idle"
    assert daemon.value("total") == 2
    return status


def require_last_good(daemon: Daemon, name: str, before: Any) -> None:
    """The values are those of before, under their old date, and nothing claims to be fresh."""
    status = daemon.ask("status")["pipelines"][name]
    assert status["state"] == "failed"
    assert status["revision"] > before["revision"]
    for node, known in before["nodes"].items():
        assert status["nodes"][node]["state"] != "fresh"
        assert status["nodes"][node]["revision"] == known["revision"]
        answer = daemon.ask("result", node=node, format="json")
        assert answer["revision"] == known["revision"]
        assert answer["run"] == known["run"]
    assert daemon.ask("result", node="total", format="json")["value"] == 2


def require_recovery(daemon: Daemon, name: str) -> None:
    daemon.save(name, FIXED)
    status = daemon.pipeline(name)
    assert (status["state"], status["problems"]) == ("idle", [])
    assert {node["state"] for node in status["nodes"].values()} == {"fresh"}
    assert status["nodes"].keys() == {"base", "total"}
    assert daemon.value("total") == 42


@pytest.mark.parametrize("mistake", LOADING)
def test_a_module_that_does_not_load(daemon: Daemon, mistake: str) -> None:
    name = f"load_{mistake}"
    before = serve_good(daemon, name)
    client = daemon.subscriber()
    text, kind, line, message, node = LOADING[mistake]
    file = daemon.save(name, text)
    problem = only_problem(daemon.pipeline(name))
    assert (problem["kind"], problem["file"]) == (kind, str(file))
    assert message in problem["message"]
    assert "hamdev: raised while" not in problem["message"] + problem.get("traceback", "")
    if line is not None:
        assert problem["line"] == line
    if node is not None:
        assert problem["node"] == node
    if trace := problem.get("traceback"):
        require_user_traceback(trace, file)
    require_last_good(daemon, name, before)
    events = client.until("run.finished")
    assert [e["type"] for e in events] == [
        "files.changed",
        "run.started",
        "load.failed",
        "run.finished",
    ]
    assert events[1]["plan"] == []
    assert events[2]["problems"] == [problem]
    assert (events[3]["outcome"], events[3]["ran"]) == ("failed", 0)
    require_recovery(daemon, name)


def require_user_traceback(trace: str, file: Path) -> None:
    """It begins in the user's code, and shows none of ours or of Hamilton's."""
    places = [line for line in trace.splitlines() if line.startswith('  File "')]
    if places:
        assert str(file) in places[0]
    assert "hamdev/" not in trace
    assert "hamilton/" not in trace


# What is wrong with a node: text, part of the message, line, blocked nodes.
NODES: dict[str, tuple[str, str, int]] = {
    "raises": ("    return 1 / 0\n", "ZeroDivisionError", 2),
    "deeper": (
        "    return _deeper()\n\n\ndef _deeper() -> int:\n    raise KeyError('k')\n",
        "k",
        6,
    ),
    "library": ("    import json\n    return json.loads('{')\n", "JSONDecodeError", 3),
    "recursion": ("    return _f()\n\n\ndef _f() -> int:\n    return _f()\n", "RecursionError", 6),
    "memory": ("    raise MemoryError('no room')\n", "no room", 2),
    "exit": ("    import sys\n    sys.exit(3)\n", "SystemExit", 3),
    "interrupt": ("    raise KeyboardInterrupt('me')\n", "KeyboardInterrupt", 2),
    "cancelled": ("    import asyncio\n    raise asyncio.CancelledError\n", "CancelledError", 3),
    "generator_exit": ("    raise GeneratorExit\n", "GeneratorExit", 2),
    "stop": ("    raise StopIteration\n", "StopIteration", 1),
    "group": ("    raise BaseExceptionGroup('g', [KeyboardInterrupt()])\n", "g", 2),
    "coroutine": (
        "    return _later()\n\n\nasync def _later() -> int:\n    return 1\n",
        "await",
        1,
    ),
}


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("mistake", NODES)
def test_a_node_that_fails(daemon: Daemon, mistake: str, kind: str) -> None:
    if kind == "async def" and mistake == "coroutine":
        kind = "def"
    name = f"node_{mistake}_{kind[0]}"
    before = serve_good(daemon, name)
    workers = daemon.workers()
    body, message, line = NODES[mistake]
    rest = (
        "\n\ndef total(base: int) -> int:\n    return base\n\n\ndef other() -> int:\n    return 3\n"
    )
    client = daemon.subscriber()
    file = daemon.save(name, f"{kind} base() -> int:\n{body}{rest}")
    status = daemon.pipeline(name)
    problem = only_problem(status)
    assert (problem["kind"], problem["node"], problem["file"]) == ("node", "base", str(file))
    assert message in problem["message"]
    assert problem["line"] == line
    if mistake != "coroutine":
        require_user_traceback(problem["traceback"], file)
        assert str(file) in problem["traceback"]
    states = {node: known["state"] for node, known in status["nodes"].items()}
    assert states == {"base": "failed", "total": "blocked", "other": "fresh"}
    assert status["nodes"]["base"]["problem"] == problem
    require_last_good(daemon, name, before)
    events = client.until("run.finished")
    assert [(e["node"], e["problem"]) for e in events if e["type"] == "node.failed"] == [
        ("base", problem)
    ]
    blocked = [(e["node"], e["by"]) for e in events if e["type"] == "node.blocked"]
    assert blocked == [("total", "base")]
    assert (events[-1]["outcome"], events[-1]["failed"], events[-1]["ran"]) == ("failed", 1, 1)
    require_recovery(daemon, name)
    assert daemon.workers() == workers


def test_a_parameter_that_nobody_gives(daemon: Daemon) -> None:
    before = serve_good(daemon, "missing")
    file = daemon.save(
        "missing", GOOD.replace("total(base: int)", "total(base: int, bsae: int, rate: float)")
    )
    problem = only_problem(daemon.pipeline("missing"))
    assert (problem["kind"], problem["file"], problem["line"]) == ("input", str(file), 5)
    assert problem["node"] == "total"
    assert "rate" in problem["message"]
    assert "bsae" in problem["message"]
    require_last_good(daemon, "missing", before)
    # With another leaf that can be computed, that one is.
    other = "\n\ndef other(base: int) -> int:\n    return base + 10\n"
    daemon.save("missing", GOOD.replace("total(base: int)", "total(base: int, rat: int)") + other)
    status = daemon.pipeline("missing")
    states = {node: known["state"] for node, known in status["nodes"].items()}
    assert states == {"base": "fresh", "total": "blocked", "other": "fresh"}
    assert only_problem(status)["line"] == 5
    assert status["nodes"]["total"]["problem"] == only_problem(status)
    answer = daemon.ask("result", node="total", format="json")
    assert (answer["value"], answer["revision"]) == (2, before["revision"])
    require_recovery(daemon, "missing")


def test_an_input_of_the_wrong_type(daemon: Daemon) -> None:
    text = "def total(rate: int) -> int:\n    return rate\n"
    status = daemon.serve("typed", text, "inputs = { rate = 'a' }")
    problem = only_problem(status)
    assert problem["kind"] == "input"
    assert "rate" in problem["message"]
    daemon.configure(typed="inputs = { rate = 5 }")
    assert daemon.value("total") == 5


def test_a_node_that_returns_another_type_than_it_says_is_served(daemon: Daemon) -> None:
    """Hamilton checks types between nodes, not those of values; we do not invent a check."""
    daemon.serve("untyped", "def total() -> int:\n    return 'text'\n")
    assert daemon.value("total") == "text"


def test_a_module_that_is_missing_appears(daemon: Daemon) -> None:
    daemon.configure("absent_one")
    problem = only_problem(daemon.pipeline("absent_one"))
    assert problem["kind"] == "import"
    assert "pipelines.absent_one" in problem["message"]
    with pytest.raises(RpcFailure) as failure:
        daemon.ask("result", node="total")
    assert failure.value.code == 2
    client = daemon.subscriber()
    daemon.save("absent_one", GOOD)
    client.event("run.finished", outcome="ok")  # without being asked to look
    assert daemon.value("total") == 2


def test_a_module_that_is_deleted_and_comes_back(daemon: Daemon) -> None:
    before = serve_good(daemon, "deleted")
    client = daemon.subscriber()
    file = daemon.root / "pipelines" / "deleted.py"
    file.unlink()
    client.event("run.finished", outcome="failed")
    problem = only_problem(daemon.pipeline("deleted"))
    assert problem["kind"] == "import"
    assert "deleted" in problem["message"]
    require_last_good(daemon, "deleted", before)
    file.write_text(FIXED)
    client.event("run.finished", outcome="ok")
    require_recovery(daemon, "deleted")


def test_a_mistake_in_an_imported_module_is_shown_there(daemon: Daemon) -> None:
    helper = daemon.write("helpers_p/calc.py", "def amount() -> int:\n    return 1\n")
    daemon.write("helpers_p/__init__.py", "")
    text = (
        "from helpers_p import calc as _calc\n\n\ndef total() -> int:\n    return _calc.amount()\n"
    )
    before = daemon.serve("imports", text)
    assert daemon.value("total") == 1

    daemon.write(
        "helpers_p/calc.py", "import nothing_here\n\n\ndef amount() -> int:\n    return 1\n"
    )
    problem = only_problem(daemon.pipeline("imports"))
    assert (problem["kind"], problem["file"], problem["line"]) == ("import", str(helper), 1)
    frames = [row for row in problem["traceback"].splitlines() if row.startswith("  File")]
    assert "helpers_p/calc.py" in frames[-1]
    answer = daemon.ask("result", node="total", format="json")
    assert (answer["value"], answer["revision"]) == (1, before["revision"])

    daemon.write("helpers_p/calc.py", "def amount() -> int:\n    return 1 +\n")
    problem = only_problem(daemon.pipeline("imports"))
    assert (problem["kind"], problem["file"], problem["line"]) == ("syntax", str(helper), 2)

    daemon.write("helpers_p/calc.py", "def amount() -> int:\n    return [][0]\n")
    problem = only_problem(daemon.pipeline("imports"))
    assert (problem["kind"], problem["file"], problem["line"]) == ("node", str(helper), 2)
    assert problem["node"] == "total"

    daemon.write("helpers_p/calc.py", "def amount() -> int:\n    return 9\n")
    assert daemon.value("total") == 9
    assert daemon.sync()["pipelines"]["imports"]["problems"] == []


def test_two_mistakes_are_two_problems(daemon: Daemon) -> None:
    text = (
        "def one() -> int:\n    return 1 / 0\n\n\n"
        "def two() -> int:\n    return [][0]\n\n\n"
        "def both(one: int, two: int) -> int:\n    return 0\n"
    )
    status = daemon.serve("two_mistakes", text)
    assert {p["node"] for p in status["problems"]} == {"one", "two"}
    assert {p["line"] for p in status["problems"]} == {2, 6}


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(daemon: Daemon) -> None:
    before = serve_good(daemon, "unreadable")
    file = daemon.root / "pipelines" / "unreadable.py"
    file.chmod(0)
    problem = only_problem(daemon.pipeline("unreadable"))
    assert (problem["kind"], problem["file"]) == ("import", str(file))
    require_last_good(daemon, "unreadable", before)
    file.chmod(0o600)
    require_recovery(daemon, "unreadable")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x = '\xe9'\n", b"a = 1\x00\n"])
def test_a_file_that_is_no_text(daemon: Daemon, content: bytes) -> None:
    name = f"no_text_{content[0]}_{len(content)}"
    before = serve_good(daemon, name)
    file = daemon.root / "pipelines" / f"{name}.py"
    file.write_bytes(content)
    problem = only_problem(daemon.pipeline(name))
    assert (problem["kind"], problem["file"], problem["line"]) == ("syntax", str(file), 1)
    require_last_good(daemon, name, before)
    require_recovery(daemon, name)
