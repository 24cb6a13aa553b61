"""Files that are saved while a load is going on: what is known of a module is what was executed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from hamdev.pipeline.loader import Project
from hamdev.pipeline.reloading import Reloading

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

HELPERS = "FACTOR = 2\n"
MAIN = "import helpers\n\n\ndef node() -> int:\n    return helpers.FACTOR * {n}\n"


def loaded(project: Project) -> int:
    with project.loading(["main"], "patch"):
        pass
    found: int = sys.modules["pipelines.main"].node()
    return found


def once_before(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, act: Callable[[], Any]
) -> None:
    """Let `act` happen right before a method is called for the first time."""
    original = getattr(owner, name)
    todo = [act]

    def method(*args: Any, **keywords: Any) -> Any:
        if todo:
            todo.pop()()
        return original(*args, **keywords)

    monkeypatch.setattr(owner, name, method)


def test_half_a_save_that_is_whole_when_it_comes_to_executing(
    project: ProjectOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("helpers.py", HELPERS)
    project.write("main", MAIN.format(n=1))
    loading = Project(project.root)
    assert loaded(loading) == 2
    project.write("helpers.py", "FACTOR = (2\n")
    project.write("main", MAIN.format(n=10))
    once_before(monkeypatch, Reloading, "replaced", lambda: project.write("helpers.py", HELPERS))
    assert loaded(loading) == 20
    monkeypatch.undo()
    project.write("helpers.py", "FACTOR = 3\n")
    assert loaded(loading) == 30
    project.write("main", MAIN.format(n=100))
    assert loaded(loading) == 300


def test_a_module_that_is_saved_after_it_was_executed(
    project: ProjectOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("helpers.py", HELPERS)
    first = project.write("main", MAIN.format(n=1)).read_bytes()
    loading = Project(project.root)
    once_before(
        monkeypatch, Project, "_commit_patch", lambda: project.write("main", MAIN.format(n=10))
    )
    assert loaded(loading) == 2
    # So that who compares it with the disk finds a difference.
    file = str(project.file("main"))
    assert loading.attempted_files()[file] == hashlib.sha256(first).hexdigest()
    assert loaded(loading) == 20


def test_a_load_that_fails_at_its_very_end_leaves_nothing_half_known(
    project: ProjectOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("helpers.py", HELPERS)
    project.write("main", MAIN.format(n=1))
    loading = Project(project.root)
    assert loaded(loading) == 2

    def fail() -> None:
        raise MemoryError

    project.write("main", MAIN.format(n=10))
    once_before(monkeypatch, Project, "_take_load_reads", fail)
    with pytest.raises(MemoryError):
        loaded(loading)
    project.write("main", MAIN.format(n=100))
    assert loaded(loading) == 200
    project.write("helpers.py", "FACTOR = 3\n")
    assert loaded(loading) == 300
