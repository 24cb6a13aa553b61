"""Nodes that change their inputs in place: it is told, and what is served is right afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from worker_process import WorkerProcess

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

KINDS = {
    "list": ("[1, 2]", "given.append(3)"),
    "dict": ("{'a': [1]}", "given['a'].append(2)"),
    "set": ("{1, 2}", "given.add(3)"),
    "frame": ("pd.DataFrame({'a': [1, 2]})", "given['b'] = 3"),
    "series": ("pd.Series([1, 2])", "given.iloc[0] = 9"),
    "array": ("np.zeros(3)", "given[0] = 1"),
    "object": ("_Thing()", "given.x = 2"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_told_which_node_changes_which_input_and_everything_becomes_right(
    kind: str, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    made, change = KINDS[kind]
    text = f"""
    import numpy as np
    import pandas as pd
    class _Thing:
        x = 1
        def __repr__(self):
            return f"thing {{self.x}}"
    def given() -> object:
        return {made}
    def guilty(given: object) -> str:
        {change}
        return repr(given)
    def innocent(given: object, guilty: str) -> str:
        return repr(given)
    def other() -> int:
        return 1
    """
    project.write("main", text)
    found = worker.run()
    assert {"given", "guilty", "innocent"} <= set(found.spoilt)
    found = worker.run()
    assert any("'guilty'" in text and "'given'" in text for text in found.warnings)
    assert not any("'innocent'" in text for text in found.warnings)
    worker.settle()
    assert _is_untouched(worker, made)
    for _ in range(2):
        found = worker.run()
        assert (found.ran, found.spoilt, found.warnings) == ([], [], [])
    # An edit of the guilty one alone leaves the input as it is.
    project.write(
        "main",
        text.replace(
            "return repr(given)\n    def innocent", "return 'x' + repr(given)\n    def innocent"
        ),
    )
    found = worker.run()
    assert set(found.ran) == {"guilty", "innocent"}
    assert found.spoilt == []
    assert _is_untouched(worker, made)


def _is_untouched(worker: WorkerProcess, made: str) -> bool:
    """Whether `innocent` has seen the value as it was made."""
    seen, changed = worker.value("innocent"), worker.value("guilty")
    given = worker.fetch("given", "text").value
    return bool(seen != changed and given)


def test_a_node_that_returns_its_input_changed(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = """
    def given() -> list:
        return [1]
    def more(given: list) -> list:
        given.append(2)
        return given
    def last(more: list) -> int:
        return len(more)
    """
    project.write("main", text)
    worker.run()
    worker.settle()
    assert worker.value("given") == [1]
    assert worker.value("more") == [1, 2]
    assert worker.value("last") == 2
    project.write("main", text.replace("append(2)", "append(3)"))
    worker.settle()
    assert (worker.value("given"), worker.value("more")) == ([1], [1, 3])


def test_two_nodes_that_both_change_it(project: ProjectOnDisk, worker: WorkerProcess) -> None:
    text = """
    def given() -> list:
        return [1]
    def first(given: list) -> list:
        given.append(2)
        return list(given)
    def second(given: list) -> list:
        given.append(3)
        return list(given)
    """
    project.write("main", text)
    told = worker.run().warnings
    told += worker.settle().warnings
    assert worker.value("given") == [1]
    assert (worker.value("first"), worker.value("second")) == ([1, 2], [1, 3])
    assert worker.run().ran == []


def test_a_value_that_cannot_be_copied(project: ProjectOnDisk, worker: WorkerProcess) -> None:
    project.write(
        "main",
        """
        class _Stubborn:
            def __init__(self):
                self.items = [1]
            def __deepcopy__(self, memo):
                raise TypeError("no copies")
        def given() -> object:
            return _Stubborn()
        def guilty(given: object) -> int:
            given.items.append(2)
            return len(given.items)
        """,
    )
    for _ in range(4):
        found = worker.run()
        assert found.outcome == "ok"
    assert worker.value("guilty") == 2


def test_an_input_from_outside_that_is_changed(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = (
        "def a(x: list) -> int:\n    x.append(1)\n    return len(x)\n"
        "def b(x: list, a: int) -> int:\n    return len(x)\n"
    )
    worker.inputs = {"x": [1]}
    project.write("main", text)
    worker.run()
    worker.settle()
    assert worker.value("a") == 2
    project.write("main", text.replace("return len(x)\ndef b", "return len(x) + 1\ndef b"))
    worker.settle()
    assert worker.value("a") == 3


def test_a_value_that_grows_by_itself_is_never_reused_for_ever(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write(
        "main",
        """
        class _Lazy:
            def __init__(self):
                self._cache = None
            def get(self):
                if self._cache is None:
                    self._cache = 5
                return self._cache
        def lazy() -> object:
            return _Lazy()
        def user(lazy: object) -> int:
            return lazy.get()
        """,
    )
    worker.run()
    worker.settle()
    assert worker.run().ran == []


def test_a_value_that_changes_when_it_is_copied_does_not_run_for_ever(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write(
        "main",
        """
        class _Lazy:
            def __init__(self):
                self._cache = None
            def __deepcopy__(self, memo):
                self.get()
                copy = _Lazy()
                copy.get()
                return copy
            def get(self):
                if self._cache is None:
                    self._cache = 5
                return self._cache
        def lazy() -> object:
            return _Lazy()
        def user(lazy: object) -> int:
            return lazy.get()
        """,
    )
    worker.settle()
    assert worker.value("user") == 5
