"""Differential tests: an edit that changes what a function returns changes its version."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest
from code_projects import codebase, version
from executed_code import loaded
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from random_projects import edited, random_project, texts, values
from test_versions import before_and_after, edits


def _returned(modules: dict[str, str]) -> str:
    with loaded(modules) as found:
        try:
            return repr(vars(found["m"])["f"]())
        except Exception as error:
            return repr(error)


@pytest.mark.filterwarnings("ignore")  # some of the projects are bad style on purpose
@pytest.mark.parametrize("edit", edits("executed_edits.toml"))
def test_an_edit_that_changes_what_a_function_returns_changes_its_version(
    edit: dict[str, Any],
) -> None:
    before, after = before_and_after(edit)
    assert _returned(before) != _returned(after)
    assert version(codebase(before), "f") != version(codebase(after), "f")


@settings(
    max_examples=int(os.environ.get("HAMDEV_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@example(seed=166, size=8)  # a change of what a star import brought
@example(seed=423, size=8)  # a star import in a circle, and what enters it first changes
@given(seed=st.integers(0, 2**32), size=st.integers(2, 10))
def test_random_edits_of_random_projects_never_leave_a_version_stale(seed: int, size: int) -> None:
    random = Random(seed)
    project = random_project(random, size)
    returned, code = values(project), codebase(texts(project))
    for _ in range(3):
        next_project = edited(project, random)
        next_returned, fresh = values(next_project), codebase(texts(next_project))
        next_code = code.updated(fresh.modules)
        for name in returned.keys() | next_returned.keys():
            assert next_code.version(*name) == fresh.version(*name)
            if returned.get(name) != next_returned.get(name):
                assert code.version(*name) != next_code.version(*name), (
                    name,
                    texts(project),
                    texts(next_project),
                )
        project, returned, code = next_project, next_returned, next_code
