"""Rows of two tables that have the same label: `income 0.3 → 0.4`, wherever it stands now."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from hamdev.worker.values.cells import Array, Cells, is_plain
from hamdev.worker.values.shown import cell_text
from hamdev.worker.values.statistics import days_or_moments
from hamdev.worker.values.tables import Table

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Matched:
    """Which rows are which.

    Attributes:
        before, after: where the rows are that both tables have, in the order of the second.
        added, removed: labels that only one of the tables has, as text.
    """

    before: Array
    after: Array
    added: list[str]
    removed: list[str]


def matched_rows(before: Table, after: Table) -> Matched | None:
    """Rows with the same label; None if labels do not tell rows apart, or are as they were."""
    if max(before.rows, after.rows) > _MOST or before.is_numbered or after.is_numbered:
        return None
    olds, news = (_labels(table) for table in (before, after))
    if olds is None or news is None or olds == news:
        return None
    places = {label: place for place, label in enumerate(olds)}
    known = set(news)
    if len(places) < len(olds) or len(known) < len(news):
        return None
    kept = [place for place, label in enumerate(news) if label in places]
    if not kept:
        return None
    numpy: Any = sys.modules["numpy"]
    return Matched(
        numpy.array([places[news[place]] for place in kept]),
        numpy.array(kept),
        [label_text(after, place) for place, label in enumerate(news) if label not in places],
        [label_text(before, place) for place, label in enumerate(olds) if label not in known],
    )


def _labels(table: Table) -> list[Any] | None:
    cells = table.index_cells(slice(0, table.rows, 1))
    if cells is None or cells.missing is not None:
        return None
    labels: list[Any] = cells.data.tolist()
    parts = [part for label in labels for part in (label if type(label) is tuple else (label,))]
    return labels if is_plain(parts) else None


def taken(cells: Cells, places: Array) -> Cells:
    """Some of the cells, in another order."""
    missing = None if cells.missing is None else cells.missing[places]
    return Cells(cells.data[places], missing, cells.zone)


def label_text(table: Table, row: int) -> str:
    """What a row is called; its number if it has no label."""
    labels = table.index_cells(slice(row, row + 1))
    if labels is None or not len(labels):
        return f"{row:,}"
    return days_or_moments(cell_text(labels.here(labels.data[0])))[0]
