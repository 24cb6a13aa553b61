"""The code version of every definition of a project: a digest of all that its meaning depends on.

Theory. Definitions are the vertices of a graph; an edge leads to what a definition's meaning
depends on. A version is the digest of everything that can be reached, so it changes exactly when
something in there does. Most edges are references. Three kinds are not:

- What a definition may *change* leads back to the definition: a registry depends on the functions
  that are registered in it, a mutated constant on those who mutate it.
- A statement with effects beyond its module (`pd.set_option`) is part of every version.
- What cannot be told from the text leads to a whole module, or to everything.

When in doubt there is an edge: a needless rerun is a cost, a stale value is a lie.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Set
from functools import cached_property

from hamdev.core.changes import Changes
from hamdev.core.definitions import EFFECTS, WHOLE, Definition, Definitions
from hamdev.core.differences import Difference, Part, differences
from hamdev.core.graph import Backward, components, merkle, reachable, reverse
from hamdev.core.references import EVERYTHING, MEANING, PYTHON, Key, Links, Resolver
from hamdev.core.uses import CALL, DOCS, TEXT
from hamdev.core.vocabulary import QUIET_READERS

__all__ = ["Codebase", "Difference", "Part", "differences"]

ALL_EFFECTS: Key = ("", EFFECTS)


class Codebase:
    """All modules of a project, and from them the version of each definition.

    Args:
        modules: module name → its definitions. Namespace packages need not be given.
        outside: import name of something installed outside the project → a token that changes
            when that changes, such as a distribution's version. The name "" stands for Python.

    Attributes:
        changed_by_calls: definition → those whose functions may change it when they are called.
    """

    def __init__(
        self,
        modules: Mapping[str, Definitions],
        outside: Mapping[str, str],
        reads: Mapping[Key, frozenset[str]] | None = None,
        data: Mapping[str, str] | None = None,
        _previous: Codebase | None = None,
    ) -> None:
        self.modules = dict(modules)
        self.outside = dict(outside)
        self.reads = dict(reads or {})
        self.data = dict(data or {})
        self._orders: dict[Key, bytes] = {}
        self._foreign_changers: set[Key] = set()
        self.changed_by_calls: dict[Key, set[Key]] = {}
        self._outward: set[Key] = set()
        self._backward: Backward[Key] = Backward() if _previous is None else _previous._backward
        self._links = self._resolve(_previous)
        self._edges = self._all_edges(_previous)
        self._add_changes()
        self._add_effects()
        self._add_reads()
        self._owns, self._digests, dirty = self._digest(_previous)
        self._exact: dict[int, dict[Key, bytes]] = {}
        self._versions: dict[str, dict[str, str]] = {}
        if _previous is not None:
            self._take_over_versions(_previous, dirty)

    def updated(
        self,
        changed: Mapping[str, Definitions | None],
        outside: Mapping[str, str] | None = None,
        reads: Mapping[Key, frozenset[str]] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> Codebase:
        """The codebase after some modules changed; what is unchanged is not worked out again.

        Args:
            changed: module name → its new definitions, or None if it is gone.
            outside, reads, data: as for the class, if they changed.
        """
        modules = {**self.modules, **changed}
        return Codebase(
            {name: found for name, found in modules.items() if found is not None},
            self.outside if outside is None else outside,
            self.reads if reads is None else reads,
            self.data if data is None else data,
            self,
        )

    def version(self, module: str, name: str) -> str:
        """A hex digest of everything that the meaning of `name` depends on.

        Args:
            module: the module's name.
            name: a top-level name of it, or a nested one (`Class.method`), which has its owner's
                version. For a name that the text does not define, it covers the whole module.
        """
        key = self._key(module, name)
        level = self._level(key) if self._levels else 0
        digest = self._at_level(level)[key] + self._common[level]
        return hashlib.blake2b(digest, digest_size=16).hexdigest()

    def versions(self, module: str) -> Mapping[str, str]:
        """The versions of all that a module defines, and of its effects.

        It is the same object as that of the codebase before if there is no difference.
        """
        if module not in self._versions:
            found = self.modules[module]
            names = [*found.table, *([EFFECTS] if found.effects is not None else [])]
            self._versions[module] = {name: self.version(module, name) for name in names}
        return self._versions[module]

    def _take_over_versions(self, previous: Codebase, dirty: set[Key]) -> None:
        if self._levels or previous._levels or self._common != previous._common:
            return
        concerned = {module for module, _ in dirty}
        for module, known in previous._versions.items():
            if self.modules.get(module) is previous.modules[module] and module not in concerned:
                self._versions[module] = known

    @cached_property
    def _common(self) -> dict[int, bytes]:
        """What every version covers, for each level."""
        levels = {0, *self._levels.values()}
        found = {level: self._at_level(level) for level in levels}
        return {n: b"%d" % n + found[n][ALL_EFFECTS] + found[n][PYTHON] for n in levels}

    def effects(self) -> frozenset[tuple[Key, bytes]]:
        """What is done beyond the names of the modules when they are executed or called."""
        digests = self._at_level(0)
        return frozenset((key, digests[key]) for key in self._edges[ALL_EFFECTS])

    def parts(self, module: str, name: str) -> Mapping[Key, Part]:
        """Everything that the version covers: (module, name) → digest of its own text and place.

        The module is empty for what is outside of the project.
        """
        level = self._level(self._key(module, name))
        return {key: self._part(key, level) for key in self.covered(module, name)}

    def covered(self, module: str, name: str) -> set[Key]:
        """The keys of `parts`."""
        starts = (self._key(module, name), ALL_EFFECTS, PYTHON)
        found = reachable(starts, lambda k: self._edges.get(k, ()))
        return {key for key in found if not key[1].endswith(MEANING)}

    def dependencies(self, key: Key) -> set[Key]:
        """`key`, and everything that it leads to by itself."""
        return reachable((key,), lambda k: self._edges.get(k, ()))

    def dependents(self, keys: Iterable[Key]) -> set[Key]:
        """`keys`, and everything whose version covers one of them."""
        return reachable(keys, self._into)

    def users(self, key: Key) -> set[Key]:
        """The definitions that refer to `key`."""
        return {
            (module, name)
            for module, links in self._links.items()
            for name, found in links.edges.items()
            if key in found
        }

    def key(self, module: str, name: str) -> Key:
        """Where the version of `name` starts from."""
        return self._key(module, name)

    # -- the graph ----------------------------------------------------------------------------

    def _resolve(self, previous: Codebase | None) -> dict[str, Links]:
        resolver = Resolver(self.modules, self.outside)
        if (
            previous is None
            or previous.modules.keys() != self.modules.keys()
            or previous.outside.keys() != self.outside.keys()
        ):
            return {name: resolver.links(found) for name, found in self.modules.items()}
        before = previous.modules
        differing = {name for name, found in self.modules.items() if found is not before[name]}
        reshaped = {n for n in differing if self.modules[n].shape != before[n].shape}
        links = {}
        for name, definitions in self.modules.items():
            known = previous._links[name]
            if not known.consulted.isdisjoint(reshaped):
                links[name] = resolver.links(definitions)
            elif name in differing:
                links[name] = resolver.links(definitions, (before[name], known))
            else:
                links[name] = known
        return links

    def _all_edges(self, previous: Codebase | None) -> dict[Key, frozenset[Key]]:
        if previous is None:
            edges: dict[Key, frozenset[Key]] = {}
            kept: Mapping[str, Links] = {}
        else:
            edges, kept = {**previous._edges, **previous._replaced}, previous._links
        new = {name for name, links in self._links.items() if kept.get(name) is not links}
        fresh: dict[Key, frozenset[Key]] = {}
        for module in new | (kept.keys() - self._links.keys()):
            for name in kept[module].edges if module in kept else ():
                edges[module, name] = frozenset()
        for module in new:
            known = kept[module].edges if module in kept else {}
            for name, found in self._links[module].edges.items():
                edges[module, name] = found
                if known.get(name) is not found:
                    fresh[module, name] = found
        wholes = {(module, WHOLE) for module in self.modules}
        fresh[EVERYTHING] = frozenset(wholes | {("", name) for name in self.outside})
        edges[EVERYTHING] = fresh[EVERYTHING]
        edges[PYTHON] = frozenset()
        for found in fresh.values():
            for key in found:
                edges.setdefault(key, frozenset())
        self._replaced: dict[Key, frozenset[Key]] = {}
        for key, found in fresh.items():
            self._backward.add(key, found)
        return edges

    def _into(self, key: Key) -> list[Key]:
        """What leads to `key`."""
        return self._backward.into(key, self._edges)

    def _add_edges(self, key: Key, found: Set[Key]) -> None:
        before = self._edges.get(key, frozenset())
        self._replaced.setdefault(key, before)
        self._edges[key] = before | found
        self._backward.add(key, found)

    def _add_changes(self) -> None:
        if not any(links.changes for links in self._links.values()):
            return
        changes = [
            ((module, name), change)
            for module, links in self._links.items()
            for name, found in links.changes.items()
            for change in found
        ]
        working = Changes(self.modules, self._edges, changes, self._into)
        changers = working.changers()
        self.changed_by_calls = working.by_calls
        self._foreign_changers = working.foreign_changers()
        if not changers:
            return
        self._outward = {
            source
            for (module, _), found in changers.items()
            for source in found
            if source[0] != module
        }
        for key, found in changers.items():
            self._orders[key] = self._order(key, found)
        for key, found in changers.items():
            self._add_edges(key, found - {key})

    def _order(self, key: Key, changers: set[Key]) -> bytes:
        """In which order what is executed at load time changes and sees `key`."""
        involved = reachable({key, *changers}, self._into)
        eager = sorted(
            (k[0], definition.positions, k[1])
            for k in involved
            if (definition := self._definition(k)) is not None and definition.eager
        )
        modules = {module for module, _, _ in eager}
        imports = self._import_order if len(modules) > 1 else b""
        return repr([(module, name) for module, _, name in eager]).encode() + imports

    @cached_property
    def _import_order(self) -> bytes:
        """In which order the project's modules are executed, as far as the text tells."""
        return self._imports_among(self.modules.keys())

    def _imports_among(self, modules: Set[str]) -> bytes:
        """Which of `modules` each of them imports, in order, at once or later."""
        order = {}
        for name in sorted(modules):
            found = self.modules[name]
            order[name] = [
                (load[1], load in found.late_loads) for load in found.loads if load[1] in modules
            ]
        return repr(order).encode()

    @cached_property
    def _import_counts(self) -> dict[str, tuple[list[int], list[int], bytes]]:
        """Module → numbers of the statements in it that import modules of its own circle, of those
        that import modules with effects on others, and how its circle is entered.

        What is bound before such an import is there when the other module is executed.
        """
        loads = {
            name: frozenset(
                part
                for _, load in d.loads
                for part in (load, *_parents(load, beside=name))
                if part in self.modules
            )
            for name, d in self.modules.items()
        }
        circles = {
            name: set(found)
            for found in components(loads, loads)
            if len(found) > 1
            for name in found
        }
        backward = reverse(loads)
        active = {name for name, d in self.modules.items() if d.effects is not None}
        active |= {module for module, _ in self._outward}
        if active:
            active = reachable(active, lambda name: backward.get(name, ()))
        counts = {}
        entries: dict[str, bytes] = {}
        for name, definitions in self.modules.items():
            circle = circles.get(name, set())
            if circle and min(circle) not in entries:
                entries[min(circle)] = self._entry(
                    reachable(circle, lambda name: backward.get(name, ()))
                )
            own = [at for at, load in definitions.loads if load in circle]
            others = [at for at, load in definitions.loads if load in active and load != name]
            if own or others:
                counts[name] = (own, others, entries[min(circle)] if circle else b"")
        return counts

    def _entry(self, above: Set[str]) -> bytes:
        """Which module of a circle of imports is executed first, and so finds others unfinished.

        Args:
            above: the modules of the circle, and all that lead to it.
        """
        late = {
            (module, name)
            for module in above
            if (definitions := self.modules[module]).late_loads
            for name, definition in definitions.table.items()
            if any(at in definition.positions and n in above for at, n in definitions.late_loads)
        }
        reached = reachable(late, self._into)
        calls = any(
            (found := self._definition(key)) is not None and self._is_executed(key, found, reached)
            for key in reached
        )
        # What decides about an import may be anything in its module.
        unclear = [
            self.modules[name].digest
            for name in sorted(above)
            if calls or any(load in above for _, load in self.modules[name].unsure_loads)
        ]
        return self._imports_among(above) + b"".join(unclear)

    def _count_imports(self, key: Key) -> bytes:
        definition = self._definition(key)
        if definition is None or key[0] not in self._import_counts:
            return b""
        own, others, entries = self._import_counts[key[0]]
        before = [sum(at < p for at in own) for p in definition.positions]
        if definition.eager and definition.uses and definition.kind != "import":
            before += [sum(at < p for at in others) for p in definition.positions]
        return repr(before).encode() + entries

    def _is_executed(self, key: Key, definition: Definition, functions: Set[Key]) -> bool:
        """Whether one of `functions` may be called when a definition is executed.

        Decorators of Hamilton and the like do not call the function that they decorate.
        """
        if not definition.eager:
            return False
        if definition.kind != "function" or definition.foreign_readers:
            return True
        called = {u.path[0] for u in definition.uses if u.how == CALL and not u.lazy}
        return any(
            (key[0], name) in functions or (key[0], name + MEANING) in functions for name in called
        )

    def _add_effects(self) -> None:
        found = {(name, EFFECTS) for name, d in self.modules.items() if d.effects is not None}
        late = {(module, name) for module, d in self.modules.items() for name in d.late_effects}
        if late:
            reached = reachable(late, self._into)
            for key in reached:
                definition = self._definition(key)
                if definition is not None and (
                    definition.late_effect > 1 or self._is_executed(key, definition, reached)
                ):
                    found.add(key)
        found |= self._foreign_changers
        self._edges[ALL_EFFECTS] = frozenset(found)
        self._backward.add(ALL_EFFECTS, found)
        if len({module for module, _ in found}) > 1:
            self._orders[ALL_EFFECTS] = self._import_order

    # -- digests ------------------------------------------------------------------------------

    def _add_reads(self) -> None:
        """Lead from definitions to the files that they are made from."""
        for path in self.data:
            self._edges.setdefault(("", path), frozenset())
        for key, paths in self.reads.items():
            if key in self._edges:
                self._add_edges(key, {("", path) for path in paths})
        if self.data:
            self._add_edges(EVERYTHING, {("", path) for path in self.data})

    def _digest(
        self, previous: Codebase | None
    ) -> tuple[dict[Key, bytes], dict[Key, bytes], set[Key]]:
        """The digest of each vertex alone, and with all that it leads to; what was worked out."""
        if previous is None:
            owns = {key: self._own(key, 0) for key in self._edges}
            return owns, merkle(self._edges, self._edges, owns.__getitem__), set(self._edges)
        changed = self._changed_vertices(previous)
        owns, digests = dict(previous._owns), dict(previous._digests)
        dirty = reachable(changed, self._into)
        for key in dirty:
            owns[key] = self._own(key, 0)
            digests.pop(key, None)
        digests.update(merkle(dirty, self._edges, owns.__getitem__, digests))
        return owns, digests, dirty

    def _changed_vertices(self, previous: Codebase) -> set[Key]:
        """Those that differ from the previous codebase's by themselves or in where they lead."""
        touched = {(module, n) for module in self.modules for n in self._touched(module, previous)}
        touched |= {("", name) for name in self.outside.keys() | previous.outside.keys()}
        touched |= {("", path) for path in self.data.keys() | previous.data.keys()}
        for mine, theirs in (
            (self._orders, previous._orders),
            (self._replaced, previous._replaced),
        ):
            touched |= mine.keys() | theirs.keys()
        touched |= self._edges.keys() - previous._edges.keys()
        touched |= {ALL_EFFECTS, EVERYTHING, PYTHON}
        for module in previous.modules.keys() ^ self.modules.keys():
            touched |= {key for key in self._edges if key[0] == module}
        return {
            key
            for key in touched
            if key in self._edges
            and (
                self._edges[key] != previous._edges.get(key)
                or self._own(key, 0) != previous._owns.get(key)
            )
        }

    def _touched(self, module: str, previous: Codebase) -> Iterable[str]:
        """Names in a module that may be others than they were, by themselves."""
        links, before = self._links[module], previous._links.get(module)
        now, then = self.modules[module], previous.modules.get(module)
        if before is None or then is None:
            return links.edges
        names = links.edges.keys() | before.edges.keys()
        if previous._import_counts.get(module) != self._import_counts.get(module):
            return names
        if links is before and now is then:
            return ()
        return {
            name
            for name in names
            if name in (WHOLE, EFFECTS)
            or now.table.get(name) is not then.table.get(name)
            or links.edges.get(name) is not before.edges.get(name)
            or links.readers.get(name) is not before.readers.get(name)
        }

    def _at_level(self, level: int) -> dict[Key, bytes]:
        if level == 0:
            return self._digests
        if level not in self._exact:
            own = {key: self._own(key, level) for key in self._edges}
            self._exact[level] = merkle(self._edges, self._edges, own.__getitem__)
        return self._exact[level]

    def _own(self, key: Key, level: int) -> bytes:
        """The digest of a vertex alone; 16 bytes."""
        module, name = key
        order = self._orders.get(key, b"")
        parts = [module.encode(), name.encode(), order, self._count_imports(key)]
        if not module and name in self.data:
            parts.append(self.data[name].encode())
        elif not module:
            token = "" if name in sys.stdlib_module_names else "absent"
            parts.append(self.outside.get(name, token).encode())
        elif (definitions := self.modules.get(module)) is not None:
            definition = self._definition(key)
            if level == TEXT:
                parts.append(definitions.text_digest)
            if name == WHOLE:
                parts += [definitions.digest, definitions.docs if level else b""]
            elif definition is not None:
                documented = level or self._is_read(key, definition)
                parts += [definition.digest, definition.docs if documented else b""]
        return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()

    def _is_read(self, key: Key, definition: Definition) -> bool:
        """Whether a library's decorator or base class gets hold of a definition's docstring."""
        if not definition.docs:
            return False
        seen: set[Key] = set()
        todo = [key]
        while todo:
            current = todo.pop()
            for reader in self._links[current[0]].readers.get(current[1], ()):
                if not reader[0]:
                    if reader[1].partition(".")[0] not in QUIET_READERS:
                        return True
                elif reader not in seen:
                    seen.add(reader)
                    found = self._definition(reader)
                    if found is not None and found.kind == "class":
                        todo.append(reader)
        return False

    def _level(self, key: Key) -> int:
        """How exactly the text counts: not at all 0, with docstrings, or down to its lines."""
        return max(self._levels.get(key, 0), self._levels.get(ALL_EFFECTS, 0))

    @cached_property
    def _levels(self) -> dict[Key, int]:
        levels: dict[Key, int] = {}
        sensitive = {
            (module, name): definition.sensitivity
            for module, definitions in self.modules.items()
            for name in definitions.sensitive
            if (definition := self._definition((module, name))) is not None
        }
        if sensitive:
            for level in (DOCS, TEXT):
                starts = {key for key, value in sensitive.items() if value >= level}
                for key in reachable(starts, self._into):
                    levels[key] = level
        return levels

    def _definition(self, key: Key) -> Definition | None:
        definitions = self.modules.get(key[0])
        if definitions is None:
            return None
        return definitions.effects if key[1] == EFFECTS else definitions.table.get(key[1])

    def _key(self, module: str, name: str) -> Key:
        key = (module, name.partition(".")[0])
        if self._definition(key) is not None:
            meaning = (module, key[1] + MEANING)
            return meaning if meaning[1] in self._links[module].edges else key
        return (module, WHOLE) if module in self.modules else EVERYTHING

    def _part(self, key: Key, level: int) -> Part:
        module, name = key
        definitions = self.modules.get(module)
        definition = self._definition(key)
        digest = self._own(key, level).hex()
        if not module and name in self.data:
            return Part(digest, "file", name, 0)
        if definitions is None:
            kind = "Python" if key == PYTHON else "everything" if name == WHOLE else "package"
            return Part(digest, kind, "", 0)
        if definition is None:
            return Part(digest, "module" if name == WHOLE else "unbound name", definitions.file, 0)
        return Part(digest, definition.kind, definitions.file, definition.line)


def _parents(module: str, beside: str) -> Iterable[str]:
    """The packages that are executed before a module, but for those that `beside` is in, too."""
    while module := module.rpartition(".")[0]:
        if not f"{beside}.".startswith(f"{module}."):
            yield module
