"""Where nodes stand in pictures, and that any DAG makes a picture."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from typing import Any

import pygraphviz
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamdev import layout
from hamdev.dot import MAX_LABEL, STATES, dot_text
from hamdev.layers import box_of, direction_of, edges_of, layered

LIMIT_S = 60.0
ODD_NAMES = [
    'quo"te',
    "back\\slash\\",
    "<b>bold</b> & more",
    "größe_名前_🎉",
    "two\nlines\x00",
    "sub.dag.node",
    "node",  # a keyword of Graphviz's language
    "graph",
    "",
    "n" * 500,
    "\ud800",
]


def graph_of(
    names: Iterable[str], edges: Iterable[tuple[str, str]] = (), **more: Any
) -> dict[str, Any]:
    nodes = [
        {
            "name": name,
            "type": "dict[str, 'a&b']" if number % 3 else "pd.DataFrame",
            "kind": ("function", "input", "config")[number % 7 if number % 7 < 3 else 0],
            "module": f"pipelines.part_{number % 3}",
            "file": "/p/m.py",
            "line": 1,
            "doc": "",
            "tags": {},
        }
        for number, name in enumerate(names)
    ]
    return {"pipeline": "p", "revision": 3, "run": 4, "nodes": nodes, "edges": [*edges], **more}


def large(count: int, back: int = 60) -> dict[str, Any]:
    dice = random.Random(1)
    edges = {
        (f"node_{dice.randrange(max(0, n - back), n)}", f"node_{n}")
        for n in range(1, count)
        for _ in range(dice.choice([1, 1, 2, 2, 3]))
    }
    return graph_of([f"node_{n}" for n in range(count)], sorted(edges))


def require_sound(graph: dict[str, Any], found: dict[str, Any]) -> None:
    """Every node has a place of its own inside the picture, and edges join their nodes."""
    assert found.keys() == {"width", "height", "direction", "nodes", "edges"}
    assert list(found["nodes"]) == [node["name"] for node in graph["nodes"]]
    assert sorted((e["from"], e["to"]) for e in found["edges"]) == sorted(edges_of(graph))
    boxes = list(found["nodes"].values())
    for x, y, w, h in boxes:
        assert x >= -1
        assert y >= -1
        assert x + w <= found["width"] + 1
        assert y + h <= found["height"] + 1
    boxes.sort()
    for number, (x, y, w, h) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            if other[0] >= x + w - 1:
                break
            assert other[1] >= y + h - 1 or other[1] + other[3] <= y + 1, "one on another"
    along = 0 if found["direction"] == "LR" else 1
    for edge in found["edges"]:
        assert len(edge["points"]) % 3 == 1
        start, end = found["nodes"][edge["from"]], found["nodes"][edge["to"]]
        assert start[along] + start[along + 2] <= end[along], "an edge that leads back"
        for box, point in ((start, edge["points"][0]), (end, edge["points"][-1])):
            assert box[0] - 3 <= point[0] <= box[0] + box[2] + 3
            assert box[1] - 3 <= point[1] <= box[1] + box[3] + 3


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.text(max_size=8), unique=True, max_size=15))
    pairs = [(a, b) for n, b in enumerate(names) for a in names[:n]]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return graph_of(names, edges)


@given(graphs(), st.sampled_from(["LR", "TB"]))
def test_layers(graph: dict[str, Any], direction: str) -> None:
    sizes = {node["name"]: box_of(node) for node in graph["nodes"]}
    require_sound(graph, layered(graph, sizes, direction))


@pytest.mark.parametrize(
    "graph",
    [
        graph_of([]),
        graph_of(["one"]),
        graph_of(["a", "b"], [("a", "b")]),
        graph_of(ODD_NAMES, itertools.pairwise(ODD_NAMES)),
        graph_of([f"n{n}" for n in range(300)]),
        graph_of([f"n{n}" for n in range(60)], [(f"n{n}", f"n{n + 1}") for n in range(59)]),
        large(100),
    ],
    ids=["empty", "one", "two", "odd", "isolated", "chain", "100"],
)
def test_layout_by_graphviz(graph: dict[str, Any]) -> None:
    found = layout.layout(graph)
    require_sound(graph, found)
    if len(graph["nodes"]) == 2:
        sizes = {node["name"]: box_of(node) for node in graph["nodes"]}
        assert found != layered(graph, sizes, found["direction"]), "Graphviz was not asked"


def test_as_a_child_process() -> None:
    """What the daemon does: 1,000 nodes on stdin, and edges between positions."""
    graph = large(1000)
    position = {node["name"]: n for n, node in enumerate(graph["nodes"])}
    short = {**graph, "edges": [[position[a], position[b]] for a, b in graph["edges"]]}
    for node in short["nodes"]:
        for key in ("module", "file", "line", "doc", "tags"):
            del node[key]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hamdev.layout"],
        input=json.dumps(short).encode(),
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )
    found = json.loads(done.stdout)
    require_sound(graph, found)
    assert done.stderr == b""


def test_when_graphviz_takes_too_long() -> None:
    """5,000 nodes in no time at all: a simpler layout, and a picture of it."""
    graph = large(5000)
    found = layout.layout(graph, limit_s=0.2)
    require_sound(graph, found)
    sizes = {node["name"]: box_of(node) for node in graph["nodes"]}
    assert found == layered(graph, sizes, direction_of(graph, edges_of(graph)))


def test_the_simpler_layout_can_be_drawn() -> None:
    graph = large(50)
    sizes = {node["name"]: box_of(node) for node in graph["nodes"]}
    positions = layered(graph, sizes, "LR")
    text = dot_text(graph, {}, positions)
    content = layout._graphviz("svg", text, LIMIT_S, "nop2")
    assert titles(content)["node"] == {f"node_{n}" for n in range(50)}
    assert len(titles(content)["edge"]) == len(graph["edges"])
    drawn = layout.picture(large(3000), "png", limit_s=3.0)
    assert drawn.startswith(b"\x89PNG")


def test_without_graphviz(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A layout all the same; for a picture, what to install."""
    (tmp_path / "pygraphviz.py").write_text("raise ImportError('No module named pygraphviz')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    require_sound(large(20), layout.layout(large(20)))
    with pytest.raises(layout.PictureError, match="Way out: pip install"):
        layout.picture(large(3), "svg")


def titles(svg: bytes) -> dict[str, set[str]]:
    """Class of element → the names that Graphviz gives those elements."""
    found: dict[str, set[str]] = {"node": set(), "edge": set()}
    for element in ElementTree.fromstring(svg).iter():
        if element.get("class") in found:
            title = element.find("{http://www.w3.org/2000/svg}title")
            assert title is not None
            found[element.get("class", "")].add(title.text or "")
    return found


def shown_texts(svg: bytes) -> list[str]:
    texts = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return [(text.text or "").replace("\xa0", " ").strip() for text in texts]


def test_names_are_shown_as_they_are() -> None:
    graph = graph_of(ODD_NAMES, itertools.pairwise(ODD_NAMES))
    for node in graph["nodes"]:
        node["type"] = "Literal['<&>']"
    content = layout.picture(graph, "svg")
    texts = shown_texts(content)
    for name in ODD_NAMES[:7]:
        assert re.sub(r"[\n\0]", "·", name) in texts
    assert "n" * (MAX_LABEL - 1) + "…" in texts
    assert texts.count("Literal['<&>']") == sum(n["kind"] == "function" for n in graph["nodes"])
    assert len(titles(content)["node"]) == len(ODD_NAMES)
    assert layout.picture(graph, "png").startswith(b"\x89PNG")


@given(graphs())
def test_the_text_is_what_graphviz_reads(graph: dict[str, Any]) -> None:
    states = dict(
        zip((n["name"] for n in graph["nodes"]), ["fresh", "failed", "stale"], strict=False)
    )
    text = dot_text(graph, states)
    read = pygraphviz.AGraph(string=text.encode("utf-8", "replace").decode())
    assert read.number_of_nodes() == len(graph["nodes"])
    assert read.number_of_edges() == len(graph["edges"])


def test_states_are_said_in_words_and_colours() -> None:
    graph = graph_of(["a", "b", "c", "d", "e"], [("a", "b")])
    for node in graph["nodes"]:
        node.update(kind="function", type="int")
    graph["nodes"][4]["kind"] = "input"
    states = {"a": "fresh", "b": "failed", "c": "stale", "d": "blocked"}
    content = layout.picture(graph, "svg", states)
    texts = shown_texts(content)
    assert [word for word in texts if word in STATES] == ["failed", "stale", "blocked"]
    assert "int · input" in texts
    assert "revision 3" in " ".join(texts)
    assert {"pipelines.part_0", "pipelines.part_1"} <= set(texts)
    assert b"#ffebe9" in content


def test_a_picture_of_many_nodes_is_no_larger_than_can_be_opened() -> None:
    content = layout.picture(large(1000), "png")
    width, height = (int.from_bytes(content[n : n + 4], "big") for n in (16, 20))
    assert max(width, height) <= 16_100
    assert width * height <= 41e6
