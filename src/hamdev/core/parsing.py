"""A module's text → its top-level statements; what an edit left as it was is not parsed again.

An edit leaves most statements as they are, and parsing them again is most of what a save costs in
a large module. So a text is parsed from what differs in it to the one before, if that is possible.
"""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile


@dataclass(frozen=True, slots=True)
class Placed:
    """One top-level statement, and where it stands.

    Attributes:
        node: its syntax tree. A statement that an edit left as it was keeps the same object.
        first_line: of the statement, decorators included; 1-based.
        last_line: of the statement.
        offset: by how many lines it stands further down than the lines in `node` say.
    """

    node: ast.stmt
    first_line: int
    last_line: int
    offset: int = 0

    def moved(self, by: int) -> Placed:
        """The same statement, some lines further down."""
        if not by:
            return self
        return Placed(self.node, self.first_line + by, self.last_line + by, self.offset + by)


@dataclass(frozen=True)
class Parsed:
    """The statements of one text.

    Attributes:
        text: all of it.
        statements: in order.
        lines: of the text.
        has_odd_lines: `lines` are not what the parser counts, as after a form feed.
    """

    text: str
    statements: tuple[Placed, ...]
    lines: tuple[str, ...]
    has_odd_lines: bool

    def segment(self, node: ast.stmt, offset: int) -> str:
        """The text of a node that stands `offset` lines further down than it says."""
        place = copy.copy(node)
        place.lineno += offset
        if place.end_lineno is not None:
            place.end_lineno += offset
        return ast.get_source_segment(self.text, place) or self.text


def parse(text: str, before: Parsed | None = None) -> Parsed:
    """The statements of a module's text; the same, whatever is given as `before`.

    Args:
        text: of the module.
        before: what was found in a text that this one may have come from.

    Raises:
        SyntaxError: it does not parse.
        RecursionError, MemoryError: it is nested too deeply.
    """
    text = text.removeprefix("\ufeff")
    lines = tuple(text.splitlines())
    is_odd = _join(lines, text) != text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the user's escapes; the load reports those
        statements = None
        if before is not None and not is_odd and not before.has_odd_lines:
            statements = _edited(before, lines)
        return Parsed(text, statements or _parse(text), lines, is_odd)


def _join(lines: Sequence[str], text: str) -> str:
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")


def _parse(text: str) -> tuple[Placed, ...]:
    try:
        tree = ast.parse(text)
    except ValueError as error:  # null bytes, or what cannot be encoded
        raise SyntaxError(str(error)) from error
    return tuple(Placed(node, _first_line(node), node.end_lineno or 0) for node in tree.body)


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _edited(before: Parsed, lines: Sequence[str]) -> tuple[Placed, ...] | None:
    """The statements of a text by parsing only what lies between unchanged ones.

    The parser reads from left to right, and after a statement at the top level it is where it is
    at the beginning of a text: at no depth of indentation or brackets. So what comes before and
    after is whole statements, and what lies between is so too if it parses by itself. None if it
    does not, or if a line belongs to several statements or goes on in the next one.
    """
    same_above, same_below = _same_ends(before.lines, lines)
    above = list(takewhile(lambda s: s.last_line <= same_above, before.statements))
    rest = before.statements[len(above) :]
    last_changed = len(before.lines) - same_below
    below = list(takewhile(lambda s: s.first_line > last_changed, reversed(rest)))[::-1]
    between = rest[: len(rest) - len(below)]
    # One line may hold the end of one statement and the beginning of the next one.
    for first, second in pairwise([*above[-1:], *between, *below[:1]]):
        if first.last_line >= second.first_line:
            return None
    start = above[-1].last_line if above else 0
    by = len(lines) - len(before.lines)
    end = below[0].first_line - 1 + by if below else len(lines)
    changed = lines[start:end]
    ends = (*(lines[start - 1 : start] if start else ()), *changed[-1:], *lines[-1:])
    if any(line.rstrip().endswith("\\") for line in ends):
        return None
    try:
        found = _parse("\n".join(changed) + "\n")
    except SyntaxError:
        return None
    return (
        *above,
        *(statement.moved(start) for statement in found),
        *(statement.moved(by) for statement in below),
    )


def _same_ends(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """How many lines are the same at the beginning, and how many of the others at the end."""
    most = min(len(before), len(after))
    above = next((i for i in range(most) if before[i] != after[i]), most)
    most -= above
    below = next((i for i in range(most) if before[-1 - i] != after[-1 - i]), most)
    return above, below
