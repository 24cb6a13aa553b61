"""What one top-level statement says and refers to: syntax tree → digest, names, effects.

The scopes are Python's own: a name is looked up where the interpreter would look it up, so a local
variable never counts as the global of the same name. Only what reaches the module's globals leaves
a statement, as `Use`s. What the text cannot tell (`exec`, `globals()`) leaves it as a flag.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from hamdev.core.expressions import (
    copied_first,
    defaults,
    freshness,
    is_mutable,
    mutable_defaults,
    names,
    parameters,
    passed,
    root_path,
)
from hamdev.core.imports import absolute_base
from hamdev.core.scopes import ScopeReader, atom, digest_of, is_shared
from hamdev.core.uses import (
    AUGMENT,
    CALL,
    CHANGE,
    DECORATE,
    HOLD,
    LOAD,
    PASS,
    RETURN,
    STORE,
    TEXT,
    Statement,
    Target,
    Use,
)
from hamdev.core.vocabulary import (
    CONTAINER_METHODS,
    IMPORTERS,
    PURE_BUILTINS,
    QUIET_CONTEXTS,
    QUIET_READERS,
    READS_ALL,
    TEXT_ATTRIBUTES,
    WORD,
)


class StatementReader(ScopeReader):
    """Reads the top-level statements of one module, one after the other."""

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
        return self._finish(node, is_guarded=bool(branch))

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

    def _finish(self, node: ast.stmt, opaque: bool = False, is_guarded: bool = False) -> Statement:
        scope = self._scope
        for path, how, lazy in scope.uses:
            if how == HOLD:
                if not self._changes_held:
                    continue
                how = CHANGE
            self._uses.add(Use("", path, how, lazy))
            if is_shared(path, how) and self._origins(path[0]):
                self._effect = self._effect or not lazy
                self._late_effect = 2 if lazy else self._late_effect
        for use in self._uses:
            if use.module and use.lazy and is_shared((use.module, *use.path), use.how):
                self._late_effect = 2
        if self._evaluates_text:
            for text in self._texts:
                for word in WORD.findall(text):
                    self._uses.add(Use("", (word,), LOAD, True))
        if self._evaluates_any:
            self._reads = max(self._reads, 1)
        if self._globals_named > self._globals_read:
            self._dynamic = True
        own = [use for use in self._uses if not use.module]
        altering = (CHANGE, STORE, DECORATE)
        fresh, immutable = (False, False) if opaque else freshness(node)
        return Statement(
            digest=digest_of(self._out),
            docs=digest_of(self._docs),
            line=min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))]),
            label=type(node).__name__,
            binds=frozenset(scope.bound),
            imports={name: frozenset(targets) for name, targets in scope.imports.items()},
            loads=frozenset(self._loads | self._late_loads),
            late_loads=frozenset(self._late_loads - self._loads),
            imports_surely=isinstance(node, ast.Import | ast.ImportFrom) and not is_guarded,
            star=tuple(self._star),
            uses=frozenset(self._uses),
            alters=frozenset(u.path[0] for u in own if u.how in altering and not u.lazy),
            rebinds=frozenset(use.path[0] for use in own if use.how == CHANGE),
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
            immutable_if=names(node) if immutable else frozenset(),
            handles=self._handles,
            stateful=self._stateful,
        )

    # -- statements ---------------------------------------------------------------------------

    def _hand_on(self, value: ast.expr) -> None:
        """Whoever goes through an iterator changes it."""
        for path in passed(value):
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
        for path in passed(node.value) if node.value is not None else ():
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
            case ast.Call(func=ast.Name(id=name)) if name in PURE_BUILTINS - self._around.shadowed:
                return any(isinstance(n, ast.Call) for a in value.args for n in ast.walk(a))
            case ast.Call(func=ast.Attribute(attr=attr, value=owner)) if attr in CONTAINER_METHODS:
                root = root_path(owner)
                return root is None or bool(self._origins(root[0]))
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
            if scope.kind == "class" and isinstance(target, ast.Name) and is_mutable(value):
                scope.shared.add(target.id)
            if (
                self._lazy == 0
                and isinstance(target, ast.Name)
                and not target.id.strip("_")
                and any(isinstance(n, ast.Call) for n in ast.walk(value))
            ):
                self._effect = True

    def _alias(self, target: ast.AST, value: ast.expr, elements: bool = False) -> None:
        """A local name that stands for another object, or a part of it: both change together."""
        if self._scope.kind == "module":
            return
        paths = list(passed(value))
        if elements and isinstance(value, ast.Call):
            for argument in value.args:  # `for x in sorted(ITEMS)`: a new list, the same items
                paths += passed(argument)
        if not paths:
            return
        displays = (ast.List, ast.Tuple, ast.Set, ast.Dict)
        holds = isinstance(target, ast.Subscript | ast.Attribute) or (
            isinstance(value, displays) and isinstance(target, ast.Name) and not elements
        )
        for node in ast.walk(target):
            name = getattr(node, "id", None) or getattr(node, "name", None)
            if isinstance(name, str):
                kept = self._scope.held if holds else self._scope.aliases
                kept.setdefault(name, set()).update(paths)

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
            if self._lazy == 0 and (name is None or name[-1] not in QUIET_CONTEXTS):
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
                self._out.append(atom(value))

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
                self._load(alias.name)
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
        base = absolute_base(node, self._around.package)
        for alias in names:
            out.append(f"from {base} import {alias.name} as {alias.asname}")
            if base is None:
                continue
            self._load(base, f"{base}.{alias.name}")
            if base == "importlib" and alias.name in IMPORTERS:
                self._reads = 2 if alias.asname else self._reads
            elif f"{base}.{alias.name}" in READS_ALL or base in ("pkgutil", "runpy", "gc"):
                self._reads = 2
            if alias.name in TEXT_ATTRIBUTES:
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
        self._scope.defaults = dict(defaults(node.args))
        self._scope.shared.update(mutable_defaults(node.args))
        own = parameters(node.args)
        if in_class and own and "staticmethod" not in kinds:
            self._scope.name = own[0]
        self._scope.parameters.update(set(own) - set(copied_first(node.body)))
        self._scope.bound.update(own)
        self._type_params(node)
        self._lazy += 1
        before, self._stateful = self._stateful, False
        self._body(node.body)
        self._lazy -= 1
        self._leave()
        if self._stateful and in_class and "property" in kinds:  # one that remembers its value
            self._caches = True
        self._stateful = self._stateful or before

    def _lambda(self, node: ast.Lambda) -> None:
        self._out.append("Lambda")
        self._arguments(node.args)
        self._enter("function")
        own = parameters(node.args)
        self._scope.parameters.update(own)
        self._scope.bound.update(own)
        self._lazy += 1
        self._visit(node.body)
        for path in passed(node.body):
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
            origins = self._origins(root[0])
            tops = {origin.partition(".")[0] for origin in origins}
            if tops != {"hamilton"}:  # whose `cache` keeps values of nodes, and nothing in here
                self._caches = self._caches or "cache" in root[-1] or "memo" in root[-1]
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


r = StatementReader
StatementReader.visitors = {
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
