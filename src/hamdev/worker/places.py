"""Where the functions of nodes are defined."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import CodeType
from typing import Any

from hamilton.node import Node

from hamdev.messages import NodePlace
from hamdev.pipeline.graphs import OrderedGraph


class Places:
    """Looks places up, once for each node as long as its code stays the same.

    Args:
        owns: whether a file is one of the project's.
    """

    def __init__(self, owns: Callable[[str | None], bool]) -> None:
        self._owns = owns
        self._known: dict[str, tuple[Node, Any, CodeType, NodePlace]] = {}

    def of_all(self, graph: OrderedGraph, names: Iterable[str]) -> dict[str, NodePlace]:
        """Node → the place of its function, in the project if it is found there."""
        before, self._known = self._known, {}
        found = {}
        for name in names:
            node = graph.nodes[name]
            known = before.get(name)
            # A function that only stands elsewhere by now has another code object.
            if known is not None and known[0] is node and known[1].__code__ is known[2]:
                self._known[name] = known
                found[name] = known[3]
            else:
                found[name] = self._look_up(name, node)
        return found

    def _look_up(self, name: str, node: Node) -> NodePlace:
        place = place_of(node, self._owns)
        functions = list(node.originating_functions or ())
        if len(functions) == 1:
            function: Any = inspect.unwrap(functions[0])
            if (code := getattr(function, "__code__", None)) is not None:
                self._known[name] = (node, function, code, place)
        return place


def place_of(node: Node, owns: Callable[[str | None], bool]) -> NodePlace:
    """The place of a node's function, in the project if it is found there."""
    function = function_of(node, owns)
    if function is None:
        return NodePlace()
    return NodePlace(file=function.__code__.co_filename, line=function.__code__.co_firstlineno)


def function_of(node: Node, owns: Callable[[str | None], bool]) -> Any:
    """The Python function that a node comes from, one of the project if there is one, or None."""
    first: Any = None
    for originating in node.originating_functions or ():
        function: Any = inspect.unwrap(originating)
        code = getattr(function, "__code__", None)
        if code is None:
            continue
        if owns(code.co_filename):
            return function
        first = first or function
    return first
