"""`devserver.toml` while the daemon runs: edits take effect, broken ones are shown."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_daemon import Daemon, RpcFailure, running

GRADED = """
    from hamilton.function_modifiers import config

    def scaled(number: int) -> int:
        return number * 10

    @config.when(unit="large")
    def label__large() -> str:
        return "large"

    @config.when_not(unit="large")
    def label__small() -> str:
        return "small"
"""


def test_edits_take_effect(daemon: Daemon) -> None:
    status = daemon.serve("graded", GRADED, "inputs = { number = 2 }")
    assert daemon.value("scaled") == 20
    assert daemon.value("label") == "small"
    client = daemon.subscriber()
    daemon.configure(graded="inputs = { number = 3 }\nconfig = { unit = 'large' }")
    assert daemon.value("scaled") == 30
    assert daemon.value("label") == "large"
    events = client.until("run.finished")
    settings = str(daemon.root / "devserver.toml")
    assert events[0]["type"] == "files.changed"
    assert events[0]["files"] == [settings]
    assert events[1]["cause"]["kind"] == "settings"
    assert events[1]["revision"] > status["revision"]

    daemon.configure(graded="inputs = { number = 3 }\nfinal_vars = ['scaled']")
    status = daemon.pipeline("graded")
    assert status["final_vars"] == ["scaled"]
    with pytest.raises(RpcFailure):
        daemon.ask("result", node="label")

    daemon.write("pipelines/extra.py", "def number() -> int:\n    return 7\n")
    daemon.configure(graded="with = ['extra']")
    status = daemon.pipeline("graded")
    assert status["modules"] == ["pipelines.extra", "pipelines.graded"]
    assert daemon.value("scaled") == 70
    daemon.write("pipelines/extra.py", "def number() -> int:\n    return 8\n")
    assert daemon.value("scaled") == 80
    daemon.configure(graded="with = ['extra']\nasync_driver = false")
    assert daemon.value("scaled") == 80
    daemon.configure(graded="with = ['extra']\nexecutor = 'threads'")
    assert daemon.value("scaled") == 80


def test_dates_and_floats_arrive_as_they_are(daemon: Daemon) -> None:
    text = """
        import datetime

        def kinds(day: datetime.date, at: datetime.datetime, share: float, table: dict) -> str:
            return f"{day!r} {at!r} {share!r} {table!r}"
    """
    lines = "inputs = { day = 2026-01-02, at = 2026-01-02T03:04:05Z, share = 1.0, table = {a=[1]} }"
    daemon.serve("dated", text, lines)
    value = daemon.value("kinds")
    assert value.startswith("datetime.date(2026, 1, 2) datetime.datetime(2026, 1, 2, 3, 4, 5, tz")
    assert value.endswith("1.0 {'a': [1]}")


@pytest.mark.parametrize(
    ("broken", "line", "message"),
    [
        ("[pipelines.held\n", 1, "TOML"),
        ("[pipelines.held]\nfinal_var = ['one']\n", 2, "final_vars"),
        ("[pipelines.held]\ninputs = 3\n", 2, "pipelines.held.inputs"),
        ("[pipelines.held]\n\n[watch]\nsettle_ms = 'x'\n", 4, "watch.settle_ms"),
        ("[server]\nlog_level = 'DEBUGG'\n[pipelines.held]\n", 2, "DEBUG"),
        ("", None, "no pipeline"),
    ],
    ids=["syntax", "key", "type", "other table", "choice", "empty"],
)
def test_a_broken_edit_keeps_the_last_good_ones(
    daemon: Daemon, broken: str, line: int | None, message: str
) -> None:
    daemon.serve("held", "def one(n: int = 1) -> int:\n    return n\n", "inputs = { n = 5 }")
    file = daemon.write("devserver.toml", broken)
    (problem,) = daemon.pipeline("held")["problems"]
    assert problem["kind"] == "settings"
    assert message in problem["message"]
    assert problem["file"] == str(file)
    if line is not None:
        assert problem["line"] == line
    # Saves go on being served under the last good settings, and the problem goes on being shown.
    daemon.save("held", "def one(n: int = 1) -> int:\n    return n * 100\n")
    assert daemon.value("one") == 500
    status = daemon.pipeline("held")
    assert [p["kind"] for p in status["problems"]] == ["settings"]
    assert status["nodes"]["one"]["state"] == "fresh"
    daemon.configure(held="inputs = { n = 6 }")
    assert daemon.value("one") == 600
    assert daemon.pipeline("held")["problems"] == []


def test_a_settings_file_that_is_deleted(daemon: Daemon) -> None:
    daemon.serve("kept", "def one() -> int:\n    return 1\n")
    (daemon.root / "devserver.toml").unlink()
    (problem,) = daemon.pipeline("kept")["problems"]
    assert problem["kind"] == "settings"
    daemon.configure("kept")
    assert daemon.pipeline("kept")["problems"] == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "cannot be read: Not a regular file"),
        (lambda file: file.symlink_to("/dev/zero"), "cannot be read: Not a regular file"),
        (Path.mkdir, "cannot be read: Is a directory"),
        (lambda file: file.symlink_to("devserver.toml"), "Too many levels of symbolic links"),
    ],
    ids=["pipe", "endless", "folder", "link to itself"],
)
def test_a_settings_file_that_is_something_else(
    daemon: Daemon, make: Callable[[Path], None], message: str
) -> None:
    daemon.serve("held", "def one() -> int:\n    return 1\n")
    file = daemon.root / "devserver.toml"
    other = file.with_name("other")
    make(other)
    if other.is_dir():
        file.unlink()
    other.replace(file)
    (problem,) = daemon.pipeline("held")["problems"]
    assert (problem["kind"], problem["file"]) == ("settings", str(file))
    assert message in problem["message"]
    daemon.save("held", "def one() -> int:\n    return 2\n")
    assert daemon.value("one") == 2
    if file.is_dir():
        file.rmdir()
    else:
        file.unlink()
    daemon.configure("held")
    assert daemon.pipeline("held")["problems"] == []


def test_pipelines_come_and_go(daemon: Daemon) -> None:
    one = "def one() -> int:\n    return {}\n"
    daemon.serve("stays", one.format(1))
    run = daemon.sync()["pipelines"]["stays"]["run"]
    daemon.save("comes", one.format(2))
    daemon.configure("stays", "comes")
    pipelines = daemon.sync()["pipelines"]
    assert list(pipelines) == ["stays", "comes"]
    assert pipelines["stays"]["run"] == run
    assert daemon.value("one", pipeline="comes") == 2

    # One that goes while it runs: its run ends, and nobody hears of it again.
    client = daemon.subscriber()
    daemon.save("comes", "import time\n" + one.format("time.sleep(1000)"))
    begun = client.event("node.started", pipeline="comes")
    daemon.configure("stays")
    assert client.event("run.finished", run=begun["run"])["outcome"] == "superseded"
    status = daemon.sync()
    assert list(status["pipelines"]) == ["stays"]
    assert status["pipelines"]["stays"]["state"] == "idle"
    with pytest.raises(RpcFailure) as failure:
        daemon.ask("result", node="one", pipeline="comes")
    assert failure.value.code == 1


def test_the_command_line_beats_the_file(daemon: Daemon, tmp_path: Any) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "graded_too.py").write_text("def one(n: int) -> int:\n    return n\n")
    (tmp_path / "pipelines" / "plus.py").write_text("def two(one: int) -> int:\n    return 2 * one")
    settings = tmp_path / "devserver.toml"
    settings.write_text("[pipelines.graded_too]\ninputs = { n = 1 }\n[pipelines.other]\n")
    arguments = ["graded-too", "--with", "plus", "--input", "n=4", "--final-var", "two"]
    with running(tmp_path, *arguments) as own:
        status = own.pipeline("graded_too")
        assert status["modules"] == ["pipelines.plus", "pipelines.graded_too"]
        assert status["final_vars"] == ["two"]
        assert own.value("two") == 8
        assert list(own.sync()["pipelines"]) == ["graded_too"]
        # Also after the file has changed.
        settings.write_text("[pipelines.graded_too]\ninputs = { n = 9, m = 1 }\n")
        assert own.value("two") == 8


def test_how_much_memory_values_may_take(daemon: Daemon, tmp_path: Path) -> None:
    """A value that does not fit is given up, and computed again for who asks for it."""
    count = tmp_path / "count"
    text = f"""
        def large() -> str:
            with open({str(count)!r}, "a") as file:
                file.write("x")
            return "x" * 100_000

        def size(large: str) -> int:
            return len(large)
    """
    daemon.save("tight", text)
    daemon.write("devserver.toml", "[memory]\nmax_bytes = 50_000\n[pipelines.tight]\n")
    assert daemon.value("size") == 100_000
    assert count.read_text() == "x"
    assert daemon.value("large") == "x" * 100_000
    assert count.read_text() == "xx"
    why = daemon.ask("why", node="large")
    assert "no longer kept" in why["because"][0]["text"]
    # Not again by itself, and not for what is below it.
    daemon.save("tight", textwrap.dedent(text) + "\n# a comment\n")
    assert daemon.value("size") == 100_000
    assert count.read_text() == "xx"
    daemon.write("devserver.toml", "[memory]\nmax_bytes = 500_000\n[pipelines.tight]\n")
    assert daemon.value("large") == "x" * 100_000
    assert daemon.value("large") == "x" * 100_000
    assert count.read_text() in ("xx", "xxx")
