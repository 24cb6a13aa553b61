"""Rows of tables, page by page, against the value itself."""

from __future__ import annotations

import datetime
import math
from collections import deque, namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_summary import Deep, Exiting, Half, Long, NotText, Raising, RaisingMore

from hamdev.messages import ReadRows, RowsRead, Summary
from hamdev.wire import MAX_LINE, result_line, to_json
from hamdev.worker.memory import GONE, Memory, Remembered
from hamdev.worker.rows import MAX_BYTES, MAX_CELL, MAX_COLUMNS, as_table, cell_text, rows_read


class OnlyMemory:
    """Stands for values on disk: there are none."""

    def load(self, remembered: Remembered) -> bool:
        return remembered.is_in_memory


def read(value: Any, offset: int = 0, limit: int = 100) -> RowsRead:
    memory = Memory(1 << 40)
    remembered = Remembered(
        value=value,
        token=b"",
        has_fingerprint=False,
        version="",
        inputs={},
        files={},
        seconds=0.0,
        size=1,
        run=7,
        revision=5,
        summary=Summary(type="", text=""),
    )
    memory.keep("p", "n", remembered)
    question = ReadRows(request=3, pipeline="p", node="n", offset=offset, limit=limit)
    answer = rows_read(question, memory, OnlyMemory())  # type: ignore[arg-type]
    assert answer.request == 3
    size = len(to_json(answer))
    assert size < MAX_BYTES + 1000
    assert len(result_line("i" * 1000, answer)) < MAX_LINE
    if answer.error is None and not answer.missing:
        assert (answer.run, answer.revision) == (7, 5)
        assert len(answer.columns) == len(answer.types) <= MAX_COLUMNS
        assert answer.columns_total >= len(answer.columns)
        assert {len(row) for row in answer.rows} <= {len(answer.columns)}
        assert all(len(cell) <= MAX_CELL for row in answer.rows for cell in row)
        assert len(answer.rows) <= limit
    return answer


def every_row(value: Any, limit: int) -> list[list[str]]:
    """All rows, page by page."""
    rows: list[list[str]] = []
    while True:
        answer = read(value, len(rows), limit)
        assert answer.error is None
        assert answer.total >= len(rows)
        if not answer.rows:
            assert len(rows) == answer.total
            return rows
        rows += answer.rows


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)
limits = st.integers(1, 7)
short = st.integers(0, 12)


@st.composite
def pandas_frames(draw: st.DrawFn) -> pd.DataFrame:
    count = draw(short)
    columns = []
    kinds = ["object", "int64", "float64", "bool", "datetime64[ns]", "category", "string", "Int64"]
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(kinds))
        numbers = draw(st.lists(st.integers(0, 50), min_size=count, max_size=count))
        if kind == "object":
            cells: Any = draw(st.lists(scalars, min_size=count, max_size=count))
            column = pd.Series(pd.array(cells, dtype=object) if cells else [], dtype=object)
        elif kind in ("string", "category"):
            column = pd.Series([f"t{n}" for n in numbers], dtype=kind)
        elif kind == "Int64":
            column = pd.Series([n or None for n in numbers], dtype=kind)
        else:
            column = pd.Series(numbers, dtype="int64").astype(kind)
        columns.append(column)
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(count))
    # Names may occur twice, and need not be texts.
    names = draw(st.lists(st.sampled_from(["a", "b", 1, None, ("x", 2)]), min_size=frame.shape[1]))
    frame.columns = pd.Index(names[: frame.shape[1]], tupleize_cols=False)
    if draw(st.booleans()):
        frame.index = pd.Index(draw(st.lists(st.text(max_size=3), min_size=count, max_size=count)))
    elif draw(st.booleans()):
        pairs = [(n % 3, f"k{n}") for n in range(count)]
        frame.index = pd.MultiIndex.from_tuples(pairs, names=["g", None]) if pairs else frame.index
    return frame


@given(pandas_frames(), limits)
def test_pandas_frames(frame: pd.DataFrame, limit: int) -> None:
    rows = every_row(frame, limit)
    columns = [frame.iloc[:, n].tolist() for n in range(frame.shape[1])]
    assert rows == [
        [cell_text(frame.index.tolist()[n]), *(cell_text(column[n]) for column in columns)]
        for n in range(len(frame))
    ]
    answer = read(frame, limit=0)
    assert answer.rows == []
    assert answer.types[1:] == [str(frame.dtypes.iloc[n]) for n in range(frame.shape[1])]
    assert answer.columns_total == frame.shape[1] + 1


@given(st.lists(scalars, max_size=12), limits)
def test_pandas_series_and_indexes(cells: list[Any], limit: int) -> None:
    series = pd.Series(np.empty(len(cells)), dtype=object, name="s")
    for n, cell in enumerate(cells):
        series.iat[n] = cell
    series.index = [f"i{n}" for n in range(len(cells))]
    expected = [[f"i{n}", cell_text(cell)] for n, cell in enumerate(series.tolist())]
    assert every_row(series, limit) == expected
    assert read(series).columns == ["", "s"]
    index = pd.Index([f"i{n}" for n in range(len(cells))], dtype=object)
    assert every_row(index, limit) == [[str(n), f"i{n}"] for n in range(len(cells))]


@given(
    st.lists(st.tuples(st.integers(-9, 9) | st.none(), st.text(max_size=4)), max_size=12), limits
)
def test_polars_and_pyarrow(items: list[tuple[int | None, str]], limit: int) -> None:
    numbers = [number for number, _ in items]
    texts = [text.encode("utf-8", "replace").decode() for _, text in items]
    frame = pl.DataFrame({"n": numbers, "t": texts}, schema={"n": pl.Int64, "t": pl.String})
    table = pa.table({"n": pa.array(numbers, pa.int64()), "t": pa.array(texts, pa.string())})
    expected = [[cell_text(n), cell_text(t)] for n, t in zip(numbers, texts, strict=True)]
    assert every_row(frame, limit) == every_row(table, limit) == expected
    assert read(frame).types == ["Int64", "String"]
    assert read(table).types == ["int64", "string"]
    assert every_row(table.to_batches()[0] if items else table, limit) == expected
    numbered = [[str(n), cell_text(number)] for n, number in enumerate(numbers)]
    for column in (frame["n"], table["n"], pa.array(numbers, pa.int64())):
        assert every_row(column, limit) == numbered


@given(st.integers(0, 9), st.integers(0, 4), limits)
def test_numpy(height: int, width: int, limit: int) -> None:
    array = np.arange(height * width, dtype=float).reshape(height, width)
    assert every_row(array, limit) == [
        [str(n), *(str(cell) for cell in array[n].tolist())] for n in range(height)
    ]
    line = np.arange(height)
    assert every_row(line, limit) == [[str(n), str(n)] for n in range(height)]
    records = np.zeros(height, dtype=[("a", int), ("b", "U3")])
    records["a"] = line
    assert every_row(records, limit) == [[str(n), str(n), ""] for n in range(height)]
    times = line.astype("datetime64[D]")
    assert every_row(times, limit) == [[str(n), str(times[n])] for n in range(height)]


@given(st.lists(scalars, max_size=12), limits)
def test_plain_containers(items: list[Any], limit: int) -> None:
    expected = [[str(n), cell_text(item)] for n, item in enumerate(items)]
    for value in ([*items, 1], (*items, 1), deque([*items, 1])):
        assert every_row(value, limit)[:-1] == expected
    keyed = {f"k{n}": item for n, item in enumerate(items)}
    assert every_row(keyed, limit) == [[f"k{n}", cell_text(i)] for n, i in enumerate(items)]


@dataclass
class Point:
    x: int
    y: Any


class Model(pydantic.BaseModel):
    x: int
    y: str = "d"


Pair = namedtuple("Pair", "x y")


@pytest.mark.parametrize(
    "items",
    [
        [{"x": n, "y": f"v{n}"} for n in range(250)],
        [Point(n, f"v{n}") for n in range(250)],
        [Model(x=n, y=f"v{n}") for n in range(250)],
        tuple(Pair(n, f"v{n}") for n in range(250)),
        deque({"x": n, "y": f"v{n}"} for n in range(250)),
    ],
    ids=["dict", "dataclass", "pydantic", "namedtuple", "deque"],
)
def test_records_are_a_table(items: Sequence[Any]) -> None:
    assert every_row(items, 70) == [[str(n), str(n), f"v{n}"] for n in range(250)]
    answer = read(items, 249, 5)
    assert answer.columns == ["index", "x", "y"]
    assert answer.types == ["int", "int", "str"]


def test_records_of_other_shapes() -> None:
    items: list[Any] = [{"a": 1}, {"b": 2, "a": 3}, {}]
    assert read(items).columns == ["index", "value"]
    assert read(items[:2]).rows == [["0", "1", ""], ["1", "3", "2"]]
    # What the first hundred did not announce is still there.
    late: list[Any] = [*({"a": n} for n in range(150)), "odd one", {"b": 1}]
    assert read(late, 149, 3).rows == [["149", "149"], ["150", "odd one"], ["151", ""]]


@pytest.mark.parametrize("value", [Point(1, "a"), Model(x=1, y="a"), Pair(1, "a")])
def test_fields_of_one_object(value: Any) -> None:
    answer = read(value)
    assert answer.columns == ["field", "value"]
    assert answer.rows == [["x", "1"], ["y", "a"]]


@pytest.mark.parametrize(
    "value",
    [5, "text", b"bytes", None, 1.5, object(), np.array(3), Point, pl.LazyFrame({"a": [1]})],
)
def test_values_without_rows(value: Any) -> None:
    answer = read(value)
    assert answer.error is not None
    assert "no rows" in answer.error
    assert answer.formats is not None
    assert "text" in answer.formats


@pytest.mark.parametrize("odd", [Raising, RaisingMore, Exiting, NotText, Long, Deep, Half])
def test_values_that_cannot_describe_themselves(odd: Any) -> None:
    for value in ([1, odd()], {"k": odd()}, pd.DataFrame({"c": [odd(), 1]}), [[odd()]]):
        answer = read(value)
        assert answer.error is None
        assert len(answer.rows) == answer.total
    assert read(pd.DataFrame({odd(): [1]})).columns_total == 2


def test_odd_cells() -> None:
    cells = [math.nan, None, pd.NaT, pd.NA, 10**6000, "a\nb\0", "x" * 10**7, b"\xff", [1] * 10**6]
    texts = [cell_text(cell) for cell in cells]
    assert texts[:4] == ["nan", "None", "NaT", "<NA>"]
    assert "int" in texts[4]
    assert texts[5] == "a\nb\0"
    assert texts[6] == "x" * (MAX_CELL - 1) + "…"
    assert texts[7] == "b'\\xff'"
    assert texts[8].startswith("[1, 1,")
    assert cell_text(datetime.date(2020, 1, 2)) == "2020-01-02"


def test_a_huge_answer_has_fewer_rows() -> None:
    wide = pd.DataFrame({f"c{n}": ["\x01" * 300] * 50 for n in range(5000)})
    answer = read(wide, limit=1000)
    assert answer.columns_total == 5001
    assert len(answer.columns) == MAX_COLUMNS
    assert 1 <= len(answer.rows) < 50
    long = [{f"key {n}": "ä" * 1000 for n in range(30)}] * 2000
    first = read(long, limit=1000)
    assert 0 < len(first.rows) < 1000
    assert read(long, len(first.rows), 1000).rows[0][0] == str(len(first.rows))


def test_a_million_rows_cost_no_more_than_a_few() -> None:
    """No cell but those asked for is looked at."""

    class Counted:
        looks = 0

        def __repr__(self) -> str:
            Counted.looks += 1
            return "c"

    value = [Counted()] * 1_000_000
    assert len(read(value, 999_000, 50).rows) == 50
    assert read(value, 2_000_000).rows == []
    assert Counted.looks == 50
    frame = pd.DataFrame({"c": np.full(1_000_000, Counted(), dtype=object)})
    assert len(read(frame, 500_000, 3).rows) == 3
    assert Counted.looks == 53


def test_values_that_are_gone() -> None:
    assert read(GONE).missing
    question = ReadRows(request=1, pipeline="p", node="n", offset=0, limit=1)
    assert rows_read(question, Memory(1), OnlyMemory()).missing  # type: ignore[arg-type]


def test_no_library_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("pandas", "polars", "pyarrow", "numpy"):
        monkeypatch.delitem(sys.modules, name)
    table = as_table([1, 2])
    assert table is not None
    assert table.total == 2
    assert "pandas" not in sys.modules
