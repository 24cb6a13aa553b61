"""Plays saves against a daemon, and counts what was lost, torn and for nothing."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from real_daemon import Client, Daemon, running
from save_patterns import NODE, Pattern, Place, text_of

PIPELINE = "saved"
NO_EVENTS = "HAMDEV_NO_FILE_EVENTS"
# The first is prompt by its events alone, the second by its sweep alone.
_TYPES = ("node.finished", "run.finished", "load.failed", "node.failed")
WAYS = {"events": ("3600000", ""), "sweep": ("20", "1")}


@dataclass
class Tally:
    """What became of some saves.

    Attributes:
        lost: their value was not there in time.
        torn: half of one was shown, as a value or as a problem.
        spurious: runs beyond those for the contents that were there.
    """

    rounds: int = 0
    lost: int = 0
    torn: int = 0
    spurious: int = 0
    what: str = ""


class Game:
    """One project with one module, which is saved again and again.

    Args:
        daemon: it serves the project.
        place: of the module.
        limit_s: after which a save is lost.
    """

    def __init__(self, daemon: Daemon, place: Place, limit_s: float) -> None:
        self.daemon = daemon
        self._place = place
        self._limit_s = limit_s
        self._value = 1_000_000
        self._client: Client = daemon.connect()
        self._client.call("subscribe", since=0)
        self._client.call("sync", timeout=30.0)
        self._client.await_workers(2)
        self._client.events.clear()

    def play(self, pattern: Pattern, rounds: int) -> Tally:
        """Save that often; each time, wait for the value."""
        tally = Tally()
        self._place.reset(text_of(self._value))
        # It is the same content, so nothing comes of it.
        self._events_until_now()
        for _ in range(rounds):
            old, self._value = self._value, self._value + 1
            pattern.save(self._place, old, self._value)
            events = self._await_value()
            # Whatever comes only because somebody asks has been lost.
            is_there = any(_text(event) == str(self._value) for event in events)
            self._judge(pattern, events + self._events_until_now(), is_there, tally)
        return tally

    def finish(self) -> list[str]:
        """Types of events that came after the last round."""
        self._place.reset(text_of(self._value))
        return [event["type"] for event in self._events_until_now()]

    def _await_value(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        deadline = time.monotonic() + self._limit_s
        is_there = False
        with contextlib.suppress(AssertionError):  # a save that is lost is counted
            while not (is_there and events[-1]["type"] == "run.finished"):
                left = max(deadline - time.monotonic(), 0.001)
                events += self._client.until(*_TYPES, limit_s=left)
                is_there |= _text(events[-1]) == str(self._value)
        return events

    def _events_until_now(self) -> list[dict[str, Any]]:
        self._client.call("sync", timeout=30.0)
        events, self._client.events = self._client.events, []
        return events

    def _judge(
        self, pattern: Pattern, events: list[dict[str, Any]], is_there: bool, tally: Tally
    ) -> None:
        values = [_text(e) for e in events if e["type"] == "node.finished"]
        problems = [e for e in events if e["type"] in ("load.failed", "node.failed", "warning")]
        outcomes = [e["outcome"] for e in events if e["type"] == "run.finished"]
        served = self._client.call("result", node=NODE, format="json")["value"]
        lost = served != self._value or not is_there
        torn = bool(problems) or any(value != str(self._value) for value in values)
        spurious = max(0, len(outcomes) - outcomes.count("superseded") - pattern.states)
        tally.rounds += 1
        tally.lost += lost
        tally.torn += torn
        tally.spurious += spurious
        if lost or torn or spurious:
            tally.what = f"wanted {self._value}, served {served}: {values} {outcomes} {problems}"


def _text(event: dict[str, Any]) -> str:
    """The value that an event tells of."""
    return str(event["summary"]["text"]) if event["type"] == "node.finished" else ""


@contextlib.contextmanager
def game(folder: Path, way: str, limit_s: float, settle_ms: int = 10) -> Iterator[Game]:
    """A daemon on a new project in a git repository, which notices saves in one of the `WAYS`."""
    sweep_ms, no_events = WAYS[way]
    root, aside = folder / "project", folder / "aside"
    (root / "pipelines").mkdir(parents=True)
    aside.mkdir()
    file = root / "pipelines" / f"{PIPELINE}.py"
    file.write_text(text_of(1_000_000))
    (root / "devserver.toml").write_text(
        f"[watch]\nsettle_ms = {settle_ms}\nsweep_ms = {sweep_ms}\n[pipelines.{PIPELINE}]\n"
    )
    subprocess.run(["git", "init", "-q"], cwd=root, check=True, timeout=30)
    environment = {NO_EVENTS: no_events} if no_events else {}
    with running(root, environment=environment) as daemon:
        yield Game(daemon, Place(file, aside), limit_s)
