"""Files as somebody found them, and whether they still are so."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from hamdev.content import Signature, content_digest, signature

DOUBTFUL = "changed while it was read"

_own = threading.local()


@contextlib.contextmanager
def unobserved() -> Iterator[None]:
    """What this thread opens while the block is open is of no concern to the user's code."""
    before = is_unobserved()
    _own.is_on = True
    try:
        yield
    finally:
        _own.is_on = before


def is_unobserved() -> bool:
    """Whether this thread is opening files for hamdev's own sake."""
    return getattr(_own, "is_on", False)


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it was found.

    Attributes:
        signature: None if it was not there.
        digest: of the content; None if it was not there, or is not known any more since it had
            changed by the time it was looked at.
    """

    signature: Signature | None
    digest: str | None

    def is_same(self, path: str) -> bool:
        """Whether the path still holds this content."""
        present = signature(path)
        if present == self.signature:
            return True
        if self.digest is None:
            return False
        with unobserved():
            return content_digest(path) == self.digest

    @property
    def shown_digest(self) -> str | None:
        """The digest that others compare with; equal to no other if it is not known."""
        return self.digest or (None if self.signature is None else DOUBTFUL)


def state_of(path: str, found: Signature | None, is_written: bool = False) -> FileState:
    """The state of a file that had a given signature when it was opened.

    Args:
        path: of the file.
        found: its signature then.
        is_written: it was also written, by who read it; what it holds now counts.
    """
    now = signature(path)
    if now != found and not is_written:
        return FileState(found, None)
    with unobserved():
        return FileState(now, content_digest(path))
