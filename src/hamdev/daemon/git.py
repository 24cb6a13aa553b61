"""Is git at work on these files? Then what they hold now is not what they are going to hold."""

# ruff: noqa: PTH110, PTH116, PTH118, PTH120 - asked at every save; `Path` costs more than the stat

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hamdev.content import file_content

# A lock that exists while nothing is written for so long was left behind, or does not concern us.
PATIENCE_S = 3.0
# So long at most, however much is written.
MAX_PATIENCE_S = 30.0
# Between two steps of a rebase there is no lock, but git's folder has just been written to.
STEP_S = 0.3

# They exist from the first to the last step, also while people resolve a conflict.
_STEPWISE = ("rebase-merge", "rebase-apply", "sequencer")

# Inode and time of a lock: those of another command's are others.
Lock = tuple[int, int]


@dataclass(slots=True)
class _Waiting:
    since: float
    lock: Lock | None


class GitWatch:
    """Tells whether a checkout, rebase or the like is going on, from the traces that it leaves.

    A lock that stays is given up on, once, with a warning.

    Args:
        warn: receives a sentence for people.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._waiting: dict[str, _Waiting] = {}
        self._given_up: dict[str, Lock | None] = {}

    def is_busy(self, files: Iterable[str], written_at: float, now: float, wall: float) -> bool:
        """Whether git is at work in a repository of one of `files`.

        Args:
            files: paths.
            written_at: when one of them was last written, on the clock of `now`.
            now: of a steady clock, in seconds.
            wall: of the clock that files are dated by, in seconds.
        """
        # Each is asked: one that waits must not lengthen the patience with another.
        at_work = [self._is_at_work(g, written_at, now, wall) for g in git_folders(files)]
        return any(at_work)

    def _is_at_work(self, folder: str, written_at: float, now: float, wall: float) -> bool:
        lock = _lock(os.path.join(folder, "index.lock"))
        if lock is None:
            self._given_up.pop(folder, None)
            if not _is_between_steps(folder, wall):
                self._waiting.pop(folder, None)
                return False
        elif self._given_up.get(folder) == lock:
            return False
        waiting = self._waiting.get(folder)
        if waiting is None or lock not in (None, waiting.lock):
            # Another command: it gets its own time, from when it began.
            age = 0.0 if lock is None else max(wall - lock[1] / 1e9, 0.0)
            waiting = self._waiting[folder] = _Waiting(now - age, lock)
        is_quiet = now - max(waiting.since, written_at) >= PATIENCE_S
        if not is_quiet and now - waiting.since < MAX_PATIENCE_S:
            return True
        del self._waiting[folder]
        if lock is not None:
            self._given_up[folder] = lock
            self._warn(
                f"{os.path.join(folder, 'index.lock')} stays, so saves are taken in though a git "
                "command may be at work. If none is, remove that file."
            )
        return False


def git_folders(files: Iterable[str]) -> set[str]:
    """The folders in which git keeps the state of the work trees that `files` are in."""
    found: dict[str, str | None] = {}
    for folder in {os.path.dirname(file) for file in files}:
        climbed = []
        place = folder
        while place not in found:
            climbed.append(place)
            git, above = _git_folder(place), os.path.dirname(place)
            if git is not None or above == place:
                found[place] = git
                break
            place = above
        found.update(dict.fromkeys(climbed, found[place]))
    return {git for git in found.values() if git is not None}


def _git_folder(place: str) -> str | None:
    path = os.path.join(place, ".git")
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return path
        # A linked work tree or a submodule.
        content = file_content(path, 4096).decode("utf-8", "surrogateescape")
        kind, _, target = content.rstrip("\r\n").partition(": ")
    except OSError:
        return None
    return os.path.join(place, target) if kind == "gitdir" else None


def _lock(path: str) -> Lock | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


def _is_between_steps(folder: str, wall: float) -> bool:
    try:
        age = wall - os.stat(folder).st_mtime
    except OSError:
        return False
    # It may be negative: git went on since the clock was read.
    if abs(age) >= STEP_S:
        return False
    return any(os.path.exists(os.path.join(folder, name)) for name in _STEPWISE)
