"""What other pages, other hosts and other users' servers can do to the page, in a real browser."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from browsing import OTHER_SITE, Open, Tab
from playwright.sync_api import expect
from real_daemon import Daemon
from requesting import PageOf

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Whatever a page of somebody else may try, who even knows the secret path.
ATTACK = """async ([root, port]) => {
    const told = [];
    const body = JSON.stringify({method: "rerun", params: {}});
    const headers = {"content-type": "application/json"};
    const tries = [
        ["api", {method: "POST", credentials: "include", body, headers}],
        ["api", {method: "POST", credentials: "include", body, mode: "no-cors"}],
        ["api", {method: "POST", credentials: "include", body: new FormData(), mode: "no-cors"}],
        ["", {credentials: "include"}],
        ["events", {credentials: "include"}],
    ];
    for (const [target, options] of tries) {
        try {
            const answer = await fetch(root + target, options);
            if (answer.type !== "opaque") told.push(await answer.text());
        } catch { }
    }
    const image = (address) => new Promise((done) => {
        const element = new Image();
        element.onload = () => { told.push(`an image from ${address}`); done(); };
        element.onerror = done;
        element.src = address;
    });
    await image(root + "static/icon.svg");
    await new Promise((done) => {
        const script = document.createElement("script");
        script.onload = () => { told.push("a script"); done(); };
        script.onerror = done;
        script.src = root + "static/words.js";
        document.head.append(script);
    });
    return told;
}"""


class Site:
    """Somebody else's server on this computer; it remembers what it is sent."""

    def __init__(self, port: int = 0) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, dict(self.headers)))
                content = site.content.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.content = "<!doctype html><title>a page of somebody else</title>"
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]


@contextlib.contextmanager
def serving(port: int = 0) -> Iterator[Site]:
    site = Site(port)
    thread = threading.Thread(target=site.server.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def victim(browser: Browser, daemon: Daemon) -> Iterator[Tab]:
    """A browser that has the page open, and goes elsewhere in another tab."""
    daemon.serve("guarded", "def one() -> int:\n    return 1\n")
    tab = Tab(browser, daemon)
    tab.open()
    try:
        yield tab
    finally:
        tab.close()


@pytest.mark.parametrize("host", [OTHER_SITE, "127.0.0.1", "localhost"])
def test_another_page_neither_reads_nor_changes_anything(
    victim: Tab, daemon: Daemon, site: Site, host: str
) -> None:
    root = victim.origin + PageOf(daemon).path
    before = daemon.sync()["seq"]
    other = victim.context.new_page()
    other.goto(f"http://{host}:{site.port}/")
    assert other.evaluate(ATTACK, [root, site.port]) == []
    assert daemon.sync()["seq"] == before


@pytest.mark.parametrize("host", [OTHER_SITE, "127.0.0.1"])
def test_a_form_of_another_page_is_refused(
    victim: Tab, daemon: Daemon, site: Site, host: str
) -> None:
    root = victim.origin + PageOf(daemon).path
    before = daemon.sync()["seq"]
    other = victim.context.new_page()
    site.content = f"""<form method="post" action="{root}api" enctype="text/plain">
        <input name='{{"method":"rerun","params":{{"x":"' value='"}}}}'>
        <button>go</button></form>"""
    other.goto(f"http://{host}:{site.port}/")
    with other.expect_navigation():
        other.get_by_role("button").click()
    assert "Other pages may not talk to this one." in other.content()
    assert daemon.sync()["seq"] == before


def test_a_name_that_leads_here_is_not_answered(victim: Tab, daemon: Daemon) -> None:
    # What a page can make of its own name, once it has been loaded: DNS rebinding.
    page = PageOf(daemon)
    rebound = victim.context.new_page()
    for target in (page.path, "/proof?nonce=1", f"/?token={page.token}"):
        answer = rebound.goto(f"http://{OTHER_SITE}:{page.port}{target}")
        assert answer is not None
        assert answer.status == 421
        assert "not the host" in rebound.content()
    told = rebound.evaluate("fetch('/proof?nonce=1').then((answer) => answer.status)")
    assert told == 421


@pytest.mark.parametrize("host", [OTHER_SITE, "127.0.0.1"])
def test_the_page_cannot_be_framed(victim: Tab, daemon: Daemon, site: Site, host: str) -> None:
    page = PageOf(daemon)
    site.content = f"""<!doctype html>
        <iframe src="{victim.origin}{page.path}"></iframe>
        <iframe src="{victim.address}"></iframe>"""
    other = victim.context.new_page()
    other.goto(f"http://{host}:{site.port}/", wait_until="load")
    for frame in other.frames[1:]:
        assert "hamdev" not in frame.content().replace("hamdev status", "")
        assert frame.locator("#graph").count() == 0


def test_without_the_secrets_there_is_an_answer_that_helps(
    browser: Browser, daemon: Daemon
) -> None:
    page = PageOf(daemon)
    stranger = browser.new_page()
    for target in ("/", page.path, "/?token=wrong"):
        answer = stranger.goto(f"http://{page.host}{target}")
        assert answer is not None
        assert answer.status == 403
        expect(stranger.locator("body")).to_contain_text("hamdev status")
    stranger.close()


def test_servers_on_other_ports_never_get_the_cookie(victim: Tab, site: Site) -> None:
    # Cookies do not tell ports apart, and this server may be another user's.
    other = victim.context.new_page()
    for target in ("/", "/static/", "/hamdev/"):
        other.goto(f"http://127.0.0.1:{site.port}{target}")
    other.evaluate("fetch('/again', {credentials: 'include'})")
    assert len(site.asked) >= 4
    assert [headers.get("Cookie") for _, headers in site.asked if "Cookie" in headers] == []


def test_who_takes_the_port_of_a_dead_daemon_gets_no_secret(own: Daemon, open_page: Open) -> None:
    tab = open_page(own, may_lose_link=True)
    expect(tab.node("one")).to_be_visible()
    port = int(tab.origin.rpartition(":")[2])
    own.end()
    with serving(port) as impostor:
        banner = tab.page.locator("#banner")
        expect(banner).to_contain_text("Another process answers here now.")
        # Whatever is asked for meanwhile.
        tab.show("one")
        tab.page.keyboard.press("r")
        expect(tab.page.locator("#toast")).to_have_text("The daemon does not answer.")
        assert impostor.asked
        assert {path.partition("?")[0] for path, _ in impostor.asked} == {"/proof"}
        assert not [headers for _, headers in impostor.asked if "Cookie" in headers]


def test_the_page_leaves_no_secret_in_its_address(daemon: Daemon, open_page: Open) -> None:
    tab = open_page(daemon)
    assert "token" not in tab.page.url
    assert tab.page.evaluate("document.cookie") == ""
    assert (
        tab.page.evaluate("Object.keys(localStorage).length + Object.keys(sessionStorage).length")
        == 0
    )


def test_nothing_in_the_page_can_make_markup_of_text(daemon: Daemon, open_page: Open) -> None:
    tab = open_page(daemon)
    with tab.page.expect_console_message() as said:
        refused = tab.page.evaluate(
            """() => {
                try { document.body.innerHTML = "<p>x</p>"; return false; } catch { return true; }
            }"""
        )
    assert refused
    tab.problems.remove(said.value.text)
