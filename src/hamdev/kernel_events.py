"""What Linux's inotify says, event by event; nothing here asks for it or waits."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

OVERFLOW = 0x4000
ONLY_FOLDERS = 0x01000000
MAX_READ = 1 << 16
_header = struct.Struct("iIII")


def parsed(events: bytes) -> Iterator[tuple[int, int, str]]:
    """Of each event the watch, the mask, and a name in the watched folder; empty: the folder."""
    position = 0
    while position < len(events):
        number, mask, _, length = _header.unpack_from(events, position)
        position += _header.size
        yield number, mask, os.fsdecode(events[position : position + length].rstrip(b"\0"))
        position += length
