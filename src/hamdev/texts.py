"""Which lines of a file a save has changed: texts that are kept for it, and their comparison."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from hamdev.content import small_content

# Comparing takes the product of both lengths; what is longer is one replacement.
MAX_COMPARED_LINES = 1000


@dataclass(frozen=True, slots=True)
class Replacement:
    """Lines that stand in place of others.

    Attributes:
        line: 1-based, of the first new line; where nothing was added, of what follows.
        before: what was there.
        after: what is there now.
    """

    line: int
    before: tuple[str, ...]
    after: tuple[str, ...]


class KeptTexts:
    """Texts of files, as long as there is room for them.

    Args:
        max_bytes: of all of them together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._texts: dict[str, str] = {}
        self._bytes = 0

    def __contains__(self, file: str) -> bool:
        return file in self._texts

    def get(self, file: str) -> str | None:
        """The text that is kept of a file; None if there is none."""
        return self._texts.get(file)

    def keep(self, file: str, text: str) -> None:
        """Keep a text in place of the one before; forget that one also where there is no room."""
        self.forget(file)
        if self._bytes + len(text) <= self._max_bytes:
            self._texts[file] = text
            self._bytes += len(text)

    def forget_others(self, files: Collection[str]) -> None:
        """Keep no text of a file that is not one of these: nobody tells when it changes."""
        for file in self._texts.keys() - set(files):
            self.forget(file)

    def forget(self, file: str) -> None:
        """Keep no text of a file."""
        self._bytes -= len(self._texts.pop(file, ""))


def text_with(digest: str | None, file: str, max_bytes: int) -> str | None:
    """A file's text, if its content is the one that is known.

    What is read a moment too late is of another revision, and shown for none.

    Args:
        digest: of the content, from `content_digest`; None if there was none.
        file: its path.
        max_bytes: of larger ones there is no text.
    """
    content = small_content(file, max_bytes) if digest is not None else None
    if content is None or hashlib.sha256(content).hexdigest() != digest:
        return None
    return content.decode("utf-8", "replace")


def replacements(before: str, after: str) -> list[Replacement]:
    """The places in which two texts differ, in order."""
    old, new = before.splitlines(), after.splitlines()
    shorter = min(len(old), len(new))
    start = 0
    while start < shorter and old[start] == new[start]:
        start += 1
    end = 0
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    if max(len(old), len(new)) > MAX_COMPARED_LINES:
        return [Replacement(start + 1, tuple(old), tuple(new))]
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [
        Replacement(start + new_start + 1, tuple(old[i:j]), tuple(new[new_start:new_end]))
        for tag, i, j, new_start, new_end in matcher.get_opcodes()
        if tag != "equal"
    ]
