"""Which definitions may change which others: edges that lead backwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from functools import cached_property

from hamdev.core.definitions import EFFECTS, WHOLE, Definition, Definitions
from hamdev.core.graph import reachable
from hamdev.core.references import Change, Key
from hamdev.core.uses import CALL, CHANGE, DECORATE, GET, PASS, RETURN, STORE


class Changes:
    """Works out which definitions change which others.

    Args:
        modules: of the project.
        edges: what each definition leads to.
        changes: what each may change.
        backward: gives what leads to a definition.

    Attributes:
        by_calls: definition → those whose functions may change it; known after `changers`.
    """

    def __init__(
        self,
        modules: Mapping[str, Definitions],
        edges: Mapping[Key, frozenset[Key]],
        changes: list[tuple[Key, Change]],
        backward: Callable[[Key], Iterable[Key]],
    ) -> None:
        self._modules = modules
        self._edges = edges
        self._changes = changes
        self._backward = backward
        self.by_calls: dict[Key, set[Key]] = {}

    def changers(self) -> dict[Key, set[Key]]:
        """Definition → those that may change the object it stands for."""
        result: dict[Key, set[Key]] = {}
        for source, change in self._changes:
            targets = self._targets(source, change) if change.how != RETURN else None
            if not targets:
                continue
            found = {source}
            if change.lazy:
                for target in targets:
                    self.by_calls.setdefault(target, set()).add(source)
                # When it is called, and with what, is up to those who call it.
                found = reachable(found, self._backward)
                found = {key for key in found if self._find(key) is not None}
            for target in targets:
                result.setdefault(target, set()).update(found)
        return result

    def foreign_changers(self) -> set[Key]:
        """Those that, as they are executed, change an object that may belong to a library."""
        return {
            source
            for source, change in self._changes
            if not change.lazy and change.how in (CHANGE, STORE)
            for key in change.targets
            if (definition := self._find(key)) is not None
            and definition.is_value
            and not definition.fresh
            and not definition.immutable
            and any(not k[0] for k in reachable({key}, lambda k: self._edges.get(k, ())))
        }

    def _targets(self, source: Key, change: Change) -> set[Key]:
        targets: set[Key] = set()
        if change.is_module and (change.how == STORE or self._is_among(source, self._setting)):
            targets |= self._patched(change.targets)
        for key in self._returned(change.targets) if change.called else change.targets:
            definition = self._find(key)
            if key[1] == WHOLE or (definition is not None and definition.immutable):
                continue
            if (
                change.called
                and definition is not None
                and not (definition.is_value or definition.caches)
            ):
                continue  # a new instance, or a function that was not called
            if definition is None or self._may_change(source, key, definition, change):
                targets.add(key)
                if definition is None or definition.fresh:
                    continue
                if definition.is_value:
                    targets |= self._shared(key)
                    if change.how in (STORE, CHANGE):  # it may be a module under another name
                        targets |= self._patched(self._edges[key])
                elif definition.kind == "class" and change.how == CHANGE:
                    targets |= {k for k in self._edges[key] if self._is_mutable_value(k)}
        return targets

    def _returned(self, targets: frozenset[Key]) -> set[Key]:
        """What calls may return: what functions return that is no object of their own making."""
        found = set(targets)
        todo = list(found)
        while todo:
            for change in self._returns.get(todo.pop(), ()):
                new = change.targets - found
                found |= new
                todo += new
        return found

    @cached_property
    def _returns(self) -> dict[Key, list[Change]]:
        returns: dict[Key, list[Change]] = {}
        for source, change in self._changes:
            if change.how == RETURN:
                returns.setdefault(source, []).append(change)
        return returns

    def _patched(self, targets: Set[Key]) -> set[Key]:
        """Whoever sets an attribute of a module may mean any of its names."""
        modules = {module for module, name in targets if name == WHOLE and module}
        return {key for key in self._edges if key[0] in modules} if modules else set()

    def _is_mutable_value(self, key: Key) -> bool:
        definition = self._find(key)
        return definition is not None and definition.is_value and not definition.immutable

    def _is_among(self, source: Key, keys: Set[Key]) -> bool:
        """Whether a definition refers to one of `keys`, not counting itself."""
        return any(other in keys for other in self._edges[source] if other != source)

    def _may_change(self, source: Key, key: Key, definition: Definition, change: Change) -> bool:
        how = change.how
        if how == GET:
            return definition.is_value and key in self._stateful
        if how == CALL:
            is_kept = change.called and definition.caches  # what it has returned once, for all
            return (definition.is_value or is_kept) and (
                not change.lazy or key in self._stateful or key in self._careless
            )
        if how == PASS:
            if definition.is_value:
                return key in self._stateful or self._is_among(source, self._careless)
            if change.part and definition.kind == "class":
                return self._is_among(source, self._careless)
            return self._is_among(source, self._setting)
        if how == DECORATE or definition.is_value:
            return True
        return definition.kind in ("class", "function")

    def _shared(self, key: Key) -> set[Key]:
        """What may be a part of an object, or be the object under another name."""
        return {
            found
            for found in reachable({key}, lambda k: self._edges.get(k, ()))
            if (definition := self._find(found)) is not None
            and (definition.is_value or definition.kind == "class")
            and not definition.immutable
        }

    @cached_property
    def _stateful(self) -> set[Key]:
        return self._leading_to(lambda definition: definition.stateful)

    @cached_property
    def _careless(self) -> set[Key]:
        return self._leading_to(lambda definition: definition.changes_arguments)

    @cached_property
    def _setting(self) -> set[Key]:
        return self._leading_to(lambda definition: definition.sets_attributes)

    def _leading_to(self, predicate: Callable[[Definition], bool]) -> set[Key]:
        starts = {
            (module, name)
            for module, definitions in self._modules.items()
            for name, definition in definitions.table.items()
            if predicate(definition)
        }
        return reachable(starts, self._backward)

    def _find(self, key: Key) -> Definition | None:
        definitions = self._modules.get(key[0])
        if definitions is None:
            return None
        return definitions.effects if key[1] == EFFECTS else definitions.table.get(key[1])
