"""What a module's text imports: source → module names, without importing anything."""

from __future__ import annotations

import ast
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
    package = module if is_package else module.rpartition(".")[0]
    names: set[str] = set()
    bound: dict[str, set[str]] = {}
    chains: list[list[str]] = []
    dynamic = False
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    names.add(alias.name)
                    top = alias.name.partition(".")[0]
                    bound.setdefault(alias.asname or top, set()).add(
                        alias.name if alias.asname else top
                    )
            case ast.ImportFrom():
                base = _absolute(node, package)
                if base:
                    names.add(base)
                for alias in node.names:
                    if alias.name != "*" and base is not None:
                        full = f"{base}.{alias.name}" if base else alias.name
                        names.add(full)
                        bound.setdefault(alias.asname or alias.name, set()).add(full)
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in _DYNAMIC:
                dynamic = True
            case ast.Attribute() if chain := _chain(node):
                chains.append(chain)
    for first, *rest in chains:
        names |= {".".join([module, *rest]) for module in bound.get(first, ())}
    with_parents = {
        ".".join(parts[:count])
        for parts in (name.split(".") for name in names)
        for count in range(1, len(parts) + 1)
    }
    return ImportScan(frozenset(with_parents), dynamic)


def _chain(node: ast.Attribute) -> list[str]:
    """The words of `a.b.c`; nothing if it does not start with a plain name."""
    words = [node.attr]
    inner = node.value
    while isinstance(inner, ast.Attribute):
        words.append(inner.attr)
        inner = inner.value
    return [inner.id, *reversed(words)] if isinstance(inner, ast.Name) else []


def _absolute(node: ast.ImportFrom, package: str) -> str | None:
    if node.level == 0:
        return node.module or ""
    parts = package.split(".") if package else []
    if node.level - 1 > len(parts):
        return None
    base = parts[: len(parts) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])
