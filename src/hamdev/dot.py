"""A composed DAG as text in Graphviz's language, for pictures that people look at."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hamdev.layers import direction_of, edges_of

FONT = "Helvetica,Arial,sans-serif"
INK = "#1f2328"
QUIET_INK = "#59636e"
EDGE = "#8c959f"
MAX_LABEL = 60
# State → border, ground, word and dash of a node. It is said in words too, unless all is well.
STATES: dict[str, tuple[str, str, str, str]] = {
    "fresh": ("#2da44e", "#ffffff", "#1a7f37", "solid"),
    "running": ("#0969da", "#ddf4ff", "#0550ae", "solid"),
    "queued": ("#0969da", "#f6fbff", "#0550ae", "dashed"),
    "stale": ("#bf8700", "#fff8c5", "#7d4e00", "dashed"),
    "blocked": ("#bc4c00", "#fff1e5", "#953800", "dashed"),
    "failed": ("#cf222e", "#ffebe9", "#a40e26", "solid"),
}
_NO_STATE = ("#8c959f", "#ffffff", QUIET_INK, "solid")
_OUTSIDE = ("#8c959f", "#f6f8fa", QUIET_INK, "dashed")
# One for each module, in turn: far enough from the states' colours not to be taken for one.
_MODULES = ["#54708c", "#8a6bb1", "#4d8f8b", "#a8763e", "#7b8c5a", "#a0567b", "#5a66a8", "#7a7a7a"]
# Graphviz's layout of large graphs takes minutes unless it is told to look less far: for so many
# nodes, its limits of network simplex and of crossing minimisation.
_EFFORTS = ((1500, 2.0, 0.2), (3000, 0.5, 0.05), (10**9, 0.2, 0.02))


def dot_text(
    graph: Mapping[str, Any],
    states: Mapping[str, str] | None = None,
    positions: Mapping[str, Any] | None = None,
) -> str:
    """The DAG in Graphviz's language: dark on light, each node with its name and type.

    Args:
        graph: the protocol's answer to `graph`.
        states: node name → its state, if the picture is to show them.
        positions: a layout that is to be used, as `hamdev.layout` gives it; otherwise Graphviz
            is to find one.
    """
    nodes = graph["nodes"]
    edges = edges_of(graph)
    ids = _ids(nodes)
    modules = list(dict.fromkeys(m for node in nodes if (m := node.get("module"))))
    colours = {name: _MODULES[n % len(_MODULES)] for n, name in enumerate(modules)}
    height = positions["height"] if positions else 0.0
    lines = ["digraph {", *_attributes(graph, edges, _legend(graph, colours, states or {}))]
    for node in nodes:
        state = (states or {}).get(node["name"])
        place = positions["nodes"].get(node["name"]) if positions else None
        lines.append(f"  {ids[node['name']]} [{_node(node, state, colours, place, height)}];")
    if positions:
        for edge in positions["edges"]:
            points = " ".join(f"{x:.1f},{height - y:.1f}" for x, y in edge["points"])
            x, y = edge["points"][-1]
            lines.append(
                f"  {ids[edge['from']]} -> {ids[edge['to']]} "
                f'[pos="e,{x:.1f},{height - y:.1f} {points}"];'
            )
    else:
        lines += [f"  {ids[a]} -> {ids[b]};" for a, b in edges]
    return "\n".join([*lines, "}", ""])


def layout_text(
    graph: Mapping[str, Any], sizes: Mapping[str, tuple[float, float]], direction: str
) -> str:
    """The bare DAG for a layout: nodes `0`, `1`, … of given sizes, edges that touch them."""
    position = {node["name"]: number for number, node in enumerate(graph["nodes"])}
    lines = [
        "digraph {",
        f"  rankdir={direction}; nodesep=0.22; ranksep=0.55; {_effort(len(position))}",
        '  node [shape=box, fixedsize=true, label=""]; edge [arrowhead=none];',
    ]
    for name, number in position.items():
        width, height = sizes[name]
        lines.append(f"  {number} [width={width / 72:.4f}, height={height / 72:.4f}];")
    lines += [f"  {position[a]} -> {position[b]};" for a, b in edges_of(graph)]
    return "\n".join([*lines, "}"])


def _effort(nodes: int) -> str:
    simplex, crossings = next((s, c) for most, s, c in _EFFORTS if nodes <= most)
    return f"nslimit={simplex}; nslimit1={simplex}; mclimit={crossings};"


def _attributes(
    graph: Mapping[str, Any], edges: Sequence[tuple[str, str]], legend: str
) -> list[str]:
    direction = direction_of(graph, edges)
    return [
        f'  graph [rankdir={direction}, bgcolor="#ffffff", pad=0.35, nodesep=0.28, ranksep=0.5,',
        f'    fontname="{FONT}", fontsize=10, fontcolor="{QUIET_INK}", labelloc=b, labeljust=l,',
        f"    label={legend}, outputorder=edgesfirst];",
        f"  {_effort(len(graph['nodes']))}",
        f'  node [shape=box, style="filled", fontname="{FONT}", fontsize=12,',
        f'    fontcolor="{INK}", penwidth=1.2, margin=0];',
        f'  edge [color="{EDGE}", penwidth=1.0, arrowsize=0.6];',
    ]


def _ids(nodes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Node name → what it is called in the text: its name, if that can be written there."""
    ids = {}
    for number, node in enumerate(nodes):
        name = node["name"]
        plain = name.isprintable() and not set(name) & {'"', "\\"}
        ids[name] = f'"{name}"' if plain else f'"node {number}"'
    return ids


def _node(
    node: Mapping[str, Any],
    state: str | None,
    colours: Mapping[str, str],
    place: Sequence[float] | None,
    height: float,
) -> str:
    is_outside = node["kind"] != "function"
    look = _OUTSIDE if is_outside else _NO_STATE
    border, ground, word, dash = STATES.get(state or "", look)
    # What comes from outside has no module's colour, and round corners.
    style = f"filled,rounded,{dash}" if is_outside else f"filled,{dash}"
    facts = [_text(node["type"])]
    if is_outside:
        facts.append(node["kind"])
    if state and state != "fresh":
        facts.append(f'<font color="{word}"><b>{_text(state)}</b></font>')
    bar = colours.get(node.get("module") or "")
    side = f'<td rowspan="2" width="5" cellpadding="0" bgcolor="{bar}"></td>' if bar else ""
    label = (
        '<<table border="0" cellborder="0" cellspacing="0" cellpadding="0">'
        f'<tr>{side}<td rowspan="2" width="8"></td>'
        f'<td align="left" valign="bottom" height="20"><b>{_text(node["name"])}</b></td>'
        '<td rowspan="2" width="10"></td></tr>'
        '<tr><td align="left" valign="top" height="18">'
        f'<font point-size="10" color="{QUIET_INK}">{" · ".join(facts)}</font></td></tr></table>>'
    )
    attributes = [
        f"label={label}",
        f'color="{border}"',
        f'fillcolor="{ground}"',
        f'style="{style}"',
    ]
    if place is not None:
        x, y, w, h = place
        attributes.append(f'pos="{x + w / 2:.1f},{height - y - h / 2:.1f}"')
        attributes.append(f"width={w / 72:.4f}, height={h / 72:.4f}, fixedsize=true")
    return ", ".join(attributes)


def _legend(graph: Mapping[str, Any], colours: Mapping[str, str], states: Mapping[str, str]) -> str:
    """What the picture shows, and which colour is which module's."""
    facts = [f"<b>{_text(graph['pipeline'])}</b>", f"revision {graph['revision']}"]
    entries = [f"<td>{' · '.join(facts)}&#160;&#160;</td>"]
    for module, colour in [*colours.items()][: len(_MODULES)]:
        entries.append(
            f'<td><font color="{colour}">&#9632;</font> {_text(module)}&#160;&#160;</td>'
        )
    row = "".join(entries)
    return f'<<table border="0" cellspacing="0" cellpadding="4"><tr>{row}</tr></table>>'


def _text(text: str) -> str:
    """`text` in a label: without what would be markup, and without what no markup may hold."""
    shown = text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"
    return html.escape("".join(c if c.isprintable() else "·" for c in shown))
