"""How much 200 subscribers delay a run: 50 of them never read, and 50 come and go.

    python -m benchmarks.subscribers --rounds 500

Two daemons serve copies of one project; one has the subscribers. Each round saves the same change
in both, in turns, and waits for the end of the run, so a slow moment of the machine shows on both
sides. A run ends when the daemon dates its end; when a subscriber has heard of it is shown too.
Afterwards every reader must have had every end of a run in order, or a fresh snapshot.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.arguments import read_arguments
from benchmarks.daemon import Subscriber, serving
from benchmarks.figures import pairwise, summary, table
from benchmarks.processes import (
    Child,
    Deadline,
    Refusal,
    environment,
    measuring,
    write_json,
)
from benchmarks.project import MeasuredProject

DELAY_LIMIT = 1.1
MEMORY_LIMIT = 128 * 1024 * 1024
_LIMIT_S = 60.0


class _Served:
    """A project, its daemon, and what each of its runs took."""

    def __init__(self, name: str, project: MeasuredProject, daemon: Child, events: Subscriber):
        self.name = name
        self.project = project
        self.events = events
        self.process = psutil.Process(daemon.process.pid)
        self.finished: list[int] = []
        self.last = 0
        self.save_ms: list[float] = []
        self.told_ms: list[float] = []

    def save(self) -> None:
        started = time.time()
        self.project.change()
        deadline = Deadline(_LIMIT_S, f"the end of a run {self.name}")
        while True:
            event = self.events.next_event(deadline, "run.finished")
            self.finished.append(event["run"])
            self.last = event["seq"]
            if event["outcome"] == "ok":
                break
        self.told_ms.append((time.time() - started) * 1e3)
        self.save_ms.append((event["time"] - started) * 1e3)


@contextmanager
def crowd(project: Path) -> Iterator[subprocess.Popen[str]]:
    """A process full of subscribers to the daemon of a project, all subscribed."""
    known = json.loads((project / ".hamdev" / "daemon.json").read_text(encoding="utf-8"))
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.crowd", known["socket"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise Refusal("the subscribers could not connect")
            yield process
        finally:
            process.kill()


def measure(rounds: int) -> dict[str, Any]:
    """All figures.

    Raises:
        Refusal: a daemon did not start, or did not answer.
    """
    with tempfile.TemporaryDirectory(prefix="hamdev-benchmark-") as temporary:
        folder = Path(temporary).resolve()
        projects = [MeasuredProject(folder / name) for name in ("with", "without")]
        logs = [folder / f"{project.root.name}.log" for project in projects]
        with (
            serving(projects[0].root, logs[0]) as one,
            serving(projects[1].root, logs[1]) as other,
        ):
            crowded = _Served("with subscribers", projects[0], *one)
            alone = _Served("without", projects[1], *other)
            for served in (crowded, alone):
                for _ in range(5):
                    served.save()
                served.save_ms.clear()
                served.told_ms.clear()
                served.finished.clear()
            before = crowded.process.memory_info().rss, crowded.process.num_fds()
            with crowd(projects[0].root) as subscribers:
                memory = 0
                for number in range(rounds):
                    for served in (crowded, alone) if number % 2 else (alone, crowded):
                        served.save()
                    memory = max(memory, crowded.process.memory_info().rss)
                told, _ = subscribers.communicate(f"{crowded.last}\n", timeout=2 * _LIMIT_S)
            left = _descriptors_left(crowded.process, before[1])
    return _figures(crowded, alone, json.loads(told), memory - before[0], left)


def _descriptors_left(process: psutil.Process, before: int) -> int:
    deadline = time.monotonic() + 5
    while (left := int(process.num_fds()) - before) > 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _figures(
    crowded: _Served, alone: _Served, told: dict[str, Any], memory: int, left: int
) -> dict[str, Any]:
    wrong = 0
    for reader in told["readers"]:
        complete = reader["finished"] == crowded.finished
        # With a snapshot, those before it may be missing; the others come in order all the same.
        rest = crowded.finished[len(crowded.finished) - len(reader["finished"]) :]
        in_order = sorted(reader["finished"]) == reader["finished"]
        wrong += bool(reader["gaps"]) or not (
            complete or (reader["snapshots"] and in_order and rest[-1:] == crowded.finished[-1:])
        )
    rows = {
        "save to end of run, with": summary(crowded.save_ms),
        "save to end of run, without": summary(alone.save_ms),
        "save to its event, with": summary(crowded.told_ms),
        "save to its event, without": summary(alone.told_ms),
    }
    ratios = {
        "save to end of run": summary(pairwise(crowded.save_ms, alone.save_ms)),
        "save to its event": summary(pairwise(crowded.told_ms, alone.told_ms)),
    }
    return {
        "rounds": len(crowded.save_ms),
        "milliseconds": rows,
        "pairwise_ratios": ratios,
        "readers": len(told["readers"]),
        "readers_with_snapshots": sum(bool(r["snapshots"]) for r in told["readers"]),
        "readers_wrong": wrong + told["behind"],
        "visits": told["visits"],
        "silent_dropped": told["silent_dropped"],
        "daemon_grew_bytes": memory,
        "descriptors_left": left,
    }


def _missed(figures: dict[str, Any]) -> list[str]:
    missed = []
    delay = figures["pairwise_ratios"]["save to end of run"]["median"]
    if delay > DELAY_LIMIT:
        missed.append(f"runs end after {delay} of the time that they take without subscribers")
    if figures["readers_wrong"]:
        missed.append(f"{figures['readers_wrong']} readers missed the end of a run")
    if figures["daemon_grew_bytes"] > MEMORY_LIMIT:
        missed.append(f"the daemon grew by {figures['daemon_grew_bytes']} bytes")
    if figures["descriptors_left"] > 0:
        missed.append(f"{figures['descriptors_left']} descriptors were left open")
    return missed


def main() -> int:
    arguments = read_arguments(
        "subscribers",
        __doc__,
        500,
        f"a median exceeds {DELAY_LIMIT} of what it is without subscribers, a reader missed the "
        "end of a run, or the daemon kept memory or descriptors",
    )
    with measuring():
        figures = measure(arguments.rounds)
    print(table(figures["milliseconds"], " ms", 1))
    print("\nratios within each round\n")
    print(table(figures["pairwise_ratios"], "", 3))
    print()
    print(json.dumps(figures))
    if arguments.json:
        write_json(arguments.json, figures)
    missed = _missed(figures)
    print("\n".join(missed), file=sys.stderr)
    return 1 if arguments.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
