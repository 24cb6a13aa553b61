"""`[watch] data` and `ignore`: which files and folders they mean.

A pattern of `data` is a path relative to the project, or an absolute one, in which `*`, `?`, `[…]`
stand for parts of a name and `**` for any folders. `ignore` and `.gitignore` are gitignore
patterns. A folder that `data` names outright is looked at even if git ignores it, as large data
often is; below it, folders that git ignores are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from hamdev.content import file_content

USUAL_IGNORED = (
    ".git/", ".hg/", ".svn/", ".venv/", "venv/", "node_modules/", "__pycache__/", ".hamdev/",
    ".ipynb_checkpoints/", ".mypy_cache/", ".pytest_cache/", ".ruff_cache/", ".tox/", ".nox/",
)  # fmt: skip
_MAGIC = frozenset("*?[")


def require_valid(patterns: Iterable[str]) -> None:
    """Check gitignore patterns.

    Raises:
        ValueError: one of them is none; the text says which and why.
    """
    for pattern in patterns:
        if not pattern.strip():
            raise ValueError("a pattern is empty")
        try:
            GitIgnoreSpec.from_lines([pattern])
        except ValueError as error:
            raise ValueError(f"{pattern!r} is no pattern: {error}") from error


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One pattern of `data`.

    Attributes:
        base: the folder that it begins in; what comes after has wildcards.
        rest: matches what is below the base.
    """

    base: str
    rest: GitIgnoreSpec


class DataPatterns:
    """The data files of a project, as its settings name them.

    Args:
        root: the project's folder.
        data: the patterns.
        ignore: gitignore patterns of what is no data, wherever it is.
    """

    def __init__(self, root: Path, data: Sequence[str], ignore: Sequence[str]) -> None:
        self._root = str(root)
        self._patterns = [_parsed(self._root, pattern) for pattern in data]
        self._ignore = GitIgnoreSpec.from_lines(ignore)
        self._usual = GitIgnoreSpec.from_lines([*USUAL_IGNORED, *ignore])

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def is_ignored(self, path: str) -> bool:
        """Whether the settings say that a file is no data."""
        return bool(self._ignore.patterns) and self._ignore.match_file(self._relative(path))

    def matches(self, path: str) -> bool:
        """Whether a file is one of those that `data` names."""
        return not self.is_ignored(path) and any(
            path.startswith(pattern.base + os.sep)
            and pattern.rest.match_file(path[len(pattern.base) + 1 :])
            for pattern in self._patterns
        )

    def folders(self) -> list[str]:
        """All folders in which such a file may be now."""
        git = GitIgnoreSpec.from_lines(_lines(os.path.join(self._root, ".gitignore")))  # noqa: PTH118
        return sorted({f for pattern in self._patterns for f in self._walk(pattern.base, git)})

    def files(self) -> list[str]:
        """All such files that there are now."""
        return sorted(
            path
            for folder in self.folders()
            for name in _names(folder)
            if self.matches(path := f"{folder}/{name}")
        )

    def _walk(self, base: str, git: GitIgnoreSpec) -> Iterator[str]:
        # Links to folders are not followed: they may lead in circles.
        for folder, below, _ in os.walk(base):
            yield folder
            below[:] = [
                name
                for name in below
                if not self._usual.match_file(f"{name}/")
                and not self._ignore.match_file(self._relative(f"{folder}/{name}") + "/")
                and not git.match_file(self._relative(f"{folder}/{name}") + "/")
            ]

    def _relative(self, path: str) -> str:
        return path[len(self._root) + 1 :] if path.startswith(self._root + os.sep) else path


def _parsed(root: str, pattern: str) -> _Pattern:
    parts = os.path.expanduser(pattern).split("/")  # noqa: PTH111 - the parts are text
    plain = 0
    while plain < len(parts) - 1 and _MAGIC.isdisjoint(parts[plain]):
        plain += 1
    base = os.path.normpath(os.path.join(root, "/".join(parts[:plain]) or "."))  # noqa: PTH118
    if pattern.startswith("/"):
        base = os.path.normpath("/" + "/".join(parts[1:plain]))
    return _Pattern(base, GitIgnoreSpec.from_lines(["/" + "/".join(parts[plain:])]))


def _lines(file: str) -> list[str]:
    try:
        return file_content(file).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _names(folder: str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if not entry.is_dir()]
    except OSError:
        return []
