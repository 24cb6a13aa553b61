"""What some cells have in common: how many are missing, what they span, their mean."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from hamdev.worker.values.cells import Cells, is_plain
from hamdev.worker.values.words import clipped, number, number_pair

MAX_RANGE = 50
_MIDNIGHT = " 00:00:00"


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of some cells.

    Attributes:
        count: of all cells.
        nulls: of those that are missing.
        low, high: the extremes of numbers and times; None without any.
        mean: of numbers.
        spread: their standard deviation.
        share: of booleans that are true.
        distinct: how many different texts or other plain objects there are.
    """

    count: int
    nulls: int
    low: Any = None
    high: Any = None
    mean: float | None = None
    spread: float = 0.0
    share: float | None = None
    distinct: int | None = None


def statistics(cells: Cells) -> Statistics:
    """Looks at each of them."""
    numpy: Any = sys.modules["numpy"]
    count, nulls = len(cells), cells.nulls
    present = cells.present
    if not len(present):
        return Statistics(count, nulls)
    kind = present.dtype.kind
    if cells.are_numbers:
        low, high = present.min().item(), present.max().item()
        finite = present if kind != "f" else present[numpy.isfinite(present)]
        if not len(finite):
            return Statistics(count, nulls, low, high)
        # Small types overflow, and a mean of large numbers may; that is no matter of the user's.
        with numpy.errstate(all="ignore"):
            mean = float(finite.mean(dtype="f8"))
            spread = float(finite.std(dtype="f8"))
        return Statistics(count, nulls, low, high, mean, spread)
    if cells.are_times:
        return Statistics(count, nulls, *map(cells.here, (present.min(), present.max())))
    if kind == "b":
        return Statistics(count, nulls, share=float(present.mean()))
    if kind == "O":
        items = present.tolist()
        if is_plain(items):
            return Statistics(count, nulls, distinct=len(set(items)))
    return Statistics(count, nulls)


def range_text(found: Statistics) -> str:
    """What the cells span; empty for those that have no order."""
    if found.low is not None:
        low, high = span(found.low, found.high)
        return clipped(low if low == high else f"{low} … {high}", MAX_RANGE)
    if found.share is not None:
        return f"{number(found.share * 100, 3)} % true"
    if found.distinct is not None:
        return f"{found.distinct:,} distinct"
    return ""


def span(low: Any, high: Any) -> tuple[str, ...]:
    """Two numbers or two times as text, neither longer than it has to be."""
    if isinstance(low, int | float):
        if low == high:
            return number(low), number(high)
        return number_pair(low, high, 4)
    return days_or_moments(time_text(low), time_text(high))


def days_or_moments(*times: str) -> tuple[str, ...]:
    """Moments as text, without the time of day if all of them are at midnight."""
    if all(text.endswith(_MIDNIGHT) for text in times):
        return tuple(text.removesuffix(_MIDNIGHT) for text in times)
    return times


def time_text(value: Any) -> str:
    """A moment or a duration of numpy's, pandas's or Python's."""
    if type(value).__module__ == "numpy":
        exact = value.astype(f"{value.dtype.kind}8[us]").item()
        # Beyond the years that Python knows, it is nothing but a number.
        value = value if isinstance(exact, int) else exact
    text = str(value)
    return text.replace("T", " ") if text[:1].isdigit() else text
