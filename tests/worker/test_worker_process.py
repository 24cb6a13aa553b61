"""A worker's real process, spoken to as the daemon does."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hamdev.messages import (
    Cancel,
    Command,
    Fetch,
    Fetched,
    Interrupted,
    Loaded,
    NodeFailed,
    NodeFinished,
    NodeStarted,
    Output,
    PipelineSpec,
    Planned,
    Preload,
    Ready,
    Report,
    Run,
    RunEnded,
)
from hamdev.wire import FrameDecoder, encode_frame

LIMIT_S = 30.0


class Worker:
    """One worker process and what it has said."""

    def __init__(self, project: Path) -> None:
        self.project = project
        ours, theirs = socket.socketpair()
        self.socket = ours
        with theirs:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "hamdev.worker"),
                    *("--descriptor", str(theirs.fileno()), "--pipelines-dir", "pipelines"),
                    *("--keep-in", str(project.parent / "kept"), "--max-bytes", str(1 << 30)),
                    *("--keep-slower-than-ms", "200", "--disk-max-bytes", str(1 << 30)),
                ],
                cwd=project,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
            )
        self._reports: queue.Queue[Report | None] = queue.Queue()
        self._next_run = 1
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        decoder: FrameDecoder[Report] = FrameDecoder(Report)
        with contextlib.suppress(OSError):
            while chunk := self.socket.recv(1 << 16):
                for report in decoder.feed(chunk):
                    self._reports.put(report)
        self._reports.put(None)

    def tell(self, command: Command) -> None:
        self.socket.sendall(encode_frame(command))

    def next(self) -> Report | None:
        return self._reports.get(timeout=LIMIT_S)

    def until(self, kind: type, where: Callable[[Any], bool] = lambda _: True) -> list[Any]:
        """All that it says, up to the first report of this kind."""
        said: list[Any] = []
        while True:
            report = self.next()
            assert report is not None, f"the worker has ended; it said {said}"
            said.append(report)
            if isinstance(report, kind) and where(report):
                return said

    def save(self, name: str, text: str) -> Path:
        file = self.project / "pipelines" / f"{name}.py"
        file.write_text(textwrap.dedent(text))
        return file

    def start(self, pipeline: str, **spec: Any) -> int:
        """Tell it to run; the run's number."""
        number = self._next_run
        self._next_run += 1
        values = pickle.dumps({"inputs": spec.pop("inputs", {}), "config": spec.pop("config", {})})
        wanted = PipelineSpec(name=pipeline, values=values, **spec)
        self.tell(Run(run=number, revision=100 + number, spec=wanted))
        return number

    def run(self, pipeline: str, **spec: Any) -> list[Any]:
        """Everything that it says of one run."""
        number = self.start(pipeline, **spec)
        return self.until(RunEnded, lambda ended: ended.run == number)

    def fetch(self, pipeline: str, node: str, format: str = "json") -> Fetched:
        folder = str(self.project / "values")
        command = Fetch(
            request=7, pipeline=pipeline, node=node, format=format, folder=folder, inline_bytes=100
        )
        self.tell(command)
        fetched: Fetched = self.until(Fetched)[-1]
        assert fetched.request == 7
        return fetched

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        assert self.process.wait(LIMIT_S) == -signal.SIGKILL


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    project = tmp_path_factory.mktemp("project")
    (project / "pipelines").mkdir()
    started = Worker(project)
    ready = started.next()
    assert isinstance(ready, Ready)
    assert ready.python == sys.version.split()[0]
    assert ready.hamilton.startswith("1.")
    try:
        yield started
    finally:
        started.close()


def kinds(reports: list[Any]) -> list[type]:
    return [type(report) for report in reports]


def test_a_run_is_reported_step_by_step(worker: Worker) -> None:
    file = worker.save("steps", "def one(n: int) -> int:\n    print('hello')\n    return n\n")
    reading, *reports = worker.run("steps", inputs={"n": 5, "unused": 1})
    assert reading.files.keys() == {str(file)}  # before it is executed, which may never end
    loaded, planned, started, output, finished, ended = reports
    assert kinds(reports) == [Loaded, Planned, NodeStarted, Output, NodeFinished, RunEnded]
    assert loaded.files[str(file)] is not None
    assert planned.modules == ["pipelines.steps"]
    assert planned.final_vars == ["one"]
    assert (planned.nodes["one"].file, planned.nodes["one"].line) == (str(file), 1)
    assert "unused" in planned.warnings[0]
    assert started.node == finished.node == output.node == "one"
    assert (output.stream, output.text) == ("stdout", "hello\n")
    assert (finished.summary.type, finished.summary.text) == ("int", "5")
    assert (ended.outcome, ended.problems, ended.load_problems) == ("ok", [], [])
    assert {report.run for report in reports} == {ended.run}
    value = worker.fetch("steps", "one")
    assert (value.value, value.run, value.revision) == ("5", ended.run, 100 + ended.run)


def test_a_failed_load_says_what_it_read(worker: Worker) -> None:
    file = worker.save("broken", "import no_such_module_1\n")
    *_, loaded, ended = worker.run("broken")
    assert loaded.files[str(file)] is not None
    absent = [Path(name).name for name, digest in loaded.files.items() if digest is None]
    assert "no_such_module_1.py" in absent
    assert (ended.outcome, ended.load_problems[0].kind) == ("failed", "import")
    *_, loaded, ended = worker.run("no_such_pipeline_1")
    assert None in loaded.files.values()
    assert ended.load_problems[0].kind == "import"


@pytest.mark.parametrize("mode", [{}, {"async_driver": False}, {"executor": "threads"}])
def test_all_modes_give_the_same(worker: Worker, mode: dict[str, Any]) -> None:
    name = "modes_" + "".join(mode)  # nothing is remembered of it
    worker.save(
        name,
        """
        def one() -> int:
            print("1")
            return 1

        async def two(one: int) -> int:
            print("2")
            return one + 1

        def bad(two: int) -> int:
            raise ValueError("bad")

        def below(bad: int) -> int:
            return bad
        """,
    )
    reports = worker.run(name, **mode)
    printed = {r.node: r.text for r in reports if isinstance(r, Output)}
    assert printed == {"one": "1\n", "two": "2\n"}
    assert [r.node for r in reports if isinstance(r, NodeFinished)] == ["one", "two"]
    (failed,) = (r for r in reports if isinstance(r, NodeFailed))
    assert (failed.node, failed.problem.message) == ("bad", "ValueError: bad")
    assert (reports[-1].outcome, reports[-1].problems) == ("failed", [])
    assert worker.fetch(name, "two").value == "2"
    assert worker.fetch(name, "bad").missing


@pytest.mark.parametrize("mode", [{}, {"async_driver": False}])
@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "time.sleep(1000)",
        "[None for _ in iter(int, 1)]",
        "threading.Event().wait()",
        "[*map(print, iter(int, 1))]",
    ],
)
def test_a_cancelled_node_hears_of_it_once(worker: Worker, body: str, mode: dict[str, Any]) -> None:
    worker.save(
        "cancelled",
        f"""
        import threading, time

        def one() -> int:
            try:
                print("begun")
                {body}
            finally:
                print("cleaned up")
            return 1
        """,
    )
    run = worker.start("cancelled", **mode)
    worker.until(Output)
    worker.tell(Cancel(run=run - 1))  # a run that is over
    worker.tell(Cancel(run=run))
    worker.tell(Cancel(run=run))
    reports = worker.until(RunEnded)
    assert reports[-1].outcome == "cancelled"
    assert Interrupted in kinds(reports)
    printed = "".join(r.text for r in reports if isinstance(r, Output))
    assert printed.count("cleaned up\n") == 1
    assert worker.fetch("cancelled", "one").missing


@pytest.mark.parametrize("mode", [{}, {"async_driver": False}])
def test_a_run_can_be_cancelled_at_any_moment(worker: Worker, mode: dict[str, Any]) -> None:
    name = f"moments_{len(mode)}"
    text = "import time\n\ndef one() -> int:\n    time.sleep(1000)\n    return 1\n"
    kinds_to_wait_for: list[type | None] = [None, Loaded, Planned, NodeStarted]
    for number in range(20):
        worker.save(name, f"{text}# {number}\n")
        run = worker.start(name, **mode)
        if (kind := kinds_to_wait_for[number % 4]) is not None:
            worker.until(kind)
        worker.tell(Cancel(run=run))
        ended = worker.until(RunEnded)[-1]
        assert (ended.run, ended.outcome) == (run, "cancelled")
        assert ended.load_problems == ended.problems == []
    worker.save(name, "def one() -> int:\n    return 2\n")
    assert worker.run(name)[-1].outcome == "ok"


def test_values_are_given_while_a_run_goes_on(worker: Worker) -> None:
    worker.save("ready", "def one() -> str:\n    return 'x' * 1000\n")
    worker.run("ready")
    worker.save("ready_not", "def one() -> int:\n    while True:\n        pass\n")
    run = worker.start("ready_not")
    worker.until(NodeStarted)
    value = worker.fetch("ready", "one")
    assert value.path is not None
    assert msgspec.json.decode(Path(value.path).read_bytes()) == "x" * 1000
    assert worker.fetch("ready_not", "one").missing
    assert worker.fetch("no_such", "one").missing
    worker.tell(Cancel(run=run))
    assert worker.until(RunEnded)[-1].outcome == "cancelled"


def test_values_that_cannot_be_given(worker: Worker) -> None:
    text = """
        import sys

        class Leaving:
            def __str__(self) -> str:
                sys.exit(3)

        def leaving() -> object:
            return Leaving()

        def number() -> int:
            return 1
    """
    worker.save("unfit", text)
    reports = worker.run("unfit")
    assert reports[-1].outcome == "ok"
    assert worker.fetch("unfit", "leaving", "text").error is not None
    assert worker.fetch("unfit", "number", "csv").formats == ["text", "json", "pickle"]
    assert worker.fetch("unfit", "number").value == "1"


def test_nodes_that_are_gone_are_forgotten(worker: Worker) -> None:
    worker.save("less", "def one() -> int:\n    return 1\n\n\ndef two() -> int:\n    return 2\n")
    worker.run("less")
    assert worker.fetch("less", "two").value == "2"
    worker.save("less", "def one() -> int:\n    return 1\n")
    worker.run("less")
    assert worker.fetch("less", "two").missing


def test_preloading_what_is_broken_harms_nothing(worker: Worker) -> None:
    worker.save("exits", "raise SystemExit(3)\n")
    worker.tell(Preload(modules=["no_such_module_2", "pipelines.exits", "colorsys"]))
    worker.save("after", "import sys\ndef one() -> bool:\n    return 'colorsys' in sys.modules\n")
    assert worker.run("after")[-1].outcome == "ok"
    assert worker.fetch("after", "one").value == "true"


def test_output_is_attributed_and_whole(worker: Worker) -> None:
    text = """
        import asyncio, sys

        async def left() -> int:
            for number in range(3):
                print("left", number)
                await asyncio.sleep(0)
            return 1

        async def right() -> int:
            for number in range(3):
                print("right", number, file=sys.stderr)
                await asyncio.sleep(0)
            sys.stdout.write("no end")
            return 1

        def both(left: int, right: int) -> int:
            print("\\udcff half \\ud800")
            sys.stdout.writelines(["a\\n", "b\\n"])
            assert sys.stdout.write("four") == 4
            assert not sys.stdout.isatty()
            try:
                sys.stdout.write(b"bytes")
            except TypeError:
                return 1
    """
    worker.save("attributed", text)
    reports = worker.run("attributed")
    assert reports[-1].outcome == "ok", reports[-1]
    printed: dict[tuple[str, str], str] = {}
    for report in reports:
        if isinstance(report, Output):
            key = (report.node or "", report.stream)
            printed[key] = printed.get(key, "") + report.text
    assert printed["left", "stdout"] == "left 0\nleft 1\nleft 2\n"
    assert printed["right", "stderr"] == "right 0\nright 1\nright 2\n"
    assert printed["right", "stdout"] == "no end"
    assert printed["both", "stdout"].endswith("a\nb\nfour")
    assert "half" in printed["both", "stdout"]


def test_it_ends_when_the_daemon_is_gone(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    own = Worker(tmp_path)
    assert isinstance(own.next(), Ready)
    own.save("endless", "def one() -> int:\n    while True:\n        pass\n")
    own.start("endless")
    own.until(NodeStarted)
    own.close()
