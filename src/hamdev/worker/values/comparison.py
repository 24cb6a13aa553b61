"""How two values differ, taken apart until the parts are numbers, texts or tables."""

from __future__ import annotations

import datetime
import math
import sys
from collections import deque
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import islice
from types import MappingProxyType
from typing import Any

from hamdev.worker.values.array_changes import compare_arrays
from hamdev.worker.values.changes import Changes, Rank
from hamdev.worker.values.parts import Parts, parts_of, state_of
from hamdev.worker.values.pictures import Said
from hamdev.worker.values.registry import library_of, qualified_name
from hamdev.worker.values.sequence_changes import compare_sequences
from hamdev.worker.values.shown import shown
from hamdev.worker.values.table_changes import compare_tables
from hamdev.worker.values.tables import table_of
from hamdev.worker.values.text_changes import compare_texts
from hamdev.worker.values.words import ARROW, counted, duration, growth, listed, number_pair

_MAX_DEPTH = 8
_MAX_KEYS = 10_000
_MAX_STEPS = 5_000
_SHOWN = 60
_FEW = 3
_ATOMS = frozenset({int, float, bool, str, bytes, type(None), complex})


@dataclass(slots=True)
class Comparison:
    """One comparison of two values.

    Attributes:
        changes: what was found.
        steps: how many more parts may be looked at.
    """

    changes: Changes = field(default_factory=Changes)
    steps: int = _MAX_STEPS
    _open: set[tuple[int, int]] = field(default_factory=set)

    def compare(self, where: str, kind: str, before: Any, after: Any) -> None:
        """Note how `after` differs from `before`.

        Args:
            where: the way to this part, such as `params.alpha`; empty for the value itself.
            kind: the kind of change that a change of this part is.
            before, after: the part.
        """
        if before is after:
            return None
        if self.steps <= 0:
            return self.changes.note_sample(_MAX_STEPS)
        self.steps -= 1
        if type(before) is type(after) and type(before) in _ATOMS and _same_atom(before, after):
            return None
        pair = (id(before), id(after))
        if pair in self._open or len(self._open) >= _MAX_DEPTH:
            return None
        self._open.add(pair)
        try:
            self._compare(where, kind, before, after)
        finally:
            self._open.discard(pair)

    def same(self, before: Any, after: Any) -> bool:
        """Whether no difference is to be seen between two parts."""
        if before is after:
            return True
        if type(before) is type(after) and type(before) in _ATOMS:
            return _same_atom(before, after)
        inner = Comparison(steps=min(self.steps, 200), _open=set(self._open))
        inner.compare("", "value", before, after)
        self.steps -= 1
        if inner.changes.sampled is not None:
            self.changes.note_sample(inner.changes.sampled)
        return not inner.changes

    def _compare(self, where: str, kind: str, before: Any, after: Any) -> None:
        old, new = table_of(before), table_of(after)
        if old is not None and new is not None:
            return compare_tables(self, where, old, new)
        kinds = [qualified_name(type(part)) for part in (before, after)]
        before, after = _plain(before), _plain(after)
        if _is_number(before) and _is_number(after):
            if type(before) is type(after) and _same_atom(before, after) and kinds[0] != kinds[1]:
                return self._put(where, "type", kinds[0], kinds[1])
            return self._numbers(where, kind, before, after)
        if not _same_type(before, after):
            return self._types(where, kind, before, after)
        if isinstance(before, Said):
            return self._put(where, kind, before, after) if before != after else None
        if isinstance(before, str):
            return compare_texts(self.changes, where, kind, before, after)
        if _is_array(before):
            return compare_arrays(self, where, kind, before, after)
        if isinstance(before, datetime.date | datetime.timedelta | datetime.time):
            return self._times(where, kind, before, after)
        if isinstance(before, Enum):
            return self._enums(where, kind, before, after)
        if isinstance(before, bytes | bytearray):
            return self._bytes(where, kind, before, after)
        if (parts := parts_of(before)) is not None and (others := parts_of(after)) is not None:
            return self._parts(where, parts, others)
        if isinstance(before, dict | MappingProxyType):
            return self._mappings(where, before, after)
        if isinstance(before, list | tuple | deque):
            return compare_sequences(self, where, kind, before, after)
        if isinstance(before, set | frozenset):
            return self._sets(where, kind, before, after)
        return self._others(where, kind, before, after)

    # -- what cannot be taken apart -----------------------------------------------------------

    def replace(self, where: str, kind: str, before: Any, after: Any, more: str = "") -> None:
        """Note that a part is another one."""
        self._put(where, kind, shown(before, _SHOWN), shown(after, _SHOWN), more)

    def _put(
        self, where: str, kind: str, old: str, new: str, more: str = "", rank: Rank = Rank.VALUE
    ) -> None:
        text = f"{where} {old}{ARROW}{new}".lstrip() + (f" ({more})" if more else "")
        self.changes.add(rank, kind, text, where, old, new)

    def _types(self, where: str, kind: str, before: Any, after: Any) -> None:
        old, new = shown(before, _SHOWN), shown(after, _SHOWN)
        if old == new:
            old, new = qualified_name(type(before)), qualified_name(type(after))
        rank = Rank.VALUE if where else Rank.TYPE
        self._put(where, kind if where else "type", old, new, rank=rank)

    def _numbers(self, where: str, kind: str, before: Any, after: Any) -> None:
        if _same_atom(before, after) and _same_type(before, after):
            return
        if isinstance(before, bool) or isinstance(after, bool):
            old, new = repr(before), repr(after)
            more = ""
        else:
            old, new = number_pair(before, after)
            more = growth(before, after)
        if old == new:
            old, new = repr(before), repr(after)
            if old == new:
                old, new = type(before).__name__, type(after).__name__
        self._put(where, kind, old, new, more)

    def _times(self, where: str, kind: str, before: Any, after: Any) -> None:
        if before == after and str(before) == str(after):
            return
        more = ""
        try:
            change = after - before
            more = duration(change) if isinstance(change, datetime.timedelta) else ""
        except (TypeError, OverflowError):
            pass  # times of a day, and moments with and without a zone
        self._put(where, kind, str(before), str(after), more)

    def _enums(self, where: str, kind: str, before: Enum, after: Enum) -> None:
        if before.name != after.name:
            return self._put(where, kind, str(before), str(after))
        return self.compare(where or str(after), kind, before.value, after.value)

    def _bytes(self, where: str, kind: str, before: Any, after: Any) -> None:
        if before == after:
            return None
        if len(before) <= _SHOWN and len(after) <= _SHOWN:
            return self.replace(where, kind, before, after)
        if len(before) != len(after):
            old, new = f"{len(before):,}", counted(len(after), "byte")
            return self._put(where, kind, old, new)
        text = f"{where} other content in {counted(len(after), 'byte')}".lstrip()
        return self.changes.add(Rank.VALUE, kind, text, where)

    def _others(self, where: str, kind: str, before: Any, after: Any) -> None:
        """Objects of which nothing is known beforehand."""
        known = library_of(type(before)) in sys.stdlib_module_names
        if known and bool(before == after):
            return None
        if isinstance(before, Decimal | Fraction):
            more = growth(float(before), float(after))
            return self._put(where, kind, str(before), str(after), more)
        parts, others = state_of(before), state_of(after)
        if parts is not None and others is not None and not known:
            count = len(self.changes)
            self._parts(where, parts, others)
            if len(self.changes) > count:
                return None
        old, new = shown(before, 2000), shown(after, 2000)
        if old != new:
            self.replace(where, kind, before, after)
        return None

    # -- what has parts -----------------------------------------------------------------------

    def _parts(self, where: str, before: Parts, after: Parts) -> None:
        if before.note != after.note:
            self._put(where, "value", before.note, after.note, rank=Rank.TYPE)
        else:
            with self.changes.demoted():
                self._members(where, before.kind, before.learnt, after.learnt, _dotted)
        self._members(where, before.kind, before.items, after.items, _dotted)

    def _mappings(self, where: str, before: Mapping[Any, Any], after: Mapping[Any, Any]) -> None:
        self._members(where, "key", before, after, _keyed)
        if list(islice(before, _MAX_KEYS)) != list(islice(after, _MAX_KEYS)) and not self.changes:
            text = f"{where} keys in another order".lstrip()
            self.changes.add(Rank.ORDER, "key", text, where)

    def _members(
        self, where: str, kind: str, before: Mapping[Any, Any], after: Mapping[Any, Any], path: Any
    ) -> None:
        looked_at = min(_MAX_KEYS, self.steps)
        if max(len(before), len(after)) > looked_at:
            self.changes.note_sample(looked_at)
            if len(before) != len(after):
                what = f"{len(before):,}{ARROW}{len(after):,} {kind}s"
                self.changes.add(Rank.SIZE, "shape", f"{where} {what}".lstrip(), where)
        added = [key for key in islice(after, looked_at) if key not in before]
        removed = [key for key in islice(before, looked_at) if key not in after]
        self._came_or_went(where, kind, "added", added, after, path)
        self._came_or_went(where, kind, "removed", removed, before, path)
        for key in islice(after, looked_at):
            if key in before:
                self.compare(path(where, key), kind, before[key], after[key])

    def _came_or_went(
        self, where: str, kind: str, what: str, keys: list[Any], of: Mapping[Any, Any], path: Any
    ) -> None:
        if len(keys) > _FEW:
            names = listed([path(where, key) for key in keys])
            self.changes.add(Rank.MEMBER, kind, f"{kind}s {names} {what}", where)
            return
        for key in keys:
            name, value = path(where, key), shown(of[key], _SHOWN)
            text = f"{kind} {name} {what}" + (
                f": {value}" if what == "added" else f" (was {value})"
            )
            old, new = (None, value) if what == "added" else (value, None)
            self.changes.add(Rank.MEMBER, kind, text, name, old, new)

    def _sets(self, where: str, kind: str, before: Set[Any], after: Set[Any]) -> None:
        if max(len(before), len(after)) > _MAX_KEYS:
            self.changes.note_sample(_MAX_KEYS)
            if len(before) != len(after):
                self._put(where, "shape", f"{len(before):,}", counted(len(after), "item"))
        added = [item for item in islice(after, _MAX_KEYS) if item not in before]
        removed = [item for item in islice(before, _MAX_KEYS) if item not in after]
        for what, items in (("added", added), ("removed", removed)):
            if items:
                names = listed(sorted(shown(item, 30) for item in items[:100]))
                if len(items) > 100:
                    names = f"{len(items):,} items"
                text = f"{where + ': ' if where else ''}{names} {what}"
                self.changes.add(Rank.MEMBER, "item", text, where)


def _plain(value: Any) -> Any:
    """A number or a time of numpy's or pandas's as Python's own; else the value itself."""
    library = library_of(type(value))
    if library == "numpy":
        if _is_array(value):
            return value.item() if value.ndim == 0 and value.dtype.kind in "biufcmM" else value
        if getattr(value, "dtype", None) is not None and value.dtype.kind in "biufcUSmM":
            return value.item()
    return value


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float, bool)


def _same_atom(before: Any, after: Any) -> bool:
    if before == after:
        if type(before) is float and before == 0:
            return math.copysign(1, before) == math.copysign(1, after)
        return True
    return bool(before != before and after != after)


def _same_type(before: Any, after: Any) -> bool:
    # A class that was made anew, as a load of all modules does, is the same to a person.
    old, new = type(before), type(after)
    return old is new or qualified_name(old) == qualified_name(new)


def _dotted(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)


def _keyed(where: str, key: Any) -> str:
    if isinstance(key, str) and (key.isidentifier() or not where):
        return _dotted(where, shown_key(key))
    return f"{where}[{shown(key, 30)}]"


def shown_key(key: str) -> str:
    """A key as it is named in a path."""
    return key if key.isprintable() and len(key) <= 40 else shown(key, 40)
