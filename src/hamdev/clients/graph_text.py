"""A DAG as text: each result with what it needs below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from hamdev.clients.render import COLOURS, printable

# A branch that is deeper begins again at the left, so that lines stay short.
MAX_DEPTH = 8


def graph_lines(graph: Mapping[str, Any], states: Mapping[str, str]) -> Iterator[str]:
    """The DAG as a tree for each of its results: a node, and below it what it takes.

    What a node takes is shown once, where the node is first met; further on, the node alone.

    Args:
        graph: the protocol's answer to `graph`.
        states: node name → its state.
    """
    nodes = {node["name"]: node for node in graph["nodes"]}
    needs: dict[str, list[str]] = {name: [] for name in nodes}
    for dependency, name in graph["edges"]:
        needs[name].append(dependency)
    count = f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}"
    head = click.style(printable(graph["pipeline"]), bold=True)
    yield f"{head}: {count} · revision {graph['revision']}"
    needed = {dependency for dependency, _ in graph["edges"]}
    shown: set[str] = set()
    todo = [name for name in reversed(nodes) if name not in needed][::-1]
    while todo:
        root = todo.pop(0)
        if root in shown:
            continue
        yield ""
        later: list[str] = []
        for line in _tree(root, needs, shown, later):
            yield line.shown(nodes[line.node], states.get(line.node))
        todo[:0] = later


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a tree; `rest` is how it goes on elsewhere, if it does."""

    node: str
    branches: str
    rest: str

    def shown(self, node: Mapping[str, Any], state: str | None) -> str:
        facts = [printable(node["type"])]
        if node["kind"] != "function":
            facts.append(node["kind"])
        if config := (node.get("tags") or {}).get("hamilton.config"):
            facts.append(f"by {printable(config)}")
        text = f"{self.branches}{printable(self.node)}: {' · '.join(facts)}"
        if state and state != "fresh":
            text += f" · {click.style(state, fg=COLOURS.get(state))}"
        return text + self.rest


def _tree(
    root: str, needs: Mapping[str, Sequence[str]], shown: set[str], later: list[str]
) -> Iterator[_Line]:
    """The lines of one tree, without recursion, since a DAG may be thousands of nodes deep."""
    stack = [(root, "", "", 0)]
    while stack:
        name, branch, below, depth = stack.pop()
        if name in shown and needs[name]:
            yield _Line(name, branch, "  (see above)")
            continue
        if depth == MAX_DEPTH and needs[name]:
            yield _Line(name, branch, "  (see below)")
            later.append(name)
            continue
        shown.add(name)
        yield _Line(name, branch, "")
        children = needs[name]
        for number in reversed(range(len(children))):
            turn, line = ("├─ ", "│  ") if number < len(children) - 1 else ("└─ ", "   ")
            stack.append((children[number], below + turn, below + line, depth + 1))
