"""Messages that are too long for a line of the protocol, with less in them.

A status of 1,000 nodes with summaries of 4 KiB each is 4 MiB, and a line has at most 1 MiB. What
is left out is what `result`, `why` and `source` give one by one: rows, texts, reasons, tracebacks,
docs and places. No node, no edge, no problem and no event is left out.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from hamdev.messages import (
    Diff,
    Event,
    Graph,
    GraphNode,
    NodeStatus,
    PlanStep,
    Problem,
    Summary,
)

LEVELS = (1, 2, 3)
_CUT = "…"
# For each level: of a summary's text, of a traceback, of a message, of printed text.
_TEXT = {1: 160, 2: 24, 3: 0}
_TRACEBACK = {1: 2000, 2: 0, 3: 0}
_MESSAGE = {1: 2000, 2: 400, 3: 100}
_OUTPUT = {1: 400_000, 2: 100_000, 3: 10_000}
_COLUMNS = {1: 12, 2: 0, 3: 0}
_DOC = 120


def shortened(value: Any, level: int) -> Any:
    """A message, or plain data with messages in it, without some of its details.

    Args:
        value: the message.
        level: one of `LEVELS`: how much is left out.
    """
    match value:
        case dict():
            return {key: shortened(item, level) for key, item in value.items()}
        case list() | tuple():
            return [shortened(item, level) for item in value]
        case Summary():
            columns = value.columns[: _COLUMNS[level]] if value.columns else None
            return msgspec.structs.replace(
                value,
                text=_cut(value.text, _TEXT[level]),
                columns=columns or None,
                rows=None,
                types=None,
                nulls=None,
                ranges=None,
            )
        case Diff():
            return msgspec.structs.replace(value, text=_cut(value.text, _TEXT[level]), changes=[])
        case Problem():
            traceback = value.traceback
            if traceback is not None:
                traceback = traceback[-_TRACEBACK[level] :] if _TRACEBACK[level] else None
            message = _cut(value.message, _MESSAGE[level])
            return msgspec.structs.replace(value, message=message, traceback=traceback)
        case PlanStep():
            because = value.because[: 0 if level == 3 and value.action == "reuse" else 1]
            return msgspec.structs.replace(value, because=because)
        case Graph():
            return _short_graph(value, level)
        case NodeStatus() if level == 3:
            return msgspec.structs.replace(
                value,
                summary=UNSET,
                diff=UNSET,
                problem=shortened(value.problem, level),
            )
        case msgspec.Struct():
            changes = {
                name: shortened(getattr(value, name), level) for name in value.__struct_fields__
            }
            if isinstance(value, Event) and isinstance(value.text, str):
                changes["text"] = _cut(value.text, _OUTPUT[level])
            return msgspec.structs.replace(value, **changes)
    return value


def _short_graph(graph: Graph, level: int) -> Graph:
    """`graph` with edges between positions, which tell the same, and with less of each node."""
    positions = {node.name: number for number, node in enumerate(graph.nodes)}
    edges = [
        (positions[a], positions[b])
        for a, b in graph.edges
        if isinstance(a, str) and isinstance(b, str)
    ]
    nodes = [_short_node(node, level) for node in graph.nodes]
    return msgspec.structs.replace(graph, nodes=nodes, edges=edges)


def _short_node(node: GraphNode, level: int) -> GraphNode:
    if level == 1:
        doc = node.doc.partition("\n")[0] if isinstance(node.doc, str) else UNSET
        return msgspec.structs.replace(node, doc=_cut(doc, _DOC) if isinstance(doc, str) else doc)
    left_out = {"doc": UNSET, "tags": UNSET}
    if level == 3:
        left_out |= {"module": UNSET, "file": UNSET, "line": UNSET}
    return msgspec.structs.replace(node, **left_out)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + _CUT
