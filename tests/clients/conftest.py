from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from client_processes import HAMDEV, LIMIT_S, Daemon, Run

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A runtime folder of its own, with a path short enough for sockets, here and in children."""
    folder = tempfile.mkdtemp(prefix="hd-", dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", f"{folder}/cache")
    monkeypatch.setenv("HAMILTON_TELEMETRY_ENABLED", "false")
    # Every daemon, and every run without one, would import pandas, polars and scikit-learn first.
    monkeypatch.setenv("HAMILTON_AUTOLOAD_EXTENSIONS", "0")
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


@pytest.fixture
def watch(project: ProjectOnDisk, environment: dict[str, str]) -> Callable[..., Any]:
    """Starts a daemon for the project, with arguments for `watch`; it ends with the block."""

    @contextmanager
    def started(*arguments: str) -> Iterator[Daemon]:
        daemon = Daemon(project.root, environment, *arguments)
        try:
            daemon.wait_until_serving()
            yield daemon
        finally:
            daemon.end()

    return started
