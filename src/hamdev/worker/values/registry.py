"""What handles a value, found by the names of its type and its bases, so nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries by the library and the name of a type; a subclass is found by what it derives from.

    Args:
        entries: (library, name of a type) → what handles its instances. `library` is the first part
            of the name of the module that defines the type: libraries move types between modules,
            and seldom rename them.
    """

    def __init__(self, entries: Mapping[tuple[str, str], T]) -> None:
        self._entries = dict(entries)

    def find(self, value: Any) -> T | None:
        """The entry of `value`'s type, else of the base that is next to it."""
        for kind in type(value).__mro__:
            found = self._entries.get((library_of(kind), kind.__name__))
            if found is not None:
                return found
        return None


def library_of(kind: type) -> str:
    """The first part of the name of the module that defines a type."""
    module = kind.__module__
    return module.partition(".")[0] if isinstance(module, str) else ""


def qualified_name(kind: type) -> str:
    """A type's qualified name, as far as that is needed to tell it from others."""
    name = getattr(kind, "__qualname__", kind.__name__)
    return f"{kind.__module__}.{name}".removeprefix("builtins.")
