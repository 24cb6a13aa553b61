"""Where a project's socket, lock, values and information file live.

Imports only what is cheap: every client starts here.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from hamdev.errors import RuntimeFolderError

SETTINGS_NAME = "devserver.toml"
# sun_path holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
MAX_SOCKET_PATH = 103


def find_project(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` with a `devserver.toml`, else `start` itself.

    Args:
        start: where to look from; the current folder by default.

    Returns:
        An absolute path with symbolic links resolved.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / SETTINGS_NAME).is_file():
            return folder
    return here


def project_key(project: Path) -> str:
    """16 hex digits that stand for the project: from the sha256 of its real path."""
    return project_key_of(os.fsencode(project.resolve()))


def project_key_of(path: bytes) -> str:
    """`project_key` of a real path, whether it is there or not."""
    return hashlib.sha256(path).hexdigest()[:16]


def runtime_folder() -> Path:
    """The folder for sockets: `$XDG_RUNTIME_DIR/hamdev`, else one in the user's cache folder."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "hamdev"
    from platformdirs import user_cache_path

    return user_cache_path("hamdev")


def default_socket(project: Path) -> Path:
    """The socket's path: `$HAMDEV_SOCKET`, else a short name in the runtime folder."""
    if explicit := os.environ.get("HAMDEV_SOCKET"):
        return Path(explicit)
    return runtime_folder() / f"{project_key(project)}.sock"


def values_folder(socket: Path) -> Path:
    """Where the daemon of `socket` keeps the result files that are too large for one line."""
    return socket.with_suffix(".values")


def page_file(socket: Path) -> Path:
    """Where the daemon of `socket` remembers the live page's port and secrets."""
    return socket.with_suffix(".page")


def kept_values_folder(project: Path) -> Path:
    """Where slow values of the project's nodes outlive the processes that computed them."""
    from platformdirs import user_cache_path

    return user_cache_path("hamdev") / "values" / project_key(project)


def information_folder(project: Path) -> Path:
    """`.hamdev` in the project: the daemon's lock and its `daemon.json`."""
    return project / ".hamdev"


def lock_file(project: Path) -> Path:
    """The file whose lock makes a process the project's daemon."""
    return information_folder(project) / "daemon.lock"


def daemon_file(project: Path) -> Path:
    """Information about the serving daemon; who holds the lock is the truth."""
    return information_folder(project) / "daemon.json"


def make_private_folder(folder: Path) -> None:
    """Create `folder` as 0700, or make sure that it is ours and closed to others.

    Raises:
        RuntimeFolderError: it belongs to someone else or others may write into it; the message
            has the command that mends it.
    """
    _make(folder)
    link = folder.lstat()
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in (os.getuid(), 0):
        raise RuntimeFolderError(
            f"the folder {str(folder)!r} is a link that uid {link.st_uid} made, so it may lead "
            f"elsewhere at any time. Way out: rm '{folder}', or set HAMDEV_SOCKET to a path of "
            "your own."
        )
    status = folder.stat()
    if status.st_uid != os.getuid():
        raise RuntimeFolderError(
            f"the folder {str(folder)!r} belongs to uid {status.st_uid}, not to you "
            f"(uid {os.getuid()}), so others could take over the socket. Way out: "
            f"sudo chown -R {os.getuid()} '{folder}', or set HAMDEV_SOCKET to a path of your own."
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RuntimeFolderError(
            f"others may write into the folder {str(folder)!r} "
            f"(mode {stat.S_IMODE(status.st_mode):04o}). Way out: chmod 700 '{folder}'"
        )
    is_our_own = folder.name == "hamdev" or folder.suffix == ".values"
    if status.st_mode & 0o077 and is_our_own:
        folder.chmod(0o700)


def _make(folder: Path) -> None:
    """As `mkdir(parents=True, exist_ok=True)`, but the folders above are private as well."""
    if not folder.parent.exists():
        _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def identity_of(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one that takes its place: device and inode; None without."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)
