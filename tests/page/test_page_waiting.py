"""The page while something takes its time: workers that do not answer, runs that go on."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from browsing import Open
from playwright.sync_api import expect
from real_daemon import Daemon, eventually

HANGING = """
import pathlib, time

class Hanging:
    def __repr__(self):
        while pathlib.Path(__file__).with_name("hang").exists():
            time.sleep(0.01)
        return "at last"

def one() -> int:
    return 1

"""
SLOW = """
import pathlib, time

def quick() -> int:
    return 1

def slow(quick: int) -> int:
    while not pathlib.Path(__file__).with_name("go").exists():
        time.sleep(0.01)
    return 2
"""
HANGS = [f"hanging_{number}" for number in range(8)]


@pytest.fixture
def hang(own: Daemon) -> Iterator[Path]:
    """While this file is there, the text of a value is not to be had."""
    source = HANGING + "\n\n".join(
        f"def {name}() -> object:\n    return Hanging()\n" for name in HANGS
    )
    own.save("first", source)
    own.sync()
    file = own.root / "pipelines" / "hang"
    file.write_text("")
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def test_values_that_do_not_come_keep_nothing_else_from_the_page(
    own: Daemon, open_page: Open, hang: Path
) -> None:
    tab = open_page(own)
    # More than a browser has connections.
    for name in HANGS:
        detail = tab.show(name)
        expect(detail.locator("h2")).to_have_text(name)
        expect(detail.locator(".part-value")).to_contain_text("The worker has not answered yet.")
    expect(detail.locator(".part-why")).to_contain_text("there is no value of it yet")
    expect(detail.locator(".part-value")).to_contain_text("'Clean' starts a new one.")
    own.write("pipelines/first.py", HANGING.replace("return 1", "return 2"))
    tab.page.keyboard.press("1")
    card = tab.page.locator(".latest .card")
    expect(card.locator(".line.added").first).to_contain_text("return 2")
    expect(card.locator(".values ins").first).to_have_text("2")
    detail = tab.show("one")
    expect(detail.locator(".part-value pre")).to_have_text("2")
    expect(detail.locator(".part-why")).to_contain_text("one changed")


def test_the_graph_is_there_while_the_first_run_goes_on(own: Daemon, open_page: Open) -> None:
    own.save("second", SLOW)
    own.configure("second")
    tab = open_page(own)
    expect(tab.node("quick")).to_have_class(re.compile("fresh"))
    expect(tab.node("slow")).to_have_class(re.compile("running"))
    own.save("second", SLOW + "\n\ndef another(slow: int) -> int:\n    return slow\n")
    expect(tab.node("another")).to_have_class(re.compile("queued"))
    tab.page.keyboard.press("x")
    expect(tab.page.locator("#state")).to_contain_text("2 nodes not up to date")
    expect(tab.node("another")).to_have_attribute("aria-label", "another: no value yet")
    expect(tab.page.get_by_role("tab", name="Problems", exact=True)).to_be_visible()
    own.write("pipelines/go", "")
    tab.page.keyboard.press("r")
    expect(tab.node("another")).to_have_class(re.compile("fresh"))


def test_a_page_whose_workers_are_gone_says_nothing_is_up_to_date(
    own: Daemon, open_page: Open
) -> None:
    tab = open_page(own)
    state = tab.page.locator("#state")
    expect(state).to_contain_text("up to date")
    with own.connect() as client:
        client.call("subscribe", since=0)
        client.await_workers(2)
    before = own.workers()
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    (new, *_) = eventually(lambda: set(own.workers()) - set(before), "a new worker")
    assert "hamdev.worker" in psutil.Process(new).cmdline()
    os.kill(new, signal.SIGSTOP)  # for as long as it takes to read the page
    try:
        expect(state).to_contain_text(re.compile("running|starting"))
    finally:
        os.kill(new, signal.SIGCONT)
    expect(tab.page.locator(".latest .card")).to_contain_text("The worker that held the values")
    expect(state).to_contain_text("up to date")
