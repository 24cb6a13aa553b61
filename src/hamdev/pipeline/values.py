"""Telling values from things that only promise one."""

from __future__ import annotations

import inspect
from typing import Any

from hamdev.errors import StrayResultError


def require_value(node: Any, value: Any) -> Any:
    """`value`, unless it is a coroutine or a generator.

    Args:
        node: the Hamilton node that returned it.
        value: what its function returned.

    Raises:
        StrayResultError: nobody would ever await or drain it; the message says why it is there.
    """
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that it was never awaited, far from its cause
        raise StrayResultError(
            node.name,
            f"node {node.name!r} returned a coroutine that nobody awaits{_place(node)}. Hamilton "
            "calls the function of a decorated node (@parameterize, @inject, @does, @pipe, …) "
            "without awaiting it. Way out: make the function synchronous, or move the "
            "asynchronous part into a plain 'async def' node upstream.",
        )
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        kind = "an asynchronous generator" if inspect.isasyncgen(value) else "a generator"
        raise StrayResultError(
            node.name,
            f"node {node.name!r} returned {kind}{_place(node)}, which can be read only once, so it "
            "is no value that nodes can share. Way out: return a list.",
        )
    return value


def _place(node: Any) -> str:
    for function in node.originating_functions or ():
        code = getattr(inspect.unwrap(function), "__code__", None)
        if code is not None:
            return f" ({code.co_filename}:{code.co_firstlineno})"
    return ""
