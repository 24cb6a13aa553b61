"""Types as people write them: `pd.DataFrame`, `dict[str, int]`, `float | None`."""

from __future__ import annotations

import types
import typing
from typing import Any

MAX_NAME = 200
_DEPTH = 6
# Under these names everybody imports them; of other types the bare name is what people write.
_ALIASES = {"pandas": "pd", "numpy": "np", "polars": "pl", "pyarrow": "pa"}


def type_name(kind: Any) -> str:
    """The name of a type, as it would be written in an annotation; at most 200 characters.

    It never raises, whatever stands where a type should be.
    """
    try:
        name = _name(kind, _DEPTH)
    except Exception:  # a metaclass may do anything
        name = type(kind).__name__
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def _name(kind: Any, depth: int) -> str:
    if kind is None or kind is type(None):
        return "None"
    if kind is Ellipsis:
        return "..."
    if isinstance(kind, str):
        return kind
    if isinstance(kind, list):  # the parameters of a Callable
        return f"[{', '.join(_name(item, depth - 1) for item in kind)}]"
    if isinstance(kind, typing.ForwardRef):
        return kind.__forward_arg__
    origin = typing.get_origin(kind)
    if origin is not None:
        return _generic(kind, origin, depth) if depth else "…"
    if isinstance(kind, type):
        return _class(kind)
    # Any, TypeVar, NewType and the like.
    plain = getattr(kind, "__name__", None)
    return plain if isinstance(plain, str) else repr(kind).removeprefix("typing.")


def _generic(kind: Any, origin: Any, depth: int) -> str:
    arguments = typing.get_args(kind)
    if origin is typing.Union or origin is types.UnionType:
        return " | ".join(_name(item, depth - 1) for item in arguments)
    if origin is typing.Literal:
        return f"Literal[{', '.join(_literal(item) for item in arguments)}]"
    if origin is typing.Annotated:
        notes = [repr(note) for note in kind.__metadata__]
        return f"Annotated[{', '.join([_name(arguments[0], depth - 1), *notes])}]"
    names = [_name(item, depth - 1) for item in arguments]
    if (element := _array_element(origin, arguments)) is not None:
        return f"NDArray[{_name(element, depth - 1)}]"
    # typing's own aliases, such as Sequence, are written without their module too.
    return f"{_class(origin)}[{', '.join(names)}]" if names else _class(origin)


def _array_element(origin: Any, arguments: tuple[Any, ...]) -> Any:
    """`X` of what numpy makes of `NDArray[X]`."""
    if getattr(origin, "__module__", "") != "numpy" or len(arguments) != 2:
        return None
    shape, dtype = arguments
    is_any_shape = shape is Any or typing.get_args(shape) == (Any, Ellipsis)
    elements = typing.get_args(dtype)
    return elements[0] if is_any_shape and len(elements) == 1 else None


def _class(kind: Any) -> str:
    module = getattr(kind, "__module__", "")
    name = getattr(kind, "__qualname__", None) or getattr(kind, "__name__", None) or repr(kind)
    alias = _ALIASES.get(module.partition(".")[0] if isinstance(module, str) else "")
    # What is defined in a function is written by its own name there.
    name = name.rpartition("<locals>.")[2]
    return f"{alias}.{name}" if alias else name


def _literal(value: Any) -> str:
    import enum

    return f"{type(value).__name__}.{value.name}" if isinstance(value, enum.Enum) else repr(value)
