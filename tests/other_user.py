"""Another user, for tests that need one: a process of uid 65534, which only root can start."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

UID = 65534

needs_root = pytest.mark.skipif(
    os.getuid() != 0, reason="only root can start a process of another user; CI does"
)


def as_other_user(function: Callable[[], Any]) -> Any:
    """What `function` returns, as JSON, or the name of what it raises, as the other user.

    The process is forked, since the other user may be unable to reach this interpreter's files; so
    the function must import nothing.
    """
    with _forked(lambda say: say(_outcome(function))) as heard:
        return heard()


@contextmanager
def other_users_process(main: Callable[[Callable[[Any], None]], None]) -> Iterator[Any]:
    """A process of the other user while the block is open; yields the first thing that it says."""
    with _forked(main) as heard:
        yield heard()


def _outcome(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except OSError as error:
        return type(error).__name__


@contextmanager
def _forked(main: Callable[[Callable[[Any], None]], None]) -> Iterator[Callable[[], Any]]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_the_other_user(main, writing)
    os.close(writing)
    try:
        with os.fdopen(reading) as lines:
            yield lambda: json.loads(lines.readline())
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _be_the_other_user(main: Callable[[Callable[[Any], None]], None], writing: int) -> None:
    try:
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
        main(lambda value: _say(writing, value))
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(0)


def _say(writing: int, value: Any) -> None:
    os.write(writing, json.dumps(value).encode() + b"\n")
