"""Module-level state: what functions of a project change while they run, and who is concerned.

A new process starts with `CACHE = {}`; the worker, which stays, would start with what the run
before has left. So before each run such objects are made anew, if they have changed. And nodes that
share one run together or not at all: each may see what the others have done to it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hamdev.core.references import Key, Resolver
from hamdev.core.versions import Codebase
from hamdev.pipeline.statements import Layout

_ABSENT = object()


class ModuleState:
    """The state of a project's modules as they were last loaded.

    Attributes:
        renewed: definition → how often it was executed again for the sake of state.
    """

    def __init__(self) -> None:
        self._tokens: dict[Key, bytes | None] = {}
        self._changers: dict[Key, set[Key]] = {}
        self._dependents: dict[Key, set[Key]] = {}
        self.renewed: dict[Key, int] = {}

    def note(
        self,
        codebase: Codebase,
        layouts: Mapping[str, Layout],
        token_of: Callable[[Any], bytes | None],
    ) -> None:
        """Remember what state there is and what it holds, right after the modules were loaded."""
        self._changers = _changers(codebase, layouts)
        self._dependents = {key: codebase.dependents([key]) for key in self._changers}
        self._tokens = {key: _token(key, token_of) for key in self._changers}

    def changed(self, token_of: Callable[[Any], bytes | None]) -> set[Key]:
        """What no longer holds what it held."""
        return {
            key
            for key, token in self._tokens.items()
            if token is None or _token(key, token_of) != token
        }

    def note_renewed(self, keys: Iterable[Key]) -> None:
        """These were executed again."""
        for key in keys:
            self.renewed[key] = self.renewed.get(key, 0) + 1

    def __bool__(self) -> bool:
        return bool(self._changers)

    def of(self, key: Key) -> frozenset[Key]:
        """The state that a definition, or what it calls, sees or changes."""
        return frozenset(state for state, users in self._dependents.items() if key in users)

    def may_spread(self, state: Key, codebase: Codebase) -> bool:
        """Whether objects that are handed on may change it: instances of a class that does."""
        kinds = {codebase.modules[m].table.get(name) for m, name in self._changers[state]}
        return any(found is not None and found.kind == "class" for found in kinds)


def _token(key: Key, token_of: Callable[[Any], bytes | None]) -> bytes | None:
    value = vars(sys.modules[key[0]]).get(key[1], _ABSENT) if key[0] in sys.modules else _ABSENT
    if value is _ABSENT:
        return b"absent"
    told = getattr(value, "cache_info", None)
    if told is not None and told().currsize:
        return None  # the objects that it keeps are no part of its token
    return token_of(value)


def _changers(codebase: Codebase, layouts: Mapping[str, Layout]) -> dict[Key, set[Key]]:
    found: dict[Key, set[Key]] = {}
    for key, sources in codebase.changed_by_calls.items():
        at_run_time = {s for s in sources if not _is_called_at_load_only(s, codebase, layouts)}
        if at_run_time and key[0] in layouts:
            found[key] = at_run_time
    for module, layout in layouts.items():
        for function, names in layout.globals.items():
            for name in names:
                found.setdefault((module, name), set()).add((module, function))
    return found


def _is_called_at_load_only(source: Key, codebase: Codebase, layouts: Mapping[str, Layout]) -> bool:
    """Whether it is a decorator that gives back no function of its own: `@register`."""
    module, name = source
    layout = layouts.get(module)
    statements = layout.by_name().get(name, []) if layout is not None else []
    if len(statements) != 1 or not isinstance(statements[0].node, ast.FunctionDef):
        return False
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    function = statements[0].node
    if any(isinstance(n, inner) for part in function.body for n in ast.walk(part)):
        return False
    resolver = Resolver(codebase.modules, codebase.outside)
    is_used = False
    for user_module, user in codebase.users(source):
        definition = codebase.modules[user_module].table.get(user)
        if definition is None or definition.kind == "import":
            continue
        if definition.kind != "function":
            return False
        is_used = True
        for use in definition.uses:
            if use.lazy and source in resolver.follow(use.module or user_module, use.path):
                return False
    return is_used
