"""Whose process has connected to the page, as the kernel knows it.

A connection within this computer has two ends, and the kernel tells anybody to whom the other one
belongs. That keeps nobody out, since a browser may well be another user's. It only decides who
makes room for whom.
"""

from __future__ import annotations

import socket
import struct
import sys

from hamdev.peer import is_trusted

# From linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h.
_NETLINK_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = 1
_HEADER = struct.Struct("=IHHII")
# Family, protocol, extensions, padding, states.
_WANTED = struct.Struct("=BBBBI")
_PORTS = struct.Struct("!HH")
# Interface, and a cookie that says that there is none.
_ANY = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_STATE_AT = _HEADER.size + 1
_UID_AT = _HEADER.size + 4 + 48 + 12
_ESTABLISHED = 1


def is_stranger(peer: socket.socket) -> bool:
    """Whether the other end of an accepted TCP connection is known to be another user's.

    It is none of the owner's either if its process has closed it already, after which nobody knows
    whose it was.
    """
    try:
        end = _uid_and_state(peer.getpeername(), peer.getsockname())
    except (OSError, struct.error):
        return False  # where the kernel does not tell, all are alike
    if end is None:
        return False
    uid, state = end
    return state != _ESTABLISHED or not is_trusted(uid)


def _uid_and_state(theirs: tuple[str, int], ours: tuple[str, int]) -> tuple[int, int] | None:
    if sys.platform != "linux":
        return None
    address = (socket.inet_aton(host).ljust(16, b"\0") for host in (theirs[0], ours[0]))
    body = b"".join(
        [
            _WANTED.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF),
            _PORTS.pack(theirs[1], ours[1]),
            *address,
            _ANY,
        ]
    )
    head = _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, 1, 0)
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG) as kernel:
        kernel.sendto(head + body, (0, 0))
        answer = kernel.recv(4096)  # which is there as soon as it was asked for
    if _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
        return None
    return struct.unpack_from("=I", answer, _UID_AT)[0], answer[_STATE_AT]
