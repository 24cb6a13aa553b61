"""A value in a few lines, quickly, and whatever its own `repr` does."""

from __future__ import annotations

import reprlib
import sys
from typing import Any

from msgspec import structs

from hamdev.messages import Summary
from hamdev.wire import to_json

MAX_BYTES = 4096
MAX_TEXT = 2000
MAX_TYPE = 200
MAX_ROWS = 5
MAX_COLUMNS = 30
MAX_CELL = 40


def summarize(value: Any) -> Summary:
    """`value` as text, and for tables and arrays their shape, columns and first rows.

    No library is imported for it: a value can only be a frame of a library that is loaded.
    A value whose own `repr` raises is described by that failure.
    """
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    kind = _clipped(kind, MAX_TYPE)
    try:
        return _bounded(_summary(value, kind))
    except BaseException as error:  # whatever it is, the value is there and the run goes on
        reason = _clipped(type(error).__name__, MAX_TYPE)
        return Summary(type=kind, text=f"<{kind}, whose description raised {reason}>")


def _bounded(summary: Summary) -> Summary:
    """`summary` in at most `MAX_BYTES` of JSON: its largest part is shortened until it fits."""
    while len(to_json(summary)) > MAX_BYTES:
        columns, rows = summary.columns or [], summary.rows or []
        in_columns, in_rows = sum(map(len, columns)), sum(len(c) for row in rows for c in row)
        if len(rows) > 1 and in_rows >= max(in_columns, len(summary.text)):
            summary = structs.replace(summary, rows=rows[:-1])
        elif columns and in_rows + in_columns >= len(summary.text):
            width = len(columns) // 2
            narrow = [row[:width] for row in rows]
            summary = structs.replace(summary, columns=columns[:width], rows=narrow)
        elif not summary.text:
            return Summary(type=summary.type, text="…")
        else:
            half = _clipped(summary.text, len(summary.text) // 2)
            summary = structs.replace(summary, text=half, shape=(summary.shape or [])[:8] or None)
    return summary


def _summary(value: Any, kind: str) -> Summary:
    library = type(value).__module__.partition(".")[0]
    if library == "pandas" and (pandas := sys.modules.get("pandas")):
        if isinstance(value, pandas.DataFrame):
            return _pandas_frame(value, kind)
        if isinstance(value, pandas.Series):
            return _pandas_series(value, kind)
    if library == "polars" and hasattr(value, "estimated_size") and hasattr(value, "columns"):
        rows = value.head(MAX_ROWS).rows()
        return _table(kind, value.shape, value.columns, rows, value.estimated_size())
    if library == "pyarrow" and hasattr(value, "to_pylist") and hasattr(value, "column_names"):
        rows = [tuple(row.values()) for row in value.slice(0, MAX_ROWS).to_pylist()]
        return _table(kind, value.shape, value.column_names, rows, value.nbytes)
    if library == "numpy" and hasattr(value, "nbytes") and getattr(value, "ndim", None):
        shown = [_clipped(repr(item), MAX_CELL) for item in value.reshape(-1)[:10].tolist()]
        more = ", …" if value.size > len(shown) else ""
        text = f"{value.dtype} array {_by(value.shape)}: [{', '.join(shown)}{more}]"
        return Summary(type=kind, text=text, shape=list(value.shape), bytes=int(value.nbytes))
    text = _short.repr(value) if _is_plain(value) else repr(value)
    shape = [len(value)] if isinstance(value, list | tuple | dict | set | frozenset) else None
    return Summary(type=kind, text=_clipped(text, MAX_TEXT), shape=shape)


def _pandas_frame(value: Any, kind: str) -> Summary:
    head = value.iloc[:MAX_ROWS, : MAX_COLUMNS - 1]
    labels = [str(label) for label in head.index]
    cells = [head.iloc[:, number].tolist() for number in range(head.shape[1])]
    rows = [(label, *(column[i] for column in cells)) for i, label in enumerate(labels)]
    index = str(value.index.name) if value.index.name is not None else ""
    columns = [index, *(str(c) for c in value.columns[: MAX_COLUMNS - 1])]
    return _table(kind, value.shape, columns, rows, None)


def _pandas_series(value: Any, kind: str) -> Summary:
    head = value.iloc[:MAX_ROWS]
    rows = list(zip((str(label) for label in head.index), head.tolist(), strict=True))
    columns = [str(value.index.name or ""), str(value.name if value.name is not None else "")]
    return _table(kind, value.shape, columns, rows, int(value.nbytes))


def _table(kind: str, shape: Any, columns: Any, rows: Any, size: int | None) -> Summary:
    shown = [_clipped(str(column), MAX_CELL) for column in columns[:MAX_COLUMNS]]
    cells = [[_clipped(_cell(cell), MAX_CELL) for cell in row[:MAX_COLUMNS]] for row in rows]
    lines = ["  ".join(shown).strip(), *("  ".join(row) for row in cells)]
    text = f"{_by(shape)}\n" + "\n".join(_clipped(line, 200) for line in lines)
    return Summary(
        type=kind,
        text=_clipped(text, MAX_TEXT),
        shape=[int(n) for n in shape],
        columns=shown,
        rows=cells,
        bytes=size,
    )


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _by(shape: Any) -> str:
    return " × ".join(f"{n:,}" for n in shape)


def _is_plain(value: Any) -> bool:
    return type(value).__module__ == "builtins"


def _clipped(text: str, limit: int) -> str:
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    # Half a character has no place in any encoding.
    return short if short.isascii() else short.encode("utf-8", "backslashreplace").decode("utf-8")


class _Repr(reprlib.Repr):
    """Bounded at every level, so that a huge container costs no more than a small one."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 20
        self.maxarray = self.maxdeque = 20
        self.maxstring = self.maxother = 500
        self.maxlong = 200

    def repr_str(self, x: str, level: int) -> str:
        # A text's beginning says more than its beginning and its end.
        return repr(x) if len(x) <= self.maxstring else repr(x[: self.maxstring]) + "…"

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        # In the order of the dict itself, which means something; reprlib sorts the keys.
        if level <= 0:
            return "{…}" if x else "{}"
        items = []
        for number, (key, value) in enumerate(x.items()):
            if number == self.maxdict:
                items.append("…")
                break
            items.append(f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}")
        return "{" + ", ".join(items) + "}"


_short = _Repr()
