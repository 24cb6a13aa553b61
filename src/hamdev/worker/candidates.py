"""Files that a node may read without Python noticing: what its texts and inputs seem to name."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping, Set
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from hamdev.pipeline.load_reads import ASKING

_MAX_PATH = 1024
_MAX_JOINED = 2000
_PATH_LIKE = re.compile(r"[^\s:*?]*\w+\.\w{1,8}")
_QUOTED = re.compile(r"""['"]([^'"\n]{1,1024})['"]""")


class _Said(NamedTuple):
    """What the code of a function says: texts that may be paths, and whether it asks for files."""

    pieces: frozenset[str]
    asks: bool


class Candidates:
    """Looks for such files, at each function's code only once: there is one of these for a run."""

    def __init__(self) -> None:
        self._said: dict[FunctionType, _Said] = {}

    def paths(
        self,
        function: Any,
        constants: Iterable[Any],
        inputs: Mapping[str, Any],
        asks: bool = False,
    ) -> frozenset[str]:
        """Files that exist, or that the code asks for; absolute.

        A name beside that of a folder may be one in it.

        Args:
            function: the node's own function.
            constants: what else its code refers to: module constants and helper functions.
            inputs: its inputs' values.
            asks: it asks for files, whatever its code says.
        """
        pieces: set[str] = set()
        texts: set[str] = set()
        for value in (function, *constants):
            if isinstance(value, FunctionType):
                said = self._of(value)
                pieces |= said.pieces
                asks = asks or said.asks
            else:
                _collect(value, texts)
        for value in inputs.values():
            if isinstance(value, FunctionType):
                pieces |= self._of(value).pieces
            else:
                _collect(value, texts)
        return _existing(pieces | _pieces(texts), asks)

    def _of(self, function: FunctionType) -> _Said:
        known = self._said.get(function)
        if known is None:
            texts: set[str] = set()
            _collect_code(function.__code__, texts)
            asks = not ASKING.isdisjoint(_names(function.__code__))
            known = self._said[function] = _Said(_pieces(texts), asks)
        return known


def _pieces(texts: set[str]) -> frozenset[str]:
    pieces = set(texts)
    for text in texts:
        if "'" in text or '"' in text:
            pieces.update(_QUOTED.findall(text))
    return frozenset(p for p in pieces if 0 < len(p) <= _MAX_PATH and "\0" not in p)


def _existing(pieces: Set[str], asks: bool) -> frozenset[str]:
    found: set[str] = set()
    folders: list[str] = []
    for piece in pieces:
        mode = _mode(piece)
        if stat.S_ISDIR(mode) and piece.strip("./"):
            folders.append(piece)
        if (path := _file(piece, mode, asks)) is not None:
            found.add(path)
    if folders and len(folders) * len(pieces) <= _MAX_JOINED:
        joined = {f"{folder}/{piece.lstrip('/')}" for folder in folders for piece in pieces}
        found |= {path for p in joined if (path := _file(p, _mode(p), False)) is not None}
    return frozenset(found)


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode  # noqa: PTH116  # `Path` raises if it is too long for a name
    except (OSError, ValueError):
        return 0


def _file(text: str, mode: int, asks: bool) -> str | None:
    """The absolute path of a file; `mode` is what the system says of the text as it stands."""
    if not ("." in text or "/" in text):
        return None
    is_asked_for = asks and _PATH_LIKE.fullmatch(text) is not None
    is_plain = ".." not in text and not text.endswith(("/", "/."))
    if is_plain and not stat.S_ISREG(mode) and not is_asked_for:
        return None
    # Not `resolve`: what the node opens is the link, and that may lead elsewhere tomorrow.
    path = os.path.abspath(text)  # noqa: PTH100
    is_file = os.path.isfile(path)  # noqa: PTH113  # see `_mode`
    return path if is_file or is_asked_for else None


def _names(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _collect(value: Any, texts: set[str]) -> None:
    if isinstance(value, str):
        texts.add(value)
    elif isinstance(value, os.PathLike):
        path = os.fspath(value)
        texts.add(os.fsdecode(path))
    elif isinstance(value, list | tuple) and len(value) <= 1000:
        for item in value:
            if isinstance(item, str | os.PathLike):
                _collect(item, texts)


def _collect_code(code: CodeType, texts: set[str]) -> None:
    for constant in code.co_consts:
        if isinstance(constant, str):
            texts.add(constant)
        elif isinstance(constant, CodeType):
            _collect_code(constant, texts)
