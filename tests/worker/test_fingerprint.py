from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import gc
import itertools
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
import types
import uuid
import weakref
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamdev.worker.fingerprint import fingerprint as fingerprint_with


def fingerprint(value: Any) -> bytes | None:
    return fingerprint_with(value, lambda obj: None)


def certain(value: Any) -> bytes:
    result = fingerprint(value)
    assert result is not None, f"no fingerprint of {value!r}"
    assert len(result) == 16
    return result


Point = namedtuple("Point", "x y")


@dataclasses.dataclass(eq=False)
class Plain:
    x: Any
    y: Any = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: Any


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    RED = 1


class Text(str):
    pass


class Whole(int):
    pass


class Items(list):  # type: ignore[type-arg]
    pass


class Bag(set):  # type: ignore[type-arg]
    pass


class Annotated(np.ndarray):
    pass


def annotated(unit: str) -> Any:
    array = np.zeros(3).view(Annotated)
    array.unit = unit  # type: ignore[attr-defined]
    return array


def with_attrs(frame: Any, **attrs: Any) -> Any:
    frame = frame.copy()
    frame.attrs.update(attrs)
    return frame


def with_attribute(frame: Any, name: str, value: Any) -> Any:
    frame = frame.copy()
    object.__setattr__(frame, name, value)
    return frame


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def masked(**keywords: Any) -> Any:
    return np.ma.MaskedArray(np.zeros(3), **keywords)


FRAME = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
TIME = datetime.datetime(2024, 1, 1)
UTC = datetime.UTC
TABLE = pa.table({"a": [1, 2]})

# Within a family, every value is told from every other one.
FAMILIES: dict[str, list[Any]] = {
    "ones": [
        *(1, True, 1.0, 1 + 0j, "1", b"1", bytearray(b"1"), [1], (1,), {1}, frozenset({1})),
        *({1: 1}, Whole(1), Text("1"), Items([1]), Bag({1}), deque([1]), Colour.RED, Level.RED),
        *(decimal.Decimal(1), decimal.Decimal("1.0"), fractions.Fraction(1), Point(1, 1)),
        *(np.int32(1), np.int64(1), np.uint64(1), np.float32(1), np.float64(1)),
        *(np.bool_(True), np.array(1), np.array([1]), np.array([[1]]), np.str_("1"), Plain(1)),
        *(Plain(True), Plain(1.0), Slotted(1), Slotted("1"), [[1]], ([1],), [True], [1.0], (True,)),
        *({True}, {1.0}, {1: True}, {True: 1}, range(1), slice(1), types.MappingProxyType({1: 1})),
    ],
    "zeros": [
        *(0, 0.0, -0.0, False, "", b"", None, [], (), {}, set(), frozenset(), Ellipsis),
        *(float("nan"), float("inf"), [None], [[]], [()], "0", np.zeros(0), np.zeros((0, 1))),
        *([0.0], [-0.0], complex(0, -0.0), complex(-0.0, 0), np.float64(0.0), np.float64(-0.0)),
        *(np.array([0.0]), np.array([-0.0]), np.zeros(0, "i4"), np.zeros(0, "i8")),
    ],
    "text": ["ab", "abc", "ä", "a\u0308", "\ud800", ["a", "b"], ["ab"], ["a-b"], ["a", "-b"]],
    "order": [[1, 2], [2, 1], (1, 2), {1: 0, 2: 0}, {2: 0, 1: 0}, {1: 2}, {2: 1}, [1, 2, 1, 2]],
    "nesting": [
        [1, [2]],
        [[1], 2],
        [1, 2],
        [[1, 2]],
        [1, (2,)],
        [[], []],
        [[[]]],
        [[]],
        {1: {2: 3}},
    ],
    "ordered mappings": [
        *(OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), {"a": 1, "b": 2}, Counter(a=1, b=2)),
        *(defaultdict(int, a=1, b=2), defaultdict(list, a=1, b=2), Counter(b=2, a=1)),
    ],
    "sets": [
        *({1, 2}, {1, 3}, {"1", 2}, {(1, 2)}, {(1,), (2,)}, {frozenset({1})}, {Colour.RED}),
        *(frozenset({(1, 2)}), {Colour.RED, Colour.BLUE}, Bag({(1, 2)}), Bag({1, 2})),
    ],
    "long": [[0] * 40_000, [0] * 40_001, (0,) * 40_000, [0] * 39_999 + [False], [[0]] * 20_000],
    "times": [
        *(TIME, TIME.replace(tzinfo=UTC), TIME.replace(tzinfo=ZoneInfo("UTC")), TIME.date()),
        *(TIME.replace(fold=1), TIME.time(), TIME.isoformat(), datetime.timedelta(0)),
        *(
            TIME.replace(tzinfo=ZoneInfo("Europe/Paris")),
            TIME.replace(tzinfo=ZoneInfo("Europe/Rome")),
        ),
        *(np.datetime64("2024-01-01", unit) for unit in ("D", "h", "s", "ms", "us", "ns")),
        *(pd.Timestamp(TIME), pd.Timestamp(TIME, tz="UTC"), pd.Timestamp(TIME).as_unit("ns")),
    ],
    "others": [
        *(
            Path("a"),
            PurePosixPath("a"),
            "a",
            uuid.UUID(int=1),
            re.compile("a"),
            re.compile("a", re.I),
        ),
        *(int, float, len, sorted, functools.partial(int, base=2), functools.partial(int, base=3)),
        *(ValueError("a"), ValueError("b"), KeyError("a"), "a".upper, "b".upper, "a".lower),
        *(
            dict[str, int],
            dict[str, float],
            int | str,
            np.sin,
            np.cos,
            np.dtype("i4"),
            np.dtype("i8"),
        ),
    ],
    "arrays": [
        *(
            np.zeros(4, kind)
            for kind in ("i1", "u1", "i4", "<i8", ">i8", "f2", "f4", "f8", "c8", "?")
        ),
        *(
            np.zeros(4, kind)
            for kind in ("S1", "S2", "U1", "U2", "V1", "V2", "O", "M8[s]", "M8[D]")
        ),
        *(np.zeros(4, kind) for kind in ("m8[s]", "i4,i4", [("a", "i4"), ("b", "i4")], "2i4")),
        *(
            np.zeros(4, np.dtype({"names": ["a"], "formats": ["i4"], "itemsize": n}))
            for n in (4, 8)
        ),
        *(np.zeros(4, np.dtype("i4", metadata={"m": n})) for n in (1, 2)),
        *(np.zeros((2, 2)), np.zeros((4, 1)), np.zeros((1, 4)), np.zeros((2, 2), order="F")),
        *(
            np.zeros(8)[::2],
            np.zeros(9)[::2],
            read_only(np.zeros(4)),
            np.zeros((2, 2)).view(np.matrix),
        ),
        *(np.arange(4.0), np.arange(4.0)[::-1], np.arange(8.0)[::2], np.broadcast_to(0.0, (4,))),
        *(
            np.broadcast_to(0.0, (5,)),
            np.broadcast_to(1.0, (4,)),
            np.broadcast_to([[0.0], [1.0]], (2, 4)),
        ),
    ],
    "object arrays": [
        np.array(items, dtype=object)
        for items in (
            ["a-b", "c"],
            ["a", "b-c"],
            [1, 2],
            [1, True],
            [1, None],
            [1, np.nan],
            ["1", 2],
        )
    ],
    "strings of any length": [
        np.array(items, dtype=np.dtypes.StringDType())
        for items in (["a" * 100, "b"], ["a" * 99 + "b", "b"], ["a", "b"], ["a" * 100, "c"])
    ],
    "forgotten by pickles": [
        *(FRAME, with_attribute(FRAME, "_note", 1), np.longlong(1), np.int64(1), masked()),
        *(np.zeros(3), annotated("m"), annotated("s")),
    ],
    "masked": [
        *(
            masked(mask=[0, 0, 0]),
            masked(mask=[0, 0, 1]),
            masked(mask=[0, 1, 0]),
            masked(mask=[0, 0, 1], fill_value=7),
        ),
        *(masked(mask=[0, 0, 1], hard_mask=True), np.zeros(3)),
    ],
    "sharing": [
        *(lambda a: [[a, a], [a, a.copy()], [a, a[:]], [a, a[1:]], [a, a[:-1]]])(np.zeros(4)),
        *(lambda a: [[a, a], [a, [1]], (a, a)])([1]),
        *(lambda a: [[a, a], [a, {1}]])({1}),
        *(lambda a: [[a, a], [a, {1: 1}]])({1: 1}),
        *(lambda a: [[a, {a}], [a, {copy.copy(a)}]])(Plain(1)),
    ],
    "pandas dtypes": [
        pd.Series([1, 0], dtype=kind)
        for kind in (
            *("int64", "int32", "uint8", "Int64", "Int32", "float64", "Float64", "bool", "boolean"),
            *(
                "object",
                "category",
                "complex128",
                "datetime64[s]",
                "datetime64[ns]",
                "timedelta64[ns]",
            ),
            *(
                "datetime64[ns, UTC]",
                "datetime64[ns, Europe/Paris]",
                "int64[pyarrow]",
                "Sparse[int]",
            ),
        )
    ],
    "pandas text": [
        *(pd.Series(["a", "b"], dtype=kind) for kind in ("object", "str", "string", "category")),
        *(pd.Series(["a", "b"], dtype=pd.StringDtype(kind)) for kind in ("python",)),
        *(pd.Series(["a", gap], dtype=object) for gap in (None, np.nan, pd.NA, pd.NaT, "")),
        *(pd.Series(["a", gap], dtype="str") for gap in (None, "")),
    ],
    "categories": [
        pd.Series(pd.Categorical(values, categories, ordered))
        for values in (["a", "b"], ["b", "a"])
        for categories in (["a", "b"], ["b", "a"], ["a", "b", "c"])
        for ordered in (False, True)
    ],
    "frames": [
        *(
            FRAME,
            FRAME[["b", "a"]],
            FRAME.iloc[::-1],
            FRAME.astype("int32"),
            FRAME.T,
            FRAME.head(1),
        ),
        *(
            FRAME.set_axis(["a", "c"], axis=1),
            FRAME.rename_axis("i"),
            FRAME.rename_axis(columns="c"),
        ),
        *(
            FRAME.set_axis([0, 1]),
            FRAME.set_axis([0.0, 1.0]),
            FRAME.set_axis(["0", "1"]),
            FRAME + 1,
        ),
        *(FRAME.set_flags(allows_duplicate_labels=False), with_attrs(FRAME, unit="m")),
        *(with_attrs(FRAME, unit="s"), FRAME["a"], FRAME["a"].array),
        *(FRAME["a"].rename("b"), FRAME["a"].rename(None), FRAME["a"].index, FRAME.columns),
        *(
            FRAME.set_axis(pd.MultiIndex.from_tuples([(0, 1), (1, 2)], names=n))
            for n in (None, ["a", "b"])
        ),
        *(FRAME.set_axis(pd.date_range("2024", periods=2, freq=f)) for f in ("D", "24h", "h")),
        FRAME.set_axis(pd.DatetimeIndex(["2024-01-01", "2024-01-02"])),
        FRAME.set_axis(pd.date_range("2024", periods=2, tz="UTC")),
        FRAME.set_axis(pd.period_range("2024", periods=2, freq="D")),
        *(pd.DataFrame(index=range(n)) for n in (0, 1, 2)),
        *(
            pd.DataFrame({"a": [value, value]})
            for value in (1, 1.0, True, "1", None, TIME, [1], (1,))
        ),
        pd.DataFrame({"a": [1, 2], "b": [4, 3]}),
        pd.DataFrame([[1, 1], [2, 2]]),
        pd.DataFrame([[1, 2], [1, 2]]),
    ],
    "polars": [
        *(
            pl.Series("a", [1, 0], dtype=kind)
            for kind in (pl.Int8, pl.Int64, pl.UInt64, pl.Float64)
        ),
        *(
            pl.Series("a", [1, 0]).cast(kind)
            for kind in (pl.Boolean, pl.Date, pl.String, pl.Decimal(9, 2))
        ),
        *(
            pl.Series("a", [1, 0]).cast(pl.Datetime(unit, zone))
            for unit in ("ms", "us")
            for zone in (None, "UTC")
        ),
        *(
            pl.Series("a", ["x", "y"], dtype=kind)
            for kind in (pl.String, pl.Categorical, pl.Enum(["x", "y"]))
        ),
        *(pl.Series("a", ["x", "y"], dtype=pl.Enum(["y", "x"])), pl.Series("b", [1, 0])),
        *(
            pl.Series("a", [1, None]),
            pl.Series("a", [[1, 0]]),
            pl.Series("a", [{"b": 1}]),
            pl.Series("a", []),
        ),
        *(pl.DataFrame({"a": [1, 0]}), pl.DataFrame({"b": [1, 0]}), pl.DataFrame({"a": [0, 1]})),
        *(pl.DataFrame({"a": [1], "b": [1]}), pl.DataFrame({"b": [1], "a": [1]}), pl.DataFrame()),
        *(
            pl.DataFrame({"a": [1]}).lazy(),
            pl.DataFrame({"a": [2]}).lazy(),
            pl.col("a"),
            pl.col("b"),
        ),
        *(pl.DataFrame({"a": [1]}).lazy().select(pl.col("a") * n) for n in (2, 2.0, 3)),
    ],
    "arrow": [
        *(
            TABLE,
            TABLE.replace_schema_metadata({"m": "1"}),
            TABLE.replace_schema_metadata({"m": "2"}),
        ),
        *(
            TABLE.rename_columns(["b"]),
            TABLE["a"],
            TABLE["a"].chunk(0),
            TABLE.to_batches()[0],
            TABLE.schema,
        ),
        *(
            TABLE.slice(1),
            TABLE.slice(0, 1),
            TABLE.slice(0, 0),
            TABLE.cast(pa.schema([("a", pa.int32())])),
        ),
        *(TABLE.cast(pa.schema([pa.field("a", pa.int64(), metadata={"m": "1"})])), pa.scalar(1)),
        *(
            TABLE.cast(pa.schema([pa.field("a", pa.int64(), nullable=False)])),
            pa.scalar(1, pa.int32()),
        ),
        *(
            pa.array(["x", "y"], kind)
            for kind in (pa.string(), pa.large_string(), pa.binary(), pa.string_view())
        ),
        *(
            pa.array(["x", "y"]).dictionary_encode(),
            pa.array([None, "y"]),
            pa.array(["", "y"]),
            pa.int64(),
        ),
        *(
            pa.array([1, 2], pa.timestamp(unit, zone))
            for unit in ("s", "ms")
            for zone in (None, "UTC")
        ),
    ],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_value_of_a_family_is_told_from_every_other(family: str) -> None:
    values = FAMILIES[family]
    prints = [certain(value) for value in values]
    pairs = itertools.combinations(range(len(values)), 2)
    assert [(values[one], values[two]) for one, two in pairs if prints[one] == prints[two]] == []


# Copies of these are not like the original, and a node can see it.
VIEWS = ("arrays", "sharing", "forgotten by pickles", "masked")
UNPICKLABLE = types.MappingProxyType


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_value_again_has_the_same_fingerprint(family: str) -> None:
    for value in FAMILIES[family]:
        assert certain(value) == certain(value)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in VIEWS])
def test_copies_have_the_fingerprint_of_the_original(family: str) -> None:
    for value in FAMILIES[family]:
        if isinstance(value, UNPICKLABLE):
            continue
        assert certain(pickle.loads(pickle.dumps(value, 5))) == certain(value), value


# --- random plain data ---------------------------------------------------------------------------

atoms = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
    *(
        st.complex_numbers(allow_nan=False),
        st.decimals(allow_nan=False),
        st.datetimes(),
        st.dates(),
    ),
)
hashable = st.recursive(
    atoms, lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner)), max_leaves=8
)
data = st.recursive(
    hashable,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.sets(hashable),
        st.dictionaries(hashable, inner),
        st.builds(Plain, inner, inner),
    ),
    max_leaves=20,
)


def spelled(value: Any) -> str:
    """A text that is equal for two values of `data` exactly if they are the same."""
    name = type(value).__name__
    if isinstance(value, list | tuple):
        return f"{name}({', '.join(map(spelled, value))})"
    if isinstance(value, set | frozenset):
        return f"{name}({', '.join(sorted(map(spelled, value)))})"
    if isinstance(value, dict):
        return f"{name}({', '.join(f'{spelled(k)}: {spelled(v)}' for k, v in value.items())})"
    if isinstance(value, Plain):
        return f"{name}({spelled(value.x)}, {spelled(value.y)})"
    if isinstance(value, complex):
        return f"{name}({value.real!r}, {value.imag!r})"
    return f"{name}({value!r})"


@given(data, data)
def test_equal_fingerprints_mean_equal_types_and_contents(one: Any, two: Any) -> None:
    assert (certain(one) == certain(two)) == (spelled(one) == spelled(two))


@given(data)
def test_round_trips_keep_the_fingerprint(value: Any) -> None:
    assert certain(copy.deepcopy(value)) == certain(value)
    assert certain(pickle.loads(pickle.dumps(value))) == certain(value)


@given(st.lists(st.one_of(st.text(), st.binary(), st.integers()), min_size=2), st.data())
def test_one_changed_element_changes_the_fingerprint(items: list[Any], draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, len(items) - 1))
    changed = [*items]
    changed[place] = (changed[place],)
    for make in (list, tuple, lambda x: pd.Series(x, dtype=object), lambda x: dict(enumerate(x))):
        assert certain(make(items)) != certain(make(changed))


@given(st.lists(st.text(max_size=4)))
def test_it_does_not_count_which_of_two_equal_strings_it_is(words: list[str]) -> None:
    shared = [*words, *words]
    apart = [*words, *("".join(list(word)) for word in words)]
    assert certain(shared) == certain(apart)
    assert certain([*shared, ()]) == certain([*apart, ()])
    assert certain(Plain(sys.intern("".join(["na", "me"])), "name")) == certain(
        Plain("name", "name")
    )


@given(st.integers(1, 3), st.integers(0, 2_000_003), st.sampled_from("CF"))
def test_no_byte_of_a_large_array_is_left_out(step: int, place: int, order: Any) -> None:
    memory = np.zeros((step * 2, 1_000_002), "u1", order=order)
    array = memory[::step]
    before = certain(array)
    array.flat[place] = 1
    after = certain(array)
    array.flat[place] = 0
    assert before != after
    assert certain(array) == before


def test_what_is_repeated_counts_and_along_which_axis() -> None:
    rows, columns = np.array([[0.0, 1.0]]), np.array([[0.0], [1.0]])
    arrays = [np.broadcast_to(array, (2, 2)) for array in (rows, columns)]
    assert certain(arrays[0]) != certain(arrays[1])
    frames = [pd.DataFrame(array, copy=False) for array in arrays]
    assert certain(frames[0]) != certain(frames[1])
    huge = [np.broadcast_to(value, (10**12,)) for value in (0.0, 1.0)]
    assert certain(huge[0]) != certain(huge[1])


def test_nothing_is_left_out_between_chunks() -> None:
    array = np.zeros(3 * 16 * 1024 * 1024, "u1")
    prints = {certain(array)}
    places = [n * 16 * 1024 * 1024 + offset for n in (1, 2) for offset in (-1, 0, 1)]
    for place in [*places, len(array) - 1]:
        array[place] = 1
        prints.add(certain(array))
        array[place] = 0
    assert len(prints) == len(places) + 2


# --- across processes ----------------------------------------------------------------------------

ELSEWHERE = """
    import datetime, decimal, sys
    from hamdev.worker.fingerprint import fingerprint
    import numpy as np, pandas as pd
    values = [
        {"a", "b", "c", "d", 1, 2.5, None},
        frozenset("abcdefgh"),
        {("a", 1), ("b", 2), ("c", frozenset("xyz"))},
        {decimal.Decimal(1), datetime.date(2024, 1, 1), "a"},
        {"k": {"a", "b"}, "l": [{"c", "d"}, {"e", ("f",)}]},
        pd.DataFrame({"a": ["x", "y"], "b": [{"p", "q"}, None], "c": pd.Categorical(["u", "v"])}),
        np.array([{"a", "b"}, "c"], dtype=object),
        ["text", b"bytes", 1, 1.5, None, {"key": "value"}],
    ]
    print(*(fingerprint(value, lambda obj: None).hex() for value in values))
"""


def elsewhere(code: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
    ).stdout


def test_another_process_with_another_hash_seed_gives_the_same_fingerprints() -> None:
    prints = [elsewhere(ELSEWHERE, PYTHONHASHSEED=seed) for seed in ("1", "2", "3")]
    assert len(prints[0].split()) == 8
    assert prints[0] == prints[1] == prints[2]


def test_memory_does_not_grow_with_the_array() -> None:
    grown = elsewhere("""
        import resource, numpy as np, pandas as pd
        from hamdev.worker.fingerprint import fingerprint
        array = np.ones(40_000_000)
        frame = pd.DataFrame(array.reshape(-1, 10), copy=False)
        views = [array, frame, array[::2], array.reshape(200, 200, 1000).transpose(1, 2, 0)]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert all(fingerprint(view, lambda obj: None) for view in views)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(after - before)
    """)
    kibibytes = int(grown) // (1024 if sys.platform == "darwin" else 1)
    assert kibibytes < 32 * 1024  # of 320 MB


# --- layouts that nobody can see -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("series", "look"),
    [
        (pd.Series(pd.date_range("2024", periods=3)), pd.Series.max),
        (pd.Series(pd.to_timedelta([1, 2])), pd.Series.sum),
        (pd.Series([1, 2], index=pd.date_range("2024", periods=2)), lambda s: s.index.unit),
        (pd.Series([1, None], dtype="Int64"), pd.Series.value_counts),
        (pd.Series([1, 2], dtype="int64[pyarrow]"), lambda s: s * 2),
    ],
    ids=["times", "durations", "index of times", "nullable", "arrow"],
)
def test_what_pandas_remembers_of_a_look_does_not_count(
    series: pd.Series[Any], look: Callable[[Any], Any]
) -> None:
    before = certain(series)
    look(series)
    assert certain(series) == before


def test_how_pandas_groups_columns_into_blocks_does_not_count() -> None:
    apart = pd.DataFrame({"a": np.arange(3), "b": ["x", "y", "z"]})
    apart["c"] = np.arange(3)
    apart["d"] = pd.date_range("2024", periods=3)
    apart["e"] = pd.date_range("2025", periods=3)
    together = apart.copy()
    assert len(together._mgr.blocks) < len(apart._mgr.blocks)
    assert certain(together) == certain(apart)


def test_a_slice_of_an_arrow_array_is_what_it_shows() -> None:
    assert certain(pa.array(range(100)).slice(10, 5)) == certain(pa.array(range(10, 15)))


# --- other libraries -----------------------------------------------------------------------------


def all_differ_and_survive(values: list[Any]) -> None:
    prints = [certain(value) for value in values]
    assert len(set(prints)) == len(values)
    assert [certain(pickle.loads(pickle.dumps(value))) for value in values] == prints


def test_estimators() -> None:
    linear = pytest.importorskip("sklearn.linear_model").LinearRegression
    forest = pytest.importorskip("sklearn.ensemble").RandomForestRegressor
    inputs, outputs = np.arange(20.0).reshape(-1, 1), np.arange(20.0) ** 2
    forests = [forest(3, random_state=seed).fit(inputs, outputs) for seed in (1, 2)]
    fitted = [linear().fit(inputs, outputs), linear().fit(inputs, outputs + 1)]
    all_differ_and_survive([linear(), linear(fit_intercept=False), *fitted, *forests])
    assert certain(forest(3, random_state=1).fit(inputs, outputs)) == certain(forests[0])


def test_sparse_arrays() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.eye(3)
    kinds = (sparse.csr_array, sparse.csc_array, sparse.coo_array, sparse.csr_matrix)
    all_differ_and_survive(
        [*(kind(dense) for kind in kinds), sparse.csr_array(dense * 2), sparse.csr_array(dense[:2])]
    )


def test_pydantic_models(module: Any) -> None:
    pytest.importorskip("pydantic")
    made = module("""
        import pydantic
        class Model(pydantic.BaseModel):
            x: object
            y: int = 0
    """)
    models = [made.Model(x=1), made.Model(x=True), made.Model(x="1"), made.Model(x=1, y=0)]
    all_differ_and_survive(models)  # the last differs in what was set
    assert fingerprint_with(models[0], versions("1")) != fingerprint_with(models[0], versions("2"))


# --- code within values --------------------------------------------------------------------------


@pytest.fixture
def module() -> Iterator[Callable[[str], types.ModuleType]]:
    """Executes a text as the module `project_under_test`, each time as a new one."""

    def execute(text: str) -> types.ModuleType:
        made = types.ModuleType("project_under_test")
        sys.modules[made.__name__] = made
        exec(textwrap.dedent(text), made.__dict__)
        return made

    yield execute
    sys.modules.pop("project_under_test", None)


def versions(token: str) -> Callable[[Any], str | None]:
    """Versions as the project's code has them: one token for all of it."""
    return lambda obj: token if obj.__module__ == "project_under_test" else None


CODE = """
    import dataclasses, enum, functools

    class Model:
        def __init__(self): self.x = 1
        def predict(self): return 1

    class Child(Model): pass

    class Odd(str): pass

    @dataclasses.dataclass
    class Record:
        x: int = 1

    class Kind(enum.Enum):
        ONE = 1

    class Sentinel:
        def __reduce__(self): return "SENTINEL"

    SENTINEL = Sentinel()

    def helper(x=1): return x

    class Bag(set): pass

    @functools.lru_cache
    def cached(): return 1

    double = lambda x: 2 * x
"""

VERSIONED: dict[str, Callable[[Any], Any]] = {
    "a class": lambda m: m.Model,
    "an instance": lambda m: m.Model(),
    "an instance deep inside": lambda m: {"a": [(m.Model(),)]},
    "an instance in a set": lambda m: {m.Model(), 1},
    "an instance in a frame": lambda m: pd.DataFrame({"a": [m.Model()]}),
    "an instance in an array": lambda m: np.array([m.Model(), 1], dtype=object),
    "an instance in attrs": lambda m: with_attrs(FRAME, model=m.Model()),
    "a subclass of str": lambda m: m.Odd("a"),
    "a subclass of set": lambda m: m.Bag({1}),
    "a dataclass": lambda m: m.Record(),
    "a member of an enum": lambda m: m.Kind.ONE,
    "a sentinel": lambda m: m.SENTINEL,
    "a function": lambda m: m.helper,
    "a partial": lambda m: functools.partial(m.helper, 2),
    "a bound method": lambda m: m.Model().predict,
    "a method": lambda m: m.Model.predict,
    "a cached function": lambda m: m.cached,
    "a lambda": lambda m: m.double,
    "a vectorised function": lambda m: np.vectorize(m.helper),
    "a default factory": lambda m: defaultdict(m.Model),
    "a generic alias": lambda m: list[m.Model],
    "a property of a library's object": lambda m: types.SimpleNamespace(a=m.Model()),
}


@pytest.mark.parametrize("what", VERSIONED)
def test_a_changed_version_of_code_changes_the_fingerprint(what: str, module: Any) -> None:
    value = VERSIONED[what](module(CODE))
    before = fingerprint_with(value, versions("1"))
    assert before is not None
    assert fingerprint_with(value, versions("1")) == before
    assert fingerprint_with(value, versions("2")) not in (before, None)


@pytest.mark.parametrize("what", [name for name in VERSIONED if "method" not in name])
def test_code_that_is_executed_again_without_a_change_keeps_the_fingerprint(
    what: str, module: Any
) -> None:
    before = fingerprint_with(VERSIONED[what](module(CODE)), versions("1"))
    assert fingerprint_with(VERSIONED[what](module(CODE)), versions("1")) == before


def test_a_sentinel_is_more_than_its_name(module: Any) -> None:
    sentinel = module(CODE).SENTINEL
    before = fingerprint_with(sentinel, versions("1"))
    sentinel.state = 1
    assert fingerprint_with(sentinel, versions("1")) not in (before, None)


def test_functions_bound_by_hand_are_told_apart(module: Any) -> None:
    made = module("""
        class Model: pass
        def one(self): return 1
        def two(self): return 2
        one.__name__ = two.__name__ = "same"
    """)
    model = made.Model()
    bound = [types.MethodType(function, model) for function in (made.one, made.two)]
    one, two = (fingerprint_with(method, versions("1")) for method in bound)
    assert None not in (one, two)
    assert one != two


def test_two_lambdas_of_one_module_are_told_apart(module: Any) -> None:
    made = module("""
        one = lambda x: x + 1
        two = lambda x: x + 2
        three = lambda x, y=1: x + 1
        four = lambda x, y=2: x + 1
    """)
    functions = (made.one, made.two, made.three, made.four)
    prints = {fingerprint_with(function, versions("1")) for function in functions}
    assert len(prints) == 4
    assert None not in prints


def test_what_a_function_has_closed_over_takes_its_fingerprint(module: Any) -> None:
    made = module("""
        import functools
        def make(n):
            def inner(): return n
            def free(): return 1
            class Local: x = n
            return inner, free, lambda: n, Local, Local()
        def decorate(function):
            @functools.wraps(function)
            def wrapper(): return function()
            return wrapper
        @decorate
        def decorated(): return 1
        replaced = decorated
        @decorate
        def decorated(): return 2
    """)
    inner, free, nameless, local, instance = made.make(1)
    for value in (inner, nameless, local, instance, made.replaced):
        assert fingerprint_with(value, versions("1")) is None, value
    assert fingerprint_with(free, versions("1")) is not None
    # The wrapper that the module shows under its name is covered by that name's version.
    assert fingerprint_with(made.decorated, versions("1")) is not None


def test_code_without_a_version_has_a_fingerprint_only_by_its_name(module: Any) -> None:
    made = module("class Model: pass\ndef helper(): pass\nnameless = lambda: 1")
    old = made.Model
    assert fingerprint(made.Model()) is not None
    assert fingerprint(made.helper) is not None
    assert fingerprint(made.nameless) is None
    made.Model = type("Model", (), {"__module__": made.__name__})
    assert fingerprint(old()) is None
    assert fingerprint(made.Model()) is not None


def test_code_of_main_has_no_fingerprint_without_a_version() -> None:
    answers = elsewhere("""
        from hamdev.worker.fingerprint import fingerprint
        class Model: pass
        def helper(): pass
        for value in (Model, Model(), helper, [1]):
            print(fingerprint(value, lambda obj: None) is not None, end=" ")
    """)
    assert answers.split() == ["False", "False", "False", "True"]


# --- what has no fingerprint ---------------------------------------------------------------------


class Treacherous:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class Interrupt(BaseException):
    pass


PanicException = type("PanicException", (BaseException,), {})


def raised() -> ValueError:
    try:
        raise ValueError("a")
    except ValueError as error:
        return error


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def set_in_itself() -> Plain:
    value = Plain(None)
    value.x = {value}
    return value


async def coroutine() -> None:
    pass


def closed_coroutine() -> Any:
    made = coroutine()
    made.close()
    return made


NONE: dict[str, Callable[[Any], Any]] = {
    "generator": lambda _: (x for x in ()),
    "iterator": lambda _: iter([1]),
    "zip": lambda _: zip([1], [2], strict=True),
    "map": lambda _: map(int, "1"),
    "cycle": lambda _: itertools.cycle([1]),
    "file": lambda path: (path / "f").open("w"),
    "lock": lambda _: threading.Lock(),
    "module": lambda _: sys,
    "coroutine": lambda _: closed_coroutine(),
    "code": lambda _: deep.__code__,
    "weak reference": lambda _: weakref.ref(deep),
    "weak dictionary": lambda _: weakref.WeakValueDictionary(),
    "bare object": lambda _: object(),
    "frame": lambda _: sys._getframe(),
    "raised exception": lambda _: raised(),
    "deep": lambda _: deep(),
    "sliding window": lambda _: np.lib.stride_tricks.sliding_window_view(np.zeros(100_000), 50_000),
    "default factory": lambda _: defaultdict(lambda: 1),
    "exception in a hook": lambda _: Treacherous(ValueError()),
    "memory error in a hook": lambda _: Treacherous(MemoryError()),
    "panic in a hook": lambda _: Treacherous(PanicException()),
    "polars object": lambda _: pl.Series([object()], dtype=pl.Object),
    "arrow data set": lambda path: pyarrow.dataset.dataset(parquet(path)),
    "scan of csv": lambda path: pl.scan_csv(parquet(path)),
    "scan of parquet": lambda path: pl.scan_parquet(parquet(path)).filter(pl.col("a") > 1),
    "scan of arrow": lambda path: pl.scan_pyarrow_dataset(pyarrow.dataset.dataset(parquet(path))),
    "expression with Python": lambda _: pl.col("a").map_elements(deep, return_dtype=pl.Int64),
    "plan with map_elements": lambda _: LAZY.select(
        pl.col("a").map_elements(deep, return_dtype=pl.Int64)
    ),
    "plan with map_batches": lambda _: LAZY.select(pl.col("a").map_batches(certain)),
    "plan with a function": lambda _: LAZY.map_batches(certain),
    "plan with groups": lambda _: LAZY.group_by("a").map_groups(
        certain, schema=LAZY.collect_schema()
    ),
    "plan with a fold": lambda _: LAZY.select(pl.fold(pl.lit(0), min, [pl.col("a")])),
    "plan that writes": lambda path: LAZY.sink_csv(path / "out.csv", lazy=True),
}

LAZY = pl.DataFrame({"a": [1, 2]}).lazy()


def parquet(folder: Path) -> Path:
    file = folder / "a.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(file)
    return file


@pytest.mark.parametrize("what", NONE)
def test_no_fingerprint(what: str, tmp_path: Path) -> None:
    value = NONE[what](tmp_path)
    assert fingerprint(value) is None
    assert fingerprint([1, {"a": value}]) is None
    gc.collect()


def test_a_set_that_contains_itself_has_no_fingerprint() -> None:
    assert fingerprint(set_in_itself()) is None


def test_structures_that_contain_themselves_have_one() -> None:
    def ring(last: int) -> list[Any]:
        items: list[Any] = [1, {}]
        items[1]["back"] = items
        items.append(last)
        return items

    assert certain(ring(1)) == certain(ring(1))
    assert certain(ring(1)) != certain(ring(2))


def test_sharing_does_not_multiply_the_work() -> None:
    value: Any = [object]
    keys: Any = frozenset({(1,)})
    for _ in range(60):
        value = [value, value]
        keys = frozenset({keys, (keys, keys)})
    assert fingerprint(value) is not None
    assert fingerprint(keys) is not None


def test_a_handle_to_data_elsewhere_has_no_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    def instance_of_module(name: str) -> Any:
        for parent in (name.partition(".")[0], name):
            monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        made = sys.modules[name]
        exec("class Handle:\n    path = 'a'\nclass Child(Handle): pass", made.__dict__)
        return made.Child()

    for name in ("zarr.core", "dask.dataframe", "fsspec"):
        assert fingerprint(instance_of_module(name)) is None
    assert fingerprint(instance_of_module("zarrlike.core")) is not None


def test_an_interrupt_passes() -> None:
    with pytest.raises(Interrupt):
        fingerprint(Treacherous(Interrupt()))


def test_a_version_that_cannot_be_told_takes_the_fingerprint() -> None:
    def fail(obj: Any) -> str:
        raise KeyError(obj)

    assert fingerprint_with(Plain(1), fail) is None


def test_everything_may_have_a_version() -> None:
    assert fingerprint_with([Plain(1), len, FRAME, certain], lambda obj: "1") is not None


def test_values_are_left_as_they_were() -> None:
    for value in itertools.chain.from_iterable(FAMILIES.values()):
        if hasattr(value, "flags") and isinstance(value, np.ndarray):
            before = (value.tobytes(), str(value.flags))
            certain(value)
            assert (value.tobytes(), str(value.flags)) == before
