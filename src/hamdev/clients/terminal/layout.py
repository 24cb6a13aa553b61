"""A block → lines of text, for any width, with or without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from hamdev.clients.terminal.blocks import Block, Notice, Progress, Replaced
from hamdev.clients.terminal.edits import Edit
from hamdev.clients.terminal.failures import ReadLine, problem_lines
from hamdev.clients.terminal.paper import Paper
from hamdev.clients.terminal.printing import MAX_PRINTING_NODES, Printed
from hamdev.clients.terminal.reasons import reasons
from hamdev.clients.terminal.rows import row_lines
from hamdev.clients.terminal.times import clock, duration, seconds_text

MAX_REASONS = 3
MAX_EDITS = 4
MAX_EDIT_LINES = 6
MAX_PROBLEMS = 6
MAX_WARNINGS = 5


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
    yield from head
    for replaced in block.replaced:
        yield from paper.paragraph("  ", _replaced(replaced), "dim")
    if not block.not_loaded:
        yield from _edits(block.edits, paper)
        yield from _reasons(block, paper)
    yield from row_lines(block.rows, paper)
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
    lead = Text(f"{clock(notice.time)}  ", "dim")
    if notice.warning:
        for line in paper.paragraph("warning: ", notice.warning, "yellow", 4, "yellow"):
            yield lead + line
            lead = Text(" " * len(lead))
    if notice.problem is not None:
        yield lead + Text("worker", "bold")
        yield from problem_lines(notice.problem, paper, read_line)
    if notice.printed is not None:
        yield lead + Text("beside the runs", "bold")
        yield from _printed([notice.printed], paper)


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


def _head(block: Block, paper: Paper, name_pipeline: bool) -> list[Text]:
    facts = [(f"revision {block.revision}", "")]
    if name_pipeline:
        facts.insert(0, (block.pipeline, "cyan"))
    lead = Text(f"{clock(block.time)}  ", "dim")
    dot = (" · ", "dim")
    title = paper.plain(_title(block))
    room = paper.width - len(lead)
    needed = cell_len(title) + sum(cell_len(fact) + 3 for fact, _ in facts)
    if needed <= room:
        parts = [(title, "bold"), *(part for fact in facts for part in (dot, fact))]
        return [lead + _joined(parts, paper, room)]
    parts = [part for fact in facts for part in (dot, fact)][1:]
    return [lead + _joined(parts, paper, room), *paper.paragraph("  ", title, "bold", 2)]


def _joined(parts: Sequence[tuple[str, str]], paper: Paper, room: int) -> Text:
    joined = Text()
    for text, style in parts:
        shown = paper.cut(paper.plain(text), max(room - cell_len(joined.plain), 0))
        joined.append(shown, style)
    return joined


def _title(block: Block) -> str:
    match block.cause.kind:
        case "start":
            return "started"
        case "rerun":
            return f"rerun {block.cause.text}"
        case "clean":
            return f"clean rerun {block.cause.text}"
    return block.cause.text or "run"


def _one_line(head: list[Text], text: str, paper: Paper) -> Iterator[Text]:
    text = paper.plain(text)
    if len(head) == 1 and cell_len(head[0].plain) + cell_len(text) + 2 <= paper.width:
        yield head[0] + Text("  ") + Text(text, "dim")
        return
    yield from head
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
    return f"run {run.run} ({run.cause.text}) was {how} after {seconds_text(run.seconds)}{where}"


def _edits(edits: Sequence[Edit], paper: Paper) -> Iterator[Text]:
    places = [(paper.path(edit.file), edit) for edit in edits[:MAX_EDITS]]
    if any(cell_len(f"  {path}:{edit.lines.line}  ") > paper.width // 3 for path, edit in places):
        places = [(path.rpartition("/")[2], edit) for path, edit in places]
    for path, edit in places:
        lead = f"  {path}:{edit.lines.line}  "
        lines = [("- ", "red", line) for line in edit.lines.before if line.strip()]
        lines += [("+ ", "green", line) for line in edit.lines.after if line.strip()]
        indent = min((len(t) - len(t.lstrip()) for _, _, t in lines), default=0)
        for sign, style, line in lines[:MAX_EDIT_LINES]:
            text = paper.plain(sign + line.expandtabs(4)[indent:])
            room = max(paper.width - cell_len(lead), 12) if paper.is_cut else 10_000
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


def output_lines(
    printed: Printed, pipeline: str, now: float, paper: Paper, has_head: bool
) -> Iterator[Text]:
    """What was printed since it was last shown, while the run goes on.

    Args:
        printed: what it is; it counts as shown from now on.
        pipeline: to be named; empty: not.
        now: the time, in seconds since the epoch.
        paper: what it is written on.
        has_head: the lines follow others of the same node.
    """
    lines = printed.show()
    if not lines:
        return
    if not has_head:
        yield Text()
        name = f"{pipeline} · " if pipeline else ""
        by = f"printed by {printed.node}" if printed.node else "printed"
        yield Text(paper.plain(f"{clock(now)}  {name}{by}"), "dim")
    yield from _barred(lines, paper)


def _printed(printed: Sequence[Printed], paper: Paper) -> Iterator[Text]:
    unshown = [part for part in printed if not part.is_shown]
    for part in unshown[:MAX_PRINTING_NODES]:
        first, left_out, last = part.lines()
        printed_by = "more printed" if part.is_begun else "printed"
        by = f"  {printed_by} by {part.node}" if part.node else f"  {printed_by}"
        yield Text(paper.plain(by), "dim")
        yield from _barred(first, paper)
        if left_out > 0:
            yield Text(paper.plain(f"    … {left_out:,} more lines"), "dim")
        yield from _barred(last, paper)
    if (more := len(unshown) - MAX_PRINTING_NODES) > 0:
        yield Text(paper.plain(f"  … and {more} more nodes printed"), "dim")


def _barred(lines: Sequence[str], paper: Paper) -> Iterator[Text]:
    room = paper.width - 6 if paper.is_cut else 10_000
    bar = paper.plain("│")
    for line in lines:
        yield Text(f"    {bar} ", "dim") + Text(paper.cut(paper.plain(line), room))


# -- the end -------------------------------------------------------------------------------------


def _ending(block: Block) -> str:
    again = " again" if block.recovered else ""
    if block.outcome == "ok":
        return f"ok{again} in {duration(block.ms)}: {_counted(block)}"
    if block.not_loaded:
        text = f"failed in {duration(block.ms)}: nothing ran"
        if block.served_revision is not None:
            text += f", the values of revision {block.served_revision} are still served"
        return text
    return f"failed in {duration(block.ms)}: {_counted(block)}"


def _counted(block: Block) -> str:
    failed = sum(problem.kind in ("node", "input") for problem in block.problems)
    counts = [(failed, "failed"), (sum(map(len, block.blocked.values())), "blocked")]
    shown = [f"{count} {word}" for count, word in counts if count]
    return ", ".join([*shown, f"{block.ran} ran, {block.reused} reused"])
