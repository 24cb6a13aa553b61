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
from typing import Any

from hamdev.pipeline.own_reads import is_unobserved, unobserved

# Their functions ask `os.stat` on behalf of who called them.
_ASKED_THROUGH = frozenset({"genericpath", "posixpath", "pathlib", "functools"})
_IS_IT_THERE = frozenset({"exists", "isfile", "isdir", "is_file", "is_dir", "_exists"})
_NOT_ASKED_FOR_DATA = ("hamdev", "importlib", "linecache", "inspect")
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib", "/etc/")


def hear_questions(tell: Callable[[str], None]) -> None:
    """Let `tell` know of each path whose content, or whose folder's names, an answer depends on.

    Of a file that is there and whose presence alone was asked for, that is its folder. It stays so
    for the life of the process.
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
            if text.startswith(_SYSTEM) or (is_presence := _presence_alone()) is None:
                return
            tell(text if answer is None or not is_presence else os.path.dirname(text))  # noqa: PTH120
        except Exception:
            return  # it must not disturb the program that asks


def _presence_alone() -> bool | None:
    """Whether only the presence of a file is asked for; None if it is not asked for as data."""
    frame = sys._getframe(3)
    is_presence = False
    while (module := _top(frame.f_globals.get("__name__", ""))) in _ASKED_THROUGH:
        is_presence = is_presence or frame.f_code.co_name in _IS_IT_THERE
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None if module in _NOT_ASKED_FOR_DATA else is_presence


def _top(module: str) -> str:
    return module.partition(".")[0]
