"""Entries of a pipeline, names or module objects, → the modules that they stand for."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from hamdev.errors import ModuleMissingError
from hamdev.pipeline.finder import ProjectFinder
from hamdev.pipeline.folder import ProjectFolder
from hamdev.pipeline.sources import SourceLoader

Entry = str | ModuleType


class Entries:
    """Finds and imports what a pipeline is made of.

    Args:
        folder: in which names are looked up.
        finder: the import system's way to the project's modules.

    Attributes:
        missing: files whose appearance would let a name be found that was not.
    """

    def __init__(self, folder: ProjectFolder, finder: ProjectFinder) -> None:
        self._folder = folder
        self._finder = finder
        self._successors: dict[int, ModuleType] = {}
        self.missing: set[str] = set()

    def name_of(self, entry: Entry) -> str:
        """The name of the module that an entry stands for.

        Raises:
            ModuleMissingError: there is none.
            BaseException: whatever a package raised that had to be executed to look into it.
        """
        return entry.__name__ if isinstance(entry, ModuleType) else self._find_name(entry)

    def attempted_names(self, entry: Entry) -> list[str]:
        """The module names that an entry may stand for, in the order in which they are tried."""
        if isinstance(entry, ModuleType):
            return [entry.__name__]
        return self._folder.attempted_names(entry)

    def imported(
        self, entries: Sequence[Entry], loaded: Mapping[str, ModuleType], reload: bool
    ) -> list[ModuleType]:
        """A module for each entry, in order, without duplicates.

        Args:
            entries: later ones win, and stay.
            loaded: the project's modules as they are known.
            reload: whether module objects are to be loaded anew from their files.

        Raises:
            BaseException: as `name_of`, and whatever a module raised while it was executed.
        """
        modules: dict[str, ModuleType] = {}
        for entry in entries:
            if isinstance(entry, ModuleType):
                module = self._current(entry, loaded, reload)
            else:
                module = self._import(self._find_name(entry), entry)
            # Dropping the earlier one of two keeps the order in which Hamilton lets nodes win.
            modules.pop(module.__name__, None)
            modules[module.__name__] = module
        return list(modules.values())

    def note_successors(self, entries: Sequence[Entry], modules: Sequence[ModuleType]) -> None:
        """Know from now on which module objects have been loaded anew."""
        by_name = {module.__name__: module for module in modules}
        for entry in entries:
            if isinstance(entry, ModuleType) and by_name.get(entry.__name__, entry) is not entry:
                self._successors[id(entry)] = entry

    def _current(
        self, entry: ModuleType, loaded: Mapping[str, ModuleType], reload: bool
    ) -> ModuleType:
        """The object itself, or what a reload made of it."""
        name = entry.__name__
        file = getattr(entry, "__file__", None)
        if reload and file is not None and file.endswith(".py"):
            spec = self._finder.find_present(name)
            if spec is not None and os.path.realpath(spec.origin or "") == os.path.realpath(file):
                return self._import(name, name)
            return self._execute_file(name, file)
        if id(entry) in self._successors:
            return loaded.get(name, entry)
        return entry

    def _execute_file(self, name: str, file: str) -> ModuleType:
        """Load a module that no import by its name would find, such as one loaded by its path."""
        loader = SourceLoader(name, file, self._finder.record)
        spec = importlib.util.spec_from_file_location(name, file, loader=loader)
        assert spec is not None  # it is None only for files whose loader is to be guessed
        spec.loader_state = self._finder
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        with _named(name, file):
            loader.exec_module(module)
        return module

    def _import(self, name: str, wanted: str) -> ModuleType:
        with _named(name, wanted):
            return importlib.import_module(name)

    def _find_name(self, wanted: str) -> str:
        attempted = self.attempted_names(wanted)
        for candidate in attempted:
            with _named(candidate, wanted):
                if self._find(candidate):
                    return candidate
        files = [f for name in attempted for f in self._folder.candidate_files(name)]
        candidates = [file for file in files if "-" not in Path(file).name]
        self.missing.update(candidates)
        raise ModuleMissingError(wanted, attempted, candidates)

    def _find(self, name: str) -> bool:
        if not all(name.split(".")) or "/" in name or name.endswith(".py"):
            return False
        if sys.modules.get(name) is not None:
            return True
        parent = name.rpartition(".")[0]
        try:
            if parent and not self._find(parent):
                return False
            spec: ModuleSpec | None = importlib.util.find_spec(name)
            return spec is not None
        except ModuleNotFoundError as error:
            # Only "the parent is not there" is an answer; an error inside a parent is the user's.
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                return False
            raise


@contextlib.contextmanager
def _named(name: str, wanted: str) -> Iterator[None]:
    """Let whatever is raised say which pipeline module it came from."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"hamdev: raised while importing pipeline module {name!r} ({wanted!r})")
        raise
