"""What lines are written on: how wide it is, which characters it has, and text cut to fit it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from hamdev.clients.render import printable

_ASCII = str.maketrans(
    {
        "→": "->",
        "×": "x",
        "·": "-",
        "…": "...",
        "−": "-",
        "–": "-",
        "│": "|",
        "≥": ">=",
        "≤": "<=",
        "±": "+/-",
    }
)
MIN_WIDTH = 20


@dataclass(frozen=True, slots=True)
class Paper:
    """A terminal or a file.

    Args:
        width: columns.
        encoding: of what is written.
        is_cut: lines are cut to the width; in a file long ones may be useful.
        folder: paths in it are shown without it.
        root: the project's folder.
    """

    width: int
    encoding: str = "utf-8"
    is_cut: bool = True
    folder: PurePath = field(default_factory=Path.cwd)
    root: PurePath = field(default_factory=Path.cwd)

    def plain(self, text: str) -> str:
        """`text` in one line, of characters that can be written and that steer nothing."""
        text = printable(text)
        if text.isascii():
            return text
        try:
            text.encode(self.encoding)
        except (UnicodeEncodeError, LookupError):
            text = text.translate(_ASCII)
            return text.encode("ascii", "backslashreplace").decode()
        return text

    def path(self, file: str) -> str:
        """A path as it is shown."""
        for folder in (self.folder, self.root):
            if PurePath(file).is_relative_to(folder):
                return str(PurePath(file).relative_to(folder))
        return file

    def cut(self, text: str, room: int) -> str:
        """At most `room` columns of `text`, which is plain."""
        if cell_len(text) <= room:
            return text
        end = self.plain("…")
        return set_cell_size(text, max(room - len(end), 0)).rstrip() + end[: max(room, 0)]

    def wrapped(self, text: str, room: int, lines: int) -> list[str]:
        """`text`, which is plain, in at most so many lines of `room` columns."""
        room = max(room, 8)
        shown: list[str] = []
        rest = text
        while rest and cell_len(rest) > room and len(shown) < lines - 1:
            head = set_cell_size(rest, room)
            # A wide character that does not fit leaves a blank in its place.
            head = head if rest.startswith(head) else head[:-1]
            space = head.rfind(" ")
            if rest[len(head) : len(head) + 1] != " " and space > room // 2:
                head = head[:space]
            shown.append(head.rstrip())
            rest = rest[len(head) :].lstrip()
        return [*shown, self.cut(rest, room)] if rest else shown or [""]

    def paragraph(
        self, lead: str, text: str, style: str = "", lines: int = 3, lead_style: str = ""
    ) -> Iterator[Text]:
        """`text` after `lead`, further lines of it below its beginning."""
        lead = self.plain(lead)
        taken = cell_len(lead)
        if taken > self.width // 2:
            yield Text(self.cut(lead.rstrip(), self.width), lead_style)
            lead, taken = "    ", 4
        # Below a long lead there would be too little room.
        indent = taken if taken <= self.width // 6 else 4
        room = self.width if self.is_cut else 10_000
        first, *others = self.wrapped(self.plain(text), room - taken, lines)
        yield Text(lead, lead_style) + Text(first, style)
        if others:
            rest = self.plain(text)[len(first) :].lstrip()
            for part in self.wrapped(rest, room - indent, lines - 1):
                yield Text(" " * indent) + Text(part, style)


def measured_width(descriptor: int, is_terminal: bool) -> int:
    """The present width of a terminal; for a file, what COLUMNS says or a readable one."""
    if is_terminal:
        try:
            if columns := os.get_terminal_size(descriptor).columns:
                return max(columns, MIN_WIDTH)
        except OSError:
            pass  # it has just been closed
    columns_set = os.environ.get("COLUMNS", "")
    width = int(columns_set) if columns_set.isdecimal() else 0
    return max(width or (80 if is_terminal else 100), MIN_WIDTH)
