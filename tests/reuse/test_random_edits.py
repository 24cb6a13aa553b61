"""After any edits, what is served is what a new process computes, and no more ran than had to.

What that process computes is said by Hamilton's driver, in a process that has not imported hamdev.
Only which nodes fail, and what becomes of the others, is said by hamdev's own composition.

`HAMDEV_EXAMPLES=2000 pytest tests/reuse/test_random_edits.py` runs it long.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from edited_projects import EditedProject
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from warm import Warm
from worker_process import Ran, WorkerProcess, worker_process

_EXAMPLES = int(os.environ.get("HAMDEV_EXAMPLES", "0"))
_EDITS = 10

_OPTIONS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.explicit, Phase.reuse, Phase.generate),  # an example takes a second
}
if _EXAMPLES:
    _OPTIONS |= {"max_examples": _EXAMPLES}
else:
    _OPTIONS |= {"max_examples": 20, "derandomize": True, "database": None}


class Bound:
    """Knows what each remembered value was made from, and so what may run."""

    def __init__(self, project: EditedProject) -> None:
        self._project = project
        self._made_from: dict[str, Any] = {}

    def check(self, found: Ran, values: dict[str, str]) -> None:
        present = {node: self._meaning(node, values) for node in found.nodes}
        needless = [n for n in found.ran if n in present and self._made_from.get(n) == present[n]]
        if self._project.broken:
            # A broken module that only functions import makes the others be loaded as a whole.
            needless, self._made_from = [], {}
        self._made_from = {n: m for n, m in self._made_from.items() if n in found.nodes}
        for node in (*found.ran, *found.recalled):
            self._made_from[node] = present[node]
        assert not needless, {node: found.reasons(node) for node in needless}

    def _meaning(self, node: str, values: dict[str, str]) -> Any:
        taken = {name: values.get(name) for name in self._project.taken(node)}
        return self._project.meaning(node), taken


@settings(**_OPTIONS)
@given(random=st.randoms(use_true_random=False))
@pytest.mark.timeout(0)
def test_every_value_is_a_new_process_s_and_only_what_changed_runs(
    random: Random, warm: Warm, plain: Warm
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "project"
        root.mkdir()
        project = EditedProject(root, random)
        bound = Bound(project)
        with worker_process(warm, root, root.parent / "kept") as worker:
            worker.additional = ("more",)
            try:
                _run(worker, project, bound, plain)
                for _ in range(_EDITS):
                    project.edit()
                    _run(worker, project, bound, plain)
                worker.check_oracle(plain, worker.oracle())
            except BaseException as error:
                error.add_note("; ".join(project.said))
                for file in sorted(root.rglob("*.py")):
                    error.add_note(f"--- {file.relative_to(root)}\n{file.read_text()}")
                raise


def _run(worker: WorkerProcess, project: EditedProject, bound: Bound, plain: Warm) -> None:
    worker.inputs, worker.config = project.inputs, project.config
    found = worker.run()
    if found.outcome == "ok":
        judged = worker.check(found, judged=worker.driven(plain))
    else:  # which nodes fail, and which are computed all the same, only the oracle tells
        judged = worker.check(found, may_fail=True)
        worker.check_oracle(plain, judged)
    if not found.problems:
        bound.check(found, judged.values)
