"""A small process that ends a worker, and all that user code started in it, with the daemon.

The kernel can end the worker itself with its parent, but not its children; and a thread of the
worker cannot run while C code holds the interpreter's lock, or while the process is stopped. So a
process that does nothing else waits for the daemon's end of a pipe to be closed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_NAME = 15
_PR_SET_PDEATHSIG = 1
NAME = b"hamdev guard"


def start_guard(descriptor: int) -> None:
    """Guard this process's group; to be called before there is a second thread.

    Args:
        descriptor: the end of a pipe to read from, whose other end only the daemon holds.
    """
    child = os.fork()
    if child:
        os.close(descriptor)
        # The guard is no child of ours: user code may wait for all of its own to end.
        os.waitpid(child, 0)
        return
    try:
        if os.fork():
            os._exit(0)
        _wait(descriptor)
    finally:
        os._exit(0)


def end_with_parent() -> None:
    """Have the kernel end this process with the daemon, where it can: it is the quickest."""
    if not sys.platform.startswith("linux"):
        return
    # If it has died already, the guard and the reader thread will see it. Whether the parent is
    # process 1 says nothing: in a container the daemon itself may be.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(descriptor: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, NAME)
    # Nobody is to wait for what we hold open.
    os.closerange(0, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    while os.read(descriptor, 1):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)
