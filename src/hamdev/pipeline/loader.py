"""Loading project modules: always from source, and all or nothing.

`importlib.reload` keeps deleted names and leaves mixed code when it fails half-way, and `.pyc`
files serve old code for saves of one size within one second. So a reload here makes *fresh*
module objects: the names to be reloaded are taken out of `sys.modules`, imported again by the
ordinary import system (dependencies come first by themselves), and put back as they were if
anything fails. Module objects that are in use by a run are never changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import linecache
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Literal

from hamdev.core.imports import ImportScan, scan_imports
from hamdev.errors import ModuleMissingError

ReloadMode = Literal["none", "changed", "all"]

# sys.modules belongs to the whole process, so loading is one at a time for all projects.
_loading_lock = threading.RLock()
_active: ContextVar[Project | None] = ContextVar("hamdev_active_project", default=None)
_OWN_PACKAGE = __name__.partition(".")[0]
_SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Source:
    """The text that a module was executed from.

    Attributes:
        file: absolute path.
        sha256: hex digest of the bytes that were compiled.
        text: those bytes, decoded.
    """

    file: str
    sha256: str
    text: str


class Project:
    """The modules below one folder, as they were last loaded.

    Args:
        root: the project's folder.
        pipelines_dir: the folder, relative to `root`, in which short module names are looked up.
    """

    def __init__(self, root: Path, pipelines_dir: str = "pipelines") -> None:
        self.root = root.resolve()
        self.package = pipelines_dir.strip("/").replace("/", ".")
        self._root_text = str(self.root) + os.sep
        self._modules: dict[str, ModuleType] = {}
        self._sources: dict[str, Source] = {}
        self._scans: dict[tuple[str, str], ImportScan] = {}
        self._successors: dict[int, tuple[ModuleType, str]] = {}
        self._attempt: dict[str, Source] = {}
        self._missing: set[str] = set()
        self._finder = _Finder(self)
        self._verdicts: dict[str, bool] = {}
        self._adopted: set[str] = set()

    def __repr__(self) -> str:
        return f"Project({str(self.root)!r})"

    # -- what the project knows ---------------------------------------------------------------

    def owns(self, file: str | None) -> bool:
        """Whether `file` is one of the project's own Python sources, not a library's."""
        if file is None or not file.endswith(".py"):
            return False
        if (known := self._verdicts.get(file)) is None:
            known = self._verdicts[file] = self._judge(file)
        return known

    def _judge(self, file: str) -> bool:
        for path in (os.path.abspath(file), os.path.realpath(file)):
            if not path.startswith(self._root_text):
                continue
            if not _SKIPPED_FOLDERS.isdisjoint(path[len(self._root_text) :].split(os.sep)):
                continue
            return not any(
                path.startswith(prefix + os.sep) and not self._root_text.startswith(prefix + os.sep)
                for prefix in (sys.prefix, sys.base_prefix)
            )
        return False

    def source_of(self, module: str) -> Source | None:
        """The text that the module of this name was last loaded from, if it is the project's."""
        return self._sources.get(module)

    @property
    def sources(self) -> Mapping[str, Source]:
        """Module name → the text it was last loaded from, for all loaded project modules."""
        return dict(self._sources)

    def attempted_files(self) -> dict[str, str | None]:
        """File → sha256 of what the last load read, whether or not it succeeded.

        A file whose appearance would let a missing import succeed is given with None.
        """
        files: dict[str, str | None] = dict.fromkeys(self._missing)
        files.update((source.file, source.sha256) for source in self._attempt.values())
        return files

    def third_party_imports(self) -> list[str]:
        """Names of the modules outside the project that its modules import, and that are loaded."""
        names: set[str] = set()
        for module, source in self._sources.items():
            names |= self._scan(module, source).names
        return sorted(
            name
            for name in names
            if name in sys.modules
            and name not in self._modules
            and name.partition(".")[0] not in sys.stdlib_module_names
        )

    # -- resolving names ----------------------------------------------------------------------

    def attempted_names(self, name: str) -> list[str]:
        """The module names to try for `name`, in order."""
        return list(
            dict.fromkeys(
                candidate
                for prefix in (f"{self.package}.", "")
                for candidate in (prefix + name, prefix + name.replace("-", "_"))
            )
        )

    def _candidate_files(self, module: str) -> list[str]:
        base = self.root.joinpath(*module.split("."))
        return [f"{base}.py", str(base / "__init__.py")]

    def _path_below_root(self, module: str) -> str | None:
        """The file, or for a namespace the folder, that the project has for a module name."""
        base = str(self.root.joinpath(*module.split(".")))
        for file in (os.path.join(base, "__init__.py"), base + ".py"):
            if os.path.isfile(file):
                return file
        return base if os.path.isdir(base) else None

    def _find_name(self, name: str) -> str:
        attempted = self.attempted_names(name)
        for candidate in attempted:
            if self._find(candidate):
                return candidate
        candidates = [f for c in attempted for f in self._candidate_files(c) if "-" not in f]
        self._missing.update(candidates)
        raise ModuleMissingError(name, attempted, candidates)

    def _find(self, name: str) -> bool:
        if not name or name.startswith(".") or "/" in name or name.endswith(".py"):
            return False
        if sys.modules.get(name) is not None:
            return True
        parent = name.rpartition(".")[0]
        try:
            if parent and not self._find(parent):
                return False
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError as error:
            # Only "the parent is not there" is an answer; an error inside a parent is the user's.
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                return False
            raise

    def _is_shadowed(self, name: str, present: ModuleType) -> bool:
        """Whether `present` stands, under this name, where this project's own module would be."""
        if (owner := _owner(present)) is not None:
            return owner is not self
        theirs = getattr(present, "__file__", None)
        if theirs is not None and theirs.startswith((sys.prefix + os.sep, sys.base_prefix + os.sep)):
            return False
        ours = self._path_below_root(name)
        if ours is None or name in sys.stdlib_module_names:
            return False
        if theirs is None:
            return hasattr(present, "__path__") and not self._is_here(present.__path__)
        return os.path.realpath(theirs) != os.path.realpath(ours)

    def _is_here(self, folders: Iterable[str]) -> bool:
        return any(os.path.realpath(folder).startswith(self._root_text) for folder in folders)

    # -- loading ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """While it is open, imports of project modules in this context come from source."""
        if self._finder not in sys.meta_path:
            sys.meta_path.insert(0, self._finder)
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)

    def install(self) -> None:
        """Serve this project's modules to the whole process, whatever the context (the worker)."""
        self._finder.everywhere = True
        sys.meta_path.insert(0, self._finder)
        sys.path.insert(0, str(self.root))

    @contextlib.contextmanager
    def loading(
        self, entries: Sequence[str | ModuleType], reload: ReloadMode = "none"
    ) -> Iterator[list[ModuleType]]:
        """The modules for `entries`, committed when the block ends well, else undone.

        Args:
            entries: module names or module objects; later ones win. Of duplicates the last stays.
            reload: `none` uses what is loaded; `changed` reloads the entries, the project
                modules they import whose text differs from what was loaded, and all modules
                between them; `all` reloads every project module they import.

        Yields:
            One module for each entry, in order, without duplicates.

        Raises:
            ModuleMissingError: a name was not found.
            BaseException: whatever a module raised while it was executed, with a note that
                says which pipeline module it came from.
        """
        with _loading_lock, self.active():
            self._attempt, self._missing = {}, set()
            _forget_listings(self._root_text)
            before = self._step_in()
            try:
                self._adopt(entries)
                if reload != "none":
                    for name in self._to_reload(entries, reload):
                        sys.modules.pop(name, None)
                modules = self._import_entries(entries, reload)
                with _present(modules):
                    yield modules
            except BaseException as error:
                if isinstance(error, ModuleNotFoundError) and error.name:
                    self._missing.update(self._candidate_files(error.name))
                self._note_attempt()
                self._step_back(before)
                raise
            self._commit(before, modules, entries)

    def _step_in(self) -> dict[str, ModuleType]:
        """Make sys.modules hold this project's modules; return what it held before."""
        before = dict(sys.modules)
        tops = {name for name in before if "." not in name and before[name] is not None}
        shadowing = {name for name in tops if self._is_shadowed(name, before[name])}
        for name, module in before.items():
            if module is None:
                continue
            if name.partition(".")[0] in shadowing or _owner(module) not in (None, self):
                del sys.modules[name]
        sys.modules.update(self._modules)
        return before

    def _step_back(self, before: Mapping[str, ModuleType]) -> None:
        for name, module in list(sys.modules.items()):
            if module is not None and _owner(module) is not None and name not in before:
                del sys.modules[name]
        sys.modules.update(before)

    def _commit(
        self,
        before: Mapping[str, ModuleType],
        modules: Sequence[ModuleType],
        entries: Sequence[str | ModuleType],
    ) -> None:
        self._note_attempt()
        self._modules = {
            name: module
            for name, module in list(sys.modules.items())
            if module is not None and _owner(module) is self
        }
        known = {**self._sources, **self._attempt}
        self._sources = {name: known[name] for name in self._modules if name in known}
        by_name = {module.__name__: module for module in modules}
        for entry in entries:
            if isinstance(entry, ModuleType) and by_name.get(entry.__name__, entry) is not entry:
                self._successors[id(entry)] = (entry, entry.__name__)
        for name, module in before.items():
            # What a reload of ours left out is gone; what belongs to others comes back.
            if name not in sys.modules and (module is None or _owner(module) is not self):
                sys.modules[name] = module

    def _note_attempt(self) -> None:
        for name, module in list(sys.modules.items()):
            if module is not None and _owner(module) is self:
                source = getattr(module.__loader__, "source", None)
                if isinstance(source, Source):
                    self._attempt.setdefault(name, source)

    def _adopt(self, entries: Sequence[str | ModuleType]) -> None:
        """Load entries from source even if they lie outside the project's folder."""
        for entry in entries:
            name = entry.__name__ if isinstance(entry, ModuleType) else self._find_name(entry)
            self._adopted.add(name)

    def _import_entries(
        self, entries: Sequence[str | ModuleType], reload: ReloadMode
    ) -> list[ModuleType]:
        modules: dict[str, ModuleType] = {}
        for entry in entries:
            if isinstance(entry, ModuleType):
                module = self._current(entry, reload)
            else:
                module = self._import(self._find_name(entry), entry)
            # Dropping the earlier one of two keeps the order in which Hamilton lets nodes win.
            modules.pop(module.__name__, None)
            modules[module.__name__] = module
        return list(modules.values())

    def _current(self, entry: ModuleType, reload: ReloadMode) -> ModuleType:
        """The object itself, or what a reload made of it."""
        name = entry.__name__
        file = getattr(entry, "__file__", None)
        if reload != "none" and file is not None and file.endswith(".py"):
            spec = self._finder.find_spec_of(name)
            if spec is not None and spec.origin and os.path.realpath(spec.origin) == os.path.realpath(file):
                return self._import(name, name)
            return self._execute_file(name, file)
        successor = self._successors.get(id(entry))
        if successor is not None and successor[0] is entry:
            return self._modules.get(name, entry)
        return entry

    def _execute_file(self, name: str, file: str) -> ModuleType:
        """Load a module that no import by its name would find, such as one loaded by its path."""
        loader = SourceLoader(name, file, self)
        spec = importlib.util.spec_from_file_location(name, file, loader=loader)
        if spec is None:
            raise ImportError(f"module {name!r} cannot be loaded from {file!r}", name=name, path=file)
        spec.loader_state = self
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            loader.exec_module(module)
        except BaseException as error:
            error.add_note(f"hamdev: raised while importing pipeline module {name!r} ({file})")
            raise
        return module

    def _import(self, name: str, wanted: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except BaseException as error:
            error.add_note(f"hamdev: raised while importing pipeline module {name!r} ({wanted!r})")
            raise

    # -- deciding what a reload touches -------------------------------------------------------

    def _to_reload(self, entries: Sequence[str | ModuleType], reload: ReloadMode) -> set[str]:
        starts = {e.__name__ if isinstance(e, ModuleType) else self._loaded_name(e) for e in entries}
        loaded = {
            name: module
            for name, module in list(sys.modules.items())
            if module is not None and not _is_own(name) and self._may_reload(name, module, starts)
        }
        imports = {name: self._imports(name, module) for name, module in loaded.items()}
        reachable = _closure(starts & loaded.keys(), lambda name: imports[name] & loaded.keys())
        if reload == "all":
            stale = reachable | self._modules.keys()
        else:
            # Another reload may have replaced what these modules hold, so every loaded module
            # of ours is a candidate, not only what these entries reach.
            candidates = reachable | (self._modules.keys() & loaded.keys())
            changed = {name for name in candidates if self._has_changed(name, loaded[name])}
            stale = _closure(
                (starts & loaded.keys()) | changed,
                lambda name: {user for user in candidates if name in imports[user]},
            )
        parents = {parent for name in stale for parent in _parents(name)}
        return stale | {name for name in parents if name in loaded or self._is_namespace(name)}

    def _may_reload(self, name: str, module: ModuleType, starts: set[str]) -> bool:
        file = getattr(module, "__file__", None)
        return (
            _owner(module) is self
            or self.owns(file)
            or (name in starts and file is not None and file.endswith(".py"))
        )

    def _is_namespace(self, name: str) -> bool:
        module = sys.modules.get(name)
        return (
            module is not None
            and getattr(module, "__file__", None) is None
            and self._is_here(getattr(module, "__path__", ()))
        )

    def _loaded_name(self, name: str) -> str:
        for candidate in self.attempted_names(name):
            if candidate in sys.modules:
                return candidate
        return name

    def _imports(self, name: str, module: ModuleType) -> frozenset[str]:
        source = self._source(name, module)
        if source is None:
            return frozenset()
        scan = self._scan(name, source)
        if scan.dynamic:
            return frozenset(sys.modules) - {name}
        return frozenset(n for n in scan.names if not self._is_bare_package(n)) - {name}

    def _is_bare_package(self, name: str) -> bool:
        """Whether `name` is a package without code, which is no dependency by itself."""
        module = sys.modules.get(name)
        if module is None or not hasattr(module, "__path__"):
            return False
        source = self._source(name, module)
        return source is None or not source.text.strip()

    def _source(self, name: str, module: ModuleType) -> Source | None:
        if (known := self._sources.get(name)) is not None:
            return known
        try:
            return read_source(getattr(module, "__file__", None) or "")
        except (OSError, SyntaxError, UnicodeDecodeError):
            return None

    def _scan(self, name: str, source: Source) -> ImportScan:
        key = (name, source.sha256)
        if key not in self._scans:
            is_package = Path(source.file).name == "__init__.py"
            self._scans[key] = scan_imports(source.text, name, is_package)
        return self._scans[key]

    def _has_changed(self, name: str, module: ModuleType) -> bool:
        known = self._sources.get(name)
        if known is None or _owner(module) is not self:
            return getattr(module, "__file__", None) is not None
        try:
            return hashlib.sha256(Path(known.file).read_bytes()).hexdigest() != known.sha256
        except OSError:
            return True


class SourceLoader(SourceFileLoader):
    """Executes a module from its source bytes; it neither reads nor writes `.pyc` files."""

    def __init__(self, fullname: str, path: str, project: Project) -> None:
        super().__init__(fullname, path)
        self.project = project
        self.source: Source | None = None

    def get_code(self, fullname: str) -> CodeType:
        """Compile what the file holds now, and keep that text for tracebacks and `inspect`."""
        content = Path(self.path).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        placeholder = Source(self.path, digest, content.decode("utf-8", errors="replace"))
        self.project._attempt[fullname] = placeholder
        text = importlib.util.decode_source(content)
        self.source = self.project._attempt[fullname] = Source(self.path, digest, text)
        prime_linecache(self.source)
        return compile(content, self.path, "exec", dont_inherit=True)

    def get_source(self, fullname: str) -> str:
        """The text that was loaded, not what the file holds by now."""
        return self.source.text if self.source else super().get_source(fullname) or ""

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module with the retained submodules of a package already in place."""
        _adopt_children(module)
        exec(self.get_code(module.__name__), module.__dict__)


class _NamespaceLoader(InspectLoader):
    """A folder without `__init__.py`: a fresh namespace that shows its retained submodules."""

    def get_code(self, fullname: str) -> CodeType:
        return compile("", "<namespace>", "exec", dont_inherit=True)

    def get_source(self, fullname: str) -> str:
        return ""

    def is_package(self, fullname: str) -> bool:
        return True

    def exec_module(self, module: ModuleType) -> None:
        _adopt_children(module)


class _Finder(MetaPathFinder):
    """Finds modules below a project's root while that project is active."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.everywhere = False

    def find_spec_of(self, name: str) -> ModuleSpec | None:
        """Where an import of `name` would find it; parents are taken from `sys.modules`."""
        parent = name.rpartition(".")[0]
        if not parent:
            return self.find_spec(name, None)
        package = sys.modules.get(parent)
        path = list(package.__path__) if package is not None and hasattr(package, "__path__") else None
        if path is None:
            below = self.project._path_below_root(parent)
            path = [below.removesuffix(os.sep + "__init__.py")] if below else None
        return self.find_spec(name, path) if path is not None else None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The project's own source for `fullname`, or None to let the next finder look."""
        if not (self.everywhere or _active.get() is self.project) or _is_own(fullname):
            return None
        if path is None:
            if fullname in sys.stdlib_module_names:
                return None
            path = [str(self.project.root), *sys.path]
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None:
            return None
        if spec.origin is None:
            return self._namespace_spec(fullname, list(spec.submodule_search_locations or ()))
        if isinstance(spec.loader, SourceFileLoader) and (
            self.project.owns(spec.origin) or fullname in self.project._adopted
        ):
            spec.loader = SourceLoader(fullname, spec.origin, self.project)
            spec.loader_state = self.project
            spec.cached = None
            return spec
        return spec if spec.origin.startswith(self.project._root_text) else None

    def _namespace_spec(self, fullname: str, folders: list[str]) -> ModuleSpec | None:
        if not self.project._is_here(folders):
            return None
        spec = ModuleSpec(fullname, _NamespaceLoader(), is_package=True)
        spec.submodule_search_locations = folders
        spec.loader_state = self.project
        return spec


def read_source(file: str) -> Source:
    """The present text of `file`.

    Raises:
        OSError: it cannot be read.
        SyntaxError: its declared encoding is unknown.
        UnicodeDecodeError: its bytes are not in its encoding.
    """
    content = Path(file).read_bytes()
    text = importlib.util.decode_source(content)
    return Source(file, hashlib.sha256(content).hexdigest(), text)


def prime_linecache(source: Source) -> None:
    """Let tracebacks show the text that was loaded, even after the file has changed again."""
    # An entry without a modification time is never checked against the disk.
    linecache.cache[source.file] = (
        len(source.text),
        None,
        source.text.splitlines(keepends=True),
        source.file,
    )


def _owner(module: ModuleType) -> Project | None:
    spec = getattr(module, "__spec__", None)
    state = getattr(spec, "loader_state", None)
    return state if isinstance(state, Project) else None


def _is_own(name: str) -> bool:
    return name == _OWN_PACKAGE or name.startswith(_OWN_PACKAGE + ".")


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _closure(starts: Iterable[str], following: Any) -> set[str]:
    found = set(starts)
    todo = list(found)
    while todo:
        for name in following(todo.pop()):
            if name not in found:
                found.add(name)
                todo.append(name)
    return found


def _adopt_children(package: ModuleType) -> None:
    prefix = package.__name__ + "."
    for name, module in list(sys.modules.items()):
        if name.startswith(prefix) and "." not in name[len(prefix) :] and module is not None:
            setattr(package, name[len(prefix) :], module)


def _forget_listings(root: str) -> None:
    """Let the import system see files that appeared within its folders' time resolution."""
    for folder, finder in list(sys.path_importer_cache.items()):
        if (folder + os.sep).startswith(root) and hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()


@contextlib.contextmanager
def _present(modules: Sequence[ModuleType]) -> Iterator[None]:
    """Hamilton finds no functions in a module that is not in sys.modules under its name."""
    displaced = {m.__name__: sys.modules.get(m.__name__) for m in modules}
    for module in modules:
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        for name, module in displaced.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
