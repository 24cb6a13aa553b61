"""Many nodes, many rows, small screens."""

from __future__ import annotations

import random
import re

import pytest
from browsing import Open
from playwright.sync_api import expect
from real_daemon import Daemon

NODES = 1000


def many(start: int) -> str:
    chance = random.Random(7)
    names = ["start"]
    lines = [f"def start() -> int:\n    return {start}\n"]
    for number in range(NODES - 1):
        inputs = sorted({chance.choice(names[-60:]) for _ in range(chance.choice((1, 1, 2, 3)))})
        names.append(f"node_{number:04d}")
        parameters = ", ".join(f"{name}: int" for name in inputs)
        lines.append(f"def {names[-1]}({parameters}) -> int:\n    return {' + '.join(inputs)}\n")
    return "\n\n".join(lines)


@pytest.mark.timeout(180)
def test_a_thousand_nodes(daemon: Daemon, open_page: Open) -> None:
    daemon.serve("many", many(1))
    tab = open_page(daemon)
    expect(tab.page.locator("#graph .node.fresh")).to_have_count(NODES)
    tab.page.evaluate("window.untouched = document.querySelector('#graph .node')")
    daemon.save("many", many(2))
    expect(tab.page.locator("#graph .node.changed")).to_have_count(NODES)
    expect(tab.page.locator(".latest")).to_contain_text("1,000 values changed")
    assert tab.page.evaluate("window.untouched.isConnected"), "drawn anew, with the same structure"
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("0777")
    expect(tab.page.locator("#graph .node.match")).to_have_count(1)
    tab.page.keyboard.press("Enter")
    detail = tab.page.locator("#detail")
    expect(detail.locator("h2")).to_have_text("node_0777")
    value = daemon.value("node_0777")
    expect(detail.locator(".part-value pre")).to_have_text(str(value))
    # A snapshot of so many nodes leaves differences out, and the page asks for those it shows.
    tab.page.reload()
    expect(tab.page.locator("#graph .node.fresh")).to_have_count(NODES)
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("0777")
    tab.page.keyboard.press("Enter")
    expect(detail.locator(".part-change ins")).to_have_text(f"{value:,}")


MILLION = """
import pandas as pd

def long_table() -> pd.DataFrame:
    return pd.DataFrame({"square": [n * n for n in range(1_000_000)]})
"""


def test_a_million_rows_are_paged(daemon: Daemon, open_page: Open) -> None:
    daemon.serve("long", MILLION)
    tab = open_page(daemon)
    sizes: list[int] = []
    tab.page.on("response", lambda r: sizes.append(len(r.body())) if "/api" in r.url else None)
    detail = tab.show("long_table")
    expect(detail.locator("tbody tr")).to_have_count(100)
    expect(detail.locator(".where")).to_have_text("0 – 99 of 1,000,000 rows")
    detail.get_by_role("button", name="Next rows").click()
    expect(detail.locator(".where")).to_have_text("100 – 199 of 1,000,000 rows")
    expect(detail.locator("tbody tr").first).to_contain_text("10000")
    detail.get_by_role("button", name="Last rows").click()
    expect(detail.locator("tbody tr").last).to_contain_text(str(999_999**2))
    expect(detail.get_by_role("button", name="Next rows")).to_be_disabled()
    detail.get_by_label("Go to row").fill("123456")
    detail.get_by_label("Go to row").press("Enter")
    expect(detail.locator(".where")).to_have_text("123,400 – 123,499 of 1,000,000 rows")
    assert sizes
    assert max(sizes) < 64 * 1024


def test_four_hundred_pixels_are_enough(daemon: Daemon, open_page: Open) -> None:
    daemon.serve(
        "narrow",
        """
        def a_name_that_is_quite_long_for_a_small_screen() -> dict:
            return {"key": ["a long text without any space".replace(" ", "_") * 9] * 9}

        def other(a_name_that_is_quite_long_for_a_small_screen: dict) -> int:
            return len(a_name_that_is_quite_long_for_a_small_screen)
        """,
    )
    tab = open_page(daemon, viewport={"width": 400, "height": 700})
    page = tab.page

    def fits() -> bool:
        return page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    assert fits()
    page.get_by_role("tab", name="Nodes").click()
    expect(page.locator("#nodes li")).to_have_count(2)
    assert fits()
    page.locator("#nodes button").first.click()
    expect(page.locator("#detail h2")).to_have_text("a_name_that_is_quite_long_for_a_small_screen")
    expect(page.locator("#detail .part-value pre")).to_contain_text("a_long_text")
    assert fits()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("tab", name="Graph").click()
    expect(tab.node("other")).to_be_visible()
    assert fits()
    page.get_by_role("tab", name="Problems").click()
    expect(page.locator("#problems")).to_have_text("Nothing is wrong.")
    expect(page.locator("#dag")).to_be_hidden()
    assert fits()


def test_light_and_dark_follow_the_system(daemon: Daemon, open_page: Open) -> None:
    daemon.serve("colours", "def one() -> int:\n    return 1\n")

    def brightness(scheme: str) -> int:
        tab = open_page(daemon, color_scheme=scheme)
        colour = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    assert brightness("dark") < 150 < 600 < brightness("light")
