"""Modules → the nodes of a DAG, keeping what Hamilton made of functions that are still the same.

Of the time that Hamilton takes to build a DAG, nine tenths go into turning functions into nodes
(signatures, type hints, decorators). That depends on the function object and on the config alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
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

from hamdev.pipeline.graphs import Shape


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
        shape: of the latest DAG; the same object as long as nothing but the code of nodes changes.
    """

    def __init__(self) -> None:
        self._config: dict[str, Any] = {}
        self._listed: dict[str, _Listed] = {}
        self._resolved: dict[Callable[..., Any], _Resolved] = {}
        self._order: list[_Entry] = []
        self._nodes: dict[str, Node] = {}
        self.producers: dict[str, Producer] = {}
        self.shape = Shape({})

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
            self._config, self._resolved, self._nodes = dict(config), {}, {}
        order = [
            (module.__name__, name, function)
            for module in modules
            for name, function in self._functions(module)
        ]
        replaced = self._replaced(order, adapters)
        if replaced is None:
            self._nodes = {}  # until it is known that they go together
            self._nodes = self._wired(order, adapters)
            self.shape = Shape(self._nodes)
        else:
            self._put_in_place(replaced)
        self._order = order
        return dict(self._nodes)

    def _functions(self, module: ModuleType) -> list[tuple[str, Callable[..., Any]]]:
        """The functions that Hamilton finds; looked for again only if the module's names differ."""
        names, values = list(vars(module)), list(vars(module).values())
        known = self._listed.get(module.__name__)
        if known is None or known.names != names or not all(map(is_, known.values, values)):
            known = self._listed[module.__name__] = _Listed(names, values, find_functions(module))
        return known.functions

    # -- a DAG from its functions -------------------------------------------------------------

    def _wired(self, order: list[_Entry], adapters: LifecycleAdapterSet) -> dict[str, Node]:
        resolved: dict[Callable[..., Any], _Resolved] = {}
        self.producers = {}
        nodes: dict[str, Node] = {}
        for module, name, function in order:
            known = self._resolved.get(function)
            if known is None or (known[0].module, known[0].name) != (module, name):
                known = self._resolve(module, name, function)
            resolved[function] = known
            for node in known[1]:
                if node.name not in self._config:
                    node.dependencies.clear()
                    node.depended_on_by.clear()
                    nodes[node.name] = node
                    self.producers[node.name] = known[0]
        self._resolved = resolved
        nodes = graph.update_dependencies(nodes, adapters, reset_dependencies=False)
        for name in self._config:
            if name not in nodes:
                nodes[name] = Node(name, Any, node_source=NodeType.EXTERNAL)
        return nodes

    # -- a DAG from the one before ------------------------------------------------------------

    def _replaced(
        self, order: list[_Entry], adapters: LifecycleAdapterSet
    ) -> list[tuple[_Resolved, _Resolved]] | None:
        """What differs from the DAG before, as (old, new); None if it has to be wired anew.

        That is not necessary if nodes are called and typed as before: then they fit in.
        """
        if not self._nodes or len(order) != len(self._order):
            return None
        if adapters.does_method("do_check_edge_types_match", is_async=False):
            return None
        replaced = []
        for (module, name, function), (*place, before) in zip(order, self._order, strict=True):
            if [module, name] != place:
                return None
            if function is before:
                continue
            old = self._resolved[before]
            if [old[0].module, old[0].name] != place:
                return None  # it goes by several names
            new = self._resolve(module, name, function)
            if not _fits(old[1], new[1]):
                return None
            replaced.append((old, new))
        return replaced

    def _put_in_place(self, replaced: list[tuple[_Resolved, _Resolved]]) -> None:
        for (old_producer, old_nodes), resolved in replaced:
            producer, new_nodes = resolved
            del self._resolved[old_producer.function]
            self._resolved[producer.function] = resolved
            for old, new in zip(old_nodes, new_nodes, strict=True):
                if self._nodes.get(new.name) is old:
                    _take_place(old, new)
                    self._nodes[new.name] = new
                    self.producers[new.name] = producer

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


def _fits(old: Sequence[Node], new: Sequence[Node]) -> bool:
    """Whether nodes have the same names, inputs and types as those that they replace."""
    try:
        return len(old) == len(new) and all(map(_is_alike, old, new))
    except Exception:
        return False  # types that cannot be compared, such as `Annotated` with an array in it


def _is_alike(old: Node, new: Node) -> bool:
    return bool(
        old.name == new.name
        and old.type == new.type
        and old.node_role == new.node_role
        and list(old.input_types.items()) == list(new.input_types.items())
        and all(node is not old for node in old.dependencies)
    )


def _take_place(old: Node, new: Node) -> None:
    new.dependencies[:] = old.dependencies
    new.depended_on_by[:] = old.depended_on_by
    for neighbours in (
        *(node.depended_on_by for node in old.dependencies),
        *(node.dependencies for node in old.depended_on_by),
    ):
        neighbours[:] = [new if node is old else node for node in neighbours]


@dataclass(frozen=True, slots=True)
class _Listed:
    """The functions of a module, and the names and values that it had then."""

    names: list[str]
    values: list[Any]
    functions: list[tuple[str, Callable[..., Any]]]


_Entry = tuple[str, str, Callable[..., Any]]
_Resolved = tuple[Producer, tuple[Node, ...]]
