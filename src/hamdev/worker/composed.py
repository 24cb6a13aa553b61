"""The DAG of a pipeline as it was last composed: described for people, on demand.

A run only notes what it has composed, which costs nothing. The descriptions are made in another
thread while the next run may be loading already, so they rest on what no later run changes: the
nodes themselves, their shape, and the places and texts that were noted.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hamilton.node import Node

from hamdev.errors import nearest
from hamdev.messages import (
    Describe,
    Described,
    GraphNode,
    NodeKind,
    NodePlace,
    ReadSource,
    SourceRead,
)
from hamdev.pipeline.graphs import Shape
from hamdev.pipeline.sources import Source
from hamdev.worker.places import function_of, place_of
from hamdev.worker.type_names import type_name

MAX_DOC = 2000
MAX_TAGS = 2000
MAX_TEXT = 64 * 1024
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Composed:
    """What a run has composed.

    Attributes:
        run: its number.
        nodes: node name → node.
        shape: of these nodes.
        config: what the pipeline's config gives.
        ends: the nodes that are wanted, and those that cannot be computed since inputs are missing.
        places: node name → where its function is, as far as that was looked up.
        sources: module name → the text that it was loaded from.
    """

    run: int
    nodes: Mapping[str, Node]
    shape: Shape
    config: Mapping[str, Any]
    ends: tuple[str, ...]
    places: Mapping[str, NodePlace]
    sources: Mapping[str, Source]

    def shown(self) -> list[str]:
        """Names of the nodes that belong to the pipeline, dependencies first."""
        inputs_of = self.shape.inputs_of
        ordered: dict[str, None] = {}
        seen: set[str] = set()
        for end in self.ends:
            stack = [(end, False)]
            while stack:
                name, is_visited = stack.pop()
                if is_visited:
                    ordered[name] = None
                elif name not in seen and name in self.nodes:
                    seen.add(name)
                    stack.append((name, True))
                    stack += [(needed, False) for needed in reversed(inputs_of[name])]
        return list(ordered)

    def kind(self, name: str) -> NodeKind:
        """What a node is."""
        if name not in self.shape.outside:
            return "function"
        return "config" if name in self.config else "input"


class Descriptions:
    """Answers questions about what was composed last; from one thread at a time.

    Args:
        owns: whether a file is one of the project's.
    """

    def __init__(self, owns: Callable[[str | None], bool]) -> None:
        self._owns = owns
        self._composed: dict[str, Composed] = {}
        self._known: dict[str, dict[str, _Known]] = {}

    def note(self, pipeline: str, composed: Composed) -> None:
        """This is what the pipeline's DAG is now; any thread may say so."""
        self._composed[pipeline] = composed

    def described(self, question: Describe) -> Described:
        """The DAG, or why it cannot be described; it never raises."""
        composed = self._composed.get(question.pipeline)
        if composed is None:
            return Described(request=question.request, pipeline=question.pipeline)
        try:
            names = composed.shown()
            before = self._known.get(question.pipeline, {})
            known = {name: self._node(composed, name, before.get(name)) for name in names}
            self._known[question.pipeline] = known
            edges = [
                (needed, name)
                for name in names
                for needed in dict.fromkeys(composed.shape.inputs_of[name])
                if needed in known
            ]
            return Described(
                request=question.request,
                pipeline=question.pipeline,
                run=composed.run,
                nodes=[node.shown for node in known.values()],
                edges=edges,
            )
        except Exception as error:
            text = f"the DAG cannot be described: {error!r}"
            return Described(request=question.request, pipeline=question.pipeline, error=text)

    def source(self, question: ReadSource) -> SourceRead:
        """The text of a node's function, or why there is none; it never raises."""
        composed = self._composed.get(question.pipeline)
        if composed is None:
            return SourceRead(request=question.request)
        try:
            return self._source(composed, question)
        except Exception as error:
            text = f"the source of {question.node!r} cannot be given: {error!r}"
            return SourceRead(request=question.request, run=composed.run, error=text)

    # -- nodes --------------------------------------------------------------------------------

    def _node(self, composed: Composed, name: str, before: _Known | None) -> _Known:
        """A node as it is shown; what was said of it before holds while it is the same."""
        node, kind = composed.nodes[name], composed.kind(name)
        place = NodePlace()
        if kind == "function":
            place = composed.places.get(name) or place_of(node, self._owns)
        if before is not None and before.is_of(node, kind, place):
            return before
        function = function_of(node, self._owns) if kind == "function" else None
        module = getattr(function, "__module__", None)
        shown = GraphNode(
            name=name,
            type=type_name(node.type),
            kind=kind,
            module=module if isinstance(module, str) else None,
            file=place.file,
            line=place.line,
            doc=_doc(node) if kind == "function" else "",
            tags=_tags(node),
        )
        return _Known(node, place, shown)

    # -- sources ------------------------------------------------------------------------------

    def _source(self, composed: Composed, question: ReadSource) -> SourceRead:
        name = question.node
        answer = SourceRead(request=question.request, run=composed.run)
        node = composed.nodes.get(name)
        if node is None:
            return _replaced(answer, nearest=nearest(name, composed.nodes))
        if (kind := composed.kind(name)) != "function":
            what = "an input" if kind == "input" else "a config value"
            return _replaced(answer, error=f"{name!r} is {what}, so no function computes it")
        function = function_of(node, self._owns)
        if function is None:
            return _replaced(answer, error=f"{name!r} comes from no Python function")
        place = composed.places.get(name) or place_of(node, self._owns)
        module = function.__module__
        answer = _replaced(answer, module=module, file=place.file, line=place.line)
        noted = composed.sources.get(module)
        if noted is not None and noted.file == place.file:
            text = noted.text
        else:
            text = "".join(linecache.getlines(place.file or ""))
        lines = _function_lines(text, function, place.line or 0)
        if lines is None:
            return _replaced(answer, error=f"the text that {name!r} was loaded from is not known")
        first, last = lines
        # Not by splitlines, which counts form feeds and the like as ends of lines; Python does not.
        found = "\n".join(_LINE_END.split(text)[first - 1 : last]) + "\n"
        cut = len(found) > MAX_TEXT
        return _replaced(answer, line=first, text=found[:MAX_TEXT], cut=cut)


@dataclass(frozen=True, slots=True)
class _Known:
    """A node that was described before, and what that rested on."""

    node: Node
    place: NodePlace
    shown: GraphNode

    def is_of(self, node: Node, kind: NodeKind, place: NodePlace) -> bool:
        """Whether what was said of it holds for this node."""
        # Nodes compare by what they hold, which takes a while.
        return self.node is node and self.shown.kind == kind and self.place == place


def _replaced(answer: SourceRead, **changes: Any) -> SourceRead:
    from msgspec import structs

    return structs.replace(answer, **changes)


def _doc(node: Node) -> str:
    doc = node.documentation
    if not isinstance(doc, str):
        return ""
    # Nobody reads more of it here, and cleaning a megabyte takes a while.
    return _clipped(inspect.cleandoc(doc[: 4 * MAX_DOC]), MAX_DOC)


def _tags(node: Node) -> dict[str, str | list[str]]:
    """The node's tags but for `module`, which Hamilton adds and which is said already."""
    tags: dict[str, str | list[str]] = {}
    room = MAX_TAGS
    for key, value in node.tags.items():
        if key == "module":
            continue
        if isinstance(value, list | tuple):
            shown: str | list[str] = [_clipped(str(item), MAX_TAGS) for item in value]
        else:
            shown = _clipped(str(value), MAX_TAGS)
        room -= len(str(key)) + sum(map(len, shown))
        if room < 0:
            break
        tags[str(key)] = shown
    return tags


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


# -- functions in a text -------------------------------------------------------------------------


def _function_lines(text: str, function: Any, line: int) -> tuple[int, int] | None:
    """First and last line of a function, decorators included; `line` is where it should begin."""
    found = _functions_in(text)
    name = function.__name__
    own = function.__code__.co_name
    for first, last, called, _ in found:
        if first == line and called in (name, own):
            return first, last
    # Some decorators make a function elsewhere and give it the name of the one that they replace.
    qualified = getattr(function, "__qualname__", name)
    for first, last, _, known in reversed(found):
        if known == qualified:
            return first, last
    return None


@lru_cache(maxsize=8)
def _functions_in(text: str) -> list[tuple[int, int, str, str]]:
    """First line, last line, name and qualified name of each function of a module's text."""
    found: list[tuple[int, int, str, str]] = []
    todo: list[tuple[Iterable[ast.AST], str]] = [(ast.parse(text).body, "")]
    while todo:
        nodes, prefix = todo.pop(0)
        for node in nodes:
            inner = prefix
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                found.append((first, node.end_lineno or first, node.name, prefix + node.name))
                inner = f"{prefix}{node.name}.<locals>."
            elif isinstance(node, ast.ClassDef):
                inner = f"{prefix}{node.name}."
            elif isinstance(node, ast.expr):
                continue
            todo.append((list(ast.iter_child_nodes(node)), inner))
    return found
