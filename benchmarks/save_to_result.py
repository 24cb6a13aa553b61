"""From a save to the new value of a node: `python run.py`, watchfiles and hamdev, side by side.

    python -m benchmarks.save_to_result --rounds 20 --json figures.json

Every round changes a constant in one module of the same pandas pipeline, once for each of the
three, and takes the time from just before the write until the new value is seen:

- cold: `python run.py` is started after the write; seen on its stdout.
- watchfiles: `watchfiles 'python run.py'` is already running; seen on its child's stdout.
- hamdev: `hamdev watch` is already running; seen in `node.finished` on its socket. "whole run" is
  the time until `run.finished`.

Each has a copy of the project to itself, so that a save for one wakes none of the others, and the
three change places from round to round. Values are checked: an old one does not end a measurement.
"""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import psutil

from benchmarks.arguments import read_arguments
from benchmarks.daemon import START_LIMIT_S, Subscriber, serving
from benchmarks.figures import pairwise, summary, table
from benchmarks.processes import (
    Child,
    Deadline,
    Lines,
    Refusal,
    beside_python,
    measuring,
    running,
    write_json,
)
from benchmarks.project import NODE, PIPELINE, MeasuredProject

MEDIAN_LIMIT = 0.06
P90_LIMIT = 0.12
_ROUND_LIMIT_S = 60.0
_RETRY_S = 0.005


class Contender(Protocol):
    """One way to get from a save to a value."""

    name: str

    def measure(self) -> dict[str, float]:
        """Name of the figure → milliseconds; on return everything it started is quiet again."""


class Cold:
    """`python run.py`, started after each save."""

    name = "cold"

    def __init__(self, project: MeasuredProject, log: Path) -> None:
        self._project = project
        self._log = log

    def measure(self) -> dict[str, float]:
        started = time.perf_counter()
        self._project.change()
        command = [sys.executable, "run.py"]
        with running("python run.py", command, self._project.root, self._log, True) as child:
            seen = _see_value(_stdout(child), self._project, child)
            try:
                child.process.wait(_ROUND_LIMIT_S)
            except subprocess.TimeoutExpired:
                raise Refusal("python run.py printed its result and does not end") from None
        return {self.name: (seen - started) * 1e3}


class Watchfiles:
    """`watchfiles 'python run.py'`, already running."""

    name = "watchfiles"

    def __init__(self, project: MeasuredProject, child: Child) -> None:
        self._project = project
        self._child = child
        self._lines = _stdout(child)
        _see_value(self._lines, project, child)

    @classmethod
    @contextmanager
    def started(cls, project: MeasuredProject, log: Path) -> Iterator[Watchfiles]:
        script = shlex.join([sys.executable, "run.py"])
        command = [beside_python("watchfiles"), script, str(project.root)]
        with running("watchfiles", command, project.root, log, True) as child:
            yield cls(project, child)

    def measure(self) -> dict[str, float]:
        started = time.perf_counter()
        self._project.change()
        seen = _see_value(self._lines, self._project, self._child)
        self._wait_for_quiet()
        return {self.name: (seen - started) * 1e3}

    def _wait_for_quiet(self) -> None:
        # Its child still has to take itself down, which would slow the next measurement.
        deadline = Deadline(_ROUND_LIMIT_S, "the end of the script that watchfiles started")
        watcher = psutil.Process(self._child.process.pid)
        while any(_works(process) for process in watcher.children(recursive=True)):
            time.sleep(min(_RETRY_S, deadline.remaining()))


class Hamdev:
    """`hamdev watch`, already running, with a subscriber."""

    name = "hamdev"
    whole_run = "hamdev, whole run"

    def __init__(self, project: MeasuredProject, subscriber: Subscriber) -> None:
        self._project = project
        self._subscriber = subscriber
        self._require_value()

    @classmethod
    @contextmanager
    def started(cls, project: MeasuredProject, log: Path) -> Iterator[Hamdev]:
        with serving(project.root, log) as (_, subscriber):
            yield cls(project, subscriber)

    def measure(self) -> dict[str, float]:
        started = time.perf_counter()
        self._project.change()
        deadline = Deadline(_ROUND_LIMIT_S, f"{NODE}'s new value from hamdev")
        seen = run = None
        while True:
            event = self._subscriber.next_event(deadline)
            now = time.perf_counter()
            if seen is None and self._is_new_value(event):
                seen, run = now, event["run"]
            elif seen is not None and event["type"] == "run.finished" and event["run"] == run:
                break
        if event["outcome"] != "ok":
            raise Refusal(f"hamdev's run ended otherwise than well: {event}")
        self._require_value()
        return {self.name: (seen - started) * 1e3, self.whole_run: (now - started) * 1e3}

    def _is_new_value(self, event: dict[str, Any]) -> bool:
        if event["type"] != "node.finished" or event["node"] != NODE:
            return False
        return self._project.shows_new_value(event["summary"]["text"])

    def _require_value(self) -> None:
        # A sync also makes sure that nothing is left to do when another one is measured.
        status = self._subscriber.call("sync", {"timeout": _ROUND_LIMIT_S}, _ROUND_LIMIT_S + 5)
        pipeline = status["pipelines"][PIPELINE]
        node = pipeline["nodes"].get(NODE, {})
        text = node.get("summary", {}).get("text", "")
        if not self._project.shows_new_value(text):
            raise Refusal(
                f"hamdev serves {text!r} for {NODE}, which is not what the files say; "
                f"problems: {pipeline['problems']}"
            )


def _stdout(child: Child) -> Lines:
    assert child.process.stdout is not None, "started with capture=True"
    return Lines(child.process.stdout)


def _see_value(lines: Lines, project: MeasuredProject, child: Child) -> float:
    """When the new value was printed, on the clock of `time.perf_counter`."""
    deadline = Deadline(_ROUND_LIMIT_S, f"{NODE}'s new value from {child.name}")
    while True:
        try:
            line = lines.next(deadline)
        except Refusal as refusal:
            raise Refusal(f"{refusal}\n{child.last_words()}") from None
        now = time.perf_counter()
        if line is None:
            raise Refusal(f"{child.name} ended without the new value\n{child.last_words()}")
        name, _, text = line.partition(" ")
        if name == NODE and project.shows_new_value(text):
            return now


def _works(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def measure(rounds: int) -> dict[str, list[float]]:
    """Name of the figure → its milliseconds in each round.

    Raises:
        Refusal: something did not start or did not give the right value.
    """
    samples: dict[str, list[float]] = {}
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="hamdev-benchmark-")
        folder = Path(stack.enter_context(temporary)).resolve()
        projects = {n: MeasuredProject(folder / n) for n in ("cold", "watchfiles", "hamdev")}
        _say(f"starting watchfiles and hamdev (at most {START_LIMIT_S:.0f} s each)")
        contenders: list[Contender] = [
            Cold(projects["cold"], folder / "cold.log"),
            stack.enter_context(
                Watchfiles.started(projects["watchfiles"], folder / "watchfiles.log")
            ),
            stack.enter_context(Hamdev.started(projects["hamdev"], folder / "hamdev.log")),
        ]
        for contender in contenders:
            _say(f"warming up: {contender.name}")
            contender.measure()
        for number in range(rounds):
            first = number % len(contenders)
            figures: dict[str, float] = {}
            for contender in contenders[first:] + contenders[:first]:
                figures |= contender.measure()
            for name, ms in figures.items():
                samples.setdefault(name, []).append(ms)
            shown = ", ".join(f"{c.name} {figures[c.name]:.1f} ms" for c in contenders)
            _say(f"round {number + 1} of {rounds}: {shown}")
    return samples


def report(samples: dict[str, list[float]]) -> dict[str, Any]:
    """All figures of a measurement."""
    cold, watchfiles, hamdev = (samples[n] for n in ("cold", "watchfiles", "hamdev"))
    names = ["cold", "watchfiles", "hamdev", Hamdev.whole_run]
    milliseconds = {name: summary(samples[name]) for name in names}
    cold_median = milliseconds["cold"]["median"]
    return {
        "rounds": len(cold),
        "milliseconds": milliseconds,
        "ratios": {
            "hamdev/cold": milliseconds["hamdev"]["median"] / cold_median,
            "hamdev/watchfiles": (
                milliseconds["hamdev"]["median"] / milliseconds["watchfiles"]["median"]
            ),
            "hamdev p90/cold median": milliseconds["hamdev"]["p90"] / cold_median,
        },
        "pairwise_ratios": {
            "hamdev/cold": summary(pairwise(hamdev, cold)),
            "hamdev/watchfiles": summary(pairwise(hamdev, watchfiles)),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("hamdev", "sf-hamilton", "pandas", "watchfiles")},
        },
        "samples_ms": {name: [round(ms, 3) for ms in samples[name]] for name in names},
    }


def _print(figures: dict[str, Any]) -> None:
    print(f"from a save to the new value, {figures['rounds']} rounds\n")
    print(table(figures["milliseconds"], " ms", 1))
    print()
    for name, ratio in figures["ratios"].items():
        print(f"{name:<24}{ratio:.4f}")
    print("\nratios within each round\n")
    print(table(figures["pairwise_ratios"], "", 4))
    print()
    print(json.dumps({name: data for name, data in figures.items() if name != "samples_ms"}))


def _missed(ratios: dict[str, float]) -> list[str]:
    limits = {"hamdev/cold": MEDIAN_LIMIT, "hamdev p90/cold median": P90_LIMIT}
    return [
        f"{name} is {ratios[name]:.4f}, over the limit of {limit}"
        for name, limit in limits.items()
        if ratios[name] > limit
    ]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    arguments = read_arguments(
        "save_to_result",
        __doc__,
        20,
        f"hamdev's median exceeds {MEDIAN_LIMIT} of cold's median, "
        f"or its p90 exceeds {P90_LIMIT} of it",
    )
    with measuring():
        figures = report(measure(arguments.rounds))
    _print(figures)
    if arguments.json:
        write_json(arguments.json, figures)
    if arguments.check and (missed := _missed(figures["ratios"])):
        _say("\n".join(missed))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
