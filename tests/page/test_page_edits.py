"""Which lines the page says that a save has changed: those that lead to the values beside them."""

from __future__ import annotations

import json
from typing import Any

from real_daemon import Daemon
from requesting import PageOf

TEXT = "X = {}\n\n\ndef value() -> int:\n    return X\n"


def lines_of(page: PageOf, revision: int) -> list[tuple[list[str], list[str]]]:
    """The lines that a revision has replaced, and by what."""
    asked = {"method": "edits", "params": {"revision": revision}}
    files = page.api("edits", json.dumps(asked).encode()).json()["result"]["files"] or []
    return [(hunk["before"], hunk["after"]) for file in files for hunk in file["hunks"]]


def the_line(before: Any, after: Any) -> list[tuple[list[str], list[str]]]:
    return [([f"X = {before}"], [f"X = {after}"])]


def test_the_line_of_a_save(daemon: Daemon) -> None:
    daemon.serve("quick", TEXT.format(0))
    page = PageOf(daemon)
    for number in (1, 2, 3):
        daemon.save("quick", TEXT.format(number))
        revision = daemon.pipeline("quick")["revision"]
        assert lines_of(page, revision) == the_line(number - 1, number)


def test_a_file_that_did_not_count_for_a_while(daemon: Daemon) -> None:
    daemon.serve("absent", TEXT.format(0))
    daemon.serve("quick", TEXT.format(0))
    daemon.serve("absent", TEXT.format(1))
    page = PageOf(daemon)
    daemon.save("absent", TEXT.format(2))
    revision = daemon.pipeline("absent")["revision"]
    assert lines_of(page, revision) == the_line(1, 2)


def test_saves_in_quick_succession(daemon: Daemon) -> None:
    daemon.serve("quick", TEXT.format(0))
    page, client = PageOf(daemon), daemon.subscriber()
    events: list[dict[str, Any]] = []
    for number in range(1, 60):
        daemon.save("quick", TEXT.format(number))
        events += client.until("files.changed")
    daemon.sync()
    client.call("ping")
    served = value = 0
    for event in [*events, *client.events]:
        if event["type"] == "node.finished":
            value = int(event["summary"]["text"])
        elif event["type"] == "run.finished" and event["outcome"] == "ok":
            # Rather no line than one that does not lead from the value before to this one.
            assert lines_of(page, event["revision"]) in ([], the_line(served, value))
            served = value
    assert served == number
    daemon.save("quick", TEXT.format("-1"))
    revision = daemon.pipeline("quick")["revision"]
    assert lines_of(page, revision) == the_line(number, -1)
