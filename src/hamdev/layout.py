"""Where the nodes and edges of a DAG stand in a picture, and the picture itself.

`python -m hamdev.layout` reads the protocol's answer to `graph` as JSON on stdin, and writes

    {"width", "height", "direction": "LR" or "TB",
     "nodes": {name: [x, y, w, h]},
     "edges": [{"from", "to", "points": [[x, y], …]}]}

as JSON on stdout: in pixels, `x` to the right and `y` downwards from the top left corner of the
picture, or of a node to its own top left corner. The points are those of cubic Bézier curves: a
first one, and three more for each curve. The names of an edge's ends are those of its nodes.

Graphviz runs in a process of its own, since nothing interrupts its C code, and for a limited time;
if it has not come to an end by then, our own, simpler layout is used.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hamdev.dot import dot_text, layout_text
from hamdev.errors import HamdevError
from hamdev.layers import box_of, direction_of, edges_of, layered

LIMIT_S = 10
FORMATS = ("svg", "png")
# Twice as many pixels as points make text crisp, as long as that is no huge picture.
_DPI, _MAX_PIXELS, _MAX_SIDE = 144.0, 40e6, 16000.0
_GRACE_S = 2


class PictureError(HamdevError):
    """Graphviz is not there, or made no picture."""


def layout(graph: Mapping[str, Any], limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Positions of all nodes and edges, as the module's docstring describes them.

    Args:
        graph: the protocol's answer to `graph`.
        limit_s: how long Graphviz may take; afterwards a simpler layout is made.
    """
    sizes = {node["name"]: box_of(node) for node in graph["nodes"]}
    direction = direction_of(graph, edges_of(graph))
    try:
        answer = _graphviz("json0", layout_text(graph, sizes, direction), limit_s)
        return _positions(graph, sizes, direction, json.loads(answer))
    except (PictureError, ValueError, KeyError, IndexError):
        return layered(graph, sizes, direction)


def picture(
    graph: Mapping[str, Any],
    format: str,
    states: Mapping[str, str] | None = None,
    limit_s: float = LIMIT_S,
) -> bytes:
    """A picture of the DAG: `svg` or `png`.

    Args:
        graph: the protocol's answer to `graph`.
        format: one of `FORMATS`.
        states: node name → its state, if they are to be seen.
        limit_s: how long Graphviz may look for a good layout; afterwards a simpler one is drawn.

    Raises:
        PictureError: Graphviz is not installed, or cannot draw this.
    """
    try:
        return _graphviz(format, dot_text(graph, states), limit_s)
    except _TooLongError:
        sizes = {node["name"]: box_of(node) for node in graph["nodes"]}
        positions = layered(graph, sizes, direction_of(graph, edges_of(graph)))
        return _graphviz(format, dot_text(graph, states, positions), 10 * limit_s, "nop2")


def _positions(
    graph: Mapping[str, Any],
    sizes: Mapping[str, tuple[float, float]],
    direction: str,
    drawn: Mapping[str, Any],
) -> dict[str, Any]:
    """What Graphviz has found, with `y` downwards and corners for centres."""
    names = [node["name"] for node in graph["nodes"]]
    _, _, width, height = (float(number) for number in drawn["bb"].split(","))
    nodes, of_drawn = {}, {}
    for item in drawn.get("objects", ()):
        name = of_drawn[item["_gvid"]] = names[int(item["name"])]
        x, y = (float(number) for number in item["pos"].split(","))
        w, h = sizes[name]
        nodes[name] = [round(x - w / 2, 1), round(height - y - h / 2, 1), round(w, 1), h]
    edges = [
        {
            "from": of_drawn[item["tail"]],
            "to": of_drawn[item["head"]],
            "points": _points(item["pos"], height),
        }
        for item in drawn.get("edges", ())
    ]
    return {
        "width": round(width, 1),
        "height": round(height, 1),
        "direction": direction,
        "nodes": {name: nodes[name] for name in names},
        "edges": edges,
    }


def _points(spline: str, height: float) -> list[list[float]]:
    # A spline may name the tips of arrows apart (`e,x,y`), which these edges do not have.
    pairs = [pair.split(",") for pair in spline.split() if pair[0] not in "es"]
    return [[round(float(x), 1), round(height - float(y), 1)] for x, y in pairs]


# -- Graphviz, in a process of its own -----------------------------------------------------------


class _TooLongError(PictureError):
    """Graphviz has not come to an end in time."""


def _graphviz(format: str, text: str, limit_s: float, program: str = "dot") -> bytes:
    """What Graphviz makes of `text`.

    Raises:
        _TooLongError: it took too long.
        PictureError: it failed, or is not there; the message says why.
    """
    command = [sys.executable, "-P", "-m", "hamdev.layout", "--graphviz", format]
    command += ["--program", program, "--limit", str(limit_s)]
    try:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, timeout=limit_s + _GRACE_S
        )
    except subprocess.TimeoutExpired:
        raise _TooLongError(f"Graphviz has made no picture within {limit_s:g} s") from None
    if done.returncode == -signal.SIGALRM:
        raise _TooLongError(f"Graphviz has made no picture within {limit_s:g} s")
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
        raise PictureError(
            f"Graphviz made no picture: {words[-1] if words else f'status {done.returncode}'}"
        )
    return done.stdout


def _draw(format: str, program: str, limit_s: float) -> None:
    """Be that process: DOT on stdin, Graphviz's answer on stdout."""
    # Nobody handles it, so it ends the process wherever it is, also if who started it is gone.
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        import pygraphviz
    except ImportError as error:
        sys.exit(f"{error}. Way out: pip install 'pygraphviz>=2.0'")
    # Its warnings of large graphs are for people who call it themselves.
    graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
    if format == "png":
        _limit_pixels(graph, program)
        program = "nop2"
    content = graph.draw(format=format, prog=program)
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _limit_pixels(graph: Any, program: str) -> None:
    """Lay the graph out, and choose how many pixels a point has."""
    graph.layout(prog=program)
    left, bottom, right, top = (float(n) for n in graph.graph_attr["bb"].split(","))
    width, height = max(right - left, 1.0), max(top - bottom, 1.0)
    dots = min(
        _DPI / 72, _MAX_SIDE / width, _MAX_SIDE / height, (_MAX_PIXELS / (width * height)) ** 0.5
    )
    graph.graph_attr["dpi"] = f"{dots * 72:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """The graph on stdin, its layout on stdout."""
    parser = argparse.ArgumentParser(
        prog="python -m hamdev.layout",
        description="Read the answer to 'graph' as JSON, write where nodes and edges stand.",
    )
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="S")
    parser.add_argument("--graphviz", help=argparse.SUPPRESS)
    parser.add_argument("--program", default="dot", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.graphviz:
        _draw(options.graphviz, options.program, options.limit)
        return
    positions = layout(json.loads(sys.stdin.buffer.read()), options.limit)
    json.dump(positions, sys.stdout)


if __name__ == "__main__":
    main()
