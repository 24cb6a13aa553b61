"""What the terminal of `hamdev watch` costs a save.

    python -m benchmarks.terminal --rounds 100

Two daemons serve copies of one project, each with a subscriber on its socket. One draws its blocks
on a terminal that is read all the time, the other has no view and only writes its log. Each round
saves the same change for both, in turns, and takes the time until the new value is on the socket.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.arguments import read_arguments
from benchmarks.daemon import START_LIMIT_S, Subscriber, connected
from benchmarks.figures import pairwise, summary, table
from benchmarks.processes import (
    Child,
    Refusal,
    beside_python,
    measuring,
    running,
    watched_terminal,
    write_json,
)
from benchmarks.project import MeasuredProject
from benchmarks.save_to_result import Hamdev

LIMIT = 1.1
_WITHOUT_VIEW = """
import anyio, sys
from functools import partial
from pathlib import Path
from hamdev.config import Options
from hamdev.daemon.app import serve
anyio.run(partial(serve, Path(sys.argv[1]), Options()))
"""


@contextmanager
def without_terminal(project: MeasuredProject, log: Path) -> Iterator[Hamdev]:
    """A daemon that nobody looks at."""
    command = [sys.executable, "-c", _WITHOUT_VIEW, str(project.root)]
    with running("a daemon without a view", command, project.root, log) as child:
        yield from _measured(project, child)


@contextmanager
def with_terminal(project: MeasuredProject, log: Path) -> Iterator[Hamdev]:
    """`hamdev watch` on a terminal; what it draws goes to `log`."""
    command = [beside_python("hamdev"), "--project", str(project.root), "watch"]
    with (
        watched_terminal(log) as terminal,
        running("hamdev watch", command, project.root, log, terminal=terminal) as child,
    ):
        yield from _measured(project, child)


def _measured(project: MeasuredProject, child: Child) -> Iterator[Hamdev]:
    with connected(project.root, child) as stream:
        subscriber = Subscriber(stream, child)
        subscriber.call("subscribe", {}, START_LIMIT_S)
        subscriber.call("sync", {"timeout": START_LIMIT_S}, START_LIMIT_S)
        yield Hamdev(project, subscriber)


def measure(rounds: int) -> dict[str, list[float]]:
    """Name of the figure → its milliseconds in each round.

    Raises:
        Refusal: something did not start, did not give the right value, or drew nothing.
    """
    samples: dict[str, list[float]] = {}
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="hamdev-benchmark-")
        folder = Path(stack.enter_context(temporary)).resolve()
        drawn = folder / "drawn"
        contenders = {
            "without": stack.enter_context(
                without_terminal(MeasuredProject(folder / "without"), folder / "without.log")
            ),
            "with": stack.enter_context(with_terminal(MeasuredProject(folder / "with"), drawn)),
        }
        for contender in contenders.values():
            contender.measure()
        for number in range(rounds):
            names = list(contenders) if number % 2 else list(reversed(contenders))
            for name in names:
                figures = contenders[name].measure()
                samples.setdefault(name, []).append(figures[Hamdev.name])
                whole_run = f"{name}, whole run"
                samples.setdefault(whole_run, []).append(figures[Hamdev.whole_run])
        blocks = drawn.read_bytes().count(b"report.py changed")
        if blocks < rounds:
            raise Refusal(f"the terminal has shown {blocks} of {rounds} saves")
    return samples


def main() -> int:
    arguments = read_arguments(
        "terminal", __doc__, 100, f"saves take more than {LIMIT} times as long with the terminal"
    )
    with measuring():
        samples = measure(arguments.rounds)
    figures = {name: summary(of) for name, of in samples.items()}
    ratios = summary(pairwise(samples["with"], samples["without"]))
    growth = figures["with"]["median"] / figures["without"]["median"]
    print(f"from a save to the new value on the socket, {arguments.rounds} rounds\n")
    print(table(dict(sorted(figures.items())), " ms", 2))
    print(f"\nmedian with/without {growth:.3f}, median of the ratios {ratios['median']:.3f}")
    if arguments.json:
        write_json(arguments.json, {"milliseconds": figures, "pairwise": ratios, "growth": growth})
    return int(arguments.check and growth > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
