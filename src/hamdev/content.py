"""What a path holds, as a short text: equal for equal content, in daemon and worker alike."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

MAX_HASHED_BYTES = 64 * 1024 * 1024
_CHUNK = 1024 * 1024
_UNREAD = "large-"
# What is written to a database of SQLite is in here for a while. Readers make an empty one.
SQLITE_LOG = "-wal"
# Within one tick of a file system's clock a second write leaves no trace in the stat data.
_TICK_S = 0.1
_WHOLE_SECONDS_TICK_S = 2.1

Signature = tuple[int, ...]


def content_digest(path: str) -> str | None:
    """A digest of a file's content or of a folder's names; None if there is neither.

    Of a file over 64 MiB it tells size, time and inode instead (see `is_read`): reading it takes
    too long. The time is that of the last change, which nobody can set back.
    """
    try:
        with open(path, "rb", opener=_opener) as file:  # Path.open takes no opener
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return None
            if status.st_size > MAX_HASHED_BYTES:
                return f"{_UNREAD}{status.st_size}-{status.st_ctime_ns}-{status.st_ino}"
            if _is_empty_log(path, status):
                return None
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
            return digest.hexdigest()
    except IsADirectoryError:
        return _names_digest(path)
    except (OSError, ValueError):
        return None


def file_content(path: str, max_bytes: int = -1) -> bytes:
    """What a file begins with, and never a wait for somebody who writes to a pipe.

    Args:
        path: of a regular file.
        max_bytes: so much is read at most; all of it if negative.

    Raises:
        OSError: there is no file, or it cannot be read.
    """
    with open(path, "rb", opener=_opener) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
        return file.read(max_bytes)


def small_content(path: str, max_bytes: int) -> bytes | None:
    """A file's content; None if there is no file, or a larger one."""
    try:
        content = file_content(path, max_bytes + 1)
    except (OSError, ValueError):
        return None
    return content if len(content) <= max_bytes else None


def is_read(digest: str) -> bool:
    """Whether a digest is one of the content itself."""
    return not digest.startswith(_UNREAD)


def is_proof(found: Signature | None, wall: float) -> bool:
    """Whether every change after this moment, `wall`, is bound to change a signature.

    Args:
        found: its second number is the time of the last change, in nanoseconds.
        wall: what `time.time` said just before the signature was taken.
    """
    if found is None:
        return True
    changed_at = found[1] / 1e9
    tick = _TICK_S if found[1] % 1_000_000_000 else _WHOLE_SECONDS_TICK_S
    # A time in the future is another machine's; there is no waiting for it to pass.
    return wall - changed_at >= tick or changed_at > wall + 1.0


def signature(path: str) -> Signature | None:
    """What `stat` tells of a path: while it stays the same, so does the content; see `is_proof`.

    For a folder, its names are looked at later; its time alone says whether they may have changed.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  # many small files, and Path costs as much as stat
    except (OSError, ValueError):
        return None
    if _is_empty_log(path, status):
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _is_empty_log(path: str, status: os.stat_result) -> bool:
    return status.st_size == 0 and path.endswith(SQLITE_LOG)


def _opener(path: str, flags: int) -> int:
    # A pipe or device must not make us wait.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _names_digest(path: str) -> str | None:
    try:
        names = sorted(os.listdir(path))  # noqa: PTH208  # names alone are wanted
    except OSError:
        return None
    return "names-" + hashlib.sha256("\0".join(names).encode(errors="surrogateescape")).hexdigest()
