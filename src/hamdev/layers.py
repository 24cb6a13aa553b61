"""A simple layout of our own: layers by depth; for graphs on which Graphviz takes too long."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

NODE_HEIGHT = 44.0
_MIN_WIDTH, _MAX_WIDTH = 90.0, 340.0
_PADDING = 30.0
_NAME_CHAR, _TYPE_CHAR = 7.4, 6.2
_BETWEEN_NODES, _BETWEEN_LAYERS = 16.0, 60.0
_MARGIN = 8.0
# A screen is wider than high.
_SCREEN = 1.6
_SWEEPS = 6
# A longer layer is folded, so that 5,000 nodes without edges do not make a tower.
_MAX_IN_LAYER = 80


def edges_of(graph: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The edges of the protocol's answer to `graph`, as names, whichever way it gives them."""
    names = [node["name"] for node in graph["nodes"]]
    known = set(names)
    pairs = [
        (a, b) if isinstance(a, str) else (names[a], names[b]) for a, b in graph.get("edges", ())
    ]
    return [(a, b) for a, b in pairs if a in known and b in known]


def box_of(node: Mapping[str, Any]) -> tuple[float, float]:
    """Width and height of a node that shows its name and, smaller and below, its type."""
    longest = max(_NAME_CHAR * _columns(node["name"]), _TYPE_CHAR * _columns(node.get("type", "")))
    return min(max(longest + _PADDING, _MIN_WIDTH), _MAX_WIDTH), NODE_HEIGHT


def _columns(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def depths_of(graph: Mapping[str, Any], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Node → how many edges the longest way to it has."""
    after: dict[str, list[str]] = {node["name"]: [] for node in graph["nodes"]}
    waits_for = dict.fromkeys(after, 0)
    for a, b in edges:
        after[a].append(b)
        waits_for[b] += 1
    depth = dict.fromkeys(after, 0)
    ready = [name for name, count in waits_for.items() if not count]
    for name in ready:
        for later in after[name]:
            depth[later] = max(depth[later], depth[name] + 1)
            waits_for[later] -= 1
            if not waits_for[later]:
                ready.append(later)
    return depth


def direction_of(graph: Mapping[str, Any], edges: Sequence[tuple[str, str]]) -> str:
    """`LR` or `TB`, whichever makes a picture nearer to a screen's shape."""
    depth = depths_of(graph, edges)
    if not depth:
        return "TB"
    counts: dict[int, int] = {}
    for layer in depth.values():
        counts[layer] = counts.get(layer, 0) + 1
    layers, longest = len(counts), max(counts.values())
    width = sum(box_of(node)[0] for node in graph["nodes"]) / len(depth)
    across = layers * (width + _BETWEEN_LAYERS) / (longest * (NODE_HEIGHT + _BETWEEN_NODES))
    down = longest * (width + _BETWEEN_NODES) / (layers * (NODE_HEIGHT + _BETWEEN_LAYERS))
    return "LR" if _distance(across) <= _distance(down) else "TB"


def _distance(ratio: float) -> float:
    return abs(math.log(ratio / _SCREEN))


def layered(
    graph: Mapping[str, Any], sizes: Mapping[str, tuple[float, float]], direction: str
) -> dict[str, Any]:
    """Positions in the form that `hamdev.layout` gives them.

    Nodes stand in layers by their depth, in each layer near those that they are connected with;
    edges are simple curves, which may pass behind nodes.
    """
    edges = edges_of(graph)
    layers = _ordered(_layers(depths_of(graph, edges)), edges)
    is_across = direction == "LR"
    placed: dict[str, list[float]] = {}
    along = _MARGIN
    extents = [_extent(layer, sizes, is_across) for layer in layers]
    longest = max(extents, default=0.0)
    for layer, extent in zip(layers, extents, strict=True):
        beside = _MARGIN + (longest - extent) / 2
        thickness = max(sizes[name][0 if is_across else 1] for name in layer)
        for name in layer:
            width, height = sizes[name]
            x, y = (along, beside) if is_across else (beside, along)
            placed[name] = [round(x, 1), round(y, 1), width, height]
            beside += (height if is_across else width) + _BETWEEN_NODES
        along += thickness + _BETWEEN_LAYERS
    length, breadth = max(along - _BETWEEN_LAYERS, 0) + _MARGIN, longest + 2 * _MARGIN
    return {
        "width": round(length if is_across else breadth, 1),
        "height": round(breadth if is_across else length, 1),
        "direction": direction,
        "nodes": {node["name"]: placed[node["name"]] for node in graph["nodes"]},
        "edges": [
            {"from": a, "to": b, "points": _curve(placed[a], placed[b], is_across)}
            for a, b in edges
        ],
    }


def _layers(depth: Mapping[str, int]) -> list[list[str]]:
    by_depth: dict[int, list[str]] = {}
    for name, layer in depth.items():
        by_depth.setdefault(layer, []).append(name)
    folded = []
    for _, names in sorted(by_depth.items()):
        parts = math.ceil(len(names) / _MAX_IN_LAYER)
        size = math.ceil(len(names) / parts)
        folded += [names[start : start + size] for start in range(0, len(names), size)]
    return folded


def _ordered(layers: list[list[str]], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Each layer in an order in which its nodes are near those that they are connected with."""
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for a, b in edges:
        before.setdefault(b, []).append(a)
        after.setdefault(a, []).append(b)
    rank = {name: n / max(len(layer), 1) for layer in layers for n, name in enumerate(layer)}
    for sweep in range(_SWEEPS):
        neighbours = after if sweep % 2 else before
        for layer in reversed(layers) if sweep % 2 else layers:
            middle = {}
            for name in layer:
                near = [rank[other] for other in neighbours.get(name, ())]
                middle[name] = sum(near) / len(near) if near else rank[name]
            layer.sort(key=middle.__getitem__)
            for n, name in enumerate(layer):
                rank[name] = (n + 0.5) / len(layer)
    return layers


def _extent(
    layer: Sequence[str], sizes: Mapping[str, tuple[float, float]], is_across: bool
) -> float:
    own = sum(sizes[name][1 if is_across else 0] for name in layer)
    return own + _BETWEEN_NODES * (len(layer) - 1)


def _curve(start: Sequence[float], end: Sequence[float], is_across: bool) -> list[list[float]]:
    if is_across:
        a = start[0] + start[2], start[1] + start[3] / 2
        b = end[0], end[1] + end[3] / 2
        middle = (a[0] + b[0]) / 2
        points = [a, (middle, a[1]), (middle, b[1]), b]
    else:
        a = start[0] + start[2] / 2, start[1] + start[3]
        b = end[0] + end[2] / 2, end[1]
        middle = (a[1] + b[1]) / 2
        points = [a, (a[0], middle), (b[0], middle), b]
    return [[round(x, 1), round(y, 1)] for x, y in points]
