"""Whose process is at the other end of a Unix socket.

Imports only what is cheap: every client starts here.
"""

from __future__ import annotations

import os
import socket
import struct
import sys


def peer_uid(stream: socket.socket) -> int:
    """The uid of the process that connected, or that listens, as the kernel knows it.

    Raises:
        OSError: the system does not tell.
    """
    if sys.platform == "darwin":
        # struct xucred: version, uid, …; SOL_LOCAL is 0 and LOCAL_PEERCRED is 1.
        return int(struct.unpack_from("II", stream.getsockopt(0, 1, 76))[1])
    credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def is_trusted(uid: int) -> bool:
    """Whether it is this user, or root, who can do everything anyway."""
    return uid in (os.getuid(), 0)
