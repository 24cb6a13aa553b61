"""The worker's end of its connection to the daemon: whole frames, from any thread."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

from hamdev.messages import Command, Report
from hamdev.wire import FrameDecoder, encode_frame

_CHUNK = 1 << 16


class Channel:
    """Sends reports and receives commands over a connected socket.

    User code that forks would otherwise speak to the daemon in the worker's name, so a forked
    child's channel is silent and its copy of the socket is closed.

    Args:
        descriptor: of a connected stream socket, which now belongs to the channel.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._sending = threading.Lock()
        self._is_ours = True
        os.register_at_fork(after_in_child=self._forget)

    @property
    def is_ours(self) -> bool:
        """Whether this process is the worker itself, not a child that it forked."""
        return self._is_ours

    def send(self, report: Report) -> None:
        """Hand a report to the daemon; without a daemon there is nobody to tell."""
        if not self._is_ours:
            return
        frame = encode_frame(report)
        try:
            with self._sending:
                self._socket.sendall(frame)
        except OSError:
            pass  # the reader sees the end too, and ends the process

    def commands(self) -> Iterator[Command]:
        """Commands as they arrive, until the daemon closes its end."""
        decoder: FrameDecoder[Command] = FrameDecoder(Command)
        while True:
            try:
                chunk = self._socket.recv(_CHUNK)
            except OSError:
                return
            if not chunk:
                return
            yield from decoder.feed(chunk)

    def _forget(self) -> None:
        self._is_ours = False
        self._sending = threading.Lock()
        self._socket.close()
