"""Whose modules `sys.modules` holds: a project's while it is loaded, and what was there before."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from hamdev.pipeline.finder import ProjectFinder, finder_of
from hamdev.pipeline.folder import ProjectFolder


class ModuleTable:
    """`sys.modules`, which all projects of a process share, for one of them.

    Args:
        folder: of the project.
        finder: which has found the modules that are the project's.
    """

    def __init__(self, folder: ProjectFolder, finder: ProjectFinder) -> None:
        self._folder = folder
        self._finder = finder
        self._settled: _Settled | None = None
        self._was_settled = False

    def take(self, modules: Mapping[str, ModuleType]) -> dict[str, ModuleType]:
        """Make it hold the project's `modules` and no others in their place.

        Returns:
            What it held before, for `put_back` or `give_back`.
        """
        before = dict(sys.modules)
        self._was_settled = self._is_settled()
        if self._was_settled:
            return before
        tops = [name for name, module in before.items() if "." not in name and module is not None]
        shadowing = {name for name in tops if self._is_shadowed(name, before[name])}
        for name, module in before.items():
            if module is None:
                continue
            if name.partition(".")[0] in shadowing or self._is_others(module):
                del sys.modules[name]
        sys.modules.update(modules)
        if sys.modules == before:
            doubtful = {n for n in tops if self._may_be_shadowed(n, before[n])}
            self._settled = _Settled(before, doubtful)
        return before

    def put_back(self, before: Mapping[str, ModuleType]) -> None:
        """Make it hold what it held before `take`."""
        for name, module in list(sys.modules.items()):
            if module is not None and finder_of(module) is not None and name not in before:
                del sys.modules[name]
        sys.modules.update(before)

    def is_as_taken(self, before: Mapping[str, ModuleType]) -> bool:
        """Whether `take` found all in order, and nothing has changed since."""
        return self._was_settled and sys.modules == before

    def give_back(self, before: Mapping[str, ModuleType]) -> None:
        """Let it hold again what belongs to others; what a reload left out is gone."""
        for name, module in before.items():
            if name not in sys.modules and (
                module is None or finder_of(module) is not self._finder
            ):
                sys.modules[name] = module

    def present(self) -> dict[str, ModuleType]:
        """The project's modules that it holds."""
        return {
            name: module
            for name, module in list(sys.modules.items())
            if module is not None and finder_of(module) is self._finder
        }

    def _is_settled(self) -> bool:
        """Whether sys.modules is as it was when looking at all of it led to nothing."""
        settled = self._settled
        if settled is None or sys.modules != settled.modules:
            self._settled = None
            return False
        return not any(self._is_shadowed(n, settled.modules[n]) for n in settled.doubtful)

    def _is_others(self, module: ModuleType) -> bool:
        return finder_of(module) not in (None, self._finder)

    def _is_shadowed(self, name: str, present: ModuleType) -> bool:
        """Whether `present` stands, under this name, where this project's own module would be."""
        if (finder := finder_of(present)) is not None:
            return finder is not self._finder
        if not self._may_be_shadowed(name, present) or (ours := self._folder.path_of(name)) is None:
            return False
        theirs: str | None = getattr(present, "__file__", None)
        if theirs is None:
            return hasattr(present, "__path__") and not self._folder.holds_any(present.__path__)
        return os.path.realpath(theirs) != os.path.realpath(ours)

    def _may_be_shadowed(self, name: str, present: ModuleType) -> bool:
        """Whether a file that appears in the project's folder would take the place of `present`."""
        if name in sys.stdlib_module_names or finder_of(present) is not None:
            return False
        theirs: str | None = getattr(present, "__file__", None)
        return theirs is None or not theirs.startswith(
            (sys.prefix + os.sep, sys.base_prefix + os.sep)
        )


@dataclass(frozen=True)
class _Settled:
    """A sys.modules that needed no change to hold this project's modules, and no others'.

    Attributes:
        modules: a copy.
        doubtful: top-level modules whose place a file in the project's folder could take.
    """

    modules: dict[str, ModuleType]
    doubtful: set[str]
