"""Which saves count: all project modules that were really imported, however they are saved."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_daemon import Daemon, RpcFailure, running

from hamdev.content import MAX_HASHED_BYTES


def require(daemon: Daemon, client: Any, node: str, value: Any) -> None:
    """The daemon arrives at `value` by itself; nobody makes it look."""
    while True:
        event = client.event("run.finished", "node.finished")
        if event["type"] == "node.finished" and event["node"] == node:
            seen = event["summary"]["text"]
            if seen == str(value):
                return


def test_modules_from_elsewhere_in_the_project(daemon: Daemon) -> None:
    daemon.write("shop/__init__.py", "from . import prices\n")
    daemon.write("shop/prices.py", "from .deep import tax\n\nPRICE = 10\nTAX = tax.RATE\n")
    daemon.write("shop/deep/__init__.py", "")
    daemon.write("shop/deep/tax.py", "from ..base import UNIT\n\nRATE = 2 * UNIT\n")
    daemon.write("shop/base.py", "UNIT = 1\n")
    daemon.write("pipelines/_near.py", "NEAR = 100\n")
    text = """
        import shop
        from pipelines import _near

        def total() -> int:
            return shop.prices.PRICE + shop.prices.TAX + _near.NEAR
    """
    daemon.serve("elsewhere", text)
    assert daemon.value("total") == 112
    client = daemon.subscriber()
    daemon.write("shop/prices.py", "from .deep import tax\n\nPRICE = 20\nTAX = tax.RATE\n")
    require(daemon, client, "total", 122)
    daemon.write("shop/deep/tax.py", "from ..base import UNIT\n\nRATE = 3 * UNIT\n")
    require(daemon, client, "total", 123)
    daemon.write("shop/base.py", "UNIT = 2\n")
    require(daemon, client, "total", 126)
    daemon.write("pipelines/_near.py", "NEAR = 200\n")
    require(daemon, client, "total", 226)
    daemon.write("shop/__init__.py", "from . import prices\nprices.PRICE = 0\n")
    require(daemon, client, "total", 206)


@pytest.mark.parametrize("style", ["in place", "renamed", "backup", "linked"])
def test_saved_as_editors_do(daemon: Daemon, style: str, tmp_path: Path) -> None:
    name = f"editor_{style.replace(' ', '_')}"
    text = "def one() -> int:\n    return {}\n"
    daemon.serve(name, text.format(0))
    client = daemon.subscriber()
    file = daemon.root / "pipelines" / f"{name}.py"
    for number in range(1, 4):
        match style:
            case "in place":
                file.write_text(text.format(number))
            case "renamed":
                other = tmp_path / "new"
                other.write_text(text.format(number))
                shutil.move(other, file)
            case "backup":
                file.rename(file.with_suffix(".py~"))
                file.write_text(text.format(number))
            case "linked":
                target = tmp_path / f"target{number}.py"
                target.write_text(text.format(number))
                file.unlink()
                file.symlink_to(target)
        require(daemon, client, "one", number)
    if style == "linked":
        target.write_text(text.format(9))
        require(daemon, client, "one", 9)


def test_a_module_that_appears_makes_a_failing_import_work(daemon: Daemon) -> None:
    text = "from late_package.late import AMOUNT as _A\n\ndef one() -> int:\n    return _A\n"
    status = daemon.serve("waits", text)
    assert [p["kind"] for p in status["problems"]] == ["import"]
    client = daemon.subscriber()
    folder = daemon.root / "late_package"
    folder.mkdir()
    (folder / "late.py").write_text("AMOUNT = 5\n")
    require(daemon, client, "one", 5)
    daemon.write("late_package/late.py", "AMOUNT = 6\n")
    require(daemon, client, "one", 6)


def test_a_module_that_becomes_a_package(daemon: Daemon) -> None:
    daemon.write("grows.py", "AMOUNT = 1\n")
    daemon.serve("uses", "import grows\n\ndef one() -> int:\n    return grows.AMOUNT\n")
    client = daemon.subscriber()
    daemon.write("grows/__init__.py", "from .inner import AMOUNT\n")
    daemon.write("grows/inner.py", "AMOUNT = 2\n")
    (daemon.root / "grows.py").unlink()
    require(daemon, client, "one", 2)
    daemon.write("grows/inner.py", "AMOUNT = 3\n")
    require(daemon, client, "one", 3)
    daemon.write("grows.py", "AMOUNT = 4\n")
    shutil.rmtree(daemon.root / "grows")
    require(daemon, client, "one", 4)


def test_a_folder_that_is_swapped(daemon: Daemon) -> None:
    daemon.write("swap/one.py", "AMOUNT = 1\n")
    daemon.serve("swaps", "from swap import one as _m\n\ndef one() -> int:\n    return _m.AMOUNT\n")
    client = daemon.subscriber()
    daemon.write("swap_new/one.py", "AMOUNT = 2\n")
    (daemon.root / "swap").rename(daemon.root / "swap_old")
    (daemon.root / "swap_new").rename(daemon.root / "swap")
    require(daemon, client, "one", 2)
    daemon.write("swap/one.py", "AMOUNT = 3\n")
    require(daemon, client, "one", 3)


def test_names_that_left_the_file_are_gone(daemon: Daemon) -> None:
    two = "def one() -> int:\n    return 1\n\n\ndef two() -> int:\n    return 2\n"
    status = daemon.serve("shrinks", two)
    assert status["nodes"].keys() == {"one", "two"}
    daemon.save("shrinks", "def one() -> int:\n    return 1\n")
    assert daemon.pipeline("shrinks")["nodes"].keys() == {"one"}


def test_two_saves_of_one_size_within_a_second_are_two_revisions(daemon: Daemon) -> None:
    text = "def one() -> int:\n    return {}\n"
    daemon.serve("sized", text.format(0))
    for number in range(1, 10):
        file = daemon.save("sized", text.format(number))
        os.utime(file, (1_700_000_000, 1_700_000_000))
        assert daemon.value("one") == number


def test_files_that_nobody_imports_do_not_matter(daemon: Daemon) -> None:
    daemon.serve("alone", "def one() -> int:\n    return 1\n")
    revision = daemon.sync()["revision"]
    daemon.write("pipelines/nobody.py", "import nothing\n")
    daemon.write("notes.txt", "x")
    assert daemon.sync()["revision"] == revision


def test_folders_that_are_listed_and_files_that_are_large_cause_no_runs(daemon: Daemon) -> None:
    (daemon.root / "parts").mkdir()
    (daemon.root / "parts" / "a.csv").touch()
    with (daemon.root / "large.bin").open("wb") as large:
        large.truncate(MAX_HASHED_BYTES + 1)
    text = """
        import os

        def parts() -> list:
            return sorted(os.listdir("parts"))

        def size() -> int:
            with open("large.bin", "rb") as large:
                return len(large.read())
    """
    revision = daemon.serve("lists", text)["revision"]
    # What follows the first look at what was read: another run, and with it another look.
    for _ in range(5):
        daemon.sync()
    assert daemon.sync()["revision"] == revision
    client = daemon.subscriber()
    (daemon.root / "parts" / "b.csv").touch()
    require(daemon, client, "parts", ["a.csv", "b.csv"])


def test_output_arrives_with_its_node(daemon: Daemon) -> None:
    text = """
        import ctypes, os, subprocess, sys, time

        print("loading")

        def plain() -> int:
            print("one\\ntwo ä€😀")
            print("no end", end="")
            return 1

        def errors(plain: int) -> int:
            print("wrong", file=sys.stderr)
            return plain

        async def later(errors: int) -> int:
            print("awaited")
            return errors

        def outside(later: int) -> int:
            ctypes.CDLL(None).puts(b"from C")
            ctypes.CDLL(None).fflush(None)
            subprocess.run(["echo", "from a child"], check=True)
            while not os.path.exists("heard"):
                time.sleep(0.001)
            return later
    """
    client = daemon.subscriber()
    daemon.save("prints", text)
    daemon.configure("prints")
    # It comes through a pipe of its own, and the node that runs alone must have printed it.
    events = client.until("output", where=lambda e: "from a child" in e["text"])
    (daemon.root / "heard").touch()
    events += client.until("run.finished")
    run = events[-1]["run"]
    output = [e for e in events if e["type"] == "output"]
    assert all(e["pipeline"] == "prints" for e in output)
    # What a module prints while it is loaded may come before its run is announced.
    assert all(e.get("run") == run or "node" not in e for e in output)
    by_node: dict[tuple[Any, str], str] = {}
    for event in output:
        key = (event.get("node"), event["stream"])
        by_node[key] = by_node.get(key, "") + event["text"]
    assert by_node["plain", "stdout"] == "one\ntwo ä€😀\nno end"
    assert by_node["errors", "stderr"] == "wrong\n"
    assert by_node["later", "stdout"] == "awaited\n"
    assert by_node["outside", "stdout"] == "from C\nfrom a child\n"
    assert by_node[None, "stdout"] == "loading\n"
    types = [(e["type"], e.get("node")) for e in events]
    assert types.index(("output", "later")) < types.index(("node.finished", "later"))


def test_a_file_that_the_daemon_cannot_open_for_a_while_is_neither_gone_nor_changed(
    tmp_path: Path,
) -> None:
    """Out of descriptors: the last good content stays, no run is made of it, and it heals."""
    (tmp_path / "devserver.toml").write_text("[watch]\nsweep_ms = 50\n[pipelines.short]\n")
    module = tmp_path / "pipelines" / "short.py"
    module.parent.mkdir()
    module.write_text("def one() -> int:\n    return 1\n")
    with running(tmp_path) as daemon:
        client = daemon.subscriber(since=0)
        client.event("run.finished", outcome="ok")
        client.await_workers(2)
        process = psutil.Process(daemon.process.pid)
        if not hasattr(process, "rlimit"):
            pytest.skip("limits of another process can be set on Linux only")
        limits = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (3, limits[1]))
        try:
            daemon.save("short", "def one() -> int:\n    return 2\n")
            seen = client.until("warning")
            assert "cannot read" in seen[-1]["message"]
            assert "short.py" in seen[-1]["message"]
            status = client.call("status")
            assert status["pipelines"]["short"]["problems"] == []
            with pytest.raises(RpcFailure) as failure:
                client.call("sync", timeout=1)
            assert failure.value.code == 4
            assert client.call("status")["revision"] == status["revision"]
        finally:
            process.rlimit(psutil.RLIMIT_NOFILE, limits)
        assert daemon.value("one") == 2
        assert client.call("status")["revision"] == status["revision"] + 1
        assert [event["type"] for event in client.events].count("warning") == 0


def test_a_module_in_the_place_of_which_there_is_a_folder_or_too_much(daemon: Daemon) -> None:
    """Daemon and worker agree about what is there: one revision, not one after the other."""
    text = "def one() -> int:\n    return {}\n"
    revision = daemon.serve("place", text.format(1))["revision"]
    module = daemon.root / "pipelines" / "place.py"
    module.unlink()
    module.mkdir()
    status = daemon.pipeline("place")
    assert (status["state"], status["revision"]) == ("failed", revision + 1)
    module.rmdir()
    daemon.save("place", text.format(2))
    assert daemon.value("one") == 2
    daemon.save("place", text.format(3) + "#" * (MAX_HASHED_BYTES + 1))
    status = daemon.pipeline("place")
    assert status["state"] == "failed"
    assert "64 MiB" in status["problems"][0]["message"]
    assert daemon.sync()["pipelines"]["place"] == status
    daemon.save("place", text.format(4))
    assert daemon.value("one") == 4
