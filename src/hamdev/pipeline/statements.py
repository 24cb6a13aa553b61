"""A module's text → its top-level statements, each with the names that it alone binds.

An edit leaves most statements as they are, and parsing them again is most of what a save costs in
a large module. So a text is read from what differs in it to the one before, if that is possible.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, takewhile
from types import CodeType

from hamdev.core.imports import ImportScan, Mentions, mentions, scan_of


@dataclass(frozen=True, slots=True)
class TopLevel:
    """One top-level statement.

    Attributes:
        node: its syntax tree.
        names: the names that it binds, in the module.
        is_plain: a `def`, a `class`, an import of names or an assignment to names: executing it
            again does no more than bind its names anew.
        first_line: of the statement, decorators included; 1-based.
        last_line: of the statement.
        mentions: what it says about things outside of it.
        offset: by how many lines it stands further down than the lines in `node` say.
    """

    node: ast.stmt
    names: tuple[str, ...]
    is_plain: bool
    first_line: int
    last_line: int
    mentions: Mentions
    offset: int = 0

    def moved(self, by: int) -> TopLevel:
        """The same statement, some lines further down."""
        if not by:
            return self
        first, last = self.first_line + by, self.last_line + by
        return replace(self, first_line=first, last_line=last, offset=self.offset + by)

    def placed(self) -> ast.stmt:
        """Its syntax tree with the lines that it has now."""
        if not self.offset:
            return self.node
        return ast.increment_lineno(copy.deepcopy(self.node), self.offset)

    def importing(self, names: Sequence[str]) -> TopLevel:
        """A star import, narrowed to some of the names that it brings in."""
        assert isinstance(self.node, ast.ImportFrom)
        aliases = [ast.copy_location(ast.alias(name), self.node) for name in names]
        node = ast.ImportFrom(self.node.module, aliases, self.node.level)
        ast.copy_location(node, self.node)
        return replace(self, node=node, names=tuple(names), is_plain=True)


@dataclass(frozen=True)
class Layout:
    """The statements of one text.

    Attributes:
        statements: in order.
        lines: of the text.
        flags: the compiler flags of its `from __future__` imports.
        future: what those mention.
        has_odd_lines: `lines` are not what the parser counts, as after a form feed.
    """

    statements: tuple[TopLevel, ...]
    lines: tuple[str, ...]
    flags: int
    future: tuple[Mentions, ...]
    has_odd_lines: bool

    def by_name(self) -> Mapping[str, list[TopLevel]]:
        """Name → the statements that bind it, in order."""
        return self._by_name

    def imports(self, module: str, is_package: bool) -> ImportScan:
        """What the text imports, as a module of this name."""
        found = [*self.future, *(statement.mentions for statement in self.statements)]
        return scan_of(found, module, is_package)

    @cached_property
    def _by_name(self) -> dict[str, list[TopLevel]]:
        found: dict[str, list[TopLevel]] = {}
        for statement in self.statements:
            for name in statement.names:
                found.setdefault(name, []).append(statement)
        return found

    @cached_property
    def globals(self) -> dict[str, set[str]]:
        """Definition → the names that functions in it bind by `global`."""
        found: dict[str, set[str]] = {}
        for statement in self.statements:
            if statement.mentions.globals and statement.names:
                found.setdefault(statement.names[0], set()).update(statement.mentions.globals)
        return found

    @cached_property
    def unusual(self) -> list[str]:
        """What the statements say that are not plain; equal for equal meaning."""
        return [ast.dump(s.node) for s in self.statements if not s.is_plain]

    def may_be_starred(self, name: str) -> bool:
        """Whether a star import does not certainly come before what else binds a name."""
        stars = [s.first_line for s in self.statements if "*" in s.names]
        own = [s.first_line for s in self.statements if name in s.names]
        return bool(stars and own and max(stars) > min(own))

    def text_of(self, statement: TopLevel) -> tuple[str, ...]:
        """The lines of a statement."""
        return self.lines[statement.first_line - 1 : statement.last_line]

    def compiled(self, statements: list[TopLevel], file: str) -> CodeType:
        """Code that executes some of the statements, with the line numbers of the whole text."""
        module = ast.Module([statement.placed() for statement in statements], [])
        code: CodeType = compile(module, file, "exec", flags=self.flags, dont_inherit=True)
        return code


def read_layout(text: str, before: Layout | None = None) -> Layout:
    """The layout of a module's text.

    Args:
        text: of the module.
        before: the layout of a text that this one may have come from.

    Raises:
        SyntaxError: it does not parse.
    """
    if before is not None and (layout := _edited(before, text)) is not None:
        return layout
    return _read(text)


def _read(text: str) -> Layout:
    tree = ast.parse(text)
    flags = 0
    statements: list[TopLevel] = []
    future: list[Mentions] = []
    for node in tree.body:
        found = mentions(node)
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            flags |= _future_flags(node)
            future.append(found)
            continue
        names, is_plain = _bound(node)
        decorators = getattr(node, "decorator_list", [])
        first, last = min([node.lineno, *(d.lineno for d in decorators)]), node.end_lineno
        statements.append(
            TopLevel(node, tuple(dict.fromkeys(names)), is_plain, first, last or first, found)
        )
    lines = tuple(text.splitlines())
    return Layout(tuple(statements), lines, flags, tuple(future), _are_odd(lines, text))


def _are_odd(lines: Sequence[str], text: str) -> bool:
    return len(lines) != text.count("\n") + (text != "" and not text.endswith("\n")) or "\r" in text


def _edited(before: Layout, text: str) -> Layout | None:
    """The layout of `text` by parsing only what lies between unchanged statements.

    What comes before and after is whole statements, and so is what lies between if it parses by
    itself. None if it does not, or if lines are not what the parser takes for lines.
    """
    lines = tuple(text.splitlines())
    if before.has_odd_lines or _are_odd(lines, text):
        return None
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
    if start and lines[start - 1].rstrip().endswith("\\"):
        return None
    end_before = below[0].first_line - 1 if below else len(before.lines)
    if any("__future__" in line for line in (*changed, *before.lines[start:end_before])):
        return None
    try:
        found = _read("\n".join(changed))
    except (SyntaxError, ValueError):
        return None
    statements = (
        *above,
        *(statement.moved(start) for statement in found.statements),
        *(statement.moved(by) for statement in below),
    )
    return Layout(statements, lines, before.flags, before.future, has_odd_lines=False)


def _same_ends(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """How many lines are the same at the beginning, and how many of the others at the end."""
    most = min(len(before), len(after))
    above = next((i for i in range(most) if before[i] != after[i]), most)
    most -= above
    below = next((i for i in range(most) if before[-1 - i] != after[-1 - i]), most)
    return above, below


def _future_flags(node: ast.ImportFrom) -> int:
    import __future__

    return sum(
        feature.compiler_flag
        for alias in node.names
        if (feature := getattr(__future__, alias.name, None)) is not None
    )


def _bound(node: ast.stmt) -> tuple[list[str], bool]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name], True
        case ast.Import():
            return [alias.asname or alias.name.partition(".")[0] for alias in node.names], True
        case ast.ImportFrom():
            names = [alias.asname or alias.name for alias in node.names]
            return names, "*" not in names
        case ast.Assign(targets=targets) if all(_is_names(target) for target in targets):
            return [n for target in targets for n in _names(target)], not _has_walrus(node)
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name], not _has_walrus(node)
        case ast.If(test=test, orelse=[]) if _is_type_checking(test) or _is_main(test):
            return [], True  # never executed
        case ast.Expr(value=ast.Constant()) | ast.Pass():
            return [], True
    return list(_stored(node)), False


def _is_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
    return False


def _is_main(test: ast.expr) -> bool:
    match test:
        case ast.Compare(
            left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant("__main__")]
        ):
            return True
    return False


def _is_names(target: ast.expr) -> bool:
    match target:
        case ast.Name():
            return True
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return all(_is_names(element) for element in elements)
    return False


def _names(target: ast.expr) -> Iterator[str]:
    for node in ast.walk(target):
        if isinstance(node, ast.Name):
            yield node.id


def _has_walrus(node: ast.stmt) -> bool:
    return any(isinstance(inner, ast.NamedExpr) for inner in ast.walk(node))


def _stored(node: ast.stmt) -> Iterator[str]:
    """Whatever a compound or unusual statement may bind, delete or change, inner scopes too."""
    for inner in ast.walk(node):
        match inner:
            case ast.Name(id=name):
                yield name  # also those that are only read: `X.update(…)`, `X[0] = …`
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=asname):
                yield asname or name.partition(".")[0]
