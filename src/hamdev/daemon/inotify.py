"""Linux's own file events, without delay and without polling.

watchfiles looks at its queue every few milliseconds: a short interval costs idle time, a long one
delays every save, and it says nothing when the system's queue overflows. This waits on the
descriptor itself. Elsewhere than on Linux `is_available` is False.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

from hamdev.kernel_events import MAX_READ, ONLY_FOLDERS, OVERFLOW, parsed

_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF = 0x400, 0x800
_MASK = (_MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE) | (
    _DELETE_SELF | _MOVE_SELF | ONLY_FOLDERS
)
_CLOEXEC, _NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK

is_available = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Noticed:
    """What a batch of events says.

    Attributes:
        paths: of files and folders that something happened to.
        written: those among them that were closed after writing, or moved into their place: most
            likely they hold the whole of what somebody saved.
        is_incomplete: the system dropped events, so anything may have happened.
    """

    paths: frozenset[str]
    written: frozenset[str]
    is_incomplete: bool


async def follow(
    folders: Sequence[str],
    take: Callable[[Noticed], None],
    stop: anyio.Event,
    refused: Callable[[dict[str, OSError]], None],
) -> None:
    """Hand on events on `folders` and on what is directly in them, until `stop` is set.

    Args:
        folders: paths.
        take: receives the events, a batch at a time.
        stop: ends it.
        refused: receives once the folders on which the system gives no events, and why.

    Raises:
        OSError: the system gives no events at all.
    """
    with _watching(folders) as (descriptor, by_number, errors):
        refused(errors)
        async with anyio.create_task_group() as tasks:

            async def wait_for_stop() -> None:
                await stop.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(wait_for_stop)
            while True:
                await anyio.wait_readable(descriptor)
                take(_noticed(os.read(descriptor, MAX_READ), by_number))


def explained(error: OSError | RuntimeError) -> str:
    """Why the system gives no events, in words; its own ones are of full disks and open files."""
    if isinstance(error, RuntimeError):  # watchfiles' own
        return str(error)
    if error.errno == errno.ENOSPC:
        return "the limit fs.inotify.max_user_watches is reached. Way out: raise it with sysctl"
    if error.errno == errno.EMFILE:
        return (
            "the limit fs.inotify.max_user_instances, or that of open files (ulimit -n), is "
            "reached. Way out: raise it"
        )
    return error.strerror or str(error)


@contextmanager
def _watching(
    folders: Sequence[str],
) -> Iterator[tuple[int, dict[int, list[str]], dict[str, OSError]]]:
    import ctypes

    system = ctypes.CDLL(None, use_errno=True)
    descriptor = system.inotify_init1(_CLOEXEC | _NONBLOCK)
    if descriptor < 0:
        number_of_error = ctypes.get_errno()
        raise OSError(number_of_error, os.strerror(number_of_error))
    try:
        # One folder may have several names, and then has one number.
        by_number: dict[int, list[str]] = {}
        errors: dict[str, OSError] = {}
        for folder in folders:
            number = system.inotify_add_watch(descriptor, os.fsencode(folder), _MASK)
            if number < 0:
                number_of_error = ctypes.get_errno()
                # OSError makes the subclass that belongs to the number.
                errors[folder] = OSError(number_of_error, os.strerror(number_of_error), folder)
                continue
            by_number.setdefault(number, []).append(folder)
        yield descriptor, by_number, errors
    finally:
        os.close(descriptor)


def _noticed(events: bytes, by_number: dict[int, list[str]]) -> Noticed:
    paths: set[str] = set()
    written: set[str] = set()
    is_incomplete = False
    for number, mask, name in parsed(events):
        if mask & OVERFLOW:
            is_incomplete = True
        for folder in by_number.get(number, ()):
            path = os.path.join(folder, name) if name else folder  # noqa: PTH118 - text
            paths.add(path)
            if name and mask & (_CLOSE_WRITE | _MOVED_TO):
                written.add(path)
    return Noticed(frozenset(paths), frozenset(written), is_incomplete)
