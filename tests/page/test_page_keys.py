"""All of it with nothing but a keyboard."""

from __future__ import annotations

from browsing import Open
from playwright.sync_api import Page, expect
from real_daemon import Daemon

DIAMOND = """
def top() -> int:
    return 1

def left(top: int) -> int:
    return top + 1

def right(top: int) -> int:
    return top + 2

def bottom(left: int, right: int) -> int:
    return left + right
"""


def focused(page: Page) -> str:
    return page.evaluate(
        """() => {
            const at = document.activeElement;
            return at.dataset.node ?? (at.id || at.textContent);
        }"""
    )


def test_a_walk_along_the_edges(daemon: Daemon, open_page: Open) -> None:
    daemon.serve("diamond", DIAMOND)
    tab = open_page(daemon)
    page, press = tab.page, tab.page.keyboard.press
    expect(tab.node("bottom")).to_be_visible()
    press("g")
    press("Home")
    assert focused(page) == "top"
    boxes = [tab.node(name).bounding_box() for name in ("left", "right")]
    assert boxes[0]
    assert boxes[1]
    is_down = boxes[0]["y"] == boxes[1]["y"]
    forward, back = ("ArrowDown", "ArrowUp") if is_down else ("ArrowRight", "ArrowLeft")
    beside = ("ArrowLeft", "ArrowRight") if is_down else ("ArrowUp", "ArrowDown")
    press(forward)
    first = focused(page)
    assert first in ("left", "right")
    for key in beside:
        press(key)
    others = {first, focused(page)}
    press(beside[0])
    others.add(focused(page))
    assert others == {"left", "right"}
    press(forward)
    assert focused(page) == "bottom"
    press(back)
    assert focused(page) in ("left", "right")
    press(back)
    assert focused(page) == "top"
    press("Enter")
    expect(page.locator("#detail h2")).to_have_text("top")
    assert focused(page) == "top", "who walks on goes on walking"
    press(forward)
    press("Enter")
    expect(page.locator("#detail h2")).to_have_text(focused(page))
    press("Escape")
    expect(page.locator("#detail")).to_be_hidden()


def test_everything_has_its_key_and_can_be_tabbed_to(daemon: Daemon, open_page: Open) -> None:
    daemon.serve("diamond", DIAMOND)
    tab = open_page(daemon)
    page, press = tab.page, tab.page.keyboard.press
    expect(tab.node("bottom")).to_be_visible()
    press("?")
    expect(page.locator("#help")).to_be_visible()
    press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    press("/")
    assert focused(page) == "search"
    page.keyboard.type("bot")
    press("Enter")
    expect(page.locator("#detail h2")).to_have_text("bottom")
    press("Escape")
    press("3")
    expect(page.locator("#nodes")).to_be_visible()
    press("ArrowLeft")
    expect(page.locator("#problems")).to_be_visible()
    press("1")
    press("r")
    expect(page.locator(".latest .card")).to_contain_text("4 nodes ran")
    reached = set()
    for _ in range(40):
        press("Tab")
        reached.add(focused(page))
        outlined = page.evaluate(
            """() => {
                const at = document.activeElement;
                if (at === document.body || at.matches(".view, section")) return true;
                const own = getComputedStyle(at);
                const box = at.querySelector("rect") && getComputedStyle(at.querySelector("rect"));
                return own.outlineStyle !== "none" || (box && parseFloat(box.strokeWidth) >= 3);
            }"""
        )
        assert outlined, f"one does not see that the focus is at {focused(page)!r}"
    assert {
        "search",
        "rerun",
        "clean",
        "help-open",
        "zoom-in",
        "zoom-fit",
        "tab-changes",
    } <= reached
