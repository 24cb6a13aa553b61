"""Walking through a syntax tree as the interpreter looks up names: scopes, attributes, calls."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hamdev.core.expressions import (
    chain,
    is_globals,
    passed,
    root_path,
    roots,
)
from hamdev.core.surroundings import Surroundings
from hamdev.core.uses import (
    AUGMENT,
    CALL,
    CALLED,
    CHANGE,
    DOCS,
    GET,
    HOLD,
    LOAD,
    PASS,
    RETURN,
    STORE,
    TEXT,
    Path,
    Target,
    Use,
)
from hamdev.core.vocabulary import (
    CACHES,
    CHANGING,
    CHANGING_FUNCTIONS,
    DOC_NAMES,
    EFFECTFUL,
    EVALUATED_TEXT,
    HARMLESS,
    IMPORTERS,
    MAKING,
    RANDOM,
    READS_ALL,
    SHARED_RESULT,
    STATEFUL_CALLS,
    TEXT_ATTRIBUTES,
)


@dataclass(slots=True)
class _Scope:
    kind: str  # module, function, class
    name: str = ""  # of the class; for a method, of its first parameter
    function: str = ""
    bound: set[str] = field(default_factory=set)
    parameters: set[str] = field(default_factory=set)
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)
    imports: dict[str, set[Target]] = field(default_factory=dict)
    aliases: dict[str, set[Path]] = field(default_factory=dict)  # may be, or be a part of
    held: dict[str, set[Path]] = field(default_factory=dict)  # may be a part of it
    uses: set[tuple[Path, str, bool]] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)  # class attributes, defaults: mutable, kept
    defaults: dict[str, set[Path]] = field(default_factory=dict)
    inner_changes: set[str] = field(default_factory=set)  # what functions inside change of it


class ScopeReader:
    """Walks through one statement at a time, and keeps what reaches the module's globals.

    Args:
        surroundings: the module.

    Attributes:
        consulted: the names whose origins the reading of the last statement depends on.
    """

    visitors: ClassVar[dict[type[ast.AST], Callable[[Any, Any], None]]] = {}

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self.consulted: set[str] = set()

    def _origins(self, name: str) -> Set[str]:
        self.consulted.add(name)
        return self._around.origins(name)

    def _begin(self, node: ast.stmt) -> None:
        self.consulted = set()
        self._out: list[str] = []
        self._docs: list[str] = []
        self._scope = _Scope("module")
        self._scopes = [self._scope]
        self._lazy = 0
        self._uses: set[Use] = set()
        self._loads: set[str] = set()
        self._late_loads: set[str] = set()
        self._star: list[str] = []
        self._eager = not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        self._called: ast.expr | None = None
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        self._names = [t.id for t in targets if isinstance(t, ast.Name)]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._names = [node.name]
        self._effect = self._dynamic = self._changes_arguments = False
        self._late_effect = 0
        self._changes_held = False
        self._reads = self._sensitivity = 0
        self._stateful = self._handles = self._sets_attributes = self._caches = False
        self._foreign: set[str] = set()
        self._texts: list[str] = []
        self._evaluates_text = self._evaluates_any = False
        self._globals_named = self._globals_read = 0

    # -- walking ------------------------------------------------------------------------------

    def _visit(self, node: ast.AST) -> None:
        cls = type(node)
        visitor = self.visitors.get(cls)
        if visitor is not None:
            visitor(self, node)
        else:
            self._generic(node, cls)

    def _generic(self, node: ast.AST, cls: type[ast.AST]) -> None:
        out = self._out
        out.append(cls.__name__)
        for name in _fields(cls):
            value = getattr(node, name)
            if isinstance(value, ast.AST):
                self._visit(value)
            elif isinstance(value, list):
                self._visit_list(value)
            else:
                out.append(atom(value))

    def _visit_list(self, values: list[ast.AST]) -> None:
        out = self._out
        out.append(f"[{len(values)}")
        for value in values:
            if isinstance(value, ast.AST):
                self._visit(value)
            else:
                out.append(atom(value))

    def _body(self, statements: list[ast.stmt]) -> None:
        """Statements, without those that are only a string: nobody sees them but as docstrings."""
        out = self._out
        out.append("{")
        for statement in statements:
            if type(statement) is ast.Expr and type(statement.value) is ast.Constant:
                self._docs.append(f"{len(out)}:{statement.value.value!r}")
            else:
                self._visit(statement)
        out.append("}")

    # -- scopes -------------------------------------------------------------------------------

    def _bind(self, name: str) -> None:
        self._scope.bound.add(name)

    def _use(self, path: Path, how: str) -> None:
        if how == CHANGE and path[-1] == "__dict__":
            how = STORE  # of any attribute
        self._scope.uses.add((path, how, self._lazy > 0))

    def _enter(self, kind: str, name: str = "") -> None:
        self._scope = _Scope(kind, name)
        self._scopes.append(self._scope)

    def _leave(self) -> None:
        """Hand to the enclosing scopes what the scope that ends does not define itself."""
        scope = self._scopes.pop()
        self._scope = self._scopes[-1]
        module = self._scopes[0]
        local = scope.bound - scope.globals - scope.nonlocals
        written = scope.bound & scope.globals
        if written:
            module.uses.update(((name,), CHANGE, self._lazy > 0) for name in written)
            for name in written & scope.imports.keys():
                for target in scope.imports[name]:
                    self._uses.add(Use(target.module, target.path, LOAD, True))
        outer = next(s for s in reversed(self._scopes) if s.kind != "class")
        if scope.inner_changes & local:
            self._stateful = True  # a closure that keeps something between calls
        outer.inner_changes |= (scope.inner_changes - local) | (scope.bound & scope.nonlocals)
        for path, how, lazy in _with_aliases(scope):
            name = path[0]
            for default in scope.defaults.get(name, ()):
                if how in (CHANGE, STORE, AUGMENT, PASS, RETURN):
                    outer.uses.add(((*default, "?") if how == STORE else default, how, lazy))
            if name in scope.globals:
                module.uses.add((path, how, lazy))
            elif name in local:
                for target in scope.imports.get(name, ()):
                    self._uses.add(Use(target.module, target.path + path[1:], how, lazy))
                if scope.kind == "class":
                    # Read before it is bound in the class, it is the global one.
                    module.uses.add((path, how, lazy))
                elif how in (CHANGE, STORE, AUGMENT) and name in scope.parameters:
                    self._note_parameter_change(scope, path, how)
            else:
                outer.uses.add((path, how, lazy))
                if how in (CHANGE, STORE, AUGMENT) and scope.name != "<comprehension>":
                    outer.inner_changes.add(name)

    def _note_parameter_change(self, scope: _Scope, path: Path, how: str) -> None:
        """A function changes what it was handed: an argument, its class or what that holds."""
        if path[0] in scope.shared:
            self._changes_itself()
        owner = next((s for s in reversed(self._scopes) if s.kind == "class"), None)
        if how == STORE and path[0] != scope.name:
            self._sets_attributes = True
        if owner is None or scope.name == "":
            self._changes_arguments = True
            return
        is_self = path[0] == scope.name
        if not is_self:
            self._changes_arguments = True
        elif path[0] != "self" or (path[1:2] and path[1] in owner.shared | {"__class__"}):
            self._changes_itself()
        else:
            if scope.function not in MAKING:
                self._stateful = True
            if len(path) > (2 if how == STORE else 1):
                self._changes_arguments = True
                self._changes_held = True

    def _changes_itself(self) -> None:
        """Calling what this statement defines changes it: a registry, a mutable default."""
        self._scopes[0].uses.update(((name,), CHANGE, True) for name in self._names)

    # -- names and attributes -----------------------------------------------------------------

    def _name(self, node: ast.Name) -> None:
        name = node.id
        self._out.append(f"N{name}")
        if type(node.ctx) is not ast.Load:
            self._bind(name)
            return
        self._use((name,), LOAD)
        self._note_special(name)
        self._note_origin((name,))
        if name in IMPORTERS and node is not self._called:
            self._reads = 2
        if name.startswith("__") and not name.endswith("__"):
            for scope in self._scopes:
                if scope.kind == "class":  # the compiler mangles it
                    self._use((f"_{scope.name.lstrip('_')}{name}",), LOAD)

    def _note_special(self, name: str) -> None:
        if name in DOC_NAMES:
            self._sensitivity = max(self._sensitivity, DOCS)
        elif name in TEXT_ATTRIBUTES:
            self._sensitivity = TEXT
        elif name in ("exec", "eval", "compile", "__import__", "__builtins__"):
            self._reads = 2
            self._dynamic = self._dynamic or (self._lazy == 0 and name != "__import__")
        elif name == "globals":
            self._reads = max(self._reads, 1)
            self._globals_named += 1
        elif name in ("locals", "vars") and self._lazy == 0:
            self._reads = max(self._reads, 1)
            self._dynamic = True

    def _attribute(self, node: ast.Attribute) -> None:
        words = []
        inner: ast.expr = node
        while type(inner) is ast.Attribute:
            words.append(inner.attr)
            inner = inner.value
        words.reverse()
        for word in words:
            if word in DOC_NAMES:
                self._sensitivity = max(self._sensitivity, DOCS)
            elif word in TEXT_ATTRIBUTES:
                self._sensitivity = TEXT
            elif word in ("__subclasses__", "__builtins__", "__globals__", "f_globals"):
                self._reads = 2
        if words[-1] in CHANGING and node is not self._called:
            owner = root_path(node.value)
            if owner is not None:  # `add = ITEMS.append`: whoever calls it changes them
                self._scope.uses.add((owner, CHANGE, True))
        self._out.append("A" + ".".join(words))
        if type(inner) is ast.Name:
            self._out.append(f"N{inner.id}")
            path = (inner.id, *words)
            self._use(path, LOAD)
            self._note_special(inner.id)
            if inner.id.startswith("__") and not inner.id.endswith("__"):
                self._visit(inner)
            self._note_origin(path)
            if words[-1] in IMPORTERS and node is not self._called:
                self._reads = 2
        else:
            self._visit(inner)
        if type(node.ctx) is not ast.Load:
            for root in roots(node.value):
                exact = root == chain(node.value)
                self._changed((*root, node.attr) if exact else root, STORE if exact else CHANGE)

    def _note_origin(self, path: Path) -> None:
        """Whether something imported gives access to any module."""
        for dotted in self._origins(path[0]):
            full = ".".join((dotted, *path[1:]))
            through = full.startswith(("sys.modules.", "pkgutil.", "runpy.", "gc."))
            if through or full in READS_ALL or full == "sys":
                self._reads = 2
            if full.startswith(("sys.modules", "builtins.e")) and self._lazy == 0:
                self._dynamic = True

    def _subscript(self, node: ast.Subscript) -> None:
        self._generic(node, ast.Subscript)
        if type(node.ctx) is ast.Load:
            self._globals_read += is_globals(node.value)
            if type(node.value) is ast.Name:
                self._use((node.value.id,), GET)
        else:
            root = root_path(node.value)
            if root is not None:
                self._changed(root, CHANGE)

    def _changed(self, path: Path, how: str) -> None:
        self._use(path, how)
        if path[:2] == ("sys", "modules"):
            self._dynamic = True

    def _is_local(self, name: str) -> bool:
        return any(s.kind != "module" and name in s.bound for s in self._scopes)

    # -- calls --------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> None:
        func = self._called = node.func
        self._generic(node, ast.Call)
        last = func.attr if type(func) is ast.Attribute else getattr(func, "id", "")
        root = root_path(func)
        if last in CACHES or (self._lazy == 0 and "cache" in last):
            self._caches = True
        if self._lazy == 0 and last in STATEFUL_CALLS:
            self._stateful = True
        if type(func) is ast.Attribute and last not in HARMLESS:
            self._method(node, func)
        if root is not None:
            self._note_call(node, func, last, root)
        elif type(func) is ast.Attribute and last in EVALUATED_TEXT:
            self._note_text(node, last)
        for argument in (*node.args, *(k.value for k in node.keywords)):
            for path in passed(argument):
                self._use(path, PASS)
        for keyword in node.keywords:
            target = None
            if keyword.arg == "out":
                target = root_path(keyword.value)
            elif keyword.arg == "inplace" and isinstance(func, ast.Attribute):
                target = root_path(func.value)
            if target is not None:
                self._changed(target, CHANGE)
        if last in CHANGING_FUNCTIONS:
            for argument in node.args:
                for path in passed(argument):
                    self._changed(path, CHANGE)
        if last in ("setattr", "delattr", "__setattr__") and node.args:
            target = root_path(node.args[0])
            if target is not None:
                self._changed(target, CHANGE)
                if self._origins(target[0]):
                    self._changed((*target, "?"), STORE)

    def _note_call(self, node: ast.Call, func: ast.expr, last: str, root: Path) -> None:
        if last in ("import_module", "__import__"):
            self._import_by_name(node)
        if root == chain(func):
            self._use(root, CALL)
        if type(func) is ast.Attribute and last in EVALUATED_TEXT:
            self._note_text(node, last)
        origins = self._origins(root[0])
        if origins and not self._is_local(root[0]):
            full = {f"{dotted}.{'.'.join(root[1:])}" for dotted in origins}
            random = last in RANDOM and any("random" in name for name in full)
            if self._lazy == 0 and (random or EFFECTFUL.match(last)):
                self._effect = True
            elif root[-1] == last and EFFECTFUL.match(last) and last != "register":
                self._late_effect = max(self._late_effect, 1)

    def _method(self, node: ast.Call, func: ast.Attribute) -> None:
        changing = func.attr in CHANGING
        for owner in roots(func.value):
            self._use(owner, CHANGE if changing else CALL)
        if changing and self._lazy and isinstance(func.value, ast.Name):  # it holds them now
            for argument in (*node.args, *(k.value for k in node.keywords)):
                self._scope.held.setdefault(func.value.id, set()).update(passed(argument))

    def _note_text(self, node: ast.Call, method: str) -> None:
        """`frame.query("a > @LIMIT")`, `duckdb.sql("from FRAME")`: names inside a string."""
        self._evaluates_text = True
        values = [*node.args, *(k.value for k in node.keywords)]
        if not all(isinstance(v, ast.Constant) for v in values) and (
            method in ("query", "eval") or self._around.evaluates_text
        ):
            self._evaluates_any = True

    def _load(self, *modules: str) -> None:
        (self._late_loads if self._lazy else self._loads).update(modules)

    def _import_by_name(self, node: ast.Call) -> None:
        match node.args:
            case [ast.Constant(value=str(name))] if name and not name.startswith("."):
                self._load(name)
                self._uses.add(Use(name, (), LOAD, self._lazy > 0))
                top = name.partition(".")[0]
                self._uses.add(Use(top, (), LOAD, self._lazy > 0))
            case _:
                self._reads = 2

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        self._out.append(atom(value))
        if type(value) is str:
            self._texts.append(value)
            if value in DOC_NAMES:
                self._sensitivity = max(self._sensitivity, DOCS)
            elif value in TEXT_ATTRIBUTES:
                self._sensitivity = TEXT


_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}
_SKIPPED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


def _fields(cls: type[ast.AST]) -> tuple[str, ...]:
    if cls not in _FIELDS:
        _FIELDS[cls] = tuple(name for name in cls._fields if name not in _SKIPPED)
    return _FIELDS[cls]


def atom(value: object) -> str:
    """A constant, such that no two that behave differently look alike."""
    if type(value) is str:
        return f"s{len(value)}:{value}"
    if type(value) is int:
        return f"i{value:x}"  # decimal text of huge integers is forbidden
    return f"{type(value).__name__}{value!r}"


def digest_of(parts: list[str]) -> bytes:
    """A digest of texts, in order; empty if there are none."""
    if not parts:
        return b""
    text = "\0".join(parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _with_aliases(scope: _Scope) -> Iterable[tuple[Path, str, bool]]:
    """The uses of a scope; a change of an alias is one of everything that it may stand for too."""
    yield from scope.uses
    for path in scope.held.get(scope.name, ()):
        yield path, HOLD, True
    if not scope.aliases and not scope.held:
        return
    for path, how, lazy in list(scope.uses):
        if how not in (CHANGE, STORE, PASS, CALL, GET, RETURN, AUGMENT):
            continue
        # `items[0] = x` changes nothing that `items` holds; `items[0].append(x)` may.
        deep = how in (PASS, CALL, RETURN) or len(path) > (2 if how == STORE else 1)
        todo, seen = [path[0]], {path[0]}
        while todo:
            name = todo.pop()
            parts = scope.held.get(name, set()) if deep else set()
            for alias in scope.aliases.get(name, set()) | parts:
                if how == AUGMENT and alias[-1] == CALLED:
                    continue
                yield ((*alias, "?") if how == STORE else alias, how, lazy)
                if alias[0] not in seen:
                    seen.add(alias[0])
                    todo.append(alias[0])


def is_shared(path: Path, how: str) -> bool:
    """Whether a change of something imported is one of an object that others see as well.

    A method of a module, such as `numpy.append`, and what a call makes are not.
    """
    if how not in (CHANGE, STORE):
        return False
    if how == STORE and CALLED in path:  # of the result, so without the attribute
        path = path[: path.index(CALLED) + 1]
    if path[-1] == CALLED:
        return len(path) > 1 and SHARED_RESULT.match(path[-2]) is not None
    return how == STORE or len(path) > 1
