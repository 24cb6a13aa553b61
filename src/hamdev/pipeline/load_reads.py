"""Which files a project's modules have read, so that what they hold is out of date without them.

`DATA = read("prices.csv")` means something else when the file holds something else. So such a
file is part of the versions of what its statement binds, and a change executes that again.
"""

from __future__ import annotations

import ast
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any

from hamdev.core.definitions import EFFECTS, Definitions
from hamdev.core.references import Key
from hamdev.pipeline.cache_reads import CacheReads
from hamdev.pipeline.file_states import DOUBTFUL, FileState, Sight, look, state_of
from hamdev.pipeline.own_reads import digest_of, unobserved
from hamdev.pipeline.statements import Layout, TopLevel

# They make paths and names of them, and read nothing.
# fmt: off
_MAKE_PATHS = frozenset({
    "Path", "PurePath", "PosixPath", "fspath", "join", "joinpath", "abspath", "realpath", "resolve",
    "absolute", "expanduser", "expandvars", "dirname", "basename", "with_name", "with_suffix",
    "getenv", "getcwd", "cwd", "home", "getLogger",
})
# fmt: on

# They tell whether there is a file.
ASKING = frozenset({"exists", "isfile", "is_file", "isdir", "is_dir", "stat", "getmtime"})

FilesIn = Callable[[Iterable[Any], bool], Collection[str]]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that was opened while a statement of a module was executed."""

    module_file: str
    line: int
    path: str
    sight: Sight


class LoadReads:
    """What the modules of one project have read when they were loaded.

    Args:
        owns: whether a file is one of the project's modules.

    Attributes:
        files_in: the files that values may name, for readers that nobody hears of; those that are
            not there count if the second argument says that it is asked whether they are.
        caches: what they were filled from, at any time.
        opened_data: the data files that somebody opened since the load began.
    """

    def __init__(self, owns: Callable[[str], bool]) -> None:
        self._owns = owns
        self.files_in: FilesIn = lambda values, asks: ()
        self.opened_data: Callable[[], Mapping[str, Sight]] = dict
        self._opened: list[_Opened] = []
        self._written: set[str] = set()
        self._states: dict[Key, dict[str, FileState]] = {}
        self._modules: dict[str, ModuleType] = {}
        self._failed: list[_Opened] = []
        # Of files that earlier loads have read: what they hold, as far as this load has looked.
        self._seen: dict[str, str | None] = {}
        self._has_failed = False
        self._loader: int | None = None
        self._folders: set[str] = set()
        self.caches = CacheReads()

    # -- while modules are loaded -------------------------------------------------------------

    def note(self, path: str, is_writing: bool) -> None:
        """A file is being opened by what called this; it counts if a module holds on to it."""
        if is_writing:
            self._written.add(path)
            self.caches.note_written(path)
            return
        keys, statement = _stack(sys._getframe(1), self._owns)
        if self._loader not in (None, threading.get_ident()):
            # A thread of the module's own: what is executed now has started it, or waits for it.
            loader = sys._current_frames().get(self._loader or 0)
            theirs, statement = _stack(loader, self._owns)
            keys |= theirs
        self.caches.note(keys, path, look)
        if statement is not None:
            self._opened.append(_Opened(statement.file, statement.line, path, look(path)))

    def note_folder(self, path: str) -> None:
        """The process moves to another folder, where a name may stand for a file."""
        if self._loader is not None:
            self._folders.add(path)

    def begin(self) -> None:
        """What is read from now on belongs to another load, by this thread."""
        self.caches.begin()
        self._forget()
        self._seen = {}
        self._has_failed = False
        self._loader = threading.get_ident()

    def fail(self) -> None:
        """The load failed; with other files it may succeed."""
        self.caches.end()
        opened = self._opened
        self._forget()
        self._failed = opened
        self._has_failed = True

    def _forget(self) -> None:
        self._loader = None
        self._opened, self._failed = [], []
        self._written.clear()
        self._folders.clear()

    def take(
        self,
        modules: Mapping[str, ModuleType],
        texts: Mapping[str, Definitions],
        layouts: Mapping[str, Layout],
        executed: Mapping[str, Sequence[TopLevel]],
    ) -> bool:
        """Note what was read since the last time, and tell whether that is anything else.

        Args:
            modules: all that are loaded now.
            texts: what they define.
            layouts: their statements.
            executed: module name → its statements that were executed, if not all of them were.
        """
        before = self._states
        self._states = {
            key: files for key, files in before.items() if self._stays(key, modules, executed)
        }
        self.caches.drop(lambda key: not self._stays(key, modules, executed))
        renewed: set[Key] = set()
        names = {texts[name].file: name for name in layouts.keys() & texts.keys()}
        for opened in self._opened:
            if (name := names.get(opened.module_file)) is None or opened.path in self._written:
                continue
            state = state_of(opened.path, opened.sight)
            for key in _keys(texts[name], layouts[name], opened.line):
                self._states.setdefault(key, {})[opened.path] = state
                renewed.add(key)
        heard = {opened.path for opened in self._opened} | self._written
        data = {p: known for p, known in self.opened_data().items() if p not in heard}
        for name in layouts.keys() & texts.keys() & modules.keys():
            if self._modules.get(name) is not modules[name]:
                statements: Sequence[TopLevel] = layouts[name].statements
            else:
                statements = executed.get(name, ())
            renewed |= self._take_unheard(modules[name], texts[name], statements, data)
        self._see(renewed)
        self._modules = dict(modules)
        self._forget()
        return _digests(before) != _digests(self._states)

    def _stays(
        self,
        key: Key,
        modules: Mapping[str, ModuleType],
        executed: Mapping[str, Sequence[TopLevel]],
    ) -> bool:
        module, name = key
        if module not in modules or self._modules.get(module) is not modules[module]:
            return False
        return not any(name in statement.names for statement in executed.get(module, ()))

    def _take_unheard(
        self,
        module: ModuleType,
        definitions: Definitions,
        statements: Iterable[TopLevel],
        data: Mapping[str, Sight],
    ) -> set[Key]:
        """Take the files that statements name as read by them: readers in C or Rust are silent.

        Returns:
            What was made from such files.
        """
        renewed: set[Key] = set()
        for statement in statements:
            if not _may_read(statement.node):
                continue
            values = list(_values(statement, vars(module)))
            bound = [vars(module).get(name) for name in statement.names]
            if bound and all(_is_path(value) for value in bound):
                continue
            asks = not ASKING.isdisjoint(_calls(statement.node))
            named = {path: look(path) for path in self.files_in([*values, *self._folders], asks)}
            found = {**named, **data}
            for path, known in found.items():
                if path not in self._written and not self._owns(path):
                    state = state_of(path, known)
                    for key in _named(definitions, statement.names):
                        self._states.setdefault(key, {}).setdefault(path, state)
                        renewed.add(key)
        return renewed

    def _see(self, renewed: Iterable[Key]) -> None:
        """What these were made from is what the load has seen."""
        seen: dict[str, str | None] = {}
        for key in renewed:
            for path, state in self._states[key].items():
                if seen.setdefault(path, state.shown_digest) != state.shown_digest:
                    seen[path] = DOUBTFUL  # it changed between two of them
        self._seen |= seen

    # -- what is known ------------------------------------------------------------------------

    @property
    def reads(self) -> dict[Key, frozenset[str]]:
        """Definition → the files that it was made from."""
        return {key: frozenset(files) for key, files in self._states.items()}

    def loaded_digests(self, loaded: Collection[str]) -> dict[str, str]:
        """File → what it held when it was read.

        Args:
            loaded: modules that are up to date. Others may have read something else, which says
                nothing of these; before they are used, they are looked at again.
        """
        read_by: dict[str, dict[Key, str]] = {}
        for key, files in self._states.items():
            for path, state in files.items():
                read_by.setdefault(path, {})[key] = state.shown_digest or "absent"
        found = {}
        for path, read in read_by.items():
            present = {key: digest for key, digest in read.items() if key[0] in loaded} or read
            first, *others = dict.fromkeys(present.values())
            # It changed between two statements that read it: no other moment has the same text.
            found[path] = first if not others else f"{DOUBTFUL}: {sorted(present.items())}"
        return found

    def present_digests(self) -> dict[str, str]:
        """File → what it holds now."""
        found: dict[str, str] = {}
        for files in self._states.values():
            for path, state in files.items():
                if path not in found:
                    with unobserved():
                        is_same = state.is_same(path)
                        digest = state.digest if is_same else digest_of(path)
                    self._seen[path] = digest
                    # Of a large file that has just been written, the digest does not tell enough.
                    is_doubtful = not is_same and digest is not None and digest == state.digest
                    found[path] = DOUBTFUL if is_doubtful else digest or "absent"
        return found

    def files(self) -> dict[str, str | None]:
        """File → digest, of all that the last load depends on, also if it failed.

        What was read before is given as the last load has found it; a load that failed before it
        looked does not depend on it.
        """
        found: dict[str, str | None] = {}
        if not self._has_failed:
            for files in self._states.values():
                found.update((path, state.shown_digest) for path, state in files.items())
        found |= self._seen
        for opened in self._failed:
            if opened.path not in self._written:
                found[opened.path] = state_of(opened.path, opened.sight).shown_digest
        return found


def _digests(states: Mapping[Key, Mapping[str, FileState]]) -> dict[Key, dict[str, str]]:
    return {
        key: {path: state.shown_digest or "absent" for path, state in files.items()}
        for key, files in states.items()
        if files
    }


@dataclass(frozen=True, slots=True)
class _Statement:
    """A line of a module that is being executed."""

    file: str
    line: int


def _stack(
    frame: FrameType | None, owns: Callable[[str], bool]
) -> tuple[frozenset[Key], _Statement | None]:
    """The project's definitions that led here, and the statement of a module, if one did.

    What a library reads while it is imported is its own affair.
    """
    keys: set[Key] = set()
    while frame is not None:
        code = frame.f_code
        # A module that is loaded by its path, without the name of an import, is data.
        if code.co_filename.startswith("<frozen importlib") and code.co_name == "_find_and_load":
            break
        if owns(code.co_filename):
            if code.co_name == "<module>":
                return frozenset(keys), _Statement(code.co_filename, frame.f_lineno)
            name = code.co_qualname.partition(".")[0]
            keys.add((frame.f_globals.get("__name__", ""), name))
        frame = frame.f_back
    return frozenset(keys), None


def _keys(definitions: Definitions, layout: Layout, line: int) -> list[Key]:
    for statement in layout.statements:
        if statement.first_line <= line <= statement.last_line:
            return _named(definitions, statement.names)
    return _named(definitions, ())


def _named(definitions: Definitions, names: Iterable[str]) -> list[Key]:
    """What a statement's meaning is part of; everything in the module if that is not clear."""
    module = definitions.module
    found = [(module, name) for name in names if name in definitions.table]
    if found:
        return found
    if definitions.effects is not None:
        return [(module, EFFECTS)]
    return [(module, name) for name in definitions.table]


def _may_read(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import):
        return False
    return any(name not in _MAKE_PATHS for name in _calls(node))


def _calls(node: ast.stmt) -> list[str]:
    """The last words of what is called in a statement."""
    return [_called(inner) for inner in ast.walk(node) if isinstance(inner, ast.Call)]


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _values(statement: TopLevel, namespace: Mapping[str, Any]) -> Iterator[Any]:
    for inner in ast.walk(statement.node):
        match inner:
            case ast.Constant(value=str() as text):
                yield text
            case ast.Name(id=name) if name in namespace and name not in statement.names:
                yield namespace[name]


def _is_path(value: Any) -> bool:
    """Whether it is a place, not what was read there."""
    if isinstance(value, os.PathLike):
        return True
    return isinstance(value, str) and len(value) < 1024 and os.path.exists(value)  # noqa: PTH110
