"""Does a file look as if somebody were still writing it? Bytes in, the reason for doubt out."""

from __future__ import annotations

import json
import re
import tomllib
import warnings
from collections.abc import Callable
from pathlib import PurePath

# Larger files are not looked into: that would take longer than what it may save.
MAX_BYTES = 256 * 1024

_MARKERS = (
    re.compile(rb"^<{7}(?: |$)", re.MULTILINE),
    re.compile(rb"^={7}\r?$", re.MULTILINE),
    re.compile(rb"^>{7}(?: |$)", re.MULTILINE),
)


def why_unfinished(path: str, content: bytes) -> str | None:
    """What makes `content` look like less than what somebody means to save; None if nothing does.

    Args:
        path: of the file; its suffix says what the content has to be.
        content: all that the file holds.
    """
    if not content:
        return "is empty"
    if len(content) > MAX_BYTES:
        return None
    if all(marker.search(content) for marker in _MARKERS):
        return "has conflict markers"
    parse = _PARSERS.get(PurePath(path).suffix)
    if parse is not None:
        try:
            parse(content)
        except (RecursionError, MemoryError):
            return None  # too deep to tell
        except ValueError as error:
            return f"does not parse: {error}"
    return None


def _parse_python(content: bytes) -> None:
    with warnings.catch_warnings():
        # They are the user's, and the worker tells of them.
        warnings.simplefilter("ignore")
        try:
            compile(content, "<saved>", "exec", dont_inherit=True)
        except SyntaxError as error:
            raise ValueError(str(error)) from error


_PARSERS: dict[str, Callable[[bytes], object]] = {
    ".py": _parse_python,
    ".toml": lambda content: tomllib.loads(content.decode()),
    ".json": json.loads,
}
