"""The socket's file: private from its first moment, and taken from nobody."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hamdev.errors import SocketInUseError
from hamdev.paths import identity_of, make_private_folder


@contextmanager
def listening(path: Path) -> Iterator[Listener]:
    """A socket at `path` that only this user can connect to; at the end of the block it is gone.

    Raises:
        RuntimeFolderError: the folder is not private.
        SocketInUseError: somebody listens there already.
        OSError: the socket cannot be made.
    """
    listener = Listener(path)
    listener.bind()
    try:
        yield listener
    finally:
        listener.close()


class Listener:
    """A listening socket that can be bound again; `listening` makes one that is bound.

    Attributes:
        socket: it does not block.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket: socket.socket
        self._identity: tuple[int, int] | None = None

    def bind(self) -> None:
        """Listen; whoever holds the project's lock may do so, a file there is a dead daemon's.

        Raises:
            RuntimeFolderError: the folder is not private.
            SocketInUseError: somebody listens there already.
            OSError: the socket cannot be made.
        """
        make_private_folder(self.path.parent)
        self._require_nobody()
        self.path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            before = os.umask(0o177)
            try:
                self.socket.bind(str(self.path))
            finally:
                os.umask(before)
            self.socket.listen(128)
            self.socket.setblocking(False)
            self._identity = identity_of(self.path)
        except BaseException:
            self.socket.close()
            raise

    def close(self) -> None:
        """Listen no more, and remove the file if it still is ours."""
        self.socket.close()
        try:
            if identity_of(self.path) == self._identity:
                self.path.unlink(missing_ok=True)
        except OSError:
            pass  # somebody was faster, or has closed the folder

    @property
    def is_deleted(self) -> bool:
        """Whether clients find nothing any more where they look."""
        return identity_of(self.path) is None

    @property
    def is_replaced(self) -> bool:
        """Whether clients find something else."""
        return identity_of(self.path) not in (None, self._identity)

    def _require_nobody(self) -> None:
        """Two projects may be told to use one path, and neither may take it from the other."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(str(self.path))
            except BlockingIOError:
                pass  # its queue is full, so somebody is there
            except OSError:
                return
        raise SocketInUseError(
            f"another process listens on the socket {str(self.path)!r} already. Way out: end it, "
            "or give each project a path of its own (HAMDEV_SOCKET, or [server] socket in "
            "devserver.toml)."
        )
