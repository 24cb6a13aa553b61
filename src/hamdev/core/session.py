"""What now? The daemon's decisions as a state machine: events in, instructions out.

Theory. `_known` says for every file that a pipeline is built from what it holds, by whoever read
it last: the watcher, or a worker that loaded it. Everything else keeps one sentence true: *a
pipeline's latest run, queued or going on or ended, is of what its files are known to hold.*

- A change of what is known is a new revision. Every pipeline that the file belongs to is queued,
  and a run of it that is going on is superseded.
- A worker that loads something else than what was known has read a newer content, unless the
  watcher reported the file after the run began. Newer content is a revision too, and the run is
  of that revision. If nobody can say which is newer, the pipeline runs again.
- A load that fails, or finds an empty file, while it reads what the watcher has not seen settle may
  have read half of a save. Nobody is told; the pipeline runs again when the file has settled.
- One worker executes one run at a time; queued pipelines wait in the order of the settings.
- A run is cancelled politely first. It has `GRACE_S` to get to a place where user code can be
  interrupted, and `INTERRUPTED_GRACE_S` from there. Then its worker is ended and the spare takes
  its place.
- A worker that is worn has effects of code that is gone, and cannot compute what a new process
  would. Its run begins again in the spare, under the same number.
- When a worker is lost, the values it held are lost, and pipelines run again: at once those that
  had nothing to do with it; a pipeline whose own run brought the worker down waits for a cause;
  so each cause leads to a bounded number of runs.
- Every run that has a number ends: one that is dropped before it began is reported as cancelled.

Everything that affects these transitions is in this file. It has no clock and does no I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, assert_never

from msgspec import UNSET

from hamdev.core.causes import merged, reused_after_all, saved
from hamdev.core.session_messages import (
    CancelAsked,
    Contents,
    ContentsSeen,
    EndWorker,
    FilesWritten,
    GraceOver,
    Instruction,
    Look,
    PipelinesConfigured,
    Publish,
    RerunAsked,
    SessionEvent,
    SettingsProblemChanged,
    StartTimer,
    StartWorker,
    Tell,
    TimeOver,
    Watch,
    WorkerLost,
    WorkerSaid,
)
from hamdev.core.snapshot import PipelineView
from hamdev.messages import (
    Anticipate,
    Cancel,
    Cause,
    Described,
    Event,
    Fetched,
    Interrupted,
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
    ProblemKind,
    Ready,
    Report,
    RowsRead,
    Run,
    RunEnded,
    SourceRead,
    Spoilt,
    Tidied,
)

__all__ = [
    "CancelAsked",
    "ContentsSeen",
    "EndWorker",
    "FilesWritten",
    "GraceOver",
    "Instruction",
    "Look",
    "PipelinesConfigured",
    "Publish",
    "RerunAsked",
    "Session",
    "SessionEvent",
    "SettingsProblemChanged",
    "StartTimer",
    "StartWorker",
    "Tell",
    "TimeOver",
    "Watch",
    "WorkerLost",
    "WorkerSaid",
]

# User code may be in a library's C code, where no exception can be raised yet.
GRACE_S = 0.5
# The exception was raised, so only code that swallows it, or cleans up after itself, is left.
INTERRUPTED_GRACE_S = 0.05
MAX_START_DELAY_S = 30.0
# A run during which the worker is killed from outside is repeated this often.
MAX_REPEATS = 3
# So often in a row, a load may be put off because a file is being written. Code that writes its own
# modules while it is loaded would do so for ever.
MAX_POSTPONED = 3
# A worker that is asked for a DAG may answer with the one before the latest.
MAX_COMPOSED = 4
EMPTY = hashlib.sha256(b"").hexdigest()

Ending = Literal["superseded", "cancelled", "timeout"]


@dataclass(slots=True)
class _Queued:
    """A run that waits.

    Attributes:
        forced: nodes that are to be executed whatever is remembered; None: all.
        clean: forget what is kept on disk first.
    """

    run: int
    cause: Cause
    forced: frozenset[str] | None = frozenset()
    clean: bool = False


@dataclass(slots=True)
class _Pipeline:
    """One pipeline.

    Attributes:
        files: what it is built from, as far as known; after a failed load also what it was built
            from before.
        repeats: runs that were repeated since the last one that ended or had a cause of its own.
        revived: it ran again since an idle worker broke down, and had no other cause since.
        brought_down: its latest run cost a worker, or was given up on demand.
        unshown: values of superseded runs, which the worker remembers and may reuse.
        plan: what happened to each node in the latest run, and because of what.
        unsettled: files that it waits for: they may be half written.
        postponed: how often in a row it did so.
        composed: the latest runs that composed its DAG → the revision that this DAG is of.
    """

    spec: PipelineSpec
    view: PipelineView
    files: frozenset[str] = frozenset()
    queued: _Queued | None = None
    repeats: int = 0
    revived: bool = False
    brought_down: bool = False
    unshown: dict[str, NodeFinished] = field(default_factory=dict)
    plan: dict[str, PlanStep] = field(default_factory=dict)
    unsettled: frozenset[str] = frozenset()
    postponed: int = 0
    composed: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Current:
    """The run that a worker is executing.

    Attributes:
        outdated: its pipeline had a newer cause, so what it computes is nobody's current value;
            that stays so if the run for the newer cause is cancelled.
        loaded: what the worker has read for it so far.
        reported: files that the watcher has reported since the run began.
        unsettled: files that were newer when they were loaded than what the watcher had reported,
            and that it has not reported since.
        announced: its `run.started` is out.
    """

    run: int
    revision: int
    pipeline: str
    spec: PipelineSpec
    cause: Cause
    worker: int
    ending: Ending | None = None
    outdated: bool = False
    time_problem: Problem | None = None
    interrupted: bool = False
    announced: bool = False
    loaded: dict[str, str | None] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)
    unsettled: set[str] = field(default_factory=set)
    places: dict[str, NodePlace] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    forced: frozenset[str] | None = frozenset()
    ran: int = 0
    reused: int = 0
    failed: int = 0


class Session:
    """The daemon's state; `handle` is its only mutator.

    Attributes:
        revision: number of the latest settled set of file contents.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._pipelines: dict[str, _Pipeline] = {}
        self._known: dict[str, str | None] = {}
        self._watched: frozenset[str] = frozenset()
        self._current: _Current | None = None
        self._worker: int | None = None
        self._spare: int | None = None
        self._starting: int | None = None
        self._next_worker = 1
        self._next_run = 1
        self._useless_workers = 0
        self._untidied: tuple[int, int] | None = None
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
        """Whether every pipeline's latest run, of what its files are known to hold, is over."""
        if self._untidied is not None and self._untidied[0] == self._worker:
            return False  # it may still find values that were changed in place
        return not self.is_at_work

    @property
    def is_at_work(self) -> bool:
        """Whether a run is going on or waits."""
        return self._current is not None or any(p.queued for p in self._pipelines.values())

    @property
    def contents(self) -> Mapping[str, str | None]:
        """Each file that counts → the digest of what it holds, as far as that has been seen."""
        return self._known

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

    def is_at_work_on(self, pipeline: str) -> bool:
        """Whether a run of this pipeline waits or is being executed."""
        return pipeline in self._pipelines and self.queued_run(pipeline) is not None

    def why(self, pipeline: str, node: str) -> PlanStep | None:
        """What happened to a node in the latest run, and because of what."""
        return self._pipelines[pipeline].plan.get(node)

    def composed(self, pipeline: str) -> dict[int, int]:
        """The latest runs that composed this pipeline's DAG → the revision it is of, in order."""
        return self._pipelines[pipeline].composed if pipeline in self._pipelines else {}

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
                self._settled(contents)
                self._take_in(contents)
            case FilesWritten(files):
                self._anticipate(files)
            case WorkerSaid(worker, report):
                self._report(worker, report)
            case WorkerLost():
                self._worker_lost(event)
            case GraceOver(run):
                if (current := self._current) is not None and current.run == run:
                    self._give_up_worker(current)
            case TimeOver(run):
                if (current := self._current) is not None and current.run == run:
                    self._time_over(current)
            case RerunAsked():
                self._rerun(event)
            case CancelAsked():
                for name, pipeline in self._pipelines.items():
                    self._drop(name, pipeline)
                self._interrupt("cancelled")
            case _:
                assert_never(event)
        self._next()
        return self._out

    # -- causes -------------------------------------------------------------------------------

    def _configure(self, event: PipelinesConfigured) -> None:
        before, self._pipelines = self._pipelines, {}
        changed = []
        for spec in event.specs:
            pipeline = before.pop(spec.name, None)
            if pipeline is None:
                pipeline = _Pipeline(spec, PipelineView([*spec.additional, spec.name]))
                changed.append(spec.name)
            elif pipeline.spec != spec:
                pipeline.spec = spec
                changed.append(spec.name)
            self._pipelines[spec.name] = pipeline
            if spec.name in changed:
                pipeline.files |= frozenset(event.places.get(spec.name, ()))
        if changed or before or self.revision == 0:
            # The settings are content too: what they change must be told apart by its date.
            self._new_revision(event.cause.files)
        for name, removed in before.items():
            self._drop(name, removed)
        for name in changed:
            self._enqueue(name, event.cause)
        if self._current is not None and self._current.pipeline in before:
            self._supersede(self._current)
        self._watch()
        self._show_project_problems()

    def _settled(self, contents: Contents) -> None:
        if self._current is not None:
            self._current.reported |= contents.keys()
            self._current.unsettled -= contents.keys()
        for pipeline in self._pipelines.values():
            pipeline.unsettled -= contents.keys()

    def _take_in(self, contents: Contents, loaded_by: str | None = None) -> None:
        """Files hold this. Those who are built from a changed one run again, but `loaded_by`."""
        for path in self._watched & contents.keys():
            self._known.setdefault(path, contents[path])
        changed = {
            path
            for path, digest in contents.items()
            if path in self._known and self._known[path] != digest
        }
        if not changed:
            return
        self._known.update((path, contents[path]) for path in changed)
        self._new_revision(sorted(changed))
        for name, pipeline in self._pipelines.items():
            if name != loaded_by and (files := sorted(changed & pipeline.files)):
                self._enqueue(name, saved(files))

    def _anticipate(self, files: Sequence[str]) -> None:
        """Nothing is decided by it; an idle worker can get ready for the run that may come."""
        if self._worker is None or self._current is not None:
            return
        for pipeline in self._pipelines.values():
            if not pipeline.files.isdisjoint(files):
                self._out.append(Tell(self._worker, Anticipate(spec=pipeline.spec)))

    def _new_revision(self, files: Sequence[str] | None) -> None:
        self.revision += 1
        if files:
            self._publish("files.changed", files=list(files))

    def _rerun(self, event: RerunAsked) -> None:
        names = self._pipelines if event.clean else event.pipelines
        for name in names:
            if name in self._pipelines:
                forced = frozenset(event.nodes) if event.nodes else None
                self._enqueue(name, event.cause, forced, event.clean)
        if event.clean and self._worker is not None:
            if self._current is not None:
                self._finish(self._current, "failed")
            self._end_worker()

    def _enqueue(
        self,
        name: str,
        cause: Cause,
        forced: frozenset[str] | None = frozenset(),
        clean: bool = False,
    ) -> None:
        pipeline = self._pipelines[name]
        if cause.kind != "worker":
            pipeline.repeats, pipeline.revived = 0, False
        if pipeline.queued is not None:
            pipeline.queued.cause = merged(pipeline.queued.cause, cause)
        else:
            pipeline.queued = _Queued(self._next_run, cause)
            self._next_run += 1
        pipeline.view.wait()
        queued = pipeline.queued
        queued.forced = _all_of(queued.forced, forced)
        queued.clean |= clean
        if self._current is not None and self._current.pipeline == name:
            queued.forced = _all_of(queued.forced, self._current.forced)
            self._supersede(self._current)

    def _drop(self, name: str, pipeline: _Pipeline) -> None:
        """Its queued run will not be. Somebody may wait for it by its number, so say so."""
        if pipeline.queued is None:
            return
        dropped = _Current(
            pipeline.queued.run, self.revision, name, pipeline.spec, pipeline.queued.cause, worker=0
        )
        pipeline.queued = None
        self._publish_finished(dropped, "cancelled", ms=0.0)
        if self._current is None or self._current.pipeline != name:
            pipeline.view.rest()

    # -- runs ---------------------------------------------------------------------------------

    def _next(self) -> None:
        """Start the next run if the worker is free; see that there is a worker and a spare."""
        if self._worker is None and self._spare is not None:
            self._worker, self._spare = self._spare, None
        if self._current is None and self._worker is not None:
            for name, pipeline in self._pipelines.items():
                if pipeline.queued is not None and not pipeline.unsettled:
                    self._start(name, pipeline, pipeline.queued, self._worker)
                    break
        needs_worker = self._worker is None
        # The spare would take a core from the first load, so it waits until that is done.
        is_loaded = self._current is None or self._current.announced
        needs_spare = self._spare is None and self._worker is not None and is_loaded
        if self._starting is None and (needs_worker or needs_spare):
            self._starting = self._next_worker
            self._next_worker += 1
            self._out.append(StartWorker(self._starting, _start_delay(self._useless_workers)))

    def _start(self, name: str, pipeline: _Pipeline, queued: _Queued, worker: int) -> None:
        pipeline.queued = None
        pipeline.brought_down = False
        spec, revision = pipeline.spec, self.revision
        self._current = _Current(queued.run, revision, name, spec, queued.cause, worker)
        self._current.forced = queued.forced
        pipeline.view.begin(queued.run, revision)
        command = Run(
            run=queued.run,
            revision=revision,
            spec=spec,
            forced=None if queued.forced is None else tuple(sorted(queued.forced)),
            forced_by="" if queued.forced == frozenset() else queued.cause.text,
            clean=queued.clean,
        )
        self._out.append(Tell(worker, command))
        if spec.timeout_s:
            self._out.append(StartTimer("time", queued.run, spec.timeout_s))

    def _supersede(self, current: _Current) -> None:
        current.outdated = True
        self._interrupt("superseded")

    def _interrupt(self, ending: Ending) -> None:
        current = self._current
        if current is None or current.ending is not None:
            return
        current.ending = ending
        self._out.append(Tell(current.worker, Cancel(run=current.run)))
        self._out.append(StartTimer("grace", current.run, GRACE_S))

    def _time_over(self, current: _Current) -> None:
        limit = f"the run took longer than timeout_s = {current.spec.timeout_s:g}"
        kind: ProblemKind = "node" if current.running else "worker"
        current.time_problem = self._problem_of(current, limit, kind=kind)
        self._interrupt("timeout")

    def _give_up_worker(self, current: _Current) -> None:
        problem = self._problem_of(
            current, f"run {current.run} did not stop when it was told to; its worker was replaced"
        )
        self._end_worker()
        self._publish("worker.lost", problem=problem)
        self._finish(current, "failed", brought_down=True)
        self._run_innocent_again(current.pipeline)

    def _announce(self, current: _Current, plan: list[PlanStep]) -> None:
        if not current.announced:
            current.announced = True
            self._publish_run(current, "run.started", cause=current.cause, plan=plan)

    def _finish(
        self,
        current: _Current,
        outcome: Outcome,
        problems: Sequence[Problem] = (),
        ms: float = 0.0,
        brought_down: bool = False,
    ) -> None:
        self._current = None
        if current.ending == "timeout":
            outcome = "failed"
            if current.time_problem is not None:
                problems = [current.time_problem, *problems]
        elif current.ending is not None:
            outcome, problems = current.ending, ()
        pipeline = self._pipelines.get(current.pipeline)
        if pipeline is not None:
            pipeline.brought_down = brought_down
            pipeline.view.end(outcome == "failed", problems)
            if pipeline.queued is not None:
                pipeline.view.wait()
            elif current.outdated:
                # What made it so was dropped before it began.
                pipeline.view.mark_stale()
        self._publish_finished(current, outcome, ms)

    def _publish_finished(self, current: _Current, outcome: Outcome, ms: float) -> None:
        self._announce(current, [])
        self._publish_run(
            current,
            "run.finished",
            outcome=outcome,
            ms=ms,
            ran=current.ran,
            reused=current.reused,
            failed=current.failed,
        )

    # -- reports from workers -----------------------------------------------------------------

    def _report(self, worker: int, report: Report) -> None:
        current = self._current
        if isinstance(report, Ready):
            self._ready(worker)
        elif isinstance(report, Output):
            self._output(worker, report)
        elif isinstance(report, Fetched | RowsRead | Described | SourceRead):
            pass  # the server asked for it
        elif isinstance(report, Spoilt):
            self._spoilt(worker, report)
        elif isinstance(report, Tidied):
            if self._untidied == (worker, report.run):
                self._untidied = None
        elif current is not None and (worker, report.run) == (current.worker, current.run):
            pipeline = self._pipelines.get(current.pipeline)
            match report:
                case RunEnded():
                    self._ended(current, pipeline, report)
                case Interrupted():
                    if current.ending is not None and not current.interrupted:
                        current.interrupted = True
                        self._out.append(StartTimer("grace", current.run, INTERRUPTED_GRACE_S))
                case Loaded():
                    if pipeline is not None:
                        self._loaded(current, pipeline, report)
                case _ if pipeline is None or current.outdated:
                    self._outdated_run_says(current, pipeline, report)
                case Planned():
                    self._planned(current, pipeline, report)
                case _:
                    self._node(current, pipeline, report)

    def _outdated_run_says(
        self,
        current: _Current,
        pipeline: _Pipeline | None,
        report: Planned | NodeStarted | NodeFinished | NodeFailed | NodeBlocked,
    ) -> None:
        """What it computes is nobody's current value."""
        match report:
            case Planned():
                current.places = report.nodes
                if pipeline is not None:
                    _note_composed(pipeline, current)
                self._announce(current, report.plan)
            case NodeStarted(node=node):
                current.running.append(node)
            case NodeFinished(node=node):
                _remove(current.running, node)
                if pipeline is not None:
                    pipeline.unshown[node] = report
            case NodeFailed(node=node):
                _remove(current.running, node)
            case NodeBlocked():
                pass
            case _:
                assert_never(report)

    def _loaded(self, current: _Current, pipeline: _Pipeline, report: Loaded) -> None:
        """Take in what a worker has read; it may say so several times in the course of a run."""
        newer, doubtful = {}, []
        for path, digest in report.files.items():
            if current.loaded.get(path, digest) != digest:
                doubtful.append(path)
            elif self._known.setdefault(path, digest) != digest:
                if path in current.reported:
                    doubtful.append(path)
                else:
                    newer[path] = digest
        current.loaded |= report.files
        pipeline.files |= report.files.keys()
        self._watch()
        if newer:
            if current.cause.kind == "save" and not current.announced:
                current.cause = merged(current.cause, saved(sorted(newer)))
            self._take_in(newer, loaded_by=current.pipeline)
            self._out.append(Look(frozenset(newer)))
            current.unsettled |= newer.keys()
            if EMPTY in newer.values() and not current.announced:
                self._postpone(current, pipeline)
        # An outdated run has a successor, or somebody cancelled that.
        if doubtful and not current.outdated:
            self._enqueue(current.pipeline, saved(sorted(doubtful)))
        if not current.outdated:
            current.revision = self.revision
            pipeline.view.date(self.revision)
            if current.run in pipeline.composed:
                _note_composed(pipeline, current)
        third_party = sorted({*self._third_party, *report.third_party})
        if third_party != self._third_party:
            self._third_party = third_party
            if self._spare is not None:
                self._out.append(Tell(self._spare, Preload(modules=third_party)))

    def _postpone(self, current: _Current, pipeline: _Pipeline) -> None:
        """If the run read what may be half written: run again when that has settled."""
        if not current.unsettled or current.outdated or pipeline.postponed >= MAX_POSTPONED:
            return
        pipeline.postponed += 1
        self._enqueue(current.pipeline, current.cause)
        for other in self._pipelines.values():
            other.unsettled |= other.files & current.unsettled

    def _planned(self, current: _Current, pipeline: _Pipeline, report: Planned) -> None:
        current.places = report.nodes
        _note_composed(pipeline, current)
        if current.loaded:
            pipeline.files = frozenset(current.loaded)
            self._watch()
        pipeline.view.plan(report, pipeline.unshown)
        pipeline.plan = {step.node: step for step in report.plan}
        current.reused = sum(step.action == "reuse" for step in report.plan)
        self._announce(current, report.plan)
        for step in report.plan:
            if step.action == "reuse":
                self._show_reused(current, pipeline, report, step.node)
        for leaf, problem in report.blocked.items():
            current.failed += 1
            self._publish_run(current, "node.failed", node=leaf, problem=problem)
        for message in report.warnings:
            self._publish_run(current, "warning", message=message)

    def _show_reused(
        self, current: _Current, pipeline: _Pipeline, report: Planned, node: str
    ) -> None:
        """Tell of a reused value that nobody was told of when it was computed."""
        value = report.restored.get(node) or pipeline.unshown.pop(node, None)
        if value is not None:
            self._publish_run(
                current,
                "node.finished",
                node=node,
                ms=value.ms,
                action="reused",
                changed=True,
                summary=value.summary,
                diff=value.diff or UNSET,
            )

    def _node(
        self,
        current: _Current,
        pipeline: _Pipeline,
        report: NodeStarted | NodeFinished | NodeFailed | NodeBlocked,
    ) -> None:
        view = pipeline.view
        match report:
            case NodeStarted():
                current.running.append(report.node)
                view.node_started(report.node)
                self._publish_run(current, "node.started", node=report.node)
            case NodeFinished():
                _remove(current.running, report.node)
                pipeline.unshown.pop(report.node, None)
                if report.action == "reused":
                    current.reused += 1
                    pipeline.plan[report.node] = reused_after_all(pipeline.plan[report.node])
                else:
                    current.ran += 1
                view.node_finished(
                    report.node, report.ms, report.summary, report.action, report.diff
                )
                self._publish_run(
                    current,
                    "node.finished",
                    node=report.node,
                    ms=report.ms,
                    action=report.action,
                    changed=report.changed,
                    summary=report.summary,
                    diff=report.diff or UNSET,
                )
            case NodeFailed():
                _remove(current.running, report.node)
                # The failure of a node that was told to stop is none of its own.
                if current.ending is None:
                    current.failed += 1
                    view.node_failed(report.node, report.problem)
                    self._publish_run(
                        current, "node.failed", node=report.node, problem=report.problem
                    )
            case NodeBlocked():
                if current.ending is None:
                    view.node_blocked(report.node)
                    self._publish_run(current, "node.blocked", node=report.node, by=report.by)
            case _:
                assert_never(report)

    def _ended(self, current: _Current, pipeline: _Pipeline | None, report: RunEnded) -> None:
        self._useless_workers = 0
        if report.is_worn:
            self._hand_on(current, pipeline)
            return
        self._untidied = current.worker, current.run
        if pipeline is not None:
            pipeline.repeats = 0
            if report.load_problems and current.ending is None:
                self._postpone(current, pipeline)
            if current.ending is None:
                pipeline.postponed = 0
        if report.load_problems and current.ending is None:
            self._announce(current, [])
            self._publish_run(current, "load.failed", problems=report.load_problems)
        self._finish(current, report.outcome, [*report.load_problems, *report.problems], report.ms)

    def _hand_on(self, current: _Current, pipeline: _Pipeline | None) -> None:
        """A new process executes the run, under the same number."""
        self._end_worker()
        if pipeline is None or current.ending is not None:
            self._finish(current, "cancelled")
        else:
            self._current = None
            pipeline.queued = _Queued(current.run, current.cause, current.forced)
            pipeline.view.wait()
        self._run_innocent_again(current.pipeline)

    def _spoilt(self, worker: int, report: Spoilt) -> None:
        """A node has changed its inputs in place, so what is served may be wrong."""
        pipeline = self._pipelines.get(report.pipeline)
        if worker != self._worker or pipeline is None:
            return
        for message in report.warnings:
            self._publish("warning", pipeline=report.pipeline, run=report.run, message=message)
        if report.nodes and not self._is_busy_with(report.pipeline):
            text = f"values changed in place: {', '.join(report.nodes[:5])}"
            self._enqueue(report.pipeline, Cause(kind="spoilt", text=text))

    def _is_busy_with(self, name: str) -> bool:
        """Whether a run of the pipeline is going on or waits; it will find what is spoilt."""
        is_running = self._current is not None and self._current.pipeline == name
        return is_running or self._pipelines[name].queued is not None

    def _output(self, worker: int, report: Output) -> None:
        current = self._current
        fields: dict[str, Any] = {"stream": report.stream, "text": report.text}
        if report.node:
            fields["node"] = report.node
        is_its = current is not None and current.worker == worker
        if current is None or not is_its or report.run not in (None, current.run):
            self._publish("output", **fields)
        elif current.announced:
            self._publish_run(current, "output", **fields)
        else:
            # Of a module that is being loaded: shown at once, though the plan is not known yet.
            self._publish("output", pipeline=current.pipeline, **fields)

    # -- workers ------------------------------------------------------------------------------

    def _ready(self, worker: int) -> None:
        if worker != self._starting:
            return
        self._starting = None
        if self._worker_problem is not None:
            self._worker_problem = None
            self._show_project_problems()
        if self._worker is None:
            self._worker = worker
        else:
            self._spare = worker
            if self._third_party:
                self._out.append(Tell(worker, Preload(modules=self._third_party)))
        self._publish("worker.ready")

    def _worker_lost(self, event: WorkerLost) -> None:
        if event.worker == self._starting:
            self._starting = None
            self._useless_workers += 1
            problem = Problem(
                kind="worker",
                message=f"a worker could not start: it {event.reason}. Trying again.",
            )
            # One spare that is lost while another worker serves is nobody's concern.
            if self._worker is None or self._useless_workers > 1:
                self._worker_problem = problem
                self._show_project_problems()
            self._publish("worker.lost", problem=problem)
        elif event.worker == self._spare:
            self._spare = None
            self._useless_workers += 1
        elif event.worker == self._worker:
            self._worker = None
            if self._current is None:
                self._useless_workers += 1
                self._idle_worker_lost(event)
            else:
                self._run_lost(self._current, event)

    def _idle_worker_lost(self, event: WorkerLost) -> None:
        problem = Problem(
            kind="worker", message=f"the idle worker {event.reason}; its values are lost"
        )
        self._publish("worker.lost", problem=problem)
        for name, pipeline in self._pipelines.items():
            pipeline.view.mark_stale()
            pipeline.unshown.clear()
            if pipeline.revived and not event.by_kill:
                # What it left behind brings down an idle worker, and would do so for ever.
                pipeline.view.end(failed=True, problems=[problem])
            elif pipeline.view.nodes and not pipeline.brought_down:
                pipeline.revived = not event.by_kill
                self._enqueue(name, _VALUES_GONE)

    def _run_lost(self, current: _Current, event: WorkerLost) -> None:
        node = current.running[-1] if current.running else None
        where = f" in node {node!r}" if node else " while the modules were loaded"
        problem = self._problem_of(current, f"the worker {event.reason}{where}", event.place)
        self._publish("worker.lost", problem=problem)
        self._finish(current, "failed", [problem], brought_down=True)
        pipeline = self._pipelines.get(current.pipeline)
        may_repeat = event.by_kill and current.ending is None
        if pipeline is not None and may_repeat and pipeline.repeats < MAX_REPEATS:
            pipeline.repeats += 1
            text = f"the worker {event.reason} during run {current.run}"
            self._enqueue(current.pipeline, Cause(kind="worker", text=text))
        self._run_innocent_again(current.pipeline)

    def _run_innocent_again(self, culprit: str) -> None:
        """The values of all pipelines are gone; those that never cost a worker get new ones."""
        for name, pipeline in self._pipelines.items():
            pipeline.view.mark_stale()
            pipeline.unshown.clear()
            if name != culprit and pipeline.view.nodes and not pipeline.brought_down:
                self._enqueue(name, _VALUES_GONE)

    def _end_worker(self) -> None:
        if self._worker is not None:
            self._out.append(EndWorker(self._worker))
            self._worker = None

    # -- telling ------------------------------------------------------------------------------

    def _watch(self) -> None:
        files = frozenset[str]().union(*(p.files for p in self._pipelines.values()))
        if files != self._watched:
            self._watched = files
            self._known = {path: digest for path, digest in self._known.items() if path in files}
            self._out.append(Watch(files))

    def _show_project_problems(self) -> None:
        """Problems of the project as a whole are shown by every pipeline."""
        wanted = [p for p in (self._settings_problem, self._worker_problem) if p is not None]
        for pipeline in self._pipelines.values():
            pipeline.view.project_problems = wanted

    def _problem_of(
        self,
        current: _Current,
        message: str,
        place: NodePlace | None = None,
        kind: ProblemKind = "worker",
    ) -> Problem:
        """A problem at the node that is running, if any is."""
        node = current.running[-1] if current.running else None
        place = place or (current.places.get(node) if node else None)
        return Problem(
            kind=kind,
            message=message,
            file=place.file if place else None,
            line=place.line if place else None,
            node=node,
        )

    def _publish_run(self, current: _Current, kind: str, **fields: Any) -> None:
        self._publish(
            kind,
            run=current.run,
            pipeline=current.pipeline,
            revision=current.revision,
            **fields,
        )

    def _publish(self, kind: str, revision: int | None = None, **fields: Any) -> None:
        number = self.revision if revision is None else revision
        self._out.append(Publish(Event(type=kind, revision=number, **fields)))


_VALUES_GONE = Cause(kind="worker", text="the worker that held the values is gone")


def _start_delay(useless_workers: int) -> float:
    """A single loss costs nothing; if one worker after the other is lost, wait ever longer."""
    if useless_workers < 2:
        return 0.0
    return min(0.25 * 2.0 ** min(useless_workers - 1, 16), MAX_START_DELAY_S)


def _note_composed(pipeline: _Pipeline, current: _Current) -> None:
    pipeline.composed[current.run] = current.revision
    if len(pipeline.composed) > MAX_COMPOSED:
        del pipeline.composed[next(iter(pipeline.composed))]


def _all_of(first: frozenset[str] | None, second: frozenset[str] | None) -> frozenset[str] | None:
    """What is forced by either; None stands for all nodes."""
    return None if first is None or second is None else first | second


def _remove(running: list[str], node: str) -> None:
    if node in running:
        running.remove(node)
