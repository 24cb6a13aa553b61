"""What the session hears and says: events in the past tense, instructions in the imperative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hamdev.messages import Cause, Command, Event, NodePlace, PipelineSpec, Problem, Report

Contents = Mapping[str, str | None]

# -- events --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PipelinesConfigured:
    """These are the pipelines to serve; those whose spec changed run again.

    Attributes:
        places: pipeline name → files that its modules may be in; until a worker has found out, it
            is their changes that matter.
    """

    specs: Sequence[PipelineSpec]
    cause: Cause
    places: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SettingsProblemChanged:
    """The settings file is broken (the last good settings hold), or no longer is."""

    problem: Problem | None


@dataclass(frozen=True, slots=True)
class ContentsSeen:
    """What settled files now hold: path → sha256, or None where there is no file."""

    contents: Contents


@dataclass(frozen=True, slots=True)
class FilesWritten:
    """These files were just written and have not settled yet; they may hold what they held."""

    files: Sequence[str]


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
    """Someone wants these pipelines run again.

    Attributes:
        clean: all pipelines, in a new worker that remembers nothing.
        nodes: only these nodes have to be executed; empty: all of them.
    """

    pipelines: Sequence[str]
    cause: Cause
    clean: bool = False
    nodes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Someone wants the current run to end, and those that wait behind it."""


SessionEvent = (
    PipelinesConfigured
    | SettingsProblemChanged
    | ContentsSeen
    | FilesWritten
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
    """Hand in `GraceOver` or `TimeOver` for this run after a while; earlier timers stay."""

    kind: Literal["grace", "time"]
    run: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Keep comparing exactly these files with the disk."""

    files: frozenset[str]


@dataclass(frozen=True, slots=True)
class Look:
    """Hand in `ContentsSeen` for these files: a worker read something newer than what was seen."""

    files: frozenset[str]


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell everybody; the hub adds number and time."""

    event: Event


Instruction = StartWorker | EndWorker | Tell | StartTimer | Watch | Look | Publish
