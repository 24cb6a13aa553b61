"""What an expression stands for: a name, a part of an object, a new object."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from hamdev.core.uses import CALLED, Path
from hamdev.core.vocabulary import BUILTINS, COPYING, FRESH_CALLS


def root_path(node: ast.AST) -> Path | None:
    """The name that an expression starts from, with the attributes that follow directly on it.

    `a.b[0].c` gives `a.b.?`: the object, of which it stands for some part. A call gives what is
    called, and CALLED as the last word.
    """
    words: list[str] = []
    called = False
    while True:
        match node:
            case ast.Name(id=name):
                return (name, *reversed(words), CALLED) if called else (name, *reversed(words))
            case ast.Attribute(attr=attr, value=value):
                words.append(attr)
                node = value
            case ast.Subscript(value=value) | ast.Starred(value=value) | ast.Await(value=value):
                words = ["?"] if isinstance(node, ast.Subscript) else []
                node = value
            case ast.Call(func=ast.Name(id="vars"), args=[value]):
                words = ["__dict__"]
                node = value
            case ast.Call(func=func):
                if called and words:
                    return None  # what a call of a call's result gives is anybody's guess
                if isinstance(func, ast.Attribute) and func.attr in COPYING:
                    return None
                words = []
                called = True
                node = func
            case _:
                return None


def roots(node: ast.AST) -> list[Path]:
    """What an expression may stand for a part of; every name in it, if there is no telling."""
    if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp | ast.Compare):
        return []
    if (root := root_path(node)) is not None:
        return [root]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in COPYING:
            return []
        return [
            (n.id, CALLED) if isinstance(node.func.value, ast.Call) else (n.id,)
            for n in ast.walk(node.func)
            if isinstance(n, ast.Name)
        ]
    return [(n.id,) for n in ast.walk(node) if isinstance(n, ast.Name)]


def chain(node: ast.AST) -> Path | None:
    """The words of `a.b.c`, if it is nothing else."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    return (node.id, *reversed(words)) if isinstance(node, ast.Name) else None


def passed(node: ast.AST) -> Iterable[Path]:
    """What an expression hands on as it is, or in a container."""
    match node:
        case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Starred():
            path = root_path(node)
            if path is not None:
                yield path
        case ast.Call() | ast.Await():
            path = root_path(node)
            if path is not None:
                yield path
            if isinstance(node, ast.Call) and path is not None and path[0] not in BUILTINS:
                for argument in (*node.args, *(k.value for k in node.keywords)):
                    if isinstance(argument, ast.Name | ast.Attribute | ast.Subscript):
                        yield from passed(argument)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            for part in parts:
                yield from passed(part)
        case ast.Dict(values=parts) | ast.BoolOp(values=parts):
            for part in parts:
                yield from passed(part)
        case ast.IfExp(body=left, orelse=right):
            yield from passed(left)
            yield from passed(right)
        case ast.NamedExpr(value=value):
            yield from passed(value)


def _pairs(arguments: ast.arguments) -> Iterable[tuple[str, ast.expr]]:
    named = [*arguments.posonlyargs, *arguments.args]
    with_default = named[len(named) - len(arguments.defaults) :]
    for argument, default in zip(with_default, arguments.defaults, strict=True):
        yield argument.arg, default
    for argument, keyword in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if keyword is not None:
            yield argument.arg, keyword


def mutable_defaults(arguments: ast.arguments) -> Iterable[str]:
    """Parameters whose default is kept, and may change, from call to call."""
    for name, default in _pairs(arguments):
        if not _is_immutable(default) or _has_names(default):
            yield name


def defaults(arguments: ast.arguments) -> Iterable[tuple[str, set[Path]]]:
    """Parameters that stand for an object of the enclosing scope if nothing is given."""
    for name, default in _pairs(arguments):
        if paths := set(passed(default)):
            yield name, paths


def copied_first(body: list[ast.stmt]) -> Iterable[str]:
    """Names that a function begins by replacing with copies of what they stand for."""
    for statement in body:
        match statement:
            case ast.Expr(value=ast.Constant()):
                continue
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Attribute(attr="copy" | "deepcopy")),
            ):
                yield name
            case _:
                return


def parameters(arguments: ast.arguments) -> list[str]:
    """The names of all parameters."""
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    stars = [star for star in (arguments.vararg, arguments.kwarg) if star is not None]
    return [argument.arg for argument in (*named, *stars)]


def freshness(node: ast.stmt) -> tuple[bool, bool]:
    """Whether the value that a statement binds shares nothing with others, and cannot change."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False, False
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False, False
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if len(targets) != 1 or not isinstance(targets[0], ast.Name):
        return False, _is_immutable(node.value)
    return _is_fresh(node.value), _is_immutable(node.value)


def _is_immutable(value: ast.AST) -> bool:
    match value:
        case ast.Constant():
            return True
        case ast.Tuple(elts=parts):
            return all(_is_immutable(part) for part in parts)
        case ast.UnaryOp(operand=operand):
            return _is_immutable(operand)
        case ast.BinOp(left=left, right=right):
            return _is_immutable(left) and _is_immutable(right)
        case ast.JoinedStr() | ast.Name():
            return True
    return False


def names(node: ast.stmt) -> frozenset[str]:
    """The names that an immutable value is made from."""
    value = getattr(node, "value", None)
    if value is None or isinstance(value, ast.JoinedStr):
        return frozenset()
    return frozenset(n.id for n in ast.walk(value) if isinstance(n, ast.Name))


def _is_fresh(value: ast.AST) -> bool:
    match value:
        case ast.List(elts=parts) | ast.Set(elts=parts) | ast.Tuple(elts=parts):
            return all(_is_fresh(part) for part in parts)
        case ast.Dict(keys=keys, values=values):
            parts = [part for part in keys if part is not None]
            return len(parts) == len(keys) and all(_is_fresh(p) for p in (*parts, *values))
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in FRESH_CALLS:
            arguments = [*value.args, *(k.value for k in value.keywords)]
            return all(_is_fresh(a) or _is_builtin_type(a) for a in arguments)
    return not isinstance(value, ast.Name) and _is_immutable(value) and not _has_names(value)


def _has_names(value: ast.AST) -> bool:
    return any(isinstance(node, ast.Name) for node in ast.walk(value))


def _is_builtin_type(value: ast.AST) -> bool:
    return isinstance(value, ast.Name) and value.id in (
        "list",
        "dict",
        "set",
        "int",
        "float",
        "str",
    )


def is_globals(value: ast.AST) -> bool:
    """Whether it is a call of `globals`."""
    return isinstance(value, ast.Call) and root_path(value) == ("globals", CALLED)


def is_mutable(value: ast.AST) -> bool:
    """Whether a class attribute of this value is shared by all instances and may change."""
    match value:
        case ast.Call(func=ast.Name(id="field" | "ib" | "attrib" | "Field")):
            return False
        case ast.Name() | ast.Attribute():
            return True
        case ast.Call() | ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp():
            return True
    return False
