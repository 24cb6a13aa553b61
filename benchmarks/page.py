"""From a save to its value painted in an open page, and what page and terminal cost at the socket.

    python -m benchmarks.page --rounds 40 --json figures.json

Two copies of a pandas project are saved in turns. One has a subscriber at its socket and nothing
else; the other one has a terminal too, which is read, and the live page open in a real Chromium.

- socket: from just before the write to `node.finished` with the new value, at the socket.
- page: from the same moment until the browser has painted the frame that shows it.
- alone: the same as socket, of the project that has neither page nor terminal.

Values are checked, in the page as well. Needs Playwright and Debian's `chromium`.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.arguments import read_arguments
from benchmarks.daemon import START_LIMIT_S, Subscriber, connected, serving
from benchmarks.figures import pairwise, summary, table
from benchmarks.processes import (
    Deadline,
    Refusal,
    beside_python,
    measuring,
    running,
    watched_terminal,
    write_json,
)
from benchmarks.project import NODE, MeasuredProject

PAGE_LIMIT = 3.0
SLOWER_LIMIT = 1.1
_ROUND_LIMIT_S = 60.0
_CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The page marks each frame that shows something new once it has been painted, and keeps the last
# mark only, while events come faster than frames.
_OBSERVE = """() => {
    window.paintedFrames = [];
    new PerformanceObserver((list) => {
        for (const mark of list.getEntriesByName("painted")) {
            const at = performance.timeOrigin + mark.startTime;
            window.paintedFrames.push({ seq: mark.detail.seq, at });
        }
    }).observe({ entryTypes: ["mark"] });
}"""
_PAINTED = "seq => window.paintedFrames.some((frame) => frame.seq >= seq)"
_PAINTED_AT = "seq => window.paintedFrames.find((frame) => frame.seq >= seq).at"


class Served:
    """A project with a daemon and a subscriber.

    Args:
        project: what is saved.
        subscriber: to its daemon.
    """

    def __init__(self, project: MeasuredProject, subscriber: Subscriber) -> None:
        self._project = project
        self.subscriber = subscriber

    def save(self) -> tuple[float, float, dict[str, Any]]:
        """Change the constant: when it was written and seen, in seconds, and the event."""
        deadline = Deadline(_ROUND_LIMIT_S, f"{NODE}'s new value")
        started = time.time()
        self._project.change()
        seen = None
        while True:
            event = self.subscriber.next_event(deadline, "node.finished", "run.finished")
            if event["type"] == "node.finished" and event["node"] == NODE:
                if self._project.shows_new_value(event["summary"]["text"]):
                    seen, found = time.time(), event
            elif event["type"] == "run.finished" and seen is not None:
                return started, seen, found

    def settle(self) -> None:
        """Wait until there is nothing left to do."""
        self.subscriber.call("sync", {"timeout": _ROUND_LIMIT_S}, _ROUND_LIMIT_S + 5)


class Page:
    """The live page in a browser.

    Args:
        tab: Playwright's page.
    """

    def __init__(self, tab: Any) -> None:
        self._tab = tab
        tab.evaluate(_OBSERVE)

    def painted_at(self, seq: int, shows: str) -> float:
        """When the frame was painted that shows this event, in seconds since the epoch.

        Raises:
            Refusal: it does not show the text.
        """
        self._tab.wait_for_function(_PAINTED, arg=seq, timeout=_ROUND_LIMIT_S * 1e3)
        at: float = self._tab.evaluate(_PAINTED_AT, seq) / 1e3
        self._tab.evaluate("() => { window.paintedFrames.length = 0; }")
        if shows not in " ".join(self._tab.inner_text("body").split()):
            raise Refusal(f"the page does not show {shows!r}")
        return at


@contextmanager
def served_with_all(project: MeasuredProject, log: Path) -> Iterator[tuple[Served, Page]]:
    """A project whose daemon shows what it does in a terminal and in a page.

    Raises:
        Refusal: there is no browser, or the daemon did not start.
    """
    from playwright.sync_api import sync_playwright

    if (chromium := shutil.which("chromium")) is None:
        raise Refusal("there is no chromium. Way out: apt-get install chromium")
    with ExitStack() as stack:
        terminal = stack.enter_context(watched_terminal(log))
        command = [beside_python("hamdev"), "--project", str(project.root), "watch"]
        daemon = stack.enter_context(
            running("hamdev watch", command, project.root, log, terminal=terminal)
        )
        subscriber = Subscriber(stack.enter_context(connected(project.root, daemon)), daemon)
        subscriber.call("subscribe", {}, START_LIMIT_S)
        subscriber.call("sync", {"timeout": START_LIMIT_S}, START_LIMIT_S)
        address = subscriber.call("hello", {}, START_LIMIT_S)["web"]
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=chromium, args=_CHROMIUM
        )
        stack.callback(browser.close)
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(address)
        tab.get_by_text(NODE).first.wait_for()
        yield Served(project, subscriber), Page(tab)


def measure(rounds: int) -> dict[str, list[float]]:
    """Name of the figure → its milliseconds in each round.

    Raises:
        Refusal: something did not start or did not give the right value.
    """
    samples: dict[str, list[float]] = {"socket": [], "page": [], "alone": []}
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="hamdev-benchmark-")
        folder = Path(stack.enter_context(temporary)).resolve()
        with_all, page = stack.enter_context(
            served_with_all(MeasuredProject(folder / "all", has_page=True), folder / "all.log")
        )
        bare = MeasuredProject(folder / "alone")
        _, subscriber = stack.enter_context(serving(bare.root, folder / "alone.log"))
        alone = Served(bare, subscriber)
        for number in range(-3, rounds):
            figures: dict[str, float] = {}
            for contender in (alone, with_all) if number % 2 else (with_all, alone):
                started, seen, event = contender.save()
                if contender is alone:
                    figures["alone"] = seen - started
                else:
                    painted = page.painted_at(event["seq"], event["diff"]["text"])
                    figures |= {"socket": seen - started, "page": painted - started}
                contender.settle()
            if number >= 0:  # the first ones warm up
                for name, seconds in figures.items():
                    samples[name].append(seconds * 1e3)
                shown = ", ".join(f"{name} {s * 1e3:.1f} ms" for name, s in figures.items())
                _say(f"round {number + 1} of {rounds}: {shown}")
    return samples


def report(samples: dict[str, list[float]]) -> dict[str, Any]:
    """All figures of a measurement."""
    milliseconds = {name: summary(found) for name, found in samples.items()}
    return {
        "rounds": len(samples["socket"]),
        "milliseconds": milliseconds,
        "ratios": {
            "page/socket": milliseconds["page"]["median"] / milliseconds["socket"]["median"],
            "socket/alone": milliseconds["socket"]["median"] / milliseconds["alone"]["median"],
        },
        "pairwise_ratios": {
            "page/socket": summary(pairwise(samples["page"], samples["socket"])),
            "socket/alone": summary(pairwise(samples["socket"], samples["alone"])),
        },
    }


def _missed(ratios: dict[str, dict[str, float]]) -> list[str]:
    limits = {"page/socket": PAGE_LIMIT, "socket/alone": SLOWER_LIMIT}
    return [
        f"{name} is {ratios[name]['median']:.3f}, over the limit of {limit}"
        for name, limit in limits.items()
        if ratios[name]["median"] > limit
    ]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    check = f"the page takes over {PAGE_LIMIT} times as long, or the socket over {SLOWER_LIMIT}"
    arguments = read_arguments("page", __doc__, 40, check)
    with measuring():
        figures = report(measure(arguments.rounds))
    print(f"from a save to the new value, {figures['rounds']} rounds\n")
    print(table(figures["milliseconds"], " ms", 1))
    print("\nratios within each round\n")
    print(table(figures["pairwise_ratios"], "", 3))
    print()
    print(json.dumps(figures))
    if arguments.json:
        write_json(arguments.json, figures | {"samples_ms": {}})
    if arguments.check and (missed := _missed(figures["pairwise_ratios"])):
        _say("\n".join(missed))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
