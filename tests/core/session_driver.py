"""Feeds a `Session` and sorts what it says; shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hamdev.core.session import (
    ContentsSeen,
    EndWorker,
    Instruction,
    PipelinesConfigured,
    Publish,
    Session,
    SessionEvent,
    StartTimer,
    StartWorker,
    Tell,
    WorkerSaid,
)
from hamdev.messages import (
    Cause,
    Event,
    Loaded,
    NodeFinished,
    NodePlace,
    NodeStarted,
    PipelineSpec,
    PipelineStatus,
    Planned,
    PlanStep,
    Problem,
    Ready,
    Report,
    Run,
    RunEnded,
    Summary,
    Tidied,
)

START = Cause(kind="start", text="the daemon started")
SETTINGS = Cause(kind="settings", text="devserver.toml changed")
ASKED = Cause(kind="rerun", text="asked for")
READY = Ready(python="3.11", hamilton="1.90")
PLACE = NodePlace(file="/p/a.py", line=3)


def spec(name: str = "a", **fields: Any) -> PipelineSpec:
    return PipelineSpec(name=name, **fields)


class Driver:
    """A session with everything that it has said so far."""

    def __init__(self) -> None:
        self.session = Session()
        self.said: list[Instruction] = []

    def handle(self, event: SessionEvent) -> list[Instruction]:
        out = self.session.handle(event)
        self.said += out
        return out

    # -- what happens -------------------------------------------------------------------------

    def configure(self, *specs: PipelineSpec, cause: Cause = START) -> list[Instruction]:
        return self.handle(PipelinesConfigured(specs, cause))

    def seen(self, **contents: str | None) -> list[Instruction]:
        return self.handle(ContentsSeen({f"/p/{name}.py": d for name, d in contents.items()}))

    def says(self, worker: int, report: Report) -> list[Instruction]:
        return self.handle(WorkerSaid(worker, report))

    def ready(self, worker: int = 1) -> list[Instruction]:
        return self.says(worker, READY)

    def bring_up(self) -> list[Instruction]:
        """The worker that was started last gets ready, if it is not."""
        return self.ready(max((s.worker for s in starts(self.said)), default=0))

    def loaded(self, run: int, worker: int = 1, **contents: str | None) -> list[Instruction]:
        files = {f"/p/{name}.py": digest for name, digest in contents.items()}
        return self.says(worker, Loaded(run=run, files=files, third_party=[]))

    def planned(self, run: int, *nodes: str, worker: int = 1, **fields: Any) -> list[Instruction]:
        places: Mapping[str, NodePlace] = dict.fromkeys(nodes, PLACE)
        given: dict[str, Any] = {
            "modules": ["a"],
            "final_vars": list(nodes[-1:]),
            "plan": [PlanStep(node=node, action="run", because=[]) for node in nodes],
            "blocked": {},
            "warnings": [],
        }
        return self.says(worker, Planned(run=run, nodes=dict(places), **{**given, **fields}))

    def started(self, run: int, node: str, worker: int = 1) -> list[Instruction]:
        return self.says(worker, NodeStarted(run=run, node=node))

    def finished(self, run: int, node: str, worker: int = 1) -> list[Instruction]:
        summary = Summary(type="int", text="1")
        report = NodeFinished(run=run, node=node, ms=1.0, changed=True, summary=summary)
        return self.says(worker, report)

    def ended(self, run: int, outcome: Any = "ok", worker: int = 1, **fields: Any) -> Any:
        out = self.says(worker, RunEnded(run=run, outcome=outcome, ms=2.0, **fields))
        return out + self.says(worker, Tidied(run=run))

    def whole_run(self, run: int, worker: int = 1, **contents: str | None) -> None:
        """Files are loaded, the one node `n` has a value."""
        self.loaded(run, worker, **contents)
        self.planned(run, "n", worker=worker)
        self.started(run, "n", worker)
        self.finished(run, "n", worker)
        self.ended(run, worker=worker)

    def served(self, *names: str, spare: bool = True, **contents: str | None) -> None:
        """Pipelines, all of the same files, that have been loaded and run; worker 1, spare 2."""
        self.configure(*(spec(name) for name in names or ("a",)))
        self.ready(1)
        for number, _ in enumerate(names or ("a",), start=1):
            self.whole_run(number, 1, **(contents or {"a": "A"}))
        if spare:
            self.ready(2)
        self.said.clear()

    # -- what it said -------------------------------------------------------------------------

    def events(self, *types: str) -> list[Event]:
        return [e for e in published(self.said) if not types or e.type in types]

    def runs_told(self) -> list[Run]:
        return [s.command for s in self.said if isinstance(s, Tell) and isinstance(s.command, Run)]

    def outcomes(self) -> list[tuple[int, str]]:
        return [(e.run, e.outcome) for e in self.events("run.finished")]  # type: ignore[misc]

    def status(self, name: str = "a") -> PipelineStatus:
        return self.session.statuses()[name]

    def node_states(self, name: str = "a") -> dict[str, str]:
        return {node: status.state for node, status in self.status(name).nodes.items()}


def published(instructions: list[Instruction]) -> list[Event]:
    return [i.event for i in instructions if isinstance(i, Publish)]


def timers(instructions: list[Instruction]) -> list[StartTimer]:
    return [i for i in instructions if isinstance(i, StartTimer)]


def ends(instructions: list[Instruction]) -> list[int]:
    return [i.worker for i in instructions if isinstance(i, EndWorker)]


def starts(instructions: list[Instruction]) -> list[StartWorker]:
    return [i for i in instructions if isinstance(i, StartWorker)]


def problem(message: str = "it is broken", **fields: Any) -> Problem:
    return Problem(**{"kind": "node", "message": message, **fields})
