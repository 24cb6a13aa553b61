"""Random saves, faults and clients: is the result right after each, and is nothing left behind?

    python -m benchmarks.soak --minutes 5
    python -m benchmarks.soak --rounds 1000 --seed 7
    python -m benchmarks.soak --rounds 1000 --saves-only

A round saves something, lets a fault happen at some stage of what follows (a process is killed or
stopped, user code hangs or crashes, a client misbehaves, the socket's file is deleted), saves what
mends it, and then requires that the daemon serves exactly what the files say. A daemon that was
killed is started again, as its user would. With `--saves-only` saves come as fast as they can, in
the middle of loads, runs and other saves, and nothing else happens. At the end the daemon is
stopped, and no process, descriptor, file or memory of it may be left over.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any

import psutil

from benchmarks.daemon import Subscriber, connected
from benchmarks.processes import (
    Child,
    Deadline,
    Refusal,
    beside_python,
    ended_by_signals,
    running,
    write_json,
)
from benchmarks.soak_project import LOADING, RUNNING, SoakProject

_MARK = "HAMDEV_BENCHMARK_MARK"
_LIMIT_S = 60.0
_STAGES = ("files.changed", "run.started", "node.started", "node.finished", "run.finished")
# How long a stage is waited for that may never come.
_STAGE_S = 0.25
_START_S = 0.5
# The first rounds fill caches; what comes later must not grow.
_WARM_ROUNDS = 50


class Served:
    """A daemon that is started again whenever it is found dead, and connections to it.

    Args:
        project: what it serves.
        log: where it writes to.
        random: where all chances come from.
    """

    def __init__(self, project: SoakProject, log: Path, random: Random) -> None:
        self.project = project
        self.starts = 0
        self._log = log
        self._random = random
        self._daemon: ExitStack | None = None
        self._child: Child | None = None
        self._client: ExitStack | None = None
        self._subscriber: Subscriber | None = None

    @property
    def process(self) -> psutil.Process:
        """The daemon's process."""
        assert self._child is not None
        return psutil.Process(self._child.process.pid)

    def ensure(self) -> Subscriber:
        """A subscriber to a daemon that lives."""
        if self._child is None or self._child.process.poll() is not None:
            self._start()
        if self._subscriber is None:
            assert self._child is not None
            self._client = ExitStack()
            stream = self._client.enter_context(connected(self.project.root, self._child))
            self._subscriber = Subscriber(stream, self._child)
            self._subscriber.call("subscribe", {}, _LIMIT_S)
        return self._subscriber

    def drop_client(self) -> None:
        """Close the subscriber's connection, however far it is."""
        if self._client is not None:
            self._client.close()
        self._client = self._subscriber = None

    def stop(self) -> None:
        """End the daemon in order."""
        self.drop_client()
        if self._daemon is not None:
            self._daemon.close()
        self._daemon = self._child = None

    def _start(self) -> None:
        self.stop()
        command = [beside_python("hamdev"), "--project", str(self.project.root), "watch"]
        self._daemon = ExitStack()
        self._child = self._daemon.enter_context(
            running("hamdev watch", command, self.project.root, self._log)
        )
        self.starts += 1

    def workers(self) -> list[psutil.Process]:
        """The daemon's own children, the oldest first."""
        children = self.process.children()
        return sorted(children, key=lambda process: process.create_time())


class Soak:
    """Rounds of saves and faults.

    Args:
        served: the daemon and its project.
        random: where all chances come from.

    Attributes:
        counts: what was done, by name.
    """

    def __init__(self, served: Served, random: Random) -> None:
        self.counts: Counter[str] = Counter()
        self._served = served
        self._project = served.project
        self._random = random
        self._stopped: list[psutil.Process] = []
        self._told: list[str] = []
        self._faults: list[Callable[[], None]] = [
            self._kill_worker, self._kill_worker, self._kill_spare, self._kill_daemon,
            self._stop_worker, self._stop_spare, self._stop_daemon,
            self._drop_client, self._send_noise, self._delete_socket, self._cancel,
            self._rerun, self._ask_much, self._nothing, self._nothing,
        ]  # fmt: skip

    def round(self) -> None:
        """One round.

        Raises:
            Refusal: the result is wrong, or did not come.
        """
        self._told = []
        self._served.ensure()
        for _ in range(self._random.randint(1, 2)):
            self._disturb()
            self._wait_for_a_stage()
            self._do(self._random.choice(self._faults))
        self._continue_all()
        self._project.change()
        self._project.mend()
        self._require_right()

    def quick_round(self) -> None:
        """One round of saves in quick succession.

        Raises:
            Refusal: the result is wrong, or did not come.
        """
        self._told = []
        self._served.ensure()
        for _ in range(self._random.randint(1, 3)):
            how = self._random.choice(_QUICK)
            self._project.break_running(how)
            self._count(f"a node: {how}")
            time.sleep(self._random.choice(_PAUSES_S))
        self._project.change()
        self._project.mend()
        self._require_right()

    def _disturb(self) -> None:
        match self._random.randrange(4):
            case 0:
                how = self._random.choice([*LOADING])
                self._project.break_loading(how)
                self._count(f"a module: {how}")
            case 1 | 2:
                how = self._random.choice([*RUNNING])
                self._project.break_running(how)
                self._count(f"a node: {how}")
            case 3:
                self._project.change()
                self._count("a change")

    def _wait_for_a_stage(self) -> None:
        stage = self._random.choice([*_STAGES, ""])
        with suppress(Refusal, OSError):
            if stage:
                self._served.ensure().next_event(Deadline(_STAGE_S, stage), stage)
            else:
                time.sleep(self._random.random() * 0.02)

    def _do(self, fault: Callable[[], None]) -> None:
        self._count(fault.__name__.strip("_").replace("_", " "))
        # There may be no process to do it to.
        with suppress(psutil.Error, OSError, Refusal, IndexError):
            fault()

    def _count(self, what: str) -> None:
        self.counts[what] += 1
        self._told.append(what)

    # -- faults -------------------------------------------------------------------------------

    def _kill_worker(self) -> None:
        self._served.workers()[0].send_signal(signal.SIGKILL)

    def _kill_spare(self) -> None:
        self._served.workers()[-1].send_signal(signal.SIGKILL)

    def _kill_daemon(self) -> None:
        self._served.process.send_signal(signal.SIGKILL)
        self._served.drop_client()
        self._served.ensure()

    def _stop_worker(self) -> None:
        self._stop(self._served.workers()[0])

    def _stop_spare(self) -> None:
        self._stop(self._served.workers()[-1])

    def _stop_daemon(self) -> None:
        self._stop(self._served.process)
        time.sleep(self._random.random() * 0.1)

    def _stop(self, process: psutil.Process) -> None:
        # A worker that is stopped before it has its guard outlives a daemon that is killed.
        if time.time() - process.create_time() < _START_S:
            return
        process.send_signal(signal.SIGSTOP)
        self._stopped.append(process)

    def _continue_all(self) -> None:
        """What was stopped goes on; now and then a worker does not, and has to be replaced."""
        for process in self._stopped:
            with suppress(psutil.Error):
                if process == self._served.process or self._random.random() < 0.7:
                    process.send_signal(signal.SIGCONT)
                else:
                    self._count("a stopped worker stays so")
        self._stopped = []

    def _drop_client(self) -> None:
        self._served.drop_client()

    def _send_noise(self) -> None:
        with self._other_connection() as stream:
            stream.sendall(self._random.choice(_NOISE))

    def _delete_socket(self) -> None:
        file = self._project.root / ".hamdev" / "daemon.json"
        Path(json.loads(file.read_text(encoding="utf-8"))["socket"]).unlink()

    def _cancel(self) -> None:
        self._served.ensure().call("cancel", {}, _LIMIT_S)

    def _rerun(self) -> None:
        clean = self._random.random() < 0.3
        self._served.ensure().call("rerun", {"clean": clean}, _LIMIT_S)

    def _ask_much(self) -> None:
        with self._other_connection() as stream:
            for number in range(50):
                line = {"jsonrpc": "2.0", "id": number, "method": "status", "params": {}}
                stream.sendall(json.dumps(line).encode() + b"\n")

    def _nothing(self) -> None:
        pass

    def _other_connection(self) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(_LIMIT_S)
        file = self._project.root / ".hamdev" / "daemon.json"
        stream.connect(json.loads(file.read_text(encoding="utf-8"))["socket"])
        return stream

    # -- what must be true --------------------------------------------------------------------

    def _require_right(self) -> None:
        expected = self._project.expected()
        subscriber = self._fresh_subscriber()
        if "cancel" in self._told:
            subscriber.call("rerun", {}, _LIMIT_S)  # what is cancelled waits for a cause
        deadline = Deadline(_LIMIT_S, "a spare")
        while wrong := self._wrong(subscriber.call("sync", {"timeout": _LIMIT_S}, _LIMIT_S + 5)):
            if not all(_says_that_a_spare_is_lost(problem) for problem in wrong):
                raise Refusal(f"{wrong}{self._tell()}")
            # Two spares in a row were killed; that is told until there is one.
            subscriber.next_event(deadline, "worker.ready")
        for node, value in expected.items():
            params = {"node": node, "format": "json"}
            found = subscriber.call("result", params, _LIMIT_S)["value"]
            if found != value:
                raise Refusal(f"{node} is {found}, not {value}{self._tell()}")

    def _wrong(self, status: dict[str, Any]) -> list[Any]:
        """What is not as it should be: states of pipelines, and problems."""
        found: list[Any] = []
        for name, pipeline in status["pipelines"].items():
            if pipeline["state"] != "idle":
                found.append(f"{name} is {pipeline['state']}")
            found += pipeline["problems"]
        return found

    def _fresh_subscriber(self) -> Subscriber:
        """One whose connection is sound; the round may have spoilt the former one's."""
        for _ in range(3):
            try:
                subscriber = self._served.ensure()
                subscriber.call("ping", {}, _LIMIT_S)
            except (Refusal, OSError):
                self._served.drop_client()
            else:
                return subscriber
        return self._served.ensure()

    def _tell(self) -> str:
        return f" after: {', '.join(self._told)}"


def _says_that_a_spare_is_lost(problem: Any) -> bool:
    return isinstance(problem, dict) and "a worker could not start" in problem["message"]


# What a node may do without costing its worker.
_QUICK = [
    "wants too much memory", "raises", "leaves a thread behind", "forks and goes on",
    "prints a flood",
]  # fmt: skip
_PAUSES_S = [0.0, 0.005, 0.015, 0.03, 0.06]
_NOISE = [
    b"\x00\xff\xfe\n",
    b'{"jsonrpc": "2.0", "method": "status"',
    b"[" * 10_000 + b"\n",
    b'{"jsonrpc":"2.0","id":1,"method":"result","params":{"node":"../../etc/passwd"}}\n',
    b"x" * (2 << 20),
]


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="how long, at least")
    parser.add_argument("--rounds", type=int, default=0, help="how many, at least")
    parser.add_argument("--saves-only", action="store_true", help="no faults, and so more saves")
    parser.add_argument("--seed", type=int, default=0, help="of all chances (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all counts there")
    arguments = parser.parse_args()
    if not arguments.minutes and not arguments.rounds:
        arguments.minutes = 1.0
    mark = os.environ[_MARK] = uuid.uuid4().hex
    folder = Path(tempfile.mkdtemp(prefix="hamdev-soak-"))
    os.environ["XDG_RUNTIME_DIR"] = os.environ["XDG_CACHE_HOME"] = str(folder / "user")
    (folder / "user").mkdir(mode=0o700)
    random = Random(arguments.seed)
    log = folder / "log"
    try:
        with ended_by_signals():
            report = _soak(folder, log, random, arguments)
    except Refusal as refusal:
        print(f"{refusal}\nThe log is {log}.", file=sys.stderr)
        return 1
    report["left_over"] = _left_over(mark, folder)
    print(json.dumps(report, indent=2))
    if arguments.json:
        write_json(arguments.json, report)
    is_clean = not any(report["left_over"].values())
    if is_clean:
        shutil.rmtree(folder)
    return 0 if is_clean else 1


def _soak(folder: Path, log: Path, random: Random, arguments: argparse.Namespace) -> dict[str, Any]:
    project = SoakProject(folder / "project", random)
    served = Served(project, log, random)
    soak = Soak(served, random)
    one_round = soak.quick_round if arguments.saves_only else soak.round
    end = time.monotonic() + 60 * arguments.minutes
    rounds = 0
    held: dict[int, tuple[int, int]] = {}
    grown = {"descriptors": 0, "kilobytes": 0}
    try:
        while rounds < arguments.rounds or time.monotonic() < end:
            try:
                one_round()
            except (Refusal, OSError) as error:
                raise Refusal(f"round {rounds} of seed {arguments.seed}: {error}") from error
            rounds += 1
            _note_growth(served.process, held, grown, rounds)
    finally:
        served.stop()
    return {
        "rounds": rounds,
        "daemon_starts": served.starts,
        "counts": dict(sorted(soak.counts.items())),
        "most_grown_in_one_daemon": grown,
    }


def _note_growth(
    process: psutil.Process,
    held: dict[int, tuple[int, int]],
    grown: dict[str, int],
    rounds: int,
) -> None:
    """Compare a daemon's descriptors and memory with those that it had after a while."""
    present = process.num_fds(), process.memory_info().rss // 1024
    before = held.setdefault(process.pid, present)
    if rounds > _WARM_ROUNDS:
        grown["descriptors"] = max(grown["descriptors"], present[0] - before[0])
        grown["kilobytes"] = max(grown["kilobytes"], present[1] - before[1])


def _left_over(mark: str, folder: Path) -> dict[str, list[str]]:
    """Processes and files that should be gone; processes get a moment to end."""
    deadline = time.monotonic() + 10
    while (processes := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    user = folder / "user" / "hamdev"
    files = [
        str(file)
        for file in user.rglob("*")
        if file.suffix in (".sock", ".tmp") or "value-" in file.name or file.suffix == ".values"
    ]
    files += [str(f) for f in (folder / "project" / ".hamdev").glob("daemon.json")]
    return {"processes": processes, "files": files}


def _marked(mark: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_ours = process.pid != os.getpid() and process.environ().get(_MARK) == mark
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found


if __name__ == "__main__":
    sys.exit(_main())
