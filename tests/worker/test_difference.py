"""What is said of two values of one node, of every kind of value."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import subprocess
import sys
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
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from hamdev.worker.difference import UNSEEN, difference, summary_difference
from hamdev.worker.summary import summarize

DAY = datetime.datetime(2026, 1, 2, 3, 4, 5)
N = 1000
FRAME = pd.DataFrame(
    {
        "price": np.linspace(10, 20, N).round(2),
        "count": np.arange(N) % 7,
        "city": ["Rome", "Oslo"] * (N // 2),
        "when": pd.date_range("2026-01-01", periods=N),
    }
)
NAN = float("nan")


@dataclasses.dataclass
class Point:
    x: int
    inner: Any = None


class Model(pydantic.BaseModel):
    name: str
    params: dict[str, float] = {}


class Struct(msgspec.Struct):
    a: int


class Slotted:
    __slots__ = ("a",)

    def __init__(self, a: int) -> None:
        self.a = a


class Plain:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


Pair = collections.namedtuple("Pair", "left right")


def with_cells(column: str, rows: Any, value: Any) -> pd.DataFrame:
    frame = FRAME.copy()
    frame[column] = frame[column].astype("float64" if value is NAN else frame[column].dtype)
    frame.loc[rows, column] = value
    return frame


def drawn(title: str, points: list[float], size: tuple[int, int] = (4, 3)) -> Any:
    figure = matplotlib.figure.Figure(figsize=size)
    axes = figure.subplots()
    axes.plot(points)
    axes.set_title(title)
    return figure


def fitted(alpha: float) -> Any:
    return Ridge(alpha=alpha).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.5])


def chart(mark: str, value: int) -> Any:
    data = pd.DataFrame({"a": [1, value], "b": [3, 4]})
    made = alt.Chart(data).encode(x="a", y="b")
    return made.mark_bar() if mark == "bar" else made.mark_line()


WIDE = pd.DataFrame({f"f{n}": np.arange(200.0) + n for n in range(500)})
CATEGORIES = pd.Series(pd.Categorical(["a", "b", "a"]))
IN_BERLIN = pd.DatetimeIndex(["2026-07-01", "2026-07-02"], tz="Europe/Berlin").as_unit("us")
SAID: dict[str, tuple[Any, Any, str]] = {
    # Numbers, times and other simple values.
    "float": (41.2, 43.0, "41.2 → 43.0 (+4.4 %)"),
    "int": (1000, 998, "1000 → 998 (-0.2 %)"),
    "year": (2012, 2013, "2012 → 2013 (+0.05 %)"),
    "beside a longer int": (9800, 12300, "9,800 → 12,300 (+26 %)"),
    "negative": (-1234.5, -9999.25, "-1234.50 → -9999.25 (-710 %)"),
    "much more": (2, 50, "2 → 50 (×25)"),
    "other sign": (-1.5, 3.0, "-1.5 → 3.0"),
    "from zero": (0, 3, "0 → 3"),
    "nearly": (0.1 + 0.2, 0.3, "0.30000000000000004 → 0.3"),
    "float of an int": (1, 1.0, "1 → 1.0"),
    "numpy type": (np.float64(2), np.float32(2), "numpy.float64 → numpy.float32"),
    "numpy scalar": (np.float64(2), np.float64(3), "2 → 3 (+50 %)"),
    "infinite": (1.0, float("inf"), "1 → inf"),
    "large int": (10**2000, 10**3000, "an int of 6,644 bits → an int of 9,966 bits"),
    "bool": (True, False, "True → False"),
    "none": (None, 5, "None → 5"),
    "to a frame": (None, FRAME, "None → DataFrame 1,000 × 4"),
    "other type": ("5", 5, "'5' → 5"),
    "date": (DAY.date(), datetime.date(2026, 1, 4), "2026-01-02 → 2026-01-04 (+2 days)"),
    "moment": (
        pd.Timestamp(DAY),
        pd.Timestamp(DAY) - pd.Timedelta(hours=2),
        "2026-01-02 03:04:05 → 2026-01-02 01:04:05 (-2 h)",
    ),
    "decimal": (decimal.Decimal("1.10"), decimal.Decimal("1.21"), "1.10 → 1.21 (+10 %)"),
    "enum": (Colour.RED, Colour.BLUE, "Colour.RED → Colour.BLUE"),
    "text": ("foo", "bar", "'foo' → 'bar'"),
    "bytes": (b"a", b"b", "b'a' → b'b'"),
    "long bytes": (b"a" * 1000, b"a" * 1200, "1,000 → 1,200 bytes"),
    # Texts.
    "line": ("a\nb\nc", "a\nB\nc", "line 2: 'b' → 'B'"),
    "lines": ("a\nb\nc", "a\nx\ny\nb\nc", "2 lines added at line 2: x, 3 → 5 lines"),
    "lines gone": ("a\nb\nc", "a", "2 lines removed at line 2: b, 3 → 1 line"),
    "long line": (
        "x" * 100 + "A" + "y" * 100,
        "x" * 100 + "B" + "y" * 100,
        "…'xxxxxxxxxxxxAyyyyyyyyyyyyyyyyy'… → …'xxxxxxxxxxxxByyyyyyyyyyyyyyyyy'…",
    ),
    # Dictionaries, lists, objects.
    "key": (
        {"params": {"alpha": 0.1}},
        {"params": {"alpha": 0.2}},
        "params.alpha 0.1 → 0.2 (+100 %)",
    ),
    "keys": ({"a": 1, "b": 2}, {"b": 2, "c": 3}, "key c added: 3, key a removed (was 1)"),
    "many keys": (
        {},
        {f"k{n}": n for n in range(9)},
        "keys k0, k1, k2 and 6 more added",
    ),
    "odd key": ({1: {"a b": 2}}, {1: {"a b": 3}}, "[1]['a b'] 2 → 3 (+50 %)"),
    "order of keys": ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "keys in another order"),
    "item": ([1, 2, 3], [1, 2, 4], "[2] 3 → 4 (+33 %)"),
    "items added": ([1, 2], [1, 2, 3, 4], "2 → 4 items, 3 and 4 added at the end"),
    "item removed": ([1, 2, 3], [1, 3], "3 → 2 items, 2 removed at [1]"),
    "all items": (list("abcdef"), list("ghijkl"), "all 6 items changed, [0] 'a' → 'g'"),
    "numbers": (
        [float(n) for n in range(100)],
        [n + 1.0 for n in range(100)],
        "all values +1, mean 49.5 → 50.5",
    ),
    "set": ({1, 2}, {2, 3}, "3 added, 1 removed"),
    "in a list of dicts": ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 5}], "[1].a 2 → 5 (+150 %)"),
    "dataclass": (Point(1, Point(2)), Point(1, Point(3)), "inner.x 2 → 3 (+50 %)"),
    "named tuple": (Pair(1, 2), Pair(1, 3), "right 2 → 3 (+50 %)"),
    "struct": (Struct(1), Struct(2), "a 1 → 2 (+100 %)"),
    "slots": (Slotted(1), Slotted(2), "a 1 → 2 (+100 %)"),
    "attributes": (Plain(a=1), Plain(a=1, b=2), "field b added: 2"),
    "model": (Model(name="a"), Model(name="b", params={"x": 1}), "key params.x added: 1"),
    # Tables.
    "years": (
        pd.DataFrame({"year": range(1990, 2013)}),
        pd.DataFrame({"year": range(1991, 2014)}),
        "all values of year +1, mean of year 2001 → 2002",
    ),
    "cell of a wide table": (WIDE, WIDE.assign(f333=WIDE.f333 * 2), "all values of f333 × 2"),
    "all of a wide table": (WIDE, WIDE + 1, "values of all 500 columns changed"),
    "all of a very wide table": (
        pd.DataFrame(np.zeros((4, 2000))),
        pd.DataFrame(np.ones((4, 2000))),
        "values of 100 of 100 sampled columns changed",
    ),
    "few cells": (
        pd.Series([2.5, 1.5, 3.5], index=["a", "b", "c"]),
        pd.Series([2.5, 1.25, 3.75], index=["a", "b", "c"]),
        "row b: 1.50 → 1.25, row c: 3.50 → 3.75",
    ),
    "by label": (
        pd.Series([0.5, 0.3, 0.2], index=["age", "income", "zip"]),
        pd.Series([0.45, 0.35, 0.2], index=["income", "age", "zip"]),
        "row income: 0.30 → 0.45, row age: 0.50 → 0.35, rows in another order",
    ),
    "labels": (
        pd.Series([10, 20, 30], index=["de", "fr", "uk"]),
        pd.Series([10, 5, 20], index=["de", "es", "fr"]),
        "row es added and row uk removed, the rest unchanged, mean 20.0 → 11.7",
    ),
    "label": (
        pd.Series([10, 20], index=["de", "fr"]),
        pd.Series([10, 5, 20], index=["de", "es", "fr"]),
        "2 → 3 rows, row es added, the rest unchanged",
    ),
    "moved on": (
        pd.Series([1.0, 2.0, 4.0], index=pd.date_range("2026-01-01", periods=3)),
        pd.Series([1.0, 2.0, 4.0], index=pd.date_range("2026-01-02", periods=3)),
        "index changed from row 0 on: 2026-01-01 → 2026-01-02",
    ),
    "new category": (
        CATEGORIES,
        CATEGORIES.cat.add_categories(["z"]),
        "category z added",
    ),
    "order of categories": (CATEGORIES, CATEGORIES.cat.as_ordered(), "categories have order"),
    "texts": (
        pd.Series(["hello world", "foo"] * 50),
        pd.Series(["Hello World", "Foo"] * 50),
        "all values changed, such as 'hello world' → 'Hello World'",
    ),
    "end of a long text": (
        pd.Series(["x" * 100]),
        pd.Series(["x" * 100 + "y"]),
        "row 0: …'xxxxxxxxxxxx' → …'xxxxxxxxxxxxy'",
    ),
    "zone": (
        pd.Series(IN_BERLIN),
        pd.Series(IN_BERLIN.insert(0, pd.Timestamp("2026-06-30 23:00", tz="Europe/Berlin"))[:2]),
        "row 0: 2026-07-01 00:00:00 → 2026-06-30 23:00:00",
    ),
    "label in a zone": (
        pd.Series([1, 2], index=IN_BERLIN),
        pd.Series([1, 5], index=IN_BERLIN),
        "row 2026-07-02: 2 → 5",
    ),
    "of a zone": (
        pd.Series([1, 2], index=IN_BERLIN.tz_localize(None)),
        pd.Series([1, 2], index=IN_BERLIN),
        "type of the index datetime64[us] → datetime64[us, Europe/Berlin]",
    ),
    "polars zone": (
        pl.Series([DAY]).dt.replace_time_zone("Asia/Tokyo"),
        pl.Series([DAY + datetime.timedelta(hours=1)]).dt.replace_time_zone("Asia/Tokyo"),
        "row 0: 2026-01-02 03:04:05 → 2026-01-02 04:04:05",
    ),
    "arrow offset": (
        pa.array([DAY], pa.timestamp("s", "+01:00")),
        pa.array([DAY + datetime.timedelta(hours=1)], pa.timestamp("s", "+01:00")),
        "row 0: 2026-01-02 04:04:05 → 2026-01-02 05:04:05",
    ),
    "durations": (
        pd.Series(pd.to_timedelta([1, 2, 3, 4, 5], unit="h")),
        pd.Series(pd.to_timedelta([1, 4, 9, 16, 25], unit="h")),
        "longest 5:00:00 → 1 day, 1:00:00",
    ),
    "less precise": (
        pd.Series([0.1, 0.2]),
        pd.Series([0.1, 0.2], dtype="float32"),
        "type float64 → float32",
    ),
    "rows": (FRAME, FRAME.iloc[2:], "1,000 → 998 rows, 2 rows removed, the rest unchanged"),
    "column": (FRAME, FRAME.assign(margin=1), "column margin added"),
    "columns": (FRAME, FRAME[["price"]], "column count removed, column city removed"),
    "renamed": (FRAME, FRAME.rename(columns={"count": "n"}), "column count renamed to n"),
    "type": (FRAME, FRAME.astype({"count": "float64"}), "type of count int64 → float64"),
    "mean": (FRAME, FRAME.assign(price=FRAME.price**2), "mean of price 15 → 233"),
    "some cells": (
        FRAME,
        with_cells("price", slice(0, 11), 0.5),
        "12 of 1,000 values of price changed: now 0.5, mean of price 15.0 → 14.9",
    ),
    "one cell": (FRAME, with_cells("price", 17, 99), "price in row 17: 10.17 → 99"),
    "a factor": (FRAME, FRAME.assign(price=FRAME.price * 1.1), "all values of price × 1.1"),
    "nulls": (FRAME, with_cells("price", [3, 4, 5], NAN), "nulls in price 0 → 3"),
    "a word": (
        FRAME,
        FRAME.assign(city=FRAME.city.replace("Rome", "Roma")),
        "500 of 1,000 values of city changed: 'Rome' → 'Roma'",
    ),
    "days": (FRAME, FRAME.assign(when=FRAME.when + pd.Timedelta(days=2)), "when +2 days"),
    "order": (FRAME, FRAME.iloc[::-1], "rows in another order"),
    "index": (FRAME, FRAME.set_axis(range(1, N + 1)), "index changed from row 0 on: 0 → 1"),
    "name of the index": (FRAME, FRAME.rename_axis("key"), "name of the index none → key"),
    "order of columns": (FRAME, FRAME[["city", "price", "count", "when"]], "in another order"),
    "series": (FRAME.price, FRAME.price + 1, "all values +1"),
    "name of a series": (FRAME.price, FRAME.price.rename("p"), "name price renamed to p"),
    "pandas index": (pd.Index([1, 2]), pd.Index([1, 3]), "row 1: 2 → 3"),
    "category": (
        pd.DataFrame({"c": pd.Categorical(["a", "b"])}),
        pd.DataFrame({"c": pd.Categorical(["a", "c"])}),
        "c in row 1: 'b' → 'c'",
    ),
    "nullable": (
        pd.DataFrame({"n": pd.array([1, None], "Int64")}),
        pd.DataFrame({"n": pd.array([1, 2], "Int64")}),
        "n in row 1: missing → 2",
    ),
    "to polars": (FRAME, pl.from_pandas(FRAME), "pandas DataFrame → polars DataFrame"),
    "polars": (pl.from_pandas(FRAME), pl.from_pandas(FRAME).head(998), "1,000 → 998 rows"),
    "polars nulls": (
        pl.DataFrame({"a": [1, None, 3]}),
        pl.DataFrame({"a": [None, None, 3]}),
        "a in row 0: 1 → missing",
    ),
    "polars series": (pl.Series("s", [1, 2]), pl.Series("s", [1, 5]), "row 1: 2 → 5"),
    "lazy": (
        pl.LazyFrame({"a": [1]}).filter(pl.col("a") > 1),
        pl.LazyFrame({"a": [1]}).filter(pl.col("a") > 2),
        "plan line 1: 'FILTER col(\"a\") > 1' → 'FILTER col(\"a\") > 2'",
    ),
    "arrow": (
        pa.table({"a": [1, 2], "b": ["x", "y"]}),
        pa.table({"a": [1, 2], "b": ["x", "z"]}),
        "b in row 1: 'y' → 'z'",
    ),
    "arrow type": (
        pa.table({"a": pa.array([1], pa.int32())}),
        pa.table({"a": pa.array([1], pa.int64())}),
        "type of a int32 → int64",
    ),
    "chunks": (
        pa.chunked_array([[1, 2], [3]]),
        pa.chunked_array([[1], [2, 4]]),
        "row 2: 3 → 4",
    ),
    # Arrays.
    "array": (np.zeros((3, 4)), np.eye(3, 4), "3 of 12 values changed: 0 → 1, mean 0 → 0.25"),
    "element": (np.zeros((2, 2)), np.array([[0, 0], [0, 1.0]]), "[1, 1] 0 → 1"),
    "mask": (
        np.ma.array([1, 2, 3], mask=[0, 1, 0]),
        np.ma.array([1, 2, 3], mask=[1, 1, 0]),
        "[0] 1 → missing",
    ),
    "length": (np.zeros(1000), np.zeros(998), "1,000 → 998 values"),
    "shape": (np.zeros(3), np.zeros((3, 1)), "shape 3 → 3 × 1"),
    "dtype": (np.zeros(3), np.zeros(3, dtype="f4"), "type of elements float64 → float32"),
    "records": (
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array([(1, 3.5)], dtype=[("a", "i4"), ("b", "f8")]),
        "b in row 0: 2.5 → 3.5",
    ),
    "objects": (np.array([{"a": 1}, 2]), np.array([{"a": 5}, 2]), "[0] {'a': 1} → {'a': 5}"),
    "sparse": (
        scipy.sparse.csr_matrix(np.eye(3)),
        scipy.sparse.csr_matrix(np.eye(3) * 2),
        "all values of data changed: 1 → 2",
    ),
    # Estimators.
    "parameter": (Ridge(alpha=0.5), Ridge(alpha=0.1), "alpha 0.5 → 0.1 (-80 %)"),
    "fitted": (Ridge(), fitted(1.0), "not fitted → fitted"),
    "coefficient": (
        LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]),
        LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]),
        "coef_[0] 1 → 2",
    ),
    "what it was told comes first": (fitted(1.0), fitted(3.0), "alpha 1 → 3 (+200 %), coef_[0]"),
    "other estimator": (Ridge(), LinearRegression(), "Ridge(), not fitted → LinearRegression()"),
    "step": (
        Pipeline([("scale", StandardScaler()), ("model", Ridge())]),
        Pipeline([("scale", StandardScaler(with_mean=False)), ("model", Ridge())]),
        "scale.with_mean True → False",
    ),
    # Pictures.
    "figure": (drawn("A", [1, 2]), drawn("B", [1, 2]), "title 'A' → 'B'"),
    "line drawn": (drawn("A", [1.0, 2.0]), drawn("A", [1.0, 1.5]), "line 1.y[1] 2.0 → 1.5"),
    "size": (drawn("A", [1]), drawn("A", [1], (5, 3)), "size 400 × 300 pixels → 500 × 300 pixels"),
    "plotly": (
        go.Figure(go.Scatter(x=[1, 2], y=[3, 4])),
        go.Figure(go.Scatter(x=[1, 2], y=[3, 5])),
        "trace 1.y[1] 4 → 5",
    ),
    "plotly title": (
        go.Figure(layout={"title": "A"}),
        go.Figure(layout={"title": "B"}),
        "layout.title.text 'A' → 'B'",
    ),
    "altair": (chart("bar", 2), chart("line", 2), "mark 'bar' → 'line'"),
    "altair data": (chart("bar", 2), chart("bar", 5), "data.a in row 1: 2 → 5"),
    # One in another.
    "frames in a dict": (
        {"train": FRAME, "test": FRAME},
        {"train": FRAME.head(10), "test": FRAME.assign(count=FRAME["count"] + 5)},
        "train: 1,000 → 10 rows, train: 990 rows removed, the rest unchanged",
    ),
    "frame in an object": (Point(1, FRAME), Point(1, FRAME.assign(a=1)), "column inner.a added"),
}


@pytest.mark.parametrize("kind", SAID)
def test_it_says_what_a_person_would(kind: str) -> None:
    before, after, said = SAID[kind]
    diff = difference(before, after)
    assert diff is not None
    assert said in diff.text
    assert diff.changes
    assert len(msgspec.json.encode(diff)) <= 2048
    assert difference(before, before) is None
    back = difference(after, before)
    assert back is not None
    assert back.text != diff.text or "another order" in said


@pytest.mark.parametrize("kind", SAID)
def test_what_has_not_changed_is_not_told(kind: str) -> None:
    before, *_ = SAID[kind]
    again = {
        "fitted": Ridge(),
        "figure": drawn("A", [1, 2]),
        "altair": chart("bar", 2),
        "frames in a dict": {"train": FRAME.copy(), "test": FRAME.copy()},
    }
    if kind in again:
        assert difference(before, again[kind]) is None
    if isinstance(before, pd.DataFrame | pd.Series | np.ndarray):
        assert difference(before, before.copy()) is None


def test_what_is_said_exactly_is_not_said_of_a_sample() -> None:
    long = pd.DataFrame({"a": np.arange(500_000.0)})
    one, whole = long.copy(), difference(long, long.assign(a=long.a * 2))
    one.loc[12_345, "a"] = -1.0
    found = difference(long, one)
    assert found is not None
    assert found.text == "a in row 12345: 12,345 → -1"
    assert found.sampled is None
    assert whole is not None
    assert whole.sampled
    found = difference(WIDE, WIDE.assign(new=1.0))
    assert found is not None
    assert (found.text, found.sampled) == ("column new added", None)


def test_what_is_private_comes_last() -> None:
    found = difference(Plain(_cache={1: 2}, alpha=1), Plain(_cache={2: 2}, alpha=2))
    assert found is not None
    assert found.text.startswith("alpha 1 → 2 (+100 %), key _cache[2] added: 2")


def test_the_most_telling_change_comes_first_and_the_others_are_counted() -> None:
    changed = FRAME.head(900).assign(margin=1.0, count=FRAME["count"].astype("float64"))
    diff = difference(FRAME, changed)
    assert diff is not None
    assert [change.kind for change in diff.changes[:3]] == ["shape", "column", "type"]
    assert diff.changes[0].text == "1,000 → 900 rows"
    assert (diff.changes[0].before, diff.changes[0].after) == ("1,000", "900")
    assert diff.text.endswith(f" and {len(diff.changes) - 3} more")


def test_a_class_that_was_made_anew_is_the_same_class() -> None:
    def made() -> Any:
        @dataclasses.dataclass
        class Again:
            x: int

        return Again

    assert difference(made()(1), made()(1)) is None
    diff = difference(made()(1), made()(2))
    assert diff is not None
    assert diff.text == "x 1 → 2 (+100 %)"


def test_addresses_are_no_difference() -> None:
    class Thing:
        def __repr__(self) -> str:
            return object.__repr__(self)

    assert difference([Thing(), object()], [Thing(), object()]) is None
    one, other = summarize([Thing()]), summarize([Thing()])
    assert summary_difference(one, other) is None
    assert "0x" not in one.text


# -- values that are gone --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (41.2, 43.0, "41.2 → 43.0 (+4.4 %)"),
        (FRAME, FRAME.iloc[2:], "1,000 → 998 rows"),
        (FRAME, FRAME.assign(margin=1), "column margin added"),
        (FRAME, FRAME.drop(columns="city"), "column city removed"),
        (FRAME, FRAME.astype({"count": "float64"}), "type of count int64 → float64"),
        (FRAME, with_cells("price", [3, 4, 5], NAN), "nulls in price 0 → 3"),
        (FRAME, with_cells("price", 17, 99), "range of price 10 … 20 → 10 … 99"),
        (FRAME, with_cells("price", 1, 15), "the first rows changed"),
        (WIDE, WIDE.assign(new=1), "500 → 501 columns"),
        (WIDE, WIDE[["f0", "f1"]], "500 → 2 columns"),
        (pd.Series([1, 2]), pd.Series([1, 3]), "range 1 … 2 → 1 … 3"),
        (pd.Series(["a", "b"]), pd.Series(["a", "a"]), "distinct values 2 → 1"),
        (pd.Series([True, False]), pd.Series([True, True]), "true values 50 % → 100 %"),
        (FRAME, FRAME.rename_axis("key"), "name of the index none → key"),
        (FRAME, FRAME["price"], "pandas.DataFrame → pandas.Series"),
        (FRAME, pl.from_pandas(FRAME), "polars"),
        ("a\nb", "a\nc", "line 2: 'b' → 'c'"),
        ("foo", "bar", "'foo' → 'bar'"),
        ("x" * 5000, "x" * 5001, "5,000 characters xxx"),
        (np.zeros(3), np.zeros((3, 1)), "3 → 3 × 1"),
        ({"a": 1}, {"a": 2}, "{'a': 1} → {'a': 2}"),
    ],
)
def test_of_values_that_are_gone_their_summaries_tell(before: Any, after: Any, said: str) -> None:
    old, new = summarize(before), summarize(after)
    assert summary_difference(old, summarize(before)) is None
    diff = summary_difference(old, new)
    assert diff is not None
    assert said in diff.text
    assert len(msgspec.json.encode(diff)) <= 2048


def test_samples_of_two_tables_are_not_compared() -> None:
    large = pd.DataFrame({"a": np.arange(400_000.0)})
    old, new = summarize(large), summarize(large.iloc[:300_000])
    assert old.sampled
    diff = summary_difference(old, new)
    assert diff is not None
    assert diff.text == "400,000 → 300,000 rows"
    assert diff.sampled == min(old.sampled, new.sampled or 0)


# -- large values ----------------------------------------------------------------------------------


def test_a_large_table_is_sampled_and_says_so() -> None:
    frame = pd.DataFrame({"a": np.arange(1.0, 200_001), "b": "x"})
    diff = difference(frame, frame.assign(a=frame.a * 1.5))
    assert diff is not None
    assert diff.sampled is not None
    assert 100 <= diff.sampled <= 5_000
    assert diff.text.startswith("all sampled values of a × 1.5, mean of a about ")


def test_one_cell_of_many_is_found() -> None:
    frame = pd.DataFrame({"a": np.arange(1_000_000) * 1.0, "b": 1})
    changed = frame.copy()
    changed.loc[123_457, "a"] = -1.0
    diff = difference(frame, changed)
    assert diff is not None
    assert diff.text == "a in row 123457: 123,457 → -1"
    diff = difference(frame.a.to_numpy(), changed.a.to_numpy())
    assert diff is not None
    assert diff.text == "[123457] 123,457 → -1"


def test_chance_is_no_change() -> None:
    """Of two samples of the same rows in another order, no mean has moved."""
    numbers = np.random.default_rng(1).normal(100, 15, (200_000, 5))
    frame = pd.DataFrame(numbers, columns=list("abcde"))
    shuffled = pd.DataFrame(np.random.default_rng(2).permutation(numbers), columns=list("abcde"))
    for other in (shuffled, shuffled.iloc[1000:], pl.from_pandas(shuffled)):
        diff = difference(frame, other)
        assert diff is not None
        assert not any("mean" in change.text for change in diff.changes)
    moved = difference(frame, shuffled.iloc[1000:].assign(c=shuffled.c + 5))
    assert moved is not None
    assert "mean of c about 100 → 105" in moved.text


ENDLESS = 10**13


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Arrays that no machine could hold; whoever looks at all of one never ends.
        (np.broadcast_to(1.0, ENDLESS), np.broadcast_to(2.0, ENDLESS)),
        (np.broadcast_to(1.0, (ENDLESS, 3)), np.broadcast_to(1.0, (ENDLESS, 4))),
        (range(ENDLESS), range(ENDLESS + 1)),
        ([0] * 10_000_000, [0] * 9_999_999),
        ("x" * 100_000_000, "x" * 99_999_999 + "y"),
        ({n: n for n in range(3_000_000)}, {n: n + 1 for n in range(3_000_000)}),
        (
            pa.chunked_array([pa.array(np.zeros(1_000_000))] * 1_000),
            pa.chunked_array([pa.array(np.ones(1_000_000))] * 1_000),
        ),
        (
            pl.concat([pl.Series("a", np.zeros(1_000_000))] * 300, rechunk=False),
            pl.concat([pl.Series("a", np.ones(1_000_000))] * 300, rechunk=False),
        ),
        (
            pd.DataFrame(np.zeros((2, 200_000))),
            pd.DataFrame(np.ones((2, 200_000))),
        ),
    ],
    ids=["array", "shape", "range", "list", "text", "dict", "arrow", "polars", "wide"],
)
def test_a_large_value_costs_no_more_than_its_sample(before: Any, after: Any) -> None:
    for value in (before, after):
        assert len(msgspec.json.encode(summarize(value))) <= 4096
    diff = difference(before, after)
    assert diff is not None
    assert len(msgspec.json.encode(diff)) <= 2048
    if not isinstance(before, range):
        assert diff.sampled is not None


def test_a_lazy_frame_is_not_collected() -> None:
    def never(frame: pl.DataFrame) -> pl.DataFrame:
        raise AssertionError("collected")

    plan = pl.LazyFrame({"a": [1]}).map_batches(never, schema={"a": pl.Int64})
    assert "LazyFrame" in summarize(plan).text
    difference(plan, plan.filter(pl.col("a") > 1))


# -- hostile values --------------------------------------------------------------------------------


class Hostile:
    """Everything that can be overridden raises, in turns."""

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise self.error

    error: BaseException = RuntimeError("hostile")
    __eq__ = __ne__ = __lt__ = __hash__ = __repr__ = __str__ = __len__ = __iter__ = _raise
    __getattr__ = __bool__ = __float__ = __int__ = __array__ = __reduce__ = _raise


class HostileExit(Hostile):
    error = SystemExit(3)


class HostileDict(dict):  # type: ignore[type-arg]
    __iter__ = __len__ = __getitem__ = __contains__ = items = keys = Hostile._raise
    error = KeyboardInterrupt()


class HostileList(list):  # type: ignore[type-arg]
    __iter__ = __len__ = __getitem__ = Hostile._raise
    error = ValueError("hostile")


class HostileFrame(pd.DataFrame):
    @property
    def iloc(self) -> Any:
        raise RuntimeError("hostile")

    columns = index = dtypes = shape = property(lambda _: 1 / 0)  # type: ignore[assignment]


class Liar:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return dict

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("hostile")


def endless() -> Any:
    value: list[Any] = []
    value.append({"again": value})
    return value


def objects(*items: Any) -> Any:
    array = np.empty(len(items), dtype=object)
    for number, item in enumerate(items):
        array[number] = item
    return array


HOSTILE: list[Any] = [
    Hostile(),
    HostileExit(),
    [Hostile(), 1],
    {"a": HostileExit()},
    HostileDict(a=1),
    HostileList([1]),
    HostileFrame({"a": [1]}),
    objects(Hostile(), HostileExit()),
    pd.Series(objects(Hostile(), 1)).to_frame("a"),
    Liar(),
    endless(),
    Point(1, Hostile()),
    Pair(HostileDict(), 1),
    {Colour.RED: {1, 2}, (1, 2): Hostile()},
    float("nan"),
    type,
    Hostile,
    (item for item in ()),
    {"\ud800": "\ud800"},
    pd.Series(objects("\ud800"), dtype=object).to_frame("a").assign(**{"5": 1}),
    pd.DataFrame(columns=["a", "a"], data=[[1, 2]]),
    pd.DataFrame(index=pd.MultiIndex.from_tuples([(1, "a"), (2, "b")])),
    np.zeros((0, 3)),
    np.array(None),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_it_never_raises_whatever_a_value_does(number: int) -> None:
    value = HOSTILE[number]
    assert len(msgspec.json.encode(summarize(value))) <= 4096
    for other in (*HOSTILE, 1, "a", {"a": 1}, FRAME, None):
        for pair in ((value, other), (other, value), ([value], [other]), ({1: value}, {1: other})):
            diff = difference(*pair)
            assert diff is None or len(msgspec.json.encode(diff)) <= 2048
            found = summary_difference(summarize(pair[0]), summarize(pair[1]))
            assert found is None or len(msgspec.json.encode(found)) <= 2048


def test_a_slow_text_is_asked_for_once() -> None:
    asked = []

    class Slow:
        def __repr__(self) -> str:
            asked.append(self)
            # Not the time that it takes, but that it takes longer than is allowed, matters here.
            while len(asked) == 1 and clock() < until:
                pass
            return f"slow {len(asked)}"

    import time

    clock = time.perf_counter
    until = clock() + 0.11
    assert summarize([Slow() for _ in range(20)]).text.startswith("[slow 1, <")
    assert "too slow to be shown" in summarize(Slow()).text
    assert len(asked) == 1


def test_what_is_not_shown_is_said_to_be_unseen() -> None:
    assert UNSEEN.text
    assert UNSEEN.changes == []


def test_no_library_is_imported_for_it() -> None:
    script = """
import sys
import hamdev.worker.difference
import hamdev.worker.summary
class Frame: pass
for library in ("pandas", "polars", "pyarrow", "numpy", "sklearn", "pydantic", "matplotlib",
                "plotly", "altair", "scipy", "PIL"):
    for name in ("DataFrame", "Series", "Table", "ndarray", "BaseEstimator", "BaseModel", "Figure",
                 "FigureBase", "BaseFigure", "TopLevelMixin", "Image", "LazyFrame", "spmatrix"):
        kind = type(name, (), {"__module__": library})
        hamdev.worker.summary.summarize(kind())
        hamdev.worker.difference.difference(kind(), kind())
for value in (1, "a", [1.5] * 100, {"a": [1]}, b"x", Frame()):
    hamdev.worker.summary.summarize(value)
    hamdev.worker.difference.difference(value, [value])
    hamdev.worker.difference.difference([1.5] * 100, [2.5] * 100)
heavy = {"pandas", "polars", "pyarrow", "numpy", "sklearn", "pydantic", "matplotlib", "plotly",
         "altair", "scipy", "PIL", "hamilton"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
