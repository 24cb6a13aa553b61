"""Kept values of projects that are no more, removed from the user's cache.

Nobody else would: each project's daemon looks after its own values only. It notes beside them whose
they are. What is removed is a cache, but somebody's work made it, so it has to be certain: the note
names a folder that is not there, the name of the values' folder follows from that, and nobody has
used it for some time, as if the folder was only moved away or not mounted.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from hamdev.errors import RuntimeFolderError
from hamdev.paths import kept_values_folder, make_private_folder, project_key_of

UNUSED_S = 24 * 3600.0
# A start removes no more than this; the next one goes on.
MOST = 100

_NOTE = "project"
_FOLDER = re.compile(r"[0-9a-f]{16}")
_VALUE = re.compile(r"[0-9a-f]{8,128}(\.value|\.[0-9a-f]{16}\.part)|project(\.new)?")


def note_project(project: Path) -> None:
    """Note beside the kept values of a project that they are its own, and still in use."""
    folder = kept_values_folder(project)
    with contextlib.suppress(OSError, RuntimeFolderError):
        make_private_folder(folder)
        fresh = folder / f"{_NOTE}.new"
        fresh.write_bytes(os.fsencode(project.resolve()))
        fresh.replace(folder / _NOTE)


def remove_abandoned(values: Path, unused_s: float = UNUSED_S) -> list[str]:
    """Remove the kept values of projects that are no more.

    Several processes may do so at once; any of them may be killed meanwhile.

    Args:
        values: the folder with those of all projects.
        unused_s: for how many seconds nobody may have used them.

    Returns:
        The folders of those projects.
    """
    removed: list[str] = []
    try:
        names = sorted(os.listdir(values))  # noqa: PTH208  # names alone are wanted
    except OSError:
        return removed
    for name in names:
        if len(removed) == MOST:
            break
        with contextlib.suppress(OSError), _opened(values / name) as folder:
            project = _owner(name, folder)
            if project is not None and _is_gone(project) and _is_unused(folder, unused_s):
                _empty(folder)
                (values / name).rmdir()  # if something else is in there, it stays
                removed.append(os.fsdecode(project))
    return removed


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A descriptor of a folder that is ours alone; by it, nobody can put another in its place."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{str(folder)!r} is not ours alone")
        yield descriptor
    finally:
        os.close(descriptor)


def _owner(name: str, folder: int) -> bytes | None:
    """The project whose values are in a folder; None if that is not certain."""
    if not _FOLDER.fullmatch(name):
        return None
    note = os.open(_NOTE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(note, "rb") as file:
        project = file.read()
    is_real = Path(os.fsdecode(project)).is_absolute() and project_key_of(project) == name
    return project if is_real else None


def _is_gone(project: bytes) -> bool:
    try:
        os.lstat(project)
    except (FileNotFoundError, NotADirectoryError):
        return True
    return False


def _is_unused(folder: int, unused_s: float) -> bool:
    """Whether nothing in there has been written or used lately: use sets a value's time."""
    with os.scandir(folder) as entries:
        times = [entry.stat(follow_symlinks=False).st_mtime for entry in entries]
    return max(times, default=0.0) < time.time() - unused_s


def _empty(folder: int) -> None:
    names = [name for name in os.listdir(folder) if _VALUE.fullmatch(name)]
    # The note comes last: who is killed before leaves what the next one finds.
    for name in sorted(names, key=lambda name: name == _NOTE):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
