"""Pickled values → texts that are equal for equal values, without the classes of the project."""

from __future__ import annotations

import io
import pickle
import re
import sys
from typing import Any


def shown(pickled: bytes | None) -> str:
    """A text that tells values apart, also `1` and `True`; of what has no pickle, just that."""
    if not pickled:
        return "cannot be pickled"
    return _text(_Unpickler(io.BytesIO(pickled)).load())


class _StandIn:
    """An object of a class that is not imported here; it holds what its pickle says."""

    def __new__(cls, *arguments: Any, **keywords: Any) -> _StandIn:
        self = super().__new__(cls)
        self.__dict__["__made_of__"] = (arguments, keywords)
        return self

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.__dict__["__state__"] = state

    def append(self, item: Any) -> None:
        self.__dict__.setdefault("__items__", []).append(item)

    def extend(self, items: Any) -> None:
        self.__dict__.setdefault("__items__", []).extend(items)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.__dict__.setdefault("__items__", []).append((key, value))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in sys.builtin_module_names or module.partition(".")[0] in _INSTALLED:
            return super().find_class(module, name)
        return type(name, (_StandIn,), {"__module__": module, "__qualname__": name})


_INSTALLED = sys.stdlib_module_names | {"numpy", "pandas", "polars", "pyarrow"}


def _text(value: Any) -> str:
    match value:
        case type():
            return f"<{value.__module__}.{value.__qualname__}>"
        case _StandIn():
            return f"{_text(type(value))}{_text(vars(value))}"
        case dict():
            items = ", ".join(f"{_text(k)}: {_text(v)}" for k, v in value.items())
            return f"{type(value).__name__}{{{items}}}"
        case set() | frozenset():
            return f"{type(value).__name__}{sorted(_text(item) for item in value)}"
        case list() | tuple():
            return f"{type(value).__name__}[{', '.join(_text(item) for item in value)}]"
    if type(value).__module__.startswith("pandas"):
        frame = value.to_frame() if hasattr(value, "to_frame") else value
        return f"{type(value).__name__}\n{frame.to_csv()}{getattr(frame, 'dtypes', '')}"
    return re.sub(r" at 0x[0-9a-f]+", "", f"{type(value).__name__} {value!r}")
