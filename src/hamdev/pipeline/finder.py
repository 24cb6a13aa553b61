"""Finding a project's modules for the import system, while that project is active.

Two projects in one process may use the same module names, so a finder answers only in the
context of its own project; elsewhere imports go on as if hamdev were not there.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

from hamdev.pipeline.folder import ProjectFolder
from hamdev.pipeline.sources import NamespaceLoader, Source, SourceLoader

_OWN_PACKAGE = __name__.partition(".")[0]
_active: ContextVar[ProjectFinder | None] = ContextVar("hamdev_active_finder", default=None)


class ProjectFinder(MetaPathFinder):
    """Finds modules below a project's folder and gives them a loader that reads source only.

    Attributes:
        adopted: names of modules that are loaded from source although they lie elsewhere.
        read: module name → the text it was last read from, since `read` was last emptied.
        on_read: is told of each text before it is executed.
    """

    def __init__(self, folder: ProjectFolder) -> None:
        self._folder = folder
        self.adopted: set[str] = set()
        self.read: dict[str, Source] = {}
        self.on_read: Callable[[Source], None] | None = None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        # See SourceLoader: it is reached through a travelling module's `__spec__`.
        return type(None), ()

    def record(self, module: str, source: Source) -> None:
        """Remember what a module is being executed from."""
        is_new = self.read.get(module) is None or self.read[module].sha256 != source.sha256
        self.read[module] = source
        if is_new and self.on_read is not None:
            self.on_read(source)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """While it is open, imports in this context are answered by this finder first."""
        if _ACTIVE_FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _ACTIVE_FINDER)
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The project's own source for `fullname`, or None to let the next finder look."""
        if is_own(fullname):
            return None
        if path is None:
            if fullname in sys.stdlib_module_names:
                return None
            path = [str(self._folder.root), *sys.path]
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None:
            return None
        if spec.origin is None:
            return self._namespace_spec(fullname, list(spec.submodule_search_locations or ()))
        if isinstance(spec.loader, SourceFileLoader) and (
            self._folder.owns(spec.origin) or fullname in self.adopted
        ):
            spec.loader = SourceLoader(fullname, spec.origin, self.record)
            spec.loader_state = self
            spec.cached = None
            return spec
        return spec if spec.origin.startswith(self._folder.prefix) else None

    def find_present(self, name: str) -> ModuleSpec | None:
        """Where an import of `name` would find it now, executing nothing."""
        parent = name.rpartition(".")[0]
        if not parent:
            return self.find_spec(name, None)
        package = sys.modules.get(parent)
        path: list[str] | None = None
        if package is not None and hasattr(package, "__path__"):
            path = list(package.__path__)
        elif (below := self._folder.path_of(parent)) is not None:
            path = [below.removesuffix(os.sep + "__init__.py")]
        return self.find_spec(name, path) if path is not None else None

    def _namespace_spec(self, fullname: str, folders: list[str]) -> ModuleSpec | None:
        if not self._folder.holds_any(folders):
            return None
        spec = ModuleSpec(fullname, NamespaceLoader(), is_package=True)
        spec.submodule_search_locations = folders
        spec.loader_state = self
        return spec


class _ActiveFinder(MetaPathFinder):
    """Asks the finder of the context's project; one of it serves every project of the process."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        finder = _active.get()
        return finder.find_spec(fullname, path, target) if finder is not None else None


_ACTIVE_FINDER = _ActiveFinder()


def finder_of(module: ModuleType) -> ProjectFinder | None:
    """The finder that found a module, which tells whose module it is."""
    spec = getattr(module, "__spec__", None)
    state = getattr(spec, "loader_state", None)
    return state if isinstance(state, ProjectFinder) else None


def is_own(name: str) -> bool:
    """Whether a module name is hamdev's own; hamdev never reloads itself."""
    return name == _OWN_PACKAGE or name.startswith(_OWN_PACKAGE + ".")


def forget_listings(folder: ProjectFolder) -> None:
    """Let the import system see files that appeared within their folders' time resolution."""
    libraries = (sys.prefix + os.sep, sys.base_prefix + os.sep)
    for path, finder in list(sys.path_importer_cache.items()):
        below = (path + os.sep).startswith(folder.prefix)
        if finder is None:
            if below:
                # Asked for before the folder existed; it would stay invisible.
                sys.path_importer_cache.pop(path, None)
        elif (below or not path.startswith(libraries)) and hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()
