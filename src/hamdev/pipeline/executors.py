"""Where node functions are called: in place, in threads, on a Dask or a Ray cluster.

Only the functions travel. The DAG, its hooks and its values stay with the caller, so adapters
see the same whatever the executor.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

CallElsewhere = Callable[[Callable[..., Any], dict[str, Any]], Awaitable[Any]]


@contextlib.asynccontextmanager
async def opened(
    executor: str, options: Mapping[str, Any], modules: Sequence[ModuleType]
) -> AsyncIterator[CallElsewhere | None]:
    """What calls synchronous node functions, while the block is open; None: call them in place.

    Args:
        executor: `inline`, `threads`, `dask` or `ray`.
        options: keywords for `ThreadPoolExecutor`, `distributed.Client` or `ray.init`.
        modules: the pipeline's modules; a cluster gets their functions by value, since its
            workers would import what is on *their* disks.

    Raises:
        ImportError: the executor's package is not installed.
        ValueError: options that the executor does not take.
    """
    match executor:
        case "inline":
            if options:
                raise ValueError(
                    f"executor 'inline' takes no executor_options, not {dict(options)!r}"
                )
            yield None
        case "threads":
            with _threads(options) as call:
                yield call
        case "dask":
            async with _dask(options, modules) as call:
                yield call
        case "ray":
            with _ray(options, modules) as call:
                yield call
        case _:
            raise ValueError(f"unknown executor {executor!r}")


@contextlib.contextmanager
def _threads(options: Mapping[str, Any]) -> Any:
    try:
        pool = ThreadPoolExecutor(**options)
    except TypeError as error:
        raise ValueError(f"executor 'threads' does not take these options: {error}") from error

    async def call(function: Callable[..., Any], values: dict[str, Any]) -> Any:
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool, lambda: context.run(lambda: function(**values)))

    try:
        yield call
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextlib.asynccontextmanager
async def _dask(options: Mapping[str, Any], modules: Sequence[ModuleType]) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("executor 'dask' needs Dask: pip install 'hamdev[dask]'") from error
    async with Client(asynchronous=True, **options) as client:
        with _by_value(modules):

            async def call(function: Callable[..., Any], values: dict[str, Any]) -> Any:
                # pure=False: equal arguments do not mean that a node may be skipped.
                return await client.submit(function, **values, pure=False)

            yield call


@contextlib.contextmanager
def _ray(options: Mapping[str, Any], modules: Sequence[ModuleType]) -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError("executor 'ray' needs Ray: pip install 'hamdev[ray]'") from error
    started = not ray.is_initialized()
    if started:
        ray.init(**options)
    try:
        with _by_value(modules):

            async def call(function: Callable[..., Any], values: dict[str, Any]) -> Any:
                return await ray.remote(lambda: function(**values)).remote()

            yield call
    finally:
        if started:
            ray.shutdown()


@contextlib.contextmanager
def _by_value(modules: Sequence[ModuleType]) -> Any:
    import cloudpickle

    registered = []
    for module in modules:
        if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(module)
            registered.append(module)
    try:
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)
