"""A block → lines of text, for any width, with or without colour."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from hamdev.clients.terminal.blocks import Block, Notice, Progress, Replaced, Row, most_telling
from hamdev.clients.terminal.edits import Edit
from hamdev.clients.terminal.paper import Paper
from hamdev.clients.terminal.printing import Printed
from hamdev.clients.terminal.problems import MAX_MESSAGE_LINES, Frame, told
from hamdev.clients.terminal.reasons import reasons
from hamdev.messages import Problem, Summary

MAX_ROWS = 12
MAX_REASONS = 3
MAX_EDITS = 4
MAX_EDIT_LINES = 6
MAX_PROBLEMS = 6
MAX_FRAMES = 4
MAX_CAUSES = 2
MAX_WARNINGS = 5
MAX_PRINTING_NODES = 6
# What does not fit beside a node's name in less than this goes below it.
MIN_VALUE_COLUMNS = 26

ReadLine = Callable[[str, int], str | None]


def block_lines(
    block: Block, paper: Paper, read_line: ReadLine, name_pipeline: bool = False
) -> Iterator[Text]:
    """What a run did.

    Args:
        block: the run.
        paper: what it is written on.
        read_line: gives a line of a file.
        name_pipeline: there are several.
    """
    head = _head(block, paper, name_pipeline)
    if block.outcome == "cancelled":
        yield from _one_line(head, _cancelled(block), paper)
        return
    if block.outcome == "ok" and not (block.rows or block.printed or block.warnings):
        yield from _one_line(head, _nothing_ran(block), paper)
        for replaced in block.replaced:
            yield from paper.paragraph("  ", _replaced(replaced), "dim")
        return
    yield head
    for replaced in block.replaced:
        yield from paper.paragraph("  ", _replaced(replaced), "dim")
    if not block.not_loaded:
        yield from _edits(block.edits, paper)
        yield from _reasons(block, paper)
    yield from _rows(block, paper)
    yield from _printed(block.printed, paper)
    for problem in block.problems[:MAX_PROBLEMS]:
        yield from problem_lines(problem, paper, read_line)
    if (more := len(block.problems) - MAX_PROBLEMS) > 0:
        yield from paper.paragraph("  ", f"… and {more} more problems (hamdev status)", "red")
    for by, nodes in block.blocked.items():
        text = f"{len(nodes)} blocked by {by}: {', '.join(nodes)}"
        yield from paper.paragraph("  ", text, "yellow", lines=2)
    for warning in block.warnings[:MAX_WARNINGS]:
        yield from paper.paragraph("  warning: ", warning, "yellow", 4, "yellow")
    if (more := len(block.warnings) - MAX_WARNINGS) > 0:
        yield from paper.paragraph("  ", f"… and {more} more warnings", "yellow")
    style = "bold red" if block.outcome == "failed" else "bold green"
    yield from paper.paragraph("  ", _ending(block), style)


def notice_lines(notice: Notice, paper: Paper, read_line: ReadLine) -> Iterator[Text]:
    """Something that happened beside the runs."""
    lead = Text(f"{_clock(notice.time)}  ", "dim")
    if notice.problem is None:
        for line in paper.paragraph("warning: ", notice.text, "yellow", 4, "yellow"):
            yield lead + line
            lead = Text(" " * len(lead))
        return
    yield lead + Text("worker", "bold")
    yield from problem_lines(notice.problem, paper, read_line)


def progress_line(progress: Progress, now: float, paper: Paper, name_pipeline: bool) -> str:
    """What is going on, in one line that is shorter than the paper is wide."""
    if progress.run is None:
        text = f"loading {duration((now - progress.since) * 1e3)}"
    elif progress.node is None:
        text = f"running {progress.done} of {progress.planned} {_since(now, progress.since)}"
    else:
        text = f"running {progress.done + 1} of {progress.planned}: "
        text += f"{progress.node} {_since(now, progress.node_since)}"
    if name_pipeline and progress.pipeline:
        text = f"{progress.pipeline}: {text}"
    if progress.said:
        text += f" · {progress.said}"
    return paper.cut(paper.plain(text), paper.width - 3)


def _since(now: float, then: float) -> str:
    return duration(max(now - then, 0.0) * 1e3)


# -- the block's parts -----------------------------------------------------------------------------


def _head(block: Block, paper: Paper, name_pipeline: bool) -> Text:
    parts = [(_title(block), "bold"), (f"revision {block.revision}", "")]
    if name_pipeline:
        parts.insert(1, (block.pipeline, "cyan"))
    head = Text(f"{_clock(block.time)}  ", "dim")
    room = paper.width - len(head)
    for number, (text, style) in enumerate(parts):
        if number:
            head.append(paper.plain(" · "), "dim")
        # The title may be long; where it ends is less telling than what follows.
        others = sum(cell_len(other) + 3 for other, _ in parts[1:])
        head.append(
            paper.cut(paper.plain(text), max(room - others, 12) if not number else room), style
        )
    return head


def _title(block: Block) -> str:
    match block.cause.kind:
        case "start":
            return "started"
        case "rerun":
            return f"rerun {block.cause.text}"
        case "clean":
            return f"clean rerun {block.cause.text}"
    return block.cause.text or "run"


def _one_line(head: Text, text: str, paper: Paper) -> Iterator[Text]:
    text = paper.plain(text)
    if cell_len(head.plain) + cell_len(text) + 2 <= paper.width:
        yield head + Text("  ") + Text(text, "dim")
        return
    yield head
    yield from paper.paragraph("  ", text, "dim")


def _cancelled(block: Block) -> str:
    return f"run {block.run} cancelled after {duration(block.ms)}, {_counted(block)}"


def _nothing_ran(block: Block) -> str:
    if block.recovered:
        why = "ok again"
    elif block.spared:
        why = "comment or formatting only"
    elif block.cause.kind == "save":
        why = "no node depends on that"
    else:
        why = "ok"
    return f"{why}: 0 nodes ran, {block.reused} reused, {duration(block.ms)}"


def _replaced(run: Replaced) -> str:
    where = f" in {run.node}" if run.node else ""
    how = "given up with its worker" if run.by_force else "stopped for a newer save"
    return f"run {run.run} ({run.cause.text}) was {how} after {_seconds(run.seconds)}{where}"


def _edits(edits: Sequence[Edit], paper: Paper) -> Iterator[Text]:
    for edit in edits[:MAX_EDITS]:
        lead = f"  {paper.path(edit.file)}:{edit.line}  "
        if cell_len(lead) > paper.width // 3:
            lead = f"  {paper.path(edit.file).rpartition('/')[2]}:{edit.line}  "
        lines = [("- ", "red", line) for line in edit.before if line.strip()]
        lines += [("+ ", "green", line) for line in edit.after if line.strip()]
        indent = min((len(t) - len(t.lstrip()) for _, _, t in lines), default=0)
        for sign, style, line in lines[:MAX_EDIT_LINES]:
            text = paper.plain(sign + line.expandtabs(4)[indent:])
            room = max(paper.width - cell_len(lead), 12)
            yield Text(paper.plain(lead), "cyan") + Text(paper.cut(text, room), style)
            lead = " " * len(lead)
        if (more := len(lines) - MAX_EDIT_LINES) > 0:
            yield Text(paper.plain(f"{lead}… and {more} more lines"), "dim")
    if (more := len(edits) - MAX_EDITS) > 0:
        yield Text(paper.plain(f"  … and {more} more places"), "dim")


def _reasons(block: Block, paper: Paper) -> Iterator[Text]:
    found = reasons(block.plan, block.cause, paper.path)
    for reason in found[:MAX_REASONS]:
        yield from paper.paragraph("  because ", reason, "dim", 2, "dim")
    if (more := len(found) - MAX_REASONS) > 0:
        yield Text(paper.plain(f"  … and {more} more reasons (hamdev why NODE)"), "dim")


def _rows(block: Block, paper: Paper) -> Iterator[Text]:
    rows = most_telling(block.rows, MAX_ROWS)
    if not rows:
        return
    parts = [[(paper.plain(t), style) for t, style in _value(row)] for row in rows]
    names = [paper.plain(row.node) for row in rows]
    times = [duration(row.ms) if row.action == "ran" else "earlier" for row in rows]
    name_columns = min(max(map(cell_len, names)), max(paper.width * 2 // 5, 12))
    time_columns = max(map(len, times))
    room = paper.width - name_columns - time_columns - 8
    is_narrow = room < MIN_VALUE_COLUMNS
    if is_narrow:
        name_columns = paper.width - time_columns - 6
        room = paper.width - 6
    value_columns = min(room, max(cell_len(" ".join(t for t, _ in value)) for value in parts))
    for row, name, value, took in zip(rows, names, parts, times, strict=True):
        line = Text("    ") + Text(paper.cut(name, name_columns), "bold" if row.is_final else "")
        lines = _styled(value, room, paper, 1 if row.is_new else 2)
        if is_narrow:
            line.append(" " * (name_columns - cell_len(line.plain) + 4))
            yield line + Text(f"  {took:>{time_columns}}", "dim")
            yield from (Text("      ") + part for part in lines)
            continue
        line.append(" " * (name_columns + 6 - cell_len(line.plain)))
        first, *others = lines
        gap = " " * max(value_columns - cell_len(first.plain), 0)
        yield line + first + Text(f"{gap}  {took:>{time_columns}}", "dim")
        yield from (Text(" " * (name_columns + 6)) + part for part in others)
    if (more := len(block.rows) - len(rows)) > 0:
        yield Text(paper.plain(f"    … and {more} more (hamdev status)"), "dim")


def _value(row: Row) -> list[tuple[str, str]]:
    """A value and how it differs, in parts with their styles."""
    if row.diff is not None and row.diff.text:
        if _is_single(row.summary):
            return [(row.diff.text, "yellow")]
        return [(f"{_what(row.summary)}:", ""), (row.diff.text, "yellow")]
    value = value_text(row.summary)
    if row.is_new:
        return [(value, "")]
    # The difference may lie in what neither texts nor shapes show.
    return [
        (value, "" if row.changed else "dim"),
        ("changed" if row.changed else "as before", "dim"),
    ]


def _is_single(summary: Summary) -> bool:
    return not summary.columns and not summary.shape and "\n" not in summary.text


def _what(summary: Summary) -> str:
    """The kind of a value and how large it is."""
    kind = summary.type.rpartition(".")[2]
    shape = " × ".join(f"{n:,}" for n in summary.shape or ())
    return f"{kind} {shape}".rstrip()


def value_text(summary: Summary) -> str:
    """A value in one line."""
    columns = summary.columns or []
    if len(summary.shape or ()) == 1 and columns:
        ranges = summary.ranges or []
        span = ranges[-1] if len(ranges) == len(columns) else ""
        return f"{_what(summary)}: {span}" if span else _what(summary)
    if columns:
        return f"{_what(summary)}: {', '.join(filter(None, columns))}".rstrip(": ")
    lines = [line for line in summary.text.splitlines() if line.strip()]
    return lines[0].strip() + " …" * (len(lines) > 1) if lines else ""


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


def _printed(printed: Sequence[Printed], paper: Paper) -> Iterator[Text]:
    for part in printed[:MAX_PRINTING_NODES]:
        first, left_out, last = part.lines()
        yield Text(paper.plain(f"  printed by {part.node}" if part.node else "  printed"), "dim")
        room = paper.width - 6 if paper.is_cut else 10_000
        bar = paper.plain("│")
        for line in first:
            yield Text(f"    {bar} ", "dim") + Text(paper.cut(paper.plain(line), room))
        if left_out > 0:
            yield Text(paper.plain(f"    … {left_out:,} more lines"), "dim")
        for line in last:
            yield Text(f"    {bar} ", "dim") + Text(paper.cut(paper.plain(line), room))
    if (more := len(printed) - MAX_PRINTING_NODES) > 0:
        yield Text(paper.plain(f"  … and {more} more nodes printed"), "dim")


# -- problems --------------------------------------------------------------------------------------


def problem_lines(problem: Problem, paper: Paper, read_line: ReadLine) -> Iterator[Text]:
    """What is wrong, and the user's lines that led to it."""
    first, *causes = told(problem, paper.root, read_line)
    lead = f"  {problem.node}: " if problem.node else "  "
    yield from paper.paragraph(lead, first.message[0], "red", 4, "bold")
    for line in first.message[1:MAX_MESSAGE_LINES]:
        yield from paper.paragraph("    ", line, "red", 2)
    if len(first.message) > MAX_MESSAGE_LINES:
        yield Text(paper.plain("    …"), "red")
    yield from _frames(first.frames, paper)
    for cause in causes[:MAX_CAUSES]:
        yield from paper.paragraph("    after ", " ".join(cause.message), "red", 2, "dim")
        yield from _frames(cause.frames[-1:], paper)


def _frames(frames: Sequence[Frame], paper: Paper) -> Iterator[Text]:
    for number, frame in enumerate(reversed(frames)):
        if number == MAX_FRAMES:
            more = len(frames) - MAX_FRAMES
            yield Text(paper.plain(f"    … and {more} more calls"), "dim")
            return
        place = f"{paper.path(frame.file)}:{frame.line}" if frame.line else paper.path(frame.file)
        inside = f" in {frame.function}" if frame.function and frame.function[0] != "<" else ""
        lead = "    called from " if number else "    "
        yield from paper.paragraph(lead, place + inside, "cyan", 2, "dim")
        if frame.source:
            yield from _excerpt(frame, paper, with_mark=not number)


def _excerpt(frame: Frame, paper: Paper, with_mark: bool) -> Iterator[Text]:
    """A line of source, and what is meant in it; of a long one the part around that."""
    source = frame.source
    begin, end = frame.mark or (0, 0)
    room = paper.width - 8 if paper.is_cut else 10_000
    # What comes before a mark that would be out of sight is left out.
    if cell_len(source) > room and cell_len(source[:end]) > room - 4:
        skipped = max(begin - room // 2, 0)
        source, begin, end = "…" + source[skipped + 1 :], begin - skipped, end - skipped
    before = paper.plain(source[:begin])
    meant = paper.plain(source[begin:end])
    yield Text("        ") + Text(paper.cut(paper.plain(source), room))
    if frame.mark and with_mark and cell_len(before) < room:
        carets = "^" * max(min(cell_len(meant), room - cell_len(before)), 1)
        yield Text(" " * (8 + cell_len(before))) + Text(carets, "bold red")


# -- numbers ---------------------------------------------------------------------------------------


def _ending(block: Block) -> str:
    again = " again" if block.recovered else ""
    if block.outcome == "ok":
        return f"ok{again} in {duration(block.ms)}: {_counted(block)}"
    if block.not_loaded:
        return f"failed in {duration(block.ms)}: nothing ran, the last good values are still served"
    return f"failed in {duration(block.ms)}: {_counted(block)}"


def _counted(block: Block) -> str:
    failed = sum(problem.kind in ("node", "input") for problem in block.problems)
    counts = [(failed, "failed"), (sum(map(len, block.blocked.values())), "blocked")]
    shown = [f"{count} {word}" for count, word in counts if count]
    return ", ".join([*shown, f"{block.ran} ran, {block.reused} reused"])


def duration(ms: float) -> str:
    """A time as people say it."""
    if ms < 10:
        return f"{ms:.1f} ms" if ms >= 0.05 else "<0.1 ms"
    return f"{ms:.0f} ms" if ms < 1000 else _seconds(ms / 1e3)


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))
