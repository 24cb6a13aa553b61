from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ProjectOnDisk

from hamdev.clients.client import Client, connect

HAMDEV = str(Path(sys.executable).parent / "hamdev")
LIMIT_S = 40.0

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A runtime folder of its own, with a path short enough for sockets, here and in children."""
    folder = tempfile.mkdtemp(prefix="hd-", dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    monkeypatch.setenv("HAMILTON_TELEMETRY_ENABLED", "false")
    for name in ("HAMDEV_SOCKET", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    try:
        yield dict(os.environ)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def hamdev(project: ProjectOnDisk, environment: dict[str, str]) -> Run:
    """Runs the command in the project's folder."""

    def run(*arguments: str | Path, cwd: Path | None = None, **keywords: Any) -> Any:
        return subprocess.run(
            [HAMDEV, *arguments],
            cwd=cwd or project.root,
            env=environment,
            timeout=LIMIT_S,
            **{"capture_output": True, "text": True, "check": False, **keywords},
        )

    return run


class Daemon:
    """A real `hamdev watch`; what it logs is kept."""

    def __init__(self, project: Path, environment: dict[str, str], *arguments: str) -> None:
        self.project = project
        self.process = subprocess.Popen(
            [HAMDEV, "watch", *arguments],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.log: list[str] = []
        self._serves = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if "serving" in line:
                self._serves.set()
        self._serves.set()

    def wait_until_serving(self) -> None:
        assert self._serves.wait(LIMIT_S), "".join(self.log)
        assert self.process.poll() is None, "".join(self.log)

    def connect(self) -> Client:
        return connect(self.project)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(LIMIT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def watch(project: ProjectOnDisk, environment: dict[str, str]) -> Callable[..., Any]:
    """Starts a daemon for the project; it has ended when the test has."""

    @contextmanager
    def started(*arguments: str) -> Iterator[Daemon]:
        daemon = Daemon(project.root, environment, *arguments)
        try:
            daemon.wait_until_serving()
            yield daemon
        finally:
            daemon.end()

    return started
