"""About how many bytes a value takes, quickly."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Any

from hamdev.worker.fingerprint import is_escape

_SAMPLED = 20
_DEPTH = 3


def size_of(value: Any, depth: int = _DEPTH) -> int:
    """The size of a value in memory; of a container it is worked out from its first items."""
    try:
        return _size(value, depth)
    except BaseException as error:  # a value's own methods may do anything
        if isinstance(error, Exception) or is_escape(error):
            return 0  # nothing is known of it
        raise


def _size(value: Any, depth: int) -> int:
    library = type(value).__module__.partition(".")[0]
    if library == "pandas" and hasattr(value, "memory_usage"):
        usage = value.memory_usage(index=True, deep=False)
        return int(usage if isinstance(usage, int) else usage.sum())
    if library == "polars" and hasattr(value, "estimated_size"):
        return int(value.estimated_size())
    if library in ("numpy", "pyarrow") and isinstance(getattr(value, "nbytes", None), int):
        return int(value.nbytes)
    size = sys.getsizeof(value)
    if depth == 0:
        return size
    if isinstance(value, dict):
        return size + _items([*islice(value.items(), _SAMPLED)], len(value), depth)
    if isinstance(value, list | tuple | set | frozenset):
        return size + _items([*islice(value, _SAMPLED)], len(value), depth)
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return size + _size(vars(value), depth - 1)
    return size


def _items(sample: list[Any], count: int, depth: int) -> int:
    if not sample:
        return 0
    return sum(size_of(item, depth - 1) for item in sample) * count // len(sample)
