"""What tables of all libraries have in common: columns with names and types, rows, maybe an index.

A pandas Series or an Arrow array is a table of one column. Large tables are looked at in evenly
spaced rows and columns only, so what is done with one costs the same whatever its size.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from hamdev.worker.values.cells import (
    Cells,
    cells_of_array,
    cells_of_arrow,
    cells_of_objects,
    cells_of_pandas,
    cells_of_polars,
)
from hamdev.worker.values.registry import Registry

WHOLE_CELLS = 100_000
SAMPLED_CELLS = 50_000
_COST = 5
# How the names of types begin whose cells numpy holds itself, in all libraries.
_QUICK = ("int", "uint", "float", "double", "halffloat", "bool", "date", "timestamp", "timedelta")
MAX_ROWS = 5_000
MAX_COLUMNS = 100
MAX_NAMES = 10_000
MAX_CATEGORIES = 1_000
# Beyond the first look, for what is in no sampled column.
MAX_FURTHER_COLUMNS = 1_000


class Table(ABC):
    """One table.

    Attributes:
        library: whose type it is.
        kind: the name of its type.
        shape: rows, and columns if its type can have several.
        names: of its columns, the index left out; of a very wide one the first `MAX_NAMES`.
        bytes: its size in memory, if that is known cheaply.
        has_index: whether its rows have labels.
        is_numbered: whether the labels are nothing but the numbers of the rows.
        is_series: whether its type has one column and no more.
    """

    library: str
    kind: str
    shape: list[int]
    names: list[str]
    bytes: int | None = None
    has_index = False
    is_numbered = True
    is_series = False

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.shape[0]

    @abstractmethod
    def type_of(self, column: int) -> str:
        """The type of a column, as its library calls it."""

    @abstractmethod
    def cells(self, column: int, rows: slice) -> Cells:
        """What is in some rows of a column."""

    def is_costly(self, column: int) -> bool:
        """Whether a column holds texts or other objects, and not numbers or times."""
        return not self.type_of(column).lower().startswith(_QUICK)

    def categories(self, column: int) -> tuple[list[Any], bool] | None:
        """Which values a categorical column may have, and whether these have an order."""
        return None

    @abstractmethod
    def head(self, rows: int, columns: int) -> list[Sequence[Any]]:
        """The first cells of each of the first columns."""

    @property
    def index_name(self) -> str:
        """The name of the row labels."""
        return ""

    @property
    def index_type(self) -> str:
        """The type of the row labels."""
        return ""

    def index_cells(self, rows: slice) -> Cells | None:
        """The labels of some rows; None if rows have no labels but their numbers."""
        return None

    def index_head(self, rows: int) -> list[Any]:
        """The first row labels."""
        return []


def table_of(value: Any) -> Table | None:
    """The table that `value` is; None if it is something else."""
    make = _TABLES.find(value)
    return None if make is None else make(value)


def sampled_rows(rows: int, columns: int, costly: int = 0) -> slice:
    """Which rows to look at: all of a small table, evenly spaced ones of a large one.

    Args:
        rows: of the table.
        columns: how many are looked at.
        costly: how many of them hold texts or other objects, which take longer than numbers.
    """
    weight = max(columns + (_COST - 1) * costly, 1)
    if rows * weight <= WHOLE_CELLS:
        return slice(0, rows, 1)
    wanted = max(100, min(MAX_ROWS, SAMPLED_CELLS // weight))
    step = max(1, rows // wanted)
    # What repeats every day, week or hour is not to be met at the same point each time.
    while step > 1 and any(step % period == 0 for period in (2, 3, 5, 7)):
        step += 1
    return slice(0, rows, step)


def sampled_columns(numbers: Sequence[int], most: int = MAX_COLUMNS) -> list[int]:
    """Which columns to look at: all, or evenly spaced ones of a wide table."""
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[place * len(numbers) // most] for place in range(most)]


def _dtype_name(dtype: Any) -> str:
    # Numpy takes several microseconds for it.
    return _numpy_name(dtype) if type(dtype).__module__ == "numpy.dtypes" else str(dtype)


@lru_cache(maxsize=256)
def _numpy_name(dtype: Any) -> str:
    return str(dtype)


class _PandasTable(Table):
    library = "pandas"
    has_index = True

    def __init__(self, value: Any) -> None:
        self._value = value
        self.kind = type(value).__name__
        self.shape = [int(n) for n in value.shape]
        self._index = value.index
        self.is_numbered = type(self._index).__name__ == "RangeIndex"
        self.is_series = len(self.shape) == 1
        if self.is_series:
            self.names = ["" if value.name is None else str(value.name)]
            self.bytes = int(value.nbytes)
        else:
            self.names = [str(name) for name in value.columns[:MAX_NAMES].tolist()]
            blocks = getattr(getattr(value, "_mgr", None), "blocks", ())
            self.bytes = sum(int(block.values.nbytes) for block in blocks) or None

    def _array(self, column: int) -> Any:
        if self.is_series:
            return self._value._values
        quick = getattr(self._value, "_get_column_array", None)
        return self._value.iloc[:, column]._values if quick is None else quick(column)

    def type_of(self, column: int) -> str:
        return _dtype_name(self._array(column).dtype)

    def cells(self, column: int, rows: slice) -> Cells:
        return cells_of_pandas(self._array(column), rows)

    def categories(self, column: int) -> tuple[list[Any], bool] | None:
        dtype = self._array(column).dtype
        if type(dtype).__name__ != "CategoricalDtype":
            return None
        return list(dtype.categories[:MAX_CATEGORIES]), bool(dtype.ordered)

    def head(self, rows: int, columns: int) -> list[Sequence[Any]]:
        shown = range(min(columns, len(self.names)))
        return [list(self._array(number)[:rows]) for number in shown]

    @property
    def index_name(self) -> str:
        names = list(self._index.names)
        return "" if names == [None] else ", ".join("" if n is None else str(n) for n in names)

    @property
    def index_type(self) -> str:
        if self._index.nlevels > 1:
            return f"MultiIndex of {self._index.nlevels}"
        return str(self._index.dtype)

    def index_cells(self, rows: slice) -> Cells | None:
        return _pandas_labels(self._index, rows)

    def index_head(self, rows: int) -> list[Any]:
        return list(self._index[:rows])


class _PandasIndex(Table):
    library = "pandas"
    is_series = True

    def __init__(self, value: Any) -> None:
        self._index = value
        self.kind = type(value).__name__
        self.shape = [len(value)]
        self.names = [", ".join("" if name is None else str(name) for name in value.names)]

    def type_of(self, column: int) -> str:
        return str(self._index.dtype)

    def cells(self, column: int, rows: slice) -> Cells:
        return _pandas_labels(self._index, rows)

    def head(self, rows: int, columns: int) -> list[Sequence[Any]]:
        return [list(self._index[:rows])]


def _pandas_labels(index: Any, rows: slice) -> Cells:
    if index.nlevels > 1 or type(index).__name__ == "RangeIndex":
        some = index[rows]
        return cells_of_objects(some.tolist()) if index.nlevels > 1 else cells_of_array(some.values)
    return cells_of_pandas(index._values, rows)


class _PolarsTable(Table):
    library = "polars"

    def __init__(self, value: Any) -> None:
        self.kind = type(value).__name__
        self.shape = [int(n) for n in value.shape]
        self.is_series = len(self.shape) == 1
        self._value = value
        self.names = [value.name] if self.is_series else list(islice(value.columns, MAX_NAMES))
        self.bytes = int(value.estimated_size())

    def _column(self, column: int) -> Any:
        return self._value if self.is_series else self._value.to_series(column)

    def type_of(self, column: int) -> str:
        return str(self._column(column).dtype)

    def cells(self, column: int, rows: slice) -> Cells:
        return cells_of_polars(self._column(column), rows)

    def head(self, rows: int, columns: int) -> list[Sequence[Any]]:
        shown = range(min(columns, len(self.names)))
        return [self._column(number).head(rows).to_list() for number in shown]


class _ArrowTable(Table):
    library = "pyarrow"

    def __init__(self, value: Any) -> None:
        self.kind = type(value).__name__
        self._value = value
        self.is_series = not hasattr(value, "schema")
        if self.is_series:
            self.shape = [len(value)]
            self.names = [""]
        else:
            self.shape = [int(n) for n in value.shape]
            self.names = value.schema.names[:MAX_NAMES]
        self.bytes = int(value.nbytes)

    def _column(self, column: int) -> Any:
        return self._value if self.is_series else self._value.column(column)

    def type_of(self, column: int) -> str:
        return str(self._column(column).type)

    def cells(self, column: int, rows: slice) -> Cells:
        return cells_of_arrow(self._column(column), rows)

    def head(self, rows: int, columns: int) -> list[Sequence[Any]]:
        shown = range(min(columns, len(self.names)))
        return [self._column(number).slice(0, rows).to_pylist() for number in shown]


class _StructuredArray(Table):
    """Records: numpy's arrays whose elements have named fields."""

    library = "numpy"

    def __init__(self, value: Any) -> None:
        self._value = value
        self.kind = type(value).__name__
        self.names = list(value.dtype.names[:MAX_NAMES])
        self.shape = [len(value), len(value.dtype.names)]
        self.bytes = int(value.nbytes)

    def _column(self, column: int) -> Any:
        return self._value[self.names[column]]

    def type_of(self, column: int) -> str:
        dtype = self._column(column).dtype
        return str(dtype.base) + (f" × {dtype.shape}" if dtype.shape else "")

    def cells(self, column: int, rows: slice) -> Cells:
        some = self._column(column)[rows]
        return cells_of_array(some) if some.ndim == 1 else cells_of_objects(some.tolist())

    def head(self, rows: int, columns: int) -> list[Sequence[Any]]:
        shown = range(min(columns, len(self.names)))
        return [self._column(number)[:rows].tolist() for number in shown]


def _arrow_or_nothing(value: Any) -> Table | None:
    # Scalars, schemas and types of Arrow's are no tables, and bear other names.
    return _ArrowTable(value) if "numpy" in sys.modules else None


def _structured(value: Any) -> Table | None:
    if value.ndim != 1 or value.dtype.names is None:
        return None
    return _StructuredArray(value)


_TABLES: Registry[Callable[[Any], Table | None]] = Registry(
    {
        ("pandas", "DataFrame"): _PandasTable,
        ("pandas", "Series"): _PandasTable,
        ("pandas", "Index"): _PandasIndex,
        ("polars", "DataFrame"): _PolarsTable,
        ("polars", "Series"): _PolarsTable,
        ("pyarrow", "Table"): _arrow_or_nothing,
        ("pyarrow", "RecordBatch"): _arrow_or_nothing,
        ("pyarrow", "ChunkedArray"): _arrow_or_nothing,
        ("pyarrow", "Array"): _arrow_or_nothing,
        ("numpy", "ndarray"): _structured,
    }
)
