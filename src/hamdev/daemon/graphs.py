"""The DAG of each pipeline: asked of the worker on demand, and kept for when it cannot answer."""

from __future__ import annotations

import anyio

from hamdev.core.session import Session
from hamdev.daemon.questions import Questions
from hamdev.messages import Describe, Described, Graph

# A worker answers in milliseconds unless C code keeps it from running anything else.
PATIENCE_S = 10.0
# If there is an older answer, there is no need to wait for long.
PATIENCE_WITH_OLDER_S = 1.0


class Graphs:
    """Knows the latest DAG that was asked for, of every pipeline.

    Args:
        session: knows which worker there is, and which revision a run's DAG is of.
        questions: to that worker.
    """

    def __init__(self, session: Session, questions: Questions) -> None:
        self._session = session
        self._questions = questions
        self._known: dict[str, Graph] = {}
        self._failures: dict[str, str] = {}

    async def get(self, pipeline: str) -> Graph | None:
        """The DAG that was composed last, as far as that can be told; dated with its revision.

        Returns:
            None if none was composed yet, or if the worker that composed it is gone or does not
            answer and nobody asked for it before.
        """
        composed = self._session.composed(pipeline)
        known = self._known.get(pipeline)
        if known is None or known.run not in list(composed)[-1:]:
            patience = PATIENCE_S if known is None else PATIENCE_WITH_OLDER_S
            with anyio.move_on_after(patience):
                await self._questions.ask(self._session.worker, Describe(pipeline=pipeline))
            known = self._known.get(pipeline)
        if known is None:
            return None
        # What the run of it read later may have dated it anew.
        revision = self._session.composed(pipeline).get(known.run, known.revision)
        if revision != known.revision:
            known = self._known[pipeline] = _dated(known, revision)
        return known

    def note(self, described: Described) -> None:
        """Take in a worker's answer, also one that comes too late for who asked."""
        if described.error is not None:
            self._failures[described.pipeline] = described.error
        if described.run is None or described.error is not None:
            return
        revision = self._session.composed(described.pipeline).get(described.run)
        if revision is not None:
            self._failures.pop(described.pipeline, None)
            self._known[described.pipeline] = Graph(
                pipeline=described.pipeline,
                revision=revision,
                run=described.run,
                nodes=described.nodes,
                edges=described.edges,
            )

    def failure(self, pipeline: str) -> str | None:
        """Why the last attempt to describe the DAG failed, if it did."""
        return self._failures.get(pipeline)

    def forget_others(self, pipelines: set[str]) -> None:
        """Drop the DAGs of pipelines that are served no more."""
        for pipeline in self._known.keys() - pipelines:
            del self._known[pipeline]


def _dated(graph: Graph, revision: int) -> Graph:
    from msgspec import structs

    return structs.replace(graph, revision=revision)
