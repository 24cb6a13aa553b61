"""How two arrays of numbers differ: in shape, in type, in how many elements, in their mean."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hamdev.worker.values.cells import Array, Cells, cells_of_array
from hamdev.worker.values.changes import Changes, Rank
from hamdev.worker.values.columns import Pair, tell_column
from hamdev.worker.values.tables import sampled_rows
from hamdev.worker.values.words import ARROW, by

if TYPE_CHECKING:
    from hamdev.worker.values.comparison import Comparison

_LOOKED_AT_BYTES = 64 * 1024 * 1024


def compare_arrays(
    comparison: Comparison, where: str, kind: str, before: Array, after: Array
) -> None:
    """Note how `after` differs from `before`: arrays of numpy's of any shape and type."""
    changes = comparison.changes
    prefix = f"{where}: " if where else ""
    if before.shape != after.shape:
        old, new = by(before.shape) or "one value", by(after.shape) or "one value"
        is_list = before.ndim == after.ndim == 1
        text = f"{old}{ARROW}{new} values" if is_list else f"shape {old}{ARROW}{new}"
        changes.add(Rank.SIZE, "shape", prefix + text, where, old, new)
    if before.dtype != after.dtype:
        old, new = str(before.dtype), str(after.dtype)
        text = f"type of {where or 'elements'} {old}{ARROW}{new}"
        changes.add(Rank.TYPE_OF_PART, "type", text, where, old, new)
    if before.dtype.kind == "V" or after.dtype.kind == "V":
        return
    old_rows, new_rows = sampled_rows(before.size, 1), sampled_rows(after.size, 1)
    old_cells, new_cells = _flat(before, old_rows), _flat(after, new_rows)
    sampled = max(old_rows.step, new_rows.step) > 1
    if sampled:
        changes.note_sample(max(len(old_cells), len(new_cells)))
    pair = Pair(old_cells, new_cells, before.shape == after.shape, sampled, comparison.same)
    step = old_rows.step
    told = tell_column(changes, where, "value", pair, lambda row: _place(row * step, before))
    # What a sample does not show may be seen in all of it, if that is a matter of milliseconds.
    if told or not (sampled and pair.is_aligned) or before.nbytes + after.nbytes > _LOOKED_AT_BYTES:
        return
    old_cells, new_cells = (_flat(array, slice(0, array.size, 1)) for array in (before, after))
    pair = Pair(old_cells, new_cells, True, False, comparison.same)
    tell_column(changes, where, "value", pair, lambda row: _place(row, before))


def compare_numbers(changes: Changes, where: str, before: Array, after: Array) -> bool:
    """Note how two lists of numbers differ; is there anything to note?"""
    is_aligned = len(before) == len(after)
    pair = Pair(cells_of_array(before), cells_of_array(after), is_aligned, False, _never)
    return tell_column(changes, where, "item", pair, lambda place: f"[{place}]")


def _never(before: Any, after: Any) -> bool:
    return False


def _flat(array: Array, rows: slice) -> Cells:
    # `flat` counts in the order of the indices, whatever the order in memory.
    flat = array.reshape(-1) if array.flags.c_contiguous else array.flat
    return cells_of_array(flat[rows])


def _place(number: int, array: Array) -> str:
    numpy: Any = sys.modules["numpy"]
    indices = numpy.unravel_index(number, array.shape)
    return f"[{', '.join(str(index) for index in indices)}]"
