"""What a module's text imports: source → module names, without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImportScan:
    """The imports of one module, wherever they stand (also in functions and `if` blocks).

    Attributes:
        names: absolute names of everything that may be a module. `from a import b` gives both
            `a` and `a.b`, since the text cannot tell a submodule from an attribute; and so does
            `import a` with a later `a.b`.
        dynamic: the text also imports by a name that is not written in it (`importlib`,
            `__import__`, `exec`), so `names` may be incomplete.
    """

    names: frozenset[str]
    dynamic: bool


@dataclass(frozen=True, slots=True)
class Mentions:
    """What a piece of a text says, wherever in it, about things outside of it.

    Attributes:
        imports: its import statements.
        chains: the words of each `a.b.c`.
        dynamic: it names something that imports or executes what is not written in it.
        globals: the names that functions in it bind by `global`.
    """

    imports: tuple[ast.Import | ast.ImportFrom, ...]
    chains: tuple[tuple[str, ...], ...]
    dynamic: bool
    globals: frozenset[str]


_DYNAMIC = frozenset({"__import__", "import_module", "exec", "eval", "runpy"})


def scan_imports(source: str, module: str, is_package: bool) -> ImportScan:
    """The imports of `source`.

    Args:
        source: the text of the module.
        module: its absolute name, from which relative imports are counted.
        is_package: whether it is a package's `__init__`.

    Returns:
        The scan; for a text that does not parse, an empty one that is `dynamic`.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ImportScan(frozenset(), dynamic=True)
    return scan_of([mentions(tree)], module, is_package)


def scan_of(found: Iterable[Mentions], module: str, is_package: bool) -> ImportScan:
    """The imports of a text, from what its pieces mention; the arguments are `scan_imports`'s."""
    package = module if is_package else module.rpartition(".")[0]
    names: set[str] = set()
    bound: dict[str, set[str]] = {}
    pieces = list(found)
    for node in (node for piece in pieces for node in piece.imports):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names.add(alias.name)
                top = alias.name.partition(".")[0]
                bound.setdefault(alias.asname or top, set()).add(
                    alias.name if alias.asname else top
                )
            continue
        base = absolute_base(node, package)
        if base:
            names.add(base)
        for alias in node.names:
            if alias.name != "*" and base is not None:
                full = f"{base}.{alias.name}" if base else alias.name
                names.add(full)
                bound.setdefault(alias.asname or alias.name, set()).add(full)
    for first, *rest in (chain for piece in pieces for chain in piece.chains):
        names |= {".".join([module, *rest]) for module in bound.get(first, ())}
    with_parents = {
        ".".join(parts[:count])
        for parts in (name.split(".") for name in names)
        for count in range(1, len(parts) + 1)
    }
    return ImportScan(frozenset(with_parents), any(piece.dynamic for piece in pieces))


def mentions(tree: ast.AST) -> Mentions:
    """What is mentioned anywhere in `tree`."""
    imports: list[ast.Import | ast.ImportFrom] = []
    chains: dict[tuple[str, ...], None] = {}
    dynamic = False
    declared: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import() | ast.ImportFrom():
                imports.append(node)
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in _DYNAMIC:
                dynamic = True
            case ast.Attribute() if chain := _chain(node):
                chains[tuple(chain)] = None
            case ast.Global(names=names):
                declared.update(names)
    return Mentions(tuple(imports), tuple(chains), dynamic, frozenset(declared))


def _chain(node: ast.Attribute) -> list[str]:
    """The words of `a.b.c`; nothing if it does not start with a plain name."""
    words = [node.attr]
    inner = node.value
    while isinstance(inner, ast.Attribute):
        words.append(inner.attr)
        inner = inner.value
    return [inner.id, *reversed(words)] if isinstance(inner, ast.Name) else []


def absolute_base(node: ast.ImportFrom, package: str) -> str | None:
    """The module that a `from … import` names; None if it climbs out of the package."""
    if node.level == 0:
        return node.module or ""
    parts = package.split(".") if package else []
    if node.level - 1 > len(parts):
        return None
    base = parts[: len(parts) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])
