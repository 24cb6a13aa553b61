"""Cells of one column, of whichever library, as an array of numpy's.

Statistics and comparisons are made of those: pandas's own `describe()` takes milliseconds.
"""

from __future__ import annotations

import datetime
import sys
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hamdev.worker.values.registry import library_of

Array: TypeAlias = Any
_NUMBERS = "biufc"
_TIMES = "mM"
_MISSING = frozenset({"NoneType", "NAType", "NaTType"})


@dataclass(frozen=True, slots=True)
class Cells:
    """Some cells of one column.

    Attributes:
        data: one-dimensional: numbers, booleans, times, or objects.
        missing: which of them are missing, whatever is in `data` then; None: none of them.
        zone: of moments that have one; `data` is in UTC then.
    """

    data: Array
    missing: Array | None
    zone: datetime.tzinfo | None = None

    def __len__(self) -> int:
        return len(self.data)

    @property
    def nulls(self) -> int:
        """How many are missing."""
        return 0 if self.missing is None else int(self.missing.sum())

    @property
    def present(self) -> Array:
        """What is not missing."""
        return self.data if self.missing is None else self.data[~self.missing]

    @property
    def are_numbers(self) -> bool:
        """Whether they have a mean; booleans do not."""
        return bool(self.data.dtype.kind in "iuf")

    @property
    def are_times(self) -> bool:
        """Whether they are moments or durations."""
        return bool(self.data.dtype.kind in _TIMES)

    @property
    def are_objects(self) -> bool:
        """Whether they are texts or any other objects."""
        return bool(self.data.dtype.kind == "O")

    def here(self, moment: Any) -> Any:
        """One of them, or their extreme, as the clocks of their zone show it."""
        if self.zone is None or not self.are_times:
            return moment
        exact = moment.astype("M8[us]").item()
        if not isinstance(exact, datetime.datetime):
            return moment  # beyond the years that Python knows
        shown = exact.replace(tzinfo=datetime.UTC).astimezone(self.zone).replace(tzinfo=None)
        return type(moment)(shown, "us")


def cells_of_array(array: Array, has_missing: bool = True) -> Cells:
    """Of a one-dimensional array of numpy's."""
    numpy: Any = sys.modules["numpy"]
    if isinstance(array, numpy.ma.MaskedArray):
        found, mask = cells_of_array(array.data, has_missing), numpy.ma.getmaskarray(array)
        missing = mask if found.missing is None else mask | found.missing
        return Cells(found.data, missing if missing.any() else None)
    kind = array.dtype.kind
    if kind in "fc":
        missing = numpy.isnan(array)
    elif kind in _TIMES:
        missing = numpy.isnat(array)
    elif kind in _NUMBERS:
        return Cells(array, None)
    elif kind == "O":
        return cells_of_objects(array, has_missing)
    else:
        return cells_of_objects(array.astype(object), has_missing)
    return Cells(array, missing if has_missing and missing.any() else None)


def cells_of_objects(objects: Sequence[Any] | Array, has_missing: bool = True) -> Cells:
    """Of anything; None, NaN and their like are missing."""
    numpy: Any = sys.modules["numpy"]
    if isinstance(objects, numpy.ndarray):
        data = objects
    else:
        data = numpy.empty(len(objects), dtype=object)
        for number, item in enumerate(objects):  # an assignment as a whole would look into lists
            data[number] = item
    if not has_missing or not len(data):
        return Cells(data, None)
    pandas = sys.modules.get("pandas")
    if pandas is not None and hasattr(pandas, "isna"):
        missing = pandas.isna(data)
    else:
        missing = numpy.fromiter(map(_is_missing, data.tolist()), bool, len(data))
    return Cells(data, missing if missing.any() else None)


def _is_missing(item: Any) -> bool:
    kind = type(item)
    return kind.__name__ in _MISSING or (kind is float and item != item)


def cells_of_pandas(array: Any, rows: slice) -> Cells:
    """Of the array behind a column of pandas's."""
    numpy: Any = sys.modules["numpy"]
    some = array[rows]
    if isinstance(some, numpy.ndarray):
        return cells_of_array(some)
    if (stored := getattr(some, "_pa_array", None)) is not None:
        return cells_of_arrow(stored, slice(0, None, 1))
    if isinstance(mask := getattr(some, "_mask", None), numpy.ndarray):
        return Cells(some._data, mask if mask.any() else None)
    own = getattr(some, "_ndarray", None)
    if isinstance(own, numpy.ndarray) and type(some).__name__ in _TIME_ARRAYS:
        return _in_zone(cells_of_array(own), getattr(some.dtype, "tz", None))
    return cells_of_objects(numpy.asarray(some, dtype=object))


def _in_zone(cells: Cells, zone: Any) -> Cells:
    """The same, in a zone that is a name, an offset, a zone of Python's or none."""
    if isinstance(zone, str):
        try:
            zone = zoneinfo.ZoneInfo(zone)
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            try:
                zone = datetime.datetime.strptime(zone, "%z").tzinfo
            except ValueError:
                zone = None  # of another system's
    return cells if zone is None else Cells(cells.data, cells.missing, zone)


_TIME_ARRAYS = frozenset({"DatetimeArray", "TimedeltaArray", "NumpyExtensionArray", "PandasArray"})


def cells_of_polars(series: Any, rows: slice) -> Cells:
    """Of a Series of Polars's."""
    numpy: Any = sys.modules["numpy"]
    step = rows.step or 1
    some = series.gather_every(step) if step > 1 else series
    missing = some.is_null().to_numpy() if some.null_count() else None
    if some.dtype.is_numeric() and not some.dtype.is_decimal():
        if missing is None:
            return cells_of_array(some.to_numpy())
        return Cells(some.to_numpy(), missing | numpy.isnan(some.to_numpy()))
    if some.dtype.is_temporal() and str(some.dtype) != "Time":
        zone = getattr(some.dtype, "time_zone", None)
        return _in_zone(cells_of_array(some.to_numpy()), zone)
    if str(some.dtype) == "Boolean" and missing is None:
        return Cells(some.to_numpy(), None)
    if str(some.dtype) in ("String", "Categorical", "Enum"):
        return Cells(some.to_numpy(), missing)
    return cells_of_objects(some.to_list())


def cells_of_arrow(column: Any, rows: slice) -> Cells:
    """Of an Array or ChunkedArray of Arrow's."""
    numpy: Any = sys.modules["numpy"]
    parts: list[Any] = []
    step, offset = rows.step or 1, 0
    # One chunk at a time: taking from all of them at once may join them first, which copies all.
    for chunk in getattr(column, "chunks", None) or [column]:
        if not len(chunk):
            continue
        if offset >= len(chunk):
            offset -= len(chunk)
            continue
        some = chunk
        if step > 1:
            positions = numpy.arange(offset, len(chunk), step)
            some = chunk.take(sys.modules["pyarrow"].array(positions))
            offset = int(positions[-1]) + step - len(chunk)
        parts.append(some)
    if not parts:
        return cells_of_objects([])
    missing = None
    if any(part.null_count for part in parts):
        masks = [part.is_null().to_numpy(zero_copy_only=False) for part in parts]
        missing = numpy.concatenate(masks)
    arrays = [part.to_numpy(zero_copy_only=False) for part in parts]
    data = numpy.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    found = cells_of_array(data, has_missing=data.dtype.kind in "fc")
    found = _in_zone(found, getattr(column.type, "tz", None))
    if missing is None:
        return found
    missing = missing if found.missing is None else missing | found.missing
    return Cells(found.data, missing, found.zone)


def is_plain(items: Sequence[Any]) -> bool:
    """Whether comparing these with each other is quick, harmless and gives True or False."""
    return all(
        kind in _PLAIN or library_of(kind) in _PLAIN_LIBRARIES for kind in {*map(type, items)}
    )


_PLAIN = frozenset({str, int, float, bool, bytes, type(None), complex})
_PLAIN_LIBRARIES = frozenset({"datetime", "decimal", "uuid", "fractions", "pathlib"})
