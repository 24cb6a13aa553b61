"""Tables are paged from the worker, not sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_daemon import Daemon, RpcFailure

TEXT = """
import pandas as pd


def frame() -> pd.DataFrame:
    return pd.DataFrame({"n": range(1_000_000), "t": "x"}).rename_axis("row")


def total(frame: pd.DataFrame) -> int:
    return int(frame["n"].sum())


def broken(total: int) -> list[int]:
    raise ValueError(total)
"""


def test_a_million_rows_page_by_page(daemon: Daemon) -> None:
    status = daemon.serve("paged", TEXT)
    page = daemon.ask("rows", node="frame", pipeline="paged", offset=999_998)
    assert page == {
        "node": "frame",
        "revision": status["revision"],
        "run": status["run"],
        "total": 1_000_000,
        "offset": 999_998,
        "columns": ["row", "n", "t"],
        "columns_total": 3,
        "types": ["int64", "int64", page["types"][2]],
        "rows": [["999998", "999998", "x"], ["999999", "999999", "x"]],
    }
    assert len(daemon.ask("rows", node="frame")["rows"]) == 100
    assert len(daemon.ask("rows", node="frame", limit=1000)["rows"]) == 1000
    assert daemon.ask("rows", node="frame", offset=10**15)["rows"] == []


def test_what_has_no_rows(daemon: Daemon) -> None:
    daemon.serve("rowless", TEXT.replace("1_000_000", "3"))
    with pytest.raises(RpcFailure, match="a value of type int has no rows") as failure:
        daemon.ask("rows", node="total")
    assert failure.value.code == 3
    assert failure.value.data["formats"] == ["text", "json", "pickle"]
    with pytest.raises(RpcFailure, match="ValueError") as failure:
        daemon.ask("rows", node="broken")
    assert failure.value.code == 2
    with pytest.raises(RpcFailure, match="did you mean 'frame'") as failure:
        daemon.ask("rows", node="fram")
    assert failure.value.code == 1
    for wrong in ({"limit": 1001}, {"limit": -1}, {"offset": -1}, {"offset": "1"}, {"rows": 1}):
        with pytest.raises(RpcFailure) as failure:
            daemon.ask("rows", node="frame", **wrong)
        assert failure.value.code == -32602


def test_a_value_that_was_given_up_is_computed_again(daemon: Daemon, tmp_path: Path) -> None:
    count = tmp_path / "count"
    daemon.save(
        "small",
        f"""
        def large() -> list[str]:
            with open({str(count)!r}, "a") as file:
                file.write("x")
            return ["x" * 1000] * 500 + ["end"]

        def size(large: list[str]) -> int:
            return len(large)
        """,
    )
    daemon.write("devserver.toml", "[memory]\nmax_bytes = 50_000\n[pipelines.small]\n")
    assert daemon.value("size") == 501
    assert count.read_text() == "x"
    assert daemon.ask("rows", node="large", offset=500)["rows"] == [["500", "end"]]
    assert count.read_text() == "xx"


def test_last_good_rows_are_dated(daemon: Daemon) -> None:
    text = "def items() -> list[int]:\n    return [1, 2]\n"
    status = daemon.serve("dated", text)
    daemon.save("dated", text + "\n\ndef broken(:\n")
    daemon.pipeline("dated")
    page = daemon.ask("rows", node="items", pipeline="dated")
    assert page["revision"] == status["revision"]
    assert page["rows"] == [["0", "1"], ["1", "2"]]


def test_a_value_whose_own_code_never_ends_delays_no_graph(daemon: Daemon) -> None:
    daemon.serve(
        "endless",
        """
        class Holder(list):
            def __getitem__(self, key: object) -> object:
                while True:
                    pass

        def items() -> list[object]:
            return Holder([1, 2])

        def other() -> int:
            return 1
        """,
    )
    with daemon.connect() as client:
        client.send_line(b'{"jsonrpc":"2.0","id":77,"method":"rows","params":{"node":"items"}}')
        graph = daemon.ask("graph", pipeline="endless")
        assert [node["name"] for node in graph["nodes"]] == ["items", "other"]
        assert daemon.ask("source", node="other")["text"].startswith("def other")
        message = client.next_message()
    assert message["id"] == 77
    assert message["error"]["code"] == 4
    daemon.ask("rerun", clean=True)
    daemon.sync()
