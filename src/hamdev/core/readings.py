"""What the top-level statements of a module say; what an edit left as it was is not read again.

A statement is read again if it is another one, or if what its reading depends on is: where the
names in it that imports bind come from, and little else (see `Surroundings`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from hamdev.core.imports import absolute_base
from hamdev.core.parsing import Parsed, Placed
from hamdev.core.statements import StatementReader
from hamdev.core.surroundings import Surroundings
from hamdev.core.uses import Statement


@dataclass(frozen=True, slots=True)
class Outline:
    """What a top-level statement says by itself, whatever the others are.

    Attributes:
        imported: names that imports bind, each with a dotted name it stands for.
        defined: names that are bound otherwise.
        future: names of the features that it imports from `__future__`.
        exports: what it binds `__all__` to; None for what is no plain assignment.
    """

    imported: frozenset[tuple[str, str]]
    defined: frozenset[str]
    future: tuple[str, ...]
    exports: tuple[ast.expr | None, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a top-level statement says.

    Attributes:
        outline: by itself.
        statements: all that is in it, with the lines that its syntax tree has.
        consulted: the names whose origins that depends on.
    """

    outline: Outline
    statements: tuple[Statement, ...]
    consulted: frozenset[str]


@dataclass(frozen=True)
class Readings:
    """What the top-level statements of one text say.

    Attributes:
        surroundings: the module.
        placed: the statements, in order.
        known: syntax tree → what it says.
    """

    surroundings: Surroundings
    placed: tuple[Placed, ...] = field(repr=False)
    known: Mapping[ast.stmt, Reading] = field(repr=False)

    @cached_property
    def statements(self) -> list[Statement]:
        """All that is in them, in order."""
        return [s for placed in self.placed for s in self.known[placed.node].statements]

    @cached_property
    def lines(self) -> list[int]:
        """Where each of `statements` stands."""
        return [
            statement.line + placed.offset
            for placed in self.placed
            for statement in self.known[placed.node].statements
        ]

    @cached_property
    def effects(self) -> list[int]:
        """The numbers of the statements with effects.

        What changes an object that a star import brought belongs to no name of this module.
        """
        statements = self.statements
        found = [n for n, s in enumerate(statements) if s.effect]
        if any(s.star for s in statements):
            bound = {name for s in statements for name in s.binds}
            found += [n for n, s in enumerate(statements) if not s.binds and s.alters - bound]
        return sorted(set(found))

    @property
    def future(self) -> bytes:
        """The features that are imported from `__future__`."""
        names = (name for reading in self.known.values() for name in reading.outline.future)
        return ",".join(sorted(names)).encode()

    def exports(self) -> tuple[frozenset[str] | None, bool]:
        """The names in `__all__`, and whether it is more than one literal."""
        match [value for reading in self.known.values() for value in reading.outline.exports]:
            case []:
                return None, False
            case [ast.List(elts=parts) | ast.Tuple(elts=parts)]:
                names = [p.value for p in parts if isinstance(p, ast.Constant)]
                if len(names) == len(parts):
                    return frozenset(str(name) for name in names), False
        return None, True


def read_statements(parsed: Parsed, package: str, before: Readings | None = None) -> Readings:
    """What the statements of a text say; the same, whatever is given as `before`.

    Args:
        parsed: the text.
        package: the module's; from it relative imports are counted.
        before: what was read in a text that this one was parsed from.
    """
    kept: Mapping[ast.stmt, Reading] = {}
    if before is not None and before.surroundings.package == package:
        kept = before.known
    outlines = {
        placed.node: known.outline
        if (known := kept.get(placed.node)) is not None
        else _outline(placed.node, package)
        for placed in parsed.statements
    }
    surroundings = _surroundings(outlines.values(), package)
    differing = surroundings.differing(before.surroundings) if before is not None else None
    reader = StatementReader(surroundings)
    found: dict[ast.stmt, Reading] = {}
    for placed in parsed.statements:
        node = placed.node
        known = kept.get(node) if differing is not None else None
        if known is None or not known.consulted.isdisjoint(differing or ()):
            known = _read(placed, outlines[node], parsed, reader)
        found[node] = known
    return Readings(surroundings, parsed.statements, found)


def _read(placed: Placed, outline: Outline, parsed: Parsed, reader: StatementReader) -> Reading:
    statements: list[Statement] = []
    consulted: set[str] = set()
    for part in _flatten(placed.node):
        if _is_future(part.node):
            continue
        try:
            statements.append(reader.read(part.node, part.guards, part.branch, part.name))
        except RecursionError:
            text = parsed.segment(part.node, placed.offset)
            statements.append(reader.read_opaque(part.node, text))
        consulted |= reader.consulted
    return Reading(outline, tuple(statements), frozenset(consulted))


def _surroundings(outlines: Iterable[Outline], package: str) -> Surroundings:
    imported: dict[str, set[str]] = {}
    defined: set[str] = set()
    for outline in outlines:
        defined |= outline.defined
        for name, dotted in outline.imported:
            imported.setdefault(name, set()).add(dotted)
    return Surroundings.of(package, imported, defined)


# -- one statement -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    node: ast.stmt
    guards: tuple[ast.expr, ...] = ()
    branch: str = ""
    name: int = -1


def _flatten(node: ast.stmt) -> Iterator[_Part]:
    """The statements in a top-level one that the names of a module come from.

    Each name of an import is one, and `if` is no statement of its own but a condition of those
    in it. The statements of a `try` or a loop belong together: each may depend on the others.
    """
    todo = [_Part(node)]
    while todo:
        part = todo.pop()
        match part.node:
            case ast.If(test=test, body=inner, orelse=orelse) if not _binds(test):
                guards = (*part.guards, test)
                if any(isinstance(node, ast.Call) for node in ast.walk(test)):
                    # Not an expression statement: most such calls only ask something.
                    yield _Part(ast.copy_location(ast.Assert(test, None), part.node))
                todo += [_Part(n, guards, part.branch + "0") for n in reversed(orelse)]
                if not is_main(test):
                    todo += [_Part(n, guards, part.branch + "1") for n in reversed(inner)]
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                for number in range(len(names)):
                    yield _Part(part.node, part.guards, part.branch, number)
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case _:
                yield part


def _binds(test: ast.expr) -> bool:
    return any(isinstance(node, ast.NamedExpr) for node in ast.walk(test))


def is_main(test: ast.expr) -> bool:
    """`if __name__ == "__main__"`, which is never true in an imported module."""
    match test:
        case ast.Compare(
            left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant("__main__")]
        ):
            return True
    return False


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _outline(node: ast.stmt, package: str) -> Outline:
    parts = list(_flatten(node))
    imported, defined = _names([part.node for part in parts], package)
    future = [
        part.node.names[part.name].name
        for part in parts
        if isinstance(part.node, ast.ImportFrom) and _is_future(part.node)
    ]
    return Outline(frozenset(imported), frozenset(defined), tuple(future), tuple(_exports(node)))


def _names(nodes: list[ast.stmt], package: str) -> tuple[set[tuple[str, str]], set[str]]:
    """Names that imports bind, each with what it stands for; and the other names."""
    imported: set[tuple[str, str]] = set()
    defined: set[str] = set()
    todo: list[ast.AST] = list(nodes)
    while todo:
        node = todo.pop()
        match node:
            case ast.Import(names=names):
                for alias in names:
                    top = alias.name.partition(".")[0]
                    dotted = alias.name if alias.asname else top
                    imported.add((alias.asname or top, dotted))
            case ast.ImportFrom(names=names):
                base = absolute_base(node, package) or ""
                for alias in names:
                    dotted = f"{base}.{alias.name}"
                    imported.add((alias.asname or alias.name, dotted))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                defined.add(name)
            case ast.ClassDef(name=name):
                defined.add(name)
            case ast.Name(id=name):
                if isinstance(node.ctx, ast.Store):
                    defined.add(name)
            case ast.Assign(targets=targets):
                todo += targets
            case ast.expr():
                if isinstance(node, ast.Tuple | ast.List | ast.Starred):
                    todo += ast.iter_child_nodes(node)
            case _:
                todo += ast.iter_child_nodes(node)
    return imported, defined


def _exports(node: ast.stmt) -> Iterator[ast.expr | None]:
    match node:
        case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
            yield value
        case ast.AnnAssign(target=ast.Name(id="__all__"), value=value):
            yield value
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            pass
        case _ if any(isinstance(n, ast.Name) and n.id == "__all__" for n in ast.walk(node)):
            yield None
