"""A project's folder: which files, folders and module names belong to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from hamdev.core.module_names import attempted_names, candidate_files, package_of

_SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__"})


class ProjectFolder:
    """Answers questions about names and paths below one folder; it loads nothing.

    Args:
        root: the project's folder.
        pipelines_dir: the folder, relative to `root`, in which short module names are looked up.

    Attributes:
        root: absolute, symbolic links resolved.
        prefix: `root` as text, with the separator that every path below it starts with.
    """

    def __init__(self, root: Path, pipelines_dir: str) -> None:
        self.root = root.resolve()
        self.prefix = str(self.root).rstrip(os.sep) + os.sep
        self._package = package_of(pipelines_dir)
        self._verdicts: dict[str, bool] = {}
        self._real_folders: dict[str, str] = {}

    def owns(self, file: str | None) -> bool:
        """Whether `file` is one of the project's own Python sources, not a library's."""
        if file is None or not file.endswith(".py"):
            return False
        if (known := self._verdicts.get(file)) is None:
            known = self._verdicts[file] = self._judge(file)
        return known

    def _judge(self, file: str) -> bool:
        # Asked at once for all modules of a process, so no `Path` is made.
        absolute = os.path.abspath(file)  # noqa: PTH100
        folder, name = os.path.split(absolute)
        if (real := self._real_folders.get(folder)) is None:
            real = self._real_folders[folder] = os.path.realpath(folder)
        paths = [absolute, os.path.join(real, name)]  # noqa: PTH118
        if os.path.islink(absolute):  # noqa: PTH114
            paths.append(os.path.realpath(absolute))
        for path in paths:
            if not path.startswith(self.prefix):
                continue
            if not _SKIPPED_FOLDERS.isdisjoint(path[len(self.prefix) :].split("/")):
                continue
            # An environment inside the project is a library's place; a project inside an
            # environment's prefix (such as /usr) is still a project.
            return not any(
                _is_below(path, prefix) and not _is_below(str(self.root), prefix)
                for prefix in (sys.prefix, sys.base_prefix)
            )
        return False

    def holds_any(self, folders: Iterable[str]) -> bool:
        """Whether one of these folders lies below the project's."""
        return any((os.path.realpath(f) + os.sep).startswith(self.prefix) for f in folders)

    def attempted_names(self, name: str) -> list[str]:
        """The module names to try for `name`, in order."""
        return attempted_names(name, self._package)

    def candidate_files(self, module: str) -> list[str]:
        """The files below the folder that would make `module` importable."""
        return candidate_files(module, str(self.root))

    def path_of(self, module: str) -> str | None:
        """The file, or for a namespace the folder, that there is for a module name."""
        # Asked for every imported name of every module at every load, so no `Path` is made.
        base = self.prefix + module.replace(".", os.sep)
        for file in (os.path.join(base, "__init__.py"), base + ".py"):  # noqa: PTH118
            if os.path.isfile(file):  # noqa: PTH113
                return file
        return base if os.path.isdir(base) else None  # noqa: PTH112


def _is_below(path: str, folder: str) -> bool:
    return (path + os.sep).startswith(folder.rstrip(os.sep) + os.sep)
