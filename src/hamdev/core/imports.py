"""What a module's text imports: source → module names, without importing anything."""

from __future__ import annotations

import ast
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImportScan:
    """The imports of one module, wherever they stand (also in functions and `if` blocks).

    Attributes:
        names: absolute names of everything that may be a module. `from a import b` gives both
            `a` and `a.b`, since the text cannot tell a submodule from an attribute.
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
    dynamic = False
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    names.add(alias.name)
            case ast.ImportFrom():
                base = _absolute(node, package)
                if base:
                    names.add(base)
                for alias in node.names:
                    if alias.name != "*" and base is not None:
                        names.add(f"{base}.{alias.name}" if base else alias.name)
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in _DYNAMIC:
                dynamic = True
    with_parents = {
        ".".join(parts[:count])
        for parts in (name.split(".") for name in names)
        for count in range(1, len(parts) + 1)
    }
    return ImportScan(frozenset(with_parents), dynamic)


def _absolute(node: ast.ImportFrom, package: str) -> str | None:
    if node.level == 0:
        return node.module or ""
    parts = package.split(".") if package else []
    if node.level - 1 > len(parts):
        return None
    base = parts[: len(parts) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])
