"""A real worker process on a real project, and what a new process says of the same files."""

from __future__ import annotations

import base64
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stand_ins import shown
from warm import Warm

from hamdev.messages import (
    Because,
    Command,
    Fetch,
    Fetched,
    Loaded,
    NodeBlocked,
    NodeFailed,
    NodeFinished,
    NodeStarted,
    Output,
    PipelineSpec,
    Planned,
    PlanStep,
    Problem,
    Ready,
    Report,
    Restored,
    Run,
    RunEnded,
    Spoilt,
    Tidied,
)
from hamdev.wire import FrameDecoder, encode_frame

_INLINE = 256 * 1024


@dataclass
class Ran:
    """What became of one run.

    Attributes:
        plan: node → what was announced of it.
        ran: nodes whose functions were called and returned, in order.
        recalled: nodes that were planned to run and were reused after all.
        failed: node → its problem.
        blocked: nodes below those.
        problems: why nothing could be run at all, or what went wrong beyond nodes.
        spoilt: nodes whose values were found to be changed in place.
        warnings: what the user is told of it, and of the plan.
        files: data files that values were made from, and modules.
        output: what user code printed.
        restored: nodes whose values are from another process or an earlier state of the files.
        finished: node → what was reported of its value.
    """

    plan: dict[str, PlanStep] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    recalled: list[str] = field(default_factory=list)
    failed: dict[str, Problem] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    spoilt: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: dict[str, str | None] = field(default_factory=dict)
    output: str = ""
    restored: dict[str, Restored] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    outcome: str = ""
    finished: dict[str, NodeFinished] = field(default_factory=dict)

    @property
    def nodes(self) -> set[str]:
        return set(self.plan)

    def because(self, node: str) -> list[Because]:
        return self.plan[node].because

    def difference(self, node: str) -> str | None:
        """What was said of how the node's value differs from the one before."""
        diff = self.finished[node].diff
        return diff and diff.text

    def reasons(self, node: str) -> str:
        return "; ".join(because.text for because in self.because(node))


class WorkerProcess:
    """Speaks to a worker as the daemon does.

    Args:
        warm: what the process is forked from; None: it is started as the daemon starts it.
        root: the project's folder.
        keep_in: where slow values outlive the process.
    """

    def __init__(
        self,
        warm: Warm | None,
        root: Path,
        keep_in: Path,
        keep_slower_than_ms: int = 1_000_000,
        max_bytes: int = 1 << 31,
    ) -> None:
        self._warm = warm
        self.root = root
        arguments = ["--pipelines-dir", "pipelines", "--keep-in", str(keep_in)]
        arguments += ["--max-bytes", str(max_bytes), "--disk-max-bytes", str(1 << 31)]
        arguments += ["--keep-slower-than-ms", str(keep_slower_than_ms)]
        self._process: subprocess.Popen[bytes] | None = None
        if warm is not None:
            self.pid, self._socket = warm.fork("worker", root, arguments)
        else:
            self._socket, theirs = socket.socketpair()
            with theirs:
                command = [sys.executable, "-P", "-m", "hamdev.worker"]
                self._process = subprocess.Popen(
                    [*command, "--descriptor", str(theirs.fileno()), *arguments],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd=root,
                    start_new_session=True,
                )
            self._socket.settimeout(60)
            self.pid = self._process.pid
        self._decoder: FrameDecoder[Report] = FrameDecoder(Report)
        self._heard: list[Report] = []
        self._number = 0
        self.pipeline = "main"
        self.additional: tuple[str, ...] = ()
        self.final_vars: tuple[str, ...] = ()
        self.inputs: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        while not isinstance(self.hear(), Ready):
            pass

    # -- runs ---------------------------------------------------------------------------------

    def run(self, *, forced: tuple[str, ...] | None = (), clean: bool = False) -> Ran:
        """One run to its end, and what is looked after behind it."""
        self.begin_run(forced=forced, clean=clean)
        return self.finish_run()

    def begin_run(self, *, forced: tuple[str, ...] | None = (), clean: bool = False) -> int:
        """The number of a run that has been asked for."""
        self._number += 1
        spec = PipelineSpec(
            name=self.pipeline,
            additional=self.additional,
            final_vars=self.final_vars,
            values=pickle.dumps({"inputs": self.inputs, "config": self.config}),
            **self.options,
        )
        self.tell(
            Run(run=self._number, revision=self._number, spec=spec, forced=forced, clean=clean)
        )
        return self._number

    def finish_run(self) -> Ran:
        found = Ran()
        while True:
            report = self.hear()
            _note(report, found)
            if isinstance(report, Tidied) and report.run == self._number:
                return found

    def settle(self) -> Ran:
        """Runs until nothing is found to be spoilt any more, as the daemon does; the last one."""
        for _ in range(5):
            found = self.run()
            if not found.spoilt:
                return found
        raise AssertionError(f"it never settles: {found}")

    # -- values -------------------------------------------------------------------------------

    def fetch(self, node: str, format: str = "pickle") -> Fetched:
        self._number += 1
        request = self._number
        self.tell(
            Fetch(
                request=request,
                pipeline=self.pipeline,
                node=node,
                format=format,
                folder=str(self.root / ".hamdev" / "values"),
                inline_bytes=_INLINE,
            )
        )
        while True:
            report = self.hear()
            if isinstance(report, Fetched) and report.request == request:
                return report

    def value(self, node: str) -> Any:
        """A value of plain data."""
        content = self._pickled(node)
        assert content is not None, f"{node!r} has no value that can be pickled"
        return pickle.loads(content)

    def values(self, nodes: Iterable[str]) -> dict[str, str]:
        return {node: shown(self._pickled(node)) for node in nodes}

    def _pickled(self, node: str) -> bytes | None:
        found = self.fetch(node)
        assert not found.missing, f"{node!r} has no value"
        if found.formats is not None:
            return None
        assert found.error is None, found.error
        if found.path is not None:
            return Path(found.path).read_bytes()
        assert found.value is not None
        return base64.b64decode(found.value.strip('"'))

    # -- a new process ------------------------------------------------------------------------

    def oracle(self) -> Judgement:
        """What a new process makes of the files as they are now."""
        assert self._warm is not None
        config = {
            "additional_modules": list(self.additional),
            "inputs": self.inputs,
            "config": self.config,
        }
        if self.final_vars:
            config["final_vars"] = list(self.final_vars)
        pickled = base64.b64encode(pickle.dumps(config)).decode()
        arguments = {"pipeline": self.pipeline, "config": pickled}
        _, connection = self._warm.fork("oracle", self.root, arguments)
        with connection:
            content = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        judged = pickle.loads(content)
        values = {node: shown(pickled) for node, pickled in judged["values"].items()}
        return Judgement(values, judged["failed"], judged["error"])

    def check(
        self,
        found: Ran,
        volatile: frozenset[str] = frozenset(),
        *,
        may_fail: bool = False,
        given_up: frozenset[str] = frozenset(),
        judged: Judgement | None = None,
    ) -> Judgement:
        """Everything that is served is what a new process computes, but for `volatile` nodes.

        What fails has to fail in a new process too, and only if it may. The values of `given_up`
        are not looked at. Without `judged` the oracle is asked.
        """
        judged = judged or self.oracle()
        assert may_fail or found.outcome == "ok", found
        if judged.error:
            assert found.problems, f"a new process cannot load this: {judged.error}"
            return judged
        assert not found.problems, found.problems
        assert found.failed.keys() | found.blocked == judged.failed, found
        served = self.values(found.nodes - judged.failed - given_up)
        assert served.keys() == judged.values.keys() - given_up
        different = {n for n in served if served[n] != judged.values[n]} - volatile
        assert not different, {n: (served[n], judged.values[n]) for n in different}
        return judged

    def driven(self, plain: Warm, wanted: Iterable[str] | None = None) -> Judgement:
        """What Hamilton's driver alone, without anything of hamdev, makes of the files.

        It stops at the first node that fails; which ones do is not told then.

        Args:
            plain: what the driver's process is forked from.
            wanted: the nodes that are asked for; None: all.
        """
        given = pickle.dumps({"config": self.config, "inputs": self.inputs})
        arguments = {
            "modules": [f"pipelines.{name}" for name in (*self.additional, self.pipeline)],
            "given": base64.b64encode(given).decode(),
            "wanted": None if wanted is None else [*wanted],
        }
        _, connection = plain.fork("plain", self.root, arguments)
        with connection:
            content = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        found = pickle.loads(content)
        values = {node: shown(pickled) for node, pickled in found["values"].items()}
        failed = {f"some: {found['error']}"} if found["error"] else set()
        return Judgement(values, failed, found["build_error"])

    def check_oracle(self, plain: Warm, judged: Judgement) -> None:
        """What the oracle has said of the files is what Hamilton's driver says of them, too."""
        driven = self.driven(plain)
        assert bool(driven.error) == bool(judged.error), (driven.error, judged)
        assert bool(driven.failed) == bool(judged.failed), (driven.failed, judged)
        if judged.failed:
            driven = self.driven(plain, judged.values)
            assert not driven.failed
        assert judged.error or driven.values == judged.values

    # -- frames -------------------------------------------------------------------------------

    def tell(self, command: Command) -> None:
        self._socket.sendall(encode_frame(command))

    def hear(self) -> Report:
        while not self._heard:
            chunk = self._socket.recv(1 << 16)
            if not chunk:
                raise EOFError("the worker is gone")
            self._heard += self._decoder.feed(chunk)
        return self._heard.pop(0)

    def hear_until(self, node: str) -> None:
        """Wait until a node's function is about to be called."""
        while True:
            report = self.hear()
            if isinstance(report, NodeStarted) and report.node == node:
                return

    def kill(self) -> None:
        """SIGKILL; returns when the process is no more."""
        os.kill(self.pid, signal.SIGKILL)
        while self._socket.recv(1 << 16):
            pass
        self.close()

    def close(self) -> None:
        self._socket.close()
        if self._process is not None:
            self._process.wait(60)


@dataclass(frozen=True)
class Judgement:
    """What a new process computes.

    Attributes:
        values: node → its value, shown.
        failed: nodes without a value.
        error: why nothing can be computed at all.
    """

    values: dict[str, str]
    failed: set[str]
    error: str


@contextmanager
def worker_process(warm: Warm | None, root: Path, keep_in: Path, **options: Any) -> Iterator[Any]:
    worker = WorkerProcess(warm, root, keep_in, **options)
    try:
        yield worker
    finally:
        worker.close()


def _note(report: Report, found: Ran) -> None:
    match report:
        case Planned():
            found.plan = {step.node: step for step in report.plan}
            found.warnings += report.warnings
            found.restored = report.restored
        case Loaded():
            found.files.update(report.files)
        case NodeStarted():
            found.started.append(report.node)
        case NodeFinished():
            found.finished[report.node] = report
            (found.ran if report.action == "ran" else found.recalled).append(report.node)
        case NodeFailed():
            found.failed[report.node] = report.problem
        case NodeBlocked():
            found.blocked.add(report.node)
        case Output():
            found.output += report.text
        case Spoilt():
            found.spoilt += report.nodes
            found.warnings += report.warnings
        case RunEnded():
            found.problems += [*report.load_problems, *report.problems]
            found.outcome = report.outcome
