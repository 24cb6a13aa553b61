"""What holds for the difference of any two values."""

from __future__ import annotations

import copy
import math
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from hamdev.messages import Diff
from hamdev.worker.difference import difference, summary_difference
from hamdev.worker.summary import summarize

MAX_BYTES = 2048
MAX_LINE = 160

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=80)
    | st.binary(max_size=80)
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.decimals()
)
PLAIN = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.text(max_size=6), inner, max_size=6)
        | st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=12,
)
CELLS = st.one_of(st.integers(-5, 5), st.floats(width=32), st.text(max_size=3), st.none())
COLUMNS = st.dictionaries(
    st.sampled_from("abcd"), st.lists(CELLS, min_size=4, max_size=4), max_size=4
)


@st.composite
def tables(draw: st.DrawFn) -> Any:
    """Small tables of all libraries, with columns of one or of several types."""
    columns = draw(COLUMNS)
    rows = draw(st.integers(0, 4))
    frame = pd.DataFrame({name: cells[:rows] for name, cells in columns.items()})
    match draw(st.sampled_from(["pandas", "polars", "pyarrow", "numpy", "series", "labelled"])):
        case "polars":
            return pl.from_pandas(frame.astype(str))
        case "pyarrow":
            return pa.Table.from_pandas(frame.astype(str))
        case "numpy":
            return frame.to_numpy()
        case "series" if len(frame.columns):
            return frame.iloc[:, 0]
        case "labelled":
            labels = draw(st.lists(st.text(max_size=2), min_size=len(frame), max_size=len(frame)))
            return frame.set_axis(labels)
    return frame


ANY = PLAIN | tables() | st.lists(tables(), max_size=2)


def check(diff: Diff | None) -> None:
    if diff is None:
        return
    assert len(msgspec.json.encode(diff)) <= MAX_BYTES
    assert 0 < len(diff.text) <= MAX_LINE
    assert "\n" not in diff.text
    for change in diff.changes:
        assert change.text
        assert "\n" not in change.text


def same(one: Any, other: Any) -> bool:
    """Equality as nodes downstream see it: `1` is not `1.0` nor True, and NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        # Their order can be seen, too.
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return str(one) == str(other)


@given(ANY, ANY)
def test_it_never_raises_and_is_small(before: Any, after: Any) -> None:
    check(difference(before, after))
    check(summary_difference(summarize(before), summarize(after)))


@given(PLAIN, PLAIN)
def test_there_is_one_exactly_if_they_are_not_the_same(before: Any, after: Any) -> None:
    assert (difference(before, after) is None) == same(before, after)


@given(ANY)
def test_a_copy_does_not_differ(value: Any) -> None:
    assert difference(value, value) is None
    assert difference(value, copy.deepcopy(value)) is None
    assert summary_difference(summarize(value), summarize(copy.deepcopy(value))) is None


@given(st.integers() | st.floats() | st.text(max_size=30), st.integers() | st.floats())
def test_the_other_way_round_it_says_the_reverse(before: Any, after: Any) -> None:
    there, back = difference(before, after), difference(after, before)
    assert (there is None) == (back is None)
    if there is not None and back is not None:
        assert there.changes[0].before == back.changes[0].after
        assert there.changes[0].after == back.changes[0].before


@given(COLUMNS, COLUMNS)
def test_columns_that_came_one_way_go_the_other(before: Any, after: Any) -> None:
    old, new = pd.DataFrame(before), pd.DataFrame(after)
    there, back = difference(old, new), difference(new, old)
    assert (there is None) == (back is None)
    if there is None or back is None:
        assert list(old.columns) == list(new.columns)
        return
    members = [c.text for c in there.changes if c.kind == "column"]
    reverse = [c.text for c in back.changes if c.kind == "column"]
    swapped = {"added": "removed", "removed": "added"}
    assert sorted(" ".join(swapped.get(w, w) for w in t.split()) for t in members) == sorted(
        reverse
    ) or any("renamed" in text for text in members)


@given(st.lists(st.floats(allow_nan=True) | st.none(), min_size=1, max_size=30), st.data())
def test_it_counts_the_cells_that_changed(cells: list[float | None], data: st.DataObject) -> None:
    places = data.draw(st.sets(st.integers(0, len(cells) - 1)))
    old = pd.DataFrame({"x": pd.array(cells, dtype="float64"), "y": range(len(cells))})
    new = old.copy()
    for place in places:
        new.loc[place, "x"] = 12345.5 if old.loc[place, "x"] != 12345.5 else 0.5
    found = difference(old, new)
    if not places:
        assert found is None
    else:
        assert found is not None
        told = [c.text for c in found.changes]
        one_by_one = [text.partition(": ")[0] for text in told if text.startswith("x in row")]
        if one_by_one:
            assert len(places) <= 3
            assert one_by_one == [f"x in row {place}" for place in sorted(places)]
        elif len(places) == len(cells):
            assert any(text.startswith("all values of x") for text in told)
        else:
            assert len(places) > 1
            start = f"{len(places)} of {len(cells)} values of x"
            assert any(text.startswith(start) for text in told)


@given(st.permutations(range(8)))
def test_rows_in_another_order_are_no_other_values(order: list[int]) -> None:
    frame = pd.DataFrame({"a": np.arange(8) * 1.5, "b": list("stuvwxyz")})
    for moved in (frame.iloc[order], frame.iloc[order].reset_index(drop=True)):
        found = difference(frame, moved)
        if order == list(range(8)):
            assert found is None
        else:
            assert found is not None
            assert found.text == "rows in another order"


@given(ANY)
def test_nothing_is_changed_by_looking(value: Any) -> None:
    # Of a value that differs from all others, so that it is looked at in full.
    before = copy.deepcopy(value)
    difference(value, [object()])
    difference([value], [[value, 1]])
    summarize(value)
    assert difference(before, value) is None
