"""Bringing loaded modules up to date in place: only statements with another meaning run again.

A reload that executes whole modules makes new classes, sentinels and functions of what did not
change. Remembered values of the old classes would then fail `isinstance`, and Hamilton would have
to look at every function again. So where the code versions tell exactly what a save changed, just
those statements are executed, in the module's own namespace, and everything else stays the very
same object. Where they do not, nothing is patched and the caller reloads as a whole.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from hamdev.core.definitions import EFFECTS, Definitions, ModuleText, read_definitions
from hamdev.core.parsing import Parsed, parse
from hamdev.core.references import Key
from hamdev.core.versions import Codebase
from hamdev.pipeline.sources import Source, prime_linecache
from hamdev.pipeline.statements import Layout, TopLevel, read_layout

_BUILTINS = frozenset(dir(builtins))


class NotPatchableError(Exception):
    """The change is one that has to be loaded as a whole; the text says why."""


@dataclass(frozen=True)
class Loaded:
    """One module as it was executed.

    Attributes:
        source: the text.
        layout: its statements.
        versions: name → the version that it had when it was executed.
    """

    source: Source
    layout: Layout
    versions: Mapping[str, str]


@dataclass
class Patch:
    """What is to be executed again, and how to undo it.

    Attributes:
        codebase: of the texts after the patch.
        loaded: module name → how it then stands.
        statements: module name → the statements to execute, in order of dependency.
        removed: module name → names to take out.
        moved: module name → what only stands elsewhere in the file now, as (before, after).
        bound: module name → the names that are bound anew or taken out, as star imports see it.
        renewed: what is executed again since it holds objects that functions have changed.
    """

    codebase: Codebase
    loaded: dict[str, Loaded]
    statements: dict[str, list[TopLevel]] = field(default_factory=dict)
    removed: dict[str, set[str]] = field(default_factory=dict)
    moved: dict[str, list[tuple[TopLevel, TopLevel]]] = field(default_factory=dict)
    bound: dict[str, set[str]] = field(default_factory=dict)
    renewed: set[Key] = field(default_factory=set)
    _namespaces: dict[str, dict[str, Any]] = field(default_factory=dict)
    _codes: list[tuple[FunctionType, CodeType]] = field(default_factory=list)

    def apply(self, modules: Mapping[str, ModuleType], before: Mapping[str, Loaded]) -> None:
        """Execute it; if that raises, or for any other reason, `undo` puts everything back."""
        for name in self.statements.keys() | self.removed.keys():
            self._namespaces[name] = dict(vars(modules[name]))
        for name in self.removed:
            for gone in self.removed[name]:
                vars(modules[name]).pop(gone, None)
        for name, statements in self.statements.items():
            state = self.loaded[name]
            prime_linecache(state.source)
            code = state.layout.compiled(statements, state.source.file)
            execute(code, vars(modules[name]))
        for name, pairs in self.moved.items():
            state = self.loaded[name]
            prime_linecache(state.source)
            for old, new in pairs:
                self._move(modules[name], old, new, before[name].layout, state)

    def undo(self, modules: Mapping[str, ModuleType], before: Mapping[str, Loaded]) -> None:
        """Put everything back as it was."""
        for name, namespace in self._namespaces.items():
            vars(modules[name]).clear()
            vars(modules[name]).update(namespace)
        for function, code in self._codes:
            function.__code__ = code
        for name in self.loaded.keys() & before.keys():
            prime_linecache(before[name].source)

    def _move(
        self, module: ModuleType, old: TopLevel, new: TopLevel, before: Layout, state: Loaded
    ) -> None:
        """Let code that stayed the same know its new lines, for tracebacks and the DAG's places."""
        functions = list(_functions(vars(module).get(new.names[0]), state.source.file))
        if before.text_of(old) == state.layout.text_of(new):
            by = new.first_line - old.first_line
            replaced = {function: _shifted(function.__code__, by) for function in functions}
        else:
            codes = dict(_codes(state.layout.compiled([new], state.source.file)))
            replaced = {f: codes.get(f.__code__.co_qualname, f.__code__) for f in functions}
        for function, code in replaced.items():
            if code.co_freevars == function.__code__.co_freevars:
                self._codes.append((function, function.__code__))
                function.__code__ = code


def execute(code: CodeType, namespace: dict[str, Any]) -> None:
    """Execute statements of a user's module in its namespace."""
    exec(code, namespace)


def user_code_callers() -> list[CodeType]:
    """The code of what executes a user's statements."""
    return [execute.__code__]


@dataclass(frozen=True, slots=True)
class _Read:
    parsed: Parsed
    layout: Layout
    definitions: Definitions


class Definer:
    """Reads definitions and layouts, each text once, and of it what differs from the one before."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], _Read] = {}
        self._last: dict[str, _Read] = {}

    def read(self, module: str, source: Source) -> tuple[Definitions, Layout]:
        """What a module's text defines, and its statements.

        Raises:
            NotPatchableError: it does not parse.
        """
        key = (module, source.sha256)
        if key not in self._read:
            is_package = Path(source.file).name == "__init__.py"
            text = ModuleText(module, source.file, source.text, is_package)
            try:
                self._read[key] = self._last[module] = _read(text, self._last.get(module))
            except SyntaxError as error:
                # Loading it as a whole finds the same, and says it as Python does.
                raise NotPatchableError(f"{source.file} does not parse: {error}") from error
        found = self._read[key]
        return found.definitions, found.layout

    def keep(self, sources: Mapping[str, Source]) -> None:
        """Forget all texts but these."""
        kept = {(module, source.sha256) for module, source in sources.items()}
        self._read = {key: found for key, found in self._read.items() if key in kept}
        self._last = {module: found for (module, _), found in self._read.items()}


def _read(text: ModuleText, before: _Read | None) -> _Read:
    if before is None:
        parsed = parse(text.text)
        return _Read(parsed, read_layout(parsed), read_definitions(text, parsed))
    parsed = parse(text.text, before.parsed)
    return _Read(
        parsed,
        read_layout(parsed, before.layout),
        read_definitions(text, parsed, before.definitions),
    )


def plan_patch(
    codebase: Codebase,
    before: Mapping[str, Loaded],
    changed: Mapping[str, Source],
    outside: Mapping[str, str],
    data: Mapping[str, str],
    reached: Iterable[str],
    definer: Definer,
    renewed: Collection[Key] = (),
) -> Patch:
    """What to execute so that loaded modules are as their present texts say.

    Args:
        codebase: of the texts as they were loaded.
        before: module name → how it was executed.
        changed: module name → its new text.
        outside, data: what is installed beside the project, and what the files hold that modules
            read while they were loaded, as `Codebase` takes them.
        reached: modules that matter; others may stay behind.
        definer: reads texts.
        renewed: definitions whose objects have changed while functions ran; they are made anew.

    Raises:
        NotPatchableError: the change cannot be told apart exactly enough, or does not parse.
    """
    read = {name: definer.read(name, source) for name, source in changed.items()}
    texts: dict[str, Definitions | None] = {name: found for name, (found, _) in read.items()}
    after = codebase.updated(texts, outside if outside != codebase.outside else None, data=data)
    patch = Patch(after, {}, renewed=after.dependents(renewed) if renewed else set())
    order = _in_order(reached, after)
    for name in order:
        if name not in before:
            continue
        known = before[name]
        definitions = after.modules[name]
        versions = after.versions(name)
        source = changed.get(name, known.source)
        layout = read[name][1] if name in read else known.layout
        starred = _starred(definitions, patch)
        has_state = any(_is_renewed(name, n, patch) for n in versions)
        is_same = source is known.source and versions == known.versions
        if is_same and not starred and not has_state:
            continue
        patch.loaded[name] = Loaded(source, layout, versions)
        _compare(name, known, patch.loaded[name], starred, patch)
    _refuse_circles(order, patch)
    _refuse_other_subclasses(before, patch)
    return patch


def _refuse_circles(order: list[str], patch: Patch) -> None:
    """Of modules that import each other, only one may change: which comes first is not known."""
    place = {name: at for at, name in enumerate(order)}
    for name in order:
        definitions = patch.codebase.modules.get(name)
        for star in definitions.stars if definitions is not None else ():
            if place.get(star, -1) > place[name] and patch.bound.get(star):
                raise NotPatchableError(f"{name!r} and {star!r} import each other")
    for name in patch.bound:
        for _, load in patch.codebase.modules[name].loads:
            if place.get(load, -1) > place[name] and patch.bound.get(load):
                raise NotPatchableError(f"{name!r} and {load!r} import each other")


def _refuse_other_subclasses(before: Mapping[str, Loaded], patch: Patch) -> None:
    """A base class that stays the same object still lists the former ones, whoever holds those."""
    sources = {name: state.source for name, state in {**before, **patch.loaded}.items()}
    if not any("__subclasses__" in source.text for source in sources.values()):
        return
    for name in patch.loaded.keys() & before.keys():
        layout = before[name].layout.by_name()
        for bound in patch.bound.get(name, ()):
            if any(isinstance(statement.node, ast.ClassDef) for statement in layout.get(bound, ())):
                raise NotPatchableError(
                    f"the class {bound!r} of {name!r} may be listed by its base"
                )


def _starred(definitions: Definitions, patch: Patch) -> dict[str, set[str]]:
    """Module that is star-imported → the names that have to be imported from it again."""
    found: dict[str, set[str]] = {}
    for star in definitions.stars:
        if names := patch.bound.get(star):
            source = patch.codebase.modules[star]
            if source.exports_unknown or "__all__" in names:
                raise NotPatchableError(f"what {star!r} exports has changed, or is not known")
            if source.exports is not None:
                names = names & source.exports
            else:
                names = {name for name in names if not name.startswith("_")}
            if names:
                found[star] = names
    return found


def first_load(name: str, source: Source, codebase: Codebase, definer: Definer) -> Loaded:
    """A module as it stands right after it was executed as a whole."""
    _, layout = definer.read(name, source)
    return Loaded(source, layout, codebase.versions(name))


def _in_order(names: Iterable[str], codebase: Codebase) -> list[str]:
    """Modules, each after those that it imports; of a circle, in some order."""
    wanted = sorted(names)
    inside = set(wanted)
    ordered: list[str] = []
    seen: set[str] = set()
    for start in wanted:
        stack = [(start, False)]
        while stack:
            name, is_done = stack.pop()
            if is_done:
                ordered.append(name)
                continue
            if name in seen:
                continue
            seen.add(name)
            stack.append((name, True))
            if name in codebase.modules:
                for _, load in reversed(codebase.modules[name].loads):
                    if load in inside and load not in seen:
                        stack.append((load, False))
    return ordered


def _compare(
    name: str, known: Loaded, new: Loaded, starred: Mapping[str, set[str]], patch: Patch
) -> None:
    old_names, new_names = known.layout.by_name(), new.layout.by_name()
    if known.versions.get(EFFECTS) != new.versions.get(EFFECTS):
        raise NotPatchableError(f"a statement of {name!r} with effects has changed")
    if known.layout.flags != new.layout.flags:
        raise NotPatchableError(f"the __future__ imports of {name!r} have changed")
    if known.layout.unusual != new.layout.unusual:
        raise NotPatchableError(f"a statement of {name!r} that does more than bind has changed")
    stale = {n for n, version in new.versions.items() if known.versions.get(n) != version}
    stale |= {n for n in new.versions if _is_renewed(name, n, patch)}
    if EFFECTS in stale:
        raise NotPatchableError(f"a statement of {name!r} with effects sees what has changed")
    removed = known.versions.keys() - new.versions.keys()
    if (stale or removed) and patch.codebase.modules[name].dynamic:
        raise NotPatchableError(f"{name!r} may bind names that are not written in it")
    for star in patch.codebase.modules[name].stars:
        doubtful = removed | {
            n for n in stale if known.layout.may_be_starred(n) or new.layout.may_be_starred(n)
        }
        if shared := {n for n in doubtful if _may_export(star, n, patch.codebase)}:
            raise NotPatchableError(f"{sorted(shared)} may come from {star!r} as well")
    for gone in (removed | stale) & old_names.keys():
        if not all(statement.is_plain for statement in old_names[gone]):
            raise NotPatchableError(f"{gone!r} of {name!r} is bound in an unusual way")
    statements: list[TopLevel] = []
    gone_stars = _star_imports(name, new, starred, patch, statements)
    for statement in new.layout.statements:
        concerned = stale & set(statement.names)
        if not concerned:
            continue
        if not statement.is_plain:
            raise NotPatchableError(f"{sorted(concerned)} of {name!r} are bound in an unusual way")
        if concerned != set(statement.names) and not _is_import(statement):
            raise NotPatchableError(f"{sorted(concerned)} of {name!r} are bound with other names")
        statements.append(statement)
    if unbound := stale - {n for statement in statements for n in statement.names}:
        unbound &= new_names.keys() | old_names.keys()
        if unbound:
            raise NotPatchableError(f"{sorted(unbound)} of {name!r} cannot be executed alone")
    if later := _builtins_bound_later(statements, new.layout, patch.codebase.modules[name]):
        raise NotPatchableError(f"{later} stand for builtins in the beginning of {name!r}")
    if statements:
        patch.statements[name] = statements
    removed = removed | gone_stars
    if removed:
        patch.removed[name] = set(removed)
    patch.bound[name] = {n for statement in statements for n in statement.names} | removed
    moved = []
    for unchanged in new.versions.keys() - stale:
        pair = old_names.get(unchanged, ()), new_names.get(unchanged, ())
        if len(pair[0]) != 1 or len(pair[1]) != 1:
            continue
        old, now = pair[0][0], pair[1][0]
        if old.first_line != now.first_line or known.layout.text_of(old) != new.layout.text_of(now):
            moved.append((old, now))
    if moved:
        patch.moved[name] = moved


def _is_renewed(module: str, name: str, patch: Patch) -> bool:
    """Whether a name stands for what is made anew, or was imported from there."""
    return bool(patch.renewed) and not patch.renewed.isdisjoint(
        {(module, name), patch.codebase.key(module, name)}
    )


def _builtins_bound_later(
    statements: Iterable[TopLevel], layout: Layout, definitions: Definitions
) -> list[str]:
    """Names that a statement would find in the module, where a new one still has the builtin."""
    first: dict[str, int] = {}
    for statement in layout.statements:
        for name in statement.names:
            if name in _BUILTINS:
                first.setdefault(name, statement.first_line)
    if not first:
        return []
    return sorted(
        name
        for statement in statements
        if any((d := definitions.table.get(n)) is not None and d.eager for n in statement.names)
        for name in _used(statement.names, definitions) & first.keys()
        if first[name] >= statement.first_line
    )


def _used(names: Iterable[str], definitions: Definitions) -> set[str]:
    """The names of its module that a definition leads to."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        definition = definitions.table.get(todo.pop())
        uses = definition.uses if definition is not None else ()
        new = {use.path[0] for use in uses if use.path and not use.module} - found
        found |= new
        todo += new
    return found


def _may_export(module: str, name: str, codebase: Codebase) -> bool:
    """Whether a star import from a module may bind a name."""
    todo, seen = [module], {module}
    while todo:
        star = todo.pop()
        definitions = codebase.modules.get(star)
        if definitions is None:
            if hasattr(sys.modules.get(star), name):
                return True
            continue
        if name in definitions.table or definitions.dynamic:
            return True
        todo += set(definitions.stars) - seen
        seen |= set(definitions.stars)
    return False


def _star_imports(
    name: str,
    new: Loaded,
    starred: Mapping[str, set[str]],
    patch: Patch,
    statements: list[TopLevel],
) -> set[str]:
    """Add what imports just the names anew that star imports bring in; return those that are gone.

    They come first, so nothing else that the module says may bind one of these names.
    """
    if not starred:
        return set()
    definitions = patch.codebase.modules[name]
    stars = [s for s in new.layout.statements if s.names == ("*",)]
    if len(stars) != len(definitions.stars):
        raise NotPatchableError(f"{name!r} has a star import that is not at the top level")
    if len(stars) > 1:
        raise NotPatchableError(f"{name!r} has several star imports")
    gone: set[str] = set()
    for statement, star in zip(stars, definitions.stars, strict=True):
        names = starred.get(star, set())
        if names & definitions.table.keys():
            raise NotPatchableError(f"several statements of {name!r} bind {sorted(names)}")
        missing = {n for n in names if n in patch.removed.get(star, ())}
        gone |= missing
        if names - missing:
            statements.append(statement.importing(sorted(names - missing)))
    return gone


def _is_import(statement: TopLevel) -> bool:
    return type(statement.node).__name__ in ("Import", "ImportFrom")


def _functions(value: Any, file: str) -> Iterable[FunctionType]:
    """The Python functions behind a top-level name that are defined in `file`."""
    todo, seen = [value], set()
    while todo:
        current = todo.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, FunctionType):
            if current.__code__.co_filename == file:
                yield current
            todo.append(getattr(current, "__wrapped__", None))
        elif isinstance(current, staticmethod | classmethod):
            todo.append(current.__func__)
        elif isinstance(current, property):
            todo += [current.fget, current.fset, current.fdel]
        elif isinstance(current, type) and current.__module__ in sys.modules:
            if getattr(sys.modules[current.__module__], "__file__", None) == file:
                todo += list(vars(current).values())
        elif hasattr(current, "__wrapped__"):
            todo.append(current.__wrapped__)


def _shifted(code: CodeType, by: int) -> CodeType:
    constants = tuple(
        _shifted(constant, by) if isinstance(constant, CodeType) else constant
        for constant in code.co_consts
    )
    return code.replace(co_firstlineno=code.co_firstlineno + by, co_consts=constants)


def _codes(code: CodeType) -> Iterable[tuple[str, CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant.co_qualname, constant
            yield from _codes(constant)
