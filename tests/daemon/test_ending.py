"""One daemon a project, from its lock to the last of its processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_daemon import LIMIT_S, Daemon, eventually, running, runtime_folder

pytestmark = pytest.mark.usefixtures("quick_start")

ENDLESS = "def one() -> int:\n    while True:\n        pass\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "first.py").write_text("def one() -> int:\n    return 1\n")
    (tmp_path / "devserver.toml").write_text("[pipelines.first]\n")
    return tmp_path


def second(daemon: Daemon) -> subprocess.CompletedProcess[str]:
    """What another start in the same project says."""
    return subprocess.run(
        daemon.command,
        env=daemon.environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def require_gone(daemon: Daemon, status: int) -> None:
    assert status == 0, daemon.log_text()
    assert daemon.leftovers() == []
    eventually(lambda: not daemon.processes(), "the end of all processes")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_its_children(root: Path, number: signal.Signals) -> None:
    with running(root) as daemon:
        assert daemon.value("one") == 1
        client = daemon.subscriber()
        daemon.save("first", "def one() -> str:\n    return 'x' * 300_000\n")
        daemon.sync()
        assert "path" in daemon.ask("result", node="one")
        if number == signal.SIGINT:
            # In the middle of a run that does not end by itself, with a child of its own.
            text = "import subprocess\nsubprocess.Popen(['sleep', '1000'])\n" + ENDLESS
            daemon.save("first", text)
            client.event("node.started")
            eventually(lambda: "sleep" in [p.name() for p in daemon.processes()], "the child")
        require_gone(daemon, daemon.end(number))
        # Whoever was connected is told by the end of the stream.
        while client.next_line() is not None:
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_starts(root: Path, number: signal.Signals) -> None:
    with running(root) as daemon:
        daemon.connect()  # the socket is there before the first worker is ready
        require_gone(daemon, daemon.end(number))


def test_shutdown_ends_it_while_a_module_is_loading(root: Path) -> None:
    (root / "pipelines" / "first.py").write_text("while True:\n    pass\n")
    with running(root) as daemon:
        client = daemon.subscriber(since=0)
        client.await_workers(1)
        assert client.call("shutdown") == {}
        require_gone(daemon, daemon.process.wait(LIMIT_S))


def test_a_second_daemon_is_refused_and_a_killed_one_is_recovered(root: Path) -> None:
    with runtime_folder() as runtime:
        daemon = Daemon(root, runtime)
        try:
            assert daemon.value("one") == 1
            refused = second(daemon)
            assert refused.returncode == 3
            assert str(daemon.process.pid) in refused.stderr
            assert str(daemon.socket) in refused.stderr
            assert "Traceback" not in refused.stderr
            assert daemon.value("one") == 1  # it kept its socket

            # Its workers are in the middle of a run that holds the interpreter's lock.
            client = daemon.subscriber()
            text = "import collections, itertools\ndef one() -> int:\n"
            daemon.save("first", text + "    collections.deque(itertools.repeat(1), maxlen=0)\n")
            client.event("node.started")
            daemon.process.kill()
            daemon.process.wait(LIMIT_S)
            eventually(lambda: not daemon.processes(), "the end of the workers of a killed daemon")
            assert len(daemon.leftovers()) == 3
        finally:
            for process in daemon.processes():
                process.kill()
        daemon.save("first", "def one() -> int:\n    return 2\n")
        again = Daemon(root, runtime)
        try:
            assert again.value("one") == 2
            known = json.loads((root / ".hamdev" / "daemon.json").read_text())
            assert known["pid"] == again.process.pid
        finally:
            again.dispose()


def test_what_user_code_started_ends_with_a_daemon_that_is_killed(root: Path) -> None:
    text = """
        import os, signal, subprocess, time
        def one() -> int:
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                while True:
                    time.sleep(1000)
            subprocess.Popen(["sleep", "1000"])
            os.kill(os.getpid(), signal.SIGSTOP)
            return 1
    """
    with runtime_folder() as runtime:
        daemon = Daemon(root, runtime)
        try:
            assert daemon.value("one") == 1
            daemon.save("first", text)
            eventually(lambda: "sleep" in [p.name() for p in daemon.processes()], "the child")
            daemon.process.kill()
            daemon.process.wait(LIMIT_S)
            eventually(lambda: not daemon.processes(), "the end of what user code started")
        finally:
            for process in daemon.processes():
                process.kill()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_a_worker_that_is_stopped_as_soon_as_it_exists_ends_with_a_killed_daemon(
    root: Path,
) -> None:
    for _ in range(10):
        with running(root) as daemon:
            stopped = stop_the_next_worker(daemon)
            is_guarded = any(
                p.pid != stopped and group_of(p) == stopped for p in daemon.processes()
            )
            daemon.process.kill()
            daemon.process.wait(LIMIT_S)
            eventually(lambda: not daemon.processes(), "the end of all processes")
        if not is_guarded:
            return
    pytest.fail("each worker had its guard before it could be stopped")


def stop_the_next_worker(daemon: Daemon) -> int:
    """Stop a worker when its program has just been started, before it has come to anything."""
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        for pid in map(int, children.read_text().split()):
            try:
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if arguments[0] == sys.executable.encode() and b"hamdev.worker" in arguments:
                os.kill(pid, signal.SIGSTOP)
                return pid
    raise AssertionError("no worker was started")


def group_of(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return 0


def test_user_code_may_wait_for_all_its_children(daemon: Daemon) -> None:
    text = """
        import os
        def children() -> int:
            for _ in range(3):
                if os.fork() == 0:
                    os._exit(0)
            ended = 0
            while True:
                try:
                    os.wait()
                except ChildProcessError:
                    return ended
                ended += 1
    """
    daemon.serve("waiting", text)
    assert daemon.value("children") == 3


def test_a_save_during_the_very_first_load(root: Path) -> None:
    file = root / "pipelines" / "first.py"
    file.write_text("import time\ntime.sleep(1000)\n\n\ndef one() -> int:\n    return 1\n")
    with running(root) as daemon:
        client = daemon.subscriber(since=0)
        client.await_workers(1)
        daemon.save("first", "def one() -> int:\n    return 2\n")
        assert daemon.value("one") == 2


def test_settings_that_are_broken_at_the_start(root: Path) -> None:
    (root / "devserver.toml").write_text("[pipelines.first]\nfinal_var = []\n")
    with runtime_folder() as runtime:
        daemon = Daemon(root, runtime)
        assert daemon.process.wait(LIMIT_S) == 2
        assert "final_vars" in daemon.log_text()
        assert "Traceback" not in daemon.log_text()
        assert daemon.leftovers() == []


def lines_of(daemon: Daemon) -> list[dict[str, Any]]:
    return [json.loads(line) for line in daemon.log_text().splitlines()]


def test_a_save_can_be_followed_in_the_log(root: Path) -> None:
    with running(root, "--log-format", "json", "--log-level", "DEBUG") as daemon:
        daemon.sync()
        # The log is written by a thread of its own, which may be behind.
        before = eventually(
            lambda: (
                (seen := lines_of(daemon))
                and any(line["event"] == "run finished" for line in seen)
                and len(seen)
            ),
            "the lines of the first run",
        )
        file = daemon.save("first", "def one() -> int:\n    print('hello')\n    return 2\n")
        status = daemon.sync()
        run = status["pipelines"]["first"]["run"]
        lines = eventually(
            lambda: (
                (seen := lines_of(daemon)[before:])
                and any(line["event"] == "run finished" for line in seen)
                and seen
            ),
            "the lines of a save",
        )
        steps = [line["event"] for line in lines]
        for earlier, later in [
            ("files changed", "run started"),
            ("run started", "node started"),
            ("node started", "output"),
            ("output", "node finished"),
            ("node finished", "run finished"),
        ]:
            assert steps.index(earlier) < steps.index(later)
        by_event = {line["event"]: line for line in lines}
        assert by_event["files changed"]["files"] == [str(file)]
        for name in ("run started", "node started", "output", "node finished", "run finished"):
            line = by_event[name]
            assert (line["run"], line["pipeline"]) == (run, "first")
            assert line["revision"] == status["revision"]
            if name not in ("run started", "run finished"):
                assert line["node"] == "one"
        assert by_event["output"]["text"] == "hello"

        # The level can change while it runs; the command line wins over the file, so use neither.
        daemon.save("first", "def one() -> int:\n    return [][0]\n")
        daemon.sync()
        failed = eventually(
            lambda: [line for line in lines_of(daemon) if line["event"] == "node failed"], "a line"
        )[0]
        assert failed["level"] == "error"
        assert failed["place"] == f"{file}:2"
        assert "IndexError" in failed["message"]


def test_the_level_hides_lines_and_can_change(daemon: Daemon) -> None:
    daemon.serve("quiet", "def one() -> int:\n    return 1\n")
    level = '[pipelines.quiet]\n[server]\nlog_level = "{}"\nlog_format = "{}"\n'
    daemon.write("devserver.toml", level.format("WARNING", "console"))
    daemon.sync()
    begin = len(daemon.log_text())
    daemon.save("quiet", "def one() -> int:\n    return [][0]\n")
    daemon.sync()
    eventually(lambda: "one: IndexError" in daemon.log_text()[begin:], "the failure is shown")
    assert re.findall(r"\[(info|debug) *\]", daemon.log_text()[begin:]) == []
    daemon.save("quiet", "def one() -> int:\n    return 3\n")
    daemon.sync()

    daemon.write("devserver.toml", level.format("DEBUG", "json"))
    assert "ok again" not in daemon.log_text()[begin:]
    begin = len(daemon.log_text())
    daemon.save("quiet", "def one() -> int:\n    return 5\n")
    daemon.sync()
    eventually(
        lambda: any(
            json.loads(line)["event"] == "node started"
            for line in daemon.log_text()[begin:].splitlines()
            if line.endswith("}")
        ),
        "lines of the new level in the new format",
    )


def test_the_event_stream_goes_to_stdout(root: Path) -> None:
    with running(root, "--json", "--log-level", "CRITICAL") as daemon:
        daemon.sync()
        events = eventually(
            lambda: (seen := lines_of(daemon)) and seen[-1]["type"] == "run.finished" and seen,
            "the events of the first run",
        )
        types = [event["type"] for event in events]
        assert types[:4] == ["worker.ready", "run.started", "node.started", "node.finished"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def open_in(pid: int) -> set[str]:
    """What the descriptors of a process lead to; some are closed while one looks."""
    found = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(str(file.readlink()))
    return found


def test_no_descriptor_of_the_daemon_reaches_user_code(daemon: Daemon) -> None:
    text = """
        import os

        def one() -> list:
            found = []
            for name in os.listdir("/proc/self/fd"):
                try:
                    found.append(os.readlink(f"/proc/self/fd/{name}"))
                except OSError:
                    pass
            return found
    """
    client = daemon.connect()
    daemon.serve("descriptors", text)
    seen = daemon.value("one")
    assert not [path for path in seen if "daemon.lock" in path or path == str(daemon.log)]
    sockets = {path for path in seen if path.startswith("socket:")}
    assert sockets  # its own end of the channel
    assert not sockets & open_in(daemon.process.pid)
    client.call("ping")
