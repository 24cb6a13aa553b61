"""Disk, watcher and workers play against the session, in any order.

The fakes lose events, read files late and in parts, report late, hang, crash and get killed. What
is asserted is the theory at the head of `core/session.py`, and invariants 1, 2 and 4.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from session_driver import ASKED, PLACE, READY, SETTINGS, START, spec

from hamdev.core.session import (
    EMPTY,
    CancelAsked,
    ContentsSeen,
    EndWorker,
    GraceOver,
    Look,
    PipelinesConfigured,
    Publish,
    RerunAsked,
    Session,
    SessionEvent,
    StartTimer,
    StartWorker,
    Tell,
    TimeOver,
    Watch,
    WorkerLost,
    WorkerSaid,
)
from hamdev.messages import (
    Cancel,
    Cause,
    Command,
    Event,
    Interrupted,
    Loaded,
    NodeFinished,
    NodeStarted,
    Output,
    Planned,
    PlanStep,
    Preload,
    Problem,
    Report,
    Run,
    RunEnded,
    Summary,
    Tidied,
)

FILES = ("a", "b", "common", "helper")
NAMES = ("a", "b")
# A pipeline reads its own file and `common`; if its own file says so, `helper` too.
USES_HELPER = "with helper"
CONTENTS = st.sampled_from(["1", "2", USES_HELPER, USES_HELPER + " again", EMPTY, None])


def uses_helper(content: str | None) -> bool:
    return content is not None and content.startswith(USES_HELPER)


@dataclass
class Going:
    """A run in a fake worker."""

    command: Run
    to_do: deque[str]
    read: dict[str, str | None] = field(default_factory=dict)
    cancelled: bool = False


@dataclass
class FakeWorker:
    commands: deque[Command] = field(default_factory=deque)
    reports: deque[Report] = field(default_factory=deque)
    going: Going | None = None
    is_ready: bool = False
    is_alive: bool = True
    is_ended: bool = False


@dataclass
class Told:
    """What was published of a run."""

    events: list[Event] = field(default_factory=list)
    read: dict[str, str | None] | None = None


class World(RuleBasedStateMachine):
    @initialize(count=st.integers(1, 2), is_loaded=st.booleans())
    def begin(self, count: int, is_loaded: bool) -> None:
        self.session = Session()
        self.disk: dict[str, str | None] = dict.fromkeys(FILES, "1")
        self.watched: frozenset[str] = frozenset()
        self.handed_in: dict[str, str | None] = {}
        self.hinted: set[str] = set()
        self.hashed: deque[dict[str, str | None]] = deque()
        self.workers: dict[int, FakeWorker] = {}
        self.timers: list[StartTimer] = []
        self.stubborn: set[int] = set()
        self.runs: dict[int, Told] = {}
        self.told_runs = 0
        self.causes = 0
        self.revision = 0
        self.changed_at: dict[str, int] = {}
        self.specs = [spec(name, timeout_s=5.0) for name in NAMES[:count]]
        self.give(PipelinesConfigured(self.specs, START))
        self.causes += count
        if is_loaded:
            self.quiesce()

    # -- the session's world ------------------------------------------------------------------

    def give(self, event: SessionEvent) -> None:
        for instruction in self.session.handle(event):
            match instruction:
                case StartWorker(worker):
                    assert worker not in self.workers
                    self.workers[worker] = FakeWorker()
                case EndWorker(worker):
                    assert not self.workers[worker].is_ended
                    self.causes += 1
                    self.workers[worker].is_ended = True
                    self.end(self.workers[worker])
                case Tell(worker, command):
                    self.told(self.workers[worker], command)
                case StartTimer():
                    assert instruction.seconds > 0
                    self.timers.append(instruction)
                case Watch(files):
                    self.hinted |= files - self.watched
                    self.watched = files
                    self.handed_in = {f: d for f, d in self.handed_in.items() if f in files}
                case Look(files):
                    assert files <= self.watched
                    self.hinted |= files
                case Publish(published):
                    self.published(published)
        # Whoever asked for a run may wait for it by its number.
        for name in self.session.statuses():
            if (run := self.session.queued_run(name)) is not None:
                self.runs.setdefault(run, Told())

    def end(self, worker: FakeWorker) -> None:
        worker.is_alive = False
        worker.going = None
        worker.commands.clear()

    def told(self, worker: FakeWorker, command: Command) -> None:
        assert worker.is_ready
        assert not worker.is_ended
        if isinstance(command, Run):
            self.told_runs += 1
            assert worker.going is None or any(isinstance(r, RunEnded) for r in worker.reports)
            assert not any(isinstance(c, Run) for c in worker.commands)
            self.runs.setdefault(command.run, Told())
        # Its process may have ended, and the session not know yet.
        if worker.is_alive:
            worker.commands.append(command)

    def published(self, event: Event) -> None:
        assert event.revision <= self.session.revision
        if event.type == "files.changed":
            assert event.revision > self.revision
            self.revision = event.revision
            assert isinstance(event.files, list)
            self.changed_at.update(dict.fromkeys(event.files, event.revision))
        if isinstance(event.run, int):
            told = self.runs.setdefault(event.run, Told()).events
            is_first = not told
            assert is_first == (event.type == "run.started")
            assert not told or told[-1].type != "run.finished"
            told.append(event)

    # -- disk and watcher ---------------------------------------------------------------------

    @rule(file=st.sampled_from(FILES), content=CONTENTS, event=st.booleans())
    def write(self, file: str, content: str | None, event: bool) -> None:
        self.causes += self.disk[file] != content
        self.disk[file] = content
        if event and file in self.watched:
            self.hinted.add(file)

    @precondition(lambda self: not self.hashed)
    @rule(file=st.sampled_from(FILES), content=CONTENTS)
    def save(self, file: str, content: str | None) -> None:
        """A write that is known before anything else gets on."""
        self.write(file, content, event=True)
        self.settle()
        self.hand_in()

    @precondition(lambda self: self.session.current_run is not None)
    @rule(file=st.sampled_from(FILES), content=CONTENTS, cancels_first=st.booleans())
    def save_and_cancel(self, file: str, content: str | None, cancels_first: bool) -> None:
        if cancels_first:
            self.cancel()
        if not self.hashed:
            self.save(file, content)
        if not cancels_first:
            self.cancel()

    @rule()
    def sweep(self) -> None:
        self.hinted |= {f for f in self.watched if self.handed_in.get(f, "?") != self.disk[f]}

    @precondition(lambda self: self.hinted and not self.hashed)
    @rule()
    def settle(self) -> None:
        self.hashed.append({f: self.disk[f] for f in sorted(self.hinted & self.watched)})
        self.hinted.clear()

    @precondition(lambda self: self.hashed)
    @rule()
    def hand_in(self) -> None:
        contents = self.hashed.popleft()
        self.handed_in |= contents
        self.give(ContentsSeen(contents))

    # -- workers ------------------------------------------------------------------------------

    def those(self, want: str) -> list[int]:
        def is_it(worker: FakeWorker) -> bool:
            match want:
                case "alive":
                    return worker.is_alive
                case "start":
                    return worker.is_alive and not worker.is_ready and not worker.reports
                case "step":
                    return worker.is_alive and bool(worker.commands or worker.going)
                case _:
                    return bool(worker.reports)

        return [number for number, worker in self.workers.items() if is_it(worker)]

    @precondition(lambda self: self.those("start"))
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.workers[data.draw(st.sampled_from(self.those("start")))].reports.append(READY)

    @precondition(lambda self: self.those("step"))
    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        self.step_worker(data.draw(st.sampled_from(self.those("step"))))

    def step_worker(self, number: int) -> None:
        """A worker reads its next command, or gets on with its run."""
        worker = self.workers[number]
        if worker.commands:
            match worker.commands.popleft():
                case Run() as command:
                    parts = ["read", "read", "plan", "start", "finish", "late", "end"]
                    worker.going = Going(command, deque(parts))
                case Cancel(run=run):
                    going = worker.going
                    if going is not None and going.command.run == run:
                        going.cancelled = True
                        worker.reports.append(Interrupted(run=run))
                case command:
                    assert isinstance(command, Preload)
            return
        going = worker.going
        assert going is not None
        run = going.command.run
        if going.cancelled and run not in self.stubborn:
            worker.reports.append(RunEnded(run=run, outcome="cancelled", ms=1.0))
            worker.reports.append(Tidied(run=run))
            worker.going = None
        elif run not in self.stubborn or going.to_do[0] in ("read", "plan", "start"):
            self.get_on(worker, going)

    def get_on(self, worker: FakeWorker, going: Going) -> None:
        run, name = going.command.run, going.command.spec.name
        match going.to_do.popleft():
            case "read":
                if not going.read:
                    going.read[name] = self.disk[name]
                    if uses_helper(going.read[name]):
                        going.read["helper"] = self.disk["helper"]
                    report: Report = Output(run=run, node=None, stream="stdout", text="x")
                else:
                    going.read["common"] = self.disk["common"]
                    self.runs[run].read = dict(going.read)
                    report = Loaded(run=run, files=dict(going.read), third_party=["numpy"])
            case "plan" if None in going.read.values():
                missing = Problem(kind="import", message="no such module")
                report = RunEnded(run=run, outcome="failed", ms=1.0, load_problems=[missing])
                worker.going = None
            case "plan":
                report = Planned(
                    run=run,
                    modules=[name],
                    final_vars=["n"],
                    nodes={"n": PLACE},
                    plan=[PlanStep(node="n", action="run", because=[])],
                    blocked={},
                    warnings=[],
                )
            case "start":
                report = NodeStarted(run=run, node="n")
            case "finish":
                summary = Summary(type="int", text="1")
                report = NodeFinished(run=run, node="n", ms=1.0, changed=True, summary=summary)
            case "late":
                report = Loaded(run=run, files=dict(going.read), third_party=[])
            case _:
                report = RunEnded(run=run, outcome="ok", ms=1.0)
                worker.going = None
        worker.reports.append(report)
        if isinstance(report, RunEnded):
            worker.reports.append(Tidied(run=run))

    @precondition(lambda self: self.those("report"))
    @rule(data=st.data(), count=st.integers(1, 4))
    def report(self, data: st.DataObject, count: int) -> None:
        number = data.draw(st.sampled_from(self.those("report")))
        for _ in range(min(count, len(self.workers[number].reports))):
            self.report_of(number)

    def report_of(self, number: int) -> None:
        worker = self.workers[number]
        report = worker.reports.popleft()
        worker.is_ready = worker.is_ready or report == READY
        self.give(WorkerSaid(number, report))

    @precondition(lambda self: self.those("alive"))
    @rule(data=st.data(), by_kill=st.booleans(), last_words=st.booleans())
    def lose(self, data: st.DataObject, by_kill: bool, last_words: bool) -> None:
        number = data.draw(st.sampled_from(self.those("alive")), label="worker")
        self.causes += 1
        self.end(self.workers[number])
        while last_words and self.workers[number].reports:
            self.report_of(number)
        self.give(WorkerLost(number, "has ended", by_kill=by_kill))

    @precondition(lambda self: self.session.current_run is not None)
    @rule()
    def be_stubborn(self) -> None:
        assert self.session.current_run is not None
        self.stubborn.add(self.session.current_run)

    # -- people and time ----------------------------------------------------------------------

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def time_passes(self, data: st.DataObject) -> None:
        self.fire(data.draw(st.integers(0, len(self.timers) - 1)))

    def fire(self, index: int) -> None:
        timer = self.timers.pop(index)
        self.give(GraceOver(timer.run) if timer.kind == "grace" else TimeOver(timer.run))

    @rule()
    def cancel(self) -> None:
        self.give(CancelAsked())

    @rule(names=st.lists(st.sampled_from(NAMES), max_size=2), clean=st.booleans())
    def rerun(self, names: list[str], clean: bool) -> None:
        self.causes += 1
        self.give(RerunAsked(names, ASKED, clean=clean))

    @rule(names=st.permutations(NAMES), count=st.integers(0, 2), limit=st.sampled_from([5.0, 6.0]))
    def configure(self, names: list[str], count: int, limit: float) -> None:
        self.causes += 1
        self.specs = [spec(name, timeout_s=limit) for name in names[:count]]
        cause = Cause(kind="settings", text=SETTINGS.text, files=["/p/devserver.toml"])
        self.give(PipelinesConfigured(self.specs, cause))

    @rule(count=st.integers(1, 10))
    def go_on(self, count: int) -> None:
        for _ in range(count):
            self.get_done()

    @rule(
        first=st.sampled_from(FILES),
        second=st.sampled_from(FILES),
        contents=st.tuples(CONTENTS, CONTENTS),
        steps=st.tuples(st.integers(0, 12), st.integers(0, 12)),
        event=st.booleans(),
    )
    def save_twice(
        self,
        first: str,
        second: str,
        contents: tuple[str | None, str | None],
        steps: tuple[int, int],
        event: bool,
    ) -> None:
        """The second one hits the run of the first at some point; what else there is, hits both."""
        self.write(first, contents[0], event=True)
        self.go_on(steps[0])
        self.write(second, contents[1], event)
        self.go_on(steps[1])

    # -- what holds ---------------------------------------------------------------------------

    @invariant()
    def no_value_is_fresh_that_is_older_than_a_known_change(self) -> None:
        for name, status in self.session.statuses().items():
            files = self.session._pipelines[name].files
            newest = max((self.changed_at.get(file, 0) for file in files), default=0)
            for node in status.nodes.values():
                if node.state == "fresh":
                    assert node.revision is not None
                    assert node.revision >= newest

    @invariant()
    def states_agree_with_what_goes_on(self) -> None:
        for name, status in self.session.statuses().items():
            is_busy = self.session.queued_run(name) is not None
            assert is_busy == (status.state in ("starting", "running"))

    @invariant()
    def runs_are_bounded_by_their_causes(self) -> None:
        assert self.told_runs <= len(NAMES) * self.causes

    def get_done(self) -> bool:
        """Something that is under way gets done; False if there is nothing."""
        if self.hashed:
            self.hand_in()
        elif self.hinted & self.watched:
            self.settle()
        elif numbers := self.those("start"):
            self.workers[numbers[0]].reports.append(READY)
        elif numbers := self.those("report"):
            self.report_of(numbers[0])
        elif numbers := [n for n in self.those("step") if not self.is_stuck(self.workers[n])]:
            self.step_worker(numbers[0])
        elif self.timers and self.session.current_run is not None:
            self.fire(0)
        else:
            return False
        return True

    def quiesce(self) -> None:
        """Nothing new happens, and everything that is under way gets done."""
        for _ in range(1000):
            self.sweep()
            if not self.get_done():
                return
        raise AssertionError("it never gets quiet")

    def is_stuck(self, worker: FakeWorker) -> bool:
        going = worker.going
        if worker.commands or going is None or going.command.run not in self.stubborn:
            return False
        return going.to_do[0] not in ("read", "plan", "start")

    @precondition(lambda self: self.workers)
    @rule()
    def be_quiet(self) -> None:
        self.quiesce()
        assert self.session.is_quiet
        assert self.session.worker is not None
        for run, told in self.runs.items():
            assert [e.type for e in told.events].count("run.finished") == 1, run
        for name, status in self.session.statuses().items():
            assert status.state in ("idle", "failed")
            for node in status.nodes.values():
                if node.state == "fresh":
                    assert node.run is not None
                    self.is_of_what_is_on_disk(name, node.run)

    def is_of_what_is_on_disk(self, name: str, run: int) -> None:
        wanted = [name, "common"] + (["helper"] if uses_helper(self.disk[name]) else [])
        assert self.runs[run].read == {file: self.disk[file] for file in wanted}

    def teardown(self) -> None:
        if not hasattr(self, "session"):
            return
        self.be_quiet()
        # A cause for everything, also for what was cancelled or has crashed.
        self.stubborn.clear()
        self.give(RerunAsked(NAMES, ASKED))
        self.quiesce()
        for file in FILES:
            self.write(file, f"last of {file}", event=False)
        before = self.session.revision
        self.be_quiet()
        for name, status in self.session.statuses().items():
            assert status.state == "idle"
            assert status.revision > before
            assert status.run is not None
            self.is_of_what_is_on_disk(name, status.run)
            assert {node.state for node in status.nodes.values()} == {"fresh"}


World.TestCase.settings = settings(
    max_examples=int(os.environ.get("HAMDEV_EXAMPLES", "200")),
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
TestInterleavings = World.TestCase
