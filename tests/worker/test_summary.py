"""A value in a few lines, whatever it is and whatever its own methods do."""

from __future__ import annotations

import collections
import dataclasses
import datetime
from typing import Any

import altair as alt
import matplotlib.figure
import msgspec
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import polars as pl
import pyarrow as pa
import pydantic
import pytest
import scipy.sparse
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from hamdev.messages import Summary
from hamdev.worker.formats import available
from hamdev.worker.summary import summarize

MAX_BYTES = 4096


class Raising:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class RaisingMore:
    def __repr__(self) -> str:
        raise Raising

    __str__ = __repr__


class Exiting:
    def __repr__(self) -> str:
        raise SystemExit(3)


class NotText:
    def __repr__(self) -> Any:
        return 5


class Long:
    def __repr__(self) -> str:
        return "ä" * 10_000_000


class Deep:
    def __repr__(self) -> str:
        return repr(Deep())


class Half:
    def __repr__(self) -> str:
        return "\ud800" * 5000


class LongName:
    pass


LongName.__qualname__ = "n" * 100_000


class Pretender:
    __module__ = "pandas"
    shape = "no shape"


class Mimic:
    __module__ = "numpy"
    nbytes = ndim = shape = dtype = "?"


def endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def nested() -> Any:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    return value


HOSTILE: dict[str, Any] = {
    "raising": Raising(),
    "raising inside": [{"a": Raising()}],
    "exiting": Exiting(),
    "no text": NotText(),
    "long": Long(),
    "long inside": [Long()] * 50,
    "deep": Deep(),
    "half characters": Half(),
    "half a character": "\ud800" * 5000,
    "long name": LongName(),
    "pretender": Pretender(),
    "mimic": Mimic(),
    "endless": endless(),
    "nested": nested(),
    "large int": 10**100_000,
    "long text": "ä😀" * 1_000_000,
    "control characters": "\0" * 100_000,
    "long bytes": b"\xff" * 1_000_000,
    "large list": list(range(1_000_000)),
    "large dict": {"k" * 5000 + str(n): "v" * 5000 for n in range(100)},
    "large set": set(range(100_000)),
    "deque of texts": __import__("collections").deque(["ä" * 1000] * 1000),
    "wide frame": pd.DataFrame([["ä" * 1000] * 500] * 20, columns=["c" * 500] * 500),
    "long index": pd.DataFrame({"a": [1]}, index=["i" * 100_000]),
    "frame of frames": pd.DataFrame({"a": [pd.DataFrame({"b": ["😀" * 500]})] * 10}),
    "frame of raising": pd.DataFrame({"a": [Raising()] * 3}),
    "many levels": pd.DataFrame(
        {"a": [1]}, index=pd.MultiIndex.from_tuples([tuple("x" * 50 for _ in range(100))])
    ),
    "series": pd.Series(["😀" * 1000] * 100, name="n" * 5000),
    "array of texts": np.array(["😀" * 1000] * 100),
    "array of objects": np.array([Long()] * 20, dtype=object),
    "many dimensions": np.zeros((1,) * 30),
    "empty frame": pd.DataFrame(),
    "empty array": np.zeros((0, 5)),
    "type": int,
    "module": pd,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_small_whatever_the_value(kind: str) -> None:
    summary = summarize(HOSTILE[kind])
    assert len(msgspec.json.encode(summary)) <= MAX_BYTES
    assert summary.type
    assert summary.text


def test_simple_values_are_shown_as_they_are() -> None:
    for value in (None, True, 7, 1.5, "text", [1, 2], {"b": 1, "a": 2}, {1}, (1,), b"x"):
        assert summarize(value).text == repr(value)
        assert summarize(value).type == type(value).__name__
    assert summarize([1, 2, 3]).shape == [3]
    assert summarize(7).shape is None


def test_a_frame_shows_its_first_rows() -> None:
    frame = pd.DataFrame(
        {"when": pd.to_datetime(["2026-01-02", None]), "n": [1, 2]},
        index=pd.Index(["x", "y"], name="key"),
    )
    summary = summarize(frame)
    assert summary.type == "pandas.DataFrame" or summary.type.endswith("frame.DataFrame")
    assert summary.shape == [2, 2]
    assert summary.columns == ["key", "when", "n"]
    assert summary.rows == [["x", "2026-01-02 00:00:00", "1"], ["y", "NaT", "2"]]
    many = summarize(pd.DataFrame({"a": range(1000)}))
    assert many.shape == [1000, 1]
    assert many.rows is not None
    assert 1 <= len(many.rows) <= 20


def test_series_and_arrays_have_a_shape_and_a_size() -> None:
    series = summarize(pd.Series([1.5, None], name="n"))
    assert (series.shape, series.bytes) == ([2], 16)
    assert series.columns == ["", "n"]
    array = summarize(np.zeros((3, 4)))
    assert (array.shape, array.bytes) == ([3, 4], 96)
    assert "float64" in array.text


def of_columns(summary: Summary) -> dict[str, tuple[str, int, str]]:
    assert summary.columns is not None
    assert summary.types is not None
    assert summary.nulls is not None
    assert summary.ranges is not None
    facts = zip(summary.types, summary.nulls, summary.ranges, strict=True)
    return dict(zip(summary.columns, facts, strict=True))


COLUMNS: dict[str, Any] = {
    "n": [1, 2, 3],
    "price": [1.5, None, 2.25],
    "city": ["Rome", None, "Oslo"],
    "open": [True, False, True],
    "when": [datetime.datetime(2026, 1, d) for d in (1, 2, 3)],
}


def test_every_column_says_its_type_its_nulls_and_its_range() -> None:
    frame = pd.DataFrame(COLUMNS)
    expected = {
        "n": ("int64", 0, "1 … 3"),
        "price": ("float64", 1, "1.50 … 2.25"),
        "city": ("str", 1, "2 distinct"),
        "open": ("bool", 0, "66.7 % true"),
        "when": ("datetime64[us]", 0, "2026-01-01 … 2026-01-03"),
    }
    assert of_columns(summarize(frame)) == {"": ("int64", 0, "0 … 2"), **expected}
    spelt = {"int64": "Int64", "float64": "Float64", "str": "String", "bool": "Boolean"}
    polars = of_columns(summarize(pl.DataFrame(COLUMNS)))
    for name, (kind, nulls, span) in expected.items():
        assert polars[name][1:] == (nulls, span)
        assert polars[name][0].startswith(spelt.get(kind, "Datetime"))
    arrow = summarize(pa.table(COLUMNS))
    assert {name: known[1:] for name, known in of_columns(arrow).items()} == {
        name: known[1:] for name, known in expected.items()
    }
    assert arrow.bytes
    batch = summarize(pa.RecordBatch.from_pydict({"a": [1, None]}))
    assert (batch.shape, of_columns(batch)) == ([2, 1], {"a": ("int64", 1, "1")})


def test_columns_of_one_are_tables_too() -> None:
    labelled = pd.Series([1.5, None], index=pd.Index(["x", "y"], name="key"), name="n")
    assert of_columns(summarize(labelled)) == {
        "key": ("str", 0, "2 distinct"),
        "n": ("float64", 1, "1.5"),
    }
    assert of_columns(summarize(pl.Series("n", [1, None]))) == {"n": ("Int64", 1, "1")}
    assert of_columns(summarize(pa.array([1, 5]))) == {"": ("int64", 0, "1 … 5")}
    assert of_columns(summarize(pa.chunked_array([[1], [5]]))) == {"": ("int64", 0, "1 … 5")}
    assert of_columns(summarize(pd.Index([3, 1], name="k"))) == {"k": ("int64", 0, "1 … 3")}
    records = np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])
    assert of_columns(summarize(records)) == {"a": ("int32", 0, "1"), "b": ("float64", 0, "2.5")}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (pd.array([1, None], "Int64"), ("Int64", 1, "1")),
        (pd.array([True, None], "boolean"), ("boolean", 1, "100 % true")),
        (pd.Categorical(["a", "b", None]), ("category", 1, "2 distinct")),
        (pd.array([1, None], pd.ArrowDtype(pa.int64())), ("int64[pyarrow]", 1, "1")),
        (pd.to_datetime(["2026-01-01", None]).tz_localize("UTC"), (..., 1, "2026-01-01")),
        (pd.to_timedelta(["1 day", "2 days"]), (..., 0, "1 day, 0:00:00 … 2 days, 0:00:00")),
        (pd.period_range("2026-01", periods=2, freq="M"), ("period[M]", 0, "")),
        (pd.Series([{"a": 1}, None]), ("object", 1, "")),
        (pd.arrays.SparseArray([0.0, 1.0]), (..., 0, "2 distinct")),
        (np.array([1 + 2j, 3]), ("complex128", 0, "")),
        (np.array([np.inf, 1.0]), ("float64", 0, "1 … inf")),
        (np.array([], dtype="float64"), ("float64", 0, "")),
    ],
)
def test_columns_of_every_type(cells: Any, expected: Any) -> None:
    found = of_columns(summarize(pd.DataFrame({"c": cells})))["c"]
    assert found[1:] == expected[1:]
    assert expected[0] in (..., found[0])


def test_a_subclass_is_what_it_derives_from() -> None:
    class Orders(pd.DataFrame):
        @property
        def _constructor(self) -> Any:
            return Orders

    summary = summarize(Orders({"a": [1]}))
    assert summary.type.endswith("Orders")
    assert of_columns(summary)["a"] == ("int64", 0, "1")


def test_statistics_of_a_large_table_are_of_a_sample() -> None:
    frame = pd.DataFrame({"a": np.arange(1_000_000), "b": 1.0})
    summary = summarize(frame)
    assert summary.sampled is not None
    assert 100 <= summary.sampled <= 5_000
    assert summary.shape == [1_000_000, 2]
    assert of_columns(summary)["b"] == ("float64", 0, "1")
    assert summarize(frame.head(1000)).sampled is None
    wide = summarize(pd.DataFrame(np.zeros((3, 100_000))))
    assert (wide.shape, wide.sampled) == ([3, 100_000], None)
    assert len(wide.columns or []) == len(wide.types or []) == len(wide.ranges or []) <= 30


def test_arrays_say_what_they_span() -> None:
    assert summarize(np.array([[1.0, np.nan], [3.0, 2.0]])).text == (
        "float64 array 2 × 2: [1.0, nan, 3.0, 2.0]\n1 … 3, mean 2, 1 missing"
    )
    large = summarize(np.zeros(1_000_000))
    assert large.sampled is not None
    assert large.text.endswith(f"\n0 (of {large.sampled:,} sampled)")


@dataclasses.dataclass
class Order:
    number: int
    lines: Any


class Settings(pydantic.BaseModel):
    rate: float = 0.5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Order(1, pd.DataFrame({"a": [1]})), "Order(number=1, lines=DataFrame 1 × 1)"),
        (Order(1, list(range(10**6))), f"Order(number=1, lines=[{', '.join(map(str, range(20)))}"),
        (Settings(), "Settings(rate=0.5)"),
        (Ridge(alpha=0.5), "Ridge(alpha=0.5), not fitted"),
        (Ridge().fit([[0.0], [1.0]], [0.0, 1.0]), "Ridge(), fitted"),
        (
            Pipeline([("scale", StandardScaler()), ("model", Ridge(alpha=0.5))]),
            "Pipeline(scale=StandardScaler(), model=Ridge(alpha=0.5)), not fitted",
        ),
        (datetime.datetime(2026, 1, 2, 3), "2026-01-02 03:00:00"),
        (pd.Timestamp("2026-01-02"), "2026-01-02 00:00:00"),
        (np.float64(1.5), "1.5"),
        (collections.Counter("aab"), "Counter({'a': 2, 'b': 1})"),
        (collections.deque([1, 2]), "deque([1, 2])"),
        ({"train": pd.DataFrame({"a": [1]})}, "{'train': DataFrame 1 × 1}"),
        ("one\ntwo\n", "3 lines, 8 characters\none\ntwo\n"),
        ("x" * 5000, "5,000 characters\nxxx"),
        (b"\x00" * 5000, "… (5,000 bytes)"),
        (scipy.sparse.csr_matrix(np.eye(3)), "csr_matrix(shape=(3, 3), dtype='float64', stored=3)"),
        (pl.LazyFrame({"a": [1]}).select("a"), "LazyFrame, not collected\n"),
    ],
)
def test_other_values_say_what_is_in_them(value: Any, text: str) -> None:
    assert text in summarize(value).text


def test_pictures_are_marked_as_such() -> None:
    figure = matplotlib.figure.Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.plot([1, 2])
    axes.set_title("Sales")
    summary = summarize(figure)
    assert summary.picture
    assert summary.text.startswith("Figure: size 400 × 300 pixels, title Sales, ")
    for value in (figure, axes, go.Figure(), alt.Chart(), pd.DataFrame(), 1):
        assert summarize(value).picture == ("png" in available(value))


def test_it_does_not_change_the_value() -> None:
    def values() -> Any:
        raise AssertionError("consumed")
        yield

    summarize(values())
    frame = pd.DataFrame({"a": [2, 1]})
    before = frame.copy()
    summarize(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_a_year_is_no_group_of_thousands() -> None:
    frame = pd.DataFrame({"year": range(1990, 2013), "people": range(9_000, 32_000, 1_000)})
    assert summarize(frame).ranges == ["0 … 22", "1990 … 2012", "9,000 … 31,000"]
    assert summarize(np.arange(1990, 2013)).text.endswith("1990 … 2012, mean 2001")


def test_moments_are_shown_as_the_clocks_of_their_zone_show_them() -> None:
    days = pd.date_range("2026-07-01", periods=3, tz="Europe/Berlin")
    assert summarize(pd.Series(days)).ranges == ["0 … 2", "2026-07-01 … 2026-07-03"]


def test_what_stands_beside_a_broken_repr_is_shown() -> None:
    text = summarize({"model": Raising(), "score": 0.9}).text
    assert text == "{'model': <Raising, whose repr raised RuntimeError>, 'score': 0.9}"


def test_where_in_memory_a_value_is_tells_nothing() -> None:
    groups = pd.DataFrame({"a": [1, 1, 2]}).groupby("a")
    assert "0x" not in summarize(groups).text
