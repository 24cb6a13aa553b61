"""Photographs the live page after the README's edit: `page-light.png` and `page-dark.png`.

    python docs/pictures/photograph_page.py

It needs Playwright and Debian's `chromium`, and works on a copy of the sample project.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from hamdev.clients.client import Client, connect
from hamdev.errors import NoDaemonError

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parent.parent
SIZE = {"width": 1280, "height": 760}
MAX_BYTES = 300 * 1024
BEFORE, AFTER = "precipitation >= wet_day_mm", "precipitation > wet_day_mm"
LIMIT_S = 60.0
_CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", "--no-first-run"]


@contextmanager
def watched(project: Path) -> Iterator[Client]:
    """A client of a daemon that watches a copy of the sample in `project`."""
    shutil.copytree(SAMPLE / "pipelines", project / "pipelines")
    shutil.copy(SAMPLE / "devserver.toml", project)
    command = [str(Path(sys.executable).with_name("hamdev")), "--project", str(project), "watch"]
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with _connected(project) as client:
            yield client
    finally:
        daemon.terminate()
        daemon.wait(LIMIT_S)


def _connected(project: Path) -> Client:
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            return connect(project)
        except NoDaemonError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def photograph(browser: Browser, address: str, scheme: str) -> Path:
    """The page as it looks now, in the light or in the dark."""
    page = browser.new_page(viewport=SIZE, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector("#graph .node.root .badge")
    page.wait_for_selector(".latest .line.added")
    page.mouse.move(0, SIZE["height"])
    file = HERE / f"page-{scheme}.png"
    page.screenshot(path=file, animations="disabled")
    page.close()
    if file.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{file.name} has more than {MAX_BYTES:,} bytes")
    return file


def main() -> None:
    """Edit a copy of the sample, and take both pictures."""
    with (
        tempfile.TemporaryDirectory(prefix="hamdev-") as temporary,
        sync_playwright() as playwright,
    ):
        os.environ["HAMDEV_SOCKET"] = f"{temporary}/s"
        project = Path(temporary, "seattle-weather")
        project.mkdir()
        with watched(project) as client:
            client.sync(timeout=LIMIT_S)
            file = project / "pipelines" / "setup.py"
            text = file.read_text(encoding="utf-8")
            assert BEFORE in text
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=_CHROMIUM
            )
            address = client.daemon["web"]
            file.write_text(text.replace(BEFORE, AFTER), encoding="utf-8")
            client.sync(timeout=LIMIT_S)
            for scheme in ("light", "dark"):
                print(photograph(browser, address, scheme))
            browser.close()


if __name__ == "__main__":
    main()
