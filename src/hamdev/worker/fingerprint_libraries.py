"""What of numpy's, pandas's, Arrow's and Polars's objects goes into a fingerprint.

Their own pickles copy what they hold, and are too exact (which columns share a block, which slice
of a larger buffer this is) or not exact enough (attributes of subclasses, of a lazy plan the file's
name only). Each function here returns what stands for an object: plain data and further objects,
or None to have it pickled after all. No library is imported that user code has not imported.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

from xxhash import xxh3_128

Parts: TypeAlias = tuple[Any, ...]

_CHUNK = 16 * 1024 * 1024
_COPIED_CHUNK = 1024 * 1024
# Numpy's kinds whose memory is their content; others hold pointers.
_RAW_KINDS = frozenset("biufcmMSUV")
# Polars plans that name any of these, or embed a pickle, reach outside the plan.
_PLAN_REACHES_OUT = (
    *(b"Scan", b"Sink", b"Python", b"PLPY", b"Anonymous", b"Ffi", b"Plugin", b"callback"),
    *(b"\x80\x04\x95", b"\x80\x05\x95", b"\xcc\x80\x04\xcc\x95", b"\xcc\x80\x05\xcc\x95"),
)
# What pandas itself keeps in an object's `__dict__`; everything else was put there by someone.
_PANDAS_OWN = frozenset(
    {"_mgr", "_attrs", "_flags", "_typ", "_item_cache", "_cacher", "_is_copy"},
)


class NoFingerprintError(Exception):
    """A value contains something that is never equal to anything."""


class Places(Protocol):
    """Knows the memory of the arrays of one value."""

    def place(self, owner: Any, low: int, high: int) -> tuple[int, int] | None:
        """Tells arrays that share memory from equal ones that do not.

        Args:
            owner: the object whose memory it is.
            low: the first address.
            high: the address after the last.

        Returns:
            Which of the owners met so far, and how far into what was met of it; None if nothing
            between the two addresses was met before.
        """


Rule: TypeAlias = Callable[[Places, Any], Parts | None]


class _Sink(io.RawIOBase):
    """A file whose content goes into a hash."""

    def __init__(self, update: Callable[[Any], None]) -> None:
        self._update = update

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._update(data)
        return memoryview(data).nbytes


def rule_for(kind: type) -> Rule | None:
    """How to take apart objects of this type, if it is one of those libraries'."""
    for module, name, rule in _RULES:
        library = loaded(module, name)
        if library is not None and issubclass(kind, getattr(library, name)):
            return rule
    return None


def loaded(module: str, name: str) -> Any:
    """A module that somebody has imported, once it has that name; else None."""
    found = sys.modules.get(module)
    return found if found is not None and name in vars(found) else None


def hash_of(parts: Iterable[Any]) -> int:
    """A hash of bytes, or of memory, that comes in parts; the cuts between them do not count."""
    result = xxh3_128()
    for part in parts:
        result.update(part)
    return result.intdigest()


def _array(places: Places, array: Any) -> Parts | None:
    numpy: Any = sys.modules["numpy"]
    kind = type(array)
    own = [numpy.ndarray.__reduce__]
    if loaded("numpy", "ma") is not None:
        own.append(numpy.ma.MaskedArray.__reduce__)
    if kind.__reduce__ not in own or kind.__reduce_ex__ is not numpy.ndarray.__reduce_ex__:
        return None
    # Numpy's own pickle forgets what subclasses add, and a memmap's mapping cannot be pickled.
    attributes = {k: v for k, v in getattr(array, "__dict__", {}).items() if k != "_mmap"}
    if "_fill_value" in attributes:
        # None stands for the default until somebody, or a repr, asks for it.
        attributes["_fill_value"] = array.fill_value
    base = array.view(numpy.ndarray)
    content = _content(base) if _is_raw(base.dtype) else base.ravel().tolist()
    flags = base.flags
    seen = (base.shape, flags.c_contiguous, flags.f_contiguous, array.flags.writeable)
    low, high = _extent(base)
    place = places.place(_owner(base, numpy.ndarray), low, high)
    return "array", kind, _dtype(base.dtype), seen, place, content, attributes


def _is_raw(dtype: Any) -> bool:
    return dtype.kind in _RAW_KINDS and not dtype.hasobject


def _dtype(dtype: Any) -> Any:
    # Equal dtypes may be one object or two. Structured ones and those of extensions are more than
    # this text.
    simple = dtype.names is None and dtype.subdtype is None and dtype.metadata is None
    own = type(dtype).__module__.partition(".")[0] == "numpy"
    return dtype.str if simple and own and _is_raw(dtype) else dtype


def _owner(array: Any, ndarray: type) -> Any:
    while isinstance(array, ndarray) and getattr(array, "base", None) is not None:
        array = array.base  # type: ignore[attr-defined]
    return array


def _extent(array: Any) -> tuple[int, int]:
    low: int = array.__array_interface__["data"][0]
    high = low + (array.itemsize if array.size else 0)
    for count, stride in zip(array.shape, array.strides, strict=True):
        if array.size and stride < 0:
            low += (count - 1) * stride
        elif array.size:
            high += (count - 1) * stride
    return low, high


def _content(array: Any) -> Parts:
    """A hash of what an array holds, copying no more than a chunk of it at a time."""
    if 0 in array.strides and array.size:  # repeated by broadcasting, maybe to a huge size
        once = array[tuple(slice(None) if stride else slice(0, 1) for stride in array.strides)]
        if once.size < array.size:
            return "repeated", once.shape, *_content(once)
    low, high = _extent(array)
    if array.nbytes > 4 * (high - low):  # a window that slides over little memory, maybe for hours
        raise NoFingerprintError("an array whose elements overlap")
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return "F", hash_of(_pieces(array.T))
    return "C", hash_of(_pieces(array))


def _pieces(array: Any) -> Iterator[memoryview]:
    """What an array holds, in C order."""
    if array.nbytes == 0:
        return
    if array.flags.c_contiguous:
        flat = memoryview(array.reshape(-1).view("u1"))
        for start in range(0, flat.nbytes, _CHUNK):
            yield flat[start : start + _CHUNK]
    elif array.nbytes <= _COPIED_CHUNK:
        yield from _pieces(array.copy(order="C"))
    elif len(array) == 1:
        yield from _pieces(array[0])
    else:
        rows = max(1, len(array) * _COPIED_CHUNK // array.nbytes)
        for start in range(0, len(array), rows):
            yield from _pieces(array[start : start + rows])


def _pandas(places: Places, frame: Any) -> Parts | None:
    pandas: Any = sys.modules["pandas"]
    kind = type(frame)
    is_frame = issubclass(kind, pandas.DataFrame)
    base = pandas.DataFrame if is_frame else pandas.Series
    hooks = ("__reduce__", "__reduce_ex__", "__getstate__")
    blocks = getattr(getattr(frame, "_mgr", None), "blocks", None)
    if blocks is None or any(getattr(kind, hook) is not getattr(base, hook) for hook in hooks):
        return None
    if is_frame:
        columns: list[Any] = [None] * len(frame.columns)
        for block in blocks:
            numbers = block.mgr_locs.as_array.tolist()
            for number, column in zip(numbers, _columns(block.values), strict=True):
                columns[number] = column
        labels = (frame.columns, frame.index)
        own = _PANDAS_OWN
    else:
        columns = _columns(blocks[0].values)
        labels = (frame.name, frame.index)
        own = _PANDAS_OWN | {"_name"}
    attributes = {k: v for k, v in frame.__dict__.items() if k not in own}
    settings = (frame.attrs, frame.flags.allows_duplicate_labels, attributes)
    return "pandas", kind, columns, labels, settings


def _columns(values: Any) -> list[Any]:
    """One entry for each column of a block, whichever columns happen to share the block."""
    ndarray = sys.modules["numpy"].ndarray
    if isinstance(values, ndarray):
        memory, dtype = values, _dtype(values.dtype)
    elif values.ndim == 2 and isinstance(getattr(values, "_ndarray", None), ndarray):
        # Times, with or without a zone.
        memory = values._ndarray
        dtype = _dtype(memory.dtype) if values.dtype == memory.dtype else values.dtype
    else:
        return [values]
    rows = memory.reshape(1, -1) if memory.ndim == 1 else memory
    if not _is_raw(rows.dtype):
        return [(dtype, row.tolist()) for row in rows]
    if len(rows) > 1 and rows.flags.f_contiguous:
        # Made from a 2-D array. Gathering each column would read all of the memory each time.
        whole = _content(rows)
        return [(dtype, number, whole) for number in range(len(rows))]
    return [(dtype, _content(row)) for row in rows]


def _pandas_arrow(places: Places, array: Any) -> Parts | None:
    return "pandas arrow", type(array), array.dtype, array._pa_array


def _arrow(places: Places, data: Any) -> Parts | None:
    """Arrow's own pickle of a slice holds all of the memory that it is a slice of."""
    arrow: Any = sys.modules["pyarrow"]
    if isinstance(data, arrow.Table | arrow.RecordBatch):
        table = arrow.Table.from_batches([data]) if isinstance(data, arrow.RecordBatch) else data
    else:
        chunked = data if isinstance(data, arrow.ChunkedArray) else arrow.chunked_array([data])
        table = arrow.Table.from_arrays([chunked], [""])
    result = xxh3_128()
    sink = arrow.PythonFile(_Sink(result.update), mode="w")
    with arrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return "arrow", type(data), len(table), result.digest()


def _polars(places: Places, data: Any) -> Parts | None:
    polars: Any = sys.modules["polars"]
    frame = data.to_frame() if isinstance(data, polars.Series) else data
    if any("Object" in str(dtype) for dtype in frame.dtypes):
        raise NoFingerprintError("addresses of Python objects")
    result = xxh3_128()
    newest = polars.CompatLevel.newest()
    frame.write_ipc_stream(_Sink(result.update), compression="uncompressed", compat_level=newest)
    attributes = {k: v for k, v in vars(data).items() if k not in ("_df", "_s", "_accessors")}
    return "polars", type(data), frame.shape, result.digest(), attributes


def _polars_plan(places: Places, plan: Any) -> Parts | None:
    """A plan over values that it holds itself; files and Python functions change without it."""
    state = plan.__getstate__()
    text = state.replace(b"DataFrameScan", b"")
    if any(sign in text for sign in _PLAN_REACHES_OUT):
        raise NoFingerprintError("a plan that reads files or calls Python")
    return "polars plan", type(plan), state


_RULES: list[tuple[str, str, Rule]] = [
    ("numpy", "ndarray", _array),
    ("pandas", "DataFrame", _pandas),
    ("pandas", "Series", _pandas),
    ("pandas.arrays", "ArrowExtensionArray", _pandas_arrow),
    ("pyarrow", "Table", _arrow),
    ("pyarrow", "RecordBatch", _arrow),
    ("pyarrow", "ChunkedArray", _arrow),
    ("pyarrow", "Array", _arrow),
    ("polars", "DataFrame", _polars),
    ("polars", "Series", _polars),
    ("polars", "LazyFrame", _polars_plan),
    ("polars", "Expr", _polars_plan),
]
