"""What is shown as current, and what is not any more."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from hamdev.core.snapshot import PipelineView
from hamdev.messages import NodePlace, Planned, PlanStep, Problem, Summary

ONE = Summary(type="int", text="1")
BROKEN = Problem(kind="node", message="it is broken", node="n")


def planned(
    modules: list[str],
    final_vars: list[str],
    nodes: dict[str, NodePlace],
    blocked: dict[str, Problem],
) -> Planned:
    plan = [PlanStep(node=node, action="run", because=[]) for node in nodes]
    return Planned(
        run=1,
        modules=modules,
        final_vars=final_vars,
        nodes=nodes,
        plan=plan,
        blocked=blocked,
        warnings=[],
    )


@pytest.fixture
def view() -> PipelineView:
    view = PipelineView(["a"])
    view.begin(run=1, revision=1)
    view.plan(planned(["setup", "a"], ["n"], {"n": NodePlace(), "m": NodePlace()}, {}), {})
    return view


def states(view: PipelineView) -> dict[str, str]:
    return {name: node.state for name, node in view.status().nodes.items()}


def test_a_view_starts_with_the_modules_of_the_settings():
    status = PipelineView(["a"]).status()
    assert (status.state, status.modules, status.run, status.nodes) == ("starting", ["a"], None, {})


def test_a_run_goes_from_queued_to_fresh(view):
    assert states(view) == {"n": "queued", "m": "queued"}
    view.node_started("n")
    assert states(view) == {"n": "running", "m": "queued"}
    view.node_finished("n", 2.0, ONE)
    view.end(failed=False)
    assert states(view) == {"n": "fresh", "m": "stale"}
    node = view.status().nodes["n"]
    assert (node.revision, node.run, node.ms, node.action) == (1, 1, 2.0, "ran")
    assert view.status().state == "idle"
    assert view.status().modules == ["setup", "a"]


def test_a_status_is_a_copy(view):
    before = view.status()
    view.node_started("n")
    view.modules.append("b")
    assert before.nodes["n"].state == "queued"
    assert before.modules == ["setup", "a"]


def test_problems_of_older_code_are_no_longer_shown_and_the_value_is(view):
    view.node_finished("n", 2.0, ONE)
    view.begin(run=2, revision=2)
    view.plan(planned(["a"], ["n"], {"n": NodePlace()}, {"leaf": BROKEN}), {})
    view.node_failed("n", BROKEN)
    view.end(failed=True)
    assert view.status().problems == [BROKEN, BROKEN]
    view.wait()
    status = view.status()
    assert status.state == "running"
    assert status.problems == []
    assert states(view) == {"n": "stale", "leaf": "stale"}
    assert status.nodes["n"].problem is UNSET
    assert (status.nodes["n"].revision, status.nodes["n"].summary) == (1, ONE)


def test_nodes_that_left_the_plan_are_gone(view):
    view.begin(run=2, revision=2)
    view.plan(planned(["a"], ["m"], {"m": NodePlace()}, {}), {})
    assert list(view.nodes) == ["m"]


def test_a_later_date_is_for_the_values_of_this_run_only(view):
    view.node_finished("n", 1.0, ONE)
    view.node_finished("m", 1.0, ONE)
    view.begin(run=2, revision=2)
    view.node_finished("m", 1.0, ONE)
    view.date(5)
    nodes = view.status().nodes
    assert (nodes["n"].revision, nodes["m"].revision, view.status().revision) == (1, 5, 5)


def test_a_pipeline_at_rest_is_failed_if_it_has_problems(view):
    view.rest()
    assert view.state == "idle"
    view.end(failed=True, problems=[BROKEN])
    view.wait()
    view.rest()
    assert view.state == "failed"


def test_a_pipeline_that_waits_for_its_first_run_is_starting():
    view = PipelineView(["a"])
    view.wait()
    assert view.state == "starting"
