"""The page's socket: on 127.0.0.1, at the port of last time if it is still free."""

from __future__ import annotations

import socket
from pathlib import Path

from hamdev.daemon.web.access import Guard, Remembered, Secrets, remember, remembered
from hamdev.errors import HamdevError

_QUEUE = 64


class PortInUseError(HamdevError):
    """The port that the settings name for the page is taken."""


def bound(wanted: int, file: Path) -> tuple[socket.socket, Guard]:
    """A listening socket, and who may talk to it.

    An open page connects again by itself after a restart, so port and secrets are those of last
    time. If another process has the port by now, the page may have told it its secrets, so there
    are new ones.

    Args:
        wanted: the port; 0: any.
        file: where port and secrets are remembered.

    Raises:
        PortInUseError: somebody else has the port.
        OSError: there is no socket to be had, or the file cannot be written.
    """
    before = remembered(file)
    secrets = before.secrets if before is not None else Secrets.new()
    port = wanted or (before.port if before is not None else 0)
    try:
        listener = _listener(port)
    except OSError as error:
        if wanted:
            raise PortInUseError(
                f"there is no live page, since port {wanted} cannot be had ({error.strerror}). "
                "Way out: end the process that has it, or set [server] web_port = 0 in "
                "devserver.toml, which takes a free one."
            ) from None
        secrets, listener = Secrets.new(), _listener(0)
    try:
        guard = Guard(secrets, int(listener.getsockname()[1]))
        remember(file, Remembered(secrets, guard.port))
    except BaseException:
        listener.close()
        raise
    return listener, guard


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of the daemon before this one linger for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_QUEUE)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
