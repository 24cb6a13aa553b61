"""One daemon a project, found where clients look for it, whatever is deleted under it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_daemon import COMMAND, LIMIT_S, Client, Daemon, eventually, running, runtime_folder

# Each start waits for an interpreter; more of them: `HAMDEV_STARTS=100`.
STARTS = int(os.environ.get("HAMDEV_STARTS", "15"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "project")


def project(root: Path) -> Path:
    (root / "pipelines").mkdir(parents=True)
    (root / "pipelines" / "first.py").write_text("def one() -> int:\n    return 1\n")
    (root / "devserver.toml").write_text("[pipelines.first]\n")
    return root


@pytest.fixture
def own(root: Path) -> Iterator[Daemon]:
    with running(root) as daemon:
        daemon.sync()
        yield daemon


def refused(root: Path, runtime: Path) -> tuple[int, str]:
    """How a daemon that cannot start ends, and what it says."""
    daemon = Daemon(root, runtime)
    try:
        status = daemon.process.wait(LIMIT_S)
        return status, daemon.log_text()
    finally:
        daemon.process.kill()
        daemon.process.wait(LIMIT_S)


@pytest.mark.timeout(30 + 6 * STARTS)
def test_of_two_starts_at_once_exactly_one_serves_and_the_other_says_who(root: Path) -> None:
    with runtime_folder() as runtime:
        for _ in range(STARTS):
            daemons = [Daemon(root, runtime), Daemon(root, runtime)]
            try:
                ended = eventually(
                    lambda daemons=daemons: [d for d in daemons if d.process.poll() is not None],
                    "one is refused",
                )
                (loser,) = ended
                (serving,) = (d for d in daemons if d is not loser)
                said = loser.log_text()
                assert loser.process.returncode == 3, said
                assert f"pid {serving.process.pid}, socket {serving.socket}" in said
                assert serving.ask("hello")["pid"] == serving.process.pid
                # The next two find what a killed one left behind.
                serving.process.kill()
                serving.process.wait(LIMIT_S)
            finally:
                for daemon in daemons:
                    daemon.dispose()


# -- what is deleted -------------------------------------------------------------------------------


def test_a_deleted_socket_is_bound_again_and_nobody_is_cut_off(own: Daemon) -> None:
    with own.subscriber() as before:
        own.socket.unlink()
        with own.connect() as after:  # as soon as there is a socket again
            assert after.call("hello")["pid"] == own.process.pid
        assert stat.S_IMODE(own.socket.stat().st_mode) == 0o600
        own.save("first", "def one() -> int:\n    return 2\n")
        before.event("run.finished", outcome="ok")
    assert own.value("one") == 2


def test_a_deleted_runtime_folder_is_made_again(root: Path) -> None:
    with runtime_folder() as parent:
        runtime = parent / "deep" / "hamdev"
        runtime.mkdir(parents=True, mode=0o700)
        # Libraries make the cache folder as they like, with all that is above it.
        cache = {"XDG_CACHE_HOME": str(parent / "cache")}
        daemon = Daemon(root, runtime, environment=cache)
        try:
            daemon.sync()
            shutil.move(daemon.log, parent / "log")
            daemon.log = parent / "log"
            shutil.rmtree(parent / "deep")
            assert daemon.value("one") == 1
            for folder in (parent / "deep", runtime):
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            daemon.save("first", "def one() -> str:\n    return 'x' * 300_000\n")
            daemon.sync()
            file = Path(daemon.ask("result", node="one")["path"])
            assert file.stat().st_size == 300_000
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
            assert "the socket; it is there again" in daemon.log_text()
        finally:
            daemon.dispose()


def test_a_socket_of_somebody_else_in_its_place_is_left_alone(own: Daemon) -> None:
    own.socket.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(own.socket))
        eventually(lambda: "took the place" in own.log_text(), "the daemon notices")
        assert own.socket.is_socket()
    own.socket.unlink()
    assert own.ask("hello")["pid"] == own.process.pid


def test_a_deleted_lock_is_taken_again_before_anybody_else_can_serve(own: Daemon) -> None:
    with own.subscriber() as subscriber:
        large = "def one() -> str:\n    return 'x' * 300_000\n"
        own.save("first", large)
        subscriber.event("run.finished", outcome="ok")
        file = Path(own.ask("result", node="one")["path"])
        shutil.rmtree(own.root / ".hamdev")  # as `git clean -fdx` does
        status, said = refused(own.root, own.socket.parent)
        assert status in (2, 3)  # the socket is in use; or the lock is there again already
        assert str(own.socket) in said
        assert "Traceback" not in said
        assert file.exists()
        known = own.root / ".hamdev" / "daemon.json"
        eventually(known.exists, "daemon.json is there again")
        eventually(lambda: "the lock; it is there again" in own.log_text(), "the lock is, too")
        assert json.loads(known.read_text())["pid"] == own.process.pid
        status, said = refused(own.root, own.socket.parent)
        assert (status, f"pid {own.process.pid}" in said) == (3, True)
        own.save("first", large.replace("x", "y"))
        subscriber.event("run.finished", outcome="ok")


def test_two_projects_with_one_socket_do_not_take_it_from_each_other(
    own: Daemon, tmp_path: Path
) -> None:
    status, said = refused(project(tmp_path / "other"), own.socket.parent)
    assert status == 2
    assert str(own.socket) in said
    assert "HAMDEV_SOCKET" in said
    assert "Traceback" not in said
    assert own.ask("hello")["root"] == str(own.root)


# -- places that cannot be trusted -----------------------------------------------------------------


def test_links_in_the_project_lead_nothing_of_ours_elsewhere(root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (root / ".hamdev").mkdir()
    for name in ("daemon.lock", "daemon.json", "daemon.new", ".gitignore"):
        (root / ".hamdev" / name).symlink_to(precious)
    with running(root) as daemon:
        daemon.sync()
        assert json.loads((root / ".hamdev" / "daemon.json").read_text())["pid"]
        assert not (root / ".hamdev" / "daemon.json").is_symlink()
    assert precious.read_text() == "precious"


def test_links_in_the_runtime_folder_lead_nothing_of_ours_elsewhere(
    root: Path, tmp_path: Path
) -> None:
    (root / "pipelines" / "first.py").write_text("def one() -> str:\n    return 'x' * 300_000\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("precious")
    with runtime_folder() as runtime:
        (runtime / "s").symlink_to(elsewhere / "precious")
        (runtime / "s.values").symlink_to(elsewhere)
        daemon = Daemon(root, runtime)
        try:
            daemon.sync()
            assert daemon.socket.is_socket()
            assert not daemon.socket.is_symlink()
            file = Path(daemon.ask("result", node="one")["path"])
            assert file.parent == runtime / "s.values"
            assert not file.parent.is_symlink()
        finally:
            daemon.dispose()
    assert [file.name for file in elsewhere.iterdir()] == ["precious"]
    assert (elsewhere / "precious").read_text() == "precious"


def test_a_runtime_folder_that_others_may_write_is_refused_with_the_way_out(root: Path) -> None:
    with runtime_folder() as runtime:
        folder = runtime / "open"
        folder.mkdir()
        folder.chmod(0o777)
        status, said = refused(root, folder)
        assert status == 2
        assert f"chmod 700 '{folder}'" in said
        assert "Traceback" not in said
        (folder / next(folder.glob("log-*"))).unlink()
        assert list(folder.iterdir()) == []
    assert not (root / ".hamdev" / "daemon.json").exists()


def test_a_path_longer_than_sockets_allow_is_refused_with_the_way_out(root: Path) -> None:
    with runtime_folder() as runtime:
        folder = runtime / ("long" * 25)
        folder.mkdir()
        folder.chmod(0o700)
        status, said = refused(root, folder)
        assert status == 2
        assert "103 bytes" in said
        assert "HAMDEV_SOCKET" in said
        assert "Traceback" not in said
        # Clients just find nobody there.
        environment = {**os.environ, "HAMDEV_SOCKET": str(folder / "s")}
        command = [*COMMAND, "--project", str(root), "status"]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert told.returncode == 4
        assert "Traceback" not in told.stderr


def test_a_socket_path_of_exactly_the_greatest_length_works(root: Path) -> None:
    with runtime_folder() as runtime:
        room = 103 - len(os.fsencode(runtime)) - len("//s")
        folder = runtime / ("x" * room)
        folder.mkdir(mode=0o700)
        daemon = Daemon(root, folder)
        try:
            assert len(os.fsencode(daemon.socket)) == 103
            assert daemon.value("one") == 1
            with Client(daemon.socket) as client:
                assert client.call("ping") == {}
        finally:
            daemon.dispose()
