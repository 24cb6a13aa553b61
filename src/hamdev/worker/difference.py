"""How two values of one node differ, as a person would say it."""

from __future__ import annotations

from typing import Any

from hamdev.messages import Change, Diff, Summary
from hamdev.worker.summary import summarize

MAX_SHOWN = 60


def difference(before: Any, after: Any) -> Diff | None:
    """What has changed from `before` to `after`; None if there is nothing to say."""
    if _is_number(before) and _is_number(after):
        text = f"{_number(before)} → {_number(after)}"
        if before and (share := (after - before) / abs(before)):
            text += f" ({share * 100:+.2g} %)"
        change = Change(kind="value", text=text, before=_number(before), after=_number(after))
        return Diff(text=text, changes=[change])
    return summary_difference(summarize(before), summarize(after))


def summary_difference(before: Summary, after: Summary) -> Diff | None:
    """What can be said of two values that are known by their summaries only."""
    changes = []
    if before.type != after.type:
        changes.append(_change("type", before.type, after.type))
    if before.shape != after.shape:
        changes.append(_change("shape", _by(before.shape), _by(after.shape)))
    if not changes and before.text != after.text:
        changes.append(_change("value", before.text, after.text))
    return Diff(text=", ".join(c.text for c in changes), changes=changes) if changes else None


def _change(kind: str, before: str, after: str) -> Change:
    old, new = (" ".join(text.split())[:MAX_SHOWN] for text in (before, after))
    return Change(kind=kind, text=f"{old} → {new}", before=old, after=new)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def _by(shape: list[int] | None) -> str:
    return " × ".join(f"{n:,}" for n in shape or [])
