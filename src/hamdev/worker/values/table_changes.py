"""How two tables differ: rows, columns, types, what is in the columns, the index."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hamdev.worker.values.cells import Cells
from hamdev.worker.values.changes import Changes, Rank
from hamdev.worker.values.columns import Pair, tell_column
from hamdev.worker.values.row_hashes import in_both, row_hashes, same_items
from hamdev.worker.values.row_labels import Matched, label_text, matched_rows, taken
from hamdev.worker.values.shown import cell_text
from hamdev.worker.values.statistics import days_or_moments
from hamdev.worker.values.tables import (
    MAX_FURTHER_COLUMNS,
    MAX_NAMES,
    Table,
    sampled_columns,
    sampled_rows,
)
from hamdev.worker.values.words import ARROW, counted, listed

if TYPE_CHECKING:
    from hamdev.worker.values.comparison import Comparison

_Name = tuple[str, int]
_NAMED = 3
_TOLD = 10
_HASHED_CELLS = 50_000
_LOOKED_AT_BYTES = 64 * 1024 * 1024


def compare_tables(comparison: Comparison, where: str, before: Table, after: Table) -> None:
    """Note how `after` differs from `before`, be they of one library or of two."""
    changes = comparison.changes
    prefix = f"{where}: " if where else ""
    if before.kind != after.kind and not {before.kind, after.kind} <= _ALIKE:
        _tell_type(changes, where, before.kind, after.kind)
    elif before.library != after.library:
        kinds = (f"{table.library} {table.kind}" for table in (before, after))
        _tell_type(changes, where, *kinds)
    if before.rows != after.rows:
        old, new = f"{before.rows:,}", f"{after.rows:,}"
        text = f"{prefix}{old}{ARROW}{counted(after.rows, 'row')}"
        changes.add(Rank.SIZE, "shape", text, where, old, new)
    _Tables(comparison, where, before, after).compare()


def _tell_type(changes: Changes, where: str, before: str, after: str) -> None:
    text = f"{where + ': ' if where else ''}{before}{ARROW}{after}"
    changes.add(Rank.TYPE, "type", text, where, before, after)


# Which of these an index is depends on what is in it, and is told with its type.
_ALIKE = frozenset({"Index", "RangeIndex", "DatetimeIndex", "CategoricalIndex", "TimedeltaIndex"})


class _Tables:
    """Two tables, and which of their rows and columns are compared with each other."""

    def __init__(self, comparison: Comparison, where: str, before: Table, after: Table) -> None:
        self._comparison = comparison
        self._changes = comparison.changes
        self._where = where
        self._before, self._after = before, after
        self._old, self._new = _numbered(before.names), _numbered(after.names)
        self._renamed: dict[int, int] = {}
        common = [name for name in self._new if name in self._old]
        if before.is_series and after.is_series and not common:
            common = []
            self._renamed = {0: 0}
        self._in_common = len(common)
        self._common = [common[n] for n in sampled_columns(range(len(common)))]
        looked_at = set(self._common)
        further = [name for name in common if name not in looked_at]
        self._further = further if len(further) <= MAX_FURTHER_COLUMNS else []
        self._matching: Matched | None = None
        costly = sum(after.is_costly(self._new[name]) for name in self._common)
        width = max(len(self._common), 1)
        self._old_rows = sampled_rows(before.rows, width, costly)
        self._new_rows = sampled_rows(after.rows, width, costly)
        self._is_sampled = max(self._old_rows.step, self._new_rows.step) > 1
        self._is_aligned = before.rows == after.rows
        self._sampled_before = self._changes.sampled
        if self._is_sampled:
            self._changes.note_sample(len(range(after.rows)[self._new_rows]))
        elif len(further) > len(self._further) or (further and not self._is_aligned):
            self._changes.note_sample(after.rows)

    def compare(self) -> None:
        """Note all differences beyond the number of rows."""
        self._columns()
        pairs = [(self._named(name), self._old[name], self._new[name]) for name in self._common]
        pairs += [
            (self._named((n, 0)), o, w) for o, w in self._renamed.items() for n in self._of(w)
        ]
        typed = [self._types(*pair) or self._categories(*pair) for pair in pairs]
        if not self._common and not self._renamed:
            return self._index(set())
        if "numpy" not in sys.modules:
            return None
        cells = [(n, *self._cells(o, w)) for n, o, w in pairs]
        cells, moved = self._matched(cells)
        moved = moved or self._rows(cells, typed)
        if "rows" not in moved:
            told = [name for name, old, new in cells if self._tell_column(name, old, new)]
            told += self._further_columns(len(told))
            if len(told) > _NAMED and self._is_aligned:
                many = f"all {len(told)}" if len(told) == len(self._new) else f"{len(told)}"
                looked_at = len(self._common) + len(self._further)
                if looked_at < self._in_common:
                    many = f"{len(told)} of {looked_at} sampled"
                self._tell(Rank.VALUE, "value", f"values of {many} columns changed", effect=3)
            if not told and self._is_sampled and self._is_aligned and self._look_again(pairs):
                self._changes.sampled = self._sampled_before
        return self._index(moved)

    def _tell_column(self, name: str, before: Cells, after: Cells) -> bool:
        same = self._comparison.same
        pair = Pair(before, after, self._is_aligned, self._is_sampled, same)
        step = self._new_rows.step
        return tell_column(
            self._changes, name, "value", pair, lambda place: self._label(place * step)
        )

    def _further_columns(self, count: int) -> list[str]:
        """Note what changed in those that are in no sample, of the first ones how; their names."""
        if not self._is_aligned or self._matching is not None:
            return []
        told = []
        for name in self._further:
            named, place = self._named(name), self._new[name]
            self._types(named, self._old[name], place)
            cells = self._cells(self._old[name], place)
            pair = Pair(*cells, True, self._is_sampled, self._comparison.same)
            if pair.different().any():
                told.append(named)
                if count + len(told) <= _TOLD:
                    self._tell_column(named, *cells)
        return told

    def _look_again(self, pairs: Sequence[tuple[str, int, int]]) -> bool:
        """Look for what a sample does not show, as far as that is a matter of milliseconds.

        Returns:
            Whether everything was looked at.
        """
        is_all = len(self._common) + len(self._further) == self._in_common
        rows = slice(0, self._before.rows, 1)
        room = _LOOKED_AT_BYTES
        for name, old, new in pairs:
            if self._before.is_costly(old) or self._after.is_costly(new):
                is_all = False
                continue
            room -= 16 * self._before.rows
            if room < 0:
                return False
            before, after = self._before.cells(old, rows), self._after.cells(new, rows)
            pair = Pair(before, after, True, False, self._comparison.same)
            tell_column(self._changes, name, "value", pair, self._label)
        return is_all and not self._further

    def _of(self, column: int) -> list[str]:
        return self._after.names[column : column + 1]

    def _named(self, name: _Name) -> str:
        if self._after.is_series and self._before.is_series:
            # A series is what the node says it is, whatever the column that it came from.
            return self._where
        path = f"{self._where}.{name[0]}" if self._where and name[0] else self._where or name[0]
        return f"{path} ({name[1] + 1})" if name[1] else path

    def _cells(self, old: int, new: int) -> tuple[Cells, Cells]:
        before = self._before.cells(old, self._old_rows)
        return before, self._after.cells(new, self._new_rows)

    # -- columns ------------------------------------------------------------------------------

    def _columns(self) -> None:
        removed = [name for name in self._old if name not in self._new]
        added = [name for name in self._new if name not in self._old]
        for old, new in self._renamings(removed, added):
            removed.remove(old)
            added.remove(new)
            what = "name" if self._before.is_series else "column"
            text = f"{what} {old[0] or 'none'} renamed to {new[0] or 'none'}"
            self._tell(Rank.MEMBER, "column", text, new[0], old[0], new[0])
        self._came_or_went("added", added)
        self._came_or_went("removed", removed)
        order = [name for name in self._new if name in self._old]
        if order != [name for name in self._old if name in self._new]:
            self._tell(Rank.ORDER, "column", "columns in another order")
        if max(len(self._old), len(self._new)) >= MAX_NAMES:
            before, after = self._before.shape[-1], self._after.shape[-1]
            if before != after:
                text = f"{before:,}{ARROW}{counted(after, 'column')}"
                self._tell(Rank.SIZE, "shape", text)

    def _came_or_went(self, what: str, names: Sequence[_Name]) -> None:
        if len(names) > _NAMED:
            text = f"columns {listed([self._named(name) for name in names])} {what}"
            return self._tell(Rank.MEMBER, "column", text)
        for name in names:
            shown = self._named(name)
            text = f"column {shown} {what}"
            self._changes.add(Rank.MEMBER, "column", text, shown)
        return None

    def _renamings(
        self, removed: Sequence[_Name], added: Sequence[_Name]
    ) -> list[tuple[_Name, _Name]]:
        """Columns that have another name, and otherwise are what they were."""
        if self._renamed:
            return [(removed[0], added[0])] if removed and added else []
        if not self._is_aligned or not removed or len(removed) != len(added) or len(added) > 10:
            return []
        if "numpy" not in sys.modules or not self._before.rows:
            return []
        found = []
        for old, new in zip(removed, added, strict=True):
            before, after = self._old[old], self._new[new]
            if self._before.type_of(before) != self._after.type_of(after):
                continue
            cells = self._cells(before, after)
            if not Pair(*cells, True, self._is_sampled, self._comparison.same).different().any():
                found.append((old, new))
        return found

    def _types(self, name: str, old: int, new: int) -> bool:
        before, after = self._before.type_of(old), self._after.type_of(new)
        if before == after:
            return False
        # What two libraries call their types tells nothing.
        if self._before.library == self._after.library:
            text = f"type{' of ' + name if name else ''} {before}{ARROW}{after}"
            self._changes.add(Rank.TYPE_OF_PART, "type", text, name, before, after)
        return True

    def _categories(self, name: str, old: int, new: int) -> bool:
        """Note what a categorical column may hold now; never a change of its type."""
        before, after = self._before.categories(old), self._after.categories(new)
        if before is None or after is None or before == after:
            return False
        (olds, was_ordered), (news, is_ordered) = before, after
        of = f" of {name}" if name else ""
        for what, some, others in (("added", news, olds), ("removed", olds, news)):
            if found := [cell_text(item) for item in some if item not in others]:
                word = "category" if len(found) == 1 else "categories"
                text = f"{word} {listed(found)}{of} {what}"
                self._tell(Rank.DETAIL, "type", text, name)
        if was_ordered != is_ordered:
            text = f"categories{of} {'have' if is_ordered else 'have no'} order"
            self._tell(Rank.DETAIL, "type", text, name)
        elif sorted(map(repr, olds)) == sorted(map(repr, news)):
            self._tell(Rank.DETAIL, "type", f"categories{of} in another order", name)
        return False

    # -- rows ---------------------------------------------------------------------------------

    def _matched(
        self, cells: list[tuple[str, Cells, Cells]]
    ) -> tuple[list[tuple[str, Cells, Cells]], set[str]]:
        """The cells by the labels of their rows, if that makes less of a difference."""
        if self._is_sampled or not (self._before.has_index and self._after.has_index):
            return cells, set()
        matching = matched_rows(self._before, self._after)
        if matching is None:
            return cells, set()
        here = [
            (n, taken(old, matching.before), taken(new, matching.after)) for n, old, new in cells
        ]
        changed = self._count_different(here)
        if self._is_aligned:
            moved = self._count_different(cells)
            if not moved or changed > moved:
                return cells, set()
        if matching.added or matching.removed:
            return cells, self._tell_labels(matching, bool(changed))
        self._matching = matching
        self._tell(Rank.ORDER if changed else Rank.VALUE, "index", "rows in another order")
        return here, {"labels"} if changed else {"labels", "rows"}

    def _tell_labels(self, matching: Matched, has_changes: bool) -> set[str]:
        """Note which rows came and went, if they are few enough to be named."""
        if max(len(matching.added), len(matching.removed)) > _NAMED:
            return set()
        # Where other rows are, it means nothing that the cells there are others.
        self._is_aligned = False
        told = [
            f"{'row' if len(labels) == 1 else 'rows'} {listed(labels)} {what}"
            for what, labels in (("added", matching.added), ("removed", matching.removed))
            if labels
        ]
        rest = ", the rest unchanged" if self._common and not has_changes else ""
        self._tell(Rank.MEMBER, "index", " and ".join(told) + rest)
        return {"labels"}

    def _count_different(self, cells: Sequence[tuple[str, Cells, Cells]]) -> int:
        same = self._comparison.same
        return sum(int(Pair(o, n, True, False, same).different().sum()) for _, o, n in cells)

    def _rows(self, cells: Sequence[tuple[str, Cells, Cells]], typed: Sequence[bool]) -> set[str]:
        """Note whether rows came, went or moved; what need not be looked at any more after it."""
        if self._is_sampled or any(typed):
            return set()
        size = (self._before.rows + self._after.rows) * len(cells)
        if size > 2 * _HASHED_CELLS or not self._before.rows or not self._after.rows:
            return set()
        if self._is_aligned:
            changed = 0
            for _, old, new in cells:
                pair = Pair(old, new, True, False, self._comparison.same)
                changed = max(changed, int(pair.different().sum()))
            if changed < 2:
                return set()
        old_rows = row_hashes([old for _, old, _ in cells])
        new_rows = row_hashes([new for _, _, new in cells])
        if old_rows is None or new_rows is None:
            return set()
        kept = in_both(old_rows, new_rows)
        removed, added = len(old_rows) - kept, len(new_rows) - kept
        if self._is_aligned:
            if removed == 0:
                self._tell(Rank.VALUE, "index", "rows in another order")
                return {"rows"}
            return set()
        if kept and kept >= min(len(old_rows), len(new_rows)) // 2:
            told = [
                *([f"{counted(added, 'row')} added"] if added else []),
                *([f"{counted(removed, 'row')} removed"] if removed else []),
            ]
            rest = ", the rest unchanged" if self._common else ""
            self._tell(Rank.MEMBER, "shape", " and ".join(told) + rest)
        return set()

    def _label(self, row: int) -> str:
        return label_text(self._after, row if self._matching is None else self._matching.after[row])

    # -- the index ----------------------------------------------------------------------------

    def _index(self, moved: set[str]) -> None:
        old, new = self._before, self._after
        if not (old.has_index and new.has_index):
            return
        if old.index_name != new.index_name:
            before, after = old.index_name or "none", new.index_name or "none"
            text = f"name of the index {before}{ARROW}{after}"
            self._tell(Rank.INDEX, "index", text, "", before, after)
        if old.index_type != new.index_type:
            before, after = old.index_type, new.index_type
            text = f"type of the index {before}{ARROW}{after}"
            self._tell(Rank.INDEX, "index", text, "", before, after)
        if not self._is_aligned or "numpy" not in sys.modules:
            return
        labels = old.index_cells(self._old_rows), new.index_cells(self._new_rows)
        if labels[0] is None or labels[1] is None:
            return
        pair = Pair(labels[0], labels[1], True, self._is_sampled, self._comparison.same)
        different = pair.different()
        count = int(different.sum())
        if not count or "labels" in moved or ("rows" in moved and same_items(*labels)):
            return
        place = int(different.argmax())
        before, after = days_or_moments(
            *(cell_text(cells.here(cells.data[place])) for cells in labels if cells is not None)
        )
        text = f"index changed from row {place * self._new_rows.step:,} on: {before}{ARROW}{after}"
        if count == 1 and not self._is_sampled:
            text = f"index of row {place:,} {before}{ARROW}{after}"
        self._tell(Rank.INDEX, "index", text, "", before, after)

    def _tell(
        self,
        rank: Rank,
        kind: str,
        text: str,
        name: str = "",
        before: str | None = None,
        after: str | None = None,
        effect: float = 0.0,
    ) -> None:
        prefix = f"{self._where}: " if self._where else ""
        self._changes.add(rank, kind, prefix + text, name or self._where, before, after, effect)


def _numbered(names: Sequence[str]) -> dict[_Name, int]:
    """Names, told apart where there are several of one, and where each is."""
    seen: Counter[str] = Counter()
    found = {}
    for place, name in enumerate(names):
        found[name, seen[name]] = place
        seen[name] += 1
    return found
