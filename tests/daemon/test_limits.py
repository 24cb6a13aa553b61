"""Too little memory or disk, and workers that cannot start: said clearly, survived, mended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from real_daemon import Daemon, eventually, runtime_folder

pytestmark = pytest.mark.usefixtures("quick_start")


@contextlib.contextmanager
def started(root: Path, *before: str) -> Iterator[Daemon]:
    (root / "pipelines").mkdir(exist_ok=True)
    with runtime_folder() as runtime:
        daemon = Daemon(root, runtime, before=before)
        try:
            yield daemon
        finally:
            daemon.dispose()


def limited(*limits: str) -> Sequence[str]:
    if shutil.which("prlimit") is None:
        pytest.skip("needs prlimit")
    return ["prlimit", *limits, "--"]


def test_workers_that_cannot_start(tmp_path: Path) -> None:
    """A library that hamdev itself needs is broken, and then mended."""
    shadow = tmp_path / "shadow" / "hamilton"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('libgomp.so.1 is missing')\n")
    (tmp_path / "devserver.toml").write_text("[pipelines.one]\n")
    with started(tmp_path, "env", f"PYTHONPATH={shadow.parent}") as daemon:
        daemon.save("one", "def one() -> int:\n    return 1\n")
        client = daemon.subscriber(since=0)
        begun = time.monotonic()
        for _ in range(4):
            lost = client.event("worker.lost")
        pauses = time.monotonic() - begun
        assert "libgomp.so.1 is missing" in lost["problem"]["message"]
        status = client.call("status")["pipelines"]["one"]
        assert "libgomp.so.1 is missing" in status["problems"][0]["message"]
        assert pauses >= 0.5 + 1.0  # between the second and the fourth attempt, by design
        shutil.rmtree(shadow)
        client.event("run.finished", outcome="ok")
        status = daemon.pipeline("one")
        assert (status["state"], status["problems"]) == ("idle", [])


def test_a_node_that_wants_more_memory_than_there_may_be(tmp_path: Path) -> None:
    (tmp_path / "devserver.toml").write_text("[pipelines.hungry]\n")
    with started(tmp_path, *limited(f"--as={4 << 30}")) as daemon:
        daemon.save("hungry", "def hungry() -> bytes:\n    return bytearray(8 << 30)\n")
        status = daemon.pipeline("hungry")
        assert status["state"] == "failed"
        assert "MemoryError" in status["problems"][0]["message"]
        assert status["problems"][0]["line"] == 2
        daemon.save("hungry", "def hungry() -> bytes:\n    return b'enough'\n")
        assert daemon.pipeline("hungry")["state"] == "idle"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


SLOW = """
    import time
    def slow() -> bytes:
        time.sleep(0.02)
        return b"{letter}" * 5_000_000
    def size(slow: bytes) -> int:
        return len(slow)
"""


def kept(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size > 4096]


def test_a_disk_that_is_full(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "devserver.toml").write_text(
        "[memory]\nkeep_slower_than_ms = 1\n[pipelines.slow]\n"
    )
    with started(tmp_path, "env", f"XDG_CACHE_HOME={small_disk}") as daemon:
        for letter in "ab":
            daemon.save("slow", SLOW.format(letter=letter))
            assert daemon.value("size") == 5_000_000
            assert daemon.pipeline("slow")["problems"] == []
        assert kept(small_disk) == []  # nor is half of it left
        workers = daemon.workers()
        daemon.save("slow", "def small() -> int:\n    return 3\n")
        assert daemon.value("small") == 3
        assert daemon.workers() == workers


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    (tmp_path / "devserver.toml").write_text(
        "[memory]\nkeep_slower_than_ms = 1\n[pipelines.slow]\n"
    )
    cache = tmp_path / "cache"
    limit = [*limited(f"--fsize={1 << 20}"), "env", f"XDG_CACHE_HOME={cache}"]
    with started(tmp_path, *limit) as daemon:
        daemon.save("slow", SLOW.format(letter="a"))
        assert daemon.value("size") == 5_000_000
        assert kept(cache) == []
        # A value that has to travel in a file cannot, and the answer says why.
        with daemon.connect() as client:
            params = {"node": "slow", "format": "pickle"}
            line = {"jsonrpc": "2.0", "id": 1, "method": "result", "params": params}
            client.send_line(json.dumps(line).encode())
            answer = client.next_message()
        assert os.strerror(27) in answer["error"]["message"]  # EFBIG
        assert daemon.value("size") == 5_000_000


def test_a_node_that_leaves_no_descriptors(tmp_path: Path) -> None:
    """Files seem to be gone then; the next save runs in another worker, and once."""
    (tmp_path / "devserver.toml").write_text("[pipelines.leak]\n")
    (tmp_path / "data.txt").write_text("5")
    leaking = """
        import os

        KEPT = []

        def data() -> int:
            return int(open("data.txt").read())

        def leak(data: int) -> int:
            try:
                while True:
                    KEPT.append(os.dup(0))
            except OSError:
                return data + {}
    """
    with started(tmp_path, *limited("--nofile=256")) as daemon:
        daemon.save("leak", leaking.format(1))
        assert daemon.value("leak") == 6
        client = daemon.subscriber()
        daemon.save("leak", leaking.format(2))
        assert daemon.value("leak") == 7
        client.call("ping")
        assert any("does not close them" in event.get("text", "") for event in client.events)
        (tmp_path / "data.txt").write_text("6")
        assert daemon.value("leak") == 8
        revision = daemon.sync()["revision"]
        daemon.save("leak", "def leak() -> int:\n    return 9\n")
        assert daemon.value("leak") == 9
        status = daemon.sync()
        assert status["revision"] == revision + 1
        assert status["pipelines"]["leak"]["problems"] == []


def test_a_disk_that_is_full_where_the_daemon_leaves_its_address(
    tmp_path: Path, small_disk: Path
) -> None:
    """It serves all the same, and says where as soon as there is room."""
    (tmp_path / "devserver.toml").write_text("[pipelines.one]\n")
    (tmp_path / ".hamdev").symlink_to(small_disk)
    filling = small_disk / "filling"
    with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    with started(tmp_path) as daemon:
        daemon.save("one", "def one() -> int:\n    return 1\n")
        assert daemon.value("one") == 1
        filling.unlink()
        address = small_disk / "daemon.json"
        eventually(address.exists, "the daemon's address")
        assert json.loads(address.read_bytes())["pid"] == daemon.process.pid
