"""How two values of one node differ, as a person would say it."""

from __future__ import annotations

import re
from typing import Any

from hamdev.messages import Diff, Summary
from hamdev.worker.interruption import RunCancelled
from hamdev.worker.values.changes import Changes, Rank
from hamdev.worker.values.comparison import Comparison
from hamdev.worker.values.text_changes import common_prefix, compare_texts
from hamdev.worker.values.words import ARROW, by, counted, growth, listed, number_pair, one_line

# What is said of values of which nothing else is known but that they differ.
UNSEEN = Diff(text="differs in what is not shown")
_SHORT = 60
_INDEX = "the index"
_NUMBER = re.compile(r"-?\d+(\.\d*)?(e[-+]?\d+)?")


def difference(before: Any, after: Any) -> Diff | None:
    """What has changed from `before` to `after`; None if nothing that can be seen has.

    No library is imported for it, and neither value is changed. Large values are looked at in
    evenly spaced samples, which the answer says.

    Raises:
        RunCancelled: while a value's own code was running.
    """
    comparison = Comparison()
    try:
        comparison.compare("", "value", before, after)
    except RunCancelled:
        raise
    except BaseException:  # the values' own methods may do anything; what was found before stays
        pass
    try:
        return comparison.changes.diff()
    except UnicodeEncodeError:
        return None


def summary_difference(before: Summary, after: Summary) -> Diff | None:
    """What can be said of two values that are known by their summaries only."""
    changes = Changes()
    if before.type != after.type:
        changes.add(Rank.TYPE, "type", f"{before.type}{ARROW}{after.type}")
    if before.shape and after.shape:
        _shapes(changes, before, after)
    if before.type == after.type:
        _columns(changes, before, after)
    if before.text != after.text and (not len(changes) or _are_short(before, after)):
        _texts(changes, before, after)
    samples = [summary.sampled for summary in (before, after) if summary.sampled]
    if samples:
        changes.note_sample(min(samples))
    return changes.diff()


def _shapes(changes: Changes, before: Summary, after: Summary) -> None:
    old, new = before.shape or [], after.shape or []
    if old == new:
        return
    if old[1:] == new[1:] and len(old) == len(new):
        what = "row" if after.columns else "item"
        text = f"{old[0]:,}{ARROW}{counted(new[0], what)}"
    elif before.columns and after.columns and old[:1] == new[:1]:
        if _shows_all(before) and _shows_all(after):
            return  # the columns say it
        text = f"{old[-1]:,}{ARROW}{counted(new[-1], 'column')}"
    else:
        text = f"{by(old)}{ARROW}{by(new)}"
    changes.add(Rank.SIZE, "shape", text, "", by(old), by(new))


def _columns(changes: Changes, before: Summary, after: Summary) -> None:
    """Columns, as far as the summaries have them."""
    if not before.columns or not after.columns:
        return
    old, new = _facts(before), _facts(after)
    if _shows_all(before) and _shows_all(after):
        for what, names in (
            ("added", [name for name in new if name not in old]),
            ("removed", [name for name in old if name not in new]),
        ):
            if names:
                column = "column" if len(names) == 1 else "columns"
                changes.add(Rank.MEMBER, "column", f"{column} {listed(names)} {what}", names[0])
    if _INDEX in old and _INDEX in new and before.columns[0] != after.columns[0]:
        was, now = before.columns[0] or "none", after.columns[0] or "none"
        changes.add(Rank.INDEX, "index", f"name of the index {was}{ARROW}{now}", "", was, now)
    is_sampled = before.sampled or after.sampled
    for key in new:
        if key not in old:
            continue
        name = after.columns[0] or key if key == _INDEX else key
        of = f" of {name}" if name else ""
        (was, nulls, span), (now, nows, spans) = old[key], new[key]
        if was != now:
            text = f"type{of} {was}{ARROW}{now}"
            changes.add(Rank.TYPE_OF_PART, "type", text, name, was, now)
        elif nulls != nows and not is_sampled:
            text = f"nulls{' in ' + name if name else ''} {nulls}{ARROW}{nows}"
            changes.add(Rank.NULLS, "statistic", text, name, nulls, nows)
        elif span != spans and span and spans and not is_sampled:
            text = _spans(of, span, spans)
            changes.add(Rank.STATISTIC, "statistic", text, name, span, spans)
    if not len(changes) and before.rows != after.rows:
        changes.add(Rank.VALUE, "value", "the first rows changed")


def _spans(of: str, before: str, after: str) -> str:
    for end, what in ((" distinct", "distinct values"), (" % true", "true values")):
        if before.endswith(end) and after.endswith(end):
            unit = " %" if "%" in end else ""
            old, new = before.removesuffix(end), after.removesuffix(end)
            return f"{what}{of} {old}{unit}{ARROW}{new}{unit}"
    return f"range{of} {before}{ARROW}{after}"


def _facts(summary: Summary) -> dict[str, tuple[str, str, str]]:
    """Of each column: its type, how many are missing, what it spans."""
    columns, shape = summary.columns or [], summary.shape or []
    blank = [""] * len(columns)
    nulls = [str(count) for count in summary.nulls] if summary.nulls else blank
    facts = zip(summary.types or blank, nulls, summary.ranges or blank, strict=False)
    is_series = len(shape) == 1
    has_index = summary.type == "pandas.DataFrame" or len(columns) > (1 if is_series else shape[1])
    names = [_INDEX, *columns[1:]] if has_index else list(columns)
    if is_series:
        names[-1] = ""  # it is what the node says it is, whatever the column that it came from
    return dict(zip(names, facts, strict=False))


def _shows_all(summary: Summary) -> bool:
    """Whether the summary has all columns; it has only the first ones of a wide table."""
    shape = summary.shape or []
    return len(shape) < 2 or len(summary.columns or []) >= shape[1]


def _texts(changes: Changes, before: Summary, after: Summary) -> None:
    old, new = before.text, after.text
    if _NUMBER.fullmatch(old) and _NUMBER.fullmatch(new):
        was, now = _parsed(old), _parsed(new)
        old, new = number_pair(was, now)
        more = growth(was, now)
        text = f"{old}{ARROW}{new}" + (f" ({more})" if more else "")
        return changes.add(Rank.VALUE, "value", text, "", old, new)
    if before.type == after.type == "str" and "\n" in old and "\n" in new:
        # Of a long text, the first line says how long it is.
        lines, others = old.partition("\n")[2], new.partition("\n")[2]
        if lines != others:
            return compare_texts(changes, "", "value", lines, others)
    if max(len(old), len(new)) > _SHORT:
        old, new = (_from(text, common_prefix(old, new)) for text in (old, new))
    return changes.add(Rank.VALUE, "value", f"{old}{ARROW}{new}", "", old, new)


def _from(text: str, place: int) -> str:
    """The part of a long text that begins with the word in this place."""
    start = text.rfind(" ", 0, place) + 1
    return ("…" if start else "") + one_line(text[start:], _SHORT // 2)


def _are_short(before: Summary, after: Summary) -> bool:
    """Whether both texts are the whole value."""
    return (
        before.type == after.type
        and not after.columns
        and max(len(summary.text) for summary in (before, after)) <= _SHORT
    )


def _parsed(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
