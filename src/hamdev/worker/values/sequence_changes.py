"""How two lists differ: which items changed, and which came or went."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from hamdev.worker.values.array_changes import compare_numbers
from hamdev.worker.values.changes import Rank
from hamdev.worker.values.shown import shown
from hamdev.worker.values.words import ARROW, counted, listed

if TYPE_CHECKING:
    from hamdev.worker.values.comparison import Comparison

_LOOKED_AT = 2_000
_FEW = 3
_MANY_NUMBERS = 10
_SHOWN = 40

Items = list[Any] | tuple[Any, ...]


def compare_sequences(
    comparison: Comparison, where: str, kind: str, before: Any, after: Any
) -> None:
    """Note how `after` differs from `before`: lists, tuples or deques."""
    if isinstance(before, deque):
        before, after = list(before), list(after)
    if len(before) == len(after):
        _of_one_length(comparison, where, before, after)
    else:
        _of_two_lengths(comparison, where, before, after)


def _of_one_length(comparison: Comparison, where: str, before: Items, after: Items) -> None:
    places: Any = range(len(before))
    looked_at = min(_LOOKED_AT, comparison.steps)
    if len(before) > looked_at:
        places = [place * len(before) // looked_at for place in range(looked_at)]
        comparison.changes.note_sample(looked_at)
    changed = [place for place in places if not comparison.same(before[place], after[place])]
    if not changed:
        return
    prefix = f"{where}: " if where else ""
    if len(changed) > _FEW:
        if _numbers(comparison, where, before, after):
            return
        sampled = "sampled items" if len(before) > looked_at else "items"
        text = f"{prefix}{len(changed):,} of {len(places):,} {sampled} changed"
        if len(changed) == len(before):
            text = f"{prefix}all {len(changed):,} items changed"
        comparison.changes.add(Rank.VALUE, "item", text, where, effect=1)
    for place in changed[:_FEW]:
        comparison.compare(f"{where}[{place}]", "item", before[place], after[place])


def _numbers(comparison: Comparison, where: str, before: Items, after: Items) -> bool:
    """Many numbers are an array; were they?"""
    numpy = sys.modules.get("numpy")
    if numpy is None or min(len(before), len(after)) < _MANY_NUMBERS:
        return False
    if max(len(before), len(after)) > _LOOKED_AT * 10:
        return False
    kinds = {*map(type, before), *map(type, after)}
    if not kinds <= {int, float}:
        return False
    try:
        old, new = (
            numpy.array(items, "i8" if kinds == {int} else "f8") for items in (before, after)
        )
    except OverflowError:
        return False
    return compare_numbers(comparison.changes, where, old, new)


def _of_two_lengths(comparison: Comparison, where: str, before: Items, after: Items) -> None:
    prefix = f"{where}: " if where else ""
    size = f"{prefix}{len(before):,}{ARROW}{counted(len(after), 'item')}"
    comparison.changes.add(Rank.SIZE, "shape", size, where, f"{len(before):,}", f"{len(after):,}")
    shorter = min(len(before), len(after))
    looked_at = min(_LOOKED_AT, comparison.steps, shorter)
    start = 0
    while start < looked_at and comparison.same(before[start], after[start]):
        start += 1
    end = 0
    most = min(looked_at, shorter - start)
    while end < most and comparison.same(before[-1 - end], after[-1 - end]):
        end += 1
    removed, added = len(before) - start - end, len(after) - start - end
    if removed and added:
        if max(removed, added) <= _LOOKED_AT:
            _numbers(comparison, where, before, after)
        elif shorter > looked_at:
            comparison.changes.note_sample(looked_at)
        if start < shorter and start < looked_at:
            # Where they begin to differ, it is a change or a shift; one item tells which.
            comparison.compare(f"{where}[{start}]", "item", before[start], after[start])
        return
    what, items = ("added", after) if added else ("removed", before)
    count = max(added, removed)
    some = [shown(item, _SHOWN) for item in items[start : start + min(count, _FEW)]]
    place = "at the end" if not end else f"at [{start:,}]"
    told = listed(some) if count <= _FEW else f"{', '.join(some)} and {count - _FEW:,} more"
    comparison.changes.add(Rank.MEMBER, "item", f"{prefix}{told} {what} {place}", where)
