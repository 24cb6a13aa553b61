"""How one column, or one array, differs from what it was.

Of a sample only that is told which chance does not explain: a mean that moved by less than its
standard error is no change.
"""

from __future__ import annotations

import datetime
import math
import operator
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hamdev.worker.values.cells import Array, Cells, is_plain
from hamdev.worker.values.changes import Changes, Rank
from hamdev.worker.values.shown import cell_text
from hamdev.worker.values.statistics import Statistics, days_or_moments, span, statistics
from hamdev.worker.values.text_changes import around_first_difference
from hamdev.worker.values.words import ARROW, duration, number, number_pair

_ERRORS = 5.0  # so many standard errors are no chance: less than once in a million columns
_LITTLE = 1e-3  # of the spread: no person would see it
_WHOLE_TEXT = 30
_FEW = 3
_COMPARED = 1_000  # objects that are not plain, one by one


@dataclass(frozen=True, slots=True)
class Pair:
    """A column before and after.

    Attributes:
        before, after: what was looked at of it.
        is_aligned: the same rows, one by one.
        is_sampled: there are more rows.
        same: compares two objects.
    """

    before: Cells
    after: Cells
    is_aligned: bool
    is_sampled: bool
    same: Callable[[Any, Any], bool]

    def different(self) -> Array:
        """Which rows differ, of aligned ones."""
        numpy: Any = sys.modules["numpy"]
        old, new = self.before, self.after
        if old.are_objects or new.are_objects or old.are_times != new.are_times:
            found = self._different_objects()
        elif (old.zone is None) != (new.zone is None):
            found = numpy.zeros(len(old), dtype=bool)  # their types say it
        else:
            found = numpy.not_equal(*_of_one_precision(old.data, new.data))
        if old.missing is not None or new.missing is not None:
            none = numpy.zeros(len(found), dtype=bool)
            lost = none if old.missing is None else old.missing
            gone = none if new.missing is None else new.missing
            found = numpy.where(lost | gone, lost != gone, found)
        return found

    def _different_objects(self) -> Array:
        numpy: Any = sys.modules["numpy"]
        old, new = self.before.data.tolist(), self.after.data.tolist()
        if is_plain(old) and is_plain(new):
            if old == new:  # most columns are as they were, and this is the quickest way to see it
                return numpy.zeros(len(old), dtype=bool)
            return numpy.fromiter(map(operator.ne, old, new), bool, len(old))
        found = numpy.zeros(len(old), dtype=bool)
        for place, (a, b) in enumerate(zip(old[:_COMPARED], new, strict=False)):
            found[place] = not self.same(a, b)
        return found


def tell_column(
    changes: Changes, name: str, kind: str, pair: Pair, label: Callable[[int], str]
) -> bool:
    """Note how a column differs; was there anything?

    Args:
        changes: where to.
        name: of the column; empty for a value that is nothing else.
        kind: the kind of change that a changed cell is.
        pair: the column before and after.
        label: what the row is called that is looked at in this place.
    """
    numpy: Any = sys.modules["numpy"]
    count = len(changes)
    share, uniform = 0.0, ""
    if pair.is_aligned:
        places = numpy.flatnonzero(pair.different())
        if not len(places):
            return False
        share = len(places) / max(len(pair.before), 1)
        if _are_told_one_by_one(pair, places):
            for place in places:
                _tell_cell(changes, name, kind, pair, int(place), label)
            return True
        uniform = _tell_count(changes, name, kind, pair, places, share)
    old, new = statistics(pair.before), statistics(pair.after)
    _tell_nulls(changes, name, pair, old, new)
    _tell_mean(changes, name, pair, old, new, Rank.VALUE if share > 0.5 else Rank.STATISTIC)
    if not pair.is_sampled and not uniform:
        _tell_extremes(changes, name, old, new)
    _tell_shares(changes, name, pair, old, new)
    return len(changes) > count


def _are_told_one_by_one(pair: Pair, places: Array) -> bool:
    if pair.is_sampled or len(places) > _FEW:
        return False
    return len(places) == 1 or (
        pair.before.nulls == pair.after.nulls and not _uniform(pair, places)
    )


def _tell_cell(
    changes: Changes, name: str, kind: str, pair: Pair, place: int, label: Callable[[int], str]
) -> None:
    old, new = _cell_pair(pair, place)
    where = label(place)
    if where.startswith("["):
        where = f"{name}{where}"
    else:
        where = f"{name} in row {where}:" if name else f"row {where}:"
    changes.add(Rank.VALUE, kind, f"{where} {old}{ARROW}{new}", name, old, new, effect=2)


def _of_one_precision(before: Array, after: Array) -> tuple[Array, Array]:
    """Floats as the less precise type of the two has them: the rest is told with the type."""
    if before.dtype == after.dtype or not before.dtype.kind == after.dtype.kind == "f":
        return before, after
    narrow = min(before.dtype, after.dtype, key=lambda dtype: dtype.itemsize)
    numpy: Any = sys.modules["numpy"]
    with numpy.errstate(over="ignore"):
        return before.astype(narrow), after.astype(narrow)


def _cell_pair(pair: Pair, place: int) -> tuple[str, str]:
    """A cell before and after, so that one sees the difference."""
    old, new = _cell(pair.before, place), _cell(pair.after, place)
    if "missing" in (old, new):
        return old, new
    before, after = pair.before.data[place], pair.after.data[place]
    if pair.before.are_numbers and pair.after.are_numbers:
        return number_pair(before.item(), after.item())
    if pair.before.are_times and pair.after.are_times:
        first, second = days_or_moments(old, new)
        return first, second
    if isinstance(before, str) and isinstance(after, str):
        return around_first_difference(before, after, _WHOLE_TEXT)
    return old, new


def _cell(cells: Cells, place: int) -> str:
    if cells.missing is not None and cells.missing[place]:
        return "missing"
    item = cells.here(cells.data[place])
    if cells.are_numbers:
        return number(item.item())
    return repr(item) if isinstance(item, str) and len(item) < _WHOLE_TEXT else cell_text(item)


def _tell_count(
    changes: Changes, name: str, kind: str, pair: Pair, places: Array, share: float
) -> str:
    of = f" of {name}" if name else ""
    total = len(pair.before)
    uniform = _uniform(pair, places)
    if share == 1:
        what = f"all sampled values{of}" if pair.is_sampled else f"all values{of}"
    elif pair.is_sampled and share > 0.99:
        what = f"nearly all sampled values{of}"
    elif pair.is_sampled:
        what = f"about {number(share * 100, 2)} % of the values{of}"
    else:
        what = f"{len(places):,} of {total:,} values{of}"
    what += f" {uniform}" if uniform[:1] in ("+", "-", "×") and share == 1 else " changed"
    if uniform and not what.endswith(uniform):
        what += f": {uniform}"
    elif not uniform and pair.before.are_objects and pair.after.are_objects:
        what += f", such as {ARROW.join(_cell_pair(pair, int(places[0])))}"
    rank = Rank.VALUE if share <= 0.5 or uniform else Rank.STATISTIC
    changes.add(rank, kind, what, name, effect=2 if uniform else share)
    return uniform if share == 1 else ""


def _uniform(pair: Pair, places: Array) -> str:
    """What happened to every one of the changed cells, if it was the same to all."""
    numpy: Any = sys.modules["numpy"]
    old, new = pair.before, pair.after
    gone = (old.missing is not None and old.missing[places].any()) or (
        new.missing is not None and new.missing[places].any()
    )
    if gone or len(places) < 2:
        return ""
    before, after = old.data[places], new.data[places]
    if old.are_numbers and new.are_numbers:
        first, last = _cell(old, int(places[0])), _cell(new, int(places[0]))
        if (after == after[0]).all():
            return f"{first}{ARROW}{last}" if (before == before[0]).all() else f"now {last}"
        before, after = before.astype("f8"), after.astype("f8")
        with numpy.errstate(all="ignore"):
            shift = after - before
            if numpy.isfinite(shift).all() and _is_constant(shift, before):
                return f"{'+' if shift[0] > 0 else ''}{number(_rounded(shift), 4)}"
            factor = after / before
            if numpy.isfinite(factor).all() and _is_constant(factor, factor):
                return f"× {number(_rounded(factor), 4)}"
        return ""
    if old.are_times and new.are_times:
        moved = after - before
        change = moved[0].astype("m8[us]").item()
        if (moved == moved[0]).all() and isinstance(change, datetime.timedelta):
            return duration(change)
        return ""
    if old.are_objects and new.are_objects:
        olds, news = before.tolist(), after.tolist()
        if is_plain(olds) and is_plain(news) and len({*zip(olds, news, strict=True)}) == 1:
            return f"{_cell(old, int(places[0]))}{ARROW}{_cell(new, int(places[0]))}"
    return ""


def _is_constant(numbers: Array, scale: Array) -> bool:
    numpy: Any = sys.modules["numpy"]
    allowed = 1e-9 * max(float(numpy.abs(scale).max()), abs(float(numbers[0])))
    return float(numpy.abs(numbers - numbers[0]).max()) <= allowed


def _rounded(numbers: Array) -> float:
    numpy: Any = sys.modules["numpy"]
    return float(numpy.median(numbers))


def _tell_nulls(changes: Changes, name: str, pair: Pair, old: Statistics, new: Statistics) -> None:
    if old.nulls == new.nulls and (pair.is_aligned or not pair.is_sampled):
        return
    where = f" in {name}" if name else ""
    if not pair.is_sampled:
        before, after = f"{old.nulls:,}", f"{new.nulls:,}"
        effect = abs(new.nulls - old.nulls) / max(old.count, new.count, 1)
    else:
        shares = old.nulls / max(old.count, 1), new.nulls / max(new.count, 1)
        if not pair.is_aligned and not _is_no_chance(*shares, old.count, new.count):
            return
        before, after = (f"about {number(share * 100, 2)} %" for share in shares)
        effect = abs(shares[1] - shares[0])
    changes.add(
        Rank.NULLS, "statistic", f"nulls{where} {before}{ARROW}{after}", name, before, after, effect
    )


def _is_no_chance(before: float, after: float, olds: int, news: int) -> bool:
    """Whether two shares differ by more than samples of this size do by themselves."""
    share = (before * olds + after * news) / max(olds + news, 1)
    error = math.sqrt(share * (1 - share) * (1 / max(olds, 1) + 1 / max(news, 1)))
    return abs(after - before) > _ERRORS * error


def _tell_mean(
    changes: Changes, name: str, pair: Pair, old: Statistics, new: Statistics, rank: Rank
) -> None:
    if old.mean is None or new.mean is None:
        return
    change = abs(new.mean - old.mean)
    spread = max(old.spread, new.spread)
    if not change > _LITTLE * (spread or abs(old.mean)):
        return
    if pair.is_sampled and not change > _ERRORS * _standard_error(pair, old, new):
        return
    before, after = number_pair(old.mean, new.mean, 3)
    of = f" of {name}" if name else ""
    about = "about " if pair.is_sampled else ""
    text = f"mean{of} {about}{before}{ARROW}{after}"
    effect = min(change / (spread or abs(old.mean) or 1), 1.9)
    changes.add(rank, "statistic", text, name, before, after, effect)


def _standard_error(pair: Pair, old: Statistics, new: Statistics) -> float:
    """How far two means of samples are apart by chance."""
    count = min(old.count - old.nulls, new.count - new.nulls)
    if pair.is_aligned and old.nulls == new.nulls == 0:
        numpy: Any = sys.modules["numpy"]
        with numpy.errstate(all="ignore"):
            changed = pair.after.data.astype("f8") - pair.before.data.astype("f8")
            deviation = float(changed.std())
        if math.isfinite(deviation):
            return deviation / math.sqrt(count)
    return math.sqrt((old.spread**2 + new.spread**2) / max(count, 1))


def _tell_extremes(changes: Changes, name: str, old: Statistics, new: Statistics) -> None:
    if old.low is None or new.low is None:
        return
    is_time = not isinstance(old.low, int | float)
    if is_time == isinstance(new.low, int | float):
        return
    of = f" of {name}" if name else ""
    least, most = "min", "max"
    if is_time:
        is_moment = old.low.dtype.kind == "M"
        least, most = ("earliest", "latest") if is_moment else ("shortest", "longest")
    for what, was, now in ((least, old.low, new.low), (most, old.high, new.high)):
        if was == now or (was != was and now != now):
            continue
        before, after = span(was, now)
        text = f"{what}{of} {before}{ARROW}{after}"
        rank = Rank.STATISTIC if is_time else Rank.DETAIL
        changes.add(rank, "statistic", text, name, before, after)


def _tell_shares(changes: Changes, name: str, pair: Pair, old: Statistics, new: Statistics) -> None:
    of = f" of {name}" if name else ""
    if old.share is not None and new.share is not None and old.share != new.share:
        sizes = old.count - old.nulls, new.count - new.nulls
        if pair.is_sampled and not _is_no_chance(old.share, new.share, *sizes):
            return
        before, after = number_pair(old.share * 100, new.share * 100, 3)
        text = f"true values{of} {before} %{ARROW}{after} %"
        changes.add(Rank.STATISTIC, "statistic", text, name, f"{before} %", f"{after} %")
    if pair.is_sampled or old.distinct is None or new.distinct is None:
        return
    if old.distinct != new.distinct:
        before, after = f"{old.distinct:,}", f"{new.distinct:,}"
        text = f"distinct values{of} {before}{ARROW}{after}"
        changes.add(Rank.STATISTIC, "statistic", text, name, before, after)
