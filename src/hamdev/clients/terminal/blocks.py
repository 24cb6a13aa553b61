"""Events → what a person is shown of them: a block for each run, seldom something beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from msgspec import UnsetType, structs

from hamdev.clients.terminal.edits import Edit
from hamdev.clients.terminal.printing import MAX_PRINTING_NODES, Printed
from hamdev.messages import (
    Action,
    Cause,
    Diff,
    Event,
    Outcome,
    PipelineStatus,
    PlanStep,
    Problem,
    Status,
    Summary,
)

# In a run with such a cause there are no values from before.
FROM_NOTHING = {"start", "clean", "worker"}

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Row:
    """A node that got a value in a run.

    Attributes:
        ms: what its function took, now or, if the value is an earlier one, then.
        changed: the value is another one than before.
        is_new: there was no value before.
        is_final: the pipeline is there for its value.
    """

    node: str
    ms: float
    action: Action
    changed: bool
    summary: Summary
    diff: Diff | None = None
    is_new: bool = False
    is_final: bool = False


@dataclass(slots=True)
class Block:
    """One run that is over.

    Attributes:
        time: when it ended, in seconds since the epoch.
        recovered: the run before it failed.
        plan: why nodes ran or were reused.
        rows: nodes that got a value, in order of the plan.
        problems: why it failed.
        not_loaded: the modules could not be loaded, so no node ran.
        blocked: a failed node → those that wait for it.
        replaced: the runs that this one took the place of.
        served_revision: of the newest value that is served; None if there is none.
        edits: which lines were changed.
        spared: nothing that the pipeline is made of means something else than before.
    """

    time: float
    revision: int
    run: int
    pipeline: str
    cause: Cause
    outcome: Outcome
    ms: float
    ran: int = 0
    reused: int = 0
    recovered: bool = False
    plan: list[PlanStep] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    not_loaded: bool = False
    blocked: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    printed: list[Printed] = field(default_factory=list)
    replaced: list[Replaced] = field(default_factory=list)
    served_revision: int | None = None
    edits: list[Edit] = field(default_factory=list)
    spared: bool = False

    @property
    def files(self) -> list[str]:
        """The saved files that led to it, those of the runs that it replaced among them."""
        causes = [self.cause, *(replaced.cause for replaced in self.replaced)]
        return sorted({file for cause in causes for file in cause.files or ()})


@dataclass(frozen=True, slots=True)
class Replaced:
    """A run that a newer save made useless.

    Attributes:
        seconds: how long it took.
        node: the one that it was at in the end.
        by_force: it did not stop when it was told to.
    """

    run: int
    cause: Cause
    seconds: float
    node: str | None = None
    by_force: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened beside the runs: a warning, a problem, or what was printed."""

    time: float
    warning: str = ""
    problem: Problem | None = None
    printed: Printed | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What is going on now.

    Attributes:
        since: when the run, or the load, began.
        done: how many of `planned` nodes have ended.
        node: the one that runs, if any does; of several the one that runs longest.
        node_since: when it began.
        said: the last line that was printed, unless it has been shown.
    """

    since: float
    run: int | None = None
    pipeline: str = ""
    done: int = 0
    planned: int = 0
    node: str | None = None
    node_since: float = 0.0
    said: str = ""


class Runs:
    """Follows the event stream; it knows no clock but the events' own."""

    def __init__(self, begun: float) -> None:
        self._open: dict[int, _Run] = {}
        self._begun: dict[str, int] = {}
        self._replaced: dict[str, list[Replaced]] = {}
        self._failed: set[str] = set()
        self._early: dict[str, Printed] = {}
        self._lost: tuple[float, Problem] | None = None
        # Since when somebody waits for a run that has not been announced.
        self._waits_since: float | None = begun

    def take(self, event: Event, status: Status | None = None) -> Iterator[Block | Notice]:
        """What is to be shown because of an event, mostly nothing yet.

        Args:
            event: the next one.
            status: what is served now, or will have been served a little later.
        """
        if self._lost is not None and event.type != "run.finished":
            yield Notice(self._lost[0], problem=self._lost[1])
            self._lost = None
        run = self._open.get(event.run) if isinstance(event.run, int) else None
        match event.type:
            case "files.changed":
                self._waits_since = event.time
            case "run.started":
                self._begin(event)
            case "run.finished" if run is not None:
                yield from self._end(run, event, status)
            case "load.failed" if run is not None:
                run.block.problems += _given(event.problems, [])
                run.block.not_loaded = True
            case "worker.lost" if isinstance(event.problem, Problem):
                # It may be that a run ends because of it, which is then the next event.
                self._lost = event.time, event.problem
            case "output":
                yield from self._printed(run, event)
            case "warning" if isinstance(event.message, str):
                if run is not None:
                    run.block.warnings.append(event.message)
                elif isinstance(event.run, int):
                    yield Notice(event.time, event.message)
            case "snapshot" if isinstance(event.snapshot, Status):
                yield from self._start_anew(event, event.snapshot)
            case _ if run is not None:
                run.take_node(event)

    def progress(self) -> Progress | None:
        """What is going on; None if nothing is."""
        if not self._open:
            since = self._waits_since
            return None if since is None else Progress(since, said=self._last_said())
        run = next(iter(self._open.values()))
        node, since = next(iter(run.running.items()), (None, 0.0))
        last = next(reversed(run.printed.values()), None)
        return Progress(
            run.began,
            run.block.run,
            run.block.pipeline,
            run.done,
            run.planned,
            node,
            since,
            _unshown_end(last),
        )

    def rest(self) -> None:
        """No run is going on or waits, whatever was announced."""
        self._waits_since = None

    def _last_said(self) -> str:
        return _unshown_end(next(iter(self._early.values()), None))

    def new_output(self, now: float, after_s: float) -> Iterator[tuple[str, Printed]]:
        """What was printed in runs and loads that go on for so long; with the pipeline.

        Of many nodes only the first ones are given: what they all print is more than can be read.
        """
        for run in self._open.values():
            if now - run.began >= after_s:
                some = list(run.printed.values())[:MAX_PRINTING_NODES]
                yield from ((run.block.pipeline, printed) for printed in some)
        if self._waits_since is not None and now - self._waits_since >= after_s:
            yield from self._early.items()

    # -- runs ---------------------------------------------------------------------------------

    def _begin(self, event: Event) -> None:
        assert isinstance(event.run, int)
        pipeline = str(event.pipeline)
        run = _Run(event)
        if (early := self._early.pop(pipeline, None)) is not None:
            run.printed[""] = early
        self._open[event.run] = run
        self._begun[pipeline] = event.run
        self._waits_since = None

    def _end(self, run: _Run, event: Event, status: Status | None) -> Iterator[Block]:
        block = run.block
        del self._open[block.run]
        lost, self._lost = self._lost, None
        pipeline = block.pipeline
        block.time, block.revision = event.time, event.revision
        block.outcome = _given(event.outcome, "ok")
        block.ms = _given(event.ms, 0.0) or (event.time - run.began) * 1e3
        block.ran, block.reused = _given(event.ran, 0), _given(event.reused, 0)
        if block.outcome == "superseded":
            node = next(iter(run.running), None)
            self._replaced.setdefault(pipeline, []).append(
                Replaced(block.run, block.cause, event.time - run.began, node, lost is not None)
            )
            self._waits_since = event.time
            return
        if lost is not None:
            block.problems.append(lost[1])
        served = status.pipelines.get(pipeline) if status is not None else None
        block.replaced = self._replaced.pop(pipeline, [])
        run.complete(served)
        block.recovered = pipeline in self._failed and block.outcome == "ok"
        if block.outcome == "failed":
            self._failed.add(pipeline)
        elif block.outcome == "ok":
            self._failed.discard(pipeline)
        yield block

    def _printed(self, run: _Run | None, event: Event) -> Iterator[Notice]:
        node, text = _given(event.node, None), _given(event.text, "")
        if run is not None:
            run.printed.setdefault(node or "", Printed(node)).add(text)
        elif isinstance(event.pipeline, str):  # a module that is being loaded
            self._early.setdefault(event.pipeline, Printed(None)).add(text)
        else:
            printed = Printed(None)
            printed.add(text)
            yield Notice(event.time, printed=printed)

    def _start_anew(self, event: Event, status: Status) -> Iterator[Block]:
        """Events were missed; runs that have ended meanwhile are shown by what is served."""
        for run in list(self._open.values()):
            served = status.pipelines.get(run.block.pipeline)
            if served is None or served.run != run.block.run:
                del self._open[run.block.run]
        for name, served in status.pipelines.items():
            if served.run is None or served.run <= self._begun.get(name, 0):
                if served.run not in self._open:
                    continue
            else:
                cause = Cause(kind="", text="many events at once")
                self._begin(structs.replace(event, run=served.run, pipeline=name, cause=cause))
            if served.state in ("idle", "failed"):
                yield self._end_by_status(self._open.pop(served.run), event, served)

    def _end_by_status(self, run: _Run, event: Event, served: PipelineStatus) -> Block:
        run.take_status(served)
        block = run.block
        block.time, block.revision = event.time, served.revision
        block.ms = (event.time - run.began) * 1e3
        block.outcome = "failed" if served.state == "failed" else "ok"
        run.complete(served)
        block.ran = len(block.rows)
        block.reused = sum(node.action == "reused" for node in served.nodes.values())
        return block


class _Run:
    """A run that is going on."""

    def __init__(self, event: Event) -> None:
        plan = _given(event.plan, [])
        cause = _given(event.cause, None) or Cause(kind="", text="")
        run, pipeline = _given(event.run, 0), str(event.pipeline)
        self.block = Block(event.time, event.revision, run, pipeline, cause, "ok", 0.0, plan=plan)
        self.began = event.time
        self.planned = sum(step.action == "run" for step in plan)
        self.done = 0
        self.running: dict[str, float] = {}
        self.printed: dict[str, Printed] = {}
        self._rows: dict[str, Row] = {}
        self._reasons = {step.node: step for step in plan}

    def take_node(self, event: Event) -> None:
        """Take in what happened to a node."""
        node = _given(event.node, "")
        match event.type:
            case "node.started":
                self.running[node] = event.time
            case "node.finished" if isinstance(event.summary, Summary):
                self.done += self.running.pop(node, None) is not None
                action: Action = _given(event.action, "ran")
                changed = _given(event.changed, True)
                if action == "reused" and not changed:
                    return
                diff = _given(event.diff, None)
                self._add(node, _given(event.ms, 0.0), action, changed, event.summary, diff)
            case "node.failed" if isinstance(event.problem, Problem):
                self.done += self.running.pop(node, None) is not None
                self.block.problems.append(event.problem)
            case "node.blocked":
                self.done += 1
                self.block.blocked.setdefault(str(event.by), []).append(node)

    def take_status(self, served: PipelineStatus) -> None:
        """Take in what the nodes are now, in place of the events."""
        for node, state in served.nodes.items():
            if state.run == served.run and state.action == "ran" and node not in self._rows:
                summary, diff = _given(state.summary, None), _given(state.diff, None)
                if summary is not None:
                    self._add(node, state.ms or 0.0, "ran", diff is not None, summary, diff)

    def complete(self, served: PipelineStatus | None) -> None:
        """Fill in the block what is known only in the end."""
        block, rows = self.block, self._rows
        finals = frozenset(served.final_vars if served is not None else ())
        # What was reused comes before the rest, since that was known before; shown is the plan's.
        order = [step.node for step in block.plan if step.node in rows] or list(rows)
        order += [node for node in rows if node not in self._reasons and block.plan]
        # What such a run was the first to compute has never been shown.
        was_new = any(replaced.cause.kind in FROM_NOTHING for replaced in block.replaced)
        for node in order:
            row = rows[node]
            is_new = row.is_new or (was_new and row.diff is None and row.action == "reused")
            block.rows.append(replace(row, is_final=node in finals, is_new=is_new))
        block.printed = list(self.printed.values())
        kinds = {because.kind for step in block.plan for because in step.because}
        block.spared = not rows and kinds == {"unchanged"}
        if served is not None:
            dates = [node.revision for node in served.nodes.values() if node.revision is not None]
            block.served_revision = max(dates, default=None)
        if block.outcome == "failed" and served is not None and served.run == block.run:
            told = {problem.message for problem in block.problems}
            block.problems += [p for p in served.problems if p.message not in told]

    def _add(
        self,
        node: str,
        ms: float,
        action: Action,
        changed: bool,
        summary: Summary,
        diff: Diff | None,
    ) -> None:
        step = self._reasons.get(node)
        is_new = self.block.cause.kind in FROM_NOTHING or (
            step is not None and any(because.kind == "new" for because in step.because)
        )
        self._rows[node] = Row(node, ms, action, changed, summary, diff, is_new)


def most_telling(rows: list[Row], count: int) -> list[Row]:
    """The rows that are worth a line: results, what has changed, what took long; in order."""
    if len(rows) <= count:
        return rows
    ranked = sorted(
        range(len(rows)),
        key=lambda i: (
            -rows[i].is_final - (rows[i].diff is not None or rows[i].changed),
            -rows[i].is_final,
            -rows[i].ms,
        ),
    )
    return [rows[i] for i in sorted(ranked[:count])]


def _unshown_end(printed: Printed | None) -> str:
    return "" if printed is None or printed.is_shown else printed.last


def _given(value: T | UnsetType, default: U) -> T | U:
    return default if isinstance(value, UnsetType) else value
