"""The composed DAG: Hamilton's graph, executed in a fixed topological order."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

from hamilton.graph import FunctionGraph
from hamilton.lifecycle.base import LifecycleAdapterSet
from hamilton.node import Node, NodeType

from hamdev.errors import CycleError, GraphError, InputError, nearest


class Shape:
    """What the nodes of a DAG are called and what they take, but not what their code does.

    Args:
        nodes: all nodes of a DAG, by name.

    Attributes:
        inputs_of: node name → names of its inputs.
        outside: names of what has no function.
        answers: what was found out about the DAG and depends on this alone.
    """

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        # A node's name is put together at each access, and the keys of this are the names.
        self.inputs_of = {name: tuple(node.input_types) for name, node in nodes.items()}
        self.outside = frozenset(name for name, node in nodes.items() if node.user_defined)
        self.answers: dict[Hashable, Any] = {}


class OrderedGraph(FunctionGraph):  # type: ignore[misc]  # Hamilton ships no types
    """A function graph that executes its nodes in topological order.

    Hamilton walks the graph recursively from a set of nodes: chains of about 1,000 nodes exceed
    the recursion limit and the order depends on PYTHONHASHSEED. Handing it one node after the
    other, each with its dependencies already computed, has neither.

    Args:
        nodes, config, adapter: as Hamilton's graph takes them.
        shape: that of `nodes`, if it is known.
    """

    def __init__(
        self,
        nodes: dict[str, Node],
        config: dict[str, Any],
        adapter: LifecycleAdapterSet | None = None,
        shape: Shape | None = None,
    ) -> None:
        super().__init__(nodes, config, adapter)
        self.shape = shape or Shape(nodes)

    def execute(
        self,
        nodes: Collection[Node] | None = None,
        computed: dict[str, Any] | None = None,
        overrides: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        run_id: str | None = None,
    ) -> dict[str, Any]:
        """Execute `nodes` and what is upstream of them.

        Values that no later node and no caller needs are dropped on the way, as Hamilton does.

        Raises:
            CycleError: nodes depend on each other in a circle.
        """
        wanted = self.get_nodes() if nodes is None else list(nodes)
        computed = {} if computed is None else computed
        overrides = overrides or {}
        inputs = inputs or {}
        keep = {n.name for n in wanted}
        ordered = self.ordered_upstream(keep, inputs, overrides)
        readers: dict[str, int] = {}
        for n in ordered:
            for dependency in n.dependencies:
                readers[dependency.name] = readers.get(dependency.name, 0) + 1
        for n in ordered:
            super().execute([n], computed, overrides, inputs, run_id)
            for dependency in n.dependencies:
                readers[dependency.name] -= 1
                if not readers[dependency.name] and dependency.name not in keep:
                    computed.pop(dependency.name, None)
        return computed

    def ordered_upstream(
        self, names: Iterable[str], inputs: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> list[Node]:
        """`names` and everything they need, each after all that it depends on.

        The order is the same for the same graph, whatever the hash seed. Optional inputs that
        nobody gives are left out, as Hamilton does.

        Raises:
            CycleError: nodes depend on each other in a circle that no override cuts.
        """
        given = {*inputs, *self.config}
        absent = {name for name in self._outside if name not in given}
        return self._ordered(sorted(n for n in names if n in self.nodes), absent, overrides)

    def _ordered(
        self, starts: Iterable[str], absent: Collection[str], overrides: Mapping[str, Any]
    ) -> list[Node]:
        nodes, inputs_of = self.nodes, self._inputs_of
        ordered: list[Node] = []
        is_done: dict[str, bool] = {}  # False while a node's dependencies are being visited
        for start in starts:
            stack = [(start, False)]
            while stack:
                name, is_visited = stack.pop()
                if is_visited:
                    is_done[name] = True
                    ordered.append(nodes[name])
                    continue
                if name in is_done:
                    if not is_done[name]:
                        raise CycleError(self._circle(name, overrides))
                    continue
                is_done[name] = False
                stack.append((name, True))
                if name in overrides:
                    continue
                for dependency in reversed(inputs_of[name]):
                    if dependency in absent and not nodes[name].requires(dependency):
                        continue
                    if dependency not in is_done:
                        stack.append((dependency, False))
                    elif not is_done[dependency]:
                        raise CycleError(self._circle(dependency, overrides))
        return ordered

    def _circle(self, member: str, overrides: Mapping[str, Any]) -> list[str]:
        """One circle through `member`, found breadth first so that it is a short one."""
        came_from: dict[str, str] = {}
        todo = [member]
        for name in todo:
            if name in overrides:
                continue
            for dependency in self._inputs_of[name]:
                if dependency == member:
                    circle = [name]
                    while circle[-1] != member:
                        circle.append(came_from[circle[-1]])
                    return [*reversed(circle), member]
                if dependency not in came_from:
                    came_from[dependency] = name
                    todo.append(dependency)
        return [member, member]

    @property
    def _inputs_of(self) -> dict[str, tuple[str, ...]]:
        return self.shape.inputs_of

    @property
    def _outside(self) -> frozenset[str]:
        return self.shape.outside

    def missing_inputs(self, names: Iterable[str], given: Collection[str]) -> dict[str, list[str]]:
        """Required inputs that neither `given` nor the config has → who of `names` needs them."""
        absent = {n for n in self._outside if n not in given and n not in self.config}
        missing: dict[str, list[str]] = {}
        if absent:
            for name in names:
                for needed in self._inputs_of[name]:
                    if needed in absent and self.nodes[name].requires(needed):
                        missing.setdefault(needed, []).append(name)
        return missing

    def computable_leaves(
        self, inputs: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> tuple[list[str], dict[str, dict[str, list[str]]]]:
        """Every leaf node that can be computed, and what the others lack.

        A leaf is a node with a function that no other node depends on.

        Returns:
            The names of the computable leaves, sorted; and leaf → missing input → nodes needing it.

        Raises:
            CycleError: the graph has a circle.
        """
        ordered = self._ordered(sorted(self.nodes), (), overrides)
        needed = {name for found in self._inputs_of.values() for name in found}
        leaves = sorted(n for n in self.nodes if n not in needed and n not in self._outside)
        absent = self._outside - inputs.keys() - self.config.keys()
        if not absent:
            return leaves, {}
        lacking: dict[str, dict[str, list[str]]] = {}
        for node in ordered:
            name = node.name
            lacks: dict[str, list[str]] = {}
            if name not in overrides and name not in self._outside:
                lacks.update(self.missing_inputs([name], inputs))
                for dependency in self._inputs_of[name]:
                    if node.requires(dependency) or dependency not in self._outside:
                        lacks.update(lacking.get(dependency, {}))
            lacking[name] = lacks
        computable = [name for name in leaves if not lacking[name]]
        return computable, {name: lacking[name] for name in leaves if lacking[name]}


def require_known(
    graph: OrderedGraph, names: Iterable[str], what: str, inputs: Mapping[str, Any]
) -> None:
    """Refuse names that stand for nothing in the DAG.

    Raises:
        GraphError: with the nearest known node for each.
    """
    unknown = [
        n for n in names if n not in graph.nodes and n not in inputs and n not in graph.config
    ]
    if unknown:
        listed = "; ".join(_unknown_text(name, graph) for name in unknown)
        raise GraphError(f"unknown node in {what}: {listed}", node=unknown[0])


def _unknown_text(name: str, graph: OrderedGraph) -> str:
    close = nearest(name, graph.nodes)
    return f"{name!r}" + (f", did you mean {close[0]!r}?" if close else ", which no module defines")


_DYNAMIC = (NodeType.EXPAND, NodeType.COLLECT)


def refuse_dynamic(nodes: Iterable[Node]) -> None:
    """Refuse nodes that only Hamilton's dynamic execution can execute.

    Raises:
        GraphError: with the first such node.
    """
    for node in nodes:
        if node.node_role in _DYNAMIC:
            raise GraphError(
                f"node {node.name!r} is Parallelizable[] or Collect[], which needs Hamilton's "
                "dynamic execution; pipelines here are executed node by node. Way out: return a "
                "list, and loop over it in the next node.",
                node=node.name,
            )


def describe_missing(missing: Mapping[str, Sequence[str]]) -> InputError:
    """An error that names each missing input, who needs it, and how to give it."""
    lines = [
        f"input {name!r} is missing; {', '.join(repr(n) for n in needers)} "
        f"need{'s' if len(needers) == 1 else ''} it"
        for name, needers in sorted(missing.items())
    ]
    return InputError(
        "; ".join(lines) + ". Way out: give it in inputs=, or define a node of that name "
        "(is its module among the additional modules?).",
        missing={name: list(needers) for name, needers in missing.items()},
    )
