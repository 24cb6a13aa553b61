"""What must run, and because of what: nodes and what is remembered of them → steps.

A node is reused if its code version, the values of its inputs and the files that it read are those
that its remembered value was made from. Values are compared by *tokens*: equal tokens mean values
that no node can tell apart.

A node below one that runs is planned to run, but that is not certain: if the upstream value turns
out to be the one of last time, its token is too, and the node is reused during the run after all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hamdev.messages import Because


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node of the DAG, as far as the plan is concerned.

    Attributes:
        name: of the node.
        version: stands for the meaning of its code.
        inputs: the nodes and outside values that it takes.
        never_reused: why its value is never reused; empty if it may be.
        ignored: inputs whose values do not count.
        state: names of the module-level objects that its functions see and some functions change.
    """

    name: str
    version: str
    inputs: tuple[str, ...]
    never_reused: str = ""
    ignored: frozenset[str] = frozenset()
    state: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Known:
    """What a remembered value was made from.

    Attributes:
        version: the node's code version.
        inputs: input name → the token its value had.
        token: of the value itself.
        run: which run computed it.
        changed_files: files that the node read and that hold something else by now.
        has_value: False if the value itself was given up to save memory.
        spoilt: how the value was changed after it was made; empty if it was not.
    """

    version: str
    inputs: Mapping[str, bytes]
    token: bytes
    run: int
    changed_files: tuple[str, ...] = ()
    has_value: bool = True
    spoilt: str = ""


@dataclass(slots=True)
class Step:
    """What is going to happen to one node.

    Attributes:
        is_certain: False if the node is reused after all should its inputs turn out unchanged.
    """

    node: str
    action: Literal["run", "reuse"]
    because: list[Because] = field(default_factory=list)
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class Precedent:
    """What an earlier plan of the same nodes decided, as far as only inputs could change it.

    Attributes:
        steps: node name → its step, if that was to reuse a value that is still to be had, and
            everything about the node and its value, but for its inputs, is as it was.
        tokens: the token that each of those, and each input of theirs, had then.
    """

    steps: Mapping[str, Step]
    tokens: Mapping[str, bytes]


Explain = Callable[[str], list[Because]]
Find = Callable[[PlannedNode, Mapping[str, bytes | None]], Known | None]


def plan(
    nodes: Sequence[PlannedNode],
    known: Mapping[str, Known],
    outside: Mapping[str, bytes],
    wanted: Collection[str],
    forced: Mapping[str, Because],
    explain: Explain,
    find: Find,
    precedent: Precedent | None = None,
) -> dict[str, Step]:
    """A step for each node, in the order of `nodes`.

    Nodes that share state all run if one of them does: each may see what the others do to it.

    Args:
        nodes: all nodes that the wanted ones need, each after its inputs.
        known: node name → what is remembered of it.
        outside: name of an input, config value or override → the token of its value.
        wanted: nodes whose values are asked for.
        forced: nodes that run whatever is remembered → because of what.
        explain: tells what changed in the code of a node.
        find: looks for an older value that was made from exactly the present inputs.
        precedent: what needs no second thought; without it the steps are the same.
    """
    forced = dict(forced)
    precedent = precedent or Precedent({}, {})
    while True:
        steps = _plan_once(nodes, known, outside, wanted, forced, explain, find, precedent)
        joining = _joining(nodes, steps, forced)
        if not joining:
            return steps
        forced |= joining


def _joining(
    nodes: Sequence[PlannedNode], steps: Mapping[str, Step], forced: Mapping[str, Because]
) -> dict[str, Because]:
    """Nodes that have to run for sure, since others that share state with them run."""
    found: dict[str, Because] = {}
    sharing: dict[str, list[PlannedNode]] = {}
    for node in nodes:
        for state in node.state:
            sharing.setdefault(state, []).append(node)
    for state, members in sorted(sharing.items()):
        running = [node.name for node in members if steps[node.name].action == "run"]
        if len(members) == 1 or not running:
            continue
        for node in members:
            step = steps[node.name]
            if node.name in forced or (step.action == "run" and step.is_certain):
                continue
            other = next((name for name in running if name != node.name), members[0].name)
            text = f"it shares {state!r}, which changes while nodes run, with {other!r}, which runs"
            found[node.name] = Because(kind="state", name=other, text=text)
    return found


def _plan_once(
    nodes: Sequence[PlannedNode],
    known: Mapping[str, Known],
    outside: Mapping[str, bytes],
    wanted: Collection[str],
    forced: Mapping[str, Because],
    explain: Explain,
    find: Find,
    precedent: Precedent,
) -> dict[str, Step]:
    tokens: dict[str, bytes | None] = dict(outside)
    before = precedent.tokens
    # What the nodes below may find to be another value than in the plan before.
    moved = {name for name, token in outside.items() if before.get(name) != token}
    steps: dict[str, Step] = {}
    kept: dict[str, Known] = {}
    for node in nodes:
        name = node.name
        step = precedent.steps.get(name)
        if step is not None and name not in forced and moved.isdisjoint(node.inputs):
            steps[name] = step
            tokens[name] = before[name]
            continue
        value = known.get(name)
        step = _step(node, value, tokens, forced, explain)
        if step.action == "run" and may_find(node, tokens, forced):
            found = find(node, tokens)
            if found is not None:
                value = kept[name] = found
                text = f"an earlier value was kept that was made from the same inputs{_why(step)}"
                step = Step(name, "reuse", [Because(kind="kept", text=text)])
        steps[name] = step
        token = value.token if value is not None and step.action == "reuse" else None
        tokens[name] = token
        if token is None or before.get(name) != token:
            moved.add(name)
    _run_what_was_given_up(nodes, steps, known, kept, wanted)
    return steps


def may_find(
    node: PlannedNode, tokens: Mapping[str, bytes | None], forced: Mapping[str, Because]
) -> bool:
    """Whether an older value of the node may be used, and all its inputs are known."""
    if node.name in forced or node.never_reused or node.state:
        return False
    return not _open_inputs(node, tokens)


def _why(step: Step) -> str:
    reasons = [because.text for because in step.because if because.kind != "new"]
    return f" ({reasons[0]})" if reasons else ""


def is_same(node: PlannedNode, known: Known, tokens: Mapping[str, bytes | None]) -> bool:
    """Whether the remembered value is what running the node now would give."""
    return (
        not node.never_reused
        and not known.changed_files
        and not known.spoilt
        and known.version == node.version
        and not _changed_inputs(node, known, tokens)
        and not _open_inputs(node, tokens)
    )


def _step(
    node: PlannedNode,
    known: Known | None,
    tokens: Mapping[str, bytes | None],
    forced: Mapping[str, Because],
    explain: Explain,
) -> Step:
    if node.name in forced:
        return Step(node.name, "run", [forced[node.name]])
    if known is None:
        return Step(node.name, "run", [Because(kind="new", text="there is no value of it yet")])
    if known.version != node.version:
        return Step(node.name, "run", explain(node.name))
    if node.never_reused:
        return Step(node.name, "run", [Because(kind="never", text=node.never_reused)])
    if known.spoilt:
        return Step(node.name, "run", [Because(kind="spoilt", text=known.spoilt)])
    if known.changed_files:
        because = [
            Because(kind="file", text=f"a file that it read has changed: {file}", file=file)
            for file in known.changed_files
        ]
        return Step(node.name, "run", because)
    if changed := _changed_inputs(node, known, tokens):
        because = [
            Because(kind="input", name=name, text=f"its input {name!r} has another value")
            for name in changed
        ]
        return Step(node.name, "run", because)
    if open_inputs := _open_inputs(node, tokens):
        because = [
            Because(kind="upstream", name=name, text=f"{name!r}, which it depends on, runs")
            for name in open_inputs
        ]
        return Step(node.name, "run", because, is_certain=False)
    text = f"nothing that it depends on has changed since run {known.run}"
    return Step(node.name, "reuse", [Because(kind="unchanged", text=text)])


def _changed_inputs(
    node: PlannedNode, known: Known, tokens: Mapping[str, bytes | None]
) -> list[str]:
    present = {name for name in node.inputs if name in tokens} - node.ignored
    changed = present ^ (known.inputs.keys() - node.ignored)
    changed |= {
        name
        for name in present - changed
        if (token := tokens[name]) is not None and token != known.inputs[name]
    }
    return sorted(changed)


def _open_inputs(node: PlannedNode, tokens: Mapping[str, bytes | None]) -> list[str]:
    """Inputs whose values are not known before the run."""
    return [
        name
        for name in node.inputs
        if name not in node.ignored and name in tokens and tokens[name] is None
    ]


def _run_what_was_given_up(
    nodes: Sequence[PlannedNode],
    steps: Mapping[str, Step],
    known: Mapping[str, Known],
    kept: Mapping[str, Known],
    wanted: Iterable[str],
) -> None:
    needed = set(wanted)
    for node in reversed(nodes):
        name = node.name
        step = steps[name]
        if (
            step.action == "reuse"
            and name in needed
            and not (kept[name] if name in kept else known[name]).has_value
        ):
            step.action = "run"
            step.because = [Because(kind="given-up", text="its value was given up to save memory")]
        if step.action == "run":
            needed.update(node.inputs)
