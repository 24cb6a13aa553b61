"""A value as bytes in a format that other programs read."""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from hamdev.errors import HamdevError
from hamdev.worker.values.pictures import is_picture, missing_converter, png_of

BINARY = frozenset({"parquet", "arrow", "pickle", "png"})
MEDIA_TYPES = {
    "text": "text/plain; charset=utf-8",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.file",
    "pickle": "application/x-python-pickle",
    "png": "image/png",
}
ENDINGS = {"text": "txt"}


class NoSuchFormatError(HamdevError, ValueError):
    """The value cannot be given in the wanted format.

    Attributes:
        formats: those in which it can.
    """

    def __init__(self, wanted: str, value: Any, formats: list[str], reason: str = "") -> None:
        self.formats = formats
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"a value of type {kind} cannot be given as {wanted!r}{why}; "
            f"possible: {', '.join(formats)}"
        )


class _Unfit(Exception):
    """The value has no such form; the text says why."""


def render(value: Any, format: str) -> tuple[bytes, str]:
    """`value` in a format, and the format's media type.

    Args:
        value: any value of a node.
        format: one of `MEDIA_TYPES`.

    Raises:
        NoSuchFormatError: the value does not allow this format; it lists those that it allows.
    """
    if format not in _MAKERS:
        raise NoSuchFormatError(format, value, available(value), "there is no such format")
    try:
        return _MAKERS[format](value), MEDIA_TYPES[format]
    except Exception as error:
        reason = str(error) if isinstance(error, _Unfit) else repr(error)
        others = [f for f in available(value) if f != format]
        raise NoSuchFormatError(format, value, others, reason) from error


def available(value: Any) -> list[str]:
    """The formats that a value of this type allows, going by its type alone."""
    formats = ["text", "json"]
    if _library(value) in ("pandas", "polars", "pyarrow") and _is_table(value):
        formats.append("csv")
        if "pyarrow" in sys.modules or _can_import("pyarrow"):
            formats += ["parquet", "arrow"]
    formats.append("pickle")
    if is_picture(value):
        formats.append("png")
    return formats


def _text(value: Any) -> bytes:
    if _library(value) == "pandas" and hasattr(value, "to_string"):
        return str(value.to_string(max_rows=60)).encode()
    return str(value).encode("utf-8", errors="backslashreplace")


def _json(value: Any) -> bytes:
    import msgspec

    try:
        return msgspec.json.encode(_plain(value), enc_hook=_plain_object, order=None)
    except (TypeError, ValueError, NotImplementedError, RecursionError, OverflowError) as error:
        raise _Unfit(str(error)) from None


def _plain(value: Any) -> Any:
    """`value` without what msgspec would refuse or what JSON cannot tell."""
    match value:
        case dict():
            return {_key(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            if hasattr(value, "_asdict"):
                return {key: _plain(item) for key, item in value._asdict().items()}
            return [_plain(item) for item in value]
        case bool() | str() | None:
            return value
        case int():
            return int(value)
        case float():
            return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: _plain(getattr(value, f.name)) for f in fields}
    if _library(value) in ("pandas", "polars", "pyarrow", "numpy"):
        return _plain_object(value)
    return value


def _plain_object(value: Any) -> Any:
    library = _library(value)
    if library == "pandas":
        return _plain_pandas(value)
    if library == "polars":
        return _plain(value.to_dicts() if hasattr(value, "to_dicts") else value.to_list())
    if library == "pyarrow" and hasattr(value, "to_pylist"):
        return _plain(value.to_pylist())
    if library == "pyarrow" and hasattr(value, "as_py"):
        return _plain(value.as_py())
    if library == "numpy":
        if value.dtype.kind in "mM":
            return _plain(value.astype(str).tolist())
        return _plain(value.tolist())
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, range | deque):
        return list(value)
    if isinstance(value, Mapping):
        return _plain(dict(value))
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise NotImplementedError(f"{type(value).__qualname__} has no JSON")


def _plain_pandas(value: Any) -> Any:
    import pandas

    if isinstance(value, pandas.DataFrame):
        table = value if _has_plain_index(value) else _with_index(value)
        return [
            {str(key): _plain(_scalar(cell)) for key, cell in row.items()}
            for row in table.to_dict(orient="records")
        ]
    if isinstance(value, pandas.Series):
        if _has_plain_index(value):
            return [_plain(_scalar(cell)) for cell in value.tolist()]
        if value.index.is_unique and value.index.nlevels == 1:
            cells = zip(value.index, value.tolist(), strict=True)
            return {_key(key): _plain(_scalar(cell)) for key, cell in cells}
        name = value.name if value.name is not None else "value"
        return _plain_pandas(_with_index(value.to_frame(name)))
    if isinstance(value, pandas.Index):
        return [_plain(_scalar(cell)) for cell in value.tolist()]
    return _scalar(value)


def _with_index(table: Any) -> Any:
    names = [
        name if name is not None else ("index" if table.index.nlevels == 1 else f"level_{number}")
        for number, name in enumerate(table.index.names)
    ]
    taken = set(table.columns)
    free = [name if name not in taken else f"{name}_index" for name in names]
    return table.rename_axis(index=free).reset_index()


def _has_plain_index(value: Any) -> bool:
    import pandas

    return type(value.index) is pandas.RangeIndex and value.index.name is None


def _scalar(value: Any) -> Any:
    import pandas

    if value is pandas.NA or value is pandas.NaT:
        return None
    if isinstance(value, pandas.Timestamp):
        return value.isoformat()
    if isinstance(value, pandas.Timedelta | pandas.Period | pandas.Interval):
        return str(value)
    return value


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if hasattr(key, "isoformat"):
        return str(key.isoformat())
    return str(key)


def _csv(value: Any) -> bytes:
    if not _is_table(value):
        raise _Unfit("it is no table")
    match _library(value):
        case "pandas":
            return str(value.to_csv(index=not _has_plain_index(value))).encode()
        case "polars":
            table = value if hasattr(value, "write_csv") else value.to_frame()
            return str(table.write_csv()).encode()
    import pyarrow.csv

    sink = io.BytesIO()
    pyarrow.csv.write_csv(value, sink)
    return sink.getvalue()


def _arrow_table(value: Any) -> Any:
    if not _is_table(value):
        raise _Unfit("it is no table")
    try:
        import pyarrow
    except ImportError:
        raise _Unfit("it needs pyarrow: pip install 'hamdev[arrow]'") from None
    match _library(value):
        case "pandas":
            if not hasattr(value, "columns"):
                value = value.to_frame(value.name if value.name is not None else "value")
            named = value.rename(columns=str)
            return pyarrow.Table.from_pandas(named, preserve_index=not _has_plain_index(value))
        case "polars":
            return (value if hasattr(value, "columns") else value.to_frame()).to_arrow()
    return value


def _parquet(value: Any) -> bytes:
    table = _arrow_table(value)
    import pyarrow.parquet

    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


def _arrow(value: Any) -> bytes:
    table = _arrow_table(value)
    import pyarrow

    sink = io.BytesIO()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _pickle(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise _Unfit(str(error)) from None


def _png(value: Any) -> bytes:
    if package := missing_converter(value):
        raise _Unfit(f"it needs {package}: pip install {package}")
    try:
        picture = png_of(value)
    except Exception as error:
        raise _Unfit(str(error) or repr(error)) from error
    if picture is None:
        raise _Unfit("it is no picture")
    return picture


def _library(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _is_table(value: Any) -> bool:
    return type(value).__name__ in ("DataFrame", "Series", "Table", "RecordBatch", "GeoDataFrame")


def _can_import(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


_MAKERS: dict[str, Callable[[Any], bytes]] = {
    "text": _text,
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
    "arrow": _arrow,
    "pickle": _pickle,
    "png": _png,
}
