"""Executing the modules of a project from their texts, without files and without leftovers."""

from __future__ import annotations

import builtins
import decimal
import importlib
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType


class _Finder(MetaPathFinder, InspectLoader):
    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = {name.removesuffix(".__init__"): text for name, text in sources.items()}
        self._packages = {name.removesuffix(".__init__") for name in sources if "__init__" in name}
        for name in self._sources:
            parent = name.rpartition(".")[0]
            if parent and parent not in self._sources:
                self._packages.add(parent)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self._sources or fullname in self._packages:
            return ModuleSpec(fullname, self, is_package=fullname in self._packages)
        return None

    def get_source(self, fullname: str) -> str:
        return self._sources.get(fullname, "")

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_source(fullname)
        return compile(text, f"<{fullname}>", "exec", dont_inherit=True)

    def is_package(self, fullname: str) -> bool:
        return fullname in self._packages

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), vars(module))


@contextmanager
def loaded(sources: Mapping[str, str]) -> Iterator[dict[str, ModuleType]]:
    """The modules, executed in the order given; what they did to the process is undone after."""
    finder = _Finder(sources)
    names = [name.removesuffix(".__init__") for name in sources]
    environ, state, context = dict(os.environ), random.getstate(), decimal.getcontext().copy()
    functions = dict(vars(builtins))
    sys.meta_path.insert(0, finder)
    try:
        random.seed(0)
        for name in names:
            importlib.import_module(name)
        yield {name: sys.modules[name] for name in names}
    finally:
        sys.meta_path.remove(finder)
        tops = {name.partition(".")[0] for name in names}
        for name in [found for found in sys.modules if found.partition(".")[0] in tops]:
            del sys.modules[name]
        vars(builtins).update(functions)
        os.environ.clear()
        os.environ.update(environ)
        random.setstate(state)
        decimal.setcontext(context)
