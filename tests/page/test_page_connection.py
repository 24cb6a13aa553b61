"""The page and its daemon: gone, back, stopped, overtaken."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest
from browsing import Open
from hatchling.builders.wheel import WheelBuilder
from playwright.sync_api import expect
from real_daemon import LIMIT_S, Daemon, eventually


def start_again(daemon: Daemon) -> None:
    with daemon.log.open("ab") as log:
        daemon.process = subprocess.Popen(
            daemon.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=daemon.environment,
            start_new_session=True,
        )
    daemon.connect()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_an_open_page_is_there_again_with_the_daemon(
    own: Daemon, open_page: Open, ending: signal.Signals
) -> None:
    tab = open_page(own, may_lose_link=True)
    expect(tab.node("one")).to_have_attribute("aria-label", re.compile("1"))
    own.end(ending)
    banner = tab.page.locator("#banner")
    expect(banner).to_contain_text("Not connected since")
    expect(banner).to_contain_text("This shows revision 1, which may be old.")
    # Nobody looks while it is saved.
    own.save("first", "def one() -> int:\n    return 7\n")
    if ending == signal.SIGKILL:
        eventually(lambda: not own.processes(), "the end of its workers")
    start_again(own)
    expect(banner).to_be_hidden()
    expect(tab.node("one")).to_have_attribute("aria-label", re.compile("7"))
    own.save("first", "def one() -> int:\n    return 8\n")
    expect(tab.page.locator(".latest .values ins")).to_have_text("8")


def test_a_daemon_that_does_not_answer_is_noticed(own: Daemon, open_page: Open) -> None:
    tab = open_page(own, may_lose_link=True)
    tab.page.evaluate("window.asked = 0")
    own.process.send_signal(signal.SIGSTOP)
    try:
        expect(tab.page.locator("#banner")).to_contain_text("does not answer", timeout=60_000)
    finally:
        own.process.send_signal(signal.SIGCONT)
    expect(tab.page.locator("#banner")).to_be_hidden()
    own.save("first", "def one() -> int:\n    return 3\n")
    expect(tab.page.locator(".latest .values ins")).to_have_text("3")


def test_what_happens_while_the_link_is_down_is_not_missed(own: Daemon, open_page: Open) -> None:
    tab = open_page(own, may_lose_link=True)
    expect(tab.node("one")).to_be_visible()
    # The browser itself drops the stream; the daemon goes on.
    tab.context.set_offline(True)
    own.save("first", "def one() -> int:\n    return 2\n")
    own.sync()
    own.save("first", "def one() -> int:\n    return 3\n")
    own.sync()
    tab.context.set_offline(False)
    tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(tab.page.locator(".latest .values ins")).to_have_text("3")
    expect(tab.page.locator(".earlier li").first).to_contain_text("1 → 2")


def test_the_moment_of_painting_is_marked(own: Daemon, open_page: Open) -> None:
    tab = open_page(own)
    tab.page.evaluate(
        """() => {
            window.painted = [];
            const take = (list) => painted.push(...list.getEntries().map((e) => e.detail));
            new PerformanceObserver(take).observe({type: "mark"});
        }"""
    )
    own.save("first", "def one() -> int:\n    return 2\n")
    tab.page.wait_for_selector("html[data-revision='2']", state="attached")
    expect(tab.page.locator(".latest .card")).to_contain_text("1 node ran")

    def last() -> dict[str, int]:
        return tab.page.evaluate("window.painted.at(-1)")

    eventually(lambda: last()["seq"] == own.ask("hello")["seq"], "all events are painted")
    assert last()["revision"] == 2


def test_a_daemon_with_pages_open_ends_at_once_and_leaves_nothing(
    own: Daemon, open_page: Open
) -> None:
    open_page(own, may_lose_link=True)
    open_page(own, may_lose_link=True)
    assert own.end() == 0
    assert own.leftovers() == []
    assert "Traceback" not in own.log_text()


def test_the_wheel_has_the_page(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
    (built,) = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    listed = subprocess.run(
        ["python3", "-m", "zipfile", "-l", built], capture_output=True, text=True, timeout=LIMIT_S
    ).stdout
    for file in (root / "src/hamdev/daemon/web/static").iterdir():
        assert f"hamdev/daemon/web/static/{file.name}" in listed
