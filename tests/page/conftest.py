"""These tests drive a real daemon as those of tests/daemon do, and a real browser beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "daemon"))

from browsing import OTHER_SITE, Open, Tab
from real_daemon import Daemon, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {OTHER_SITE} 127.0.0.1, MAP * ~NOTFOUND, "
    "EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Not for longer than a module: Playwright occupies asyncio."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing, and CI has to have it: apt-get install chromium")
        pytest.skip("needs chromium: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens the page of a daemon; at the end, none has had an error or asked another host."""
    tabs: list[Tab] = []

    def open_page(daemon: Daemon, **options: object) -> Tab:
        tab = Tab(browser, daemon, **options)
        tabs.append(tab)
        tab.open()
        return tab

    try:
        yield open_page
        for tab in tabs:
            assert tab.problems == []
    finally:
        for tab in tabs:
            tab.close()


class _Shared:
    """The daemon that most tests share, each with a pipeline of its own."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._open = contextlib.ExitStack()
        self._daemon: Daemon | None = None

    def get(self) -> Daemon:
        if self._daemon is None or self._daemon.process.poll() is not None:
            root = self._folders.mktemp("project")
            (root / "pipelines").mkdir()
            (root / "devserver.toml").write_text("[pipelines.first]\n")
            (root / "pipelines" / "first.py").write_text("def one() -> int:\n    return 1\n")
            environment = {"HAMILTON_AUTOLOAD_EXTENSIONS": "0"}
            self._daemon = self._open.enter_context(running(root, environment=environment))
        return self._daemon

    def close(self) -> None:
        self._open.close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Shared]:
    daemons = _Shared(tmp_path_factory)
    try:
        yield daemons
    finally:
        daemons.close()


@pytest.fixture
def daemon(shared: _Shared) -> Daemon:
    """A daemon with a page; a test lets it serve a pipeline of its own."""
    return shared.get()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that a test may end, with one node."""
    root = tmp_path / "project"
    (root / "pipelines").mkdir(parents=True)
    (root / "devserver.toml").write_text("[pipelines.first]\n")
    (root / "pipelines" / "first.py").write_text("def one() -> int:\n    return 1\n")
    with running(root, environment={"HAMILTON_AUTOLOAD_EXTENSIONS": "0"}) as daemon:
        daemon.sync()
        yield daemon
