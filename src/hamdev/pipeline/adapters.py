"""Which adapters a run uses, and whether they can do their work in its mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hamilton.lifecycle import base as lifecycle

from hamdev.errors import AdapterError, did_you_mean
from hamdev.pipeline.run_config import RunConfig

# Hooks that Hamilton fires only in its task-based (dynamic) execution, which neither driver uses.
_TASK_HOOKS = frozenset(
    {
        "post_task_group",
        "post_task_expand",
        "pre_task_submission",
        "post_task_return",
        "pre_task_execute",
        "post_task_execute",
    }
)


def _progressbar(**options: Any) -> Any:
    from hamilton.plugins.h_rich import RichProgressBar
    from rich.console import Console

    # stdout belongs to the results; progress is for the person watching.
    options.setdefault("console", Console(stderr=True))
    options.setdefault("transient", True)
    return RichProgressBar(run_desc=options.pop("desc", options.pop("run_desc", "")), **options)


def _tqdm(**options: Any) -> Any:
    try:
        from hamilton.plugins.h_tqdm import ProgressBar
    except ImportError as error:
        raise AdapterError("the adapter 'tqdm' needs tqdm: pip install tqdm") from error
    return ProgressBar(**options)


def _println(**options: Any) -> Any:
    from hamilton.lifecycle import PrintLn

    return PrintLn(**options)


def _typecheck(**options: Any) -> Any:
    from hamilton.lifecycle import FunctionInputOutputTypeChecker

    return FunctionInputOutputTypeChecker(**options)


_BY_NAME: dict[str, Callable[..., Any]] = {
    "progressbar": _progressbar,
    "tqdm": _tqdm,
    "println": _println,
    "typecheck": _typecheck,
}


def adapters_for(config: RunConfig) -> list[Any]:
    """New instances for `with_adapter`, then the given instances, each once.

    Raises:
        AdapterError: an unknown name, bad options, or an object that is no Hamilton adapter.
    """
    adapters = []
    for name, wanted in config.with_adapter.items():
        if name not in _BY_NAME:
            raise AdapterError(f"unknown adapter {name!r}; {did_you_mean(name, _BY_NAME)}")
        if wanted is False or wanted is None:
            continue
        options = dict(wanted) if isinstance(wanted, Mapping) else {}
        try:
            adapters.append(_BY_NAME[name](**options))
        except TypeError as error:
            raise AdapterError(f"adapter {name!r} does not take these options: {error}") from error
    for name, instance in config.adapter.items():
        if not _implemented(instance):
            raise AdapterError(
                f"adapter {name!r} is {instance!r}, which implements no Hamilton hook, method or "
                "validator; give an instance of a class from hamilton.lifecycle"
            )
        if not any(instance is known for known in adapters):
            adapters.append(instance)
    return adapters


def require_sync(adapters: Iterable[Any]) -> None:
    """Refuse adapters that the sync driver would silently ignore.

    Raises:
        AdapterError: an adapter is asynchronous, or needs task-based execution.
    """
    for adapter in adapters:
        kinds = _implemented(adapter)
        _refuse_task_only(adapter, kinds)
        if any(is_async for _, is_async in kinds):
            raise AdapterError(
                f"the adapter {_name(adapter)} has asynchronous hooks, which the sync driver never "
                "awaits. Way out: use run_async, or give its synchronous counterpart."
            )


def require_async(adapters: Iterable[Any]) -> None:
    """Refuse adapters that cannot work under the async driver.

    Raises:
        AdapterError: an adapter replaces remote execution, or needs task-based execution.
    """
    for adapter in adapters:
        kinds = _implemented(adapter)
        _refuse_task_only(adapter, kinds)
        if ("do_remote_execute", False) in kinds:
            raise AdapterError(
                f"the adapter {_name(adapter)} executes nodes remotely (do_remote_execute), which "
                "the async driver cannot await. Way out: use run, or executor='threads', 'dask' "
                "or 'ray'."
            )


def _refuse_task_only(adapter: Any, kinds: set[tuple[str, bool]]) -> None:
    if {name for name, _ in kinds} <= _TASK_HOOKS:
        raise AdapterError(
            f"the adapter {_name(adapter)} only has task hooks, which fire in Hamilton's dynamic "
            "execution; pipelines here are executed node by node, so it would never be called."
        )


def _implemented(adapter: Any) -> set[tuple[str, bool]]:
    """The lifecycle steps that an adapter takes part in, each with whether it is asynchronous."""
    found = set()
    for attribute, is_async in (
        (lifecycle.SYNC_HOOK, False),
        (lifecycle.SYNC_METHOD, False),
        (lifecycle.SYNC_VALIDATOR, False),
        (lifecycle.ASYNC_HOOK, True),
        (lifecycle.ASYNC_METHOD, True),
    ):
        for cls in type(adapter).__mro__:
            if (name := vars(cls).get(attribute)) is not None:
                found.add((name, is_async))
    return found


def _name(adapter: Any) -> str:
    return f"{type(adapter).__module__}.{type(adapter).__qualname__}"
