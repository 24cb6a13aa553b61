"""What one top-level statement says and refers to: syntax tree → digest, names, effects.

The scopes are Python's own: a name is looked up where the interpreter would look it up, so a local
variable never counts as the global of the same name. Only what reaches the module's globals leaves
a statement, as `Use`s. What the text cannot tell (`exec`, `globals()`) leaves it as a flag.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Path = tuple[str, ...]

# The last word of a path that stands for what a call returns.
CALLED = "()"

# What is done with the object that a `Use` names.
LOAD = "load"
CHANGE = "change"  # certainly changed in place
CALL = "call"  # it or a method of it is called, which may change it
GET = "get"  # something is looked up in it, which may change what has a default
STORE = "store"  # an attribute of it is set or deleted
PASS = "pass"  # handed to a call, which may change it
AUGMENT = "augment"  # changed in place if it is mutable: `x += y`
RETURN = "return"  # returned by a function, or a part of it is
DECORATE = "decorate"  # handed to a decorator, which may change it or keep the function in it

_CHANGING = frozenset(
    "add append appendleft extend extendleft insert update setdefault pop popleft popitem remove "
    "discard clear sort reverse rotate difference_update intersection_update subtract fill put "
    "resize __setitem__ __delitem__ __setattr__ move_to_end register".split()
)
# These do not run code of the project, so at module level they are no more than a change.
CONTAINER_METHODS = _CHANGING - {"register", "put", "fill", "resize", "__setattr__"}
_HARMLESS = frozenset(
    "copy get items keys values format join split rsplit splitlines strip lstrip rstrip lower "
    "upper title replace startswith endswith encode decode union intersection difference count "
    "index as_posix with_suffix with_name exists is_file is_dir joinpath resolve match fullmatch "
    "search findall finditer sub debug info warning error exception critical log head tail "
    "astype mean sum max min std isin to_dict tolist groupby merge".split()
)
_COPYING = frozenset(
    "copy deepcopy merge join groupby astype head tail assign drop dropna fillna rename set_index "
    "reset_index sort_values query filter select with_columns to_dict to_frame agg apply map "
    "pivot_table melt format split strip lower upper replace sum mean keys".split()
)
_CHANGING_FUNCTIONS = frozenset(
    "next heappush heappop heapify heapreplace heappushpop insort insort_left insort_right put "
    "copyto place putmask fill_diagonal shuffle setitem delitem iadd iconcat ior anext".split()
)
_PURE_BUILTINS = frozenset(
    "len isinstance issubclass str int float bool repr tuple dict list set frozenset sorted range "
    "min max sum abs round type print hash id ord chr".split()
)
_EFFECTFUL = re.compile(
    r"^(_?set_|seed$|use$|config|init|install|patch|enable|disable|filterwarnings|simplefilter"
    r"|reset_|register|setrecursionlimit|setlocale|chdir|putenv|update$|load_dotenv|basicConfig)"
)
_RANDOM = frozenset(
    {"random", "rand", "randn", "randint", "choice", "shuffle", "uniform", "normal"}
)
_TEXT_ATTRIBUTES = frozenset(
    "__code__ f_lineno f_code f_back co_code co_firstlineno co_lines co_consts tb_lineno getsource "
    "getsourcelines getsourcefile findsource getcomments _getframe currentframe getframeinfo "
    "extract_stack format_stack format_exc print_exc extract_tb lineno findcaller stacklevel".split()
)
_DOC_NAMES = frozenset({"__doc__", "getdoc", "get_docstring", "help"})
_READS_ALL = frozenset(
    "sys.modules importlib importlib.reload importlib.util importlib.machinery pkgutil runpy gc "
    "builtins builtins.eval builtins.exec builtins.compile builtins.__import__ pickle.load "
    "pickle.loads pickle.Unpickler joblib.load dill.load dill.loads cloudpickle.load "
    "cloudpickle.loads".split()
)
_IMPORTERS = frozenset({"import_module", "__import__"})
_MAKING = frozenset({"__init__", "__new__", "__post_init__", "__setstate__", "__set_name__"})
_STATEFUL_CALLS = frozenset(
    "ContextVar Queue count cycle iter map filter zip enumerate reversed chain islice defaultdict default_rng RandomState Random Generator open StringIO BytesIO".split()
)
BUILTINS = frozenset(dir(builtins))
_QUIET_CONTEXTS = frozenset({"suppress", "open", "catch_warnings"})
_EVALUATED_TEXT = frozenset({"query", "eval", "sql", "execute", "SQLContext"})
_WORD = re.compile(r"[^\W\d]\w*")

DOCS = 1  # what a statement means depends on docstrings
TEXT = 2  # … on the text itself, down to line numbers


class Use(NamedTuple):
    """A name that the interpreter looks up in a module's globals, and what is done with it.

    Attributes:
        module: where the name is looked up; empty for the module that the statement is in.
        path: the name and the attributes taken from it: `setup.RATE.real`.
        how: what is done with the object.
        lazy: it happens when a function is called, not when the module is executed.
    """

    module: str
    path: Path
    how: str
    lazy: bool


class Target(NamedTuple):
    """What an import binds: a module, or the attribute `path` of it."""

    module: str
    path: Path


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, as far as the meaning of names depends on it.

    Attributes:
        digest: of what it says; formatting, comments and docstrings are no part of it.
        docs: of its docstrings.
        line: where it begins.
        label: what a person calls it.
        binds: module-level names that it binds or deletes.
        imports: module-level name → what an import here binds it to.
        loads: modules that imports here, wherever they stand, load.
        star: modules that it star-imports.
        uses: every global name that it refers to.
        eager: it does more than define a function when it is executed.
        effect: executing it may change something outside the names of this module.
        late_effect: a function in it changes something outside of the project when called.
        dynamic: it may define names that are not written in it.
        reads: 1 if it may read any name of its module, 2 if of any module.
        sensitivity: 0, DOCS or TEXT.
        foreign_readers: names of decorators and bases, which get hold of docstrings here.
        changes_arguments: a function in it changes objects that are handed to it.
        sets_attributes: … by setting their attributes, which functions and classes have too.
        caches: it is decorated with something that keeps what it returned.
        fresh: the one value that it binds shares nothing mutable with other names.
        immutable: … and cannot be changed in place, if the values of `immutable_if` cannot.
        handles: it handles exceptions, such as that of a name that is not bound yet.
        stateful: it defines or makes an object that calls of its methods change.
    """

    digest: bytes
    docs: bytes
    line: int
    label: str
    binds: frozenset[str]
    imports: Mapping[str, frozenset[Target]]
    loads: frozenset[str]
    star: tuple[str, ...]
    uses: frozenset[Use]
    eager: bool
    effect: bool
    late_effect: bool
    dynamic: bool
    reads: int
    sensitivity: int
    foreign_readers: frozenset[str]
    changes_arguments: bool
    sets_attributes: bool
    caches: bool
    fresh: bool
    immutable: bool
    immutable_if: frozenset[str]
    handles: bool
    stateful: bool


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
    aliases: dict[str, set[Path]] = field(default_factory=dict)
    uses: set[tuple[Path, str, bool]] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)  # class attributes, defaults: mutable, kept
    defaults: dict[str, set[Path]] = field(default_factory=dict)
    inner_changes: set[str] = field(default_factory=set)  # what functions inside change of it


class StatementReader:
    """Reads the top-level statements of one module, one after the other.

    Args:
        module: the module's absolute name.
        is_package: whether it is a package's `__init__`.
        imported: names that its top-level imports bind → the dotted names they stand for.
        defined: names that its top-level statements bind in other ways.
    """

    def __init__(
        self, module: str, is_package: bool, imported: Mapping[str, set[str]], defined: set[str]
    ) -> None:
        self._package = module if is_package else module.rpartition(".")[0]
        self._imported = imported
        self._defined = defined
        dotted = {name.partition(".")[0] for names in imported.values() for name in names}
        self._has_sql = not dotted.isdisjoint({"duckdb", "polars", "pandasql"})

    def read(
        self, node: ast.stmt, guards: Iterable[ast.expr] = (), branch: str = "", part: int = -1
    ) -> Statement:
        """The statement `node`.

        Args:
            node: the statement.
            guards: conditions of the `if`s that it stands in.
            branch: which of their branches.
            part: read only this one of an import's names.

        Raises:
            RecursionError: it is nested too deeply; see `read_opaque`.
        """
        self._begin(node)
        if part >= 0 and isinstance(node, ast.Import | ast.ImportFrom):
            self._import(node, node.names[part : part + 1])
        else:
            self._visit(node)
        for guard in guards:
            self._visit(guard)
        self._out.append(branch)
        return self._finish(node)

    def read_opaque(self, node: ast.stmt, text: str) -> Statement:
        """A statement that is too deep to be read: its exact text, and every name in it."""
        self._begin(node)
        self._out = [text]
        self._reads = 2
        self._effect = not isinstance(node, ast.Assign | ast.AnnAssign | ast.FunctionDef)
        scope = self._scope
        for child in ast.walk(node):
            match child:
                case ast.Name(id=name):
                    scope.uses.add(((name,), LOAD, False))
                    if not isinstance(child.ctx, ast.Load):
                        scope.bound.add(name)
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    scope.bound.add(name)
                case ast.AsyncFunctionDef(name=name):
                    scope.bound.add(name)
                case ast.Import() | ast.ImportFrom():
                    self._import(child, child.names)
        return self._finish(node, opaque=True)

    def _begin(self, node: ast.stmt) -> None:
        self._out: list[str] = []
        self._docs: list[str] = []
        self._scope = _Scope("module")
        self._scopes = [self._scope]
        self._lazy = 0
        self._uses: set[Use] = set()
        self._loads: set[str] = set()
        self._star: list[str] = []
        self._eager = not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        self._called: ast.expr | None = None
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        self._names = [t.id for t in targets if isinstance(t, ast.Name)]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._names = [node.name]
        self._effect = self._late_effect = self._dynamic = self._changes_arguments = False
        self._reads = self._sensitivity = 0
        self._stateful = self._handles = self._sets_attributes = self._caches = False
        self._foreign: set[str] = set()
        self._texts: list[str] = []
        self._evaluates_text = self._evaluates_any = False
        self._globals_named = self._globals_read = 0

    def _finish(self, node: ast.stmt, opaque: bool = False) -> Statement:
        scope = self._scope
        for path, how, lazy in scope.uses:
            self._uses.add(Use("", path, how, lazy))
            if path[0] in self._imported and _is_shared(path, how):
                self._effect = self._effect or not lazy
                self._late_effect = self._late_effect or lazy
        for use in self._uses:
            if use.module and use.lazy and _is_shared((use.module, *use.path), use.how):
                self._late_effect = True
        if self._evaluates_text:
            for text in self._texts:
                for word in _WORD.findall(text):
                    self._uses.add(Use("", (word,), LOAD, True))
        if self._evaluates_any:
            self._reads = max(self._reads, 1)
        if self._globals_named > self._globals_read:
            self._dynamic = True
        fresh, immutable = (False, False) if opaque else _freshness(node)
        return Statement(
            digest=_digest(self._out),
            docs=_digest(self._docs),
            line=min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))]),
            label=type(node).__name__,
            binds=frozenset(scope.bound),
            imports={name: frozenset(targets) for name, targets in scope.imports.items()},
            loads=frozenset(self._loads),
            star=tuple(self._star),
            uses=frozenset(self._uses),
            eager=self._eager,
            effect=self._effect,
            late_effect=self._late_effect,
            dynamic=self._dynamic,
            reads=self._reads,
            sensitivity=self._sensitivity,
            foreign_readers=frozenset(self._foreign),
            changes_arguments=self._changes_arguments,
            sets_attributes=self._sets_attributes,
            caches=self._caches,
            fresh=fresh,
            immutable=immutable,
            immutable_if=_names(node) if immutable else frozenset(),
            handles=self._handles,
            stateful=self._stateful,
        )

    # -- walking ------------------------------------------------------------------------------

    def _visit(self, node: ast.AST) -> None:
        cls = type(node)
        visitor = _VISITORS.get(cls)
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
                out.append(_atom(value))

    def _visit_list(self, values: list[ast.AST]) -> None:
        out = self._out
        out.append(f"[{len(values)}")
        for value in values:
            if isinstance(value, ast.AST):
                self._visit(value)
            else:
                out.append(_atom(value))

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
        """A function changes what it was handed: its argument, its class or what its class holds."""
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
            if scope.function not in _MAKING:
                self._stateful = True
            if len(path) > (2 if how == STORE else 1):
                self._changes_arguments = True

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
        if name in self._imported:
            self._note_origin((name,))
        if name in _IMPORTERS and node is not self._called:
            self._reads = 2
        if name.startswith("__") and not name.endswith("__"):
            for scope in self._scopes:
                if scope.kind == "class":  # the compiler mangles it
                    self._use((f"_{scope.name.lstrip('_')}{name}",), LOAD)

    def _note_special(self, name: str) -> None:
        if name in _DOC_NAMES:
            self._sensitivity = max(self._sensitivity, DOCS)
        elif name in _TEXT_ATTRIBUTES:
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
            if word in _DOC_NAMES:
                self._sensitivity = max(self._sensitivity, DOCS)
            elif word in _TEXT_ATTRIBUTES:
                self._sensitivity = TEXT
            elif word in ("__subclasses__", "__builtins__", "__globals__", "f_globals"):
                self._reads = 2
        if words[-1] in _CHANGING and node is not self._called:
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
            if inner.id in self._imported:
                self._note_origin(path)
            if words[-1] in _IMPORTERS and node is not self._called:
                self._reads = 2
        else:
            self._visit(inner)
        if type(node.ctx) is not ast.Load:
            for root in _roots(node.value):
                exact = root == _chain(node.value)
                self._changed((*root, node.attr) if exact else root, STORE if exact else CHANGE)

    def _note_origin(self, path: Path) -> None:
        """Whether something imported gives access to any module."""
        rest = "".join(f".{word}" for word in path[1:])
        for dotted in self._imported[path[0]]:
            full = dotted + rest
            if full in _READS_ALL or (full == "sys" and not rest):
                self._reads = 2
            elif full.startswith(("sys.modules.", "pkgutil.", "runpy.", "gc.")):
                self._reads = 2
            if full.startswith(("sys.modules", "builtins.e")) and self._lazy == 0:
                self._dynamic = True

    def _subscript(self, node: ast.Subscript) -> None:
        self._generic(node, ast.Subscript)
        if type(node.ctx) is ast.Load:
            self._globals_read += _is_globals(node.value)
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
        if self._lazy == 0 and last in _STATEFUL_CALLS:
            self._stateful = True
        if type(func) is ast.Attribute and last not in _HARMLESS:
            self._method(node, func)
        if root is not None:
            self._note_call(node, func, last, root)
        elif type(func) is ast.Attribute and last in _EVALUATED_TEXT:
            self._note_text(node, last)
        for argument in (*node.args, *(k.value for k in node.keywords)):
            for path in _passed(argument):
                self._use(path, PASS)
        for keyword in node.keywords:
            target = None
            if keyword.arg == "out":
                target = root_path(keyword.value)
            elif keyword.arg == "inplace" and isinstance(func, ast.Attribute):
                target = root_path(func.value)
            if target is not None:
                self._changed(target, CHANGE)
        if last in _CHANGING_FUNCTIONS:
            for argument in node.args:
                for path in _passed(argument):
                    self._changed(path, CHANGE)
        if last in ("setattr", "delattr", "__setattr__") and node.args:
            target = root_path(node.args[0])
            if target is not None:
                self._changed(target, CHANGE)
                if target[0] in self._imported:
                    self._changed((*target, "?"), STORE)

    def _note_call(self, node: ast.Call, func: ast.expr, last: str, root: Path) -> None:
        if last in ("import_module", "__import__"):
            self._import_by_name(node)
        if root == _chain(func):
            self._use(root, CALL)
        if type(func) is ast.Attribute:
            if last in _EVALUATED_TEXT:
                self._note_text(node, last)
        if root[0] in self._imported and not self._is_local(root[0]):
            full = {f"{dotted}.{'.'.join(root[1:])}" for dotted in self._imported[root[0]]}
            random = last in _RANDOM and any("random" in name for name in full)
            if self._lazy == 0 and (random or _EFFECTFUL.match(last)):
                self._effect = True
            elif root[-1] == last and _EFFECTFUL.match(last) and last != "register":
                self._late_effect = True

    def _method(self, node: ast.Call, func: ast.Attribute) -> None:
        changing = func.attr in _CHANGING
        for owner in _roots(func.value):
            self._use(owner, CHANGE if changing else CALL)
        if changing and self._lazy and isinstance(func.value, ast.Name):  # it holds them now
            for argument in (*node.args, *(k.value for k in node.keywords)):
                self._scope.aliases.setdefault(func.value.id, set()).update(_passed(argument))

    def _note_text(self, node: ast.Call, method: str) -> None:
        """`frame.query("a > @LIMIT")`, `duckdb.sql("from FRAME")`: names inside a string."""
        self._evaluates_text = True
        values = [*node.args, *(k.value for k in node.keywords)]
        if not all(isinstance(v, ast.Constant) for v in values) and (
            method in ("query", "eval") or self._has_sql
        ):
            self._evaluates_any = True

    def _import_by_name(self, node: ast.Call) -> None:
        match node.args:
            case [ast.Constant(value=str(name))] if name and not name.startswith("."):
                self._loads.add(name)
                self._uses.add(Use(name, (), LOAD, self._lazy > 0))
                top = name.partition(".")[0]
                self._uses.add(Use(top, (), LOAD, self._lazy > 0))
            case _:
                self._reads = 2

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        self._out.append(_atom(value))
        if type(value) is str:
            self._texts.append(value)
            if value in _DOC_NAMES:
                self._sensitivity = max(self._sensitivity, DOCS)
            elif value in _TEXT_ATTRIBUTES:
                self._sensitivity = TEXT

    # -- statements ---------------------------------------------------------------------------

    def _hand_on(self, value: ast.expr) -> None:
        """Whoever goes through an iterator changes it."""
        for path in _passed(value):
            self._use(path, PASS)

    def _starred(self, node: ast.Starred) -> None:
        self._generic(node, ast.Starred)
        self._hand_on(node.value)

    def _compare(self, node: ast.Compare) -> None:
        self._generic(node, ast.Compare)
        for operator, value in zip(node.ops, node.comparators, strict=True):
            if type(operator) in (ast.In, ast.NotIn):
                self._hand_on(value)

    def _return(self, node: ast.Return | ast.Yield | ast.YieldFrom) -> None:
        self._generic(node, type(node))
        if type(node) is not ast.Return:
            self._stateful = True
        for path in _passed(node.value) if node.value is not None else ():
            self._use(path, RETURN)

    def _expr(self, node: ast.Expr) -> None:
        if type(node.value) is ast.Constant:
            return
        self._out.append("Expr")
        self._visit(node.value)
        if self._lazy == 0 and self._may_have_effect(node.value):
            self._effect = True

    def _may_have_effect(self, value: ast.expr) -> bool:
        match value:
            case ast.Call(func=ast.Name(id=name)) if name in _PURE_BUILTINS - self._defined:
                return any(isinstance(n, ast.Call) for a in value.args for n in ast.walk(a))
            case ast.Call(func=ast.Attribute(attr=attr, value=owner)) if attr in CONTAINER_METHODS:
                root = root_path(owner)
                return root is None or root[0] in self._imported
            case ast.Name() | ast.Constant() | ast.Tuple() | ast.Attribute():
                return any(isinstance(n, ast.Call) for n in ast.walk(value))
        return True

    def _assign(self, node: ast.Assign) -> None:
        self._generic(node, ast.Assign)
        self._note_assigned(node.targets, node.value)

    def _ann_assign(self, node: ast.AnnAssign) -> None:
        self._out.append("AnnAssign")
        self._visit(node.target)
        if node.value is None and type(node.target) is ast.Name and self._scope.kind == "module":
            self._scope.bound.discard(node.target.id)
        self._annotation(node.annotation)
        self._out.append(str(node.simple))
        if node.value is not None:
            self._visit(node.value)
            self._note_assigned([node.target], node.value)

    def _note_assigned(self, targets: list[ast.expr], value: ast.expr) -> None:
        scope = self._scope
        for target in targets:
            self._alias(target, value)
            if isinstance(target, ast.Tuple | ast.List):
                self._hand_on(value)
            if scope.kind == "class" and isinstance(target, ast.Name) and _is_mutable(value):
                scope.shared.add(target.id)
            if (
                self._lazy == 0
                and isinstance(target, ast.Name)
                and not target.id.strip("_")
                and any(isinstance(n, ast.Call) for n in ast.walk(value))
            ):
                self._effect = True

    def _alias(self, target: ast.AST, value: ast.expr, elements: bool = False) -> None:
        """A local name that stands for (a part of) another object: a change of it is one of that."""
        if self._scope.kind == "module":
            return
        paths = list(_passed(value))
        if elements and isinstance(value, ast.Call):
            for argument in value.args:  # `for x in sorted(ITEMS)`: a new list, the same items
                paths += _passed(argument)
        if not paths:
            return
        for node in ast.walk(target):
            name = getattr(node, "id", None) or getattr(node, "name", None)
            if isinstance(name, str):
                self._scope.aliases.setdefault(name, set()).update(paths)

    def _match(self, node: ast.Match) -> None:
        self._generic(node, ast.Match)
        for case in node.cases:
            self._alias(case.pattern, node.subject)

    def _aug_assign(self, node: ast.AugAssign) -> None:
        self._generic(node, ast.AugAssign)
        if isinstance(node.target, ast.Name):
            self._use((node.target.id,), LOAD)
            # `total += x` of a call's result is arithmetic far more often than a shared list.
            self._use((node.target.id,), AUGMENT)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self._out.append(type(node).__name__)
        self._visit(node.target)
        self._visit(node.iter)
        self._hand_on(node.iter)
        self._alias(node.target, node.iter, elements=True)
        self._body(node.body)
        self._body(node.orelse)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        self._out.append(type(node).__name__)
        for item in node.items:
            self._visit(item)
            if item.optional_vars is not None:
                self._alias(item.optional_vars, item.context_expr)
            call = item.context_expr
            name = root_path(call.func) if isinstance(call, ast.Call) else None
            if self._lazy == 0 and (name is None or name[-1] not in _QUIET_CONTEXTS):
                self._effect = True
        self._body(node.body)

    def _block(self, node: ast.AST) -> None:
        """`if`, `while`, `try` and the like: their fields, and bodies without bare strings."""
        self._out.append(type(node).__name__)
        if isinstance(node, ast.ExceptHandler):
            self._handles = True
        for name in node._fields:
            value = getattr(node, name)
            if name in ("body", "orelse", "finalbody"):
                self._body(value)
            elif isinstance(value, list):
                self._visit_list(value)
            elif isinstance(value, ast.AST):
                self._visit(value)
            else:
                if name == "name" and value is not None:  # except … as name
                    self._bind(value)
                self._out.append(_atom(value))

    def _named(self, node: ast.NamedExpr) -> None:
        self._out.append("NamedExpr")
        self._visit(node.value)
        self._out.append(node.target.id)
        scope = next(s for s in reversed(self._scopes) if s.name != "<comprehension>")
        scope.bound.add(node.target.id)
        if self._scope is scope:
            self._alias(node.target, node.value)

    def _global(self, node: ast.Global) -> None:
        self._out.append("Global" + ",".join(sorted(node.names)))
        self._scope.globals.update(node.names)

    def _nonlocal(self, node: ast.Nonlocal) -> None:
        self._out.append("Nonlocal" + ",".join(sorted(node.names)))
        self._scope.nonlocals.update(node.names)

    def _pattern(self, node: ast.AST) -> None:
        self._generic(node, type(node))
        name = getattr(node, "name", None) or getattr(node, "rest", None)
        if name:
            self._bind(name)

    def _imports(self, node: ast.Import | ast.ImportFrom) -> None:
        self._import(node, node.names)

    def _import(self, node: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> None:
        out, scope = self._out, self._scope
        if isinstance(node, ast.Import):
            for alias in names:
                out.append(f"import {alias.name} as {alias.asname}")
                self._loads.add(alias.name)
                top = alias.name.partition(".")[0]
                bound = alias.asname or top
                target = Target(alias.name if alias.asname else top, ())
                scope.bound.add(bound)
                scope.imports.setdefault(bound, set()).add(target)
                if self._lazy and alias.name in ("pkgutil", "runpy", "gc", "pickle", "builtins"):
                    self._reads = 2
                if scope.kind == "class":  # it is an attribute of the class
                    self._uses.add(Use(target.module, (), LOAD, self._lazy > 0))
            return
        base = absolute_base(node, self._package)
        for alias in names:
            out.append(f"from {base} import {alias.name} as {alias.asname}")
            if base is None:
                continue
            self._loads.update((base, f"{base}.{alias.name}"))
            if base == "importlib" and alias.name in _IMPORTERS:
                self._reads = 2 if alias.asname else self._reads
            elif f"{base}.{alias.name}" in _READS_ALL or base in ("pkgutil", "runpy", "gc"):
                self._reads = 2
            if alias.name in _TEXT_ATTRIBUTES:
                self._sensitivity = TEXT
            if alias.name == "*":
                self._star.append(base)
                continue
            bound = alias.asname or alias.name
            target = Target(base, (alias.name,))
            scope.bound.add(bound)
            scope.imports.setdefault(bound, set()).add(target)
            if scope.kind != "module":
                self._uses.add(Use(base, (alias.name,), LOAD, self._lazy > 0))

    # -- functions, classes and comprehensions ------------------------------------------------

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._out.append(type(node).__name__)
        self._out.append(node.name)
        self._bind(node.name)
        self._decorators(node.decorator_list, node.name)
        self._arguments(node.args)
        if node.returns is not None:
            self._out.append("->")
            self._annotation(node.returns)
        kinds = {d.id for d in node.decorator_list if isinstance(d, ast.Name)}
        in_class = self._scope.kind == "class"
        self._enter("function")
        self._scope.function = node.name
        self._scope.defaults = dict(_defaults(node.args))
        self._scope.shared.update(_mutable_defaults(node.args))
        parameters = _parameters(node.args)
        if in_class and parameters and "staticmethod" not in kinds:
            self._scope.name = parameters[0]
        self._scope.parameters.update(parameters)
        self._scope.bound.update(parameters)
        self._type_params(node)
        self._lazy += 1
        self._body(node.body)
        self._lazy -= 1
        self._leave()

    def _lambda(self, node: ast.Lambda) -> None:
        self._out.append("Lambda")
        self._arguments(node.args)
        self._enter("function")
        parameters = _parameters(node.args)
        self._scope.parameters.update(parameters)
        self._scope.bound.update(parameters)
        self._lazy += 1
        self._visit(node.body)
        for path in _passed(node.body):
            self._use(path, RETURN)
        self._lazy -= 1
        self._leave()

    def _arguments(self, arguments: ast.arguments) -> None:
        out = self._out
        for group in (arguments.posonlyargs, arguments.args, arguments.kwonlyargs):
            out.append(f"({len(group)}")
            for argument in group:
                self._argument(argument)
        for star in (arguments.vararg, arguments.kwarg):
            out.append("*")
            if star is not None:
                self._argument(star)
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is None:
                out.append("~")
            else:
                self._visit(default)
                if type(default) is not ast.Constant:
                    self._eager = True

    def _argument(self, argument: ast.arg) -> None:
        self._out.append(argument.arg)
        if argument.annotation is not None:
            self._out.append(":")
            self._annotation(argument.annotation)

    def _annotation(self, node: ast.expr) -> None:
        """An annotation; what strings in it name counts, since Hamilton evaluates them."""
        self._visit(node)
        for child in ast.walk(node):
            if isinstance(child, ast.Constant) and isinstance(child.value, str):
                try:
                    inner = ast.parse(child.value.strip(), mode="eval")
                except (SyntaxError, ValueError):
                    continue
                for part in ast.walk(inner):
                    path = root_path(part) if isinstance(part, ast.Attribute | ast.Name) else None
                    if path is not None:
                        self._use(path, LOAD)

    def _decorators(self, decorators: list[ast.expr], name: str) -> None:
        self._visit_list(list(decorators))
        for decorator in decorators:
            self._eager = True
            func = decorator.func if isinstance(decorator, ast.Call) else decorator
            root = root_path(func)
            if root is None:
                continue
            self._caches = self._caches or "cache" in root[-1] or "memo" in root[-1]
            origins = self._imported.get(root[0], set())
            tops = {origin.partition(".")[0] for origin in origins}
            if not tops or tops - QUIET_READERS:
                self._foreign.add(root[0])
            if len(root) > 1 and not tops & {"hamilton", "functools", "typing"}:
                self._use(root[:-1], DECORATE)
            elif isinstance(func, ast.Name) and not tops & QUIET_READERS:
                self._use(root, CALL)
            is_mutate = root[-1] == "mutate" or any(o.endswith(".mutate") for o in origins)
            if is_mutate or not tops or tops - QUIET_READERS:
                for part in ast.walk(decorator):
                    path = root_path(part) if isinstance(part, ast.Attribute | ast.Name) else None
                    if path is not None and path != root:
                        self._use(path, DECORATE)

    def _type_params(self, node: ast.AST) -> None:
        for parameter in getattr(node, "type_params", ()):  # Python 3.12
            self._scope.bound.add(parameter.name)
            self._generic(parameter, type(parameter))

    def _class(self, node: ast.ClassDef) -> None:
        self._out.append("ClassDef")
        self._out.append(node.name)
        self._bind(node.name)
        self._decorators(node.decorator_list, node.name)
        for base in (*node.bases, *(k.value for k in node.keywords)):
            root = root_path(base)
            if root is not None:
                self._foreign.add(root[0])
        self._visit_list([*node.bases])
        self._visit_list([*node.keywords])
        self._enter("class", node.name)
        self._type_params(node)
        self._body(node.body)
        self._leave()

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> None:
        self._out.append(type(node).__name__)
        first = node.generators[0]
        self._visit(first.iter)  # evaluated where the comprehension stands
        self._enter("function", "<comprehension>")
        for generator in node.generators:
            self._out.append(f"for{generator.is_async}")
            self._visit(generator.target)
            if generator is not first:
                self._visit(generator.iter)
            self._alias(generator.target, generator.iter, elements=True)
            self._hand_on(generator.iter)
            self._visit_list([*generator.ifs])
        if isinstance(node, ast.DictComp):
            self._visit(node.key)
            self._visit(node.value)
        else:
            self._visit(node.elt)
        self._leave()


# Their decorators and base classes do not make a value of a docstring.
QUIET_READERS = frozenset(
    "hamilton functools typing typing_extensions dataclasses abc enum contextlib collections "
    "itertools operator numpy pandas polars pyarrow numba dask ray torch sklearn scipy pathlib "
    "unittest threading asyncio warnings logging string json datetime decimal fractions time "
    "attr attrs msgspec pandera".split()
)

_Visitor = Callable[[StatementReader, ast.AST], None]


def _visitors() -> dict[type[ast.AST], _Visitor]:
    r = StatementReader
    table: dict[type[ast.AST], object] = {
        ast.Name: r._name,
        ast.Attribute: r._attribute,
        ast.Subscript: r._subscript,
        ast.Call: r._call,
        ast.Constant: r._constant,
        ast.Starred: r._starred,
        ast.Compare: r._compare,
        ast.Expr: r._expr,
        ast.Return: r._return,
        ast.Yield: r._return,
        ast.YieldFrom: r._return,
        ast.Assign: r._assign,
        ast.AnnAssign: r._ann_assign,
        ast.AugAssign: r._aug_assign,
        ast.For: r._for,
        ast.AsyncFor: r._for,
        ast.With: r._with,
        ast.AsyncWith: r._with,
        ast.If: r._block,
        ast.While: r._block,
        ast.Try: r._block,
        ast.TryStar: r._block,
        ast.ExceptHandler: r._block,
        ast.match_case: r._block,
        ast.Match: r._match,
        ast.NamedExpr: r._named,
        ast.Global: r._global,
        ast.Nonlocal: r._nonlocal,
        ast.MatchAs: r._pattern,
        ast.MatchStar: r._pattern,
        ast.MatchMapping: r._pattern,
        ast.Import: r._imports,
        ast.ImportFrom: r._imports,
        ast.FunctionDef: r._function,
        ast.AsyncFunctionDef: r._function,
        ast.Lambda: r._lambda,
        ast.ClassDef: r._class,
        ast.ListComp: r._comprehension,
        ast.SetComp: r._comprehension,
        ast.GeneratorExp: r._comprehension,
        ast.DictComp: r._comprehension,
    }
    return table  # type: ignore[return-value]  # each takes the node type that it is listed under


_VISITORS = _visitors()
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}
_SKIPPED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


def _fields(cls: type[ast.AST]) -> tuple[str, ...]:
    if cls not in _FIELDS:
        _FIELDS[cls] = tuple(name for name in cls._fields if name not in _SKIPPED)
    return _FIELDS[cls]


def _atom(value: object) -> str:
    """A constant, such that no two that behave differently look alike."""
    if type(value) is str:
        return f"s{len(value)}:{value}"
    if type(value) is int:
        return f"i{value:x}"  # decimal text of huge integers is forbidden
    return f"{type(value).__name__}{value!r}"


def _digest(parts: list[str]) -> bytes:
    if not parts:
        return b""
    text = "\0".join(parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def root_path(node: ast.AST) -> Path | None:
    """The name that an expression starts from, with the attributes that follow directly on it.

    `a.b[0].c` gives `a.b`: the object, a part of which it stands for. A call gives what is called,
    and CALLED as the last word.
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
                words = ["?"] if called and isinstance(node, ast.Subscript) else []
                node = value
            case ast.Call(func=ast.Name(id="vars"), args=[value]):
                words = ["__dict__"]
                node = value
            case ast.Call(func=func):
                if called and words:
                    return None  # what a call of a call's result gives is anybody's guess
                if isinstance(func, ast.Attribute) and func.attr in _COPYING:
                    return None
                words = []
                called = True
                node = func
            case _:
                return None


def _roots(node: ast.AST) -> list[Path]:
    """What an expression may stand for a part of; every name in it, if there is no telling."""
    if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp | ast.Compare):
        return []
    if (root := root_path(node)) is not None:
        return [root]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in _COPYING:
            return []
        return [
            (n.id, CALLED) if isinstance(node.func.value, ast.Call) else (n.id,)
            for n in ast.walk(node.func)
            if isinstance(n, ast.Name)
        ]
    return [(n.id,) for n in ast.walk(node) if isinstance(n, ast.Name)]


def _chain(node: ast.AST) -> Path | None:
    """The words of `a.b.c`, if it is nothing else."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    return (node.id, *reversed(words)) if isinstance(node, ast.Name) else None


def _passed(node: ast.AST) -> Iterable[Path]:
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
                        yield from _passed(argument)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            for part in parts:
                yield from _passed(part)
        case ast.Dict(values=parts) | ast.BoolOp(values=parts):
            for part in parts:
                yield from _passed(part)
        case ast.IfExp(body=left, orelse=right):
            yield from _passed(left)
            yield from _passed(right)
        case ast.NamedExpr(value=value):
            yield from _passed(value)


def _with_aliases(scope: _Scope) -> Iterable[tuple[Path, str, bool]]:
    """The uses of a scope; a change of an alias is one of everything that it may stand for too."""
    yield from scope.uses
    if not scope.aliases:
        return
    for path, how, lazy in list(scope.uses):
        if (
            how not in (CHANGE, STORE, PASS, CALL, GET, RETURN, AUGMENT)
            or path[0] not in scope.aliases
        ):
            continue
        todo, seen = [path[0]], {path[0]}
        while todo:
            for alias in scope.aliases.get(todo.pop(), ()):
                if how == AUGMENT and alias[-1] == CALLED:
                    continue
                yield ((*alias, "?") if how == STORE else alias, how, lazy)
                if alias[0] not in seen:
                    seen.add(alias[0])
                    todo.append(alias[0])


_SHARED_RESULT = re.compile("^(get|current|default|instance)")


def _is_shared(path: Path, how: str) -> bool:
    """Whether a change of something imported is one of an object that others see as well.

    A method of a module, such as `numpy.append`, and what a call makes are not.
    """
    if how not in (CHANGE, STORE):
        return False
    if path[-1] == CALLED:
        return len(path) > 1 and _SHARED_RESULT.match(path[-2]) is not None
    return how == STORE or len(path) > 1


def _pairs(arguments: ast.arguments) -> Iterable[tuple[str, ast.expr]]:
    named = [*arguments.posonlyargs, *arguments.args]
    with_default = named[len(named) - len(arguments.defaults) :]
    for argument, default in zip(with_default, arguments.defaults, strict=True):
        yield argument.arg, default
    for argument, keyword in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if keyword is not None:
            yield argument.arg, keyword


def _mutable_defaults(arguments: ast.arguments) -> Iterable[str]:
    for name, default in _pairs(arguments):
        if not _is_immutable(default) or _has_names(default):
            yield name


def _defaults(arguments: ast.arguments) -> Iterable[tuple[str, set[Path]]]:
    """Parameters that stand for an object of the enclosing scope if nothing is given."""
    for name, default in _pairs(arguments):
        if paths := set(_passed(default)):
            yield name, paths


def _parameters(arguments: ast.arguments) -> list[str]:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    stars = [star for star in (arguments.vararg, arguments.kwarg) if star is not None]
    return [argument.arg for argument in (*named, *stars)]


_FRESH_CALLS = frozenset(
    "dict list set bytearray defaultdict OrderedDict Counter deque SimpleNamespace DataFrame "
    "Series zeros ones empty full array arange linspace".split()
)


def _freshness(node: ast.stmt) -> tuple[bool, bool]:
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


def _names(node: ast.stmt) -> frozenset[str]:
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
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in _FRESH_CALLS:
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


def _is_globals(value: ast.AST) -> bool:
    return isinstance(value, ast.Call) and root_path(value) == ("globals", CALLED)


def _is_mutable(value: ast.AST) -> bool:
    match value:
        case ast.Call(func=ast.Name(id="field" | "ib" | "attrib" | "Field")):
            return False
        case ast.Name() | ast.Attribute():
            return True
        case ast.Call() | ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp():
            return True
    return False


def absolute_base(node: ast.ImportFrom, package: str) -> str | None:
    """The module that a `from … import` names; None if it climbs out of the package."""
    if node.level == 0:
        return node.module or ""
    parts = package.split(".") if package else []
    if node.level - 1 > len(parts):
        return None
    base = parts[: len(parts) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])
