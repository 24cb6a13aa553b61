"""Deciding what a reload replaces: the entries, what changed, and everything built on that."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from hamdev.core.graph import reachable
from hamdev.core.imports import ImportScan, scan_imports
from hamdev.pipeline.finder import ProjectFinder, finder_of, is_own
from hamdev.pipeline.folder import ProjectFolder
from hamdev.pipeline.patching import NotPatchableError
from hamdev.pipeline.sources import Source, read_source
from hamdev.pipeline.statements import Layout

ReloadMode = Literal["none", "changed", "all", "patch"]


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a reload takes out of `sys.modules`.

    Attributes:
        executed: modules that are to be executed again.
        packages: unchanged packages that hold one of those as an attribute.
    """

    executed: frozenset[str]
    packages: frozenset[str]


class Reloading:
    """Compares loaded modules with the disk, and follows imports from what differs.

    Args:
        folder: what belongs to the project.
        finder: what found the modules that are the project's.
    """

    def __init__(self, folder: ProjectFolder, finder: ProjectFinder) -> None:
        self._folder = folder
        self._finder = finder
        self._scans: dict[tuple[str, str], ImportScan] = {}
        self._absent: dict[str, frozenset[str]] = {}

    def scan(self, module: str, source: Source, layout: Layout | None = None) -> ImportScan:
        """The imports of a module's text; quickly if its layout is known."""
        key = (module, source.sha256)
        if key not in self._scans:
            is_package = os.path.basename(source.file) == "__init__.py"  # noqa: PTH119 - asked often
            if layout is not None:
                self._scans[key] = layout.imports(module, is_package)
            else:
                self._scans[key] = scan_imports(source.text, module, is_package)
        return self._scans[key]

    def forget_absent(self) -> None:
        """Another load is about to tell."""
        self._absent = {}

    def note_absent(self, sources: Mapping[str, Source]) -> None:
        """Remember which imported names have no file yet: `try: import x` may find one later."""
        self._absent = {
            module: frozenset(n for n in self.scan(module, source).names if self._is_absent(n))
            for module, source in sources.items()
        }

    def present_source(
        self, name: str, modules: Mapping[str, ModuleType], sources: Mapping[str, Source]
    ) -> Source | None:
        """The present text of one of the project's modules; the known one if it is the same.

        Returns:
            None for what is no module of the project with a text.

        Raises:
            NotPatchableError: it is found elsewhere than where it was loaded from, or something
                that it wanted in vain has appeared.
        """
        known = sources.get(name)
        if known is None:
            if name in sys.modules and finder_of(sys.modules[name]) is not self._finder:
                return None
            file = self._folder.path_of(name)
            if file is None or not self._folder.owns(file):
                return None
            return _read(file)
        elsewhere = known.file.removesuffix(".py") + os.sep + "__init__.py"
        if os.path.isfile(elsewhere) or not os.path.isfile(known.file):  # noqa: PTH113 - many files
            raise NotPatchableError(f"{name!r} is found elsewhere by now")
        if any(self._folder.path_of(absent) for absent in self._absent.get(name, ())):
            raise NotPatchableError(f"a module that {name!r} tried to import has appeared")
        try:
            content = Path(known.file).read_bytes()
        except OSError as error:
            raise NotPatchableError(f"{name!r} cannot be read: {error}") from error
        if hashlib.sha256(content).hexdigest() == known.sha256:
            return known
        return _read(known.file)

    def replaced(
        self,
        starts: set[str],
        mode: ReloadMode,
        known: Iterable[str],
        sources: Mapping[str, Source],
    ) -> Replaced:
        """What to execute again so that the modules `starts` are as a new process has them.

        Args:
            starts: the names of the entries; they are always executed again.
            mode: `changed` or `all`.
            known: names of the project's modules as of the last load.
            sources: what they were loaded from.
        """
        loaded = {
            name: module
            for name, module in list(sys.modules.items())
            if module is not None and not is_own(name) and self._may_reload(name, module, starts)
        }
        imports = {name: self._imports(name, module, sources) for name, module in loaded.items()}
        reached = reachable(starts & loaded.keys(), lambda name: imports[name] & loaded.keys())
        if mode == "all":
            executed = reached | (set(known) & loaded.keys())
        else:
            # Another reload may have replaced what these modules hold, so every loaded module
            # of the project is a candidate, not only what these entries reach.
            candidates = reached | (set(known) & loaded.keys())
            changed = {n for n in candidates if self._has_changed(n, loaded[n], sources)}
            executed = reachable(
                (starts & loaded.keys()) | changed,
                lambda name: {user for user in candidates if name in imports[user]},
            )
        parents = {parent for name in executed for parent in _parents(name)}
        packages = {name for name in parents - executed if sys.modules.get(name) is not None}
        return Replaced(frozenset(executed), frozenset(packages))

    def _may_reload(self, name: str, module: ModuleType, starts: set[str]) -> bool:
        file = getattr(module, "__file__", None)
        return (
            finder_of(module) is self._finder
            or self._folder.owns(file)
            or (name in starts and file is not None and file.endswith(".py"))
        )

    def _imports(
        self, name: str, module: ModuleType, sources: Mapping[str, Source]
    ) -> frozenset[str]:
        source = _source(name, module, sources)
        if source is None:
            return frozenset()
        scan = self.scan(name, source)
        if scan.dynamic:
            return frozenset(sys.modules) - {name}
        return frozenset(n for n in scan.names if not _is_bare_package(n, sources)) - {name}

    def _has_changed(self, name: str, module: ModuleType, sources: Mapping[str, Source]) -> bool:
        present = self._finder.find_present(name)
        file = getattr(module, "__file__", None)
        if file is None:
            return present is not None and present.origin is not None
        known = sources.get(name)
        if known is None or finder_of(module) is not self._finder:
            return True  # imported by others, perhaps from a .pyc; its text is not known
        if present is not None and os.path.realpath(present.origin or "") != os.path.realpath(file):
            return True
        if any(self._folder.path_of(absent) for absent in self._absent.get(name, ())):
            return True
        try:
            return hashlib.sha256(Path(known.file).read_bytes()).hexdigest() != known.sha256
        except OSError:
            return True

    def _is_absent(self, name: str) -> bool:
        if name in sys.modules or name.partition(".")[0] in sys.stdlib_module_names:
            return False
        parent = name.rpartition(".")[0]
        if parent:
            package = sys.modules.get(parent)
            if package is None or not self._folder.holds_any(getattr(package, "__path__", ())):
                return False
        return self._folder.path_of(name) is None


def _read(file: str) -> Source:
    try:
        return read_source(file)
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        # Loading it as a whole finds the same, and says it as Python does.
        raise NotPatchableError(f"{file} cannot be read: {error}") from error


def _source(name: str, module: ModuleType, sources: Mapping[str, Source]) -> Source | None:
    if (known := sources.get(name)) is not None:
        return known
    try:
        return read_source(getattr(module, "__file__", None) or "")
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def _is_bare_package(name: str, sources: Mapping[str, Source]) -> bool:
    """Whether `name` is a package without code, which is no dependency by itself."""
    module = sys.modules.get(name)
    if module is None or not hasattr(module, "__path__"):
        return False
    source = _source(name, module, sources)
    return source is None or not source.text.strip()


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
