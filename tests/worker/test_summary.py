"""A value in a few lines, whatever it is and whatever its own methods do."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

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


def test_it_does_not_change_the_value() -> None:
    def values() -> Any:
        raise AssertionError("consumed")
        yield

    summarize(values())
    frame = pd.DataFrame({"a": [2, 1]})
    before = frame.copy()
    summarize(frame)
    pd.testing.assert_frame_equal(frame, before)
