"""Saves that change which files there are, each way to notice them alone: one change, one run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_daemon import Client, Daemon, running
from rounds import NO_EVENTS, WAYS

MODULES = 300
MAIN = "import {module}\n\n\ndef one() -> int:\n    return {module}.AMOUNT\n"


@pytest.fixture(scope="module", params=WAYS)
def daemon(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    root = tmp_path_factory.mktemp("project")
    sweep_ms, no_events = WAYS[request.param]
    (root / "pipelines").mkdir()
    (root / "pipelines" / "first.py").write_text("def one() -> int:\n    return 0\n")
    (root / "devserver.toml").write_text(f"{_watch(sweep_ms)}[pipelines.first]\n")
    with running(root, environment={NO_EVENTS: no_events} if no_events else {}) as daemon:
        daemon.sweep_ms = sweep_ms  # type: ignore[attr-defined]  # what `serve` writes again
        daemon.subscriber(since=0).await_workers(2)
        yield daemon


def _watch(sweep_ms: str) -> str:
    return f"[watch]\nsweep_ms = {sweep_ms}\n"


def serve(daemon: Daemon, pipeline: str, text: str) -> Client:
    """Serve this pipeline alone; a subscriber to what follows its first run."""
    daemon.save(pipeline, text)
    sweep_ms: str = daemon.sweep_ms  # type: ignore[attr-defined]
    daemon.write("devserver.toml", f"{_watch(sweep_ms)}[pipelines.{pipeline}]\n")
    daemon.sync()
    return daemon.subscriber()


def one_run(client: Client, value: int) -> list[dict[str, Any]]:
    """All events of the one run that leads to this value; there is no other, and no problem."""
    events = client.until("node.finished", where=lambda e: e["summary"]["text"] == str(value))
    events += client.until("run.finished")
    client.call("sync", timeout=30.0)
    events, client.events = events + client.events, []
    assert [e["type"] for e in events if e["type"].endswith("failed")] == []
    outcomes = [e["outcome"] for e in events if e["type"] == "run.finished"]
    assert [outcome for outcome in outcomes if outcome != "superseded"] == ["ok"]
    return events


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, timeout=30)


def test_a_checkout_of_300_files_is_one_revision_and_one_run(daemon: Daemon) -> None:
    git(daemon.root, "init", "-q", "-b", "main")
    names = [f"m{number:03}" for number in range(MODULES)]
    text = "".join(f"from parts import {name}\n" for name in names)
    amounts = "".join(f"{name}.AMOUNT, " for name in names)
    text += f"\nALL = [{amounts}]\n\n\ndef total() -> int:\n    return sum(ALL)\n"
    (daemon.root / "parts").mkdir()
    daemon.save("many", text)
    for amount, branch in ((2, "two"), (1, "one")):
        for name in names:
            (daemon.root / "parts" / f"{name}.py").write_text(f"AMOUNT = {amount}\n")
        git(daemon.root, "checkout", "-q", "-b", branch)
        git(daemon.root, "add", "parts", "pipelines/many.py")
        git(daemon.root, "commit", "-q", "-m", branch)
    client = serve(daemon, "many", text)
    revision = daemon.ask("status")["revision"]
    git(daemon.root, "checkout", "-q", "two")
    events = one_run(client, 2 * MODULES)
    changes = [event for event in events if event["type"] == "files.changed"]
    assert [len(change["files"]) for change in changes] == [MODULES]
    assert daemon.ask("status")["revision"] == revision + 1
    shutil.rmtree(daemon.root / ".git")


def test_identical_content_is_no_revision(daemon: Daemon) -> None:
    text = "def one() -> int:\n    return 1\n"
    client = serve(daemon, "same", text)
    before = daemon.sync()
    file = daemon.root / "pipelines" / "same.py"
    file.touch()
    daemon.sync()
    file.write_text(text)
    daemon.sync()
    daemon.save("same", text)
    daemon.sync()
    os.utime(file, (1, 1))
    assert daemon.sync() == before
    client.call("ping")
    assert client.events == []


def test_a_renamed_module(daemon: Daemon) -> None:
    daemon.write("before.py", "AMOUNT = 1\n")
    client = serve(daemon, "renames", MAIN.format(module="before"))
    (daemon.root / "before.py").rename(daemon.root / "after.py")
    daemon.save("renames", MAIN.format(module="after").replace("AMOUNT", "AMOUNT + 1"))
    one_run(client, 2)
    daemon.write("after.py", "AMOUNT = 2\n")
    one_run(client, 3)


def test_a_module_that_becomes_a_package_and_back(daemon: Daemon) -> None:
    daemon.write("grows.py", "AMOUNT = 1\n")
    client = serve(daemon, "grown", MAIN.format(module="grows"))
    ready = daemon.write("ready/__init__.py", "AMOUNT = 2\n").parent
    (daemon.root / "grows.py").unlink()
    ready.rename(daemon.root / "grows")
    one_run(client, 2)
    shutil.rmtree(daemon.root / "grows")
    daemon.write("grows.py", "AMOUNT = 3\n")
    one_run(client, 3)


def test_a_missing_module_that_appears(daemon: Daemon) -> None:
    client = serve(daemon, "lacks", MAIN.format(module="late.module"))
    assert daemon.pipeline("lacks")["problems"][0]["kind"] == "import"
    client.events.clear()
    daemon.write("late/module.py", "AMOUNT = 4\n")
    one_run(client, 4)


def test_a_folder_that_is_swapped(daemon: Daemon) -> None:
    daemon.write("swap/one.py", "AMOUNT = 1\n")
    daemon.write("other/one.py", "AMOUNT = 2\n")
    text = "from swap import one as _m\n\n\ndef one() -> int:\n    return _m.AMOUNT\n"
    client = serve(daemon, "swaps", text)
    (daemon.root / "swap").rename(daemon.root / "old")
    (daemon.root / "other").rename(daemon.root / "swap")
    one_run(client, 2)
    daemon.write("swap/one.py", "AMOUNT = 3\n")
    one_run(client, 3)


def test_what_is_really_broken_is_a_problem_and_what_was_good_is_still_served(
    daemon: Daemon,
) -> None:
    client = serve(daemon, "breaks", "def one() -> int:\n    return 1\n")
    daemon.save("breaks", "def one() -> int:\n<<<<<<< ours\n    return 2\n")
    failed = client.until("load.failed")[-1]
    assert [problem["kind"] for problem in failed["problems"]] == ["syntax"]
    assert daemon.value("one") == 1
    client.call("sync", timeout=30.0)
    client.events.clear()
    daemon.save("breaks", "def one() -> int:\n    return 3\n")
    one_run(client, 3)
