from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from real_daemon import Daemon, running


class _Shared:
    """The daemon that most tests share, each with pipelines of its own; started when needed."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._open = contextlib.ExitStack()
        self._daemon: Daemon | None = None

    def get(self) -> Daemon:
        if self._daemon is None or self._daemon.process.poll() is not None:
            self._daemon = None
            self._daemon = self._started()
        return self._daemon

    def close(self) -> None:
        with self._open:
            if self._daemon is not None and self._daemon.process.poll() is None:
                # Whatever it has been through: when nothing changes, nothing happens.
                before = self._daemon.sync()
                assert self._daemon.sync() == before

    def _started(self) -> Daemon:
        root = self._folders.mktemp("project")
        (root / "pipelines").mkdir()
        (root / "pipelines" / "first.py").write_text("def one() -> int:\n    return 1\n")
        (root / "devserver.toml").write_text("[pipelines.first]\n")
        daemon = self._open.enter_context(running(root))
        with daemon.connect() as client:
            client.call("subscribe", since=0)
            client.await_workers(2)
        return daemon


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Shared]:
    daemons = _Shared(tmp_path_factory)
    try:
        yield daemons
    finally:
        daemons.close()


@pytest.fixture
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of further daemons do not import every library that Hamilton has an extension for."""
    monkeypatch.setenv("HAMILTON_AUTOLOAD_EXTENSIONS", "0")


@pytest.fixture
def daemon(shared: _Shared) -> Daemon:
    """A daemon with a worker and a spare; a test lets it serve pipelines of its own."""
    return shared.get()
