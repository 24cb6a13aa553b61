"""A problem as lines: what went wrong, where, the line of source and what is meant in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from hamdev.clients.terminal.paper import Paper
from hamdev.clients.terminal.problems import MAX_MESSAGE_LINES, Frame, told
from hamdev.messages import Problem

MAX_FRAMES = 4
MAX_CAUSES = 2

ReadLine = Callable[[str, int], str | None]


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
