"""Executing modules from their source text, and remembering which text that was.

`.pyc` files serve old code for two saves of one size within one second, so the loader here never
reads one. What was compiled is kept, since `inspect` and tracebacks read the file as it is by then.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import linecache
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.abc import InspectLoader
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from hamdev.content import MAX_HASHED_BYTES


@dataclass(frozen=True, slots=True)
class Source:
    """The text that a module was executed from.

    Attributes:
        file: absolute path.
        sha256: hex digest of the bytes that were compiled.
        text: those bytes, decoded.
    """

    file: str
    sha256: str
    text: str


def read_source(file: str) -> Source:
    """The present text of `file`.

    Raises:
        OSError: it cannot be read.
        SyntaxError: its declared encoding is unknown.
        UnicodeDecodeError: its bytes are not in its encoding.
    """
    content = _content(file)
    text = importlib.util.decode_source(content)
    return Source(file, hashlib.sha256(content).hexdigest(), text)


def _content(file: str) -> bytes:
    """What a module holds; an error if that is more than anybody hashes."""
    if os.stat(file).st_size > MAX_HASHED_BYTES:  # noqa: PTH116 - at every load, of all modules
        text = f"a module of more than {MAX_HASHED_BYTES >> 20} MiB is not loaded"
        raise OSError(errno.EFBIG, text, file)
    return Path(file).read_bytes()


def prime_linecache(source: Source) -> None:
    """Let tracebacks show the text that was loaded, even after the file has changed again."""
    # An entry without a modification time is never checked against the disk.
    linecache.cache[source.file] = (
        len(source.text),
        None,
        source.text.splitlines(keepends=True),
        source.file,
    )


class SourceLoader(SourceFileLoader):
    """Executes a module from its source bytes; it neither reads nor writes `.pyc` files.

    Args:
        fullname: the module's name.
        path: its file.
        record: is told the name and the text of everything that is read, also if it then fails.
    """

    def __init__(self, fullname: str, path: str, record: Callable[[str, Source], None]) -> None:
        super().__init__(fullname, path)
        self._record = record
        self.source: Source | None = None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        # A module that travels to another machine by value has nothing to be loaded from there.
        return type(None), ()

    def get_code(self, fullname: str) -> CodeType:
        """Compile what the file holds now, and keep that text for tracebacks and `inspect`."""
        content = _content(self.path)
        digest = hashlib.sha256(content).hexdigest()
        self._record(fullname, Source(self.path, digest, content.decode("utf-8", errors="replace")))
        self.source = Source(self.path, digest, importlib.util.decode_source(content))
        self._record(fullname, self.source)
        prime_linecache(self.source)
        return compile(content, self.path, "exec", dont_inherit=True)

    def get_source(self, fullname: str) -> str:
        """The text that was loaded, not what the file holds by now."""
        return self.source.text if self.source else super().get_source(fullname) or ""

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module with the retained submodules of a package already in place."""
        _adopt_children(module)
        exec(self.get_code(module.__name__), module.__dict__)


def user_code_callers() -> list[CodeType]:
    """The code of what executes a user's module."""
    return [SourceLoader.exec_module.__code__]


class NamespaceLoader(InspectLoader):
    """A folder without `__init__.py`: a namespace that shows its retained submodules."""

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()

    def get_code(self, fullname: str) -> CodeType:
        """No code."""
        return compile("", "<namespace>", "exec", dont_inherit=True)

    def get_source(self, fullname: str) -> str:
        """No text."""
        return ""

    def is_package(self, fullname: str) -> bool:
        """Always."""
        return True

    def exec_module(self, module: ModuleType) -> None:
        """Give it the submodules that are loaded already."""
        _adopt_children(module)


def _adopt_children(package: ModuleType) -> None:
    prefix = package.__name__ + "."
    for name, module in list(sys.modules.items()):
        if name.startswith(prefix) and "." not in name[len(prefix) :] and module is not None:
            setattr(package, name[len(prefix) :], module)
