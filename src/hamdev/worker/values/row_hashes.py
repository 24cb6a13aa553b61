"""Rows as hashes: how many two tables have in common, wherever they stand."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hamdev.worker.values.cells import Array, Cells

_MIX = 0x9E3779B97F4A7C15


def row_hashes(columns: Sequence[Cells]) -> Array | None:
    """A hash of each row, the same in both tables; None if something in them has none."""
    numpy: Any = sys.modules["numpy"]
    result = numpy.zeros(len(columns[0]), dtype="u8")
    for cells in columns:
        kind = cells.data.dtype.kind
        if kind == "O":
            try:
                hashes = numpy.fromiter(map(hash, cells.data.tolist()), "i8", len(cells))
            except TypeError:
                return None
            one = hashes.view("u8")
        elif kind in "iub":
            one = cells.data.astype("i8").view("u8")
        elif kind == "f":
            one = (cells.data.astype("f8") + 0.0).view("u8")
        elif kind in "mM":
            one = cells.data.view("i8").view("u8")
        else:
            return None
        if cells.missing is not None:
            one = numpy.where(cells.missing, numpy.uint64(1), one)
        result = (result ^ one) * numpy.uint64(_MIX)
        result ^= result >> numpy.uint64(29)
    return result


def in_both(before: Array, after: Array) -> int:
    """How many items of two arrays have their like in the other one, each for one."""
    numpy: Any = sys.modules["numpy"]
    old, olds = numpy.unique(before, return_counts=True)
    new, news = numpy.unique(after, return_counts=True)
    _, first, second = numpy.intersect1d(old, new, assume_unique=True, return_indices=True)
    return int(numpy.minimum(olds[first], news[second]).sum())


def same_items(before: Cells | None, after: Cells | None) -> bool:
    """Whether both have the same items, in whichever order."""
    if before is None or after is None:
        return False
    old, new = row_hashes([before]), row_hashes([after])
    return old is not None and new is not None and in_both(old, new) == len(old)
