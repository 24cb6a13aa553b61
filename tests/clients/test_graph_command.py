"""`hamdev graph`, and the clients' methods for the DAG, sources and rows, against a real daemon."""

from __future__ import annotations

import json
import os
import pty
from typing import TYPE_CHECKING, Any

import pygraphviz
import pytest
from client_processes import Run, Watch

from hamdev.clients.client import connect_async
from hamdev.clients.graph_text import MAX_DEPTH, graph_lines
from hamdev.errors import DaemonError

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

SALES = """
    import pandas as pd


    def prices(rate: float = 1.5) -> pd.DataFrame:
        return pd.DataFrame({"city": ["Oslo", "Lima"], "price": [2.5, 4.0]})


    def city(prices: pd.DataFrame) -> pd.Series:
        return prices["city"]


    def price(prices: pd.DataFrame) -> pd.Series:
        return prices["price"]


    def total(price: pd.Series) -> float:
        return float(price.sum())


    def best(city: pd.Series, price: pd.Series) -> str:
        return str(city[price.idxmax()])


    def tax(total: float) -> float:
        return total / 0
"""
TREE = """\
sales: 7 nodes · revision 1

best: str
├─ city: pd.Series
│  └─ prices: pd.DataFrame
│     └─ rate: float · input
└─ price: pd.Series
   └─ prices: pd.DataFrame  (see above)

tax: float · failed
└─ total: float
   └─ price: pd.Series  (see above)
"""


@pytest.fixture
def sales(project: ProjectOnDisk) -> ProjectOnDisk:
    project.write("sales", SALES)
    return project


def test_as_text(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    with watch("sales"):
        hamdev("sync")
        shown = hamdev("graph")
        assert (shown.returncode, shown.stderr, shown.stdout) == (0, "", TREE)
        assert hamdev("graph", "-o", "graph.txt").stdout == ""
        assert (sales.root / "graph.txt").read_text() == TREE
        assert hamdev("graph", "--pipeline", "sales").stdout == TREE


def test_the_config_that_chose_a_function_stands_beside_its_node(
    project: ProjectOnDisk, watch: Watch, hamdev: Run
) -> None:
    project.write(
        "chosen",
        """
        from hamilton.function_modifiers import config

        @config.when(region="north")
        def base__north(wet: int) -> float:
            return 1.0

        @config.when(region="south")
        def base__south() -> float:
            return 2.0
        """,
    )
    with watch("chosen", "--set", "region=north", "--set", "wet=1", "--set", "unused=1"):
        hamdev("sync")
        tree = "base: float · by region\n└─ wet: int · config\n"
        assert hamdev("graph").stdout == f"chosen: 2 nodes · revision 1\n\n{tree}"


def test_as_files(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    with watch("sales"):
        hamdev("sync")
        for ending in ("svg", "png", "dot", "gv", "json", "SVG"):
            written = hamdev("graph", "-o", f"graph.{ending}")
            assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
        content = {p.suffix: p.read_bytes() for p in sales.root.glob("graph.*")}
        assert content[".png"].startswith(b"\x89PNG")
        assert b">prices<" in content[".svg"]
        assert b">failed<" in content[".svg"]
        assert content[".SVG"] == content[".svg"]
        assert content[".dot"] == content[".gv"]
        read = pygraphviz.AGraph(string=content[".dot"].decode())
        graph = json.loads(content[".json"])
        assert {node["name"] for node in graph["nodes"]} == set(read.nodes())
        assert {tuple(edge) for edge in graph["edges"]} == set(read.edges())
        assert graph["nodes"][1]["file"] == str(sales.file("sales"))
        # An ending is overruled, and stdout takes any format.
        hamdev("graph", "-o", "other.txt", "--format", "dot")
        assert (sales.root / "other.txt").read_bytes() == content[".dot"]
        assert hamdev("graph", "--format", "json").stdout == content[".json"].decode()
        png = hamdev("graph", "--format", "png", text=False)
        assert png.stdout == content[".png"]


def test_what_cannot_be_shown(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    unserved = hamdev("graph")
    assert unserved.returncode == 4
    assert "hamdev watch" in unserved.stderr
    for name, what in (("graph.pdf", "the ending '.pdf'"), ("graph", "no ending")):
        # It is said at once, whether a daemon serves or not.
        wrong = hamdev("graph", "-o", name)
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert what in wrong.stderr
        assert "Way out: -o FILE.svg" in wrong.stderr
    with watch("sales"):
        hamdev("sync")
        wrong = hamdev("graph", "--pipeline", "sale")
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert "did you mean: sales" in wrong.stderr
        wrong = hamdev("graph", "-o", "no_such_folder/graph.dot")
        assert wrong.returncode == 1
        assert "no_such_folder" in wrong.stderr
        assert "Traceback" not in wrong.stderr
        # A binary picture does a terminal no good.
        ours, theirs = pty.openpty()
        with os.fdopen(ours), os.fdopen(theirs, "wb") as terminal:
            wrong = hamdev(
                "graph", "--format", "png", capture_output=False, stdout=terminal, stderr=-1
            )
        assert wrong.returncode == 2
        assert "-o FILE.png" in wrong.stderr


def test_the_last_good_one_says_so(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    with watch("sales"):
        hamdev("sync")
        good = hamdev("graph", "--format", "json").stdout
        sales.write("sales", SALES + "\n\ndef broken(:\n")
        assert hamdev("sync").returncode == 1
        shown = hamdev("graph", "--format", "json")
        assert (shown.returncode, shown.stdout) == (0, good)
        assert "the DAG of revision 1" in shown.stderr
        assert "what is wrong with revision 2" in shown.stderr
        assert "total: float · stale" in hamdev("graph").stdout


def test_several_pipelines(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    sales.write("other", "def one() -> int:\n    return 1\n")
    with watch("sales", "other"):
        hamdev("sync")
        unclear = hamdev("graph")
        assert unclear.returncode == 1
        assert "serves several pipelines, sales, other" in unclear.stderr
        assert hamdev("graph", "--pipeline", "other").stdout.endswith("\n\none: int\n")


def test_clients(sales: ProjectOnDisk, watch: Watch) -> None:
    with watch("sales") as daemon, daemon.connect() as dev:
        dev.sync()
        graph = dev.graph()
        assert ["rate", "prices"] in graph["edges"]
        assert dev.graph("sales") == graph
        source = dev.source("price")
        assert source["text"].startswith("def price(prices")
        rows = dev.rows("prices", offset=1, limit=5)
        assert (rows["total"], rows["rows"]) == (2, [["1", "Lima", "4.0"]])
        with pytest.raises(DaemonError, match="no rows") as failure:
            dev.rows("total")
        assert failure.value.code == 3


async def test_async_clients(sales: ProjectOnDisk, watch: Watch) -> None:
    with watch("sales"):
        async with connect_async(sales.root) as dev:
            await dev.sync()
            assert ["rate", "prices"] in (await dev.graph())["edges"]
            assert (await dev.source("total"))["line"] == 17
            assert (await dev.rows("city"))["rows"] == [["0", "Oslo"], ["1", "Lima"]]


# -- the tree ------------------------------------------------------------------------------------


def graph_of(edges: list[tuple[str, str]]) -> dict[str, Any]:
    names = dict.fromkeys(name for edge in edges for name in edge)
    nodes = [{"name": name, "type": "int", "kind": "function"} for name in names]
    return {"pipeline": "p", "revision": 1, "nodes": nodes, "edges": [list(edge) for edge in edges]}


def test_long_chains_stay_narrow() -> None:
    count = 3000
    lines = [*graph_lines(graph_of([(f"n{n}", f"n{n + 1}") for n in range(count)]), {})]
    assert max(map(len, lines)) < 4 * MAX_DEPTH + 40
    # Every node has one line of its own, and one more where it goes on below.
    own = [line for line in lines[2:] if line and not line.endswith("(see below)")]
    assert len(own) == count + 1
    assert lines[2] == f"n{count}: int"


def test_steering_characters_do_not_reach_the_terminal() -> None:
    lines = [*graph_lines(graph_of([("a\x1b[2J", "b\nc")]), {"b\nc": "fresh"})]
    assert lines[2:] == ["b·c: int", "└─ a·[2J: int"]
