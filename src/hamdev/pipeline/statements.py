"""A module's text → its top-level statements, each with the names that it alone binds."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import CodeType

from hamdev.core.imports import ImportScan, Mentions, mentions, scan_of
from hamdev.core.parsing import Parsed, Placed
from hamdev.core.readings import is_main


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
    """

    statements: tuple[TopLevel, ...]
    lines: tuple[str, ...]
    flags: int
    future: tuple[Mentions, ...]

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


def read_layout(parsed: Parsed, before: Layout | None = None) -> Layout:
    """The layout of a module's text.

    Args:
        parsed: the text.
        before: the layout of a text that shares statements with this one.
    """
    known = {statement.node: statement for statement in before.statements} if before else {}
    flags = 0
    statements: list[TopLevel] = []
    future: list[Mentions] = []
    for placed in parsed.statements:
        node = placed.node
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            flags |= _future_flags(node)
            future.append(mentions(node))
            continue
        statement = known.get(node) or _top_level(placed)
        statements.append(statement.moved(placed.offset - statement.offset))
    return Layout(tuple(statements), parsed.lines, flags, tuple(future))


def _top_level(placed: Placed) -> TopLevel:
    names, is_plain = _bound(placed.node)
    return TopLevel(
        placed.node,
        tuple(dict.fromkeys(names)),
        is_plain,
        placed.first_line,
        placed.last_line,
        mentions(placed.node),
        placed.offset,
    )


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
        case ast.If(test=test, orelse=[]) if _is_type_checking(test) or is_main(test):
            return [], True  # never executed
        case ast.Expr(value=ast.Constant()) | ast.Pass():
            return [], True
    return list(_stored(node)), False


def _is_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
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
