"""Nobody but the owner talks to the daemon, reads its values or is believed to be one."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_daemon import COMMAND, LIMIT_S, Daemon, eventually, runtime_folder

import hamdev
from hamdev.errors import NoDaemonError
from other_user import UID, as_other_user, needs_root, other_users_process

LARGE = "def large() -> str:\n    return 'secret' * 100_000\n"


@pytest.fixture
def file(daemon: Daemon) -> Path:
    """One with a large value."""
    daemon.serve("large", LARGE)
    return Path(daemon.ask("result", node="large")["path"])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def said_to(path: Path) -> Callable[[], str]:
    """What the daemon answers to a request on its socket."""

    def ask() -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(LIMIT_S)
            client.connect(str(path))
            try:
                client.sendall(b'{"jsonrpc":"2.0","id":1,"method":"hello"}\n')
                return client.recv(1000).decode()
            except (BrokenPipeError, ConnectionResetError):
                return ""

    return ask


def test_values_are_private_files_in_a_private_folder(daemon: Daemon, file: Path) -> None:
    assert mode(file) == 0o600
    assert mode(file.parent) == 0o700
    assert file.stat().st_uid == file.parent.stat().st_uid == os.getuid()
    assert mode(daemon.socket) == 0o600
    assert mode(daemon.socket.parent) == 0o700


@needs_root
def test_another_user_neither_connects_nor_reads(daemon: Daemon, file: Path) -> None:
    assert as_other_user(said_to(daemon.socket)) == "PermissionError"
    assert as_other_user(lambda: file.read_bytes().decode()) == "PermissionError"
    assert as_other_user(lambda: str(list(file.parent.iterdir()))) == "PermissionError"
    assert as_other_user(lambda: str(list(daemon.socket.parent.iterdir()))) == "PermissionError"


@needs_root
def test_another_user_is_refused_even_if_the_folder_is_opened(daemon: Daemon, file: Path) -> None:
    # Somebody was helpful.
    daemon.socket.parent.chmod(0o755)
    daemon.socket.chmod(0o666)
    file.parent.chmod(0o755)
    try:
        assert as_other_user(said_to(daemon.socket)) == ""
        eventually(
            lambda: "refused a connection of another user" in daemon.log_text(), "a line in the log"
        )
        assert as_other_user(lambda: file.read_bytes().decode()) == "PermissionError"
        assert daemon.ask("ping") == {}
    finally:
        daemon.socket.parent.chmod(0o700)
        daemon.socket.chmod(0o600)
    # The worker does not write into a folder that it finds open.
    again = Path(daemon.ask("result", node="large")["path"])
    assert mode(again.parent) == 0o700


@needs_root
def test_a_runtime_folder_of_somebody_else_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "devserver.toml").write_text("[pipelines.first]\n")
    with runtime_folder() as runtime:
        for folder, way_out in ((runtime / "theirs", "sudo chown -R 0"), (runtime / "link", "rm")):
            if folder.name == "link":
                folder.symlink_to(tmp_path)
            else:
                folder.mkdir(mode=0o700)
            os.chown(folder, UID, UID, follow_symlinks=False)
            refused = subprocess.run(
                [*COMMAND, "--project", str(tmp_path), "watch"],
                env={**os.environ, "HAMDEV_SOCKET": str(folder / "s")},
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
            assert refused.returncode == 2, refused.stderr
            assert f"uid {UID}" in refused.stderr
            assert f"{way_out} '{folder}'" in refused.stderr
            assert "Traceback" not in refused.stderr
            assert [f.name for f in folder.iterdir() if f.name.startswith("s")] == []


@needs_root
async def test_a_stranger_who_listens_is_no_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runtime_folder() as runtime:
        path = runtime / "open" / "s"
        path.parent.mkdir()
        path.parent.chmod(0o777)
        runtime.chmod(0o755)
        monkeypatch.setenv("HAMDEV_SOCKET", str(path))

        def impersonate(say: Callable[[Any], None]) -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(str(path))
                path.chmod(0o666)
                listener.listen(8)
                say("listening")
                while True:
                    peer, _ = listener.accept()
                    peer.close()

        async def asked() -> None:
            async with hamdev.connect_async(tmp_path):
                pass

        with other_users_process(impersonate) as said:
            assert said == "listening"
            with pytest.raises(NoDaemonError, match=f"uid {UID} listens there"):
                hamdev.connect(tmp_path)
            with pytest.raises(NoDaemonError, match=f"uid {UID} listens there"):
                await asked()
