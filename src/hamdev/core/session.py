"""What now? The daemon's decisions as a state machine: events in, instructions out.

Theory. The daemon knows, for every file that a pipeline was built from, the content hash that
the worker *loaded* (`_Pipeline.loaded`) and the content hash that was last *seen* on disk
(`_seen`). A pipeline is up to date if it has no run queued or going on and, for each of its
files, loaded equals seen. Everything else follows:

- A change of what is seen is a new revision; every pipeline that knows the file is queued, and a
  run of it that is going on is superseded.
- One worker executes one run at a time; queued pipelines wait in the order of the settings.
- A run is cancelled politely first. If it has not ended when its grace is over, its worker is
  ended and the spare takes its place.
- When a worker is lost, the values it held are lost. Pipelines that were fine are run again;
  a pipeline whose own run brought the worker down waits for the next save.

Everything that affects these transitions is in this file. It has no clock and does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, assert_never

from hamdev.core.snapshot import PipelineView
from hamdev.messages import (
    Because,
    Cancel,
    Cause,
    Command,
    Event,
    Fetched,
    Loaded,
    NodeBlocked,
    NodeFailed,
    NodeFinished,
    NodePlace,
    NodeStarted,
    Outcome,
    Output,
    PipelineSpec,
    PipelineStatus,
    Planned,
    PlanStep,
    Preload,
    Problem,
    Ready,
    Report,
    Run,
    RunEnded,
)

Contents = Mapping[str, str | None]
MAX_START_DELAY_S = 30.0

# -- events --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PipelinesConfigured:
    """These are the pipelines to serve; those whose spec changed run again."""

    specs: Sequence[PipelineSpec]
    cause: Cause


@dataclass(frozen=True, slots=True)
class SettingsProblemChanged:
    """The settings file is broken (the last good settings hold), or no longer is."""

    problem: Problem | None


@dataclass(frozen=True, slots=True)
class ContentsSeen:
    """What settled files now hold: path → sha256, or None where there is no file."""

    contents: Contents


@dataclass(frozen=True, slots=True)
class WorkerSaid:
    """A report from a worker."""

    worker: int
    report: Report


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker's process has ended.

    Attributes:
        reason: for people, such as `was killed by SIGSEGV`.
        by_kill: it was killed from outside, so its run was not to blame.
        place: where in the user's code it ended, if that is known.
    """

    worker: int
    reason: str
    by_kill: bool = False
    place: NodePlace | None = None


@dataclass(frozen=True, slots=True)
class GraceOver:
    """A cancelled run has had its time to end politely."""

    run: int


@dataclass(frozen=True, slots=True)
class TimeOver:
    """A run has used up its `timeout_s`."""

    run: int


@dataclass(frozen=True, slots=True)
class RerunAsked:
    """Someone wants these pipelines run again; `clean`: in a new worker."""

    pipelines: Sequence[str]
    cause: Cause
    clean: bool = False


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Someone wants the current run to end."""


SessionEvent = (
    PipelinesConfigured
    | SettingsProblemChanged
    | ContentsSeen
    | WorkerSaid
    | WorkerLost
    | GraceOver
    | TimeOver
    | RerunAsked
    | CancelAsked
)

# -- instructions --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker process under this number, after a pause."""

    worker: int
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EndWorker:
    """Kill the worker and everything it started; it is not reported as lost."""

    worker: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a command to a worker."""

    worker: int
    command: Command


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Hand in `GraceOver` or `TimeOver` for this run after a while."""

    kind: Literal["grace", "time"]
    run: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Keep comparing exactly these files with the disk."""

    files: frozenset[str]


@dataclass(frozen=True, slots=True)
class Look:
    """Read these files now and hand in `ContentsSeen`: worker and watcher disagree on them."""

    files: frozenset[str]


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell everybody; the hub adds number and time."""

    event: Event


Instruction = StartWorker | EndWorker | Tell | StartTimer | Watch | Look | Publish

# -- the machine ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Queued:
    run: int
    cause: Cause


@dataclass(slots=True)
class _Pipeline:
    spec: PipelineSpec
    view: PipelineView
    loaded: dict[str, str | None] = field(default_factory=dict)
    queued: _Queued | None = None
    retried: bool = False


@dataclass(slots=True)
class _Current:
    """The run that the worker is executing."""

    run: int
    revision: int
    pipeline: str
    cause: Cause
    worker: int
    ending: Literal["superseded", "cancelled", "timeout"] | None = None
    announced: bool = False
    places: dict[str, NodePlace] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    ran: int = 0
    failed: int = 0


class Session:
    """The daemon's state; `handle` is its only mutator.

    Attributes:
        revision: number of the latest settled set of file contents.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._pipelines: dict[str, _Pipeline] = {}
        self._seen: dict[str, str | None] = {}
        self._watched: frozenset[str] = frozenset()
        self._current: _Current | None = None
        self._worker: int | None = None
        self._spare: int | None = None
        self._starting: int | None = None
        self._next_worker = 1
        self._next_run = 1
        self._failed_starts = 0
        self._third_party: list[str] = []
        self._settings_problem: Problem | None = None
        self._worker_problem: Problem | None = None
        self._out: list[Instruction] = []

    # -- what others may ask ------------------------------------------------------------------

    @property
    def worker(self) -> int | None:
        """The worker that holds the values, if there is one."""
        return self._worker

    @property
    def current_run(self) -> int | None:
        """The run that is being executed."""
        return self._current.run if self._current else None

    @property
    def is_quiet(self) -> bool:
        """Whether every pipeline's results are those of what was last seen on disk."""
        return self._current is None and not any(p.queued for p in self._pipelines.values())

    def statuses(self) -> dict[str, PipelineStatus]:
        """Every pipeline as it stands."""
        return {name: pipeline.view.status() for name, pipeline in self._pipelines.items()}

    def queued_run(self, pipeline: str) -> int | None:
        """The id of the run that this pipeline is waiting for or executing."""
        if (queued := self._pipelines[pipeline].queued) is not None:
            return queued.run
        if self._current is not None and self._current.pipeline == pipeline:
            return self._current.run
        return None

    @property
    def single_running_node(self) -> str | None:
        """The node that is being executed, if it is the only one."""
        running = self._current.running if self._current else []
        return running[0] if len(running) == 1 else None

    # -- events in, instructions out ----------------------------------------------------------

    def handle(self, event: SessionEvent) -> list[Instruction]:
        """Take in what happened; return what is to be done, in order."""
        self._out = []
        match event:
            case PipelinesConfigured():
                self._configure(event)
            case SettingsProblemChanged(problem):
                self._settings_problem = problem
                self._show_project_problems()
            case ContentsSeen(contents):
                self._contents_seen(contents)
            case WorkerSaid(worker, report):
                self._report(worker, report)
            case WorkerLost():
                self._worker_lost(event)
            case GraceOver(run):
                if self._current is not None and self._current.run == run:
                    self._give_up_worker()
            case TimeOver(run):
                if self._current is not None and self._current.run == run:
                    self._interrupt("timeout")
            case RerunAsked():
                self._rerun(event)
            case CancelAsked():
                for pipeline in self._pipelines.values():
                    pipeline.queued = None
                self._interrupt("cancelled")
            case _:
                assert_never(event)
        self._next()
        return self._out

    # -- causes -------------------------------------------------------------------------------

    def _configure(self, event: PipelinesConfigured) -> None:
        if self.revision == 0:
            self.revision = 1
        before, self._pipelines = self._pipelines, {}
        for spec in event.specs:
            known = before.get(spec.name)
            if known is not None and known.spec == spec:
                self._pipelines[spec.name] = known
                continue
            view = known.view if known else PipelineView([*spec.additional, spec.name])
            loaded = known.loaded if known else {}
            self._pipelines[spec.name] = _Pipeline(spec, view, loaded)
            self._enqueue(spec.name, event.cause)
        if self._current is not None and self._current.pipeline not in self._pipelines:
            self._interrupt("superseded")
        self._watch()
        self._show_project_problems()

    def _contents_seen(self, contents: Contents) -> None:
        changed = {
            path: digest
            for path, digest in contents.items()
            if path in self._watched and self._seen.get(path, digest) != digest
        }
        self._seen.update((path, contents[path]) for path in contents if path in self._watched)
        if changed:
            self.revision += 1
            files = sorted(changed)
            self._publish("files.changed", files=files)
        for name, pipeline in self._pipelines.items():
            known = changed.keys() & pipeline.loaded.keys()
            behind = {p for p in contents if self._is_behind(pipeline, p)}
            if known or (behind and not self._is_busy(name)):
                files = sorted(known or behind)
                self._enqueue(name, Cause(kind="save", text=_saved_text(files), files=files))

    def _is_behind(self, pipeline: _Pipeline, path: str) -> bool:
        return path in pipeline.loaded and pipeline.loaded[path] != self._seen.get(path)

    def _is_busy(self, name: str) -> bool:
        is_running = self._current is not None and self._current.pipeline == name
        return is_running or self._pipelines[name].queued is not None

    def _rerun(self, event: RerunAsked) -> None:
        for name in event.pipelines:
            self._enqueue(name, event.cause)
        if event.clean and self._worker is not None:
            if self._current is not None:
                self._interrupt("superseded")
            self._end_worker()

    def _enqueue(self, name: str, cause: Cause) -> None:
        pipeline = self._pipelines[name]
        pipeline.retried = False
        if pipeline.queued is not None:
            pipeline.queued.cause = _merged(pipeline.queued.cause, cause)
        else:
            pipeline.queued = _Queued(self._next_run, cause)
            self._next_run += 1
        pipeline.view.mark_stale()
        if self._current is not None and self._current.pipeline == name:
            self._interrupt("superseded")

    # -- runs ---------------------------------------------------------------------------------

    def _next(self) -> None:
        """Start the next run if the worker is free; see that there is a worker and a spare."""
        self._promote()
        if self._current is None and self._worker is not None:
            for name, pipeline in self._pipelines.items():
                if pipeline.queued is not None:
                    self._start(name, pipeline, pipeline.queued, self._worker)
                    break
        needs_worker = self._worker is None
        # The spare would take a core from the first load, so it waits until that is done.
        is_loaded = self._current is None or self._current.announced
        needs_spare = self._spare is None and self._worker is not None and is_loaded
        if self._starting is None and (needs_worker or needs_spare):
            self._starting = self._next_worker
            self._next_worker += 1
            delay = (
                0.0
                if not self._failed_starts
                else min(0.25 * 2**self._failed_starts, MAX_START_DELAY_S)
            )
            self._out.append(StartWorker(self._starting, delay))

    def _promote(self) -> None:
        if self._worker is None and self._spare is not None:
            self._worker, self._spare = self._spare, None

    def _start(self, name: str, pipeline: _Pipeline, queued: _Queued, worker: int) -> None:
        pipeline.queued = None
        self._current = _Current(queued.run, self.revision, name, queued.cause, worker)
        pipeline.view.begin(queued.run, self.revision)
        self._show_project_problems()
        command = Run(run=queued.run, revision=self.revision, spec=pipeline.spec)
        self._out.append(Tell(worker, command))
        if pipeline.spec.timeout_s:
            self._out.append(StartTimer("time", queued.run, pipeline.spec.timeout_s))

    def _interrupt(self, ending: Literal["superseded", "cancelled", "timeout"]) -> None:
        current = self._current
        if current is None or current.ending is not None:
            return
        current.ending = ending
        self._out.append(Tell(current.worker, Cancel(run=current.run)))
        self._out.append(StartTimer("grace", current.run))

    def _give_up_worker(self) -> None:
        current = self._current
        assert current is not None
        place = current.places.get(current.running[-1]) if current.running else None
        problem = Problem(
            kind="worker",
            message=f"run {current.run} did not stop when it was told to; its worker was replaced",
            file=place.file if place else None,
            line=place.line if place else None,
            node=current.running[-1] if current.running else None,
        )
        self._end_worker()
        self._publish("worker.lost", problem=problem)
        self._values_are_gone(except_for=current.pipeline)
        self._finish("failed", [])

    def _announce(self, plan: list[PlanStep]) -> None:
        current = self._current
        assert current is not None
        if not current.announced:
            current.announced = True
            self._publish_run("run.started", cause=current.cause, plan=plan)

    def _finish(self, outcome: Outcome, problems: Sequence[Problem], ms: float = 0.0) -> None:
        current = self._current
        assert current is not None
        self._announce([])
        self._current = None
        if current.ending in ("superseded", "cancelled"):
            outcome = "superseded" if current.ending == "superseded" else "cancelled"
        elif current.ending == "timeout":
            outcome = "failed"
            problems = [*problems, self._timeout_problem(current)]
        pipeline = self._pipelines.get(current.pipeline)
        if pipeline is not None:
            pipeline.view.end(outcome == "failed", problems)
            if outcome == "superseded":
                pipeline.view.mark_stale()
                pipeline.view.state = "running"
            self._show_project_problems()
        self._publish(
            "run.finished",
            run=current.run,
            pipeline=current.pipeline,
            revision=current.revision,
            outcome=outcome,
            ms=ms,
            ran=current.ran,
            reused=0,
            failed=current.failed,
        )

    def _timeout_problem(self, current: _Current) -> Problem:
        spec = self._pipelines[current.pipeline].spec
        node = current.running[-1] if current.running else None
        place = current.places.get(node) if node else None
        return Problem(
            kind="node" if node else "worker",
            message=f"the run took longer than timeout_s = {spec.timeout_s:g}"
            + (f", in node {node!r}" if node else ""),
            file=place.file if place else None,
            line=place.line if place else None,
            node=node,
        )

    # -- reports from workers -----------------------------------------------------------------

    def _report(self, worker: int, report: Report) -> None:
        if isinstance(report, Ready):
            self._ready(worker, report)
            return
        if isinstance(report, Output):
            self._output(report)
            return
        current = self._current
        if isinstance(report, Fetched) or current is None or report.run != current.run:
            return
        view = (
            self._pipelines[current.pipeline].view if current.pipeline in self._pipelines else None
        )
        if view is None:
            if isinstance(report, RunEnded):
                self._finish(report.outcome, [])
            return
        match report:
            case Loaded():
                self._loaded(current, report)
            case Planned():
                self._planned(current, view, report)
            case NodeStarted():
                current.running.append(report.node)
                view.node_started(report.node)
                self._publish_run("node.started", node=report.node)
            case NodeFinished():
                self._no_longer_running(current, report.node)
                current.ran += 1
                # What a run computes after it was superseded is nobody's current value.
                if current.ending != "superseded":
                    view.node_finished(report.node, report.ms, report.summary)
                    self._publish_run(
                        "node.finished",
                        node=report.node,
                        ms=report.ms,
                        action="ran",
                        changed=report.changed,
                        summary=report.summary,
                    )
            case NodeFailed():
                self._no_longer_running(current, report.node)
                if current.ending is None:
                    current.failed += 1
                    view.node_failed(report.node, report.problem)
                    self._publish_run("node.failed", node=report.node, problem=report.problem)
            case NodeBlocked():
                if current.ending is None:
                    view.node_blocked(report.node)
                    self._publish_run("node.blocked", node=report.node, by=report.by)
            case RunEnded():
                if report.load_problems:
                    self._announce([])
                    if current.ending is None:
                        self._publish_run("load.failed", problems=report.load_problems)
                self._finish(report.outcome, [*report.load_problems, *report.problems], report.ms)
            case _:
                assert_never(report)

    def _ready(self, worker: int, report: Ready) -> None:
        if worker == self._starting:
            self._starting = None
            self._failed_starts = 0
            if self._worker_problem is not None:
                self._worker_problem = None
                self._show_project_problems()
        if self._worker is None:
            self._worker = worker
        elif self._spare is None and worker != self._worker:
            self._spare = worker
            if self._third_party:
                self._out.append(Tell(worker, Preload(modules=self._third_party)))
        self._publish("worker.ready")

    def _loaded(self, current: _Current, report: Loaded) -> None:
        pipeline = self._pipelines[current.pipeline]
        # A file stays known while it may come back: the last good modules came from it.
        pipeline.loaded = dict(report.files)
        doubtful = set()
        for path, digest in report.files.items():
            if self._seen.setdefault(path, digest) != digest:
                doubtful.add(path)
        if report.third_party and report.third_party != self._third_party:
            self._third_party = report.third_party
            if self._spare is not None:
                self._out.append(Tell(self._spare, Preload(modules=self._third_party)))
        self._watch()
        if doubtful and current.ending is None:
            self._out.append(Look(frozenset(doubtful)))

    def _planned(self, current: _Current, view: PipelineView, report: Planned) -> None:
        current.places = report.nodes
        view.plan(report.modules, report.final_vars, report.nodes, report.blocked)
        if current.ending is not None:
            view.mark_stale()
        self._announce([_rerun_step(n, place, current.cause) for n, place in report.nodes.items()])
        for leaf, problem in report.blocked.items():
            current.failed += 1
            self._publish_run("node.failed", node=leaf, problem=problem)
        for message in report.warnings:
            self._publish_run("warning", message=message)

    def _no_longer_running(self, current: _Current, node: str) -> None:
        if node in current.running:
            current.running.remove(node)

    def _output(self, report: Output) -> None:
        current = self._current
        extra: dict[str, object] = {"node": report.node} if report.node else {}
        if current is not None and report.run in (None, current.run):
            self._publish_run("output", stream=report.stream, text=report.text, **extra)
        else:
            self._publish("output", stream=report.stream, text=report.text, **extra)

    # -- workers ------------------------------------------------------------------------------

    def _worker_lost(self, event: WorkerLost) -> None:
        if event.worker == self._starting:
            self._starting = None
            self._failed_starts += 1
            self._worker_problem = Problem(
                kind="worker",
                message=f"a worker could not start: it {event.reason}. Trying again.",
            )
            self._show_project_problems()
            self._publish("worker.lost", problem=self._worker_problem)
        elif event.worker == self._spare:
            self._spare = None
        elif event.worker == self._worker:
            self._worker = None
            self._working_one_lost(event)

    def _working_one_lost(self, event: WorkerLost) -> None:
        current = self._current
        if current is None:
            problem = Problem(
                kind="worker",
                message=f"the idle worker {event.reason}; its values are computed again",
            )
            self._publish("worker.lost", problem=problem)
            self._values_are_gone(except_for=None)
            return
        node = current.running[-1] if current.running else None
        place = event.place or (current.places.get(node) if node else None)
        where = f" in node {node!r}" if node else " while the modules were loaded"
        problem = Problem(
            kind="worker",
            message=f"the worker {event.reason}{where}",
            file=place.file if place else None,
            line=place.line if place else None,
            node=node,
        )
        self._publish("worker.lost", problem=problem)
        pipeline = self._pipelines.get(current.pipeline)
        self._values_are_gone(except_for=current.pipeline)
        self._finish("failed", [problem])
        if (
            event.by_kill
            and pipeline is not None
            and not pipeline.retried
            and pipeline.queued is None
        ):
            self._enqueue(
                current.pipeline,
                Cause(kind="worker", text=f"the worker {event.reason} during run {current.run}"),
            )
            pipeline.retried = True

    def _values_are_gone(self, except_for: str | None) -> None:
        for name, pipeline in self._pipelines.items():
            pipeline.view.mark_stale()
            # Once only: code that brings down an idle worker would do so for ever.
            if name == except_for or pipeline.queued or pipeline.retried or not pipeline.view.nodes:
                continue
            self._enqueue(
                name, Cause(kind="worker", text="the worker that held the values is gone")
            )
            pipeline.retried = True

    def _end_worker(self) -> None:
        if self._worker is not None:
            self._out.append(EndWorker(self._worker))
            self._worker = None

    # -- telling ------------------------------------------------------------------------------

    def _watch(self) -> None:
        files = frozenset().union(*(p.loaded for p in self._pipelines.values()))
        if files != self._watched:
            self._watched = files
            self._seen = {path: digest for path, digest in self._seen.items() if path in files}
            self._out.append(Watch(files))

    def _show_project_problems(self) -> None:
        """Problems of the project as a whole are shown by every pipeline."""
        wanted = [p for p in (self._settings_problem, self._worker_problem) if p is not None]
        for pipeline in self._pipelines.values():
            pipeline.view.project_problems = wanted

    def _publish_run(self, kind: str, **fields: object) -> None:
        current = self._current
        assert current is not None
        self._publish(
            kind,
            run=current.run,
            pipeline=current.pipeline,
            revision=current.revision,
            **fields,
        )

    def _publish(self, kind: str, revision: int | None = None, **fields: object) -> None:
        number = self.revision if revision is None else revision
        self._out.append(Publish(Event(type=kind, revision=number, **fields)))  # type: ignore[arg-type]


def _rerun_step(node: str, place: NodePlace, cause: Cause) -> PlanStep:
    reason = Because(
        kind="rerun",
        text=f"every node runs at every run; this one because of: {cause.text}",
        name=node,
        file=place.file,
        line=place.line,
    )
    return PlanStep(node=node, action="run", because=[reason])


def _saved_text(files: Sequence[str]) -> str:
    names = [path.rpartition("/")[2] for path in files]
    return (
        f"{names[0]} changed"
        if len(names) == 1
        else f"{len(names)} files changed: {', '.join(names[:5])}"
    )


def _merged(first: Cause, second: Cause) -> Cause:
    if first.kind != second.kind or first.files is None or second.files is None:
        return second
    files = sorted({*first.files, *second.files})
    return Cause(kind=second.kind, text=_saved_text(files), files=files)
