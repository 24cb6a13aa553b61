"""Modules → the nodes of a DAG, keeping what Hamilton made of functions that are still the same.

Of the time that Hamilton takes to build a DAG, nine tenths go into turning functions into nodes
(signatures, type hints, decorators). That depends on the function object and on the config alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from hamilton import graph
from hamilton.function_modifiers.base import (
    DynamicResolver,
    get_node_decorators,
    resolve_nodes,
)
from hamilton.graph_utils import find_functions
from hamilton.lifecycle.base import LifecycleAdapterSet
from hamilton.node import Node, NodeType


@dataclass(frozen=True, slots=True)
class Producer:
    """The function that nodes come from, under the name by which its module has it.

    Attributes:
        config_names: the config values that its decorators look at.
    """

    module: str
    name: str
    function: Callable[..., Any]
    config_names: frozenset[str]


class Composition:
    """Composes DAGs, each quickly if it has functions in common with the one before.

    They share their nodes, so a DAG is of no use any more when the next one has been composed.
    A function object that changes in place would be taken for the same, so whoever keeps one of
    these over a reload makes new function objects for what has changed.

    Attributes:
        producers: node name → where it comes from, for the latest DAG.
    """

    def __init__(self) -> None:
        self._config: dict[str, Any] = {}
        self._resolved: dict[Callable[..., Any], _Resolved] = {}
        self.producers: dict[str, Producer] = {}

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
        resolved: dict[Callable[..., Any], _Resolved] = {}
        self.producers = {}
        nodes: dict[str, Node] = {}
        for module in modules:
            for name, function in find_functions(module):
                known = self._resolved.get(function)
                if known is None or (known[0].module, known[0].name) != (module.__name__, name):
                    known = self._resolve(module.__name__, name, function)
                resolved[function] = known
                for node in known[1]:
                    if node.name not in config:
                        node.dependencies.clear()
                        node.depended_on_by.clear()
                        nodes[node.name] = node
                        self.producers[node.name] = known[0]
        self._resolved = resolved
        nodes = graph.update_dependencies(nodes, adapters, reset_dependencies=False)
        for name in config:
            if name not in nodes:
                nodes[name] = Node(name, Any, node_source=NodeType.EXTERNAL)
        return nodes

    def _resolve(self, module: str, name: str, function: Callable[..., Any]) -> _Resolved:
        nodes = tuple(resolve_nodes(function, dict(self._config)))
        names: set[str] = set()
        for decorators in get_node_decorators(function, dict(self._config)).values():
            for decorator in decorators:
                required, optional = decorator.required_config(), decorator.optional_config()
                if required is None or optional is None:
                    names |= self._config.keys()
                else:
                    names |= {*required, *optional} & self._config.keys()
        if hasattr(function, DynamicResolver.get_lifecycle_name()):
            names |= self._config.keys()
        return Producer(module, name, function, frozenset(names)), nodes


_Resolved = tuple[Producer, tuple[Node, ...]]
