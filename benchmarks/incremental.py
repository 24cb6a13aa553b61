"""From one edit of a large DAG to the new value: hamdev, the floor, FlowerPower, a new process.

    python -m benchmarks.incremental --nodes 100 1000 --modules 10 --edits leaf comment --rounds 20

Generated DAGs (`benchmarks/dags.py`), some of whose nodes sleep, are edited: a leaf, a middle node,
a root, a helper that every fifth node uses, a comment. In turns, each in a copy of the project to
itself, and each from just before the write until the value is seen:

- hamdev: `hamdev watch` with a subscriber; seen in `node.finished` on its socket, for a comment in
  `run.finished`. "whole run" is the time until `run.finished`.
- floor: a loop that does no more than what must be done (`benchmarks/floor.py`).
- flowerpower: `pm.run(reload=True)` in a warm process, if that is installed.
- cold: `python run.py`.

The last two compute everything whatever was edited, slow nodes too. So they take part in the first
rounds of the first kind of edit only, and their medians stand for all kinds. Every value is
compared with one that was computed by other means: an old one does not end a measurement.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Protocol, get_args

from benchmarks.daemon import Subscriber, serving
from benchmarks.dags import EDITS, SETTLE_MS, DagProject, EditKind, Save
from benchmarks.figures import summary
from benchmarks.processes import (
    Child,
    Deadline,
    Lines,
    Refusal,
    measuring,
    running,
    write_json,
)

# In times the floor: of a leaf among 100 nodes with slow ones, and among 1,000 in 10 modules.
SLOW_LIMIT = 1.5
LARGE_LIMIT = 1.6
_SLOW_CASE, _LARGE_CASE, _LARGEST_CASE = 100, 1_000, 5_000
_LARGE_MODULES = 10
_ROUND_LIMIT_S = 90.0
_WHOLE_RUNS = 3  # how often those that compute everything are measured
_HERE = Path(__file__).parent


class Contender(Protocol):
    """One way to get from a save to a value."""

    name: str
    project: DagProject

    def measure(self, kind: EditKind) -> dict[str, float]:
        """Name of the figure → its value; on return everything is quiet again."""


class Hamdev:
    """`hamdev watch`, already running, with a subscriber."""

    name = "hamdev"

    def __init__(self, project: DagProject, subscriber: Subscriber) -> None:
        self.project = project
        self._subscriber = subscriber
        self._require_values()

    @classmethod
    @contextmanager
    def started(cls, project: DagProject, log: Path) -> Iterator[Hamdev]:
        with serving(project.root, log) as (_, subscriber):
            yield cls(project, subscriber)

    def measure(self, kind: EditKind) -> dict[str, float]:
        save = self.project.next_save(kind)
        deadline = Deadline(_ROUND_LIMIT_S, f"{save.observed}'s value from hamdev ({kind})")
        started = time.perf_counter()
        save.write()
        seen: float | None = None
        while True:
            event = self._subscriber.next_event(deadline, "node.finished", "run.finished")
            now = time.perf_counter()
            if event["type"] == "run.finished":
                break
            if event["node"] == save.observed and event["summary"]["text"] == save.value:
                seen = now
        if event["outcome"] != "ok":
            raise Refusal(f"hamdev's run ended otherwise than well: {event}")
        if kind == "comment":
            seen = now
        if seen is None:
            raise Refusal(f"hamdev never reported {save.observed} == {save.value} ({kind})")
        self._require_values()
        ms, whole = (seen - started) * 1e3, (now - started) * 1e3
        return {self.name: ms, "hamdev, whole run": whole, "ran": event["ran"]}

    def _require_values(self) -> None:
        # A sync also makes sure that nothing is left to do when another one is measured.
        self._subscriber.call("sync", {"timeout": _ROUND_LIMIT_S}, _ROUND_LIMIT_S + 5)
        status = self._subscriber.call("status", {}, _ROUND_LIMIT_S)
        pipeline = status["pipelines"][self.project.pipeline]
        for name, value in self.project.values().items():
            node = pipeline["nodes"].get(name, {})
            text = node.get("summary", {}).get("text")
            if node.get("state") != "fresh" or text != value:
                problems = pipeline["problems"]
                raise Refusal(f"hamdev serves {node} for {name}, not {value}; {problems}")


class Told:
    """A process that is told over a Unix socket what is going to be measured, and answers there."""

    def __init__(self, name: str, project: DagProject, child: Child, stream: socket.socket) -> None:
        self.name = name
        self.project = project
        self._child = child
        self._stream = stream
        self._lines = Lines(stream)

    @classmethod
    @contextmanager
    def started(
        cls, name: str, project: DagProject, script: str, options: Sequence[str], log: Path
    ) -> Iterator[Told]:
        path = project.root.with_suffix(".sock")
        command = [sys.executable, "-P", str(_HERE / script), str(project.root), str(path)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen(1)
            listener.settimeout(_ROUND_LIMIT_S)
            with running(name, [*command, *options], project.root, log) as child:
                try:
                    stream, _ = listener.accept()
                except TimeoutError:
                    raise Refusal(f"{name} did not connect\n{child.last_words()}") from None
                with stream:
                    stream.setblocking(True)
                    yield cls(name, project, child, stream)

    def tell(self, message: Any) -> None:
        """Send it something."""
        self._stream.sendall(json.dumps(message).encode() + b"\n")

    def hear(self, waiting_for: str) -> dict[str, Any]:
        """Its next answer.

        Raises:
            Refusal: none came in time, or it has ended.
        """
        deadline = Deadline(_ROUND_LIMIT_S, f"{waiting_for} from {self.name}")
        line = self._lines.next(deadline)
        if line is None:
            raise Refusal(f"{self.name} closed its connection\n{self._child.last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def require(self, save: Save, answer: dict[str, Any]) -> None:
        """Refuse another value than that which the files say."""
        if answer["value"] != save.value:
            found = answer["value"]
            raise Refusal(f"{self.name} says {save.observed} == {found}, not {save.value}")


class Floor(Told):
    """The floor, already running."""

    @classmethod
    @contextmanager
    def running(cls, project: DagProject, log: Path) -> Iterator[Floor]:
        options = [str(SETTLE_MS)]
        with cls.started("floor", project, "floor.py", options, log) as floor:
            assert isinstance(floor, Floor)
            floor.tell(project.parts)
            floor.tell(project.names)
            floor.hear("its first values")
            yield floor

    def measure(self, kind: EditKind) -> dict[str, float]:
        save = self.project.next_save(kind)
        self.tell({**asdict(save), "file": str(save.file), "text": ""})
        self.hear("a sign that it is ready")
        started = time.perf_counter()
        save.write()
        answer = self.hear(f"{save.observed}'s value")
        seen = time.perf_counter()
        self.require(save, answer)
        return {self.name: (seen - started) * 1e3}


class FlowerPower(Told):
    """FlowerPower's `pm.run(reload=True)` in a warm process."""

    @classmethod
    @contextmanager
    def running(cls, project: DagProject, log: Path) -> Iterator[FlowerPower]:
        with cls.started("flowerpower", project, "warm_flowerpower.py", [], log) as flowerpower:
            assert isinstance(flowerpower, FlowerPower)
            others = [f"pipelines.{name}" for name in project.parts[:-1]]
            first = {"pipeline": project.pipeline, "others": others, "sinks": project.sinks}
            flowerpower.tell(first)
            flowerpower.hear("its first values")
            yield flowerpower

    def measure(self, kind: EditKind) -> dict[str, float]:
        save = self.project.next_save(kind)
        started = time.perf_counter()
        save.write()
        self.tell({"observed": save.observed})
        answer = self.hear(f"{save.observed}'s value")
        seen = time.perf_counter()
        self.require(save, answer)
        return {self.name: (seen - started) * 1e3}


class Cold:
    """`python run.py`, started after each save."""

    name = "cold"

    def __init__(self, project: DagProject, log: Path) -> None:
        self.project = project
        self._log = log

    def measure(self, kind: EditKind) -> dict[str, float]:
        save = self.project.next_save(kind)
        started = time.perf_counter()
        save.write()
        command = [sys.executable, "run.py"]
        with running("python run.py", command, self.project.root, self._log, True) as child:
            assert child.process.stdout is not None, "started with capture=True"
            lines = Lines(child.process.stdout)
            deadline = Deadline(_ROUND_LIMIT_S, f"{save.observed}'s value from python run.py")
            while (line := lines.next(deadline)) != f"{save.observed} {save.value}":
                if line is None:
                    raise Refusal(f"python run.py ended without it\n{child.last_words()}")
            seen = time.perf_counter()
            try:
                child.process.wait(_ROUND_LIMIT_S)
            except subprocess.TimeoutExpired:
                raise Refusal("python run.py printed its result and does not end") from None
        return {self.name: (seen - started) * 1e3}


# -- one DAG -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """The figures of one DAG.

    Attributes:
        samples: kind of edit → name of the figure → one number a round.
        whole: name → milliseconds of those that compute everything whatever is edited.
    """

    nodes: int
    modules: int
    slow_s: float
    samples: dict[EditKind, dict[str, list[float]]] = field(default_factory=dict)
    whole: dict[str, list[float]] = field(default_factory=dict)

    def median(self, kind: EditKind, name: str) -> float:
        """Of one figure."""
        return median(self.samples[kind][name])

    def ratio(self, kind: EditKind) -> float:
        """hamdev's median by the floor's."""
        return self.median(kind, "hamdev") / self.median(kind, "floor")

    def report(self) -> dict[str, Any]:
        """All of it."""
        return {
            "nodes": self.nodes,
            "modules": self.modules,
            "slow_s": self.slow_s,
            "edits": {kind: self._edit(kind) for kind in self.samples},
            "milliseconds": {name: summary(samples) for name, samples in self.whole.items()},
            "samples_ms": {**self.samples, "whole": self.whole},
        }

    def _edit(self, kind: EditKind) -> dict[str, Any]:
        figures = self.samples[kind]
        hamdev = self.median(kind, "hamdev")
        return {
            "rounds": len(figures["hamdev"]),
            "milliseconds": {n: summary(s) for n, s in figures.items() if n != "ran"},
            "ran": sorted({int(count) for count in figures["ran"]}),
            "ratios": {
                "hamdev/floor": round(self.ratio(kind), 4),
                **{f"hamdev/{n}": round(hamdev / median(s), 6) for n, s in self.whole.items()},
            },
        }


def measure(
    nodes: int, modules: int, slow_s: float, edits: Sequence[EditKind], rounds: int
) -> Case:
    """The figures of one DAG.

    Raises:
        Refusal: something did not start or did not give the right value.
    """
    case = Case(nodes, modules, slow_s)
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="hamdev-benchmark-")
        folder = Path(stack.enter_context(temporary)).resolve()
        # Values that outlive processes are not to outlive this one.
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")

        def project(name: str) -> DagProject:
            return DagProject(folder / name, nodes, modules, slow_s)

        warm: list[Contender] = [
            stack.enter_context(Hamdev.started(project("hamdev"), folder / "hamdev.log")),
            stack.enter_context(Floor.running(project("floor"), folder / "floor.log")),
        ]
        whole: list[Contender] = [Cold(project("cold"), folder / "cold.log")]
        if importlib.util.find_spec("flowerpower") is not None:
            log = folder / "flowerpower.log"
            whole.append(stack.enter_context(FlowerPower.running(project("flowerpower"), log)))
        for kind in edits:
            for contender in warm:
                contender.measure(kind)
            figures = case.samples[kind] = {}
            for number in range(rounds):
                is_first = kind == edits[0] and number < _WHOLE_RUNS
                for contender in _rotated(warm, number):
                    _add(figures, contender.measure(kind))
                for contender in whole if is_first else ():
                    _add(case.whole, contender.measure(kind))
            _say(_line(case, kind))
    return case


def _rotated(contenders: list[Contender], number: int) -> list[Contender]:
    first = number % len(contenders)
    return contenders[first:] + contenders[:first]


def _add(samples: dict[str, list[float]], figures: dict[str, float]) -> None:
    for name, figure in figures.items():
        samples.setdefault(name, []).append(figure)


def _line(case: Case, kind: EditKind) -> str:
    hamdev, floor = case.median(kind, "hamdev"), case.median(kind, "floor")
    where = f"{case.nodes} nodes, {case.modules} modules, {kind}"
    return f"{where}: hamdev {hamdev:.1f} ms, floor {floor:.1f} ms"


# -- all of them ---------------------------------------------------------------------------------


def _table(case: Case) -> str:
    slow = f", {case.slow_s:g} s of them asleep" if case.slow_s else ""
    lines = [f"{case.nodes} nodes in {case.modules} modules{slow}; milliseconds, median (p90)"]
    names = ["hamdev", "floor", "hamdev, whole run"]
    lines.append(
        f"{'edit':<9}{'ran':>6}"
        + "".join(f"{name:>20}" for name in names)
        + f"{'hamdev/floor':>14}"
        + "".join(f"{f'hamdev/{name}':>20}" for name in case.whole)
    )
    for kind, edit in case.report()["edits"].items():
        figures = edit["milliseconds"]
        cells = [f"{figures[n]['median']:.1f} ({figures[n]['p90']:.1f})" for n in names]
        ratios = [edit["ratios"][f"hamdev/{n}"] for n in case.whole]
        lines.append(
            f"{kind:<9}{'/'.join(map(str, edit['ran'])):>6}"
            + "".join(f"{cell:>20}" for cell in cells)
            + f"{edit['ratios']['hamdev/floor']:>14.2f}"
            + "".join(f"{ratio:>20.4f}" for ratio in ratios)
        )
    for name, samples in case.whole.items():
        lines.append(f"{name}, whatever is edited: {median(samples):.0f} ({len(samples)} samples)")
    return "\n".join(lines)


def missed(cases: Sequence[Case]) -> list[str]:
    """What is not as fast, or not as frugal, as it has to be."""
    found = []
    leaves: dict[tuple[int, int], float] = {}
    for case in cases:
        where = f"{case.nodes} nodes in {case.modules} modules"
        found += [f"{where}: {text}" for text in _needless(case)]
        if "leaf" not in case.samples:
            continue
        leaves[case.nodes, case.modules] = case.median("leaf", "hamdev")
        limit = None
        if case.nodes == _SLOW_CASE and case.slow_s:
            limit = SLOW_LIMIT
        elif (case.nodes, case.modules) == (_LARGE_CASE, _LARGE_MODULES):
            limit = LARGE_LIMIT
        if limit is not None and case.ratio("leaf") > limit:
            ratio = case.ratio("leaf")
            found.append(f"{where}: a leaf takes {ratio:.2f} × the floor, over {limit:g}")
    for (nodes, modules), largest in leaves.items():
        smaller = leaves.get((_LARGE_CASE, modules))
        if nodes != _LARGEST_CASE or smaller is None:
            continue
        if (growth := largest / smaller) > _LARGEST_CASE / _LARGE_CASE:
            found.append(f"{modules} modules: {growth:.1f} times as long for 5 times the nodes")
    return found


def _needless(case: Case) -> list[str]:
    expected: dict[EditKind, int] = {"leaf": 1, "comment": 0}
    return [
        f"after an edit of a {kind}, {ran:g} nodes ran, not {count}"
        for kind, count in expected.items()
        if kind in case.samples
        for ran in set(case.samples[kind]["ran"]) - {count}
    ]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.incremental", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1_000, 5_000])
    parser.add_argument("--modules", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--edits", nargs="+", default=list(EDITS), choices=get_args(EditKind))
    parser.add_argument("--rounds", type=int, default=10, help="how many (default: %(default)s)")
    parser.add_argument(
        "--slow-s",
        type=float,
        default=5.0,
        help="how long some upstream nodes take together (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"exit 1 if a leaf takes more than {SLOW_LIMIT:g} × the floor among {_SLOW_CASE} "
        f"nodes with slow ones or more than {LARGE_LIMIT:g} × among {_LARGE_CASE} in "
        f"{_LARGE_MODULES} modules, if time grows faster than the number of nodes from there to "
        f"{_LARGEST_CASE}, or if nodes run that need not",
    )
    arguments = parser.parse_args()
    if arguments.rounds < 1 or min(arguments.nodes) < 4 or min(arguments.modules) < 1:
        parser.error("at least 1 round, 4 nodes and 1 module")
    return arguments


def main() -> int:
    arguments = _arguments()
    cases = []
    if importlib.util.find_spec("flowerpower") is None:
        _say("FlowerPower is not installed here, so it is left out")
    with measuring():
        for nodes in arguments.nodes:
            for modules in arguments.modules:
                if modules > nodes:
                    continue
                edits, rounds = arguments.edits, arguments.rounds
                cases.append(measure(nodes, modules, arguments.slow_s, edits, rounds))
                print(_table(cases[-1]), end="\n\n", flush=True)
    reports = [case.report() for case in cases]
    figures = {
        "cases": reports,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("hamdev", "sf-hamilton", "watchfiles")},
        },
    }
    if arguments.json:
        write_json(arguments.json, figures)
    print(json.dumps({**figures, "cases": [_without_samples(report) for report in reports]}))
    if arguments.check and (found := missed(cases)):
        _say("\n".join(found))
        return 1
    return 0


def _without_samples(case: dict[str, Any]) -> dict[str, Any]:
    return {name: data for name, data in case.items() if name != "samples_ms"}


if __name__ == "__main__":
    sys.exit(main())
