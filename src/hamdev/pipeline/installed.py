"""What is installed beside the project: import name → a token that changes when it is upgraded."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path


def tokens(names: Iterable[str]) -> dict[str, str]:
    """A token for the top-level module behind each of `names`, and one for Python under "".

    What belongs to no distribution is told by its file's size and time.
    """
    tops = {name.partition(".")[0] for name in names}
    found = {top: _token(top) for top in sorted(tops)}
    found[""] = sys.version
    return found


def _token(top: str) -> str:
    if top in sys.stdlib_module_names:
        return "standard library"
    versions = [f"{name}=={_version(name)}" for name in sorted(set(_distributions().get(top, ())))]
    if versions:
        return ",".join(versions)
    module = sys.modules.get(top)
    file = getattr(module, "__file__", None)
    try:
        status = Path(file).stat() if file else None
    except OSError:
        status = None
    return f"{status.st_size}@{status.st_mtime_ns}" if status else "absent"


@cache
def _distributions() -> dict[str, list[str]]:
    # Reading all metadata takes long, and what is loaded stays as it is until the process ends.
    return dict(metadata.packages_distributions())


@cache
def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"
