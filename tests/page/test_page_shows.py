"""What the page shows of saves, values and problems."""

from __future__ import annotations

import re

from browsing import Open
from playwright.sync_api import expect
from real_daemon import Daemon

DISCOUNT = """\
def price() -> float:
    return 41.2


def unrelated() -> int:
    return 5


def total(price: float) -> float:
    \"\"\"What there is to pay.\"\"\"
    return price * 10
"""

EDITS_ARE_KNOWN = """() => fetch("api", {
    method: "POST",
    headers: {"content-type": "application/json"},
    body: JSON.stringify({method: "edits", params: {revision: 0}}),
}).then((answer) => answer.text())"""


def test_a_save_shows_its_line_the_new_value_and_the_difference(
    daemon: Daemon, open_page: Open
) -> None:
    daemon.serve("paying", DISCOUNT)
    tab = open_page(daemon)
    tab.page.evaluate(EDITS_ARE_KNOWN)
    expect(tab.node("total")).to_have_attribute("aria-label", re.compile("412"))
    daemon.save("paying", DISCOUNT.replace("41.2", "43.0"))
    card = tab.page.locator(".latest .card")
    expect(card.locator("h2")).to_have_text("paying.py changed")
    expect(card.locator(".line.removed")).to_contain_text("return 41.2")
    expect(card.locator(".line.added")).to_contain_text("return 43.0")
    expect(card.locator("figcaption")).to_contain_text("pipelines/paying.py:2")
    expect(card.locator(".values li", has_text="total").locator("del")).to_have_text("412")
    expect(card.locator(".values li", has_text="total").locator("ins")).to_have_text("430")
    expect(card).to_contain_text("2 nodes ran · 1 reused")
    expect(tab.node("total")).to_have_class(re.compile("fresh changed ran"))
    expect(tab.node("price")).to_have_class(re.compile("root"))
    expect(tab.node("price").locator(".badge")).to_contain_text("paying.py:2")
    expect(tab.node("unrelated")).not_to_have_class(re.compile("changed|ran"))
    detail = tab.show("total")
    expect(detail.locator(".part-value pre")).to_have_text("430.0")
    expect(detail.locator(".part-change")).to_contain_text("412")
    expect(detail).to_contain_text("What there is to pay.")
    expect(detail.locator(".part-why")).to_contain_text("price")
    expect(detail.locator(".part-source code").last).to_have_text("    return price * 10")


def test_a_page_that_is_opened_later_shows_the_last_save(daemon: Daemon, open_page: Open) -> None:
    daemon.serve("later", DISCOUNT)
    # The answer comes when the daemon has looked at the text that is about to change.
    open_page(daemon).page.evaluate(EDITS_ARE_KNOWN)
    daemon.save("later", DISCOUNT.replace("41.2", "40.0"))
    daemon.sync()
    card = open_page(daemon).page.locator(".latest .card")
    expect(card.locator(".line.added")).to_contain_text("return 40.0")
    expect(card.locator(".values li", has_text="total").locator("ins")).to_have_text("400")


def test_a_comment_changes_no_value_and_says_so(daemon: Daemon, open_page: Open) -> None:
    daemon.serve("quietly", DISCOUNT)
    tab = open_page(daemon)
    tab.page.evaluate(EDITS_ARE_KNOWN)
    daemon.save("quietly", DISCOUNT.replace("5\n", "5  # more or less\n"))
    card = tab.page.locator(".latest .card")
    expect(card.locator(".line.added")).to_contain_text("more or less")
    expect(card).to_contain_text("No value changed.")
    expect(card).to_contain_text("No node ran, 3 reused.")


def test_a_broken_module_is_a_problem_and_old_values_are_not_shown_as_current(
    daemon: Daemon, open_page: Open
) -> None:
    daemon.serve("breaking", DISCOUNT)
    tab = open_page(daemon)
    daemon.save("breaking", DISCOUNT.replace("price * 10", "(price * 10"))
    expect(tab.page.locator("#state")).to_contain_text("1 problem")
    expect(tab.node("total")).to_have_class(re.compile("stale"))
    tab.page.keyboard.press("2")
    problems = tab.page.locator("#problems")
    expect(problems).to_contain_text("was never closed")
    expect(problems).to_contain_text("pipelines/breaking.py:11")
    detail = tab.show("total")
    expect(detail).to_contain_text("it is not current")
    daemon.save("breaking", DISCOUNT)
    expect(tab.page.locator("#state")).to_contain_text("up to date")
    expect(tab.node("total")).to_have_class(re.compile("fresh"))
    expect(detail).not_to_contain_text("it is not current")


def test_a_node_that_raises_shows_its_line_and_blocks_what_needs_it(
    daemon: Daemon, open_page: Open
) -> None:
    daemon.serve("raising", DISCOUNT)
    tab = open_page(daemon)
    daemon.save("raising", DISCOUNT.replace("return 41.2", "print('so far')\n    return 1 / 0"))
    expect(tab.node("price")).to_have_class(re.compile("failed"))
    expect(tab.node("total")).to_have_class(re.compile("blocked"))
    tab.page.keyboard.press("2")
    problem = tab.page.locator("#problems .card")
    expect(problem).to_contain_text("division by zero")
    expect(problem.locator(".line.marked")).to_contain_text("return 1 / 0")
    detail = tab.show("price")
    expect(detail.locator(".part-problem")).to_contain_text("ZeroDivisionError")
    expect(detail.locator(".part-output")).to_contain_text("so far")
    expect(tab.show("total").locator(".part-problem")).to_contain_text("price")


def test_markup_in_a_value_stays_text(daemon: Daemon, open_page: Open) -> None:
    attack = "<script>document.title=`owned`</script><img src=x onerror=document.title=`owned`>"
    daemon.serve(
        "markup",
        f'''
        def attack() -> str:
            """{attack}"""
            return {attack!r}

        def table() -> dict:
            print({attack!r})
            return {{{attack!r}: [{attack!r}]}}

        def failing(attack: str) -> int:
            raise ValueError(attack)
        ''',
    )
    tab = open_page(daemon)
    for name in ("attack", "table", "failing"):
        detail = tab.show(name)
        expect(detail).to_contain_text(attack)
    tab.page.keyboard.press("2")
    expect(tab.page.locator("#problems")).to_contain_text("<script>")
    changed = attack.replace("owned", "owned-again")
    daemon.save("markup", f"def attack() -> str:\n    return {changed!r}\n")
    tab.page.keyboard.press("1")
    expect(tab.page.locator(".latest")).to_contain_text("owned-again")
    assert tab.page.locator("main script, main img").count() == 0
    assert "owned" not in tab.page.title()


def test_rerun_cancel_and_a_run_in_progress(daemon: Daemon, open_page: Open) -> None:
    daemon.serve(
        "slowly",
        """
        import pathlib, time

        def slow() -> int:
            while not pathlib.Path(__file__).with_name("go").exists():
                time.sleep(0.01)
            return 1
        """.replace("def slow", "def quick() -> int:\n            return 1\n\n        def slow"),
        settings="final_vars = ['quick']",
    )
    tab = open_page(daemon)
    tab.show("quick").get_by_role("button", name="Rerun node").click()
    expect(tab.page.locator("#detail .part-why")).to_contain_text("asked for")
    tab.page.keyboard.press("Escape")
    daemon.configure(slowly="final_vars = ['slow']")
    expect(tab.page.locator("#state")).to_contain_text("running")
    expect(tab.node("slow")).to_have_class(re.compile("running"))
    tab.page.get_by_role("button", name="Cancel").click()
    expect(tab.page.locator(".latest .card")).to_contain_text("cancelled")
    expect(tab.node("slow")).to_have_class(re.compile("stale"))


def test_several_pipelines_are_told_apart(daemon: Daemon, open_page: Open) -> None:
    daemon.save("left", "def on_the_left() -> int:\n    return 1\n")
    daemon.save("right", "def on_the_right() -> int:\n    return 2\n")
    daemon.configure("left", "right")
    daemon.sync()
    tab = open_page(daemon)
    expect(tab.node("on_the_left")).to_be_visible()
    tab.page.get_by_label("pipeline").select_option("right")
    expect(tab.node("on_the_right")).to_be_visible()
    assert tab.node("on_the_left").count() == 0
    daemon.save("right", "def on_the_right() -> int:\n    return 3\n")
    expect(tab.page.locator(".latest .values ins")).to_have_text("3")


def test_a_graph_of_another_structure_is_drawn_anew(daemon: Daemon, open_page: Open) -> None:
    daemon.serve("growing", DISCOUNT)
    tab = open_page(daemon)
    daemon.save(
        "growing", DISCOUNT + "\n\ndef half(total: float) -> float:\n    return total / 2\n"
    )
    expect(tab.node("half")).to_have_attribute("aria-label", re.compile("206"))
    daemon.save("growing", DISCOUNT)
    expect(tab.node("half")).to_have_count(0)
    expect(tab.node("total")).to_be_visible()


def test_a_picture_is_shown_as_one(daemon: Daemon, open_page: Open) -> None:
    daemon.serve(
        "drawing",
        """
        from matplotlib.figure import Figure

        def plot() -> Figure:
            figure = Figure(figsize=(3, 2))
            figure.subplots().plot([1, 3, 2])
            return figure
        """,
    )
    tab = open_page(daemon)
    tab.show("plot")
    query = "picture?node=plot&pipeline=drawing"
    size = tab.page.evaluate(
        """async (query) => {
            const response = await fetch(query);
            const image = await createImageBitmap(await response.blob());
            return [response.headers.get("content-type"), image.width > 200];
        }""",
        query,
    )
    assert size == ["image/png", True]
