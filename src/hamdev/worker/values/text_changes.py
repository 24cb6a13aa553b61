"""How two texts differ: the first line that does, and how many came or went."""

from __future__ import annotations

from hamdev.worker.values.changes import Changes, Rank
from hamdev.worker.values.shown import shown
from hamdev.worker.values.words import ARROW, clipped, counted

_LOOKED_AT = 1024 * 1024
_SHOWN = 60
_AROUND = 12


def compare_texts(changes: Changes, where: str, kind: str, before: str, after: str) -> None:
    """Note how `after` differs from `before`."""
    if before == after:
        return
    prefix = f"{where} " if where else ""
    if before[:_LOOKED_AT] == after[:_LOOKED_AT]:
        changes.note_sample(_LOOKED_AT)
        text = f"{prefix}differs after {_LOOKED_AT:,} characters"
        changes.add(Rank.VALUE, kind, text, where)
        if len(before) != len(after):
            text = f"{prefix}{len(before):,}{ARROW}{counted(len(after), 'character')}"
            changes.add(Rank.SIZE, "text", text, where)
        return
    if "\n" not in before[:_LOOKED_AT] and "\n" not in after[:_LOOKED_AT]:
        old, new = around_first_difference(before, after)
        changes.add(Rank.VALUE, kind, f"{prefix}{old}{ARROW}{new}", where, old, new)
        if max(len(before), len(after)) > _SHOWN and len(before) != len(after):
            text = f"{prefix}{len(before):,}{ARROW}{counted(len(after), 'character')}"
            changes.add(Rank.DETAIL, "text", text, where)
        return
    is_cut = max(len(before), len(after)) > _LOOKED_AT
    if is_cut and len(before) != len(after):
        text = f"{prefix}{len(before):,}{ARROW}{counted(len(after), 'character')}"
        changes.add(Rank.SIZE, "text", text, where)
    lines, others = (text[:_LOOKED_AT].split("\n") for text in (before, after))
    _compare_lines(changes, where, lines, others, is_cut)


def _compare_lines(
    changes: Changes, where: str, before: list[str], after: list[str], is_cut: bool
) -> None:
    prefix = f"{where} " if where else ""
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and before[start] == after[start]:
        start += 1
    if is_cut:
        changes.note_sample(shorter)
    end = 0
    while not is_cut and end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    removed, added = before[start : len(before) - end], after[start : len(after) - end]
    line = f"line {start + 1:,}"
    if not removed or not added:
        what, lines = ("added", added) if added else ("removed", removed)
        told = next((text for text in lines if text.strip()), "").strip()
        text = f"{prefix}{counted(len(lines), 'line')} {what} at {line}: {clipped(told, _SHOWN)}"
        changes.add(Rank.VALUE, "text", text, where)
    else:
        old, new = around_first_difference(removed[0].strip(), added[0].strip())
        if removed[0].strip() == added[0].strip():
            old, new = shown(removed[0], _SHOWN), shown(added[0], _SHOWN)
        changes.add(Rank.VALUE, "text", f"{prefix}{line}: {old}{ARROW}{new}", where, old, new)
        if max(len(removed), len(added)) > 1 and not is_cut:
            text = f"{prefix}{len(removed):,}{ARROW}{counted(len(added), 'line')} from {line} on"
            if len(removed) == len(added):
                text = f"{prefix}{counted(len(added), 'line')} changed from {line} on"
            changes.add(Rank.STATISTIC, "text", text, where)
    if len(before) != len(after) and not is_cut:
        text = f"{prefix}{len(before):,}{ARROW}{counted(len(after), 'line')}"
        changes.add(Rank.DETAIL, "text", text, where)


def around_first_difference(before: str, after: str, whole: int = _SHOWN) -> tuple[str, str]:
    """Both texts, of such as are longer than `whole` what is around where they begin to differ."""
    if len(before) <= whole and len(after) <= whole:
        return shown(before, whole + 10), shown(after, whole + 10)
    same = common_prefix(before, after)
    start = max(0, same - _AROUND)
    return _excerpt(before, start), _excerpt(after, start)


def _excerpt(text: str, start: int) -> str:
    length = _SHOWN // 2
    short = repr(text[start : start + length])
    return ("…" if start else "") + short + ("…" if start + length < len(text) else "")


def common_prefix(before: str, after: str) -> int:
    """How many characters two texts begin with together, as far as they are looked at."""
    low, high = 0, min(len(before), len(after), _LOOKED_AT)
    while low < high:
        middle = (low + high + 1) // 2
        if before[low:middle] == after[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
