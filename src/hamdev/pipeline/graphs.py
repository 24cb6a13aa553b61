"""The composed DAG: Hamilton's graph, executed in a fixed topological order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from hamilton.graph import FunctionGraph
from hamilton.node import DependencyType, Node

from hamdev.errors import CycleError, GraphError, InputError, nearest


class OrderedGraph(FunctionGraph):  # type: ignore[misc]  # Hamilton ships no types
    """A function graph that executes its nodes in topological order.

    Hamilton walks the graph recursively from a set of nodes: chains of about 1,000 nodes exceed
    the recursion limit and the order depends on PYTHONHASHSEED. Handing it one node after the
    other, each with its dependencies already computed, has neither.
    """

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

        Raises:
            CycleError: nodes depend on each other in a circle.
        """
        known = [name for name in names if name in self.nodes]
        nodes, _ = self.get_upstream_nodes(known, dict(inputs), dict(overrides))
        return topological_order(sorted(nodes, key=lambda n: n.name), overrides)


def topological_order(nodes: Sequence[Node], overrides: Mapping[str, Any]) -> list[Node]:
    """`nodes`, each after its dependencies; the same for the same graph, whatever the hash seed.

    Raises:
        CycleError: nodes depend on each other in a circle that no override cuts.
    """
    inside = {n.name for n in nodes}
    ordered: list[Node] = []
    state: dict[str, bool] = {}  # False while a node's dependencies are being visited
    for start in nodes:
        stack = [(start, False)]
        while stack:
            node, visited = stack.pop()
            if visited:
                state[node.name] = True
                ordered.append(node)
                continue
            if node.name in state:
                if not state[node.name]:
                    raise CycleError(_circle(node, nodes, overrides))
                continue
            state[node.name] = False
            stack.append((node, True))
            if node.name in overrides:
                continue
            for dependency in reversed(node.dependencies):
                if dependency.name in inside and not state.get(dependency.name, False):
                    if dependency.name in state:
                        raise CycleError(_circle(dependency, nodes, overrides))
                    stack.append((dependency, False))
    return ordered


def _circle(member: Node, nodes: Sequence[Node], overrides: Mapping[str, Any]) -> list[str]:
    """One circle through `member`, found breadth first so that it is a short one."""
    inside = {n.name: n for n in nodes}
    came_from: dict[str, str] = {}
    todo = [member.name]
    for name in todo:
        if name in overrides:
            continue
        for dependency in inside[name].dependencies:
            if dependency.name == member.name:
                circle = [name]
                while circle[-1] != member.name:
                    circle.append(came_from[circle[-1]])
                return [*reversed(circle), member.name]
            if dependency.name in inside and dependency.name not in came_from:
                came_from[dependency.name] = name
                todo.append(dependency.name)
    return [member.name, member.name]


def missing_inputs(
    graph: OrderedGraph, ordered: Sequence[Node], inputs: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Required inputs that neither `inputs` nor the config gives → the nodes that need them."""
    missing: dict[str, list[str]] = {}
    for node in ordered:
        for name, (_, dependency_type) in node.input_types.items():
            if dependency_type is DependencyType.OPTIONAL:
                continue
            source = graph.nodes.get(name)
            if (
                source is not None
                and source.user_defined
                and name not in inputs
                and name not in graph.config
            ):
                missing.setdefault(name, []).append(node.name)
    return missing


def computable_leaves(
    graph: OrderedGraph, inputs: Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[list[str], dict[str, dict[str, list[str]]]]:
    """Every leaf node that can be computed, and what the others lack.

    A leaf is a node with a function that no other node depends on.

    Returns:
        The names of the computable leaves, sorted; and leaf → missing input → nodes needing it.

    Raises:
        CycleError: the graph has a circle.
    """
    ordered = topological_order(sorted(graph.nodes.values(), key=lambda n: n.name), overrides)
    lacking: dict[str, dict[str, list[str]]] = {}
    for node in ordered:
        lacks: dict[str, list[str]] = {}
        if node.name not in overrides and not node.user_defined:
            lacks.update(missing_inputs(graph, [node], inputs))
            for dependency in node.dependencies:
                required = node.requires(dependency.name)
                if required or not dependency.user_defined:
                    lacks.update(lacking.get(dependency.name, {}))
        lacking[node.name] = lacks
    leaves = sorted(n.name for n in ordered if not n.user_defined and not n.depended_on_by)
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


def refuse_dynamic(nodes: Iterable[Node]) -> None:
    """Refuse nodes that only Hamilton's dynamic execution can execute.

    Raises:
        GraphError: with the first such node.
    """
    for node in nodes:
        if node.node_role.name in {"EXPAND", "COLLECT"}:
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
