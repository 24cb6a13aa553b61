"""Files that code asks about without opening them: is it there, how large is it, how old?

No audit event tells of that, so `os.stat`, which every such question of Python's own libraries ends
in, is replaced by one that tells.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from hamdev.pipeline.own_reads import is_unobserved, unobserved

# Their functions ask `os.stat` on behalf of who called them.
_ASKED_THROUGH = frozenset({"genericpath", "posixpath", "pathlib", "functools"})
_NOT_ASKED_FOR_DATA = ("hamdev", "importlib", "linecache", "inspect")
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib", "/etc/")


def hear_questions(tell: Callable[[str], None]) -> None:
    """Let `tell` know of each path that code asks about, for the life of the process.

    That a file is there says less than what it holds. But who asks for the one most often reads the
    other, and to take the names in its folder for it would make every new neighbour a change.
    """
    original = os.stat

    @functools.wraps(original)
    def asked(path: Any, *arguments: Any, **keywords: Any) -> os.stat_result:
        try:
            answer = original(path, *arguments, **keywords)
        except OSError:
            _tell(path, None, tell)
            raise
        _tell(path, answer, tell)
        return answer

    for functions in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks):
        if original in functions:
            functions.add(asked)
    os.stat = asked


def _tell(path: Any, answer: os.stat_result | None, tell: Callable[[str], None]) -> None:
    if is_unobserved() or isinstance(path, int):
        return
    if answer is not None and not stat.S_ISREG(answer.st_mode):
        return
    with unobserved():
        try:
            text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # not `resolve`: it may be a link
            if not text.startswith(_SYSTEM) and _is_asked_for_data():
                tell(text)
        except Exception:
            return  # it must not disturb the program that asks


def _is_asked_for_data() -> bool:
    """Whether it is not Python's import system, say, that asks."""
    frame: FrameType | None = sys._getframe(3)
    while frame is not None:
        if (module := _top(frame.f_globals.get("__name__", ""))) not in _ASKED_THROUGH:
            return module not in _NOT_ASKED_FOR_DATA
        frame = frame.f_back
    return False


def _top(module: str) -> str:
    return module.partition(".")[0]
