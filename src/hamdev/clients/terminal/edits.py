"""Which lines a save has changed: texts of modules as they were and as they are."""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hamdev.content import small_content

MAX_FILE_BYTES = 256 * 1024
MAX_KEPT_BYTES = 16 * 1024 * 1024
# Beyond so many lines between the first and the last change, looking for them takes too long.
MAX_LINES = 600


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines that stand in place of others.

    Attributes:
        line: 1-based, of the first new line; where nothing was added, of what follows.
        before: what was there.
        after: what is there now.
    """

    file: str
    line: int
    before: tuple[str, ...]
    after: tuple[str, ...]


class Texts:
    """The texts of modules as they were last loaded.

    A text counts only if its digest is the one that the daemon knows of the file; what was read a
    moment too late is of another revision.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._bytes = 0
        self._last: tuple[int, list[Edit], bool] = 0, [], False

    def remember(self, contents: Mapping[str, str | None], files: Iterable[str] = ()) -> None:
        """Keep the present text of modules that are not known, and of `files`.

        Args:
            contents: file → the digest of what it held when it was loaded.
            files: those that were saved.
        """
        wanted = [file for file in contents if file.endswith(".py") and file not in self._texts]
        for file in {*wanted, *(file for file in files if file.endswith(".py"))}:
            self._bytes -= len(self._texts.pop(file, ""))
            text = _text(file, contents.get(file))
            if text is not None and self._bytes + len(text) <= MAX_KEPT_BYTES:
                self._texts[file] = text
                self._bytes += len(text)

    def edits(
        self, revision: int, files: Iterable[str], contents: Mapping[str, str | None]
    ) -> tuple[list[Edit], bool]:
        """What has changed in `files`, and whether all of it was comments or formatting."""
        if self._last[0] == revision:
            return self._last[1:]  # of another pipeline that the files belong to
        found: list[Edit] = []
        is_cosmetic = True
        for file in files:
            before, after = self._texts.get(file), _text(file, contents.get(file))
            if before is None or after is None or not file.endswith(".py"):
                is_cosmetic = False
                continue
            found += changed_lines(file, before, after)
            is_cosmetic = is_cosmetic and _means_the_same(before, after)
        self._last = revision, found, is_cosmetic
        return found, is_cosmetic


def line_of(file: str, number: int) -> str | None:
    """A line of a file as it is now."""
    content = small_content(file, MAX_FILE_BYTES)
    lines = content.decode("utf-8", "replace").splitlines() if content is not None else []
    return lines[number - 1] if 0 < number <= len(lines) else None


def changed_lines(file: str, before: str, after: str) -> list[Edit]:
    """The places in which two texts differ; empty if that is too much to look at."""
    old, new = before.splitlines(), after.splitlines()
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    if len(old) > MAX_LINES or len(new) > MAX_LINES:
        return []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [
        Edit(file, start + k + 1, tuple(old[i:j]), tuple(new[k:m]))
        for tag, i, j, k, m in matcher.get_opcodes()
        if tag != "equal"
    ]


def _text(file: str, digest: str | None) -> str | None:
    content = small_content(file, MAX_FILE_BYTES) if digest is not None else None
    if content is None or hashlib.sha256(content).hexdigest() != digest:
        return None
    return content.decode("utf-8", "replace")


def _means_the_same(before: str, after: str) -> bool:
    meaning = _meaning(before)
    return meaning is not None and meaning == _meaning(after)


def _meaning(text: str) -> str | None:
    """What is left of a module without comments, formatting and docstrings."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                    node.body = rest
    return ast.dump(tree)
