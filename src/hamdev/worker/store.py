"""Values on disk that outlive processes: a bounded folder with one file for each value.

Nothing in a file is believed before its checksum has been verified, and a file only gets its name
when it is complete. So any process can be killed at any instant, and several can share the folder
without a lock: the worst that happens is that a value is missing.
"""

from __future__ import annotations

import errno
import mmap
import os
import pickle
import platform
import re
import secrets
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal

from xxhash import xxh3_128, xxh3_128_digest

from hamdev import __version__
from hamdev.errors import HamdevError
from hamdev.paths import make_private_folder
from hamdev.worker.fingerprint import is_escape

# A file is the header, the pickle, the buffers that the pickle refers to, each of them aligned, and
# the table of where those are.
FORMAT = 1
MAGIC = b"hamdev\0V"
_MADE_BY = xxh3_128_digest(f"{FORMAT} {__version__} {sys.version} {platform.machine()}".encode())
# Magic, who made it, checksum; of the rest, sizes in bytes: all after the header, the pickle; and
# the number of buffers.
_header = struct.Struct("<8s16s16sQQQ")
_range = struct.Struct("<QQ")
_ALIGNMENT = 64
_INLINE = 4096
_CHUNK = 16 * 1024 * 1024
_ABANDONED_S = 3600
_KEY = re.compile(r"[0-9a-f]{8,128}")
_SUFFIX = ".value"
_TEMPORARY = ".part"


class Missing(Enum):
    """What `Store.get` returns instead of a value; None is a value."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a value: true if it is stored.

    Attributes:
        size: bytes on disk; 0 if it is not stored.
        reason: why it is not stored.
    """

    size: int = 0
    reason: str = ""

    def __bool__(self) -> bool:
        return not self.reason


class Store:
    """Values by key, on disk.

    It blocks, has no state of its own, and any number of threads and processes may use one folder.

    Args:
        folder: belongs to the store; made on the first `put`. What others may write into, or own,
            is neither read nor written.
        max_bytes: beyond which the values that have not been used for longest are removed. Values
            that are being written come on top of it.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def get(
        self, key: str, is_unwanted: Callable[[], bool] = lambda: False
    ) -> Any | Literal[Missing.MISSING]:
        """The value stored under `key`, which counts as a use of it; else `MISSING`.

        A file that is damaged, cut off, made by another version, someone else's, or whose pickle
        does not load is removed. Every call returns a new object.

        Args:
            key: 8 to 128 lower-case hex digits.
            is_unwanted: asked again and again, since a large value takes seconds. Once it says so,
                nothing more is done, and the value is `MISSING`.
        """
        file = self._file(key)
        if not self._is_private():
            return MISSING
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return MISSING
        except OSError as error:
            return self._remove(file) if error.errno == errno.ELOOP else MISSING
        try:
            content = _read(descriptor, key, is_unwanted)
            if content is None:
                return self._remove(file, descriptor)
            value = pickle.Unpickler(_Pickle(content[0], is_unwanted), buffers=content[1]).load()
            _note_use(descriptor)
            return value
        except (MemoryError, OSError, _UnwantedError):  # says nothing about the file
            return MISSING
        except BaseException as error:  # unpickling runs the code of the value's classes
            if not (isinstance(error, Exception) or is_escape(error)):
                raise
            return self._remove(file, descriptor)
        finally:
            os.close(descriptor)

    def put(self, key: str, value: Any, is_unchanged: Callable[[], bool] = lambda: True) -> Put:
        """Store a value, and make room for it; what was stored under `key` is replaced.

        Args:
            key: 8 to 128 lower-case hex digits.
            value: anything that pickle takes.
            is_unchanged: asked once all has been written, whether that is still the value.

        Returns:
            False with the reason if it could not be stored; nothing is left behind then.
        """
        file = self._file(key)
        temporary = self.folder / f"{key}.{secrets.token_hex(8)}{_TEMPORARY}"
        try:
            make_private_folder(self.folder)
            self.folder.chmod(0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o600)
            try:
                size = _write(descriptor, key, value, self.max_bytes)
                _note_use(descriptor)
            finally:
                os.close(descriptor)
            if not is_unchanged():
                return Put(reason="it was changed while it was written")
            temporary.replace(file)
        except _TooLargeError:
            return Put(reason=f"it takes more than the {self.max_bytes} bytes there are for all")
        except (OSError, HamdevError) as error:
            return Put(reason=f"cannot write into {str(self.folder)!r}: {error}")
        except BaseException as error:  # pickling runs the code of the value's classes
            if not (isinstance(error, Exception) or is_escape(error)):
                raise
            return Put(reason=f"cannot pickle a {type(value).__name__}: {_describe(error)}")
        finally:
            _unlink(temporary)
        self._evict(keep=file)
        return Put(size)

    def clear(self) -> None:
        """Remove all values, and what writers have begun."""
        for entry in self._entries():
            _unlink(Path(entry.path))

    def size(self) -> int:
        """Bytes that all values take."""
        return sum(status.st_size for _, status in self._values())

    def _file(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"a key is 8 to 128 lower-case hex digits, not {key!r}")
        return self.folder / (key + _SUFFIX)

    def _is_private(self) -> bool:
        try:
            status = self.folder.stat()
        except OSError:
            return False
        closed = not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and closed

    def _remove(self, file: Path, descriptor: int | None = None) -> Literal[Missing.MISSING]:
        try:
            # Somebody may have put a good one in its place.
            if descriptor is None or os.path.samestat(os.fstat(descriptor), file.lstat()):
                file.unlink()
        except OSError:
            pass
        return MISSING

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        """The store's own files."""
        if not self._is_private():
            return
        with os.scandir(self.folder) as entries:
            for entry in entries:
                key = entry.name.partition(".")[0]
                if entry.name.endswith((_SUFFIX, _TEMPORARY)) and _KEY.fullmatch(key):
                    yield entry

    def _values(self) -> Iterator[tuple[Path, os.stat_result]]:
        """The files of values; files of writers that died long ago are removed on the way."""
        for entry in self._entries():
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:  # another process has removed it
                continue
            if entry.name.endswith(_SUFFIX):
                yield Path(entry.path), status
            elif status.st_mtime < time.time() - _ABANDONED_S:
                _unlink(Path(entry.path))

    def _evict(self, keep: Path) -> None:
        try:
            values = sorted(self._values(), key=lambda value: value[1].st_mtime_ns)
        except OSError:
            return
        excess = sum(status.st_size for _, status in values) - self.max_bytes
        for file, status in values:
            if excess <= 0:
                return
            if file != keep:
                _unlink(file)
                excess -= status.st_size


def _note_use(descriptor: int) -> None:
    # The kernel dates what is written by the last tick of its clock, which may be before a use.
    now = time.time_ns()
    os.utime(descriptor, ns=(now, now))


def _unlink(file: Path) -> None:
    try:
        file.unlink()
    except OSError:
        pass


def _describe(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


# --- the format ---------------------------------------------------------------------------------


class _UnwantedError(BaseException):
    """Nobody wants the value any more. No `Exception`, or the value's classes might catch it."""


class _TooLargeError(Exception):
    """What is being written exceeds the store."""


class _File:
    """A file that is written from front to back, and hashed."""

    def __init__(self, descriptor: int, key: str, max_bytes: int) -> None:
        self.size = _header.size
        self.hash = xxh3_128(key.encode() + _MADE_BY)
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        os.lseek(descriptor, _header.size, os.SEEK_SET)

    def write(self, data: Any) -> None:
        with memoryview(data) as view, view.cast("B") as rest:
            self.size += rest.nbytes
            if self.size > self._max_bytes:
                raise _TooLargeError
            for start in range(0, rest.nbytes, _CHUNK):
                chunk = rest[start : start + _CHUNK]
                self.hash.update(chunk)
                while chunk:
                    chunk = chunk[os.write(self._descriptor, chunk) :]


def _write(descriptor: int, key: str, value: Any, max_bytes: int) -> int:
    file = _File(descriptor, key, max_bytes)
    buffers: list[memoryview] = []

    def set_aside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _INLINE:
            return True
        buffers.append(raw)
        return False

    pickle.Pickler(file, protocol=5, buffer_callback=set_aside).dump(value)
    pickle_size = file.size - _header.size
    table = bytearray()
    for buffer in buffers:
        file.write(bytes(-file.size % _ALIGNMENT))
        table += _range.pack(file.size, buffer.nbytes)
        file.write(buffer)
    file.write(table)
    sizes = (file.size - _header.size, pickle_size, len(buffers))
    file.hash.update(struct.pack("<QQQ", *sizes))
    header = _header.pack(MAGIC, _MADE_BY, file.hash.digest(), *sizes)
    os.pwrite(descriptor, header, 0)
    return file.size


class _Pickle:
    """The file that a pickle is read from: in small pieces, unless there are large texts in it."""

    def __init__(self, content: memoryview, is_unwanted: Callable[[], bool]) -> None:
        self._content = content
        self._position = 0
        self._is_unwanted = is_unwanted

    def read(self, size: int) -> bytes:
        return bytes(self._next(size))

    def readline(self) -> bytes:
        rest = self._content[self._position : self._position + _INLINE]
        return self.read(bytes(rest).find(b"\n") + 1)

    def readinto(self, target: memoryview) -> int:
        size = len(target)
        for start in range(0, size, _CHUNK):
            piece = target[start : start + _CHUNK]
            piece[:] = self._next(len(piece))
        return size

    def _next(self, size: int) -> memoryview:
        if self._is_unwanted():
            raise _UnwantedError
        start, self._position = self._position, self._position + size
        return self._content[start : self._position]


def _memory(size: int) -> memoryview:
    """Anonymous memory: aligned, writable like the original, and nobody can cut it off later.

    Private, for children of user code get copies of values as they do of any other. In large pages,
    if there are any, it is also given back at once.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= _CHUNK and hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            pass  # a kernel without them
    return memoryview(memory)


def _read(
    descriptor: int, key: str, is_unwanted: Callable[[], bool]
) -> tuple[memoryview, list[memoryview]] | None:
    """A file's pickle and buffers in memory of their own; None unless all of it is right.

    Raises:
        _UnwantedError: `is_unwanted` said so.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
        return None
    if status.st_mode & 0o077 or status.st_size < _header.size:
        return None
    content = _memory(status.st_size)
    position = 0
    while position < status.st_size:
        if is_unwanted():
            raise _UnwantedError
        count = os.readv(descriptor, [content[position : position + _CHUNK]])
        if count == 0:
            return None
        position += count
    magic, made_by, checksum, size, pickle_size, count = _header.unpack_from(content)
    if magic != MAGIC or made_by != _MADE_BY or size != status.st_size - _header.size:
        return None
    result = xxh3_128(key.encode() + _MADE_BY)
    for start in range(_header.size, status.st_size, _CHUNK):
        if is_unwanted():
            raise _UnwantedError
        result.update(content[start : start + _CHUNK])
    result.update(struct.pack("<QQQ", size, pickle_size, count))
    if result.digest() != checksum:
        return None
    table = content[status.st_size - count * _range.size :]
    buffers = [content[start : start + length] for start, length in _range.iter_unpack(table)]
    return content[_header.size : _header.size + pickle_size], buffers
