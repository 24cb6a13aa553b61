"""Modules → the nodes of a DAG, keeping what Hamilton made of functions that are still the same.

Of the time that Hamilton takes to build a DAG, nine tenths go into turning functions into nodes
(signatures, type hints, decorators). That depends on the function object and on the config alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from hamilton import graph
from hamilton.function_modifiers.base import resolve_nodes
from hamilton.graph_utils import find_functions
from hamilton.lifecycle.base import LifecycleAdapterSet
from hamilton.node import Node, NodeType


class Composition:
    """Composes DAGs, each quickly if it has functions in common with the one before.

    They share their nodes, so a DAG is of no use any more when the next one has been composed.
    A function object that changes in place would be taken for the same, so whoever keeps one of
    these over a reload makes new function objects for what has changed.
    """

    def __init__(self) -> None:
        self._config: dict[str, Any] = {}
        self._resolved: dict[Callable[..., Any], tuple[Node, ...]] = {}

    def nodes(
        self,
        modules: Sequence[ModuleType],
        config: Mapping[str, Any],
        adapters: LifecycleAdapterSet,
    ) -> dict[str, Node]:
        """Node name → node, as Hamilton's driver would build it; later modules win.

        Raises:
            Exception: what Hamilton raises when the modules do not compose.
        """
        if self._config != config:
            self._config, self._resolved = dict(config), {}
        resolved: dict[Callable[..., Any], tuple[Node, ...]] = {}
        nodes: dict[str, Node] = {}
        for module in modules:
            for _, function in find_functions(module):
                known = self._resolved.get(function)
                if known is None:
                    known = tuple(resolve_nodes(function, dict(config)))
                resolved[function] = known
                for node in known:
                    if node.name not in config:
                        node.dependencies.clear()
                        node.depended_on_by.clear()
                        nodes[node.name] = node
        self._resolved = resolved
        nodes = graph.update_dependencies(nodes, adapters, reset_dependencies=False)
        for name in config:
            if name not in nodes:
                nodes[name] = Node(name, Any, node_source=NodeType.EXTERNAL)
        return nodes
