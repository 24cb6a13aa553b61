"""A value in a few lines, quickly, and whatever its own `repr` does."""

from __future__ import annotations

import sys
from typing import Any

from msgspec import structs

from hamdev.messages import Summary
from hamdev.wire import to_json
from hamdev.worker.interruption import RunCancelled
from hamdev.worker.values.cells import cells_of_array
from hamdev.worker.values.parts import parts_of
from hamdev.worker.values.pictures import Said, is_picture, missing_converter
from hamdev.worker.values.registry import qualified_name
from hamdev.worker.values.shown import MAX_CELL, array_text, cell_text, shown
from hamdev.worker.values.statistics import range_text, statistics
from hamdev.worker.values.tables import Table, sampled_rows, table_of
from hamdev.worker.values.words import by, clipped, counted, number

MAX_BYTES = 4096
MAX_TEXT = 2000
MAX_TYPE = 200
MAX_ROWS = 5
MAX_COLUMNS = 30
_LONG_TEXT = 200
_TEXT_LOOKED_AT = 1024 * 1024


def summarize(value: Any) -> Summary:
    """`value` as text, and for tables their shape, columns, types, nulls, ranges and first rows.

    No library is imported for it: a value can only be a frame of a library that is loaded. A value
    whose own `repr` raises is described by that failure.

    Raises:
        RunCancelled: while the value's own code was running.
    """
    kind = clipped(qualified_name(type(value)), MAX_TYPE)
    try:
        return _bounded(_summary(value, kind))
    except RunCancelled:
        raise
    except BaseException as error:  # whatever it is, the value is there and the run goes on
        reason = clipped(type(error).__name__, MAX_TYPE)
        return Summary(type=kind, text=f"<{kind}, whose description raised {reason}>")


def _bounded(summary: Summary) -> Summary:
    """`summary` in at most `MAX_BYTES` of JSON: its largest part is shortened until it fits."""
    while len(to_json(summary)) > MAX_BYTES:
        columns, rows = summary.columns or [], summary.rows or []
        facts = (columns, summary.types or [], summary.ranges or [])
        in_columns = sum(len(text) + 4 for texts in facts for text in texts)
        in_rows = sum(len(c) + 4 for row in rows for c in row)
        if len(rows) > 1 and in_rows >= max(in_columns, len(summary.text)):
            summary = structs.replace(summary, rows=rows[:-1])
        elif columns and in_rows + in_columns >= len(summary.text):
            summary = _narrowed(summary, len(columns) // 2)
        elif not summary.text:
            return Summary(type=summary.type, text="…")
        else:
            half = clipped(summary.text, len(summary.text) // 2)
            summary = structs.replace(summary, text=half, shape=(summary.shape or [])[:8] or None)
    return summary


def _narrowed(summary: Summary, width: int) -> Summary:
    return structs.replace(
        summary,
        columns=(summary.columns or [])[:width],
        types=summary.types and summary.types[:width],
        nulls=summary.nulls and summary.nulls[:width],
        ranges=summary.ranges and summary.ranges[:width],
        rows=[row[:width] for row in summary.rows or []],
    )


def _summary(value: Any, kind: str) -> Summary:
    if (table := table_of(value)) is not None:
        return _of_table(table, kind)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _of_array(value, kind)
    if type(value) is str and (len(value) > _LONG_TEXT or "\n" in value):
        return _of_text(value, kind)
    if type(value) is bytes:
        return Summary(type=kind, text=shown(value, MAX_TEXT), bytes=len(value))
    shape = [len(value)] if isinstance(value, list | tuple | dict | set | frozenset) else None
    if type(value).__module__ == "builtins":
        return Summary(type=kind, text=shown(value, MAX_TEXT), shape=shape)
    if is_picture(value) or missing_converter(value):
        return _of_picture(value, kind)
    if type(value).__name__ == "LazyFrame" and (parts := parts_of(value)) is not None:
        plan = str(parts.items["plan"])
        return Summary(type=kind, text=clipped(f"LazyFrame, not collected\n{plan}", MAX_TEXT))
    return Summary(type=kind, text=shown(value, MAX_TEXT), shape=shape or _shape_of(value))


def _shape_of(value: Any) -> list[int] | None:
    """Of what numbers are in, as scipy's sparse matrices are."""
    shape = getattr(value, "shape", None) if hasattr(type(value), "nnz") else None
    return [int(n) for n in shape] if isinstance(shape, tuple) else None


def _of_table(table: Table, kind: str) -> Summary:
    width = MAX_COLUMNS - table.has_index
    numbers = range(min(width, len(table.names)))
    columns = [table.names[number] for number in numbers]
    types = [table.type_of(number) for number in numbers]
    heads = table.head(MAX_ROWS, width)
    costly = sum(map(table.is_costly, numbers))
    rows = sampled_rows(table.rows, len(columns), costly)
    found = [table.cells(number, rows) for number in numbers] if _numpy_is_loaded() else []
    if table.has_index:
        columns.insert(0, table.index_name)
        types.insert(0, table.index_type)
        heads.insert(0, table.index_head(MAX_ROWS))
        if found and (labels := table.index_cells(rows)) is not None:
            found.insert(0, labels)
    known = [statistics(cells) for cells in found]
    shown_columns = [clipped(column, MAX_CELL) for column in columns]
    cells = [
        [clipped(cell_text(cell), MAX_CELL) for cell in row] for row in zip(*heads, strict=True)
    ]
    lines = ["  ".join(shown_columns).strip(), *("  ".join(row) for row in cells)]
    text = f"{by(table.shape)}\n" + "\n".join(clipped(line, 200) for line in lines)
    is_complete = len(known) == len(columns)
    return Summary(
        type=kind,
        text=clipped(text, MAX_TEXT),
        shape=table.shape,
        columns=shown_columns,
        rows=cells,
        bytes=table.bytes,
        types=[clipped(text, MAX_CELL) for text in types],
        nulls=[one.nulls for one in known] if is_complete else None,
        ranges=[clipped(range_text(one), MAX_CELL) for one in known] if is_complete else None,
        sampled=len(range(table.rows)[rows]) if rows.step > 1 else None,
    )


def _of_array(array: Any, kind: str) -> Summary:
    text = array_text(array)
    facts = []
    sampled = None
    if array.ndim and array.size and not array.dtype.hasobject:
        rows = sampled_rows(array.size, 1)
        flat = array.reshape(-1) if array.flags.c_contiguous else array.flat
        found = statistics(cells_of_array(flat[rows]))
        facts = [range_text(found)] if found.low is not None or found.share is not None else []
        if found.mean is not None and found.low != found.high:
            facts.append(f"mean {number(found.mean, 4)}")
        if found.nulls:
            facts.append(f"{found.nulls:,} missing")
        sampled = len(range(array.size)[rows]) if rows.step > 1 else None
    of = f" (of {sampled:,} sampled)" if sampled else ""
    more = f"\n{', '.join(facts)}{of}" if facts else ""
    shape = [int(n) for n in array.shape]
    return Summary(
        type=kind,
        text=clipped(text + more, MAX_TEXT),
        shape=shape or None,
        bytes=int(array.nbytes),
        sampled=sampled,
    )


def _of_text(text: str, kind: str) -> Summary:
    known = text[:_TEXT_LOOKED_AT]
    lines = f"{known.count(chr(10)) + 1:,}" + "+" * (len(text) > len(known)) + " lines"
    size = counted(len(text), "character")
    head = f"{lines}, {size}" if "\n" in known or len(text) > len(known) else size
    return Summary(type=kind, text=clipped(f"{head}\n{text[:MAX_TEXT]}", MAX_TEXT))


def _of_picture(value: Any, kind: str) -> Summary:
    parts = parts_of(value)
    text = shown(value, 300) if parts is None else _caption(parts.name, parts.items)
    if package := missing_converter(value):
        text += f"\nas a picture: pip install {package}"
    return Summary(type=kind, text=clipped(text, MAX_TEXT), picture=is_picture(value))


def _caption(name: str, parts: Any) -> str:
    """What a picture shows, in a line: its size, its titles, how much is drawn in it."""
    told = [
        f"{part:,} {key.removesuffix('s') if part == 1 else key}"
        if type(part) is int
        else f"{key} {part}"
        for key, part in parts.items()
        if type(part) in (int, str, Said) and part != ""
    ]
    return f"{name}: {', '.join(told)}" if told else name


def _numpy_is_loaded() -> bool:
    return "numpy" in sys.modules
