"""Whether there are file descriptors left: without any, files seem to be gone."""

from __future__ import annotations

import os

# To load modules takes a few at a time.
NEEDED = 16
LEAKED = (
    "hamdev: the worker has no file descriptors left, so it is replaced, and values are computed "
    "again. Code of yours opens files, sockets or pipes and does not close them.\n"
)


def are_left() -> bool:
    """Whether this process can open `NEEDED` more files."""
    opened: list[int] = []
    try:
        while len(opened) < NEEDED:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True
