"""What the page says where there is little to show."""

from __future__ import annotations

import re

from browsing import Open
from playwright.sync_api import expect
from real_daemon import Daemon
from test_page_shows import EDITS_ARE_KNOWN

PARTLY = """
def needed(given: int) -> int:
    return given

def half() -> int:
    return 1

def blocked(half: int, absent: int) -> int:
    return half + absent

def nothing(needed: int) -> str:
    return ""
"""


def test_nodes_that_lack_an_input_and_inputs_say_so(daemon: Daemon, open_page: Open) -> None:
    daemon.serve("partly", PARTLY, "inputs = {given = 1}")
    tab = open_page(daemon)
    words = "not computed, since an input is missing"
    expect(tab.node("half")).to_have_attribute("aria-label", f"half: {words}")
    detail = tab.show("half")
    expect(detail.locator(".stand")).to_have_text(words)
    expect(detail.locator(".part-source")).to_contain_text("return 1")
    expect(detail).not_to_contain_text("there is no node")
    expect(detail.get_by_role("button", name="Rerun node")).to_have_count(0)
    detail = tab.show("given")
    expect(detail.locator(".stand")).to_have_text("input, given from outside")
    expect(detail).to_contain_text("Is taken by needed")
    expect(detail).not_to_contain_text("there is no node")
    expect(tab.show("nothing").locator(".part-value")).to_contain_text("The text is empty.")
    detail = tab.show("blocked")
    expect(detail.locator(".stand")).to_have_text("something it needs failed or is missing")
    expect(detail.locator(".part-problem")).to_contain_text("absent")
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("hal")
    expect(tab.page.get_by_role("option")).to_have_text("half")


def test_a_node_that_is_deleted_is_no_input(daemon: Daemon, open_page: Open) -> None:
    source = "def one() -> int:\n    return 1\n\n\ndef two(one: int) -> int:\n    return one\n"
    daemon.serve("shrinking", source)
    tab = open_page(daemon)
    detail = tab.show("two")
    expect(detail.locator(".part-value pre")).to_have_text("1")
    daemon.save("shrinking", source.partition("\n\n\n")[0] + "\n")
    expect(detail.locator(".stand")).to_have_text("There is no such node any more.")
    expect(detail.locator(".part-value")).to_be_hidden()
    expect(detail.locator(".part-source")).to_be_empty()


def test_a_module_that_was_never_whole_leaves_no_empty_page(
    daemon: Daemon, open_page: Open
) -> None:
    daemon.serve("never_whole", "def one( -> int:\n")
    tab = open_page(daemon)
    empty = tab.page.locator("#dag-empty")
    expect(empty).to_have_text("The DAG is shown as soon as the modules have been loaded.")
    daemon.save("never_whole", "def one() -> int:\n    return 1\n")
    expect(tab.node("one")).to_have_class(re.compile("fresh"))
    expect(empty).to_have_text("")


def test_a_pipeline_that_is_served_no_longer_is_shown_no_longer(
    daemon: Daemon, open_page: Open
) -> None:
    daemon.save("staying", "def here() -> int:\n    return 1\n")
    daemon.save("going", "def there() -> int:\n    return 2\n")
    daemon.configure("going", "staying")
    daemon.sync()
    tab = open_page(daemon)
    detail = tab.show("there")
    daemon.configure("staying")
    expect(detail).to_be_hidden()
    expect(tab.node("here")).to_be_visible()
    expect(tab.node("there")).to_have_count(0)


def test_what_a_blocked_node_waits_for_is_no_reason_why_it_ran(
    daemon: Daemon, open_page: Open
) -> None:
    daemon.serve(
        "blocking",
        """
        def failing() -> int:
            raise ValueError("a_word_as_long_as_no_line_is_" * 20)

        def blocked(failing: int) -> int:
            return failing
        """,
    )
    tab = open_page(daemon)
    card = tab.page.locator(".latest .card")
    expect(card).to_contain_text("a_word_as_long_as_no_line_is_")
    assert tab.page.locator("#changes").evaluate("at => at.scrollWidth <= at.clientWidth")
    expect(tab.show("blocked").locator(".part-why h3")).to_have_text("Why it has to run")
    expect(tab.show("failing").locator(".part-why h3")).to_have_text("Why it ran")


def test_a_node_that_runs_since_it_had_failed_is_not_told_as_edited(
    daemon: Daemon, open_page: Open
) -> None:
    source = """\
def one() -> int:
    return 1


def failing(one: int) -> int:
    return 1 // 0
"""
    daemon.serve("failing_still", source)
    tab = open_page(daemon)
    tab.page.evaluate(EDITS_ARE_KNOWN)
    expect(tab.node("failing")).to_have_class(re.compile("failed"))
    daemon.save("failing_still", source.replace("return 1\n", "return 2\n"))
    card = tab.page.locator(".latest .card")
    expect(card.locator(".line.added")).to_contain_text("return 2")
    expect(card.locator("figcaption")).to_have_text("pipelines/failing_still.py:2 one")
    expect(tab.node("one").locator(".badge")).to_contain_text("failing_still.py:2")
    expect(tab.node("failing").locator(".badge")).to_have_count(0)
    # Mended, it has a line again.
    daemon.save("failing_still", source.replace("1 // 0", "1"))
    expect(tab.node("failing").locator(".badge")).to_contain_text("failing_still.py:6")


def test_broken_settings_are_a_problem_until_they_are_mended(
    daemon: Daemon, open_page: Open
) -> None:
    daemon.serve("settled", "def one() -> int:\n    return 1\n")
    tab = open_page(daemon)
    state = tab.page.locator("#state")
    expect(state).to_contain_text("up to date")
    daemon.configure(settled="finalvars = []")
    expect(state).to_contain_text("1 problem")
    tab.page.keyboard.press("2")
    expect(tab.page.locator("#problems")).to_contain_text("unknown key")
    daemon.configure("settled")
    expect(state).to_contain_text("up to date")
    expect(tab.page.locator("#problems")).to_have_text("Nothing is wrong.")


def test_values_that_are_computed_anew_have_not_changed_for_that(
    daemon: Daemon, open_page: Open
) -> None:
    daemon.serve("anew", "def one() -> int:\n    return 1\n")
    tab = open_page(daemon)
    expect(tab.node("one")).to_have_class(re.compile("fresh"))
    tab.page.keyboard.press("c")
    card = tab.page.locator(".latest .card")
    expect(card).to_contain_text("Asked for")
    expect(card).to_contain_text("1 node ran")
    expect(card).not_to_contain_text("changed")
    expect(tab.node("one")).not_to_have_class(re.compile("changed"))


def test_no_button_lies_above_a_node_when_all_are_shown(daemon: Daemon, open_page: Open) -> None:
    nodes = [f"def node_{number}() -> int:\n    return {number}\n" for number in range(14)]
    daemon.serve("filling", "\n\n".join([*nodes, "def last(node_0: int) -> int:\n    return 1\n"]))
    tab = open_page(daemon)
    expect(tab.node("last")).to_be_visible()
    covered = tab.page.evaluate(
        """() => {
            const boxes = (at) =>
                [...document.querySelectorAll(at)].map((found) => found.getBoundingClientRect());
            const over = boxes(".zoom, .legend");
            const covers = (a, b) =>
                a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
            return boxes("#graph .node").filter((a) => over.some((b) => covers(a, b))).length;
        }"""
    )
    assert covered == 0
