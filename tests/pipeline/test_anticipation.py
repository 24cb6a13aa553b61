"""What is worked out while a file settles is used if it is still right, and changes nothing."""

from __future__ import annotations

import pytest

import hamdev.pipeline.loader as loader
from hamdev.pipeline.loader import Project
from hamdev.pipeline.patching import NotPatchableError

BEFORE = "import helper\n\nRATE = 2\n\n\ndef a() -> int:\n    return RATE * helper.ONE\n"
AFTER = BEFORE.replace("RATE = 2", "RATE = 3")


@pytest.fixture
def loaded(project):
    project.write("helper.py", "ONE = 1\n")
    project.write("main", BEFORE)
    found = Project(project.root)
    load(found)
    return found


def load(found: Project) -> int:
    with found.loading(["main"], "patch") as (module,):
        pass
    return module.a()


@pytest.fixture
def plans(monkeypatch):
    """How often a patch was worked out."""
    made = []

    def plan_patch(*arguments):
        made.append(arguments)
        return original(*arguments)

    original = loader.plan_patch
    monkeypatch.setattr(loader, "plan_patch", plan_patch)
    return made


def test_it_is_worked_out_once(project, loaded, plans):
    project.write("main", AFTER)
    loaded.anticipate(["main"])
    assert len(plans) == 1
    assert load(loaded) == 3
    assert len(plans) == 1
    assert loaded.whole_because == ""


def test_it_is_seen_by_nobody(project, loaded):
    files, sources = loaded.attempted_files(), dict(loaded.sources)
    versions = loaded.codebase
    project.write("main", AFTER)
    loaded.anticipate(["main"])
    assert loaded.attempted_files() == files
    assert loaded.sources == sources
    assert loaded.codebase is versions


def test_another_save_comes_in_between(project, loaded, plans):
    project.write("main", AFTER)
    loaded.anticipate(["main"])
    project.write("main", AFTER.replace("RATE = 3", "RATE = 44"))
    assert load(loaded) == 44
    assert len(plans) == 2


def test_another_module_changes_in_between(project, loaded, plans):
    project.write("main", AFTER)
    loaded.anticipate(["main"])
    project.write("helper.py", "ONE = 10\n")
    assert load(loaded) == 30
    assert len(plans) == 2


def test_the_save_is_taken_back(project, loaded):
    project.write("main", AFTER)
    loaded.anticipate(["main"])
    project.write("main", BEFORE)
    assert load(loaded) == 2


def test_a_plan_is_used_once(project, loaded):
    project.write("main", AFTER)
    loaded.anticipate(["main"])
    assert load(loaded) == 3
    project.write("main", BEFORE)
    assert load(loaded) == 2
    project.write("main", AFTER)
    assert load(loaded) == 3


@pytest.mark.parametrize("text", ["def a(:\n", BEFORE + "print('effect')\n"])
def test_what_cannot_be_patched_is_loaded_as_if_nothing_had_been_tried(project, loaded, text):
    project.write("main", text)
    with pytest.raises((SyntaxError, NotPatchableError)):
        loaded.anticipate(["main"])
    if "effect" in text:
        assert load(loaded) == 2
    else:
        with pytest.raises(SyntaxError):
            load(loaded)
    project.write("main", AFTER)
    assert load(loaded) == 3


def test_before_the_first_load_there_is_nothing_to_do(project):
    project.write("main", BEFORE)
    project.write("helper.py", "ONE = 1\n")
    found = Project(project.root)
    found.anticipate(["main"])
    assert load(found) == 2


def test_nothing_is_executed_to_find_what_is_not_loaded(project, loaded):
    project.write("pipelines/package/__init__.py", "raise SystemError('executed')\n")
    project.write("pipelines/package/late.py", "def a() -> int:\n    return 5\n")
    loaded.anticipate(["main", "package.late"])
    assert load(loaded) == 2
