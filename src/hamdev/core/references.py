"""Which definitions a reference leads to, through imports, re-exports and star imports.

What leads nowhere yet is kept as well: a name that is not bound today changes the meaning of those
who use it on the day somebody binds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from hamdev.core.definitions import EFFECTS, WHOLE, Definition, Definitions
from hamdev.core.uses import CALL, CALLED, CHANGE, GET, LOAD, PASS, STORE, Path, Use

# (module, name). The module is empty for what belongs to none: ("", "numpy") is what is installed
# outside the project, ("", "*") everything. The name may be WHOLE or EFFECTS.
Key = tuple[str, str]

# After a name that an import may bind: what it stands for. Uses of the name lead there by
# themselves, each only to the attributes that it takes.
MEANING = " ->"
# Names that a module defines without writing them down; not the module as an object.
UNWRITTEN = "* ->"
EVERYTHING: Key = ("", WHOLE)
PYTHON: Key = ("", "")

_MODULE_ATTRIBUTES = frozenset({"__dict__", "__doc__", "__all__", "__annotations__"})


@dataclass(frozen=True, slots=True)
class Change:
    """A definition does something to other objects that may change them.

    Attributes:
        targets: what those objects come from.
        how: as of the `Use`.
        lazy: it happens when a function is called.
        is_module: the object is a module.
        called: the object is what a call of the targets returns.
        part: the object is an attribute of the targets.
    """

    targets: frozenset[Key]
    how: str
    lazy: bool
    is_module: bool
    called: bool
    part: bool


@dataclass(frozen=True, slots=True)
class Links:
    """What the definitions of one module lead to.

    Attributes:
        edges: name (also WHOLE and EFFECTS) → what it depends on.
        changes: name → what it may change.
        readers: name → what its decorators and bases come from.
        consulted: modules whose shape, or absence, this follows from.
    """

    edges: dict[str, frozenset[Key]]
    changes: dict[str, tuple[Change, ...]]
    readers: dict[str, frozenset[Key]]
    consulted: Set[str]

    def take_over(self, name: str, last: Links) -> None:
        """A definition leads to where it led to before."""
        self.edges[name] = last.edges[name]
        if (meaning := last.edges.get(name + MEANING)) is not None:
            self.edges[name + MEANING] = meaning
        if (changed := last.changes.get(name)) is not None:
            self.changes[name] = changed
        if (readers := last.readers.get(name)) is not None:
            self.readers[name] = readers


def _all(definitions: Definitions) -> dict[str, Definition]:
    effects = {EFFECTS: definitions.effects} if definitions.effects is not None else {}
    return {**definitions.table, **effects}


def _referring(definition: Definition) -> tuple[object, ...]:
    """All that the links of a definition follow from, but for the shape of modules."""
    return (
        definition.uses,
        definition.imports,
        definition.reads,
        definition.foreign_readers,
        definition.kind,
        bool(definition.docs),
    )


def _referring_whole(definitions: Definitions) -> tuple[object, ...]:
    return definitions.uses, definitions.imports, definitions.effects is None


class Resolver:
    """Follows references through the modules of a project.

    Args:
        modules: module name → its definitions.
        outside: names for which a token of what is installed is known.
    """

    def __init__(self, modules: Mapping[str, Definitions], outside: Iterable[str]) -> None:
        self._modules = modules
        self._outside = frozenset(outside)
        self._packages = {
            ".".join(parts[:count])
            for parts in (name.split(".") for name in modules)
            for count in range(1, len(parts))
        }
        self._children: dict[str, list[str]] = {}
        for name in modules:
            self._children.setdefault(name.rpartition(".")[0], []).append(name)
        self._consulted: set[str] = set()
        self._known: dict[tuple[str, Path], frozenset[Key]] = {}

    def links(
        self, definitions: Definitions, known: tuple[Definitions, Links] | None = None
    ) -> Links:
        """What the definitions of one module lead to.

        Args:
            definitions: of the module.
            known: what they were, and led to, when all that this follows from had the same shape.
        """
        before, last = known or (None, Links({}, {}, {}, frozenset()))
        self._consulted = {definitions.module, *last.consulted}
        self._known = {}
        found = Links({}, {}, {}, self._consulted)
        former = _all(before) if before is not None else {}
        for name, definition in _all(definitions).items():
            if name in former and _referring(former[name]) == _referring(definition):
                found.take_over(name, last)
            else:
                self._link(name, definition, definitions, found)
        if before is not None and _referring_whole(before) == _referring_whole(definitions):
            found.edges[WHOLE] = last.edges[WHOLE]
        else:
            found.edges[WHOLE] = self._whole(definitions)
        if definitions.dynamic:
            found.edges[UNWRITTEN] = frozenset({(definitions.module, WHOLE)})
        return found

    def _link(
        self, name: str, definition: Definition, definitions: Definitions, links: Links
    ) -> None:
        module = definitions.module
        found: set[Key] = set()
        changed: list[Change] = []
        for use in definition.uses:
            if use.how == LOAD:
                found |= self._use(module, use)
            elif (change := self._change(module, use)) is not None:
                changed.append(change)
        if definition.reads == 1 or definitions.dynamic:
            found.add((module, WHOLE))
        if definition.reads == 2:
            found.add(EVERYTHING)
        found.discard((module, name))
        links.edges[name] = frozenset(found)
        if definition.imports or definitions.stars:
            links.edges[name + MEANING] = self.follow(module, (name,))
        if changed:
            links.changes[name] = tuple(changed)
        if definition.foreign_readers and (definition.docs or definition.kind == "class"):
            links.readers[name] = frozenset().union(
                *(self.follow(module, (reader,)) for reader in definition.foreign_readers)
            )

    def _whole(self, definitions: Definitions) -> frozenset[Key]:
        module = definitions.module
        found = {(module, name) for name in definitions.table}
        if definitions.effects is not None:
            found.add((module, EFFECTS))
        for use in definitions.uses:
            if use.how == LOAD:
                found |= self._use(module, use)
        for target in definitions.imports:
            found |= self.follow(target.module, target.path)
        for star in definitions.stars:
            found |= self.follow(star, ())
        found |= {(child, WHOLE) for child in self._children.get(module, ())}
        found.discard((module, WHOLE))
        return frozenset(found)

    def _use(self, module: str, use: Use) -> frozenset[Key]:
        return self.follow(use.module or module, use.path)

    def _change(self, module: str, use: Use) -> Change | None:
        path, how = use.path, use.how
        if how == STORE and len(path) > 1:
            path = path[:-1]
        if called := path[-1:] == (CALLED,):
            path = path[:-1]
        found = self.follow(use.module or module, path)
        is_module = any(name == WHOLE and owner for owner, name in found)
        if is_module and how not in (STORE, PASS):
            return None
        targets = frozenset(key for key in found if key[0])
        if how not in (CHANGE, STORE):  # then a name that nobody defines is a builtin function
            targets = frozenset(key for key in targets if self._is_bound(key))
        if how in (CALL, GET, PASS) and not any(self._is_object(key, how) for key in targets):
            return None
        return Change(targets, how, use.lazy, is_module, called, len(path) > 1) if targets else None

    def _is_object(self, key: Key, how: str) -> bool:
        """Whether a key is a value, or something else whose attributes may be set."""
        definitions = self._modules.get(key[0])
        if key[1] == WHOLE:
            return how == PASS
        definition = definitions.table.get(key[1]) if definitions is not None else None
        return (
            definition is not None
            and not definition.immutable
            and (definition.is_value or how == PASS)
        )

    def _is_bound(self, key: Key) -> bool:
        definitions = self._modules.get(key[0])
        return definitions is not None and (key[1] in definitions.table or key[1] == WHOLE)

    def follow(self, module: str, path: Path) -> frozenset[Key]:
        """Everything that the attribute chain `path`, starting at `module`, passes and leads to."""
        request = (module, path)
        if (known := self._known.get(request)) is not None:
            return known
        found: set[Key] = set()
        seen: set[tuple[str, Path]] = set()
        todo = [request]
        while todo:
            request_now = todo.pop()
            if request_now not in seen:
                seen.add(request_now)
                todo += self._step(*request_now, found)
        result = self._known[request] = frozenset(found)
        return result

    def _step(self, module: str, path: Path, found: set[Key]) -> list[tuple[str, Path]]:
        self._consulted.add(module)
        definitions = self._modules.get(module)
        if definitions is None and module not in self._packages:
            found.update(self._outside_keys(module))
            return []
        if not path:
            if definitions is not None:
                found.add((module, WHOLE))
                return []
            return [(child, ()) for child in self._children_of(module)]
        name, rest = path[0], path[1:]
        further: list[tuple[str, Path]] = []
        bound = False
        if definitions is not None:
            definition = definitions.table.get(name)
            if definition is not None:
                bound = True
                found.add((module, name))
                further += [(t.module, t.path + rest) for t in definition.imports]
            bound = self._stars(definitions, name, rest, found, further) or bound
            if definitions.dynamic:
                found.add((module, UNWRITTEN))
            if name in _MODULE_ATTRIBUTES:
                found.add((module, WHOLE))
        child = f"{module}.{name}"
        self._consulted.add(child)
        if child in self._modules or child in self._packages:
            bound = True
            further.append((child, rest))
        if not bound:
            found.add((module, name))
            if definitions is not None and "__getattr__" in definitions.table:
                further.append((module, ("__getattr__",)))
        return further

    def _stars(
        self,
        definitions: Definitions,
        name: str,
        rest: Path,
        found: set[Key],
        further: list[tuple[str, Path]],
    ) -> bool:
        """Whether a star import of the module binds `name`, or may."""
        exporters = []
        for star in definitions.stars:
            self._consulted.add(star)
            source = self._modules.get(star)
            if source is None:
                found.update(self._outside_keys(star))
            elif self._exports(source, name):
                exporters.append(star)
                if source.exports_unknown:
                    found.add((star, "__all__"))
                further.append((star, (name, *rest)))
        if len(exporters) > 1:  # the last one wins
            found.add((definitions.module, f"* {name}: {' '.join(exporters)}"))
        return bool(exporters)

    def _exports(self, source: Definitions, name: str) -> bool:
        seen: set[str] = set()
        todo = [source]
        while todo:
            current = todo.pop()
            if current.module in seen:
                continue
            seen.add(current.module)
            self._consulted.add(current.module)
            child = f"{current.module}.{name}"
            self._consulted.add(child)
            if current.exports is not None:
                if name not in current.exports:
                    continue
            elif name.startswith("_") and not current.exports_unknown:
                continue
            if name in current.table or current.dynamic or child in self._modules:
                return True
            todo += [self._modules[star] for star in current.stars if star in self._modules]
            if any(star not in self._modules for star in current.stars):
                return True
        return False

    def _children_of(self, package: str) -> list[str]:
        prefix = package + "."
        return [name for name in self._modules if name.startswith(prefix)]

    def _outside_keys(self, module: str) -> list[Key]:
        parts = module.split(".")
        if not parts[0]:
            return []
        for count in range(len(parts), 1, -1):
            if (name := ".".join(parts[:count])) in self._outside:
                return [("", name)]
        return [("", parts[0])]
