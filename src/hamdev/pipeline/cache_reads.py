"""Which files the project's caches were filled from: who asks them later does not open those.

`functools.lru_cache`, `cached_property` and their like open a file once, whoever asks again. So the
files belong to all nodes that use the cache, and a change makes the cache anew, empty. The text
tells where there are caches, and what they call; the stack tells what of that opens a file. When in
doubt, a file belongs to a cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from hamdev.core.definitions import WHOLE
from hamdev.core.references import EVERYTHING, Key
from hamdev.core.versions import Codebase
from hamdev.pipeline.file_states import FileState, Sight, state_of

LAMBDA = "<lambda>"


class CacheReads:
    """The files of the caches of one project's modules, by the definitions that make them."""

    def __init__(self) -> None:
        self._codebase: Codebase | None = None
        self._is_loading = False
        self._waiting: list[tuple[frozenset[Key], bool, str, Sight]] = []
        self._seen: dict[Key, dict[str, Sight]] = {}
        self._states: dict[Key, dict[str, FileState]] = {}
        self._written: set[str] = set()
        self._above: dict[tuple[frozenset[Key], bool], list[Key]] = {}

    def know(self, codebase: Codebase) -> None:
        """These are the definitions that are loaded now."""
        if codebase is not self._codebase:
            self._codebase = codebase
            self._above = {}
        self.end()

    def note(self, keys: frozenset[Key], path: str, seen: Callable[[str], Sight]) -> None:
        """A file is being opened while functions that are defined by `keys` are running.

        Args:
            keys: of this thread, from its beginning.
            path: of the file.
            seen: what it is like; asked only if that matters.
        """
        is_cut = threading.current_thread() is not threading.main_thread()
        if self._is_loading or self._codebase is None or self._caches(keys, is_cut):
            self._waiting.append((keys, is_cut, path, seen(path)))

    def note_written(self, path: str) -> None:
        """A file is being written by somebody: what it holds in the end counts."""
        self._written.add(path)

    def begin(self) -> None:
        """A load begins; who fills which cache is known when it has ended."""
        self._assign()
        self._written.clear()
        self._is_loading = True

    def end(self) -> None:
        """The load is over, or has failed."""
        self._is_loading = False
        self._assign()

    def drop(self, is_gone: Callable[[Key], bool]) -> None:
        """Forget the files of caches that are no more; what has just been noted is of new ones."""
        for key in [key for key in self._seen if is_gone(key)]:
            del self._seen[key]
            self._states.pop(key, None)

    def files(self, keys: Collection[Key]) -> dict[str, FileState]:
        """The files that caches have been filled from, for who uses `keys`."""
        self._assign()
        found: dict[str, FileState] = {}
        for key, files in self._seen.items():
            if key in keys or (key[0], WHOLE) in keys or EVERYTHING in keys:
                states = self._states.setdefault(key, {})
                for path, sight in files.items():
                    if path not in states:
                        states[path] = state_of(path, sight, path in self._written)
                found.update(states)
        return found

    def outdated(self) -> set[Key]:
        """The caches that were filled from files that hold something else by now."""
        self._assign()
        return {
            key
            for key in self._seen
            if not all(state.is_same(path) for path, state in self.files({key}).items())
        }

    # -- details ------------------------------------------------------------------------------

    def _assign(self) -> None:
        if self._codebase is None or self._is_loading:
            return
        waiting, self._waiting = self._waiting, []
        for keys, is_cut, path, sight in waiting:
            for key in self._caches(keys, is_cut):
                self._seen.setdefault(key, {}).setdefault(path, sight)

    def _caches(self, keys: frozenset[Key], is_cut: bool) -> list[Key]:
        """The caches that what is opened now may end up in."""
        assert self._codebase is not None
        request = keys, is_cut
        if request not in self._above:
            self._above[request] = [
                (module, name)
                for module, definitions in self._codebase.modules.items()
                for name in definitions.caching
                if self._may_fill((module, name), keys, is_cut)
            ]
        return self._above[request]

    def _may_fill(self, cache: Key, keys: frozenset[Key], is_cut: bool) -> bool:
        assert self._codebase is not None
        if cache in keys:
            return True
        if not keys:
            return is_cut
        definition = self._codebase.modules[cache[0]].table[cache[1]]
        if not (definition.is_value or is_cut):
            return False  # it would be among them
        below = self._codebase.dependencies(cache)
        if not keys.isdisjoint(below):
            return True
        if not definition.is_value:
            return False
        # A lambda has no name of its own, and a function of a library is not seen here.
        return (cache[0], LAMBDA) in keys or any(
            cache in self._codebase.dependencies(key) for key in keys
        )
