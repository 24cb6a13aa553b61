"""Which lines a save has changed: texts of modules as they were and as they are."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hamdev.content import small_content
from hamdev.texts import KeptTexts, Replacement, replacements, text_with

MAX_FILE_BYTES = 256 * 1024
MAX_KEPT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines of a file that stand in place of others."""

    file: str
    lines: Replacement


class Texts:
    """The texts of modules as they were last loaded."""

    def __init__(self) -> None:
        self._texts = KeptTexts(MAX_KEPT_BYTES)
        self._last: tuple[int, list[Edit], bool] = 0, [], False

    def remember(self, contents: Mapping[str, str | None], files: Iterable[str] = ()) -> None:
        """Keep the present text of modules that are not known, and of `files`.

        Args:
            contents: file → the digest of what it held when it was loaded.
            files: those that were saved.
        """
        self._texts.forget_others(contents)
        wanted = [file for file in contents if file.endswith(".py") and file not in self._texts]
        for file in {*wanted, *(file for file in files if file.endswith(".py"))}:
            text = text_with(contents.get(file), file, MAX_FILE_BYTES)
            if text is not None:
                self._texts.keep(file, text)
            else:
                self._texts.forget(file)

    def edits(
        self, revision: int, files: Iterable[str], contents: Mapping[str, str | None]
    ) -> tuple[list[Edit], bool]:
        """What has changed in `files`, and whether all of it was comments or formatting."""
        if self._last[0] == revision:
            return self._last[1:]  # of another pipeline that the files belong to
        found: list[Edit] = []
        is_cosmetic = True
        for file in files:
            before = self._texts.get(file)
            after = text_with(contents.get(file), file, MAX_FILE_BYTES)
            if before is None or after is None or not file.endswith(".py"):
                is_cosmetic = False
                continue
            found += [Edit(file, lines) for lines in replacements(before, after)]
            is_cosmetic = is_cosmetic and _means_the_same(before, after)
        self._last = revision, found, is_cosmetic
        return found, is_cosmetic


def line_of(file: str, number: int) -> str | None:
    """A line of a file as it is now."""
    content = small_content(file, MAX_FILE_BYTES)
    lines = content.decode("utf-8", "replace").splitlines() if content is not None else []
    return lines[number - 1] if 0 < number <= len(lines) else None


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
