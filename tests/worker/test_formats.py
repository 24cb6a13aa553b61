"""Every kind of value in every format that it allows."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import io
import json
import pathlib
import pickle
import shutil
import subprocess
import sys
import uuid
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from hamdev.worker.formats import MEDIA_TYPES, NoSuchFormatError, available, render


@dataclasses.dataclass
class Point:
    x: int
    inner: Any = None


class Color(enum.Enum):
    RED = "red"


Pair = collections.namedtuple("Pair", "left right")


class Odd:
    def __str__(self) -> str:
        return "odd"


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle")


DAY = datetime.datetime(2026, 1, 2, 3, 4, 5)
AS_JSON = {
    "none": (None, None),
    "bool": (True, True),
    "int": (7, 7),
    "large int": (2**80, 2**80),
    "float": (1.5, 1.5),
    "nan": (float("nan"), None),
    "infinity": ([float("inf"), -float("inf")], [None, None]),
    "text": ("ä\n\0", "ä\n\0"),
    "list": ([1, [2, (3,)]], [1, [2, [3]]]),
    "set": ({1}, [1]),
    "keys": (
        {1: "a", None: "b", (1, 2): "c", DAY: "d", 1.5: "e"},
        {"1": "a", "None": "b", "(1, 2)": "c", "2026-01-02T03:04:05": "d", "1.5": "e"},
    ),
    "dates": ([DAY, DAY.date(), DAY.time()], ["2026-01-02T03:04:05", "2026-01-02", "03:04:05"]),
    "dataclass": (Point(1, {"p": Point(2)}), {"x": 1, "inner": {"p": {"x": 2, "inner": None}}}),
    "named tuple": (Pair(1, Point(2)), {"left": 1, "right": {"x": 2, "inner": None}}),
    "default dict": (collections.defaultdict(list, a=[1]), {"a": [1]}),
    "deque": (collections.deque([1, 2]), [1, 2]),
    "enum": (Color.RED, "red"),
    "decimal": (decimal.Decimal("1.10"), "1.10"),
    "uuid": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "path": (pathlib.PurePosixPath("/a"), "/a"),
    "range": (range(3), [0, 1, 2]),
    "bytes": (b"\x00\xff", "AP8="),
    "numpy scalar": (np.float64(1.5), 1.5),
    "numpy integer": ({"n": np.int64(3), "b": np.bool_(True)}, {"n": 3, "b": True}),
    "numpy array": (np.array([[1.0, np.nan], [2.0, np.inf]]), [[1.0, None], [2.0, None]]),
    "numpy dates": (np.array(["2026-01-02"], dtype="datetime64[D]"), ["2026-01-02"]),
    "numpy objects": (np.array([{"a": np.int64(1)}], dtype=object), [{"a": 1}]),
    "numpy nothing": (np.array([]), []),
    "series": (pd.Series([1, 2, 3]), [1, 2, 3]),
    "series with nan": (pd.Series([1.0, None]), [1.0, None]),
    "series by name": (pd.Series({"a": 1, "b": 2}), {"a": 1, "b": 2}),
    "series by date": (pd.Series([1], index=[pd.Timestamp(DAY)]), {"2026-01-02T03:04:05": 1}),
    "series of dates": (pd.Series([pd.Timestamp(DAY), pd.NaT]), ["2026-01-02T03:04:05", None]),
    "series with doubles": (
        pd.Series([1, 2], index=["a", "a"], name="n"),
        [{"index": "a", "n": 1}, {"index": "a", "n": 2}],
    ),
    "frame": (
        pd.DataFrame({"a": [1, 2], "b": [1.5, None]}),
        [{"a": 1, "b": 1.5}, {"a": 2, "b": None}],
    ),
    "frame by name": (
        pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="key")),
        [{"key": "x", "a": 1}],
    ),
    "frame by two names": (
        pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([("x", 1)], names=["k", None])),
        [{"k": "x", "level_1": 1, "a": 1}],
    ),
    "frame whose index is a column": (
        pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="a")),
        [{"a_index": "x", "a": 1}],
    ),
    "frame with all kinds": (
        pd.DataFrame(
            {
                "t": [pd.Timestamp(DAY)],
                "d": [pd.Timedelta(days=1)],
                "c": pd.Categorical(["x"]),
                "n": pd.array([None], dtype="Int64"),
                "o": [{"a": [1]}],
                3: [np.float32(0.5)],
            }
        ),
        [
            {
                "t": "2026-01-02T03:04:05",
                "d": "1 days 00:00:00",
                "c": "x",
                "n": None,
                "o": {"a": [1]},
                "3": 0.5,
            }
        ],
    ),
    "frame without rows": (pd.DataFrame({"a": []}), []),
    "frame in a dict": ({"f": pd.DataFrame({"a": [1]})}, {"f": [{"a": 1}]}),
    "frame in a list": ([pd.Series([1])], [[1]]),
    "index": (pd.Index(["a", "b"]), ["a", "b"]),
    "timestamp": (pd.Timestamp(DAY), "2026-01-02T03:04:05"),
    "missing": ([pd.NA, pd.NaT], [None, None]),
    "period": (pd.Period("2026-01"), "2026-01"),
}


@pytest.mark.parametrize("kind", AS_JSON)
def test_json(kind: str) -> None:
    value, expected = AS_JSON[kind]
    content, media_type = render(value, "json")
    assert media_type == "application/json"
    assert json.loads(content) == expected
    assert b"NaN" not in content
    assert b"Infinity" not in content


@pytest.mark.parametrize("kind", AS_JSON)
def test_every_value_has_text_and_most_a_pickle(kind: str) -> None:
    value, _ = AS_JSON[kind]
    content, media_type = render(value, "text")
    assert media_type.startswith("text/plain")
    content.decode()
    pickle.loads(render(value, "pickle")[0])
    assert {"text", "json", "pickle"} <= {*available(value)}


def test_a_text_is_itself() -> None:
    assert render("ä\n", "text")[0] == "ä\n".encode()
    assert render("\udcff", "text")[0]  # a file name that is no UTF-8
    assert render("\ud800", "text")[0]  # half a character


@pytest.mark.parametrize(
    "value",
    [Odd(), [Odd()], {"a": {1: Odd()}}, 1j, object, lambda: 1, "\ud800"],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_json_says_so(value: Any) -> None:
    with pytest.raises(NoSuchFormatError) as failure:
        render(value, "json")
    assert "json" not in failure.value.formats
    assert "text" in failure.value.formats
    assert type(value).__qualname__ in str(failure.value)


def test_endless_values_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NoSuchFormatError):
        render(endless, "json")
    assert render(endless, "text")[0] == b"[[...]]"


def test_a_value_whose_methods_raise() -> None:
    for format in MEDIA_TYPES:
        with pytest.raises(NoSuchFormatError) as failure:
            render(Broken(), format)
        assert format not in failure.value.formats


def test_unknown_formats() -> None:
    with pytest.raises(NoSuchFormatError) as failure:
        render(1, "xlsx")
    assert failure.value.formats == ["text", "json", "pickle"]


FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y,z"]})


def test_csv() -> None:
    assert render(FRAME, "csv")[0] == b'a,b\n1,x\n2,"y,z"\n'
    keyed = FRAME.set_index("b")
    assert render(keyed, "csv")[0] == b'b,a\nx,1\n"y,z",2\n'
    assert render(FRAME["a"], "csv")[0] == b"a\n1\n2\n"
    for value in (1, [1], {"a": 1}, "text", np.array([1])):
        with pytest.raises(NoSuchFormatError) as failure:
            render(value, "csv")
        assert failure.value.formats == ["text", "json", "pickle"]


def test_pickle_is_the_value() -> None:
    assert pickle.loads(render({1: Point(2)}, "pickle")[0]) == {1: Point(2)}
    pd.testing.assert_frame_equal(pickle.loads(render(FRAME, "pickle")[0]), FRAME)
    with pytest.raises(NoSuchFormatError, match="pickle"):
        render(lambda: 1, "pickle")


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_tables_for_other_programs(format: str) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.ipc
    import pyarrow.parquet

    def read(content: bytes) -> Any:
        if format == "parquet":
            return pyarrow.parquet.read_table(io.BytesIO(content)).to_pandas()
        return pyarrow.ipc.open_file(io.BytesIO(content)).read_all().to_pandas()

    for value in (FRAME, FRAME.set_index("b"), FRAME.rename(columns={"a": 3})):
        back = read(render(value, format)[0])
        pd.testing.assert_frame_equal(back, value.rename(columns=str))
    assert read(render(FRAME["a"], format)[0])["a"].tolist() == [1, 2]
    with pytest.raises(NoSuchFormatError):
        render(pd.DataFrame({"a": [1, "x"]}), format)


class Drawn:
    def _repr_png_(self) -> bytes:
        return b"\x89PNG"


def test_pictures() -> None:
    assert render(Drawn(), "png") == (b"\x89PNG", "image/png")
    assert "png" in available(Drawn())
    with pytest.raises(NoSuchFormatError):
        render(FRAME, "png")


def test_figures() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.subplots().plot([1, 2])
    assert render(figure, "png")[0].startswith(b"\x89PNG")
    assert render(figure.axes[0], "png")[0].startswith(b"\x89PNG")


def test_charts_of_altair() -> None:
    chart = alt.Chart(pd.DataFrame({"a": [1, 2]})).mark_bar().encode(x="a")
    assert "png" in available(chart)
    assert render(chart, "png")[0].startswith(b"\x89PNG")


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.mark.skipif(
    not any(map(shutil.which, BROWSERS)), reason="plotly draws with a browser, and there is none"
)
def test_figures_of_plotly() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
    assert "png" in available(figure)
    assert render(figure, "png")[0].startswith(b"\x89PNG")


def test_what_has_to_be_installed_for_a_picture_is_said() -> None:
    script = """
import sys
sys.modules["kaleido"] = sys.modules["vl_convert"] = None  # as if they were not installed
import altair, plotly.graph_objects
from hamdev.worker.formats import NoSuchFormatError, available, render
from hamdev.worker.summary import summarize
for value in (plotly.graph_objects.Figure(), altair.Chart()):
    assert "png" not in available(value), available(value)
    assert not summarize(value).picture
    try:
        render(value, "png")
    except NoSuchFormatError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    figure, chart = done.stdout.splitlines()
    assert "(it needs kaleido: pip install kaleido); possible: text" in figure
    assert "(it needs vl-convert-python: pip install vl-convert-python); possible: text" in chart


def test_a_long_frame_has_a_short_text() -> None:
    text = render(pd.DataFrame({"a": range(100_000)}), "text")[0].decode()
    assert len(text.splitlines()) < 100
