"""Every exception that hamdev raises, with what happened, to what, and the way out.

A mistake in a user's *pipeline code* is not among them: the library passes the user's own
exception on, and the daemon reports it as a `Problem`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


class HamdevError(Exception):
    """Base of everything that hamdev raises on its own account."""


class SettingsError(HamdevError, ValueError):
    """`devserver.toml`, or an option on the command line, cannot be used as it is.

    Attributes:
        file: the settings file, or None for the command line.
        mistakes: one line for each mistake, each with its key path (or line) and the way out.
    """

    def __init__(self, file: str | None, mistakes: Sequence[str], line: int | None = None) -> None:
        self.file = file
        self.mistakes = list(mistakes)
        self.line = line
        where = file or "command line"
        super().__init__("\n".join(f"{where}: {mistake}" for mistake in self.mistakes))


class ModuleMissingError(HamdevError, ImportError):
    """No importable module for a name that the caller gave.

    Attributes:
        attempted: every module name that was tried, in order.
        candidates: the files whose appearance would make the name importable.
    """

    def __init__(self, wanted: str, attempted: Sequence[str], candidates: Sequence[str]) -> None:
        self.attempted = list(attempted)
        self.candidates = list(candidates)
        package = attempted[0].partition(".")[0] if attempted else "pipelines"
        tried = ", ".join(repr(name) for name in attempted)
        looks_like_path = wanted.endswith(".py") or "/" in wanted
        hint = (
            f"give the module's name, not its path ({wanted!r})"
            if looks_like_path
            else f"put the file at {package}/{wanted.replace('-', '_')}.py, or name it as "
            f"'{package}.<name>'; module names are written with '_' ('-'→'_')"
        )
        super().__init__(
            f"cannot import pipeline module {wanted!r}: tried {tried}. Way out: {hint}.",
            name=attempted[-1] if attempted else wanted,
        )


class GraphError(HamdevError, ValueError):
    """The modules do not compose to a DAG that can be executed.

    Attributes:
        node: the node concerned, where there is one.
    """

    def __init__(self, message: str, node: str | None = None) -> None:
        self.node = node
        super().__init__(message)


class CycleError(GraphError):
    """Nodes depend on each other in a circle.

    Attributes:
        cycle: the nodes of one circle, each depending on the next, the first one again last.
    """

    def __init__(self, cycle: Sequence[str]) -> None:
        self.cycle = list(cycle)
        super().__init__(
            f"the DAG has a cycle: {' → '.join(cycle)} (each needs the next). "
            "Way out: remove one of these dependencies, or give one node in overrides=.",
            node=cycle[0],
        )


class InputError(HamdevError, ValueError):
    """Inputs are missing, of the wrong type, or name nothing in the DAG.

    Attributes:
        missing: input name → the nodes that need it.
        mismatched: names of the inputs whose value has the wrong type.
    """

    def __init__(
        self,
        message: str,
        missing: dict[str, list[str]] | None = None,
        mismatched: Sequence[str] = (),
    ) -> None:
        self.missing = missing or {}
        self.mismatched = list(mismatched)
        super().__init__(message)


class StrayResultError(HamdevError, TypeError):
    """A node returned a coroutine or a generator instead of a value.

    Attributes:
        node: the node's name.
    """

    def __init__(self, node: str, message: str) -> None:
        self.node = node
        super().__init__(message)


class AdapterError(HamdevError, ValueError):
    """An adapter cannot do its work in the mode that was asked for."""


class RunTimeoutError(HamdevError, TimeoutError):
    """A run took longer than its `timeout_s`."""


class NoDaemonError(HamdevError):
    """No daemon serves this project."""


class DaemonRunningError(HamdevError):
    """Another daemon already serves this project."""


class RuntimeFolderError(HamdevError):
    """The folder for the socket is not private to the user, so it is not used."""


class SocketInUseError(HamdevError):
    """A process that is no daemon of this project listens on the project's socket."""


class DaemonError(HamdevError):
    """The daemon answered a request with an error.

    Attributes:
        code: the JSON-RPC error code (section 4 of the contract).
        data: further facts, such as `nearest` or `formats`; may be None.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.code = code
        self.data = data
        super().__init__(message)


class SyncTimeoutError(DaemonError, TimeoutError):
    """The daemon had no results for the present files within the given time."""


# Nobody mistypes that much, and to compare a megabyte takes seconds.
_MAX_MISTYPED = 256


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of `known` that `name` may have been meant to be, best first."""
    if len(name) > _MAX_MISTYPED:
        return []
    return get_close_matches(name, list(known), n=3, cutoff=0.6)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that names the nearest known word, or lists them all; '' if there are none."""
    words = list(known)
    if close := nearest(name, words):
        return f"did you mean {close[0]!r}?"
    if not words:
        return ""
    listed = ", ".join(words[:12]) + (", …" if len(words) > 12 else "")
    return f"known: {listed}"
