"""Nodes that share state run together or not at all, and a plan that builds on an earlier one is
the plan that is made without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamdev.core.plan import Known, PlannedNode, Precedent, Step, plan
from hamdev.messages import Because

SIZE = 8
NAMES = [f"n{i}" for i in range(SIZE)]


@st.composite
def nodes(draw: st.DrawFn) -> list[PlannedNode]:
    found = []
    for i, name in enumerate(NAMES):
        inputs = draw(st.lists(st.sampled_from([*NAMES[:i], "given"]), unique=True, max_size=3))
        ignored = frozenset(draw(st.lists(st.sampled_from(inputs), max_size=1))) if inputs else ()
        never = draw(st.sampled_from(["", "", "", "never"]))
        state = draw(st.sampled_from([frozenset(), frozenset(), frozenset(["m.S"])]))
        found.append(PlannedNode(name, "v1", tuple(inputs), never, frozenset(ignored), state))
    return found


def known_of(nodes: list[PlannedNode], tokens: Mapping[str, bytes]) -> dict[str, Known]:
    """What is remembered after everything has run once."""
    return {
        node.name: Known(
            node.version, {i: tokens[i] for i in node.inputs}, tokens[node.name], run=1
        )
        for node in nodes
    }


def planned(
    nodes: list[PlannedNode],
    known: Mapping[str, Known],
    given_token: bytes,
    forced: Mapping[str, Because],
    kept: Mapping[str, bytes],
    precedent: Precedent | None,
) -> dict[str, Step]:
    def explain(name: str) -> list[Because]:
        return [Because(kind="code", text=f"{name} changed")]

    def find(node: PlannedNode, tokens: Mapping[str, bytes | None]) -> Known | None:
        if node.name not in kept:
            return None
        inputs = {i: t for i in node.inputs if (t := tokens.get(i)) is not None}
        return Known(node.version, inputs, kept[node.name], run=0)

    outside = {"given": given_token}
    return plan(nodes, known, outside, NAMES[-2:], forced, explain, find, precedent)


names = st.sampled_from(NAMES)


@given(nodes(), st.data())
def test_a_precedent_changes_no_step(first: list[PlannedNode], data: st.DataObject) -> None:
    tokens = {name: name.encode() for name in [*NAMES, "given"]}
    known = known_of(first, tokens)
    steps = planned(first, known, b"given", {}, {}, None)

    edited = data.draw(st.sets(names, max_size=3), "edited")
    lost = data.draw(st.sets(names, max_size=1), "lost")
    spoilt = data.draw(st.sets(names, max_size=1), "spoilt")
    recomputed = data.draw(st.sets(names, max_size=2), "recomputed")
    second = [replace(n, version="v2") if n.name in edited else n for n in first]
    now = dict(known)
    for name in lost:
        del now[name]
    for name in spoilt & now.keys():
        now[name] = replace(now[name], spoilt="by somebody")
    for name in recomputed & now.keys():
        now[name] = replace(now[name], token=b"another")
    forced = {n: Because(kind="rerun", text="asked") for n in data.draw(st.sets(names, max_size=1))}
    kept = {n: n.encode() for n in data.draw(st.sets(names, max_size=2), "kept")}
    given_token = data.draw(st.sampled_from([b"given", b"other"]))

    touched = edited | lost | spoilt | recomputed
    settled = {
        name: step for name, step in steps.items() if step.action == "reuse" and name not in touched
    }
    reused = {name: tokens[name] for name, step in steps.items() if step.action == "reuse"}
    precedent = Precedent(settled, {**reused, "given": b"given"})

    assert planned(second, now, given_token, forced, kept, precedent) == planned(
        second, now, given_token, forced, kept, None
    )


# -- state ------------------------------------------------------------------------------------


def node(name: str, *inputs: str, state: str = "", **others: object) -> PlannedNode:
    return PlannedNode(name, "v1", inputs, state=frozenset(state.split()), **others)  # type: ignore[arg-type]


def after_one_run(*nodes: PlannedNode, **changes: object) -> dict[str, Step]:
    """The plan after all have run once and then the nodes named in `changes` got other versions."""
    tokens = {n.name: n.name.encode() for n in nodes}
    forced = changes.pop("forced", {})
    find = changes.pop("find", lambda node, tokens: None)
    known = known_of([*nodes], tokens)
    now = [replace(n, version=str(changes.get(n.name, n.version))) for n in nodes]
    return plan(now, known, {}, [n.name for n in nodes], forced, _explain, find)  # type: ignore[arg-type]


def _explain(name: str) -> list[Because]:
    return [Because(kind="code", text=f"{name} changed")]


def running(steps: Mapping[str, Step]) -> set[str]:
    return {name for name, step in steps.items() if step.action == "run"}


def test_all_that_share_state_run_if_one_does() -> None:
    steps = after_one_run(
        node("a", state="m.S"), node("b", state="m.S"), node("c", state="m.T"), node("d"), a="v2"
    )
    assert running(steps) == {"a", "b"}
    assert steps["a"].because == _explain("a")
    (because,) = steps["b"].because
    assert (because.kind, because.name) == ("state", "a")
    assert "'m.S'" in because.text
    assert "'a'" in because.text


def test_nobody_runs_for_the_sake_of_state_if_nobody_runs() -> None:
    assert running(after_one_run(node("a", state="m.S"), node("b", state="m.S"))) == set()


def test_state_that_only_one_node_sees_makes_nobody_run() -> None:
    assert running(after_one_run(node("a", state="m.S"), node("b", state="m.T"))) == set()
    steps = after_one_run(node("a"), node("b", "a", state="m.S"), a="v2")
    assert not steps["b"].is_certain


def test_state_spreads_from_group_to_group_in_any_order() -> None:
    group = [node("a", state="S"), node("b", state="S T"), node("c", state="T U"), node("d", "c")]
    for changed in ("a", "b", "c"):
        steps = after_one_run(*group, node("e", state="U"), node("f"), **{changed: "v2"})
        assert running(steps) == {"a", "b", "c", "d", "e"}, changed
        assert [n for n, step in steps.items() if not step.is_certain] == ["d"]


def test_a_node_that_joins_makes_those_below_it_run_maybe_and_their_group_for_sure() -> None:
    steps = after_one_run(
        node("a", state="S"),
        node("b", state="S"),
        node("below", "b", state="T"),
        node("beside", state="T"),
        node("plain", "below"),
        a="v2",
    )
    assert running(steps) == {"a", "b", "below", "beside", "plain"}
    # Once one of a group runs all do, so whether it does cannot be left open.
    assert [n for n, step in steps.items() if not step.is_certain] == ["plain"]


def test_a_forced_node_takes_its_group_along_and_keeps_its_own_reason() -> None:
    asked = Because(kind="rerun", text="asked for")
    steps = after_one_run(node("a", state="S"), node("b", state="S"), forced={"b": asked})
    assert running(steps) == {"a", "b"}
    assert steps["b"].because == [asked]
    assert steps["a"].because[0].kind == "state"


def test_a_node_that_is_never_reused_takes_its_group_along_each_time() -> None:
    steps = after_one_run(node("a", state="S", never_reused="it is a clock"), node("b", state="S"))
    assert running(steps) == {"a", "b"}


def test_no_older_value_stands_for_a_node_that_sees_state() -> None:
    asked: list[str] = []

    def find(node: PlannedNode, tokens: Mapping[str, bytes | None]) -> Known:
        asked.append(node.name)
        return Known(node.version, {}, b"old", run=0)

    steps = after_one_run(node("a", state="S"), node("b"), a="v2", b="v2", find=find)
    assert asked == ["b"]
    assert running(steps) == {"a"}


names_of_state = st.frozensets(st.sampled_from(["S", "T", "U"]), max_size=2)


@given(nodes(), st.lists(names_of_state, min_size=SIZE, max_size=SIZE), st.sets(names, max_size=2))
def test_of_those_that_share_state_all_run_for_sure_or_none_and_nobody_without_a_reason(
    first: list[PlannedNode], states: list[frozenset[str]], edited: set[str]
) -> None:
    found = [replace(n, state=s) for n, s in zip(first, states, strict=True)]
    tokens = {name: name.encode() for name in [*NAMES, "given"]}
    second = [replace(n, version="v2") if n.name in edited else n for n in found]
    steps = planned(second, known_of(found, tokens), b"given", {}, {}, None)
    certain = {n for n, step in steps.items() if step.action == "run" and step.is_certain}
    for state in "STU":
        members = {n.name for n in found if state in n.state}
        if len(members) > 1:
            assert members <= certain or not members & running(steps)
    # Whoever runs has an edit, a clock, somebody above it that runs, or a companion that runs.
    for n in second:
        company = {o.name for o in found if o.name != n.name and o.state & n.state}
        if n.name in running(steps):
            above = running(steps) & {*n.inputs} - n.ignored
            assert n.name in edited or n.never_reused or above or company & running(steps)


# -- precedents -------------------------------------------------------------------------------

CHAIN = [node("a"), node("b", "a", "given"), node("c", "b"), node("d", "c")]
TOKENS = {name: name.encode() for name in ("a", "b", "c", "d", "given")}


def built_on(
    nodes: list[PlannedNode],
    known: Mapping[str, Known],
    *,
    given: bytes = b"given",
    forced: Mapping[str, Because] | None = None,
    settled: str = "a b c d",
) -> tuple[dict[str, Step], set[str]]:
    """A plan, and the nodes that got the very step of the plan before."""
    before = plan(
        nodes,
        known_of(nodes, TOKENS),
        {"given": b"given"},
        ["d"],
        {},
        _explain,
        lambda node, tokens: None,
    )
    precedent = Precedent({n: before[n] for n in settled.split()}, TOKENS)
    steps = plan(
        nodes,
        known,
        {"given": given},
        ["d"],
        forced or {},
        _explain,
        lambda node, tokens: None,
        precedent,
    )
    return steps, {name for name, step in steps.items() if step is before[name]}


def test_what_needs_no_second_thought_gets_none() -> None:
    steps, taken = built_on(CHAIN, known_of(CHAIN, TOKENS))
    assert (running(steps), taken) == (set(), {"a", "b", "c", "d"})


def test_a_precedent_does_not_stand_where_an_outside_value_is_another() -> None:
    steps, taken = built_on(CHAIN, known_of(CHAIN, TOKENS), given=b"another")
    assert taken == {"a"}
    assert running(steps) == {"b", "c", "d"}
    assert [step.is_certain for step in steps.values()] == [True, True, False, False]


def test_a_precedent_does_not_stand_below_a_value_that_was_computed_again() -> None:
    known = known_of(CHAIN, TOKENS)
    known["b"] = replace(known["b"], token=b"another")
    steps, taken = built_on(CHAIN, known, settled="a c d")
    assert taken == {"a"}
    assert running(steps) == {"c", "d"}


def test_a_precedent_does_not_stand_below_what_runs() -> None:
    asked = Because(kind="rerun", text="asked for")
    steps, taken = built_on(CHAIN, known_of(CHAIN, TOKENS), forced={"b": asked})
    assert (running(steps), taken) == ({"b", "c", "d"}, {"a"})


def test_a_precedent_stands_below_what_was_looked_at_again_with_the_same_result() -> None:
    known = known_of(CHAIN, TOKENS)
    steps, taken = built_on(CHAIN, known, settled="a c d")
    assert (running(steps), taken) == (set(), {"a", "c", "d"})


@pytest.mark.parametrize("changed", ["a", "b"])
def test_a_precedent_does_not_keep_a_node_from_running_with_its_group(changed: str) -> None:
    pair = [node("a", state="S"), node("b", state="S"), node("c", "b"), node("d", "c")]
    known = known_of(pair, TOKENS)
    known[changed] = replace(known[changed], spoilt="it was changed in place")
    settled = " ".join({"a", "b", "c", "d"} - {changed})
    steps, taken = built_on(pair, known, settled=settled)
    assert running(steps) == {"a", "b", "c", "d"}
    assert taken == set()
