"""Some rows of a table: read from the value where it lies, never the whole of it."""

from __future__ import annotations

import dataclasses
import reprlib
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from hamdev.messages import ReadRows, RowsRead
from hamdev.wire import to_json
from hamdev.worker.answering import GivenUp
from hamdev.worker.formats import available
from hamdev.worker.keeping import Keeping
from hamdev.worker.memory import Memory

MAX_ROWS = 1000
MAX_COLUMNS = 200
MAX_CELL = 200
MAX_BYTES = 512 * 1024
# So many items tell whether a list is a table.
_SAMPLED = 100
# What a cell is cut to if one row alone is too long.
_SHORT_CELL = 40


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """A value as rows; only `cells` looks at the values themselves.

    Attributes:
        total: how many rows there are.
        columns: names of those that are given.
        types: of each of these.
        columns_total: how many there are.
        cells: (offset, limit) → the values in these rows.
    """

    total: int
    columns: Sequence[Any]
    types: Sequence[str]
    columns_total: int
    cells: Callable[[int, int], Iterable[Sequence[Any]]]


def rows_read(question: ReadRows, memory: Memory, keeping: Keeping) -> RowsRead:
    """The rows that are asked for, or why there are none; it never raises."""
    remembered = memory.get(question.pipeline, question.node)
    if remembered is None or not keeping.load(remembered):
        return RowsRead(request=question.request, missing=True)
    value = remembered.value
    try:
        table = as_table(value)
        if table is None:
            kind = type(value).__qualname__
            text = f"a value of type {kind} has no rows to show"
            return RowsRead(request=question.request, formats=available(value), error=text)
        answer = RowsRead(
            request=question.request,
            revision=remembered.revision,
            run=remembered.run,
            total=table.total,
            columns=[_column_name(name) for name in table.columns],
            columns_total=table.columns_total,
            types=[_clipped(kind, MAX_CELL) for kind in table.types],
        )
        limit = min(question.limit, MAX_ROWS)
        rows = [
            [cell_text(cell) for cell in row]
            for row in (table.cells(question.offset, limit) if limit else ())
        ]
    except BaseException as error:
        text = f"the rows cannot be given: {described(error)}"
        return RowsRead(request=question.request, formats=available(value), error=text)
    return _bounded(answer, rows)


def _bounded(answer: RowsRead, rows: list[list[str]]) -> RowsRead:
    """`answer` with as many of `rows` as there is room for, but one at least."""
    room = MAX_BYTES - len(to_json(answer))
    given: list[list[str]] = []
    for row in rows:
        room -= len(to_json(row)) + 1
        if room < 0 and given:
            break
        if room < 0:
            row = [_clipped(cell, _SHORT_CELL) for cell in row]
        given.append(row)
    return msgspec.structs.replace(answer, rows=given)


def as_table(value: Any) -> Table | None:
    """`value` as rows; None if it has none.

    No library is imported for it: a value can only be a frame of a library that is loaded.
    """
    for library, function in _LIBRARIES.items():
        # One that is being imported at this moment may not have all of its names yet.
        if (module := sys.modules.get(library)) is not None:
            found: Table | None = function(value, module)
            if found is not None:
                return found
    return _plain_table(value)


# -- tables of libraries -------------------------------------------------------------------------


def _pandas(value: Any, pandas: Any) -> Table | None:
    if isinstance(value, pandas.DataFrame):
        width = value.shape[1]
        shown = min(width, MAX_COLUMNS - 1)

        def cells(offset: int, limit: int) -> Iterable[Sequence[Any]]:
            part = value.iloc[offset : offset + limit, :shown]
            columns = [part.iloc[:, number].tolist() for number in range(shown)]
            return zip(_labels(part.index), *columns, strict=True)

        dtypes = [str(value.dtypes.iloc[number]) for number in range(shown)]
        return Table(
            total=len(value),
            columns=[_index_name(value.index), *value.columns[:shown]],
            types=[str(value.index.dtype), *dtypes],
            columns_total=width + 1,
            cells=cells,
        )
    if isinstance(value, pandas.Series):
        name = "" if value.name is None else value.name
        return Table(
            total=len(value),
            columns=[_index_name(value.index), name],
            types=[str(value.index.dtype), str(value.dtype)],
            columns_total=2,
            cells=lambda offset, limit: zip(
                _labels(value.index[offset : offset + limit]),
                value.iloc[offset : offset + limit].tolist(),
                strict=True,
            ),
        )
    if isinstance(value, pandas.Index):
        return _numbered(value, str(value.dtype), lambda part: part.tolist())
    if isinstance(value, pandas.api.extensions.ExtensionArray):
        return _numbered(value, str(value.dtype), list)
    return None


def _labels(index: Any) -> list[Any]:
    labels: list[Any] = index.tolist()
    return labels


def _index_name(index: Any) -> Any:
    if index.nlevels > 1:
        return tuple("" if name is None else name for name in index.names)
    return "" if index.name is None else index.name


def _polars(value: Any, polars: Any) -> Table | None:
    if isinstance(value, polars.DataFrame):
        columns = value.columns[:MAX_COLUMNS]
        return Table(
            total=value.height,
            columns=columns,
            types=[str(kind) for kind in value.dtypes[:MAX_COLUMNS]],
            columns_total=value.width,
            cells=lambda offset, limit: value[:, : len(columns)].slice(offset, limit).rows(),
        )
    if isinstance(value, polars.Series):
        kind = str(value.dtype)
        return Table(
            total=len(value),
            columns=["index", value.name or "value"],
            types=["int", kind],
            columns_total=2,
            cells=lambda offset, limit: enumerate(value.slice(offset, limit).to_list(), offset),
        )
    return None


def _pyarrow(value: Any, pyarrow: Any) -> Table | None:
    if isinstance(value, pyarrow.Table | pyarrow.RecordBatch):
        fields = list(value.schema)[:MAX_COLUMNS]

        def cells(offset: int, limit: int) -> Iterable[Sequence[Any]]:
            part = value.slice(offset, limit)
            if not fields:
                return [()] * part.num_rows
            # By position: names may occur twice.
            return zip(*(part.column(n).to_pylist() for n in range(len(fields))), strict=True)

        return Table(
            total=value.num_rows,
            columns=[field.name for field in fields],
            types=[str(field.type) for field in fields],
            columns_total=value.num_columns,
            cells=cells,
        )
    if isinstance(value, pyarrow.ChunkedArray | pyarrow.Array):
        return Table(
            total=len(value),
            columns=["index", "value"],
            types=["int", str(value.type)],
            columns_total=2,
            cells=lambda offset, limit: enumerate(value.slice(offset, limit).to_pylist(), offset),
        )
    return None


def _numpy(value: Any, numpy: Any) -> Table | None:
    if not isinstance(value, numpy.ndarray) or value.ndim == 0:
        return None
    kind = str(value.dtype)
    if value.dtype.names and value.ndim == 1:
        names = value.dtype.names[: MAX_COLUMNS - 1]

        def records(offset: int, limit: int) -> Iterable[Sequence[Any]]:
            part = value[offset : offset + limit]
            return zip(
                range(offset, offset + len(part)), *(list(part[n]) for n in names), strict=True
            )

        return Table(
            total=len(value),
            columns=["index", *names],
            types=["int", *(str(value.dtype[name]) for name in names)],
            columns_total=len(value.dtype.names) + 1,
            cells=records,
        )
    if value.ndim == 2:
        width = min(value.shape[1], MAX_COLUMNS - 1)

        def cells(offset: int, limit: int) -> Iterable[Sequence[Any]]:
            part = value[offset : offset + limit, :width]
            return ((number, *row) for number, row in enumerate(_items(part), offset))

        return Table(
            total=value.shape[0],
            columns=["index", *range(width)],
            types=["int", *[kind] * width],
            columns_total=value.shape[1] + 1,
            cells=cells,
        )
    return _numbered(value, kind, _items)


def _items(part: Any) -> list[Any]:
    # Of dates and times, tolist makes numbers of nanoseconds.
    return list(part) if part.dtype.kind in "mMV" else part.tolist()


def _numbered(value: Any, kind: str, listed: Callable[[Any], list[Any]]) -> Table:
    return Table(
        total=len(value),
        columns=["index", "value"],
        types=["int", kind],
        columns_total=2,
        cells=lambda offset, limit: enumerate(listed(value[offset : offset + limit]), offset),
    )


_LIBRARIES: dict[str, Callable[[Any, Any], Table | None]] = {
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _pyarrow,
    "numpy": _numpy,
}

# -- plain values --------------------------------------------------------------------------------


def _plain_table(value: Any) -> Table | None:
    if (fields := _fields(value)) is not None:
        return _pairs("field", fields)
    if isinstance(value, Mapping):
        return _pairs("key", value)
    if isinstance(value, list | tuple | range | deque | set | frozenset):
        return _records(value) or Table(
            total=len(value),
            columns=["index", "value"],
            types=["int", _common(islice(value, _SAMPLED))],
            columns_total=2,
            cells=lambda offset, limit: enumerate(_slice(value, offset, limit), offset),
        )
    return None


def _fields(value: Any) -> Mapping[str, Any] | None:
    """Field → value of a dataclass's, pydantic model's or named tuple's object."""
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        names: Iterable[str] = [field.name for field in dataclasses.fields(value)]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        names = value._fields
    elif isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
    elif isinstance(known := getattr(type(value), "model_fields", None), dict):
        names = known
    else:
        return None
    return {name: getattr(value, name, None) for name in names}


def _pairs(kind: str, value: Mapping[Any, Any]) -> Table:
    keys, values = islice(value, _SAMPLED), islice(value.values(), _SAMPLED)
    return Table(
        total=len(value),
        columns=[kind, "value"],
        types=[_common(keys), _common(values)],
        columns_total=2,
        cells=lambda offset, limit: islice(value.items(), offset, offset + limit),
    )


def _records(value: Any) -> Table | None:
    """A list of dicts or of objects of one class, as a table with a column for each key."""
    sample = list(islice(value, _SAMPLED))
    if not sample or len({type(item) for item in sample}) > 1:
        return None
    first = [_record(item) for item in sample]
    columns: dict[Any, None] = {}
    for record in first:
        if not record:
            return None
        columns.update(dict.fromkeys(record))
    if not all(isinstance(name, str) for name in columns):
        return None
    names = list(columns)[: MAX_COLUMNS - 1]

    def cells(offset: int, limit: int) -> Iterable[Sequence[Any]]:
        for number, item in enumerate(_slice(value, offset, limit), offset):
            record = _record(item)
            if record is None:  # one that the first ones did not announce
                yield (number, item, *[""] * (len(names) - 1))
            else:
                yield (number, *(record.get(name, "") for name in names))

    seen = [[record[name] for record in first if record and name in record] for name in names]
    return Table(
        total=len(value),
        columns=["index", *names],
        types=["int", *map(_common, seen)],
        columns_total=len(columns) + 1,
        cells=cells,
    )


def _record(item: Any) -> Mapping[Any, Any] | None:
    return item if isinstance(item, Mapping) else _fields(item)


def _slice(value: Any, offset: int, limit: int) -> Iterable[Any]:
    if isinstance(value, list | tuple | range):
        part: Iterable[Any] = value[offset : offset + limit]
        return part
    return islice(value, offset, offset + limit)


def _common(items: Iterable[Any]) -> str:
    """The type of all items, or `object`."""
    kinds = {type(item).__name__ for item in items}
    return kinds.pop() if len(kinds) == 1 else "object"


# -- texts ---------------------------------------------------------------------------------------


def cell_text(value: Any) -> str:
    """A value of a cell in at most 200 characters, whatever its own `repr` does or says."""
    try:
        if isinstance(value, str):
            return _clipped(str(value[: MAX_CELL + 1]), MAX_CELL)
        if value is None or isinstance(value, bool | float):
            return str(value)
        if isinstance(value, list | tuple | dict | set | frozenset | bytes | bytearray | deque):
            return _clipped(_short.repr(value), MAX_CELL)
        return _clipped(str(value), MAX_CELL)
    except GivenUp:
        raise
    except BaseException as error:
        return _clipped(f"<{type(value).__name__}, {described(error)}>", MAX_CELL)


def _column_name(name: Any) -> str:
    if isinstance(name, tuple):
        return _clipped(", ".join(cell_text(part) for part in name), MAX_CELL)
    return cell_text(name)


def described(error: BaseException) -> str:
    """Kind and message of an error."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # it is the user's own, and says what it likes
        return type(error).__name__


def _clipped(text: str, limit: int) -> str:
    if not text.isascii():
        # Half a character has no place in any encoding.
        text = text[: limit + 1].encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else text[: limit - 1] + "…"


_short = reprlib.Repr()
_short.maxlevel = 3
_short.maxlist = _short.maxtuple = _short.maxset = _short.maxfrozenset = 30
_short.maxdict = _short.maxdeque = 30
_short.maxstring = _short.maxother = MAX_CELL
