"""The nodes of a run that got a value, one in a line or two: name, value, difference, time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import structs
from rich.cells import cell_len
from rich.text import Text

from hamdev.clients.terminal.blocks import Row, most_telling
from hamdev.clients.terminal.paper import Paper
from hamdev.clients.terminal.times import duration
from hamdev.clients.values_in_line import kind_and_size, value_text
from hamdev.messages import Diff, Summary

MAX_ROWS = 12
# Of a value with its difference.
MAX_LINES = 2
# What does not fit beside a node's name in less than this goes below it.
MIN_VALUE_COLUMNS = 26


def row_lines(of_run: list[Row], paper: Paper) -> Iterator[Text]:
    """The most telling nodes, and how many more there are."""
    results = [row for row in of_run if row.is_final]
    # Where nothing can have changed, results say enough.
    has_old = any(not row.is_new for row in of_run)
    rows = most_telling(of_run if has_old or not results else results, MAX_ROWS)
    if not rows:
        return
    names = [paper.plain(row.node) for row in rows]
    times = [duration(row.ms) if row.action == "ran" else "earlier" for row in rows]
    name_columns = min(max(map(cell_len, names)), max(paper.width * 2 // 5, 12))
    time_columns = max(map(len, times))
    room = paper.width - name_columns - time_columns - 8
    is_narrow = room < MIN_VALUE_COLUMNS
    if is_narrow:
        name_columns = paper.width - time_columns - 6
        room = paper.width - 6
    parts = [_value(row, room, paper) for row in rows]
    value_columns = min(room, max(cell_len(" ".join(t for t, _ in value)) for value in parts))
    for row, name, value, took in zip(rows, names, parts, times, strict=True):
        line = Text("    ") + Text(paper.cut(name, name_columns), "bold" if row.is_final else "")
        lines = _styled(value, room, paper, 1 if row.is_new else MAX_LINES)
        if is_narrow:
            joined = " ".join(text for text, _ in value)
            free = name_columns - 2 - cell_len(name) - cell_len(joined)
            if free >= 0:
                (beside,), lines = _styled(value, room, paper, 1), []
                line += Text("  ") + beside + Text(" " * free)
            else:
                line.append(" " * (name_columns - cell_len(line.plain) + 4))
            yield line + Text(f"  {took:>{time_columns}}", "dim")
            yield from (Text("      ") + part for part in lines)
            continue
        line.append(" " * (name_columns + 6 - cell_len(line.plain)))
        first, *others = lines
        gap = " " * max(value_columns - cell_len(first.plain), 0)
        yield line + first + Text(f"{gap}  {took:>{time_columns}}", "dim")
        yield from (Text(" " * (name_columns + 6)) + part for part in others)
    if (more := len(of_run) - len(rows)) > 0:
        yield Text(paper.plain(f"    … and {more} more (hamdev status)"), "dim")


def _value(row: Row, room: int, paper: Paper) -> list[tuple[str, str]]:
    """A value and how it differs, in parts with their styles."""
    summary = structs.asdict(row.summary)
    if row.diff is not None and row.diff.text:
        lead = "" if _is_single(row.summary) else paper.plain(f"{kind_and_size(summary)}:")
        change = (_fitting(row.diff, lead, room, paper), "yellow")
        return [(lead, ""), change] if lead else [change]
    value = paper.plain(value_text(summary))
    if row.is_new:
        return [(value, "")]
    # The difference may lie in what neither texts nor shapes show.
    return [(value, "" if row.changed else "dim"), (f"({_same(row)})", "dim")]


def _fitting(diff: Diff, lead: str, room: int, paper: Paper) -> str:
    """As many changes as there is room for in `MAX_LINES`, after `lead`; at least one."""
    texts = [change.text for change in diff.changes]
    sample = f" (in a sample of {diff.sampled:,})" if diff.sampled is not None else ""
    candidates = [diff.text, *(", ".join([*texts[:n], "…"]) for n in range(len(texts) - 1, 0, -1))]
    shown = [paper.plain(text + sample) for text in candidates]
    for text in shown:
        if len(paper.wrapped(f"{lead} {text}".lstrip(), room, MAX_LINES + 1)) <= MAX_LINES:
            return text
    return shown[-1]


def _same(row: Row) -> str:
    return "changed" if row.changed else "as before"


def _is_single(summary: Summary) -> bool:
    return not summary.columns and not summary.shape and "\n" not in summary.text


def _styled(
    parts: Sequence[tuple[str, str]], room: int, paper: Paper, max_lines: int
) -> list[Text]:
    """Parts one after the other, wrapped, each in its style."""
    lines = paper.wrapped(" ".join(text for text, _ in parts), room, max_lines)
    result = [Text(line) for line in lines]
    if len(parts) == 1:
        return [Text(line, parts[0][1]) for line in lines]
    # Only the beginning of the first line is in the first style.
    first = len(parts[0][0])
    for number, line in enumerate(result):
        split = min(first, len(line)) if number == 0 else 0
        line.stylize(parts[0][1], 0, split)
        line.stylize(parts[1][1], split)
    return result
