"""From the answer to `result` to the value: its bytes in a format, or the object itself."""

from __future__ import annotations

import json
import os
import sys
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hamdev.errors import HamdevError
from hamdev.peer import is_trusted

# sys.path belongs to the whole process.
_path_lock = threading.RLock()


def bytes_in(format: str) -> Callable[[Mapping[str, Any]], bytes]:
    """What reads an answer that was asked for in `format`: exactly the value's bytes in it."""

    def read(answer: Mapping[str, Any]) -> bytes:
        if "path" in answer:
            return _content(answer)
        value = answer["value"]
        if format == "json":
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
                "utf-8", "replace"
            )
        if format in ("text", "csv"):
            return str(value).encode("utf-8", "replace")
        return b64decode(value)

    return read


def object_from(project: Path) -> Callable[[Mapping[str, Any]], Any]:
    """What reads an answer that was asked for as pickle: the object itself.

    Args:
        project: modules in this folder can be imported meanwhile.
    """

    def read(answer: Mapping[str, Any]) -> Any:
        import pickle

        content = bytes_in("pickle")(answer)
        with _importable(project):
            try:
                return pickle.loads(content)
            except Exception as error:
                raise _not_rebuilt(answer, error) from error

    return read


def _content(answer: Mapping[str, Any]) -> bytes:
    path = Path(answer["path"])
    try:
        with path.open("rb") as file:
            if not is_trusted(uid := os.fstat(file.fileno()).st_uid):
                raise HamdevError(
                    f"the file {str(path)!r} with the value of {answer.get('node')!r} belongs to "
                    f"uid {uid}, whom you (uid {os.getuid()}) need not trust. Way out: ask as the "
                    "user who started the daemon."
                )
            return file.read()
    except FileNotFoundError:
        raise HamdevError(
            f"the file {str(path)!r} with the value of {answer.get('node')!r} is gone: the daemon "
            "has ended, or computed the node again meanwhile. Way out: ask again."
        ) from None
    except OSError as error:
        raise HamdevError(
            f"the file {str(path)!r} with the value of {answer.get('node')!r} cannot be read: "
            f"{error.strerror}. Way out: ask as the user who started the daemon."
        ) from error


@contextmanager
def _importable(project: Path) -> Iterator[None]:
    """Imports find modules in `project`, after everything that the caller's own path has."""
    folder = str(project)
    with _path_lock:
        if folder in sys.path:
            yield
            return
        sys.path.append(folder)
        try:
            yield
        finally:
            # Importing may have changed sys.path as well; only what was added here is taken out.
            for index in range(len(sys.path) - 1, -1, -1):
                if sys.path[index] == folder:
                    del sys.path[index]
                    break


def _not_rebuilt(answer: Mapping[str, Any], error: Exception) -> HamdevError:
    what = f"the value of node {answer.get('node')!r}, a {answer.get('type')}, cannot be rebuilt"
    match error:
        case ModuleNotFoundError():
            reason = f"there is no module {error.name!r} in this Python ({sys.executable})"
        case ImportError() | AttributeError():
            reason = f"its class cannot be imported: {error}"
        case _:
            reason = f"{type(error).__name__}: {error}"
    return HamdevError(
        f"{what}: {reason}. Way out: use the Python environment that the daemon runs in, or ask "
        f"for another format, as in result_as({answer.get('node')!r}, 'json')."
    )
