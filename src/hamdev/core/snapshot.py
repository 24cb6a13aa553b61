"""One pipeline as clients see it: which values it has, of which revision, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import UNSET, UnsetType, structs

from hamdev.messages import (
    Action,
    Diff,
    NodeFinished,
    NodeStatus,
    PipelineState,
    PipelineStatus,
    Planned,
    Problem,
    Summary,
)


class PipelineView:
    """Mutated by the session alone; `status()` is what goes out.

    A value is `fresh` only while nothing it depends on is known to have changed. As soon as a
    save may have changed it, its node is `stale`, and keeps the value with its old revision.

    Args:
        modules: names of the modules as configured; the loaded ones replace them.
    """

    def __init__(self, modules: Iterable[str]) -> None:
        self.modules = list(modules)
        self.state: PipelineState = "starting"
        self.revision = 0
        self.run: int | None = None
        self.final_vars: list[str] = []
        self.nodes: dict[str, NodeStatus] = {}
        self.problems: list[Problem] = []
        self.project_problems: list[Problem] = []

    def status(self) -> PipelineStatus:
        """A copy that later changes do not reach."""
        return PipelineStatus(
            modules=list(self.modules),
            state=self.state,
            revision=self.revision,
            run=self.run,
            final_vars=list(self.final_vars),
            nodes=dict(self.nodes),
            problems=[*self.project_problems, *self.problems, *self._node_problems()],
        )

    def _node_problems(self) -> list[Problem]:
        return [n.problem for n in self.nodes.values() if isinstance(n.problem, Problem)]

    def mark_stale(self) -> None:
        """Nothing here is known to be current any more, problems no more than values."""
        for name, node in self.nodes.items():
            if node.state != "stale":
                self.nodes[name] = structs.replace(node, state="stale", problem=UNSET)

    def wait(self) -> None:
        """A run of this pipeline is going to come."""
        self.mark_stale()
        if self.state != "starting":
            self.state = "running"

    def rest(self) -> None:
        """No run is going on or going to come."""
        is_failed = self.problems or self._node_problems()
        self.state = "failed" if is_failed else "idle"

    def begin(self, run: int, revision: int) -> None:
        """A run of this pipeline is about to be loaded."""
        self.run, self.revision, self.state = run, revision, "running"
        self.problems = []
        self.mark_stale()

    def date(self, revision: int) -> None:
        """The present run turned out to be of a later revision than it began with."""
        for name, node in self.nodes.items():
            if node.run == self.run and node.state == "fresh":
                self.nodes[name] = structs.replace(node, revision=revision)
        self.revision = revision

    def plan(self, planned: Planned, unshown: Mapping[str, NodeFinished]) -> None:
        """These nodes the pipeline has; what is reused is fresh already.

        Args:
            planned: as the worker says.
            unshown: values that superseded runs computed, newer than those that are shown.
        """
        self.modules, self.final_vars = list(planned.modules), list(planned.final_vars)
        before = self.nodes
        self.nodes = {}
        for step in planned.plan:
            known = before.get(step.node) or NodeStatus(state="queued")
            value = planned.restored.get(step.node) or unshown.get(step.node)
            diff: Diff | UnsetType = UNSET
            if value is not None:
                diff = value.diff or UNSET
                known = structs.replace(known, ms=value.ms, summary=value.summary)
            if step.action == "reuse":
                self.nodes[step.node] = NodeStatus(
                    state="fresh",
                    revision=self.revision,
                    run=self.run,
                    ms=known.ms,
                    action="reused",
                    summary=known.summary,
                    diff=diff,
                )
            else:
                known = before.get(step.node) or NodeStatus(state="queued")
                self.nodes[step.node] = structs.replace(known, state="queued", problem=UNSET)
        for name, problem in planned.blocked.items():
            known = before.get(name) or NodeStatus(state="blocked")
            self.nodes[name] = structs.replace(known, state="blocked", problem=problem)

    def node_started(self, node: str) -> None:
        """The node's function is being executed."""
        self._set(node, state="running")

    def node_finished(
        self,
        node: str,
        ms: float,
        summary: Summary,
        action: Action = "ran",
        diff: Diff | None = None,
    ) -> None:
        """The node has a value of this run's revision."""
        self.nodes[node] = NodeStatus(
            state="fresh",
            revision=self.revision,
            run=self.run,
            ms=ms,
            action=action,
            summary=summary,
            diff=diff or UNSET,
        )

    def node_failed(self, node: str, problem: Problem) -> None:
        """The node raised; its last good value stays."""
        self._set(node, state="failed", problem=problem)

    def node_blocked(self, node: str) -> None:
        """Something upstream failed; the last good value stays."""
        self._set(node, state="blocked")

    def end(self, failed: bool, problems: Iterable[Problem] = ()) -> None:
        """The run is over; what it did not get to is stale."""
        self.problems = list(problems)
        self.mark_unfinished()
        self.state = "failed" if failed else "idle"

    def mark_unfinished(self) -> None:
        """Nodes that a run announced and did not execute are stale."""
        for name, node in self.nodes.items():
            if node.state in ("queued", "running"):
                self.nodes[name] = structs.replace(node, state="stale")

    def _set(self, node: str, **changes: object) -> None:
        known = self.nodes.get(node) or NodeStatus(state="queued")
        self.nodes[node] = structs.replace(known, **changes)
