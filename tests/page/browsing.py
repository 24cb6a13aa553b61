"""The page of a daemon in a browser, and everything about it that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Request
    from real_daemon import Daemon

# The browser's resolver takes it for this computer.
OTHER_SITE = "evil.test"
# What Chromium itself says of requests while there is no daemon.
_LINK_LOST = (
    "net::ERR_CONNECTION_RE",
    "net::ERR_EMPTY_RESPONSE",
    "net::ERR_SOCKET_NOT_CONNECTED",
    "net::ERR_INCOMPLETE_CHUNKED",
    "net::ERR_INTERNET_DISCONNECTED",
)


class Tab:
    """One tab with a profile of its own.

    Args:
        browser: Chromium.
        daemon: whose page it is.
        may_lose_link: the daemon is going to end.
        options: of the browser's context.

    Attributes:
        problems: errors in the console, violations of the policy, requests to other hosts.
    """

    def __init__(
        self, browser: Browser, daemon: Daemon, may_lose_link: bool = False, **options: Any
    ) -> None:
        self.daemon = daemon
        self.problems: list[str] = []
        self._may_lose_link = may_lose_link
        self.context = browser.new_context(**options)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.address: str = daemon.ask("hello")["web"]
        self.origin = self.address.partition("/?")[0]
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._asked)

    def open(self) -> None:
        """Open the printed address, and wait until the page shows something."""
        self.page.goto(self.address)
        self.page.wait_for_selector("html[data-seq]", state="attached")

    def close(self) -> None:
        self.context.close()

    def node(self, name: str) -> Locator:
        """A node in the drawing."""
        return self.page.locator(f"#graph .node[data-node='{name}']")

    def show(self, name: str) -> Locator:
        """Open a node; the panel with all about it."""
        self.node(name).click()
        return self.page.locator("#detail")

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if self._may_lose_link and any(words in message.text for words in _LINK_LOST):
            return
        self.problems.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.origin + "/", "data:", "blob:")):
            self.problems.append(f"a request to {request.url}")


Open = Callable[..., Tab]
