"""A plan that builds on an earlier one is the plan that is made without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
