"""Files as somebody found them, and whether they still are so."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hamdev.content import (
    SQLITE_LOG,
    Signature,
    is_proof,
    is_read,
    signature,
)
from hamdev.pipeline.own_reads import digest_of

DOUBTFUL = "changed while it was read"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a path was like at one moment.

    Attributes:
        signature: None if there was nothing.
        digest: of the content, if another write at once would not show in the signature.
    """

    signature: Signature | None
    digest: str | None = None

    def is_same(self, path: str) -> bool:
        """Whether the path has not changed since then."""
        if signature(path) != self.signature:
            return False
        return self.digest is None or _is_equal(self.digest, digest_of(path))


NOTHING = Sight(None)


def look(path: str) -> Sight:
    """What a path is like now."""
    wall = time.time()
    found = signature(path)
    if is_proof(found, wall) and not (found is not None and path.endswith(SQLITE_LOG)):
        return Sight(found)
    return Sight(found, digest_of(path) or DOUBTFUL)


@dataclass(slots=True)
class FileState:
    """A file as it was found.

    Attributes:
        signature: None if it was not there.
        digest: of the content; None if it was not there, cannot be read, or is not known any more
            since it had changed by the time it was looked at.
        is_proven: any change after the digest was taken changes the signature, too.
    """

    signature: Signature | None
    digest: str | None
    is_proven: bool = False

    def is_same(self, path: str) -> bool:
        """Whether the path still holds this content."""
        wall = time.time()
        present = signature(path)
        if present == self.signature and (self.is_proven or present is None):
            return True
        if self.digest is None or not _is_equal(digest_of(path), self.digest):
            return False
        self.signature, self.is_proven = present, is_proof(present, wall)
        return True

    @property
    def is_known(self) -> bool:
        """Whether another process can tell if a path holds this content."""
        if self.digest is None:
            return self.signature is None
        return self.is_proven or is_read(self.digest)

    @property
    def shown_digest(self) -> str | None:
        """The digest that others compare with; equal to no other if it is not known."""
        return self.digest or (None if self.signature is None else DOUBTFUL)


def state_of(path: str, found: Sight, is_written: bool = False) -> FileState:
    """The state of a file that was like this when it was opened.

    Args:
        path: of the file.
        found: what it was like then.
        is_written: it was also written, by who read it; what it holds now counts.
    """
    wall = time.time()
    now = signature(path)
    digest = digest_of(path)
    is_same = now == found.signature
    if is_same and digest is not None and digest == found.digest and not is_read(digest):
        # Doubtful, but nothing that others could see is another: the next run reads it again.
        return FileState(now, digest)
    if found.digest is not None:
        # Who reads a database may touch its log.
        is_same = is_same or (now is not None and path.endswith(SQLITE_LOG))
        is_same = is_same and _is_equal(found.digest, digest)
    if not is_written and not (is_same and signature(path) == now):
        return FileState(found.signature, None)
    return FileState(now, digest, is_proof(now, wall))


def present_state(path: str) -> FileState:
    """The state of a file now; who compares its digest knows whether it is of use."""
    wall = time.time()
    found = signature(path)
    return FileState(found, digest_of(path), is_proof(found, wall))


def _is_equal(digest: str | None, other: str | None) -> bool:
    """Whether two digests are of the same content: of what was not read, nobody knows."""
    return digest is not None and digest == other and is_read(digest)
