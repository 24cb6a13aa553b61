"""Files that user code holds locks on are looked at without loosening those."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest
from real_daemon import Daemon

_UNSHARE = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x400))"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run([sys.executable, "-c", _UNSHARE]).returncode != 0,
    reason="threads with descriptors of their own are not allowed here",
)

HOLDING = """
    import sqlite3
    import subprocess
    import sys

    BEGIN = "import sqlite3; sqlite3.connect('base.db', timeout=0).execute('begin immediate')"

    def connection() -> sqlite3.Connection:
        found = sqlite3.connect("base.db", isolation_level=None)
        found.execute("begin immediate")
        return found

    def others(connection: sqlite3.Connection) -> str:
        begun = subprocess.run([sys.executable, "-c", BEGIN], capture_output=True, text=True)
        connection.execute("commit")
        connection.close()
        return begun.stderr.strip().splitlines()[-1] if begun.returncode else "let in"
"""

LOCKING = """
    import fcntl
    import subprocess
    import sys
    from typing import IO

    TRY = "import fcntl; fcntl.lockf(open('lock.txt', 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"

    def lock() -> IO:
        found = open("lock.txt", "r+")
        fcntl.lockf(found, fcntl.LOCK_EX)
        return found

    def text(lock: IO) -> int:
        return len("lock.txt")

    def others(lock: IO, text: int) -> str:
        tried = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True)
        lock.close()
        return tried.stderr.strip().splitlines()[-1] if tried.returncode else "let in"
"""


def test_a_transaction_of_sqlite_that_a_node_begins_and_another_one_ends(daemon: Daemon) -> None:
    base = sqlite3.connect(daemon.root / "base.db")
    base.execute("create table numbers (number)")
    base.close()
    daemon.serve("holding", HOLDING)
    assert daemon.value("others") == "sqlite3.OperationalError: database is locked"


def test_a_lock_on_a_file_that_another_node_names(daemon: Daemon) -> None:
    (daemon.root / "lock.txt").write_text("")
    daemon.serve("locking", LOCKING)
    assert "BlockingIOError" in daemon.value("others")
