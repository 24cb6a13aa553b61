"""A value as one short text, within bounds whatever the value is.

Containers, tables and objects that have no text of their own are written here, so that a huge one
costs no more than a small one. Everything else says itself what it is, in its `repr`, which is the
user's code: it may raise, never end, or take its time.
"""

from __future__ import annotations

import collections
import datetime
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from types import CodeType
from typing import Any

from hamdev.worker.values.parts import Parts, parts_of, state_of
from hamdev.worker.values.registry import library_of, qualified_name
from hamdev.worker.values.statistics import time_text
from hamdev.worker.values.tables import table_of
from hamdev.worker.values.words import by, clipped, without_addresses

MAX_ITEMS = 20
MAX_CELL = 40
_DEPTH = 4
_MAX_STRING = 500
_MAX_INT_BITS = 700
_SLOW_S = 0.1

# Types whose own text took long: of a second such value it is not asked again.
_slow: weakref.WeakSet[type] = weakref.WeakSet()


def user_code_callers() -> list[CodeType]:
    """The functions here that call a value's own code, which a cancelled run may end."""
    return [_own_text.__code__]


def shown(value: Any, limit: int) -> str:
    """`value` in at most `limit` characters."""
    writer = _Writer(limit)
    try:
        writer.write(value, _DEPTH)
    except _FullError:
        pass
    return clipped("".join(writer.parts), limit)


class _FullError(Exception):
    """There is no room for more."""


class _Writer:
    def __init__(self, room: int) -> None:
        self.parts: list[str] = []
        self._room = room

    def add(self, text: str) -> None:
        self.parts.append(text)
        self._room -= len(text)
        if self._room < 0:
            raise _FullError

    def write(self, value: Any, level: int) -> None:
        write = _EXACT.get(type(value))
        if write is not None:
            write(self, value, level)
        else:
            self._write_other(value, level)

    def sequence(self, items: Iterable[Any], ends: Sequence[str], count: int, level: int) -> None:
        self.add(ends[0])
        if level <= 0 and count:
            self.add("…")
        else:
            for number, item in enumerate(islice(items, MAX_ITEMS)):
                self.add(", " if number else "")
                self.write(item, level - 1)
            self.add(", …" if count > MAX_ITEMS else "")
        self.add(ends[1])

    def mapping(self, items: Mapping[Any, Any], level: int) -> None:
        self.add("{")
        if level <= 0 and items:
            self.add("…")
        else:
            # In the order of the dict itself, which means something.
            for number, (key, item) in enumerate(islice(items.items(), MAX_ITEMS)):
                self.add(", " if number else "")
                self.write(key, level - 1)
                self.add(": ")
                self.write(item, level - 1)
            self.add(", …" if len(items) > MAX_ITEMS else "")
        self.add("}")

    def object(self, parts: Parts, level: int) -> None:
        self.add(f"{parts.name}(")
        named = [(n, part) for n, part in parts.items.items() if n not in parts.hidden]
        if level <= 0 and named:
            self.add("…")
        else:
            for number, (name, part) in enumerate(named[:MAX_ITEMS]):
                self.add(f", {name}=" if number else f"{name}=")
                self.write(part, level - 1)
            self.add(", …" if len(named) > MAX_ITEMS else "")
        self.add(f"), {parts.note}" if parts.note and level == _DEPTH else ")")

    def _write_other(self, value: Any, level: int) -> None:
        kind = type(value)
        library = library_of(kind)
        if (table := table_of(value)) is not None:
            return self.add(f"{table.kind} {by(table.shape)}")
        if library == "pandas" and not hasattr(value, "shape"):
            # A moment, a period, NA.
            return self.add(clipped(without_addresses(str(value)), _MAX_STRING))
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray):
            return self.add(array_text(value))
        if numpy is not None and isinstance(value, numpy.generic) and library == "numpy":
            return self.add(_numpy_scalar(value))
        own: Any = kind.__repr__
        for base, write in _SUBCLASSED:
            if isinstance(value, base) and (own is base.__repr__ or library == "collections"):
                self.add(f"{kind.__name__}(")
                write(self, value, level)
                return self.add(")")
        if not _is_written_by_user(own):
            parts = parts_of(value)
            if parts is None and own is object.__repr__:
                parts = state_of(value)
            if parts is not None:
                return self.object(parts, level)
        if own is object.__repr__:
            return self.add(f"<{qualified_name(kind)}>")
        return self.add(clipped(without_addresses(_own_text(value)), _MAX_STRING))


def _own_text(value: Any) -> str:
    kind = type(value)
    if kind in _slow:
        return f"<{kind.__qualname__}, whose repr is too slow to be shown>"
    started = time.perf_counter()
    try:
        return repr(value)
    except Exception as error:  # what stands beside it has a text all the same
        return f"<{kind.__qualname__}, whose repr raised {type(error).__name__}>"
    finally:
        if time.perf_counter() - started > _SLOW_S:
            _slow.add(kind)


def _is_written_by_user(own: Any) -> bool:
    """Whether a `repr` is neither generated nor a library's, which may be slow with large parts."""
    code = getattr(getattr(own, "__wrapped__", own), "__code__", None)
    if code is None or code.co_filename.startswith("<"):
        return False
    module = getattr(own, "__module__", "")
    return str(module).partition(".")[0] not in _LIBRARIES


# Their texts are long, or take long; the parts of their values say more.
_LIBRARIES = frozenset(
    {"pydantic", "sklearn", "attr", "attrs", "msgspec", "scipy", "matplotlib", "plotly", "altair"}
) | {"polars", "collections", "PIL", "seaborn"}


def array_text(array: Any, items: int = 10) -> str:
    """`float64 array 3 × 4: [0.0, 1.0, …]`."""
    if array.ndim == 0:
        return f"{array.dtype} array: {shown(array.item(), 100)}"
    first = array.flat[: items + 1].tolist()
    listed = ", ".join(cell_text(item) for item in first[:items])
    more = ", …" if array.size > items else ""
    return f"{array.dtype} array {by(array.shape)}: [{listed}{more}]"


def cell_text(value: Any) -> str:
    """What is in one cell of a table or an array, in at most 40 characters."""
    if isinstance(value, str):
        return clipped(value, MAX_CELL)
    if isinstance(value, float):
        exact = str(value)
        return exact if len(exact) <= 10 else f"{value:.6g}"
    if type(value).__module__ == "numpy" and getattr(value, "dtype", None) is not None:
        return time_text(value) if value.dtype.kind in "mM" else str(value)[:MAX_CELL]
    return shown(value, MAX_CELL)


def _numpy_scalar(value: Any) -> str:
    item = value.item() if value.dtype.kind in "biufcUS" else None
    return shown(item, 100) if item is not None else str(value)


def _write_str(writer: _Writer, text: str, level: int) -> None:
    # A text's beginning says more than its beginning and its end.
    short = repr(text) if len(text) <= _MAX_STRING else repr(text[:_MAX_STRING]) + "…"
    writer.add(short)


def _write_bytes(writer: _Writer, data: bytes, level: int) -> None:
    short = repr(data) if len(data) <= 100 else f"{data[:100]!r}… ({len(data):,} bytes)"
    writer.add(short)


def _write_int(writer: _Writer, value: int, level: int) -> None:
    bits = value.bit_length()
    writer.add(repr(value) if bits <= _MAX_INT_BITS else f"an int of {bits:,} bits")


def _write_plain(writer: _Writer, value: Any, level: int) -> None:
    writer.add(repr(value))


def _write_type(writer: _Writer, value: Any, level: int) -> None:
    writer.add(f"<class '{qualified_name(value)}'>")


def _write_list(writer: _Writer, items: list[Any], level: int) -> None:
    writer.sequence(items, "[]", len(items), level)


def _write_tuple(writer: _Writer, items: tuple[Any, ...], level: int) -> None:
    writer.sequence(items, ("(", ",)" if len(items) == 1 else ")"), len(items), level)


def _write_set(writer: _Writer, items: set[Any] | frozenset[Any], level: int) -> None:
    if not items:
        return writer.add(repr(items))
    few: Any = items
    if len(items) <= 1000 and {*map(type, items)} in ({str}, {int}, {float}, {int, float}):
        few = sorted(items)
    if isinstance(items, frozenset):
        writer.add("frozenset(")
    writer.sequence(few, "{}", len(items), level)
    if isinstance(items, frozenset):
        writer.add(")")
    return None


def _write_dict(writer: _Writer, items: dict[Any, Any], level: int) -> None:
    writer.mapping(items, level)


def _write_deque(writer: _Writer, items: collections.deque[Any], level: int) -> None:
    writer.add("deque(")
    writer.sequence(items, "[]", len(items), level)
    writer.add(")")


def _write_text(writer: _Writer, value: Any, level: int) -> None:
    writer.add(str(value))


_Write = Callable[[_Writer, Any, int], None]
_EXACT: dict[type, _Write] = {
    str: _write_str,
    bytes: _write_bytes,
    int: _write_int,
    bool: _write_plain,
    float: _write_plain,
    complex: _write_plain,
    type(None): _write_plain,
    range: _write_plain,
    list: _write_list,
    tuple: _write_tuple,
    dict: _write_dict,
    set: _write_set,
    frozenset: _write_set,
    type: _write_type,
    collections.deque: _write_deque,
    datetime.date: _write_text,
    datetime.datetime: _write_text,
    datetime.time: _write_text,
    datetime.timedelta: _write_text,
}
_SUBCLASSED: list[tuple[type, _Write]] = [
    (dict, _write_dict),
    (list, _write_list),
    (set, _write_set),
    (frozenset, _write_set),
]
